//! Trunks where this server registers: what is sent to them, what they say, and whose their calls are.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::base::{Armed, Tick, Timers};
use crate::call::switch::{Config, Fact, Switch};
use crate::call::trigger::{Kind, Trigger};
use crate::sip::registration::{self, Event, Outcome, Registration, Wanted};
use crate::sip::{self, Derived, Flow, Message, Method, Name, Outgoing, Party, RequestId};

/// Numbers that one REGISTER may use up without us knowing its last: the first, one for a challenge
/// and one for a stale nonce.
const CSEQ_STEP: u32 = 3;

/// All trunks where this server registers.
#[derive(Debug, Default)]
pub(super) struct Trunks {
    own: BTreeMap<TrunkId, Trunk>,
    begun: u64,
    asked: BTreeMap<RequestId, TrunkId>,
    /// Trunks by the token that their calls come for.
    by_token: BTreeMap<String, TrunkId>,
    timers: Timers<TrunkId>,
}

/// Names one registration of ours, for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct TrunkId(u64);

#[derive(Debug)]
struct Trunk {
    /// Place of its trigger; `None`: its trigger has gone, and the binding is being taken back.
    trigger: Option<usize>,
    /// Number of its workflow, that workflow's name, and the ref.
    workflow: usize,
    flow: String,
    reference: String,
    /// Further headers of each REGISTER.
    headers: Vec<(String, String)>,
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
        self.own.values().filter(|trunk| trunk.registration.server().is_some()).count()
    }

    /// The server that has our binding, by place of the trigger.
    pub(super) fn server_of(&self, trigger: usize) -> Option<SocketAddr> {
        let trunk = self.own.values().find(|trunk| trunk.trigger == Some(trigger))?;
        trunk.registration.server().map(|server| trunk.servers[server])
    }

    /// The trigger whose token a call comes for.
    pub(super) fn trigger_of(&self, token: &str) -> Option<usize> {
        self.by_token.get(token).and_then(|id| self.own.get(id)?.trigger)
    }

    fn arm(&mut self, id: TrunkId, due: Option<Tick>) {
        let Some(trunk) = self.own.get_mut(&id) else { return };
        self.timers.clear_slot(&mut trunk.armed);
        trunk.armed = due.map(|due| self.timers.arm(due, id));
    }
}

