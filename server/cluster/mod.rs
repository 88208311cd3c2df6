//! Cluster mode: the bus's state machine, shared by its thread and by the
//! commands, and what follows from it for clients and keys.
//!
//! Whoever changes the state machine carries out its outputs before letting
//! go of it: the file is written at once, so a vote is on disk before it is
//! sent; packets go to the bus's thread (`runtime/bus.rs`), what touches keys
//! or clients to a thread of its own, so that neither waits for the other.

pub mod describe;
pub mod effects;
pub mod file;
pub mod keys;
pub mod migration;
pub mod options;
pub mod queues;
pub mod replicate;
pub mod route;
pub mod settled;
pub mod slot_order;
pub mod slot_stats;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use redoubt_cluster::bus::{Bus, Input, Output, Replication};
use redoubt_cluster::message::LARGEST_PLAIN;
use redoubt_cluster::slots::{SLOT_COUNT, Slot};
use redoubt_cluster::table::LinkId;
use tokio::sync::mpsc::UnboundedSender;

use crate::state::unix_ms;
use effects::Effect;
use file::NodesFile;

/// What the bus's thread has to do.
#[derive(Debug)]
pub enum Wire {
    /// Connect to a node.
    Connect {
        /// The connection's number.
        link: LinkId,
        /// IP address.
        ip: String,
        /// Port.
        port: u16,
    },
    /// Close a connection.
    Close(LinkId),
    /// Send a packet.
    Send(LinkId, Arc<[u8]>),
}

/// How a slot stands, for a look without a lock.
mod slot {
    /// It needs a closer look.
    pub const LOOK: u8 = 0;
    /// It is this node's, it is not on the move, and the cluster is up.
    pub const MINE: u8 = 1;
    /// It is another node's, and what this node has of its keys is not shown.
    pub const FOREIGN: u8 = 2;
}

/// A node of a cluster.
pub struct Cluster {
    bus: Mutex<Bus>,
    file: NodesFile,
    slots: Box<[AtomicU8]>,
    wire: UnboundedSender<Wire>,
    effects: std::sync::mpsc::Sender<Effect>,
    version: AtomicU64,
    timeout_changed: tokio::sync::Notify,
    replication: Mutex<Replication>,
    /// `cluster-allow-reads-when-down`.
    pub(crate) reads_when_down: AtomicBool,
    /// `cluster-allow-pubsubshard-when-down`.
    pub(crate) pubsub_when_down: AtomicBool,
    /// `cluster-preferred-endpoint-type`.
    pub(crate) endpoint: AtomicU8,
    began: (i64, Instant),
    /// Bytes received on the bus.
    pub bytes_received: AtomicU64,
    /// What a packet with a message for subscribers may have: two arguments of
    /// `proto-max-bulk-len`.
    pub largest_packet: AtomicUsize,
    /// As a replica: whether there is a whole copy of the primary's data.
    copy_is_whole: AtomicBool,
    /// What waits to be sent on the bus.
    pub queues: queues::LinkQueues,
    /// Atomic slot migrations.
    pub migrations: migration::Migrations,
    /// CLUSTER SLOT-STATS.
    pub slot_stats: slot_stats::SlotStats,
}

/// The ends of the channels that the threads of the cluster read.
pub struct Queues {
    /// For the bus's thread.
    pub wire: tokio::sync::mpsc::UnboundedReceiver<Wire>,
    /// For the thread of effects.
    pub effects: std::sync::mpsc::Receiver<Effect>,
}

impl Cluster {
    /// A node that starts from its file. The error is for the operator.
    pub fn open(config: &crate::config::Config) -> Result<(Cluster, Queues), String> {
        let file = NodesFile::open(config)?;
        let saved = file.read()?;
        let began = (unix_ms(), Instant::now());
        let bus = Bus::new(
            options::of(config),
            saved.as_deref(),
            fastrand::u64(..),
            began.0 as u64,
        )
        .map_err(|why| format!("Unrecoverable error: corrupted cluster config file: {why}"))?;
        tracing::info!("This node is {}", bus.me().id);
        let (wire, wire_end) = tokio::sync::mpsc::unbounded_channel();
        let (effects, effects_end) = std::sync::mpsc::channel();
        let cluster = Cluster {
            bus: Mutex::new(bus),
            file,
            slots: (0..SLOT_COUNT).map(|_| AtomicU8::new(slot::LOOK)).collect(),
            wire,
            effects,
            version: AtomicU64::new(u64::MAX),
            timeout_changed: tokio::sync::Notify::new(),
            replication: Mutex::default(),
            reads_when_down: AtomicBool::new(false),
            pubsub_when_down: AtomicBool::new(true),
            endpoint: AtomicU8::new(0),
            began,
            bytes_received: AtomicU64::new(0),
            largest_packet: AtomicUsize::new(0),
            copy_is_whole: AtomicBool::new(false),
            queues: queues::LinkQueues::default(),
            migrations: migration::Migrations::default(),
            slot_stats: slot_stats::SlotStats::default(),
        };
        cluster.configure(config);
        let queues = Queues {
            wire: wire_end,
            effects: effects_end,
        };
        Ok((cluster, queues))
    }

