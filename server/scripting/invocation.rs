//! What is called, how, and why it may be ended.

use std::sync::Arc;

use super::cache::Script;
use super::library::Library;
use crate::commands::command::flag;
use crate::keyspace::KeyRef;
use crate::keyspace::stripe::StripeSet;

/// What a script's first line or a function's registration says about it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct Flags {
    pub no_writes: bool,
    pub allow_oom: bool,
    pub allow_stale: bool,
    pub no_cluster: bool,
    pub allow_cross_slot_keys: bool,
}

impl Flags {
    /// Sets a flag by its name; false if there is none of that name.
    pub fn set(&mut self, name: &[u8]) -> bool {
        match name {
            b"no-writes" => self.no_writes = true,
            b"allow-oom" => self.allow_oom = true,
            b"allow-stale" => self.allow_stale = true,
            b"no-cluster" => self.no_cluster = true,
            b"allow-cross-slot-keys" => self.allow_cross_slot_keys = true,
            _ => return false,
        }
        true
    }

    /// The names of the flags that are set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        [
            (self.no_writes, "no-writes"),
            (self.allow_oom, "allow-oom"),
            (self.allow_stale, "allow-stale"),
            (self.no_cluster, "no-cluster"),
            (self.allow_cross_slot_keys, "allow-cross-slot-keys"),
        ]
        .into_iter()
        .filter_map(|(is_set, name)| is_set.then_some(name))
    }
}

/// What is called.
#[derive(Clone)]
pub enum What {
    /// A script of EVAL.
    Script(Arc<Script>),
    /// A function of a library, by its number there.
    Function(Arc<Library>, usize),
}

impl What {
    /// The script's SHA-1 or the function's name.
    pub fn name(&self) -> String {
        match self {
            What::Script(script) => String::from_utf8_lossy(&script.sha).into_owned(),
            What::Function(library, number) => library.functions[*number].name.clone(),
        }
    }
}

/// A call of a script or function.
pub struct Invocation<'a> {
    /// The script or function.
    pub what: What,
    /// Where its function is in the interpreter's registry.
    pub function: i32,
    /// KEYS.
    pub keys: &'a [&'a [u8]],
    /// ARGV.
    pub args: &'a [&'a [u8]],
    /// The command that called it.
    pub command: &'a [&'a [u8]],
    /// It was called by a command that only reads.
    pub read_only: bool,
}

impl Invocation<'_> {
    /// The stripes of the keys that it declares.
    pub fn stripes(&self) -> StripeSet {
        let mut stripes = StripeSet::default();
        for key in self.keys {
            stripes.add(KeyRef::new(key).stripe());
        }
        stripes
    }

    /// What its first line says of it, if it has one.
    pub fn flags(&self) -> Option<Flags> {
        match &self.what {
            What::Script(script) => script.flags,
            What::Function(library, number) => Some(library.functions[*number].flags),
        }
    }

    /// Whether it may change something, as far as it says.
    pub fn may_write(&self) -> bool {
        !self.read_only && !self.flags().is_some_and(|flags| flags.no_writes)
    }
}

/// Why a run is ended from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Abort {
    /// SCRIPT KILL.
    ScriptKill,
    /// FUNCTION KILL.
    FunctionKill,
    /// It must begin again, with all stripes locked.
    Restart,
    /// What let it pass may not hold any more: its command is asked again.
    Postpone,
}

/// Whether a command tells others something or changes something.
pub fn has_effects(flags: u32) -> bool {
    flags & (flag::WRITE | flag::MAY_REPLICATE | flag::PUBSUB) != 0
}
