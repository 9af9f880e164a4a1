//! Offers inside a dialog, early or confirmed: re-INVITE and UPDATE, ours and the peer's, and the glare.

use std::sync::Arc;
use std::time::Duration;

use super::compose::{Inside, Reply};
use super::leg::{Leg, OurOffer, State, Talk, UNACKED_MAX, Unacked};
use super::receive::{Answer, Incoming};
use super::session::borrowed;
use super::table::{Purpose, Role};
use super::types::{Body, Cause, DialogId, Event, TransactionId};
use super::{Endpoint, Wake};
use crate::base::Tick;
use crate::sip::dialog::Dialog;
use crate::sip::{Message, Method};

/// How often an offer of ours gives way to the peer's before its user is told.
const GLARES_MAX: u8 = 5;

/// What the peer's offer hears at once.
enum Glare {
    /// 491: an offer of ours is open.
    Pending,
    /// 500 with Retry-After: an earlier offer of the peer is.
    Later,
}

impl Endpoint {
    /// Sends a re-INVITE with this body, or one that asks the peer for an offer; in an early dialog
    /// an UPDATE, where the peer allows it (RFC 3311 §5.1). A 491 is met with a random pause and
    /// another try (RFC 3261 §14.1). The outcome is [`Event::OfferAnswered`]: at once and 491 when
    /// an offer is open already or the dialog has not come far enough.
    pub fn offer(&mut self, dialog: DialogId, body: Option<Body>, now: Tick) {
        let Some(leg) = self.legs.get_mut(dialog) else { return };
        let method = match &leg.state {
            State::Talking { .. } => Method::Invite,
            State::Ringing { .. } | State::Calling { .. } => Method::Update,
            State::Cancelling { .. } | State::Leaving { .. } | State::Closing => return,
        };
        match leg.talk_to_offer(&method) {
            Some((_, talk)) if method == Method::Invite || body.is_some() => {
                talk.ours = Some(OurOffer { method, body, glares: 0, back_off: None });
                self.send_offer(dialog, now);
            }
            Some(_) | None => {
                self.events.push_back(Event::OfferAnswered { dialog, status: 491, message: None });
            }
        }
    }

    /// Answers [`Event::Offer`]: 200 with this body, or a failure with this status. No effect when
    /// the peer withdrew it meanwhile.
    pub fn answer_offer(&mut self, dialog: DialogId, answer: Result<Option<Body>, u16>, now: Tick) {
        let Some(leg) = self.legs.get_mut(dialog) else { return };
        let contact = leg.contact.clone();
        let Some(request) = leg.talks().into_iter().find_map(|(_, talk)| talk.theirs.take()) else {
            return;
        };
        match answer {
            Ok(body) => {
                self.accept_with(dialog, request, &contact, body.as_ref(), now);
            }
            Err(status) => {
                self.reply(request, &Reply::of(status.clamp(300, 699)), now);
            }
        }
    }

    /// Remembers which ACK a 2xx waits for, before the 2xx leaves. An UPDATE waits for none.
    pub(super) fn expect_ack(
        &mut self,
        id: DialogId,
        invite: TransactionId,
        request: &Message<'_>,
    ) {
        let Some(entry) = self.table.get(invite) else { return };
        let Role::InviteServer { cseq, .. } = entry.role else { return };
        let has_offer = request.body.is_empty();
        if let Some(State::Talking { talk, .. }) = self.legs.get_mut(id).map(|leg| &mut leg.state) {
            talk.unacked.push(Unacked { cseq, invite, has_offer });
        }
    }

    /// A re-INVITE or UPDATE came (RFC 3261 §14.2, RFC 3311 §5.2).
    pub(super) fn on_offer(&mut self, offer: &Incoming<'_>, id: DialogId, now: Tick) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        let glare = leg.glare(offer);
        let Some((dialog, talk)) = leg.talk_with(offer.from_tag) else {
            return self.refuse_inside(offer, id, 491, &[], now); // Our INVITE's offer is open.
        };
        match glare {
            Some(Glare::Pending) => return self.refuse_inside(offer, id, 491, &[], now),
            Some(Glare::Later) => return self.refuse_later(offer, id, now),
            None => {}
        }
        dialog.refresh_target(offer.message);
        talk.note_abilities(offer.message);
        leg.flow = offer.flow;
        let contact = leg.contact.clone();
        let Some(request) = self.serve(offer, Some(id), now) else { return };
        if !offer.is_offer() {
            // An UPDATE without SDP only says that the peer is there, and where (RFC 3311 §5.2).
            self.accept_with(id, request, &contact, None, now);
            return;
        }
        if let Some(leg) = self.legs.get_mut(id)
            && let Some((_, talk)) = leg.talk_with(offer.from_tag)
        {
            talk.theirs = Some(request);
        }
        self.events.push_back(Event::Offer { dialog: id, message: Arc::clone(offer.bytes) });
    }

