//! A simulated server: the real state machine, a disk that forgets what was
//! not synced, a skewed clock, and a model of replication.

use redoubt_cluster::bus::{Bus, Options, Replication};
use redoubt_cluster::message::Address;

/// Node timeout of all nodes.
pub const NODE_TIMEOUT_MS: u64 = 1000;

/// What is on the disk.
#[derive(Default)]
pub struct Disk {
    /// Outlives a crash.
    pub synced: String,
    /// May not.
    pub written: String,
}

/// Whom a node replicates, as its state machine told.
#[derive(Clone, Copy, Default)]
pub struct Copying {
    /// The node's number.
    pub from: usize,
    /// When the whole copy is there, if one is needed.
    pub full_until_ms: Option<u64>,
}

/// A server.
pub struct Node {
    pub number: usize,
    /// None while it is down.
    pub bus: Option<Bus>,
    pub disk: Disk,
    /// What its clock shows beyond the world's, at most a few seconds.
    pub skew_ms: u64,
    /// Until when the process is stopped.
    pub paused_until_ms: u64,
    /// Counts its starts, so that what was meant for an earlier one is dropped.
    pub life: u64,
    pub inbound_links: u64,
    /// Its data: the numbers of the writes it holds.
    pub data: Vec<u64>,
    pub copying: Option<Copying>,
    pub synced: bool,
    pub heard_ms: u64,
    /// Whether it was to hold back writes.
    pub writes_paused: bool,
}

impl Node {
    /// A server that has never run.
    pub fn new(number: usize, skew_ms: u64) -> Node {
        Node {
            number,
            bus: None,
            disk: Disk::default(),
            skew_ms,
            paused_until_ms: 0,
            life: 0,
            inbound_links: 0,
            data: Vec::new(),
            copying: None,
            synced: false,
            heard_ms: 0,
            writes_paused: false,
        }
    }

    /// Its address.
    pub fn ip(number: usize) -> String {
        format!(
            "10.{}.{}.{}",
            number / 65536,
            number / 256 % 256,
            number % 256
        )
    }

    /// Its directives.
    pub fn options(&self, timeout_ms: u64) -> Options {
        let mut options = Options {
            node_timeout_ms: timeout_ms,
            ping_replica_period_ms: 1000,
            replica_validity_factor: 5,
            ..Options::default()
        };
        options.announced.address = Address {
            ip: String::new(),
            port: 6379,
            tls_port: 0,
            bus_port: 16379,
        };
        options
    }

    /// How its replication stands, by its own clock.
    pub fn replication(&self) -> Replication {
        Replication {
            offset: self.data.len() as u64,
            synced: self.synced,
            heard_ms: self.heard_ms + self.skew_ms,
        }
    }
}
