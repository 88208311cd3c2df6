//! Listening sockets and workers: a thread accepts (`listening` for TCP), and
//! hands each connection to the next worker; a worker is a single-threaded
//! tokio runtime that its connections never leave.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};
use tokio::runtime::LocalOptions;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::connection::serve;
use super::socket::ClientSocket;
use super::tending::tend;
use crate::config::{Config, id};
use crate::connection::client::Client;
use crate::state::{Server, unix_ms};
use crate::stats::add;

/// A connection that was accepted.
pub enum Accepted {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
}

/// Opens the TCP listeners that `bind` and `port` ask for. An address with a
/// `-` before it may be missing.
pub fn bind_tcp(config: &Config) -> Result<Vec<TcpListener>, String> {
    bind_port(config, config.integer(id("port")) as u16)
}

/// Opens the listeners of the cluster bus.
pub fn bind_bus(config: &Config) -> Result<Vec<TcpListener>, String> {
    let port = config.integer(id("port"));
    if config.integer(id("cluster-port")) == 0 && port > 55_535 {
        return Err("Redoubt port number too high for cluster mode: the bus needs the port plus 10000; set cluster-port.".into());
    }
    bind_port(config, crate::cluster::options::bus_port(config))
}

fn bind_port(config: &Config, port: u16) -> Result<Vec<TcpListener>, String> {
    if port == 0 {
        return Ok(Vec::new());
    }
    let addresses = config.string(id("bind")).into_owned();
    let mut listeners = Vec::new();
    for word in addresses.split_whitespace() {
        let (optional, name) = match word.strip_prefix('-') {
            Some(name) => (true, name),
            None => (false, word),
        };
        let address: IpAddr = match name {
            "*" => "0.0.0.0".parse().expect("a literal address"),
            "::*" => "::".parse().expect("a literal address"),
            name => match resolve(name) {
                Some(address) => address,
                None => {
                    return Err(format!(
                        "Failed listening on port {port}: no address {name}"
                    ));
                }
            },
        };
        match listen(
            SocketAddr::new(address, port),
            config.integer(id("tcp-backlog")) as i32,
        ) {
            Ok(listener) => listeners.push(listener),
            Err(error) if optional || address.is_ipv6() => {
                tracing::debug!("not listening on {address}:{port}: {error}");
            }
            Err(error) => {
                return Err(format!(
                    "Failed listening on port {port} (tcp): {address}: {error}"
                ));
            }
        }
    }
    if listeners.is_empty() {
        return Err(format!("Failed listening on port {port} (tcp), aborting."));
    }
    Ok(listeners)
}

fn resolve(name: &str) -> Option<IpAddr> {
    use std::net::ToSocketAddrs;
    name.parse()
        .ok()
        .or_else(|| (name, 0).to_socket_addrs().ok()?.next().map(|a| a.ip()))
}

fn listen(address: SocketAddr, backlog: i32) -> std::io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(socket.into())
}

/// Opens the Unix socket, if one is configured; gives its absolute path too. A
/// socket that nobody listens to any more makes way.
pub fn bind_unix(config: &Config) -> Result<Option<(UnixListener, PathBuf)>, String> {
    let path = config.string(id("unixsocket")).into_owned();
    if path.is_empty() {
        return Ok(None);
    }
    let failed = |e: std::io::Error| format!("Failed opening Unix socket {path}: {e}");
    if is_served(&path) {
        return Err(failed(std::io::ErrorKind::AddrInUse.into()));
    }
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).map_err(failed)?;
    let mode = config.integer(id("unixsocketperm"));
    if mode != 0 {
        use std::os::unix::fs::PermissionsExt;
        let permissions = std::fs::Permissions::from_mode(mode as u32);
        std::fs::set_permissions(&path, permissions)
            .map_err(|e| format!("Failed setting permissions of {path}: {e}"))?;
    }
    own_by_group(&path, &config.string(id("unixsocketgroup")))
        .map_err(|e| format!("Failed opening Unix socket {path}: {e}"))?;
    let absolute = std::path::absolute(&path).map_err(failed)?;
    Ok(Some((listener, absolute)))
}

