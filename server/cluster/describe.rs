//! What CLUSTER INFO, NODES, SLOTS, SHARDS and LINKS show.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::Ordering;

use redoubt_cluster::bus::Bus;
use redoubt_cluster::flags::Flags;
use redoubt_cluster::identity::NodeId;
use redoubt_cluster::message::Kind;
use redoubt_cluster::nodes_conf::{For, line};
use redoubt_cluster::slot_set::all_slots;
use redoubt_cluster::table::{Node, NodeKey};

use super::Cluster;
use crate::resp::reply::ReplyBuffer;

/// Redirections name the address.
pub const IP: u8 = 0;
/// They name the host.
pub const HOST_NAME: u8 = 1;
/// They name nothing: the client knows.
pub const UNKNOWN: u8 = 2;

/// The address that clients are told; None for "the one you know".
pub fn endpoint<'a>(cluster: &Cluster, node: &'a Node, v6: bool) -> Option<&'a str> {
    match cluster.endpoint.load(Ordering::Relaxed) {
        HOST_NAME if node.host_name.is_empty() => Some("?"),
        HOST_NAME => Some(&node.host_name),
        UNKNOWN => None,
        _ => Some(node.client_ip(v6)),
    }
}

/// CLUSTER INFO.
pub fn info(cluster: &Cluster, bus: &Bus) -> String {
    let table = bus.table();
    let (mut assigned, mut ok, mut pfail, mut fail) = (0, 0, 0, 0);
    for slot in all_slots() {
        let Some(owner) = table.owner(slot).and_then(|key| table.get(key)) else {
            continue;
        };
        assigned += 1;
        match owner {
            node if node.is(Flags::FAIL) => fail += 1,
            node if node.is(Flags::PFAIL) => pfail += 1,
            _ => ok += 1,
        }
    }
    let state = if bus.is_healthy() { "ok" } else { "fail" };
    let mut text = String::new();
    let mut field = |name: &str, value: &dyn std::fmt::Display| {
        let _ = write!(text, "cluster_{name}:{value}\r\n");
    };
    field("state", &state);
    field("slots_assigned", &assigned);
    field("slots_ok", &ok);
    field("slots_pfail", &pfail);
    field("slots_fail", &fail);
    let count = |flags: Flags, voting: bool| {
        let wanted = |node: &Node| node.is(flags) && (!voting || node.votes());
        table.iter().filter(|(_, node)| wanted(node)).count()
    };
    field("nodes_pfail", &count(Flags::PFAIL, false));
    field("nodes_fail", &count(Flags::FAIL, false));
    field("voting_nodes_pfail", &count(Flags::PFAIL, true));
    field("voting_nodes_fail", &count(Flags::FAIL, true));
    field("known_nodes", &table.len());
    field("size", &bus.size());
    field("current_epoch", &bus.current_epoch());
    let mine = table.get(bus.shard_primary()).unwrap_or(bus.me());
    field("my_epoch", &mine.config_epoch);
    messages(&mut field, &bus.stats().sent, "sent");
    messages(&mut field, &bus.stats().received, "received");
    field("stats_bytes_sent", &bus.stats().bytes_sent);
    field(
        "stats_bytes_received",
        &cluster.bytes_received.load(Ordering::Relaxed),
    );
    field("stats_pubsub_bytes_sent", &0);
    field("stats_pubsub_bytes_received", &0);
    field("stats_module_bytes_sent", &0);
    field("stats_module_bytes_received", &0);
    let exceeded = cluster.queues.exceeded();
    let _ = write!(
        text,
        "total_cluster_links_buffer_limit_exceeded:{exceeded}\r\n"
    );
    text
}

fn messages(
    field: &mut impl FnMut(&str, &dyn std::fmt::Display),
    counts: &BTreeMap<Kind, u64>,
    way: &str,
) {
    for (kind, count) in counts {
        field(&format!("stats_messages_{}_{way}", kind.name()), count);
    }
    let total: u64 = counts.values().sum();
    field(&format!("stats_messages_{way}"), &total);
}

/// CLUSTER NODES.
pub fn nodes(bus: &Bus, v6: bool) -> String {
    let mut text = String::new();
    for (key, _) in bus.table().iter() {
        text.push_str(&line(bus.table(), bus.myself(), key, For::Client { v6 }));
        text.push('\n');
    }
    text
}

/// CLUSTER REPLICAS.
pub fn replicas(bus: &Bus, keys: &[NodeKey], v6: bool, reply: &mut ReplyBuffer) {
    reply.array(keys.len());
    for key in keys {
        let text = line(bus.table(), bus.myself(), *key, For::Client { v6 });
        reply.bulk(text.as_bytes());
    }
}

/// CLUSTER SLOTS.
pub fn slots(cluster: &Cluster, bus: &Bus, v6: bool, reply: &mut ReplyBuffer) {
    let table = bus.table();
    let mut runs: Vec<(u16, u16, NodeKey)> = Vec::new();
    for slot in all_slots() {
        let Some(owner) = table.owner(slot) else {
            continue;
        };
        let number = slot.number();
        match runs.last_mut() {
            Some((_, last, key)) if *key == owner && *last + 1 == number => *last = number,
            _ => runs.push((number, number, owner)),
        }
    }
    reply.array(runs.len());
    for (first, last, owner) in runs {
        let offset = |key: NodeKey, node: &Node| match key == bus.myself() {
            true => bus.my_offset(),
            false => node.offset,
        };
        // In the same order on all nodes: clients compare the replies.
        let mut replicas: Vec<&Node> = table
            .replicas(owner)
            .filter(|(key, node)| !node.is(Flags::FAIL) && offset(*key, node) != 0)
            .map(|(_, node)| node)
            .collect();
        replicas.sort_by_key(|node| node.id);
        reply.array(3 + replicas.len());
        reply.integer(i64::from(first));
        reply.integer(i64::from(last));
        let owner = table.get(owner);
        for node in owner.into_iter().chain(replicas) {
            node_of_slots(cluster, node, v6, reply);
        }
    }
}

