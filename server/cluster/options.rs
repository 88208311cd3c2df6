//! From directives to the bus's options.

use redoubt_cluster::bus::{Announced, Options};
use redoubt_cluster::message::Address;

use crate::config::Config;

/// Distance of the bus's port from the clients'.
const BUS_PORT_DISTANCE: u16 = 10_000;

/// The directive of this name.
pub fn id(name: &str) -> crate::config::DirectiveId {
    crate::config::id(name)
}

/// The port of the bus.
pub fn bus_port(config: &Config) -> u16 {
    let port = config.integer(id("port")) as u16;
    match config.integer(id("cluster-port")) as u16 {
        0 => port.saturating_add(BUS_PORT_DISTANCE),
        explicit => explicit,
    }
}

/// The bus's options.
pub fn of(config: &Config) -> Options {
    let positive = |name: &str| config.integer(id(name)).max(0) as u64;
    let text = |name: &str| config.string(id(name)).into_owned();
    let port_or = |name: &str, other: u16| match config.integer(id(name)) as u16 {
        0 => other,
        announced => announced,
    };
    let port = port_or("cluster-announce-port", config.integer(id("port")) as u16);
    Options {
        node_timeout_ms: positive("cluster-node-timeout").max(1),
        ping_interval_ms: positive("cluster-ping-interval"),
        replica_validity_factor: positive("cluster-replica-validity-factor"),
        ping_replica_period_ms: positive("repl-ping-replica-period") * 1000,
        require_full_coverage: config.bool(id("cluster-require-full-coverage")),
        allow_replica_migration: config.bool(id("cluster-allow-replica-migration")),
        migration_barrier: positive("cluster-migration-barrier") as usize,
        replica_no_failover: config.bool(id("cluster-replica-no-failover")),
        manual_failover_timeout_ms: positive("cluster-manual-failover-timeout"),
        blacklist_ttl_ms: positive("cluster-blacklist-ttl").saturating_mul(1000),
        suspect_refused: config.bool(id("cluster-suspect-refused")),
        announced: Announced {
            address: Address {
                ip: text("cluster-announce-ip"),
                port,
                tls_port: 0,
                bus_port: port_or("cluster-announce-bus-port", bus_port(config)),
            },
            host_name: text("cluster-announce-hostname"),
            human_name: text("cluster-announce-human-nodename"),
            client_ipv4: text("cluster-announce-client-ipv4"),
            client_ipv6: text("cluster-announce-client-ipv6"),
            zone: text("availability-zone"),
        },
    }
}
