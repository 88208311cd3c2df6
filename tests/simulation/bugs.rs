//! Bugs planted around the real state machine, at its disk, its inputs and
//! its packets: each makes a node behave as if a rule were missing from its
//! code. The invariants have to catch every one of them.

use redoubt_cluster::bus::Output;
use redoubt_cluster::identity::Epoch;
use redoubt_cluster::message::{Body, Message, decode, encode};

/// Epochs up to this one are given when the cluster is formed.
const FIRST_EPOCHS: Epoch = Epoch(20);

/// A bug.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bug {
    /// Every request for a vote gets one.
    DoubleVote,
    /// The file is only written, never synced: a crash forgets votes.
    VoteWithoutSync,
    /// The file is never written at all after the first time.
    NothingPersisted,
    /// Epochs start from zero at each restart.
    EpochsForgotten,
    /// Claims count under any epoch, the older ones too.
    StaleEpochAccepted,
    /// Replicas pass for fresh whatever the age of their data.
    StaleDataTakesOver,
    /// A winner takes over under its old epoch.
    WinnerKeepsEpoch,
    /// Votes are lost: nobody is ever elected.
    VotesLost,
    /// Candidates count votes that nobody gave.
    VotesForged,
    /// Claims of slots are not taken in.
    ClaimsIgnored,
    /// A replica replicates itself into the past: its copy is never complete.
    CopyNeverCompletes,
}

impl Bug {
    /// All of them.
    pub const ALL: [Bug; 11] = [
        Bug::DoubleVote,
        Bug::VoteWithoutSync,
        Bug::NothingPersisted,
        Bug::EpochsForgotten,
        Bug::StaleEpochAccepted,
        Bug::StaleDataTakesOver,
        Bug::WinnerKeepsEpoch,
        Bug::VotesLost,
        Bug::VotesForged,
        Bug::ClaimsIgnored,
        Bug::CopyNeverCompletes,
    ];

    /// What becomes of a packet before the state machine sees it.
    pub fn incoming(self, packet: &[u8]) -> Option<Vec<u8>> {
        let Ok(Message::Full(mut header, body)) = decode(packet) else {
            return Some(packet.to_vec());
        };
        match (self, &body) {
            (Bug::StaleEpochAccepted, Body::Heartbeat { .. }) if header.primary.is_none() => {
                // As if the comparison were missing: the latest word wins.
                header.config_epoch = Epoch(header.config_epoch.0 + header.current_epoch.0 + 1);
            }
            (Bug::VotesLost, Body::AuthAck) => return None,
            (Bug::ClaimsIgnored, Body::Heartbeat { .. }) if header.config_epoch > FIRST_EPOCHS => {
                header.slots = Default::default();
            }
            _ => return Some(packet.to_vec()),
        }
        Some(encode(&Message::Full(header, body)))
    }

    /// What becomes of an output before it is carried out.
    pub fn outgoing(self, output: Output) -> Option<Output> {
        match (self, output) {
            (Bug::VoteWithoutSync, Output::Persist { text, .. }) => {
                Some(Output::Persist { text, sync: false })
            }
            (Bug::NothingPersisted, Output::Persist { .. }) => None,
            (Bug::WinnerKeepsEpoch, Output::Send(link, packet)) => {
                Some(Output::Send(link, with_old_epoch(&packet).into()))
            }
            (_, output) => Some(output),
        }
    }

    /// What a node reads of its disk when it starts.
    pub fn saved(self, text: &str) -> String {
        if self != Bug::EpochsForgotten {
            return text.to_owned();
        }
        let lines = text.lines().filter(|line| !line.starts_with("vars"));
        lines.map(|line| format!("{line}\n")).collect()
    }
}

/// A packet of a primary that won an election, as it would be had the winner
/// kept its old epoch.
fn with_old_epoch(packet: &[u8]) -> Vec<u8> {
    let Ok(Message::Full(mut header, body)) = decode(packet) else {
        return packet.to_vec();
    };
    if header.primary.is_none() && header.config_epoch > FIRST_EPOCHS {
        header.config_epoch = Epoch(1);
    }
    encode(&Message::Full(header, body))
}
