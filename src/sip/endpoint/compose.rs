//! Every message the endpoint sends, printed from what is known of its request or dialog.

use std::fmt::Write as _;
use std::sync::Arc;

use super::Endpoint;
use super::address::{Here, UserAt};
use super::leg::Attempt;
use super::receive::Incoming;
use super::table::{Key, Purpose, Role};
use super::types::{Body, MAX_FORWARDS, NotSent, TransactionId};
use crate::base::Tick;
use crate::sip::dialog::Dialog;
use crate::sip::transport::Flow;
use crate::sip::{Message, Method, Name, PrintError, Printer, Start, reason_phrase};

/// The methods that the endpoint serves by itself; those of its user come behind them.
const OWN_METHODS: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK";
/// The extensions that the endpoint knows, as Supported lists them (RFC 3261 §20.37).
pub(super) const SUPPORTED: &[&str] = &["timer", "100rel"];
/// What an INVITE may carry.
pub(super) const ACCEPT: &str = "application/sdp";
/// Bytes that a usual Contact of ours takes.
const CONTACT_USUAL: usize = 64;

/// What we say that we can do.
#[derive(Clone, Debug)]
pub(super) struct Abilities {
    /// Value of Allow.
    pub(super) allow: Arc<str>,
    /// Value of Supported.
    pub(super) supported: Arc<str>,
}

impl Abilities {
    /// With the methods that the user serves.
    pub(super) fn with(serves: &[Method]) -> Self {
        let methods = std::iter::once(OWN_METHODS).chain(serves.iter().map(Method::as_str));
        Self {
            allow: methods.collect::<Vec<_>>().join(", ").into(),
            supported: SUPPORTED.join(", ").into(),
        }
    }

    fn said(&self, page: Printer) -> Printer {
        page.text(Name::Allow, &self.allow).text(Name::Supported, &self.supported)
    }
}

/// A response as the endpoint thinks of it; the rest comes from the request (RFC 3261 §8.2.6).
#[derive(Clone, Copy, Debug)]
pub(super) struct Reply<'a> {
    pub(super) status: u16,
    /// In place of the usual phrase.
    pub(super) reason: Option<&'a str>,
    /// Whose tag the To header gets when it has none; `None`: the request's own.
    pub(super) tag: Option<Key>,
    /// Our Contact; Allow and Supported go with it.
    pub(super) contact: Option<&'a str>,
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) body: Option<&'a Body>,
}

impl Reply<'_> {
    pub(super) const fn of(status: u16) -> Self {
        Self { status, reason: None, tag: None, contact: None, headers: &[], body: None }
    }
}

/// A request inside a dialog.
#[derive(Clone, Debug)]
pub(super) struct Inside<'a> {
    pub(super) method: Method,
    /// Our Contact; Allow and Supported go with it.
    pub(super) contact: Option<&'a str>,
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) body: Option<&'a Body>,
}

impl Inside<'_> {
    pub(super) const fn of(method: Method) -> Self {
        Self { method, contact: None, headers: &[], body: None }
    }
}

impl Endpoint {
    /// Answers a request by its transaction; whether an answer left.
    pub(super) fn reply(&mut self, id: TransactionId, reply: &Reply<'_>, now: Tick) -> bool {
        let Some(request) = self.request_of(id) else { return false };
        let request = Message::parse(&request).expect("it was parsed when it came");
        self.reply_to(&request, id, reply, now)
    }

    /// The request that a transaction of the peer has not answered finally.
    pub(super) fn request_of(&self, id: TransactionId) -> Option<Arc<[u8]>> {
        match &self.table.get(id)?.role {
            Role::InviteServer { request, .. } | Role::Server { request, .. } => {
                (!request.is_empty()).then(|| Arc::clone(request))
            }
            Role::InviteClient { .. } | Role::Client { .. } => None,
        }
    }

