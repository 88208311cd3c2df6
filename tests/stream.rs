//! Streams: groups that share entries, those who wait, and what a crash leaves.

mod support;

use support::{Client, Reply, Server, encode, eventually};

/// Runs a command given as words.
fn run(client: &mut Client, line: &str) -> Reply {
    client.command(&line.split(' ').collect::<Vec<_>>())
}

fn bulks(parts: &[&str]) -> Reply {
    Reply::Array(parts.iter().map(Reply::bulk).collect())
}

/// An entry with one field.
fn entry(id: &str, name: &str, value: &str) -> Reply {
    Reply::Array(vec![Reply::bulk(id), bulks(&[name, value])])
}

/// The reply of a read of one stream in RESP2.
fn of_stream(key: &str, entries: Vec<Reply>) -> Reply {
    let stream = Reply::Array(vec![Reply::bulk(key), Reply::Array(entries)]);
    Reply::Array(vec![stream])
}

/// How many clients wait.
fn waiting(client: &mut Client) -> usize {
    let info = run(client, "INFO clients").text().unwrap_or_default();
    let field = info
        .lines()
        .find_map(|line| line.strip_prefix("blocked_clients:"));
    field
        .and_then(|count| count.trim().parse().ok())
        .unwrap_or(0)
}

/// A client that has sent a blocking command and waits by now.
fn blocked(server: &Server, watcher: &mut Client, line: &str) -> Client {
    let before = waiting(watcher);
    let mut client = server.client();
    client.send(&encode(&line.split(' ').collect::<Vec<_>>()));
    eventually("the client waits", || waiting(watcher) == before + 1);
    client
}

/// Everything about the streams of the scenario but when consumers were seen
/// last, which no log tells.
fn state(client: &mut Client) -> Vec<Reply> {
    let mut state = vec![run(client, "DEBUG DIGEST")];
    for key in ["s", "trimmed", "empty"] {
        let mut full = run(client, &format!("XINFO STREAM {key} FULL COUNT 0"));
        forget_times_seen(&mut full);
        state.push(full);
        state.push(run(client, &format!("XINFO GROUPS {key}")));
    }
    state
}

fn forget_times_seen(reply: &mut Reply) {
    let Reply::Array(parts) = reply else { return };
    for at in 0..parts.len() {
        let is_time = matches!(
            parts[at].text().as_deref(),
            Some("seen-time" | "active-time")
        );
        match parts.get_mut(at + 1) {
            Some(time) if is_time => *time = Reply::Null,
            _ => forget_times_seen(&mut parts[at]),
        }
    }
}

fn use_groups(client: &mut Client, half: u32) {
    run(client, "MULTI");
    for n in 0..150 {
        run(client, &format!("XADD s * field {n} half {half}"));
    }
    for n in 0..60 {
        run(client, &format!("XADD trimmed MAXLEN ~ 60 * n {n}"));
        run(client, "XADD trimmed MAXLEN 50 * n exactly");
    }
    run(client, "EXEC");
    for line in [
        "XGROUP CREATE s g 0",
        "XGROUP CREATE empty g $ MKSTREAM ENTRIESREAD 3",
        "XREADGROUP GROUP g alice COUNT 40 STREAMS s >",
        "XREADGROUP GROUP g bob COUNT 30 STREAMS s >",
        "XREADGROUP GROUP g carol COUNT 10 NOACK STREAMS s >",
        "XREADGROUP GROUP g alice COUNT 5 STREAMS s 0",
        "MULTI",
        "XREADGROUP GROUP g frank COUNT 2 STREAMS s >",
        "XREADGROUP GROUP g frank BLOCK 0 COUNT 2 NOACK STREAMS s >",
        "EXEC",
        "XREADGROUP GROUP g idle STREAMS empty >",
        "XAUTOCLAIM s g dave 0 - COUNT 3",
        "XAUTOCLAIM s g dave 0 - COUNT 7 JUSTID",
        "XGROUP CREATECONSUMER s g erin",
        "XTRIM trimmed MAXLEN ~ 20",
    ] {
        let reply = run(client, line);
        assert!(
            half > 0 || reply.error_code().is_none(),
            "{line}: {reply:?}"
        );
    }
    let pending = run(client, "XPENDING s g - + 6");
    let Reply::Array(pending) = pending else {
        panic!("a list")
    };
    let ids: Vec<String> = pending
        .iter()
        .map(|entry| {
            let Reply::Array(parts) = entry else {
                panic!("an entry")
            };
            parts[0].text().expect("an id")
        })
        .collect();
    let [a, b, c, d, e, f] = &ids[..] else {
        panic!("six ids")
    };
    for line in [
        format!("XACK s g {a}"),
        format!("XCLAIM s g erin 0 {b} {c} IDLE 5000"),
        format!("XCLAIM s g erin 0 {d} RETRYCOUNT 9 JUSTID"),
        format!("XDEL s {e} {f}"),
        format!("XCLAIM s g erin 0 {e}"),
        format!("XAUTOCLAIM s g erin 0 {f} COUNT 1"),
    ] {
        let reply = run(client, &line);
        assert_eq!(reply.error_code(), None, "{line}: {reply:?}");
    }
}

