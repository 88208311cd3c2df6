//! Scripts and functions: what they do and leave behind, what a crash leaves of
//! it, and what others can do while one runs for long.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::{Client, Reply, Server, encode};

fn eval(client: &mut Client, script: &str, keys: &[&str], args: &[&str]) -> Reply {
    let count = keys.len().to_string();
    let mut words = vec!["EVAL", script, &count];
    words.extend(keys);
    words.extend(args);
    client.command(&words)
}

fn text(reply: Reply) -> String {
    match reply {
        Reply::Bulk(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Reply::Error(text) | Reply::Simple(text) => text,
        other => panic!("{other:?} is no text"),
    }
}

/// Asks until the answer fits, however slow the machine is.
fn until(what: &str, mut fits: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !fits() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

const LIBRARY: &str = "#!lua name=counters\nserver.register_function('bump', function(keys, args)\n return redis.call('INCRBY', keys[1], args[1])\nend)\nserver.register_function{function_name='look', callback=function(keys) return redis.call('GET', keys[1]) end, flags={'no-writes'}}";

#[test]
fn effects_and_libraries_are_the_same_after_a_crash() {
    let mut server = Server::start(&["--appendfsync", "always"]);
    let mut client = server.client();
    let script = "redis.call('SET', KEYS[1], ARGV[1]) redis.call('RPUSH', KEYS[2], 1, 2, 3) redis.call('SELECT', 3) redis.call('SET', 'there', 'x') redis.call('SPOP', 'none') return redis.call('TIME')[1]";
    eval(&mut client, script, &["{t}a", "{t}b"], &["one"]);
    eval(
        &mut client,
        "redis.call('SADD', 'set', 1, 2, 3, 4, 5) return redis.call('SPOP', 'set', 3)",
        &[],
        &[],
    );
    let failing = eval(
        &mut client,
        "redis.call('SET', 'half', 'way') error('stop')",
        &[],
        &[],
    );
    assert_eq!(
        failing,
        Reply::Error("ERR user_script:1: stop script: on @user_script:1.".into())
    );
    assert_eq!(
        text(client.command(&["FUNCTION", "LOAD", LIBRARY])),
        "counters"
    );
    client.command(&["FCALL", "bump", "1", "n", "5"]);
    client.command(&["MULTI"]);
    client.command(&["EVAL", "return redis.call('INCR', KEYS[1])", "1", "n"]);
    client.command(&["FCALL", "bump", "1", "n", "10"]);
    assert_eq!(
        client.command(&["EXEC"]),
        Reply::Array(vec![Reply::Integer(6), Reply::Integer(16)])
    );
    let members = client.command(&["SMEMBERS", "set"]);
    for _ in 0..2 {
        server.kill();
        server.restart();
        client = server.client();
        assert_eq!(text(client.command(&["GET", "{t}a"])), "one");
        assert_eq!(client.command(&["LLEN", "{t}b"]), Reply::Integer(3));
        assert_eq!(text(client.command(&["GET", "half"])), "way");
        assert_eq!(client.command(&["SMEMBERS", "set"]), members);
        assert_eq!(text(client.command(&["FCALL_RO", "look", "1", "n"])), "16");
        client.command(&["SELECT", "3"]);
        assert_eq!(text(client.command(&["GET", "there"])), "x");
        client.command(&["SELECT", "0"]);
    }
    assert_eq!(
        client.command(&["FUNCTION", "DELETE", "COUNTERS"]),
        Reply::Simple("OK".into())
    );
    // The tree has taken over all of it by the end of a clean stop.
    assert!(server.terminate().success());
    server.restart();
    client = server.client();
    assert_eq!(client.command(&["FUNCTION", "LIST"]), Reply::Array(vec![]));
    assert_eq!(text(client.command(&["GET", "n"])), "16");
}

#[test]
fn a_library_survives_a_clean_stop_in_the_tree() {
    let mut server = Server::start(&[]);
    let mut client = server.client();
    client.command(&["FUNCTION", "LOAD", LIBRARY]);
    let dump = client.command(&["FUNCTION", "DUMP"]);
    assert!(server.terminate().success());
    server.restart();
    let mut client = server.client();
    assert_eq!(client.command(&["FUNCTION", "DUMP"]), dump);
    assert_eq!(
        client.command(&["FCALL", "BUMP", "1", "n", "2"]),
        Reply::Integer(2)
    );
}

#[test]
fn a_long_script_blocks_only_what_it_holds_and_can_be_killed() {
    let server = Server::start(&["--busy-reply-threshold", "50"]);
    // As many connections as there can be workers, and more: each must be served.
    let mut others: Vec<Client> = (0..6).map(|_| server.client()).collect();
    let mut caller = server.client();
    others[0].command(&["SET", "mine", "1"]);
    others[0].command(&["SET", "other", "2"]);
    caller.send(&encode(&[
        "EVAL",
        "redis.call('GET', KEYS[1]) while true do end",
        "1",
        "mine",
    ]));
    until(
        "the script is busy",
        || matches!(others[0].command(&["GET", "mine"]), Reply::Error(text) if text.starts_with("BUSY")),
    );
    for client in &mut others {
        assert_eq!(text(client.command(&["GET", "other"])), "2");
        assert_eq!(client.command(&["PING"]), Reply::Simple("PONG".into()));
        let mut pipeline = encode(&["GET", "mine"]).repeat(5);
        pipeline.extend(encode(&["GET", "other"]));
        let replies = client.pipeline(&pipeline, 6).into_iter().map(text);
        let is_busy = replies.map(|text| text.starts_with("BUSY"));
        assert!(is_busy.eq([true, true, true, true, true, false]));
        let set = text(client.command(&["SET", "mine", "9"]));
        assert!(set.starts_with("BUSY"), "{set}");
        assert_eq!(
            eval(client, "return redis.call('GET', KEYS[1])", &["other"], &[]),
            Reply::Bulk(b"2".to_vec())
        );
    }
    assert!(text(others[1].command(&["FUNCTION", "KILL"])).starts_with("BUSY"));
    assert_eq!(text(others[2].command(&["SCRIPT", "KILL"])), "OK");
    let killed = text(caller.read());
    assert!(killed.contains("killed by user"), "{killed}");
    assert_eq!(text(others[3].command(&["GET", "mine"])), "1");
    assert!(text(others[3].command(&["SCRIPT", "KILL"])).starts_with("NOTBUSY"));
}

#[test]
fn a_script_that_waits_for_a_long_one_gets_its_turn() {
    let server = Server::start(&["--busy-reply-threshold", "60000"]);
    let (mut first, mut second) = (server.client(), server.client());
    let slow = "for i = 1, 3000000 do end redis.call('RPUSH', KEYS[1], ARGV[1]) for i = 1, 3000000 do end return redis.call('RPUSH', KEYS[1], ARGV[1])";
    let words = |who| ["EVAL", slow, "1", "list", who];
    first.send(&encode(&words("a")));
    second.send(&encode(&words("b")));
    let (one, other) = (first.read(), second.read());
    let Reply::Array(items) = first.command(&["LRANGE", "list", "0", "-1"]) else {
        panic!("a list");
    };
    let order: String = items.into_iter().map(text).collect();
    assert!(
        order == "aabb" || order == "bbaa",
        "{order}: scripts are atomic"
    );
    let mut lengths = [one, other];
    lengths.sort_by_key(|reply| format!("{reply:?}"));
    assert_eq!(lengths, [Reply::Integer(2), Reply::Integer(4)]);
}

#[test]
fn scripts_that_name_no_keys_are_atomic_among_each_other() {
    let server = Server::start(&[]);
    let move_one = "local from, to = ARGV[1], ARGV[2] local n = tonumber(redis.call('GET', from) or '0') if n > 0 then redis.call('SET', from, n - 1) redis.call('INCR', to) end return n";
    let mut setup = server.client();
    setup.command(&["MSET", "x", "1000", "y", "1000", "z", "1000"]);
    std::thread::scope(|scope| {
        for pair in [["x", "y"], ["y", "z"], ["z", "x"], ["y", "x"]] {
            let mut client = server.client();
            scope.spawn(move || {
                for _ in 0..200 {
                    let reply = eval(&mut client, move_one, &[], &pair);
                    assert!(matches!(reply, Reply::Integer(_)), "{reply:?}");
                }
            });
        }
        let mut watcher = server.client();
        scope.spawn(move || {
            let sum =
                "return redis.call('GET','x') + redis.call('GET','y') + redis.call('GET','z')";
            for _ in 0..200 {
                assert_eq!(eval(&mut watcher, sum, &[], &[]), Reply::Integer(3000));
            }
        });
    });
}

#[test]
fn long_scripts_that_only_read_are_no_obstacle_to_those_that_have_written() {
    let server = Server::start(&["--busy-reply-threshold", "60000"]);
    let mut setup = server.client();
    setup.command(&["MSET", "x", "10", "y", "10", "z", "10"]);
    // Each is set aside for its length with one key in hand, and wants the
    // others.
    let wait = "for i = 1, 1500000 do end";
    let watch = format!(
        "local sum = redis.call('GET', 'x') {wait} return sum + redis.call('GET', 'y') + redis.call('GET', ARGV[1])"
    );
    let move_one = format!(
        "redis.call('DECR', 'z') {wait} redis.call('INCR', 'y') {wait} return redis.call('INCRBY', 'x', 0)"
    );
    std::thread::scope(|scope| {
        for (script, result) in [(&watch, 30), (&watch, 30), (&move_one, 10)] {
            let mut client = server.client();
            scope.spawn(move || {
                for _ in 0..8 {
                    let reply = eval(&mut client, script, &[], &["z"]);
                    assert_eq!(reply, Reply::Integer(result));
                }
            });
        }
    });
    assert_eq!(text(setup.command(&["GET", "z"])), "2");
}

/// Scripts that ask for too much, with a part of what they get for that.
const TOO_MUCH: &[(&str, &str)] = &[
    (
        "local function f() return 1 + f() end return f()",
        "stack overflow",
    ),
    (
        "local s = string.rep('x', 2^20) while true do s = s .. s end",
        "not enough memory",
    ),
    (
        "return string.match(string.rep('a', 300000), string.rep('a?', 300000) .. 'b')",
        "pattern too complex",
    ),
    (
        "local f = function() return string.gsub('x', '.', f) end return setmetatable({}, {__index = function(t, k) return t[k] end}).x",
        "stack overflow",
    ),
    (
        "return loadstring(string.dump(function() end))()",
        "attempt to call a nil value",
    ),
    ("return cjson.decode(string.rep('[', 5000))", "nested"),
    ("local t = {} t[1] = t return cjson.encode(t)", "nesting"),
    (
        "return cmsgpack.unpack('\\221\\255\\255\\255\\255')",
        "Missing bytes",
    ),
    ("return struct.unpack('i99', 'x')", "larger than limit"),
    ("redis.call = nil", "readonly table"),
    ("rawset(_G, 'x', 1)", "readonly table"),
    ("setmetatable(redis, {})", "readonly table"),
    ("getmetatable('').__index = {}", "readonly table"),
    ("return unpack({}, 1, 1e7)", "too many results"),
    (
        "return {unpack({}, 0, 2147483647)}",
        "too many results to unpack",
    ),
    (
        "return {unpack({}, -2147483648, 2147483647)}",
        "too many results to unpack",
    ),
    (
        "error(select(2, pcall(unpack, {}, -2147483648, -1)))",
        "too many results to unpack",
    ),
    (
        "return string.gfind(string.rep('a', 3000000), string.rep('a?', 3000000))()",
        "pattern too complex",
    ),
    (
        "local t = {} for i = 1, 250 do t = {t} end return coroutine.wrap(function() return redis.call('NOSUCH') end)()",
        "Unknown command",
    ),
];

#[test]
fn no_script_brings_the_server_down() {
    let server = Server::start(&["--busy-reply-threshold", "60000"]);
    let mut client = server.client();
    for &(script, wanted) in TOO_MUCH {
        let alone = eval(&mut client, script, &[], &[]);
        // There, and while a library is loaded, nothing can suspend it.
        client.command(&["MULTI"]);
        eval(&mut client, script, &[], &[]);
        let Reply::Array(mut in_transaction) = client.command(&["EXEC"]) else {
            panic!("{script}: no array");
        };
        let library = format!("#!lua name=lib\n{script}");
        let loaded = client.command(&["FUNCTION", "LOAD", &library]);
        assert!(matches!(loaded, Reply::Error(_)), "{script}: {loaded:?}");
        for reply in [alone, in_transaction.remove(0)] {
            match reply {
                Reply::Error(text) => assert!(text.contains(wanted), "{script}: {text}"),
                other => panic!("{script}: {other:?}"),
            }
        }
        assert_eq!(client.command(&["PING"]), Reply::Simple("PONG".into()));
    }
    let sum = "local n = 0 for word in string.gmatch('10 20 x30', '%d+') do n = n + word end return n .. string.gsub('hello world', '(o)(.?)', '%2%1') .. ('a,b'):find(',', 1, true)";
    assert_eq!(text(eval(&mut client, sum, &[], &[])), "60hell owrold2");
}

#[test]
fn unpack_gives_what_luas_own_gives() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for (call, expected) in [
        ("unpack({1, 2, 3})", "1,2,3"),
        ("unpack({1, 2, 3}, 2)", "2,3"),
        ("unpack({1, 2, 3}, '2', 2.9)", "2"),
        ("unpack({1, 2, 3}, 3, 2)", ""),
        ("unpack({1, 2, 3}, nil, 2)", "1,2"),
        (
            "select('#', unpack({}, 2147483646, 2147483647)), select('#', unpack({}, 1, 7000))",
            "2,7000",
        ),
        (
            "select(2, pcall(unpack))",
            "bad argument #1 to '?' (table expected, got no value)",
        ),
        (
            "select(2, pcall(unpack, {}, 'x'))",
            "bad argument #2 to '?' (number expected, got string)",
        ),
        (
            "select(2, pcall(unpack, {}, 1, {}))",
            "bad argument #3 to '?' (number expected, got table)",
        ),
    ] {
        let script = format!("return table.concat({{{call}}}, ',')");
        assert_eq!(
            text(eval(&mut client, &script, &[], &[])),
            expected,
            "{call}"
        );
    }
}

#[test]
fn a_script_that_waits_for_the_time_to_pass_ends() {
    let server = Server::start(&["--busy-reply-threshold", "50"]);
    let mut client = server.client();
    let script =
        "local function now() local t = redis.call('TIME') return t[1] * 1000 + t[2] / 1000 end
        local start = now() while now() < start + 20 do end return now() - start >= 20";
    assert_eq!(eval(&mut client, script, &[], &[]), Reply::Integer(1));
}

#[test]
fn a_reload_takes_the_files_libraries_and_they_are_still_there_after_a_crash() {
    let mut server = Server::start(&["--appendfsync", "always", "--enable-debug-command", "yes"]);
    let mut client = server.client();
    let loaded = |client: &mut Client, name: &str| {
        let code = format!(
            "#!lua name={name}\nserver.register_function('{name}', function() return '{name}' end)"
        );
        assert_eq!(text(client.command(&["FUNCTION", "LOAD", &code])), name);
    };
    let run = |client: &mut Client, line: &str| {
        text(client.command(&line.split(' ').collect::<Vec<_>>()))
    };
    loaded(&mut client, "saved");
    assert_eq!(run(&mut client, "DEBUG RELOAD"), "OK");
    assert_eq!(run(&mut client, "FCALL saved 0"), "saved");
    let error = "ERR Error trying to load the RDB dump, check server logs.";
    assert_eq!(run(&mut client, "DEBUG RELOAD NOFLUSH"), error);
    loaded(&mut client, "later");
    assert_eq!(run(&mut client, "DEBUG RELOAD NOSAVE NOFLUSH MERGE"), "OK");
    assert_eq!(run(&mut client, "FCALL saved 0"), "saved");
    assert_eq!(run(&mut client, "FCALL later 0"), "later");
    // The file on disk is of the second RELOAD, before `later` came.
    assert_eq!(run(&mut client, "DEBUG RELOAD NOSAVE"), "OK");
    for _ in 0..2 {
        assert_eq!(run(&mut client, "FCALL saved 0"), "saved");
        assert_eq!(run(&mut client, "FCALL later 0"), "ERR Function not found");
        server.kill();
        server.restart();
        client = server.client();
    }
}

/// Ends endless scripts until nobody runs any; their callers' replies.
fn end_scripts(client: &mut Client, callers: &mut [Client]) -> Vec<String> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let over = &over;
        scope.spawn(move || {
            while !over.load(Ordering::Relaxed) {
                client.command(&["SCRIPT", "KILL"]);
            }
        });
        let replies = callers.iter_mut().map(|caller| text(caller.read()));
        let replies = replies.collect();
        over.store(true, Ordering::Relaxed);
        replies
    })
}

