//! What nodes of a cluster know of single slots: figures of CLUSTER SLOT-STATS,
//! and states of CLUSTER SETSLOT, which replicas have before their primary.

mod support;

use support::{Client, Reply, Server, encode, eventually};

const HALF: &str = "8191";
/// The slot of `foo`.
const FOO: &str = "12182";

/// Whether a line of CLUSTER NODES has the slot; an id may hold the same digits.
fn has_foo(line: &str) -> bool {
    line.split(' ').any(|word| word == FOO)
}

fn start() -> Server {
    let several = ["--cluster-databases", "2"];
    let node = ["--cluster-enabled", "yes", "--cluster-node-timeout", "5000"];
    Server::start(&[&node[..], &several].concat())
}

fn ask(server: &Server, words: &[&str]) -> Reply {
    server.client().command(words)
}

fn ask_ok(server: &Server, words: &[&str]) {
    assert_eq!(ask(server, words), Reply::ok(), "{words:?}");
}

fn text(server: &Server, words: &[&str]) -> String {
    let reply = ask(server, words);
    reply
        .text()
        .unwrap_or_else(|| panic!("{words:?}: {reply:?}"))
}

fn meet(from: &Server, to: &Server) {
    let port = to.port().to_string();
    ask_ok(from, &["CLUSTER", "MEET", "127.0.0.1", &port]);
}

/// What a node says of its slots on the move.
fn open_slots(server: &Server) -> Vec<String> {
    let nodes = text(server, &["CLUSTER", "NODES"]);
    let mine = nodes.lines().find(|line| line.contains("myself"));
    let words = mine.expect("it lists itself").split(' ');
    let open = words.filter(|word| word.starts_with('['));
    open.map(str::to_owned).collect()
}

/// Key count, time, bytes in and bytes out of the slot of `foo`.
fn figures(client: &mut Client) -> Option<[i64; 4]> {
    let reply = client.command(&["CLUSTER", "SLOT-STATS", "SLOTSRANGE", FOO, FOO]);
    let Reply::Array(rows) = reply else {
        panic!("{reply:?}")
    };
    let Some(Reply::Array(row)) = rows.first() else {
        return None;
    };
    let Reply::Array(pairs) = &row[1] else {
        panic!("{row:?}")
    };
    let value = |at: usize| match pairs.get(2 * at + 1) {
        Some(Reply::Integer(value)) => *value,
        _ => -1,
    };
    Some([value(0), value(1), value(2), value(3)])
}

