//! What a client says of itself and wants for itself: CLIENT SETNAME,
//! GETNAME, SETINFO, REPLY, NO-EVICT, NO-TOUCH, CAPA, IMPORT-SOURCE.

use std::sync::atomic::{AtomicBool, Ordering};

use super::client::{ADMIN, BASE, QUICK};
use crate::commands::args::is;
use crate::commands::command::{Arg, Command, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::config::id;
use crate::connection::session::ReplyMode;

/// CLIENT SETNAME connection-name
pub const SETNAME: Command = Command {
    name: "client|setname",
    since: "2.6.9",
    summary: "Names this connection.",
    arity: 3,
    args: &[Arg::string("connection-name")],
    run: |ctx, args| {
        check_name(args[2])?;
        ctx.session.client.info.lock().name = args[2].to_vec();
        ctx.reply.ok();
        Ok(())
    },
    ..QUICK
};

/// CLIENT GETNAME
pub const GETNAME: Command = Command {
    name: "client|getname",
    since: "2.6.9",
    summary: "Tells this connection's name.",
    arity: 2,
    run: |ctx, _| {
        let info = ctx.session.client.info.lock();
        match info.name.as_slice() {
            [] => ctx.reply.null(),
            name => ctx.reply.bulk(name),
        }
        Ok(())
    },
    ..QUICK
};

/// CLIENT SETINFO LIB-NAME name | LIB-VER version
pub const SETINFO: Command = Command {
    name: "client|setinfo",
    since: "7.2.0",
    summary: "Tells which library the client uses.",
    arity: 4,
    args: &[Arg::one_of(
        "attr",
        &[
            Arg::string("libname").after("LIB-NAME"),
            Arg::string("libver").after("LIB-VER"),
        ],
    )],
    run: set_info,
    ..QUICK
};

/// CLIENT REPLY ON | OFF | SKIP
pub const REPLY: Command = Command {
    name: "client|reply",
    since: "3.2.0",
    summary: "Tells which replies the client wants.",
    arity: 3,
    flags: QUICK.flags | flag::NO_MULTI,
    args: &[Arg::one_of(
        "action",
        &[
            Arg::word("on", "ON"),
            Arg::word("off", "OFF"),
            Arg::word("skip", "SKIP"),
        ],
    )],
    run: set_reply_mode,
    ..QUICK
};

const ON_OFF: &[Arg] = &[Arg::one_of(
    "enabled",
    &[Arg::word("on", "ON"), Arg::word("off", "OFF")],
)];

/// CLIENT NO-EVICT ON | OFF
pub const NO_EVICT: Command = Command {
    name: "client|no-evict",
    since: "7.0.0",
    summary: "Keeps this connection when memory for clients is short.",
    arity: 3,
    flags: ADMIN.flags | flag::ALLOW_BUSY,
    args: ON_OFF,
    run: |ctx, args| switch(ctx, args[2], |client| &client.no_evict),
    ..ADMIN
};

/// CLIENT NO-TOUCH ON | OFF
pub const NO_TOUCH: Command = Command {
    name: "client|no-touch",
    since: "7.2.0",
    summary: "Leaves alone when keys were last used, for this connection's commands.",
    arity: 3,
    args: ON_OFF,
    run: |ctx, args| switch(ctx, args[2], |client| &client.no_touch),
    ..QUICK
};

/// CLIENT IMPORT-SOURCE ON | OFF
pub const IMPORT_SOURCE: Command = Command {
    name: "client|import-source",
    since: "8.1.0",
    summary: "Marks this connection as the source of an import.",
    arity: 3,
    args: ON_OFF,
    run: |ctx, args| {
        let off = is(args[2], "OFF");
        if !off && !ctx.server.config.read().bool(id("import-mode")) {
            return Err(CommandError::err("Server is not in import mode"));
        }
        switch(ctx, args[2], |client| &client.import_source)
    },
    ..BASE
};

/// CLIENT CAPA capability …
pub const CAPA: Command = Command {
    name: "client|capa",
    since: "8.0.0",
    summary: "Tells what the client is able to do.",
    arity: -3,
    args: &[Arg::string("capability").multiple()],
    run: |ctx, args| {
        // Capabilities that nobody knows are ignored, for the future's sake.
        if args[2..].iter().any(|word| is(word, "REDIRECT")) {
            let client = &ctx.session.client;
            client.capa_redirect.store(true, Ordering::Relaxed);
        }
        ctx.reply.ok();
        Ok(())
    },
    ..QUICK
};

fn is_plain(text: &[u8]) -> bool {
    text.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

/// Refuses a name that would break the lines of CLIENT LIST.
pub fn check_name(name: &[u8]) -> Result<(), CommandError> {
    if is_plain(name) {
        return Ok(());
    }
    Err(CommandError::err(
        "Client names cannot contain spaces, newlines or special characters.",
    ))
}

fn set_info(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let is_name = is(args[2], "LIB-NAME");
    if !is_name && !is(args[2], "LIB-VER") {
        let option = String::from_utf8_lossy(args[2]);
        return Err(CommandError::err(format!("Unrecognized option '{option}'")));
    }
    if !is_plain(args[3]) {
        let option = String::from_utf8_lossy(args[2]);
        return Err(CommandError::err(format!(
            "{option} cannot contain spaces, newlines or special characters."
        )));
    }
    let mut info = ctx.session.client.info.lock();
    if is_name {
        info.lib_name = args[3].to_vec();
    } else {
        info.lib_version = args[3].to_vec();
    }
    ctx.reply.ok();
    Ok(())
}

/// `OFF` and `SKIP` aren't answered themselves.
fn set_reply_mode(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let mode = &mut ctx.session.reply_mode;
    if is(args[2], "ON") {
        *mode = ReplyMode::On;
        ctx.reply.ok();
    } else if is(args[2], "OFF") {
        *mode = ReplyMode::Off;
    } else if is(args[2], "SKIP") {
        if *mode != ReplyMode::Off {
            *mode = ReplyMode::SkipNext;
        }
    } else {
        return Err(CommandError::Syntax);
    }
    Ok(())
}

fn switch(
    ctx: &mut Context<'_>,
    word: &[u8],
    flag: impl FnOnce(&crate::connection::client::Client) -> &AtomicBool,
) -> CommandResult {
    let on = is(word, "ON");
    if !on && !is(word, "OFF") {
        return Err(CommandError::Syntax);
    }
    flag(&ctx.session.client).store(on, Ordering::Relaxed);
    ctx.reply.ok();
    Ok(())
}
