//! A crowd: two hundred callers at ten agents, of whom some refuse, some never answer, and all hang
//! up some time. Whoever waited has been served once, was called back, or was told; by seed.
//!
//! Signalling is all real: the trunk and the office are one endpoint each, as in a company. Of the
//! audio only what proves who hears whom is there: agents send packets that name their call.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use ringback::base::{Rng, Tick, Timers};
use ringback::call::ExtensionSettings;
use ringback::promise::{End, Next, Record};
use ringback::sdp::{self, Direction, Encoding, Local};
use ringback::sim::{Packet, Payload, Server, standard_config};
use ringback::sip::{
    self, Body, Cause, Credentials, DialogId, Endpoint, Event, Flow, Message, Method, Name,
    Outgoing, Transport,
};
use serde_json::Value;

use crate::story;

const CALLERS: usize = 200;
const AGENTS: u16 = 10;
const DELAY: Duration = Duration::from_millis(5);
/// Callers arrive in this time, in milliseconds.
const ARRIVALS: u64 = 20_000;
/// Own calls are heard from this port on, two each; calls back from the other.
const OWN: u16 = 10_000;
const BACK: u16 = 20_000;
/// What an agent's packet begins with; the number of the call follows.
const MARK: [u8; 4] = *b"CALL";

/// A1, A2, A4, A9, A10, I2, I5, I10, QC-06: every free agent rings, as with the SIP PBX node.
#[test]
fn nobody_is_lost_when_all_agents_ring() {
    Crowd::new("parallel", 1).run();
    Crowd::new("parallel", 2).run();
}

/// A1, A2, A4, A9, A10, I2, I5, I10, QC-06: one agent rings, chosen by what he did before.
#[test]
fn nobody_is_lost_when_one_agent_rings_at_a_time() {
    Crowd::new("longestIdle", 3).run();
    Crowd::new("fewestCalls", 4).run();
}

/// A1, A2, A4, A9, A10, I2, I5, I10, QC-06: one agent rings, chosen by turns or by chance.
#[test]
fn nobody_is_lost_when_agents_ring_by_turns() {
    Crowd::new("roundRobin", 5).run();
    Crowd::new("random", 6).run();
}

/// What somebody is about to do.
#[derive(Clone, Copy, Debug)]
enum Plan {
    Register,
    Arrive(usize),
    /// Chooses the queue, or asks to be called back.
    Press(usize),
    Ask(usize),
    Leave(usize),
    Answer(Side, DialogId),
    Speak(DialogId),
    HangUp(Side, DialogId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Trunk,
    Office,
}

/// Somebody who calls through the trunk, and is called back through it.
#[derive(Debug, Default)]
struct Caller {
    line: Option<DialogId>,
    /// Where the server hears him.
    server: Option<SocketAddr>,
    has_asked: bool,
    has_left: bool,
    /// The agents' calls that he heard.
    served: BTreeSet<u64>,
    back: Option<DialogId>,
    /// How often his telephone rang.
    rung: u32,
    /// How often agents rang for him.
    offered: u32,
}

/// One call that an agent has answered, or that rings.
#[derive(Debug)]
struct Talk {
    agent: u16,
    number: u64,
    server: SocketAddr,
    sent: u16,
}

struct Crowd {
    now: Tick,
    rng: Rng,
    server: Server,
    trunk: Endpoint,
    office: Endpoint,
    flying: BTreeMap<(Tick, u64), Packet>,
    sent: u64,
    plans: Timers<Plan>,
    callers: Vec<Caller>,
    talks: BTreeMap<DialogId, Talk>,
    rings: u64,
    refusals: u64,
}

impl Crowd {
    fn new(strategy: &str, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut config = standard_config(address(1));
        for agent in 0..AGENTS {
            let contact = format!("sip:{}@{}", 101 + agent, address(20));
            let settings =
                ExtensionSettings { contact, transport: Transport::Udp, address: address(20) };
            config.extensions.insert((101 + agent).to_string(), settings);
        }
        let flow = story::flow_text(&flow(strategy));
        let server = Server::new(address(1), config, vec![flow], story::prompts(), rng.next_u64());
        let mut plans = Timers::new();
        plans.arm(Tick::ZERO, Plan::Register);
        for caller in 0..CALLERS {
            plans.arm(Tick::from_millis(1000 + rng.below(ARRIVALS)), Plan::Arrive(caller));
        }
        Self {
            now: Tick::ZERO,
            server,
            trunk: endpoint(rng.next_u64()),
            office: endpoint(rng.next_u64()),
            flying: BTreeMap::new(),
            sent: 0,
            plans,
            callers: (0..CALLERS).map(|_| Caller::default()).collect(),
            talks: BTreeMap::new(),
            rings: 0,
            refusals: 0,
            rng,
        }
    }

