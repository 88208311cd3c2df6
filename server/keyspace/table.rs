//! A hash table of thin pointers, laid out for cache misses.
//!
//! Owns: where an element lies and how a table grows. Must not know what an
//! element is beyond its key. One design serves the keyspace (a table per
//! slot), large sets, hashes and sorted sets.
//!
//! A bucket is one cache line: seven words and a link to an overflow bucket.
//!
//! | bits of a word | meaning                                             |
//! |----------------|-----------------------------------------------------|
//! | 63…48          | tag: 16 bits of the hash (never 0 in a used word)   |
//! | 47…0           | the element's address (user space ends below 2^47)  |
//!
//! A find touches the bucket's line, and an element only where its tag is
//! equal.
//!
//! The upper 32 bits of a hash are its *position*. The bucket of a position
//! is `position * buckets >> 32`, so buckets hold ascending ranges of
//! positions whatever their number is. Two things follow. A scan cursor is
//! simply a position, and stays right while the table grows or shrinks: what
//! lies below it was returned, what lies above will be. And a table can move
//! to another size bit by bit: positions below a watermark live in the new
//! array, the rest in the old one, and a find looks at one array only. The
//! number of buckets need not be a power of two, so a table grows by a half or
//! a third and never wastes half of itself.

mod bucket;
mod place;
pub mod secret;

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use bucket::{Bucket, Buckets};
use place::address;

pub use place::{Borrowed, Place};

/// Words in a bucket.
const WORDS: usize = 7;
/// A table grows when it holds more than this many elements per bucket.
const MAX_FILL: usize = 5;
/// A table shrinks when it holds fewer than one element per this many buckets.
const MIN_FILL_BUCKETS: usize = 1;
/// Up to this many buckets a resize is done at once, above it bit by bit.
const RESIZE_AT_ONCE_BUCKETS: usize = 256;
/// Old buckets moved by each change while a resize is under way.
const MOVED_PER_CHANGE: usize = 2;
/// Elements of a bucket and its overflow that a fair random pick considers.
const RANDOM_WIDTH: u64 = 24;

const ADDRESS_MASK: u64 = (1 << 48) - 1;

/// A thin, owned pointer to an element that knows its key.
///
/// # Safety
/// `into_raw` and `from_raw` must be inverse; the address must stay valid and
/// fit 48 bits until `from_raw`; `key` must not change while in a table.
pub unsafe trait Element: Sized {
    /// Whether tables of it are looked at without a lock (`../glimpse.rs`).
    const WATCHED: bool = false;
    /// The bytes that the element is found by.
    fn key(&self) -> &[u8];
    /// Gives up ownership as an address.
    fn into_raw(self) -> NonNull<u8>;
    /// Takes ownership back.
    ///
    /// # Safety
    /// `raw` came from `into_raw` and is not used again.
    unsafe fn from_raw(raw: NonNull<u8>) -> Self;
}

/// The array that a resize is leaving.
struct Leaving {
    old: Buckets,
    /// Positions below this live in the new array.
    watermark: u64,
    /// The next old bucket to move.
    next: usize,
}

/// The table. Empty tables own no memory.
pub struct Table<E: Element> {
    buckets: Buckets,
    leaving: Option<Box<Leaving>>,
    len: usize,
    owns: PhantomData<E>,
}

// SAFETY: a table owns its elements and nothing else.
unsafe impl<E: Element + Send> Send for Table<E> {}
// SAFETY: shared access only reads.
unsafe impl<E: Element + Sync> Sync for Table<E> {}

impl<E: Element> Default for Table<E> {
    fn default() -> Self {
        Self::new()
    }
}

#[inline]
fn position_of(hash: u64) -> u32 {
    (hash >> 32) as u32
}

#[inline]
fn tag_of(hash: u64) -> u64 {
    (hash | 1) & 0xffff
}

impl<E: Element> Table<E> {
    /// A table without elements or memory.
    pub const fn new() -> Self {
        Self {
            buckets: Buckets::none(),
            leaving: None,
            len: 0,
            owns: PhantomData,
        }
    }

