//! Making room when memory passes `maxmemory`: the field's eight policies, by
//! sampling.
//!
//! A few keys are looked at, the best candidates among them and among those
//! seen before stay in a pool, and the best of these goes. What goes is logged
//! as its removal (I2), so that a restart and a replica do the same without
//! knowing why.

mod log;
mod policy;
mod regions;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::commands::effects::encode;
use crate::connection::client::Client;
use crate::connection::conclusion::{after, tell};
use crate::connection::dispatch::{lock_unless_busy, open_unless_busy};
use crate::connection::pause;
use crate::connection::session::Session;
use crate::keyspace::KeyRef;
use crate::keyspace::db::{Db, ExpiryMode};
use crate::keyspace::stripe::{STRIPES, StripeSet};
use crate::resident::Resident;
use crate::state::{Server, unix_ms};
use crate::stats::add;

pub use log::{hold_up, needs_tree};
use policy::CLOCK_MASK;
pub use policy::{Order, Policy, VALUES_TO_TREE};

/// Candidates kept from one look to the next.
const POOL: usize = 16;
/// Keys that go between two looks at the clock.
const KEYS_PER_LOOK: u32 = 16;
/// Whatever `maxmemory` is, nobody waits for the tree while no more than this
/// is kept for it.
const FREE_FOR_TREE: u64 = 64 << 20;

/// Where values leave RAM for the tree, writers are held up once it is behind
/// by this share of `maxmemory`,
const LAG_SHARE: u64 = 32;
/// and by so much at least.
const LEAST_LAG: u64 = 1 << 20;

/// What a key without its value takes up, about.
const BYTES_A_KEY: u64 = 80;

/// What became of an attempt to make room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Room {
    /// There is room.
    Enough,
    /// Not yet: the rest goes in the background.
    Soon,
    /// There is none, and nothing may go.
    None,
}

/// A key that may go.
struct Candidate {
    fitness: u64,
    db: u32,
    key: Box<[u8]>,
}

/// Who makes room, one at a time.
#[derive(Default)]
struct Evictor {
    pool: Vec<Candidate>,
    session: Option<Session>,
}

/// Eviction's state and figures.
#[derive(Default)]
pub struct Eviction {
    evictor: Mutex<Evictor>,
    /// The last attempt found nothing that may go.
    exhausted: AtomicBool,
    /// Keys that went.
    pub evicted: AtomicU64,
    /// Time for which memory was beyond the limit, microseconds.
    exceeded_us: AtomicU64,
    exceeding: AtomicBool,
    exceeded_since: Mutex<Option<Instant>>,
    /// What resident memory allows, where values leave RAM for the tree.
    pub resident: Resident,
    /// Which values are to leave RAM for the tree, where that is not left to
    /// chance.
    pub plan: regions::Plan,
    /// No value was found just now that the tree has and RAM still holds.
    pub nothing_to_spill: AtomicBool,
}

impl Eviction {
    /// Microseconds beyond the limit: in total, and since it was last passed.
    pub fn exceeded_us(&self) -> (u64, u64) {
        let since = *self.exceeded_since.lock();
        let current = since.map_or(0, |since| since.elapsed().as_micros() as u64);
        (self.exceeded_us.load(Relaxed) + current, current)
    }

    /// CONFIG RESETSTAT.
    pub fn reset(&self) {
        self.evicted.store(0, Relaxed);
        self.exceeded_us.store(0, Relaxed);
        let mut since = self.exceeded_since.lock();
        *since = since.map(|_| Instant::now());
    }

    fn note(&self, exceeded: bool) {
        if self.exceeding.swap(exceeded, Relaxed) == exceeded {
            return;
        }
        let mut since = self.exceeded_since.lock();
        match (exceeded, *since) {
            (true, None) => *since = Some(Instant::now()),
            (false, Some(began)) => {
                add(&self.exceeded_us, began.elapsed().as_micros() as u64);
                *since = None;
            }
            _ => {}
        }
    }
}

/// Bytes that are not the data's, and so don't count towards `maxmemory`: what
/// log and tree have to write yet. To evict for their sake would free nothing.
pub fn uncounted_bytes(server: &Server) -> u64 {
    let log = server.log().map_or(0, |log| log.buffer_bytes());
    log + crate::memory::for_tree_bytes()
}

