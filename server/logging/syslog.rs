//! The system's log (`syslog-enabled`), which gets every line besides.

use std::ffi::CString;
use std::fmt::{self, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::config::{Config, id};

/// Sends events to the system's log.
pub struct SystemLog(());

impl SystemLog {
    /// Opens it, if it is to be used.
    pub fn open(config: &Config) -> Option<SystemLog> {
        if !config.bool(id("syslog-enabled")) {
            return None;
        }
        let facility = match &*config.string(id("syslog-facility")) {
            "user" => libc::LOG_USER,
            "local1" => libc::LOG_LOCAL1,
            "local2" => libc::LOG_LOCAL2,
            "local3" => libc::LOG_LOCAL3,
            "local4" => libc::LOG_LOCAL4,
            "local5" => libc::LOG_LOCAL5,
            "local6" => libc::LOG_LOCAL6,
            "local7" => libc::LOG_LOCAL7,
            _ => libc::LOG_LOCAL0,
        };
        let name = c_string(&config.string(id("syslog-ident")));
        let options = libc::LOG_PID | libc::LOG_NDELAY | libc::LOG_NOWAIT;
        // SAFETY: the name is never freed, as the library keeps the pointer.
        unsafe { libc::openlog(name.into_raw(), options, facility) };
        Some(SystemLog(()))
    }
}

impl<S: Subscriber> Layer<S> for SystemLog {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let severity = match *event.metadata().level() {
            Level::ERROR | Level::WARN => libc::LOG_WARNING,
            Level::INFO => libc::LOG_NOTICE,
            Level::DEBUG | Level::TRACE => libc::LOG_DEBUG,
        };
        let mut message = Message(String::new());
        event.record(&mut message);
        let message = c_string(&message.0);
        // SAFETY: two strings that end, the first of which takes one.
        unsafe { libc::syslog(severity, c"%s".as_ptr(), message.as_ptr()) };
    }
}

/// A text without what would end it early.
fn c_string(text: &str) -> CString {
    CString::new(text.replace('\0', " ")).unwrap_or_default()
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // A string takes all.
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}
