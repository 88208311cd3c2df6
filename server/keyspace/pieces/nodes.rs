//! Lists and streams in pieces: a piece a node.
//!
//! A list's nodes have no names of their own, so each is given a number when it
//! is first collected, between those of its neighbours. The numbers at both
//! ends are far apart, so that there is room for what is inserted later; where
//! none is left, all get new ones. A stream's nodes are known by their ids;
//! behind them come the counts, and then the groups. Those two are collected
//! each time: the tree writes only what is not the same.

use redoubt_persistence::rdb::primitive::put_length;
use redoubt_persistence::rdb::value_type;
use redoubt_persistence::tree::PieceKey;

use super::noted::Noted;
use super::{is_one_row, new_layout};
use crate::keyspace::codec::put_node;
use crate::keyspace::list::{Node, NodeBytes, QuickList};
use crate::keyspace::rows::{InPieces, PieceWriter, Rows};
use crate::keyspace::stream::{self, Stream};

/// The number of a list's first node.
const FIRST: u64 = 1 << 62;
/// From one number to the next, where nothing limits it.
const STEP: u64 = 1 << 32;

/// The most that a stream's node has before its bytes, in bytes: its id and
/// their lengths.
const NODE_HEAD: usize = 32;

/// Section of a stream's counts and groups, and their numbers.
const STREAM_TAIL: u8 = 1;
const COUNTS: u128 = 0;
const GROUPS: u128 = 1;

/// Writes what the tree lacks of a list; None when it is to be one row.
pub fn collect_list(list: &QuickList, rows: &mut Rows) -> Option<InPieces> {
    let known = list.note.take();
    if is_one_row(bytes_of(list), known.is_some()) {
        return None;
    }
    let given = known.and_then(|known| {
        let numbers = numbers_of(list.nodes.iter().map(|node| node.body.number()))?;
        Some((known, numbers))
    });
    let anew = given.is_none();
    let ((layout, old), numbers) =
        given.unwrap_or_else(|| ((new_layout(0), Vec::new()), first_numbers(list)));
    let mut writer = PieceWriter::new(rows);
    let mut gone = Gone::new(&old);
    for (node, &number) in list.nodes.iter().zip(&numbers) {
        gone.up_to(number, &mut writer);
        if anew || node.body.is_changed() {
            write_list_node(node, number, &mut writer);
        }
    }
    gone.up_to(u64::MAX, &mut writer);
    Some(finish(list, (layout, numbers), anew, writer))
}

fn bytes_of(list: &QuickList) -> usize {
    let lengths = list.nodes.iter().map(|node| match node.bytes() {
        NodeBytes::Packed(bytes) | NodeBytes::Plain(bytes) => bytes.len(),
    });
    lengths.sum()
}

fn first_numbers(list: &QuickList) -> Vec<u64> {
    let numbers = (0..list.nodes.len() as u64).map(|at| FIRST + at * STEP);
    numbers.collect()
}

/// The nodes' numbers for a list of which the tree has nothing; None where it
/// may have something, and for one of fewer bytes than `least`.
pub fn numbers_anew(list: &QuickList, least: usize) -> Option<Vec<u64>> {
    (!list.note.is_known() && bytes_of(list) >= least).then(|| first_numbers(list))
}

/// Writes a node as the piece of this number; gives its bytes.
pub fn write_list_node(node: &Node, number: u64, writer: &mut PieceWriter<'_>) -> usize {
    let bytes = writer.piece(of_nodes(number), |out| put_node(node.bytes(), out));
    node.body.collected(number);
    bytes
}

/// Ends a list of which all was written.
pub fn finish_list(list: &QuickList, numbers: Vec<u64>, writer: PieceWriter<'_>) -> InPieces {
    finish(list, (new_layout(0), numbers), true, writer)
}

fn finish(
    list: &QuickList,
    (layout, numbers): (u128, Vec<u64>),
    anew: bool,
    writer: PieceWriter<'_>,
) -> InPieces {
    list.note.set(layout, numbers);
    writer.finish(layout, anew, |out| {
        out.push(value_type::LIST_QUICKLIST_2);
        put_length(out, list.nodes.len() as u64);
    })
}

fn of_nodes(number: impl Into<u128>) -> PieceKey {
    PieceKey {
        section: 0,
        number: number.into(),
    }
}

/// The pieces that are there no more, among those that are.
struct Gone<'a, N> {
    old: std::iter::Peekable<std::slice::Iter<'a, N>>,
}

