//! Replication between our servers, and with real Redis and Valkey servers in
//! both directions: the same keys at the same offsets, resyncs that stay
//! partial, and full syncs that either happen or don't.

mod astray;
mod emptied;
mod gone;
mod handover;
mod keeping;
mod mended;
mod misfits;
mod pauses;
mod reloading;
mod retention;
mod rewind;
mod shutdown;
#[path = "../support/mod.rs"]
mod support;
mod waits;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use support::{Client, Mount, Peer, Reply, Server};

/// No wait for further replicas before a full sync.
const PEER: &[&str] = &["--save", "", "--repl-diskless-sync-delay", "0"];

fn run(client: &mut Client, line: &str) -> Reply {
    client.command(&line.split(' ').collect::<Vec<_>>())
}

fn ok(client: &mut Client, line: &str) {
    let reply = run(client, line);
    assert_eq!(reply.error_code(), None, "{line}: {reply:?}");
}

/// As `eventually`, for what takes a resync on a busy machine.
fn in_time(what: &str, mut check: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !check() {
        assert!(Instant::now() < deadline, "not in a minute: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn info(client: &mut Client, section: &str, field: &str) -> String {
    let text = run(client, &format!("INFO {section}"))
        .text()
        .expect("a text");
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let value = line.and_then(|rest| rest.strip_prefix(':'));
    value.unwrap_or_default().trim().to_string()
}

fn number(client: &mut Client, section: &str, field: &str) -> u64 {
    info(client, section, field).parse().expect(field)
}

fn follow(replica: &Server, primary: &Server) {
    let line = format!("REPLICAOF 127.0.0.1 {}", primary.port());
    ok(&mut replica.client(), &line);
}

/// As [`info`] for replication, on a connection that may be refused or killed.
fn standing(server: &Server, field: &str) -> Option<String> {
    let mut client = Client::connect(server.port()).ok()?;
    client
        .try_send(&support::encode(&["INFO", "replication"]))
        .ok()?;
    let text = client.try_read().ok()?.text()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    Some(line?.strip_prefix(':')?.trim().to_string())
}

/// Waits until a replica has everything that its primary has.
fn await_sync(replica: &Server, primary: &Server) {
    let what = format!("{} follows {}", replica.port(), primary.port());
    let same = |field| match (standing(replica, field), standing(primary, field)) {
        (Some(one), Some(other)) => one == other,
        _ => false,
    };
    in_time(&what, || {
        standing(replica, "master_link_status").as_deref() == Some("up")
            && same("master_replid")
            && same("master_repl_offset")
    });
}

/// Every key of every database, with value and expiry.
fn content(server: &Server) -> BTreeMap<(u32, String), String> {
    let mut client = server.client();
    let mut found = BTreeMap::new();
    for db in 0..4 {
        ok(&mut client, &format!("SELECT {db}"));
        let Reply::Array(keys) = run(&mut client, "KEYS *") else {
            panic!("no keys");
        };
        for key in keys.iter().filter_map(Reply::text) {
            let kind = run(&mut client, &format!("TYPE {key}")).text();
            let line = match kind.as_deref() {
                Some("string") => format!("GET {key}"),
                Some("list") => format!("LRANGE {key} 0 -1"),
                Some("set") => format!("SMEMBERS {key}"),
                Some("hash") => format!("HGETALL {key}"),
                Some("zset") => format!("ZRANGE {key} 0 -1 WITHSCORES"),
                other => panic!("{key} is {other:?}"),
            };
            let mut value = match run(&mut client, &line) {
                Reply::Array(items) => items.iter().filter_map(Reply::text).collect(),
                other => vec![other.text().unwrap_or_default()],
            };
            match kind.as_deref() {
                Some("set") => value.sort(),
                Some("hash") => {
                    let mut pairs: Vec<_> = value.chunks(2).map(|p| p.join("=")).collect();
                    pairs.sort();
                    value = pairs;
                }
                _ => {}
            }
            let expiry = run(&mut client, &format!("PEXPIRETIME {key}"));
            found.insert((db, key), format!("{kind:?} {expiry:?} {value:?}"));
        }
    }
    found
}

fn assert_same(one: &Server, other: &Server) {
    let (one, other) = (content(one), content(other));
    let keys = one.keys().chain(other.keys());
    for key in keys {
        assert_eq!(one.get(key), other.get(key), "{key:?}");
    }
}

/// Writes of all types; `round` makes them differ from one call to the next.
fn write(server: &Server, round: usize) {
    let mut client = server.client();
    for i in 0..60 {
        let n = round * 60 + i;
        let db = n % 3;
        ok(&mut client, &format!("SELECT {db}"));
        for line in [
            format!("SET string{i} value{n}"),
            format!("SET expiring{i} {n} EX {}", 1000 + n),
            format!("APPEND long{} {}", i % 5, "x".repeat(200)),
            format!("INCR counter{}", i % 7),
            format!("INCRBYFLOAT float{} 0.1", i % 3),
            format!("RPUSH list{} a{n} b{n} {n}", i % 9),
            format!("LPOP list{}", i % 4),
            format!("SADD set{} {n} m{n}", i % 8),
            format!("SPOP set{}", i % 5),
            format!("HSET hash{} f{n} {n} g v", i % 6),
            format!("ZADD zset{} {n}.5 m{n}", i % 6),
            format!("ZPOPMIN zset{}", i % 4),
            format!("EXPIRE hash{} 5000", i % 6),
            format!("DEL string{}", (i + 7) % 60),
        ] {
            ok(&mut client, &line);
        }
        ok(&mut client, "MULTI");
        run(&mut client, &format!("SET both{i} {n}"));
        run(&mut client, &format!("LPUSH also{} {n}", i % 3));
        ok(&mut client, "EXEC");
    }
}

fn partial_and_full(server: &Server) -> (u64, u64) {
    let mut client = server.client();
    (
        number(&mut client, "stats", "sync_partial_ok"),
        number(&mut client, "stats", "sync_full"),
    )
}

#[test]
fn we_follow_real_servers() {
    for (peer, password) in [(Peer::Valkey, ""), (Peer::Redis, "secret")] {
        let primary = Server::start_peer(peer, PEER);
        write(&primary, 0);
        if !password.is_empty() {
            let line = format!("CONFIG SET requirepass {password}");
            ok(&mut primary.client(), &line);
        }
        let replica = Server::start(&["--masterauth", password]);
        ok(&mut replica.client(), "SET of-old data");
        follow(&replica, &primary);
        let mut client = replica.client();
        in_time("the full sync", || {
            info(&mut client, "replication", "master_link_status") == "up"
        });
        if !password.is_empty() {
            let mut client = primary.client();
            ok(&mut client, &format!("AUTH {password}"));
            ok(&mut client, "CONFIG SET requirepass none");
            ok(&mut client, "CONFIG SET requirepass ");
        }
        write(&primary, 1);
        await_sync(&replica, &primary);
        assert_same(&primary, &replica);
        let reply = run(&mut primary.client(), "WAIT 1 30000");
        assert_eq!(reply, Reply::Integer(1), "{peer:?}");
        let reply = run(&mut replica.client(), "SET no way");
        assert_eq!(reply.error_code(), Some("READONLY"));
    }
}

#[test]
fn a_valkey_with_fields_that_expire_is_followed() {
    let primary = Server::start_peer(Peer::Valkey, PEER);
    let mut client = primary.client();
    ok(&mut client, "HSET hash field value other value");
    ok(&mut client, "HPEXPIREAT hash 99999999999999 FIELDS 1 field");
    let replica = Server::start(&[]);
    follow(&replica, &primary);
    await_sync(&replica, &primary);
    let line = "HPEXPIRETIME hash FIELDS 2 field other";
    let times = run(&mut client, line);
    assert_eq!(run(&mut replica.client(), line), times);
}

#[test]
fn real_servers_follow_us() {
    let primary = Server::start(&[]);
    write(&primary, 0);
    let valkey = Server::start_peer(Peer::Valkey, PEER);
    let redis = Server::start_peer(Peer::Redis, PEER);
    follow(&valkey, &primary);
    follow(&redis, &primary);
    write(&primary, 1);
    for replica in [&valkey, &redis] {
        await_sync(replica, &primary);
        assert_same(&primary, replica);
    }
    write(&primary, 2);
    let reply = run(&mut primary.client(), "WAIT 2 30000");
    assert_eq!(reply, Reply::Integer(2));
    for replica in [&valkey, &redis] {
        await_sync(replica, &primary);
        assert_same(&primary, replica);
    }
}

/// Of entries of these sizes Redis wants to know the length in one byte more than
/// Valkey 9, and either refuses the other's.
#[test]
fn real_servers_take_listpacks_that_they_dispute() {
    let primary = Server::start(&[]);
    let mut client = primary.client();
    for size in [16_378, 2_097_146] {
        let large = "x".repeat(size);
        let stream = format!("stream{size}");
        client.command(&["XADD", &stream, "1-1", "field", &large, "last", "1"]);
        client.command(&["XADD", &stream, "2-1", "field", "after"]);
        client.command(&["RPUSH", &format!("list{size}"), "a", &large, "b"]);
    }
    for peer in [Peer::Valkey, Peer::Redis] {
        let replica = Server::start_peer(peer, PEER);
        follow(&replica, &primary);
        await_sync(&replica, &primary);
        for line in [
            "XREVRANGE stream16378 + -",
            "XREVRANGE stream2097146 + -",
            "LRANGE list16378 -3 -1",
            "LRANGE list2097146 -3 -1",
        ] {
            let reply = run(&mut replica.client(), line);
            assert!(reply == run(&mut client, line), "{peer:?}: {line}");
        }
        let Reply::Bulk(dump) = run(&mut client, "DUMP list16378") else {
            panic!("no dump");
        };
        ok(&mut replica.client(), "REPLICAOF NO ONE");
        let words: [&[u8]; 4] = [b"RESTORE", b"copy", b"0", &dump];
        assert_eq!(replica.client().command(&words), Reply::ok());
    }
}

#[test]
fn a_restart_of_either_side_is_followed_by_a_partial_resync() {
    let mut primary = Server::start(&["--repl-ping-replica-period", "1"]);
    let redis = Server::start_peer(Peer::Redis, PEER);
    let at = format!("127.0.0.1 {}", primary.port());
    let mut replica = Server::start(&["--replicaof", &at]);
    follow(&redis, &primary);
    write(&primary, 0);
    await_sync(&replica, &primary);
    await_sync(&redis, &primary);
    replica.kill();
    write(&primary, 1);
    replica.restart();
    await_sync(&replica, &primary);
    assert_eq!(partial_and_full(&primary).0, 1, "after the replica's crash");
    replica.terminate();
    for crash in [true, false] {
        // A primary that lost what it sent on could not go on with its replica.
        let on_disk = run(&mut primary.client(), "WAITAOF 1 0 30000");
        assert_eq!(on_disk, waits::both(1, 0));
        match crash {
            true => primary.kill(),
            false => drop(primary.terminate()),
        }
        primary.restart();
        write(&primary, 2);
        await_sync(&redis, &primary);
        assert_eq!(partial_and_full(&primary), (1, 0), "crash: {crash}");
    }
    replica.restart();
    await_sync(&replica, &primary);
    assert_eq!(partial_and_full(&primary), (2, 0), "both were restarted");
    assert_same(&primary, &replica);
    assert_same(&primary, &redis);
}

#[test]
fn siblings_go_on_with_a_promoted_replica_and_so_does_its_old_primary() {
    let old = Server::start(&[]);
    let [new, sibling] = [Server::start(&[]), Server::start(&[])];
    let valkey = Server::start_peer(Peer::Valkey, PEER);
    for replica in [&new, &sibling, &valkey] {
        follow(replica, &old);
    }
    write(&old, 0);
    for replica in [&new, &sibling, &valkey] {
        await_sync(replica, &old);
    }
    ok(&mut new.client(), "REPLICAOF NO ONE");
    for replica in [&old, &sibling, &valkey] {
        follow(replica, &new);
    }
    write(&new, 1);
    for replica in [&old, &sibling, &valkey] {
        await_sync(replica, &new);
        assert_same(&new, replica);
    }
    assert_eq!(partial_and_full(&new), (3, 0));
}

#[test]
fn a_chain_of_replicas_has_one_history() {
    let first = Server::start_peer(Peer::Valkey, PEER);
    let [second, third] = [Server::start(&[]), Server::start(&[])];
    let fourth = Server::start_peer(Peer::Redis, PEER);
    write(&first, 0);
    follow(&second, &first);
    follow(&third, &second);
    follow(&fourth, &third);
    write(&first, 1);
    for (replica, primary) in [(&second, &first), (&third, &second), (&fourth, &third)] {
        await_sync(replica, primary);
    }
    assert_same(&first, &fourth);
    assert_same(&first, &second);
}

#[test]
fn a_full_sync_takes_function_libraries_along_both_ways() {
    let library = "#!lua name=mine\nredis.register_function('answer', function() return 42 end)";
    let load = ["FUNCTION", "LOAD", library];
    let read_only = "#!lua name=other\nredis.register_function{function_name='answer2', \
        callback=function() return 7 end, flags={'no-writes'}}";
    for ours_leads in [true, false] {
        let peer = Server::start_peer(Peer::Valkey, PEER);
        let mut ours = Server::start(&[]);
        let (primary, replica) = match ours_leads {
            true => (&ours, &peer),
            false => (&peer, &ours),
        };
        let mut client = primary.client();
        assert_eq!(client.command(&load), Reply::bulk("mine"));
        ok(&mut replica.client(), "SET gone 1");
        follow(replica, primary);
        await_sync(replica, primary);
        // By the stream as well as by the file.
        let reply = client.command(&["FUNCTION", "LOAD", read_only]);
        assert_eq!(reply, Reply::bulk("other"));
        await_sync(replica, primary);
        let found = run(&mut replica.client(), "FCALL_RO answer2 0");
        assert_eq!(found, Reply::Integer(7));
        ok(&mut replica.client(), "REPLICAOF NO ONE");
        let found = run(&mut replica.client(), "FCALL answer 0");
        assert_eq!(found, Reply::Integer(42), "ours leads: {ours_leads}");
        if !ours_leads {
            let on_disk = run(&mut ours.client(), "WAITAOF 1 0 30000");
            assert_eq!(on_disk, waits::both(1, 0));
            ours.kill();
            ours.restart();
            let found = run(&mut ours.client(), "FCALL answer 0");
            assert_eq!(found, Reply::Integer(42), "after a restart");
        }
    }
}

#[test]
fn what_has_expired_is_hidden_by_a_replica_until_its_primary_removes_it() {
    let primary = Server::start(&["--enable-debug-command", "yes"]);
    let replica = Server::start(&[]);
    follow(&replica, &primary);
    ok(&mut primary.client(), "DEBUG SET-ACTIVE-EXPIRE 0");
    ok(&mut primary.client(), "SET key value PX 50");
    await_sync(&replica, &primary);
    let mut client = replica.client();
    in_time("the key is hidden", || {
        run(&mut client, "GET key") == Reply::Null
    });
    assert_eq!(run(&mut client, "DBSIZE"), Reply::Integer(1));
    assert_eq!(run(&mut primary.client(), "GET key"), Reply::Null);
    in_time("the key is removed", || {
        run(&mut client, "DBSIZE") == Reply::Integer(0)
    });
}

#[test]
fn a_pure_cache_gives_and_takes_replication() {
    let cache = &["--save", "", "--appendonly", "no"];
    let [primary, replica] = [Server::start(cache), Server::start(cache)];
    write(&primary, 0);
    follow(&replica, &primary);
    write(&primary, 1);
    await_sync(&replica, &primary);
    assert_same(&primary, &replica);
    ok(&mut replica.client(), "REPLICAOF NO ONE");
    write(&replica, 2);
    follow(&primary, &replica);
    await_sync(&primary, &replica);
    assert_same(&primary, &replica);
    assert_eq!(partial_and_full(&replica), (1, 0));
}

#[test]
fn stale_data_writes_and_waits_are_refused_where_they_must_be() {
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = nobody.local_addr().expect("an address").port();
    drop(nobody);
    let server = Server::start(&["--min-replicas-to-write", "1"]);
    let mut client = server.client();
    let code = |client: &mut Client, line: &str| run(client, line).error_code().map(str::to_owned);
    assert_eq!(code(&mut client, "SET a b").as_deref(), Some("NOREPLICAS"));
    ok(&mut client, &format!("REPLICAOF 127.0.0.1 {port}"));
    assert_eq!(code(&mut client, "SET a b").as_deref(), Some("READONLY"));
    assert_eq!(code(&mut client, "WAIT 1 1").as_deref(), Some("ERR"));
    assert_eq!(run(&mut client, "GET a"), Reply::Null);
    assert_eq!(
        code(&mut client, "PSYNC ? -1").as_deref(),
        Some("NOMASTERLINK")
    );
    ok(&mut client, "CONFIG SET replica-serve-stale-data no");
    assert_eq!(code(&mut client, "GET a").as_deref(), Some("MASTERDOWN"));
    ok(&mut client, "REPLICAOF NO ONE");
    ok(&mut client, "CONFIG SET min-replicas-to-write 0");
    ok(&mut client, "SET a b");
    assert_eq!(run(&mut client, "WAIT 1 10"), Reply::Integer(0));
    let both = Reply::Array(vec![Reply::Integer(1), Reply::Integer(0)]);
    assert_eq!(run(&mut client, "WAITAOF 1 0 30000"), both);
}

#[test]
fn a_writable_replica_removes_its_own_keys_and_starts_again_after_a_crash() {
    let primary = Server::start(&[]);
    let target = primary.port().to_string();
    let own: &[&str] = &["--replicaof", "127.0.0.1", &target];
    let writable: &[&str] = &["--replica-read-only", "no", "--appendfsync", "always"];
    let mut replica = Server::start(&[own, writable].concat());
    await_sync(&replica, &primary);
    let mut client = replica.client();
    ok(&mut client, "SET passing v PX 1");
    in_time("the replica removes its own key", || {
        run(&mut client, "DBSIZE") == Reply::Integer(0)
    });
    // Its own writes are in no log: after a crash the primary's RPUSH meets a
    // string that the replica's client had removed.
    ok(&mut client, "SET key text");
    ok(&mut client, "BGSAVE");
    in_time("a checkpoint with the string", || {
        info(&mut client, "persistence", "rdb_bgsave_in_progress") == "0"
    });
    ok(&mut client, "DEL key");
    ok(&mut primary.client(), "RPUSH key element");
    await_sync(&replica, &primary);
    replica.kill();
    replica.restart();
    await_sync(&replica, &primary);
    assert_same(&replica, &primary);
}

#[test]
fn what_a_transaction_did_as_a_primary_is_logged_although_it_ends_as_a_replica() {
    let mut server = Server::start(&["--appendfsync", "always"]);
    let mut client = server.client();
    for line in ["MULTI", "SET before 1", "REPLICAOF 127.0.0.1 1", "EXEC"] {
        ok(&mut client, line);
    }
    server.kill();
    server.restart();
    let before = run(&mut server.client(), "GET before");
    assert_eq!(before, Reply::bulk("1"));
}

#[test]
fn a_transaction_that_comes_too_late_is_redirected_as_a_whole() {
    let [one, other] = [Server::start(&[]), Server::start(&[])];
    let mut client = one.client();
    ok(&mut client, "CLIENT CAPA redirect");
    ok(&mut client, "MULTI");
    ok(&mut client, "SET a 1");
    follow(&one, &other);
    let refused = run(&mut client, "EXEC").text().expect("an error");
    assert_eq!(refused, format!("REDIRECT 127.0.0.1:{}", other.port()));
    // It is over.
    let refused = run(&mut client, "EXEC");
    assert_eq!(refused.text().as_deref(), Some("ERR EXEC without MULTI"));
}

#[test]
fn replicas_are_waited_for_when_a_delay_is_set() {
    let primary = Server::start(&["--repl-diskless-sync-delay", "10000"]);
    let [one, other] = [Server::start(&[]), Server::start(&[])];
    follow(&one, &primary);
    let waits = || {
        let replicas = standing(&primary, "slave0").unwrap_or_default();
        replicas.contains("state=wait_bgsave")
    };
    in_time("the first replica waits", waits);
    ok(
        &mut primary.client(),
        "CONFIG SET repl-diskless-sync-max-replicas 2",
    );
    follow(&other, &primary);
    await_sync(&one, &primary);
    await_sync(&other, &primary);
}

/// A primary that gives `payload` for a full sync, and then hangs up or says no more.
fn false_primary(payload: Vec<u8>, hangs_up: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut asked = Vec::new();
            let mut chunk = [0; 4096];
            while let Ok(count) = stream.read(&mut chunk) {
                asked.extend_from_slice(&chunk[..count]);
                if count == 0 || asked.windows(5).any(|word| word == b"PSYNC") {
                    break;
                }
                let _ = stream.write_all(b"+OK\r\n");
            }
            let id = "f".repeat(40);
            let _ = stream.write_all(format!("+FULLRESYNC {id} 77\r\n").as_bytes());
            let _ = stream.write_all(&payload);
            if !hangs_up {
                let _ = stream.read_to_end(&mut asked);
            }
        }
    });
    port
}