    /// As [`Self::reply`], for a request that is at hand.
    pub(super) fn reply_to(
        &mut self,
        request: &Message<'_>,
        id: TransactionId,
        reply: &Reply<'_>,
        now: Tick,
    ) -> bool {
        let timing = self.config.timing;
        let Some(entry) = self.table.get_mut(id) else { return false };
        let (flow, key) = (entry.flow, entry.key);
        let reply = Reply { tag: reply.tag.or(Some(key)), ..*reply };
        let Ok(bytes) = response(request, &reply, flow, &self.config.user_agent, &self.abilities)
        else {
            self.counters.unprintable += 1;
            return false;
        };
        let (may_leave, asked, place) = match &mut entry.role {
            Role::InviteServer { machine, request, response, .. } => {
                let may = machine.handle_response(reply.status, flow.transport, &timing, now);
                (may, request, response)
            }
            Role::Server { machine, request, response, .. } => {
                let may = machine.handle_response(reply.status, flow.transport, &timing, now);
                (may, request, response)
            }
            Role::InviteClient { .. } | Role::Client { .. } => return false,
        };
        if may_leave {
            *place = Some(Arc::clone(&bytes));
            if reply.status >= 200 {
                *asked = Arc::default();
            }
            self.table.rearm(id);
            self.transmit(flow, bytes);
        }
        may_leave
    }

    /// Answers a request without keeping anything (RFC 3261 §8.2.7); a copy gets the same answer.
    pub(super) fn reply_stateless(&mut self, request: &Incoming<'_>, reply: &Reply<'_>) {
        let reply = Reply { tag: reply.tag.or(Some(request.key)), ..*reply };
        self.answer_stateless(request.message, &reply, request.response_flow);
    }

    pub(super) fn answer_stateless(&mut self, request: &Message<'_>, reply: &Reply<'_>, to: Flow) {
        match response(request, reply, to, &self.config.user_agent, &self.abilities) {
            Ok(bytes) => self.transmit(to, bytes),
            Err(_) => self.counters.unprintable += 1,
        }
    }

    /// Sends a request of ours outside dialogs, with credentials if it was challenged.
    pub(super) fn send_attempt(
        &mut self,
        attempt: &Attempt,
        authorization: Option<(Name, String)>,
        purpose: Purpose,
        now: Tick,
    ) -> Result<TransactionId, NotSent> {
        let bytes = self.print_attempt(attempt, authorization)?;
        let Attempt { method, outgoing, branch, .. } = attempt;
        self.start_client(method, outgoing.flow, branch, bytes, purpose, now).ok_or(NotSent::Full)
    }

    /// Prints a request of ours outside dialogs.
    pub(super) fn print_attempt(
        &mut self,
        attempt: &Attempt,
        authorization: Option<(Name, String)>,
    ) -> Result<Arc<[u8]>, NotSent> {
        let Attempt { method, outgoing, call_id, from_tag, branch, cseq, .. } = attempt;
        let flow = outgoing.flow;
        let mut page = self
            .begin(method, &outgoing.request_uri, flow, branch, outgoing.max_forwards)
            .field(Name::From, format_args!("{};tag={from_tag}", outgoing.from))
            .field(Name::To, &outgoing.to)
            .field(Name::CallId, call_id)
            .field(Name::CSeq, format_args!("{cseq} {method}"));
        let names_contact =
            outgoing.headers.iter().any(|(name, _)| Name::parse(name.as_bytes()) == Name::Contact);
        if makes_contact(method) && !names_contact {
            page = page.field(Name::Contact, self.contact(flow, &outgoing.from.user));
        }
        if let Some((name, value)) = authorization {
            page = page.field(name, value);
        }
        if *method == Method::Invite {
            page = page.field(Name::Allow, &self.abilities.allow);
            // The offer of a callee in a provisional response would need the answer in the PRACK;
            // without an offer of ours it has to wait for the 200 (RFC 3262 §5).
            let is_offerless = outgoing.body.is_none();
            let supported: &str = if is_offerless { "timer" } else { &self.abilities.supported };
            page = page.field(Name::Supported, supported);
            for (name, value) in attempt.session.headers() {
                page = page.field_named(name, value);
            }
        }
        page = page.field(Name::UserAgent, &self.config.user_agent);
        for (name, value) in &outgoing.headers {
            page = page.field_named(name, value);
        }
        let printed = finish(page, outgoing.body.as_ref());
        self.counted(printed).ok_or(NotSent::Unprintable)
    }

