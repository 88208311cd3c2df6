//! A keyspace with a tree, and whatever happens to large values: what each
//! commit holds is what the keyspace held when the checkpoint began (I4).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redoubt_persistence::tree::{Meta, Tree, TreeOptions};
use tempfile::TempDir;

use crate::keyspace::checkpoint::{Frozen, Rows};
use crate::keyspace::codec::{decode_payload, encode_payload};
use crate::keyspace::db::Db;
use crate::keyspace::entry::{Value, ValueRef};
use crate::keyspace::list::End;
use crate::keyspace::stream::{Exactness, StreamId, Trim};
use crate::keyspace::stripe::{STRIPES, StripeSet};
use crate::keyspace::{KeyRef, Keyspace};

const KEYS: [&[u8]; 7] = [b"a", b"b", b"c", b"d", b"e", b"f", b"g"];
const NOW_MS: i64 = 1_000_000;
const FAR_MS: i64 = i64::MAX / 2;

/// A value such that equal ones are equal, whatever their encoding.
type Plain = Vec<Vec<u8>>;
type State = BTreeMap<Vec<u8>, (Option<i64>, Plain)>;

fn plain(value: ValueRef<'_>) -> Plain {
    let mut parts: Plain = match value {
        ValueRef::Int(_) | ValueRef::Bytes(_) | ValueRef::Stream(_) => {
            let mut bytes = Vec::new();
            encode_payload(value, &mut bytes);
            return vec![bytes];
        }
        ValueRef::List(list) => return list.iter().map(|item| item.to_vec()).collect(),
        ValueRef::Set(set) => set.iter().map(|member| member.to_vec()).collect(),
        ValueRef::ZSet(zset) => zset
            .iter()
            .map(|(member, score)| [&member.to_vec()[..], &score.to_le_bytes()].concat())
            .collect(),
        ValueRef::Hash(hash) => hash
            .iter()
            .map(|(field, value)| {
                let field = field.to_vec();
                let expiry = format!(" {:?} ", hash.expiry(&field));
                [&field[..], expiry.as_bytes(), &value.to_vec()].concat()
            })
            .collect(),
    };
    parts.sort_unstable();
    parts
}

struct World {
    keyspace: Keyspace,
    tree: Arc<Tree>,
    _dir: TempDir,
    random: fastrand::Rng,
    next_id: u64,
    /// What was written in the last commit.
    bytes_put: u64,
}

impl World {
    fn new(seed: u64) -> World {
        let dir = tempfile::tempdir().unwrap();
        let tree = Arc::new(Tree::open(dir.path(), TreeOptions::default()).unwrap());
        let mut world = World {
            keyspace: Keyspace::new(1),
            tree,
            _dir: dir,
            random: fastrand::Rng::with_seed(seed),
            next_id: 0,
            bytes_put: 0,
        };
        world.restart();
        world
    }

    /// All that is not in the tree is lost.
    fn restart(&mut self) {
        self.keyspace = Keyspace::new(1);
        let counts = self.tree.meta().unwrap().key_counts;
        self.keyspace.attach_tree(self.tree.clone(), None, &counts);
        self.keyspace.start_tracking();
    }

