//! Snapshot files out, dump files and append-only directories in: ours, Redis's and Valkey's.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use support::{Client, Peer, Reply, Server, encode, eventually};

const DEBUG: [&str; 2] = ["--enable-debug-command", "yes"];
const CACHE: [&str; 6] = [
    "--enable-debug-command",
    "yes",
    "--save",
    "",
    "--appendonly",
    "no",
];

fn run(client: &mut Client, line: &str) -> Reply {
    client.command(&line.split(' ').collect::<Vec<_>>())
}

/// Runs commands, none of which may fail.
fn run_all(client: &mut Client, lines: &[&str]) {
    for line in lines {
        let reply = run(client, line);
        assert_eq!(reply.error_code(), None, "{line}: {reply:?}");
    }
}

fn digest(client: &mut Client) -> String {
    run(client, "DEBUG DIGEST").text().expect("a digest")
}

fn persistence_field(client: &mut Client, field: &str) -> String {
    let text = run(client, "INFO persistence").text().expect("a text");
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let value = line.and_then(|rest| rest.strip_prefix(':'));
    value.expect(field).trim().to_string()
}

/// Its thread lets all others go first, on a busy machine for long.
fn await_save(client: &mut Client) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while persistence_field(client, "rdb_bgsave_in_progress") != "0" {
        assert!(
            Instant::now() < deadline,
            "the snapshot takes over a minute"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Every type in its small and its large encoding, in three databases, some of it with expiries.
/// Scores are such that Redis and Valkey write them with the same digits.
fn fill(client: &mut Client) {
    for db in [0, 1, 9] {
        run_all(client, &[&format!("SELECT {db}")]);
        for (name, count) in [("few", 3), ("many", 700)] {
            let numbers: Vec<String> = (0..count)
                .map(|n| (n as i64 * 7 - 100).to_string())
                .collect();
            let texts: Vec<String> = (0..count).map(|n| format!("element {n}")).collect();
            let scored: Vec<String> = (0..count)
                .map(|n| format!("{} m{n}", n as f64 / 4.0))
                .collect();
            let long = "abcdefgh".repeat(count);
            run_all(
                client,
                &[
                    &format!("SADD ints:{name} {}", numbers.join(" ")),
                    &format!("ZADD zset:{name} {} -inf low inf high", scored.join(" ")),
                    &format!("SET string:{name} {long}"),
                    &format!("SET int:{name} -{count}"),
                ],
            );
            for (command, key) in [("RPUSH", "list"), ("SADD", "set")] {
                let mut words = vec![command.to_string(), format!("{key}:{name}")];
                words.extend(texts.iter().cloned());
                assert_eq!(client.command(&words).error_code(), None);
            }
            let mut words = vec!["HSET".to_string(), format!("hash:{name}")];
            words.extend(texts.iter().flat_map(|text| [text.clone(), long.clone()]));
            assert_eq!(client.command(&words).error_code(), None);
        }
        for n in 0..300 {
            let fields = if n % 4 == 0 { "f 1 g 2" } else { "other 3" };
            run_all(
                client,
                &[&format!("XADD stream 1700000000000-{} {fields}", n + 1)],
            );
        }
        run_all(
            client,
            &[
                "XDEL stream 1700000000000-5",
                "XGROUP CREATE stream group 0",
                "XREADGROUP GROUP group alice COUNT 9 STREAMS stream >",
                "XACK stream group 1700000000000-2",
                "XGROUP CREATE stream other $",
                "XGROUP CREATECONSUMER stream other idle",
            ],
        );
        let element = "e".repeat(20_000);
        run_all(
            client,
            &[
                &format!("RPUSH list:plain {element} small {element}"),
                "PEXPIREAT string:few 4000000000123",
                "PEXPIREAT hash:many 4000000000456",
                "SET bytes \u{0}\u{1}",
            ],
        );
        let binary: [&[u8]; 3] = [b"SET", &[0xff, 0, b'\n'], &[0, 0xc3, 0xff]];
        assert_eq!(client.command(&binary), Reply::ok());
        let long_key = "k".repeat(1000);
        run_all(client, &[&format!("SET {long_key} {}", "v".repeat(70_000))]);
    }
}

/// A server that has `files` in its directory when it starts, and no data of its own.
fn start_with(directives: &[&str], files: &[(&str, &[u8])]) -> Server {
    let mut server = Server::start(directives);
    server.kill();
    put(server.dir(), files);
    server.restart();
    server
}

fn put(dir: &Path, files: &[(&str, &[u8])]) {
    for (name, bytes) in files {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().expect("it lies in a directory")).expect("it can be made");
        fs::write(path, bytes).expect("the file can be written");
    }
}

fn dump_of(server: &Server) -> Vec<u8> {
    fs::read(server.dir().join("dump.rdb")).expect("there is a dump file")
}

/// Our file passes `redis-check-rdb`, and both peers load it with an equal digest.
fn check_with_peers(directives: &[&str]) {
    let server = Server::start(directives);
    let mut client = server.client();
    fill(&mut client);
    let library = "#!lua name=lib\nredis.register_function('answer', function() return 42 end)";
    let loaded = client.command(&["FUNCTION", "LOAD", library]);
    assert_eq!(loaded, Reply::bulk("lib"));
    let ours = digest(&mut client);
    run_all(&mut client, &["SAVE"]);
    let checked = Command::new("redis-check-rdb")
        .arg(server.dir().join("dump.rdb"))
        .output()
        .expect("redis-check-rdb runs");
    let report = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(
        checked.status.success() && report.contains("looks OK"),
        "{report}"
    );
    for peer in [Peer::Redis, Peer::Valkey] {
        let mut peer = Server::start_peer(peer, &["--enable-debug-command", "yes", "--save", ""]);
        peer.kill();
        put(peer.dir(), &[("dump.rdb", &dump_of(&server))]);
        peer.restart();
        assert_eq!(digest(&mut peer.client()), ours);
        let answer = run(&mut peer.client(), "FCALL answer 0");
        assert_eq!(answer, Reply::Integer(42));
        // And back again.
        run_all(&mut peer.client(), &["SAVE"]);
        let server = start_with(directives, &[("dump.rdb", &dump_of(&peer))]);
        assert_eq!(digest(&mut server.client()), ours);
        assert_eq!(run(&mut server.client(), "FCALL answer 0"), answer);
    }
}

#[test]
fn a_snapshot_of_the_tree_loads_into_redis_and_valkey_with_equal_content() {
    check_with_peers(&DEBUG);
}

#[test]
fn a_snapshot_of_a_pure_cache_loads_into_redis_and_valkey_with_equal_content() {
    check_with_peers(&[&CACHE[..], &["--rdbcompression", "no"]].concat());
}

#[test]
fn dump_files_and_append_only_directories_of_redis_and_valkey_are_imported() {
    for peer in [Peer::Redis, Peer::Valkey] {
        let directives = [
            "--enable-debug-command",
            "yes",
            "--save",
            "",
            "--appendonly",
            "yes",
        ];
        let peer = Server::start_peer(peer, &directives);
        let mut client = peer.client();
        fill(&mut client);
        run_all(&mut client, &["SAVE"]);
        let mut theirs = digest(&mut client);
        let server = start_with(&DEBUG, &[("dump.rdb", &dump_of(&peer))]);
        assert_eq!(digest(&mut server.client()), theirs);
        let server = start_with(&CACHE, &[("dump.rdb", &dump_of(&peer))]);
        assert_eq!(digest(&mut server.client()), theirs);
        // The append-only files know what came after; of those in the directory, `appendonly`
        // chooses.
        run_all(
            &mut client,
            &["SELECT 3", "RPUSH late 1 2 3", "SELECT 1", "DEL set:many"],
        );
        theirs = digest(&mut client);
        let dir = peer.dir().join("appendonlydir");
        let mut files = vec![("dump.rdb".to_string(), dump_of(&peer))];
        for entry in fs::read_dir(dir).expect("it can be listed").flatten() {
            let name = entry.file_name().into_string().expect("a plain name");
            let bytes = fs::read(entry.path()).expect("it can be read");
            files.push((format!("appendonlydir/{name}"), bytes));
        }
        let files: Vec<(&str, &[u8])> = files.iter().map(|(n, b)| (&n[..], &b[..])).collect();
        let mut server = start_with(
            &[
                &DEBUG[..],
                &["--appendonly", "yes", "--appendfsync", "always"],
            ]
            .concat(),
            &files,
        );
        assert_eq!(digest(&mut server.client()), theirs);
        // What was imported is in the tree, and is not imported again.
        run_all(&mut server.client(), &["SELECT 3", "LPOP late"]);
        let after = digest(&mut server.client());
        server.kill();
        server.restart();
        assert_eq!(digest(&mut server.client()), after);
    }
}

/// Writers keep pairs of keys equal, and lines of keys in step, while snapshots are taken: each
/// snapshot shows all of them as of one moment.
fn check_exactness(directives: &[&str]) {
    let server = Server::start(directives);
    let stop = AtomicBool::new(false);
    let snapshots = std::thread::scope(|scope| {
        for writer in 0..3 {
            let mut client = server.client();
            let stop = &stop;
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    write_round(&mut client, writer);
                }
            });
        }
        let mut client = server.client();
        eventually(
            "there is something to save",
            || matches!(run(&mut client, "DBSIZE"), Reply::Integer(keys) if keys > 400),
        );
        let mut snapshots = Vec::new();
        for _ in 0..3 {
            run_all(&mut client, &["BGSAVE"]);
            await_save(&mut client);
            assert_eq!(
                persistence_field(&mut client, "rdb_last_bgsave_status"),
                "ok"
            );
            snapshots.push(dump_of(&server));
        }
        stop.store(true, Ordering::Relaxed);
        snapshots
    });
    for snapshot in snapshots {
        let server = start_with(&CACHE, &[("dump.rdb", &snapshot)]);
        let mut client = server.client();
        for writer in 0..3 {
            let one = run(&mut client, &format!("GET one:{writer}"));
            let length = run(&mut client, &format!("LLEN other:{writer}"));
            let count = one
                .text()
                .and_then(|text| text.parse().ok())
                .expect("a number");
            assert_eq!(length, Reply::Integer(count), "of one transaction");
            let line: Vec<i64> = (0..150)
                .map(
                    |n| match run(&mut client, &format!("GET line:{writer}:{n}")) {
                        Reply::Null => 0,
                        reply => reply.text().expect("a text").parse().expect("a number"),
                    },
                )
                .collect();
            assert!(line.is_sorted_by(|a, b| a >= b), "{line:?}");
            assert!(line[0] - line[149] <= 1, "{line:?}");
        }
    }
}

