//! The table of all commands, and finding one by its name.
//!
//! `rename-command` changes the names that clients and scripts call commands by.
//! Everything behind the look-up, and the log, the stream, ACLs and counters,
//! goes by the names that they are declared with.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::command::{Begin, Command, Find, KeySpec, Locks, flag};
use super::families;

/// Commands with their positions in the table and in the counters.
pub struct Table {
    /// By the names that clients call them by.
    called: Names,
    /// By the names that they are declared with, if `rename-command` has changed
    /// any: so the log and the stream have them.
    declared: Option<Names>,
    all: Vec<&'static Command>,
    found: Vec<Found>,
    subcommands: HashMap<(usize, Vec<u8>), usize>,
}

/// Numbers of commands by their names, in lower case.
type Names = HashMap<Vec<u8>, usize, ahash::RandomState>;

/// Old and new names of commands, in the order of the configuration's lines; an
/// empty new name removes the command.
pub type Renames = [(Vec<u8>, Vec<u8>)];

/// A command with its number.
#[derive(Clone, Copy)]
pub struct Found {
    /// The command; the container itself when no subcommand fits.
    pub command: &'static Command,
    /// Its position in the counters. Small, as all here: it is copied for each request.
    number: u16,
    /// Where its key stands, with [`Way::OneKey`].
    key_at: u8,
    /// Whether it can take the short way (see `connection/pipeline/direct.rs`).
    pub way: Way,
    /// Whether it is one of those that are run in a way of their own.
    pub form: Form,
    /// Whether it takes no time worth a look, unless its request or its reply
    /// is large.
    pub quick: bool,
    /// Whether clients call it by another name than it is declared with, or not
    /// at all.
    pub renamed: bool,
}

/// Which commands have a way of their own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Those that don't.
    Any,
    /// GET (see `connection/pipeline/gets.rs`).
    Get,
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
            number: u16::try_from(number).expect("fewer commands than 65536"),
            key_at: match command.keys.first().map(|spec| &spec.begin) {
                Some(Begin::Index(at)) => u8::try_from(*at).expect("a key's place is small"),
                _ => 1,
            },
            way,
            form: match command.name {
                "get" => Form::Get,
                _ => Form::Any,
            },
            quick: command.has(flag::FAST) || command.complexity == "O(1)",
            renamed: false,
        }
    }

    /// The arguments with the name in front that the command is declared with.
    pub fn declared_args<'a>(&self, args: &[&'a [u8]]) -> smallvec::SmallVec<[&'a [u8]; 16]> {
        let mut args = smallvec::SmallVec::from_slice(args);
        args[0] = self.declared_name();
        args
    }

    /// The first word of what it is declared as.
    pub fn declared_name(&self) -> &'static [u8] {
        let name = self.command.name;
        name.split('|').next().unwrap_or(name).as_bytes()
    }

    /// Its position in the counters.
    #[inline]
    pub fn number(&self) -> usize {
        usize::from(self.number)
    }

    /// Where the key of a command with [`Way::OneKey`] stands.
    #[inline]
    pub fn first_key(&self) -> usize {
        usize::from(self.key_at)
    }
}

static TABLE: OnceLock<Table> = OnceLock::new();

/// The table, made at first use.
pub fn table() -> &'static Table {
    TABLE.get_or_init(|| Table::new(&[]))
}

/// Gives commands other names, once, before anybody has looked one up. The
/// names have passed [`check_names`].
pub fn rename(renames: &Renames) {
    if !renames.is_empty() {
        let made = TABLE.set(Table::new(renames)).is_ok();
        assert!(made, "commands are renamed before the first is looked up");
    }
}

/// Whether commands can be renamed so.
pub fn check_names(renames: &Renames) -> Result<(), &'static str> {
    let commands = families().iter().copied().flatten().enumerate();
    let names = commands.map(|(at, command)| (command.name.as_bytes().to_vec(), at));
    renamed(names.collect(), renames).map(|_| ())
}

fn renamed(mut names: Names, renames: &Renames) -> Result<Names, &'static str> {
    for (old, new) in renames {
        let number = names.remove(&old.to_ascii_lowercase());
        let number = number.ok_or("No such command in rename-command")?;
        if !new.is_empty() && names.insert(new.to_ascii_lowercase(), number).is_some() {
            return Err("Target command name already exists");
        }
    }
    Ok(names)
}

