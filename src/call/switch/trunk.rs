//! Trunks where this server registers: what is sent to them, what they say, and whose their calls are.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::base::{Armed, Tick, Timers};
use crate::call::switch::{Fact, Switch};
use crate::call::trigger::{Kind, Trigger};
use crate::sip::registration::{self, Event, Outcome, Registration, Wanted};
use crate::sip::{self, Derived, Flow, Message, Method, Name, Outgoing, Party, RequestId};

/// Numbers that one REGISTER may use up without us knowing its last: the first, one for a challenge
/// and one for a stale nonce.
const CSEQ_STEP: u32 = 3;

/// All trunks where this server registers.
#[derive(Debug, Default)]
pub(super) struct Trunks {
    own: Vec<Trunk>,
    asked: BTreeMap<RequestId, usize>,
    /// Trunks by the token that their calls come for.
    by_token: BTreeMap<String, usize>,
    timers: Timers<usize>,
}

#[derive(Debug)]
struct Trunk {
    /// Place of its trigger.
    trigger: usize,
    registration: Registration,
    servers: Vec<SocketAddr>,
    /// User part of our contact; empty until the secret is known that it derives from.
    token: String,
    /// Number of the next CSeq: all of one registration share a Call-ID (RFC 3261 §10.2).
    cseq: u32,
    call_id: String,
    from_tag: String,
    /// The connection that the last answer came by.
    connection: u64,
    armed: Option<Armed>,
}

impl Trunks {
    /// When a trunk is due.
    pub(super) fn poll_timeout(&self) -> Option<Tick> {
        self.timers.next()
    }

    /// Trunks that have a binding of ours.
    pub(super) fn registered(&self) -> usize {
        self.own.iter().filter(|trunk| trunk.registration.server().is_some()).count()
    }

    /// The server that has our binding, by place of the trigger.
    pub(super) fn server_of(&self, trigger: usize) -> Option<SocketAddr> {
        let trunk = self.own.iter().find(|trunk| trunk.trigger == trigger)?;
        trunk.registration.server().map(|server| trunk.servers[server])
    }

    /// The trigger whose token a call comes for.
    pub(super) fn trigger_of(&self, token: &str) -> Option<usize> {
        self.by_token.get(token).map(|trunk| self.own[*trunk].trigger)
    }

    fn arm(&mut self, index: usize, due: Option<Tick>) {
        let trunk = &mut self.own[index];
        self.timers.clear_slot(&mut trunk.armed);
        trunk.armed = due.map(|due| self.timers.arm(due, index));
    }
}

impl Switch {
    /// Trunks that are to be registered and cannot be, each with what is missing.
    pub fn unregistrable(&self) -> Vec<String> {
        let is_nowhere =
            self.config.sip.advertised.is_none() && self.config.sip_local.ip().is_unspecified();
        let missing = |trigger: &Trigger| {
            let Kind::RegisteredTrunk { .. } = trigger.kind else { return None };
            let name = &trigger.reference;
            let can = self.site.trunk(name).is_some_and(|known| known.registrars().is_some());
            if !can {
                return Some(format!(
                    "trunk {name} registers: give it server, username and password under \
                     [trunk.{name}] in ringback.toml, or switch trunkUseRegistration off"
                ));
            }
            is_nowhere.then(|| {
                format!("trunk {name} registers: set sip.advertised, or listen on one address")
            })
        };
        self.triggers.iter().filter_map(missing).collect()
    }

    /// A trigger that registers does so from now on.
    pub(super) fn add_trunk(&mut self, trigger: usize) {
        let Kind::RegisteredTrunk { expires, .. } = self.triggers[trigger].kind else { return };
        let known = self.site.trunk(&self.triggers[trigger].reference);
        let Some((servers, _)) = known.and_then(|known| known.registrars()) else { return };
        let mut registration = Registration::new(Wanted { servers: servers.len(), expires });
        registration.start();
        let random = |switch: &mut Self| format!("{:016x}", switch.rng.next_u64());
        let trunk = Trunk {
            trigger,
            registration,
            servers,
            token: String::new(),
            cseq: 1,
            call_id: random(self) + &random(self),
            from_tag: random(self),
            connection: 0,
            armed: None,
        };
        self.trunks.own.push(trunk);
        self.trunks.arm(self.trunks.own.len() - 1, Some(Tick::ZERO));
    }

    /// Every registration is taken back; the REGISTERs leave when time passes next.
    pub(super) fn leave_trunks(&mut self) {
        for index in 0..self.trunks.own.len() {
            self.trunks.own[index].registration.stop();
            self.trunks.arm(index, Some(Tick::ZERO));
        }
    }

    /// Trunks that are due.
    pub(super) fn on_trunk_timeout(&mut self, now: Tick) {
        while let Some(index) = self.trunks.timers.take_due(now) {
            self.trunks.own[index].registration.handle_timeout(now);
            self.drain_trunk(index, now);
        }
    }

    /// A connection is gone; who was reached by it is registered anew.
    pub(super) fn on_trunk_flow_closed(&mut self, connection: u64, now: Tick) {
        for index in 0..self.trunks.own.len() {
            if self.trunks.own[index].connection == connection {
                self.trunks.own[index].registration.handle_flow_closed();
                self.drain_trunk(index, now);
            }
        }
    }

