//! Calling: an INVITE goes out and its answers come in, from one callee or from several forks.

use std::sync::Arc;

use super::Endpoint;
use super::compose::Inside;
use super::leg::{Attempt, Fork, Leg, OwedAck, State, Talk};
use super::receive::Answer;
use super::session::Session;
use super::table::{FORKS_MAX, Purpose, Role};
use super::types::{Body, Cause, DialogId, Event, NotSent, Outgoing, TransactionId};
use crate::base::Tick;
use crate::sip::dialog::Dialog;
use crate::sip::transaction::Heard;
use crate::sip::transport::Flow;
use crate::sip::{Message, Method};

impl Endpoint {
    /// Calls somebody. Events of the dialog follow, the last is [`Event::Ended`].
    pub fn invite(&mut self, outgoing: Outgoing, now: Tick) -> Result<DialogId, NotSent> {
        if self.table.is_full() || self.legs.len() >= self.config.dialogs_max {
            return Err(NotSent::Full);
        }
        let flow = outgoing.flow;
        let contact = self.contact(flow, &outgoing.from.user);
        let attempt = Box::new(self.attempt(Method::Invite, outgoing));
        let key = self.keys.of(&[attempt.call_id.as_bytes(), attempt.from_tag.as_bytes()]);
        let state = State::Closing; // Until the INVITE has its transaction, below.
        let leg = Leg { key, flow, contact, state, session: Session::default() };
        let id = self.legs.insert(leg).ok_or(NotSent::Full)?;
        let sent = self.send_attempt(&attempt, None, Purpose::Begin(id), now);
        let leg = self.legs.get_mut(id).expect("it was put in above");
        match sent {
            Ok(invite) => {
                leg.state = State::Calling { invite, attempt, is_heard: false, forks: Vec::new() };
                self.by_tag.insert(key, id);
                Ok(id)
            }
            Err(reason) => {
                self.legs.remove(id);
                Err(reason)
            }
        }
    }

    /// Acknowledges the 2xx of an INVITE of ours that had no offer, with the answer to the offer that
    /// the 2xx brought (RFC 3261 §13.2.2.4). No effect when nothing waits for it.
    pub fn acknowledge(&mut self, dialog: DialogId, body: Option<Body>) {
        let Some(leg) = self.legs.get_mut(dialog) else { return };
        let State::Talking { dialog: inner, talk } = &mut leg.state else { return };
        let Some(owed) = talk.owed.take() else { return };
        let (flow, inner) = (leg.flow, inner.clone());
        self.say_owed_ack(&owed, &inner, flow, body.as_ref());
    }

    /// A response to an INVITE of ours, first or not.
    pub(super) fn on_invite_answer(&mut self, id: TransactionId, answer: &Answer<'_>, now: Tick) {
        let timing = self.config.timing;
        let Some(entry) = self.table.get_mut(id) else { return };
        let flow = entry.flow;
        let Role::InviteClient { machine, request, acks, purpose, .. } = &mut entry.role else {
            return;
        };
        let heard = machine.handle_response(answer.status, flow.transport, &timing, now);
        let (request, purpose) = (Arc::clone(request), *purpose);
        let is_accepted = (200..300).contains(&answer.status);
        let known = acks.iter().find(|(tag, ..)| !is_accepted || **tag == *answer.to_tag);
        let known = known.map(|(_, flow, ack)| (*flow, Arc::clone(ack)));
        self.table.rearm(id);
        match (heard, answer.status) {
            (Heard::Absorb, _) => {}
            (Heard::Deliver, ..200) => self.on_provisional(&request, purpose, answer, now),
            (Heard::Repeated, _) if known.is_some() => {
                // Every copy of a final response gets its ACK (§13.2.2.4, §17.1.1.2).
                let (flow, ack) = known.expect("it was there in the guard");
                self.transmit(flow, ack);
            }
            (Heard::Deliver, ..300) => self.on_accepted(id, &request, purpose, answer, now),
            (Heard::Repeated, ..300) if self.is_owed(purpose, answer) => {}
            (Heard::Repeated, ..300) => self.hang_up_fork(id, &request, flow, answer, now),
            (Heard::Deliver | Heard::Repeated, 300..) => {
                if let Some(ack) = self.ack_failure(&request, answer.message) {
                    self.keep_ack(id, "", flow, Arc::clone(&ack));
                    self.transmit(flow, ack);
                }
                self.on_refused(purpose, answer, now);
            }
        }
    }

