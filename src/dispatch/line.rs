//! Keys in order, with the rank of any of them at hand however many there are.

/// A sorted set in runs of at most [`RUN_MAX`] keys.
///
/// A caller asks for the position again and again while waiting; a tree would count its way there.
/// Bounded by its queue's `entries_max`.
#[derive(Debug)]
pub(super) struct Line<K> {
    /// None is empty; every key of a run is smaller than those of the next.
    runs: Vec<Vec<K>>,
    len: usize,
}

/// Moving half a run and walking over all runs cost about the same at 100,000 keys.
const RUN_MAX: usize = 512;

impl<K: Ord> Line<K> {
    pub(super) const fn new() -> Self {
        Self { runs: Vec::new(), len: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Puts a key in; false when it is there already.
    pub(super) fn insert(&mut self, key: K) -> bool {
        let at = self.run_of(&key);
        let Some(run) = self.runs.get_mut(at) else {
            self.runs.push(vec![key]);
            self.len += 1;
            return true;
        };
        let Err(place) = run.binary_search(&key) else { return false };
        run.insert(place, key);
        self.len += 1;
        if run.len() > RUN_MAX {
            // Callers join at the end: a full run there stays full, and a new one begins.
            let keep = if place + 1 == run.len() { RUN_MAX } else { RUN_MAX / 2 };
            let rest = run.split_off(keep);
            self.runs.insert(at + 1, rest);
        }
        true
    }

    /// Takes a key out; false when it is not there.
    pub(super) fn remove(&mut self, key: &K) -> bool {
        let at = self.run_of(key);
        let Some(run) = self.runs.get_mut(at) else { return false };
        let Ok(place) = run.binary_search(key) else { return false };
        run.remove(place);
        self.len -= 1;
        if run.is_empty() {
            self.runs.remove(at);
        }
        true
    }

    /// How many keys are smaller; `None` when the key is not there.
    pub(super) fn rank(&self, key: &K) -> Option<usize> {
        let at = self.run_of(key);
        let place = self.runs.get(at)?.binary_search(key).ok()?;
        Some(self.runs[..at].iter().map(Vec::len).sum::<usize>() + place)
    }

    /// Every key, smallest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &K> {
        self.runs.iter().flatten()
    }

    /// The run that holds the key, or would.
    fn run_of(&self, key: &K) -> usize {
        self.runs.partition_point(|run| run[0] <= *key).saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_line_is_a_sorted_set(keys in proptest::collection::vec((0..2000_u32, any::<bool>()), 0..3000)) {
            let mut line = Line::new();
            let mut set = BTreeSet::new();
            for (key, is_insert) in keys {
                if is_insert {
                    prop_assert_eq!(line.insert(key), set.insert(key));
                } else {
                    prop_assert_eq!(line.remove(&key), set.remove(&key));
                }
                prop_assert_eq!(line.len(), set.len());
            }
            prop_assert!(line.iter().eq(set.iter()));
            for (rank, key) in set.iter().enumerate() {
                prop_assert_eq!(line.rank(key), Some(rank));
            }
        }
    }
}