/// Whether somebody listens to a Unix socket. One who doesn't get round to it
/// counts too.
fn is_served(path: &str) -> bool {
    let connected = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(path)?)
    };
    match connected() {
        Ok(()) => true,
        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
    }
}

/// Gives a file to a group, if one is named.
fn own_by_group(path: &str, group: &str) -> Result<(), String> {
    if group.is_empty() {
        return Ok(());
    }
    let name = std::ffi::CString::new(group).map_err(|e| e.to_string())?;
    // SAFETY: the name ends with a zero; what is given is used before the next
    // call, and the server has one thread so far.
    let number = unsafe { libc::getgrnam(name.as_ptr()).as_ref() }.map(|found| found.gr_gid);
    let number = number.ok_or_else(|| format!("there is no group '{group}'"))?;
    std::os::unix::fs::chown(path, None, Some(number))
        .map_err(|e| format!("it can't be given to the group '{group}': {e}"))
}

/// The running workers.
pub struct Workers {
    server: &'static Server,
    senders: Vec<UnboundedSender<Accepted>>,
    next: AtomicUsize,
    under_way: Arc<AtomicUsize>,
}

impl Workers {
    /// Starts `count` workers; all are ready then.
    pub fn start(
        server: &'static Server,
        count: usize,
    ) -> std::io::Result<(Workers, Vec<JoinHandle<()>>)> {
        let (mut senders, mut threads) = (Vec::new(), Vec::new());
        let under_way = Arc::<AtomicUsize>::default();
        let (ready, all_ready) = std::sync::mpsc::channel();
        for worker in 0..count {
            let (sender, receiver) = unbounded_channel();
            let arrivals = Arrivals {
                receiver,
                under_way: under_way.clone(),
            };
            let ready = ready.clone();
            let thread = std::thread::Builder::new()
                .name(format!("worker-{worker}"))
                .spawn(move || work(server, arrivals, worker, ready))?;
            senders.push(sender);
            threads.push(thread);
        }
        // What they need is not for clients to take.
        drop(ready);
        for _ in 0..count {
            let ready = all_ready.recv().map_err(std::io::Error::other)?;
            ready?;
        }
        let workers = Workers {
            server,
            senders,
            next: Default::default(),
            under_way,
        };
        Ok((workers, threads))
    }

    /// Hands a connection to the next worker, unless it is one too many: a worker
    /// that is busy would let them wait, with all that the process may have open.
    pub fn hand_over(&self, accepted: Accepted) {
        let expected = self.server.clients.len() + self.under_way.load(Ordering::Relaxed);
        if expected as i64 >= self.server.settings.maxclients.load(Ordering::Relaxed) {
            // Who is gone by now misses nothing.
            let _ = match accepted {
                Accepted::Tcp(stream) => refuse(self.server, stream, TOO_MANY),
                Accepted::Unix(stream) => refuse(self.server, stream, TOO_MANY),
            };
            return;
        }
        self.under_way.fetch_add(1, Ordering::Relaxed);
        let worker = self.next.fetch_add(1, Ordering::Relaxed) % self.senders.len();
        // A worker only ends with the process.
        let _ = self.senders[worker].send(accepted);
    }
}

/// The kernel is asked for new events after so many tasks at the latest.
const TASKS_PER_ROUND: u32 = 256;

/// Connections that come to a worker.
struct Arrivals {
    receiver: UnboundedReceiver<Accepted>,
    /// How many come to any of them.
    under_way: Arc<AtomicUsize>,
}

