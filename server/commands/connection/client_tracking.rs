//! CLIENT TRACKING and what belongs to it; what it does is
//! [`crate::tracking`]'s.

use std::sync::atomic::Ordering;

use super::client::{BASE, QUICK};
use crate::commands::args::{integer, is};
use crate::commands::command::{Arg, Command};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::connection::client::Client;
use crate::tracking::client::mode;

/// CLIENT TRACKING ON | OFF [option …]
pub const TRACKING: Command = Command {
    name: "client|tracking",
    since: "6.0.0",
    summary: "Turns messages about changed keys on or off, for client-side caches.",
    complexity: "O(1). Some options may introduce additional complexity.",
    arity: -3,
    args: &[
        Arg::one_of("status", &[Arg::word("on", "ON"), Arg::word("off", "OFF")]),
        Arg::integer("client-id").after("REDIRECT").optional(),
        Arg::string("prefix")
            .after("PREFIX")
            .optional()
            .multiple_token(),
        Arg::word("bcast", "BCAST").optional(),
        Arg::word("optin", "OPTIN").optional(),
        Arg::word("optout", "OPTOUT").optional(),
        Arg::word("noloop", "NOLOOP").optional(),
    ],
    run: tracking,
    ..BASE
};

/// CLIENT CACHING YES | NO
pub const CACHING: Command = Command {
    name: "client|caching",
    since: "6.0.0",
    summary: "Tells whether the next command's keys are to be tracked.",
    arity: 3,
    args: &[Arg::one_of(
        "mode",
        &[Arg::word("yes", "YES"), Arg::word("no", "NO")],
    )],
    run: caching,
    ..QUICK
};

/// CLIENT GETREDIR
pub const GETREDIR: Command = Command {
    name: "client|getredir",
    since: "6.0.0",
    summary: "Tells to which connection messages about changed keys go.",
    arity: 2,
    run: |ctx, _| {
        let redirect = redirect_of(&ctx.session.client);
        ctx.reply.integer(redirect);
        Ok(())
    },
    ..QUICK
};

/// CLIENT TRACKINGINFO
pub const TRACKINGINFO: Command = Command {
    name: "client|trackinginfo",
    since: "6.2.0",
    summary: "Describes how this connection tracks keys.",
    arity: 2,
    run: info,
    ..BASE
};

/// Id of the client that gets a client's messages; 0: itself, -1: it doesn't
/// track.
pub fn redirect_of(client: &Client) -> i64 {
    match client.tracking.has(mode::ON) {
        true => client.tracking.redirect.load(Ordering::Relaxed) as i64,
        false => -1,
    }
}

#[derive(Default)]
struct Options<'a> {
    modes: u32,
    redirect: u64,
    prefixes: Vec<&'a [u8]>,
}

fn parse<'a>(ctx: &Context<'_>, words: &[&'a [u8]]) -> Result<Options<'a>, CommandError> {
    let mut options = Options::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let more = words.len() != 0;
        if is(word, "REDIRECT") && more {
            if options.redirect != 0 {
                return Err(CommandError::err(
                    "A client can only redirect to a single other client",
                ));
            }
            let id = integer(words.next().copied().unwrap_or_default())?;
            let known = u64::try_from(id)
                .ok()
                .filter(|id| ctx.server.clients.get(*id).is_some());
            options.redirect = known.ok_or_else(|| {
                CommandError::err("The client ID you want redirect to does not exist")
            })?;
        } else if is(word, "PREFIX") && more {
            options.prefixes.extend(words.next());
        } else {
            options.modes |= match word.to_ascii_uppercase().as_slice() {
                b"BCAST" => mode::BCAST,
                b"OPTIN" => mode::OPTIN,
                b"OPTOUT" => mode::OPTOUT,
                b"NOLOOP" => mode::NOLOOP,
                _ => return Err(CommandError::Syntax),
            };
        }
    }
    Ok(options)
}

fn tracking(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let options = parse(ctx, &args[3..])?;
    let (server, client) = (ctx.server, &ctx.session.client);
    if is(args[2], "ON") {
        check_modes(client, &options)?;
        check_prefixes(client, &options.prefixes)?;
        let Options {
            modes,
            redirect,
            prefixes,
        } = options;
        server.tracking.enable(client, modes, redirect, &prefixes);
    } else if is(args[2], "OFF") {
        server.tracking.disable(client);
    } else {
        return Err(CommandError::Syntax);
    }
    ctx.reply.ok();
    Ok(())
}

