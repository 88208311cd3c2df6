//! Scenarios: a cluster is formed, faults befall it, the faults end, and it
//! has to come to rest.

use redoubt_cluster::bus::Failover;
use redoubt_cluster::flags::Flags;
use redoubt_cluster::identity::Epoch;
use redoubt_cluster::random::Random;

use crate::invariants;
use crate::network::Weather;
use crate::node::Node;
use crate::world::World;

/// How long a cluster may take to form, and to come to rest.
const PATIENCE_MS: u64 = 60_000;

/// What a seed stands for.
pub struct Scenario {
    pub primaries: usize,
    pub replicas: usize,
    /// Virtual time of faults.
    pub faults_ms: u64,
    random: Random,
}

impl Scenario {
    /// Draws one.
    pub fn draw(seed: u64, seconds: u64) -> Scenario {
        let mut random = Random::new(seed.wrapping_mul(0x5851_f42d_4c95_7f2d) ^ 0x7363_656e);
        Scenario {
            primaries: 3 + random.below(3) as usize,
            replicas: 1 + usize::from(random.below(3) == 0),
            faults_ms: seconds * 1000,
            random,
        }
    }
}

/// Forms a cluster: `primaries` with the slots shared out, each with `replicas`.
pub fn form(world: &mut World, primaries: usize, replicas: usize) -> Result<(), String> {
    let count = primaries * (1 + replicas);
    for number in 0..count {
        world.add_node();
        let share = 16384 * number as u64 / primaries as u64;
        let end = 16384 * (number as u64 + 1) / primaries as u64;
        let slots: Vec<_> = match number < primaries {
            true => (share..end).map(World::slot).collect(),
            false => Vec::new(),
        };
        world.order(number, |bus| {
            bus.set_config_epoch(Epoch(number as u64 + 1)).is_ok()
                && bus.change_slots(&slots, true).is_ok()
        })?;
    }
    for number in 1..count {
        world.order(0, |bus| bus.meet(&Node::ip(number), 6379, 16379))?;
    }
    let all_known = |world: &World| {
        let known = |bus: &&redoubt_cluster::bus::Bus| {
            let mut nodes = bus.table().iter();
            bus.table().len() == count && nodes.all(|(_, node)| !node.is(Flags::HANDSHAKE))
        };
        world.buses().iter().all(known)
    };
    let mut waited_ms = 0;
    while !all_known(world) {
        world.run_for(200)?;
        waited_ms += 200;
        if waited_ms > PATIENCE_MS {
            return Err("the nodes don't get to know each other".into());
        }
    }
    for number in primaries..count {
        let primary = (number - primaries) % primaries;
        let id = world.nodes[primary].bus.as_ref().map(|bus| bus.me().id);
        let id = id.map(|id| id.to_string()).unwrap_or_default();
        match world.order(number, |bus| bus.replicate(&id, false))? {
            Some(Ok(())) => {}
            other => return Err(format!("{number} can't replicate {primary}: {other:?}")),
        }
    }
    rest(world)
}

/// Waits until the cluster is at rest.
pub fn rest(world: &mut World) -> Result<(), String> {
    let mut waited_ms = 0;
    loop {
        let amiss = match invariants::at_rest(&world.buses()) {
            Ok(()) => match world.unequal() {
                None => return Ok(()),
                Some(number) => format!("replica {number} differs from its primary"),
            },
            Err(what) => what,
        };
        if waited_ms >= PATIENCE_MS {
            return Err(format!("not at rest: {amiss}"));
        }
        if waited_ms >= 5_000 {
            world.stop_writes();
        }
        world.run_for(500)?;
        waited_ms += 500;
    }
}

/// Plays a scenario to its end.
pub fn play(world: &mut World, scenario: &Scenario) -> Result<(), String> {
    form(world, scenario.primaries, scenario.replicas)?;
    let mut random = scenario.random.clone();
    let end_ms = world.now_ms + scenario.faults_ms;
    while world.now_ms < end_ms {
        befall(world, &mut random)?;
        let wait_ms = 100 + random.below(3000);
        world.run_for(wait_ms)?;
    }
    world.network.mend();
    for number in 0..world.nodes.len() {
        world.nodes[number].paused_until_ms = 0;
        world.start(number)?;
    }
    rest(world)?;
    lose_a_primary(world)
}

/// With everything else in order, a primary dies: its slots have to be served
/// again although it stays away.
fn lose_a_primary(world: &mut World) -> Result<(), String> {
    let with_replica = (0..world.nodes.len()).find(|number| {
        let copies = |node: &Node| {
            node.synced && node.copying.is_some_and(|copying| copying.from == *number)
        };
        world.nodes.iter().any(copies)
    });
    let Some(number) = with_replica else {
        return Ok(());
    };
    world.crash(number);
    let mut waited_ms = 0;
    while !invariants::is_served(&world.buses()) {
        world.run_for(250)?;
        waited_ms += 250;
        if waited_ms > PATIENCE_MS {
            return Err("nobody takes over from a dead primary".into());
        }
    }
    Ok(())
}

/// One fault or order.
fn befall(world: &mut World, random: &mut Random) -> Result<(), String> {
    let count = world.nodes.len();
    let pick = |random: &mut Random| random.below(count as u64) as usize;
    let victim = pick(random);
    match random.below(12) {
        0..=2 => world.crash(victim),
        3 => {
            // Several at once, while everything is slow: elections coincide.
            world.network.weather.delay_ms = random.below(600);
            for _ in 0..2 {
                world.crash(random.below(count as u64 / 2) as usize);
            }
        }
        4..=5 => {
            for number in 0..count {
                world.start(number)?;
            }
        }
        6 => world.pause(victim, 200 + random.below(6000)),
        7 => {
            for other in (0..count).filter(|other| *other != victim) {
                let both = random.below(3);
                if both != 0 {
                    world.network.cut(victim, other);
                }
                if both != 1 {
                    world.network.cut(other, victim);
                }
            }
        }
        8 => {
            let half = 1 + random.below(count as u64 - 1) as usize;
            let one_way = random.below(3) == 0;
            for one in 0..half {
                for other in half..count {
                    world.network.cut(one, other);
                    if !one_way {
                        world.network.cut(other, one);
                    }
                }
            }
        }
        9 => world.network.mend(),
        10 => {
            world.network.weather = Weather {
                loss: random.below(200),
                duplication: random.below(100),
                reordering: random.below(200),
                delay_ms: random.below(400),
            };
        }
        _ => {
            world.order(victim, |bus| bus.fail_over(Failover::Default))?;
        }
    }
    Ok(())
}
