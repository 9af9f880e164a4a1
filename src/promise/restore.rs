//! The book after a restart: what the records say, and what they leave open.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use crate::base::{Tick, Timers};

use super::book::{After, Book, Promise, Wake};
use super::record::{Journal, Next, Record};
use super::types::{Event, Outcome, Policy, PromiseId, State, Wanted};

/// A record that cannot follow on those before it: the journal is not one that this program wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoreError {
    /// The record's sequence number.
    pub sequence: u64,
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record {} does not follow on those before it", self.sequence)
    }
}

impl std::error::Error for RestoreError {}

impl Book {
    /// The book as the journal left it. `started_ms`: the wall clock at `Tick::ZERO`, in
    /// milliseconds since the Unix epoch.
    ///
    /// Whoever was on the line or in the queue is due at once: those legs died with the process.
    /// An attempt without an end is over with [`Outcome::Unknown`]: it is used, what is left of it
    /// comes out as [`Event::LeftBehind`], and the next one waits as after any other.
    pub fn restore(
        journal: Journal,
        policy: Policy,
        started_ms: u64,
        now: Tick,
    ) -> Result<Self, RestoreError> {
        let mut book = Self {
            promises: BTreeMap::new(),
            by_number: BTreeMap::new(),
            dialled: BTreeMap::new(),
            resting: BTreeMap::new(),
            timers: Timers::new(),
            records: VecDeque::new(),
            awaiting: VecDeque::new(),
            events: VecDeque::new(),
            policy,
            secret: journal.secret,
            started_ms,
            last_promise: journal.last_promise,
            last_sequence: journal.last_sequence,
            durable: journal.last_sequence,
            is_journal_failed: false,
        };
        for (sequence, record) in journal.records {
            book.replay(sequence, record).ok_or(RestoreError { sequence })?;
        }
        let open: Vec<PromiseId> = book.promises.keys().copied().collect();
        for id in open {
            book.resume(id, now);
        }
        Ok(book)
    }

    /// Takes one record in; `None` when it cannot follow on those before it.
    fn replay(&mut self, sequence: u64, record: Record) -> Option<()> {
        self.last_sequence = self.last_sequence.max(sequence);
        self.durable = self.last_sequence;
        let is_last = record.end().is_some();
        let id = record.promise();
        match record {
            Record::Promised { queue, number, name, trunk, place, expires_ms, .. } => {
                let wanted = Wanted { queue, number: number.clone(), name, trunk, place };
                let expires = self.tick_at(expires_ms);
                let promise = Promise {
                    wanted,
                    recorded: sequence,
                    expires,
                    expiry: None,
                    due: None,
                    state: State::Queued,
                    after: After::Retry,
                    attempts: 0,
                    counted: 0,
                };
                self.last_promise = self.last_promise.max(id.0);
                let is_new = self.promises.insert(id, promise).is_none();
                let is_only = self.by_number.insert((queue, number), id).is_none();
                (is_new && is_only).then_some(())?;
            }
            Record::AttemptPlanned { attempt, .. } => {
                let promise = self.promises.get_mut(&id)?;
                (attempt > promise.attempts).then_some(())?;
                promise.attempts = attempt;
                promise.state = State::Dialling { attempt };
            }
            Record::AttemptEnded { attempt, outcome, next, .. } => {
                let due = match next {
                    Next::Armed { due_ms } => Some(self.tick_at(due_ms)),
                    Next::Live | Next::Ended(_) => None,
                };
                let promise = self.promises.get_mut(&id)?;
                (promise.state == State::Dialling { attempt }).then_some(())?;
                promise.counted += u32::from(outcome.counts());
                if let (Outcome::Unknown, Some(due)) = (outcome, due) {
                    self.resting.insert(promise.wanted.number.clone(), due);
                }
                promise.state = due.map_or(State::Queued, |due| State::Armed { due });
            }
            Record::Ended { .. } => {}
        }
        if is_last {
            let promise = self.promises.remove(&id)?;
            self.by_number.remove(&(promise.wanted.queue, promise.wanted.number));
        }
        Some(())
    }

    /// Goes on with an open promise where the records end.
    fn resume(&mut self, id: PromiseId, now: Tick) {
        let Promise { state, expires, .. } = *self.known(id);
        let armed = self.timers.arm(expires, Wake::Expiry(id));
        self.known_mut(id).expiry = Some(armed);
        match state {
            State::Live | State::Queued => self.arm(id, now),
            State::Armed { due } => self.arm(id, due.max(now)),
            State::Planned { attempt } | State::Dialling { attempt } => {
                let left = self.attempt(id, attempt);
                // Longer than a ring time and the 64*T1 that a lost CANCEL may take.
                self.resting.insert(left.number.clone(), now + self.policy.waits[0]);
                self.events.push_back(Event::LeftBehind(left));
                self.close_attempt(id, attempt, Outcome::Unknown, now);
            }
        }
    }

    fn tick_at(&self, wall_ms: u64) -> Tick {
        Tick::from_micros(wall_ms.saturating_sub(self.started_ms).saturating_mul(1000))
    }
}
