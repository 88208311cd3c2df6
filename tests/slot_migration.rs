//! Atomic slot migration between real processes: under writes, against real
//! Valkey nodes, ended half way; CLUSTERSCAN and shard channels across a move.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use support::cluster::{Node, join};
use support::moves::{Between, Mover};
use support::{Client, Peer, Reply, encode, eventually};

/// The tag of slot 3300, which the first of two nodes or more has.
const TAG: &str = "{b}";
const SLOT: &str = "3300";

fn text(reply: &Reply) -> String {
    reply
        .text()
        .unwrap_or_else(|| panic!("{reply:?} is no text"))
}

fn error_of(reply: Reply) -> String {
    match reply {
        Reply::Error(text) => text,
        other => panic!("no error: {other:?}"),
    }
}

fn pair() -> Vec<Node> {
    let nodes = vec![Node::start(None, &[]), Node::start(None, &[])];
    join(&nodes);
    nodes
}

/// Counts a key up until told to stop, following redirections; gives the count.
fn count_up(key: String, mut port: u16, over: &AtomicBool) -> Result<i64, String> {
    let mut client = Client::connect(port).map_err(|e| e.to_string())?;
    let mut count = 0;
    while !over.load(Ordering::Relaxed) {
        match client.command(&["INCR", &key]) {
            Reply::Integer(number) if number == count + 1 => count = number,
            Reply::Integer(number) => return Err(format!("{key}: {number} behind {count}")),
            Reply::Error(text) if text.starts_with("MOVED ") => {
                let place = text.rsplit(':').next().unwrap_or_default();
                port = place.parse().map_err(|_| text.clone())?;
                client = Client::connect(port).map_err(|e| e.to_string())?;
            }
            other => return Err(format!("{key}: {other:?}")),
        }
    }
    Ok(count)
}

fn last_word(message: Reply) -> Reply {
    match message {
        Reply::Array(mut words) => words.pop().expect("it has words"),
        other => panic!("no message: {other:?}"),
    }
}

#[test]
fn a_slot_moves_under_writes_and_back_and_nobody_sees_more_than_moved() {
    let nodes = pair();
    let mut client = nodes[0].server.client();
    for number in 0..2000 {
        let (key, value) = (format!("key{number}{TAG}"), number.to_string());
        client.command(&["SET", &key, &value]);
    }
    client.command(&["RPUSH", &format!("list{TAG}"), "a", "b"]);
    client.command(&["SET", &format!("mortal{TAG}"), "x", "PX", "100000000"]);
    let over = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4)
        .map(|n| {
            let (over, port) = (over.clone(), nodes[0].server.port());
            std::thread::spawn(move || count_up(format!("count{n}{TAG}"), port, &over))
        })
        .collect();
    let mut blocked = nodes[0].server.client();
    blocked.send(&encode(&["BLPOP", &format!("later{TAG}"), "0"]));
    // Nobody is told that keys which have moved were deleted.
    let mut deletions = nodes[0].server.client();
    let events = ["CONFIG", "SET", "notify-keyspace-events", "Eg"];
    assert_eq!(deletions.command(&events), Reply::ok());
    deletions.command(&["SUBSCRIBE", "__keyevent@0__:del", "end"]);
    deletions.read();
    for round in 0..4 {
        let (from, to) = (&nodes[round % 2], &nodes[(round + 1) % 2]);
        from.migrate(SLOT, to);
        eventually("the slot has moved", || {
            to.owns(SLOT) && from.states()[0] == "success" && to.states()[0] == "success"
        });
        eventually("the source has dropped the keys", || {
            from.ask(&["CLUSTER", "COUNTKEYSINSLOT", SLOT]) == Reply::Integer(0)
        });
        assert_eq!(from.ask(&["DBSIZE"]), Reply::Integer(0));
    }
    over.store(true, Ordering::Relaxed);
    let owner = &nodes[0];
    owner.ask(&["PUBLISH", "end", "of it"]);
    assert_eq!(text(&last_word(deletions.read())), "of it");
    for (n, writer) in writers.into_iter().enumerate() {
        let count = writer.join().expect("it ends").expect("only MOVED is met");
        let value = owner.ask(&["GET", &format!("count{n}{TAG}")]);
        assert_eq!(value, Reply::bulk(count.to_string()));
        assert!(count > 0);
    }
    assert!(error_of(blocked.read()).starts_with("MOVED 3300 "));
    assert_eq!(owner.ask(&["DBSIZE"]), Reply::Integer(2000 + 2 + 4));
    for number in (0..2000).step_by(97) {
        let value = owner.ask(&["GET", &format!("key{number}{TAG}")]);
        assert_eq!(value, Reply::bulk(number.to_string()));
    }
    let list = owner.ask(&["LRANGE", &format!("list{TAG}"), "0", "-1"]);
    assert_eq!(list, Reply::Array(vec![Reply::bulk("a"), Reply::bulk("b")]));
    let Reply::Integer(ttl) = owner.ask(&["TTL", &format!("mortal{TAG}")]) else {
        panic!("no number");
    };
    assert!((90_000..=100_000).contains(&ttl), "{ttl}");
}

