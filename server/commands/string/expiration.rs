//! The option that SET, GETEX and MSETEX share: when a key expires.

use crate::commands::args::{self, TimeUnit};
use crate::commands::error::CommandError;

/// What a command says about a key's expiry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expiration<'a> {
    /// Nothing.
    Unsaid,
    /// The command's own word: KEEPTTL or PERSIST.
    Word,
    /// EX, PX, EXAT or PXAT with its argument.
    Given(TimeUnit, &'a [u8]),
}

impl<'a> Expiration<'a> {
    /// Takes an option, which may repeat an earlier one but not contradict
    /// it. `own` is the command's own word. Returns how many arguments it has.
    pub fn take(
        &mut self,
        word: &[u8],
        next: Option<&'a [u8]>,
        own: &str,
    ) -> Result<usize, CommandError> {
        if args::is(word, own) {
            return match self {
                Expiration::Given(..) => Err(CommandError::Syntax),
                _ => {
                    *self = Expiration::Word;
                    Ok(1)
                }
            };
        }
        let (unit, value) = unit_of(word).zip(next).ok_or(CommandError::Syntax)?;
        match *self {
            Expiration::Word => return Err(CommandError::Syntax),
            Expiration::Given(other, _) if other != unit => return Err(CommandError::Syntax),
            _ => {}
        }
        *self = Expiration::Given(unit, value);
        Ok(2)
    }

    /// The absolute expiry in Unix milliseconds, if one is given.
    pub fn at_ms(&self, now_ms: i64, command: &str) -> Result<Option<i64>, CommandError> {
        match *self {
            Expiration::Given(unit, value) => expiry_ms(unit, value, now_ms, command).map(Some),
            _ => Ok(None),
        }
    }
}

fn unit_of(word: &[u8]) -> Option<TimeUnit> {
    let units = [
        ("EX", TimeUnit::Seconds),
        ("PX", TimeUnit::Millis),
        ("EXAT", TimeUnit::UnixSeconds),
        ("PXAT", TimeUnit::UnixMillis),
    ];
    let found = units.into_iter().find(|(name, _)| args::is(word, name));
    found.map(|(_, unit)| unit)
}

/// The absolute expiry that a positive time stands for.
pub fn expiry_ms(
    unit: TimeUnit,
    value: &[u8],
    now_ms: i64,
    command: &str,
) -> Result<i64, CommandError> {
    let invalid = || CommandError::InvalidExpire(command.to_string());
    let value = args::integer(value)?;
    if value <= 0 {
        return Err(invalid());
    }
    unit.to_unix_ms(value, now_ms).ok_or_else(invalid)
}
