//! Passwords are kept as SHA-256 hashes, in lower-case hexadecimal, and
//! compared in a time that tells nothing about them.

use sha2::{Digest, Sha256};

/// The hash of a password: 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// The hash of a password in clear.
    pub fn of(password: &[u8]) -> PasswordHash {
        let digest = Sha256::digest(password);
        let mut text = String::with_capacity(64);
        for byte in digest {
            text.push_str(&format!("{byte:02x}"));
        }
        PasswordHash(text)
    }

    /// Reads a hash; None unless it is 64 lower-case hexadecimal digits.
    pub fn parse(text: &[u8]) -> Option<PasswordHash> {
        let digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 64 || !text.iter().all(digit) {
            return None;
        }
        String::from_utf8(text.to_vec()).ok().map(PasswordHash)
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether both are equal; how long that takes depends on neither.
    pub fn same_as(&self, other: &PasswordHash) -> bool {
        let pairs = self.0.bytes().zip(other.0.bytes());
        let differences = pairs.fold(0, |all, (a, b)| all | std::hint::black_box(a ^ b));
        differences == 0 && self.0.len() == other.0.len()
    }
}