impl<'a, N: Copy + Ord + Into<u128>> Gone<'a, N> {
    fn new(old: &'a [N]) -> Gone<'a, N> {
        Gone {
            old: old.iter().peekable(),
        }
    }

    /// Says so of those before the piece `number`.
    fn up_to(&mut self, number: N, writer: &mut PieceWriter<'_>) {
        while let Some(&gone) = self.old.next_if(|old| **old < number) {
            writer.piece(of_nodes(gone), |_| ());
        }
        self.old.next_if(|old| **old == number);
    }
}

/// Numbers for nodes of which some have one, ascending and even; None when there
/// are none to be had.
fn numbers_of(nodes: impl Iterator<Item = Option<u64>>) -> Option<Vec<u64>> {
    let mut numbers = Vec::new();
    let (mut before, mut waiting) = (None, 0);
    for number in nodes {
        let Some(number) = number else {
            waiting += 1;
            continue;
        };
        if before.is_some_and(|before| before >= number) {
            return None;
        }
        between(before, number, waiting, &mut numbers)?;
        numbers.push(number);
        (before, waiting) = (Some(number), 0);
    }
    let from = before.unwrap_or(FIRST - STEP);
    for place in 1..=waiting {
        numbers.push(from.checked_add(place * STEP)?);
    }
    Some(numbers)
}

fn between(before: Option<u64>, next: u64, count: u64, numbers: &mut Vec<u64>) -> Option<()> {
    let step = match before {
        _ if count == 0 => return Some(()),
        Some(before) => ((next - before) / (count + 1)) & !1,
        None => STEP,
    };
    let from = match before {
        Some(before) => before,
        // 0 is no number.
        None => next.checked_sub((count + 1) * STEP)?,
    };
    numbers.extend((1..=count).map(|place| from + place * step));
    (step > 0).then_some(())
}

/// Writes what the tree lacks of a stream; None when it is to be one row.
pub fn collect_stream(stream: &Stream, rows: &mut Rows) -> Option<InPieces> {
    let known = stream.entries.note().take();
    let anew = known.is_none();
    let (mut bytes, mut nodes) = (0, 0);
    let (mut bytes_to_write, mut nodes_to_write) = (0, 0);
    for (_, node) in stream.entries.nodes() {
        (bytes, nodes) = (bytes + node.bytes_len(), nodes + 1);
        if anew || node.is_changed() {
            bytes_to_write += node.bytes_len() + NODE_HEAD;
            nodes_to_write += 1;
        }
    }
    if is_one_row(bytes, !anew) {
        return None;
    }
    let (layout, old) = known.unwrap_or_else(|| (new_layout(0), Vec::new()));
    // A stream that is added to has megabytes here, each time.
    rows.make_room(bytes_to_write, nodes_to_write);
    let mut writer = PieceWriter::new(rows);
    let (mut gone, mut ids) = (Gone::new(&old), Vec::with_capacity(nodes));
    for (id, node) in stream.entries.nodes() {
        gone.up_to(id.number(), &mut writer);
        if anew || node.is_changed() {
            writer.piece(of_nodes(id.number()), |out| stream::put_node(out, id, node));
            node.collected(IN_TREE);
        }
        ids.push(id.number());
    }
    gone.up_to(u128::MAX, &mut writer);
    let tail = |number| PieceKey {
        section: STREAM_TAIL,
        number,
    };
    writer.piece(tail(COUNTS), |out| stream::put_counts(out, &stream.entries));
    writer.piece(tail(GROUPS), |out| stream::put_groups(out, stream));
    let count = ids.len() as u64;
    stream.entries.note().set(layout, ids);
    Some(writer.finish(layout, anew, |out| {
        out.push(value_type::STREAM_LISTPACKS_3);
        put_length(out, count);
    }))
}

/// What a stream's node has for a number when it is in the tree.
const IN_TREE: u64 = 2;

/// Notes that the tree has all of a stream under a layout.
pub fn note_stream(stream: &Stream, layout: u128) {
    let nodes = stream.entries.nodes();
    let ids = nodes.map(|(id, node)| {
        Noted::collected(node, IN_TREE);
        id.number()
    });
    stream.entries.note().set(layout, ids.collect());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(nodes: &[Option<u64>]) -> Option<Vec<u64>> {
        let numbers = numbers_of(nodes.iter().copied())?;
        assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
        assert!(numbers.iter().all(|number| number & 1 == 0 && *number > 0));
        assert_eq!(numbers.len(), nodes.len());
        for (given, number) in nodes.iter().zip(&numbers) {
            assert!(given.is_none_or(|given| given == *number));
        }
        Some(numbers)
    }

    #[test]
    fn new_nodes_get_numbers_between_their_neighbours() {
        check(&[]).unwrap();
        check(&[None, None]).unwrap();
        check(&[None, Some(FIRST), None, None, Some(FIRST + STEP), None]).unwrap();
        check(&[Some(2), None, None, Some(8)]).unwrap();
        assert!(check(&[Some(2), None, None, Some(6)]).is_none(), "no room");
        assert!(check(&[Some(6), Some(6)]).is_none(), "out of order");
        assert!(check(&[None, Some(STEP)]).is_none(), "none before");
        assert!(check(&[Some(u64::MAX - 1), None]).is_none(), "none behind");
    }

    #[test]
    fn a_place_takes_many_insertions() {
        let mut nodes = vec![Some(FIRST), Some(FIRST + STEP)];
        let mut inserted = 0;
        loop {
            nodes.insert(1, None);
            let Some(numbers) = check(&nodes) else { break };
            nodes = numbers.into_iter().map(Some).collect();
            inserted += 1;
        }
        assert!(inserted >= 30, "{inserted}");
    }
}
