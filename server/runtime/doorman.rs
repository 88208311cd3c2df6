//! Who answers clients while the server starts, if that takes long: a log is
//! replayed, or another server's file imported. Each request gets the error
//! LOADING, but for INFO, which clients ask how that stands. The connections
//! are the workers' afterwards, as if they had only just been made.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::listener::Accepted;
use crate::commands::args::is;
use crate::config::{Config, id};
use crate::resp::reply::ReplyBuffer;
use crate::resp::request::{Parsed, RequestLimits, RequestParser};
use crate::state::unix_ms;

/// Most starts are over by then, and nobody needs to know.
const PATIENCE: Duration = Duration::from_millis(500);
/// More is not taken in for one request.
const MOST_BYTES: usize = 1 << 20;

const LOADING: &str = "LOADING Redoubt is loading the dataset in memory";

/// The thread that answers.
pub struct Doorman {
    over: watch::Sender<bool>,
    thread: JoinHandle<std::io::Result<Vec<Accepted>>>,
}

impl Doorman {
    /// Begins to accept on these sockets after a moment's patience. The error is
    /// for the operator.
    pub fn begin(
        config: &Config,
        tcp: &[TcpListener],
        unix: Option<&UnixListener>,
    ) -> Result<Doorman, String> {
        let most = config.integer(id("maxclients")).max(1) as usize;
        let failed = |error: std::io::Error| format!("can't start: {error}");
        let tcp: std::io::Result<Vec<_>> = tcp.iter().map(TcpListener::try_clone).collect();
        let tcp = tcp.map_err(failed)?;
        let unix = unix.map(UnixListener::try_clone).transpose();
        let unix = unix.map_err(failed)?;
        let (over, ended) = watch::channel(false);
        let thread = std::thread::Builder::new()
            .name("doorman".into())
            .spawn(move || stand(tcp, unix, most, ended));
        let thread = thread.map_err(failed)?;
        Ok(Doorman { over, thread })
    }

    /// Ends, and gives the connections that are not in the middle of a request.
    /// The sockets block again.
    pub fn end(self, tcp: &[TcpListener], unix: Option<&UnixListener>) -> Vec<Accepted> {
        let _ = self.over.send(true);
        let guests = self.thread.join().map_err(|_| "it panicked".to_owned());
        for listener in tcp {
            let _ = listener.set_nonblocking(false);
        }
        let _ = unix.map(|listener| listener.set_nonblocking(false));
        let guests = guests.and_then(|guests| guests.map_err(|e| e.to_string()));
        guests.unwrap_or_else(|error| {
            tracing::warn!("Clients were not answered during the start: {error}");
            Vec::new()
        })
    }
}

fn stand(
    tcp: Vec<TcpListener>,
    unix: Option<UnixListener>,
    most: usize,
    mut ended: watch::Receiver<bool>,
) -> std::io::Result<Vec<Accepted>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async move {
        let early = tokio::time::timeout(PATIENCE, start_is_over(&mut ended)).await;
        if early.is_ok() {
            return Ok(Vec::new());
        }
        let (sender, mut arrivals) = mpsc::unbounded_channel();
        let mut doors = JoinSet::new();
        for door in open(tcp, unix)? {
            doors.spawn(door.accept_all(sender.clone()));
        }
        let (mut guests, mut stayed) = (JoinSet::new(), Vec::new());
        loop {
            tokio::select! {
                biased;
                () = start_is_over(&mut ended) => break,
                Some(arrival) = arrivals.recv() => {
                    if guests.len() < most {
                        guests.spawn(attend(arrival, ended.clone()));
                    }
                }
                // It may know before this loop does that the start is over.
                Some(Ok(guest)) = guests.join_next() => stayed.extend(guest),
            }
        }
        // None is accepted any more before the last is counted.
        doors.shutdown().await;
        while let Ok(arrival) = arrivals.try_recv() {
            guests.spawn(attend(arrival, ended.clone()));
        }
        stayed.extend(guests.join_all().await.into_iter().flatten());
        Ok(stayed)
    })
}

async fn start_is_over(ended: &mut watch::Receiver<bool>) {
    // Nobody left to tell means the same.
    let _ = ended.wait_for(|over| *over).await;
}

enum Arrival {
    Tcp(tokio::net::TcpStream),
    Unix(tokio::net::UnixStream),
}

