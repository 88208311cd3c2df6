//! FAILOVER while several workers write at full speed: what was acknowledged is
//! the new primary's too, and the old one keeps nothing for itself.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use support::encode;

const WRITERS: usize = 4;
/// Requests in a pipeline.
const DEPTH: usize = 50;

/// Increments two counters of its own, one by one and both in a transaction,
/// until the server is no primary any more or it is to stop; gives the last
/// value acknowledged.
fn count_up(mut client: Client, writer: usize, stop: &AtomicBool) -> i64 {
    let one = encode(&["INCR", &format!("count:{writer}")]);
    let other = encode(&["INCR", &format!("other:{writer}")]);
    let both = [encode(&["MULTI"]), one.clone(), other, encode(&["EXEC"])];
    let batch = [one.repeat(DEPTH), both.concat()].concat();
    let mut acknowledged = 0;
    while !stop.load(Ordering::Relaxed) {
        for reply in client.pipeline(&batch, DEPTH + 4) {
            match reply {
                Reply::Integer(count) => acknowledged = count,
                Reply::Array(counts) => match counts.first() {
                    Some(Reply::Integer(count)) => acknowledged = *count,
                    other => panic!("{other:?}"),
                },
                Reply::Error(_) => return acknowledged,
                _ => {}
            }
        }
    }
    acknowledged
}

#[test]
fn a_failover_under_several_writing_workers_loses_nothing_and_leaves_nothing_behind() {
    let directives = ["--io-threads", "4"];
    let mut pair = [Server::start(&directives), Server::start(&directives)];
    follow(&pair[1], &pair[0]);
    await_sync(&pair[1], &pair[0]);
    for round in 0..4 {
        let [old, new] = &pair;
        let stop = AtomicBool::new(false);
        let acknowledged: Vec<i64> = std::thread::scope(|scope| {
            let stop = &stop;
            let count = |writer| {
                let client = old.client();
                scope.spawn(move || count_up(client, writer, stop))
            };
            let writers: Vec<_> = (0..WRITERS).map(count).collect();
            in_time("all write", || {
                number(&mut old.client(), "replication", "master_repl_offset") > 0
            });
            let line = format!("FAILOVER TO 127.0.0.1 {} TIMEOUT 60000", new.port());
            ok(&mut old.client(), &line);
            in_time("the failover ends", || {
                let role = info(&mut new.client(), "replication", "role");
                let state = info(&mut old.client(), "replication", "master_failover_state");
                role == "master" && state == "no-failover"
            });
            stop.store(true, Ordering::Relaxed);
            let ended = writers.into_iter().map(|writer| writer.join());
            ended.map(|count| count.expect("the writer ends")).collect()
        });
        let mut client = new.client();
        for (writer, wanted) in acknowledged.into_iter().enumerate() {
            let count = run(&mut client, &format!("GET count:{writer}"));
            let count: i64 = count
                .text()
                .map_or(0, |text| text.parse().expect("a count"));
            assert!(
                count >= wanted,
                "round {round}, writer {writer}: {count} of {wanted}"
            );
        }
        await_sync(old, new);
        assert_same(old, new);
        pair.reverse();
    }
}