    /// A day at most.
    fn run(mut self) {
        let day = Tick::from_millis(24 * 3600 * 1000);
        while self.now < day && !self.is_over() {
            let due = [
                self.flying.first_key_value().map(|((at, _), _)| *at),
                self.plans.next(),
                self.trunk.poll_timeout(),
                self.office.poll_timeout(),
                self.server.poll_timeout(),
            ];
            self.now = due.into_iter().flatten().min().expect("something goes on").max(self.now);
            self.step();
        }
        self.check();
    }

    /// Everybody has come and gone, and no promise is open; the trunk's registration stays.
    fn is_over(&mut self) -> bool {
        let gauges = self.server.gauges();
        self.plans.len() <= 1 && gauges.is_idle() && gauges.promises == 0 && self.flying.is_empty()
    }

    fn step(&mut self) {
        let now = self.now;
        while self.flying.first_key_value().is_some_and(|((at, _), _)| *at <= now) {
            let Some((_, packet)) = self.flying.pop_first() else { break };
            self.deliver(packet);
            self.drain();
        }
        while let Some(plan) = self.plans.take_due(now) {
            self.act(plan);
            self.drain();
        }
        for side in [Side::Trunk, Side::Office] {
            self.endpoint(side).handle_timeout(now);
        }
        if self.server.poll_timeout().is_some_and(|due| due <= now) {
            self.server.handle_timeout(now);
        }
        self.drain();
    }

    fn endpoint(&mut self, side: Side) -> &mut Endpoint {
        match side {
            Side::Trunk => &mut self.trunk,
            Side::Office => &mut self.office,
        }
    }

    fn deliver(&mut self, packet: Packet) {
        if packet.to.ip() == address(1).ip() {
            return self.server.handle_packet(packet, self.now);
        }
        let side = if packet.to.ip() == address(10).ip() { Side::Trunk } else { Side::Office };
        match packet.payload {
            Payload::Sip(bytes) => {
                let (now, flow) = (self.now, flow_of(packet.to, packet.from));
                self.endpoint(side).handle_message(flow, &bytes, now);
            }
            Payload::Media(bytes) if side == Side::Trunk => self.hear(packet.to.port(), &bytes),
            Payload::Media(_) | Payload::Keys(_) => {}
        }
    }

    /// A packet that names an agent's call proves that the two are connected.
    fn hear(&mut self, port: u16, packet: &[u8]) {
        let Some(number) = mark_of(packet) else { return };
        let base = if port >= BACK { BACK } else { OWN };
        let index = usize::from((port - base) / 2);
        let caller = &mut self.callers[index];
        if caller.served.insert(number) {
            assert_eq!(caller.served.len(), 1, "caller {index} is served twice: {caller:?}");
            // Half of them say goodbye first.
            if self.rng.percent(50) {
                self.plan(1000, 3000, Plan::Leave(index));
            }
        }
    }

