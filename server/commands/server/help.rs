//! HELP: the lines that containers of subcommands answer.

use crate::commands::context::Context;
use crate::commands::error::CommandResult;

/// Replies a heading and the lines, closing with the one for HELP itself.
pub fn reply(ctx: &mut Context<'_>, container: &str, lines: &[&str]) -> CommandResult {
    ctx.reply.array(lines.len() + 3);
    ctx.reply.simple(&format!(
        "{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
    ));
    lines.iter().for_each(|line| ctx.reply.simple(line));
    ctx.reply.simple("HELP");
    ctx.reply.simple("    Print this help.");
    Ok(())
}
