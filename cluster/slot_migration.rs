//! Atomic slot migration: what two nodes say to each other while slots move
//! from one, the source, to the other, the target.
//!
//! The source connects to the target's port for clients. Then, all of it as
//! commands `CLUSTER SYNCSLOTS …`:
//!
//! | source | target | then |
//! |---|---|---|
//! | `ESTABLISH SOURCE id NAME name SLOTSRANGE first last …` | `+OK` | |
//! | `ACK` each second | `ACK` each second | the other end lives |
//! | commands that make the keys, as of one moment | | the target stores them; nobody sees them |
//! | `SNAPSHOT-EOF` | | |
//! | what happened to these slots since that moment | `REQUEST-PAUSE` | once it has stored the snapshot |
//! | the rest, `PAUSED` | | writes to these slots wait at the source |
//! | | `REQUEST-FAILOVER` | once it has stored that rest |
//! | `FAILOVER-GRANTED` | | the source serves no write of these slots any more |
//! | | | the target claims the slots under a new config epoch, tells everybody, closes |
//!
//! Whoever loses the other before the grant gives up; the slots stay with the
//! source, and the target drops what it has. Behind the grant the target
//! decides, until [`GRANT_SHARE`] of the source's patience is over.
//!
//! Source: what Valkey 9.1 puts on the wire.

use std::fmt::Write;

use crate::identity::NodeId;
use crate::slot_set::SlotSet;
use crate::slots::Slot;

/// The target uses a grant only within one part in so many of the time for
/// which the source waits for it: behind that the source takes its slots back.
pub const GRANT_SHARE: u64 = 2;

/// Which end of a migration this node is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// It gives slots away.
    Export,
    /// It takes them.
    Import,
}

impl Side {
    /// As CLUSTER GETSLOTMIGRATIONS has it.
    pub fn name(self) -> &'static str {
        match self {
            Side::Export => "EXPORT",
            Side::Import => "IMPORT",
        }
    }
}

/// How far a migration has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum State {
    Connecting,
    Authenticating,
    Establishing,
    WaitingToSnapshot,
    Snapshotting,
    Streaming,
    WaitingToPause,
    FailoverPaused,
    WaitingForAck,
    ReceivingSnapshot,
    WaitingForPaused,
    FailoverRequested,
    FailoverGranted,
    Success,
    Failed,
    Cancelled,
}

impl State {
    /// As CLUSTER GETSLOTMIGRATIONS has it.
    pub fn name(self) -> &'static str {
        match self {
            State::Connecting => "connecting",
            State::Authenticating => "authenticating",
            State::Establishing => "sending-establish-command",
            State::WaitingToSnapshot => "waiting-to-snapshot",
            State::Snapshotting => "snapshotting",
            State::Streaming => "replicating",
            State::WaitingToPause => "waiting-to-pause",
            State::FailoverPaused => "failover-paused",
            State::WaitingForAck => "waiting-for-ack",
            State::ReceivingSnapshot => "receiving-snapshot",
            State::WaitingForPaused => "waiting-for-paused",
            State::FailoverRequested => "failover-requested",
            State::FailoverGranted => "failover-granted",
            State::Success => "success",
            State::Failed => "failed",
            State::Cancelled => "cancelled",
        }
    }

    /// Whether nothing follows it.
    pub fn is_final(self) -> bool {
        matches!(self, State::Success | State::Failed | State::Cancelled)
    }
}

/// The slots that a migration is about, and who it is with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The migration's name: 40 characters that no other has.
    pub name: NodeId,
    /// Who gives.
    pub source: NodeId,
    /// Who takes.
    pub target: NodeId,
    /// What.
    pub slots: SlotSet,
}

/// Ranges of slots as CLUSTER GETSLOTMIGRATIONS has them.
pub fn ranges_text(slots: &SlotSet) -> String {
    let mut text = String::new();
    for (first, last) in slots.ranges() {
        let space = if text.is_empty() { "" } else { " " };
        let _ = write!(text, "{space}{first}-{last}");
    }
    text
}

/// What a node says. See the table above.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Message {
    Establish {
        source: NodeId,
        name: NodeId,
        slots: SlotSet,
    },
    Ack,
    SnapshotEof,
    RequestPause,
    Paused,
    RequestFailover,
    FailoverGranted,
}

/// The messages that are one word, and that word.
const SINGLE: [(&str, Message); 6] = [
    ("ACK", Message::Ack),
    ("SNAPSHOT-EOF", Message::SnapshotEof),
    ("REQUEST-PAUSE", Message::RequestPause),
    ("PAUSED", Message::Paused),
    ("REQUEST-FAILOVER", Message::RequestFailover),
    ("FAILOVER-GRANTED", Message::FailoverGranted),
];