/// One transaction, and one step of each key of a line, one after the other.
fn write_round(client: &mut Client, writer: usize) {
    let mut bytes = Vec::new();
    let (one, other) = (format!("one:{writer}"), format!("other:{writer}"));
    for words in [
        &["MULTI"][..],
        &["INCR", &one],
        &["RPUSH", &other, "x"],
        &["EXEC"],
    ] {
        bytes.extend(encode(words));
    }
    for n in 0..150 {
        bytes.extend(encode(&["INCR".to_string(), format!("line:{writer}:{n}")]));
    }
    let replies = client.pipeline(&bytes, 154);
    assert!(replies.iter().all(|reply| reply.error_code().is_none()));
}

#[test]
fn a_snapshot_under_writes_shows_one_moment() {
    check_exactness(&DEBUG);
}

#[test]
fn a_snapshot_of_a_pure_cache_under_writes_shows_one_moment() {
    check_exactness(&CACHE);
}

#[test]
fn a_snapshot_is_refused_while_one_is_written_and_can_be_cancelled() {
    for directives in [&DEBUG[..], &CACHE[..]] {
        let server = Server::start(directives);
        let mut client = server.client();
        fill(&mut client);
        run_all(
            &mut client,
            &["CONFIG SET rdb-key-save-delay 10000000", "BGSAVE"],
        );
        let busy = Reply::Error("ERR Background save already in progress".into());
        for command in ["BGSAVE", "BGSAVE SCHEDULE", "SAVE"] {
            assert_eq!(run(&mut client, command), busy);
        }
        assert_eq!(
            persistence_field(&mut client, "rdb_bgsave_in_progress"),
            "1"
        );
        assert_ne!(
            persistence_field(&mut client, "rdb_changes_since_last_save"),
            "0"
        );
        assert_eq!(
            run(&mut client, "BGSAVE CANCEL"),
            Reply::Simple("Background saving cancelled".into())
        );
        await_save(&mut client);
        assert_eq!(
            persistence_field(&mut client, "rdb_last_bgsave_status"),
            "err"
        );
        let none = "ERR Background saving is currently not in progress or scheduled";
        assert_eq!(run(&mut client, "BGSAVE CANCEL"), Reply::Error(none.into()));
        // FLUSHALL makes the one under way pointless; a shutdown does not wait for it either.
        run_all(&mut client, &["BGSAVE", "FLUSHALL"]);
        await_save(&mut client);
        assert!(!server.dir().join("dump.rdb").exists());
        fill(&mut client);
        run_all(&mut client, &["CONFIG SET rdb-key-save-delay 0", "BGSAVE"]);
        await_save(&mut client);
        assert_eq!(
            persistence_field(&mut client, "rdb_last_bgsave_status"),
            "ok"
        );
        assert_eq!(
            persistence_field(&mut client, "rdb_changes_since_last_save"),
            "0"
        );
        assert_eq!(persistence_field(&mut client, "rdb_saves"), "1");
        let leftovers = fs::read_dir(server.dir()).expect("it can be listed");
        let names = leftovers.map(|entry| entry.expect("an entry").file_name());
        assert!(
            names
                .into_iter()
                .all(|name| !name.to_string_lossy().starts_with("temp-"))
        );
    }
}

