//! Directives that are read for every command, as atomics; everything else
//! asks the configuration itself.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::config::{Config, Value, id};
use crate::eviction::{Order, Policy};
use crate::keyspace::entry::frequency;

/// How much unsent output clients of one class may have; 0 is no limit.
#[derive(Default)]
pub struct OutputLimit {
    /// Beyond this a client is closed at once.
    pub hard_bytes: AtomicU64,
    /// Beyond this for longer than `soft_seconds` likewise.
    pub soft_bytes: AtomicU64,
    /// See `soft_bytes`.
    pub soft_seconds: AtomicI64,
    /// How many clients were closed for it.
    pub closes: AtomicU64,
}

impl OutputLimit {
    fn load(&self, limit: &crate::config::value::OutputBufferLimit) {
        self.hard_bytes.store(limit.hard_bytes, Ordering::Relaxed);
        self.soft_bytes.store(limit.soft_bytes, Ordering::Relaxed);
        self.soft_seconds
            .store(limit.soft_seconds, Ordering::Relaxed);
    }
}

/// The limit of those who have none.
pub static NO_OUTPUT_LIMIT: OutputLimit = OutputLimit {
    hard_bytes: AtomicU64::new(0),
    soft_bytes: AtomicU64::new(0),
    soft_seconds: AtomicI64::new(0),
    closes: AtomicU64::new(0),
};

/// Hot copies of directives. Units as in the directives' names.
#[derive(Default)]
pub struct Settings {
    /// `proto-max-bulk-len`.
    pub proto_max_bulk_len: AtomicI64,
    /// `client-query-buffer-limit`.
    pub query_buffer_limit: AtomicU64,
    /// `client-output-buffer-limit pubsub`.
    pub pubsub_output_limit: OutputLimit,
    /// `client-output-buffer-limit normal`.
    pub normal_output_limit: OutputLimit,
    /// `maxmemory`, 0: none.
    pub maxmemory: AtomicU64,
    /// `maxmemory-clients` in bytes, 0: none.
    pub maxmemory_clients: AtomicU64,
    /// `min-replicas-to-write`, 0: none, as with a `min-replicas-max-lag` of 0.
    pub min_replicas: AtomicU64,
    policy: Mutex<Option<Policy>>,
    /// Whether uses of keys are counted (LFU), not timed.
    pub counts_uses: AtomicBool,
    /// `maxmemory-samples`.
    pub eviction_samples: AtomicU64,
    /// `maxmemory-eviction-tenacity`.
    pub eviction_tenacity: AtomicU64,
    /// `lazyfree-lazy-eviction`.
    pub lazy_eviction: AtomicBool,
    /// `timeout` in seconds, 0: none.
    pub timeout_s: AtomicI64,
    /// Bits of `notify-keyspace-events`.
    pub notify: AtomicU32,
    /// Whether `appendfsync` is `always`: replies wait for the sync.
    pub sync_always: AtomicBool,
    /// `slowlog-log-slower-than` in microseconds, -1: off.
    pub slowlog_slower_us: AtomicI64,
    /// `commandlog-request-larger-than` in bytes, -1: off.
    pub request_larger: AtomicI64,
    /// `commandlog-reply-larger-than` in bytes, -1: off.
    pub reply_larger: AtomicI64,
    /// `latency-monitor-threshold` in milliseconds, 0: off.
    pub latency_threshold_ms: AtomicI64,
    /// DEBUG SET-ACTIVE-EXPIRE.
    pub active_expire: AtomicBool,
    /// `rdb-key-save-delay` in microseconds; below zero: one for so many keys.
    pub key_save_delay_us: AtomicI64,
    /// `maxclients`.
    pub maxclients: AtomicI64,
    /// `protected-mode`.
    pub protected_mode: AtomicBool,
    /// `lazyfree-lazy-expire`: what expired is logged as UNLINK.
    pub lazy_expire: AtomicBool,
    /// `lazyfree-lazy-server-del`: what a command removes besides its purpose
    /// is logged as UNLINK.
    pub lazy_server_del: AtomicBool,
    /// `replica-read-only`.
    pub replica_read_only: AtomicBool,
    /// `replica-serve-stale-data`.
    pub serve_stale: AtomicBool,
    /// `bind-source-addr`: where connections to other servers come from.
    pub source: Mutex<Option<IpAddr>>,
    /// CONFIG SET appendonly no, which WAITAOF obeys: the log goes on.
    pub append_only_off: AtomicBool,
}

