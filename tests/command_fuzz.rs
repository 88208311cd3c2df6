//! All commands with arguments drawn from the syntax that they declare, plus garbage: the server
//! must stay alive, go on answering, and keep its memory within bounds. Some are sent on their
//! own, some in transactions and some through scripts, where a command that waits for a lock of
//! the transaction around it would wait for ever.
//!
//! `cargo test` runs a short part of it. `scripts/fuzz --seconds N commands` runs it for long:
//! a third of the time each with `maxmemory`, without, and as a node of a cluster. `FUZZ_SEED`
//! repeats a run.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use redoubt_server::commands::command::{Arg, ArgKind, Command};
use redoubt_server::commands::table::table;
use support::{Reply, Server, encode, eventually};

/// Commands that end the server, stop it from answering on purpose, or reach out to others.
const LEFT_OUT: [&str; 19] = [
    "shutdown",
    "debug",
    "failover",
    "replicaof",
    "slaveof",
    "migrate",
    "pfselftest",
    "acl|setuser",
    "acl|deluser",
    "acl|load",
    "config|set",
    "config|rewrite",
    "client|pause",
    "module|load",
    "module|loadex",
    "cluster|meet",
    "cluster|setslot",
    "sync",
    "psync",
];

/// Connections of the short run; each carries [`COMMANDS_A_ROUND`] commands.
const SHORT_ROUNDS: u64 = 150;
const COMMANDS_A_ROUND: usize = 40;
/// Everything is flushed after so many rounds.
const ROUNDS_A_FLUSH: u64 = 100;
/// A connection that has nothing more to say for so long waits for something, and is dropped.
const SILENCE: Duration = Duration::from_millis(150);
/// Resident memory above which something is wrong.
const MEMORY_BOUND_KB: u64 = 1_500_000;

const WORKERS: &str = "2";
/// How often the test of every command draws arguments for each.
const DRAWS_A_COMMAND: usize = 4;
/// One refused command undoes the whole transaction: few at a time.
const LINES_A_TRANSACTION: usize = 3;

/// A command and its arguments.
type Line = Vec<Vec<u8>>;

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 11) as usize % limit.max(1)
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}

const CLUSTER: &[&str] = &[
    "--cluster-enabled",
    "yes",
    // How long a cluster waits before it serves again after slots were missing.
    "--cluster-node-timeout",
    "500",
];

#[test]
fn any_arguments_of_any_command_leave_the_server_well() {
    let seed = number("FUZZ_SEED").unwrap_or(1);
    for directives in [&["--maxmemory", "64mb"][..], CLUSTER] {
        run(directives, seed, |round, _| round < SHORT_ROUNDS);
    }
}

#[test]
fn every_command_ends_within_a_transaction_and_a_script() {
    let mut server = start(CLUSTER);
    let mut random = Random(number("FUZZ_SEED").unwrap_or(1));
    for command in commands_to_send() {
        let draws: Vec<_> = (0..DRAWS_A_COMMAND)
            .map(|_| draw(&mut random, &[command]))
            .collect();
        own_all_slots(&server);
        for lines in [in_a_transaction(draws.clone()), through_scripts(draws)] {
            send(&server, &lines);
            check_that_all_workers_answer(&server, &lines);
        }
    }
    server.terminate();
}

#[test]
#[ignore = "runs for FUZZ_SECONDS: scripts/fuzz"]
fn commands() {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH);
    let drawn = clock.map_or(1, |now| now.as_nanos() as u64);
    let seed = number("FUZZ_SEED").unwrap_or(drawn);
    let third = Duration::from_secs(number("FUZZ_SECONDS").unwrap_or(60)) / 3;
    for directives in [
        &["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"][..],
        &[][..],
        CLUSTER,
    ] {
        run(directives, seed, |_, since| since < third);
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .expect("FUZZ_SEED and FUZZ_SECONDS are numbers"),
    )
}

