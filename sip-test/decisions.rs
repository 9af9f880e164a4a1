//! Recordings of calls by decision of a flow: the branch `Recording`, `Respond To Recording`,
//! `recording.start` and `recording.control` (contract §5.5, §10).

use std::io::Cursor;

use ringback::call::{Fact, node};
use ringback::flow::Graph;
use ringback::media::ear;
use ringback::sim::{Party, Phone};
use serde_json::{Value, json};

use crate::story::*;

/// A caller who hums at 400 Hz, and a server with this flow.
fn story(trace: &'static str, number: &str, flow: Graph) -> Story {
    let caller = Party::Phone(Box::new(phone("phone", 2).humming(400).numbered(number)));
    let house = ringback::sim::Server::new(
        address(9),
        ringback::sim::standard_config(address(9)),
        vec![flow],
        prompts(),
        1,
    );
    Story::of(trace, vec![caller, Party::Server(Box::new(house))])
}

/// The channels of a recording, and how long it lasts in milliseconds.
#[track_caller]
fn channels(story: &mut Story, name: &str) -> (Vec<Vec<i16>>, u64) {
    let file = story.world.server().recorded(name);
    let file = file.unwrap_or_else(|| panic!("no file {name}"));
    let mut reader = hound::WavReader::new(Cursor::new(file)).unwrap();
    let spec = reader.spec();
    let count = usize::from(spec.channels);
    let samples = reader.samples::<i16>().map(Result::unwrap).collect::<Vec<_>>();
    let millis = samples.len() as u64 * 1000 / u64::from(spec.sample_rate) / count as u64;
    let channel = |place| samples.iter().skip(place).step_by(count).copied().collect();
    ((0..count).map(channel).collect(), millis)
}

fn failures(story: &mut Story) -> Vec<String> {
    let facts = story.world.server().take_facts();
    let error =
        |(_, fact)| if let Fact::RunFailed { error, .. } = fact { Some(error) } else { None };
    facts.into_iter().filter_map(error).collect()
}

/// A trunk that asks whether to record, whose answer goes through these nodes; calls are answered.
fn asks(seconds: f64, steps: &[(&str, &str, Value)]) -> Graph {
    let node = |name: &str, kind: &str, parameters: &Value| json!({ "name": name, "type": kind, "typeVersion": 1, "parameters": parameters });
    let to = |name: &str| json!([{ "node": name, "type": "main", "index": 0 }]);
    let trigger = json!({
        "triggerOn": "trunk", "ref": "line", "trunkUseRegistration": false,
        "enableCallRecording": true, "options": { "recordResponseTimeoutSeconds": seconds },
    });
    let mut nodes = vec![
        node("line", node::TRIGGER, &trigger),
        node("answer", node::ACTION, &json!({ "operation": "call.answer" })),
        node("wait", node::ACTION, &json!({ "operation": "call.wait" })),
    ];
    let mut connections = json!({
        "line": { "main": [to("answer"), to(steps[0].0)] },
        "answer": { "main": [to("wait")] },
    });
    for (name, kind, parameters) in steps {
        nodes.push(node(name, kind, parameters));
    }
    for pair in steps.windows(2) {
        connections[pair[0].0] = json!({ "main": [to(pair[1].0)] });
    }
    let document = json!({ "name": "asks", "nodes": nodes, "connections": connections,
        "settings": { "executionOrder": "v1" } });
    flow_text(&document.to_string())
}

fn respond(path: &str) -> Value {
    json!({ "resource": "respond", "operation": "respond.toRecord", "recordFilePath": path })
}

fn think(seconds: u32) -> Value {
    json!({ "resume": "timeInterval", "amount": seconds, "unit": "seconds" })
}

const WAIT: &str = "n8n-nodes-base.wait";
const FILE: &str = "19700101-000000-leg-0-0.wav";