    /// The outcome of a REGISTER of ours.
    pub(super) fn on_response(
        &mut self,
        request: RequestId,
        status: u16,
        message: Option<&[u8]>,
        flow: Option<Flow>,
        now: Tick,
    ) {
        let Some(index) = self.trunks.asked.remove(&request) else { return };
        let trunk = &mut self.trunks.own[index];
        let message = message.and_then(|bytes| Message::parse(bytes).ok());
        let last = message.as_ref().and_then(|message| message.cseq().ok());
        trunk.cseq = last.map_or(trunk.cseq.saturating_add(CSEQ_STEP), |last| last.number + 1);
        trunk.connection = flow.map_or(0, |flow| flow.connection);
        let outcome = outcome(status, message.as_ref(), &trunk.token);
        trunk.registration.handle_outcome(outcome, &mut self.rng, now);
        self.drain_trunk(index, now);
    }

    /// Does what a registration wants done, and looks when it wants to be called again.
    fn drain_trunk(&mut self, index: usize, now: Tick) {
        while let Some(event) = self.trunks.own[index].registration.poll_event() {
            let trunk = &self.trunks.own[index];
            let name = self.triggers[trunk.trigger].reference.clone();
            match event {
                Event::Send { server, expires } => {
                    let server = trunk.servers[server];
                    if self.send_register(index, server, expires, now).is_none() {
                        let full = Outcome::Unavailable { status: 503, retry_after: None };
                        let trunk = &mut self.trunks.own[index];
                        trunk.registration.handle_outcome(full, &mut self.rng, now);
                    }
                }
                Event::Up { server, expires } => {
                    let (server, expires_s) = (trunk.servers[server], expires.as_secs());
                    self.tell(Fact::TrunkUp { trunk: name, server, expires_s });
                }
                Event::Failed { status, retry_in } => {
                    let retry_s = retry_in.as_secs();
                    self.tell(Fact::TrunkFailed { trunk: name, status, retry_s });
                }
                Event::Down => self.tell(Fact::TrunkDown { trunk: name }),
            }
        }
        let due = self.trunks.own[index].registration.poll_timeout();
        self.trunks.arm(index, due);
    }

    /// `None` when there is no room for the request.
    fn send_register(
        &mut self,
        index: usize,
        server: SocketAddr,
        expires: Duration,
        now: Tick,
    ) -> Option<()> {
        self.ensure_token(index);
        let trunk = &self.trunks.own[index];
        let trigger = &self.triggers[trunk.trigger];
        let known = self.site.trunk(&trigger.reference)?;
        let (_, credentials) = known.registrars()?;
        let flow = self.site.flow_to(known.transport(), server)?;
        let host = known.host(server);
        let party = Party {
            display: String::new(),
            user: credentials.username.clone(),
            host: host.clone(),
        };
        let (here, how) = (self.site.host(flow), flow.transport.uri_parameter());
        let expires = expires.as_secs();
        let mut headers = vec![
            ("Contact".to_owned(), format!("<sip:{}@{here}{how}>;expires={expires}", trunk.token)),
            ("Expires".to_owned(), expires.to_string()),
        ];
        if let Kind::RegisteredTrunk { headers: further, .. } = &trigger.kind {
            headers.extend(further.iter().cloned());
        }
        let outgoing = Outgoing {
            flow,
            request_uri: format!("sip:{host}"),
            from: party.clone(),
            to: party,
            headers,
            body: None,
            max_forwards: sip::MAX_FORWARDS,
            credentials: Some(credentials.clone()),
            derived: Some(Derived {
                call_id: trunk.call_id.clone(),
                from_tag: trunk.from_tag.clone(),
                branch: None,
                cseq: trunk.cseq,
            }),
        };
        let request = self.endpoint.request(Method::Register, outgoing, now).ok()?;
        self.trunks.asked.insert(request, index);
        Some(())
    }

    /// The token is the same after a restart, so that a binding of before is replaced, not doubled.
    fn ensure_token(&mut self, index: usize) {
        let trunk = &mut self.trunks.own[index];
        if !trunk.token.is_empty() {
            return;
        }
        let trigger = &self.triggers[trunk.trigger];
        let name = format!("{}\0{}", trigger.graph.name(), trigger.reference);
        trunk.token = registration::token(self.promises.secret(), &name);
        self.trunks.by_token.insert(trunk.token.clone(), index);
    }
}

/// What a final response means for the registration.
fn outcome(status: u16, message: Option<&Message<'_>>, token: &str) -> Outcome {
    let seconds = |name| {
        let text = message.and_then(|message| message.text(name))?;
        let digits = text.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse::<u32>().ok().map(|seconds| Duration::from_secs(seconds.into()))
    };
    match (status, message) {
        (200..=299, Some(message)) => Outcome::Bound(granted(message, token)),
        (423, _) => Outcome::TooBrief(seconds(Name::MinExpires).unwrap_or_default()),
        (408 | 500..=599, _) => {
            Outcome::Unavailable { status, retry_after: seconds(Name::RetryAfter) }
        }
        (_, _) => Outcome::Refused { status },
    }
}

/// The life of our contact; zero when it is not among those that are bound (RFC 3261 §10.2.4).
fn granted(message: &Message<'_>, token: &str) -> Duration {
    let contacts = message.contacts().filter_map(Result::ok);
    let mut own = contacts.filter_map(|contact| {
        let address = contact.address()?;
        (address.uri.user_decoded()? == token).then(|| address.expires())
    });
    let seconds = own.next().map(|own| own.or_else(|| message.expires().ok().flatten()));
    Duration::from_secs(seconds.flatten().unwrap_or_default().into())
}
