//! How one client tracks; shared, for those who change keys read it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use parking_lot::Mutex;

/// Bits of a client's mode.
pub mod mode {
    /// It tracks.
    pub const ON: u32 = 1 << 0;
    /// It is told of all keys with its prefixes.
    pub const BCAST: u32 = 1 << 1;
    /// Only keys read behind CLIENT CACHING YES count.
    pub const OPTIN: u32 = 1 << 2;
    /// Keys read behind CLIENT CACHING NO don't count.
    pub const OPTOUT: u32 = 1 << 3;
    /// It isn't told of its own changes.
    pub const NOLOOP: u32 = 1 << 4;
    /// CLIENT CACHING was called for the next command.
    pub const CACHING: u32 = 1 << 5;
    /// The connection that should get its messages is gone.
    pub const BROKEN: u32 = 1 << 6;
}

/// A client's tracking.
#[derive(Default)]
pub struct ClientTracking {
    modes: AtomicU32,
    /// Id of the client that gets its messages; 0: itself.
    pub redirect: AtomicU64,
    /// Its prefixes, in broadcast mode.
    pub prefixes: Mutex<BTreeSet<Vec<u8>>>,
}

impl ClientTracking {
    /// Whether all of these bits of [`mode`] are set.
    #[inline]
    pub fn has(&self, modes: u32) -> bool {
        self.modes.load(Ordering::Acquire) & modes == modes
    }

    /// Sets exactly these bits.
    pub fn set(&self, modes: u32) {
        self.modes.store(modes, Ordering::Release);
    }

    /// Adds bits.
    pub fn add(&self, modes: u32) {
        self.modes.fetch_or(modes, Ordering::AcqRel);
    }

    /// Takes bits away.
    pub fn remove(&self, modes: u32) {
        self.modes.fetch_and(!modes, Ordering::AcqRel);
    }

    /// Whether keys that it reads now are to be remembered.
    pub fn remembers(&self) -> bool {
        let caching = self.has(mode::CACHING);
        self.has(mode::ON)
            && !self.has(mode::BCAST)
            && (caching || !self.has(mode::OPTIN))
            && !(caching && self.has(mode::OPTOUT))
    }
}
