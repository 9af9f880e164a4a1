//! Hanging up, on either side and in every state; and how a dialog is forgotten.

use std::sync::Arc;

use super::Endpoint;
use super::compose::{Inside, Reply};
use super::leg::{State, Talk, Unacked};
use super::receive::Incoming;
use super::table::{Purpose, Role};
use super::types::{Cause, DialogId, Event, TransactionId};
use crate::base::{Tick, take_out};
use crate::sip::Method;

impl Endpoint {
    /// Ends a dialog, whatever its state: CANCEL, 480 or BYE. [`Event::Ended`] with
    /// [`Cause::Local`] follows at once; what the wire still needs happens behind it: a CANCEL
    /// waits for the first provisional response (RFC 3261 §9.1), a 2xx that crosses it gets ACK and
    /// BYE, a BYE waits for the ACK of our 2xx (§15). `reason` is the value of a Reason header
    /// (RFC 3326), such as `Q.850;cause=16`. No effect on a dialog that has ended.
    pub fn hangup(&mut self, dialog: DialogId, reason: Option<&str>, now: Tick) {
        let Some(leg) = self.legs.get_mut(dialog) else { return };
        let reasons = reason.map(|reason| ("Reason", reason));
        match &mut leg.state {
            State::Calling { invite, is_heard, .. } => {
                let (invite, is_sent) = (*invite, *is_heard);
                self.drop_offers(dialog, now);
                let Some(leg) = self.legs.get_mut(dialog) else { return };
                let late = reason.filter(|_| !is_sent).map(Into::into);
                leg.state = State::Cancelling { invite, is_sent, reason: late };
                if is_sent {
                    self.say_cancel(invite, reason, now);
                }
                self.say_ended(dialog, Cause::Local, None);
            }
            State::Ringing { invite, .. } => {
                let invite = *invite;
                self.reply(invite, &Reply { headers: reasons.as_slice(), ..Reply::of(480) }, now);
                self.end(dialog, Cause::Local, None);
            }
            State::Talking { talk, .. } => {
                if talk.unacked.is_empty() {
                    self.say_bye(dialog, reasons.as_slice(), now);
                } else {
                    self.drop_offers(dialog, now);
                    if let Some(leg) = self.legs.get_mut(dialog)
                        && let State::Talking { dialog: inner, talk } = &mut leg.state
                    {
                        let (inner, unacked) =
                            (std::mem::take(inner), std::mem::take(&mut talk.unacked));
                        let reason = reason.map(Into::into);
                        leg.state = State::Leaving { dialog: inner, unacked, reason };
                    }
                }
                self.say_ended(dialog, Cause::Local, None);
            }
            State::Cancelling { .. } | State::Leaving { .. } | State::Closing => {}
        }
    }

    /// Sends the BYE of a confirmed dialog, which from then on waits for the response only.
    pub(super) fn say_bye(&mut self, id: DialogId, headers: &[(&str, &str)], now: Tick) {
        self.drop_offers(id, now);
        let Some(leg) = self.legs.get_mut(id) else { return };
        let (State::Talking { dialog, .. } | State::Leaving { dialog, .. }) = &mut leg.state else {
            return;
        };
        let mut dialog = std::mem::take(dialog);
        leg.state = State::Closing;
        let flow = leg.flow;
        let bye = Inside { headers, ..Inside::of(Method::Bye) };
        if self.send_inside(flow, &mut dialog, &bye, Purpose::Bye(id), now).is_none() {
            // Not even the reserve has room: the BYE is on its way once, and nobody waits for it.
            self.forget(id);
        }
    }

