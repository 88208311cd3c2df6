//! What a command declaration is. A command is declared once, as a constant;
//! dispatch, COMMAND INFO / DOCS / GETKEYS, locking, slot routing and ACL
//! checks are derived from it.

use super::context::Context;
use super::error::CommandResult;
pub use super::syntax::{Arg, ArgKind};
use crate::keyspace::entry::Value;

/// Makes a value of a command's arguments; None leaves that to the command.
pub type Prepare = fn(&[&[u8]]) -> Option<Value>;

/// Runs a command. `args[0]` is its name; arity has been checked. Stripes of
/// its keys are locked, as [`Locks`] says.
pub type Run = for<'a, 'c> fn(&mut Context<'c>, &[&'a [u8]]) -> CommandResult;

/// See [`Command::find_keys`]. Calls with the position of each key, and the number
/// of the spec that says what becomes of it.
pub type FindKeys = fn(&[&[u8]], &mut dyn FnMut(usize, usize)) -> bool;

/// A command or subcommand.
pub struct Command {
    /// Lower case; a subcommand's is `container|name`.
    pub name: &'static str,
    /// The family it is documented under.
    pub group: Group,
    /// The version of Redis or Valkey it came with.
    pub since: &'static str,
    /// One line for COMMAND DOCS.
    pub summary: &'static str,
    /// Time complexity for COMMAND DOCS.
    pub complexity: &'static str,
    /// Number of arguments with the name; negative: at least that many.
    pub arity: i32,
    /// Bits of [`flag`].
    pub flags: u32,
    /// Bits of [`acl`], besides those that follow from the flags.
    pub acl: u32,
    /// Where its keys are.
    pub keys: &'static [KeySpec],
    /// Finds the keys where arguments before them can be anything, even a spec's
    /// own word, or not all that a spec finds is used; false when the arguments
    /// are not the command's: then the specs find them, if they are to be found.
    pub find_keys: Option<FindKeys>,
    /// Which stripes it needs locked.
    pub locks: Locks,
    /// Its syntax, for COMMAND DOCS and the fuzzer.
    pub args: &'static [Arg],
    /// Its subcommands; then `run` is only called for an unknown one.
    pub subcommands: &'static [&'static Command],
    /// What can be done before anything is locked.
    pub prepare: Option<Prepare>,
    /// Whether nothing but its arguments and the protocol matters to it, and
    /// nothing but its reply comes of it.
    pub pure: bool,
    /// What it does.
    pub run: Run,
}

impl Command {
    /// What a declaration starts from: `Command { name: …, ..Command::BASE }`.
    pub const BASE: Command = Command {
        name: "",
        group: Group::Generic,
        since: "1.0.0",
        summary: "",
        complexity: "O(1)",
        arity: 1,
        flags: 0,
        acl: 0,
        keys: &[],
        find_keys: None,
        locks: Locks::Keys,
        args: &[],
        subcommands: &[],
        prepare: None,
        pure: false,
        run: |_, _| Ok(()),
    };

    /// Whether all of `flags` are set.
    #[inline]
    pub fn has(&self, flags: u32) -> bool {
        self.flags & flags == flags
    }

    /// Whether `count` arguments, with the name, fit the arity.
    #[inline]
    pub fn arity_fits(&self, count: usize) -> bool {
        let wanted = self.arity.unsigned_abs() as usize;
        if self.arity >= 0 {
            count == wanted
        } else {
            count >= wanted
        }
    }
}

/// Which stripes a command needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Locks {
    /// Those of its keys, as the key specs find them.
    Keys,
    /// None beforehand: the command locks stripe by stripe itself through
    /// `ctx.server.keyspace`, and must not touch `ctx.db`'s keys unless it
    /// runs within a transaction that holds all (`ctx.holds_all`).
    None,
    /// All of them.
    All,
}

