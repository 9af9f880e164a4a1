//! Inquiries: who sends a request is asked of flows, trigger by trigger, where a trigger leaves that
//! to its branch `Auth` (contract §5.6, §5.7, §11).
//!
//! ```text
//!   request ─▶ next trigger ─ static: proven by its passwords ─────────────▶ accepted
//!                 ▲      │
//!                 │      └─ Auth: a run is asked ─ allow, right password ──▶ accepted
//!                 │                             ─ challenge ───────────────▶ 401
//!                 │                             ─ deny, wrong password ────▶ told so
//!                 └───────────────────────────── not_applicable, time-out
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::base::{Armed, Tick};
use crate::call::leg::{parse, text};
use crate::call::payload;
use crate::call::record::CallKey;
use crate::call::site::{AccountRef, Proof, is_number};
use crate::call::switch::ask::{Ask, Failed};
use crate::call::switch::register::{Identity, Unproven};
use crate::call::switch::{RunCard, Switch, Wake};
use crate::call::trigger::Kind;
use crate::flow::Item;
use crate::sip::{DialogId, Flow, Message, TransactionId};

/// Requests about which flows are asked at a time; one more is not asked about.
const INQUIRIES_MAX: usize = 1024;
/// The same for requests of one address.
const INQUIRIES_PER_PEER_MAX: usize = 32;

/// Requests about which a flow is asked.
#[derive(Debug, Default)]
pub(super) struct Inquiries {
    begun: u64,
    open: BTreeMap<u64, Inquiry>,
    by_peer: BTreeMap<IpAddr, usize>,
}

/// Whose answer a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// A call.
    Invite(DialogId),
    /// A registration.
    Register(TransactionId),
    /// A text.
    Text(TransactionId),
}

/// One request.
#[derive(Debug)]
struct Inquiry {
    asker: Asker,
    bytes: Arc<[u8]>,
    flow: Flow,
    /// Triggers that have not been looked at.
    left: VecDeque<usize>,
    /// What a trigger said that let others go on.
    rejected: Option<Unproven>,
    /// The trigger whose flow is asked.
    trigger: usize,
    deadline: Option<Armed>,
}

/// What a flow said.
enum Word {
    Allow(Option<String>),
    Verify { password: String, extension: Option<String> },
    NotApplicable,
    Challenge(u16),
    Deny(u16, String),
}

impl Inquiries {
    /// Requests about which a flow is asked.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    fn take(&mut self, id: u64) -> Option<Inquiry> {
        let inquiry = self.open.remove(&id)?;
        let peer = inquiry.flow.remote.ip();
        if let Some(count) = self.by_peer.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                self.by_peer.remove(&peer);
            }
        }
        Some(inquiry)
    }

    fn has_room(&self, peer: IpAddr) -> bool {
        let of_peer = self.by_peer.get(&peer).copied().unwrap_or_default();
        self.open.len() < INQUIRIES_MAX && of_peer < INQUIRIES_PER_PEER_MAX
    }
}

impl Switch {
    /// Whether a trigger asks its flow who somebody is.
    pub(super) fn has_inquirers(&self) -> bool {
        self.triggers.iter().any(|trigger| trigger.asks.is_some())
    }

    /// Who sent this request, by the triggers in their order: dynamic trunks, then extensions.
    pub(super) fn inquire(
        &mut self,
        asker: Asker,
        message: &[u8],
        flow: Flow,
        now: Tick,
    ) -> Result<AccountRef, Unproven> {
        let of_kind = |is_trunk: bool| {
            let dynamic =
                self.triggers.iter().enumerate().filter(move |(_, trigger)| match trigger.kind {
                    Kind::DynamicTrunk { .. } => is_trunk,
                    Kind::Extensions { .. } => !is_trunk,
                    Kind::FixedTrunk { .. } | Kind::RegisteredTrunk { .. } => false,
                });
            dynamic.map(|(place, _)| place)
        };
        let left = of_kind(true).chain(of_kind(false)).collect();
        let (bytes, rejected, trigger) = (Arc::from(message), None, 0);
        let deadline = None;
        self.traverse(Inquiry { asker, bytes, flow, left, rejected, trigger, deadline }, now)
    }

