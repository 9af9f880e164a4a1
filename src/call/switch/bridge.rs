//! `call.bridge` and `call.unbridge`: who hears whom, and whose signalling is relayed (contract §6.1).

use serde_json::{Value, json};

use crate::base::Tick;
use crate::call::leg::{DtmfRelay, EndReason, LegEvent, LegRef, Status, leg_text};
use crate::call::switch::ask::{Ask, Failed};
use crate::call::switch::control::media_leg;
use crate::call::switch::{Output, Pending, Switch};
use crate::media::Command;
use crate::sip::Body;

impl Switch {
    /// `call.bridge`.
    pub(super) fn bridge_call(&mut self, ask: &Ask, now: Tick) {
        let named = |key: &str| ask.parameter(key).filter(|value| value.as_str() != Some(""));
        let legs = match (named("legAId"), named("legBId")) {
            (None, _) => Err(Failed::LegAMissing),
            (_, None) => Err(Failed::LegBMissing),
            (Some(a), Some(b)) => self.known_leg(a).and_then(|a| Ok((a, self.known_leg(b)?))),
        };
        let bridged = legs.and_then(|(a, b)| self.bridge(a, b, now).map(|()| (a, b)));
        if let Ok((a, b)) = bridged {
            self.set_relay(ask, a, b);
        }
        match bridged {
            Ok((a, b)) => {
                let payload = json!({ "legIdA": leg_text(a), "legIdB": leg_text(b) });
                self.answer(ask, 0, payload, None);
            }
            Err(failed) => self.fail(ask, failed),
        }
    }

    /// `call.unbridge`.
    pub(super) fn unbridge_call(&mut self, ask: &Ask, now: Tick) {
        let leg = match self.live_leg_of(ask) {
            Ok((id, _)) => id,
            Err(failed) => return self.fail(ask, failed),
        };
        let peer = self.unbridge(leg, "call_bridge_removed_unbridge", now);
        let orig = (0, json!({ "legId": leg_text(leg) }));
        let peer = peer.map(|peer| (1, json!({ "legId": leg_text(peer) })));
        self.answer_many(ask, [Some(orig), peer].into_iter().flatten().collect());
    }

    /// `call.ringing`.
    pub(super) fn ring_call(&mut self, ask: &Ask, now: Tick) -> Result<LegRef, Failed> {
        let (id, leg) = self.live_leg_of(ask)?;
        if leg.status == Status::Created && leg.is_inbound {
            leg.status = Status::Ringing;
            leg.rang = Some(now);
            let dialog = leg.dialog;
            self.endpoint.provisional(dialog, 180, None, now);
        }
        self.touch(id, now);
        Ok(id)
    }

    /// A leg's far side rings or has early media: its bridged caller is told the same.
    pub(super) fn relay_progress(&mut self, id: LegRef, status: u16, has_media: bool, now: Tick) {
        let Some(peer) = self.unanswered_caller_of(id) else { return };
        let Some(leg) = self.legs.get_mut(peer) else { return };
        let dialog = leg.dialog;
        if leg.status == Status::Created && status == 180 {
            leg.status = Status::Ringing;
            leg.rang = Some(now);
        }
        let body = if has_media { self.answer_early(peer) } else { None };
        let status = if body.is_some() { 183 } else { status };
        self.endpoint.provisional(dialog, status, body.map(Body::sdp), now);
    }

    /// A leg was answered: so is its bridged caller.
    pub(super) fn relay_answer(&mut self, id: LegRef, now: Tick) {
        if let Some(peer) = self.unanswered_caller_of(id) {
            // What it cannot be answered with ends it; the bridge then ends with it.
            if self.answer_leg(peer, now).is_err() {
                self.refuse_leg(peer, 488, EndReason::Rejected(488), now);
            }
        }
        self.on_connected(id, now);
    }

    /// The bridge of a leg that has ended; an unanswered caller is refused as the leg was.
    pub(super) fn on_bridged_leg_ended(&mut self, id: LegRef, now: Tick) {
        let peer = self.unbridge(id, "call_bridge_removed_peer_ended", now);
        if let Some(peer) = peer
            && !self.relay_refusal(id, peer, now)
        {
            self.touch(peer, now);
        }
    }

    /// How the digits of two legs that are bridged go on.
    fn set_relay(&mut self, ask: &Ask, a: LegRef, b: LegRef) {
        let relays = match ask.option("relayDtmf").and_then(Value::as_str) {
            Some("disabled") => DtmfRelay::Disabled,
            Some("rfc2833") => DtmfRelay::Events,
            Some("info") => DtmfRelay::Info,
            Some("inband") => DtmfRelay::Sound,
            Some(_) | None => DtmfRelay::Auto,
        };
        let emits_digits = ask.option("emitDtmfEvents") != Some(&Value::Bool(false));
        let is_on = matches!(relays, DtmfRelay::Auto | DtmfRelay::Events);
        for id in [a, b] {
            let Some(leg) = self.legs.get_mut(id).filter(|leg| leg.end().is_none()) else {
                continue;
            };
            (leg.relays, leg.emits_digits) = (relays, emits_digits);
            let leg = media_leg(id);
            self.outputs.push_back(Output::Media(Command::PassEvents { leg, is_on }));
        }
    }

