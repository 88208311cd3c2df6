//! Geospatial indexes: sorted sets whose scores are cells of a grid on the
//! globe.
//!
//! | file | what it holds for the others |
//! |---|---|
//! | `grid.rs` | cells: from coordinates and back, neighbours, ranges of scores |
//! | `shape.rs` | distances, the shapes that can be searched, the cells that cover them |
//! | `units.rs` | coordinates and distances as arguments and in replies |
//! | `query.rs` | a search's arguments |
//! | `search.rs` | what all searches do: search, reply, store |

mod geoadd;
mod geodist;
mod geohash;
mod geopos;
mod georadius;
mod geosearch;
mod grid;
mod query;
mod search;
mod shape;
#[cfg(test)]
mod tests;
mod units;

use super::command::Command;

/// This family's commands.
pub const COMMANDS: &[&Command] = &[
    &geoadd::COMMAND,
    &geodist::COMMAND,
    &geohash::COMMAND,
    &geopos::COMMAND,
    &georadius::GEORADIUS,
    &georadius::GEORADIUS_RO,
    &georadius::GEORADIUSBYMEMBER,
    &georadius::GEORADIUSBYMEMBER_RO,
    &geosearch::GEOSEARCH,
    &geosearch::GEOSEARCHSTORE,
];
