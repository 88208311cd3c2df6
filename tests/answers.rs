//! Answers word for word, and what is counted meanwhile: where clients and the
//! upstream suite look at them, they are those of Valkey 9.1.

mod support;

use support::{Client, Reply, Server, eventually};

/// Runs a line of words, in which `''` is an empty one.
fn run(client: &mut Client, line: &str) -> Reply {
    let words: Vec<&str> = line
        .split(' ')
        .map(|word| word.trim_matches('\''))
        .collect();
    client.command(&words)
}

/// The text of a reply that is one.
fn text(reply: Reply) -> String {
    reply
        .text()
        .unwrap_or_else(|| panic!("{reply:?} is no text"))
}

#[test]
fn refusals_name_what_is_wrong() {
    let server = Server::start(&[]);
    let mut client = server.client();
    const NO_CLUSTER: &str = "ERR This instance has cluster support disabled";
    const FIELDS: &str =
        "ERR numfields should be greater than 0 and match the provided number of fields";
    for (line, expected) in [
        ("CLUSTER ADDSLOTS x", NO_CLUSTER),
        ("CLUSTER DELSLOTS 99999", NO_CLUSTER),
        (
            "CLUSTER ADDSLOTSRANGE 1",
            "ERR wrong number of arguments for 'cluster|addslotsrange' command",
        ),
        ("CLUSTER ADDSLOTSRANGE 1 x", NO_CLUSTER),
        ("CLUSTER DELSLOTSRANGE 1 2 3", NO_CLUSTER),
        (
            "CLIENT IMPORT-SOURCE ON",
            "ERR Server is not in import mode",
        ),
        ("CLIENT IMPORT-SOURCE x", "ERR Server is not in import mode"),
        (
            "WAITAOF 0 x 1",
            "ERR value is out of range, must be positive",
        ),
        ("HPEXPIRE h 1 BAD X FIELDS", FIELDS),
        ("HEXPIRE h 1 NX GT FIELDS", FIELDS),
        ("HEXPIRE h 1 BAD FIELDS 1 f", "ERR Unsupported option BAD"),
    ] {
        let reply = run(&mut client, line);
        assert_eq!(text(reply), expected, "{line}");
    }
    assert_eq!(run(&mut client, "CLIENT IMPORT-SOURCE OFF"), Reply::ok());
    assert_eq!(run(&mut client, "CLUSTER KEYSLOT a"), Reply::Integer(15495));
}

#[test]
fn an_unknown_command_is_no_array_of_resp2() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.send(b"COMMAND INFO nosuch\r\n");
    client.shutdown_write();
    assert_eq!(client.read_to_close().ok(), Some(b"*1\r\n$-1\r\n".to_vec()));
}

#[test]
fn migrate_has_the_keys_behind_its_word_or_the_one_before() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for (line, keys) in [
        ("MIGRATE h 1 '' 0 1 KEYS a b", &["a", "b"][..]),
        ("MIGRATE h 1 '' 0 1 AUTH2 KEYS KEYS KEYS a", &["a"]),
        ("MIGRATE h 1 k 0 1 COPY", &["k"]),
    ] {
        let keys: Vec<Reply> = keys.iter().map(Reply::bulk).collect();
        let found = run(&mut client, &format!("COMMAND GETKEYS {line}"));
        assert_eq!(found, Reply::Array(keys), "{line}");
    }
    run(
        &mut client,
        "ACL SETUSER u on nopass +migrate +copy +move ~a ~b resetdbs db=1",
    );
    run(&mut client, "SELECT 1");
    for (line, expected) in [
        ("MIGRATE h 1 '' 0 1 KEYS a b", "OK"),
        (
            "MIGRATE h 1 '' 0 1 KEYS a c",
            "User u has no permissions to access the 'c' key",
        ),
        (
            "MIGRATE h 1 '' 0 1",
            "User u has no permissions to access the '' key",
        ),
        (
            "COPY a b DB 2",
            "User u has no permissions to access database 2",
        ),
        ("MOVE a 3", "User u has no permissions to access database 3"),
        ("COPY a b", "OK"),
    ] {
        let reply = run(&mut client, &format!("ACL DRYRUN u {line}"));
        assert_eq!(text(reply), expected, "{line}");
    }
    run(&mut client, "SELECT 0");
    let reply = run(&mut client, "ACL DRYRUN u COPY a b DB 2");
    assert_eq!(
        text(reply),
        "User u has no permissions to access database 2"
    );
}