fn work(
    server: &'static Server,
    mut arrivals: Arrivals,
    worker: usize,
    ready: std::sync::mpsc::Sender<std::io::Result<()>>,
) {
    redoubt_persistence::log::Log::begin_rounds();
    crate::stats::begin_worker(worker);
    super::affinity::begin_worker(&server.config.read());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_park(|| super::rounds::end(server))
        .event_interval(TASKS_PER_ROUND)
        .build_local(LocalOptions::default());
    let runtime = match runtime {
        Ok(runtime) => runtime,
        // Whoever starts the workers may have gone after such an error.
        Err(error) => {
            let _ = ready.send(Err(error));
            return;
        }
    };
    let _ = ready.send(Ok(()));
    drop(ready);
    runtime.block_on(async move {
        if worker == 0 {
            tokio::task::spawn_local(tend(server));
        }
        tokio::task::spawn_local(super::durable::tend(server, worker));
        while let Some(accepted) = arrivals.receiver.recv().await {
            arrivals.under_way.fetch_sub(1, Ordering::Relaxed);
            if let Err(error) = admit(server, accepted, worker) {
                tracing::debug!("a connection could not be set up: {error}");
            }
        }
    });
}

/// Sets a connection up and starts serving it, unless it is one too many.
fn admit(server: &'static Server, accepted: Accepted, worker: usize) -> std::io::Result<()> {
    let over = server.clients.len() as i64 >= server.settings.maxclients.load(Ordering::Relaxed);
    match accepted {
        Accepted::Tcp(stream) => {
            let (peer, local) = (stream.peer_addr()?, stream.local_addr()?);
            if over {
                return refuse(server, stream, TOO_MANY);
            }
            if protected(server, peer.ip()) {
                return refuse(server, stream, PROTECTED);
            }
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let idle_s = server.config.read().integer(id("tcp-keepalive"));
            if idle_s > 0 {
                let time = std::time::Duration::from_secs(idle_s as u64);
                SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(time))?;
            }
            let fd = stream.as_raw_fd();
            let socket = ClientSocket::new(stream.into())?;
            let client = Client::new(peer.to_string(), local.to_string(), fd, unix_ms());
            let client = server.clients.add(client);
            tokio::task::spawn_local(serve(server, client, socket, worker));
        }
        Accepted::Unix(stream) => {
            if over {
                return refuse(server, stream, TOO_MANY);
            }
            stream.set_nonblocking(true)?;
            let path = format!("{}:0", server.config.read().string(id("unixsocket")));
            let fd = stream.as_raw_fd();
            let socket = ClientSocket::new(stream.into())?;
            let mut client = Client::new(path.clone(), path, fd, unix_ms());
            client.unix = true;
            let client = server.clients.add(client);
            tokio::task::spawn_local(serve(server, client, socket, worker));
        }
    }
    add(&server.stats.connections, 1);
    Ok(())
}

const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";

const PROTECTED: &[u8] = b"-DENIED Redoubt is running in protected mode because protected mode is enabled and no password is set for the default user. In this mode connections are only accepted from the loopback interface. To connect from other hosts, set a password with requirepass, or turn the mode off with protected-mode no if no one else can reach this server.\r\n";

fn protected(server: &Server, peer: IpAddr) -> bool {
    server.acl.default_is_open()
        && server.settings.protected_mode.load(Ordering::Relaxed)
        && !peer.to_canonical().is_loopback()
}

fn refuse(server: &Server, mut stream: impl std::io::Write, text: &[u8]) -> std::io::Result<()> {
    add(&server.stats.rejected_connections, 1);
    stream.write_all(text)
}

/// Accepts on a Unix socket for ever, on a thread of its own.
pub fn accept_unix(listener: UnixListener, workers: Arc<Workers>) -> std::io::Result<()> {
    std::thread::Builder::new()
        .name("accept-unix".into())
        .spawn(move || {
            loop {
                match listener.accept() {
                    Ok((stream, _)) => workers.hand_over(Accepted::Unix(stream)),
                    Err(error) => pause_after(&error),
                }
            }
        })?;
    Ok(())
}

/// Without descriptors to spare, accepting again at once would spin.
pub(super) fn pause_after(error: &std::io::Error) {
    tracing::warn!("accepting a connection failed: {error}");
    std::thread::sleep(std::time::Duration::from_millis(20));
}
