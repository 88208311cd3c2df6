//! Scripts under way when the cluster goes down or a slot leaves: what has begun
//! to write is not stopped half way, and its client hears of its end alone.

mod support;

use support::cluster::{Node, join, replica_of};
use support::{Client, Reply, encode, eventually};

/// Waits in a script until the cluster is down, and a little longer: for whoever
/// would stop the script, or answer in its place.
const UNTIL_DOWN: &str = "
    local function now() local t = redis.call('TIME') return t[1] + t[2] / 1e6 end
    local stop = now() + 60
    while string.find(redis.call('CLUSTER', 'INFO'), 'cluster_state:ok') do
        assert(now() < stop, 'the cluster stays up')
    end
    stop = now() + 0.3
    while now() < stop do end
";

/// `foo` is the last of three nodes'.
const KEY: &str = "foo";

fn three() -> [Node; 3] {
    let nodes = [0; 3].map(|_| Node::start(None, &[]));
    join(&nodes);
    nodes
}

/// Has the last node run a script that goes on when the cluster is down, and
/// ends another node meanwhile.
fn run_until_down(nodes: &mut [Node; 3], before: &str, after: &str) -> Client {
    let mut client = nodes[2].server.client();
    let script = format!("{before} {UNTIL_DOWN} {after}");
    client.send(&encode(&["EVAL", &script, "1", KEY]));
    await_script(&nodes[2]);
    nodes[0].server.kill();
    client
}

fn await_script(node: &Node) {
    eventually("the script is under way", || {
        node.text(&["CLIENT", "LIST"]).contains("flags=b")
    });
}

fn come_back(nodes: &mut [Node; 3]) {
    nodes[0].server.restart();
    eventually("the cluster is up again", || nodes[2].is_up());
}

fn error_of(reply: Reply) -> String {
    match reply {
        Reply::Error(text) => text,
        other => panic!("no error: {other:?}"),
    }
}

#[test]
fn a_script_that_has_written_ends_though_the_cluster_is_down() {
    let mut nodes = three();
    let after = "
        assert(redis.call('GET', KEYS[1]) == 'half')
        redis.call('SET', KEYS[1], 'done')
        redis.call('SET', '{foo}other', 'done')
        return 1";
    let half = "redis.call('SET', KEYS[1], 'half')";
    let mut client = run_until_down(&mut nodes, half, after);
    assert_eq!(client.read(), Reply::Integer(1));
    come_back(&mut nodes);
    for key in [KEY, "{foo}other"] {
        assert_eq!(nodes[2].ask(&["GET", key]), Reply::bulk("done"));
    }
}

#[test]
fn a_script_of_a_transaction_that_has_written_ends_though_the_cluster_is_down() {
    let mut nodes = three();
    let mut client = nodes[2].server.client();
    let script = format!("{UNTIL_DOWN} redis.call('SET', '{{foo}}other', 'done') return 1");
    client.command(&["MULTI"]);
    client.command(&["SET", KEY, "half"]);
    client.command(&["EVAL", &script, "1", KEY]);
    // The whole of it locks all, as the script does.
    client.command(&["CLUSTER", "MYID"]);
    client.send(&encode(&["EXEC"]));
    nodes[0].server.kill();
    let Reply::Array(replies) = client.read() else {
        panic!("it was refused");
    };
    assert_eq!(replies[..2], [Reply::ok(), Reply::Integer(1)]);
    come_back(&mut nodes);
    let other = nodes[2].ask(&["GET", "{foo}other"]);
    assert_eq!(other, Reply::bulk("done"));
}

#[test]
fn nobody_but_a_script_that_runs_answers_its_client_when_the_cluster_goes_down() {
    let mut nodes = three();
    let mut client = run_until_down(&mut nodes, "", "return 'ended'");
    assert_eq!(client.read(), Reply::bulk("ended"));
    // Nothing came before or behind it.
    assert_eq!(client.command(&["ECHO", "next"]), Reply::bulk("next"));
}

#[test]
fn a_script_that_has_read_goes_on_reading_when_the_cluster_is_down_but_does_not_begin_to_write() {
    let mut nodes = three();
    assert_eq!(nodes[2].ask(&["SET", KEY, "old"]), Reply::ok());
    let after = "
        assert(redis.call('GET', KEYS[1]) == 'old')
        return redis.call('SET', KEYS[1], 'new')";
    let mut client = run_until_down(&mut nodes, "redis.call('GET', KEYS[1])", after);
    let refused = error_of(client.read());
    let why = "Can not execute a command 'set' while the cluster is down";
    assert!(refused.contains(why), "{refused}");
    // Neither does one that begins now and may read, whatever it did before.
    let set = ["CONFIG", "SET", "cluster-allow-reads-when-down", "yes"];
    assert_eq!(nodes[2].ask(&set), Reply::ok());
    for before in [
        "redis.call('GET', KEYS[1])",
        "redis.call('PUBLISH', 'c', 'm')",
    ] {
        let script = format!("{before} return redis.call('SET', KEYS[1], 'new')");
        let refused = error_of(nodes[2].ask(&["EVAL", &script, "1", KEY]));
        let why = "Can not execute a write command 'set' while the cluster is down and readonly";
        assert!(refused.contains(why), "{refused}");
    }
    assert_eq!(nodes[2].ask(&["GET", KEY]), Reply::bulk("old"));
}

#[test]
fn a_script_does_not_write_to_a_slot_that_a_replica_has_taken() {
    let nodes = three();
    let replica = replica_of(&nodes, 2, &[]);
    let script = "
        local function now() local t = redis.call('TIME') return t[1] + t[2] / 1e6 end
        local stop = now() + 60
        redis.call('SET', KEYS[1], 'half')
        while string.find(redis.call('CLUSTER', 'NODES'), 'myself,master') do
            assert(now() < stop, 'nobody takes over')
        end
        return redis.call('SET', KEYS[1], 'lost')";
    let mut client = nodes[2].server.client();
    client.send(&encode(&["EVAL", script, "1", KEY]));
    await_script(&nodes[2]);
    let take = ["CLUSTER", "FAILOVER", "TAKEOVER"];
    assert_eq!(replica.ask(&take), Reply::ok());
    let refused = error_of(client.read());
    assert!(refused.contains("non local key"), "{refused}");
    // What it had written before goes with its role, unless it has reached the
    // replica between the vote and the end of its link.
    eventually("the old primary follows", || {
        let text = nodes[2].text(&["INFO", "replication"]);
        text.contains("master_link_status:up")
    });
    let mut reader = nodes[2].server.client();
    assert_eq!(reader.command(&["READONLY"]), Reply::ok());
    let kept = replica.ask(&["GET", KEY]);
    assert!(
        [Reply::Null, Reply::bulk("half")].contains(&kept),
        "{kept:?}"
    );
    assert_eq!(reader.command(&["GET", KEY]), kept);
}
