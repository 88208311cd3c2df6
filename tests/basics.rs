//! The first scenarios of a whole server: it answers, it survives bad input, it keeps its data.

mod support;

use std::io::ErrorKind;
use support::{Reply, Server, encode};

#[test]
fn ping_and_echo_answer() {
    let server = Server::start(&[]);
    let mut client = server.client();
    assert_eq!(client.command(&["PING"]), Reply::Simple("PONG".into()));
    assert_eq!(client.command(&["PING", "hello"]), Reply::bulk("hello"));
    assert_eq!(client.command(&["ECHO", "a b"]), Reply::bulk("a b"));
}

#[test]
fn a_value_set_is_the_value_got() {
    let server = Server::start(&[]);
    let mut client = server.client();
    assert_eq!(client.command(&["GET", "name"]), Reply::Null);
    assert_eq!(client.command(&["SET", "name", "redoubt"]), Reply::ok());
    assert_eq!(client.command(&["GET", "name"]), Reply::bulk("redoubt"));

    let every_byte: Vec<u8> = (0..=255).collect();
    assert_eq!(
        client.command(&[b"SET".as_slice(), b"\r\n\0", &every_byte]),
        Reply::ok()
    );
    assert_eq!(
        client.command(&[b"GET".as_slice(), b"\r\n\0"]),
        Reply::Bulk(every_byte)
    );
}

#[test]
fn an_unknown_command_is_an_error_and_the_connection_goes_on() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let reply = client.command(&["NOSUCHCOMMAND", "a"]);
    assert_eq!(reply.error_code(), Some("ERR"), "{reply:?}");
    assert_eq!(client.command(&["GET"]).error_code(), Some("ERR"));
    assert_eq!(client.command(&["PING"]), Reply::Simple("PONG".into()));
}

#[test]
fn inline_commands_work() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.send(b"PING\r\n");
    assert_eq!(client.read(), Reply::Simple("PONG".into()));
    client.send(b"SET quoted \"two words\\x41\"\n  GET   quoted \r\n");
    assert_eq!(client.read(), Reply::ok());
    assert_eq!(client.read(), Reply::bulk("two wordsA"));
}

#[test]
fn what_a_browser_was_made_to_send_runs_nothing_and_gets_no_answer() {
    let server = Server::start(&[]);
    for head in [
        b"POST / HTTP/1.1\r\n".to_vec(),
        b"host: localhost\r\n".to_vec(),
        b"Post \"quoted\"\r\n".to_vec(),
        encode(&["post", "/"]),
    ] {
        let mut client = server.client();
        client.send(&[&head[..], b"SET key value\r\n"].concat());
        let answer = client.read_to_close().map_err(|error| error.kind());
        assert_eq!(answer, Ok(vec![]), "{}", String::from_utf8_lossy(&head));
    }
    let mut client = server.client();
    client.send(b"MULTI\r\nSET key value\r\nHost: localhost\r\nEXEC\r\n");
    let answer = client.read_to_close().unwrap_or_default();
    assert_eq!(String::from_utf8_lossy(&answer), "+OK\r\n+QUEUED\r\n");
    let left = server.client().command(&["EXISTS", "key"]);
    assert_eq!(left, Reply::Integer(0));
}

#[test]
fn inline_commands_and_arrays_of_one_pipeline_run_in_order_and_are_kept() {
    let mut server = Server::start(&["--appendfsync", "always"]);
    let mut client = server.client();
    let array = encode(&["APPEND", "one", "c"]);
    let mut lines = b"SET one a\r\n\r\n  APPEND \t one b\n".to_vec();
    lines.extend([&array[..], b"APPEND one \"d\"\nAPPEND one e\n"].concat());
    lines.extend(b"GET one\nNOSUCH it\nPING\necho it\nGET\n".iter());
    let replies = client.pipeline(&lines, 10);
    assert_eq!(replies[0], Reply::ok());
    let lengths = [2, 3, 4, 5].map(Reply::Integer);
    assert_eq!(replies[1..5], lengths);
    assert_eq!(replies[5], Reply::bulk("abcde"));
    assert_eq!(replies[6].error_code(), Some("ERR"));
    assert_eq!(replies[7], Reply::Simple("PONG".into()));
    assert_eq!(replies[8], Reply::bulk("it"));
    assert_eq!(replies[9].error_code(), Some("ERR"));
    server.kill();
    server.restart();
    let value = server.client().command(&["GET", "one"]);
    assert_eq!(value, Reply::bulk("abcde"));
}

