//! CLUSTERSCAN: all keys of a cluster, some at a time, slot by slot.
//!
//! A cursor is `mark-{tag}-position`. The tag is in the slot that the walk has
//! come to, so that clients find the node to ask by the cursor as if it were a
//! key. The position is one of this run of this node, which the mark tells;
//! elsewhere the slot is begun anew.

use std::sync::OnceLock;

use redoubt_cluster::slots::{SLOT_COUNT, Slot, hash_tag};

use super::{cluster_of, slots::slot, text};
use crate::cluster::{Cluster, route};
use crate::commands::args::{self, is};
use crate::commands::command::{Arg, ArgKind, Command, Group, KeySpec, Locks, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::commands::generic::{Pattern, type_named};
use crate::keyspace::entry::{Entry, ValueType};
use crate::keyspace::stripe::stripe_of;
use crate::resp::reply::ReplyBuffer;

/// CLUSTERSCAN cursor [MATCH pattern] [COUNT count] [TYPE type] [SLOT slot]
pub const COMMAND: Command = Command {
    name: "clusterscan",
    group: Group::Cluster,
    since: "9.1.0",
    summary: "Goes through the keys of a cluster, some with each call.",
    complexity: "O(N) where N is the number of keys looked at.",
    arity: -2,
    flags: flag::READONLY,
    acl: acl::KEYSPACE,
    keys: &[KeySpec::one(1, &["not_key"])],
    locks: Locks::None,
    args: &[
        Arg::string("cursor"),
        Arg::new("match-pattern", ArgKind::Pattern)
            .after("MATCH")
            .optional(),
        Arg::integer("count").after("COUNT").optional(),
        Arg::string("type").after("TYPE").optional(),
        Arg::integer("slot").after("SLOT").optional(),
    ],
    run,
    ..Command::BASE
};

/// What is asked for.
struct Options<'a> {
    pattern: Pattern<'a>,
    count: u64,
    /// None: any; Some(None): a type that no key here can have.
    value_type: Option<Option<ValueType>>,
    slot: Option<Slot>,
}

impl Options<'_> {
    fn want(&self, entry: &Entry) -> bool {
        let of_type = self
            .value_type
            .is_none_or(|wanted| wanted == entry.known_type());
        of_type && self.pattern.matches(entry.key())
    }

    /// The only slot in which there can be anything.
    fn only(&self) -> Option<Slot> {
        let slots = self.pattern.slots();
        let one = (slots.len() == 1).then_some(slots.start as u16);
        self.slot.or_else(|| one.and_then(Slot::new))
    }
}

fn parse<'a>(words: &[&'a [u8]]) -> Result<Options<'a>, CommandError> {
    let mut options = Options {
        pattern: Pattern::new(None),
        count: 10,
        value_type: None,
        slot: None,
    };
    for pair in words.chunks(2) {
        let [word, value] = *pair else {
            return Err(CommandError::Syntax);
        };
        if is(word, "COUNT") {
            let count = u64::try_from(args::integer(value)?).ok();
            options.count = count.filter(|n| *n > 0).ok_or(CommandError::Syntax)?;
        } else if is(word, "MATCH") {
            options.pattern = Pattern::new(Some(value));
        } else if is(word, "TYPE") {
            options.value_type = Some(type_named(value)?);
        } else if is(word, "SLOT") {
            if options.slot.is_some() {
                let text = "SLOT option can only be specified once";
                return Err(CommandError::err(text));
            }
            options.slot = Some(slot(value)?);
        } else {
            return Err(CommandError::Syntax);
        }
    }
    Ok(options)
}

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let cluster = cluster_of(ctx)?;
    let options = parse(&args[2..])?;
    let mut found = ReplyBuffer::new(ctx.reply.protocol);
    let mut count = 0;
    let next = if args[1] == b"0" {
        let first = options.only().or_else(|| Slot::new(0));
        first.map_or_else(|| "0".into(), |slot| cursor("0", slot, 0))
    } else {
        let (slot, position) = position(ctx, args[1])?;
        if options.slot.is_some_and(|wanted| wanted != slot) {
            let text = "Cursor slot mismatch with SLOT argument";
            return Err(CommandError::err(text));
        }
        let next = walk_some(ctx, cluster, &options, (slot, position), |key| {
            found.bulk(key);
            count += 1;
        })?;
        match next {
            Some(next) => next,
            None => {
                // The slot has left, or begun to, since that was asked.
                route::check(ctx.server, ctx.session, &COMMAND, args, None)?;
                text(args[1]).into_owned()
            }
        }
    };
    ctx.reply.array(2);
    ctx.reply.bulk(next.as_bytes());
    ctx.reply.array(count);
    ctx.reply.raw(&found.buf);
    Ok(())
}

