//! The state that all workers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use parking_lot::RwLock;
use redoubt_persistence::log::Log;

use crate::config::Config;
use crate::connection::blocking::Blocked;
use crate::connection::client::Clients;
use crate::connection::pubsub::PubSub;
use crate::connection::watch::Watches;
use crate::keyspace::Keyspace;
use crate::runtime::durable::Durable;
use crate::settings::Settings;
use crate::stats::Stats;
pub use crate::storage::Storage;

/// The version of the protocol that clients are promised.
pub const REDIS_VERSION: &str = "7.2.4";

/// The version of Valkey whose commands and answers these are.
pub const VALKEY_VERSION: &str = "9.1.2";

/// The server.
pub struct Server {
    /// All keys.
    pub keyspace: Keyspace,
    /// All directives.
    pub config: RwLock<Config>,
    /// The directives that the hot path reads.
    pub settings: Settings,
    /// Log and tree; those of a pure cache are made once it takes part in
    /// replication. See [`Server::storage`] for those that are kept.
    pub any_storage: std::sync::OnceLock<Storage>,
    /// CONFIG SET appendonly has made a pure cache keep what it has, which is
    /// not done yet.
    pub begins_to_keep: AtomicBool,
    /// Its part in replication.
    pub replication: crate::replication::Replication,
    /// Users and their rights.
    pub acl: crate::acl::Acl,
    /// Connected clients.
    pub clients: Clients,
    /// Subscriptions.
    pub pubsub: PubSub,
    /// Blocked clients.
    pub blocked: Blocked,
    /// Scripts and functions.
    pub scripting: crate::scripting::Scripting,
    /// What clients' buffers take.
    pub client_memory: crate::connection::memory::ClientMemory,
    /// Keys that clients hold in caches of their own.
    pub tracking: crate::tracking::Tracking,
    /// Watched keys.
    pub watches: Watches,
    /// The node of a cluster that this server is, if it is one.
    pub cluster: Option<crate::cluster::Cluster>,
    /// Connections to where MIGRATE has moved keys.
    pub migrate_links: crate::commands::cluster::migrate_links::MigrateLinks,
    /// Counters.
    pub stats: Stats,
    /// Keys that go for want of memory.
    pub eviction: crate::eviction::Eviction,
    /// Values that are in the tree only.
    pub cold_reads: crate::cold_reads::ColdReads,
    /// Whether storage takes writes.
    pub health: crate::health::Health,
    /// Where clients connect to.
    pub listening: crate::runtime::listening::Listening,
    /// Snapshot files.
    pub saves: crate::saves::Saves,
    /// Clients in MONITOR mode.
    pub monitors: RwLock<Vec<Arc<crate::connection::client::Client>>>,
    /// Whether there is any.
    pub monitored: AtomicBool,
    /// What waits, and until when.
    pub pauses: crate::connection::pause::Pauses,
    /// Grows whenever what a command was let pass by does not hold any more: the
    /// role has changed, or a pause has begun.
    pub gate_version: AtomicU64,
    /// Rung when a pause ends early or the server shuts down.
    pub unpaused: tokio::sync::Notify,
    /// Random name of this run (INFO run_id).
    pub run_id: String,
    /// When it started.
    pub started: Instant,
    /// When it started, Unix ms.
    pub started_ms: i64,
    /// The configuration file's absolute path, if there is one.
    pub config_file: Option<std::path::PathBuf>,
    /// The shutdown that was asked for, if any.
    pub shutdown: crate::shutdown::Shutdown,
    /// The log offset that the tree has applied (for INFO).
    pub applied: AtomicU64,
    /// The log is being replayed, or a file loaded.
    pub loading: AtomicBool,
    /// That is the start's doing, see [`connection::starting`](crate::connection::starting).
    /// Only then, and until its end, is `loading` set with it.
    pub starting: AtomicBool,
    /// Set before the log refuses what comes: no reply leaves any more.
    pub closing: AtomicBool,
    /// Where connections wait for a sync of the log.
    pub durable: Durable,
}

/// Unix time in milliseconds.
pub fn unix_ms() -> i64 {
    unix_nanos() / 1_000_000
}

/// Unix time in nanoseconds.
pub fn unix_nanos() -> i64 {
    let elapsed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(elapsed.as_nanos()).unwrap_or(i64::MAX)
}

/// Forty random hexadecimal digits, as run and replication ids are.
pub fn random_id() -> String {
    (0..40)
        .map(|_| char::from(b"0123456789abcdef"[fastrand::usize(..16)]))
        .collect()
}

