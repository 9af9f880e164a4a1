//! Stories of promises.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::Tick;

use super::*;

mod hours;
mod lives;
mod requests;

const SECRET: Secret = Secret([7, 9]);
/// 2026-01-01.
const EPOCH_MS: u64 = 1_767_225_600_000;
/// How long a phone rings that nobody stops: the ring time, and 64·T1 for a trunk that hears of
/// nothing.
const RINGS_ON: Duration = Duration::from_secs(152);

/// A8: whoever is served before his promise is on disk had one, and it has ended.
#[test]
fn a_promise_that_ends_before_it_is_on_disk_is_told_of_twice() {
    let mut world = World::new();
    let id = world.promise("al");
    world.book.served_live(id, world.now).unwrap();
    assert_eq!(world.heard(), []);
    world.write();
    let ended = Event::Ended { promise: id, end: End::Reached };
    assert_eq!(world.heard(), [Event::Confirmed { promise: id }, ended]);
}

/// A10, I4, SC-09: a live caller is not dialled; records go before words and before INVITEs.
#[test]
fn nothing_is_confirmed_or_dialled_before_it_is_on_disk() {
    let mut world = World::new();
    let id = world.promise("al");
    assert_eq!(world.heard(), []);
    world.write();
    assert_eq!(world.heard(), [Event::Confirmed { promise: id }]);

    assert_eq!(world.book.begin_attempt(id, None, world.now), Err(Refused::Live));
    world.book.caller_gone(id, world.now).unwrap();
    let attempt = world.book.begin_attempt(id, None, world.now).unwrap();
    assert_eq!(world.book.begin_attempt(id, None, world.now), Err(Refused::Attempting));
    assert_eq!((attempt.number.as_str(), attempt.attempt), ("al", 1));
    assert_eq!(world.heard(), []);
    world.write();
    assert_eq!(world.heard(), [Event::AttemptReady { promise: id, attempt: 1 }]);

    world.book.attempt_ended(id, 1, Outcome::Reached, world.now).unwrap();
    assert_eq!(world.heard(), []);
    world.write();
    assert_eq!(world.heard(), [Event::Ended { promise: id, end: End::Reached }]);
    assert_eq!(world.book.attempt_ended(id, 1, Outcome::Busy, world.now), Err(Stale));
}

/// QC-22, I7: the waits of the retry policy, and the place kept to the last attempt.
#[test]
fn a_customer_who_is_not_reached_is_tried_at_5_and_15_minutes_more() {
    let mut world = World::new();
    let id = world.left_behind("al");
    let mut waits = Vec::new();
    for attempt in 1..=3 {
        world.dial(id);
        world.book.attempt_ended(id, attempt, Outcome::NoAnswer, world.now).unwrap();
        world.write();
        let from = world.now;
        world.run_until_heard();
        waits.push((world.now - from).as_secs());
        if attempt < 3 {
            assert_eq!(world.heard(), [Event::Due { promise: id }]);
            assert_eq!(world.book.place(id), Some(place(1)));
        }
    }
    assert_eq!(waits, [300, 900, 0]);
    assert_eq!(world.heard(), [Event::Ended { promise: id, end: End::Exhausted }]);
}

/// SC-31: what the network spoils is tried again.
#[test]
fn a_network_failure_does_not_count_and_a_refusal_ends_it() {
    let mut world = World::new();
    let id = world.left_behind("al");
    for attempt in 1..=5 {
        world.dial(id);
        world.book.attempt_ended(id, attempt, Outcome::Network, world.now).unwrap();
        assert_eq!(world.book.begin_attempt(id, None, world.now), Err(Refused::NotDue));
        world.run_until_heard();
    }
    world.dial(id);
    world.book.attempt_ended(id, 6, Outcome::Refused, world.now).unwrap();
    world.write();
    assert_eq!(world.heard(), [Event::Ended { promise: id, end: End::Refused }]);
}