/// The mark of positions of this run of this node.
fn mark<'c>(ctx: &Context<'c>) -> &'c str {
    &ctx.server.run_id[..8]
}

fn cursor(mark: &str, slot: Slot, position: u64) -> String {
    format!("{mark}-{{{}}}-{position}", tag(slot))
}

/// Where a cursor stands.
fn position(ctx: &Context<'_>, word: &[u8]) -> Result<(Slot, u64), CommandError> {
    let word = text(word);
    let parts = || {
        let (mark, rest) = word.split_once("-{")?;
        let (_, position) = rest.split_once("}-")?;
        Some((mark, position.parse::<u64>().ok()?))
    };
    let (mark_, position) = parts().ok_or_else(|| CommandError::err("Invalid cursor"))?;
    let known = mark_ == mark(ctx) && position <= u64::from(u32::MAX);
    let slot = Slot::of_key(hash_tag(word.as_bytes()));
    Ok((slot, if known { position } else { 0 }))
}

/// Gives keys to `found` until about `count` were looked at, this node's slots
/// that follow are gone through, or there can be none any more; returns the
/// next cursor. A slot whose keys may be elsewhere ends the walk before it;
/// `None` if that is the first one.
fn walk_some(
    ctx: &mut Context<'_>,
    cluster: &Cluster,
    options: &Options<'_>,
    from: (Slot, u64),
    mut found: impl FnMut(&[u8]),
) -> Result<Option<String>, CommandError> {
    let (mut slot, mut position) = from;
    let mark = mark(ctx);
    let mut visited = 0;
    // What the gate let pass in a slot that is being taken in.
    let mut asked = ctx.session.routing.asking;
    loop {
        let number = slot.number();
        let mut next = None;
        let mut whole = false;
        let stripe = std::iter::once(stripe_of(number));
        ctx.each_stripe(stripe, |db, stripe, _| {
            // With its keys locked none can leave any more.
            whole = route::has_whole_slot(cluster, slot) || asked && is_imported(cluster, slot);
            if !whole {
                return Ok(false);
            }
            let base = u64::from(number) << 32;
            let mut at = db.stripe_may_have_keys(stripe).then_some(base | position);
            while let Some(from) = at
                && visited < options.count
            {
                at = db.scan_slot(from, |entry| {
                    visited += 1;
                    if options.want(entry) {
                        found(entry.key());
                    }
                })?;
            }
            next = at;
            Ok(false)
        })?;
        if !whole {
            return Ok((slot != from.0).then(|| cursor("0", slot, 0)));
        }
        asked = false;
        if let Some(at) = next {
            return Ok(Some(cursor(mark, slot, at & u64::from(u32::MAX))));
        }
        let following = Slot::new(number + 1).filter(|_| options.only().is_none());
        let Some(following) = following else {
            return Ok(Some("0".into()));
        };
        if visited >= options.count {
            return Ok(Some(cursor("0", following, 0)));
        }
        (slot, position) = (following, 0);
    }
}

fn is_imported(cluster: &Cluster, slot: Slot) -> bool {
    cluster.read(|bus| bus.table().importing.contains_key(&slot))
}

/// A short tag that is in a slot.
fn tag(slot: Slot) -> &'static str {
    static TAGS: OnceLock<Vec<String>> = OnceLock::new();
    let tags = TAGS.get_or_init(all_tags);
    &tags[usize::from(slot.number())]
}

fn all_tags() -> Vec<String> {
    const LETTERS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut tags = vec![String::new(); SLOT_COUNT];
    let mut missing = SLOT_COUNT;
    let mut shorter = vec![String::new()];
    while missing > 0 {
        let mut longer = Vec::with_capacity(shorter.len() * LETTERS.len());
        for head in &shorter {
            for letter in LETTERS {
                let mut word = head.clone();
                word.push(char::from(*letter));
                longer.push(word);
            }
        }
        for word in &longer {
            let place = &mut tags[usize::from(Slot::of_key(word.as_bytes()).number())];
            if place.is_empty() {
                place.clone_from(word);
                missing -= 1;
            }
        }
        shorter = longer;
    }
    tags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_has_a_tag_of_its_own() {
        for number in 0..SLOT_COUNT as u16 {
            let slot = Slot::new(number).expect("a slot");
            let key = cursor("0", slot, 0);
            assert_eq!(Slot::of_key(key.as_bytes()), slot);
            assert!(tag(slot).len() <= 4);
        }
    }
}
