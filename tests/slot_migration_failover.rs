//! Atomic slot migrations whose source or target hands itself over to a replica
//! (CLUSTER FAILOVER), sleeps, dies, or has a replica that lags, at the moment
//! at which the slot changes hands: nothing is lost, and neither shard splits.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use support::cluster::{Node, join, replica_of};
use support::moves::{Between, Mover};
use support::{Peer, Reply, encode, eventually};

/// The tag of slot 3300, which the first of three nodes or more has.
const TAG: &str = "{b}";
const SLOT: &str = "3300";

/// Time for what a test holds up.
const PATIENT: [&str; 4] = [
    "--cluster-manual-failover-timeout",
    "60000",
    "--cluster-node-timeout",
    "20000",
];

/// Primaries, the first the source and the second the target, which is reached
/// through what stands between; and a replica of the one at `at`.
struct Scene {
    nodes: Vec<Node>,
    replica: Node,
    between: Between,
    key: String,
}

impl Scene {
    fn set_up(count: usize, at: usize, held: &'static str) -> Scene {
        let between = Between::start(held);
        let announced = between.port.to_string();
        let told = [&PATIENT[..], &["--cluster-announce-port", &announced]].concat();
        let start = |number| Node::start(None, if number == 1 { &told } else { &PATIENT });
        let nodes: Vec<Node> = (0..count).map(start).collect();
        let port = nodes[1].server.port();
        between.target.store(port, Ordering::Relaxed);
        join(&nodes);
        let replica = replica_of(&nodes, at, &PATIENT);
        let key = format!("key{TAG}");
        assert_eq!(nodes[0].ask(&["SET", &key, "x"]), Reply::ok());
        Scene {
            nodes,
            replica,
            between,
            key,
        }
    }

    /// Has the slot move until the message comes that is held.
    fn begin_move(&self) {
        self.nodes[0].migrate(SLOT, &self.nodes[1]);
        eventually("the message has come", || {
            self.between.held.load(Ordering::Relaxed)
        });
    }

    /// Has the replica ask to take over.
    fn fail_over(&self) {
        assert_eq!(self.replica.ask(&["CLUSTER", "FAILOVER"]), Reply::ok());
    }

    fn let_pass(&self) {
        self.between.free.store(true, Ordering::Relaxed);
    }

    /// Two of four voters stop, so that nobody is elected.
    fn stop_voters(&self) {
        for node in &self.nodes[2..] {
            node.server.signal(libc::SIGSTOP);
        }
    }

    fn go_on(&self) {
        for node in &self.nodes[2..] {
            node.server.signal(libc::SIGCONT);
        }
    }

    /// The slot has stayed where it was, and the replica takes over.
    fn ends_without_a_move(&self, place: usize) {
        let ended = |node: &Node| node.states()[0] == "failed";
        eventually("the migration has failed", || {
            self.nodes[..2].iter().all(ended)
        });
        assert!(!self.nodes[1].owns(SLOT));
        self.go_on();
        let role = || self.replica.text(&["INFO", "replication"]);
        eventually("the replica leads", || role().contains("role:master"));
        let owner = [&self.replica, &self.nodes[0]][place];
        eventually("it has its slots", || owner.owns(SLOT));
        assert_eq!(owner.ask(&["GET", &self.key]), Reply::bulk("x"));
        let old = &self.nodes[place];
        eventually("the old one follows", || {
            old.text(&["INFO", "replication"]).contains("role:slave")
        });
    }
}

fn holds_back_writes(node: &Node) -> bool {
    let info = node.text(&["INFO", "clients"]);
    info.contains("paused_reason:failover_in_progress")
}

#[test]
fn a_source_that_hands_itself_over_grants_no_slot() {
    let scene = Scene::set_up(4, 0, "PAUSED");
    scene.begin_move();
    scene.stop_voters();
    scene.fail_over();
    eventually("the source hands itself over", || {
        holds_back_writes(&scene.nodes[0])
    });
    scene.let_pass();
    scene.ends_without_a_move(0);
}

#[test]
fn a_target_that_hands_itself_over_claims_no_slot() {
    let scene = Scene::set_up(4, 1, "FAILOVER-GRANTED");
    scene.begin_move();
    scene.stop_voters();
    scene.fail_over();
    eventually("the target hands itself over", || {
        holds_back_writes(&scene.nodes[1])
    });
    scene.let_pass();
    scene.ends_without_a_move(1);
}

