//! Call records: what is kept of calls that are over, and how it is shown.

use std::time::Duration;

use ringback::call::record::MESSAGES_MAX;
use ringback::call::show;
use ringback::sim::{Link, Party, World};
use ringback::sip::Cause;
use serde_json::{Value, json};

use crate::queue::{AGENT, CUSTOMER, Centre};
use crate::story::*;

/// The records of a kind, in the order in which they were written.
fn of_kind<'a>(records: &'a [Value], kind: &str) -> Vec<&'a Value> {
    records.iter().filter(|record| record["record"] == kind).collect()
}

#[test]
fn an_answered_call_leaves_its_record_its_ladder_and_its_path() {
    let mut story = Story::with_server("record_call", hello()).dial().talking().at(1500);
    assert_eq!(story.world.server().switch().live_calls(10)[0].get("ended"), None);
    let mut story = story.act(CALLER, |phone, now| phone.press("1", now)).ended(Cause::Bye);
    let live = story.world.server().switch().live_calls(10);
    assert_eq!((live.len(), &live[0]["from"]), (1, &json!("phone")), "kept for late messages");
    assert!(live[0]["lastedMs"].as_u64().unwrap() > 1500, "and over: {live:#?}");
    let whole = story.world.server().switch().live_call(live[0]["call"].as_str().unwrap()).unwrap();
    assert_eq!(whole[0]["ended"], live[0]["ended"]);
    let mut story = story.rest_of_server();
    assert!(story.world.server().switch().live_calls(10).is_empty());
    let records = story.world.server().take_call_records();
    golden("record_call", &show::show(&records));
    let [leg, call] = &records[..] else { panic!("{records:#?}") };
    assert_eq!((&leg["record"], &call["record"]), (&json!("leg"), &json!("call")));
    assert_eq!(leg["call"], call["call"]);
    assert_eq!(call["legs"], json!([leg["leg"]]));
    let known = json!({
        "direction": "inbound", "kind": "trunk", "from": "phone", "to": "hello", "codec": "PCMU",
        "reason": "local_hangup", "began": "1970-01-01T00:00:00.020Z", "flow": "hello",
        "peer": "127.0.0.2:5060", "transport": "UDP",
    });
    for (key, value) in known.as_object().unwrap() {
        assert_eq!(leg[key], *value, "{key}");
    }
    let (lasted, talked) = (leg["lastedMs"].as_u64().unwrap(), leg["talkedMs"].as_u64().unwrap());
    assert!(lasted >= talked && (3000..6000).contains(&talked), "{leg:#}");
    let audio = &leg["audio"];
    assert_eq!((&audio["lost"], &audio["late"]), (&json!(0), &json!(0)));
    assert!(audio["mos"].as_f64().unwrap() > 4.3, "{audio:#}");
    assert!(audio["sent"].as_u64().unwrap() > 100, "{audio:#}");
}

#[test]
fn a_call_that_nobody_answered_has_no_talk_and_no_sound() {
    let story = Story::with_server("cancelled_while_ringing", chain(&[])).dial().at(1000);
    let story = story.hangup(CALLER).ended(Cause::Local);
    let mut story = story.rest_of_server();
    let records = story.world.server().take_call_records();
    let leg = of_kind(&records, "leg")[0];
    assert_eq!(leg["reason"], "cancelled");
    for absent in ["answered", "talkedMs", "audio", "codec", "status"] {
        assert_eq!(leg.get(absent), None, "{absent}");
    }
}

#[test]
fn a_bad_link_is_seen_in_loss_jitter_and_opinion() {
    let tone = json!({ "repeatInfinite": true, "options": { "mediaExecutionMode": "background" } });
    let wait = json!({ "timeoutSeconds": 60 });
    let flow = chain(&[("call.answer", json!({})), ("media.playTone", tone), ("call.wait", wait)]);
    let caller = phone("phone", 2).humming(440);
    let parties = vec![Party::Phone(Box::new(caller)), server(flow, |_| {})];
    let mut world = World::new(3, parties);
    world.set_link(Link {
        delay: Duration::from_millis(20),
        jitter: Duration::from_millis(30),
        loss_percent: 5,
        duplicate_percent: 0,
    });
    world.with_phone(CALLER, |phone, now| phone.call("hello", address(9), now));
    world.run_for(Duration::from_secs(40));
    world.with_phone(CALLER, ringback::sim::Phone::hangup);
    world.run_for(Duration::from_secs(80));
    let records = world.server().take_call_records();
    let audio = &of_kind(&records, "leg")[0]["audio"];
    let number = |key: &str| audio[key].as_f64().unwrap_or_else(|| panic!("{key} of {audio:#}"));
    assert!((3.0..7.0).contains(&number("lossPercent")), "{audio:#}");
    assert!((2.0..20.0).contains(&number("jitterMs")), "{audio:#}");
    assert!((3.0..4.2).contains(&number("mos")), "{audio:#}");
    assert!(number("remoteLost") > 0.0 && number("remoteMos") < 4.3, "{audio:#}");
    assert!((30.0..120.0).contains(&number("roundTripMs")), "{audio:#}");
}

