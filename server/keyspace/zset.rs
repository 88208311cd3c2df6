//! The sorted set type: a listpack of members and scores while it is small, a
//! table and a tree above that.
//!
//! The listpack holds `member, score, member, score …` in order of score, then
//! of member; a score is an integer where it can be one, else text. A large
//! set has each member once, in an element of the table; the tree orders
//! pointers to those.
//!
//! Every query is answered in ranks: a range of scores or members is first
//! turned into a range of ranks, which can be counted, read from either end,
//! and removed.

#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;

use super::element::{Scored, estimate_total};
use super::limits::LIMITS;
use super::listpack::{self, Entry, IntBuffer, Listpack, Needle};
use super::rank_tree::{self, Cut, Item, RankTree};
use super::score::{ScoreBuffer, parse_score, score_entry};
use super::{pieces::Tracked, table::hash_bytes};

/// A range of scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreRange {
    pub min: f64,
    pub min_exclusive: bool,
    pub max: f64,
    pub max_exclusive: bool,
}

/// One end of a range of members in a set whose scores are all equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LexBound<'a> {
    /// `-`: before all members.
    Lowest,
    /// `+`: after all members.
    Highest,
    /// `[member`
    Inclusive(&'a [u8]),
    /// `(member`
    Exclusive(&'a [u8]),
}

/// What [`ZSet::add`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Added,
    Updated,
    Unchanged,
}

/// The table and the tree of a large sorted set.
pub struct Large {
    /// Pointers into `table`; declared first, so dropped first.
    tree: RankTree,
    pub(super) table: Tracked<Scored>,
}

/// A sorted set value.
pub enum ZSet {
    Packed(Listpack),
    Large(Box<Large>),
}

impl Default for ZSet {
    fn default() -> Self {
        Self::new()
    }
}

impl ZSet {
    /// An empty sorted set.
    pub fn new() -> Self {
        Self::Packed(Listpack::new())
    }

    /// A sorted set from the listpack of an RDB image; `None` when it is
    /// malformed. It is put in order and converted where that is needed;
    /// `None` also when a member comes twice.
    pub fn from_listpack_bytes(bytes: &[u8]) -> Option<Self> {
        let listpack = Listpack::from_bytes(bytes)?;
        let mut set = Self::new();
        let mut entries = listpack.iter();
        let mut buffer = IntBuffer::new();
        while let Some(member) = entries.next() {
            let score = parse_score(entries.next()?)?;
            if set.add(member.bytes(&mut buffer), score) != Change::Added {
                return None;
            }
        }
        Some(set)
    }