/// Families, as COMMAND DOCS names them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Group {
    Generic,
    String,
    List,
    Set,
    SortedSet,
    Hash,
    Pubsub,
    Transactions,
    Connection,
    Server,
    Scripting,
    Hyperloglog,
    Cluster,
    Geo,
    Stream,
    Bitmap,
}

impl Group {
    /// The name in COMMAND DOCS.
    pub fn name(self) -> &'static str {
        match self {
            Group::Generic => "generic",
            Group::String => "string",
            Group::List => "list",
            Group::Set => "set",
            Group::SortedSet => "sorted-set",
            Group::Hash => "hash",
            Group::Pubsub => "pubsub",
            Group::Transactions => "transactions",
            Group::Connection => "connection",
            Group::Server => "server",
            Group::Scripting => "scripting",
            Group::Hyperloglog => "hyperloglog",
            Group::Cluster => "cluster",
            Group::Geo => "geo",
            Group::Stream => "stream",
            Group::Bitmap => "bitmap",
        }
    }
}

/// Command flags, as COMMAND INFO names them.
pub mod flag {
    #![allow(missing_docs)]
    pub const WRITE: u32 = 1 << 0;
    pub const READONLY: u32 = 1 << 1;
    pub const DENYOOM: u32 = 1 << 2;
    pub const ADMIN: u32 = 1 << 3;
    pub const PUBSUB: u32 = 1 << 4;
    pub const NOSCRIPT: u32 = 1 << 5;
    pub const BLOCKING: u32 = 1 << 6;
    pub const LOADING: u32 = 1 << 7;
    pub const STALE: u32 = 1 << 8;
    pub const SKIP_MONITOR: u32 = 1 << 9;
    pub const SKIP_COMMANDLOG: u32 = 1 << 10;
    pub const ASKING: u32 = 1 << 11;
    pub const FAST: u32 = 1 << 12;
    pub const NO_AUTH: u32 = 1 << 13;
    pub const MAY_REPLICATE: u32 = 1 << 14;
    pub const NO_MULTI: u32 = 1 << 15;
    pub const MOVABLEKEYS: u32 = 1 << 16;
    pub const ALLOW_BUSY: u32 = 1 << 17;
    pub const NO_ASYNC_LOADING: u32 = 1 << 18;
    pub const NO_MANDATORY_KEYS: u32 = 1 << 19;
    pub const TOUCHES_ARBITRARY_KEYS: u32 = 1 << 20;

    /// Names, in the order of the bits.
    pub const NAMES: [&str; 21] = [
        "write",
        "readonly",
        "denyoom",
        "admin",
        "pubsub",
        "noscript",
        "blocking",
        "loading",
        "stale",
        "skip_monitor",
        "skip_commandlog",
        "asking",
        "fast",
        "no_auth",
        "may_replicate",
        "no_multi",
        "movablekeys",
        "allow_busy",
        "no_async_loading",
        "no_mandatory_keys",
        "touches_arbitrary_keys",
    ];
}

/// ACL categories as bits, in the order of [`acl::NAMES`].
pub mod acl {
    #![allow(missing_docs)]
    pub const KEYSPACE: u32 = 1 << 0;
    pub const READ: u32 = 1 << 1;
    pub const WRITE: u32 = 1 << 2;
    pub const SET: u32 = 1 << 3;
    pub const SORTEDSET: u32 = 1 << 4;
    pub const LIST: u32 = 1 << 5;
    pub const HASH: u32 = 1 << 6;
    pub const STRING: u32 = 1 << 7;
    pub const BITMAP: u32 = 1 << 8;
    pub const HYPERLOGLOG: u32 = 1 << 9;
    pub const GEO: u32 = 1 << 10;
    pub const STREAM: u32 = 1 << 11;
    pub const PUBSUB: u32 = 1 << 12;
    pub const ADMIN: u32 = 1 << 13;
    pub const FAST: u32 = 1 << 14;
    pub const SLOW: u32 = 1 << 15;
    pub const BLOCKING: u32 = 1 << 16;
    pub const DANGEROUS: u32 = 1 << 17;
    pub const CONNECTION: u32 = 1 << 18;
    pub const TRANSACTION: u32 = 1 << 19;
    pub const SCRIPTING: u32 = 1 << 20;

