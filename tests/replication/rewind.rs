//! A former primary that comes back has logged what nobody else has: it goes
//! back to where the histories part, and needs no full sync.

use super::*;

/// For [`pause_tree`]; nothing but the test's writes enters the stream.
const PAUSED: &[&str] = &[
    "--enable-debug-command",
    "yes",
    "--repl-ping-replica-period",
    "3600",
];

/// So many full syncs has a server given. A link that breaks on a busy machine
/// makes one more partial resync.
fn assert_resyncs(server: &Server, partial: u64, full: u64) {
    let given = partial_and_full(server);
    assert!(
        given.0 >= partial && given.1 == full,
        "partial, full: {given:?}"
    );
}

/// Has the tree take nothing over from now on.
fn pause_tree(server: &Server) {
    ok(&mut server.client(), "DEBUG STORAGE PAUSE-TREE");
}

/// A primary, and a replica that has all of it.
fn pair(primary: Server, replica: Server) -> [Server; 2] {
    write(&primary, 0);
    follow(&replica, &primary);
    write(&primary, 1);
    await_sync(&replica, &primary);
    [primary, replica]
}

fn lead(server: &Server) {
    ok(&mut server.client(), "REPLICAOF NO ONE");
}

/// Writes that the other side does not have, or has otherwise.
fn part(server: &Server, round: usize) {
    let mut client = server.client();
    ok(&mut client, "SELECT 1");
    ok(&mut client, "SWAPDB 0 2");
    write(server, round);
    ok(
        &mut client,
        &format!("FLUSHDB {}", ["ASYNC", "SYNC"][round % 2]),
    );
    ok(&mut client, &format!("SET side {}", server.port()));
    let library = "#!lua name=void\nredis.register_function('void', function() return 1 end)";
    let loaded = client.command(&["FUNCTION", "LOAD", "REPLACE", library]);
    assert_eq!(loaded, Reply::bulk("void"));
}

#[test]
fn what_the_new_primary_does_not_have_is_given_up_without_a_full_sync() {
    let [old, new] = pair(Server::start(PAUSED), Server::start(PAUSED));
    pause_tree(&old);
    let sibling = Server::start(PAUSED);
    follow(&sibling, &old);
    await_sync(&sibling, &old);
    // A replica's tree takes over what its primary sends.
    pause_tree(&sibling);
    let mut client = old.client();
    for line in ["MULTI", "SET last before", "INCR counter0", "EXEC"] {
        ok(&mut client, line);
    }
    ok(&mut client, "SET passing v PX 1");
    await_sync(&new, &old);
    lead(&new);
    // The old one goes on as if nothing were, and so does who follows it.
    for line in ["MULTI", "SET last behind", "INCR counter0", "EXEC"] {
        ok(&mut client, line);
    }
    part(&old, 2);
    await_sync(&sibling, &old);
    write(&new, 3);
    follow(&old, &new);
    await_sync(&old, &new);
    assert_same(&new, &old);
    assert_resyncs(&new, 1, 0);
    await_sync(&sibling, &old);
    assert_same(&new, &sibling);
    let functions = run(&mut old.client(), "FUNCTION LIST");
    assert_eq!(functions, Reply::Array(Vec::new()), "a library of the past");
    write(&new, 4);
    await_sync(&old, &new);
    await_sync(&sibling, &old);
    assert_same(&new, &sibling);
    assert_resyncs(&old, 1, 2);
}

#[test]
fn the_way_back_can_be_gone_again_and_lasts_over_restarts() {
    let [mut one, other] = pair(Server::start(PAUSED), Server::start(PAUSED));
    for round in 1..4 {
        // What is void stays behind the tree's offset.
        pause_tree(&one);
        for again in 0..2 {
            write(&one, round);
            await_sync(&other, &one);
            lead(&other);
            part(&one, 10 * round + again);
            write(&other, 20 * round + again);
            follow(&one, &other);
            await_sync(&one, &other);
            assert_same(&one, &other);
            if again == 0 {
                lead(&one);
                follow(&other, &one);
                await_sync(&other, &one);
            }
        }
        one.kill();
        let at = format!("127.0.0.1 {}", other.port());
        one.set_directives(&[PAUSED, &["--replicaof", &at]].concat());
        one.restart();
        await_sync(&one, &other);
        assert_same(&one, &other);
        lead(&one);
        follow(&other, &one);
        await_sync(&other, &one);
    }
    assert_resyncs(&other, 9, 0);
    assert_resyncs(&one, 1, 0);
}

#[test]
fn who_has_taken_too_much_into_its_tree_needs_a_full_sync() {
    let [old, new] = pair(Server::start(&[]), Server::start(&[]));
    lead(&new);
    part(&old, 2);
    let mut client = old.client();
    ok(&mut client, "BGSAVE");
    in_time("a checkpoint of what nobody else has", || {
        info(&mut client, "persistence", "rdb_bgsave_in_progress") == "0"
    });
    write(&new, 3);
    follow(&old, &new);
    await_sync(&old, &new);
    assert_same(&new, &old);
    assert_resyncs(&new, 0, 1);
}

#[test]
fn a_valkey_that_was_promoted_gives_a_partial_resync() {
    let [old, new] = pair(
        Server::start(PAUSED),
        Server::start_peer(Peer::Valkey, PEER),
    );
    pause_tree(&old);
    lead(&new);
    part(&old, 2);
    write(&new, 3);
    follow(&old, &new);
    await_sync(&old, &new);
    assert_same(&new, &old);
    assert_resyncs(&new, 1, 0);
}

#[test]
fn a_crash_on_the_way_back_leaves_one_history_or_the_other() {
    let directives = [PAUSED, &["--appendfsync", "always"]].concat();
    let mut old = Server::start(&directives);
    let new = Server::start(&[]);
    let incr = |server: &Server, count: usize| {
        let one = support::encode(&["INCR", "counter"]);
        server.client().pipeline(&one.repeat(count), count);
    };
    let counter = |server: &Server| run(&mut server.client(), "GET counter");
    let bulk = |number: usize| Reply::bulk(number.to_string());
    let mut total = 0;
    for round in 0..6u64 {
        follow(&new, &old);
        await_sync(&new, &old);
        pause_tree(&old);
        incr(&old, 3000);
        total += 3000;
        await_sync(&new, &old);
        lead(&new);
        incr(&old, 100);
        follow(&old, &new);
        // Whenever it is, one of them it must be.
        std::thread::sleep(Duration::from_millis(round * 60));
        old.kill();
        old.restart();
        let found = counter(&old);
        let whole = [bulk(total), bulk(total + 100)].contains(&found);
        assert!(whole, "round {round}: {found:?} instead of {total}");
        follow(&old, &new);
        await_sync(&old, &new);
        assert_eq!(counter(&old), bulk(total));
        lead(&old);
    }
}

#[test]
fn restarts_without_writes_leave_a_name_that_the_new_primary_knows() {
    let [mut old, new] = pair(Server::start(PAUSED), Server::start(PAUSED));
    assert!(old.terminate().success());
    lead(&new);
    for _ in 0..3 {
        old.restart();
        assert!(old.terminate().success());
    }
    old.restart();
    write(&new, 2);
    follow(&old, &new);
    await_sync(&old, &new);
    assert_same(&new, &old);
    assert_resyncs(&new, 1, 0);
}