#[test]
fn a_call_is_recorded_as_the_flow_decides_in_two_channels_and_with_a_pause() {
    let flow = flow_file("recording-decision.json");
    let story = story("recording_decided", "+4930123456", flow).dial().talking().at(6000);
    let story = story.note("1 pauses").act(CALLER, |phone, now| phone.press("1", now)).at(9000);
    let story = story.note("2 goes on").act(CALLER, |phone, now| phone.press("2", now)).at(11_000);
    let mut story = story.hangup(CALLER).at(12_000);
    let (channels, millis) = channels(&mut story, FILE);
    let [caller, heard] = &channels[..] else { panic!("{} channels", channels.len()) };
    // Eleven seconds of call, less three of pause.
    assert!((7_500..8_500).contains(&millis), "{millis}");
    assert!(ear::power(&caller[1600..], 400.0) > 1e6, "{}", ear::power(caller, 400.0));
    assert!(ear::power(heard, 400.0) < 1e4, "{}", ear::power(heard, 400.0));
    let hello = clip("hello.wav");
    let reference = &hello.samples()[4000..5600];
    let found = ear::find(&heard[..24_000], reference).map_or(0.0, |found| found.coefficient);
    assert!(found > 0.9, "the prompt is in the second channel, likeness {found}");
    assert_eq!(failures(&mut story), Vec::<String>::new());
    story.end_with_server();
}

#[test]
fn who_is_not_to_be_recorded_is_not() {
    let flow = flow_file("recording-decision.json");
    let mut story = story("recording_declined", "+3312345", flow).dial().talking().at(6000);
    // Nothing is there to pause: the flow goes on.
    story = story.act(CALLER, |phone, now| phone.press("1", now)).at(8000).hangup(CALLER).at(9000);
    assert_eq!(story.world.server().recorded(FILE), None);
    story.end_with_server();
}

#[test]
fn late_and_repeated_answers_fail_with_invalid_record_request() {
    let late = [("think", WAIT, think(2)), ("late", node::ACTION, respond("late.wav"))];
    let mut one = story("none", "+49301", asks(1.0, &late)).dial().talking().at(3500);
    let failed = failures(&mut one);
    assert!(failed.len() == 1 && failed[0].contains("invalid_record_request"), "{failed:?}");
    assert_eq!(one.world.server().recorded("late.wav"), None);
    one.hangup(CALLER).rest_of_server();

    let twice = [
        ("first", node::ACTION, respond("twice.wav")),
        ("again", node::ACTION, respond("twice.wav")),
    ];
    let mut two = story("none", "+49301", asks(5.0, &twice)).dial().talking().at(2000);
    let failed = failures(&mut two);
    assert!(failed.len() == 1 && failed[0].contains("invalid_record_request"), "{failed:?}");
    let two = two.hangup(CALLER).rest_of_server();
    let mut two = two;
    assert!(channels(&mut two, "twice.wav").1 > 1500);
}

#[test]
fn a_caller_who_hangs_up_while_the_flow_thinks_is_not_recorded() {
    let slow = [("think", WAIT, think(2)), ("late", node::ACTION, respond("late.wav"))];
    let mut story = story("none", "+49301", asks(5.0, &slow)).dial().talking().at(1000);
    assert_eq!(story.world.server().gauges().record_requests, 1);
    let mut story = story.hangup(CALLER).at(1500);
    assert_eq!(story.world.server().gauges().record_requests, 0);
    let mut story = story.at(4000);
    let failed = failures(&mut story);
    assert!(failed.len() == 1 && failed[0].contains("invalid_record_request"), "{failed:?}");
    story.rest_of_server();
}

/// Contract §2: the hidden handle wins over an id that is written down.
#[test]
fn the_handle_of_an_item_wins_over_a_written_id() {
    let mut wrong = respond("handled.wav");
    wrong["options"] = json!({ "requestId": "record-99-0" });
    let steps = [("record", node::ACTION, wrong)];
    let mut story = story("none", "+49301", asks(5.0, &steps)).dial().talking().at(2000);
    assert_eq!(failures(&mut story), Vec::<String>::new());
    let mut story = story.hangup(CALLER).at(2500);
    assert!(channels(&mut story, "handled.wav").1 > 1000);
    story.rest_of_server();
}

