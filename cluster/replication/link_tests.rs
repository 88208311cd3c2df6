//! The link's traces: what it says and does for what it is told.

use super::*;

fn identity() -> Identity {
    Identity {
        user: Vec::new(),
        password: Vec::new(),
        port: 7000,
        announced_ip: Vec::new(),
        version: "9.1.0",
        timeout_ms: 60_000,
        retry_ms: 1000,
        ack_ms: 1000,
        failover: false,
    }
}

fn id(letter: u8) -> ReplicationId {
    ReplicationId::parse(&[letter; 40]).expect("forty letters")
}

/// What the link wants, with requests as plain words.
fn drain(link: &mut Link) -> Vec<String> {
    let mut trace = Vec::new();
    while let Some(output) = link.poll_output() {
        trace.push(match output {
            Output::Send(bytes) => {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let words = text.split("\r\n").filter(|w| !w.starts_with(['*', '$']));
                words.collect::<Vec<_>>().join(" ").trim().to_string()
            }
            Output::Snapshot(bytes) => format!("snapshot {}", String::from_utf8_lossy(&bytes)),
            Output::Stream(bytes) => format!("stream {}", String::from_utf8_lossy(&bytes)),
            other => format!("{other:?}"),
        });
    }
    trace
}

/// A link that has just sent PSYNC.
fn at_psync(identity: Identity, position: Option<Position>) -> Link {
    let mut link = Link::new(identity, position);
    link.handle(0, Input::Tick);
    assert_eq!(drain(&mut link), ["Connect"]);
    link.handle(1, Input::Connected);
    assert_eq!(drain(&mut link), ["PING"]);
    link.handle(2, Input::Bytes(b"+PONG\r\n"));
    for _ in 0..10 {
        let said = drain(&mut link);
        if said.iter().any(|said| said.starts_with("PSYNC")) {
            return link;
        }
        match said.iter().any(|said| said.starts_with("Told")) {
            true => link.go_on(2, position),
            false => link.handle(2, Input::Bytes(b"+OK\r\n")),
        }
    }
    panic!("never asks for the stream");
}

#[test]
fn a_replica_with_data_hears_of_the_history_first() {
    let position = |letter, offset| Position {
        id: id(letter),
        offset,
    };
    let mut link = Link::new(identity(), Some(position(b'a', 99)));
    link.handle(0, Input::Tick);
    link.handle(1, Input::Connected);
    for _ in 0..4 {
        link.handle(2, Input::Bytes(b"+OK\r\n"));
    }
    assert_eq!(
        drain(&mut link).last().map(String::as_str),
        Some("INFO replication")
    );
    let info = format!("master_replid:{}\r\nmaster_repl_offset:50\r\n", id(b'a'));
    let wire = format!("${}\r\n{info}\r\n", info.len());
    for byte in wire.as_bytes() {
        assert_eq!(drain(&mut link), [""; 0]);
        link.handle(3, Input::Bytes(&[*byte]));
    }
    let names = Names(vec![(id(b'a'), 50)]);
    assert_eq!(drain(&mut link), [format!("{:?}", Output::Told(names))]);
    link.go_on(4, Some(position(b'a', 50)));
    assert_eq!(drain(&mut link), [format!("PSYNC {} 51", id(b'a'))]);
}

#[test]
fn a_replica_asks_anew_what_it_has_though_the_primary_tells_nothing() {
    let position = |letter| Position {
        id: id(letter),
        offset: 99,
    };
    for failover in [false, true] {
        let mut link = Link::new(
            Identity {
                failover,
                ..identity()
            },
            Some(position(b'a')),
        );
        link.handle(0, Input::Tick);
        link.handle(1, Input::Connected);
        for _ in 0..4 {
            link.handle(2, Input::Bytes(b"+OK\r\n"));
        }
        if !failover {
            link.handle(3, Input::Bytes(b"-NOPERM no permissions\r\n"));
        }
        let said = drain(&mut link);
        let told = format!("{:?}", Output::Told(Names::default()));
        assert_eq!(said.last(), Some(&told), "{said:?}");
        link.go_on(4, Some(position(b'b')));
        let words = ["", " FAILOVER"][usize::from(failover)];
        let asked = format!("PSYNC {} 100{words}", id(b'b'));
        assert_eq!(drain(&mut link), [asked]);
    }
}

#[test]
fn the_hand_shake_says_all_in_order() {
    let mut identity = identity();
    identity.password = b"secret".to_vec();
    identity.user = b"joe".to_vec();
    identity.announced_ip = b"10.1.1.1".to_vec();
    let mut link = Link::new(identity, None);
    link.handle(0, Input::Tick);
    link.handle(1, Input::Connected);
    assert_eq!(drain(&mut link), ["Connect", "PING"]);
    let mut said = Vec::new();
    link.handle(2, Input::Bytes(b"-NOAUTH Authentication required.\r\n"));
    for _ in 0..5 {
        said.extend(drain(&mut link));
        link.handle(3, Input::Bytes(b"+OK\r\n"));
    }
    said.extend(drain(&mut link));
    assert_eq!(
        said,
        [
            "AUTH joe secret",
            "REPLCONF listening-port 7000",
            "REPLCONF ip-address 10.1.1.1",
            "REPLCONF capa eof capa psync2",
            "REPLCONF version 9.1.0",
            "PSYNC ? -1",
        ]
    );
}

