//! Atomic slot migrations that this node takes part in: which there are and
//! were, which slots' writes are held back, and which keys are nobody's
//! business because their slots are another node's.
//!
//! The threads that carry them out are in `runtime/migration`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use redoubt_cluster::identity::NodeId;
use redoubt_cluster::slot_migration::{Plan, Side, State, ranges_text};
use redoubt_cluster::slot_set::SlotSet;
use redoubt_cluster::slots::Slot;

use super::Cluster;
use crate::commands::args;
use crate::commands::command::Command;
use crate::connection::pause;
use crate::keyspace::stripe::{SLOTS_PER_STRIPE, STRIPES, StripeSet};
use crate::resp::reply::ReplyBuffer;
use crate::state::{Server, unix_ms};

/// Why an import ends whose node hands itself over to a replica, or has.
pub const FAILED_OVER: &str = "A failover occurred during slot import";

/// One migration.
#[derive(Debug)]
pub struct Job {
    /// What it is about.
    pub plan: Plan,
    /// Which end this node is.
    pub side: Side,
    /// When it began, Unix seconds.
    pub created_s: i64,
    /// When its state last changed, Unix seconds.
    updated_s: AtomicI64,
    /// When the other end was last heard of, Unix seconds.
    heard_s: AtomicI64,
    /// Bytes of the log that the target has not been sent.
    pub remaining_bytes: AtomicU64,
    progress: Mutex<(State, String)>,
    /// Why it is to end, if it is.
    stop: Mutex<Option<Stop>>,
    stopped: AtomicBool,
}

/// Why a migration is to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// CLUSTER CANCELSLOTMIGRATIONS.
    Cancelled,
    /// Something that makes it impossible.
    Failed(String),
}

impl Job {
    fn new(plan: Plan, side: Side) -> Job {
        let state = match side {
            Side::Export => State::Connecting,
            Side::Import => State::WaitingForAck,
        };
        let now_s = unix_ms() / 1000;
        Job {
            plan,
            side,
            created_s: now_s,
            updated_s: AtomicI64::new(now_s),
            heard_s: AtomicI64::new(now_s),
            remaining_bytes: AtomicU64::new(0),
            progress: Mutex::new((state, String::new())),
            stop: Mutex::new(None),
            stopped: AtomicBool::new(false),
        }
    }

    /// How far it is.
    pub fn state(&self) -> State {
        self.progress.lock().0
    }

    /// It has come to another state; `message` tells why it ended.
    pub fn enter(&self, state: State, message: &str) {
        let mut progress = self.progress.lock();
        if progress.0.is_final() {
            return;
        }
        let (name, from) = (&self.plan.name, progress.0.name());
        tracing::info!(
            "Slot migration {name}: {from} -> {} {message}",
            state.name()
        );
        *progress = (state, message.to_owned());
        self.updated_s.store(unix_ms() / 1000, Ordering::Relaxed);
    }

    /// The other end was heard of.
    pub fn heard(&self) {
        self.heard_s.store(unix_ms() / 1000, Ordering::Relaxed);
    }

    /// Asks its thread to end it. Behind a grant it is for the target to say.
    pub fn stop(&self, why: Stop) {
        self.stop.lock().get_or_insert(why);
        self.stopped.store(true, Ordering::Release);
    }

    /// Why it is to end, if it is.
    pub fn stopped(&self) -> Option<Stop> {
        match self.stopped.load(Ordering::Acquire) {
            true => self.stop.lock().clone(),
            false => None,
        }
    }

    fn describe(&self, reply: &mut ReplyBuffer) {
        let (state, message) = self.progress.lock().clone();
        let plan = &self.plan;
        reply.map(12);
        let mut text = |name: &str, value: &str| {
            reply.bulk(name.as_bytes());
            reply.bulk(value.as_bytes());
        };
        text("name", plan.name.as_str());
        text("operation", self.side.name());
        text("slot_ranges", &ranges_text(&plan.slots));
        text("target_node", plan.target.as_str());
        text("source_node", plan.source.as_str());
        let mut number = |name: &str, value: i64| {
            reply.bulk(name.as_bytes());
            reply.integer(value);
        };
        number("create_time", self.created_s);
        number("last_update_time", self.updated_s.load(Ordering::Relaxed));
        number("last_ack_time", self.heard_s.load(Ordering::Relaxed));
        reply.bulk(b"state");
        reply.bulk(state.name().as_bytes());
        reply.bulk(b"message");
        reply.bulk(message.as_bytes());
        let remaining = self.remaining_bytes.load(Ordering::Relaxed);
        reply.bulk(b"cow_size");
        reply.integer(0);
        reply.bulk(b"remaining_repl_size");
        reply.integer(i64::try_from(remaining).unwrap_or(i64::MAX));
    }
}

