//! Hours: who asked in the evening is called in the morning, and agents ring for nobody who may not
//! be called (A5). And promises that somebody outside asks for (A6).

use ringback::call::{PromiseMade, PromiseRequest, QueueSettings};
use ringback::promise::{Hours, Policy, RequestKey};
use ringback::sim::Phone;

use crate::queue::{AGENT, CUSTOMER, Centre, NUMBER, OTHER, server};

/// Friday, 2026-11-27, 19:58:30 in Berlin.
const FRIDAY_MS: u64 = 1_795_805_910_000;
/// The Monday after, 8:00 there.
const MONDAY_MS: u64 = 1_796_022_000_000;

/// From Monday to Friday the customers of `support` are called from 8 to 20 o'clock in Berlin.
fn working() -> QueueSettings {
    let mut hours = Hours::in_zone("Europe/Berlin").unwrap();
    hours.add("Mon-Fri 08:00-20:00").unwrap();
    QueueSettings { policy: Policy { hours, ..Policy::default() }, ..QueueSettings::default() }
}

impl Centre {
    /// Lets time pass until the wall clock shows this.
    fn until_clock(&mut self, began_ms: u64, at_ms: u64) {
        let passed = self.world.now().as_millis();
        self.pass(at_ms - began_ms - passed);
    }

    /// What people see of the first promise.
    fn promise(&mut self) -> serde_json::Value {
        self.world.server().switch().look_at_promise(1).unwrap()
    }

    fn why_promise(&mut self) -> String {
        let now = self.world.now();
        let why = self.world.server().switch().why("1", now).unwrap();
        why["steps"].as_array().unwrap().iter().map(|step| step["why"].to_string()).collect()
    }

    /// Asks for a promise to the customer.
    fn request(&mut self, key: &str, override_hours: Option<&str>) -> PromiseMade {
        self.request_in("support", key, override_hours)
    }

    pub(crate) fn request_in(
        &mut self,
        queue: &str,
        key: &str,
        override_hours: Option<&str>,
    ) -> PromiseMade {
        self.world.note(&format!("somebody asks that the customer be called, with the key {key}"));
        let request = PromiseRequest {
            key: RequestKey::parse(key).unwrap(),
            queue: queue.to_owned(),
            number: NUMBER.to_owned(),
            name: Some("Ada".to_owned()),
            trunk: None,
            override_hours: override_hours.map(str::to_owned),
        };
        let now = self.world.now();
        let made = self.world.server().request_promise(&request, now).unwrap();
        self.pass(1);
        made
    }

    /// How much has happened at a phone.
    fn rung(&self, index: usize) -> usize {
        self.world.phone(index).events().len()
    }
}

/// A5, I7, QC-05, SC-04 of hours: asked at 19:59, gone at 20:00, called at 8:00 of the next working
/// day, which is Monday; the agents who are free in the evening ring for nobody.
#[test]
fn who_asks_at_the_end_of_the_hours_is_called_when_they_begin() {
    let mut centre = Centre::at("hours_next_morning", FRIDAY_MS, working());
    centre.customer_waits();
    centre.until_clock(FRIDAY_MS, FRIDAY_MS + 40_000);
    centre.customer_presses("1");
    centre.until_clock(FRIDAY_MS, FRIDAY_MS + 91_000);
    centre.world.note("it is past 20:00, and the customer hangs up");
    centre.act(CUSTOMER, Phone::hangup);
    centre.pass(500);
    let promise = centre.promise();
    assert_eq!((&promise["state"], &promise["attempts"]), (&"closed".into(), &0.into()));
    assert_eq!(promise["outsideHoursUntil"], "Mon 2026-11-30 08:00 Europe/Berlin");
    assert!(centre.why_promise().contains("outside hours until Mon 2026-11-30 08:00"));
    centre.world.note("the agents are free");
    let before = centre.rung(OTHER);
    centre.act(AGENT, Phone::hangup);
    centre.pass(120_000);
    assert_eq!(centre.rung(OTHER), before + 1, "his own call has ended, and nothing rang");
    assert_eq!(centre.world.server().gauges().entries, 0);
    centre.world.note("everybody goes home");
    for phone in [CUSTOMER, AGENT, OTHER] {
        centre.act(phone, Phone::unregister);
    }
    centre.until_clock(FRIDAY_MS, MONDAY_MS - 60_000);
    centre.world.note("Monday, 7:59");
    centre.customer_registers();
    centre.agent_comes();
    centre.pass(1000);
    assert_eq!(centre.promise()["state"], "closed");
    centre.until("the customer talks", |world| world.phone(CUSTOMER).is_talking());
    let at_ms = FRIDAY_MS + centre.world.now().as_millis();
    assert!((MONDAY_MS..MONDAY_MS + 10_000).contains(&at_ms), "8:00, and it was {at_ms}");
    centre.both_hear_each_other();
    centre.close();
}

