//! MIGRATE's connections, kept for a while: who moves a slot's keys moves ten
//! at a time.

use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// So many are kept at most.
const MOST: usize = 64;

/// One that was not used for so long is closed.
const IDLE: Duration = Duration::from_secs(10);

/// Where a connection leads, and as whom.
#[derive(PartialEq, Eq)]
pub struct Target {
    host: Vec<u8>,
    port: Vec<u8>,
    /// A name, if one was given, and a password.
    login: Option<(Option<Vec<u8>>, Vec<u8>)>,
}

impl Target {
    /// What MIGRATE says of it.
    pub fn new(host: &[u8], port: &[u8], user: Option<&[u8]>, password: Option<&[u8]>) -> Target {
        Target {
            host: host.to_vec(),
            port: port.to_vec(),
            login: password.map(|password| (user.map(<[u8]>::to_vec), password.to_vec())),
        }
    }

    fn connect(&self, timeout: Duration) -> Option<TcpStream> {
        let host = std::str::from_utf8(&self.host).ok()?;
        let port: u16 = std::str::from_utf8(&self.port).ok()?.parse().ok()?;
        let address = (host, port).to_socket_addrs().ok()?.next()?;
        let stream = TcpStream::connect_timeout(&address, timeout).ok()?;
        stream.set_nodelay(true).ok()?;
        Some(stream)
    }
}

struct Link {
    target: Target,
    stream: TcpStream,
    used: Instant,
}

/// The connections that nobody uses just now.
#[derive(Default)]
pub struct MigrateLinks(Mutex<Vec<Link>>);

impl MigrateLinks {
    /// A connection to a target, `timeout` being the longest that it may take
    /// to connect, and then to send or receive anything. `None` if there is no
    /// way there.
    pub fn take(&self, target: &Target, timeout: Duration) -> Option<TcpStream> {
        let stream = match self.kept(target) {
            Some(stream) => stream,
            None => target.connect(timeout)?,
        };
        stream.set_read_timeout(Some(timeout)).ok()?;
        stream.set_write_timeout(Some(timeout)).ok()?;
        Some(stream)
    }

    fn kept(&self, target: &Target) -> Option<TcpStream> {
        loop {
            let mut links = self.0.lock();
            let at = links.iter().position(|link| link.target == *target)?;
            let link = links.swap_remove(at);
            drop(links);
            if is_silent(&link.stream) {
                return Some(link.stream);
            }
        }
    }

    /// Takes back a connection all of whose replies were read.
    pub fn keep(&self, target: Target, stream: TcpStream) {
        let mut links = self.0.lock();
        if links.len() < MOST {
            let used = Instant::now();
            links.push(Link {
                target,
                stream,
                used,
            });
        }
    }

    /// Closes those that nobody has used for long.
    pub fn close_idle(&self) {
        self.0.lock().retain(|link| link.used.elapsed() < IDLE);
    }

    /// How many there are (INFO migrate_cached_sockets).
    pub fn count(&self) -> usize {
        self.0.lock().len()
    }
}

/// Whether the other side has neither closed the connection nor said anything.
fn is_silent(stream: &TcpStream) -> bool {
    let looked = stream
        .set_nonblocking(true)
        .and_then(|()| stream.peek(&mut [0]));
    let silent = looked.is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock);
    silent && stream.set_nonblocking(false).is_ok()
}