#[test]
fn a_first_line_that_is_wrong_is_told_of_in_valkeys_words() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for (line, expected) in [
        ("#!foo", "Could not find scripting engine 'foo'"),
        ("#!foo flags=x", "Unexpected flag in script shebang: x"),
        ("#! lua", "Unknown lua shebang option: lua"),
        ("#!lua flags=,,", "Unexpected flag in script shebang: "),
        (
            "#!lua flags=no-writes,",
            "Unexpected flag in script shebang: ",
        ),
        ("#!lua x=1", "Unknown lua shebang option: x=1"),
    ] {
        let script = format!("{line}\nreturn 1");
        for command in [&["EVAL", &script, "0"][..], &["SCRIPT", "LOAD", &script]] {
            assert_eq!(
                text(client.command(command)),
                format!("ERR {expected}"),
                "{line}"
            );
        }
    }
    let reply = client.command(&["EVAL", "#!lua flags=\nreturn 1", "0"]);
    assert_eq!(reply, Reply::Integer(1));
}

#[test]
fn a_library_that_cannot_be_is_told_of_in_valkeys_words() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let register =
        |name: &str| format!("server.register_function('{name}', function() return 1 end)");
    let mut load = |body: &str| {
        let code = format!("#!lua name=l\n{body}");
        text(client.command(&["FUNCTION", "LOAD", &code]))
    };
    const BAD_NAME: &str = "ERR Function names can only contain letters, numbers, or underscores(_) and must be at least one character long";
    assert_eq!(load(&register("f-1")), BAD_NAME);
    assert_eq!(load(&register("")), BAD_NAME);
    let twice = format!("{}\n{}", register("a"), register("a"));
    assert_eq!(load(&twice), "ERR Function already exists in the library");
    assert_eq!(load(&register("a")), "l");
    for body in [register("a"), "error('x')".into(), "return +".into()] {
        assert_eq!(load(&body), "ERR Library 'l' already exists");
    }
}

/// The statistics that look-ups and expiry count, and the events of both.
fn counters(client: &mut Client) -> Vec<i64> {
    let info = text(run(client, "INFO stats"));
    let names = [
        "keyspace_hits",
        "keyspace_misses",
        "expired_keys",
        "expired_fields",
    ];
    let value = |name: &&str| {
        let line = info
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name}:")));
        line.and_then(|value| value.parse().ok()).expect("a number")
    };
    names.iter().map(value).collect()
}

/// What is there before each of the commands that are counted.
const FIXTURE: [&str; 11] = [
    "FLUSHALL",
    "SET k v",
    "SET k2 v",
    "HSET h f 1 g 2",
    "HSET hx f 1 g 2",
    "HEXPIRE hx 1000 FIELDS 1 f",
    "SADD s a b c d",
    "XADD st 1-1 a b",
    "XADD st 2-1 a b",
    "XGROUP CREATE st g 0",
    "XREADGROUP GROUP g c COUNT 1 STREAMS st >",
];

