//! Nodes of a cluster as real processes: they meet, redirect, move slots, miss
//! a dead one, come back; and they do so beside a real Redis.

mod support;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use support::cluster::{Node, introduce, join, replica_of};
use support::{Client, Peer, Reply, Server, encode, eventually};

fn error_of(reply: Reply) -> String {
    match reply {
        Reply::Error(text) => text,
        other => panic!("no error: {other:?}"),
    }
}

/// The slot and the place of a MOVED or ASK.
fn redirection(reply: Reply) -> (String, String, String) {
    let text = error_of(reply);
    let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    match <[String; 3]>::try_from(words) {
        Ok([word, slot, place]) => (word, slot, place),
        Err(words) => panic!("no redirection: {words:?}"),
    }
}

#[test]
fn three_nodes_share_the_slots_and_redirect_to_each_other() {
    let nodes = [0; 3].map(|_| Node::start(None, &[]));
    assert_eq!(
        error_of(nodes[0].ask(&["SET", "foo", "x"])),
        "CLUSTERDOWN Hash slot not served"
    );
    join(&nodes);
    // foo: 12182, bar: 5061, hello: 866.
    let moved = ("MOVED".to_owned(), "12182".to_owned(), nodes[2].place());
    assert_eq!(redirection(nodes[0].ask(&["SET", "foo", "1"])), moved);
    assert_eq!(redirection(nodes[1].ask(&["GET", "foo"])), moved);
    assert_eq!(nodes[2].ask(&["SET", "foo", "1"]), Reply::ok());
    assert_eq!(
        error_of(nodes[0].ask(&["MGET", "bar", "foo"])),
        "CROSSSLOT Keys in request don't hash to the same slot"
    );
    let mut client = nodes[0].server.client();
    assert_eq!(client.command(&["MULTI"]), Reply::ok());
    assert_eq!(redirection(client.command(&["GET", "foo"])).0, "MOVED");
    assert_eq!(client.command(&["EXEC"]).error_code(), Some("EXECABORT"));
    // Pipelines are redirected one by one, and nothing of others' is written.
    let mut bytes = support::encode(&["SET", "hello", "1"]);
    bytes.extend(support::encode(&["SET", "foo", "2"]));
    let replies = client.pipeline(&bytes, 2);
    assert_eq!(replies[0], Reply::ok());
    assert_eq!(redirection(replies[1].clone()).0, "MOVED");
    assert_eq!(nodes[2].ask(&["GET", "foo"]), Reply::bulk("1"));
}

#[test]
fn messages_reach_subscribers_of_other_nodes() {
    let nodes = [0; 3].map(|_| Node::start(None, &[]));
    join(&nodes);
    let mut listener = nodes[0].server.client();
    listener.command(&["SUBSCRIBE", "news"]);
    // The connections between the nodes may not stand yet.
    eventually("a message arrives", || {
        nodes[2].ask(&["PUBLISH", "news", "hello"]);
        let message = listener.read();
        matches!(message, Reply::Array(parts) if parts[2] == Reply::bulk("hello"))
    });
    // Shard channels belong to the owner of their slot.
    let reply = nodes[0].ask(&["SSUBSCRIBE", "foo"]);
    assert_eq!(redirection(reply).0, "MOVED");
}

