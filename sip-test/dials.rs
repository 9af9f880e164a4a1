//! Dials and bridges as a flow asks for them: one after another, broken off, taken apart.

use std::net::SocketAddr;
use std::time::Duration;

use ringback::base::Tick;
use ringback::call::node;
use ringback::flow::{self, Graph};
use ringback::sim::{Answering, Party, Phone, PhoneEvent, Server, World, standard_config};
use ringback::sip::Cause;
use serde_json::{Value, json};

use crate::story;

const CALLER: usize = 0;
const ONE: usize = 2;
const TWO: usize = 3;

fn server() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 5060))
}

fn phone(name: &str, host: u8) -> Phone {
    let address = |port| SocketAddr::from(([127, 0, 1, host], port));
    Phone::new(name, address(5060), address(4000), host.into())
}

/// One step of a flow: its name, its parameters, and the step that each of its branches leads to.
pub(crate) type Step<'a> = (&'a str, Value, &'a [&'a str]);

/// A flow of these steps behind a trunk that needs no proof, with two extensions beside it.
fn graph(steps: &[Step<'_>]) -> Graph {
    graph_behind("line", steps)
}

/// The same, begun by whoever comes by one of the triggers: the trunk `line`, or `office`.
pub(crate) fn graph_behind(trigger: &str, steps: &[Step<'_>]) -> Graph {
    let account =
        |number: &str| json!({ "username": number, "password": "secret", "extension": number });
    let node = |name: &str, kind: &str, parameters: &Value| {
        json!({ "name": name, "type": kind, "typeVersion": 1, "position": [0, 0],
                "parameters": parameters })
    };
    let to = |name: &&str| match *name {
        "" => json!([]),
        name => json!([{ "node": name, "type": "main", "index": 0 }]),
    };
    let trunk = json!({ "triggerOn": "trunk", "ref": "line", "trunkUseRegistration": false });
    let phones = json!({
        "triggerOn": "extensions", "ref": "office",
        "staticCredentials": { "item": [account("101"), account("102")] },
    });
    let mut nodes =
        vec![node("line", node::TRIGGER, &trunk), node("office", node::TRIGGER, &phones)];
    let first = steps[0].0;
    let mut connections = json!({ trigger: { "main": [to(&first)] } });
    for (name, parameters, branches) in steps {
        let kind = match parameters.get("errorMessage") {
            Some(_) => "n8n-nodes-base.stopAndError",
            None => node::ACTION,
        };
        nodes.push(node(name, kind, parameters));
        let branches = branches.iter().map(to).collect::<Vec<_>>();
        connections[*name] = json!({ "main": branches });
    }
    let workflow = json!({
        "name": "dials", "nodes": nodes, "connections": connections,
        "settings": { "executionOrder": "v1" },
    });
    let documents = flow::read(&workflow.to_string(), "dials.json").expect("it is JSON");
    let (graph, problems) = flow::check(&documents[0], &node::catalogue());
    graph.unwrap_or_else(|| panic!("{problems:?}"))
}

struct Office {
    trace: &'static str,
    world: World,
}

impl Office {
    fn open(trace: &'static str, graph: Graph, one: Answering, two: Answering) -> Self {
        let server =
            Server::new(server(), standard_config(server()), vec![graph], story::prompts(), 1);
        let parties = vec![
            Party::Phone(Box::new(phone("caller", 10))),
            Party::Server(Box::new(server)),
            Party::Phone(Box::new(phone("one", 20).answering(one))),
            Party::Phone(Box::new(phone("two", 30).answering(two))),
        ];
        let mut office = Self { trace, world: World::new(3, parties) };
        for (index, number) in [(ONE, "101"), (TWO, "102")] {
            office.act(index, |phone, now| phone.register(self::server(), number, "secret", now));
        }
        office.pass(200);
        office.act(CALLER, |phone, now| phone.call("200", self::server(), now));
        office
    }

    fn act(&mut self, index: usize, act: impl FnOnce(&mut Phone, Tick)) {
        self.world.with_phone(index, act);
    }

    fn pass(&mut self, millis: u64) {
        self.world.run_for(Duration::from_millis(millis));
    }

    fn until(&mut self, what: &str, done: impl FnMut(&World) -> bool) {
        let deadline = self.world.now() + Duration::from_secs(60);
        let is_done = self.world.run_until(deadline, done);
        let facts = format!("{:#?}", self.world.server().facts());
        assert!(is_done, "it never came to this: {what}\n{}\n{facts}", self.world.ladder());
    }

    fn close(mut self) {
        for index in [CALLER, ONE, TWO] {
            self.act(index, Phone::hangup);
        }
        self.pass(50_000);
        story::assert_server_at_rest(&mut self.world);
        story::golden(self.trace, &self.world.ladder());
    }
}

fn saw(world: &World, index: usize, wanted: &PhoneEvent) -> bool {
    world.phone(index).events().iter().any(|(_, event)| event == wanted)
}

fn to_both(options: Value) -> Value {
    json!({ "operation": "dial.make", "callMode": "extension", "extensionNumbers": "101, 102",
            "options": options })
}

fn bridge(answered_by: &str) -> Value {
    json!({
        "resource": "call", "operation": "call.bridge",
        "legAId": "={{ $('line').item.json.legId }}",
        "legBId": format!("={{{{ $('{answered_by}').item.json.legId }}}}"),
    })
}

const WAIT_BRANCHES: [&str; 4] = ["bridge", "", "", "hang_up"];

fn waits_for_the_dial() -> Step<'static> {
    let wait = json!({ "operation": "dial.wait", "legId": "={{ $('line').item.json.legId }}" });
    ("wait", wait, &WAIT_BRANCHES)
}

fn hangs_up_the_caller() -> Step<'static> {
    let options = json!({ "legId": "={{ $('line').item.json.legId }}" });
    let hang_up = json!({ "resource": "call", "operation": "call.hangup", "options": options });
    ("hang_up", hang_up, &[])
}