    fn drain(&mut self) {
        loop {
            for side in [Side::Trunk, Side::Office] {
                while let Some(event) = self.endpoint(side).poll_event() {
                    self.on_event(side, event);
                }
                while let Some(transmit) = self.endpoint(side).poll_transmit() {
                    let (from, to) = (transmit.flow.local, transmit.flow.remote);
                    self.fly(Packet { from, to, payload: Payload::Sip(transmit.bytes) });
                }
            }
            let Some(packet) = self.server.poll_packet() else { return };
            // Music and prompts are for other stories.
            if !matches!(&packet.payload, Payload::Media(bytes) if mark_of(bytes).is_none()) {
                self.fly(packet);
            }
        }
    }

    fn fly(&mut self, packet: Packet) {
        self.sent += 1;
        self.flying.insert((self.now + DELAY, self.sent), packet);
    }

    fn plan(&mut self, from_ms: u64, to_ms: u64, plan: Plan) {
        let wait = Duration::from_millis(from_ms + self.rng.below(to_ms - from_ms));
        self.plans.arm(self.now + wait, plan);
    }

    fn act(&mut self, plan: Plan) {
        let now = self.now;
        match plan {
            Plan::Register => {
                let mut outgoing = self.outgoing("trunk", "");
                outgoing.headers = vec![("Expires".to_owned(), "3600".to_owned())];
                self.trunk.request(Method::Register, outgoing, now).expect("there is room");
                self.plans.arm(now + Duration::from_secs(1800), Plan::Register);
            }
            Plan::Arrive(index) => {
                let mut outgoing = self.outgoing(&number(index), "200@");
                outgoing.body = Some(body(10, OWN + 2 * index as u16));
                let line = self.trunk.invite(outgoing, now).expect("there is room");
                self.callers[index].line = Some(line);
            }
            Plan::Press(index) => self.press(index),
            Plan::Ask(index) => {
                if self.callers[index].served.is_empty() {
                    self.callers[index].has_asked = true;
                    self.press(index);
                }
                self.plan(4000, 12_000, Plan::Leave(index));
            }
            Plan::Leave(index) => {
                let caller = &mut self.callers[index];
                caller.has_left = true;
                if let Some(dialog) = caller.line.or(caller.back) {
                    self.trunk.hangup(dialog, None, now);
                }
            }
            Plan::Answer(side, dialog) => self.answer(side, dialog),
            Plan::Speak(dialog) => self.speak(dialog),
            Plan::HangUp(side, dialog) => self.endpoint(side).hangup(dialog, None, now),
        }
    }

    /// Digit 1 as a telephone-event; its end is said three times (RFC 4733 §2.5.1.4).
    fn press(&mut self, index: usize) {
        let Some(to) = self.callers[index].server else { return };
        let time = self.now.as_millis() as u32 * 8;
        for (sequence, end, duration) in
            [(0, 0x0A, 160_u16), (1, 0x0A, 320), (2, 0x8A, 480), (3, 0x8A, 480), (4, 0x8A, 480)]
        {
            let duration = duration.to_be_bytes();
            let event = [1, end, duration[0], duration[1]];
            let sequence = (self.now.as_millis() as u16).wrapping_add(sequence);
            self.send_audio(
                address_at(10, OWN + 2 * index as u16),
                to,
                101,
                sequence,
                time,
                &event,
            );
        }
    }

    fn speak(&mut self, dialog: DialogId) {
        let Some(talk) = self.talks.get_mut(&dialog) else { return };
        talk.sent += 1;
        let mut sound = [0xFF_u8; 160];
        sound[..4].copy_from_slice(&MARK);
        sound[4..12].copy_from_slice(&talk.number.to_be_bytes());
        let (to, sequence) = (talk.server, talk.sent);
        let time = self.now.as_millis() as u32 * 8;
        let from = address_at(20, OWN + 2 * talk.agent);
        self.send_audio(from, to, 0, sequence, time, &sound);
        self.plan(300, 301, Plan::Speak(dialog));
    }