/// Whether values leave RAM for the tree.
fn spills(server: &Server) -> bool {
    let policy = server.settings.policy();
    policy.is_some_and(|policy| policy.to_tree)
}

/// Bytes in use beyond the limit.
fn excess(server: &Server) -> u64 {
    let limit = server.settings.maxmemory.load(Relaxed);
    if limit == 0 {
        return 0;
    }
    let used = crate::memory::used_bytes();
    let allowed = server.eviction.resident.allowed(limit);
    if used <= allowed {
        return 0;
    }
    match spills(server) {
        // What the log has to write yet is resident like everything else.
        true => used - allowed,
        // A replica removes what its primary removes.
        false if server.replication.is_replica() => 0,
        false => (used - allowed).saturating_sub(uncounted_bytes(server)),
    }
}

/// Whether what is in use is beyond the limit by more than a tenth of it.
fn is_far_beyond(server: &Server) -> bool {
    let limit = server.settings.maxmemory.load(Relaxed);
    crate::memory::used_bytes() > limit.saturating_add(limit / 10)
}

/// Whether a command that needs memory has to be refused: memory is full, and
/// the last attempt to make room was in vain. Locks nothing.
pub fn is_out_of_memory(server: &Server) -> bool {
    let hopeless = || match server.settings.policy() {
        None => true,
        Some(policy) if policy.to_tree && !is_far_beyond(server) => false,
        Some(_) => server.eviction.exhausted.load(Relaxed),
    };
    excess(server) != 0 && hopeless()
}

/// Whether so much is free that a batch of commands need not ask one by one.
pub fn has_ample_room(server: &Server) -> bool {
    const AMPLE: u64 = 16 << 20;
    let limit = server.settings.maxmemory.load(Relaxed);
    let allowed = || server.eviction.resident.allowed(limit);
    limit == 0 || crate::memory::used_bytes().saturating_add(AMPLE) < allowed()
}

/// Removes keys until memory is below the limit, for as long as
/// `maxmemory-eviction-tenacity` allows. The caller holds no stripe.
pub fn make_room(server: &'static Server) -> Room {
    let tenacity = server.settings.eviction_tenacity.load(Relaxed);
    make_room_within(server, budget(tenacity))
}

/// As [`make_room`], for as long as it takes: for what a value that came back to
/// a stripe displaces. Where others make room already, or find nothing, the
/// value goes that came back to the same stripe before it.
pub fn make_room_for_returned(server: &'static Server, db: u32, stripe: usize) {
    make_room_within(server, None);
    if excess(server) != 0 {
        let Some(held) = lock_unless_busy(server, StripeSet::one(stripe), false) else {
            return;
        };
        let mut db = Db::holding(&server.keyspace, held, db, unix_ms());
        // Two: what is too much becomes less.
        for _ in 0..2 {
            db.spill_returned(stripe);
        }
    }
}

/// As [`make_room`], for as long as this; None is as long as it takes.
pub fn make_room_within(server: &'static Server, budget: Option<Duration>) -> Room {
    let mut left = excess(server);
    if left == 0 {
        if server.eviction.exceeding.load(Relaxed) {
            server.eviction.note(false);
        }
        return Room::Enough;
    }
    server.eviction.note(true);
    let Some(policy) = server.settings.policy() else {
        return Room::None;
    };
    if is_paused(server, policy) {
        return Room::Enough;
    }
    let began = Instant::now();
    if policy.to_tree && is_spilt(server) {
        return wait_for_tree(server);
    }
    let evictor = &server.eviction.evictor;
    // Whoever reads values back makes all the room there has to be.
    let Some(mut evictor) = (match policy.to_tree {
        true => evictor.try_lock(),
        false => Some(evictor.lock()),
    }) else {
        return Room::Soon;
    };
    let mut keys = 0;
    while left > 0 {
        match evictor.evict_one(server, policy) {
            Some(freed) => left = left.saturating_sub(freed as u64),
            None if policy.to_tree => {
                server.eviction.nothing_to_spill.store(true, Relaxed);
                return wait_for_tree(server);
            }
            None => {
                server.eviction.exhausted.store(true, Relaxed);
                return Room::None;
            }
        }
        keys += 1;
        if keys % KEYS_PER_LOOK == 0 {
            if budget.is_some_and(|budget| began.elapsed() > budget) {
                break;
            }
            // What was freed since may be less or more than was counted.
            left = left.min(excess(server));
        }
    }
    server.eviction.exhausted.store(false, Relaxed);
    server.eviction.note(left > 0);
    match left {
        0 => Room::Enough,
        _ => Room::Soon,
    }
}

