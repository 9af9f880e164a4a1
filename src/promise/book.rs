//! The book: what is reported to it, and what it says to that.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound::{Excluded, Unbounded};

use crate::base::{Armed, Tick, Timers};

use super::derive::Secret;
use super::limit::Limits;
use super::record::Record;
use super::request::{KEYS_MAX, Keyed, OtherArguments, Requested, Requests};
use super::rest::Rest;
use super::types::{
    Attempt, Cancelled, End, Event, Outcome, PROMISES_MAX, Place, Policies, PromiseId, Promised,
    Refused, Stale, State, TEXT_MAX, Unknown, View, WAY_MAX, Wanted,
};

/// Every open promise.
#[derive(Debug)]
pub struct Book {
    pub(super) promises: BTreeMap<PromiseId, Promise>,
    /// At most one open promise for a queue and a number.
    pub(super) by_number: BTreeMap<(u64, String), PromiseId>,
    /// Numbers with an unfinished attempt (I3).
    pub(super) dialled: BTreeMap<String, PromiseId>,
    /// Numbers where a phone may ring that we no longer call, and until when they rest.
    pub(super) resting: BTreeMap<String, Rest>,
    pub(super) limits: Limits,
    pub(super) requests: Requests,
    pub(super) timers: Timers<Wake>,
    /// At most two for each input: the owner takes them all after it.
    pub(super) records: VecDeque<(u64, Record)>,
    /// As many as there are promises, since each waits for at most three things.
    pub(super) awaiting: VecDeque<(u64, Awaited)>,
    pub(super) events: VecDeque<Event>,
    pub(super) policies: Policies,
    pub(super) secret: Secret,
    /// The wall clock at `Tick::ZERO`. It is read once a life, so no jump of it can lose or double
    /// a due time (A14).
    pub(super) started_ms: u64,
    pub(super) last_promise: u64,
    pub(super) last_sequence: u64,
    pub(super) durable: u64,
    pub(super) is_journal_failed: bool,
}

/// Why a timer fires.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wake {
    /// The wait for the next attempt is over.
    Due(PromiseId),
    /// The hours end.
    Closing(PromiseId),
    /// The promise stands no longer.
    Expiry(PromiseId),
}

/// What is said once a record is on disk.
#[derive(Clone, Copy, Debug)]
pub(super) enum Awaited {
    Confirmed(PromiseId),
    Attempt(PromiseId, u32),
    Answer(PromiseId, u32),
    Ended(PromiseId, End),
}

#[derive(Debug)]
pub(super) struct Promise {
    pub(super) wanted: Wanted,
    /// The sequence number of its first record.
    pub(super) recorded: u64,
    pub(super) expires: Tick,
    pub(super) expiry: Option<Armed>,
    pub(super) due: Option<Armed>,
    pub(super) state: State,
    /// What is to become of it if the dial does not reach the customer.
    pub(super) after: After,
    /// The number of the last attempt.
    pub(super) attempts: u32,
    /// Attempts that count.
    pub(super) counted: u32,
    /// Attempts that were taken back.
    pub(super) broken: u32,
    /// Where the attempt under way went, and whom it found there, for the next process.
    pub(super) way: Option<String>,
    pub(super) far_side: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    Retry,
    Live,
    Cancel,
}

impl Book {
    /// Promises a callback to a customer on the line, or finds the promise that this number has
    /// in this queue and makes it live again. [`Event::Confirmed`] follows when it is on disk.
    pub fn promise(&mut self, wanted: Wanted, now: Tick) -> Result<Promised, Refused> {
        self.check_text(&wanted)?;
        if let Some(&promise) = self.by_number.get(&(wanted.queue, wanted.number.clone())) {
            self.resume_live(promise, now).expect("the index names open promises");
            let known = self.known(promise);
            let (recorded, place) = (known.recorded, known.wanted.place);
            self.when_durable(recorded, Awaited::Confirmed(promise));
            return Ok(Promised { promise, is_new: false, place });
        }
        self.check_limits(&wanted, now)?;
        let place = wanted.place;
        let (promise, _) = self.open(wanted, None, now);
        Ok(Promised { promise, is_new: true, place })
    }

