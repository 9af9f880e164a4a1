//! Who owns a leg, what ends it, and what becomes of digits and interrupts that nobody waits for
//! (contract §3, §4, §6).

use std::time::Duration;

use ringback::call::Fact;
use ringback::sim::{Answering, Phone, World};
use serde_json::{Value, json};

use crate::payloads::{
    ONE, Step, TWO, Told, answer, dial, hangs_up, nothing, presses, run, say, step, told,
};
use crate::story;

fn wait(more: Value, branches: &'static [&'static str]) -> Step<'static> {
    step("wait", "call.wait", more, branches)
}

fn play(name: &'static str, more: Value, branches: &'static [&'static str]) -> Step<'static> {
    let mut all = json!({ "sourceType": "file", "filePath": "music.wav" });
    all.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
    step(name, "media.playAudio", all, branches)
}

fn background() -> Value {
    json!({ "options": { "mediaExecutionMode": "background" } })
}

fn pause(name: &'static str, seconds: u32, next: &'static [&'static str]) -> Step<'static> {
    (name, json!({ "resume": "timeInterval", "amount": seconds, "unit": "seconds" }), next)
}

/// The reasons of legs that ended, and how long after the beginning, in whole seconds.
fn ends(told: &Told) -> Vec<(String, u64)> {
    let end = |fact: &Fact| {
        let Fact::Ended { reason, lasted_ms, .. } = fact else { return None };
        Some((reason.to_string(), lasted_ms / 1000))
    };
    told.facts.iter().filter_map(|(_, fact)| end(fact)).collect()
}

/// §3: music in background keeps nobody on the line.
#[test]
fn background_media_retains_nobody() {
    let told = run(&[answer(), play("it", background(), &[])], nothing);
    assert_eq!(ends(&told), [("free_ttl".to_owned(), 5)]);
}

/// §3: a bridge retains both legs, and its end hangs up neither: the other falls to its 5 s.
#[test]
fn the_end_of_a_bridge_leaves_the_other_leg_its_time() {
    let steps = bridged(&[("end", json!({ "timeoutSeconds": 0 }), &[])]);
    let told = run(&steps, |world| {
        world.run_for(Duration::from_secs(12));
        assert!(world.phone(story::CALLER).is_talking(), "{}", world.ladder());
        world.with_phone(ONE, Phone::hangup);
        world.run_for(Duration::from_secs(4));
        assert!(world.phone(story::CALLER).is_talking(), "{}", world.ladder());
    });
    let ends = ends(&told);
    assert_eq!(ends[0].0, "remote_hangup");
    assert_eq!(ends[1].0, "free_ttl");
}

/// The caller bridged with 101, and then these waits, by name.
fn bridged<'a>(waits: &[(&'a str, Value, &'a [&'a str])]) -> Vec<Step<'a>> {
    let bridge = json!({
        "legAId": "={{ $('line').item.json.legId }}",
        "legBId": "={{ $('dial').item.json.legId }}",
    });
    let mut steps = vec![
        step("answer", "call.answer", json!({}), &["dial"]),
        step("dial", "dial.make", dial("101"), &["ring"]),
        step("ring", "dial.wait", json!({}), &["bridge"]),
        step("bridge", "call.bridge", bridge, &["end"]),
    ];
    for (name, more, branches) in waits {
        let operation = more.get("operation").and_then(Value::as_str).unwrap_or("call.wait");
        steps.push(step(name, operation, more.clone(), branches));
    }
    steps.push(told());
    steps
}

