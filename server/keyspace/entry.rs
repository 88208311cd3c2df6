//! An entry: one key with its value, in one allocation.
//!
//! | bytes                | what                                             |
//! |----------------------|--------------------------------------------------|
//! | 16                   | header: lengths, access clock, kind, flags       |
//! | 8, with `EXPIRES`    | absolute expiry, Unix time in milliseconds       |
//! | 0, 8 or 16, by kind  | payload: an integer or an owned value type       |
//! | key length           | the key                                          |
//! | value length         | the value, when it is an inline string           |
//!
//! A GET of a short string so costs two cache lines, and 10 million of them
//! no allocation but this one.

mod collection;
pub mod frequency;
mod measure;
mod state;
mod value;

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use super::hash::Hash;
use super::list::List;
use super::set::Set;
use super::stream::Stream;
use super::table::Element;
use super::zset::ZSet;

pub use value::{Value, ValueRef, ValueType};

/// Strings up to this many bytes lie inside the entry.
const INLINE_LIMIT: usize = 4096;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum Kind {
    Int,
    Inline,
    Big,
    List,
    Set,
    Hash,
    ZSet,
    Stream,
}

/// Flag: the entry has an expiry.
const EXPIRES: u8 = 1;
/// Flag: the string was changed in place, so its encoding is "raw".
const CHANGED_IN_PLACE: u8 = 2;
/// Flags: the entry is in the set of changed keys of an even or odd epoch
/// (see `dirty.rs`).
const DIRTY: [u8; 2] = [4, 8];

/// Flag: the tree has a row for the key, or will when the checkpoint under way
/// commits; so removing the key must remove a row.
const IN_TREE: u8 = 16;

/// Flag: the value is in the tree only. What lies in its place is an inline
/// string of one byte, the value's type.
const COLD: u8 = 32;

#[repr(C)]
struct Header {
    key_len: u32,
    value_len: u32,
    /// 24 bits for the eviction clock (seconds, or see `frequency.rs`), 8 to
    /// spare.
    access: u32,
    kind: Kind,
    flags: u8,
}

/// Size of the header in memory.
const HEADER: usize = 16;

/// A growable string, boxed so that its pointer is thin.
type Big = Box<Vec<u8>>;

#[repr(C)]
union Payload {
    int: i64,
    big: ManuallyDrop<Big>,
    list: ManuallyDrop<List>,
    set: ManuallyDrop<Set>,
    hash: ManuallyDrop<Hash>,
    zset: ManuallyDrop<ZSet>,
    stream: ManuallyDrop<Stream>,
}

/// One key with its value; a thin owned pointer.
pub struct Entry(NonNull<Header>);

// SAFETY: an entry owns all it points to.
unsafe impl Send for Entry {}
// SAFETY: shared access only reads.
unsafe impl Sync for Entry {}

// SAFETY: the pointer is thin and stable, the key never changes.
unsafe impl Element for Entry {
    const WATCHED: bool = true;
    #[inline]
    fn key(&self) -> &[u8] {
        Entry::key(self)
    }
    #[inline]
    fn into_raw(self) -> NonNull<u8> {
        ManuallyDrop::new(self).0.cast()
    }
    #[inline]
    unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        Entry(raw.cast())
    }
}

impl Kind {
    const fn payload_size(self) -> usize {
        match self {
            Kind::Inline => 0,
            Kind::Int | Kind::Big | Kind::Stream => 8,
            Kind::List | Kind::Set | Kind::Hash | Kind::ZSet => 16,
        }
    }
}

impl Entry {
    /// An entry with a string value. A canonical decimal is kept as integer.
    pub fn new_string(key: &[u8], value: &[u8], expire_at_ms: Option<i64>) -> Entry {
        if value.len() <= 20
            && let Some(int) = crate::number::parse_i64(value)
        {
            return Entry::new(key, Value::Int(int), expire_at_ms);
        }
        if value.len() > INLINE_LIMIT {
            return Entry::new(key, Value::Bytes(value.to_vec()), expire_at_ms);
        }
        let entry = Entry::allocate(key, Kind::Inline, value.len(), expire_at_ms);
        // SAFETY: the allocation has value.len() bytes behind the key.
        unsafe {
            let to = entry.key_ptr().add(key.len());
            std::ptr::copy_nonoverlapping(value.as_ptr(), to, value.len());
        }
        entry
    }