#[test]
fn empty_collections_of_a_primary_are_passed_over() {
    let file = b"REDIS0010\xfe\x00\x01\x04list\x00\x00\x03key\x05value\xff\0\0\0\0\0\0\0\0";
    let payload = [format!("${}\r\n", file.len()).as_bytes(), file].concat();
    let replica = Server::start(&[]);
    let mut client = replica.client();
    let port = false_primary(payload, false);
    ok(&mut client, &format!("REPLICAOF 127.0.0.1 {port}"));
    in_time("the full sync", || {
        run(&mut client, "GET key") == Reply::bulk("value")
    });
    assert_eq!(run(&mut client, "EXISTS list"), Reply::Integer(0));
}

#[test]
fn a_full_sync_that_breaks_or_is_damaged_leaves_the_data_as_it_was() {
    let donor = Server::start(&[]);
    write(&donor, 0);
    let mut image = image_of(&donor);
    let half = image[..image.len() / 2].to_vec();
    let middle = image.len() / 2;
    image[middle] ^= 0x55;
    let whole = |file: &[u8]| [format!("${}\r\n", file.len()).as_bytes(), file].concat();
    let cut = [format!("${}\r\n", image.len()).as_bytes(), &half].concat();
    for payload in [cut, whole(&half), whole(&image), whole(b"nonsense")] {
        let mut replica = Server::start(&[]);
        write(&replica, 5);
        let before = content(&replica);
        let port = false_primary(payload, true);
        ok(
            &mut replica.client(),
            &format!("REPLICAOF 127.0.0.1 {port}"),
        );
        let mut client = replica.client();
        in_time("an attempt at a full sync", || {
            info(&mut client, "replication", "master_sync_in_progress") == "1"
                || number(&mut client, "stats", "total_net_repl_input_bytes") > 60
        });
        assert_eq!(content(&replica), before);
        replica.kill();
        replica.restart();
        assert_eq!(content(&replica), before, "after a restart");
    }
}

