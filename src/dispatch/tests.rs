//! Stories of queues, told as what the dispatcher says to each report.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::base::{Rng, Tick};

use super::*;

const SALES: QueueId = QueueId(1);
const HELP: QueueId = QueueId(2);
const ANN: AgentId = AgentId(1);
const BOB: AgentId = AgentId(2);

/// QC-04: who is on the line is offered as a live caller.
#[test]
fn an_agent_who_is_free_at_once_hears_of_the_caller_first() {
    let mut world = World::new(&[(SALES, &[ANN, BOB])]);
    world.online(&[ANN, BOB]);
    world.call("al", SALES);
    world.answered("al", BOB);
    world.check(
        "
        0 al: call_queue_placed
        0 al: Dispatch live to 1 2, attempt 1
        0 al: call_queue_removed
        0 al: ended Answered(AgentId(2))
        ",
    );
    assert_eq!(world.dispatcher.stats(SALES).unwrap().completed, 1);
}

#[test]
fn placed_is_said_once_and_a_cooldown_is_never_bypassed() {
    let mut world = World::new(&[(SALES, &[ANN])]);
    world.call("nobody-online", SALES);
    world.online(&[ANN]);
    world.call("al", SALES);
    world.call("bo", SALES);
    for _ in 0..4 {
        world.failed("al");
        world.busy(ANN, true);
        world.busy(ANN, false);
        world.failed("bo");
        world.busy(ANN, false);
        world.wait(30);
    }
    world.check(
        "
        0 nobody-online: call_queue_placed
        0 nobody-online: call_queue_removed
        0 nobody-online: Offline
        0 nobody-online: ended Offline
        0 al: call_queue_placed
        0 al: Dispatch live to 1, attempt 1
        0 bo: call_queue_placed
        0 bo: Placed
        0 al: Placed
        0 bo: Dispatch live to 1, attempt 1
        30 al: Dispatch live to 1, attempt 2
        30 bo: Dispatch live to 1, attempt 2
        60 al: Dispatch live to 1, attempt 3
        60 bo: Dispatch live to 1, attempt 3
        90 al: Dispatch live to 1, attempt 4
        90 al: call_queue_removed
        90 al: Offline
        90 al: ended Exhausted
        90 bo: Dispatch live to 1, attempt 4
        90 bo: call_queue_removed
        90 bo: Offline
        90 bo: ended Exhausted
        ",
    );
}

/// QC-14, QC-15, QC-21: the mark moves nobody; the place outlives the caller's leg.
#[test]
fn a_caller_who_opted_in_and_left_keeps_the_place() {
    let mut world = World::new(&[(SALES, &[ANN])]);
    world.online(&[ANN]);
    world.call("al", SALES);
    world.call("bo", SALES);
    world.call("cy", SALES);
    world.opt_in("al");
    assert_eq!(world.positions(&["al", "bo", "cy"]), [1, 2, 3]);
    world.gone("al");
    assert_eq!(world.positions(&["al", "bo", "cy"]), [1, 2, 3]);
    world.wait(30);
    world.failed("bo");
    world.answered("al", ANN);
    world.check(
        "
        0 al: call_queue_placed
        0 al: Dispatch live to 1, attempt 1
        0 bo: call_queue_placed
        0 bo: Placed
        0 cy: call_queue_placed
        0 cy: Placed
        0 al: break Callback
        0 bo: Dispatch live to 1, attempt 1
        30 al: Placed
        30 al: Dispatch callback to 1, attempt 1
        30 al: ended Answered(AgentId(1))
        ",
    );
}

/// QC-06, QC-15: without the mark a hang-up is an abandon, and the agents stop ringing.
#[test]
fn a_caller_who_did_not_opt_in_is_gone() {
    let mut world = World::new(&[(SALES, &[ANN])]);
    world.online(&[ANN]);
    world.call("al", SALES);
    let late = world.offer("al");
    world.gone("al");
    assert_eq!(world.dispatcher.offer_answered(late, ANN, world.now), Err(Stale));
    world.check(
        "
        0 al: call_queue_placed
        0 al: Dispatch live to 1, attempt 1
        0 al: break CallerGone
        0 al: ended Abandoned
        ",
    );
}

