//! Fields of hashes that expire: what clients see, what the clockwork reclaims, and what a crash
//! leaves.

mod support;

use support::{Client, Reply, Server, eventually};

/// A moment that no test reaches, Unix milliseconds.
const FAR: &str = "4000000000000";

fn run(client: &mut Client, line: &str) -> Reply {
    client.command(&line.split(' ').collect::<Vec<_>>())
}

fn integers(numbers: &[i64]) -> Reply {
    Reply::Array(numbers.iter().map(|n| Reply::Integer(*n)).collect())
}

fn bulks(texts: &[&str]) -> Reply {
    Reply::Array(texts.iter().map(Reply::bulk).collect())
}

/// Sets fields of `key` to expire, and waits until they have.
fn expire_now(client: &mut Client, key: &str, fields: &str) {
    run(client, &format!("HPEXPIRE {key} 1 {fields}"));
    std::thread::sleep(std::time::Duration::from_millis(5));
}

#[test]
fn each_field_has_its_own_expiry() {
    let server = Server::start(&[]);
    let mut client = server.client();
    run(&mut client, "HSET h a 1 b 2 c 3");
    for (line, reply) in [
        ("HPEXPIREAT h 4000000000000 FIELDS 2 a nosuch", &[1, -2][..]),
        ("HPEXPIREAT h 4000000000001 NX FIELDS 2 a b", &[0, 1]),
        ("HPEXPIREAT h 3999999999999 GT FIELDS 1 a", &[0]),
        ("HPEXPIREAT h 3999999999999 LT FIELDS 2 a c", &[1, 1]),
        (
            "HPEXPIRETIME h FIELDS 4 a b c d",
            &[3_999_999_999_999, 4_000_000_000_001, 3_999_999_999_999, -2],
        ),
        ("HEXPIRETIME h FIELDS 1 a", &[4_000_000_000]),
        ("HPERSIST h FIELDS 3 a a d", &[1, -1, -2]),
        ("HTTL h FIELDS 1 a", &[-1]),
        ("HEXPIRE h 0 FIELDS 2 a a", &[2, -2]),
        ("HTTL nosuch FIELDS 2 a b", &[-2, -2]),
    ] {
        assert_eq!(run(&mut client, line), integers(reply), "{line}");
    }
    assert_eq!(run(&mut client, "HEXISTS h a"), Reply::Integer(0));
    for line in [
        "HEXPIRE h -1 FIELDS 1 b",
        "HEXPIRE h 1 FIELDS 2 b",
        "HTTL h FIELDS 2 b",
    ] {
        let reply = run(&mut client, line);
        assert_eq!(reply.error_code(), Some("ERR"), "{line}: {reply:?}");
    }
}

#[test]
fn writing_a_field_clears_its_expiry_and_adding_to_it_does_not() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let line = format!("HSETEX h PXAT {FAR} FIELDS 4 set 1 add 2 float 3 ex 4");
    assert_eq!(run(&mut client, &line), Reply::Integer(1));
    run(&mut client, "HSET h set 5");
    run(&mut client, "HINCRBY h add 1");
    run(&mut client, "HINCRBYFLOAT h float 0.5");
    run(&mut client, "HSETEX h KEEPTTL FIELDS 1 ex 7");
    let far: i64 = FAR.parse().expect("a number");
    assert_eq!(
        run(&mut client, "HPEXPIRETIME h FIELDS 4 set add float ex"),
        integers(&[-1, far, far, far])
    );
    assert_eq!(
        run(&mut client, "HMGET h add float ex"),
        bulks(&["3", "3.5", "7"])
    );
    assert_eq!(
        run(&mut client, "HGETEX h PERSIST FIELDS 1 ex"),
        bulks(&["7"])
    );
    assert_eq!(run(&mut client, "HGETEX h EX 0 FIELDS 1 ex"), bulks(&["7"]));
    assert_eq!(
        run(&mut client, "HSETEX h FNX FIELDS 2 ex 1 set 1"),
        Reply::Integer(0)
    );
    assert_eq!(
        run(&mut client, "HSETEX h FXX EX 0 FIELDS 1 set 1"),
        Reply::Integer(1)
    );
    assert_eq!(run(&mut client, "HLEN h"), Reply::Integer(2));
    assert_eq!(
        run(&mut client, "HGETDEL h FIELDS 2 add float"),
        bulks(&["3", "3.5"])
    );
    assert_eq!(run(&mut client, "EXISTS h"), Reply::Integer(0));
}

