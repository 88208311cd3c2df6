//! Going through all keys of a database: which slots a pattern can match in,
//! and one slot's keys.

use std::ops::Range;

use redoubt_cluster::slots::{SLOT_COUNT, Slot, hash_tag};

use crate::cluster::Cluster;
use crate::commands::context::Context;
use crate::connection::conclusion::{after, append_expired, tell};
use crate::connection::dispatch::open_unless_busy;
use crate::glob::{Case, matches};
use crate::keyspace::KeyRef;
use crate::keyspace::db::{Db, DbError, ExpiryMode};
use crate::keyspace::entry::Entry;
use crate::keyspace::stripe::{SLOTS_PER_STRIPE, StripeSet, stripe_of};
use crate::state::Server;

/// How many slots there are.
pub const SLOTS: u32 = SLOT_COUNT as u32;
/// Expired keys that one visit of a stripe removes at most.
const REMOVED_PER_VISIT: usize = 256;

/// A pattern for keys.
#[derive(Clone, Copy)]
pub struct Pattern<'a> {
    text: &'a [u8],
    matches: Matches,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Matches {
    All,
    Some,
    None,
}

/// A pattern with more runs of `*` than this matches nothing, as in the field.
const MOST_STARS: usize = 1000;

impl<'a> Pattern<'a> {
    /// A pattern; None matches every key.
    pub fn new(text: Option<&'a [u8]>) -> Pattern<'a> {
        let text = text.unwrap_or(b"*");
        let stars = text.windows(2).filter(|w| w[0] == b'*' && w[1] != b'*');
        let matches = match text {
            b"*" => Matches::All,
            _ if stars.count() > MOST_STARS => Matches::None,
            _ => Matches::Some,
        };
        Pattern { text, matches }
    }

    /// Whether a key matches.
    #[inline]
    pub fn matches(&self, key: &[u8]) -> bool {
        match self.matches {
            Matches::All => true,
            Matches::Some => matches(self.text, key, Case::Sensitive),
            Matches::None => false,
        }
    }

    /// The slots in which keys can match: one if the pattern has a whole hash
    /// tag before its first wildcard, or no wildcard at all.
    pub fn slots(&self) -> Range<u32> {
        let is_special = |byte: &u8| b"*?[\\".contains(byte);
        let literal = self.text.iter().position(is_special);
        let prefix = &self.text[..literal.unwrap_or(self.text.len())];
        if literal.is_some() && hash_tag(prefix).len() == prefix.len() {
            return 0..SLOTS;
        }
        let slot = u32::from(Slot::of_key(prefix).number());
        slot..slot + 1
    }
}

/// The stripes of a range of slots.
pub fn stripes_of_slots(slots: &Range<u32>) -> Range<usize> {
    match slots.is_empty() {
        true => 0..0,
        false => stripe_of(slots.start as u16)..stripe_of((slots.end - 1) as u16) + 1,
    }
}

/// The part of a range of slots that lies in a stripe.
pub fn slots_within(slots: &Range<u32>, stripe: usize) -> Range<u32> {
    let first = (stripe * SLOTS_PER_STRIPE) as u32;
    let end = first + SLOTS_PER_STRIPE as u32;
    slots.start.max(first)..slots.end.min(end)
}

/// The same without the slots that are another node's, and whose keys here are
/// only coming or going.
pub fn shown_slots<'s>(
    server: &'s Server,
    slots: &Range<u32>,
    stripe: usize,
) -> impl Iterator<Item = u32> + 's {
    let cluster = server.cluster.as_ref();
    let hidden = move |slot: &u32| cluster.is_some_and(|cluster| cluster.is_foreign(*slot as u16));
    slots_within(slots, stripe).filter(move |slot| !hidden(slot))
}

/// Visits all keys of a slot that have not expired.
pub fn each_of_slot(db: &mut Db<'_>, slot: u32, mut f: impl FnMut(&Entry)) -> Result<(), DbError> {
    let mut cursor = Some(u64::from(slot) << 32);
    while let Some(at) = cursor {
        cursor = db.scan_slot(at, &mut f)?;
    }
    Ok(())
}

/// Removes what is due in a stripe, as far as it is `wanted`, before it is
/// walked through.
pub fn remove_due(ctx: &mut Context<'_>, stripe: usize, wanted: impl Fn(&Entry) -> bool) {
    if ctx.db.expiry_mode != ExpiryMode::Remove
        || ctx.server.keyspace.expires_count(ctx.db.index()) == 0
    {
        return;
    }
    let cluster = ctx.server.cluster.as_ref();
    let wanted = |entry: &Entry| {
        let hidden = |cluster: &Cluster| cluster.is_foreign(KeyRef::new(entry.key()).slot);
        !cluster.is_some_and(hidden) && wanted(entry)
    };
    if ctx.holds_all {
        ctx.db.remove_due_where(stripe, REMOVED_PER_VISIT, wanted);
        return;
    }
    let server = ctx.server;
    let mut set = StripeSet::default();
    set.add(stripe);
    let Some(mut db) = open_unless_busy(server, ctx.session, set, ctx.db.now_ms) else {
        return;
    };
    if db.remove_due_where(stripe, REMOVED_PER_VISIT, wanted) == 0 {
        return;
    }
    let mut recorder = std::mem::take(&mut db.recorder);
    append_expired(server, &recorder);
    tell(server, ctx.session, &mut recorder);
    drop(db);
    after(server, ctx.session, recorder);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_pinned_to_a_slot_only_by_a_whole_tag_or_no_wildcard() {
        let slots = |text: &'static str| Pattern::new(Some(text.as_bytes())).slots();
        let slot = |key: &str| {
            let slot = u32::from(Slot::of_key(key.as_bytes()).number());
            slot..slot + 1
        };
        assert_eq!(slots("*"), 0..SLOTS);
        assert_eq!(slots("a*"), 0..SLOTS);
        assert_eq!(slots("{a*}"), 0..SLOTS);
        assert_eq!(slots("{}*"), 0..SLOTS);
        assert_eq!(slots("{a\\}*"), 0..SLOTS);
        assert_eq!(slots("*{a}"), 0..SLOTS);
        assert_eq!(slots("{a}*"), slot("a"));
        assert_eq!(slots("x{a}?"), slot("a"));
        assert_eq!(slots("plain"), slot("plain"));
        assert_eq!(slots("{}plain"), slot("{}plain"));
        assert_eq!(slots("{a}plain"), slot("a"));
        assert_eq!(slots(""), slot(""));
        assert_eq!(Pattern::new(None).slots(), 0..SLOTS);
    }

    #[test]
    fn a_range_of_slots_is_cut_along_stripes() {
        let slots = 100..200;
        assert_eq!(stripes_of_slots(&slots), 1..4);
        assert_eq!(slots_within(&slots, 1), 100..128);
        assert_eq!(slots_within(&slots, 2), 128..192);
        assert_eq!(slots_within(&slots, 3), 192..200);
        assert_eq!(stripes_of_slots(&(5..5)), 0..0);
    }
}
