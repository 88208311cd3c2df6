//! Shutdowns that wait for replicas, and those that are called off.

use super::pauses::{pair_with_a_stopped_replica, waiting_writer};
use super::*;
use support::encode;

const FAILED: &str = "ERR Errors trying to SHUTDOWN. Check logs.";
/// Longer than any test waits for the end of a server.
const LONG: &[&str] = &["--shutdown-timeout", "100000"];

fn pause_reason(server: &Server) -> String {
    info(&mut server.client(), "clients", "paused_reason")
}

/// Whether the server waits for its replicas.
fn await_wait(server: &Server) {
    in_time("it waits for its replica", || {
        pause_reason(server) == "shutdown_in_progress"
    });
}

#[test]
fn a_shutdown_waits_until_its_replica_has_everything() {
    let [mut primary, replica] = pair_with_a_stopped_replica(LONG);
    let (count, value) = (10_000, "v".repeat(2000));
    let sets: Vec<u8> = (0..count)
        .flat_map(|n| encode(&["SET", &format!("k{n}"), &value]))
        .collect();
    let replies = primary.client().pipeline(&sets, count);
    assert!(replies.iter().all(|reply| *reply == Reply::ok()));
    primary.signal(libc::SIGTERM);
    await_wait(&primary);
    replica.signal(libc::SIGCONT);
    assert!(primary.await_end().success());
    let size = run(&mut replica.client(), "DBSIZE");
    assert_eq!(size, Reply::Integer(count as i64 + 1));
}

#[test]
fn a_shutdown_that_waits_can_be_called_off() {
    let [primary, _replica] = pair_with_a_stopped_replica(LONG);
    let mut client = primary.client();
    let abort = "SHUTDOWN ABORT";
    let none = Reply::Error("ERR No shutdown in progress.".into());
    assert_eq!(run(&mut client, abort), none);
    for _ in 0..2 {
        let mut asker = primary.client();
        asker.send(&encode(&["SHUTDOWN"]));
        await_wait(&primary);
        let left = info(&mut client, "server", "shutdown_in_milliseconds");
        assert!(!left.is_empty());
        let mut writer = waiting_writer(&primary);
        assert_eq!(run(&mut client, "GET a"), Reply::bulk("1"));
        assert_eq!(run(&mut client, abort), Reply::ok());
        assert_eq!(asker.read(), Reply::Error(FAILED.into()));
        assert_eq!(asker.command(&["PING"]), Reply::Simple("PONG".into()));
        assert_eq!(writer.read(), Reply::ok());
        assert_eq!(run(&mut client, abort), none);
        assert_eq!(run(&mut client, "SET a 1"), Reply::ok());
    }
    assert_eq!(pause_reason(&primary), "none");
}

#[test]
fn who_is_in_a_hurry_is_not_kept_waiting() {
    for hurry in [
        "a second signal",
        "SHUTDOWN NOW",
        "no time",
        "its time is over",
    ] {
        let time = match hurry {
            "no time" => "0",
            "its time is over" => "1",
            _ => LONG[1],
        };
        let [mut primary, _replica] = pair_with_a_stopped_replica(&[LONG[0], time]);
        primary.signal(libc::SIGTERM);
        match hurry {
            "a second signal" => {
                await_wait(&primary);
                primary.signal(libc::SIGTERM);
            }
            "SHUTDOWN NOW" => {
                await_wait(&primary);
                primary.client().send(&encode(&["SHUTDOWN", "NOW"]));
            }
            _ => {}
        }
        assert!(primary.await_end().success(), "{hurry}");
    }
}
