//! Replicas that do what none does, and streams that no replica can follow.

use super::*;

const CACHE: &[&str] = &[
    "--save",
    "",
    "--appendonly",
    "no",
    "--enable-debug-command",
    "yes",
];

#[test]
fn who_takes_the_stream_may_ask_nothing_else() {
    let primary = Server::start(&[]);
    let mut socket = std::net::TcpStream::connect(("127.0.0.1", primary.port())).expect("it");
    let patience = Some(Duration::from_secs(60));
    socket.set_read_timeout(patience).expect("a timeout");
    socket.write_all(b"SYNC\r\n").expect("it is taken");
    let ping = support::encode(&["PING"]);
    socket.write_all(&ping).expect("it is taken");
    let mut said = Vec::new();
    // A reset is an end as well.
    match socket.read_to_end(&mut said) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    assert!(!said.windows(4).any(|bytes| bytes == b"PONG"));
}

#[test]
fn a_replica_that_was_let_go_does_not_count() {
    let [primary, replica] = [Server::start(&[]), Server::start(&[])];
    follow(&replica, &primary);
    await_sync(&replica, &primary);
    let mut client = primary.client();
    assert_eq!(number(&mut client, "replication", "connected_slaves"), 1);
    // It does not know the password, and stays away.
    ok(&mut client, "CONFIG SET requirepass secret");
    let killed = run(&mut client, "CLIENT KILL TYPE replica");
    assert_eq!(killed, Reply::Integer(1));
    assert_eq!(number(&mut client, "replication", "connected_slaves"), 0);
}

#[test]
fn what_a_replica_does_not_know_ends_in_a_full_sync() {
    let [primary, replica] = [Server::start(CACHE), Server::start(CACHE)];
    follow(&replica, &primary);
    await_sync(&replica, &primary);
    let mut client = primary.client();
    ok(&mut client, "DEBUG REPLICATE no-such-command");
    ok(&mut client, "SET a 1");
    in_time("everything was asked for anew", || {
        partial_and_full(&primary).1 == 2
    });
    await_sync(&replica, &primary);
    assert_same(&primary, &replica);
    // What is kept must be read at the next start.
    let kept = Server::start(&["--enable-debug-command", "yes"]);
    let refused = run(&mut kept.client(), "DEBUG REPLICATE no-such-command");
    assert_eq!(refused.error_code(), Some("ERR"));
}
