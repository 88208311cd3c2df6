//! What the tables of large collections hold: one allocation an element,
//! behind a thin pointer.
//!
//! | element | of | layout |
//! |---|---|---|
//! | [`Member`] | a set | `<length> <member>` |
//! | [`Scored`] | a sorted set | `<score, f64> <length> <member>` |
//! | [`Field`] | a hash | `<flags, u8> [<expiry, i64>] <length> <length> <field> <value>` |
//!
//! A length is one byte up to 254, else `0xFF` and a u32. The lowest flag of a
//! field tells that an expiry (Unix ms) follows; the others are 0.

use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use super::block::{Block, capacity};
use super::table::Element;

/// Marks a length of four bytes.
const LONG: u8 = 0xFF;

fn length_size(len: usize) -> usize {
    if len < usize::from(LONG) { 1 } else { 5 }
}

/// Writes a length at `at`; returns the place after it.
fn write_length(out: &mut [u8], at: usize, len: usize) -> usize {
    if length_size(len) == 1 {
        out[at] = len as u8;
        return at + 1;
    }
    let len = u32::try_from(len).expect("an argument is shorter than 4 GiB");
    out[at] = LONG;
    out[at + 1..at + 5].copy_from_slice(&len.to_le_bytes());
    at + 5
}

/// Reads a length at `at`; returns it and the place after it.
///
/// # Safety
/// `write_length` has written there.
#[inline]
unsafe fn read_length(block: &Block, at: usize) -> (usize, usize) {
    // SAFETY: there is at least one byte, as the caller grants.
    let first = unsafe { block.bytes(at + 1) }[at];
    if first != LONG {
        return (usize::from(first), at + 1);
    }
    // SAFETY: four bytes follow the mark.
    let bytes = unsafe { block.bytes(at + 5) };
    let len = u32::from_le_bytes([bytes[at + 1], bytes[at + 2], bytes[at + 3], bytes[at + 4]]);
    (len as usize, at + 5)
}

/// Declares a thin element: `start` gives the key's place and the block's
/// length.
macro_rules! thin_element {
    ($name:ident) => {
        impl Drop for $name {
            fn drop(&mut self) {
                let len = self.block_len();
                // SAFETY: that is the length the block was made with.
                unsafe { self.0.free(len) };
            }
        }

        impl $name {
            /// Bytes taken from the allocator.
            pub fn memory_bytes(&self) -> usize {
                capacity(self.block_len())
            }
        }

        // SAFETY: a Block's address is stable, owned and non-null; `into_raw`
        // forgets the owner that `from_raw` makes again. Nothing changes the
        // key's bytes.
        unsafe impl Element for $name {
            #[inline]
            fn key(&self) -> &[u8] {
                self.name()
            }
            #[inline]
            fn into_raw(self) -> NonNull<u8> {
                ManuallyDrop::new(self).0.as_ptr()
            }
            #[inline]
            unsafe fn from_raw(raw: NonNull<u8>) -> Self {
                // SAFETY: as the caller grants.
                Self(unsafe { Block::from_ptr(raw) })
            }
        }
    };
}

/// A member of a set.
#[repr(transparent)]
pub struct Member(Block);
thin_element!(Member);

impl Member {
    pub fn new(name: &[u8]) -> Self {
        let len = length_size(name.len()) + name.len();
        let mut block = Block::new(len);
        // SAFETY: the block was made with that length.
        let out = unsafe { block.bytes_mut(len) };
        let at = write_length(out, 0, name.len());
        out[at..].copy_from_slice(name);
        Self(block)
    }

    fn block_len(&self) -> usize {
        // SAFETY: `new` wrote a length there.
        let (len, at) = unsafe { read_length(&self.0, 0) };
        at + len
    }

    /// The member.
    #[inline]
    pub fn name(&self) -> &[u8] {
        // SAFETY: `new` wrote a length there.
        let (len, at) = unsafe { read_length(&self.0, 0) };
        // SAFETY: the block has that many bytes.
        let bytes = unsafe { self.0.bytes(at + len) };
        &bytes[at..]
    }
}