#[test]
fn a_save_point_that_somebody_set_writes_a_file_and_the_default_ones_write_none() {
    let by_default = Server::start(&[]);
    let set = Server::start(&["--save", "1 2"]);
    for server in [&by_default, &set] {
        run_all(&mut server.client(), &["SET a 1", "SET b 2"]);
    }
    let mut client = set.client();
    eventually("a save point is reached", || {
        persistence_field(&mut client, "rdb_saves") == "1"
    });
    assert!(set.dir().join("dump.rdb").exists());
    assert!(!by_default.dir().join("dump.rdb").exists());
}

#[test]
fn a_pure_cache_comes_back_with_its_last_snapshot() {
    let mut server = Server::start(&CACHE);
    let mut client = server.client();
    run_all(
        &mut client,
        &[
            "DEBUG SET-ACTIVE-EXPIRE 0",
            "SET kept 1",
            "SET short 2 PX 1",
            "SET long 3 PX 100000000",
        ],
    );
    std::thread::sleep(std::time::Duration::from_millis(5));
    run_all(&mut client, &["SAVE", "SET lost 4"]);
    server.kill();
    server.restart();
    let mut client = server.client();
    assert_eq!(run(&mut client, "DBSIZE"), Reply::Integer(2));
    assert_eq!(run(&mut client, "GET kept"), Reply::bulk("1"));
    assert_eq!(
        persistence_field(&mut client, "rdb_last_load_keys_loaded"),
        "2"
    );
    assert_eq!(
        persistence_field(&mut client, "rdb_last_load_keys_expired"),
        "1"
    );
    // SHUTDOWN SAVE keeps everything.
    run_all(&mut client, &["SET kept 5"]);
    client.send(&encode(&["SHUTDOWN", "SAVE"]));
    let _ = client.read_to_close();
    server.await_end();
    server.restart();
    assert_eq!(run(&mut server.client(), "GET kept"), Reply::bulk("5"));
}

