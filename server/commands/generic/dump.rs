//! DUMP: a value as bytes that RESTORE takes.

use redoubt_persistence::rdb::dump;

use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;
use crate::keyspace::codec;

/// DUMP key
pub const COMMAND: Command = Command {
    name: "dump",
    group: Group::Generic,
    since: "2.6.0",
    summary: "Gives a value as bytes that RESTORE takes.",
    complexity: "O(N) for the N bytes of the value.",
    arity: 2,
    flags: flag::READONLY,
    acl: acl::KEYSPACE,
    keys: &[KeySpec::one(1, &["RO", "access"])],
    args: &[Arg::key("key")],
    run,
    ..Command::BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let mut payload = Vec::new();
    match ctx.db.lookup(args[1])? {
        None => ctx.reply.null(),
        Some(entry) => {
            codec::encode_payload(entry.value(), &mut payload);
            ctx.reply.bulk(&dump::wrap(&payload));
        }
    }
    Ok(())
}
