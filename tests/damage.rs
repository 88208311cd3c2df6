//! What a start makes of files that are damaged, missing, foreign or
//! read-only, and what a server makes of a clock that jumps.
//! (Two servers on one directory, flipped bytes and torn tails in the log: see
//! `persistence.rs`.)

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{Client, Mount, Reply, Server, encode, eventually};

const ALWAYS: &[&str] = &[
    "--appendfsync",
    "always",
    "--log-segment-size",
    "64kb",
    "--repl-backlog-size",
    "16kb",
];

fn run(client: &mut Client, line: &str) -> Reply {
    client.command(&line.split(' ').collect::<Vec<_>>())
}

fn info_number(client: &mut Client, field: &str) -> u64 {
    let text = run(client, "INFO persistence").text().expect("a text");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.expect(field).trim().parse().expect("a number")
}

fn await_checkpoint(client: &mut Client) {
    eventually("the tree has the whole log", || {
        info_number(client, "tree_lag_bytes") == 0
    });
}

/// The file of the log's first segment.
fn first_segment(server: &Server) -> Option<PathBuf> {
    let entries = fs::read_dir(server.dir().join("log")).expect("it can be read");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let segments = paths.filter(|path| path.extension().is_some_and(|kind| kind == "log"));
    segments.min()
}

/// Sets `count` keys to values of about 1 KB that name their key.
fn fill(client: &mut Client, count: usize) {
    let padding = "p".repeat(1000);
    let mut bytes = Vec::new();
    for n in 0..count {
        let (key, value) = (format!("key:{n}"), format!("value-of-{n};{padding}"));
        bytes.extend(encode(&["SET", &key, &value]));
    }
    let replies = client.pipeline(&bytes, count);
    assert!(replies.iter().all(|reply| *reply == Reply::ok()));
}

/// A server that was killed with everything in its tree.
fn killed_with_full_tree(keys: usize) -> Server {
    let mut server = Server::start(ALWAYS);
    let mut client = server.client();
    fill(&mut client, keys);
    await_checkpoint(&mut client);
    server.kill();
    server
}

fn segments(server: &Server) -> Vec<PathBuf> {
    let entries = fs::read_dir(server.dir().join("log")).expect("a log directory");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "log"))
        .collect();
    paths.sort();
    paths
}

fn position(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|part| part == needle)
}

#[test]
fn a_truncated_tree_is_refused_by_name_and_taken_again_once_it_is_put_back() {
    let mut server = Server::start(ALWAYS);
    let mut client = server.client();
    let first = first_segment(&server).expect("the log has a segment");
    fill(&mut client, 2000);
    await_checkpoint(&mut client);
    // The file goes some time after INFO tells of it.
    eventually("the log's beginning is trimmed", || !first.exists());
    server.kill();
    let file = server.dir().join("tree/data.mdb");
    let whole = fs::read(&file).expect("it can be read");
    for part in [0, 40, 95] {
        fs::write(&file, &whole[..whole.len() / 100 * part]).expect("it can be written");
        let refusal = server.restart_refused();
        assert!(!refusal.contains("panicked"), "{refusal}");
        match part {
            // An empty file is an empty tree; what the log has of it is not all.
            0 => assert!(
                refusal.contains("a part of the log is missing"),
                "{refusal}"
            ),
            _ => assert!(refusal.contains("data.mdb is damaged"), "{refusal}"),
        }
    }
    fs::write(&file, &whole).expect("it can be written");
    server.restart();
    assert_eq!(run(&mut server.client(), "DBSIZE"), Reply::Integer(2000));
}

/// Flips a bit of each of these texts in the tree of a server that is down.
fn flip_in_tree(server: &Server, needles: &[&str]) {
    let file = server.dir().join("tree/data.mdb");
    let mut bytes = fs::read(&file).expect("it can be read");
    for needle in needles {
        let mut flipped = 0;
        while let Some(at) = position(&bytes, needle.as_bytes()) {
            // The page may have been copied: every copy.
            bytes[at] ^= 1;
            flipped += 1;
        }
        assert!(flipped > 0, "{needle}");
    }
    fs::write(&file, &bytes).expect("it can be written");
}

/// All names that SCAN tells, in order.
fn scan(client: &mut Client) -> Vec<String> {
    let (mut names, mut cursor) = (Vec::new(), "0".to_string());
    loop {
        let reply = run(client, &format!("SCAN {cursor} COUNT 50"));
        let Reply::Array(parts) = &reply else {
            panic!("{reply:?}");
        };
        let [next, Reply::Array(keys)] = &parts[..] else {
            panic!("{reply:?}");
        };
        names.extend(keys.iter().filter_map(Reply::text));
        cursor = next.text().expect("a cursor");
        if cursor == "0" {
            names.sort();
            return names;
        }
    }
}

