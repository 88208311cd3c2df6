//! Entries between two ids, in either direction.

use std::collections::btree_map;

use super::node::{Fields, Node, Places};
use super::{Entries, StreamId};

/// A live entry.
pub struct StreamEntry<'a> {
    /// Its id.
    pub id: StreamId,
    /// Its fields.
    pub fields: Fields<'a>,
}

/// Live entries in order, or in reverse.
pub struct Range<'a> {
    nodes: Option<btree_map::Range<'a, StreamId, Node>>,
    current: Option<Places<'a>>,
    start: StreamId,
    end: StreamId,
    reverse: bool,
}

impl<'a> Range<'a> {
    pub(super) fn new(
        entries: &'a Entries,
        start: StreamId,
        end: StreamId,
        reverse: bool,
    ) -> Range<'a> {
        // The first entry wanted may lie in a node that begins before it.
        let before = entries.nodes.range(..=start).next_back();
        let first = before.map_or(start, |(&id, _)| id);
        Range {
            nodes: (start <= end).then(|| entries.nodes.range(first..=end)),
            current: None,
            start,
            end,
            reverse,
        }
    }
}

impl<'a> Iterator for Range<'a> {
    type Item = StreamEntry<'a>;

    fn next(&mut self) -> Option<StreamEntry<'a>> {
        loop {
            let Some(places) = &mut self.current else {
                let nodes = self.nodes.as_mut()?;
                let (&id, node) = match self.reverse {
                    false => nodes.next()?,
                    true => nodes.next_back()?,
                };
                let mut places = node.iter(id);
                if !self.reverse && id < self.start {
                    places.skip_to(self.start);
                }
                self.current = Some(places);
                continue;
            };
            let place = match self.reverse {
                false => places.next(),
                true => places.next_back(),
            };
            let Some(place) = place else {
                self.current = None;
                continue;
            };
            let (passed, early) = match self.reverse {
                false => (place.id > self.end, place.id < self.start),
                true => (place.id < self.start, place.id > self.end),
            };
            if passed {
                self.nodes = None;
                self.current = None;
                return None;
            }
            if !early && !place.deleted {
                return Some(StreamEntry {
                    id: place.id,
                    fields: places.node.fields(&place),
                });
            }
        }
    }
}
