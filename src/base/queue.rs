//! A queue with a maximum, which counts what it had to refuse.

use std::collections::VecDeque;

/// First in, first out, at most `items_max` at a time.
#[derive(Clone, Debug)]
pub struct Bounded<T> {
    items: VecDeque<T>,
    items_max: usize,
    dropped: u64,
}

impl<T> Bounded<T> {
    /// An empty queue for at most `items_max` items.
    pub const fn with_max(items_max: usize) -> Self {
        Self { items: VecDeque::new(), items_max, dropped: 0 }
    }

    /// Appends an item; a full queue counts it and gives it back.
    pub fn push(&mut self, item: T) -> Result<(), T> {
        if self.items.len() >= self.items_max {
            self.dropped += 1;
            return Err(item);
        }
        self.items.push_back(item);
        Ok(())
    }

    /// Takes the oldest item.
    pub fn pop(&mut self) -> Option<T> {
        self.items.pop_front()
    }

    /// The oldest item.
    pub fn front(&self) -> Option<&T> {
        self.items.front()
    }

    /// Removes every item that `keep` does not want.
    pub fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
        self.items.retain(keep);
    }

    /// Every item, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.items.iter()
    }

    /// Removes everything.
    pub fn clear(&mut self) {
        self.items.clear();
    }

    /// How many items wait.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// How many items a full queue has refused.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_counts_what_it_refuses() {
        let mut queue = Bounded::with_max(1);
        assert_eq!(queue.push('a'), Ok(()));
        assert_eq!(queue.push('b'), Err('b'));
        assert_eq!((queue.pop(), queue.pop(), queue.dropped()), (Some('a'), None, 1));
    }
}
