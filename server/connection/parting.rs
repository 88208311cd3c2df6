//! Closing others' connections, as CLIENT KILL does: whoever asks for that is
//! answered once they have left. What he does next finds them nowhere, not
//! among those who wait for a key nor among the listeners of a channel, and none
//! of their commands runs any more.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::client::Client;
use super::session::Session;

/// So long the reply waits at most: a connection leaves at once, unless its
/// worker is held up.
const PATIENCE: Duration = Duration::from_secs(1);

/// Closes these connections; the session's own once its replies are out. A
/// link to a replica or a primary has a thread of its own, and ends soon.
pub fn close(session: &mut Session, clients: &[Arc<Client>]) {
    let (told, left) = oneshot::channel();
    let told = Arc::new(told);
    let mut waits = false;
    for client in clients {
        if client.id == session.client.id {
            session.close_after_reply = true;
            continue;
        }
        if !client.is_peer() {
            client.tell_when_left(&told);
            waits = true;
        }
        client.kill();
    }
    if waits {
        session.await_outcome(left, Some(PATIENCE));
    }
}
