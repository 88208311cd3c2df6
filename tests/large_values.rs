//! Large collections: a write to one costs the tree a few rows, and whatever
//! becomes of them, a kill loses nothing.

mod support;

use support::{Client, Reply, Server, encode, eventually};

const DURABLE: &[&str] = &[
    "--appendonly",
    "yes",
    "--appendfsync",
    "always",
    "--enable-debug-command",
    "yes",
];
const ELEMENTS: usize = 3000;
const KINDS: [&str; 5] = ["hash", "set", "zset", "list", "stream"];

fn run(client: &mut Client, line: &str) -> Reply {
    let reply = client.command(&line.split(' ').collect::<Vec<_>>());
    assert!(reply.error_code().is_none(), "{line}: {reply:?}");
    reply
}

fn info(client: &mut Client, field: &str) -> u64 {
    let text = run(client, "INFO persistence").text().expect("a text");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.expect(field).trim().parse().expect("a number")
}

/// The command that adds an element.
fn element(kind: &str, key: &str, n: usize) -> String {
    let name = format!("element:{n:012}");
    match kind {
        "hash" => format!("HSET {key} {name} value:{n}"),
        "set" => format!("SADD {key} {name}"),
        "zset" => format!("ZADD {key} {n} {name}"),
        "list" => format!("RPUSH {key} {name}"),
        _ => format!("XADD {key} * field {name}"),
    }
}

fn fill(client: &mut Client, kind: &str, numbers: std::ops::Range<usize>) {
    for first in numbers.clone().step_by(500) {
        let last = numbers.end.min(first + 500);
        let lines = (first..last).map(|n| element(kind, kind, n));
        let bytes: Vec<u8> = lines
            .flat_map(|line| encode(&line.split(' ').collect::<Vec<_>>()))
            .collect();
        let replies = client.pipeline(&bytes, last - first);
        assert!(replies.iter().all(|reply| reply.error_code().is_none()));
    }
}

fn await_tree(client: &mut Client) {
    eventually("the tree has everything", || {
        info(client, "tree_lag_bytes") == 0
    });
}

fn digest(client: &mut Client) -> String {
    run(client, "DEBUG DIGEST").text().expect("a digest")
}

/// Kills the server and starts it again; what it holds is the same.
fn kill(server: &mut Server) -> Client {
    let before = digest(&mut server.client());
    server.kill();
    server.restart();
    let mut client = server.client();
    assert_eq!(digest(&mut client), before);
    client
}

#[test]
fn a_write_to_a_large_collection_costs_the_tree_a_few_rows_after_a_kill_too() {
    let mut server = Server::start(DURABLE);
    let mut client = server.client();
    for kind in KINDS {
        fill(&mut client, kind, 0..ELEMENTS);
    }
    await_tree(&mut client);
    client = kill(&mut server);
    for round in 0..2 {
        for kind in KINDS {
            let before = info(&mut client, "tree_written_bytes");
            fill(&mut client, kind, ELEMENTS + round..ELEMENTS + round + 1);
            await_tree(&mut client);
            let written = info(&mut client, "tree_written_bytes") - before;
            // Which row had which node of a list is not known after a start.
            if (kind, round) != ("list", 0) {
                assert!(written < 15_000, "{kind}, {round}: {written}");
            }
        }
    }
    kill(&mut server);
}

/// What is to happen to large values between two looks at all of them.
const STEPS: [&[&str]; 6] = [
    &[
        "HDEL hash element:000000000007",
        "SREM set element:000000000007",
    ],
    &[
        "RENAME hash other",
        "COPY set set2",
        "EXPIRE zset 10000",
        "MOVE list 3",
    ],
    &[
        "XTRIM stream MAXLEN 100",
        "DEL other",
        "ZREMRANGEBYRANK zset 0 2900",
    ],
    &[
        "SWAPDB 0 3",
        "HSET hash a b",
        "LPUSH list x",
        "LSET list 2000 y",
    ],
    &[
        "FLUSHDB",
        "SWAPDB 0 3",
        "HSETEX zset2 PX 10000000 FIELDS 1 f v",
    ],
    &["SPOP set2 2990", "SINTERSTORE set set set2", "PERSIST zset"],
];

