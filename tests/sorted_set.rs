//! Sorted sets of a whole server: replies in both protocols, blocking, and what a crash leaves.

mod support;

use support::{Client, Reply, Server};

fn bulks(texts: &[&str]) -> Reply {
    Reply::Array(texts.iter().map(Reply::bulk).collect())
}

fn run(client: &mut Client, line: &str) -> Reply {
    client.command(&line.split(' ').collect::<Vec<_>>())
}

#[test]
fn scores_are_text_in_resp2_and_doubles_in_pairs_in_resp3() {
    let server = Server::start(&[]);
    let mut client = server.client();
    assert_eq!(run(&mut client, "ZADD z 1 a 2.5 b"), Reply::Integer(2));
    assert_eq!(
        run(&mut client, "ZRANGE z 0 -1 WITHSCORES"),
        bulks(&["a", "1", "b", "2.5"])
    );
    run(&mut client, "HELLO 3");
    let pair = |member, score| Reply::Array(vec![Reply::bulk(member), Reply::Double(score)]);
    assert_eq!(
        run(&mut client, "ZRANGE z 0 -1 WITHSCORES"),
        Reply::Array(vec![pair("a", 1.0), pair("b", 2.5)])
    );
    assert_eq!(run(&mut client, "ZPOPMAX z"), pair("b", 2.5));
    assert_eq!(
        run(&mut client, "ZPOPMAX z 5"),
        Reply::Array(vec![pair("a", 1.0)])
    );
}

#[test]
fn a_command_that_fails_changes_nothing() {
    let server = Server::start(&[]);
    let mut client = server.client();
    run(&mut client, "ZADD z 1 a");
    for line in [
        "ZADD z 2 a x b",
        "ZADD z NX XX 2 a",
        "ZADD z GT LT 2 a",
        "ZADD z INCR 1 a 1 b",
        "ZUNIONSTORE z 2 z",
        "ZRANGESTORE z z 0 x",
    ] {
        let reply = run(&mut client, line);
        assert_eq!(reply.error_code(), Some("ERR"), "{line}: {reply:?}");
    }
    assert_eq!(
        run(&mut client, "ZRANGE z 0 -1 WITHSCORES"),
        bulks(&["a", "1"])
    );
    assert_eq!(run(&mut client, "ZADD nosuch XX 1 a"), Reply::Integer(0));
    assert_eq!(run(&mut client, "ZCARD nosuch"), Reply::Integer(0));
}

#[test]
fn who_waited_for_a_member_gets_it_and_the_next_one_goes_on_waiting() {
    let server = Server::start(&[]);
    let (mut first, mut second) = (server.client(), server.client());
    let mut writer = server.client();
    first.send(&support::encode(&["BZPOPMIN", "other", "z", "0"]));
    std::thread::sleep(std::time::Duration::from_millis(200));
    second.send(&support::encode(&[
        "BZMPOP", "0", "1", "z", "MAX", "COUNT", "2",
    ]));
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(run(&mut writer, "ZADD z 1 a"), Reply::Integer(1));
    assert_eq!(first.read(), bulks(&["z", "a", "1"]));
    assert_eq!(run(&mut writer, "ZCARD z"), Reply::Integer(0));
    assert_eq!(run(&mut writer, "ZADD z 1 b 2 c 3 d"), Reply::Integer(3));
    let popped = Reply::Array(vec![bulks(&["d", "3"]), bulks(&["c", "2"])]);
    assert_eq!(second.read(), Reply::Array(vec![Reply::bulk("z"), popped]));
    assert_eq!(run(&mut writer, "BZPOPMIN none 0.05"), Reply::Null);
}

#[test]
fn a_crash_keeps_what_every_kind_of_command_did() {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let mut client = server.client();
    for member in 0..300 {
        run(&mut client, &format!("ZADD large {member} m{member}"));
    }
    for line in [
        "ZADD small 1 a 2 b 3 c 0.1 d -inf e",
        "ZADD small GT CH 5 a",
        "ZINCRBY small 0.2 d",
        "ZREM small b",
        "ZREMRANGEBYRANK large 0 9",
        "ZREMRANGEBYSCORE large (290 inf",
        "BZPOPMIN large 0",
        "ZMPOP 2 nosuch large MAX COUNT 3",
        "ZPOPMIN small",
        "ZRANGESTORE range large 20 60 BYSCORE REV LIMIT 1 5",
        "ZUNIONSTORE union 2 small range WEIGHTS 2 1 AGGREGATE MAX",
        "ZINTERSTORE inter 2 union small",
        "ZDIFFSTORE diff 2 union small",
    ] {
        let reply = run(&mut client, line);
        assert_eq!(reply.error_code(), None, "{line}: {reply:?}");
    }
    let keys = ["large", "small", "range", "union", "inter", "diff"];
    let read_all = |client: &mut Client| -> Vec<Reply> {
        let read = |key| run(client, &format!("ZRANGE {key} 0 -1 WITHSCORES"));
        keys.into_iter().map(read).collect()
    };
    let before = read_all(&mut client);
    assert_eq!(
        before[1],
        bulks(&["d", "0.30000000000000004", "c", "3", "a", "5"])
    );
    server.kill();
    server.restart();
    assert_eq!(read_all(&mut server.client()), before);
}

#[test]
fn a_set_that_will_not_be_packed_keeps_its_negative_zeros() {
    let server = Server::start(&["--zset-max-listpack-value", "8"]);
    let mut client = server.client();
    run(&mut client, "ZADD zset -0 short 1 longer-than-that");
    assert_eq!(run(&mut client, "ZSCORE zset short"), Reply::bulk("-0"));
    run(&mut client, "ZADD packed -0 short");
    assert_eq!(run(&mut client, "ZSCORE packed short"), Reply::bulk("0"));
}
