//! Scripts and functions in Lua 5.1: EVAL, SCRIPT, FUNCTION, FCALL.
//!
//! Owns: the interpreters, what a script may do and see, the cache of scripts,
//! the libraries of functions, and scripts that run for long. Must not know
//! sockets. Commands reach it through `run::invoke`.
//!
//! - Every worker has an interpreter of its own (`engine.rs`); scripts and
//!   libraries belong to the server (`cache.rs`, `library.rs`) and are compiled
//!   where they are first called.
//! - A script runs on a stack of its own (`run.rs`). When it takes longer than
//!   a few milliseconds it moves, stack and all, to a thread of its own, and
//!   the worker serves its other clients (`busy.rs`).
//! - A script locks the stripes of its declared keys; each further stripe when
//!   a key needs it (`locks.rs`). Its effects enter the log together at its
//!   end (I1).
//!
//! Reading order: `lua.rs`, `engine.rs`, `sandbox.rs`, `run.rs`, `call.rs`,
//! `convert.rs`, then the libraries.

mod again;
mod api;
mod bits;
mod builtins;
pub mod busy;
pub mod cache;
mod call;
mod convert;
mod effects_log;
pub mod engine;
mod helper;
pub mod invocation;
mod json;
mod json_read;
pub mod library;
pub mod line;
mod locks;
pub(crate) mod lua;
mod msgpack;
mod pack;
mod pattern;
mod protect;
mod register;
mod round;
pub mod run;
mod sandbox;
mod strings;

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};

/// What scripts share.
#[derive(Default)]
pub struct Scripting {
    /// Scripts by their SHA-1.
    pub scripts: Mutex<cache::Scripts>,
    /// Libraries of functions.
    pub libraries: RwLock<library::Libraries>,
    /// Scripts that have run for long.
    pub running: busy::Running,
    /// Who has waited for them, and goes first now.
    pub line: line::Line,
    /// Who may write without having declared what.
    pub roaming: locks::Roaming,
    /// Scripts under way, quick ones too.
    pub active: AtomicUsize,
    /// Bytes that all interpreters hold.
    pub lua_bytes: AtomicI64,
    /// How often SCRIPT FLUSH was called: interpreters start anew after it.
    pub flushes: AtomicUsize,
    /// Scripts may call any command (DEBUG set-disable-deny-scripts).
    pub any_command: AtomicBool,
}

impl Scripting {
    /// Bytes in use by interpreters.
    pub fn used_bytes(&self) -> u64 {
        self.lua_bytes.load(Ordering::Relaxed).max(0) as u64
    }
}
