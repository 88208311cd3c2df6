//! CLIENT TRACKING: which clients keep keys in caches of their own, and
//! telling them when a key changes. Source: the documentation of client-side
//! caching.
//!
//! A client that tracks is told of the keys that it has read since it was told
//! last, or, in broadcast mode, of all keys with certain prefixes. A reader is
//! noted while its key's stripe is locked, and whoever changes the key looks
//! for readers once the change is made: so no reader of an old value is
//! missed. A message goes behind what its receiver was sent before, and behind
//! the reply of the command that caused it.
//!
//! While nobody tracks, all of it is the reading of one counter.

pub mod client;
mod table;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::commands::command::{Command, Group, flag};
use crate::commands::keys::each_key;
use crate::connection::client::Client;
use crate::connection::memory::listed_bytes;
use crate::keyspace::recorder::{Change, Recorder};
use crate::resp::Protocol;
use crate::resp::reply::ReplyBuffer;
use crate::state::Server;
use client::mode;
use table::{Readers, Table};

/// Keys that have changed, and who had read them.
#[derive(Default)]
pub struct Stale {
    looked_at: usize,
    keys: Vec<(Box<[u8]>, Readers)>,
}

/// Where messages go to a client that redirects them to a RESP2 subscriber.
const CHANNEL: &[u8] = b"__redis__:invalidate";

/// What clients track.
#[derive(Default)]
pub struct Tracking {
    clients: AtomicUsize,
    table: Mutex<Table>,
    /// `tracking-table-max-keys`; 0: no limit.
    max_keys: AtomicUsize,
}

/// What a message says.
enum Message<'a> {
    /// These keys have changed.
    Keys(&'a [&'a [u8]]),
    /// All keys have.
    Everything,
}

impl Message<'_> {
    fn write(&self, reply: &mut ReplyBuffer) {
        match self {
            Message::Keys(keys) => {
                reply.array(keys.len());
                keys.iter().for_each(|key| reply.bulk(key));
            }
            Message::Everything => reply.null(),
        }
    }
}

impl Tracking {
    /// Whether any client tracks.
    #[inline]
    pub fn any(&self) -> bool {
        self.clients.load(Ordering::Acquire) != 0
    }

    /// How many clients track.
    pub fn clients(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }

    /// How many keys, readers of keys, and prefixes are tracked.
    pub fn totals(&self) -> [usize; 3] {
        let table = self.table.lock();
        [table.keys(), table.readers(), table.prefixes()]
    }

    /// Has a client track from now on in this mode, and in broadcast mode keys
    /// with these prefixes as well as those it named before.
    pub fn enable(&self, client: &Client, modes: u32, redirect: u64, prefixes: &[&[u8]]) {
        let state = &client.tracking;
        if !state.has(mode::ON) {
            self.clients.fetch_add(1, Ordering::AcqRel);
        }
        if modes & mode::BCAST != 0 {
            let all: &[&[u8]] = if prefixes.is_empty() {
                &[b""]
            } else {
                prefixes
            };
            let mut table = self.table.lock();
            let mut known = state.prefixes.lock();
            for prefix in all {
                table.add_prefix(prefix, client.id);
                if known.insert(prefix.to_vec()) {
                    let held = &client.held.tracked;
                    held.fetch_add(listed_bytes(prefix), Ordering::Relaxed);
                }
            }
        }
        state.redirect.store(redirect, Ordering::Relaxed);
        state.set(mode::ON | modes);
    }

    /// Ends a client's tracking. What it has read is forgotten bit by bit.
    pub fn disable(&self, client: &Client) {
        let state = &client.tracking;
        if !state.has(mode::ON) {
            return;
        }
        let mut table = self.table.lock();
        for prefix in std::mem::take(&mut *state.prefixes.lock()) {
            table.remove_prefix(&prefix, client.id);
        }
        client.held.tracked.store(0, Ordering::Relaxed);
        state.set(0);
        if self.clients.fetch_sub(1, Ordering::AcqRel) == 1 {
            // Nobody is left to be told.
            table.forget_keys();
        }
    }

    /// Notes what a command reads for its client, if that tracks. Its keys'
    /// stripes are locked by the caller.
    #[cold]
    pub fn remember(
        &self,
        server: &Server,
        client: &Client,
        command: &'static Command,
        args: &[&[u8]],
    ) {
        let of_keys = command.has(flag::READONLY)
            && !command.has(flag::PUBSUB)
            && command.group != Group::Scripting;
        if !of_keys || !client.tracking.remembers() {
            return;
        }
        let mut table = self.table.lock();
        each_key(command, args, |at, _| table.add_reader(args[at], client.id));
        drop(table);
        self.limit(server);
    }

    /// Nothing yet, with this `tracking-table-max-keys`.
    pub fn of_at_most(keys: i64) -> Tracking {
        Tracking {
            max_keys: AtomicUsize::new(usize::try_from(keys).unwrap_or(0)),
            ..Tracking::default()
        }
    }

    /// Takes over `tracking-table-max-keys`.
    pub fn set_max_keys(&self, server: &Server, keys: i64) {
        let keys = usize::try_from(keys).unwrap_or(0);
        self.max_keys.store(keys, Ordering::Relaxed);
        self.limit(server);
    }