    fn bridge(&mut self, a: LegRef, b: LegRef, now: Tick) -> Result<(), Failed> {
        if self.relay_refusal(a, b, now) || self.relay_refusal(b, a, now) {
            return Ok(());
        }
        let is_live = |id: LegRef| self.legs.get(id).is_some_and(|leg| leg.end().is_none());
        if a == b || !is_live(a) || !is_live(b) {
            return Err(Failed::LegEnded);
        }
        if self.legs.get(a).is_some_and(|leg| leg.peer == Some(b)) {
            return Ok(());
        }
        for id in [a, b] {
            self.unbridge(id, "call_bridge_removed_rebridge", now);
        }
        for (id, peer) in [(a, b), (b, a)] {
            self.open_media(id);
            if let Some(leg) = self.legs.get_mut(id) {
                leg.peer = Some(peer);
            }
            self.retain(id, now);
        }
        self.on_connected(a, now);
        let (leg_a, leg_b) = (media_leg(a), media_leg(b));
        self.outputs.push_back(Output::Media(Command::Bridge { a: leg_a, b: leg_b }));
        for id in [a, b] {
            // A leg that still rings is the one that its dial is about from now on.
            if let Some(dial) = self.legs.get(id).and_then(|leg| leg.dial) {
                self.win_dial(dial, id, now);
            }
            self.relay_state(id, now);
            self.interrupt(id, "call_bridge_joined", now);
        }
        Ok(())
    }

    /// Refuses an unanswered caller as the leg was that he is bridged with, or is to be: a far side that
    /// refuses at once may do so before the flow has come to its bridge. Whether that was so.
    fn relay_refusal(&mut self, id: LegRef, caller: LegRef, now: Tick) -> bool {
        let end = self.legs.get(id).and_then(|leg| leg.end());
        let Some(EndReason::Rejected(status)) = end else { return false };
        let is_kept_waiting = self.legs.get(caller).is_some_and(|leg| leg.is_unanswered_caller());
        if is_kept_waiting {
            self.refuse_leg(caller, status, EndReason::PeerRejected(status), now);
        }
        is_kept_waiting
    }

    /// What a leg's far side has said so far, for the caller that it is bridged with now.
    fn relay_state(&mut self, id: LegRef, now: Tick) {
        let Some(leg) = self.legs.get(id).filter(|leg| !leg.is_inbound) else { return };
        match leg.status {
            Status::Answered => self.relay_answer(id, now),
            Status::Ringing => {
                let has_media = leg.audio.agreed.is_some();
                self.relay_progress(id, 180, has_media, now);
            }
            Status::Created | Status::Ended(_) => {}
        }
    }

    /// Ends the bridge of a leg; both sides are told why. Says who was on the other side.
    pub(super) fn unbridge(&mut self, id: LegRef, why: &'static str, now: Tick) -> Option<LegRef> {
        let peer = self.legs.get_mut(id)?.peer.take()?;
        if let Some(leg) = self.legs.get_mut(peer) {
            leg.peer = None;
        }
        self.outputs.push_back(Output::Media(Command::Unbridge { leg: media_leg(id) }));
        for leg in [id, peer] {
            if self.legs.get(leg).is_some_and(|leg| leg.end().is_none()) {
                self.release(leg, now);
                self.interrupt(leg, why, now);
            }
        }
        Some(peer)
    }

    /// Something happened to a leg that a wait may listen for: a wait has it, or it is kept.
    pub(super) fn interrupt(&mut self, id: LegRef, why: &'static str, now: Tick) {
        let Some(leg) = self.legs.get(id) else { return };
        let waits = leg.waiting.iter().copied();
        let wait =
            waits.filter(|key| matches!(self.pending.get(key), Some((_, Pending::Wait(_))))).min();
        match wait {
            Some(key) => self.feed_interrupt(id, key, why, now),
            None => {
                if let Some(leg) = self.legs.get_mut(id) {
                    // Beyond its limit a leg forgets what nobody has waited for.
                    let _ = leg.events.push(LegEvent::Interrupt(why));
                }
            }
        }
    }

    /// Refuses a caller that was never answered, with this status; an answered one is hung up.
    pub(super) fn refuse_leg(&mut self, id: LegRef, status: u16, reason: EndReason, now: Tick) {
        let Some(leg) = self.legs.get(id) else { return };
        if leg.is_unanswered_caller() {
            self.endpoint.reject(leg.dialog, status, None, &[], now);
            self.end_leg(id, reason, now);
        } else {
            self.hangup_leg(id, reason, now);
        }
    }

    /// The answer to a caller's offer before the call is answered, so that he hears what rings.
    fn answer_early(&mut self, id: LegRef) -> Option<Vec<u8>> {
        let leg = self.legs.get_mut(id)?;
        let (body, agreed) = leg.audio.offer.as_ref()?.answer(&leg.audio.local).ok()?;
        leg.audio.agreed = Some(agreed);
        self.open_media(id);
        self.configure_media(id);
        Some(body)
    }

    fn unanswered_caller_of(&self, id: LegRef) -> Option<LegRef> {
        let peer = self.legs.get(id)?.peer?;
        self.legs.get(peer)?.is_unanswered_caller().then_some(peer)
    }
}
