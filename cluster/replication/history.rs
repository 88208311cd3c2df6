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

impl History {
    /// As [`History::position`], under a name that another one knows as well.
    pub fn position_in(&self, end: u64, other: &Names) -> Position {
        let known = |id: &ReplicationId| other.0.iter().any(|(name, to)| name == id && *to >= end);
        let mut shared = self.names(end).filter(|(id, to)| *to == end && known(id));
        match shared.next() {
            Some((id, offset)) => Position { id, offset },
            None => self.position(end),
        }
    }

    /// Its names with the offsets at which they end, if it has come to `end`.
    fn names(&self, end: u64) -> impl Iterator<Item = (ReplicationId, u64)> {
        let former = self.before.iter().copied();
        former.chain(std::iter::once((self.id, end)))
    }

    /// Whether it is, or was once, called so.
    pub fn knows(&self, id: ReplicationId) -> bool {
        self.names(0).any(|(name, _)| name == id)
    }

    /// Up to where this history, having come to `end`, is the same as another
    /// one: what they have in common under a name that both know. None if they
    /// know none.
    pub fn common(&self, end: u64, other: &Names) -> Option<u64> {
        let shared = self.names(end).filter_map(|(name, ours)| {
            let known = other.0.iter().filter(|(id, _)| *id == name);
            known.map(|(_, theirs)| ours.min(*theirs)).max()
        });
        shared.max()
    }

    /// Its former names as the field [`FORMER`] of INFO tells them, which
    /// [`Names::parse`] reads.
    pub fn former_names(&self) -> String {
        let former = self.before.iter();
        let former: Vec<String> = former.map(|(id, end)| format!("{id}={end}")).collect();
        former.join(",")
    }

    /// Goes back to `offset`: what came behind it never was.
    pub fn rewind(&mut self, offset: u64) {
        let holds = self.before.iter().position(|(_, end)| *end >= offset);
        if let Some(at) = holds {
            self.id = self.before[at].0;
            self.before.truncate(at);
        }
    }
}

/// The names that another server's history has, each with the offset up to
/// which that server has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names(pub Vec<(ReplicationId, u64)>);

impl Names {
    /// Reads them in the section `replication` of a server's INFO: Redis and
    /// Valkey tell two, ours all.
    pub fn parse(info: &str) -> Names {
        let field = |name: &str| {
            let mut values = info.lines().filter_map(|line| line.strip_prefix(name));
            values.find_map(|rest| rest.strip_prefix(':'))
        };
        let named = |name: &str, end: Option<u64>| {
            let id = ReplicationId::parse(field(name)?.as_bytes())?;
            end.map(|end| (id, end))
        };
        let number = |name: &str| field(name)?.parse::<u64>().ok();
        let second = number("second_repl_offset").and_then(|first| first.checked_sub(1));
        let mut names: Vec<(ReplicationId, u64)> = field(FORMER)
            .unwrap_or_default()
            .split(',')
            .filter_map(|part| {
                let (id, end) = part.split_once('=')?;
                Some((ReplicationId::parse(id.as_bytes())?, end.parse().ok()?))
            })
            .collect();
        names.extend(named("master_replid2", second));
        names.extend(named("master_replid", number("master_repl_offset")));
        Names(names)
    }
}

/// The field of INFO with all former names: `<id>=<end>,…`.
pub const FORMER: &str = "former_replids";

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
        // Another one may never have heard of names that were hardly in use.
        history.rename(id(b'd'), 150);
        let shared = |name, end| {
            let names = Names(vec![(id(name), end), (id(b'x'), 190)]);
            history.position_in(150, &names).id
        };
        assert_eq!(shared(b'b', 150), id(b'b'));
        assert_eq!(shared(b'c', 160), id(b'c'));
        assert_eq!(shared(b'b', 149), history.position(150).id);
        assert_eq!(shared(b'a', 150), history.position(150).id);
        assert!(history.knows(id(b'a')) && history.knows(id(b'd')));
        assert!(!history.knows(id(b'x')));
    }

    #[test]
    fn histories_part_where_the_name_that_both_know_ended_first() {
        let mut ours = History::new(id(b'a'));
        let names = |list: &[(u8, u64)]| Names(list.iter().map(|(n, e)| (id(*n), *e)).collect());
        assert_eq!(
            ours.common(170, &names(&[(b'a', 150), (b'n', 190)])),
            Some(150)
        );
        assert_eq!(
            ours.common(140, &names(&[(b'a', 150), (b'n', 190)])),
            Some(140)
        );
        assert_eq!(ours.common(140, &names(&[(b'x', 150)])), None);
        ours.rename(id(b'b'), 170);
        ours.rename(id(b'c'), 180);
        assert_eq!(
            ours.common(185, &names(&[(b'a', 150), (b'n', 190)])),
            Some(150)
        );
        assert_eq!(
            ours.common(185, &names(&[(b'a', 170), (b'b', 175)])),
            Some(175)
        );
        let mut back = ours.clone();
        back.rewind(175);
        assert_eq!(
            (back.id, back.before.as_slice()),
            (id(b'b'), &[(id(b'a'), 170)][..])
        );
        back.rewind(170);
        assert_eq!((back.id, back.before.len()), (id(b'a'), 0));
        ours.rewind(190);
        assert_eq!((ours.id, ours.before.len()), (id(b'c'), 2));
    }

    #[test]
    fn the_names_of_another_are_read_from_its_info() {
        let (a, b, c) = ("a".repeat(40), "b".repeat(40), "c".repeat(40));
        let valkey = format!(
            "# Replication\r\nrole:master\r\nmaster_replid:{c}\r\nmaster_replid2:{b}\r\n\
             master_repl_offset:200\r\nsecond_repl_offset:151\r\n"
        );
        let two = vec![(id(b'b'), 150), (id(b'c'), 200)];
        assert_eq!(Names::parse(&valkey).0, two);
        let ours = format!("{valkey}former_replids:{a}=100,{b}=150\r\n");
        let all = [vec![(id(b'a'), 100), (id(b'b'), 150)], two].concat();
        assert_eq!(Names::parse(&ours).0, all);
        let fresh = valkey.replace(":151", ":-1").replace(&b, &"0".repeat(40));
        assert_eq!(Names::parse(&fresh).0, [(id(b'c'), 200)]);
        assert_eq!(Names::parse("nonsense\nformer_replids:x=1,,=\n").0, []);
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
