//! Users: what they may do, logging in as them, and their files.

mod support;

use support::{Client, Reply, Server, encode, eventually};

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

/// Runs a command given as one line.
fn run(client: &mut Client, line: &str) -> Reply {
    client.command(&words(line))
}

fn error(client: &mut Client, line: &str) -> String {
    match run(client, line) {
        Reply::Error(text) => text,
        other => panic!("{line} gives {other:?}"),
    }
}

fn texts(reply: &Reply) -> Vec<String> {
    match reply {
        Reply::Array(items) => items.iter().filter_map(Reply::text).collect(),
        other => panic!("no array: {other:?}"),
    }
}

/// The value of a field of a RESP2 map.
fn field(reply: &Reply, name: &str) -> Reply {
    let Reply::Array(items) = reply else {
        panic!("no array: {reply:?}")
    };
    let at = items
        .iter()
        .step_by(2)
        .position(|item| item.text().as_deref() == Some(name));
    items[at.expect("the field is there") * 2 + 1].clone()
}

/// A connection logged in as a user that takes any password.
fn as_user(server: &Server, user: &str) -> Client {
    let mut client = server.client();
    assert_eq!(client.command(&["AUTH", user, "any"]), Reply::ok());
    client
}

#[test]
fn each_refusal_has_its_text() {
    let server = Server::start(&[]);
    let mut admin = server.client();
    let rules = "ACL SETUSER bob on nopass +@all -flushall ~b:* %R~read &news db=0,1";
    assert_eq!(run(&mut admin, rules), Reply::ok());
    let mut bob = as_user(&server, "bob");
    assert_eq!(run(&mut bob, "SET b:1 x"), Reply::ok());
    assert_eq!(run(&mut bob, "GET read"), Reply::Null);
    let no_key = "NOPERM No permissions to access a key";
    assert_eq!(error(&mut bob, "GET other"), no_key);
    assert_eq!(error(&mut bob, "SET read x"), no_key);
    assert_eq!(error(&mut bob, "MGET b:1 other"), no_key);
    let no_command = "NOPERM User bob has no permissions to run the 'flushall' command";
    assert_eq!(error(&mut bob, "FLUSHALL"), no_command);
    let no_channel = "NOPERM No permissions to access a channel";
    assert_eq!(error(&mut bob, "PUBLISH other x"), no_channel);
    assert_eq!(error(&mut bob, "SUBSCRIBE other"), no_channel);
    assert_eq!(run(&mut bob, "PUBLISH news x"), Reply::Integer(0));
    let no_db = "NOPERM No permissions to access database";
    assert_eq!(error(&mut bob, "SELECT 2"), no_db);
    assert_eq!(run(&mut bob, "SELECT 1"), Reply::ok());
    assert_eq!(error(&mut bob, "COPY b:1 b:2 DB 5"), no_db);
    let shown = run(&mut admin, "ACL DRYRUN bob GET other");
    let told = "User bob has no permissions to access the 'other' key";
    assert_eq!(shown, Reply::bulk(told));
}

#[test]
fn a_pipeline_sees_a_change_of_rights_made_in_it() {
    let server = Server::start(&[]);
    let mut admin = server.client();
    let rules = "ACL SETUSER bob on nopass +@all ~* &*";
    assert_eq!(run(&mut admin, rules), Reply::ok());
    let mut bob = as_user(&server, "bob");
    let lines = ["SET k v", "GET k", "ACL SETUSER bob -get", "GET k", "GET k"];
    let bytes: Vec<u8> = lines.iter().flat_map(|l| encode(&words(l))).collect();
    let replies = bob.pipeline(&bytes, lines.len());
    assert_eq!(replies[1], Reply::bulk("v"));
    assert_eq!(replies[3].error_code(), Some("NOPERM"));
    assert_eq!(replies[4].error_code(), Some("NOPERM"));
}

#[test]
fn a_pipeline_queues_what_follows_multi() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let lines = ["SET k 1", "MULTI", "GET k", "INCR k", "EXEC", "GET k"];
    let bytes: Vec<u8> = lines.iter().flat_map(|l| encode(&words(l))).collect();
    let replies = client.pipeline(&bytes, lines.len());
    assert_eq!(replies[2], Reply::Simple("QUEUED".into()));
    let done = vec![Reply::bulk("1"), Reply::Integer(2)];
    assert_eq!(replies[4], Reply::Array(done));
    assert_eq!(replies[5], Reply::bulk("2"));
}