    fn db(&self) -> Db<'_> {
        let mut stripes = StripeSet::default();
        KEYS.iter()
            .for_each(|key| stripes.add(KeyRef::new(key).stripe()));
        Db::open(&self.keyspace, stripes, 0, NOW_MS)
    }

    fn state(&self) -> State {
        let mut db = self.db();
        let mut state = State::new();
        for key in KEYS {
            if let Some(entry) = db.peek(key).unwrap() {
                let value = plain(entry.value());
                state.insert(key.to_vec(), (entry.expire_at_ms(), value));
            }
        }
        state
    }

    fn stored(&self) -> State {
        let snapshot = self.tree.snapshot().unwrap();
        snapshot.check_all().unwrap();
        let mut state = State::new();
        for key in KEYS {
            let slot = KeyRef::new(key).slot;
            let mut payload = Vec::new();
            if let Some(head) = snapshot.get(0, slot, key, &mut payload).unwrap() {
                let value = decode_payload(&payload).unwrap();
                let entry = crate::keyspace::entry::Entry::new(key, value, None);
                state.insert(key.to_vec(), (head.expire_at_ms, plain(entry.value())));
            }
        }
        state
    }

    fn begin(&mut self) -> (Frozen, State) {
        let state = self.state();
        let begun = self
            .keyspace
            .begin_checkpoint(Duration::from_secs(9), || ());
        (begun.unwrap().0, state)
    }

    /// A checkpoint with changes in between; `fails` before its commit.
    fn checkpoint(&mut self, changes: usize, fails: bool) {
        let (frozen, wanted) = self.begin();
        let tree = self.tree.clone();
        let mut batch = tree.begin().unwrap();
        let mut rows = Rows::default();
        let mut moments: Vec<usize> = (0..changes).map(|_| self.random.usize(..STRIPES)).collect();
        moments.sort_unstable();
        for stripe in 0..STRIPES {
            while moments.first() == Some(&stripe) {
                moments.remove(0);
                self.change();
            }
            let put = &mut |rows: &Rows| rows.iter().try_for_each(|row| row.put(&mut batch, 0));
            let collected = (self.keyspace).collect(&frozen, 0, stripe, &mut rows, put);
            collected.unwrap();
        }
        if fails {
            drop(batch);
            self.keyspace.undo_checkpoint(&frozen);
            return;
        }
        self.bytes_put = batch.bytes_put();
        batch.commit(&Meta::default()).unwrap();
        self.keyspace.finish_checkpoint(&frozen);
        assert!(self.stored() == wanted, "the tree holds another state");
    }

    /// Has the tree take over what is frozen.
    fn write(&self, frozen: &Frozen) {
        let mut batch = self.tree.begin().unwrap();
        let mut rows = Rows::default();
        for stripe in 0..STRIPES {
            let put = &mut |rows: &Rows| rows.iter().try_for_each(|row| row.put(&mut batch, 0));
            let collected = (self.keyspace).collect(frozen, 0, stripe, &mut rows, put);
            collected.unwrap();
        }
        batch.commit(&Meta::default()).unwrap();
        self.keyspace.finish_checkpoint(frozen);
    }

    fn text(&mut self, count: u32) -> Vec<u8> {
        let number = self.random.u32(..count);
        format!("{number}:{}", "x".repeat(number as usize % 90)).into_bytes()
    }

    /// Some change of some key.
    fn change(&mut self) {
        let key = KEYS[self.random.usize(..KEYS.len())];
        match self.random.u8(..24) {
            0 => drop(self.db().delete(key).unwrap()),
            1 => {
                let to = KEYS[self.random.usize(..KEYS.len())];
                let mut db = self.db();
                if let Some((value, expire_at_ms)) = db.take(key).unwrap() {
                    db.set_value(to, value, expire_at_ms).unwrap();
                }
            }
            2 => {
                let expire_at_ms = self.random.bool().then_some(FAR_MS);
                self.db().set_expiry(key, expire_at_ms).unwrap();
            }
            3 => self.db().set_value(key, Value::Int(7), None).unwrap(),
            4 => drop(self.db().spill(key)),
            5 => drop(self.db().spill_returned(KeyRef::new(key).stripe())),
            _ => self.change_elements(key),
        }
    }

    fn change_elements(&mut self, key: &[u8]) {
        let found = self.db().type_of(key).unwrap();
        let kind = found.map_or(self.random.u8(1..6), |found| found as u8);
        // Large, small, or in between.
        let range = [40, 900, 2500][self.random.usize(..3)];
        let count = [1, 3, 40, 700][self.random.usize(..4)];
        let grow = self.random.u8(..3) > 0 || found.is_none();
        for _ in 0..count {
            match kind {
                0 => drop(self.db().delete(key).unwrap()),
                1 => self.change_list(key, grow),
                2 => {
                    let member = self.text(range);
                    let mut db = self.db();
                    let set = db.set_or_new(key).unwrap();
                    match grow {
                        true => set.add(&member),
                        false => set.remove(&member),
                    };
                }
                3 => self.change_hash(key, grow, range),
                4 => {
                    let (member, score) = (self.text(range), f64::from(self.random.u8(..)));
                    let mut db = self.db();
                    let zset = db.zset_or_new(key).unwrap();
                    match grow {
                        true => drop(zset.add(&member, score)),
                        false => drop(zset.remove(&member)),
                    }
                }
                _ => self.change_stream(key, grow),
            }
            self.db().remove_if_empty(key).unwrap();
        }
    }

    fn change_list(&mut self, key: &[u8], grow: bool) {
        let (value, place) = (self.text(4000), self.random.i64(..40_000));
        let (end, what) = (self.random.bool(), self.random.u8(..40));
        let end = if end { End::Front } else { End::Back };
        let mut db = self.db();
        let list = db.list_or_new(key).unwrap();
        let pivot = list
            .get(place % (list.len() as i64 + 1))
            .map(|item| item.to_vec());
        match (what, pivot) {
            (0..4, Some(pivot)) if grow => drop(list.insert_before(&pivot, &value)),
            (4..6, Some(pivot)) => drop(list.remove(1, &pivot)),
            (6..8, Some(_)) => drop(list.set(place % list.len() as i64, &value)),
            (8, _) if !grow => list.trim(2, -2),
            _ if grow => list.push(end, &value),
            _ => drop(list.pop(end, |_| ())),
        }
    }

    fn change_hash(&mut self, key: &[u8], grow: bool, range: u32) {
        let (field, value) = (self.text(range), self.text(3000));
        let (expires, persists) = (self.random.u8(..200) == 0, self.random.u8(..50) == 0);
        let mut db = self.db();
        let hash = db.hash_or_new(key).unwrap();
        match grow {
            true if expires => drop(hash.set_expiring(&field, &value, Some(FAR_MS))),
            true => drop(hash.set(&field, &value)),
            false => drop(hash.remove(&field)),
        }
        if persists && hash.contains(&field) {
            hash.set_expiry(&field, None);
        }
        db.schedule_fields(key);
    }

    fn change_stream(&mut self, key: &[u8], grow: bool) {
        self.next_id += self.random.u64(1..3);
        let id = StreamId {
            ms: 0,
            seq: self.next_id,
        };
        let (value, any) = (self.text(500), self.random.u64(..=self.next_id));
        let what = self.random.u8(..60);
        let mut db = self.db();
        let stream = db.stream_or_new(key).unwrap();
        let any = StreamId { ms: 0, seq: any };
        match what {
            0 => drop(stream.groups.remove(&b"group"[..])),
            1 => {
                let group = crate::keyspace::stream::Group::new(any, None);
                stream.groups.insert(b"group"[..].into(), group);
            }
            2 if !grow => drop(stream.entries.trim(Trim::MinId(any), Exactness::Exact)),
            _ if grow && id > stream.entries.last_id() => {
                stream.entries.push(id, &[b"field", &value])
            }
            _ => drop(stream.entries.delete(any)),
        }
    }
}