#[test]
fn a_command_that_is_tried_again_counts_and_shows_once() {
    // No command is told that a script is busy: they wait.
    let server = Server::start(&["--busy-reply-threshold", "0"]);
    let mut monitor = server.client();
    assert_eq!(monitor.command(&["MONITOR"]), Reply::ok());
    let mut caller = server.client();
    caller.send(&encode(&["EVAL", "while true do end", "1", "key"]));
    let mut client = server.client();
    until("the script runs", || {
        let info = text(client.command(&["INFO", "clients"]));
        info.contains("blocked_clients:1\r")
    });
    let mut silent = server.client();
    silent.send(&encode(&["CLIENT", "REPLY", "SKIP"]));
    silent.send(&encode(&["SET", "key", "x"]));
    let line = |client: &mut Client| {
        let list = text(client.command(&["CLIENT", "LIST"]));
        let line = list.lines().find(|line| line.contains(" cmd=set "));
        line.unwrap_or_default().to_owned()
    };
    until("it waits", || line(&mut client).contains(" flags=b "));
    end_scripts(&mut client, std::slice::from_mut(&mut caller));
    silent.send(&encode(&["PING"]));
    assert_eq!(silent.read(), Reply::Simple("PONG".into()));
    assert_eq!(text(client.command(&["GET", "key"])), "x");
    let list = text(client.command(&["CLIENT", "LIST"]));
    let ours = list.lines().find(|line| line.contains(" cmd=ping "));
    assert!(ours.expect("it is there").contains(" tot-cmds=3"), "{list}");
    client.command(&["ECHO", "end"]);
    let mut shown = 0;
    loop {
        let line = text(monitor.read());
        shown += usize::from(line.contains("\"SET\" \"key\""));
        if line.contains("\"ECHO\"") {
            break;
        }
    }
    assert_eq!(shown, 1);
}