#[test]
fn rights_are_asked_for_again_by_exec_and_by_a_wait_that_ends() {
    let server = Server::start(&[]);
    let mut admin = server.client();
    let rules = "ACL SETUSER bob on nopass +@all ~*";
    assert_eq!(run(&mut admin, rules), Reply::ok());
    let (mut waiting, mut queueing) = (as_user(&server, "bob"), as_user(&server, "bob"));
    waiting.send(&encode(&["BLPOP", "list", "0"]));
    eventually("it waits", || {
        let list = run(&mut admin, "CLIENT LIST FLAGS b");
        list.text().is_some_and(|text| text.contains("cmd=blpop"))
    });
    run(&mut queueing, "MULTI");
    let queued = Reply::Simple("QUEUED".into());
    assert_eq!(run(&mut queueing, "INCR n"), queued);
    assert_eq!(run(&mut queueing, "PING"), queued);
    assert_eq!(run(&mut admin, "ACL SETUSER bob resetkeys"), Reply::ok());
    run(&mut admin, "RPUSH list x");
    assert_eq!(waiting.read().error_code(), Some("NOPERM"));
    assert_eq!(run(&mut admin, "LLEN list"), Reply::Integer(1));
    let Reply::Array(done) = run(&mut queueing, "EXEC") else {
        panic!("EXEC gives no array")
    };
    let text = done[0].text().expect("an error has a text");
    assert!(text.starts_with("NOPERM ACLs rules changed"), "{text}");
    assert_eq!(done[1], Reply::Simple("PONG".into()));
    assert_eq!(run(&mut admin, "GET n"), Reply::Null);
}

#[test]
fn passwords_let_in_and_are_shown_as_hashes_only() {
    let server = Server::start(&["--requirepass", "root"]);
    let mut admin = server.client();
    assert_eq!(run(&mut admin, "AUTH root"), Reply::ok());
    run(&mut admin, "ACL SETUSER bob on >one >two +@all ~* &*");
    for password in ["one", "two"] {
        let mut client = server.client();
        let hello = client.command(&["HELLO", "2", "AUTH", "bob", password]);
        assert!(hello.error_code().is_none(), "{hello:?}");
        assert_eq!(run(&mut client, "ACL WHOAMI"), Reply::bulk("bob"));
    }
    let mut client = server.client();
    let wrong = "WRONGPASS invalid username-password pair or user is disabled.";
    assert_eq!(error(&mut client, "AUTH bob three"), wrong);
    assert_eq!(error(&mut client, "AUTH nobody one"), wrong);
    run(&mut admin, "ACL SETUSER bob off");
    assert_eq!(error(&mut client, "AUTH bob one"), wrong);
    let lines = texts(&run(&mut admin, "ACL LIST")).join("\n");
    assert!(
        !lines.contains("one") && lines.contains("user bob off #"),
        "{lines}"
    );
    assert_eq!(run(&mut admin, "CONFIG SET requirepass new"), Reply::ok());
    assert_eq!(
        client.command(&["AUTH", "root"]).error_code(),
        Some("WRONGPASS")
    );
    assert_eq!(run(&mut client, "AUTH new"), Reply::ok());
}

#[test]
fn a_password_is_bytes() {
    let server = Server::start(&[]);
    let mut admin = server.client();
    let password: &[u8] = b"p\xffx";
    let set: [&[u8]; 4] = [b"CONFIG", b"SET", b"requirepass", password];
    admin.send(&encode(&set));
    assert_eq!(admin.read(), Reply::ok());
    let mut client = server.client();
    assert_eq!(run(&mut client, "PING").error_code(), Some("NOAUTH"));
    client.send(&encode(&[b"AUTH", password]));
    assert_eq!(client.read(), Reply::ok());
    // The link to a primary logs in with the same bytes.
    let replica = Server::start(&[]);
    let mut follower = replica.client();
    let set: [&[u8]; 4] = [b"CONFIG", b"SET", b"primaryauth", password];
    follower.send(&encode(&set));
    assert_eq!(follower.read(), Reply::ok());
    run(
        &mut follower,
        &format!("REPLICAOF 127.0.0.1 {}", server.port()),
    );
    eventually("the link is up", || {
        let info = run(&mut follower, "INFO replication").text();
        info.is_some_and(|text| text.contains("master_link_status:up"))
    });
}

#[test]
fn connections_of_a_user_that_goes_are_closed() {
    let server = Server::start(&[]);
    let mut admin = server.client();
    run(&mut admin, "ACL SETUSER bob on nopass +@all ~* &*");
    let (mut plain, mut listening) = (as_user(&server, "bob"), as_user(&server, "bob"));
    run(&mut listening, "SUBSCRIBE news");
    run(&mut admin, "ACL SETUSER bob resetchannels &news");
    let list = run(&mut admin, "CLIENT LIST USER bob")
        .text()
        .expect("a text");
    assert_eq!(list.lines().count(), 2, "{list}");
    run(&mut admin, "ACL SETUSER bob resetchannels");
    let list = run(&mut admin, "CLIENT LIST USER bob")
        .text()
        .expect("a text");
    assert_eq!(list.lines().count(), 1, "{list}");
    listening.read_to_close().expect("it is closed");
    assert_eq!(run(&mut plain, "PING"), Reply::Simple("PONG".into()));
    assert_eq!(run(&mut admin, "ACL DELUSER bob nobody"), Reply::Integer(1));
    plain.read_to_close().expect("it is closed");
}

