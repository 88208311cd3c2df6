//! Names of nodes and shards, and epochs: the small values that every part of
//! the protocol passes around.

use std::fmt;

use crate::random::Random;

/// Length of a node's or shard's name, in bytes.
pub const ID_LEN: usize = 40;

/// The name of a node or of a shard: 40 characters, hexadecimal digits where
/// this server draws them; any of `a`–`z` and `0`–`9` is accepted from others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId([u8; ID_LEN]);

impl NodeId {
    /// A name drawn at random.
    pub fn random(random: &mut Random) -> NodeId {
        let mut id = [0; ID_LEN];
        for byte in &mut id {
            *byte = b"0123456789abcdef"[random.below(16) as usize];
        }
        NodeId(id)
    }

    /// The name that these bytes are, if they are one.
    pub fn parse(bytes: &[u8]) -> Option<NodeId> {
        let id: [u8; ID_LEN] = bytes.try_into().ok()?;
        let fits = |byte: &u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
        id.iter().all(fits).then_some(NodeId(id))
    }

    /// Its characters.
    pub fn as_bytes(&self) -> &[u8; ID_LEN] {
        &self.0
    }

    /// Its characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.as_str()[..8])
    }
}

/// A current or a configuration epoch: the cluster's logical clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The one after it.
    pub fn next(self) -> Epoch {
        Epoch(self.0.saturating_add(1))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