#[test]
fn slots_move_from_a_real_valkey_and_back() {
    let nodes = vec![
        Node::start(Some(Peer::Valkey), &["--save", ""]),
        Node::start(None, &[]),
        Node::start(Some(Peer::Valkey), &["--save", ""]),
    ];
    join(&nodes);
    let key = |name: &str| format!("{name}{TAG}");
    let valkey = &nodes[0];
    valkey.ask(&["SET", &key("string"), "v", "PX", "100000000"]);
    valkey.ask(&["HSET", &key("hash"), "a", "1", "b", "2"]);
    valkey.ask(&["ZADD", &key("zset"), "1", "a", "2.5", "b"]);
    valkey.ask(&["SADD", &key("set"), "1", "2", "x"]);
    valkey.ask(&["XADD", &key("stream"), "1-1", "f", "v"]);
    valkey.ask(&["XGROUP", "CREATE", &key("stream"), "g", "0"]);
    let numbers: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    let list = key("list");
    let mut push = vec!["RPUSH", list.as_str()];
    push.extend(numbers.iter().map(String::as_str));
    valkey.ask(&push);
    let digests = |node: &Node| -> Vec<Reply> {
        let names = ["string", "hash", "zset", "set", "stream", "list"];
        let dump = |name: &&str| match *name {
            "string" => node.ask(&["GET", &key(name)]),
            "hash" => node.ask(&["HMGET", &key(name), "a", "b"]),
            "zset" => node.ask(&["ZRANGE", &key(name), "0", "-1", "WITHSCORES"]),
            "set" => node.ask(&["SMISMEMBER", &key(name), "1", "2", "x", "y"]),
            "stream" => node.ask(&["XREADGROUP", "GROUP", "g", "c", "STREAMS", &key(name), "0"]),
            _ => node.ask(&["LRANGE", &key(name), "0", "-1"]),
        };
        names.iter().map(dump).collect()
    };
    let before = digests(valkey);
    valkey.migrate(SLOT, &nodes[1]);
    eventually("Redoubt has taken the slot", || nodes[1].owns(SLOT));
    assert_eq!(digests(&nodes[1]), before);
    nodes[1].migrate(SLOT, &nodes[2]);
    eventually("Valkey has taken the slot", || nodes[2].owns(SLOT));
    assert_eq!(digests(&nodes[2]), before);
    eventually("nothing is left here", || {
        nodes[1].ask(&["CLUSTER", "COUNTKEYSINSLOT", SLOT]) == Reply::Integer(0)
    });
}

/// Offers a slot as its source would, and sends some keys.
fn offer(source: &Node, target: &Node) -> Client {
    let mut link = target.server.client();
    let name = "0123456789abcdef0123456789abcdef01234567";
    let source = source.id();
    let words = ["CLUSTER", "SYNCSLOTS", "ESTABLISH", "SOURCE", &source];
    let mut establish = words.to_vec();
    establish.extend(["NAME", name, "SLOTSRANGE", SLOT, SLOT]);
    assert_eq!(link.command(&establish), Reply::ok());
    for number in 0..50 {
        link.send(&encode(&["SET", &format!("half{number}{TAG}"), "x"]));
    }
    // One that is due: it stays until its source says otherwise.
    let mortal = format!("mortal{TAG}");
    link.send(&encode(&["SET", &mortal, "x"]));
    link.send(&encode(&["PEXPIREAT", &mortal, "1000"]));
    let held = Reply::Integer(51);
    eventually("the keys are stored", || {
        target.ask(&["CLUSTER", "COUNTKEYSINSLOT", SLOT]) == held
    });
    link
}

