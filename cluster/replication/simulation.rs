//! Three servers that follow each other over links that break, with restarts
//! and promotions at any moment: whoever follows the same history at the same
//! offset has the same bytes, and after the last fault all end up equal.

use super::ReplicationId;
use super::history::{Answer, FORMER, History, Names, Position, Retained, decide};
use super::link::{Identity, Input, Link, Output};
use super::peer::Peer;

const MARK: [u8; 40] = [b'='; 40];

/// Xorshift; the seed makes the run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn id(&mut self) -> ReplicationId {
        let text: Vec<u8> = (0..40).map(|_| b'a' + self.below(26) as u8).collect();
        ReplicationId::parse(&text).expect("forty letters")
    }
}

/// One server: its stream is its data.
struct Node {
    history: History,
    /// Offset of the first byte of `log`.
    first: u64,
    log: Vec<u8>,
    /// What the state was made of before `first`: as a checksum.
    base: u64,
    link: Option<Link>,
    follows: Option<usize>,
    /// To the primary and from it, in flight.
    up: Vec<u8>,
    down: Vec<u8>,
    connected: bool,
    loading: Option<(Position, Vec<u8>)>,
    /// As a primary, by follower: where its stream stands, once it has one.
    served: [Option<u64>; 3],
    asked: [Vec<u8>; 3],
    peers: [Peer; 3],
    /// Its followers' links are to be cut.
    cut: bool,
    partial: u64,
    full: u64,
    rewound: u64,
}

fn sum(base: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(base, |sum, byte| {
        sum.wrapping_mul(1_099_511_628_211)
            .wrapping_add(u64::from(*byte) + 1)
    })
}

impl Node {
    fn new(id: ReplicationId) -> Node {
        Node {
            history: History::new(id),
            first: 0,
            log: Vec::new(),
            base: 0,
            link: None,
            follows: None,
            up: Vec::new(),
            down: Vec::new(),
            connected: false,
            loading: None,
            served: [None; 3],
            asked: Default::default(),
            peers: Default::default(),
            cut: false,
            partial: 0,
            full: 0,
            rewound: 0,
        }
    }

    fn end(&self) -> u64 {
        self.first + self.log.len() as u64
    }

    fn state(&self) -> u64 {
        sum(self.base, &self.log)
    }

    fn retained(&self) -> Retained {
        Retained {
            first: self.first,
            end: self.end(),
        }
    }

    fn follow(&mut self, primary: usize) {
        let position = self.history.position(self.end());
        let identity = Identity {
            user: Vec::new(),
            password: Vec::new(),
            port: 1,
            announced_ip: Vec::new(),
            version: "1.0.0",
            timeout_ms: 50,
            retry_ms: 3,
            ack_ms: 5,
            failover: false,
        };
        self.follows = Some(primary);
        self.link = Some(Link::new(identity, Some(position)));
        self.drop_connection();
    }

    fn drop_connection(&mut self) {
        self.connected = false;
        self.up.clear();
        self.down.clear();
        self.loading = None;
    }

    fn drop_followers(&mut self) {
        self.served = [None; 3];
        self.asked = Default::default();
        self.peers = Default::default();
    }

    /// What a restart leaves: log and history.
    fn restart(&mut self, id: ReplicationId) {
        self.drop_followers();
        match self.follows {
            Some(primary) => self.follow(primary),
            None => self.promote(id),
        }
    }

    fn promote(&mut self, id: ReplicationId) {
        let end = self.end();
        self.history.rename(id, end);
        self.follows = None;
        self.link = None;
        self.drop_connection();
    }
}

/// Serves what follower `from` has asked of `node`; gives what goes back.
fn serve(node: &mut Node, from: usize) -> Vec<u8> {
    let mut back = Vec::new();
    while let Some((words, used)) = command(&node.asked[from]) {
        node.asked[from].drain(..used);
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        match words[0] {
            b"PING" => back.extend_from_slice(b"+PONG\r\n"),
            b"REPLCONF" => match node.peers[from].configure(0, &words[1..]) {
                Ok(super::peer::Heeded::Answer) => back.extend_from_slice(b"+OK\r\n"),
                Ok(_) => {}
                Err(refused) => panic!("{refused:?}"),
            },
            b"INFO" => back.extend_from_slice(told(node).as_bytes()),
            b"PSYNC" => {
                let first = String::from_utf8_lossy(words[2]).parse().expect("a number");
                let asked = Position::parse(words[1], first);
                match decide(&node.history, node.retained(), asked) {
                    Answer::Continue => {
                        node.partial += 1;
                        let id = node.history.id;
                        back.extend_from_slice(format!("+CONTINUE {id}\r\n").as_bytes());
                        node.served[from] = asked.map(|position| position.offset);
                    }
                    Answer::Full(_) => {
                        node.full += 1;
                        let (id, end) = (node.history.id, node.end());
                        back.extend_from_slice(format!("+FULLRESYNC {id} {end}\r\n\n").as_bytes());
                        back.extend_from_slice(b"$EOF:");
                        back.extend_from_slice(&MARK);
                        back.extend_from_slice(b"\r\n");
                        back.extend_from_slice(node.state().to_string().as_bytes());
                        back.extend_from_slice(&MARK);
                        node.served[from] = Some(end);
                    }
                }
            }
            other => panic!("{other:?}"),
        }
    }
    if let Some(at) = node.served[from] {
        back.extend_from_slice(&node.log[(at - node.first) as usize..]);
        node.served[from] = Some(node.end());
    }
    back
}

