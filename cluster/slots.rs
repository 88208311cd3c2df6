//! Hash slots: which of the 16384 a key belongs to.
//!
//! Source: the Redis Cluster specification, "Key distribution model" and
//! "Hash tags": `CRC16(key) mod 16384` with the XMODEM polynomial 0x1021, over
//! the part between the first `{` and the next `}` when that is not empty.

/// How many slots there are.
pub const SLOT_COUNT: usize = 16384;

/// A hash slot, below [`SLOT_COUNT`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Slot(u16);

impl Slot {
    /// The slot that `key` belongs to.
    #[inline]
    pub fn of_key(key: &[u8]) -> Slot {
        Slot(crc16(hash_tag(key)) & (SLOT_COUNT as u16 - 1))
    }

    /// The slot of all keys that a pattern makes when its `*` is replaced, if it
    /// must be one: a hash tag says so, with nothing before its end that stands for
    /// something else. A pattern without such characters is a key.
    pub fn of_pattern(pattern: &[u8]) -> Option<Slot> {
        let tag = hash_tag(pattern);
        let fixed = match tag.len() == pattern.len() {
            true => pattern.len(),
            false => pattern.iter().position(|&b| b == b'}')?,
        };
        let varies = |byte: &u8| matches!(byte, b'*' | b'?' | b'[' | b'\\');
        match pattern[..fixed].iter().any(varies) {
            true => None,
            false => Some(Slot::of_key(pattern)),
        }
    }

    /// The slot with this number, if there is one.
    pub fn new(number: u16) -> Option<Slot> {
        (usize::from(number) < SLOT_COUNT).then_some(Slot(number))
    }

    /// The slot's number.
    #[inline]
    pub fn number(self) -> u16 {
        self.0
    }
}

/// The part of a key that decides its slot.
#[inline]
pub fn hash_tag(key: &[u8]) -> &[u8] {
    match has_brace(key) {
        true => tag_within(key),
        false => key,
    }
}

fn tag_within(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|&b| b == b'{') else {
        return key;
    };
    match key[open + 1..].iter().position(|&b| b == b'}') {
        None | Some(0) => key,
        Some(len) => &key[open + 1..open + 1 + len],
    }
}

/// Whether there is a `{`, eight bytes a step: most keys are short and have none.
#[inline]
fn has_brace(key: &[u8]) -> bool {
    const ONES: u64 = u64::MAX / 255;
    // Not 0 if a byte of the word is a brace. Source: Lamport, "Multiple byte
    // processing with full-word instructions".
    let brace_in = |word: &[u8; 8]| {
        let differs = u64::from_ne_bytes(*word) ^ (ONES * u64::from(b'{'));
        differs.wrapping_sub(ONES) & !differs & (ONES << 7)
    };
    let (Some(first), Some(last)) = (key.first_chunk(), key.last_chunk()) else {
        return key.contains(&b'{');
    };
    let mut found = brace_in(first) | brace_in(last);
    if key.len() > 16 {
        let words = key[8..].chunks_exact(8);
        let words = words.filter_map(|word| word.first_chunk());
        found = words.fold(found, |found, word| found | brace_in(word));
    }
    found != 0
}

/// `TABLES[n][b]`: the CRC of byte `b` followed by `n` zero bytes, so that
/// eight bytes are folded in with eight independent look-ups.
static TABLES: [[u16; 256]; 8] = tables();

const fn tables() -> [[u16; 256]; 8] {
    let mut tables = [[0u16; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 {
                (crc << 1) ^ 0x1021
            } else {
                crc << 1
            };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut zeros = 1;
    while zeros < 8 {
        let mut byte = 0;
        while byte < 256 {
            let crc = tables[zeros - 1][byte];
            tables[zeros][byte] = (crc << 8) ^ tables[0][(crc >> 8) as usize];
            byte += 1;
        }
        zeros += 1;
    }
    tables
}

/// CRC16 with the XMODEM parameters (initial value 0, polynomial 0x1021).
#[inline]
pub fn crc16(bytes: &[u8]) -> u16 {
    let mut crc = 0u16;
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        crc = TABLES[7][usize::from((crc >> 8) as u8 ^ word[0])]
            ^ TABLES[6][usize::from(crc as u8 ^ word[1])]
            ^ TABLES[5][usize::from(word[2])]
            ^ TABLES[4][usize::from(word[3])]
            ^ TABLES[3][usize::from(word[4])]
            ^ TABLES[2][usize::from(word[5])]
            ^ TABLES[1][usize::from(word[6])]
            ^ TABLES[0][usize::from(word[7])];
    }
    for &byte in words.remainder() {
        crc = (crc << 8) ^ TABLES[0][usize::from((crc >> 8) as u8 ^ byte)];
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crc_equals_the_crc16_crate_at_every_length() {
        let bytes: Vec<u8> = (0..200u32).map(|n| (n * 37 + n / 7) as u8).collect();
        for len in 0..bytes.len() {
            let expected = crc16::State::<crc16::XMODEM>::calculate(&bytes[..len]);
            assert_eq!(crc16(&bytes[..len]), expected, "length {len}");
        }
    }

    #[test]
    fn known_slots() {
        assert_eq!(Slot::of_key(b"123456789").number(), 0x31c3 & 0x3fff);
        assert_eq!(Slot::of_key(b"foo").number(), 12182);
        assert_eq!(Slot::of_key(b"").number(), 0);
    }

    #[test]
    fn a_pattern_has_a_slot_if_a_tag_says_so() {
        let foo = Some(Slot::of_key(b"foo"));
        for pattern in ["{foo}*", "a{foo}w_*->f", "{foo}[ab]?", "foo", "{foo}{*}"] {
            assert_eq!(Slot::of_pattern(pattern.as_bytes()), foo, "{pattern}");
        }
        let open = [
            "*", "w_*{foo}", "{f*o}", "{}{foo}*", "{foo*", "a?{foo}", "[{foo}", "\\{foo}",
        ];
        for pattern in open {
            assert_eq!(Slot::of_pattern(pattern.as_bytes()), None, "{pattern}");
        }
    }

    #[test]
    fn hash_tags_follow_the_specification() {
        assert_eq!(hash_tag(b"{user1000}.following"), b"user1000");
        assert_eq!(hash_tag(b"foo{}{bar}"), b"foo{}{bar}");
        assert_eq!(hash_tag(b"foo{{bar}}zap"), b"{bar");
        assert_eq!(hash_tag(b"foo{bar}{zap}"), b"bar");
        assert_eq!(hash_tag(b"foo{bar"), b"foo{bar");
    }

    #[test]
    fn a_tag_is_found_wherever_it_stands() {
        for len in 0..60 {
            // Neighbours of a brace, and bytes whose upper bit is set, are none.
            let key: Vec<u8> = (0..len).map(|n| [b'z', b'|', 0xfb, 0][n % 4]).collect();
            assert_eq!(hash_tag(&key), key);
            for at in 0..len.saturating_sub(2) {
                let mut key = key.clone();
                (key[at], key[at + 1], key[at + 2]) = (b'{', b't', b'}');
                assert_eq!(hash_tag(&key), b"t", "{len} bytes, at {at}");
            }
        }
    }
}
