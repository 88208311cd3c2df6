//! stub
pub mod config;
pub mod glob;
pub mod number;
pub mod resp;