/// What a primary tells of its history: some tell two names only.
fn told(node: &Node) -> String {
    let mut info = format!(
        "master_replid:{}\r\nmaster_repl_offset:{}\r\n",
        node.history.id,
        node.end()
    );
    if let Some((id, end)) = node.history.before.last() {
        info.push_str(&format!("master_replid2:{id}\r\n"));
        info.push_str(&format!("second_repl_offset:{}\r\n", end + 1));
    }
    if node.end().is_multiple_of(2) {
        let former = node.history.former_names();
        info.push_str(&format!("{FORMER}:{former}\r\n"));
    }
    format!("${}\r\n{info}\r\n", info.len())
}

/// The first whole command in `bytes`, and its length.
fn command(bytes: &[u8]) -> Option<(Vec<Vec<u8>>, usize)> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let mut lines = text.split_inclusive("\r\n");
    let head = lines.next()?;
    let count: usize = head.strip_prefix('*')?.trim_end().parse().ok()?;
    let (mut words, mut used) = (Vec::new(), head.len());
    for _ in 0..count {
        let (length, word) = (lines.next()?, lines.next()?);
        if !word.ends_with("\r\n") {
            return None;
        }
        used += length.len() + word.len();
        words.push(word.trim_end().as_bytes().to_vec());
    }
    Some((words, used))
}

/// Runs a follower's link for a moment.
fn step(nodes: &mut [Node; 3], at: usize, now_ms: u64, chance: &mut Chance, reachable: bool) {
    let Some(primary) = nodes[at].follows else {
        return;
    };
    let Some(mut link) = nodes[at].link.take() else {
        return;
    };
    link.handle(now_ms, Input::Tick);
    // Bytes travel in pieces, whenever they like.
    let up = chance.below(nodes[at].up.len() as u64 + 1) as usize;
    let sent: Vec<u8> = nodes[at].up.drain(..up).collect();
    if nodes[at].connected {
        nodes[primary].asked[at].extend(sent);
        let back = serve(&mut nodes[primary], at);
        nodes[at].down.extend(back);
    }
    let down = chance.below(nodes[at].down.len() as u64 + 1) as usize;
    let came: Vec<u8> = nodes[at].down.drain(..down).collect();
    if !came.is_empty() {
        link.handle(now_ms, Input::Bytes(&came));
    }
    while let Some(output) = link.poll_output() {
        obey(nodes, at, now_ms, &mut link, output, reachable);
    }
    let node = &mut nodes[at];
    if node.follows.is_some() && node.link.is_none() {
        node.link = Some(link);
    }
}

fn obey(
    nodes: &mut [Node; 3],
    at: usize,
    now_ms: u64,
    link: &mut Link,
    output: Output,
    reachable: bool,
) {
    let primary = nodes[at].follows.expect("a follower");
    if matches!(output, Output::Connect | Output::Disconnect(_)) {
        nodes[primary].served[at] = None;
        nodes[primary].asked[at].clear();
        nodes[primary].peers[at] = Peer::default();
        nodes[at].drop_connection();
    }
    let node = &mut nodes[at];
    match output {
        Output::Connect if reachable => {
            node.connected = true;
            link.handle(now_ms, Input::Connected);
        }
        Output::Connect => link.handle(now_ms, Input::Disconnected),
        Output::Disconnect(_) => {}
        Output::Send(bytes) => node.up.extend(bytes),
        Output::Told(names) => {
            node.rewind(&names);
            link.go_on(now_ms, Some(node.history.position_in(node.end(), &names)));
        }
        Output::Continued(id) => {
            if let Some(id) = id.filter(|id| *id != node.history.id) {
                let end = node.end();
                node.history.rename(id, end);
                node.drop_followers_later();
            }
        }
        Output::SnapshotBegins(position) => node.loading = Some((position, Vec::new())),
        Output::Snapshot(bytes) => {
            let (_, file) = node.loading.as_mut().expect("a snapshot has begun");
            file.extend(bytes);
        }
        Output::SnapshotEnds => {
            let (position, file) = node.loading.take().expect("a snapshot has begun");
            node.history = History::new(position.id);
            node.first = position.offset;
            node.log.clear();
            let text = String::from_utf8(file).expect("digits");
            node.base = text
                .parse()
                .expect("the whole file and nothing but the file");
            node.drop_followers_later();
            link.loaded(now_ms, position);
        }
        Output::Stream(bytes) => {
            node.log.extend(bytes);
            link.progress(node.end(), Some(node.end()));
        }
    }
}

