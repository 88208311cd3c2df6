//! GEOSEARCH and GEOSEARCHSTORE: the members inside a circle, box or polygon.

use super::search::{Form, ORDER, run};
use super::units::{COORDINATES, UNIT};
use crate::commands::command::{Arg, ArgKind, Command, Group, KeySpec, acl, flag};

const FROM: Arg = Arg::one_of(
    "from",
    &[
        Arg::string("member").after("FROMMEMBER"),
        Arg::block("fromlonlat", COORDINATES).after("FROMLONLAT"),
    ],
)
.optional();

const BY: Arg = Arg::one_of(
    "by",
    &[
        Arg::block("circle", &[Arg::double("radius").after("BYRADIUS"), UNIT]),
        Arg::block(
            "box",
            &[
                Arg::double("width").after("BYBOX"),
                Arg::double("height"),
                UNIT,
            ],
        ),
        Arg::block(
            "polygon",
            &[
                Arg::integer("num-vertices").after("BYPOLYGON"),
                Arg::block("vertices", COORDINATES).multiple(),
            ],
        )
        .since("9.0.0"),
    ],
);

const COUNT: Arg = Arg::block(
    "count-block",
    &[
        Arg::integer("count").after("COUNT"),
        Arg::word("any", "ANY").optional(),
    ],
)
.optional();

/// GEOSEARCH key FROMMEMBER member | FROMLONLAT longitude latitude BYRADIUS
/// radius unit | BYBOX width height unit [ASC | DESC] [COUNT count [ANY]]
/// [WITHCOORD] [WITHDIST] [WITHHASH]; BYPOLYGON num-vertices longitude
/// latitude … stands for both.
pub const GEOSEARCH: Command = Command {
    name: "geosearch",
    group: Group::Geo,
    since: "6.2.0",
    summary: "Finds the members inside a circle, box or polygon.",
    complexity: "O(N+log(M)), N being the members in the box around the shape and M those inside it.",
    arity: -7,
    flags: flag::READONLY,
    acl: acl::GEO,
    keys: &[KeySpec::one(1, &["RO", "access"])],
    args: &[
        Arg::key("key"),
        FROM,
        BY,
        ORDER,
        COUNT,
        Arg::word("withcoord", "WITHCOORD").optional(),
        Arg::word("withdist", "WITHDIST").optional(),
        Arg::word("withhash", "WITHHASH").optional(),
    ],
    run: |ctx, args| run(ctx, args, Form::Search),
    ..Command::BASE
};

/// GEOSEARCHSTORE destination source, then as GEOSEARCH, with STOREDIST in
/// place of the WITH options.
pub const GEOSEARCHSTORE: Command = Command {
    name: "geosearchstore",
    summary: "Stores the members inside a circle, box or polygon under another key.",
    arity: -8,
    flags: flag::WRITE | flag::DENYOOM,
    keys: &[
        KeySpec::one(1, &["OW", "update"]),
        KeySpec::one(2, &["RO", "access"]),
    ],
    args: &[
        Arg::key("destination"),
        Arg::new("source", ArgKind::Key(1)),
        FROM,
        BY,
        ORDER,
        COUNT,
        Arg::word("storedist", "STOREDIST").optional(),
    ],
    run: |ctx, args| run(ctx, args, Form::SearchStore),
    ..GEOSEARCH
};
