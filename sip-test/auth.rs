//! Who somebody is, asked of a flow: the branch `Auth` and `Respond To Auth` (contract §5.6, §5.7, §11).

use std::net::SocketAddr;
use std::time::Duration;

use ringback::base::Tick;
use ringback::call::{Fact, node};
use ringback::flow::{self, Graph};
use ringback::sim::{Answering, Party, Phone, PhoneEvent, Server, World, standard_config};
use ringback::sip::Cause;
use serde_json::{Value, json};

use crate::story;

const ONE: usize = 0;
const TWO: usize = 2;

fn server() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 5060))
}

fn phone(name: &str, host: u8) -> Phone {
    let at = |port| SocketAddr::from(([127, 0, 1, host], port));
    Phone::new(name, at(5060), at(4000), host.into()).soundless()
}

/// Two phones and a server with these flows.
struct House {
    trace: &'static str,
    world: World,
}

impl House {
    fn open(trace: &'static str, flows: Vec<Graph>) -> Self {
        let house = Server::new(server(), standard_config(server()), flows, story::prompts(), 1);
        let parties = vec![
            Party::Phone(Box::new(phone("one", 10))),
            Party::Server(Box::new(house.soundless())),
            Party::Phone(Box::new(
                phone("two", 20).answering(Answering::After(Duration::from_secs(1))),
            )),
        ];
        Self { trace, world: World::new(4, parties) }
    }

    fn act(&mut self, index: usize, act: impl FnOnce(&mut Phone, Tick)) {
        self.world.with_phone(index, act);
    }

    fn registers(&mut self, index: usize, user: &str, password: &str) {
        self.act(index, |phone, now| phone.register(server(), user, password, now));
        self.pass(300);
    }

    fn pass(&mut self, millis: u64) {
        self.world.run_for(Duration::from_millis(millis));
    }

    #[track_caller]
    fn heard(&self, index: usize, event: &PhoneEvent) {
        let events = self.world.phone(index).events();
        let ladder = self.world.ladder();
        assert!(
            events.iter().any(|(_, heard)| heard == event),
            "{event:?} of {events:?}\n{ladder}"
        );
    }

    /// What runs failed of.
    fn failures(&mut self) -> Vec<String> {
        let facts = self.world.server().take_facts();
        let error =
            |(_, fact)| if let Fact::RunFailed { error, .. } = fact { Some(error) } else { None };
        facts.into_iter().filter_map(error).collect()
    }

    /// A minute later nothing is left.
    #[track_caller]
    fn rests(&mut self) {
        for index in [ONE, TWO] {
            self.act(index, Phone::hangup);
        }
        self.pass(60_000);
        story::assert_server_at_rest(&mut self.world);
    }

    fn close(mut self) {
        self.rests();
        story::golden(self.trace, &self.world.ladder());
    }
}

/// A trigger whose `Auth` branch leads through these nodes, and whose callers are answered.
fn asks(name: &str, trigger: Value, steps: &[(&str, &str, Value)]) -> Graph {
    let node = |name: &str, kind: &str, parameters: &Value| {
        json!({ "id": name, "name": name, "type": kind, "typeVersion": 1, "position": [0, 0],
                "parameters": parameters })
    };
    let to = |name: &str| json!([{ "node": name, "type": "main", "index": 0 }]);
    let mut nodes = vec![
        node("who", node::TRIGGER, &trigger),
        node("answer", node::ACTION, &json!({ "resource": "call", "operation": "call.answer" })),
        node("wait", node::ACTION, &json!({ "resource": "call", "operation": "call.wait" })),
    ];
    let mut connections = json!({
        "who": { "main": [to("answer")] },
        "answer": { "main": [to("wait")] },
    });
    let mut last = "who";
    for (step, kind, parameters) in steps {
        nodes.push(node(step, kind, parameters));
        if last == "who" {
            connections["who"]["main"] = json!([to("answer"), to(step)]);
        } else {
            connections[last] = json!({ "main": [to(step)] });
        }
        last = step;
    }
    let workflow = json!({
        "name": name, "nodes": nodes, "connections": connections,
        "settings": { "executionOrder": "v1" },
    });
    let documents = flow::read(&workflow.to_string(), "asks.json").unwrap();
    let (graph, problems) = flow::check(&documents[0], &node::catalogue());
    graph.unwrap_or_else(|| panic!("{problems:?}"))
}

