//! What a log line looks like: `log-format` and `log-timestamp-format`. Source:
//! Valkey, whose lines those who read logs by program know.
//!
//! ```text
//! legacy  71:M 24 Nov 2026 11:57:45.333 * Ready to accept connections tcp
//! logfmt  pid=71 role=primary timestamp="…" level=notice message="Ready to …"
//! json    {"pid":71,"role":"primary","timestamp":"…","level":"notice","message":"…"}
//! ```

use std::fmt::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::config::{Config, id};

const LEGACY: u8 = 0;
const LOGFMT: u8 = 1;
const JSON: u8 = 2;
const ISO8601: u8 = 1;
const MILLISECONDS: u8 = 2;

static FORM: AtomicU8 = AtomicU8::new(LEGACY);
static TIMES: AtomicU8 = AtomicU8::new(LEGACY);
static IS_REPLICA: AtomicBool = AtomicBool::new(false);

/// Heeds both directives.
pub fn set(config: &Config) {
    let form = match &*config.string(id("log-format")) {
        "logfmt" => LOGFMT,
        "json" => JSON,
        _ => LEGACY,
    };
    let times = match &*config.string(id("log-timestamp-format")) {
        "iso8601" => ISO8601,
        "milliseconds" => MILLISECONDS,
        _ => LEGACY,
    };
    FORM.store(form, Ordering::Relaxed);
    TIMES.store(times, Ordering::Relaxed);
}

/// Lines tell from now on whether a primary or a replica wrote them.
pub fn set_role(is_replica: bool) {
    IS_REPLICA.store(is_replica, Ordering::Relaxed);
}

/// Writes events as lines.
pub struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut message = String::new();
        context.format_fields(Writer::new(&mut message), event)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let line = Line {
            process: std::process::id(),
            is_replica: IS_REPLICA.load(Ordering::Relaxed),
            unix_ms: now.map_or(0, |now| now.as_millis() as i64),
            level: *event.metadata().level(),
            message: &message,
        };
        let (form, times) = (&FORM, &TIMES);
        line.write(
            &mut writer,
            form.load(Ordering::Relaxed),
            times.load(Ordering::Relaxed),
        )
    }
}

struct Line<'m> {
    process: u32,
    is_replica: bool,
    unix_ms: i64,
    level: Level,
    message: &'m str,
}

impl Line<'_> {
    fn write(&self, out: &mut impl Write, form: u8, times: u8) -> fmt::Result {
        let (process, time) = (self.process, Time(self.unix_ms, times));
        let (level, sign) = match self.level {
            Level::ERROR | Level::WARN => ("warning", '#'),
            Level::INFO => ("notice", '*'),
            Level::DEBUG | Level::TRACE => ("debug", '.'),
        };
        let role = if self.is_replica {
            "replica"
        } else {
            "primary"
        };
        match form {
            LOGFMT => {
                let message = self.message.replace('"', "'").replace(['\r', '\n'], " ");
                writeln!(
                    out,
                    "pid={process} role={role} timestamp=\"{time}\" level={level} message=\"{message}\""
                )
            }
            JSON => {
                let message = Json(self.message);
                writeln!(
                    out,
                    "{{\"pid\":{process},\"role\":\"{role}\",\"timestamp\":\"{time}\",\"level\":\"{level}\",\"message\":\"{message}\"}}"
                )
            }
            _ => {
                let role = if self.is_replica { 'S' } else { 'M' };
                writeln!(out, "{process}:{role} {time} {sign} {}", self.message)
            }
        }
    }
}

/// A time in Unix ms, and its form: local time, but for milliseconds.
struct Time(i64, u8);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MONTHS: [&str; 12] = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ];
        let Time(unix_ms, form) = *self;
        if form == MILLISECONDS {
            return write!(f, "{unix_ms}");
        }
        let (seconds, ms) = (unix_ms.div_euclid(1000), unix_ms.rem_euclid(1000));
        let at = local_time(seconds);
        let (year, month, day) = (at.tm_year + 1900, at.tm_mon, at.tm_mday);
        let (hour, minute, second) = (at.tm_hour, at.tm_min, at.tm_sec);
        if form == ISO8601 {
            let east = at.tm_gmtoff / 60;
            let (sign, east) = (if east < 0 { '-' } else { '+' }, east.abs());
            let (month, hours, minutes) = (month + 1, east / 60, east % 60);
            return write!(
                f,
                "{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}{sign}{hours:02}:{minutes:02}"
            );
        }
        let month = MONTHS[month.clamp(0, 11) as usize];
        write!(
            f,
            "{day:02} {month} {year} {hour:02}:{minute:02}:{second:02}.{ms:03}"
        )
    }
}

fn local_time(seconds: i64) -> libc::tm {
    // SAFETY: a `tm` of zeros is one, and both pointers are good for the call.
    unsafe {
        let mut at: libc::tm = std::mem::zeroed();
        libc::localtime_r(&seconds, &mut at);
        at
    }
}

/// A text as the inside of a JSON string.
struct Json<'m>(&'m str);

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '"' | '\\' => write!(f, "\\{letter}")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                '\0'..='\x1f' => write!(f, "\\u{:04x}", letter as u32)?,
                _ => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(form: u8, times: u8, level: Level, is_replica: bool) -> String {
        let line = Line {
            process: 71,
            is_replica,
            unix_ms: 1_795_521_465_033,
            level,
            message: "a \"b\"\n\\c\u{1}é",
        };
        let mut text = String::new();
        line.write(&mut text, form, times)
            .expect("a string takes all");
        text
    }

    #[test]
    fn lines_are_as_valkeys() {
        assert_eq!(
            line(LOGFMT, MILLISECONDS, Level::DEBUG, true),
            "pid=71 role=replica timestamp=\"1795521465033\" level=debug message=\"a 'b' \\c\u{1}é\"\n"
        );
        assert_eq!(
            line(JSON, MILLISECONDS, Level::ERROR, false),
            "{\"pid\":71,\"role\":\"primary\",\"timestamp\":\"1795521465033\",\"level\":\"warning\",\"message\":\"a \\\"b\\\"\\n\\\\c\\u0001é\"}\n"
        );
        let plain = |level, is_replica| line(LEGACY, MILLISECONDS, level, is_replica);
        assert!(plain(Level::INFO, false).starts_with("71:M 1795521465033 * a "));
        assert!(plain(Level::WARN, true).starts_with("71:S 1795521465033 # a "));
    }
}