#[test]
fn a_damaged_dump_is_refused_and_leaves_nothing_behind() {
    let source = Server::start(&DEBUG);
    fill(&mut source.client());
    let whole = digest(&mut source.client());
    run_all(&mut source.client(), &["SAVE"]);
    let good = dump_of(&source);
    let mut server = Server::start(&DEBUG);
    server.kill();
    for at in [0, 7, 300, good.len() / 2, good.len() - 3] {
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        put(server.dir(), &[("dump.rdb", &bad)]);
        let refusal = server.restart_refused();
        assert!(
            refusal.contains("Fatal error loading the DB: dump.rdb"),
            "{refusal}"
        );
    }
    put(server.dir(), &[("dump.rdb", &good[..good.len() - 20])]);
    let refusal = server.restart_refused();
    assert!(refusal.contains("input ends early"), "{refusal}");
    put(server.dir(), &[("dump.rdb", &good)]);
    server.restart();
    assert_eq!(digest(&mut server.client()), whole);
}

#[test]
fn an_append_only_directory_with_a_torn_end_is_imported_as_far_as_it_is_whole() {
    let manifest = b"file a.1.incr.aof seq 1 type i\nfile a.2.incr.aof seq 2 type i\n";
    let first = [encode(&["SELECT", "2"]), encode(&["RPUSH", "l", "1", "2"])].concat();
    let mut second = b"#TS:1700000000\r\n".to_vec();
    for words in [
        &["SELECT", "2"][..],
        &["MULTI"],
        &["RPUSH", "l", "3"],
        &["SET", "k", "v"],
        &["EXEC"],
        &["MULTI"],
        &["RPUSH", "l", "4"],
    ] {
        second.extend(encode(words));
    }
    second.extend(b"*3\r\n$5\r\nRPUSH\r\n$1\r\nl\r\n$1");
    let name = "appendonlydir/appendonly.aof.manifest";
    let files: [(&str, &[u8]); 3] = [
        (name, manifest),
        ("appendonlydir/a.1.incr.aof", &first),
        ("appendonlydir/a.2.incr.aof", &second),
    ];
    let mut server = start_with(&DEBUG, &files);
    let list = |server: &Server| {
        let mut client = server.client();
        run_all(&mut client, &["SELECT 2"]);
        run(&mut client, "LRANGE l 0 -1")
    };
    let expected = Reply::Array(["1", "2", "3"].map(Reply::bulk).to_vec());
    assert_eq!(list(&server), expected);
    server.kill();
    fs::remove_dir_all(server.dir().join("appendonlydir")).expect("it can be removed");
    server.restart();
    assert_eq!(list(&server), expected);

    // Not the last file, or not allowed: refused.
    for (files, directives) in [
        (
            [
                files[0],
                ("appendonlydir/a.1.incr.aof", &second[..]),
                ("appendonlydir/a.2.incr.aof", &first[..]),
            ],
            ["--aof-load-truncated", "yes"],
        ),
        (files, ["--aof-load-truncated", "no"]),
    ] {
        let mut server = Server::start(&[]);
        server.kill();
        put(server.dir(), &files);
        let refusal = server.restart_refused_with(&directives);
        assert!(refusal.contains("Unexpected end of file"), "{refusal}");
    }
    let mut server = Server::start(&[]);
    server.kill();
    put(server.dir(), &files[..2]);
    let refusal = server.restart_refused();
    assert!(refusal.contains("a.2.incr.aof: No such file"), "{refusal}");
    put(
        server.dir(),
        &[
            files[0],
            ("appendonlydir/a.2.incr.aof", b"*1\r\n$5\r\nBOGUS\r\n"),
        ],
    );
    let refusal = server.restart_refused();
    assert!(refusal.contains("Unknown command 'BOGUS'"), "{refusal}");
}

