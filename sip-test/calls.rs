//! Calls of a phone to the server: what a caller can do, and what a bad link does to the signalling.

use std::net::SocketAddr;

use ringback::call::Fact;
use ringback::sim::{Party, Phone};
use ringback::sip::Cause;
use serde_json::json;

use crate::story::*;

/// Whom the caller of these stories calls.
const SERVER: usize = CALLED;

#[test]
fn answered_call() {
    let story = Story::with_server("answered_call", hello()).dial().talking();
    let story = story.at(1500).hears("hello.wav", 0);
    let before = story.world.phone(CALLER).heard().len();
    let story = story.note("phone presses 1").act(CALLER, |phone, now| phone.press("1", now));
    story.ended(Cause::Bye).hears("goodbye.wav", before).end_with_server();
}

#[test]
fn caller_hangs_up_during_the_prompt() {
    let story = Story::with_server("caller_hangs_up_during_the_prompt", hello()).dial();
    story.at(1500).hears("hello.wav", 0).hangup(CALLER).end_with_server();
}

#[test]
fn nobody_presses_a_key() {
    let story = Story::with_server("nobody_presses_a_key", hello()).dial();
    let mut story = story.ended(Cause::Bye);
    let waited = story.world.now().as_millis();
    let prompt = clip("hello.wav").samples().len() as u64 / 8;
    assert!((prompt + 10_000..prompt + 10_200).contains(&waited), "{waited}");
    assert!(!failed(&mut story));
    story.end_with_server();
}

#[test]
fn cancelled_while_ringing() {
    // The flow has not answered when the caller gives up.
    let story = Story::with_server("cancelled_while_ringing", chain(&[]));
    story.dial().at(1000).hangup(CALLER).ended(Cause::Local).end_with_server();
}

#[test]
fn cancel_crosses_the_200() {
    // The flow answers after a second; its 200 leaves at 1.020 s and arrives at 1.040 s.
    let wait = json!({ "timeoutSeconds": 1, "rules": { "item": [] } });
    let late = chain(&[("call.wait", wait), ("call.answer", json!({})), ("call.wait", json!({}))]);
    let story = Story::with_server("cancel_crosses_the_200", late).dial();
    story.at(1030).hangup(CALLER).end_with_server();
}

#[test]
fn lost_invite() {
    let story = Story::with_server("lost_invite", answer_and_wait(60)).lose(CALLER, "INVITE", 2);
    story.dial().talking().at(3000).hangup(CALLER).end_with_server();
}

#[test]
fn lost_200() {
    let story = Story::with_server("lost_200", answer_and_wait(60)).lose(SERVER, "200", 2);
    story.dial().talking().at(4000).hangup(CALLER).end_with_server();
}

#[test]
fn lost_ack() {
    let story = Story::with_server("lost_ack", answer_and_wait(60)).lose(CALLER, "ACK", 2);
    story.dial().at(4000).hangup(CALLER).end_with_server();
}

#[test]
fn never_an_ack() {
    let story = Story::with_server("never_an_ack", answer_and_wait(60)).lose(CALLER, "ACK", 99);
    story.dial().ended(Cause::Bye).end_with_server();
}

#[test]
fn hung_up_by_the_flow_before_the_ack() {
    let flow = chain(&[("call.answer", json!({})), ("call.hangup", json!({}))]);
    let story = Story::with_server("hung_up_by_the_flow_before_the_ack", flow);
    story.lose(CALLER, "ACK", 1).dial().ended(Cause::Bye).end_with_server();
}

#[test]
fn lost_bye_of_the_caller() {
    let story = Story::with_server("lost_bye_of_the_caller", answer_and_wait(60));
    story.lose(CALLER, "BYE", 2).dial().at(1000).hangup(CALLER).end_with_server();
}

#[test]
fn lost_200_of_the_bye() {
    let story = Story::with_server("lost_200_of_the_bye", answer_and_wait(60));
    story.lose(SERVER, "200 BYE", 2).dial().at(1000).hangup(CALLER).end_with_server();
}

#[test]
fn no_common_codec_with_the_server() {
    let caller = phone("phone", 2).speaking(&[]);
    let parties = vec![Party::Phone(Box::new(caller)), server(hello(), |_| {})];
    let story = Story::of("no_common_codec_with_the_server", parties).dial();
    let story = story.ended(Cause::Rejected { status: 488 });
    story.said(SERVER, "488", "Warning: 399 ringback \"no common audio codec\"").end_with_server();
}

