//! Messages come in: each finds its transaction, its dialog, or the reason why it is refused.

use std::fmt;
use std::sync::Arc;

use super::Endpoint;
use super::compose::{ACCEPT, Abilities, Reply, SUPPORTED};
use super::leg::State;
use super::table::{Key, Keys, Role};
use super::types::{DialogId, Event, TransactionId};
use crate::base::Tick;
use crate::sip::text::Params;
use crate::sip::transport::{Flow, Transport};
use crate::sip::{Flaw, Mandatory, Message, Method, Name, Start, Uri, Via};

/// A request that keeps the rules, with what every reaction to it wants to know.
#[derive(Debug)]
pub(super) struct Incoming<'a> {
    pub(super) flow: Flow,
    pub(super) bytes: &'a Arc<[u8]>,
    pub(super) message: &'a Message<'a>,
    pub(super) method: &'a Method,
    pub(super) cseq: u32,
    pub(super) call_id: &'a str,
    pub(super) from_tag: &'a str,
    /// Empty outside dialogs.
    pub(super) to_tag: &'a str,
    /// Where its response goes.
    pub(super) response_flow: Flow,
    /// Of its own transaction.
    pub(super) key: Key,
    /// Of the INVITE that an ACK or CANCEL is about; of any other, its own.
    pub(super) invite_key: Key,
    /// What two copies of a request on two paths have in common (RFC 3261 §8.2.2.2); inside dialogs
    /// nothing needs to be.
    pub(super) merged_key: Option<Key>,
}

/// A response to a request of ours.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    pub(super) flow: Flow,
    pub(super) bytes: &'a Arc<[u8]>,
    pub(super) message: &'a Message<'a>,
    pub(super) status: u16,
    pub(super) cseq: u32,
    pub(super) to_tag: &'a str,
}

impl<'a> Incoming<'a> {
    pub(super) fn read(
        flow: Flow,
        bytes: &'a Arc<[u8]>,
        message: &'a Message<'a>,
        method: &'a Method,
        keys: Keys,
    ) -> Result<Self, Flaw> {
        let Mandatory { via, from, to, call_id, cseq } = message.validate()?;
        let (branch, cseq) = (via.branch(), cseq.number);
        let (from_tag, to_tag) = (from.tag().unwrap_or_default(), to.tag().unwrap_or_default());
        let key_of = |method| transaction_key(message, branch, cseq, method, keys);
        let is_ack = *method == Method::Ack;
        let key = key_of(if is_ack { &Method::Invite } else { method });
        let is_cancel = *method == Method::Cancel;
        let invite_key = if is_cancel { key_of(&Method::Invite) } else { key };
        let merged_key = to_tag.is_empty().then(|| {
            let (number, method) = (cseq.to_be_bytes(), method.as_str().as_bytes());
            keys.of(&[from_tag.as_bytes(), call_id.as_bytes(), &number, method])
        });
        let response_flow = response_flow(&via, flow);
        Ok(Self {
            flow,
            bytes,
            message,
            method,
            cseq,
            call_id,
            from_tag,
            to_tag,
            response_flow,
            key,
            invite_key,
            merged_key,
        })
    }

    pub(super) const fn is_inside(&self) -> bool {
        !self.to_tag.is_empty()
    }
}

/// Where a response goes: back where its request came from, but on datagrams without `rport` to
/// the port that the sender named (RFC 3261 §18.2.2, RFC 3581 §4).
fn response_flow(via: &Via<'_>, flow: Flow) -> Flow {
    let mut response = flow;
    if flow.transport == Transport::Udp && !via.params.has("rport") {
        response.remote.set_port(via.port.unwrap_or(5060));
    }
    response
}

