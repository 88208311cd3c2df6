//! Whoever watches over the process, by `supervised`: systemd is told how it is
//! (`sd_notify(3)`), upstart sees it stop once it is ready.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::config::{Config, id};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Supervisor {
    Systemd,
    Upstart,
}

/// The variable that names systemd's socket; one that begins with `@` has no
/// file.
const SOCKET: &str = "NOTIFY_SOCKET";
/// The variable that upstart sets.
const JOB: &str = "UPSTART_JOB";

/// Who is to be told. Where nobody has named `supervised`, systemd is if it asks
/// to be.
fn find(config: &Config) -> Option<Supervisor> {
    let is_set = |variable: &str| std::env::var_os(variable).is_some_and(|text| !text.is_empty());
    match &*config.string(id("supervised")) {
        "systemd" => Some(Supervisor::Systemd),
        "upstart" => Some(Supervisor::Upstart),
        "auto" if is_set(JOB) => Some(Supervisor::Upstart),
        "no" if config.is_given(id("supervised")) => None,
        _ => is_set(SOCKET).then_some(Supervisor::Systemd),
    }
}

/// Who watches over the process, as INFO shows it: nobody unless `supervised`
/// says so and the environment does too.
pub fn name(config: &Config) -> &'static str {
    let present = |variable| std::env::var_os(variable).is_some();
    match find(config).filter(|_| config.is_given(id("supervised"))) {
        Some(Supervisor::Systemd) if present(SOCKET) => "systemd",
        Some(Supervisor::Upstart) if present(JOB) => "upstart",
        _ => "no",
    }
}

/// Whether somebody watches over the process, which then stays in the
/// foreground.
pub fn watches(config: &Config) -> bool {
    name(config) != "no"
}

/// Says that the server is ready.
pub fn tell_ready(config: &Config) {
    match find(config) {
        Some(Supervisor::Systemd) => {
            tell("STATUS=Ready to accept connections\n");
            tell("READY=1\n");
        }
        Some(Supervisor::Upstart) if std::env::var_os(JOB).is_some() => {
            tracing::info!("supervised by upstart, will stop to signal readiness.");
            // SAFETY: it takes a plain number; upstart lets the process go on.
            unsafe {
                libc::raise(libc::SIGSTOP);
            }
        }
        Some(Supervisor::Upstart) => {
            tracing::warn!("upstart supervision requested, but {JOB} not found!");
        }
        None => {}
    }
}

/// Says that the server is about to end.
pub fn tell_ending(config: &Config) {
    if find(config) == Some(Supervisor::Systemd) {
        tell("STOPPING=1\n");
    }
}

fn tell(text: &str) {
    let Some(path) = std::env::var_os(SOCKET) else {
        tracing::warn!("systemd supervision error: {SOCKET} not found!");
        return;
    };
    if let Err(error) = send(&path, text) {
        tracing::warn!("the supervisor could not be told: {error}");
    }
}

fn send(path: &OsStr, text: &str) -> std::io::Result<()> {
    let address = match path.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(path)?,
    };
    UnixDatagram::unbound()?
        .send_to_addr(text.as_bytes(), &address)
        .map(drop)
}
