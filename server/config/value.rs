//! Values of directives: from words to a value, and from a value to the text
//! that CONFIG GET shows.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::directive::{Kind, TextRule};
use crate::number;

/// The value of a directive; its [`Kind`] says which variant it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of `Bool`.
    Bool(bool),
    /// Of `Integer` and `Octal`.
    Integer(i64),
    /// Of `Memory` and `MemoryOrPercent`, in bytes.
    Memory(u64),
    /// Of `MemoryOrPercent`.
    Percent(u8),
    /// Of `Choice`: an index into its words.
    Choice(usize),
    /// Of `Flags`: bit n stands for word n + 1.
    Flags(u32),
    /// Of `Text`.
    Text(Vec<u8>),
    /// Of `Save`: seconds and changes.
    Save(Vec<(i64, i64)>),
    /// Of `OutputBufferLimits`: normal clients, replicas, subscribers.
    OutputBufferLimits([OutputBufferLimit; 3]),
    /// Of `OomScores`: primary, replica, child.
    OomScores([i32; 3]),
    /// Of `KeyspaceEvents`: letters in canonical order, `A` spelled out.
    KeyspaceEvents(String),
    /// Of `Addresses`.
    Addresses(Vec<String>),
    /// Of `ReplicaOf`: host and port.
    ReplicaOf(Option<(String, u16)>),
    /// Of `Percentiles`.
    Percentiles(Vec<f64>),
}

/// How much unsent output a client may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputBufferLimit {
    /// At this many bytes the client is disconnected; 0 is never.
    pub hard_bytes: u64,
    /// Above this many bytes for `soft_seconds` likewise.
    pub soft_bytes: u64,
    /// See `soft_bytes`.
    pub soft_seconds: i64,
}

/// Why words are no value; the text that CONFIG SET replies.
pub type Reason = Cow<'static, str>;

const CLIENT_CLASSES: [&str; 3] = ["normal", "slave", "pubsub"];
const EVENTS_IN_ALL: &str = "g$lshzxetd";
const EVENT_LETTERS: &str = "g$lshzxetdnKEm";
const MAX_ADDRESSES: usize = 16;

/// What `-1` stands for where memory may be that: more than there can be.
const NO_LIMIT: u64 = u64::MAX;

/// Reads the value of a directive of `kind` from its words; `current` is kept
/// where the words speak of a part of it only.
pub fn parse(kind: Kind, words: &[Vec<u8>], current: Option<&Value>) -> Result<Value, Reason> {
    if !kind.takes_several_words() && words.len() != 1 {
        return Err("wrong number of arguments".into());
    }
    let word = words.first().map(Vec::as_slice).unwrap_or_default();
    match kind {
        Kind::Bool => match word.to_ascii_lowercase().as_slice() {
            b"yes" => Ok(Value::Bool(true)),
            b"no" => Ok(Value::Bool(false)),
            _ => Err("argument must be 'yes' or 'no'".into()),
        },
        Kind::Integer { min, max } => {
            let value = number::parse_i64(word)
                .ok_or(Reason::from("argument couldn't be parsed into an integer"))?;
            within(i128::from(value), min, max)?;
            Ok(Value::Integer(value))
        }
        Kind::Octal { max } => parse_octal(word, max),
        Kind::Memory { min: -1, max } if word.starts_with(b"-") => {
            match number::parse_i64(word).ok_or("argument must be a memory value")? {
                -1 => Ok(Value::Memory(NO_LIMIT)),
                other => within(i128::from(other), -1, max).map(|()| Value::Memory(0)),
            }
        }
        Kind::Memory { min, max } => {
            let bytes = parse_memory(word).ok_or("argument must be a memory value")?;
            within(i128::from(bytes), min, max)?;
            Ok(Value::Memory(bytes))
        }
        Kind::MemoryOrPercent => parse_memory_or_percent(word),
        Kind::Choice(names) => find_word(names, word)
            .map(Value::Choice)
            .ok_or_else(|| one_of(names)),
        Kind::Flags(names) => parse_flags(names, words),
        Kind::Text(rule) => obey(rule, word).map(|()| Value::Text(word.to_vec())),
        Kind::Save => parse_save(words),
        Kind::OutputBufferLimits => parse_limits(words, current),
        Kind::OomScores => parse_oom_scores(words),
        Kind::KeyspaceEvents => parse_events(word),
        Kind::Addresses => parse_addresses(words),
        Kind::ReplicaOf => parse_replicaof(words),
        Kind::Percentiles => parse_percentiles(words),
    }
}