#[test]
fn a_read_that_was_put_off_by_a_script_does_not_wait_for_the_end_of_a_pause() {
    let server = Server::start(&["--busy-reply-threshold", "600000"]);
    let (mut caller, mut client, mut reader) = (server.client(), server.client(), server.client());
    client.command(&["SET", "k", "1"]);
    caller.send(&encode(&["EVAL", "while true do end", "1", "k"]));
    until("the script runs", || {
        let list = text(client.command(&["CLIENT", "LIST", "FLAGS", "b"]));
        list.contains("cmd=eval")
    });
    let mut pauser = server.client();
    pauser.send(&encode(&["CLIENT", "PAUSE", "600000", "WRITE"]));
    until("writes are paused", || {
        let info = text(client.command(&["INFO", "clients"]));
        info.contains("paused_actions:write\r")
    });
    reader.send(&encode(&["GET", "k"]));
    until("the reader waits", || {
        let list = text(client.command(&["CLIENT", "LIST", "FLAGS", "b"]));
        list.contains("cmd=get")
    });
    until("the script is killed", || {
        client.command(&["SCRIPT", "KILL"]) == Reply::ok()
    });
    assert_eq!(reader.read(), Reply::bulk("1"));
    assert_eq!(pauser.read(), Reply::ok());
}