/// Sends rounds of commands while `goes_on` says so of their number and the time.
fn run(directives: &[&str], seed: u64, goes_on: impl Fn(u64, Duration) -> bool) {
    println!("FUZZ_SEED={seed}, {directives:?}");
    let mut server = start(directives);
    let commands = commands_to_send();
    let mut random = Random(seed);
    let began = Instant::now();
    let (mut round, mut peak_kb) = (0, 0);
    while goes_on(round, began.elapsed()) {
        if directives == CLUSTER {
            own_all_slots(&server);
        }
        let draws = (0..COMMANDS_A_ROUND)
            .map(|_| draw(&mut random, &commands))
            .collect();
        let lines = match random.below(4) {
            0 => in_a_transaction(draws),
            1 => through_scripts(draws),
            _ => draws,
        };
        send(&server, &lines);
        round += 1;
        check_that_all_workers_answer(&server, &lines);
        peak_kb = peak_kb.max(resident_kb(&server));
        assert!(peak_kb < MEMORY_BOUND_KB, "{peak_kb} kB after {lines:?}");
        if round % ROUNDS_A_FLUSH == 0 {
            server.client().command(&["FLUSHALL"]);
        }
    }
    println!(
        "{} commands, no failure, at most {peak_kb} kB resident",
        round * COMMANDS_A_ROUND as u64
    );
    server.terminate();
    server.restart();
    assert_eq!(
        server.client().command(&["PING"]),
        Reply::Simple("PONG".into())
    );
}

fn start(directives: &[&str]) -> Server {
    Server::start(&[directives, &["--io-threads", WORKERS]].concat())
}

fn commands_to_send() -> Vec<&'static Command> {
    let all = table().all().iter().copied();
    all.filter(|command| {
        let container = command.name.split('|').next().unwrap_or_default();
        !LEFT_OUT.contains(&command.name) && !LEFT_OUT.contains(&container)
    })
    .collect()
}

/// Makes a node of a cluster serve all slots, whatever was done to it before.
fn own_all_slots(server: &Server) {
    let mut client = server.client();
    eventually("the cluster is up", || {
        let info = client.command(&["CLUSTER", "INFO"]).text();
        let info = info.unwrap_or_default();
        if !info.contains("cluster_slots_assigned:16384") {
            // Slots can be given away only without keys.
            client.command(&["FLUSHALL"]);
            client.command(&["CLUSTER", "FLUSHSLOTS"]);
            client.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
        }
        info.contains("cluster_state:ok")
    });
}

fn in_a_transaction(lines: Vec<Line>) -> Vec<Line> {
    let alone = |word: &str| [vec![word.into()]];
    let (multi, exec): ([Line; 1], [Line; 1]) = (alone("MULTI"), alone("EXEC"));
    lines
        .chunks(LINES_A_TRANSACTION)
        .flat_map(|chunk| [&multi[..], chunk, &exec[..]].concat())
        .collect()
}

fn through_scripts(lines: Vec<Line>) -> Vec<Line> {
    let call = ["EVAL", "return redis.pcall(unpack(ARGV))", "0"].map(Into::into);
    lines
        .into_iter()
        .map(|line| [&call[..], &line[..]].concat())
        .collect()
}

/// By fresh connections, as the last one may have been killed; one for each worker, they take
/// turns.
fn check_that_all_workers_answer(server: &Server, lines: &[Line]) {
    for _ in 0..WORKERS.parse().expect("a number") {
        let alive = server.client().command(&["PING"]);
        assert_eq!(alive, Reply::Simple("PONG".into()), "after {lines:?}");
    }
}

/// Sends commands over a connection of their own, and reads what comes.
fn send(server: &Server, lines: &[Line]) {
    let mut bytes: Vec<u8> = lines.iter().flat_map(|args| encode(args)).collect();
    bytes.extend(encode(&["PING", "end of round"]));
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).expect("it accepts");
    stream
        .set_read_timeout(Some(SILENCE))
        .expect("a timeout can be set");
    let timeout = Some(Duration::from_secs(30));
    stream
        .set_write_timeout(timeout)
        .expect("a timeout can be set");
    if stream.write_all(&bytes).is_err() {
        // It closed the connection: QUIT, or a protocol that is not RESP.
        return;
    }
    let mut replies = Vec::new();
    let mut buffer = [0; 1 << 16];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        replies.extend_from_slice(&buffer[..count]);
        let tail = &replies[replies.len().saturating_sub(20)..];
        if tail.windows(12).any(|window| window == b"end of round") {
            return;
        }
    }
}

fn resident_kb(server: &Server) -> u64 {
    let path = format!("/proc/{}/status", server.pid());
    let status = std::fs::read_to_string(path).expect("the process is there");
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number
        .and_then(|kb| kb.parse().ok())
        .expect("a number of kB")
}

/// A command with arguments of its syntax, more or less.
fn draw(random: &mut Random, commands: &[&Command]) -> Line {
    let command = random.pick(commands);
    let mut args: Line = command.name.split('|').map(Into::into).collect();
    for arg in command.args {
        expand(random, arg, &mut args);
    }
    // Declarations without a syntax, and arguments beyond it.
    while random.below(12) == 0 || args.len() < command.arity.unsigned_abs() as usize {
        args.push(garbage(random));
    }
    if random.below(5) == 0 {
        damage(random, &mut args);
    }
    args
}

