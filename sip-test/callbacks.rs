//! Calling back, in every way that it may go: refused, busy, tried again, raced, and never asked for.

use std::time::Duration;

use ringback::call::{Fact, QueueSettings, Withdrawal, node};
use ringback::flow::{self, Graph, Item};
use ringback::media::ear;
use ringback::promise::Policy;
use ringback::sim::{Answering, Phone, PhoneEvent, World};
use ringback::sip::Cause;
use serde_json::{Value, json};

use crate::queue::{AGENT, AGENT_HUMS, CUSTOMER, CUSTOMER_HUMS, Centre, NUMBER, OTHER, ended};
use crate::silence::calls_to;
use crate::story;

/// One of the two frequencies that ring back in the default tone; the customer hums the other.
const RINGBACK_HUMS: f32 = 480.0;

impl Centre {
    pub(crate) fn agents_are_free(&mut self) {
        self.world.note("the agents are free");
        self.act(AGENT, Phone::hangup);
    }

    fn customer_does(&mut self, answering: Answering) {
        self.act(CUSTOMER, |phone, _| phone.set_answering(answering));
    }

    /// How often a phone has talked.
    pub(crate) fn talks(&self, index: usize) -> usize {
        let events = self.world.phone(index).events().iter();
        events.filter(|(_, event)| *event == PhoneEvent::Talking).count()
    }

    /// Takes the one promise back.
    fn withdraw(&mut self) -> Withdrawal {
        let now = self.world.now();
        self.world.note("the promise is taken back");
        let withdrawal = self.world.server().withdraw_promise(1, now);
        self.pass(1);
        withdrawal
    }

    /// Why the customer's entry was or was not offered, in order.
    fn why(&mut self, named: &str) -> Vec<String> {
        let now = self.world.now();
        let why = self.world.server().switch().why(named, now).unwrap();
        let steps = why["steps"].as_array().unwrap().iter();
        steps.map(|step| step["why"].as_str().unwrap().to_owned()).collect()
    }

    /// How each promise has ended so far.
    fn promise_ends(&mut self) -> Vec<String> {
        let facts = self.world.server().facts().iter();
        let ends = facts.filter_map(|(_, fact)| {
            let Fact::PromiseEnded { end, .. } = fact else { return None };
            Some(end.clone())
        });
        ends.collect()
    }

    /// The agent hears the prompt about a customer who cannot be had, and is hung up.
    fn agent_is_told(&mut self, times: usize) {
        self.until("the agent talks to the server", |world| world.phone(AGENT).is_talking());
        self.until("the agent is hung up", |world| ended(world, AGENT, Cause::Bye) == times);
        self.hears(AGENT, "customer-unavailable.wav", 0);
    }
}

/// QC-03, QC-07, QC-14: the key interrupts the announcement itself; afterwards the caller is where
/// he was, at the same position and with music.
#[test]
fn a_key_interrupts_the_announcement_and_moves_nobody() {
    let mut centre = Centre::open("callback_announcement");
    centre.customer_waits();
    let from = centre.heard(CUSTOMER);
    centre.pass(31_000);
    centre.hears(CUSTOMER, "position-1.wav", from);
    let from = centre.heard(CUSTOMER);
    centre.customer_presses("1");
    centre.pass(500);
    assert_eq!(centre.world.server().gauges().promises, 1, "at once, not after the announcement");
    centre.pass(7_000);
    centre.hears(CUSTOMER, "callback-on.wav", from);
    let from = centre.heard(CUSTOMER);
    centre.pass(2_000);
    centre.hears(CUSTOMER, "music.wav", from - 20_000);
    let from = centre.heard(CUSTOMER);
    centre.pass(30_000);
    centre.hears(CUSTOMER, "position-1.wav", from);
    assert_eq!(centre.world.server().gauges().entries, 1, "still in the queue, at the same place");
    centre.agents_are_free();
    centre.until("the agent talks", |world| world.phone(AGENT).is_talking());
    centre.close();
}

