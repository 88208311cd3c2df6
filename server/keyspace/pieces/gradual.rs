//! Long values that are written as a whole, little by little: between two steps
//! the stripe's lock is free. What a step finds is what the one before left, as
//! long as the key's frozen value is still to be collected: a change takes a
//! pre-image first, and ends that (see `dirty.rs`).

use redoubt_persistence::rdb::primitive::put_length;
use redoubt_persistence::rdb::value_type;
use redoubt_persistence::tree::Batch;

use super::layout::Touched;
use super::tables::{Coding, SET, Tracked, ZSET, hash_coding};
use super::{Divisible, HEAD_BYTES, divisible, nodes, tables};
use crate::keyspace::entry::{Entry, ValueRef};
use crate::keyspace::rows::{Mark, PieceWriter, Rows};
use crate::keyspace::table::Element;

/// A string is long from so many bytes on, a collection from about so many.
const LONG_BYTES: usize = if cfg!(test) { 2 << 10 } else { 512 << 10 };
/// Below this a table is not looked at any closer.
const LONG_ELEMENTS: usize = if cfg!(test) { 32 } else { 4096 };
/// Elements whose average size is taken for that of all.
const SAMPLED: usize = 128;
/// What a step writes, about.
const STEP_BYTES: usize = if cfg!(test) { 1 << 10 } else { 256 << 10 };

/// A value on its way; [`Rows`] has what was written of it.
pub struct Gradual {
    kind: Kind,
    /// Where in the rows it begins.
    mark: Mark,
    /// Bytes, nodes or pieces that were written.
    done: usize,
}

enum Kind {
    String,
    List { numbers: Vec<u64> },
    Table { touched: Box<Touched> },
}

impl Gradual {
    /// Begins with an entry of which the tree has nothing that could stay as it
    /// is, if its value is long.
    pub fn begin(entry: &Entry, whole_rows: bool, rows: &Rows) -> Option<Gradual> {
        let kind = match entry.value() {
            ValueRef::Bytes(bytes) if bytes.len() >= LONG_BYTES => Kind::String,
            _ if whole_rows || !Batch::takes_pieces(entry.key(), HEAD_BYTES) => return None,
            value => match divisible(value)? {
                Divisible::Hash(fields, expiring) => table(fields, hash_coding(expiring))?,
                Divisible::Set(members) => table(members, &SET)?,
                Divisible::ZSet(members) => table(members, &ZSET)?,
                Divisible::List(list) => Kind::List {
                    numbers: nodes::numbers_anew(list, LONG_BYTES)?,
                },
                Divisible::Stream(_) => return None,
            },
        };
        Some(Gradual {
            kind,
            mark: rows.mark(),
            done: 0,
        })
    }

    /// Writes some more; true once all is written, which then counts as known to
    /// the tree.
    pub fn step(&mut self, entry: &Entry, rows: &mut Rows) -> bool {
        let is_done = match (&self.kind, entry.value()) {
            (Kind::String, ValueRef::Bytes(bytes)) => {
                let end = bytes.len().min(self.done + STEP_BYTES);
                rows.write(|out| {
                    if self.done == 0 {
                        out.push(value_type::STRING);
                        put_length(out, bytes.len() as u64);
                    }
                    out.extend_from_slice(&bytes[self.done..end]);
                });
                self.done = end;
                end == bytes.len()
            }
            (Kind::List { numbers }, value) => {
                let Some(Divisible::List(list)) = divisible(value) else {
                    unreachable!("its type has changed");
                };
                let mut writer = PieceWriter::going_on(self.mark, rows);
                let mut bytes = 0;
                while self.done < numbers.len() && bytes < STEP_BYTES {
                    let (node, number) = (&list.nodes[self.done], numbers[self.done]);
                    bytes += nodes::write_list_node(node, number, &mut writer);
                    self.done += 1;
                }
                self.done == numbers.len()
            }
            (Kind::Table { touched }, value) => {
                let writer = &mut PieceWriter::going_on(self.mark, rows);
                let done = &mut self.done;
                match divisible(value) {
                    Some(Divisible::Hash(fields, expiring)) => {
                        some_pieces(fields, touched, hash_coding(expiring), done, writer)
                    }
                    Some(Divisible::Set(members)) => {
                        some_pieces(members, touched, &SET, done, writer)
                    }
                    Some(Divisible::ZSet(members)) => {
                        some_pieces(members, touched, &ZSET, done, writer)
                    }
                    _ => unreachable!("its type has changed"),
                }
            }
            (Kind::String, _) => unreachable!("its type has changed"),
        };
        if is_done {
            self.finish(entry, rows);
        }
        is_done
    }

    fn finish(&mut self, entry: &Entry, rows: &mut Rows) {
        let kind = std::mem::replace(&mut self.kind, Kind::String);
        let writer = PieceWriter::going_on(self.mark, rows);
        let content = match (kind, divisible(entry.value())) {
            (Kind::List { numbers }, Some(Divisible::List(list))) => {
                nodes::finish_list(list, numbers, writer)
            }
            (Kind::Table { touched }, Some(Divisible::Hash(fields, expiring))) => {
                tables::finish(fields, touched, hash_coding(expiring), writer)
            }
            (Kind::Table { touched }, Some(Divisible::Set(members))) => {
                tables::finish(members, touched, &SET, writer)
            }
            (Kind::Table { touched }, Some(Divisible::ZSet(members))) => {
                tables::finish(members, touched, &ZSET, writer)
            }
            _ => writer.whole(),
        };
        rows.push_content(entry, content);
    }

    /// Takes back all that was written.
    pub fn undo(self, rows: &mut Rows) {
        PieceWriter::going_on(self.mark, rows).undo();
    }
}

fn table<E: Element>(table: &Tracked<E>, coding: &Coding<E>) -> Option<Kind> {
    if table.len() < LONG_ELEMENTS || table.is_known() {
        return None;
    }
    let mut sample = Vec::new();
    let sampled = table.iter().take(SAMPLED);
    let sampled = sampled.map(|element| (coding.put)(&element, &mut sample));
    let sampled = sampled.count().max(1);
    let bytes = sample.len() * table.len() / sampled;
    (bytes >= LONG_BYTES).then(|| Kind::Table {
        touched: tables::cut(bytes),
    })
}

fn some_pieces<E: Element>(
    table: &Tracked<E>,
    touched: &Touched,
    coding: &Coding<E>,
    done: &mut usize,
    writer: &mut PieceWriter<'_>,
) -> bool {
    let mut bytes = 0;
    while (*done as u64) < touched.pieces() && bytes < STEP_BYTES {
        bytes += tables::write_piece(table, touched, *done as u64, coding, writer).0;
        *done += 1;
    }
    *done as u64 == touched.pieces()
}
