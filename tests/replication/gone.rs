//! Parts of a replica's data directory are gone, as when somebody wants to have
//! it sent everything anew.

use std::path::PathBuf;

use super::*;

/// The directories of log or tree, under whatever names.
fn directories(server: &Server, kind: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(server.dir()).expect("it is there");
    let paths = entries.flatten().map(|entry| entry.path());
    let named = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy());
        name.is_some_and(|name| name.starts_with(kind))
    };
    paths.filter(named).collect()
}

fn remove(server: &Server, kind: &str) {
    let found = directories(server, kind);
    assert!(!found.is_empty(), "{kind}");
    for path in found {
        std::fs::remove_dir_all(path).expect("it can be removed");
    }
}

#[test]
fn a_replica_without_its_tree_or_log_is_sent_everything_or_does_not_start() {
    let primary = Server::start(&[]);
    write(&primary, 0);
    let at = format!("127.0.0.1 {}", primary.port());
    for (full, gone) in (1..)
        .map(|n| 2 * n)
        .zip([["log"].as_slice(), &["tree", "log"], &["tree"]])
    {
        let mut replica = Server::start(&["--replicaof", &at]);
        await_sync(&replica, &primary);
        ok(&mut primary.client(), &format!("SET full {full}"));
        await_sync(&replica, &primary);
        replica.kill();
        gone.iter().for_each(|kind| remove(&replica, kind));
        ok(&mut primary.client(), &format!("SET after {full}"));
        if gone == ["tree"] {
            for _ in 0..2 {
                let refusal = replica.restart_refused();
                assert!(refusal.contains("the tree is gone"), "{refusal}");
            }
            // As the text says.
            remove(&replica, "log");
        }
        replica.restart();
        await_sync(&replica, &primary);
        assert_same(&replica, &primary);
        assert_eq!(partial_and_full(&primary).1, full, "{gone:?}");
    }
}