#[test]
fn a_slot_moves_with_its_keys() {
    let nodes = [0; 3].map(|_| Node::start(None, &[]));
    join(&nodes);
    let (source, target) = (&nodes[2], &nodes[0]);
    let mut at_source: Client = source.server.client();
    for key in ["{foo}1", "{foo}2", "{foo}3"] {
        assert_eq!(at_source.command(&["SET", key, "v"]), Reply::ok());
    }
    assert_eq!(
        at_source.command(&["PEXPIRE", "{foo}3", "100000"]),
        Reply::Integer(1)
    );
    let (from, to) = (source.id(), target.id());
    let importing = ["CLUSTER", "SETSLOT", "12182", "IMPORTING", &from];
    assert_eq!(target.ask(&importing), Reply::ok());
    let migrating = ["CLUSTER", "SETSLOT", "12182", "MIGRATING", &to];
    assert_eq!(source.ask(&migrating), Reply::ok());

    let port = target.server.port().to_string();
    let migrate = [
        "MIGRATE",
        "127.0.0.1",
        &port,
        "",
        "0",
        "5000",
        "KEYS",
        "{foo}1",
        "{foo}3",
        "{foo}9",
    ];
    assert_eq!(at_source.command(&migrate), Reply::ok());
    // What is still there is answered, what is gone is asked for elsewhere.
    assert_eq!(at_source.command(&["GET", "{foo}2"]), Reply::bulk("v"));
    let asked = redirection(at_source.command(&["GET", "{foo}1"]));
    assert_eq!(asked, ("ASK".into(), "12182".into(), target.place()));
    let both = at_source.command(&["MGET", "{foo}1", "{foo}2"]);
    assert_eq!(both.error_code(), Some("TRYAGAIN"));
    let mut at_target = target.server.client();
    assert_eq!(
        redirection(at_target.command(&["GET", "{foo}1"])).0,
        "MOVED"
    );
    assert_eq!(at_target.command(&["ASKING"]), Reply::ok());
    assert_eq!(at_target.command(&["GET", "{foo}1"]), Reply::bulk("v"));
    assert_eq!(
        redirection(at_target.command(&["GET", "{foo}1"])).0,
        "MOVED"
    );

    let refused = error_of(source.ask(&["CLUSTER", "SETSLOT", "12182", "NODE", &to]));
    assert!(refused.contains("while I still hold keys"), "{refused}");
    let rest = ["MIGRATE", "127.0.0.1", &port, "{foo}2", "0", "5000"];
    assert_eq!(at_source.command(&rest), Reply::ok());
    for node in [target, source] {
        let give = ["CLUSTER", "SETSLOT", "12182", "NODE", &to];
        assert_eq!(node.ask(&give), Reply::ok());
    }
    let moved = redirection(at_source.command(&["GET", "{foo}2"]));
    assert_eq!(moved, ("MOVED".into(), "12182".into(), target.place()));
    let count = ["CLUSTER", "COUNTKEYSINSLOT", "12182"];
    assert_eq!(target.ask(&count), Reply::Integer(3));
    assert_eq!(source.ask(&count), Reply::Integer(0));
    let Reply::Integer(ttl) = at_target.command(&["PTTL", "{foo}3"]) else {
        panic!("no time to live");
    };
    assert!((1..=100_000).contains(&ttl), "{ttl}");
    eventually("the third node knows the new owner", || {
        redirection(nodes[1].ask(&["GET", "foo"])).2 == target.place()
    });
}

#[test]
fn a_dead_node_is_missed_and_comes_back_as_itself() {
    let mut nodes = [0; 3].map(|_| Node::start(None, &[]));
    join(&nodes);
    assert_eq!(nodes[2].ask(&["SET", "foo", "kept"]), Reply::ok());
    let on_disk = Reply::Array(vec![Reply::Integer(1), Reply::Integer(0)]);
    assert_eq!(nodes[2].ask(&["WAITAOF", "1", "0", "0"]), on_disk);
    let id = nodes[2].id();
    nodes[2].server.kill();
    eventually("the others find the cluster down", || {
        !nodes[0].is_up() && !nodes[1].is_up()
    });
    let refused = nodes[0].ask(&["SET", "hello", "x"]);
    assert_eq!(error_of(refused), "CLUSTERDOWN The cluster is down");
    let write = ["EVAL", "return redis.call('set', 'hello', 'x')", "0"];
    let in_script = |expected: &str| {
        let refusal = error_of(nodes[0].ask(&write));
        let expected = format!("ERR Can not execute a {expected} script: ");
        assert!(refusal.starts_with(&expected), "{refusal}");
    };
    in_script("command 'set' while the cluster is down");
    let reads = ["CONFIG", "SET", "cluster-allow-reads-when-down", "yes"];
    assert_eq!(nodes[0].ask(&reads), Reply::ok());
    in_script("write command 'set' while the cluster is down and readonly");
    let line = |node: &Node| {
        let nodes = node.text(&["CLUSTER", "NODES"]);
        let line = nodes.lines().find(|line| line.starts_with(&id));
        line.unwrap_or_default().to_owned()
    };
    assert!(line(&nodes[0]).contains("fail"), "{}", line(&nodes[0]));
    nodes[2].server.restart();
    assert_eq!(nodes[2].id(), id);
    eventually("the cluster is up again", || nodes.iter().all(Node::is_up));
    assert_eq!(nodes[2].ask(&["GET", "foo"]), Reply::bulk("kept"));
}

