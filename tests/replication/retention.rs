//! How much of the log a replica that comes back finds.

use std::fs;
use std::io::Write;
use std::net::TcpStream;

use super::support::{Mount, Reply, Server};
use super::{assert_same, await_sync, in_time, info, number, ok, partial_and_full};

/// Writes twenty times `repl-backlog-size`, and has the tree take over all of it.
fn outgrow_the_backlog(primary: &Server) {
    let mut client = primary.client();
    let value = "x".repeat(10_000);
    for n in 0..200 {
        let set = client.command(&["SET", &format!("key{n}"), &value]);
        assert_eq!(set, Reply::ok());
    }
    let end = number(&mut client, "persistence", "log_end_offset");
    in_time("the tree has it", || {
        ok(&mut client, "BGREWRITEAOF");
        number(&mut client, "persistence", "tree_applied_offset") >= end
    });
}

#[test]
fn the_log_is_kept_for_replicas_that_come_back_beyond_the_backlog() {
    let sizes = ["--repl-backlog-size", "100kb", "--log-segment-size", "64kb"];
    let primary = Server::start(&sizes);
    let at = format!("127.0.0.1 {}", primary.port());
    let mut replica = Server::start(&["--replicaof", &at]);
    await_sync(&replica, &primary);
    assert_eq!(partial_and_full(&primary), (0, 1));
    replica.kill();
    outgrow_the_backlog(&primary);
    replica.restart();
    await_sync(&replica, &primary);
    assert_eq!(partial_and_full(&primary), (1, 1));

    ok(&mut primary.client(), "CONFIG SET log-retention-size 0");
    replica.kill();
    outgrow_the_backlog(&primary);
    replica.restart();
    await_sync(&replica, &primary);
    assert_eq!(partial_and_full(&primary), (1, 2));
    assert_eq!(
        info(&mut replica.client(), "keyspace", "db0")
            .split(',')
            .next(),
        Some("keys=200")
    );
}

/// A replica, online, that takes nothing of the stream.
fn silent_replica(primary: &Server) -> TcpStream {
    let replica = TcpStream::connect(("127.0.0.1", primary.port()));
    let mut replica = replica.expect("it listens");
    replica.write_all(b"PSYNC ? -1\r\n").expect("it is taken");
    in_time("it is a replica", || {
        info(&mut primary.client(), "replication", "slave0").contains("state=online")
    });
    replica
}

#[test]
fn a_replica_that_is_too_slow_goes_before_the_disk_is_full() {
    let mut primary = Server::start(&[]);
    let data = primary.dir().join("small");
    let Some(_mount) = Mount::new(&data, "size=300m") else {
        return;
    };
    primary.kill();
    let dir = data.to_str().expect("UTF-8").to_owned();
    let mut directives = vec!["--dir", &dir, "--disk-free-min", "16mb"];
    directives.extend(["--repl-backlog-size", "1mb", "--log-retention-size", "1mb"]);
    directives.extend(["--log-segment-size", "1mb"]);
    primary.set_directives(&directives);
    primary.restart();
    let (mut replica, mut client) = (silent_replica(&primary), primary.client());
    let value = "x".repeat(1_000_000);
    // Some in each second, as who looks after replicas does it.
    let mut write_60_mb = || {
        for n in 0..60 {
            assert_eq!(client.command(&["SET", "key", &value]), Reply::ok());
            if n % 10 == 9 {
                in_time("the tree has it", || {
                    ok(&mut client, "BGREWRITEAOF");
                    number(&mut client, "persistence", "tree_lag_bytes") < 1_000_000
                });
            }
        }
        let since = number(&mut client, "server", "uptime_in_seconds");
        in_time("it was looked at the disk", || {
            number(&mut client, "server", "uptime_in_seconds") >= since + 2
        });
        number(&mut client, "replication", "connected_slaves")
    };
    let mut rounds = 0;
    // It says now and then that it is there.
    while write_60_mb() == 1 {
        let _ = replica.write_all(b"REPLCONF ACK 1\r\n");
        rounds += 1;
        assert!(rounds < 10, "600 MB are kept on a disk of 300 MB");
    }
    // Now the log is kept no more, and there is room for all that comes.
    (0..5).for_each(|_| assert_eq!(write_60_mb(), 0));
    drop(replica);
    primary.kill();
}

#[test]
fn a_pure_cache_keeps_a_slow_replica_while_its_disk_has_room() {
    let sizes = ["--repl-backlog-size", "1mb", "--log-retention-size", "1mb"];
    let primary = Server::start(&[&sizes[..], &["--save", "", "--appendonly", "no"]].concat());
    let (_replica, mut client) = (silent_replica(&primary), primary.client());
    let value = "x".repeat(1_000_000);
    for _ in 0..20 {
        assert_eq!(client.command(&["SET", "key", &value]), Reply::ok());
    }
    let since = number(&mut client, "server", "uptime_in_seconds");
    in_time("it was looked at the replicas", || {
        number(&mut client, "server", "uptime_in_seconds") >= since + 3
    });
    assert_eq!(number(&mut client, "replication", "connected_slaves"), 1);
}

/// Flips a bit of the first file of the log that has `needle`.
fn flip_in_log(server: &Server, needle: &[u8]) {
    let entries = fs::read_dir(server.dir().join("log")).expect("a log");
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        let mut bytes = fs::read(&path).expect("it can be read");
        let found = bytes.windows(needle.len()).position(|part| part == needle);
        if let Some(at) = found {
            bytes[at] ^= 1;
            return fs::write(path, bytes).expect("it can be written");
        }
    }
    panic!("no file has it");
}

#[test]
fn what_is_damaged_in_the_kept_log_costs_its_replicas_a_full_sync_and_nobody_the_data() {
    let sizes = ["--repl-backlog-size", "100mb", "--log-segment-size", "64kb"];
    let mut primary = Server::start(&[&sizes[..], &["--appendfsync", "always"]].concat());
    let at = format!("127.0.0.1 {}", primary.port());
    let mut behind = Server::start(&["--replicaof", &at]);
    await_sync(&behind, &primary);
    behind.kill();
    ok(&mut primary.client(), "SET damaged in-the-log-only");
    outgrow_the_backlog(&primary);
    let mut beyond = Server::start(&["--replicaof", &at]);
    await_sync(&beyond, &primary);
    beyond.kill();
    primary.kill();
    flip_in_log(&primary, b"in-the-log-only");
    // The tree has taken it over, so it is not read at the start.
    primary.restart();
    beyond.restart();
    await_sync(&beyond, &primary);
    assert_eq!(partial_and_full(&primary), (1, 0));
    behind.restart();
    await_sync(&behind, &primary);
    assert_eq!(partial_and_full(&primary), (2, 1));
    for server in [&primary, &behind, &beyond] {
        let found = server.client().command(&["GET", "damaged"]);
        assert_eq!(found, Reply::bulk("in-the-log-only"));
        assert_same(&primary, server);
    }
    // Whoever is not behind that file still goes on from the log.
    beyond.kill();
    ok(&mut primary.client(), "SET more 1");
    beyond.restart();
    await_sync(&beyond, &primary);
    assert_eq!(partial_and_full(&primary), (3, 1));
}