    /// Goes on with the next trigger, until one knows or has to ask.
    fn traverse(&mut self, mut inquiry: Inquiry, now: Tick) -> Result<AccountRef, Unproven> {
        let bytes = Arc::clone(&inquiry.bytes);
        let message = Message::parse(&bytes).expect("the endpoint hands on what it could read");
        let (flow, peer) = (inquiry.flow, inquiry.flow.remote.ip());
        let mut may_prove = false;
        while let Some(place) = inquiry.left.pop_front() {
            let Some(rules) = self.triggers[place].asks.clone() else {
                may_prove = true;
                match self.site.prove_by(Some(place), &message, flow, now) {
                    Proof::Proven(account) => return Ok(account),
                    Proof::Challenge { values, is_failed: false } => {
                        return Err(Unproven::Challenge { values, is_failed: false });
                    }
                    Proof::Challenge { .. } | Proof::NoAccounts => continue,
                }
            };
            if !rules.is_raw {
                may_prove = true;
                let Some(shown) = self.site.shown_credentials(&message) else {
                    let values = self.site.challenge(peer, now);
                    return Err(Unproven::Challenge { values, is_failed: false });
                };
                if !shown.username.starts_with(&rules.prefix) {
                    continue;
                }
                if !self.site.is_current(&shown, peer, now) {
                    let values = self.site.challenge_stale(peer, now);
                    return Err(Unproven::Challenge { values, is_failed: false });
                }
            }
            if !self.inquiries.has_room(peer) {
                return Err(Unproven::Busy);
            }
            inquiry.trigger = place;
            self.ask_flow(inquiry, &message, now);
            return Err(Unproven::Asked);
        }
        if let Some(rejected) = inquiry.rejected {
            return Err(rejected);
        }
        if may_prove {
            let values = self.site.challenge(peer, now);
            return Err(Unproven::Challenge { values, is_failed: true });
        }
        Err(Unproven::Nobody)
    }

    /// Starts a run at the trigger's branch `Auth`.
    fn ask_flow(&mut self, mut inquiry: Inquiry, message: &Message<'_>, now: Tick) {
        let trigger = self.triggers[inquiry.trigger].clone();
        let Some(rules) = &trigger.asks else { return };
        self.inquiries.begun += 1;
        let id = self.inquiries.begun;
        inquiry.deadline = Some(self.timers.arm(now + rules.timeout, Wake::Inquiry(id)));
        let name = text("auth", id);
        let shown = self.site.shown_credentials(message);
        let request = match inquiry.asker {
            Asker::Invite(_) => "invite",
            Asker::Register(_) => "register",
            Asker::Text(_) => "message",
        };
        let flow = inquiry.flow;
        let item = payload::auth(message, &trigger.reference, &name, request, flow, shown.as_ref());
        *self.inquiries.by_peer.entry(flow.remote.ip()).or_default() += 1;
        self.inquiries.open.insert(id, inquiry);
        let mut outputs = vec![Vec::new(); rules.output];
        outputs.push(vec![with_handle(Item::new(item), "auth", &name)]);
        // Whoever is asked about is no call yet.
        let call = CallKey::default();
        let (workflow, graph) = (trigger.workflow, trigger.graph.clone());
        let card = RunCard { workflow, graph, entry: None, call, number: 1 };
        self.start_run_at(card, trigger.node, outputs);
    }

    /// `respond.toAuth`.
    pub(super) fn respond_auth(&mut self, ask: &Ask, now: Tick) {
        match self.take_word(ask) {
            Ok((id, word)) => {
                let payload = json!({ "authRequestId": text("auth", id) });
                self.answer(ask, 0, payload, None);
                self.on_word(id, word, now);
            }
            Err(failed) => self.fail(ask, failed),
        }
    }

