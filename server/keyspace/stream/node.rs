//! A node: up to a hundred entries, or four kilobytes of them, in a listpack.
//!
//! The bytes are those of Redis and Valkey, so that a dump copies them:
//!
//! | part | elements |
//! |---|---|
//! | head | live entries, deleted ones, N, N names, 0 |
//! | entry with the head's names | flags, ms, seq, N values, count |
//! | other entry | flags, ms, seq, M, M names and values in turn, count |
//!
//! `ms` and `seq` are differences to the node's id, which is that of its first
//! entry; `count` is the number of the entry's elements before it, so that a
//! node can be read backwards. A deleted entry is only marked: the node goes
//! with its last live entry.

use smallvec::SmallVec;

use super::StreamId;
use crate::keyspace::listpack::{self, Entry as Item, Listpack, Needle};
use crate::keyspace::pieces::Noted;

/// Flag: the entry was deleted.
const DELETED: i64 = 1;
/// Flag: the entry's field names are the head's.
const SAME_NAMES: i64 = 2;

/// Entries packed together.
pub struct Node {
    pack: Noted<Listpack>,
}

/// What a node's head says.
#[derive(Clone, Copy)]
struct Head {
    live: i64,
    deleted: i64,
    /// How many names it has, and where the first is.
    names: usize,
    names_at: usize,
}

/// An entry's place and id.
#[derive(Clone, Copy)]
pub struct Place {
    /// Position of its flags.
    at: usize,
    pub id: StreamId,
    pub deleted: bool,
    same_names: bool,
    fields: usize,
    /// Position of its first name or value.
    fields_at: usize,
}