#[test]
fn a_command_with_a_wrong_number_of_arguments_is_refused_by_its_place() {
    let manifest = b"file a.1.incr.aof seq 1 type i\n";
    let name = "appendonlydir/appendonly.aof.manifest";
    let mut server = Server::start(&[]);
    server.kill();
    for misfit in [&["SET", "a"][..], &["SELECT"], &["EVAL"]] {
        let whole = encode(&["SET", "b", "1"]);
        let bytes = [&whole[..], &encode(misfit)].concat();
        put(
            server.dir(),
            &[
                (name, &manifest[..]),
                ("appendonlydir/a.1.incr.aof", &bytes),
            ],
        );
        let refusal = server.restart_refused();
        let expected = format!(
            "a.1.incr.aof, at byte {} of its commands: wrong number of arguments for '{}'",
            whole.len(),
            misfit[0]
        );
        assert!(refusal.contains(&expected), "{refusal}");
    }
}

#[test]
fn the_command_line_imports_into_an_empty_directory_only() {
    let source = Server::start(&DEBUG);
    fill(&mut source.client());
    run_all(&mut source.client(), &["SAVE"]);
    let mut server = Server::start(&DEBUG);
    server.kill();
    let import = |file: &Path| {
        let output = Command::new(env!("CARGO_BIN_EXE_redoubt-server"))
            .arg("--import")
            .arg(file)
            .arg("--dir")
            .arg(server.dir())
            .stdin(Stdio::null())
            .output()
            .expect("the program runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success(), text)
    };
    let file = source.dir().join("dump.rdb");
    let (done, text) = import(&file);
    assert!(done && text.contains("Imported into"), "{text}");
    let (done, text) = import(&file);
    assert!(!done && text.contains("holds data already"), "{text}");
    server.restart();
    assert_eq!(digest(&mut server.client()), digest(&mut source.client()));
}

#[test]
fn a_reload_from_a_mutated_file_changes_nothing_or_is_whole() {
    let mut server = Server::start(&[&DEBUG[..], &["--appendfsync", "always"]].concat());
    let mut client = server.client();
    run_all(
        &mut client,
        &[
            "SET s v",
            "SET n 12",
            "RPUSH l a b c",
            "SADD set x y z",
            "SADD ints 1 2 3",
            "HSET h f v g w",
            "ZADD z 1 a 2.5 b",
            "SELECT 4",
            "SET t v PXAT 4000000000000",
        ],
    );
    run_all(&mut client, &["SAVE", "CONFIG SET rdbcompression no"]);
    let good = dump_of(&server);
    let before = digest(&mut client);
    let (mut state, mut refused) = (0x9e37_79b9_7f4a_7c15u64, 0);
    for round in 0..400 {
        let mut bad = good.clone();
        for _ in 0..1 + round % 3 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let at = (state >> 33) as usize % (bad.len() - 8);
            bad[at] = (state >> 24) as u8;
        }
        if round % 2 == 0 {
            // No checksum: then the values themselves are all that is checked.
            let at = bad.len() - 8;
            bad[at..].fill(0);
        }
        put(server.dir(), &[("dump.rdb", &bad)]);
        match run(&mut client, "DEBUG RELOAD NOSAVE") {
            Reply::Error(_) => {
                refused += 1;
                assert_eq!(digest(&mut client), before, "round {round}");
            }
            _ => {
                put(server.dir(), &[("dump.rdb", &good)]);
                run_all(&mut client, &["DEBUG RELOAD NOSAVE"]);
                assert_eq!(digest(&mut client), before, "round {round}");
            }
        }
    }
    assert!(refused > 200, "{refused} were refused");
    run_all(&mut client, &["DEBUG RELOAD"]);
    server.kill();
    server.restart();
    assert_eq!(digest(&mut server.client()), before);
}