/// One extension after the other, with a pause between: the first rings out, the second answers.
#[test]
fn a_sequence_tries_the_next_after_the_first_has_rung_out() {
    let options = json!({
        "callStrategy": "sequential", "sequentialAttemptTimeoutSeconds": 3,
        "sequentialGapSeconds": 1, "callerNumber": "4711", "callerName": "Line",
    });
    let graph = graph(&[
        ("ringing", json!({ "resource": "call", "operation": "call.ringing" }), &["dial"]),
        ("dial", to_both(options), &["wait", "hang_up"]),
        waits_for_the_dial(),
        ("bridge", bridge("wait"), &[]),
        hangs_up_the_caller(),
    ]);
    let answers = Answering::After(Duration::from_secs(1));
    let mut office = Office::open("dials_sequence", graph, Answering::Never, answers);
    office.until("the caller talks", |world| world.phone(CALLER).is_talking());
    assert!(saw(&office.world, CALLER, &PhoneEvent::Provisional(180)));
    assert!(!office.world.phone(ONE).is_talking() && office.world.phone(TWO).is_talking());
    office.pass(1_000);
    office.close();
}

/// Everybody refuses: the dial fails, and the caller is hung up with what the flow says.
#[test]
fn a_dial_that_everybody_refuses_fails() {
    let graph = graph(&[
        ("dial", to_both(json!({})), &["wait", "hang_up"]),
        waits_for_the_dial(),
        ("bridge", bridge("wait"), &[]),
        hangs_up_the_caller(),
    ]);
    let mut office =
        Office::open("dials_refused", graph, Answering::Refuse(486), Answering::Refuse(603));
    office.until("the caller is refused", |world| {
        saw(world, CALLER, &PhoneEvent::Ended(Cause::Rejected { status: 480 }))
    });
    office.close();
}

/// A far side that refuses before the flow has come to its bridge: the caller is told the same status as
/// after it (contract §6.1).
#[test]
fn a_refusal_before_the_bridge_is_told_too() {
    let dial = json!({ "operation": "dial.make", "callMode": "extension",
                       "extensionNumbers": "101" });
    let later = json!({ "resource": "call", "operation": "call.wait", "timeoutSeconds": 1,
                        "legIds": { "item": [{ "legId": "={{ $('line').item.json.legId }}" }] } });
    let graph = graph(&[
        ("dial", dial, &["later", "hang_up"]),
        ("later", later, &["bridge", "bridge"]),
        ("bridge", bridge("dial"), &[]),
        hangs_up_the_caller(),
    ]);
    let mut office =
        Office::open("dials_refused_early", graph, Answering::Refuse(486), Answering::Never);
    office.until("the caller is refused as the phone did", |world| {
        saw(world, CALLER, &PhoneEvent::Ended(Cause::Rejected { status: 486 }))
    });
    office.close();
}

/// A dial that nobody waits for or bridges dies after five seconds (free time-to-live).
#[test]
fn a_dial_that_nobody_waits_for_dies() {
    let graph = graph(&[
        ("answer", json!({ "resource": "call", "operation": "call.answer" }), &["dial"]),
        ("dial", to_both(json!({})), &["hold", "hold"]),
        (
            "hold",
            json!({ "resource": "call", "operation": "call.wait", "timeoutSeconds": 20,
            "options": {}, "legIds": { "item": [{ "legId": "={{ $('line').item.json.legId }}" }] } }),
            &[],
        ),
    ]);
    let mut office = Office::open("dials_left_alone", graph, Answering::Never, Answering::Never);
    let cancelled = |world: &World| saw(world, TWO, &PhoneEvent::Ended(Cause::Cancelled));
    office.until("the phones stop ringing", cancelled);
    let five_seconds = Tick::from_millis(5_000)..Tick::from_millis(6_000);
    assert!(five_seconds.contains(&office.world.now()), "{}", office.world.now());
    office.close();
}

/// A bridge taken apart: both legs go on, and each branch has one of them.
#[test]
fn an_unbridged_pair_goes_two_ways() {
    let say = |prompt: &str| {
        json!({ "resource": "media", "operation": "media.playAudio", "sourceType": "file",
                "filePath": prompt })
    };
    let hang_up = json!({ "resource": "call", "operation": "call.hangup" });
    let graph = graph(&[
        ("dial", to_both(json!({})), &["wait", ""]),
        ("wait", json!({ "operation": "dial.wait" }), &["bridge", "", "", ""]),
        ("bridge", bridge("wait"), &["talk"]),
        (
            "talk",
            json!({ "resource": "call", "operation": "call.wait", "timeoutSeconds": 3,
            "legIds": { "item": [{ "legId": "={{ $('line').item.json.legId }}" }] } }),
            &["apart", "apart"],
        ),
        (
            "apart",
            json!({ "resource": "call", "operation": "call.unbridge",
            "options": { "legId": "={{ $('line').item.json.legId }}" } }),
            &["to_caller", "to_phone"],
        ),
        ("to_caller", say("goodbye.wav"), &["end_caller", "end_caller"]),
        ("to_phone", say("offline.wav"), &["end_phone", "end_phone"]),
        ("end_caller", hang_up.clone(), &[]),
        ("end_phone", hang_up, &[]),
    ]);
    let soon = Answering::After(Duration::from_secs(1));
    let mut office = Office::open("dials_unbridged", graph, soon, Answering::Never);
    office.until("both are hung up", |world| {
        let bye = PhoneEvent::Ended(Cause::Bye);
        saw(world, CALLER, &bye) && saw(world, ONE, &bye)
    });
    office.close();
}