#[test]
fn a_flipped_bit_in_the_tree_costs_one_key_and_is_told() {
    let mut server = killed_with_full_tree(300);
    flip_in_tree(&server, &["value-of-77;"]);
    server.restart();
    let mut client = server.client();
    let reply = format!("{:?}", run(&mut client, "GET key:77"));
    assert!(
        reply.contains("checksum of the row does not match"),
        "{reply}"
    );
    for n in (0..300).filter(|n| *n != 77) {
        let found = run(&mut client, &format!("STRLEN key:{n}"));
        assert!(
            matches!(found, Reply::Integer(length) if length > 1000),
            "key:{n}"
        );
    }
}

/// A key that is there, and of which nothing is told but its name.
fn assert_unreadable(client: &mut Client, key: &str) {
    assert_eq!(
        run(client, &format!("KEYS {key}")),
        Reply::Array(vec![Reply::bulk(key)])
    );
    for line in ["TYPE", "TTL", "DUMP", "EXPIRE 100", "RENAME other"] {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        let line = format!("{name} {key} {rest}");
        let reply = format!("{:?}", run(client, line.trim()));
        assert!(
            reply.contains("storage failure: corrupt row"),
            "{line}: {reply}"
        );
    }
}

#[test]
fn a_key_that_cannot_be_read_is_told_of_and_can_be_removed_or_written_anew() {
    let mut server = Server::start(ALWAYS);
    let mut client = server.client();
    fill(&mut client, 300);
    let mut add = vec!["HSET".to_string(), "hash".into()];
    add.extend((0..3000).flat_map(|n| [format!("f{n}"), format!("in-the-hash-{n};")]));
    let add: Vec<&str> = add.iter().map(String::as_str).collect();
    assert_eq!(client.command(&add), Reply::Integer(3000));
    let Reply::Bulk(dump) = run(&mut client, "DUMP key:1") else {
        panic!("no dump");
    };
    await_checkpoint(&mut client);
    server.kill();
    let values = ["77", "78", "79", "80", "81", "82"].map(|n| format!("value-of-{n};"));
    let mut needles: Vec<&str> = values.iter().map(String::as_str).collect();
    needles.push("in-the-hash-1500;");
    flip_in_tree(&server, &needles);
    server.restart();
    let mut client = server.client();

    assert_eq!(run(&mut client, "DBSIZE"), Reply::Integer(301));
    let names = scan(&mut client);
    assert_eq!(names.len(), 301, "{names:?}");
    for key in ["key:77", "key:82", "hash"] {
        assert!(names.iter().any(|name| name == key), "{key}");
        assert_unreadable(&mut client, key);
    }
    assert_eq!(run(&mut client, "RANDOMKEY").error_code(), None);

    // Nothing is left out of a snapshot in silence.
    assert!(run(&mut client, "SAVE").error_code().is_some());

    let mut restore = vec![&b"RESTORE"[..], b"key:80", b"0", &dump];
    restore.push(b"REPLACE");
    for (line, answer) in [
        ("DEL key:77 key:0", Reply::Integer(2)),
        ("UNLINK key:78", Reply::Integer(1)),
        ("SET key:79 new", Reply::ok()),
        ("RENAME key:1 key:81", Reply::ok()),
        ("COPY key:2 key:82 REPLACE", Reply::Integer(1)),
        ("DEL hash", Reply::Integer(1)),
    ] {
        assert_eq!(run(&mut client, line), answer, "{line}");
    }
    assert_eq!(client.command(&restore), Reply::ok());
    // Whether the tree knows of it or only the log.
    for _ in 0..2 {
        let mut client = server.client();
        assert_eq!(run(&mut client, "DBSIZE"), Reply::Integer(296));
        assert_eq!(scan(&mut client).len(), 296);
        assert_eq!(run(&mut client, "GET key:77"), Reply::Null);
        assert_eq!(run(&mut client, "GET key:79"), Reply::bulk("new"));
        for (key, value) in [("80", 1), ("81", 1), ("82", 2)] {
            let found = run(&mut client, &format!("GET key:{key}")).text();
            let begin = format!("value-of-{value};");
            assert!(found.expect("a value").starts_with(&begin), "key:{key}");
        }
        server.kill();
        server.restart();
    }
    assert_eq!(run(&mut server.client(), "SAVE"), Reply::ok());
    let at = format!("127.0.0.1 {}", server.port());
    let replica = Server::start(&["--replicaof", &at]);
    eventually("a full sync is whole", || {
        run(&mut replica.client(), "DBSIZE") == Reply::Integer(296)
    });
}