#[test]
fn each_command_counts_its_look_ups_and_what_expires_by_it() {
    let server = Server::start(&[]);
    let mut client = server.client();
    // Each line: the command; hits, misses, expired keys, expired fields.
    for (line, expected) in [
        ("HGETEX h FIELDS 1 f", [1, 0, 0, 0]),
        ("HGETEX none FIELDS 1 f", [0, 1, 0, 0]),
        ("HGETEX h PXAT 1 FIELDS 2 f g", [1, 0, 0, 2]),
        ("HEXPIRE h 100 FIELDS 1 f", [0; 4]),
        ("HEXPIRE none 100 FIELDS 1 f", [0; 4]),
        ("HPEXPIREAT h 1 FIELDS 2 f g", [0, 0, 0, 2]),
        ("HPERSIST hx FIELDS 1 f", [0; 4]),
        ("HPERSIST none FIELDS 1 f", [0; 4]),
        ("HSETEX h FXX FIELDS 1 f 1", [0; 4]),
        ("HSETEX none EXAT 1 FIELDS 1 new 1", [0, 0, 0, 1]),
        ("HTTL h FIELDS 1 f", [1, 0, 0, 0]),
        ("RENAME k k9", [0; 4]),
        ("RENAMENX none k2", [0; 4]),
        ("MOVE k 1", [0; 4]),
        ("XGROUP CREATE st g2 0", [0; 4]),
        ("XREADGROUP GROUP g c STREAMS st st > >", [4, 0, 0, 0]),
        ("XACK st g 1-1", [1, 0, 0, 0]),
        ("XACK none g 1-1", [0, 1, 0, 0]),
        ("XCLAIM st g c 0 1-1", [1, 0, 0, 0]),
        ("XAUTOCLAIM st g c 0 0", [1, 0, 0, 0]),
        ("SPOP s 2", [0; 4]),
        ("SPOP s 10", [1, 0, 0, 0]),
        ("MIGRATE 127.0.0.1 1 none 0 100", [0, 1, 0, 0]),
        ("OBJECT ENCODING none", [0, 1, 0, 0]),
        ("EXPIRE k -1", [0, 0, 1, 0]),
        ("SET k v EXAT 1", [0, 0, 1, 0]),
        ("SET none v EXAT 1", [0; 4]),
        ("GETEX k PXAT 1", [1, 0, 1, 0]),
    ] {
        for before in FIXTURE {
            run(&mut client, before);
        }
        let before = counters(&mut client);
        run(&mut client, line);
        let after = counters(&mut client);
        let counted: Vec<i64> = after.iter().zip(before).map(|(a, b)| a - b).collect();
        assert_eq!(counted, expected, "{line}");
    }
}

#[test]
fn a_key_that_is_missed_is_told_of_once() {
    let server = Server::start(&["--notify-keyspace-events", "Em"]);
    let mut client = server.client();
    let mut listener = server.client();
    run(&mut listener, "SUBSCRIBE __keyevent@0__:keymiss");
    for line in [
        "OBJECT FREQ no1",
        "HEXPIRE no2 1 FIELDS 1 f",
        "HGETEX miss1 FIELDS 1 f",
        "RENAME no3 k",
        "XACK miss2 g 1-1",
        "MIGRATE h 1 miss3 0 100",
        "GET miss4",
    ] {
        run(&mut client, line);
    }
    for number in 1..=4 {
        let Reply::Array(parts) = listener.read() else {
            panic!("no message");
        };
        assert_eq!(parts[2], Reply::bulk(format!("miss{number}")));
    }
}

/// The value of a field of the client's own line in CLIENT LIST.
fn listed(watcher: &mut Client, id: &Reply, name: &str) -> String {
    let Reply::Integer(id) = id else {
        panic!("{id:?} is no id");
    };
    let line = text(run(watcher, &format!("CLIENT LIST ID {id}")));
    let prefix = format!("{name}=");
    let field = line
        .trim()
        .split(' ')
        .find_map(|field| field.strip_prefix(&prefix));
    field.expect("the field").to_owned()
}

#[test]
fn a_client_is_listed_with_what_its_transaction_holds() {
    let server = Server::start(&[]);
    let mut other = server.client();
    // Each line: what the client and, after an @, another one say; then
    // `multi`, `watch`, `cmd` and `flags`.
    for (line, expected) in [
        ("PING", "-1 0 ping N"),
        ("MULTI,GET k", "1 0 get x"),
        ("MULTI,GET k,EXEC", "0 0 exec N"),
        ("MULTI,DISCARD", "0 0 discard N"),
        ("MULTI,EXEC,GET k", "0 0 get N"),
        ("WATCH k", "0 1 watch N"),
        ("WATCH k,@SET k v", "0 0 watch d"),
        ("WATCH k,@SET k v,MULTI,GET a", "0 0 get xd"),
        ("CLIENT TRACKING ON,MULTI", "0 0 multi xt"),
        ("MULTI,GET k,NOSUCH", "0 0 NULL x"),
        ("MULTI,GET k,GET", "0 0 get x"),
        ("NOSUCH", "-1 0 NULL N"),
        ("CLIENT nosuch", "-1 0 NULL N"),
        ("CONFIG", "-1 0 config N"),
        ("READONLY", "-1 0 readonly r"),
        ("READONLY,READWRITE", "-1 0 readwrite N"),
    ] {
        let mut client = server.client();
        let id = run(&mut client, "CLIENT ID");
        for step in line.split(',') {
            match step.strip_prefix('@') {
                Some(step) => run(&mut other, step),
                None => run(&mut client, step),
            };
        }
        let fields = ["multi", "watch", "cmd", "flags"];
        let found = fields.map(|name| listed(&mut other, &id, name));
        assert_eq!(found.join(" "), expected, "{line}");
    }
}