/// The key of a server transaction (RFC 3261 §17.2.3). Call-ID and number are the same in every
/// copy, in the ACK and in the CANCEL; they keep apart the requests of clients whose branches are
/// not unique. Without a branch the headers that RFC 2543 compared stand in for it.
fn transaction_key(
    request: &Message<'_>,
    branch: Option<&str>,
    cseq: u32,
    method: &Method,
    keys: Keys,
) -> Key {
    let via = request.text(Name::Via).unwrap_or_default();
    let method = method.as_str().as_bytes();
    let text = |name| request.text(name).unwrap_or_default().as_bytes();
    let (call_id, number) = (text(Name::CallId), cseq.to_be_bytes());
    match branch {
        Some(branch) => {
            let sent_by = via.split(';').next().unwrap_or_default().as_bytes();
            keys.of(&[b"server", branch.as_bytes(), sent_by, call_id, &number, method])
        }
        None => keys.of(&[b"2543", via.as_bytes(), text(Name::From), call_id, &number, method]),
    }
}

/// The same of a request that may be crooked.
pub(super) fn server_key(request: &Message<'_>, method: &Method, keys: Keys) -> Key {
    let branch = request.via().ok().and_then(|via| via.branch());
    let cseq = request.cseq().map_or(0, |cseq| cseq.number);
    transaction_key(request, branch, cseq, method, keys)
}

/// The key of a client transaction (RFC 3261 §17.1.3).
pub(super) fn client_key(branch: &str, method: &Method, keys: Keys) -> Key {
    keys.of(&[b"client", branch.as_bytes(), method.as_str().as_bytes()])
}