#[test]
fn orders_that_can_not_be_carried_out_are_refused() {
    let node = Node::start(None, &[]);
    let refusal = |words: &[&str]| error_of(node.ask(words));
    assert_eq!(node.ask(&["CLUSTER", "ADDSLOTS", "1", "2"]), Reply::ok());
    let cases = [
        (vec!["ADDSLOTS", "2"], "ERR Slot 2 is already busy"),
        (
            vec!["ADDSLOTS", "5", "5"],
            "ERR Slot 5 specified multiple times",
        ),
        (vec!["DELSLOTS", "3"], "ERR Slot 3 is already unassigned"),
        (
            vec!["ADDSLOTS", "16384"],
            "ERR Invalid or out of range slot",
        ),
        (vec!["FORGET", "abc"], "ERR Unknown node abc"),
        (
            vec!["MEET", "nowhere", "1"],
            "ERR Invalid node address specified: nowhere:1",
        ),
        (
            vec!["FAILOVER"],
            "ERR You should send CLUSTER FAILOVER to a replica",
        ),
        (vec!["SETSLOT", "9", "NODE", "x"], "ERR Unknown node x"),
        (vec!["COUNTKEYSINSLOT", "-1"], "ERR Invalid slot"),
    ];
    for (words, text) in cases {
        let words: Vec<&str> = std::iter::once("CLUSTER").chain(words).collect();
        assert_eq!(refusal(&words), text, "{words:?}");
    }
    let id = node.id();
    let forget = ["CLUSTER", "FORGET", &id];
    assert_eq!(
        refusal(&forget),
        "ERR I tried hard but I can't forget myself..."
    );
    // Nothing of all that changed anything.
    let info = node.text(&["CLUSTER", "INFO"]);
    assert!(info.contains("cluster_slots_assigned:2\r\n"), "{info}");
    let plain = Server::start(&[]);
    let reply = plain.client().command(&["CLUSTER", "INFO"]);
    assert_eq!(
        error_of(reply),
        "ERR This instance has cluster support disabled"
    );
}

#[test]
fn shard_channels_end_when_their_slot_moves_away() {
    let nodes = [0; 2].map(|_| Node::start(None, &[]));
    join(&nodes);
    let words = |reply: Reply| match reply {
        Reply::Array(words) => words,
        other => panic!("no array: {other:?}"),
    };
    let mut client = nodes[0].server.client();
    let joined = words(client.command(&["SSUBSCRIBE", "hello"]));
    assert_eq!(joined[2], Reply::Integer(1));
    let give = ["CLUSTER", "SETSLOT", "866", "NODE", &nodes[1].id()];
    assert_eq!(nodes[0].ask(&give), Reply::ok());
    let ended = words(client.read());
    assert_eq!(ended[0], Reply::bulk("sunsubscribe"));
    assert_eq!(ended[1..], [Reply::bulk("hello"), Reply::Integer(0)]);
    // It is an ordinary client again, and may listen to another channel.
    assert_eq!(client.command(&["GET", "bar"]), Reply::Null);
    let joined = words(client.command(&["SSUBSCRIBE", "bar"]));
    assert_eq!(joined[2], Reply::Integer(1));
}

#[test]
fn scripts_use_keys_of_this_node_only() {
    let nodes = [0; 2].map(|_| Node::start(None, &[]));
    join(&nodes);
    let eval = |text: &str| error_of(nodes[0].ask(&["EVAL", text, "0"]));
    let foreign = "ERR Attempted to access a non local key in a cluster node";
    assert!(eval("return redis.call('set', 'foo', 1)").starts_with(foreign));
    let two = "redis.call('set', 'hello', 1) return redis.call('set', 'bar', 1)";
    let crossing = "ERR Script attempted to access keys that do not hash to the same slot";
    assert!(eval(&format!("#!lua\n{two}")).starts_with(crossing));
    // Old scripts may use several slots, as long as they are here.
    assert_eq!(nodes[0].ask(&["EVAL", two, "0"]), Reply::ok());
    let never = eval("#!lua flags=no-cluster\nreturn 1");
    assert!(
        never.starts_with("ERR Can not run script on cluster"),
        "{never}"
    );
}

