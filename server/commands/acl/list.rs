//! ACL GETUSER, LIST, USERS, WHOAMI: shows users.

use super::{ADMIN, BASE};
use crate::acl::DEFAULT;
use crate::acl::selector::Selector;
use crate::commands::command::{Arg, Command};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;
use crate::resp::reply::ReplyBuffer;

/// ACL GETUSER username
pub const GETUSER: Command = Command {
    name: "acl|getuser",
    summary: "Shows a user's rules.",
    complexity: "O(N). Where N is the number of password, command and pattern rules that the user has.",
    arity: 3,
    args: &[Arg::string("username")],
    run: get_user,
    ..ADMIN
};

/// ACL LIST
pub const LIST: Command = Command {
    name: "acl|list",
    summary: "Shows all users' rules, as lines of a file.",
    complexity: "O(N). Where N is the number of configured users.",
    run: |ctx, _| {
        let users = ctx.server.acl.users();
        ctx.reply.array(users.len());
        users.iter().for_each(|user| ctx.reply.bulk(&user.line()));
        Ok(())
    },
    ..ADMIN
};

/// ACL USERS
pub const USERS: Command = Command {
    name: "acl|users",
    summary: "Lists the users' names.",
    complexity: "O(N). Where N is the number of configured users.",
    run: |ctx, _| {
        let users = ctx.server.acl.users();
        ctx.reply.array(users.len());
        users.iter().for_each(|user| ctx.reply.bulk(&user.name));
        Ok(())
    },
    ..ADMIN
};

/// ACL WHOAMI
pub const WHOAMI: Command = Command {
    name: "acl|whoami",
    summary: "Tells which user this connection is.",
    run: |ctx, _| {
        let user = ctx.session.user.as_ref();
        ctx.reply.bulk(user.map_or(DEFAULT, |user| &user.name));
        Ok(())
    },
    ..BASE
};

fn get_user(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let Some(user) = ctx.server.acl.user(args[2]) else {
        ctx.reply.null();
        return Ok(());
    };
    let reply = &mut *ctx.reply;
    reply.map(7);
    reply.bulk(b"flags");
    let flags = user.flags();
    reply.set(flags.len());
    flags.iter().for_each(|flag| reply.bulk(flag.as_bytes()));
    reply.bulk(b"passwords");
    reply.array(user.passwords().len());
    let passwords = user.passwords().iter();
    passwords.for_each(|hash| reply.bulk(hash.as_str().as_bytes()));
    let mut selectors = user.selectors();
    if let Some(root) = selectors.next() {
        describe(reply, root);
    }
    reply.bulk(b"selectors");
    let others: Vec<&Selector> = selectors.collect();
    reply.array(others.len());
    for selector in others {
        reply.map(4);
        describe(reply, selector);
    }
    Ok(())
}

fn describe(reply: &mut ReplyBuffer, selector: &Selector) {
    for (name, rules) in [
        ("commands", selector.describe_commands()),
        ("keys", selector.describe_keys()),
        ("channels", selector.describe_channels()),
        ("databases", selector.describe_dbs()),
    ] {
        reply.bulk(name.as_bytes());
        reply.bulk(&rules);
    }
}
