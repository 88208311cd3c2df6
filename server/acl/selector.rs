//! A selector: commands, and the keys, channels and databases that they may
//! be used with. A user has one of its own and perhaps more; each stands for
//! itself.

use std::collections::{BTreeMap, BTreeSet};

use super::rule::{NewChannels, RuleError, has_spaces};
use crate::commands::command::{Command, acl};
use crate::commands::table::{Found, table};
use crate::glob::{Case, matches};

/// A pattern of keys, and what may be done to those that match.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyPattern {
    /// The pattern.
    pub pattern: Vec<u8>,
    /// They may be read.
    pub read: bool,
    /// They may be written.
    pub write: bool,
}

/// What a selector allows.
#[derive(Clone, Debug)]
pub struct Selector {
    /// All commands, those that have no number yet included.
    all_commands: bool,
    /// It began with `+@all`.
    from_all: bool,
    /// Which commands, by number; 64 a word.
    allowed: Vec<u64>,
    /// First arguments with which a command is allowed that isn't otherwise,
    /// in lower case.
    first_args: BTreeMap<usize, Vec<Vec<u8>>>,
    /// The rules about commands behind `+@all` or `-@all`, with their signs.
    rules: Vec<Vec<u8>>,
    all_keys: bool,
    keys: Vec<KeyPattern>,
    all_channels: bool,
    channels: Vec<Vec<u8>>,
    all_dbs: bool,
    dbs: BTreeSet<u32>,
}

impl Selector {
    /// No commands, no keys, all databases.
    pub fn new(channels: NewChannels) -> Selector {
        Selector {
            all_commands: false,
            from_all: false,
            allowed: vec![0; table().all().len().div_ceil(64)],
            first_args: BTreeMap::new(),
            rules: Vec::new(),
            all_keys: false,
            keys: Vec::new(),
            all_channels: channels == NewChannels::All,
            channels: Vec::new(),
            all_dbs: true,
            dbs: BTreeSet::new(),
        }
    }

    /// Reads `(rule …)`.
    pub fn parse(text: &[u8], channels: NewChannels) -> Result<Selector, RuleError> {
        let inner = text
            .strip_prefix(b"(")
            .and_then(|text| text.strip_suffix(b")"))
            .ok_or(RuleError::Syntax)?;
        let mut selector = Selector::new(channels);
        for rule in inner.split(|&byte| byte == b' ') {
            if !rule.is_empty() {
                selector.apply(rule)?;
            }
        }
        Ok(selector)
    }

    /// Whether it allows everything.
    pub fn is_unrestricted(&self) -> bool {
        self.all_commands && self.all_keys && self.all_channels && self.all_dbs
    }

    /// Whether it allows all channels.
    pub fn allows_all_channels(&self) -> bool {
        self.all_channels
    }

    /// Its channel patterns.
    pub fn channels(&self) -> &[Vec<u8>] {
        &self.channels
    }

    /// Applies a rule about commands, keys, channels or databases.
    pub fn apply(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        match rule.to_ascii_lowercase().as_slice() {
            b"allkeys" | b"~*" => (self.all_keys, self.keys) = (true, Vec::new()),
            b"resetkeys" => (self.all_keys, self.keys) = (false, Vec::new()),
            b"allchannels" | b"&*" => (self.all_channels, self.channels) = (true, Vec::new()),
            b"resetchannels" => (self.all_channels, self.channels) = (false, Vec::new()),
            b"alldbs" => (self.all_dbs, self.dbs) = (true, BTreeSet::new()),
            b"resetdbs" => (self.all_dbs, self.dbs) = (false, BTreeSet::new()),
            b"allcommands" | b"+@all" => self.set_all_commands(true),
            b"nocommands" | b"-@all" => self.set_all_commands(false),
            lower => match lower {
                [b'~' | b'%', ..] => return self.add_keys(rule),
                [b'&', ..] => return self.add_channels(&rule[1..]),
                [b'd', b'b', b'=', numbers @ ..] => return self.set_dbs(numbers),
                [sign @ (b'+' | b'-'), b'@', name @ ..] => {
                    return self.set_category(*sign == b'+', name);
                }
                [b'+', name @ ..] => return self.allow(name),
                [b'-', name @ ..] => {
                    let found = table().by_name(name).ok_or(RuleError::Unknown)?;
                    self.set_command(found.command, found.number(), false);
                    self.note_rule(false, found.command.name.as_bytes());
                }
                _ => return Err(RuleError::Syntax),
            },
        }
        Ok(())
    }

    fn set_all_commands(&mut self, all: bool) {
        self.all_commands = all;
        self.from_all = all;
        self.allowed.fill(if all { u64::MAX } else { 0 });
        self.rules.clear();
        self.first_args.clear();
    }

