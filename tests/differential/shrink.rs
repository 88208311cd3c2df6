//! Finds a short list of commands that shows a difference.

use std::time::{Duration, Instant};

use super::duel::{Mismatch, What};
use super::generator::Command;
use super::{keyspace, match_up};

/// How long to look for fewer commands.
const PATIENCE: Duration = Duration::from_secs(20);

/// Removes commands from the history as long as the difference stays. None if the history,
/// repeated at once, does not show it: then it depends on time.
pub fn shrink(arena: &mut match_up::Arena, mismatch: &Mismatch) -> Option<Vec<Command>> {
    let history = std::mem::take(&mut arena.duel.history);
    let end = match mismatch.what {
        What::Reply(at) | What::Events(at) => at + 1,
        What::Key(_) => history.len(),
    };
    let mut commands = history[..end].to_vec();
    if !shows(arena, &commands, mismatch) {
        return None;
    }
    let deadline = Instant::now() + PATIENCE;
    let mut size = commands.len() / 2;
    while size > 0 && Instant::now() < deadline {
        let mut at = 0;
        while at < commands.len() && Instant::now() < deadline {
            let mut fewer = commands.clone();
            fewer.drain(at..(at + size).min(commands.len()));
            if !fewer.is_empty() && shows(arena, &fewer, mismatch) {
                commands = fewer;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    Some(commands)
}

/// Whether these commands show a difference of the same kind; of replies, the last one's.
fn shows(arena: &mut match_up::Arena, commands: &[Command], wanted: &Mismatch) -> bool {
    arena.reset();
    for part in commands.chunks(500) {
        if let Err(found) = arena.duel.run(part) {
            return match (&found.what, &wanted.what) {
                (What::Reply(at), What::Reply(_)) => at + 1 == commands.len(),
                (What::Events(_), What::Events(_)) => true,
                _ => false,
            };
        }
    }
    let What::Key(_) = &wanted.what else {
        return false;
    };
    let (ours, theirs) = arena.keyspaces();
    let drift_ms = arena.duel.drift_ms;
    keyspace::compare(&ours, &theirs, drift_ms).is_err()
}

/// The commands as redis-cli takes them.
pub fn script(commands: &[Command]) -> String {
    let quoted = |arg: &Vec<u8>| {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-+.:*_#>()[]$".contains(byte);
        if !arg.is_empty() && arg.iter().all(plain) {
            return String::from_utf8_lossy(arg).into_owned();
        }
        let escaped = arg.iter().map(|&byte| match byte {
            b'"' | b'\\' => format!("\\{}", char::from(byte)),
            b' '..=b'~' => char::from(byte).to_string(),
            _ => format!("\\x{byte:02x}"),
        });
        format!("\"{}\"", escaped.collect::<String>())
    };
    let line = |command: &Command| {
        command
            .args
            .iter()
            .map(quoted)
            .collect::<Vec<_>>()
            .join(" ")
    };
    commands
        .iter()
        .map(|command| line(command) + "\n")
        .collect()
}
