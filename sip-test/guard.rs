//! The dial guard: what may leave by a trunk, how much at once and how fast. What may not is told to
//! the flow by its code, counted, and nothing is sent.

use std::net::SocketAddr;
use std::time::Duration;

use ringback::call::{Blocked, Denied, Fact, Guard, TrunkGuard, TrunkSettings, node};
use ringback::flow::Graph;
use ringback::sim::{Answering, Party, Phone, Server, World, standard_config};
use serde_json::{Value, json};

use crate::dials::graph_behind;
use crate::story::{self, assert_server_at_rest};

const CALLER: usize = 0;
const TRUNK: usize = 2;

fn server() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 5060))
}

/// A carrier far away: calls to it cost money.
fn carrier() -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 7], 5060))
}

fn phone(name: &str, at: SocketAddr) -> Phone {
    // Whoever is on this machine sends its sound to this machine.
    let audio = SocketAddr::from(([127, 0, 2, name.len() as u8], 4000));
    Phone::new(name, at, audio, name.len() as u64)
}

/// An extension whose calls a flow sends to `destination` by a trunk with this guard.
fn office(destination: &str, carrier: SocketAddr, guard: TrunkGuard) -> World {
    let dial = json!({ "operation": "dial.make", "callMode": "trunk", "ref": "line",
                       "destination": destination });
    let leg = |node: &str| format!("={{{{ $('{node}').item.json.legId }}}}");
    let steps = [
        ("dial", dial, &["bridge"][..]),
        (
            "bridge",
            json!({ "resource": "call", "operation": "call.bridge",
                           "legAId": leg("office"), "legBId": leg("dial") }),
            &[],
        ),
    ];
    let mut config = standard_config(server());
    let settings = TrunkSettings { server: Some(carrier), guard, ..TrunkSettings::default() };
    config.trunks.insert("line".to_owned(), settings);
    config.blocked = Blocked::new(&["+4930666".to_owned()]);
    let house =
        Server::new(server(), config, vec![graph_behind("office", &steps)], story::prompts(), 1);
    let trunk = phone("carrier", carrier).answering(Answering::After(Duration::from_millis(500)));
    let caller = phone("office phone", SocketAddr::from(([127, 0, 1, 10], 5060)));
    let parties = vec![
        Party::Phone(Box::new(caller)),
        Party::Server(Box::new(house)),
        Party::Phone(Box::new(trunk)),
    ];
    let mut world = World::new(5, parties);
    world.with_phone(CALLER, |phone, now| phone.register(server(), "101", "secret", now));
    world.run_for(Duration::from_millis(200));
    world
}

fn calls(world: &mut World) {
    world.with_phone(CALLER, |phone, now| phone.call("200", server(), now));
    world.run_for(Duration::from_secs(2));
}

/// What the guard said, by number, and the code that the flow got; nothing reached the carrier.
#[track_caller]
fn is_denied(world: &mut World, destination: &str, why: Denied, code: &str) {
    let facts = world.server().take_facts();
    let is_denial = |fact: &Fact| {
        matches!(fact, Fact::DialDenied { why: said, trunk, number } if *said == why && trunk == "line"
            && destination.split(", ").any(|one| one == number))
    };
    let denials = facts.iter().filter(|(_, fact)| is_denial(fact)).count();
    assert_eq!(denials, 1, "{why:?}: {facts:?}\n{}", world.ladder());
    let failed = |fact: &Fact| matches!(fact, Fact::RunFailed { error, .. } if error.contains(code) && error.contains("dial"));
    assert!(facts.iter().any(|(_, fact)| failed(fact)), "{code}: {facts:?}");
}

#[track_caller]
fn check(destination: &str, guard: TrunkGuard, why: Denied, code: &str) {
    let mut world = office(destination, carrier(), guard);
    calls(&mut world);
    is_denied(&mut world, destination, why, code);
    assert_eq!(world.last_message(1, "INVITE"), None, "nothing was sent\n{}", world.ladder());
    world.with_phone(CALLER, Phone::hangup);
    world.run_for(Duration::from_secs(50));
    assert_server_at_rest(&mut world);
}

