//! The RDB file of a full sync as a stream to read from: each read drives the
//! link until there is more of the file.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use redoubt_cluster::replication::link::{Input, Output};

use super::follower::{Follower, Received};
use crate::connection::client::Client;
use crate::stats::add;

/// Time between newlines to a primary that would hear nothing else.
const NEWLINE_MS: u64 = 1000;

/// The primary's RDB file, as it arrives.
pub struct Source<'f> {
    follower: &'f mut Follower,
    ready: Vec<u8>,
    at: usize,
    complete: bool,
}

impl<'f> Source<'f> {
    /// What a link that has announced a file brings.
    pub fn new(follower: &'f mut Follower) -> Source<'f> {
        Source {
            follower,
            ready: Vec::new(),
            at: 0,
            complete: false,
        }
    }

    /// Gets more of the file.
    fn refill(&mut self) -> io::Result<()> {
        self.ready.clear();
        self.at = 0;
        let mut pinged_ms = self.follower.now_ms();
        while self.ready.is_empty() && !self.complete {
            self.receive()?;
            if self.follower.now_ms() > pinged_ms + NEWLINE_MS {
                pinged_ms = self.follower.now_ms();
                self.follower.send(b"\n");
            }
            self.take_outputs()?;
        }
        Ok(())
    }

    fn receive(&mut self) -> io::Result<()> {
        let follower = &mut *self.follower;
        let lost = || Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        let killed = |client: &Arc<Client>| client.killed.load(Ordering::Acquire);
        if !follower.is_current() || follower.client.as_ref().is_none_or(killed) {
            return lost();
        }
        follower.link.handle(follower.now_ms(), Input::Tick);
        match follower.receive() {
            Received::Nothing => {}
            Received::End => return lost(),
            Received::Bytes(count) => {
                let bytes = std::mem::take(&mut follower.buffer);
                let now_ms = follower.now_ms();
                follower.link.handle(now_ms, Input::Bytes(&bytes[..count]));
                follower.buffer = bytes;
            }
        }
        Ok(())
    }

    fn take_outputs(&mut self) -> io::Result<()> {
        let status = &self.follower.server.replication.link;
        while !self.complete
            && let Some(output) = self.follower.link.poll_output()
        {
            match output {
                Output::Snapshot(bytes) => {
                    add(&status.loaded_bytes, bytes.len() as u64);
                    self.ready.extend_from_slice(&bytes);
                }
                Output::SnapshotEnds => self.complete = true,
                Output::Disconnect(failure) => {
                    return Err(io::Error::other(failure.to_string()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes what is behind the file's end.
    pub fn drain(&mut self) -> io::Result<()> {
        while !self.complete {
            self.refill()?;
        }
        Ok(())
    }
}

impl Read for Source<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at == self.ready.len() && !self.complete {
            self.refill()?;
        }
        let count = into.len().min(self.ready.len() - self.at);
        into[..count].copy_from_slice(&self.ready[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}
