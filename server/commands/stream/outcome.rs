//! What a group's command did, as effects for the log: who has which entry
//! since when (XCLAIM), what was forgotten (XACK), how far the group has read
//! (XGROUP SETID), and who is new (XGROUP CREATECONSUMER). Replayed, they
//! depend on no clock.

use smallvec::SmallVec;

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
        if self.created {
            effects.add(&[b"XGROUP", b"CREATECONSUMER", key, name, consumer]);
        }
        let alike = |one: &(StreamId, Pending), other: &(StreamId, Pending)| {
            (one.1.delivered_ms, one.1.deliveries) == (other.1.delivered_ms, other.1.deliveries)
        };
        for claimed in self.claimed.chunk_by(alike) {
            add_claim(effects, place, claimed, group.last_id);
        }
        if !self.forgotten.is_empty() {
            let ids: Vec<_> = self.forgotten.iter().map(|id| id.text()).collect();
            let mut effect: Vec<&[u8]> = vec![b"XACK", key, name];
            effect.extend(ids.iter().map(|id| &**id));
            effects.add(&effect);
        }
        if self.advanced {
            let last = group.last_id.text();
            let mut digits = itoa::Buffer::new();
            let read = digits.format(group.entries_read.unwrap_or(-1)).as_bytes();
            effects.add(&[b"XGROUP", b"SETID", key, name, &last, b"ENTRIESREAD", read]);
        }
    }
}

/// XCLAIM of entries that were delivered alike.
fn add_claim(
    effects: &mut Effects,
    [key, group, consumer]: [&[u8]; 3],
    claimed: &[(StreamId, Pending)],
    last_id: StreamId,
) {
    let Some((_, first)) = claimed.first() else {
        return;
    };
    let (mut time, mut count) = (itoa::Buffer::new(), itoa::Buffer::new());
    let last_id = last_id.text();
    let ids: SmallVec<[_; 8]> = claimed.iter().map(|(id, _)| id.text()).collect();
    let mut effect: SmallVec<[&[u8]; 24]> = SmallVec::new();
    effect.extend([&b"XCLAIM"[..], key, group, consumer, b"0"]);
    effect.extend(ids.iter().map(|id| &**id));
    effect.extend([
        &b"TIME"[..],
        time.format(first.delivered_ms).as_bytes(),
        b"RETRYCOUNT",
        count
            .format(first.deliveries.min(i64::MAX as u64))
            .as_bytes(),
        b"FORCE",
        b"JUSTID",
        b"LASTID",
        &last_id,
    ]);
    effects.add(&effect);
}
