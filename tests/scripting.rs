//! Scripts and functions: what they do and leave behind, what a crash leaves of
//! it, and what others can do while one runs for long.

mod support;

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

#[test]
fn no_script_brings_the_server_down() {
    let server = Server::start(&["--busy-reply-threshold", "60000"]);
    let mut client = server.client();
    let cases = [
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
            "local t = {} for i = 1, 250 do t = {t} end return coroutine.wrap(function() return redis.call('NOSUCH') end)()",
            "Unknown command",
        ),
    ];
    for (script, wanted) in cases {
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