#[test]
fn nobody_who_comes_across_the_key_of_an_endless_script_holds_up_the_others() {
    let server = Server::start(&["--busy-reply-threshold", "50", "--io-threads", "2"]);
    let mut others: Vec<Client> = (0..8).map(|_| server.client()).collect();
    let mut waiter = server.client();
    waiter.send(&encode(&["BLMOVE", "src", "dst", "LEFT", "RIGHT", "0"]));
    until("it waits", || {
        let info = text(others[0].command(&["INFO", "clients"]));
        info.contains("blocked_clients:1\r")
    });
    for client in &mut others[..4] {
        client.command(&["WATCH", "dst"]);
        client.command(&["MULTI"]);
        client.command(&["SET", "other", "1"]);
    }
    // At once, from all workers.
    let mut callers: Vec<Client> = (0..4).map(|_| server.client()).collect();
    let endless = encode(&["EVAL", "while true do end", "1", "dst"]);
    callers.iter_mut().for_each(|caller| caller.send(&endless));
    until("the script is busy", || {
        others[4].command(&["GET", "dst"]).error_code() == Some("BUSY")
    });
    for client in &mut others[4..] {
        assert_eq!(client.command(&["RPUSH", "src2", "x"]).error_code(), None);
        assert_eq!(client.command(&["RPUSH", "src", "x"]).error_code(), None);
    }
    for client in &mut others[..4] {
        let refused = text(client.command(&["EXEC"]));
        assert!(refused.contains("BUSY"), "{refused}");
    }
    for client in &mut others {
        assert_eq!(client.command(&["PING"]), Reply::Simple("PONG".into()));
    }
    for reply in end_scripts(&mut others[0], &mut callers) {
        assert!(
            reply.contains("killed") || reply.starts_with("BUSY"),
            "{reply}"
        );
    }
    // Now the one who waited is served.
    assert_eq!(text(waiter.read()), "x");
    assert_eq!(others[0].command(&["LLEN", "src"]), Reply::Integer(3));
}

