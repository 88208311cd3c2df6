//! Mutated DUMP payloads sent to a server by RESTORE: each is refused and leaves the key as it
//! was, or is stored and can be read and dumped; the server lives on, and its memory stays in bounds.
//!
//! `cargo test` runs a short part of it; `scripts/fuzz --runs 1000000 payloads` runs it for long.
//! `FUZZ_SEED` repeats a run.

#[path = "fuzz/mutator.rs"]
mod mutator;
mod support;

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use mutator::{Random, mutate};
use redoubt_persistence::rdb::dump;
use support::{Client, Reply, Server, encode};

/// Dumps of every type that Redis 7.0.15 and Valkey 9.1.2 make: `name hex` a line.
const FIXTURES: [&str; 3] = [
    include_str!("../persistence/rdb/fixtures/redis-7.0.15.hex"),
    include_str!("../persistence/rdb/fixtures/valkey-9.1.2.hex"),
    include_str!("../persistence/rdb/fixtures/streams.hex"),
];

const SHORT_RUNS: u64 = 4_000;
/// Payloads a pipeline.
const BATCH: u64 = 500;
const MAX_PAYLOAD_BYTES: usize = 2048;
/// Resident memory above which something is wrong.
const MEMORY_BOUND_KB: u64 = 500_000;

#[test]
fn mutated_payloads_are_refused_without_effect_or_stored_whole() {
    run(1, SHORT_RUNS);
}

#[test]
#[ignore = "runs for FUZZ_RUNS payloads: scripts/fuzz"]
fn payloads() {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH);
    let drawn = clock.map_or(1, |now| now.as_nanos() as u64);
    let seed = number("FUZZ_SEED").unwrap_or(drawn);
    run(seed, number("FUZZ_RUNS").unwrap_or(100_000));
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("FUZZ_SEED and FUZZ_RUNS are numbers"))
}

fn corpus() -> Vec<Vec<u8>> {
    let lines = FIXTURES.iter().flat_map(|text| text.lines());
    let dumps = lines.filter_map(|line| line.split_once(' '));
    let bodies = dumps.map(|(_, hex)| {
        let digit = |byte: u8| char::from(byte).to_digit(16).expect("hexadecimal") as u8;
        let pairs = hex.trim().as_bytes().chunks_exact(2);
        let dump: Vec<u8> = pairs.map(|p| digit(p[0]) << 4 | digit(p[1])).collect();
        dump::unwrap(&dump).expect("a fixture is good").to_vec()
    });
    bodies.collect()
}

fn run(seed: u64, payloads: u64) {
    println!("FUZZ_SEED={seed}, {payloads} payloads");
    let mut server = Server::start(&["--save", "", "--maxmemory", "0"]);
    let mut client = server.client();
    let corpus = corpus();
    for (number, body) in corpus.iter().enumerate() {
        let key = format!("kept:{number}");
        let restore: [&[u8]; 4] = [b"RESTORE", key.as_bytes(), b"0", &dump::wrap(body)];
        assert_eq!(client.command(&restore), Reply::ok());
    }
    let kept = digest(&mut client);
    let mut random = Random::new(seed);
    let began = Instant::now();
    let (mut stored, mut sent, mut peak_kb) = (0, 0, 0);
    while sent < payloads {
        stored += send_batch(&mut client, &mut random, &corpus);
        sent += BATCH;
        assert_eq!(client.command(&["DEL", "k"]), Reply::Integer(1));
        assert_eq!(digest(&mut client), kept, "other keys have changed");
        peak_kb = peak_kb.max(resident_kb(&server));
        assert!(peak_kb < MEMORY_BOUND_KB, "{peak_kb} kB resident");
    }
    let rate = sent as f64 / began.elapsed().as_secs_f64();
    println!(
        "{sent} payloads, {rate:.0} a second, {stored} stored, no failure, at most {peak_kb} kB resident"
    );
    // All that was stored is in the log, and can be replayed.
    server.kill();
    server.restart();
    let mut client = server.client();
    client.command(&["DEL", "k"]);
    assert_eq!(digest(&mut client), kept);
}

fn digest(client: &mut Client) -> Reply {
    client.command(&["DEBUG", "DIGEST"])
}

/// Sends payloads for a key that has a value; gives how many were stored.
fn send_batch(client: &mut Client, random: &mut Random, corpus: &[Vec<u8>]) -> u64 {
    let mut request = Vec::new();
    let mut payloads = Vec::new();
    let before = ["DEBUG", "DIGEST-VALUE", "k"];
    for _ in 0..BATCH {
        let body = mutate(random, corpus, MAX_PAYLOAD_BYTES);
        let payload = match random.below(16) {
            0 => body,
            _ => dump::wrap(&body),
        };
        request.extend(encode(&["SET", "k", "as it was"]));
        let restore: [&[u8]; 5] = [b"RESTORE", b"k", b"0", &payload, b"REPLACE"];
        request.extend(encode(&restore));
        request.extend(encode(&before));
        request.extend(encode(&["DUMP", "k"]));
        payloads.push(payload);
    }
    request.extend(encode(&["SET", "k", "as it was"]));
    request.extend(encode(&before));
    let mut replies = client.pipeline(&request, BATCH as usize * 4 + 2);
    let unchanged = replies.pop().expect("a digest");
    let mut stored = 0;
    for (payload, replies) in payloads.iter().zip(replies.chunks(4)) {
        match &replies[1] {
            Reply::Error(_) => assert_eq!(replies[2], unchanged, "after {payload:?}"),
            reply => {
                assert_eq!(*reply, Reply::ok(), "for {payload:?}");
                // A value whose time is over is not there.
                assert!(
                    matches!(replies[3], Reply::Bulk(_) | Reply::Null),
                    "for {payload:?}"
                );
                stored += 1;
            }
        }
    }
    stored
}

/// Source: proc(5), status.
fn resident_kb(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid()));
    let status = status.expect("the server is alive");
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    let figure = line.and_then(|line| line.split_whitespace().nth(1));
    figure.and_then(|kb| kb.parse().ok()).expect("a figure")
}
