//! Keys of any type and databases as wholes, and how they come back after a crash.

mod support;

use std::collections::HashSet;
use support::{Client, Reply, Server};

fn run(client: &mut Client, line: &str) -> Reply {
    client.command(&line.split(' ').collect::<Vec<_>>())
}

fn expect(client: &mut Client, table: &[(&str, Reply)]) {
    for (line, reply) in table {
        assert_eq!(run(client, line), *reply, "{line}");
    }
}

fn integer(reply: Reply) -> i64 {
    match reply {
        Reply::Integer(integer) => integer,
        other => panic!("{other:?} is no integer"),
    }
}

/// Keys of a whole SCAN, and how many calls it took.
fn scan(client: &mut Client, options: &str) -> (HashSet<Vec<u8>>, usize) {
    let (mut keys, mut calls, mut cursor) = (HashSet::new(), 0, "0".to_string());
    loop {
        let Reply::Array(parts) = run(client, &format!("SCAN {cursor}{options}")) else {
            panic!("SCAN answers with an array");
        };
        calls += 1;
        cursor = parts[0].text().expect("a cursor");
        let Reply::Array(found) = &parts[1] else {
            panic!("the keys are an array");
        };
        keys.extend(found.iter().map(|key| match key {
            Reply::Bulk(key) => key.clone(),
            other => panic!("{other:?} is no key"),
        }));
        if cursor == "0" {
            return (keys, calls);
        }
    }
}

#[test]
fn an_expiry_set_in_any_unit_is_the_same_moment_after_a_crash() {
    let mut server = Server::start(&["--appendfsync", "always"]);
    let mut client = server.client();
    for key in ["a", "b", "c", "d", "gone", "kept"] {
        run(&mut client, &format!("SET {key} 1"));
    }
    expect(
        &mut client,
        &[
            ("EXPIRE a 1000", Reply::Integer(1)),
            ("PEXPIRE b 1000000", Reply::Integer(1)),
            ("EXPIREAT c 4000000000", Reply::Integer(1)),
            ("PEXPIREAT d 4000000000123", Reply::Integer(1)),
            ("EXPIRE gone -1", Reply::Integer(1)),
            ("EXPIRE kept 1000", Reply::Integer(1)),
            ("PERSIST kept", Reply::Integer(1)),
        ],
    );
    let moments = |client: &mut Client| -> Vec<i64> {
        ["a", "b", "c", "d", "gone", "kept"]
            .map(|key| integer(run(client, &format!("PEXPIRETIME {key}"))))
            .to_vec()
    };
    let before = moments(&mut client);
    assert_eq!(
        before[2..],
        [4_000_000_000_000, 4_000_000_000_123, -2, -1],
        "{before:?}"
    );
    server.kill();
    server.restart();
    assert_eq!(moments(&mut server.client()), before);
}

#[test]
fn moved_renamed_copied_and_swapped_keys_are_where_they_were_after_a_crash() {
    let mut server = Server::start(&["--appendfsync", "always"]);
    let mut client = server.client();
    expect(
        &mut client,
        &[
            ("SET from value PXAT 4000000000000", Reply::ok()),
            ("RENAME from to", Reply::ok()),
            ("COPY to copied", Reply::Integer(1)),
            ("COPY to copied DB 3", Reply::Integer(1)),
            ("MOVE to 2", Reply::Integer(1)),
            ("MOVE to 2", Reply::Integer(0)),
            ("SWAPDB 3 4", Reply::ok()),
            ("SELECT 5", Reply::ok()),
            ("SET lost 1", Reply::ok()),
            ("FLUSHDB", Reply::ok()),
            ("SET found 1", Reply::ok()),
        ],
    );
    server.kill();
    server.restart();
    expect(
        &mut server.client(),
        &[
            ("KEYS *", Reply::Array(vec![Reply::bulk("copied")])),
            ("PEXPIRETIME copied", Reply::Integer(4_000_000_000_000)),
            ("SELECT 2", Reply::ok()),
            ("GET to", Reply::bulk("value")),
            ("SELECT 3", Reply::ok()),
            ("DBSIZE", Reply::Integer(0)),
            ("SELECT 4", Reply::ok()),
            ("GET copied", Reply::bulk("value")),
            ("SELECT 5", Reply::ok()),
            ("KEYS *", Reply::Array(vec![Reply::bulk("found")])),
            ("FLUSHALL", Reply::ok()),
        ],
    );
    server.kill();
    server.restart();
    assert_eq!(scan(&mut server.client(), "").0.len(), 0);
}