impl Endpoint {
    /// One datagram, or one message cut from a stream.
    pub fn handle_message(&mut self, flow: Flow, bytes: &[u8], now: Tick) {
        // RFC 5626 §4.4.1, RFC 3261 §7.5: line breaks alone keep a path open and mean nothing.
        if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return;
        }
        let bytes: Arc<[u8]> = Arc::from(bytes);
        let message = match Message::parse(&bytes) {
            Ok(message) => message,
            Err(error) => {
                self.counters.malformed_dropped += 1;
                return self.say_bad_input(flow, "", 0, &error);
            }
        };
        match &message.start {
            Start::Request { method, .. } => {
                match Incoming::read(flow, &bytes, &message, method, self.keys) {
                    Ok(request) => self.on_request(&request, now),
                    Err(flaw) => self.on_flawed(flow, &message, method, flaw),
                }
            }
            Start::Response { status, .. } => {
                self.on_response(flow, &bytes, &message, *status, now)
            }
        }
    }

    /// Refuses a request without state.
    pub(super) fn refuse(&mut self, request: &Incoming<'_>, status: u16, headers: &[(&str, &str)]) {
        self.counters.requests_refused += 1;
        self.reply_stateless(request, &Reply { headers, ..Reply::of(status) });
    }

    /// Refuses a request inside a dialog. It has used its number, so that only its transaction can
    /// tell a copy of it from a request that came too late (RFC 3261 §12.2.2).
    pub(super) fn refuse_inside(
        &mut self,
        request: &Incoming<'_>,
        dialog: DialogId,
        status: u16,
        headers: &[(&str, &str)],
        now: Tick,
    ) {
        self.counters.requests_refused += 1;
        if let Some(id) = self.serve(request, Some(dialog), now) {
            self.reply(id, &Reply { headers, ..Reply::of(status) }, now);
        }
    }

    /// Refuses a request because something is full; the wait is random, so that those who were
    /// refused together do not come back together (RFC 3261 §21.5.4).
    pub(super) fn overloaded(&mut self, request: &Incoming<'_>) {
        self.counters.overloaded += 1;
        let wait = (1 + self.rng.below(8)).to_string();
        let reply = Reply { headers: &[("Retry-After", &wait)], ..Reply::of(503) };
        self.reply_stateless(request, &reply);
    }

    /// The dialog that a request or ACK with a To tag is in.
    pub(super) fn dialog_of(&self, request: &Incoming<'_>) -> Option<DialogId> {
        let key = self.keys.of(&[request.call_id.as_bytes(), request.to_tag.as_bytes()]);
        let id = *self.by_tag.get(&key)?;
        let remote_tag = match &self.legs.get(id)?.state {
            State::Ringing { dialog, .. }
            | State::Talking { dialog, .. }
            | State::Leaving { dialog, .. } => &dialog.remote_tag,
            // Any fork may speak before one of them answered; a BYE may cross ours.
            State::Calling { .. } | State::Cancelling { .. } | State::Closing => return Some(id),
        };
        (**remote_tag == *request.from_tag).then_some(id)
    }

    /// A request that broke a rule hears which one (RFC 3261 §21.4.1); an ACK hears nothing. Its
    /// Via may be what is broken, so that the answer goes where the request came from.
    fn on_flawed(&mut self, flow: Flow, message: &Message<'_>, method: &Method, flaw: Flaw) {
        let status = flaw.status();
        self.say_bad_input(flow, method.as_str(), status, &flaw);
        if *method == Method::Ack || message.field(Name::Via).is_none() {
            self.counters.malformed_dropped += 1;
            return;
        }
        self.counters.requests_refused += 1;
        let (reason, tag) = (flaw.to_string(), server_key(message, method, self.keys));
        let reply = Reply { reason: Some(&reason), tag: Some(tag), ..Reply::of(status) };
        self.answer_stateless(message, &reply, flow);
    }

    fn say_bad_input(&mut self, flow: Flow, what: &str, status: u16, rule: &dyn fmt::Display) {
        let (method, rule) = (what.into(), rule.to_string().into());
        self.events.push_back(Event::BadInput { source: flow, method, status, rule });
    }

    fn on_response(
        &mut self,
        flow: Flow,
        bytes: &Arc<[u8]>,
        message: &Message<'_>,
        status: u16,
        now: Tick,
    ) {
        let Mandatory { via, cseq, to, .. } = match message.validate() {
            Ok(mandatory) => mandatory,
            Err(flaw) => {
                self.counters.malformed_dropped += 1;
                return self.say_bad_input(flow, "", 0, &flaw);
            }
        };
        let branch = via.branch().unwrap_or_default();
        let Some(id) = self.table.find(client_key(branch, &cseq.method, self.keys)) else {
            self.counters.responses_stray += 1;
            return;
        };
        let to_tag = to.tag().unwrap_or_default();
        let answer = Answer { flow, bytes, message, status, cseq: cseq.number, to_tag };
        if cseq.method == Method::Invite {
            self.on_invite_answer(id, &answer, now);
        } else {
            self.on_answer(id, &answer, now);
        }
    }

    fn on_request(&mut self, request: &Incoming<'_>, now: Tick) {
        match request.method {
            Method::Ack => self.on_ack(request, now),
            Method::Cancel => self.on_cancel(request, now),
            Method::Other(_) => self.refuse_method(request, 501),
            Method::Invite
            | Method::Bye
            | Method::Options
            | Method::Register
            | Method::Info
            | Method::Update
            | Method::Prack
            | Method::Message
            | Method::Refer
            | Method::Notify
            | Method::Subscribe
            | Method::Publish => match self.table.find(request.key) {
                Some(id) => self.on_copy(request, id),
                None if self.is_refused(request) => {}
                None if request.is_inside() => self.on_inside(request, now),
                None => self.on_outside(request, now),
            },
        }
    }

    /// A request that came before gets the answer it got before (RFC 3261 §17.2), by the way that
    /// this copy came.
    fn on_copy(&mut self, request: &Incoming<'_>, id: TransactionId) {
        let Some(entry) = self.table.get(id) else { return };
        let (answers, response) = match &entry.role {
            Role::InviteServer { machine, response, .. } => (machine.answers_copies(), response),
            Role::Server { machine, response, .. } => (machine.answers_copies(), response),
            Role::InviteClient { .. } | Role::Client { .. } => return,
        };
        if let (true, Some(response)) = (answers, response) {
            let response = Arc::clone(response);
            self.transmit(request.response_flow, response);
        }
    }

    /// Whether a request broke a rule of user agents and was told so (RFC 3261 §8.2).
    fn is_refused(&mut self, request: &Incoming<'_>) -> bool {
        let message = request.message;
        let is_unknown = |tag: &&str| !SUPPORTED.iter().any(|own| own.eq_ignore_ascii_case(tag));
        let unsupported: Vec<&str> = message.values(Name::Require).filter(is_unknown).collect();
        if message.max_forwards() == Ok(Some(0)) {
            self.refuse(request, 483, &[]);
        } else if matches!(message.request_uri(), Ok(Uri::Other { .. }) | Err(_)) {
            self.refuse(request, 416, &[]);
        } else if request.merged_key.is_some_and(|merged| self.table.is_merged(merged)) {
            self.refuse(request, 482, &[]);
        } else if !unsupported.is_empty() {
            self.refuse(request, 420, &[("Unsupported", &unsupported.join(", "))]);
        } else if let Some(header) = unreadable_body(request) {
            self.refuse(request, 415, &[header]);
        } else if !self.is_served(request.method) {
            self.refuse_method(request, 405);
        } else if !takes_sdp(request) {
            let warning = "399 ringback \"Accept leaves out application/sdp\"";
            self.refuse(request, 406, &[("Warning", warning)]);
        } else {
            return self.is_too_short(request);
        }
        true
    }

    /// Whether requests of this method have an answer of ours or of our user.
    fn is_served(&self, method: &Method) -> bool {
        match method {
            Method::Invite
            | Method::Ack
            | Method::Bye
            | Method::Cancel
            | Method::Options
            | Method::Info
            | Method::Update
            | Method::Prack => true,
            Method::Register
            | Method::Message
            | Method::Refer
            | Method::Notify
            | Method::Subscribe
            | Method::Publish
            | Method::Other(_) => self.config.serves.contains(method),
        }
    }

    /// Says which methods would be served instead (RFC 3261 §21.4.6, §21.5.2).
    fn refuse_method(&mut self, request: &Incoming<'_>, status: u16) {
        let allow = Arc::clone(&self.abilities.allow);
        self.refuse(request, status, &[("Allow", &allow)]);
    }

    fn on_outside(&mut self, request: &Incoming<'_>, now: Tick) {
        let is_invite = *request.method == Method::Invite;
        match request.method {
            Method::Options => self.say_capabilities(request),
            Method::Bye | Method::Info | Method::Update | Method::Prack => {
                self.refuse(request, 481, &[]);
            }
            Method::Invite
            | Method::Register
            | Method::Message
            | Method::Refer
            | Method::Notify
            | Method::Subscribe
            | Method::Publish
            | Method::Ack
            | Method::Cancel
            | Method::Other(_) => {
                let no_dialog = is_invite && self.legs.len() >= self.config.dialogs_max;
                if self.table.is_full() || no_dialog {
                    self.overloaded(request);
                } else if request.message.field(Name::Replaces).is_some() && is_invite {
                    self.refuse_replacement(request);
                } else if is_invite {
                    self.on_invite(request, now);
                } else {
                    self.on_request_for_user(request, None, now);
                }
            }
        }
    }

    /// An INVITE that wants to take the place of another call: 481 for a call that is not there,
    /// 603 for one that is, since nobody may take a call over yet (RFC 3891 §3).
    fn refuse_replacement(&mut self, request: &Incoming<'_>) {
        let values: Vec<&str> = request.message.values(Name::Replaces).collect();
        let [replaces] = *values else { return self.refuse(request, 400, &[]) };
        let (call_id, params) = replaces.split_at(replaces.find(';').unwrap_or(replaces.len()));
        let params = Params::parse(params);
        let to_tag = params.and_then(|params| params.value("to-tag")).unwrap_or_default();
        let key = self.keys.of(&[call_id.trim().as_bytes(), to_tag.as_bytes()]);
        if !self.by_tag.contains_key(&key) {
            return self.refuse(request, 481, &[]);
        }
        self.refuse(request, 603, &[("Warning", "399 ringback \"calls cannot be taken over\"")]);
    }

    /// A request inside a dialog (RFC 3261 §12.2.2).
    fn on_inside(&mut self, request: &Incoming<'_>, now: Tick) {
        let id = self.dialog_of(request);
        let leg = id.and_then(|id| self.legs.get_mut(id));
        let (Some(id), Some(leg)) = (id, leg) else { return self.refuse(request, 481, &[]) };
        let is_calling = leg.is_calling();
        let is_next = leg.talk_with(request.from_tag);
        let is_next = is_next.map(|(dialog, _)| dialog.accept_cseq(request.cseq));
        match is_next {
            Some(true) => {}
            Some(false) => {
                let warning = "399 ringback \"CSeq is not above the last of this dialog\"";
                return self.refuse(request, 500, &[("Warning", warning)]);
            }
            // A BYE ends the dialog in whatever state, and an UPDATE may overtake the 1xx that
            // made its early dialog: then the offer in our INVITE is still open (RFC 3311 §5.2).
            None if *request.method == Method::Bye => {}
            None if *request.method == Method::Update && is_calling => {
                return self.refuse(request, 491, &[]);
            }
            None => return self.refuse(request, 481, &[]),
        }
        match request.method {
            Method::Bye => self.on_bye(request, id, now),
            Method::Invite | Method::Update => self.on_offer(request, id, now),
            Method::Info => {
                if let Some(info) = self.serve(request, None, now) {
                    self.reply(info, &Reply::of(200), now);
                    let message = Arc::clone(request.bytes);
                    self.events.push_back(Event::Info { dialog: id, message });
                }
            }
            Method::Options => self.say_capabilities(request),
            Method::Prack => self.on_prack(request, id, now),
            Method::Register
            | Method::Message
            | Method::Refer
            | Method::Notify
            | Method::Subscribe
            | Method::Publish
            | Method::Ack
            | Method::Cancel
            | Method::Other(_) => self.on_request_for_user(request, Some(id), now),
        }
    }

    /// RFC 3261 §11.2.
    fn say_capabilities(&mut self, request: &Incoming<'_>) {
        let Abilities { allow, supported } = self.abilities.clone();
        let headers: &[(&str, &str)] = &[
            ("Allow", &allow),
            ("Accept", ACCEPT),
            ("Accept-Encoding", "identity"),
            ("Supported", &supported),
        ];
        self.reply_stateless(request, &Reply { headers, ..Reply::of(200) });
    }
}

