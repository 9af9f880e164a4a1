//! Flows that are exchanged while calls go on: who keeps what, and what is told of the rest.

use std::time::Duration;

use ringback::base::Tick;
use ringback::call::{NotReloaded, Reloaded};
use ringback::flow::Graph;
use ringback::sim::{Party, Phone, PhoneEvent, World};
use ringback::sip::Cause;
use serde_json::{Value, json};

use crate::queue::{AGENT, CUSTOMER, Centre, ended};
use crate::story::*;

const DESK: usize = 1;
const OTHER: usize = 2;

/// The shipped flow with another name for its queue `support`.
fn helpdesk() -> Graph {
    let text = std::fs::read_to_string(root().join("flows/queue-callback.json")).unwrap();
    flow_text(&text.replace("\"support\"", "\"helpdesk\"").replace("$('support')", "$('helpdesk')"))
}

fn exchange(world: &mut World, flows: Vec<Graph>) -> Reloaded {
    world.note("the flows are reloaded");
    let now = world.now();
    world.server().reload(flows, now).expect("the flows are sound")
}

/// QC-01: nobody who talks hears anything of it.
#[test]
fn a_call_goes_on_under_the_flow_it_began_with_and_the_next_gets_the_new_one() {
    let play = |file: &str| ("media.playAudio", json!({ "sourceType": "file", "filePath": file }));
    let wait = ("call.wait", json!({ "timeoutSeconds": 5 }));
    let answer = || ("call.answer", json!({}));
    let old = chain(&[answer(), wait, play("goodbye.wav")]);
    let new = chain(&[answer(), play("hello.wav")]);
    let version = |flow: &Graph| flow.version().to_string();
    let versions = [version(&old), version(&new)];
    assert_ne!(versions[0], versions[1]);
    let mut story = Story::with_server("reload_next_call", old).dial().talking().at(2000);
    let told = exchange(&mut story.world, vec![new]);
    let workflows = vec!["story".to_owned()];
    let expected = vec![versions[1].clone()];
    assert_eq!(told, Reloaded { workflows, versions: expected, ..Reloaded::default() });
    let ends = |times: usize| move |world: &World| ended(world, CALLER, Cause::Bye) == times;
    let story = story.until("the first call is over", ends(1)).hears("goodbye.wav", 0);
    let mut story = story.dial().until("the second call is over", ends(2)).rest_of_server();
    let records = story.world.server().take_call_records();
    let calls = || records.iter().filter(|record| record["record"] == "call");
    let under = calls().map(|call| call["flowVersion"].as_str().unwrap());
    assert_eq!(under.collect::<Vec<_>>(), versions, "each names the version that it began with");
    let paths = calls().map(|call| {
        let visits = call["path"].as_array().unwrap().iter();
        visits.map(|visit| visit["node"].as_str().unwrap()).collect::<Vec<_>>().join(", ")
    });
    let paths = paths.collect::<Vec<_>>();
    let [first, second] = &paths[..] else { panic!("{records:?}") };
    assert_eq!(first, "line, call.answer 1, call.wait 2, media.playAudio 3");
    assert_eq!(second, "line, call.answer 1, media.playAudio 2");
    story.end_with_server();
}

/// A group of extensions with these users and passwords, each an extension of its own.
fn office(accounts: &[(&str, &str)]) -> Graph {
    let account = |(user, password): &(&str, &str)| json!({ "username": user, "password": password, "extension": user });
    let accounts = accounts.iter().map(account).collect::<Vec<Value>>();
    let node = |name: &str, kind: &str, parameters: Value| json!({ "name": name, "type": kind, "typeVersion": 1, "parameters": parameters });
    let to = |name: &str| json!({ "main": [[{ "node": name, "type": "main", "index": 0 }]] });
    let trigger = json!({
        "triggerOn": "extensions", "ref": "office", "staticCredentials": { "item": accounts },
    });
    let act = "n8n-nodes-sip-pbx.sipPbx";
    let document = json!({
        "name": "office",
        "nodes": [
            node("calls", "n8n-nodes-sip-pbx.sipPbxTrigger", trigger),
            node("answer", act, json!({ "operation": "call.answer" })),
            node("wait", act, json!({ "operation": "call.wait", "timeoutSeconds": 20 })),
        ],
        "connections": { "calls": to("answer"), "answer": to("wait") },
    });
    flow_text(&document.to_string())
}

