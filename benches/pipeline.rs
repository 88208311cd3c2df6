//! What does a command of a pipeline cost between its bytes and its reply,
//! without sockets and log? Prints nanoseconds a command: the least and the
//! median of many rounds (other work on the machine only ever adds to them).
//!
//! `cargo bench --bench pipeline [-- WORD …]`: only the cases with such a word.
//! `keys=N`, `rounds=N`, `commands=N` (of a round) and `depth=N` (commands of a
//! pipeline) make it small enough for a tool that counts instructions.

use std::sync::Arc;
use std::time::Instant;

use redoubt_server::config::Config;
use redoubt_server::connection::client::Client;
use redoubt_server::connection::pipeline::{Pipeline, Stop};
use redoubt_server::connection::session::Session;
use redoubt_server::resp::Protocol;
use redoubt_server::resp::reply::ReplyBuffer;
use redoubt_server::state::Server;

#[global_allocator]
static ALLOCATOR: redoubt_server::memory::Counted = redoubt_server::memory::Counted::new();

/// What is measured.
struct Plan {
    keys: u64,
    commands: usize,
    rounds: usize,
    depths: Vec<usize>,
    cases: Vec<String>,
}

impl Plan {
    fn of_arguments() -> Plan {
        let mut plan = Plan {
            keys: 1_000_000,
            commands: 1 << 18,
            rounds: 15,
            depths: vec![64, 16, 1],
            cases: Vec::new(),
        };
        for argument in std::env::args().skip(1).filter(|a| !a.starts_with('-')) {
            let Some((name, number)) = argument.split_once('=') else {
                plan.cases.push(argument);
                continue;
            };
            let number: usize = number.parse().expect("a number behind =");
            match name {
                "keys" => plan.keys = number as u64,
                "commands" => plan.commands = number,
                "rounds" => plan.rounds = number,
                "depth" => plan.depths = vec![number],
                _ => panic!("keys=, commands=, rounds= or depth=, not {argument}"),
            }
        }
        plan
    }
}

/// A client in this process.
struct Driver {
    server: &'static Server,
    session: Session,
    pipeline: Pipeline,
    reply: ReplyBuffer,
}

impl Driver {
    fn new() -> Driver {
        let server = Box::leak(Box::new(Server::new(Config::new(), None, None, 1)));
        let client = Arc::new(Client::new("bench:0".into(), "bench:1".into(), 0, 0));
        Driver {
            server,
            session: Session::new(client, true),
            pipeline: Pipeline::default(),
            reply: ReplyBuffer::new(Protocol::Resp2),
        }
    }

    fn run(&mut self, input: &[u8]) {
        let mut start = 0;
        let stop = self.pipeline.run(
            self.server,
            &mut self.session,
            input,
            &mut start,
            &mut self.reply,
        );
        assert!(matches!(stop, Stop::NeedsInput(_)) && start == input.len());
        assert!(!self.reply.buf.starts_with(b"-"), "a command failed");
        self.reply.truncate(0);
    }
}

fn request(out: &mut Vec<u8>, words: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

fn key(n: u64) -> Vec<u8> {
    format!("key:{n:012}").into_bytes()
}

fn measure(
    driver: &mut Driver,
    plan: &Plan,
    name: &str,
    depth: usize,
    words: impl Fn(&[u8]) -> Vec<Vec<u8>>,
) {
    let mut rng = fastrand::Rng::with_seed(depth as u64);
    let batches: Vec<Vec<u8>> = (0..plan.commands / depth)
        .map(|_| {
            let mut input = Vec::new();
            for _ in 0..depth {
                let words = words(&key(rng.u64(0..plan.keys)));
                let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
                request(&mut input, &words);
            }
            input
        })
        .collect();
    let mut nanos: Vec<f64> = (0..plan.rounds)
        .map(|_| {
            let begin = Instant::now();
            batches.iter().for_each(|input| driver.run(input));
            begin.elapsed().as_nanos() as f64 / (batches.len() * depth) as f64
        })
        .collect();
    nanos.sort_by(f64::total_cmp);
    let median = nanos[plan.rounds / 2];
    println!(
        "{name:<12} P={depth:<3} least {:6.1} ns  median {median:6.1} ns",
        nanos[0]
    );
}

fn main() {
    let plan = Plan::of_arguments();
    let mut driver = Driver::new();
    for n in 0..plan.keys {
        let mut input = Vec::new();
        request(&mut input, &[b"SET", &key(n), &[b'v'; 64]]);
        driver.run(&input);
    }
    let wanted = |name: &str| plan.cases.is_empty() || plan.cases.iter().any(|word| word == name);
    let owned = |words: &[&[u8]]| words.iter().map(|word| word.to_vec()).collect::<Vec<_>>();
    for &depth in &plan.depths {
        if wanted("get") {
            measure(&mut driver, &plan, "get", depth, |key| {
                owned(&[b"GET", key])
            });
        }
        if wanted("set") {
            measure(&mut driver, &plan, "set", depth, |key| {
                owned(&[b"SET", key, &[b'w'; 64]])
            });
        }
        if wanted("ping") {
            measure(&mut driver, &plan, "ping", depth, |_| owned(&[b"PING"]));
        }
    }
}