/// What an INVITE or UPDATE carries that nobody here can read, as the header that says what could
/// be (RFC 3261 §8.2.3). Other methods' bodies are for their users.
fn unreadable_body(request: &Incoming<'_>) -> Option<(&'static str, &'static str)> {
    if !matches!(request.method, Method::Invite | Method::Update) {
        return None;
    }
    let message = request.message;
    let is_plain =
        message.values(Name::ContentEncoding).all(|coding| coding.eq_ignore_ascii_case("identity"));
    if !is_plain {
        return Some(("Accept-Encoding", "identity"));
    }
    let content_type = message.content_type().ok().flatten();
    let is_readable = message.body.is_empty()
        || content_type.is_some_and(|kind| {
            kind.is("application", "sdp") || kind.kind.eq_ignore_ascii_case("multipart")
        });
    (!is_readable).then_some(("Accept", ACCEPT))
}

/// Whether the answer to an INVITE may hold what it will hold (RFC 3261 §20.1, §21.4.7).
fn takes_sdp(request: &Incoming<'_>) -> bool {
    let message = request.message;
    let is_sdp = |range: &str| {
        let range = range.split(';').next().unwrap_or_default().trim();
        ["application/sdp", "application/*", "*/*"]
            .iter()
            .any(|known| known.eq_ignore_ascii_case(range))
    };
    *request.method != Method::Invite
        || message.field(Name::Accept).is_none()
        || message.values(Name::Accept).any(is_sdp)
}
