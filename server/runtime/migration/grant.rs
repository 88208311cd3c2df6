//! What a source does once it has granted its slots: it waits until it is known
//! whether the target has claimed them. Only the target can say, and it may die.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use parking_lot::RwLockReadGuard;
use redoubt_cluster::bus::{Bus, Inquiry, MoveRefusal};
use redoubt_cluster::slot_migration::State;
use redoubt_cluster::slot_set::SlotSet;
use redoubt_cluster::slots::Slot;

use super::LOOK;
use super::export::{Export, failed, lost};
use super::peer::{Peer, TIMED_OUT};
use crate::cluster::Cluster;
use crate::cluster::migration::Stop;
use crate::commands::effects::encode;
use crate::runtime::outgoing;

/// That slots are granted and it is not known yet what became of that. No
/// replica of this node takes over meanwhile.
pub(super) struct Grant<'c>(&'c Cluster);

impl<'c> Grant<'c> {
    /// Grants slots, unless a replica may be about to take over with them.
    pub(super) fn give(cluster: &'c Cluster, slots: &SlotSet) -> Result<Grant<'c>, MoveRefusal> {
        let given = cluster.order(|bus| bus.grant(slots));
        given.map(|()| Grant(cluster))
    }
}

impl Drop for Grant<'_> {
    fn drop(&mut self) {
        self.0.order(Bus::end_grant);
    }
}

/// What the target says of the slots.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    /// Nothing, or nothing that settles it.
    None,
    /// They are its own, or were.
    Claimed,
    /// It has none of them, and is not going to claim them.
    Refused,
}

impl Export {
    /// Waits until it is known whether the target has claimed the slots. With
    /// time alone they don't come back: this process may have been stopped
    /// meanwhile, and what the target says lies in a socket. `turn` keeps
    /// checkpoints away, for as long as that may be.
    pub(super) fn settle(
        &self,
        peer: &mut Peer,
        address: SocketAddr,
        broken: bool,
        turn: RwLockReadGuard<'_, ()>,
    ) -> Result<(), Stop> {
        let mut turn = Some(turn);
        let began = Instant::now();
        let patience = self.hand_over_patience();
        let (mut word, mut inquiry) = (Word::None, Inquiry::default());
        loop {
            if self.have_left() {
                return Ok(());
            }
            if self.server.replication.is_replica() {
                return Err(failed("A failover occurred during slot migration"));
            }
            let late = began.elapsed() > patience;
            if late && turn.take().is_some() {
                let (name, target) = (self.job.plan.name, self.job.plan.target);
                tracing::warn!(
                    "Slot migration {name}: {target} was granted the slots and has not claimed \
                     them. Writes to them wait until it says so, or has failed"
                );
            }
            let closed = broken || peer.is_closed();
            if (closed || late) && word == Word::None {
                word = self.target_says(address);
            }
            if word == Word::Refused {
                return Err(if late { failed(TIMED_OUT) } else { lost() });
            }
            let target = self.job.plan.target;
            if late && word == Word::None {
                let keep = |bus: &mut Bus| bus.keep_granted(&target, &mut inquiry);
                if self.cluster.order(keep) {
                    return Err(failed(TIMED_OUT));
                }
            }
            match (closed, late) {
                (true, _) => std::thread::sleep(LOOK),
                (false, true) => drop(peer.hear(LOOK)),
                (false, false) => drop(peer.hear(Duration::from_millis(1))),
            }
        }
    }

    /// Whether none of the slots is this node's any more.
    fn have_left(&self) -> bool {
        self.cluster.read(|bus| {
            let mut slots = self.job.plan.slots.iter();
            !slots.any(|slot| bus.table().owner(slot) == Some(bus.myself()))
        })
    }

    /// Asks the target.
    fn target_says(&self, address: SocketAddr) -> Word {
        let patience = Duration::from_millis(500);
        let Some(answer) = self.ask(address, patience) else {
            return Word::None;
        };
        let myself = answer.lines().find(|line| line.contains("myself"));
        let Some(myself) = myself else {
            return Word::None;
        };
        let has = |slot: Slot| has_slot(myself, slot.number());
        if self.job.plan.slots.iter().any(has) {
            return Word::Claimed;
        }
        let name = self.job.plan.name.as_str();
        let Some((_, about)) = answer.split_once(name) else {
            return Word::Refused;
        };
        let state = about.split("\r\nstate\r\n").nth(1);
        let state = state.and_then(|rest| rest.lines().nth(1));
        let state = state.unwrap_or_default();
        let is = |over: State| over.name() == state;
        match (
            is(State::Failed) || is(State::Cancelled),
            is(State::Success),
        ) {
            (true, _) => Word::Refused,
            (_, true) => Word::Claimed,
            _ => Word::None,
        }
    }

    /// The target's migrations, then its nodes.
    fn ask(&self, address: SocketAddr, patience: Duration) -> Option<String> {
        let mut stream = outgoing::connect(self.server, &address, patience).ok()?;
        stream.set_read_timeout(Some(patience)).ok()?;
        let mut bytes = Vec::new();
        let login = self.login();
        if !login.is_empty() {
            let words: Vec<&[u8]> = login.iter().map(Vec::as_slice).collect();
            encode(&mut bytes, &words);
        }
        encode(&mut bytes, &[b"CLUSTER", b"GETSLOTMIGRATIONS"]);
        encode(&mut bytes, &[b"CLUSTER", b"NODES"]);
        encode(&mut bytes, &[b"PING"]);
        stream.write_all(&bytes).ok()?;
        let (mut answer, mut chunk) = (Vec::new(), [0; 4096]);
        while !answer.ends_with(b"+PONG\r\n") {
            match stream.read(&mut chunk) {
                Ok(count) if count > 0 => answer.extend_from_slice(&chunk[..count]),
                _ => return None,
            }
        }
        Some(String::from_utf8_lossy(&answer).into_owned())
    }
}

/// Whether a line of CLUSTER NODES gives a slot to its node.
fn has_slot(line: &str, slot: u16) -> bool {
    line.split(' ').skip(8).any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        match (first.parse::<u16>(), last.trim_end().parse::<u16>()) {
            (Ok(first), Ok(last)) => (first..=last).contains(&slot),
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_nodes_says_whose_a_slot_is() {
        let line = "id 127.0.0.1:1@2 myself,master - 0 0 3 connected 0-5 7 9-10 [12->-id]\r";
        for slot in [0, 3, 5, 7, 9, 10] {
            assert!(has_slot(line, slot), "{slot}");
        }
        for slot in [6, 8, 11, 12] {
            assert!(!has_slot(line, slot), "{slot}");
        }
        assert!(!has_slot("id x myself,master - 0 0 3 connected", 0));
    }
}
