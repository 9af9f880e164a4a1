//! The book after a restart: what the records say, and what they leave open.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use crate::base::{Tick, Timers};

use super::book::{Book, Promise, Wake};
use super::limit::Limits;
use super::record::{Journal, Next, Record};
use super::request::Requests;
use super::types::{Event, LeftBehind, Outcome, Policies, PromiseId, State, Wanted};

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
        policies: Policies,
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
            limits: Limits::default(),
            requests: Requests::default(),
            policies,
            secret: journal.secret,
            started_ms,
            last_promise: journal.last_promise,
            last_sequence: journal.last_sequence,
            durable: journal.last_sequence,
            is_journal_failed: false,
        };
        for made in journal.made {
            book.limits.note(made);
        }
        for (sequence, record) in journal.requests {
            book.requests.note(sequence, &record);
        }
        for (sequence, record) in journal.records {
            book.replay(sequence, record, now).ok_or(RestoreError { sequence })?;
        }
        let open: Vec<PromiseId> = book.promises.keys().copied().collect();
        for id in open {
            book.resume(id, now);
        }
        Ok(book)
    }

    /// Takes one record in; `None` when it cannot follow on those before it.
    fn replay(&mut self, sequence: u64, record: Record, now: Tick) -> Option<()> {
        self.last_sequence = self.last_sequence.max(sequence);
        self.durable = self.last_sequence;
        self.requests.note(sequence, &record);
        let is_last = record.end().is_some();
        let id = record.promise();
        match record {
            Record::Promised {
                queue,
                number,
                name,
                trunk,
                place,
                expires_ms,
                override_hours,
                ..
            } => {
                let wanted = Wanted { queue, number, name, trunk, place, override_hours };
                self.replay_promised(id, sequence, wanted, expires_ms)?;
            }
            Record::Merged { override_hours, .. } => {
                let promise = self.promises.get_mut(&id)?;
                promise.wanted.override_hours =
                    override_hours.or(promise.wanted.override_hours.take());
            }
            Record::AttemptPlanned { attempt, way, .. } => {
                let promise = self.promises.get_mut(&id)?;
                (attempt > promise.attempts).then_some(())?;
                promise.attempts = attempt;
                promise.way = way;
                promise.far_side = None;
                promise.state = State::Dialling { attempt };
                // Whatever rang there was known to be silent.
                self.resting.remove(&promise.wanted.number);
            }
            Record::AttemptRinging { attempt, far_side, .. } => {
                let promise = self.promises.get_mut(&id)?;
                (promise.state == State::Dialling { attempt }).then_some(())?;
                promise.far_side = Some(far_side);
            }
            Record::AttemptAnswered { attempt, far_side, .. } => {
                let promise = self.promises.get_mut(&id)?;
                (promise.state == State::Dialling { attempt }).then_some(())?;
                promise.far_side = far_side;
                promise.state = State::Answered { attempt };
            }
            Record::AttemptEnded { attempt, outcome, next, at_ms, .. } => {
                let due = match next {
                    Next::Armed { due_ms } => Some(self.tick_at(due_ms)),
                    Next::Live | Next::Ended(_) => None,
                };
                let promise = self.promises.get_mut(&id)?;
                let is_under_way = [State::Dialling { attempt }, State::Answered { attempt }]
                    .contains(&promise.state);
                is_under_way.then_some(())?;
                let policy = self.policies.of(promise.wanted.queue);
                promise.count(outcome, policy);
                (promise.way, promise.far_side) = (None, None);
                promise.state = due.map_or(State::Queued, |due| State::Armed { due });
                let number = promise.wanted.number.clone();
                self.replay_rest(&number, outcome, at_ms, now);
            }
            Record::Ended { .. } => {}
        }
        if is_last {
            let promise = self.promises.remove(&id)?;
            self.by_number.remove(&(promise.wanted.queue, promise.wanted.number));
        }
        Some(())
    }

    fn replay_promised(
        &mut self,
        id: PromiseId,
        sequence: u64,
        wanted: Wanted,
        expires_ms: u64,
    ) -> Option<()> {
        let (queue, number) = (wanted.queue, wanted.number.clone());
        let promise = Promise::new(wanted, sequence, self.tick_at(expires_ms), State::Queued);
        self.last_promise = self.last_promise.max(id.0);
        let is_new = self.promises.insert(id, promise).is_none();
        let is_only = self.by_number.insert((queue, number), id).is_none();
        (is_new && is_only).then_some(())
    }

    /// Goes on with an open promise where the records end.
    fn resume(&mut self, id: PromiseId, now: Tick) {
        let Promise { state, expires, .. } = self.known(id);
        let (state, expires) = (*state, *expires);
        let armed = self.timers.arm(expires, Wake::Expiry(id));
        self.known_mut(id).expiry = Some(armed);
        match state {
            State::Live | State::Queued | State::Closed { .. } => self.resume_at(id, now),
            State::Armed { due } => self.resume_at(id, due.max(now)),
            State::Planned { attempt }
            | State::Dialling { attempt }
            | State::Answered { attempt } => {
                let attempt_left = self.attempt(id, attempt);
                let promise = self.known_mut(id);
                let (way, far_side) = (promise.way.take(), promise.far_side.take());
                let left = LeftBehind { attempt: attempt_left, way, far_side };
                self.events.push_back(Event::LeftBehind(Box::new(left)));
                self.close_attempt(id, attempt, Outcome::Unknown, now);
            }
        }
    }

    fn resume_at(&mut self, id: PromiseId, earliest: Tick) {
        let due = self.after_rest(id, earliest);
        self.arm(id, due);
    }
}
