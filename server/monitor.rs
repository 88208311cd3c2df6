//! MONITOR: every command, shown to the clients that asked for it. Source:
//! the documentation of MONITOR.

use std::sync::atomic::Ordering;

use crate::connection::session::Session;
use crate::state::Server;

/// Shows a command to all monitors.
#[cold]
pub fn show(server: &Server, session: &Session, args: &[&[u8]]) {
    let micros = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
        .as_micros();
    let mut line = format!(
        "+{}.{:06} [{} {}]",
        micros / 1_000_000,
        micros % 1_000_000,
        session.db,
        session.client.address
    )
    .into_bytes();
    for arg in args {
        line.push(b' ');
        quote(arg, &mut line);
    }
    line.extend_from_slice(b"\r\n");
    let limit = server.settings.pubsub_output_limit.load(Ordering::Relaxed);
    for monitor in server.monitors.read().iter() {
        monitor.send_bytes(limit, &line);
    }
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
