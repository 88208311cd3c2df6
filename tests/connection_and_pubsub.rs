//! Connections and pub/sub: logins, pauses, subscriptions, limits.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::{Client, Reply, Server, encode, eventually};

fn push(parts: &[&str]) -> Reply {
    Reply::Push(parts.iter().map(Reply::bulk).collect())
}

#[test]
fn nothing_runs_before_the_login() {
    let server = Server::start(&["--requirepass", "secret"]);
    let mut client = server.client();
    for command in [&["GET", "key"][..], &["GET"], &["NOSUCHCOMMAND"]] {
        assert_eq!(client.command(command).error_code(), Some("NOAUTH"));
    }
    let wrong = client.command(&["AUTH", "Secret"]);
    assert_eq!(wrong.error_code(), Some("WRONGPASS"));
    let wrong = client.command(&["AUTH", "other", "secret"]);
    assert_eq!(wrong.error_code(), Some("WRONGPASS"));
    assert_eq!(client.command(&["HELLO", "3"]).error_code(), Some("NOAUTH"));
    assert_eq!(client.command(&["AUTH", "secret"]), Reply::ok());
    assert_eq!(client.command(&["GET", "key"]), Reply::Null);
    assert_eq!(client.command(&["RESET"]), Reply::Simple("RESET".into()));
    assert_eq!(client.command(&["PING"]).error_code(), Some("NOAUTH"));
}

#[test]
fn what_is_no_request_is_answered_last_and_only_to_who_wants_replies() {
    let server = Server::start(&[]);
    let after = |lines: &[&[&str]], broken: &[u8]| {
        let mut client = server.client();
        let mut bytes: Vec<u8> = lines.iter().flat_map(|line| encode(line)).collect();
        bytes.extend_from_slice(broken);
        client.send(&bytes);
        let all = client.read_to_close().expect("it is closed");
        String::from_utf8(all).expect("text")
    };
    let invalid = "-ERR Protocol error: invalid multibulk length\r\n";
    let subscribed = "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n";
    let (skip, off) = (["CLIENT", "REPLY", "SKIP"], ["CLIENT", "REPLY", "OFF"]);
    let subscribe = ["SUBSCRIBE", "a"];
    let told = after(&[&skip, &subscribe], b"*x\r\n");
    assert_eq!(told, format!("{subscribed}{invalid}"));
    assert_eq!(after(&[&off, &subscribe], b"*x\r\n"), subscribed);
    assert_eq!(after(&[&skip], b"*x\r\n"), "");
    // An empty request is the one that is skipped.
    for empty in ["\r\n", "*0\r\n", "*-1\r\n"] {
        let answered = after(&[&skip], format!("{empty}PING\r\n*x\r\n").as_bytes());
        assert_eq!(answered, format!("+PONG\r\n{invalid}"), "{empty:?}");
    }
    // RESET takes back OFF, and is skipped like any other.
    let reset = ["RESET"];
    assert_eq!(after(&[&skip, &reset], b"*x\r\n"), invalid);
    assert_eq!(
        after(&[&off, &reset], b"*x\r\n"),
        format!("+RESET\r\n{invalid}")
    );
    // A line ends with both its characters.
    let unended = "-ERR Protocol error: invalid CRLF in request\r\n";
    for broken in [&b"*1\rx$4\r\nPING\r\n"[..], b"*1\r\n$4\rxPING\r\n"] {
        assert_eq!(after(&[&["PING"]], broken), format!("+PONG\r\n{unended}"));
    }
}

#[test]
fn writes_wait_for_the_end_of_a_pause_and_reads_do_not() {
    let server = Server::start(&[]);
    let (mut admin, mut writer) = (server.client(), server.client());
    let paused = admin.command(&["CLIENT", "PAUSE", "100000", "WRITE"]);
    assert_eq!(paused, Reply::ok());
    writer.send(&encode(&["SET", "key", "value"]));
    writer.send(&encode(&["GET", "key"]));
    eventually("the writer waits", || {
        let list = admin.command(&["CLIENT", "LIST", "FLAGS", "b"]);
        list.text().is_some_and(|text| text.contains("flags=b"))
    });
    assert_eq!(admin.command(&["GET", "key"]), Reply::Null);
    assert_eq!(admin.command(&["SET"]).error_code(), Some("ERR"));
    assert_eq!(admin.command(&["CLIENT", "UNPAUSE"]), Reply::ok());
    assert_eq!(writer.read(), Reply::ok());
    assert_eq!(writer.read(), Reply::bulk("value"));
}

