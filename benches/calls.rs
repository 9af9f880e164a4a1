//! Whole calls of one core: INVITE, 200, ACK, BYE, 200, in simulated time and without sockets.
//!
//! Both sides of each call run here, so the server alone can do more than what is shown. Simulated
//! time goes on by two milliseconds a call: 500 calls a second, whose transactions linger for 32 s,
//! whose legs for 5 s and whose ports for 30 s, as they would in a server that is as busy as that.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;
use ringback::base::{Rng, Tick};
use ringback::call::{Config, node};
use ringback::flow::{self, Graph};
use ringback::media::Clip;
use ringback::sdp::{self, Direction, Encoding};
use ringback::sim::Party as Partner;
use ringback::sim::{Link, Packet, Payload, Phone, PhoneEvent, Server, World, standard_config};
use ringback::sip::{
    self, Body, DialogId, Endpoint, Event, Flow, Outgoing, Party, Timing, Transport,
};
use serde_json::json;

/// Calls of one measurement.
const CALLS: usize = 100;
/// Calls before the first measurement: as many as linger.
const WARM_UP: usize = 20_000;
/// Simulated time from one call to the next.
const PACE: Duration = Duration::from_millis(2);

/// The program's.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    divan::main();
}

/// Two endpoints: what SIP costs on both sides.
#[divan::bench]
fn endpoints_only(bencher: Bencher<'_, '_>) {
    measure(bencher, Box::new(Endpoints::new()));
}

/// An endpoint calls the server: switch, flow runner and media shard.
#[divan::bench]
fn with_switch_and_flow(bencher: Bencher<'_, '_>) {
    measure(bencher, Box::new(server(answering())));
}

/// The same call in the simulated world: a phone, the link, the server.
#[divan::bench]
fn in_the_simulated_world(bencher: Bencher<'_, '_>) {
    world(bencher, answering(), Duration::ZERO, Duration::ZERO);
}

/// Each call lasts a second, and a prompt is played: 50 packets each way.
#[divan::bench]
fn in_the_simulated_world_with_a_second_of_audio(bencher: Bencher<'_, '_>) {
    world(bencher, playing(), Duration::from_millis(20), Duration::from_secs(1));
}

fn measure(bencher: Bencher<'_, '_>, mut called: Box<dyn Called>) {
    let mut caller = Caller::new();
    let mut now = Tick::ZERO;
    let mut calls = move |count: usize| {
        for _ in 0..count {
            caller.call(called.as_mut(), now);
            now += PACE;
        }
    };
    calls(WARM_UP);
    bencher.counter(ItemsCount::new(CALLS)).bench_local(|| calls(CALLS));
}

fn world(bencher: Bencher<'_, '_>, flow: Graph, delay: Duration, lasts: Duration) {
    let audio = SocketAddr::new(address(2).ip(), 4000);
    let phone = Phone::new("phone", address(2), audio, 1);
    let parties = vec![Partner::Phone(Box::new(phone)), Partner::Server(Box::new(server(flow)))];
    let mut world = World::new(1, parties).undrawn();
    world.set_link(Link { delay, ..Link::CLEAN });
    let mut calls = move |count: usize| {
        for _ in 0..count {
            let deadline = world.now() + Duration::from_secs(10);
            world.with_phone(0, |phone, now| phone.call("bench", address(9), now));
            assert!(world.run_until(deadline, |world| world.phone(0).is_talking()));
            world.run_for(lasts);
            world.with_phone(0, Phone::hangup);
            world.run_for(2 * delay + PACE);
            let last = world.phone(0).events().back();
            assert!(matches!(last, Some((_, PhoneEvent::Ended(_)))));
        }
    };
    let count = if lasts.is_zero() { CALLS } else { 1 };
    calls(if lasts.is_zero() { WARM_UP } else { 50 });
    bencher.counter(ItemsCount::new(count)).bench_local(|| calls(count));
}

/// The side that is measured.
trait Called {
    fn handle_message(&mut self, flow: Flow, bytes: &Arc<[u8]>, now: Tick);
    fn poll_message(&mut self) -> Option<Arc<[u8]>>;
    fn handle_timeout(&mut self, now: Tick);
}

/// An endpoint that answers whatever comes.
struct Endpoints {
    endpoint: Endpoint,
    answer: Vec<u8>,
}

impl Endpoints {
    fn new() -> Self {
        Self { endpoint: Endpoint::new(sip_config(), Rng::new(2)), answer: description(9) }
    }
}

impl Called for Endpoints {
    fn handle_message(&mut self, flow: Flow, bytes: &Arc<[u8]>, now: Tick) {
        self.endpoint.handle_message(flow, bytes, now);
        while let Some(event) = self.endpoint.poll_event() {
            if let Event::Invite { dialog, .. } = event {
                self.endpoint.accept(dialog, Some(Body::sdp(self.answer.clone())), now);
            }
        }
    }

    fn poll_message(&mut self) -> Option<Arc<[u8]>> {
        self.endpoint.poll_transmit().map(|transmit| transmit.bytes)
    }

    fn handle_timeout(&mut self, now: Tick) {
        if self.endpoint.poll_timeout().is_some_and(|due| due <= now) {
            self.endpoint.handle_timeout(now);
        }
    }
}

impl Called for Server {
    fn handle_message(&mut self, flow: Flow, bytes: &Arc<[u8]>, now: Tick) {
        let (from, to) = (flow.remote, flow.local);
        let payload = Payload::Sip(Arc::clone(bytes));
        self.handle_packet(Packet { from, to, payload }, now);
    }