impl Settings {
    /// CONFIG RESETSTAT.
    pub fn reset_counts(&self) {
        for limit in [&self.normal_output_limit, &self.pubsub_output_limit] {
            limit.closes.store(0, Ordering::Relaxed);
        }
    }

    /// Takes all values over from the configuration.
    pub fn load(&self, config: &Config) {
        let set_i64 = |to: &AtomicI64, value: i64| to.store(value, Ordering::Relaxed);
        let set_u64 = |to: &AtomicU64, value: i64| to.store(value.max(0) as u64, Ordering::Relaxed);
        set_i64(
            &self.proto_max_bulk_len,
            config.integer(id("proto-max-bulk-len")),
        );
        set_u64(
            &self.query_buffer_limit,
            config.integer(id("client-query-buffer-limit")),
        );
        set_u64(&self.maxmemory, config.integer(id("maxmemory")));
        self.maxmemory_clients
            .store(client_bytes(config), Ordering::Relaxed);
        let lag_counts = config.integer(id("min-replicas-max-lag")) > 0;
        let min_replicas = config.integer(id("min-replicas-to-write"));
        set_u64(
            &self.min_replicas,
            if lag_counts { min_replicas } else { 0 },
        );
        set_i64(&self.timeout_s, config.integer(id("timeout")));
        set_i64(
            &self.slowlog_slower_us,
            config.integer(id("commandlog-execution-slower-than")),
        );
        set_i64(
            &self.request_larger,
            config.integer(id("commandlog-request-larger-than")),
        );
        set_i64(
            &self.reply_larger,
            config.integer(id("commandlog-reply-larger-than")),
        );
        set_i64(
            &self.latency_threshold_ms,
            config.integer(id("latency-monitor-threshold")),
        );
        set_i64(&self.maxclients, config.integer(id("maxclients")));
        set_i64(
            &self.key_save_delay_us,
            config.integer(id("rdb-key-save-delay")),
        );
        self.protected_mode
            .store(config.bool(id("protected-mode")), Ordering::Relaxed);
        self.load_replication(config);
        let always = config.string(id("appendfsync")) == "always";
        self.sync_always.store(always, Ordering::Relaxed);
        self.load_eviction(config);
        if let Value::OutputBufferLimits(limits) = config.value(id("client-output-buffer-limit")) {
            self.normal_output_limit.load(&limits[0]);
            self.pubsub_output_limit.load(&limits[2]);
        }
        let events = config.string(id("notify-keyspace-events"));
        self.notify.store(notify_bits(&events), Ordering::Relaxed);
        load_limits(config);
    }
}

impl Settings {
    fn load_replication(&self, config: &Config) {
        *self.source.lock() = config.string(id("bind-source-addr")).parse().ok();
        let set = |to: &AtomicBool, on: bool| to.store(on, Ordering::Relaxed);
        set(&self.lazy_expire, config.bool(id("lazyfree-lazy-expire")));
        set(
            &self.lazy_server_del,
            config.bool(id("lazyfree-lazy-server-del")),
        );
        set(
            &self.replica_read_only,
            config.bool(id("replica-read-only")),
        );
        set(
            &self.serve_stale,
            config.bool(id("replica-serve-stale-data")),
        );
    }

    /// The command by which the log removes what has expired.
    pub fn expire_word(&self) -> &'static [u8] {
        removal(&self.lazy_expire)
    }

    /// The command by which the log removes what a command leaves empty or
    /// replaces.
    pub fn server_del_word(&self) -> &'static [u8] {
        removal(&self.lazy_server_del)
    }

    /// `maxmemory-policy`; None is `noeviction`.
    pub fn policy(&self) -> Option<Policy> {
        *self.policy.lock()
    }

    /// The eviction clock's stamp of a use at this moment.
    #[inline]
    pub fn stamp(&self, now_ms: i64) -> u32 {
        match self.counts_uses.load(Ordering::Relaxed) {
            true => frequency::stamp(now_ms),
            false => ((now_ms / 1000) & 0xff_ffff) as u32,
        }
    }

    fn load_eviction(&self, config: &Config) {
        let policy = Policy::named(&config.string(id("maxmemory-policy")));
        *self.policy.lock() = policy;
        let counts = policy.is_some_and(|policy| policy.order == Order::LeastFrequent);
        self.counts_uses.store(counts, Ordering::Relaxed);
        let samples = config.integer(id("maxmemory-samples")).max(1) as u64;
        self.eviction_samples.store(samples, Ordering::Relaxed);
        let tenacity = config.integer(id("maxmemory-eviction-tenacity")).max(0) as u64;
        self.eviction_tenacity.store(tenacity, Ordering::Relaxed);
        let lazy = config.bool(id("lazyfree-lazy-eviction"));
        self.lazy_eviction.store(lazy, Ordering::Relaxed);
    }
}

