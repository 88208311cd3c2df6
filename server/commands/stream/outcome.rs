//! What a group's command did, as effects for the log: who has which entry
//! since when (XCLAIM), what was forgotten (XACK), how far the group has read
//! (XGROUP SETID), and who is new (XGROUP CREATECONSUMER). Replayed, they
//! depend on no clock.

use crate::commands::effects::Effects;
use crate::keyspace::stream::{Group, Pending, StreamId};

/// What one command did to one group.
#[derive(Default)]
pub struct Outcome {
    /// The consumer was made.
    pub created: bool,
    /// Entries that the consumer has now, with when and how often they were
    /// delivered.
    pub claimed: Vec<(StreamId, Pending)>,
    /// Entries that nobody has to acknowledge any more.
    pub forgotten: Vec<StreamId>,
    /// The group's last id or its count of entries read changed.
    pub advanced: bool,
}

impl Outcome {
    /// Whether anything is to be logged.
    pub fn is_empty(&self) -> bool {
        !self.created && !self.advanced && self.claimed.is_empty() && self.forgotten.is_empty()
    }

    /// Adds the effects; `place` is key, group and consumer.
    pub fn add_to(&self, effects: &mut Effects, place: [&[u8]; 3], group: &Group) {
        let [key, name, consumer] = place;
        if self.created && self.claimed.is_empty() {
            effects.add(&[b"XGROUP", b"CREATECONSUMER", key, name, consumer]);
        }
        let last_id = group.last_id.text();
        for (id, pending) in &self.claimed {
            add_claim(effects, place, (*id, pending), &last_id);
        }
        if !self.forgotten.is_empty() {
            let ids: Vec<_> = self.forgotten.iter().map(|id| id.text()).collect();
            let mut effect: Vec<&[u8]> = vec![b"XACK", key, name];
            effect.extend(ids.iter().map(|id| &**id));
            effects.add(&effect);
        }
        if self.advanced {
            let mut digits = itoa::Buffer::new();
            let read = digits.format(group.entries_read.unwrap_or(-1)).as_bytes();
            effects.add(&[
                b"XGROUP",
                b"SETID",
                key,
                name,
                &last_id,
                b"ENTRIESREAD",
                read,
            ]);
        }
    }
}

/// XCLAIM of one entry, which makes the consumer if need be.
fn add_claim(
    effects: &mut Effects,
    [key, group, consumer]: [&[u8]; 3],
    (id, pending): (StreamId, &Pending),
    last_id: &[u8],
) {
    let (mut time, mut count) = (itoa::Buffer::new(), itoa::Buffer::new());
    effects.add(&[
        b"XCLAIM",
        key,
        group,
        consumer,
        b"0",
        &id.text(),
        b"TIME",
        time.format(pending.delivered_ms).as_bytes(),
        b"RETRYCOUNT",
        count
            .format(pending.deliveries.min(i64::MAX as u64))
            .as_bytes(),
        b"FORCE",
        b"JUSTID",
        b"LASTID",
        last_id,
    ]);
}
