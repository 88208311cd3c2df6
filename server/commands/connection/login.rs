//! Logging in, for AUTH and HELLO.

use crate::acl::log::{Place, Reason};
use crate::commands::error::CommandError;
use crate::connection::session::Session;
use crate::state::Server;

/// The answer to a name or password that is not right.
pub const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";

/// Logs a session in as `user`; `command` is the word that asked for it.
pub fn log_in(
    server: &Server,
    session: &mut Session,
    command: &[u8],
    user: &[u8],
    password: &[u8],
) -> Result<(), CommandError> {
    let Some(known) = server.acl.authenticate(user, password) else {
        let place = match session.transaction {
            Some(_) => Place::Multi,
            None => Place::TopLevel,
        };
        server.note_denied((Reason::Auth, place), session, Some(user), command);
        return Err(CommandError::text(WRONG_PASSWORD));
    };
    session.authenticated = true;
    server.acl.assume(session, known);
    Ok(())
}