#[test]
fn sort_looks_for_no_keys_of_other_slots() {
    let node = Node::start(None, &[]);
    join(std::slice::from_ref(&node));
    let mut client = node.server.client();
    client.command(&["RPUSH", "l", "1", "2"]);
    client.command(&["MSET", "{l}w_1", "9", "{l}w_2", "8"]);
    let list = |items: [&str; 2]| Reply::Array(items.map(Reply::bulk).to_vec());
    for (line, expected) in [
        ("SORT l BY {l}w_*", ["2", "1"]),
        ("SORT_RO l BY {l}w_* GET {l}w_*", ["8", "9"]),
        ("SORT l BY w_1", ["1", "2"]),
        ("SORT l BY nosort GET #", ["1", "2"]),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(client.command(&words), list(expected), "{line}");
    }
    let denied = |option| {
        format!(
            "ERR {option} option of SORT denied in Cluster mode when keys formed by the \
             pattern may be in different slots."
        )
    };
    for (line, option) in [
        ("SORT l BY w_*", "BY"),
        ("SORT l BY w_*{l}", "BY"),
        ("SORT none BY {x}w_* NONSENSE", "BY"),
        ("SORT_RO l GET w_*", "GET"),
        ("SORT l BY nosort GET # GET w_1", "GET"),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(error_of(client.command(&words)), denied(option), "{line}");
    }
    let script = "return redis.call('SORT', KEYS[1], 'BY', 'w_*')";
    let refused = error_of(client.command(&["EVAL", script, "1", "l"]));
    assert!(refused.starts_with(&denied("BY")), "{refused}");
}

#[test]
fn a_real_redis_meets_our_nodes_and_takes_a_slot() {
    if std::process::Command::new("redis-server")
        .arg("--version")
        .output()
        .is_err()
    {
        println!("skipped: there is no redis-server to meet");
        return;
    }
    let nodes = [
        Node::start(None, &[]),
        Node::start(None, &[]),
        Node::start(Some(Peer::Redis), &["--save", ""]),
    ];
    join(&nodes);
    assert_eq!(nodes[2].ask(&["SET", "foo", "1"]), Reply::ok());
    assert_eq!(
        redirection(nodes[0].ask(&["GET", "foo"])).2,
        nodes[2].place()
    );
    assert_eq!(
        redirection(nodes[2].ask(&["GET", "hello"])).2,
        nodes[0].place()
    );
    // A slot of ours moves there with its key.
    assert_eq!(nodes[0].ask(&["SET", "hello", "world"]), Reply::ok());
    let (from, to) = (nodes[0].id(), nodes[2].id());
    let importing = ["CLUSTER", "SETSLOT", "866", "IMPORTING", &from];
    assert_eq!(nodes[2].ask(&importing), Reply::ok());
    let migrating = ["CLUSTER", "SETSLOT", "866", "MIGRATING", &to];
    assert_eq!(nodes[0].ask(&migrating), Reply::ok());
    let port = nodes[2].server.port().to_string();
    let migrate = ["MIGRATE", "127.0.0.1", &port, "hello", "0", "5000"];
    assert_eq!(nodes[0].ask(&migrate), Reply::ok());
    for node in [&nodes[2], &nodes[0]] {
        let give = ["CLUSTER", "SETSLOT", "866", "NODE", &to];
        assert_eq!(node.ask(&give), Reply::ok());
    }
    assert_eq!(nodes[2].ask(&["GET", "hello"]), Reply::bulk("world"));
    eventually("everyone knows the new owner", || {
        redirection(nodes[1].ask(&["GET", "hello"])).2 == nodes[2].place()
    });
}

