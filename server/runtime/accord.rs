//! Whether what lies in a data directory belongs together: the tree, the log,
//! and the file that says whose history they are. Each can be removed, or put
//! back from elsewhere, without the others.
//!
//! | the file | the tree | the log | |
//! |---|---|---|---|
//! | there | written | there | they go on, unless a part of the log is missing |
//! | there | written | gone | the tree counts, as another history: replicas get full syncs, and so does this server as one |
//! | there | never written, or gone | gone | nothing is here: a new history |
//! | there | gone | there | refused: the log alone is not what there was |
//! | none | | | those of a new server, or of one whose file was given up |
//!
//! A tree gets its first commit before the file is written for the first time.
//! Older builds didn't do that: what their file tells has to do.

use std::fs::File;
use std::path::Path;

use redoubt_persistence::log::RecoveryReport;
use redoubt_persistence::tree::{Meta, Tree};

use crate::replication::identity::{FILE, Identity, Kept, TREE, forget};
use crate::replication::new_id;

/// What is known before the log is opened.
pub struct Directory<'a> {
    /// The data directory.
    pub dir: &'a Path,
    /// Where in it the log is.
    pub log_dir: &'a Path,
    /// The tree, open.
    pub tree: &'a Tree,
    /// What it says of itself.
    pub meta: &'a Meta,
}

impl Directory<'_> {
    fn is_tree_unwritten(&self) -> Result<bool, String> {
        let looked = self.tree.is_unwritten();
        looked.map_err(|e| format!("can't read the tree's state: {e}"))
    }

    /// What there is of the file where there is no log: its names and offsets
    /// are not for the log that is made next, so they go before.
    pub fn without_log(&self) -> Result<Option<Kept>, String> {
        let failed = |error| format!("can't write the replication state: {error}");
        let log = self.log_dir.display();
        if self.is_tree_unwritten()? {
            tracing::warn!("{log} and the tree are gone: this server begins with nothing");
            forget(self.dir).map_err(failed)?;
            return Ok(None);
        }
        tracing::warn!(
            "{log} is gone: this server begins with what the tree holds, and replicas need full syncs"
        );
        let mut identity = Identity::new(new_id());
        identity.begin = self.meta.offset;
        identity.save(self.dir).map_err(failed)?;
        Ok(Some(Kept {
            identity,
            vouches: true,
        }))
    }

    /// Whose history the tree and the log are that was opened, if it is not
    /// new. The tree has a commit afterwards.
    pub fn agree(
        &self,
        kept: Option<Kept>,
        report: &RecoveryReport,
    ) -> Result<Option<Identity>, String> {
        let (oldest, end, applied) = (report.oldest.0, report.end.0, self.meta.offset);
        let log = self.log_dir.display();
        if end < applied || oldest > applied {
            return Err(format!(
                "the log in {log} holds offsets {oldest} to {end}, but the tree has applied {applied}: a part of the log is missing. Restore the directory from a backup or a replica"
            ));
        }
        let unwritten = self.is_tree_unwritten()?;
        let mut identity = None;
        if let Some(kept) = kept {
            let had = unwritten && had_tree(&kept);
            if had && (kept.vouches || end > 0) {
                return Err(self.tree_is_gone());
            }
            let void = kept.identity.void.last().map_or(0, |(_, to)| *to);
            if void > end {
                return Err(format!(
                    "the log in {log} ends at offset {end}, but {} knows of {void}: a part of the log is missing. Restore the directory from a backup or a replica",
                    self.dir.join(FILE).display()
                ));
            }
            // A build that was older may have ended within its import.
            identity = (!had).then_some(kept.identity);
        }
        if unwritten {
            let begun = self.begin_tree();
            begun.map_err(|e| format!("can't write to the tree: {e}"))?;
        }
        Ok(identity)
    }

    fn tree_is_gone(&self) -> String {
        let (tree, log) = (self.dir.join(TREE), self.log_dir);
        format!(
            "{} is empty, but by {} there was more than the log has: the tree is gone. Restore the directory from a backup or a replica; or, to begin with nothing, remove {} as well: a replica is then sent everything by its primary",
            tree.display(),
            self.dir.join(FILE).display(),
            log.display()
        )
    }

    fn begin_tree(&self) -> Result<(), String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let batch = self.tree.begin().map_err(|e| text(&e))?;
        batch.commit(&Meta::default()).map_err(|e| text(&e))?;
        let dir = File::open(self.dir.join(TREE)).map_err(|e| text(&e))?;
        dir.sync_all().map_err(|e| text(&e))
    }
}

/// Whether there was a commit in the tree when the file was written. If it is
/// of an older build, that is known where a full sync or a dump was followed:
/// nothing else sets the offset apart from the log's, but the way back to a
/// fork, which leaves void parts.
fn had_tree(Kept { identity, vouches }: &Kept) -> bool {
    *vouches || identity.base != 0 && identity.void.is_empty()
}