/// QC-10: the agent hears the customer's phone ring, by the tone at the agent's own phone. Of SM-32
/// it shows that the agent is there first.
#[test]
fn the_agent_hears_that_the_customer_rings() {
    let mut centre = Centre::open("callback_ringback_tone");
    centre.customer_asks_and_leaves();
    centre.customer_does(Answering::After(Duration::from_secs(6)));
    centre.agents_are_free();
    centre.until("the agent talks", |world| world.phone(AGENT).is_talking());
    // INVITE, 180, and the first packets of the tone are on their way for 80 ms.
    centre.pass(200);
    let from = centre.heard(AGENT);
    centre.pass(1_500);
    let heard = centre.world.phone(AGENT).heard()[from..].to_vec();
    let known = [RINGBACK_HUMS, CUSTOMER_HUMS + 220.0, AGENT_HUMS];
    assert_eq!(ear::dominant(&heard, &known), Some(RINGBACK_HUMS));
    centre.world.note("the agent hears ringback");
    centre.until("the customer talks", |world| world.phone(CUSTOMER).is_talking());
    centre.both_hear_each_other();
    assert_eq!(centre.promise_ends(), ["reached"]);
    centre.close();
}

/// QC-09, QC-12, QC-22, A2: busy at first; five minutes later, at the second attempt, the customer
/// answers.
#[test]
fn a_busy_customer_is_reached_at_the_second_attempt() {
    let mut centre = Centre::soundless("callback_second_attempt");
    centre.customer_asks_and_leaves();
    centre.customer_does(Answering::Refuse(486));
    centre.agents_are_free();
    centre.agent_is_told(1);
    assert_eq!(centre.world.server().gauges().promises, 1, "it is still owed");
    let told = centre.world.now();
    centre.customer_does(Answering::After(Duration::from_secs(1)));
    centre.world.note("the customer would answer now, but it is not yet time");
    centre.until("the customer talks", |world| world.phone(CUSTOMER).is_talking());
    let waited = (centre.world.now() - told).as_secs();
    assert!((280..=320).contains(&waited), "five minutes, and it was {waited} s");
    centre.both_hear_each_other();
    assert_eq!(centre.promise_ends(), ["reached"]);
    centre.close();
}

/// QC-09, QC-12, QC-22, A2, I7: three attempts that nobody answers, with 5 and 15 minutes between,
/// end the promise, and each time an agent is told.
#[test]
fn three_attempts_in_vain_exhaust_a_promise() {
    let mut centre = Centre::soundless("callback_exhausted");
    centre.customer_asks_and_leaves();
    centre.customer_does(Answering::Never);
    centre.agents_are_free();
    for attempt in 1..=3 {
        centre.pass(if attempt == 1 { 0 } else { 250_000 });
        centre.patient("the agent talks to the server", 1_000, |world| {
            world.phone(AGENT).is_talking()
        });
        centre.until("the agent is hung up", |world| ended(world, AGENT, Cause::Bye) == attempt);
        centre.hears(AGENT, "customer-unavailable.wav", 0);
    }
    assert_eq!(centre.promise_ends(), ["exhausted"]);
    centre.pass(4_000_000);
    assert_eq!(centre.talks(AGENT), 1 + 3, "his own call and three attempts, and no fourth");
    centre.close();
}

/// QC-09, QC-12, A2: 603 is the customer's own no, and 404 no number at all: both end the promise
/// at once.
#[test]
fn a_refusal_or_a_wrong_number_ends_the_promise() {
    let cases =
        [(603, "refused", "callback_declined"), (404, "invalid", "callback_no_such_number")];
    for (status, end, trace) in cases {
        let mut centre = Centre::soundless(trace);
        centre.customer_asks_and_leaves();
        centre.customer_does(Answering::RefuseAfter(Duration::from_secs(2), status));
        centre.agents_are_free();
        centre.agent_is_told(1);
        assert_eq!(centre.promise_ends(), [end]);
        centre.pass(1_000_000);
        assert_eq!(centre.talks(AGENT), 2, "nobody tries again");
        centre.close();
    }
}