    /// An entry with any value.
    pub fn new(key: &[u8], value: Value, expire_at_ms: Option<i64>) -> Entry {
        let (kind, payload) = match value {
            Value::Bytes(bytes) if bytes.len() <= INLINE_LIMIT => {
                return Entry::new_inline(key, &bytes, expire_at_ms);
            }
            Value::Bytes(bytes) => (
                Kind::Big,
                Payload {
                    big: ManuallyDrop::new(Box::new(bytes)),
                },
            ),
            Value::Int(int) => (Kind::Int, Payload { int }),
            Value::List(list) => (
                Kind::List,
                Payload {
                    list: ManuallyDrop::new(list),
                },
            ),
            Value::Set(set) => (
                Kind::Set,
                Payload {
                    set: ManuallyDrop::new(set),
                },
            ),
            Value::Hash(hash) => (
                Kind::Hash,
                Payload {
                    hash: ManuallyDrop::new(hash),
                },
            ),
            Value::ZSet(zset) => (
                Kind::ZSet,
                Payload {
                    zset: ManuallyDrop::new(zset),
                },
            ),
            Value::Stream(stream) => (
                Kind::Stream,
                Payload {
                    stream: ManuallyDrop::new(stream),
                },
            ),
        };
        let entry = Entry::allocate(key, kind, 0, expire_at_ms);
        // SAFETY: `allocate` made room for this kind's payload; the unused
        // upper half of a smaller one is not copied.
        unsafe {
            std::ptr::copy_nonoverlapping(
                std::ptr::from_ref(&payload).cast::<u8>(),
                entry.payload_ptr(),
                kind.payload_size(),
            );
        }
        entry
    }

    fn new_inline(key: &[u8], value: &[u8], expire_at_ms: Option<i64>) -> Entry {
        let entry = Entry::allocate(key, Kind::Inline, value.len(), expire_at_ms);
        // SAFETY: as in `new_string`.
        unsafe {
            let to = entry.key_ptr().add(key.len());
            std::ptr::copy_nonoverlapping(value.as_ptr(), to, value.len());
        }
        entry
    }

    fn layout(kind: Kind, flags: u8, key_len: usize, value_len: usize) -> Layout {
        let expiry = if flags & EXPIRES != 0 { 8 } else { 0 };
        let size = HEADER + expiry + kind.payload_size() + key_len + value_len;
        Layout::from_size_align(size, 8).expect("an entry's size fits the address space")
    }

    #[inline]
    fn allocate(key: &[u8], kind: Kind, value_len: usize, expire_at_ms: Option<i64>) -> Entry {
        let flags = if expire_at_ms.is_some() { EXPIRES } else { 0 };
        let layout = Entry::layout(kind, flags, key.len(), value_len);
        // SAFETY: the size is at least that of the header.
        let Some(raw) = NonNull::new(unsafe { alloc(layout) }) else {
            handle_alloc_error(layout)
        };
        let header = Header {
            key_len: u32::try_from(key.len()).expect("keys are below 512 MB"),
            value_len: value_len as u32,
            access: 0,
            kind,
            flags,
        };
        // SAFETY: the allocation holds header, expiry, payload, key in turn.
        unsafe {
            raw.cast::<Header>().write(header);
            let entry = Entry(raw.cast());
            if let Some(at_ms) = expire_at_ms {
                entry.expiry_ptr().write(at_ms);
            }
            std::ptr::copy_nonoverlapping(key.as_ptr(), entry.key_ptr(), key.len());
            entry
        }
    }

    #[inline]
    fn header(&self) -> &Header {
        // SAFETY: an entry points to its initialised header.
        unsafe { self.0.as_ref() }
    }

    #[inline]
    fn header_mut(&mut self) -> &mut Header {
        // SAFETY: as in `header`; the entry is borrowed mutably.
        unsafe { self.0.as_mut() }
    }

    #[inline]
    fn expiry_ptr(&self) -> *mut i64 {
        // SAFETY: still inside the allocation, or one past its end.
        unsafe { self.0.as_ptr().cast::<u8>().add(HEADER).cast() }
    }

    #[inline]
    fn payload_ptr(&self) -> *mut u8 {
        let expiry = if self.header().flags & EXPIRES != 0 {
            8
        } else {
            0
        };
        // SAFETY: as in `expiry_ptr`.
        unsafe { self.0.as_ptr().cast::<u8>().add(HEADER + expiry) }
    }