/// Trunks among these triggers that are to be registered and cannot be, each with what is missing.
pub(super) fn unregistrable(triggers: &[Trigger], config: &Config) -> Vec<String> {
    let is_nowhere = config.sip.advertised.is_none() && config.sip_local.ip().is_unspecified();
    let missing = |trigger: &Trigger| {
        let Kind::RegisteredTrunk { .. } = trigger.kind else { return None };
        let name = &trigger.reference;
        let can = config.trunks.get(name).is_some_and(|known| known.registrars().is_some());
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
    triggers.iter().filter_map(missing).collect()
}

impl Switch {
    /// Trunks that are to be registered and cannot be, each with what is missing.
    pub fn unregistrable(&self) -> Vec<String> {
        unregistrable(&self.triggers, &self.config)
    }

    /// From now on the triggers that register do so, and no others: what stays keeps its binding,
    /// what goes takes it back.
    pub(super) fn set_trunks(&mut self, now: Tick) {
        for trunk in self.trunks.own.values_mut() {
            trunk.trigger = None;
        }
        for (place, trigger) in self.triggers.iter().enumerate() {
            let Kind::RegisteredTrunk { expires, headers, .. } = &trigger.kind else { continue };
            let known = self.site.trunk(&trigger.reference);
            let Some((servers, _)) = known.and_then(|known| known.registrars()) else { continue };
            let is_it = |trunk: &&mut Trunk| {
                (trunk.workflow, &trunk.reference) == (trigger.workflow, &trigger.reference)
            };
            if let Some(trunk) = self.trunks.own.values_mut().find(is_it) {
                trunk.trigger = Some(place);
                trunk.headers.clone_from(headers);
                trunk.registration.set_expires(*expires);
                continue;
            }
            let mut registration =
                Registration::new(Wanted { servers: servers.len(), expires: *expires });
            registration.start();
            self.trunks.begun += 1;
            let id = TrunkId(self.trunks.begun);
            let trunk = Trunk {
                trigger: Some(place),
                workflow: trigger.workflow,
                flow: trigger.graph.name().to_owned(),
                reference: trigger.reference.clone(),
                headers: headers.clone(),
                registration,
                servers,
                token: String::new(),
                cseq: 1,
                call_id: format!("{:016x}{:016x}", self.rng.next_u64(), self.rng.next_u64()),
                from_tag: format!("{:016x}", self.rng.next_u64()),
                connection: 0,
                armed: None,
            };
            self.trunks.own.insert(id, trunk);
            self.trunks.arm(id, Some(now));
        }
        self.leave_trunks_where(|trunk| trunk.trigger.is_none(), now);
    }

    /// Every registration is taken back; the REGISTERs leave when time passes next.
    pub(super) fn leave_trunks(&mut self) {
        self.leave_trunks_where(|_| true, Tick::ZERO);
    }

    fn leave_trunks_where(&mut self, is_meant: impl Fn(&Trunk) -> bool, now: Tick) {
        let leaving = self.trunks.own.iter_mut().filter(|(_, trunk)| is_meant(trunk));
        let leaving = leaving.map(|(id, trunk)| {
            trunk.registration.stop();
            *id
        });
        for id in leaving.collect::<Vec<_>>() {
            self.trunks.arm(id, Some(now));
        }
    }

    /// Trunks that are due.
    pub(super) fn on_trunk_timeout(&mut self, now: Tick) {
        while let Some(id) = self.trunks.timers.take_due(now) {
            if let Some(trunk) = self.trunks.own.get_mut(&id) {
                trunk.registration.handle_timeout(now);
            }
            self.drain_trunk(id, now);
        }
    }

    /// A connection is gone; who was reached by it is registered anew.
    pub(super) fn on_trunk_flow_closed(&mut self, connection: u64, now: Tick) {
        let its = self.trunks.own.iter().filter(|(_, trunk)| trunk.connection == connection);
        for id in its.map(|(id, _)| *id).collect::<Vec<_>>() {
            if let Some(trunk) = self.trunks.own.get_mut(&id) {
                trunk.registration.handle_flow_closed();
            }
            self.drain_trunk(id, now);
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
        let Some(id) = self.trunks.asked.remove(&request) else { return };
        let Some(trunk) = self.trunks.own.get_mut(&id) else { return };
        let message = message.and_then(|bytes| Message::parse(bytes).ok());
        let last = message.as_ref().and_then(|message| message.cseq().ok());
        trunk.cseq = last.map_or(trunk.cseq.saturating_add(CSEQ_STEP), |last| last.number + 1);
        trunk.connection = flow.map_or(0, |flow| flow.connection);
        let outcome = outcome(status, message.as_ref(), &trunk.token);
        trunk.registration.handle_outcome(outcome, &mut self.rng, now);
        self.drain_trunk(id, now);
    }

    /// Does what a registration wants done, and looks when it wants to be called again.
    fn drain_trunk(&mut self, id: TrunkId, now: Tick) {
        while let Some((event, trunk)) = self.trunks.own.get_mut(&id).and_then(|trunk| {
            let event = trunk.registration.poll_event()?;
            Some((event, &*trunk))
        }) {
            let name = trunk.reference.clone();
            match event {
                Event::Send { server, expires } => {
                    let server = trunk.servers[server];
                    if self.send_register(id, server, expires, now).is_none()
                        && let Some(trunk) = self.trunks.own.get_mut(&id)
                    {
                        let full = Outcome::Unavailable { status: 503, retry_after: None };
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
        let Some(trunk) = self.trunks.own.get_mut(&id) else { return };
        if trunk.registration.is_resting() && trunk.trigger.is_none() {
            self.trunks.arm(id, None);
            self.trunks.own.remove(&id);
            self.trunks.by_token.retain(|_, other| *other != id);
            return;
        }
        if trunk.registration.is_resting() && !self.is_draining {
            // It was to go, and has come back meanwhile.
            trunk.registration.start();
            return self.drain_trunk(id, now);
        }
        let due = trunk.registration.poll_timeout();
        self.trunks.arm(id, due);
    }

    /// `None` when there is no room for the request.
    fn send_register(
        &mut self,
        id: TrunkId,
        server: SocketAddr,
        expires: Duration,
        now: Tick,
    ) -> Option<()> {
        self.ensure_token(id);
        let trunk = self.trunks.own.get(&id)?;
        let known = self.site.trunk(&trunk.reference)?;
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
        headers.extend(trunk.headers.iter().cloned());
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
        self.trunks.asked.insert(request, id);
        Some(())
    }

    /// The token is the same after a restart, so that a binding of before is replaced, not doubled.
    fn ensure_token(&mut self, id: TrunkId) {
        let Some(trunk) = self.trunks.own.get_mut(&id).filter(|trunk| trunk.token.is_empty())
        else {
            return;
        };
        let name = format!("{}\0{}", trunk.flow, trunk.reference);
        trunk.token = registration::token(self.promises.secret(), &name);
        self.trunks.by_token.insert(trunk.token.clone(), id);
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
