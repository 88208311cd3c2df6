//! `nodes.conf`: a node's view of the cluster as text, a line a node, and a
//! last line with the epochs. CLUSTER NODES shows the same lines without the
//! fields behind the host name.
//!
//! ```text
//! <id> <ip>:<port>@<bus port>,<host name>[,<field>=<value>]* <flags> <primary or ->
//!     <ping sent> <pong received> <config epoch> <link> <slot or first-last or [slot->-id]>*
//! vars currentEpoch <n> lastVoteEpoch <n>
//! ```
//!
//! Fields: `nodename`, `client-ipv4`, `client-ipv6`, `availability-zone`, `shard-id`, `tcp-port`,
//! `tls-port`. The caller replaces the file atomically.

use std::fmt::{self, Write};

use crate::flags::Flags;
use crate::identity::{Epoch, NodeId};
use crate::message::Address;
use crate::slots::Slot;
use crate::table::{Node, NodeKey, Table};

/// What the file holds.
#[derive(Clone, Debug)]
pub struct Saved {
    /// Nodes and slots.
    pub table: Table,
    /// This node.
    pub myself: NodeKey,
    /// The current epoch.
    pub current_epoch: Epoch,
    /// The epoch of the last vote given.
    pub last_vote_epoch: Epoch,
}

/// Why a file can't be read: the line (from 1) and what is wrong with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Corrupt {
    /// Its number; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong.
    pub what: &'static str,
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// Which fields a line shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum For {
    /// CLUSTER NODES, to a client that is connected over IPv6 or not.
    Client {
        /// Over IPv6.
        v6: bool,
    },
    /// The file.
    File,
}

/// The line of a node, without its end.
pub fn line(table: &Table, myself: NodeKey, key: NodeKey, reader: For) -> String {
    let mut out = String::new();
    let Some(node) = table.get(key) else {
        return out;
    };
    let Address {
        ip, port, bus_port, ..
    } = &node.address;
    let ip = match reader {
        For::Client { v6 } => node.client_ip(v6),
        For::File => ip,
    };
    let _ = write!(out, "{} {ip}:{port}@{bus_port}", node.id);
    match reader {
        For::File => put_fields(&mut out, node),
        For::Client { .. } if !node.host_name.is_empty() => {
            let _ = write!(out, ",{}", node.host_name);
        }
        For::Client { .. } => {}
    }
    let primary = node.primary.and_then(|key| table.get(key));
    let epoch = primary.unwrap_or(node).config_epoch;
    let link = match node.link.is_some() || key == myself {
        true => "connected",
        false => "disconnected",
    };
    let _ = write!(out, " {} ", node.flags);
    match primary {
        Some(primary) => out.push_str(primary.id.as_str()),
        None => out.push('-'),
    }
    let ping = node.ping_sent_ms.unwrap_or(0);
    let _ = write!(out, " {ping} {} {epoch} {link}", node.pong_received_ms);
    for (first, last) in node.slots.ranges() {
        let _ = match first == last {
            true => write!(out, " {first}"),
            false => write!(out, " {first}-{last}"),
        };
    }
    if key == myself {
        put_open_slots(&mut out, table);
    }
    out
}

fn put_fields(out: &mut String, node: &Node) {
    let _ = write!(out, ",{}", node.host_name);
    let tls = node.address.tls_port;
    let mut field = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = write!(out, ",{name}={value}");
        }
    };
    if tls != 0 {
        field("tls-port", &tls.to_string());
    }
    field("shard-id", node.shard.as_str());
    field("nodename", &node.human_name);
    field("client-ipv4", &node.client_ipv4);
    field("client-ipv6", &node.client_ipv6);
    field("availability-zone", &node.zone);
}

fn put_open_slots(out: &mut String, table: &Table) {
    let moves = |open: &std::collections::BTreeMap<Slot, NodeKey>, arrow: &str| {
        let mut moves: Vec<(Slot, String)> = Vec::new();
        for (slot, key) in open {
            if let Some(node) = table.get(*key) {
                moves.push((*slot, format!(" [{}-{arrow}-{}]", slot.number(), node.id)));
            }
        }
        moves
    };
    let mut all = moves(&table.migrating, ">");
    let importing = moves(&table.importing, "<");
    all.extend(
        importing
            .into_iter()
            .filter(|(slot, _)| !table.migrating.contains_key(slot)),
    );
    all.sort();
    all.iter().for_each(|(_, text)| out.push_str(text));
}

/// The whole file. Nodes in handshake are left out.
pub fn render(table: &Table, myself: NodeKey, current: Epoch, last_vote: Epoch) -> String {
    let mut out = String::new();
    for (key, node) in table.iter() {
        if !node.is(Flags::HANDSHAKE) {
            out.push_str(&line(table, myself, key, For::File));
            out.push('\n');
        }
    }
    let _ = writeln!(out, "vars currentEpoch {current} lastVoteEpoch {last_vote}");
    out
}

