//! The Redoubt server.
pub mod keyspace;