/// QC-09, SC-31: 503 is the trunk's trouble: it is tried again, and no attempt is used up by it.
#[test]
fn the_trunks_trouble_uses_up_no_attempt() {
    let mut centre = Centre::soundless("callback_trunk_down");
    centre.customer_asks_and_leaves();
    centre.customer_does(Answering::Refuse(503));
    centre.agents_are_free();
    for times in 1..=4 {
        centre.patient("an agent is told", 4_000, |world| ended(world, AGENT, Cause::Bye) == times);
    }
    assert_eq!(centre.promise_ends(), [""; 0], "four failures are no reason to give up");
    centre.customer_does(Answering::After(Duration::from_secs(1)));
    centre.patient("the customer talks", 4_000, |world| world.phone(CUSTOMER).is_talking());
    centre.both_hear_each_other();
    assert_eq!(centre.promise_ends(), ["reached"]);
    centre.close();
}

/// QC-11, A9: the agent gives up while the customer rings: CANCEL, and the customer stays owed.
#[test]
fn an_agent_who_gives_up_stops_the_ringing() {
    let mut centre = Centre::soundless("callback_agent_gives_up");
    centre.customer_asks_and_leaves();
    centre.customer_does(Answering::Never);
    centre.agents_are_free();
    centre.until("the agent talks", |world| world.phone(AGENT).is_talking());
    centre.pass(3_000);
    centre.act(AGENT, Phone::hangup);
    centre.until("the customer no longer rings", |world| {
        ended(world, CUSTOMER, Cause::Cancelled) == 1
    });
    assert_eq!(centre.promise_ends(), [""; 0]);
    assert_eq!(centre.world.server().gauges().promises, 1, "he is still owed his callback");
    let promise = centre.world.server().switch().look_at_promise(1).unwrap();
    let figures = ["state", "attempts", "attemptsThatCount"].map(|name| promise[name].clone());
    assert_eq!(figures, [json!("armed"), json!(1), json!(0)], "it was not the customer's doing");
    centre.close();
}

/// A12, SC-17: a promise that is taken back while its customer waits at home: nobody is dialled.
#[test]
fn a_promise_that_is_taken_back_rings_nobody() {
    let mut centre = Centre::soundless("callback_taken_back");
    centre.customer_asks_and_leaves();
    assert_eq!(centre.withdraw(), Withdrawal::Ended);
    assert_eq!(centre.promise_ends(), ["cancelled"]);
    assert_eq!(centre.withdraw(), Withdrawal::Unknown, "once");
    centre.agents_are_free();
    centre.pass(600_000);
    assert_eq!((centre.talks(AGENT), centre.talks(CUSTOMER)), (1, 1), "as before");
    assert_eq!(centre.world.server().gauges().entries, 0, "its place is given up");
    centre.close();
}

/// A12, SC-18: taken back while the customer rings: CANCEL, and the agent is told.
#[test]
fn a_promise_that_is_taken_back_stops_ringing() {
    let mut centre = Centre::soundless("callback_taken_back_ringing");
    centre.customer_asks_and_leaves();
    centre.customer_does(Answering::Never);
    centre.agents_are_free();
    centre.until("the agent talks", |world| world.phone(AGENT).is_talking());
    centre.pass(3_000);
    assert_eq!(centre.withdraw(), Withdrawal::Breaking);
    centre.until("the customer no longer rings", |world| {
        ended(world, CUSTOMER, Cause::Cancelled) == 1
    });
    centre.agent_is_told(1);
    assert_eq!(centre.promise_ends(), ["cancelled"]);
    centre.pass(1_000_000);
    assert_eq!(centre.talks(AGENT), 2, "nobody tries again");
    centre.close();
}

/// A12, SC-17, SC-34: taken back after the agent has taken it and before the dial: his run dials
/// nobody, and nothing but a look at the steps of the entry would tell.
#[test]
fn a_promise_that_is_taken_back_is_not_dialled_by_a_run_that_has_begun() {
    let mut centre = Centre::soundless("callback_taken_back_between");
    centre.customer_asks_and_leaves();
    centre.world.server().set_flow_delay(Duration::from_millis(400));
    centre.agents_are_free();
    centre.until("the agent talks", |world| world.phone(AGENT).is_talking());
    assert_eq!(centre.withdraw(), Withdrawal::Ended);
    centre.pass(60_000);
    assert_eq!(centre.talks(CUSTOMER), 1, "his own call only");
    assert_eq!(centre.promise_ends(), ["cancelled"]);
    centre.world.server().set_flow_delay(Duration::ZERO);
    centre.close();
}

