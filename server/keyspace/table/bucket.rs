//! Buckets, their overflow chains, and arrays of them.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::sync::atomic::{AtomicU64, Ordering};

use super::{ADDRESS_MASK, WORDS, prefetch};
use crate::keyspace::glimpse::wait_for_glimpses;

/// Its words are atomics for those who look at it without a lock; whoever has the
/// lock is the only one to change them.
#[repr(C, align(64))]
pub(super) struct Bucket {
    pub(super) words: [AtomicU64; WORDS],
    pub(super) next: *mut Bucket,
}

impl Bucket {
    fn new_overflow() -> *mut Bucket {
        Box::into_raw(Box::new(Bucket {
            words: [const { AtomicU64::new(0) }; WORDS],
            next: std::ptr::null_mut(),
        }))
    }

    /// Stores a word in the first free place of the chain.
    pub(super) fn push(&mut self, word: u64) {
        let mut bucket = self;
        loop {
            for place in &bucket.words {
                if place.load(Ordering::Relaxed) == 0 {
                    place.store(word, Ordering::Relaxed);
                    return;
                }
            }
            if bucket.next.is_null() {
                bucket.next = Bucket::new_overflow();
            }
            // SAFETY: overflow buckets are owned by their chain, and the
            // chain is borrowed mutably.
            bucket = unsafe { &mut *bucket.next };
        }
    }

    pub(super) fn for_each(&self, mut f: impl FnMut(u64)) {
        let mut bucket = self;
        loop {
            for word in &bucket.words {
                let word = word.load(Ordering::Relaxed);
                if word != 0 {
                    f(word);
                }
            }
            if bucket.next.is_null() {
                return;
            }
            // SAFETY: as in `push`, shared.
            bucket = unsafe { &*bucket.next };
        }
    }

    /// Which words carry this tag: bit `i` for word `i`. Without a branch, since
    /// where a tag lies is anybody's guess; on x86-64, two words a step.
    #[inline]
    pub(super) fn tagged(&self, tag: u64) -> u32 {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: SSE2 is part of x86-64, and the loads stay within the
        // bucket: seven words and the link, whose upper 16 bits are 0, which
        // no tag is.
        unsafe {
            use std::arch::x86_64::*;
            let base = std::ptr::from_ref(self).cast::<__m128i>();
            let tags =
                |at: usize| _mm_castsi128_ps(_mm_srli_epi64::<48>(_mm_load_si128(base.add(at))));
            let wanted = _mm_set1_epi32(tag as i32);
            let equal = |at: usize| {
                let four = _mm_shuffle_ps::<0b10_00_10_00>(tags(at), tags(at + 1));
                _mm_cmpeq_epi32(_mm_castps_si128(four), wanted)
            };
            let both = _mm_packs_epi32(equal(0), equal(2));
            _mm_movemask_epi8(_mm_packs_epi16(both, _mm_setzero_si128())) as u32
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let bits = self.words.iter().enumerate();
            bits.fold(0, |found, (at, word)| {
                found | u32::from(word.load(Ordering::Relaxed) >> 48 == tag) << at
            })
        }
    }

    /// The address of a word with this tag, as far as can be told without the
    /// lock; 0 if there is none.
    #[inline]
    pub(super) fn glimpse(&self, tag: u64) -> u64 {
        let words = self.words.iter().map(|word| word.load(Ordering::Relaxed));
        let same = |found, word: u64| if word >> 48 == tag { word } else { found };
        words.fold(0, same) & ADDRESS_MASK
    }

    /// Makes a bucket empty whose words have gone elsewhere.
    pub(super) fn clear(&mut self) {
        for word in &self.words {
            word.store(0, Ordering::Relaxed);
        }
        self.free_overflow();
    }

    /// Frees the overflow chain, not its elements.
    pub(super) fn free_overflow(&mut self) {
        let mut next = std::mem::replace(&mut self.next, std::ptr::null_mut());
        while !next.is_null() {
            // SAFETY: made by `new_overflow`, reachable from here only.
            let bucket = unsafe { Box::from_raw(next) };
            next = bucket.next;
        }
    }
}

/// An array of buckets; owns the buckets, not the elements.
pub(super) struct Buckets {
    /// The first one's address and, in the upper 16 bits, the [`code`] of the
    /// count: one word, so that whoever looks at it without a lock gets both of
    /// one array.
    packed: AtomicU64,
    pub(super) count: u32,
}

