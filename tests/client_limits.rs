//! What clients may hold, and what INFO counts of their commands.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;

use support::{Client, Reply, Server, encode, eventually};

fn run(client: &mut Client, line: &str) -> Reply {
    client.command(&line.split(' ').collect::<Vec<_>>())
}

fn text(client: &mut Client, line: &str) -> String {
    run(client, line).text().expect("a text")
}

/// Begins a request of this many bytes and leaves it unfinished.
fn fill(server: &Server, name: &str, bytes: usize) -> Client {
    let mut client = server.client();
    assert_eq!(
        run(&mut client, &format!("CLIENT SETNAME {name}")),
        Reply::ok()
    );
    client.send(format!("*1\r\n${}\r\n", bytes + 1).as_bytes());
    client.send(&vec![b'x'; bytes]);
    client
}

#[test]
fn the_largest_clients_are_closed_beyond_the_limit() {
    let server = Server::start(&[]);
    let mut admin = server.client();
    assert_eq!(run(&mut admin, "CLIENT NO-EVICT ON"), Reply::ok());
    let mut large = fill(&server, "large", 600_000);
    let mut larger = fill(&server, "larger", 900_000);
    let _small = fill(&server, "small", 200_000);
    eventually("all has arrived", || {
        let list = text(&mut admin, "CLIENT LIST");
        ["qbuf=600", "qbuf=900", "qbuf=200"]
            .iter()
            .all(|size| list.contains(size))
    });
    assert_eq!(
        run(&mut admin, "CONFIG SET maxmemory-clients 1000000"),
        Reply::ok()
    );
    larger.read_to_close().expect("the largest is closed");
    let list = text(&mut admin, "CLIENT LIST");
    assert!(
        list.contains("name=large ") && list.contains("name=small "),
        "{list}"
    );
    assert_eq!(
        run(&mut admin, "CONFIG SET maxmemory-clients 500000"),
        Reply::ok()
    );
    large.read_to_close().expect("the next is closed");
    assert!(text(&mut admin, "CLIENT LIST").contains("name=small "));
    let stats = text(&mut admin, "INFO stats");
    assert!(stats.contains("evicted_clients:2\r\n"), "{stats}");
    assert_eq!(
        run(&mut admin, "CONFIG SET maxmemory-clients 1"),
        Reply::ok()
    );
    eventually("all others are closed", || {
        text(&mut admin, "CLIENT LIST").lines().count() == 1
    });
}

#[test]
fn a_transaction_that_grows_beyond_the_limit_ends_its_client() {
    let server = Server::start(&["--maxmemory-clients", "1mb"]);
    let mut client = server.client();
    assert_eq!(run(&mut client, "MULTI"), Reply::ok());
    let value = "v".repeat(100_000);
    let set = encode(&["SET", "key", &value]);
    let queued = (0..20).take_while(|_| client.try_send(&set).is_ok() && client.try_read().is_ok());
    let queued = queued.count();
    assert!((5..12).contains(&queued), "{queued} were queued");
}

#[test]
fn only_what_ran_counts_as_a_call() {
    let server = Server::start(&[]);
    let (mut admin, mut client) = (server.client(), server.client());
    for line in [
        "SET a",
        "MULTI",
        "SET a 1",
        "SET a 2",
        "EXEC",
        "SET a 3 NX XX",
    ] {
        run(&mut client, line);
    }
    let shown = text(&mut admin, "INFO commandstats");
    let set = shown.lines().find(|line| line.starts_with("cmdstat_set:"));
    let set = set.expect("SET was called");
    assert!(set.contains("calls=3,"), "{set}");
    assert!(set.ends_with("rejected_calls=1,failed_calls=1"), "{set}");
    client.send(&encode(&["BLPOP", "list", "0"]));
    eventually("it waits", || {
        text(&mut admin, "CLIENT LIST").contains("flags=b")
    });
    assert!(!text(&mut admin, "INFO commandstats").contains("cmdstat_blpop"));
    run(&mut admin, "RPUSH list x");
    client.read();
    let shown = text(&mut admin, "INFO commandstats");
    assert!(shown.contains("cmdstat_blpop:calls=1,"), "{shown}");
}