#[test]
fn what_is_told_of_versions_lets_clients_use_what_there_is() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let version = |client: &mut Client| {
        let Reply::Array(parts) = run(client, "HELLO") else {
            panic!("no array");
        };
        [1, 3, 9].map(|at| text(parts[at].clone())).join(" ")
    };
    assert_eq!(version(&mut client), "redoubt 9.1.2 standalone");
    run(&mut client, "CONFIG SET extended-redis-compatibility yes");
    assert_eq!(version(&mut client), "redis 7.2.4 standalone");
    let info = text(run(&mut client, "INFO server"));
    for line in [
        "redis_version:7.2.4",
        "valkey_version:9.1.2",
        "clients_hz:10",
    ] {
        assert!(info.lines().any(|found| found == line), "{line}");
    }
    let stats = text(run(&mut client, "INFO stats"));
    assert!(stats.contains("io_threaded_freed_objects:0\r\n"));
}

#[test]
fn scripts_without_room_are_refused_in_the_words_of_commands() {
    let server = Server::start(&[]);
    let mut client = server.client();
    run(&mut client, "CONFIG SET maxmemory 1");
    const OOM: &str = "OOM command not allowed when used memory > 'maxmemory'.";
    let write = "return redis.call('set', KEYS[1], 1)";
    for (command, head) in [
        ("EVAL", "#!lua\n"),
        ("EVAL_RO", "#!lua\n"),
        ("EVAL", "#!lua flags=no-writes\n"),
        ("EVAL_RO", ""),
    ] {
        let script = format!("{head}{write}");
        let refused = text(client.command(&[command, &script, "1", "key"]));
        assert!(refused.starts_with(OOM), "{command} {head}: {refused}");
    }
    let script = format!("#!lua flags=allow-oom\n{write}");
    let ran = client.command(&["EVAL", &script, "1", "key"]);
    assert_eq!(ran, Reply::ok());
}

#[test]
fn of_several_places_to_store_the_last_one_is_the_key() {
    let server = Server::start(&[]);
    let mut client = server.client();
    run(&mut client, "GEOADD a 1 1 m");
    for (line, stored) in [
        ("GEORADIUS a 1 1 9 km STORE b STOREDIST c", "c"),
        ("GEORADIUS a 1 1 9 km STOREDIST c STORE b", "b"),
        ("GEORADIUS a 1 1 9 km STORE b STORE d", "d"),
        ("GEORADIUSBYMEMBER a m 9 km STORE b STOREDIST e", "e"),
        ("GEORADIUS store 1 1 9 km STORE f", "f"),
    ] {
        let Reply::Array(keys) = run(&mut client, &format!("COMMAND GETKEYS {line}")) else {
            panic!("{line}: no array");
        };
        let source = line.split(' ').nth(1).expect("a key");
        assert_eq!(keys, [source, stored].map(Reply::bulk), "{line}");
        let found = i64::from(source == "a");
        assert_eq!(run(&mut client, line), Reply::Integer(found), "{line}");
        let exists = run(&mut client, &format!("EXISTS {stored}"));
        assert_eq!(exists, Reply::Integer(found), "{line}");
    }
    // No other key is open to those who may use one.
    run(&mut client, "ACL SETUSER user nopass +georadius ~a ~b on");
    assert_eq!(run(&mut client, "AUTH user x"), Reply::ok());
    for key in 0..64 {
        let line = format!("GEORADIUS a 1 1 9 km STORE b STORE key{key}");
        let refused = text(run(&mut client, &line));
        assert!(refused.starts_with("NOPERM"), "{line}: {refused}");
    }
}

