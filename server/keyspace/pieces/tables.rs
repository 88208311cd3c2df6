//! Hashes, sets and sorted sets in pieces: a piece has the elements of a range
//! of the table's positions, encoded as in the whole payload.

use std::cell::Cell;
use std::ops::Deref;

use redoubt_persistence::rdb::primitive::{put_length, put_raw_string};
use redoubt_persistence::rdb::value_type;
use redoubt_persistence::tree::PieceKey;

use super::{Collected, LARGE_BYTES, PIECE_BYTES, SMALL_BYTES, Touched};
use crate::keyspace::codec::NO_EXPIRY;
use crate::keyspace::element::{Field, Member, Scored};
use crate::keyspace::rows::{InPieces, PieceWriter, Rows};
use crate::keyspace::table::{Element, Place, Table, hash_bytes};

/// From so many changed pieces on their average size is taken for that of all.
const TELLING_PIECES: usize = 8;
/// A table is cut anew when its pieces have grown to this many times
/// [`PIECE_BYTES`], and to this many elements.
const TOO_LARGE: usize = 4;

/// A table that may know what the tree has of it. Reads go to the table.
pub struct Tracked<E: Element> {
    table: Table<E>,
    /// Written through a shared borrow by the holder of the stripe's lock.
    touched: Cell<Option<Box<Touched>>>,
}

impl<E: Element> Default for Tracked<E> {
    fn default() -> Tracked<E> {
        Table::new().into()
    }
}

impl<E: Element> From<Table<E>> for Tracked<E> {
    fn from(table: Table<E>) -> Tracked<E> {
        Tracked {
            table,
            touched: Cell::new(None),
        }
    }
}

impl<E: Element> Deref for Tracked<E> {
    type Target = Table<E>;

    #[inline]
    fn deref(&self) -> &Table<E> {
        &self.table
    }
}

impl<E: Element> Tracked<E> {
    #[inline]
    fn mark(&mut self, hash: u64) {
        if let Some(touched) = self.touched.get_mut() {
            touched.mark(hash);
        }
    }

    /// As [`Table::insert_new`].
    #[inline]
    pub fn insert_new(&mut self, hash: u64, element: E) {
        self.mark(hash);
        self.table.insert_new(hash, element);
    }

    /// As [`Table::find_place`]; what is found counts as changed.
    #[inline]
    pub fn find_place(&mut self, hash: u64, key: &[u8]) -> Option<Place<'_, E>> {
        self.mark(hash);
        self.table.find_place(hash, key)
    }

    /// As [`Table::remove`].
    #[inline]
    pub fn remove(&mut self, hash: u64, key: &[u8]) -> Option<E> {
        self.mark(hash);
        self.table.remove(hash, key)
    }

    /// Takes the table; nothing is known of the tree any more.
    pub fn take(&mut self) -> Table<E> {
        self.forget();
        std::mem::take(&mut self.table)
    }

    /// Forgets what the tree has.
    pub fn forget(&self) {
        self.touched.set(None);
    }

    /// Whether it is known what the tree has.
    pub fn is_known(&self) -> bool {
        let touched = self.touched.take();
        let known = touched.is_some();
        self.touched.set(touched);
        known
    }

    /// Notes that the tree has all of it under a layout.
    pub fn note(&self, layout: u128) {
        self.touched.set(Touched::read(layout));
    }
}

/// How the elements of a type are written.
pub struct Coding<E: 'static> {
    /// The payload's first byte.
    pub payload_type: u8,
    /// Appends an element.
    pub put: fn(&E, &mut Vec<u8>),
}

const HASH: Coding<Field> = Coding {
    payload_type: value_type::HASH,
    put: |field, out| {
        put_raw_string(out, field.name());
        put_raw_string(out, field.value());
    },
};

const EXPIRING_HASH: Coding<Field> = Coding {
    payload_type: value_type::HASH_2,
    put: |field, out| {
        put_raw_string(out, field.name());
        put_raw_string(out, field.value());
        let expire_at_ms = field.expire_at_ms().unwrap_or(NO_EXPIRY);
        out.extend_from_slice(&expire_at_ms.to_le_bytes());
    },
};

