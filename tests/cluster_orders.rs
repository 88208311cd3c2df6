//! What a node does at once: what an order says has happened when it is answered,
//! and what comes over the bus from nobody known is not collected.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use support::cluster::{Node, introduce, join, replica_of};
use support::{Reply, encode, eventually};

/// Sends commands in one piece; gives their replies.
fn in_one_piece(node: &Node, commands: &[&[&str]]) -> Vec<Reply> {
    let bytes: Vec<u8> = commands.iter().flat_map(|words| encode(words)).collect();
    let mut client = node.server.client();
    client.send(&bytes);
    commands.iter().map(|_| client.read()).collect()
}

/// The first word of ROLE.
fn role(reply: &Reply) -> Option<String> {
    match reply {
        Reply::Array(parts) => parts.first()?.text(),
        _ => None,
    }
}

#[test]
fn the_next_command_sees_what_an_order_has_changed() {
    let nodes = [0; 2].map(|_| Node::start(None, &[]));
    join(&nodes);
    let replica = Node::start(None, &[]);
    introduce(&nodes[0], &replica);
    assert_eq!(nodes[0].ask(&["SET", "key{b}", "x"]), Reply::ok());
    let primary = nodes[0].id();
    let order: &[&str] = &["CLUSTER", "REPLICATE", &primary];
    let mut replies = Vec::new();
    eventually("the new node knows the one it is to follow", || {
        replies = in_one_piece(&replica, &[order, &["ROLE"]]);
        replies[0] == Reply::ok()
    });
    assert_eq!(role(&replies[1]).as_deref(), Some("slave"));
    eventually("the replica has the key", || {
        replica.ask(&["DBSIZE"]) == Reply::Integer(1)
    });
    eventually("it knows whose the slots are", || replica.is_up());
    let take_over: &[&str] = &["CLUSTER", "FAILOVER", "TAKEOVER"];
    let set: &[&str] = &["SET", "key{b}", "y"];
    let replies = in_one_piece(&replica, &[take_over, set, &["ROLE"]]);
    assert_eq!(replies[..2], [Reply::ok(), Reply::ok()]);
    assert_eq!(role(&replies[2]).as_deref(), Some("master"));
    eventually(
        "the former primary has become a replica with the key",
        || {
            let link = nodes[0].text(&["INFO", "replication"]);
            link.contains("master_link_status:up") && nodes[0].ask(&["DBSIZE"]) == Reply::Integer(1)
        },
    );
    let (reset, flush): (&[&str], &[&str]) = (&["CLUSTER", "RESET", "HARD"], &["FLUSHALL"]);
    let replies = in_one_piece(&nodes[0], &[reset, &["DBSIZE"], flush]);
    assert_eq!(replies, [Reply::ok(), Reply::Integer(0), Reply::ok()]);
    // The same as a transaction: its reply leaves behind its locks.
    let transaction: &[&[&str]] = &[&["MULTI"], take_over, &["EXEC"], &["ROLE"]];
    let refused = in_one_piece(&nodes[0], transaction);
    assert!(matches!(&refused[2], Reply::Array(parts) if parts.len() == 1));
    let transaction: &[&[&str]] = &[&["MULTI"], reset, &["EXEC"], &["ROLE"]];
    let replies = in_one_piece(&nodes[0], transaction);
    assert_eq!(replies[2], Reply::Array(vec![Reply::ok()]));
    assert_eq!(role(&replies[3]).as_deref(), Some("master"));
}

#[test]
fn a_stranger_on_the_bus_is_not_listened_to_for_long() {
    let nodes = [0; 2].map(|_| Node::start(None, &[]));
    join(&nodes);
    let mut stranger = TcpStream::connect(("127.0.0.1", nodes[0].bus_port)).expect("it listens");
    let patience = Some(Duration::from_secs(20));
    stranger.set_read_timeout(patience).expect("it is open");
    // A PUBLISH of almost 4 GB.
    let mut bytes = b"RCmb\xff\xff\xff\xf0\0\x01\0\0\0\x04".to_vec();
    bytes.resize(64 << 10, 0);
    let _ = stranger.write_all(&bytes);
    let ended = match stranger.read(&mut [0; 16]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    };
    assert!(ended, "the connection stays");
    // What is as long and comes from a node gets through.
    let mut listener = nodes[1].server.client();
    listener.command(&["SUBSCRIBE", "channel"]);
    let message = "x".repeat(9 << 20);
    nodes[0].ask(&["PUBLISH", "channel", &message]);
    let Reply::Array(parts) = listener.read() else {
        panic!("no message");
    };
    assert!(parts[2] == Reply::bulk(&message));
}

/// A primary with the first half of the slots, another, and a replica of the first.
fn with_replica() -> (Vec<Node>, Node) {
    let nodes = [0; 2].map(|_| Node::start(None, &[]));
    join(&nodes);
    let replica = replica_of(&nodes, 0, &[]);
    eventually("its primary counts on it", || {
        let info = nodes[0].text(&["INFO", "replication"]);
        info.contains("state=online")
    });
    (nodes.into(), replica)
}

