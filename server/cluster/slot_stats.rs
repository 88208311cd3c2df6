//! CLUSTER SLOT-STATS: what commands cost, slot by slot, while
//! `cluster-slot-stats-enabled` is on.
//!
//! A command counts for the slot of its keys, once it has been answered. EXEC
//! and scripts count as a whole, for the slot that what they ran named; scripts
//! that may use keys of several slots don't count. Source: the documentation of
//! CLUSTER SLOT-STATS, and what a Valkey node shows.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use redoubt_cluster::slots::{SLOT_COUNT, Slot};
use redoubt_cluster::table::NodeKey;

use crate::commands::effects::encoded_len;
use crate::commands::keys::each_key;
use crate::connection::blocking::Waiter;
use crate::connection::client::Client;
use crate::connection::dispatch::Request;
use crate::resp::reply::ReplyBuffer;
use crate::state::Server;

/// The counters of a slot.
#[derive(Default)]
struct Counters {
    /// Whole microseconds of commands.
    micros: AtomicU64,
    /// What is left of commands' times, nanoseconds.
    parts_ns: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    /// The node that serves it, to begin anew with another.
    owner: AtomicU32,
}

impl Counters {
    fn reset(&self) {
        for counter in [
            &self.micros,
            &self.parts_ns,
            &self.bytes_in,
            &self.bytes_out,
        ] {
            counter.store(0, Ordering::Relaxed);
        }
    }
}

/// The figures of a slot.
#[derive(Clone, Copy, Default, Debug)]
pub struct Figures {
    /// Time spent on its commands, microseconds.
    pub cpu_usec: u64,
    /// Bytes of their requests.
    pub bytes_in: u64,
    /// Bytes of their replies, and of what they had replicas and subscribers
    /// told.
    pub bytes_out: u64,
}

/// The figures of all slots.
#[derive(Default)]
pub struct SlotStats {
    on: AtomicBool,
    slots: OnceLock<Box<[Counters]>>,
}

impl SlotStats {
    /// Whether it counts.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Has it count from now on, or no longer. Returns whether it just began.
    pub fn set(&self, on: bool) -> bool {
        if on {
            self.slots
                .get_or_init(|| (0..SLOT_COUNT).map(|_| Counters::default()).collect());
        }
        !self.on.swap(on, Ordering::Relaxed) && on
    }

    /// A slot's figures.
    pub fn of(&self, slot: Slot) -> Figures {
        let Some(slots) = self.slots.get() else {
            return Figures::default();
        };
        let counters = &slots[usize::from(slot.number())];
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        // INFO commandstats has whole microseconds too: so that few commands'
        // sums agree, parts of one show once there are ten of them together.
        let (micros, parts) = (read(&counters.micros), read(&counters.parts_ns));
        let cpu_usec = match (micros, parts / 1000) {
            (0, 0..10) => u64::from(parts != 0),
            (_, 0..10) => micros,
            (_, whole) => micros + whole,
        };
        Figures {
            cpu_usec,
            bytes_in: read(&counters.bytes_in),
            bytes_out: read(&counters.bytes_out),
        }
    }

    /// CONFIG RESETSTAT.
    pub fn reset(&self) {
        self.slots
            .get()
            .into_iter()
            .flatten()
            .for_each(Counters::reset);
    }

    /// Begins anew with slots that have come or gone.
    pub fn follow(&self, owner: impl Fn(Slot) -> Option<NodeKey>) {
        for (number, counters) in self.slots.get().into_iter().flatten().enumerate() {
            let owner = Slot::new(number as u16).and_then(&owner);
            let owner = owner.map_or(u32::MAX, |key| key.0);
            if counters.owner.swap(owner, Ordering::Relaxed) != owner {
                counters.reset();
            }
        }
    }

    fn add(&self, slot: u16, nanos: u64, bytes_in: usize, bytes_out: usize) {
        let Some(slots) = self.slots.get() else {
            return;
        };
        let counters = &slots[usize::from(slot)];
        for (counter, by) in [
            (&counters.micros, nanos / 1000),
            (&counters.parts_ns, nanos % 1000),
            (&counters.bytes_in, bytes_in as u64),
            (&counters.bytes_out, bytes_out as u64),
        ] {
            if by != 0 {
                crate::stats::add(counter, by);
            }
        }
    }
}

/// What a client's transaction or script has shown of its slot so far.
pub struct Whole(AtomicU32);

impl Whole {
    const NOTHING: u32 = u32::MAX;
    const SEVERAL: u32 = u32::MAX - 1;

