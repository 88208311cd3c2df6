//! MONITOR: every command, shown to the clients that asked for it. Source:
//! the documentation of MONITOR.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::commands::command::{Command, flag};
use crate::connection::client::Client;
use crate::connection::session::Session;
use crate::state::Server;

/// Shows a command to all monitors, unless it is one that administers the
/// server, once it has run: with the database that is selected then.
#[cold]
pub fn show(server: &Server, session: &Session, command: &Command, args: &[&[u8]]) {
    if command.flags & (flag::ADMIN | flag::SKIP_MONITOR) == 0 {
        show_line(server, &session.client.address, command, session.db, args);
    }
}

/// Shows a command that calls a script, before the script's commands.
#[cold]
pub fn show_call(server: &Server, session: &Session, command: &Command, args: &[&[u8]]) {
    show_line(server, &session.client.address, command, session.db, args);
}

/// Shows a command that a script calls.
#[cold]
pub fn show_of_script(server: &Server, command: &Command, db: u32, args: &[&[u8]]) {
    if command.flags & flag::ADMIN == 0 {
        show_line(server, "lua", command, db, args);
    }
}

fn show_line(server: &Server, source: &str, command: &Command, db: u32, args: &[&[u8]]) {
    let micros = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
        .as_micros();
    let mut line = format!(
        "+{}.{:06} [{} {}]",
        micros / 1_000_000,
        micros % 1_000_000,
        db,
        source
    )
    .into_bytes();
    for (index, arg) in args.iter().enumerate() {
        line.push(b' ');
        let secret = is_secret(command, args, index);
        quote(if secret { b"(redacted)" } else { arg }, &mut line);
    }
    line.extend_from_slice(b"\r\n");
    for monitor in server.monitors.read().iter() {
        monitor.send_bytes(&server.settings.normal_output_limit, &line);
    }
}

/// Whether an argument is a user name or a password.
fn is_secret(command: &Command, args: &[&[u8]], index: usize) -> bool {
    let behind = |word: &str, most: usize| {
        (1..=most)
            .filter_map(|back| args.get(index.checked_sub(back)?))
            .any(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
    };
    match command.name {
        "auth" => index > 0,
        "hello" => index > 2 && behind("auth", 2),
        "migrate" => index > 5 && (behind("auth", 1) || behind("auth2", 2)),
        _ => false,
    }
}

/// Makes a client a monitor.
pub fn join(server: &Server, client: &Arc<Client>) {
    if client.monitor.swap(true, Ordering::Relaxed) {
        return;
    }
    server.monitors.write().push(client.clone());
    server.monitored.store(true, Ordering::Relaxed);
}

/// Makes a client an ordinary one again.
pub fn leave(server: &Server, client: &Client) {
    if !client.monitor.swap(false, Ordering::Relaxed) {
        return;
    }
    let mut monitors = server.monitors.write();
    monitors.retain(|other| other.id != client.id);
    server
        .monitored
        .store(!monitors.is_empty(), Ordering::Relaxed);
}

/// Appends a string in quotes, unprintable bytes escaped, as Redis shows it.
pub fn quote(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in bytes {
        match byte {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            7 => out.extend_from_slice(b"\\a"),
            8 => out.extend_from_slice(b"\\b"),
            b' '..=b'~' => out.push(byte),
            _ => out.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
        }
    }
    out.push(b'"');
}