    /// A final response to an UPDATE of ours.
    pub(super) fn on_update_answer(&mut self, id: DialogId, answer: &Answer<'_>, now: Tick) {
        let message = Arc::clone(answer.bytes);
        if answer.status >= 300 {
            return self.on_offer_failed(id, answer.status, Some(message), now);
        }
        if let Some(leg) = self.legs.get_mut(id)
            && let Some((dialog, talk)) = leg.talk_with(answer.to_tag)
        {
            dialog.refresh_target(answer.message);
            talk.note_abilities(answer.message);
        }
        if self.is_talking(id) {
            self.take_session(id, answer.message, now);
        }
        self.say_offer_answered(id, answer.status, Some(message));
    }

    /// 500 with a random Retry-After up to ten seconds (RFC 3261 §14.2).
    fn refuse_later(&mut self, offer: &Incoming<'_>, id: DialogId, now: Tick) {
        let wait = self.rng.below(11).to_string();
        self.refuse_inside(offer, id, 500, &[("Retry-After", &wait)], now);
    }

    fn send_offer(&mut self, id: DialogId, now: Tick) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        let (flow, contact, invite) = (leg.flow, leg.contact.clone(), leg.invite_of_forks());
        let session = leg.session_wanted().headers();
        let Some((place, ours)) = leg.our_offer() else { return };
        ours.back_off = None;
        let (mut dialog, method, body) = (place.clone(), ours.method.clone(), ours.body.take());
        let headers = borrowed(&session);
        let offer = Inside {
            contact: Some(&contact),
            headers: &headers,
            body: body.as_ref(),
            ..Inside::of(method)
        };
        self.number_fork(invite, &mut dialog);
        let sent = self.send_inside(flow, &mut dialog, &offer, Purpose::Offer(id), now);
        if let Some(leg) = self.legs.get_mut(id)
            && let Some((place, ours)) = leg.our_offer()
        {
            place.local_cseq = dialog.local_cseq;
            ours.body = body;
        }
        if sent.is_none() {
            self.say_offer_answered(id, 503, None);
        }
    }

    /// Gives a request in an early dialog of our INVITE the next number of all its forks.
    pub(super) fn number_fork(&mut self, invite: Option<TransactionId>, dialog: &mut Dialog) {
        if let Some(entry) = invite.and_then(|invite| self.table.get_mut(invite))
            && let Role::InviteClient { cseq, .. } = &mut entry.role
        {
            dialog.local_cseq = *cseq;
            *cseq += 1;
        }
    }

    /// Our offer failed: 491 tries again later, 481 and 408 end a confirmed dialog (RFC 3261 §14.1,
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
            422 if self.offer_longer(id, message.as_deref(), now) => {}
            _ => self.say_offer_answered(id, status, message),
        }
    }

    /// Whether a 422 was met with a longer session (RFC 4028 §7.4).
    fn offer_longer(&mut self, id: DialogId, response: Option<&[u8]>, now: Tick) -> bool {
        let response = response.and_then(|bytes| Message::parse(bytes).ok());
        let (Some(leg), Some(response)) = (self.legs.get_mut(id), response) else { return false };
        let is_raised = leg.raise_session(&response);
        if is_raised {
            self.send_offer(id, now);
        }
        is_raised
    }

    /// Whether the offer will be tried again: 2.1 to 4 s later by the one who chose the Call-ID,
    /// up to 2 s later by the other, so that the two do not meet again (RFC 3261 §14.1).
    fn back_off(&mut self, id: DialogId, now: Tick) -> bool {
        let Some(leg) = self.legs.get_mut(id) else { return false };
        let Some((dialog, ours)) = leg.our_offer() else { return false };
        if ours.glares >= GLARES_MAX {
            return false;
        }
        ours.glares += 1;
        let (from, to) = if dialog.is_caller { (2100, 4000) } else { (0, 2000) };
        let pause = self.rng.between(Duration::from_millis(from), Duration::from_millis(to));
        ours.back_off = Some(self.timers.arm(now + pause, Wake::BackOff(id)));
        true
    }

    /// The pause after a glare is over; it starts again while the peer's offer is open.
    pub(super) fn on_back_off_over(&mut self, id: DialogId, now: Tick) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        let is_busy = leg
            .talks()
            .iter()
            .any(|(_, talk)| talk.ours.is_some() && (talk.theirs.is_some() || !talk.is_quiet()));
        if let Some((_, ours)) = leg.our_offer() {
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
        let Some(leg) = self.legs.get_mut(id) else { return };
        for (_, talk) in leg.talks() {
            talk.theirs.take_if(|theirs| *theirs == request);
        }
    }

    /// A dialog is about to end: the peer's open offer gets 487, ours is not tried again, and an
    /// ACK that waits for its answer leaves without one.
    pub(super) fn drop_offers(&mut self, id: DialogId, now: Tick) {
        self.acknowledge(id, None);
        self.stop_session(id);
        let Some(leg) = self.legs.get_mut(id) else { return };
        let (mut pauses, mut open) = (Vec::new(), Vec::new());
        for (_, talk) in leg.talks() {
            pauses.extend(talk.ours.take().and_then(|ours| ours.back_off));
            open.extend(talk.theirs.take());
        }
        pauses.into_iter().for_each(|pause| self.timers.clear(pause));
        for request in open {
            self.reply(request, &Reply::of(487), now);
        }
    }

    fn is_talking(&self, id: DialogId) -> bool {
        self.legs.get(id).is_some_and(|leg| matches!(leg.state, State::Talking { .. }))
    }

    /// The outcome of our offer, unless the dialog ended meanwhile.
    pub(super) fn say_offer_answered(
        &mut self,
        id: DialogId,
        status: u16,
        message: Option<Arc<[u8]>>,
    ) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        let ours = leg.talks().into_iter().find_map(|(_, talk)| talk.ours.take());
        if ours.is_some() {
            self.events.push_back(Event::OfferAnswered { dialog: id, status, message });
        }
    }
}

