//! Whom the kernel kills first when memory runs out: `oom-score-adj` and its
//! values. Source: Valkey; proc(5).

use std::fs;
use std::io;

use parking_lot::Mutex;

use crate::config::{Config, Value, id};

/// Where the kernel is told.
const FILE: &str = "/proc/self/oom_score_adj";
/// What it takes at most, either way.
const MOST: i32 = 1000;

/// What the directives ask for.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Wanted {
    /// Of a primary and of a replica; None leaves the score alone.
    scores: Option<[i32; 2]>,
    /// They are added to what there was before.
    relative: bool,
}

struct State {
    wanted: Wanted,
    is_replica: bool,
    /// The score that the process had before it was changed.
    before: Option<i32>,
}

static STATE: Mutex<State> = Mutex::new(State {
    wanted: Wanted {
        scores: None,
        relative: false,
    },
    is_replica: false,
    before: None,
});

/// Heeds the directives; if that fails all is as before.
pub fn set(config: &Config) -> io::Result<()> {
    let mode = config.string(id("oom-score-adj"));
    let scores = match config.value(id("oom-score-adj-values")) {
        Value::OomScores([primary, replica, _]) if mode != "no" => Some([*primary, *replica]),
        _ => None,
    };
    let mut state = STATE.lock();
    let former = std::mem::replace(
        &mut state.wanted,
        Wanted {
            scores,
            relative: mode != "absolute",
        },
    );
    let written = state.write();
    if written.is_err() {
        state.wanted = former;
        let _ = state.write();
    }
    written
}

/// Heeds the directives at the start, as far as the system lets it.
pub fn begin(config: &Config) {
    warn_of_failure(set(config));
}

/// Heeds the role.
pub fn set_role(is_replica: bool) {
    let mut state = STATE.lock();
    state.is_replica = is_replica;
    warn_of_failure(state.write());
}

fn warn_of_failure(written: io::Result<()>) {
    if let Err(error) = written {
        tracing::warn!("Unable to write oom_score_adj: {error}");
    }
}

impl State {
    fn write(&mut self) -> io::Result<()> {
        let Some(scores) = self.wanted.scores else {
            let Some(before) = self.before else {
                return Ok(());
            };
            fs::write(FILE, before.to_string())?;
            self.before = None;
            return Ok(());
        };
        let before = match self.before {
            Some(before) => before,
            None => read()?,
        };
        self.before = Some(before);
        let score = scores[usize::from(self.is_replica)];
        let base = if self.wanted.relative { before } else { 0 };
        let score = score.saturating_add(base).clamp(-MOST, MOST);
        fs::write(FILE, score.to_string())
    }
}

fn read() -> io::Result<i32> {
    let text = fs::read_to_string(FILE)?;
    text.trim().parse().map_err(io::Error::other)
}
