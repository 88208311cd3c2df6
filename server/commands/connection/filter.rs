//! Which clients CLIENT LIST shows and CLIENT KILL closes: words with a value
//! each, all of which a client must fit. Most have a counterpart `NOT-…` that
//! it must not fit. Of several conditions of a kind the last one holds, but ids
//! add up.

use std::sync::atomic::Ordering;

use crate::commands::args::{self, is};
use crate::commands::command::Arg;
use crate::commands::error::CommandError;
use crate::connection::client::Client;
use crate::connection::listing::{ClientType, FLAG_LETTERS, age_s, flags, idle_s};
use crate::state::Server;

/// One condition.
enum Rule {
    Ids(Vec<u64>),
    Type(ClientType),
    User(Vec<u8>),
    Address(Vec<u8>),
    LocalAddress(Vec<u8>),
    Ip(Vec<u8>),
    Name(Vec<u8>),
    LibName(Vec<u8>),
    LibVersion(Vec<u8>),
    Flags(String),
    Capa(Vec<u8>),
    Db(u32),
    MaxAge(i64),
    Idle(i64),
}

/// All conditions.
pub struct Filter {
    /// With whether the client must fit it, or must not.
    rules: Vec<(bool, Rule)>,
    skip_me: bool,
}

impl Filter {
    /// Reads the conditions. `skip_me` is whether the client that asks is left
    /// out unless it says otherwise.
    pub fn parse(words: &[&[u8]], server: &Server, skip_me: bool) -> Result<Filter, CommandError> {
        let mut filter = Filter {
            rules: Vec::new(),
            skip_me,
        };
        let mut at = 0;
        while at < words.len() {
            let word = words[at].to_ascii_uppercase();
            let (fits, name) = match word.strip_prefix(b"NOT-") {
                Some(name) => (false, name),
                None => (true, word.as_slice()),
            };
            let value = *words.get(at + 1).ok_or(CommandError::Syntax)?;
            at += 2;
            if name == b"ID" {
                if crate::number::parse_i64(value).is_none() {
                    return Err(CommandError::Syntax);
                }
                let mut ids = vec![parse_id(value)?];
                // Further ids follow, up to the next word of a filter.
                while let Some(word) = words.get(at)
                    && crate::number::parse_i64(word).is_some()
                {
                    ids.push(parse_id(word)?);
                    at += 1;
                }
                filter.add(fits, Rule::Ids(ids));
            } else if fits && name == b"SKIPME" {
                filter.skip_me = match value {
                    value if is(value, "YES") => true,
                    value if is(value, "NO") => false,
                    _ => return Err(CommandError::Syntax),
                };
            } else {
                let rule = parse_rule(server, name, value, fits)?;
                filter.add(fits, rule);
            }
        }
        Ok(filter)
    }

    /// Adds a condition. Of several of a kind the last one holds; but ids add up.
    fn add(&mut self, fits: bool, rule: Rule) {
        let kind = std::mem::discriminant(&rule);
        let same =
            |other: &&mut (bool, Rule)| other.0 == fits && std::mem::discriminant(&other.1) == kind;
        match (self.rules.iter_mut().find(same), rule) {
            (Some((_, Rule::Ids(known))), Rule::Ids(ids)) => known.extend(ids),
            (Some((_, known)), rule) => *known = rule,
            (None, rule) => self.rules.push((fits, rule)),
        }
    }

    /// Whether a client fits; `me` is the id of the one that asks.
    pub fn fits(&self, client: &Client, me: u64, now_ms: i64) -> bool {
        if self.skip_me && client.id == me {
            return false;
        }
        self.rules
            .iter()
            .all(|(fits, rule)| rule.fits(client, now_ms) == *fits)
    }
}

fn parse_id(value: &[u8]) -> Result<u64, CommandError> {
    let text = "client-id should be greater than 0";
    args::integer_between(value, 1..=i64::MAX, text).map(|id| id as u64)
}

fn parse_rule(
    server: &Server,
    name: &[u8],
    value: &[u8],
    fits: bool,
) -> Result<Rule, CommandError> {
    let text = || value.to_vec();
    let shown = || String::from_utf8_lossy(value).into_owned();
    Ok(match name {
        b"TYPE" => match ClientType::from_name(value) {
            Some(of) => Rule::Type(of),
            None => {
                let error = format!("Unknown client type '{}'", shown());
                return Err(CommandError::err(error));
            }
        },
        b"USER" if server.acl.user(value).is_none() => {
            return Err(CommandError::err(format!("No such user '{}'", shown())));
        }
        b"USER" => Rule::User(text()),
        b"ADDR" => Rule::Address(text()),
        b"LADDR" => Rule::LocalAddress(text()),
        b"IP" => Rule::Ip(text()),
        b"NAME" => Rule::Name(text()),
        b"LIB-NAME" => Rule::LibName(text()),
        b"LIB-VER" => Rule::LibVersion(text()),
        b"FLAGS" => match shown() {
            letters if letters.chars().all(|c| FLAG_LETTERS.contains(c)) => Rule::Flags(letters),
            letters if fits => return Err(unknown("flags", "provided filter", &letters)),
            letters => return Err(unknown("flags", "NOT-FLAGS filter", &letters)),
        },
        b"CAPA" => match shown() {
            letters if letters.chars().all(|c| c == 'r') => Rule::Capa(text()),
            letters if fits => return Err(unknown("capa", "provided filter", &letters)),
            letters => return Err(unknown("capa", "NOT-CAPA filter", &letters)),
        },
        b"DB" => Rule::Db(parse_db(value, server.keyspace.databases())?),
        b"MAXAGE" if fits => Rule::MaxAge(positive("maxage", value)?),
        b"IDLE" if fits => Rule::Idle(positive("idle", value)?),
        _ => return Err(CommandError::Syntax),
    })
}

