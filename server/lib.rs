//! stub
pub mod keyspace;
