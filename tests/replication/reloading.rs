//! DEBUG RELOAD on a replica whose primary goes on writing.

use super::*;
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn a_replica_that_reloads_loses_nothing_of_the_stream() {
    const DEBUG: [&str; 2] = ["--enable-debug-command", "yes"];
    let cache = ["--save", "", "--appendonly", "no", DEBUG[0], DEBUG[1]];
    for directives in [&DEBUG[..], &cache[..]] {
        let [primary, replica] = [Server::start(&[]), Server::start(directives)];
        follow(&replica, &primary);
        let mut client = primary.client();
        for key in 0..50 {
            ok(&mut client, &format!("SET key:{key} 1"));
        }
        await_sync(&replica, &primary);
        let mut reloading = replica.client();
        // The file takes a quarter of a second at least.
        ok(&mut reloading, "CONFIG SET rdb-key-save-delay 5000");
        let (began, ends) = (AtomicBool::new(false), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !ends.load(Ordering::Relaxed) {
                    ok(&mut client, "INCR counter");
                    ok(&mut client, "RPUSH list 1");
                    began.store(true, Ordering::Relaxed);
                }
            });
            in_time("it writes", || began.load(Ordering::Relaxed));
            let reloaded = run(&mut reloading, "DEBUG RELOAD");
            ends.store(true, Ordering::Relaxed);
            assert_eq!(reloaded, Reply::ok());
        });
        await_sync(&replica, &primary);
        assert_eq!(content(&replica), content(&primary));
    }
}
