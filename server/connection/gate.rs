//! The gate in front of every command: named checks, in order. The first that
//! refuses gives the error.

use std::sync::atomic::Ordering;

use super::pause;
use super::session::Session;
use super::starting;
use crate::acl::check::{Denial, check_session};
use crate::acl::log::Place;
use crate::acl::user::User;
use crate::commands::command::{Command, flag};
use crate::commands::error::CommandError;
use crate::commands::table::table;
use crate::eviction;
use crate::resp::Protocol;
use crate::state::Server;

type Check = fn(&Server, &Session, &'static Command, &[&[u8]]) -> Result<(), CommandError>;

/// The checks with their names, in the order of a Redis server.
const CHECKS: &[(&str, Check)] = &[
    ("login", login),
    ("arity", arity),
    ("nested transaction", no_multi),
    ("permission", permission),
    ("start", starting::check),
    ("cluster", cluster),
    ("redirection", redirect),
    ("memory", memory),
    ("storage", storage),
    ("replicas", replicas),
    ("read-only replica", read_only),
    ("loading", loading),
    ("subscriber", subscriber),
    ("monitor", monitor),
    ("stale replica", stale),
];

/// Runs all checks.
#[inline]
pub fn check(
    server: &Server,
    session: &Session,
    command: &'static Command,
    args: &[&[u8]],
) -> Result<(), CommandError> {
    CHECKS
        .iter()
        .try_for_each(|(_, check)| check(server, session, command, args))
}

/// What a command must be that a primary sends within a transaction: those of the
/// checks that keep EXEC from harm, whoever has sent it.
pub fn check_from_primary(
    server: &Server,
    session: &Session,
    command: &'static Command,
    args: &[&[u8]],
) -> Result<(), CommandError> {
    arity(server, session, command, args)?;
    no_multi(server, session, command, args)
}

/// What is checked within EXEC before each command that was queued. Nothing of
/// the server's state is: a transaction that has begun runs as a whole.
pub fn check_in_exec(
    server: &Server,
    session: &Session,
    command: &'static Command,
    args: &[&[u8]],
) -> Result<(), CommandError> {
    match session.replaying {
        true => Ok(()),
        false => permission_in_exec(server, session, command, args),
    }
}

/// The checks that EXEC makes for all its commands before it runs the first:
/// those of the server's state, which no command of a transaction mends.
pub fn check_writes(
    server: &Server,
    session: &Session,
    command: &'static Command,
) -> Result<(), CommandError> {
    if session.replaying {
        return Ok(());
    }
    memory(server, session, command, &[])?;
    storage(server, session, command, &[])?;
    replicas(server, session, command, &[])?;
    read_only(server, session, command, &[])?;
    loading(server, session, command, &[])?;
    stale(server, session, command, &[])
}

/// What passes all checks but `arity`, whatever its arguments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Open {
    /// Each command must be looked at.
    Nothing,
    /// Commands that only read keys.
    Reads,
    /// Commands that read and write keys.
    Everything,
}

/// What passes now, for the short way of a pipeline. Every check above must
/// have its part here.
pub fn open(server: &Server, session: &Session) -> Open {
    let settings = &server.settings;
    if !session.authenticated
        || !session.unrestricted
        || session.transaction.is_some()
        || session.is_subscriber()
        || session.routing.asking
        || session.client.capa_redirect.load(Ordering::Relaxed)
        || server.loading.load(Ordering::Acquire)
        || server.keyspace.has_spilled()
    {
        return Open::Nothing;
    }
    if server.replication.is_replica() {
        let fresh = settings.serve_stale.load(Ordering::Relaxed) || server.replication.link.is_up();
        return if fresh { Open::Reads } else { Open::Nothing };
    }
    let writable = !server.health.refuses()
        && eviction::has_ample_room(server)
        && settings.min_replicas.load(Ordering::Relaxed) == 0;
    match writable {
        true => Open::Everything,
        false => Open::Reads,
    }
}

fn arity(
    _: &Server,
    _: &Session,
    command: &'static Command,
    args: &[&[u8]],
) -> Result<(), CommandError> {
    if !command.arity_fits(args.len()) {
        return Err(CommandError::Arity(command.name.to_string()));
    }
    if !command.subcommands.is_empty() && args.len() > 1 {
        return Err(unknown_subcommand(command, args));
    }
    Ok(())
}

/// What a container answers to a subcommand that it doesn't have.
pub fn unknown_subcommand(command: &Command, args: &[&[u8]]) -> CommandError {
    let name = String::from_utf8_lossy(&args[1][..args[1].len().min(128)]).into_owned();
    let container = command.name.to_ascii_uppercase();
    CommandError::err(format!(
        "unknown subcommand '{name}'. Try {container} HELP."
    ))
}

