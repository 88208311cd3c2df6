//! ACL CAT: the categories of commands.

use super::{BASE, too_many};
use crate::acl::selector::{category, in_category};
use crate::commands::command::{Arg, Command, acl};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::commands::table::table;

/// ACL CAT [category]
pub const COMMAND: Command = Command {
    name: "acl|cat",
    summary: "Lists the categories of commands, or the commands of one.",
    complexity: "O(1) since the categories and commands are a fixed set.",
    arity: -2,
    args: &[Arg::string("category").optional()],
    run,
    ..BASE
};

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let name = match &args[2..] {
        [] => {
            ctx.reply.array(acl::NAMES.len());
            let names = acl::NAMES.iter();
            names.for_each(|name| ctx.reply.bulk(name.as_bytes()));
            return Ok(());
        }
        [name] => *name,
        _ => return Err(too_many(args)),
    };
    let bit = category(name).ok_or_else(|| {
        let shown = String::from_utf8_lossy(&name[..name.len().min(128)]);
        CommandError::err(format!("Unknown category '{shown}'"))
    })?;
    let commands = table().all().iter();
    let names: Vec<&str> = commands
        .filter(|command| in_category(command, bit))
        .map(|command| command.name)
        .collect();
    ctx.reply.array(names.len());
    names
        .iter()
        .for_each(|name| ctx.reply.bulk(name.as_bytes()));
    Ok(())
}
