//! What does it cost a command to put its effect into the log?

use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use redoubt_persistence::disk::RealDisk;
use redoubt_persistence::log::{Log, LogOptions, Offset};

fn append(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let options = LogOptions::default();
    let (log, _) = Log::open(Arc::new(RealDisk), dir.path(), Offset(0), options)
        .expect("an empty directory opens");
    let effect = [b'x'; 108];
    criterion.bench_function("append 108 bytes", |bencher| {
        bencher.iter(|| {
            let end = log.append(0, &effect, 0);
            if log.oldest().0 + (1 << 28) < end.0 {
                log.trim_below(Offset(end.0 - (1 << 27)));
            }
            end
        });
    });
    log.close().expect("closes");
}

criterion_group!(benches, append);
criterion_main!(benches);
