//! What the declaration of a directive is.

/// A directive: one line of a table.
#[derive(Clone, Copy, Debug)]
pub struct Directive {
    /// The name that CONFIG REWRITE writes, in lower case.
    pub name: &'static str,
    /// An older name that is accepted, and listed by CONFIG GET.
    pub alias: Option<&'static str>,
    /// What its value is.
    pub kind: Kind,
    /// The default, as CONFIG GET shows it.
    pub default: &'static str,
    /// How it may be used.
    pub traits: Traits,
    /// What it does, in one sentence.
    pub doc: &'static str,
}

impl Directive {
    /// The names by which it is known.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.alias)
    }
}

/// The place of a directive in [`super::table::DIRECTIVES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DirectiveId(u16);

impl DirectiveId {
    pub(super) const fn new(at: usize) -> Self {
        Self(at as u16)
    }

    /// The index into the table.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The declaration.
    pub fn directive(self) -> &'static Directive {
        &super::table::DIRECTIVES[self.index()]
    }
}

/// What values a directive takes. Bounds are inclusive.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `yes` or `no`.
    Bool,
    /// A whole number.
    Integer {
        /// The least value.
        min: i128,
        /// The greatest value.
        max: i128,
    },
    /// A whole number from 0, written in octal.
    Octal {
        /// The greatest value.
        max: i128,
    },
    /// Bytes, with an optional unit: `k`, `m`, `g` are powers of 1000, `kb`,
    /// `mb`, `gb` of 1024.
    Memory {
        /// The least number of bytes; -1 where that stands for no limit.
        min: i128,
        /// The greatest number of bytes.
        max: i128,
    },
    /// Bytes, or a percentage such as `5%`.
    MemoryOrPercent,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Several of these words; the first means none of the others.
    Flags(&'static [&'static str]),
    /// Text that obeys a rule.
    Text(TextRule),
    /// Pairs of seconds and changes.
    Save,
    /// Groups of client class, hard limit, soft limit and seconds.
    OutputBufferLimits,
    /// Three scores.
    OomScores,
    /// Letters for classes of keyspace events.
    KeyspaceEvents,
    /// Network addresses, at most 16.
    Addresses,
    /// Host and port, or `no one`.
    ReplicaOf,
    /// Numbers from 0 to 100.
    Percentiles,
}

impl Kind {
    /// Whether the value may be several words on a line.
    pub fn takes_several_words(self) -> bool {
        matches!(
            self,
            Kind::Flags(_)
                | Kind::Save
                | Kind::OutputBufferLimits
                | Kind::OomScores
                | Kind::Addresses
                | Kind::ReplicaOf
                | Kind::Percentiles
        )
    }
}

/// What a text must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextRule {
    /// Any text.
    Any,
    /// At least one byte.
    NotEmpty,
    /// A file name without a path.
    FileName,
    /// A directory name without a path.
    DirectoryName,
    /// A path; not empty.
    Directory,
    /// An IPv4 address or nothing.
    Ipv4,
    /// An IPv6 address or nothing.
    Ipv6,
    /// Letters, digits, hyphens and dots, at most 255 of them.
    HostName,
    /// Printable text without characters that nodes.conf uses.
    NodeName,
    /// An address, without characters that nodes.conf uses.
    AnnouncedAddress,
    /// Text with `{variable}`s of the process title.
    ProcessTitle,
}

/// How a directive may be used: a set of marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traits(u8);

impl Traits {
    /// No mark.
    pub const NONE: Self = Self(0);
    /// Set at start only.
    pub const IMMUTABLE: Self = Self(1);
    /// Changed at run time only where `enable-protected-configs` allows it.
    pub const PROTECTED: Self = Self(2);
    /// Kept out of logs.
    pub const SENSITIVE: Self = Self(4);
    /// Not changed while data is loaded.
    pub const NOT_WHILE_LOADING: Self = Self(8);
    /// Setting it to the same value counts as a change: the file it names may
    /// have changed.
    pub const VOLATILE: Self = Self(16);
    /// Accepted, stored, without effect here.
    pub const NO_MEANING_HERE: Self = Self(32);

    /// Shown by CONFIG GET only when asked for by its full name.
    pub const HIDDEN: Self = Self(64);

    /// Both sets of marks.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all marks of `other` are set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}