#[test]
fn a_replica_takes_over_from_a_dead_primary_which_comes_back_as_its_replica() {
    let mut nodes = [0; 3].map(|_| Node::start(None, &[]));
    join(&nodes);
    let old = nodes[2].id();
    let replica = replica_of(&nodes, 2, &[]);
    assert_eq!(nodes[2].ask(&["SET", "foo", "kept"]), Reply::ok());
    let copied = |node: &Node| {
        let mut client = node.server.client();
        client.command(&["READONLY"]);
        client.command(&["GET", "foo"]) == Reply::bulk("kept")
    };
    eventually("the key is copied", || copied(&replica));
    // Without READONLY a replica sends its clients to the primary.
    assert_eq!(
        redirection(replica.ask(&["GET", "foo"])).2,
        nodes[2].place()
    );
    nodes[2].server.kill();
    eventually("the replica serves the slots", || {
        replica.ask(&["GET", "foo"]) == Reply::bulk("kept")
    });
    nodes[2].server.restart();
    assert_eq!(nodes[2].id(), old);
    eventually("the old primary follows the new one", || {
        nodes[2]
            .text(&["INFO", "replication"])
            .contains("master_link_status:up")
            && copied(&nodes[2])
    });
    // And takes over again when asked to, with nothing lost.
    assert_eq!(replica.ask(&["SET", "foo", "newer"]), Reply::ok());
    let is_replica = |node: &Node| {
        let nodes = node.text(&["CLUSTER", "NODES"]);
        let line = nodes.lines().find(|line| line.starts_with(&old));
        line.is_some_and(|line| line.contains("slave") && !line.contains("fail"))
    };
    eventually("everyone knows it as a replica", || {
        is_replica(&nodes[0]) && is_replica(&nodes[1]) && is_replica(&replica)
    });
    eventually("it may be asked", || {
        nodes[2].ask(&["CLUSTER", "FAILOVER"]) == Reply::ok()
    });
    eventually("the slots are handed back", || {
        nodes[2].ask(&["GET", "foo"]) == Reply::bulk("newer")
    });
    eventually("all agree", || {
        redirection(nodes[0].ask(&["GET", "foo"])).2 == nodes[2].place()
    });
}

/// Counts up a key until the node refuses; the last count acknowledged.
fn count_up(mut client: Client, key: &str, until: Instant) -> i64 {
    let mut acknowledged = 0;
    while let Reply::Integer(count) = client.command(&["INCR", key]) {
        assert!(Instant::now() < until, "the node goes on taking writes");
        acknowledged = count;
    }
    acknowledged
}

#[test]
fn a_manual_failover_loses_nothing_to_a_client_that_unpauses() {
    let nodes = [0; 3].map(|_| Node::start(None, &[]));
    join(&nodes);
    let replica = replica_of(&nodes, 2, &[]);
    let old = &nodes[2].server;
    let until = Instant::now() + Duration::from_secs(60);
    let acknowledged: Vec<i64> = std::thread::scope(|scope| {
        let (mut admin, clients) = (old.client(), [0; 3].map(|_| old.client()));
        scope.spawn(move || {
            let batch = encode(&["CLIENT", "UNPAUSE"]).repeat(100);
            let leads = |role| match role {
                Reply::Array(words) => words[0] == Reply::bulk("master"),
                other => panic!("{other:?}"),
            };
            while Instant::now() < until && leads(admin.command(&["ROLE"])) {
                let replies = admin.pipeline(&batch, 100);
                assert!(replies.iter().all(|reply| *reply == Reply::ok()));
            }
        });
        let count =
            |(n, client)| scope.spawn(move || count_up(client, &format!("{{foo}}{n}"), until));
        let writers: Vec<_> = clients.into_iter().enumerate().map(count).collect();
        eventually("all write", || {
            (0..3).all(|n| nodes[2].ask(&["GET", &format!("{{foo}}{n}")]) != Reply::Null)
        });
        eventually("the primary hears of the failover", || {
            let is_begun = || {
                let text = nodes[2].text(&["INFO"]);
                !text.contains("paused_reason:none") || text.contains("role:slave")
            };
            is_begun() || (replica.ask(&["CLUSTER", "FAILOVER"]) == Reply::ok() && is_begun())
        });
        let ended = writers.into_iter().map(|writer| writer.join());
        ended.map(|count| count.expect("the writer ends")).collect()
    });
    for (n, acknowledged) in acknowledged.into_iter().enumerate() {
        let count = replica.ask(&["GET", &format!("{{foo}}{n}")]).text();
        let count: Option<i64> = count.and_then(|text| text.parse().ok());
        assert!(count >= Some(acknowledged), "{count:?}, {acknowledged}");
    }
}

