//! A user: whether and how it logs in, and its selectors.

use super::password::PasswordHash;
use super::rule::{NewChannels, RuleError, RulesError, merge_selectors};
use super::selector::Selector;

/// A user.
#[derive(Clone, Debug)]
pub struct User {
    /// Its name.
    pub name: Vec<u8>,
    /// Whether it may log in.
    pub enabled: bool,
    /// Whether any password will do.
    pub nopass: bool,
    /// Passwords, any of which will do.
    passwords: Vec<PasswordHash>,
    /// The selector of its own.
    root: Selector,
    /// Others.
    selectors: Vec<Selector>,
    /// What a new selector may use.
    channels: NewChannels,
}

impl User {
    /// A user that may do nothing, and can't log in.
    pub fn new(name: &[u8], channels: NewChannels) -> User {
        User {
            name: name.to_vec(),
            enabled: false,
            nopass: false,
            passwords: Vec::new(),
            root: Selector::new(channels),
            selectors: Vec::new(),
            channels,
        }
    }

    /// The default user of a server without rules: it may do everything and
    /// needs no password.
    pub fn default_user() -> User {
        let mut user = User::new(super::DEFAULT, NewChannels::None);
        for rule in ["on", "nopass", "~*", "&*", "+@all"] {
            user.apply(rule.as_bytes()).expect("a valid rule");
        }
        user
    }

    /// Whether it may do everything.
    pub fn is_unrestricted(&self) -> bool {
        self.root.is_unrestricted()
    }

    /// The selectors, its own first.
    pub fn selectors(&self) -> impl Iterator<Item = &Selector> {
        std::iter::once(&self.root).chain(&self.selectors)
    }

    /// The passwords' hashes.
    pub fn passwords(&self) -> &[PasswordHash] {
        &self.passwords
    }

    /// Whether it may log in with this password, if it may at all.
    pub fn accepts(&self, password: &[u8]) -> bool {
        if self.nopass {
            return true;
        }
        let given = PasswordHash::of(password);
        let fits = self.passwords.iter().map(|known| known.same_as(&given));
        fits.fold(false, |any, fits| any | fits)
    }

    /// Gives it this password and no other; an empty one stands for any.
    pub fn set_only_password(&mut self, password: &[u8]) {
        self.nopass = password.is_empty();
        self.passwords.clear();
        if !self.nopass {
            self.passwords.push(PasswordHash::of(password));
        }
    }

    /// Applies rules given as words, as ACL SETUSER does.
    pub fn apply_all(&mut self, words: &[&[u8]]) -> Result<(), RulesError> {
        let rules = merge_selectors(words).map_err(|word| RulesError::Unmatched(word.to_vec()))?;
        for rule in rules {
            self.apply(&rule)
                .map_err(|error| RulesError::Rule(rule, error))?;
        }
        Ok(())
    }

    /// Applies one rule.
    pub fn apply(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        match rule.to_ascii_lowercase().as_slice() {
            [] | b"sanitize-payload" | b"skip-sanitize-payload" => {}
            b"on" => self.enabled = true,
            b"off" => self.enabled = false,
            b"nopass" => (self.nopass, self.passwords) = (true, Vec::new()),
            b"resetpass" => (self.nopass, self.passwords) = (false, Vec::new()),
            b"clearselectors" => self.selectors.clear(),
            b"reset" => *self = User::new(&self.name, self.channels),
            _ => match rule {
                [b'>', password @ ..] => self.add_password(PasswordHash::of(password)),
                [b'#', hash @ ..] => self.add_password(read_hash(hash)?),
                [b'<', password @ ..] => self.remove_password(&PasswordHash::of(password))?,
                [b'!', hash @ ..] => self.remove_password(&read_hash(hash)?)?,
                [b'(', .., b')'] => {
                    let selector = Selector::parse(rule, self.channels)?;
                    self.selectors.push(selector);
                }
                _ => self.root.apply(rule)?,
            },
        }
        Ok(())
    }

    /// Has `reset` and new selectors follow `acl-pubsub-default` as it is now.
    pub fn set_new_channels(&mut self, channels: NewChannels) {
        self.channels = channels;
    }

    fn add_password(&mut self, hash: PasswordHash) {
        if !self.passwords.contains(&hash) {
            self.passwords.push(hash);
        }
        self.nopass = false;
    }

    fn remove_password(&mut self, hash: &PasswordHash) -> Result<(), RuleError> {
        let at = self.passwords.iter().position(|known| known == hash);
        self.passwords.remove(at.ok_or(RuleError::NoSuchPassword)?);
        Ok(())
    }

    /// `on` or `off`, and `nopass`.
    pub fn flags(&self) -> Vec<&'static str> {
        let mut flags = vec![if self.enabled { "on" } else { "off" }];
        if self.nopass {
            flags.push("nopass");
        }
        flags
    }

    /// Its rules behind the name, as ACL LIST shows them.
    pub fn describe(&self) -> Vec<u8> {
        let mut words: Vec<Vec<u8>> = self
            .flags()
            .into_iter()
            .map(|flag| flag.as_bytes().to_vec())
            .collect();
        let hashes = self.passwords.iter();
        words.extend(hashes.map(|hash| format!("#{}", hash.as_str()).into_bytes()));
        words.push(self.root.describe());
        let others = self.selectors.iter();
        words.extend(others.map(|other| [b"(", other.describe().as_slice(), b")"].concat()));
        words.join(&b' ')
    }

    /// The line that makes it in a file: `user name rule …`.
    pub fn line(&self) -> Vec<u8> {
        [b"user", self.name.as_slice(), &self.describe()].join(&b' ')
    }
}

fn read_hash(text: &[u8]) -> Result<PasswordHash, RuleError> {
    PasswordHash::parse(text).ok_or(RuleError::BadHash)
}