impl Node {
    /// Goes back to where the primary's history parted from ours.
    fn rewind(&mut self, names: &Names) {
        let end = self.end();
        let common = self.history.common(end, names);
        if let Some(offset) = common.filter(|at| *at < end && *at >= self.first) {
            self.log.truncate((offset - self.first) as usize);
            self.history.rewind(offset);
            self.rewound += 1;
            self.drop_followers_later();
        }
    }

    /// Followers learn of another history by having to ask again.
    fn drop_followers_later(&mut self) {
        self.served = [None; 3];
        self.cut = true;
    }
}

fn run(seed: u64) -> [u64; 3] {
    let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut nodes: [Node; 3] = std::array::from_fn(|_| Node::new(chance.id()));
    nodes[1].follow(0);
    nodes[2].follow(1);
    let mut primary = 0;
    for now_ms in 0..6000u64 {
        let calm = now_ms > 4000;
        if !calm {
            primary = disturb(&mut nodes, primary, &mut chance);
        }
        for at in 0..3 {
            let reachable = calm || chance.below(4) != 0;
            step(&mut nodes, at, now_ms, &mut chance, reachable);
            if std::mem::take(&mut nodes[at].cut) {
                for other in nodes.iter_mut().filter(|n| n.follows == Some(at)) {
                    hang_up(other, now_ms);
                }
            }
        }
        check(&nodes, seed, now_ms);
    }
    let states: Vec<(u64, u64)> = nodes.iter().map(|n| (n.end(), n.state())).collect();
    assert!(
        states.iter().all(|state| *state == states[0]),
        "seed {seed}: not in sync at the end: {states:?}"
    );
    let partial = nodes.iter().map(|n| n.partial).sum();
    let full = nodes.iter().map(|n| n.full).sum();
    [partial, full, nodes.iter().map(|n| n.rewound).sum()]
}

fn hang_up(node: &mut Node, now_ms: u64) {
    node.drop_connection();
    if let Some(link) = &mut node.link {
        link.handle(now_ms, Input::Disconnected);
    }
}

/// A write, a lost link, a restart, a trimmed log or a promotion.
fn disturb(nodes: &mut [Node; 3], primary: usize, chance: &mut Chance) -> usize {
    if chance.below(2) == 0 {
        let bytes: Vec<u8> = (0..chance.below(20))
            .map(|_| chance.below(256) as u8)
            .collect();
        nodes[primary].log.extend(bytes);
    }
    let at = chance.below(3) as usize;
    match chance.below(200) {
        0..4 => hang_up(&mut nodes[at], 0),
        4 | 5 => {
            let id = chance.id();
            nodes[at].restart(id);
            for other in nodes.iter_mut().filter(|n| n.follows == Some(at)) {
                hang_up(other, 0);
            }
        }
        6 => {
            let node = &mut nodes[at];
            let oldest_served = node.served.iter().flatten().min().copied();
            let keep = oldest_served.unwrap_or(node.end()).min(node.end());
            let gone = (keep - node.first) as usize;
            node.base = sum(node.base, &node.log[..gone]);
            node.log.drain(..gone);
            node.first = keep;
        }
        7 if at != primary => {
            let id = chance.id();
            nodes[at].promote(id);
            for (other, node) in nodes.iter_mut().enumerate() {
                node.drop_followers();
                if other != at {
                    node.follow(at);
                }
            }
            return at;
        }
        _ => {}
    }
    primary
}

/// The same name and offset mean the same bytes.
fn check(nodes: &[Node; 3], seed: u64, now_ms: u64) {
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        let (one, other) = (&nodes[one], &nodes[other]);
        if one.history.id != other.history.id {
            continue;
        }
        let (short, long) = match one.end() <= other.end() {
            true => (one, other),
            false => (other, one),
        };
        if short.end() < long.first {
            continue;
        }
        let shared = (short.end() - long.first) as usize;
        let expected = sum(long.base, &long.log[..shared]);
        assert_eq!(short.state(), expected, "seed {seed}, at {now_ms} ms");
    }
}

#[test]
fn whatever_breaks_the_bytes_are_the_same() {
    let (mut partial, mut full, mut rewound) = (0, 0, 0);
    for seed in 1..12 {
        let [p, f, r] = run(seed);
        partial += p;
        full += f;
        rewound += r;
    }
    assert!(
        partial > full,
        "most resyncs are partial: {partial}, {full}"
    );
    assert!(full > 20, "full syncs take place: {full}");
    assert!(rewound > 5, "some go back: {rewound}");
}