#[test]
fn keys_of_an_endless_script_are_not_in_the_way_of_eviction() {
    let directives = ["--busy-reply-threshold", "50", "--io-threads", "2"];
    let server = Server::start(&directives);
    let mut client = server.client();
    let fill = "for i = 1, 20000 do redis.call('SET', KEYS[1] .. i, string.rep('x', 400)) end";
    assert_eq!(eval(&mut client, fill, &["key"], &[]), Reply::Null);
    client.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let field = |client: &mut Client, name: &str| -> u64 {
        let info = text(client.command(&["INFO", "everything"]));
        let value = info.lines().find_map(|line| line.strip_prefix(name));
        value.expect(name).trim().parse().expect("a number")
    };
    let limit = (field(&mut client, "used_memory:") - (4 << 20)).to_string();
    let set = ["CONFIG", "SET", "maxmemory", &limit];
    assert_eq!(text(client.command(&set)), "OK");
    let mut callers = [server.client()];
    callers[0].send(&encode(&["EVAL", "while true do end", "1", "dst"]));
    until("the script is busy", || {
        client.command(&["GET", "dst"]).error_code() == Some("BUSY")
    });
    let before = field(&mut client, "evicted_keys:");
    let mut writers: Vec<Client> = (0..8).map(|_| server.client()).collect();
    let mut round = 0;
    while field(&mut client, "evicted_keys:") < before + 3000 {
        round += 1;
        assert!(round < 1000, "too little was evicted");
        for (number, writer) in writers.iter_mut().enumerate() {
            let key = format!("new{round}:{number}");
            let set = writer.command(&["SET", &key, &"y".repeat(20_000)]);
            let told = text(set);
            assert!(told == "OK" || told.starts_with("BUSY"), "{told}");
        }
    }
    end_scripts(&mut client, &mut callers);
}

/// The server's id of a connection.
fn id_of(client: &mut Client) -> String {
    match client.command(&["CLIENT", "ID"]) {
        Reply::Integer(id) => id.to_string(),
        other => panic!("{other:?} is no id"),
    }
}

#[test]
fn who_waits_for_his_own_script_cannot_be_unblocked() {
    let server = Server::start(&["--busy-reply-threshold", "60000"]);
    let (mut admin, mut caller) = (server.client(), server.client());
    let id = id_of(&mut caller);
    caller.send(&encode(&["EVAL", "while true do end", "0"]));
    until("the script is set aside", || {
        text(admin.command(&["INFO", "clients"])).contains("blocked_clients:1\r\n")
    });
    for how in ["TIMEOUT", "ERROR"] {
        let unblock = ["CLIENT", "UNBLOCK", &id, how];
        assert_eq!(admin.command(&unblock), Reply::Integer(0));
    }
    // Who becomes a replica ends all waits.
    let primary = ["REPLICAOF", "127.0.0.1", "1"];
    assert_eq!(admin.command(&primary), Reply::ok());
    assert_eq!(admin.command(&["REPLICAOF", "NO", "ONE"]), Reply::ok());
    assert_eq!(admin.command(&["SCRIPT", "KILL"]), Reply::ok());
    let killed = text(caller.read());
    assert!(killed.contains("killed by user"), "{killed}");
    // One that was closed waits no more, though its script goes on.
    let mut caller = server.client();
    let id = id_of(&mut caller);
    caller.send(&encode(&["EVAL", "while true do end", "0"]));
    until("the script is set aside", || {
        text(admin.command(&["INFO", "clients"])).contains("blocked_clients:1\r\n")
    });
    let kill = ["CLIENT", "KILL", "ID", &id];
    assert_eq!(admin.command(&kill), Reply::Integer(1));
    until("it waits no more", || {
        text(admin.command(&["INFO", "clients"])).contains("blocked_clients:0\r\n")
    });
    assert_eq!(admin.command(&["SCRIPT", "KILL"]), Reply::ok());
}