    /// Unix time that never jumps, in milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.began.0 as u64 + self.began.1.elapsed().as_millis() as u64
    }

    /// Takes over changed directives.
    pub fn configure(&self, config: &crate::config::Config) {
        let set =
            |to: &AtomicBool, name| to.store(config.bool(options::id(name)), Ordering::Relaxed);
        set(&self.reads_when_down, "cluster-allow-reads-when-down");
        set(
            &self.pubsub_when_down,
            "cluster-allow-pubsubshard-when-down",
        );
        let limit = config.integer(options::id("cluster-link-sendbuf-limit"));
        self.queues
            .limit
            .store(limit.max(0) as usize, Ordering::Relaxed);
        let bulk = config.integer(options::id("proto-max-bulk-len")).max(0) as usize;
        self.largest_packet.store(
            bulk.saturating_mul(2).saturating_add(LARGEST_PLAIN),
            Ordering::Relaxed,
        );
        let endpoint = config.string(options::id("cluster-preferred-endpoint-type"));
        let endpoint = match &*endpoint {
            "hostname" => describe::HOST_NAME,
            "unknown-endpoint" => describe::UNKNOWN,
            _ => describe::IP,
        };
        self.endpoint.store(endpoint, Ordering::Relaxed);
        let counts = config.bool(options::id("cluster-slot-stats-enabled"));
        if self.slot_stats.set(counts) {
            self.read(|bus| self.slot_stats.follow(|slot| bus.table().owner(slot)));
        }
        let wanted = options::of(config);
        self.with(|bus, now_ms| bus.set_options(now_ms, wanted));
    }

    /// Lets `order` change the state machine, then carries out what follows.
    pub fn with<T>(&self, order: impl FnOnce(&mut Bus, u64) -> T) -> T {
        let mut bus = self.bus.lock();
        let before_ms = bus.poll_timeout();
        let now_ms = self.now_ms();
        let result = order(&mut bus, now_ms);
        while let Some(output) = bus.poll_output() {
            self.carry_out(output);
        }
        if self.version.swap(bus.version(), Ordering::Relaxed) != bus.version() {
            self.refresh(&bus);
        }
        if bus.poll_timeout() < before_ms {
            self.timeout_changed.notify_one();
        }
        result
    }

    /// Gives an order of the operator.
    pub fn order<T>(&self, order: impl FnOnce(&mut Bus) -> T) -> T {
        self.with(|bus, now_ms| bus.order(now_ms, order))
    }

    /// Tells when that has happened which orders so far bring about.
    pub fn outcome(&self) -> tokio::sync::oneshot::Receiver<()> {
        let (told, outcome) = tokio::sync::oneshot::channel();
        let _ = self.effects.send(Effect::Told(told));
        outcome
    }

    /// Lets `look` read the state machine.
    pub fn read<T>(&self, look: impl FnOnce(&Bus) -> T) -> T {
        look(&self.bus.lock())
    }

    /// Tells the state machine what happened.
    pub fn handle(&self, input: Input<'_>) {
        self.with(|bus, now_ms| bus.handle(now_ms, input));
    }

    /// Tells it that time has passed, and how replication stands.
    pub fn tick(&self) {
        let replication = *self.replication.lock();
        self.with(|bus, now_ms| {
            bus.handle(now_ms, Input::Replication(replication));
            bus.handle(now_ms, Input::Tick);
        });
    }

    /// How replication stands; told with the next tick.
    pub fn set_replication(&self, replication: Replication) {
        *self.replication.lock() = replication;
    }

    /// Milliseconds until [`Cluster::tick`] is due, and what tells of an
    /// earlier time.
    pub fn timeout(&self) -> (u64, &tokio::sync::Notify) {
        let due_ms = self.bus.lock().poll_timeout();
        (due_ms.saturating_sub(self.now_ms()), &self.timeout_changed)
    }

    fn carry_out(&self, output: Output) {
        let send = |wire| {
            // The bus's thread lives as long as the server.
            let _ = self.wire.send(wire);
        };
        match output {
            Output::Persist { text, sync } => self.file.write(&text, sync),
            Output::Connect { link, ip, port } => send(Wire::Connect { link, ip, port }),
            Output::Close(link) => send(Wire::Close(link)),
            Output::Send(link, packet) => send(Wire::Send(link, packet)),
            Output::Note(text) => tracing::info!("cluster: {text}"),
            other => {
                if let Output::DeleteKeys(slots) = &other {
                    self.migrations.will_delete(slots);
                }
                if let Some(effect) = Effect::of(other) {
                    let _ = self.effects.send(effect);
                }
            }
        }
    }

    /// Brings what is looked at without a lock up to date.
    fn refresh(&self, bus: &Bus) {
        let mine = bus.is_healthy() && bus.me().is(redoubt_cluster::flags::Flags::PRIMARY);
        let table = bus.table();
        self.slot_stats.follow(|slot| table.owner(slot));
        for number in 0..SLOT_COUNT {
            let Some(at) = Slot::new(number as u16) else {
                continue;
            };
            let importing = table.importing.contains_key(&at);
            let owner = table.owner(at);
            let stable = owner == Some(bus.myself())
                && !table.migrating.contains_key(&at)
                && !importing
                && !self.migrations.is_paused(at);
            let foreign = !importing && owner.is_some_and(|owner| owner != bus.shard_primary());
            let state = match (mine && stable, foreign) {
                (true, _) => slot::MINE,
                (_, true) => slot::FOREIGN,
                _ => slot::LOOK,
            };
            self.slots[number].store(state, Ordering::Release);
        }
        let _ = self.effects.send(Effect::Changed);
    }

    /// The same without a change of the state machine.
    fn refresh_slots(&self) {
        self.refresh(&self.bus.lock());
    }

    /// Whether a slot is another node's, and not being imported by hand: what
    /// this node has of its keys is not for clients.
    #[inline]
    pub fn is_foreign(&self, number: u16) -> bool {
        self.slots[usize::from(number)].load(Ordering::Acquire) == slot::FOREIGN
    }

    /// Whether a slot is this node's without further questions.
    #[inline]
    pub fn is_plainly_mine(&self, number: u16) -> bool {
        self.slots[usize::from(number)].load(Ordering::Acquire) == slot::MINE
    }
}
