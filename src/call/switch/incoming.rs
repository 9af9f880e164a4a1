//! A call comes in: whose it is, whether it can be had, and the start of its flow.

use std::net::SocketAddr;

use crate::base::Tick;
use crate::call::leg::Leg;
use crate::call::payload;
use crate::call::record::CallKey;
use crate::call::switch::inquiry::Asker;
use crate::call::switch::register::{Identity, Unproven, challenge_header, headers, warning_of};
use crate::call::switch::{Fact, Output, RunCard, Switch};
use crate::call::trigger::{AudioRules, Trigger};
use crate::flow::{Input, Item, NodeIndex, RunId};
use crate::sdp::{self, Description, Direction};
use crate::sip::{DialogId, Flow, MAX_FORWARDS, Message, Name};

/// Runs of flows at a time for each leg that there may be.
const RUNS_PER_LEG: usize = 2;

/// Why a call is not taken, and what its caller is told.
enum Refusal {
    /// The server is on its way out.
    Draining,
    /// No leg, run or port is left.
    Full,
    /// No trigger listens to this source, or not without proof.
    Unproven(Unproven),
    /// The body is not SDP.
    BodyType,
    /// The offer cannot be had.
    Offer(sdp::Unacceptable),
}

impl Refusal {
    const fn status(&self) -> u16 {
        match self {
            Self::Draining | Self::Full => 503,
            Self::Unproven(Unproven::Challenge { .. }) => 401,
            Self::Unproven(Unproven::Nobody) => 403,
            Self::Unproven(Unproven::Busy | Unproven::Asked) => 503,
            Self::Unproven(Unproven::Denied { status, .. }) => *status,
            Self::BodyType => 415,
            Self::Offer(unacceptable) => unacceptable.status(),
        }
    }

    fn why(&self) -> String {
        match self {
            Self::Draining => "the server is shutting down".to_owned(),
            Self::Full => "no leg, run or media port is left".to_owned(),
            Self::Unproven(Unproven::Challenge { .. }) => {
                "a call with a wrong user or password".to_owned()
            }
            Self::Unproven(Unproven::Nobody) => {
                "no trunk or extension is known at this address".to_owned()
            }
            Self::Unproven(Unproven::Busy | Unproven::Asked) => {
                "too many requests wait for flows to say whose they are".to_owned()
            }
            Self::Unproven(Unproven::Denied { reason, .. }) => {
                format!("a flow denied the call: {reason}")
            }
            Self::BodyType => "the body is not application/sdp".to_owned(),
            Self::Offer(unacceptable) => unacceptable.to_string(),
        }
    }
}

impl Switch {
    pub(super) fn on_invite(&mut self, dialog: DialogId, bytes: &[u8], flow: Flow, now: Tick) {
        let Ok(message) = Message::parse(bytes) else {
            unreachable!("the endpoint hands on only what it could read");
        };
        let judged = self.identify(Asker::Invite(dialog), &message, bytes, flow, now);
        self.on_invite_judged(dialog, &message, bytes, flow, judged, now);
    }

    /// It is known whose call it is, or that nobody knows.
    pub(super) fn on_invite_judged(
        &mut self,
        dialog: DialogId,
        message: &Message<'_>,
        bytes: &[u8],
        flow: Flow,
        judged: Result<Identity, Unproven>,
        now: Tick,
    ) {
        if judged == Err(Unproven::Asked) {
            return;
        }
        let taken = judged.map_err(Refusal::Unproven);
        let taken = taken.and_then(|who| self.take_call(dialog, message, bytes, &who, flow, now));
        if let Err(refusal) = taken {
            self.refuse(dialog, flow.remote, &refusal, now);
        }
    }

    fn take_call(
        &mut self,
        dialog: DialogId,
        message: &Message<'_>,
        bytes: &[u8],
        identity: &Identity,
        flow: Flow,
        now: Tick,
    ) -> Result<(), Refusal> {
        if self.is_draining {
            return Err(Refusal::Draining);
        }
        let trigger = self.triggers[identity.trigger()].clone();
        let offer = offer_of(message)?;
        let audio = self.audio_of(&trigger);
        let mut local = self.local_description(&audio);
        if let Some(offer) = &offer {
            offer.settle(&local).map_err(Refusal::Offer)?;
        }
        if self.runs.len() >= self.config.legs_max * RUNS_PER_LEG {
            return Err(Refusal::Full);
        }
        let port = self.ports.allocate(now).ok_or(Refusal::Full)?;
        local.address.set_port(port);
        let mut leg = Leg::new(dialog, flow, local, now);
        leg.origin = self.origin(identity);
        leg.audio.finds_digits = audio.finds_digits;
        leg.audio.takes_info = audio.takes_info;
        let extension = leg.origin.extension.clone();
        leg.audio.offer = offer;
        leg.max_forwards = message.max_forwards().ok().flatten().unwrap_or(MAX_FORWARDS);
        if let Ok(from) = message.from() {
            leg.caller_number = payload::user_of(from.uri_text);
            leg.caller_name = from.display_name().into_owned();
            from.uri_text.clone_into(&mut leg.shown.from);
        }
        if let Ok(to) = message.to() {
            leg.called_number = payload::user_of(to.uri_text);
            to.uri_text.clone_into(&mut leg.shown.to);
            leg.shown.called_name = to.display_name().into_owned();
        }
        let (from, to) = (leg.caller_number.clone(), leg.called_number.clone());
        let Some(id) = self.legs.insert(Box::new(leg)) else {
            self.ports.release(port, now);
            return Err(Refusal::Full);
        };
        self.fault("invite");
        self.by_dialog.insert(dialog, id);
        self.touch(id, now);
        let call = self.begin_call(trigger.workflow, None, now);
        self.add_leg_to_call(id, call, message.call_id().unwrap_or_default());
        match &extension {
            Some(number) => self.on_extension_leg_begun(trigger.workflow, number, now),
            None => {
                self.on_caller_came(id);
                self.take_channel(id);
            }
        }
        let (reference, extension) = (&trigger.reference, extension.as_deref());
        let payload = payload::call(bytes, (&from, &to), reference, extension, id);
        self.accepted += 1;
        self.tell(Fact::Arrived {
            leg: id,
            from,
            to,
            source: flow.remote,
            flow: trigger.graph.name().to_owned(),
        });
        self.start_run(&trigger, call, vec![vec![Item::from(payload)]]);
        Ok(())
    }

