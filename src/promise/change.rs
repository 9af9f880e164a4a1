//! How a promise changes: opened, armed, planned, dialled, ended; and what is written of it.

use crate::base::Tick;

use super::book::{After, Awaited, Book, Promise, Wake};
use super::record::{Made, Next, Record};
use super::request::Keyed;
use super::types::{
    Attempt, BROKEN_FREE_MAX, End, Event, Outcome, Policy, PromiseId, Refused, State, Wanted,
};

impl Book {
    /// Makes a promise to somebody on the line, or by a request from outside; its id, and the
    /// number of its record.
    pub(super) fn open(
        &mut self,
        wanted: Wanted,
        request: Option<Keyed>,
        now: Tick,
    ) -> (PromiseId, u64) {
        self.last_promise += 1;
        let id = PromiseId(self.last_promise);
        let policy = self.policies.of(wanted.queue);
        let expires = match wanted.override_hours {
            Some(_) => now + policy.expiry,
            None => self.tick_at(policy.hours.after(self.wall_ms(now), policy.expiry)),
        };
        let (queue, number, at_ms) = (wanted.queue, wanted.number.clone(), self.wall_ms(now));
        self.limits.note(Made { queue, number, at_ms });
        let record = Record::Promised {
            promise: id,
            queue: wanted.queue,
            number: wanted.number.clone(),
            name: wanted.name.clone(),
            trunk: wanted.trunk.clone(),
            place: wanted.place,
            made_ms: self.wall_ms(now),
            expires_ms: self.wall_ms(expires),
            request,
            override_hours: wanted.override_hours.clone(),
        };
        let recorded = self.write(record);
        self.by_number.insert((wanted.queue, wanted.number.clone()), id);
        let mut promise = Promise::new(wanted, recorded, expires, State::Live);
        promise.expiry = Some(self.timers.arm(expires, Wake::Expiry(id)));
        self.promises.insert(id, promise);
        self.when_durable(recorded, Awaited::Confirmed(id));
        (id, recorded)
    }

    pub(super) fn plan(&mut self, id: PromiseId, way: Option<String>, now: Tick) -> Attempt {
        let promise = self.known_mut(id);
        promise.attempts += 1;
        promise.way.clone_from(&way);
        promise.far_side = None;
        promise.after = After::Retry;
        let (attempt, number) = (promise.attempts, promise.wanted.number.clone());
        self.turn(id, State::Planned { attempt });
        self.dialled.insert(number, id);
        let at_ms = self.wall_ms(now);
        let sequence = self.write(Record::AttemptPlanned { promise: id, attempt, way, at_ms });
        self.when_durable(sequence, Awaited::Attempt(id, attempt));
        self.attempt(id, attempt)
    }

    /// Ends the attempt and says in the same record what follows.
    pub(super) fn close_attempt(
        &mut self,
        id: PromiseId,
        attempt: u32,
        outcome: Outcome,
        now: Tick,
    ) {
        let Self { promises, policies, .. } = self;
        let promise = promises.get_mut(&id).expect("callers pass open promises");
        let policy = policies.of(promise.wanted.queue);
        promise.count(outcome, policy);
        let earliest = now + policy.pauses.after(outcome, promise.counted);
        let is_unknown = outcome == Outcome::Unknown;
        let attempts_max = policy.attempts_max;
        (promise.way, promise.far_side) = (None, None);
        let last = match outcome {
            Outcome::Reached => Some(End::Reached),
            Outcome::Refused => Some(End::Refused),
            Outcome::Invalid => Some(End::Invalid),
            Outcome::Unconnected
            | Outcome::Busy
            | Outcome::NoAnswer
            | Outcome::Network
            | Outcome::Broken
            | Outcome::Closed
            | Outcome::Unknown => match promise.after {
                After::Cancel => Some(End::Cancelled),
                After::Live => None,
                After::Retry if promise.counted >= attempts_max => Some(End::Exhausted),
                After::Retry if now >= promise.expires => Some(End::Expired),
                After::Retry => None,
            },
        };
        let is_live = promise.after == After::Live;
        let number = promise.wanted.number.clone();
        self.dialled.remove(&number);
        if is_unknown {
            self.may_ring_on(&number, now);
        }
        let due = self.after_rest(id, earliest);
        let next = match last {
            Some(end) => Next::Ended(end),
            None if is_live => Next::Live,
            None => Next::Armed { due_ms: self.wall_ms(due) },
        };
        let at_ms = self.wall_ms(now);
        let record = Record::AttemptEnded { promise: id, attempt, outcome, next, at_ms };
        let sequence = self.write(record);
        match next {
            Next::Ended(end) => self.forget(id, sequence, end),
            Next::Live => self.turn(id, State::Live),
            Next::Armed { .. } => self.arm(id, due),
        }
    }

