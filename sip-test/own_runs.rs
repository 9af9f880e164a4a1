//! Flows that no call starts, as calls: a schedule that wakes somebody, a request that connects two.

use std::net::SocketAddr;
use std::time::Duration;

use ringback::base::Tick;
use ringback::flow::{Graph, Item};
use ringback::sim::{Answering, Party, Phone, Server, World, standard_config};
use serde_json::{Value, json};

use crate::story;

const FIRST: usize = 1;
const SECOND: usize = 2;

fn server() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 5060))
}

fn node(name: &str, kind: &str, version: f64, parameters: Value) -> Value {
    json!({ "name": name, "type": kind, "typeVersion": version, "position": [0, 0],
            "parameters": parameters })
}

fn action(name: &str, operation: &str, more: Value) -> Value {
    let mut parameters = json!({ "operation": operation });
    parameters.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    node(name, "n8n-nodes-sip-pbx.sipPbx", 1.0, parameters)
}

/// Phones with these extensions, each also the user of its account.
fn extensions(reference: &str, numbers: &[&str]) -> Value {
    let account = |number: &&str| json!({ "username": number, "password": format!("secret-{number}"), "extension": number });
    let accounts: Vec<Value> = numbers.iter().map(account).collect();
    let parameters = json!({ "triggerOn": "extensions", "ref": reference,
        "staticCredentials": { "item": accounts } });
    node(reference, "n8n-nodes-sip-pbx.sipPbxTrigger", 1.0, parameters)
}

/// A flow of these nodes and edges `(from, output, to)`.
fn flow(name: &str, nodes: &[Value], edges: &[(&str, usize, &str)]) -> Graph {
    let mut connections = json!({});
    for (from, output, to) in edges {
        let slot = &mut connections[from]["main"];
        let mut outputs = slot.as_array().cloned().unwrap_or_default();
        outputs.resize(outputs.len().max(output + 1), json!([]));
        outputs[*output] = json!([{ "node": to, "type": "main", "index": 0 }]);
        *slot = Value::Array(outputs);
    }
    let text = json!({ "name": name, "nodes": nodes, "connections": connections,
        "settings": { "executionOrder": "v1" } });
    story::flow_text(&text.to_string())
}

/// A server with these flows, and a phone for each of two extensions.
fn world(flows: Vec<Graph>, numbers: [&str; 2]) -> World {
    let phone = |name: &str, host: u8| {
        let at = |port| SocketAddr::from(([127, 0, 1, host], port));
        Party::Phone(Box::new(Phone::new(name, at(5060), at(4000), host.into()).soundless()))
    };
    let house = Server::new(server(), standard_config(server()), flows, story::prompts(), 1);
    let server_party = Party::Server(Box::new(house.soundless()));
    let parties = vec![server_party, phone(numbers[0], 20), phone(numbers[1], 30)];
    let mut world = World::new(2, parties);
    for (index, number) in [FIRST, SECOND].into_iter().zip(numbers) {
        let password = format!("secret-{number}");
        world.with_phone(index, |phone, now| {
            phone.register(server(), number, &password, now);
            phone.set_answering(Answering::After(Duration::from_secs(2)));
        });
        world.run_for(Duration::from_millis(100));
    }
    world
}

fn until(world: &mut World, seconds: u64, what: &str, done: impl FnMut(&World) -> bool) {
    let deadline = world.now() + Duration::from_secs(seconds);
    let is_done = world.run_until(deadline, done);
    assert!(is_done, "it never came to this: {what}\n{}", world.ladder());
}

fn close(mut world: World, trace: &'static str) {
    world.run_for(Duration::from_secs(50));
    story::assert_server_at_rest(&mut world);
    story::golden(trace, &world.ladder());
}