#[test]
fn no_command_sees_a_field_whose_time_is_over() {
    // The clockwork is off: each command has to notice for itself.
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let mut client = server.client();
    run(&mut client, "DEBUG SET-ACTIVE-EXPIRE 0");
    let read = [
        ("HGET h a", Reply::Null),
        ("HEXISTS h a", Reply::Integer(0)),
        ("HSTRLEN h a", Reply::Integer(0)),
        ("HLEN h", Reply::Integer(1)),
        ("HKEYS h", bulks(&["z"])),
        ("HGETALL h", bulks(&["z", "9"])),
        ("HRANDFIELD h 5", bulks(&["z"])),
        ("HPTTL h FIELDS 1 a", integers(&[-2])),
        ("HINCRBY h a 1", Reply::Integer(1)),
        ("HSETNX h a 1", Reply::Integer(1)),
        ("HSET h a 1", Reply::Integer(1)),
        ("HDEL h a", Reply::Integer(0)),
        ("HGETDEL h FIELDS 1 a", Reply::Array(vec![Reply::Null])),
        ("HEXPIRE h 100 FIELDS 1 a", integers(&[-2])),
        ("HSETEX h FXX FIELDS 1 a 1", Reply::Integer(0)),
    ];
    for (line, expected) in read {
        run(&mut client, "DEL h");
        run(&mut client, "HSET h a 5 z 9");
        expire_now(&mut client, "h", "FIELDS 1 a");
        assert_eq!(run(&mut client, line), expected, "{line}");
    }
    run(&mut client, "DEL h");
    run(&mut client, "HSET h a 5");
    expire_now(&mut client, "h", "FIELDS 1 a");
    assert_eq!(run(&mut client, "EXISTS h"), Reply::Integer(0));
}

#[test]
fn while_nothing_may_change_fields_whose_time_is_over_are_hidden() {
    let server = Server::start(&[]);
    let (mut client, mut other) = (server.client(), server.client());
    run(&mut client, "HSET h a 5 b 6 z 9");
    run(&mut client, "HPEXPIRE h 100 FIELDS 1 a");
    run(&mut client, &format!("HPEXPIREAT h {FAR} FIELDS 1 b"));
    assert_eq!(run(&mut other, "CLIENT PAUSE 100000 WRITE"), Reply::ok());
    std::thread::sleep(std::time::Duration::from_millis(200));
    for (line, expected) in [
        ("HGET h a", Reply::Null),
        ("HEXISTS h a", Reply::Integer(0)),
        ("HLEN h", Reply::Integer(2)),
        ("HPTTL h FIELDS 1 a", integers(&[-2])),
        ("HMGET h b z", bulks(&["6", "9"])),
    ] {
        assert_eq!(run(&mut client, line), expected, "{line}");
    }
    let Reply::Array(all) = run(&mut client, "HGETALL h") else {
        panic!("no array");
    };
    assert_eq!(all.len(), 4);
    run(&mut other, "CLIENT UNPAUSE");
    assert_eq!(run(&mut client, "HSETNX h a 1"), Reply::Integer(1));
    assert_eq!(run(&mut client, "HLEN h"), Reply::Integer(3));
}