    /// Names, in the order of the bits.
    pub const NAMES: [&str; 21] = [
        "keyspace",
        "read",
        "write",
        "set",
        "sortedset",
        "list",
        "hash",
        "string",
        "bitmap",
        "hyperloglog",
        "geo",
        "stream",
        "pubsub",
        "admin",
        "fast",
        "slow",
        "blocking",
        "dangerous",
        "connection",
        "transaction",
        "scripting",
    ];

    /// Categories with those that follow from command flags.
    pub fn with_implied(categories: u32, flags: u32) -> u32 {
        use super::flag;
        let mut all = categories;
        if flags & flag::WRITE != 0 {
            all |= WRITE;
        }
        if flags & flag::READONLY != 0 && categories & SCRIPTING == 0 {
            all |= READ;
        }
        if flags & flag::ADMIN != 0 {
            all |= ADMIN | DANGEROUS;
        }
        if flags & flag::PUBSUB != 0 {
            all |= PUBSUB;
        }
        if flags & flag::BLOCKING != 0 {
            all |= BLOCKING;
        }
        all | if flags & flag::FAST != 0 { FAST } else { SLOW }
    }
}

/// Where some of a command's keys are, and what is done to them. Source: the
/// key specifications of COMMAND INFO.
#[derive(Clone, Copy, Debug)]
pub struct KeySpec {
    /// What is done to the keys, in the field's words: RO, RW, OW, RM first,
    /// then access, update, insert, delete, and others.
    pub flags: &'static [&'static str],
    /// Where the search begins.
    pub begin: Begin,
    /// Which keys are found from there.
    pub find: Find,
    /// A remark for COMMAND INFO.
    pub notes: &'static str,
}

/// Where the search for keys begins.
#[derive(Clone, Copy, Debug)]
pub enum Begin {
    /// At this argument.
    Index(usize),
    /// Behind this word, looked for from the given argument (negative: from
    /// the end backwards).
    Keyword(&'static str, i32),
    /// It can't be told.
    Unknown,
}

/// Which keys are found.
#[derive(Clone, Copy, Debug)]
pub enum Find {
    /// From the beginning to `last` (relative to it; negative: from the end of
    /// the arguments), every `step`; `limit` 2 stops half way, and so on.
    Range {
        /// The last key, relative to the first, or from the end if negative.
        last: i32,
        /// Distance between keys.
        step: usize,
        /// Divisor of the range if above 1.
        limit: usize,
    },
    /// An argument tells how many there are.
    Keynum {
        /// Where the number is, relative to the beginning.
        number_at: usize,
        /// Where the first key is, relative to the beginning.
        first: usize,
        /// Distance between keys.
        step: usize,
    },
    /// It can't be told.
    Unknown,
}

impl KeySpec {
    /// One key at an argument.
    pub const fn one(index: usize, flags: &'static [&'static str]) -> KeySpec {
        KeySpec::range(index, 0, 1, flags)
    }

    /// Keys from an argument on.
    pub const fn range(
        index: usize,
        last: i32,
        step: usize,
        flags: &'static [&'static str],
    ) -> KeySpec {
        KeySpec {
            flags,
            begin: Begin::Index(index),
            find: Find::Range {
                last,
                step,
                limit: 0,
            },
            notes: "",
        }
    }

    /// A number of keys, then the keys.
    pub const fn keynum(index: usize, flags: &'static [&'static str]) -> KeySpec {
        KeySpec {
            flags,
            begin: Begin::Index(index),
            find: Find::Keynum {
                number_at: 0,
                first: 1,
                step: 1,
            },
            notes: "",
        }
    }
}
