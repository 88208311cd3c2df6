//! Pipelines against their requests one by one.

use std::sync::Arc;

use super::*;
use crate::config::Config;
use crate::connection::client::Client;
use crate::resp::Protocol;
use crate::stats::Total;

/// A request as an array of bulk strings.
fn array(words: &[&[u8]]) -> Vec<u8> {
    let mut request = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        request.extend_from_slice(word);
        request.extend_from_slice(b"\r\n");
    }
    request
}

/// Requests in every form, some of which begin as others do.
fn requests() -> Vec<Vec<u8>> {
    vec![
        array(&[b"PING"]),
        array(&[b"PING", b"here"]),
        array(&[b"ECHO", b"a"]),
        array(&[b"echo", b"*2\r\n$4\r\nECHO\r\n$1\r\n"]),
        array(&[b"ECHO", b"b"]),
        array(&[b"ECHO", b"\r"]),
        array(&[b"ECHO", &[b'x'; 99]]),
        array(&[b"ECHO", &[b'y'; 99]]),
        array(&[b"ECHO", &[b'x'; 100]]),
        array(&[b"ECHO", &[b'x'; 300]]),
        array(&[b"ECHO", b""]),
        array(&[b"ECHO", b"too", b"many"]),
        array(&[b"ECHOES", b"a"]),
        array(&[b"SET", b"key", b"value"]),
        array(&[b"SET", b"yek", b"eulav"]),
        array(&[b"SET", b"key", b"\r\n$1\r"]),
        array(&[b"SET", b"key", &[b'v'; 99]]),
        array(&[b"SET", b"yek", &[b'w'; 99]]),
        array(&[b"SET", b"yek", &[b'x'; 100]]),
        array(&[b"SET", b"key", b"value", b"XX"]),
        array(&[b"APPEND", b"key", b"value"]),
        array(&[b"SET", b"another{key}", &[b'y'; 120]]),
        array(&[b"SET", b"yek", b"another value"]),
        array(&[b"GET", b"key"]),
        array(&[b"GET", b"yek"]),
        array(&[b"GET", b"another{key}"]),
        array(&[b"GET", b"none"]),
        array(&[b"GETDEL", b"key"]),
        array(&[b"OBJECT", b"ENCODING", b"key"]),
        array(&[b"OBJECT", b"REFCOUNT", b"key"]),
        array(&[b"EVAL", b"return KEYS[1]", b"1", b"key"]),
        b"*1\r\n$0\r\n\r\n".to_vec(),
        b"*0\r\n".to_vec(),
        b"\r\n".to_vec(),
        b"ECHO b\r\n".to_vec(),
        b"ECHO \"b c\"\r\n".to_vec(),
    ]
}

struct Driver {
    server: &'static Server,
    session: Session,
    pipeline: Pipeline,
    reply: ReplyBuffer,
}

impl Driver {
    fn new() -> Driver {
        let server = Box::leak(Box::new(Server::new(Config::new(), None, None, 1)));
        let client = Arc::new(Client::new("test:0".into(), "test:1".into(), 0, 0));
        Driver {
            server,
            session: Session::new(client, true),
            pipeline: Pipeline::default(),
            reply: ReplyBuffer::new(Protocol::Resp2),
        }
    }

    /// Runs what is whole of the input from `start` on; false if that ended the
    /// connection.
    fn run(&mut self, input: &[u8], start: &mut usize) -> bool {
        loop {
            let (server, session) = (self.server, &mut self.session);
            match self
                .pipeline
                .run(server, session, input, start, &mut self.reply)
            {
                Stop::NeedsInput(_) => return true,
                Stop::HasMore => {}
                Stop::Close => return false,
                _ => panic!("nothing here waits"),
            }
        }
    }
}

#[test]
fn a_pipeline_in_any_pieces_does_what_its_requests_do_one_by_one() {
    let requests = requests();
    for seed in 0..400 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut alone, mut together) = (Driver::new(), Driver::new());
        let mut input = Vec::new();
        for _ in 0..rng.usize(1..150) {
            // Pipelines repeat themselves.
            let request = &requests[rng.usize(..requests.len())];
            for _ in 0..[1, 1, 1, 2, 5, 70][rng.usize(..6)] {
                alone.pipeline = Pipeline::default();
                let mut start = 0;
                assert!(alone.run(request, &mut start), "{request:?}");
                assert_eq!(start, request.len(), "{request:?}");
                input.extend_from_slice(request);
            }
        }
        let (mut start, mut end) = (0, 0);
        while end < input.len() {
            let most = [1, 7, 40, 5000][rng.usize(..4)];
            end = (end + rng.usize(1..=most)).min(input.len());
            let ahead = rng.bool();
            if ahead {
                let (server, session) = (together.server, &together.session);
                together
                    .pipeline
                    .look_ahead(server, session, &input[..end], start);
            }
            assert!(together.run(&input[..end], &mut start), "seed {seed}");
        }
        assert_eq!(start, input.len(), "seed {seed}");
        let [alone, together] =
            [&alone, &together].map(|driver| String::from_utf8_lossy(&driver.reply.buf));
        assert_eq!(alone, together, "seed {seed}");
    }
}

