//! What does a look-up among a million keys cost, one at a time and fetched
//! ahead?

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use redoubt_server::keyspace::entry::Entry;
use redoubt_server::keyspace::table::{Table, hash_bytes};

const KEYS: u64 = 1_000_000;

fn key(n: u64) -> [u8; 16] {
    let mut key = *b"key:000000000000";
    let digits = n.to_string();
    key[16 - digits.len()..].copy_from_slice(digits.as_bytes());
    key
}

fn find(criterion: &mut Criterion) {
    let mut table = Table::new();
    for n in 0..KEYS {
        let key = key(n);
        table.insert_new(hash_bytes(&key), Entry::new_string(&key, &[b'v'; 64], None));
    }
    let mut rng = fastrand::Rng::with_seed(1);
    let mut group = criterion.benchmark_group("find");
    group.throughput(Throughput::Elements(64));
    for ahead in [false, true] {
        let name = if ahead {
            "64 keys, fetched ahead"
        } else {
            "64 keys, one by one"
        };
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let keys: [[u8; 16]; 64] = std::array::from_fn(|_| key(rng.u64(0..KEYS)));
                let hashes = keys.map(|key| hash_bytes(&key));
                if ahead {
                    // SAFETY: nobody else has the table.
                    hashes
                        .iter()
                        .for_each(|hash| unsafe { Table::fetch_bucket(&table, *hash) });
                    // SAFETY: as above.
                    hashes
                        .iter()
                        .for_each(|hash| unsafe { Table::fetch_element(&table, *hash) });
                }
                let found = keys
                    .iter()
                    .zip(hashes)
                    .filter(|(k, h)| table.find(*h, *k).is_some());
                found.count()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, find);
criterion_main!(benches);
