//! One sorted structure for all timers of an owner, so that no loop ever scans all calls.
//!
//! A timer is armed with a key that says what is to happen (a closed enum of the owner) and gives
//! a handle that its owner keeps beside the state it belongs to; clearing takes the handle back.

use std::collections::BTreeMap;

use crate::base::Tick;

/// The handle of one armed timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Armed {
    at: Tick,
    sequence: u64,
}

impl Armed {
    /// When the timer is due.
    pub const fn at(self) -> Tick {
        self.at
    }
}

/// Timers sorted by due time; equal times fire in the order they were armed.
#[derive(Debug)]
pub struct Timers<K> {
    due: BTreeMap<Armed, K>,
    sequence: u64,
}

impl<K> Timers<K> {
    /// No timers.
    pub const fn new() -> Self {
        Self { due: BTreeMap::new(), sequence: 0 }
    }

    /// Arms a timer that [`Self::take_due`] yields at `at` or later.
    pub fn arm(&mut self, at: Tick, key: K) -> Armed {
        let armed = Armed { at, sequence: self.sequence };
        self.sequence += 1;
        self.due.insert(armed, key);
        armed
    }

    /// Clears a timer; one that has fired already is no error.
    pub fn clear(&mut self, armed: Armed) {
        self.due.remove(&armed);
    }

    /// Clears the timer in `slot`, if there is one, and leaves the slot empty.
    pub fn clear_slot(&mut self, slot: &mut Option<Armed>) {
        if let Some(armed) = slot.take() {
            self.clear(armed);
        }
    }

    /// The next timer that is due at `now`, removed.
    pub fn take_due(&mut self, now: Tick) -> Option<K> {
        let (&armed, _) = self.due.first_key_value()?;
        if armed.at > now {
            return None;
        }
        self.due.remove(&armed)
    }

    /// When the earliest timer is due.
    pub fn next(&self) -> Option<Tick> {
        self.due.first_key_value().map(|(armed, _)| armed.at)
    }

    /// How many timers are armed: a gauge that returns to zero when all calls are gone.
    pub fn len(&self) -> usize {
        self.due.len()
    }

    /// Whether no timer is armed.
    pub fn is_empty(&self) -> bool {
        self.due.is_empty()
    }
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_in_order_of_time_then_of_arming() {
        let mut timers = Timers::new();
        timers.arm(Tick::from_millis(20), 'c');
        timers.arm(Tick::from_millis(10), 'a');
        let cleared = timers.arm(Tick::from_millis(10), 'x');
        timers.arm(Tick::from_millis(10), 'b');
        timers.clear(cleared);

        assert_eq!(timers.next(), Some(Tick::from_millis(10)));
        assert_eq!(timers.take_due(Tick::from_millis(9)), None);
        assert_eq!(timers.take_due(Tick::from_millis(10)), Some('a'));
        assert_eq!(timers.take_due(Tick::from_millis(10)), Some('b'));
        assert_eq!(timers.take_due(Tick::from_millis(10)), None);
        assert_eq!(timers.take_due(Tick::from_millis(99)), Some('c'));
        assert!(timers.is_empty());
    }
}