    fn start_run(&mut self, trigger: &Trigger, call: CallKey, outputs: Vec<Vec<Item>>) {
        let number = self.run_number(call);
        let (workflow, graph) = (trigger.workflow, trigger.graph.clone());
        let card = RunCard { workflow, graph, entry: None, call, number };
        self.start_run_at(card, trigger.node, outputs);
    }

    /// Starts a run of a workflow at one of its triggers.
    pub(super) fn start_run_at(
        &mut self,
        card: RunCard,
        trigger: NodeIndex,
        outputs: Vec<Vec<Item>>,
    ) {
        self.runs_begun += 1;
        let run = RunId(self.runs_begun);
        self.add_run_to_call(card.call);
        let graph = card.graph.clone();
        self.runs.insert(run, card);
        self.outputs.push_back(Output::Flow(Input::Start { run, graph, trigger, outputs }));
    }

    fn refuse(&mut self, dialog: DialogId, source: SocketAddr, refusal: &Refusal, now: Tick) {
        let (status, why) = (refusal.status(), refusal.why());
        if let Refusal::Unproven(unproven @ Unproven::Denied { values, .. }) = refusal {
            let warning = warning_of(unproven);
            let mut told = headers(challenge_header(status), values);
            told.extend(warning.as_deref().map(|warning| ("Warning", warning)));
            self.endpoint.reject(dialog, status, None, &told, now);
            self.refused += 1;
            return self.tell(Fact::Refused { source, status, why });
        }
        if let Refusal::Unproven(Unproven::Challenge { values, is_failed }) = refusal {
            let headers = headers("WWW-Authenticate", values);
            if self.has_inquirers() {
                // A flow was asked, and perhaps a 100 has left: this must not get lost.
                self.endpoint.reject(dialog, status, None, &headers, now);
            } else {
                self.endpoint.dismiss_invite(dialog, status, &headers);
            }
            // A call without credentials is how every call of a phone begins.
            if *is_failed {
                self.refused += 1;
                self.tell(Fact::Refused { source, status, why });
            }
            return;
        }
        // Small and random, so that callers do not come back together (RFC 6357).
        let retry_after = (1 + self.rng.below(8)).to_string();
        // 399 with the reason in words for an engineer (RFC 3261 §20.43).
        let warning = format!("399 ringback \"{why}\"");
        let headers: &[(&str, &str)] = match status {
            503 => &[("Retry-After", &retry_after)],
            _ => &[("Warning", &warning)],
        };
        match refusal {
            Refusal::Unproven(_) => self.endpoint.dismiss_invite(dialog, status, headers),
            Refusal::Draining | Refusal::Full | Refusal::BodyType | Refusal::Offer(_) => {
                self.endpoint.reject(dialog, status, None, headers, now);
            }
        }
        self.refused += 1;
        self.tell(Fact::Refused { source, status, why });
    }

    /// What a call by this trigger may speak: as the settings file says, or else the flow.
    pub(super) fn audio_of(&self, trigger: &Trigger) -> AudioRules {
        let mut rules = trigger.audio();
        let config = &self.config;
        let configured = if trigger.is_trunk() {
            config.trunks.get(&trigger.reference).and_then(|trunk| trunk.encodings.clone())
        } else {
            config.extension_encodings.get(&trigger.reference).cloned()
        };
        rules.encodings = configured.unwrap_or(rules.encodings);
        rules
    }

    /// Our side of a new leg; the port is set when one is taken.
    pub(super) fn local_description(&mut self, audio: &AudioRules) -> sdp::Local {
        sdp::Local {
            address: SocketAddr::new(self.config.media_address, 9),
            encodings: audio.encodings.clone(),
            events: audio.takes_events,
            direction: Direction::SendRecv,
            // Within 2^63, which some peers read as signed.
            session_id: self.rng.next_u64() >> 1,
            version: 1,
        }
    }
}

fn offer_of(message: &Message<'_>) -> Result<Option<Box<Description>>, Refusal> {
    if message.body.is_empty() {
        return Ok(None);
    }
    let kind = message.field(Name::ContentType).map(|field| field.value.to_ascii_lowercase());
    if kind.is_some_and(|kind| kind.starts_with(b"application/sdp")) {
        let offer = Description::parse(message.body);
        return Ok(Some(Box::new(offer.map_err(|rejected| Refusal::Offer(rejected.into()))?)));
    }
    Err(Refusal::BodyType)
}
