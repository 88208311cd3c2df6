//! A slot's keys: counting, listing and deleting them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redoubt_cluster::slots::Slot;

use crate::commands::context::Context;
use crate::connection::client::Client;
use crate::connection::dispatch::{Request, call};
use crate::connection::pause::Purpose;
use crate::connection::session::Session;
use crate::keyspace::db::Db;
use crate::keyspace::stripe::{StripeSet, stripe_of};
use crate::resp::Protocol;
use crate::resp::reply::ReplyBuffer;
use crate::state::{Server, unix_ms};

/// Keys that are deleted under one lock.
const DELETED_AT_ONCE: usize = 64;

/// How often it is looked whether a long script still has the keys.
const RETRY: Duration = Duration::from_millis(5);

/// Buckets that are looked into under one lock.
const LOOKS_AT_ONCE: usize = 1024;

/// How many keys a slot has, in all databases.
pub fn count(server: &Server, slot: Slot) -> usize {
    match any(server) {
        true => count_held(&mut hold(server, slot), slot),
        false => 0,
    }
}

/// Locks a slot's stripe: none of its keys comes or goes meanwhile.
pub fn hold(server: &Server, slot: Slot) -> Db<'_> {
    let stripes = StripeSet::one(stripe_of(slot.number()));
    Db::open(&server.keyspace, stripes, 0, unix_ms())
}

/// How many keys a slot has whose stripe is locked.
pub fn count_held(held: &mut Db<'_>, slot: Slot) -> usize {
    let databases = 0..held.keyspace().databases();
    let mut keys = 0;
    for index in databases {
        held.select(index);
        keys += held.slot_len(slot.number()).unwrap_or(0);
    }
    keys
}

/// Runs `f` with a slot's stripe locked, in the client's database: by the
/// transaction or script that the command is part of, or for the purpose.
fn with_slot<R>(ctx: &mut Context<'_>, slot: Slot, f: impl FnOnce(&mut Db<'_>) -> R) -> R {
    if !ctx.holds_all {
        let mut db = hold(ctx.server, slot);
        db.select(ctx.session.db);
        return f(&mut db);
    }
    let (index, mode) = (ctx.db.index(), ctx.db.expiry_mode);
    let result = f(&mut ctx.db);
    ctx.db.select(index);
    ctx.db.expiry_mode = mode;
    result
}

/// For a command: how many keys a slot has, in all databases.
pub fn count_for(ctx: &mut Context<'_>, slot: Slot) -> usize {
    match any(ctx.server) {
        true => with_slot(ctx, slot, |db| count_held(db, slot)),
        false => 0,
    }
}

/// For a command: how many keys a slot has in the client's database.
pub fn count_in_db(ctx: &mut Context<'_>, slot: Slot) -> usize {
    if ctx.server.keyspace.key_count(ctx.session.db) == 0 {
        return 0;
    }
    with_slot(ctx, slot, |db| db.slot_len(slot.number()).unwrap_or(0))
}

/// For a command: up to `limit` keys of a slot in the client's database.
pub fn list(ctx: &mut Context<'_>, slot: Slot, limit: usize) -> Vec<Vec<u8>> {
    let most = (limit, usize::MAX);
    let (mut keys, _) = with_slot(ctx, slot, |db| list_held(db, start_of(slot), most));
    keys.truncate(limit);
    keys
}

/// The cursor at which a slot begins.
fn start_of(slot: Slot) -> u64 {
    u64::from(slot.number()) << 32
}

/// Some keys of a slot from a cursor on, as they are at one moment: at least so
/// many, or what so many buckets have; and the cursor behind them.
fn list_from(
    server: &Server,
    slot: Slot,
    db: u32,
    cursor: u64,
    most: (usize, usize),
) -> (Vec<Vec<u8>>, Option<u64>) {
    let stripes = StripeSet::one(stripe_of(slot.number()));
    list_held(
        &mut Db::open(&server.keyspace, stripes, db, 0),
        cursor,
        most,
    )
}

