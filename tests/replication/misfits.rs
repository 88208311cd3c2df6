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
fn what_no_transaction_may_hold_ends_in_a_full_sync() {
    let [primary, replica] = [Server::start(CACHE), Server::start(CACHE)];
    follow(&replica, &primary);
    await_sync(&replica, &primary);
    let mut client = primary.client();
    for (number, misfit) in ["SET key", "XGROUP", "SAVE", "WATCH key", "MULTI"]
        .iter()
        .enumerate()
    {
        for line in ["MULTI", "SET other 1", misfit, "EXEC"] {
            ok(&mut client, &format!("DEBUG REPLICATE {line}"));
        }
        ok(&mut client, &format!("SET after {number}"));
        in_time("everything was asked for anew", || {
            partial_and_full(&primary).1 == number as u64 + 2
        });
        await_sync(&replica, &primary);
        assert_same(&primary, &replica);
    }
    let exists = run(&mut replica.client(), "EXISTS other");
    assert_eq!(exists, Reply::Integer(0));
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

#[test]
fn a_replica_that_is_gone_does_not_let_writes_pass() {
    let primary = Server::start(&["--min-replicas-to-write", "1"]);
    let mut replica = Server::start(&[]);
    follow(&replica, &primary);
    let mut client = primary.client();
    in_time("the replica counts", || {
        run(&mut client, "SET a 1") == Reply::ok()
    });
    replica.kill();
    in_time("the primary has let it go", || {
        let list = run(&mut client, "CLIENT LIST TYPE replica");
        list.text().is_some_and(|text| text.is_empty())
    });
    let refused = run(&mut client, "SET a 2");
    assert_eq!(refused.error_code(), Some("NOREPLICAS"));
}

/// A connection that has been sent a snapshot, and has said nothing to that.
fn sent_a_snapshot(primary: &Server) -> std::net::TcpStream {
    let mut socket = std::net::TcpStream::connect(("127.0.0.1", primary.port())).expect("it");
    let asks = b"REPLCONF capa eof capa psync2\r\nPSYNC ? -1\r\n";
    socket.write_all(asks).expect("it is taken");
    let (mut said, mut byte) = (Vec::new(), [0]);
    let mark = loop {
        socket.read_exact(&mut byte).expect("there is more");
        said.push(byte[0]);
        let text = String::from_utf8_lossy(&said);
        if let Some((_, rest)) = text.split_once("$EOF:")
            && let Some((mark, _)) = rest.split_once("\r\n")
        {
            break mark.to_owned();
        }
    };
    let mut file = Vec::new();
    while !file.ends_with(mark.as_bytes()) {
        socket.read_exact(&mut byte).expect("there is more");
        file.push(byte[0]);
    }
    socket
}

#[test]
fn a_replica_that_sends_newlines_while_it_loads_is_not_let_go() {
    let primary = Server::start(&["--repl-timeout", "2", "--repl-diskless-sync-delay", "0"]);
    let mut loading = sent_a_snapshot(&primary);
    let mut silent = sent_a_snapshot(&primary);
    let moment = Some(Duration::from_millis(50));
    silent.set_read_timeout(moment).expect("a timeout");
    in_time("the silent one, which came later, is let go", || {
        loading.write_all(b"\n").expect("it is taken");
        match silent.read(&mut [0; 64]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    });
    let ack = support::encode(&["REPLCONF", "ACK", "0"]);
    loading.write_all(&ack).expect("it is taken");
    in_time("the other one is online", || {
        let slave = info(&mut primary.client(), "replication", "slave0");
        slave.contains("state=online")
    });
}

#[test]
fn what_a_replica_asks_is_short() {
    let primary = Server::start(&[]);
    let mut socket = std::net::TcpStream::connect(("127.0.0.1", primary.port())).expect("it");
    let patience = Some(Duration::from_secs(60));
    socket.set_read_timeout(patience).expect("a timeout");
    socket.write_all(b"SYNC\r\n*1000\r\n").expect("it is taken");
    let part = [&b"$1000000\r\n"[..], &[b'x'; 1_000_000], b"\r\n"].concat();
    let sent = (0..1000).find(|_| socket.write_all(&part).is_err());
    assert!(sent.is_some(), "a request of 1 GB is taken");
}

#[test]
fn a_full_sync_that_can_not_take_place_leaves_nothing_behind() {
    let primary = Server::start(&[]);
    write(&primary, 0);
    let replica = Server::start(&["--enable-debug-command", "yes"]);
    let mut client = replica.client();
    ok(&mut client, "DEBUG STORAGE FAIL-SYNCS");
    run(&mut client, "SET a 1");
    in_time("its log has failed", || {
        info(&mut client, "persistence", "storage_status").contains("log_failed")
    });
    follow(&replica, &primary);
    let since = number(&mut client, "server", "uptime_in_seconds");
    in_time("there was time for some attempts", || {
        number(&mut client, "server", "uptime_in_seconds") >= since + 4
    });
    let incoming = || {
        let entries = std::fs::read_dir(replica.dir()).expect("a directory");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        names
            .filter(|name| name.to_string_lossy().starts_with("tree.incoming"))
            .count()
    };
    in_time("its attempts are gone", || incoming() == 0);
    ok(&mut client, "DEBUG STORAGE CLEAR");
    await_sync(&replica, &primary);
    assert_same(&primary, &replica);
    assert!(incoming() <= 1);
}
