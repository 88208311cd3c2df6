//! The history that a server has, and whether a replica may go on from where
//! it stands.

use super::ReplicationId;

/// Former names that are remembered. The wire shows only the last one, but any
/// of them is good for a resync.
const FORMER_NAMES: usize = 16;

/// The names of a server's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// Its name now.
    pub id: ReplicationId,
    /// What it was called before, oldest first, and the offset at which each
    /// name ended: at a promotion, or when a primary was restarted.
    pub before: Vec<(ReplicationId, u64)>,
}

impl History {
    /// A history that begins.
    pub fn new(id: ReplicationId) -> History {
        History {
            id,
            before: Vec::new(),
        }
    }

    /// From `end` on the history is called `id`; up to there both names hold.
    pub fn rename(&mut self, id: ReplicationId, end: u64) {
        if self.before.len() == FORMER_NAMES {
            self.before.remove(0);
        }
        self.before.push((self.id, end));
        self.id = id;
    }

    /// What to ask a primary to go on from, having everything up to `end`. A
    /// name under which nothing was written yet is known to nobody else, so
    /// the former one is told.
    pub fn position(&self, end: u64) -> Position {
        let former = self.before.last().filter(|(_, ended)| *ended == end);
        Position {
            id: former.map_or(self.id, |(id, _)| *id),
            offset: end,
        }
    }
}

/// The part of the stream that is still there: from `first` to `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retained {
    /// Offset of the oldest byte.
    pub first: u64,
    /// Offset behind the newest.
    pub end: u64,
}

/// What a replica asks for with PSYNC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The history that it followed.
    pub id: ReplicationId,
    /// How much of it the replica has.
    pub offset: u64,
}

impl Position {
    /// Reads the arguments of PSYNC; `None` is a replica that has nothing
    /// (`? -1`) or nothing known.
    pub fn parse(id: &[u8], first_wanted: i64) -> Option<Position> {
        let id = ReplicationId::parse(id)?;
        let offset = u64::try_from(first_wanted.checked_sub(1)?).ok()?;
        Some(Position { id, offset })
    }
}

/// Why there must be a full sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The replica has nothing to go on from.
    NothingYet,
    /// It followed another history.
    OtherHistory,
    /// It followed ours under its former name, but beyond where that ended.
    BeyondRename,
    /// What it needs next is gone.
    TooOld,
    /// It has more than we do.
    Ahead,
}

/// The answer to PSYNC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The stream goes on from the replica's offset.
    Continue,
    /// It needs everything.
    Full(Refusal),
}

/// Decides on a PSYNC.
pub fn decide(history: &History, retained: Retained, asked: Option<Position>) -> Answer {
    let Some(Position { id, offset }) = asked else {
        return Answer::Full(Refusal::NothingYet);
    };
    if id != history.id {
        let former = history.before.iter().rev().find(|(name, _)| *name == id);
        match former {
            None => return Answer::Full(Refusal::OtherHistory),
            Some((_, end)) if offset > *end => return Answer::Full(Refusal::BeyondRename),
            Some(_) => {}
        }
    }
    if offset < retained.first {
        Answer::Full(Refusal::TooOld)
    } else if offset > retained.end {
        Answer::Full(Refusal::Ahead)
    } else {
        Answer::Continue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(letter: u8) -> ReplicationId {
        ReplicationId::parse(&[letter; 40]).expect("forty letters")
    }

    const RETAINED: Retained = Retained {
        first: 100,
        end: 200,
    };

    fn ask(history: &History, name: u8, offset: u64) -> Answer {
        let asked = Position {
            id: id(name),
            offset,
        };
        decide(history, RETAINED, Some(asked))
    }

    #[test]
    fn what_is_retained_of_our_history_is_continued() {
        let history = History::new(id(b'a'));
        assert_eq!(ask(&history, b'a', 100), Answer::Continue);
        assert_eq!(ask(&history, b'a', 200), Answer::Continue);
        assert_eq!(ask(&history, b'a', 99), Answer::Full(Refusal::TooOld));
        assert_eq!(ask(&history, b'a', 201), Answer::Full(Refusal::Ahead));
        assert_eq!(
            ask(&history, b'b', 150),
            Answer::Full(Refusal::OtherHistory)
        );
        assert_eq!(
            decide(&history, RETAINED, None),
            Answer::Full(Refusal::NothingYet)
        );
    }

    #[test]
    fn a_former_name_holds_up_to_the_promotion() {
        let mut history = History::new(id(b'a'));
        history.rename(id(b'b'), 150);
        assert_eq!(ask(&history, b'a', 150), Answer::Continue);
        assert_eq!(
            ask(&history, b'a', 151),
            Answer::Full(Refusal::BeyondRename)
        );
        assert_eq!(ask(&history, b'b', 180), Answer::Continue);
    }

    #[test]
    fn older_names_hold_too_and_an_unused_name_is_not_told() {
        let mut history = History::new(id(b'a'));
        history.rename(id(b'b'), 120);
        history.rename(id(b'c'), 150);
        assert_eq!(ask(&history, b'a', 120), Answer::Continue);
        assert_eq!(
            ask(&history, b'a', 130),
            Answer::Full(Refusal::BeyondRename)
        );
        assert_eq!(history.position(150).id, id(b'b'));
        assert_eq!(history.position(151).id, id(b'c'));
    }

    #[test]
    fn psync_names_the_first_byte_wanted() {
        let name = [b'a'; 40];
        let asked = |n| Position::parse(&name, n).map(|p| p.offset);
        assert_eq!(asked(1), Some(0));
        assert_eq!(asked(0), None);
        assert_eq!(asked(i64::MIN), None);
        assert_eq!(Position::parse(b"?", -1), None);
    }
}