#[test]
fn a_request_with_very_many_arguments_leaves_no_memory_behind() {
    let server = Server::start(&["--appendonly", "no", "--save", ""]);
    let mut client = server.client();
    let mut used = || {
        let info = text(&mut client, "INFO memory");
        let line = info
            .lines()
            .find_map(|line| line.strip_prefix("used_memory:"));
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    let before = used();
    let mut words = vec!["SADD".to_owned(), "set".to_owned()];
    words.extend((0..100_000).map(|n| n.to_string()));
    let mut other = server.client();
    assert_eq!(other.command(&words), Reply::Integer(100_000));
    assert!(used() > before + 500_000, "the set is counted");
    assert_eq!(other.command(&["UNLINK", "set"]), Reply::Integer(1));
    eventually("used_memory is as it was", || used() < before + 200_000);
    // Half of such a request keeps what it needs until the rest is there.
    let bytes = encode(&words);
    let (half, rest) = bytes.split_at(bytes.len() / 2);
    other.send(half);
    eventually("it has arrived", || used() > before + 400_000);
    other.send(rest);
    assert_eq!(other.read(), Reply::Integer(100_000));
}

#[test]
fn commands_inside_a_script_count_as_the_clients_own() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let mut commands = || {
        let info = text(&mut client, "CLIENT INFO");
        let field = info.split(' ').find_map(|f| f.strip_prefix("tot-cmds="));
        let commands: u64 = field.unwrap().trim().parse().unwrap();
        let script = "redis.call('PING') redis.pcall('NOSUCH') redis.call('INCR', 'n')";
        client.command(&["EVAL", script, "0"]);
        commands
    };
    let first = commands();
    assert_eq!(commands() - first, 4, "CLIENT INFO, EVAL, PING and INCR");
}

/// More than a megabyte of requests.
fn many_requests() -> Vec<u8> {
    encode(&["PING", &"x".repeat(3000)]).repeat(1000)
}

#[test]
fn a_blocked_client_that_goes_behind_much_input_takes_no_element_along() {
    let server = Server::start(&[]);
    let (mut admin, mut client) = (server.client(), server.client());
    client.send(&encode(&["BLPOP", "queue", "0"]));
    client.send(&many_requests());
    eventually("it waits", || {
        text(&mut admin, "INFO clients").contains("blocked_clients:1\r\n")
    });
    drop(client);
    eventually("it is gone", || {
        text(&mut admin, "INFO clients").contains("blocked_clients:0\r\n")
    });
    assert_eq!(run(&mut admin, "RPUSH queue a"), Reply::Integer(1));
    assert_eq!(run(&mut admin, "LLEN queue"), Reply::Integer(1));
}

#[test]
fn a_paused_client_that_goes_behind_much_input_writes_nothing() {
    let server = Server::start(&[]);
    let (mut admin, mut client) = (server.client(), server.client());
    assert_eq!(run(&mut admin, "CLIENT PAUSE 600000 WRITE"), Reply::ok());
    client.send(&encode(&["SET", "key", "value"]));
    client.send(&many_requests());
    eventually("it waits", || {
        text(&mut admin, "INFO clients").contains("blocked_clients:1\r\n")
    });
    drop(client);
    eventually("it is gone", || {
        text(&mut admin, "CLIENT LIST").lines().count() == 1
    });
    assert_eq!(run(&mut admin, "CLIENT UNPAUSE"), Reply::ok());
    assert_eq!(run(&mut admin, "EXISTS key"), Reply::Integer(0));
}

#[test]
fn what_a_blocked_client_sends_meanwhile_is_bounded_and_runs_afterwards() {
    let server = Server::start(&["--client-query-buffer-limit", "8mb"]);
    let (mut admin, mut client) = (server.client(), server.client());
    client.send(&encode(&["BLPOP", "queue", "0"]));
    client.send(&many_requests());
    eventually("it is all read", || {
        text(&mut admin, "CLIENT LIST").contains("qbuf=3023000 ")
    });
    assert_eq!(run(&mut admin, "RPUSH queue a"), Reply::Integer(1));
    client.read();
    for _ in 0..1000 {
        assert_eq!(client.read(), Reply::bulk("x".repeat(3000)));
    }
    client.send(&encode(&["BLPOP", "queue", "0"]));
    while client.try_send(&many_requests()).is_ok() {}
    client.read_to_close().expect("it is closed");
    let stats = text(&mut admin, "INFO stats");
    assert!(
        stats.contains("client_query_buffer_limit_disconnections:1\r\n"),
        "{stats}"
    );
}