#[test]
fn a_crash_changes_nothing_about_streams_and_groups() {
    let options = ["--appendfsync", "always", "--enable-debug-command", "yes"];
    let mut server = Server::start(&options);
    // From the log alone, and then from a tree with the log behind it.
    for half in 0..2 {
        let mut client = server.client();
        use_groups(&mut client, half);
        let before = state(&mut client);
        server.kill();
        server.restart();
        let after = state(&mut server.client());
        assert_eq!(after, before, "half {half}");
        assert_eq!(run(&mut server.client(), "SAVE"), Reply::ok());
    }
    let mut client = server.client();
    let Reply::Bulk(last) = run(&mut client, "XADD s * one more") else {
        panic!("an id")
    };
    let Reply::Array(found) = run(&mut client, "XREVRANGE s + - COUNT 1") else {
        panic!("entries")
    };
    assert_eq!(
        found,
        [entry(std::str::from_utf8(&last).unwrap(), "one", "more")]
    );
}

#[test]
fn dollar_means_what_was_the_end_when_the_wait_began() {
    let server = Server::start(&[]);
    let mut client = server.client();
    run(&mut client, "XADD s 1-1 a old");
    let mut both = blocked(&server, &mut client, "XREAD BLOCK 0 STREAMS other s $ $");
    let mut counted = blocked(&server, &mut client, "XREAD COUNT 1 BLOCK 0 STREAMS s $");
    for line in [
        "MULTI",
        "XADD s 2-1 a new",
        "XADD s 3-1 a newer",
        "XDEL s 2-1",
        "EXEC",
    ] {
        run(&mut client, line);
    }
    let newer = || of_stream("s", vec![entry("3-1", "a", "newer")]);
    assert_eq!((both.read(), counted.read()), (newer(), newer()));
    assert_eq!(waiting(&mut client), 0);
    // Nothing but a stream ends the wait.
    let mut reader = blocked(&server, &mut client, "XREAD BLOCK 0 STREAMS made $");
    run(&mut client, "RPUSH made x");
    run(&mut client, "DEL made");
    run(&mut client, "XADD made 1-1 a b");
    assert_eq!(
        reader.read(),
        of_stream("made", vec![entry("1-1", "a", "b")])
    );
}

