//! Recordings of a leg, by `media.recordAudio`: what is in the file, and what ends it.

use std::time::Duration;

use ringback::base::Tick;
use ringback::flow::Graph;
use ringback::media::{Clip, ear};
use ringback::sim::{Party, PhoneEvent};
use serde_json::{Value, json};

use crate::story::*;

/// A flow that answers, records, and then says which branch it took: hello when the recording was
/// completed, goodbye when it was interrupted, and five digits pressed when it failed.
fn recording(parameters: Value) -> Graph {
    let mut record = json!({
        "resource": "media", "operation": "media.recordAudio", "recordOutputType": "file",
        "recordFilePath": "box/1.wav", "maxDurationSeconds": 2,
    });
    record.as_object_mut().unwrap().extend(parameters.as_object().unwrap().clone());
    let action = |name: &str, parameters: Value| {
        json!({ "name": name, "type": "n8n-nodes-sip-pbx.sipPbx", "typeVersion": 1,
                "parameters": parameters })
    };
    let play = |file: &str| json!({ "operation": "media.playAudio", "sourceType": "file", "filePath": file });
    let nodes = json!([
        { "name": "line", "type": "n8n-nodes-sip-pbx.sipPbxTrigger", "typeVersion": 1,
          "parameters": { "triggerOn": "trunk", "ref": "line", "trunkUseRegistration": false } },
        action("answer", json!({ "operation": "call.answer" })),
        action("record", record),
        { "name": "failed", "type": "n8n-nodes-base.if", "typeVersion": 2.2, "parameters": {
            "conditions": { "options": { "version": 2, "caseSensitive": true, "typeValidation": "loose" },
                "combinator": "and", "conditions": [{ "id": "1",
                "leftValue": "={{ $json.failed === true }}", "rightValue": "",
                "operator": { "type": "boolean", "operation": "true", "singleValue": true } }] } } },
        action("press", json!({ "operation": "media.sendDtmf", "dtmfDigits": "={{ $json.legId ? '99' : '' }}" })),
        action("hello", play("hello.wav")),
        action("goodbye", play("goodbye.wav")),
        action("wait", json!({ "operation": "call.wait", "timeoutSeconds": 30,
            "rules": { "item": [{ "pattern": "5", "label": "five" }] } })),
        action("hang up", json!({ "operation": "call.hangup" })),
    ]);
    let to = |name: &str| json!([{ "node": name, "type": "main", "index": 0 }]);
    let connections = json!({
        "line": { "main": [to("answer")] },
        "answer": { "main": [to("record")] },
        "record": { "main": [to("goodbye"), to("failed")] },
        "failed": { "main": [to("press"), to("hello")] },
        "goodbye": { "main": [to("wait"), to("wait")] },
        "wait": { "main": [to("hang up")] },
        "press": { "main": [to("wait")] },
    });
    let document = json!({ "name": "record", "nodes": nodes, "connections": connections,
        "settings": { "executionOrder": "v1" } });
    flow_text(&document.to_string())
}

/// A phone that hums at 400 Hz calls a server with this flow.
fn story(trace: &'static str, parameters: Value) -> Story {
    let caller = Party::Phone(Box::new(phone("phone", 2).humming(400)));
    Story::of(trace, vec![caller, server(recording(parameters), |_| {})])
}

/// The recording, which lasts so many milliseconds and in which the caller hums.
fn check(story: &mut Story, name: &str, millis: u64) -> Clip {
    let file = story.world.server().recorded(name).expect("a file");
    let clip = Clip::from_wav(file).unwrap();
    let lasts = clip.duration().abs_diff(Duration::from_millis(millis));
    assert!(lasts <= Duration::from_millis(60), "{:?}", clip.duration());
    // The jitter buffer fills at first.
    let sound = &clip.samples()[1600..];
    assert!(ear::power(sound, 400.0) > 1e6, "{}", ear::power(sound, 400.0));
    assert!(ear::power(sound, 700.0) < 1e4);
    clip
}

#[test]
fn a_message_is_recorded_for_as_long_as_it_may_last() {
    let mut story = story("recording_completed", json!({})).dial().talking().at(4000);
    check(&mut story, "box/1.wav", 2000);
    story.hears("hello.wav", 0).hangup(CALLER).end_with_server();
}