/// SC-24: the call back has a record of its own, which names the call that it continues.
#[test]
fn a_callback_is_a_call_that_continues_the_one_that_asked_for_it() {
    let mut centre = Centre::soundless("record_callback");
    centre.customer_waits();
    centre.pass(5_000);
    centre.customer_presses("1");
    centre.pass(8_000);
    centre.act(CUSTOMER, ringback::sim::Phone::hangup);
    centre.pass(1_000);
    centre.act(AGENT, ringback::sim::Phone::hangup);
    centre.until("the customer is called back", |world| world.phone(CUSTOMER).is_talking());
    centre.pass(3_000);
    centre.act(CUSTOMER, ringback::sim::Phone::hangup);
    centre.pass(60_000);
    assert_server_at_rest(&mut centre.world);
    let records = centre.world.server().take_call_records();
    let calls = of_kind(&records, "call");
    let asked = calls.iter().find(|call| call["legs"] == json!(["leg-2-0"])).unwrap();
    let continues = |call: &&&Value| call["continues"] == asked["call"];
    let kept = calls.iter().find(continues).unwrap_or_else(|| panic!("{calls:#?}"));
    let legs = of_kind(&records, "leg");
    let legs = legs.iter().filter(|leg| leg["call"] == kept["call"]).collect::<Vec<_>>();
    let ends = legs.iter().map(|leg| leg["reason"].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(legs.len(), 3, "the agent, the agent who was slower, and the customer: {ends:?}");
    assert!(ends.contains(&"parallel_loser") && ends.contains(&"remote_hangup"), "{ends:?}");
    // The call and then its legs, as the file is read for `calls show`.
    let whole = std::iter::once(*kept).chain(legs.iter().map(|leg| **leg)).cloned();
    golden("record_callback", &show::show(&whole.collect::<Vec<_>>()));
    assert_eq!(show::list(&calls.into_iter().cloned().collect::<Vec<_>>()).lines().count(), 4);
}

#[test]
fn a_server_that_stops_writes_down_what_goes_on() {
    let mut story = Story::with_server("answered_call", answer_and_wait(60)).dial().talking();
    let server = story.world.server();
    let live = server.switch().live_calls(10)[0]["call"].as_str().unwrap().to_owned();
    assert_eq!(server.switch().live_call(&live).unwrap().len(), 2, "the call and its leg");
    assert_eq!(server.switch().live_call("0-99"), None);
    server.switch().record_all();
    let mut story = story.at(5000);
    let records = story.world.server().take_call_records();
    assert_eq!((of_kind(&records, "leg").len(), of_kind(&records, "call").len()), (1, 1));
    assert_eq!(records[0].get("ended"), None, "it was not over");
}

#[test]
fn a_leg_that_says_no_end_of_messages_has_a_bounded_ladder() {
    let mut story = Story::with_server("answered_call", answer_and_wait(600)).dial().talking();
    for _ in 0..70 {
        story.world.with_phone(CALLER, |phone, now| phone.hold(now));
        story.world.run_for(Duration::from_secs(1));
        story.world.with_phone(CALLER, |phone, now| phone.resume(now));
        story.world.run_for(Duration::from_secs(1));
    }
    let mut story = story.hangup(CALLER).rest_of_server();
    let records = story.world.server().take_call_records();
    let leg = of_kind(&records, "leg")[0];
    assert_eq!(leg["messages"].as_array().unwrap().len(), MESSAGES_MAX);
    assert!(leg["messagesLeftOut"].as_u64().unwrap() > 200, "{}", leg["messagesLeftOut"]);
}