fn login(
    server: &Server,
    session: &Session,
    command: &'static Command,
    _: &[&[u8]],
) -> Result<(), CommandError> {
    if session.authenticated || command.has(flag::NO_AUTH) || !password_needed(server) {
        return Ok(());
    }
    Err(CommandError::text(NOT_LOGGED_IN))
}

/// What a client gets that has to log in first.
pub const NOT_LOGGED_IN: &str = "NOAUTH Authentication required.";

/// Whether clients have to log in.
pub fn password_needed(server: &Server) -> bool {
    server.acl.login_needed()
}

fn no_multi(
    server: &Server,
    session: &Session,
    command: &'static Command,
    _: &[&[u8]],
) -> Result<(), CommandError> {
    if session.transaction.is_some() && command.has(flag::NO_MULTI) {
        return Err(CommandError::err(format!(
            "Command '{}' not allowed inside a transaction",
            command.name
        )));
    }
    match session.transaction.is_some() && command.name == "debug" {
        true => crate::commands::server::debug::check(server, session),
        false => Ok(()),
    }
}

/// What the user may do; see [`crate::acl`].
#[inline]
fn permission(
    _: &Server,
    session: &Session,
    command: &'static Command,
    args: &[&[u8]],
) -> Result<(), CommandError> {
    if session.unrestricted {
        return Ok(());
    }
    denial(session, command, args).map_or(Ok(()), |(user, denial)| Err(denial.error(user, command)))
}

/// The same for a command that could be queued.
fn permission_in_exec(
    _: &Server,
    session: &Session,
    command: &'static Command,
    args: &[&[u8]],
) -> Result<(), CommandError> {
    denial(session, command, args).map_or(Ok(()), |(_, denial)| Err(denial.error_in_exec()))
}

/// Why the session's user may not run a command.
fn denial<'s>(
    session: &'s Session,
    command: &'static Command,
    args: &[&[u8]],
) -> Option<(&'s User, Denial)> {
    let user = session.user.as_deref()?;
    let found = table().find(args)?;
    debug_assert_eq!(found.command.name, command.name);
    let denial = check_session(session, found, args).err()?;
    Some((user, denial))
}

/// Whether the session's user may run a command.
pub fn is_permitted(session: &Session, command: &'static Command, args: &[&[u8]]) -> bool {
    session.unrestricted || denial(session, command, args).is_none()
}

/// The same for a command that a script calls; a refusal is noted.
pub fn permission_in_script(
    server: &Server,
    session: &Session,
    command: &'static Command,
    args: &[&[u8]],
) -> Result<(), CommandError> {
    if session.unrestricted {
        return Ok(());
    }
    let Some((user, denial)) = denial(session, command, args) else {
        return Ok(());
    };
    note(server, session, command, args, (denial, Place::Lua));
    let message = denial.message(user, command);
    Err(CommandError::err(format!(
        "ACL failure in script: {message}"
    )))
}

fn note(
    server: &Server,
    session: &Session,
    command: &Command,
    args: &[&[u8]],
    (denial, place): (Denial, Place),
) {
    let object = match denial.position() {
        0 => command.name.as_bytes(),
        at => args.get(at).copied().unwrap_or_default(),
    };
    server.note_denied((denial.into(), place), session, None, object);
}

/// Notes a refusal in ACL LOG, if it was one for want of a permission.
#[cold]
pub fn note_refusal(
    server: &Server,
    session: &Session,
    command: &'static Command,
    args: &[&[u8]],
    (error, place): (&CommandError, Place),
) {
    let is_ours = matches!(error, CommandError::Text(text) if text.starts_with("NOPERM"));
    if let Some((_, denial)) = is_ours.then(|| denial(session, command, args)).flatten() {
        note(server, session, command, args, (denial, place));
    }
}

/// Keys that are another node's. Asked again once the keys are locked.
fn cluster(
    server: &Server,
    session: &Session,
    command: &'static Command,
    args: &[&[u8]],
) -> Result<(), CommandError> {
    crate::cluster::route::check(server, session, command, args, None)
}

pub(crate) fn memory(
    server: &Server,
    _: &Session,
    command: &'static Command,
    _: &[&[u8]],
) -> Result<(), CommandError> {
    let limited = server.settings.maxmemory.load(Ordering::Relaxed) != 0;
    match limited && command.has(flag::DENYOOM) && eviction::is_out_of_memory(server) {
        true => Err(CommandError::OutOfMemory),
        false => Ok(()),
    }
}

pub(crate) fn storage(
    server: &Server,
    _: &Session,
    command: &'static Command,
    _: &[&[u8]],
) -> Result<(), CommandError> {
    if !command.has(flag::WRITE) || !server.health.refuses() {
        return Ok(());
    }
    match server.health.reason() {
        Some(reason) => Err(CommandError::text(format!(
            "{REFUSED} Writes are refused: {reason}."
        ))),
        None => Ok(()),
    }
}

/// The first word of the error for a write that storage does not take.
pub const REFUSED: &str = "MISCONF";

