//! The stream type: entries in the order of their ids, and consumer groups.
//!
//! Entries lie packed in nodes (`node.rs`), the nodes in a B-tree by the id of
//! their first entry. Only the last node grows. A deleted entry is marked in
//! its node, and the node goes when nothing is left of it. Groups are in
//! `group.rs`; they know ids, never entries.

mod codec;
mod group;
mod id;
mod id_map;
mod node;
mod range;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::Ordering::Relaxed;

use super::element::estimate_total;
use super::limits::{LIMITS, LISTPACK_MAX_BYTES};
use super::listpack::Listpack;
use super::pieces::{Note, Noted};
pub use codec::{encode, put_counts, put_groups, put_node};
pub use group::{Consumer, ConsumerId, Group, Pending};
pub use id::{IdText, StreamId};
pub use node::Fields;
use node::Node;
pub use range::{Range, StreamEntry};

/// A stream value; one pointer.
#[derive(Default)]
pub struct Stream(Box<Parts>);

/// What a stream consists of: the entries can be read while a group changes.
#[derive(Default)]
pub struct Parts {
    /// The entries.
    pub entries: Entries,
    /// Consumer groups, ordered by name.
    pub groups: BTreeMap<Box<[u8]>, Group>,
}

impl Deref for Stream {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl DerefMut for Stream {
    fn deref_mut(&mut self) -> &mut Parts {
        &mut self.0
    }
}

impl Stream {
    /// An empty stream.
    pub fn new() -> Stream {
        Stream::default()
    }

    /// OBJECT ENCODING's answer.
    pub fn encoding(&self) -> &'static str {
        "stream"
    }

    /// Bytes taken from the allocator, estimated from some of the nodes.
    pub fn memory_bytes(&self) -> usize {
        let groups = self.groups.iter();
        let groups = groups.map(|(name, group)| 32 + name.len() + group.memory_bytes());
        size_of::<Parts>() + self.entries.memory_bytes() + groups.sum::<usize>()
    }

    /// Whether dropping it takes long enough to be worth a thread.
    pub fn is_costly_to_free(&self) -> bool {
        self.entries.nodes.len() > 64 || self.groups.values().any(|group| group.pending_len() > 512)
    }
}

/// The entries of a stream, and what is remembered of those that are gone.
#[derive(Default)]
pub struct Entries {
    nodes: BTreeMap<StreamId, Node>,
    len: u64,
    last_id: StreamId,
    first_id: StreamId,
    max_deleted_id: StreamId,
    added: u64,
    note: Note<u128>,
}

/// What XTRIM takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trim {
    /// The oldest entries, until so many are left.
    MaxLen(u64),
    /// Entries before this id.
    MinId(StreamId),
}

/// How exactly XTRIM does that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exactness {
    /// To the entry.
    Exact,
    /// Only whole nodes, and at most so many entries (0: any number).
    Nodes {
        /// The most entries to take away.
        limit: u64,
    },
}

impl Entries {
    /// How many entries there are.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The last id given, whether or not its entry is still there.
    pub fn last_id(&self) -> StreamId {
        self.last_id
    }

    /// The first entry's id, 0-0 when there is none.
    pub fn first_id(&self) -> StreamId {
        self.first_id
    }

    /// The largest id that XDEL took away.
    pub fn max_deleted_id(&self) -> StreamId {
        self.max_deleted_id
    }

    /// How many entries were ever added.
    pub fn added(&self) -> u64 {
        self.added
    }

    /// What the tree has of the nodes, if that is known.
    pub(super) fn note(&self) -> &Note<u128> {
        &self.note
    }

    /// The nodes with their ids.
    pub(super) fn nodes(&self) -> impl Iterator<Item = (StreamId, &Noted<Listpack>)> {
        self.nodes.iter().map(|(id, node)| (*id, node.pack()))
    }

