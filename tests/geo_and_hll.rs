//! Geospatial indexes and HyperLogLogs of a whole server: replies to the digit, strings to the
//! byte, and what a crash leaves.

mod support;

use support::{Client, Reply, Server};

fn run(client: &mut Client, line: &str) -> Reply {
    client.command(&line.split(' ').collect::<Vec<_>>())
}

fn bulks(texts: &[&str]) -> Reply {
    Reply::Array(texts.iter().map(Reply::bulk).collect())
}

/// A server with two places in Sicily.
fn sicily(client: &mut Client) {
    let line = "GEOADD s 13.361389 38.115556 Palermo 15.087269 37.502669 Catania";
    assert_eq!(run(client, line), Reply::Integer(2));
}

#[test]
fn places_and_distances_are_told_to_the_digit() {
    let server = Server::start(&[]);
    let mut client = server.client();
    sicily(&mut client);
    let palermo = bulks(&["13.36138933897018433", "38.11555639549629859"]);
    assert_eq!(
        run(&mut client, "GEOPOS s Palermo nosuch"),
        Reply::Array(vec![palermo, Reply::Null])
    );
    for (line, distance) in [
        ("GEODIST s Palermo Catania", "166274.1516"),
        ("GEODIST s Palermo Catania KM", "166.2742"),
        ("GEODIST s Palermo Catania mi", "103.3182"),
        ("GEODIST s Palermo Palermo", "0.0000"),
    ] {
        assert_eq!(run(&mut client, line), Reply::bulk(distance), "{line}");
    }
    assert_eq!(
        run(&mut client, "GEOHASH s Palermo Catania"),
        bulks(&["sqc8b49rny0", "sqdtr74hyu0"])
    );
    assert_eq!(
        run(&mut client, "ZSCORE s Palermo"),
        Reply::bulk("3479099956230698")
    );
}

