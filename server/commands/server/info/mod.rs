//! INFO: the state of the server in sections of `field:value` lines.

mod process;
mod replication;
mod sections;
mod statistics;
mod storage;

use process::human_bytes;
pub use process::resident_bytes;

use crate::commands::args;
use crate::commands::command::{Arg, Command, Group, Locks, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::CommandResult;
use crate::state::Server;

/// INFO [section …]
pub const COMMAND: Command = Command {
    name: "info",
    group: Group::Server,
    summary: "Shows the state of the server, in sections.",
    arity: -1,
    flags: flag::LOADING | flag::STALE,
    acl: acl::DANGEROUS,
    locks: Locks::None,
    args: &[Arg::string("section").optional().multiple()],
    run,
    ..Command::BASE
};

/// A section: its name for asking, its heading, whether INFO without
/// arguments shows it, and how it is written.
struct Section {
    name: &'static str,
    heading: &'static str,
    default: bool,
    write: fn(&Server, &mut Text),
}

const fn section(
    name: &'static str,
    heading: &'static str,
    default: bool,
    write: fn(&Server, &mut Text),
) -> Section {
    Section {
        name,
        heading,
        default,
        write,
    }
}

const SECTIONS: [Section; 13] = [
    section("server", "Server", true, sections::server),
    section("clients", "Clients", true, sections::clients),
    section("memory", "Memory", true, sections::memory),
    section("persistence", "Persistence", true, sections::persistence),
    section("stats", "Stats", true, statistics::stats),
    section("replication", "Replication", true, replication::replication),
    section("cpu", "CPU", true, process::cpu),
    section("modules", "Modules", true, |_, _| {}),
    section("commandstats", "Commandstats", false, statistics::commands),
    section("errorstats", "Errorstats", true, statistics::errors),
    section("latencystats", "Latencystats", false, statistics::latencies),
    section("cluster", "Cluster", true, |server, text| {
        text.field("cluster_enabled", u8::from(server.cluster.is_some()));
    }),
    section("keyspace", "Keyspace", true, sections::keyspace),
];

/// The reply under construction.
#[derive(Default)]
pub struct Text(String);

impl Text {
    /// Adds a line.
    pub fn field(&mut self, name: &str, value: impl std::fmt::Display) {
        use std::fmt::Write;
        let _ = write!(self.0, "{name}:{value}\r\n");
    }

    /// Adds a number of bytes, and the same for humans.
    pub fn bytes(&mut self, name: &str, bytes: u64) {
        self.field(name, bytes);
        self.field(&format!("{name}_human"), human_bytes(bytes));
    }
}

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let asked = &args[1..];
    let any = |word: &str| asked.iter().any(|arg| args::is(arg, word));
    let everything = any("all") || any("everything");
    ctx.hand_over_counts();
    let defaults = asked.is_empty() || any("default");
    let mut text = Text::default();
    for section in &SECTIONS {
        if everything || (defaults && section.default) || any(section.name) {
            if !text.0.is_empty() {
                text.0.push_str("\r\n");
            }
            text.0.push_str(&format!("# {}\r\n", section.heading));
            (section.write)(ctx.server, &mut text);
        }
    }
    ctx.reply.verbatim("txt", text.0.as_bytes());
    Ok(())
}