#[test]
fn a_client_may_send_a_long_pipeline_before_it_reads() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for _ in 0..20 {
        client.send(&many_requests());
    }
    for _ in 0..20_000 {
        assert_eq!(client.read(), Reply::bulk("x".repeat(3000)));
    }
}

#[test]
fn what_a_client_sends_before_it_reads_is_bounded_and_does_not_end_it() {
    let server = Server::start(&["--client-query-buffer-limit", "1mb"]);
    let (mut admin, mut client) = (server.client(), server.client());
    let count = 20_000;
    let replies = client.pipeline_after(&many_requests().repeat(20), count, || {
        eventually("half of the limit is taken in", || {
            let list = text(&mut admin, "CLIENT LIST");
            let mut fields = list.split(' ').filter_map(|f| f.strip_prefix("qbuf="));
            fields.any(|bytes| bytes.parse().is_ok_and(|bytes: u64| bytes >= 512 << 10))
        });
    });
    assert!(replies == vec![Reply::bulk("x".repeat(3000)); count]);
}

#[test]
fn who_sends_or_takes_something_large_is_not_idle() {
    let server = Server::start(&[]);
    let mut admin = server.client();
    run(&mut admin, "SETRANGE big 67108863 x");
    let connect = || TcpStream::connect(("127.0.0.1", server.port())).expect("a connection");
    let (mut sender, mut taker) = (connect(), connect());
    let mut idle_s = |client: &TcpStream| {
        let address = client.local_addr().expect("it is connected");
        let list = text(&mut admin, "CLIENT LIST");
        let line = list
            .lines()
            .find(|line| line.contains(&format!(" addr={address} ")))?;
        let idle = line.split(' ').find_map(|f| f.strip_prefix("idle="))?;
        Some(idle.parse::<u64>().expect("a number of seconds"))
    };
    let begun = sender.write_all(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3000\r\n");
    begun.expect("it is sent");
    taker
        .write_all(&encode(&["GET", "big"]))
        .expect("it is sent");
    eventually("both have paused", || {
        idle_s(&sender) > Some(0) && idle_s(&taker) > Some(0)
    });
    sender.write_all(&[b'x'; 1000]).expect("it is sent");
    eventually("the sender is active", || idle_s(&sender) == Some(0));
    let mut part = vec![0; 32 << 20];
    taker.read_exact(&mut part).expect("half of it comes");
    eventually("the taker is active", || idle_s(&taker) == Some(0));
}

#[test]
fn who_was_served_after_a_long_wait_is_not_idle() {
    let server = Server::start(&[]);
    let (mut admin, mut waiter) = (server.client(), server.client());
    run(&mut waiter, "CLIENT SETNAME waiter");
    waiter.send(&encode(&["BLPOP", "q", "0"]));
    let mut idle_s = || {
        let list = text(&mut admin, "CLIENT LIST");
        let line = list.lines().find(|line| line.contains(" name=waiter "))?;
        let idle = line.split(' ').find_map(|f| f.strip_prefix("idle="))?;
        Some(idle.parse::<u64>().expect("a number of seconds"))
    };
    eventually("it has waited", || idle_s() > Some(0));
    let mut pusher = server.client();
    assert_eq!(run(&mut pusher, "RPUSH q x"), Reply::Integer(1));
    let popped = Reply::Array(vec![Reply::bulk("q"), Reply::bulk("x")]);
    assert_eq!(waiter.read(), popped);
    eventually("it is active", || idle_s() == Some(0));
}

#[test]
fn a_client_between_two_requests_holds_no_buffers() {
    let server = Server::start(&[]);
    let mut admin = server.client();
    let used = |admin: &mut Client| -> u64 {
        let text = text(admin, "INFO memory");
        let field = text.lines().find_map(|l| l.strip_prefix("used_memory:"));
        field.and_then(|n| n.parse().ok()).expect("a number")
    };
    let before = used(&mut admin);
    let mut clients: Vec<Client> = (0..500).map(|_| server.client()).collect();
    for client in &mut clients {
        assert_eq!(run(client, "PING"), Reply::Simple("PONG".into()));
    }
    let idle = (used(&mut admin) - before) / 500;
    assert!(idle < 10_000, "{idle} bytes for each that is idle");
    for client in &mut clients {
        client.send(&encode(&["BLPOP", "queue", "0"]));
    }
    eventually("they wait", || {
        text(&mut admin, "INFO clients").contains("blocked_clients:500\r\n")
    });
    let blocked = (used(&mut admin) - before) / 500;
    assert!(blocked < 10_000, "{blocked} bytes for each that is blocked");
}

/// A transaction with these commands, without its EXEC.
fn queue(client: &mut Client, commands: &[&[&str]]) {
    assert_eq!(run(client, "MULTI"), Reply::ok());
    for command in commands {
        assert_eq!(client.command(command), Reply::Simple("QUEUED".into()));
    }
}

#[test]
fn what_a_transaction_queues_counts_for_the_query_buffer_limit() {
    let server = Server::start(&["--client-query-buffer-limit", "2mb"]);
    let (mut admin, mut client) = (server.client(), server.client());
    assert_eq!(run(&mut client, "MULTI"), Reply::ok());
    let set = encode(&["SET", "key", &"v".repeat(500_000)]);
    let queued = (0..20).take_while(|_| client.try_send(&set).is_ok() && client.try_read().is_ok());
    let queued = queued.count();
    assert!((2..5).contains(&queued), "{queued} were queued");
    let stats = text(&mut admin, "INFO stats");
    assert!(
        stats.contains("client_query_buffer_limit_disconnections:1\r\n"),
        "{stats}"
    );
    // Once it has run, nothing of it counts any more.
    let mut other = server.client();
    for _ in 0..5 {
        queue(&mut other, &[&["SET", "key", &"v".repeat(1_000_000)]]);
        assert_eq!(run(&mut other, "EXEC"), Reply::Array(vec![Reply::ok()]));
    }
}

#[test]
fn a_reply_is_not_built_beyond_what_its_client_may_leave_unread() {
    let limit = ["--client-output-buffer-limit", "normal 20mb 0 0"];
    let server = Server::start(&limit);
    let mut admin = server.client();
    let value = "v".repeat(10_000_000);
    assert_eq!(admin.command(&["SET", "large", &value]), Reply::ok());
    let many = "local t = {} for i = 1, 200 do t[i] = redis.call('GET', 'large') end redis.call('INCR', 'ends') return t";
    let eval: &[&str] = &["EVAL", many, "0"];
    let mut transaction: Vec<&[&str]> = vec![&["GET", "large"]; 100];
    transaction.push(&["INCR", "ends"]);
    let mut client = server.client();
    queue(&mut client, &transaction);
    client.send(&encode(&["EXEC"]));
    assert_eq!(client.read_to_close().expect("it is closed"), b"");
    let mut client = server.client();
    client.send(&encode(eval));
    assert_eq!(client.read_to_close().expect("it is closed"), b"");
    let mut client = server.client();
    queue(&mut client, &[eval, &["INCR", "ends"]]);
    client.send(&encode(&["EXEC"]));
    assert_eq!(client.read_to_close().expect("it is closed"), b"");
    // All ran to the end.
    assert_eq!(admin.command(&["GET", "ends"]), Reply::bulk("4"));
    let stats = text(&mut admin, "INFO stats");
    let closed = "client_output_buffer_limit_disconnections:3\r\n";
    assert!(stats.contains(closed), "{stats}");
    let most = server.most_resident_bytes();
    assert!(most < 500_000_000, "{most} bytes");
    // Nobody is closed for replies that he doesn't want, or that fit.
    let mut client = server.client();
    client.send(&encode(&["CLIENT", "REPLY", "OFF"]));
    client.send(&encode(eval));
    client.send(&encode(&["CLIENT", "REPLY", "ON"]));
    assert_eq!(client.read(), Reply::ok());
    assert_eq!(client.command(&["GET", "large"]), Reply::bulk(&value));
}

#[test]
fn a_script_cannot_ask_for_a_reply_that_no_memory_holds() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let much = "local t = string.rep('x', 150000000) for i = 1, 20 do t = {t, t} end redis.call('SET', 'key', 'value') return t";
    client.send(&encode(&["EVAL", much, "0"]));
    let reply = (0..4).find_map(|_| client.try_read().ok());
    let reply = reply.expect("a reply comes, on a busy machine later");
    assert_eq!(reply.error_code(), Some("OOM"), "{reply:?}");
    assert_eq!(client.command(&["GET", "key"]), Reply::bulk("value"));
    let nothing = "local t = {} for i = 1, 40 do t = {t, t} end return t";
    client.send(&encode(&["EVAL", nothing, "0"]));
    let mut admin = server.client();
    eventually("it is killed", || {
        run(&mut admin, "SCRIPT KILL") == Reply::ok()
    });
    let killed = client.read().text().expect("a text");
    assert!(killed.contains("killed by user"), "{killed}");
}