fn removal(lazy: &AtomicBool) -> &'static [u8] {
    match lazy.load(Ordering::Relaxed) {
        true => b"UNLINK",
        false => b"DEL",
    }
}

/// The least that `maxmemory-clients` comes to, if it is set: under less not even
/// the one who sets it right again could be heard.
const LEAST_CLIENT_BYTES: u64 = 128 << 10;

/// `maxmemory-clients` in bytes.
fn client_bytes(config: &Config) -> u64 {
    let maxmemory = config.integer(id("maxmemory")).max(0) as u64;
    let bytes = match config.value(id("maxmemory-clients")) {
        Value::Percent(percent @ 1..) if maxmemory != 0 => {
            (u128::from(maxmemory) * u128::from(*percent) / 100) as u64
        }
        Value::Memory(bytes @ 1..) => *bytes,
        _ => return 0,
    };
    bytes.max(LEAST_CLIENT_BYTES)
}

/// Bits of `K` and `E` in [`Settings::notify`].
pub const NOTIFY_KEYSPACE: u32 = 1;
/// See [`NOTIFY_KEYSPACE`].
pub const NOTIFY_KEYEVENT: u32 = 2;

/// The bits for a value of `notify-keyspace-events`. Source: its documentation.
pub fn notify_bits(events: &str) -> u32 {
    use crate::keyspace::recorder::class;
    let all = class::GENERIC
        | class::STRING
        | class::LIST
        | class::SET
        | class::HASH
        | class::ZSET
        | class::EXPIRED
        | class::EVICTED
        | class::STREAM;
    events.chars().fold(0, |bits, letter| {
        bits | match letter {
            'K' => NOTIFY_KEYSPACE,
            'E' => NOTIFY_KEYEVENT,
            'A' => all,
            'g' => class::GENERIC,
            '$' => class::STRING,
            'l' => class::LIST,
            's' => class::SET,
            'h' => class::HASH,
            'z' => class::ZSET,
            'x' => class::EXPIRED,
            'e' => class::EVICTED,
            't' => class::STREAM,
            'm' => class::KEY_MISS,
            'n' => class::NEW,
            _ => 0,
        }
    })
}

fn load_limits(config: &Config) {
    use crate::keyspace::limits::LIMITS;
    let set = |to: &std::sync::atomic::AtomicUsize, name| {
        let found = crate::config::table::find(name).expect("a directive of the table");
        to.store(config.integer(found).max(0) as usize, Ordering::Relaxed);
    };
    set(
        &LIMITS.hash_max_listpack_entries,
        b"hash-max-listpack-entries",
    );
    set(&LIMITS.hash_max_listpack_value, b"hash-max-listpack-value");
    set(&LIMITS.set_max_intset_entries, b"set-max-intset-entries");
    set(
        &LIMITS.set_max_listpack_entries,
        b"set-max-listpack-entries",
    );
    set(&LIMITS.set_max_listpack_value, b"set-max-listpack-value");
    set(
        &LIMITS.zset_max_listpack_entries,
        b"zset-max-listpack-entries",
    );
    set(&LIMITS.zset_max_listpack_value, b"zset-max-listpack-value");
    set(&LIMITS.stream_node_max_bytes, b"stream-node-max-bytes");
    set(&LIMITS.stream_node_max_entries, b"stream-node-max-entries");
    set(&LIMITS.hll_sparse_max_bytes, b"hll-sparse-max-bytes");
    set(&LIMITS.list_compress_depth, b"list-compress-depth");
    set(&LIMITS.lfu_log_factor, b"lfu-log-factor");
    set(&LIMITS.lfu_decay_minutes, b"lfu-decay-time");
    let list = config.integer(id("list-max-listpack-size"));
    LIMITS
        .list_max_listpack_size
        .store(list as _, Ordering::Relaxed);
}
