//! Log and tree together on a disk that loses power at any point.
//!
//! A run appends effects, syncs, makes checkpoints, trims, meets failing disks
//! and begins anew, on a simulated disk whose power is cut at some change of
//! it: unsynced sectors and names survive in any subset. After each cut
//! everything is recovered as a server does, and compared with a model:
//!
//! | | what is looked at |
//! |---|---|
//! | I1 | the state after replay is that of a prefix of what was appended |
//! | I3, I6 | that prefix has all that was ever reported synced |
//! | I4 | the tree's rows are exactly those of its offset; each effect applies once |
//! | I5 | the log reaches back to the tree's offset |
//! | I7 | a start is never refused, since nothing rots here |
//!
//! LMDB is stood in for by a file with the same order of steps: new pages, sync,
//! one root of two in turn, sync. Effects are no idempotent ones, so that a
//! replay from the wrong place shows.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::checkpoint::{begin_anew, commit, trim};
use crate::disk::{BLOCK_BYTES, Disk, DiskFile, Fault, SimulatedDisk};
use crate::log::{Bug, Log, LogOptions, Offset, SyncPolicy, forget_before};

const LOG_DIR: &str = "/data/log";
const TREE_DIR: &str = "/data/tree";
/// Places of the two sets of rows in the tree's file.
const AREAS: [u64; 2] = [4096, 4096 + (1 << 16)];
const ROOT_BYTES: usize = 48;

type State = BTreeMap<u8, u64>;

/// A violation of an invariant.
type Verdict<T> = Result<T, String>;

/// The splitmix64 generator.
pub(crate) struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// Applies an effect; twice is not the same as once, nor in another order.
fn apply(state: &mut State, key: u8, value: u32) {
    let entry = state.entry(key).or_default();
    *entry = entry.wrapping_mul(31).wrapping_add(u64::from(value) + 1);
}

/// What was appended, in order.
#[derive(Default)]
struct Model {
    /// End offset, key, value.
    effects: Vec<(u64, u8, u32)>,
    /// Everything below was reported durable.
    durable: u64,
}

impl Model {
    /// The state at an offset; None when none ends there.
    fn state_at(&self, offset: u64) -> Option<State> {
        let mut state = State::new();
        let mut at = 0;
        for &(end, key, value) in self.effects.iter().take_while(|(end, ..)| *end <= offset) {
            apply(&mut state, key, value);
            at = end;
        }
        (at == offset).then_some(state)
    }

    fn forget_beyond(&mut self, offset: u64) {
        self.effects.retain(|(end, ..)| *end <= offset);
    }
}

/// The stand-in for the tree.
struct StandIn {
    file: Arc<dyn DiskFile>,
    number: u64,
    offset: u64,
    beginning: u64,
    rows: State,
    /// Its root could not be written: it takes no more.
    fatal: bool,
}

impl StandIn {
    fn open(disk: &SimulatedDisk) -> io::Result<StandIn> {
        let path = Path::new(TREE_DIR).join("data");
        let file = match disk.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let file = disk.create(&path)?;
                disk.sync_dir(Path::new(TREE_DIR))?;
                file
            }
            Err(error) => return Err(error),
        };
        let mut tree = StandIn {
            file,
            number: 0,
            offset: 0,
            beginning: 0,
            rows: State::new(),
            fatal: false,
        };
        let mut newest = [0; 6];
        for slot in 0..2 {
            let mut root = [0; ROOT_BYTES];
            tree.file.read_at(&mut root, slot * 512)?;
            let field = |at| u64::from_le_bytes(root[at * 8..at * 8 + 8].try_into().unwrap());
            let fields: [u64; 6] = std::array::from_fn(field);
            let sealed = u64::from(crc32c::crc32c(&root[..40])) == fields[5];
            if sealed && fields[0] > newest[0] {
                newest = fields;
            }
        }
        let [number, offset, beginning, count, crc, _] = newest;
        if number > 0 {
            (tree.number, tree.offset, tree.beginning) = (number, offset, beginning);
            tree.rows = tree.read_rows(number, count, crc)?;
        }
        Ok(tree)
    }

    fn read_rows(&self, number: u64, count: u64, crc: u64) -> io::Result<State> {
        let mut bytes = vec![0; count as usize * 9];
        self.file.read_at(&mut bytes, AREAS[number as usize % 2])?;
        if u64::from(crc32c::crc32c(&bytes)) != crc {
            return Err(io::Error::other("rows of a committed root are gone"));
        }
        let row = |row: &[u8]| (row[0], u64::from_le_bytes(row[1..9].try_into().unwrap()));
        Ok(bytes.chunks(9).map(row).collect())
    }

    /// Commits rows that have changed; the others stay as they were committed last, as the
    /// pieces of a large value do.
    fn commit(&mut self, changed: &State, offset: u64, beginning: u64) -> io::Result<()> {
        if self.fatal {
            return Err(io::Error::other("no more"));
        }
        let number = self.number + 1;
        let mut rows = self.rows.clone();
        rows.extend(changed);
        let mut bytes = Vec::new();
        for (key, value) in &rows {
            bytes.push(*key);
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        self.file.write_at(&bytes, AREAS[number as usize % 2])?;
        self.file.sync_data()?;
        let mut root = Vec::new();
        let crc = u64::from(crc32c::crc32c(&bytes));
        for field in [number, offset, beginning, rows.len() as u64, crc] {
            root.extend_from_slice(&field.to_le_bytes());
        }
        root.extend_from_slice(&u64::from(crc32c::crc32c(&root)).to_le_bytes());
        let place = number % 2 * 512;
        let written = self.file.write_at(&root, place);
        if let Err(error) = written.and_then(|()| self.file.sync_data()) {
            self.fatal = true;
            return Err(error);
        }
        self.number = number;
        self.offset = offset;
        self.rows = rows;
        Ok(())
    }
}

