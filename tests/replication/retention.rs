//! How much of the log a replica that comes back finds.

use super::support::{Reply, Server};
use super::{await_sync, in_time, info, number, ok, partial_and_full};

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