#[test]
fn plus_gives_the_last_entry_and_waits_where_there_is_none() {
    let server = Server::start(&[]);
    let mut client = server.client();
    run(&mut client, "XADD s 1-1 a b");
    run(&mut client, "XADD s 2-1 a c");
    let last = of_stream("s", vec![entry("2-1", "a", "c")]);
    assert_eq!(run(&mut client, "XREAD STREAMS s +"), last);
    assert_eq!(run(&mut client, "XREAD STREAMS none +"), Reply::Null);
    let mut reader = blocked(&server, &mut client, "XREAD BLOCK 0 STREAMS none +");
    run(&mut client, "XADD none 5-1 a d");
    assert_eq!(
        reader.read(),
        of_stream("none", vec![entry("5-1", "a", "d")])
    );
}

#[test]
fn waiting_consumers_share_entries_in_the_order_of_their_arrival() {
    let mut server = Server::start(&["--appendfsync", "always"]);
    let mut client = server.client();
    run(&mut client, "XGROUP CREATE s g $ MKSTREAM");
    let read = |name: &str| format!("XREADGROUP GROUP g {name} COUNT 1 BLOCK 0 STREAMS s >");
    let mut first = blocked(&server, &mut client, &read("first"));
    let mut second = blocked(&server, &mut client, &read("second"));
    let mut third = blocked(&server, &mut client, &read("third"));
    run(&mut client, "XADD s 1-1 n 1");
    assert_eq!(first.read(), of_stream("s", vec![entry("1-1", "n", "1")]));
    run(&mut client, "XADD s 2-1 n 2");
    assert_eq!(second.read(), of_stream("s", vec![entry("2-1", "n", "2")]));
    assert_eq!(waiting(&mut client), 1);
    run(&mut client, "DEL s");
    assert_eq!(third.read().error_code(), Some("NOGROUP"));
    run(&mut client, "XGROUP CREATE s g $ MKSTREAM");
    let mut fourth = blocked(&server, &mut client, &read("fourth"));
    run(&mut client, "SET s text");
    assert_eq!(fourth.read().error_code(), Some("WRONGTYPE"));
    // What was handed out on a waiter's behalf is in the log.
    run(&mut client, "DEL s");
    run(&mut client, "XGROUP CREATE s g $ MKSTREAM");
    let mut fifth = blocked(&server, &mut client, &read("fifth"));
    run(&mut client, "XADD s 3-1 n 3");
    fifth.read();
    server.kill();
    server.restart();
    let one = Reply::Array(vec![Reply::Array(vec![
        Reply::bulk("fifth"),
        Reply::bulk("1"),
    ])]);
    let pending = run(&mut server.client(), "XPENDING s g");
    assert_eq!(
        pending,
        Reply::Array(vec![
            Reply::Integer(1),
            Reply::bulk("3-1"),
            Reply::bulk("3-1"),
            one
        ])
    );
}

#[test]
fn a_consumer_can_be_called_streams() {
    let server = Server::start(&[]);
    let mut client = server.client();
    run(&mut client, "XGROUP CREATE s streams 0 MKSTREAM");
    run(&mut client, "XADD s 1-1 a b");
    let read = "XREADGROUP NOACK GROUP streams STREAMS BLOCK 1 STREAMS s >";
    let expected = of_stream("s", vec![entry("1-1", "a", "b")]);
    assert_eq!(run(&mut client, read), expected);
    let keys = run(&mut client, &format!("COMMAND GETKEYS {read}"));
    assert_eq!(keys, bulks(&["s"]));
}

#[test]
fn resp3_reads_are_maps() {
    let server = Server::start(&[]);
    let mut client = server.client();
    run(&mut client, "HELLO 3");
    run(&mut client, "XADD s 1-1 a b");
    let read = run(&mut client, "XREAD STREAMS s t 0 0");
    let entries = Reply::Array(vec![entry("1-1", "a", "b")]);
    assert_eq!(read, Reply::Map(vec![(Reply::bulk("s"), entries)]));
    assert_eq!(run(&mut client, "XREAD STREAMS s 1-1"), Reply::Null);
}

