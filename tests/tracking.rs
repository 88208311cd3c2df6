//! Client-side caches: who is told of which changed key, and when.

mod support;

use std::time::{SystemTime, UNIX_EPOCH};

use support::{Client, Reply, Server, encode, eventually};

fn run(client: &mut Client, line: &str) -> Reply {
    client.command(&line.split(' ').collect::<Vec<_>>())
}

/// A RESP3 connection.
fn resp3(server: &Server) -> Client {
    let mut client = server.client();
    run(&mut client, "HELLO 3");
    client
}

fn invalidate(keys: &[&str]) -> Reply {
    let keys = keys.iter().map(Reply::bulk).collect();
    Reply::Push(vec![Reply::bulk("invalidate"), Reply::Array(keys)])
}

fn everything() -> Reply {
    Reply::Push(vec![Reply::bulk("invalidate"), Reply::Null])
}

fn pong() -> Reply {
    Reply::Simple("PONG".into())
}

#[test]
fn a_reader_is_told_once_of_what_it_has_read() {
    let server = Server::start(&[]);
    let (mut cache, mut other) = (resp3(&server), server.client());
    run(&mut other, "MSET a 1 b 1");
    assert_eq!(run(&mut cache, "CLIENT TRACKING ON"), Reply::ok());
    assert_eq!(run(&mut cache, "GET a"), Reply::bulk("1"));
    run(&mut other, "MSET a 2 b 2");
    run(&mut other, "SET a 3");
    assert_eq!(cache.read(), invalidate(&["a"]));
    // Nothing came for `b`, nor a second time for `a`.
    assert_eq!(run(&mut cache, "PING"), pong());
    assert_eq!(run(&mut cache, "GET a"), Reply::bulk("3"));
    run(&mut other, "FLUSHDB");
    assert_eq!(cache.read(), everything());
}

#[test]
fn its_own_change_is_told_behind_the_reply_or_not_at_all() {
    let server = Server::start(&[]);
    let mut cache = resp3(&server);
    run(&mut cache, "CLIENT TRACKING ON");
    for line in ["GET a", "GET b"] {
        run(&mut cache, line);
    }
    assert_eq!(run(&mut cache, "INCR a"), Reply::Integer(1));
    assert_eq!(cache.read(), invalidate(&["a"]));
    run(&mut cache, "MULTI");
    run(&mut cache, "INCR b");
    run(&mut cache, "GET b");
    let done = vec![Reply::Integer(1), Reply::bulk("1")];
    assert_eq!(run(&mut cache, "EXEC"), Reply::Array(done));
    assert_eq!(cache.read(), invalidate(&["b"]));
    assert_eq!(run(&mut cache, "CLIENT TRACKING ON NOLOOP"), Reply::ok());
    run(&mut cache, "GET c");
    run(&mut cache, "INCR c");
    assert_eq!(run(&mut cache, "PING"), pong());
}

#[test]
fn a_pipeline_of_reads_is_tracked_too() {
    let server = Server::start(&[]);
    let (mut cache, mut other) = (resp3(&server), server.client());
    run(&mut cache, "CLIENT TRACKING ON OPTIN");
    let lines = ["GET a", "CLIENT CACHING YES", "GET b", "GET c"];
    let request = |line: &&str| encode(&line.split(' ').collect::<Vec<_>>());
    let bytes: Vec<u8> = lines.iter().flat_map(request).collect();
    cache.pipeline(&bytes, lines.len());
    let bytes: Vec<u8> = ["SET a 1", "SET c 1", "SET b 1"]
        .iter()
        .flat_map(request)
        .collect();
    other.pipeline(&bytes, 3);
    assert_eq!(cache.read(), invalidate(&["b"]));
    assert_eq!(run(&mut cache, "PING"), pong());
}

#[test]
fn a_broadcast_names_all_keys_with_a_prefix() {
    let server = Server::start(&[]);
    let (mut cache, mut other) = (resp3(&server), server.client());
    let on = "CLIENT TRACKING ON BCAST PREFIX user: PREFIX item:";
    assert_eq!(run(&mut cache, on), Reply::ok());
    run(&mut other, "MSET user:2 x user:1 x other x");
    assert_eq!(cache.read(), invalidate(&["user:1", "user:2"]));
    let refused = run(&mut cache, "CLIENT TRACKING ON BCAST PREFIX us");
    let text = refused.text().expect("a text");
    assert!(
        text.starts_with("ERR Prefix 'us' overlaps with an existing prefix 'user:'"),
        "{text}"
    );
    let refused = run(&mut cache, "CLIENT TRACKING ON");
    assert!(
        refused
            .text()
            .expect("a text")
            .contains("switch BCAST mode")
    );
    assert_eq!(run(&mut cache, "CLIENT TRACKING OFF"), Reply::ok());
    run(&mut other, "SET user:1 y");
    assert_eq!(run(&mut cache, "PING"), pong());
}

#[test]
fn resp2_gets_its_messages_through_a_subscriber() {
    let server = Server::start(&[]);
    let (mut cache, mut listener, mut other) = (server.client(), server.client(), resp3(&server));
    let Reply::Integer(id) = run(&mut listener, "CLIENT ID") else {
        panic!("no id")
    };
    run(&mut listener, "SUBSCRIBE __redis__:invalidate");
    let on = format!("CLIENT TRACKING ON REDIRECT {id}");
    assert_eq!(run(&mut cache, &on), Reply::ok());
    assert_eq!(run(&mut cache, "CLIENT GETREDIR"), Reply::Integer(id));
    run(&mut cache, "GET a");
    run(&mut other, "SET a 1");
    let message = vec![
        Reply::bulk("message"),
        Reply::bulk("__redis__:invalidate"),
        Reply::Array(vec![Reply::bulk("a")]),
    ];
    assert_eq!(listener.read(), Reply::Array(message));
    assert_eq!(run(&mut other, &on), Reply::ok());
    run(&mut other, "GET a");
    run(&mut listener, "QUIT");
    run(&mut cache, "SET a 2");
    let broken = vec![Reply::bulk("tracking-redir-broken"), Reply::Integer(id)];
    assert_eq!(other.read(), Reply::Push(broken));
}

