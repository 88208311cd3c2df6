//! What DEBUG does to the bus, for tests: packets of a type are lost,
//! connections are closed.

use super::Bus;
use super::admin::Refusal;
use crate::identity::NodeId;
use crate::message::Kind;
use crate::table::LinkId;

/// Where the type stands in a packet.
const TYPE_AT: std::ops::Range<usize> = 12..14;

/// What is to be lost.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// Packets of this type, as they come in.
    kind: Option<u16>,
    /// And with them their connection.
    close: bool,
}

impl Bus {
    /// From now on packets of this type are lost; None: no longer.
    pub fn lose_packets(&mut self, kind: Option<u16>) {
        self.losses.kind = kind;
    }

    /// Whether a lost packet's connection is closed.
    pub fn close_on_loss(&mut self, close: bool) {
        self.losses.close = close;
    }

    /// Closes the connections to and from a node.
    pub fn close_links(&mut self, id: &str, to: bool, from: bool) -> Result<(), Refusal> {
        let unknown = || Refusal::UnknownNode(id.into());
        let id = NodeId::parse(id.as_bytes()).ok_or_else(unknown)?;
        let node = self.table.find(&id).and_then(|key| self.node(key));
        let node = node.ok_or_else(unknown)?;
        let chosen = [node.link.filter(|_| to), node.inbound.filter(|_| from)];
        chosen
            .into_iter()
            .flatten()
            .for_each(|link| self.close(link));
        Ok(())
    }

    /// Whether a packet is one of those to be lost.
    pub(super) fn is_lost(&mut self, link: LinkId, packet: &[u8]) -> bool {
        let Some(kind) = self.losses.kind else {
            return false;
        };
        let lost = packet.get(TYPE_AT) == Some(&kind.to_be_bytes()[..]);
        if lost && let Some(kind) = Kind::ALL.get(usize::from(kind)) {
            *self.stats.received.entry(*kind).or_default() += 1;
        }
        if lost && self.losses.close {
            self.close(link);
        }
        lost
    }
}