    /// What a request with this key came to, if it has come before (A6).
    pub fn requested(&self, keyed: &Keyed) -> Result<Option<Requested>, Refused> {
        self.requests.find(keyed).map_err(|OtherArguments| Refused::OtherArguments)
    }

    /// What the arguments of a request are known by, should it come again.
    pub fn digest(&self, arguments: &str) -> String {
        self.secret.digest(arguments)
    }

    /// Promises a callback to somebody who is not on the line, as if he had joined now and hung
    /// up; a promise that this number has in this queue is the one. A request that comes again
    /// changes nothing. Nobody is told before the record is on disk (A6).
    pub fn request(
        &mut self,
        wanted: Wanted,
        keyed: Keyed,
        now: Tick,
    ) -> Result<Requested, Refused> {
        if let Some(requested) = self.requested(&keyed)? {
            return Ok(requested);
        }
        self.check_text(&wanted)?;
        let (now_ms, promises) = (self.wall_ms(now), &self.promises);
        if !self.requests.make_room(KEYS_MAX, now_ms, |promise| promises.contains_key(&promise)) {
            return Err(Refused::TooManyKeys);
        }
        if let Some(promise) = self.find(wanted.queue, &wanted.number) {
            let recorded = self.merge(promise, wanted.override_hours, keyed, now);
            return Ok(Requested { promise, recorded, is_merged: true, is_repeated: false });
        }
        self.check_limits(&wanted, now)?;
        let (promise, recorded) = self.open(wanted, Some(keyed), now);
        let due = self.after_rest(promise, now);
        self.arm(promise, due);
        Ok(Requested { promise, recorded, is_merged: false, is_repeated: false })
    }

    fn merge(
        &mut self,
        id: PromiseId,
        override_hours: Option<String>,
        request: Keyed,
        now: Tick,
    ) -> u64 {
        let at_ms = self.wall_ms(now);
        if override_hours.is_some() {
            self.known_mut(id).wanted.override_hours.clone_from(&override_hours);
            if matches!(self.known(id).state, State::Closed { .. }) {
                let due = self.after_rest(id, now);
                self.arm(id, due);
            }
        }
        self.write(Record::Merged { promise: id, request, override_hours, at_ms })
    }

    fn check_text(&self, wanted: &Wanted) -> Result<(), Refused> {
        if self.is_journal_failed {
            return Err(Refused::JournalFailed);
        }
        let fits = |text: &str| !text.is_empty() && text.len() <= TEXT_MAX;
        let name = wanted.name.as_ref().is_none_or(|name| name.len() <= TEXT_MAX);
        let reason = wanted.override_hours.as_deref().is_none_or(fits);
        let is_sound = fits(&wanted.number) && fits(&wanted.trunk) && name && reason;
        if is_sound { Ok(()) } else { Err(Refused::BadText) }
    }

    fn check_limits(&mut self, wanted: &Wanted, now: Tick) -> Result<(), Refused> {
        if self.promises.len() >= PROMISES_MAX {
            return Err(Refused::TooMany);
        }
        let (policy, now_ms) = (self.policies.of(wanted.queue), self.wall_ms(now));
        if !policy.is_offered {
            return Err(Refused::NotOffered);
        }
        self.limits.check(wanted.queue, &wanted.number, policy, now_ms)
    }

    /// The customer is on the line again: a wait is over, a dial is to be broken.
    pub fn resume_live(&mut self, id: PromiseId, now: Tick) -> Result<(), Unknown> {
        let promise = self.promises.get_mut(&id).ok_or(Unknown)?;
        match promise.state {
            State::Live => {}
            State::Queued | State::Armed { .. } | State::Closed { .. } => {
                self.turn(id, State::Live);
            }
            State::Planned { attempt } => {
                promise.after = After::Live;
                self.drop_attempt(id, attempt, Outcome::Broken, Refused::Live, now);
            }
            State::Dialling { attempt } | State::Answered { attempt } => {
                promise.after = After::Live;
                self.events.push_back(Event::BreakAttempt { promise: id, attempt });
            }
        }
        Ok(())
    }

