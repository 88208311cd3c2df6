//! All directives, by area. A new one is a line in one of these files:
//! parsing, CONFIG GET, SET and REWRITE follow from it.

mod cluster;
mod memory;
mod network;
mod persistence;
mod process;
mod replication;
mod security;

use super::directive::{Directive, DirectiveId, Kind, Traits};

const AREAS: [&[Directive]; 7] = [
    network::DIRECTIVES,
    memory::DIRECTIVES,
    persistence::DIRECTIVES,
    replication::DIRECTIVES,
    cluster::DIRECTIVES,
    security::DIRECTIVES,
    process::DIRECTIVES,
];

const COUNT: usize = count();

/// Every directive; a [`DirectiveId`] is an index into it.
pub static DIRECTIVES: [Directive; COUNT] = flatten();

/// Names that were directives once and are still accepted, with one value and
/// without effect.
pub const DEPRECATED: [&str; 6] = [
    "dynamic-hz",
    "events-per-io-thread",
    "io-threads-do-reads",
    "list-max-ziplist-entries",
    "list-max-ziplist-value",
    "lua-replicate-commands",
];

/// The id of a directive known when this is compiled:
/// `const MAXMEMORY: DirectiveId = id("maxmemory");`. An unknown name does not
/// compile in a constant, and is a bug elsewhere.
pub const fn id(name: &str) -> DirectiveId {
    let all: [Directive; COUNT] = flatten();
    let mut at = 0;
    while at < COUNT {
        if equal(all[at].name, name) {
            return DirectiveId::new(at);
        }
        at += 1;
    }
    panic!("no such directive")
}

/// Finds a directive by its name or alias, in any case.
pub fn find(name: &[u8]) -> Option<DirectiveId> {
    find_name(name).map(|(id, _)| id)
}

/// The same, and which of its names that is.
pub(super) fn find_name(name: &[u8]) -> Option<(DirectiveId, &'static str)> {
    DIRECTIVES.iter().enumerate().find_map(|(at, directive)| {
        let same = |known: &&str| known.as_bytes().eq_ignore_ascii_case(name);
        Some((DirectiveId::new(at), directive.names().find(same)?))
    })
}

/// One line of a table.
const fn declare(
    name: &'static str,
    alias: Option<&'static str>,
    kind: Kind,
    default: &'static str,
    traits: Traits,
    doc: &'static str,
) -> Directive {
    Directive {
        name,
        alias,
        kind,
        default,
        traits,
        doc,
    }
}

const fn count() -> usize {
    let (mut area, mut count) = (0, 0);
    while area < AREAS.len() {
        count += AREAS[area].len();
        area += 1;
    }
    count
}

const fn flatten() -> [Directive; COUNT] {
    let mut all = [AREAS[0][0]; COUNT];
    let (mut area, mut at) = (0, 0);
    while area < AREAS.len() {
        let mut line = 0;
        while line < AREAS[area].len() {
            all[at] = AREAS[area][line];
            at += 1;
            line += 1;
        }
        area += 1;
    }
    all
}

const fn equal(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}