#[test]
fn a_cache_that_is_given_save_points_saves_before_it_ends() {
    let mut server = Server::start(&CACHE);
    run_all(&mut server.client(), &["SET gone 1"]);
    assert!(server.terminate().success());
    server.restart();
    let mut client = server.client();
    assert_eq!(run(&mut client, "DBSIZE"), Reply::Integer(0));
    let set = client.command(&["CONFIG", "SET", "save", "3600 1"]);
    assert_eq!(set.error_code(), None);
    run_all(&mut client, &["SET a 1"]);
    assert!(server.terminate().success());
    server.restart();
    client = server.client();
    assert_eq!(run(&mut client, "GET a"), Reply::bulk("1"));
    // Without a snapshot it does not end unless told to.
    let set = client.command(&["CONFIG", "SET", "save", "3600 1"]);
    assert_eq!(set.error_code(), None);
    let dump = server.dir().join("dump.rdb");
    fs::remove_file(&dump).expect("it is there");
    fs::create_dir(&dump).expect("a directory in its place");
    run_all(&mut client, &["SET a 2"]);
    assert_eq!(run(&mut client, "SHUTDOWN NOW").error_code(), Some("ERR"));
    // It goes on as before.
    run_all(&mut client, &["SET a 3"]);
    client.send(&encode(&["SHUTDOWN", "NOSAVE"]));
    assert!(server.await_end().success());
}