/// A10, SC-35: a caller who is back on the line is not dialled; the agents ringing for it stop.
#[test]
fn a_caller_who_phones_in_again_gets_the_old_place() {
    let mut world = World::new(&[(SALES, &[ANN, BOB])]);
    world.online(&[ANN, BOB]);
    world.call("al", SALES);
    world.opt_in("al");
    world.gone("al");
    world.call("bo", SALES);
    world.wait(10);
    world.call("al", SALES);
    assert_eq!(world.positions(&["al", "bo"]), [1, 2]);
    world.gone("al");
    world.failed("bo");
    world.wait(30);
    world.call("al", SALES);
    world.check(
        "
        0 al: call_queue_placed
        0 al: Dispatch live to 1 2, attempt 1
        0 al: break Callback
        0 bo: call_queue_placed
        0 bo: Dispatch live to 1 2, attempt 1
        10 al: call_queue_placed
        10 al: Placed
        10 bo: Placed
        40 al: Dispatch callback to 1 2, attempt 1
        40 al: call_queue_placed
        40 al: break Rejoined
        40 al: Dispatch live to 1 2, attempt 1
        ",
    );
}

/// Section 15: nobody online is said once, the promise stays, and it goes on when someone comes.
#[test]
fn a_callback_outlasts_the_night() {
    let mut world = World::new(&[(SALES, &[ANN])]);
    world.online(&[ANN]);
    world.call("al", SALES);
    world.opt_in("al");
    world.gone("al");
    world.offline(ANN);
    world.wait(30);
    world.online(&[ANN]);
    world.offline(ANN);
    world.failed("al");
    world.wait(40_000);
    world.online(&[ANN]);
    world.wait(60_000);
    world.failed("al");
    world.check(
        "
        0 al: call_queue_placed
        0 al: Dispatch live to 1, attempt 1
        0 al: break Callback
        30 al: Offline
        30 al: Dispatch callback to 1, attempt 1
        30 al: Placed
        40030 al: Dispatch callback to 1, attempt 2
        100030 al: ended Expired
        ",
    );
}

/// A3, A4, I8: in the order in which they came, over both queues.
#[test]
fn an_agent_of_two_queues_is_offered_once_and_to_whoever_waits_longest() {
    let mut world = World::new(&[(SALES, &[ANN]), (HELP, &[ANN, BOB])]);
    world.online(&[ANN]);
    world.busy(ANN, true);
    world.call("al", HELP);
    world.call("bo", SALES);
    world.busy(ANN, false);
    world.online(&[BOB]);
    world.call("cy", HELP);
    world.check(
        "
        0 al: call_queue_placed
        0 al: Placed
        0 bo: call_queue_placed
        0 bo: Placed
        0 al: Dispatch live to 1, attempt 1
        0 cy: call_queue_placed
        0 cy: Dispatch live to 2, attempt 1
        ",
    );
}

/// A3: a callback goes before the live caller who came later.
#[test]
fn a_callback_of_an_earlier_life_stands_where_it_stood() {
    let mut world = World::new(&[(SALES, &[ANN])]);
    world.online(&[ANN]);
    world.busy(ANN, true);
    world.call("al", SALES);
    let key = OrderKey { placement: Placement::Back, enqueued_us: EPOCH_US - 1, sequence: 9 };
    let entry = world.dispatcher.enqueue(SALES, Request::callback(party("old"), key), world.now);
    world.names.insert(entry.unwrap(), "old".to_owned());
    assert_eq!(world.positions(&["old", "al"]), [1, 2]);
    world.busy(ANN, false);
    world.check(
        "
        0 al: call_queue_placed
        0 al: Placed
        0 old: Dispatch callback to 1, attempt 1
        ",
    );
}

/// A4, contract §15: as many callers are offered at a time as agents are free, and each has one
/// ringing.
#[test]
fn one_agent_rings_for_one_caller() {
    let mut world = World::new(&[(SALES, &[ANN, BOB])]);
    world.strategy = one_by_one(Choice::LongestIdle);
    world.online(&[BOB, ANN]);
    world.call("al", SALES);
    world.call("bo", SALES);
    world.call("cy", SALES);
    world.busy(BOB, true);
    world.answered("bo", BOB);
    world.passed("al");
    world.busy(BOB, false);
    world.answered("cy", BOB);
    world.check(
        "
        0 al: call_queue_placed
        0 al: Dispatch live to 1, attempt 1
        0 bo: call_queue_placed
        0 bo: Dispatch live to 2, attempt 1
        0 cy: call_queue_placed
        0 cy: Placed
        0 bo: call_queue_removed
        0 bo: ended Answered(AgentId(2))
        0 al: nobody is left
        0 al: Placed
        0 cy: Dispatch live to 2, attempt 1
        0 cy: call_queue_removed
        0 cy: ended Answered(AgentId(2))
        ",
    );
}

