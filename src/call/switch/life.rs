//! How long a leg lives: what retains it, what ends it, and when it is forgotten (contract §3).

use std::collections::BTreeMap;

use serde_json::json;

use crate::base::{Tick, take_out};
use crate::call::leg::{EndReason, FREE_TTL, LegRef, Status, leg_text};
use crate::call::switch::ask::{Ask, Failed};
use crate::call::switch::attempt::NOBODY_WAITS;
use crate::call::switch::control::media_leg;
use crate::call::switch::dial::attempt_reason;
use crate::call::switch::record::End;
use crate::call::switch::{AskRef, Fact, FarEnd, Output, Pending, Switch, Wake};
use crate::media::Command;

impl Switch {
    /// An operation has touched the leg: its free time begins anew.
    pub(super) fn touch(&mut self, id: LegRef, now: Tick) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        if leg.end().is_none() {
            self.timers.clear_slot(&mut leg.free);
            if leg.retained == 0 {
                leg.free = Some(self.timers.arm(now + FREE_TTL, Wake::Free(id)));
            }
        }
    }

    /// Something keeps the leg from now on.
    pub(super) fn retain(&mut self, id: LegRef, now: Tick) {
        if let Some(leg) = self.legs.get_mut(id) {
            leg.retained += 1;
        }
        self.touch(id, now);
    }

    /// Something keeps the leg no longer.
    pub(super) fn release(&mut self, id: LegRef, now: Tick) {
        if let Some(leg) = self.legs.get_mut(id) {
            leg.retained = leg.retained.checked_sub(1).expect("released as often as retained");
        }
        self.touch(id, now);
    }

    /// The free time of a leg is over: a live one ends, an ended one is forgotten.
    pub(super) fn on_free(&mut self, id: LegRef, now: Tick) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        leg.free = None;
        if leg.end().is_some() {
            if let Some(leg) = self.legs.remove(id) {
                self.record_leg(id, leg);
            }
        } else {
            self.hangup_leg(id, EndReason::FreeTtl, now);
        }
    }

    /// The one place where a leg ends: audio closes, whoever waits is told, the port may rest.
    pub(super) fn end_leg(&mut self, id: LegRef, reason: EndReason, now: Tick) {
        let far_end = self.far_end(id);
        let Some(leg) = self.legs.get_mut(id).filter(|leg| leg.end().is_none()) else { return };
        let was_answered = leg.is_answered();
        let is_leaving = self.endpoint.holds(leg.dialog);
        if let Some(FarEnd::Customer(number)) = &far_end
            && is_leaving
            && !was_answered
        {
            self.promises.book.may_ring_on(number, now);
        }
        leg.status = Status::Ended(reason);
        leg.ended = Some(now);
        let dialog = leg.dialog;
        take_out(&mut self.by_dialog, &dialog);
        self.timers.clear_slot(&mut leg.free);
        leg.free = Some(self.timers.arm(now + FREE_TTL, Wake::Free(id)));
        self.timers.clear_slot(&mut leg.info.timer);
        let lasted_ms = now.as_millis() - leg.started.as_millis();
        let waiting = std::mem::take(&mut leg.waiting);
        let players = std::mem::take(&mut leg.players);
        let recordings = std::mem::take(&mut leg.recordings);
        let (dial, entry, promise) = (leg.dial.take(), leg.entry.take(), leg.promise.take());
        let (attempt, called_back) = (leg.attempt.take(), leg.called_back.take());
        let is_extension = leg.origin.extension.is_some();
        let caller = (leg.is_inbound && !is_extension).then(|| leg.caller_number.clone());
        self.ports.release(leg.audio.local.address.port(), now);
        let is_open = leg.audio.is_open;
        if let Some(trunk) = leg.trunk().map(str::to_owned) {
            self.give_channel(&trunk);
        }
        self.drop_record_request(id);
        self.fault("end");
        if let Some(number) = caller {
            take_one(&mut self.callers, &number);
        }
        if let Some(number) = called_back {
            take_one(&mut self.called_back, &number);
        }
        for player in players {
            self.finish_player(player, End::Interrupted("call_ended", None), now);
        }
        self.on_recorded_leg_ended(&recordings);
        for key in waiting {
            self.on_waited_leg_ended(key, id, reason, now);
        }
        self.tell(Fact::Ended { leg: id, reason, lasted_ms });
        self.on_bridged_leg_ended(id, now);
        if is_open {
            self.outputs.push_back(Output::Media(Command::Close { leg: media_leg(id) }));
        }
        if let Some(dial) = dial {
            let why = if was_answered { "ended" } else { attempt_reason(reason) };
            self.on_attempt_ended(dial, id, why, now);
        }
        if let Some(fence) = attempt {
            self.on_attempt_leg_ended(fence, was_answered, reason, now);
        }
        let has_place = entry.is_some_and(|entry| self.on_caller_gone(entry, now));
        if let Some(promise) = promise {
            self.on_promised_caller_gone(promise, has_place, now);
        }
        match far_end {
            Some(far_end) if is_leaving => {
                self.leaving.insert(dialog, far_end);
            }
            Some(FarEnd::Extension(workflow, number)) => {
                self.on_extension_leg_ended(workflow, &number, now);
            }
            Some(FarEnd::Customer(_)) | None => {}
        }
    }

    /// A caller has come by a trunk.
    pub(super) fn on_caller_came(&mut self, id: LegRef) {
        if let Some(leg) = self.legs.get(id) {
            *self.callers.entry(leg.caller_number.clone()).or_default() += 1;
        }
    }

    /// A customer is being called back, by this leg.
    pub(super) fn on_called_back(&mut self, id: LegRef, number: String) {
        if let Some(leg) = self.legs.get_mut(id).filter(|leg| leg.end().is_none()) {
            leg.called_back = Some(number.clone());
            *self.called_back.entry(number).or_default() += 1;
        }
    }

    /// Whether somebody is being called back at this number, or talks there.
    pub(super) fn is_called_back(&self, number: &str) -> bool {
        self.called_back.contains_key(number)
    }

    /// Whether somebody is on the line who calls from this number.
    pub(super) fn is_on_line(&self, number: &str) -> bool {
        self.callers.contains_key(number)
    }

    fn on_waited_leg_ended(&mut self, key: AskRef, id: LegRef, reason: EndReason, now: Tick) {
        match self.pending.remove(&key) {
            Some((ask, Pending::Wait(wait))) => {
                self.leave_wait(&wait, key, now);
                self.answer_ended(&ask, id, reason);
            }
            Some((ask, Pending::DialWait(wait))) => {
                self.pending.insert(key, (ask, Pending::DialWait(wait)));
                self.interrupt_dial_wait(key, "call_ended", None, now);
            }
            Some((ask, Pending::Promise { .. })) => self.fail(&ask, Failed::LegEnded),
            Some((ask, Pending::Attempt(planned))) => {
                self.pending.insert(key, (ask, Pending::Attempt(planned)));
            }
            // These are answered when the recording is kept, and the playback over.
            Some((
                ask,
                pending @ (Pending::Record { .. }
                | Pending::CallRecording { .. }
                | Pending::MediaWait(_)
                | Pending::Play { .. }),
            )) => {
                self.pending.insert(key, (ask, pending));
            }
            Some((ask, Pending::Clip { .. })) => {
                let branch = ask.branch("Interrupted");
                let payload = json!({ "legId": leg_text(id), "interruptReason": "call_ended" });
                self.answer(&ask, branch, payload, None);
            }
            None => {}
        }
    }

    /// The run that asked is gone: what it waited for no longer keeps the leg.
    pub(super) fn withdraw(&mut self, key: AskRef, now: Tick) {
        match self.pending.remove(&key) {
            Some((_, Pending::Wait(wait))) => self.leave_wait(&wait, key, now),
            Some((_, Pending::DialWait(wait))) => self.leave_dial_wait(&wait, key, now),
            Some((_, Pending::Attempt(planned))) => {
                let fence = (planned.attempt.promise, planned.attempt.attempt);
                self.on_attempt_over(fence, NOBODY_WAITS, now);
            }
            Some((
                _,
                Pending::Play { leg, .. } | Pending::Clip { leg } | Pending::Promise { leg, .. },
            )) => {
                self.leave_leg(leg, key);
                self.release(leg, now);
            }
            Some((_, Pending::CallRecording { recording, .. })) => {
                self.leave_call_recording(recording)
            }
            Some((_, Pending::MediaWait(wait))) => self.leave_media_wait(&wait, key, now),
            Some((_, Pending::Record { leg, recording, .. })) => {
                self.withdraw_record(recording);
                self.leave_leg(leg, key);
                self.release(leg, now);
            }
            None => {}
        }
    }

    /// The `Ended` branch of a wait.
    pub(super) fn answer_ended(&mut self, ask: &Ask, id: LegRef, reason: EndReason) {
        let payload =
            json!({ "legId": leg_text(id), "eventType": "ended", "reason": reason.to_string() });
        self.answer(ask, ask.branch("Ended"), payload, None);
    }
}

/// One leg less of this number.
fn take_one(legs: &mut BTreeMap<String, u32>, number: &str) {
    if let Some(count) = legs.get_mut(number) {
        *count -= 1;
        if *count == 0 {
            legs.remove(number);
        }
    }
}
