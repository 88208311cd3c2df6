//! Pure caches: what they have for replication, and that they may begin to keep it.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};

use super::waits::both;
use super::*;

const CACHE: &[&str] = &["--save", "", "--appendonly", "no"];

/// Has a server keep what it has, and waits until it does.
fn keep(server: &Server) {
    let mut client = server.client();
    ok(&mut client, "CONFIG SET appendonly yes");
    assert_eq!(number(&mut client, "persistence", "aof_enabled"), 1);
    in_time("it is kept", || {
        number(&mut client, "persistence", "aof_rewrite_in_progress") == 0
    });
}

/// Kills a server, and starts it as one that keeps what it has.
fn crash(server: &mut Server) {
    server.kill();
    server.set_directives(&["--save", "", "--appendonly", "yes"]);
    server.restart();
}

#[test]
fn a_pure_cache_keeps_everything_once_it_is_told_to() {
    let mut server = Server::start(CACHE);
    write(&server, 0);
    let library = "#!lua name=lib\nserver.register_function('f', function() return 7 end)";
    let loaded = server.client().command(&["FUNCTION", "LOAD", library]);
    assert_eq!(loaded, Reply::bulk("lib"));
    let over = AtomicBool::new(false);
    let last = std::thread::scope(|scope| {
        // While others write.
        let mut client = server.client();
        let over = &over;
        let writer = scope.spawn(move || {
            let mut last = 0;
            while !over.load(Ordering::Relaxed) {
                last += 1;
                ok(&mut client, &format!("SET last {last}"));
                ok(&mut client, &format!("RPUSH all {last}"));
            }
            assert_eq!(run(&mut client, "WAITAOF 1 0 60000"), both(1, 0));
            last
        });
        keep(&server);
        over.store(true, Ordering::Relaxed);
        writer.join().expect("it wrote")
    });
    write(&server, 1);
    assert_eq!(run(&mut server.client(), "WAITAOF 1 0 60000"), both(1, 0));
    let before = content(&server);
    for _ in 0..2 {
        crash(&mut server);
        assert!(content(&server) == before);
        let mut client = server.client();
        assert_eq!(run(&mut client, "LLEN all"), Reply::Integer(last));
        assert_eq!(run(&mut client, "FCALL f 0"), Reply::Integer(7));
        let left = std::fs::read_dir(server.dir()).expect("it is there");
        let scratch = left
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().contains("scratch"));
        assert_eq!(scratch.count(), 0);
    }
}

#[test]
fn a_pair_of_pure_caches_that_are_told_to_keep_resyncs_partially_after_crashes() {
    let [mut primary, mut replica] = [Server::start(CACHE), Server::start(CACHE)];
    write(&primary, 0);
    follow(&replica, &primary);
    await_sync(&replica, &primary);
    write(&primary, 1);
    let at = format!("127.0.0.1 {}", primary.port());
    keep(&replica);
    keep(&primary);
    write(&primary, 2);
    await_sync(&replica, &primary);
    assert_eq!(run(&mut primary.client(), "WAITAOF 1 1 60000"), both(1, 1));
    primary.kill();
    replica.kill();
    primary.set_directives(&["--save", "", "--appendonly", "yes"]);
    replica.set_directives(&["--save", "", "--appendonly", "yes", "--replicaof", &at]);
    primary.restart();
    replica.restart();
    write(&primary, 3);
    await_sync(&replica, &primary);
    assert_same(&replica, &primary);
    assert_eq!(partial_and_full(&primary), (1, 0));
}

#[test]
fn a_cache_that_keeps_stops_to_when_it_is_told_before_it_has_begun() {
    let server = Server::start(CACHE);
    let mut client = server.client();
    ok(&mut client, "SET a 1");
    ok(&mut client, "CONFIG SET appendonly yes");
    ok(&mut client, "CONFIG SET appendonly no");
    assert_eq!(run(&mut client, "WAITAOF 1 0 0").error_code(), Some("ERR"));
    keep(&server);
    assert_eq!(run(&mut client, "WAITAOF 1 0 60000"), both(1, 0));
}