    /// How many elements there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no element.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that the table itself holds, without its elements.
    pub fn memory_bytes(&self) -> usize {
        let leaving = self.leaving.as_ref().map_or(0, |l| l.old.count as usize);
        (self.buckets.count as usize + leaving) * size_of::<Bucket>()
    }

    /// The number of buckets (for DEBUG HTSTATS and tests).
    pub fn bucket_count(&self) -> usize {
        self.buckets.count as usize
    }

    #[inline]
    fn home(&self, position: u32) -> *mut Bucket {
        if let Some(leaving) = &self.leaving
            && u64::from(position) >= leaving.watermark
        {
            return leaving.old.bucket(leaving.old.index(position));
        }
        self.buckets.bucket(self.buckets.index(position))
    }

    /// Asks the processor for the line of a hash's bucket. Some that are being
    /// moved are missed.
    ///
    /// # Safety
    /// The table is there; the caller need not have its lock.
    #[inline]
    pub unsafe fn fetch_bucket(table: *const Self, hash: u64) {
        // SAFETY: only atomics of it are read.
        let buckets = unsafe { &(*table).buckets };
        buckets.fetch(position_of(hash));
    }

    /// Asks the processor for the first lines of what has this hash's tag.
    ///
    /// # Safety
    /// The table is there and the caller has a glimpse of it
    /// (`../glimpse.rs`); he need not have its lock.
    #[inline]
    pub unsafe fn fetch_element(table: *const Self, hash: u64) {
        const { assert!(E::WATCHED) };
        // SAFETY: only atomics of it are read; and as the caller grants.
        unsafe {
            let buckets = &(*table).buckets;
            buckets.fetch_tagged(position_of(hash), tag_of(hash));
        }
    }

    #[inline]
    fn find_word(&self, hash: u64, key: &[u8]) -> Option<&AtomicU64> {
        if self.buckets.count == 0 {
            return None;
        }
        let tag = tag_of(hash);
        let mut bucket = self.home(position_of(hash));
        while !bucket.is_null() {
            // SAFETY: buckets and chains are the table's own.
            let here = unsafe { &*bucket };
            let mut found = here.tagged(tag);
            while found != 0 {
                let word = &here.words[found.trailing_zeros() as usize];
                if same_bytes(Borrowed::<E>::of(word.load(Ordering::Relaxed)).key(), key) {
                    return Some(word);
                }
                found &= found - 1;
            }
            bucket = here.next;
        }
        None
    }

