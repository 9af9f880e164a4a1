//! Being called: an INVITE comes in, rings, and is accepted or rejected; the ACK closes the circle.

use std::sync::Arc;

use super::Endpoint;
use super::compose::Reply;
use super::leg::{Leg, State, Talk};
use super::receive::Incoming;
use super::reliable::Progress;
use super::session::{Session, borrowed};
use super::table::Role;
use super::types::{Body, Cause, DialogId, Event, TransactionId};
use crate::base::Tick;
use crate::sip::dialog::Dialog;
use crate::sip::transaction::InviteServer;
use crate::sip::{Message, Method};

impl Endpoint {
    /// Answers an INVITE provisionally, 101 to 199; an early dialog begins (RFC 3261 §13.3.1.1).
    /// One with a body is repeated until its PRACK comes, where the caller knows RFC 3262, and those
    /// behind it wait. No effect once it was answered.
    pub fn provisional(&mut self, dialog: DialogId, status: u16, body: Option<Body>, now: Tick) {
        let Some(leg) = self.legs.get(dialog) else { return };
        let State::Ringing { invite, talk, .. } = &leg.state else { return };
        let invite = *invite;
        let contact = leg.contact.clone();
        let status = status.clamp(101, 199);
        // A description that arrived for certain is not said again (RFC 3261 §13.2.1).
        let body = body.filter(|_| !talk.is_settled);
        if self.is_reliable(dialog, status, body.as_ref(), now) {
            return;
        }
        let reply = Reply { contact: Some(&contact), body: body.as_ref(), ..Reply::of(status) };
        self.reply(invite, &reply, now);
    }

    /// Answers an INVITE with 200. It is sent until its ACK comes, which [`Event::Acknowledged`]
    /// tells; without one the dialog ends with [`Cause::NoAck`]. It waits for the PRACK of what was
    /// said before, and leaves the body out if that brought one.
    pub fn accept(&mut self, dialog: DialogId, body: Option<Body>, now: Tick) {
        if self.is_held_back(dialog, body.as_ref()) {
            return;
        }
        let Some(leg) = self.legs.get_mut(dialog) else { return };
        let State::Ringing { invite, dialog: inner, talk, .. } = &mut leg.state else { return };
        let (invite, inner) = (*invite, std::mem::take(inner));
        let body = body.filter(|_| !talk.is_settled);
        leg.state = State::Talking {
            dialog: inner,
            talk: Talk { is_settled: true, ..std::mem::take(talk) },
        };
        let contact = leg.contact.clone();
        if !self.accept_with(dialog, invite, &contact, body.as_ref(), now) {
            // The body cannot be printed: the caller shall not wait for an answer that never comes.
            self.reply(invite, &Reply::of(500), now);
            self.end(dialog, Cause::Rejected { status: 500 }, None);
        }
    }

    /// 200 to an INVITE, re-INVITE or UPDATE, with what is agreed about the session; whether it left. An
    /// INVITE's is sent until its ACK comes.
    pub(super) fn accept_with(
        &mut self,
        dialog: DialogId,
        request: TransactionId,
        contact: &str,
        body: Option<&Body>,
        now: Tick,
    ) -> bool {
        let Some(bytes) = self.request_of(request) else { return false };
        let message = Message::parse(&bytes).expect("it was parsed when it came");
        if message.method() == Some(&Method::Invite) {
            self.expect_ack(dialog, request, &message);
        }
        let session = self.agree_session(dialog, &message, now);
        let headers = borrowed(&session);
        let accepted = Reply { contact: Some(contact), headers: &headers, body, ..Reply::of(200) };
        self.reply_to(&message, request, &accepted, now)
    }

    /// Refuses an INVITE with 300 to 699. `reason` replaces the usual phrase.
    pub fn reject(
        &mut self,
        dialog: DialogId,
        status: u16,
        reason: Option<&str>,
        headers: &[(&str, &str)],
        now: Tick,
    ) {
        let Some(leg) = self.legs.get(dialog) else { return };
        let State::Ringing { invite, .. } = leg.state else { return };
        let status = status.clamp(300, 699);
        if !self.reply(invite, &Reply { reason, headers, ..Reply::of(status) }, now) {
            self.reply(invite, &Reply::of(status), now);
        }
        self.end(dialog, Cause::Rejected { status }, None);
    }

    /// A new call.
    pub(super) fn on_invite(&mut self, invite: &Incoming<'_>, now: Tick) {
        let tag = invite.key.tag();
        let Some(dialog) = Dialog::of_callee(invite.message, &tag) else {
            return self.refuse(invite, 400, &[]);
        };
        let key = self.keys.of(&[dialog.call_id.as_bytes(), tag.as_bytes()]);
        let cseq = dialog.remote_cseq.unwrap_or_default();
        let user = invite.message.request_uri().ok().and_then(|uri| uri.user_decoded());
        let contact = self.contact(invite.flow, &user.unwrap_or_default());
        let request: Arc<[u8]> = Arc::clone(invite.bytes);
        let merged = invite.merged_key;
        let mut talk = Talk::default();
        talk.note_abilities(invite.message);
        // RSeq begins below 2^31, by chance (RFC 3262 §3).
        let progress = Progress::of(invite.message, self.rng.next_u32() >> 2);
        let response_flow = invite.response_flow;
        let table = &mut self.table;
        let made = self.legs.insert_with(|id| {
            let role = Role::InviteServer {
                machine: InviteServer::start(now),
                request: Arc::clone(&request),
                response: None,
                dialog: id,
                cseq,
                merged,
            };
            let invite_id = table.insert(invite.key, response_flow, role);
            let invite_id = invite_id.expect("the table was not full a moment ago");
            let state =
                State::Ringing { invite: invite_id, dialog: Box::new(dialog), talk, progress };
            Leg { key, flow: invite.flow, contact, state, session: Session::default() }
        });
        let id = made.expect("the dialogs were not full a moment ago");
        self.by_tag.insert(key, id);
        self.events.push_back(Event::Invite { dialog: id, request, flow: invite.flow });
    }

    /// An ACK, of a failure by its branch, of a 2xx by its dialog and CSeq (RFC 3261 §13.2.2.4).
    pub(super) fn on_ack(&mut self, ack: &Incoming<'_>, now: Tick) {
        let timing = self.config.timing;
        if let Some(id) = self.table.find(ack.invite_key)
            && let Some(entry) = self.table.get_mut(id)
            && let Role::InviteServer { machine, .. } = &mut entry.role
            && !machine.is_accepted()
        {
            entry.role.handle_ack(entry.flow.transport, &timing, now);
            return self.table.rearm(id);
        }
        let Some(id) = self.dialog_of(ack) else {
            self.counters.acks_stray += 1;
            return;
        };
        let Some(leg) = self.legs.get_mut(id) else { return };
        let (State::Talking { talk: Talk { unacked, .. }, .. } | State::Leaving { unacked, .. }) =
            &mut leg.state
        else {
            return;
        };
        let Some(at) = unacked.iter().position(|one| one.cseq == ack.cseq) else { return };
        let acked = unacked.remove(at);
        let is_last = unacked.is_empty();
        let is_leaving = matches!(leg.state, State::Leaving { .. });
        self.stop_repeating(&[acked], now);
        if !is_leaving {
            let (message, has_body) = (Arc::clone(ack.bytes), !ack.message.body.is_empty());
            self.events.push_back(Event::Acknowledged { dialog: id, message, has_body });
        } else if is_last {
            self.say_late_bye(id, now);
        }
    }
}