#[test]
fn a_long_key_that_cannot_be_read_is_found_by_who_knows_it() {
    let mut server = Server::start(ALWAYS);
    let mut client = server.client();
    fill(&mut client, 100);
    let key = "k".repeat(600);
    assert_eq!(
        client.command(&["SET", &key, "of-the-long-one;"]),
        Reply::ok()
    );
    await_checkpoint(&mut client);
    server.kill();
    flip_in_tree(&server, &["of-the-long-one;"]);
    server.restart();
    let mut client = server.client();
    assert_eq!(run(&mut client, "DBSIZE"), Reply::Integer(101));
    // The rest is shown; its name is not known unless it is asked for.
    assert!(scan(&mut client).len() >= 100);
    assert!(run(&mut client, "SAVE").error_code().is_some());
    assert!(client.command(&["GET", &key]).error_code().is_some());
    assert_eq!(client.command(&["DEL", &key]), Reply::Integer(1));
    assert_eq!(run(&mut client, "DBSIZE"), Reply::Integer(100));
    assert_eq!(run(&mut client, "SAVE"), Reply::ok());
    assert_eq!(scan(&mut client).len(), 100);
}

#[test]
fn a_missing_segment_is_named() {
    let mut server = Server::start(ALWAYS);
    let mut client = server.client();
    run(&mut client, "CONFIG SET repl-backlog-size 100mb");
    fill(&mut client, 500);
    server.kill();
    let paths = segments(&server);
    assert!(paths.len() > 5, "{paths:?}");
    for missing in [&paths[2], &paths[paths.len() - 2]] {
        let aside = missing.with_extension("aside");
        fs::rename(missing, &aside).expect("it can be moved");
        let refusal = server.restart_refused();
        let name = missing.file_name().expect("a name").to_string_lossy();
        assert!(
            refusal.contains("is missing, though later ones exist"),
            "{refusal}"
        );
        assert!(refusal.contains(&*name), "{refusal}");
        fs::rename(&aside, missing).expect("it can be moved back");
    }
    server.restart();
    assert_eq!(run(&mut server.client(), "DBSIZE"), Reply::Integer(500));
}

#[test]
fn segments_in_each_others_place_are_refused_by_name() {
    let mut server = Server::start(&[ALWAYS, &["--enable-debug-command", "yes"]].concat());
    let mut client = server.client();
    run(&mut client, "DEBUG STORAGE PAUSE-TREE");
    fill(&mut client, 500);
    server.kill();
    let paths = segments(&server);
    assert!(paths.len() > 5, "{paths:?}");
    for pair in paths.windows(2) {
        let exchange = || {
            let aside = pair[0].with_extension("aside");
            let moves = [(&pair[0], &aside), (&pair[1], &pair[0]), (&aside, &pair[1])];
            for (from, to) in moves {
                fs::rename(from, to).expect("it can be moved");
            }
        };
        exchange();
        let refusal = server.restart_refused();
        assert!(
            refusal.contains("files are in each other's place"),
            "{refusal}"
        );
        // Of the last two, one was prepared and has no name of its own.
        for path in pair {
            let name = path.file_name().expect("a name").to_string_lossy();
            assert!(refusal.contains(&*name), "{refusal}");
        }
        exchange();
    }
    server.restart();
    assert_eq!(run(&mut server.client(), "DBSIZE"), Reply::Integer(500));
}

fn remove(server: &Server, name: &str) {
    fs::remove_dir_all(server.dir().join(name)).expect("it can be removed");
}