#[test]
fn a_digit_ends_a_recording_and_stays_for_the_wait() {
    let flow = json!({ "interruptOn": ["dtmf"], "maxDurationSeconds": 60,
        "options": { "recordWavSampleRate": 16_000, "recordWavBitDepth": 24 } });
    let mut story = story("recording_digit", flow).dial().talking().at(1500);
    story = story.act(CALLER, |phone, now| phone.press("5", now)).at(3000);
    check(&mut story, "box/1.wav", 1500);
    // Goodbye lasts 2.3 s; the wait after it finds the five.
    story
        .hears("goodbye.wav", 0)
        .until("the server hangs up", |world| !world.phone(CALLER).is_in_call())
        .end_with_server();
}

#[test]
fn silence_ends_a_recording_and_a_voice_does_not() {
    let flow = json!({ "interruptOn": ["silence"], "maxDurationSeconds": 1,
        "options": { "silenceDurationMs": 700 } });
    let mut humming = story("recording_no_silence", flow.clone()).dial().talking().at(2500);
    check(&mut humming, "box/1.wav", 1000);
    humming.hears("hello.wav", 0).hangup(CALLER).end_with_server();

    let mut quiet = Story::with_server("recording_silence", recording(flow)).dial().talking();
    quiet = quiet.at(2500);
    let file = quiet.world.server().recorded("box/1.wav").expect("a file");
    let lasts = Clip::from_wav(file).unwrap().duration();
    assert!(lasts.abs_diff(Duration::from_millis(700)) <= Duration::from_millis(60), "{lasts:?}");
    quiet.hears("goodbye.wav", 0).hangup(CALLER).end_with_server();
}

#[test]
fn what_a_caller_said_before_he_hung_up_is_kept() {
    let flow = json!({ "maxDurationSeconds": 60 });
    let mut story = story("recording_hung_up", flow).dial().talking().at(1200).hangup(CALLER);
    story = story.at(1500);
    check(&mut story, "box/1.wav", 1200);
    story.end_with_server();
}

#[test]
fn a_full_disk_ends_the_recording_and_never_the_call() {
    let mut story = story("recording_disk_full", json!({}));
    story.world.server().set_disk_room(8000);
    let mut story = story.dial().talking().at(3000);
    assert_eq!(story.world.phone(CALLER).digits(), "99", "the flow knows that it failed");
    assert!(story.world.server().recorded("box/1.wav").is_none());
    let failed = |fact: &ringback::call::Fact| matches!(fact, ringback::call::Fact::RecordingFailed { target, .. } if target == "box/1.wav");
    assert!(story.world.server().facts().iter().any(|(_, fact)| failed(fact)));
    assert!(story.world.phone(CALLER).is_talking());
    story.hangup(CALLER).end_with_server();
}

#[test]
fn a_recording_in_background_is_stopped_by_its_leg_and_goes_to_another_server() {
    let record = json!({
        "recordOutputType": "http", "recordHttpUrl": "https://store.test/box?key=1",
        "maxDurationSeconds": 60, "options": { "mediaExecutionMode": "background" },
    });
    let flow = chain(&[
        ("call.answer", json!({})),
        ("media.recordAudio", record),
        ("call.wait", json!({ "timeoutSeconds": 2 })),
        ("media.stopMedia", json!({ "stopMediaTarget": "legId" })),
        ("call.wait", json!({ "timeoutSeconds": 30 })),
    ]);
    let caller = Party::Phone(Box::new(phone("phone", 2).humming(400)));
    let story = Story::of("recording_in_background", vec![caller, server(flow, |_| {})]);
    let mut story = story.dial().talking().at(4000);
    check(&mut story, "https://store.test", 2000);
    story.hangup(CALLER).end_with_server();
}

