//! The replica's side of a link, as a state machine.
//!
//! | state | waits for | next |
//! |---|---|---|
//! | `Waiting` | the time to try again | `Connecting` |
//! | `Connecting` | the connection | `Asked`, the first request of the hand-shake |
//! | `Asked` | a line in answer | the next request; behind PSYNC `Announced` or `Streaming` |
//! | `Hearing` | which history the primary has, if it tells | `Told` |
//! | `Told` | [`Link::go_on`] | `Asked`, with PSYNC |
//! | `Announced` | `$…`, newlines meanwhile | `Loading` |
//! | `Loading` | the payload's end, then [`Link::loaded`] | `Streaming` |
//! | `Streaming` | bytes of the stream | |
//!
//! From any of them a failure, or silence for the timeout, leads back to
//! `Waiting`; the replica keeps what it has.

use std::collections::VecDeque;

use super::ReplicationId;
pub use super::failure::Failure;
use super::history::{Names, Position};
pub use super::introduction::Identity;
use super::payload::Payload;

/// A line of the hand-shake can't be longer.
const LINE_BYTES: usize = 4096;
/// What a primary tells of its history can't be longer.
const INFO_BYTES: usize = 64 << 10;

/// What happened.
#[derive(Debug)]
pub enum Input<'a> {
    /// The connection asked for is there.
    Connected,
    /// The connection ended, or could not be had.
    Disconnected,
    /// Bytes from the primary.
    Bytes(&'a [u8]),
    /// Time has passed.
    Tick,
}

/// What is to be done, in this order.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Connect to the primary.
    Connect,
    /// Send this.
    Send(Vec<u8>),
    /// What the primary's history is called, as far as it tells.
    /// [`Link::go_on`] is to follow.
    Told(Names),
    /// The primary goes on from our offset; its history is called so now.
    Continued(Option<ReplicationId>),
    /// A full sync begins: what follows is an RDB file with the state at this
    /// position.
    SnapshotBegins(Position),
    /// A part of that file.
    Snapshot(Vec<u8>),
    /// It is complete. Nothing of the stream comes before [`Link::loaded`].
    SnapshotEnds,
    /// A part of the stream.
    Stream(Vec<u8>),
    /// Close the connection.
    Disconnect(Failure),
}

/// The requests of the hand-shake, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Ping,
    Auth,
    Port,
    Address,
    Capabilities,
    Version,
    History,
    Psync,
}

#[derive(Debug)]
enum State {
    Waiting,
    Connecting,
    Asked(Step),
    /// What is left of the text, and what has come of it.
    Hearing(usize, Vec<u8>),
    Told,
    Announced,
    Loading(Payload),
    Loaded,
    Streaming,
}

/// What a link does, for INFO and ROLE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not connected, and not trying at the moment.
    Waiting,
    /// Trying to connect.
    Connecting,
    /// In the hand-shake.
    HandShake,
    /// In a full sync.
    Syncing,
    /// Following the stream.
    Streaming,
}

/// The replica's side of a link.
#[derive(Debug)]
pub struct Link {
    identity: Identity,
    /// What we have; None: nothing that a primary could go on from.
    position: Option<Position>,
    state: State,
    outputs: VecDeque<Output>,
    line: Vec<u8>,
    /// Bytes of the stream that came before the snapshot was loaded.
    early: Vec<u8>,
    deadline_ms: u64,
    next_ack_ms: u64,
    heard_ms: u64,
    synced: Option<u64>,
}