#[test]
fn a_tree_that_is_gone_is_not_taken_for_an_empty_one() {
    let mut server = Server::start(&["--appendfsync", "always"]);
    fill(&mut server.client(), 100);
    assert_eq!(run(&mut server.client(), "SAVE"), Reply::ok());
    server.terminate();
    // What is imported is in no log.
    for name in ["tree", "log"] {
        remove(&server, name);
    }
    fs::remove_file(server.dir().join("replication.state")).expect("it can be removed");
    server.restart();
    let mut client = server.client();
    assert_eq!(run(&mut client, "DBSIZE"), Reply::Integer(100));
    assert_eq!(run(&mut client, "SET one more"), Reply::ok());
    server.kill();
    let file = server.dir().join("tree/data.mdb");
    let whole = fs::read(&file).expect("it can be read");
    for emptied in [true, false] {
        match emptied {
            true => fs::write(&file, "").expect("it can be written"),
            false => remove(&server, "tree"),
        }
        for _ in 0..2 {
            let refusal = server.restart_refused();
            assert!(refusal.contains("the tree is gone"), "{refusal}");
        }
        fs::write(&file, &whole).expect("it can be written");
        server.restart();
        assert_eq!(run(&mut server.client(), "DBSIZE"), Reply::Integer(101));
        server.kill();
    }
    // Nothing that is left is lost then.
    for name in ["tree", "log"] {
        remove(&server, name);
    }
    fs::remove_file(server.dir().join("dump.rdb")).expect("it can be removed");
    server.restart();
    assert_eq!(run(&mut server.client(), "DBSIZE"), Reply::Integer(0));
}

/// The lines of a server's replication.state as an older build wrote them.
fn older_state(server: &Server) -> (PathBuf, String) {
    let file = server.dir().join("replication.state");
    let text = fs::read_to_string(&file).expect("it can be read");
    let lines = text.split_inclusive('\n');
    let older = lines.filter(|line| !line.starts_with("check ")).collect();
    (file, older)
}

#[test]
fn an_older_builds_directory_starts_without_a_checkpoint() {
    let mut server = Server::start(&[ALWAYS, &["--enable-debug-command", "yes"]].concat());
    let mut client = server.client();
    run(&mut client, "DEBUG STORAGE PAUSE-TREE");
    fill(&mut client, 10);
    server.kill();
    let (file, older) = older_state(&server);
    fs::write(file, older).expect("it can be written");
    // Nothing was ever committed to it.
    remove(&server, "tree");
    for _ in 0..2 {
        server.restart();
        assert_eq!(run(&mut server.client(), "DBSIZE"), Reply::Integer(10));
        server.kill();
    }
}

#[test]
fn what_was_void_in_a_log_that_is_gone_is_not_in_the_next() {
    let directives = [ALWAYS, &["--enable-debug-command", "yes"]].concat();
    for gone in [["log"].as_slice(), &["log", "tree"]] {
        let mut server = Server::start(&directives);
        fill(&mut server.client(), 1);
        server.terminate();
        let (file, older) = older_state(&server);
        // As after a way back to a fork.
        let older = older.replace("begin 0\n", "begin 4000\n") + "void 2000 4000\n";
        assert!(older.contains("begin 4000"), "{older}");
        fs::write(file, older).expect("it can be written");
        gone.iter().for_each(|name| remove(&server, name));
        server.restart();
        let mut client = server.client();
        run(&mut client, "DEBUG STORAGE PAUSE-TREE");
        fill(&mut client, 50);
        server.kill();
        server.restart();
        assert_eq!(run(&mut server.client(), "DBSIZE"), Reply::Integer(50));
    }
}

#[test]
fn a_damaged_replication_state_is_refused_by_name() {
    let mut server = killed_with_full_tree(10);
    let foreign = server.dir().join("foreign");
    fs::create_dir(&foreign).expect("it can be made");
    let file = server.dir().join("replication.state");
    let whole = fs::read_to_string(&file).expect("it can be read");
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let cut = lines[..lines.len() - 1].concat();
    let without =
        |name: &str| whole.replace(lines.iter().find(|l| l.starts_with(name)).expect(name), "");
    let damaged = [
        cut,
        without("begin"),
        whole.replace(" 0\n", " -5\n"),
        whole.replace(" 0\n", " 9223372036854775807\n"),
        format!("{whole}void 100 5\n"),
        whole.replace("tree tree\n", "tree foreign\n"),
        String::new(),
    ];
    for text in damaged {
        fs::write(&file, &text).expect("it can be written");
        let refusal = server.restart_refused();
        assert!(
            refusal.contains("replication.state is damaged"),
            "{text}: {refusal}"
        );
    }
    assert!(foreign.is_dir());
    fs::write(&file, &whole).expect("it can be written");
    server.restart();
    assert_eq!(run(&mut server.client(), "DBSIZE"), Reply::Integer(10));
}

