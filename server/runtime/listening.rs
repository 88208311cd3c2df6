//! The TCP sockets that clients connect to. Each has a thread that accepts;
//! CONFIG SET `port` and `bind` exchange them while connections stay.

use std::net::{Shutdown, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use socket2::SockRef;

use super::listener::{Accepted, Workers, bind_tcp, pause_after};
use crate::config::{Config, id};

/// The sockets that are listened to now.
#[derive(Default)]
pub struct Listening {
    workers: OnceLock<Arc<Workers>>,
    open: Mutex<Vec<Open>>,
}

struct Open {
    socket: Arc<Socket>,
    thread: JoinHandle<()>,
}

struct Socket {
    listener: TcpListener,
    closed: AtomicBool,
}

impl Listening {
    /// Accepts on the first listeners, for these workers.
    pub fn start(&self, workers: Arc<Workers>, listeners: Vec<TcpListener>) -> std::io::Result<()> {
        let workers = self.workers.get_or_init(|| workers);
        *self.open.lock() = accept_all(workers, listeners)?;
        Ok(())
    }

    /// Listens where `next` says instead of where `current` does; after an
    /// error it is as it was. Connections are not touched.
    pub fn exchange(&self, current: &Config, next: &Config) -> Result<(), String> {
        let Some(workers) = self.workers.get() else {
            return Ok(());
        };
        let accept = |listeners| accept_all(workers, listeners).map_err(|e| e.to_string());
        let mut open = self.open.lock();
        // The new ones may have addresses of the old ones.
        open.drain(..).for_each(Open::close);
        let outcome = match bind_named(next).and_then(accept) {
            Ok(opened) => {
                *open = opened;
                return Ok(());
            }
            error => error.map(|_| ()),
        };
        match bind_named(current).and_then(accept) {
            Ok(opened) => *open = opened,
            Err(error) => tracing::error!("The former port is lost: {error}"),
        }
        outcome
    }
}

/// As [`bind_tcp`]; who names no address at run time wants none.
fn bind_named(config: &Config) -> Result<Vec<TcpListener>, String> {
    match config.string(id("bind")).is_empty() {
        true => Ok(Vec::new()),
        false => bind_tcp(config),
    }
}

fn accept_all(workers: &Arc<Workers>, listeners: Vec<TcpListener>) -> std::io::Result<Vec<Open>> {
    let opened = listeners.into_iter().map(|listener| {
        let closed = AtomicBool::new(false);
        let socket = Arc::new(Socket { listener, closed });
        let (accepting, workers) = (socket.clone(), workers.clone());
        let thread = std::thread::Builder::new()
            .name("accept".into())
            .spawn(move || accept(&accepting, &workers))?;
        Ok(Open { socket, thread })
    });
    opened.collect()
}

/// Accepts until the socket is closed.
fn accept(socket: &Socket, workers: &Workers) {
    loop {
        match socket.listener.accept() {
            Ok((stream, _)) => workers.hand_over(Accepted::Tcp(stream)),
            Err(_) if socket.closed.load(Ordering::Acquire) => return,
            Err(error) => pause_after(&error),
        }
    }
}

impl Open {
    /// Gives up the address.
    fn close(self) {
        self.socket.closed.store(true, Ordering::Release);
        // This wakes the thread.
        let _ = SockRef::from(&self.socket.listener).shutdown(Shutdown::Both);
        let _ = self.thread.join();
    }
}