/// Shows a value as CONFIG GET does.
pub fn render(kind: Kind, value: &Value) -> Vec<u8> {
    let text = match value {
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Integer(value) if matches!(kind, Kind::Octal { .. }) => format!("{value:o}"),
        Value::Integer(value) => value.to_string(),
        Value::Memory(NO_LIMIT) if matches!(kind, Kind::Memory { min: -1, .. }) => "-1".to_owned(),
        Value::Memory(bytes) => bytes.to_string(),
        Value::Percent(percent) => format!("{percent}%"),
        Value::Choice(at) => match kind {
            Kind::Choice(names) => names.get(*at).copied().unwrap_or_default().to_owned(),
            _ => String::new(),
        },
        Value::Flags(bits) => match kind {
            Kind::Flags(names) => render_flags(names, *bits),
            _ => String::new(),
        },
        Value::Text(bytes) => return bytes.clone(),
        Value::Save(points) => join(points.iter().map(|(s, c)| format!("{s} {c}"))),
        Value::OutputBufferLimits(limits) => {
            join(CLIENT_CLASSES.iter().zip(limits).map(|(class, l)| {
                format!(
                    "{class} {} {} {}",
                    l.hard_bytes, l.soft_bytes, l.soft_seconds
                )
            }))
        }
        Value::OomScores(scores) => join(scores.iter().map(i32::to_string)),
        Value::KeyspaceEvents(letters) => match letters.strip_prefix(EVENTS_IN_ALL) {
            Some(others) => format!("A{others}"),
            None => letters.clone(),
        },
        Value::Addresses(addresses) => addresses.join(" "),
        Value::ReplicaOf(Some((host, port))) => format!("{host} {port}"),
        Value::ReplicaOf(None) => String::new(),
        Value::Percentiles(values) => join(values.iter().map(|value| {
            let text = format!("{value:.6}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        })),
    };
    text.into_bytes()
}

fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(" ")
}

/// Reads a number of bytes with an optional unit; no digits are 0.
pub fn parse_memory(word: &[u8]) -> Option<u64> {
    let digits = word.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, unit) = word.split_at(digits);
    let factor: u64 = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    if digits.is_empty() {
        return Some(0);
    }
    let digits = std::str::from_utf8(digits).ok()?;
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

fn parse_memory_or_percent(word: &[u8]) -> Result<Value, Reason> {
    if let Some(bytes) = parse_memory(word) {
        within(i128::from(bytes), -100, i128::from(i64::MAX))?;
        return Ok(Value::Memory(bytes));
    }
    let percent = word.strip_suffix(b"%").and_then(number::parse_i64);
    match percent {
        Some(percent @ 0..=100) => Ok(Value::Percent(percent as u8)),
        Some(101..) => Err("percentage argument must be less or equal to 100".into()),
        _ => Err("argument must be a memory or percent value".into()),
    }
}

fn within(value: i128, min: i128, max: i128) -> Result<(), Reason> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(format!("argument must be between {min} and {max} inclusive").into())
}

fn parse_octal(word: &[u8], max: i128) -> Result<Value, Reason> {
    let value = std::str::from_utf8(word)
        .ok()
        .and_then(|text| i64::from_str_radix(text, 8).ok())
        .ok_or("argument couldn't be parsed as an octal number")?;
    if !(0..=max).contains(&i128::from(value)) {
        return Err(format!("argument must be between 0 and {max:o} inclusive").into());
    }
    Ok(Value::Integer(value))
}

fn find_word(names: &[&str], word: &[u8]) -> Option<usize> {
    names
        .iter()
        .position(|name| name.as_bytes().eq_ignore_ascii_case(word))
}

fn one_of(names: &[&str]) -> Reason {
    format!(
        "argument(s) must be one of the following: {}",
        names.join(", ")
    )
    .into()
}

fn parse_flags(names: &[&str], words: &[Vec<u8>]) -> Result<Value, Reason> {
    if words.is_empty() {
        return Err(one_of(names));
    }
    let mut bits = 0;
    for word in words {
        match find_word(names, word).ok_or_else(|| one_of(names))? {
            0 => {}
            at => bits |= 1 << (at - 1),
        }
    }
    let has = |name: &str| {
        let at = find_word(names, name.as_bytes()).unwrap_or(0);
        at > 0 && bits & (1 << (at - 1)) != 0
    };
    if has("save") && has("nosave") {
        return Err("shutdown options SAVE and NOSAVE can't be used simultaneously".into());
    }
    Ok(Value::Flags(bits))
}

fn render_flags(names: &[&str], bits: u32) -> String {
    if bits == 0 {
        return names.first().copied().unwrap_or_default().to_owned();
    }
    let chosen = names[1..].iter().enumerate();
    join(
        chosen
            .filter(|(at, _)| bits & (1 << at) != 0)
            .map(|(_, name)| (*name).to_owned()),
    )
}

fn obey(rule: TextRule, text: &[u8]) -> Result<(), Reason> {
    let as_text = std::str::from_utf8(text).unwrap_or("\u{fffd}");
    let file_name = |empty: &'static str, path: &'static str| {
        if text.is_empty() {
            Err(Reason::from(empty))
        } else if text.contains(&b'/') || text.contains(&b'\\') {
            Err(Reason::from(path))
        } else {
            Ok(())
        }
    };
    let demand = |holds: bool, reason: &'static str| match holds {
        true => Ok(()),
        false => Err(Reason::from(reason)),
    };
    match rule {
        TextRule::Any => Ok(()),
        TextRule::NotEmpty => demand(!text.is_empty(), "cluster-config-file can't be empty"),
        TextRule::Directory => demand(!text.is_empty(), "dir can't be empty"),
        TextRule::FileName => file_name(
            "the file name can't be empty",
            "the file name can't be a path, just a filename",
        ),
        TextRule::DirectoryName => file_name(
            "appenddirname can't be empty",
            "appenddirname can't be a path, just a dirname",
        ),
        TextRule::Ipv4 => {
            let valid = text.is_empty() || as_text.parse::<Ipv4Addr>().is_ok();
            demand(valid, "Invalid IPv4 address")
        }
        TextRule::Ipv6 => {
            let valid = text.is_empty() || as_text.parse::<Ipv6Addr>().is_ok();
            demand(valid, "Invalid IPv6 address")
        }
        TextRule::AnnouncedAddress => {
            let allowed =
                |b: &u8| b.is_ascii_alphanumeric() || !b.is_ascii() || b"-./:_`".contains(b);
            // The bus has 46 bytes for an address, the last of them 0.
            demand(text.len() < 46, "cluster-announce-ip is too long")?;
            let reason = "cluster-announce-ip contains invalid character";
            demand(text.iter().all(allowed), reason)
        }
        TextRule::ProcessTitle => {
            let reason = "template format is invalid or contains unknown variables";
            demand(is_title_template(text), reason)
        }
        TextRule::HostName => {
            demand(
                text.len() < 256,
                "Hostnames must be less than 256 characters",
            )?;
            let allowed = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
            let reason = "Hostnames may only contain alphanumeric characters, hyphens or dots";
            demand(text.iter().all(allowed), reason)
        }
        TextRule::NodeName => {
            let allowed =
                |b: &u8| matches!(b, 33..=126) && !b"!#$%&()*+:;<>?@[]^{|}~'\",=/\\`".contains(b);
            let reason = "Announced human node name contained invalid character";
            demand(text.iter().all(allowed), reason)
        }
    }
}

/// Whether all `{variable}`s of a process title are known; `{{` is a brace.
fn is_title_template(text: &[u8]) -> bool {
    const KNOWN: [&[u8]; 7] = [
        b"title",
        b"listen-addr",
        b"server-mode",
        b"port",
        b"tls-port",
        b"config-file",
        b"unixsocket",
    ];
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'{', rest) {
        rest = &rest[at + 1..];
        if let Some(behind) = rest.strip_prefix(b"{") {
            rest = behind;
            continue;
        }
        let end = memchr::memchr(b'}', rest).unwrap_or_default();
        if !KNOWN.contains(&&rest[..end]) {
            return false;
        }
        rest = &rest[end + 1..];
    }
    !text.is_empty()
}