/// A socket on which clients arrive.
enum Door {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

fn open(tcp: Vec<TcpListener>, unix: Option<UnixListener>) -> std::io::Result<Vec<Door>> {
    let mut doors = Vec::new();
    for listener in tcp {
        listener.set_nonblocking(true)?;
        doors.push(Door::Tcp(tokio::net::TcpListener::from_std(listener)?));
    }
    if let Some(listener) = unix {
        listener.set_nonblocking(true)?;
        doors.push(Door::Unix(tokio::net::UnixListener::from_std(listener)?));
    }
    Ok(doors)
}

impl Door {
    async fn accept(&self) -> std::io::Result<Arrival> {
        Ok(match self {
            Door::Tcp(listener) => Arrival::Tcp(listener.accept().await?.0),
            Door::Unix(listener) => Arrival::Unix(listener.accept().await?.0),
        })
    }

    /// Accepts for as long as there is somebody to tell.
    async fn accept_all(self, sender: mpsc::UnboundedSender<Arrival>) {
        while !sender.is_closed() {
            match self.accept().await {
                Ok(arrival) => drop(sender.send(arrival)),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

async fn attend(arrival: Arrival, ended: watch::Receiver<bool>) -> Option<Accepted> {
    match arrival {
        Arrival::Tcp(mut stream) => {
            let stays = answer(&mut stream, ended).await;
            let stream = stays.then_some(stream)?.into_std().ok()?;
            Some(Accepted::Tcp(stream))
        }
        Arrival::Unix(mut stream) => {
            let stays = answer(&mut stream, ended).await;
            let stream = stays.then_some(stream)?.into_std().ok()?;
            Some(Accepted::Unix(stream))
        }
    }
}

/// Answers until the start is over; whether the client is still there then, and
/// between two requests.
async fn answer(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    mut ended: watch::Receiver<bool>,
) -> bool {
    let (mut parser, mut input) = (RequestParser::new(), Vec::new());
    loop {
        tokio::select! {
            biased;
            () = start_is_over(&mut ended) => return input.is_empty(),
            read = stream.read_buf(&mut input) => if !matches!(read, Ok(1..)) {
                return false;
            },
        }
        let mut reply = ReplyBuffer::default();
        let stays = answer_all(&mut parser, &mut input, &mut reply);
        if stream.write_all(&reply.buf).await.is_err() || !stays || input.len() > MOST_BYTES {
            return false;
        }
    }
}

/// Answers what is whole; whether the client may stay.
fn answer_all(parser: &mut RequestParser, input: &mut Vec<u8>, reply: &mut ReplyBuffer) -> bool {
    let (mut start, mut args) = (0, Vec::new());
    loop {
        match parser.next(&input[start..], &RequestLimits::default(), &mut args) {
            Ok(Parsed::Complete { consumed } | Parsed::Words { consumed }) => {
                let name = &input[start..][args[0].clone()];
                if is(name, "QUIT") {
                    reply.ok();
                    return false;
                }
                match is(name, "INFO") {
                    true => reply.bulk(info().as_bytes()),
                    false => reply.error(LOADING),
                }
                start += consumed;
                args.clear();
            }
            Ok(Parsed::Inline { consumed }) => {
                reply.error(LOADING);
                start += consumed;
                args.clear();
            }
            Ok(Parsed::Empty { consumed }) => start += consumed,
            Ok(Parsed::Incomplete { .. }) => break,
            Err(_) => return false,
        }
    }
    // What is left is parsed from its beginning again.
    *parser = RequestParser::new();
    input.drain(..start);
    true
}

/// What INFO tells, by which clients know that they have to wait.
fn info() -> String {
    let version = crate::state::REDIS_VERSION;
    format!(
        "# Server\r\nredis_version:{version}\r\nserver_name:redoubt\r\nprocess_id:{}\r\nserver_time_usec:{}\r\n\r\n# Persistence\r\nloading:1\r\nasync_loading:0\r\n",
        std::process::id(),
        unix_ms() * 1000,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_answered_once_however_they_are_split() {
        let requests =
            b"*1\r\n$4\r\nPING\r\nGET \"a\"\r\n*1\r\n$4\r\ninfo\r\nPING\r\n*2\r\n$3\r\nGET";
        for size in 1..requests.len() {
            let (mut parser, mut input) = (RequestParser::new(), Vec::new());
            let mut reply = ReplyBuffer::default();
            for piece in requests.chunks(size) {
                input.extend_from_slice(piece);
                assert!(answer_all(&mut parser, &mut input, &mut reply));
            }
            assert_eq!(input, b"*2\r\n$3\r\nGET");
            let text = String::from_utf8(reply.buf).expect("a text");
            assert_eq!(text.matches("-LOADING ").count(), 3, "{text}");
            assert_eq!(text.matches("loading:1\r\n").count(), 1, "{text}");
            let mut reply = ReplyBuffer::default();
            let rest = b"\r\n$1\r\nk\r\nQUIT\r\n";
            input.extend_from_slice(rest);
            assert!(!answer_all(&mut parser, &mut input, &mut reply));
            assert!(reply.buf.ends_with(b"+OK\r\n"));
        }
    }
}