    fn send_audio(
        &mut self,
        from: SocketAddr,
        to: SocketAddr,
        payload_type: u8,
        sequence: u16,
        time: u32,
        payload: &[u8],
    ) {
        let mut packet = vec![0x80, payload_type];
        packet.extend(sequence.to_be_bytes());
        packet.extend(time.to_be_bytes());
        packet.extend(u32::from(from.port()).to_be_bytes());
        packet.extend(payload);
        self.fly(Packet { from, to, payload: Payload::Media(packet) });
    }

    fn on_event(&mut self, side: Side, event: Event) {
        match (side, event) {
            (Side::Trunk, Event::Answered { dialog, message }) => self.on_line(dialog, &message),
            (Side::Trunk, Event::Invite { dialog, request, .. }) => self.on_back(dialog, &request),
            (Side::Office, Event::Invite { dialog, request, .. }) => self.on_ring(dialog, &request),
            (Side::Office, Event::Acknowledged { dialog, .. }) => self.speak(dialog),
            (Side::Office, Event::Ended { dialog, .. }) => {
                self.talks.remove(&dialog);
            }
            (Side::Trunk, Event::Ended { dialog, cause, .. }) => {
                for caller in &mut self.callers {
                    caller.line.take_if(|line| *line == dialog);
                    caller.back.take_if(|back| *back == dialog);
                }
                assert!(!matches!(cause, Cause::Rejected { status: 503 }), "a caller is refused");
            }
            _ => {}
        }
    }

    /// A caller hears the server: he chooses the queue, and waits, asks, or loses patience.
    fn on_line(&mut self, dialog: DialogId, answer: &[u8]) {
        let index = self.callers.iter().position(|caller| caller.line == Some(dialog));
        let index = index.expect("callers call on lines of their own");
        self.callers[index].server = Some(audio_of(answer));
        self.plan(300, 2000, Plan::Press(index));
        match self.rng.below(100) {
            0..35 => self.plan(5000, 25_000, Plan::Ask(index)),
            35..45 => self.plan(1000, 30_000, Plan::Leave(index)),
            _ => {}
        }
    }

    /// The server calls a customer back.
    fn on_back(&mut self, dialog: DialogId, invite: &[u8]) {
        let index = (0..CALLERS).find(|index| number(*index) == called(invite));
        let index = index.expect("nobody else is called");
        let caller = &mut self.callers[index];
        assert!(caller.has_asked, "QC-06: caller {index} never asked");
        assert!(caller.line.is_none(), "A10: caller {index} is on the line");
        assert!(caller.back.is_none(), "A1: caller {index} is dialled twice at a time");
        assert!(caller.served.is_empty(), "caller {index} has been served");
        caller.back = Some(dialog);
        caller.rung += 1;
        let now = self.now;
        match self.rng.below(100) {
            0..70 => {
                self.trunk.provisional(dialog, 180, None, now);
                self.plan(500, 4000, Plan::Answer(Side::Trunk, dialog));
            }
            70..82 => self.trunk.reject(dialog, 486, None, &[], now),
            82..88 => self.trunk.reject(dialog, 603, None, &[], now),
            _ => self.trunk.provisional(dialog, 180, None, now),
        }
    }

    /// An agent's telephone rings.
    fn on_ring(&mut self, dialog: DialogId, invite: &[u8]) {
        let agent = called(invite).parse::<u16>().expect("extensions are numbers") - 101;
        let rings = self.talks.values().any(|talk| talk.agent == agent);
        assert!(!rings, "A4: agent {agent} is rung while he has a call");
        self.rings += 1;
        let message = Message::parse(invite).expect("the server writes sound messages");
        let from = message.from().expect("it has a From").uri_text.to_owned();
        let caller = (0..CALLERS).find(|index| from.contains(&number(*index)));
        self.callers[caller.expect("agents see who calls")].offered += 1;
        let (number, server) = (self.rings, audio_of(invite));
        self.talks.insert(dialog, Talk { agent, number, server, sent: 0 });
        let now = self.now;
        // The last two hardly ever take a call: one refuses them, one does not hear them.
        let (refuses, ignores) = match agent {
            8 => (0, 80),
            9 => (80, 0),
            _ => (8, 8),
        };
        if self.rng.percent(refuses) {
            self.refusals += 1;
            let status = if self.rng.percent(50) { 486 } else { 603 };
            return self.office.reject(dialog, status, None, &[], now);
        }
        self.office.provisional(dialog, 180, None, now);
        if !self.rng.percent(ignores) {
            self.plan(200, 3000, Plan::Answer(Side::Office, dialog));
        }
    }