/// Whether a pause keeps keys from being removed, as every other change.
fn is_paused(server: &Server, policy: Policy) -> bool {
    !policy.to_tree && pause::is_on(server, unix_ms())
}

/// What is in RAM is not in the tree yet: it is to hurry. Writers are slowed
/// meanwhile, and refused beyond a tenth above the limit.
fn wait_for_tree(server: &Server) -> Room {
    server.health.checkpoint_wanted.store(true, Relaxed);
    let hopeless = is_far_beyond(server);
    server.eviction.exhausted.store(hopeless, Relaxed);
    match hopeless {
        true => Room::None,
        false => Room::Soon,
    }
}

/// How long writers are to be held up because memory waits for the tree, as a
/// share of the longest time. `lag` is how many bytes the tree is behind.
pub fn pressure(server: &Server, lag: u64) -> f64 {
    let limit = server.settings.maxmemory.load(Relaxed);
    if limit == 0 {
        return 0.0;
    }
    let beyond = match spills(server) {
        // What was written stays in RAM until the tree has it, and once more
        // in the log's buffers, in rows, and in the tree's pages meanwhile.
        true if spills_at_once(server) => lag.saturating_sub(limit / LAG_SHARE) * 2,
        true => 0,
        // What is evicted is gone at once, but not what the tree needs of it.
        false => crate::memory::for_tree_bytes().saturating_sub(FREE_FOR_TREE),
    };
    (beyond as f64 * 10.0 / limit as f64).min(1.0)
}

/// The tree's lag beyond which it is to take over what was written without a
/// pause, where values may leave RAM only then.
pub fn urgent_lag(server: &Server) -> Option<u64> {
    let limit = server.settings.maxmemory.load(Relaxed);
    (limit != 0 && spills(server)).then(|| (limit / LAG_SHARE / 2).max(LEAST_LAG))
}

/// Whether RAM holds no value, as far as is known, that could leave it now.
fn is_spilt(server: &Server) -> bool {
    server.eviction.nothing_to_spill.load(Relaxed)
}

/// Whether keys that are read from the tree should come without their values:
/// room has to be left for the keys that are still to come.
pub fn spills_at_once(server: &Server) -> bool {
    let limit = server.settings.maxmemory.load(Relaxed);
    let nearly = || server.eviction.resident.allowed(limit) / 10 * 9;
    let to_come = || server.keyspace.keys_to_come().saturating_mul(BYTES_A_KEY);
    limit != 0 && spills(server) && crate::memory::used_bytes() + to_come() > nearly()
}

/// How long one command may spend on making room; None is as long as it takes.
fn budget(tenacity: u64) -> Option<Duration> {
    match tenacity {
        0..=10 => Some(Duration::from_micros(50 * tenacity)),
        11..=99 => {
            let micros = 500.0 * 1.15_f64.powi(tenacity as i32 - 10);
            Some(Duration::from_micros(micros as u64))
        }
        _ => None,
    }
}

impl Evictor {
    /// Removes one key; gives about how many bytes that frees. None when there
    /// is nothing that may go.
    fn evict_one(&mut self, server: &'static Server, policy: Policy) -> Option<usize> {
        if policy.to_tree
            && let Some(freed) = server.eviction.plan.spill_one(&server.keyspace)
        {
            return Some(freed);
        }
        let session = self.session.get_or_insert_with(|| {
            let client = Client::new("eviction".into(), "".into(), -1, 0);
            Session::new(Arc::new(client), true)
        });
        for _ in 0..POOL {
            self.pool.truncate(POOL);
            look(server, session, policy, &mut self.pool);
            if policy.order == Order::Random {
                self.pool.truncate(1);
            }
            while !self.pool.is_empty() {
                let best = self.pool.remove(0);
                if let Some(freed) = remove(server, session, policy, &best) {
                    return Some(freed);
                }
                // It is gone, or no longer volatile.
            }
            let databases = 0..server.keyspace.databases();
            let mut sizes = databases.map(|db| candidates_in(server, policy, db));
            if !sizes.any(|size| size != 0) {
                return None;
            }
        }
        None
    }
}