    /// The ACK that a BYE waited for is there, or will never come.
    pub(super) fn say_late_bye(&mut self, id: DialogId, now: Tick) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        let State::Leaving { reason, .. } = &mut leg.state else { return };
        let reason = reason.take();
        let reasons = reason.as_deref().map(|reason| ("Reason", reason));
        self.say_bye(id, reasons.as_slice(), now);
    }

    /// Sends the CANCEL of an INVITE that the peer is known to have (RFC 3261 §9.1).
    pub(super) fn say_cancel(&mut self, invite: TransactionId, reason: Option<&str>, now: Tick) {
        let timing = self.config.timing;
        let Some(entry) = self.table.get_mut(invite) else { return };
        let Role::InviteClient { machine, request, .. } = &mut entry.role else { return };
        machine.handle_cancel(&timing, now);
        let (flow, request) = (entry.flow, Arc::clone(request));
        self.table.rearm(invite);
        self.send_cancel(flow, &request, reason, Purpose::Nothing, now);
    }

    /// RFC 3261 §9.2: a CANCEL always gets its own answer; it changes something only while the
    /// INVITE is unanswered.
    pub(super) fn on_cancel(&mut self, cancel: &Incoming<'_>, now: Tick) {
        let Some(invite) = self.table.find(cancel.invite_key) else {
            return self.refuse(cancel, 481, &[]);
        };
        self.reply_stateless(cancel, &Reply { tag: Some(cancel.invite_key), ..Reply::of(200) });
        let Some(entry) = self.table.get(invite) else { return };
        let Role::InviteServer { machine, dialog, .. } = &entry.role else { return };
        if !machine.is_proceeding() {
            return;
        }
        let dialog = *dialog;
        self.reply(invite, &Reply::of(487), now);
        match self.legs.get_mut(dialog).map(|leg| &mut leg.state) {
            Some(State::Ringing { .. }) => {
                self.end(dialog, Cause::Cancelled, Some(Arc::clone(cancel.bytes)));
            }
            // A re-INVITE withdrawn: the session goes on as it was.
            Some(State::Talking { talk, .. }) => {
                talk.theirs.take_if(|theirs| *theirs == invite);
            }
            Some(
                State::Calling { .. }
                | State::Cancelling { .. }
                | State::Leaving { .. }
                | State::Closing,
            )
            | None => {}
        }
    }

    /// The peer's BYE, in whatever state it finds us: 200, and every request of the peer that is
    /// still open gets 487 (RFC 3261 §15.1.2).
    pub(super) fn on_bye(&mut self, bye: &Incoming<'_>, id: DialogId, now: Tick) {
        let Some(request) = self.serve(bye, None, now) else { return };
        self.reply_to(bye.message, request, &Reply::of(200), now);
        let Some(leg) = self.legs.get_mut(id) else { return };
        if let State::Calling { forks, .. } = &mut leg.state
            && forks.len() > 1
        {
            // One callee of several is gone; the others still ring.
            return forks.retain(|fork| !fork.is(bye.from_tag));
        }
        self.drop_offers(id, now);
        let Some(leg) = self.legs.get(id) else { return };
        match &leg.state {
            State::Ringing { invite, .. } => {
                let invite = *invite;
                self.reply(invite, &Reply::of(487), now);
            }
            State::Talking { talk: Talk { unacked, .. }, .. } | State::Leaving { unacked, .. } => {
                let unacked = unacked.clone();
                self.stop_repeating(&unacked, now);
            }
            State::Calling { .. } | State::Cancelling { .. } | State::Closing => {}
        }
        self.end(id, Cause::Bye, Some(Arc::clone(bye.bytes)));
    }

    /// A peer that said BYE has heard our 2xx, even if its ACK was lost.
    pub(super) fn stop_repeating(&mut self, unacked: &[Unacked], now: Tick) {
        let timing = self.config.timing;
        for Unacked { invite, .. } in unacked {
            if let Some(entry) = self.table.get_mut(*invite) {
                entry.role.handle_ack(entry.flow.transport, &timing, now);
                self.table.rearm(*invite);
            }
        }
    }

    /// The user hears that a dialog is over; the wire may still need it.
    pub(super) fn say_ended(&mut self, dialog: DialogId, cause: Cause, message: Option<Arc<[u8]>>) {
        self.events.push_back(Event::Ended { dialog, cause, message });
    }

    /// Forgets a dialog; its user hears why, unless it was told that the dialog is over.
    pub(super) fn end(&mut self, id: DialogId, cause: Cause, message: Option<Arc<[u8]>>) {
        let is_certain = cause != Cause::Timeout;
        let Some(leg) = self.legs.get(id) else { return };
        match leg.state {
            State::Calling { .. } | State::Ringing { .. } | State::Talking { .. } => {
                self.say_ended(id, cause, message);
            }
            State::Cancelling { .. } | State::Leaving { .. } | State::Closing => {}
        }
        self.put_away(id, is_certain);
    }

    /// Forgets a dialog of which nothing more is expected.
    pub(super) fn forget(&mut self, id: DialogId) {
        self.put_away(id, true);
    }

    /// Forgets a dialog; its transactions absorb what still comes. Who hung up hears of it.
    pub(super) fn put_away(&mut self, id: DialogId, is_certain: bool) {
        let Some(mut leg) = self.legs.remove(id) else { return };
        take_out(&mut self.by_tag, &leg.key);
        self.timers.clear_slot(&mut leg.take_session_timer());
        if let State::Ringing { progress: Some(progress), .. } = &mut leg.state {
            self.timers.clear_slot(&mut progress.take_timer());
        }
        if matches!(leg.state, State::Cancelling { .. } | State::Leaving { .. } | State::Closing) {
            self.events.push_back(Event::Closed { dialog: id, is_certain });
        }
        for (_, talk) in leg.talks() {
            if let Some(ours) = &mut talk.ours {
                self.timers.clear_slot(&mut ours.back_off);
            }
        }
    }
}