#[test]
fn a_dump_is_restored_under_its_ttl_and_a_damaged_one_changes_nothing() {
    let mut server = Server::start(&["--appendfsync", "always"]);
    let mut client = server.client();
    run(&mut client, "SET source some-text");
    let Reply::Bulk(dump) = run(&mut client, "DUMP source") else {
        panic!("DUMP answers with bytes");
    };
    let mut restore = |args: &[&[u8]], dump: &[u8]| {
        let mut command: Vec<&[u8]> = vec![b"RESTORE"];
        command.extend_from_slice(&args[..2]);
        command.push(dump);
        command.extend_from_slice(&args[2..]);
        client.command(&command)
    };
    assert_eq!(restore(&[b"target", b"1000000"], &dump), Reply::ok());
    let busy = restore(&[b"target", b"0"], &dump);
    assert_eq!(busy.error_code(), Some("BUSYKEY"));
    let mut damaged = dump.clone();
    damaged[3] ^= 1;
    let refused = restore(&[b"target", b"0", b"REPLACE"], &damaged);
    assert_eq!(refused.error_code(), Some("ERR"));
    let past = restore(&[b"past", b"1", b"ABSTTL"], &dump);
    assert_eq!(past, Reply::ok());
    let moment = run(&mut client, "PEXPIRETIME target");
    server.kill();
    server.restart();
    expect(
        &mut server.client(),
        &[
            ("GET target", Reply::bulk("some-text")),
            ("PEXPIRETIME target", moment),
            ("EXISTS past", Reply::Integer(0)),
        ],
    );
}

#[test]
fn a_scan_meets_every_key_and_an_almost_empty_one_ends_soon() {
    let server = Server::start(&[]);
    let mut client = server.client();
    run(&mut client, "SET only 1");
    let (keys, calls) = scan(&mut client, "");
    assert_eq!((keys.len(), calls), (1, 1));
    for n in 0..3000 {
        run(&mut client, &format!("SET key:{n} 1"));
        run(&mut client, &format!("SET {{tag}}:{n} 1"));
    }
    let (keys, calls) = scan(&mut client, " COUNT 100");
    assert_eq!(keys.len(), 6001);
    assert!((30..=61).contains(&calls), "{calls} calls");
    let (keys, _) = scan(&mut client, " COUNT 10 MATCH key:1?");
    assert_eq!(keys.len(), 10);
    // A pattern with a whole tag stays in the tag's slot.
    let (keys, calls) = scan(&mut client, " COUNT 10000 MATCH {tag}*");
    assert_eq!((keys.len(), calls), (3000, 1));
    assert_eq!(scan(&mut client, " TYPE hash").0.len(), 0);
}

#[test]
fn what_sort_stores_is_there_after_a_crash() {
    let mut server = Server::start(&["--appendfsync", "always"]);
    let mut client = server.client();
    expect(
        &mut client,
        &[
            ("SADD numbers 3 10 2", Reply::Integer(3)),
            ("SET weight_3 1", Reply::ok()),
            ("SET weight_10 2", Reply::ok()),
            ("SET weight_2 3", Reply::ok()),
            (
                "SORT numbers BY weight_* GET # STORE sorted",
                Reply::Integer(3),
            ),
            ("SORT numbers STORE sorted2", Reply::Integer(3)),
            ("SORT nokey STORE sorted2", Reply::Integer(0)),
        ],
    );
    let by_weight = Reply::Array(["3", "10", "2"].map(Reply::bulk).to_vec());
    server.kill();
    server.restart();
    expect(
        &mut server.client(),
        &[
            ("SORT sorted BY nosort", by_weight),
            ("EXISTS sorted2", Reply::Integer(0)),
        ],
    );
}

#[test]
fn a_flush_or_a_swap_breaks_the_watch_of_a_key_that_exists() {
    let server = Server::start(&[]);
    let (mut client, mut watcher) = (server.client(), server.client());
    let mut broken = |present: bool, line: &str| {
        run(&mut client, "FLUSHALL");
        if present {
            run(&mut client, "SET key 1");
        }
        run(&mut watcher, "WATCH key");
        run(&mut client, line);
        run(&mut watcher, "MULTI");
        run(&mut watcher, "PING");
        run(&mut watcher, "EXEC") == Reply::Null
    };
    for line in [
        "FLUSHALL",
        "FLUSHDB ASYNC",
        "SWAPDB 0 1",
        "RENAME key other",
    ] {
        assert!(broken(true, line), "{line}");
        assert!(!broken(false, line), "{line}");
    }
    assert!(!broken(true, "SWAPDB 1 2"));
}

