//! Data several times as large as `maxmemory`: keys stay, values leave RAM for
//! the tree and come back, and all of it is right.

mod support;

use support::{Client, Reply, Server, encode, eventually};

const KEYS: usize = 16_000;
/// With these values the data is four times the limit.
const VALUE_BYTES: usize = 2_000;
const LIMIT: &[&str] = &["--maxmemory", "8mb", "--appendonly", "yes"];

fn run(client: &mut Client, line: &str) -> Reply {
    client.command(&line.split(' ').collect::<Vec<_>>())
}

fn info(client: &mut Client, field: &str) -> u64 {
    let text = run(client, "INFO").text().expect("a text");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.expect(field).trim().parse().expect("a number")
}

fn value(n: usize, version: usize) -> String {
    format!("{n}:{version}:{}", "v".repeat(VALUE_BYTES))
}

/// Sets the keys `from..to` to a version of their values. Such writes may be
/// refused for a while: then the tree has to catch up.
fn set(client: &mut Client, from: usize, to: usize, version: usize) {
    for first in (from..to).step_by(50) {
        let last = to.min(first + 50);
        let mut left: Vec<usize> = (first..last).collect();
        eventually("the writes are taken", || {
            let mut bytes = Vec::new();
            for &n in &left {
                bytes.extend(encode(&["SET", &format!("key:{n}"), &value(n, version)]));
            }
            let replies = client.pipeline(&bytes, left.len());
            let mut replies = replies.iter();
            left.retain(|_| replies.next() != Some(&Reply::ok()));
            left.is_empty()
        });
    }
}

/// Reads everything back.
fn verify(client: &mut Client, version_of: impl Fn(usize) -> usize) {
    for first in (0..KEYS).step_by(100) {
        let mut bytes = Vec::new();
        for n in first..first + 100 {
            bytes.extend(encode(&["GET", &format!("key:{n}")]));
        }
        let replies = client.pipeline(&bytes, 100);
        for (n, reply) in (first..).zip(&replies) {
            let wanted = Reply::bulk(value(n, version_of(n)));
            assert!(*reply == wanted, "key:{n}: {}", &format!("{reply:?}")[..40]);
        }
    }
}

#[test]
fn four_times_the_limit_is_stored_changed_and_read_back() {
    let mut server = Server::start(LIMIT);
    let mut client = server.client();
    let policy = format!("{:?}", run(&mut client, "CONFIG GET maxmemory-policy"));
    assert_eq!(
        run(&mut client, "CONFIG GET maxmemory-policy"),
        Reply::Array(vec![
            Reply::bulk("maxmemory-policy"),
            Reply::bulk("values-to-tree")
        ]),
        "{policy}"
    );
    set(&mut client, 0, KEYS, 0);
    eventually("memory is below the limit", || {
        info(&mut client, "used_memory")
            <= (8 << 20) + info(&mut client, "mem_not_counted_for_evict")
    });
    let cold = info(&mut client, "cold_values");
    assert!(cold > KEYS as u64 / 2, "{cold} values left RAM");
    assert_eq!(info(&mut client, "evicted_keys"), 0);
    assert_eq!(run(&mut client, "DBSIZE"), Reply::Integer(KEYS as i64));
    verify(&mut client, |_| 0);
    let (reads, stalled) = (
        info(&mut client, "cold_reads"),
        info(&mut client, "cold_reads_in_worker"),
    );
    assert!(reads > cold / 2, "{reads} values were read back");
    assert!(
        stalled < reads / 20,
        "{stalled} of {reads} reads held up a worker"
    );
    // Overwritten, whether they are in RAM or not.
    set(&mut client, 0, KEYS / 4, 1);
    let version = |n| usize::from(n < KEYS / 4);
    verify(&mut client, version);
    for end in ["a crash", "a clean end"] {
        match end {
            "a crash" => {
                eventually("all of it is synced", || {
                    let synced = info(&mut client, "log_synced_offset");
                    synced == info(&mut client, "log_end_offset")
                });
                server.kill();
            }
            _ => assert!(server.terminate().success()),
        }
        server.restart();
        client = server.client();
        assert_eq!(
            run(&mut client, "DBSIZE"),
            Reply::Integer(KEYS as i64),
            "{end}"
        );
        verify(&mut client, version);
    }
}

/// Fills memory with other values, by which those that were not used since
/// leave it.
fn push_out(client: &mut Client) {
    let before = info(client, "values_spilled");
    set(client, 0, 6000, 0);
    assert!(info(client, "values_spilled") > before + 1000);
}

