//! What the SIP endpoint says, as events of legs.

use crate::base::Tick;
use crate::call::info;
use crate::call::leg::{EndReason, LegRef};
use crate::call::switch::control::body_of;
use crate::call::switch::guard::Suspect;
use crate::call::switch::{Fact, Switch};
use crate::sip::{Cause, DialogId, Event, Message, Method};

impl Switch {
    /// Takes everything that the endpoint has to say.
    pub(super) fn drain_endpoint(&mut self, now: Tick) {
        while let Some(event) = self.endpoint.poll_event() {
            self.suspect = Suspect::of_event(&event);
            self.on_event(event, now);
        }
    }

    fn on_event(&mut self, event: Event, now: Tick) {
        match event {
            Event::Invite { dialog, request, flow } => self.on_invite(dialog, &request, flow, now),
            Event::Acknowledged { dialog, message, has_body } => {
                if let (Some(leg), true) = (self.leg_by(dialog), has_body) {
                    self.on_answer(leg, &body_of(&message), now);
                }
            }
            Event::Offer { dialog, message } => {
                if let Some(leg) = self.leg_by(dialog) {
                    self.on_offer(leg, &body_of(&message), now);
                }
            }
            Event::Ended { dialog, cause, .. } => self.on_dialog_ended(dialog, cause, now),
            Event::Closed { dialog, is_certain } => self.on_dialog_closed(dialog, is_certain, now),
            Event::Request { request, dialog, message, flow } => match method_of(&message) {
                Some(Method::Register) if dialog.is_none() => {
                    self.on_register(request, &message, flow, now);
                }
                Some(Method::Message) if dialog.is_none() => {
                    self.on_text(request, &message, flow, now);
                }
                _ => self.endpoint.respond(request, 405, &[], None, now),
            },
            Event::Provisional { dialog, status, message } => {
                if let Some(leg) = self.leg_by(dialog) {
                    self.on_attempt_heard(leg, &message, now);
                    self.on_attempt_progress(leg, status, &body_of(&message), now);
                }
            }
            Event::Answered { dialog, message } => {
                if let Some(leg) = self.leg_by(dialog) {
                    self.on_attempt_answered(leg, &message, now);
                }
            }
            Event::BadInput { source, method, status, rule } => {
                let (method, rule) = (method.into(), rule.into());
                self.tell(Fact::BadInput { source: source.remote, method, status, rule });
            }
            Event::ClosedOut { id, is_certain } => self.on_closed_out(id, is_certain, now),
            Event::OfferAnswered { dialog, status, message } => {
                let message = message.filter(|_| (200..300).contains(&status));
                let body = message.as_deref().map(body_of).unwrap_or_default();
                if let (Some(leg), false) = (self.leg_by(dialog), body.is_empty()) {
                    self.on_answer(leg, &body, now);
                }
            }
            Event::RefreshDue { dialog } => {
                if let Some(leg) = self.leg_by(dialog) {
                    self.refresh_offer(leg, now);
                }
            }
            Event::Response { request, status, message, flow } => {
                if !self.on_text_answered(request, status, now) {
                    self.on_response(request, status, message.as_deref(), flow, now);
                }
            }
            Event::Info { dialog, message } => {
                if let (Some(leg), Some(digit)) = (self.leg_by(dialog), info::digit(&message)) {
                    self.on_info_digit(leg, digit, now);
                }
            }
        }
    }

    fn on_dialog_ended(&mut self, dialog: DialogId, cause: Cause, now: Tick) {
        let Some(leg) = self.leg_by(dialog) else { return self.drop_inquiry(dialog) };
        if let (Cause::Timeout, Some(far_end)) = (cause, self.far_end(leg)) {
            self.on_unheard(&far_end, now);
        }
        self.end_leg(leg, reason(cause), now);
    }

    fn leg_by(&self, dialog: DialogId) -> Option<LegRef> {
        self.by_dialog.get(&dialog).copied()
    }
}

fn method_of(message: &[u8]) -> Option<Method> {
    Message::parse(message).ok()?.method().cloned()
}

const fn reason(cause: Cause) -> EndReason {
    match cause {
        Cause::Bye => EndReason::RemoteHangup,
        Cause::Cancelled => EndReason::Cancelled,
        Cause::Local => EndReason::LocalHangup,
        Cause::Rejected { status } => EndReason::Rejected(status),
        Cause::NoAck | Cause::Timeout | Cause::Gone | Cause::Transport | Cause::Expired => {
            EndReason::Lost
        }
    }
}