#[test]
fn errors_of_very_many_kinds_count_as_one_kind() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let fail = |client: &mut Client, word: &str| {
        let script = "return redis.error_reply(ARGV[1] .. ' it is')";
        let reply = client.command(&["EVAL", script, "0", word]);
        assert_eq!(reply.error_code(), Some(word));
    };
    fail(&mut client, &"L".repeat(200));
    for number in 0..200 {
        fail(&mut client, &format!("W{number}"));
    }
    fail(&mut client, "W0");
    run(&mut client, "GET");
    let shown = text(&mut client, "INFO errorstats");
    let kinds = shown.lines().filter(|line| line.starts_with("errorstat_"));
    assert_eq!(kinds.count(), 129, "{shown}");
    for line in [
        "errorstat_ERR:count=2\r\n",
        "errorstat_W0:count=2\r\n",
        "errorstat_W126:count=1\r\n",
        "errorstat_ERRORSTATS_OVERFLOW:count=73\r\n",
    ] {
        assert!(shown.contains(line), "{line} in {shown}");
    }
    assert!(text(&mut client, "INFO stats").contains("total_error_replies:203\r\n"));
}

#[test]
fn very_many_keys_can_be_watched() {
    let server = Server::start(&["--appendonly", "no", "--save", ""]);
    let (mut client, mut other) = (server.client(), server.client());
    let mut words = vec!["WATCH".to_owned()];
    words.extend((0..500_000).map(|n| format!("key{n}")));
    words.push("key7".into());
    assert_eq!(client.command(&words), Reply::ok());
    assert!(text(&mut client, "CLIENT INFO").contains(" watch=500000 "));
    assert_eq!(run(&mut other, "SET key499999 x"), Reply::ok());
    queue(&mut client, &[&["PING"]]);
    assert_eq!(run(&mut client, "EXEC"), Reply::Null);
    assert!(text(&mut client, "CLIENT INFO").contains(" watch=0 "));
}