    /// `~pattern`, or `%` with `R`, `W` or both before the `~`.
    fn add_keys(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        if self.all_keys {
            return Err(RuleError::AllKeysAlready);
        }
        let (mut read, mut write) = (true, true);
        let mut pattern = &rule[1..];
        if rule[0] == b'%' {
            (read, write) = (false, false);
            loop {
                match pattern {
                    [b'r' | b'R', rest @ ..] if !read => (read, pattern) = (true, rest),
                    [b'w' | b'W', rest @ ..] if !write => (write, pattern) = (true, rest),
                    [b'~', rest @ ..] if read || write => {
                        pattern = rest;
                        break;
                    }
                    // A permission without a pattern is one for the empty key.
                    [] if read || write => break,
                    _ => return Err(RuleError::Syntax),
                }
            }
        }
        if has_spaces(pattern) {
            return Err(RuleError::Syntax);
        }
        match self.keys.iter_mut().find(|known| known.pattern == pattern) {
            Some(known) => {
                known.read |= read;
                known.write |= write;
            }
            None => self.keys.push(KeyPattern {
                pattern: pattern.to_vec(),
                read,
                write,
            }),
        }
        Ok(())
    }

    fn add_channels(&mut self, pattern: &[u8]) -> Result<(), RuleError> {
        if self.all_channels {
            return Err(RuleError::AllChannelsAlready);
        }
        if has_spaces(pattern) {
            return Err(RuleError::Syntax);
        }
        if !self.channels.iter().any(|known| known == pattern) {
            self.channels.push(pattern.to_vec());
        }
        Ok(())
    }

    /// `db=1,2`: these databases and no others.
    fn set_dbs(&mut self, numbers: &[u8]) -> Result<(), RuleError> {
        let mut dbs = BTreeSet::new();
        for number in numbers.split(|&byte| byte == b',') {
            let number = parse_db(number)?;
            let number = i32::try_from(number).map_err(|_| RuleError::DatabaseOutOfRange)?;
            dbs.insert(u32::try_from(number).map_err(|_| RuleError::DatabaseOutOfRange)?);
        }
        (self.all_dbs, self.dbs) = (false, dbs);
        Ok(())
    }

    /// `+command`, `+command|subcommand` or `+command|argument`.
    fn allow(&mut self, name: &[u8]) -> Result<(), RuleError> {
        let Some(bar) = name.iter().rposition(|&byte| byte == b'|') else {
            let found = table().by_name(name).ok_or(RuleError::Unknown)?;
            self.set_command(found.command, found.number(), true);
            self.note_rule(true, name);
            return Ok(());
        };
        let (container, argument) = (&name[..bar], &name[bar + 1..]);
        let found = table().by_name(container).ok_or(RuleError::Unknown)?;
        if found.command.name.contains('|') {
            return Err(RuleError::ArgumentOfSubcommand);
        }
        if argument.is_empty() {
            return Err(RuleError::Syntax);
        }
        if found.command.subcommands.is_empty() {
            let arguments = self.first_args.entry(found.number()).or_default();
            if !arguments.iter().any(|known| known == argument) {
                arguments.push(argument.to_vec());
            }
        } else {
            let found = table().by_name(name).ok_or(RuleError::Unknown)?;
            self.set_command(found.command, found.number(), true);
        }
        self.note_rule(true, name);
        Ok(())
    }

    /// Allows or forbids a command, a container's subcommands included.
    fn set_command(&mut self, command: &Command, number: usize, allow: bool) {
        self.set_bit(number, allow);
        self.first_args.remove(&number);
        for subcommand in command.subcommands {
            if let Some(found) = table().by_name(subcommand.name.as_bytes()) {
                self.set_bit(found.number(), allow);
            }
        }
    }

    fn set_bit(&mut self, number: usize, allow: bool) {
        let Some(word) = self.allowed.get_mut(number / 64) else {
            return;
        };
        if allow {
            *word |= 1 << (number % 64);
        } else {
            *word &= !(1 << (number % 64));
            self.all_commands = false;
        }
    }

    fn set_category(&mut self, allow: bool, name: &[u8]) -> Result<(), RuleError> {
        let category = category(name).ok_or(RuleError::Unknown)?;
        self.note_rule(allow, &[b"@", name].concat());
        for (number, command) in table().all().iter().enumerate() {
            if in_category(command, category) {
                self.set_command(command, number, allow);
            }
        }
        Ok(())
    }

    /// Keeps a rule about commands for the description, in place of an
    /// earlier one about the same, or about a part of it.
    fn note_rule(&mut self, allow: bool, name: &[u8]) {
        self.rules
            .retain(|rule| match rule[1..].strip_prefix(name) {
                Some(rest) => !matches!(rest, [] | [b'|', ..]),
                None => true,
            });
        let sign: &[u8] = if allow { b"+" } else { b"-" };
        self.rules.push([sign, name].concat());
    }

