//! The cluster bus's thread: its own runtime, its sockets and its timer, so
//! that no command and no key keeps a heartbeat waiting.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redoubt_cluster::bus::Input;
use redoubt_cluster::message::{HEADER_LEN, Invalid, LARGEST_PLAIN, packet_len};
use redoubt_cluster::table::LinkId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{AbortHandle, LocalSet};

use crate::cluster::queues::LinkQueue;
use crate::cluster::{Cluster, Queues, Wire, effects};
use crate::runtime::outgoing;
use crate::state::Server;

/// How much is read at once.
const READ_BYTES: usize = 64 * 1024;
/// Room for what has been read that is kept.
const KEPT_BYTES: usize = 1 << 20;

/// Starts the cluster's threads.
pub fn start(
    server: &'static Server,
    queues: Queues,
    listeners: Vec<TcpListener>,
) -> std::io::Result<()> {
    let Some(cluster) = &server.cluster else {
        return Ok(());
    };
    let Queues {
        wire,
        effects: queue,
    } = queues;
    std::thread::Builder::new()
        .name("cluster-effects".into())
        .spawn(move || effects::run(server, &queue))?;
    std::thread::Builder::new()
        .name("cluster-bus".into())
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            match runtime {
                Ok(runtime) => {
                    LocalSet::new().block_on(&runtime, drive(server, cluster, wire, listeners));
                }
                Err(error) => tracing::error!("the cluster bus can't run: {error}"),
            }
        })?;
    Ok(())
}

/// The connections that stand or are being made.
#[derive(Default)]
struct Links {
    links: std::cell::RefCell<HashMap<LinkId, Link>>,
    accepted: std::cell::Cell<u64>,
}

/// What a connection's task sends, and the count of what waits.
type Outgoing = (UnboundedReceiver<Arc<[u8]>>, LinkQueue);

/// One of them; dropping it closes it.
struct Link {
    packets: UnboundedSender<Arc<[u8]>>,
    queue: LinkQueue,
    task: AbortHandle,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Links {
    /// Connections on which more waits to be sent than the limit allows.
    fn overfull(&self, cluster: &Cluster) -> Vec<LinkId> {
        let over = |link: &Link| cluster.queues.exceeds_limit(&link.queue);
        let links = self.links.borrow();
        let overfull = links.iter().filter(|(_, link)| over(link));
        overfull.map(|(id, _)| *id).collect()
    }
}

async fn drive(
    server: &'static Server,
    cluster: &'static Cluster,
    mut wire: UnboundedReceiver<Wire>,
    listeners: Vec<TcpListener>,
) {
    let links = Rc::new(Links::default());
    for listener in listeners {
        tokio::task::spawn_local(accept(cluster, links.clone(), listener));
    }
    loop {
        let (wait_ms, changed) = cluster.timeout();
        tokio::select! {
            biased;
            order = wire.recv() => match order {
                Some(order) => carry_out(server, cluster, &links, order),
                None => return,
            },
            () = changed.notified() => {}
            () = tokio::time::sleep(Duration::from_millis(wait_ms)) => {
                cluster.set_replication(crate::cluster::replicate::status(server));
                cluster.tick();
                for link in links.overfull(cluster) {
                    links.links.borrow_mut().remove(&link);
                    cluster.queues.count_exceeded();
                    tracing::warn!("closing a connection of the cluster bus: too much waits to be sent");
                    let refused = false;
                    cluster.handle(Input::Closed { link, refused });
                }
            }
        }
    }
}

fn carry_out(server: &'static Server, cluster: &'static Cluster, links: &Rc<Links>, order: Wire) {
    match order {
        Wire::Connect { link, ip, port } => {
            let (sender, receiver) = unbounded_channel();
            let queue = cluster.queues.open(link);
            let outgoing = (receiver, queue.clone());
            let theirs = links.clone();
            let task = tokio::task::spawn_local(async move {
                let connecting = open(server, cluster, &ip, port).await;
                let refused = serve_opened(cluster, link, connecting, outgoing).await;
                if theirs.links.borrow_mut().remove(&link).is_some() {
                    cluster.handle(Input::Closed { link, refused });
                }
            });
            let made = Link {
                packets: sender,
                queue,
                task: task.abort_handle(),
            };
            links.links.borrow_mut().insert(link, made);
        }
        Wire::Close(link) => {
            links.links.borrow_mut().remove(&link);
        }
        Wire::Send(link, packet) => {
            if let Some(link) = links.links.borrow().get(&link) {
                link.queue.add(packet.len());
                // A task that has ended tells so itself.
                let _ = link.packets.send(packet);
            }
        }
    }
}

/// Opens a connection; None if that takes too long.
async fn open(
    server: &Server,
    cluster: &Cluster,
    ip: &str,
    port: u16,
) -> Option<io::Result<TcpStream>> {
    let ip = ip.parse::<IpAddr>().ok()?;
    let patience_ms = cluster.read(|bus| bus.options().node_timeout_ms);
    let connecting = outgoing::connect_async(server, SocketAddr::new(ip, port));
    let patience = Duration::from_millis(patience_ms.max(1));
    tokio::time::timeout(patience, connecting).await.ok()
}

/// Serves what was opened to its end; whether it was refused.
async fn serve_opened(
    cluster: &'static Cluster,
    link: LinkId,
    opened: Option<io::Result<TcpStream>>,
    outgoing: Outgoing,
) -> bool {
    match opened {
        Some(Ok(stream)) => {
            cluster.handle(Input::Connected(link));
            serve(cluster, link, stream, outgoing).await;
            false
        }
        Some(Err(error)) => error.kind() == io::ErrorKind::ConnectionRefused,
        None => false,
    }
}

async fn accept(cluster: &'static Cluster, links: Rc<Links>, listener: TcpListener) {
    let made = listener
        .set_nonblocking(true)
        .and_then(|()| tokio::net::TcpListener::from_std(listener));
    let listener = match made {
        Ok(listener) => listener,
        Err(error) => return tracing::error!("the cluster bus can't listen: {error}"),
    };
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            // Out of descriptors, most likely; it may pass.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let local = stream.local_addr().map(|address| address.ip().to_string());
        links.accepted.set(links.accepted.get() + 1);
        let link = LinkId::inbound(links.accepted.get());
        let (sender, receiver) = unbounded_channel();
        let queue = cluster.queues.open(link);
        let outgoing = (receiver, queue.clone());
        let theirs = links.clone();
        let task = tokio::task::spawn_local(async move {
            cluster.handle(Input::Accepted {
                link,
                peer: peer.ip().to_string(),
                local: local.unwrap_or_default(),
            });
            serve(cluster, link, stream, outgoing).await;
            if theirs.links.borrow_mut().remove(&link).is_some() {
                let refused = false;
                cluster.handle(Input::Closed { link, refused });
            }
        });
        let made = Link {
            packets: sender,
            queue,
            task: task.abort_handle(),
        };
        links.links.borrow_mut().insert(link, made);
    }
}

