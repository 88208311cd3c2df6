//! What survives the end of a process, clean or not, and what a start refuses.

mod support;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redoubt_persistence::tree::{Tree, TreeOptions};
use support::{Client, Reply, Server, encode, eventually};

const ALWAYS: &[&str] = &["--appendfsync", "always"];
const DATABASES: usize = 4;

fn run(client: &mut Client, line: &str) -> Reply {
    client.command(&line.split(' ').collect::<Vec<_>>())
}

/// Runs commands, none of which may fail.
fn run_all(client: &mut Client, lines: &[&str]) {
    for line in lines {
        let reply = run(client, line);
        assert_eq!(reply.error_code(), None, "{line}: {reply:?}");
    }
}

fn info_number(client: &mut Client, field: &str) -> u64 {
    let text = run(client, "INFO persistence").text().expect("a text");
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|rest| rest.strip_prefix(':'));
    number.expect(field).trim().parse().expect("a number")
}

fn await_checkpoint(client: &mut Client) {
    eventually("the tree has applied the whole log", || {
        let applied = info_number(client, "tree_applied_offset");
        applied == info_number(client, "log_end_offset")
    });
}

fn crash(server: &mut Server) -> Client {
    server.kill();
    server.restart();
    server.client()
}

/// All there is, database by database, in an order of its own.
fn content(client: &mut Client) -> Vec<String> {
    let mut all = Vec::new();
    for db in 0..DATABASES {
        run(client, &format!("SELECT {db}"));
        let Reply::Array(keys) = run(client, "KEYS *") else {
            panic!("KEYS answers with an array");
        };
        assert_eq!(run(client, "DBSIZE"), Reply::Integer(keys.len() as i64));
        let mut of_db: Vec<String> = keys.iter().map(|key| described(client, db, key)).collect();
        of_db.sort();
        all.extend(of_db);
    }
    run(client, "SELECT 0");
    all
}