#[test]
fn words_of_cjson_and_of_libraries_are_taken_as_valkey_does() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for (script, expected) in [
        (
            r#"cjson.decode('"\\ude00"')"#,
            "invalid unicode escape code",
        ),
        (
            r#"cjson.decode('"\\ud83dx"')"#,
            "invalid unicode escape code",
        ),
        (
            r#"cjson.decode('"\\uzzzz"')"#,
            "invalid unicode escape code",
        ),
        (r#"cjson.decode('"\\x"')"#, "invalid escape code"),
        ("cjson.decode('[.5]')", "invalid token at character 2"),
        (r#"cjson.decode('"\\ud83d\\ude00"')"#, "\u{1f600}"),
        ("cjson.decode('[-.5]')[1]", "-0.5"),
        ("cjson.encode_invalid_numbers('on')", "true"),
        ("cjson.encode_invalid_numbers('off')", "false"),
        ("cjson.encode_invalid_numbers('null')", "null"),
        ("cjson.encode_invalid_numbers(false)", "false"),
        (
            "cjson.encode_invalid_numbers('x')",
            "bad argument #1 to 'encode_invalid_numbers' (invalid option 'x')",
        ),
        ("cjson.encode_keep_buffer('off')", "false"),
        (
            "cjson.encode_keep_buffer('no')",
            "bad argument #1 to 'encode_keep_buffer' (invalid option 'no')",
        ),
        (
            "cjson.decode_invalid_numbers('null')",
            "bad argument #1 to 'decode_invalid_numbers' (invalid option 'null')",
        ),
        (
            "cjson.encode_sparse_array('x')",
            "bad argument #1 to 'encode_sparse_array' (invalid option 'x')",
        ),
    ] {
        let given = text(client.command(&["EVAL", &format!("return tostring({script})"), "0"]));
        assert!(given.contains(expected), "{script}: {given}");
    }
    for (arguments, expected) in [
        ("{1}", "unknown argument given to server.register_function"),
        (
            "{[true] = 1}",
            "named argument key given to server.register_function is not a string",
        ),
    ] {
        let library = format!("#!lua name=lib\nredis.register_function({arguments})");
        let refused = text(client.command(&["FUNCTION", "LOAD", &library]));
        let expected = format!("ERR Error registering functions: ERR {expected}");
        assert_eq!(refused, expected, "{arguments}");
    }
}

#[test]
fn numbers_of_databases_are_read_as_valkey_does() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for (rule, refusal) in [
        ("db=01", ""),
        ("db=1, 2", ""),
        ("db=+1", ""),
        ("db=1,2,", "Syntax error"),
        ("db=1 ", "Syntax error"),
        ("db=1x", "Syntax error"),
        ("db=-", "Syntax error"),
        ("db=-1", "The provided database ID is out of range"),
        ("db=2147483648", "The provided database ID is out of range"),
        (
            "db=99999999999999999999",
            "The provided database ID is out of range",
        ),
    ] {
        let reply = text(client.command(&["ACL", "SETUSER", "user", rule]));
        let expected = match refusal {
            "" => "OK".to_owned(),
            _ => format!("ERR Error in ACL SETUSER modifier '{rule}': {refusal}"),
        };
        assert_eq!(reply, expected);
    }
    let refused = text(run(&mut client, "SLOWLOG GET 1 2"));
    assert_eq!(
        refused,
        "ERR unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG HELP."
    );
    run(&mut client, "HELLO 3");
    let listed = run(&mut client, "COMMAND LIST FILTERBY PATTERN xad*");
    assert_eq!(listed, Reply::Array(vec![Reply::bulk("xadd")]));
    let all = run(&mut client, "COMMAND LIST");
    assert!(matches!(all, Reply::Array(_)));
}

#[test]
fn values_with_which_valkey_starts_are_taken() {
    let set = [
        ("io-threads", "256"),
        ("slot-migration-max-failover-repl-bytes", "-1"),
        ("cluster-blacklist-ttl", "-1"),
    ];
    let words: Vec<String> = set
        .iter()
        .flat_map(|(name, value)| [format!("--{name}"), value.to_string()])
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let server = Server::start(&words);
    let mut client = server.client();
    for (name, value) in set {
        let shown = Reply::Array([name, value].map(Reply::bulk).to_vec());
        assert_eq!(run(&mut client, &format!("CONFIG GET {name}")), shown);
    }
    let limit = "slot-migration-max-failover-repl-bytes";
    for (value, reason) in [
        (
            "-2",
            "argument must be between -1 and 9223372036854775807 inclusive",
        ),
        ("-1gb", "argument must be a memory value"),
    ] {
        let refused = text(run(&mut client, &format!("CONFIG SET {limit} {value}")));
        assert!(refused.ends_with(reason), "{refused}");
    }
    for value in ["1073741824", "-1", "0"] {
        let line = format!("CONFIG SET {limit} {value}");
        assert_eq!(run(&mut client, &line), Reply::ok());
        let shown = Reply::Array([limit, value].map(Reply::bulk).to_vec());
        assert_eq!(run(&mut client, &format!("CONFIG GET {limit}")), shown);
    }
}