/// Contract §5.5: every field of the branch `Recording`.
#[test]
fn the_branch_recording_says_all_that_is_known_of_the_leg() {
    let all = json!({ "errorMessage": "={{ JSON.stringify($json) }}" });
    let told = [("told", "n8n-nodes-base.stopAndError", all)];
    let mut story = story("none", "+49301", asks(5.0, &told)).dial().talking().at(2000);
    let failed = failures(&mut story).remove(0);
    let json = &failed[failed.find('{').unwrap()..=failed.rfind('}').unwrap()];
    let mut item: Value = serde_json::from_str(json).unwrap();
    let call_id = item["callId"].take();
    assert!(call_id.as_str().is_some_and(|id| id.len() > 8), "{call_id}");
    assert_eq!(
        item,
        json!({ "eventType": "record", "recordRequestId": "record-1-0", "kind": "trunk",
            "ref": "line", "legId": "leg-0-0", "callId": null, "direction": "inbound",
            "from": "sip:+49301@127.0.0.2:5060", "callerNumber": "+49301", "callerName": "",
            "to": "sip:hello@127.0.0.9:5060", "calledNumber": "hello", "calledName": "",
            "extension": "",
            "sipPbx": { "ref": "line", "legId": "leg-0-0", "recordRequestId": "record-1-0" } })
    );
    story.hangup(CALLER).rest_of_server();
}

/// Contract §3: closing a trigger drops what it asks.
#[test]
fn a_trigger_that_goes_asks_nobody_any_more() {
    let slow = [("think", WAIT, think(2)), ("late", node::ACTION, respond("late.wav"))];
    let mut story = story("none", "+49301", asks(5.0, &slow)).dial().talking().at(1000);
    let now = story.world.now();
    story.world.server().reload(vec![answer_and_wait(1)], now).unwrap();
    assert_eq!(story.world.server().gauges().record_requests, 0);
    let mut story = story.at(4000);
    let failed = failures(&mut story);
    assert!(failed.len() == 1 && failed[0].contains("invalid_record_request"), "{failed:?}");
    story.hangup(CALLER).rest_of_server();
}

#[test]
fn the_item_names_both_ends_and_the_run_may_wait_for_the_end() {
    let path = "={{ $json.kind }}-{{ $json.direction }}-{{ $json.callerNumber }}-{{ $json.calledNumber }}.wav";
    let mut waits = respond(path);
    waits["waitForRecordingCompletion"] = true.into();
    let told = "={{ $json.recordRequestId }} {{ $json.active }} {{ $json.filePath }} {{ $json.durationMs > 900 }} {{ $json.bytesProduced > 14000 }}";
    let steps = [
        ("record", node::ACTION, waits),
        ("told", "n8n-nodes-base.stopAndError", json!({ "errorMessage": told })),
    ];
    let mut story = story("none", "+49301", asks(5.0, &steps)).dial().talking().at(1500);
    assert_eq!(failures(&mut story), Vec::<String>::new(), "it waits");
    let mut story = story.hangup(CALLER).at(2500);
    let failed = failures(&mut story);
    let file = "trunk-inbound-+49301-hello.wav";
    assert!(failed[0].contains(&format!("record-1-0 true {file} true true")), "{failed:?}");
    assert!(channels(&mut story, file).1 > 1000);
    story.rest_of_server();
}

#[test]
fn a_recording_that_starts_ends_the_one_before_it() {
    let start = |path: &str| json!({ "recordFilePath": path });
    let flow = chain(&[
        ("call.answer", json!({})),
        ("recording.start", start("one.wav")),
        ("call.wait", json!({ "timeoutSeconds": 1 })),
        ("recording.start", start("two.wav")),
        ("call.wait", json!({ "timeoutSeconds": 30 })),
    ]);
    let mut story = story("none", "+49301", flow).dial().talking().at(3000).hangup(CALLER).at(3500);
    let (one, first) = channels(&mut story, "one.wav");
    let (_, second) = channels(&mut story, "two.wav");
    assert!((900..1200).contains(&first) && (1800..2100).contains(&second), "{first}, {second}");
    assert_eq!(one.len(), 1, "mixed into one channel unless told otherwise");
    story.rest_of_server();
}

