//! Where a command belongs: here, or to which other node. The order of the
//! questions is that of a Redis Cluster node, so that clients see the same
//! redirections.
//!
//! It is asked twice: in the gate, before anything is locked, and again with
//! the keys locked, so that no command runs on a slot that has just left.

use std::sync::atomic::Ordering;

use redoubt_cluster::bus::Bus;
use redoubt_cluster::flags::Flags;
use redoubt_cluster::slots::Slot;
use redoubt_cluster::table::NodeKey;

use super::migration::Migrations;
use super::settled::Settled;
use super::{Cluster, describe};
use crate::commands::args::{self, is};
use crate::commands::command::{Command, flag};
use crate::commands::error::CommandError;
use crate::commands::keys::each_key;
use crate::commands::table::table;
use crate::connection::session::{Queued, Session};
use crate::keyspace::db::Db;
use crate::state::Server;

/// What a connection has said about redirections.
#[derive(Clone, Copy, Default, Debug)]
pub struct Routing {
    /// READONLY: a replica may answer.
    pub read_only: bool,
    /// ASKING: the next command may meet a slot that is being imported.
    pub asking: bool,
    /// It is the server itself: its commands run here.
    pub internal: bool,
    /// It brings in another node's slots: nothing of them expires here yet.
    pub importing: bool,
    /// It deletes what another node serves now: no event tells of that.
    pub leaving: bool,
    /// It deletes a slot's keys since a client said so: not while the slot is
    /// handed over.
    pub flushing: bool,
}

/// One command with its arguments.
type Asked<'a> = (&'static Command, &'a [&'a [u8]]);

/// The slot of all keys of the commands, and those keys with their databases.
struct Keys<'a> {
    slot: Option<Slot>,
    all: Vec<(u32, &'a [u8])>,
    sharded_channels: bool,
    writes: bool,
    /// It is one command, and no transaction, be it of one command.
    alone: bool,
    /// A command takes a key to another database.
    joins_databases: bool,
    /// What holds for the script that asks.
    settled: Option<&'a Settled>,
}

/// What commands use that begin in the database `db`.
fn keys_of<'a>(asked: &[Asked<'a>], mut db: u32) -> Result<Keys<'a>, CommandError> {
    let mut keys = Keys {
        slot: None,
        all: Vec::new(),
        sharded_channels: false,
        writes: false,
        alone: asked.len() == 1,
        joins_databases: false,
        settled: None,
    };
    let mut crossing = false;
    for (command, args) in asked {
        keys.writes |= command.has(flag::WRITE);
        keys.sharded_channels |= command.has(flag::PUBSUB);
        keys.joins_databases |= joins_databases(command, args, db);
        if command.name == "select" {
            db = number_of(args.get(1)).unwrap_or(db);
        }
        each_key(command, args, |at, _| {
            if command.name == "migrate" && args[at].is_empty() {
                // Its keys come behind the word KEYS.
                return;
            }
            let slot = Slot::of_key(args[at]);
            crossing |= *keys.slot.get_or_insert(slot) != slot;
            keys.all.push((db, args[at]));
        });
    }
    match crossing {
        true => Err(CommandError::text(
            "CROSSSLOT Keys in request don't hash to the same slot",
        )),
        false => Ok(keys),
    }
}

/// Whether a command may run here. Keys are looked up where `db` holds them.
pub fn check(
    server: &Server,
    session: &Session,
    command: &'static Command,
    args: &[&[u8]],
    db: Option<&mut Db<'_>>,
) -> Result<(), CommandError> {
    let Some(cluster) = &server.cluster else {
        return Ok(());
    };
    if session.routing.flushing {
        let slot = args.get(1).map(|key| Slot::of_key(key));
        return match slot.is_some_and(|slot| cluster.migrations.is_paused(slot)) {
            true => Err(CommandError::Paused),
            false => Ok(()),
        };
    }
    if session.routing.internal || session.replaying {
        return Ok(());
    }
    if command.keys.is_empty() {
        return match cluster.migrations.holds_back_whole(command, args) {
            true => Err(CommandError::Paused),
            false => Ok(()),
        };
    }
    let asked = [(command, args)];
    let keys = keys_of(&asked, session.db)?;
    decide(cluster, session, &asked, &keys, db)
}

