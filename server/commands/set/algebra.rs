//! Intersection, union and difference: which members are in the result. What
//! is done with them is the caller's affair.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering::Relaxed;

use smallvec::SmallVec;

use super::put;
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::db::Db;
use crate::keyspace::entry::{Value, ValueRef};
use crate::keyspace::limits::LIMITS;
use crate::keyspace::listpack::{Entry, IntBuffer, Listpack};
use crate::keyspace::recorder::class;
use crate::keyspace::set::Set;

/// The sets under some keys, in order; None for those that are absent.
pub type Sets<'a> = SmallVec<[Option<&'a Set>; 8]>;

/// Gives a function each member of a result, until it breaks off.
type Visit<'v, 'a> = &'v mut dyn FnMut(Entry<'a>) -> ControlFlow<()>;

/// One of the three operations.
pub type Operation = for<'a> fn(&Sets<'a>, Visit<'_, 'a>) -> ControlFlow<()>;

/// Looks the sets up; another type is an error.
pub fn sets<'a>(db: &'a mut Db<'_>, keys: &[&[u8]]) -> Result<Sets<'a>, CommandError> {
    let values = db.values(keys)?;
    let sets = values.into_iter().map(|value| match value {
        None => Ok(None),
        Some(ValueRef::Set(set)) => Ok(Some(set)),
        Some(_) => Err(CommandError::WrongType),
    });
    sets.collect()
}

fn has(set: &Set, member: Entry<'_>) -> bool {
    match set {
        Set::Int(integers) => member
            .as_int()
            .is_some_and(|value| integers.contains(value)),
        _ => set.contains(member.bytes(&mut IntBuffer::new())),
    }
}

/// The one form under which a member is equal to itself from another set: a
/// table shows integers as strings.
fn canonical(member: Entry<'_>) -> Entry<'_> {
    match member {
        Entry::Str(bytes) => Entry::of(bytes),
        integer => integer,
    }
}

/// Members of every set, found by going through the smallest.
pub fn intersection<'a>(sets: &Sets<'a>, visit: Visit<'_, 'a>) -> ControlFlow<()> {
    let Some(mut sets) = sets.iter().copied().collect::<Option<SmallVec<[_; 8]>>>() else {
        return ControlFlow::Continue(());
    };
    sets.sort_by_key(|set: &&Set| set.len());
    let Some((&smallest, others)) = sets.split_first() else {
        return ControlFlow::Continue(());
    };
    for member in smallest.iter() {
        let in_all = |set: &&Set| std::ptr::eq(*set, smallest) || has(set, member);
        if others.iter().all(in_all) {
            visit(member)?;
        }
    }
    ControlFlow::Continue(())
}

/// Members of any set. Those of the largest need not be remembered to tell
/// which of the others are new.
pub fn union<'a>(sets: &Sets<'a>, visit: Visit<'_, 'a>) -> ControlFlow<()> {
    let mut sets: SmallVec<[&Set; 8]> = sets.iter().copied().flatten().collect();
    sets.sort_by_key(|set| std::cmp::Reverse(set.len()));
    let Some((&largest, others)) = sets.split_first() else {
        return ControlFlow::Continue(());
    };
    largest.iter().try_for_each(&mut *visit)?;
    let mut seen = HashSet::with_hasher(ahash::RandomState::new());
    for (index, set) in others.iter().enumerate() {
        let is_last = index + 1 == others.len();
        for member in set.iter().filter(|&member| !has(largest, member)) {
            let member_is_new = match is_last {
                true => !seen.contains(&canonical(member)),
                false => seen.insert(canonical(member)),
            };
            if member_is_new {
                visit(member)?;
            }
        }
    }
    ControlFlow::Continue(())
}

/// Members of any set, those of several sets several times: for a result that
/// tells them apart itself.
pub fn repeated_union<'a>(sets: &Sets<'a>, visit: Visit<'_, 'a>) -> ControlFlow<()> {
    let mut members = sets.iter().flatten().flat_map(|set| set.iter());
    members.try_for_each(visit)
}

