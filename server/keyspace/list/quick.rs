//! A quicklist: a sequence of nodes, each a listpack or, for an element too
//! large to share one, that element alone.
//!
//! The nodes lie in a deque, with their number of entries beside the pointer,
//! so that an index is found by adding up counts and touches one node only.
//! Redis's nodes are all filled to the limit. Here those at the front are
//! kept smaller (see [`FRONT_BYTES`]), because every push and pop at the front
//! of a listpack moves all that follows.

use std::collections::VecDeque;

use super::{Direction, End};
use crate::keyspace::limits::NodeLimit;
use crate::keyspace::listpack::{Entry, Listpack, Needle};
use crate::keyspace::pieces::{Note, Noted};

/// Pushes at the front fill a node to about this many bytes, and pops cut
/// pieces of this size from a larger node.
const FRONT_BYTES: usize = 2048;

/// Up to this many nodes are packed into one when they are small enough.
const PACKED_NODES: usize = 5;

/// Bytes that an entry of a listpack may need beside its data.
const ENTRY_OVERHEAD: usize = 8;

/// Bytes of an empty listpack.
const EMPTY_BYTES: usize = 7;

/// What a node holds, as an RDB image has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeBytes<'a> {
    /// A listpack.
    Packed(&'a [u8]),
    /// One element.
    Plain(&'a [u8]),
}

#[derive(Debug)]
pub enum Body {
    Packed(Listpack),
    Plain(Box<[u8]>),
}

#[derive(Debug)]
pub struct Node {
    pub(in crate::keyspace) body: Noted<Body>,
    count: usize,
}

impl Node {
    pub fn packed(listpack: Listpack) -> Self {
        Self {
            count: listpack.len(),
            body: Body::Packed(listpack).into(),
        }
    }

    /// A node with one element.
    fn of(value: &[u8], limit: NodeLimit) -> Self {
        if limit.is_large(value.len()) {
            return Self {
                body: Body::Plain(value.into()).into(),
                count: 1,
            };
        }
        let mut listpack = Listpack::new();
        listpack.push_back(Entry::of(value));
        Self::packed(listpack)
    }

    pub fn from_bytes(bytes: NodeBytes<'_>) -> Option<Self> {
        match bytes {
            NodeBytes::Packed(bytes) => Listpack::from_bytes(bytes).map(Self::packed),
            NodeBytes::Plain(bytes) => Some(Self {
                body: Body::Plain(bytes.into()).into(),
                count: 1,
            }),
        }
    }

    pub fn bytes(&self) -> NodeBytes<'_> {
        match &*self.body {
            Body::Packed(listpack) => NodeBytes::Packed(listpack.as_bytes()),
            Body::Plain(bytes) => NodeBytes::Plain(bytes),
        }
    }

    fn listpack(&self) -> Option<&Listpack> {
        match &*self.body {
            Body::Packed(listpack) => Some(listpack),
            Body::Plain(_) => None,
        }
    }

    /// Whether an element of `len` bytes may be added.
    fn allows(&self, len: usize, limit: NodeLimit) -> bool {
        self.listpack().is_some_and(|listpack| {
            let bytes = listpack.bytes_len() + len + ENTRY_OVERHEAD;
            !limit.is_large(len) && !limit.exceeded(bytes, self.count + 1)
        })
    }
}

/// Where an element is: its node, and its position in that node's listpack
/// (nothing in a plain one).
#[derive(Clone, Copy, Debug)]
pub struct Spot {
    pub node: usize,
    pub at: usize,
}

#[derive(Debug, Default)]
pub struct QuickList {
    pub(in crate::keyspace) nodes: VecDeque<Node>,
    pub(super) len: usize,
    /// What the tree has of the nodes, if that is known.
    pub(in crate::keyspace) note: Note<u64>,
}

