//! Crashes in the middle of a callback: the next server takes back what the last one left behind,
//! counts it, and calls the customer again in his turn.

use std::time::Duration;

use ringback::call::Fact;
use ringback::promise::{Outcome, Record};
use ringback::sim::{Answering, Meddling, Phone, PhoneEvent};
use ringback::sip::Cause;

use crate::queue::{AGENT, CUSTOMER, Centre, SERVER, ended};

/// The customer has asked to be called back and hung up; the agents are free, and one answers.
fn agent_answers_for_a_callback(trace: &'static str) -> Centre {
    let mut centre = Centre::open(trace);
    centre.customer_asks_and_leaves();
    centre.act(AGENT, Phone::hangup);
    centre
}

/// How the attempts in the journal ended.
fn outcomes(centre: &mut Centre) -> Vec<Outcome> {
    let journal = centre.world.server().journal();
    let outcome = |record: Record| {
        if let Record::AttemptEnded { outcome, .. } = record { Some(outcome) } else { None }
    };
    journal.records.into_iter().filter_map(|(_, record)| outcome(record)).collect()
}

/// The pause of an unknown outcome is over, the agent is there, and the customer is called again.
fn called_again_in_his_turn(mut centre: Centre) {
    let died = centre.world.now();
    let talks = |centre: &Centre| {
        let events = centre.world.phone(CUSTOMER).events().iter();
        events.filter(|(_, event)| *event == PhoneEvent::Talking).count()
    };
    let before = talks(&centre);
    centre.act(AGENT, Phone::hangup);
    centre.act(CUSTOMER, Phone::hangup);
    centre.pass(1_000);
    centre.act(CUSTOMER, |phone, _| phone.set_answering(Answering::After(Duration::from_secs(1))));
    centre.customer_registers();
    centre.agent_comes();
    centre.pass(290_000);
    assert_eq!(talks(&centre), before, "never redialled at once:\n{}", centre.world.ladder());
    centre.until("the customer talks", |world| world.phone(CUSTOMER).is_talking());
    assert!(centre.world.now() - died >= Duration::from_secs(300));
    centre.both_hear_each_other();
    centre.pass(1_000);
    assert_eq!(outcomes(&mut centre), [Outcome::Unknown, Outcome::Reached]);
    assert_eq!(centre.world.server().gauges().promises, 0);
    centre.close();
}

fn is_taken_back(centre: &mut Centre) -> Option<bool> {
    let facts = centre.world.server().facts().iter();
    let certain = |fact: &Fact| {
        if let Fact::AttemptTakenBack { is_certain, .. } = fact { Some(*is_certain) } else { None }
    };
    facts.rev().find_map(|(_, fact)| certain(fact))
}

/// A2: nobody has been dialled yet when the server dies. The promise is in the queue again, and is
/// kept as soon as an agent is there.
#[test]
fn a_crash_while_the_promise_waits() {
    let mut centre = Centre::open("crash_while_the_promise_waits");
    centre.customer_asks_and_leaves();
    centre.dies();
    centre.act(AGENT, Phone::hangup);
    centre.pass(1_000);
    centre.customer_registers();
    centre.agent_comes();
    centre.until("the customer talks", |world| world.phone(CUSTOMER).is_talking());
    centre.both_hear_each_other();
    centre.act(CUSTOMER, Phone::hangup);
    centre.pass(60_000);
    assert_eq!(outcomes(&mut centre), [Outcome::Reached]);
    assert_eq!(centre.world.server().gauges().promises, 0);
    // Also the call that put the promise into the queue again, which has no leg, is over.
    let records = centre.world.server().take_call_records();
    let calls = records.iter().filter(|record| record["record"] == "call").collect::<Vec<_>>();
    assert!(calls.len() == 2 && calls.iter().all(|call| call.get("ended").is_some()), "{calls:#?}");
    centre.close();
}

/// I4, A1, SC-34: the attempt is on disk, and the server dies before its INVITE leaves. The trunk
/// knows of no such call, and says so.
#[test]
fn a_crash_before_the_invite_left() {
    let mut centre = agent_answers_for_a_callback("crash_before_the_invite");
    centre.until("the agent talks", |world| world.phone(AGENT).is_talking());
    // Of the attempt only its record is there: the INVITE is lost, as if it had never left.
    centre.world.meddle(SERVER, "INVITE", 1, Meddling::Lose);
    centre.pass(100);
    centre.dies();
    centre.pass(1_000);
    assert_eq!(is_taken_back(&mut centre), Some(true), "{}", centre.world.ladder());
    called_again_in_his_turn(centre);
}

/// A1, SC-34: the server dies while the customer's phone rings: the next one makes it stop.
#[test]
fn a_crash_while_the_customer_rings() {
    let mut centre = agent_answers_for_a_callback("crash_while_ringing");
    centre.act(CUSTOMER, |phone, _| phone.set_answering(Answering::Never));
    centre.until("the agent talks", |world| world.phone(AGENT).is_talking());
    centre.pass(3_000);
    centre.dies();
    centre.pass(1_000);
    assert_eq!(ended(&centre.world, CUSTOMER, Cause::Cancelled), 1, "{}", centre.world.ladder());
    assert_eq!(is_taken_back(&mut centre), Some(true));
    called_again_in_his_turn(centre);
}