/// An RDB file of a server, as a replica without any capability gets it.
fn image_of(server: &Server) -> Vec<u8> {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", server.port())).expect("a link");
    stream.write_all(b"SYNC\r\n").expect("it is sent");
    let mut byte = [0];
    let mut head = Vec::new();
    while !(head.starts_with(b"$") && head.ends_with(b"\r\n")) {
        stream.read_exact(&mut byte).expect("a byte");
        if byte[0] != b'\n' || head.starts_with(b"$") {
            head.push(byte[0]);
        }
    }
    let digits = String::from_utf8_lossy(&head[1..head.len() - 2]).into_owned();
    let mut image = vec![0; digits.parse().expect("a length")];
    stream.read_exact(&mut image).expect("the file");
    image
}

#[test]
fn a_full_sync_killed_at_any_moment_leaves_the_old_data_or_the_new() {
    let mut primary = Server::start(&[]);
    let mut client = primary.client();
    let sets: Vec<u8> = (0..3000)
        .flat_map(|i| support::encode(&["SET", &format!("new{i}"), &"n".repeat(500)]))
        .collect();
    client.pipeline(&sets, 3000);
    let mut replica = Server::start(&["--appendfsync", "always"]);
    for round in 0..5u64 {
        ok(&mut replica.client(), "REPLICAOF NO ONE");
        ok(&mut replica.client(), "FLUSHALL");
        ok(&mut replica.client(), "MSET old1 a old2 b old3 c");
        // A restart is to follow nobody.
        follow(&replica, &primary);
        std::thread::sleep(Duration::from_millis(round * 37 % 170));
        if round % 2 == 0 {
            replica.kill();
            replica.restart();
        } else {
            primary.kill();
            primary.restart();
        }
        let keys = run(&mut replica.client(), "DBSIZE");
        let old = keys == Reply::Integer(3);
        assert!(old || keys == Reply::Integer(3000), "a mixture: {keys:?}");
        follow(&replica, &primary);
        await_sync(&replica, &primary);
        assert_eq!(run(&mut replica.client(), "DBSIZE"), Reply::Integer(3000));
    }
    assert_same(&primary, &replica);
}

