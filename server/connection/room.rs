//! Room that tables keep: what clients name, they can name by the million, and
//! what an empty table takes counts for `maxmemory` like anything else.

use std::collections::HashMap;
use std::hash::Hash;

/// Tables with room for fewer entries keep it.
const KEPT: usize = 1024;

/// Gives room back after something was removed, once a table has much more than it
/// needs. Half of what is left may come again before it grows.
pub fn give_back<K: Eq + Hash, V>(table: &mut HashMap<K, V>) {
    let room = table.capacity();
    if room > KEPT && table.len() < room / 8 {
        table.shrink_to(table.len() * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many as a table of 2^17 places takes, so that it is full.
    const COUNT: u32 = (1 << 17) / 8 * 7;

    #[test]
    fn a_table_that_empties_gives_its_room_back() {
        let mut table: HashMap<u32, u32> = (0..COUNT).map(|n| (n, n)).collect();
        for n in 0..COUNT {
            table.remove(&n);
            give_back(&mut table);
            let needed = (table.len() + 1) * 8;
            assert!(table.capacity() <= needed.max(4 * KEPT), "at {n}");
        }
        assert!(table.capacity() <= KEPT);
    }
}