/// An agent who lets a call pass rests, and the offer goes on to the next one.
#[test]
fn an_offer_goes_from_one_agent_to_the_next() {
    let mut world = World::new(&[(SALES, &[ANN, BOB])]);
    world.strategy = one_by_one(Choice::RoundRobin);
    world.online(&[ANN, BOB]);
    world.call("al", SALES);
    world.passed("al");
    world.call("bo", SALES);
    world.answered("al", BOB);
    world.busy(BOB, false);
    world.passed("bo");
    world.wait(29);
    world.wait(1);
    world.check(
        "
        0 al: call_queue_placed
        0 al: Dispatch live to 1, attempt 1
        0 al: passes on to 2
        0 bo: call_queue_placed
        0 bo: Placed
        0 al: call_queue_removed
        0 al: ended Answered(AgentId(2))
        0 bo: Dispatch live to 2, attempt 1
        0 bo: nobody is left
        30 bo: Dispatch live to 1, attempt 2
        ",
    );
}

/// Each choice in the order in which it takes three agents, when the second has had a call.
#[test]
fn every_choice_has_its_order() {
    const CAT: AgentId = AgentId(3);
    let order = |choice| {
        let mut world = World::new(&[(SALES, &[ANN, BOB, CAT])]);
        world.strategy = one_by_one(choice);
        world.online(&[BOB]);
        world.call("first", SALES);
        world.answered("first", BOB);
        world.online(&[ANN, CAT]);
        world.busy(BOB, false);
        ["al", "bo", "cy"].map(|name| {
            world.call(name, SALES);
            world.rung[name].0
        })
    };
    assert_eq!(order(Choice::LongestIdle), [1, 3, 2]);
    assert_eq!(order(Choice::FewestCalls), [1, 3, 2]);
    assert_eq!(order(Choice::RoundRobin), [3, 1, 2]);
    let mut random = order(Choice::Random);
    random.sort_unstable();
    assert_eq!(random, [1, 2, 3], "each once");
}

#[test]
fn refusals_have_names() {
    let mut world = World::new(&[(SALES, &[ANN])]);
    world.online(&[ANN]);
    world.busy(ANN, true);
    let small = Policy { entries_max: 1, ..Policy::DEFAULT };
    world.dispatcher.set_queue(SALES, vec![ANN], small).unwrap();
    let mut join = |queue, caller| {
        world.dispatcher.enqueue(queue, Request::live(CallRef(caller), party("x")), Tick::ZERO)
    };
    assert!(join(SALES, 1).is_ok());
    assert_eq!(join(HELP, 2), Err(Refused::UnknownQueue));
    assert_eq!(join(SALES, 1), Err(Refused::AlreadyQueued));
    assert_eq!(join(SALES, 2), Err(Refused::QueueFull));
}

#[test]
fn the_wait_is_estimated_from_what_was_seen() {
    let mut world = World::new(&[(SALES, &[ANN])]);
    world.online(&[ANN]);
    world.call("al", SALES);
    world.call("bo", SALES);
    let bo = world.entry("bo");
    assert_eq!(world.dispatcher.estimated_answer(bo), Some(Duration::ZERO));
    world.wait(20);
    world.answered("al", ANN);
    assert_eq!(world.dispatcher.estimated_answer(bo), Some(Duration::from_secs(20)));
    world.dispatcher.remove_queue(SALES);
    assert_eq!(world.dispatcher.estimated_answer(bo), None);
}

/// 2026-01-01.
const EPOCH_US: u64 = 1_767_225_600_000_000;

struct World {
    dispatcher: Dispatcher,
    now: Tick,
    names: BTreeMap<EntryId, String>,
    offers: BTreeMap<String, OfferId>,
    /// The first agent of the last offer.
    rung: BTreeMap<String, AgentId>,
    strategy: Strategy,
    calls: u64,
    said: String,
}

impl World {
    fn new(queues: &[(QueueId, &[AgentId])]) -> Self {
        let mut dispatcher = Dispatcher::new(1000, EPOCH_US, Rng::new(1));
        for (queue, agents) in queues {
            let policy = Policy::DEFAULT;
            dispatcher.set_queue(*queue, agents.to_vec(), policy).unwrap();
        }
        let (names, offers, rung) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let (now, strategy) = (Tick::ZERO, Strategy::Parallel);
        Self { dispatcher, now, names, offers, rung, strategy, calls: 0, said: String::new() }
    }

