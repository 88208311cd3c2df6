//! Whether the cluster can be used, as this node sees it: every slot has an
//! owner that has not failed, and this node is with the majority.

use super::Bus;
use crate::flags::Flags;

/// A primary that comes up waits this long before it serves: others may know
/// better who owns its slots.
const STARTUP_MS: u64 = 2000;
/// After a partition heals it waits for the node timeout, within these bounds.
const REJOIN_MIN_MS: u64 = 500;
const REJOIN_MAX_MS: u64 = 5000;

/// The cluster's state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Health {
    /// It serves.
    Ok,
    /// It does not.
    Fail,
}

#[derive(Debug)]
pub(super) struct State {
    health: Health,
    started_ms: u64,
    minority_ms: Option<u64>,
}

impl State {
    pub(super) fn new(now_ms: u64) -> State {
        State {
            health: Health::Fail,
            started_ms: now_ms,
            minority_ms: None,
        }
    }
}

impl Bus {
    /// The cluster's state.
    pub fn health(&self) -> Health {
        self.health.health
    }

    /// Whether the cluster serves.
    pub fn is_healthy(&self) -> bool {
        self.health.health == Health::Ok
    }

    /// Finds out the state anew.
    pub(super) fn update_health(&mut self) {
        self.state_may_change = false;
        let down = !self.is_healthy();
        let primary = self.i_am_primary();
        if primary && down && self.now_ms - self.health.started_ms < STARTUP_MS {
            return;
        }
        let covered = !self.options.require_full_coverage || self.table.is_covered();
        let voters = self.table.iter().filter(|(_, node)| node.votes());
        let reachable = voters
            .filter(|(_, node)| !node.is(Flags::FAIL | Flags::PFAIL))
            .count();
        // Before there is any primary with slots there is no side to be on.
        let minority = self.size() != 0 && reachable < self.majority();
        if minority {
            self.health.minority_ms = Some(self.now_ms);
        }
        let health = match covered && !minority {
            true => Health::Ok,
            false => Health::Fail,
        };
        if health == self.health.health {
            return;
        }
        let rejoin_ms = self
            .options
            .node_timeout_ms
            .clamp(REJOIN_MIN_MS, REJOIN_MAX_MS);
        let fresh = |at_ms: u64| self.now_ms - at_ms < rejoin_ms;
        if health == Health::Ok && primary && self.health.minority_ms.is_some_and(fresh) {
            return;
        }
        self.health.health = health;
        self.version += 1;
        self.note(match health {
            // What client libraries' tests wait for in the log.
            Health::Ok => "Cluster state changed: ok",
            Health::Fail => "Cluster state changed: fail",
        });
    }
}