#[test]
fn a_slot_is_told_what_its_commands_cost() {
    let server = start();
    let mut client = server.client();
    let add = ["CLUSTER", "ADDSLOTSRANGE", "0", "16383"];
    assert_eq!(client.command(&add), Reply::ok());
    eventually("the cluster is up", || {
        client.command(&["SET", "foo", "bar"]) == Reply::ok()
    });
    // Nothing is counted until it is asked for.
    assert_eq!(figures(&mut client), Some([1, -1, -1, -1]));
    let set = ["CONFIG", "SET", "cluster-slot-stats-enabled", "yes"];
    assert_eq!(client.command(&set), Reply::ok());
    assert_eq!(figures(&mut client), Some([1, 0, 0, 0]));

    // 22 bytes and 9 ($3 bar); as a pipeline too, which takes another way.
    let get = support::encode(&["GET", "foo"]);
    client.command(&["GET", "foo"]);
    client.pipeline(&get.repeat(9), 9);
    let [_, spent, bytes_in, bytes_out] = figures(&mut client).expect("it is ours");
    assert!(spent > 0);
    assert_eq!((bytes_in, bytes_out), (220, 90));

    // A transaction: MULTI 15, GET 22, EXEC 14; *1 and the value.
    client.command(&["CONFIG", "RESETSTAT"]);
    client.command(&["MULTI"]);
    client.command(&["GET", "foo"]);
    assert_eq!(only_reply_of_exec(&mut client), Reply::bulk("bar"));
    assert_eq!(
        figures(&mut client).map(|f| f[2..].to_vec()),
        Some(vec![51, 13])
    );

    // A script that names its slot counts as a whole, one that may use several not.
    client.command(&["CONFIG", "RESETSTAT"]);
    let script = "return redis.call('get', 'foo')";
    client.command(&["EVAL", script, "0"]);
    assert_eq!(figures(&mut client).map(|f| f[2]), Some(0));
    let script = format!("#!lua\n{script}");
    client.command(&["EVAL", &script, "0"]);
    let bytes = support::encode(&["EVAL", &script, "0"]).len() as i64;
    assert_eq!(figures(&mut client).map(|f| f[2]), Some(bytes));

    // Its keys say the slot, not the number of them before; alone and in a pipeline.
    client.command(&["CONFIG", "RESETSTAT"]);
    let eval = support::encode(&["EVAL", "return 1", "1", "foo"]);
    client.pipeline(&eval, 1);
    client.pipeline(&eval.repeat(3), 3);
    assert_eq!(
        figures(&mut client).map(|f| f[2]),
        Some(4 * eval.len() as i64)
    );

    // A slot that has gone and come back begins anew.
    client.command(&["CLUSTER", "DELSLOTS", FOO]);
    assert_eq!(figures(&mut client), None);
    client.command(&["CLUSTER", "ADDSLOTS", FOO]);
    assert_eq!(figures(&mut client), Some([1, 0, 0, 0]));
}

/// The one reply of an EXEC.
fn only_reply_of_exec(client: &mut Client) -> Reply {
    match client.command(&["EXEC"]) {
        Reply::Array(mut replies) if replies.len() == 1 => replies.remove(0),
        other => panic!("{other:?}"),
    }
}

#[test]
fn replicas_know_of_slots_on_the_move_before_their_primary() {
    let (source, target, replica) = (start(), start(), start());
    ask_ok(&source, &["CLUSTER", "ADDSLOTSRANGE", "8192", "16383"]);
    ask_ok(&target, &["CLUSTER", "ADDSLOTSRANGE", "0", HALF]);
    ask_ok(&source, &["CLUSTER", "SET-CONFIG-EPOCH", "1"]);
    ask_ok(&target, &["CLUSTER", "SET-CONFIG-EPOCH", "2"]);
    meet(&source, &target);
    meet(&source, &replica);
    let (from, to) = (
        text(&source, &["CLUSTER", "MYID"]),
        text(&target, &["CLUSTER", "MYID"]),
    );
    let follows = || {
        eventually("the replica knows both", || {
            let nodes = text(&replica, &["CLUSTER", "NODES"]);
            nodes.contains(&format!("{to} ")) && nodes.contains(&format!("{from} "))
        });
        eventually("the replica may follow", || {
            ask(&replica, &["CLUSTER", "REPLICATE", &from]) == Reply::ok()
        });
        eventually("the replica follows", || {
            text(&source, &["INFO", "replication"]).contains("state=online")
                && text(&replica, &["INFO", "replication"]).contains("master_link_status:up")
        });
    };
    follows();

    // Without an end of the wait, whatever the machine is busy with.
    let order = |slot: &str, words: &[&str]| {
        let mut all = vec!["CLUSTER", "SETSLOT", slot];
        all.extend(words);
        all.extend(["TIMEOUT", "0"]);
        ask_ok(&source, &all);
    };
    order(FOO, &["MIGRATING", &to]);
    let moving = vec![format!("[{FOO}->-{to}]")];
    assert_eq!(open_slots(&source), moving);
    assert_eq!(open_slots(&replica), moving);
    order("12183", &["MIGRATING", &to]);
    order("12183", &["STABLE"]);
    assert_eq!(open_slots(&replica), moving);

    // One that begins anew hears of it with the full sync.
    ask_ok(&replica, &["CLUSTER", "RESET"]);
    assert!(open_slots(&replica).is_empty());
    meet(&replica, &source);
    follows();
    eventually("it has the state again", || open_slots(&replica) == moving);

    // A silent replica holds the order up, and it fails.
    replica.signal(19);
    let words = [
        "CLUSTER",
        "SETSLOT",
        "12184",
        "MIGRATING",
        &to,
        "TIMEOUT",
        "50",
    ];
    assert_eq!(ask(&source, &words).error_code(), Some("NOREPLICAS"));
    assert_eq!(open_slots(&source), moving);
    replica.signal(18);
    order(FOO, &["NODE", &to]);
    assert!(open_slots(&source).is_empty());
    let nodes = text(&replica, &["CLUSTER", "NODES"]);
    let of_target = nodes.lines().find(|line| line.starts_with(&to));
    assert!(of_target.is_some_and(has_foo), "{nodes}");
    refuse_as_a_replica(&source, &to, &replica);
}