    #[inline]
    fn key_ptr(&self) -> *mut u8 {
        // SAFETY: as in `expiry_ptr`.
        unsafe { self.payload_ptr().add(self.header().kind.payload_size()) }
    }

    /// The key.
    #[inline]
    pub fn key(&self) -> &[u8] {
        // SAFETY: key_len bytes lie there, written once by `allocate`.
        unsafe { std::slice::from_raw_parts(self.key_ptr(), self.header().key_len as usize) }
    }

    /// The value.
    #[inline]
    pub fn value(&self) -> ValueRef<'_> {
        let payload = self.payload_ptr();
        // SAFETY: the payload is of the header's kind.
        unsafe {
            match self.header().kind {
                Kind::Inline => {
                    let header = self.header();
                    ValueRef::Bytes(std::slice::from_raw_parts(
                        payload.add(header.key_len as usize),
                        header.value_len as usize,
                    ))
                }
                Kind::Int => ValueRef::Int(payload.cast::<i64>().read()),
                Kind::Big => ValueRef::Bytes(&*payload.cast::<Big>()),
                Kind::List => ValueRef::List(&*payload.cast()),
                Kind::Set => ValueRef::Set(&*payload.cast()),
                Kind::Hash => ValueRef::Hash(&*payload.cast()),
                Kind::ZSet => ValueRef::ZSet(&*payload.cast()),
                Kind::Stream => ValueRef::Stream(&*payload.cast()),
            }
        }
    }

    /// The type as TYPE names it.
    #[inline]
    pub fn value_type(&self) -> ValueType {
        match self.header().kind {
            Kind::Inline if self.is_cold() => self.cold_type(),
            Kind::Int | Kind::Inline | Kind::Big => ValueType::String,
            Kind::List => ValueType::List,
            Kind::Set => ValueType::Set,
            Kind::Hash => ValueType::Hash,
            Kind::ZSet => ValueType::ZSet,
            Kind::Stream => ValueType::Stream,
        }
    }

    /// The integer, if the string is held as one, to change it.
    #[inline]
    pub fn int_mut(&mut self) -> Option<&mut i64> {
        // SAFETY: the payload is of the header's kind, borrowed mutably.
        (self.header().kind == Kind::Int).then(|| unsafe { &mut *self.payload_ptr().cast() })
    }

    /// The string's growable bytes; only after [`Entry::into_big`].
    #[inline]
    pub fn big_mut(&mut self) -> Option<&mut Vec<u8>> {
        // SAFETY: as in `int_mut`.
        (self.header().kind == Kind::Big)
            .then(|| unsafe { (*self.payload_ptr().cast::<Big>()).as_mut() })
    }

    /// The same string in growable form, for APPEND, SETRANGE, SETBIT. Not a
    /// string: unchanged.
    pub fn into_big(mut self) -> Entry {
        let bytes = match self.value() {
            ValueRef::Int(int) => itoa::Buffer::new().format(int).as_bytes().to_vec(),
            ValueRef::Bytes(bytes) if self.header().kind == Kind::Inline => bytes.to_vec(),
            _ => {
                self.header_mut().flags |= CHANGED_IN_PLACE;
                return self;
            }
        };
        let mut big = Entry::allocate(self.key(), Kind::Big, 0, self.expire_at_ms());
        // SAFETY: room for this kind's payload was allocated.
        unsafe { big.payload_ptr().cast::<Big>().write(Box::new(bytes)) };
        big.copy_state_from(&self);
        big.header_mut().flags |= CHANGED_IN_PLACE;
        big
    }

    fn copy_state_from(&mut self, other: &Entry) {
        let kept = DIRTY[0] | DIRTY[1] | CHANGED_IN_PLACE | IN_TREE;
        self.header_mut().access = other.header().access;
        self.header_mut().flags |= other.header().flags & kept;
    }

    /// When the key expires, in Unix milliseconds.
    #[inline]
    pub fn expire_at_ms(&self) -> Option<i64> {
        // SAFETY: with the flag, the expiry lies there.
        (self.header().flags & EXPIRES != 0).then(|| unsafe { self.expiry_ptr().read() })
    }

    /// The same entry with another expiry or none.
    pub fn with_expiry(self, expire_at_ms: Option<i64>) -> Entry {
        match (self.expire_at_ms(), expire_at_ms) {
            (None, None) => self,
            (Some(_), Some(at_ms)) => {
                // SAFETY: with the flag, the expiry lies there.
                unsafe { self.expiry_ptr().write(at_ms) };
                self
            }
            _ => self.moved(expire_at_ms),
        }
    }

    /// A new allocation with another expiry; the payload moves over.
    fn moved(mut self, expire_at_ms: Option<i64>) -> Entry {
        let (kind, value_len) = (self.header().kind, self.header().value_len as usize);
        let mut new = Entry::allocate(self.key(), kind, value_len, expire_at_ms);
        let tail = kind.payload_size() + self.header().key_len as usize + value_len;
        // SAFETY: both allocations hold `tail` bytes from the payload on; the
        // old one is then turned into an inline string so that dropping it
        // frees no payload twice; its layout is recomputed by hand here.
        unsafe {
            std::ptr::copy_nonoverlapping(self.payload_ptr(), new.payload_ptr(), tail);
            new.copy_state_from(&self);
            let header = self.header_mut();
            let layout = Entry::layout(kind, header.flags, header.key_len as usize, value_len);
            dealloc(self.0.as_ptr().cast(), layout);
        }
        std::mem::forget(self);
        new
    }

    /// The value taken out, for a key that is renamed or moved.
    pub fn into_value(self) -> Value {
        let value = match self.header().kind {
            Kind::Inline => {
                let ValueRef::Bytes(bytes) = self.value() else {
                    unreachable!("inline is bytes")
                };
                return Value::Bytes(bytes.to_vec());
            }
            // SAFETY: the payload is of the header's kind and is read once;
            // the allocation is then freed without dropping it.
            kind => unsafe {
                let payload = self.payload_ptr();
                match kind {
                    Kind::Big => Value::Bytes(*payload.cast::<Big>().read()),
                    Kind::List => Value::List(payload.cast::<List>().read()),
                    Kind::Set => Value::Set(payload.cast::<Set>().read()),
                    Kind::Hash => Value::Hash(payload.cast::<Hash>().read()),
                    Kind::ZSet => Value::ZSet(payload.cast::<ZSet>().read()),
                    Kind::Stream => Value::Stream(payload.cast::<Stream>().read()),
                    Kind::Int | Kind::Inline => Value::Int(payload.cast::<i64>().read()),
                }
            },
        };
        self.free_allocation();
        value
    }

    fn free_allocation(self) {
        let header = self.header();
        let (key_len, value_len) = (header.key_len as usize, header.value_len as usize);
        let layout = Entry::layout(header.kind, header.flags, key_len, value_len);
        // SAFETY: allocated with this layout; `forget` keeps Drop away.
        unsafe { dealloc(self.0.as_ptr().cast(), layout) };
        std::mem::forget(self);
    }

    /// Overwrites an inline string with one of the same length, keeping the
    /// expiry; false when it doesn't fit.
    #[inline]
    pub fn overwrite(&mut self, value: &[u8]) -> bool {
        let header = self.header();
        if header.kind != Kind::Inline
            || header.value_len as usize != value.len()
            || header.flags & (CHANGED_IN_PLACE | COLD) != 0
            || (value.len() <= 20 && crate::number::parse_i64(value).is_some())
        {
            return false;
        }
        // SAFETY: value_len bytes lie behind the key, borrowed mutably.
        unsafe {
            let to = self.key_ptr().add(header.key_len as usize);
            std::ptr::copy_nonoverlapping(value.as_ptr(), to, value.len());
        }
        true
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // SAFETY: the payload is of the header's kind and dropped once; the
        // allocation has this layout.
        unsafe {
            let payload = self.payload_ptr();
            match self.header().kind {
                Kind::Int | Kind::Inline => {}
                Kind::Big => payload.cast::<Big>().drop_in_place(),
                Kind::List => payload.cast::<List>().drop_in_place(),
                Kind::Set => payload.cast::<Set>().drop_in_place(),
                Kind::Hash => payload.cast::<Hash>().drop_in_place(),
                Kind::ZSet => payload.cast::<ZSet>().drop_in_place(),
                Kind::Stream => payload.cast::<Stream>().drop_in_place(),
            }
            let header = self.header();
            let (key_len, value_len) = (header.key_len as usize, header.value_len as usize);
            let layout = Entry::layout(header.kind, header.flags, key_len, value_len);
            dealloc(self.0.as_ptr().cast(), layout);
        }
    }
}
