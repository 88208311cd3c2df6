//! A map by ids that are mostly added in order: sorted chunks, full but for
//! the last one, where a B-tree alone would keep its nodes half empty.

use std::collections::BTreeMap;

use super::StreamId;

/// The most entries of a chunk.
const CHUNK: usize = 64;

/// A map from ids to small values.
pub struct IdMap<V> {
    /// By an id that is at most the chunk's first and above the last of the
    /// chunk before. No chunk is empty.
    chunks: BTreeMap<StreamId, Vec<(StreamId, V)>>,
    len: usize,
}

impl<V> Default for IdMap<V> {
    fn default() -> Self {
        IdMap {
            chunks: BTreeMap::new(),
            len: 0,
        }
    }
}

impl<V: Copy> IdMap<V> {
    /// How many ids there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The value of an id.
    pub fn get(&self, id: StreamId) -> Option<V> {
        let (_, chunk) = self.chunks.range(..=id).next_back()?;
        let at = chunk.binary_search_by_key(&id, |entry| entry.0).ok()?;
        Some(chunk[at].1)
    }

    /// Gives an id a value; the value it had before.
    pub fn insert(&mut self, id: StreamId, value: V) -> Option<V> {
        let key = match self.chunks.range(..=id).next_back() {
            Some((&key, _)) => key,
            None => self.lower_first(id),
        };
        let chunk = self.chunks.entry(key).or_default();
        let at = match chunk.binary_search_by_key(&id, |entry| entry.0) {
            Ok(at) => return Some(std::mem::replace(&mut chunk[at].1, value)),
            Err(at) => at,
        };
        self.len += 1;
        if chunk.len() < CHUNK {
            chunk.insert(at, (id, value));
        } else if at == CHUNK {
            self.chunks.insert(id, vec![(id, value)]);
        } else {
            let mut upper = chunk.split_off(CHUNK / 2);
            match at.checked_sub(CHUNK / 2) {
                None => chunk.insert(at, (id, value)),
                Some(at) => upper.insert(at, (id, value)),
            }
            // An id that went before all of the upper half is its first now.
            self.chunks.insert(upper[0].0, upper);
        }
        None
    }

    /// Makes the first chunk begin at an id below all others.
    fn lower_first(&mut self, id: StreamId) -> StreamId {
        if let Some((_, chunk)) = self.chunks.pop_first() {
            self.chunks.insert(id, chunk);
        }
        id
    }

    /// Removes an id; the value it had.
    pub fn remove(&mut self, id: StreamId) -> Option<V> {
        let (&key, chunk) = self.chunks.range_mut(..=id).next_back()?;
        let at = chunk.binary_search_by_key(&id, |entry| entry.0).ok()?;
        let (_, value) = chunk.remove(at);
        self.len -= 1;
        if chunk.is_empty() {
            self.chunks.remove(&key);
        } else if chunk.len() <= chunk.capacity() / 4 {
            chunk.shrink_to(chunk.len() * 2);
        }
        Some(value)
    }

    /// Ids with their values, from an id on.
    pub fn iter_from(&self, start: StreamId) -> impl DoubleEndedIterator<Item = (StreamId, V)> {
        let before = self.chunks.range(..=start).next_back();
        let first = before.map_or(start, |(&key, _)| key);
        self.chunks.range(first..).flat_map(move |(_, chunk)| {
            let from = chunk.partition_point(|entry| entry.0 < start);
            chunk[from..].iter().copied()
        })
    }

    /// Bytes taken from the allocator, estimated.
    pub fn memory_bytes(&self) -> usize {
        let of_chunk = 3 * size_of::<(StreamId, Vec<(StreamId, V)>)>() / 2;
        self.len * size_of::<(StreamId, V)>() + self.chunks.len() * of_chunk
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_a_tree_would_hold() {
        for seed in 0..30 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (mut map, mut model) = (IdMap::default(), BTreeMap::new());
            let ascends = rng.bool();
            for step in 0..3000u64 {
                let random = StreamId {
                    ms: rng.u64(0..500),
                    seq: rng.u64(0..3),
                };
                let id = match ascends {
                    true => StreamId { ms: step, seq: 0 },
                    false => random,
                };
                match rng.u8(0..5) {
                    0 | 1 => assert_eq!(map.remove(random), model.remove(&random)),
                    _ => assert_eq!(map.insert(id, step), model.insert(id, step)),
                }
                assert_eq!(map.len(), model.len());
                assert_eq!(map.get(random), model.get(&random).copied());
                if step % 50 == 0 {
                    let found: Vec<_> = map.iter_from(random).collect();
                    let expected = model.range(random..).map(|(id, value)| (*id, *value));
                    assert!(expected.eq(found.iter().copied()));
                    assert_eq!(map.iter_from(random).next_back(), found.last().copied());
                }
            }
            assert!(
                map.chunks
                    .values()
                    .all(|chunk| !chunk.is_empty() && chunk.len() <= CHUNK)
            );
        }
    }

    #[test]
    fn ids_in_order_fill_their_chunks() {
        let mut map = IdMap::default();
        for ms in 0..CHUNK as u64 * 10 {
            map.insert(StreamId { ms, seq: 1 }, ());
        }
        assert_eq!(map.chunks.len(), 10);
    }
}