#[test]
fn a_dump_is_not_read_again_once_its_keys_are_gone() {
    let mut server = Server::start(CACHE);
    write(&server, 0);
    ok(&mut server.client(), "SAVE");
    server.kill();
    server.restart();
    assert!(!content(&server).is_empty());
    ok(&mut server.client(), "FLUSHALL");
    keep(&server);
    crash(&mut server);
    assert!(content(&server).is_empty());
}

#[test]
fn a_file_that_has_the_name_of_the_log_is_let_be() {
    let mut server = Server::start(CACHE);
    // As of `server > log`.
    let file = server.dir().join("log");
    std::fs::write(&file, "output").expect("it can be written");
    ok(&mut server.client(), "SET a 1");
    keep(&server);
    ok(&mut server.client(), "CONFIG SET appendfsync always");
    ok(&mut server.client(), "SET b 2");
    for round in 0..2 {
        crash(&mut server);
        let mut client = server.client();
        assert_eq!(run(&mut client, "GET a"), Reply::bulk("1"), "{round}");
        assert_eq!(run(&mut client, "GET b"), Reply::bulk("2"), "{round}");
        // Where it was, though the usual name is free.
        let _ = std::fs::remove_file(&file);
    }
    server.terminate();
}

#[test]
fn what_lies_in_the_directory_already_is_not_given_up() {
    let mut server = Server::start(&["--appendonly", "yes"]);
    ok(&mut server.client(), "SET former 1");
    server.terminate();
    server.set_directives(CACHE);
    server.restart();
    let mut client = server.client();
    ok(&mut client, "SET now 1");
    let refused = run(&mut client, "CONFIG SET appendonly yes");
    assert_eq!(
        refused,
        Reply::Error(
            "ERR CONFIG SET failed (possibly related to argument 'appendonly') - Unable to turn on AOF. Check server logs.".into()
        )
    );
    let setting = run(&mut client, "CONFIG GET appendonly");
    let unchanged = ["appendonly", "no"].map(Reply::bulk);
    assert_eq!(setting, Reply::Array(unchanged.to_vec()));
    crash(&mut server);
    assert_eq!(
        run(&mut server.client(), "EXISTS former now"),
        Reply::Integer(1)
    );
}

#[test]
fn a_pure_cache_with_replicas_syncs_nothing_and_waits_for_nothing() {
    let primary = Server::start(&[
        "--save",
        "",
        "--appendonly",
        "no",
        "--appendfsync",
        "always",
    ]);
    let replica = Server::start(CACHE);
    follow(&replica, &primary);
    await_sync(&replica, &primary);
    write(&primary, 0);
    await_sync(&replica, &primary);
    assert_same(&replica, &primary);
}

#[test]
fn who_starts_from_a_dump_goes_on_from_there() {
    let primary = Server::start(&[]);
    let mut replica = Server::start(CACHE);
    follow(&replica, &primary);
    write(&primary, 0);
    await_sync(&replica, &primary);
    let at = format!("127.0.0.1 {}", primary.port());
    // First as a pure cache, then as one that keeps.
    for (round, appendonly) in ["no", "yes"].into_iter().enumerate() {
        ok(&mut primary.client(), "SET short lived PX 1");
        await_sync(&replica, &primary);
        run(&mut replica.client(), "SAVE");
        replica.kill();
        write(&primary, round + 1);
        replica.set_directives(&["--save", "", "--appendonly", appendonly, "--replicaof", &at]);
        replica.restart();
        write(&primary, round + 2);
        await_sync(&replica, &primary);
        assert_same(&replica, &primary);
        assert_eq!(partial_and_full(&primary), (round as u64 + 1, 1));
    }
    // A primary goes on as well, under another name.
    let mut heir = Server::start(CACHE);
    run(&mut replica.client(), "SAVE");
    heir.kill();
    std::fs::copy(replica.dir().join("dump.rdb"), heir.dir().join("dump.rdb")).expect("a copy");
    heir.restart();
    follow(&replica, &heir);
    write(&heir, 5);
    await_sync(&replica, &heir);
    assert_same(&replica, &heir);
    assert_eq!(partial_and_full(&heir), (1, 0));
}