    /// The listpack of a small set, as an RDB image holds it.
    pub fn packed_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Packed(listpack) => Some(listpack.as_bytes()),
            Self::Large(_) => None,
        }
    }

    /// OBJECT ENCODING's answer.
    pub fn encoding(&self) -> &'static str {
        match self {
            Self::Packed(_) => "listpack",
            Self::Large(_) => "skiplist",
        }
    }

    /// Members.
    pub fn len(&self) -> usize {
        match self {
            Self::Packed(listpack) => listpack.len() / 2,
            Self::Large(large) => large.tree.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes taken from the allocator; the members of a large set are
    /// estimated from some of them.
    pub fn memory_bytes(&self) -> usize {
        match self {
            Self::Packed(listpack) => listpack.memory_bytes(),
            Self::Large(large) => {
                let sample = large.table.iter().map(|element| element.memory_bytes());
                let elements = estimate_total(sample, large.table.len());
                let fixed = size_of::<Large>() + large.table.memory_bytes();
                fixed + large.tree.memory_bytes() + elements
            }
        }
    }

    /// Converts a set that will get up to `count` members of up to `longest`
    /// bytes, before they are added one by one.
    pub fn prepare(&mut self, count: usize, longest: usize) {
        if count > LIMITS.zset_max_listpack_entries.load(Relaxed)
            || longest > LIMITS.zset_max_listpack_value.load(Relaxed)
        {
            self.make_large();
        }
    }

    /// Packs a set again that is small enough, as the STORE commands do with
    /// their result.
    pub fn pack(&mut self) {
        let Self::Large(large) = self else { return };
        let longest = LIMITS.zset_max_listpack_value.load(Relaxed);
        if large.tree.len() > LIMITS.zset_max_listpack_entries.load(Relaxed)
            || large
                .table
                .iter()
                .any(|element| element.name().len() > longest)
        {
            return;
        }
        let mut listpack = Listpack::new();
        for item in large.tree.iter(0..usize::MAX) {
            let mut buffer = ScoreBuffer::new();
            let score = score_entry(item.score(), &mut buffer);
            listpack.insert(listpack.end(), &[Entry::of(item.member()), score]);
        }
        *self = Self::Packed(listpack);
    }

    fn make_large(&mut self) -> &mut Large {
        if let Self::Packed(listpack) = self {
            let mut large = Large {
                tree: RankTree::new(),
                table: Tracked::default(),
            };
            let mut buffer = IntBuffer::new();
            for (member, score) in pairs(listpack.iter()) {
                large.insert(member.bytes(&mut buffer), score);
            }
            *self = Self::Large(Box::new(large));
        }
        match self {
            Self::Large(large) => large,
            Self::Packed(_) => unreachable!("it was converted above"),
        }
    }

    /// A member's score.
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match self {
            Self::Packed(listpack) => find_packed(listpack, member).map(|(_, score)| score),
            Self::Large(large) => large.score(member),
        }
    }

    /// Adds a member, or gives it another score, which must not be NaN.
    pub fn add(&mut self, member: &[u8], score: f64) -> Change {
        let listpack = match self {
            Self::Large(large) => return large.add(member, score),
            Self::Packed(listpack) => listpack,
        };
        if let Some((at, old)) = find_packed(listpack, member) {
            if old == score {
                return Change::Unchanged;
            }
            listpack.delete(at, 2);
            insert_packed(listpack, member, score);
            return Change::Updated;
        }
        if listpack.len() / 2 >= LIMITS.zset_max_listpack_entries.load(Relaxed)
            || member.len() > LIMITS.zset_max_listpack_value.load(Relaxed)
            || !listpack.has_room_for(member.len() + 64)
        {
            return self.make_large().add(member, score);
        }
        insert_packed(listpack, member, score);
        Change::Added
    }

    /// Removes a member; its score, if it was there.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        match self {
            Self::Packed(listpack) => {
                let (at, score) = find_packed(listpack, member)?;
                listpack.delete(at, 2);
                Some(score)
            }
            Self::Large(large) => {
                let score = large.score(member)?;
                let rank = large.tree.rank(&Cut::Before(score, member));
                large.tree.remove(rank);
                large.table.remove(hash_bytes(member), member);
                Some(score)
            }
        }
    }

    /// How many members are before this one, or in reverse after it; and its
    /// score.
    pub fn rank(&self, member: &[u8], reverse: bool) -> Option<(usize, f64)> {
        let score = self.score(member)?;
        let rank = self.rank_of_cut(&Cut::Before(score, member));
        let rank = if reverse { self.len() - 1 - rank } else { rank };
        Some((rank, score))
    }

    fn rank_of_cut(&self, cut: &Cut<'_>) -> usize {
        match self {
            Self::Large(large) => large.tree.rank(cut),
            Self::Packed(listpack) => {
                let mut buffer = IntBuffer::new();
                pairs(listpack.iter())
                    .take_while(|(member, score)| {
                        cut.is_after(*score, || member.bytes(&mut buffer))
                    })
                    .count()
            }
        }
    }

    fn ranks_between(&self, from: &Cut<'_>, to: &Cut<'_>) -> Range<usize> {
        let start = self.rank_of_cut(from);
        start..self.rank_of_cut(to).max(start)
    }

    /// The ranks of the members with a score in `range`; its length is
    /// ZCOUNT's answer.
    pub fn ranks_by_score(&self, range: &ScoreRange) -> Range<usize> {
        let from = if range.min_exclusive {
            Cut::AfterScore(range.min)
        } else {
            Cut::BeforeScore(range.min)
        };
        let to = if range.max_exclusive {
            Cut::BeforeScore(range.max)
        } else {
            Cut::AfterScore(range.max)
        };
        self.ranks_between(&from, &to)
    }

    /// The ranks of the members between two bounds, in a set whose scores are
    /// all equal.
    pub fn ranks_by_lex(&self, min: LexBound<'_>, max: LexBound<'_>) -> Range<usize> {
        let from = match min {
            LexBound::Lowest => Cut::Start,
            LexBound::Highest => Cut::End,
            LexBound::Inclusive(member) => Cut::BeforeMember(member),
            LexBound::Exclusive(member) => Cut::AfterMember(member),
        };
        let to = match max {
            LexBound::Lowest => Cut::Start,
            LexBound::Highest => Cut::End,
            LexBound::Inclusive(member) => Cut::AfterMember(member),
            LexBound::Exclusive(member) => Cut::BeforeMember(member),
        };
        self.ranks_between(&from, &to)
    }

    /// Members with scores, in order, of a range of ranks; `.rev()` reads them
    /// from the other end. Ranks that don't exist are left out.
    pub fn range(&self, ranks: Range<usize>) -> Iter<'_> {
        let end = ranks.end.min(self.len());
        let start = ranks.start.min(end);
        match self {
            Self::Large(large) => Iter::Large(large.tree.iter(start..end)),
            Self::Packed(listpack) => {
                let from = listpack.seek(2 * start).unwrap_or(listpack.end());
                let to = listpack.seek(2 * end).unwrap_or(listpack.end());
                Iter::Packed(listpack.iter_between(from, to))
            }
        }
    }

    /// All members with scores, in order.
    pub fn iter(&self) -> Iter<'_> {
        self.range(0..usize::MAX)
    }

    /// Removes a range of ranks, after showing each member with its score to
    /// `removed`. Returns how many.
    pub fn remove_ranks(
        &mut self,
        ranks: Range<usize>,
        mut removed: impl FnMut(Entry<'_>, f64),
    ) -> usize {
        let count = self
            .range(ranks.clone())
            .map(|(member, score)| removed(member, score))
            .count();
        match self {
            Self::Packed(listpack) => {
                if let Some(at) = listpack.seek(2 * ranks.start) {
                    listpack.delete(at, 2 * count);
                }
            }
            Self::Large(large) => {
                for _ in 0..count {
                    if let Some(item) = large.tree.remove(ranks.start) {
                        let member = item.member();
                        large.table.remove(hash_bytes(member), member);
                    }
                }
            }
        }
        count
    }

    /// Removes the member of the lowest or, with `highest`, the highest rank,
    /// after showing it with its score to `read`.
    pub fn pop<R>(&mut self, highest: bool, read: impl FnOnce(Entry<'_>, f64) -> R) -> Option<R> {
        let rank = if highest {
            self.len().checked_sub(1)?
        } else {
            0
        };
        let (mut read, mut result) = (Some(read), None);
        self.remove_ranks(rank..rank + 1, |member, score| {
            result = read.take().map(|read| read(member, score));
        });
        result
    }

    /// A member picked at random, with its score.
    pub fn random(&self, mut rng: impl FnMut() -> u64) -> Option<(Entry<'_>, f64)> {
        let rank = (rng() % self.len().max(1) as u64) as usize;
        self.range(rank..rank + 1).next()
    }

    /// Visits some members and returns the cursor to go on with, 0 at the end;
    /// see [`Table::scan`].
    pub fn scan(&self, cursor: u64, mut visit: impl FnMut(Entry<'_>, f64)) -> u64 {
        match self {
            Self::Packed(listpack) => {
                pairs(listpack.iter()).for_each(|(member, score)| visit(member, score));
                0
            }
            Self::Large(large) => large.table.scan(cursor, |element| {
                visit(Entry::Str(element.name()), element.score());
            }),
        }
    }
}

impl Large {
    fn score(&self, member: &[u8]) -> Option<f64> {
        let element = self.table.find(hash_bytes(member), member)?;
        Some(element.score())
    }

    /// Adds a member that is not in the set.
    fn insert(&mut self, member: &[u8], score: f64) {
        let element = Scored::new(member, score);
        // SAFETY: the table owns the element until `ZSet` has taken its item
        // out of the tree, and the tree is dropped before the table.
        let item = unsafe { Item::new(score, element.address()) };
        self.table.insert_new(hash_bytes(member), element);
        self.tree.insert(item);
    }

    fn add(&mut self, member: &[u8], score: f64) -> Change {
        let Some(mut place) = self.table.find_place(hash_bytes(member), member) else {
            self.insert(member, score);
            return Change::Added;
        };
        let old = place.get().score();
        if old == score {
            return Change::Unchanged;
        }
        let address = place.get().address();
        place.update(|mut element| {
            element.set_score(score);
            element
        });
        let rank = self.tree.rank(&Cut::Before(old, member));
        if !self.tree.rescore(rank, score) {
            self.tree.remove(rank);
            // SAFETY: as in `insert`; the element has kept its address.
            self.tree.insert(unsafe { Item::new(score, address) });
        }
        Change::Updated
    }
}

/// The position of a member in a listpack, and its score.
fn find_packed(listpack: &Listpack, member: &[u8]) -> Option<(usize, f64)> {
    let at = listpack.find(listpack.first(), &Needle::new(member), 1)?;
    let score = parse_score(listpack.get(listpack.next(at))?)?;
    Some((at, score))
}

/// Puts a member that is not in the listpack in its place.
fn insert_packed(listpack: &mut Listpack, member: &[u8], score: f64) {
    let cut = Cut::Before(score, member);
    let mut buffer = IntBuffer::new();
    let mut at = listpack.first();
    // Scores often come in ascending order.
    let last = listpack.iter().next_back().and_then(parse_score);
    if last.is_some_and(|last| last < score) {
        at = listpack.end();
    }
    while let Some(other) = listpack.get(at) {
        let score_at = listpack.next(at);
        let other_score = listpack.get(score_at).and_then(parse_score);
        if !cut.is_after(other_score.unwrap_or(0.0), || other.bytes(&mut buffer)) {
            break;
        }
        at = listpack.next(score_at);
    }
    let mut text = ScoreBuffer::new();
    listpack.insert(at, &[Entry::of(member), score_entry(score, &mut text)]);
}

/// Members with scores of a listpack.
fn pairs(mut entries: listpack::Iter<'_>) -> impl Iterator<Item = (Entry<'_>, f64)> {
    std::iter::from_fn(move || {
        let member = entries.next()?;
        Some((member, parse_score(entries.next()?)?))
    })
}

/// Members with scores, in order, from either end.
pub enum Iter<'a> {
    Packed(listpack::Iter<'a>),
    Large(#[allow(private_interfaces)] rank_tree::Iter<'a>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = (Entry<'a>, f64);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Packed(entries) => {
                let member = entries.next()?;
                Some((member, parse_score(entries.next()?)?))
            }
            Self::Large(items) => {
                let item = items.next()?;
                Some((Entry::Str(item.member()), item.score()))
            }
        }
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        match self {
            Self::Packed(entries) => {
                let score = parse_score(entries.next_back()?)?;
                Some((entries.next_back()?, score))
            }
            Self::Large(items) => {
                let item = items.next_back()?;
                Some((Entry::Str(item.member()), item.score()))
            }
        }
    }
}