/// A bound on the threads of a server, in a control group of its own.
struct ThreadLimit<'a> {
    group: PathBuf,
    server: &'a Server,
}

impl ThreadLimit<'_> {
    /// Allows a server no thread more than it has. None, said aloud, where there
    /// are no such groups.
    fn new(server: &Server) -> Option<ThreadLimit<'_>> {
        let pid = server.pid().to_string();
        let groups = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"];
        for group in groups.map(|root| Path::new(root).join(format!("redoubt-{pid}"))) {
            if fs::create_dir(&group).is_err() {
                continue;
            }
            let limit = ThreadLimit { group, server };
            let moved = limit.write("cgroup.procs", &pid);
            let count = fs::read_to_string(limit.group.join("pids.current"));
            if let (true, Ok(count)) = (moved, count)
                && limit.write("pids.max", count.trim())
            {
                return Some(limit);
            }
        }
        eprintln!("SKIPPED: no control group can be made here");
        None
    }

    fn write(&self, file: &str, text: &str) -> bool {
        fs::write(self.group.join(file), text).is_ok()
    }
}

impl Drop for ThreadLimit<'_> {
    fn drop(&mut self) {
        // Back to where this process is, or the group could not be removed.
        let above = self.group.parent().expect("a group is in another");
        let _ = fs::write(above.join("cgroup.procs"), self.server.pid().to_string());
        let _ = fs::remove_dir(&self.group);
    }
}

#[test]
fn a_long_script_runs_to_its_end_where_no_thread_can_be_had() {
    let server = Server::start(&[]);
    let mut clients: Vec<Client> = (0..6).map(|_| server.client()).collect();
    let slow = "for i = 1, 3000000 do end redis.call('INCR', KEYS[1]) for i = 1, 3000000 do end return redis.call('INCR', KEYS[1])";
    let limit = ThreadLimit::new(&server);
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(&encode(&["EVAL", slow, "1", &format!("key{number}")]));
    }
    for client in &mut clients {
        assert_eq!(client.read(), Reply::Integer(2));
    }
    // Any key may be touched by one that begins again with all of them.
    let roams = "for i = 1, 3000000 do end return redis.call('INCR', 'key1')";
    assert_eq!(eval(&mut clients[0], roams, &[], &[]), Reply::Integer(3));
    drop(limit);
    assert_eq!(
        eval(&mut clients[0], slow, &["key0"], &[]),
        Reply::Integer(4)
    );
}

#[test]
fn what_libraries_build_is_within_a_scripts_memory() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let shared = "local t = {} for i = 1, 100 do t[i] = string.rep('x', 1000000) end local u = {} for i = 1, 60 do u[i] = t end";
    for build in [
        "cjson.encode(u)",
        "cmsgpack.pack(u)",
        "struct.pack(string.rep('s', 2000), unpack(w))",
        "cjson.encode(string.rep('\\1', 300000000))",
    ] {
        let script = format!(
            "{shared} local w = {{}} for i = 1, 2000 do w[i] = t[1] end w = {{pcall(function() return #{build} end)}} table.insert(w, 1, 'more') return tostring(w[3])"
        );
        let said = text(eval(&mut client, &script, &[], &[]));
        assert!(said.ends_with("not enough memory"), "{build}: {said}");
    }
    let most = server.most_resident_bytes();
    // What one build has freed may still be there when the next one begins.
    assert!(most < 5 << 30, "{most} bytes");
}

#[test]
fn a_native_loop_without_end_can_be_killed() {
    let server = Server::start(&[]);
    let mut admin = server.client();
    let shared = "local t = {} for i = 1, 40 do t = {t, t} end";
    for endless in [
        "table.insert({}, -2147483648, 1)".to_owned(),
        format!("{shared} cjson.encode(t)"),
        "string.find(string.rep('(', 3000000), '%b()')".to_owned(),
        "string.find(string.rep('b', 1e6), '[' .. string.rep('a', 1e6) .. ']')".to_owned(),
    ] {
        let mut caller = server.client();
        caller.send(&encode(&["EVAL", &endless, "1", "key"]));
        until("the script is killed", || {
            admin.command(&["SCRIPT", "KILL"]) == Reply::ok()
        });
        let killed = text(caller.read());
        assert!(killed.contains("killed by user"), "{endless}: {killed}");
    }
}

#[test]
fn commands_of_functions_know_a_busy_script_that_has_written() {
    let server = Server::start(&["--busy-reply-threshold", "10"]);
    let (mut client, mut other) = (server.client(), server.client());
    let script = "redis.call('set', 'a', 1) while true do end";
    client.send(&encode(&["EVAL", script, "0"]));
    support::eventually("it is busy", || {
        other.command(&["GET", "b"]).error_code() == Some("BUSY")
    });
    for (command, code) in [
        (["FUNCTION", "STATS"], "BUSY"),
        (["FUNCTION", "KILL"], "UNKILLABLE"),
        (["SCRIPT", "KILL"], "UNKILLABLE"),
    ] {
        assert_eq!(other.command(&command).error_code(), Some(code));
    }
}