/// This node's migrations.
#[derive(Default)]
pub struct Migrations {
    /// Newest first.
    jobs: Mutex<Vec<Arc<Job>>>,
    /// Slots whose writes are held back.
    paused: Mutex<SlotSet>,
    any_paused: AtomicBool,
    /// Slots that are not this node's, whose keys are to be deleted.
    deleting: Mutex<SlotSet>,
    /// Imports and deletions under way: keys of others' slots may be here.
    foreign: AtomicUsize,
    /// As a replica: the imports of our primary of which its stream has told the
    /// beginning and not the end.
    followed: Mutex<BTreeMap<NodeId, SlotSet>>,
}

impl Migrations {
    /// Takes up a migration, unless one of its slots is on the move already:
    /// then that slot is given.
    pub fn begin(&self, plan: Plan, side: Side, kept: usize) -> Result<Arc<Job>, Slot> {
        let mut jobs = self.jobs.lock();
        let active = jobs.iter().filter(|job| !job.state().is_final());
        for job in active {
            let both = plan
                .slots
                .iter()
                .find(|slot| job.plan.slots.contains(*slot));
            if let Some(slot) = both {
                return Err(slot);
            }
        }
        let job = Arc::new(Job::new(plan, side));
        jobs.insert(0, job.clone());
        let mut finished = 0;
        jobs.retain(|job| {
            finished += usize::from(job.state().is_final());
            !job.state().is_final() || finished <= kept
        });
        Ok(job)
    }

    /// Forgets a migration that could not be begun.
    pub fn forget(&self, job: &Arc<Job>) {
        self.jobs.lock().retain(|other| !Arc::ptr_eq(other, job));
    }

    /// Those under way.
    pub fn active(&self) -> Vec<Arc<Job>> {
        let jobs = self.jobs.lock();
        let active = jobs.iter().filter(|job| !job.state().is_final());
        active.cloned().collect()
    }

    /// CLUSTER GETSLOTMIGRATIONS.
    pub fn describe(&self, reply: &mut ReplyBuffer) {
        let jobs = self.jobs.lock();
        reply.array(jobs.len());
        jobs.iter().for_each(|job| job.describe(reply));
    }

    /// CLUSTER CANCELSLOTMIGRATIONS: ends the exports under way; how many.
    pub fn cancel(&self) -> usize {
        let mut active = self.active();
        active.retain(|job| job.side == Side::Export);
        active.iter().for_each(|job| job.stop(Stop::Cancelled));
        active.len()
    }

    /// All keys of a database were deleted: nothing of what is under way can be
    /// completed.
    pub fn flushed(&self) {
        for job in self.active() {
            job.stop(Stop::Failed("Data was flushed".into()));
        }
    }

    /// Our primary's stream tells of the beginning of an import of its own.
    pub fn follow(&self, name: NodeId, slots: SlotSet) {
        self.followed.lock().insert(name, slots);
    }

    /// It tells of the end of one.
    pub fn follow_no_more(&self, name: &NodeId) {
        self.followed.lock().remove(name);
    }

    /// Those that were begun and have not ended, from now on forgotten.
    pub fn take_followed(&self) -> BTreeMap<NodeId, SlotSet> {
        std::mem::take(&mut self.followed.lock())
    }

    /// Whether writes to this slot are held back.
    pub fn is_paused(&self, slot: Slot) -> bool {
        self.any_paused.load(Ordering::Acquire) && self.paused.lock().contains(slot)
    }

    /// Whether a command must wait for the end of a hand-over if its keys are
    /// in such a slot.
    pub fn holds_back(command: &Command) -> bool {
        pause::may_have_effects(command)
    }

    /// Whether a command that names no keys must wait for the end of a hand-over:
    /// what it empties would be there again at the new owner.
    pub fn holds_back_whole(&self, command: &Command, args: &[&[u8]]) -> bool {
        self.any_paused.load(Ordering::Acquire)
            && match command.name {
                "flushall" | "flushdb" => true,
                "cluster|flushslot" => args
                    .get(2)
                    .and_then(|arg| args::integer(arg).ok())
                    .and_then(|number| u16::try_from(number).ok())
                    .and_then(Slot::new)
                    .is_some_and(|slot| self.is_paused(slot)),
                _ => false,
            }
    }