impl Message {
    /// Reads the words behind `CLUSTER SYNCSLOTS`.
    pub fn parse(words: &[&[u8]]) -> Option<Message> {
        let (word, rest) = words.split_first()?;
        if word.eq_ignore_ascii_case(b"ESTABLISH") {
            return establish(rest);
        }
        let found = SINGLE
            .iter()
            .find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()));
        found.filter(|_| rest.is_empty()).map(|(_, m)| m.clone())
    }

    /// All its words.
    pub fn words(&self) -> Vec<String> {
        let mut words = vec!["CLUSTER".to_owned(), "SYNCSLOTS".to_owned()];
        match self {
            Message::Establish {
                source,
                name,
                slots,
            } => {
                words.extend(["ESTABLISH", "SOURCE", source.as_str()].map(str::to_owned));
                words.extend(["NAME", name.as_str(), "SLOTSRANGE"].map(str::to_owned));
                for (first, last) in slots.ranges() {
                    words.extend([first.to_string(), last.to_string()]);
                }
            }
            other => {
                let found = SINGLE.iter().find(|(_, message)| message == other);
                words.extend(found.map(|(word, _)| (*word).to_owned()));
            }
        }
        words
    }
}

fn establish(words: &[&[u8]]) -> Option<Message> {
    let (mut source, mut name, mut slots) = (None, None, SlotSet::default());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word.eq_ignore_ascii_case(b"SOURCE") {
            source = Some(NodeId::parse(words.next()?)?);
        } else if word.eq_ignore_ascii_case(b"NAME") {
            name = Some(NodeId::parse(words.next()?)?);
        } else if word.eq_ignore_ascii_case(b"SLOTSRANGE") {
            let rest = words.as_slice();
            if rest.is_empty() || !rest.len().is_multiple_of(2) {
                return None;
            }
            for pair in rest.chunks(2) {
                add_range(&mut slots, pair[0], pair[1])?;
            }
            break;
        } else {
            return None;
        }
    }
    let (source, name) = (source?, name?);
    (!slots.is_empty()).then_some(Message::Establish {
        source,
        name,
        slots,
    })
}

/// Adds slots, none of which may be there already.
fn add_range(slots: &mut SlotSet, first: &[u8], last: &[u8]) -> Option<()> {
    let number = |word| std::str::from_utf8(word).ok()?.parse::<u16>().ok();
    let (first, last) = (number(first)?, number(last)?);
    if first > last {
        return None;
    }
    for number in first..=last {
        slots.insert(Slot::new(number)?).then_some(())?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn parse(words: &[String]) -> Option<Message> {
        let words: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
        Message::parse(words.get(2..)?)
    }

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let mut random = Random::new(3);
        let slots = [1, 2, 3, 9, 16383].map(|n| Slot::new(n).expect("a slot"));
        let establish = Message::Establish {
            source: NodeId::random(&mut random),
            name: NodeId::random(&mut random),
            slots: slots.into_iter().collect(),
        };
        let all = SINGLE.into_iter().map(|(_, message)| message);
        for message in all.chain([establish]) {
            assert_eq!(parse(&message.words()), Some(message));
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let id = "0123456789012345678901234567890123456789";
        for text in [
            "",
            "x",
            "ACK x",
            "ESTABLISH",
            "ESTABLISH SOURCE x",
            &format!("ESTABLISH SOURCE {id} NAME {id}"),
            &format!("ESTABLISH SOURCE {id} NAME {id} SLOTSRANGE"),
            &format!("ESTABLISH SOURCE {id} NAME {id} SLOTSRANGE 1"),
            &format!("ESTABLISH SOURCE {id} NAME {id} SLOTSRANGE 2 1"),
            &format!("ESTABLISH SOURCE {id} NAME {id} SLOTSRANGE 1 16384"),
            &format!("ESTABLISH SOURCE {id} NAME {id} SLOTSRANGE 1 3 3 4"),
            &format!("ESTABLISH SOURCE {id} SLOTSRANGE 1 1"),
        ] {
            let words: Vec<&[u8]> = text.split_whitespace().map(str::as_bytes).collect();
            assert_eq!(Message::parse(&words), None, "{text}");
        }
    }

    #[test]
    fn ranges_are_told_as_first_and_last() {
        let slots = [5, 6, 8].map(|n| Slot::new(n).expect("a slot"));
        let slots: SlotSet = slots.into_iter().collect();
        assert_eq!(ranges_text(&slots), "5-6 8-8");
    }
}
