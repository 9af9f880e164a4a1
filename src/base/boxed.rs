//! A tree whose values lie apart: its nodes have room for twice the values that they hold.

use std::collections::{BTreeMap, btree_map};

/// A [`BTreeMap`] of large values, each in a box of its own.
#[derive(Debug)]
pub struct BoxMap<K, V>(BTreeMap<K, Box<V>>);

impl<K: Ord, V> BoxMap<K, V> {
    /// An empty map.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Puts a value in; gives back the one that it takes the place of.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.0.insert(key, Box::new(value)).map(|before| *before)
    }

    /// Takes a value out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.0.remove(key).map(|value| *value)
    }

    /// A value.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.0.get(key).map(|value| &**value)
    }

    /// A value, to change.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.0.get_mut(key).map(|value| &mut **value)
    }

    /// Whether there is a value by this key.
    pub fn contains_key(&self, key: &K) -> bool {
        self.0.contains_key(key)
    }

    /// The value with the lowest key, and that key.
    pub fn first(&self) -> Option<(&K, &V)> {
        self.0.first_key_value().map(|(key, value)| (key, &**value))
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every value, by its key.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, value)| (key, &**value))
    }

    /// Keeps the values for which this holds.
    pub fn retain(&mut self, mut holds: impl FnMut(&K, &mut V) -> bool) {
        self.0.retain(|key, value| holds(key, value));
    }
}

impl<K, V> Default for BoxMap<K, V> {
    fn default() -> Self {
        Self(BTreeMap::default())
    }
}

impl<K, V> IntoIterator for BoxMap<K, V> {
    type Item = (K, V);
    type IntoIter = std::iter::Map<btree_map::IntoIter<K, Box<V>>, fn((K, Box<V>)) -> (K, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().map(|(key, value)| (key, *value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_map() {
        let mut map = BoxMap::default();
        assert_eq!(
            (map.insert(2, "b"), map.insert(1, "a"), map.insert(2, "c")),
            (None, None, Some("b"))
        );
        if let Some(value) = map.get_mut(&1) {
            *value = "d";
        }
        assert_eq!(map.iter().collect::<Vec<_>>(), [(&1, &"d"), (&2, &"c")]);
        map.retain(|key, _| *key > 1);
        assert_eq!((map.len(), map.contains_key(&1), map.get(&2)), (1, false, Some(&"c")));
        assert_eq!((map.remove(&2), map.is_empty(), map.into_iter().count()), (Some("c"), true, 0));
    }
}
