//! Atomic slot migration's threads: one for each migration, at the source
//! ([`export`]) and at the target ([`import`]).
//!
//! ```text
//! source: snapshot of the tree at X ─► commands ─┐
//!         log from X ─► filter ──────────────────┴─► target: stored, logged, hidden
//!         pause ─► rest of the log ─► grant ───────► target: synced, claimed, shown
//! ```

pub mod export;
mod filter;
pub mod import;
mod peer;

/// How long a command may take from the look at a pause to its lock, and how
/// often a thread that waits looks up.
const LOOK: std::time::Duration = std::time::Duration::from_millis(20);
