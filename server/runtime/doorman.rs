//! When clients are let in: once the server has its data; or, if it takes long
//! until then (a log is replayed, or another server's file imported), while it
//! starts. The workers serve them from the first on, so that what they have said
//! of themselves stays; see [`starting`] for what they may do meanwhile.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::listener::{Workers, accept_unix};
use crate::connection::starting;
use crate::state::Server;

/// Most starts are over by then, and nobody needs to know.
const PATIENCE: Duration = Duration::from_millis(500);

/// The sockets on which clients arrive, and how many workers are to serve them.
pub struct Doors {
    tcp: Vec<TcpListener>,
    unix: Option<UnixListener>,
    workers: usize,
}

impl Doors {
    /// Closed so far.
    pub fn new(tcp: Vec<TcpListener>, unix: Option<UnixListener>, workers: usize) -> Doors {
        Doors { tcp, unix, workers }
    }

    /// Starts the workers, and takes connections for them.
    fn open(self, server: &'static Server) -> Result<(), String> {
        let started = Workers::start(server, self.workers);
        let (workers, _) = started.map_err(|e| format!("can't start: {e}"))?;
        let workers = Arc::new(workers);
        let listening = server.listening.start(workers.clone(), self.tcp);
        listening.map_err(|e| format!("can't accept: {e}"))?;
        if let Some(listener) = self.unix {
            accept_unix(listener, workers).map_err(|e| format!("can't accept: {e}"))?;
        }
        Ok(())
    }
}

/// The thread that opens the doors.
pub struct Doorman {
    server: &'static Server,
    start: Sender<()>,
    thread: JoinHandle<Result<(), String>>,
}

impl Doorman {
    /// The server starts from now on; clients are let in after a moment's
    /// patience. The error is for the operator.
    pub fn begin(server: &'static Server, doors: Doors) -> Result<Doorman, String> {
        starting::begin(server);
        let (start, ended) = channel();
        let thread = std::thread::Builder::new()
            .name("doorman".into())
            .spawn(move || {
                // Nothing is ever sent: it is over, or it takes long.
                let _ = ended.recv_timeout(PATIENCE);
                doors.open(server)
            });
        let thread = thread.map_err(|e| format!("can't start: {e}"))?;
        Ok(Doorman {
            server,
            start,
            thread,
        })
    }

    /// The server has started: all that clients ask for is done from now on. The
    /// error is for the operator.
    pub fn end(self) -> Result<(), String> {
        starting::end(self.server);
        drop(self.start);
        let opened = self.thread.join();
        opened.unwrap_or_else(|_| Err("can't start: no clients can be let in".into()))
    }
}