#[test]
fn an_order_for_a_slot_that_was_refused_leaves_nothing_at_a_replica_that_slept() {
    let (nodes, replica) = with_replica();
    let other = nodes[1].id();
    replica.server.signal(libc::SIGSTOP);
    let order = ["CLUSTER", "SETSLOT", "3300", "MIGRATING", &other];
    let order = [&order[..], &["TIMEOUT", "100"]].concat();
    let refused = nodes[0].ask(&order);
    replica.server.signal(libc::SIGCONT);
    assert_eq!(refused.error_code(), Some("NOREPLICAS"), "{refused:?}");
    assert_eq!(nodes[0].ask(&["SET", "key{b}", "x"]), Reply::ok());
    eventually("the replica has what came behind the order", || {
        replica.ask(&["DBSIZE"]) == Reply::Integer(1)
    });
    for node in [&nodes[0], &replica] {
        assert!(!node.text(&["CLUSTER", "NODES"]).contains('['));
    }
}

#[test]
fn what_makes_no_order_is_refused_as_valkey_does() {
    let node = Node::start(None, &[]);
    let many = |name: &str| {
        format!(
            "ERR unknown subcommand or wrong number of arguments for '{name}'. Try CLUSTER HELP."
        )
    };
    let port = "ERR Port number is out of range".to_owned();
    let bus = "ERR Cluster bus port number is out of range".to_owned();
    for (line, text) in [
        ("MEET 127.0.0.1 0", &port),
        ("MEET 127.0.0.1 -1", &port),
        ("MEET 127.0.0.1 70000", &port),
        ("MEET x 0", &port),
        ("MEET 127.0.0.1 60000", &bus),
        ("MEET 127.0.0.1 5 0", &bus),
        ("MEET 127.0.0.1 5 70000", &bus),
        (
            "MEET x 5",
            &"ERR Invalid node address specified: x:5".into(),
        ),
        ("MEET 127.0.0.1 5 6 7", &many("MEET")),
        ("MEET 127.0.0.1 x 6 7", &many("MEET")),
        ("RESET HARD x", &many("RESET")),
        ("RESET x", &"ERR syntax error".into()),
        ("REPLICATE NO ONE x", &many("REPLICATE")),
        ("REPLICATE x y", &many("REPLICATE")),
    ] {
        let mut words = vec!["CLUSTER"];
        words.extend(line.split(' '));
        assert_eq!(node.ask(&words), Reply::Error(text.clone()), "{line}");
    }
    // What may not run is not queued either.
    let forbidden = [&["MULTI"][..], &["DEBUG", "OBJECT", "x"], &["EXEC"]];
    let replies = in_one_piece(&node, &forbidden);
    let debug = replies[1].text().unwrap_or_default();
    assert!(
        debug.starts_with("ERR DEBUG command not allowed. "),
        "{debug}"
    );
    assert_eq!(replies[2].error_code(), Some("EXECABORT"));
}

#[test]
fn a_replica_that_is_to_move_slots_says_what_it_is_first() {
    let (nodes, replica) = with_replica();
    let text = "ERR Slot migration can only be used on primary nodes.";
    let target = nodes[1].id();
    for line in [
        "FOO BAR",
        "SLOTSRANGE 5 1 NODE x",
        &format!("SLOTSRANGE 0 0 NODE {target}"),
    ] {
        let mut words = vec!["CLUSTER", "MIGRATESLOTS"];
        words.extend(line.split(' '));
        assert_eq!(replica.ask(&words), Reply::Error(text.into()), "{line}");
    }
}

#[test]
fn a_transaction_whose_watched_key_left_with_its_slot_is_not_run() {
    let nodes = [0; 2].map(|_| Node::start(None, &[]));
    join(&nodes);
    assert_eq!(nodes[0].ask(&["SET", "key{b}", "x"]), Reply::ok());
    let mut client = nodes[0].server.client();
    for words in [&["WATCH", "key{b}"][..], &["MULTI"]] {
        assert_eq!(client.command(words), Reply::ok());
    }
    client.command(&["SET", "key{b}", "y"]);
    let target = nodes[1].id();
    let order = [
        "CLUSTER",
        "MIGRATESLOTS",
        "SLOTSRANGE",
        "3300",
        "3300",
        "NODE",
    ];
    let order = [&order[..], &[&target]].concat();
    assert_eq!(nodes[0].ask(&order), Reply::ok());
    eventually("the slot has moved, and its keys are gone", || {
        let reply = nodes[0].ask(&["GET", "key{b}"]);
        let held = nodes[0].ask(&["CLUSTER", "COUNTKEYSINSLOT", "3300"]);
        reply.error_code() == Some("MOVED") && held == Reply::Integer(0)
    });
    assert_eq!(client.command(&["EXEC"]), Reply::Null);
}

#[test]
fn a_blank_nodes_conf_is_not_taken_for_none() {
    let mut node = Node::start(None, &[]);
    node.server.kill();
    let file = node.server.dir().join("nodes.conf");
    std::fs::write(&file, "\n").expect("it can be written");
    let refused = node.server.restart_refused_with(&[]);
    assert!(
        refused.contains("corrupted cluster config file"),
        "{refused}"
    );
}

#[test]
fn a_replica_that_is_reset_softly_is_taken_back_by_those_who_know_it() {
    let (nodes, replica) = with_replica();
    let known = |node: &Node| node.text(&["CLUSTER", "NODES"]).lines().count();
    assert_eq!(replica.ask(&["CLUSTER", "RESET", "SOFT"]), Reply::ok());
    assert_eq!(known(&replica), 1);
    eventually("all know all again", || {
        let all = nodes.iter().chain([&replica]);
        all.map(known).all(|count| count == nodes.len() + 1)
    });
}
