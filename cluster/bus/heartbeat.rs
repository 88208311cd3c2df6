//! PING, PONG and MEET: what this node sends in them, and what it learns of
//! their sender: its address, its role, its slots.

use super::{Bus, Dirty, Output, Replication};
use crate::flags::Flags;
use crate::identity::NodeId;
use crate::message::{
    Address, Body, Extension, Gossip, Header, Kind, MFLAG_EXTENSIONS, MFLAG_PAUSED, Message, decode,
};
use crate::table::{LinkId, Node, NodeKey};

impl Bus {
    pub(super) fn received(&mut self, link: LinkId, packet: &[u8]) {
        if !self.links.contains_key(&link) || self.is_lost(link, packet) {
            return;
        }
        let message = match decode(packet) {
            Ok(message) => message,
            Err(why) => {
                self.stats.invalid += 1;
                self.note(format!("A packet of the bus was refused: {why}"));
                return;
            }
        };
        match message {
            Message::Full(header, body) => self.full(link, &header, body),
            Message::Light {
                sharded,
                channel,
                payload,
            } => {
                let known = self.links.get(&link).and_then(|link| link.node);
                let Some(key) = known.filter(|key| !self.node_is(*key, Flags::HANDSHAKE)) else {
                    // It doesn't say who sent it.
                    return self.close(link);
                };
                let now_ms = self.now_ms;
                if let Some(node) = self.node_mut(key) {
                    node.data_received_ms = now_ms;
                }
                self.deliver(sharded, channel, payload);
            }
        }
    }

    fn deliver(&mut self, sharded: bool, channel: Vec<u8>, payload: Vec<u8>) {
        let kind = match sharded {
            true => Kind::PublishShard,
            false => Kind::Publish,
        };
        *self.stats.received.entry(kind).or_default() += 1;
        self.emit(Output::Deliver {
            sharded,
            channel,
            payload,
        });
    }

    fn full(&mut self, link: LinkId, header: &Header, body: Body) {
        if let Some(kind) = body.kind().filter(|kind| {
            // Counted where they are delivered.
            !matches!(kind, Kind::Publish | Kind::PublishShard)
        }) {
            *self.stats.received.entry(kind).or_default() += 1;
        }
        let sender = self.sender_of(link, header);
        if sender == Some(self.myself) {
            return self.heard_myself(link, &body);
        }
        if let Some(sender) = sender {
            self.heard(sender, header);
        }
        if let Body::Heartbeat {
            kind,
            gossip,
            extensions,
        } = body
        {
            return self.heartbeat(link, sender, header, kind, &gossip, &extensions);
        }
        let Some(sender) = sender.filter(|key| !self.node_is(*key, Flags::HANDSHAKE)) else {
            return;
        };
        match body {
            Body::Fail(id) => self.told_failed(sender, &id),
            Body::Publish {
                sharded,
                channel,
                payload,
            } => self.deliver(sharded, channel, payload),
            Body::AuthRequest => self.asked_for_vote(sender, header),
            Body::AuthAck => self.got_vote(sender, header),
            Body::Update {
                id,
                config_epoch,
                slots,
            } => self.told_config(&id, config_epoch, &slots),
            Body::ManualStart => self.asked_to_pause(sender),
            Body::Heartbeat { .. } | Body::Module | Body::Unknown(_) => {}
        }
    }

    /// The known node that sent this packet.
    fn sender_of(&mut self, link: LinkId, header: &Header) -> Option<NodeKey> {
        let bound = self.links.get(&link).and_then(|link| link.node);
        if let Some(key) = bound
            && !self.node_is(key, Flags::HANDSHAKE)
            && (!link.is_inbound() || self.node(key).map(|node| node.id) == Some(header.sender))
        {
            return Some(key);
        }
        let found = self.table.find(&header.sender)?;
        if link.is_inbound() && found != self.myself {
            self.bind_inbound(link, found);
        }
        Some(found)
    }

    /// This node has met itself.
    fn heard_myself(&mut self, link: LinkId, body: &Body) {
        let Body::Heartbeat { kind, .. } = body else {
            return;
        };
        match kind {
            Kind::Ping | Kind::Meet => self.send_heartbeat(link, Kind::Pong),
            _ => {
                let bound = self.links.get(&link).and_then(|link| link.node);
                if let Some(key) = bound.filter(|key| *key != self.myself) {
                    self.drop_node(key);
                }
            }
        }
    }