/// The flow that wakes has phones of its own; a phone of the other flow is none of its business.
#[test]
fn a_schedule_wakes_the_phone_of_its_own_flow() {
    let other = flow("office", &[extensions("office", &["101"])], &[]);
    let rule = json!({ "interval": [{ "field": "minutes", "minutesInterval": 5 }] });
    let wake = flow(
        "hotel",
        &[
            extensions("rooms", &["202"]),
            node("alarm", "n8n-nodes-base.scheduleTrigger", 1.2, json!({ "rule": rule })),
            action(
                "ring",
                "dial.make",
                json!({ "callMode": "extension", "extensionNumbers": "101,202" }),
            ),
            action("wait", "dial.wait", json!({})),
            action(
                "say",
                "media.playAudio",
                json!({ "sourceType": "file", "filePath": "hello.wav" }),
            ),
            action("end", "call.hangup", json!({})),
        ],
        &[("alarm", 0, "ring"), ("ring", 0, "wait"), ("wait", 0, "say"), ("say", 1, "end")],
    );
    let mut world = world(vec![other, wake], ["101", "202"]);
    until(&mut world, 310, "the room talks", |world| world.phone(SECOND).is_talking());
    assert_eq!(world.now().as_millis() / 1000, 302);
    assert!(!world.phone(FIRST).is_in_call());
    until(&mut world, 20, "it is over", |world| !world.phone(SECOND).is_in_call());
    let played = world.server().played_since(Tick::ZERO);
    assert!(played.contains(&"hello.wav"), "{played:?}");
    world.note("202 has heard hello.wav");
    close(world, "schedule_wakes");
}

/// FR-46, the call behind the link: a customer's page asks for it, the one is called, then the
/// other, and they are connected.
#[test]
fn a_request_connects_two_phones() {
    let parts = [
        extensions("office", &["201", "202"]),
        node("asked", "n8n-nodes-base.webhook", 2.0, json!({ "path": "connect" })),
        action(
            "call_one",
            "dial.make",
            json!({ "callMode": "extension", "extensionNumbers": "={{ $json.body.from }}" }),
        ),
        action("wait_one", "dial.wait", json!({})),
        action(
            "call_other",
            "dial.make",
            json!({ "callMode": "extension",
                "extensionNumbers": "={{ $('asked').item.json.body.to }}" }),
        ),
        action("wait_other", "dial.wait", json!({})),
        action(
            "connect",
            "call.bridge",
            json!({ "legAId": "={{ $('wait_one').item.json.legId }}",
                "legBId": "={{ $json.legId }}" }),
        ),
        action(
            "talk",
            "call.wait",
            json!({ "timeoutSeconds": 60,
            "legIds": { "item": [{ "legId": "={{ $('wait_one').item.json.legId }}" }] } }),
        ),
        action(
            "end",
            "call.hangup",
            json!({ "options": { "legId": "={{ $('wait_other').item.json.legId }}" } }),
        ),
    ];
    let edges = [
        ("asked", 0, "call_one"),
        ("call_one", 0, "wait_one"),
        ("wait_one", 0, "call_other"),
        ("call_other", 0, "wait_other"),
        ("wait_other", 0, "connect"),
        ("connect", 0, "talk"),
        ("talk", 1, "end"),
    ];
    let mut world = world(vec![flow("connect", &parts, &edges)], ["201", "202"]);
    let json = json!({ "body": { "from": "201", "to": "202" } });
    let now = world.now();
    let item = Item::new(json.as_object().unwrap().clone());
    assert!(world.server().start_run("asked", item, now));
    until(&mut world, 30, "both talk", |world| {
        [FIRST, SECOND].into_iter().all(|index| world.phone(index).is_talking())
    });
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.server().media_gauges().legs_bridged, 2);
    world.note("201 and 202 are bridged");
    world.with_phone(FIRST, Phone::hangup);
    until(&mut world, 10, "both are free", |world| {
        [FIRST, SECOND].into_iter().all(|index| !world.phone(index).is_in_call())
    });
    close(world, "request_connects");
}
