//! The allocator, with a count of what is in use (INFO used_memory).

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

/// Counters are spread over this many cache lines, one for each thread in
/// turn, so that counting costs no contention.
const LANES: usize = 64;

#[repr(align(64))]
struct Lane(AtomicI64);

static LANE: [Lane; LANES] = [const { Lane(AtomicI64::new(0)) }; LANES];
static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static MINE: Cell<usize> = const { Cell::new(usize::MAX) };
}

#[inline]
fn count(difference: i64) {
    let mine = MINE.try_with(|mine| {
        if mine.get() == usize::MAX {
            mine.set(NEXT.fetch_add(1, Ordering::Relaxed) % LANES);
        }
        mine.get()
    });
    LANE[mine.unwrap_or(0)]
        .0
        .fetch_add(difference, Ordering::Relaxed);
}

/// Bytes asked for and not given back.
pub fn used_bytes() -> u64 {
    // Lanes beyond the threads there were are empty.
    let lanes = NEXT.load(Ordering::Relaxed).clamp(1, LANES);
    LANE[..lanes]
        .iter()
        .map(|lane| lane.0.load(Ordering::Relaxed))
        .sum::<i64>()
        .max(0) as u64
}

/// Mimalloc, counted.
pub struct Counted(mimalloc::MiMalloc);

impl Counted {
    /// The allocator to install.
    pub const fn new() -> Counted {
        Counted(mimalloc::MiMalloc)
    }
}

impl Default for Counted {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: all calls go to mimalloc unchanged; counting has no effect on them.
unsafe impl GlobalAlloc for Counted {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller's promise.
        unsafe { self.0.alloc(layout) }
    }
    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller's promise.
        unsafe { self.0.alloc_zeroed(layout) }
    }
    #[inline]
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: the caller's promise.
        unsafe { self.0.dealloc(ptr, layout) }
    }
    #[inline]
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size as i64 - layout.size() as i64);
        // SAFETY: the caller's promise.
        unsafe { self.0.realloc(ptr, layout, new_size) }
    }
}