    /// What any packet says of its sender.
    fn heard(&mut self, sender: NodeKey, header: &Header) {
        let now_ms = self.now_ms;
        let Some(node) = self.table.get_mut(sender) else {
            return;
        };
        node.data_received_ms = now_ms;
        if header.message_flags & MFLAG_EXTENSIONS != 0 {
            node.flags.set(Flags::EXTENSIONS, true);
        }
        let light = header.flags.any(Flags::LIGHT_HEADER);
        node.flags.set(Flags::LIGHT_HEADER, light);
        if node.is(Flags::HANDSHAKE) {
            return;
        }
        node.offset = header.offset;
        let newer = header.primary.is_none() && header.config_epoch > node.config_epoch;
        if newer {
            node.config_epoch = header.config_epoch;
            self.changed(self.learned_of(sender));
        }
        if header.current_epoch > self.current_epoch {
            self.current_epoch = header.current_epoch;
            self.save(Dirty::Sync);
        }
        let paused = header.message_flags & MFLAG_PAUSED != 0;
        if paused && self.me().primary == Some(sender) {
            self.primary_paused_at(header.offset);
        }
    }

    fn heartbeat(
        &mut self,
        link: LinkId,
        sender: Option<NodeKey>,
        header: &Header,
        kind: Kind,
        gossip: &[Gossip],
        extensions: &[Extension],
    ) {
        if kind != Kind::Pong {
            self.learn_own_address(link, kind);
            if sender.is_none() {
                self.hear_stranger(link, header, kind);
            }
            self.send_heartbeat(link, Kind::Pong);
        }
        if let Some(node) = sender.and_then(|key| self.node_mut(key)) {
            node.flags.set(Flags::MEET, false);
        }
        if !link.is_inbound() && !self.check_answerer(link, sender, header) {
            return;
        }
        let Some(sender) = sender else { return };
        let no_failover = header.flags.any(Flags::NOFAILOVER);
        if let Some(node) = self.node_mut(sender) {
            node.flags.set(Flags::NOFAILOVER, no_failover);
        }
        if self.node_is(sender, Flags::HANDSHAKE) {
            return;
        }
        if kind == Kind::Ping {
            self.update_address(sender, link, header);
        }
        if !link.is_inbound() && kind == Kind::Pong {
            self.answered(sender);
        }
        if self.was_overtaken(sender, header) {
            return self.hear_gossip(sender, gossip);
        }
        let was_replica = self.node_is(sender, Flags::REPLICA);
        self.learn_role(sender, header);
        if header.primary.is_none() {
            self.learn_slots(sender, header, was_replica);
            self.settle_collision(sender, header.config_epoch, &header.slots);
        }
        self.hear_gossip(sender, gossip);
        self.hear_extensions(sender, extensions);
    }

    /// Whether a node has said something newer before: its two connections may
    /// overtake each other, and what it was must not undo what it is.
    fn was_overtaken(&mut self, sender: NodeKey, header: &Header) -> bool {
        let Some(node) = self.node_mut(sender) else {
            return true;
        };
        let overtaken = header.current_epoch < node.seen_epoch;
        node.seen_epoch = node.seen_epoch.max(header.current_epoch);
        overtaken
    }

    /// Others know this node's address from its sockets; the one over which
    /// it is met is the one that counts.
    fn learn_own_address(&mut self, link: LinkId, kind: Kind) {
        let announced = !self.options.announced.address.ip.is_empty();
        let met = kind == Kind::Meet && !self.is_unordered(link);
        if announced || (!met && !self.me().address.ip.is_empty()) {
            return;
        }
        let local = self.links.get(&link).map(|link| link.local.clone());
        if let Some(local) = local.filter(|ip| !ip.is_empty() && *ip != self.me().address.ip) {
            self.note(format!("This node's address is {local}"));
            self.me_mut().address.ip = local;
            self.changed(Dirty::Save);
        }
    }

    fn hear_stranger(&mut self, link: LinkId, header: &Header, kind: Kind) {
        if kind == Kind::Meet {
            if self.may_meet(link, &header.sender) {
                self.remember(header.sender);
                self.meet_stranger(link, header);
            }
        } else if let Some(link) = self.links.get_mut(&link) {
            link.pinged = true;
        }
    }

    /// Begins the handshake with a node that has sent MEET.
    fn meet_stranger(&mut self, link: LinkId, header: &Header) {
        let id = NodeId::random(&mut self.random);
        let mut node = Node::new(id, id, Flags::HANDSHAKE, self.now_ms);
        node.address = self.address_of(link, header);
        let extensions = header.message_flags & MFLAG_EXTENSIONS != 0;
        node.flags.set(Flags::EXTENSIONS, extensions);
        let key = self.table.add(node);
        self.bind_inbound(link, key);
        self.save(Dirty::Save);
    }

    fn address_of(&self, link: LinkId, header: &Header) -> Address {
        let mut address = header.address.clone();
        if address.ip.is_empty() {
            address.ip = match self.links.get(&link) {
                Some(link) => link.peer.clone(),
                None => String::new(),
            };
        }
        address
    }

