//! Whether a user may run a command with its arguments, and what the client
//! is told if not.

use smallvec::SmallVec;

use super::selector::{Selector, category, in_category};
use super::user::User;
use crate::commands::command::{Command, flag};
use crate::commands::error::CommandError;
use crate::commands::keys::{each_key, flags_of};
use crate::commands::table::Found;
use crate::connection::session::Session;
use crate::number::parse_i64;

/// Why a command is refused, and the position of the argument that it is
/// about (0: the command itself). Later ones outrank earlier ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Denial {
    /// The command.
    Command(usize),
    /// A key.
    Key(usize),
    /// A channel.
    Channel(usize),
    /// The selected database, or one that an argument names.
    Database(usize),
}

impl Denial {
    /// The argument's position.
    pub fn position(self) -> usize {
        match self {
            Denial::Command(at) | Denial::Key(at) | Denial::Channel(at) | Denial::Database(at) => {
                at
            }
        }
    }

    /// The error reply.
    pub fn error(self, user: &User, command: &Command) -> CommandError {
        CommandError::text(format!("NOPERM {}", self.message(user, command)))
    }

    /// What is refused, in words that tell nothing of keys and channels.
    pub fn message(self, user: &User, command: &Command) -> String {
        match self {
            Denial::Command(_) => format!(
                "User {} has no permissions to run the '{}' command",
                String::from_utf8_lossy(&user.name),
                command.name
            ),
            Denial::Key(_) => "No permissions to access a key".into(),
            Denial::Channel(_) => "No permissions to access a channel".into(),
            Denial::Database(_) => "No permissions to access database".into(),
        }
    }

    /// The error reply within EXEC, for a command that could be queued.
    pub fn error_in_exec(self) -> CommandError {
        let reason = match self {
            Denial::Command(_) => "no permission to execute the command or subcommand",
            Denial::Key(_) => "no permission to touch the specified keys",
            Denial::Channel(_) => "no permission to access one of the channels used as arguments",
            Denial::Database(_) => "no permission",
        };
        CommandError::text(format!(
            "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is no longer allowed for the following reason: {reason}"
        ))
    }

    /// What ACL DRYRUN says.
    pub fn explain(self, user: &User, command: &Command, args: &[&[u8]]) -> Vec<u8> {
        let name = String::from_utf8_lossy(&user.name);
        let shown = args.get(self.position()).copied().unwrap_or_default();
        let shown = String::from_utf8_lossy(shown);
        let text = match self {
            Denial::Command(_) => {
                format!(
                    "User {name} has no permissions to run the '{}' command",
                    command.name
                )
            }
            Denial::Key(_) => {
                format!("User {name} has no permissions to access the '{shown}' key")
            }
            Denial::Channel(_) => {
                format!("User {name} has no permissions to access the '{shown}' channel")
            }
            Denial::Database(_) => {
                format!("User {name} has no permissions to access database {shown}")
            }
        };
        text.into_bytes()
    }
}

/// Whether a session's user may run a command, in the selected database.
#[inline]
pub fn check_session(session: &Session, found: Found, args: &[&[u8]]) -> Result<(), Denial> {
    if session.unrestricted {
        return Ok(());
    }
    match &session.user {
        Some(user) => check(user, found, args, session.db),
        None => Ok(()),
    }
}

/// Whether a user may run a command in database `db`: one of its selectors
/// must allow all of it.
pub fn check(user: &User, found: Found, args: &[&[u8]], db: u32) -> Result<(), Denial> {
    let keys = keys_of(found.command, args);
    let mut worst = Denial::Command(0);
    for selector in user.selectors() {
        match check_selector(selector, found, args, &keys, db) {
            Ok(()) => return Ok(()),
            Err(denial) => worst = worst.max(denial),
        }
    }
    Err(worst)
}

/// Whether a session's user may run a command and read any key besides, as
/// SORT BY needs it.
pub fn may_read_all(session: &Session, found: Found, args: &[&[u8]]) -> bool {
    let Some(user) = session.user.as_ref().filter(|_| !session.unrestricted) else {
        return true;
    };
    let keys = keys_of(found.command, args);
    user.selectors().any(|selector| {
        selector.allows_reading_all()
            && check_selector(selector, found, args, &keys, session.db).is_ok()
    })
}