impl QuickList {
    pub fn memory_bytes(&self) -> usize {
        let bodies: usize = self
            .nodes
            .iter()
            .map(|node| match &*node.body {
                Body::Packed(listpack) => listpack.memory_bytes(),
                Body::Plain(bytes) => bytes.len(),
            })
            .sum();
        size_of::<Self>() + self.nodes.capacity() * size_of::<Node>() + bodies
    }

    /// Appends a node, unless it is empty.
    pub fn push_node(&mut self, node: Node) {
        if node.count > 0 {
            self.len += node.count;
            self.nodes.push_back(node);
        }
    }

    /// All elements as one listpack, when the nodes are few, not plain, and
    /// their bytes and number together satisfy `fits`. Leaves nothing then.
    pub fn as_one_listpack(&mut self, fits: impl Fn(usize, usize) -> bool) -> Option<Listpack> {
        if self.nodes.len() > PACKED_NODES {
            return None;
        }
        let mut bytes = EMPTY_BYTES;
        for node in &self.nodes {
            bytes += node.listpack()?.bytes_len() - EMPTY_BYTES;
        }
        if !fits(bytes, self.len) {
            return None;
        }
        let mut all = Listpack::new();
        for (place, node) in self.nodes.drain(..).enumerate() {
            match node.body.into_part() {
                Body::Packed(listpack) if place == 0 => all = listpack,
                Body::Packed(listpack) => all.append(&listpack),
                Body::Plain(_) => {}
            }
        }
        Some(all)
    }

    pub fn push(&mut self, end: End, value: &[u8], limit: NodeLimit) {
        self.len += 1;
        let node = match end {
            End::Front => self.nodes.front_mut(),
            End::Back => self.nodes.back_mut(),
        };
        if let Some(node) = node.filter(|node| node.allows(value.len(), limit))
            && let Body::Packed(listpack) = &mut *node.body
        {
            match end {
                End::Back => {
                    listpack.push_back(Entry::of(value));
                    node.count += 1;
                    return;
                }
                End::Front if listpack.bytes_len() <= FRONT_BYTES => {
                    listpack.push_front(Entry::of(value));
                    node.count += 1;
                    return;
                }
                End::Front => {}
            }
        }
        match end {
            End::Front => self.nodes.push_front(Node::of(value, limit)),
            End::Back => self.nodes.push_back(Node::of(value, limit)),
        }
    }

    pub fn pop<R>(&mut self, end: End, read: impl FnOnce(Entry<'_>) -> R) -> Option<R> {
        let node = match end {
            End::Front => {
                self.cut_front_node();
                0
            }
            End::Back => self.nodes.len().checked_sub(1)?,
        };
        let at = match &*self.nodes.get(node)?.body {
            Body::Packed(listpack) if end == End::Back => listpack.prev(listpack.end())?,
            Body::Packed(listpack) => listpack.first(),
            Body::Plain(_) => 0,
        };
        let spot = Spot { node, at };
        let result = read(self.get(spot)?);
        self.delete(spot);
        Some(result)
    }

    /// Cuts a large node at the front of a list of several into pieces.
    fn cut_front_node(&mut self) {
        if self.nodes.len() < 2 {
            return;
        }
        let Some(Body::Packed(listpack)) = self.nodes.front_mut().map(|node| &mut *node.body)
        else {
            return;
        };
        if listpack.bytes_len() <= 2 * FRONT_BYTES {
            return;
        }
        let mut at = listpack.first();
        while at < FRONT_BYTES {
            at = listpack.next(at);
        }
        let rest = Node::packed(listpack.split_off(at));
        let front = &mut self.nodes[0];
        front.count -= rest.count;
        if rest.count > 0 {
            self.nodes.insert(1, rest);
        }
    }

    pub fn get(&self, spot: Spot) -> Option<Entry<'_>> {
        match &*self.nodes.get(spot.node)?.body {
            Body::Packed(listpack) => listpack.get(spot.at),
            Body::Plain(bytes) => Some(Entry::Str(bytes)),
        }
    }