/// `used_memory` of INFO, in bytes.
fn used_bytes(client: &mut Client) -> u64 {
    let info = text(client, "INFO memory");
    let mut lines = info.lines();
    let used = lines.find_map(|line| line.strip_prefix("used_memory:"));
    used.expect("it is told").trim().parse().expect("a number")
}

#[test]
fn clients_that_go_while_they_wait_leave_nothing_behind() {
    let server = Server::start(&["--appendonly", "no", "--save", ""]);
    let mut admin = server.client();
    let key = "k".repeat(100_000);
    let commands: [&[&str]; 2] = [
        &["BLPOP", &key, "0"],
        &["XREAD", "BLOCK", "0", "STREAMS", &key, "$"],
    ];
    for (command, killed) in commands.iter().flat_map(|c| [(c, false), (c, true)]) {
        let before = used_bytes(&mut admin);
        let mut waiting: Vec<Client> = (0..100).map(|_| server.client()).collect();
        for client in &mut waiting {
            client.send(&encode(command));
        }
        eventually("all wait", || {
            text(&mut admin, "INFO clients").contains("blocked_clients:100\r\n")
        });
        assert!(used_bytes(&mut admin) > before + 10_000_000);
        if killed {
            let killed = run(&mut admin, "CLIENT KILL TYPE normal SKIPME yes");
            assert_eq!(killed, Reply::Integer(100));
        }
        drop(waiting);
        eventually("their memory is free", || {
            used_bytes(&mut admin) < before + 2_000_000
        });
    }
}

