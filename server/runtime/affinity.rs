//! Which processors threads run on: `server-cpulist` for the workers,
//! `bio-cpulist` for all others. Source: valkey.conf.

use std::io;
use std::mem::{size_of, zeroed};
use std::sync::OnceLock;

use crate::config::{Config, id};

/// What the process was given.
static GIVEN: OnceLock<Cpus> = OnceLock::new();

/// A set of processors.
#[derive(Clone, Copy)]
struct Cpus(libc::cpu_set_t);

/// Puts this thread, and so those that it will start, where background threads
/// belong. Called once, by the first thread.
pub fn begin(config: &Config) {
    let given = Cpus::current();
    let _ = GIVEN.set(given);
    if let Some(cpus) = Cpus::listed(&config.string(id("bio-cpulist"))) {
        cpus.hold("bio-cpulist");
    }
}

/// Puts this thread where workers belong.
pub fn begin_worker(config: &Config) {
    let listed = |name| Cpus::listed(&config.string(id(name)));
    if let Some(cpus) = listed("server-cpulist") {
        cpus.hold("server-cpulist");
    } else if let (Some(_), Some(given)) = (listed("bio-cpulist"), GIVEN.get()) {
        given.hold("bio-cpulist");
    }
}

/// How many processors there are for workers.
pub fn worker_cpus(config: &Config) -> usize {
    let given = GIVEN.get().copied().unwrap_or_else(Cpus::current);
    let given = given.count().max(1);
    match Cpus::listed(&config.string(id("server-cpulist"))) {
        Some(cpus) => cpus.count().min(given),
        None => given,
    }
}

impl Cpus {
    fn none() -> Cpus {
        // SAFETY: a set of zeros is one.
        Cpus(unsafe { zeroed() })
    }

    /// Those of this thread; none if the system does not tell.
    fn current() -> Cpus {
        let mut cpus = Cpus::none();
        // SAFETY: the set is as large as is said.
        unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut cpus.0) };
        cpus
    }

    /// Those of a list such as `0,2,4-7,8-15:2`, ranges with a step; None if it
    /// is empty or no list.
    fn listed(list: &str) -> Option<Cpus> {
        let mut cpus = Cpus::none();
        for part in list.split(',') {
            let (range, step) = part.split_once(':').unwrap_or((part, "1"));
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let number = |text: &str| text.trim().parse::<usize>().ok();
            let (first, last, step) = (number(first)?, number(last)?, number(step)?);
            if last < first || last >= libc::CPU_SETSIZE as usize || step == 0 {
                return None;
            }
            for cpu in (first..=last).step_by(step) {
                // SAFETY: it is within the set.
                unsafe { libc::CPU_SET(cpu, &mut cpus.0) };
            }
        }
        Some(cpus)
    }

    fn count(&self) -> usize {
        // SAFETY: it only reads the set.
        let count = unsafe { libc::CPU_COUNT(&self.0) };
        usize::try_from(count).unwrap_or(0)
    }

    /// Puts this thread on them.
    fn hold(&self, directive: &str) {
        // SAFETY: the set is as large as is said.
        let held = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &self.0) };
        if held != 0 {
            let error = io::Error::last_os_error();
            tracing::warn!("{directive} can't be heeded: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_valkey_reads_them() {
        let listed = |list: &str| {
            let cpus = Cpus::listed(list)?;
            // SAFETY: numbers within the set.
            let has = |cpu: &usize| unsafe { libc::CPU_ISSET(*cpu, &cpus.0) };
            Some((0..64).filter(has).collect::<Vec<_>>())
        };
        assert_eq!(listed("3"), Some(vec![3]));
        assert_eq!(listed("0,2,4-6"), Some(vec![0, 2, 4, 5, 6]));
        assert_eq!(listed("0-10:5, 12"), Some(vec![0, 5, 10, 12]));
        for wrong in ["", "a", "1,", "2-1", "0-4:0", "0-99999999", "-1", "1-"] {
            assert_eq!(listed(wrong), None, "{wrong}");
        }
    }
}
