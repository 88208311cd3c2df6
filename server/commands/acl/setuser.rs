//! ACL SETUSER, ACL DELUSER: changes users.

use super::{ADMIN, close_clients};
use crate::acl::rule::has_spaces;
use crate::acl::selector::fits_any;
use crate::acl::user::User;
use crate::commands::command::{Arg, Command};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::state::Server;

/// ACL SETUSER username [rule …]
pub const SETUSER: Command = Command {
    name: "acl|setuser",
    summary: "Makes a user, or changes one.",
    complexity: "O(N). Where N is the number of rules provided.",
    arity: -3,
    args: &[
        Arg::string("username"),
        Arg::string("rule").optional().multiple().since("7.0.0"),
    ],
    run: set_user,
    ..ADMIN
};

/// ACL DELUSER username [username …]
pub const DELUSER: Command = Command {
    name: "acl|deluser",
    summary: "Removes users and closes their connections.",
    complexity: "O(1) amortized time considering the typical user.",
    arity: -3,
    args: &[Arg::string("username").multiple()],
    run: delete_users,
    ..ADMIN
};

fn set_user(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let name = args[2];
    if has_spaces(name) {
        return Err(CommandError::err(
            "Usernames can't contain spaces or null characters",
        ));
    }
    let server = ctx.server;
    let changed = server.acl.change(name, |user| user.apply_all(&args[3..]));
    let (before, now) = changed.map_err(CommandError::err)?;
    if let Some(before) = before {
        close_subscribers(ctx, &before, &now);
    }
    ctx.reply.ok();
    Ok(())
}

fn delete_users(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    if args[2..].contains(&crate::acl::DEFAULT) {
        return Err(CommandError::err("The 'default' user cannot be removed"));
    }
    let mut deleted = 0;
    for name in &args[2..] {
        if ctx.server.acl.remove(name) {
            deleted += 1;
            close_clients(ctx, |client| client.info.lock().user == *name);
        }
    }
    ctx.reply.integer(deleted);
    Ok(())
}

/// Closes the connections of a user that listen to a channel that the user may
/// not use any more.
pub fn close_subscribers(ctx: &mut Context<'_>, before: &User, now: &User) {
    let Some(allowed) = channels_if_fewer(before, now) else {
        return;
    };
    let server: &Server = ctx.server;
    close_clients(ctx, |client| {
        let is_theirs = client.is_subscriber() && client.info.lock().user == now.name;
        is_theirs && !server.pubsub.all_allowed(client.id, &allowed)
    });
}

/// The channel patterns of a user, unless it may use all that it could before.
fn channels_if_fewer(before: &User, now: &User) -> Option<Vec<Vec<u8>>> {
    if now
        .selectors()
        .any(|selector| selector.allows_all_channels())
    {
        return None;
    }
    let of = |user: &User| -> Vec<Vec<u8>> {
        let selectors = user.selectors();
        selectors.flat_map(|s| s.channels().to_vec()).collect()
    };
    let (old, new) = (of(before), of(now));
    let had_all = before.selectors().any(|s| s.allows_all_channels());
    let fewer = had_all || !old.iter().all(|channel| fits_any(&new, channel, true));
    fewer.then_some(new)
}
