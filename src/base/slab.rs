//! A table whose ids are never mistaken for those of an earlier tenant of the same place.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;

use crate::base::spare::KEPT;

/// The id of an entry of a [`Slab`]: place and generation. Copyable, ordered, and harmless after
/// its entry is gone: it then finds nothing.
pub struct Id<T> {
    index: u32,
    generation: u32,
    of: PhantomData<fn() -> T>,
}

impl<T> Id<T> {
    /// The id as one number, for logs and for rooms that speak plain numbers.
    pub const fn as_u64(self) -> u64 {
        (self.generation as u64) << 32 | self.index as u64
    }

    /// The id that [`Self::as_u64`] gave this number.
    pub const fn from_u64(number: u64) -> Self {
        Self { index: number as u32, generation: (number >> 32) as u32, of: PhantomData }
    }

    /// The place alone: small, dense, and used again after the entry is gone.
    pub const fn index(self) -> usize {
        self.index as usize
    }
}

impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Id<T> {}

impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.as_u64() == other.as_u64()
    }
}

impl<T> Eq for Id<T> {}

impl<T> PartialOrd for Id<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Id<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_u64().cmp(&other.as_u64())
    }
}

impl<T> Hash for Id<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_u64().hash(state);
    }
}

impl<T> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}.{}", self.index, self.generation)
    }
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    entry: Option<T>,
}

/// Entries by [`Id`], in places that are used again; at most as many as were allowed at the start.
#[derive(Debug)]
pub struct Slab<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
    /// Entries taken out since places were given back, or since it was tried.
    removed: usize,
    /// With so few entries it is tried again, however few were taken out.
    few: usize,
    /// What a new place begins with: more than any id of a place that was given back.
    generation: u32,
    entries_max: usize,
}

impl<T> Slab<T> {
    /// An empty table for at most `entries_max` entries.
    pub const fn with_max(entries_max: usize) -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            removed: 0,
            few: usize::MAX,
            generation: 0,
            entries_max,
        }
    }

    /// Puts an entry in; `None` when the table is full.
    pub fn insert(&mut self, entry: T) -> Option<Id<T>> {
        self.insert_with(|_| entry)
    }

    /// Puts in the entry that `make` builds from its own id; `None` when the table is full.
    pub fn insert_with(&mut self, make: impl FnOnce(Id<T>) -> T) -> Option<Id<T>> {
        if self.len() >= self.entries_max {
            return None;
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { generation: self.generation, entry: None });
            self.few = usize::MAX;
            (self.places.len() - 1) as u32
        });
        let place = &mut self.places[index as usize];
        let id = Id { index, generation: place.generation, of: PhantomData };
        place.entry = Some(make(id));
        Some(id)
    }

    /// Takes an entry out; its id finds nothing from now on.
    pub fn remove(&mut self, id: Id<T>) -> Option<T> {
        let place = self.places.get_mut(id.index as usize)?;
        if place.generation != id.generation {
            return None;
        }
        let entry = place.entry.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(id.index);
        self.removed += 1;
        let is_due = self.len() <= self.few || self.removed >= self.places.len();
        if self.places.len() > KEPT && self.len() < self.places.len() / 8 && is_due {
            self.give_back();
        }
        Some(entry)
    }

    /// Frees the places of a burst that is over, as far as nobody is left behind them. It looks at all
    /// places, so it is tried when as many entries were taken out, or half of the last ones.
    fn give_back(&mut self) {
        let last = self.places.iter().rposition(|place| place.entry.is_some());
        let kept = last.map_or(0, |last| last + 1);
        let newest = self.places[kept..].iter().map(|place| place.generation).max();
        self.generation = self.generation.max(newest.unwrap_or_default());
        self.places.truncate(kept);
        self.places.shrink_to_fit();
        // The next to come take the first places, so that those at the end become free.
        let is_free = |index: &u32| self.places[*index as usize].entry.is_none();
        self.free = (0..kept as u32).rev().filter(is_free).collect();
        (self.removed, self.few) = (0, self.len() / 2);
    }

    /// The entry with this id.
    pub fn get(&self, id: Id<T>) -> Option<&T> {
        let place = self.places.get(id.index as usize)?;
        if place.generation == id.generation { place.entry.as_ref() } else { None }
    }

    /// The entry with this id, to change.
    pub fn get_mut(&mut self, id: Id<T>) -> Option<&mut T> {
        let place = self.places.get_mut(id.index as usize)?;
        if place.generation == id.generation { place.entry.as_mut() } else { None }
    }

    /// Every entry, in order of place.
    pub fn iter(&self) -> impl Iterator<Item = (Id<T>, &T)> {
        self.places.iter().enumerate().filter_map(|(index, place)| {
            let id = Id { index: index as u32, generation: place.generation, of: PhantomData };
            place.entry.as_ref().map(|entry| (id, entry))
        })
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_outlives_its_entry_without_harm() {
        let mut slab = Slab::with_max(2);
        let first = slab.insert("first").unwrap();
        assert_eq!(slab.remove(first), Some("first"));
        let second = slab.insert("second").unwrap();

        assert_eq!(second.index(), first.index());
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get(Id::from_u64(second.as_u64())), Some(&"second"));
    }

    /// The memory of a burst is given back when it is over, and its ids find nothing ever after.
    #[test]
    fn a_burst_leaves_no_places_behind() {
        let mut slab = Slab::with_max(usize::MAX);
        let burst: Vec<_> = (0..=KEPT).map(|number| slab.insert(number).unwrap()).collect();
        for id in &burst[1..] {
            slab.remove(*id);
        }
        assert_eq!((slab.places.capacity(), slab.len(), slab.get(burst[0])), (1, 1, Some(&0)));
        let again = slab.insert(0).unwrap();
        slab.remove(again);
        slab.remove(burst[0]);
        let next: Vec<_> = (0..=KEPT).map(|number| slab.insert(number).unwrap()).collect();
        let earlier: std::collections::BTreeSet<_> = burst.iter().chain([&again]).collect();
        assert!(next.iter().all(|id| !earlier.contains(id)));
        assert!(earlier.iter().all(|id| slab.get(**id).is_none()));
        for id in next {
            slab.remove(id);
        }
        assert_eq!((slab.places.capacity(), slab.free.capacity()), (0, 0));
    }

    /// Whoever stays at the end keeps the places before it, and no longer than it stays.
    #[test]
    fn who_stays_longest_keeps_places_and_others_take_the_first() {
        const MANY: usize = 10 * KEPT;
        let mut slab = Slab::with_max(usize::MAX);
        let burst: Vec<_> = (0..MANY).map(|number| slab.insert(number).unwrap()).collect();
        let (last, others) = burst.split_last().unwrap();
        for id in others {
            slab.remove(*id);
        }
        assert_eq!((slab.places.len(), slab.get(*last)), (MANY, Some(&(MANY - 1))));
        let next = slab.insert(0).unwrap();
        assert_eq!(next.index(), 0);
        slab.remove(*last);
        for number in 0..MANY {
            let id = slab.insert(number).unwrap();
            slab.remove(id);
        }
        assert_eq!((slab.places.len(), slab.get(next)), (2, Some(&0)));
    }

    #[test]
    fn a_full_slab_refuses() {
        let mut slab = Slab::with_max(1);
        assert!(slab.insert(1).is_some());
        assert!(slab.insert(2).is_none());
        assert_eq!(slab.len(), 1);
    }
}
