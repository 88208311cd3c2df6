//! How the cost of the bus and the time to agree grow with the cluster.

use crate::faults;
use crate::world::World;

/// Forms a cluster of `count` nodes: at most a third of them primaries, each
/// with as many replicas. Lets it idle for 10 virtual seconds, kills a
/// primary, and reports one line.
pub fn run(count: usize, seed: u64) -> Result<String, String> {
    let mut world = World::new(seed, None, false);
    world.timeout_ms = 2000;
    world.with_data = false;
    let most = (count / 3).max(3).min(count);
    let primaries = (3..=most).rev().find(|some| count.is_multiple_of(*some));
    let primaries = primaries.unwrap_or(most);
    let replicas = (count / primaries).saturating_sub(1);
    let began_ms = world.now_ms;
    faults::form(&mut world, primaries, replicas)?;
    let formed_ms = world.now_ms - began_ms;
    let (bytes, packets) = (world.network.bytes, world.network.packets);
    world.run_for(10_000)?;
    let nodes = world.nodes.len() as u64;
    let rate = (world.network.bytes - bytes) / 10 / nodes;
    let packet_rate = (world.network.packets - packets) / 10 / nodes;
    let mut line = format!(
        "{nodes} nodes: formed in {formed_ms} ms, {rate} bytes/s and {packet_rate} packets/s sent by each"
    );
    if replicas > 0 {
        for node in &mut world.nodes {
            node.synced = true;
            node.heard_ms = world.now_ms;
        }
        let killed_ms = world.now_ms;
        world.crash(0);
        while world.invariants.promotions == 0 {
            world.run_for(10)?;
            if world.now_ms - killed_ms > 30_000 {
                return Err("nobody takes over".into());
            }
        }
        let taken_ms = world.now_ms - killed_ms;
        line.push_str(&format!(", takeover after {taken_ms} ms"));
    }
    Ok(line)
}