    /// The element with this key.
    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<Borrowed<'_, E>> {
        self.find_word(hash, key)
            .map(|word| Borrowed::of(word.load(Ordering::Relaxed)))
    }

    /// The place of the element with this key, to change it.
    #[inline]
    pub fn find_place(&mut self, hash: u64, key: &[u8]) -> Option<Place<'_, E>> {
        let word = std::ptr::from_ref(self.find_word(hash, key)?);
        Some(Place { word, table: self })
    }

    /// Every element whose hash is exactly this in tag and position; a caller
    /// that kept only a hash finds its element among them.
    pub fn with_hash(&self, hash: u64, mut f: impl FnMut(&E)) {
        if self.buckets.count == 0 {
            return;
        }
        let tag = tag_of(hash);
        // SAFETY: the home bucket is the table's own.
        unsafe { &*self.home(position_of(hash)) }.for_each(|word| {
            if word >> 48 == tag {
                f(&Borrowed::<E>::of(word));
            }
        });
    }

    /// Adds an element whose key is not in the table.
    pub fn insert_new(&mut self, hash: u64, element: E) {
        debug_assert!(self.find_word(hash, element.key()).is_none());
        self.move_some();
        if self.leaving.is_none() && self.len >= self.buckets.count as usize * MAX_FILL {
            let count = self.buckets.count as usize;
            self.resize(next_count(count));
        }
        let word = (tag_of(hash) << 48) | address(element);
        // SAFETY: the home bucket is the table's own, borrowed mutably.
        unsafe { (*self.home(position_of(hash))).push(word) };
        self.len += 1;
    }

    /// Takes the element with this key out.
    pub fn remove(&mut self, hash: u64, key: &[u8]) -> Option<E> {
        self.find_place(hash, key).map(Place::remove)
    }

    fn after_removal(&mut self) {
        self.move_some();
        let count = self.buckets.count as usize;
        if self.leaving.is_none() && self.len < count / MIN_FILL_BUCKETS && count > 4 {
            let wanted = (self.len / (MAX_FILL - 1)).max(1);
            self.resize(next_count(wanted - 1));
        }
    }

    fn resize(&mut self, count: usize) {
        let old = self.buckets.replace(Buckets::new(count));
        if old.count == 0 {
            return;
        }
        let at_once = old.count as usize <= RESIZE_AT_ONCE_BUCKETS;
        self.leaving = Some(Box::new(Leaving {
            old,
            watermark: 0,
            next: 0,
        }));
        while at_once && self.leaving.is_some() {
            self.move_some();
        }
    }

    /// Moves a few old buckets if a resize is under way.
    #[inline]
    fn move_some(&mut self) {
        if self.leaving.is_some() {
            self.move_buckets(MOVED_PER_CHANGE);
        }
    }

    fn move_buckets(&mut self, buckets: usize) {
        let Some(leaving) = &mut self.leaving else {
            return;
        };
        let end = (leaving.next + buckets).min(leaving.old.count as usize);
        for index in leaving.next..end {
            // Elements of the bucket after next are needed soon.
            if index + 2 < leaving.old.count as usize {
                // SAFETY: within the array.
                unsafe { &*leaving.old.bucket(index + 2) }
                    .for_each(|word| prefetch((word & ADDRESS_MASK) as *const u8));
            }
            // SAFETY: within the array, borrowed mutably.
            let bucket = unsafe { &mut *leaving.old.bucket(index) };
            bucket.for_each(|word| {
                let hash = hash_bytes(Borrowed::<E>::of(word).key());
                let home = self.buckets.bucket(self.buckets.index(position_of(hash)));
                // SAFETY: the new array is the table's own, borrowed mutably.
                unsafe { (*home).push(word) };
            });
            bucket.clear();
            leaving.watermark = leaving.old.end_of(index);
        }
        leaving.next = end;
        if end == leaving.old.count as usize
            && let Some(leaving) = self.leaving.take()
        {
            leaving.old.free(E::WATCHED);
        }
    }

    /// Visits one bucket from `cursor` on and returns the next cursor, 0 when
    /// all was visited. What is in the table throughout a whole scan is
    /// visited at least once, whatever else comes and goes (the guarantee of
    /// SCAN). Cursors are positions: below 2^32.
    pub fn scan(&self, cursor: u64, mut f: impl FnMut(&E)) -> u64 {
        if self.buckets.count == 0 || cursor >> 32 != 0 {
            return 0;
        }
        let position = cursor as u32;
        // SAFETY: the home bucket is the table's own.
        unsafe { &*self.home(position) }.for_each(|word| f(&Borrowed::<E>::of(word)));
        let next = match &self.leaving {
            Some(leaving) if cursor >= leaving.watermark => {
                leaving.old.end_of(leaving.old.index(position))
            }
            Some(leaving) => self
                .buckets
                .end_of(self.buckets.index(position))
                .min(leaving.watermark),
            None => self.buckets.end_of(self.buckets.index(position)),
        };
        if next >> 32 != 0 { 0 } else { next }
    }

    /// All elements, in the order of positions.
    pub fn iter(&self) -> Iter<'_, E> {
        Iter {
            table: self,
            cursor: Some(0),
            pending: Vec::new(),
        }
    }

    /// An element picked evenly at random; None only when the table is empty.
    pub fn random(&self, mut rng: impl FnMut() -> u64) -> Option<Borrowed<'_, E>> {
        if self.len == 0 {
            return None;
        }
        loop {
            let position = rng() as u32;
            let mut skip = rng() % RANDOM_WIDTH;
            let mut found = None;
            // SAFETY: the home bucket is the table's own.
            unsafe { &*self.home(position) }.for_each(|word| {
                if skip == 0 && found.is_none() {
                    found = Some(word);
                }
                skip = skip.wrapping_sub(1);
            });
            if let Some(word) = found {
                return Some(Borrowed::of(word));
            }
        }
    }

    /// Takes all elements out, giving each to `f`.
    pub fn drain(&mut self, mut f: impl FnMut(E)) {
        self.len = 0;
        let old = self.leaving.take().map(|leaving| leaving.old);
        for array in [Some(self.buckets.replace(Buckets::none())), old] {
            let array = array.unwrap_or(Buckets::none());
            for index in 0..array.count as usize {
                // SAFETY: within the array; each word's ownership is given on
                // once, and the array is freed below without touching words.
                unsafe { &*array.bucket(index) }.for_each(|word| unsafe {
                    let raw = (word & ADDRESS_MASK) as *mut u8;
                    f(E::from_raw(NonNull::new_unchecked(raw)));
                });
            }
            array.free(E::WATCHED);
        }
    }
}

