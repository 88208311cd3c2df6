//! The changed rows of a stripe on their way into the tree.

use redoubt_cluster::slots::Slot;
use redoubt_persistence::tree::{Batch, Piece, PieceKey, Pieces, TreeError};

use super::codec;
use super::entry::Entry;
use super::pieces::{self, Collected};
use crate::memory::ForTree;

/// Bytes from one place up to another.
type Span = (usize, usize);

/// What becomes of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// The key was removed.
    Gone,
    /// RDB type byte and body.
    Whole(Span),
    /// What has changed of a value in pieces, or all of it.
    Pieces {
        layout: u128,
        anew: bool,
        head: Span,
        /// Its share of `Rows::pieces`.
        pieces: Span,
    },
}

/// One row that the tree is to take over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct RowSpan {
    slot: u16,
    key: Span,
    expire_at_ms: Option<i64>,
    content: Content,
}

/// Rows, in the order of the tree once they are finished.
#[derive(Default)]
pub struct Rows {
    bytes: Vec<u8>,
    pieces: Vec<(PieceKey, Span)>,
    spans: Vec<RowSpan>,
    counted: ForTree,
}

/// One changed row.
pub struct Row<'a> {
    rows: &'a Rows,
    span: &'a RowSpan,
}

impl Rows {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.pieces.clear();
        self.spans.clear();
    }

    /// Bytes that are held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of memory that it holds.
    pub(super) fn memory_bytes(&self) -> usize {
        let pieces = self.pieces.capacity() * size_of::<(PieceKey, Span)>();
        let spans = self.spans.capacity() * size_of::<RowSpan>();
        self.bytes.capacity() + pieces + spans
    }

    /// Counts its memory, as it is now, as kept for the tree.
    pub(super) fn count_memory(&mut self) {
        self.counted.set(self.memory_bytes());
    }

    /// Makes room for so many more bytes and rows, for a moment when there is
    /// time for it.
    pub(super) fn make_room(&mut self, bytes: usize, rows: usize) {
        self.bytes.reserve(bytes);
        self.spans.reserve(rows);
        self.pieces.reserve(rows);
    }

    pub(super) fn mark(&self) -> Mark {
        Mark {
            first: self.pieces.len(),
            bytes: self.bytes.len(),
        }
    }

    /// An entry whose content was written.
    pub(super) fn push_content(&mut self, entry: &Entry, content: InPieces) {
        self.push(entry.key(), entry.expire_at_ms(), content.0);
    }

    fn push(&mut self, key: &[u8], expire_at_ms: Option<i64>, content: Content) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.spans.push(RowSpan {
            slot: Slot::of_key(key).number(),
            key: (start, self.bytes.len()),
            expire_at_ms,
            content,
        });
    }

    /// A key that was removed.
    pub(super) fn push_removed(&mut self, key: &[u8]) {
        self.push(key, None, Content::Gone);
    }

    /// The whole of an entry.
    pub(super) fn push_whole(&mut self, entry: &Entry) {
        let content = Content::Whole(self.write(|out| codec::encode_payload(entry.value(), out)));
        self.push(entry.key(), entry.expire_at_ms(), content);
    }

    /// What of an entry the tree does not have yet, as far as that is known;
    /// it counts as known to the tree from now on.
    pub(super) fn push_changes(&mut self, entry: &Entry) {
        let content = match pieces::collect_changed(entry, self) {
            Collected::Pieces(InPieces(content)) => content,
            Collected::Nothing { most } => self.whole_up_to(most, entry),
        };
        self.push(entry.key(), entry.expire_at_ms(), content);
    }

    /// The whole of an entry, in pieces if it has more than `most` bytes.
    fn whole_up_to(&mut self, most: usize, entry: &Entry) -> Content {
        let (start, end) = self.write(|out| codec::encode_payload(entry.value(), out));
        if end - start > most {
            self.bytes.truncate(start);
            if let Some(InPieces(content)) = pieces::collect_anew(entry, end - start, self) {
                return content;
            }
            return Content::Whole(self.write(|out| codec::encode_payload(entry.value(), out)));
        }
        Content::Whole((start, end))
    }

    /// Appends what `write` does; where it is.
    pub(super) fn write(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Span {
        let start = self.bytes.len();
        write(&mut self.bytes);
        (start, self.bytes.len())
    }

    /// Takes over other rows.
    pub(super) fn absorb(&mut self, other: &Rows) {
        let (bytes, pieces) = (self.bytes.len(), self.pieces.len());
        let moved = |span: Span, by: usize| (span.0 + by, span.1 + by);
        self.bytes.extend_from_slice(&other.bytes);
        let moved_pieces = other
            .pieces
            .iter()
            .map(|(key, at)| (*key, moved(*at, bytes)));
        self.pieces.extend(moved_pieces);
        self.spans.extend(other.spans.iter().map(|span| RowSpan {
            key: moved(span.key, bytes),
            content: match span.content {
                Content::Gone => Content::Gone,
                Content::Whole(at) => Content::Whole(moved(at, bytes)),
                Content::Pieces {
                    layout,
                    anew,
                    head,
                    pieces: at,
                } => Content::Pieces {
                    layout,
                    anew,
                    head: moved(head, bytes),
                    pieces: moved(at, pieces),
                },
            },
            ..*span
        }));
    }

    fn key(&self, span: &RowSpan) -> &[u8] {
        self.slice(span.key)
    }

    fn slice(&self, span: Span) -> &[u8] {
        &self.bytes[span.0..span.1]
    }

    /// Sorts by slot and key; of a key's removal and its value the value
    /// stays.
    pub(super) fn finish(&mut self) {
        let mut spans = std::mem::take(&mut self.spans);
        let is_gone = |span: &RowSpan| span.content == Content::Gone;
        spans.sort_unstable_by(|a, b| {
            (a.slot, self.key(a), is_gone(a)).cmp(&(b.slot, self.key(b), is_gone(b)))
        });
        spans.dedup_by(|later, earlier| self.key(later) == self.key(earlier));
        self.spans = spans;
    }

    /// The rows, ascending by slot and key.
    pub fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        self.spans.iter().map(|span| Row { rows: self, span })
    }
}