impl Table {
    fn new(renames: &Renames) -> Table {
        let mut table = Table {
            called: HashMap::default(),
            declared: None,
            all: Vec::new(),
            found: Vec::new(),
            subcommands: HashMap::new(),
        };
        for &command in families().iter().copied().flatten() {
            let number = table.add(command);
            let known = table
                .called
                .insert(command.name.as_bytes().to_vec(), number);
            assert!(known.is_none(), "{} is declared twice", command.name);
            for &subcommand in command.subcommands {
                let name = subcommand.name.split('|').next_back().unwrap_or_default();
                let place = (number, name.as_bytes().to_vec());
                let number = table.add(subcommand);
                table.subcommands.insert(place, number);
            }
        }
        if !renames.is_empty() {
            table.rename(renames);
        }
        table
    }

    fn add(&mut self, command: &'static Command) -> usize {
        let number = self.all.len();
        self.all.push(command);
        self.found.push(Found::new(command, number));
        number
    }

    fn rename(&mut self, renames: &Renames) {
        let called = renamed(self.called.clone(), renames);
        let called = called.expect("the names were checked");
        self.declared = Some(std::mem::replace(&mut self.called, called));
        for found in &mut self.found {
            let name = found.declared_name();
            let number = self.called.get(name).map(|&number| self.all[number].name);
            found.renamed = number.map(str::as_bytes) != Some(name);
            if found.renamed {
                // What runs, and is logged, has the declared name in front.
                found.way = Way::Long;
            }
        }
    }

    /// The command that these arguments call, subcommands resolved, by the name
    /// that it is declared with: so the log and the stream have it, and whatever
    /// has passed [`Table::find_called`].
    #[inline]
    pub fn find(&self, args: &[&[u8]]) -> Option<Found> {
        self.find_among(self.declared.as_ref().unwrap_or(&self.called), args)
    }

    /// The same by the name that clients and scripts call it by. If that is
    /// another one, the declared name has to take its place.
    #[inline]
    pub fn find_called(&self, args: &[&[u8]]) -> Option<Found> {
        self.find_among(&self.called, args)
    }

    #[inline]
    fn find_among(&self, names: &Names, args: &[&[u8]]) -> Option<Found> {
        let number = self.number_of(names, args.first()?)?;
        let found = self.found[number];
        if !found.command.subcommands.is_empty()
            && let Some(word) = args.get(1)
            && let Some(&number) = self.subcommands.get(&(number, word.to_ascii_lowercase()))
        {
            return Some(self.found[number]);
        }
        Some(found)
    }

    #[inline]
    fn number_of(&self, names: &Names, name: &[u8]) -> Option<usize> {
        let mut lower = [0u8; 32];
        let Some(lower) = lower.get_mut(..name.len()) else {
            return self.number_of_long(names, name);
        };
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        names.get(&*lower).copied()
    }

    /// Only `rename-command` gives such names.
    #[cold]
    fn number_of_long(&self, names: &Names, name: &[u8]) -> Option<usize> {
        self.declared.as_ref()?;
        names.get(&name.to_ascii_lowercase()).copied()
    }

    /// The command or `container|subcommand` of this name, case-insensitive, by
    /// the names that commands are declared with.
    pub fn by_name(&self, name: &[u8]) -> Option<Found> {
        let parts: Vec<&[u8]> = name.splitn(2, |&b| b == b'|').collect();
        whole(&parts, self.find(&parts))
    }

    /// The same by the names that clients call them by.
    pub fn by_called_name(&self, name: &[u8]) -> Option<Found> {
        let parts: Vec<&[u8]> = name.splitn(2, |&b| b == b'|').collect();
        whole(&parts, self.find_called(&parts))
    }

    /// All commands and subcommands, by number.
    pub fn all(&self) -> &[&'static Command] {
        &self.all
    }

    /// Commands and subcommands that clients can call.
    pub fn callable(&self) -> impl Iterator<Item = &'static Command> {
        let there: std::collections::HashSet<usize> = self.called.values().copied().collect();
        let mut container = false;
        self.all
            .iter()
            .copied()
            .enumerate()
            .filter_map(move |(number, command)| {
                if !command.name.contains('|') {
                    container = there.contains(&number);
                }
                container.then_some(command)
            })
    }

    /// Those at the top level.
    pub fn top_level(&self) -> impl Iterator<Item = &'static Command> {
        self.callable()
            .filter(|command| !command.name.contains('|'))
    }
}

/// What was found, unless it is but the container of what was named.
fn whole(parts: &[&[u8]], found: Option<Found>) -> Option<Found> {
    found.filter(|found| parts.len() == 1 || found.command.name.contains('|'))
}