/// A node that becomes a replica while it waits for its own, which is silent,
/// answers as a replica does.
fn refuse_as_a_replica(source: &Server, to: &str, silent: &Server) {
    silent.signal(19);
    let mut waits = source.client();
    let words = ["CLUSTER", "SETSLOT", "12184", "MIGRATING", to, "TIMEOUT"];
    waits.send(&encode(&[&words[..], &["0"]].concat()));
    eventually("it waits", || {
        text(source, &["INFO", "clients"]).contains("blocked_clients:1\r")
    });
    ask_ok(source, &["CLUSTER", "FLUSHSLOTS"]);
    ask_ok(source, &["CLUSTER", "REPLICATE", to]);
    let refused = waits.read().text().expect("an error");
    assert_eq!(refused, "ERR Please use SETSLOT only with masters.");
    silent.signal(18);
}

#[test]
fn a_slot_is_not_flushed_within_a_transaction_or_a_script() {
    let server = start();
    let mut client = server.client();
    client.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    eventually("the cluster is up", || {
        client.command(&["SET", "foo", "bar"]) == Reply::ok()
    });
    let refused = |reply: &Reply| reply.error_code() == Some("ERR");
    let script =
        "redis.call('SET', KEYS[1], 1) return redis.pcall('CLUSTER', 'FLUSHSLOT', ARGV[1])";
    assert!(refused(&client.command(&["EVAL", script, "1", "foo", FOO])));
    client.command(&["MULTI"]);
    client.command(&["CLUSTER", "FLUSHSLOT", FOO]);
    assert!(refused(&only_reply_of_exec(&mut client)));
    assert_eq!(client.command(&["DBSIZE"]), Reply::Integer(1));
    assert_eq!(client.command(&["CLUSTER", "FLUSHSLOT", FOO]), Reply::ok());
    assert_eq!(client.command(&["DBSIZE"]), Reply::Integer(0));
}

#[test]
fn a_transaction_and_a_script_may_ask_what_their_own_slots_hold() {
    let server = start();
    ask_ok(&server, &["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    eventually("the cluster is up", || {
        text(&server, &["CLUSTER", "INFO"]).contains("cluster_state:ok")
    });
    let commands: [&[&str]; 5] = [
        &["CLUSTER", "COUNTKEYSINSLOT", FOO],
        &["CLUSTER", "GETKEYSINSLOT", FOO, "10"],
        &["CLUSTER", "SLOT-STATS", "SLOTSRANGE", FOO, FOO],
        &[
            "CLUSTER",
            "SLOT-STATS",
            "ORDERBY",
            "KEY-COUNT",
            "LIMIT",
            "1",
        ],
        &["INFO", "everything"],
    ];
    for words in commands {
        let mut client = server.client();
        client.command(&["MULTI"]);
        client.command(&["SET", "foo", "1"]);
        client.command(words);
        let reply = client.command(&["EXEC"]);
        assert!(
            matches!(&reply, Reply::Array(replies) if replies.len() == 2 && replies[1].error_code().is_none()),
            "{words:?}: {reply:?}"
        );
        let call = "return type(redis.call(unpack(ARGV)))";
        let reply = client.command(&[&["EVAL", call, "1", "foo"], words].concat());
        assert_eq!(reply.error_code(), None, "{words:?}: {reply:?}");
        assert_eq!(client.command(&["GET", "foo"]), Reply::bulk("1"));
    }
}

