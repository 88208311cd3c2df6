//! Packets of the cluster bus: they are read whole or refused, what was read is
//! written the same, and a refused one changes nothing of a node's state.

use redoubt_cluster::bus::{Bus, Input, Options};
use redoubt_cluster::flags::Flags;
use redoubt_cluster::identity::{Epoch, NodeId};
use redoubt_cluster::message::{
    Address, Body, Extension, Gossip, Header, Kind, Message, decode, encode, packet_len,
};
use redoubt_cluster::random::Random;
use redoubt_cluster::slot_set::{SlotSet, all_slots};
use redoubt_cluster::table::LinkId;

use crate::campaign::Target;

const NOW_MS: u64 = 1_700_000_000_000;

/// Whatever another node may send.
pub fn target() -> Target {
    Target {
        name: "bus packets",
        corpus: packets(),
        max_input_bytes: 8192,
        max_memory_bytes: 4 << 20,
        run: Box::new(holds),
    }
}

/// A packet is given to a node only once in so many times: that takes a hundred
/// times as long as reading it.
const TRIED: u64 = 16;

fn holds(packet: &[u8], choice: u64) {
    let _ = packet_len(packet);
    let outcome = decode(packet);
    if let Ok(message) = &outcome {
        let again = decode(&encode(message));
        assert_eq!(again.as_ref(), Ok(message));
    }
    if !choice.is_multiple_of(TRIED) {
        return;
    }
    let mut bus = Bus::new(Options::default(), None, 1, NOW_MS).expect("a fresh node starts");
    let link = LinkId::inbound(1);
    bus.handle(
        NOW_MS,
        Input::Accepted {
            link,
            peer: "10.0.0.2".into(),
            local: "10.0.0.1".into(),
        },
    );
    let before = bus.saved_text();
    bus.handle(NOW_MS, Input::Received(link, packet));
    while bus.poll_output().is_some() {}
    if outcome.is_err() {
        assert_eq!(bus.saved_text(), before);
    }
    // Whatever came in, the file that follows from it can be read.
    let text = bus.saved_text();
    Bus::new(Options::default(), Some(&text), 1, NOW_MS).expect("what was written can be read");
}

/// One good packet of each sort.
fn packets() -> Vec<Vec<u8>> {
    let mut random = Random::new(11);
    let mut id = || NodeId::random(&mut random);
    let (sender, third, shard) = (id(), id(), id());
    let slots: SlotSet = all_slots().take(100).collect();
    let address = Address {
        ip: "10.0.0.2".into(),
        port: 6379,
        tls_port: 0,
        bus_port: 16379,
    };
    let header = Header {
        sender,
        current_epoch: Epoch(3),
        config_epoch: Epoch(2),
        offset: 7,
        slots: slots.clone(),
        primary: None,
        address: address.clone(),
        flags: Flags::PRIMARY,
        cluster_down: false,
        message_flags: 4,
    };
    let gossip = Gossip {
        id: third,
        ping_sent_s: 0,
        pong_received_s: 1_700_000_000,
        address,
        flags: Flags::REPLICA,
    };
    let heartbeat = |kind| Body::Heartbeat {
        kind,
        gossip: vec![gossip.clone(); 2],
        extensions: vec![
            Extension::HostName("host".into()),
            Extension::Forgotten(third, 60),
            Extension::Shard(shard),
            Extension::ClientIpv4("10.0.0.9".into()),
        ],
    };
    let publish = Body::Publish {
        sharded: false,
        channel: b"channel".to_vec(),
        payload: b"payload".to_vec(),
    };
    let update = Body::Update {
        id: third,
        config_epoch: Epoch(9),
        slots,
    };
    let bodies = [
        heartbeat(Kind::Meet),
        heartbeat(Kind::Ping),
        heartbeat(Kind::Pong),
        Body::Fail(third),
        publish,
        Body::AuthRequest,
        update,
        Body::Module,
    ];
    let full = |body| encode(&Message::Full(Box::new(header.clone()), body));
    let light = encode(&Message::Light {
        sharded: true,
        channel: b"channel".to_vec(),
        payload: b"payload".to_vec(),
    });
    bodies.into_iter().map(full).chain([light]).collect()
}