/// A5, A10, A11: who waits for an agent when the hours end is not offered any more; and when he
/// phones in at night, he is served like everybody on the line, at his old place.
#[test]
fn who_waits_for_an_agent_when_the_hours_end_is_not_offered() {
    let mut centre = Centre::at("hours_end_in_the_queue", FRIDAY_MS, working());
    centre.customer_asks_and_leaves();
    assert_eq!(centre.promise()["state"], "queued");
    centre.until_clock(FRIDAY_MS, FRIDAY_MS + 91_000);
    centre.world.note("it is past 20:00, and the agents are free");
    assert_eq!(centre.promise()["state"], "closed");
    centre.act(AGENT, Phone::hangup);
    let before = (centre.rung(AGENT), centre.rung(OTHER));
    centre.pass(60_000);
    assert_eq!((centre.rung(AGENT), centre.rung(OTHER)), (before.0, before.1 + 1));
    centre.world.note("the customer phones in");
    centre.customer_calls();
    centre.customer_chooses("1");
    centre.until("the agent talks", |world| world.phone(AGENT).is_talking());
    centre.both_hear_each_other();
    assert_eq!(centre.world.server().gauges().promises, 0, "nothing is owed any more");
    centre.close();
}

/// A6, QC-08, SC-05, SM-30: a promise that somebody outside asks for is kept as that of a caller
/// who hung up; the same request once more changes nothing, before the call and after it.
#[test]
fn a_promise_that_was_asked_for_outside_is_kept_once() {
    let mut centre = Centre::at("request_called_back", FRIDAY_MS, QueueSettings::default());
    centre.agent_comes();
    centre.pass(200);
    let made = centre.request("order-4711", None);
    assert_eq!((made.promise, made.is_merged, made.is_repeated), (1, false, false));
    assert!(centre.request("order-4711", None).is_repeated);
    let merged = centre.request("order-4712", None);
    assert_eq!((merged.promise, merged.is_merged), (1, true));
    centre.until("the customer talks", |world| world.phone(CUSTOMER).is_talking());
    centre.both_hear_each_other();
    let again = centre.request("order-4711", None);
    assert_eq!((again.promise, again.is_repeated), (1, true), "kept meanwhile");
    centre.act(AGENT, Phone::hangup);
    centre.pass(600_000);
    assert_eq!(centre.talks(CUSTOMER), 1);
    centre.close();
}

/// A6, SM-30: the server dies after the promise is on disk and before anybody is told. Who asks
/// again with the same key finds it; the customer is called once.
#[test]
fn a_request_whose_answer_was_lost_is_not_kept_twice() {
    let mut centre = Centre::soundless("request_answer_lost");
    let made = centre.request("order-4711", None);
    centre.dies();
    centre.customer_registers();
    centre.pass(200);
    let again = centre.request("order-4711", None);
    assert_eq!(again, PromiseMade { is_repeated: true, ..made });
    centre.agent_comes();
    centre.until("the customer talks", |world| world.phone(CUSTOMER).is_talking());
    centre.both_hear_each_other();
    centre.act(AGENT, Phone::hangup);
    centre.pass(600_000);
    assert_eq!(centre.talks(CUSTOMER), 1);
    centre.close();
}

/// A5, SM-33: "unless a recorded exception exists": who has asked to be called at night is.
#[test]
fn a_recorded_exception_calls_at_night() {
    let mut centre = Centre::at("hours_overridden", FRIDAY_MS + 3_600_000, working());
    centre.agent_comes();
    centre.pass(200);
    centre.request("mail-1", Some("he mailed: call me now"));
    assert_eq!(centre.promise()["overrideHours"], "he mailed: call me now");
    centre.until("the customer talks", |world| world.phone(CUSTOMER).is_talking());
    centre.both_hear_each_other();
    centre.close();
}

/// A1, I3: a number has a promise in each of two queues. While its customer talks in the one
/// callback, the agent of the other is told, and nobody rings him; later he is called for that too.
#[test]
fn who_talks_in_one_callback_is_not_dialled_for_another_queue() {
    let mut centre = Centre::at("request_in_two_queues", FRIDAY_MS, QueueSettings::default());
    centre.agent_comes();
    centre.pass(200);
    centre.request_in("support", "order-4711", None);
    centre.request_in("sales", "order-4712", None);
    centre.until("the customer talks", |world| world.phone(CUSTOMER).is_talking());
    let rung = centre.rung(CUSTOMER);
    centre.world.note("the agent of the other queue registers");
    centre.act(OTHER, |phone, now| phone.register(server(), "103", "secret-103", now));
    centre.until("he answers", |world| world.phone(OTHER).is_talking());
    centre.pass(30_000);
    assert_eq!(centre.rung(CUSTOMER), rung, "nobody rings him meanwhile");
    centre.world.note("the first agent hangs up");
    centre.act(AGENT, Phone::hangup);
    centre.pass(320_000);
    assert_eq!(centre.talks(CUSTOMER), 2);
    assert_eq!(centre.world.server().gauges().promises, 0, "nothing is owed any more");
    centre.close();
}