/// The reasons why an entry was or was not offered, in order, until its end and after it. A8, I9:
/// the figures are those of what happened.
#[test]
fn an_entry_says_why_it_was_not_offered() {
    let mut centre = Centre::soundless("callback_why");
    centre.customer_asks_and_leaves();
    let now = centre.world.now();
    let named = centre.world.server().switch().why("1", now).unwrap()["entry"].clone();
    let why = centre.why("1");
    let expected = [
        "joined",
        "not offered: no agent is free (101 busy, 102 busy)",
        "its caller hung up: a callback from now on",
        "not offered: nobody took it, or its caller left; again in 30 s",
        "now at position 1, not to be offered before its pause is over",
    ];
    assert_eq!(why, expected);
    centre.agents_are_free();
    centre.until("the customer talks", |world| world.phone(CUSTOMER).is_talking());
    centre.both_hear_each_other();
    let figures = centre.world.now();
    let figures = centre.world.server().switch().queue_figures(figures);
    let counts = figures.iter().find(|of| of.queue == "support").unwrap().counts;
    assert_eq!((counts.joined, counts.offered, counts.accepted), (1, 1, 1));
    assert_eq!((counts.accepted_live, counts.abandoned), (0, 0));
    let made = centre.world.server().switch().promise_counts().clone();
    assert_eq!((made.made, made.ended.values().sum::<u64>()), (1, 1));
    assert_eq!(made.attempts.values().sum::<u64>(), 1);
    let why = centre.why(named.as_str().unwrap());
    assert!(why.last().unwrap().ends_with("took it"), "{why:?}");
    centre.close();
}

/// A10, A11, SC-35 of queues: his turn comes while he phones in again and is still in the menu: he
/// is not dialled, the agent is told, and he is served on the line.
#[test]
fn a_customer_who_is_in_the_menu_is_not_dialled() {
    let mut centre = Centre::soundless("callback_caller_in_the_menu");
    centre.customer_asks_and_leaves();
    centre.agents_are_free();
    centre.pass(27_000);
    centre.world.note("the customer phones in again");
    centre.customer_calls();
    centre.agent_is_told(1);
    served_without_having_been_dialled(centre);
}

/// The customer, who is in the menu, chooses the queue, and an agent takes his call.
fn served_without_having_been_dialled(mut centre: Centre) {
    assert_eq!(calls_to(&centre.world, CUSTOMER), [], "{}", centre.world.ladder());
    centre.customer_presses("1");
    centre.until("the agent talks", |world| world.phone(AGENT).is_talking());
    centre.both_hear_each_other();
    assert_eq!(centre.promise_ends(), ["reached"]);
    centre.close();
}

/// A10: nor is he when he phones in while his attempt is being written down: its INVITE never leaves.
#[test]
fn a_customer_who_phones_in_before_his_attempt_is_on_disk_is_not_dialled() {
    let mut centre = Centre::soundless("callback_caller_before_the_attempt_is_on_disk");
    centre.customer_asks_and_leaves();
    centre.agents_are_free();
    centre.world.server().set_disk_delay(Duration::from_secs(2));
    centre.until("the agent talks", |world| world.phone(AGENT).is_talking());
    centre.world.note("the disk is slow, and the customer phones in again");
    centre.customer_calls();
    centre.agent_is_told(1);
    centre.world.server().set_disk_delay(Duration::ZERO);
    served_without_having_been_dialled(centre);
}

/// QC-13: an entry whose caller has left may have to wait for the first time; nobody is there to play
/// music to.
#[test]
fn an_entry_without_a_caller_is_played_no_music() {
    let mut centre = Centre::soundless("callback_placed_without_a_caller");
    let placed = json!({ "event": "Placed", "ref": "support", "mode": "callback" });
    let item = Item::new(placed.as_object().unwrap().clone());
    let now = centre.world.now();
    assert!(centre.world.server().start_run("support", item, now));
    centre.pass(1_000);
    let flows = centre.world.server().flow_gauges();
    assert_eq!((flows.started, flows.failed, flows.runs), (1, 0, 0));
}