fn trigger(mode: &str, options: Value) -> Value {
    json!({ "triggerOn": "extensions", "ref": "staff", "authMode": mode, "options": options })
}

fn respond(parameters: Value) -> (&'static str, &'static str, Value) {
    let mut all = json!({ "resource": "respond", "operation": "respond.toAuth" });
    all.as_object_mut().unwrap().extend(parameters.as_object().cloned().unwrap());
    ("respond", node::ACTION, all)
}

fn waits(seconds: u32) -> (&'static str, &'static str, Value) {
    let wait = json!({ "resume": "timeInterval", "amount": seconds, "unit": "seconds" });
    ("think", "n8n-nodes-base.wait", wait)
}

/// Phones with passwords that stand in the workflow.
fn static_group() -> Graph {
    let account = json!({ "username": "500", "password": "secret", "extension": "500" });
    asks(
        "static",
        json!({ "triggerOn": "extensions", "ref": "desk", "staticCredentials": { "item": [account] } }),
        &[],
    )
}

#[test]
fn staff_register_and_call_by_the_list_of_a_flow() {
    let mut house = House::open("auth_staff", vec![story::flow_file("interactive-auth.json")]);
    house.registers(ONE, "anna", "secret-anna");
    house.registers(TWO, "bert", "secret-bert");
    house.heard(ONE, &PhoneEvent::Registered(200));
    house.act(ONE, |phone, now| phone.call("302", server(), now));
    house.pass(2_000);
    assert!(house.world.phone(TWO).is_talking(), "{}", house.world.ladder());
    house.act(ONE, Phone::hangup);
    house.pass(500);
    assert_eq!(house.failures(), Vec::<String>::new());
    house.close();
}

#[test]
fn a_stranger_and_a_wrong_password_are_turned_away() {
    let mut house =
        House::open("auth_turned_away", vec![story::flow_file("interactive-auth.json")]);
    house.registers(ONE, "mallory", "x");
    house.heard(ONE, &PhoneEvent::Registered(403));
    house.registers(TWO, "anna", "guess");
    house.heard(TWO, &PhoneEvent::Registered(401));
    house.act(TWO, |phone, now| phone.call("302", server(), now));
    house.pass(1_000);
    house.heard(TWO, &PhoneEvent::Ended(Cause::Rejected { status: 401 }));
    house.close();
}

#[test]
fn no_answer_in_time_is_not_applicable_and_the_next_trigger_is_asked() {
    let silent = asks("silent", trigger("digest-first", json!({ "authTimeoutSeconds": 2 })), &[]);
    let mut house = House::open("auth_times_out", vec![silent, static_group()]);
    house.registers(ONE, "500", "secret");
    house.heard_nothing_yet();
    house.pass(2_000);
    house.heard(ONE, &PhoneEvent::Registered(200));
    house.registers(TWO, "600", "secret");
    house.pass(2_500);
    house.heard(TWO, &PhoneEvent::Registered(401));
    house.close();
}

/// Contract §5.6: every field of the branch `Auth`; all that the phone has shown is text.
#[test]
fn the_branch_auth_says_all_that_the_request_shows() {
    let all = json!({ "errorMessage": "={{ JSON.stringify($json) }}" });
    let told = [("told", "n8n-nodes-base.stopAndError", all)];
    let flows = vec![asks("told", trigger("digest-first", json!({})), &told)];
    let mut house = House::open("none", flows);
    house.registers(ONE, "anna", "secret");
    let failed = house.failures().remove(0);
    let json = &failed[failed.find('{').unwrap()..=failed.rfind('}').unwrap()];
    let item: Value = serde_json::from_str(json).unwrap();
    let keys = item.as_object().unwrap().keys().map(String::as_str).collect::<Vec<_>>();
    let mut expected = [
        "authRequestId",
        "ref",
        "requestType",
        "auth",
        "remoteIp",
        "remotePort",
        "transport",
        "localIp",
        "localPort",
        "raw",
        "sipPbx",
    ];
    expected.sort_unstable();
    let mut sorted = keys.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, expected);
    assert_eq!(item["requestType"], "register");
    assert_eq!((&item["remoteIp"], &item["transport"]), (&json!("127.0.1.10"), &json!("udp")));
    assert_eq!(item["sipPbx"], json!({ "ref": "staff", "authRequestId": item["authRequestId"] }));
    let auth = item["auth"].as_object().unwrap();
    assert_eq!((&auth["username"], &auth["realm"]), (&json!("anna"), &json!("ringback")));
    assert!(auth.contains_key("nonce") && auth.values().all(Value::is_string), "{auth:?}");
    house.pass(6_000);
    house.rests();
}