#[test]
fn a_failover_command_hands_over_without_losing_a_write() {
    let [old, new] = [Server::start(&[]), Server::start(&[])];
    follow(&new, &old);
    await_sync(&new, &old);
    write(&old, 0);
    let before = content(&old);
    let line = format!("FAILOVER TO 127.0.0.1 {} TIMEOUT 60000", new.port());
    ok(&mut old.client(), &line);
    await_sync(&old, &new);
    assert_eq!(info(&mut new.client(), "replication", "role"), "master");
    let state = info(&mut old.client(), "replication", "master_failover_state");
    in_time("the failover ends", || {
        info(&mut old.client(), "replication", "master_failover_state") == "no-failover"
    });
    assert!(!state.is_empty());
    assert_eq!(content(&new), before);
    write(&new, 1);
    await_sync(&old, &new);
    assert_same(&old, &new);
    assert_eq!(partial_and_full(&new), (1, 0));
}

#[test]
fn a_failover_to_a_port_that_is_none_is_refused_with_valkeys_words() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let not_a_number = "ERR value is not an integer or out of range";
    let alone = "ERR FAILOVER requires connected replicas.";
    for (line, expected) in [
        ("FAILOVER TO x y FORCE TIMEOUT 5", not_a_number),
        ("FAILOVER TO x 70000", alone),
        ("FAILOVER TO x -1", alone),
    ] {
        assert_eq!(run(&mut client, line), Reply::Error(expected.into()));
    }
    let replica = Server::start(&[]);
    follow(&replica, &server);
    await_sync(&replica, &server);
    let other = "ERR FAILOVER target HOST and PORT is not a replica.";
    let too_large = i64::from(replica.port()) + 65536;
    let line = format!("FAILOVER TO 127.0.0.1 {too_large}");
    assert_eq!(run(&mut client, &line), Reply::Error(other.into()));
}

