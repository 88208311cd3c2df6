//! Lengths and offsets as the peers have them, round trips, and packets that
//! were damaged at random.

use super::*;
use crate::random::Random;
use crate::slots::Slot;

fn header(random: &mut Random) -> Header {
    let mut slots = SlotSet::default();
    for _ in 0..random.below(40) {
        slots.insert(Slot::new(random.below(16384) as u16).expect("below the count"));
    }
    Header {
        sender: NodeId::random(random),
        current_epoch: Epoch(random.draw()),
        config_epoch: Epoch(random.draw()),
        offset: random.draw(),
        slots,
        primary: (random.below(2) == 0).then(|| NodeId::random(random)),
        address: address(random),
        flags: Flags(random.draw() as u16),
        cluster_down: random.below(2) == 0,
        message_flags: MFLAG_EXTENSIONS,
    }
}

fn address(random: &mut Random) -> Address {
    Address {
        ip: format!("10.0.{}.{}", random.below(256), random.below(256)),
        port: random.draw() as u16,
        tls_port: random.draw() as u16,
        bus_port: random.draw() as u16,
    }
}

fn heartbeat(random: &mut Random) -> Body {
    let gossip = (0..random.below(5)).map(|_| Gossip {
        id: NodeId::random(random),
        ping_sent_s: random.draw() as u32,
        pong_received_s: random.draw() as u32,
        address: address(random),
        flags: Flags(random.draw() as u16),
    });
    Body::Heartbeat {
        kind: Kind::Ping,
        gossip: gossip.collect(),
        extensions: vec![
            Extension::HostName("host-1.example".into()),
            Extension::HumanName("a".into()),
            Extension::Forgotten(NodeId::random(random), random.draw()),
            Extension::Shard(NodeId::random(random)),
            Extension::ClientIpv4("10.1.2.3".into()),
            Extension::ClientIpv6("::1".into()),
            Extension::Zone("zone-1/b".into()),
        ],
    }
}

/// One message of each sort.
fn samples(random: &mut Random) -> Vec<Message> {
    let publish = |sharded| Body::Publish {
        sharded,
        channel: b"channel".to_vec(),
        payload: vec![0xff; 33],
    };
    let bodies = [
        heartbeat(random),
        Body::Fail(NodeId::random(random)),
        publish(false),
        publish(true),
        Body::AuthRequest,
        Body::AuthAck,
        Body::Update {
            id: NodeId::random(random),
            config_epoch: Epoch(7),
            slots: header(random).slots,
        },
        Body::ManualStart,
        Body::Module,
        Body::Unknown(99),
    ];
    let mut messages: Vec<Message> = bodies
        .into_iter()
        .map(|body| Message::Full(Box::new(header(random)), body))
        .collect();
    messages.push(Message::Light {
        sharded: true,
        channel: b"c".to_vec(),
        payload: b"p".to_vec(),
    });
    messages
}

#[test]
fn what_is_written_is_read_back() {
    let mut random = Random::new(1);
    for _ in 0..50 {
        for message in samples(&mut random) {
            let packet = encode(&message);
            assert_eq!(decode(&packet), Ok(message));
        }
    }
}

#[test]
fn packets_have_the_lengths_that_peers_expect() {
    let mut random = Random::new(2);
    let mut len = |body| encode(&Message::Full(Box::new(header(&mut random)), body)).len();
    let id = NodeId::random(&mut Random::new(3));
    assert_eq!(len(Body::AuthRequest), 2256);
    assert_eq!(len(Body::Fail(id)), 2296);
    let update = Body::Update {
        id,
        config_epoch: Epoch(1),
        slots: SlotSet::default(),
    };
    assert_eq!(len(update), 4352);
    let entry = Gossip {
        id,
        ping_sent_s: 0,
        pong_received_s: 0,
        address: Address::default(),
        flags: Flags::PRIMARY,
    };
    let ping = Body::Heartbeat {
        kind: Kind::Ping,
        gossip: vec![entry; 3],
        extensions: vec![Extension::Shard(id)],
    };
    assert_eq!(len(ping), 2616);
}

