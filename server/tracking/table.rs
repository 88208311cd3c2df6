//! Who has read which key, and who listens to which prefix.

use std::collections::{BTreeMap, BTreeSet};

use smallvec::SmallVec;

/// Ids of clients.
pub type Readers = SmallVec<[u64; 2]>;

/// Keys of one hash, with their readers.
type Bucket = SmallVec<[(Box<[u8]>, Readers); 1]>;

/// The table. Keys are ordered by a hash, so that one drawn at random is found
/// as quickly as any.
#[derive(Default)]
pub struct Table {
    by_hash: BTreeMap<u64, Bucket>,
    hasher: ahash::RandomState,
    keys: usize,
    readers: usize,
    by_prefix: BTreeMap<Vec<u8>, BTreeSet<u64>>,
}

impl Table {
    /// How many keys have readers.
    pub fn keys(&self) -> usize {
        self.keys
    }

    /// How many readers the keys have together.
    pub fn readers(&self) -> usize {
        self.readers
    }

    /// How many prefixes have listeners.
    pub fn prefixes(&self) -> usize {
        self.by_prefix.len()
    }

    /// Notes that a client has read a key.
    pub fn add_reader(&mut self, key: &[u8], client: u64) {
        let bucket = self.by_hash.entry(self.hasher.hash_one(key)).or_default();
        let readers = match bucket.iter().position(|(known, _)| &**known == key) {
            Some(at) => &mut bucket[at].1,
            None => {
                self.keys += 1;
                bucket.push((key.into(), Readers::new()));
                let last = bucket.len() - 1;
                &mut bucket[last].1
            }
        };
        if !readers.contains(&client) {
            readers.push(client);
            self.readers += 1;
        }
    }

    /// Takes out a key with its readers.
    pub fn take_readers(&mut self, key: &[u8]) -> Option<Readers> {
        if self.keys == 0 {
            return None;
        }
        let hash = self.hasher.hash_one(key);
        let bucket = self.by_hash.get(&hash)?;
        let at = bucket.iter().position(|(known, _)| &**known == key)?;
        self.take(hash, at).map(|(_, readers)| readers)
    }

    /// Takes out any key with its readers.
    pub fn evict(&mut self) -> Option<(Box<[u8]>, Readers)> {
        let mut behind = self.by_hash.range(fastrand::u64(..)..);
        let hash = match behind.next() {
            Some((hash, _)) => *hash,
            None => *self.by_hash.first_key_value()?.0,
        };
        self.take(hash, 0)
    }

    fn take(&mut self, hash: u64, at: usize) -> Option<(Box<[u8]>, Readers)> {
        let bucket = self.by_hash.get_mut(&hash)?;
        let taken = bucket.remove(at);
        if bucket.is_empty() {
            self.by_hash.remove(&hash);
        }
        self.keys -= 1;
        self.readers -= taken.1.len();
        Some(taken)
    }

    /// Forgets all keys.
    pub fn forget_keys(&mut self) {
        self.by_hash = BTreeMap::new();
        (self.keys, self.readers) = (0, 0);
    }

    /// Has a client listen to a prefix.
    pub fn add_prefix(&mut self, prefix: &[u8], client: u64) {
        let clients = self.by_prefix.entry(prefix.to_vec()).or_default();
        clients.insert(client);
    }

    /// Ends that.
    pub fn remove_prefix(&mut self, prefix: &[u8], client: u64) {
        if let Some(clients) = self.by_prefix.get_mut(prefix) {
            clients.remove(&client);
            if clients.is_empty() {
                self.by_prefix.remove(prefix);
            }
        }
    }

    /// All prefixes with their listeners.
    pub fn listeners(&self) -> Vec<(Vec<u8>, BTreeSet<u64>)> {
        let copy =
            |(prefix, clients): (&Vec<u8>, &BTreeSet<u64>)| (prefix.clone(), clients.clone());
        self.by_prefix.iter().map(copy).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn a_key_is_told_of_once_and_counts_agree() {
        let mut table = Table::default();
        for (key, client) in [("a", 1), ("a", 2), ("a", 1), ("b", 1)] {
            table.add_reader(key.as_bytes(), client);
        }
        assert_eq!((table.keys(), table.readers()), (2, 3));
        assert_eq!(table.take_readers(b"a").as_deref(), Some(&[1, 2][..]));
        assert_eq!(table.take_readers(b"a"), None);
        assert_eq!((table.keys(), table.readers()), (1, 1));
        let (key, readers) = table.evict().expect("one is left");
        assert_eq!((&*key, &readers[..]), (&b"b"[..], &[1][..]));
        assert_eq!((table.keys(), table.readers()), (0, 0));
        assert!(table.evict().is_none());
    }

    #[test]
    fn a_prefix_without_listeners_is_gone() {
        let mut table = Table::default();
        table.add_prefix(b"p:", 1);
        table.add_prefix(b"p:", 2);
        table.remove_prefix(b"p:", 1);
        assert_eq!(table.listeners().len(), 1);
        table.remove_prefix(b"p:", 2);
        assert_eq!(table.prefixes(), 0);
    }
}
