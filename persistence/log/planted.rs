//! Bugs that are planted to see that tests catch them.

/// Bugs that the crash tests plant, to see that they are caught.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Now and then a sync is left out.
    SkipSync,
    /// A sync that failed is tried again.
    RetrySync,
    /// The log is trimmed below what is synced, not what the tree has.
    TrimEarly,
    /// Rows and offset are committed one after the other.
    SplitCommit,
    /// What a checkpoint was to write counts as written though its commit failed.
    ForgetFailed,
}
