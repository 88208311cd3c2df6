//! `rename-command`, and directives that are refused for what is not there.

mod support;

use support::{Client, Reply, Server, eventually};

const RENAMES: [&str; 18] = [
    "--rename-command",
    "FLUSHALL",
    "",
    "--rename-command",
    "config",
    "Settings",
    "--rename-command",
    "SET",
    "put",
    "--rename-command",
    "INCR",
    "b840fc02d524045429941cc15f59e41cb7be6c52",
    "--rename-command",
    "BLPOP",
    "take",
    "--rename-command",
    "DEL",
    "FLUSHALL",
];
const LONG: &str = "b840fc02d524045429941cc15f59e41cb7be6c52";

fn run(client: &mut Client, line: &str) -> Reply {
    client.command(&line.split(' ').collect::<Vec<_>>())
}

fn text(client: &mut Client, line: &str) -> String {
    let reply = run(client, line);
    reply.text().unwrap_or_else(|| panic!("{line}: {reply:?}"))
}

/// What begins so.
fn refused(client: &mut Client, line: &str, expected: &str) {
    let text = text(client, line);
    assert!(text.starts_with(expected), "{line}: {text}");
}

#[test]
fn clients_and_scripts_call_commands_by_their_new_names() {
    let server = Server::start(&RENAMES);
    let mut client = server.client();
    assert_eq!(run(&mut client, "PUT a 1"), Reply::ok());
    assert_eq!(run(&mut client, &format!("{LONG} a")), Reply::Integer(2));
    assert_eq!(run(&mut client, "GET a"), Reply::bulk("2"));
    let port = vec![Reply::bulk("port"), Reply::bulk(server.port().to_string())];
    assert_eq!(run(&mut client, "settings GET port"), Reply::Array(port));
    for line in ["SET a 1", "INCR a", "CONFIG GET port", "DEL a"] {
        let name = line.split(' ').next().unwrap_or_default();
        refused(&mut client, line, &format!("ERR unknown command '{name}'"));
    }
    refused(
        &mut client,
        "put a",
        "ERR wrong number of arguments for 'set' command",
    );
    assert_eq!(run(&mut client, "FLUSHALL a"), Reply::Integer(1));
    let call = |client: &mut Client, name: &str| {
        let script = format!("return redis.call('{name}', KEYS[1], 'of a script')");
        client.command(&["EVAL", &script, "1", "b"])
    };
    assert_eq!(call(&mut client, "put"), Reply::ok());
    let unknown = call(&mut client, "set").text().unwrap_or_default();
    assert!(
        unknown.starts_with("ERR Unknown command called from script"),
        "{unknown}"
    );
    run(&mut client, "MULTI");
    assert_eq!(run(&mut client, "put c 1"), Reply::Simple("QUEUED".into()));
    assert_eq!(run(&mut client, "EXEC"), Reply::Array(vec![Reply::ok()]));
    let mut waiter = server.client();
    waiter.send(&support::encode(&["take", "list", "0"]));
    eventually("it waits", || {
        text(&mut client, "CLIENT LIST").contains("cmd=blpop")
    });
    run(&mut client, "RPUSH list x");
    let popped = vec![Reply::bulk("list"), Reply::bulk("x")];
    assert_eq!(waiter.read(), Reply::Array(popped));
}