/// How many keys of a database may go, at most.
fn candidates_in(server: &Server, policy: Policy, db: u32) -> u64 {
    match policy.volatile_only {
        true => server.keyspace.expires_count(db),
        false => server.keyspace.key_count(db),
    }
}

/// Looks at a few keys of each database and merges them into the pool, fittest
/// first.
fn look(server: &'static Server, session: &mut Session, policy: Policy, pool: &mut Vec<Candidate>) {
    let samples = match policy.order {
        Order::Random => 1,
        _ => server.settings.eviction_samples.load(Relaxed).max(1) as usize,
    };
    let databases = server.keyspace.databases();
    let first = fastrand::u32(..databases);
    for step in 0..databases {
        let index = (first + step) % databases;
        if candidates_in(server, policy, index) == 0 {
            continue;
        }
        session.db = index;
        let start = fastrand::usize(..STRIPES);
        let mut found = 0;
        for step in 0..STRIPES {
            let stripe = (start + step) % STRIPES;
            let opened = open_unless_busy(server, session, StripeSet::one(stripe), unix_ms());
            let Some(mut db) = opened else { continue };
            let now_ms = db.now_ms;
            let volatile = policy.volatile_only;
            db.sample(stripe, samples - found, volatile, &mut |entry| {
                found += 1;
                if let Some(fitness) = policy.fitness(entry, now_ms) {
                    offer(pool, fitness, index, entry.key());
                }
            });
            if found >= samples {
                break;
            }
        }
        if policy.order == Order::Random && found > 0 {
            return;
        }
    }
}

/// Takes a key into the pool if it is among the fittest.
fn offer(pool: &mut Vec<Candidate>, fitness: u64, db: u32, key: &[u8]) {
    let place = pool.partition_point(|other| other.fitness >= fitness);
    let known = pool
        .iter()
        .any(|other| other.db == db && *other.key == *key);
    if place < POOL && !known {
        let key = key.into();
        pool.insert(place, Candidate { fitness, db, key });
        pool.truncate(POOL);
    }
}

/// Removes a candidate, if it is still one; gives about how much that frees.
fn remove(
    server: &'static Server,
    session: &mut Session,
    policy: Policy,
    candidate: &Candidate,
) -> Option<usize> {
    session.db = candidate.db;
    let stripe = KeyRef::new(&candidate.key).stripe();
    let mut db = open_unless_busy(server, session, StripeSet::one(stripe), unix_ms())?;
    db.expiry_mode = ExpiryMode::Ignore;
    if is_paused(server, policy) {
        return None;
    }
    if policy.to_tree {
        server.storage()?;
        return db.spill(&candidate.key);
    }
    let freed = evict(&mut db, policy, &candidate.key)?;
    if let Some(log) = server.own_log() {
        let name: &[u8] = match server.settings.lazy_eviction.load(Relaxed) {
            true => b"UNLINK",
            false => b"DEL",
        };
        let mut bytes = Vec::new();
        encode(&mut bytes, &[name, &candidate.key]);
        log.append(candidate.db, &bytes, candidate.db);
    }
    let mut recorder = std::mem::take(&mut db.recorder);
    tell(server, session, &mut recorder);
    drop(db);
    add(&server.eviction.evicted, 1);
    after(server, session, recorder);
    Some(freed)
}

fn evict(db: &mut Db<'_>, policy: Policy, key: &[u8]) -> Option<usize> {
    let expires = db.resident(key)?.expire_at_ms().is_some();
    match policy.volatile_only && !expires {
        true => None,
        false => db.evict(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_keeps_the_fittest_in_order_and_each_once() {
        let mut pool = Vec::new();
        for n in 0..100u64 {
            let key = n.to_string();
            offer(&mut pool, n * 37 % 100, 0, key.as_bytes());
            offer(&mut pool, n * 37 % 100, 0, key.as_bytes());
        }
        let fitness: Vec<u64> = pool.iter().map(|candidate| candidate.fitness).collect();
        assert_eq!(fitness, (84..100).rev().collect::<Vec<_>>());
    }

    #[test]
    fn tenacity_bounds_the_time() {
        assert_eq!(budget(0), Some(Duration::ZERO));
        assert_eq!(budget(10), Some(Duration::from_micros(500)));
        assert!(budget(50).unwrap() > Duration::from_millis(100));
        assert_eq!(budget(100), None);
    }
}
