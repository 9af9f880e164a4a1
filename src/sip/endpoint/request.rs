//! Requests outside dialogs, ours and the peer's, and what all requests of ours have in common.

use std::sync::Arc;

use super::Endpoint;
use super::compose::{Inside, Reply};
use super::leg::{Attempt, Leg, State, Tries};
use super::receive::{Answer, Incoming, client_key};
use super::table::{Purpose, Role};
use super::types::{Body, DialogId, Event, NotSent, Outgoing, RequestId, TransactionId};
use crate::base::Tick;
use crate::sip::dialog::Dialog;
use crate::sip::transaction::{Client, Heard, InviteClient, InviteServer, Server};
use crate::sip::transport::Flow;
use crate::sip::{Message, Method};

/// A request of ours outside dialogs that waits for its outcome.
#[derive(Debug)]
pub struct Asked(Box<Attempt>);

impl Endpoint {
    /// Sends a REGISTER, OPTIONS, MESSAGE or the like outside dialogs; [`Event::Response`] follows.
    /// INVITE, ACK, BYE and CANCEL have their own ways and are not to be sent by this one.
    pub fn request(
        &mut self,
        method: Method,
        outgoing: Outgoing,
        now: Tick,
    ) -> Result<RequestId, NotSent> {
        if self.table.is_full() {
            return Err(NotSent::Full);
        }
        let attempt = Box::new(self.attempt(method, outgoing));
        let id = self.asked.insert(Asked(attempt.clone())).ok_or(NotSent::Full)?;
        match self.send_attempt(&attempt, None, Purpose::Ask(id), now) {
            Ok(_) => Ok(id),
            Err(reason) => {
                self.asked.remove(id);
                Err(reason)
            }
        }
    }

    /// Sends an INFO inside a confirmed dialog; what it is answered changes nothing (RFC 6086 §4).
    /// Says whether there was such a dialog and room.
    pub fn info(&mut self, id: DialogId, body: Body, now: Tick) -> bool {
        let Some(leg) = self.legs.get_mut(id) else { return false };
        let State::Talking { dialog, .. } = &mut leg.state else { return false };
        let (mut inner, flow) = (dialog.clone(), leg.flow);
        let info = Inside { body: Some(&body), ..Inside::of(Method::Info) };
        let sent = self.send_inside(flow, &mut inner, &info, Purpose::Nothing, now);
        if let Some(Leg { state: State::Talking { dialog, .. }, .. }) = self.legs.get_mut(id) {
            *dialog = inner;
        }
        sent.is_some()
    }

    /// Answers [`Event::Request`]. No effect when it was answered before, or after 64·T1.
    pub fn respond(
        &mut self,
        request: TransactionId,
        status: u16,
        headers: &[(&str, &str)],
        body: Option<Body>,
        now: Tick,
    ) {
        let Some(entry) = self.table.get(request) else { return };
        let Role::Server { .. } = entry.role else { return };
        let status = status.clamp(100, 699);
        let allow = Arc::clone(&self.abilities.allow);
        let mut headers = headers.to_vec();
        if status == 405 {
            headers.push(("Allow", &allow)); // RFC 3261 §21.4.6 wants it.
        }
        let headers = &headers;
        if !self.reply(request, &Reply { headers, body: body.as_ref(), ..Reply::of(status) }, now) {
            self.reply(request, &Reply::of(500), now);
        }
    }

    /// A request that only its user can answer.
    pub(super) fn on_request_for_user(
        &mut self,
        request: &Incoming<'_>,
        dialog: Option<DialogId>,
        now: Tick,
    ) {
        let (flow, message) = (request.flow, Arc::clone(request.bytes));
        if let Some(id) = self.serve(request, None, now) {
            self.events.push_back(Event::Request { request: id, dialog, message, flow });
        }
    }

    /// Gives a request, other than INVITE, its transaction; `None` if even the reserve is used up.
    pub(super) fn serve(
        &mut self,
        request: &Incoming<'_>,
        dialog: Option<DialogId>,
        now: Tick,
    ) -> Option<TransactionId> {
        let merged = request.merged_key;
        let bytes = Arc::clone(request.bytes);
        let role = match (request.method, dialog) {
            (Method::Invite, Some(dialog)) => Role::InviteServer {
                machine: InviteServer::start(now),
                request: bytes,
                response: None,
                dialog,
                cseq: request.cseq,
                merged,
            },
            _ => Role::Server {
                machine: Server::start(&self.config.timing, now),
                request: bytes,
                response: None,
                merged,
                dialog,
            },
        };
        let id = self.table.insert(request.key, request.response_flow, role);
        if id.is_none() {
            self.overloaded(request);
        }
        id
    }

