//! Provisional responses that must arrive, and the PRACK that says so (RFC 3262), in both roles.

use std::collections::VecDeque;
use std::sync::Arc;

use super::compose::{Inside, Reply};
use super::leg::{Fork, State};
use super::receive::{Answer, Incoming};
use super::table::{Purpose, Role};
use super::types::{Body, Cause, DialogId, Event, TransactionId};
use super::{Endpoint, Wake};
use crate::base::{Armed, Tick};
use crate::sip::transaction::{Due, Reliable};
use crate::sip::{Message, Method, Name};

/// Provisional responses that wait for the PRACK of an earlier one; beyond, the oldest is left out,
/// since the younger one says more.
const WAITING_MAX: usize = 4;

/// What a callee has to say to a caller that confirms provisional responses.
#[derive(Debug)]
pub(super) struct Progress {
    /// Whether every one is to be confirmed: the caller's Require says so.
    is_required: bool,
    /// RSeq of the last one.
    rseq: u32,
    open: Option<Open>,
    waiting: VecDeque<(u16, Option<Body>)>,
    /// The 200 that waits behind them (§3), with its body.
    accepted: Option<Option<Body>>,
}

/// The one that is sent until its PRACK comes.
#[derive(Debug)]
struct Open {
    machine: Reliable,
    bytes: Arc<[u8]>,
    armed: Armed,
    has_body: bool,
}

impl Progress {
    /// For the caller of this INVITE, if it knows the extension.
    pub(super) fn of(invite: &Message<'_>, first: u32) -> Option<Box<Self>> {
        let is_required = invite.lists(Name::Require, "100rel");
        let is_known = is_required || invite.lists(Name::Supported, "100rel");
        is_known.then(|| {
            Box::new(Self {
                is_required,
                rseq: first,
                open: None,
                waiting: VecDeque::new(),
                accepted: None,
            })
        })
    }

    pub(super) fn take_timer(&mut self) -> Option<Armed> {
        self.open.take().map(|open| open.armed)
    }
}

impl Endpoint {
    /// Sends a provisional response reliably, or keeps it until its turn; `false` when it is not
    /// one to be confirmed. A description makes it worth the PRACK.
    pub(super) fn is_reliable(
        &mut self,
        id: DialogId,
        status: u16,
        body: Option<&Body>,
        now: Tick,
    ) -> bool {
        let Some(leg) = self.legs.get_mut(id) else { return false };
        let State::Ringing { invite, progress: Some(progress), .. } = &mut leg.state else {
            return false;
        };
        if !progress.is_required && body.is_none() {
            return false;
        }
        if progress.open.is_some() {
            if progress.waiting.len() == WAITING_MAX {
                progress.waiting.pop_front();
            }
            progress.waiting.push_back((status, body.cloned()));
            return true;
        }
        progress.rseq += 1;
        let (invite, rseq) = (*invite, progress.rseq.to_string());
        let contact = leg.contact.clone();
        let headers: &[(&str, &str)] = &[("Require", "100rel"), ("RSeq", &rseq)];
        let reply = Reply { contact: Some(&contact), headers, body, ..Reply::of(status) };
        if self.reply(invite, &reply, now) {
            self.await_prack(id, invite, body.is_some(), now);
        }
        true
    }

    fn await_prack(&mut self, id: DialogId, invite: TransactionId, has_body: bool, now: Tick) {
        let Some(Role::InviteServer { response: Some(bytes), .. }) =
            self.table.get(invite).map(|entry| &entry.role)
        else {
            return;
        };
        let (bytes, machine) = (Arc::clone(bytes), Reliable::start(&self.config.timing, now));
        let armed = self.timers.arm(machine.poll_timeout(), Wake::Prack(id));
        if let Some(State::Ringing { progress: Some(progress), .. }) =
            self.legs.get_mut(id).map(|leg| &mut leg.state)
        {
            progress.open = Some(Open { machine, bytes, armed, has_body });
        }
    }

    /// Whether a 200 has to wait for the PRACK of what was said before it.
    pub(super) fn is_held_back(&mut self, id: DialogId, body: Option<&Body>) -> bool {
        match self.legs.get_mut(id).map(|leg| &mut leg.state) {
            Some(State::Ringing { progress: Some(progress), .. }) if progress.open.is_some() => {
                progress.accepted = Some(body.cloned());
                true
            }
            _ => false,
        }
    }

