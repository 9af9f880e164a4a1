//! Offers inside a confirmed dialog: our re-INVITE, the peer's re-INVITE or UPDATE, and the glare.

use std::sync::Arc;
use std::time::Duration;

use super::Endpoint;
use super::compose::{Inside, Reply};
use super::leg::{OurOffer, State, Talk, UNACKED_MAX, Unacked};
use super::receive::Incoming;
use super::table::{Purpose, Role};
use super::types::{Body, Cause, DialogId, Event, TransactionId};
use crate::base::Tick;
use crate::sip::Method;

/// How often an offer of ours gives way to the peer's before its user is told.
const GLARES_MAX: u8 = 5;

impl Endpoint {
    /// Sends a re-INVITE with this body, or one that asks the peer for an offer. A 491 is met with
    /// a random pause and another try (RFC 3261 §14.1). The outcome is [`Event::OfferAnswered`]: at
    /// once and 491 when an offer is open already or the dialog is not confirmed.
    pub fn offer(&mut self, dialog: DialogId, body: Option<Body>, now: Tick) {
        let Some(leg) = self.legs.get_mut(dialog) else { return };
        match &mut leg.state {
            // §14.1: not while another INVITE is in progress in either direction.
            State::Talking { talk, .. }
                if talk.ours.is_none() && talk.theirs.is_none() && talk.unacked.is_empty() =>
            {
                talk.ours = Some(OurOffer { body, glares: 0, back_off: None });
                self.send_offer(dialog, now);
            }
            State::Talking { .. } | State::Ringing { .. } | State::Calling { .. } => {
                self.events.push_back(Event::OfferAnswered { dialog, status: 491, message: None });
            }
            State::Cancelling { .. } | State::Leaving { .. } | State::Closing => {}
        }
    }

    /// Answers [`Event::Offer`]: 200 with this body, or a failure with this status. No effect when
    /// the peer withdrew it meanwhile.
    pub fn answer_offer(&mut self, dialog: DialogId, answer: Result<Option<Body>, u16>, now: Tick) {
        let Some(leg) = self.legs.get_mut(dialog) else { return };
        let State::Talking { talk, .. } = &mut leg.state else { return };
        let Some(request) = talk.theirs.take() else { return };
        let contact = leg.contact.clone();
        match answer {
            Ok(body) => {
                self.expect_ack(dialog, request);
                let accepted =
                    Reply { contact: Some(&contact), body: body.as_ref(), ..Reply::of(200) };
                self.reply(request, &accepted, now);
            }
            Err(status) => {
                self.reply(request, &Reply::of(status.clamp(300, 699)), now);
            }
        }
    }

    /// Remembers which ACK a 2xx waits for, before the 2xx leaves. An UPDATE waits for none.
    pub(super) fn expect_ack(&mut self, id: DialogId, invite: TransactionId) {
        let Some(entry) = self.table.get(invite) else { return };
        let Role::InviteServer { cseq, .. } = entry.role else { return };
        if let Some(State::Talking { talk, .. }) = self.legs.get_mut(id).map(|leg| &mut leg.state) {
            talk.unacked.push(Unacked { cseq, invite });
        }
    }