    /// The customer's leg has ended without being served: the promise is to be kept.
    pub fn caller_gone(&mut self, id: PromiseId, now: Tick) -> Result<(), Unknown> {
        let promise = self.promises.get_mut(&id).ok_or(Unknown)?;
        match promise.state {
            State::Live if now >= promise.expires => self.end(id, End::Expired, now),
            State::Live => {
                match (self.after_rest(id, now), self.closed_until(id, now)) {
                    (due, _) if due > now => self.arm(id, due),
                    (_, Some(opens)) => self.close(id, opens),
                    (_, None) => {
                        self.stand(id, now);
                        return Ok(());
                    }
                }
                self.events.push_back(Event::Shelved { promise: id });
            }
            State::Dialling { .. } if promise.after == After::Live => promise.after = After::Retry,
            State::Answered { .. } if promise.after == After::Live => promise.after = After::Retry,
            State::Queued
            | State::Armed { .. }
            | State::Closed { .. }
            | State::Planned { .. }
            | State::Dialling { .. }
            | State::Answered { .. } => {}
        }
        Ok(())
    }

    /// The customer was served on the line: nothing is owed any more.
    pub fn served_live(&mut self, id: PromiseId, now: Tick) -> Result<(), Unknown> {
        match self.promises.get(&id).ok_or(Unknown)?.state {
            State::Live => self.end(id, End::Reached, now),
            State::Queued
            | State::Armed { .. }
            | State::Closed { .. }
            | State::Planned { .. }
            | State::Dialling { .. }
            | State::Answered { .. } => {}
        }
        Ok(())
    }

    /// No agent could be had for it: due again after a pause, with no attempt used.
    pub fn postpone(&mut self, id: PromiseId, now: Tick) -> Result<(), Unknown> {
        let promise = self.promises.get(&id).ok_or(Unknown)?;
        let pauses = &self.policies.of(promise.wanted.queue).pauses;
        let due = now + pauses.after(Outcome::Network, 1);
        match promise.state {
            State::Live | State::Queued => self.arm(id, due),
            State::Armed { .. }
            | State::Closed { .. }
            | State::Planned { .. }
            | State::Dialling { .. }
            | State::Answered { .. } => {}
        }
        Ok(())
    }

    /// Plans the next attempt. Its INVITE leaves at [`Event::AttemptReady`], not before. `way` is
    /// where it goes, in the owner's words, for [`Event::LeftBehind`] after a crash.
    pub fn begin_attempt(
        &mut self,
        id: PromiseId,
        way: Option<String>,
        now: Tick,
    ) -> Result<Attempt, Refused> {
        let promise = self.promises.get(&id).ok_or(Refused::Unknown)?;
        match promise.state {
            State::Queued => {}
            State::Armed { .. } => return Err(Refused::NotDue),
            State::Closed { .. } => return Err(Refused::OutsideHours),
            State::Live => return Err(Refused::Live),
            State::Planned { .. } | State::Dialling { .. } | State::Answered { .. } => {
                return Err(Refused::Attempting);
            }
        }
        if self.is_journal_failed {
            return Err(Refused::JournalFailed);
        }
        if self.dialled.contains_key(&promise.wanted.number) {
            return Err(Refused::NumberBusy);
        }
        if self.rests_until(id, now).is_some() {
            return Err(Refused::NotDue);
        }
        if self.closed_until(id, now).is_some() {
            self.on_closing(id, now);
            return Err(Refused::OutsideHours);
        }
        Ok(self.plan(id, way.filter(|way| way.len() <= WAY_MAX), now))
    }

