//! What the server does when its storage fails, fills up, or is not what it
//! left behind.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use support::{Client, Reply, Server, encode, eventually};

fn run(client: &mut Client, line: &str) -> Reply {
    client.command(&line.split(' ').collect::<Vec<_>>())
}

fn run_ok(client: &mut Client, lines: &[&str]) {
    for line in lines {
        let reply = run(client, line);
        assert_eq!(reply.error_code(), None, "{line}: {reply:?}");
    }
}

fn info(client: &mut Client, field: &str) -> String {
    let text = run(client, "INFO persistence").text().expect("a text");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.expect(field).trim().to_string()
}

fn info_number(client: &mut Client, field: &str) -> u64 {
    info(client, field).parse().expect("a number")
}

fn await_status(client: &mut Client, status: &str) {
    eventually(status, || info(client, "storage_status") == status);
}

fn await_checkpoint(client: &mut Client) {
    eventually("the tree has the whole log", || {
        info_number(client, "tree_lag_bytes") == 0
    });
}

fn assert_refused(reply: &Reply, why: &str) {
    let text = format!("{reply:?}");
    assert!(text.contains("MISCONF Writes are refused"), "{text}");
    assert!(text.contains(why), "{text} says nothing of {why}");
}

/// A file system of its own in the server's directory; unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// None where nothing may be mounted.
    fn mount(at: &Path, megabytes: u32) -> Option<SmallDisk> {
        std::fs::create_dir_all(at).expect("a directory can be made");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o"])
            .arg(format!("size={megabytes}m"))
            .args(["none", at.to_str().expect("UTF-8")])
            .status();
        match mounted {
            Ok(status) if status.success() => Some(SmallDisk(at.to_path_buf())),
            other => {
                eprintln!("SKIPPED: a disk of its own can't be mounted here ({other:?})");
                None
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let lazily = Command::new("umount").arg("-l").arg(&self.0).status();
        if !lazily.is_ok_and(|status| status.success()) {
            eprintln!("{} stays mounted", self.0.display());
        }
    }
}

/// A server whose log and tree lie on a disk of 64 MB.
fn on_small_disk(directives: &[&str]) -> Option<(SmallDisk, Server)> {
    let mut server = Server::start(directives);
    assert!(server.terminate().success());
    let data = server.dir().join("small");
    let disk = SmallDisk::mount(&data, 64)?;
    server.set_directives(&[directives, &["--dir", data.to_str().expect("UTF-8")]].concat());
    server.restart();
    Some((disk, server))
}

/// Writes until a write is refused; gives how many were acknowledged, and the
/// refusal.
fn write_until_refused(client: &mut Client, from: usize) -> (usize, Reply) {
    let value = "v".repeat(4000);
    for n in from.. {
        let reply = client.command(&["SET", &format!("key:{n}"), &format!("{n}:{value}")]);
        if reply != Reply::ok() {
            return (n, reply);
        }
        assert!(n < 100_000, "a small disk takes all of it");
    }
    unreachable!()
}

/// Whether the first `count` of those keys are as they were written.
fn assert_all_there(client: &mut Client, count: usize) {
    let value = "v".repeat(4000);
    for n in 0..count {
        let found = run(client, &format!("GET key:{n}"));
        assert!(found == Reply::bulk(format!("{n}:{value}")), "key:{n}");
    }
}

/// Fills the rest of a disk with a file, to the last byte, or goes on with that.
fn fill_up(at: &Path) -> PathBuf {
    use std::io::Write;
    let path = at.join("ballast");
    let mut options = std::fs::OpenOptions::new();
    let options = options.append(true).create(true);
    let mut file = options.open(&path).expect("a file can be made");
    for size in [1 << 20, 4096, 1] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
    path
}

#[test]
fn a_full_disk_refuses_writes_serves_reads_and_recovers_without_a_restart() {
    let directives = [
        "--appendfsync",
        "always",
        "--log-segment-size",
        "1mb",
        "--disk-free-min",
        "0",
        "--repl-backlog-size",
        "16kb",
        "--save",
        "900 1",
    ];
    let Some((disk, mut server)) = on_small_disk(&directives) else {
        return;
    };
    let mut client = server.client();
    run_ok(&mut client, &["SET first 1"]);
    await_checkpoint(&mut client);
    let ballast = fill_up(&disk.0);
    let (written, refusal) = write_until_refused(&mut client, 0);
    assert_refused(&refusal, "");
    assert!(info_number(&mut client, "storage_refusals") >= 1);
    eprintln!("full: {written} writes of 4 KB were taken, then: {refusal:?}");
    assert_eq!(run(&mut client, "GET first"), Reply::bulk("1"));
    assert_all_there(&mut client, written);
    std::fs::remove_file(ballast).expect("it can be removed");
    await_status(&mut client, "ok");
    let value = "v".repeat(4000);
    for n in written..written + 500 {
        let reply = client.command(&["SET", &format!("key:{n}"), &format!("{n}:{value}")]);
        assert_eq!(reply, Reply::ok());
    }
    assert_all_there(&mut client, written + 500);
    await_checkpoint(&mut client);
    server.kill();
    server.restart();
    let mut client = server.client();
    assert_all_there(&mut client, written + 500);
    assert_eq!(run(&mut client, "GET first"), Reply::bulk("1"));
}

#[test]
fn a_server_starts_again_while_its_disk_is_full() {
    let directives = [
        "--appendfsync",
        "always",
        "--log-segment-size",
        "1mb",
        "--disk-free-min",
        "0",
    ];
    let Some((disk, mut server)) = on_small_disk(&directives) else {
        return;
    };
    let mut client = server.client();
    run_ok(&mut client, &["SET first 1"]);
    await_checkpoint(&mut client);
    // As it is, and with no room left in the log.
    for is_log_full in [false, true] {
        let ballast = fill_up(&disk.0);
        let written = match is_log_full {
            true => write_until_refused(&mut client, 0).0,
            false => 0,
        };
        // What the server has given back meanwhile.
        fill_up(&disk.0);
        let mut names = Vec::new();
        for _ in 0..3 {
            server.kill();
            server.restart();
            client = server.client();
            assert_eq!(run(&mut client, "GET first"), Reply::bulk("1"));
            assert_all_there(&mut client, written);
            let text = run(&mut client, "INFO replication").text().expect("a text");
            let name = text.lines().find(|line| line.starts_with("master_replid:"));
            names.push(name.expect("it has one").to_string());
        }
        names.dedup();
        assert_eq!(names.len(), 3, "it goes on under a new name each time");
        std::fs::remove_file(&ballast).expect("it can be removed");
        await_status(&mut client, "ok");
        run_ok(&mut client, &["SET later 1"]);
        await_checkpoint(&mut client);
        server.kill();
        server.restart();
        client = server.client();
        assert_eq!(run(&mut client, "GET later"), Reply::bulk("1"));
    }
}

#[test]
fn a_disk_that_the_data_fills_refuses_writes_and_goes_on_once_there_is_room() {
    for fsync in ["always", "everysec"] {
        let directives = [
            "--appendfsync",
            fsync,
            "--log-segment-size",
            "1mb",
            "--disk-free-min",
            "0",
        ];
        let Some((disk, mut server)) = on_small_disk(&directives) else {
            return;
        };
        let ballast = disk.0.join("ballast");
        std::fs::write(&ballast, vec![1; 40 << 20]).expect("there is room");
        let mut client = server.client();
        let (written, refusal) = write_until_refused(&mut client, 0);
        assert_refused(&refusal, "");
        eprintln!("{fsync}: {written} writes of 4 KB were taken, then: {refusal:?}");
        assert_all_there(&mut client, written);
        std::fs::remove_file(ballast).expect("it can be removed");
        await_status(&mut client, "ok");
        run_ok(&mut client, &["SET later 1"]);
        await_checkpoint(&mut client);
        server.kill();
        server.restart();
        let mut client = server.client();
        assert_all_there(&mut client, written);
        assert_eq!(run(&mut client, "GET later"), Reply::bulk("1"));
    }
}

#[test]
fn writes_are_refused_before_the_disk_is_full() {
    let directives = ["--log-segment-size", "1mb", "--disk-free-min", "20mb"];
    let Some((disk, server)) = on_small_disk(&directives) else {
        return;
    };
    let mut client = server.client();
    run_ok(&mut client, &["SET a 1"]);
    let ballast = disk.0.join("ballast");
    std::fs::write(&ballast, vec![1; 46 << 20]).expect("there is room");
    await_status(&mut client, "disk_nearly_full");
    assert_refused(&run(&mut client, "SET a 2"), "disk-free-min is 20971520");
    assert_eq!(run(&mut client, "GET a"), Reply::bulk("1"));
    run_ok(&mut client, &["CONFIG SET disk-free-min 1mb"]);
    await_status(&mut client, "ok");
    run_ok(&mut client, &["SET a 3", "CONFIG SET disk-free-min 20mb"]);
    await_status(&mut client, "disk_nearly_full");
    std::fs::remove_file(&ballast).expect("it can be removed");
    await_status(&mut client, "ok");
    run_ok(&mut client, &["SET a 4"]);
}

#[test]
fn writers_are_slowed_and_then_refused_while_the_tree_falls_behind() {
    let mut server = Server::start(&[
        "--enable-debug-command",
        "yes",
        "--tree-lag-slow",
        "1mb",
        "--tree-lag-limit",
        "4mb",
    ]);
    let mut client = server.client();
    run_ok(&mut client, &["DEBUG STORAGE PAUSE-TREE"]);
    let value = "v".repeat(100_000);
    let mut taken = 0;
    let refusal = loop {
        let reply = client.command(&["SET", &format!("k{taken}"), &value]);
        if reply != Reply::ok() {
            break reply;
        }
        taken += 1;
        assert!(taken < 1000, "no limit is kept");
        if taken == 20 {
            // 2 MB behind: how far is looked at now and then only.
            eventually("writers are held up", || {
                run_ok(&mut client, &["SET more 0"]);
                info_number(&mut client, "storage_slowed_usec_total") > 0
            });
        }
    };
    assert_refused(&refusal, "tree-lag-limit is 4194304");
    assert!(
        taken >= 40,
        "only {taken} of 100 KB before 4 MB are reached"
    );
    assert_eq!(info(&mut client, "storage_status"), "tree_behind");
    assert_eq!(run(&mut client, "STRLEN k0"), Reply::Integer(100_000));
    run_ok(&mut client, &["DEBUG STORAGE CLEAR"]);
    await_status(&mut client, "ok");
    run_ok(&mut client, &["SET more 1"]);
    server.kill();
    server.restart();
    let count = run(&mut server.client(), "DBSIZE");
    assert!(
        matches!(count, Reply::Integer(n) if n >= taken),
        "{count:?}"
    );
}

#[test]
fn a_failed_sync_or_write_of_the_log_is_survived_through_the_tree() {
    for fsync in ["always", "everysec"] {
        for fault in ["FAIL-SYNCS", "FAIL-WRITES"] {
            survives_failure_of_the_log(fsync, fault);
        }
    }
}

fn survives_failure_of_the_log(fsync: &str, fault: &str) {
    let directives = ["--appendfsync", fsync, "--enable-debug-command", "yes"];
    let mut server = Server::start(&directives);
    let mut client = server.client();
    let mut other = server.client();
    run_ok(&mut client, &["SET before 1", "RPUSH list a b c"]);
    // Its failure to be made would be another trouble.
    eventually("the next segment is there", || {
        info(&mut client, "log_next_segment_ready") == "1"
    });
    run_ok(&mut other, &[&format!("DEBUG STORAGE {fault}")]);
    // Under always this one's reply is never sent, or once it is durable.
    let _ = client.try_send(&encode(&["INCR", "before"]));
    await_failure_of_the_log(&server, &mut other);
    let mut writer = server.client();
    assert_refused(
        &run(&mut writer, "SET refused 1"),
        "errors writing to the log",
    );
    if fsync == "everysec" {
        assert_eq!(
            run(&mut writer, "LLEN list"),
            Reply::Integer(3),
            "reads go on"
        );
    }
    clear_faults(&server);
    // Its turn may have come when the log had failed already.
    let was_refused = client
        .try_read()
        .is_ok_and(|reply| reply.error_code().is_some());
    let incremented = if was_refused { "1" } else { "2" };
    let mut client = server.client();
    await_status(&mut client, "ok");
    assert_eq!(info(&mut client, "log_restarts"), "1");
    run_ok(&mut client, &["SET after 1", "LPOP list"]);
    eventually("all of it is written", || {
        let written = info_number(&mut client, "log_written_offset");
        written == info_number(&mut client, "log_end_offset")
    });
    for end in ["a crash", "a clean end"] {
        match end {
            "a crash" => server.kill(),
            _ => assert!(server.terminate().success()),
        }
        server.restart();
        let mut client = server.client();
        let there = ["GET before", "GET after", "LLEN list"].map(|line| run(&mut client, line));
        let wanted = [
            Reply::bulk(incremented),
            Reply::bulk("1"),
            Reply::Integer(2),
        ];
        assert_eq!(there, wanted, "{fsync} {fault} {end}");
        assert_eq!(run(&mut client, "EXISTS refused"), Reply::Integer(0));
    }
}

/// Waits until the log has failed. Under always, connections may be closed then.
fn await_failure_of_the_log(server: &Server, client: &mut Client) {
    eventually("the log has failed", || {
        let text = match client.try_send(&encode(&["INFO", "persistence"])) {
            Ok(()) => client.try_read().ok().and_then(|reply| reply.text()),
            Err(_) => None,
        };
        if text.is_none() {
            *client = server.client();
        }
        text.is_some_and(|text| text.contains("storage_status:log_failed")) || refused(client)
    });
}

/// Whether a write gets the error for a log that has failed.
fn refused(client: &mut Client) -> bool {
    let asked = client.try_send(&encode(&["SET", "probe", "1"]));
    let reply = asked.and_then(|()| client.try_read());
    reply.is_ok_and(|reply| format!("{reply:?}").contains("errors writing to the log"))
}

/// Ends the faults; under always the connection may be closed before its reply.
fn clear_faults(server: &Server) {
    let mut client = server.client();
    let _ = client.try_send(&encode(&["DEBUG", "STORAGE", "CLEAR"]));
    let _ = client.try_read();
}
