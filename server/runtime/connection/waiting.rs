//! What a connection does while its next command, or the reply to its last one,
//! has to wait: it sends what others push to its client, and notices when that
//! is gone.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot::Receiver;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Connection, Gone};
use crate::connection::blocking::{TimeoutReply, Waiter};
use crate::connection::client::Client;
use crate::connection::serve::count_unserved;
use crate::state::{Server, unix_ms};

/// For how long a request is put off.
const PUT_OFF: Duration = Duration::from_millis(5);

/// Shows a client as one that waits, for as long as it lives.
struct Postponed<'a>(&'static Server, &'a Client);

impl Postponed<'_> {
    fn begin<'a>(server: &'static Server, client: &'a Client) -> Postponed<'a> {
        client.postponed.store(true, Ordering::Relaxed);
        server.blocked.postpone();
        Postponed(server, client)
    }
}

impl Drop for Postponed<'_> {
    fn drop(&mut self) {
        self.0.blocked.resume();
        self.1.postponed.store(false, Ordering::Relaxed);
    }
}

/// Ends the tie between a client and what it waits in. Each holds the other: as
/// long as it is there, neither is ever freed.
pub(super) fn forget_waiter(client: &Client) {
    *client.waiter.lock() = None;
}

impl Connection {
    /// Waits for the end of the pause that holds the next request back. What
    /// others send goes on.
    pub(super) async fn wait_while_paused(&mut self) -> Result<(), Gone> {
        let (server, client) = (self.server, self.session.client.clone());
        let _postponed = Postponed::begin(server, &client);
        self.wait_for_unpause(server, &client).await
    }

    /// Waits a moment before a request that was put off is tried again. If by
    /// then a pause holds it back, it is found out then.
    pub(super) async fn wait_to_try_again(&mut self) {
        let client = self.session.client.clone();
        let _postponed = Postponed::begin(self.server, &client);
        sleep(PUT_OFF).await;
    }

    async fn wait_for_unpause(
        &mut self,
        server: &'static Server,
        client: &Client,
    ) -> Result<(), Gone> {
        let held_all = server.pauses.holds_all(unix_ms());
        loop {
            let unpaused = server.unpaused.notified();
            tokio::pin!(unpaused);
            unpaused.as_mut().enable();
            let now_ms = unix_ms();
            let left_ms = server.pauses.next_end_ms(now_ms) - now_ms;
            if left_ms <= 0 || (held_all && !server.pauses.holds_all(now_ms)) {
                return Ok(());
            }
            self.make_room();
            tokio::select! {
                () = unpaused => {}
                () = sleep(Duration::from_millis(left_ms as u64)) => {}
                () = client.bell.rung() => self.flush().await?,
                read = self.socket.receive(&mut self.input) => self.received(read)?,
            }
        }
    }

    /// Waits for values that are in the tree; what is pushed meanwhile goes out.
    pub(super) async fn wait_cold(&mut self, mut read: Receiver<()>) -> Result<(), Gone> {
        let client = self.session.client.clone();
        loop {
            tokio::select! {
                _ = &mut read => return Ok(()),
                () = client.bell.rung() => self.flush().await?,
            }
        }
    }

    /// Waits until a blocked command is answered, its time is over, or the
    /// client is gone. What is pushed meanwhile goes out, however slow the client
    /// is to take it.
    ///
    /// Who sends no more is gone, since what he waits for is somebody else's then.
    /// But a script runs in any case: its client gets its reply, and what it has
    /// sent behind it runs as it would behind a quick one.
    pub(super) async fn wait_blocked(
        &mut self,
        waiter: &Arc<Waiter>,
        timeout_ms: u64,
    ) -> Result<(), Gone> {
        let deadline = Instant::now() + Duration::from_millis(timeout_ms.min(1 << 50));
        let client = self.session.client.clone();
        // What came before the command goes out first.
        client.bell.ring();
        let mut reads = true;
        while !waiter.is_done() {
            if let TimeoutReply::Shutdown(number) = waiter.on_timeout
                && self.server.shutdown.get(number).is_none()
                && waiter.take()
            {
                // It was called off before anybody could find the waiter.
                self.end_wait(waiter, true);
                break;
            }
            self.make_room();
            let mut gone = false;
            tokio::select! {
                biased;
                () = client.bell.rung() => gone = tokio::select! {
                    biased;
                    sent = self.flush() => sent.is_err(),
                    () = sleep_until(deadline), if timeout_ms != 0 => false,
                },
                () = sleep_until(deadline), if timeout_ms != 0 => {
                    if waiter.take() {
                        self.end_wait(waiter, true);
                    } else {
                        // It is being served at this moment.
                        tokio::task::yield_now().await;
                    }
                }
                read = self.socket.receive(&mut self.input), if reads => {
                    reads = !matches!((&read, waiter.on_timeout), (Ok(0), TimeoutReply::Script));
                    gone = reads && self.received(read).is_err();
                }
            }
            if gone {
                self.withdraw(waiter).await;
                forget_waiter(&client);
                return Err(Gone);
            }
        }
        // While it is known to wait still.
        self.is_active();
        forget_waiter(&client);
        self.flush().await
    }

    /// Takes a client that is gone out of the queues. If it is being served
    /// right now, that may yet end with its being put back.
    async fn withdraw(&mut self, waiter: &Waiter) {
        while !waiter.is_done() {
            if waiter.take() {
                self.end_wait(waiter, false);
            } else {
                tokio::task::yield_now().await;
            }
        }
    }

    fn end_wait(&mut self, waiter: &Waiter, reply: bool) {
        self.server.blocked.remove(waiter);
        if reply {
            count_unserved(self.server, waiter, false);
        }
        if reply && !waiter.silent {
            waiter.reply_timeout(&mut self.reply);
        }
        waiter.finish();
    }
}