#[test]
fn keys_behind_a_number_are_found_as_in_valkey() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let mut keys = |words: &[&str]| {
        let command = [&["COMMAND", "GETKEYS"], words].concat();
        match client.command(&command) {
            Reply::Array(keys) => keys.iter().filter_map(Reply::text).collect(),
            other => vec![format!("{other:?}")],
        }
    };
    assert_eq!(keys(&["ZUNIONSTORE", "to", "1", "a"]), ["to", "a"]);
    // A number that is not written as one: code instead of the spec.
    assert_eq!(keys(&["ZUNIONSTORE", "to", "1e3", "a"]), ["a", "to"]);
    assert_eq!(keys(&["LMPOP", " 1", "a", "LEFT"]), ["a"]);
    let refused = keys(&["MSETEX", "1e3", "a", "b"]);
    assert!(refused[0].contains("Invalid arguments"), "{refused:?}");
    // A key may be called like an option.
    assert_eq!(keys(&["SORT", "STORE", "BY", "f*", "b"]), ["STORE"]);
    assert_eq!(keys(&["SORT", "a", "STORE", "b"]), ["a", "b"]);
    let with_flags = ["COMMAND", "GETKEYSANDFLAGS", "LMPOP", "+1", "a", "LEFT"];
    let expected = Reply::Array(vec![Reply::Array(vec![
        Reply::Bulk(b"a".to_vec()),
        Reply::Array(Vec::new()),
    ])]);
    assert_eq!(client.command(&with_flags), expected);
}

#[test]
fn texts_are_shown_in_the_order_of_c_strings() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.command(&["RPUSH", "l", "\0\0 ", "", "b", "a\0z", "a"]);
    let sorted = client.command(&["SORT", "l", "ALPHA"]);
    let expected = ["\0\0 ", "", "a\0z", "a", "b"].map(|text| Reply::Bulk(text.into()));
    assert_eq!(sorted, Reply::Array(expected.to_vec()));
    client.command(&["SORT", "l", "ALPHA", "STORE", "to"]);
    let stored = client.command(&["LRANGE", "to", "0", "-1"]);
    let expected = ["", "\0\0 ", "a", "a\0z", "b"].map(|text| Reply::Bulk(text.into()));
    assert_eq!(stored, Reply::Array(expected.to_vec()));
}

#[test]
fn randomkey_removes_what_has_expired_when_it_finds_nothing_else() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let mut client = server.client();
    run(&mut client, "DEBUG SET-ACTIVE-EXPIRE 0");
    let keys = (0..20).map(|n| format!("SET expired:{n} v PX 1"));
    keys.for_each(|line| {
        run(&mut client, &line);
    });
    let begin = std::time::Instant::now();
    while run(&mut client, "TTL expired:19") != Reply::Integer(-2) {
        assert!(begin.elapsed().as_secs() < 60, "it never expires");
    }
    assert_eq!(run(&mut client, "RANDOMKEY"), Reply::Null);
    assert_eq!(run(&mut client, "DBSIZE"), Reply::Integer(0));
    run(&mut client, "SET lasting v");
    run(&mut client, "SET expired v PXAT 1");
    assert_eq!(run(&mut client, "RANDOMKEY"), Reply::bulk("lasting"));
}

#[test]
fn no_key_lives_longer_than_its_client_has_said() {
    let server = Server::start(&[]);
    let mut client = server.client();
    run(&mut client, "SET key value");
    for _ in 0..3000 {
        // A clock of ours that lags behind the client's would show it.
        let now = std::time::SystemTime::now();
        let since = now.duration_since(std::time::UNIX_EPOCH);
        let at_ms = since.expect("after 1970").as_millis() + 10_000;
        run(&mut client, &format!("PEXPIREAT key {at_ms}"));
        let left = integer(run(&mut client, "PTTL key"));
        assert!(left <= 10_000, "{left}");
    }
}

/// Sends keys to `target`, `options` behind the timeout.
fn migrate(from: &mut Client, target: &Server, key: &str, db: &str, options: &str) -> Reply {
    let port = target.port().to_string();
    let mut words = vec!["MIGRATE", "127.0.0.1", &port, key, db, "5000"];
    words.extend(options.split_ascii_whitespace());
    from.command(&words)
}