/// Members of the first set that are in no other. Either each is looked for in
/// the others (N × M look-ups for N members and M sets), or the others are
/// taken away one by one (as many steps as there are members in all),
/// whichever is less; the first stops early as a rule, hence its half.
pub fn difference<'a>(sets: &Sets<'a>, visit: Visit<'_, 'a>) -> ControlFlow<()> {
    let Some((&Some(first), others)) = sets.split_first() else {
        return ControlFlow::Continue(());
    };
    let mut others: SmallVec<[&Set; 8]> = others.iter().copied().flatten().collect();
    if others.iter().any(|set| std::ptr::eq(*set, first)) {
        return ControlFlow::Continue(());
    }
    let looking = first.len() * (others.len() + 1) / 2;
    let taking = first.len() + others.iter().map(|set| set.len()).sum::<usize>();
    if looking <= taking {
        others.sort_by_key(|set| std::cmp::Reverse(set.len()));
        for member in first.iter() {
            if !others.iter().any(|set| has(set, member)) {
                visit(member)?;
            }
        }
        return ControlFlow::Continue(());
    }
    let mut left: HashSet<Entry<'a>, ahash::RandomState> = first.iter().map(canonical).collect();
    for set in others {
        for member in set.iter() {
            left.remove(&canonical(member));
        }
        if left.is_empty() {
            break;
        }
    }
    left.into_iter().try_for_each(visit)
}

/// Replies the result for sets under `keys`.
pub fn show(ctx: &mut Context<'_>, keys: &[&[u8]], operation: Operation) -> CommandResult {
    let sets = sets(&mut ctx.db, keys)?;
    let reply = &mut *ctx.reply;
    let deferred = reply.defer();
    let mut len = 0;
    let _ = operation(&sets, &mut |member| {
        put(reply, member);
        len += 1;
        ControlFlow::Continue(())
    });
    reply.finish_set(deferred, len);
    Ok(())
}

/// Stores the result for sets under `keys`, starting from `result`, and
/// replies how many members it has. An empty result removes the destination.
pub fn store(
    ctx: &mut Context<'_>,
    destination: &[u8],
    keys: &[&[u8]],
    event: &'static str,
    operation: Operation,
    empty: fn(&Sets<'_>) -> Set,
) -> CommandResult {
    let mut result = gather(&sets(&mut ctx.db, keys)?, operation, empty);
    // Integers that came out of listpacks and tables fit an intset again.
    result.pack_integers();
    ctx.reply.integer(result.len() as i64);
    if !result.is_empty() {
        ctx.db.set_value(destination, Value::Set(result), None)?;
        ctx.db.changed(class::SET, event, destination);
    } else if ctx.db.delete(destination)? {
        ctx.db.changed(class::GENERIC, "del", destination);
    }
    Ok(())
}

fn gather(sets: &Sets<'_>, operation: Operation, empty: fn(&Sets<'_>) -> Set) -> Set {
    let mut result = empty(sets);
    let mut buffer = IntBuffer::new();
    let _ = operation(sets, &mut |member| {
        result.add(member.bytes(&mut buffer));
        ControlFlow::Continue(())
    });
    result
}

/// What an intersection is gathered in: an intset if the smallest set is one,
/// else a listpack, whatever it grows to.
pub fn for_intersection(sets: &Sets<'_>) -> Set {
    match sets.iter().flatten().min_by_key(|set| set.len()) {
        Some(Set::Int(_)) => Set::new(),
        _ => Set::Packed(Listpack::new()),
    }
}

/// What a union is gathered in: an intset, or at once a table if one of the
/// sets is too large for anything else.
pub fn for_union(sets: &Sets<'_>) -> Set {
    let largest = sets.iter().flatten().map(|set| set.len()).max();
    let packed = LIMITS.set_max_listpack_entries.load(Relaxed);
    if largest.unwrap_or(0) > packed.max(LIMITS.intset_entries()) {
        return Set::Table(Box::default());
    }
    Set::new()
}

/// What a difference is gathered in: an intset.
pub fn for_difference(_: &Sets<'_>) -> Set {
    Set::new()
}