#[test]
fn an_expired_key_is_told_of() {
    let server = Server::start(&[]);
    let (mut cache, mut other) = (resp3(&server), server.client());
    run(&mut cache, "CLIENT TRACKING ON BCAST");
    run(&mut other, "SET a 1 PX 1");
    // Once because it was set, and once because it is gone.
    assert_eq!(cache.read(), invalidate(&["a"]));
    assert_eq!(cache.read(), invalidate(&["a"]));
}

/// Sets a key whose time is over when this returns; nobody has come across it.
fn set_expired(client: &mut Client, key: &str) {
    let at_ms = 50
        + SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_millis();
    run(client, &format!("SET {key} 1 PXAT {at_ms}"));
    run(client, &format!("SET beside 1 PXAT {at_ms}"));
    eventually("its time is over", || {
        run(client, "EXISTS beside") == Reply::Integer(0)
    });
}

#[test]
fn a_watched_key_that_expires_is_told_of_although_nothing_runs() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let (mut cache, mut client, mut other) = (resp3(&server), server.client(), server.client());
    run(&mut other, "DEBUG SET-ACTIVE-EXPIRE 0");
    run(&mut cache, "CLIENT TRACKING ON BCAST PREFIX k");
    run(&mut client, "SET k 0");
    assert_eq!(cache.read(), invalidate(&["k"]));
    run(&mut client, "WATCH k");
    run(&mut client, "MULTI");
    run(&mut client, "PING");
    set_expired(&mut other, "k");
    assert_eq!(cache.read(), invalidate(&["k"]));
    assert_eq!(run(&mut client, "EXEC"), Reply::Null);
    assert_eq!(cache.read(), invalidate(&["k"]));
}

#[test]
fn a_key_that_had_expired_when_it_was_watched_breaks_nothing() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let (mut cache, mut client, mut before) = (resp3(&server), server.client(), server.client());
    run(&mut cache, "CLIENT TRACKING ON BCAST");
    run(&mut client, "DEBUG SET-ACTIVE-EXPIRE 0");
    run(&mut client, "SET k 0");
    run(&mut before, "WATCH k");
    set_expired(&mut client, "k");
    for (watcher, reply) in [
        (&mut client, Reply::Array(vec![pong()])),
        (&mut before, Reply::Null),
    ] {
        run(watcher, "WATCH k");
        run(watcher, "MULTI");
        run(watcher, "PING");
        assert_eq!(run(watcher, "EXEC"), reply);
    }
}

#[test]
fn the_table_is_bounded_and_its_readers_hear_of_it() {
    let server = Server::start(&["--tracking-table-max-keys", "10"]);
    let mut cache = resp3(&server);
    run(&mut cache, "CLIENT TRACKING ON");
    let keys: Vec<String> = (0..25).map(|n| format!("key:{n}")).collect();
    let mget: Vec<&str> = std::iter::once("MGET")
        .chain(keys.iter().map(String::as_str))
        .collect();
    cache.command(&mget);
    for _ in 0..15 {
        assert!(matches!(cache.read(), Reply::Push(_)));
    }
    let stats = run(&mut cache, "INFO stats").text().expect("a text");
    assert!(stats.contains("tracking_total_keys:10\r\n"), "{stats}");
    run(&mut cache, "CONFIG SET tracking-table-max-keys 4");
    for _ in 0..6 {
        assert!(matches!(cache.read(), Reply::Push(_)));
    }
    assert_eq!(run(&mut cache, "PING"), pong());
}

#[test]
fn caching_is_for_one_command_whatever_becomes_of_it() {
    let server = Server::start(&[]);
    let (mut cache, mut other) = (resp3(&server), server.client());
    run(&mut cache, "CLIENT TRACKING ON OPTOUT");
    for line in [
        "NOSUCH",
        "GET",
        "CONFIG NOPE",
        "CLIENT NOPE",
        "SUBSCRIBE",
        "EXEC",
    ] {
        assert_eq!(run(&mut cache, "CLIENT CACHING NO"), Reply::ok());
        let refused = run(&mut cache, line);
        assert!(matches!(refused, Reply::Error(_)), "{line}: {refused:?}");
        run(&mut cache, "GET key");
        run(&mut other, "SET key 1");
        assert_eq!(run(&mut cache, "PING"), invalidate(&["key"]), "{line}");
        assert_eq!(cache.read(), pong());
    }
    // A transaction that is queued, and a question about it, are not the end.
    for line in [
        "CLIENT CACHING NO",
        "CLIENT TRACKINGINFO",
        "MULTI",
        "GET key",
        "EXEC",
    ] {
        run(&mut cache, line);
    }
    run(&mut other, "SET key 2");
    assert_eq!(run(&mut cache, "PING"), pong());
}

#[test]
fn what_a_script_reads_after_its_own_write_is_tracked() {
    let server = Server::start(&[]);
    let (mut cache, mut other) = (resp3(&server), server.client());
    run(&mut cache, "CLIENT TRACKING ON NOLOOP");
    let script = "redis.call('set', KEYS[1], 1) return redis.call('get', KEYS[1])";
    let read = cache.command(&["EVAL", script, "1", "key"]);
    assert_eq!(read, Reply::bulk("1"));
    run(&mut other, "SET key 2");
    assert_eq!(cache.read(), invalidate(&["key"]));
}