    fn answer(&mut self, side: Side, dialog: DialogId) {
        let now = self.now;
        let (host, port) = match side {
            Side::Office => {
                let Some(talk) = self.talks.get(&dialog) else { return };
                (20, OWN + 2 * talk.agent)
            }
            Side::Trunk => {
                let index = self.callers.iter().position(|caller| caller.back == Some(dialog));
                let Some(index) = index else { return };
                (10, BACK + 2 * index as u16)
            }
        };
        self.endpoint(side).accept(dialog, Some(body(host, port)), now);
        if side == Side::Office {
            self.plan(3000, 8000, Plan::HangUp(side, dialog));
        }
    }

    fn outgoing(&self, user: &str, to: &str) -> Outgoing {
        let party = |user: &str| sip::Party {
            display: String::new(),
            user: user.to_owned(),
            host: address(1).to_string(),
        };
        Outgoing {
            flow: flow_of(address(10), address(1)),
            request_uri: format!("sip:{to}{}", address(1)),
            from: party(user),
            to: party(if to.is_empty() { user } else { "200" }),
            headers: Vec::new(),
            body: None,
            credentials: Some(Credentials {
                username: "trunk".to_owned(),
                password: "trunk-secret".to_owned(),
                realm: None,
            }),
            derived: None,
            max_forwards: sip::MAX_FORWARDS,
        }
    }

