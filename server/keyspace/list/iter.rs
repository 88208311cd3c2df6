//! Reading a list from some place on, one way or the other.

use super::Direction;
use super::quick::{Body, QuickList, Spot};
use crate::keyspace::listpack::{self, Entry, Listpack};

#[derive(Clone, Copy)]
pub enum Source<'a> {
    One(&'a Listpack),
    Many(&'a QuickList),
}

/// A list's elements from some place on, one way or the other.
pub struct Iter<'a> {
    source: Source<'a>,
    direction: Direction,
    /// The node that `entries` or `plain` is of.
    node: usize,
    entries: listpack::Iter<'a>,
    plain: Option<&'a [u8]>,
}

impl<'a> Iter<'a> {
    pub(super) fn new(source: Source<'a>, spot: Option<Spot>, direction: Direction) -> Self {
        let mut iter = Self {
            source,
            direction,
            node: usize::MAX,
            entries: listpack::Iter::default(),
            plain: None,
        };
        if let Some(spot) = spot {
            iter.node = spot.node;
            iter.enter(Some(spot.at));
        }
        iter
    }

    /// Starts on the current node, at a position in it or at its near end.
    /// Whether there is such a node.
    fn enter(&mut self, at: Option<usize>) -> bool {
        let listpack = match self.source {
            Source::One(listpack) if self.node == 0 => listpack,
            Source::One(_) => return false,
            Source::Many(quick) => match quick.nodes.get(self.node).map(|node| &*node.body) {
                Some(Body::Packed(listpack)) => listpack,
                Some(Body::Plain(bytes)) => {
                    self.plain = Some(bytes);
                    return true;
                }
                None => return false,
            },
        };
        self.entries = match (self.direction, at) {
            (Direction::Forward, Some(at)) => listpack.iter_between(at, listpack.end()),
            (Direction::Reverse, Some(at)) => {
                listpack.iter_between(listpack.first(), listpack.next(at))
            }
            (_, None) => listpack.iter(),
        };
        true
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            let entry = match self.direction {
                Direction::Forward => self.entries.next(),
                Direction::Reverse => self.entries.next_back(),
            };
            if entry.is_some() {
                return entry;
            }
            if let Some(bytes) = self.plain.take() {
                return Some(Entry::Str(bytes));
            }
            self.node = match self.direction {
                Direction::Forward => self.node.checked_add(1)?,
                Direction::Reverse => self.node.checked_sub(1)?,
            };
            if !self.enter(None) {
                self.node = usize::MAX;
                return None;
            }
        }
    }
}