    /// The attempt has found somebody who rings: whom, a later process would have to know.
    pub fn attempt_ringing(&mut self, id: PromiseId, attempt: u32, far_side: String, now: Tick) {
        let at_ms = self.wall_ms(now);
        let Some(promise) = self.promises.get_mut(&id) else { return };
        if promise.state == (State::Dialling { attempt })
            && promise.far_side.as_ref() != Some(&far_side)
            && far_side.len() <= WAY_MAX
        {
            promise.far_side = Some(far_side.clone());
            self.write(Record::AttemptRinging { promise: id, attempt, far_side, at_ms });
        }
    }

    /// The customer has answered; an agent may be attached at [`Event::AnswerReady`]. Whether that
    /// came about, [`Self::attempt_ended`] says.
    pub fn attempt_answered(
        &mut self,
        id: PromiseId,
        attempt: u32,
        far_side: Option<String>,
        now: Tick,
    ) -> Result<(), Stale> {
        if self.promises.get(&id).ok_or(Stale)?.state != (State::Dialling { attempt }) {
            return Err(Stale);
        }
        let far_side = far_side.filter(|far| far.len() <= WAY_MAX);
        self.turn(id, State::Answered { attempt });
        self.known_mut(id).far_side.clone_from(&far_side);
        let at_ms = self.wall_ms(now);
        let record = Record::AttemptAnswered { promise: id, attempt, far_side, at_ms };
        let sequence = self.write(record);
        self.when_durable(sequence, Awaited::Answer(id, attempt));
        Ok(())
    }

    /// The attempt is over; an answer may be acted on at [`Event::Ended`].
    pub fn attempt_ended(
        &mut self,
        id: PromiseId,
        attempt: u32,
        outcome: Outcome,
        now: Tick,
    ) -> Result<(), Stale> {
        match self.promises.get(&id).ok_or(Stale)?.state {
            State::Planned { attempt: current }
            | State::Dialling { attempt: current }
            | State::Answered { attempt: current }
                if current == attempt =>
            {
                self.close_attempt(id, attempt, outcome, now);
                Ok(())
            }
            State::Planned { .. }
            | State::Dialling { .. }
            | State::Answered { .. }
            | State::Live
            | State::Queued
            | State::Armed { .. }
            | State::Closed { .. } => Err(Stale),
        }
    }

    /// Takes the promise back.
    pub fn cancel(&mut self, id: PromiseId, now: Tick) -> Result<Cancelled, Unknown> {
        let promise = self.promises.get_mut(&id).ok_or(Unknown)?;
        match promise.state {
            State::Live | State::Queued | State::Armed { .. } | State::Closed { .. } => {
                self.end(id, End::Cancelled, now);
                Ok(Cancelled::Done)
            }
            State::Planned { attempt } => {
                promise.after = After::Cancel;
                self.drop_attempt(id, attempt, Outcome::Broken, Refused::Unknown, now);
                Ok(Cancelled::Done)
            }
            State::Dialling { attempt } => {
                promise.after = After::Cancel;
                self.events.push_back(Event::BreakAttempt { promise: id, attempt });
                Ok(Cancelled::Breaking)
            }
            State::Answered { .. } => {
                promise.after = After::Cancel;
                Ok(Cancelled::TooLate)
            }
        }
    }

    /// Every record up to this sequence number is on disk.
    pub fn durable_up_to(&mut self, sequence: u64, now: Tick) {
        self.durable = self.durable.max(sequence);
        while self.awaiting.front().is_some_and(|(at, _)| *at <= self.durable) {
            match self.awaiting.pop_front() {
                // The disk took its time, and the hours are over (A5).
                Some((_, Awaited::Attempt(id, attempt)))
                    if self.state(id) == Some(State::Planned { attempt })
                        && self.closed_until(id, now).is_some() =>
                {
                    self.drop_attempt(id, attempt, Outcome::Closed, Refused::OutsideHours, now);
                }
                Some((_, awaited)) => self.release(awaited),
                None => {}
            }
        }
    }

