//! The list type: one listpack while it is small, a quicklist above that.
//!
//! A list turns into a quicklist when it would pass `list-max-listpack-size`,
//! and back when removals leave half of that (see [`NodeLimit`]).

mod iter;
mod quick;
#[cfg(test)]
mod tests;

use std::ops::Range;

use super::limits::{LIMITS, NodeLimit};
use super::listpack::{Entry, Listpack, Needle};
pub use iter::Iter;
use iter::Source;
use quick::Spot;
pub use quick::{Node, NodeBytes, QuickList};

/// An end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Front,
    Back,
}

/// Which way a list is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Forward,
    Reverse,
}

/// A list value.
#[derive(Debug)]
pub enum List {
    Packed(Listpack),
    Quick(Box<QuickList>),
}

impl Default for List {
    fn default() -> Self {
        Self::new()
    }
}

impl List {
    /// An empty list.
    pub fn new() -> Self {
        Self::Packed(Listpack::new())
    }

    /// A list from the nodes of an RDB image, each a listpack or one plain
    /// element; `None` when a listpack is malformed. Empty nodes are left out.
    pub fn from_nodes<'a>(nodes: impl IntoIterator<Item = NodeBytes<'a>>) -> Option<Self> {
        let mut quick = QuickList::default();
        for bytes in nodes {
            quick.push_node(Node::from_bytes(bytes)?);
        }
        let mut list = Self::Quick(Box::new(quick));
        list.pack(|limit, bytes, count| !limit.exceeded(bytes, count));
        Some(list)
    }

    /// The nodes as an RDB image holds them; a packed list is one node.
    pub fn nodes(&self) -> impl Iterator<Item = NodeBytes<'_>> {
        let (one, many) = match self {
            Self::Packed(listpack) => (Some(NodeBytes::Packed(listpack.as_bytes())), None),
            Self::Quick(quick) => (None, Some(quick.nodes.iter().map(Node::bytes))),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// The nodes of a list that has several.
    pub(super) fn quick(&self) -> Option<&QuickList> {
        match self {
            Self::Packed(_) => None,
            Self::Quick(quick) => Some(quick),
        }
    }

    /// OBJECT ENCODING's answer.
    pub fn encoding(&self) -> &'static str {
        match self {
            Self::Packed(_) => "listpack",
            Self::Quick(_) => "quicklist",
        }
    }

    /// Elements.
    pub fn len(&self) -> usize {
        match self {
            Self::Packed(listpack) => listpack.len(),
            Self::Quick(quick) => quick.len,
        }
    }

    pub fn is_empty(&self) -> bool {
        match self {
            Self::Packed(listpack) => listpack.is_empty(),
            Self::Quick(quick) => quick.len == 0,
        }
    }

    /// Bytes taken from the allocator.
    pub fn memory_bytes(&self) -> usize {
        match self {
            Self::Packed(listpack) => listpack.memory_bytes(),
            Self::Quick(quick) => quick.memory_bytes(),
        }
    }

    /// Makes a quicklist of a list that `count` more elements of `bytes`
    /// altogether would make too large for one listpack.
    fn make_room(&mut self, bytes: usize, count: usize) {
        let Self::Packed(listpack) = self else {
            return;
        };
        let bytes = bytes.saturating_add(listpack.bytes_len());
        if LIMITS.node().exceeded(bytes, listpack.len() + count) {
            let mut quick = QuickList::default();
            quick.push_node(Node::packed(std::mem::take(listpack)));
            *self = Self::Quick(Box::new(quick));
        }
    }

    /// Packs a quicklist whose nodes together satisfy `fits`. Nodes are split
    /// at the front by pops, so a small number of them counts as one.
    fn pack(&mut self, fits: impl Fn(NodeLimit, usize, usize) -> bool) {
        if let Self::Quick(quick) = self
            && let Some(listpack) =
                quick.as_one_listpack(|bytes, len| fits(LIMITS.node(), bytes, len))
        {
            *self = Self::Packed(listpack);
        }
    }

    fn after_removal(&mut self) {
        self.pack(|limit, bytes, count| limit.half_suffices(bytes, count));
    }

    /// Adds an element at an end.
    pub fn push(&mut self, end: End, value: &[u8]) {
        self.make_room(value.len(), 1);
        self.push_raw(end, value);
    }

    /// Adds elements at an end, one after the other. The encoding is decided
    /// by all of them together, before the first is added.
    pub fn push_all<'a>(&mut self, end: End, values: impl Iterator<Item = &'a [u8]> + Clone) {
        let (bytes, count) = values.clone().fold((0, 0), |(bytes, count), value| {
            (bytes + value.len(), count + 1)
        });
        self.make_room(bytes, count);
        for value in values {
            self.push_raw(end, value);
        }
    }

    fn push_raw(&mut self, end: End, value: &[u8]) {
        match self {
            Self::Packed(listpack) if end == End::Front => listpack.push_front(Entry::of(value)),
            Self::Packed(listpack) => listpack.push_back(Entry::of(value)),
            Self::Quick(quick) => quick.push(end, value, LIMITS.node()),
        }
    }

    /// Removes the element at an end, after showing it to `read`.
    pub fn pop<R>(&mut self, end: End, read: impl FnOnce(Entry<'_>) -> R) -> Option<R> {
        match self {
            Self::Packed(listpack) => {
                let at = match end {
                    End::Front => listpack.first(),
                    End::Back => listpack.prev(listpack.end())?,
                };
                let result = read(listpack.get(at)?);
                listpack.delete(at, 1);
                Some(result)
            }
            Self::Quick(quick) => {
                let result = quick.pop(end, read);
                self.after_removal();
                result
            }
        }
    }

    /// The index from the front that `index` means, where -1 is the last.
    fn absolute(&self, index: i64) -> Option<usize> {
        let len = self.len();
        let index = match usize::try_from(index) {
            Ok(index) => index,
            Err(_) => len.checked_sub(usize::try_from(index.unsigned_abs()).ok()?)?,
        };
        (index < len).then_some(index)
    }

    /// The element at an index; negative ones count from the back.
    pub fn get(&self, index: i64) -> Option<Entry<'_>> {
        let index = self.absolute(index)?;
        match self {
            Self::Packed(listpack) => listpack.get(listpack.seek(index)?),
            Self::Quick(quick) => quick.get(quick.spot(index)?),
        }
    }

    /// Puts `value` in the place of the element at an index; whether there is
    /// one.
    pub fn set(&mut self, index: i64, value: &[u8]) -> bool {
        // As in Valkey, room is made even for an index out of range.
        self.make_room(value.len(), 1);
        let Some(index) = self.absolute(index) else {
            return false;
        };
        match self {
            Self::Packed(listpack) => {
                if let Some(at) = listpack.seek(index) {
                    listpack.replace(at, Entry::of(value));
                }
            }
            Self::Quick(quick) => {
                if let Some(spot) = quick.spot(index) {
                    quick.replace(spot, value, LIMITS.node());
                }
                self.after_removal();
            }
        }
        true
    }

    /// Inserts `value` before the first element equal to `pivot`; whether
    /// there is one.
    pub fn insert_before(&mut self, pivot: &[u8], value: &[u8]) -> bool {
        self.insert_beside(pivot, value, false)
    }

    /// Inserts `value` after the first element equal to `pivot`; whether there
    /// is one.
    pub fn insert_after(&mut self, pivot: &[u8], value: &[u8]) -> bool {
        self.insert_beside(pivot, value, true)
    }

    fn insert_beside(&mut self, pivot: &[u8], value: &[u8], after: bool) -> bool {
        self.make_room(value.len(), 1);
        let needle = Needle::new(pivot);
        match self {
            Self::Packed(listpack) => {
                let Some(at) = listpack.find(listpack.first(), &needle, 0) else {
                    return false;
                };
                let at = if after { listpack.next(at) } else { at };
                listpack.insert(at, &[Entry::of(value)]);
            }
            Self::Quick(quick) => {
                let Some(spot) = quick.find(&needle) else {
                    return false;
                };
                quick.insert(spot, value, after, LIMITS.node());
                quick.merge_around(spot.node, LIMITS.node());
            }
        }
        true
    }

    /// Removes elements equal to `value`: the first `count` of them, for a
    /// negative count the last ones, for 0 all. Returns how many.
    pub fn remove(&mut self, count: i64, value: &[u8]) -> usize {
        let needle = Needle::new(value);
        let most = match count {
            0 => usize::MAX,
            _ => usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX),
        };
        let direction = if count < 0 {
            Direction::Reverse
        } else {
            Direction::Forward
        };
        match self {
            Self::Packed(listpack) => quick::remove_from(listpack, &needle, direction, most),
            Self::Quick(quick) => {
                let removed = quick.remove(&needle, direction, most);
                if removed > 0 {
                    self.after_removal();
                }
                removed
            }
        }
    }

    /// The indexes from the front that a client's `start` and `stop` mean:
    /// both inclusive, -1 is the last element.
    pub fn index_range(&self, start: i64, stop: i64) -> Range<usize> {
        index_range(self.len(), start, stop)
    }

    /// Keeps the elements from `start` to `stop`, both inclusive and negative
    /// from the back.
    pub fn trim(&mut self, start: i64, stop: i64) {
        let kept = self.index_range(start, stop);
        match self {
            Self::Packed(listpack) => {
                if let Some(at) = listpack.seek(kept.end) {
                    listpack.delete(at, usize::MAX);
                }
                listpack.delete(listpack.first(), kept.start);
            }
            Self::Quick(quick) => {
                quick.cut(End::Back, quick.len - kept.end);
                quick.cut(End::Front, kept.start);
                self.after_removal();
            }
        }
    }

    /// All elements from the front.
    pub fn iter(&self) -> Iter<'_> {
        self.iter_from(0, Direction::Forward)
    }

    /// The elements from the one at `index` (counted from the front) on, to
    /// the back or, in reverse, to the front. Empty when there is no such
    /// element.
    pub fn iter_from(&self, index: usize, direction: Direction) -> Iter<'_> {
        match self {
            Self::Packed(listpack) => {
                let spot = listpack.seek(index).map(|at| Spot { node: 0, at });
                Iter::new(Source::One(listpack), spot, direction)
            }
            Self::Quick(quick) => Iter::new(Source::Many(quick), quick.spot(index), direction),
        }
    }
}

/// The indexes that `start` and `stop` mean in a sequence of `len` elements:
/// both inclusive, negative ones from the back, cut to what there is.
pub fn index_range(len: usize, start: i64, stop: i64) -> Range<usize> {
    let len = i64::try_from(len).unwrap_or(i64::MAX);
    let from_front = |index: i64| {
        if index < 0 {
            index.saturating_add(len)
        } else {
            index
        }
    };
    let start = from_front(start).max(0);
    let end = from_front(stop).min(len - 1) + 1;
    if start < end {
        start as usize..end as usize
    } else {
        0..0
    }
}