/// Counts are powers of two and one and a half times those, 2^k and 3·2^(k-1):
/// this is `2 * k`, and 1 for the latter.
fn code(count: u32) -> u64 {
    let has_half = !count.is_power_of_two();
    debug_assert!(!has_half || count == 3 << (count.ilog2() - 1));
    u64::from(2 * count.ilog2() + u32::from(has_half))
}

/// The count of a [`code`].
#[inline]
fn count_of(code: u64) -> u64 {
    ((2 | (code & 1)) << (code >> 1)) >> 1
}

/// The bucket of a position among `count`.
#[inline]
fn index(position: u32, count: u64) -> usize {
    ((u64::from(position) * count) >> 32) as usize
}

impl Buckets {
    /// No array.
    pub(super) const fn none() -> Buckets {
        Buckets {
            packed: AtomicU64::new(0),
            count: 0,
        }
    }

    pub(super) fn new(count: usize) -> Self {
        let layout = Layout::array::<Bucket>(count).expect("a table's size fits the address space");
        // SAFETY: the layout is not empty, and zeroes are a valid empty bucket.
        let first = unsafe { alloc_zeroed(layout) }.cast::<Bucket>();
        if first.is_null() {
            handle_alloc_error(layout);
        }
        let count = u32::try_from(count).expect("fewer than 2^32 buckets");
        debug_assert_eq!(first as u64 & !ADDRESS_MASK, 0);
        Self {
            packed: AtomicU64::new(first as u64 | code(count) << 48),
            count,
        }
    }

    /// Takes another array's place. Gives that one back, which others may still
    /// look at.
    pub(super) fn replace(&mut self, other: Buckets) -> Buckets {
        // Its words are seen as they were made, by whoever sees the array.
        let packed = *self.packed.get_mut();
        let (new, count) = (other.packed.into_inner(), other.count);
        self.packed.store(new, Ordering::Release);
        Buckets {
            packed: AtomicU64::new(packed),
            count: std::mem::replace(&mut self.count, count),
        }
    }

    /// The bucket of a position, as far as can be told without the lock.
    #[inline]
    fn glimpse(&self, position: u32) -> Option<*const Bucket> {
        let packed = self.packed.load(Ordering::Acquire);
        let first = (packed & ADDRESS_MASK) as *const Bucket;
        let at = index(position, count_of(packed >> 48));
        (packed != 0).then(|| first.wrapping_add(at))
    }

    /// Fetches the bucket of a position.
    #[inline]
    pub(super) fn fetch(&self, position: u32) {
        if let Some(bucket) = self.glimpse(position) {
            prefetch(bucket.cast());
        }
    }

    /// Fetches what has a tag in the bucket of a position: the first two lines.
    ///
    /// # Safety
    /// The caller has a [`Glimpse`](crate::keyspace::glimpse::Glimpse) of a table
    /// whose elements are [`WATCHED`](super::Element::WATCHED).
    #[inline]
    pub(super) unsafe fn fetch_tagged(&self, position: u32, tag: u64) {
        if let Some(bucket) = self.glimpse(position) {
            // SAFETY: within an array that is freed after the glimpse only.
            let element = unsafe { (*bucket).glimpse(tag) } as *const u8;
            if !element.is_null() {
                prefetch(element);
                prefetch(element.wrapping_add(64));
            }
        }
    }

    #[inline]
    pub(super) fn index(&self, position: u32) -> usize {
        index(position, u64::from(self.count))
    }

    /// The first position that lies behind bucket `index`; 2^32 for the last.
    pub(super) fn end_of(&self, index: usize) -> u64 {
        ((index as u64 + 1) << 32).div_ceil(u64::from(self.count))
    }

    #[inline]
    pub(super) fn bucket(&self, index: usize) -> *mut Bucket {
        debug_assert!(index < self.count as usize);
        // SAFETY: within the array, as `index` gives and callers keep.
        unsafe { self.first().add(index) }
    }

    #[inline]
    fn first(&self) -> *mut Bucket {
        (self.packed.load(Ordering::Relaxed) & ADDRESS_MASK) as *mut Bucket
    }

    /// Frees the array, which no table has any more, once nobody looks at it if it
    /// is `watched`.
    pub(super) fn free(self, watched: bool) {
        if self.count == 0 {
            return;
        }
        if watched {
            wait_for_glimpses();
        }
        for index in 0..self.count as usize {
            // SAFETY: within the array, borrowed mutably.
            unsafe { (*self.bucket(index)).free_overflow() };
        }
        let layout = Layout::array::<Bucket>(self.count as usize).expect("it was allocated");
        // SAFETY: allocated by `new` with this layout.
        unsafe { dealloc(self.first().cast(), layout) };
    }
}