#[test]
fn a_key_that_its_target_refuses_stays() {
    let source = Server::start(&[]);
    let target = Server::start(&["--databases", "4", "--requirepass", "secret"]);
    let mut here = source.client();
    let mut there = target.client();
    assert_eq!(run(&mut there, "AUTH secret"), Reply::ok());
    for line in [
        "SET a here",
        "SET b here",
        "SET c here EX 1000",
        "SET d here",
    ] {
        assert_eq!(run(&mut here, line), Reply::ok());
    }
    assert_eq!(run(&mut there, "SET b there"), Reply::ok());
    // (key, database, options, in the error)
    let refused = [
        ("a", "9", "AUTH secret", "DB index is out of range"),
        ("a", "0", "", "NOAUTH"),
        ("a", "0", "AUTH wrong", "WRONGPASS"),
        ("b", "0", "AUTH secret", "BUSYKEY"),
        (
            "",
            "9",
            "AUTH secret KEYS a b c",
            "DB index is out of range",
        ),
    ];
    for (key, db, options, text) in refused {
        let reply = migrate(&mut here, &target, key, db, options);
        assert!(format!("{reply:?}").contains(text), "{reply:?}");
        assert_eq!(run(&mut here, "EXISTS a b c d"), Reply::Integer(4));
        assert_eq!(run(&mut there, "GET b"), Reply::bulk("there"));
        // As with Valkey, copies may lie in the target's first database.
        run(&mut there, "DEL a c");
    }
    // Of several those go that are welcome.
    let reply = migrate(&mut here, &target, "", "0", "AUTH secret KEYS a b c none");
    assert!(format!("{reply:?}").contains("BUSYKEY"), "{reply:?}");
    assert_eq!(run(&mut here, "EXISTS a c"), Reply::Integer(0));
    assert_eq!(run(&mut here, "GET b"), Reply::bulk("here"));
    assert_eq!(
        run(&mut there, "MGET a b c"),
        Reply::Array(["here", "there", "here"].map(Reply::bulk).to_vec())
    );
    assert!((900..=1000).contains(&integer(run(&mut there, "TTL c"))));
    let reply = migrate(&mut here, &target, "d", "3", "COPY AUTH secret");
    assert_eq!(reply, Reply::ok());
    assert_eq!(run(&mut here, "GET d"), Reply::bulk("here"));
    let reply = migrate(&mut here, &target, "b", "0", "REPLACE AUTH secret");
    assert_eq!(reply, Reply::ok());
    assert_eq!(run(&mut here, "GET b"), Reply::Null);
    assert_eq!(run(&mut there, "GET b"), Reply::bulk("here"));
    let none = migrate(&mut here, &target, "b", "0", "AUTH secret");
    assert_eq!(none, Reply::Simple("NOKEY".into()));
}

#[test]
fn keys_that_move_one_after_the_other_share_a_connection() {
    let (source, mut target) = (Server::start(&[]), Server::start(&[]));
    let mut here = source.client();
    let keys: Vec<String> = (0..20).map(|number| format!("key{number}")).collect();
    for key in &keys {
        assert_eq!(run(&mut here, &format!("SET {key} v")), Reply::ok());
    }
    let connections = |target: &Server| {
        let text = run(&mut target.client(), "INFO stats").text();
        let text = text.expect("a text");
        let (_, rest) = text
            .split_once("total_connections_received:")
            .expect("told");
        rest.lines().next().expect("a line").parse::<u64>()
    };
    let before = connections(&target).expect("a number");
    for key in &keys[..10] {
        assert_eq!(migrate(&mut here, &target, key, "0", ""), Reply::ok());
    }
    // Theirs, and the one that asks.
    assert_eq!(connections(&target), Ok(before + 2));
    let kept = run(&mut here, "INFO stats").text().expect("a text");
    assert!(kept.contains("migrate_cached_sockets:1\r\n"), "{kept}");
    // One whose other end is gone is not used again.
    target.kill();
    target.restart();
    for key in &keys[10..] {
        assert_eq!(migrate(&mut here, &target, key, "0", ""), Reply::ok());
    }
    assert_eq!(run(&mut target.client(), "DBSIZE"), Reply::Integer(20));
    // Nor one of somebody else's.
    run(&mut here, "SET more v");
    run(&mut target.client(), "CONFIG SET requirepass secret");
    let reply = migrate(&mut here, &target, "more", "0", "AUTH wrong");
    assert_eq!(reply.error_code(), Some("ERR"), "{reply:?}");
    let reply = migrate(&mut here, &target, "more", "0", "AUTH secret");
    assert_eq!(reply, Reply::ok());
}

#[test]
fn a_key_that_moves_is_in_one_place_whoever_is_killed() {
    for kills_target in [true, false] {
        let [mut source, mut target] = [Server::start(&[]), Server::start(&[])];
        let mut here = source.client();
        assert_eq!(run(&mut here, "SET key old"), Reply::ok());
        run(&mut here, "WAITAOF 1 0 0");
        assert_eq!(migrate(&mut here, &target, "key", "0", ""), Reply::ok());
        let killed = match kills_target {
            true => &mut target,
            false => &mut source,
        };
        // At once, though under everysec other writes of the last moment may be lost.
        killed.kill();
        killed.restart();
        let there = run(&mut target.client(), "GET key");
        assert_eq!(there, Reply::bulk("old"), "{kills_target}");
        let here = run(&mut source.client(), "EXISTS key");
        assert_eq!(here, Reply::Integer(0), "{kills_target}");
    }
}
