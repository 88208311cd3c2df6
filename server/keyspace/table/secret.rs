//! The key of the tables' hash: a secret of the data directory, or of the
//! process when that has none.

use std::sync::OnceLock;

use ahash::RandomState;

/// The key, and what is made of it.
static KEYED: OnceLock<(RandomState, [u64; 4])> = OnceLock::new();

fn keyed(key: [u64; 4]) -> (RandomState, [u64; 4]) {
    let [a, b, c, d] = key;
    (RandomState::with_seeds(a, b, c, d), key)
}

fn anew() -> (RandomState, [u64; 4]) {
    let random = RandomState::new();
    keyed(std::array::from_fn(|word| random.hash_one(word)))
}

/// The state that a hash begins with.
#[inline]
pub fn state() -> &'static RandomState {
    &KEYED.get_or_init(anew).0
}

/// The key in use.
pub fn key() -> [u64; 4] {
    KEYED.get_or_init(anew).1
}

/// Takes this key, unless another one has been in use; whether it is the key
/// now.
pub fn adopt(key: [u64; 4]) -> bool {
    KEYED.get_or_init(|| keyed(key)).1 == key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_in_use_stays() {
        let mine = key();
        assert!(adopt(mine));
        assert!(!adopt([mine[0] ^ 1, mine[1], mine[2], mine[3]]));
        assert_eq!(key(), mine);
    }
}
