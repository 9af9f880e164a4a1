//! The free agents of one queue, in each order that one of them may be chosen by.

use std::collections::BTreeSet;
use std::ops::Bound::{Excluded, Unbounded};

use super::roster::Turn;

/// Agents are named by their place in the queue's order. Bounded by the queue's agents.
#[derive(Debug, Default)]
pub(super) struct Free {
    by_place: BTreeSet<usize>,
    /// End of the last turn, and place.
    by_idle: BTreeSet<(u64, usize)>,
    /// Calls, end of the last turn, and place.
    by_calls: BTreeSet<(u64, u64, usize)>,
}

impl Free {
    pub(super) fn is_empty(&self) -> bool {
        self.by_place.is_empty()
    }

    pub(super) fn insert(&mut self, place: usize, turn: Turn) {
        self.by_place.insert(place);
        self.by_idle.insert((turn.ended, place));
        self.by_calls.insert((turn.calls, turn.ended, place));
    }

    /// Takes out an agent who was put in with this turn.
    pub(super) fn remove(&mut self, place: usize, turn: Turn) {
        self.by_place.remove(&place);
        self.by_idle.remove(&(turn.ended, place));
        self.by_calls.remove(&(turn.calls, turn.ended, place));
    }

    /// In the queue's order.
    pub(super) fn places(&self) -> impl Iterator<Item = usize> {
        self.by_place.iter().copied()
    }

    /// In the queue's order, beginning behind this place.
    pub(super) fn after(&self, place: Option<usize>) -> impl Iterator<Item = usize> {
        let (behind, before) = match place {
            Some(place) => (Excluded(place), self.by_place.range(..=place)),
            None => (Unbounded, self.by_place.range(..0)),
        };
        self.by_place.range((behind, Unbounded)).chain(before).copied()
    }

    /// Who has been idle for longest comes first.
    pub(super) fn longest_idle(&self) -> impl Iterator<Item = usize> {
        self.by_idle.iter().map(|(_, place)| *place)
    }

    /// Who has had the fewest calls comes first.
    pub(super) fn fewest_calls(&self) -> impl Iterator<Item = usize> {
        self.by_calls.iter().map(|(_, _, place)| *place)
    }
}