/// The content of a value in pieces, see [`PieceWriter::finish`].
pub(super) struct InPieces(Content);

/// Where in the rows a value begins.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    first: usize,
    bytes: usize,
}

/// Writes one value in pieces.
pub(super) struct PieceWriter<'r> {
    rows: &'r mut Rows,
    mark: Mark,
}

impl<'r> PieceWriter<'r> {
    pub fn new(rows: &'r mut Rows) -> PieceWriter<'r> {
        PieceWriter::going_on(rows.mark(), rows)
    }

    /// Goes on with a value that began at `mark`; nothing else was written since.
    pub fn going_on(mark: Mark, rows: &'r mut Rows) -> PieceWriter<'r> {
        PieceWriter { rows, mark }
    }

    /// Appends a piece; they come in the order of their keys. Gives its bytes.
    pub fn piece(&mut self, key: PieceKey, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        let span = self.rows.write(write);
        self.rows.pieces.push((key, span));
        span.1 - span.0
    }

    /// Takes back all that was written.
    pub fn undo(self) {
        self.rows.pieces.truncate(self.mark.first);
        self.rows.bytes.truncate(self.mark.bytes);
    }

    /// The content of a row whose whole payload was written.
    pub fn whole(self) -> InPieces {
        InPieces(Content::Whole((self.mark.bytes, self.rows.bytes.len())))
    }

    /// The content of the row, given the payload's beginning.
    pub fn finish(self, layout: u128, anew: bool, head: impl FnOnce(&mut Vec<u8>)) -> InPieces {
        InPieces(Content::Pieces {
            layout,
            anew,
            head: self.rows.write(head),
            pieces: (self.mark.first, self.rows.pieces.len()),
        })
    }
}

impl Row<'_> {
    /// The key.
    pub fn key(&self) -> &[u8] {
        self.rows.key(self.span)
    }

    /// The value of a row that has it whole.
    #[cfg(test)]
    pub(super) fn payload(&self) -> Vec<u8> {
        let Content::Whole(at) = self.span.content else {
            panic!("there is no whole value: {:?}", self.span.content);
        };
        self.rows.slice(at).to_vec()
    }

    /// Writes or deletes the row in a physical database.
    pub fn put(&self, batch: &mut Batch<'_>, db: u32) -> Result<(), TreeError> {
        let RowSpan {
            slot,
            expire_at_ms,
            content,
            ..
        } = *self.span;
        match content {
            Content::Gone => batch.delete(db, slot, self.key())?,
            Content::Whole(at) => {
                batch.put(db, slot, self.key(), expire_at_ms, self.rows.slice(at))?
            }
            Content::Pieces {
                layout,
                anew,
                head,
                pieces,
            } => {
                let pieces = self.rows.pieces[pieces.0..pieces.1].iter();
                let pieces = pieces.map(|(key, at)| Piece {
                    key: *key,
                    bytes: self.rows.slice(*at),
                });
                let value = Pieces {
                    layout,
                    anew,
                    head: self.rows.slice(head),
                    changed: &pieces.collect::<Vec<_>>(),
                };
                batch.put_pieces(db, slot, self.key(), expire_at_ms, value)?
            }
        };
        Ok(())
    }
}