/// Reads a whole number with C's leniency about leading zeros and a plus.
fn lenient(word: &[u8]) -> Option<i64> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

fn parse_save(words: &[Vec<u8>]) -> Result<Value, Reason> {
    const INVALID: &str = "Invalid save parameters";
    if let [word] = words
        && word.is_empty()
    {
        return Ok(Value::Save(Vec::new()));
    }
    let mut points = Vec::with_capacity(words.len() / 2);
    for pair in words.chunks(2) {
        let [seconds, changes] = pair else {
            return Err(INVALID.into());
        };
        match (lenient(seconds), lenient(changes)) {
            (Some(seconds @ 1..), Some(changes @ 0..)) => points.push((seconds, changes)),
            _ => return Err(INVALID.into()),
        }
    }
    Ok(Value::Save(points))
}

fn parse_limits(words: &[Vec<u8>], current: Option<&Value>) -> Result<Value, Reason> {
    if !words.len().is_multiple_of(4) {
        return Err("Wrong number of arguments in buffer limit configuration.".into());
    }
    let mut limits = match current {
        Some(Value::OutputBufferLimits(limits)) => *limits,
        _ => Default::default(),
    };
    for group in words.chunks(4) {
        let class = match group[0].to_ascii_lowercase().as_slice() {
            b"normal" => 0,
            b"slave" | b"replica" => 1,
            b"pubsub" => 2,
            _ => {
                return Err("Invalid client class specified in buffer limit configuration.".into());
            }
        };
        let (hard, soft) = (parse_memory(&group[1]), parse_memory(&group[2]));
        limits[class] = match (hard, soft, lenient(&group[3])) {
            (Some(hard_bytes), Some(soft_bytes), Some(soft_seconds @ 0..)) => OutputBufferLimit {
                hard_bytes,
                soft_bytes,
                soft_seconds,
            },
            _ => {
                return Err("Error in hard, soft or soft_seconds setting in \
                            buffer limit configuration."
                    .into());
            }
        };
    }
    Ok(Value::OutputBufferLimits(limits))
}