#[test]
fn the_clockwork_reclaims_fields_that_nobody_asks_for() {
    let server = Server::start(&["--notify-keyspace-events", "KEA"]);
    let (mut client, mut listener) = (server.client(), server.client());
    run(&mut listener, "PSUBSCRIBE __keyspace@0__:*");
    for hash in 0..50 {
        for field in 0..20 {
            run(&mut client, &format!("HSET h{hash} f{field} v"));
        }
    }
    run(&mut client, "HSET h0 stays v");
    for hash in 0..50 {
        let fields: Vec<String> = (0..20).map(|n| format!("f{n}")).collect();
        let fields = fields.join(" ");
        let late = format!("HPEXPIRE h{hash} 60 FIELDS 20 {fields}");
        run(&mut client, &late);
    }
    eventually("all but one hash is gone", || {
        run(&mut client, "DBSIZE") == Reply::Integer(1)
    });
    assert_eq!(run(&mut client, "HKEYS h0"), bulks(&["stays"]));
    let (mut expired, mut deleted) = (0, 0);
    while deleted < 49 {
        let message = listener.read();
        let Reply::Array(parts) = &message else {
            panic!("{message:?} is no message");
        };
        match parts[3].text().as_deref() {
            Some("hexpired") => expired += 1,
            Some("del") => deleted += 1,
            _ => {}
        }
    }
    assert!(expired >= 49, "only {expired} hexpired events");
}

/// How many fields have been reclaimed, as INFO tells it.
fn expired_fields(client: &mut Client) -> usize {
    let info = run(client, "INFO stats").text().expect("INFO is text");
    let line = info.lines().find_map(|l| l.strip_prefix("expired_fields:"));
    line.and_then(|n| n.trim().parse().ok()).expect("a number")
}

#[test]
fn a_look_at_a_hash_does_not_wait_for_thousands_of_fields_to_go() {
    let always = ["--appendonly", "yes", "--appendfsync", "always"];
    let mut server = Server::start(&[&always[..], &["--enable-debug-command", "yes"]].concat());
    let mut client = server.client();
    run(&mut client, "DEBUG SET-ACTIVE-EXPIRE 0");
    let mut expire = vec!["HPEXPIRE".to_string(), "h".into(), "1".into()];
    expire.extend(["FIELDS".to_string(), "5000".into()]);
    let mut set = vec!["HSET".to_string(), "h".into(), "z".into(), "9".into()];
    for field in 0..5000 {
        expire.push(format!("f{field}"));
        set.extend([format!("f{field}"), "1".into()]);
    }
    client.command(&set);
    client.command(&expire);
    std::thread::sleep(std::time::Duration::from_millis(5));
    assert_eq!(run(&mut client, "HLEN h"), Reply::Integer(1));
    assert_eq!(run(&mut client, "HGETALL h"), bulks(&["z", "9"]));
    assert_eq!(run(&mut client, "HRANDFIELD h"), Reply::bulk("z"));
    let reclaimed = expired_fields(&mut client);
    assert!(
        (1..2000).contains(&reclaimed),
        "{reclaimed} fields are gone"
    );
    // A change must not meet fields that a replay would still see.
    assert_eq!(run(&mut client, "HINCRBY h f4999 1"), Reply::Integer(1));
    assert_eq!(expired_fields(&mut client), 5000);
    server.kill();
    server.restart();
    let mut client = server.client();
    assert_eq!(run(&mut client, "HMGET h z f4999"), bulks(&["9", "1"]));
    assert_eq!(run(&mut client, "HLEN h"), Reply::Integer(2));
}

#[test]
fn a_digest_is_of_what_is_there_whoever_looked_last() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let mut client = server.client();
    run(&mut client, "DEBUG SET-ACTIVE-EXPIRE 0");
    let names: Vec<String> = (0..600).map(|n| format!("f{n}")).collect();
    let pairs: Vec<String> = names.iter().map(|name| format!("{name} 1")).collect();
    let digest = |client: &mut Client| run(client, "DEBUG DIGEST").text();
    run(&mut client, "HSET h z 1");
    let of_one = digest(&mut client);
    run(&mut client, &format!("HSET h {}", pairs.join(" ")));
    expire_now(&mut client, "h", &format!("FIELDS 600 {}", names.join(" ")));
    // It removes some of them, and hides the others, which a restart would show.
    assert_eq!(run(&mut client, "HGET h f599"), Reply::Null);
    assert_eq!(run(&mut client, "HLEN h"), Reply::Integer(1));
    assert_ne!(digest(&mut client), of_one);
    run(&mut client, "DEBUG SET-ACTIVE-EXPIRE 1");
    eventually("they are removed", || digest(&mut client) == of_one);
}