fn office_world(accounts: &[(&str, &str)]) -> World {
    let phone = |name: &str, host| Party::Phone(Box::new(phone(name, host)));
    let parties = vec![server(office(accounts), |_| {}), phone("desk", 20), phone("other", 21)];
    World::new(7, parties)
}

fn registers(world: &mut World, phone: usize, user: &str, password: &str) {
    world.with_phone(phone, |phone, now| phone.register(address(9), user, password, now));
    world.run_for(Duration::from_secs(1));
}

/// Whose account stays, stays registered; whose account goes, or has another password, does not,
/// and is told of. A call of such an account goes on.
#[test]
fn registrations_stay_where_accounts_do() {
    let mut world = office_world(&[("100", "a"), ("200", "b")]);
    registers(&mut world, DESK, "100", "a");
    registers(&mut world, OTHER, "200", "b");
    world.with_phone(OTHER, |phone, now| phone.call("7", address(9), now));
    world.run_for(Duration::from_secs(1));
    assert!(world.phone(OTHER).is_talking());
    let told = exchange(&mut world, vec![office(&[("300", "c"), ("100", "a"), ("200", "new")])]);
    assert_eq!(told.went, ["extension 200, user 200: not registered any more"]);
    let mut reached = |number| world.server().switch().extension_targets(0, number).len();
    assert_eq!([reached("100"), reached("200"), reached("300")], [1, 0, 0]);
    assert!(world.phone(OTHER).is_talking(), "a call goes on");
    world.with_phone(OTHER, Phone::hangup);
    world.run_for(Duration::from_secs(1));
    registers(&mut world, OTHER, "200", "b");
    registers(&mut world, OTHER, "200", "new");
    let events = world.phone(OTHER).events().iter().map(|(_, event)| event.clone());
    let registered = events.filter(|event| matches!(event, PhoneEvent::Registered(_)));
    assert_eq!(
        registered.collect::<Vec<_>>(),
        [200, 401, 200].map(PhoneEvent::Registered),
        "the old password is none"
    );
    world.run_for(Duration::from_secs(40));
    assert_server_at_rest(&mut world);
}

/// QC-01: what cannot be taken leaves the flows of before in force.
#[test]
fn what_cannot_be_activated_changes_nothing() {
    let mut world = office_world(&[("100", "a")]);
    registers(&mut world, DESK, "100", "a");
    let registers_at = json!({
        "name": "carrier", "connections": {},
        "nodes": [{ "name": "line", "type": "n8n-nodes-sip-pbx.sipPbxTrigger", "typeVersion": 1,
                    "parameters": { "triggerOn": "trunk", "ref": "line" } }],
    });
    let now = world.now();
    let refused = world.server().reload(vec![flow_text(&registers_at.to_string())], now);
    let Err(NotReloaded::Trunks(missing)) = refused else { panic!("{refused:?}") };
    assert!(missing[0].contains("[trunk.line] in ringback.toml"), "{missing:?}");
    assert_eq!(world.server().switch().extension_targets(0, "100").len(), 1);
    world.with_phone(DESK, |phone, now| phone.call("7", address(9), now));
    world.run_for(Duration::from_secs(1));
    assert!(world.phone(DESK).is_talking());
    world.with_phone(DESK, Phone::hangup);
    world.server().switch().drain();
    let now = world.now();
    assert_eq!(
        world.server().reload(vec![office(&[("100", "a")])], now),
        Err(NotReloaded::Draining)
    );
    world.run_for(Duration::from_secs(40));
    assert_server_at_rest(&mut world);
}

/// A caller in line keeps his place and is served; the music goes on.
#[test]
fn a_caller_in_line_keeps_his_place() {
    let mut centre = Centre::open("reload_queue_kept");
    centre.customer_waits();
    let told = exchange(&mut centre.world, vec![flow_file("queue-callback.json")]);
    assert_eq!((told.came, told.went), (Vec::new(), Vec::new()));
    let gauges = centre.world.server().gauges();
    assert_eq!((gauges.entries, gauges.registrations), (1, 3));
    let from = centre.heard(CUSTOMER);
    centre.pass(3_000);
    centre.hears(CUSTOMER, "music.wav", from);
    centre.agent_serves();
}

