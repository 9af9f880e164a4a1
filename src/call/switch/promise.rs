//! Promises: written down before they are confirmed, dialled by one attempt at a time, and never
//! without a place to come back to.
//!
//! The book decides; this file brings its words together with legs, queue entries and dials.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use crate::base::{Armed, Tick};
use crate::call::dial::Caller;
use crate::call::leg::{EndReason, LegRef, leg_text};
use crate::call::switch::ask::{Ask, Failed};
use crate::call::switch::{AskRef, Fact, Output, Pending, Switch, Wake};
use crate::dispatch::{EntryId, OrderKey, Party, Placement};
use crate::promise::{
    Book, End, Event, Journal, Outcome, Place, Policies, Policy, PromiseId, Record, RestoreError,
    Secret, State,
};
use crate::sip::CloseOutId;

/// The book, and what its promises are in this process.
#[derive(Debug)]
pub(super) struct Promises {
    pub(super) book: Book,
    policies: Policies,
    /// Promises by the entry that they were made or restored for, as long as they are open.
    pub(super) by_entry: BTreeMap<EntryId, PromiseId>,
    /// Numbers that the runs of these entries must not dial any more: their promise was taken back.
    pub(super) withdrawn: BTreeMap<EntryId, String>,
    /// Promises without a place that are left to a run for a while.
    left_to_run: BTreeMap<PromiseId, Armed>,
    /// Legs of customers who have answered, or were bridged while they rang.
    pub(super) legs: BTreeMap<PromiseId, LegRef>,
    /// The agent who took the offer of a promise, and waits for its customer.
    pub(super) agents: BTreeMap<PromiseId, LegRef>,
    /// Counters, since the process began.
    pub(super) counts: PromiseCounts,
    /// What an earlier process left behind, and is being taken back: promise and number.
    pub(super) close_outs: BTreeMap<CloseOutId, (PromiseId, String)>,
}

/// What became of promises and attempts, since the process began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PromiseCounts {
    /// Promises that were made.
    pub made: u64,
    /// Promises that have ended, by how.
    pub ended: BTreeMap<End, u64>,
    /// Attempts that are over, by outcome.
    pub attempts: BTreeMap<Outcome, u64>,
}

impl PromiseCounts {
    fn count(&mut self, record: &Record) {
        match record {
            Record::Promised { .. } => self.made += 1,
            Record::AttemptEnded { outcome, .. } => {
                *self.attempts.entry(*outcome).or_default() += 1;
            }
            Record::AttemptPlanned { .. }
            | Record::AttemptRinging { .. }
            | Record::AttemptAnswered { .. }
            | Record::Merged { .. }
            | Record::Ended { .. } => {}
        }
        if let Some(end) = record.end() {
            *self.ended.entry(end).or_default() += 1;
        }
    }
}

impl Promises {
    /// Nothing is promised yet.
    pub(super) fn new(secret: [u64; 2], epoch_ms: u64) -> Self {
        let journal = Journal::empty(Secret(secret));
        let policies = Policies::default();
        let book = Book::restore(journal, policies.clone(), epoch_ms, Tick::ZERO);
        Self {
            book: book.expect("an empty journal is in order"),
            policies,
            by_entry: BTreeMap::new(),
            withdrawn: BTreeMap::new(),
            left_to_run: BTreeMap::new(),
            legs: BTreeMap::new(),
            agents: BTreeMap::new(),
            counts: PromiseCounts::default(),
            close_outs: BTreeMap::new(),
        }
    }

    /// Promises of this queue are kept like this from now on.
    pub(super) fn set_policy(&mut self, queue: u64, policy: Policy) {
        self.policies.by_queue.insert(queue, policy);
        self.book.set_policies(self.policies.clone());
    }

    pub(super) fn poll_timeout(&self) -> Option<Tick> {
        self.book.poll_timeout()
    }

    /// What only this installation knows, and knows again after a restart.
    pub(super) const fn secret(&self) -> [u64; 2] {
        self.book.secret().0
    }

