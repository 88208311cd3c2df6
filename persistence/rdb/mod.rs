//! The RDB codec.
