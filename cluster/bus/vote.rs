//! Giving votes. A primary that serves slots votes at most once in an epoch,
//! and its vote is on disk before it is sent.

use std::fmt;

use super::{Bus, Dirty};
use crate::flags::Flags;
use crate::message::{Body, Header, MFLAG_FORCE_ACK};
use crate::table::NodeKey;

/// Why a vote is not given: one for each rule, in the order of the rules.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Denial {
    /// This node serves no slots, so it has no vote.
    NoVote,
    /// The request is of an epoch that is over.
    OldEpoch,
    /// This node has voted in this epoch.
    Voted,
    /// The asking node is a primary.
    NotReplica,
    /// The asking node's primary is not known.
    PrimaryUnknown,
    /// The asking node's primary is up.
    PrimaryUp,
    /// The asking node's primary is this one, and has granted slots that nobody
    /// has claimed yet.
    Granted,
    /// One of the claimed slots has an owner with a greater config epoch.
    OldConfig,
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Denial::NoVote => "this node serves no slots",
            Denial::OldEpoch => "its epoch is over",
            Denial::Voted => "this node has voted in that epoch",
            Denial::NotReplica => "it is a primary",
            Denial::PrimaryUnknown => "its primary is not known",
            Denial::PrimaryUp => "its primary is up",
            Denial::Granted => "slots that this node has granted are not claimed yet",
            Denial::OldConfig => "a slot that it claims has changed hands since",
        })
    }
}

impl Bus {
    /// A replica asks for a vote.
    pub(super) fn asked_for_vote(&mut self, candidate: NodeKey, request: &Header) {
        let Some(id) = self.node(candidate).map(|node| node.id) else {
            return;
        };
        match self.may_vote_for(candidate, request) {
            Ok(()) => {
                self.last_vote_epoch = request.current_epoch;
                if self.node(candidate).and_then(|node| node.primary) == Some(self.myself) {
                    self.voted_for_own();
                }
                self.save(Dirty::Sync);
                self.note(format!("Voted for {id} in epoch {}", request.current_epoch));
                self.send_to(candidate, Body::AuthAck);
            }
            Err(denial) => {
                *self.denials.entry(denial).or_default() += 1;
                if denial != Denial::NoVote {
                    self.note(format!("No vote for {id}: {denial}"));
                }
            }
        }
    }

    /// The rules.
    fn may_vote_for(&self, candidate: NodeKey, request: &Header) -> Result<(), Denial> {
        if !self.me().votes() {
            return Err(Denial::NoVote);
        }
        if request.current_epoch < self.current_epoch {
            return Err(Denial::OldEpoch);
        }
        if self.last_vote_epoch >= request.current_epoch {
            return Err(Denial::Voted);
        }
        let node = self.node(candidate).ok_or(Denial::PrimaryUnknown)?;
        if node.is(Flags::PRIMARY) {
            return Err(Denial::NotReplica);
        }
        let key = node.primary.ok_or(Denial::PrimaryUnknown)?;
        let primary = self.node(key).ok_or(Denial::PrimaryUnknown)?;
        let forced = request.message_flags & MFLAG_FORCE_ACK != 0;
        if !primary.is(Flags::FAIL) && !forced {
            return Err(Denial::PrimaryUp);
        }
        if key == self.myself && self.grants.any() {
            return Err(Denial::Granted);
        }
        let stale = request.slots.iter().any(|slot| {
            let epoch = self.table.owner_epoch(slot);
            epoch.is_some_and(|epoch| epoch > request.config_epoch)
        });
        match stale {
            true => Err(Denial::OldConfig),
            false => Ok(()),
        }
    }
}
