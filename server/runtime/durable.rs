//! Replies that wait for the log to be durable, under `appendfsync always`
//! (I3).
//!
//! Each worker has a list of who waits for which offset. A sync rings the
//! worker's bell once, if anybody waits there, and a task of the worker wakes
//! those whose offset was reached: the thread that syncs has little to do, and
//! nobody is woken for nothing.

use std::cell::RefCell;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::task::{Poll, Waker};
use std::time::Duration;

use redoubt_persistence::log::{Log, Offset};
use tokio::sync::Notify;

use crate::connection::client::Client;
use crate::connection::{gate, starting};
use crate::state::{Server, Storage};

thread_local! {
    /// Who waits on this worker.
    static WAITING: RefCell<Vec<(Offset, Waker)>> = const { RefCell::new(Vec::new()) };
}

/// What tells workers that the log is durable up to a later offset.
pub struct Durable {
    workers: Box<[Worker]>,
    /// How often everybody was told to look again.
    alarms: AtomicU64,
}

#[derive(Default)]
struct Worker {
    bell: Notify,
    /// Somebody waits here.
    awaited: AtomicBool,
}

impl Durable {
    /// For so many workers.
    pub fn new(workers: usize) -> Durable {
        Durable {
            workers: (0..workers).map(|_| Worker::default()).collect(),
            alarms: AtomicU64::new(0),
        }
    }

    /// The log was synced.
    pub fn ring(&self) {
        // Whoever begins to wait says so before he looks at the log again.
        fence(Ordering::SeqCst);
        let awaited = |worker: &&Worker| worker.awaited.load(Ordering::Relaxed);
        let bells = self.workers.iter().filter(awaited);
        bells.for_each(|worker| worker.bell.notify_one());
    }

    /// Something else has changed: whoever waits looks again.
    pub fn alarm(&self) {
        self.alarms.fetch_add(1, Ordering::SeqCst);
        self.ring();
    }

    /// How many alarms there were; to be read before what they are about.
    pub fn alarms(&self) -> u64 {
        self.alarms.load(Ordering::SeqCst)
    }

    /// Waits until the log is durable up to `offset`, or there was an alarm
    /// after the first `alarms`. To be called on the thread of `worker`.
    pub async fn wait(&self, worker: usize, log: &Log, offset: Offset, alarms: u64) {
        poll_fn(|cx| {
            let is_over = || log.synced() >= offset || self.alarms() != alarms;
            if is_over() {
                return Poll::Ready(());
            }
            WAITING.with_borrow_mut(|waiting| waiting.push((offset, cx.waker().clone())));
            self.workers[worker].awaited.store(true, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            match is_over() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }
}

/// Waits until the log is durable up to its end as of now (I3), unless `replies`
/// are of nothing that was written. False if they must not be sent.
pub async fn is_synced(server: &Server, worker: usize, replies: &[u8]) -> bool {
    let Some(Storage { log, .. }) = server.storage() else {
        return true;
    };
    // What a start puts there is nobody's write.
    if starting::is_on(server) {
        return true;
    }
    let wanted = log.end();
    let attempts = server.health.failed_mends.load(Ordering::Relaxed);
    loop {
        let alarms = server.durable.alarms();
        let required = server.settings.sync_always.load(Ordering::Relaxed);
        if !required || log.synced() >= wanted {
            return true;
        }
        if log.failure().is_some() {
            if gate::only_refusals(replies) {
                return true;
            }
            // What was not made durable is never acknowledged (I6).
            if server.health.failed_mends.load(Ordering::Relaxed) != attempts {
                return false;
            }
        } else if log.is_stalled() && gate::only_refusals(replies) {
            return true;
        }
        log.wait_in_round();
        server.durable.wait(worker, log, wanted, alarms).await;
    }
}

/// Waits until all that is in the log is in its file, so that no end of the
/// process takes it. False if that will not come about, or the client is to go.
pub async fn is_written(server: &Server, client: &Client) -> bool {
    /// A write takes some ten microseconds; then there is no hurry any more.
    const QUICK_LOOKS: u32 = 200;
    let Some(Storage { log, .. }) = server.storage() else {
        return true;
    };
    let (wanted, mut looks) = (log.end(), 0);
    while log.written() < wanted {
        if log.failure().is_some() || client.killed.load(Ordering::Acquire) {
            return false;
        }
        log.write_soon();
        looks += 1;
        match looks < QUICK_LOOKS {
            true => tokio::task::yield_now().await,
            false => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
    true
}

/// Wakes those who wait on `worker`, on its thread, for ever.
pub async fn tend(server: &'static Server, worker: usize) {
    let durable = &server.durable;
    let mut alarms = 0;
    loop {
        durable.workers[worker].bell.notified().await;
        let alarmed = std::mem::replace(&mut alarms, durable.alarms()) != alarms;
        let synced = match server.storage() {
            Some(storage) if !alarmed => storage.log.synced(),
            _ => Offset(u64::MAX),
        };
        let none_left = WAITING.with_borrow_mut(|waiting| {
            waiting
                .extract_if(.., |(offset, _)| *offset <= synced)
                .for_each(|(_, waker)| waker.wake());
            waiting.is_empty()
        });
        if none_left {
            durable.workers[worker]
                .awaited
                .store(false, Ordering::Relaxed);
        }
    }
}