    /// Checks that the node at the other end is the one that was called, and
    /// ends a handshake. False if there is nothing more to do.
    fn check_answerer(&mut self, id: LinkId, sender: Option<NodeKey>, header: &Header) -> bool {
        let Some(key) = self.links.get(&id).and_then(|link| link.node) else {
            return false;
        };
        let Some(node) = self.node_mut(key) else {
            return false;
        };
        if node.is(Flags::HANDSHAKE) {
            if let Some(known) = sender {
                self.update_address(known, id, header);
                self.drop_node(key);
                return false;
            }
            let role = header.flags.only(Flags::PRIMARY | Flags::REPLICA);
            node.flags.set(Flags::HANDSHAKE | Flags::MEET, false);
            node.flags = node.flags | role;
            let now_ms = self.now_ms;
            if let Some(node) = self.node_mut(key) {
                node.pong_received_ms = now_ms;
                node.ping_sent_ms = None;
            }
            self.table.rename(key, header.sender);
            self.note(format!("Met node {}", header.sender));
            self.changed(Dirty::Save);
            // What else it says counts from its next message on: ask for it.
            self.send_heartbeat(id, Kind::Ping);
            return false;
        }
        if node.id != header.sender {
            node.flags.set(Flags::NOADDR, true);
            node.address = Address::default();
            let text = format!("Another node answers in place of {}", node.id);
            self.note(text);
            self.close(id);
            self.save(Dirty::Save);
            return false;
        }
        true
    }

    /// Takes over a changed address and connects anew.
    fn update_address(&mut self, key: NodeKey, id: LinkId, header: &Header) {
        let address = self.address_of(id, header);
        let Some(node) = self.node_mut(key) else {
            return;
        };
        if node.link == Some(id) || address.ip.is_empty() || node.address == address {
            return;
        }
        node.address = address;
        node.flags.set(Flags::NOADDR, false);
        let (link, text) = (node.link, format!("Node {} has moved", node.id));
        self.note(text);
        if let Some(link) = link {
            self.close(link);
        }
        self.changed(Dirty::Save);
        if self.me().primary == Some(key) {
            self.follow_primary(false);
        }
    }

    /// Sends a PING, PONG or MEET.
    pub(super) fn send_heartbeat(&mut self, link: LinkId, kind: Kind) {
        let bound = self.links.get(&link).and_then(|link| link.node);
        let gossip = self.pick_gossip(bound);
        let extensions = match bound.is_some_and(|key| self.node_is(key, Flags::EXTENSIONS)) {
            true => self.my_extensions(),
            false => Vec::new(),
        };
        if let Some(link) = self.links.get_mut(&link).filter(|_| kind == Kind::Meet) {
            link.met = true;
        }
        if kind == Kind::Ping && !link.is_inbound() {
            let now_ms = self.now_ms;
            if let Some(node) = bound.and_then(|key| self.node_mut(key)) {
                node.ping_sent_ms = Some(now_ms);
            }
        }
        let body = Body::Heartbeat {
            kind,
            gossip,
            extensions,
        };
        self.send(link, body);
    }

    /// Takes in how replication stands. A replica that has just got a whole
    /// copy says so at once: clients are not sent to it before that is known.
    pub(super) fn note_replication(&mut self, replication: Replication) {
        let had_a_copy = self.my_offset() != 0;
        self.replication = replication;
        if !had_a_copy && !self.i_am_primary() && self.my_offset() != 0 {
            self.tell_everyone();
        }
    }

    /// Sends a PONG to all nodes, so that they hear of a change at once.
    pub(super) fn tell_everyone(&mut self) {
        for key in self.peers() {
            if let Some(link) = self.node(key).and_then(|node| node.link) {
                self.send_heartbeat(link, Kind::Pong);
            }
        }
    }

    fn my_extensions(&self) -> Vec<Extension> {
        let me = self.me();
        let mut all = Vec::new();
        let mut text = |value: &str, make: fn(String) -> Extension| {
            if !value.is_empty() {
                all.push(make(value.to_owned()));
            }
        };
        text(&me.host_name, Extension::HostName);
        text(&me.human_name, Extension::HumanName);
        text(&me.client_ipv4, Extension::ClientIpv4);
        text(&me.client_ipv6, Extension::ClientIpv6);
        text(&me.zone, Extension::Zone);
        for (id, until_ms) in &self.forgotten {
            let left_s = until_ms.saturating_sub(self.now_ms) / 1000;
            if left_s > 0 {
                all.push(Extension::Forgotten(*id, left_s));
            }
        }
        all.push(Extension::Shard(me.shard));
        all
    }
}
