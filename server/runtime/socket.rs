//! A client's socket, TCP or Unix.
//!
//! Receiving and sending go to the kernel directly: the C library's functions
//! are points where a thread may be cancelled, which costs them two atomic
//! operations a call, a hundredth of a lone GET each.

use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use tokio::io::unix::AsyncFd;

use super::connection::buffers::{self, READ_BYTES};

/// A connected socket that never blocks.
pub struct ClientSocket(AsyncFd<OwnedFd>);

impl ClientSocket {
    /// Takes a socket that is set not to block. Fails if the worker can't
    /// watch it.
    pub fn new(socket: OwnedFd) -> io::Result<ClientSocket> {
        // SAFETY: what is owned stays open, and the same, until it is dropped;
        // by then it is no longer watched.
        Ok(ClientSocket(unsafe { AsyncFd::register(socket)? }))
    }

    /// Appends what has arrived once there is something, as much as there is
    /// room for; if there is none, some is made. 0 if the peer sends no more.
    pub async fn receive(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        poll_fn(|context| self.poll_receive(context, buffer)).await
    }

    /// Sends what can be sent without a wait: its length in bytes.
    pub fn send_now(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match send(&self.0, bytes, SendFlags::NOSIGNAL) {
                Ok(sent) => return Ok(sent),
                Err(Errno::AGAIN) => return Ok(0),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sends what can be sent, once that is something: its length in bytes.
    pub async fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        poll_fn(|context| self.poll_send(context, bytes)).await
    }

    fn poll_receive(
        &self,
        context: &mut Context<'_>,
        buffer: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut readable = ready!(self.0.poll_read_ready(context))?;
            if buffer.capacity() == 0 {
                *buffer = buffers::take();
            } else if buffer.capacity() == buffer.len() {
                buffer.reserve(READ_BYTES);
            }
            let room = buffer.capacity() - buffer.len();
            let spare = rustix::buffer::spare_capacity(buffer);
            match recv(&self.0, spare, RecvFlags::empty()) {
                Ok((bytes, _)) => {
                    if 0 < bytes && bytes < room {
                        // That was all; epoll tells when there is more.
                        readable.clear_ready();
                    }
                    return Poll::Ready(Ok(bytes));
                }
                Err(Errno::AGAIN) => {
                    readable.clear_ready();
                    if buffer.is_empty() {
                        buffers::give(buffer);
                    }
                }
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    fn poll_send(&self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut writable = ready!(self.0.poll_write_ready(context))?;
            match send(&self.0, bytes, SendFlags::NOSIGNAL) {
                Ok(sent) => {
                    if sent < bytes.len() {
                        // The kernel's buffer is full.
                        writable.clear_ready();
                    }
                    return Poll::Ready(Ok(sent));
                }
                Err(Errno::AGAIN) => writable.clear_ready(),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}