    /// A PRACK: of the response that waits for it, or of none (481).
    pub(super) fn on_prack(&mut self, prack: &Incoming<'_>, id: DialogId, now: Tick) {
        let rack = prack.message.rack().ok().flatten();
        let Some(leg) = self.legs.get_mut(id) else { return };
        let State::Ringing { invite, talk, progress: Some(progress), .. } = &mut leg.state else {
            return self.refuse_inside(prack, id, 481, &[], now);
        };
        let invite = *invite;
        let (cseq, is_late_offer) = match self.table.get(invite).map(|entry| &entry.role) {
            Some(Role::InviteServer { cseq, request, .. }) => {
                (*cseq, Message::parse(request).is_ok_and(|invite| invite.body.is_empty()))
            }
            _ => (0, false),
        };
        let is_meant = rack.is_some_and(|rack| {
            rack.response == progress.rseq
                && rack.cseq.number == cseq
                && rack.cseq.method == Method::Invite
        });
        let Some(open) = progress.open.take_if(|_| is_meant) else {
            return self.refuse_inside(prack, id, 481, &[], now);
        };
        self.timers.clear(open.armed);
        let had_settled = talk.is_settled;
        talk.is_settled |= open.has_body;
        let brings_answer = is_late_offer && open.has_body && !had_settled;
        if prack.message.body.is_empty() || brings_answer {
            if let Some(request) = self.serve(prack, None, now) {
                self.reply(request, &Reply::of(200), now);
            }
            if brings_answer {
                let (message, has_body) = (Arc::clone(prack.bytes), !prack.message.body.is_empty());
                self.events.push_back(Event::Acknowledged { dialog: id, message, has_body });
            }
        } else {
            // An offer of its own, which the 200 of the PRACK answers (§5).
            self.on_offer(prack, id, now);
        }
        self.say_next(id, now);
    }

    /// What waited for the PRACK: provisional responses up to the next that is to be confirmed, then
    /// the 200.
    fn say_next(&mut self, id: DialogId, now: Tick) {
        while let Some(State::Ringing { progress: Some(progress), .. }) =
            self.legs.get_mut(id).map(|leg| &mut leg.state)
            && progress.open.is_none()
        {
            if let Some((status, body)) = progress.waiting.pop_front() {
                self.provisional(id, status, body, now);
            } else if let Some(body) = progress.accepted.take() {
                self.accept(id, body, now);
            } else {
                return;
            }
        }
    }

    /// The response is sent again, or its PRACK will never come: 504 then (§3).
    pub(super) fn on_prack_due(&mut self, id: DialogId, now: Tick) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        let State::Ringing { invite, progress: Some(progress), .. } = &mut leg.state else {
            return;
        };
        let (invite, Some(open)) = (*invite, &mut progress.open) else { return };
        let Some(flow) = self.table.get(invite).map(|entry| entry.flow) else { return };
        match open.machine.handle_timeout(now) {
            Due::GiveUp => {
                self.reply(invite, &Reply::of(504), now);
                self.end(id, Cause::NoAck, None);
            }
            due @ (Due::Resend | Due::Nothing) => {
                open.armed = self.timers.arm(open.machine.poll_timeout(), Wake::Prack(id));
                let bytes = Arc::clone(&open.bytes);
                if due == Due::Resend {
                    self.transmit(flow, bytes);
                }
            }
        }
    }

    /// Confirms a reliable provisional response to our INVITE; `false` when it is a copy, or came
    /// before one that is missing: then nobody hears of it (§4).
    pub(super) fn confirm(&mut self, id: DialogId, answer: &Answer<'_>, now: Tick) -> bool {
        let rseq = answer.message.rseq().ok().flatten();
        let Some(rseq) = rseq.filter(|_| answer.message.lists(Name::Require, "100rel")) else {
            return true;
        };
        let Some(leg) = self.legs.get_mut(id) else { return false };
        let flow = leg.flow;
        let State::Calling { invite, forks, .. } = &mut leg.state else { return false };
        let invite = *invite;
        let Some(fork) = forks.iter_mut().find(|fork| fork.is(answer.to_tag)) else { return true };
        if fork.rseq.is_some_and(|last| last.checked_add(1) != Some(rseq)) {
            return false;
        }
        fork.rseq = Some(rseq);
        fork.talk.is_settled |= !answer.message.body.is_empty();
        let mut dialog = fork.dialog.clone();
        let rack = format!("{rseq} {} INVITE", answer.cseq);
        let headers: &[(&str, &str)] = &[("RAck", &rack)];
        let prack = Inside { headers, ..Inside::of(Method::Prack) };
        self.number_fork(Some(invite), &mut dialog);
        // Without room for it the callee sends its response again.
        let _ = self.send_inside(flow, &mut dialog, &prack, Purpose::Nothing, now);
        true
    }
}

impl Fork {
    /// A callee that has just been heard of.
    pub(super) fn new(dialog: crate::sip::dialog::Dialog) -> Self {
        Self { dialog, talk: super::leg::Talk::default(), rseq: None }
    }
}
