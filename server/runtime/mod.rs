//! All of tokio and all threads: start and shutdown, the listener, workers,
//! connections' input and output, the checkpoint thread, the clockwork that
//! expires keys and warms cold slots.

pub mod background;
pub mod checkpoint;
pub mod connection;
pub mod listener;
pub mod recovery;
mod rounds;
pub mod start;
pub mod watch;