    /// Whether a command may be called with these arguments, whatever its keys.
    pub fn allows_command(&self, found: Found, args: &[&[u8]]) -> bool {
        if self.all_commands {
            return true;
        }
        let word = self.allowed.get(found.number() / 64).copied().unwrap_or(0);
        if word & (1 << (found.number() % 64)) != 0 {
            return true;
        }
        let Some(allowed) = self.first_args.get(&found.number()) else {
            return false;
        };
        let argument = args.get(1).map(|argument| argument.to_ascii_lowercase());
        argument.is_some_and(|argument| allowed.contains(&argument))
    }

    /// Whether a key may be read, written or both.
    pub fn allows_key(&self, key: &[u8], read: bool, write: bool) -> bool {
        self.all_keys
            || self.keys.iter().any(|known| {
                (known.read || !read)
                    && (known.write || !write)
                    && matches(&known.pattern, key, Case::Sensitive)
            })
    }

    /// Whether every key may be read.
    pub fn allows_reading_all(&self) -> bool {
        self.all_keys || self.keys.iter().any(|k| k.read && k.pattern == b"*")
    }

    /// Whether a channel may be used, or listened to by this pattern: only a
    /// pattern that is the very same is allowed.
    pub fn allows_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.all_channels || fits_any(&self.channels, channel, is_pattern)
    }

    /// Whether a database may be used.
    pub fn allows_db(&self, db: u32) -> bool {
        self.all_dbs || self.dbs.contains(&db)
    }

    /// Whether all databases may be used.
    pub fn allows_all_dbs(&self) -> bool {
        self.all_dbs
    }

    /// The rules about commands, from `+@all` or `-@all` on.
    pub fn describe_commands(&self) -> Vec<u8> {
        let first: &[u8] = if self.from_all { b"+@all" } else { b"-@all" };
        let rules = self.rules.iter().map(Vec::as_slice);
        let all: Vec<&[u8]> = std::iter::once(first).chain(rules).collect();
        all.join(&b' ')
    }

    /// The key patterns, as rules.
    pub fn describe_keys(&self) -> Vec<u8> {
        if self.all_keys {
            return b"~*".to_vec();
        }
        let rule = |known: &KeyPattern| {
            let before: &[u8] = match (known.read, known.write) {
                (true, false) => b"%R~",
                (false, true) => b"%W~",
                _ => b"~",
            };
            [before, &known.pattern].concat()
        };
        let rules: Vec<Vec<u8>> = self.keys.iter().map(rule).collect();
        rules.join(&b' ')
    }

    /// The channel patterns, as rules.
    pub fn describe_channels(&self) -> Vec<u8> {
        if self.all_channels {
            return b"&*".to_vec();
        }
        let rule = |pattern: &Vec<u8>| [b"&", pattern.as_slice()].concat();
        let rules: Vec<Vec<u8>> = self.channels.iter().map(rule).collect();
        rules.join(&b' ')
    }

    /// The databases, as a rule; nothing if there are none.
    pub fn describe_dbs(&self) -> Vec<u8> {
        if self.all_dbs {
            return b"alldbs".to_vec();
        }
        if self.dbs.is_empty() {
            return Vec::new();
        }
        let numbers: Vec<String> = self.dbs.iter().map(u32::to_string).collect();
        format!("db={}", numbers.join(",")).into_bytes()
    }

    /// All of it, as rules that make it again.
    pub fn describe(&self) -> Vec<u8> {
        let mut parts = vec![self.describe_keys()];
        if !self.all_channels {
            parts.push(b"resetchannels".to_vec());
        }
        parts.push(self.describe_channels());
        if !self.all_dbs {
            parts.push(match self.dbs.is_empty() {
                true => b"resetdbs".to_vec(),
                false => self.describe_dbs(),
            });
        }
        parts.push(self.describe_commands());
        parts.retain(|part| !part.is_empty());
        parts.join(&b' ')
    }
}

/// Whether one of some channel patterns allows a channel, or a pattern of
/// channels.
pub fn fits_any(patterns: &[Vec<u8>], channel: &[u8], is_pattern: bool) -> bool {
    patterns.iter().any(|known| match is_pattern {
        true => known == channel,
        false => matches(known, channel, Case::Sensitive),
    })
}

/// The bit of a category of commands, by its name in any case.
pub fn category(name: &[u8]) -> Option<u32> {
    let at = acl::NAMES
        .iter()
        .position(|known| known.as_bytes().eq_ignore_ascii_case(name))?;
    Some(1 << at)
}

/// Whether a command is in a category.
pub fn in_category(command: &Command, category: u32) -> bool {
    acl::with_implied(command.acl, command.flags) & category != 0
}

/// Reads a database's number as C's `strtol` does: spaces and a sign may be before
/// it, nothing behind it.
fn parse_db(text: &[u8]) -> Result<i64, RuleError> {
    let text = text.trim_ascii_start();
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(RuleError::Syntax);
    }
    let digits = std::str::from_utf8(digits).map_err(|_| RuleError::Syntax)?;
    match digits.parse::<i64>() {
        Ok(number) if negative => Ok(-number),
        Ok(number) => Ok(number),
        Err(_) => Err(RuleError::DatabaseOutOfRange),
    }
}