/// Where the length of a scored member is.
const SCORE: usize = 8;

/// A member of a sorted set with its score.
#[repr(transparent)]
pub struct Scored(Block);
thin_element!(Scored);

impl Scored {
    pub fn new(name: &[u8], score: f64) -> Self {
        let len = SCORE + length_size(name.len()) + name.len();
        let mut block = Block::new(len);
        // SAFETY: the block was made with that length.
        let out = unsafe { block.bytes_mut(len) };
        out[..SCORE].copy_from_slice(&score.to_le_bytes());
        let at = write_length(out, SCORE, name.len());
        out[at..].copy_from_slice(name);
        Self(block)
    }

    fn block_len(&self) -> usize {
        // SAFETY: `new` wrote a length there.
        let (len, at) = unsafe { read_length(&self.0, SCORE) };
        at + len
    }

    /// The element's address, while it stays the table's.
    pub fn address(&self) -> NonNull<u8> {
        self.0.as_ptr()
    }

    /// The member.
    #[inline]
    pub fn name(&self) -> &[u8] {
        // SAFETY: `new` wrote a length there.
        let (len, at) = unsafe { read_length(&self.0, SCORE) };
        // SAFETY: the block has that many bytes.
        let bytes = unsafe { self.0.bytes(at + len) };
        &bytes[at..]
    }

    pub fn score(&self) -> f64 {
        // SAFETY: the block begins with a score.
        let bytes = unsafe { self.0.bytes(SCORE) };
        f64::from_le_bytes(bytes.try_into().unwrap_or_default())
    }

    pub fn set_score(&mut self, score: f64) {
        // SAFETY: the block begins with a score.
        unsafe { self.0.bytes_mut(SCORE) }.copy_from_slice(&score.to_le_bytes());
    }
}

/// Bytes of a field's flags; without an expiry, its lengths follow.
const FLAGS: usize = 1;
/// Flag: the field has an expiry.
const EXPIRES: u8 = 1;
/// Bytes of an expiry.
const EXPIRY: usize = 8;

/// A field of a hash with its value.
#[repr(transparent)]
pub struct Field(Block);
thin_element!(Field);

/// Where the parts of a [`Field`] are.
struct FieldPlaces {
    /// Where the value's length is.
    value_length: usize,
    name: usize,
    value: usize,
    end: usize,
}

impl Field {
    pub fn new(name: &[u8], value: &[u8]) -> Self {
        Self::expiring(name, value, None)
    }

    /// A field that expires at a moment in Unix milliseconds, or never.
    pub fn expiring(name: &[u8], value: &[u8], expire_at_ms: Option<i64>) -> Self {
        let lengths = length_size(name.len()) + length_size(value.len());
        let head = FLAGS + expire_at_ms.map_or(0, |_| EXPIRY);
        let len = head + lengths + name.len() + value.len();
        let mut block = Block::new(len);
        // SAFETY: the block was made with that length.
        let out = unsafe { block.bytes_mut(len) };
        out[0] = 0;
        if let Some(at_ms) = expire_at_ms {
            out[0] = EXPIRES;
            out[FLAGS..head].copy_from_slice(&at_ms.to_le_bytes());
        }
        let at = write_length(out, head, name.len());
        let at = write_length(out, at, value.len());
        out[at..at + name.len()].copy_from_slice(name);
        out[at + name.len()..].copy_from_slice(value);
        Self(block)
    }

    /// When the field expires, in Unix milliseconds.
    #[inline]
    pub fn expire_at_ms(&self) -> Option<i64> {
        // SAFETY: the block begins with the flags.
        if unsafe { self.0.bytes(FLAGS) }[0] & EXPIRES == 0 {
            return None;
        }
        // SAFETY: an expiry follows, as the flag says.
        let bytes = unsafe { self.0.bytes(FLAGS + EXPIRY) };
        bytes[FLAGS..].try_into().ok().map(i64::from_le_bytes)
    }