/// Two nodes; the slot of `foo`, which is the first one's, is on the move.
fn with_a_slot_on_the_move() -> (Server, Server) {
    let (source, target) = (start(), start());
    ask_ok(&source, &["CLUSTER", "ADDSLOTSRANGE", "8192", "16383"]);
    ask_ok(&target, &["CLUSTER", "ADDSLOTSRANGE", "0", HALF]);
    ask_ok(&source, &["CLUSTER", "SET-CONFIG-EPOCH", "1"]);
    ask_ok(&target, &["CLUSTER", "SET-CONFIG-EPOCH", "2"]);
    meet(&source, &target);
    for node in [&source, &target] {
        eventually("the cluster is up", || {
            let info = text(node, &["CLUSTER", "INFO"]);
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:2")
        });
    }
    let (from, to) = (
        text(&source, &["CLUSTER", "MYID"]),
        text(&target, &["CLUSTER", "MYID"]),
    );
    ask_ok(&target, &["CLUSTER", "SETSLOT", FOO, "IMPORTING", &from]);
    ask_ok(&source, &["CLUSTER", "SETSLOT", FOO, "MIGRATING", &to]);
    (source, target)
}

const INCR: &str = "return redis.call('INCR', KEYS[1])";

#[test]
fn scripts_and_transactions_are_sent_after_keys_that_have_moved() {
    let (source, target) = with_a_slot_on_the_move();
    let mut client = source.client();
    let set = ["SET", "{foo}here", "1"];
    // Only the target makes new keys of the slot.
    assert_eq!(client.command(&set).error_code(), Some("ASK"));
    let key = "{foo}n";
    let code = |reply: Reply| reply.error_code().map(str::to_owned);
    let declared = client.command(&["EVAL", INCR, "1", key]);
    assert_eq!(code(declared).as_deref(), Some("ASK"));
    let script = "return redis.pcall('INCR', ARGV[1])";
    let undeclared = client.command(&["EVAL", script, "0", key]).text();
    assert!(
        undeclared
            .as_deref()
            .is_some_and(|text| text.contains("non local key")),
        "{undeclared:?}"
    );
    for other in [&["PING"][..], &["SELECT", "0"], &["INCR", key]] {
        client.command(&["MULTI"]);
        client.command(other);
        client.command(&["INCR", key]);
        assert_eq!(code(client.command(&["EXEC"])).as_deref(), Some("ASK"));
    }
    // The target runs them for whoever asks, as a whole.
    let mut client = target.client();
    ask_for(&mut client, &["EVAL", INCR, "1", key], &Reply::Integer(1));
    assert_eq!(client.command(&["ASKING"]), Reply::ok());
    assert_eq!(client.command(&["MULTI"]), Reply::ok());
    for _ in 0..2 {
        assert_eq!(
            client.command(&["INCR", key]).text().as_deref(),
            Some("QUEUED")
        );
    }
    let both = Reply::Array(vec![Reply::Integer(2), Reply::Integer(3)]);
    assert_eq!(client.command(&["EXEC"]), both);
    let moved = client.command(&["INCR", key]);
    assert_eq!(code(moved).as_deref(), Some("MOVED"));
    client.command(&["ASKING"]);
    let several = client.command(&["EVAL", INCR, "2", "{foo}x", "{foo}y"]);
    assert_eq!(code(several).as_deref(), Some("TRYAGAIN"));
}

