//! The order of a large sorted set: a B+ tree that counts.
//!
//! Items are ordered by score, then by member. Every branch knows, for each
//! child, its first item and its number of items, so that a rank is found
//! from an item, an item from a rank, and either end of a range of scores or
//! members becomes a rank, all in one descent. Everything else (counting,
//! reading, removing a range) is arithmetic with ranks.
//!
//! Scores lie in the tree, members don't: an item points to the element of the
//! set's table, which is read only where scores are equal.

use std::mem::ManuallyDrop;
use std::ops::Range;
use std::ptr::NonNull;

use super::element::Scored;
use super::table::Element;

/// Items in a leaf: 64 of 16 bytes are one allocation of 1 KiB.
const LEAF: usize = 64;
/// Children of a branch.
const BRANCH: usize = 32;

/// A member in its place in the order.
#[derive(Clone, Copy)]
pub(super) struct Item {
    score: f64,
    member: NonNull<u8>,
}

// SAFETY: an item is a shared reference to an element of the set that owns
// the tree.
unsafe impl Send for Item {}
// SAFETY: as above; elements are only read through it.
unsafe impl Sync for Item {}

impl Item {
    /// # Safety
    /// `member` is the address of a [`Scored`] that lives, and keeps its name,
    /// as long as the item or any copy of it is used.
    pub unsafe fn new(score: f64, member: NonNull<u8>) -> Self {
        Self { score, member }
    }

    pub fn score(&self) -> f64 {
        self.score
    }

    /// Shows the member's bytes.
    pub fn member<'a>(self) -> &'a [u8] {
        // SAFETY: the element lives as long as the item is used, as `new`
        // demands; ManuallyDrop leaves it to its owner.
        let scored = ManuallyDrop::new(unsafe { Scored::from_raw(self.member) });
        let name: *const [u8] = scored.name();
        // SAFETY: the name lies in the element's block, not in the handle.
        unsafe { &*name }
    }

    fn is_before(self, other: Self) -> bool {
        self.score < other.score || (self.score == other.score && self.member() < other.member())
    }
}

/// A cut through the order: items before it and items after it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cut<'a> {
    /// Before all items.
    Start,
    /// After all items.
    End,
    /// Before the first item of this score.
    BeforeScore(f64),
    /// After the last item of this score.
    AfterScore(f64),
    /// Before this member, where all scores are equal.
    BeforeMember(&'a [u8]),
    /// After this member, where all scores are equal.
    AfterMember(&'a [u8]),
    /// Before this member among those of this score.
    Before(f64, &'a [u8]),
}

impl Cut<'_> {
    /// Whether an item is before the cut. `member` is asked for only where it
    /// decides.
    pub fn is_after<'m>(&self, score: f64, member: impl FnOnce() -> &'m [u8]) -> bool {
        match *self {
            Self::Start => false,
            Self::End => true,
            Self::BeforeScore(bound) => score < bound,
            Self::AfterScore(bound) => score <= bound,
            Self::BeforeMember(bound) => member() < bound,
            Self::AfterMember(bound) => member() <= bound,
            Self::Before(bound, name) => score < bound || (score == bound && member() < name),
        }
    }
}

enum Node {
    Leaf(Vec<Item>),
    Branch(Vec<Child>),
}

struct Child {
    first: Item,
    count: usize,
    node: Node,
}

impl Child {
    fn leaf(items: Vec<Item>) -> Self {
        Self {
            first: items[0],
            count: items.len(),
            node: Node::Leaf(items),
        }
    }

    fn branch(children: Vec<Child>) -> Self {
        Self {
            first: children[0].first,
            count: children.iter().map(|child| child.count).sum(),
            node: Node::Branch(children),
        }
    }
}

/// The tree.
pub(super) struct RankTree {
    root: Node,
    len: usize,
}