/// Sends and receives until the connection ends.
async fn serve(
    cluster: &'static Cluster,
    link: LinkId,
    stream: TcpStream,
    (mut packets, queue): Outgoing,
) {
    let _ = stream.set_nodelay(true);
    let (mut reader, mut writer) = stream.into_split();
    let send = async {
        while let Some(packet) = packets.recv().await {
            if writer.write_all(&packet).await.is_err() {
                break;
            }
            queue.take(packet.len());
        }
    };
    let receive = async {
        let mut buffer: Vec<u8> = Vec::with_capacity(READ_BYTES);
        loop {
            match reader.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(read) => {
                    let read = read as u64;
                    cluster.bytes_received.fetch_add(read, Ordering::Relaxed);
                }
            }
            if let Err(why) = take_packets(cluster, link, &mut buffer) {
                tracing::warn!("closing a connection of the cluster bus: {why}");
                break;
            }
            if buffer.capacity() > KEPT_BYTES && buffer.len() < READ_BYTES {
                buffer.shrink_to(READ_BYTES);
            }
            buffer.reserve(READ_BYTES);
        }
    };
    tokio::select! {
        () = send => {}
        () = receive => {}
    }
}

/// Hands on the whole packets of a buffer and keeps the rest.
fn take_packets(
    cluster: &'static Cluster,
    link: LinkId,
    buffer: &mut Vec<u8>,
) -> Result<(), Invalid> {
    let mut at = 0;
    while at < buffer.len() {
        match packet_len(&buffer[at..])? {
            Some(len) if len > LARGEST_PLAIN && !may_be_sent(cluster, link, &buffer[at..], len) => {
                return Err(Invalid::Length);
            }
            Some(len) if buffer.len() - at >= len => {
                cluster.handle(Input::Received(link, &buffer[at..at + len]));
                at += len;
            }
            _ => break,
        }
    }
    buffer.drain(..at);
    Ok(())
}

/// Whether a packet of this length may come from whoever it is from; true as
/// long as there is too little of it to tell.
fn may_be_sent(cluster: &Cluster, link: LinkId, packet: &[u8], len: usize) -> bool {
    let largest = cluster.largest_packet.load(Ordering::Relaxed);
    let is_known = || cluster.read(|bus| bus.knows_sender(link, packet));
    len <= largest && (packet.len() < HEADER_LEN || is_known())
}
