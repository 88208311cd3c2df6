//! Messages of the cluster bus, byte for byte as Redis 7.0 and Valkey send
//! them: a header of 2256 bytes that tells about the sender, then what the
//! message's type calls for. All numbers are big-endian.
//!
//! | offset | what | | offset | what |
//! |---|---|---|---|---|
//! | 0 | `RCmb` | | 80 | slots of the sender's shard, 2048 bytes |
//! | 4 | total length, u32 | | 2128 | its primary's id, or zeros |
//! | 8 | version 1, u16 | | 2168 | announced address, 46 bytes, or zeros |
//! | 10 | client port, u16 | | 2214 | number of extensions, u16 |
//! | 12 | type, u16 | | 2246 | the other client port (TLS), u16 |
//! | 14 | gossip entries, u16 | | 2248 | bus port, u16 |
//! | 16 | current epoch, u64 | | 2250 | flags, u16 |
//! | 24 | config epoch, u64 | | 2252 | 1 if the sender thinks the cluster down |
//! | 32 | replication offset, u64 | | 2253 | message flags, 3 bytes |
//! | 40 | sender's id | | 2256 | body |
//!
//! A published message may come with a header of 16 bytes instead (type with
//! bit 15 set) between nodes that both announce it.
//!
//! [`decode`] accepts a packet whole or not at all.

mod decode;
mod encode;
mod extension;
#[cfg(test)]
mod tests;

pub use decode::{Invalid, LARGEST_PLAIN, decode, packet_len, sender};
pub use encode::encode;
pub use extension::Extension;
pub(crate) use extension::is_plain;

use crate::flags::Flags;
use crate::identity::{Epoch, NodeId};
use crate::slot_set::SlotSet;

/// Length of the header.
pub const HEADER_LEN: usize = 2256;
/// Length of the short header.
pub const LIGHT_HEADER_LEN: usize = 16;
/// Length of a gossip entry.
pub const GOSSIP_LEN: usize = 104;
/// Length of an address's text, with its closing zero.
pub const IP_LEN: usize = 46;
/// The version of the protocol.
const VERSION: u16 = 1;
/// Bit of the type that says that the header is the short one.
const LIGHT: u16 = 0x8000;

/// The sender is a primary that holds back writes for a manual failover.
pub const MFLAG_PAUSED: u8 = 1 << 0;
/// Votes are to be given although the primary is up.
pub const MFLAG_FORCE_ACK: u8 = 1 << 1;
/// The sender understands extensions.
pub const MFLAG_EXTENSIONS: u8 = 1 << 2;

/// What a message is for; the number is the one on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[allow(missing_docs)]
pub enum Kind {
    Ping = 0,
    Pong = 1,
    Meet = 2,
    Fail = 3,
    Publish = 4,
    AuthRequest = 5,
    AuthAck = 6,
    Update = 7,
    ManualStart = 8,
    Module = 9,
    PublishShard = 10,
}

impl Kind {
    /// All kinds, by number.
    pub const ALL: [Kind; 11] = [
        Kind::Ping,
        Kind::Pong,
        Kind::Meet,
        Kind::Fail,
        Kind::Publish,
        Kind::AuthRequest,
        Kind::AuthAck,
        Kind::Update,
        Kind::ManualStart,
        Kind::Module,
        Kind::PublishShard,
    ];

    /// Its name in CLUSTER INFO.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Ping => "ping",
            Kind::Pong => "pong",
            Kind::Meet => "meet",
            Kind::Fail => "fail",
            Kind::Publish => "publish",
            Kind::AuthRequest => "auth-req",
            Kind::AuthAck => "auth-ack",
            Kind::Update => "update",
            Kind::ManualStart => "mfstart",
            Kind::Module => "module",
            Kind::PublishShard => "publishshard",
        }
    }
}

/// Where a node can be reached.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Address {
    /// Its IP address as text; empty if unknown.
    pub ip: String,
    /// Port for clients; 0: none.
    pub port: u16,
    /// Port for clients with TLS; 0: none.
    pub tls_port: u16,
    /// Port of the bus.
    pub bus_port: u16,
}

/// What every message tells about its sender.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// Who sends it.
    pub sender: NodeId,
    /// Its current epoch.
    pub current_epoch: Epoch,
    /// Its config epoch, or its primary's if it is a replica.
    pub config_epoch: Epoch,
    /// Its replication offset.
    pub offset: u64,
    /// Its slots, or its primary's if it is a replica.
    pub slots: SlotSet,
    /// Its primary, if it is a replica.
    pub primary: Option<NodeId>,
    /// Its address; the IP is empty if the receiver shall take the socket's.
    pub address: Address,
    /// Its flags.
    pub flags: Flags,
    /// Whether it thinks the cluster down.
    pub cluster_down: bool,
    /// The first byte of the message flags.
    pub message_flags: u8,
}

/// What a PING, PONG or MEET tells about a third node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gossip {
    /// The node.
    pub id: NodeId,
    /// When it was last sent a PING without an answer yet, Unix seconds; 0: none.
    pub ping_sent_s: u32,
    /// When it last answered, Unix seconds.
    pub pong_received_s: u32,
    /// Where it is.
    pub address: Address,
    /// Its flags, as the sender sees it.
    pub flags: Flags,
}

/// What a message says beyond its header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// PING, PONG or MEET.
    Heartbeat {
        /// Which of the three.
        kind: Kind,
        /// About other nodes.
        gossip: Vec<Gossip>,
        /// More about the sender.
        extensions: Vec<Extension>,
    },
    /// A majority can't reach this node.
    Fail(NodeId),
    /// A message for subscribers.
    Publish {
        /// Whether the channel is a shard channel.
        sharded: bool,
        /// The channel.
        channel: Vec<u8>,
        /// The message.
        payload: Vec<u8>,
    },
    /// The sender asks for a vote.
    AuthRequest,
    /// The sender gives its vote.
    AuthAck,
    /// What a third node serves.
    Update {
        /// The node.
        id: NodeId,
        /// Since this epoch.
        config_epoch: Epoch,
        /// These slots.
        slots: SlotSet,
    },
    /// The sender asks its primary to hold back writes.
    ManualStart,
    /// For a module; nobody here.
    Module,
    /// Of a type that is not known.
    Unknown(u16),
}

/// A message as it is on the wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// With the whole header.
    Full(Box<Header>, Body),
    /// A published message with the short header.
    Light {
        /// Whether the channel is a shard channel.
        sharded: bool,
        /// The channel.
        channel: Vec<u8>,
        /// The message.
        payload: Vec<u8>,
    },
}

impl Body {
    /// The kind, unless it is unknown.
    pub fn kind(&self) -> Option<Kind> {
        Some(match self {
            Body::Heartbeat { kind, .. } => *kind,
            Body::Fail(_) => Kind::Fail,
            Body::Publish { sharded: false, .. } => Kind::Publish,
            Body::Publish { sharded: true, .. } => Kind::PublishShard,
            Body::AuthRequest => Kind::AuthRequest,
            Body::AuthAck => Kind::AuthAck,
            Body::Update { .. } => Kind::Update,
            Body::ManualStart => Kind::ManualStart,
            Body::Module => Kind::Module,
            Body::Unknown(_) => return None,
        })
    }
}
