//! How long commands take: a cheap tick counter, the counters of INFO
//! commandstats, and the slow log.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use crate::cluster::slot_stats::{self, Cost};
use crate::commands::command::flag;
use crate::commands::effects::encoded_len;
use crate::config::{self, id};
use crate::connection::dispatch::Request;
use crate::connection::session::Session;
use crate::state::Server;
use crate::stats::{CommandLog, SlowEntry};

/// A moment, in the processor's ticks.
#[derive(Clone, Copy)]
pub struct Ticks(u64);

impl Ticks {
    /// Now.
    #[inline]
    pub fn now() -> Ticks {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: reading the time stamp counter has no precondition.
        return Ticks(unsafe { std::arch::x86_64::_rdtsc() });
        #[cfg(not(target_arch = "x86_64"))]
        return Ticks(nanos_since_start());
    }

    /// Nanoseconds since then.
    #[inline]
    pub fn elapsed_nanos(self) -> u64 {
        let ticks = Ticks::now().0.saturating_sub(self.0);
        (ticks as f64 * nanos_per_tick()) as u64
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn nanos_since_start() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// What [`Ticks`] are, for INFO.
pub fn describe() -> String {
    match cfg!(target_arch = "x86_64") {
        true => format!("X86 TSC @ {:.2} ticks/us", 1000.0 / nanos_per_tick()),
        false => "POSIX clock_gettime".to_owned(),
    }
}

/// When the system was asked for the time, and what it said.
#[derive(Clone, Copy)]
struct Asked {
    at: Ticks,
    /// Until when ticks are counted from there.
    until: Ticks,
    unix_nanos: i64,
}

/// Unix time in milliseconds at `now`, a moment ago at most. The system is
/// asked ten thousand times a second, and ticks are counted in between: a
/// client that has just read its own clock must not find ours behind.
#[inline]
pub fn unix_ms_at(now: Ticks) -> i64 {
    thread_local! {
        static ASKED: Cell<Asked> = const {
            Cell::new(Asked {
                at: Ticks(0),
                until: Ticks(0),
                unix_nanos: 0,
            })
        };
    }
    let mut asked = ASKED.get();
    // A counter may have gone back: the machine may be another one.
    if now.0 < asked.at.0 || now.0 >= asked.until.0 {
        asked = ask();
        ASKED.set(asked);
    }
    let since = now.0.saturating_sub(asked.at.0) as f64 * nanos_per_tick();
    (asked.unix_nanos + since as i64) / 1_000_000
}

fn ask() -> Asked {
    const FRESH_NANOS: f64 = 100_000.0;
    /// The thread was interrupted between two readings that are so far apart.
    const APART_NANOS: f64 = 1000.0;
    let before = Ticks::now();
    let unix_nanos = crate::state::unix_nanos();
    let at = Ticks::now();
    let apart = at.0.saturating_sub(before.0) as f64 * nanos_per_tick();
    let fresh = match apart < APART_NANOS {
        true => (FRESH_NANOS * ticks_per_nano()) as u64,
        false => 0,
    };
    Asked {
        at,
        until: Ticks(at.0.saturating_add(fresh)),
        unix_nanos,
    }
}

fn nanos_per_tick() -> f64 {
    ratios().0
}

fn ticks_per_nano() -> f64 {
    ratios().1
}

/// Nanoseconds in a tick and ticks in a nanosecond, measured once, over a
/// millisecond at start: to divide takes as long as a command's look-up.
fn ratios() -> (f64, f64) {
    static RATIOS: OnceLock<(f64, f64)> = OnceLock::new();
    *RATIOS.get_or_init(|| {
        let (begin, first) = both_clocks();
        while begin.elapsed().as_micros() < 1000 {
            std::hint::spin_loop();
        }
        let (end, last) = both_clocks();
        let spent = last.0.saturating_sub(first.0).max(1);
        let nanos = (end - begin).as_nanos().max(1) as f64;
        (nanos / spent as f64, spent as f64 / nanos)
    })
}

/// Both clocks at one moment: between the readings the thread can be
/// interrupted, so the closest of some are taken.
fn both_clocks() -> (Instant, Ticks) {
    let readings = (0..8).map(|_| {
        let (begin, ticks) = (Instant::now(), Ticks::now());
        (begin.elapsed(), begin, ticks)
    });
    let closest = readings.min_by_key(|(apart, ..)| *apart);
    closest.map_or_else(
        || (Instant::now(), Ticks::now()),
        |(_, at, ticks)| (at, ticks),
    )
}

/// A pipeline of quick commands does not take as long: they are timed together.
/// If it did, its last command counts as the slow one.
const LONG_NANOS: u64 = 1_000_000;

/// A request or a reply that is no larger takes no time worth a look.
pub const SMALL_BYTES: usize = 1024;

/// What makes a command notable, asked once for many: nothing below all three
/// of them is.
#[derive(Clone, Copy)]
pub struct Limits {
    ticks: u64,
    request_bytes: u64,
    reply_bytes: u64,
    /// Whether several quick commands can't reach `ticks` together.
    together: bool,
}

impl Limits {
    /// As the configuration has them now.
    pub fn of(server: &Server) -> Limits {
        if slot_stats::kept(server).is_some() {
            // Each is.
            return Limits {
                ticks: 0,
                request_bytes: 0,
                reply_bytes: 0,
                together: false,
            };
        }
        let settings = &server.settings;
        let limit = |limit: &AtomicI64| u64::try_from(limit.load(Ordering::Relaxed)).ok();
        let slow_ns = limit(&settings.slowlog_slower_us).map(|us| us.saturating_mul(1000));
        let latency_ns = limit(&settings.latency_threshold_ms)
            .filter(|&ms| ms > 0)
            .map(|ms| ms.saturating_mul(1_000_000));
        let nanos = slow_ns.into_iter().chain(latency_ns).min();
        Limits {
            ticks: nanos.map_or(u64::MAX, |nanos| (nanos as f64 * ticks_per_nano()) as u64),
            request_bytes: limit(&settings.request_larger).unwrap_or(u64::MAX),
            reply_bytes: limit(&settings.reply_larger).unwrap_or(u64::MAX),
            together: nanos.is_none_or(|nanos| nanos >= LONG_NANOS),
        }
    }

    /// Whether several quick commands with small requests and replies can be timed
    /// together.
    #[inline]
    pub fn together(&self) -> bool {
        self.together
    }
}

/// As [`account`], for a request with its bytes in `raw`, quickly unless it
/// reaches one of the limits. With `more`, another of the same command follows:
/// if it is a quick one, the counter is read for both of them then. That costs
/// as much as a twentieth of a GET.
#[inline]
pub fn account_within(
    server: &Server,
    session: &mut Session,
    request: &Request,
    clock: &mut Ticks,
    reply_bytes: usize,
    limits: &Limits,
    more: bool,
) {
    if more
        && limits.together
        && request.found.quick
        && reply_bytes <= SMALL_BYTES
        && request.raw.is_some_and(|raw| raw.len() <= SMALL_BYTES)
    {
        session
            .tally
            .count(&server.stats, request.found.number(), 0);
        return;
    }
    let now = Ticks::now();
    let ticks = now.0.saturating_sub(clock.0);
    *clock = now;
    session
        .tally
        .count(&server.stats, request.found.number(), ticks);
    let request_bytes = match request.raw {
        Some(raw) => raw.len(),
        None => encoded_len(request.args),
    } as u64;
    if ticks >= limits.ticks
        || request_bytes >= limits.request_bytes
        || reply_bytes as u64 >= limits.reply_bytes
    {
        keep_if_notable(server, session, request, nanos_of(ticks), reply_bytes);
        note_for_slot(server, session, request, nanos_of(ticks), reply_bytes);
    }
}

/// Ticks as nanoseconds.
pub fn nanos_of(ticks: u64) -> u64 {
    (ticks as f64 * nanos_per_tick()) as u64
}

/// Counts a finished command, and keeps it if it was slow, or its request or
/// its reply of `reply_bytes` large. `clock` is when it began, and is moved
/// on: one reading of the counter serves two commands.
#[inline]
pub fn account(
    server: &Server,
    session: &mut Session,
    request: &Request,
    clock: &mut Ticks,
    reply_bytes: usize,
) {
    let nanos = account_part(server, session, request, clock, reply_bytes);
    note_for_slot(server, session, request, nanos, reply_bytes);
}

/// As [`account`], for a command that is part of a transaction or of a script;
/// gives the nanoseconds that it took.
#[inline]
pub fn account_part(
    server: &Server,
    session: &mut Session,
    request: &Request,
    clock: &mut Ticks,
    reply_bytes: usize,
) -> u64 {
    let nanos = count(server, session, request, clock);
    keep_if_notable(server, session, request, nanos, reply_bytes);
    nanos
}

/// Counts a command for CLUSTER SLOT-STATS.
#[inline]
fn note_for_slot(
    server: &Server,
    session: &Session,
    request: &Request,
    nanos: u64,
    reply_bytes: usize,
) {
    let Some(stats) = slot_stats::kept(server) else {
        return;
    };
    let bytes_in = match request.raw {
        Some(raw) => raw.len(),
        None if session.following.is_some() => encoded_len(request.args),
        // An inline command: words, blanks between them, the line's end.
        None => request.args.iter().map(|arg| arg.len() + 1).sum::<usize>() + 1,
    };
    let cost = Cost {
        nanos,
        bytes_in,
        bytes_out: reply_bytes,
    };
    slot_stats::note(stats, &session.client, request, &cost);
}

/// Counts a blocked command that is answered now, after `nanos` of work.
pub fn count_answered(server: &Server, number: usize, nanos: u64) {
    server.stats.sets.add_runs(number, 1, nanos);
}

/// Counts a command that ran. Returns its time in nanoseconds.
#[inline]
fn count(server: &Server, session: &mut Session, request: &Request, clock: &mut Ticks) -> u64 {
    let now = Ticks::now();
    let ticks = now.0.saturating_sub(clock.0);
    *clock = now;
    session
        .tally
        .count(&server.stats, request.found.number(), ticks);
    nanos_of(ticks)
}

/// Keeps an answered command for SLOWLOG, COMMANDLOG and LATENCY if it was
/// slow, or its request or its reply of `reply_bytes` large.
#[inline]
pub fn keep_if_notable(
    server: &Server,
    session: &Session,
    request: &Request,
    nanos: u64,
    reply_bytes: usize,
) {
    let settings = &server.settings;
    let reaches = |limit: &AtomicI64, amount: u64| {
        let limit = limit.load(Ordering::Relaxed);
        limit >= 0 && amount >= limit as u64
    };
    if reaches(&settings.slowlog_slower_us, nanos / 1000) {
        keep(server, session, request, &server.stats.slow, nanos / 1000);
    }
    let request_bytes = match request.raw {
        Some(raw) => raw.len(),
        None => encoded_len(request.args),
    } as u64;
    if reaches(&settings.request_larger, request_bytes) {
        let log = &server.stats.large_requests;
        keep(server, session, request, log, request_bytes);
    }
    if reaches(&settings.reply_larger, reply_bytes as u64) {
        let log = &server.stats.large_replies;
        keep(server, session, request, log, reply_bytes as u64);
    }
    let threshold_ms = settings.latency_threshold_ms.load(Ordering::Relaxed);
    if threshold_ms > 0 && nanos / 1_000_000 >= threshold_ms as u64 {
        let event = match request.found.command.has(flag::FAST) {
            true => "fast-command",
            false => "command",
        };
        let monitor = &server.stats.latency;
        monitor.add(event, request.now_ms / 1000, nanos / 1_000_000);
    }
}

/// Puts a command into one of the logs.
#[cold]
fn keep(server: &Server, session: &Session, request: &Request, log: &CommandLog, amount: u64) {
    if request.found.command.has(flag::SKIP_COMMANDLOG) {
        return;
    }
    let stats = &server.stats;
    let max_len = if std::ptr::eq(log, &raw const stats.slow) {
        id("commandlog-slow-execution-max-len")
    } else if std::ptr::eq(log, &raw const stats.large_requests) {
        id("commandlog-large-request-max-len")
    } else {
        id("commandlog-large-reply-max-len")
    };
    let keep = server.config.read().integer(max_len).max(0) as usize;
    let entry = SlowEntry {
        id: log.next_id(),
        at_s: request.now_ms / 1000,
        amount,
        args: shown_args(request),
        address: session.client.address.clone(),
        name: session.client.info.lock().name.clone(),
    };
    let mut entries = log.entries.lock();
    entries.push_front(entry);
    entries.truncate(keep);
}

/// A command's arguments for a log: long ones cut, the rest of many left out,
/// secrets hidden.
fn shown_args(request: &Request) -> Vec<Vec<u8>> {
    const SHOWN_ARGS: usize = 32;
    const SHOWN_BYTES: usize = 128;
    let mut args: Vec<Vec<u8>> = Vec::new();
    for (index, arg) in request.args.iter().enumerate() {
        if index == SHOWN_ARGS - 1 && request.args.len() > SHOWN_ARGS {
            let more = request.args.len() - SHOWN_ARGS + 1;
            args.push(format!("... ({more} more arguments)").into_bytes());
            break;
        }
        if is_secret(request, index) {
            args.push(b"(redacted)".to_vec());
        } else if arg.len() > SHOWN_BYTES {
            let mut shown = arg[..SHOWN_BYTES].to_vec();
            let more = format!("... ({} more bytes)", arg.len() - SHOWN_BYTES);
            shown.extend_from_slice(more.as_bytes());
            args.push(shown);
        } else {
            args.push(arg.to_vec());
        }
    }
    args
}

/// Whether an argument may be a password.
fn is_secret(request: &Request, index: usize) -> bool {
    let follows = |word: &str, distance: usize| {
        index
            .checked_sub(distance)
            .is_some_and(|at| at > 0 && request.args[at].eq_ignore_ascii_case(word.as_bytes()))
    };
    match request.found.command.name {
        "auth" => index > 0,
        "acl|setuser" | "acl|deluser" | "acl|getuser" => index > 1,
        "hello" => follows("auth", 1) || follows("auth", 2),
        "migrate" => follows("auth", 1) || follows("auth2", 1) || follows("auth2", 2),
        "config|set" => {
            index >= 3
                && index % 2 == 1
                && config::table::find(request.args[index - 1])
                    .is_some_and(|id| id.directive().traits.has(config::Traits::SENSITIVE))
        }
        _ => false,
    }
}
