//! The table of all commands, and finding one by its name.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::command::{Begin, Command, Find, KeySpec, Locks, flag};
use super::families;

/// Commands with their positions in the table and in the counters.
pub struct Table {
    by_name: HashMap<Vec<u8>, usize, ahash::RandomState>,
    all: Vec<&'static Command>,
    subcommands: HashMap<(usize, Vec<u8>), usize>,
}

/// A command with its number.
#[derive(Clone, Copy)]
pub struct Found {
    /// The command; the container itself when no subcommand fits.
    pub command: &'static Command,
    /// Its position in the counters.
    pub number: usize,
    /// Whether it can take the short way (see `connection/pipeline/direct.rs`).
    pub way: Way,
    /// Whether it takes no time worth a look, unless its request or its reply
    /// is large.
    pub quick: bool,
}

/// How a command can be run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The short way, with its one key: that stands at a fixed place, and the
    /// command locks nothing else, prepares nothing, never waits, and may run
    /// inside MULTI.
    OneKey,
    /// The short way, without any key.
    NoKey,
    /// The long way.
    Long,
}

impl Found {
    /// A command with its number.
    pub fn new(command: &'static Command, number: usize) -> Found {
        let barred = flag::BLOCKING | flag::NO_MULTI | flag::ADMIN | flag::PUBSUB;
        let single_key = matches!(
            command.keys,
            [KeySpec {
                begin: Begin::Index(_),
                find: Find::Range { last: 0, .. },
                ..
            }]
        ) && command.locks == Locks::Keys
            && command.flags & barred == 0
            && command.prepare.is_none()
            && command.subcommands.is_empty();
        let way = match single_key {
            true => Way::OneKey,
            false if command.pure => Way::NoKey,
            false => Way::Long,
        };
        Found {
            command,
            number,
            way,
            quick: command.has(flag::FAST) || command.complexity == "O(1)",
        }
    }

    /// Where the key of a command with [`Way::OneKey`] stands.
    #[inline]
    pub fn first_key(&self) -> usize {
        match self.command.keys {
            [
                KeySpec {
                    begin: Begin::Index(at),
                    ..
                },
            ] => *at,
            _ => 1,
        }
    }
}

/// The table, made at first use.
pub fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(Table::new)
}

impl Table {
    fn new() -> Table {
        let mut table = Table {
            by_name: HashMap::default(),
            all: Vec::new(),
            subcommands: HashMap::new(),
        };
        for family in families() {
            for &command in *family {
                let number = table.all.len();
                table.all.push(command);
                let known = table
                    .by_name
                    .insert(command.name.as_bytes().to_vec(), number);
                assert!(known.is_none(), "{} is declared twice", command.name);
                for &subcommand in command.subcommands {
                    let name = subcommand.name.split('|').next_back().unwrap_or_default();
                    let place = (number, name.as_bytes().to_vec());
                    table.subcommands.insert(place, table.all.len());
                    table.all.push(subcommand);
                }
            }
        }
        table
    }

    /// The command that these arguments call, subcommands resolved.
    #[inline]
    pub fn find(&self, args: &[&[u8]]) -> Option<Found> {
        let number = *self.number_of(args.first()?)?;
        let command = self.all[number];
        if !command.subcommands.is_empty()
            && let Some(word) = args.get(1)
            && let Some(&number) = self.subcommands.get(&(number, word.to_ascii_lowercase()))
        {
            return Some(Found::new(self.all[number], number));
        }
        Some(Found::new(command, number))
    }

    #[inline]
    fn number_of(&self, name: &[u8]) -> Option<&usize> {
        let mut lower = [0u8; 32];
        let lower = lower.get_mut(..name.len())?;
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        self.by_name.get(&*lower)
    }

    /// The command or `container|subcommand` of this name, case-insensitive.
    pub fn by_name(&self, name: &[u8]) -> Option<Found> {
        let mut parts = name.splitn(2, |&b| b == b'|');
        let args: Vec<&[u8]> = parts.by_ref().collect();
        let found = self.find(&args)?;
        (args.len() == 1 || found.command.name.contains('|')).then_some(found)
    }

    /// All commands and subcommands, by number.
    pub fn all(&self) -> &[&'static Command] {
        &self.all
    }

    /// Top-level commands.
    pub fn top_level(&self) -> impl Iterator<Item = &'static Command> {
        self.all
            .iter()
            .copied()
            .filter(|command| !command.name.contains('|'))
    }
}