    /// Nobody is lost, nobody was served twice, and nothing is left over (A1, A2, A4, A9, A10, I10).
    fn check(self) {
        let gauges = self.server.gauges();
        assert!(gauges.is_idle(), "{gauges:#?}");
        assert_eq!((gauges.entries, gauges.promises), (0, 0), "at {:?}", self.now);
        let media = self.server.media_gauges();
        assert_eq!((media.legs, media.players), (0, 0));
        let ends = ends_of(&self.server.journal().records);
        let (mut live, mut back, mut given_up, mut left, mut told) = (0, 0, 0, 0, 0);
        for (index, caller) in self.callers.iter().enumerate() {
            assert_eq!((caller.line, caller.back), (None, None), "caller {index} still talks");
            match (caller.served.is_empty(), ends.get(&number(index))) {
                (false, _) if caller.rung == 0 => live += 1,
                (false, end) => {
                    back += 1;
                    assert_eq!(end, Some(&End::Reached), "caller {index}");
                }
                // He was rung as often as he may be, or does not want to be rung.
                (true, Some(end)) => {
                    given_up += 1;
                    assert!(caller.rung > 0, "caller {index} was promised a call: {end:?}");
                }
                (true, None) if caller.has_left => left += 1,
                (true, None) => {
                    told += 1;
                    assert!(caller.offered >= 4, "caller {index} hears nobody: {caller:?}");
                }
            }
        }
        assert_eq!(live + back + given_up + left + told, CALLERS);
        assert!(live > 50 && back > 5 && told < 10, "{live} live, {back} called back, {told} told");
        assert!(self.refusals > 20 && left > 5, "{} refused, {left} left", self.refusals);
    }
}

/// The call that a packet of an agent names.
fn mark_of(packet: &[u8]) -> Option<u64> {
    let number = packet.get(12..24)?.strip_prefix(&MARK)?;
    Some(u64::from_be_bytes(number.try_into().expect("eight bytes follow the mark")))
}

/// The last word of the book about each number.
fn ends_of(records: &[(u64, Record)]) -> BTreeMap<String, End> {
    let (mut numbers, mut ends) = (BTreeMap::new(), BTreeMap::new());
    for (_, record) in records {
        let end = match record {
            Record::Promised { promise, number, .. } => {
                let again = numbers.insert(*promise, number.clone());
                assert_eq!(again, None, "a promise is made once");
                continue;
            }
            Record::AttemptEnded { next: Next::Ended(end), .. } | Record::Ended { end, .. } => *end,
            Record::Merged { .. }
            | Record::AttemptPlanned { .. }
            | Record::AttemptRinging { .. }
            | Record::AttemptAnswered { .. }
            | Record::AttemptEnded { next: Next::Armed { .. } | Next::Live, .. } => continue,
        };
        let again = ends.insert(numbers[&record.promise()].clone(), end);
        assert_eq!(again, None, "A2: a promise ends once");
    }
    assert_eq!(numbers.len(), ends.len(), "A2: every promise ends");
    ends
}

/// The shipped flow with ten agents, rung in this way, and without what comes before the queues.
fn flow(strategy: &str) -> String {
    let text = std::fs::read_to_string(story::root().join("flows/queue-callback.json")).unwrap();
    let mut flow: Value = serde_json::from_str(&text).unwrap();
    let numbers = (101..101 + AGENTS).map(|number| number.to_string()).collect::<Vec<_>>();
    for node in flow["nodes"].as_array_mut().unwrap() {
        match node["name"].as_str().unwrap() {
            "support" => node["parameters"]["queueExtensions"] = numbers.join(",").into(),
            "put_support" => node["parameters"]["options"]["callStrategy"] = strategy.into(),
            "internal" => {
                let account = |number: &String| serde_json::json!({ "username": number, "password": "x", "extension": number });
                let accounts = numbers.iter().map(account).collect::<Vec<_>>();
                node["parameters"]["staticCredentials"]["item"] = accounts.into();
            }
            _ => {}
        }
    }
    flow["connections"]["incoming_answer"]["main"][0][0]["node"] = "choose_queue".into();
    flow.to_string()
}

fn endpoint(seed: u64) -> Endpoint {
    let config = sip::Config {
        user_agent: "crowd".to_owned(),
        serves: Vec::new(),
        ..standard_config(address(1)).sip
    };
    Endpoint::new(config, Rng::new(seed))
}

fn address(host: u8) -> SocketAddr {
    address_at(host, 5060)
}

fn address_at(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 1, host], port))
}

fn flow_of(local: SocketAddr, remote: SocketAddr) -> Flow {
    Flow { transport: Transport::Udp, local, remote, connection: 0 }
}

fn number(index: usize) -> String {
    format!("030{:06}", 400_000 + index)
}

/// The user part of the Request-URI.
fn called(invite: &[u8]) -> String {
    let text = String::from_utf8_lossy(invite);
    let user = text.split([':', '@']).nth(1);
    user.expect("an INVITE names somebody").to_owned()
}

fn body(host: u8, port: u16) -> Body {
    Body::sdp(sdp::offer(&local(host, port)))
}

fn local(host: u8, port: u16) -> Local {
    Local {
        address: address_at(host, port),
        encodings: vec![Encoding::Pcmu],
        events: true,
        direction: Direction::SendRecv,
        session_id: 1,
        version: 1,
    }
}

/// Where the server hears who got this message.
fn audio_of(message: &[u8]) -> SocketAddr {
    let message = Message::parse(message).expect("the server writes sound messages");
    assert!(message.text(Name::CallId).is_some());
    let settled = sdp::settle(message.body, &local(99, 9000)).expect("its SDP can be had");
    settled.remote.expect("it wants to hear")
}