impl Node {
    /// A node with one entry, which gives it its names.
    pub fn new(node: StreamId, id: StreamId, fields: &[&[u8]]) -> Node {
        let mut items: SmallVec<[Item<'_>; 32]> = SmallVec::new();
        items.extend([1, 0, (fields.len() / 2) as i64].map(Item::Int));
        items.extend(fields.iter().step_by(2).map(|name| Item::of(name)));
        items.push(Item::Int(0));
        push_entry(&mut items, node, id, fields, true);
        let mut pack = Listpack::new();
        pack.insert(pack.first(), &items);
        Node { pack: pack.into() }
    }

    /// A node from the bytes of an image that was found valid.
    pub fn from_valid_bytes(bytes: &[u8]) -> Node {
        let pack = Listpack::from_bytes(bytes).unwrap_or_else(|| {
            // Servers before Valkey 9 differ in the form of rare lengths.
            let mut pack = Listpack::new();
            let items = redoubt_persistence::rdb::listpack::iter(bytes);
            for item in items.into_iter().flatten() {
                pack.push_back(match item {
                    redoubt_persistence::rdb::listpack::Item::Int(int) => Item::Int(int),
                    redoubt_persistence::rdb::listpack::Item::Str(bytes) => Item::Str(bytes),
                });
            }
            pack
        });
        Node { pack: pack.into() }
    }

    /// The listpack, as an image holds it.
    pub fn pack(&self) -> &Noted<Listpack> {
        &self.pack
    }

    /// Bytes of the listpack.
    #[inline]
    pub fn bytes_len(&self) -> usize {
        self.pack.bytes_len()
    }

    /// Bytes taken from the allocator.
    pub fn memory_bytes(&self) -> usize {
        self.pack.memory_bytes()
    }

    fn int(&self, at: usize) -> i64 {
        match self.pack.get(at) {
            Some(Item::Int(int)) => int,
            _ => 0,
        }
    }

    fn head(&self) -> Head {
        let live_at = self.pack.first();
        let deleted_at = self.pack.next(live_at);
        let count_at = self.pack.next(deleted_at);
        Head {
            live: self.int(live_at),
            deleted: self.int(deleted_at),
            names: self.int(count_at) as usize,
            names_at: self.pack.next(count_at),
        }
    }

    /// Entries that are not deleted.
    pub fn live(&self) -> u64 {
        self.int(self.pack.first()) as u64
    }

    /// Entries, deleted ones too.
    #[inline]
    pub fn entries(&self) -> u64 {
        let head = self.head();
        (head.live + head.deleted) as u64
    }

    /// Adds an entry behind the others. `node` is the node's id.
    pub fn push(&mut self, node: StreamId, id: StreamId, fields: &[&[u8]]) {
        let head = self.head();
        let same = self.has_names(&head, fields);
        let mut items: SmallVec<[Item<'_>; 32]> = SmallVec::new();
        push_entry(&mut items, node, id, fields, same);
        let pack = &mut *self.pack;
        pack.replace(pack.first(), Item::Int(head.live + 1));
        pack.insert(pack.end(), &items);
    }

    fn has_names(&self, head: &Head, fields: &[&[u8]]) -> bool {
        if fields.len() != 2 * head.names {
            return false;
        }
        let mut at = head.names_at;
        fields.iter().step_by(2).all(|name| {
            let found = self.pack.get(at);
            at = self.pack.next(at);
            found.is_some_and(|found| match found {
                Item::Str(bytes) => bytes == *name,
                int => Needle::new(name).matches(int),
            })
        })
    }

    fn skip(&self, at: usize, count: usize) -> usize {
        (0..count).fold(at, |at, _| self.pack.next(at))
    }

    /// Position of the first entry.
    fn first(&self, head: &Head) -> usize {
        self.skip(head.names_at, head.names + 1)
    }

    /// The entry at a position; None at the end.
    fn place(&self, node: StreamId, head: &Head, at: usize) -> Option<Place> {
        let Some(Item::Int(flags)) = self.pack.get(at) else {
            return None;
        };
        let ms_at = self.pack.next(at);
        let seq_at = self.pack.next(ms_at);
        let mut fields_at = self.pack.next(seq_at);
        let same_names = flags & SAME_NAMES != 0;
        let mut fields = head.names;
        if !same_names {
            fields = self.int(fields_at) as usize;
            fields_at = self.pack.next(fields_at);
        }
        Some(Place {
            at,
            id: StreamId {
                ms: node.ms.wrapping_add(self.int(ms_at) as u64),
                seq: node.seq.wrapping_add(self.int(seq_at) as u64),
            },
            deleted: flags & DELETED != 0,
            same_names,
            fields,
            fields_at,
        })
    }

    /// Position behind an entry.
    fn after(&self, place: &Place) -> usize {
        let elements = if place.same_names {
            place.fields
        } else {
            2 * place.fields
        };
        self.skip(place.fields_at, elements + 1)
    }

    /// Marks an entry as deleted, which must be live. True when no live one is
    /// left: the node must go then.
    pub fn delete(&mut self, node: StreamId, id: StreamId) -> Option<bool> {
        let mut places = self.iter(node);
        places.skip_to(id);
        let place = places.next()?;
        if place.id != id || place.deleted {
            return None;
        }
        self.mark(&place);
        Some(self.count_deleted(1) == 0)
    }

    fn mark(&mut self, place: &Place) {
        let flags = self.int(place.at) | DELETED;
        self.pack.replace(place.at, Item::Int(flags));
    }

    /// Moves entries from one count to the other; returns how many live ones
    /// are left.
    fn count_deleted(&mut self, count: i64) -> i64 {
        let head = self.head();
        let at = self.pack.first();
        self.pack.replace(at, Item::Int(head.live - count));
        let at = self.pack.next(at);
        self.pack.replace(at, Item::Int(head.deleted + count));
        head.live - count
    }

    /// Marks live entries as deleted, from the first on, while `wanted` says
    /// so. Returns how many, and the id of the first that stays.
    pub fn delete_while(
        &mut self,
        node: StreamId,
        mut wanted: impl FnMut(StreamId) -> bool,
    ) -> (u64, Option<StreamId>) {
        let head = self.head();
        let (mut at, mut count, mut stays) = (self.first(&head), 0, None);
        while let Some(place) = self.place(node, &head, at) {
            if !place.deleted {
                if !wanted(place.id) {
                    stays = Some(place.id);
                    break;
                }
                // The flags stay one byte long, so positions hold.
                self.mark(&place);
                count += 1;
            }
            at = self.after(&place);
        }
        self.count_deleted(count);
        (count as u64, stays)
    }

    /// The same without what was deleted; None when nothing is left.
    pub fn without_deleted(&self, id: StreamId) -> Option<Node> {
        let mut rest: Option<Node> = None;
        for place in self.iter(id).filter(|place| !place.deleted) {
            let fields = self.fields(&place);
            let owned: Vec<Vec<u8>> = fields
                .flat_map(|(name, value)| [name.to_vec(), value.to_vec()])
                .collect();
            let fields: Vec<&[u8]> = owned.iter().map(Vec::as_slice).collect();
            match &mut rest {
                Some(rest) => rest.push(id, place.id, &fields),
                None => rest = Some(Node::new(id, place.id, &fields)),
            }
        }
        rest
    }

    /// The id of the last entry, deleted or not.
    pub fn last_id(&self, node: StreamId) -> StreamId {
        self.iter(node).next_back().map_or(node, |place| place.id)
    }

    /// All entries in order, deleted ones too.
    pub fn iter(&self, node: StreamId) -> Places<'_> {
        let head = self.head();
        Places {
            node: self,
            id: node,
            head,
            front: self.first(&head),
            back: self.pack.end(),
        }
    }

    /// An entry's fields.
    pub(super) fn fields(&self, place: &Place) -> Fields<'_> {
        let names_at = self.head().names_at;
        Fields {
            names: self.pack.iter_between(names_at, self.pack.end()),
            values: self.pack.iter_between(place.fields_at, self.pack.end()),
            same_names: place.same_names,
            left: place.fields,
        }
    }
}