#[test]
fn a_continued_stream_is_acknowledged_each_second() {
    let position = Position {
        id: id(b'a'),
        offset: 99,
    };
    let mut link = at_psync(identity(), Some(position));
    let line = format!("+CONTINUE {}\r\nabc", id(b'b'));
    link.handle(10, Input::Bytes(line.as_bytes()));
    let trace = drain(&mut link);
    assert_eq!(trace[0], format!("Continued(Some({}))", id(b'b')));
    assert_eq!(trace[1..], ["REPLCONF ACK 99", "stream abc"]);
    link.progress(102, Some(100));
    assert_eq!(link.poll_timeout(), 1010);
    link.handle(1010, Input::Tick);
    assert_eq!(drain(&mut link), ["REPLCONF ACK 102 FACK 100"]);
    link.acknowledge(1020);
    assert_eq!(drain(&mut link), ["REPLCONF ACK 102 FACK 100"]);
}

#[test]
fn a_full_sync_hands_over_the_file_then_the_stream() {
    let mut link = at_psync(identity(), None);
    let mark = "e".repeat(40);
    let wire = format!(
        "+FULLRESYNC {} 7\r\n\n\n$EOF:{mark}\r\nrdb{mark}one",
        id(b'c')
    );
    for byte in wire.as_bytes() {
        link.handle(5, Input::Bytes(&[*byte]));
    }
    link.handle(6, Input::Bytes(b"two"));
    let trace = drain(&mut link);
    assert!(trace[0].starts_with("SnapshotBegins"));
    let file: String = trace
        .iter()
        .filter_map(|t| t.strip_prefix("snapshot "))
        .collect();
    assert_eq!(file, "rdb");
    assert_eq!(trace.last().map(String::as_str), Some("SnapshotEnds"));
    let position = Position {
        id: id(b'c'),
        offset: 7,
    };
    link.loaded(7, position);
    assert_eq!(drain(&mut link), ["REPLCONF ACK 7", "stream onetwo"]);
    assert_eq!(link.phase(), Phase::Streaming);
}

#[test]
fn a_broken_link_is_tried_again_later() {
    let position = Position {
        id: id(b'a'),
        offset: 5,
    };
    let mut link = at_psync(identity(), Some(position));
    link.handle(10, Input::Bytes(b"+CONTINUE\r\n"));
    link.progress(50, None);
    drain(&mut link);
    link.handle(100, Input::Disconnected);
    assert_eq!(drain(&mut link), ["Disconnect(Lost)"]);
    link.handle(1099, Input::Tick);
    assert_eq!(drain(&mut link), [""; 0]);
    link.handle(1100, Input::Tick);
    link.handle(1101, Input::Connected);
    link.handle(1102, Input::Bytes(b"+PONG\r\n"));
    let mut said = drain(&mut link);
    for _ in 0..4 {
        link.handle(1103, Input::Bytes(b"+OK\r\n"));
        said.extend(drain(&mut link));
    }
    assert_eq!(said.last().map(String::as_str), Some("Told(Names([]))"));
}

#[test]
fn silence_ends_a_link() {
    let mut link = at_psync(identity(), None);
    assert_eq!(link.poll_timeout(), 60_002);
    link.handle(60_002, Input::Tick);
    assert_eq!(drain(&mut link), ["Disconnect(TimedOut)"]);

    let mut link = at_psync(identity(), None);
    link.set_timeout(5000);
    assert_eq!(link.poll_timeout(), 5002);
    link.handle(3000, Input::Bytes(b"\n"));
    assert_eq!(link.poll_timeout(), 8000);
}

#[test]
fn nonsense_and_refusals_end_a_link() {
    for wire in [
        "+CONTINUE\r\n",
        "+FULLRESYNC short 1\r\n",
        "+FULLRESYNC\r\n",
        "-LOADING\r\n",
        "hello\r\n",
    ] {
        let mut link = at_psync(identity(), None);
        link.handle(9, Input::Bytes(wire.as_bytes()));
        let trace = drain(&mut link);
        assert!(trace[0].starts_with("Disconnect"), "{wire}: {trace:?}");
    }
    let mut link = at_psync(identity(), None);
    let full = format!("+FULLRESYNC {} 7\r\n$-1\r\n", id(b'c'));
    link.handle(9, Input::Bytes(full.as_bytes()));
    assert!(drain(&mut link)[1].starts_with("Disconnect(Nonsense"));
    let mut link = at_psync(identity(), None);
    link.handle(9, Input::Bytes(&[b'x'; LINE_BYTES + 1]));
    assert!(drain(&mut link)[0].starts_with("Disconnect(Nonsense"));
}