#[test]
fn clients_are_told_of_a_long_start_and_stay_connected() {
    let mut server = Server::start(&CACHE);
    let mut client = server.client();
    run_all(&mut client, &["DEBUG POPULATE 1000000 key 20", "SAVE"]);
    server.kill();
    server.set_directives(&DEBUG);
    let port = server.port();
    std::thread::scope(|scope| {
        scope.spawn(|| server.restart());
        let mut connected = None;
        eventually("it listens", || {
            connected = Client::connect(port).ok();
            connected.is_some()
        });
        let mut client = connected.expect("it is");
        let first = run(&mut client, "GET key:1");
        assert_eq!(first.error_code(), Some("LOADING"), "{first:?}");
        let info = run(&mut client, "INFO persistence").text();
        assert!(info.is_some_and(|text| text.contains("\nloading:1\r\n")));
        // Some are in the middle of a request when the start is over.
        let clients = (0..4).map(|_| Client::connect(port).expect("a connection"));
        for mut client in clients.chain([client]) {
            scope.spawn(move || {
                while run(&mut client, "GET key:1").error_code() == Some("LOADING") {}
                assert_eq!(run(&mut client, "DBSIZE"), Reply::Integer(1_000_000));
            });
        }
    });
}

/// What a full sync sends to one who wants that much of it.
fn payload(server: &Server, filter: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).expect("a connection");
    let patience = Some(Duration::from_secs(30));
    stream.set_read_timeout(patience).expect("a timeout");
    for words in [
        &["REPLCONF", "rdb-only", "1"][..],
        &["REPLCONF", "rdb-filter-only", filter],
        &["SYNC"],
    ] {
        stream.write_all(&encode(words)).expect("it is sent");
    }
    let mut stream = BufReader::new(stream);
    let length = loop {
        let mut line = String::new();
        stream.read_line(&mut line).expect("a line");
        if let Some(length) = line.trim().strip_prefix('$') {
            break length.parse().expect("a length");
        }
        assert!(["+OK", ""].contains(&line.trim()), "{line}");
    };
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).expect("that much");
    payload
}

#[test]
fn a_full_sync_may_be_asked_for_in_part() {
    let server = Server::start(&["--rdbcompression", "no"]);
    let mut client = server.client();
    run_all(&mut client, &["SET a-key-of-mine 1"]);
    let code = "#!lua name=mine\nredis.register_function('a_function', function() return 1 end)";
    let loaded = client.command(&["FUNCTION", "LOAD", code]);
    assert_eq!(loaded, Reply::bulk("mine"));
    let parts = |filter: &str| {
        let payload = payload(&server, filter);
        let has = |text: &str| {
            payload
                .windows(text.len())
                .any(|part| part == text.as_bytes())
        };
        (has("a-key-of-mine"), has("a_function"))
    };
    assert_eq!(parts("functions"), (false, true));
    assert_eq!(parts(""), (false, false));
    let nonsense = run(&mut client, "REPLCONF rdb-filter-only nonsense");
    let expected = "ERR Unsupported rdb-filter-only option: nonsense";
    assert_eq!(nonsense, Reply::Error(expected.into()));
}

/// Increments a counter until the server is gone; gives the last number that it told.
fn count_to_the_end(mut client: Client, began: &AtomicBool) -> i64 {
    let mut told = 0;
    while client.try_send(&encode(&["INCR", "counter"])).is_ok() {
        let Ok(Reply::Integer(number)) = client.try_read() else {
            break;
        };
        told = number;
        began.store(true, Ordering::Relaxed);
    }
    told
}

#[test]
fn what_a_cache_acknowledges_while_it_saves_for_the_last_time_is_in_its_snapshot() {
    let mut server = Server::start(&CACHE);
    for by_signal in [false, true] {
        let mut client = server.client();
        for key in 0..100 {
            run_all(&mut client, &[&format!("SET key:{key} 1")]);
        }
        // The file takes half a second at least.
        run_all(&mut client, &["CONFIG SET rdb-key-save-delay 5000"]);
        let set = client.command(&["CONFIG", "SET", "save", "3600 1"]);
        assert_eq!(set.error_code(), None);
        let (began, writer) = (AtomicBool::new(false), server.client());
        let told = std::thread::scope(|scope| {
            let writer = scope.spawn(|| count_to_the_end(writer, &began));
            eventually("it writes", || began.load(Ordering::Relaxed));
            match by_signal {
                true => server.signal(libc::SIGTERM),
                false => client.send(&encode(&["SHUTDOWN", "SAVE"])),
            }
            assert!(server.await_end().success());
            writer.join().expect("the writer ends")
        });
        server.restart();
        let kept = run(&mut server.client(), "GET counter");
        let kept = kept.text().and_then(|text| text.parse::<i64>().ok());
        assert!(kept >= Some(told), "{kept:?} of {told} are kept");
    }
}

