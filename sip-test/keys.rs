//! Digits that a flow presses, and voices that interrupt it.

use ringback::sim::Party;
use serde_json::json;

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