#[test]
fn a_pause_of_all_ends_by_itself() {
    let server = Server::start(&[]);
    let mut client = server.client();
    assert_eq!(client.command(&["CLIENT", "PAUSE", "50"]), Reply::ok());
    let began = std::time::Instant::now();
    assert_eq!(client.command(&["PING"]), Reply::Simple("PONG".into()));
    assert!(began.elapsed() >= Duration::from_millis(40));
}

#[test]
fn each_command_of_a_pipeline_counts_and_can_be_a_slow_one() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let pipeline = [
        encode(&["SET", "key", "value"]).repeat(30),
        encode(&["GET", "key"]).repeat(20),
        encode(&["PING"]).repeat(10),
    ]
    .concat();
    client.pipeline(&pipeline, 60);
    let stats = client.command(&["INFO", "commandstats"]).text().unwrap();
    for counted in ["set:calls=30,", "get:calls=20,", "ping:calls=10,"] {
        assert!(stats.contains(&format!("cmdstat_{counted}")), "{stats}");
    }
    client.command(&["CONFIG", "SET", "slowlog-log-slower-than", "0"]);
    client.command(&["SLOWLOG", "RESET"]);
    client.pipeline(&pipeline, 60);
    client.command(&["CONFIG", "SET", "slowlog-log-slower-than", "-1"]);
    // With RESET before them and CONFIG behind, most of it is theirs.
    let Reply::Integer(kept) = client.command(&["SLOWLOG", "LEN"]) else {
        panic!("no length");
    };
    assert!(kept >= 60, "{kept}");
}

#[test]
fn who_waited_in_vain_is_in_the_slow_log_too() {
    let server = Server::start(&["--slowlog-log-slower-than", "0"]);
    let mut client = server.client();
    client.command(&["SLOWLOG", "RESET"]);
    assert_eq!(client.command(&["BLPOP", "none", "0.01"]), Reply::Null);
    // RESET itself and BLPOP.
    assert_eq!(client.command(&["SLOWLOG", "LEN"]), Reply::Integer(2));
}

#[test]
fn messages_and_replies_come_in_order() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.command(&["HELLO", "3"]);
    client.send(&encode(&["SUBSCRIBE", "a"]));
    client.send(&encode(&["PUBLISH", "a", "one"]));
    client.send(&encode(&["PING"]));
    client.send(&encode(&["UNSUBSCRIBE", "a"]));
    let confirmed = |word: &str, count| {
        Reply::Push(vec![
            Reply::bulk(word),
            Reply::bulk("a"),
            Reply::Integer(count),
        ])
    };
    assert_eq!(client.read(), confirmed("subscribe", 1));
    assert_eq!(client.read(), Reply::Integer(1));
    assert_eq!(client.read(), push(&["message", "a", "one"]));
    assert_eq!(client.read(), Reply::Simple("PONG".into()));
    assert_eq!(client.read(), confirmed("unsubscribe", 0));
}

#[test]
fn a_subscriber_of_resp2_may_only_do_little() {
    let server = Server::start(&[]);
    let (mut listener, mut sender) = (server.client(), server.client());
    listener.command(&["PSUBSCRIBE", "news.*"]);
    assert_eq!(listener.command(&["GET", "a"]).error_code(), Some("ERR"));
    let pong = Reply::Array(vec![Reply::bulk("pong"), Reply::bulk("")]);
    assert_eq!(listener.command(&["PING"]), pong);
    let received = sender.command(&["PUBLISH", "news.today", "rain"]);
    assert_eq!(received, Reply::Integer(1));
    let parts = ["pmessage", "news.*", "news.today", "rain"];
    let message = Reply::Array(parts.iter().map(Reply::bulk).collect());
    assert_eq!(listener.read(), message);
}

#[test]
fn a_listener_that_does_not_read_is_closed() {
    let limit = "pubsub 100000 0 0";
    let server = Server::start(&["--client-output-buffer-limit", limit]);
    let (mut listener, mut sender) = (server.client(), server.client());
    listener.command(&["SUBSCRIBE", "a"]);
    let message = "x".repeat(50_000);
    eventually("the listener is gone", || {
        sender.command(&["PUBLISH", "a", &message]) == Reply::Integer(0)
    });
}

