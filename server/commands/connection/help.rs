//! CLIENT HELP.

use super::client::BASE;
use crate::commands::command::{Command, flag};

/// CLIENT HELP
pub const CLIENT: Command = Command {
    name: "client|help",
    since: "5.0.0",
    summary: "Lists the subcommands.",
    arity: 2,
    flags: flag::LOADING | flag::STALE,
    run: |ctx, _| {
        ctx.reply.array(LINES.len());
        LINES.iter().for_each(|line| ctx.reply.simple(line));
        Ok(())
    },
    ..BASE
};

const LINES: &[&str] = &[
    "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CACHING (YES|NO)",
    "    Whether the next command's keys are tracked (tracking with OPTIN or OPTOUT).",
    "CAPA <option> [<option> ...]",
    "    What the client is able to do: REDIRECT.",
    "GETNAME",
    "    The name of this connection.",
    "GETREDIR",
    "    The connection that messages about changed keys go to.",
    "ID",
    "    The id of this connection.",
    "IMPORT-SOURCE (ON|OFF)",
    "    Marks this connection as the source of an import.",
    "INFO",
    "    A line about this connection.",
    "KILL <ip:port>",
    "    Closes the connection from this address.",
    "KILL <filter> <value> [<filter> <value> ...]",
    "    Closes the connections that fit all filters, this one only with SKIPME NO.",
    "LIST [<filter> <value> ...]",
    "    A line about each connection that fits all filters. Filters are",
    "    ID <client-id> [<client-id> ...], TYPE (NORMAL|PRIMARY|REPLICA|PUBSUB),",
    "    USER, ADDR, LADDR, IP, NAME, FLAGS, LIB-NAME, LIB-VER, DB, CAPA, any of them",
    "    with NOT- before it, and MAXAGE <seconds>, IDLE <seconds>, SKIPME (YES|NO).",
    "NO-EVICT (ON|OFF)",
    "    Keeps this connection when memory for clients is short.",
    "NO-TOUCH (ON|OFF)",
    "    Whether this connection's commands count as uses of their keys.",
    "PAUSE <milliseconds> [WRITE|ALL]",
    "    Makes commands wait: all, or those that write.",
    "REPLY (ON|OFF|SKIP)",
    "    Which replies this connection gets.",
    "SETINFO (LIB-NAME|LIB-VER) <value>",
    "    Which library the client uses.",
    "SETNAME <name>",
    "    Names this connection.",
    "TRACKING (ON|OFF)",
    "    Messages about changed keys, for client-side caches.",
    "TRACKINGINFO",
    "    How this connection tracks keys.",
    "UNBLOCK <client-id> [TIMEOUT|ERROR]",
    "    Ends the wait of another connection's blocking command.",
    "UNPAUSE",
    "    Ends PAUSE.",
    "HELP",
    "    This text.",
];