/// I7: three attempts that are taken back are free, three more count, and a crash forgets neither.
#[test]
fn a_phone_is_not_made_to_ring_for_a_day_by_agents_who_hang_up() {
    let mut world = World::new();
    let id = world.left_behind("al");
    for attempt in 1..=6 {
        world.dial(id);
        world.book.attempt_ended(id, attempt, Outcome::Broken, world.now).unwrap();
        world.write();
        if attempt == 4 {
            world.crash(usize::MAX);
        }
        if attempt < 6 {
            world.run_until_heard();
            assert_eq!(world.heard(), [Event::Due { promise: id }]);
        }
    }
    assert_eq!(world.heard(), [Event::Ended { promise: id, end: End::Exhausted }]);
}

/// A10, SC-35, section 15: never dialled while on the line; the same promise, the same place.
#[test]
fn a_customer_who_phones_in_during_the_dial_is_live_again() {
    let mut world = World::new();
    let id = world.left_behind("al");
    world.dial(id);
    let again = world.book.promise(wanted("al", 2), world.now).unwrap();
    assert_eq!(again, Promised { promise: id, is_new: false, place: place(1) });
    assert_eq!(
        world.heard(),
        [Event::BreakAttempt { promise: id, attempt: 1 }, Event::Confirmed { promise: id }]
    );
    world.book.attempt_ended(id, 1, Outcome::Broken, world.now).unwrap();
    assert_eq!(world.book.state(id), Some(State::Live));
    world.book.served_live(id, world.now).unwrap();
    world.write();
    assert_eq!(world.heard(), [Event::Ended { promise: id, end: End::Reached }]);
}

/// A12, SC-17: its INVITE is never sent.
#[test]
fn an_attempt_taken_back_before_it_is_written_never_leaves() {
    let mut world = World::new();
    let id = world.left_behind("al");
    world.book.begin_attempt(id, None, world.now).unwrap();
    assert_eq!(world.book.cancel(id, world.now), Ok(Cancelled::Done));
    let why = Refused::Unknown;
    assert_eq!(world.heard(), [Event::AttemptDropped { promise: id, attempt: 1, why }]);
    world.write();
    assert_eq!(world.heard(), [Event::Ended { promise: id, end: End::Cancelled }]);
}

/// A12, SC-18: what is under way ends with the dial, and the answer wins if it came first.
#[test]
fn a_cancellation_during_the_dial_has_a_definite_outcome() {
    for (outcome, end) in [(Outcome::Busy, End::Cancelled), (Outcome::Reached, End::Reached)] {
        let mut world = World::new();
        let id = world.left_behind("al");
        world.dial(id);
        assert_eq!(world.book.cancel(id, world.now), Ok(Cancelled::Breaking));
        world.heard();
        world.book.attempt_ended(id, 1, outcome, world.now).unwrap();
        world.write();
        assert_eq!(world.heard(), [Event::Ended { promise: id, end }]);
    }
}

/// SC-34: it is due again once, after the pause, though the process dies twice.
#[test]
fn an_attempt_cut_off_by_a_crash_is_used_and_never_redialled_at_once() {
    let mut world = World::new();
    let id = world.left_behind("al");
    world.dial(id);
    let before = world.attempts[0].clone();
    world.crash(usize::MAX);
    let way = Some("way".to_owned());
    let left = LeftBehind { attempt: before, way, far_side: None };
    assert_eq!(world.heard(), [Event::LeftBehind(Box::new(left))]);
    assert!(matches!(world.book.state(id), Some(State::Armed { due }) if due == at(300)));
    world.write();
    world.crash(usize::MAX);
    assert_eq!(world.heard(), []);
    world.run_until_heard();
    assert_eq!((world.now, world.heard()), (at(300), vec![Event::Due { promise: id }]));
}

/// Contract sentence 8: no agent is attached before the answer is on disk. SC-29: reached is who
/// was connected; who answered and was not is tried again.
#[test]
fn an_answer_is_on_disk_before_an_agent_is_attached() {
    let mut world = World::new();
    let id = world.left_behind("al");
    world.dial(id);
    world.answer(id);
    assert_eq!(world.heard(), []);
    world.write();
    assert_eq!(world.heard(), [Event::AnswerReady { promise: id, attempt: 1 }]);
    assert_eq!(world.book.begin_attempt(id, None, world.now), Err(Refused::Attempting));
    world.book.attempt_ended(id, 1, Outcome::Unconnected, world.now).unwrap();
    world.write();
    world.run_until_heard();
    assert_eq!((world.now, world.heard()), (at(60), vec![Event::Due { promise: id }]));
}

