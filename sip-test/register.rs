//! Who may register and call: phones and a trunk with passwords, and strangers without.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use ringback::call::site::NoTarget;
use ringback::call::{Fact, node};
use ringback::flow::{self, Graph};
use ringback::sim::{Party, Phone, PhoneEvent, Server, World, standard_config};
use ringback::sip::Cause;
use serde_json::{Value, json};

/// The phones of every world of this file, behind the server.
const FIRST: usize = 1;
const SECOND: usize = 2;

fn server() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 5060))
}

/// Answers whoever calls, and waits until he hangs up.
fn flow(trigger: Value) -> Graph {
    let step = |name: &str, parameters: Value| {
        json!({
            "id": name, "name": name, "type": node::ACTION, "typeVersion": 1,
            "position": [0, 0], "parameters": parameters,
        })
    };
    let to = |name: &str| json!({ "main": [[{ "node": name, "type": "main", "index": 0 }]] });
    let workflow = json!({
        "name": "house",
        "nodes": [
            {
                "id": "t", "name": "calls", "type": node::TRIGGER, "typeVersion": 1,
                "position": [0, 0], "parameters": trigger,
            },
            step("answer", json!({ "resource": "call", "operation": "call.answer" })),
            step("wait", json!({ "resource": "call", "operation": "call.wait" })),
        ],
        "connections": { "calls": to("answer"), "answer": to("wait") },
    });
    let documents = flow::read(&workflow.to_string(), "house.json").expect("the workflow is JSON");
    let (graph, problems) = flow::check(&documents[0], &node::catalogue());
    graph.unwrap_or_else(|| panic!("{problems:?}"))
}

/// Two accounts share extension 100, as a desk and a soft phone do.
fn extensions() -> Graph {
    let account = |username: &str, extension: &str| json!({ "username": username, "password": "secret", "extension": extension });
    flow(json!({
        "triggerOn": "extensions", "ref": "office",
        "staticCredentials": {
            "item": [account("desk", "100"), account("soft", "100"), account("200", "200")],
        },
    }))
}

fn dynamic_trunk() -> Graph {
    flow(json!({
        "triggerOn": "trunk", "ref": "carrier", "trunkConnectionMode": "dynamic",
        "trunkStaticUsername": "carrier", "trunkStaticPassword": "secret",
    }))
}

fn world(graph: Graph) -> World {
    let phone = |name: &str, host: u8| {
        let at = |port| SocketAddr::from(([198, 51, 100, host], port));
        Party::Phone(Box::new(Phone::new(name, at(5060), at(4000), host.into())))
    };
    let server = Server::new(server(), standard_config(server()), vec![graph], BTreeMap::new(), 1);
    World::new(1, vec![Party::Server(Box::new(server)), phone("one", 1), phone("two", 2)])
}

fn register(world: &mut World, phone: usize, user: &str, password: &str) {
    world.with_phone(phone, |phone, now| phone.register(server(), user, password, now));
    world.run_for(Duration::from_secs(1));
}

fn call(world: &mut World, phone: usize, user: &str) {
    world.with_phone(phone, |phone, now| phone.call(user, server(), now));
    world.run_for(Duration::from_secs(1));
}

/// What happened to a phone, the times left out.
#[track_caller]
fn check(world: &World, phone: usize, expected: &[PhoneEvent]) {
    let events = world.phone(phone).events().iter().map(|(_, event)| event.clone());
    assert_eq!(events.collect::<Vec<_>>(), expected, "\n{}", world.ladder());
}

/// How many endpoints an extension has.
fn endpoints(world: &mut World, number: &str) -> usize {
    world.server().switch().extension_targets(0, number).len()
}

/// Everybody hangs up, and a minute later nothing is left.
#[track_caller]
fn check_idle(mut world: World) {
    for phone in [FIRST, SECOND] {
        world.with_phone(phone, Phone::hangup);
    }
    world.run_for(Duration::from_secs(60));
    let gauges = world.server().gauges();
    assert!(gauges.is_idle(), "{gauges:?}\n{}", world.ladder());
}

#[test]
fn a_phone_registers() {
    let mut world = world(extensions());
    register(&mut world, FIRST, "desk", "secret");
    check(&world, FIRST, &[PhoneEvent::Registered(200)]);
    let ladder = world.ladder();
    let rows = ladder.lines().map(str::trim).collect::<Vec<_>>();
    let expected = [
        "ringback                  one                        two",
        "0.000s |◀────────REGISTER─────────|                          |",
        "0.020s |───────401 REGISTER──────▶|                          |",
        "0.040s |◀────────REGISTER─────────|                          |",
        "0.060s |───────200 REGISTER──────▶|                          |",
    ];
    assert_eq!(rows, expected, "\n{ladder}");
    let targets = world.server().switch().extension_targets(0, "100");
    assert_eq!(targets[0].request_uri, "sip:desk@198.51.100.1:5060");
    assert_eq!(targets[0].flow.remote, SocketAddr::from(([198, 51, 100, 1], 5060)));
    check_idle(world);
}