/// Ends what other threads do until this is true, even if the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A script of some ten milliseconds, which is long.
const LONG: &str = "for i = 1, 3000000 do local x = i * i end return 1";

#[test]
fn what_was_sent_behind_a_long_script_runs_though_nothing_more_comes() {
    let server = Server::start(&[]);
    let mut admin = server.client();
    let requests = [encode(&["EVAL", LONG, "0"]), encode(&["INCR", "n"])].concat();
    let mut half = server.client();
    half.send(&requests.repeat(2));
    half.shutdown_write();
    let replies = half.read_to_close().expect("it is closed in the end");
    assert_eq!(
        String::from_utf8_lossy(&replies),
        ":1\r\n:1\r\n:1\r\n:2\r\n"
    );
    let mut gone = server.client();
    gone.send(&requests);
    drop(gone);
    until("all has run", || text(admin.command(&["GET", "n"])) == "3");
    until("it is gone", || {
        text(admin.command(&["CLIENT", "LIST"])).lines().count() == 1
    });
}

#[test]
fn whoever_needs_many_keys_gets_his_turn_among_scripts() {
    let server = Server::start(&[]);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (mut client, over) = (server.client(), &over);
            scope.spawn(move || {
                let body = LONG.replace("return 1", "return redis.call('INCR', KEYS[1])");
                let key = format!("k{number}");
                while !over.load(Ordering::Relaxed) {
                    let reply = eval(&mut client, &body, &[&key], &[]);
                    assert!(matches!(reply, Reply::Integer(_)), "{reply:?}");
                }
            });
        }
        let _over = Over(&over);
        let mut client = server.client();
        until("all are at work", || {
            let keys = ["EXISTS", "k0", "k1", "k2", "k3"];
            client.command(&keys) == Reply::Integer(4)
        });
        let names: Vec<String> = (0..400).map(|number| format!("x{number}")).collect();
        let mut mset = vec!["MSET"];
        mset.extend(names.iter().flat_map(|name| [name.as_str(), "v"]));
        let incr: [&[&str]; 6] = [
            &["MULTI"],
            &["INCR", "k0"],
            &["INCR", "k1"],
            &["INCR", "k2"],
            &["INCR", "k3"],
            &["EXEC"],
        ];
        let alone: [&[&str]; 7] = [
            &mset,
            &["DBSIZE"],
            &["SCAN", "0"],
            &["CONFIG", "SET", "maxmemory", "0"],
            &["EVAL", "return redis.call('DBSIZE')", "0"],
            &["BGSAVE"],
            &["FLUSHALL"],
        ];
        let mut wrong = Vec::new();
        for command in incr.iter().chain(&alone) {
            client.send(&encode(command));
            match client.try_read() {
                Ok(Reply::Error(error)) => wrong.push(format!("{}: {error}", command[0])),
                Ok(_) => {}
                Err(error) => {
                    wrong.push(format!("{}: {error}", command[0]));
                    break;
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:?}");
    });
}

/// Has a script that names no keys call `last` once INFO has this line, which
/// comes true by what `meanwhile` does; gives the script's reply.
fn meanwhile(server: &Server, line: &str, last: &str, meanwhile: impl FnOnce()) -> Reply {
    let (mut caller, mut client) = (server.client(), server.client());
    let script = format!(
        "repeat until redis.call('INFO', 'everything'):find(ARGV[1], 1, true) return redis.call({last})"
    );
    caller.send(&encode(&["EVAL", &script, "0", line]));
    until("the script runs", || {
        let list = text(client.command(&["CLIENT", "LIST", "FLAGS", "b"]));
        list.contains("cmd=eval")
    });
    meanwhile();
    caller.read()
}

#[test]
fn who_begins_to_mind_a_key_while_a_script_runs_hears_of_its_change() {
    let server = Server::start(&["--busy-reply-threshold", "0"]);
    let one = Reply::Integer(1);

    let mut waiter = server.client();
    let pushed = meanwhile(&server, "blocked_clients:2\r", "'RPUSH', 'q', 'v'", || {
        waiter.send(&encode(&["BLPOP", "q", "0"]));
    });
    assert_eq!(pushed, one);
    let popped = Reply::Array(vec![Reply::bulk("q"), Reply::bulk("v")]);
    assert_eq!(waiter.read(), popped);

    for last in ["'INCR', 'k'", "'FLUSHALL'"] {
        let mut client = server.client();
        client.command(&["SET", "k", "0"]);
        let changed = meanwhile(&server, "watching_clients:1\r", last, || {
            client.command(&["WATCH", "k"]);
            assert_eq!(client.command(&["GET", "k"]), Reply::bulk("0"));
        });
        assert!([one.clone(), Reply::ok()].contains(&changed), "{changed:?}");
        client.command(&["MULTI"]);
        client.command(&["SET", "k", "lost"]);
        assert_eq!(client.command(&["EXEC"]), Reply::Null, "{last}");
    }

    for (last, told) in [
        ("'SET', 'k', 'new'", Reply::Array(vec![Reply::bulk("k")])),
        ("'FLUSHALL'", Reply::Null),
    ] {
        let mut cache = server.client();
        cache.command(&["SET", "k", "old"]);
        cache.command(&["HELLO", "3"]);
        let set = meanwhile(&server, "tracking_total_keys:1\r", last, || {
            cache.command(&["CLIENT", "TRACKING", "ON"]);
            assert_eq!(cache.command(&["GET", "k"]), Reply::bulk("old"));
        });
        assert_eq!(set, Reply::ok());
        let message = Reply::Push(vec![Reply::bulk("invalidate"), told]);
        assert_eq!(cache.read(), message, "{last}");
    }
}