    /// Prints a request inside a dialog; its CSeq number is the dialog's last.
    pub(super) fn compose_inside(
        &mut self,
        dialog: &Dialog,
        inside: &Inside<'_>,
        flow: Flow,
        branch: &str,
    ) -> Option<Arc<[u8]>> {
        let mut page = self.begin_inside(dialog, &inside.method, dialog.local_cseq, flow, branch);
        if let Some(contact) = inside.contact {
            page = with_contact(page, contact, &self.abilities);
        }
        page = page.field(Name::UserAgent, &self.config.user_agent);
        for (name, value) in inside.headers {
            page = page.field_named(name, value);
        }
        self.counted(finish(page, inside.body))
    }

    /// The ACK of a 2xx: a request of its own inside the dialog, with the INVITE's number and
    /// credentials (RFC 3261 §13.2.2.4).
    pub(super) fn ack_accepted(
        &mut self,
        invite: &[u8],
        dialog: &Dialog,
        flow: Flow,
        cseq: u32,
        body: Option<&Body>,
    ) -> Option<Arc<[u8]>> {
        let invite = Message::parse(invite).expect("we printed it ourselves");
        let branch = self.branch();
        let page = self.begin_inside(dialog, &Method::Ack, cseq, flow, &branch);
        let page = page.copy(&invite, Name::Authorization).copy(&invite, Name::ProxyAuthorization);
        self.counted(finish(page, body))
    }

    /// The ACK of a failure: URI, top Via and Route of the INVITE, To of the response (RFC 3261
    /// §17.1.1.3).
    pub(super) fn ack_failure(
        &mut self,
        invite: &[u8],
        response: &Message<'_>,
    ) -> Option<Arc<[u8]>> {
        let invite = Message::parse(invite).expect("we printed it ourselves");
        let printed = finish(like_invite(&invite, &Method::Ack, response), None);
        self.counted(printed)
    }

    /// Sends a CANCEL: URI, top Via, Route, From, To, Call-ID and number of the INVITE (RFC 3261
    /// §9.1).
    pub(super) fn send_cancel(
        &mut self,
        flow: Flow,
        invite: &[u8],
        reason: Option<&str>,
        purpose: Purpose,
        now: Tick,
    ) {
        let invite = Message::parse(invite).expect("we printed it ourselves");
        let mut page = like_invite(&invite, &Method::Cancel, &invite);
        if let Some(reason) = reason {
            page = page.field(Name::Reason, reason);
        }
        let printed = finish(page, None);
        let branch = invite.via().ok().and_then(|via| via.branch()).unwrap_or_default();
        if let Some(bytes) = self.counted(printed) {
            self.start_client(&Method::Cancel, flow, branch, bytes, purpose, now);
        }
    }

    /// Our Contact on this flow (RFC 3261 §8.1.1.8).
    pub(super) fn contact(&self, flow: Flow, user: &str) -> Box<str> {
        let parameter = flow.transport.uri_parameter();
        let mut contact = String::with_capacity(CONTACT_USUAL);
        write!(contact, "<sip:{}{}{parameter}>", UserAt(user), self.here(flow))
            .expect("text takes every character");
        // Copied into its size: to give back the rest of the room costs more.
        (*contact).into()
    }