#[test]
fn hashes_without_expiry_are_as_they_were() {
    let server = Server::start(&[]);
    let mut client = server.client();
    run(&mut client, "HSET plain a 1 b 2");
    run(&mut client, "HSET h a 1 b 2");
    let encoding = |client: &mut Client| run(client, "OBJECT ENCODING h").text();
    assert_eq!(encoding(&mut client).as_deref(), Some("listpack"));
    run(&mut client, "HPERSIST h FIELDS 1 a");
    assert_eq!(encoding(&mut client).as_deref(), Some("listpack"));
    run(&mut client, &format!("HPEXPIREAT h {FAR} FIELDS 1 a"));
    assert_eq!(encoding(&mut client).as_deref(), Some("hashtable"));
    let Reply::Bulk(dump) = run(&mut client, "DUMP h") else {
        panic!("no dump");
    };
    // Type 22 and RDB version 80, as Valkey 9 writes it.
    assert_eq!((dump[0], dump[dump.len() - 10]), (22, 80));
    let restore: [&[u8]; 4] = [b"RESTORE", b"copy", b"0", &dump];
    assert_eq!(client.command(&restore), Reply::ok());
    assert_eq!(
        run(&mut client, "HPEXPIRETIME copy FIELDS 2 a b"),
        integers(&[FAR.parse().expect("a number"), -1])
    );
    run(&mut client, "HPERSIST h FIELDS 1 a");
    let Reply::Bulk(dump) = run(&mut client, "DUMP h") else {
        panic!("no dump");
    };
    assert_eq!((dump[0], dump[dump.len() - 10]), (4, 10));
}

#[test]
fn a_crash_keeps_expiries_and_what_they_did() {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let mut client = server.client();
    // Half of it is in the tree, half in the log, when the server is killed.
    for round in ["tree", "log"] {
        for field in 0..150 {
            let line = format!(
                "HSETEX {round} PXAT {} FIELDS 1 f{field} {field}",
                4_000_000_000_000_i64 + field
            );
            run(&mut client, &line);
        }
        for line in [
            "HSET @s a 1 b 2 c 3 d 4 e 5 f 1.5",
            "HPEXPIREAT @s 4000000000000 FIELDS 5 a b c d f",
            "HPERSIST @s FIELDS 1 b",
            "HGETEX @s PXAT 4000000000007 FIELDS 1 c",
            "HGETEX @s EX 0 FIELDS 1 d",
            "HINCRBYFLOAT @s f 1.25",
            "HINCRBY @s a 41",
            "HSETEX @s KEEPTTL FIELDS 1 c new",
            "COPY @s @copy",
            "RENAME @copy @moved",
            "HSET @gone x 1",
        ] {
            let line = line.replace('@', round);
            let reply = run(&mut client, &line);
            assert_eq!(reply.error_code(), None, "{line}: {reply:?}");
        }
        expire_now(&mut client, &format!("{round}gone"), "FIELDS 1 x");
        // INCRBY on a field that expired starts at 0, and must do so in the replay.
        run(&mut client, &format!("HSET {round}again x 5 y 1"));
        expire_now(&mut client, &format!("{round}again"), "FIELDS 1 x");
        run(&mut client, &format!("HINCRBY {round}again x 1"));
        if round == "tree" {
            assert_eq!(run(&mut client, "SAVE"), Reply::ok());
        }
    }
    let read_all = |client: &mut Client| -> Vec<Reply> {
        let mut all = Vec::new();
        for round in ["tree", "log"] {
            for line in [
                "HLEN @",
                "HMGET @ f0 f149",
                "HPEXPIRETIME @ FIELDS 3 f0 f70 f149",
                "HMGET @s a b c d e f",
                "HPEXPIRETIME @s FIELDS 6 a b c d e f",
                "HPEXPIRETIME @moved FIELDS 6 a b c d e f",
                "HMGET @again x y",
                "HPEXPIRETIME @again FIELDS 2 x y",
                "EXISTS @gone @copy",
            ] {
                all.push(run(client, &line.replace('@', round)));
            }
        }
        all
    };
    let before = read_all(&mut client);
    assert_eq!(before[3], {
        let mut fields = vec![Reply::bulk("42"), Reply::bulk("2"), Reply::bulk("new")];
        fields.extend([Reply::Null, Reply::bulk("5"), Reply::bulk("2.75")]);
        Reply::Array(fields)
    });
    assert_eq!(before[6], bulks(&["1", "1"]));
    assert_eq!(before[8], Reply::Integer(0));
    server.kill();
    server.restart();
    assert_eq!(read_all(&mut server.client()), before);
}