/// A queue that goes takes nobody new: whoever is on the line in it is served under the old flow.
#[test]
fn a_caller_in_a_queue_that_goes_is_served() {
    let mut centre = Centre::open("reload_queue_gone");
    centre.customer_waits();
    let told = exchange(&mut centre.world, vec![helpdesk()]);
    assert_eq!(told.came, ["queue helpdesk of queue-callback"]);
    assert_eq!(
        told.went,
        [
            "queue support of queue-callback: 1 on the line are served, 0 callback(s) wait until it is back"
        ]
    );
    let seen = |centre: &mut Centre| {
        let now = centre.world.now();
        let queues = centre.world.server().switch().look_at_queues(now);
        let names = queues.as_array().unwrap().iter().map(|queue| queue["queue"].to_string());
        names.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(seen(&mut centre), r#""support" "sales" "helpdesk""#);
    centre.act(AGENT, Phone::hangup);
    centre.until("the agent talks", |world| world.phone(AGENT).is_talking());
    centre.both_hear_each_other();
    assert_eq!(seen(&mut centre), r#""sales" "helpdesk""#);
    centre.close();
}

/// A2: a promise outlives its queue: it is kept when a queue of that name is back, and not before.
#[test]
fn a_promise_waits_for_its_queue() {
    let mut centre = Centre::open("reload_promise_waits");
    centre.customer_asks_and_leaves();
    let told = exchange(&mut centre.world, vec![helpdesk()]);
    assert!(told.went[0].contains("1 callback(s) wait until it is back"), "{told:?}");
    centre.act(AGENT, Phone::hangup);
    centre.pass(600_000);
    let gauges = centre.world.server().gauges();
    assert_eq!((gauges.promises, gauges.entries), (1, 0), "kept, and nobody rings for it");
    assert!(!centre.world.phone(AGENT).is_talking());
    exchange(&mut centre.world, vec![flow_file("queue-callback.json")]);
    centre.until("the agent talks", |world| world.phone(AGENT).is_talking());
    centre.until("the customer talks", |world| world.phone(CUSTOMER).is_talking());
    centre.both_hear_each_other();
    centre.pass(1_000);
    assert_eq!(centre.world.server().gauges().promises, 0);
    centre.close();
}

/// A2, A9: reloads at any moment of a callback: nothing is left over, and no promise is lost.
#[test]
fn nothing_is_lost_by_reloads_at_any_moment() {
    for step in 0..8_u64 {
        let mut centre = Centre::soundless("none");
        centre.agents_talk_to_each_other();
        centre.customer_calls();
        let at = centre.world.now() + Duration::from_millis(12_000 + step * 4_300);
        type Act = fn(&mut Phone, Tick);
        let script: [(u64, Act); 4] = [
            (12_500, |phone, now| phone.press("1", now)),
            (14_000, |phone, now| phone.press("1", now)),
            (21_000, Phone::hangup),
            (22_000, |_, _| {}),
        ];
        let began = centre.world.now();
        let mut is_done = false;
        for (after, act) in script {
            let due = began + Duration::from_millis(after);
            if !is_done && at < due {
                centre.world.run_until(at, |_| false);
                exchange(&mut centre.world, vec![helpdesk()]);
                exchange(&mut centre.world, vec![flow_file("queue-callback.json")]);
                is_done = true;
            }
            centre.world.run_until(due, |_| false);
            centre.act(CUSTOMER, act);
        }
        centre.act(AGENT, Phone::hangup);
        if !is_done {
            centre.world.run_until(at, |_| false);
            exchange(&mut centre.world, vec![helpdesk()]);
            exchange(&mut centre.world, vec![flow_file("queue-callback.json")]);
        }
        centre.patient("the customer is called back", 900, |world| {
            world.phone(CUSTOMER).is_talking() && world.phone(AGENT).is_talking()
        });
        for index in [CUSTOMER, AGENT, 3] {
            centre.act(index, Phone::hangup);
        }
        centre.pass(60_000);
        assert_server_at_rest(&mut centre.world);
        assert_eq!(centre.world.server().gauges().promises, 0, "step {step}");
    }
}