fn push_entry<'a>(
    items: &mut SmallVec<[Item<'a>; 32]>,
    node: StreamId,
    id: StreamId,
    fields: &[&'a [u8]],
    same_names: bool,
) {
    let before = items.len();
    let flags = if same_names { SAME_NAMES } else { 0 };
    let ms = id.ms.wrapping_sub(node.ms) as i64;
    let seq = id.seq.wrapping_sub(node.seq) as i64;
    items.extend([flags, ms, seq].map(Item::Int));
    if same_names {
        items.extend(
            fields
                .iter()
                .skip(1)
                .step_by(2)
                .map(|value| Item::of(value)),
        );
    } else {
        items.push(Item::Int((fields.len() / 2) as i64));
        items.extend(fields.iter().map(|field| Item::of(field)));
    }
    items.push(Item::Int((items.len() - before) as i64));
}

/// Entries of a node, from either end.
#[derive(Clone)]
pub struct Places<'a> {
    pub(super) node: &'a Node,
    id: StreamId,
    head: Head,
    front: usize,
    back: usize,
}

impl Places<'_> {
    /// Goes on to the first entry from `start` on. It is looked for from both
    /// ends at once, since what is read is often new.
    pub fn skip_to(&mut self, start: StreamId) {
        let mut behind = self.clone();
        loop {
            let front = self.front;
            match self.next() {
                Some(place) if place.id < start => {}
                Some(_) => return self.front = front,
                None => return,
            }
            let back = behind.back;
            match behind.next_back() {
                Some(place) if place.id >= start => {}
                Some(_) => return self.front = back,
                None => return,
            }
        }
    }
}

impl Iterator for Places<'_> {
    type Item = Place;

    fn next(&mut self) -> Option<Place> {
        if self.front >= self.back {
            return None;
        }
        let place = self.node.place(self.id, &self.head, self.front)?;
        self.front = self.node.after(&place);
        Some(place)
    }
}

impl DoubleEndedIterator for Places<'_> {
    fn next_back(&mut self) -> Option<Place> {
        if self.front >= self.back {
            return None;
        }
        let pack = &self.node.pack;
        let count_at = pack.prev(self.back)?;
        let count = self.node.int(count_at);
        let at = (0..count).try_fold(count_at, |at, _| pack.prev(at))?;
        self.back = at;
        self.node.place(self.id, &self.head, at)
    }
}

/// The fields of an entry: names and values in turn.
#[derive(Clone)]
pub struct Fields<'a> {
    names: listpack::Iter<'a>,
    values: listpack::Iter<'a>,
    same_names: bool,
    left: usize,
}

impl<'a> Iterator for Fields<'a> {
    type Item = (Item<'a>, Item<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let name = match self.same_names {
            true => self.names.next()?,
            false => self.values.next()?,
        };
        Some((name, self.values.next()?))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Fields<'_> {}
