//! Who this server is in replication: the names of its history, and how
//! offsets of the stream map to offsets of its log. Kept in a small file,
//! which also names the directory of the tree: so another tree, with another
//! history, is put in place in one step.
//!
//! ```text
//! check <CRC32C of the lines behind it, eight hexadecimal digits>
//! tree  <name of the tree's directory>
//! id    <replication id> <offset of the stream less that of the log>
//! begin <log offset at which this history begins here>
//! was   <former id> <offset at which it ended>        (oldest first)
//! void  <log offset> <log offset>                     (from, to)
//! copy  <name of a cluster's node>                    (whose data this is)
//! astray                                              (see below)
//! ```
//!
//! Files of older builds have no `check`. One that has it was written after the
//! first commit of a tree: where that has nothing, it is gone.
//!
//! What is void in the log is no part of the history: a replica whose own went
//! beyond where its primary's began goes back that far, and on behind what
//! there is in the log. So no file of the log is ever written over.
//!
//! A replica is astray once tree and log may not lead to what it shows: its own
//! clients have written, which its log does not tell, or a command of its
//! primary's stream has failed. It stays so when it is promoted, up to the next
//! checkpoint: what is logged until then may fail at a restart.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use redoubt_cluster::replication::ReplicationId;
use redoubt_cluster::replication::history::{History, Retained};
use redoubt_persistence::tree::Meta;

use super::spare;

/// The file's name.
pub const FILE: &str = "replication.state";
/// The usual name of the tree's directory.
pub const TREE: &str = "tree";
/// What the names of trees begin with that a full sync loads.
pub const INCOMING: &str = "tree.incoming.";
/// What the file begins with.
const CHECK: &str = "check ";
/// The highest offset that there is.
const MOST: u64 = i64::MAX as u64;

/// Names and offsets of the history that this server has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its names; offsets are those of the stream.
    pub history: History,
    /// Offset of the stream less that of the log. Not zero once a full sync
    /// has put another history behind what is in the log.
    pub base: i64,
    /// The log offset at which the history begins.
    pub begin: u64,
    /// Parts of the log that are void, oldest first.
    pub void: Vec<(u64, u64)>,
    /// The directory of the tree.
    pub tree: String,
    /// The node of a cluster whose data this is a whole copy of, if it is one.
    pub copy_of: Option<String>,
    /// Commands of the log may fail in replay.
    pub astray: bool,
}

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Names and offsets.
    pub identity: Identity,
    /// When it was written there was a tree with a commit.
    pub vouches: bool,
}

impl Identity {
    /// A history that begins with an empty log.
    pub fn new(id: ReplicationId) -> Identity {
        Identity {
            history: History::new(id),
            base: 0,
            begin: 0,
            void: Vec::new(),
            tree: TREE.into(),
            copy_of: None,
            astray: false,
        }
    }

    /// The offset of the stream at an offset of the log.
    pub fn stream_offset(&self, log_offset: u64) -> u64 {
        log_offset.wrapping_add_signed(self.base)
    }

    /// The offset of the log at an offset of the stream.
    pub fn log_offset(&self, stream_offset: u64) -> u64 {
        stream_offset.wrapping_sub(self.base as u64)
    }

    /// What of the stream is there if the log goes from `oldest` to `end`.
    pub fn retained(&self, oldest: u64, end: u64) -> Retained {
        Retained {
            first: self.stream_offset(oldest.max(self.begin).min(end)),
            end: self.stream_offset(end),
        }
    }

    /// Goes back to a log offset: what is behind it is void, and the history
    /// goes on at the log's end. Whoever starts with the tree as of `applied`
    /// has no more use for older void parts.
    pub fn rewind(&mut self, to: u64, end: u64, applied: u64) {
        let offset = self.stream_offset(to);
        self.history.rewind(offset);
        self.base = offset.wrapping_sub(end) as i64;
        self.begin = end;
        self.void.retain(|(_, behind)| *behind > applied);
        self.void.push((to, end));
    }

    /// The parts of the log between two offsets that are not void.
    pub fn valid(&self, from: u64, to: u64) -> Vec<(u64, u64)> {
        let (mut at, mut parts) = (from, Vec::new());
        for &(void, behind) in self.void.iter().filter(|(_, behind)| *behind > from) {
            parts.push((at, void.min(to)));
            at = behind;
        }
        parts.push((at, to));
        parts.retain(|(from, to)| from < to);
        parts
    }