#[test]
fn a_monitor_sees_commands_but_no_passwords() {
    let server = Server::start(&[]);
    let (mut monitor, mut client) = (server.client(), server.client());
    assert_eq!(monitor.command(&["MONITOR"]), Reply::ok());
    client.command(&["SET", "key", "a\nb"]);
    client.command(&["AUTH", "default", "secret"]);
    let mut line = || monitor.read().text().unwrap_or_default();
    assert!(line().ends_with(r#""SET" "key" "a\nb""#));
    assert!(line().ends_with(r#""AUTH" "(redacted)" "(redacted)""#));
}

#[test]
fn the_port_can_be_changed_while_connections_stay() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port can be bound");
    let other = listener.local_addr().expect("it is bound").port();
    let port = other.to_string();
    // Taken: all stays as it was.
    let words = ["CONFIG", "SET", "maxclients", "77", "port", &port];
    let refused = client.command(&words).text().unwrap_or_default();
    assert!(
        refused.contains("(possibly related to argument 'port')"),
        "{refused}"
    );
    let limit = server.client().command(&["CONFIG", "GET", "maxclients"]);
    assert_ne!(
        limit,
        Reply::Array(vec![Reply::bulk("maxclients"), Reply::bulk("77")])
    );
    let refused = client.command(&["CONFIG", "SET", "bind", "192.0.2.1"]);
    assert_eq!(refused.error_code(), Some("ERR"));
    assert_eq!(
        server.client().command(&["PING"]),
        Reply::Simple("PONG".into())
    );

    drop(listener);
    eventually("the port is free again", || {
        client.command(&["CONFIG", "SET", "port", &port]) == Reply::ok()
    });
    let mut second = Client::connect(other).expect("the new port is listened to");
    assert_eq!(second.command(&["SET", "key", "value"]), Reply::ok());
    assert_eq!(client.command(&["GET", "key"]), Reply::bulk("value"));
    assert!(Client::connect(server.port()).is_err());
    // The same port at the same address, anew.
    let bind = ["CONFIG", "SET", "bind", "127.0.0.1 -::1"];
    assert_eq!(client.command(&bind), Reply::ok());
    let mut third = Client::connect(other).expect("the port is listened to");
    assert_eq!(third.command(&["GET", "key"]), Reply::bulk("value"));
    assert_eq!(second.command(&["CONFIG", "SET", "port", "0"]), Reply::ok());
    assert!(Client::connect(other).is_err());
    assert_eq!(client.command(&["PING"]), Reply::Simple("PONG".into()));
}

#[test]
fn who_waits_in_a_blocking_command_is_sent_messages() {
    let limit = "pubsub 2mb 0 0";
    let server = Server::start(&["--client-output-buffer-limit", limit]);
    let (mut waiter, mut sender) = (server.client(), server.client());
    waiter.command(&["HELLO", "3"]);
    waiter.command(&["SUBSCRIBE", "a"]);
    waiter.send(&encode(&["BLPOP", "list", "0"]));
    // More than the limit, were it kept.
    let message = "x".repeat(200_000);
    for _ in 0..20 {
        let received = sender.command(&["PUBLISH", "a", &message]);
        assert_eq!(received, Reply::Integer(1));
        assert_eq!(waiter.read(), push(&["message", "a", &message]));
    }
    sender.command(&["RPUSH", "list", "one"]);
    let popped = vec![Reply::bulk("list"), Reply::bulk("one")];
    assert_eq!(waiter.read(), Reply::Array(popped));
}

#[test]
fn a_message_keeps_its_place_among_the_events_of_a_transaction_or_script() {
    let server = Server::start(&["--notify-keyspace-events", "Eg$"]);
    let (mut listener, mut client) = (server.client(), server.client());
    listener.command(&["HELLO", "3"]);
    listener.command(&["PSUBSCRIBE", "*"]);
    let mut expect = |what: &str| {
        for (channel, message) in [
            ("__keyevent@0__:set", "a"),
            ("news", "rain"),
            ("__keyevent@0__:set", "b"),
        ] {
            let expected = push(&["pmessage", "*", channel, message]);
            assert_eq!(listener.read(), expected, "{what}");
        }
    };
    client.command(&["MULTI"]);
    for command in [
        &["SET", "a", "1"][..],
        &["PUBLISH", "news", "rain"],
        &["SET", "b", "1"],
    ] {
        client.command(command);
    }
    let done = vec![Reply::ok(), Reply::Integer(1), Reply::ok()];
    assert_eq!(client.command(&["EXEC"]), Reply::Array(done));
    expect("of EXEC");
    let script = "redis.call('set', 'a', 1) local n = redis.call('publish', 'news', 'rain') \
                  redis.call('set', 'b', 1) return n";
    let received = client.command(&["EVAL", script, "2", "a", "b"]);
    assert_eq!(received, Reply::Integer(1));
    expect("of a script");
}

#[test]
fn ids_of_a_filter_add_up_and_of_others_the_last_counts() {
    let server = Server::start(&[]);
    let mut admin = server.client();
    let named = |name: &str| {
        let mut client = server.client();
        client.command(&["CLIENT", "SETNAME", name]);
        match client.command(&["CLIENT", "ID"]) {
            Reply::Integer(id) => (client, id.to_string()),
            reply => panic!("{reply:?}"),
        }
    };
    let ((_one, one), (mut two, second)) = (named("one"), named("two"));
    let filter = ["CLIENT", "LIST", "ID", &one, "ID", &second];
    let list = admin.command(&filter).text().unwrap_or_default();
    assert_eq!(list.lines().count(), 2, "{list}");
    let filter = ["CLIENT", "LIST", "NOT-ID", &one, "NOT-ID", &second];
    let list = admin.command(&filter).text().unwrap_or_default();
    assert!(
        !list.contains("name=one") && !list.contains("name=two"),
        "{list}"
    );
    let filter = ["CLIENT", "KILL", "NAME", "one", "NAME", "two"];
    assert_eq!(admin.command(&filter), Reply::Integer(1));
    two.read_to_close().expect("the second is closed");
}

#[test]
fn a_monitor_shows_the_database_that_was_selected() {
    let server = Server::start(&[]);
    let (mut monitor, mut client) = (server.client(), server.client());
    assert_eq!(monitor.command(&["MONITOR"]), Reply::ok());
    client.command(&["SELECT", "3"]);
    client.command(&["MULTI"]);
    client.command(&["SELECT", "5"]);
    client.command(&["EXEC"]);
    for (db, command) in [(3, "SELECT"), (3, "MULTI"), (5, "SELECT"), (5, "EXEC")] {
        let Reply::Simple(line) = monitor.read() else {
            panic!("no line");
        };
        assert!(line.contains(&format!("[{db} ")), "{line}");
        assert!(line.contains(&format!("\"{command}\"")), "{line}");
    }
}

#[test]
fn a_monitor_reads_no_keys() {
    let server = Server::start(&[]);
    let mut monitor = server.client();
    assert_eq!(monitor.command(&["MONITOR"]), Reply::ok());
    let refusal = Reply::Error("ERR Replica can't interact with the keyspace".into());
    for command in [
        &["GET", "key"][..],
        &["SET", "key", "1"],
        &["DBSIZE"],
        &["EVAL", "return 1", "0"],
    ] {
        assert_eq!(monitor.command(command), refusal);
    }
    assert_eq!(monitor.command(&["RESET"]), Reply::Simple("RESET".into()));
    assert_eq!(monitor.command(&["GET", "key"]), Reply::Null);
}

/// The server's id of a connection.
fn id_of(client: &mut Client) -> String {
    match client.command(&["CLIENT", "ID"]) {
        Reply::Integer(id) => id.to_string(),
        other => panic!("{other:?} is no id"),
    }
}

/// Ends what other threads do until this is true, even if the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Waits until a client is shown as one that waits.
fn until_blocked(admin: &mut Client, id: &str) {
    eventually("it waits", || {
        let list = admin.command(&["CLIENT", "LIST", "ID", id]).text();
        list.is_some_and(|text| text.contains("flags=b"))
    });
}

#[test]
fn a_client_that_was_killed_is_nowhere() {
    let server = Server::start(&[]);
    let mut admin = server.client();
    for _ in 0..20 {
        let (mut waiting, mut listener) = (server.client(), server.client());
        let (waits, listens) = (id_of(&mut waiting), id_of(&mut listener));
        waiting.send(&encode(&["BLPOP", "queue", "0"]));
        listener.command(&["SUBSCRIBE", "channel"]);
        until_blocked(&mut admin, &waits);
        let commands: [&[&str]; 8] = [
            &["CLIENT", "KILL", "ID", &waits],
            &["LPUSH", "queue", "element"],
            &["RPOP", "queue"],
            &["CLIENT", "KILL", "ID", &listens],
            &["PUBLISH", "channel", "message"],
            &["CLIENT", "LIST", "ID", &listens],
            &["CLIENT", "KILL", "ID", &listens],
            &["PUBSUB", "NUMSUB", "channel"],
        ];
        let pipeline: Vec<u8> = commands.iter().flat_map(|args| encode(args)).collect();
        let mut replies = admin.pipeline(&pipeline, 8);
        let listed = replies.remove(5).text().expect("a text");
        assert_eq!(listed.trim(), "");
        let [one, none] = [1, 0].map(Reply::Integer);
        let element = Reply::bulk("element");
        let nobody = Reply::Array(vec![Reply::bulk("channel"), none.clone()]);
        let (pushed, killed) = (one.clone(), one.clone());
        assert_eq!(
            replies,
            [one, pushed, element, killed, none.clone(), none, nobody]
        );
    }
}

#[test]
fn nothing_of_a_client_runs_once_it_is_killed() {
    let server = Server::start(&[]);
    let mut admin = server.client();
    for _ in 0..10 {
        let mut victim = server.client();
        let id = id_of(&mut victim);
        admin.command(&["SET", "n", "0"]);
        let flood = encode(&["INCR", "n"]).repeat(200_000);
        std::thread::scope(|scope| {
            let sent = scope.spawn(|| {
                let _ = victim.try_send(&flood);
                victim.read_to_close()
            });
            eventually("it is at work", || {
                let n = admin.command(&["GET", "n"]).text().expect("a number");
                n.parse::<u64>().expect("a number") > 1000
            });
            let kill = encode(&["CLIENT", "KILL", "ID", &id]);
            let pipeline = [kill, encode(&["GET", "n"])].concat();
            let replies = admin.pipeline(&pipeline, 2);
            let _ = sent.join().expect("it is closed");
            if replies[0] == Reply::Integer(1) {
                assert_eq!(admin.command(&["GET", "n"]), replies[1]);
            }
        });
    }
}

#[test]
fn whoever_waits_can_be_unblocked_whatever_becomes_of_his_key() {
    let server = Server::start(&[]);
    let over = AtomicBool::new(false);
    let make_and_empty: [&[&str]; 4] = [
        &["MULTI"],
        &["LPUSH", "queue", "x"],
        &["LPOP", "queue"],
        &["EXEC"],
    ];
    let churn = make_and_empty.iter().flat_map(|args| encode(args));
    let churn = churn.collect::<Vec<u8>>().repeat(20);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let (mut client, churn, over) = (server.client(), &churn, &over);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    client.pipeline(churn, 80);
                }
            });
        }
        let _over = Over(&over);
        let (mut waiting, mut admin) = (server.client(), server.client());
        let id = id_of(&mut waiting);
        let mut missed = 0;
        for _ in 0..700 {
            waiting.send(&encode(&["BLPOP", "queue", "0"]));
            until_blocked(&mut admin, &id);
            while admin.command(&["CLIENT", "UNBLOCK", &id]) != Reply::Integer(1) {
                missed += 1;
            }
            assert_eq!(waiting.read(), Reply::Null);
        }
        assert_eq!(missed, 0);
    });
}