/// Sends a transaction, and gives what EXEC answers.
fn exec(client: &mut Client, commands: &[&[&str]]) -> Reply {
    assert_eq!(client.command(&["MULTI"]), Reply::ok());
    for words in commands {
        client.command(words);
    }
    client.command(&["EXEC"])
}

#[test]
fn nothing_is_written_to_a_key_that_has_left_beside_a_migrate_or_in_another_database() {
    let (source, target) = with_a_slot_on_the_move();
    ask_ok(&source, &["CLUSTER", "SETSLOT", FOO, "STABLE"]);
    let mut client = source.client();
    for (db, key) in [("0", "{foo}here"), ("0", "{foo}both"), ("1", "{foo}both")] {
        assert_eq!(client.command(&["SELECT", db]), Reply::ok());
        assert_eq!(client.command(&["SET", key, "1"]), Reply::ok());
    }
    let to = text(&target, &["CLUSTER", "MYID"]);
    ask_ok(&source, &["CLUSTER", "SETSLOT", FOO, "MIGRATING", &to]);
    let port = target.port().to_string();
    let migrate = |key, db| ["MIGRATE", "127.0.0.1", &port, key, db, "5000"].map(str::to_owned);
    let moved = migrate("{foo}both", "1");
    let words: Vec<&str> = moved.iter().map(String::as_str).collect();
    assert_eq!(client.command(&words), Reply::ok());
    assert_eq!(client.command(&["SELECT", "0"]), Reply::ok());
    let code = |reply: Reply| reply.error_code().map(str::to_owned);

    // What is gone is looked for in the database that the transaction selects.
    let there = [&["SELECT", "1"][..], &["SET", "{foo}both", "lost"]];
    assert_eq!(code(exec(&mut client, &there)).as_deref(), Some("ASK"));
    let mixed = [&["SET", "{foo}here", "2"][..], there[0], there[1]];
    assert_eq!(code(exec(&mut client, &mixed)).as_deref(), Some("TRYAGAIN"));
    let script = "redis.call('SELECT', 1) return redis.call('SET', KEYS[1], 'lost')";
    let refused = client.command(&["EVAL", script, "1", "{foo}both"]).text();
    let refused = refused.unwrap_or_default();
    assert!(refused.contains("non local key"), "{refused}");

    // Beside a MIGRATE, too.
    let gone = migrate("{foo}here", "0");
    let gone: Vec<&str> = gone.iter().map(String::as_str).collect();
    let both = [&gone[..], &["SET", "{foo}new", "lost"]];
    assert_eq!(code(exec(&mut client, &both)).as_deref(), Some("TRYAGAIN"));
    for words in [
        &["MOVE", "{foo}here", "1"][..],
        &["COPY", "{foo}here", "{foo}here", "DB", "1"],
        &["COPY", "{foo}none", "{foo}none", "DB", "1", "REPLACE"],
    ] {
        let reply = client.command(words);
        assert_eq!(code(reply).as_deref(), Some("TRYAGAIN"), "{words:?}");
    }
    let own = ["COPY", "{foo}here", "{foo}both", "DB", "0", "REPLACE"];
    assert_eq!(client.command(&own), Reply::Integer(1));
    let one = exec(&mut client, &[&gone]);
    assert_eq!(one, Reply::Array(vec![Reply::ok()]));
    assert_eq!(client.command(&gone), Reply::Simple("NOKEY".into()));
    assert_eq!(code(exec(&mut client, &[&gone])).as_deref(), Some("ASK"));

    // At the target, that one command of a transaction asks is not enough either.
    let mut client = target.client();
    let asking = ["RESTORE-ASKING", "{foo}x", "0", "x"];
    assert_eq!(
        code(exec(&mut client, &[&asking])).as_deref(),
        Some("MOVED")
    );
    ask_for(&mut client, &["GET", "{foo}here"], &Reply::bulk("1"));
}