#[test]
fn command_and_acl_know_them_as_valkey_does() {
    let server = Server::start(&RENAMES);
    let mut client = server.client();
    let Reply::Array(found) = run(&mut client, "COMMAND INFO put SET settings CONFIG") else {
        panic!("no array");
    };
    let names: Vec<Option<String>> = found
        .iter()
        .map(|one| match one {
            Reply::Array(parts) => parts[0].text(),
            _ => None,
        })
        .collect();
    assert_eq!(
        names,
        [Some("set".into()), None, Some("config".into()), None]
    );
    let keys = vec![Reply::bulk("a")];
    assert_eq!(
        run(&mut client, "COMMAND GETKEYS put a 1"),
        Reply::Array(keys)
    );
    refused(
        &mut client,
        "COMMAND GETKEYS set a 1",
        "ERR Invalid command specified",
    );
    let Reply::Array(listed) = run(&mut client, "COMMAND LIST FILTERBY PATTERN flush*") else {
        panic!("no array");
    };
    assert_eq!(listed, [Reply::bulk("flushdb")]);
    let Reply::Array(docs) = run(&mut client, "COMMAND DOCS put set") else {
        panic!("no array");
    };
    assert_eq!(docs[0], Reply::bulk("set"));
    assert_eq!(docs.len(), 2);
    // Rules go by the declared names, and hold whatever a command is called.
    refused(
        &mut client,
        "ACL SETUSER u +put",
        "ERR Error in ACL SETUSER modifier",
    );
    let rules = "ACL SETUSER u on nopass ~* +@all -set -incr";
    assert_eq!(run(&mut client, rules), Reply::ok());
    refused(
        &mut client,
        "ACL DRYRUN u set a 1",
        "ERR Command 'set' not found",
    );
    refused(
        &mut client,
        "ACL DRYRUN u put a 1",
        "User u has no permissions",
    );
    let check = "return redis.acl_check_cmd('put', 'a', 1)";
    run(&mut client, "AUTH u x");
    refused(&mut client, "put a 1", "NOPERM");
    refused(&mut client, &format!("{LONG} a"), "NOPERM");
    assert_eq!(client.command(&["EVAL", check, "0"]), Reply::Null);
}

#[test]
fn log_and_replica_have_the_declared_names() {
    let mut server = Server::start(&RENAMES);
    let replica = Server::start(&[]);
    let mut client = server.client();
    let mut follower = replica.client();
    let follow = format!("REPLICAOF 127.0.0.1 {}", server.port());
    assert_eq!(run(&mut follower, &follow), Reply::ok());
    eventually("it follows", || {
        text(&mut follower, "INFO replication").contains("master_link_status:up")
    });
    for line in ["put a 1", "MULTI", "put b 1", "put c 1", "EXEC"] {
        run(&mut client, line);
    }
    // In a pipeline too.
    let several = support::encode(&["put", "d", "1"]).repeat(50);
    client.pipeline(&several, 50);
    assert_eq!(run(&mut client, &format!("{LONG} d")), Reply::Integer(2));
    assert_eq!(run(&mut client, "WAIT 1 60000"), Reply::Integer(1));
    let expected = ["1", "1", "1", "2"].map(Reply::bulk).to_vec();
    assert_eq!(
        run(&mut follower, "MGET a b c d"),
        Reply::Array(expected.clone())
    );
    let synced = vec![Reply::Integer(1), Reply::Integer(0)];
    assert_eq!(run(&mut client, "WAITAOF 1 0 60000"), Reply::Array(synced));
    // What was logged is replayed without, and with other names.
    server.kill();
    server.set_directives(&["--rename-command", "SET", "b"]);
    server.restart();
    let mut client = server.client();
    assert_eq!(run(&mut client, "MGET a b c d"), Reply::Array(expected));
}

#[test]
fn names_that_cannot_be_are_refused() {
    let mut server = Server::start(&[]);
    server.terminate();
    for (directive, values, reason) in [
        (
            "--rename-command",
            &["NOSUCH", "x"][..],
            "No such command in rename-command",
        ),
        (
            "--rename-command",
            &["CONFIG|GET", "x"],
            "No such command in rename-command",
        ),
        (
            "--rename-command",
            &["GET", "set"],
            "Target command name already exists",
        ),
        ("--tls-port", &["1"], "Failed finding TLS support"),
        ("--tls-replication", &["yes"], "Failed finding TLS support"),
        (
            "--loadmodule",
            &["/nowhere.so"],
            "Can't load module from /nowhere.so",
        ),
        ("--logfile", &["/nowhere/log"], "Can't open the log file"),
        (
            "--locale-collate",
            &["nowhere"],
            "Failed to configure LOCALE",
        ),
    ] {
        let words: Vec<&str> = [directive].iter().chain(values).copied().collect();
        let report = server.restart_refused_with(&words);
        assert!(report.contains(reason), "{words:?}: {report}");
    }
    server.restart();
    let mut client = server.client();
    for line in ["CONFIG SET tls-port 1", "CONFIG SET locale-collate nowhere"] {
        refused(
            &mut client,
            line,
            "ERR CONFIG SET failed (possibly related to",
        );
    }
    assert_eq!(run(&mut client, "CONFIG SET locale-collate C"), Reply::ok());
}
