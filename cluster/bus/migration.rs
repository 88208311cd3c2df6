//! Replica migration: a replica of the primary that has the most moves to a
//! primary that has lost all of its own.

use std::collections::BTreeMap;

use super::Bus;
use crate::flags::Flags;
use crate::identity::NodeId;
use crate::table::{Node, NodeKey};

/// How long a primary must have been without replicas.
const ORPHANED_MS: u64 = 5000;

/// How many working replicas each node has; those without any are left out.
type Counts = BTreeMap<NodeKey, usize>;

impl Bus {
    /// Moves to an orphaned primary if this replica is the one to do so.
    pub(super) fn run_migration(&mut self) {
        let Some(mine) = self.me().primary.filter(|_| !self.i_am_primary()) else {
            return;
        };
        if !self.options.allow_replica_migration {
            return;
        }
        let counts = self.table.working_replica_counts();
        let orphans = self.note_orphans(&counts);
        let most = self.most_replicas(&counts);
        let here = counts.get(&mine).copied().unwrap_or(0);
        let barrier = self.options.migration_barrier;
        if orphans.is_empty() || most < 2 || here != most || !self.is_healthy() {
            return;
        }
        let up = |node: &Node| !node.is(Flags::FAIL | Flags::PFAIL);
        let spare = self.table.replicas(mine).filter(|(_, node)| up(node));
        if spare.count() <= barrier || self.migrant(most, &counts) != Some(self.me().id) {
            return;
        }
        let ripe = orphans.into_iter().find(|key| {
            let since = self.node(*key).and_then(|node| node.orphaned_ms);
            since.is_some_and(|since_ms| self.now_ms - since_ms > ORPHANED_MS)
        });
        if let Some(target) = ripe {
            self.note("Moving to a primary that has lost its replicas");
            self.become_replica_of(target, true, true);
        }
    }

    /// The primaries without a working replica that should have one; notes
    /// since when.
    fn note_orphans(&mut self, counts: &Counts) -> Vec<NodeKey> {
        let now_ms = self.now_ms;
        let mut orphans = Vec::new();
        for key in self.table.keys() {
            let Some(node) = self.node_mut(key) else {
                continue;
            };
            let orphaned = node.votes()
                && !node.is(Flags::FAIL | Flags::PFAIL)
                && node.is(Flags::MIGRATE_TO)
                && !counts.contains_key(&key);
            if orphaned {
                node.orphaned_ms.get_or_insert(now_ms);
                orphans.push(key);
            } else {
                node.orphaned_ms = None;
            }
        }
        orphans
    }

    fn most_replicas(&self, counts: &Counts) -> usize {
        let leads = |key: NodeKey| {
            let node = self.node(key);
            node.is_some_and(|node| node.is(Flags::PRIMARY) && !node.is(Flags::FAIL))
        };
        let counts = counts.iter().filter(|(key, _)| leads(**key));
        counts.map(|(_, count)| *count).max().unwrap_or(0)
    }

    /// Of the replicas of primaries with the most, the one with the smallest name.
    fn migrant(&self, most: usize, counts: &Counts) -> Option<NodeId> {
        let richest = counts
            .iter()
            .filter(|(key, count)| **count == most && self.node_is(**key, Flags::PRIMARY));
        richest
            .flat_map(|(key, _)| self.table.replicas(*key))
            .filter(|(_, node)| !node.is(Flags::FAIL | Flags::PFAIL))
            .map(|(_, node)| node.id)
            .min()
    }
}