#[test]
fn searches_find_what_is_inside_in_the_order_asked_for() {
    let server = Server::start(&[]);
    let mut client = server.client();
    sicily(&mut client);
    run(
        &mut client,
        "GEOADD s 12.758489 38.788135 edge1 17.241510 38.788135 edge2",
    );
    for (line, found) in [
        ("GEORADIUS s 15 37 200 km ASC", &["Catania", "Palermo"][..]),
        ("GEORADIUS s 15 37 200 km DESC", &["Palermo", "Catania"]),
        ("GEORADIUS_RO s 15 37 200 km COUNT 1", &["Catania"]),
        ("GEORADIUSBYMEMBER s Palermo 100 km", &["Palermo", "edge1"]),
        (
            "GEOSEARCH s FROMLONLAT 15 37 BYBOX 400 400 km ASC",
            &["Catania", "Palermo", "edge2", "edge1"],
        ),
        (
            "GEOSEARCH s BYPOLYGON 4 12 37 16 37 16 39 12 39 ASC COUNT 2",
            &["Palermo", "Catania"],
        ),
        ("GEOSEARCH s FROMMEMBER edge2 BYRADIUS 1 m", &["edge2"]),
        ("GEOSEARCH nosuch FROMMEMBER a BYRADIUS 1 m", &[]),
    ] {
        let Reply::Array(mut reply) = run(&mut client, line) else {
            panic!("{line} gives no array");
        };
        let mut expected: Vec<Reply> = found.iter().map(Reply::bulk).collect();
        if line.contains("100 km") {
            reply.sort_by_key(Reply::text);
            expected.sort_by_key(Reply::text);
        }
        assert_eq!(reply, expected, "{line}");
    }
    let line = "GEORADIUS s 15 37 100 km WITHDIST WITHHASH WITHCOORD";
    let place = bulks(&["15.08726745843887329", "37.50266842333162032"]);
    let catania = vec![
        Reply::bulk("Catania"),
        Reply::bulk("56.4413"),
        Reply::Integer(3_479_447_370_796_909),
        place,
    ];
    assert_eq!(
        run(&mut client, line),
        Reply::Array(vec![Reply::Array(catania)])
    );
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_changes() {
    let server = Server::start(&[]);
    let mut client = server.client();
    sicily(&mut client);
    for (line, error) in [
        (
            "GEOADD s 1 1 a 181 2 b",
            "ERR invalid longitude,latitude pair 181.000000,2.000000",
        ),
        ("GEOADD s NX XX 1 1 a", "ERR syntax error"),
        (
            "GEORADIUS s 1 1 5 km STORE d WITHDIST",
            "ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and \
             WITHCOORD options",
        ),
        (
            "GEOSEARCH s FROMMEMBER nosuch BYRADIUS 1 m",
            "ERR member nosuch does not exist",
        ),
        (
            "GEOSEARCH s BYPOLYGON 2 1 1 2 2",
            "ERR GEOSEARCH BYPOLYGON must have at least 3 vertices",
        ),
        ("GEORADIUS s 1 1 -1 km", "ERR radius cannot be negative"),
        ("GEORADIUS s 1 1 1 km STORE d STOREDIST", "ERR syntax error"),
    ] {
        assert_eq!(run(&mut client, line), Reply::Error(error.into()), "{line}");
    }
    assert_eq!(run(&mut client, "ZCARD s"), Reply::Integer(2));
    assert_eq!(run(&mut client, "EXISTS d a b"), Reply::Integer(0));
}

#[test]
fn a_hyperloglog_is_the_string_that_redis_makes() {
    let server = Server::start(&[]);
    let mut client = server.client();
    assert_eq!(run(&mut client, "PFADD h a b c"), Reply::Integer(1));
    assert_eq!(run(&mut client, "PFADD h a"), Reply::Integer(0));
    let without_count = b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80";
    let Reply::Bulk(bytes) = run(&mut client, "GET h") else {
        panic!("no string");
    };
    assert_eq!(bytes[..16], without_count[..]);
    assert_eq!(run(&mut client, "PFCOUNT h"), Reply::Integer(3));
    let Reply::Bulk(counted) = run(&mut client, "GET h") else {
        panic!("no string");
    };
    assert_eq!(counted[8..16], 3_u64.to_le_bytes());
    assert_eq!(counted[16..], bytes[16..]);
    assert_eq!(
        run(&mut client, "PFDEBUG ENCODING h"),
        Reply::Simple("sparse".into())
    );
    assert_eq!(run(&mut client, "PFDEBUG TODENSE h"), Reply::Integer(1));
    assert_eq!(run(&mut client, "STRLEN h"), Reply::Integer(12304));
    assert_eq!(run(&mut client, "PFCOUNT h"), Reply::Integer(3));
    run(&mut client, "PFADD other c d");
    assert_eq!(
        run(&mut client, "PFCOUNT h other nosuch"),
        Reply::Integer(4)
    );
    assert_eq!(run(&mut client, "PFMERGE sum h other"), Reply::ok());
    assert_eq!(run(&mut client, "PFCOUNT sum"), Reply::Integer(4));
    assert_eq!(run(&mut client, "PFSELFTEST"), Reply::ok());
}

#[test]
fn hostile_strings_give_errors() {
    let server = Server::start(&[]);
    let mut client = server.client();
    run(&mut client, "SET plain 5");
    run(&mut client, "PFADD torn a b c");
    run(&mut client, "APPEND torn hello");
    for key in ["plain", "torn"] {
        let code = if key == "plain" {
            "WRONGTYPE"
        } else {
            "INVALIDOBJ"
        };
        for line in [
            "PFADD @ x",
            "PFCOUNT @",
            "PFCOUNT @ no",
            "PFMERGE to @",
            "PFDEBUG GETREG @",
        ] {
            let reply = run(&mut client, &line.replace('@', key));
            assert_eq!(reply.error_code(), Some(code), "{line} {key}: {reply:?}");
        }
    }
    assert_eq!(run(&mut client, "PFADD torn"), Reply::Integer(0));
    assert_eq!(run(&mut client, "EXISTS to"), Reply::Integer(0));
    run(&mut client, "RPUSH list 1");
    let reply = run(&mut client, "PFADD list 1");
    assert_eq!(reply.error_code(), Some("WRONGTYPE"));
}

#[test]
fn a_crash_keeps_indexes_and_sketches() {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let mut client = server.client();
    sicily(&mut client);
    for member in 0..150 {
        let (longitude, latitude) = (f64::from(member) / 10.0, f64::from(member % 80));
        run(
            &mut client,
            &format!("GEOADD many {longitude} {latitude} m{member}"),
        );
        run(&mut client, &format!("PFADD sketch e{member} f{member}"));
    }
    for line in [
        "GEOSEARCHSTORE stored many FROMLONLAT 10 10 BYRADIUS 900 km STOREDIST",
        "GEORADIUS s 15 37 200 km STORE near",
        "GEOADD s XX CH 13.5 38 Palermo",
        "PFADD one x y z",
        "PFCOUNT one",
        "PFMERGE merged one sketch",
        "PFDEBUG TODENSE sketch",
        "PFADD sketch last",
    ] {
        let reply = run(&mut client, line);
        assert_eq!(reply.error_code(), None, "{line}: {reply:?}");
    }
    let read_all = |client: &mut Client| -> Vec<Reply> {
        let mut all: Vec<Reply> = ["s", "many", "stored", "near"]
            .iter()
            .map(|key| run(client, &format!("ZRANGE {key} 0 -1 WITHSCORES")))
            .collect();
        all.extend(["one", "sketch", "merged"].map(|key| run(client, &format!("GET {key}"))));
        all.push(run(client, "GEOPOS s Palermo"));
        all
    };
    let before = read_all(&mut client);
    server.kill();
    server.restart();
    assert_eq!(read_all(&mut server.client()), before);
}