#[test]
fn every_type_and_command_finds_values_that_left() {
    let server = Server::start(&[LIMIT, &["--enable-debug-command", "yes"]].concat());
    let mut client = server.client();
    let padding = "p".repeat(3000);
    let keys = ["string", "list", "set", "hash", "zset", "expiring"];
    for line in [
        format!("SET string {padding}"),
        format!("RPUSH list a {padding} c"),
        format!("SADD set a b {padding}"),
        format!("HSET hash f v g {padding}"),
        format!("ZADD zset 1 a 2 {padding}"),
        format!("SET expiring {padding} EX 10000"),
    ] {
        assert_eq!(run(&mut client, &line).error_code(), None);
    }
    let digest = |client: &mut Client| {
        let mut line = String::from("DEBUG DIGEST-VALUE");
        keys.iter()
            .for_each(|key| line.push_str(&format!(" {key}")));
        run(client, &line)
    };
    let before = digest(&mut client);
    push_out(&mut client);
    for (key, wanted) in keys
        .iter()
        .zip(["string", "list", "set", "hash", "zset", "string"])
    {
        let found = run(&mut client, &format!("TYPE {key}")).text();
        assert_eq!(found.as_deref(), Some(wanted), "{key}");
        assert_eq!(
            run(&mut client, &format!("EXISTS {key}")),
            Reply::Integer(1)
        );
    }
    assert_eq!(digest(&mut client), before);
    push_out(&mut client);
    let replies = [
        ("APPEND string x", Reply::Integer(3001)),
        ("RPUSH list d", Reply::Integer(4)),
        ("LINDEX list 0", Reply::bulk("a")),
        ("SISMEMBER set b", Reply::Integer(1)),
        ("HGET hash f", Reply::bulk("v")),
        ("HINCRBY hash n 5", Reply::Integer(5)),
        ("ZSCORE zset a", Reply::bulk("1")),
        ("RENAME set renamed", Reply::ok()),
        ("SCARD renamed", Reply::Integer(3)),
        ("PERSIST expiring", Reply::Integer(1)),
        ("STRLEN expiring", Reply::Integer(3000)),
        ("DEL zset", Reply::Integer(1)),
        ("EXISTS zset", Reply::Integer(0)),
    ];
    for (line, wanted) in replies {
        // Right behind what fills memory, a write may be refused for a moment.
        let mut reply = Reply::Null;
        eventually("the command is taken", || {
            reply = run(&mut client, line);
            reply.error_code() != Some("OOM")
        });
        assert_eq!(reply, wanted, "{line}");
    }
    push_out(&mut client);
    let mut bytes = Vec::new();
    for line in ["MULTI", "STRLEN string", "LLEN list", "HLEN hash", "EXEC"] {
        bytes.extend(encode(&line.split(' ').collect::<Vec<_>>()));
    }
    let replies = client.pipeline(&bytes, 5);
    let wanted = [3001, 4, 3].map(Reply::Integer);
    assert_eq!(replies[4], Reply::Array(wanted.to_vec()), "{replies:?}");
}

#[test]
fn flushed_and_exchanged_databases_take_their_values_along() {
    let server = Server::start(LIMIT);
    let mut client = server.client();
    set(&mut client, 0, KEYS, 0);
    assert_eq!(run(&mut client, "SWAPDB 0 1"), Reply::ok());
    assert_eq!(run(&mut client, "DBSIZE"), Reply::Integer(0));
    assert_eq!(run(&mut client, "SET key:1 other"), Reply::ok());
    run(&mut client, "SELECT 1");
    verify(&mut client, |_| 0);
    assert_eq!(run(&mut client, "FLUSHDB"), Reply::ok());
    assert_eq!(run(&mut client, "EXISTS key:1"), Reply::Integer(0));
    set(&mut client, 0, 100, 2);
    assert_eq!(run(&mut client, "GET key:7"), Reply::bulk(value(7, 2)));
    run(&mut client, "SELECT 0");
    assert_eq!(run(&mut client, "GET key:1"), Reply::bulk("other"));
}

#[test]
fn noeviction_that_somebody_has_set_stays() {
    let limit = [LIMIT, &["--maxmemory-policy", "noeviction"]].concat();
    let server = Server::start(&limit);
    let mut client = server.client();
    let policy = run(&mut client, "CONFIG GET maxmemory-policy");
    let wanted = ["maxmemory-policy", "noeviction"].map(Reply::bulk);
    assert_eq!(policy, Reply::Array(wanted.to_vec()));
}

