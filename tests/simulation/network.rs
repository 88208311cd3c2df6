//! The virtual network: connections between nodes, and what befalls packets.

use std::collections::BTreeMap;

use redoubt_cluster::random::Random;
use redoubt_cluster::table::LinkId;

/// One end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct End {
    pub node: usize,
    /// The node's start that it belongs to.
    pub life: u64,
    pub link: LinkId,
}

/// What befalls packets, in thousandths.
#[derive(Clone, Copy, Default, Debug)]
pub struct Weather {
    pub loss: u64,
    pub duplication: u64,
    /// Packets that overtake others.
    pub reordering: u64,
    /// The longest delay.
    pub delay_ms: u64,
}

/// All connections, and who can't reach whom.
pub struct Network {
    /// The other end of each end.
    ends: BTreeMap<(usize, LinkId), End>,
    /// When the last packet from an end arrives: later ones come after it.
    arrivals: BTreeMap<(usize, LinkId), u64>,
    /// Directions that are cut: (from, to).
    cut: Vec<(usize, usize)>,
    pub weather: Weather,
    pub random: Random,
    pub bytes: u64,
    pub packets: u64,
}

impl Network {
    pub fn new(seed: u64) -> Network {
        Network {
            ends: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            cut: Vec::new(),
            weather: Weather::default(),
            random: Random::new(seed),
            bytes: 0,
            packets: 0,
        }
    }

    /// Cuts a direction.
    pub fn cut(&mut self, from: usize, to: usize) {
        self.cut.push((from, to));
    }

    /// Mends all directions.
    pub fn mend(&mut self) {
        self.cut.clear();
        self.weather = Weather::default();
    }

    /// Whether packets get from one node to another.
    pub fn reaches(&self, from: usize, to: usize) -> bool {
        !self.cut.contains(&(from, to))
    }

    /// Joins two ends.
    pub fn join(&mut self, one: End, other: End) {
        self.ends.insert((one.node, one.link), other);
        self.ends.insert((other.node, other.link), one);
    }

    /// The other end.
    pub fn other(&self, node: usize, link: LinkId) -> Option<End> {
        self.ends.get(&(node, link)).copied()
    }

    /// Parts an end from its other one, which it gives.
    pub fn part(&mut self, node: usize, link: LinkId) -> Option<End> {
        let other = self.ends.remove(&(node, link))?;
        self.ends.remove(&(other.node, other.link));
        self.arrivals.remove(&(node, link));
        self.arrivals.remove(&(other.node, other.link));
        Some(other)
    }

    /// The connections of a node.
    pub fn links_of(&self, node: usize) -> Vec<LinkId> {
        let range = (node, LinkId(0))..(node + 1, LinkId(0));
        self.ends.range(range).map(|((_, link), _)| *link).collect()
    }

    fn chance(&mut self, thousandths: u64) -> bool {
        thousandths > 0 && self.random.below(1000) < thousandths
    }

    /// A delay of now.
    pub fn delay_ms(&mut self) -> u64 {
        let bound = self.weather.delay_ms;
        1 + self.random.below(3)
            + if bound > 0 {
                self.random.below(bound)
            } else {
                0
            }
    }

    /// When a packet sent now arrives: not at all, once, or twice.
    pub fn arrivals(&mut self, from: usize, link: LinkId, to: usize, now_ms: u64) -> Vec<u64> {
        if !self.reaches(from, to) || self.chance(self.weather.loss) {
            return Vec::new();
        }
        let mut at_ms = now_ms + self.delay_ms();
        if !self.chance(self.weather.reordering) {
            let last_ms = self.arrivals.entry((from, link)).or_default();
            at_ms = at_ms.max(*last_ms);
            *last_ms = at_ms;
        }
        let mut all = vec![at_ms];
        if self.chance(self.weather.duplication) {
            all.push(at_ms + 1 + self.random.below(2000));
        }
        all
    }
}
