//! Our server against Valkey, under random commands of all families: every reply is compared,
//! the whole keyspace now and then, again after a restart of ours, and once more on a replica.
//!
//! A short part of it is meant for `cargo test`; `scripts/differential` runs as many commands as one
//! likes, goes on after a difference if asked to, and shows for each the fewest commands that
//! lead to it. A run is a row of epochs; an epoch begins with empty keyspaces and with drawn
//! thresholds of encodings, protocol and notifications, and repeats from its own seed.

mod duel;
mod generator;
mod grammar;
mod keyspace;
mod match_up;
mod random;
mod rules;
mod shrink;
mod steps;
#[path = "../support/mod.rs"]
mod support;
mod templates;
mod values;

use std::collections::HashSet;
use std::time::Instant;

use duel::{Mismatch, What};
use generator::Generator;
use match_up::Arena;
use random::Random;

const SHORT_COMMANDS: usize = 20_000;
const COMMANDS_AN_EPOCH: usize = 50_000;

#[test]
fn replies_and_keys_are_as_valkeys() {
    let found = campaign(1, SHORT_COMMANDS, 5_000, 1);
    assert_eq!(found, 0, "differences, see above");
}

#[test]
#[ignore = "runs DIFFERENTIAL_COMMANDS commands: scripts/differential"]
fn replies_and_keys_are_as_valkeys_for_long() {
    let seed = number("DIFFERENTIAL_SEED").unwrap_or(1);
    let commands = number("DIFFERENTIAL_COMMANDS").unwrap_or(1_000_000) as usize;
    let epoch = number("DIFFERENTIAL_EPOCH").map_or(COMMANDS_AN_EPOCH, |size| size as usize);
    let most = number("DIFFERENTIAL_MOST").unwrap_or(1) as usize;
    let found = campaign(seed, commands, epoch, most);
    assert_eq!(found, 0, "differences, see above");
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("DIFFERENTIAL_… are numbers"))
}

/// Runs epochs until so many commands were compared or so many differences found; gives the
/// latter's number.
fn campaign(seed: u64, commands: usize, epoch: usize, most: usize) -> usize {
    let generator = Generator::new();
    let mut arena = Arena::start(true);
    let mut seeds = Random::new(seed);
    // The first epoch's seed is the campaign's: so a single epoch repeats with its seed.
    let mut epoch_seed = seed;
    let began = Instant::now();
    let (mut done, mut found) = (0, 0);
    let mut seen = HashSet::new();
    while done < commands && found < most {
        let wanted = epoch.min(commands - done);
        match arena.epoch(&generator, epoch_seed, wanted) {
            Ok(count) => done += count,
            Err(mismatch) => {
                found += 1;
                done += arena.duel.history.len();
                if seen.insert(signature(&arena, &mismatch)) {
                    report(&mut arena, &mismatch, epoch_seed, epoch);
                }
            }
        }
        epoch_seed = seeds.bits() >> 1;
        arena.duel.history.clear();
        println!(
            "{done} commands, {found} differences, {:.0} commands/s, drift {} ms",
            done as f64 / began.elapsed().as_secs_f64(),
            arena.duel.drift_ms
        );
    }
    found
}

/// What tells differences apart, so that each is reported once.
fn signature(arena: &Arena, mismatch: &Mismatch) -> String {
    let start = |text: &str| text.chars().take(12).collect::<String>();
    match &mismatch.what {
        What::Reply(at) => {
            let name = String::from_utf8_lossy(&arena.duel.history[*at].args[0]).to_uppercase();
            format!(
                "{name} {} {}",
                start(&mismatch.ours),
                start(&mismatch.theirs)
            )
        }
        _ => format!("{:?}", mismatch.what),
    }
}

fn report(arena: &mut Arena, mismatch: &Mismatch, seed: u64, epoch: usize) {
    println!("\nDIFFERENCE: {}", described(arena, mismatch));
    println!("  ours:   {}\n  theirs: {}", mismatch.ours, mismatch.theirs);
    println!("  repeat: scripts/differential --seed {seed} --commands {epoch} --epoch {epoch}");
    match shrink::shrink(arena, mismatch) {
        Some(commands) => println!(
            "  fewest commands found, the last of {}:\n{}",
            commands.len(),
            shrink::script(&commands[commands.len().saturating_sub(40)..])
        ),
        None => {
            println!("  (not shown by the same commands again: it depends on time, or on a step)")
        }
    }
}

fn described(arena: &Arena, mismatch: &Mismatch) -> String {
    match &mismatch.what {
        What::Key(key) => format!("key {key}"),
        What::Reply(at) => shrink::script(&arena.duel.history[*at..=*at]),
        What::Events(at) => format!("events before command {at}"),
    }
}