/// Writes to a node until it has taken a hundred; the codes of its refusals.
fn refusals_of(mut client: Client) -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    let mut taken = 0;
    let until = Instant::now() + Duration::from_secs(60);
    while taken < 100 {
        assert!(Instant::now() < until, "it takes nothing");
        match client.command(&["INCR", "foo"]) {
            Reply::Integer(_) => taken += 1,
            refusal => {
                codes.insert(refusal.error_code().expect("an error").to_owned());
            }
        }
    }
    codes
}

#[test]
fn a_node_that_takes_over_does_not_call_itself_a_replica() {
    let nodes = [0; 3].map(|_| Node::start(None, &[]));
    join(&nodes);
    let replica = replica_of(&nodes, 2, &[]);
    for round in 0..6 {
        let next = if round % 2 == 0 { &replica } else { &nodes[2] };
        eventually("it has all", || {
            let text = next.text(&["INFO", "replication"]);
            text.contains("master_link_status:up")
        });
        std::thread::scope(|scope| {
            let clients = [0; 2].map(|_| next.server.client());
            let writers = clients.map(|client| scope.spawn(|| refusals_of(client)));
            eventually("it is asked", || {
                next.ask(&["CLUSTER", "FAILOVER"]) == Reply::ok()
            });
            for writer in writers {
                let codes = writer.join().expect("it takes over");
                assert!(codes.iter().all(|code| code == "MOVED"), "{codes:?}");
            }
        });
    }
}

/// Runs scripts on a node until it is over; what it refused them with.
fn refusals_of_scripts(mut client: Client, over: &AtomicBool) -> BTreeSet<String> {
    let script = "return redis.call('INCR', KEYS[1])";
    let batch = encode(&["EVAL", script, "1", "foo"]).repeat(20);
    let mut refusals = BTreeSet::new();
    let until = Instant::now() + Duration::from_secs(60);
    while !over.load(Ordering::Relaxed) && Instant::now() < until {
        for reply in client.pipeline(&batch, 20) {
            if reply.error_code().is_some() {
                refusals.insert(error_of(reply));
            }
        }
    }
    refusals
}

#[test]
fn a_script_sends_nobody_elsewhere_in_words_that_clients_can_not_read() {
    let nodes = [0; 3].map(|_| Node::start(None, &[]));
    join(&nodes);
    let replica = replica_of(&nodes, 2, &[]);
    let over = AtomicBool::new(false);
    let refusals: BTreeSet<String> = std::thread::scope(|scope| {
        let both = [&replica, &nodes[2]].map(|node| node.server.client());
        let told = both.map(|client| scope.spawn(|| refusals_of_scripts(client, &over)));
        for round in 0..10 {
            let next = if round % 2 == 0 { &replica } else { &nodes[2] };
            eventually("it leads", || {
                let text = next.text(&["INFO", "replication"]);
                if text.contains("master_link_status:up") {
                    next.ask(&["CLUSTER", "FAILOVER"]);
                }
                text.contains("role:master")
            });
        }
        over.store(true, Ordering::Relaxed);
        let told = told.into_iter().map(|thread| thread.join());
        told.flat_map(|told| told.expect("it is told")).collect()
    });
    let mut moved = refusals.iter().filter(|text| text.starts_with("MOVED "));
    assert!(moved.clone().next().is_some());
    assert!(
        moved.all(|text| text.split(' ').count() == 3),
        "{refusals:?}"
    );
}

