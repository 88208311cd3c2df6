//! Users in files: lines `user name rule …`, in the file that `aclfile` names
//! or among the directives of the configuration.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use super::rule::{NewChannels, RuleError, has_spaces, merge_selectors};
use super::user::User;
use super::{Acl, DEFAULT, Users};
use crate::config::{Config, id};

impl Acl {
    /// The users that the configuration asks for. The error is for the
    /// operator.
    pub fn from_config(config: &Config) -> Result<Acl, String> {
        let channels = new_channels(config);
        let file = config.string(id("aclfile")).into_owned();
        let lines = &config.file_only.users;
        if !file.is_empty() && !lines.is_empty() {
            return Err(
                "users are defined by an aclfile and in the configuration; only one of both can be"
                    .into(),
            );
        }
        let users = match file.is_empty() {
            false => read(&file, channels)
                .map_err(|errors| format!("Aborting startup because of ACL errors: {errors}"))?,
            true => configured(lines, channels)?,
        };
        let acl = Acl::with_users(users, channels);
        let password = config.render(id("requirepass"));
        let defined = |line: &Vec<Vec<u8>>| line.first().is_some_and(|name| name == DEFAULT);
        if file.is_empty() && !password.is_empty() && !lines.iter().any(defined) {
            acl.set_default_password(&password);
        }
        Ok(acl)
    }
}

/// What `acl-pubsub-default` says.
pub fn new_channels(config: &Config) -> NewChannels {
    match &*config.string(id("acl-pubsub-default")) {
        "allchannels" => NewChannels::All,
        _ => NewChannels::None,
    }
}

/// Users from the words behind `user` of configuration lines.
fn configured(lines: &[Vec<Vec<u8>>], channels: NewChannels) -> Result<Users, String> {
    let mut users = Users::new();
    for line in lines {
        let Some((name, words)) = line.split_first() else {
            continue;
        };
        let shown = String::from_utf8_lossy(name);
        if has_spaces(name) {
            return Err("Spaces not allowed in ACL usernames".into());
        }
        let mut user = User::new(name, channels);
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        user.apply_all(&words)
            .map_err(|error| format!("Error loading the ACL of user '{shown}': {error}"))?;
        if users.insert(name.clone(), Arc::new(user)).is_some() {
            return Err(format!(
                "Error loading the ACL of user '{shown}': Duplicate user found. A user can only be defined once in config files"
            ));
        }
    }
    Ok(users)
}

/// Reads an ACL file. The error lists all that is wrong with it.
pub fn read(path: &str, channels: NewChannels) -> Result<Users, String> {
    let text = fs::read(path)
        .map_err(|error| format!("Error loading ACLs, opening file '{path}': {error}"))?;
    let (mut users, mut errors) = (Users::new(), String::new());
    for (at, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let place = format!("{path}:{}", at + 1);
        let words: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
        let [b"user", name, rules @ ..] = words.as_slice() else {
            errors.push_str(&format!(
                "{place} should start with user keyword followed by the username. "
            ));
            continue;
        };
        let shown = String::from_utf8_lossy(name);
        if has_spaces(name) {
            errors.push_str(&format!(
                "{place}: username '{shown}' contains invalid characters. "
            ));
            continue;
        }
        let user = user_of(name, rules, channels, &place, &mut errors);
        if users.insert(name.to_vec(), Arc::new(user)).is_some() {
            errors.push_str(&format!(
                "WARNING: Duplicate user '{shown}' found on line {}. ",
                at + 1
            ));
        }
    }
    match errors.is_empty() {
        true => Ok(users),
        false => Err(errors
            + "WARNING: ACL errors detected, no change to the previously active ACL rules was performed"),
    }
}

/// The user that a line makes; what is wrong goes behind `errors`, without
/// what may be a password.
fn user_of(
    name: &[u8],
    words: &[&[u8]],
    channels: NewChannels,
    place: &str,
    errors: &mut String,
) -> User {
    let mut user = User::new(name, channels);
    let Ok(rules) = merge_selectors(words) else {
        errors.push_str(&format!(
            "{place}: Unmatched parenthesis in selector definition."
        ));
        return user;
    };
    let mut told = false;
    for rule in rules {
        match user.apply(rule.trim_ascii()) {
            Ok(()) => {}
            Err(error @ RuleError::Unknown) => errors.push_str(&format!(
                "{place}: Error in applying operation '{}': {error}. ",
                String::from_utf8_lossy(&rule)
            )),
            Err(error) if !told => {
                errors.push_str(&format!("{place}: {error}. "));
                told = true;
            }
            Err(_) => {}
        }
    }
    user
}

/// Writes all users to an ACL file, by way of a temporary file beside it.
pub fn save(acl: &Acl, path: &str) -> io::Result<()> {
    let mut text = Vec::new();
    for user in acl.users() {
        text.extend_from_slice(&user.line());
        text.push(b'\n');
    }
    let temporary = format!(
        "{path}.tmp-{}-{:08x}",
        std::process::id(),
        fastrand::u32(..)
    );
    let written = write_and_rename(&text, temporary.as_ref(), path.as_ref());
    if written.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn write_and_rename(text: &[u8], temporary: &Path, path: &Path) -> io::Result<()> {
    let mut file = File::create(temporary)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(temporary, path)?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}
