//! Digits that a flow presses, and voices that interrupt it.

use std::time::Duration;

use ringback::sim::{Answering, Party};
use serde_json::json;

use crate::dials::graph_behind;
use crate::story::*;

/// A flow that presses these keys in a way of its choice, then waits.
fn pressing(keys: &str, method: &str) -> ringback::flow::Graph {
    let options = json!({ "dtmfMethod": method, "dtmfDurationMs": 100, "dtmfGapMs": 80 });
    let press = json!({ "dtmfDigits": keys, "options": options });
    let wait = json!({ "timeoutSeconds": 60 });
    chain(&[("call.answer", json!({})), ("media.sendDtmf", press), ("call.wait", wait)])
}

#[test]
fn a_flow_presses_keys() {
    let story = Story::with_server("keys_pressed", pressing("12#", "auto")).dial().talking();
    let story = story.at(2000);
    assert_eq!(story.world.phone(CALLER).digits(), "12#");
    story.hangup(CALLER).end_with_server();
}

#[test]
fn a_flow_presses_keys_in_the_sound() {
    let story = Story::with_server("keys_in_the_sound", pressing("5", "inband")).dial().talking();
    let story = story.at(1000);
    let phone = story.world.phone(CALLER);
    let tones = [770.0, 1336.0, 697.0, 1209.0];
    let power = tones.map(|hertz| ringback::media::ear::power(phone.heard(), hertz));
    assert!(power[0] > 100.0 * power[2] && power[1] > 100.0 * power[3], "{power:?}");
    assert_eq!(phone.digits(), "", "no events");
    story.hangup(CALLER).end_with_server();
}

#[test]
fn a_voice_interrupts_a_prompt() {
    let prompt = |name: &str, on: &str| json!({ "sourceType": "file", "filePath": name, "interruptOn": [on] });
    let flow = chain(&[
        ("call.answer", json!({})),
        ("media.playAudio", prompt("hello.wav", "voice")),
        ("media.playAudio", prompt("goodbye.wav", "dtmf")),
    ]);
    let caller = Party::Phone(Box::new(phone("phone", 2).humming(400)));
    let story = Story::of("keys_voice_interrupts", vec![caller, server(flow, |_| {})]);
    // The first prompt lasts 4.9 s; the second one is heard whole before that.
    story.dial().talking().at(3500).hears("goodbye.wav", 0).hangup(CALLER).end_with_server();
}

#[test]
fn a_flow_presses_keys_by_info() {
    let story = Story::with_server("keys_by_info", pressing("7#", "info")).dial().talking();
    let story = story.at(2000).said(CALLED, "INFO", "Signal=#");
    assert_eq!(story.world.phone(CALLER).info_digits(), "7#");
    assert_eq!(story.world.phone(CALLER).digits(), "", "no events");
    story.hangup(CALLER).end_with_server();
}

/// The phone that is rung.
const ONE: usize = 2;

/// A caller and a phone, bridged, whose digits go on like this.
fn bridged(trace: &'static str, relay: &str) -> Story {
    let leg = |name: &str| format!("={{{{ $('{name}').item.json.legId }}}}");
    let dial =
        json!({ "operation": "dial.make", "callMode": "extension", "extensionNumbers": "101" });
    let bridge = json!({
        "resource": "call", "operation": "call.bridge", "legAId": leg("line"), "legBId": leg("wait"),
        "options": { "relayDtmf": relay },
    });
    let graph = graph_behind(
        "line",
        &[
            ("answer", json!({ "resource": "call", "operation": "call.answer" }), &["dial"]),
            ("dial", dial, &["wait", ""]),
            (
                "wait",
                json!({ "operation": "dial.wait", "legId": leg("line") }),
                &["bridge", "", "", ""],
            ),
            ("bridge", bridge, &[]),
        ],
    );
    let answers = Answering::After(Duration::from_millis(500));
    let parties = vec![
        Party::Phone(Box::new(phone("caller", 2).humming(400))),
        server(graph, |_| {}),
        Party::Phone(Box::new(phone("one", 3).answering(answers))),
    ];
    let story = Story::of(trace, parties);
    let story = story.act(ONE, |phone, now| phone.register(address(9), "101", "secret", now));
    let story = story.at(100).dial();
    story.until("both talk", |world| world.phone(ONE).is_talking()).at(1500)
}