/// What a stranger hears when he tries this user and password: tags and nonces left out.
fn refusal(user: &str, password: &str) -> String {
    let mut world = world(extensions());
    register(&mut world, FIRST, user, password);
    check(&world, FIRST, &[PhoneEvent::Registered(401)]);
    assert_eq!(endpoints(&mut world, "100"), 0);
    let ladder = world.ladder();
    check_idle(world);
    ladder
}

#[test]
fn a_wrong_password_and_an_unknown_user_hear_the_same() {
    assert_eq!(refusal("desk", "guess"), refusal("nobody", "guess"));
}

#[test]
fn a_phone_binds_its_own_address_only() {
    let mut world = world(extensions());
    // The phone proves `200`; a second account of extension 100 has nothing to do with it.
    register(&mut world, FIRST, "200", "secret");
    assert_eq!((endpoints(&mut world, "100"), endpoints(&mut world, "200")), (0, 1));
    check_idle(world);
}

#[test]
fn a_registration_is_refreshed_until_the_phone_is_gone() {
    let mut world = world(extensions());
    register(&mut world, FIRST, "desk", "secret");
    world.run_for(Duration::from_secs(3600));
    assert_eq!(endpoints(&mut world, "100"), 1);
    world.with_phone(FIRST, |phone, _| phone.vanish());
    world.run_for(Duration::from_secs(601));
    assert_eq!(endpoints(&mut world, "100"), 0);
    assert_eq!(world.server().gauges().registrations, 0);
    check_idle(world);
}

#[test]
fn two_phones_one_extension_and_one_leaves() {
    let mut world = world(extensions());
    register(&mut world, FIRST, "desk", "secret");
    register(&mut world, SECOND, "soft", "secret");
    assert_eq!(endpoints(&mut world, "100"), 2);
    world.with_phone(FIRST, Phone::unregister);
    world.run_for(Duration::from_secs(1));
    assert_eq!(endpoints(&mut world, "100"), 1);
    let left = world.server().switch().extension_targets(0, "100");
    assert_eq!(left[0].request_uri, "sip:soft@198.51.100.2:5060");
    check_idle(world);
}

#[test]
fn a_call_without_or_with_wrong_credentials_is_no_call() {
    let mut world = world(extensions());
    call(&mut world, FIRST, "200");
    register(&mut world, SECOND, "desk", "guess");
    call(&mut world, SECOND, "200");
    let refused = PhoneEvent::Ended(Cause::Rejected { status: 401 });
    check(&world, FIRST, std::slice::from_ref(&refused));
    check(&world, SECOND, &[PhoneEvent::Registered(401), refused]);
    let gauges = world.server().gauges();
    assert_eq!((gauges.legs, gauges.runs, gauges.ports, gauges.calls_accepted), (0, 0, 0, 0));
    check_idle(world);
}

#[test]
fn a_call_of_a_registered_phone_is_its_extensions() {
    let mut world = world(extensions());
    register(&mut world, FIRST, "desk", "secret");
    call(&mut world, FIRST, "200");
    check(&world, FIRST, &[PhoneEvent::Registered(200), PhoneEvent::Talking]);
    let arrived = world.server().facts().iter().any(
        |(_, fact)| matches!(fact, Fact::Arrived { from, to, .. } if from == "desk" && to == "200"),
    );
    assert!(arrived, "{:?}", world.server().facts());
    check_idle(world);
}

#[test]
fn a_trunk_at_a_dynamic_address_calls_and_can_be_called() {
    let mut world = world(dynamic_trunk());
    let number = "+4930123";
    let target = |world: &mut World, number: &str| {
        world.server().switch().trunk_target(0, "carrier", number)
    };
    assert_eq!(target(&mut world, number), Err(NoTarget::NotRegistered));
    register(&mut world, FIRST, "carrier", "secret");
    call(&mut world, FIRST, "200");
    check(&world, FIRST, &[PhoneEvent::Registered(200), PhoneEvent::Talking]);

    let found = target(&mut world, number).unwrap();
    assert_eq!(found.request_uri, "sip:+4930123@198.51.100.1:5060");
    assert_eq!((found.trunk.as_deref(), found.extension), (Some("carrier"), None));
    for bad in ["", "1@evil.example", "1\r\nX: y", "1;x=y", "sip:1", &"1".repeat(65)] {
        assert_eq!(target(&mut world, bad), Err(NoTarget::BadNumber), "{bad}");
    }
    let other = world.server().switch().trunk_target(0, "other", number);
    assert_eq!(other, Err(NoTarget::UnknownTrunk));
    check_idle(world);
}

#[test]
fn where_nobody_has_a_password_a_stranger_is_forbidden() {
    let trunk = json!({ "triggerOn": "trunk", "ref": "main", "trunkUseRegistration": false });
    let mut world = world(flow(trunk));
    call(&mut world, FIRST, "200");
    register(&mut world, FIRST, "desk", "secret");
    let refused = PhoneEvent::Ended(Cause::Rejected { status: 403 });
    check(&world, FIRST, &[refused, PhoneEvent::Registered(403)]);
    check_idle(world);
}