#[test]
fn what_cannot_be_recorded_or_paused_says_why() {
    for (operations, code) in [
        (vec![("call.answer", json!({})), ("recording.control", json!({}))], "not_found"),
        (vec![("recording.start", json!({ "recordFilePath": "x.wav" }))], "transport_error"),
        (
            vec![
                ("call.answer", json!({})),
                ("recording.start", json!({ "recordFilePath": "={{ '' }}" })),
            ],
            "invalid_request",
        ),
        (
            vec![
                ("call.answer", json!({})),
                ("respond.toRecord", json!({ "recordFilePath": "x.wav" })),
            ],
            "invalid_request",
        ),
        (
            vec![(
                "respond.toRecord",
                json!({ "recordFilePath": "x.wav", "options": { "requestId": "record-9-0" } }),
            )],
            "invalid_record_request",
        ),
    ] {
        let mut story = story("none", "+49301", chain(&operations)).dial().at(1000);
        let failed = failures(&mut story);
        assert!(failed.len() == 1 && failed[0].contains(code), "{code}: {failed:?}");
        story.act(CALLER, Phone::hangup).rest_of_server();
    }
}

/// Contract §5.5: it is asked about legs that a flow dials too, once they have answered.
#[test]
fn a_leg_that_a_flow_dials_is_asked_about_when_it_answers() {
    let node = |name: &str, kind: &str, parameters: Value| json!({ "name": name, "type": kind, "typeVersion": 1, "parameters": parameters });
    let to = |name: &str| json!([{ "node": name, "type": "main", "index": 0 }]);
    let account = json!({ "username": "101", "password": "secret", "extension": "101" });
    let document = json!({
        "name": "outbound",
        "nodes": [
            node("line", node::TRIGGER, json!({ "triggerOn": "trunk", "ref": "line", "trunkUseRegistration": false })),
            node("office", node::TRIGGER, json!({ "triggerOn": "extensions", "ref": "office",
                "extensionsEnableCallRecording": true, "staticCredentials": { "item": [account] } })),
            node("dial", node::ACTION, json!({ "operation": "dial.make", "callMode": "extension", "extensionNumbers": "101" })),
            node("wait", node::ACTION, json!({ "operation": "dial.wait" })),
            node("stay", node::ACTION, json!({ "operation": "call.wait", "timeoutSeconds": 3 })),
            node("told", "n8n-nodes-base.stopAndError", json!({ "errorMessage": "={{ JSON.stringify($json) }}" })),
        ],
        "connections": {
            "line": { "main": [to("dial")] }, "dial": { "main": [to("wait")] },
            "wait": { "main": [to("stay")] }, "office": { "main": [[], to("told")] },
        },
    });
    let answering = ringback::sim::Answering::After(std::time::Duration::from_secs(1));
    let parties = vec![
        Party::Phone(Box::new(phone("caller", 2))),
        server(flow_text(&document.to_string()), |_| {}),
        Party::Phone(Box::new(phone("desk", 20).answering(answering))),
    ];
    let mut story = Story::of("none", parties);
    story.world.with_phone(2, |desk, now| desk.register(address(9), "101", "secret", now));
    let mut story = story.at(500).dial().at(1000);
    assert_eq!(story.world.server().gauges().record_requests, 0, "it rings");
    let mut story = story.at(2000);
    let failed = failures(&mut story).remove(0);
    let json = &failed[failed.find('{').unwrap()..=failed.rfind('}').unwrap()];
    let item: Value = serde_json::from_str(json).unwrap();
    for (key, value) in [
        ("kind", "extensions"),
        ("ref", "office"),
        ("direction", "outbound"),
        ("from", "n8n"),
        ("extension", "101"),
        ("calledNumber", "101"),
        ("legId", "leg-1-0"),
    ] {
        assert_eq!(item[key], value, "{key}: {item}");
    }
    story.act(CALLER, Phone::hangup).act(2, Phone::hangup).rest_of_server();
}
