//! Lists and those who wait for them.

mod support;

use std::thread::sleep;
use std::time::{Duration, Instant};
use support::{Client, Reply, Server, encode};

fn bulks(parts: &[&str]) -> Reply {
    Reply::Array(parts.iter().map(Reply::bulk).collect())
}

fn range(client: &mut Client, key: &str) -> Reply {
    client.command(&["LRANGE", key, "0", "-1"])
}

/// A client that has sent a blocking command and waits by now.
fn blocked(server: &Server, args: &[&str]) -> Client {
    let mut client = server.client();
    client.send(&encode(args));
    sleep(Duration::from_millis(60));
    client
}

#[test]
fn waiting_clients_are_served_in_the_order_of_their_arrival() {
    let server = Server::start(&[]);
    let mut first = blocked(&server, &["BLPOP", "a", "b", "0"]);
    let mut second = blocked(&server, &["BRPOP", "b", "0"]);
    let mut third = blocked(&server, &["BLMPOP", "0", "1", "b", "LEFT", "COUNT", "9"]);
    let mut client = server.client();
    let pushed = client.command(&["RPUSH", "b", "1", "2", "3", "4"]);
    assert_eq!(pushed, Reply::Integer(4));
    assert_eq!(first.read(), bulks(&["b", "1"]));
    assert_eq!(second.read(), bulks(&["b", "4"]));
    let rest = Reply::Array(vec![Reply::bulk("b"), bulks(&["2", "3"])]);
    assert_eq!(third.read(), rest);
    assert_eq!(client.command(&["LLEN", "b"]), Reply::Integer(0));
}

#[test]
fn a_key_of_another_type_serves_nobody_who_waits_for_a_list() {
    let server = Server::start(&[]);
    let mut waiting = blocked(&server, &["BLPOP", "x", "y", "0"]);
    let mut client = server.client();
    client.command(&["SET", "x", "text"]);
    sleep(Duration::from_millis(60));
    client.command(&["SET", "y", "text"]);
    let moving = &["BLMOVE", "source", "x", "LEFT", "LEFT", "0"];
    let mut moving = blocked(&server, moving);
    client.command(&["RPUSH", "source", "1"]);
    let refused = moving.read();
    assert_eq!(refused.error_code(), Some("WRONGTYPE"), "{refused:?}");
    assert_eq!(range(&mut client, "source"), bulks(&["1"]));
    for command in ["MULTI", "DEL x", "DEL y", "RPUSH y 1", "EXEC"] {
        client.command(&command.split(' ').collect::<Vec<_>>());
    }
    assert_eq!(waiting.read(), bulks(&["y", "1"]));
}

#[test]
fn a_transaction_serves_waiting_clients_only_at_its_end() {
    let server = Server::start(&[]);
    let mut waiting = blocked(&server, &["BLPOP", "list", "0"]);
    let mut client = server.client();
    for command in ["MULTI", "LPUSH list a", "DEL list", "LPUSH list b", "EXEC"] {
        client.command(&command.split(' ').collect::<Vec<_>>());
    }
    assert_eq!(waiting.read(), bulks(&["list", "b"]));
}

#[test]
fn moves_that_wait_for_each_other_end() {
    let server = Server::start(&[]);
    let mut one = blocked(&server, &["BRPOPLPUSH", "a", "b", "0"]);
    let mut other = blocked(&server, &["BRPOPLPUSH", "b", "a", "0"]);
    let mut client = server.client();
    client.command(&["RPUSH", "a", "x"]);
    assert_eq!(one.read(), Reply::bulk("x"));
    assert_eq!(other.read(), Reply::bulk("x"));
    assert_eq!(range(&mut client, "a"), bulks(&["x"]));
    assert_eq!(client.command(&["LLEN", "b"]), Reply::Integer(0));
}

#[test]
fn a_client_that_goes_while_it_waits_takes_nothing() {
    let server = Server::start(&[]);
    drop(blocked(&server, &["BLPOP", "list", "0"]));
    sleep(Duration::from_millis(100));
    let mut client = server.client();
    client.command(&["RPUSH", "list", "1"]);
    assert_eq!(range(&mut client, "list"), bulks(&["1"]));
}

#[test]
fn a_wait_ends_with_its_timeout_and_the_next_command_runs() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let began = Instant::now();
    let mut both = encode(&["BLPOP", "list", "0.2"]);
    both.extend(encode(&["PING"]));
    client.send(&both);
    assert_eq!(client.read(), Reply::Null);
    assert!(began.elapsed() >= Duration::from_millis(200));
    assert_eq!(client.read(), Reply::Simple("PONG".into()));
}

#[test]
fn what_was_served_is_in_the_log_behind_what_served_it() {
    let mut server = Server::start(&["--appendfsync", "always"]);
    let mut popping = blocked(&server, &["BLPOP", "list", "0"]);
    let mut moving = blocked(&server, &["BLMOVE", "list", "moved", "RIGHT", "LEFT", "0"]);
    let mut client = server.client();
    client.command(&["RPUSH", "list", "1", "2", "3", "4"]);
    assert_eq!(popping.read(), bulks(&["list", "1"]));
    assert_eq!(moving.read(), Reply::bulk("4"));
    client.command(&["LINSERT", "list", "BEFORE", "3", "new"]);
    client.command(&["LMPOP", "1", "list", "LEFT", "COUNT", "1"]);
    server.kill();
    server.restart();
    let mut client = server.client();
    assert_eq!(range(&mut client, "list"), bulks(&["new", "3"]));
    assert_eq!(range(&mut client, "moved"), bulks(&["4"]));
}
