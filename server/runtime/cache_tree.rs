//! A tree for a snapshot of a pure cache: made for it, removed with it.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use redoubt_persistence::tree::{Batch, Meta, Snapshot, Tree, TreeOptions};

use super::recovery::{LIBRARIES, encode_map};
use super::save::temporary_name;
use crate::keyspace::checkpoint::Rows;
use crate::keyspace::stripe::{STRIPES, StripeSet};
use crate::state::Server;

/// A tree that is removed when it is dropped.
pub struct CacheTree {
    tree: Option<Tree>,
    path: PathBuf,
}

impl Drop for CacheTree {
    fn drop(&mut self) {
        // Snapshots keep the file open, and what they see stays readable.
        self.tree = None;
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Ends the walk, however it goes.
struct Walk(&'static Server);

impl Walk {
    fn begin(server: &'static Server) -> Walk {
        server.saves.walking.store(true, Ordering::SeqCst);
        let _place = server.scripting.line.join(StripeSet::ALL);
        server.keyspace.begin_walk();
        Walk(server)
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        self.0.keyspace.end_walk();
        self.0.saves.walking.store(false, Ordering::SeqCst);
    }
}

impl CacheTree {
    /// Everything that the keyspace holds, as of one moment before the return.
    pub fn collect(server: &'static Server) -> Result<CacheTree, String> {
        let path = temporary_name("tree");
        let _ = fs::remove_dir_all(&path);
        let tree = Tree::open(&path, TreeOptions::default()).map_err(|e| e.to_string())?;
        let made = CacheTree {
            tree: Some(tree),
            path,
        };
        let tree = made.tree.as_ref().expect("it was just made");
        let mut batch = tree.begin().map_err(|e| e.to_string())?;
        let walk = Walk::begin(server);
        let mut rows = Rows::default();
        (server.keyspace).walk(&mut rows, &mut |db, rows| {
            if server.saves.is_cancelled() {
                return Err("it was cancelled".into());
            }
            put(&mut batch, db, rows)
        })?;
        let place = server.scripting.line.join(StripeSet::ALL);
        let frozen = server.keyspace.begin_walk_checkpoint();
        drop(place);
        for &db in &frozen.map.physical {
            for stripe in 0..STRIPES {
                let put = &mut |rows: &Rows| put(&mut batch, db, rows);
                (server.keyspace).collect(&frozen, db, stripe, &mut rows, put)?;
            }
        }
        drop(walk);
        let mut meta = Meta::default();
        meta.extra.push(encode_map(&frozen.map));
        let libraries = server.scripting.libraries.read().encode();
        meta.extra.push((LIBRARIES.to_string(), libraries));
        batch.commit(&meta).map_err(|e| e.to_string())?;
        Ok(made)
    }

    /// A view of it.
    pub fn snapshot(&self) -> Result<Snapshot, String> {
        let tree = self.tree.as_ref().expect("it is there until the drop");
        tree.snapshot().map_err(|e| e.to_string())
    }
}

fn put(batch: &mut Batch<'_>, db: u32, rows: &Rows) -> Result<(), String> {
    for row in rows.iter() {
        row.put(batch, db).map_err(|e| e.to_string())?;
    }
    Ok(())
}