    /// What became of promises and attempts.
    pub(super) const fn counts(&self) -> &PromiseCounts {
        &self.counts
    }

    /// Open promises.
    pub(super) fn len(&self) -> usize {
        self.book.iter().count()
    }
}

impl Switch {
    /// What became of promises and attempts, since the process began.
    pub const fn promise_counts(&self) -> &PromiseCounts {
        self.promises.counts()
    }

    /// Takes up what an earlier process promised; before the first call, after the last flow.
    pub fn restore(&mut self, journal: Journal, now: Tick) -> Result<(), RestoreError> {
        let policies = self.promises.policies.clone();
        let book = Book::restore(journal, policies, self.config.epoch_ms, now)?;
        self.promises.book = book;
        self.drain_promises(now);
        Ok(())
    }

    /// Whether this record is on disk: `None` when it never will be.
    pub fn is_durable(&self, sequence: u64) -> Option<bool> {
        let book = &self.promises.book;
        let is_durable = book.is_durable(sequence);
        (is_durable || !book.is_journal_failed()).then_some(is_durable)
    }

    /// Every record up to this number is on disk.
    pub fn handle_durable(&mut self, sequence: u64, now: Tick) {
        self.promises.book.durable_up_to(sequence, now);
        self.drain_promises(now);
        self.drain_endpoint(now);
    }

    /// The disk refuses: nothing is promised any more; who waits for a promise is told, and agents
    /// are for those who wait on the line. What was promised stays on disk for the next process.
    pub fn handle_journal_failed(&mut self, now: Tick) {
        if self.promises.book.is_journal_failed() {
            return;
        }
        self.promises.book.journal_failed();
        self.shelve_callbacks(now);
        let waits =
            |pending: &Pending| matches!(pending, Pending::Promise { .. } | Pending::Attempt(_));
        let stuck = self.pending.iter().filter(|(_, (_, pending))| waits(pending));
        for key in stuck.map(|(key, _)| *key).collect::<Vec<_>>() {
            let Some((ask, pending)) = self.pending.remove(&key) else { continue };
            if let Pending::Promise { leg, .. } = pending {
                self.leave_leg(leg, key);
                self.release(leg, now);
            }
            self.fail(&ask, Failed::Promise(crate::promise::Refused::JournalFailed));
        }
        self.drain_promises(now);
    }

    /// Promises a callback to the caller of an entry; the run goes on when it is on disk (QC-06).
    pub(super) fn promise_callback(&mut self, ask: Ask, leg: LegRef, entry: EntryId, now: Tick) {
        let wanted = match self.wanted(entry) {
            Some(wanted) => wanted,
            None => return self.fail(&ask, Failed::NumberWithheld),
        };
        let promised = match self.promises.book.promise(wanted, now) {
            Ok(promised) => promised,
            Err(refused) => return self.fail(&ask, Failed::Promise(refused)),
        };
        self.promises.by_entry.insert(entry, promised.promise);
        if let Some(leg) = self.legs.get_mut(leg) {
            leg.promise = Some(promised.promise);
            leg.waiting.push(ask.key);
        }
        self.retain(leg, now);
        self.suspend(ask, Pending::Promise { leg, promise: promised.promise });
        self.drain_promises(now);
    }

    /// Takes back the promise of an entry, if it has one.
    pub(super) fn unpromise(&mut self, leg: LegRef, entry: EntryId, now: Tick) {
        if let Some(promise) = self.promises.by_entry.remove(&entry) {
            let _ = self.promises.book.cancel(promise, now);
            if let Some(leg) = self.legs.get_mut(leg) {
                leg.promise = None;
            }
        }
        self.drain_promises(now);
    }