fn unknown(what: &str, filter: &str, letters: &str) -> CommandError {
    CommandError::err(format!("Unknown {what} found in the {filter}: {letters}"))
}

fn positive(name: &str, value: &[u8]) -> Result<i64, CommandError> {
    let text = format!("{name} is not an integer or out of range");
    match args::integer_between(value, i64::MIN..=i64::MAX, &text)? {
        seconds if seconds > 0 => Ok(seconds),
        _ => Err(CommandError::err(format!(
            "{name} should be greater than 0"
        ))),
    }
}

fn parse_db(value: &[u8], databases: u32) -> Result<u32, CommandError> {
    let text = "DB is not an integer or out of range";
    let index = args::integer_between(value, i64::MIN..=i64::MAX, text)?;
    let known = u32::try_from(index).ok().filter(|db| *db < databases);
    known.ok_or_else(|| {
        let last = databases.saturating_sub(1);
        CommandError::err(format!("DB number should be between 0 and {last}"))
    })
}

impl Rule {
    fn fits(&self, client: &Client, now_ms: i64) -> bool {
        match self {
            Rule::Ids(ids) => ids.contains(&client.id),
            Rule::Type(wanted) => ClientType::of(client) == *wanted,
            Rule::User(user) => client.info.lock().user == *user,
            Rule::Address(address) => client.address.as_bytes() == address,
            Rule::LocalAddress(address) => client.local_address.as_bytes() == address,
            Rule::Ip(ip) => ip_of(&client.address).as_bytes() == ip,
            Rule::Name(name) => client.info.lock().name == *name,
            Rule::LibName(name) => client.info.lock().lib_name == *name,
            Rule::LibVersion(version) => client.info.lock().lib_version == *version,
            Rule::Flags(letters) => {
                let set = flags(client);
                letters.chars().all(|letter| set.contains(letter))
            }
            Rule::Capa(letters) => {
                letters.is_empty() || client.capa_redirect.load(Ordering::Relaxed)
            }
            Rule::Db(db) => client.db.load(Ordering::Relaxed) == *db,
            Rule::MaxAge(seconds) => age_s(client, now_ms) >= *seconds,
            Rule::Idle(seconds) => idle_s(client, now_ms) >= *seconds,
        }
    }
}

/// The address without its port and brackets.
fn ip_of(address: &str) -> &str {
    let ip = address.rsplit_once(':').map_or(address, |(ip, _)| ip);
    ip.trim_start_matches('[').trim_end_matches(']')
}

/// The syntax of the conditions, for COMMAND DOCS.
pub const FILTER_ARGS: &[Arg] = &[
    client_type("client-type", "TYPE").since("5.0.0"),
    Arg::integer("client-id")
        .after("ID")
        .optional()
        .multiple()
        .since("2.8.12"),
    text("username", "USER", ""),
    text("addr", "ADDR", ""),
    text("laddr", "LADDR", "6.2.0"),
    Arg::one_of("skipme", &[Arg::word("yes", "YES"), Arg::word("no", "NO")])
        .after("SKIPME")
        .optional(),
    number("maxage", "MAXAGE", "8.0.0"),
    text("name", "NAME", "9.0.0"),
    number("idle", "IDLE", "9.0.0"),
    text("flags", "FLAGS", "9.0.0"),
    text("lib-name", "LIB-NAME", "9.0.0"),
    text("lib-ver", "LIB-VER", "9.0.0"),
    number("db", "DB", "9.0.0"),
    text("capa", "CAPA", "9.0.0"),
    text("ip", "IP", "9.0.0"),
    client_type("not-client-type", "NOT-TYPE").since("9.0.0"),
    Arg::integer("not-client-id")
        .after("NOT-ID")
        .optional()
        .multiple()
        .since("9.0.0"),
    text("not-username", "NOT-USER", "9.0.0"),
    text("not-addr", "NOT-ADDR", "9.0.0"),
    text("not-laddr", "NOT-LADDR", "9.0.0"),
    text("not-name", "NOT-NAME", "9.0.0"),
    text("not-flags", "NOT-FLAGS", "9.0.0"),
    text("not-lib-name", "NOT-LIB-NAME", "9.0.0"),
    text("not-lib-ver", "NOT-LIB-VER", "9.0.0"),
    number("not-db", "NOT-DB", "9.0.0"),
    text("not-capa", "NOT-CAPA", "9.0.0"),
    text("not-ip", "NOT-IP", "9.0.0"),
];

const fn text(name: &'static str, token: &'static str, since: &'static str) -> Arg {
    Arg::string(name).after(token).optional().since(since)
}

const fn number(name: &'static str, token: &'static str, since: &'static str) -> Arg {
    Arg::integer(name).after(token).optional().since(since)
}

const fn client_type(name: &'static str, token: &'static str) -> Arg {
    Arg::one_of(name, CLIENT_TYPES).after(token).optional()
}

const CLIENT_TYPES: &[Arg] = &[
    Arg::word("normal", "NORMAL"),
    Arg::word("master", "MASTER").since("3.2.0"),
    Arg::word("primary", "PRIMARY").since("8.0.0"),
    Arg::word("slave", "SLAVE"),
    Arg::word("replica", "REPLICA").since("5.0.0"),
    Arg::word("pubsub", "PUBSUB"),
];