    fn take_word(&self, ask: &Ask) -> Result<(u64, Word), Failed> {
        let named = request_id(ask, "auth", "authRequestId").ok_or(Failed::AuthMissing)?;
        let id = parse("auth", &named).ok_or(Failed::AuthUnknown)?;
        let inquiry = self.inquiries.open.get(&id).ok_or(Failed::AuthUnknown)?;
        let extension = Some(ask.text("extension")).filter(|one| !one.is_empty());
        let is_sound = extension.as_deref().is_none_or(is_number);
        let status = match ask.parameter("statusCode").and_then(Value::as_u64) {
            None => 401,
            Some(status) if (400..=699).contains(&status) => status as u16,
            Some(_) => return Err(Failed::AuthStatus),
        };
        let word = match ask.text("authAction").as_str() {
            "allow" => Word::Allow(self.extension_for(inquiry, extension)?),
            "verify_password" => {
                let password = ask.text("password");
                if password.is_empty() {
                    return Err(Failed::PasswordMissing);
                }
                Word::Verify { password, extension: self.extension_for(inquiry, extension)? }
            }
            "challenge" => Word::Challenge(if status == 407 { 407 } else { 401 }),
            "deny" => Word::Deny(status, ask.text("reason")),
            "not_applicable" | "" => Word::NotApplicable,
            _ => return Err(Failed::AuthAction),
        };
        if is_sound { Ok((id, word)) } else { Err(Failed::ExtensionMissing) }
    }

    /// The extension that somebody is: as the flow says, or else as the user is called.
    fn extension_for(
        &self,
        inquiry: &Inquiry,
        said: Option<String>,
    ) -> Result<Option<String>, Failed> {
        let trigger = &self.triggers[inquiry.trigger];
        if trigger.is_trunk() || said.is_some() {
            return Ok(said.filter(|_| !trigger.is_trunk()));
        }
        let prefix = trigger.asks.as_ref().map_or("", |rules| &rules.prefix);
        let message = Message::parse(&inquiry.bytes).map_err(|_| Failed::AuthUnknown)?;
        let shown = self.site.shown_credentials(&message);
        let user = shown.and_then(|shown| shown.username.strip_prefix(prefix));
        let own = user.filter(|user| is_number(user)).map(str::to_owned);
        own.map(Some).ok_or(Failed::ExtensionMissing)
    }

    /// Nobody has answered in time.
    pub(super) fn on_inquiry_expired(&mut self, id: u64, now: Tick) {
        self.on_word(id, Word::NotApplicable, now);
    }

    fn on_word(&mut self, id: u64, word: Word, now: Tick) {
        let Some(mut inquiry) = self.inquiries.take(id) else { return };
        self.timers.clear_slot(&mut inquiry.deadline);
        let (asker, flow) = (inquiry.asker, inquiry.flow);
        let bytes = Arc::clone(&inquiry.bytes);
        let (peer, left) = (flow.remote.ip(), inquiry.left.clone());
        let continues =
            self.triggers[inquiry.trigger].asks.as_ref().is_some_and(|rules| rules.continues);
        let judged = match word {
            Word::NotApplicable => self.traverse(inquiry, now),
            Word::Challenge(status) => {
                let values = self.site.challenge(peer, now);
                return self.settle_inquiry(
                    asker,
                    &bytes,
                    flow,
                    Err(Unproven::Denied { status, reason: String::new(), values }),
                    now,
                );
            }
            Word::Deny(status, reason) => {
                let is_challenge = matches!(status, 401 | 407);
                let values = if is_challenge { self.site.challenge(peer, now) } else { Vec::new() };
                Err(Unproven::Denied { status, reason, values })
            }
            Word::Allow(extension) => self.admit(&inquiry, None, extension, now),
            Word::Verify { password, extension } => {
                self.admit(&inquiry, Some(&password), extension, now)
            }
        };
        let judged = match judged {
            // A no of this trigger, where the author lets others have their say.
            Err(no) if continues && no.is_rejection() => {
                let (bytes, left) = (Arc::clone(&bytes), left);
                let (rejected, trigger, deadline) = (Some(no), 0, None);
                let rest = Inquiry { asker, bytes, flow, left, rejected, trigger, deadline };
                self.traverse(rest, now)
            }
            judged => judged,
        };
        if judged != Err(Unproven::Asked) {
            self.settle_inquiry(asker, &bytes, flow, judged, now);
        }
    }

    /// Whether whoever asks is let in as the flow says.
    fn admit(
        &mut self,
        inquiry: &Inquiry,
        password: Option<&str>,
        extension: Option<String>,
        now: Tick,
    ) -> Result<AccountRef, Unproven> {
        let message = Message::parse(&inquiry.bytes).map_err(|_| Unproven::Nobody)?;
        let peer = inquiry.flow.remote.ip();
        let username = self.site.shown_credentials(&message).map(|shown| shown.username.to_owned());
        if let Err((values, is_failed)) = self.site.admit(&message, password, peer, now) {
            return Err(Unproven::Challenge { values, is_failed });
        }
        let workflow = self.triggers[inquiry.trigger].workflow;
        let username = username.unwrap_or_default();
        let account = self.site.guest(inquiry.trigger, workflow, username, extension);
        account.ok_or(Unproven::Busy)
    }