    /// A caller with a promise has joined a queue again: the promise is live, never dialled (A10).
    pub(super) fn resume_promise(&mut self, leg: LegRef, entry: EntryId, now: Tick) {
        let Some(wanted) = self.wanted(entry) else { return };
        let Some(promise) = self.promises.book.find(wanted.queue, &wanted.number) else { return };
        let _ = self.promises.book.resume_live(promise, now);
        self.promises.by_entry.insert(entry, promise);
        if let Some(leg) = self.legs.get_mut(leg) {
            leg.promise = Some(promise);
        }
        self.mark_callback(entry);
        self.drain_promises(now);
    }

    /// The caller of a promise has hung up. `has_place`: his entry stays in its queue.
    pub(super) fn on_promised_caller_gone(
        &mut self,
        promise: PromiseId,
        has_place: bool,
        now: Tick,
    ) {
        let _ = self.promises.book.caller_gone(promise, now);
        if self.promises.book.is_journal_failed() {
            self.shelve_callbacks(now);
        }
        if !has_place {
            // The run that was about to serve him may call him back at once; if it does not, the
            // promise gets a place again.
            self.leave_to_run(promise, now);
        }
        self.drain_promises(now);
    }

    /// The caller of a promise has been bridged: nothing is owed any more.
    pub(super) fn on_promise_served(&mut self, promise: PromiseId, now: Tick) {
        let _ = self.promises.book.served_live(promise, now);
        self.drain_promises(now);
    }

    /// A callback's entry has ended, whatever the reason: until its customer is reached the
    /// promise comes back.
    pub(super) fn on_callback_entry_ended(&mut self, entry: EntryId, now: Tick) {
        if let Some(promise) = self.promises.by_entry.get(&entry).copied() {
            self.leave_to_run(promise, now);
        }
    }

    fn leave_to_run(&mut self, promise: PromiseId, now: Tick) {
        self.take_from_run(promise);
        let armed = self.timers.arm(now + PLACE_WAIT, Wake::Place(promise));
        self.promises.left_to_run.insert(promise, armed);
    }

    pub(super) fn take_from_run(&mut self, promise: PromiseId) {
        if let Some(armed) = self.promises.left_to_run.remove(&promise) {
            self.timers.clear(armed);
        }
    }

    /// A run that was started for an entry has ended: its promise is left to nobody any more, unless
    /// another run still serves it.
    pub(super) fn on_entry_run_finished(&mut self, entry: EntryId, now: Tick) {
        let is_served = self.runs.values().any(|card| card.entry == Some(entry));
        if !is_served {
            self.promises.withdrawn.remove(&entry);
        }
        let Some(promise) = self.promises.by_entry.get(&entry).copied() else { return };
        if !is_served {
            self.let_go_of_unconnected(promise, now);
        }
        let is_left = self.promises.left_to_run.contains_key(&promise);
        if is_left && !is_served {
            self.take_from_run(promise);
            self.on_place_wait(promise, now);
        }
    }

    /// A customer who has answered, and whom no run will connect any more, hears nobody: he is let
    /// go at once, and called again in his turn.
    fn let_go_of_unconnected(&mut self, promise: PromiseId, now: Tick) {
        let Some(id) = self.promises.legs.get(&promise).copied() else { return };
        let Some(leg) = self.legs.get(id) else { return };
        let is_kept = leg.peer.is_some() || leg.retained > 0;
        if leg.attempt.is_some() && leg.ended.is_none() && !is_kept {
            self.hangup_leg(id, EndReason::Broken, now);
        }
    }

    /// A promise that was left to a run: if nobody dials it and nobody queues it, it waits for its
    /// next turn.
    pub(super) fn on_place_wait(&mut self, promise: PromiseId, now: Tick) {
        self.promises.left_to_run.remove(&promise);
        let is_queued = self.promises.book.state(promise) == Some(State::Queued);
        let mut entries = self.promises.by_entry.iter().filter(|(_, other)| **other == promise);
        if is_queued && !entries.any(|(entry, _)| self.has_entry(*entry)) {
            let _ = self.promises.book.postpone(promise, now);
            self.drain_promises(now);
        }
    }

