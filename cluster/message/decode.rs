//! From bytes to a message, with everything checked: lengths to the byte,
//! names, texts. What comes from a peer never panics.

use std::fmt;

use super::*;
use crate::identity::ID_LEN;
use crate::slot_set::SLOT_BYTES;

/// Why a packet is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Invalid {
    /// It doesn't begin with `RCmb`.
    Signature,
    /// Another version of the protocol.
    Version,
    /// Its length isn't what its contents make.
    Length,
    /// A type that has no short header.
    LightKind,
    /// A name that can't be one.
    NodeId,
    /// An address that can't be one.
    Address,
    /// An extension that is cut or not padded.
    Extension,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Invalid::Signature => "it does not begin with RCmb",
            Invalid::Version => "it is of another protocol version",
            Invalid::Length => "its length does not fit its contents",
            Invalid::LightKind => "its type has no short header",
            Invalid::NodeId => "it holds a node id that can't be one",
            Invalid::Address => "it holds an address that can't be one",
            Invalid::Extension => "it holds a malformed extension",
        })
    }
}

/// What no packet is longer than unless it brings somebody's message: gossip
/// about more nodes than any cluster has.
pub const LARGEST_PLAIN: usize = 4 << 20;

/// The length of the packet that begins the buffer, once that is known.
pub fn packet_len(buffer: &[u8]) -> Result<Option<usize>, Invalid> {
    let known = buffer.len().min(4);
    if buffer[..known] != b"RCmb"[..known] {
        return Err(Invalid::Signature);
    }
    let Some(len) = buffer.get(4..8) else {
        return Ok(None);
    };
    let len = u32::from_be_bytes(len.try_into().map_err(|_| Invalid::Length)?) as usize;
    let is_plain = buffer.get(12..14).is_some_and(|kind| {
        let number = u16::from_be_bytes([kind[0], kind[1]]);
        let kind = Kind::ALL.get(usize::from(number & !LIGHT));
        !matches!(
            kind,
            Some(Kind::Publish | Kind::PublishShard | Kind::Module)
        )
    });
    match len < LIGHT_HEADER_LEN || (is_plain && len > LARGEST_PLAIN) {
        true => Err(Invalid::Length),
        false => Ok(Some(len)),
    }
}

/// Who says to have sent the packet that begins the buffer, if that is there yet.
/// A short header doesn't say.
pub fn sender(buffer: &[u8]) -> Option<NodeId> {
    let number = buffer.get(12..14)?;
    match u16::from_be_bytes([number[0], number[1]]) & LIGHT {
        0 => NodeId::parse(buffer.get(40..40 + ID_LEN)?),
        _ => None,
    }
}

/// Reads one whole packet.
pub fn decode(packet: &[u8]) -> Result<Message, Invalid> {
    if packet_len(packet)? != Some(packet.len()) {
        return Err(Invalid::Length);
    }
    let mut reader = Reader {
        bytes: packet,
        at: 8,
    };
    if reader.u16()? != VERSION {
        return Err(Invalid::Version);
    }
    let port = reader.u16()?;
    let number = reader.u16()?;
    let count = reader.u16()?;
    if number & LIGHT != 0 {
        let sharded = match number & !LIGHT {
            4 => false,
            10 => true,
            _ => return Err(Invalid::LightKind),
        };
        let (channel, payload) = reader.publish()?;
        reader.end()?;
        return Ok(Message::Light {
            sharded,
            channel,
            payload,
        });
    }
    let (header, extensions) = header(&mut reader, port)?;
    let body = body(&mut reader, number, count, extensions)?;
    Ok(Message::Full(Box::new(header), body))
}

/// The rest of the header, from the current epoch on, and the number of
/// extensions.
fn header(reader: &mut Reader, port: u16) -> Result<(Header, u16), Invalid> {
    let current_epoch = Epoch(reader.u64()?);
    let config_epoch = Epoch(reader.u64()?);
    let offset = reader.u64()?;
    let sender = reader.id()?;
    let slots = reader.slots()?;
    let primary = match reader.take(ID_LEN)? {
        zeros if zeros.iter().all(|byte| *byte == 0) => None,
        id => Some(NodeId::parse(id).ok_or(Invalid::NodeId)?),
    };
    let ip = reader.ip()?;
    let extensions = reader.u16()?;
    reader.take(30)?;
    let tls_port = reader.u16()?;
    let bus_port = reader.u16()?;
    let flags = Flags(reader.u16()?);
    let state = reader.take(4)?;
    let header = Header {
        sender,
        current_epoch,
        config_epoch,
        offset,
        slots,
        primary,
        address: Address {
            ip,
            port,
            tls_port,
            bus_port,
        },
        flags,
        cluster_down: state[0] != 0,
        message_flags: state[1],
    };
    let extensions = match header.message_flags & MFLAG_EXTENSIONS {
        0 => 0,
        _ => extensions,
    };
    Ok((header, extensions))
}