fn described(client: &mut Client, db: usize, key: &Reply) -> String {
    let Reply::Bulk(key) = key else {
        panic!("{key:?} is no key");
    };
    let mut ask = |words: &[&[u8]]| client.command(words);
    let kind = ask(&[b"TYPE", key]).text().expect("a type");
    let expiry = ask(&[b"PEXPIRETIME", key]);
    let mut value = match kind.as_str() {
        "string" => vec![ask(&[b"GET", key])],
        "list" => vec![ask(&[b"LRANGE", key, b"0", b"-1"])],
        "set" => elements(ask(&[b"SMEMBERS", key]), 1),
        "hash" => elements(ask(&[b"HGETALL", key]), 2),
        "zset" => vec![ask(&[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"])],
        other => panic!("{other} is no type"),
    };
    value.sort_by_key(|reply| format!("{reply:?}"));
    let key = String::from_utf8_lossy(key);
    format!("{db} {key} {kind} {expiry:?} {value:?}")
}

fn elements(reply: Reply, width: usize) -> Vec<Reply> {
    let Reply::Array(elements) = reply else {
        panic!("{reply:?} is no array");
    };
    let groups = elements.chunks(width);
    groups.map(|group| Reply::Array(group.to_vec())).collect()
}

/// Keys of every type, small and large, with and without expiry.
fn fill(client: &mut Client) {
    run_all(
        client,
        &[
            "SET text hello",
            "SET number 42",
            "SET float 3.5",
            "INCRBYFLOAT float 0.25",
            "APPEND text -world",
            "SETBIT bits 1000 1",
            "RPUSH list a b c d",
            "LPOP list",
            "LINSERT list BEFORE c between",
            "SADD ints 1 2 3",
            "SADD words x y z w",
            "SPOP words",
            "HSET hash f1 v1 f2 v2",
            "HINCRBY hash n 5",
            "HINCRBYFLOAT hash x 1.5",
            "ZADD zset 1 a 2.5 b -inf c +inf d",
            "ZINCRBY zset 3 a",
            "ZUNIONSTORE union 2 zset zset",
            "COPY hash hash-copy",
            "SET soon-gone 1",
            "DEL soon-gone",
            "SELECT 3",
            "RPUSH elsewhere 1 2 3",
            "SELECT 0",
        ],
    );
    for (n, key) in ["text", "list", "ints", "hash", "zset"].iter().enumerate() {
        let at_ms = 4_000_000_000_000_i64 + n as i64;
        assert_eq!(
            run(client, &format!("PEXPIREAT {key} {at_ms}")),
            Reply::Integer(1)
        );
    }
    for n in 0..600 {
        run_all(
            client,
            &[
                &format!("HSET large-hash f{n} v{n}"),
                &format!("ZADD large-zset {n} m{n}"),
                &format!("RPUSH large-list e{n}"),
                &format!("SADD large-set s{n}"),
            ],
        );
    }
}

#[test]
fn every_type_survives_both_ends_with_its_expiry() {
    let mut server = Server::start(ALWAYS);
    let mut client = server.client();
    fill(&mut client);
    let before = content(&mut client);
    client = crash(&mut server);
    assert_eq!(content(&mut client), before, "after SIGKILL");
    run_all(
        &mut client,
        &["RPUSH large-list tail", "HDEL large-hash f1"],
    );
    let before = content(&mut client);
    assert!(server.terminate().success());
    server.restart();
    client = server.client();
    assert_eq!(content(&mut client), before, "after SIGTERM");
    client = crash(&mut server);
    assert_eq!(content(&mut client), before, "after nothing at all");
}

/// Does `change` to a filled server and crashes it: at once, after a
/// checkpoint before it, and after one that has it.
fn survives(change: &[&str]) {
    for (before, after) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut server = Server::start(ALWAYS);
        let mut client = server.client();
        run_all(
            &mut client,
            &[
                "SET a 1",
                "RPUSH l x y",
                "HSET h f v",
                "PEXPIREAT h 4000000000000",
                "SELECT 1",
                "SET a other",
                "ZADD z 1 m",
                "SELECT 0",
            ],
        );
        if before {
            await_checkpoint(&mut client);
        }
        run_all(&mut client, change);
        run_all(&mut client, &["SELECT 0"]);
        let wanted = content(&mut client);
        if after {
            await_checkpoint(&mut client);
        }
        for round in ["first", "second"] {
            client = crash(&mut server);
            assert_eq!(
                content(&mut client),
                wanted,
                "{change:?}, checkpoints {before} {after}, {round} crash"
            );
        }
    }
}

#[test]
fn what_is_set_after_flushall_is_all_there_is() {
    survives(&["FLUSHALL", "SET new 1", "SELECT 1", "INCR a"]);
}

#[test]
fn flushdb_leaves_the_other_databases() {
    survives(&["FLUSHDB", "SET a 5", "FLUSHDB", "RPUSH l z"]);
}

#[test]
fn databases_stay_exchanged_after_swapdb() {
    survives(&["SWAPDB 0 1", "APPEND a -0", "SELECT 1", "APPEND a -1"]);
    survives(&["SWAPDB 0 2", "SET a 5", "FLUSHDB", "SWAPDB 1 0", "INCR n"]);
}

#[test]
fn keys_stay_renamed_moved_and_copied() {
    survives(&["RENAME h h2", "RENAME l a", "RENAMENX a b"]);
    survives(&["MOVE l 2", "MOVE h 1", "MOVE a 1"]);
    survives(&[
        "COPY h h DB 1",
        "COPY a a DB 1 REPLACE",
        "COPY l l2",
        "RPUSH l2 z",
    ]);
}

#[test]
fn a_transaction_over_databases_is_replayed_in_each() {
    survives(&[
        "MULTI",
        "INCR a",
        "SELECT 1",
        "APPEND a x",
        "SELECT 2",
        "SET c 1",
        "EXEC",
        "INCR c",
        "SELECT 0",
        "INCR a",
    ]);
    survives(&["MULTI", "SWAPDB 0 1", "APPEND a x", "FLUSHDB", "EXEC"]);
}

#[test]
fn a_key_found_expired_after_swapdb_in_a_transaction_takes_no_other_with_it() {
    let mut server = Server::start(&[ALWAYS, &["--enable-debug-command", "yes"]].concat());
    let mut client = server.client();
    run_all(
        &mut client,
        &[
            "DEBUG SET-ACTIVE-EXPIRE 0",
            "SET k lives",
            "SELECT 1",
            "SET k dies PX 10",
            "SELECT 0",
        ],
    );
    // No command asks for the key; only the transaction will.
    std::thread::sleep(Duration::from_millis(20));
    let mut bytes = Vec::new();
    for line in ["MULTI", "SWAPDB 0 1", "GET k", "EXEC", "SELECT 1"] {
        bytes.extend(encode(&line.split(' ').collect::<Vec<_>>()));
    }
    let replies = client.pipeline(&bytes, 5);
    assert_eq!(
        replies[3],
        Reply::Array(vec![Reply::ok(), Reply::Null]),
        "{replies:?}"
    );
    assert_eq!(run(&mut client, "GET k"), Reply::bulk("lives"));
    client = crash(&mut server);
    run(&mut client, "SELECT 1");
    assert_eq!(run(&mut client, "GET k"), Reply::bulk("lives"));
}

/// XAUTOCLAIM names its effects even when there are none.
#[test]
fn a_write_pipelined_behind_a_command_without_effects_is_logged() {
    let mut server = Server::start(ALWAYS);
    let mut client = server.client();
    run(&mut client, "XGROUP CREATE stream group 0 MKSTREAM");
    let claim: &[&str] = &["XAUTOCLAIM", "stream", "group", "consumer", "0", "0"];
    let bytes: Vec<u8> = [claim, claim, &["SADD", "set", "member"]]
        .into_iter()
        .flat_map(encode)
        .collect();
    let replies = client.pipeline(&bytes, 3);
    assert_eq!(replies[2], Reply::Integer(1));
    let mut client = crash(&mut server);
    assert_eq!(run(&mut client, "SISMEMBER set member"), Reply::Integer(1));
}

#[test]
fn a_key_deleted_while_its_slot_is_cold_stays_deleted() {
    let mut server = Server::start(ALWAYS);
    let mut client = server.client();
    for n in 0..2000 {
        run(&mut client, &format!("SET key:{n} {n}"));
    }
    await_checkpoint(&mut client);
    client = crash(&mut server);
    // At once, before the slots are warm.
    assert_eq!(run(&mut client, "DBSIZE"), Reply::Integer(2000));
    let mut bytes = Vec::new();
    for n in (0..2000).rev().step_by(2) {
        bytes.extend(encode(&["DEL".into(), format!("key:{n}")]));
    }
    let replies = client.pipeline(&bytes, 1000);
    assert!(replies.iter().all(|reply| *reply == Reply::Integer(1)));
    let half = |client: &mut Client, when: &str| {
        assert_eq!(run(client, "DBSIZE"), Reply::Integer(1000), "{when}");
        for n in 0..2000 {
            let wanted = i64::from(n % 2 == 0);
            let found = run(client, &format!("EXISTS key:{n}"));
            assert_eq!(found, Reply::Integer(wanted), "key:{n} {when}");
        }
    };
    half(&mut client, "while warming");
    await_checkpoint(&mut client);
    half(&mut client, "after a checkpoint");
    client = crash(&mut server);
    half(&mut client, "after another crash");
}

#[test]
fn no_acknowledged_incr_is_lost_or_doubled_whenever_the_kill_comes() {
    const WRITERS: usize = 4;
    const KEYS: usize = 300;
    let mut server = Server::start(ALWAYS);
    let mut counts = vec![vec![0_i64; KEYS]; WRITERS];
    for round in 0..10_u64 {
        let acknowledged = AtomicU64::new(0);
        let port = server.port();
        let sent = std::thread::scope(|scope| {
            let write = |writer: usize| {
                let mut client = Client::connect(port).expect("it runs");
                let acknowledged = &acknowledged;
                move || {
                    let mut got = vec![0_i64; KEYS];
                    for n in 0.. {
                        let key = format!("{writer}:{}", (n * 7 + round as usize) % KEYS);
                        let incr = encode(&["INCR", &key]);
                        let reply = client.try_send(&incr).and_then(|()| client.try_read());
                        let Ok(reply) = reply else {
                            return (got, key);
                        };
                        assert!(matches!(reply, Reply::Integer(_)), "{reply:?}");
                        got[(n * 7 + round as usize) % KEYS] += 1;
                        acknowledged.fetch_add(1, Ordering::Relaxed);
                    }
                    unreachable!("the server is killed")
                }
            };
            let writers: Vec<_> = (0..WRITERS).map(|w| scope.spawn(write(w))).collect();
            let wanted = 50 + round * 173 % 700;
            eventually("writes are acknowledged", || {
                acknowledged.load(Ordering::Relaxed) >= wanted
            });
            server.kill();
            let joined = writers.into_iter().map(|w| w.join().expect("a writer"));
            joined.collect::<Vec<_>>()
        });
        server.restart();
        let mut client = server.client();
        for (writer, (got, in_flight)) in sent.into_iter().enumerate() {
            for key in 0..KEYS {
                let name = format!("{writer}:{key}");
                let text = run(&mut client, &format!("GET {name}")).text();
                let there: i64 = text.map_or(0, |text| text.parse().expect("a count"));
                let least = counts[writer][key] + got[key];
                let most = least + i64::from(name == in_flight);
                assert!(
                    (least..=most).contains(&there),
                    "round {round}, {name}: {there}, not {least} to {most}"
                );
                counts[writer][key] = there;
            }
        }
    }
}

#[test]
fn large_keys_values_and_collections_survive() {
    let mut server = Server::start(ALWAYS);
    let mut client = server.client();
    let (long_key, large) = (vec![b'k'; 1 << 20], vec![b'v'; 5 << 20]);
    assert_eq!(client.command(&[&b"SET"[..], &long_key, b"1"]), Reply::ok());
    assert_eq!(
        client.command(&[&b"SET"[..], b"large", &large]),
        Reply::ok()
    );
    let mut bytes = Vec::new();
    for n in 0..100 {
        for (name, width) in [("RPUSH", 1), ("SADD", 1), ("HSET", 2), ("ZADD", 2)] {
            let mut words = vec![name.to_string(), format!("{name}:100k")];
            for m in 0..1000 {
                let number = (n * 1000 + m).to_string();
                words.extend(std::iter::repeat_n(number, width));
            }
            bytes.extend(encode(&words));
        }
    }
    let replies = client.pipeline(&bytes, 400);
    assert!(replies.iter().all(|r| r.error_code().is_none()));
    let check = |client: &mut Client, when: &str| {
        assert_eq!(run(client, "DBSIZE"), Reply::Integer(6), "{when}");
        assert_eq!(client.command(&[&b"GET"[..], &long_key]), Reply::bulk("1"));
        assert!(run(client, "GET large") == Reply::bulk(&large), "{when}");
        for line in [
            "LLEN RPUSH:100k",
            "SCARD SADD:100k",
            "HLEN HSET:100k",
            "ZCARD ZADD:100k",
        ] {
            assert_eq!(run(client, line), Reply::Integer(100_000), "{line} {when}");
        }
        for line in [
            "LINDEX RPUSH:100k 77777",
            "HGET HSET:100k 77777",
            "ZSCORE ZADD:100k 77777",
        ] {
            assert_eq!(run(client, line), Reply::bulk("77777"), "{line} {when}");
        }
        assert_eq!(run(client, "SISMEMBER SADD:100k 9"), Reply::Integer(1));
    };
    client = crash(&mut server);
    check(&mut client, "from the log");
    await_checkpoint(&mut client);
    client = crash(&mut server);
    check(&mut client, "from the tree");
    let deleted = client.command(&[&b"DEL"[..], &long_key, b"large", b"HSET:100k"]);
    assert_eq!(deleted, Reply::Integer(3));
    await_checkpoint(&mut client);
    client = crash(&mut server);
    assert_eq!(run(&mut client, "DBSIZE"), Reply::Integer(3));
}

#[test]
fn a_second_server_on_the_directory_is_refused() {
    let first = Server::start(&[]);
    let dir = first.dir().to_str().expect("a path in UTF-8").to_string();
    let mut second = Server::start(&[]);
    second.terminate();
    let refusal = second.restart_refused_with(&["--dir", &dir]);
    assert!(refusal.contains("in use by another server"), "{refusal}");
    assert!(refusal.contains(&first.pid().to_string()), "{refusal}");
}

/// The segment file that holds `needle`, its bytes, and where.
fn segment_with(server: &Server, needle: &[u8]) -> (PathBuf, Vec<u8>, usize) {
    let entries = std::fs::read_dir(server.dir().join("log")).expect("a log directory");
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        let bytes = std::fs::read(&path).expect("it can be read");
        let found = bytes.windows(needle.len()).position(|part| part == needle);
        if let Some(at) = found {
            return (path, bytes, at);
        }
    }
    panic!("no segment holds it");
}

#[test]
fn a_flipped_byte_before_the_logs_end_is_refused_by_file_and_position() {
    let mut server = Server::start(ALWAYS);
    let mut client = server.client();
    for n in 0..100 {
        run(&mut client, &format!("SET key:{n} value-of-{n}"));
    }
    server.kill();
    let (path, mut bytes, at) = segment_with(&server, b"value-of-50");
    bytes[at] ^= 1;
    std::fs::write(&path, &bytes).expect("it can be written");
    let refusal = server.restart_refused();
    let name = path.file_name().expect("a name").to_string_lossy();
    assert!(refusal.contains("the log is corrupt"), "{refusal}");
    assert!(refusal.contains(&*name), "{refusal}");
    assert!(refusal.contains("at byte "), "{refusal}");
    bytes[at] ^= 1;
    std::fs::write(&path, &bytes).expect("it can be written");
    server.restart();
    assert_eq!(run(&mut server.client(), "DBSIZE"), Reply::Integer(100));
}

#[test]
fn a_torn_tail_is_dropped() {
    // The reply says that the record is written. No later record says that it
    // was durable, and the tree hasn't taken it over yet.
    let mut server = Server::start(ALWAYS);
    let mut client = server.client();
    run_all(&mut client, &["SET kept 1"]);
    loop {
        await_checkpoint(&mut client);
        let before = info_number(&mut client, "tree_applied_offset");
        run_all(&mut client, &["SET torn value-that-is-torn"]);
        server.kill();
        let tree = Tree::open(&server.dir().join("tree"), TreeOptions::default());
        let meta = tree.expect("it opens").meta().expect("it is whole");
        if meta.offset == before {
            break;
        }
        // The tree was quicker than the kill: once more.
        server.restart();
        client = server.client();
        run_all(&mut client, &["DEL torn"]);
    }
    let (path, mut bytes, at) = segment_with(&server, b"value-that-is-torn");
    bytes[at + 5..].fill(0);
    std::fs::write(&path, &bytes).expect("it can be written");
    server.restart();
    client = server.client();
    assert_eq!(run(&mut client, "GET kept"), Reply::bulk("1"));
    assert_eq!(run(&mut client, "GET torn"), Reply::Null);
    run_all(&mut client, &["SET after 2"]);
    await_checkpoint(&mut client);
    client = crash(&mut server);
    assert_eq!(run(&mut client, "GET after"), Reply::bulk("2"));
    assert_eq!(run(&mut client, "DBSIZE"), Reply::Integer(2));
}

#[test]
fn a_directory_that_cant_be_written_is_refused_by_name() {
    // A file in the directory's place stops root as well.
    let mut server = Server::start(&[]);
    server.terminate();
    let tree = server.dir().join("tree");
    std::fs::remove_dir_all(&tree).expect("it can be removed");
    std::fs::write(&tree, "in the way").expect("it can be written");
    let refusal = server.restart_refused();
    assert!(refusal.contains(tree.to_str().expect("UTF-8")), "{refusal}");
    assert!(!refusal.contains("panicked"), "{refusal}");
}

#[test]
fn fewer_databases_than_hold_keys_are_refused() {
    let mut server = Server::start(ALWAYS);
    let mut client = server.client();
    run_all(&mut client, &["SELECT 9", "SET a 1"]);
    await_checkpoint(&mut client);
    server.kill();
    let refusal = server.restart_refused_with(&["--databases", "4"]);
    assert!(refusal.contains("database 9 holds keys"), "{refusal}");
    server.restart();
    client = server.client();
    run_all(&mut client, &["SELECT 9"]);
    assert_eq!(run(&mut client, "GET a"), Reply::bulk("1"));
}

#[test]
fn no_reply_is_lost_and_none_is_false_while_appendfsync_changes() {
    const WRITERS: usize = 4;
    const ROUNDS: u64 = 300;
    let mut server = Server::start(ALWAYS);
    let done = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let mut client = server.client();
            let done = &done;
            scope.spawn(move || {
                for round in 1..=ROUNDS {
                    let key = format!("count:{writer}");
                    let batch = encode(&["INCR", &key]).repeat(3);
                    let replies = client.pipeline(&batch, 3);
                    let end = Reply::Integer(3 * round as i64);
                    assert_eq!(replies[2], end, "writer {writer}");
                }
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
        let mut client = server.client();
        while done.load(Ordering::Relaxed) < WRITERS as u64 {
            for policy in ["everysec", "no", "always"] {
                run_all(&mut client, &[&format!("CONFIG SET appendfsync {policy}")]);
            }
        }
    });
    // The last policy is `always`, which this reply waits for.
    let mut client = server.client();
    run_all(&mut client, &["SET last write"]);
    let mut client = crash(&mut server);
    for writer in 0..WRITERS {
        let count = Reply::bulk((3 * ROUNDS).to_string());
        assert_eq!(run(&mut client, &format!("GET count:{writer}")), count);
    }
}

/// Counts up a key until the server is gone; the last count acknowledged.
fn count_up_to_the_end(mut client: Client) -> i64 {
    let mut acknowledged = 0;
    while client.try_send(&encode(&["INCR", "count"])).is_ok() {
        match client.try_read() {
            Ok(Reply::Integer(count)) => acknowledged = count,
            Ok(other) => panic!("{other:?}"),
            Err(_) => break,
        }
    }
    acknowledged
}

fn stop_while_a_script_runs(policy: &str) {
    let directives = ["--appendfsync", policy, "--lua-time-limit", "0"];
    let mut server = Server::start(&directives);
    let mut script = server.client();
    let endless = "redis.call('SET', KEYS[1], 1) while true do end";
    script.send(&encode(&["EVAL", endless, "1", "{script}"]));
    eventually("the script runs", || {
        let clients = run(&mut server.client(), "INFO clients").text();
        clients.is_some_and(|text| text.contains("blocked_clients:1\r"))
    });
    let writers = [0; 4].map(|_| server.client());
    let writers = writers.map(|client| std::thread::spawn(|| count_up_to_the_end(client)));
    eventually("somebody has written", || {
        run(&mut server.client(), "GET count") != Reply::Null
    });
    server.terminate();
    let ended = writers.map(|writer| writer.join().expect("the writer ends"));
    server.restart();
    let count = run(&mut server.client(), "GET count").text();
    let count: Option<i64> = count.and_then(|text| text.parse().ok());
    assert!(
        count >= ended.into_iter().max(),
        "{policy}: {count:?} {ended:?}"
    );
}

#[test]
fn a_checkpoint_that_waits_for_an_endless_script_does_not_hold_up_the_end() {
    let directives = ["--enable-debug-command", "yes", "--lua-time-limit", "500"];
    let mut server = Server::start(&[ALWAYS, &directives].concat());
    let mut client = server.client();
    let counter = |name: &str| info_number(&mut server.client(), name);
    loop {
        run_all(&mut client, &["FLUSHALL", "DEBUG POPULATE 300000 key 50"]);
        let before = counter("checkpoints");
        run(&mut client, "BGREWRITEAOF");
        eventually("a checkpoint has begun", || {
            counter("aof_rewrite_in_progress") == 1 || counter("checkpoints") > before
        });
        // Its key is in the last stripe that is collected.
        let mut script = server.client();
        script.send(&encode(&["EVAL", "while true do end", "1", "430"]));
        eventually("the script is busy", || {
            run(&mut server.client(), "GET 430").error_code() == Some("BUSY")
        });
        if counter("checkpoints") == before {
            break;
        }
        run_all(&mut server.client(), &["SCRIPT KILL"]);
    }
    server.terminate();
    server.restart();
    assert_eq!(run(&mut server.client(), "DBSIZE"), Reply::Integer(300_000));
}

#[test]
fn nothing_is_acknowledged_that_comes_too_late_for_the_log() {
    // A script that does not end holds up the shutdown, and runs beyond it.
    let servers = ["everysec", "always"]
        .map(|policy| std::thread::spawn(move || stop_while_a_script_runs(policy)));
    let ended = servers.map(|server| server.join());
    assert!(ended.iter().all(Result::is_ok));
}

#[test]
fn any_number_of_flushes_lies_between_two_checkpoints() {
    let durable: &[&str] = &["--appendfsync", "always", "--enable-debug-command", "yes"];
    let cache: &[&str] = &["--appendonly", "no", "--save", ""];
    for directives in [durable, cache] {
        let mut server = Server::start(directives);
        let mut client = server.client();
        run_all(&mut client, &["SELECT 3", "SET other x", "SELECT 0"]);
        if directives == durable {
            // All of them are to be replayed.
            run_all(&mut client, &["DEBUG STORAGE PAUSE-TREE"]);
        }
        let many = "for _ = 1, 66000 do redis.call('SET', 'a', 1) redis.call('FLUSHDB') end";
        assert_eq!(client.command(&["EVAL", many, "1", "a"]), Reply::Null);
        run_all(&mut client, &["SET a last"]);
        let wanted = content(&mut client);
        assert_eq!(wanted.len(), 2);
        if directives == durable {
            client = crash(&mut server);
        }
        run_all(&mut client, &["SAVE", "SET b 1", "DEL b"]);
        client = crash(&mut server);
        assert_eq!(content(&mut client), wanted);
    }
}