    /// The book's own timers.
    pub(super) fn on_promise_timeout(&mut self, now: Tick) {
        self.promises.book.handle_timeout(now);
        self.drain_promises(now);
    }

    pub(super) fn drain_promises(&mut self, now: Tick) {
        loop {
            if let Some((sequence, record)) = self.promises.book.poll_record() {
                self.promises.counts.count(&record);
                self.outputs.push_back(Output::Record(sequence, record));
            } else if let Some(event) = self.promises.book.poll_event() {
                self.on_promise_event(event, now);
            } else {
                return;
            }
        }
    }

    fn on_promise_event(&mut self, event: Event, now: Tick) {
        match event {
            Event::Confirmed { promise } => self.on_confirmed(promise, now),
            Event::Due { promise } => self.on_due(promise, now),
            Event::Shelved { promise } => self.shelve_promise(promise, now),
            Event::AttemptReady { promise, attempt } => {
                self.on_attempt_ready(promise, attempt, now)
            }
            Event::AttemptDropped { promise, attempt, why } => {
                self.on_attempt_dropped(promise, attempt, why);
            }
            Event::AnswerReady { promise, attempt } => self.on_answer_ready(promise, attempt, now),
            Event::BreakAttempt { promise, attempt } => self.break_attempt(promise, attempt, now),
            Event::LeftBehind(left) => self.take_back(*left, now),
            Event::Ended { promise, end } => {
                // One whose time ran out is not offered any more.
                self.take_out(promise, "its promise has ended", now);
                self.promises.by_entry.retain(|_, other| *other != promise);
                self.promises.agents.remove(&promise);
                self.take_from_run(promise);
                let end = format!("{end:?}").to_lowercase();
                self.tell(Fact::PromiseEnded { promise: promise.0, end });
            }
        }
    }

    fn on_confirmed(&mut self, promise: PromiseId, now: Tick) {
        let waits = |pending: &Pending| matches!(pending, Pending::Promise { promise: waited, .. } if *waited == promise);
        let found = self.pending.iter().filter(|(_, (_, pending))| waits(pending));
        for key in found.map(|(key, _)| *key).collect::<Vec<AskRef>>() {
            let Some((ask, Pending::Promise { leg, .. })) = self.pending.remove(&key) else {
                continue;
            };
            self.leave_leg(leg, key);
            self.answer(&ask, 0, json!({ "legId": leg_text(leg) }), None);
            self.release(leg, now);
        }
        self.tell(Fact::Promised { promise: promise.0 });
    }

    fn on_due(&mut self, promise: PromiseId, now: Tick) {
        let Some(wanted) = self.promises.book.wanted(promise).cloned() else { return };
        let key = order_key(wanted.place);
        let caller = Caller {
            number: wanted.number.clone(),
            name: wanted.name.clone().unwrap_or_default(),
            ..Caller::default()
        };
        let queue = self.queue_by_key(wanted.queue);
        if queue.is_some_and(|queue| !self.may_call_back(queue, &wanted.number)) {
            // The settings have changed since it was promised (A5).
            let _ = self.promises.book.cancel(promise, now);
            return;
        }
        let party = Party { number: Some(wanted.number), trunk: wanted.trunk };
        let queue = queue.filter(|_| !self.promises.book.is_journal_failed());
        let entry = queue.and_then(|queue| self.put_callback(queue, party, key, caller, now));
        match entry {
            Some(entry) => {
                self.promises.by_entry.insert(entry, promise);
                self.drain_queues(now);
            }
            // Its queue is gone or full: it stays due, and a later flow may bring the queue back.
            None => {
                let _ = self.promises.book.postpone(promise, now);
            }
        }
    }
}

/// How long a promise without a place may be left to the run that serves it.
const PLACE_WAIT: Duration = Duration::from_secs(120);

const fn order_key(place: Place) -> OrderKey {
    let placement = if place.class == 0 { Placement::Front } else { Placement::Back };
    OrderKey { placement, enqueued_us: place.enqueued_us, sequence: place.sequence }
}