/// SC-34: the server dies after the answer is on disk and before anybody is connected: BYE.
#[test]
fn a_crash_after_the_answer() {
    let mut centre = agent_answers_for_a_callback("crash_after_the_answer");
    centre.until("the agent talks", |world| world.phone(AGENT).is_talking());
    // The flow does not hear of the answer any more.
    centre.pass(500);
    centre.world.server().set_flow_delay(Duration::from_secs(5));
    centre.until("the customer talks", |world| world.phone(CUSTOMER).is_talking());
    centre.pass(100);
    centre.dies();
    centre.pass(1_000);
    assert_eq!(ended(&centre.world, CUSTOMER, Cause::Bye), 1, "{}", centre.world.ladder());
    assert_eq!(is_taken_back(&mut centre), Some(true));
    called_again_in_his_turn(centre);
}

/// SC-34: the server dies with the answer heard and not on disk: what rang is known, so its dialog
/// gets a BYE too, and the customer does not stay on a call with nobody.
#[test]
fn a_crash_before_the_answer_was_on_disk() {
    let mut centre = agent_answers_for_a_callback("crash_before_the_answer_was_on_disk");
    centre.until("the agent talks", |world| world.phone(AGENT).is_talking());
    centre.pass(500);
    centre.world.server().set_disk_delay(Duration::from_secs(5));
    centre.until("the customer talks", |world| world.phone(CUSTOMER).is_talking());
    centre.pass(1_000);
    let bridged = centre.world.server().media_gauges().legs_bridged;
    assert_eq!(bridged, 0, "no agent is attached before the answer is on disk");
    centre.dies();
    centre.pass(1_000);
    assert_eq!(ended(&centre.world, CUSTOMER, Cause::Bye), 1, "{}", centre.world.ladder());
    called_again_in_his_turn(centre);
}

/// QC-17, SC-29: the agent hangs up in the moment in which the customer answers. Nobody was
/// connected, so the promise stands, and the customer is called again a minute later. FR-61, of
/// attempts: each is in the journal with its outcome.
#[test]
fn an_agent_who_hangs_up_as_the_customer_answers() {
    let mut centre = agent_answers_for_a_callback("queue_agent_gone_as_the_customer_answers");
    centre.until("the agent talks", |world| world.phone(AGENT).is_talking());
    centre.pass(500);
    centre.world.server().set_flow_delay(Duration::from_millis(50));
    centre.until("the customer talks", |world| world.phone(CUSTOMER).is_talking());
    centre.world.note("the agent hangs up before they are connected");
    centre.act(AGENT, Phone::hangup);
    centre.pass(2_000);
    assert_eq!(outcomes(&mut centre), [Outcome::Unconnected], "{}", centre.world.ladder());
    assert_eq!(centre.world.server().gauges().promises, 1, "the promise stands");
    centre.world.server().set_flow_delay(Duration::ZERO);
    centre.until("the customer talks again", |world| world.phone(CUSTOMER).is_talking());
    centre.both_hear_each_other();
    centre.pass(1_000);
    assert_eq!(outcomes(&mut centre), [Outcome::Unconnected, Outcome::Reached]);
    centre.close();
}

/// QC-17, A10, I2: the agent has answered for a live caller who asked to be called back; he hangs
/// up before they are bridged, and is called back, once.
#[test]
fn a_caller_who_hangs_up_between_the_agents_answer_and_the_bridge() {
    let mut centre = Centre::open("queue_hangup_after_the_agents_answer");
    centre.customer_waits();
    centre.customer_presses("1");
    centre.pass(7_000);
    centre.act(AGENT, Phone::hangup);
    centre.pass(1_000);
    centre.world.server().set_flow_delay(Duration::from_millis(50));
    centre.until("the agent talks", |world| world.phone(AGENT).is_talking());
    centre.world.note("the customer hangs up before they are bridged");
    centre.act(CUSTOMER, Phone::hangup);
    centre.pass(200);
    centre.until("the customer talks", |world| world.phone(CUSTOMER).is_talking());
    centre.both_hear_each_other();
    centre.pass(60_000);
    let talks = centre.world.phone(CUSTOMER).events().iter();
    let talks = talks.filter(|(_, event)| *event == PhoneEvent::Talking).count();
    assert_eq!(talks, 2, "his own call, and one call back");
    assert_eq!(outcomes(&mut centre), [Outcome::Reached]);
    centre.close();
}

/// The disk refuses: who asks is told so and waits on, agents are not rung for callbacks that could
/// not be written down, and the caller on the line is served.
#[test]
fn a_disk_that_refuses_is_told_and_callers_are_served() {
    let mut centre = Centre::open("bad_disk");
    centre.customer_waits();
    centre.world.note("the disk refuses");
    let now = centre.world.now();
    centre.world.server().switch().handle_journal_failed(now);
    let from = centre.heard(CUSTOMER);
    centre.customer_presses("1");
    centre.pass(6_000);
    centre.hears(CUSTOMER, "no-callback.wav", from);
    let gauges = centre.world.server().gauges();
    assert_eq!((gauges.promises, gauges.is_journal_failed), (0, true));
    centre.agent_serves();
}