fn parse_oom_scores(words: &[Vec<u8>]) -> Result<Value, Reason> {
    let [primary, replica, child] = words else {
        return Err("wrong number of arguments".into());
    };
    let mut scores = [0; 3];
    for (score, word) in scores.iter_mut().zip([primary, replica, child]) {
        *score = match lenient(word) {
            Some(value @ -2000..=2000) => value as i32,
            _ => {
                return Err(
                    "Invalid oom-score-adj-values, elements must be between -2000 and 2000.".into(),
                );
            }
        };
    }
    Ok(Value::OomScores(scores))
}

fn parse_events(word: &[u8]) -> Result<Value, Reason> {
    let known = |&byte: &u8| byte == b'A' || EVENT_LETTERS.as_bytes().contains(&byte);
    if !word.iter().all(known) {
        return Err("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".into());
    }
    let all = word.contains(&b'A');
    let chosen =
        |letter: &char| word.contains(&(*letter as u8)) || (all && EVENTS_IN_ALL.contains(*letter));
    let letters = EVENT_LETTERS.chars().filter(chosen).collect();
    Ok(Value::KeyspaceEvents(letters))
}

fn parse_addresses(words: &[Vec<u8>]) -> Result<Value, Reason> {
    if words.len() > MAX_ADDRESSES {
        return Err("Too many bind addresses specified.".into());
    }
    if let [word] = words
        && word.is_empty()
    {
        return Ok(Value::Addresses(Vec::new()));
    }
    let addresses: Result<Vec<String>, Reason> = words.iter().map(|word| host_name(word)).collect();
    addresses.map(Value::Addresses)
}

/// A host's name or address: one word, without quotes, as it will stand in the file again.
fn host_name(word: &[u8]) -> Result<String, Reason> {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !b"\"'\\".contains(byte);
    if word.is_empty() || !word.iter().all(plain) {
        return Err("argument must be a host name or an address".into());
    }
    Ok(String::from_utf8_lossy(word).into_owned())
}

fn parse_replicaof(words: &[Vec<u8>]) -> Result<Value, Reason> {
    // CONFIG GET shows no primary as an empty text, which means no words.
    let [host, port] = words else {
        return Err("wrong number of arguments".into());
    };
    if host.eq_ignore_ascii_case(b"no") && port.eq_ignore_ascii_case(b"one") {
        return Ok(Value::ReplicaOf(None));
    }
    let port = lenient(port).and_then(|port| u16::try_from(port).ok());
    let port = port.ok_or("Invalid primary port")?;
    Ok(Value::ReplicaOf(Some((host_name(host)?, port))))
}

fn parse_percentiles(words: &[Vec<u8>]) -> Result<Value, Reason> {
    if let [word] = words
        && word.is_empty()
    {
        return Ok(Value::Percentiles(Vec::new()));
    }
    let mut values = Vec::with_capacity(words.len());
    for word in words {
        let value = number::parse_f64(word)
            .ok_or("Invalid latency-tracking-info-percentiles parameters")?;
        if !(0.0..=100.0).contains(&value) {
            return Err(
                "latency-tracking-info-percentiles parameters should sit between \
                        [0.0,100.0]"
                    .into(),
            );
        }
        values.push(value);
    }
    Ok(Value::Percentiles(values))
}