#[test]
fn keys_that_are_being_imported_are_not_shown_and_go_when_the_source_is_lost() {
    let mut nodes = pair();
    let link = offer(&nodes[0], &nodes[1]);
    nodes[1].ask(&["SET", "{foo}own", "x"]);
    for (words, expected) in [
        (&["DBSIZE"][..], Reply::Integer(1)),
        (&["KEYS", "*"], Reply::Array(vec![Reply::bulk("{foo}own")])),
        (&["RANDOMKEY"], Reply::bulk("{foo}own")),
    ] {
        assert_eq!(nodes[1].ask(words), expected, "{words:?}");
    }
    let Reply::Array(parts) = nodes[1].ask(&["SCAN", "0", "COUNT", "1000"]) else {
        panic!("no array");
    };
    assert_eq!(parts[1], Reply::Array(vec![Reply::bulk("{foo}own")]));
    assert!(text(&nodes[1].ask(&["INFO", "keyspace"])).contains("db0:keys=1,"));
    let refused = error_of(nodes[1].ask(&["GET", &format!("half1{TAG}")]));
    assert!(refused.starts_with("MOVED 3300 "), "{refused}");
    drop(link);
    eventually("the keys are gone", || {
        nodes[1].ask(&["CLUSTER", "COUNTKEYSINSLOT", SLOT]) == Reply::Integer(0)
    });
    assert_eq!(nodes[1].states(), ["failed"]);
    // The same when the target is killed half way.
    let _link = offer(&nodes[0], &nodes[1]);
    nodes[1].ask(&["WAITAOF", "1", "0", "0"]);
    nodes[1].server.kill();
    nodes[1].server.restart();
    let count = nodes[1].ask(&["CLUSTER", "COUNTKEYSINSLOT", SLOT]);
    assert_eq!(count, Reply::Integer(0));
    assert_eq!(nodes[1].ask(&["DBSIZE"]), Reply::Integer(1));
    assert!(nodes[0].owns(SLOT));
}

#[test]
fn a_grant_that_was_not_asked_for_gives_nothing() {
    let nodes = pair();
    for (word, expected) in [("FAILOVER-GRANTED", "failed"), ("PAUSED", "failed")] {
        let mut link = offer(&nodes[0], &nodes[1]);
        link.send(&encode(&["CLUSTER", "SYNCSLOTS", word]));
        eventually("it is refused", || nodes[1].states()[0] == expected);
        assert!(nodes[0].owns(SLOT) && !nodes[1].owns(SLOT));
        eventually("the keys are gone", || {
            nodes[1].ask(&["CLUSTER", "COUNTKEYSINSLOT", SLOT]) == Reply::Integer(0)
        });
    }
}

/// Two nodes of which the second imports through what holds back that message
/// of the first, and which leave a test time for what it does meanwhile.
fn pair_that_stops_at(message: &'static str) -> (Between, [Node; 2]) {
    let patient = ["--cluster-manual-failover-timeout", "60000"];
    let between = Between::start(message);
    let announced = between.port.to_string();
    let told = [&patient[..], &["--cluster-announce-port", &announced]].concat();
    let nodes = [Node::start(None, &patient), Node::start(None, &told)];
    let port = nodes[1].server.port();
    between.target.store(port, Ordering::Relaxed);
    join(&nodes);
    (between, nodes)
}

#[test]
fn what_a_slot_that_is_handed_over_can_not_take_waits_for_the_end() {
    let (between, nodes) = pair_that_stops_at("FAILOVER-GRANTED");
    let key = format!("key{TAG}");
    assert_eq!(nodes[0].ask(&["SET", &key, "x"]), Reply::ok());
    assert_eq!(nodes[0].ask(&["SET", "other{c}", "x"]), Reply::ok());
    let mut exec = nodes[0].server.client();
    assert_eq!(exec.command(&["MULTI"]), Reply::ok());
    let queued = exec.command(&["SET", &key, "z"]);
    assert_eq!(queued, Reply::Simple("QUEUED".into()));
    nodes[0].migrate(SLOT, &nodes[1]);
    eventually("the slot is granted", || {
        between.held.load(Ordering::Relaxed)
    });
    let mut flush = nodes[0].server.client();
    flush.send(&encode(&["FLUSHALL"]));
    let mut set = nodes[0].server.client();
    set.send(&encode(&["SET", &key, "y"]));
    exec.send(&encode(&["EXEC"]));
    let mut flush_slot = nodes[0].server.client();
    flush_slot.send(&encode(&["CLUSTER", "FLUSHSLOT", SLOT]));
    // Another slot's keys may go.
    let other = ["CLUSTER", "FLUSHSLOT", "1"];
    assert_eq!(nodes[0].ask(&other), Reply::ok());
    eventually("all four wait", || {
        let clients = nodes[0].text(&["CLIENT", "LIST"]);
        eprintln!("{clients}");
        let flags = clients
            .split(' ')
            .filter(|field| field.starts_with("flags="));
        flags.filter(|flags| flags.contains('b')).count() == 4
    });
    assert_eq!(nodes[0].ask(&["GET", &key]), Reply::bulk("x"));
    between.free.store(true, Ordering::Relaxed);
    let moved = format!("MOVED 3300 127.0.0.1:{}", between.port);
    assert_eq!(error_of(set.read()), moved);
    assert!(error_of(exec.read()).starts_with("MOVED 3300 "));
    assert_eq!(flush.read(), Reply::ok());
    assert_eq!(flush_slot.read(), Reply::ok());
    // It came after the slot had gone.
    assert_eq!(nodes[1].ask(&["GET", &key]), Reply::bulk("x"));
    assert_eq!(nodes[0].ask(&["DBSIZE"]), Reply::Integer(0));
}

