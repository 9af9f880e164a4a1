//! Stories about bugs of ours: each ends the call that it is about, and no other (contract
//! sentence 7, A9).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;

use crate::base::Tick;
use crate::call::{Config, Fact, node};
use crate::flow::{self, Graph};
use crate::sim::{Party, Phone, PhoneEvent, Server, World, standard_config};
use crate::sip::Timing;

/// Alice and Bob call; Alice's call meets the bugs. Bob hears nothing of it, and nothing is left.
fn story(places: &[&'static str], act: impl FnOnce(&mut World)) -> World {
    let server = Server::new(address(9), config(), vec![waiting()], BTreeMap::new(), 3);
    let parties = vec![
        Party::Phone(Box::new(Phone::new("alice", address(1), audio(1), 1))),
        Party::Server(Box::new(server.bearing_bugs())),
        Party::Phone(Box::new(Phone::new("bob", address(2), audio(2), 2))),
    ];
    let mut world = World::new(1, parties);
    world.with_phone(2, |phone, now| phone.call("bench", address(9), now));
    world.run_for(Duration::from_secs(1));
    world.server().switch().set_faults(places);
    act(&mut world);
    world.run_for(Duration::from_secs(3));
    let ended =
        |event: Option<&(Tick, PhoneEvent)>| matches!(event, Some((_, PhoneEvent::Ended(_))));
    assert!(ended(world.phone(0).events().back()), "{:?}", world.phone(0).events());
    assert!(world.phone(2).is_talking(), "Bob's call goes on");
    let gauges = world.server().gauges();
    assert_eq!(gauges.panics, places.len() as u64);
    assert_eq!((gauges.ports, gauges.runs, gauges.asks), (1, 1, 1), "{gauges:?}");
    let facts = world.server().facts();
    let is_told =
        |fact: &Fact| matches!(fact, Fact::Panicked { ladder, .. } if ladder.contains("INVITE"));
    assert!(facts.iter().any(|(_, fact)| is_told(fact)), "its ladder is told");
    world.with_phone(2, Phone::hangup);
    world.run_for(Duration::from_secs(60));
    let gauges = world.server().gauges();
    assert!(gauges.is_idle(), "{gauges:?}");
    assert_eq!(world.server().media_gauges().legs, 0);
    world
}

fn call(world: &mut World) {
    world.with_phone(0, |phone, now| phone.call("bench", address(9), now));
    world.run_for(Duration::from_secs(1));
}

#[test]
fn a_bug_at_a_digit() {
    story(&["digit"], |world| {
        call(world);
        world.with_phone(0, |phone, now| phone.press("1", now));
    });
}

#[test]
fn a_bug_while_a_leg_comes_into_being() {
    story(&["invite"], call);
}

#[test]
fn a_bug_in_what_a_run_asks() {
    story(&["ask"], call);
}

#[test]
fn a_bug_in_the_middle_of_a_leg_s_end() {
    story(&["end"], |world| {
        call(world);
        world.with_phone(0, Phone::hangup);
    });
}

#[test]
fn a_bug_at_a_digit_and_another_in_the_end_that_follows() {
    story(&["digit", "end"], |world| {
        call(world);
        world.with_phone(0, |phone, now| phone.press("1", now));
    });
}

fn config() -> Config {
    let mut config = standard_config(address(9));
    config.sip.timing = Timing::RFC;
    config
}

/// Answers, and waits until the caller hangs up.
fn waiting() -> Graph {
    let node = |name: &str, kind: &str, parameters: serde_json::Value| json!({ "name": name, "type": kind, "typeVersion": 1, "parameters": parameters });
    let to = |name: &str| json!({ "main": [[{ "node": name, "type": "main", "index": 0 }]] });
    let trunk = json!({ "triggerOn": "trunk", "ref": "line", "trunkUseRegistration": false });
    let document = json!({
        "name": "bugs",
        "nodes": [
            node("line", "n8n-nodes-sip-pbx.sipPbxTrigger", trunk),
            node("answer", node::ACTION, json!({ "operation": "call.answer" })),
            node("wait", node::ACTION, json!({ "operation": "call.wait", "timeoutSeconds": 600 })),
        ],
        "connections": { "line": to("answer"), "answer": to("wait") },
        "settings": { "executionOrder": "v1" },
    });
    let document = flow::read(&document.to_string(), "bugs.json").unwrap().remove(0);
    let (graph, problems) = flow::check(&document, &node::catalogue());
    graph.unwrap_or_else(|| panic!("{problems:?}"))
}

fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, host], 5060))
}

fn audio(host: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, host], 4000))
}