    fn on_provisional(&mut self, request: &[u8], purpose: Purpose, answer: &Answer<'_>, now: Tick) {
        let Purpose::Begin(dialog) = purpose else { return };
        let Some(leg) = self.legs.get_mut(dialog) else { return };
        match &mut leg.state {
            State::Calling { is_heard, forks, .. } => {
                *is_heard = true;
                if answer.status == 100 {
                    return;
                }
                note_fork(forks, request, answer);
                if !self.confirm(dialog, answer, now) {
                    return;
                }
                let (status, message) = (answer.status, Arc::clone(answer.bytes));
                self.events.push_back(Event::Provisional { dialog, status, message });
            }
            State::Cancelling { invite, is_sent, reason } if !*is_sent => {
                *is_sent = true;
                let (invite, reason) = (*invite, reason.take());
                self.say_cancel(invite, reason.as_deref(), now);
            }
            State::Cancelling { .. }
            | State::Ringing { .. }
            | State::Talking { .. }
            | State::Leaving { .. }
            | State::Closing => {}
        }
    }

    /// The first 2xx: the dialog is confirmed and acknowledged, whoever still wants it.
    fn on_accepted(
        &mut self,
        id: TransactionId,
        request: &Arc<[u8]>,
        purpose: Purpose,
        answer: &Answer<'_>,
        now: Tick,
    ) {
        let Some(flow) = self.table.get(id).map(|entry| entry.flow) else { return };
        let dialog_id = match purpose {
            Purpose::Begin(dialog) | Purpose::Offer(dialog) => dialog,
            Purpose::CloseOut(close_out, part) => {
                self.hang_up_fork(id, request, flow, answer, now);
                return self.on_close_out_ended(close_out, part, answer.status);
            }
            Purpose::Refresh(_) | Purpose::Bye(_) | Purpose::Ask(_) | Purpose::Nothing => return,
        };
        match self.legs.get_mut(dialog_id).map(|leg| &mut leg.state) {
            Some(State::Talking { dialog, talk }) if matches!(purpose, Purpose::Offer(_)) => {
                dialog.refresh_target(answer.message);
                talk.note_abilities(answer.message);
                self.take_session(dialog_id, answer.message, now);
                self.settle_ack(id, dialog_id, request, answer);
                self.say_offer_answered(dialog_id, answer.status, Some(Arc::clone(answer.bytes)));
            }
            Some(State::Calling { .. } | State::Cancelling { .. }) => {
                self.on_confirmed(id, dialog_id, request, answer, now);
            }
            // A re-INVITE answered after the BYE: only its ACK is owed.
            _ if matches!(purpose, Purpose::Offer(_)) => {
                let Some(dialog) = self.caller_dialog(id, request, answer.message) else { return };
                self.say_ack(id, &dialog, flow, answer.cseq, answer.to_tag, None);
            }
            Some(
                State::Ringing { .. }
                | State::Talking { .. }
                | State::Leaving { .. }
                | State::Closing,
            )
            | None => self.hang_up_fork(id, request, flow, answer, now),
        }
    }