fn lists(allow: &[&str], deny: &[&str]) -> TrunkGuard {
    let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect();
    let lists = Some(Guard { allow: owned(allow), deny: owned(deny) });
    TrunkGuard { lists, ..TrunkGuard::default() }
}

#[test]
fn a_trunk_denies_what_nobody_has_allowed() {
    check("+4930123", TrunkGuard::default(), Denied::NotAllowed, "number_forbidden");
    check("+4930123", lists(&["+33"], &[]), Denied::NotAllowed, "number_forbidden");
    check("+4930123", lists(&["*"], &["+4930"]), Denied::NotAllowed, "number_forbidden");
}

/// A5: a blocked number gets no INVITE.
#[test]
fn blocked_and_premium_numbers_are_denied_though_all_is_allowed() {
    check("004930666", lists(&["*"], &[]), Denied::Blocked, "number_forbidden");
    check("+881612345", lists(&["*"], &[]), Denied::Premium, "number_forbidden");
    check("+4930123, +979123", lists(&["*"], &[]), Denied::Premium, "number_forbidden");
}

#[test]
fn what_is_allowed_and_what_stays_on_this_machine_is_dialled() {
    let local = SocketAddr::from(([127, 0, 1, 40], 5060));
    let premium = TrunkGuard { is_premium: true, ..lists(&["+8"], &[]) };
    for (number, to, guard) in [
        ("+4930123", carrier(), lists(&["+49"], &["+49900"])),
        ("+881612345", carrier(), premium),
        ("+4930123", local, TrunkGuard::default()),
    ] {
        let mut world = office(number, to, guard);
        calls(&mut world);
        assert!(world.phone(TRUNK).is_talking(), "{number}\n{}", world.ladder());
        world.with_phone(CALLER, Phone::hangup);
        world.run_for(Duration::from_secs(60));
        assert_server_at_rest(&mut world);
    }
}

#[test]
fn a_trunk_with_all_channels_taken_takes_no_more_and_again_when_one_is_free() {
    let guard = TrunkGuard { channels: 1, ..lists(&["*"], &[]) };
    check("+4930123, +4930124", guard.clone(), Denied::Channels, "trunk_limit");
    let mut world = office("+4930123", carrier(), guard);
    calls(&mut world);
    assert_eq!(world.server().gauges().channels, 1);
    world.with_phone(CALLER, Phone::hangup);
    world.run_for(Duration::from_secs(20));
    assert_eq!(world.server().gauges().channels, 0);
    calls(&mut world);
    assert!(world.phone(TRUNK).is_talking(), "{}", world.ladder());
    world.with_phone(CALLER, Phone::hangup);
    world.run_for(Duration::from_secs(60));
    assert_server_at_rest(&mut world);
}

#[test]
fn calls_leave_by_a_trunk_no_faster_than_it_says() {
    let guard = TrunkGuard { calls_per_s: 2, ..lists(&["*"], &[]) };
    check("+49301, +49302, +49303", guard.clone(), Denied::Rate, "trunk_limit");
    // One call a second and a half is not too fast, however many come.
    let mut world = office("+4930123", carrier(), guard);
    for _ in 0..4 {
        calls(&mut world);
        assert!(world.phone(TRUNK).is_talking(), "{}", world.ladder());
        world.with_phone(CALLER, Phone::hangup);
        world.run_for(Duration::from_secs(8));
    }
}