#[test]
fn a_failed_disk_does_not_leave_an_answered_customer_alone() {
    let mut world = World::new();
    let id = world.left_behind("al");
    world.dial(id);
    world.answer(id);
    world.book.journal_failed();
    assert_eq!(world.heard(), [Event::AnswerReady { promise: id, attempt: 1 }]);
}

#[test]
fn an_answer_cut_off_by_a_crash_is_left_behind_with_its_far_side() {
    let mut world = World::new();
    let id = world.left_behind("al");
    world.dial(id);
    world.answer(id);
    world.write();
    world.crash(usize::MAX);
    let [Event::LeftBehind(left)] = &world.heard()[..] else { panic!("one attempt is left") };
    assert_eq!((left.way.as_deref(), left.far_side.as_deref()), (Some("way"), Some("far")));
    assert_eq!(left.attempt, world.attempts[0]);
}

/// Rather miss: the last attempt that counts was of unknown outcome. Rather twice: it is made again.
#[test]
fn what_an_unknown_outcome_costs_is_the_queues_choice() {
    for is_unknown_counted in [true, false] {
        let mut world = World::new();
        let policy = Policy { attempts_max: 1, is_unknown_counted, ..Policy::default() };
        world.policies.by_queue.insert(1, policy);
        world.book.set_policies(world.policies.clone());
        let id = world.left_behind("al");
        world.dial(id);
        world.crash(usize::MAX);
        assert_eq!(world.book.state(id).is_none(), is_unknown_counted);
    }
}

/// A number whose phone is known to be silent waits for the pause only, another for the rest.
#[test]
fn a_number_rests_until_nothing_rings_there() {
    for (is_closed, seconds) in [(false, 152), (true, 2)] {
        let mut world = World::new();
        let pauses = Pauses { unknown: vec![Duration::from_secs(2)], ..Pauses::default() };
        world.policies.standard = Policy { pauses, ..Policy::default() };
        world.book.set_policies(world.policies.clone());
        let id = world.left_behind("al");
        world.dial(id);
        world.crash(usize::MAX);
        world.heard();
        if is_closed {
            world.book.rings_no_more("al", world.now);
        }
        world.run_until_heard();
        assert_eq!((world.now, world.heard()), (at(seconds), vec![Event::Due { promise: id }]));
    }
}

/// A1, I3: however a promise ended and how often the process dies, its number is rung for nobody
/// else while a phone may ring there.
#[test]
fn a_number_rests_though_its_promise_has_ended_and_the_process_dies_again() {
    for is_broken in [true, false] {
        let mut world = World::new();
        world.policies.standard = Policy { attempts_max: 1, ..Policy::default() };
        world.book.set_policies(world.policies.clone());
        let one = world.left_behind("al");
        let other = Wanted { queue: 2, ..wanted("al", 2) };
        let two = world.book.promise(other, world.now).unwrap().promise;
        world.book.caller_gone(two, world.now).unwrap();
        world.dial(one);
        if is_broken {
            world.book.cancel(one, world.now).unwrap();
            world.book.may_ring_on("al", world.now);
            world.book.attempt_ended(one, 1, Outcome::Broken, world.now).unwrap();
        } else {
            world.crash(usize::MAX);
        }
        world.write();
        world.crash(usize::MAX);
        assert_eq!(world.book.state(one), None);
        world.heard();
        world.run_until_heard();
        assert_eq!((world.now, world.heard()), (at(152), vec![Event::Due { promise: two }]));
        let attempt = world.book.begin_attempt(two, None, world.now).unwrap().attempt;
        world.write();
        world.book.attempt_ended(two, attempt, Outcome::Busy, world.now).unwrap();
        world.write();
        world.crash(usize::MAX);
        assert!(world.book.resting.is_empty(), "it is known what became of the last attempt");
    }
}