    /// The slot, without forgetting it.
    pub fn slot(&self) -> Option<u16> {
        u16::try_from(self.0.load(Ordering::Relaxed)).ok()
    }
}

impl Default for Whole {
    fn default() -> Whole {
        Whole(AtomicU32::new(Whole::NOTHING))
    }
}

/// The figures, if they are kept.
#[inline]
pub fn kept(server: &Server) -> Option<&SlotStats> {
    let stats = server.cluster.as_ref().map(|cluster| &cluster.slot_stats);
    stats.filter(|stats| stats.is_on())
}

/// The slot that a command's arguments name.
pub fn slot_of(request: &Request) -> Option<u16> {
    if let Some((_, slot)) = request.key {
        return Some(slot);
    }
    let mut slot = None;
    each_key(request.found.command, request.args, |at, _| {
        slot.get_or_insert_with(|| Slot::of_key(request.args[at]).number());
    });
    slot
}

/// A request of a client, or of the primary's stream, and what it cost.
pub struct Cost {
    /// Its time.
    pub nanos: u64,
    /// Bytes of the request.
    pub bytes_in: usize,
    /// Bytes of the reply.
    pub bytes_out: usize,
}

/// Counts a command that has run.
#[cold]
pub fn note(stats: &SlotStats, client: &Client, request: &Request, cost: &Cost) {
    /// MULTI as clients send it.
    const MULTI_BYTES: usize = 15;
    let slot = match client.whole.0.swap(Whole::NOTHING, Ordering::Relaxed) {
        Whole::NOTHING => slot_of(request),
        shown => u16::try_from(shown).ok(),
    };
    let Some(slot) = slot else { return };
    let before = match request.found.command.name {
        "exec" => MULTI_BYTES,
        _ => 0,
    };
    stats.add(slot, cost.nanos, before + cost.bytes_in, cost.bytes_out);
}

/// Counts a blocked command, which is answered now with so many bytes.
#[cold]
pub fn note_answered(server: &Server, waiter: &Waiter, nanos: u64, bytes_out: usize) {
    let Some(stats) = kept(server) else { return };
    let args: Vec<&[u8]> = waiter.args.iter().map(Vec::as_slice).collect();
    let Some(found) = crate::commands::table::table().find(&args) else {
        return;
    };
    let request = Request::new(found, &args, 0);
    let cost = Cost {
        nanos,
        bytes_in: encoded_len(&args),
        bytes_out,
    };
    note(stats, &waiter.client, &request, &cost);
}

/// Counts a blocked command that ends without having got anything.
pub fn note_unserved(server: &Server, waiter: &Waiter) {
    if kept(server).is_some() {
        let mut reply = ReplyBuffer::new(waiter.client.protocol());
        waiter.reply_timeout(&mut reply);
        note_answered(server, waiter, 0, reply.buf.len());
    }
}

/// Notes a command that ran as part of a transaction, which it came for over
/// the network.
#[cold]
pub fn note_queued(stats: &SlotStats, client: &Client, request: &Request) {
    if let Some(slot) = slot_of(request) {
        show(client, u32::from(slot));
        stats.add(slot, 0, encoded_len(request.args), 0);
    }
}

/// Notes a command that ran as part of a script, which may or may not use
/// `several` slots.
#[cold]
pub fn note_in_script(client: &Client, request: &Request, several: bool) {
    match slot_of(request) {
        _ if several => show(client, Whole::SEVERAL),
        Some(slot) => show(client, u32::from(slot)),
        None => {}
    }
}

fn show(client: &Client, what: u32) {
    let whole = &client.whole.0;
    if whole.load(Ordering::Relaxed) != Whole::SEVERAL {
        whole.store(what, Ordering::Relaxed);
    }
}

/// Counts what goes to each replica.
#[cold]
pub fn note_replicated(server: &Server, slot: Option<u16>, bytes: usize) {
    if let (Some(stats), Some(slot)) = (kept(server), slot) {
        stats.add(slot, 0, 0, bytes * server.replication.replicas.len());
    }
}

/// Counts a message of a shard channel that so many subscribers got.
pub fn note_delivered(server: &Server, channel: &[u8], message: &[u8], receivers: usize) {
    if let Some(stats) = kept(server) {
        let bytes = encoded_len(&[b"smessage", channel, message]);
        let slot = Slot::of_key(channel).number();
        stats.add(slot, 0, 0, bytes * receivers);
    }
}