/// §4, §6.1: what a bridge tells those who wait for it, and §6.2: what nobody selected is gone.
#[test]
fn a_bridge_tells_its_legs_when_it_comes_and_goes() {
    let on = |leg: &str, reason: &str, seconds: u32| {
        json!({ "timeoutSeconds": seconds, "options": { "interruptReasons": [reason] },
                "legIds": { "item": [{ "legId": format!("={{{{ $('{leg}').item.json.legId }}}}") }] } })
    };
    let interrupt = |leg: &str, reason: &str| json!({ "legId": leg, "eventType": "interrupt", "reason": reason });
    let joined = bridged(&[("end", on("line", "call_bridge_joined", 0), &["told"])]);
    assert_eq!(say(&joined, nothing).0, interrupt("leg-0-0", "call_bridge_joined"));

    let gone = on("line", "call_bridge_removed_peer_ended", 20);
    let gone = bridged(&[("end", gone, &["told"])]);
    let hangs_up = |world: &mut World| {
        world.run_for(Duration::from_secs(5));
        world.with_phone(ONE, Phone::hangup);
    };
    assert_eq!(say(&gone, hangs_up).0, interrupt("leg-0-0", "call_bridge_removed_peer_ended"));

    let unbridge = json!({ "operation": "call.unbridge",
                           "options": { "legId": "={{ $('line').item.json.legId }}" } });
    let apart = bridged(&[
        ("end", unbridge, &["wait"]),
        ("wait", on("dial", "call_bridge_removed_unbridge", 0), &["told"]),
    ]);
    assert_eq!(say(&apart, nothing).0, interrupt("leg-1-0", "call_bridge_removed_unbridge"));

    let mut second = dial("102");
    second["operation"] = "dial.make".into();
    let elsewhere = json!({ "operation": "call.bridge",
        "legAId": "={{ $('line').item.json.legId }}",
        "legBId": "={{ $('end').item.json.legId }}" });
    let rebridged = bridged(&[
        ("end", second, &["two"]),
        ("two", json!({ "operation": "dial.wait" }), &["again"]),
        ("again", elsewhere, &["wait"]),
        ("wait", on("dial", "call_bridge_removed_rebridge", 0), &["told"]),
    ]);
    assert_eq!(say(&rebridged, nothing).0, interrupt("leg-1-0", "call_bridge_removed_rebridge"));

    let ignored = json!({ "timeoutSeconds": 0,
        "legIds": { "item": [{ "legId": "={{ $('line').item.json.legId }}" }] } });
    let consumed = bridged(&[
        ("end", ignored, &["wait"]),
        ("wait", on("line", "call_bridge_joined", 0), &["", "told"]),
    ]);
    assert_eq!(say(&consumed, nothing).0, json!({ "legId": "leg-0-0", "eventType": "timeout" }));
}

/// §6.2: of several legs the first event wins; a time-out names the first of the list.
#[test]
fn a_wait_on_several_legs_has_the_first_event() {
    let both = |seconds: u32| {
        let leg = |of: &str| json!({ "legId": format!("={{{{ $('{of}').item.json.legId }}}}") });
        json!({ "timeoutSeconds": seconds, "legIds": { "item": [leg("line"), leg("dial")] } })
    };
    let ended = bridged(&[("end", both(20), &["", "told"])]);
    let first = say(&ended, |world| {
        world.run_for(Duration::from_secs(4));
        world.with_phone(ONE, Phone::hangup);
    });
    assert_eq!(
        first.0,
        json!({ "legId": "leg-1-0", "eventType": "ended", "reason": "remote_hangup" })
    );
    let quiet = bridged(&[("end", both(1), &["told"])]);
    assert_eq!(say(&quiet, nothing).0, json!({ "legId": "leg-0-0", "eventType": "timeout" }));
}

/// §7.3: of several dials too.
#[test]
fn a_wait_on_several_dials_has_the_first_event() {
    let ids = |of: &str| json!({ "dialId": format!("={{{{ $('{of}').item.json.dialId }}}}") });
    let both = json!({ "dialIds": { "item": [ids("dial"), ids("other")] } });
    let steps = [
        pause("think", 2, &["dial"]),
        step("dial", "dial.make", dial("101"), &["other"]),
        step("other", "dial.make", dial("102"), &["it"]),
        step("it", "dial.wait", both, &["told"]),
        told(),
    ];
    let (item, _) = say(&steps, |world| {
        world.with_phone(ONE, |one, _| one.set_answering(Answering::Never));
    });
    assert_eq!(item["dialId"], "dial-1-0");
    let taken = [
        step("dial", "dial.make", dial("101"), &["it"]),
        step("it", "dial.wait", json!({ "dialIds": { "item": vec![ids("dial"); 17] } }), &[]),
    ];
    assert!(failed(&run(&taken, nothing), "invalid_dial_wait"));
    let leg = json!({ "legId": "={{ $json.legId }}" });
    let crowd = [wait(json!({ "legIds": { "item": vec![leg; 17] } }), &[])];
    assert!(failed(&run(&crowd, nothing), "invalid_leg_wait"));
    let stats = json!({ "queueStatsTarget": "={{ 'both' }}" });
    let neither = [step("it", "queue.getStats", stats, &[])];
    assert!(failed(&run(&neither, nothing), "invalid_queue_stats_target"));
}