#[test]
fn fields_that_expire_while_the_server_is_down_are_gone_when_it_is_back() {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let mut client = server.client();
    run(&mut client, "HSETEX h PX 300 FIELDS 2 a 1 b 2");
    run(&mut client, "HSET h stays 1");
    run(&mut client, "HSETEX whole PX 300 FIELDS 1 a 1");
    server.kill();
    std::thread::sleep(std::time::Duration::from_millis(400));
    server.restart();
    let mut client = server.client();
    assert_eq!(run(&mut client, "HGETALL h"), bulks(&["stays", "1"]));
    eventually("the other hash is reclaimed", || {
        run(&mut client, "DBSIZE") == Reply::Integer(1)
    });
}

#[test]
fn in_a_transaction_expiry_comes_before_the_command_that_found_it() {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let mut client = server.client();
    run(&mut client, "HSET h a 5 b 6");
    expire_now(&mut client, "h", "FIELDS 1 a");
    run(&mut client, "MULTI");
    run(&mut client, "HINCRBY h a 1");
    run(&mut client, "HINCRBY h a 1");
    assert_eq!(run(&mut client, "EXEC"), integers(&[1, 2]));
    server.kill();
    server.restart();
    let mut client = server.client();
    assert_eq!(run(&mut client, "HMGET h a b"), bulks(&["2", "6"]));
}

#[test]
fn a_hash_that_is_gone_takes_its_expiries_along() {
    let server = Server::start(&["--appendonly", "no", "--save", ""]);
    let mut client = server.client();
    let used = |client: &mut Client| {
        let text = run(client, "INFO memory").text().expect("a text");
        let line = text.lines().find_map(|l| l.strip_prefix("used_memory:"));
        let bytes = line.and_then(|bytes| bytes.parse::<i64>().ok());
        bytes.expect("a number")
    };
    for step in [
        "redis.call('HSETEX', 'h', 'PXAT', at, 'FIELDS', 1, 'f', 'v') redis.call('DEL', 'h')",
        "redis.call('HSETEX', 'h', 'PXAT', at, 'FIELDS', 1, 'f', 'v') redis.call('SET', 'h', 1)
         redis.call('DEL', 'h')",
        "redis.call('HSETEX', 'h', 'PXAT', at, 'FIELDS', 1, 'f', 'v') redis.call('HDEL', 'h', 'f')",
        "redis.call('HSETEX', 'h', 'PXAT', at, 'FIELDS', 1, 'f', 'v')",
    ] {
        // Each moment comes once, later ones first.
        let script =
            format!("for at = tonumber(ARGV[1]) + 50000, tonumber(ARGV[1]), -1 do {step} end");
        let mut round = |number: i64| {
            let first = (4_000_000_000_000_i64 - number * 50_001).to_string();
            let reply = client.command(&["EVAL", &script, "1", "h", &first]);
            assert_eq!(reply, Reply::Null);
            used(&mut client)
        };
        let before = round(1);
        let after = round(2);
        assert!(after - before < 500_000, "{step}: {before}, {after}");
        run(&mut client, "DEL h");
    }
}
