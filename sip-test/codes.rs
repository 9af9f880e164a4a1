//! The error codes of the telephony nodes (contract §14): what provokes each, and that the author is
//! told node, operation and code. Those of Auth, Recording and the dial guard stand with their stories.

use ringback::call::{Fact, node};
use ringback::flow::Graph;
use ringback::sim::{Party, Phone};
use serde_json::{Value, json};

use crate::story::*;

/// Somebody calls this flow, which fails in the end with this code, at this operation.
#[track_caller]
fn check(flow: Graph, operation: &str, code: &str) {
    let mut story = Story::with_server("none", flow).dial().at(2000);
    let facts = story.world.server().take_facts();
    let error =
        |(_, fact)| if let Fact::RunFailed { error, .. } = fact { Some(error) } else { None };
    let errors = facts.into_iter().filter_map(error).collect::<Vec<_>>();
    let is_it = |error: &String| error.contains(code) && error.contains(operation);
    assert!(errors.len() == 1 && is_it(&errors[0]), "{operation}, {code}: {errors:?}");
    story.act(CALLER, Phone::hangup).rest_of_server();
}

fn on(leg: &str) -> Value {
    json!({ "options": { "legId": leg } })
}

#[test]
fn a_leg_that_ended_between_resolution_and_action_is_an_invalid_leg() {
    let hung_up = |operation: &str, parameters: Value| {
        chain(&[("call.answer", json!({})), ("call.hangup", json!({})), (operation, parameters)])
    };
    check(hung_up("call.answer", json!({})), "call.answer", "invalid_leg");
    check(hung_up("call.ringing", json!({})), "call.ringing", "invalid_leg");
    let record = json!({ "recordFilePath": "x.wav" });
    check(hung_up("recording.start", record), "recording.start", "invalid_leg");
    let digits = json!({ "dtmfDigits": "1" });
    check(hung_up("media.sendDtmf", digits), "media.sendDtmf", "invalid_leg");
}

#[test]
fn what_is_not_there_is_not_found() {
    check(chain(&[("call.answer", on("leg-99-0"))]), "call.answer", "not_found");
    check(chain(&[("call.hangup", on("nonsense"))]), "call.hangup", "not_found");
    let trunk = json!({ "callMode": "trunk", "ref": "nobody", "destination": "030" });
    check(chain(&[("dial.make", trunk)]), "dial.make", "not_found");
    check(chain(&[("queue.putLeg", json!({ "ref": "nobody" }))]), "queue.putLeg", "not_found");
}

#[test]
fn what_is_required_and_missing_is_an_invalid_request() {
    let empty = "={{ '' }}";
    check(
        chain(&[("call.bridge", json!({ "legAId": empty, "legBId": "leg-0-0" }))]),
        "legAId is required",
        "invalid_request",
    );
    check(
        chain(&[("call.bridge", json!({ "legAId": "={{ $json.legId }}", "legBId": empty }))]),
        "legBId is required",
        "invalid_request",
    );
    check(chain(&[("dial.wait", json!({}))]), "dial.wait", "invalid_request");
    check(chain(&[("media.stopMedia", json!({}))]), "media.stopMedia", "invalid_request");
    let tone = json!({ "tone": "custom", "customTone": "loud" });
    check(
        chain(&[("call.answer", json!({})), ("media.playTone", tone)]),
        "Invalid custom tone pattern",
        "invalid_request",
    );
}

#[test]
fn dials_that_are_not_and_destinations_that_cannot_be_say_so() {
    let unknown = json!({ "options": { "dialId": "dial-9-0" } });
    check(chain(&[("dial.break", unknown)]), "dial.break", "invalid_dial");
    for destination in ["={{ ' , ' }}", "sip:a@b", "1\\r\\nX: y"] {
        let trunk = json!({ "callMode": "trunk", "ref": "line", "destination": destination });
        check(chain(&[("dial.make", trunk)]), "dial.make", "invalid_dial_targets");
    }
}

#[test]
fn a_leg_that_is_in_no_queue_has_no_entry() {
    check(chain(&[("queue.setCallback", json!({}))]), "queue.setCallback", "invalid_queue_entry");
    let stats = json!({ "queueStatsTarget": "legId" });
    check(chain(&[("queue.getStats", stats)]), "queue.getStats", "invalid_queue_entry");
}

#[test]
fn only_who_came_by_a_trunk_is_queued() {
    let action = |name: &str, parameters: Value| json!({ "name": name, "type": node::ACTION, "typeVersion": 1, "parameters": parameters });
    let trigger = |name: &str, parameters: Value| json!({ "name": name, "type": node::TRIGGER, "typeVersion": 1, "parameters": parameters });
    let account = json!({ "username": "101", "password": "secret", "extension": "101" });
    let to = |name: &str| json!({ "main": [[{ "node": name, "type": "main", "index": 0 }]] });
    let document = json!({
        "name": "queued",
        "nodes": [
            trigger("office", json!({ "triggerOn": "extensions", "ref": "office",
                                      "staticCredentials": { "item": [account] } })),
            trigger("support", json!({ "triggerOn": "queue", "ref": "support",
                                       "queueExtensions": "101" })),
            action("put", json!({ "operation": "queue.putLeg", "ref": "support" })),
        ],
        "connections": { "office": to("put") },
        "settings": { "executionOrder": "v1" },
    });
    let caller = Party::Phone(Box::new(phone("phone", 2)));
    let house = server(flow_text(&document.to_string()), |_| {});
    let mut story = Story::of("none", vec![caller, house]);
    story.world.with_phone(CALLER, |phone, now| phone.register(address(9), "101", "secret", now));
    let mut story = story.at(500).dial().at(2000);
    let facts = story.world.server().take_facts();
    let failed = |fact: &Fact| {
        matches!(fact, Fact::RunFailed { error, .. }
            if error.contains("invalid_queue_leg") && error.contains("queue.putLeg at node put"))
    };
    assert!(facts.iter().any(|(_, fact)| failed(fact)), "{facts:?}");
    story.act(CALLER, Phone::hangup).rest_of_server();
}