/// A key, and what a command does to it.
struct KeyUse {
    at: usize,
    read: bool,
    write: bool,
}

type KeyUses = SmallVec<[KeyUse; 8]>;

fn check_selector(
    selector: &Selector,
    found: Found,
    args: &[&[u8]],
    keys: &KeyUses,
    db: u32,
) -> Result<(), Denial> {
    let command = found.command;
    if !command.has(flag::NO_AUTH) && !selector.allows_command(found, args) {
        return Err(Denial::Command(0));
    }
    check_dbs(selector, command, args, keys, db)?;
    let refused = keys
        .iter()
        .find(|key| !selector.allows_key(args[key.at], key.read, key.write));
    if let Some(key) = refused {
        return Err(Denial::Key(key.at));
    }
    let (channels, are_patterns) = channels_of(command, args);
    for at in channels {
        if !selector.allows_channel(args[at], are_patterns) {
            return Err(Denial::Channel(at));
        }
    }
    Ok(())
}

/// Commands that touch keys need the selected database; some name others.
fn check_dbs(
    selector: &Selector,
    command: &Command,
    args: &[&[u8]],
    keys: &KeyUses,
    db: u32,
) -> Result<(), Denial> {
    if selector.allows_all_dbs() {
        return Ok(());
    }
    for at in named_dbs(command, args) {
        let named = args.get(at).and_then(|arg| parse_i64(arg));
        // What is no database is the command's own error.
        if let Some(named) = named.and_then(|named| u32::try_from(named).ok())
            && !selector.allows_db(named)
        {
            return Err(Denial::Database(at));
        }
    }
    if command.name == "flushall" {
        return Err(Denial::Database(0));
    }
    if !matches!(command.name, "select" | "swapdb")
        && touches_keys(command, keys)
        && !selector.allows_db(db)
    {
        return Err(Denial::Database(0));
    }
    Ok(())
}

fn touches_keys(command: &Command, keys: &KeyUses) -> bool {
    let keyspace = category(b"keyspace").is_some_and(|bit| in_category(command, bit));
    command.flags & (flag::READONLY | flag::WRITE) != 0 || keyspace || !keys.is_empty() || {
        let is_key = |flags: &[&str]| !flags.contains(&"not_key");
        command.keys.iter().any(|spec| is_key(spec.flags))
    }
}

/// The arguments that name databases.
fn named_dbs(command: &Command, args: &[&[u8]]) -> SmallVec<[usize; 2]> {
    let positions: &[usize] = match command.name {
        "select" => &[1],
        "swapdb" => &[1, 2],
        "move" => &[2],
        "copy" => return copy_db(args).into_iter().collect(),
        _ => &[],
    };
    SmallVec::from_slice(positions)
}

/// Where COPY names another database: `COPY source destination [REPLACE]
/// [DB index]`.
fn copy_db(args: &[&[u8]]) -> Option<usize> {
    let mut at = 3;
    while at < args.len() {
        if args[at].eq_ignore_ascii_case(b"db") {
            return (at + 1 < args.len()).then_some(at + 1);
        }
        if !args[at].eq_ignore_ascii_case(b"replace") {
            return None;
        }
        at += 1;
    }
    None
}

/// All keys that the arguments name.
fn keys_of(command: &'static Command, args: &[&[u8]]) -> KeyUses {
    let mut keys = KeyUses::new();
    each_key(command, args, |at, spec| {
        let flags = flags_of(spec, args);
        if flags.contains(&"not_key") {
            return;
        }
        let writes = ["insert", "delete", "update"];
        keys.push(KeyUse {
            at,
            read: flags.contains(&"access"),
            write: writes.iter().any(|word| flags.contains(word)),
        });
    });
    keys
}

/// The channels that the arguments name, and whether they are patterns.
/// Ending a subscription is always allowed.
fn channels_of(command: &Command, args: &[&[u8]]) -> (std::ops::Range<usize>, bool) {
    match command.name {
        "publish" | "spublish" => (1..2.min(args.len()), false),
        "subscribe" | "ssubscribe" => (1..args.len(), false),
        "psubscribe" => (1..args.len(), true),
        _ => (0..0, false),
    }
}