#[test]
fn a_stream_is_a_key_like_others() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let mut client = server.client();
    for n in 1..300 {
        run(&mut client, &format!("XADD s {n}-1 name {n} other x{n}"));
    }
    run(&mut client, "XGROUP CREATE s g 5");
    run(&mut client, "XREADGROUP GROUP g c COUNT 7 STREAMS s >");
    run(&mut client, "XDEL s 200-1");
    assert_eq!(run(&mut client, "TYPE s"), Reply::Simple("stream".into()));
    assert_eq!(run(&mut client, "OBJECT ENCODING s"), Reply::bulk("stream"));
    assert_eq!(run(&mut client, "COPY s copy"), Reply::Integer(1));
    let Reply::Bulk(dump) = run(&mut client, "DUMP s") else {
        panic!("a dump")
    };
    let restored = client.command(&[&b"RESTORE"[..], b"restored", b"0", &dump]);
    assert_eq!(restored, Reply::ok());
    let full = run(&mut client, "XINFO STREAM s FULL COUNT 0");
    for other in ["copy", "restored"] {
        assert_eq!(
            run(&mut client, &format!("XINFO STREAM {other} FULL COUNT 0")),
            full
        );
    }
    let digests = run(&mut client, "DEBUG DIGEST-VALUE s copy restored");
    let Reply::Array(digests) = digests else {
        panic!("digests")
    };
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]));
    run(&mut client, "XTRIM s MAXLEN 0");
    assert_eq!(
        run(&mut client, "EXISTS s"),
        Reply::Integer(1),
        "it outlives its entries"
    );
}

#[test]
fn what_readers_and_groups_do_breaks_no_watch() {
    let server = Server::start(&[]);
    let (mut watcher, mut client) = (server.client(), server.client());
    let mut breaks = |line: &str| {
        for line in [
            "DEL s",
            "XADD s 1-1 a b",
            "XADD s 2-1 a b",
            "XGROUP CREATE s g 0",
        ] {
            run(&mut client, line);
        }
        run(&mut client, "XREADGROUP GROUP g c COUNT 1 STREAMS s >");
        run(&mut watcher, "WATCH s");
        let reply = run(&mut client, line);
        assert!(!matches!(reply, Reply::Error(_)), "{line}: {reply:?}");
        run(&mut watcher, "MULTI");
        run(&mut watcher, "EXEC") == Reply::Null
    };
    for line in [
        "XREADGROUP GROUP g c STREAMS s >",
        "XREADGROUP GROUP g new STREAMS s >",
        "XREADGROUP GROUP g new NOACK STREAMS s >",
        "XACK s g 1-1",
        "XCLAIM s g new 0 1-1",
        "XAUTOCLAIM s g new 0 0",
        "XSETID s 5-5",
        "XGROUP CREATE s other 0",
        "XGROUP SETID s g 0",
        "XGROUP CREATECONSUMER s g new",
        "XGROUP DELCONSUMER s g c",
        "XGROUP DESTROY s g",
    ] {
        assert!(!breaks(line), "{line}");
    }
    for line in ["XADD s * a b", "XDEL s 1-1", "XTRIM s MAXLEN 1", "DEL s"] {
        assert!(breaks(line), "{line}");
    }
}

#[test]
fn a_group_that_goes_is_told_to_who_waits_for_it() {
    let server = Server::start(&[]);
    let (mut waiter, mut client) = (server.client(), server.client());
    run(&mut client, "XGROUP CREATE s g 0 MKSTREAM");
    waiter.send(&support::encode(&[
        "XREADGROUP",
        "GROUP",
        "g",
        "c",
        "BLOCK",
        "0",
        "STREAMS",
        "s",
        ">",
    ]));
    support::eventually("it waits", || {
        run(&mut client, "CLIENT LIST")
            .text()
            .unwrap_or_default()
            .contains("cmd=xreadgroup")
    });
    assert_eq!(run(&mut client, "XGROUP DESTROY s g"), Reply::Integer(1));
    assert_eq!(waiter.read().error_code(), Some("NOGROUP"));
}