#[test]
fn a_pure_cache_without_room_on_its_disk_stays_one_and_takes_writes() {
    let mut server = Server::start(CACHE);
    server.kill();
    let data = server.dir().join("small");
    let Some(mount) = Mount::new(&data, "size=40m") else {
        return;
    };
    let dir = data.to_str().expect("UTF-8").to_string();
    server.set_directives(&[CACHE, &["--dir", &dir]].concat());
    server.restart();
    let mut client = server.client();
    let refused = run(&mut client, "CONFIG SET appendonly yes");
    assert_eq!(refused.error_code(), Some("ERR"), "{refused:?}");
    assert_eq!(number(&mut client, "persistence", "aof_enabled"), 0);
    // There is no log for a replica either.
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).expect("it listens");
    stream.write_all(b"PSYNC ? -1\r\n").expect("it is sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it is closed");
    assert!(answer.trim_ascii().is_empty(), "{answer:?}");
    ok(&mut client, "SET written 1");
    assert!(std::fs::read_dir(&data).expect("it is there").count() <= 1);
    mount.make("size=1g");
    let mut other = Server::start(CACHE);
    follow(&other, &server);
    await_sync(&other, &server);
    other.kill();
    keep(&server);
    ok(&mut client, "SET kept 1");
    assert_eq!(run(&mut client, "WAITAOF 1 0 60000"), both(1, 0));
    server.kill();
    let kept = ["--save", "", "--appendonly", "yes", "--dir", &dir];
    server.set_directives(&kept);
    server.restart();
    let mut client = server.client();
    assert_eq!(run(&mut client, "EXISTS written kept"), Reply::Integer(2));
    server.kill();
}

#[test]
fn attempts_to_keep_end_when_that_is_not_wanted_any_more() {
    let server = Server::start(CACHE);
    let mut client = server.client();
    ok(&mut client, "SET key 1");
    let taken: Vec<_> = (0..64)
        .map(|number| server.dir().join(format!("replication.scratch.{number}")))
        .collect();
    for path in &taken {
        std::fs::write(path, "in the way").expect("it can be written");
    }
    ok(&mut client, "CONFIG SET appendonly yes");
    in_time("an attempt has failed", || {
        info(&mut client, "persistence", "aof_last_bgrewrite_status") == "err"
    });
    assert_eq!(number(&mut client, "persistence", "aof_enabled"), 1);
    ok(&mut client, "CONFIG SET appendonly no");
    in_time("it was given up", || {
        number(&mut client, "persistence", "aof_enabled") == 0
    });
    assert_eq!(
        number(&mut client, "persistence", "aof_rewrite_in_progress"),
        0
    );
    for path in &taken {
        assert_eq!(std::fs::read(path).expect("it is there"), b"in the way");
        std::fs::remove_file(path).expect("it can be removed");
    }
    keep(&server);
    assert_eq!(
        info(&mut client, "persistence", "aof_last_bgrewrite_status"),
        "ok"
    );
}

#[test]
fn what_a_killed_cache_had_for_replication_goes_at_the_next_start() {
    let [mut cache, mut other] = [Server::start(CACHE), Server::start(CACHE)];
    let replica = Server::start(CACHE);
    write(&cache, 0);
    follow(&replica, &cache);
    await_sync(&replica, &cache);
    let scratch = cache.dir().join("replication.scratch.0");
    assert!(scratch.is_dir());
    // Another one that starts in the same directory lets it be.
    other.terminate();
    let dir = cache.dir().to_str().expect("UTF-8").to_owned();
    other.set_directives(&[CACHE, &["--dir", &dir]].concat());
    other.restart();
    other.terminate();
    assert!(scratch.join("tree/data.mdb").is_file());
    write(&cache, 1);
    await_sync(&replica, &cache);
    drop(replica);
    cache.kill();
    assert!(scratch.is_dir());
    cache.restart();
    assert!(!scratch.exists());
}
