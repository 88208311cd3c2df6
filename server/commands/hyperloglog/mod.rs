//! HyperLogLog: how many different elements a set has, estimated from 16384
//! registers in a string of Redis's layout.
//!
//! | file | what it holds for the others |
//! |---|---|
//! | `hash.rs` | an element's register and value |
//! | `dense.rs`, `sparse.rs` | the two representations of the registers |
//! | `sketch.rs` | the string: header, either representation, cached count |
//! | `estimate.rs` | the estimate |
//! | `load.rs` | the string under a key, checked |

mod dense;
mod estimate;
mod hash;
mod load;
mod pfadd;
mod pfcount;
mod pfdebug;
mod pfmerge;
mod pfselftest;
mod sketch;
mod sparse;
#[cfg(test)]
mod tests;

use super::command::Command;

/// Registers of a sketch.
const REGISTERS: usize = 1 << 14;

/// This family's commands.
pub const COMMANDS: &[&Command] = &[
    &pfadd::COMMAND,
    &pfcount::COMMAND,
    &pfdebug::COMMAND,
    &pfmerge::COMMAND,
    &pfselftest::COMMAND,
];