/// What was recorded into the item is played from it: the caller hears his own hum.
#[test]
fn a_recording_in_an_item_is_played_from_it() {
    let record = json!({
        "recordOutputType": "binary", "recordBinaryProperty": "message", "maxDurationSeconds": 60,
        "interruptOn": ["dtmf"],
    });
    let play = json!({
        "sourceType": "binary", "binaryProperty": "message",
        "options": { "mediaExecutionMode": "background" },
    });
    let flow = chain(&[
        ("call.answer", json!({})),
        ("media.recordAudio", record),
        ("media.playAudio", play),
        ("call.wait", json!({ "timeoutSeconds": 30, "options": { "clearDtmfBuffer": true } })),
    ]);
    let caller = Party::Phone(Box::new(phone("phone", 2).humming(400)));
    let story = Story::of("recording_in_an_item", vec![caller, server(flow, |_| {})]);
    let story = story.dial().talking().at(2000);
    let story = story.act(CALLER, |phone, now| phone.press("1", now)).at(5000);
    let heard = story.world.phone(CALLER).heard();
    assert!(ear::power(&heard[2000..14_000], 400.0) > 1e6);
    story.hangup(CALLER).end_with_server();
}

/// While a server that has nothing lets a flow wait, its caller hears no noise, and another caller
/// hears his prompt without a gap.
#[test]
fn a_source_that_takes_its_time_slows_nobody() {
    let (dead, well) = ("https://tts.test/dead", "https://tts.test/hello");
    let url = "={{ 'https://tts.test/' + $('line').first().json.calledNumber }}";
    let flow = chain(&[
        ("call.answer", json!({})),
        ("media.playAudio", json!({ "sourceType": "http", "playbackHttpUrl": url })),
        ("call.hangup", json!({})),
    ]);
    let config = ringback::sim::standard_config(address(9));
    let clips = [(well.to_owned(), clip("hello.wav"))].into();
    let server = ringback::sim::Server::new(address(9), config, vec![flow], clips, 1)
        .with_slow_sound(dead, Duration::from_secs(4));
    let (slow, other) = (phone("slow", 2), phone("other", 3));
    let mut parties: Vec<_> = [slow, other].map(|phone| Party::Phone(Box::new(phone))).into();
    parties.push(Party::Server(Box::new(server)));
    let mut story = Story::of("a_slow_source", parties);
    story.world.with_phone(0, |phone, now| phone.call("dead", address(9), now));
    story.world.with_phone(1, |phone, now| phone.call("hello", address(9), now));
    let story = story.at(3900);
    assert!(story.world.phone(0).heard().iter().all(|sample| sample.abs() < 100));
    let prompt = clip("hello.wav");
    // Three seconds in one piece.
    let heard = ear::find(story.world.phone(1).heard(), &prompt.samples()[..24_000]);
    let heard = heard.expect("a prompt");
    assert!(heard.coefficient > 0.999, "likeness {}", heard.coefficient);
    // The call whose prompt could not be had leaves by Completed, behind which nothing is drawn.
    let story = story.until("the call is over", |world| {
        world.phone(0).events().iter().any(|(_, event)| matches!(event, PhoneEvent::Ended(_)))
    });
    assert!(story.world.now() >= Tick::from_millis(4000));
    story.rest_of_server().end(&[0, 1]);
}

/// A prompt of another server is heard; one that is not there leaves by the regular branch.
#[test]
fn a_prompt_comes_from_another_server_or_does_not() {
    let play = |url: &str| {
        json!({ "sourceType": "http", "playbackHttpUrl": url,
                "options": { "mediaExecutionMode": "background" } })
    };
    let flow = chain(&[
        ("call.answer", json!({})),
        ("media.playAudio", play("https://tts.test/nothing?key=secret")),
        ("media.playAudio", play("https://tts.test/hello")),
        ("call.wait", json!({ "timeoutSeconds": 30 })),
    ]);
    let config = ringback::sim::standard_config(address(9));
    let clips = [("https://tts.test/hello".to_owned(), clip("hello.wav"))].into();
    let server = ringback::sim::Server::new(address(9), config, vec![flow], clips, 1);
    let parties = vec![Party::Phone(Box::new(phone("phone", 2))), Party::Server(Box::new(server))];
    let mut story = Story::of("prompt_by_http", parties).dial().talking().at(2500);
    let is_told = |fact: &ringback::call::Fact| matches!(fact, ringback::call::Fact::ClipFailed { path, .. } if path == "https://tts.test");
    assert!(story.world.server().facts().iter().any(|(_, fact)| is_told(fact)));
    story.hears("hello.wav", 0).hangup(CALLER).end_with_server();
}
