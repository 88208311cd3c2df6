//! The keyspace's value types.
mod block;
pub mod intset;
pub mod limits;
pub mod list;
pub mod listpack;
pub mod table;