    /// Ends a promise that no attempt is under way for.
    pub(super) fn end(&mut self, id: PromiseId, end: End, now: Tick) {
        let at_ms = self.wall_ms(now);
        let sequence = self.write(Record::Ended { promise: id, end, at_ms });
        self.forget(id, sequence, end);
    }

    pub(super) fn arm(&mut self, id: PromiseId, due: Tick) {
        self.turn(id, State::Armed { due });
        let armed = self.timers.arm(due, Wake::Due(id));
        self.known_mut(id).due = Some(armed);
    }

    /// The one way a state changes: a wait that it leaves is cleared.
    pub(super) fn turn(&mut self, id: PromiseId, state: State) {
        let promise = self.promises.get_mut(&id).expect("callers pass open promises");
        self.timers.clear_slot(&mut promise.due);
        promise.state = state;
    }

    pub(super) fn come_due(&mut self, id: PromiseId, now: Tick) {
        match self.closed_until(id, now) {
            Some(opens) => self.close(id, opens),
            None => {
                self.stand(id, now);
                self.events.push_back(Event::Due { promise: id });
            }
        }
    }

    /// It is the promise's turn, until the hours end.
    pub(super) fn stand(&mut self, id: PromiseId, now: Tick) {
        self.turn(id, State::Queued);
        let wanted = &self.known(id).wanted;
        if wanted.override_hours.is_some() {
            return;
        }
        let closes = self.policies.of(wanted.queue).hours.closing(self.wall_ms(now));
        if let Some(closes) = closes {
            let armed = self.timers.arm(self.tick_at(closes), Wake::Closing(id));
            self.known_mut(id).due = Some(armed);
        }
    }

    /// The hours end while it is the promise's turn.
    pub(super) fn on_closing(&mut self, id: PromiseId, now: Tick) {
        match self.closed_until(id, now) {
            Some(opens) => {
                self.close(id, opens);
                self.events.push_back(Event::Shelved { promise: id });
            }
            None => self.stand(id, now),
        }
    }

    /// Nobody is called before the hours begin; no attempt is used, and the place is kept (A5).
    pub(super) fn close(&mut self, id: PromiseId, opens: Tick) {
        self.turn(id, State::Closed { opens });
        let armed = self.timers.arm(opens, Wake::Due(id));
        self.known_mut(id).due = Some(armed);
    }

    /// When the hours of its queue begin, if the promise must not be kept now (A5).
    pub(super) fn closed_until(&self, id: PromiseId, now: Tick) -> Option<Tick> {
        let wanted = &self.known(id).wanted;
        let (hours, now_ms) = (&self.policies.of(wanted.queue).hours, self.wall_ms(now));
        let is_closed = wanted.override_hours.is_none() && !hours.is_open(now_ms);
        is_closed.then(|| self.tick_at(hours.opening(now_ms)))
    }

    /// An attempt ends before it is written down: whoever waits for it is told.
    pub(super) fn drop_attempt(
        &mut self,
        id: PromiseId,
        attempt: u32,
        outcome: Outcome,
        why: Refused,
        now: Tick,
    ) {
        self.close_attempt(id, attempt, outcome, now);
        self.events.push_back(Event::AttemptDropped { promise: id, attempt, why });
    }

    /// A customer on the line or being dialled is not dropped for the hour; what comes after looks
    /// at the time again.
    pub(super) fn expire(&mut self, id: PromiseId, now: Tick) {
        let promise = self.known_mut(id);
        promise.expiry = None;
        match promise.state {
            State::Queued | State::Armed { .. } | State::Closed { .. } => {
                self.end(id, End::Expired, now);
            }
            State::Live
            | State::Planned { .. }
            | State::Dialling { .. }
            | State::Answered { .. } => {}
        }
    }