#[test]
fn messages_reach_those_who_listen_to_a_replica() {
    let [primary, replica] = [Server::start(&[]), Server::start(&[])];
    follow(&replica, &primary);
    await_sync(&replica, &primary);
    let mut listener = replica.client();
    ok(&mut listener, "SUBSCRIBE news");
    ok(&mut primary.client(), "PUBLISH news hello");
    let wanted = ["message", "news", "hello"].map(Reply::bulk);
    assert_eq!(listener.read(), Reply::Array(wanted.to_vec()));
}

/// A Sentinel of Redis that watches one primary; ends when dropped.
struct Sentinel {
    process: std::process::Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Sentinel {
    /// A port that was free a moment ago may be somebody's by the time the sentinel binds it; then
    /// another is tried.
    fn watch(primary: &Server) -> Sentinel {
        for _ in 0..10 {
            let mut sentinel = Sentinel::spawn(primary);
            let mut there = false;
            in_time("the sentinel answers or ends", || {
                there = Client::connect(sentinel.port).is_ok();
                there || !matches!(sentinel.process.try_wait(), Ok(None))
            });
            if matches!(sentinel.process.try_wait(), Ok(None)) {
                return sentinel;
            }
        }
        panic!("no sentinel stays");
    }

    fn spawn(primary: &Server) -> Sentinel {
        let dir = tempfile::tempdir().expect("a directory");
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a port")
            .port();
        let config = dir.path().join("sentinel.conf");
        // It asks, and tries to connect, once a second: with one second's patience it now and then
        // takes a primary that has just closed its connection for dead.
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\n\
             sentinel monitor ours 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds ours 3000\n\
             sentinel failover-timeout ours 5000\n",
            dir.path().display(),
            primary.port()
        );
        std::fs::write(&config, text).expect("a file");
        let program = std::env::var_os("REDIS_SERVER").unwrap_or_else(|| "redis-server".into());
        let process = std::process::Command::new(program)
            .arg(&config)
            .arg("--sentinel")
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("a sentinel starts");
        Sentinel {
            process,
            port,
            _dir: dir,
        }
    }

