//! What survives a restart: the log, the tree, and the codecs of both.
pub mod rdb;
pub mod tree;