#[test]
fn whatever_becomes_of_large_values_a_kill_changes_nothing() {
    let mut server = Server::start(DURABLE);
    let mut client = server.client();
    for (step, lines) in STEPS.iter().enumerate() {
        for kind in KINDS {
            fill(&mut client, kind, ELEMENTS + step..ELEMENTS + step + 3);
            if step % 2 == 0 {
                fill(
                    &mut client,
                    kind,
                    (step + 1) * 10_000..(step + 1) * 10_000 + 1000,
                );
            }
        }
        if step % 3 != 1 {
            await_tree(&mut client);
        }
        for line in *lines {
            client.command(&line.split(' ').collect::<Vec<_>>());
        }
        if step % 2 == 1 {
            await_tree(&mut client);
        }
        client = kill(&mut server);
    }
}

#[test]
fn large_values_leave_memory_come_back_and_are_saved() {
    let debug = ["--enable-debug-command", "yes", "--save", ""];
    let limit = ["--maxmemory", "8mb", "--appendonly", "yes"];
    let mut server = Server::start(&[&limit[..], &debug].concat());
    let mut client = server.client();
    let reference = Server::start(&[&["--appendonly", "no"], &debug[..]].concat());
    let mut wanted = reference.client();
    let mut both = |line: String, client: &mut Client| {
        let args: Vec<&str> = line.split(' ').collect();
        wanted.command(&args);
        eventually("the write is taken", || {
            client.command(&args).error_code().is_none()
        });
    };
    let padding = "p".repeat(600);
    for round in 0..12 {
        for key in 0..45 {
            // Hashes of 180 KB, which don't fit in together.
            let fields = (0..25).map(|n| format!(" {round}:{n} {n}:{padding}"));
            let fields: String = fields.collect();
            both(format!("HSET h:{key}{fields}"), &mut client);
        }
    }
    for key in 0..45 {
        both(format!("HSET h:{key} a:{key} changed"), &mut client);
        both(format!("HDEL h:{key} 3:{}", key % 25), &mut client);
    }
    let away = info(&mut client, "values_spilled");
    assert!(away > 0, "nothing left memory");
    assert_eq!(digest(&mut client), digest(&mut wanted));
    run(&mut client, "SAVE");
    server.kill();
    server.restart();
    client = server.client();
    assert_eq!(digest(&mut client), digest(&mut wanted));
    // Its snapshot, read by one without a tree.
    let file = server.dir().join("dump.rdb");
    let mut reader = Server::start(&[&["--appendonly", "no"], &debug[..]].concat());
    reader.kill();
    std::fs::copy(file, reader.dir().join("dump.rdb")).unwrap();
    reader.restart();
    assert_eq!(digest(&mut reader.client()), digest(&mut wanted));
}

#[test]
fn memory_of_what_was_deleted_goes_back_to_the_system() {
    const MB: usize = 1 << 20;
    let server = Server::start(&["--appendonly", "no", "--save", ""]);
    let mut client = server.client();
    run(&mut client, &format!("SETRANGE large {} x", 300 * MB));
    for n in 0..300 {
        run(&mut client, &format!("SETRANGE small:{n} {MB} x"));
    }
    assert!(server.resident_bytes() > 500 * MB);
    // By itself, once nothing more is freed in the background.
    run(&mut client, "UNLINK large");
    eventually("the large one's goes", || {
        run(&mut client, "GET none");
        server.resident_bytes() < 400 * MB
    });
    for n in 0..300 {
        run(&mut client, &format!("DEL small:{n}"));
    }
    run(&mut client, "MEMORY PURGE");
    eventually("all goes", || {
        run(&mut client, "GET none");
        server.resident_bytes() < 100 * MB
    });
}