impl Link {
    /// A link that connects at once.
    pub fn new(identity: Identity, position: Option<Position>) -> Link {
        Link {
            identity,
            position,
            state: State::Waiting,
            outputs: VecDeque::new(),
            line: Vec::new(),
            early: Vec::new(),
            deadline_ms: 0,
            next_ack_ms: 0,
            heard_ms: 0,
            synced: None,
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Tick`] is due.
    pub fn poll_timeout(&self) -> u64 {
        match self.state {
            State::Streaming => self.deadline_ms.min(self.next_ack_ms),
            _ => self.deadline_ms,
        }
    }

    /// What the link does.
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Waiting => Phase::Waiting,
            State::Connecting => Phase::Connecting,
            State::Asked(_) | State::Hearing(..) | State::Told => Phase::HandShake,
            State::Announced | State::Loading(_) | State::Loaded => Phase::Syncing,
            State::Streaming => Phase::Streaming,
        }
    }

    /// When bytes last came.
    pub fn heard_ms(&self) -> u64 {
        self.heard_ms
    }

    /// Replaces what it tells of itself from the next attempt on.
    pub fn set_identity(&mut self, identity: Identity) {
        self.identity = identity;
    }

    /// How long the primary may be silent from now on.
    pub fn set_timeout(&mut self, timeout_ms: u64) {
        let before_ms = std::mem::replace(&mut self.identity.timeout_ms, timeout_ms);
        if !matches!(self.state, State::Waiting) {
            self.deadline_ms = (self.deadline_ms + timeout_ms).saturating_sub(before_ms);
        }
    }

    /// The stream has been applied, and is on disk, up to these offsets; None
    /// if what is on disk does not count.
    pub fn progress(&mut self, applied: u64, synced: Option<u64>) {
        if let Some(position) = &mut self.position {
            position.offset = applied;
        }
        self.synced = synced;
    }

    /// The primary wants to know how far we are (GETACK).
    pub fn acknowledge(&mut self, now_ms: u64) {
        let Some(position) = self.position else {
            return;
        };
        let applied = position.offset.to_string();
        let synced = self.synced.map(|synced| synced.to_string());
        let mut words = vec!["REPLCONF", "ACK", &applied];
        if let Some(synced) = &synced {
            words.extend(["FACK", synced]);
        }
        self.send(&words.into_iter().map(str::as_bytes).collect::<Vec<_>>());
        self.next_ack_ms = now_ms + self.identity.ack_ms;
    }

    /// Asks for the stream, knowing what the primary has told of its history.
    pub fn go_on(&mut self, now_ms: u64, position: Option<Position>) {
        if matches!(self.state, State::Told) {
            self.position = position;
            self.ask(now_ms, Step::Psync);
        }
    }

    /// The snapshot is in place: `position` is what we have now.
    pub fn loaded(&mut self, now_ms: u64, position: Position) {
        assert!(matches!(self.state, State::Loaded), "no snapshot has ended");
        self.position = Some(position);
        self.synced = self.synced.map(|_| position.offset);
        self.begin_streaming(now_ms);
    }

    /// Ends the link; it is tried again later.
    pub fn give_up(&mut self, now_ms: u64) {
        self.fail(now_ms, Failure::GivenUp);
    }

    /// Takes an input.
    pub fn handle(&mut self, now_ms: u64, input: Input<'_>) {
        match input {
            Input::Tick => self.tick(now_ms),
            Input::Disconnected => match self.state {
                State::Waiting => {}
                _ => self.fail(now_ms, Failure::Lost),
            },
            Input::Connected => {
                if matches!(self.state, State::Connecting) {
                    self.ask(now_ms, Step::Ping);
                }
            }
            Input::Bytes(bytes) => {
                self.heard_ms = now_ms;
                self.deadline_ms = now_ms + self.identity.timeout_ms;
                self.take(now_ms, bytes);
            }
        }
    }

    fn tick(&mut self, now_ms: u64) {
        if matches!(self.state, State::Waiting) {
            if now_ms >= self.deadline_ms {
                self.state = State::Connecting;
                self.deadline_ms = now_ms + self.identity.timeout_ms;
                self.outputs.push_back(Output::Connect);
            }
        } else if now_ms >= self.deadline_ms {
            self.fail(now_ms, Failure::TimedOut);
        } else if matches!(self.state, State::Streaming) && now_ms >= self.next_ack_ms {
            self.acknowledge(now_ms);
        }
    }

    fn fail(&mut self, now_ms: u64, failure: Failure) {
        self.state = State::Waiting;
        self.line.clear();
        self.early.clear();
        self.deadline_ms = now_ms + self.identity.retry_ms;
        self.outputs.push_back(Output::Disconnect(failure));
    }

    fn take(&mut self, now_ms: u64, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Waiting | State::Connecting | State::Told => return,
                State::Hearing(left, text) => {
                    let taken = bytes.len().min(*left);
                    text.extend_from_slice(&bytes[..taken]);
                    *left -= taken;
                    bytes = &bytes[taken..];
                    if *left == 0 {
                        let names = Names::parse(&String::from_utf8_lossy(text));
                        self.tell(names);
                    }
                }
                State::Asked(_) | State::Announced => {
                    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
                        self.line.extend_from_slice(bytes);
                        if self.line.len() > LINE_BYTES {
                            self.fail(now_ms, Failure::Nonsense("a line without end".into()));
                        }
                        return;
                    };
                    self.line.extend_from_slice(&bytes[..end]);
                    bytes = &bytes[end + 1..];
                    let mut line = std::mem::take(&mut self.line);
                    while line.last() == Some(&b'\r') {
                        line.pop();
                    }
                    // A newline alone keeps the link alive.
                    if !line.is_empty() {
                        self.answered(now_ms, &line);
                    }
                }
                State::Loading(payload) => {
                    let mut file = Vec::with_capacity(bytes.len());
                    let taken = payload.take(bytes, &mut file);
                    bytes = &bytes[taken..];
                    let done = payload.is_done();
                    if !file.is_empty() {
                        self.outputs.push_back(Output::Snapshot(file));
                    }
                    if done {
                        self.state = State::Loaded;
                        self.outputs.push_back(Output::SnapshotEnds);
                    }
                }
                State::Loaded => {
                    self.early.extend_from_slice(bytes);
                    return;
                }
                State::Streaming => {
                    self.outputs.push_back(Output::Stream(bytes.to_vec()));
                    return;
                }
            }
        }
    }

    fn begin_streaming(&mut self, now_ms: u64) {
        self.state = State::Streaming;
        self.deadline_ms = now_ms + self.identity.timeout_ms;
        // A primary without a file to send waits for this before it goes on.
        self.acknowledge(now_ms);
        if !self.early.is_empty() {
            let early = std::mem::take(&mut self.early);
            self.outputs.push_back(Output::Stream(early));
        }
    }

    /// Sends the request of a step, or goes on to the next if it needs none.
    fn ask(&mut self, now_ms: u64, step: Step) {
        self.state = State::Asked(step);
        self.deadline_ms = now_ms + self.identity.timeout_ms;
        let identity = self.identity.clone();
        match step {
            Step::Ping => self.send(&[b"PING"]),
            Step::Auth if identity.password.is_empty() => self.ask(now_ms, Step::Port),
            Step::Auth if identity.user.is_empty() => self.send(&[b"AUTH", &identity.password]),
            Step::Auth => self.send(&[b"AUTH", &identity.user, &identity.password]),
            Step::Port => {
                let port = identity.port.to_string();
                self.send(&[b"REPLCONF", b"listening-port", port.as_bytes()]);
            }
            Step::Address if identity.announced_ip.is_empty() => {
                self.ask(now_ms, Step::Capabilities);
            }
            Step::Address => self.send(&[b"REPLCONF", b"ip-address", &identity.announced_ip]),
            Step::Capabilities => self.send(&[b"REPLCONF", b"capa", b"eof", b"capa", b"psync2"]),
            Step::Version => self.send(&[b"REPLCONF", b"version", identity.version.as_bytes()]),
            Step::History if self.position.is_none() => self.ask(now_ms, Step::Psync),
            Step::History if identity.failover => self.tell(Names::default()),
            Step::History => self.send(&[b"INFO", b"replication"]),
            Step::Psync => {
                let (id, first) = match &self.position {
                    Some(position) => (position.id.as_str(), position.offset as i64 + 1),
                    None => ("?", -1),
                };
                let (id, first) = (id.to_owned(), first.to_string());
                let mut words: Vec<&[u8]> = vec![b"PSYNC", id.as_bytes(), first.as_bytes()];
                if identity.failover {
                    words.push(b"FAILOVER");
                }
                self.send(&words);
            }
        }
    }

    /// Whoever knows what we have is asked before it is told to the primary: it
    /// may be another history than at the last attempt.
    fn tell(&mut self, names: Names) {
        self.state = State::Told;
        self.outputs.push_back(Output::Told(names));
    }

    fn answered(&mut self, now_ms: u64, line: &[u8]) {
        let text = || String::from_utf8_lossy(line).into_owned();
        let is_error = line[0] == b'-';
        let State::Asked(step) = self.state else {
            return self.announced(now_ms, line);
        };
        let wants_login = || {
            let beginnings = [
                b"-NOAUTH".as_slice(),
                b"-NOPERM",
                b"-ERR operation not permitted",
            ];
            beginnings.iter().any(|words| line.starts_with(words))
        };
        match step {
            Step::Ping if is_error && !wants_login() => {
                self.fail(now_ms, Failure::Refused(text()));
            }
            Step::Ping => self.ask(now_ms, Step::Auth),
            Step::Auth if is_error => self.fail(now_ms, Failure::Refused(text())),
            // Old primaries know none of these; they need none of them either.
            Step::Auth => self.ask(now_ms, Step::Port),
            Step::Port => self.ask(now_ms, Step::Address),
            Step::Address => self.ask(now_ms, Step::Capabilities),
            Step::Capabilities => self.ask(now_ms, Step::Version),
            Step::Version => self.ask(now_ms, Step::History),
            Step::History => {
                let length = line.strip_prefix(b"$").and_then(|digits| {
                    let digits = std::str::from_utf8(digits).ok()?;
                    digits.parse::<usize>().ok()
                });
                match length {
                    Some(length) if length > INFO_BYTES => {
                        self.fail(now_ms, Failure::Nonsense(text()));
                    }
                    Some(length) => self.state = State::Hearing(length + 2, Vec::new()),
                    // It may not want to tell.
                    None => self.tell(Names::default()),
                }
            }
            Step::Psync => self.psync_answered(now_ms, line),
        }
    }

    fn psync_answered(&mut self, now_ms: u64, line: &[u8]) {
        let text = String::from_utf8_lossy(line).into_owned();
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        match words.as_slice() {
            ["+CONTINUE"] if self.position.is_some() => {
                self.outputs.push_back(Output::Continued(None));
                self.begin_streaming(now_ms);
            }
            ["+CONTINUE", id, ..] if self.position.is_some() => {
                let Some(id) = ReplicationId::parse(id.as_bytes()) else {
                    return self.fail(now_ms, Failure::Nonsense(text));
                };
                if let Some(position) = &mut self.position {
                    position.id = id;
                }
                self.outputs.push_back(Output::Continued(Some(id)));
                self.begin_streaming(now_ms);
            }
            ["+FULLRESYNC", id, offset, ..] => {
                let position = ReplicationId::parse(id.as_bytes())
                    .and_then(|id| offset.parse().ok().map(|offset| Position { id, offset }));
                match position {
                    Some(position) => {
                        self.state = State::Announced;
                        self.outputs.push_back(Output::SnapshotBegins(position));
                    }
                    None => self.fail(now_ms, Failure::Nonsense(text)),
                }
            }
            _ if line[0] == b'-' => self.fail(now_ms, Failure::Refused(text)),
            _ => self.fail(now_ms, Failure::Nonsense(text)),
        }
    }

    fn announced(&mut self, now_ms: u64, line: &[u8]) {
        let text = || String::from_utf8_lossy(line).into_owned();
        let payload = line.strip_prefix(b"$").and_then(Payload::parse);
        match payload {
            Some(payload) if payload.is_done() => {
                self.fail(now_ms, Failure::Nonsense("an empty snapshot".into()));
            }
            Some(payload) => self.state = State::Loading(payload),
            None if line[0] == b'-' => self.fail(now_ms, Failure::Refused(text())),
            None => self.fail(now_ms, Failure::Nonsense(text())),
        }
    }

    fn send(&mut self, words: &[&[u8]]) {
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            bytes.extend_from_slice(word);
            bytes.extend_from_slice(b"\r\n");
        }
        self.outputs.push_back(Output::Send(bytes));
    }
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
