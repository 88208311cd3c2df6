//! Stub.
use super::lua::Lua;
pub fn replace(_: Lua) {}
