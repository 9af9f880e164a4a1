//! Numbers that are left alone for a while, because a telephone there may still ring for a call that
//! is over: one whose INVITE or CANCEL is on its way, or that an earlier process left behind. After
//! a restart the records say which, for no longer than [`REST_MAX`].

use std::collections::BTreeMap;
use std::time::Duration;

use super::book::Book;
use super::types::{Outcome, PromiseId, REST_MAX, State};
use crate::base::Tick;

/// Until when a number rests, and what has to wait for that.
#[derive(Debug)]
pub(super) struct Rest {
    pub(super) until: Tick,
    /// When each promise may be kept if it turns out that nothing rings.
    pub(super) moved: BTreeMap<PromiseId, Tick>,
}

impl Book {
    /// A telephone may ring at this number that we no longer call: until the contrary is known, it
    /// is left alone for as long as after an attempt of unknown outcome.
    pub fn may_ring_on(&mut self, number: &str, now: Tick) {
        let promises = self.promises_to(number);
        let until = now + self.rest_of(&promises);
        self.resting.retain(|_, rest| rest.until > now);
        let rest = Rest { until, moved: BTreeMap::new() };
        let before = self.resting.insert(number.to_owned(), rest);
        let mut moved = before.map(|before| before.moved).unwrap_or_default();
        for (_, id) in promises {
            if let State::Armed { due } = self.known(id).state {
                let earliest = moved.remove(&id).unwrap_or(due);
                let due = self.after_rest(id, earliest);
                self.arm(id, due);
            }
        }
    }

    /// What [`Self::may_ring_on`] was to an earlier process: how the attempt ended says whether a
    /// telephone may ring on, though its promise may have ended with it (A1, I3).
    pub(super) fn replay_rest(&mut self, number: &str, outcome: Outcome, at_ms: u64, now: Tick) {
        if outcome.may_ring_on() {
            let rest = self.rest_of(&self.promises_to(number));
            // From now on at most, should the wall clock have been set back between both processes.
            let until = self.tick_at(at_ms.saturating_add(rest.as_millis() as u64));
            let until = until.min(now + rest);
            if until > now {
                let moved = BTreeMap::new();
                self.resting.insert(number.to_owned(), Rest { until, moved });
            }
        }
    }

    /// How long a number rests that these promises are made to.
    fn rest_of(&self, promises: &[(u64, PromiseId)]) -> Duration {
        let rests = promises.iter().map(|(queue, _)| self.policies.of(*queue).rest);
        rests.max().unwrap_or(self.policies.standard.rest).min(REST_MAX)
    }

    /// The promises to a number in any queue, with the queue.
    fn promises_to(&self, number: &str) -> Vec<(u64, PromiseId)> {
        let mut found = Vec::new();
        let mut next = Some(0);
        while let Some(from) = next {
            let rest = self.by_number.range((from, String::new())..).next();
            let queue = rest.map(|((queue, _), _)| *queue);
            let held = queue.and_then(|queue| Some((queue, self.find(queue, number)?)));
            found.extend(held);
            next = queue.and_then(|queue| queue.checked_add(1));
        }
        found
    }

    /// It is known that nothing rings there: what was to wait for that is due as it would have been.
    pub fn rings_no_more(&mut self, number: &str, now: Tick) {
        let Some(rest) = self.resting.remove(number) else { return };
        for (id, earliest) in rest.moved {
            let state = self.promises.get(&id).map(|promise| promise.state);
            if state == Some(State::Armed { due: rest.until }) {
                self.arm(id, earliest.max(now));
            }
        }
    }

    /// When a promise is due that would be at `earliest`, were it not for the rest of its number.
    pub(super) fn after_rest(&mut self, id: PromiseId, earliest: Tick) -> Tick {
        let number = &self.promises.get(&id).expect("callers pass open promises").wanted.number;
        match self.resting.get_mut(number) {
            Some(rest) if rest.until > earliest => {
                rest.moved.insert(id, earliest);
                rest.until
            }
            Some(_) | None => earliest,
        }
    }

    /// Until when the promise's number must not be dialled, because it may still be ringing.
    pub(super) fn rests_until(&self, id: PromiseId, now: Tick) -> Option<Tick> {
        let rest = self.resting.get(&self.known(id).wanted.number)?;
        (rest.until > now).then_some(rest.until)
    }
}