fn failed(told: &Told, code: &str) -> bool {
    let is_it = |fact: &Fact| matches!(fact, Fact::RunFailed { error, .. } if error.contains(code));
    told.facts.iter().any(|(_, fact)| is_it(fact))
}

/// §3, §6.2: digits pressed before a wait belong to it, unless it clears them.
#[test]
fn digits_wait_for_the_wait_unless_it_clears_them() {
    let collects = |clears: bool| {
        wait(
            json!({ "timeoutSeconds": 1, "waitDtmfFallbackEnabled": true,
                    "options": { "clearDtmfBuffer": clears } }),
            &["told", "told"],
        )
    };
    let pressed = |clears: bool| {
        let steps = [
            step("answer", "call.answer", json!({}), &["think"]),
            pause("think", 3, &["wait"]),
            collects(clears),
            told(),
        ];
        say(&steps, presses("5")).0
    };
    assert_eq!(pressed(false)["digits"], "5");
    assert_eq!(pressed(true)["eventType"], "timeout");
}

/// §3: what blocks and does not listen for digits loses them; what listens leaves the digit that
/// interrupted it to the next wait.
#[test]
fn blocking_media_and_dial_waits_lose_digits_unless_they_listen() {
    let collects =
        || wait(json!({ "timeoutSeconds": 1, "waitDtmfFallbackEnabled": true }), &["told", "told"]);
    let heard = |middle: &[Step<'static>], slow: bool| {
        let mut steps = vec![step("answer", "call.answer", json!({}), &["think"])];
        steps.push(pause("think", 2, &["it"]));
        steps.extend(middle.iter().cloned());
        steps.extend([collects(), told()]);
        say(&steps, |world| {
            if slow {
                world.with_phone(ONE, |one, _| one.set_answering(Answering::Never));
            }
            world.run_for(Duration::from_millis(1_500));
            presses("5")(world);
        })
        .0
    };
    let tone = |listens: Value| {
        let more = json!({ "tone": "custom", "customTone": "400/3000", "interruptOn": listens });
        [step("it", "media.playTone", more, &["wait", "wait"])]
    };
    assert_eq!(heard(&tone(json!([])), false)["eventType"], "timeout");
    assert_eq!(heard(&tone(json!(["dtmf"])), false)["digits"], "5");
    let media_wait = [
        play("it", background(), &["media"]),
        step("media", "media.wait", json!({ "waitMediaTimeoutSeconds": 2 }), &["", "wait"]),
    ];
    assert_eq!(heard(&media_wait, false)["eventType"], "timeout");
    let master = |listens: Value| {
        let more = json!({ "legId": "={{ $('line').item.json.legId }}", "interruptOn": listens,
                           "dialTimeoutSeconds": 3 });
        [
            step("it", "dial.make", dial("101"), &["ring"]),
            step("ring", "dial.wait", more, &["", "back", "back"]),
            step(
                "back",
                "call.answer",
                json!({ "options": { "legId": "={{ $('line').item.json.legId }}" } }),
                &["wait"],
            ),
        ]
    };
    assert_eq!(heard(&master(json!([])), true)["eventType"], "timeout");
    assert_eq!(heard(&master(json!(["dtmf"])), true)["digits"], "5");
}

/// §3: for a while after the end of a leg or a playback, waits on it tell how it ended.
#[test]
fn waits_resolve_for_a_while_after_the_end() {
    let after = [
        step("answer", "call.answer", json!({}), &["it"]),
        step("it", "call.hangup", json!({}), &["wait"]),
        wait(json!({}), &["", "told"]),
        told(),
    ];
    let ended = json!({ "legId": "leg-0-0", "eventType": "ended", "reason": "local_hangup" });
    assert_eq!(say(&after, nothing).0, ended);
    let tone = json!({ "tone": "custom", "customTone": "400/200" });
    let over = [
        answer(),
        step("it", "media.playTone", tone, &["", "media"]),
        step("media", "media.wait", json!({}), &["", "", "told"]),
        told(),
    ];
    assert_eq!(say(&over, nothing).0, json!({ "mediaId": "media-1-0", "legId": "leg-0-0" }));
}

