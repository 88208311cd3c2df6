//! Scenarios of hashes and sets: what chance and time did to them is the same after a crash, and
//! every encoding gives the same answers.

mod support;

use std::collections::BTreeSet;
use support::{Client, Reply, Server, encode};

/// The bulk strings of an array or set, in order.
fn strings(reply: &Reply) -> Vec<String> {
    match reply {
        Reply::Array(items) | Reply::Set(items) => {
            items.iter().map(|item| item.text().unwrap()).collect()
        }
        other => panic!("no array: {other:?}"),
    }
}

fn ask(client: &mut Client, line: &str) -> Reply {
    client.command(&line.split(' ').collect::<Vec<_>>())
}

fn members(client: &mut Client, key: &str) -> BTreeSet<String> {
    strings(&client.command(&["SMEMBERS", key]))
        .into_iter()
        .collect()
}

/// Adds `<prefix><n>` for each n below `count`.
fn fill_set(client: &mut Client, key: &str, prefix: &str, count: usize) {
    let commands: Vec<u8> = (0..count)
        .flat_map(|n| encode(&["SADD", key, &format!("{prefix}{n}")]))
        .collect();
    client.pipeline(&commands, count);
}

#[test]
fn what_spop_took_stays_away_after_a_crash() {
    let mut server = Server::start(&["--appendfsync", "always"]);
    let mut client = server.client();
    let kinds = [("ints", ""), ("packed", "m"), ("table", "long-member-")];
    let mut left = Vec::new();
    for (key, prefix) in kinds {
        let size = if key == "table" { 3000 } else { 100 };
        fill_set(&mut client, key, prefix, size);
        let mut taken = strings(&client.command(&["SPOP", key, &(size / 10).to_string()]));
        taken.push(client.command(&["SPOP", key]).text().unwrap());
        taken.extend(strings(&client.command(&[
            "SPOP",
            key,
            &(size * 8 / 10).to_string(),
        ])));
        let rest = members(&mut client, key);
        let distinct: BTreeSet<String> = taken.into_iter().chain(rest.iter().cloned()).collect();
        assert_eq!(distinct.len(), size, "{key}: nothing twice, nothing lost");
        assert_eq!(rest.len(), size / 10 - 1);
        left.push((key, rest));
    }
    ask(&mut client, "SADD all 1 2 3");
    assert_eq!(strings(&ask(&mut client, "SPOP all 7")).len(), 3);
    server.kill();
    server.restart();
    let mut client = server.client();
    for (key, rest) in left {
        assert_eq!(members(&mut client, key), rest, "{key}");
    }
    assert_eq!(ask(&mut client, "SCARD all"), Reply::Integer(0));
}

#[test]
fn sums_in_a_hash_are_the_same_after_a_crash() {
    let mut server = Server::start(&["--appendfsync", "always"]);
    let mut client = server.client();
    let float = |text: &str| Reply::bulk(text);
    assert_eq!(ask(&mut client, "HINCRBYFLOAT h f 0.1"), float("0.1"));
    assert_eq!(ask(&mut client, "HINCRBYFLOAT h f 0.2"), float("0.3"));
    assert_eq!(ask(&mut client, "HINCRBYFLOAT h f 5.5"), float("5.8"));
    assert_eq!(ask(&mut client, "HINCRBY h i -7"), Reply::Integer(-7));
    let text = |reply: Reply| reply.text().unwrap();
    assert_eq!(
        text(ask(&mut client, "HINCRBYFLOAT none f x")),
        "ERR value is not a valid float"
    );
    assert_eq!(
        text(ask(&mut client, "HINCRBYFLOAT none f inf")),
        "ERR value is NaN or Infinity"
    );
    ask(&mut client, "HSET h text abc top 9223372036854775807");
    assert_eq!(
        text(ask(&mut client, "HINCRBY h text 1")),
        "ERR hash value is not an integer"
    );
    assert_eq!(
        text(ask(&mut client, "HINCRBY h top 1")),
        "ERR increment or decrement would overflow"
    );
    assert_eq!(ask(&mut client, "HLEN none"), Reply::Integer(0));
    server.kill();
    server.restart();
    let mut client = server.client();
    assert_eq!(
        ask(&mut client, "HMGET h f i text"),
        Reply::Array(vec![float("5.8"), float("-7"), float("abc")])
    );
}

#[test]
fn sets_of_every_encoding_meet_in_the_same_results() {
    let server = Server::start(&[]);
    let mut client = server.client();
    // The same numbers as an intset, in a listpack and in a table.
    fill_set(&mut client, "ints", "", 100);
    ask(&mut client, "SADD packed word 5 7 500");
    fill_set(&mut client, "table", "", 80);
    fill_set(&mut client, "table", "t", 600);
    let set = |words: &str| -> BTreeSet<String> {
        let words = words.split(' ').filter(|word| !word.is_empty());
        words.map(str::to_string).collect()
    };
    for (line, expected) in [
        ("SINTER ints packed table", "5 7"),
        ("SINTER table packed ints", "5 7"),
        ("SINTER ints packed none", ""),
        ("SDIFF packed ints table", "word 500"),
        ("SDIFF packed none", "word 5 7 500"),
        ("SDIFF packed ints packed", ""),
    ] {
        let found = strings(&ask(&mut client, line));
        assert_eq!(
            found.iter().cloned().collect::<BTreeSet<_>>(),
            set(expected)
        );
        assert_eq!(found.len(), set(expected).len(), "{line}");
    }
    let union = strings(&ask(&mut client, "SUNION packed table ints packed none"));
    assert_eq!(union.len(), 100 + 2 + 600);
    assert_eq!(
        ask(&mut client, "SINTERCARD 2 table ints LIMIT 10"),
        Reply::Integer(10)
    );
    assert_eq!(
        ask(&mut client, "SUNIONSTORE ints ints packed"),
        Reply::Integer(102)
    );
    assert_eq!(ask(&mut client, "SDIFFSTORE ints none"), Reply::Integer(0));
    assert_eq!(ask(&mut client, "SCARD ints"), Reply::Integer(0));
}

#[test]
fn a_scan_shows_all_that_stays_while_the_table_grows_and_shrinks() {
    let server = Server::start(&[]);
    let mut client = server.client();
    fill_set(&mut client, "set", "stays", 1000);
    let mut seen = BTreeSet::new();
    let (mut cursor, mut round) = ("0".to_string(), 0);
    loop {
        let Reply::Array(parts) = ask(&mut client, &format!("SSCAN set {cursor} COUNT 50")) else {
            panic!("no array");
        };
        seen.extend(strings(&parts[1]));
        cursor = parts[0].text().unwrap();
        if cursor == "0" {
            break;
        }
        round += 1;
        match round {
            2 => fill_set(&mut client, "set", "comes", 5000),
            5 => (0..5000).for_each(|n| {
                ask(&mut client, &format!("SREM set comes{n}"));
            }),
            _ => {}
        }
    }
    let stayed = seen.iter().filter(|name| name.starts_with("stays"));
    assert_eq!(stayed.count(), 1000);
}
