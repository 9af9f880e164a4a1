//! Calling: an INVITE goes out and its answers come in, from one callee or from several forks.

use std::sync::Arc;

use super::Endpoint;
use super::compose::Inside;
use super::leg::{Leg, State, Talk};
use super::receive::Answer;
use super::table::{FORKS_MAX, Purpose, Role};
use super::types::{Cause, DialogId, Event, NotSent, Outgoing, TransactionId};
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
        let leg = Leg { key, flow, contact, state };
        let id = self.legs.insert(leg).ok_or(NotSent::Full)?;
        let sent = self.send_attempt(&attempt, None, Purpose::Begin(id), now);
        let leg = self.legs.get_mut(id).expect("it was put in above");
        match sent {
            Ok(invite) => {
                leg.state = State::Calling { invite, attempt, is_heard: false };
                self.by_tag.insert(key, id);
                Ok(id)
            }
            Err(reason) => {
                self.legs.remove(id);
                Err(reason)
            }
        }
    }

    /// A response to an INVITE of ours, first or not.
    pub(super) fn on_invite_answer(&mut self, id: TransactionId, answer: &Answer<'_>, now: Tick) {
        let timing = self.config.timing;
        let Some(entry) = self.table.get_mut(id) else { return };
        let flow = entry.flow;
        let Role::InviteClient { machine, request, acks, purpose } = &mut entry.role else {
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
            (Heard::Deliver, ..200) => self.on_provisional(purpose, answer, now),
            (Heard::Repeated, _) if known.is_some() => {
                // Every copy of a final response gets its ACK (§13.2.2.4, §17.1.1.2).
                let (flow, ack) = known.expect("it was there in the guard");
                self.transmit(flow, ack);
            }
            (Heard::Deliver, ..300) => self.on_accepted(id, &request, purpose, answer, now),
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

    fn on_provisional(&mut self, purpose: Purpose, answer: &Answer<'_>, now: Tick) {
        let Purpose::Begin(dialog) = purpose else { return };
        let Some(leg) = self.legs.get_mut(dialog) else { return };
        match &mut leg.state {
            State::Calling { is_heard, .. } => {
                *is_heard = true;
                if answer.status > 100 {
                    let (status, message) = (answer.status, Arc::clone(answer.bytes));
                    self.events.push_back(Event::Provisional { dialog, status, message });
                }
            }
            State::Cancelling { invite, is_sent } if !*is_sent => {
                *is_sent = true;
                let invite = *invite;
                self.say_cancel(invite, now);
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
            Purpose::Bye(_) | Purpose::Ask(_) | Purpose::Nothing => return,
        };
        match self.legs.get_mut(dialog_id).map(|leg| &mut leg.state) {
            Some(State::Talking { dialog, .. }) => {
                dialog.refresh_target(answer.message);
                let dialog = dialog.clone();
                self.say_ack(id, request, &dialog, flow, answer);
                self.say_offer_answered(dialog_id, answer.status, Some(Arc::clone(answer.bytes)));
            }
            Some(state @ (State::Calling { .. } | State::Cancelling { .. })) => {
                let is_wanted = matches!(state, State::Calling { .. });
                let Some(dialog) = caller_dialog(request, answer.message) else { return };
                let dialog = Box::new(dialog);
                *state = State::Talking { dialog: dialog.clone(), talk: Talk::default() };
                self.say_ack(id, request, &dialog, flow, answer);
                if is_wanted {
                    let message = Arc::clone(answer.bytes);
                    self.events.push_back(Event::Answered { dialog: dialog_id, message });
                } else {
                    // The 2xx crossed our CANCEL (§9.1, §15).
                    self.say_bye(dialog_id, &[], now);
                }
            }
            // A re-INVITE answered after the BYE: only its ACK is owed.
            _ if matches!(purpose, Purpose::Offer(_)) => {
                let Some(dialog) = caller_dialog(request, answer.message) else { return };
                self.say_ack(id, request, &dialog, flow, answer);
            }
            Some(State::Ringing { .. } | State::Leaving { .. } | State::Closing) | None => {
                self.hang_up_fork(id, request, flow, answer, now);
            }
        }
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
        let Some(mut dialog) = caller_dialog(request, answer.message) else { return };
        self.say_ack(id, request, &dialog, flow, answer);
        self.send_inside(flow, &mut dialog, &Inside::of(Method::Bye), Purpose::Nothing, now);
    }

    /// The ACK of a 2xx, kept for the copies of it.
    fn say_ack(
        &mut self,
        id: TransactionId,
        request: &[u8],
        dialog: &Dialog,
        flow: Flow,
        answer: &Answer<'_>,
    ) {
        let flow = dialog.next_hop(flow);
        let Some(ack) = self.ack_accepted(request, dialog, flow, answer.cseq) else { return };
        self.keep_ack(id, answer.to_tag, flow, Arc::clone(&ack));
        self.transmit(flow, ack);
    }

    fn keep_ack(&mut self, id: TransactionId, tag: &str, flow: Flow, ack: Arc<[u8]>) {
        if let Some(entry) = self.table.get_mut(id)
            && let Role::InviteClient { acks, .. } = &mut entry.role
        {
            acks.push((tag.into(), flow, ack));
        }
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
            Purpose::Bye(_) | Purpose::Ask(_) | Purpose::Nothing => {}
        }
    }

    /// Whether a challenged INVITE was sent again with credentials.
    fn try_again(&mut self, id: DialogId, answer: &Answer<'_>, now: Tick) -> bool {
        let Some(leg) = self.legs.get_mut(id) else { return false };
        let State::Calling { attempt, .. } = &mut leg.state else { return false };
        let mut attempt = attempt.clone();
        let Some(authorization) = self.answer_challenge(&mut attempt, answer) else { return false };
        let sent = self.send_attempt(&attempt, Some(authorization), Purpose::Begin(id), now);
        match (sent, self.legs.get_mut(id)) {
            (Ok(invite), Some(leg)) => {
                leg.state = State::Calling { invite, attempt, is_heard: false };
                true
            }
            (Err(_), _) | (_, None) => false,
        }
    }
}

/// The dialog that a response to this INVITE of ours makes.
fn caller_dialog(request: &[u8], response: &Message<'_>) -> Option<Dialog> {
    let request = Message::parse(request).expect("we printed it ourselves");
    Dialog::of_caller(&request, response)
}
