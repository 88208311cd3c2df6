//! Replicas whose own clients write: what they show is not what their log leads
//! to, at a restart or where the primary's commands meet it.

use super::*;

/// What is acknowledged is on disk, and the tree may be told to wait.
const ASTRAY: &[&str] = &["--enable-debug-command", "yes", "--appendfsync", "always"];

/// Writes for a moment to a replica whose tree takes nothing over by itself.
fn lead_astray(replica: &Server, writes: &[&str]) {
    let mut client = replica.client();
    ok(&mut client, "DEBUG STORAGE PAUSE-TREE");
    ok(&mut client, "CONFIG SET replica-read-only no");
    writes.iter().for_each(|line| ok(&mut client, line));
    ok(&mut client, "CONFIG SET replica-read-only yes");
}

fn pair() -> [Server; 2] {
    let [primary, replica] = [Server::start(&[]), Server::start(ASTRAY)];
    follow(&replica, &primary);
    ok(&mut primary.client(), "SET seed 1");
    await_sync(&replica, &primary);
    [primary, replica]
}

#[test]
fn a_promoted_replica_with_writes_of_its_own_starts_after_a_crash() {
    let [_primary, mut promoted] = pair();
    lead_astray(&promoted, &["RPUSH own a b c"]);
    let mut client = promoted.client();
    for line in ["REPLICAOF NO ONE", "LSET own 0 z", "SET acknowledged 1"] {
        ok(&mut client, line);
    }
    for _ in 0..2 {
        promoted.kill();
        promoted.restart();
        let found = run(&mut promoted.client(), "GET acknowledged");
        assert_eq!(found, Reply::bulk("1"));
    }
    // Tree and log lead to what is here once the tree has taken it over.
    ok(&mut promoted.client(), "SET more 1");
    let state = promoted.dir().join("replication.state");
    in_time("it is astray no more", || {
        let state = std::fs::read_to_string(&state).expect("it can be read");
        !state.contains("astray")
    });
}

#[test]
fn a_replica_whose_log_can_not_be_replayed_starts_and_is_sent_everything() {
    for follows_at_start in [true, false] {
        let [primary, mut replica] = pair();
        let mut client = replica.client();
        ok(&mut client, "CONFIG SET replica-read-only no");
        ok(&mut client, "SET x mine");
        ok(&mut primary.client(), "SET y 0");
        await_sync(&replica, &primary);
        in_time("the tree has it", || {
            number(&mut client, "persistence", "tree_lag_bytes") == 0
        });
        ok(&mut client, "DEBUG STORAGE PAUSE-TREE");
        ok(&mut primary.client(), "LPUSH x theirs");
        ok(&mut primary.client(), "SET y 1");
        await_sync(&replica, &primary);
        assert_eq!(partial_and_full(&primary).1, 1);
        replica.kill();
        let at = format!("127.0.0.1 {}", primary.port());
        if follows_at_start {
            replica.set_directives(&[ASTRAY, &["--replicaof", &at]].concat());
        }
        replica.restart();
        assert_eq!(run(&mut replica.client(), "GET y"), Reply::bulk("1"));
        follow(&replica, &primary);
        await_sync(&replica, &primary);
        assert_same(&primary, &replica);
        assert_eq!(partial_and_full(&primary).1, 2);
    }
}

#[test]
fn a_command_that_fails_within_a_transaction_of_the_stream_is_not_passed_over() {
    let [primary, replica] = pair();
    lead_astray(&replica, &["SET x mine"]);
    let mut client = primary.client();
    for line in ["MULTI", "SET y 1", "LPUSH x theirs", "EXEC"] {
        ok(&mut client, line);
    }
    in_time("everything was asked for anew", || {
        partial_and_full(&primary).1 == 2
    });
    await_sync(&replica, &primary);
    assert_same(&primary, &replica);
}

#[test]
fn a_command_that_failed_at_the_primary_as_well_is_of_no_harm() {
    let ours = Server::start(&[]);
    let theirs = Server::start_peer(Peer::Valkey, PEER);
    for primary in [ours, theirs] {
        let replica = Server::start(&[]);
        follow(&replica, &primary);
        await_sync(&replica, &primary);
        let mut client = primary.client();
        let script = "redis.call('SET', KEYS[1], 'v') return redis.call('LPUSH', KEYS[1], 'e')";
        for line in ["MULTI", "SET s v", "LPUSH s e", "INCR n"] {
            ok(&mut client, line);
        }
        client.command(&["EVAL", script, "1", "t"]);
        ok(&mut client, "EXEC");
        ok(&mut client, "SET after 1");
        await_sync(&replica, &primary);
        assert_same(&primary, &replica);
        assert_eq!(partial_and_full(&primary).1, 1);
    }
}
