//! From a message to its bytes.

use super::*;
use crate::identity::ID_LEN;

/// The packet of a message. Texts too long for their field are cut.
pub fn encode(message: &Message) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_LEN + 512);
    match message {
        Message::Full(header, body) => {
            put_header(&mut out, header, body);
            put_body(&mut out, body);
        }
        Message::Light {
            sharded,
            channel,
            payload,
        } => {
            let kind = if *sharded {
                Kind::PublishShard
            } else {
                Kind::Publish
            };
            out.extend_from_slice(b"RCmb\0\0\0\0");
            put_u16(&mut out, VERSION);
            put_u16(&mut out, 0);
            put_u16(&mut out, kind as u16 | LIGHT);
            put_u16(&mut out, 0);
            put_publish(&mut out, channel, payload);
        }
    }
    let len = out.len() as u32;
    out[4..8].copy_from_slice(&len.to_be_bytes());
    out
}

fn put_header(out: &mut Vec<u8>, header: &Header, body: &Body) {
    let (gossip, extensions) = match body {
        Body::Heartbeat {
            gossip, extensions, ..
        } => (gossip.len() as u16, extensions.len() as u16),
        _ => (0, 0),
    };
    let number = match body {
        Body::Unknown(number) => *number,
        known => known.kind().map_or(0, |kind| kind as u16),
    };
    out.extend_from_slice(b"RCmb\0\0\0\0");
    put_u16(out, VERSION);
    put_u16(out, header.address.port);
    put_u16(out, number);
    put_u16(out, gossip);
    put_u64(out, header.current_epoch.0);
    put_u64(out, header.config_epoch.0);
    put_u64(out, header.offset);
    out.extend_from_slice(header.sender.as_bytes());
    out.extend_from_slice(header.slots.as_bytes());
    match &header.primary {
        Some(id) => out.extend_from_slice(id.as_bytes()),
        None => out.extend_from_slice(&[0; ID_LEN]),
    }
    put_ip(out, &header.address.ip);
    put_u16(out, extensions);
    out.extend_from_slice(&[0; 30]);
    put_u16(out, header.address.tls_port);
    put_u16(out, header.address.bus_port);
    put_u16(out, header.flags.0);
    out.push(u8::from(header.cluster_down));
    out.extend_from_slice(&[header.message_flags, 0, 0]);
    debug_assert_eq!(out.len(), HEADER_LEN);
}

fn put_body(out: &mut Vec<u8>, body: &Body) {
    match body {
        Body::Heartbeat {
            gossip, extensions, ..
        } => {
            gossip.iter().for_each(|entry| put_gossip(out, entry));
            extensions.iter().for_each(|entry| entry.encode(out));
        }
        Body::Fail(id) => out.extend_from_slice(id.as_bytes()),
        Body::Publish {
            channel, payload, ..
        } => put_publish(out, channel, payload),
        Body::Update {
            id,
            config_epoch,
            slots,
        } => {
            put_u64(out, config_epoch.0);
            out.extend_from_slice(id.as_bytes());
            out.extend_from_slice(slots.as_bytes());
        }
        // An empty message of module 0: id, length, type.
        Body::Module => out.extend_from_slice(&[0; 13]),
        Body::AuthRequest | Body::AuthAck | Body::ManualStart | Body::Unknown(_) => {}
    }
}

fn put_gossip(out: &mut Vec<u8>, gossip: &Gossip) {
    out.extend_from_slice(gossip.id.as_bytes());
    out.extend_from_slice(&gossip.ping_sent_s.to_be_bytes());
    out.extend_from_slice(&gossip.pong_received_s.to_be_bytes());
    put_ip(out, &gossip.address.ip);
    put_u16(out, gossip.address.port);
    put_u16(out, gossip.address.bus_port);
    put_u16(out, gossip.flags.0);
    put_u16(out, gossip.address.tls_port);
    put_u16(out, 0);
}

fn put_publish(out: &mut Vec<u8>, channel: &[u8], payload: &[u8]) {
    out.extend_from_slice(&(channel.len() as u32).to_be_bytes());
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    out.extend_from_slice(channel);
    out.extend_from_slice(payload);
}

fn put_ip(out: &mut Vec<u8>, ip: &str) {
    let mut field = [0; IP_LEN];
    let len = ip.len().min(IP_LEN - 1);
    field[..len].copy_from_slice(&ip.as_bytes()[..len]);
    out.extend_from_slice(&field);
}

fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes());
}
