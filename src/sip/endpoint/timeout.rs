//! What happens when time passes or a connection breaks: copies go out, silence gets a name.

use std::sync::Arc;

use super::leg::State;
use super::table::{Purpose, Role};
use super::types::{Cause, DialogId, Event, TransactionId};
use super::{Endpoint, Wake, compose};
use crate::base::Tick;
use crate::sip::transaction::Due;
use crate::sip::transport::Flow;

/// What a transaction's timer asks of the endpoint.
enum Wanted {
    Nothing,
    Send(Flow, Arc<[u8]>),
    /// A 100, since nothing was answered yet.
    Trying(Flow, Arc<[u8]>),
    /// Nobody answered our request.
    Silence(Purpose),
    /// Nobody acknowledged our 2xx.
    NoAck(DialogId),
    /// The user left an offer unanswered.
    Unanswered(DialogId),
}

impl Endpoint {
    /// Time has passed; everything that is due by `now` happens.
    pub fn handle_timeout(&mut self, now: Tick) {
        while let Some(id) = self.table.take_due(now) {
            let wanted = self.on_due(id, now);
            self.table.rearm(id);
            match wanted {
                Wanted::Nothing => {}
                Wanted::Send(flow, bytes) => self.transmit(flow, bytes),
                Wanted::Trying(flow, request) => {
                    if let Ok(trying) = compose::trying(&request, flow) {
                        self.transmit(flow, trying);
                    }
                }
                Wanted::Silence(purpose) => self.on_silence(purpose, 408, now),
                Wanted::NoAck(dialog) => self.on_no_ack(dialog, id, now),
                Wanted::Unanswered(dialog) => self.forget_their_offer(dialog, id),
            }
        }
        while let Some(wake) = self.timers.take_due(now) {
            match wake {
                Wake::BackOff(dialog) => self.on_back_off_over(dialog, now),
                Wake::Session(dialog) => self.on_session_due(dialog, now),
                Wake::Prack(dialog) => self.on_prack_due(dialog, now),
            }
        }
    }

    /// A connection is gone. Requests on it that wait for an answer fail; dialogs stay, since the
    /// peer may come back (a connection number unknown to `shell` counts as 0).
    pub fn handle_flow_closed(&mut self, connection: u64, now: Tick) {
        for id in self.table.on_connection(connection) {
            let Some(entry) = self.table.get_mut(id) else { continue };
            let (due, purpose) = match &mut entry.role {
                Role::InviteClient { machine, purpose, .. } => {
                    (machine.handle_transport_error(), *purpose)
                }
                Role::Client { machine, purpose, .. } => {
                    (machine.handle_transport_error(), *purpose)
                }
                Role::InviteServer { .. } | Role::Server { .. } => continue,
            };
            self.table.rearm(id);
            if due == Due::GiveUp {
                self.on_silence(purpose, 503, now);
            }
        }
    }

    fn on_due(&mut self, id: TransactionId, now: Tick) -> Wanted {
        let timing = self.config.timing;
        let Some(entry) = self.table.get_mut(id) else { return Wanted::Nothing };
        let flow = entry.flow;
        let send = |bytes: &Arc<[u8]>| Wanted::Send(flow, Arc::clone(bytes));
        match &mut entry.role {
            Role::InviteClient { machine, request, purpose, .. } => {
                match machine.handle_timeout(now) {
                    Due::Nothing => Wanted::Nothing,
                    Due::Resend => send(request),
                    Due::GiveUp => Wanted::Silence(*purpose),
                }
            }
            Role::Client { machine, request, purpose } => {
                match machine.handle_timeout(&timing, now) {
                    Due::Nothing => Wanted::Nothing,
                    Due::Resend => send(request),
                    Due::GiveUp => Wanted::Silence(*purpose),
                }
            }
            Role::InviteServer { machine, request, response, dialog, .. } => {
                match (machine.handle_timeout(&timing, now), response) {
                    (Due::Nothing, _) => Wanted::Nothing,
                    (Due::Resend, Some(response)) => send(response),
                    (Due::Resend, None) => Wanted::Trying(flow, Arc::clone(request)),
                    (Due::GiveUp, _) => Wanted::NoAck(*dialog),
                }
            }
            Role::Server { machine, dialog, .. } => match (machine.handle_timeout(now), dialog) {
                (Due::GiveUp, Some(dialog)) => Wanted::Unanswered(*dialog),
                (Due::Nothing | Due::Resend | Due::GiveUp, _) => Wanted::Nothing,
            },
        }
    }

    /// A request of ours got no final response: 408 for silence, 503 for a lost connection
    /// (RFC 3261 §8.1.3.1).
    fn on_silence(&mut self, purpose: Purpose, status: u16, now: Tick) {
        let cause = if status == 408 { Cause::Timeout } else { Cause::Transport };
        match purpose {
            Purpose::Begin(dialog) => self.end(dialog, cause, None),
            Purpose::Bye(dialog) => self.put_away(dialog, status != 408),
            Purpose::Offer(dialog) => self.on_offer_failed(dialog, status, None, now),
            Purpose::Refresh(dialog) => self.on_session_gone(dialog, None, now),
            Purpose::Ask(request) => {
                if self.asked.remove(request).is_some() {
                    let (message, flow) = (None, None);
                    self.events.push_back(Event::Response { request, status, message, flow });
                }
            }
            // The CANCEL and its INVITE wait equally long, and the INVITE may have heard something.
            Purpose::CloseOut(id, part) => self.close_part(id, part, false),
            Purpose::Nothing => {}
        }
    }

    /// RFC 3261 §13.3.1.4: a 2xx that nobody acknowledges ends the session with a BYE.
    fn on_no_ack(&mut self, id: DialogId, invite: TransactionId, now: Tick) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        let is_ours =
            |unacked: &[super::leg::Unacked]| unacked.iter().any(|one| one.invite == invite);
        match &leg.state {
            State::Talking { talk, .. } if is_ours(&talk.unacked) => {
                self.say_bye(id, &[], now);
                self.say_ended(id, Cause::NoAck, None);
            }
            State::Leaving { unacked, .. } if is_ours(unacked) => self.say_late_bye(id, now),
            State::Talking { .. }
            | State::Leaving { .. }
            | State::Calling { .. }
            | State::Cancelling { .. }
            | State::Ringing { .. }
            | State::Closing => {}
        }
    }
}
