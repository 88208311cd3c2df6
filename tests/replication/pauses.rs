//! Pauses for a purpose of the server's own, beside those of clients.

use super::*;
use support::encode;

/// A pair whose replica has stopped, and does not have the last write.
pub fn pair_with_a_stopped_replica(directives: &[&str]) -> [Server; 2] {
    let [primary, replica] = [Server::start(directives), Server::start(&[])];
    follow(&replica, &primary);
    await_sync(&replica, &primary);
    // Whether it has the snapshot the primary learns later than it does.
    in_time("the replica is online", || {
        info(&mut primary.client(), "replication", "slave0").contains("state=online")
    });
    replica.signal(libc::SIGSTOP);
    ok(&mut primary.client(), "SET a 1");
    [primary, replica]
}

/// A client whose SET waits.
pub fn waiting_writer(server: &Server) -> Client {
    let mut writer = server.client();
    writer.send(&encode(&["SET", "a", "2"]));
    in_time("the writer waits", || {
        let list = run(&mut server.client(), "CLIENT LIST FLAGS b");
        list.text().is_some_and(|text| text.contains("flags=b"))
    });
    writer
}

#[test]
fn unpause_does_not_let_writes_into_a_failover() {
    let [primary, _replica] = pair_with_a_stopped_replica(&[]);
    let mut client = primary.client();
    ok(&mut client, "FAILOVER");
    ok(&mut client, "CLIENT UNPAUSE");
    let reason = info(&mut client, "clients", "paused_reason");
    assert_eq!(reason, "failover_in_progress");
    let mut writer = waiting_writer(&primary);
    assert_eq!(run(&mut client, "GET a"), Reply::bulk("1"));
    ok(&mut client, "FAILOVER ABORT");
    assert_eq!(writer.read(), Reply::ok());
}

#[test]
fn a_failover_that_is_given_up_leaves_the_pause_of_a_client() {
    let [primary, _replica] = pair_with_a_stopped_replica(&[]);
    let mut client = primary.client();
    ok(&mut client, "CLIENT PAUSE 600000 WRITE");
    ok(&mut client, "FAILOVER");
    ok(&mut client, "FAILOVER ABORT");
    assert_eq!(
        info(&mut client, "clients", "paused_reason"),
        "client_pause"
    );
    let mut writer = waiting_writer(&primary);
    assert_eq!(run(&mut client, "GET a"), Reply::bulk("1"));
    ok(&mut client, "CLIENT UNPAUSE");
    assert_eq!(writer.read(), Reply::ok());
}
