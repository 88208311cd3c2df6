//! A log that failed begins anew with another history: what the keyspace shows
//! and what others were sent may differ at the same offset.

use super::*;

const BREAKABLE: &[&str] = &["--enable-debug-command", "yes"];

/// Has the log fail with the next write, and waits until the tree has taken
/// everything over, though no log can begin behind it.
fn break_log(server: &Server, write: impl FnOnce()) {
    let mut client = server.client();
    ok(&mut client, "DEBUG STORAGE FAIL-SYNCS");
    write();
    in_time("the log has failed", || {
        info(&mut client, "persistence", "storage_status") == "log_failed"
    });
    let before = number(&mut client, "persistence", "checkpoints");
    in_time("the tree has everything", || {
        number(&mut client, "persistence", "checkpoints") > before
    });
}

fn set(server: &Server, value: &str) {
    ok(&mut server.client(), &format!("SET key {value}"));
}

#[test]
fn a_replica_that_may_not_ask_for_names_needs_everything_once_its_log_is_mended() {
    let primary = Server::start(&[]);
    // What Valkey documents for such a user.
    let user = "ACL SETUSER rep on >pw +psync +replconf +ping";
    ok(&mut primary.client(), user);
    let login = ["--primaryuser", "rep", "--primaryauth", "pw"];
    let replica = Server::start(&[BREAKABLE, &login].concat());
    follow(&replica, &primary);
    set(&primary, "1");
    await_sync(&replica, &primary);
    break_log(&replica, || set(&primary, "2"));
    set(&primary, "3");
    let mut client = replica.client();
    ok(&mut client, "DEBUG STORAGE CLEAR");
    in_time("the log is mended", || {
        number(&mut client, "persistence", "log_restarts") == 1
    });
    await_sync(&replica, &primary);
    assert_same(&primary, &replica);
    assert_eq!(partial_and_full(&primary).1, 2);
}

#[test]
fn a_crash_before_the_log_is_mended_leaves_no_two_states_of_one_history() {
    let mut primary = Server::start(BREAKABLE);
    let mut replica = Server::start(BREAKABLE);
    follow(&replica, &primary);
    set(&primary, "1");
    await_sync(&replica, &primary);
    break_log(&replica, || set(&primary, "2"));
    replica.kill();
    let at = format!("127.0.0.1 {}", primary.port());
    replica.set_directives(&[BREAKABLE, &["--replicaof", &at]].concat());
    replica.restart();
    await_sync(&replica, &primary);
    assert_same(&primary, &replica);
    assert_eq!(partial_and_full(&primary).1, 2, "the replica's log");
    break_log(&primary, || set(&primary, "3"));
    primary.kill();
    primary.restart();
    set(&primary, "4");
    await_sync(&replica, &primary);
    assert_same(&primary, &replica);
    assert_eq!(partial_and_full(&primary).1, 1, "the primary's log");
}
