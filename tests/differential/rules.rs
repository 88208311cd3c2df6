//! When two servers' replies count as equal.

use super::support::Reply;

/// How replies to a command are compared. Error replies are always compared by their text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// As they are.
    Exact,
    /// Elements in any order.
    Unordered,
    /// Elements in any order, and theirs as well.
    Nested,
    /// Pairs in any order: a map, or a flat array of pairs.
    Pairs,
    /// A cursor and elements in any order.
    Scan,
    /// A cursor and pairs in any order.
    ScanPairs,
    /// A cursor and pairs with a number each, in any order.
    ScanScores,
    /// Integers may differ by what the clocks drifted.
    Drift,
    /// The same type, and nothing more.
    Shape,
    /// Drawn by chance: the same number of elements, each of them genuine (see `duel`).
    Member,
    /// Idle and seen times may differ, and the figures of a representation.
    Stream,
}

/// Whether replies are equal. `drift_ms` is what points in time may differ by.
pub fn same(rule: Rule, ours: &Reply, theirs: &Reply, drift_ms: i64) -> bool {
    if ours == theirs {
        return true;
    }
    if let (Reply::Error(ours), Reply::Error(theirs)) = (ours, theirs) {
        // The peer's texts end at a zero byte in what they quote.
        return ours.contains('\0') && ours.split(' ').next() == theirs.split(' ').next();
    }
    if matches!(ours, Reply::Error(_)) || matches!(theirs, Reply::Error(_)) {
        return false;
    }
    match rule {
        Rule::Exact => same_nan(ours, theirs),
        Rule::Unordered => sorted(ours, 1) == sorted(theirs, 1),
        Rule::Nested => nested(ours) == nested(theirs),
        Rule::Pairs => sorted(ours, 2) == sorted(theirs, 2),
        Rule::Scan => same_scan(ours, theirs, 1),
        Rule::ScanPairs => same_scan(ours, theirs, 2),
        Rule::ScanScores => same_scan(&numbers(ours), &numbers(theirs), 2),
        Rule::Drift => drifted(ours, theirs, drift_ms),
        Rule::Shape => same_type(ours, theirs),
        Rule::Member => match (elements(ours), elements(theirs)) {
            (Some(ours), Some(theirs)) => ours.len() == theirs.len(),
            _ => same_type(ours, theirs),
        },
        Rule::Stream => masked(ours) == masked(theirs),
    }
}

/// Where a scan goes on is each server's own affair; one that ended has seen everything.
fn same_scan(ours: &Reply, theirs: &Reply, width: usize) -> bool {
    match (ours, theirs) {
        (Reply::Array(ours), Reply::Array(theirs)) if ours.len() == 2 && theirs.len() == 2 => {
            let unfinished = ours[0] != theirs[0];
            unfinished || sorted(&ours[1], width) == sorted(&theirs[1], width)
        }
        _ => false,
    }
}

/// A scan's reply with each second element read as a number.
fn numbers(reply: &Reply) -> Reply {
    // A member may be called nan, which as a number is nobody's equal.
    let number = |text: String| {
        let number: f64 = text.parse().ok()?;
        (!number.is_nan()).then_some(Reply::Double(number))
    };
    match reply {
        Reply::Array(parts) => Reply::Array(parts.iter().map(numbers).collect::<Vec<_>>()),
        Reply::Bulk(_) => reply.text().and_then(number).unwrap_or(reply.clone()),
        other => other.clone(),
    }
}

fn is(word: &[u8], name: &str) -> bool {
    word.eq_ignore_ascii_case(name.as_bytes())
}

/// The elements of an array, a set or a push.
pub fn elements(reply: &Reply) -> Option<&[Reply]> {
    match reply {
        Reply::Array(elements) | Reply::Set(elements) | Reply::Push(elements) => Some(elements),
        _ => None,
    }
}

fn same_type(ours: &Reply, theirs: &Reply) -> bool {
    std::mem::discriminant(ours) == std::mem::discriminant(theirs)
}

/// NaN is no number's equal, but the same reply.
fn same_nan(ours: &Reply, theirs: &Reply) -> bool {
    format!("{ours:?}") == format!("{theirs:?}")
}

/// A key by which replies sort: their text form.
fn sort_key(reply: &Reply) -> String {
    format!("{reply:?}")
}