#[test]
fn a_replica_of_a_source_that_has_granted_a_slot_takes_over_without_it() {
    let scene = Scene::set_up(3, 0, "FAILOVER-GRANTED");
    scene.begin_move();
    scene.fail_over();
    eventually("the source has been asked", || {
        let info = scene.nodes[0].text(&["CLUSTER", "INFO"]);
        info.contains("cluster_stats_messages_mfstart_received:")
    });
    scene.let_pass();
    let target = &scene.nodes[1];
    eventually("the slot has moved", || target.owns(SLOT));
    let role = || scene.replica.text(&["INFO", "replication"]);
    eventually("the replica leads", || role().contains("role:master"));
    assert!(!scene.replica.owns(SLOT) && target.owns(SLOT));
    assert_eq!(target.ask(&["GET", &scene.key]), Reply::bulk("x"));
}

/// Three primaries; a slot's move from the first to the second has come to the
/// grant, which the target has not heard.
fn granted(patience_ms: u64) -> (Vec<Node>, Between) {
    let between = Between::start("FAILOVER-GRANTED");
    let (announced, patience) = (between.port.to_string(), patience_ms.to_string());
    let usual = [
        "--cluster-manual-failover-timeout",
        &patience,
        "--cluster-require-full-coverage",
        "no",
    ];
    let told = [&usual[..], &["--cluster-announce-port", &announced]].concat();
    let start = |number| Node::start(None, if number == 1 { &told } else { &usual });
    let nodes: Vec<Node> = (0..3).map(start).collect();
    let port = nodes[1].server.port();
    between.target.store(port, Ordering::Relaxed);
    join(&nodes);
    assert_eq!(
        nodes[0].ask(&["SET", &format!("key{TAG}"), "x"]),
        Reply::ok()
    );
    nodes[0].migrate(SLOT, &nodes[1]);
    eventually("the grant is on its way", || {
        between.held.load(Ordering::Relaxed)
    });
    (nodes, between)
}

#[test]
fn a_source_that_sleeps_behind_the_grant_takes_nothing_back() {
    let patience_ms = 4000;
    let (nodes, between) = granted(patience_ms);
    let (source, target) = (&nodes[0], &nodes[1]);
    let stopped = Instant::now();
    source.server.signal(libc::SIGSTOP);
    between.free.store(true, Ordering::Relaxed);
    eventually("the slot has moved", || target.owns(SLOT));
    let mut written = 0;
    eventually("the source's patience is over", || {
        let key = format!("later{written}{TAG}");
        assert_eq!(target.ask(&["SET", &key, "y"]), Reply::ok());
        written += 1;
        stopped.elapsed() > Duration::from_millis(patience_ms + 500)
    });
    source.server.signal(libc::SIGCONT);
    eventually("the source knows", || source.states()[0] == "success");
    assert!(target.owns(SLOT) && !source.owns(SLOT));
    for number in 0..written {
        let value = target.ask(&["GET", &format!("later{number}{TAG}")]);
        assert_eq!(value, Reply::bulk("y"));
    }
    assert_eq!(target.ask(&["GET", &format!("key{TAG}")]), Reply::bulk("x"));
}

#[test]
fn a_source_whose_target_dies_before_its_claim_keeps_the_slot() {
    let (mut nodes, between) = granted(1000);
    nodes[1].server.kill();
    between.free.store(true, Ordering::Relaxed);
    let source = &nodes[0];
    eventually("the migration has failed", || {
        source.states()[0] == "failed"
    });
    let key = format!("key{TAG}");
    assert_eq!(source.ask(&["GET", &key]), Reply::bulk("x"));
    assert_eq!(source.ask(&["SET", &key, "z"]), Reply::ok());
}

/// What follows a node and takes its stream, but tells only what it is told to.
struct Follower {
    /// How often it was asked how far it is since the word came.
    asked: Arc<AtomicU64>,
    /// Whether it acknowledges, and how much: all that there can be, or nothing.
    speaks: Arc<AtomicBool>,
    has_all: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
}