/// Whether replies tell of nothing but writes that storage did not take, and so
/// of nothing that might not be durable.
pub fn only_refusals(replies: &[u8]) -> bool {
    let mut lines = replies.split(|byte| *byte == b'\n');
    // Behind the last line's end there is nothing.
    lines.next_back().is_some_and(<[u8]>::is_empty)
        && lines.all(|line| line.starts_with(b"-") && line[1..].starts_with(REFUSED.as_bytes()))
}

pub(crate) fn replicas(
    server: &Server,
    _: &Session,
    command: &'static Command,
    _: &[&[u8]],
) -> Result<(), CommandError> {
    let wanted = server.settings.min_replicas.load(Ordering::Relaxed);
    if wanted == 0 || !command.has(flag::WRITE) || server.replication.is_replica() {
        return Ok(());
    }
    let enough = || server.replication.replicas.good() as u64 >= wanted;
    if enough() {
        return Ok(());
    }
    server.count_good_replicas();
    if enough() {
        return Ok(());
    }
    Err(CommandError::text(
        "NOREPLICAS Not enough good replicas to write.",
    ))
}

/// A client that follows redirections (CLIENT CAPA REDIRECT) is sent from a
/// replica to its primary, unless it only reads and says that it may (READONLY).
fn redirect(
    server: &Server,
    session: &Session,
    command: &'static Command,
    _: &[&[u8]],
) -> Result<(), CommandError> {
    if !server.replication.is_replica() || !session.client.capa_redirect.load(Ordering::Relaxed) {
        return Ok(());
    }
    let queued = session.transaction.iter().flat_map(|t| &t.queued);
    let mut queued = queued.filter(|_| command.name == "exec");
    let writes = command.has(flag::WRITE) || queued.any(|q| q.command.has(flag::WRITE));
    let reads = command.has(flag::READONLY) && !session.routing.read_only;
    match server.replication.target() {
        Some(target) if writes || reads => Err(CommandError::text(format!(
            "REDIRECT {}:{}",
            target.host, target.port
        ))),
        _ => Ok(()),
    }
}

/// Asked again under the locks of a command: a server may have become a replica
/// since it passed the gate.
pub fn read_only(
    server: &Server,
    session: &Session,
    command: &'static Command,
    args: &[&[u8]],
) -> Result<(), CommandError> {
    let replication = &server.replication;
    if !replication.is_replica() || !command.has(flag::WRITE) {
        return Ok(());
    }
    crate::cluster::route::check_role(server, session, command, args)?;
    if server.settings.replica_read_only.load(Ordering::Relaxed) {
        return Err(CommandError::text(
            "READONLY You can't write against a read only replica.",
        ));
    }
    replication.go_astray().map_err(|error| {
        CommandError::text(format!(
            "{REFUSED} Writes are refused: can't write the replication state: {error}."
        ))
    })
}

fn stale(
    server: &Server,
    session: &Session,
    command: &'static Command,
    args: &[&[u8]],
) -> Result<(), CommandError> {
    let refused = server.replication.is_replica()
        && !server.settings.serve_stale.load(Ordering::Relaxed)
        && !command.has(flag::STALE)
        && !server.replication.link.is_up();
    if !refused {
        return Ok(());
    }
    crate::cluster::route::check_role(server, session, command, args)?;
    Err(CommandError::text(
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    ))
}

fn loading(
    server: &Server,
    _: &Session,
    command: &'static Command,
    _: &[&[u8]],
) -> Result<(), CommandError> {
    if server.loading.load(Ordering::Acquire) && !command.has(flag::LOADING) {
        return Err(CommandError::text(
            "LOADING Redoubt is replaying the end of its log; see INFO persistence",
        ));
    }
    Ok(())
}

/// A monitor is to Valkey a replica of a kind.
fn monitor(
    _: &Server,
    session: &Session,
    command: &'static Command,
    _: &[&[u8]],
) -> Result<(), CommandError> {
    let of_keys = || command.has(flag::READONLY) || pause::may_have_effects(command);
    if session.client.monitor.load(Ordering::Relaxed) && of_keys() {
        return Err(CommandError::err(
            "Replica can't interact with the keyspace",
        ));
    }
    Ok(())
}

fn subscriber(
    _: &Server,
    session: &Session,
    command: &'static Command,
    _: &[&[u8]],
) -> Result<(), CommandError> {
    let allowed = || {
        matches!(
            command.name,
            "ping"
                | "subscribe"
                | "ssubscribe"
                | "sunsubscribe"
                | "psubscribe"
                | "unsubscribe"
                | "punsubscribe"
                | "quit"
                | "reset"
        )
    };
    if session.is_subscriber() && session.client.protocol() == Protocol::Resp2 && !allowed() {
        return Err(CommandError::err(format!(
            "Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
            command.name
        )));
    }
    Ok(())
}