#[test]
fn a_script_that_writes_when_its_slot_is_to_be_handed_over_ends_first() {
    let (between, nodes) = pair_that_stops_at("SNAPSHOT-EOF");
    let key = format!("key{TAG}");
    assert_eq!(nodes[0].ask(&["SET", &key, "before"]), Reply::ok());
    nodes[0].migrate(SLOT, &nodes[1]);
    eventually("all but the hand-over is done", || {
        between.held.load(Ordering::Relaxed)
    });
    // It goes on for longer than it takes until writes are held back.
    let script = "
        local function now() local t = redis.call('TIME') return t[1] + t[2] / 1e6 end
        local stop = now() + 2
        repeat redis.call('SET', KEYS[1], 'half') until now() > stop
        redis.call('SET', KEYS[1], 'done')
        return 1";
    let mut eval = nodes[0].server.client();
    eval.send(&encode(&["EVAL", script, "1", &key]));
    eventually("the script is under way", || {
        nodes[0].text(&["CLIENT", "LIST"]).contains("flags=b")
    });
    between.free.store(true, Ordering::Relaxed);
    assert_eq!(eval.read(), Reply::Integer(1));
    eventually("the slot has moved", || nodes[1].owns(SLOT));
    assert_eq!(nodes[1].ask(&["GET", &key]), Reply::bulk("done"));
}

#[test]
fn orders_that_make_no_sense_are_refused_with_valkeys_words() {
    let nodes = pair();
    let other = nodes[1].id();
    let own = nodes[0].id();
    for (line, expected) in [
        ("slotsrange 0 0", "ERR syntax error"),
        ("slotsrange 0 node X", "ERR Invalid or out of range slot"),
        ("slotsrange 0 0 node xx", "ERR Invalid node name: xx"),
        (
            "slotsrange 0 0 node ME",
            "ERR Target node can not be this node.",
        ),
        (
            "slotsrange 5 3 node X",
            "ERR Start slot number 5 is greater than end slot number 3.",
        ),
        ("slotsrange a 3 node X", "ERR No slot ranges specified"),
        (
            "slotsrange 3 6 5 7 node X",
            "ERR Slot range 5-7 overlaps with previous range 3-6.",
        ),
        (
            "slotsrange 3 6 node X slotsrange 6 7 node X",
            "ERR Slot ranges in migrations overlap",
        ),
        (
            "slotsrange 9000 9001 node X",
            "ERR Slots are not served by this node.",
        ),
        (
            "slotsrange 8000 9001 node X",
            "ERR Requested slots span multiple shards",
        ),
        (
            "slotsrange 0 0 node X slotsrange 1",
            "ERR No end slot for final slot range",
        ),
    ] {
        let line = format!("cluster migrateslots {line}");
        let word = |word| match word {
            "X" => other.as_str(),
            "ME" => own.as_str(),
            word => word,
        };
        let words: Vec<&str> = line.split(' ').map(word).collect();
        assert_eq!(error_of(nodes[0].ask(&words)), expected, "{line}");
    }
    let cancel = nodes[0].ask(&["CLUSTER", "CANCELSLOTMIGRATIONS"]);
    assert_eq!(error_of(cancel), "ERR No migrations ongoing");
    let none = nodes[0].ask(&["CLUSTER", "GETSLOTMIGRATIONS"]);
    assert_eq!(none, Reply::Array(Vec::new()));
    let ack = nodes[0].ask(&["CLUSTER", "SYNCSLOTS", "ACK"]);
    assert_eq!(
        error_of(ack),
        "ERR CLUSTER SYNCSLOTS ACK should only be used by slot migration clients"
    );
}

#[test]
fn a_listener_to_a_shard_channel_is_told_when_its_slot_leaves() {
    let nodes = pair();
    let mut listener = nodes[0].server.client();
    let channel = format!("news{TAG}");
    listener.command(&["SSUBSCRIBE", &channel]);
    nodes[0].migrate(SLOT, &nodes[1]);
    let told = Reply::Array(vec![
        Reply::bulk("sunsubscribe"),
        Reply::bulk(&channel),
        Reply::Integer(0),
    ]);
    assert_eq!(listener.read(), told);
    // It is no subscriber any more.
    assert_eq!(listener.command(&["SET", "hello", "1"]).error_code(), None);
}