/// One machine through several power cuts.
struct Machine {
    disk: SimulatedDisk,
    random: Random,
    policy: SyncPolicy,
    /// Every other machine has segments of whole blocks, so that `always` goes
    /// past the page cache, and changes its policy while it works.
    has_blocks: bool,
    /// Some machines write larger effects in several records.
    record_bytes: usize,
    bug: Option<Bug>,
    model: Model,
    /// Keys that changed since the tree took them over.
    changed: BTreeSet<u8>,
    counts: Counts,
}

/// What a run went through.
#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    effects: u64,
    checkpoints: u64,
    failed_checkpoints: u64,
    log_failures: u64,
    begun_anew: u64,
    cut_in_recovery: u64,
}

impl Machine {
    fn new(seed: u64, bug: Option<Bug>) -> Machine {
        let mut random = Random(seed);
        let policies = [SyncPolicy::Always, SyncPolicy::EverySec, SyncPolicy::No];
        let policy = match random.below(4) {
            0 | 1 => policies[0],
            other => policies[other as usize - 1],
        };
        Machine {
            disk: SimulatedDisk::new(),
            random,
            policy,
            has_blocks: !seed.is_multiple_of(2),
            record_bytes: if seed.is_multiple_of(3) { 90 } else { 1 << 30 },
            bug,
            model: Model::default(),
            changed: BTreeSet::new(),
            counts: Counts::default(),
        }
    }

    /// One boot, up to a power cut. Recovery is a part of it.
    fn boot(&mut self) -> Verdict<()> {
        self.disk.cut_power_after(1 + self.random.below(90));
        if let Some((log, mut tree)) = self.recover()? {
            self.work(&log, &mut tree);
            self.model.durable = self.model.durable.max(log.synced().0);
            // The power goes before the log can close.
            let seed = self.random.next();
            let next = self.disk.crash(seed);
            drop(log);
            self.disk = next;
        } else {
            self.counts.cut_in_recovery += 1;
            let seed = self.random.next();
            self.disk = self.disk.crash(seed);
        }
        Ok(())
    }

