//! Large collections in the tree: which part of one has to be written again.
//!
//! Up to [`LARGE_BYTES`] a collection is one row, written as a whole. Above
//! that its payload is cut into pieces (see the tree's `pieces.rs`), and a
//! checkpoint writes the pieces that changed since the last one:
//!
//! | type | its pieces |
//! |---|---|
//! | hash, set, sorted set | what lies in one of 2^n equal ranges of the table's positions |
//! | list | a node |
//! | stream | a node; the counts; the groups |
//!
//! What the tree has of a value is noted in the value itself, from the moment
//! when it is first written in pieces. The note says under which *layout* that
//! was, and which pieces have changed since they were last collected. It goes
//! wherever it might not be true any more: with the value, when that is taken
//! from under its key; when a checkpoint fails, whose rows were collected; when
//! another tree is begun. Without a note, all is written anew under a layout of
//! its own. The tree refuses pieces of a layout that is not the one it has, so
//! that a note which is wrong for all that does no harm but fails a checkpoint
//! (and then goes).

mod gradual;
mod layout;
mod nodes;
mod noted;
mod tables;

use redoubt_persistence::rdb::value_type;
use redoubt_persistence::tree::Batch;

use super::element::{Field, Member, Scored};
use super::entry::{Entry, ValueRef};
use super::list::QuickList;
use super::rows::{InPieces, Rows};
use super::stream::Stream;
use super::zset::ZSet;
pub(super) use gradual::Gradual;
use layout::{Touched, new_layout};
pub use noted::{Note, Noted};
pub use tables::Tracked;

#[cfg(test)]
mod tests;

/// A collection is kept in pieces when its payload is longer than this.
pub const LARGE_BYTES: usize = 32 << 10;
/// And as one row again when it is no longer than this.
const SMALL_BYTES: usize = 16 << 10;
/// What a piece is to have when all is written anew, about.
const PIECE_BYTES: usize = 1024;
/// What may come before the pieces: type and count.
const HEAD_BYTES: usize = 10;

/// Whether so many bytes are written as one row, not in pieces as they may have
/// been before.
fn is_one_row(bytes: usize, in_pieces: bool) -> bool {
    bytes <= if in_pieces { SMALL_BYTES } else { LARGE_BYTES }
}

/// A collection that can be kept in pieces.
enum Divisible<'a> {
    Hash(&'a Tracked<Field>, bool),
    Set(&'a Tracked<Member>),
    ZSet(&'a Tracked<Scored>),
    List(&'a QuickList),
    Stream(&'a Stream),
}

fn divisible(value: ValueRef<'_>) -> Option<Divisible<'_>> {
    match value {
        ValueRef::Hash(hash) => hash
            .tracked()
            .map(|fields| Divisible::Hash(fields, hash.has_expiries())),
        ValueRef::Set(set) => set.tracked().map(Divisible::Set),
        ValueRef::ZSet(ZSet::Large(large)) => Some(Divisible::ZSet(&large.table)),
        ValueRef::List(list) => list.quick().map(Divisible::List),
        ValueRef::Stream(stream) => Some(Divisible::Stream(stream)),
        ValueRef::ZSet(ZSet::Packed(_)) | ValueRef::Int(_) | ValueRef::Bytes(_) => None,
    }
}

/// What came of collecting changes.
pub(super) enum Collected {
    /// They were written.
    Pieces(InPieces),
    /// All has to be written: as one row up to so many bytes, anew in pieces
    /// above that.
    Nothing {
        /// The most bytes of a row.
        most: usize,
    },
}

/// Writes what has changed of a large collection since the tree took it over.
pub(super) fn collect_changed(entry: &Entry, rows: &mut Rows) -> Collected {
    let never = Collected::Nothing { most: usize::MAX };
    let Some(divisible) = divisible(entry.value()) else {
        return never;
    };
    if !Batch::takes_pieces(entry.key(), HEAD_BYTES) {
        return never;
    }
    let of_nodes = |done: Option<InPieces>| done.map_or(never, Collected::Pieces);
    match divisible {
        Divisible::Hash(fields, expiring) => {
            tables::collect_changed(fields, tables::hash_coding(expiring), rows)
        }
        Divisible::Set(members) => tables::collect_changed(members, &tables::SET, rows),
        Divisible::ZSet(members) => tables::collect_changed(members, &tables::ZSET, rows),
        Divisible::List(list) => of_nodes(nodes::collect_list(list, rows)),
        Divisible::Stream(stream) => of_nodes(nodes::collect_stream(stream, rows)),
    }
}

/// Writes all of a table in pieces; its payload has so many bytes.
pub(super) fn collect_anew(entry: &Entry, bytes: usize, rows: &mut Rows) -> Option<InPieces> {
    match divisible(entry.value())? {
        Divisible::Hash(fields, expiring) => {
            let coding = tables::hash_coding(expiring);
            Some(tables::collect_anew(fields, bytes, coding, rows))
        }
        Divisible::Set(members) => Some(tables::collect_anew(members, bytes, &tables::SET, rows)),
        Divisible::ZSet(members) => Some(tables::collect_anew(members, bytes, &tables::ZSET, rows)),
        Divisible::List(_) | Divisible::Stream(_) => None,
    }
}

/// Forgets what the tree has of an entry's value, so that it is written anew.
pub fn forget(entry: &Entry) {
    match divisible(entry.value()) {
        Some(Divisible::Hash(fields, _)) => fields.forget(),
        Some(Divisible::Set(members)) => members.forget(),
        Some(Divisible::ZSet(members)) => members.forget(),
        Some(Divisible::List(list)) => drop(list.note.take()),
        Some(Divisible::Stream(stream)) => drop(stream.entries.note().take()),
        None => {}
    }
}

/// Notes that an entry's value was read from the tree's last commit, where it
/// lies under this layout; `payload_type` is the payload's first byte.
pub fn note(entry: &Entry, layout: Option<u128>, payload_type: u8) {
    let Some(layout) = layout else { return };
    match divisible(entry.value()) {
        Some(Divisible::Hash(fields, expiring))
            if payload_type == tables::hash_coding(expiring).payload_type =>
        {
            fields.note(layout)
        }
        Some(Divisible::Set(members)) if payload_type == tables::SET.payload_type => {
            members.note(layout)
        }
        Some(Divisible::ZSet(members)) if payload_type == tables::ZSET.payload_type => {
            members.note(layout)
        }
        Some(Divisible::Stream(stream)) if payload_type == value_type::STREAM_LISTPACKS_3 => {
            nodes::note_stream(stream, layout)
        }
        // Which node of a list was which piece is not known.
        _ => {}
    }
}
