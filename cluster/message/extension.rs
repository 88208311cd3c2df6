//! Extensions of PING, PONG and MEET: `{length u32, type u16, unused u16}`,
//! then the value, padded with zeros to eight bytes; the length counts all of
//! it. Types that are not known are skipped.
//!
//! Type 4 is an IPv4 address for Valkey and a secret for Redis 8: it counts
//! only if it reads as an address.

use super::decode::{Invalid, Reader};
use crate::identity::{ID_LEN, NodeId};

/// Bytes before an extension's value.
const HEAD_LEN: usize = 8;

/// More about the sender of a heartbeat.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Extension {
    /// Type 0: its host name.
    HostName(String),
    /// Type 1: its name for people.
    HumanName(String),
    /// Type 2: a node that was forgotten, and for how many seconds more.
    Forgotten(NodeId, u64),
    /// Type 3: its shard.
    Shard(NodeId),
    /// Type 4: its IPv4 address for clients.
    ClientIpv4(String),
    /// Type 5: its IPv6 address for clients.
    ClientIpv6(String),
    /// Type 8: the availability zone it runs in.
    Zone(String),
}

impl Extension {
    /// Appends its bytes.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; HEAD_LEN]);
        let kind: u16 = match self {
            Extension::HostName(text) => text_value(out, text, 0),
            Extension::HumanName(text) => text_value(out, text, 1),
            Extension::Forgotten(id, ttl_s) => {
                out.extend_from_slice(id.as_bytes());
                out.extend_from_slice(&ttl_s.to_be_bytes());
                2
            }
            Extension::Shard(id) => {
                out.extend_from_slice(id.as_bytes());
                3
            }
            Extension::ClientIpv4(text) => text_value(out, text, 4),
            Extension::ClientIpv6(text) => text_value(out, text, 5),
            Extension::Zone(text) => text_value(out, text, 8),
        };
        let padded = start + (out.len() - start).next_multiple_of(8);
        out.resize(padded, 0);
        let len = (padded - start) as u32;
        out[start..start + 4].copy_from_slice(&len.to_be_bytes());
        out[start + 4..start + 6].copy_from_slice(&kind.to_be_bytes());
    }

    /// Reads one; `None` if its type is not known.
    pub(super) fn decode(reader: &mut Reader) -> Result<Option<Extension>, Invalid> {
        let len = reader.u32()? as usize;
        let kind = reader.u16()?;
        reader.u16()?;
        if len < HEAD_LEN || !len.is_multiple_of(8) {
            return Err(Invalid::Extension);
        }
        let value = reader.take(len - HEAD_LEN)?;
        let id = || {
            let bytes = value.get(..ID_LEN).ok_or(Invalid::Extension)?;
            NodeId::parse(bytes).ok_or(Invalid::NodeId)
        };
        Ok(match kind {
            0 => Some(Extension::HostName(text(value)?)),
            1 => Some(Extension::HumanName(text(value)?)),
            2 => {
                let ttl = value.get(ID_LEN..ID_LEN + 8).ok_or(Invalid::Extension)?;
                let ttl = u64::from_be_bytes(ttl.try_into().map_err(|_| Invalid::Extension)?);
                Some(Extension::Forgotten(id()?, ttl))
            }
            3 => Some(Extension::Shard(id()?)),
            4 => text(value)
                .ok()
                .filter(|text| text.parse::<std::net::Ipv4Addr>().is_ok())
                .map(Extension::ClientIpv4),
            5 => text(value)
                .ok()
                .filter(|text| text.parse::<std::net::Ipv6Addr>().is_ok())
                .map(Extension::ClientIpv6),
            // Valkey lets any text pass here.
            8 => text(value).ok().map(Extension::Zone),
            _ => None,
        })
    }
}

fn text_value(out: &mut Vec<u8>, text: &str, kind: u16) -> u16 {
    out.extend_from_slice(text.as_bytes());
    out.push(0);
    kind
}

/// Text up to its closing zero, of printable characters that a line of
/// `nodes.conf` can hold.
fn text(value: &[u8]) -> Result<String, Invalid> {
    let end = value.iter().position(|byte| *byte == 0);
    let text = &value[..end.ok_or(Invalid::Extension)?];
    match is_plain(text) {
        true => Ok(String::from_utf8_lossy(text).into_owned()),
        false => Err(Invalid::Extension),
    }
}

/// Whether a text has only characters that a line of `nodes.conf` can hold.
pub(crate) fn is_plain(text: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b',' | b'=' | b'"' | b'\'');
    text.iter().all(plain)
}