/// The same of a slot whose stripe is locked.
fn list_held(
    db: &mut Db<'_>,
    cursor: u64,
    (limit, buckets): (usize, usize),
) -> (Vec<Vec<u8>>, Option<u64>) {
    // Those that have expired count as well, as they do in the slot's count.
    db.expiry_mode = crate::keyspace::db::ExpiryMode::Ignore;
    let mut keys = Vec::new();
    let (mut cursor, mut looks) = (Some(cursor), 0);
    while let Some(at) = cursor.filter(|_| keys.len() < limit && looks < buckets) {
        cursor = db
            .scan_slot(at, |entry| keys.push(entry.key().to_vec()))
            .unwrap_or(None);
        looks += 1;
    }
    (keys, cursor)
}

/// Whether this node holds any key.
pub fn any(server: &Server) -> bool {
    (0..server.keyspace.databases()).any(|db| server.keyspace.key_count(db) != 0)
}

/// The slots that hold keys and are not this node's. Its own aren't looked at:
/// what is on the disk only is to stay there for now.
fn foreign_slots_in_use(server: &Server, cluster: &super::Cluster) -> Vec<Slot> {
    if !any(server) {
        return Vec::new();
    }
    let foreign: Vec<Slot> = cluster.read(|bus| {
        let mine = |slot: &Slot| bus.table().owner(*slot) == Some(bus.myself());
        let all = redoubt_cluster::slot_set::all_slots();
        all.filter(|slot| !mine(slot)).collect()
    });
    let in_use = |slot: &Slot| count(server, *slot) != 0;
    foreign.into_iter().filter(in_use).collect()
}

/// Deletes the keys of slots that another node serves now.
pub fn delete(server: &'static Server, slots: &[Slot]) {
    let mut deleted = 0;
    for slot in slots {
        let mut sweep = Sweep::new(server, *slot);
        while sweep.go_on() {}
        deleted += sweep.deleted;
    }
    if deleted != 0 {
        tracing::info!("{deleted} keys of slots that others serve now were deleted");
    }
}

/// Deletes a slot's keys for a client. False if that is to be asked again: what is
/// left has to wait, for a hand-over of the slot, a pause or a long script.
pub fn flush(server: &'static Server, client: &Session, slot: Slot) -> bool {
    let mut sweep = Sweep::new(server, slot);
    sweep.session.routing.flushing = true;
    sweep.session.gate_version = client.gate_version;
    while !sweep.session.postponed && sweep.go_on() {}
    !sweep.session.postponed
}

/// Deletes the keys of slots as long as they are not this node's, nor about to
/// be: those that others serve now, or that were never claimed. A replica
/// leaves them to its primary. Nothing is deleted while a replica takes over:
/// behind the offset that it was told, nothing may enter the log.
pub fn delete_foreign(server: &'static Server, slots: &[Slot]) {
    let Some(cluster) = &server.cluster else {
        return;
    };
    for slot in slots {
        let stays = |server: &Server| {
            let wanted = cluster.read(|bus| {
                let table = bus.table();
                table.owner(*slot) == Some(bus.myself()) || table.importing.contains_key(slot)
            });
            wanted || server.replication.is_replica()
        };
        let mut sweep = Sweep::new(server, *slot);
        sweep.session.routing.leaving = true;
        while !stays(server) {
            if is_handed_over(server, &mut sweep.session) {
                std::thread::sleep(RETRY);
            } else if !sweep.go_on() {
                break;
            }
        }
    }
}

/// Whether a replica takes over and writes wait for it. If not, what the
/// session runs is put off if that has changed once its keys are locked.
pub fn is_handed_over(server: &Server, session: &mut Session) -> bool {
    session.gate_version = Some(server.gate_version.load(Ordering::Acquire));
    let pauses = &server.pauses;
    pauses.is_on_for(Purpose::ManualFailover, unix_ms())
}