impl Incoming<'_> {
    /// Whether it asks for something to be negotiated: a re-INVITE always does (RFC 3261 §14.1).
    fn is_offer(&self) -> bool {
        *self.method == Method::Invite || !self.message.body.is_empty()
    }
}

impl Talk {
    /// Whether no 2xx waits for its ACK, on either side.
    fn is_quiet(&self) -> bool {
        self.unacked.is_empty() && self.owed.is_none()
    }
}

impl Leg {
    /// The dialog with this tag of the peer, as far as something can be negotiated in it.
    pub(super) fn talk_with(&mut self, remote_tag: &str) -> Option<(&mut Dialog, &mut Talk)> {
        self.talks().into_iter().find(|(dialog, _)| *dialog.remote_tag == *remote_tag)
    }

    /// Where an offer of ours may begin now: no other is open in either direction (§14.1), and an
    /// early one waits until its callee is the only one.
    fn talk_to_offer(&mut self, method: &Method) -> Option<(&mut Dialog, &mut Talk)> {
        let mut talks = self.talks();
        let (dialog, talk) = talks.pop().filter(|_| talks.is_empty())?;
        let may = talk.ours.is_none() && talk.theirs.is_none() && talk.is_quiet();
        let is_early_offer = *method == Method::Update;
        let may = may && (!is_early_offer || talk.is_settled && talk.allows_update);
        may.then_some((dialog, talk))
    }

    /// Our offer and the dialog that it is made in.
    fn our_offer(&mut self) -> Option<(&mut Dialog, &mut OurOffer)> {
        self.talks().into_iter().find_map(|(dialog, talk)| Some((dialog, talk.ours.as_mut()?)))
    }

    /// The INVITE whose early dialogs these are.
    const fn invite_of_forks(&self) -> Option<TransactionId> {
        match self.state {
            State::Calling { invite, .. } => Some(invite),
            State::Cancelling { .. }
            | State::Ringing { .. }
            | State::Talking { .. }
            | State::Leaving { .. }
            | State::Closing => None,
        }
    }

    /// Why the peer's offer cannot be served now, if it cannot.
    fn glare(&mut self, offer: &Incoming<'_>) -> Option<Glare> {
        let is_ringing = matches!(self.state, State::Ringing { .. });
        if !offer.is_offer() {
            return None;
        }
        // One at a time over all forks: the user answers the dialog, not the fork.
        if self.talks().iter().any(|(_, talk)| talk.theirs.is_some()) {
            return Some(Glare::Later);
        }
        let (_, talk) = self.talk_with(offer.from_tag)?;
        if talk.has_open_offer() {
            Some(Glare::Pending)
        } else if talk.unacked.len() >= UNACKED_MAX {
            Some(Glare::Later)
        } else if !talk.is_settled || is_ringing && *offer.method == Method::Invite {
            // Its own INVITE is not answered, or ours is not (RFC 3311 §5.2, RFC 3261 §14.2).
            Some(if is_ringing { Glare::Later } else { Glare::Pending })
        } else {
            None
        }
    }
}
