//! How fast random updates of a large tree are by size of batch, and how much memory LMDB keeps.
//!
//! `cargo run --release -p redoubt-persistence --example tree_batches -- DIR [KEYS]`

use std::path::Path;
use std::time::Instant;

use redoubt_persistence::tree::{Meta, Tree, TreeOptions};

const PAYLOAD: [u8; 80] = [7; 80];

fn main() {
    let mut args = std::env::args().skip(1);
    let dir = args.next().expect("directory");
    let keys: u64 = args.next().map_or(5_000_000, |n| n.parse().expect("keys"));
    let tree = Tree::open(Path::new(&dir), TreeOptions::default()).expect("open");
    report("start", 0, Instant::now());

    if tree.meta().expect("meta").key_counts.is_empty() {
        let start = Instant::now();
        let per_slot = keys.div_ceil(16384);
        write(
            &tree,
            (0..keys).map(|n| ((n / per_slot) as u16, n % per_slot)),
        );
        report("sorted load", keys, start);
    }
    let mut random = 88_172_645_463_325_252u64;
    for (batch, rounds) in [(10_000, 20), (100_000, 5), (1_000_000, 2), (10_000, 20)] {
        let start = Instant::now();
        for _ in 0..rounds {
            let mut picked: Vec<(u16, u64)> = (0..batch)
                .map(|_| {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    ((random % 16384) as u16, (random >> 20) % (keys / 16384))
                })
                .collect();
            picked.sort_unstable();
            write(&tree, picked.into_iter());
        }
        report(&format!("random, {batch} a batch"), batch * rounds, start);
    }
}

fn write(tree: &Tree, rows: impl Iterator<Item = (u16, u64)>) {
    let mut batch = tree.begin().expect("begin");
    for (slot, n) in rows {
        let key = format!("key:{slot:05}:{n:013}:pad");
        batch
            .put(0, slot, key.as_bytes(), None, &PAYLOAD)
            .expect("put");
    }
    println!("  before commit: {} MB", anonymous_mb());
    batch.commit(&Meta::default()).expect("commit");
}

fn report(what: &str, rows: u64, start: Instant) {
    let rate = rows as f64 / start.elapsed().as_secs_f64();
    println!("{what}: {rate:.0} rows/s, {} MB anonymous", anonymous_mb());
}

fn anonymous_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("RssAnon"));
    let kb = line.and_then(|line| line.split_whitespace().nth(1));
    kb.and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) / 1024
}