#[test]
fn small_matters_are_answered_as_valkey_does() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for line in [
        "SCAN 0 NOVALUES",
        "SCAN 0 COUNT 5 NOVALUES",
        "ZSCAN z 0 NOVALUES",
    ] {
        run(&mut client, "ZADD z 1 a");
        let refused = text(run(&mut client, line));
        assert_eq!(
            refused, "ERR NOVALUES option can only be used in HSCAN",
            "{line}"
        );
    }
    for timeout in ["0x1p-6", "0x.01", "+0X.4P-8"] {
        assert_eq!(run(&mut client, &format!("BLPOP l {timeout}")), Reply::Null);
    }
    for (timeout, expected) in [
        ("0x", "ERR timeout is not a float or out of range"),
        ("0x1p", "ERR timeout is not a float or out of range"),
        ("0x1..1", "ERR timeout is not a float or out of range"),
        ("-0x1", "ERR timeout is negative"),
        ("0x1p9999", "ERR timeout is out of range"),
    ] {
        assert_eq!(
            text(run(&mut client, &format!("BLPOP l {timeout}"))),
            expected
        );
    }
    for line in ["CONFIG NOPE", "CLIENT NOPE x", "CONFIG"] {
        run(&mut client, line);
    }
    let stats = text(run(&mut client, "INFO commandstats"));
    assert!(stats.contains("cmdstat_config:calls=0,usec=0,usec_per_call=0.00,rejected_calls=1,"));
    assert!(!stats.contains("cmdstat_client:"), "{stats}");
}

#[test]
fn counts_of_a_pipeline_are_seen_and_reset_within_it() {
    let server = Server::start(&[]);
    let mut client = server.client();
    run(&mut client, "SET there 1");
    let mut last = |pipeline: &str, replies: usize| {
        let last = client.pipeline(pipeline.as_bytes(), replies).pop();
        last.expect("a reply")
    };
    let histogram = last("GET there\r\nLATENCY HISTOGRAM get\r\n", 2);
    assert_ne!(histogram, Reply::Array(vec![]));
    let counts = |info: &str, names: [&str; 4]| {
        let count = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split(',').next().map(str::to_owned))
        };
        names.map(|name| count(name).unwrap_or_default())
    };
    let names = [
        "keyspace_hits:",
        "keyspace_misses:",
        "total_commands_processed:",
        "cmdstat_get:calls=",
    ];
    let within = "CONFIG RESETSTAT\r\nMULTI\r\nGET there\r\nGET gone\r\nINFO stats\r\nEXEC\r\n";
    let Reply::Array(mut answers) = last(within, 6) else {
        panic!("a transaction's answers");
    };
    let info = text(answers.pop().expect("the last"));
    assert_eq!(counts(&info, names)[..2], ["1", "1"]);
    let mut told = |pipeline: &str, replies: usize| text(last(pipeline, replies));
    let info = told(
        "CONFIG RESETSTAT\r\nGET there\r\nGET gone\r\nINFO everything\r\n",
        4,
    );
    assert_eq!(counts(&info, names), ["1", "1", "3", "2"]);
    let info = told(
        "GET there\r\nGET gone\r\nCONFIG RESETSTAT\r\nINFO everything\r\n",
        4,
    );
    assert_eq!(counts(&info, names), ["0", "0", "1", ""]);
    let changes = |info: &str| {
        let name = "rdb_changes_since_last_save:";
        let line = info.lines().find_map(|line| line.strip_prefix(name));
        line.expect("the field").to_owned()
    };
    let saved = told("SET a 1\r\nSET b 2\r\nSAVE\r\nINFO persistence\r\n", 4);
    assert_eq!(changes(&saved), "0");
    told("SET a 1\r\nSET b 2\r\nBGSAVE\r\n", 3);
    eventually("it is saved", || {
        changes(&told("INFO persistence\r\n", 1)) == "0"
    });
    let written = told("SET a 1\r\nSET b 2\r\nINFO persistence\r\n", 3);
    assert_eq!(changes(&written), "2");
}