pub const SET: Coding<Member> = Coding {
    payload_type: value_type::SET,
    put: |member, out| put_raw_string(out, member.name()),
};

pub const ZSET: Coding<Scored> = Coding {
    payload_type: value_type::ZSET_2,
    put: |member, out| {
        put_raw_string(out, member.name());
        out.extend_from_slice(&member.score().to_le_bytes());
    },
};

/// How a hash is written; `expiring` if some field expires.
pub fn hash_coding(expiring: bool) -> &'static Coding<Field> {
    if expiring { &EXPIRING_HASH } else { &HASH }
}

/// Writes what has changed, if it is known, and if the pieces still suit the
/// table.
pub fn collect_changed<E: Element>(
    table: &Tracked<E>,
    coding: &Coding<E>,
    rows: &mut Rows,
) -> Collected {
    let Some(mut touched) = table.touched.take() else {
        return Collected::Nothing { most: LARGE_BYTES };
    };
    match write_changed(table, &mut touched, coding, rows) {
        Some(done) => {
            table.touched.set(Some(touched));
            Collected::Pieces(done)
        }
        None => Collected::Nothing { most: SMALL_BYTES },
    }
}

/// Writes all under a new layout; it has `bytes`.
pub fn collect_anew<E: Element>(
    table: &Tracked<E>,
    bytes: usize,
    coding: &Coding<E>,
    rows: &mut Rows,
) -> InPieces {
    let touched = cut(bytes);
    let mut writer = PieceWriter::new(rows);
    for piece in 0..touched.pieces() {
        write_piece(table, &touched, piece, coding, &mut writer);
    }
    finish(table, touched, coding, writer)
}

/// A new layout for a table whose payload has about so many bytes.
pub fn cut(bytes: usize) -> Box<Touched> {
    Touched::new(bytes, PIECE_BYTES)
}

/// Ends the writing of all pieces.
pub fn finish<E: Element>(
    table: &Tracked<E>,
    touched: Box<Touched>,
    coding: &Coding<E>,
    writer: PieceWriter<'_>,
) -> InPieces {
    let done = writer.finish(touched.layout(), true, |out| put_head(table, coding, out));
    table.touched.set(Some(touched));
    done
}

/// Writes the pieces that have changed; None when the table is to be cut anew.
fn write_changed<E: Element>(
    table: &Table<E>,
    touched: &mut Touched,
    coding: &Coding<E>,
    rows: &mut Rows,
) -> Option<InPieces> {
    if (table.len() as u64) < touched.pieces() / 8 {
        return None;
    }
    let changed = touched.take();
    let mut writer = PieceWriter::new(rows);
    let (mut bytes, mut elements) = (0, 0);
    for &piece in &changed {
        let (more_bytes, more) = write_piece(table, touched, piece, coding, &mut writer);
        bytes += more_bytes;
        elements += more;
    }
    let count = changed.len().max(1);
    let too_large = bytes / count > TOO_LARGE * PIECE_BYTES && elements / count > TOO_LARGE;
    if count >= TELLING_PIECES && too_large {
        writer.undo();
        return None;
    }
    Some(writer.finish(touched.layout(), false, |out| put_head(table, coding, out)))
}

fn put_head<E: Element>(table: &Table<E>, coding: &Coding<E>, out: &mut Vec<u8>) {
    out.push(coding.payload_type);
    put_length(out, table.len() as u64);
}

/// Writes a piece; gives its bytes and elements.
pub fn write_piece<E: Element>(
    table: &Table<E>,
    touched: &Touched,
    piece: u64,
    coding: &Coding<E>,
    writer: &mut PieceWriter<'_>,
) -> (usize, usize) {
    let (from, end) = touched.positions(piece);
    let key = PieceKey {
        section: 0,
        number: u128::from(piece),
    };
    let mut elements = 0;
    let bytes = writer.piece(key, |out| {
        let mut at = from;
        loop {
            // A bucket may reach beyond the piece on either side.
            let next = table.scan(at, |element| {
                if (from..end).contains(&(hash_bytes(element.key()) >> 32)) {
                    (coding.put)(element, out);
                    elements += 1;
                }
            });
            if next == 0 || next >= end {
                break;
            }
            at = next;
        }
    });
    (bytes, elements)
}
