//! Connections: each pair of nodes has two, one opened by either; a node
//! sends its PINGs over the one that it opened and answers on the other.

use std::sync::Arc;

use super::{Bus, Input, Link, Output};
use crate::flags::Flags;
use crate::message::{
    Body, Header, Kind, MFLAG_EXTENSIONS, MFLAG_FORCE_ACK, MFLAG_PAUSED, Message, encode,
};
use crate::table::{LinkId, NodeKey};

/// Packets that wait for a connection to stand.
const WAITING_MAX: usize = 16;

impl Bus {
    pub(super) fn accepted(&mut self, link: LinkId, peer: String, local: String) {
        debug_assert!(link.is_inbound(), "{:?}", Input::Connected(link));
        let made = Link {
            node: None,
            connected: true,
            peer,
            local,
            created_ms: self.now_ms,
            met: false,
            pinged: false,
            waiting: Vec::new(),
        };
        self.links.insert(link, made);
    }

    /// Opens a connection to a node that has none.
    pub(super) fn connect(&mut self, key: NodeKey) {
        let Some(node) = self.node(key) else { return };
        let (ip, port) = (node.address.ip.clone(), node.address.bus_port);
        let link = LinkId::outbound(self.links_made);
        self.links_made += 1;
        let made = Link {
            node: Some(key),
            connected: false,
            peer: ip.clone(),
            local: String::new(),
            created_ms: self.now_ms,
            met: false,
            pinged: false,
            waiting: Vec::new(),
        };
        self.links.insert(link, made);
        let now_ms = self.now_ms;
        if let Some(node) = self.node_mut(key) {
            node.link = Some(link);
            // The time of a PING runs while it can't be sent yet.
            if !node.is(Flags::HANDSHAKE) {
                node.ping_sent_ms.get_or_insert(now_ms);
            }
        }
        self.emit(Output::Connect { link, ip, port });
    }

    pub(super) fn connected(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.connected = true;
        let waiting = std::mem::take(&mut link.waiting);
        let Some(key) = link.node else { return };
        let Some(node) = self.node_mut(key) else {
            return;
        };
        node.refusals = 0;
        let waited_since = node.ping_sent_ms;
        let kind = match node.is(Flags::MEET) {
            true => Kind::Meet,
            false => Kind::Ping,
        };
        self.send_heartbeat(id, kind);
        // A PING that was not answered on the connection before still counts.
        if let Some(node) = self.node_mut(key)
            && waited_since.is_some()
        {
            node.ping_sent_ms = waited_since;
        }
        for packet in waiting {
            self.emit(Output::Send(id, packet));
        }
    }

    pub(super) fn closed(&mut self, id: LinkId, refused: bool) {
        let Some(link) = self.forget_link(id) else {
            return;
        };
        let Some(key) = link.node else { return };
        if id.is_inbound() {
            // It may be the last sign of life to go.
            return self.suspect_refusing(key);
        }
        let Some(node) = self.node_mut(key) else {
            return;
        };
        if refused {
            node.refusals += 1;
            self.suspect_refusing(key);
        } else if link.connected && !node.is(Flags::HANDSHAKE | Flags::NOADDR) {
            self.connect(key);
        }
    }

    /// Closes a connection.
    pub(super) fn close(&mut self, id: LinkId) {
        if self.forget_link(id).is_some() {
            self.emit(Output::Close(id));
        }
    }

    fn forget_link(&mut self, id: LinkId) -> Option<Link> {
        let link = self.links.remove(&id)?;
        if let Some(node) = link.node.and_then(|key| self.node_mut(key)) {
            if node.link == Some(id) {
                node.link = None;
            }
            if node.inbound == Some(id) {
                node.inbound = None;
            }
        }
        Some(link)
    }

    /// Whether what comes over a connection, and begins so, is from a node of
    /// this cluster.
    pub fn knows_sender(&self, id: LinkId, packet: &[u8]) -> bool {
        let bound = self.links.get(&id).and_then(|link| link.node);
        let named = || crate::message::sender(packet).and_then(|id| self.table.find(&id));
        let key = bound.or_else(named);
        key.is_some_and(|key| !self.node_is(key, Flags::HANDSHAKE))
    }

    /// Says that this connection comes from this node; one before it is closed.
    pub(super) fn bind_inbound(&mut self, id: LinkId, key: NodeKey) {
        let before = self.node(key).and_then(|node| node.inbound);
        if let Some(before) = before.filter(|before| *before != id) {
            self.close(before);
        }
        let old = self.links.get_mut(&id).and_then(|link| {
            let old = link.node;
            link.node = Some(key);
            old
        });
        if let Some(old) = old.filter(|old| *old != key).and_then(|k| self.node_mut(k)) {
            old.inbound = None;
        }
        if let Some(node) = self.node_mut(key) {
            node.inbound = Some(id);
        }
    }

