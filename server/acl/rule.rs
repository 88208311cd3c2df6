//! What is wrong with a rule, and putting rules together that came as several
//! words.

use std::fmt;

/// Which channels a new user or selector may use (`acl-pubsub-default`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NewChannels {
    /// All.
    All,
    /// None.
    None,
}

/// Why a rule is refused; `Display` is the field's text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RuleError {
    /// Nothing that a rule looks like.
    Syntax,
    /// There is no such command or category.
    Unknown,
    /// A key pattern behind one that matches everything.
    AllKeysAlready,
    /// A channel pattern behind one that matches everything.
    AllChannelsAlready,
    /// The password to be removed isn't the user's.
    NoSuchPassword,
    /// No hash.
    BadHash,
    /// A first argument can only be given for a command without subcommands.
    ArgumentOfSubcommand,
    /// No number that a database can have.
    DatabaseOutOfRange,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RuleError::Syntax => "Syntax error",
            RuleError::Unknown => "Unknown command or category name in ACL",
            RuleError::AllKeysAlready => {
                "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. Try 'resetkeys' to start with an empty list of patterns"
            }
            RuleError::AllChannelsAlready => {
                "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect. Try 'resetchannels' to start with an empty list of channels"
            }
            RuleError::NoSuchPassword => {
                "The password you are trying to remove from the user does not exist"
            }
            RuleError::BadHash => {
                "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
            }
            RuleError::ArgumentOfSubcommand => {
                "Allowing first-arg of a subcommand is not supported"
            }
            RuleError::DatabaseOutOfRange => "The provided database ID is out of range",
        })
    }
}

/// Why a list of rules is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RulesError {
    /// A selector that begins here has no end.
    Unmatched(Vec<u8>),
    /// This rule is no good.
    Rule(Vec<u8>, RuleError),
}

impl fmt::Display for RulesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RulesError::Unmatched(word) => write!(
                f,
                "Unmatched parenthesis in acl selector starting at '{}'.",
                String::from_utf8_lossy(word)
            ),
            RulesError::Rule(rule, error) => write!(
                f,
                "Error in ACL SETUSER modifier '{}': {error}",
                String::from_utf8_lossy(rule)
            ),
        }
    }
}

/// Joins the words of a selector, from one that begins with `(` to one that
/// ends with `)`, to one rule. The error is the word that begins a selector
/// without an end.
pub fn merge_selectors<'a>(words: &[&'a [u8]]) -> Result<Vec<Vec<u8>>, &'a [u8]> {
    let mut rules = Vec::new();
    let mut open: Option<(&'a [u8], Vec<u8>)> = None;
    for &word in words {
        let ends = word.last() == Some(&b')');
        match &mut open {
            Some((_, rule)) => {
                rule.push(b' ');
                rule.extend_from_slice(word);
                if ends {
                    rules.extend(open.take().map(|(_, rule)| rule));
                }
            }
            None if word.first() == Some(&b'(') && !ends => open = Some((word, word.to_vec())),
            None => rules.push(word.to_vec()),
        }
    }
    match open {
        Some((word, _)) => Err(word),
        None => Ok(rules),
    }
}

/// Whether a name or pattern would not survive in a line of words.
pub fn has_spaces(text: &[u8]) -> bool {
    text.iter()
        .any(|byte| byte.is_ascii_whitespace() || matches!(byte, 0 | 0x0b))
}
