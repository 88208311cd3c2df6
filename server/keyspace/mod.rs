//! The keyspace.
mod block;
pub mod element;
pub mod hash;
pub mod intset;
pub mod limits;
pub mod list;
pub mod listpack;
mod rank_tree;
pub mod score;
pub mod set;
pub mod table;
pub mod zset;
