//! What a command did to the keyspace, noted by the keyspace itself; the
//! dispatcher turns it into log effects, notifications, WATCH invalidation
//! and wake-ups of blocked clients.

/// The classes of keyspace notifications, as bits. Source: the documentation
/// of `notify-keyspace-events`.
pub mod class {
    /// `g`: generic commands.
    pub const GENERIC: u32 = 1 << 2;
    /// `$`: strings.
    pub const STRING: u32 = 1 << 3;
    /// `l`: lists.
    pub const LIST: u32 = 1 << 4;
    /// `s`: sets.
    pub const SET: u32 = 1 << 5;
    /// `h`: hashes.
    pub const HASH: u32 = 1 << 6;
    /// `z`: sorted sets.
    pub const ZSET: u32 = 1 << 7;
    /// `x`: keys that expired.
    pub const EXPIRED: u32 = 1 << 8;
    /// `e`: keys that were evicted.
    pub const EVICTED: u32 = 1 << 9;
    /// `t`: streams.
    pub const STREAM: u32 = 1 << 10;
    /// `m`: look-ups that found no key.
    pub const KEY_MISS: u32 = 1 << 11;
    /// `n`: keys that were made.
    pub const NEW: u32 = 1 << 14;
}

/// The event of a stream's group that is gone: who waits for it as a member has
/// to know.
pub const GROUP_DESTROYED: &str = "xgroup-destroy";

/// One key that changed, or an event about it.
#[derive(Debug)]
pub struct Change {
    /// Bit of the notification class.
    pub class: u32,
    /// The event's name in notifications.
    pub event: &'static str,
    /// Logical database.
    pub db: u32,
    /// The key.
    pub key: Box<[u8]>,
    /// Whether the key itself changed (false: only something about it is
    /// told, such as a miss).
    pub changed: bool,
}

/// What was removed because it had expired: a key, or fields of a hash.
#[derive(Debug)]
pub struct Expired {
    /// Logical database.
    pub db: u32,
    /// The key.
    pub key: Box<[u8]>,
    /// The fields; none when the key itself had expired.
    pub fields: Vec<Box<[u8]>>,
}

/// A message that a transaction or script has published.
#[derive(Debug)]
pub struct Message {
    /// How many changes came before it.
    pub behind: usize,
    /// Whether it is for a shard channel.
    pub sharded: bool,
    /// The channel.
    pub channel: Box<[u8]>,
    /// What it says.
    pub text: Box<[u8]>,
}

/// What one command, or one transaction, did.
#[derive(Default)]
pub struct Recorder {
    /// Whether anyone wants `changes`: notifications, WATCH, blocked clients
    /// or tracking are in use.
    pub observed: bool,
    /// How many changes there were; 0 means nothing goes to the log.
    pub dirty: u64,
    /// Changes in order, if observed.
    pub changes: Vec<Change>,
    /// So many of them have broken the watches of their keys already.
    pub told_watches: usize,
    /// Changes and messages are published already.
    pub is_told: bool,
    /// What a transaction or script has published: it goes out with the
    /// notifications of its changes, at its place among them.
    pub messages: Vec<Message>,
    /// What was removed because it had expired. That enters the log before the
    /// command's own effects.
    pub expired: Vec<Expired>,
    /// Of a transaction or script: who had read what its commands changed, as of each of
    /// them (see [`crate::tracking`]).
    pub stale: Option<crate::tracking::Stale>,
    /// A database was emptied.
    pub flushed: bool,
    /// Look-ups of reading commands that found their key.
    pub hits: u64,
    /// Look-ups of reading commands that did not.
    pub misses: u64,
}

impl Recorder {
    /// Notes that a reading command did not find a key of a logical database.
    #[inline]
    pub fn miss(&mut self, db: u32, key: &[u8]) {
        self.misses += 1;
        if self.observed {
            self.changes.push(Change {
                class: class::KEY_MISS,
                event: "keymiss",
                db,
                key: key.into(),
                changed: false,
            });
        }
    }
}

/// How many keys are among what expired.
pub fn expired_keys(expired: &[Expired]) -> u64 {
    expired.iter().filter(|one| one.fields.is_empty()).count() as u64
}