#[test]
fn foreign_files_are_left_alone() {
    let mut server = killed_with_full_tree(10);
    let dir = server.dir().to_path_buf();
    let foreign = [
        "log/notes.txt",
        "log/1.log",
        "tree/notes.txt",
        "notes.txt",
        "log/x.spare",
    ];
    for name in foreign {
        fs::write(dir.join(name), name).expect("it can be written");
    }
    fs::create_dir(dir.join("log/00000000000000ff.log")).expect("it can be made");
    server.restart();
    fill(&mut server.client(), 200);
    assert!(server.terminate().success());
    server.restart();
    for name in foreign {
        assert_eq!(
            fs::read(dir.join(name)).expect("it is there"),
            name.as_bytes()
        );
    }
}

#[test]
fn a_read_only_directory_is_refused_by_name() {
    let mut server = Server::start(ALWAYS);
    assert!(server.terminate().success());
    let data = server.dir().join("data");
    let Some(mount) = Mount::new(&data, "rw") else {
        return;
    };
    let text = data.to_str().expect("UTF-8");
    server.set_directives(&[ALWAYS, &["--dir", text]].concat());
    mount.make("ro");
    let refusal = server.restart_refused();
    assert!(refusal.contains("Read-only file system"), "{refusal}");
    assert!(refusal.contains(text), "{refusal}");
    mount.make("rw");
    server.restart();
    fill(&mut server.client(), 10);
    server.kill();
    mount.make("ro");
    let refusal = server.restart_refused();
    assert!(refusal.contains("Read-only file system"), "{refusal}");
    mount.make("rw");
    server.restart();
    assert_eq!(run(&mut server.client(), "DBSIZE"), Reply::Integer(10));
    server.kill();
}

/// A library that shifts the wall clock by the seconds in a file.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
static long shift(void) {
    char text[32] = {0};
    const char *path = getenv("CLOCK_SHIFT_FILE");
    int fd = path ? open(path, O_RDONLY) : -1;
    if (fd < 0) return 0;
    if (read(fd, text, sizeof text - 1) < 0) text[0] = 0;
    close(fd);
    return atol(text);
}
int clock_gettime(clockid_t id, struct timespec *to) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(id, to);
    if (result == 0 && id == CLOCK_REALTIME) to->tv_sec += shift();
    return result;
}
"#;

/// Builds the library; None without a C compiler.
fn build_shim(dir: &Path) -> Option<PathBuf> {
    let (source, library) = (dir.join("shim.c"), dir.join("shim.so"));
    fs::write(&source, SHIM).expect("it can be written");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .arg("-ldl")
        .status();
    match built {
        Ok(status) if status.success() => Some(library),
        other => {
            eprintln!("SKIPPED: no C compiler for a clock of our own ({other:?})");
            None
        }
    }
}

#[test]
fn a_clock_that_jumps_back_only_makes_keys_live_longer() {
    let mut server = Server::start(&["--appendfsync", "everysec"]);
    assert!(server.terminate().success());
    let Some(library) = build_shim(server.dir()) else {
        return;
    };
    let shift = server.dir().join("shift");
    fs::write(&shift, "7200").expect("it can be written");
    server.set_environment("LD_PRELOAD", library.to_str().expect("UTF-8"));
    server.set_environment("CLOCK_SHIFT_FILE", shift.to_str().expect("UTF-8"));
    server.restart();
    let mut client = server.client();
    for line in ["SET short 1 EX 600", "SET long 1 EX 100000", "SET plain 1"] {
        assert_eq!(run(&mut client, line), Reply::ok());
    }
    let ttl = |client: &mut Client, key: &str| match run(client, &format!("TTL {key}")) {
        Reply::Integer(seconds) => seconds,
        other => panic!("{other:?}"),
    };
    assert!((590..=600).contains(&ttl(&mut client, "short")));
    // Two hours back.
    fs::write(&shift, "0").expect("it can be written");
    eventually("the clock has jumped", || ttl(&mut client, "short") > 7700);
    assert!((100_000..=107_200).contains(&ttl(&mut client, "long")));
    // Syncs and checkpoints go by another clock.
    assert_eq!(run(&mut client, "SET after 1 EX 50"), Reply::ok());
    eventually("it is synced", || {
        let synced = info_number(&mut client, "log_synced_offset");
        synced == info_number(&mut client, "log_end_offset")
    });
    await_checkpoint(&mut client);
    server.kill();
    server.restart();
    let mut client = server.client();
    assert!((30..=50).contains(&ttl(&mut client, "after")));
    assert!(ttl(&mut client, "short") > 7600);
    // And forwards again: what is due goes.
    fs::write(&shift, "10000").expect("it can be written");
    eventually("what is due is gone", || {
        run(&mut client, "DBSIZE") == Reply::Integer(2)
    });
    assert_eq!(run(&mut client, "GET plain"), Reply::bulk("1"));
}