/// §4, §8.5: what was stopped says so, and a playback that stops others is said to do so.
#[test]
fn stopped_media_say_why() {
    let stop = [
        answer(),
        play("it", background(), &["stop"]),
        step("stop", "media.stopMedia", json!({}), &["media"]),
        step("media", "media.wait", json!({}), &["told"]),
        told(),
    ];
    let interrupted = json!({ "mediaId": "media-1-0", "legId": "leg-0-0",
                              "interruptReason": "media_stopped" });
    assert_eq!(say(&stop, nothing).0, interrupted);
    let others =
        json!({ "options": { "mediaExecutionMode": "background", "stopOtherMedia": true } });
    let first = json!({ "mediaIds": { "item": [{ "mediaId": "media-1-0" }] } });
    let replaced = [
        answer(),
        play("it", background(), &["second"]),
        play("second", others, &["media"]),
        step("media", "media.wait", first, &["told"]),
        told(),
    ];
    let interrupted = json!({ "mediaId": "media-1-0", "legId": "leg-0-0",
                              "interruptReason": "media_replaced" });
    assert_eq!(say(&replaced, nothing).0, interrupted);
}

/// §6: hanging up a leg that is an attempt counts as its refusal.
#[test]
fn an_attempt_that_is_hung_up_is_rejected() {
    let steps = [
        step("dial", "dial.make", dial("101"), &["it"]),
        step("it", "call.hangup", json!({}), &["ring"]),
        step("ring", "dial.wait", json!({ "waitEventOutputs": ["rejected"] }), &["told"]),
        told(),
    ];
    let rejected = json!({ "dialId": "dial-0-0", "stillDialingLegCount": 0, "legId": "leg-1-0" });
    assert_eq!(say(&steps, nothing).0, rejected);
}

/// §6.1, I6: bridging an attempt that rings makes it the winner; the others are broken off.
#[test]
fn an_attempt_that_is_bridged_has_won() {
    let bridge = json!({ "legAId": "={{ $('line').item.json.legId }}",
                         "legBId": "={{ $json.legId }}" });
    let steps = [
        step("dial", "dial.make", dial("101, 102"), &["ring"]),
        step("ring", "dial.wait", json!({ "waitEventOutputs": ["ringing"] }), &["bridge"]),
        step("bridge", "call.bridge", bridge, &[]),
    ];
    let told = run(&steps, |world| {
        world.with_phone(TWO, |two, _| two.set_answering(Answering::Never));
        world.run_for(Duration::from_secs(3));
        assert!(world.phone(story::CALLER).is_talking() && world.phone(ONE).is_talking());
        hangs_up(world);
    });
    assert!(ends(&told).iter().any(|(reason, _)| reason == "parallel_loser"), "{:?}", ends(&told));
}

/// §3: the dial of a Dispatch that no wait picks up dies after its 5 s, and the queue tries again.
#[test]
fn a_dispatch_that_nobody_waits_for_is_offered_again() {
    let options = json!({ "retryPauseSeconds": 10 });
    let steps = [
        pause("think", 2, &["put"]),
        step("put", "queue.putLeg", json!({ "ref": "sales", "options": options }), &["stay"]),
        step("stay", "call.wait", json!({ "timeoutSeconds": 25 }), &[]),
        told(),
    ];
    let Told { items, facts, .. } = run(&steps, |world| {
        world.with_phone(ONE, |one, _| one.set_answering(Answering::Never));
    });
    let dials = items.iter().filter_map(|item| item["dialId"].as_str()).collect::<Vec<_>>();
    assert_eq!(dials, ["dial-0-0", "dial-0-1", "dial-0-2"], "{items:?}");
    let ttl = |fact: &Fact| matches!(fact, Fact::Ended { reason, .. } if reason.to_string() == "free_ttl");
    assert!(facts.iter().any(|(_, fact)| ttl(fact)), "{facts:?}");
}