/// Refuses what doesn't go together, or with how the client tracks already.
fn check_modes(client: &Client, options: &Options<'_>) -> CommandResult {
    let state = &client.tracking;
    let wants = |modes: u32| options.modes & modes == modes;
    let refusal = if !wants(mode::BCAST) && !options.prefixes.is_empty() {
        "PREFIX option requires BCAST mode to be enabled"
    } else if state.has(mode::ON) && state.has(mode::BCAST) != wants(mode::BCAST) {
        "You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a different mode."
    } else if wants(mode::BCAST) && (wants(mode::OPTIN) || wants(mode::OPTOUT)) {
        "OPTIN and OPTOUT are not compatible with BCAST"
    } else if wants(mode::OPTIN | mode::OPTOUT) {
        "You can't specify both OPTIN mode and OPTOUT mode"
    } else if (wants(mode::OPTIN) && state.has(mode::OPTOUT))
        || (wants(mode::OPTOUT) && state.has(mode::OPTIN))
    {
        "You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a different mode."
    } else {
        return Ok(());
    };
    Err(CommandError::err(refusal))
}

/// Refuses prefixes of which one begins with another: a key with both would be
/// told of twice.
fn check_prefixes(client: &Client, prefixes: &[&[u8]]) -> CommandResult {
    let overlap = |a: &[u8], b: &[u8]| a.starts_with(b) || b.starts_with(a);
    let refusal = |prefix: &[u8], other: &[u8], which: &str| {
        CommandError::err(format!(
            "Prefix '{}' overlaps with {which} prefix '{}'. Prefixes for a single client must not overlap.",
            String::from_utf8_lossy(prefix),
            String::from_utf8_lossy(other),
        ))
    };
    let known = client.tracking.prefixes.lock();
    for (at, prefix) in prefixes.iter().enumerate() {
        if let Some(other) = known.iter().find(|other| overlap(prefix, other)) {
            return Err(refusal(prefix, other, "an existing"));
        }
        if let Some(other) = prefixes[at + 1..]
            .iter()
            .find(|other| overlap(prefix, other))
        {
            return Err(refusal(prefix, other, "another provided"));
        }
    }
    Ok(())
}

fn caching(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let state = &ctx.session.client.tracking;
    if !state.has(mode::ON) {
        return Err(CommandError::err(
            "CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
        ));
    }
    let (wanted, refusal) = if is(args[2], "YES") {
        let refusal = "CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.";
        (mode::OPTIN, refusal)
    } else if is(args[2], "NO") {
        let refusal = "CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.";
        (mode::OPTOUT, refusal)
    } else {
        return Err(CommandError::Syntax);
    };
    if !state.has(wanted) {
        return Err(CommandError::err(refusal));
    }
    state.add(mode::CACHING);
    ctx.reply.ok();
    Ok(())
}

fn info(ctx: &mut Context<'_>, _: &[&[u8]]) -> CommandResult {
    let client = &ctx.session.client;
    let state = &client.tracking;
    let on = state.has(mode::ON);
    let flags = [
        ("off", !on),
        ("on", on),
        ("bcast", state.has(mode::BCAST)),
        ("optin", state.has(mode::OPTIN)),
        ("caching-yes", state.has(mode::OPTIN | mode::CACHING)),
        ("optout", state.has(mode::OPTOUT)),
        ("caching-no", state.has(mode::OPTOUT | mode::CACHING)),
        ("noloop", state.has(mode::NOLOOP)),
        ("broken_redirect", state.has(mode::BROKEN)),
    ];
    let set = flags.iter().filter(|(_, set)| *set);
    ctx.reply.map(3);
    ctx.reply.bulk(b"flags");
    ctx.reply.set(set.clone().count());
    set.for_each(|(name, _)| ctx.reply.bulk(name.as_bytes()));
    ctx.reply.bulk(b"redirect");
    ctx.reply.integer(redirect_of(client));
    ctx.reply.bulk(b"prefixes");
    let prefixes = state.prefixes.lock();
    ctx.reply.array(prefixes.len());
    prefixes.iter().for_each(|prefix| ctx.reply.bulk(prefix));
    Ok(())
}