#[test]
fn a_number_and_a_queue_have_limits_by_the_day() {
    let mut world = World::new();
    let policy = Policy { number_day_max: 2, queue_day_max: 3, ..Policy::default() };
    world.policies.standard = policy;
    world.book.set_policies(world.policies.clone());
    for number in ["al", "al", "bo"] {
        let id = world.promise(number);
        if number == "al" {
            world.book.cancel(id, world.now).unwrap();
        }
    }
    assert_eq!(world.book.promise(wanted("ci", 4), world.now), Err(Refused::QueueLimit));
    let merged = world.book.promise(wanted("bo", 5), world.now).unwrap();
    assert!(!merged.is_new, "a promise that stands is no new one");
    world.now = at(86_401);
    assert!(world.book.promise(wanted("ci", 6), world.now).unwrap().is_new);

    world.policies.standard.queue_day_max = 100;
    world.book.set_policies(world.policies.clone());
    for _ in 0..2 {
        let id = world.promise("al");
        world.book.cancel(id, world.now).unwrap();
    }
    assert_eq!(world.book.promise(wanted("al", 9), world.now), Err(Refused::NumberLimit));
}

/// A2: nothing is owed for ever.
#[test]
fn a_promise_that_is_never_attempted_expires_after_a_day() {
    let mut world = World::new();
    let id = world.left_behind("al");
    world.crash(usize::MAX);
    world.run_until_heard();
    assert_eq!(world.heard(), [Event::Due { promise: id }]);
    world.run_until_heard();
    world.write();
    assert_eq!(world.heard(), [Event::Ended { promise: id, end: End::Expired }]);
    assert_eq!(world.now, at(86_400));
}

/// I3: the second is told that the number is busy.
#[test]
fn two_promises_never_dial_one_number_and_a_failed_disk_stops_both() {
    let mut world = World::new();
    let one = world.left_behind("al");
    let other = Wanted { queue: 2, ..wanted("al", 2) };
    let two = world.book.promise(other, world.now).unwrap().promise;
    world.book.caller_gone(two, world.now).unwrap();
    world.dial(one);
    assert_eq!(world.book.begin_attempt(two, None, world.now), Err(Refused::NumberBusy));
    world.book.attempt_ended(one, 1, Outcome::Busy, world.now).unwrap();
    world.book.journal_failed();
    assert_eq!(world.book.begin_attempt(two, None, world.now), Err(Refused::JournalFailed));
    assert_eq!(world.book.promise(wanted("bo", 3), world.now), Err(Refused::JournalFailed));
}

#[test]
fn a_journal_that_makes_no_sense_names_the_record() {
    let promise = PromiseId(3);
    let record = Record::AttemptPlanned { promise, attempt: 1, way: None, at_ms: 0 };
    let journal = Journal { records: vec![(5, record)], ..Journal::empty(SECRET) };
    let restored = Book::restore(journal, Policies::default(), EPOCH_MS, Tick::ZERO);
    assert_eq!(restored.unwrap_err(), RestoreError { sequence: 5 });
}

struct World {
    book: Book,
    policies: Policies,
    /// Every record that was ever on disk.
    disk: Vec<(u64, Record)>,
    /// Handed to the disk, and lost with the power.
    cache: Vec<(u64, Record)>,
    /// Since this life of the book began, which was at `born_ms`.
    now: Tick,
    born_ms: u64,
    attempts: Vec<Attempt>,
    /// Phones that ring, by the attempt that makes them.
    ringing: BTreeMap<(PromiseId, u32), Phone>,
    /// What requests with these keys came to, and the records that say so.
    requested: BTreeMap<String, (PromiseId, u64)>,
}

struct Phone {
    number: String,
    /// When it stops by itself, if nobody is left to hang up.
    until: Option<Tick>,
}