/// A flow that calls directly, by the connection of this name.
fn direct(connection: Option<&str>) -> Graph {
    let credentials =
        connection.map(|name| json!({ "sipPbxExternal": { "id": "1", "name": name } }));
    let leg = |node: &str| format!("={{{{ $('{node}').item.json.legId }}}}");
    let node = |name: &str, kind: &str, parameters: Value| json!({ "name": name, "type": kind, "typeVersion": 1, "parameters": parameters });
    let to = |name: &str| json!({ "main": [[{ "node": name, "type": "main", "index": 0 }]] });
    let mut dial = node(
        "dial",
        node::ACTION,
        json!({ "operation": "dial.make", "callMode": "direct", "destination": "4711",
                "options": { "codecs": ["alaw"], "callerName": "House" } }),
    );
    dial["credentials"] = credentials.unwrap_or_default();
    let document = json!({
        "name": "direct",
        "nodes": [
            node("line", node::TRIGGER, json!({ "triggerOn": "trunk", "ref": "line", "trunkUseRegistration": false })),
            dial,
            node("bridge", node::ACTION, json!({ "operation": "call.bridge", "legAId": leg("line"), "legBId": leg("dial") })),
        ],
        "connections": { "line": to("dial"), "dial": to("bridge") },
    });
    story::flow_text(&document.to_string())
}

/// Contract §7.1, §13: the credential's name leads to `[trunk.NAME]`, whose guard holds here too.
/// SC-21: the call shows the number of that trunk. SC-25: without one nothing is sent.
#[test]
fn a_direct_dial_goes_where_the_settings_say() {
    let world = |connection: Option<&str>, allow: &[&str]| {
        let text = format!(
            "[trunk.provider]\nserver = '{}'\ndomain = 'sip.example.org'\nusername = '4930'\n\
             password = 'secret'\nallow = {allow:?}\n",
            carrier()
        );
        let mut config = standard_config(server());
        config.trunks = ringback::config::read(&text).unwrap().trunks;
        let house = Server::new(server(), config, vec![direct(connection)], story::prompts(), 1);
        let caller = phone("office phone", SocketAddr::from(([127, 0, 1, 10], 5060)));
        let far =
            phone("carrier", carrier()).answering(Answering::After(Duration::from_millis(500)));
        let parties = vec![
            Party::Phone(Box::new(caller)),
            Party::Server(Box::new(house)),
            Party::Phone(Box::new(far)),
        ];
        let mut world = World::new(5, parties);
        calls(&mut world);
        world
    };
    let mut talks = world(Some("provider"), &["4"]);
    assert!(talks.phone(TRUNK).is_talking(), "{}", talks.ladder());
    let invite = talks.last_message(1, "INVITE").unwrap();
    for words in [
        "INVITE sip:4711@sip.example.org SIP/2.0\r\n",
        "From: \"House\" <sip:4930@sip.example.org>",
        " RTP/AVP 8 101\r\n",
    ] {
        assert!(invite.contains(words), "{words} in {invite}");
    }
    assert_eq!(talks.server().gauges().channels, 2, "it counts as a call by its trunk");
    talks.with_phone(CALLER, Phone::hangup);
    talks.with_phone(TRUNK, Phone::hangup);
    talks.run_for(Duration::from_secs(60));
    assert_server_at_rest(&mut talks);

    for (connection, allow, code) in [
        (Some("provider"), &[][..], "number_forbidden"),
        (Some("provider"), &["9"], "number_forbidden"),
        (Some("nobody"), &["4"], "configuration_error"),
        (None, &["4"], "configuration_error"),
    ] {
        let mut refused = world(connection, allow);
        assert_eq!(refused.last_message(1, "INVITE"), None, "nothing is sent");
        let facts = refused.server().take_facts();
        let is_it =
            |fact: &Fact| matches!(fact, Fact::RunFailed { error, .. } if error.contains(code));
        assert!(facts.iter().any(|(_, fact)| is_it(fact)), "{code}: {facts:?}");
        refused.with_phone(CALLER, Phone::hangup);
        refused.run_for(Duration::from_secs(60));
        assert_server_at_rest(&mut refused);
    }
}