    /// A response to a request of ours other than INVITE.
    pub(super) fn on_answer(&mut self, id: TransactionId, answer: &Answer<'_>, now: Tick) {
        let timing = self.config.timing;
        let Some(entry) = self.table.get_mut(id) else { return };
        let transport = entry.flow.transport;
        let Role::Client { machine, purpose, .. } = &mut entry.role else { return };
        let heard = machine.handle_response(answer.status, transport, &timing, now);
        let purpose = *purpose;
        self.table.rearm(id);
        if heard != Heard::Deliver || answer.status < 200 {
            return;
        }
        match purpose {
            Purpose::Bye(dialog) => self.forget(dialog),
            Purpose::Ask(request) => self.on_outcome(request, answer, now),
            Purpose::CloseOut(id, part) => self.on_close_out_answered(id, part, answer.status),
            Purpose::Offer(dialog) => self.on_update_answer(dialog, answer, now),
            Purpose::Refresh(dialog) => self.on_refreshed(dialog, answer, now),
            Purpose::Begin(_) | Purpose::Nothing => {}
        }
    }

    fn on_outcome(&mut self, request: RequestId, answer: &Answer<'_>, now: Tick) {
        let Some(Asked(attempt)) = self.asked.get(request) else { return };
        let mut attempt = attempt.clone();
        if let Some(authorization) = self.answer_challenge(&mut attempt, answer) {
            let purpose = Purpose::Ask(request);
            if self.send_attempt(&attempt, Some(authorization), purpose, now).is_ok() {
                if let Some(asked) = self.asked.get_mut(request) {
                    asked.0 = attempt;
                }
                return;
            }
        }
        self.asked.remove(request);
        let (status, message) = (answer.status, Some(Arc::clone(answer.bytes)));
        let flow = Some(answer.flow);
        self.events.push_back(Event::Response { request, status, message, flow });
    }

    /// What a new request of ours keeps, so that it can be repeated with credentials.
    pub(super) fn attempt(&mut self, method: Method, outgoing: Outgoing) -> Attempt {
        let (call_id, from_tag) = match &outgoing.derived {
            Some(derived) => (derived.call_id.clone(), derived.from_tag.clone()),
            None => (
                format!("{:016x}{:016x}", self.rng.next_u64(), self.rng.next_u64()),
                format!("{:016x}", self.rng.next_u64()),
            ),
        };
        let branch = outgoing.derived.as_ref().and_then(|derived| derived.branch.clone());
        let branch = branch.unwrap_or_else(|| self.branch());
        let cseq = outgoing.derived.as_ref().map_or(1, |derived| derived.cseq);
        let tries = Tries::default();
        let session = self.first_session();
        Attempt { method, outgoing, call_id, from_tag, branch, cseq, tries, session }
    }

    /// A new branch, with the cookie that says it is unique (RFC 3261 §8.1.1.7).
    pub(super) fn branch(&mut self) -> String {
        format!("z9hG4bK{:016x}", self.rng.next_u64())
    }

    /// Sends a request inside a dialog, as its next one, where the dialog says (RFC 3261 §12.2.1).
    pub(super) fn send_inside(
        &mut self,
        flow: Flow,
        dialog: &mut Dialog,
        inside: &Inside<'_>,
        purpose: Purpose,
        now: Tick,
    ) -> Option<TransactionId> {
        dialog.local_cseq += 1;
        let flow = dialog.next_hop(flow);
        let branch = self.branch();
        let bytes = self.compose_inside(dialog, inside, flow, &branch)?;
        self.start_client(&inside.method, flow, &branch, bytes, purpose, now)
    }

    /// Sends a request and gives it its transaction; without room for one it is sent once.
    pub(super) fn start_client(
        &mut self,
        method: &Method,
        flow: Flow,
        branch: &str,
        bytes: Arc<[u8]>,
        purpose: Purpose,
        now: Tick,
    ) -> Option<TransactionId> {
        let (timing, transport) = (&self.config.timing, flow.transport);
        let key = client_key(branch, method, self.keys);
        let request = Arc::clone(&bytes);
        let role = if *method == Method::Invite {
            let machine = InviteClient::start(transport, timing, now);
            let cseq =
                Message::parse(&bytes).ok().and_then(|invite| Some(invite.cseq().ok()?.number));
            let cseq = cseq.unwrap_or_default();
            Role::InviteClient { machine, request, acks: Vec::new(), cseq, purpose }
        } else {
            Role::Client { machine: Client::start(transport, timing, now), request, purpose }
        };
        self.transmit(flow, bytes);
        self.table.insert(key, flow, role)
    }
}