    fn poll_message(&mut self) -> Option<Arc<[u8]>> {
        loop {
            match self.poll_packet()?.payload {
                Payload::Sip(bytes) => return Some(bytes),
                Payload::Media(_) | Payload::Keys(_) => {}
            }
        }
    }

    fn handle_timeout(&mut self, now: Tick) {
        if self.poll_timeout().is_some_and(|due| due <= now) {
            self.handle_timeout(now);
        }
    }
}

/// An endpoint that calls and hangs up at once.
struct Caller {
    endpoint: Endpoint,
    offer: Vec<u8>,
}

impl Caller {
    fn new() -> Self {
        Self { endpoint: Endpoint::new(sip_config(), Rng::new(1)), offer: description(2) }
    }

    fn call(&mut self, called: &mut dyn Called, now: Tick) {
        let party = |user: &str| Party {
            display: String::new(),
            user: user.to_owned(),
            host: "127.0.0.9".to_owned(),
        };
        let outgoing = Outgoing {
            flow: flow(2, 9),
            request_uri: "sip:bench@127.0.0.9".to_owned(),
            from: party("caller"),
            to: party("bench"),
            headers: Vec::new(),
            body: Some(Body::sdp(self.offer.clone())),
            credentials: None,
            derived: None,
            max_forwards: sip::MAX_FORWARDS,
        };
        let dialog = self.endpoint.invite(outgoing, now).expect("there is room");
        assert!(self.talk(called, now).contains(&dialog), "the call is answered");
        self.endpoint.hangup(dialog, None, now);
        self.talk(called, now);
        if self.endpoint.poll_timeout().is_some_and(|due| due <= now) {
            self.endpoint.handle_timeout(now);
        }
        called.handle_timeout(now);
    }

    /// Carries messages until both sides are silent; the dialogs that were answered.
    fn talk(&mut self, called: &mut dyn Called, now: Tick) -> Vec<DialogId> {
        let mut answered = Vec::new();
        loop {
            let mut is_silent = true;
            while let Some(transmit) = self.endpoint.poll_transmit() {
                called.handle_message(flow(9, 2), &transmit.bytes, now);
                is_silent = false;
            }
            while let Some(bytes) = called.poll_message() {
                self.endpoint.handle_message(flow(2, 9), &bytes, now);
                is_silent = false;
            }
            while let Some(event) = self.endpoint.poll_event() {
                if let Event::Answered { dialog, .. } = event {
                    answered.push(dialog);
                }
            }
            if is_silent {
                return answered;
            }
        }
    }
}

fn sip_config() -> sip::Config {
    sip::Config {
        user_agent: "bench".to_owned(),
        advertised: None,
        dialogs_max: 10_000,
        transactions_max: 100_000,
        timing: Timing::RFC,
        serves: Vec::new(),
        session_expires: None,
    }
}

fn server(flow: Graph) -> Server {
    let config = Config {
        sip: sip_config(),
        media_ports: 2..=u16::MAX,
        legs_max: 10_000,
        ..standard_config(address(9))
    };
    let clip = Arc::new(Clip::from_samples(vec![1000; 80_000]).expect("ten seconds"));
    let clips = BTreeMap::from([("ten-seconds.wav".to_owned(), clip)]);
    Server::new(address(9), config, vec![flow], clips, 3)
}

/// Answers, and waits until the caller hangs up.
fn answering() -> Graph {
    graph(&[("answer", json!({ "operation": "call.answer" })), waiting()])
}

/// Answers, and plays until the caller hangs up.
fn playing() -> Graph {
    let play = json!({
        "operation": "media.playAudio", "sourceType": "file", "filePath": "ten-seconds.wav",
    });
    graph(&[("answer", json!({ "operation": "call.answer" })), ("play", play), waiting()])
}

fn waiting() -> (&'static str, serde_json::Value) {
    ("wait", json!({ "operation": "call.wait", "timeoutSeconds": 60 }))
}

fn graph(operations: &[(&str, serde_json::Value)]) -> Graph {
    let mut nodes = vec![json!({
        "name": "line", "type": "n8n-nodes-sip-pbx.sipPbxTrigger", "typeVersion": 1,
        "parameters": { "triggerOn": "trunk", "ref": "line", "trunkUseRegistration": false },
    })];
    let mut connections = serde_json::Map::new();
    let mut last = "line";
    for (name, parameters) in operations {
        nodes.push(json!({
            "name": name, "type": node::ACTION, "typeVersion": 1, "parameters": parameters,
        }));
        let edge = json!({ "node": name, "type": "main", "index": 0 });
        connections.insert(last.to_owned(), json!({ "main": [[edge]] }));
        last = name;
    }
    let settings = json!({ "executionOrder": "v1" });
    let document = json!({
        "name": "bench", "nodes": nodes, "connections": connections, "settings": settings,
    });
    let document = flow::read(&document.to_string(), "bench.json").expect("JSON").remove(0);
    let (graph, problems) = flow::check(&document, &node::catalogue());
    graph.unwrap_or_else(|| panic!("{problems:?}"))
}

fn description(host: u8) -> Vec<u8> {
    sdp::offer(&sdp::Local {
        address: SocketAddr::new(address(host).ip(), 4000),
        encodings: Encoding::ALL.to_vec(),
        events: true,
        direction: Direction::SendRecv,
        session_id: 1,
        version: 1,
    })
}

fn flow(local: u8, remote: u8) -> Flow {
    let (local, remote) = (address(local), address(remote));
    Flow { transport: Transport::Udp, local, remote, connection: 0 }
}

fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, host], 5060))
}
