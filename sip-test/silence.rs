//! Telephones that ring though nobody hears them: what they answer is lost, and their call cannot be
//! taken back, because CANCEL waits for a provisional response (RFC 3261 §9.1).

use std::collections::BTreeMap;
use std::time::Duration;

use ringback::base::Tick;
use ringback::call::QueueSettings;
use ringback::promise::{Pauses, Policy};
use ringback::sim::{Answering, Meddling, Phone, World};
use ringback::sip::{Message, Method};

use crate::queue::{AGENT, CUSTOMER, Centre, OTHER, SERVER, server};

/// When each call of the server to this phone began.
pub(crate) fn calls_to(world: &World, index: usize) -> Vec<Tick> {
    let mut began = BTreeMap::new();
    for seen in world.messages().iter().filter(|seen| (seen.from, seen.to) == (SERVER, index)) {
        let message = Message::parse(&seen.bytes).unwrap();
        if message.method() == Some(&Method::Invite) {
            began.entry(message.call_id().unwrap().to_owned()).or_insert(seen.sent);
        }
    }
    let mut began = began.into_values().collect::<Vec<_>>();
    began.sort_unstable();
    began
}

/// A customer waits for a callback of a queue that pauses for two seconds between attempts.
fn tried_again_at_once(trace: &'static str) -> Centre {
    let two_seconds = || vec![Duration::from_secs(2)];
    let (network, no_answer) = (two_seconds(), two_seconds());
    let pauses = Pauses { network, no_answer, ..Pauses::default() };
    let policy = Policy { pauses, ..Policy::default() };
    let settings = QueueSettings { policy, ..QueueSettings::default() };
    let mut centre = Centre::at(trace, 0, settings);
    centre.customer_asks_and_leaves();
    centre
}

/// The phone rings for a minute when it is called, and all that it says to that is lost.
fn nobody_hears(centre: &mut Centre, index: usize) {
    centre.world.note("from here on, whatever the telephone says is lost");
    for what in ["100", "180", "480"] {
        centre.world.meddle(index, what, 1_000, Meddling::Lose);
    }
    let minute = Duration::from_secs(60);
    centre.act(index, |phone, _| phone.set_answering(Answering::RefuseAfter(minute, 480)));
}

/// The second call to the phone comes when none rings longer: three minutes after the first (Timer
/// C, RFC 3261 §16.6).
fn second_call_is_late(centre: Centre, index: usize) {
    second_call_after(180, centre, index);
}

/// The second call to the phone comes so many seconds after the first, or at most ten later.
fn second_call_after(at_least: u64, mut centre: Centre, index: usize) {
    centre.patient("a second call", 900, |world| calls_to(world, index).len() == 2);
    let began = calls_to(&centre.world, index);
    let after = (began[1] - began[0]).as_secs();
    assert!((at_least..=at_least + 10).contains(&after), "{after} s\n{}", centre.world.ladder());
    centre.world.note("the telephone is heard again");
    centre.world.meddle_no_more();
    centre.act(index, |phone, _| phone.set_answering(Answering::After(Duration::from_secs(1))));
    centre.until("they talk", |world| {
        [CUSTOMER, index].map(|one| world.phone(one).is_talking()) == [true; 2]
    });
    centre.close();
}

/// A4, I5: an agent whose telephone is silent may be ringing, and is offered nobody meanwhile.
#[test]
fn an_agent_nobody_hears_is_not_rung_twice() {
    let mut centre = Centre::soundless("silent_agent");
    centre.agent_comes();
    centre.customer_calls();
    nobody_hears(&mut centre, AGENT);
    centre.customer_chooses("1");
    second_call_is_late(centre, AGENT);
}

/// A1, I3: so is a customer who is called back, though the trunk may be tried again at once.
#[test]
fn a_customer_nobody_hears_is_not_called_twice() {
    let mut centre = tried_again_at_once("silent_customer");
    nobody_hears(&mut centre, CUSTOMER);
    centre.agents_are_free();
    second_call_is_late(centre, CUSTOMER);
}

/// A1: the agent gives up after ten seconds, and the customer's telephone cannot be told.
#[test]
fn a_customer_who_cannot_be_told_is_not_called_again() {
    let mut centre = tried_again_at_once("silent_customer_untold");
    nobody_hears(&mut centre, CUSTOMER);
    centre.agents_are_free();
    centre.until("the customer is called", |world| calls_to(world, CUSTOMER).len() == 1);
    centre.pass(10_000);
    centre.world.note("the agent gives up");
    centre.act(AGENT, Phone::hangup);
    second_call_is_late(centre, CUSTOMER);
}

/// A1, I3: nor is he called for another queue, though his promise is taken back and the server dies:
/// the number rests for 152 s, as after any attempt of which nobody knows whether it still rings.
#[test]
fn a_customer_who_may_ring_is_not_called_for_another_queue() {
    let mut centre = Centre::soundless("silent_customer_of_two_queues");
    centre.agent_comes();
    centre.pass(200);
    nobody_hears(&mut centre, CUSTOMER);
    let promise = centre.request_in("support", "order-4711", None).promise;
    centre.request_in("sales", "order-4712", None);
    centre.until("the customer is called", |world| calls_to(world, CUSTOMER).len() == 1);
    centre.world.note("the promise is taken back");
    let now = centre.world.now();
    centre.world.server().withdraw_promise(promise, now);
    centre.pass(1_000);
    centre.dies();
    centre.customer_registers();
    centre.world.note("an agent of the other queue registers");
    centre.act(OTHER, |phone, now| phone.register(server(), "103", "secret-103", now));
    second_call_after(152, centre, CUSTOMER);
}