/// GETs of all that there can be, with what stands for an end of their runs.
fn gets() -> Vec<Vec<u8>> {
    let names: [&[u8]; 9] = [
        b"short", b"{a}int", b"none", b"nil", b"empty", b"long", b"list", b"edge", b"beyond",
    ];
    let mut gets: Vec<_> = names.iter().map(|name| array(&[b"GET", name])).collect();
    gets.extend([
        array(&[b"get", b"short"]),
        array(&[b"GET", b"short", b"more"]),
        array(&[b"GET"]),
        array(&[b"GET", &[b'k'; 1100]]),
        b"GET short\r\n".to_vec(),
        b"GET \"short\"\r\n".to_vec(),
        array(&[b"INCR", b"{a}int"]),
        array(&[b"SELECT", b"1"]),
        array(&[b"SELECT", b"0"]),
        array(&[b"MULTI"]),
        array(&[b"EXEC"]),
    ]);
    gets
}

#[test]
fn gets_that_follow_one_another_answer_and_count_as_each_does_alone() {
    let (gets, plain) = (gets(), 9);
    for seed in 0..400 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut alone, mut together) = (Driver::new(), Driver::new());
        let mut requests = vec![
            array(&[b"SET", b"short", b"value"]),
            array(&[b"SET", b"{a}int", b"12"]),
            array(&[b"SET", b"empty", b""]),
            array(&[b"SET", b"long", &[b'l'; 5000]]),
            array(&[b"SET", b"edge", &[b'e'; 1024]]),
            array(&[b"SET", b"beyond", &[b'b'; 1025]]),
            array(&[b"RPUSH", b"list", b"element"]),
        ];
        let protocol = [Protocol::Resp2, Protocol::Resp3][rng.usize(..2)];
        for driver in [&mut alone, &mut together] {
            driver.reply = ReplyBuffer::new(protocol);
        }
        for _ in 0..rng.usize(1..300) {
            let of = if rng.u8(..20) == 0 { gets.len() } else { plain };
            requests.push(gets[rng.usize(..of)].clone());
        }
        for request in &requests {
            assert!(alone.run(request, &mut 0));
        }
        let input = requests.concat();
        let mut start = 0;
        assert!(together.run(&input, &mut start));
        assert_eq!(start, input.len(), "seed {seed}");
        let seen = [&alone, &together].map(|driver| {
            let sets = &driver.server.stats.sets;
            let found = crate::commands::table::table()
                .find(&[b"get"])
                .expect("GET");
            let counts = [sets.total(Total::Hits), sets.total(Total::Misses)];
            (
                String::from_utf8_lossy(&driver.reply.buf),
                counts,
                sets.calls(found.number()),
            )
        });
        assert_eq!(seen[0], seen[1], "seed {seed}");
    }
}

#[test]
fn a_get_among_others_finds_its_key_expired() {
    let mut driver = Driver::new();
    let mut run = |requests: &[Vec<u8>]| {
        driver.reply.buf.clear();
        assert!(driver.run(&requests.concat(), &mut 0));
        String::from_utf8_lossy(&driver.reply.buf).into_owned()
    };
    run(&[
        array(&[b"SET", b"gone", b"v", b"PX", b"1"]),
        array(&[b"SET", b"there", b"v"]),
    ]);
    let set_at = std::time::Instant::now();
    while set_at.elapsed().as_millis() < 3 {
        std::hint::spin_loop();
    }
    let get = |name: &[u8]| array(&[b"GET", name]);
    let read = run(&[get(b"there"), get(b"gone"), get(b"gone"), get(b"there")]);
    assert_eq!(read, "$1\r\nv\r\n$-1\r\n$-1\r\n$1\r\nv\r\n");
    assert_eq!(run(&[array(&[b"DBSIZE"])]), ":1\r\n");
}