/// Increments a counter of its own until `ends`; gives how often that was acknowledged.
fn count_until(mut client: Client, key: &str, (began, ends): (&AtomicBool, &AtomicBool)) -> i64 {
    let mut acknowledged = 0;
    while !ends.load(Ordering::Relaxed) {
        let reply = client.command(&["INCR", key]);
        assert_eq!(reply.error_code(), None, "{reply:?}");
        acknowledged += 1;
        began.store(true, Ordering::Relaxed);
    }
    acknowledged
}

#[test]
fn a_reload_loses_no_write_that_was_acknowledged_meanwhile() {
    for directives in [&DEBUG[..], &CACHE[..]] {
        let server = Server::start(directives);
        let mut client = server.client();
        for key in 0..50 {
            run_all(&mut client, &[&format!("SET key:{key} 1")]);
        }
        // The file takes a quarter of a second at least.
        run_all(&mut client, &["CONFIG SET rdb-key-save-delay 5000"]);
        let (began, ends) = (AtomicBool::new(false), AtomicBool::new(false));
        let writers = [server.client(), server.client()];
        let acknowledged = std::thread::scope(|scope| {
            let flags = (&began, &ends);
            let spawn = |(writer, key)| scope.spawn(move || count_until(writer, key, flags));
            let writers: Vec<_> = writers.into_iter().zip(["a", "b"]).map(spawn).collect();
            eventually("they write", || began.load(Ordering::Relaxed));
            let reloaded = run(&mut client, "DEBUG RELOAD");
            ends.store(true, Ordering::Relaxed);
            assert_eq!(reloaded, Reply::ok());
            let ended = writers.into_iter().map(|writer| writer.join());
            ended
                .map(|count| count.expect("a writer ends"))
                .collect::<Vec<_>>()
        });
        for (key, count) in ["a", "b"].iter().zip(acknowledged) {
            let kept = client.command(&["GET", key]);
            assert_eq!(kept, Reply::bulk(count.to_string()), "{key}");
        }
        // Writes are held back no longer, nor after a reload that failed.
        run_all(&mut client, &["CONFIG SET rdb-key-save-delay 0", "INCR a"]);
        let dump = server.dir().join("dump.rdb");
        fs::remove_file(&dump).expect("it is there");
        fs::create_dir(&dump).expect("a directory in its place");
        assert_ne!(run(&mut client, "DEBUG RELOAD").error_code(), None);
        run_all(&mut client, &["INCR a"]);
    }
}

#[test]
fn a_reload_is_told_to_those_who_watch_track_or_wait() {
    let server = Server::start(&DEBUG);
    let mut client = server.client();
    run_all(&mut client, &["RPUSH list 1", "SET kept 1", "SAVE"]);
    run_all(&mut client, &["DEL list"]);
    let mut watcher = server.client();
    run_all(&mut watcher, &["WATCH kept", "MULTI", "SET kept 2"]);
    let mut tracker = server.client();
    run(&mut tracker, "HELLO 3");
    run_all(&mut tracker, &["CLIENT TRACKING ON", "GET kept"]);
    let mut waiter = server.client();
    waiter.send(&encode(&["BLPOP", "list", "0"]));
    eventually("it waits", || {
        let clients = run(&mut client, "INFO clients").text();
        clients.is_some_and(|text| text.contains("blocked_clients:1"))
    });
    run_all(&mut client, &["DEBUG RELOAD NOSAVE"]);
    assert_eq!(run(&mut watcher, "EXEC"), Reply::Null);
    let forget = vec![Reply::bulk("invalidate"), Reply::Null];
    assert_eq!(run(&mut tracker, "PING"), Reply::Push(forget));
    let popped = vec![Reply::bulk("list"), Reply::bulk("1")];
    assert_eq!(waiter.read(), Reply::Array(popped));
}