    pub(super) fn when_durable(&mut self, sequence: u64, awaited: Awaited) {
        if sequence <= self.durable {
            self.release(awaited);
            return;
        }
        // Nearly always at the end: only a merged promise waits for an older record.
        let at = self.awaiting.partition_point(|(other, _)| *other <= sequence);
        self.awaiting.insert(at, (sequence, awaited));
    }

    /// Says what waited for the disk, unless it came to nothing meanwhile.
    pub(super) fn release(&mut self, awaited: Awaited) {
        match awaited {
            // Also of one that has ended meanwhile, which is told next: made and ended are counted.
            Awaited::Confirmed(promise) => self.events.push_back(Event::Confirmed { promise }),
            Awaited::Attempt(promise, attempt) => {
                if self.state(promise) == Some(State::Planned { attempt }) {
                    self.turn(promise, State::Dialling { attempt });
                    self.events.push_back(Event::AttemptReady { promise, attempt });
                }
            }
            Awaited::Answer(promise, attempt) => {
                if self.state(promise) == Some(State::Answered { attempt }) {
                    self.events.push_back(Event::AnswerReady { promise, attempt });
                }
            }
            Awaited::Ended(promise, end) => self.events.push_back(Event::Ended { promise, end }),
        }
    }

    pub(super) fn attempt(&self, id: PromiseId, attempt: u32) -> Attempt {
        let Wanted { queue, number, name, trunk, .. } = self.known(id).wanted.clone();
        let derive = |label| self.secret.derive(id.0, attempt, label);
        Attempt {
            promise: id,
            attempt,
            queue,
            number,
            name,
            trunk,
            call_id: derive(0) + &derive(1),
            from_tag: derive(2),
            branch: format!("z9hG4bK{}", derive(3)),
        }
    }

    pub(super) fn wall_ms(&self, at: Tick) -> u64 {
        self.started_ms.saturating_add(at.as_millis())
    }

    pub(super) fn tick_at(&self, wall_ms: u64) -> Tick {
        Tick::from_micros(wall_ms.saturating_sub(self.started_ms).saturating_mul(1000))
    }

    pub(super) fn known(&self, id: PromiseId) -> &Promise {
        self.promises.get(&id).expect("callers pass open promises")
    }

    pub(super) fn known_mut(&mut self, id: PromiseId) -> &mut Promise {
        self.promises.get_mut(&id).expect("callers pass open promises")
    }

    pub(super) fn write(&mut self, record: Record) -> u64 {
        self.last_sequence += 1;
        self.requests.note(self.last_sequence, &record);
        self.records.push_back((self.last_sequence, record));
        self.last_sequence
    }

    fn forget(&mut self, id: PromiseId, sequence: u64, end: End) {
        let mut promise = self.promises.remove(&id).expect("a promise ends once");
        self.timers.clear_slot(&mut promise.due);
        self.timers.clear_slot(&mut promise.expiry);
        self.by_number.remove(&(promise.wanted.queue, promise.wanted.number));
        self.when_durable(sequence, Awaited::Ended(id, end));
    }
}

impl Promise {
    /// One of which nobody has been dialled yet, without timers.
    pub(super) const fn new(wanted: Wanted, recorded: u64, expires: Tick, state: State) -> Self {
        Self {
            wanted,
            recorded,
            expires,
            expiry: None,
            due: None,
            state,
            after: After::Retry,
            attempts: 0,
            counted: 0,
            broken: 0,
            way: None,
            far_side: None,
        }
    }

    /// Counts the attempt if it is one of those that the customer was given: a phone rang.
    pub(super) const fn count(&mut self, outcome: Outcome, policy: &Policy) {
        let counts = match outcome {
            Outcome::Busy | Outcome::NoAnswer | Outcome::Unconnected => true,
            Outcome::Unknown => policy.is_unknown_counted,
            // Not the customer's doing; but a phone that is made to ring and let go again and
            // again, by an agent who hangs up meanwhile, is not to ring for a day.
            Outcome::Broken => {
                self.broken += 1;
                self.broken > BROKEN_FREE_MAX
            }
            // Reaching, refusing and a wrong number end the promise; the others rang nobody.
            Outcome::Reached
            | Outcome::Refused
            | Outcome::Invalid
            | Outcome::Network
            | Outcome::Closed => false,
        };
        self.counted += counts as u32;
    }
}
