//! The sizes at which a value changes its encoding: the `*-max-listpack-*` and
//! `set-max-intset-entries` directives, with Valkey's defaults.
//!
//! They are process-wide because CONFIG SET changes them for all workers at
//! once; a value reads them only when it grows or shrinks.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::Relaxed};

/// The limits in force.
pub static LIMITS: Limits = Limits {
    list_max_listpack_size: AtomicI64::new(-2),
    list_compress_depth: AtomicUsize::new(0),
    quicklist_packed_threshold: AtomicUsize::new(0),
    hash_max_listpack_entries: AtomicUsize::new(512),
    hash_max_listpack_value: AtomicUsize::new(64),
    set_max_intset_entries: AtomicUsize::new(512),
    set_max_listpack_entries: AtomicUsize::new(128),
    set_max_listpack_value: AtomicUsize::new(64),
    zset_max_listpack_entries: AtomicUsize::new(128),
    zset_max_listpack_value: AtomicUsize::new(64),
    lfu_log_factor: AtomicUsize::new(10),
    lfu_decay_minutes: AtomicUsize::new(1),
    stream_node_max_bytes: AtomicUsize::new(4096),
    stream_node_max_entries: AtomicUsize::new(100),
    hll_sparse_max_bytes: AtomicUsize::new(3000),
};

/// No listpack grows past this many bytes, whatever the limits say: its header
/// counts in 32 bits.
pub const LISTPACK_MAX_BYTES: usize = 1 << 30;

/// One field a directive; entries are counts, values are bytes.
#[derive(Debug)]
pub struct Limits {
    /// Positive: entries of a list's node; -1 … -5: 4, 8, 16, 32, 64 KiB.
    pub list_max_listpack_size: AtomicI64,
    /// Accepted and without effect: nodes are never compressed.
    pub list_compress_depth: AtomicUsize,
    /// DEBUG QUICKLIST-PACKED-THRESHOLD: bytes from which an element has a node
    /// of its own; 0 leaves that to `list_max_listpack_size`.
    pub quicklist_packed_threshold: AtomicUsize,
    pub hash_max_listpack_entries: AtomicUsize,
    pub hash_max_listpack_value: AtomicUsize,
    pub set_max_intset_entries: AtomicUsize,
    pub set_max_listpack_entries: AtomicUsize,
    pub set_max_listpack_value: AtomicUsize,
    pub zset_max_listpack_entries: AtomicUsize,
    pub zset_max_listpack_value: AtomicUsize,
    /// `lfu-log-factor`.
    pub lfu_log_factor: AtomicUsize,
    /// `lfu-decay-time`.
    pub lfu_decay_minutes: AtomicUsize,
    /// 0: as many as a listpack can hold.
    pub stream_node_max_bytes: AtomicUsize,
    /// 0: any number.
    pub stream_node_max_entries: AtomicUsize,
    /// Longer HyperLogLogs are dense.
    pub hll_sparse_max_bytes: AtomicUsize,
}

impl Limits {
    /// How large a list's node may be.
    pub fn node(&self) -> NodeLimit {
        NodeLimit::new(
            self.list_max_listpack_size.load(Relaxed),
            self.quicklist_packed_threshold.load(Relaxed),
        )
    }

    /// The most entries an intset holds; its header counts in 32 bits.
    pub fn intset_entries(&self) -> usize {
        self.set_max_intset_entries.load(Relaxed).min(1 << 30)
    }
}

/// Bytes that a node limited by its number of entries may hold all the same.
const COUNTED_NODE_MAX_BYTES: usize = 8192;

/// What `list-max-listpack-size` means for one node of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeLimit {
    max_bytes: usize,
    max_count: usize,
    large_from: usize,
}

impl NodeLimit {
    /// `size` as in the directive; `packed_threshold` in bytes, 0 for none.
    pub fn new(size: i64, packed_threshold: usize) -> Self {
        let (max_bytes, max_count) = if size >= 0 {
            let count = usize::try_from(size).unwrap_or(usize::MAX).max(1);
            (COUNTED_NODE_MAX_BYTES, count)
        } else {
            (4096 << (-(size.max(-5)) - 1), usize::MAX)
        };
        let large_from = match packed_threshold {
            0 => max_bytes + 1,
            bytes => bytes.min(LISTPACK_MAX_BYTES / 2),
        };
        Self {
            max_bytes,
            max_count,
            large_from,
        }
    }

    /// Whether a node of so many bytes and entries is too large.
    pub fn exceeded(&self, bytes: usize, count: usize) -> bool {
        bytes > self.max_bytes || count > self.max_count
    }

    /// Whether a shrunk list of one node may be packed again: at half the
    /// limit, so that a list at the limit doesn't change at every command. A
    /// limit by count says nothing about bytes here.
    pub fn half_suffices(&self, bytes: usize, count: usize) -> bool {
        if self.max_count == usize::MAX {
            bytes <= self.max_bytes / 2
        } else {
            count <= self.max_count / 2
        }
    }

    /// Whether an element of so many bytes gets a node of its own.
    pub fn is_large(&self, bytes: usize) -> bool {
        bytes >= self.large_from
    }
}

#[cfg(test)]
mod tests {
    use super::NodeLimit;

    #[test]
    fn negative_sizes_are_bytes_and_positive_ones_entries() {
        let bytes = NodeLimit::new(-2, 0);
        assert!(!bytes.exceeded(8192, 100_000));
        assert!(bytes.exceeded(8193, 1));
        assert!(bytes.half_suffices(4096, 9999));
        assert!(!bytes.half_suffices(4097, 1));
        assert!(bytes.is_large(8193) && !bytes.is_large(8192));

        let entries = NodeLimit::new(3, 0);
        assert!(entries.exceeded(10, 4) && !entries.exceeded(10, 3));
        assert!(entries.exceeded(8193, 1));
        assert!(entries.half_suffices(100, 1) && !entries.half_suffices(100, 2));
        assert_eq!(NodeLimit::new(i64::MIN, 0), NodeLimit::new(-5, 0));
        assert!(NodeLimit::new(-2, 100).is_large(100));
    }
}