/// Asked before a node refuses a command as a replica: it may have become a
/// primary that does not play its role yet, and then the command waits; or
/// have been one when the command was checked. `args` may be left out.
pub fn check_role(
    server: &Server,
    session: &Session,
    command: &'static Command,
    args: &[&[u8]],
) -> Result<(), CommandError> {
    let Some(cluster) = &server.cluster else {
        return Ok(());
    };
    if session.routing.internal || session.replaying {
        return Ok(());
    }
    if cluster.read(|bus| bus.me().is(Flags::PRIMARY)) {
        return Err(CommandError::Paused);
    }
    match args.is_empty() {
        true => Ok(()),
        false => check(server, session, command, args, None),
    }
}

/// The same for a transaction as a whole, with its keys locked if there is `db`.
pub fn check_transaction(
    server: &Server,
    session: &Session,
    queued: &[Queued],
    db: Option<&mut Db<'_>>,
) -> Result<(), CommandError> {
    let Some(cluster) = &server.cluster else {
        return Ok(());
    };
    if session.routing.internal || session.replaying {
        return Ok(());
    }
    let args: Vec<Vec<&[u8]>> = queued
        .iter()
        .map(|queued| queued.args.iter().map(Vec::as_slice).collect())
        .collect();
    let asked: Vec<Asked<'_>> = queued
        .iter()
        .zip(&args)
        .map(|(queued, args)| (queued.command, args.as_slice()))
        .collect();
    let waits = |(command, args): &Asked<'_>| cluster.migrations.holds_back_whole(command, args);
    if asked.iter().any(waits) {
        return Err(CommandError::Paused);
    }
    let keys = Keys {
        alone: false,
        ..keys_of(&asked, session.db)?
    };
    decide(cluster, session, &asked, &keys, db)
}

/// Whether the keys that a script declares are this node's, with those keys
/// locked. `words` are those of the command that calls it.
pub fn check_declared(
    server: &Server,
    session: &Session,
    words: &[&[u8]],
    db: &mut Db<'_>,
) -> Result<(), CommandError> {
    if server.cluster.is_none() || !db.holds_any() {
        return Ok(());
    }
    match table().find(words) {
        Some(found) => check(server, session, found.command, words, Some(db)),
        None => Ok(()),
    }
}

/// What a script may touch: keys that this node serves, and unless `several`
/// only those of one slot, `slot` once it is known. Notes in `settled` what holds
/// from now on, if there is `db`.
pub fn check_in_script(
    server: &Server,
    session: &Session,
    (command, words): Asked<'_>,
    (several, slot): (bool, &mut Option<Slot>),
    settled: &mut Settled,
    db: Option<&mut Db<'_>>,
) -> Result<(), CommandError> {
    let Some(cluster) = &server.cluster else {
        return Ok(());
    };
    if session.routing.internal || session.replaying {
        return Ok(());
    }
    if command.keys.is_empty() {
        return check(server, session, command, words, db);
    }
    let crosses = || {
        let text = "Script attempted to access keys that do not hash to the same slot";
        Err(CommandError::err(text))
    };
    if let Some(db) = &db
        && are_plainly_mine(cluster, (command, words), settled, db)
    {
        settled.up = true;
        return Ok(());
    }
    let Ok(keys) = keys_of(&[(command, words)], session.db) else {
        return crosses();
    };
    let Some(this) = keys.slot else { return Ok(()) };
    if !several && *slot.get_or_insert(this) != this {
        return crosses();
    }
    let keys = Keys {
        settled: Some(settled),
        ..keys
    };
    let locked = db.is_some();
    decide(cluster, session, &[(command, words)], &keys, db)
        .map_err(|error| in_script(error, command))?;
    if locked && !settled.up {
        settled.up = cluster.read(Bus::is_healthy);
    }
    Ok(())
}

