//! A primary that has nothing: what a replica had before, and what lies in its
//! directory, is no more.

use super::*;

#[test]
fn a_dump_that_a_full_sync_has_replaced_is_not_imported_again() {
    let mut donor = Server::start(&[]);
    for n in 0..20 {
        ok(&mut donor.client(), &format!("SET old{n} {n}"));
    }
    ok(&mut donor.client(), "SAVE");
    let dump = std::fs::read(donor.dir().join("dump.rdb")).expect("there is one");
    donor.kill();
    for ends_cleanly in [false, true] {
        let primary = Server::start(&[]);
        let at = format!("127.0.0.1 {}", primary.port());
        let mut replica = Server::start(&[]);
        // It was started once with nothing: it imports all the same.
        assert!(replica.terminate().success());
        std::fs::write(replica.dir().join("dump.rdb"), &dump).expect("it is written");
        replica.restart();
        assert_eq!(run(&mut replica.client(), "DBSIZE"), Reply::Integer(20));
        replica.kill();
        for name in ["tree", "log"] {
            std::fs::remove_dir_all(replica.dir().join(name)).expect("it is there");
        }
        replica.set_directives(&["--replicaof", &at]);
        for _ in 0..2 {
            replica.restart();
            await_sync(&replica, &primary);
            assert_same(&primary, &replica);
            match ends_cleanly {
                true => assert!(replica.terminate().success()),
                false => replica.kill(),
            }
        }
        replica.restart();
        await_sync(&replica, &primary);
        ok(&mut primary.client(), "SET new 1");
        await_sync(&replica, &primary);
        assert_same(&primary, &replica);
        assert_eq!(partial_and_full(&primary), (2, 1));
    }
}