    /// Asks it, once it is there.
    fn ask(&self, line: &str) -> Reply {
        let mut client = None;
        in_time("the sentinel answers", || {
            client = Client::connect(self.port).ok();
            client.is_some()
        });
        run(client.as_mut().expect("a connection"), line)
    }

    /// The port of who it takes for the primary.
    fn primary(&self) -> Option<u16> {
        match self.ask("SENTINEL GET-MASTER-ADDR-BY-NAME ours") {
            Reply::Array(address) => address.last()?.text()?.parse().ok(),
            _ => None,
        }
    }
}

/// The field `flags` of what a sentinel tells of a server.
fn flags_of(known: &Reply) -> Option<String> {
    let Reply::Array(fields) = known else {
        return None;
    };
    let texts: Vec<String> = fields.iter().filter_map(Reply::text).collect();
    let pair = texts.chunks_exact(2).find(|pair| pair[0] == "flags")?;
    Some(pair[1].clone())
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_sentinel_fails_over_and_brings_the_old_primary_back_as_a_replica() {
    // Nothing but the test's writes and the sentinel's messages enters the stream.
    let quiet = ["--repl-ping-replica-period", "3600"];
    let mut old = Server::start(&quiet);
    let replicas = [Server::start(&quiet), Server::start(&quiet)];
    for replica in &replicas {
        follow(replica, &old);
        await_sync(replica, &old);
    }
    write(&old, 0);
    let before = content(&old);
    let sentinel = Sentinel::watch(&old);
    in_time("the sentinel knows both replicas", || {
        match sentinel.ask("SENTINEL REPLICAS ours") {
            Reply::Array(known) => known.len() == 2,
            _ => false,
        }
    });
    // What the sentinel publishes enters the stream too: a message that only one of them has would
    // make a full sync of the next partial one.
    ok(&mut old.client(), "CLIENT PAUSE 60000 WRITE");
    for replica in &replicas {
        await_sync(replica, &old);
    }
    old.kill();
    in_time("another primary", || {
        sentinel.primary().is_some_and(|port| port != old.port())
    });
    let port = sentinel.primary().expect("a primary");
    let [one, other] = &replicas;
    let (new, sibling) = match one.port() == port {
        true => (one, other),
        false => (other, one),
    };
    await_sync(sibling, new);
    // Whom the sentinel reconfigures loses its clients, the tests' too.
    in_time("the failover ends", || {
        let known = sentinel.ask("SENTINEL MASTER ours");
        !format!("{:?}", flags_of(&known)).contains("failover_in_progress")
    });
    assert_eq!(content(new), before);
    write(new, 1);
    old.restart();
    in_time("the old primary follows", || {
        standing(&old, "role").as_deref() == Some("slave")
    });
    await_sync(&old, new);
    assert_same(new, &old);
    let (partial, full) = partial_and_full(new);
    assert!(partial >= 2 && full == 0, "{partial} partial, {full} full");
}

#[test]
fn what_was_written_just_before_a_demotion_reaches_the_replicas() {
    let (primary, replica) = (Server::start(PEER), Server::start(PEER));
    follow(&replica, &primary);
    await_sync(&replica, &primary);
    // A role that stays as it is holds nothing back.
    let lines = b"MULTI\r\nSET stays a\r\nREPLICAOF NO ONE\r\nSET stays b\r\nEXEC\r\n";
    let mut client = primary.client();
    client.pipeline(lines, 5);
    await_sync(&replica, &primary);
    let mut reader = replica.client();
    assert_eq!(run(&mut reader, "GET stays"), Reply::bulk("b"));
    // One round of the worker: nothing of it can have been sent before its end.
    let lines = b"SET before here\r\nMULTI\r\nSET within a\r\nREPLICAOF 127.0.0.1 1\r\nEXEC\r\n";
    let replies = client.pipeline(lines, 5);
    let expected = Reply::Array(vec![Reply::ok(), Reply::ok()]);
    assert_eq!(replies[4], expected);
    in_time("the last write arrives", || {
        run(&mut reader, "GET before") == Reply::bulk("here")
    });
    // The transaction is the new replica's, and its primary never had it.
    in_time("the link is down", || {
        standing(&replica, "master_link_status").as_deref() == Some("down")
    });
    assert_eq!(run(&mut reader, "GET within"), Reply::Null);
}