/// What a script is told where a client would be told to go elsewhere: clients
/// could not read that with the script's name behind it.
pub fn in_script(error: CommandError, command: &Command) -> CommandError {
    let name = command.name;
    if error == down() {
        let text = format!("Can not execute a command '{name}' while the cluster is down");
        return CommandError::err(text);
    }
    if error == down_for_writes() {
        return CommandError::err(format!(
            "Can not execute a write command '{name}' while the cluster is down and readonly"
        ));
    }
    match is_about_slots(&error) {
        true => CommandError::err("Attempted to access a non local key in a cluster node"),
        false => error,
    }
}

/// Whether a refusal is for want of the keys' slot here and now.
pub fn is_about_slots(error: &CommandError) -> bool {
    const CODES: [&str; 5] = ["MOVED ", "ASK ", "TRYAGAIN ", "CLUSTERDOWN ", "CROSSSLOT "];
    matches!(error, CommandError::Text(text) if CODES.iter().any(|code| text.starts_with(code)))
}

/// Whether all slots of a script's command are this node's without further
/// questions; notes those that are.
fn are_plainly_mine(
    cluster: &Cluster,
    (command, words): Asked<'_>,
    settled: &mut Settled,
    db: &Db<'_>,
) -> bool {
    let mut mine = true;
    each_key(command, words, |at, _| {
        let slot = Slot::of_key(words[at]);
        match cluster.is_plainly_mine(slot.number()) {
            true => settled.note(slot, db),
            false => mine = false,
        }
    });
    mine
}

