//! GEORADIUS and GEORADIUSBYMEMBER: the older searches of a circle, with the
//! variants that can't store.

use super::search::{Form, ORDER, run};
use super::units::UNIT;
use crate::commands::args::is;
use crate::commands::command::{Arg, ArgKind, Begin, Command, Find, Group, KeySpec, acl, flag};

const COMPLEXITY: &str =
    "O(N+log(M)), N being the members in the box around the circle and M those in the index.";

const WITH_COORD: Arg = Arg::word("withcoord", "WITHCOORD").optional();
const WITH_DIST: Arg = Arg::word("withdist", "WITHDIST").optional();
const WITH_HASH: Arg = Arg::word("withhash", "WITHHASH").optional();

const COUNT: Arg = Arg::block(
    "count-block",
    &[
        Arg::integer("count").after("COUNT"),
        Arg::word("any", "ANY").optional().since("6.2.0"),
    ],
)
.optional();

const STORE: Arg = Arg::one_of(
    "store",
    &[
        Arg::new("storekey", ArgKind::Key(1)).after("STORE"),
        Arg::new("storedistkey", ArgKind::Key(2)).after("STOREDIST"),
    ],
)
.optional();

const SOURCE: KeySpec = KeySpec::one(1, &["RO", "access"]);

/// The key behind STORE or STOREDIST.
const fn stored(word: &'static str, from: i32) -> KeySpec {
    KeySpec {
        flags: &["OW", "update", "variable_flags"],
        begin: Begin::Keyword(word, from),
        find: Find::Range {
            last: 0,
            step: 1,
            limit: 0,
        },
        notes: "",
    }
}

/// The key of the index, and the one that the result goes to: of several that
/// behind the last STORE or STOREDIST.
fn find_keys(args: &[&[u8]], found: &mut dyn FnMut(usize, usize)) -> bool {
    let stores = |word: &[u8]| ["STORE", "STOREDIST"].iter().any(|store| is(word, store));
    let (mut at, mut stored) = (5, None);
    while at + 1 < args.len() {
        if stores(args[at]) {
            at += 1;
            stored = Some(at);
        }
        at += 1;
    }
    found(1, 0);
    if let Some(at) = stored {
        found(at, 1);
    }
    true
}

/// GEORADIUS key longitude latitude radius M | KM | FT | MI [WITHCOORD]
/// [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | DESC] [STORE key |
/// STOREDIST key]
pub const GEORADIUS: Command = Command {
    name: "georadius",
    group: Group::Geo,
    since: "3.2.0",
    summary: "Finds the members within a radius of a point, and can store them.",
    complexity: COMPLEXITY,
    arity: -6,
    flags: flag::WRITE | flag::DENYOOM | flag::MOVABLEKEYS,
    acl: acl::GEO,
    keys: &[SOURCE, stored("STORE", 6), stored("STOREDIST", 6)],
    find_keys: Some(find_keys),
    args: &[
        Arg::key("key"),
        Arg::double("longitude"),
        Arg::double("latitude"),
        Arg::double("radius"),
        UNIT,
        WITH_COORD,
        WITH_DIST,
        WITH_HASH,
        COUNT,
        ORDER,
        STORE,
    ],
    run: |ctx, args| run(ctx, args, Form::Around { may_store: true }),
    ..Command::BASE
};

/// GEORADIUS_RO: the same without STORE.
pub const GEORADIUS_RO: Command = Command {
    name: "georadius_ro",
    since: "3.2.10",
    summary: "Finds the members within a radius of a point.",
    flags: flag::READONLY,
    keys: &[SOURCE],
    find_keys: None,
    args: &[
        Arg::key("key"),
        Arg::double("longitude"),
        Arg::double("latitude"),
        Arg::double("radius"),
        UNIT,
        WITH_COORD,
        WITH_DIST,
        WITH_HASH,
        COUNT,
        ORDER,
    ],
    run: |ctx, args| run(ctx, args, Form::Around { may_store: false }),
    ..GEORADIUS
};

/// GEORADIUSBYMEMBER key member radius M | KM | FT | MI [WITHCOORD]
/// [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | DESC] [STORE key |
/// STOREDIST key]
pub const GEORADIUSBYMEMBER: Command = Command {
    name: "georadiusbymember",
    summary: "Finds the members within a radius of one of them, and can store them.",
    arity: -5,
    keys: &[SOURCE, stored("STORE", 5), stored("STOREDIST", 5)],
    args: &[
        Arg::key("key"),
        Arg::string("member"),
        Arg::double("radius"),
        UNIT,
        WITH_COORD,
        WITH_DIST,
        WITH_HASH,
        COUNT,
        ORDER,
        STORE,
    ],
    run: |ctx, args| run(ctx, args, Form::AroundMember { may_store: true }),
    ..GEORADIUS
};

/// GEORADIUSBYMEMBER_RO: the same without STORE.
pub const GEORADIUSBYMEMBER_RO: Command = Command {
    name: "georadiusbymember_ro",
    since: "3.2.10",
    summary: "Finds the members within a radius of one of them.",
    flags: flag::READONLY,
    keys: &[SOURCE],
    find_keys: None,
    args: &[
        Arg::key("key"),
        Arg::string("member"),
        Arg::double("radius"),
        UNIT,
        WITH_COORD,
        WITH_DIST,
        WITH_HASH,
        COUNT,
        ORDER,
    ],
    run: |ctx, args| run(ctx, args, Form::AroundMember { may_store: false }),
    ..GEORADIUSBYMEMBER
};