    /// Notes the names in the metadata of a tree.
    pub fn stamp(&self, meta: &mut Meta) {
        meta.replication_id = self.history.id.to_string();
        if let Some((id, end)) = self.history.before.last() {
            meta.replication_id2 = id.to_string();
            meta.second_offset = *end as i64 + 1;
        }
    }

    fn encode(&self) -> String {
        let mut text = format!(
            "tree {}\nid {} {}\nbegin {}\n",
            self.tree, self.history.id, self.base, self.begin
        );
        for (id, end) in &self.history.before {
            text.push_str(&format!("was {id} {end}\n"));
        }
        for (from, to) in &self.void {
            text.push_str(&format!("void {from} {to}\n"));
        }
        if let Some(node) = &self.copy_of {
            text.push_str(&format!("copy {node}\n"));
        }
        if self.astray {
            text.push_str("astray\n");
        }
        format!("{}{text}", check_of(&text))
    }

    fn decode(text: &str) -> Option<Kept> {
        let (checked, lines) = match text.starts_with(CHECK) {
            true => (true, text.split_inclusive('\n').skip(1).collect()),
            false => (false, text.to_owned()),
        };
        if !lines.ends_with('\n') || checked && format!("{}{lines}", check_of(&lines)) != text {
            return None;
        }
        let mut lines = lines
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>());
        let mut head = |name| match lines.next()?.as_slice() {
            [first, words @ ..] if *first == name => Some(words.join(" ")),
            _ => None,
        };
        let (tree, named, begin) = (head("tree")?, head("id")?, head("begin")?);
        let (id, base) = named.split_once(' ')?;
        let mut identity = Identity::new(ReplicationId::parse(id.as_bytes())?);
        (identity.tree, identity.base) = (tree, base.parse().ok()?);
        identity.begin = begin.parse().ok()?;
        for words in lines {
            match words.as_slice() {
                ["void", from, to] => {
                    let part = (from.parse().ok()?, to.parse().ok()?);
                    identity.void.push(part);
                }
                ["copy", node] => identity.copy_of = Some((*node).to_owned()),
                ["astray"] => identity.astray = true,
                ["was", id, end] => {
                    let id = ReplicationId::parse(id.as_bytes())?;
                    identity.history.before.push((id, end.parse().ok()?));
                }
                _ => return None,
            }
        }
        identity.is_possible().then_some(Kept {
            vouches: checked || identity.tree != TREE,
            identity,
        })
    }

    /// Whether the numbers and the tree's name are such as a server gives.
    fn is_possible(&self) -> bool {
        let is_offset = |offset: Option<u64>| offset.is_some_and(|offset| offset <= MOST);
        let mut behind = 0;
        let in_order = |&(from, to): &(u64, u64)| {
            let before = std::mem::replace(&mut behind, to);
            before <= from && from <= to && to <= self.begin
        };
        let incoming = self.tree.strip_prefix(INCOMING);
        (self.tree == TREE || incoming.is_some_and(|number| number.parse::<u32>().is_ok()))
            && is_offset(Some(self.begin))
            && is_offset(self.begin.checked_add_signed(self.base))
            && self.void.iter().all(in_order)
            && (self.history.before.iter()).all(|(_, end)| is_offset(Some(*end)))
    }

    /// Writes the file in `dir`, whole or not at all, durably: [`spare::replace`]
    /// tells what errors mean.
    pub fn save(&self, dir: &Path) -> io::Result<()> {
        spare::replace(dir, FILE, self.encode().as_bytes())
    }

    /// Reads the file in `dir`, if there is one.
    pub fn load(dir: &Path) -> Result<Option<Kept>, String> {
        let path = dir.join(FILE);
        let text = match fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("can't read {}: {error}", path.display())),
        };
        match Identity::decode(&text) {
            Some(kept) => Ok(Some(kept)),
            None => Err(format!(
                "{} is damaged. Restore the directory from a backup or a replica{}",
                path.display(),
                match is_dispensable(dir, &text) {
                    true => "; without this file, once removed, replicas need full syncs",
                    false =>
                        "; to remove just this file may bring back what is void or lose a tree",
                }
            )),
        }
    }
}

