//! What clients may hold, and what INFO counts of their commands.

mod support;

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