    /// The disk refuses: nothing is promised and nobody is dialled any more. A customer who has
    /// answered in this moment is connected all the same.
    pub fn journal_failed(&mut self) {
        self.is_journal_failed = true;
        let is_answer = |awaited: &Awaited| matches!(awaited, Awaited::Answer(..));
        let answers: Vec<Awaited> =
            self.awaiting.iter().map(|(_, awaited)| *awaited).filter(is_answer).collect();
        for answer in answers {
            self.release(answer);
        }
    }

    /// Whether this record is on disk.
    pub const fn is_durable(&self, sequence: u64) -> bool {
        sequence <= self.durable
    }

    /// Whether the disk has refused.
    pub const fn is_journal_failed(&self) -> bool {
        self.is_journal_failed
    }

    /// Gives a queue its policy; promises that are open follow it from their next step on.
    pub fn set_policies(&mut self, policies: Policies) {
        self.policies = policies;
    }

    /// Lets every timer fire that is due.
    pub fn handle_timeout(&mut self, now: Tick) {
        while let Some(wake) = self.timers.take_due(now) {
            match wake {
                Wake::Due(id) => self.come_due(id, now),
                Wake::Closing(id) => self.on_closing(id, now),
                Wake::Expiry(id) => self.expire(id, now),
            }
        }
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Tick> {
        self.timers.next()
    }

    /// The secret of this installation, as the journal keeps it.
    pub const fn secret(&self) -> Secret {
        self.secret
    }

    /// The next record to write, with its sequence number; numbers rise by one.
    pub fn poll_record(&mut self) -> Option<(u64, Record)> {
        self.records.pop_front()
    }

    /// The next event, oldest first.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Where an open promise stands.
    pub fn state(&self, id: PromiseId) -> Option<State> {
        self.promises.get(&id).map(|promise| promise.state)
    }

    /// What was promised.
    pub fn wanted(&self, id: PromiseId) -> Option<&Wanted> {
        self.promises.get(&id).map(|promise| &promise.wanted)
    }

    /// The place to queue the promise at.
    pub fn place(&self, id: PromiseId) -> Option<Place> {
        self.promises.get(&id).map(|promise| promise.wanted.place)
    }

    /// The open promise of a number in a queue.
    pub fn find(&self, queue: u64, number: &str) -> Option<PromiseId> {
        self.by_number.get(&(queue, number.to_owned())).copied()
    }

    /// What an operator sees of a promise.
    pub fn view(&self, id: PromiseId) -> Option<View> {
        let promise = self.promises.get(&id)?;
        let policy = self.policies.of(promise.wanted.queue);
        let is_bound = promise.wanted.override_hours.is_none();
        let due_ms = match promise.state {
            State::Armed { due } if is_bound => Some(policy.hours.opening(self.wall_ms(due))),
            State::Armed { due } | State::Closed { opens: due } => Some(self.wall_ms(due)),
            State::Live
            | State::Queued
            | State::Planned { .. }
            | State::Dialling { .. }
            | State::Answered { .. } => None,
        };
        let is_closed = matches!(promise.state, State::Closed { .. });
        Some(View {
            wanted: promise.wanted.clone(),
            state: promise.state,
            due_ms,
            outside_hours: due_ms.filter(|_| is_closed).map(|opens| policy.hours.say(opens)),
            attempts: promise.attempts,
            counted: promise.counted,
            attempts_max: policy.attempts_max,
            expires_ms: self.wall_ms(promise.expires),
        })
    }

    /// Open promises behind this one, oldest first.
    pub fn after(&self, id: PromiseId) -> impl Iterator<Item = PromiseId> {
        self.promises.range((Excluded(id), Unbounded)).map(|(id, _)| *id)
    }

    /// Open promises, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (PromiseId, State)> {
        self.promises.iter().map(|(id, promise)| (*id, promise.state))
    }
}