/// What one phone gets of the keys 5 and 6 that the other presses, by event and by INFO: events,
/// INFO, and whether the tones of a six are in the sound.
fn relayed(trace: &'static str, relay: &str) -> (String, String, bool) {
    let story = bridged(trace, relay).act(CALLER, |phone, now| phone.press("5", now)).at(2500);
    let story = story.act(CALLER, |phone, now| phone.press_by_info('6', now)).at(4000);
    let one = story.world.phone(ONE);
    let (events, info) = (one.digits().to_owned(), one.info_digits().to_owned());
    let heard = &one.heard()[one.heard().len() - 14_000..];
    let six = [770.0, 1477.0].map(|hertz| ringback::media::ear::power(heard, hertz));
    let none = ringback::media::ear::power(heard, 1209.0);
    let has_tones = six.iter().all(|power| *power > 50.0 * none.max(1.0));
    story.hangup(CALLER).hangup(ONE).end(&[CALLER, ONE]);
    (events, info, has_tones)
}

#[test]
fn digits_cross_a_bridge_as_the_flow_says() {
    let is = |events: &str, info: &str, tones| (events.to_owned(), info.to_owned(), tones);
    assert_eq!(relayed("keys_relay_auto", "auto"), is("56", "", false));
    assert_eq!(relayed("keys_relay_events", "rfc2833"), is("56", "", false));
    assert_eq!(relayed("keys_relay_info", "info"), is("", "56", false));
    assert_eq!(relayed("keys_relay_sound", "inband"), is("", "", true));
    assert_eq!(relayed("keys_relay_disabled", "disabled"), is("", "", false));
}

/// Music in background, and a wait for it: the first digit ends both, and is there for the wait
/// after them.
#[test]
fn media_in_background_is_waited_for() {
    let play = |name: &str, on: &[&str]| {
        json!({ "sourceType": "file", "filePath": name, "interruptOn": on,
                "options": { "mediaExecutionMode": "background" } })
    };
    let wait = |seconds: u32| json!({ "waitMediaTimeoutSeconds": seconds });
    let told = |label: &str| json!({ "operation": "media.sendDtmf", "dtmfDigits": label });
    let media = |parameters: serde_json::Value, operation: &str| {
        let mut parameters = parameters;
        parameters["operation"] = operation.into();
        parameters
    };
    // Each branch presses its own key: 1 interrupted, 2 timed out, 3 completed.
    let graph = graph_behind(
        "line",
        &[
            ("answer", json!({ "resource": "call", "operation": "call.answer" }), &["hello"]),
            ("hello", media(play("hello.wav", &["dtmf"]), "media.playAudio"), &["short"]),
            ("short", media(wait(1), "media.wait"), &["i1", "t1", "c1"]),
            ("t1", told("2"), &["long"]),
            (
                "long",
                json!({ "operation": "media.wait", "waitMediaTimeoutSeconds": 30,
            "mediaIds": { "item": [{ "mediaId": "={{ $('hello').item.json.mediaId }}" }] } }),
                &["i2", "", ""],
            ),
            ("i2", told("1"), &["goodbye"]),
            ("goodbye", media(play("goodbye.wav", &[]), "media.playAudio"), &["whole"]),
            ("whole", media(wait(30), "media.wait"), &["", "", "c3"]),
            ("c3", told("3"), &["late"]),
            // It has been over for a second: that is still known.
            (
                "late",
                json!({ "operation": "media.wait",
            "mediaIds": { "item": [{ "mediaId": "={{ $('goodbye').item.json.mediaId }}" }] } }),
                &["", "", "c4"],
            ),
            ("c4", told("3"), &["end"]),
            (
                "end",
                json!({ "operation": "call.wait", "timeoutSeconds": 30,
            "rules": { "item": [{ "pattern": "9", "label": "nine" }] } }),
                &["", "", "hangup"],
            ),
            ("i1", told("#"), &[]),
            ("c1", told("#"), &[]),
            ("hangup", json!({ "operation": "call.hangup" }), &[]),
        ],
    );
    let story = Story::with_server("media_waited_for", graph).dial().talking().at(2500);
    assert_eq!(story.world.phone(CALLER).digits(), "2", "the music goes on");
    let story = story.act(CALLER, |phone, now| phone.press("9", now)).at(3500);
    assert_eq!(story.world.phone(CALLER).digits(), "21", "and ends with a digit");
    let story = story.at(9000);
    assert_eq!(story.world.phone(CALLER).digits(), "2133");
    story.hangup(CALLER).end_with_server();
}
