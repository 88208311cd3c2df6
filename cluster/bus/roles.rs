//! Who is a primary and who replicates whom; among them this node itself.

use super::{Bus, Dirty, Output};
use crate::flags::Flags;
use crate::message::Header;
use crate::slots::Slot;
use crate::table::NodeKey;

impl Bus {
    /// Takes over the role that a known node claims.
    pub(super) fn learn_role(&mut self, sender: NodeKey, header: &Header) {
        let Some(primary) = &header.primary else {
            return self.turn_primary(sender);
        };
        let primary = self.table.find(primary);
        if self.node_is(sender, Flags::PRIMARY) {
            self.turn_replica(sender, primary, header);
        } else if !self.node_is(sender, Flags::REPLICA) {
            if let Some(node) = self.node_mut(sender) {
                node.flags.set(Flags::REPLICA, true);
            }
            self.changed(Dirty::Save);
        }
        self.release_unclaimed(sender, header);
        let known = self.node(sender).and_then(|node| node.primary);
        let Some(primary) = primary.filter(|key| known != Some(*key) && *key != sender) else {
            return;
        };
        let shard = self.node(primary).map(|node| node.shard);
        if let (Some(node), Some(shard)) = (self.node_mut(sender), shard) {
            node.primary = Some(primary);
            node.shard = shard;
        }
        self.changed(Dirty::Save);
        self.leave_chain();
    }

    /// A primary has become a replica.
    fn turn_replica(&mut self, sender: NodeKey, primary: Option<NodeKey>, header: &Header) {
        let same_shard = primary.is_some_and(|primary| self.same_shard(primary, sender));
        match primary.filter(|_| same_shard) {
            Some(primary) => {
                let newer = self
                    .node(sender)
                    .is_some_and(|node| node.config_epoch <= header.config_epoch);
                if newer && primary != self.myself {
                    self.turn_primary(primary);
                    if let Some(node) = self.node_mut(primary) {
                        node.config_epoch = node.config_epoch.max(header.config_epoch);
                    }
                }
            }
            None => {
                self.table.release_all(sender);
            }
        }
        if let Some(node) = self.node_mut(sender) {
            node.flags.set(Flags::PRIMARY | Flags::MIGRATE_TO, false);
            node.flags.set(Flags::REPLICA, true);
        }
        self.changed(Dirty::Save);
    }

    /// A replica serves no slot. Those that it had as a primary are still its own
    /// here until a greater epoch claims them; but what its primary does not
    /// claim either, somebody with a lesser epoch may serve.
    fn release_unclaimed(&mut self, sender: NodeKey, header: &Header) {
        let left = self.node(sender).map(|node| {
            let claimed = |slot: &Slot| header.slots.contains(*slot);
            let left = node.slots.iter().filter(|slot| !claimed(slot));
            left.collect::<Vec<_>>()
        });
        for slot in left.unwrap_or_default() {
            self.table.release(slot);
            self.changed(Dirty::Save);
        }
    }

    /// A replica has become a primary.
    pub(super) fn turn_primary(&mut self, key: NodeKey) {
        let myself = self.myself;
        let Some(node) = self.node_mut(key) else {
            return;
        };
        if node.is(Flags::PRIMARY) {
            return;
        }
        let had_primary = node.primary.take().is_some();
        node.flags.set(Flags::REPLICA, false);
        node.flags.set(Flags::PRIMARY, true);
        if had_primary && key != myself {
            node.flags.set(Flags::MIGRATE_TO, true);
        }
        self.changed(Dirty::Save);
    }

    /// A replica whose primary has become a replica follows that one's primary.
    pub(super) fn leave_chain(&mut self) {
        let Some(mine) = self.me().primary else {
            return;
        };
        let above = self.node(mine).and_then(|node| node.primary);
        if let Some(above) = above.filter(|above| *above != self.myself) {
            let same_shard = self.same_shard(above, self.myself);
            self.note("I'm a sub-replica! My primary has become a replica, and I follow its own");
            self.become_replica_of(above, true, !same_shard);
        }
    }

    /// Makes this node a replica.
    pub(super) fn become_replica_of(&mut self, primary: NodeKey, close_slots: bool, full: bool) {
        debug_assert_ne!(primary, self.myself);
        self.table.release_all(self.myself);
        if close_slots {
            self.table.migrating.clear();
            self.table.importing.clear();
        }
        let shard = self.node(primary).map(|node| node.shard);
        let me = self.me_mut();
        me.flags.set(Flags::PRIMARY | Flags::MIGRATE_TO, false);
        me.flags.set(Flags::REPLICA, true);
        me.primary = Some(primary);
        me.shard = shard.unwrap_or(me.shard);
        if full {
            // What it holds is no copy of the new primary's data.
            self.replication.synced = false;
        }
        self.follow_primary(full);
        self.reset_manual();
        self.is_succeeded();
        self.election = super::election::Election::default();
        self.changed(Dirty::Sync);
    }

    /// Tells the driver whom to replicate.
    pub(super) fn follow_primary(&mut self, full_sync: bool) {
        let primary = self.me().primary.and_then(|key| self.node(key));
        let Some(primary) = primary.filter(|node| !node.is(Flags::NOADDR)) else {
            return;
        };
        let (id, ip) = (primary.id, primary.address.ip.clone());
        let port = primary.address.port;
        if ip.is_empty() {
            return;
        }
        self.note(format!("This node replicates {id}"));
        self.emit(Output::BecomeReplicaOf {
            id,
            ip,
            port,
            full_sync,
        });
    }

    /// Makes this replica the primary of its shard, with all its slots.
    pub(super) fn replace_primary(&mut self) {
        let Some(old) = self.me().primary else { return };
        self.turn_primary(self.myself);
        self.emit(Output::BecomePrimary);
        let slots: Vec<_> = match self.node(old) {
            Some(node) => node.slots.iter().collect(),
            None => Vec::new(),
        };
        for slot in slots {
            self.table.assign(slot, self.myself);
        }
        self.changed(Dirty::Sync);
        self.update_health();
        self.tell_everyone();
        self.reset_manual();
        self.election = super::election::Election::default();
    }

    /// Takes a node out of the table, with its connections.
    pub(super) fn drop_node(&mut self, key: NodeKey) {
        if key == self.myself {
            return;
        }
        let links = self
            .node(key)
            .map(|node| [node.link, node.inbound])
            .unwrap_or_default();
        for link in links.into_iter().flatten() {
            self.close(link);
        }
        self.table.remove(key);
        self.changed(Dirty::Save);
    }
}