#[test]
fn events_of_a_key_come_in_the_order_of_its_changes() {
    const WRITERS: usize = 4;
    const BATCHES: usize = 600;
    let server = Server::start(&["--notify-keyspace-events", "KEA", "--io-threads", "4"]);
    let mut listener = server.client();
    listener.command(&["SUBSCRIBE", "__keyspace@0__:k"]);
    // Each of these is told only if the other was before.
    let pair = [encode(&["SET", "k", "v", "NX"]), encode(&["DEL", "k"])].concat();
    let batch = pair.repeat(10);
    let write = |mut client: Client| {
        for _ in 0..BATCHES {
            client.pipeline(&batch, 20);
        }
    };
    std::thread::scope(|scope| {
        let writers = (0..WRITERS).map(|_| server.client());
        let writers: Vec<_> = writers
            .map(|client| scope.spawn(move || write(client)))
            .collect();
        let mut others = server.client();
        scope.spawn(move || {
            for writer in writers {
                writer.join().expect("a writer ends");
            }
            others.command(&["PUBLISH", "__keyspace@0__:k", "end"]);
        });
        let mut expected = ["set", "del"].iter().cycle();
        loop {
            let Reply::Array(message) = listener.read() else {
                panic!("a message");
            };
            let event = message[2].text().expect("a text");
            if event == "end" {
                break;
            }
            assert_eq!(Some(&event.as_str()), expected.next());
        }
    });
}