/// The line before all others.
fn check_of(lines: &str) -> String {
    format!("{CHECK}{:08x}\n", crc32c::crc32c(lines.as_bytes()))
}

/// Whether log and tree can evidently do without a file that is damaged: none
/// of the log's parts is void, and no tree has yet to take its place.
fn is_dispensable(dir: &Path, text: &str) -> bool {
    let whole = text.starts_with(CHECK) && text.contains("\nbegin ") && text.ends_with('\n');
    let pends = |name: &str| text.contains(name);
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    whole && !["void", INCOMING].into_iter().any(pends) && !names.any(|n| n.starts_with(INCOMING))
}

/// Brings the tree that the file names to its usual place, and removes trees
/// of full syncs that never ended. No tree may be open in `dir`.
pub fn settle_tree(dir: &Path) -> Result<Option<Kept>, String> {
    let kept = Identity::load(dir)?;
    let failed = |error: io::Error| format!("can't settle the tree in {}: {error}", dir.display());
    let kept = match kept {
        Some(mut kept) if kept.identity.tree != TREE => {
            let incoming = dir.join(&kept.identity.tree);
            if incoming.is_dir() {
                remove_dir(&dir.join(TREE)).map_err(failed)?;
                fs::rename(&incoming, dir.join(TREE)).map_err(failed)?;
            }
            kept.identity.tree = TREE.into();
            kept.identity.save(dir).map_err(failed)?;
            Some(kept)
        }
        other => other,
    };
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_name().to_string_lossy().starts_with(INCOMING) {
            remove_dir(&entry.path()).map_err(failed)?;
        }
    }
    Ok(kept)
}

/// Removes the file in `dir`, durably.
pub fn forget(dir: &Path) -> io::Result<()> {
    fs::remove_file(dir.join(FILE))?;
    File::open(dir)?.sync_all()
}