impl RankTree {
    pub fn new() -> Self {
        Self {
            root: Node::Leaf(Vec::new()),
            len: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn memory_bytes(&self) -> usize {
        self.root.memory_bytes()
    }

    /// How many items are before a cut.
    pub fn rank(&self, cut: &Cut<'_>) -> usize {
        let before = |item: &Item| cut.is_after(item.score, || item.member());
        let (mut node, mut rank) = (&self.root, 0);
        loop {
            match node {
                Node::Leaf(items) => return rank + items.partition_point(before),
                Node::Branch(children) => {
                    let place = children.partition_point(|child| before(&child.first));
                    let place = place.saturating_sub(1);
                    rank += children[..place]
                        .iter()
                        .map(|child| child.count)
                        .sum::<usize>();
                    node = &children[place].node;
                }
            }
        }
    }

    /// The leaf that holds the item at `rank`, and the item's place in it.
    fn leaf_of(&self, mut rank: usize) -> Option<(&[Item], usize)> {
        let mut node = &self.root;
        loop {
            match node {
                Node::Leaf(items) => return (rank < items.len()).then_some((items, rank)),
                Node::Branch(children) => {
                    let place = child_of(children, &mut rank)?;
                    node = &children[place].node;
                }
            }
        }
    }

    /// The items of a range of ranks, from either end.
    pub fn iter(&self, ranks: Range<usize>) -> Iter<'_> {
        let ranks = ranks.start.min(self.len)..ranks.end.min(self.len);
        Iter {
            tree: self,
            ranks,
            front: &[],
            back: &[],
        }
    }

    /// Adds an item that is not in the tree.
    pub fn insert(&mut self, item: Item) {
        self.len += 1;
        if let Some(right) = self.root.insert(item, true) {
            let left = match std::mem::replace(&mut self.root, Node::Leaf(Vec::new())) {
                Node::Leaf(items) => Child::leaf(items),
                Node::Branch(children) => Child::branch(children),
            };
            self.root = Node::Branch(vec![left, right]);
        }
    }

    /// Removes the item at `rank`.
    pub fn remove(&mut self, rank: usize) -> Option<Item> {
        if rank >= self.len {
            return None;
        }
        let removed = self.root.remove(rank)?;
        self.len -= 1;
        while let Node::Branch(children) = &mut self.root
            && children.len() <= 1
        {
            let only = children.pop().map(|child| child.node);
            self.root = only.unwrap_or(Node::Leaf(Vec::new()));
        }
        Some(removed)
    }

    /// Gives the item at `rank` another score without moving it, if it stays
    /// in order. Whether that was possible.
    pub fn rescore(&mut self, rank: usize, score: f64) -> bool {
        let Some((items, place)) = self.leaf_of(rank) else {
            return false;
        };
        // At the edges of a leaf the neighbours and the first items kept in
        // branches would have to be looked at; the general way does that.
        if place == 0 || place + 1 >= items.len() {
            return false;
        }
        let moved = Item {
            score,
            ..items[place]
        };
        if !items[place - 1].is_before(moved) || !moved.is_before(items[place + 1]) {
            return false;
        }
        let (mut node, mut rank) = (&mut self.root, rank);
        loop {
            match node {
                Node::Leaf(items) => {
                    items[rank] = moved;
                    return true;
                }
                Node::Branch(children) => {
                    let Some(place) = child_of(children, &mut rank) else {
                        return false;
                    };
                    node = &mut children[place].node;
                }
            }
        }
    }
}

/// The child that holds the item at `rank`, which becomes the rank in there.
fn child_of(children: &[Child], rank: &mut usize) -> Option<usize> {
    children.iter().position(|child| {
        let here = *rank < child.count;
        if !here {
            *rank -= child.count;
        }
        here
    })
}

impl Node {
    fn memory_bytes(&self) -> usize {
        match self {
            Self::Leaf(items) => items.capacity() * size_of::<Item>(),
            Self::Branch(children) => {
                let below: usize = children.iter().map(|child| child.node.memory_bytes()).sum();
                children.capacity() * size_of::<Child>() + below
            }
        }
    }