impl<E: Element> Drop for Table<E> {
    fn drop(&mut self) {
        self.drain(drop);
    }
}

/// The number of buckets after `count`: powers of two and one and a half times
/// those, whose sizes in bytes are size classes of the allocator.
fn next_count(count: usize) -> usize {
    match count {
        0 => 1,
        count if count.is_power_of_two() => count + count.div_ceil(2),
        count => count.next_power_of_two(),
    }
}

/// Iterator over a table's elements.
pub struct Iter<'a, E: Element> {
    table: &'a Table<E>,
    cursor: Option<u64>,
    pending: Vec<u64>,
}

impl<'a, E: Element> Iterator for Iter<'a, E> {
    type Item = Borrowed<'a, E>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(word) = self.pending.pop() {
                return Some(Borrowed::of(word));
            }
            let cursor = self.cursor?;
            let pending = &mut self.pending;
            let next = self.table.scan_words(cursor, |word| {
                prefetch((word & ADDRESS_MASK) as *const u8);
                pending.push(word);
            });
            self.cursor = if next == 0 { None } else { Some(next) };
        }
    }
}

impl<E: Element> Table<E> {
    fn scan_words(&self, cursor: u64, mut f: impl FnMut(u64)) -> u64 {
        self.scan(cursor, |element| {
            let raw = std::ptr::from_ref::<E>(element);
            // SAFETY: an Element is a thin pointer; its address is read, its
            // ownership stays with the table.
            let copy = ManuallyDrop::new(unsafe { std::ptr::read(raw) });
            f(ManuallyDrop::into_inner(copy).into_raw().as_ptr() as u64);
        })
    }
}

/// Whether two keys are equal: most are short, and a call for them would cost
/// more than the comparison.
#[inline]
pub fn same_bytes(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    if let (Some([first, last]), Some([its_first, its_last])) = (ends::<16>(one), ends(other))
        && one.len() <= 32
    {
        return first == its_first && last == its_last;
    }
    if let (Some([first, last]), Some([its_first, its_last])) = (ends::<8>(one), ends(other))
        && one.len() < 16
    {
        return first == its_first && last == its_last;
    }
    match one.len() {
        0..8 => one.iter().zip(other).all(|(one, other)| one == other),
        _ => one == other,
    }
}

/// The first and the last `N` bytes, which may overlap.
#[inline]
fn ends<const N: usize>(bytes: &[u8]) -> Option<[&[u8; N]; 2]> {
    Some([bytes.first_chunk()?, bytes.last_chunk()?])
}

/// Asks the processor for the line of an address, which may be any.
#[inline]
pub fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch never faults, whatever the address.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// The hash that tables use: its key is a secret, so that a client can't choose
/// keys that collide.
#[inline]
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    use std::hash::{BuildHasher, Hasher};
    let mut hasher = secret::state().build_hasher();
    hasher.write(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests;