    /// Where the element at `index` is.
    pub fn spot(&self, index: usize) -> Option<Spot> {
        let (node, index) = self.node_of(index)?;
        let at = match &*self.nodes[node].body {
            Body::Packed(listpack) => listpack.seek(index)?,
            Body::Plain(_) => 0,
        };
        Some(Spot { node, at })
    }

    /// The node of the element at `index`, and its index in there, found from
    /// the nearer end.
    fn node_of(&self, index: usize) -> Option<(usize, usize)> {
        if index >= self.len {
            return None;
        }
        if index < self.len / 2 {
            let mut before = 0;
            for (place, node) in self.nodes.iter().enumerate() {
                if index < before + node.count {
                    return Some((place, index - before));
                }
                before += node.count;
            }
        } else {
            let mut before = self.len;
            for (place, node) in self.nodes.iter().enumerate().rev() {
                before -= node.count;
                if index >= before {
                    return Some((place, index - before));
                }
            }
        }
        None
    }

    pub fn find(&self, needle: &Needle<'_>) -> Option<Spot> {
        self.nodes.iter().enumerate().find_map(|(place, node)| {
            let at = match &*node.body {
                Body::Packed(listpack) => listpack.find(listpack.first(), needle, 0)?,
                Body::Plain(bytes) if needle.matches(Entry::Str(bytes)) => 0,
                Body::Plain(_) => return None,
            };
            Some(Spot { node: place, at })
        })
    }

    /// Removes one element, and its node when that was the last in it.
    fn delete(&mut self, spot: Spot) {
        let node = &mut self.nodes[spot.node];
        self.len -= 1;
        node.count -= 1;
        if node.count == 0 {
            self.nodes.remove(spot.node);
        } else if let Body::Packed(listpack) = &mut *node.body {
            listpack.delete(spot.at, 1);
        }
    }

    /// Puts another value in the place of an element.
    pub fn replace(&mut self, spot: Spot, value: &[u8], limit: NodeLimit) {
        let node = &mut self.nodes[spot.node];
        if let Body::Packed(listpack) = &mut *node.body {
            let old = listpack.next(spot.at) - spot.at;
            let bytes = listpack.bytes_len() - old + value.len() + ENTRY_OVERHEAD;
            if !limit.is_large(value.len()) && !limit.exceeded(bytes, node.count) {
                listpack.replace(spot.at, Entry::of(value));
                return;
            }
        }
        // Inserting after it leaves the spot valid.
        self.insert(spot, value, true, limit);
        self.delete(spot);
    }

    /// Inserts a value beside the element at `spot`. What is before the new
    /// value stays where it is.
    pub fn insert(&mut self, spot: Spot, value: &[u8], after: bool, limit: NodeLimit) {
        self.len += 1;
        let place = spot.node;
        let allowed = self.nodes[place].allows(value.len(), limit);
        let node = &mut self.nodes[place];
        let (at_start, at_end) = match &mut *node.body {
            Body::Plain(_) => (!after, after),
            Body::Packed(listpack) => {
                let at = if after {
                    listpack.next(spot.at)
                } else {
                    spot.at
                };
                if allowed {
                    listpack.insert(at, &[Entry::of(value)]);
                    node.count += 1;
                    return;
                }
                let (at_start, at_end) = (at == listpack.first(), at == listpack.end());
                if !at_start && !at_end {
                    let right = Node::packed(listpack.split_off(at));
                    node.count -= right.count;
                    self.nodes.insert(place + 1, right);
                }
                (at_start, at_end)
            }
        };
        // Now the value belongs between two nodes: at the end of the one, at
        // the start of the other, or in a node of its own.
        let right = if at_start && !at_end {
            place
        } else {
            place + 1
        };
        let fits = |node: Option<&Node>| node.is_some_and(|node| node.allows(value.len(), limit));
        if right > 0 && fits(self.nodes.get(right - 1)) {
            self.add_to(right - 1, End::Back, value);
        } else if fits(self.nodes.get(right)) {
            self.add_to(right, End::Front, value);
        } else {
            self.nodes.insert(right, Node::of(value, limit));
        }
    }

