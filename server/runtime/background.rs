//! The clockwork: keys that are due are removed even if nobody asks for them,
//! cold slots are brought into RAM, retired databases of a pure cache freed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use redoubt_persistence::tree::ScanCursor;

use crate::cluster::Cluster;
use crate::connection::conclusion::{after, append_expired, tell};
use crate::connection::dispatch::open_db;
use crate::connection::session::Session;
use crate::keyspace::KeyRef;
use crate::keyspace::db::{ExpiryMode, rows_of};

use crate::keyspace::entry::Entry;
use crate::keyspace::stripe::{SLOTS_PER_STRIPE, STRIPES, StripeSet};
use crate::state::{Server, unix_ms};
use crate::stats::add;

/// Pause between two rounds of expiry.
const ROUND: Duration = Duration::from_millis(50);
/// Keys removed under one hold of a stripe's lock.
const REMOVED_PER_HOLD: usize = 32;
/// Fields of hashes removed under one hold of a stripe's lock.
const FIELDS_PER_HOLD: usize = 128;
/// A round's share of a core: it stops after this long.
const ROUND_BUDGET: Duration = Duration::from_millis(12);
/// Rows read from the tree under one hold of a stripe's lock while warming.
const WARMED_PER_HOLD: usize = 64;

/// The body of the expiry thread; ends when `stop` is set.
pub fn expire(server: &'static Server, stop: &AtomicBool) {
    let client = crate::connection::client::Client::new("expiry".into(), "".into(), -1, 0);
    let mut session = Session::new(Arc::new(client), true);
    let mut first = 0;
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(ROUND);
        // First: a walk that begins after the question whether there is one finds
        // none of these in use, so that it can't take one's next keys for its own.
        let retired = server.keyspace.db_map().retired;
        let is_tracked =
            || server.any_storage().is_some() || server.saves.walking.load(Ordering::SeqCst);
        if !retired.is_empty() && !is_tracked() {
            server.keyspace.free_retired(&retired);
        }
        crate::connection::serve::serve_put_off(server);
        // A replica's values may leave its RAM too, for which no client makes room.
        match server.replication.is_replica() {
            true => crate::eviction::make_room_within(server, Some(ROUND_BUDGET)),
            false => crate::eviction::make_room(server),
        };
        crate::resident::collect_if_asked();
        if server.replication.is_replica() {
            expire_own(server, &mut session);
            continue;
        }
        if server.settings.active_expire.load(Ordering::Relaxed) {
            let began = Instant::now();
            first = expire_round(server, &mut session, first);
            note_round(server, began.elapsed());
        }
    }
}

fn note_round(server: &Server, took: Duration) {
    let stats = &server.stats;
    add(&stats.expiry_nanos, took.as_nanos() as u64);
    let threshold_ms = server.settings.latency_threshold_ms.load(Ordering::Relaxed);
    let took_ms = took.as_millis() as u64;
    if threshold_ms > 0 && took_ms >= threshold_ms as u64 {
        stats.latency.add("expire-cycle", unix_ms() / 1000, took_ms);
    }
}

/// Removes what a writable replica's own clients wrote and is due.
fn expire_own(server: &'static Server, session: &mut Session) {
    if !server.settings.active_expire.load(Ordering::Relaxed) {
        return;
    }
    for (index, key) in server.keyspace.own_expiries.take() {
        session.db = index;
        let mut db = open_db(
            server,
            session,
            StripeSet::one(KeyRef::new(&key).stripe()),
            unix_ms(),
        );
        if !server.replication.is_replica() {
            return;
        }
        db.expiry_mode = ExpiryMode::Remove;
        // Looking at it removes it if it is due.
        let waits = db.expiry(&key).ok().flatten().flatten().is_some();
        let mut recorder = std::mem::take(&mut db.recorder);
        tell(server, session, &mut recorder);
        drop(db);
        if waits {
            server.keyspace.own_expiries.note(index, &key);
        }
        after(server, session, recorder);
    }
}

/// One round, from stripe `first` on; returns where the next one begins.
fn expire_round(server: &'static Server, session: &mut Session, first: usize) -> usize {
    let began = Instant::now();
    for db in 0..server.keyspace.databases() {
        let keyspace = &server.keyspace;
        let may_have_fields = keyspace.has_field_expiries() && keyspace.key_count(db) != 0;
        if keyspace.expires_count(db) == 0 && !may_have_fields {
            continue;
        }
        session.db = db;
        for step in 0..STRIPES {
            let stripe = (first + step) % STRIPES;
            while expire_some(server, session, stripe) == REMOVED_PER_HOLD {
                if began.elapsed() > ROUND_BUDGET {
                    add(&server.stats.expiry_cut_short, 1);
                    return stripe;
                }
            }
        }
    }
    first
}