    fn online(&mut self, agents: &[AgentId]) {
        for agent in agents {
            self.dispatcher.set_online(*agent, true);
        }
        self.drain();
    }

    fn offline(&mut self, agent: AgentId) {
        self.dispatcher.set_online(agent, false);
        self.drain();
    }

    fn busy(&mut self, agent: AgentId, is_busy: bool) {
        self.dispatcher.set_busy(agent, is_busy);
        self.drain();
    }

    fn call(&mut self, name: &str, queue: QueueId) {
        self.calls += 1;
        let strategy = self.strategy;
        let request = Request { strategy, ..Request::live(CallRef(self.calls), party(name)) };
        let entry = self.dispatcher.enqueue(queue, request, self.now).unwrap();
        self.names.insert(entry, name.to_owned());
        self.drain();
    }

    fn opt_in(&mut self, name: &str) {
        let entry = self.entry(name);
        self.dispatcher.set_callback(entry, true).unwrap();
    }

    fn gone(&mut self, name: &str) {
        let entry = self.entry(name);
        self.dispatcher.caller_gone(entry, self.now).unwrap();
        self.drain();
    }

    fn answered(&mut self, name: &str, agent: AgentId) {
        self.dispatcher.offer_answered(self.offer(name), agent, self.now).unwrap();
        self.drain();
    }

    /// The agent who rings does not take it; the offer fails when he was the last.
    fn passed(&mut self, name: &str) {
        let next = self.dispatcher.offer_passed(self.offer(name), self.now).unwrap();
        let text =
            next.map_or("nobody is left".to_owned(), |next| format!("passes on to {}", next.0));
        writeln!(self.said, "{} {name}: {text}", self.now.as_millis() / 1000).unwrap();
        if next.is_none() {
            self.failed(name);
        }
    }

    fn failed(&mut self, name: &str) {
        self.dispatcher.offer_failed(self.offer(name), self.now).unwrap();
        self.drain();
    }

    fn wait(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        while let Some(due) = self.dispatcher.poll_timeout().filter(|due| *due <= end) {
            self.now = due;
            self.dispatcher.handle_timeout(due);
            self.drain();
        }
        self.now = end;
    }

    fn positions<const N: usize>(&self, names: &[&str; N]) -> [usize; N] {
        names.map(|name| self.dispatcher.position(self.entry(name)).unwrap())
    }

    fn entry(&self, name: &str) -> EntryId {
        *self.names.iter().rfind(|(_, known)| *known == name).unwrap().0
    }

    fn offer(&self, name: &str) -> OfferId {
        self.offers[name]
    }

    fn drain(&mut self) {
        while let Some(event) = self.dispatcher.poll_event() {
            let (entry, text) = tell(&event);
            let name = self.names[&entry].clone();
            if let Event::Dispatch { offer, agents, .. } = &event {
                self.offers.insert(name.clone(), *offer);
                self.rung.insert(name.clone(), agents[0]);
            }
            writeln!(self.said, "{} {name}: {text}", self.now.as_millis() / 1000).unwrap();
        }
    }

    #[track_caller]
    fn check(&self, expected: &str) {
        let lines: Vec<&str> = expected.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
        assert_eq!(self.said.trim_end(), lines.join("\n"), "\n--- said:\n{}", self.said);
    }
}

fn one_by_one(choice: Choice) -> Strategy {
    Strategy::OneByOne { choice, attempt_timeout: Duration::from_secs(20) }
}

fn party(name: &str) -> Party {
    Party { number: Some(name.to_owned()), trunk: "trunk".to_owned() }
}

fn tell(event: &Event) -> (EntryId, String) {
    match event {
        Event::QueuePlaced { entry, .. } => (*entry, "call_queue_placed".to_owned()),
        Event::QueueRemoved { entry, .. } => (*entry, "call_queue_removed".to_owned()),
        Event::Placed { entry } => (*entry, "Placed".to_owned()),
        Event::Dispatch { offer, caller, agents, attempt, .. } => {
            let agents: Vec<String> = agents.iter().map(|agent| agent.0.to_string()).collect();
            let mode = if caller.is_some() { "live" } else { "callback" };
            let agents = agents.join(" ");
            (offer.entry, format!("Dispatch {mode} to {agents}, attempt {attempt}"))
        }
        Event::Offline { entry, .. } => (*entry, "Offline".to_owned()),
        Event::BreakOffer { offer, reason } => (offer.entry, format!("break {reason:?}")),
        Event::Ended { entry, reason } => (*entry, format!("ended {reason:?}")),
    }
}