    /// Adds an item; returns the right half if the node had to be split.
    /// `last` says that no item of the tree comes after this node: there, a
    /// full node is left full, because items often come in ascending order.
    fn insert(&mut self, item: Item, last: bool) -> Option<Child> {
        match self {
            Self::Leaf(items) => {
                let place = items.partition_point(|other| other.is_before(item));
                if items.len() < LEAF {
                    items.insert(place, item);
                    return None;
                }
                if last && place == LEAF {
                    return Some(Child::leaf(vec![item]));
                }
                let mut right = items.split_off(LEAF / 2);
                if place <= LEAF / 2 {
                    items.insert(place, item);
                } else {
                    right.insert(place - LEAF / 2, item);
                }
                Some(Child::leaf(right))
            }
            Self::Branch(children) => {
                let place = children.partition_point(|child| child.first.is_before(item));
                let place = place.saturating_sub(1);
                let last = last && place + 1 == children.len();
                let child = &mut children[place];
                let right = child.node.insert(item, last);
                child.count += 1;
                if item.is_before(child.first) {
                    child.first = item;
                }
                let right = right?;
                child.count -= right.count;
                children.insert(place + 1, right);
                if children.len() <= BRANCH {
                    return None;
                }
                let kept = if last { BRANCH } else { BRANCH / 2 };
                Some(Child::branch(children.split_off(kept)))
            }
        }
    }

    fn remove(&mut self, mut rank: usize) -> Option<Item> {
        match self {
            Self::Leaf(items) => (rank < items.len()).then(|| items.remove(rank)),
            Self::Branch(children) => {
                let place = child_of(children, &mut rank)?;
                let child = &mut children[place];
                let removed = child.node.remove(rank)?;
                child.count -= 1;
                if child.count == 0 {
                    children.remove(place);
                } else {
                    if rank == 0
                        && let Some(first) = child.node.first()
                    {
                        child.first = first;
                    }
                    merge_near(children, place);
                }
                Some(removed)
            }
        }
    }

    fn first(&self) -> Option<Item> {
        match self {
            Self::Leaf(items) => items.first().copied(),
            Self::Branch(children) => children.first().map(|child| child.first),
        }
    }

    /// How many items or children the node itself has, and the most it may
    /// have.
    fn fill(&self) -> (usize, usize) {
        match self {
            Self::Leaf(items) => (items.len(), LEAF),
            Self::Branch(children) => (children.len(), BRANCH),
        }
    }
}

/// Joins the child at `place`, when it has become small, with a neighbour that
/// has room for it.
fn merge_near(children: &mut Vec<Child>, place: usize) {
    let (small, most) = children[place].node.fill();
    if small >= most / 4 {
        return;
    }
    for left in [place, place.wrapping_sub(1)] {
        let Some(neighbours) = children.get(left..).and_then(|rest| rest.get(..2)) else {
            continue;
        };
        let together = neighbours[0].node.fill().0 + neighbours[1].node.fill().0;
        if together > most / 4 * 3 {
            continue;
        }
        let right = children.remove(left + 1);
        let child = &mut children[left];
        child.count += right.count;
        match (&mut child.node, right.node) {
            (Node::Leaf(items), Node::Leaf(more)) => items.extend(more),
            (Node::Branch(below), Node::Branch(more)) => below.extend(more),
            _ => unreachable!("all leaves are at one depth"),
        }
        return;
    }
}

/// Items of a range of ranks.
pub(super) struct Iter<'a> {
    tree: &'a RankTree,
    /// The ranks still to come.
    ranks: Range<usize>,
    /// Items from the front rank on, as far as their leaf goes.
    front: &'a [Item],
    /// Items up to the back rank, as far as their leaf goes.
    back: &'a [Item],
}

impl<'a> Iterator for Iter<'a> {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        if self.ranks.is_empty() {
            return None;
        }
        if self.front.is_empty() {
            let (items, place) = self.tree.leaf_of(self.ranks.start)?;
            self.front = &items[place..];
        }
        let (first, rest) = self.front.split_first()?;
        self.front = rest;
        self.ranks.start += 1;
        Some(*first)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.ranks.len(), Some(self.ranks.len()))
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Item> {
        if self.ranks.is_empty() {
            return None;
        }
        if self.back.is_empty() {
            let (items, place) = self.tree.leaf_of(self.ranks.end - 1)?;
            self.back = &items[..=place];
        }
        let (last, rest) = self.back.split_last()?;
        self.back = rest;
        self.ranks.end -= 1;
        Some(*last)
    }
}
