//! Buckets, their overflow chains, and arrays of them.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};

use super::WORDS;

#[repr(C, align(64))]
pub(super) struct Bucket {
    pub(super) words: [u64; WORDS],
    pub(super) next: *mut Bucket,
}

impl Bucket {
    fn new_overflow() -> *mut Bucket {
        Box::into_raw(Box::new(Bucket {
            words: [0; WORDS],
            next: std::ptr::null_mut(),
        }))
    }

    /// Stores a word in the first free place of the chain.
    pub(super) fn push(&mut self, word: u64) {
        let mut bucket = self;
        loop {
            for place in &mut bucket.words {
                if *place == 0 {
                    *place = word;
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
            for &word in &bucket.words {
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
                found | u32::from(word >> 48 == tag) << at
            })
        }
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
    first: *mut Bucket,
    pub(super) count: u32,
}

impl Buckets {
    pub(super) const NONE: Buckets = Buckets {
        first: std::ptr::null_mut(),
        count: 0,
    };

    pub(super) fn new(count: usize) -> Self {
        let layout = Layout::array::<Bucket>(count).expect("a table's size fits the address space");
        // SAFETY: the layout is not empty, and zeroes are a valid empty bucket.
        let first = unsafe { alloc_zeroed(layout) }.cast::<Bucket>();
        if first.is_null() {
            handle_alloc_error(layout);
        }
        Self {
            first,
            count: u32::try_from(count).expect("fewer than 2^32 buckets"),
        }
    }

    #[inline]
    pub(super) fn index(&self, position: u32) -> usize {
        ((u64::from(position) * u64::from(self.count)) >> 32) as usize
    }

    /// The first position that lies behind bucket `index`; 2^32 for the last.
    pub(super) fn end_of(&self, index: usize) -> u64 {
        ((index as u64 + 1) << 32).div_ceil(u64::from(self.count))
    }

    #[inline]
    pub(super) fn bucket(&self, index: usize) -> *mut Bucket {
        debug_assert!(index < self.count as usize);
        // SAFETY: within the array, as `index` gives and callers keep.
        unsafe { self.first.add(index) }
    }

    pub(super) fn free(&mut self) {
        if self.count == 0 {
            return;
        }
        for index in 0..self.count as usize {
            // SAFETY: within the array, borrowed mutably.
            unsafe { (*self.bucket(index)).free_overflow() };
        }
        let layout = Layout::array::<Bucket>(self.count as usize).expect("it was allocated");
        // SAFETY: allocated by `new` with this layout.
        unsafe { dealloc(self.first.cast(), layout) };
        *self = Buckets::NONE;
    }
}
