//! Sorted sets, the blocking ones among them.
//!
//! | file | what it holds for the others |
//! |---|---|
//! | `bounds.rs` | ranges of ranks, scores and members as arguments |
//! | `selection.rs` | which part of a set a range command is about, and how it is replied or stored |
//! | `pop.rs` | taking members off one end |
//! | `combine.rs` | union, intersection and difference of several sets |

mod bounds;
mod bzmpop;
mod bzpop;
mod combine;
mod pop;
pub(super) mod selection;
pub(super) mod zadd;
mod zcard;
mod zcount;
mod zdiff;
mod zincrby;
mod zinter;
mod zintercard;
mod zlexcount;
mod zmpop;
mod zmscore;
mod zpop;
mod zrandmember;
mod zrange;
mod zrangebylex;
mod zrangebyscore;
mod zrangestore;
mod zrank;
mod zrem;
mod zremrange;
mod zrevrange;
mod zscan;
mod zscore;
mod zunion;

use super::command::Command;

/// This family's commands.
pub const COMMANDS: &[&Command] = &[
    &bzmpop::COMMAND,
    &bzpop::BZPOPMAX,
    &bzpop::BZPOPMIN,
    &zadd::COMMAND,
    &zcard::COMMAND,
    &zcount::COMMAND,
    &zdiff::ZDIFF,
    &zdiff::ZDIFFSTORE,
    &zincrby::COMMAND,
    &zinter::ZINTER,
    &zinter::ZINTERSTORE,
    &zintercard::COMMAND,
    &zlexcount::COMMAND,
    &zmpop::COMMAND,
    &zmscore::COMMAND,
    &zpop::ZPOPMAX,
    &zpop::ZPOPMIN,
    &zrandmember::COMMAND,
    &zrange::COMMAND,
    &zrangebylex::ZRANGEBYLEX,
    &zrangebylex::ZREVRANGEBYLEX,
    &zrangebyscore::ZRANGEBYSCORE,
    &zrangebyscore::ZREVRANGEBYSCORE,
    &zrangestore::COMMAND,
    &zrank::ZRANK,
    &zrank::ZREVRANK,
    &zrem::COMMAND,
    &zremrange::ZREMRANGEBYLEX,
    &zremrange::ZREMRANGEBYRANK,
    &zremrange::ZREMRANGEBYSCORE,
    &zrevrange::COMMAND,
    &zscan::COMMAND,
    &zscore::COMMAND,
    &zunion::ZUNION,
    &zunion::ZUNIONSTORE,
];