    fn pause(&self, slots: &SlotSet, on: bool) {
        let mut paused = self.paused.lock();
        for slot in slots.iter() {
            match on {
                true => paused.insert(slot),
                false => paused.remove(slot),
            };
        }
        self.any_paused.store(!paused.is_empty(), Ordering::Release);
    }

    /// Notes that keys of others' slots come in, until the guard goes.
    pub fn hide_foreign(&self) -> Foreign<'_> {
        self.foreign.fetch_add(1, Ordering::AcqRel);
        Foreign(self)
    }

    /// Whether keys of others' slots may be here.
    pub fn has_foreign(&self) -> bool {
        self.foreign.load(Ordering::Acquire) != 0
    }

    /// Notes slots whose keys are to be deleted since another node serves them.
    pub fn will_delete(&self, slots: &[Slot]) {
        self.foreign.fetch_add(1, Ordering::AcqRel);
        let mut deleting = self.deleting.lock();
        slots.iter().for_each(|slot| {
            deleting.insert(*slot);
        });
    }

    /// The deletion that was noted has ended.
    pub fn has_deleted(&self, slots: &[Slot]) {
        let mut deleting = self.deleting.lock();
        slots.iter().for_each(|slot| {
            deleting.remove(*slot);
        });
        self.foreign.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether keys of some of these slots are still being deleted.
    pub fn is_deleting(&self, slots: &SlotSet) -> bool {
        let deleting = self.deleting.lock();
        slots.iter().any(|slot| deleting.contains(slot))
    }
}

/// See [`Migrations::hide_foreign`].
pub struct Foreign<'m>(&'m Migrations);

impl Drop for Foreign<'_> {
    fn drop(&mut self) {
        self.0.foreign.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Holds back the writes to some slots for as long as it lives.
pub struct Pause<'c> {
    cluster: &'c Cluster,
    slots: SlotSet,
    began: Instant,
}

impl<'c> Pause<'c> {
    /// Begins it. Who has locked a key of these slots before may still write.
    pub fn begin(cluster: &'c Cluster, slots: SlotSet) -> Pause<'c> {
        cluster.migrations.pause(&slots, true);
        cluster.refresh_slots();
        let began = Instant::now();
        Pause {
            cluster,
            slots,
            began,
        }
    }
}

impl Drop for Pause<'_> {
    fn drop(&mut self) {
        self.cluster.migrations.pause(&self.slots, false);
        self.cluster.refresh_slots();
        tracing::info!(
            "Writes to {} migrating slots were held back for {:.1} ms",
            self.slots.len(),
            self.began.elapsed().as_secs_f64() * 1000.0
        );
    }
}

/// Whether keys of slots that others serve may be among a database's: they are
/// being imported, or deleted since their slots have left.
pub fn may_have_foreign(server: &Server, db: u32) -> bool {
    let Some(cluster) = &server.cluster else {
        return false;
    };
    server.keyspace.key_count(db) != 0
        && (cluster.migrations.has_foreign() || server.replication.is_replica())
}

/// About how many keys of a database clients may know of, whatever is locked.
pub fn visible_keys(server: &Server, db: u32) -> u64 {
    let all = server.keyspace.key_count(db);
    let Some(cluster) = server
        .cluster
        .as_ref()
        .filter(|_| may_have_foreign(server, db))
    else {
        return all;
    };
    let physical = server.keyspace.physical(db) as usize;
    let mut patience = std::time::Duration::from_millis(2);
    let mut foreign = 0;
    for stripe in 0..STRIPES {
        let Some(mut held) = server.keyspace.try_lock(StripeSet::one(stripe), patience) else {
            // Whoever asks may hold it.
            patience = std::time::Duration::ZERO;
            continue;
        };
        let Some(Some(share)) = held.stripe(stripe).dbs.get(physical) else {
            continue;
        };
        let first = stripe * SLOTS_PER_STRIPE;
        let tables = share.tables.iter().enumerate();
        foreign += tables
            .filter(|(at, _)| cluster.is_foreign((first + at) as u16))
            .map(|(_, table)| table.len() as u64)
            .sum::<u64>();
    }
    all.saturating_sub(foreign)
}