fn node_of_slots(cluster: &Cluster, node: &Node, v6: bool, reply: &mut ReplyBuffer) {
    reply.array(4);
    match endpoint(cluster, node, v6) {
        Some(endpoint) => reply.bulk(endpoint.as_bytes()),
        None => reply.null(),
    }
    reply.integer(i64::from(node.address.port));
    reply.bulk(node.id.as_bytes());
    let preferred = cluster.endpoint.load(Ordering::Relaxed);
    let with_ip = preferred != IP;
    let with_host = preferred != HOST_NAME && !node.host_name.is_empty();
    let with_zone = !node.zone.is_empty();
    reply.map(
        [with_ip, with_host, with_zone]
            .map(usize::from)
            .iter()
            .sum(),
    );
    if with_ip {
        reply.bulk(b"ip");
        reply.bulk(node.client_ip(v6).as_bytes());
    }
    if with_host {
        reply.bulk(b"hostname");
        reply.bulk(node.host_name.as_bytes());
    }
    if with_zone {
        reply.bulk(b"availability-zone");
        reply.bulk(node.zone.as_bytes());
    }
}

/// CLUSTER SHARDS.
pub fn shards(cluster: &Cluster, bus: &Bus, v6: bool, reply: &mut ReplyBuffer) {
    let table = bus.table();
    let mut shards: BTreeMap<NodeId, Vec<NodeKey>> = BTreeMap::new();
    for (key, node) in table.iter() {
        if !node.is(Flags::HANDSHAKE) {
            shards.entry(node.shard).or_default().push(key);
        }
    }
    reply.array(shards.len());
    for (shard, keys) in shards {
        reply.map(3);
        reply.bulk(b"slots");
        let nodes = keys.iter().filter_map(|key| table.get(*key));
        let ranges: Vec<(u16, u16)> = nodes.flat_map(|node| node.slots.ranges()).collect();
        reply.array(ranges.len() * 2);
        for (first, last) in ranges {
            reply.integer(i64::from(first));
            reply.integer(i64::from(last));
        }
        reply.bulk(b"nodes");
        reply.array(keys.len());
        for key in keys {
            if let Some(node) = table.get(key) {
                node_of_shard(cluster, bus, (key, node), v6, reply);
            }
        }
        reply.bulk(b"id");
        reply.bulk(shard.as_bytes());
    }
}

fn node_of_shard(
    cluster: &Cluster,
    bus: &Bus,
    (key, node): (NodeKey, &Node),
    v6: bool,
    reply: &mut ReplyBuffer,
) {
    let offset = match key == bus.myself() {
        true => bus.my_offset(),
        false => node.offset,
    };
    let replica = node.is(Flags::REPLICA);
    let health = match node {
        node if node.is(Flags::FAIL) => "fail",
        _ if replica && offset == 0 => "loading",
        _ => "online",
    };
    let optional = [&node.host_name, &node.zone].map(|text| usize::from(!text.is_empty()));
    reply.map(7 + optional.iter().sum::<usize>());
    fn text(reply: &mut ReplyBuffer, name: &str, value: &str) {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    text(reply, "id", node.id.as_str());
    reply.bulk(b"port");
    reply.integer(i64::from(node.address.port));
    text(reply, "ip", node.client_ip(v6));
    let endpoint = endpoint(cluster, node, v6).unwrap_or_default();
    text(reply, "endpoint", endpoint);
    if !node.host_name.is_empty() {
        text(reply, "hostname", &node.host_name);
    }
    text(reply, "role", if replica { "replica" } else { "master" });
    reply.bulk(b"replication-offset");
    reply.integer(i64::try_from(offset).unwrap_or(i64::MAX));
    text(reply, "health", health);
    if !node.zone.is_empty() {
        text(reply, "availability-zone", &node.zone);
    }
}

/// CLUSTER LINKS.
pub fn links(cluster: &Cluster, bus: &Bus, reply: &mut ReplyBuffer) {
    let links = bus.links();
    reply.array(links.len());
    for (link, key, created_ms) in links {
        let outbound = !link.is_inbound();
        let waiting = cluster.queues.bytes(link) as i64;
        let id = bus.table().get(key).map(|node| node.id);
        reply.map(6);
        reply.bulk(b"direction");
        reply.bulk(if outbound { b"to" } else { b"from" });
        reply.bulk(b"node");
        reply.bulk(id.map(|id| id.to_string()).unwrap_or_default().as_bytes());
        reply.bulk(b"create-time");
        reply.integer(created_ms as i64);
        reply.bulk(b"events");
        reply.bulk(if outbound { b"rw" } else { b"r" });
        reply.bulk(b"send-buffer-allocated");
        reply.integer(waiting);
        reply.bulk(b"send-buffer-used");
        reply.integer(waiting);
    }
}