    fn add_to(&mut self, place: usize, end: End, value: &[u8]) {
        let node = &mut self.nodes[place];
        if let Body::Packed(listpack) = &mut *node.body {
            match end {
                End::Front => listpack.push_front(Entry::of(value)),
                End::Back => listpack.push_back(Entry::of(value)),
            }
            node.count += 1;
        }
    }

    /// Joins neighbours near `place` that fit in one node, so that insertions
    /// don't leave ever smaller pieces.
    pub fn merge_around(&mut self, place: usize, limit: NodeLimit) {
        for left in (place.saturating_sub(1)..=place + 1).rev() {
            if left + 1 >= self.nodes.len() {
                continue;
            }
            let (first, second) = (&self.nodes[left], &self.nodes[left + 1]);
            let (Some(a), Some(b)) = (first.listpack(), second.listpack()) else {
                continue;
            };
            let bytes = a.bytes_len() + b.bytes_len() - EMPTY_BYTES;
            if limit.exceeded(bytes, first.count + second.count) {
                continue;
            }
            if let Some(removed) = self.nodes.remove(left + 1)
                && let Body::Packed(tail) = removed.body.into_part()
                && let Body::Packed(listpack) = &mut *self.nodes[left].body
            {
                listpack.append(&tail);
                self.nodes[left].count += removed.count;
            }
        }
    }

    /// Removes up to `most` elements equal to `needle`; returns how many.
    pub fn remove(&mut self, needle: &Needle<'_>, direction: Direction, most: usize) -> usize {
        let mut removed = 0;
        let count = self.nodes.len();
        for step in 0..count {
            if removed == most {
                break;
            }
            let place = match direction {
                Direction::Forward => step,
                Direction::Reverse => count - 1 - step,
            };
            let node = &mut self.nodes[place];
            let here = match &mut *node.body {
                Body::Packed(listpack) => remove_from(listpack, needle, direction, most - removed),
                Body::Plain(bytes) => usize::from(needle.matches(Entry::Str(bytes))),
            };
            node.count -= here;
            removed += here;
        }
        if removed > 0 {
            self.nodes.retain(|node| node.count > 0);
            self.len -= removed;
        }
        removed
    }

    /// Removes `count` elements at an end.
    pub fn cut(&mut self, end: End, count: usize) {
        let mut left = count.min(self.len);
        self.len -= left;
        while left > 0 {
            let node = match end {
                End::Front => self.nodes.front_mut(),
                End::Back => self.nodes.back_mut(),
            };
            let Some(node) = node else { return };
            if node.count > left {
                let kept = node.count - left;
                if let Body::Packed(listpack) = &mut *node.body {
                    let from = if end == End::Front { 0 } else { kept };
                    let at = listpack.seek(from).unwrap_or(listpack.end());
                    listpack.delete(at, left);
                }
                node.count = kept;
                return;
            }
            left -= node.count;
            match end {
                End::Front => self.nodes.pop_front(),
                End::Back => self.nodes.pop_back(),
            };
        }
    }
}

/// Removes up to `most` entries equal to `needle`; returns how many.
pub fn remove_from(
    listpack: &mut Listpack,
    needle: &Needle<'_>,
    direction: Direction,
    most: usize,
) -> usize {
    let mut removed = 0;
    let mut at = match direction {
        Direction::Forward => Some(listpack.first()),
        Direction::Reverse => listpack.prev(listpack.end()),
    };
    while let Some(here) = at.filter(|_| removed < most) {
        at = match direction {
            Direction::Forward => {
                let found = listpack.find(here, needle, 0);
                if let Some(found) = found {
                    listpack.delete(found, 1);
                    removed += 1;
                }
                found
            }
            Direction::Reverse => {
                let before = listpack.prev(here);
                if listpack
                    .get(here)
                    .is_some_and(|entry| needle.matches(entry))
                {
                    listpack.delete(here, 1);
                    removed += 1;
                }
                before
            }
        };
    }
    removed
}