fn expand(random: &mut Random, arg: &Arg, args: &mut Line) {
    if arg.optional && random.below(2) == 0 {
        return;
    }
    let times = if arg.multiple { 1 + random.below(3) } else { 1 };
    for at in 0..times {
        if let Some(token) = arg.token
            && (at == 0 || arg.multiple_token)
        {
            args.push(token.into());
        }
        match arg.kind {
            ArgKind::PureToken => {}
            ArgKind::Block => arg.args.iter().for_each(|part| expand(random, part, args)),
            ArgKind::OneOf => {
                let choice = random.below(arg.args.len());
                if let Some(choice) = arg.args.get(choice) {
                    expand(random, choice, args);
                }
            }
            kind => args.push(value(random, kind, arg.name)),
        }
    }
}

fn value(random: &mut Random, kind: ArgKind, name: &str) -> Vec<u8> {
    if random.below(15) == 0 {
        return garbage(random);
    }
    let text: &str = match (kind, name) {
        // Half of them in one slot: a cluster takes several at once only there.
        (ArgKind::Key(_), _) if random.below(2) == 0 => {
            return format!("{{k}}:{}", random.below(6)).into();
        }
        (ArgKind::Key(_), _) => return format!("key:{}", random.below(12)).into(),
        (ArgKind::Integer, name) if name.starts_with("num") => random.pick(&["1", "2", "3"]),
        (ArgKind::Integer, "timeout") => random.pick(&["1", "0"]),
        (ArgKind::Integer, _) => random.pick(&["0", "1", "-1", "2", "5", "100", "-3", "4000"]),
        (ArgKind::Double, "timeout") => random.pick(&["0.001", "0.01", "0"]),
        (ArgKind::Double, _) => random.pick(&["0", "1.5", "-2", "inf", "-inf", "1e300", "40.1"]),
        (ArgKind::UnixTime, _) => random.pick(&["1", "4102444800", "4102444800000"]),
        (ArgKind::Pattern, _) => random.pick(&["*", "key:*", "[a-", "k?y*", ""]),
        (_, "script") => random.pick(&[
            "return redis.call('SET',KEYS[1],ARGV[1])",
            "return {1,2,{3,'x'}}",
            "return redis.pcall(unpack(ARGV))",
            "local t={} t[1]=t return t",
            "return string.rep('x', 100000)",
        ]),
        (_, "id" | "start" | "end" | "last-id" | "lastid") => {
            random.pick(&["0", "*", "$", ">", "-", "+", "5-1", "7-*", "(3", "[a"])
        }
        (_, "group" | "consumer" | "username" | "channel") => random.pick(&["g", "c", "default"]),
        (_, "member" | "field" | "element" | "value" | "data") => {
            random.pick(&["a", "b", "c", "1", "2", "3.5", "hello"])
        }
        _ => return garbage(random),
    };
    text.into()
}

/// Anything; but no number that makes a string of more than some hundred kilobytes.
fn garbage(random: &mut Random) -> Vec<u8> {
    match random.below(6) {
        0 => (0..random.below(40))
            .map(|_| random.below(256) as u8)
            .collect(),
        1 => vec![b'x'; random.below(3000)],
        2 => format!("key:{}", random.below(12)).into(),
        3 => random.pick(&["a", "b", "c", "f1", "g"]).into(),
        _ => random
            .pick(&[
                "",
                "0",
                "-1",
                "-0",
                "1e400",
                "nan",
                "-inf",
                "+1",
                "100000",
                "9223372036854775807",
                "-9223372036854775808",
                "9223372036854775808",
                "18446744073709551616",
                "(1",
                "[a",
                "LIMIT",
                "COUNT",
                "*",
                "0-0",
                "18446744073709551615-18446744073709551615",
                "\r\n",
            ])
            .into(),
    }
}

fn damage(random: &mut Random, args: &mut Line) {
    let at = random.below(args.len());
    match random.below(6) {
        0 => args.truncate(at.max(1)),
        1 => args.insert(at, args[at].clone()),
        2 if at > 0 => args[at] = garbage(random),
        3 if at > 0 => {
            let other = 1 + random.below(args.len() - 1);
            args.swap(at, other);
        }
        4 if at > 0 && !args[at].is_empty() => {
            let byte = random.below(args[at].len());
            args[at][byte] ^= 1 << random.below(8);
        }
        _ => args.push(garbage(random)),
    }
}