#[test]
fn nodes_tell_each_other_of_their_availability_zones() {
    let zone = |zone| ["--availability-zone", zone];
    let mut nodes = vec![Node::start(None, &zone("zone-a")), Node::start(None, &[])];
    if std::env::var_os("VALKEY_SERVER").is_some() {
        nodes.push(Node::start(Some(Peer::Valkey), &zone("zone-v")));
    }
    join(&nodes);
    let shown = |node: &Node| {
        let texts = ["SLOTS", "SHARDS"].map(|word| format!("{:?}", node.ask(&["CLUSTER", word])));
        let zones = ["zone-a", "zone-b", "zone-v", "two words"];
        let zones = zones.map(|zone| format!("{:?}", Reply::bulk(zone)));
        texts.map(|text| [0, 1, 2, 3].map(|at| text.contains(&zones[at])))
    };
    let with_valkey = nodes.len() == 3;
    let all_show = |nodes: &[Node], zones| {
        eventually("all show the zones", || {
            nodes.iter().all(|node| shown(node) == [zones; 2])
        });
    };
    // One that a line of nodes.conf can't hold is not told.
    for (zone, seen) in [("two words", false), ("zone-b", true)] {
        let set = ["CONFIG", "SET", "availability-zone", zone];
        assert_eq!(nodes[1].ask(&set), Reply::ok());
        all_show(&nodes, [true, seen, with_valkey, false]);
    }
    // What others told is kept.
    nodes[1].server.terminate();
    nodes[0].server.terminate();
    nodes[1].server.restart();
    assert!(shown(&nodes[1])[1][0]);
}

#[test]
fn a_replica_that_is_reset_softly_leaves_its_shard() {
    let nodes = [Node::start(None, &[])];
    join(&nodes);
    let replica = replica_of(&nodes, 0, &[]);
    let shard = |node: &Node| node.text(&["CLUSTER", "MYSHARDID"]);
    assert_eq!(shard(&replica), shard(&nodes[0]));
    assert_eq!(replica.ask(&["CLUSTER", "RESET", "SOFT"]), Reply::ok());
    assert_ne!(shard(&replica), shard(&nodes[0]));
}

#[test]
fn nobody_but_the_cluster_says_whom_a_node_follows() {
    let mut nodes = [0; 3].map(|_| Node::start(None, &[]));
    join(&nodes);
    let replica = replica_of(&nodes, 2, &[]);
    let refusal = "ERR FAILOVER not allowed in cluster mode. Use CLUSTER FAILOVER command instead.";
    for words in [&["FAILOVER"][..], &["FAILOVER", "ABORT"]] {
        assert_eq!(error_of(nodes[2].ask(words)), refusal);
    }
    let text = replica.text(&["INFO", "replication"]);
    let mut id = text
        .lines()
        .filter_map(|line| line.strip_prefix("master_replid:"));
    let id = id.next().expect("a replication id");
    let refused = error_of(replica.ask(&["PSYNC", id, "1", "FAILOVER"]));
    assert!(refused.contains("not allowed in cluster mode"), "{refused}");
    assert!(
        replica
            .text(&["INFO", "replication"])
            .contains("role:slave")
    );
    nodes[0].server.kill();
    let follow = ["--replicaof", "127.0.0.1 1"];
    let refused = nodes[0].server.restart_refused_with(&follow);
    let why = "replicaof directive not allowed in cluster mode";
    assert!(refused.contains(why), "{refused}");
}

/// A shard's replica and primary end, the replica with what it has.
fn restart_without_its_primary(nodes: &mut [Node], replica: &mut Node) {
    replica.server.terminate();
    nodes[2].server.kill();
    replica.server.restart();
}

#[test]
fn a_replica_that_starts_while_its_primary_is_dead_takes_over_with_a_whole_copy() {
    let ever = ["--cluster-replica-validity-factor", "0"];
    let mut nodes = [0; 3].map(|_| Node::start(None, &[]));
    join(&nodes);
    let mut replica = replica_of(&nodes, 2, &ever);
    assert_eq!(nodes[2].ask(&["SET", "foo", "kept"]), Reply::ok());
    assert_eq!(nodes[2].ask(&["WAIT", "1", "30000"]), Reply::Integer(1));
    restart_without_its_primary(&mut nodes, &mut replica);
    eventually("the replica serves the slots", || {
        replica.ask(&["GET", "foo"]) == Reply::bulk("kept")
    });
}

/// Gives a replica that has started without its primary the time of several
/// elections, by its own clock; whether it has followed all along.
fn keeps_following(replica: &Node, other: &Node) -> bool {
    eventually("its primary is known to have failed", || {
        replica.text(&["CLUSTER", "NODES"]).contains("fail ")
    });
    let other = other.id();
    let heard_ms = || -> u64 {
        let known = replica.text(&["CLUSTER", "NODES"]);
        let mut line = known.lines().filter(|line| line.starts_with(&other));
        let field = line.next().and_then(|line| line.split(' ').nth(5));
        field.expect("a time").parse().expect("a number")
    };
    let before_ms = heard_ms();
    eventually("time goes by", || heard_ms() >= before_ms + 6000);
    let text = replica.text(&["INFO", "replication"]);
    text.contains("role:slave")
}