#[test]
fn unknown_address() {
    let stranger = SocketAddr::from(([192, 0, 2, 1], 5060));
    let audio = SocketAddr::new(stranger.ip(), 4000);
    let stranger = Phone::new("stranger", stranger, audio, 2);
    let parties = vec![Party::Phone(Box::new(stranger)), server(hello(), |_| {})];
    let story = Story::of("unknown_address", parties).dial();
    story.ended(Cause::Rejected { status: 403 }).end_with_server();
}

#[test]
fn server_full() {
    let server = server(answer_and_wait(60), |config| config.legs_max = 1);
    let second = Party::Phone(Box::new(phone("second", 3)));
    let parties = vec![Party::Phone(Box::new(phone("phone", 2))), server, second];
    let story = Story::of("server_full", parties).dial().talking().dial_from(2).at(1000);
    assert_eq!(story.world.phone(2).gauges().dialogs, 0, "{}", story.world.ladder());
    let story = story.said(SERVER, "503", "Retry-After");
    story.hangup(CALLER).rest_of_server().end(&[CALLER, 2]);
}

#[test]
fn draining() {
    let second = Party::Phone(Box::new(phone("second", 3)));
    let server = server(answer_and_wait(60), |_| {});
    let parties = vec![Party::Phone(Box::new(phone("phone", 2))), server, second];
    let mut story = Story::of("draining", parties).dial().talking().note("ringback drains");
    story.world.server().switch().drain();
    let story = story.dial_from(2).at(1000).said(SERVER, "503", "Retry-After");
    assert!(story.world.phone(CALLER).is_talking(), "calls that are there go on");
    story.hangup(CALLER).rest_of_server().end(&[CALLER, 2]);
}

#[test]
fn hold_and_resume() {
    let story = Story::with_server("hold_and_resume", hello()).dial().talking();
    let heard = |story: &Story| story.world.phone(CALLER).heard().len();
    let story = story.at(1000).note("phone holds").act(CALLER, Phone::hold).at(1200);
    let before = heard(&story);
    let story = story.said(SERVER, "200 INVITE", "a=recvonly").at(2200);
    assert_eq!(heard(&story), before, "a held phone hears nothing");
    let story = story.note("phone resumes").act(CALLER, Phone::resume).at(4000);
    let story = story.said(SERVER, "200 INVITE", "a=sendrecv");
    assert!(heard(&story) > before + 8000, "the prompt goes on: {} {before}", heard(&story));
    story.hangup(CALLER).end_with_server();
}

#[test]
fn delayed_offer() {
    let mut story = Story::with_server("delayed_offer", hello());
    story.world.with_phone(CALLER, |phone, now| {
        phone.call_without_offer("hello", address(9), now);
    });
    let story = story.talking().said(SERVER, "200 INVITE", "m=audio");
    let story = story.at(1500).hears("hello.wav", 0).said(CALLER, "ACK", "m=audio");
    story.hangup(CALLER).end_with_server();
}

#[test]
fn a_flow_that_does_nothing() {
    let story = Story::with_server("a_flow_that_does_nothing", chain(&[])).dial();
    story.ended(Cause::Rejected { status: 480 }).end_with_server();
}

#[test]
fn a_flow_that_answers_and_does_nothing() {
    let flow = chain(&[("call.answer", json!({}))]);
    let story = Story::with_server("a_flow_that_answers_and_does_nothing", flow).dial();
    story.ended(Cause::Bye).end_with_server();
}

#[test]
fn every_message_twice() {
    let story = Story::with_server("every_message_twice", answer_and_wait(2));
    let story = story.double(CALLER, "INVITE", 30).double(SERVER, "200", 30);
    let story = story.double(CALLER, "ACK", 30).double(SERVER, "BYE", 30).double(CALLER, "200", 30);
    story.dial().ended(Cause::Bye).end_with_server();
}

/// Whether a run of the flow ended in an error.
fn failed(story: &mut Story) -> bool {
    let facts = story.world.server().facts();
    facts.iter().any(|(_, fact)| matches!(fact, Fact::RunFailed { .. }))
}