/// QC-15: who asked for nothing and hangs up while the agents ring stops their phones.
#[test]
fn a_caller_who_leaves_while_the_agent_rings_stops_the_ringing() {
    let mut centre = Centre::soundless("queue_abandoned_while_ringing");
    centre.agent_comes();
    centre.act(AGENT, |phone, _| phone.set_answering(Answering::Never));
    centre.customer_calls();
    centre.customer_chooses("1");
    centre.pass(3_000);
    centre.act(CUSTOMER, Phone::hangup);
    centre.until("the agent's phone stops", |world| ended(world, AGENT, Cause::Cancelled) == 1);
    centre.pass(60_000);
    assert_eq!(centre.talks(AGENT), 0);
    assert_eq!(centre.world.server().gauges().entries, 0);
    centre.close();
}

/// The customer hangs up so many milliseconds after the agent has answered; every word between the
/// switch and the flow takes 40 ms.
fn hangs_up_after_the_answer(trace: &'static str, asks: bool, later_ms: u64) -> Centre {
    let flow = story::flow_file("queue-callback.json");
    let mut centre = Centre::of(trace, NUMBER, flow, Duration::from_millis(40), false);
    centre.customer_waits();
    if asks {
        centre.customer_presses("1");
        centre.pass(7_000);
    }
    centre.agents_are_free();
    let talks = centre.talks(AGENT);
    centre.until("the agent answers", |world| {
        let events = world.phone(AGENT).events().iter();
        events.filter(|(_, event)| *event == PhoneEvent::Talking).count() > talks
    });
    centre.pass(later_ms);
    centre.world.note(&format!("the customer hangs up, {later_ms} ms after the agent's answer"));
    centre.act(CUSTOMER, Phone::hangup);
    centre
}

/// QC-17, I2: the caller leaves between the agent's answer and the bridge: he is called back, once.
#[test]
fn a_hang_up_after_the_agents_answer_and_before_the_bridge_is_called_back_once() {
    let mut centre = hangs_up_after_the_answer("race_before_the_bridge", true, 20);
    centre.until("the customer talks", |world| world.phone(CUSTOMER).is_talking());
    centre.both_hear_each_other();
    centre.pass(60_000);
    assert_eq!(centre.talks(CUSTOMER), 2, "his own call, and one call back");
    assert_eq!(centre.promise_ends(), ["reached"]);
    centre.close();
}

/// QC-04, QC-17, I2: the caller leaves just after the bridge: that was his call, and nobody calls
/// back.
#[test]
fn a_hang_up_after_the_bridge_is_served() {
    let mut centre = hangs_up_after_the_answer("race_after_the_bridge", true, 400);
    centre.pass(400_000);
    assert_eq!(centre.talks(CUSTOMER), 1, "his own call only");
    assert_eq!(centre.promise_ends(), ["reached"]);
    centre.close();
}

/// QC-06, QC-17: the same race without a callback: the agent is let go, and nobody is dialled.
#[test]
fn a_hang_up_before_the_bridge_without_a_callback_lets_the_agent_go() {
    let mut centre = hangs_up_after_the_answer("race_without_callback", false, 20);
    centre.until("the agent is let go", |world| ended(world, AGENT, Cause::Bye) == 1);
    centre.pass(60_000);
    assert_eq!(centre.talks(CUSTOMER), 1);
    centre.close();
}

/// QC-04, QC-20: both directions are heard within a fifth of a second of the agent's answer.
#[test]
fn the_bridge_is_heard_at_once() {
    let mut centre = Centre::open("queue_bridged_at_once");
    centre.agent_comes();
    centre.customer_calls();
    centre.customer_chooses("1");
    centre.until("the agent talks", |world| world.phone(AGENT).is_talking());
    let (customer, agent) = (centre.heard(CUSTOMER), centre.heard(AGENT));
    // The answer's way here and the sound's way there take 80 ms of it, and what is listened to is
    // the last tenth.
    centre.pass(200);
    let tones = [CUSTOMER_HUMS, AGENT_HUMS];
    let last = |index: usize, from: usize| {
        let heard = &centre.world.phone(index).heard()[from..];
        ear::dominant(&heard[heard.len().saturating_sub(800)..], &tones)
    };
    assert_eq!(last(CUSTOMER, customer), Some(AGENT_HUMS));
    assert_eq!(last(AGENT, agent), Some(CUSTOMER_HUMS));
    centre.close();
}

