//! ACL LOG: what was refused, newest first; equal refusals within a minute
//! are one entry.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::check::Denial;
use crate::state::unix_ms;

/// Refusals further apart are different entries.
const GROUPED_MS: i64 = 60_000;
/// Among so many of the newest entries an equal one is looked for.
const SEARCHED: usize = 10;

/// What was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// A login.
    Auth,
    /// A command.
    Command,
    /// A key.
    Key,
    /// A channel.
    Channel,
    /// A database.
    Database,
}

impl Reason {
    /// The word in ACL LOG.
    pub fn word(self) -> &'static str {
        match self {
            Reason::Auth => "auth",
            Reason::Command => "command",
            Reason::Key => "key",
            Reason::Channel => "channel",
            Reason::Database => "database",
        }
    }
}

impl From<Denial> for Reason {
    fn from(denial: Denial) -> Reason {
        match denial {
            Denial::Command(_) => Reason::Command,
            Denial::Key(_) => Reason::Key,
            Denial::Channel(_) => Reason::Channel,
            Denial::Database(_) => Reason::Database,
        }
    }
}

/// Where it was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// A client's command by itself.
    TopLevel,
    /// Within a transaction.
    Multi,
    /// Within a script.
    Lua,
}

impl Place {
    /// Where a client's command is at the moment.
    pub fn of(session: &crate::connection::session::Session) -> Place {
        match session.transaction {
            Some(_) => Place::Multi,
            None => Place::TopLevel,
        }
    }

    /// The word in ACL LOG.
    pub fn word(self) -> &'static str {
        match self {
            Place::TopLevel => "toplevel",
            Place::Multi => "multi",
            Place::Lua => "lua",
        }
    }
}

/// An entry.
#[derive(Clone, Debug)]
pub struct Entry {
    /// How often it happened.
    pub count: u64,
    /// What was refused.
    pub reason: Reason,
    /// Where.
    pub place: Place,
    /// The command, key or channel.
    pub object: Vec<u8>,
    /// The user.
    pub user: Vec<u8>,
    /// The client's line of CLIENT LIST, when it happened last.
    pub client: Vec<u8>,
    /// Ever growing.
    pub id: u64,
    /// When it happened first, Unix ms.
    pub created_ms: i64,
    /// When it happened last, Unix ms.
    pub updated_ms: i64,
}

/// The log, and how often each reason came up.
#[derive(Default)]
pub struct AclLog {
    entries: Mutex<VecDeque<Entry>>,
    next_id: AtomicU64,
    denied: [AtomicU64; 5],
}

impl AclLog {
    /// How often something was refused for this reason.
    pub fn denied(&self, reason: Reason) -> u64 {
        self.denied[reason as usize].load(Ordering::Relaxed)
    }

    /// CONFIG RESETSTAT.
    pub fn reset_counts(&self) {
        let counts = self.denied.iter();
        counts.for_each(|count| count.store(0, Ordering::Relaxed));
    }

    /// Notes a refusal; the log keeps `most` entries.
    pub fn add(
        &self,
        (reason, place): (Reason, Place),
        user: &[u8],
        object: &[u8],
        client: Vec<u8>,
        most: usize,
    ) {
        self.denied[reason as usize].fetch_add(1, Ordering::Relaxed);
        let mut entries = self.entries.lock();
        if most == 0 {
            entries.clear();
            return;
        }
        let now_ms = unix_ms();
        let known = entries.iter().take(SEARCHED).position(|entry| {
            entry.reason == reason
                && entry.place == place
                && (now_ms - entry.updated_ms).abs() <= GROUPED_MS
                && entry.object == object
                && entry.user == user
        });
        let entry = match known.and_then(|at| entries.remove(at)) {
            Some(known) => Entry {
                count: known.count + 1,
                client,
                updated_ms: now_ms,
                ..known
            },
            None => Entry {
                count: 1,
                reason,
                place,
                object: object.to_vec(),
                user: user.to_vec(),
                client,
                id: self.next_id.fetch_add(1, Ordering::Relaxed),
                created_ms: now_ms,
                updated_ms: now_ms,
            },
        };
        entries.push_front(entry);
        entries.truncate(most);
    }

    /// The newest entries, at most `count`.
    pub fn newest(&self, count: usize) -> Vec<Entry> {
        self.entries.lock().iter().take(count).cloned().collect()
    }

    /// Forgets all entries.
    pub fn clear(&self) {
        self.entries.lock().clear();
    }
}
