//! XSETID: sets what a stream remembers of its ids.

use super::ids;
use crate::commands::args::{integer, is};
use crate::commands::command::{Arg, Command, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::recorder::class;
use crate::keyspace::stream::{Entries, StreamId};

/// XSETID key last-id [ENTRIESADDED entries-added] [MAXDELETEDID id]
pub const COMMAND: Command = Command {
    name: "xsetid",
    group: Group::Stream,
    since: "5.0.0",
    summary: "Sets a stream's last id; meant for servers among themselves.",
    complexity: "O(1)",
    arity: -3,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    acl: acl::STREAM,
    keys: &[KeySpec::one(1, &["RW", "update"])],
    args: &[
        Arg::key("key"),
        Arg::string("last-id"),
        Arg::integer("entries-added")
            .after("ENTRIESADDED")
            .optional()
            .since("7.0.0"),
        Arg::string("max-deleted-id")
            .after("MAXDELETEDID")
            .optional()
            .since("7.0.0"),
    ],
    run,
    ..Command::BASE
};

struct Options {
    last: StreamId,
    added: Option<u64>,
    max_deleted: Option<StreamId>,
}

fn parse(args: &[&[u8]]) -> Result<Options, CommandError> {
    let mut options = Options {
        last: ids::strict(args[2])?,
        added: None,
        max_deleted: None,
    };
    for option in args[3..].chunks(2) {
        match option {
            [word, number] if is(word, "entriesadded") => {
                let added = u64::try_from(integer(number)?);
                let added = added.map_err(|_| CommandError::err("entries_added must be positive"));
                options.added = Some(added?);
            }
            [word, id] if is(word, "maxdeletedid") => {
                let id = ids::strict(id)?;
                if options.last < id {
                    return Err(CommandError::err(
                        "The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
                    ));
                }
                options.max_deleted = (id != StreamId::MIN).then_some(id);
            }
            _ => return Err(CommandError::Syntax),
        }
    }
    Ok(options)
}

fn check(entries: &Entries, options: &Options) -> CommandResult {
    if options.last < entries.max_deleted_id() {
        return Err(CommandError::err(
            "The ID specified in XSETID is smaller than current max_deleted_entry_id",
        ));
    }
    if entries.has_after(options.last) {
        return Err(CommandError::err(
            "The ID specified in XSETID is smaller than the target stream top item",
        ));
    }
    if options.added.is_some_and(|added| added < entries.len()) {
        return Err(CommandError::err(
            "The entries_added specified in XSETID is smaller than the target stream length",
        ));
    }
    Ok(())
}

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let (key, options) = (args[1], parse(args)?);
    let stream = ctx.db.stream_mut(key)?.ok_or(CommandError::NoSuchKey)?;
    check(&stream.entries, &options)?;
    let Options {
        last,
        added,
        max_deleted,
    } = options;
    stream.entries.set_ids(last, added, max_deleted);
    ctx.db.changed_beside(class::STREAM, "xsetid", key);
    ctx.reply.ok();
    Ok(())
}
