//! The directives that the bus obeys, and what this node tells of itself.

use super::Bus;
use crate::flags::Flags;
use crate::message::{Address, is_plain};
use crate::table::Node;

/// Bytes.
const LONGEST_ZONE: usize = 255;

/// What this node announces; texts may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    /// Where it can be reached; an empty IP lets others take the socket's.
    pub address: Address,
    /// `cluster-announce-hostname`.
    pub host_name: String,
    /// `cluster-announce-human-nodename`.
    pub human_name: String,
    /// `cluster-announce-client-ipv4`.
    pub client_ipv4: String,
    /// `cluster-announce-client-ipv6`.
    pub client_ipv6: String,
    /// `availability-zone`. One that `nodes.conf` can't hold, or that is longer
    /// than a host name may be, is not told.
    pub zone: String,
}

/// Directives of the same names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// `cluster-node-timeout`.
    pub node_timeout_ms: u64,
    /// `cluster-ping-interval`; 0: half the node timeout.
    pub ping_interval_ms: u64,
    /// `cluster-replica-validity-factor`; 0: any age will do.
    pub replica_validity_factor: u64,
    /// `repl-ping-replica-period`.
    pub ping_replica_period_ms: u64,
    /// `cluster-require-full-coverage`.
    pub require_full_coverage: bool,
    /// `cluster-allow-replica-migration`.
    pub allow_replica_migration: bool,
    /// `cluster-migration-barrier`.
    pub migration_barrier: usize,
    /// `cluster-replica-no-failover`.
    pub replica_no_failover: bool,
    /// `cluster-manual-failover-timeout`.
    pub manual_failover_timeout_ms: u64,
    /// `cluster-blacklist-ttl`.
    pub blacklist_ttl_ms: u64,
    /// Whether a host that refuses connections makes its node suspect at once.
    pub suspect_refused: bool,
    /// `cluster-announce-…`.
    pub announced: Announced,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            node_timeout_ms: 15_000,
            ping_interval_ms: 0,
            replica_validity_factor: 10,
            ping_replica_period_ms: 10_000,
            require_full_coverage: true,
            allow_replica_migration: true,
            migration_barrier: 1,
            replica_no_failover: false,
            manual_failover_timeout_ms: 5_000,
            blacklist_ttl_ms: 60_000,
            suspect_refused: true,
            announced: Announced::default(),
        }
    }
}

impl Bus {
    /// Takes over changed directives.
    pub fn set_options(&mut self, now_ms: u64, options: Options) {
        self.advance(now_ms);
        if self.options == options {
            return;
        }
        self.options = options;
        self.announce_myself();
        self.state_may_change = true;
        self.finish();
    }

    /// Puts what is announced into this node's entry of the table.
    pub(super) fn announce_myself(&mut self) {
        let announced = self.options.announced.clone();
        let no_failover = self.options.replica_no_failover;
        let me = self.me_mut();
        let said = |me: &Node| {
            let texts = (me.host_name.clone(), me.zone.clone());
            (me.address.clone(), texts, me.flags)
        };
        let before = said(me);
        let ip = match announced.address.ip.is_empty() {
            true => me.address.ip.clone(),
            false => announced.address.ip.clone(),
        };
        me.address = Address {
            ip,
            ..announced.address
        };
        me.host_name = announced.host_name;
        me.human_name = announced.human_name;
        me.client_ipv4 = announced.client_ipv4;
        me.client_ipv6 = announced.client_ipv6;
        me.zone = announced.zone;
        if me.zone.len() > LONGEST_ZONE || !is_plain(me.zone.as_bytes()) {
            me.zone.clear();
        }
        me.flags.set(Flags::NOFAILOVER, no_failover);
        me.flags.set(Flags::LIGHT_HEADER, true);
        if before != said(me) {
            self.changed(super::Dirty::Save);
        }
    }
}
