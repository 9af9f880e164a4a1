//! How much room a table keeps, and hash tables that give back that of a burst.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};

/// Room that a table keeps for the next entries, however few it has; a [`Slab`](crate::base::Slab) too.
pub(super) const KEPT: usize = 256;

/// Takes an entry out. A table that has room for eight times its entries keeps room for twice as many:
/// to move them is paid by the many that were taken out before.
pub fn take_out<K, V, S, Q>(table: &mut HashMap<K, V, S>, key: &Q) -> Option<V>
where
    K: Borrow<Q> + Eq + Hash,
    Q: Eq + Hash + ?Sized,
    S: BuildHasher,
{
    let value = table.remove(key)?;
    if table.capacity() > 2 * KEPT && table.len() < table.capacity() / 8 {
        table.shrink_to(KEPT.max(2 * table.len()));
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_leaves_no_room_behind() {
        let mut table: HashMap<usize, usize> = (0..100_000).map(|key| (key, 2 * key)).collect();
        for key in 0..99_990 {
            assert_eq!(take_out(&mut table, &key), Some(2 * key));
        }
        assert!(table.capacity() <= 2 * KEPT, "{}", table.capacity());
        assert_eq!((take_out(&mut table, &0), table[&99_990], table.len()), (None, 199_980, 10));
    }
}