#[test]
fn each_commit_holds_what_there_was_when_it_began() {
    for seed in 0..3 {
        let mut world = World::new(seed);
        for round in 0..25 {
            for _ in 0..world.random.usize(..8) {
                world.change();
            }
            let (changes, fails) = (world.random.usize(..6), world.random.u8(..6) == 0);
            world.checkpoint(changes, fails);
            if round % 9 == 8 {
                world.checkpoint(0, false);
                let before = world.state();
                world.restart();
                assert!(world.state() == before, "a restart changed something");
            }
        }
    }
}

#[test]
fn who_locks_his_first_key_after_the_cut_changes_what_comes_behind_it() {
    let mut world = World::new(1);
    world.change();
    let key = KEYS[0];
    for removes in [false, true] {
        let mut late = Db::open(&world.keyspace, StripeSet::default(), 0, NOW_MS);
        let state = world.state();
        let begun = world
            .keyspace
            .begin_checkpoint(Duration::from_secs(9), || ());
        let (frozen, ()) = begun.unwrap();
        assert!(late.extend(KeyRef::new(key).stripe(), Duration::ZERO));
        match removes {
            true => drop(late.delete(key).unwrap()),
            false => late.set_string(key, b"late", None).unwrap(),
        }
        drop(late);
        world.write(&frozen);
        assert!(world.stored() == state, "the tree holds what came later");
        world.checkpoint(0, false);
        assert_eq!(world.stored().contains_key(key), !removes);
    }
}

/// A long value of which the tree has nothing, of a kind; 5 is a string.
fn set_long(db: &mut Db<'_>, key: &[u8], kind: u8) {
    db.delete(key).unwrap();
    if kind != 5 {
        // Several nodes of a list.
        let count = if kind == 3 { 4000 } else { 400 };
        (0..count).for_each(|n| add(db, key, kind, n));
        return;
    }
    db.set_string(key, &vec![b'x'; 20_000], None).unwrap();
}

/// Changes long values until `over`.
fn disturb(keyspace: &Keyspace, over: &AtomicBool, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    while !over.load(Ordering::Relaxed) {
        let kind = [0, 1, 2, 3, 5][random.usize(..5)];
        let key = KEYS[usize::from(kind)];
        let stripes = StripeSet::one(KeyRef::new(key).stripe());
        let mut db = Db::open(keyspace, stripes, 0, NOW_MS);
        let what = random.u8(..20);
        match kind {
            _ if what == 0 => drop(db.delete(key).unwrap()),
            _ if what == 1 => set_long(&mut db, key, kind),
            _ if what == 2 => drop(db.set_expiry(key, Some(FAR_MS)).unwrap()),
            0 => drop(db.hash_or_new(key).unwrap().set(&[what], b"other")),
            1 => drop(db.set_or_new(key).unwrap().remove(b"element:000000000007")),
            2 => drop(db.zset_or_new(key).unwrap().add(&[what], 2.0)),
            3 => db.list_or_new(key).unwrap().push(End::Front, &[what]),
            _ => db.set_string(key, &vec![what; 20_000], None).unwrap(),
        }
        db.remove_if_empty(key).unwrap();
        drop(db);
        std::thread::sleep(Duration::from_micros(random.u64(..300)));
    }
}