/// Reads a file; `now_ms` becomes the time of what it tells as going on. Files
/// of Redis and Valkey are read as well.
pub fn parse(text: &str, now_ms: u64) -> Result<Saved, Corrupt> {
    let mut parser = Parser {
        table: Table::default(),
        myself: None,
        current_epoch: Epoch(0),
        last_vote_epoch: Epoch(0),
        now_ms,
    };
    for (at, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        parser
            .line(line)
            .map_err(|what| Corrupt { line: at + 1, what })?;
    }
    let myself = parser.myself.ok_or(Corrupt {
        line: 0,
        what: "no line is about this node itself",
    })?;
    parser.settle_shards();
    let current_epoch = parser.current_epoch.max(parser.table.max_epoch());
    Ok(Saved {
        table: parser.table,
        myself,
        current_epoch,
        last_vote_epoch: parser.last_vote_epoch,
    })
}

/// The name that stands for a shard which the file doesn't tell.
fn no_shard() -> NodeId {
    NodeId::parse(&[b'0'; 40]).expect("forty zeros are a name")
}

struct Parser {
    table: Table,
    myself: Option<NodeKey>,
    current_epoch: Epoch,
    last_vote_epoch: Epoch,
    now_ms: u64,
}

impl Parser {
    fn line(&mut self, line: &str) -> Result<(), &'static str> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        if words[0].eq_ignore_ascii_case("vars") {
            return self.vars(&words[1..]);
        }
        let [
            id,
            address,
            flags,
            primary,
            ping,
            pong,
            epoch,
            _link,
            slots @ ..,
        ] = &words[..]
        else {
            return Err("a node's line has eight fields at least");
        };
        let key = self.node(id)?;
        self.address(key, address)?;
        let flags = Flags::parse(flags).ok_or("an unknown flag")?;
        if flags.any(Flags::MYSELF) && self.myself.replace(key).is_some() {
            return Err("a second line is about this node itself");
        }
        let primary = match *primary {
            "-" => None,
            id => Some(self.node(id)?),
        };
        let now_ms = self.now_ms;
        let begun = |text: &str| !matches!(text.parse::<i64>(), Ok(0) | Err(_));
        let epoch: u64 = epoch.parse().map_err(|_| "a config epoch is a number")?;
        let node = self.table.get_mut(key).ok_or("a node was lost")?;
        node.flags = flags;
        node.primary = primary;
        node.failed_ms = if flags.any(Flags::FAIL) { now_ms } else { 0 };
        node.ping_sent_ms = begun(ping).then_some(now_ms);
        node.pong_received_ms = if begun(pong) { now_ms } else { 0 };
        let replica = flags.any(Flags::REPLICA) && primary.is_some();
        node.config_epoch = if replica { Epoch(0) } else { Epoch(epoch) };
        slots.iter().try_for_each(|word| self.slots(key, word))
    }

    fn vars(&mut self, words: &[&str]) -> Result<(), &'static str> {
        for pair in words.chunks(2) {
            let [name, value] = pair else {
                return Err("a variable without its value");
            };
            let number = || value.parse::<u64>().map_err(|_| "an epoch is a number");
            if name.eq_ignore_ascii_case("currentEpoch") {
                self.current_epoch = Epoch(number()?);
            } else if name.eq_ignore_ascii_case("lastVoteEpoch") {
                self.last_vote_epoch = Epoch(number()?);
            }
        }
        Ok(())
    }

    /// The node with this name, added if it is new.
    fn node(&mut self, id: &str) -> Result<NodeKey, &'static str> {
        let id = NodeId::parse(id.as_bytes()).ok_or("a node id has forty characters")?;
        Ok(self.table.find(&id).unwrap_or_else(|| {
            let node = Node::new(id, no_shard(), Flags::default(), self.now_ms);
            self.table.add(node)
        }))
    }

    fn address(&mut self, key: NodeKey, text: &str) -> Result<(), &'static str> {
        let mut parts = text.split(',');
        let place = parts.next().unwrap_or_default();
        let (ip, ports) = place.rsplit_once(':').ok_or("an address without a port")?;
        let (port, bus_port) = match ports.split_once('@') {
            Some((port, bus_port)) => (port, Some(bus_port)),
            None => (ports, None),
        };
        let number = |text: &str| text.parse::<u16>().map_err(|_| "a port is a number");
        let port = number(port)?;
        let bus_port = bus_port.map(number).transpose()?;
        let node = self.table.get_mut(key).ok_or("a node was lost")?;
        node.address.ip = ip.into();
        node.address.port = port;
        node.address.bus_port = bus_port.unwrap_or(port.saturating_add(10_000));
        node.host_name = parts.next().unwrap_or_default().into();
        for field in parts {
            let (name, value) = field.split_once('=').ok_or("a field without its value")?;
            match name {
                "shard-id" => {
                    node.shard = NodeId::parse(value.as_bytes()).ok_or("a bad shard id")?;
                }
                "nodename" => node.human_name = value.into(),
                "client-ipv4" => node.client_ipv4 = value.into(),
                "client-ipv6" => node.client_ipv6 = value.into(),
                "availability-zone" => node.zone = value.into(),
                "tls-port" => node.address.tls_port = number(value)?,
                "tcp-port" => node.address.port = number(value)?,
                // Of a later version.
                _ => {}
            }
        }
        Ok(())
    }

    fn slots(&mut self, key: NodeKey, word: &str) -> Result<(), &'static str> {
        let slot = |text: &str| {
            let number = text.parse::<u16>().ok();
            number.and_then(Slot::new).ok_or("a slot out of range")
        };
        if let Some(open) = word.strip_prefix('[') {
            let open = open.strip_suffix(']').ok_or("an open bracket")?;
            let (at, arrow, id) = match (open.split_once("->-"), open.split_once("-<-")) {
                (Some((at, id)), _) => (at, '>', id),
                (None, Some((at, id))) => (at, '<', id),
                (None, None) => return Err("a slot on the move without its other node"),
            };
            let (at, other) = (slot(at)?, self.node(id)?);
            match arrow {
                '>' => self.table.migrating.insert(at, other),
                _ => self.table.importing.insert(at, other),
            };
            return Ok(());
        }
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        for number in slot(first)?.number()..=slot(last)?.number() {
            let at = Slot::new(number).ok_or("a slot out of range")?;
            if self.table.owner(at).is_none() {
                self.table.assign(at, key);
            }
        }
        Ok(())
    }

    /// Replicas belong to their primary's shard; a primary without one (in a
    /// file of an old version) gets its own name.
    fn settle_shards(&mut self) {
        for key in self.table.keys() {
            if let Some(node) = self.table.get_mut(key)
                && node.primary.is_none()
                && node.shard == no_shard()
            {
                node.shard = node.id;
            }
        }
        for key in self.table.keys() {
            let primary = self.table.get(key).and_then(|node| node.primary);
            let shard = primary
                .and_then(|key| self.table.get(key))
                .map(|node| node.shard);
            if let (Some(node), Some(shard)) = (self.table.get_mut(key), shard) {
                node.shard = shard;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
07c37dfeb235213a872192d90877d0cd55635b91 127.0.0.1:30004@31004,,shard-id=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa slave e7d1eecce10fd6bb5eb35b9f99a514335d9ba9ca 0 1426238317239 4 connected
67ed2db8d677e59ec4a4cefb06858cf2a1a89fa1 127.0.0.1:30002@31002,host.example,tls-port=7,nodename=two,availability-zone=zone-b master,fail? - 0 1426238316232 2 connected 5461-10922
e7d1eecce10fd6bb5eb35b9f99a514335d9ba9ca 127.0.0.1:30001@31001,,shard-id=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa myself,master - 0 0 1 connected 0-5459 5460 [5461-<-67ed2db8d677e59ec4a4cefb06858cf2a1a89fa1] [77->-67ed2db8d677e59ec4a4cefb06858cf2a1a89fa1]
vars currentEpoch 6 lastVoteEpoch 5
";

    #[test]
    fn a_file_of_a_peer_is_read_and_written_the_same() {
        let saved = parse(FILE, 1000).expect("it is valid");
        assert_eq!(saved.current_epoch, Epoch(6));
        assert_eq!(saved.last_vote_epoch, Epoch(5));
        let me = saved.table.get(saved.myself).expect("it is there");
        assert_eq!(me.slots.ranges(), [(0, 5460)]);
        assert_eq!(saved.table.replicas(saved.myself).count(), 1);
        let render = |saved: &Saved| {
            let Saved { table, myself, .. } = saved;
            render(table, *myself, saved.current_epoch, saved.last_vote_epoch)
        };
        let text = render(&saved);
        assert!(text.contains("[77->-67ed2db8"), "{text}");
        assert!(text.contains(",host.example,tls-port=7,"), "{text}");
        assert!(text.contains(",availability-zone=zone-b "), "{text}");
        let again = parse(&text, 1000).expect("what is written can be read");
        assert_eq!(render(&again), text);
    }

    #[test]
    fn damaged_files_are_refused_or_read_but_never_panic() {
        let mut random = crate::random::Random::new(3);
        for _ in 0..3000 {
            let mut bytes = FILE.as_bytes().to_vec();
            for _ in 0..=random.below(3) {
                let at = random.below(bytes.len() as u64) as usize;
                match random.below(3) {
                    0 => bytes[at] = b" ,-=:@\n[]>x9"[random.below(12) as usize],
                    1 => drop(bytes.remove(at)),
                    _ => bytes.truncate(at.max(1)),
                }
            }
            let _ = parse(&String::from_utf8_lossy(&bytes), 0);
        }
    }

    #[test]
    fn a_file_without_this_node_is_refused() {
        let text = FILE.replace("myself,", "");
        assert!(parse(&text, 0).is_err());
        assert!(parse("", 0).is_err());
    }
}