#[test]
fn refusals_are_kept_in_the_log_and_counted() {
    let server = Server::start(&["--acllog-max-len", "2"]);
    let mut admin = server.client();
    run(&mut admin, "ACL SETUSER bob on nopass +get +multi ~b");
    let mut bob = as_user(&server, "bob");
    for line in ["GET other", "GET other", "DEL b", "MULTI", "SET b 1"] {
        run(&mut bob, line);
    }
    let Reply::Array(entries) = run(&mut admin, "ACL LOG") else {
        panic!("no array")
    };
    let told: Vec<String> = entries
        .iter()
        .map(|entry| {
            let parts = ["reason", "context", "object", "username"];
            let parts = parts.map(|name| field(entry, name).text().unwrap_or_default());
            parts.join(" ")
        })
        .collect();
    assert_eq!(told, ["command multi set bob", "command toplevel del bob"]);
    let stats = run(&mut admin, "INFO stats").text().expect("a text");
    assert!(stats.contains("acl_access_denied_key:2\r\n"), "{stats}");
    assert!(stats.contains("acl_access_denied_cmd:2\r\n"), "{stats}");
    assert_eq!(run(&mut admin, "ACL LOG RESET"), Reply::ok());
    assert_eq!(run(&mut admin, "ACL LOG"), Reply::Array(Vec::new()));
}

#[test]
fn an_acl_file_is_loaded_whole_or_not_at_all() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("users.acl");
    std::fs::write(
        &path,
        "user bob on nopass +@all ~* &*\nuser default on nopass +@all ~* &*\n",
    )
    .expect("the file can be written");
    let name = path.to_str().expect("a plain path");
    let mut server = Server::start(&["--aclfile", name]);
    let mut admin = server.client();
    let mut bob = as_user(&server, "bob");
    run(&mut admin, "ACL SETUSER eve on nopass +get ~e* (+set ~s*)");
    assert_eq!(run(&mut admin, "ACL SAVE"), Reply::ok());
    let saved = std::fs::read_to_string(&path).expect("the file can be read");
    assert!(
        saved.contains(
            "user eve on nopass ~e* resetchannels -@all +get (~s* resetchannels -@all +set)\n"
        ),
        "{saved}"
    );
    std::fs::write(&path, saved.clone() + "user eve on\nuser x +nosuch\n").expect("written");
    let refusal = error(&mut admin, "ACL LOAD");
    assert!(refusal.contains("Duplicate user 'eve'"), "{refusal}");
    assert!(refusal.contains("Unknown command"), "{refusal}");
    assert_eq!(
        texts(&run(&mut admin, "ACL USERS")),
        ["bob", "default", "eve"]
    );
    let without_bob: String = saved
        .lines()
        .filter(|l| !l.contains("bob"))
        .map(|l| format!("{l}\n"))
        .collect();
    std::fs::write(&path, without_bob).expect("written");
    assert_eq!(run(&mut admin, "ACL LOAD"), Reply::ok());
    bob.read_to_close().expect("it is closed");
    server.terminate();
    server.restart();
    let mut admin = server.client();
    assert_eq!(texts(&run(&mut admin, "ACL USERS")), ["default", "eve"]);
    server.terminate();
    let refusal = server.restart_refused_with(&["--user", "bob on"]);
    assert!(refusal.contains("aclfile"), "{refusal}");
}

#[test]
fn users_can_be_defined_among_the_directives() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("redoubt.conf");
    let text = "# ours\nuser bob on >pw +@all -flushall ~b:* resetchannels\n";
    std::fs::write(&path, text).expect("the file can be written");
    let name = path.to_str().expect("a plain path");
    let mut server = Server::start(&["--include", name]);
    let mut admin = server.client();
    assert_eq!(
        error(&mut admin, "AUTH bob wrong").split(' ').next(),
        Some("WRONGPASS")
    );
    assert_eq!(run(&mut admin, "AUTH bob pw"), Reply::ok());
    assert_eq!(
        error(&mut admin, "FLUSHALL").split(' ').next(),
        Some("NOPERM")
    );
    server.terminate();
    let refusal = server.restart_refused_with(&["--user", "bob", "on"]);
    assert!(refusal.contains("Duplicate user"), "{refusal}");
}