    fn begin_inside(
        &self,
        dialog: &Dialog,
        method: &Method,
        cseq: u32,
        flow: Flow,
        branch: &str,
    ) -> Printer {
        let (uri, routes) = dialog.target_and_routes();
        let mut page = self.begin(method, uri, flow, branch, MAX_FORWARDS);
        for route in routes {
            page = page.field(Name::Route, route);
        }
        page.field(Name::From, &dialog.local)
            .field(Name::To, &dialog.remote)
            .field(Name::CallId, &dialog.call_id)
            .field(Name::CSeq, format_args!("{cseq} {method}"))
    }

    /// A request of ours asks for the source port it is seen from (RFC 3581 §3).
    fn begin(
        &self,
        method: &Method,
        uri: &str,
        flow: Flow,
        branch: &str,
        max_forwards: u8,
    ) -> Printer {
        let (protocol, here) = (flow.transport.in_via(), self.here(flow));
        Printer::request(method, uri)
            .field(Name::Via, format_args!("SIP/2.0/{protocol} {here};rport;branch={branch}"))
            .field(Name::MaxForwards, max_forwards)
    }

    fn here(&self, flow: Flow) -> Here<'_> {
        Here { advertised: self.config.advertised.as_deref(), local: flow.local }
    }

    fn counted(&mut self, printed: Result<Arc<[u8]>, PrintError>) -> Option<Arc<[u8]>> {
        self.counters.unprintable += u64::from(printed.is_err());
        printed.ok()
    }
}

/// A 100, which has no To tag and repeats the Timestamp (RFC 3261 §8.2.6).
pub(super) fn trying(request: &[u8], flow: Flow) -> Result<Arc<[u8]>, PrintError> {
    let request = Message::parse(request).expect("it was parsed when it came");
    let page = Printer::answer(&request, 100, "", flow.remote).copy(&request, Name::Timestamp);
    finish(page, None)
}

fn response(
    request: &Message<'_>,
    reply: &Reply<'_>,
    flow: Flow,
    server: &str,
    abilities: &Abilities,
) -> Result<Arc<[u8]>, PrintError> {
    let reason = reply.reason.unwrap_or_else(|| reason_phrase(reply.status));
    let tag = reply.tag.map(Key::tag).unwrap_or_default();
    let mut page = Printer::answer_with_reason(request, reply.status, reason, &tag, flow.remote);
    if let Some(contact) = reply.contact {
        // What makes a dialog shows its way: the caller's route set is this list, reversed
        // (RFC 3261 §12.1.1).
        page = with_contact(page.copy(request, Name::RecordRoute), contact, abilities);
    }
    page = page.text(Name::Server, server);
    for (name, value) in reply.headers {
        page = page.field_named(name, value);
    }
    finish(page, reply.body)
}

/// A request that shares its INVITE's transaction at the peer.
fn like_invite(invite: &Message<'_>, method: &Method, to_of: &Message<'_>) -> Printer {
    let Start::Request { uri, .. } = &invite.start else { unreachable!("an INVITE is a request") };
    let number = invite.cseq().map_or(0, |cseq| cseq.number);
    Printer::request(method, String::from_utf8_lossy(uri))
        .copy(invite, Name::Via)
        .copy(invite, Name::MaxForwards)
        .copy(invite, Name::Route)
        .copy(invite, Name::From)
        .copy(to_of, Name::To)
        .copy(invite, Name::CallId)
        .field(Name::CSeq, format_args!("{number} {method}"))
}

fn with_contact(page: Printer, contact: &str, abilities: &Abilities) -> Printer {
    abilities.said(page.text(Name::Contact, contact))
}

const fn makes_contact(method: &Method) -> bool {
    matches!(method, Method::Invite | Method::Register | Method::Subscribe | Method::Refer)
}

fn finish(page: Printer, body: Option<&Body>) -> Result<Arc<[u8]>, PrintError> {
    let bytes = match body {
        Some(body) => page.body(&body.content_type, &body.bytes)?,
        None => page.finish()?,
    };
    Ok(bytes.into())
}
