//! Fuzzing on the stable toolchain: mutated inputs for everything that reads bytes from a client,
//! a peer or a file.
//!
//! A target gives a corpus of good inputs, a ceiling of memory, and a function that must hold for
//! any bytes. [`campaign`] mutates ([`mutator`]), runs, and watches for a panic, a broken
//! promise, too much memory ([`gauge`]) and too much time. `scripts/fuzz` runs the ignored tests,
//! each for `FUZZ_SECONDS` (60) and at least `FUZZ_RUNS` inputs; `cargo test` runs each target for two. `FUZZ_SEED` repeats a
//! campaign; a failing input is kept in `target/fuzz/`.

mod campaign;
mod gauge;
mod mutator;
mod targets;

use campaign::{long, short, short_of};
use targets::{bus, config, log, rdb, request, restore};

#[global_allocator]
static GAUGE: gauge::Gauge = gauge::Gauge;

#[test]
fn requests_briefly() {
    short(request::target);
}

#[test]
fn config_files_briefly() {
    short(config::files);
}

#[test]
fn config_quoting_briefly() {
    short(config::quoting);
}

#[test]
fn log_recovery_briefly() {
    short(log::target);
}

#[test]
fn restore_briefly() {
    short(restore::target);
}

#[test]
fn rdb_files_briefly() {
    short_of(rdb::target, 10_000);
}

#[test]
fn bus_packets_briefly() {
    short(bus::target);
}

#[test]
#[ignore = "runs for FUZZ_SECONDS: scripts/fuzz"]
fn bus_packets() {
    long(bus::target);
}

#[test]
#[ignore = "runs for FUZZ_SECONDS: scripts/fuzz"]
fn requests() {
    long(request::target);
}

#[test]
#[ignore = "runs for FUZZ_SECONDS: scripts/fuzz"]
fn config_files() {
    long(config::files);
}

#[test]
#[ignore = "runs for FUZZ_SECONDS: scripts/fuzz"]
fn config_quoting() {
    long(config::quoting);
}

#[test]
#[ignore = "runs for FUZZ_SECONDS: scripts/fuzz"]
fn log_recovery() {
    long(log::target);
}

#[test]
#[ignore = "runs for FUZZ_SECONDS: scripts/fuzz"]
fn restore() {
    long(restore::target);
}

#[test]
#[ignore = "runs for FUZZ_SECONDS: scripts/fuzz"]
fn rdb_files() {
    long(rdb::target);
}