/// Whether keys of others' slots may be coming into a stripe.
fn importing(server: &'static Server, stripe: usize) -> Option<&'static Cluster> {
    let cluster = server.cluster.as_ref()?;
    let first = (stripe * SLOTS_PER_STRIPE) as u16;
    let mut slots = first..first + SLOTS_PER_STRIPE as u16;
    let foreign = cluster.migrations.has_foreign() && slots.any(|slot| cluster.is_foreign(slot));
    foreign.then_some(cluster)
}

fn expire_some(server: &'static Server, session: &mut Session, stripe: usize) -> usize {
    let mut set = StripeSet::default();
    set.add(stripe);
    let mut db = open_db(server, session, set, unix_ms());
    // It may have been turned off since the round began.
    if !server.settings.active_expire.load(Ordering::Relaxed) {
        return 0;
    }
    let (keys, fields) = match importing(server, stripe) {
        None => (
            db.remove_due(stripe, REMOVED_PER_HOLD),
            db.remove_due_fields(stripe, FIELDS_PER_HOLD),
        ),
        Some(cluster) => {
            // Until these slots are ours, their keys expire where they come from.
            let ours = |entry: &Entry| !cluster.is_foreign(KeyRef::new(entry.key()).slot);
            (db.remove_due_where(stripe, REMOVED_PER_HOLD, ours), 0)
        }
    };
    let removed = match fields {
        FIELDS_PER_HOLD => REMOVED_PER_HOLD,
        _ => keys.max(usize::from(fields > 0)),
    };
    if removed == 0 {
        return 0;
    }
    let mut recorder = std::mem::take(&mut db.recorder);
    append_expired(server, &recorder);
    tell(server, session, &mut recorder);
    drop(db);
    after(server, session, recorder);
    removed
}

/// The body of the warming thread: brings every cold slot into RAM, then ends.
pub fn warm(server: &'static Server, stop: &AtomicBool) {
    let began = Instant::now();
    if !server.keyspace.is_warming() {
        return;
    }
    let mut damaged = BTreeMap::new();
    let failed = loop {
        let before = server.keyspace.cold_slot_count();
        let mut failed = 0;
        for db in 0..server.keyspace.databases() {
            for slot in 0..(STRIPES * SLOTS_PER_STRIPE) as u16 {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                match warm_slot(server, db, slot) {
                    Ok(found) if found.is_empty() => {}
                    Ok(found) => {
                        if damaged.insert((db, slot), found.len()) != Some(found.len()) {
                            tell_damaged(db, slot, &found);
                        }
                    }
                    Err(error) => {
                        failed += 1;
                        tracing::error!("slot {slot} of database {db} could not be read: {error}");
                    }
                }
            }
        }
        // SWAPDB may have put a cold database behind this one.
        let left = server.keyspace.cold_slot_count();
        if left == 0 || left >= before {
            break failed;
        }
    };
    let seconds = began.elapsed().as_secs_f64();
    match damaged.values().sum::<usize>() {
        _ if failed != 0 => tracing::warn!(
            "Keys are in memory after {seconds:.3} seconds but for {failed} slots, see above: \
             these are read when they are asked for"
        ),
        0 => tracing::info!("All keys are in memory after {seconds:.3} seconds"),
        count => tracing::warn!(
            "All keys are in memory after {seconds:.3} seconds but for {count} that can't be read, \
             see above. Until they are removed (DEL) or written anew (SET, RESTORE ... REPLACE) \
             there are no snapshot files and no full syncs"
        ),
    }
}

/// What can't be read of the tree: the key, if that can be told, and why.
type Damaged = (Option<Vec<u8>>, String);

/// Names the keys of a slot that can't be read.
fn tell_damaged(db: u32, slot: u16, found: &[Damaged]) {
    for (key, why) in found {
        let named = match key {
            Some(key) => format!("key {}", key.escape_ascii()),
            None => "a long key, whose name is lost with it,".into(),
        };
        tracing::error!("{named} in slot {slot} of database {db} can't be read: {why}");
    }
}

/// Brings a cold slot into RAM. Gives what can't be read of it.
fn warm_slot(server: &'static Server, db: u32, slot: u16) -> Result<Vec<Damaged>, String> {
    let mut damaged = Vec::new();
    let Some(storage) = server.any_storage() else {
        return Ok(damaged);
    };
    let client = crate::connection::client::Client::new("warming".into(), "".into(), -1, 0);
    let mut session = Session::new(Arc::new(client), true);
    session.db = db;
    let stripe = usize::from(slot) / SLOTS_PER_STRIPE;
    let mut set = StripeSet::default();
    set.add(stripe);
    if !open_db(server, &session, set, 0).is_cold(slot) {
        return Ok(damaged);
    }
    let mut cursor = ScanCursor::start();
    let mut reading = server.keyspace.physical(db);
    let mut tree = storage.tree.get();
    while !cursor.is_done() {
        // The snapshot is opened under the lock: a row that was removed since
        // is either still known as removed, or not in this snapshot.
        let mut held = open_db(server, &session, set, 0);
        let physical = server.keyspace.physical(db);
        if physical != reading || !Arc::ptr_eq(&tree, &storage.tree.get()) {
            // Flushed, swapped, or synced with a primary meanwhile: what is
            // cold there begins anew.
            reading = physical;
            tree = storage.tree.get();
            cursor = ScanCursor::start();
            damaged.clear();
        }
        let snapshot = tree.snapshot().map_err(|e| e.to_string())?;
        let found = rows_of(&snapshot, physical, slot, &mut cursor, WARMED_PER_HOLD)
            .map_err(|e| format!("{e:?}"))?;
        for (key, read, expire_at_ms) in found.rows {
            // Of a hash the fields that expire have to be known.
            match crate::eviction::spills_at_once(server) && !read.value.has_expiring_fields() {
                true => held.offer_key_from_tree(&key, read.value.value_type(), expire_at_ms),
                false => held.offer_from_tree(&key, read, expire_at_ms),
            }
        }
        for (key, why) in found.damaged {
            if held.offer_unreadable(&key) {
                damaged.push((Some(key), why));
            }
        }
        damaged.extend(found.nameless.into_iter().map(|why| (None, why)));
        // A key that nobody can tell is looked for in the tree whenever it is asked for.
        if cursor.is_done() && damaged.iter().all(|(key, _)| key.is_some()) {
            held.mark_warm(slot);
        }
    }
    Ok(damaged)
}
