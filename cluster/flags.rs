//! What a node is and how it fares, as bits that travel on the bus and as
//! words in `nodes.conf` and CLUSTER NODES.

use std::fmt;

/// A set of the constants below.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Flags(pub u16);

impl Flags {
    /// It is a primary.
    pub const PRIMARY: Flags = Flags(1 << 0);
    /// It is a replica.
    pub const REPLICA: Flags = Flags(1 << 1);
    /// This node can't reach it.
    pub const PFAIL: Flags = Flags(1 << 2);
    /// A majority of primaries can't reach it.
    pub const FAIL: Flags = Flags(1 << 3);
    /// It is this node.
    pub const MYSELF: Flags = Flags(1 << 4);
    /// Its name is not known yet.
    pub const HANDSHAKE: Flags = Flags(1 << 5);
    /// Its address is not known.
    pub const NOADDR: Flags = Flags(1 << 6);
    /// It is to be sent MEET.
    pub const MEET: Flags = Flags(1 << 7);
    /// A primary that replicas may migrate to.
    pub const MIGRATE_TO: Flags = Flags(1 << 8);
    /// A replica that will not try to take over.
    pub const NOFAILOVER: Flags = Flags(1 << 9);
    /// It understands extensions of PING.
    pub const EXTENSIONS: Flags = Flags(1 << 10);
    /// It understands the short header of published messages.
    pub const LIGHT_HEADER: Flags = Flags(1 << 11);

    /// The flags with names, in the order in which they are written.
    const WORDS: [(Flags, &'static str); 8] = [
        (Flags::MYSELF, "myself"),
        (Flags::PRIMARY, "master"),
        (Flags::REPLICA, "slave"),
        (Flags::PFAIL, "fail?"),
        (Flags::FAIL, "fail"),
        (Flags::HANDSHAKE, "handshake"),
        (Flags::NOADDR, "noaddr"),
        (Flags::NOFAILOVER, "nofailover"),
    ];

    /// Whether one of `flags` is set.
    pub fn any(self, flags: Flags) -> bool {
        self.0 & flags.0 != 0
    }

    /// Sets or clears `flags`.
    pub fn set(&mut self, flags: Flags, on: bool) {
        match on {
            true => self.0 |= flags.0,
            false => self.0 &= !flags.0,
        }
    }

    /// Those that are in both.
    pub fn only(self, flags: Flags) -> Flags {
        Flags(self.0 & flags.0)
    }

    /// Reads words separated by commas.
    pub fn parse(text: &str) -> Option<Flags> {
        text.split(',').try_fold(Flags::default(), |all, word| {
            let word = match word.to_ascii_lowercase().as_str() {
                "primary" => "master".to_owned(),
                "replica" => "slave".to_owned(),
                "noflags" => return Some(all),
                other => other.to_owned(),
            };
            let (flag, _) = Flags::WORDS.iter().find(|(_, name)| **name == word)?;
            Some(all | *flag)
        })
    }
}

impl std::ops::BitOr for Flags {
    type Output = Flags;
    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = Flags::WORDS
            .iter()
            .filter(|(flag, _)| self.any(*flag))
            .map(|(_, word)| *word)
            .collect();
        match words.is_empty() {
            true => f.write_str("noflags"),
            false => f.write_str(&words.join(",")),
        }
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
