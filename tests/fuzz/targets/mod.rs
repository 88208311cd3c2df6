//! What is fuzzed: one file a reader of bytes.

pub mod bus;
pub mod config;
pub mod log;
pub mod rdb;
pub mod request;
pub mod restore;