fn decide(
    cluster: &Cluster,
    session: &Session,
    asked: &[Asked<'_>],
    keys: &Keys<'_>,
    db: Option<&mut Db<'_>>,
) -> Result<(), CommandError> {
    let Some(slot) = keys.slot else { return Ok(()) };
    if cluster.is_plainly_mine(slot.number()) {
        return Ok(());
    }
    let looks_up = |db: &Db<'_>| keys.all.iter().all(|(_, key)| db.holds(key));
    let db = db.filter(|db| !keys.sharded_channels && looks_up(db));
    cluster.read(|bus| look_closer(cluster, bus, session, asked, keys, slot, db))
}

fn look_closer(
    cluster: &Cluster,
    bus: &Bus,
    session: &Session,
    asked: &[Asked<'_>],
    keys: &Keys<'_>,
    slot: Slot,
    db: Option<&mut Db<'_>>,
) -> Result<(), CommandError> {
    let table = bus.table();
    let to = |word, node| redirect(word, (cluster, bus), session.client.is_v6(), slot, node);
    let Some(owner) = table.owner(slot) else {
        return Err(CommandError::text("CLUSTERDOWN Hash slot not served"));
    };
    let settled = keys.settled;
    if !bus.is_healthy() && !settled.is_some_and(|before| before.passes(keys.writes)) {
        may_run_while_down(cluster, keys)?;
    }
    let routing = session.routing;
    let primary = bus.me().is(Flags::PRIMARY);
    if primary && owner == bus.myself() && settled.is_some_and(|before| before.holds(slot)) {
        return Ok(());
    }
    let mine = owner == bus.shard_primary();
    let looks = primary || routing.read_only;
    let migrating = table.migrating.get(&slot).filter(|_| looks && mine);
    let importing = looks && migrating.is_none() && table.importing.contains_key(&slot);
    let open = migrating.is_some() || importing;
    if open && keys.joins_databases {
        return Err(try_again());
    }
    // What a transaction holds besides a MIGRATE could be written to keys that
    // have gone.
    let alone = asked.first().filter(|_| keys.alone);
    if open && primary && alone.is_some_and(|(command, _)| command.name == "migrate") {
        return Ok(());
    }
    // A cursor is no key that could be here. Within a transaction that is found
    // once it runs.
    let scans = alone.is_some_and(|(command, _)| command.name == "clusterscan");
    let (missing, existing) = match db.filter(|_| open) {
        _ if open && scans && session.transaction.is_none() => (1, 0),
        Some(db) => count_keys(db, &keys.all)?,
        None => (0, 0),
    };
    if let Some(target) = migrating
        && missing != 0
    {
        return Err(match existing {
            0 => to("ASK", *target),
            _ => try_again(),
        });
    }
    let asks = routing.asking || alone.is_some_and(|(command, _)| command.has(flag::ASKING));
    if importing && asks {
        let several = keys.all.iter().any(|(_, key)| *key != keys.all[0].1);
        return match several && missing != 0 {
            true => Err(try_again()),
            false => Ok(()),
        };
    }
    let reads = (routing.read_only || keys.sharded_channels) && !keys.writes;
    if owner == bus.myself() || (reads && !primary && mine) {
        let waits = |(command, _): &Asked<'_>| Migrations::holds_back(command);
        return match cluster.migrations.is_paused(slot) && asked.iter().any(waits) {
            true => Err(CommandError::Paused),
            false => Ok(()),
        };
    }
    Err(to("MOVED", owner))
}

/// Whether all keys of a slot are this shard's, and none has left for the node
/// that the slot is given to.
pub fn has_whole_slot(cluster: &Cluster, slot: Slot) -> bool {
    let has = |bus: &Bus| {
        let table = bus.table();
        let mine = table.owner(slot) == Some(bus.shard_primary());
        mine && !table.migrating.contains_key(&slot)
    };
    cluster.is_plainly_mine(slot.number()) || cluster.read(has)
}

/// Whether a command takes a key from the database `db` to another: of a slot
/// that is on the move, it can't be told where both are.
fn joins_databases(command: &Command, args: &[&[u8]], db: u32) -> bool {
    match command.name {
        "move" => true,
        "copy" => args
            .windows(2)
            .skip(3)
            .any(|words| is(words[0], "DB") && number_of(words.get(1)) != Some(db)),
        _ => false,
    }
}

/// The database that an argument names, if it is a number.
fn number_of(arg: Option<&&[u8]>) -> Option<u32> {
    let number = arg.and_then(|arg| args::integer(arg).ok());
    number.and_then(|number| u32::try_from(number).ok())
}

fn may_run_while_down(cluster: &Cluster, keys: &Keys<'_>) -> Result<(), CommandError> {
    if keys.sharded_channels {
        return match cluster.pubsub_when_down.load(Ordering::Relaxed) {
            true => Ok(()),
            false => Err(down()),
        };
    }
    match (cluster.reads_when_down.load(Ordering::Relaxed), keys.writes) {
        (false, _) => Err(down()),
        (true, true) => Err(down_for_writes()),
        (true, false) => Ok(()),
    }
}

fn down() -> CommandError {
    CommandError::text("CLUSTERDOWN The cluster is down")
}

fn down_for_writes() -> CommandError {
    CommandError::text("CLUSTERDOWN The cluster is down and only accepts read commands")
}

fn try_again() -> CommandError {
    CommandError::text("TRYAGAIN Multiple keys request during rehashing of slot")
}

/// How many keys are not there, and how many are, each in its database.
fn count_keys(db: &mut Db<'_>, keys: &[(u32, &[u8])]) -> Result<(usize, usize), CommandError> {
    let (mut missing, mut existing) = (0, 0);
    let (index, databases) = (db.index(), db.keyspace().databases());
    for (at, key) in keys.iter().filter(|(at, _)| *at < databases) {
        db.select(*at);
        let exists = db.exists(key);
        db.select(index);
        match exists? {
            true => existing += 1,
            false => missing += 1,
        }
    }
    Ok((missing, existing))
}

fn redirect(
    word: &str,
    (cluster, bus): (&Cluster, &Bus),
    v6: bool,
    slot: Slot,
    to: NodeKey,
) -> CommandError {
    let Some(node) = bus.table().get(to) else {
        return CommandError::text("CLUSTERDOWN Hash slot not served");
    };
    let endpoint = describe::endpoint(cluster, node, v6).unwrap_or_default();
    let (slot, port) = (slot.number(), node.address.port);
    CommandError::text(format!("{word} {slot} {endpoint}:{port}"))
}