#[test]
fn fields_lie_where_peers_look_for_them() {
    let mut random = Random::new(4);
    let header = header(&mut random);
    let packet = encode(&Message::Full(Box::new(header.clone()), Body::AuthAck));
    assert_eq!(&packet[..10], b"RCmb\0\0\x08\xd0\0\x01");
    assert_eq!(packet[10..12], header.address.port.to_be_bytes());
    assert_eq!(packet[12..14], 6u16.to_be_bytes());
    assert_eq!(packet[16..24], header.current_epoch.0.to_be_bytes());
    assert_eq!(&packet[40..80], header.sender.as_bytes());
    assert_eq!(&packet[80..2128], header.slots.as_bytes());
    assert_eq!(packet[2248..2250], header.address.bus_port.to_be_bytes());
    assert_eq!(packet[2250..2252], header.flags.0.to_be_bytes());
    assert_eq!(packet[2252], u8::from(header.cluster_down));
    assert_eq!(packet[2253], header.message_flags);
}

#[test]
fn a_packet_that_is_cut_or_too_long_is_refused() {
    let mut random = Random::new(5);
    for message in samples(&mut random) {
        if matches!(message, Message::Full(_, Body::Unknown(_))) {
            continue;
        }
        let packet = encode(&message);
        for len in (0..packet.len()).step_by(7).chain([packet.len() - 1]) {
            let mut cut = packet[..len].to_vec();
            assert!(decode(&cut).is_err());
            if len >= 16 {
                // Even if it claims the length that it has.
                cut[4..8].copy_from_slice(&(len as u32).to_be_bytes());
                assert!(decode(&cut).is_err(), "{message:?} cut to {len}");
            }
        }
        let mut longer = packet.clone();
        longer.push(0);
        let len = longer.len() as u32;
        longer[4..8].copy_from_slice(&len.to_be_bytes());
        assert!(decode(&longer).is_err());
    }
}

#[test]
fn only_messages_of_clients_are_very_long() {
    let head = |number: u16, len: usize| {
        let mut packet = b"RCmb".to_vec();
        packet.extend((len as u32).to_be_bytes());
        packet.extend([0, 1, 0, 0]);
        packet.extend(number.to_be_bytes());
        packet
    };
    for number in 0..20 {
        let is_message = matches!(number, 4 | 9 | 10);
        let known = packet_len(&head(number, LARGEST_PLAIN));
        assert_eq!(known, Ok(Some(LARGEST_PLAIN)));
        let longer = packet_len(&head(number, LARGEST_PLAIN + 1));
        assert_eq!(longer.is_ok(), is_message, "{number}");
    }
    assert!(packet_len(&head(4 | LIGHT, 1 << 30)).is_ok());
}

#[test]
fn damaged_packets_never_panic() {
    let mut random = Random::new(6);
    let packets: Vec<Vec<u8>> = samples(&mut random).iter().map(encode).collect();
    for _ in 0..20_000 {
        let mut packet = packets[random.below(packets.len() as u64) as usize].clone();
        for _ in 0..=random.below(4) {
            // Mostly where lengths and counts are.
            let bound = if random.below(2) == 0 {
                16
            } else {
                packet.len()
            };
            let at = random.below(bound as u64) as usize;
            packet[at] = random.draw() as u8;
        }
        let _ = packet_len(&packet);
        if let Ok(message) = decode(&packet) {
            let _ = encode(&message);
        }
    }
}

#[test]
fn an_unknown_extension_is_skipped_and_the_next_one_read() {
    let mut random = Random::new(7);
    let shard = NodeId::random(&mut random);
    let body = Body::Heartbeat {
        kind: Kind::Pong,
        gossip: Vec::new(),
        extensions: vec![Extension::HostName("x".into()), Extension::Shard(shard)],
    };
    let mut packet = encode(&Message::Full(Box::new(header(&mut random)), body));
    packet[HEADER_LEN + 4..HEADER_LEN + 6].copy_from_slice(&77u16.to_be_bytes());
    let Ok(Message::Full(_, Body::Heartbeat { extensions, .. })) = decode(&packet) else {
        panic!("the packet is valid");
    };
    assert_eq!(extensions, [Extension::Shard(shard)]);
}
