//! What a script in a cluster counts on once it was told.

use redoubt_cluster::slots::Slot;

use crate::keyspace::db::Db;
use crate::keyspace::stripe::stripe_of;

/// What a script was told before: so much of it holds until its end, whatever
/// becomes of the cluster meanwhile. It is not stopped half way.
#[derive(Default)]
pub struct Settled {
    /// The cluster was up when a key's command ran.
    pub(super) up: bool,
    /// It has written to a key.
    pub wrote: bool,
    /// Slots that were this node's, and not on the move, when their stripes were
    /// held: whoever takes away their keys waits for those. In order.
    slots: smallvec::SmallVec<[Slot; 4]>,
}

impl Settled {
    /// Whether a slot is one of those.
    pub(super) fn holds(&self, slot: Slot) -> bool {
        self.slots.binary_search(&slot).is_ok()
    }

    /// Notes a slot that is this node's, if `db` holds its stripe.
    pub(super) fn note(&mut self, slot: Slot, db: &Db<'_>) {
        if let Err(at) = self.slots.binary_search(&slot)
            && db.held().has(stripe_of(slot.number()))
        {
            self.slots.insert(at, slot);
        }
    }

    /// Whether a command may run though the cluster is down: the first that
    /// writes may not.
    pub(super) fn passes(&self, writes: bool) -> bool {
        self.wrote || (self.up && !writes)
    }
}