#[test]
fn hello_3_switches_to_resp3() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let greeting = client.command(&["HELLO", "3"]);
    let Reply::Map(fields) = greeting else {
        panic!("no map: {greeting:?}");
    };
    assert!(fields.contains(&(Reply::bulk("proto"), Reply::Integer(3))));
    client.command(&["HSET", "hash", "field", "value"]);
    assert_eq!(
        client.command(&["HGETALL", "hash"]),
        Reply::Map(vec![(Reply::bulk("field"), Reply::bulk("value"))])
    );
}

#[test]
fn a_pipeline_of_a_million_commands_is_answered_in_order() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let count = 1_000_000;
    let commands = encode(&["INCR", "counter"]).repeat(count);
    let replies = client.pipeline(&commands, count);
    for (index, reply) in replies.iter().enumerate() {
        assert_eq!(*reply, Reply::Integer(index as i64 + 1));
    }
}

#[test]
fn a_frame_in_small_pieces_is_one_command() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for byte in encode(&["SET", "pieces", "a value of some length"]) {
        client.send(&[byte]);
    }
    assert_eq!(client.read(), Reply::ok());
}

#[test]
fn a_half_sent_frame_leaves_the_server_answering_others() {
    let server = Server::start(&[]);
    let mut stuck = server.client();
    stuck.send(b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$1000000\r\nonly the beginning");
    let mut other = server.client();
    for _ in 0..100 {
        assert_eq!(other.command(&["PING"]), Reply::Simple("PONG".into()));
    }
    assert_eq!(other.command(&["EXISTS", "key"]), Reply::Integer(0));
    drop(stuck);
    assert_eq!(other.command(&["EXISTS", "key"]), Reply::Integer(0));
}

#[test]
fn a_key_of_a_megabyte_works() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let key = vec![b'k'; 1 << 20];
    assert_eq!(
        client.command(&[b"SET".as_slice(), &key, b"value"]),
        Reply::ok()
    );
    assert_eq!(
        client.command(&[b"GET".as_slice(), &key]),
        Reply::bulk("value")
    );
    assert_eq!(
        client.command(&[b"DEL".as_slice(), &key]),
        Reply::Integer(1)
    );
}

#[test]
#[ignore = "needs some 2 GB of memory"]
fn a_value_of_512_megabytes_works_and_one_byte_more_is_refused() {
    let server = Server::start(&["--appendonly", "no", "--save", ""]);
    let mut client = server.client();
    let limit = 512 << 20;
    let value = vec![b'v'; limit];
    assert_eq!(
        client.command(&[b"SET".as_slice(), b"large", &value]),
        Reply::ok()
    );
    assert_eq!(
        client.command(&["STRLEN", "large"]),
        Reply::Integer(limit as i64)
    );
    let reply = client.command(&["APPEND", "large", "x"]);
    assert_eq!(reply.error_code(), Some("ERR"), "{reply:?}");
    client.send(format!("*2\r\n$3\r\nGET\r\n${}\r\n", limit + 1).as_bytes());
    expect_protocol_error(&mut client);
}

#[test]
fn bytes_that_are_no_frame_get_a_protocol_error_and_a_closed_connection() {
    let server = Server::start(&[]);
    for garbage in [
        b"*1\r\nPING\r\n".as_slice(),
        b"*1\r\n$x\r\nPING\r\n",
        b"*1\r\n$-1\r\n",
        b"*x\r\n",
        b"*2147483648\r\n",
        b"*1\r\n$99999999999999999999\r\n",
        b"*1\r\n$4\r\nPINGxx*1\r\n$4\r\nPING\r\n",
        b"SET \"unbalanced\r\n",
    ] {
        let mut client = server.client();
        client.send(garbage);
        expect_protocol_error(&mut client);
    }
    let mut client = server.client();
    assert_eq!(client.command(&["PING"]), Reply::Simple("PONG".into()));
}

fn expect_protocol_error(client: &mut support::Client) {
    let reply = client.read();
    let text = reply.text().unwrap_or_default();
    assert!(text.starts_with("ERR Protocol error"), "{reply:?}");
    assert_eq!(
        client.read_to_close().map_err(|error| error.kind()),
        Ok(vec![])
    );
}

#[test]
fn quit_says_ok_and_closes() {
    let server = Server::start(&[]);
    let mut client = server.client();
    assert_eq!(client.command(&["QUIT"]), Reply::ok());
    let end = client.try_read().map_err(|error| error.kind());
    assert_eq!(end, Err(ErrorKind::UnexpectedEof));
}