/// The shipped flow without its callback layer: no key marks the entry.
fn without_callbacks() -> Graph {
    let path = story::root().join("flows/queue-callback.json");
    let text = std::fs::read_to_string(path).unwrap();
    let mut export: Value = serde_json::from_str(&text).unwrap();
    let connections = export["connections"].as_object_mut().unwrap();
    for gone in ["callback_on", "play_callback", "play_no_number"] {
        connections.remove(gone);
    }
    connections["wait_music_loop"]["main"][0] = Value::Array(Vec::new());
    let documents = flow::read(&export.to_string(), "without.json").unwrap();
    let (graph, problems) = flow::check(&documents[0], &node::catalogue());
    graph.unwrap_or_else(|| panic!("{problems:?}"))
}

/// QC-02, QC-18: for callers who do not ask, the queue is the same with and without the callback
/// layer, message by message.
#[test]
fn without_the_callback_layer_the_queue_is_the_same() {
    type Story = fn(&mut Centre);
    let waits: Story = |centre| {
        centre.customer_waits();
        centre.pass(40_000);
        centre.act(AGENT, Phone::hangup);
        centre.until("the agent talks", |world: &World| world.phone(AGENT).is_talking());
        centre.pass(3_000);
    };
    let abandons: Story = |centre| {
        centre.customer_waits();
        centre.pass(5_000);
        centre.act(CUSTOMER, Phone::hangup);
        centre.act(OTHER, Phone::hangup);
        centre.pass(60_000);
    };
    let offline: Story = |centre| {
        centre.customer_calls();
        centre.customer_chooses("2");
        centre.pass(20_000);
    };
    for story in [waits, abandons, offline] {
        let played = |flow: Graph| {
            let mut centre = Centre::of("", NUMBER, flow, Duration::ZERO, false);
            story(&mut centre);
            centre.world.ladder()
        };
        assert_eq!(played(story::flow_file("queue-callback.json")), played(without_callbacks()));
    }
}

/// QC-01, QC-23: the shipped export is imported as it is, twice with the same outcome.
#[test]
fn the_shipped_flow_is_imported_twice_with_one_outcome() {
    let path = story::root().join("flows/queue-callback.json");
    let text = std::fs::read_to_string(path).unwrap();
    let import = || {
        let documents = flow::read(&text, "queue-callback.json").unwrap();
        let (graph, problems) = flow::check(&documents[0], &node::catalogue());
        assert!(problems.is_empty(), "{problems:?}");
        let text = format!("{:?}", graph.unwrap());
        text.split(", by_name").next().unwrap().to_owned() // An index in no order of its own.
    };
    assert_eq!(import(), import());
}

/// QC-02: the menu's extension path beside the queue: 101# rings the phone and is bridged.
#[test]
fn a_caller_dials_an_extension_from_the_menu() {
    let mut centre = Centre::open("menu_extension");
    centre.agent_comes();
    centre.customer_calls();
    centre.pass(1_000);
    centre.customer_presses("101#");
    centre.until("the agent talks", |world| world.phone(AGENT).is_talking());
    centre.both_hear_each_other();
    centre.close();
}

/// QC-18: callbacks turned off outside the flow. Whoever asks is told, and waits on as before.
#[test]
fn a_queue_without_callbacks_says_so_and_serves_on() {
    let policy = Policy { is_offered: false, ..Policy::default() };
    let settings = QueueSettings { policy, ..QueueSettings::default() };
    let mut centre = Centre::set("callback_turned_off", "support", settings);
    centre.customer_waits();
    centre.customer_asks_in_vain("no-callback.wav");
    centre.agent_serves();
}