/// Whom only a flow knows sends texts too: it is asked as about a call.
#[test]
fn a_flow_lets_a_text_in_or_not() {
    let steps = [respond(
        json!({ "authAction": "={{ $json.auth.username === 'anna' ? 'allow' : 'deny' }}",
        "statusCode": 403, "extension": "={{ $json.auth.username === 'anna' ? '301' : '302' }}" }),
    )];
    let mut house =
        House::open("none", vec![asks("texts", trigger("digest-first", json!({})), &steps)]);
    house.registers(ONE, "anna", "secret");
    house.act(ONE, |phone, now| phone.text("301", "a note to myself", now));
    house.pass(500);
    house.heard(ONE, &PhoneEvent::Texted(200));
    house.heard(ONE, &PhoneEvent::Text("301".to_owned(), "a note to myself".to_owned()));
    house.registers(TWO, "mallory", "x");
    house.act(TWO, |phone, now| phone.text("301", "let me in", now));
    house.pass(500);
    house.heard(TWO, &PhoneEvent::Texted(403));
    house.rests();
}

/// A trigger that goes while its flow is asked has no say any more: the next one has.
#[test]
fn a_reload_while_a_flow_is_asked_leaves_the_word_to_the_next_trigger() {
    let slow = asks("slow", trigger("digest-first", json!({})), &[waits(3), respond(json!({}))]);
    let mut house = House::open("none", vec![slow, static_group()]);
    house.registers(ONE, "500", "secret");
    house.heard_nothing_yet();
    assert_eq!(house.world.server().gauges().inquiries, 1);
    let now = house.world.now();
    house.world.server().reload(vec![static_group()], now).unwrap();
    house.pass(300);
    house.heard(ONE, &PhoneEvent::Registered(200));
    house.pass(5_000);
    let failed = house.failures();
    assert!(failed.len() == 1 && failed[0].contains("invalid_auth_request"), "{failed:?}");
    house.rests();
}

/// Whom a flow has let in stays registered as long as its trigger stays.
#[test]
fn whom_a_flow_let_in_stays_registered_over_a_reload() {
    let mut house = House::open("none", vec![story::flow_file("interactive-auth.json")]);
    house.registers(ONE, "anna", "secret-anna");
    let now = house.world.now();
    let same = story::flow_file("interactive-auth.json");
    house.world.server().reload(vec![static_group(), same], now).unwrap();
    assert_eq!(house.world.server().gauges().registrations, 1);
    house.world.server().reload(vec![static_group()], now).unwrap();
    assert_eq!(house.world.server().gauges().registrations, 0);
    house.rests();
}

impl House {
    #[track_caller]
    fn heard_nothing_yet(&self) {
        let events = self.world.phone(ONE).events();
        assert!(events.is_empty(), "{events:?}");
    }
}

#[test]
fn a_late_and_a_repeated_answer_fail_with_invalid_auth_request() {
    let allow = || respond(json!({ "authAction": "allow", "extension": "700" }));
    let again = ("again", node::ACTION, allow().2);
    let late =
        asks("late", trigger("raw", json!({ "authTimeoutSeconds": 1 })), &[waits(2), allow()]);
    let mut house = House::open("none", vec![late]);
    house.registers(ONE, "700", "x");
    house.pass(3_000);
    house.heard(ONE, &PhoneEvent::Registered(403));
    let failures = house.failures();
    assert!(failures.len() == 1 && failures[0].contains("invalid_auth_request"), "{failures:?}");
    house.rests();

    let twice = asks("twice", trigger("raw", json!({})), &[allow(), again]);
    let mut house = House::open("none", vec![twice]);
    house.registers(ONE, "700", "x");
    house.heard(ONE, &PhoneEvent::Registered(200));
    let failures = house.failures();
    assert!(failures.len() == 1 && failures[0].contains("invalid_auth_request"), "{failures:?}");
    house.rests();
}

