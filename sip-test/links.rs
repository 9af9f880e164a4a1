//! Twenty callers at once on bad links: whatever is lost, doubled or overtaken, every call ends and
//! nothing is left.

use std::time::Duration;

use ringback::base::{Rng, Tick};
use ringback::sim::{Link, Party, Phone, PhoneEvent, World};
use ringback::sip::Gauges;
use serde_json::json;

use crate::story::*;

/// Callers of one world.
const CALLERS: usize = 20;
/// When the last call is over at the latest: dialled within 3 s, 2 s of sound, 2 s of waiting, a
/// lost 200 or ACK, a lost BYE.
const OVER: Duration = Duration::from_secs(75);

#[test]
fn a_good_link() {
    (1..=4).for_each(|seed| all_calls_end(seed, 0, 0));
}

#[test]
fn a_link_that_jitters_and_doubles() {
    (1..=6).for_each(|seed| all_calls_end(seed, 0, 5));
}

#[test]
fn a_link_that_loses_one_in_a_hundred() {
    (1..=8).for_each(|seed| all_calls_end(seed, 1, 5));
}

#[test]
fn a_link_that_loses_one_in_twenty() {
    (1..=8).for_each(|seed| all_calls_end(seed, 5, 5));
}

#[test]
fn a_link_that_loses_one_in_five() {
    (1..=16).for_each(|seed| all_calls_end(seed, 20, 5));
}

/// What a caller does after it has dialled.
#[derive(Clone, Copy, Debug)]
enum Does {
    Hangup,
    Press,
}

fn all_calls_end(seed: u64, loss_percent: u8, duplicate_percent: u8) {
    let sentence = json!({ "sourceType": "file", "filePath": "goodbye.wav" });
    let rules = json!({ "item": [{ "pattern": "1", "label": "one" }] });
    let wait = json!({ "timeoutSeconds": 2, "rules": rules });
    let flow = chain(&[
        ("call.answer", json!({})),
        ("media.playAudio", sentence),
        ("call.wait", wait),
        ("call.hangup", json!({})),
    ]);
    let mut parties = vec![server(flow, |_| {})];
    parties
        .extend((0..CALLERS).map(|index| {
            Party::Phone(Box::new(phone(&format!("phone{index}"), 10 + index as u8)))
        }));
    let mut world = World::new(seed, parties);
    world.set_link(Link {
        delay: Duration::from_millis(20),
        jitter: Duration::from_millis(60),
        loss_percent,
        duplicate_percent,
    });
    play(&mut world, Rng::new(seed));
    let over = world.now() + OVER;
    world.run_until(over, |_| false);
    let told = format!("seed {seed}, loss {loss_percent} %");
    for index in 1..=CALLERS {
        let phone = world.phone(index);
        let last = phone.events().last().map(|(_, event)| event);
        let name = phone.name();
        assert!(matches!(last, Some(PhoneEvent::Ended(_))), "{told}: {name} {last:?}");
    }
    let has_talked = |index: &usize| {
        world.phone(*index).events().iter().any(|(_, event)| *event == PhoneEvent::Talking)
    };
    let talked = (1..=CALLERS).filter(has_talked).count();
    assert!(talked > CALLERS / 2, "{told}: only {talked} calls were answered");
    world.run_for(OVER);
    for index in 1..=CALLERS {
        let phone = world.phone(index);
        assert_eq!(phone.gauges(), Gauges::default(), "{told}: {}", phone.name());
    }
    assert_server_at_rest(&mut world);
}

/// Everybody dials within three seconds; some press a digit, some hang up, whenever they like.
fn play(world: &mut World, mut rng: Rng) {
    let mut deeds = Vec::new();
    for index in 1..=CALLERS {
        let dials = Tick::from_millis(rng.below(3000));
        deeds.push((dials, index, None));
        let later = dials + Duration::from_millis(rng.below(6000));
        match rng.below(3) {
            0 => deeds.push((later, index, Some(Does::Hangup))),
            1 => deeds.push((later, index, Some(Does::Press))),
            _ => {} // Waits until the server hangs up.
        }
    }
    deeds.sort_by_key(|(at, index, _)| (*at, *index));
    for (at, index, does) in deeds {
        world.run_for(at - world.now());
        world.with_phone(index, |phone: &mut Phone, now| match does {
            None => phone.call("hello", address(9), now),
            Some(Does::Hangup) => phone.hangup(now),
            Some(Does::Press) => phone.press("1", now),
        });
    }
}