    /// How many nodes there are.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    fn memory_bytes(&self) -> usize {
        let per_node = 3 * size_of::<(StreamId, Node)>() / 2;
        let sample = self
            .nodes
            .values()
            .map(|node| per_node + node.memory_bytes());
        estimate_total(sample, self.nodes.len())
    }

    /// Adds an entry behind all others. `id` is above the last one, `fields`
    /// are names and values in turn and together below a gigabyte.
    pub fn push(&mut self, id: StreamId, fields: &[&[u8]]) {
        assert!(id > self.last_id, "ids ascend");
        let bytes: usize = fields.iter().map(|field| field.len()).sum();
        match self.nodes.last_entry() {
            Some(mut last) if has_room(last.get(), bytes) => {
                let node_id = *last.key();
                last.get_mut().push(node_id, id, fields);
            }
            _ => {
                self.nodes.insert(id, Node::new(id, id, fields));
            }
        }
        self.len += 1;
        self.added = self.added.wrapping_add(1);
        self.last_id = id;
        if self.len == 1 {
            self.first_id = id;
        }
    }

    /// Entries from `start` to `end`, both included.
    pub fn range(&self, start: StreamId, end: StreamId) -> Range<'_> {
        Range::new(self, start, end, false)
    }

    /// The same, from the last to the first.
    pub fn range_reverse(&self, start: StreamId, end: StreamId) -> Range<'_> {
        Range::new(self, start, end, true)
    }

    /// The entry with this id.
    pub fn get(&self, id: StreamId) -> Option<StreamEntry<'_>> {
        self.range(id, id).next()
    }

    /// The id of the last entry that is there.
    pub fn last_present_id(&self) -> Option<StreamId> {
        let mut entries = self.range_reverse(StreamId::MIN, StreamId::MAX);
        entries.next().map(|entry| entry.id)
    }

    /// Whether there is an entry behind `id`.
    pub fn has_after(&self, id: StreamId) -> bool {
        id < self.last_id && self.last_present_id().is_some_and(|last| last > id)
    }

    /// Deletes an entry; whether it was there.
    pub fn delete(&mut self, id: StreamId) -> bool {
        let Some((&node_id, node)) = self.nodes.range_mut(..=id).next_back() else {
            return false;
        };
        let Some(is_last) = node.delete(node_id, id) else {
            return false;
        };
        if is_last {
            self.nodes.remove(&node_id);
        }
        self.len -= 1;
        self.max_deleted_id = self.max_deleted_id.max(id);
        if id == self.first_id {
            self.find_first();
        }
        true
    }

    fn find_first(&mut self) {
        let first = self.range(StreamId::MIN, StreamId::MAX).next();
        self.first_id = first.map_or(StreamId::MIN, |entry| entry.id);
    }

    /// Takes the oldest entries away; returns how many.
    pub fn trim(&mut self, trim: Trim, exactness: Exactness) -> u64 {
        let (before, mut first_id) = (self.len, None);
        while let Some(mut first) = self.nodes.first_entry() {
            if matches!(trim, Trim::MaxLen(max) if self.len <= max) {
                break;
            }
            let (node_id, live) = (*first.key(), first.get().live());
            if let Exactness::Nodes { limit: limit @ 1.. } = exactness
                && before - self.len + live > limit
            {
                break;
            }
            let whole = match trim {
                Trim::MaxLen(max) => self.len - live >= max,
                Trim::MinId(id) => first.get().last_id(node_id) < id,
            };
            if whole {
                first.remove();
                self.len -= live;
                continue;
            }
            if exactness == Exactness::Exact {
                let mut left = self.len;
                let (removed, stays) = first.get_mut().delete_while(node_id, |id| match trim {
                    Trim::MaxLen(max) => {
                        let wanted = left > max;
                        left -= u64::from(wanted);
                        wanted
                    }
                    Trim::MinId(min) => id < min,
                });
                self.len -= removed;
                first_id = stays;
            }
            break;
        }
        let removed = before - self.len;
        match first_id {
            Some(id) => self.first_id = id,
            None if removed > 0 => self.find_first(),
            None => {}
        }
        removed
    }

    /// Sets the last id (not below that of the last entry), and where given
    /// how many entries were ever added and the largest id deleted.
    pub fn set_ids(&mut self, last: StreamId, added: Option<u64>, max_deleted: Option<StreamId>) {
        self.last_id = last;
        self.added = added.unwrap_or(self.added);
        self.max_deleted_id = max_deleted.unwrap_or(self.max_deleted_id);
        // What is marked as deleted beyond the last id would stand in the way
        // of ids to come.
        while let Some(node) = self.nodes.last_entry() {
            let node_id = *node.key();
            if node.get().last_id(node_id) <= last {
                break;
            }
            let node = node.remove();
            if let Some(rest) = node.without_deleted(node_id) {
                self.nodes.insert(node_id, rest);
                break;
            }
        }
    }

    /// Whether an entry was deleted from `start` on, so that a count up to
    /// there tells nothing of what comes behind.
    pub fn has_deleted_from(&self, start: StreamId) -> bool {
        !self.is_empty() && self.max_deleted_id != StreamId::MIN && start <= self.max_deleted_id
    }

    /// How many entries were ever added up to `id`; None when that can't be
    /// told.
    pub fn count_up_to(&self, id: StreamId) -> Option<i64> {
        let added = self.added as i64;
        if self.added == 0 {
            return Some(0);
        }
        if self.is_empty() && id <= self.last_id {
            return Some(added);
        }
        if id != StreamId::MIN && id < self.max_deleted_id {
            return None;
        }
        if id >= self.last_id {
            return (id == self.last_id).then_some(added);
        }
        if self.max_deleted_id == StreamId::MIN || self.max_deleted_id < self.first_id {
            let before_first = added.wrapping_sub(self.len as i64);
            if id < self.first_id {
                return Some(before_first);
            }
            if id == self.first_id {
                return Some(before_first.wrapping_add(1));
            }
        }
        None
    }

    /// How many entries a group has yet to read; None when it can't be told.
    pub fn lag(&self, group: &Group) -> Option<i64> {
        if self.added == 0 {
            return Some(0);
        }
        let read = match group.entries_read {
            Some(read) if !self.has_deleted_from(group.last_id) => Some(read),
            _ => self.count_up_to(group.last_id),
        };
        read.map(|read| (self.added as i64).wrapping_sub(read))
    }
}

/// Whether an entry of so many bytes goes into a node, or begins a new one.
fn has_room(node: &Node, bytes: usize) -> bool {
    let max_bytes = match LIMITS.stream_node_max_bytes.load(Relaxed) {
        0 => LISTPACK_MAX_BYTES,
        max => max.min(LISTPACK_MAX_BYTES),
    };
    let max_entries = LIMITS.stream_node_max_entries.load(Relaxed) as u64;
    node.bytes_len() + bytes < max_bytes && (max_entries == 0 || node.entries() < max_entries)
}