#[test]
fn what_changes_between_two_steps_is_collected_as_it_was() {
    for seed in 0..100 {
        let mut world = World::new(seed);
        for kind in [0, 1, 2, 3, 5] {
            set_long(&mut world.db(), KEYS[usize::from(kind)], kind);
        }
        if seed % 2 == 0 {
            world.checkpoint(0, false);
            for kind in [0, 1, 2, 3, 5] {
                set_long(&mut world.db(), KEYS[usize::from(kind)], kind);
            }
        }
        let over = AtomicBool::new(false);
        let (frozen, wanted) = world.begin();
        std::thread::scope(|scope| {
            scope.spawn(|| disturb(&world.keyspace, &over, seed));
            world.write(&frozen);
            over.store(true, Ordering::Relaxed);
        });
        assert!(world.stored() == wanted, "the tree holds another state");
        world.checkpoint(0, false);
    }
}

/// Adds an element to a collection of a kind.
fn add(db: &mut Db<'_>, key: &[u8], kind: u8, n: u64) {
    let name = format!("element:{n:012}");
    match kind {
        0 => drop(db.hash_or_new(key).unwrap().set(name.as_bytes(), b"value")),
        1 => drop(db.set_or_new(key).unwrap().add(name.as_bytes())),
        2 => drop(db.zset_or_new(key).unwrap().add(name.as_bytes(), n as f64)),
        3 => db
            .list_or_new(key)
            .unwrap()
            .push(End::Back, name.as_bytes()),
        _ => {
            let id = StreamId { ms: 1, seq: n + 1 };
            let stream = db.stream_or_new(key).unwrap();
            stream.entries.push(id, &[b"field", name.as_bytes()]);
        }
    }
}

fn fill(world: &World, kind: u8, numbers: std::ops::Range<u64>) {
    let mut db = world.db();
    numbers.for_each(|n| add(&mut db, b"a", kind, n));
}

/// What one more element costs the tree in a collection of `count`.
fn cost(kind: u8, count: u64) -> u64 {
    let mut world = World::new(1);
    fill(&world, kind, 0..count);
    world.checkpoint(0, false);
    assert!(world.bytes_put > 15 * count);
    fill(&world, kind, count..count + 1);
    world.checkpoint(0, false);
    world.bytes_put
}

#[test]
fn one_more_element_costs_the_same_whatever_the_size() {
    for kind in 0..5 {
        let (small, large) = (cost(kind, 3_000), cost(kind, 30_000));
        assert!(small < 10_000 && large < 10_000, "{kind}: {small} {large}");
    }
}

#[test]
fn what_comes_back_from_the_tree_is_not_written_anew() {
    // Which node of a list was which piece is not known then.
    for kind in [0, 1, 2, 4] {
        let mut world = World::new(1);
        fill(&world, kind, 0..3000);
        world.checkpoint(0, false);
        for away in [true, false] {
            match away {
                true => assert!(world.db().spill(b"a").is_some()),
                false => world.restart(),
            }
            let expire_at_ms = Some(FAR_MS + i64::from(kind));
            world.db().set_expiry(b"a", expire_at_ms).unwrap();
            world.checkpoint(0, false);
            assert!(world.bytes_put < 1000, "{kind}: {}", world.bytes_put);
        }
    }
}

#[test]
fn what_came_back_first_goes_first_unless_it_has_changed() {
    let mut world = World::new(1);
    world.db().set_string(b"a", &[7; 1000], None).unwrap();
    world.checkpoint(0, false);
    let stripe = KeyRef::new(b"a").stripe();
    for _ in 0..4 {
        assert!(world.db().spill(b"a").is_some());
        world.state();
        assert_eq!(world.db().spill_returned(stripe), None, "it is needed");
    }
    for changes in [false, true] {
        assert!(world.db().spill(b"a").is_some());
        world.state();
        if changes {
            world.db().set_expiry(b"a", Some(FAR_MS)).unwrap();
        }
        assert_eq!(world.db().spill_returned(stripe).is_none(), changes);
        assert_eq!(world.db().is_cold_value(b"a"), !changes);
        world.state();
    }
}