#[test]
fn a_replica_that_starts_with_an_old_copy_does_not_take_over() {
    let mut nodes = [0; 3].map(|_| Node::start(None, &[]));
    join(&nodes);
    let limited = ["--cluster-replica-validity-factor", "10"];
    let mut replica = replica_of(&nodes, 2, &limited);
    restart_without_its_primary(&mut nodes, &mut replica);
    assert!(keeps_following(&replica, &nodes[0]));
}

#[test]
fn a_replica_that_starts_without_a_whole_copy_does_not_take_over() {
    let mut nodes = [0; 3].map(|_| Node::start(None, &[]));
    join(&nodes);
    let mut replica = Node::start(None, &["--cluster-replica-validity-factor", "0"]);
    introduce(&nodes[0], &replica);
    let primary = nodes[2].id();
    let linked = |line: &str| line.starts_with(&primary) && line.contains(" connected");
    eventually("the new node is linked to the one it is to follow", || {
        let known = replica.text(&["CLUSTER", "NODES"]);
        known.lines().any(linked)
    });
    // Its full sync does not come.
    nodes[2].server.signal(libc::SIGSTOP);
    let replicate = ["CLUSTER", "REPLICATE", &primary];
    assert_eq!(replica.ask(&replicate), Reply::ok());
    restart_without_its_primary(&mut nodes, &mut replica);
    assert!(keeps_following(&replica, &nodes[0]));
}

/// The primary of a replica refuses it from now on.
fn refuse(nodes: &[Node], replica: &Node) {
    let mut primary = nodes[2].server.client();
    let close = ["CONFIG", "SET", "requirepass", "secret"];
    assert_eq!(primary.command(&close), Reply::ok());
    assert_eq!(primary.command(&["AUTH", "secret"]), Reply::ok());
    primary.command(&["CLIENT", "KILL", "TYPE", "replica"]);
    assert_eq!(primary.command(&["SET", "foo", "newer"]), Reply::ok());
    eventually("the replica has lost its link", || {
        let text = replica.text(&["INFO", "replication"]);
        text.contains("master_link_status:down")
    });
}

#[test]
fn a_replica_whose_primary_has_refused_it_for_long_does_not_take_over() {
    let mut nodes = [0; 3].map(|_| Node::start(None, &[]));
    join(&nodes);
    let limited = [
        "--cluster-replica-validity-factor",
        "1",
        "--repl-ping-replica-period",
        "1",
    ];
    let replica = replica_of(&nodes, 2, &limited);
    refuse(&nodes, &replica);
    // A ping's period, the timeout once for the factor and once for its failure.
    eventually("its data is too old", || {
        let text = replica.text(&["INFO", "replication"]);
        let mut fields = text.lines();
        let down_s = fields.find_map(|l| l.strip_prefix("master_link_down_since_seconds:"));
        let down_s = down_s.and_then(|down_s| down_s.trim().parse::<u64>().ok());
        down_s.is_some_and(|down_s| down_s > 8)
    });
    nodes[2].server.kill();
    assert!(keeps_following(&replica, &nodes[0]));
}

#[test]
fn a_replica_that_starts_with_an_old_copy_and_is_refused_does_not_take_over() {
    let mut nodes = [0; 3].map(|_| Node::start(None, &[]));
    join(&nodes);
    let limited = ["--cluster-replica-validity-factor", "10"];
    let mut replica = replica_of(&nodes, 2, &limited);
    refuse(&nodes, &replica);
    let mut primary = nodes[2].server.client();
    assert_eq!(primary.command(&["AUTH", "secret"]), Reply::ok());
    replica.server.terminate();
    assert_eq!(primary.command(&["CONFIG", "RESETSTAT"]), Reply::ok());
    replica.server.restart();
    eventually("it has been refused", || {
        let errors = primary.command(&["INFO", "errorstats"]);
        errors.text().is_some_and(|text| text.contains("NOAUTH"))
    });
    nodes[2].server.kill();
    assert!(keeps_following(&replica, &nodes[0]));
}