#[test]
fn clusterscan_walks_through_the_keys_of_all_nodes() {
    let nodes = pair();
    let mut expected = std::collections::BTreeSet::new();
    for number in 0..500 {
        let key = format!("key{number}");
        let set = |node: &Node| node.ask(&["SET", &key, "x"]) == Reply::ok();
        assert!(set(&nodes[0]) || set(&nodes[1]));
        expected.insert(key);
    }
    let (mut found, mut cursor) = (std::collections::BTreeSet::new(), "0".to_owned());
    let mut at = 0;
    loop {
        let reply = nodes[at].ask(&["CLUSTERSCAN", &cursor, "COUNT", "50"]);
        if reply.error_code() == Some("MOVED") {
            at = 1 - at;
            continue;
        }
        let Reply::Array(parts) = reply else {
            panic!("{reply:?}")
        };
        let Reply::Array(keys) = &parts[1] else {
            panic!("no keys")
        };
        found.extend(keys.iter().map(text));
        cursor = text(&parts[0]);
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(found, expected);
    for (words, error) in [
        (&["CLUSTERSCAN", "x"][..], "ERR Invalid cursor"),
        (
            &["CLUSTERSCAN", "0-{b}-0", "SLOT", "3"],
            "ERR Cursor slot mismatch with SLOT argument",
        ),
        (&["CLUSTERSCAN", "{b}"], "ERR Invalid cursor"),
        (
            &["CLUSTERSCAN", "{b}-0-1", "COUNT", "0"],
            "ERR syntax error",
        ),
    ] {
        let answers = nodes.iter().map(|node| error_of(node.ask(words)));
        let here: Vec<String> = answers.filter(|text| !text.starts_with("MOVED")).collect();
        assert_eq!(here, [error], "{words:?}");
    }
}

#[test]
fn clusterscan_passes_over_no_slot_that_is_open() {
    let nodes = pair();
    let (target, source) = (&nodes[0], &nodes[1]);
    let slot = "12182";
    for key in ["{foo}1", "{foo}2", "{foo}3"] {
        assert_eq!(source.ask(&["SET", key, "x"]), Reply::ok());
    }
    let (from, to) = (source.id(), target.id());
    let state = |node: &Node, words: &[&str]| {
        let order = [&["CLUSTER", "SETSLOT", slot], words].concat();
        assert_eq!(node.ask(&order), Reply::ok());
    };
    state(target, &["IMPORTING", &from]);
    state(source, &["MIGRATING", &to]);
    let port = target.server.port().to_string();
    let migrate = ["MIGRATE", "127.0.0.1", &port, "{foo}1", "0", "5000"];
    assert_eq!(source.ask(&migrate), Reply::ok());
    let page = |reply: Reply| {
        let Reply::Array(parts) = reply else {
            panic!("{reply:?}")
        };
        let Reply::Array(keys) = &parts[1] else {
            panic!("no keys")
        };
        let mut keys: Vec<String> = keys.iter().map(text).collect();
        keys.sort();
        (text(&parts[0]), keys)
    };
    let scan = |cursor: &str| source.ask(&["CLUSTERSCAN", cursor, "COUNT", "1000"]);
    // A tag of the slot before the one that is on the move.
    let before = (0..).map(|number| format!("0-{{{number}}}-0"));
    let slot_of = |word: &str| source.ask(&["CLUSTER", "KEYSLOT", word]);
    let before = before
        .into_iter()
        .find(|word| slot_of(word) == Reply::Integer(12181));
    let (cursor, keys) = page(scan(&before.expect("some tag")));
    assert_eq!((slot_of(&cursor), keys), (Reply::Integer(12182), vec![]));
    for cursor in [&cursor, "0-{foo}-0"] {
        let refused = error_of(scan(cursor));
        assert!(refused.starts_with("ASK 12182 "), "{refused}");
    }
    // There it begins with what has gone, and ends with it.
    let mut asking = target.server.client();
    assert_eq!(asking.command(&["ASKING"]), Reply::ok());
    let (next, keys) = page(asking.command(&["CLUSTERSCAN", &cursor]));
    assert_eq!(slot_of(&next), Reply::Integer(12183));
    assert_eq!(keys, ["{foo}1"]);
    state(source, &["STABLE"]);
    assert_eq!(page(scan(&cursor)).1, ["{foo}2", "{foo}3"]);
}