impl World {
    fn new() -> Self {
        let journal = Journal::empty(SECRET);
        let book = Book::restore(journal, Policies::default(), EPOCH_MS, Tick::ZERO).unwrap();
        let (now, born_ms) = (Tick::ZERO, EPOCH_MS);
        let (disk, cache, attempts) = (Vec::new(), Vec::new(), Vec::new());
        let (policies, ringing) = (Policies::default(), BTreeMap::new());
        let requested = BTreeMap::new();
        Self { book, policies, disk, cache, now, born_ms, attempts, ringing, requested }
    }

    fn promise(&mut self, number: &str) -> PromiseId {
        self.book.promise(wanted(number, 1), self.now).unwrap().promise
    }

    fn left_behind(&mut self, number: &str) -> PromiseId {
        let id = self.promise(number);
        self.book.caller_gone(id, self.now).unwrap();
        self.write();
        self.heard();
        id
    }

    fn dial(&mut self, id: PromiseId) {
        self.attempts.push(self.book.begin_attempt(id, Some("way".to_owned()), self.now).unwrap());
        self.write();
        self.heard();
    }

    fn fetch(&mut self) {
        while let Some(record) = self.book.poll_record() {
            self.cache.push(record);
        }
    }

    fn write(&mut self) {
        self.fetch();
        self.disk.append(&mut self.cache);
        let last = self.disk.last().map_or(0, |(sequence, _)| *sequence);
        self.book.durable_up_to(last, self.now);
    }

    /// The process dies with `kept` of the unacknowledged records on disk, and starts again.
    fn crash(&mut self, kept: usize) {
        self.fetch();
        let kept = kept.min(self.cache.len());
        self.disk.extend(self.cache.drain(..).take(kept));
        let lately = self.wall_ms() - REST_MAX.as_millis() as u64;
        let has_ended = |record: &Record| record.end().is_some() && record.at_ms() < lately;
        let ended: Vec<PromiseId> =
            self.disk.iter().filter(|(_, r)| has_ended(r)).map(|(_, r)| r.promise()).collect();
        let open = self.disk.iter().filter(|(_, record)| !ended.contains(&record.promise()));
        let journal = Journal {
            records: open.cloned().collect(),
            last_sequence: self.disk.last().map_or(0, |(sequence, _)| *sequence),
            last_promise: self.disk.iter().map(|(_, r)| r.promise().0).max().unwrap_or(0),
            requests: self.disk.clone(),
            secret: SECRET,
            made: Vec::new(),
        };
        let written = self.disk.last().map_or(0, |(sequence, _)| *sequence);
        self.requested.retain(|_, (_, recorded)| *recorded <= written);
        self.born_ms += self.now.as_millis();
        let life = std::mem::replace(&mut self.now, Tick::ZERO);
        let started_ms = self.born_ms;
        self.book = Book::restore(journal, self.policies.clone(), started_ms, self.now).unwrap();
        for phone in self.ringing.values_mut() {
            phone.until = Some(
                phone.until.map_or(Tick::ZERO + RINGS_ON, |until| Tick::ZERO + until.since(life)),
            );
        }
    }

    fn heard(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.book.poll_event()).collect()
    }

    fn run_until_heard(&mut self) {
        while self.book.events.is_empty() {
            let Some(due) = self.book.poll_timeout() else { return };
            self.now = self.now.max(due);
            self.book.handle_timeout(self.now);
            self.write();
        }
    }

    fn answer(&mut self, id: PromiseId) {
        if let Some(State::Dialling { attempt }) = self.book.state(id) {
            let far = || "far".to_owned();
            self.book.attempt_ringing(id, attempt, far(), self.now);
            self.book.attempt_answered(id, attempt, Some(far()), self.now).unwrap();
        }
    }
}

fn wanted(number: &str, nth: u64) -> Wanted {
    let (number, trunk) = (number.to_owned(), "trunk".to_owned());
    Wanted { queue: 1, number, name: None, trunk, place: place(nth), override_hours: None }
}

fn place(nth: u64) -> Place {
    Place { class: 1, enqueued_us: EPOCH_MS * 1000 + nth, sequence: nth }
}

fn at(seconds: u64) -> Tick {
    Tick::ZERO + Duration::from_secs(seconds)
}