    fn on_confirmed(
        &mut self,
        id: TransactionId,
        dialog_id: DialogId,
        request: &Arc<[u8]>,
        answer: &Answer<'_>,
        now: Tick,
    ) {
        let Some(mut dialog) = self.caller_dialog(id, request, answer.message) else { return };
        let Some(leg) = self.legs.get_mut(dialog_id) else { return };
        let mut talk = Talk::default();
        let is_wanted = matches!(leg.state, State::Calling { .. });
        if let State::Calling { forks, .. } = &mut leg.state
            && let Some(at) = forks.iter().position(|fork| fork.is(answer.to_tag))
        {
            // The early dialog goes on; its route set is the one of the 2xx (§13.2.2.4).
            let early = forks.swap_remove(at);
            dialog.remote_cseq = early.dialog.remote_cseq;
            talk = early.talk;
        }
        talk.is_settled = true;
        talk.note_abilities(answer.message);
        self.drop_offers(dialog_id, now);
        if let Some(leg) = self.legs.get_mut(dialog_id) {
            leg.state = State::Talking { dialog: Box::new(dialog), talk };
        }
        if is_wanted {
            self.take_session(dialog_id, answer.message, now);
            self.settle_ack(id, dialog_id, request, answer);
            let message = Arc::clone(answer.bytes);
            self.events.push_back(Event::Answered { dialog: dialog_id, message });
        } else {
            // The 2xx crossed our CANCEL (§9.1, §15).
            self.owe_ack(id, dialog_id, answer);
            self.say_bye(dialog_id, &[], now);
        }
    }

    /// Acknowledges a 2xx at once, unless it brought an offer that only the user can answer.
    fn settle_ack(
        &mut self,
        id: TransactionId,
        dialog: DialogId,
        request: &[u8],
        answer: &Answer<'_>,
    ) {
        let is_offerless = Message::parse(request).is_ok_and(|request| request.body.is_empty());
        self.owe_ack(id, dialog, answer);
        if !is_offerless || answer.message.body.is_empty() {
            self.acknowledge(dialog, None);
        }
    }

    fn owe_ack(&mut self, id: TransactionId, dialog: DialogId, answer: &Answer<'_>) {
        if let Some(State::Talking { talk, .. }) =
            self.legs.get_mut(dialog).map(|leg| &mut leg.state)
        {
            let (cseq, to_tag) = (answer.cseq, answer.to_tag.into());
            talk.owed = Some(OwedAck { invite: id, cseq, to_tag });
        }
    }

    /// Whether this copy of a 2xx will be acknowledged when its user has answered the offer in it.
    fn is_owed(&self, purpose: Purpose, answer: &Answer<'_>) -> bool {
        let (Purpose::Begin(dialog) | Purpose::Offer(dialog)) = purpose else { return false };
        let state = self.legs.get(dialog).map(|leg| &leg.state);
        let Some(State::Talking { talk, .. }) = state else { return false };
        talk.owed.as_ref().is_some_and(|owed| *owed.to_tag == *answer.to_tag)
    }

    /// RFC 3261 §13.2.2.4: a 2xx of another fork is acknowledged and hung up at once.
    fn hang_up_fork(
        &mut self,
        id: TransactionId,
        request: &Arc<[u8]>,
        flow: Flow,
        answer: &Answer<'_>,
        now: Tick,
    ) {
        let Some(entry) = self.table.get(id) else { return };
        let Role::InviteClient { acks, .. } = &entry.role else { return };
        if acks.len() >= FORKS_MAX {
            return;
        }
        let Some(mut dialog) = self.caller_dialog(id, request, answer.message) else { return };
        self.say_ack(id, &dialog, flow, answer.cseq, answer.to_tag, None);
        self.send_inside(flow, &mut dialog, &Inside::of(Method::Bye), Purpose::Nothing, now);
    }

    pub(super) fn say_owed_ack(
        &mut self,
        owed: &OwedAck,
        dialog: &Dialog,
        flow: Flow,
        body: Option<&Body>,
    ) {
        let flow = self.table.get(owed.invite).map_or(flow, |entry| entry.flow);
        self.say_ack(owed.invite, dialog, flow, owed.cseq, &owed.to_tag, body);
    }

    /// The ACK of a 2xx, kept for the copies of it.
    fn say_ack(
        &mut self,
        id: TransactionId,
        dialog: &Dialog,
        flow: Flow,
        cseq: u32,
        to_tag: &str,
        body: Option<&Body>,
    ) {
        let Some(Role::InviteClient { request, .. }) = self.table.get(id).map(|one| &one.role)
        else {
            return;
        };
        let (flow, request) = (dialog.next_hop(flow), Arc::clone(request));
        let Some(ack) = self.ack_accepted(&request, dialog, flow, cseq, body) else { return };
        self.keep_ack(id, to_tag, flow, Arc::clone(&ack));
        self.transmit(flow, ack);
    }