#[test]
fn raw_requests_are_asked_about_without_a_challenge() {
    let raw = asks(
        "raw",
        trigger("raw", json!({})),
        &[respond(
            json!({ "authAction": "allow", "extension": "={{ $json.raw.to.slice(4).split('@')[0] }}" }),
        )],
    );
    let mut house = House::open("auth_raw", vec![raw]);
    house.registers(ONE, "700", "x");
    house.heard(ONE, &PhoneEvent::Registered(200));
    assert_eq!(house.world.server().switch().extension_targets(0, "700").len(), 1);
    house.close();
}

#[test]
fn a_flow_challenges_and_compares_the_password_of_the_second_request() {
    let action = "={{ $json.auth.username ? 'verify_password' : 'challenge' }}";
    let raw = asks(
        "asks",
        trigger("raw", json!({})),
        &[respond(json!({ "authAction": action, "password": "right", "extension": "700" }))],
    );
    for (password, status) in [("right", 200), ("wrong", 401)] {
        let mut house = House::open("none", vec![raw.clone()]);
        house.registers(ONE, "700", password);
        house.heard(ONE, &PhoneEvent::Registered(status));
        house.rests();
    }
}

#[test]
fn a_no_goes_to_the_next_trigger_only_where_the_author_lets_it() {
    let denies = |continues: bool| {
        let options = json!({ "continueTraversalOnAuthReject": continues });
        let deny = respond(json!({ "authAction": "deny", "statusCode": 480, "reason": "closed" }));
        asks("denies", trigger("digest-first", options), &[deny])
    };
    for (continues, user, status) in [(false, "500", 480), (true, "500", 200), (true, "600", 480)] {
        let mut house = House::open("none", vec![denies(continues), static_group()]);
        house.registers(ONE, user, "secret");
        house.heard(ONE, &PhoneEvent::Registered(status));
        house.rests();
    }
}

#[test]
fn a_prefix_says_which_users_a_trigger_is_asked_about() {
    let options = json!({ "authorizationUsernamePrefix": "n-" });
    let allows = asks(
        "allows",
        trigger("digest-first", options),
        &[respond(json!({ "authAction": "allow" }))],
    );
    let mut house = House::open("none", vec![allows, static_group()]);
    house.registers(ONE, "n-700", "x");
    house.heard(ONE, &PhoneEvent::Registered(200));
    let targets =
        |house: &mut House| house.world.server().switch().extension_targets(0, "700").len();
    assert_eq!(targets(&mut house), 1, "the extension is the name behind the prefix");
    house.registers(TWO, "500", "secret");
    house.heard(TWO, &PhoneEvent::Registered(200));
    house.rests();
}

#[test]
fn a_caller_who_gives_up_while_a_flow_thinks_is_forgotten() {
    let slow = asks(
        "slow",
        trigger("raw", json!({})),
        &[waits(2), respond(json!({ "authAction": "allow", "extension": "700" }))],
    );
    let mut house = House::open("auth_gives_up", vec![slow]);
    house.act(ONE, |phone, now| phone.call("200", server(), now));
    house.pass(1_000);
    assert_eq!(house.world.server().gauges().inquiries, 1);
    house.act(ONE, Phone::hangup);
    house.pass(500);
    assert_eq!(house.world.server().gauges().inquiries, 0);
    house.pass(2_000);
    let failures = house.failures();
    assert!(failures.len() == 1 && failures[0].contains("invalid_auth_request"), "{failures:?}");
    house.close();
}

#[test]
fn an_answer_that_names_no_request_or_nothing_that_is_known_says_so() {
    for (parameters, code) in [
        (json!({ "authAction": "={{ 'perhaps' }}" }), "invalid_request"),
        (json!({ "authAction": "={{ 'verify_password' }}" }), "invalid_request"),
        (json!({ "authAction": "allow", "extension": "a b" }), "invalid_request"),
        (json!({ "authAction": "deny", "statusCode": 200 }), "invalid_request"),
        (json!({ "authAction": "allow" }), "invalid_request"),
    ] {
        let graph = asks(
            "odd",
            trigger("raw", json!({ "authTimeoutSeconds": 1 })),
            &[respond(parameters.clone())],
        );
        let mut house = House::open("none", vec![graph]);
        house.registers(ONE, "a b c", "x");
        house.pass(2_000);
        let failures = house.failures();
        let is_it =
            failures.len() == 1 && failures[0].contains(code) && failures[0].contains("respond");
        assert!(is_it, "{parameters}: {failures:?}");
        house.heard(ONE, &PhoneEvent::Registered(403));
        house.rests();
    }
}
