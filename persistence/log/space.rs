//! How much room the log takes, and whether it has room to go on.

use std::sync::atomic::Ordering::Relaxed;

use super::{Log, LogStats};

/// How much room the disk has for files that are kept to be used again.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Room {
    /// None: others need it.
    Short,
    /// For the usual number.
    #[default]
    Usual,
    /// For more, where that is of use.
    Ample,
}

impl Log {
    /// Why there is no room for the next segment, if so: writes should be
    /// refused before the current one is full.
    pub fn space_trouble(&self) -> Option<String> {
        self.preparer.read().trouble()
    }

    /// Whether there is such trouble; cheap. The function of
    /// [`on_synced`](Log::on_synced) is called when that changes.
    pub fn is_short_of_space(&self) -> bool {
        self.shared.short_of_space.load(Relaxed) || self.is_stalled()
    }

    /// Whether the next segment is prepared.
    pub fn is_next_ready(&self) -> bool {
        self.preparer.read().is_ready()
    }

    /// Whether what was appended can't be written for want of space.
    pub fn is_stalled(&self) -> bool {
        self.shared.stalled.load(Relaxed)
    }

    /// Tries again to make the next segment, if that failed.
    pub fn retry_space(&self) {
        self.preparer.read().retry();
    }

    /// Notes how much room there is for files that are not needed for now; what
    /// there is no more room for is given up.
    pub fn note_room(&self, room: Room) {
        let before = std::mem::replace(&mut *self.shared.room.lock(), room);
        if room < before {
            self.preparer.read().give_up_spares();
        }
    }

    /// Counters.
    pub fn stats(&self) -> LogStats {
        let segments = self.shared.segments.lock();
        let disk_bytes = segments.iter().map(|segment| segment.capacity).sum();
        let count = segments.len() as u64;
        drop(segments);
        self.shared.counters.snapshot(count, disk_bytes)
    }
}
