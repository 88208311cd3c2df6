//! ACL LOAD, ACL SAVE: the users in the file that `aclfile` names.

use super::setuser::close_subscribers;
use super::{ADMIN, close_clients};
use crate::acl::file;
use crate::commands::command::Command;
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::config::id;

/// ACL LOAD
pub const LOAD: Command = Command {
    name: "acl|load",
    summary: "Reads the users from the ACL file again.",
    complexity: "O(N). Where N is the number of configured users.",
    run: load,
    ..ADMIN
};

/// ACL SAVE
pub const SAVE: Command = Command {
    name: "acl|save",
    summary: "Writes the users to the ACL file.",
    complexity: "O(N). Where N is the number of configured users.",
    run: save,
    ..ADMIN
};

fn path(ctx: &Context<'_>) -> Result<String, CommandError> {
    let path = ctx.server.config.read().string(id("aclfile")).into_owned();
    if path.is_empty() {
        return Err(CommandError::err(
            "This instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a configuration file set) in order to store users in the configuration.",
        ));
    }
    Ok(path)
}

/// All of the file or nothing is taken over. Connections whose user is gone
/// are closed, and those that listen to what their user may not any more.
fn load(ctx: &mut Context<'_>, _: &[&[u8]]) -> CommandResult {
    let path = path(ctx)?;
    let acl = &ctx.server.acl;
    let users = file::read(&path, acl.new_channels()).map_err(CommandError::err)?;
    let before = acl.replace_all(users);
    for (name, old) in before {
        match acl.user(&name) {
            Some(new) => close_subscribers(ctx, &old, &new),
            None => close_clients(ctx, |client| client.info.lock().user == name),
        }
    }
    ctx.reply.ok();
    Ok(())
}

fn save(ctx: &mut Context<'_>, _: &[&[u8]]) -> CommandResult {
    let path = path(ctx)?;
    file::save(&ctx.server.acl, &path).map_err(|error| {
        tracing::warn!("saving the ACL file {path}: {error}");
        CommandError::err(
            "There was an error trying to save the ACLs. Please check the server logs for more information",
        )
    })?;
    ctx.reply.ok();
    Ok(())
}