    /// What a start does, and what must hold then. None if the power was cut.
    fn recover(&mut self) -> Verdict<Option<(Log, StandIn)>> {
        let tree = match StandIn::open(&self.disk) {
            Ok(tree) => tree,
            Err(_) if self.disk.is_dead() => return Ok(None),
            Err(error) => return Err(format!("the tree does not open: {error}")),
        };
        if self.model.state_at(tree.offset).as_ref() != Some(&tree.rows) {
            return Err(format!(
                "I4: the rows are not those of offset {}",
                tree.offset
            ));
        }
        let dir = Path::new(LOG_DIR);
        let mut options = LogOptions {
            segment_bytes: if self.has_blocks { BLOCK_BYTES } else { 2048 },
            record_bytes: self.record_bytes,
            policy: self.policy,
            flush_interval_ms: 1,
            sync_interval_ms: 3,
            spare_segments: 1,
            verify_from: Offset(tree.offset),
            bug: self.bug,
            ..LogOptions::default()
        };
        if tree.beginning != 0 {
            options.first_segment = tree.beginning;
            match forget_before(&self.disk, dir, tree.beginning) {
                Err(_) if self.disk.is_dead() => return Ok(None),
                other => other.map_err(|error| error.to_string())?,
            }
        }
        let disk = Arc::new(self.disk.clone());
        let (log, report) = match Log::open(disk, dir, Offset(tree.offset), options) {
            Ok(opened) => opened,
            Err(_) if self.disk.is_dead() => return Ok(None),
            Err(error) => return Err(format!("I7: a start is refused: {error}")),
        };
        let (oldest, end, applied) = (report.oldest.0, report.end.0, tree.offset);
        if oldest > applied || end < applied {
            return Err(format!(
                "I5: the log holds {oldest} to {end}, the tree {applied}"
            ));
        }
        if end < self.model.durable {
            let durable = self.model.durable;
            return Err(format!("I3: the log ends at {end}, {durable} was durable"));
        }
        let Some(wanted) = self.model.state_at(end) else {
            return Err(format!("I1: the log ends inside an effect, at {end}"));
        };
        let mut state = tree.rows.clone();
        match replay(&log, applied, &mut state) {
            Err(_) if self.disk.is_dead() => return Ok(None),
            other => other?,
        }
        if state != wanted {
            return Err(format!("I4: replay from {applied} to {end} ends elsewhere"));
        }
        self.model.forget_beyond(end);
        self.model.durable = end;
        let replayed = self.model.effects.iter().filter(|(at, ..)| *at > applied);
        self.changed = replayed.map(|&(_, key, _)| key).collect();
        Ok(Some((log, tree)))
    }

    /// Does whatever comes, until the power is cut or enough is done.
    fn work(&mut self, log: &Log, tree: &mut StandIn) {
        for _ in 0..40 {
            if self.disk.is_dead() {
                return;
            }
            match self.random.below(40) {
                0..20 => self.append(log),
                20..26 => {
                    let end = log.end();
                    if log.sync_to(end).is_ok() {
                        self.model.durable = self.model.durable.max(end.0);
                    }
                }
                26..32 => self.checkpoint(log, tree),
                32 => std::thread::sleep(std::time::Duration::from_millis(1)),
                33 => self.disk.inject(Fault::SyncErrorOnce),
                34 if self.random.below(3) == 0 => self.disk.inject(Fault::WriteError),
                35 => self.disk.inject(Fault::NoSpace),
                36..38 => self.disk.clear_faults(),
                38 if self.has_blocks => log.set_policy(match log.policy() {
                    SyncPolicy::Always => SyncPolicy::EverySec,
                    _ => SyncPolicy::Always,
                }),
                _ => log.retry_space(),
            }
            if log.failure().is_some() && !self.disk.is_dead() {
                self.counts.log_failures += 1;
                self.model.durable = self.model.durable.max(log.synced().0);
                if self.random.below(2) == 0 {
                    self.disk.clear_faults();
                }
                self.mend(log, tree);
            }
        }
    }

    fn append(&mut self, log: &Log) {
        for _ in 0..1 + self.random.below(3) {
            let (key, value) = (self.random.below(24) as u8, self.random.next() as u32);
            let padding = self.random.below(250) as u8;
            let mut bytes = vec![key];
            bytes.extend_from_slice(&value.to_le_bytes());
            bytes.push(padding);
            bytes.resize(6 + usize::from(padding), 0xEE);
            let before = log.end();
            let end = log.append_raw(&bytes);
            // A log that has failed takes none.
            if end > before {
                self.model.effects.push((end.0, key, value));
                self.changed.insert(key);
                self.counts.effects += 1;
            }
        }
    }

    fn checkpoint(&mut self, log: &Log, tree: &mut StandIn) {
        let offset = log.end();
        let rows = self.changed_rows(offset);
        let split = self.bug == Some(Bug::SplitCommit);
        let applied = tree.offset;
        let done = commit(log, offset, || {
            if split {
                tree.commit(&rows, applied, 0)?;
            }
            tree.commit(&rows, offset.0, 0)
        });
        if done.is_ok() {
            self.counts.checkpoints += 1;
            self.changed.clear();
            trim(log, offset, self.random.below(2) * 3000);
        } else if self.bug == Some(Bug::TrimEarly) {
            trim(log, offset, 0);
        } else {
            self.counts.failed_checkpoints += 1;
            if self.bug == Some(Bug::ForgetFailed) {
                self.changed.clear();
            }
        }
    }

    /// The rows that the tree lacks at an offset, with their values there.
    fn changed_rows(&self, offset: Offset) -> State {
        let mut rows = self.model.state_at(offset.0).expect("it ends an effect");
        rows.retain(|key, _| self.changed.contains(key));
        rows
    }

