//! Pipelines against their requests one by one.

use std::sync::Arc;

use super::*;
use crate::config::Config;
use crate::connection::client::Client;
use crate::resp::Protocol;

/// Requests in every form, some of which begin as others do.
fn requests() -> Vec<Vec<u8>> {
    let array = |words: &[&[u8]]| {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        request
    };
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