    /// A re-INVITE or UPDATE came (RFC 3261 §14.2, RFC 3311 §5.2).
    pub(super) fn on_offer(&mut self, offer: &Incoming<'_>, id: DialogId, now: Tick) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        let State::Talking { dialog, talk } = &mut leg.state else {
            // Before the first answer nothing else can be negotiated.
            return self.refuse_later(offer);
        };
        match talk {
            Talk { ours: Some(OurOffer { back_off: None, .. }), .. } => {
                return self.refuse(offer, 491, &[]);
            }
            Talk { theirs: Some(_), .. } => return self.refuse_later(offer),
            Talk { unacked, .. } if unacked.len() >= UNACKED_MAX => {
                return self.refuse_later(offer);
            }
            Talk { .. } => {}
        }
        dialog.refresh_target(offer.message);
        leg.flow = offer.flow;
        let Some(request) = self.serve(offer, Some(id), now) else { return };
        if let Some(State::Talking { talk, .. }) = self.legs.get_mut(id).map(|leg| &mut leg.state) {
            talk.theirs = Some(request);
        }
        self.events.push_back(Event::Offer { dialog: id, message: Arc::clone(offer.bytes) });
    }

    /// 500 with a random Retry-After up to ten seconds (RFC 3261 §14.2).
    fn refuse_later(&mut self, offer: &Incoming<'_>) {
        let wait = self.rng.below(11).to_string();
        self.refuse(offer, 500, &[("Retry-After", &wait)]);
    }

    fn send_offer(&mut self, id: DialogId, now: Tick) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        let State::Talking { dialog, talk } = &mut leg.state else { return };
        let Some(ours) = &mut talk.ours else { return };
        ours.back_off = None;
        let (flow, contact) = (leg.flow, leg.contact.clone());
        let (mut dialog, body) = (std::mem::take(dialog), ours.body.take());
        let offer =
            Inside { contact: Some(&contact), body: body.as_ref(), ..Inside::of(Method::Invite) };
        let sent = self.send_inside(flow, &mut dialog, &offer, Purpose::Offer(id), now);
        if let Some(leg) = self.legs.get_mut(id)
            && let State::Talking { dialog: place, talk } = &mut leg.state
        {
            *place = dialog;
            if let Some(ours) = &mut talk.ours {
                ours.body = body;
            }
        }
        if sent.is_none() {
            self.say_offer_answered(id, 503, None);
        }
    }

    /// Our re-INVITE failed: 491 tries again later, 481 and 408 end the dialog (RFC 3261 §14.1,
    /// §12.2.1.2), everything else leaves the session as it was.
    pub(super) fn on_offer_failed(
        &mut self,
        id: DialogId,
        status: u16,
        message: Option<Arc<[u8]>>,
        now: Tick,
    ) {
        match status {
            481 | 408 if self.is_talking(id) => {
                self.say_bye(id, &[], now);
                self.say_ended(id, Cause::Gone, message);
            }
            491 if self.back_off(id, now) => {}
            _ => self.say_offer_answered(id, status, message),
        }
    }

    /// Whether the offer will be tried again: 2.1 to 4 s later by the one who chose the Call-ID,
    /// up to 2 s later by the other, so that the two do not meet again (RFC 3261 §14.1).
    fn back_off(&mut self, id: DialogId, now: Tick) -> bool {
        let Some(leg) = self.legs.get_mut(id) else { return false };
        let State::Talking { dialog, talk } = &mut leg.state else { return false };
        let Some(ours) = &mut talk.ours else { return false };
        if ours.glares >= GLARES_MAX {
            return false;
        }
        ours.glares += 1;
        let (from, to) = if dialog.is_caller { (2100, 4000) } else { (0, 2000) };
        let pause = self.rng.between(Duration::from_millis(from), Duration::from_millis(to));
        ours.back_off = Some(self.back_offs.arm(now + pause, id));
        true
    }

    /// The pause after a glare is over; it starts again while the peer's offer is open.
    pub(super) fn on_back_off_over(&mut self, id: DialogId, now: Tick) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        let State::Talking { talk, .. } = &mut leg.state else { return };
        let is_busy = talk.theirs.is_some() || !talk.unacked.is_empty();
        if let Some(ours) = &mut talk.ours {
            ours.back_off = None;
        }
        if !is_busy {
            self.send_offer(id, now);
        } else if !self.back_off(id, now) {
            self.say_offer_answered(id, 491, None);
        }
    }

    /// The user left an UPDATE unanswered for so long that nobody waits for the answer any more.
    pub(super) fn forget_their_offer(&mut self, id: DialogId, request: TransactionId) {
        if let Some(State::Talking { talk, .. }) = self.legs.get_mut(id).map(|leg| &mut leg.state)
            && talk.theirs == Some(request)
        {
            talk.theirs = None;
        }
    }

    /// A dialog is about to end: the peer's open offer gets 487, ours is not tried again.
    pub(super) fn drop_offers(&mut self, id: DialogId, now: Tick) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        let State::Talking { talk, .. } = &mut leg.state else { return };
        if let Some(mut ours) = talk.ours.take() {
            self.back_offs.clear_slot(&mut ours.back_off);
        }
        if let Some(request) = talk.theirs.take() {
            self.reply(request, &Reply::of(487), now);
        }
    }

    fn is_talking(&self, id: DialogId) -> bool {
        self.legs.get(id).is_some_and(|leg| matches!(leg.state, State::Talking { .. }))
    }

    /// The outcome of our re-INVITE, unless the dialog ended meanwhile.
    pub(super) fn say_offer_answered(
        &mut self,
        id: DialogId,
        status: u16,
        message: Option<Arc<[u8]>>,
    ) {
        if let Some(State::Talking { talk, .. }) = self.legs.get_mut(id).map(|leg| &mut leg.state)
            && talk.ours.take().is_some()
        {
            self.events.push_back(Event::OfferAnswered { dialog: id, status, message });
        }
    }
}
