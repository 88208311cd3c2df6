//! Atomic slot migrations whose target stops reading half way: they end, and
//! meanwhile hold up neither checkpoints nor, for long, writes.

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use support::cluster::{Node, join};
use support::{Reply, encode, eventually};

/// A key of slot 3300, which the first of two nodes has.
const KEY: &str = "key{b}";
const SLOT: &str = "3300";

/// What stands at the address that the target announces. It takes the snapshot,
/// and nothing of what follows until it is to ask for the pause; then a part of
/// that, so that the request is heard, and nothing more.
struct Stub {
    port: u16,
    has_snapshot: Arc<AtomicBool>,
    may_ask: Arc<AtomicBool>,
}

impl Stub {
    fn start() -> Stub {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port can be bound");
        let stub = Stub {
            port: listener.local_addr().expect("it is bound").port(),
            has_snapshot: Arc::default(),
            may_ask: Arc::default(),
        };
        let (has_snapshot, may_ask) = (stub.has_snapshot.clone(), stub.may_ask.clone());
        std::thread::spawn(move || {
            let (mut source, _) = listener.accept().expect("the source comes");
            read_until(&mut source, "ESTABLISH");
            source.write_all(b"+OK\r\n").expect("it is taken");
            read_until(&mut source, "SNAPSHOT-EOF");
            has_snapshot.store(true, Ordering::Relaxed);
            eventually("it may ask", || may_ask.load(Ordering::Relaxed));
            let request = encode(&["CLUSTER", "SYNCSLOTS", "REQUEST-PAUSE"]);
            source.write_all(&request).expect("it is taken");
            let mut part = vec![0; 2 << 20];
            source.read_exact(&mut part).expect("there is more");
            // The connection stays.
            std::mem::forget(source);
        });
        stub
    }
}

fn read_until(stream: &mut TcpStream, word: &str) {
    let (mut seen, mut chunk) = (Vec::new(), [0; 4096]);
    while !String::from_utf8_lossy(&seen).contains(word) {
        let count = stream.read(&mut chunk).expect("it is open");
        assert_ne!(count, 0, "it ends before {word}");
        seen.extend_from_slice(&chunk[..count]);
    }
}

/// Two nodes, and a migration whose target has stopped reading with 18 MB to come.
fn stalled(directives: &[&str]) -> [Node; 2] {
    let stub = Stub::start();
    let announced = stub.port.to_string();
    let told = ["--cluster-announce-port", &announced];
    let nodes = [Node::start(None, directives), Node::start(None, &told)];
    join(&nodes);
    let target = nodes[1].id();
    let order = ["CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", SLOT, SLOT, "NODE"];
    let order = [&order[..], &[&target]].concat();
    assert_eq!(nodes[0].ask(&order), Reply::ok());
    eventually("the snapshot has come", || {
        stub.has_snapshot.load(Ordering::Relaxed)
    });
    let mut client = nodes[0].server.client();
    let value = "x".repeat(1 << 20);
    for _ in 0..20 {
        assert_eq!(client.command(&["SET", KEY, &value]), Reply::ok());
    }
    stub.may_ask.store(true, Ordering::Relaxed);
    nodes
}

/// How the source's migration stands, and the message about that.
fn outcome(source: &Node) -> (String, String) {
    let Reply::Array(jobs) = source.ask(&["CLUSTER", "GETSLOTMIGRATIONS"]) else {
        panic!("no array");
    };
    let Some(Reply::Array(fields)) = jobs.first() else {
        panic!("no map");
    };
    let field = |name: &str| {
        let at = fields.iter().position(|field| *field == Reply::bulk(name));
        fields[at.expect("it is there") + 1].text().expect("a text")
    };
    (field("state"), field("message"))
}

#[test]
fn a_target_that_takes_nothing_while_writes_wait_loses_the_slot() {
    let nodes = stalled(&[
        "--slot-migration-max-failover-repl-bytes",
        "500mb",
        "--cluster-manual-failover-timeout",
        "2000",
    ]);
    eventually("it has failed", || outcome(&nodes[0]).0 == "failed");
    let why = outcome(&nodes[0]).1;
    assert_eq!(why, "Slot migration timed out during slot failover");
    assert_eq!(nodes[0].ask(&["SET", KEY, "y"]), Reply::ok());
}

#[test]
fn a_target_that_takes_nothing_holds_up_no_checkpoint_and_is_given_up() {
    let nodes = stalled(&[]);
    eventually("the pause was asked for", || {
        outcome(&nodes[0]).0 == "waiting-to-pause"
    });
    assert_eq!(nodes[0].ask(&["SAVE"]), Reply::ok());
    assert_eq!(outcome(&nodes[0]).0, "waiting-to-pause");
    let shorter = ["CONFIG", "SET", "repl-timeout", "1"];
    assert_eq!(nodes[0].ask(&shorter), Reply::ok());
    eventually("it has failed", || outcome(&nodes[0]).0 == "failed");
    assert_eq!(outcome(&nodes[0]).1, "Timed out");
    assert_eq!(nodes[0].ask(&["SET", KEY, "y"]), Reply::ok());
}