/// Writes a value of each type, and gives what reads it back.
fn write_one_of_each(client: &mut support::Client) -> Vec<(Vec<&'static str>, Reply)> {
    for command in [
        &["SET", "string", "value"][..],
        &["INCRBY", "number", "41"],
        &["INCR", "number"],
        &["RPUSH", "list", "a", "b"],
        &["HSET", "hash", "field", "value"],
        &["SADD", "set", "member"],
        &["ZADD", "zset", "1.5", "member"],
    ] {
        let reply = client.command(command);
        assert_eq!(reply.error_code(), None, "{command:?}: {reply:?}");
    }
    let read_back = [
        vec!["GET", "string"],
        vec!["GET", "number"],
        vec!["LRANGE", "list", "0", "-1"],
        vec!["HGET", "hash", "field"],
        vec!["SISMEMBER", "set", "member"],
        vec!["ZSCORE", "zset", "member"],
        vec!["DBSIZE"],
    ];
    read_back
        .into_iter()
        .map(|command| {
            let reply = client.command(&command);
            (command, reply)
        })
        .collect()
}

#[test]
fn a_restart_after_sigterm_keeps_the_data() {
    for policy in ["always", "everysec", "no"] {
        let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", policy]);
        let expected = write_one_of_each(&mut server.client());
        assert!(server.terminate().success());
        server.restart();
        let mut client = server.client();
        for (command, reply) in expected {
            assert_eq!(client.command(&command), reply, "{policy}: {command:?}");
        }
    }
}

#[test]
fn a_restart_after_sigkill_keeps_what_was_acknowledged() {
    // The process dies, not the machine: what was written to a file is kept even unsynced.
    for policy in ["always", "everysec"] {
        let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", policy]);
        let mut client = server.client();
        let expected = write_one_of_each(&mut client);
        if policy == "everysec" {
            // [local synced, replicas synced]: waits for the sync instead of for a second.
            let synced = client.command(&["WAITAOF", "1", "0", "10000"]);
            let waited = Reply::Array(vec![Reply::Integer(1), Reply::Integer(0)]);
            assert_eq!(synced, waited);
        }
        server.kill();
        server.restart();
        let mut client = server.client();
        for (command, reply) in expected {
            assert_eq!(client.command(&command), reply, "{policy}: {command:?}");
        }
    }
}

/// What a client sends in one round, in pieces, and what it must get.
fn round_of(client: usize, round: usize) -> (Vec<Vec<u8>>, Vec<Reply>) {
    let key = format!("key:{client}");
    let value = format!("{client}.{round}");
    let set = encode(&["SET", &key, &value]);
    let get = encode(&["GET", &key]);
    let own = Reply::bulk(&value);
    let whole = |parts: &[&[u8]]| vec![parts.concat()];
    match (client + round) % 6 {
        0 => (whole(&[&set, &get]), vec![Reply::ok(), own]),
        1 => (
            whole(&[format!("SET {key} {value}\r\nGET {key}\r\n").as_bytes()]),
            vec![Reply::ok(), own],
        ),
        2 => {
            let (head, rest) = get.split_at(get.len() / 2);
            let first = [&set, head].concat();
            (vec![first, rest.to_vec()], vec![Reply::ok(), own])
        }
        3 => {
            let queued = Reply::Simple("QUEUED".into());
            let [multi, exec] = ["MULTI", "EXEC"].map(|name| encode(&[name]));
            let done = Reply::Array(vec![Reply::ok(), own]);
            (
                whole(&[&multi, &set, &get, &exec]),
                vec![Reply::ok(), queued.clone(), queued, done],
            )
        }
        4 => {
            let [there, back] = ["5", "0"].map(|db| encode(&["SELECT", db]));
            let replies = vec![Reply::ok(), Reply::ok(), own, Reply::ok()];
            (whole(&[&there, &set, &get, &back]), replies)
        }
        _ => {
            let many = [&set[..], &get.repeat(200)].concat();
            let replies = [vec![Reply::ok()], vec![own; 200]].concat();
            (whole(&[&many]), replies)
        }
    }
}

#[test]
fn connections_that_ask_at_once_each_get_their_own_answers() {
    let server = Server::start(&["--io-threads", "1"]);
    let mut clients: Vec<_> = (0..30).map(|_| server.client()).collect();
    for round in 0..60 {
        let asked: Vec<_> = (0..clients.len()).map(|n| round_of(n, round)).collect();
        for piece in 0..2 {
            for (client, (pieces, _)) in clients.iter_mut().zip(&asked) {
                if let Some(bytes) = pieces.get(piece) {
                    client.send(bytes);
                }
            }
        }
        for (number, (client, (_, wanted))) in clients.iter_mut().zip(&asked).enumerate() {
            for wanted in wanted {
                assert_eq!(client.read(), *wanted, "client {number}, round {round}");
            }
        }
    }
}