    fn keep_ack(&mut self, id: TransactionId, tag: &str, flow: Flow, ack: Arc<[u8]>) {
        if let Some(entry) = self.table.get_mut(id)
            && let Role::InviteClient { acks, .. } = &mut entry.role
        {
            acks.push((tag.into(), flow, ack));
        }
    }

    /// The dialog that a 2xx to this INVITE of ours makes; its numbers go on behind those that its
    /// early dialogs used.
    fn caller_dialog(
        &self,
        id: TransactionId,
        request: &[u8],
        response: &Message<'_>,
    ) -> Option<Dialog> {
        let mut dialog = dialog_of(request, response)?;
        if let Some(Role::InviteClient { cseq, .. }) = self.table.get(id).map(|entry| &entry.role) {
            dialog.local_cseq = *cseq;
        }
        Some(dialog)
    }

    /// A final failure, acknowledged already.
    fn on_refused(&mut self, purpose: Purpose, answer: &Answer<'_>, now: Tick) {
        let message: Arc<[u8]> = Arc::clone(answer.bytes);
        match purpose {
            Purpose::Begin(dialog) => {
                if !self.try_again(dialog, answer, now) {
                    let cause = Cause::Rejected { status: answer.status };
                    self.end(dialog, cause, Some(message));
                }
            }
            Purpose::Offer(dialog) => {
                self.on_offer_failed(dialog, answer.status, Some(message), now);
            }
            Purpose::CloseOut(id, part) => self.on_close_out_ended(id, part, answer.status),
            Purpose::Refresh(_) | Purpose::Bye(_) | Purpose::Ask(_) | Purpose::Nothing => {}
        }
    }

    /// Whether a challenged INVITE was sent again with credentials, or one whose session was too
    /// short with a longer one.
    fn try_again(&mut self, id: DialogId, answer: &Answer<'_>, now: Tick) -> bool {
        let Some(leg) = self.legs.get_mut(id) else { return false };
        let State::Calling { attempt, .. } = &mut leg.state else { return false };
        let mut attempt = attempt.clone();
        let authorization = self.answer_challenge(&mut attempt, answer);
        if authorization.is_none() && !self.ask_longer(&mut attempt, answer) {
            return false;
        }
        let sent = self.send_attempt(&attempt, authorization, Purpose::Begin(id), now);
        match (sent, self.legs.get_mut(id)) {
            (Ok(invite), Some(leg)) => {
                leg.state = State::Calling { invite, attempt, is_heard: false, forks: Vec::new() };
                true
            }
            (Err(_), _) | (_, None) => false,
        }
    }

    /// Whether a 422 can be met with a longer session (RFC 4028 §7.3); once.
    fn ask_longer(&mut self, attempt: &mut Attempt, answer: &Answer<'_>) -> bool {
        let longer = attempt.session.after(answer.message).filter(|_| answer.status == 422);
        let (Some(longer), false) = (longer, attempt.tries.is_longer) else { return false };
        attempt.session = longer;
        attempt.tries.is_longer = true;
        self.next_try(attempt);
        true
    }
}

/// The dialog that a response to this INVITE of ours makes.
fn dialog_of(request: &[u8], response: &Message<'_>) -> Option<Dialog> {
    let request = Message::parse(request).expect("we printed it ourselves");
    Dialog::of_caller(&request, response)
}

/// A provisional response with a To tag makes an early dialog, or is news of one (§12.1). Callees
/// beyond [`FORKS_MAX`] ring without one.
fn note_fork(forks: &mut Vec<Fork>, request: &[u8], answer: &Answer<'_>) {
    let known = forks.iter().position(|fork| fork.is(answer.to_tag));
    let at = match known {
        Some(at) => at,
        None if answer.to_tag.is_empty() || forks.len() >= FORKS_MAX => return,
        None => {
            let Some(dialog) = dialog_of(request, answer.message) else { return };
            forks.push(Fork::new(dialog));
            forks.len() - 1
        }
    };
    forks[at].dialog.refresh_target(answer.message);
    forks[at].talk.note_abilities(answer.message);
}