#[test]
fn names_that_were_very_many_leave_no_memory_behind() {
    let server = Server::start(&["--appendonly", "no", "--save", ""]);
    let mut admin = server.client();
    for (command, replies) in [
        ("WATCH", 1),
        ("BLPOP", 0),
        ("SUBSCRIBE", 200_000),
        ("PSUBSCRIBE", 200_000),
        ("SSUBSCRIBE", 200_000),
    ] {
        let before = used_bytes(&mut admin);
        let mut words = vec![command.to_owned()];
        words.extend((0..200_000).map(|n| n.to_string()));
        let mut client = server.client();
        if command == "BLPOP" {
            words.push("0".into());
        }
        client.pipeline(&encode(&words), replies);
        drop(words);
        eventually("all are there", || {
            used_bytes(&mut admin) > before + 15_000_000
        });
        drop(client);
        eventually(command, || used_bytes(&mut admin) < before + 4_000_000);
    }
}

#[test]
fn a_small_limit_on_the_memory_of_clients_locks_nobody_out() {
    let server = Server::start(&["--maxmemory-clients", "16kb"]);
    for limit in ["1", "0.1mb", "16kb", "1%"] {
        let mut client = server.client();
        assert_eq!(run(&mut client, "PING"), Reply::Simple("PONG".into()));
        run(&mut client, "CONFIG SET maxmemory 1mb");
        run(
            &mut client,
            &format!("CONFIG SET maxmemory-clients {limit}"),
        );
        let mut other = server.client();
        assert_eq!(run(&mut other, "PING"), Reply::Simple("PONG".into()));
    }
    let mut client = server.client();
    assert_eq!(
        run(&mut client, "CONFIG SET maxmemory-clients 0"),
        Reply::ok()
    );
}

#[test]
fn clients_leave_descriptors_for_the_servers_own_files() {
    let mut server = Server::start(&["--io-threads", "2", "--requirepass", "secret"]);
    server.kill();
    server.limit_open_files(200);
    server.restart();
    let mut admin = server.client();
    assert_eq!(run(&mut admin, "AUTH secret"), Reply::ok());
    let strangers: Vec<Client> = (0..300).map(|_| server.client()).collect();
    let connected = |admin: &mut Client| {
        let clients = text(admin, "INFO clients");
        let mut lines = clients.lines();
        let count = lines.find_map(|line| line.strip_prefix("connected_clients:"));
        count.expect("it is told").parse::<u64>().expect("a number")
    };
    eventually("there are as many as there may be", || {
        connected(&mut admin) >= 100
    });
    assert_eq!(run(&mut admin, "SET key value"), Reply::ok());
    assert_eq!(run(&mut admin, "SAVE"), Reply::ok());
    drop(strangers);
    let limit = run(&mut admin, "CONFIG GET maxclients");
    let expected = ["maxclients", "100"].map(Reply::bulk).to_vec();
    assert_eq!(limit, Reply::Array(expected));
    let refused = text(&mut admin, "CONFIG SET maxclients 5000");
    assert_eq!(
        refused,
        "ERR CONFIG SET failed (possibly related to argument 'maxclients') - The operating system is not able to handle the specified number of clients, try with 100"
    );
    assert_eq!(run(&mut admin, "CONFIG SET maxclients 50"), Reply::ok());
}

#[test]
fn arguments_that_have_arrived_do_not_count_as_unread() {
    let server = Server::start(&["--client-query-buffer-limit", "1mb"]);
    let mut client = server.client();
    let part = "x".repeat(300_000);
    let words = ["RPUSH", "list", &part, &part, &part, &part, &part];
    assert_eq!(client.command(&words), Reply::Integer(5));
    // One that is larger than the limit does.
    let large = encode(&["RPUSH", "list", &part.repeat(5)]);
    let sent = client.try_send(&large);
    assert!(sent.is_err() || client.try_read().is_err());
}
