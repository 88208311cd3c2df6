//! Logging in, for AUTH and HELLO.

use crate::commands::error::CommandError;
use crate::config::id;
use crate::connection::session::Session;
use crate::state::Server;

/// The answer to a name or password that is not right.
pub const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";

/// Logs a session in as `user`. Only the user `default` exists; without
/// `requirepass` any password will do for it.
pub fn log_in(
    server: &Server,
    session: &mut Session,
    user: &[u8],
    password: &[u8],
) -> Result<(), CommandError> {
    let config = server.config.read();
    let wanted = config.string(id("requirepass"));
    let right = wanted.is_empty() || equal(wanted.as_bytes(), password);
    if user != b"default" || !right {
        return Err(CommandError::text(WRONG_PASSWORD));
    }
    session.authenticated = true;
    Ok(())
}

/// Whether two secrets are equal. How long that takes tells nothing but the
/// length of `given`.
fn equal(wanted: &[u8], given: &[u8]) -> bool {
    let mut differences = usize::from(wanted.len() != given.len());
    for (index, byte) in given.iter().enumerate() {
        let other = wanted[index % wanted.len()];
        differences |= usize::from(std::hint::black_box(byte ^ other));
    }
    differences == 0
}

#[cfg(test)]
mod tests {
    use super::equal;

    #[test]
    fn only_the_same_secret_is_equal() {
        assert!(equal(b"secret", b"secret"));
        for other in ["", "secre", "secrets", "Secret", "secretsecret"] {
            assert!(!equal(b"secret", other.as_bytes()), "{other}");
        }
    }
}
