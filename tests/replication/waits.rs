//! What WAITAOF takes for being on disk.

use super::*;

pub fn both(here: i64, replicas: i64) -> Reply {
    Reply::Array(vec![Reply::Integer(here), Reply::Integer(replicas)])
}

#[test]
fn what_a_pure_cache_keeps_for_replication_is_not_on_disk() {
    let cache = &["--save", "", "--appendonly", "no"];
    let primary = Server::start(&[]);
    let [volatile, kept] = [Server::start(cache), Server::start(&[])];
    follow(&volatile, &primary);
    await_sync(&volatile, &primary);
    let mut client = primary.client();
    ok(&mut client, "SET a 1");
    assert_eq!(run(&mut client, "WAIT 1 30000"), Reply::Integer(1));
    assert_eq!(run(&mut client, "WAITAOF 1 1 100"), both(1, 0));
    follow(&kept, &primary);
    await_sync(&kept, &primary);
    assert_eq!(run(&mut client, "WAITAOF 1 1 30000"), both(1, 1));
}

#[test]
fn waitaof_obeys_appendonly_at_run_time() {
    let server = Server::start(&["--appendonly", "yes"]);
    let mut client = server.client();
    ok(&mut client, "SET a 1");
    assert_eq!(run(&mut client, "WAITAOF 1 0 30000"), both(1, 0));
    let mut blocked = server.client();
    blocked.send(&support::encode(&["WAITAOF", "1", "1", "0"]));
    in_time("it waits", || {
        number(&mut client, "clients", "blocked_clients") == 1
    });
    ok(&mut client, "CONFIG SET appendonly no");
    assert_eq!(blocked.read().error_code(), Some("ERR"));
    let refused = run(&mut client, "WAITAOF 1 0 0");
    assert_eq!(refused.error_code(), Some("ERR"));
    assert_eq!(run(&mut client, "WAITAOF 0 0 0"), both(0, 0));
    ok(&mut client, "CONFIG SET appendonly yes");
    assert_eq!(run(&mut client, "WAITAOF 1 0 30000"), both(1, 0));
}