/// The reply with its elements, taken `width` at a time, in order.
pub fn sorted(reply: &Reply, width: usize) -> Reply {
    match reply {
        Reply::Array(elements) => Reply::Array(sorted_elements(elements, width)),
        Reply::Set(elements) => Reply::Set(sorted_elements(elements, width)),
        Reply::Map(pairs) => {
            let mut pairs = pairs.clone();
            pairs.sort_by_cached_key(|(field, value)| (sort_key(field), sort_key(value)));
            Reply::Map(pairs)
        }
        other => other.clone(),
    }
}

/// The reply with its elements in order, at every depth.
fn nested(reply: &Reply) -> Reply {
    match reply {
        Reply::Array(elements) => {
            let elements: Vec<Reply> = elements.iter().map(nested).collect();
            Reply::Array(sorted_elements(&elements, 1))
        }
        Reply::Set(elements) => Reply::Set(sorted_elements(elements, 1)),
        Reply::Map(pairs) => {
            let pairs = pairs
                .iter()
                .map(|(name, value)| (name.clone(), nested(value)));
            sorted(&Reply::Map(pairs.collect()), 1)
        }
        other => other.clone(),
    }
}

fn sorted_elements(elements: &[Reply], width: usize) -> Vec<Reply> {
    let mut chunks: Vec<Vec<Reply>> = elements.chunks(width).map(<[Reply]>::to_vec).collect();
    chunks.sort_by_cached_key(|chunk| chunk.iter().map(sort_key).collect::<Vec<_>>());
    chunks.concat()
}

fn drifted(ours: &Reply, theirs: &Reply, drift_ms: i64) -> bool {
    match (ours, theirs) {
        (Reply::Integer(ours), Reply::Integer(theirs)) => {
            ours == theirs
                || (*ours >= 0 && *theirs >= 0 && ours.abs_diff(*theirs) <= drift_ms as u64)
        }
        (Reply::Array(ours), Reply::Array(theirs)) => {
            let pairs = ours.iter().zip(theirs);
            ours.len() == theirs.len()
                && pairs.fold(true, |all, (a, b)| all && drifted(a, b, drift_ms))
        }
        (ours, theirs) => ours == theirs,
    }
}

/// The reply of XPENDING or XINFO without what depends on when something was seen.
pub fn masked(reply: &Reply) -> Reply {
    const TIMES: [&str; 6] = [
        "idle",
        "inactive",
        "seen-time",
        "active-time",
        "radix-tree-keys",
        "radix-tree-nodes",
    ];
    let is_time =
        |name: &Reply| matches!(name, Reply::Bulk(text) if TIMES.iter().any(|time| is(text, time)));
    let mask = |value: &Reply| match value {
        Reply::Integer(number) if *number >= 0 => Reply::Integer(0),
        other => other.clone(),
    };
    match reply {
        Reply::Map(pairs) => Reply::Map(
            pairs
                .iter()
                .map(|(name, value)| match is_time(name) {
                    true => (name.clone(), mask(value)),
                    false => (name.clone(), masked(value)),
                })
                .collect(),
        ),
        Reply::Array(elements) => {
            // An entry that is pending: [id, consumer, time, count] or [id, time, count].
            let pending = match &elements[..] {
                [
                    Reply::Bulk(_),
                    Reply::Bulk(_),
                    Reply::Integer(_),
                    Reply::Integer(_),
                ] => Some(2),
                [Reply::Bulk(_), Reply::Integer(_), Reply::Integer(_)] => Some(1),
                _ => None,
            };
            let element = |(at, element): (usize, &Reply)| {
                let named = at % 2 == 1 && is_time(&elements[at - 1]);
                match named || pending == Some(at) {
                    true => mask(element),
                    false => masked(element),
                }
            };
            Reply::Array(elements.iter().enumerate().map(element).collect())
        }
        other => other.clone(),
    }
}

#[test]
fn rules_tell_what_differs() {
    let bulk = |text: &str| Reply::bulk(text);
    let (ab, ba) = (
        Reply::Array(vec![bulk("a"), bulk("b")]),
        Reply::Array(vec![bulk("b"), bulk("a")]),
    );
    assert!(!same(Rule::Exact, &ab, &ba, 0));
    assert!(same(Rule::Unordered, &ab, &ba, 0));
    assert!(!same(Rule::Pairs, &ab, &ba, 0));
    let (five, seven) = (Reply::Integer(5), Reply::Integer(7));
    assert!(same(Rule::Drift, &five, &seven, 2));
    assert!(!same(Rule::Drift, &five, &seven, 1));
    assert!(!same(Rule::Shape, &five, &ab, 1));
    assert!(!same(Rule::Shape, &five, &Reply::Error("ERR".into()), 1));
}
