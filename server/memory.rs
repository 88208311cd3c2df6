//! The allocator, with a count of what is in use (INFO used_memory).

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use libmimalloc_sys::{
    mi_free, mi_malloc, mi_malloc_aligned, mi_realloc, mi_realloc_aligned, mi_zalloc,
    mi_zalloc_aligned,
};

/// Counters are spread over this many cache lines, one for each thread in
/// turn, so that counting costs no contention.
const LANES: usize = 64;

/// One cache line of counters.
#[repr(align(64))]
struct Lane {
    used: AtomicI64,
    for_tree: AtomicI64,
}

impl Lane {
    const fn new() -> Lane {
        Lane {
            used: AtomicI64::new(0),
            for_tree: AtomicI64::new(0),
        }
    }
}

static LANE: [Lane; LANES] = [const { Lane::new() }; LANES];
static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static MINE: Cell<usize> = const { Cell::new(usize::MAX) };
}

#[inline]
fn lane() -> &'static Lane {
    let mine = MINE.try_with(|mine| {
        if mine.get() == usize::MAX {
            mine.set(NEXT.fetch_add(1, Ordering::Relaxed) % LANES);
        }
        mine.get()
    });
    &LANE[mine.unwrap_or(0)]
}

#[inline]
fn count(difference: i64) {
    lane().used.fetch_add(difference, Ordering::Relaxed);
}

fn sum(counter: impl Fn(&Lane) -> &AtomicI64) -> u64 {
    // Lanes beyond the threads there were are empty.
    let lanes = NEXT.load(Ordering::Relaxed).clamp(1, LANES);
    let values = LANE[..lanes].iter();
    let values = values.map(|lane| counter(lane).load(Ordering::Relaxed));
    values.sum::<i64>().max(0) as u64
}

/// Bytes asked for and not given back.
pub fn used_bytes() -> u64 {
    sum(|lane| &lane.used)
}

/// Of these, what is kept only until the tree has taken it over.
pub fn for_tree_bytes() -> u64 {
    sum(|lane| &lane.for_tree)
}

/// Counts bytes as kept for the tree, for as long as it lives.
#[derive(Default)]
pub struct ForTree(i64);

impl ForTree {
    /// Counts so many more.
    pub fn add(&mut self, bytes: usize) {
        self.0 += bytes as i64;
        lane().for_tree.fetch_add(bytes as i64, Ordering::Relaxed);
    }

    /// Counts so many, whatever it was before.
    pub fn set(&mut self, bytes: usize) {
        let difference = bytes as i64 - self.0;
        self.0 = bytes as i64;
        lane().for_tree.fetch_add(difference, Ordering::Relaxed);
    }
}

impl Drop for ForTree {
    fn drop(&mut self) {
        self.set(0);
    }
}

unsafe extern "C" {
    /// Source: mimalloc.h.
    fn mi_collect(force: bool);
}

/// Gives pages that nothing is in any more back to the system at once; the
/// allocator does so with a delay of a second.
pub fn give_back_pages() {
    // SAFETY: it may be called on any thread at any time.
    unsafe { mi_collect(true) }
}

/// The same for what C libraries allocate, LMDB and Lua among them.
pub fn trim_c_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it may be called on any thread at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Mimalloc, counted.
///
/// Its functions without an alignment are used wherever they give the alignment
/// anyway: those with one ask for up to `alignment - 1` bytes more unless the
/// size is a power of two. An entry of 96 bytes then takes 112.
#[derive(Default)]
pub struct Counted;

impl Counted {
    /// The allocator to install.
    pub const fn new() -> Counted {
        Counted
    }
}

/// Whether any allocation of this size has this alignment: 16 from 16 bytes
/// on, else 8. Source: `MI_MAX_ALIGN_SIZE` of mimalloc.
#[inline]
fn is_natural(size: usize, align: usize) -> bool {
    align <= 8 || (align <= 16 && size >= 16)
}

// SAFETY: mimalloc keeps the contract of malloc, zalloc, realloc and free for
// the whole process; counting has no effect on them.
unsafe impl GlobalAlloc for Counted {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: any size and any power of two are allowed.
        unsafe {
            match is_natural(layout.size(), layout.align()) {
                true => mi_malloc(layout.size()).cast(),
                false => mi_malloc_aligned(layout.size(), layout.align()).cast(),
            }
        }
    }
    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: as in `alloc`.
        unsafe {
            match is_natural(layout.size(), layout.align()) {
                true => mi_zalloc(layout.size()).cast(),
                false => mi_zalloc_aligned(layout.size(), layout.align()).cast(),
            }
        }
    }
    #[inline]
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: it was allocated above.
        unsafe { mi_free(ptr.cast()) }
    }
    #[inline]
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size as i64 - layout.size() as i64);
        // SAFETY: it was allocated above.
        unsafe {
            match is_natural(new_size, layout.align()) {
                true => mi_realloc(ptr.cast(), new_size).cast(),
                false => mi_realloc_aligned(ptr.cast(), new_size, layout.align()).cast(),
            }
        }
    }
}
