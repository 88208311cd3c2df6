//! How long commands take: a cheap tick counter, the counters of INFO
//! commandstats, and the slow log.

use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::commands::command::flag;
use crate::connection::dispatch::Request;
use crate::connection::session::Session;
use crate::state::Server;
use crate::stats::SlowEntry;

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

/// Measured once, over a millisecond at start.
fn nanos_per_tick() -> f64 {
    static RATIO: OnceLock<f64> = OnceLock::new();
    *RATIO.get_or_init(|| {
        let (ticks, begin) = (Ticks::now(), Instant::now());
        while begin.elapsed().as_micros() < 1000 {
            std::hint::spin_loop();
        }
        let spent = Ticks::now().0.saturating_sub(ticks.0).max(1);
        begin.elapsed().as_nanos() as f64 / spent as f64
    })
}

/// Counts a finished command, and keeps it if it was slow. `clock` is when it
/// began, and is moved on: one reading of the counter serves two commands.
#[inline]
pub fn account(server: &Server, session: &mut Session, request: &Request, clock: &mut Ticks) {
    let now = Ticks::now();
    let nanos = (now.0.saturating_sub(clock.0) as f64 * nanos_per_tick()) as u64;
    *clock = now;
    session
        .tally
        .count(&server.stats, request.found.number, nanos);
    let slower_us = server.settings.slowlog_slower_us.load(Ordering::Relaxed);
    if slower_us >= 0 && (nanos / 1000) as i64 >= slower_us {
        keep_slow(server, session, request, nanos / 1000);
    }
}

#[cold]
fn keep_slow(server: &Server, session: &Session, request: &Request, micros: u64) {
    const SHOWN_ARGS: usize = 32;
    const SHOWN_BYTES: usize = 128;
    if request.found.command.has(flag::SKIP_COMMANDLOG) {
        return;
    }
    let mut args: Vec<Vec<u8>> = Vec::new();
    for (index, arg) in request.args.iter().enumerate() {
        if index == SHOWN_ARGS - 1 && request.args.len() > SHOWN_ARGS {
            let more = request.args.len() - SHOWN_ARGS + 1;
            args.push(format!("... ({more} more arguments)").into_bytes());
            break;
        }
        if arg.len() > SHOWN_BYTES {
            let mut shown = arg[..SHOWN_BYTES].to_vec();
            let more = format!("... ({} more bytes)", arg.len() - SHOWN_BYTES);
            shown.extend_from_slice(more.as_bytes());
            args.push(shown);
        } else {
            args.push(arg.to_vec());
        }
    }
    let entry = SlowEntry {
        id: server.stats.slow.next_id(),
        at_s: request.now_ms / 1000,
        amount: micros,
        args,
        address: session.client.address.clone(),
        name: session.client.info.lock().name.clone(),
    };
    let keep = server
        .config
        .read()
        .integer(crate::config::id("commandlog-slow-execution-max-len"))
        .max(0) as usize;
    let mut slow = server.stats.slow.entries.lock();
    slow.push_front(entry);
    slow.truncate(keep);
}
