//! Nodes that know others which don't know them: all know all again, and
//! nobody comes in whom no operator has asked in.

use redoubt_cluster::bus::{Bus, Refusal};
use redoubt_cluster::flags::Flags;

use crate::faults;
use crate::node::Node;
use crate::world::World;

/// How long a forgotten node is kept out, and then some to spare.
const FORGOTTEN_MS: u64 = 60_000;
const SPARE_MS: u64 = 20_000;

/// Primaries that share the slots, and one node more that has none.
fn cluster(seed: u64) -> World {
    let mut world = World::new(seed, None, false);
    world.with_data = false;
    world.timeout_ms = 1500;
    faults::form(&mut world, 3, 0).expect("they form a cluster");
    let spare = world.add_node();
    meet(&mut world, 0, spare);
    until_known(&mut world, &[4; 4], SPARE_MS);
    world
}

fn order(world: &mut World, number: usize, order: impl FnOnce(&mut Bus) -> Result<(), Refusal>) {
    let outcome = world.order(number, order).expect("no invariant breaks");
    assert_eq!(outcome, Some(Ok(())));
}

fn meet(world: &mut World, number: usize, other: usize) {
    order(world, number, |bus| bus.meet(&Node::ip(other), 6379, 16379));
}

fn forget(world: &mut World, number: usize, other: usize) {
    let id = world.buses()[other].me().id.to_string();
    order(world, number, |bus| bus.forget(&id));
}

/// How many nodes each node knows by name, itself among them.
fn known(world: &World) -> Vec<usize> {
    let named = |bus: &&Bus| {
        let nodes = bus.table().iter();
        nodes.filter(|(_, node)| !node.is(Flags::HANDSHAKE)).count()
    };
    world.buses().iter().map(named).collect()
}

/// Waits until each node knows so many; then that has to stay.
fn until_known(world: &mut World, expected: &[usize], patience_ms: u64) {
    let end_ms = world.now_ms + patience_ms;
    while known(world) != expected {
        assert!(
            world.now_ms < end_ms,
            "{:?}, not {expected:?}",
            known(world)
        );
        world.run_for(100).expect("no invariant breaks");
    }
    for _ in 0..SPARE_MS / 100 {
        world.run_for(100).expect("no invariant breaks");
        assert_eq!(known(world), expected, "it does not last");
    }
}

#[test]
fn who_is_reset_softly_is_taken_back_by_those_who_know_it() {
    for seed in 0..20 {
        let mut world = cluster(seed);
        order(&mut world, 3, |bus| bus.reset(false, false));
        assert_eq!(known(&world), [4, 4, 4, 1]);
        until_known(&mut world, &[4; 4], SPARE_MS);
    }
}

#[test]
fn all_know_all_again_once_forgotten_nodes_may_come_back() {
    for seed in 0..20 {
        let mut world = World::new(seed, None, false);
        world.with_data = false;
        world.timeout_ms = 1500;
        faults::form(&mut world, 3, 0).expect("they form a cluster");
        for (number, other) in [(0, 2), (1, 2), (2, 0), (2, 1)] {
            // The word may have come from the other already.
            let id = world.buses()[other].me().id.to_string();
            let forgets = |bus: &mut Bus| bus.forget(&id);
            world.order(number, forgets).expect("no invariant breaks");
        }
        world.run_for(3000).expect("no invariant breaks");
        meet(&mut world, 0, 2);
        until_known(&mut world, &[3; 3], FORGOTTEN_MS + SPARE_MS);
        faults::rest(&mut world).expect("the cluster is whole");
    }
}

#[test]
fn who_lives_and_was_forgotten_stays_out_for_its_time_and_comes_back() {
    for seed in 0..20 {
        let mut world = cluster(seed);
        forget(&mut world, 2, 3);
        world.run_for(10_000).expect("no invariant breaks");
        for _ in 0..400 {
            assert_eq!(known(&world), [3, 3, 3, 4]);
            world.run_for(100).expect("no invariant breaks");
        }
        until_known(&mut world, &[4; 4], FORGOTTEN_MS);
    }
}

#[test]
fn who_went_to_another_cluster_does_not_draw_the_old_one_behind_it() {
    for seed in 0..20 {
        let mut world = cluster(seed);
        let other = world.add_node();
        order(&mut world, 3, |bus| bus.reset(false, false));
        meet(&mut world, other, 3);
        world.run_for(FORGOTTEN_MS).expect("no invariant breaks");
        let counts = known(&world);
        assert_eq!(counts[3..], [2, 2], "{counts:?}");
    }
}