/// Deletes what a promoted replica has of slots that others serve: its primary
/// was importing them. Those that their owner no longer claims are left alone.
pub fn drop_unclaimed(server: &'static Server) {
    let Some(cluster) = &server.cluster else {
        return;
    };
    if server.replication.is_replica() || !any(server) {
        return;
    }
    let doubtful = |slot: &Slot| cluster.read(|bus| bus.table().unclaimed.contains(*slot));
    let foreign = redoubt_cluster::slot_set::all_slots()
        .filter(|slot| cluster.is_foreign(slot.number()) && !doubtful(slot))
        .filter(|slot| {
            !cluster
                .migrations
                .active()
                .iter()
                .any(|job| job.plan.slots.contains(*slot))
        });
    let foreign: Vec<Slot> = foreign.collect();
    let _hidden = cluster.migrations.hide_foreign();
    delete_foreign(server, &foreign);
}

/// Deletes a slot's keys, some at a time. What comes in meanwhile is deleted as
/// well: the slot is seen to be empty from end to end before this ends.
struct Sweep {
    server: &'static Server,
    slot: Slot,
    session: Session,
    /// Where it is in the session's database.
    cursor: u64,
    /// Whether anything was there since its beginning.
    any: bool,
    deleted: usize,
}

impl Sweep {
    fn new(server: &'static Server, slot: Slot) -> Sweep {
        let mut session = internal_session(server);
        // What has expired is listed, so that it has to be deleted, too.
        session.routing.importing = true;
        Sweep {
            server,
            slot,
            session,
            cursor: start_of(slot),
            any: false,
            deleted: 0,
        }
    }

    /// Deletes some; false if the slot is empty, or it can't be done.
    fn go_on(&mut self) -> bool {
        let (server, db) = (self.server, self.session.db);
        if db == server.keyspace.databases() {
            return false;
        }
        let (mut keys, mut next) = (Vec::new(), None);
        if server.keyspace.key_count(db) != 0 {
            let most = (DELETED_AT_ONCE, LOOKS_AT_ONCE);
            (keys, next) = list_from(server, self.slot, db, self.cursor, most);
        }
        if !keys.is_empty() {
            self.any = true;
            let count = keys.len();
            let keys = keys.iter().map(Vec::as_slice);
            let args: Vec<&[u8]> = std::iter::once(&b"UNLINK"[..]).chain(keys).collect();
            if !run(server, &mut self.session, &args) {
                return self.session.passed_long_ago(server);
            }
            self.deleted += count;
        }
        self.cursor = next.unwrap_or(start_of(self.slot));
        if next.is_none() && !std::mem::take(&mut self.any) {
            self.session.db += 1;
        }
        true
    }
}

/// Brings slots and keys into agreement once the data is loaded: slots with
/// keys that nobody serves are taken, keys of others' slots deleted.
pub fn check_at_start(server: &'static Server) {
    let Some(cluster) = &server.cluster else {
        return;
    };
    let in_use = foreign_slots_in_use(server, cluster);
    let foreign = cluster.order(|bus| bus.check_data(&in_use));
    if !foreign.is_empty() {
        delete(server, &foreign);
    }
}

/// Deletes all keys.
pub fn delete_all(server: &'static Server) {
    run(server, &mut internal_session(server), &[b"FLUSHALL"]);
}

fn internal_session(server: &Server) -> Session {
    let client = Client::new("cluster".into(), "cluster".into(), -1, server.started_ms);
    let mut session = Session::new(Arc::new(client), true);
    session.routing.internal = true;
    session
}

/// Runs a command past the gate, once no long script has its keys; whether it
/// succeeded. It does not if the session has to ask again what it asked before. For
/// a client it waits for nothing, and leaves it to the session to tell of that.
fn run(server: &'static Server, session: &mut Session, args: &[&[u8]]) -> bool {
    let mut reply = ReplyBuffer::new(Protocol::Resp2);
    let Some(found) = crate::commands::table::table().find(args) else {
        return false;
    };
    loop {
        let request = Request::new(found, args, unix_ms());
        call(server, session, &mut reply, &request);
        if !session.postponed {
            return reply.buf.first() != Some(&b'-');
        }
        if session.routing.flushing {
            return false;
        }
        session.postponed = false;
        if session.passed_long_ago(server) {
            return false;
        }
        std::thread::sleep(RETRY);
    }
}