    /// As the server does after a failure of the log.
    fn mend(&mut self, log: &Log, tree: &mut StandIn) {
        log.end_failed();
        let offset = log.begin_anew();
        let rows = self.changed_rows(offset);
        let mended = begin_anew(log, offset, |first| tree.commit(&rows, offset.0, first));
        if mended.is_ok() {
            self.counts.begun_anew += 1;
            self.changed.clear();
            self.model.durable = offset.0;
        }
    }
}

/// Applies what the log holds from `from` on.
fn replay(log: &Log, from: u64, state: &mut State) -> Verdict<()> {
    let failed = |error| format!("the log does not read back: {error}");
    let mut reader = log.reader(Offset(from)).map_err(failed)?;
    let mut bytes = Vec::new();
    while reader.next(&mut bytes, 4096).map_err(failed)? > 0 {}
    let mut rest = &bytes[..];
    while let [key, a, b, c, d, padding, tail @ ..] = rest {
        apply(state, *key, u32::from_le_bytes([*a, *b, *c, *d]));
        let padding = usize::from(*padding);
        if tail.len() < padding {
            return Err("the log ends inside an effect".into());
        }
        rest = &tail[padding..];
    }
    Ok(())
}

/// Cuts the power `points` times, a few times for each machine; gives the first
/// violation with the seed of its machine.
fn cut_power(points: u64, seed: u64, bug: Option<Bug>) -> Verdict<Counts> {
    const CUTS_PER_MACHINE: u64 = 12;
    let mut all = Counts::default();
    for machine in 0..points.div_ceil(CUTS_PER_MACHINE) {
        let mut tested = Machine::new(seed.wrapping_add(machine), bug);
        for cut in 0..CUTS_PER_MACHINE {
            tested.boot().map_err(|violation| {
                let policy = tested.policy;
                format!(
                    "machine {}, {policy:?}, cut {cut}: {violation}",
                    seed + machine
                )
            })?;
        }
        all.add(tested.counts);
    }
    Ok(all)
}

impl Counts {
    fn add(&mut self, other: Counts) {
        self.effects += other.effects;
        self.checkpoints += other.checkpoints;
        self.failed_checkpoints += other.failed_checkpoints;
        self.log_failures += other.log_failures;
        self.begun_anew += other.begun_anew;
        self.cut_in_recovery += other.cut_in_recovery;
    }
}

#[test]
fn nothing_is_violated_wherever_the_power_is_cut() {
    let counts = cut_power(1200, 1, None).unwrap();
    eprintln!("{counts:?}");
    assert!(
        counts.checkpoints > 100 && counts.begun_anew > 10,
        "{counts:?}"
    );
    assert!(counts.cut_in_recovery > 10, "{counts:?}");
}

/// Machines that once showed a violation.
#[test]
fn what_was_violated_once_is_not_any_more() {
    // The removal of a half-made first segment was lost, and the renaming of
    // the next one was not.
    cut_power(12, 1_795_380_984, None).unwrap();
}

#[test]
fn planted_bugs_are_caught() {
    for bug in [
        Bug::SkipSync,
        Bug::RetrySync,
        Bug::TrimEarly,
        Bug::SplitCommit,
        Bug::ForgetFailed,
    ] {
        match cut_power(20_000, 7, Some(bug)) {
            Err(violation) => eprintln!("{bug:?}: {violation}"),
            Ok(_) => panic!("{bug:?} goes unnoticed"),
        }
    }
}

/// The long mode: `scripts/crash-points`.
#[test]
#[ignore = "takes minutes; see scripts/crash-points"]
fn nothing_is_violated_at_very_many_points() {
    let number = |name: &str, default: u64| {
        let set = std::env::var(name).ok();
        set.map_or(default, |text| text.parse().expect("a number"))
    };
    let points = number("CRASH_POINTS", 100_000);
    let seed = number("CRASH_SEED", 1_000_000);
    let began = std::time::Instant::now();
    let counts = cut_power(points, seed, None).unwrap();
    eprintln!(
        "{points} power cuts in {:.0} s from seed {seed}: 0 violations; {counts:?}",
        began.elapsed().as_secs_f64()
    );
}

#[test]
fn the_stand_in_keeps_its_last_commit() {
    let disk = SimulatedDisk::new();
    let mut tree = StandIn::open(&disk).unwrap();
    let rows = State::from([(1, 2), (3, 4)]);
    tree.commit(&rows, 77, 0).unwrap();
    let tree = StandIn::open(&disk.crash(5)).unwrap();
    assert_eq!((tree.offset, tree.rows), (77, rows));
}