/// Removes a directory and what is in it, if it is there.
pub fn remove_dir(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(letter: u8) -> ReplicationId {
        ReplicationId::parse(&[letter; 40]).expect("forty letters")
    }

    fn identity() -> Identity {
        let mut identity = Identity::new(id(b'a'));
        identity.history.rename(id(b'b'), 7);
        identity.base = -5;
        identity.begin = 12;
        identity.void = vec![(9, 12)];
        identity.tree = "tree.incoming.1".into();
        identity.copy_of = Some("c".repeat(40));
        identity.astray = true;
        identity
    }

    #[test]
    fn the_file_gives_back_what_was_saved() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(Identity::load(dir.path()), Ok(None));
        identity().save(dir.path()).expect("it is written");
        let kept = |vouches| Kept {
            identity: identity(),
            vouches,
        };
        assert_eq!(Identity::load(dir.path()), Ok(Some(kept(true))));
        let text = fs::read_to_string(dir.path().join(FILE)).expect("it can be read");
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        // As an older build left it.
        let older = lines[1..].concat();
        assert_eq!(Identity::decode(&older), Some(kept(true)));
        let older = older.replace("tree.incoming.1", "tree");
        assert!(!Identity::decode(&older).expect("it is whole").vouches);
        for bit in 0..text.len() * 8 {
            let mut bytes = text.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let damaged = Identity::decode(&String::from_utf8_lossy(&bytes));
            assert_eq!(damaged, None, "bit {bit}");
        }
        for end in 0..text.len() {
            assert_eq!(Identity::decode(&text[..end]), None, "{end} bytes");
        }
        for gone in 1..lines.len() {
            let rest = [&lines[..gone], &lines[gone + 1..]].concat().concat();
            assert_eq!(Identity::decode(&rest), None, "without {}", lines[gone]);
        }
    }

    #[test]
    fn numbers_out_of_their_ranges_and_foreign_trees_are_refused() {
        let good = format!("tree tree\nid {} 0\nbegin 50\nvoid 5 20\n", "a".repeat(40));
        assert!(Identity::decode(&good).is_some());
        let bad = [
            ("tree tree", "tree ../other"),
            ("tree tree", "tree tree.incoming.1/../../other"),
            ("tree tree", "tree tree.incoming."),
            (" 0\nbegin", " -51\nbegin"),
            (" 0\nbegin", " 9223372036854775807\nbegin"),
            ("begin 50", "begin 18446744073709551615"),
            ("begin 50\n", ""),
            ("void 5 20", "void 20 5"),
            ("void 5 20", "void 5 51"),
            ("void 5 20", "void 5 20\nvoid 19 21"),
            ("void 5 20", "begin 50"),
            ("void 5 20\n", "void 5 20"),
        ];
        for (from, to) in bad {
            let text = good.replacen(from, to, 1);
            assert_eq!(Identity::decode(&text), None, "{text}");
        }
    }

    #[test]
    fn to_remove_a_damaged_file_is_advised_only_where_nothing_depends_on_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join(FILE);
        let advised = || {
            let error = Identity::load(dir.path()).expect_err("it is damaged");
            error.contains("once removed")
        };
        let mut plain = Identity::new(id(b'a'));
        plain.save(dir.path()).expect("it is written");
        let text = fs::read_to_string(&file).expect("it can be read");
        let damaged = text.replace("begin 0", "begin 1");
        fs::write(&file, &damaged).expect("it is written");
        assert!(advised());
        fs::create_dir(dir.path().join("tree.incoming.3")).expect("it is made");
        assert!(!advised());
        fs::remove_dir(dir.path().join("tree.incoming.3")).expect("it is removed");
        fs::write(&file, &damaged[..damaged.len() - 3]).expect("it is written");
        assert!(!advised());
        (plain.begin, plain.void) = (9, vec![(3, 9)]);
        plain.save(dir.path()).expect("it is written");
        let text = fs::read_to_string(&file).expect("it can be read");
        fs::write(&file, text.replace("begin 9", "begin 8")).expect("it is written");
        assert!(!advised());
    }

    #[test]
    fn offsets_map_both_ways() {
        let identity = identity();
        assert_eq!(identity.stream_offset(20), 15);
        assert_eq!(identity.log_offset(15), 20);
        let retained = identity.retained(3, 40);
        assert_eq!((retained.first, retained.end), (7, 35));
    }

    #[test]
    fn what_is_void_is_left_out_and_the_history_goes_on_behind_it() {
        let mut identity = Identity::new(id(b'a'));
        identity.history.rename(id(b'b'), 130);
        identity.rewind(100, 150, 40);
        assert_eq!((identity.history.id, identity.begin), (id(b'a'), 150));
        assert_eq!(identity.stream_offset(150), 100);
        assert_eq!(identity.valid(40, 200), [(40, 100), (150, 200)]);
        assert_eq!(identity.valid(100, 200), [(150, 200)]);
        assert_eq!(identity.valid(150, 200), [(150, 200)]);
        assert_eq!(identity.valid(160, 160), []);
        let mut twice = identity.clone();
        twice.rewind(170, 190, 40);
        assert_eq!(twice.stream_offset(190), 120);
        assert_eq!(twice.valid(40, 200), [(40, 100), (150, 170), (190, 200)]);
        identity.rewind(170, 190, 160);
        assert_eq!(identity.void, [(170, 190)]);
    }

    #[test]
    fn a_tree_is_settled_wherever_a_crash_left_it() {
        for crash in 0..3 {
            let dir = tempfile::tempdir().expect("a directory");
            let path = |name: &str| dir.path().join(name);
            for name in ["tree", "tree.incoming.1", "tree.incoming.2"] {
                fs::create_dir(path(name)).expect("it is made");
                fs::write(path(name).join("content"), name).expect("it is written");
            }
            identity().save(dir.path()).expect("it is written");
            if crash > 0 {
                remove_dir(&path("tree")).expect("it is removed");
            }
            if crash > 1 {
                fs::rename(path("tree.incoming.1"), path("tree")).expect("it is renamed");
            }
            let settled = settle_tree(dir.path())
                .expect("it settles")
                .expect("a file");
            assert_eq!(settled.identity.tree, TREE);
            let content = fs::read_to_string(path("tree/content")).expect("the tree");
            assert_eq!(content, "tree.incoming.1", "crash {crash}");
            assert!(!path("tree.incoming.1").exists() && !path("tree.incoming.2").exists());
        }
    }
}
