//! Which number a database has: clients see logical numbers, what is stored
//! goes by physical ones.

use std::collections::HashSet;

/// The databases' numbers. Clients see logical numbers; what is stored goes by
/// physical ones. SWAPDB exchanges two, FLUSHDB takes an unused one and leaves
/// the old one to be freed in the background: both take no time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DbMap {
    /// Physical number by logical number.
    pub physical: Vec<u32>,
    /// Physical numbers whose rows the tree has yet to clear.
    pub retired: Vec<u32>,
}

/// The numbers now, and which physical ones are taken. There may be many
/// retired ones, where checkpoints fail.
pub(super) struct Numbers {
    map: DbMap,
    /// Those in `map`.
    taken: HashSet<u32>,
    /// All below this one are taken.
    taken_below: u32,
    /// Those that were given since the last cut: neither the tree nor what is
    /// being written from the keyspace knows of them.
    fresh: HashSet<u32>,
}

impl From<DbMap> for Numbers {
    fn from(map: DbMap) -> Numbers {
        Numbers {
            taken: map.physical.iter().chain(&map.retired).copied().collect(),
            taken_below: 0,
            fresh: HashSet::new(),
            map,
        }
    }
}

impl Numbers {
    /// Those of so many databases that were never flushed or exchanged.
    pub fn of(databases: u32) -> Numbers {
        Numbers::from(DbMap {
            physical: (0..databases).collect(),
            retired: Vec::new(),
        })
    }

    /// The numbers.
    pub fn map(&self) -> &DbMap {
        &self.map
    }

    /// The numbers at a moment as of which the tree, or a snapshot, is about to
    /// take over what is under them.
    pub fn cut(&mut self) -> DbMap {
        self.fresh.clear();
        self.map.clone()
    }

    /// Gives a database that was flushed the least physical number that is not
    /// taken, and retires the one that it had. Small numbers are the quicker
    /// ones. None if it keeps its own, of which the tree has no rows: however
    /// many flushes there are between two cuts, they take one number for each
    /// database.
    pub fn retire(&mut self, db: u32) -> Option<u32> {
        if self.fresh.contains(&self.map.physical[db as usize]) {
            return None;
        }
        let unused = (self.taken_below..)
            .find(|number| self.taken.insert(*number))
            .expect("there are more numbers than databases");
        self.taken_below = unused + 1;
        let old = std::mem::replace(&mut self.map.physical[db as usize], unused);
        self.map.retired.push(old);
        self.fresh.insert(unused);
        Some(unused)
    }

    /// Exchanges two databases.
    pub fn swap(&mut self, one: u32, other: u32) {
        self.map.physical.swap(one as usize, other as usize);
    }

    /// Makes retired numbers free.
    pub fn free(&mut self, retired: &[u32]) {
        let freed: HashSet<u32> = retired.iter().copied().collect();
        self.map.retired.retain(|number| {
            let stays = !freed.contains(number);
            if !stays {
                self.taken.remove(number);
                self.taken_below = self.taken_below.min(*number);
            }
            stays
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flushed_database_gets_the_least_number_that_is_free() {
        let mut random = fastrand::Rng::with_seed(4);
        let mut numbers = Numbers::of(3);
        for _ in 0..2000 {
            let map = numbers.map().clone();
            match random.u8(..10) {
                0 => {
                    let some = map.retired.iter().filter(|_| random.bool());
                    let mut some: Vec<u32> = some.copied().collect();
                    // What is in use stays so, whoever asks.
                    some.push(map.physical[1]);
                    numbers.free(&some);
                    let stay = |number: &&u32| !some.contains(number);
                    let left = map.retired.iter().filter(stay).copied();
                    assert_eq!(numbers.map().retired, left.collect::<Vec<_>>());
                    assert_eq!(numbers.map().physical, map.physical);
                }
                1 => numbers.swap(0, 2),
                2 => assert_eq!(numbers.cut(), map),
                db => {
                    let db = u32::from(db % 3);
                    let is_free = |n: &u32| !map.physical.contains(n) && !map.retired.contains(n);
                    let least = (0..).find(is_free).unwrap();
                    match numbers.retire(db) {
                        Some(number) => assert_eq!(number, least),
                        None => assert_eq!(*numbers.map(), map),
                    }
                    // Until a cut it keeps what it has.
                    assert_eq!(numbers.retire(db), None);
                }
            }
        }
    }

    /// With a search through all that are retired, this does not end.
    #[test]
    fn any_number_of_them_may_be_retired() {
        const FLUSHES: u32 = 200_000;
        let mut numbers = Numbers::of(1);
        for _ in 0..3 {
            let highest = (0..FLUSHES).map(|_| {
                numbers.cut();
                numbers.retire(0)
            });
            assert!(highest.max().flatten().is_some_and(|n| n <= FLUSHES + 1));
            let retired = numbers.map().retired.clone();
            assert_eq!(retired.len(), FLUSHES as usize);
            numbers.free(&retired);
            assert!(numbers.map().retired.is_empty());
        }
    }

    /// More than the tree has room for.
    #[test]
    fn flushes_between_two_cuts_take_one_number_for_each_database() {
        let mut numbers = Numbers::of(2);
        for flush in 0..70_000 {
            numbers.retire(flush % 2);
            numbers.swap(0, flush % 3 % 2);
        }
        assert!(numbers.map().physical.iter().all(|number| *number < 4));
        assert_eq!(numbers.map().retired.len(), 2);
    }
}