impl Server {
    /// A server that has loaded nothing yet.
    pub fn new(
        config: Config,
        config_file: Option<std::path::PathBuf>,
        storage: Option<Storage>,
        workers: usize,
    ) -> Server {
        let databases = match config.bool(crate::config::id("cluster-enabled")) {
            true => "cluster-databases",
            false => "databases",
        };
        let databases = config.integer(crate::config::id(databases)).max(1) as u32;
        let settings = Settings::default();
        settings.active_expire.store(true, Ordering::Relaxed);
        settings.load(&config);
        Server {
            keyspace: Keyspace::new(databases),
            config: RwLock::new(config),
            settings,
            any_storage: storage.map_or_else(Default::default, Into::into),
            begins_to_keep: AtomicBool::new(false),
            replication: Default::default(),
            acl: crate::acl::Acl::default(),
            clients: Clients::default(),
            pubsub: PubSub::default(),
            blocked: Blocked::default(),
            scripting: Default::default(),
            client_memory: Default::default(),
            tracking: Default::default(),
            watches: Watches::default(),
            cluster: None,
            migrate_links: Default::default(),
            stats: Stats::new(crate::commands::table::table().all().len()),
            eviction: Default::default(),
            cold_reads: Default::default(),
            health: Default::default(),
            listening: Default::default(),
            saves: crate::saves::Saves::default(),
            monitors: RwLock::new(Vec::new()),
            monitored: AtomicBool::new(false),
            pauses: Default::default(),
            gate_version: AtomicU64::new(0),
            unpaused: tokio::sync::Notify::new(),
            run_id: random_id(),
            started: Instant::now(),
            started_ms: unix_ms(),
            config_file,
            shutdown: Default::default(),
            applied: AtomicU64::new(0),
            loading: AtomicBool::new(false),
            starting: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            durable: Durable::new(workers),
        }
    }

    /// Log and tree, if there are any, be it for replication only.
    #[inline]
    pub fn any_storage(&self) -> Option<&Storage> {
        self.any_storage.get()
    }

    /// Log and tree that outlast the process; a pure cache has none.
    #[inline]
    pub fn storage(&self) -> Option<&Storage> {
        self.any_storage().filter(|storage| storage.is_kept())
    }

    /// The log, when there is one.
    #[inline]
    pub fn log(&self) -> Option<&Arc<Log>> {
        self.any_storage().map(|storage| &storage.log)
    }

    /// The log, if this server's own effects go there: a replica's log holds
    /// what its primary says and nothing else.
    #[inline]
    pub fn own_log(&self) -> Option<&Arc<Log>> {
        match self.replication.is_replica() {
            true => None,
            false => self.log(),
        }
    }

    /// Whether what the log has on disk counts for WAITAOF: not that of a pure
    /// cache, which is gone with its process, nor once `appendonly` has been
    /// turned off.
    pub fn counts_as_on_disk(&self) -> bool {
        self.storage().is_some() && !self.settings.append_only_off.load(Ordering::Relaxed)
    }

    /// Whether it counts, or is going to.
    pub fn will_count_as_on_disk(&self) -> bool {
        self.begins_to_keep.load(Ordering::Acquire) || self.counts_as_on_disk()
    }

    /// Counts the replicas that `min-replicas-to-write` asks for.
    pub fn count_good_replicas(&self) {
        const LAG: crate::config::DirectiveId = crate::config::id("min-replicas-max-lag");
        let lag_s = self.config.read().integer(LAG).max(0) as u64;
        let now_ms = self.replication.now_ms();
        self.replication.replicas.count_good(now_ms, lag_s);
    }

    /// Whether the log has failed or waits for space; cheap.
    pub fn log_in_trouble(&self) -> bool {
        self.log()
            .is_some_and(|log| log.is_short_of_space() || log.failure().is_some())
    }

    /// Bytes of the log that the tree has not taken over.
    pub fn tree_lag(&self, storage: &Storage) -> u64 {
        let applied = self.applied.load(Ordering::Relaxed);
        storage.log.end().0.saturating_sub(applied)
    }

    /// Notes in ACL LOG what a client was refused, as `user` or as who it is.
    pub fn note_denied(
        &self,
        what: (crate::acl::log::Reason, crate::acl::log::Place),
        session: &crate::connection::session::Session,
        user: Option<&[u8]>,
        object: &[u8],
    ) {
        let mut line = Vec::new();
        crate::connection::listing::describe(&session.client, unix_ms(), &mut line);
        let own = session.user.as_ref().map(|user| user.name.as_slice());
        let user = user.or(own).unwrap_or_default();
        let most = self
            .config
            .read()
            .integer(crate::config::id("acllog-max-len"));
        let most = usize::try_from(most).unwrap_or(0);
        self.acl.log.add(what, user, object, line, most);
    }
}
