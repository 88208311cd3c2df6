//! A seeded generator, and the mutations that it draws.

/// The xorshift64* generator: a campaign repeats exactly from its seed.
pub struct Random(u64);

impl Random {
    /// Any seed will do.
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `limit`; 0 if that is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        match limit {
            0 => 0,
            _ => ((self.bits() >> 11) % limit as u64) as usize,
        }
    }

    /// One of a list that is not empty.
    pub fn choose<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

/// Numbers at which parsers go wrong, as text.
const NUMBERS: [&[u8]; 12] = [
    b"0",
    b"-1",
    b"1",
    b"127",
    b"65536",
    b"1048577",
    b"2147483647",
    b"2147483648",
    b"4294967296",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"18446744073709551616",
];
/// The same, as one byte.
const BYTES: [u8; 12] = [0, 1, 63, 64, 127, 128, 191, 192, 193, 224, 254, 255];

/// A corpus entry with one to six mutations, of at most `max_bytes`.
pub fn mutate(random: &mut Random, corpus: &[Vec<u8>], max_bytes: usize) -> Vec<u8> {
    let mut input = random.choose(corpus).clone();
    for _ in 0..=random.below(6) {
        let other = random.choose(corpus);
        mutate_once(random, &mut input, other);
    }
    input.truncate(max_bytes);
    input
}

fn mutate_once(random: &mut Random, input: &mut Vec<u8>, other: &[u8]) {
    let at = random.below(input.len());
    let span = 1 + random.below(16.min(input.len() - at).max(1));
    let end = (at + span).min(input.len());
    match random.below(10) {
        0 => flip(input, at, 1 << random.below(8)),
        1 => replace(input, at, *random.choose(&BYTES)),
        2 => replace(input, at, random.bits() as u8),
        3 => edit_number(random, input, at),
        4 => edit_length(random, input, at),
        5 => drop(input.drain(at..end)),
        6 => {
            let copy = input[at..end].to_vec();
            let to = random.below(input.len() + 1);
            input.splice(to..to, copy);
        }
        7 => {
            // The head of this and the tail of another.
            input.truncate(at);
            input.extend_from_slice(&other[random.below(other.len() + 1)..]);
        }
        8 => {
            let from = random.below(other.len());
            let to = (from + 1 + random.below(32)).min(other.len());
            input.splice(at..at, other[from..to].iter().copied());
        }
        _ => input.truncate(random.below(input.len() + 1)),
    }
}

fn flip(input: &mut [u8], at: usize, bit: u8) {
    if let Some(byte) = input.get_mut(at) {
        *byte ^= bit;
    }
}

fn replace(input: &mut [u8], at: usize, by: u8) {
    if let Some(byte) = input.get_mut(at) {
        *byte = by;
    }
}

/// Puts another number in place of the first run of digits from `at` on.
fn edit_number(random: &mut Random, input: &mut Vec<u8>, at: usize) {
    let Some(start) = input[at..].iter().position(u8::is_ascii_digit) else {
        return;
    };
    let start = at + start;
    let digits = input[start..].iter().take_while(|b| b.is_ascii_digit());
    let end = start + digits.count();
    if random.below(2) == 0 {
        input[start] = b'0' + random.below(10) as u8;
    } else {
        input.splice(start..end, random.choose(&NUMBERS).iter().copied());
    }
}

/// Adds a little to a binary number of one, two, four or eight bytes, in either byte order, or
/// puts an extreme one there.
fn edit_length(random: &mut Random, input: &mut [u8], at: usize) {
    let width = 1 << random.below(4);
    let Some(field) = input.get_mut(at..at + width) else {
        return;
    };
    let big_endian = random.below(2) == 0;
    if big_endian {
        field.reverse();
    }
    let mut bytes = [0; 8];
    bytes[..width].copy_from_slice(field);
    let old = u64::from_le_bytes(bytes);
    let new = match random.below(4) {
        0 => old.wrapping_add(1 + random.below(16) as u64),
        1 => old.wrapping_sub(1 + random.below(16) as u64),
        2 => u64::MAX >> random.below(64),
        _ => old.wrapping_mul(2),
    };
    field.copy_from_slice(&new.to_le_bytes()[..width]);
    if big_endian {
        field.reverse();
    }
}

#[test]
fn the_same_seed_gives_the_same_inputs_and_another_gives_others() {
    let corpus = [b"*1\r\n$4\r\nPING\r\n".to_vec(), b"save 60 1\n".to_vec()];
    let draw = |seed| {
        let mut random = Random::new(seed);
        let one = |_| mutate(&mut random, &corpus, 20);
        (0..500).map(one).collect::<Vec<_>>()
    };
    assert_eq!(draw(3), draw(3));
    assert_ne!(draw(3), draw(4));
    assert!(draw(3).iter().all(|input| input.len() <= 20));
}