    /// The same field with another expiry or none.
    pub fn with_expiry(mut self, expire_at_ms: Option<i64>) -> Self {
        match (self.expire_at_ms(), expire_at_ms) {
            (None, None) => self,
            (Some(_), Some(at_ms)) => {
                // SAFETY: the block has an expiry.
                let out = unsafe { self.0.bytes_mut(FLAGS + EXPIRY) };
                out[FLAGS..].copy_from_slice(&at_ms.to_le_bytes());
                self
            }
            _ => Self::expiring(self.name(), self.value(), expire_at_ms),
        }
    }

    #[inline]
    fn places(&self) -> FieldPlaces {
        // SAFETY: the block begins with the flags.
        let head = match unsafe { self.0.bytes(FLAGS) }[0] & EXPIRES {
            0 => FLAGS,
            _ => FLAGS + EXPIRY,
        };
        // SAFETY: `expiring` wrote two lengths there.
        let (name_len, value_length) = unsafe { read_length(&self.0, head) };
        // SAFETY: as above.
        let (value_len, name) = unsafe { read_length(&self.0, value_length) };
        let value = name + name_len;
        FieldPlaces {
            value_length,
            name,
            value,
            end: value + value_len,
        }
    }

    fn block_len(&self) -> usize {
        self.places().end
    }

    /// The field.
    #[inline]
    pub fn name(&self) -> &[u8] {
        let places = self.places();
        // SAFETY: the block has that many bytes.
        let bytes = unsafe { self.0.bytes(places.value) };
        &bytes[places.name..]
    }

    /// The value.
    #[inline]
    pub fn value(&self) -> &[u8] {
        let places = self.places();
        // SAFETY: the block has that many bytes.
        let bytes = unsafe { self.0.bytes(places.end) };
        &bytes[places.value..]
    }

    /// The same field with another value and the same expiry, in the same
    /// allocation where that is possible.
    pub fn with_value(mut self, value: &[u8]) -> Self {
        let places = self.places();
        if length_size(places.end - places.value) != length_size(value.len()) {
            return Self::expiring(self.name(), value, self.expire_at_ms());
        }
        let end = places.value + value.len();
        // SAFETY: the block was `places.end` bytes long, and is `end` after
        // that.
        let out = unsafe {
            self.0.resize(places.end, end);
            self.0.bytes_mut(end)
        };
        write_length(out, places.value_length, value.len());
        out[places.value..].copy_from_slice(value);
        self
    }
}

/// Elements looked at for an estimate of all.
const SAMPLED: usize = 64;

/// An estimate of the bytes of `len` elements from those of the first few.
pub(super) fn estimate_total(bytes: impl Iterator<Item = usize>, len: usize) -> usize {
    let (sum, count) = bytes
        .take(SAMPLED)
        .fold((0, 0), |(sum, count), bytes| (sum + bytes, count + 1));
    (sum * len).checked_div(count).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Field, Member, Scored};

    #[test]
    fn elements_give_back_what_they_were_made_of() {
        for len in [0, 1, 253, 254, 255, 256, 70_000] {
            let name = vec![b'n'; len];
            assert_eq!(Member::new(&name).name(), name);
            let mut scored = Scored::new(&name, 1.5);
            scored.set_score(-2.5);
            assert_eq!((scored.name(), scored.score()), (&name[..], -2.5));
            for value_len in [0, 3, 254, 255, 400, 20] {
                let value = vec![b'v'; value_len];
                let field = Field::new(&name, b"old").with_value(&value);
                assert_eq!((field.name(), field.value()), (&name[..], &value[..]));
                let field = field.with_expiry(Some(7)).with_value(b"again and again");
                assert_eq!(field.expire_at_ms(), Some(7));
                let field = field.with_expiry(Some(-8)).with_value(&value);
                assert_eq!(
                    (field.name(), field.value(), field.expire_at_ms()),
                    (&name[..], &value[..], Some(-8))
                );
                let field = field.with_expiry(None).with_value(b"again and again");
                assert_eq!(field.expire_at_ms(), None);
                assert_eq!(
                    (field.name(), field.value()),
                    (&name[..], &b"again and again"[..])
                );
            }
        }
    }
}