/// Sends a command behind ASKING.
fn ask_for(client: &mut Client, words: &[&str], wanted: &Reply) {
    assert_eq!(client.command(&["ASKING"]), Reply::ok());
    assert_eq!(&client.command(words), wanted, "{words:?}");
}

#[test]
fn a_slot_does_not_move_to_where_it_is_and_databases_stay_in_place() {
    let server = start();
    ask_ok(&server, &["CLUSTER", "ADDSLOTS", "6"]);
    let me = text(&server, &["CLUSTER", "MYID"]);
    for words in [["5", "IMPORTING", &me], ["6", "MIGRATING", &me]] {
        let refused = ask(&server, &[&["CLUSTER", "SETSLOT"], &words[..]].concat());
        assert_eq!(refused.text().as_deref(), Some("ERR Target node is myself"));
    }
    let refused = ask(&server, &["SWAPDB", "0", "1"]).text();
    assert_eq!(
        refused.as_deref(),
        Some("ERR SWAPDB is not allowed in cluster mode")
    );
}

#[test]
fn keys_that_come_back_wait_until_those_that_went_are_deleted() {
    let (source, target) = with_a_slot_on_the_move();
    for (node, words) in [(&source, "STABLE"), (&target, "STABLE")] {
        ask_ok(node, &["CLUSTER", "SETSLOT", FOO, words]);
    }
    let mut client = source.client();
    let many = "for i = 1, 50000 do redis.call('SET', '{foo}' .. i, i) end";
    for _ in 0..4 {
        client.command(&["EVAL", many, "1", "foo"]);
    }
    let (from, to) = (
        text(&source, &["CLUSTER", "MYID"]),
        text(&target, &["CLUSTER", "MYID"]),
    );
    ask_ok(
        &source,
        &[
            "CLUSTER",
            "MIGRATESLOTS",
            "SLOTSRANGE",
            FOO,
            FOO,
            "NODE",
            &to,
        ],
    );
    eventually("the slot has gone", || {
        let nodes = text(&source, &["CLUSTER", "NODES"]);
        let theirs = nodes.lines().find(|line| line.contains(&to));
        theirs.is_some_and(has_foo)
    });
    // At once, while the source still deletes what it had.
    ask_ok(&source, &["CLUSTER", "SETSLOT", FOO, "IMPORTING", &to]);
    ask_ok(&target, &["CLUSTER", "SETSLOT", FOO, "MIGRATING", &from]);
    let keys: Vec<String> = (1..=100).map(|n| format!("{{foo}}{n}")).collect();
    let port = source.port().to_string();
    let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
    words.extend(keys.iter().map(String::as_str));
    assert_eq!(target.client().command(&words), Reply::ok());
    let mut client = source.client();
    for key in &keys {
        let number = key.trim_start_matches("{foo}");
        ask_for(&mut client, &["GET", key], &Reply::bulk(number));
    }
}

#[test]
fn who_waits_at_a_slot_that_is_imported_stays_while_others_change() {
    let (source, target) = with_a_slot_on_the_move();
    let mut waiting = target.client();
    assert_eq!(waiting.command(&["ASKING"]), Reply::ok());
    waiting.send(&encode(&["BLPOP", "foo{foo}", "0"]));
    eventually("it waits", || {
        text(&target, &["INFO", "clients"]).contains("blocked_clients:1\r")
    });
    // Something else changes, which is on the disk when the order is answered.
    let id = text(&source, &["CLUSTER", "MYID"]);
    ask_ok(&target, &["CLUSTER", "SETSLOT", "9000", "IMPORTING", &id]);
    let mut pushing = target.client();
    assert_eq!(pushing.command(&["ASKING"]), Reply::ok());
    let pushed = pushing.command(&["RPUSH", "foo{foo}", "x"]);
    assert_eq!(pushed, Reply::Integer(1));
    let expected = ["foo{foo}", "x"].map(Reply::bulk).to_vec();
    assert_eq!(waiting.read(), Reply::Array(expected));
}
