//! What does it cost to parse a SET of a pipeline?

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use redoubt_server::resp::request::{Parsed, RequestLimits, RequestParser};

fn parse(criterion: &mut Criterion) {
    let value = "x".repeat(64);
    let one = format!("*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000001\r\n$64\r\n{value}\r\n");
    let pipeline = one.repeat(64).into_bytes();
    let mut group = criterion.benchmark_group("parse");
    group.throughput(Throughput::Elements(64));
    group.bench_function("64 SETs", |bencher| {
        let mut args = Vec::new();
        bencher.iter(|| {
            let mut parser = RequestParser::new();
            let mut at = 0;
            while at < pipeline.len() {
                args.clear();
                match parser.next(&pipeline[at..], &RequestLimits::default(), &mut args) {
                    Ok(Parsed::Complete { consumed }) => at += consumed,
                    other => panic!("the pipeline is whole: {other:?}"),
                }
            }
            at
        });
    });
    group.finish();
}

criterion_group!(benches, parse);
criterion_main!(benches);