    /// Gives up keys beyond the limit: their readers are told to forget them.
    fn limit(&self, server: &Server) {
        let most = self.max_keys.load(Ordering::Relaxed);
        if most == 0 {
            return;
        }
        loop {
            let evicted = {
                let mut table = self.table.lock();
                if table.keys() <= most {
                    return;
                }
                table.evict()
            };
            let Some((key, readers)) = evicted else {
                return;
            };
            tell_readers(server, &key, &readers, None);
        }
    }

    /// Tells everybody that a database was emptied.
    pub fn flush(&self, server: &Server) {
        if !self.any() {
            return;
        }
        self.table.lock().forget_keys();
        let all = server.clients.all();
        let tracking = all.iter().filter(|client| client.tracking.has(mode::ON));
        tracking.for_each(|client| send(server, client, &Message::Everything));
    }

    /// Takes out who has read what has changed, as far as `stale` doesn't know
    /// it yet.
    #[cold]
    fn collect(&self, changes: &[Change], stale: &mut Stale) {
        let mut table = self.table.lock();
        for change in &changes[stale.looked_at..] {
            if change.changed
                && let Some(readers) = table.take_readers(&change.key)
            {
                stale.keys.push((change.key.clone(), readers));
            }
        }
        stale.looked_at = changes.len();
    }

    /// The same after each command of a transaction or script: what is read from
    /// here on is another matter.
    #[inline]
    pub fn collect_so_far(&self, recorder: &mut Recorder) {
        if self.any() && !recorder.changes.is_empty() {
            let stale = recorder.stale.get_or_insert_default();
            self.collect(&recorder.changes, stale);
        }
    }

    /// Tells all that must know of what a command or transaction of `author`
    /// changed. `stale` is what [`Tracking::collect`] gave after each command,
    /// if that was asked.
    #[cold]
    pub fn invalidate(
        &self,
        server: &Server,
        author: u64,
        changes: &[Change],
        stale: Option<Stale>,
    ) {
        let stale = stale.unwrap_or_else(|| {
            let mut stale = Stale::default();
            self.collect(changes, &mut stale);
            stale
        });
        for (key, readers) in &stale.keys {
            tell_readers(server, key, readers, Some(author));
        }
        let changed = changes.iter().filter(|change| change.changed);
        self.broadcast(server, author, changed);
    }

    /// For each prefix one message with all keys, without those that a client
    /// which doesn't want its own changes has changed last.
    fn broadcast<'c>(
        &self,
        server: &Server,
        author: u64,
        changes: impl Iterator<Item = &'c Change> + Clone,
    ) {
        let listeners = self.table.lock().listeners();
        for (prefix, clients) in listeners {
            let mut keys = std::collections::BTreeMap::new();
            for change in changes.clone().filter(|c| c.key.starts_with(&prefix)) {
                keys.insert(&*change.key, change.event != "expired");
            }
            let all: Vec<&[u8]> = keys.keys().copied().collect();
            let of_others: Vec<&[u8]> = keys
                .iter()
                .filter_map(|(key, by_author)| (!by_author).then_some(*key))
                .collect();
            for client in clients.iter().filter_map(|id| server.clients.get(*id)) {
                let own = client.id == author && client.tracking.has(mode::NOLOOP);
                let keys = if own { &of_others } else { &all };
                if !keys.is_empty() {
                    send(server, &client, &Message::Keys(keys));
                }
            }
        }
    }
}

/// Tells those who have read a key that it changed.
fn tell_readers(server: &Server, key: &[u8], readers: &[u64], author: Option<u64>) {
    for id in readers {
        let Some(client) = server.clients.get(*id) else {
            continue;
        };
        let state = &client.tracking;
        let own = author == Some(*id) && state.has(mode::NOLOOP);
        if state.has(mode::ON) && !state.has(mode::BCAST) && !own {
            send(server, &client, &Message::Keys(&[key]));
        }
    }
}

/// Sends a message to a client, or to whom it redirects them.
fn send(server: &Server, client: &Arc<Client>, message: &Message<'_>) {
    let redirect = client.tracking.redirect.load(Ordering::Relaxed);
    let receiver = match redirect {
        0 => client.clone(),
        id => match server.clients.get(id).filter(|other| !other.is_leaving()) {
            Some(other) => other,
            None => return tell_broken(server, client, redirect),
        },
    };
    let limit = crate::connection::output::limit_of(server, &receiver);
    if receiver.protocol() == Protocol::Resp3 {
        receiver.send(limit, |reply| {
            reply.push(2);
            reply.bulk(b"invalidate");
            message.write(reply);
        });
    } else if redirect != 0 && receiver.is_subscriber() {
        receiver.send(limit, |reply| {
            reply.push(3);
            reply.bulk(b"message");
            reply.bulk(CHANNEL);
            message.write(reply);
        });
    }
}

/// The connection that should get a client's messages is gone.
fn tell_broken(server: &Server, client: &Client, redirect: u64) {
    client.tracking.add(mode::BROKEN);
    if client.protocol() == Protocol::Resp3 {
        let limit = crate::connection::output::limit_of(server, client);
        client.send(limit, |reply| {
            reply.push(2);
            reply.bulk(b"tracking-redir-broken");
            reply.integer(redirect as i64);
        });
    }
}
