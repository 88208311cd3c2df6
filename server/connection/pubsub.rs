//! Pub/sub: who listens to which channel, pattern and shard channel. Source:
//! the Pub/Sub documentation; message kinds as clients parse them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;

use super::client::Client;
use super::room;
use crate::acl::selector::fits_any;
use crate::glob::{Case, matches};
use crate::settings::OutputLimit;

/// The three kinds of subscription.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// SUBSCRIBE.
    Channel,
    /// PSUBSCRIBE.
    Pattern,
    /// SSUBSCRIBE.
    Shard,
}

type Listeners = HashMap<Box<[u8]>, BTreeMap<u64, Arc<Client>>>;

/// All subscriptions.
#[derive(Default)]
pub struct PubSub {
    by_kind: [RwLock<Listeners>; 3],
    patterns: AtomicUsize,
}

impl PubSub {
    /// Adds a subscription; false when it was there.
    pub fn subscribe(&self, kind: Kind, name: &[u8], client: &Arc<Client>) -> bool {
        let mut listeners = self.by_kind[kind as usize].write();
        let added = listeners
            .entry(name.into())
            .or_default()
            .insert(client.id, client.clone());
        if kind == Kind::Pattern {
            self.patterns.store(listeners.len(), Ordering::Relaxed);
        }
        added.is_none()
    }

    /// Ends a subscription.
    pub fn unsubscribe(&self, kind: Kind, name: &[u8], client: &Client) {
        let mut listeners = self.by_kind[kind as usize].write();
        if let Some(clients) = listeners.get_mut(name) {
            clients.remove(&client.id);
            if clients.is_empty() {
                listeners.remove(name);
                room::give_back(&mut listeners);
            }
        }
        if kind == Kind::Pattern {
            self.patterns.store(listeners.len(), Ordering::Relaxed);
        }
    }

    /// Ends the subscriptions to shard channels that are `gone` to another node,
    /// and tells their clients; a client's own worker forgets them later.
    pub fn revoke(&self, gone: impl Fn(&[u8]) -> bool, limit: &OutputLimit) {
        let mut listeners = self.by_kind[Kind::Shard as usize].write();
        listeners.retain(|channel, clients| {
            if !gone(channel) {
                return true;
            }
            for client in clients.values() {
                let count = &client.subscriptions[Kind::Shard as usize];
                let left = count.fetch_sub(1, Ordering::AcqRel) - 1;
                client.revoked.lock().push(channel.clone());
                client.any_revoked.store(true, Ordering::Release);
                client.send(limit, |reply| {
                    reply.push(3);
                    reply.bulk(b"sunsubscribe");
                    reply.bulk(channel);
                    reply.integer(i64::from(left));
                });
            }
            false
        });
        room::give_back(&mut listeners);
    }

    /// Sends a message; returns how many got it. `limit` bounds each
    /// receiver's output.
    pub fn publish(
        &self,
        kind: Kind,
        channel: &[u8],
        message: &[u8],
        limit: &OutputLimit,
    ) -> usize {
        let word: &[u8] = if kind == Kind::Shard {
            b"smessage"
        } else {
            b"message"
        };
        let tell = |client: &Client, parts: &[&[u8]]| {
            client.send(limit, |reply| {
                reply.push(parts.len());
                parts.iter().for_each(|part| reply.bulk(part));
            });
        };
        self.each_receiver(kind, channel, |client, pattern| match pattern {
            None => tell(client, &[word, channel, message]),
            Some(pattern) => tell(client, &[b"pmessage", pattern, channel, message]),
        })
    }

    /// How many would get a message.
    pub fn count_receivers(&self, kind: Kind, channel: &[u8]) -> usize {
        self.each_receiver(kind, channel, |_, _| {})
    }

    /// Visits who gets a message, with the pattern that it is for if it is one;
    /// returns how many.
    fn each_receiver(
        &self,
        kind: Kind,
        channel: &[u8],
        mut visit: impl FnMut(&Client, Option<&[u8]>),
    ) -> usize {
        let mut receivers = 0;
        if let Some(clients) = self.by_kind[kind as usize].read().get(channel) {
            clients.values().for_each(|client| visit(client, None));
            receivers = clients.len();
        }
        if kind == Kind::Channel && self.patterns.load(Ordering::Relaxed) != 0 {
            for (pattern, clients) in self.by_kind[Kind::Pattern as usize].read().iter() {
                if !matches(pattern, channel, Case::Sensitive) {
                    continue;
                }
                let clients = clients.values();
                receivers += clients.len();
                clients.for_each(|client| visit(client, Some(pattern)));
            }
        }
        receivers
    }

    /// Names of active channels, those that match if a pattern is given.
    pub fn names(&self, kind: Kind, pattern: Option<&[u8]>) -> Vec<Box<[u8]>> {
        let listeners = self.by_kind[kind as usize].read();
        let wanted = |name: &[u8]| pattern.is_none_or(|p| matches(p, name, Case::Sensitive));
        let names = listeners.keys().filter(|name| wanted(name));
        names.cloned().collect()
    }

    /// Whether all that a client listens to is allowed by channel patterns of
    /// an ACL.
    pub fn all_allowed(&self, client: u64, allowed: &[Vec<u8>]) -> bool {
        [Kind::Pattern, Kind::Channel, Kind::Shard]
            .iter()
            .all(|kind| {
                let listeners = self.by_kind[*kind as usize].read();
                let mut theirs = listeners
                    .iter()
                    .filter(|(_, all)| all.contains_key(&client));
                theirs.all(|(name, _)| fits_any(allowed, name, *kind == Kind::Pattern))
            })
    }

    /// How many listen to a name.
    pub fn listeners(&self, kind: Kind, name: &[u8]) -> usize {
        self.by_kind[kind as usize]
            .read()
            .get(name)
            .map_or(0, BTreeMap::len)
    }

    /// How many names are listened to.
    pub fn len(&self, kind: Kind) -> usize {
        self.by_kind[kind as usize].read().len()
    }
}