    /// What every packet says of this node.
    pub(super) fn header(&self, message_flags: u8) -> Header {
        let me = self.me();
        let shard = self.node(self.shard_primary()).unwrap_or(me);
        let paused = match self.i_am_primary() && self.manual.holds_writes() {
            true => MFLAG_PAUSED,
            false => 0,
        };
        Header {
            sender: me.id,
            current_epoch: self.current_epoch,
            config_epoch: shard.config_epoch,
            offset: self.my_offset(),
            slots: shard.slots.clone(),
            primary: me
                .primary
                .and_then(|key| self.node(key))
                .map(|node| node.id),
            address: crate::message::Address {
                ip: self.options.announced.address.ip.clone(),
                ..me.address.clone()
            },
            flags: me.flags,
            cluster_down: !self.is_healthy(),
            message_flags: message_flags | paused,
        }
    }

    /// The offset that may be told: a replica without a whole copy has none,
    /// so that it doesn't pass for one with data; one with a copy, even of
    /// nothing, has one.
    pub fn my_offset(&self) -> u64 {
        match (self.i_am_primary(), self.replication.synced) {
            (true, _) => self.replication.offset,
            (false, true) => self.replication.offset.max(1),
            (false, false) => 0,
        }
    }

    /// Sends a message over a connection.
    pub(super) fn send(&mut self, link: LinkId, body: Body) {
        let flags = match &body {
            Body::Heartbeat { .. } => MFLAG_EXTENSIONS,
            Body::AuthRequest if self.manual.is_on() => MFLAG_FORCE_ACK,
            _ => 0,
        };
        let kind = body.kind();
        let packet = encode(&Message::Full(Box::new(self.header(flags)), body));
        self.send_packet(link, kind, packet.into());
    }

    fn send_packet(&mut self, id: LinkId, kind: Option<Kind>, packet: Arc<[u8]>) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if let Some(kind) = kind {
            *self.stats.sent.entry(kind).or_default() += 1;
        }
        self.stats.bytes_sent += packet.len() as u64;
        if link.connected {
            self.emit(Output::Send(id, packet));
        } else if link.waiting.len() < WAITING_MAX {
            link.waiting.push(packet);
        }
    }

    /// Sends a message to a node, if there is a connection to it.
    pub(super) fn send_to(&mut self, key: NodeKey, body: Body) {
        if let Some(link) = self.node(key).and_then(|node| node.link) {
            self.send(link, body);
        }
    }

    /// Sends a message to every node that is known by name.
    pub(super) fn broadcast(&mut self, body: &Body) {
        for key in self.peers() {
            self.send_to(key, body.clone());
        }
    }

    /// The nodes that are known by name, without this one.
    pub(super) fn peers(&self) -> Vec<NodeKey> {
        self.table
            .iter()
            .filter(|(_, node)| !node.is(Flags::MYSELF | Flags::HANDSHAKE))
            .map(|(key, _)| key)
            .collect()
    }

    /// Sends a published message to the nodes that may have subscribers: all,
    /// or those of this shard.
    pub fn publish(&mut self, now_ms: u64, sharded: bool, channel: &[u8], payload: &[u8]) {
        self.advance(now_ms);
        let (channel, payload) = (channel.to_vec(), payload.to_vec());
        let light: Arc<[u8]> = encode(&Message::Light {
            sharded,
            channel: channel.clone(),
            payload: payload.clone(),
        })
        .into();
        let body = Body::Publish {
            sharded,
            channel,
            payload,
        };
        let kind = body.kind();
        let full: Arc<[u8]> = encode(&Message::Full(Box::new(self.header(0)), body)).into();
        let shard = self.me().shard;
        for key in self.peers() {
            let Some(node) = self.node(key) else { continue };
            let Some(link) = node.link.filter(|_| !sharded || node.shard == shard) else {
                continue;
            };
            let packet = match node.is(Flags::LIGHT_HEADER) {
                true => light.clone(),
                false => full.clone(),
            };
            self.send_packet(link, kind, packet);
        }
        self.finish();
    }

    /// Connections as CLUSTER LINKS lists them: with the other node, and since
    /// when (Unix milliseconds); node by node, ours before theirs.
    pub fn links(&self) -> Vec<(LinkId, NodeKey, u64)> {
        let mut links: Vec<_> = self
            .links
            .iter()
            .filter_map(|(id, link)| Some((*id, link.node?, link.created_ms)))
            .filter(|(_, key, _)| self.node(*key).is_some())
            .collect();
        links.sort_by_key(|(id, key, _)| (*key, id.is_inbound()));
        links
    }
}