impl Follower {
    /// `word`: what the stream has before the requests that count.
    fn start(node: &Node, word: &'static str) -> Follower {
        let mut stream = TcpStream::connect(("127.0.0.1", node.server.port())).expect("it listens");
        let follower = Follower {
            asked: Arc::default(),
            speaks: Arc::new(AtomicBool::new(true)),
            has_all: Arc::default(),
            over: Arc::default(),
        };
        let capa = encode(&["REPLCONF", "capa", "eof", "capa", "psync2"]);
        stream.write_all(&capa).expect("it is taken");
        let psync = encode(&["PSYNC", "?", "-1"]);
        stream.write_all(&psync).expect("it is taken");
        let (asked, over) = (follower.asked.clone(), follower.over.clone());
        let mut reader = stream.try_clone().expect("another handle");
        std::thread::spawn(move || {
            let (mut seen, mut chunk) = (Vec::new(), [0; 65536]);
            while !over.load(Ordering::Relaxed) {
                match reader.read(&mut chunk) {
                    Ok(count) if count > 0 => seen.extend_from_slice(&chunk[..count]),
                    _ => return,
                }
                let text = String::from_utf8_lossy(&seen);
                if let Some((_, behind)) = text.split_once(word) {
                    let requests = behind.matches("GETACK").count() as u64;
                    asked.store(requests, Ordering::Relaxed);
                }
            }
        });
        let (speaks, has_all) = (follower.speaks.clone(), follower.has_all.clone());
        let over = follower.over.clone();
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let offset = match has_all.load(Ordering::Relaxed) {
                    true => "1000000000000",
                    false => "0",
                };
                let ack = encode(&["REPLCONF", "ACK", offset]);
                if speaks.load(Ordering::Relaxed) && stream.write_all(&ack).is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        follower
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// Two primaries, 4 MB in a slot of the first, and what follows the second.
fn lagging() -> (Vec<Node>, Follower, String) {
    let nodes = vec![Node::start(None, &[]), Node::start(None, &[])];
    join(&nodes);
    let key = format!("key{TAG}");
    // What nobody can compress.
    let mut state = 1u64;
    let mut letter = |_| {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        char::from(b'!' + (state >> 58) as u8)
    };
    let big: String = (0..4 << 20).map(&mut letter).collect();
    assert_eq!(nodes[0].ask(&["SET", &key, &big]), Reply::ok());
    let follower = Follower::start(&nodes[1], "key{b}");
    eventually("it follows", || {
        let info = nodes[1].text(&["INFO", "replication"]);
        info.contains("state=online")
    });
    (nodes, follower, key)
}

#[test]
fn a_target_claims_no_slot_before_its_replicas_have_the_keys() {
    let (nodes, follower, key) = lagging();
    nodes[0].migrate(SLOT, &nodes[1]);
    let ended = |node: &Node| ["success", "failed"].contains(&&*node.states()[0]);
    eventually("the replica is asked, again and again", || {
        assert!(!ended(&nodes[0]), "{:?}", nodes[0].states());
        follower.asked.load(Ordering::Relaxed) > 3
    });
    assert!(!nodes[1].owns(SLOT));
    follower.has_all.store(true, Ordering::Relaxed);
    eventually("the slot has moved", || nodes[1].owns(SLOT));
    assert_eq!(nodes[1].ask(&["STRLEN", &key]), Reply::Integer(4 << 20));
}

#[test]
fn a_replica_that_is_silent_holds_up_no_move() {
    let (nodes, follower, _) = lagging();
    follower.speaks.store(false, Ordering::Relaxed);
    nodes[0].migrate(SLOT, &nodes[1]);
    eventually("the slot has moved", || nodes[1].owns(SLOT));
}

#[test]
fn a_valkey_that_became_our_replica_hears_that_its_import_is_over() {
    let nodes = vec![
        Node::start(None, &[]),
        Node::start(Some(Peer::Valkey), &["--save", ""]),
        Node::start(None, &[]),
    ];
    join(&nodes);
    let replica = replica_of(&nodes, 1, &[]);
    let valkey = &nodes[1];
    let mut link = valkey.server.client();
    let name = "0123456789abcdef0123456789abcdef01234567";
    let source = nodes[0].id();
    let words = ["CLUSTER", "SYNCSLOTS", "ESTABLISH", "SOURCE", &source];
    let establish = [&words[..], &["NAME", name, "SLOTSRANGE", SLOT, SLOT]].concat();
    assert_eq!(link.command(&establish), Reply::ok());
    assert_eq!(replica.ask(&["CLUSTER", "FAILOVER"]), Reply::ok());
    eventually("the replica leads, and Valkey follows it", || {
        let info = valkey.text(&["INFO", "replication"]);
        info.contains("role:slave") && info.contains("master_link_status:up")
    });
    eventually("the import has failed", || valkey.states()[0] == "failed");
}