    /// The request is accepted or refused after all.
    fn settle_inquiry(
        &mut self,
        asker: Asker,
        bytes: &[u8],
        flow: Flow,
        judged: Result<AccountRef, Unproven>,
        now: Tick,
    ) {
        match asker {
            Asker::Invite(dialog) => {
                let judged = judged.map(|account| self.identity_of(account));
                let Ok(message) = Message::parse(bytes) else { return };
                self.on_invite_judged(dialog, &message, bytes, flow, judged, now);
            }
            Asker::Register(request) => {
                self.on_register_judged(request, bytes, flow, judged, now);
            }
            Asker::Text(request) => {
                let judged = judged.map(|account| self.identity_of(account));
                self.on_text_judged(request, bytes, flow, judged, now);
            }
        }
    }

    /// Other triggers are active: a request about which one was asked that has gone is none of its
    /// business any more.
    pub(super) fn move_inquiries(&mut self, places: &[Option<usize>], now: Tick) {
        let moved = |old: usize| places.get(old).copied().flatten();
        let mut lost = Vec::new();
        for (id, inquiry) in &mut self.inquiries.open {
            inquiry.left = inquiry.left.iter().filter_map(|place| moved(*place)).collect();
            match moved(inquiry.trigger) {
                Some(place) => inquiry.trigger = place,
                None => lost.push(*id),
            }
        }
        for id in lost {
            let Some(mut inquiry) = self.inquiries.take(id) else { continue };
            self.timers.clear_slot(&mut inquiry.deadline);
            let (asker, flow) = (inquiry.asker, inquiry.flow);
            let bytes = Arc::clone(&inquiry.bytes);
            let judged = self.traverse(inquiry, now);
            if judged != Err(Unproven::Asked) {
                self.settle_inquiry(asker, &bytes, flow, judged, now);
            }
        }
    }

    /// A caller has given up while a flow was asked.
    pub(super) fn drop_inquiry(&mut self, dialog: DialogId) {
        let is_its = |inquiry: &Inquiry| inquiry.asker == Asker::Invite(dialog);
        let found = self.inquiries.open.iter().find(|(_, inquiry)| is_its(inquiry));
        if let Some(mut inquiry) = found.map(|(id, _)| *id).and_then(|id| self.inquiries.take(id)) {
            self.timers.clear_slot(&mut inquiry.deadline);
        }
    }
}

impl Identity {
    /// Whose account it is.
    fn of(trigger: usize, extension: Option<String>) -> Self {
        match extension {
            Some(extension) => Self::Extension { trigger, extension },
            None => Self::Trunk { trigger },
        }
    }
}

impl Switch {
    /// Who has this account.
    pub(super) fn identity_of(&self, account: AccountRef) -> Identity {
        let login = self.site.login(account);
        Identity::of(login.trigger, login.extension.clone())
    }
}

/// The item with the handle that answers find (contract §2).
pub(super) fn with_handle(mut item: Item, kind: &str, handle: &str) -> Item {
    let mut extra = Map::new();
    extra.insert(HANDLE.to_owned(), json!({ "kind": kind, "handle": handle }));
    item.extra = Some(Arc::new(extra));
    item
}

/// Which request an answer is about: the hidden handle wins over all that is written (contract §2).
pub(super) fn request_id(ask: &Ask, kind: &str, key: &str) -> Option<String> {
    let handle = ask.item.extra.as_ref().and_then(|extra| extra.get(HANDLE));
    let handle = handle.filter(|handle| handle["kind"] == kind).map(|handle| &handle["handle"]);
    let context = ask.item.json.get("sipPbx").and_then(|context| context.get(key));
    let named = [handle, ask.option("requestId"), ask.item.json.get(key), context];
    let mut named = named.into_iter().flatten().filter_map(Value::as_str);
    named.find(|name| !name.is_empty()).map(str::to_owned)
}

/// Where an item carries the handle.
const HANDLE: &str = "_sipPbxResponseHandle";