fn body(reader: &mut Reader, number: u16, count: u16, extensions: u16) -> Result<Body, Invalid> {
    let Some(kind) = Kind::ALL.get(usize::from(number)) else {
        return Ok(Body::Unknown(number));
    };
    let body = match kind {
        Kind::Ping | Kind::Pong | Kind::Meet => {
            if reader.rest() < usize::from(count) * GOSSIP_LEN {
                return Err(Invalid::Length);
            }
            let gossip = (0..count).map(|_| gossip(reader));
            let gossip = gossip.collect::<Result<Vec<_>, _>>()?;
            let mut known = Vec::new();
            for _ in 0..extensions {
                known.extend(Extension::decode(reader)?);
            }
            Body::Heartbeat {
                kind: *kind,
                gossip,
                extensions: known,
            }
        }
        Kind::Fail => Body::Fail(reader.id()?),
        Kind::Publish | Kind::PublishShard => {
            let (channel, payload) = reader.publish()?;
            Body::Publish {
                sharded: *kind == Kind::PublishShard,
                channel,
                payload,
            }
        }
        Kind::AuthRequest => Body::AuthRequest,
        Kind::AuthAck => Body::AuthAck,
        Kind::Update => Body::Update {
            config_epoch: Epoch(reader.u64()?),
            id: reader.id()?,
            slots: reader.slots()?,
        },
        Kind::ManualStart => Body::ManualStart,
        Kind::Module => {
            reader.u64()?;
            let len = reader.u32()? as usize;
            reader.take(1)?;
            reader.take(len)?;
            Body::Module
        }
    };
    reader.end()?;
    Ok(body)
}

fn gossip(reader: &mut Reader) -> Result<Gossip, Invalid> {
    let id = reader.id()?;
    let ping_sent_s = reader.u32()?;
    let pong_received_s = reader.u32()?;
    let ip = reader.ip()?;
    let port = reader.u16()?;
    let bus_port = reader.u16()?;
    let flags = Flags(reader.u16()?);
    let tls_port = reader.u16()?;
    reader.u16()?;
    Ok(Gossip {
        id,
        ping_sent_s,
        pong_received_s,
        address: Address {
            ip,
            port,
            tls_port,
            bus_port,
        },
        flags,
    })
}

/// A cursor over a packet. Reading beyond the end is [`Invalid::Length`].
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn end(&self) -> Result<(), Invalid> {
        match self.rest() {
            0 => Ok(()),
            _ => Err(Invalid::Length),
        }
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], Invalid> {
        if len > self.rest() {
            return Err(Invalid::Length);
        }
        let taken = &self.bytes[self.at..self.at + len];
        self.at += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Invalid> {
        self.take(N)?.try_into().map_err(|_| Invalid::Length)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Invalid> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, Invalid> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, Invalid> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    fn id(&mut self) -> Result<NodeId, Invalid> {
        NodeId::parse(self.take(ID_LEN)?).ok_or(Invalid::NodeId)
    }

    fn slots(&mut self) -> Result<SlotSet, Invalid> {
        Ok(SlotSet::from_bytes(&self.array::<SLOT_BYTES>()?))
    }

    /// An address or host name up to its closing zero; may be empty.
    fn ip(&mut self) -> Result<String, Invalid> {
        let field = self.take(IP_LEN)?;
        let len = field.iter().position(|byte| *byte == 0);
        let text = &field[..len.ok_or(Invalid::Address)?];
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b".:-_%".contains(byte);
        match text.iter().all(plain) {
            true => Ok(String::from_utf8_lossy(text).into_owned()),
            false => Err(Invalid::Address),
        }
    }

    fn publish(&mut self) -> Result<(Vec<u8>, Vec<u8>), Invalid> {
        let channel_len = self.u32()? as usize;
        let payload_len = self.u32()? as usize;
        let channel = self.take(channel_len)?.to_vec();
        Ok((channel, self.take(payload_len)?.to_vec()))
    }
}
