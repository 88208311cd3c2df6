//! Runs a target on one mutated input after another, and judges it.

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::gauge;
use super::mutator::{Random, mutate};

const SHORT_SECONDS: u64 = 2;
const LONG_SECONDS: u64 = 60;
/// An input that takes more of the processor's time counts as a failure.
const TIME_LIMIT: Duration = Duration::from_secs(2);
/// An input that has not come back by then never will.
const HANG_LIMIT: Duration = Duration::from_secs(120);

/// What is done with an input and a number.
pub type Run = Box<dyn Fn(&[u8], u64)>;

/// Something that reads bytes.
pub struct Target {
    /// For reports and for the files with failing inputs.
    pub name: &'static str,
    /// Inputs to mutate; they are run as they are too.
    pub corpus: Vec<Vec<u8>>,
    /// Longer inputs are cut.
    pub max_input_bytes: usize,
    /// What one run may have allocated at a time.
    pub max_memory_bytes: usize,
    /// Must return for any bytes; panics if a promise is broken. The number is drawn anew for
    /// each input, for decisions of its own.
    pub run: Run,
}

/// The memory of the whole process is measured, so campaigns take turns.
pub fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A campaign of two seconds, with the same inputs each time unless `FUZZ_SEED` is set. The target
/// is made in its turn, because that takes memory too.
pub fn short(target: fn() -> Target) {
    let _alone = alone();
    run(
        &target(),
        number("FUZZ_SEED").unwrap_or(1),
        SHORT_SECONDS,
        0,
    );
}

/// As [`short`], with at least so many inputs.
pub fn short_of(target: fn() -> Target, fewest: u64) {
    let _alone = alone();
    let seed = number("FUZZ_SEED").unwrap_or(1);
    run(&target(), seed, SHORT_SECONDS, fewest);
}

/// A campaign of `FUZZ_SECONDS` and at least `FUZZ_RUNS` inputs, with new inputs each time unless `FUZZ_SEED` is set.
pub fn long(target: fn() -> Target) {
    let _alone = alone();
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH);
    let drawn = || clock().map_or(1, |now| now.as_nanos() as u64);
    let seed = number("FUZZ_SEED").unwrap_or_else(drawn);
    let seconds = number("FUZZ_SECONDS").unwrap_or(LONG_SECONDS);
    let fewest = number("FUZZ_RUNS").unwrap_or(0);
    run(&target(), seed, seconds, fewest);
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .expect("FUZZ_SEED, FUZZ_SECONDS and FUZZ_RUNS are numbers"),
    )
}

/// The caller has the turn.
fn run(target: &Target, seed: u64, seconds: u64, fewest: u64) {
    println!("{}: FUZZ_SEED={seed}, {seconds} s", target.name);
    let watch = Watch::start(target.name);
    let mut random = Random::new(seed);
    let began = Instant::now();
    let deadline = began + Duration::from_secs(seconds);
    for entry in &target.corpus {
        judge(target, &watch, entry, random.bits());
    }
    let mut count = target.corpus.len() as u64;
    while Instant::now() < deadline || count < fewest {
        let input = mutate(&mut random, &target.corpus, target.max_input_bytes);
        judge(target, &watch, &input, random.bits());
        count += 1;
    }
    let rate = count as f64 / began.elapsed().as_secs_f64();
    println!(
        "{}: {count} inputs, {rate:.0} a second, no failure",
        target.name
    );
}

/// What this thread has had of the processor: other processes run too.
fn processor_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the struct is ours to fill.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn judge(target: &Target, watch: &Watch, input: &[u8], choice: u64) {
    if run_once(target, watch, input, choice) > TIME_LIMIT {
        let kept = keep(target.name, input);
        panic!(
            "{}: it is slow; choice {choice}, input in {kept}",
            target.name
        );
    }
}

/// Runs an input and gives the processor's time that it took.
fn run_once(target: &Target, watch: &Watch, input: &[u8], choice: u64) -> Duration {
    watch.begin(input);
    let began = processor_time();
    let baseline = gauge::start();
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| (target.run)(input, choice)));
    let peak = gauge::peak_above(baseline);
    let took = processor_time().saturating_sub(began);
    watch.end();
    let failure = if outcome.is_err() {
        "it panicked".to_owned()
    } else if peak > target.max_memory_bytes {
        format!("it had {peak} bytes allocated")
    } else {
        return took;
    };
    let kept = keep(target.name, input);
    panic!(
        "{}: {failure}; choice {choice}, input in {kept}",
        target.name
    );
}

/// Writes a failing input below `target/fuzz`; returns where.
fn keep(name: &str, input: &[u8]) -> String {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../fuzz");
    let digest = input.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    let path = folder.join(format!("{name}-{digest:016x}"));
    match fs::create_dir_all(&folder).and_then(|()| fs::write(&path, input)) {
        Ok(()) => path.display().to_string(),
        Err(error) => format!("no file ({error}): {input:?}"),
    }
}

/// The input at hand and since when; a thread of its own ends the process if it hangs.
struct Watch(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    input: Vec<u8>,
    since: Option<Instant>,
    over: bool,
}

impl Watch {
    fn start(name: &'static str) -> Watch {
        let state = Arc::new(Mutex::new(State::default()));
        let watched = state.clone();
        thread::spawn(move || {
            loop {
                thread::sleep(Duration::from_millis(200));
                let state = watched.lock().unwrap_or_else(PoisonError::into_inner);
                if state.over {
                    return;
                }
                if state
                    .since
                    .is_some_and(|since| since.elapsed() > HANG_LIMIT)
                {
                    eprintln!("{name}: it hangs; input in {}", keep(name, &state.input));
                    process::abort();
                }
            }
        });
        Watch(state)
    }

    fn begin(&self, input: &[u8]) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.input.clear();
        state.input.extend_from_slice(input);
        state.since = Some(Instant::now());
    }

    fn end(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.since = None;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.over = true;
    }
}

/// A target whose promise is `run`, on inputs of eight bytes.
#[cfg(test)]
fn broken(run: impl Fn(&[u8], u64) + 'static) -> Target {
    Target {
        name: "broken",
        corpus: vec![vec![7; 8]],
        max_input_bytes: 8,
        max_memory_bytes: 1 << 20,
        run: Box::new(run),
    }
}

#[test]
fn a_panic_and_too_much_memory_are_failures() {
    let _alone = alone();
    let fails = |target: &Target| panic::catch_unwind(AssertUnwindSafe(|| run(target, 1, 1, 0)));
    let unlucky = broken(|input, _| assert!(!input.contains(&255), "found"));
    assert!(fails(&unlucky).is_err());
    let greedy = broken(|input, _| {
        let claimed = usize::from(input.first().copied().unwrap_or(0)) << 14;
        drop(std::hint::black_box(Vec::<u8>::with_capacity(claimed)));
    });
    assert!(fails(&greedy).is_err());
}