#[test]
fn a_script_that_began_before_a_pause_removes_nothing_that_has_expired() {
    let server = Server::start(&[
        "--busy-reply-threshold",
        "0",
        "--enable-debug-command",
        "yes",
    ]);
    let mut client = server.client();
    let passive = ["DEBUG", "SET-ACTIVE-EXPIRE", "0"];
    assert_eq!(client.command(&passive), Reply::ok());
    client.command(&["SET", "k", "v", "PX", "1"]);
    client.command(&["SET", "later", "v", "PX", "2"]);
    until("both have expired", || {
        client.command(&["EXISTS", "later"]) == Reply::Integer(0)
    });
    let expired = |client: &mut Client| {
        let info = text(client.command(&["INFO", "stats"]));
        let line = info.lines().find(|l| l.starts_with("expired_keys:"));
        line.expect("it is there").to_owned()
    };
    let before = expired(&mut client);
    let got = meanwhile(&server, "paused_actions:write\r", "'GET', 'k'", || {
        let pause = ["CLIENT", "PAUSE", "600000", "WRITE"];
        assert_eq!(client.command(&pause), Reply::ok());
    });
    assert_eq!(got, Reply::Null);
    assert_eq!(expired(&mut client), before);
    client.command(&["CLIENT", "UNPAUSE"]);
    assert_eq!(client.command(&["GET", "k"]), Reply::Null);
    assert_ne!(expired(&mut client), before);
}

/// `master_repl_offset`, as INFO has it.
fn offset(client: &mut Client) -> String {
    let info = text(client.command(&["INFO", "replication"]));
    let line = info.lines().find(|l| l.starts_with("master_repl_offset:"));
    line.expect("it is there").to_owned()
}

#[test]
fn a_script_that_comes_to_write_in_a_pause_waits_for_its_end() {
    let server = Server::start(&["--busy-reply-threshold", "0"]);
    let (mut caller, mut client) = (server.client(), server.client());
    let paused = "redis.call('INFO', 'commandstats'):find('client|pause', 1, true)";
    for (before, count) in [("", 1), ("redis.call('GET', 'k')", 2)] {
        client.command(&["CONFIG", "RESETSTAT"]);
        let script = format!("repeat until {paused} {before} return redis.call('INCR', 'k')");
        caller.send(&encode(&["EVAL", &script, "0"]));
        until("the script runs", || {
            let list = text(client.command(&["CLIENT", "LIST", "FLAGS", "b"]));
            list.contains("cmd=eval")
        });
        let pause = ["CLIENT", "PAUSE", "600000", "WRITE"];
        assert_eq!(client.command(&pause), Reply::ok());
        let (paused_at, counter) = (offset(&mut client), client.command(&["GET", "k"]));
        for _ in 0..1000 {
            assert_eq!(client.command(&["GET", "k"]), counter);
        }
        assert_eq!(offset(&mut client), paused_at);
        assert_eq!(client.command(&["CLIENT", "UNPAUSE"]), Reply::ok());
        assert_eq!(caller.read(), Reply::Integer(count));
    }
}

#[test]
fn nothing_enters_the_log_once_a_pause_is_answered() {
    let server = Server::start(&["--busy-reply-threshold", "0"]);
    let (mut caller, mut waiter, mut client) = (server.client(), server.client(), server.client());
    waiter.send(&encode(&["BLPOP", "q", "0"]));
    until("it waits", || {
        let list = text(client.command(&["CLIENT", "LIST", "FLAGS", "b"]));
        list.contains("cmd=blpop")
    });
    let script = "repeat until redis.call('INFO', 'clients'):find('paused_actions:write', 1, true) for i = 1, 20000000 do end return redis.call('RPUSH', KEYS[1], 'v')";
    caller.send(&encode(&["EVAL", script, "1", "q"]));
    until("the script runs", || {
        let list = text(client.command(&["CLIENT", "LIST", "FLAGS", "b"]));
        list.contains("cmd=eval")
    });
    let pause = ["CLIENT", "PAUSE", "600000", "WRITE"];
    assert_eq!(client.command(&pause), Reply::ok());
    let paused_at = offset(&mut client);
    assert_eq!(caller.read(), Reply::Integer(1));
    // Who waits for the key is served when the pause is over.
    assert_eq!(client.command(&["LLEN", "q"]), Reply::Integer(1));
    assert_eq!(offset(&mut client), paused_at);
    assert_eq!(client.command(&["CLIENT", "UNPAUSE"]), Reply::ok());
    let popped = Reply::Array(vec![Reply::bulk("q"), Reply::bulk("v")]);
    assert_eq!(waiter.read(), popped);
}