#[test]
fn fields_expire_by_themselves_after_a_restart() {
    const HASHES: usize = 300;
    let mut server = Server::start(LIMIT);
    let mut client = server.client();
    set(&mut client, 0, 8000, 0);
    let script = "for i = 1, 300 do
        redis.call('HSETEX', 'h' .. i, 'PX', 3000, 'FIELDS', 1, 'f', string.rep('v', 100))
    end";
    assert_eq!(client.command(&["EVAL", script, "0"]), Reply::Null);
    assert_eq!(
        run(&mut client, "DBSIZE"),
        Reply::Integer(8000 + HASHES as i64)
    );
    server.terminate();
    server.restart();
    client = server.client();
    // Nobody asks for any of them.
    eventually("all fields are gone", || {
        run(&mut client, "DBSIZE") == Reply::Integer(8000)
    });
}

/// No more than this is in use while data comes from a log or a stream: the
/// limit, and what the tree is about to take over.
const MOST: u64 = 16 << 20;

/// Without a limit, writes four times the limit of the others; among them
/// counters in another database, which tell whether each command ran once.
fn fill(server: &Server) {
    let mut client = server.client();
    for first in (0..KEYS).step_by(100) {
        let mut bytes = Vec::new();
        for n in first..first + 100 {
            bytes.extend(encode(&["SET", &format!("key:{n}"), &value(n, 0)]));
        }
        let count = format!("count:{}", first % 700);
        for words in [
            ["SELECT", "1"].as_slice(),
            &["INCR", &count],
            &["MULTI"],
            &["INCR", &count],
            &["SELECT", "0"],
            &["EXEC"],
        ] {
            bytes.extend(encode(words));
        }
        let replies = client.pipeline(&bytes, 106);
        assert!(replies.iter().all(|reply| reply.error_code().is_none()));
    }
    eventually("all of it is written", || {
        info(&mut client, "log_written_offset") == info(&mut client, "log_end_offset")
    });
}

/// Whether a server has what [`fill`] writes.
fn verify_filled(server: &Server) {
    let mut client = server.client();
    verify(&mut client, |_| 0);
    assert_eq!(run(&mut client, "SELECT 1"), Reply::ok());
    for count in (0..700).step_by(100) {
        let rounds = (0..KEYS).step_by(100).filter(|n| n % 700 == count).count();
        let found = run(&mut client, &format!("GET count:{count}"));
        assert_eq!(found, Reply::bulk((2 * rounds).to_string()), "{count}");
    }
}

#[test]
fn a_long_log_is_replayed_within_the_limit() {
    let debug = ["--enable-debug-command", "yes"];
    let mut server = Server::start(&debug);
    let paused = run(&mut server.client(), "DEBUG STORAGE PAUSE-TREE");
    assert_eq!(paused, Reply::ok());
    fill(&server);
    assert!(info(&mut server.client(), "used_memory") > 2 * MOST);
    server.kill();
    server.set_directives(LIMIT);
    // The second start has what the first one left to it.
    for _ in 0..2 {
        server.restart();
        let used = info(&mut server.client(), "used_memory");
        assert!(used < MOST, "{used} bytes are in use");
        server.kill();
    }
    server.restart();
    verify_filled(&server);
}

#[test]
fn a_replica_that_catches_up_keeps_to_its_limit() {
    let primary = Server::start(&[]);
    let at = format!("127.0.0.1 {}", primary.port());
    let mut replica = Server::start(&[LIMIT, &["--replicaof", &at]].concat());
    let level = |client: &mut Client| {
        let offset = info(&mut primary.client(), "master_repl_offset");
        let text = run(client, "INFO replication").text().expect("a text");
        text.contains("master_link_status:up")
            && text.contains(&format!("slave_repl_offset:{offset}\r\n"))
    };
    let mut client = replica.client();
    run(&mut primary.client(), "SET first 1");
    eventually("it is in sync", || level(&mut client));
    replica.kill();
    fill(&primary);
    replica.restart();
    client = replica.client();
    eventually("it is in sync again", || {
        let used = info(&mut client, "used_memory");
        assert!(used < MOST, "{used} bytes are in use");
        level(&mut client)
    });
    assert_eq!(info(&mut primary.client(), "sync_full"), 1);
    assert_eq!(info(&mut primary.client(), "sync_partial_ok"), 1);
    verify_filled(&replica);
    replica.kill();
    replica.restart();
    eventually("it is in sync at last", || level(&mut replica.client()));
    verify_filled(&replica);
}
