//! The virtual world: events in the order of a virtual clock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use redoubt_cluster::bus::{Bus, Input, Output};
use redoubt_cluster::flags::Flags;
use redoubt_cluster::message::{Body, Message, decode, encode};
use redoubt_cluster::random::Random;
use redoubt_cluster::slots::Slot;
use redoubt_cluster::table::LinkId;

use crate::bugs::Bug;
use crate::invariants::Invariants;
use crate::network::{End, Network};
use crate::node::{Copying, NODE_TIMEOUT_MS, Node};

/// Unix time at which every simulation begins.
const BEGIN_MS: u64 = 1_700_000_000_000;
/// How often replication takes a step.
const COPY_MS: u64 = 50;
/// How long a full copy takes.
const FULL_COPY_MS: u64 = 300;

/// Something that is going to happen at a node.
#[derive(Debug)]
enum What {
    Tick,
    Connected(LinkId),
    Accepted(LinkId, String, String),
    Received(LinkId, Arc<[u8]>),
    Closed(LinkId, bool),
    /// A connection that a node opens arrives at another.
    Knock {
        from: End,
        ip: String,
    },
}

struct Event {
    at_ms: u64,
    sequence: u64,
    node: usize,
    life: u64,
    what: What,
}

impl PartialEq for Event {
    fn eq(&self, other: &Event) -> bool {
        (self.at_ms, self.sequence) == (other.at_ms, other.sequence)
    }
}
impl Eq for Event {}
impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Event) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Event {
    fn cmp(&self, other: &Event) -> std::cmp::Ordering {
        (self.at_ms, self.sequence).cmp(&(other.at_ms, other.sequence))
    }
}

/// Everything.
pub struct World {
    pub now_ms: u64,
    pub nodes: Vec<Node>,
    pub network: Network,
    pub random: Random,
    pub invariants: Invariants,
    pub trace: Vec<String>,
    pub timeout_ms: u64,
    /// Whether data is modelled.
    pub with_data: bool,
    tracing: bool,
    bug: Option<Bug>,
    events: BinaryHeap<Reverse<Event>>,
    sequence: u64,
    writes: u64,
    next_copy_ms: u64,
    seed: u64,
}

impl World {
    pub fn new(seed: u64, bug: Option<Bug>, tracing: bool) -> World {
        World {
            now_ms: BEGIN_MS,
            nodes: Vec::new(),
            network: Network::new(seed ^ 0x6e65_7477),
            random: Random::new(seed),
            invariants: Invariants::default(),
            trace: Vec::new(),
            timeout_ms: NODE_TIMEOUT_MS,
            with_data: true,
            tracing,
            bug,
            events: BinaryHeap::new(),
            sequence: 0,
            writes: 0,
            next_copy_ms: BEGIN_MS,
            seed,
        }
    }

    fn say(&mut self, line: impl FnOnce() -> String) {
        if self.tracing {
            let at = self.now_ms - BEGIN_MS;
            self.trace.push(format!("{at} {}", line()));
        }
    }

    fn plan(&mut self, at_ms: u64, node: usize, what: What) {
        let life = self.nodes[node].life;
        self.plan_for(at_ms, node, life, what);
    }

    fn plan_for(&mut self, at_ms: u64, node: usize, life: u64, what: What) {
        self.sequence += 1;
        self.events.push(Reverse(Event {
            at_ms,
            sequence: self.sequence,
            node,
            life,
            what,
        }));
    }

    /// Adds a server and starts it.
    pub fn add_node(&mut self) -> usize {
        let number = self.nodes.len();
        let skew_ms = self.random.below(3000);
        self.nodes.push(Node::new(number, skew_ms));
        self.start(number).expect("a fresh node starts");
        number
    }

    /// Starts a server from its disk.
    pub fn start(&mut self, number: usize) -> Result<(), String> {
        self.say(|| format!("start {number}"));
        let seed = self.random.draw();
        let now_ms = self.now_ms;
        let timeout_ms = self.timeout_ms;
        let node = &mut self.nodes[number];
        if node.bus.is_some() {
            return Ok(());
        }
        node.life += 1;
        node.inbound_links += 1000;
        let options = node.options(timeout_ms);
        let text = match self.bug {
            Some(bug) => bug.saved(&node.disk.synced),
            None => node.disk.synced.clone(),
        };
        node.disk.written.clone_from(&node.disk.synced);
        let at_ms = now_ms + node.skew_ms;
        let bus = Bus::new(options, Some(&text), seed ^ self.seed, at_ms)
            .map_err(|why| format!("node {number} can't read its file: {why}"))?;
        node.copying = None;
        node.synced = bus.me().is(Flags::REPLICA) && !node.data.is_empty() && node.synced;
        node.bus = Some(bus);
        self.after(number)
    }

    /// Ends a server at once; what was not synced may be lost.
    pub fn crash(&mut self, number: usize) {
        self.say(|| format!("crash {number}"));
        if self.nodes[number].bus.take().is_none() {
            return;
        }
        if self.random.below(2) == 0 {
            let node = &mut self.nodes[number];
            node.disk.synced.clone_from(&node.disk.written);
        }
        self.nodes[number].paused_until_ms = 0;
        self.nodes[number].life += 1;
        for link in self.network.links_of(number) {
            self.hang_up(number, link);
        }
    }

    /// Closes a connection from one side; the other hears of it if it can.
    fn hang_up(&mut self, number: usize, link: LinkId) {
        if let Some(other) = self.network.part(number, link) {
            let delay_ms = self.network.delay_ms();
            let heard = self.network.reaches(number, other.node);
            // A lost farewell is noticed late.
            let at_ms = self.now_ms + if heard { delay_ms } else { 15_000 };
            self.plan_for(
                at_ms,
                other.node,
                other.life,
                What::Closed(other.link, false),
            );
        }
    }

    /// Stops a process for a while.
    pub fn pause(&mut self, number: usize, for_ms: u64) {
        self.say(|| format!("pause {number} for {for_ms}"));
        self.nodes[number].paused_until_ms = self.now_ms + for_ms;
    }

    /// Gives an order to a server that runs; None if it doesn't.
    pub fn order<T>(
        &mut self,
        number: usize,
        order: impl FnOnce(&mut Bus) -> T,
    ) -> Result<Option<T>, String> {
        let at_ms = self.now_ms + self.nodes[number].skew_ms;
        if self.nodes[number].paused_until_ms > self.now_ms {
            return Ok(None);
        }
        let Some(bus) = &mut self.nodes[number].bus else {
            return Ok(None);
        };
        let result = bus.order(at_ms, order);
        self.after(number)?;
        Ok(Some(result))
    }

    /// Lets time pass.
    pub fn run_for(&mut self, ms: u64) -> Result<(), String> {
        let end_ms = self.now_ms + ms;
        loop {
            let next_ms = self.events.peek().map(|event| event.0.at_ms);
            if self.with_data && self.next_copy_ms <= next_ms.unwrap_or(end_ms).min(end_ms) {
                self.now_ms = self.next_copy_ms.max(self.now_ms);
                self.next_copy_ms += COPY_MS;
                self.copy()?;
                continue;
            }
            if next_ms.is_none_or(|at_ms| at_ms > end_ms) {
                break;
            }
            let Some(Reverse(event)) = self.events.pop() else {
                break;
            };
            self.now_ms = event.at_ms.max(self.now_ms);
            self.happen(event)?;
        }
        self.now_ms = end_ms;
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        let number = event.node;
        let node = &mut self.nodes[number];
        if let What::Knock { from, ip } = event.what {
            return self.knock(number, from, &ip);
        }
        if node.life != event.life || node.bus.is_none() {
            return Ok(());
        }
        if node.paused_until_ms > self.now_ms {
            let at_ms = node.paused_until_ms;
            self.plan_for(at_ms, number, event.life, event.what);
            return Ok(());
        }
        let at_ms = self.now_ms + node.skew_ms;
        let altered;
        let input = match &event.what {
            What::Tick => {
                let due_ms = node.bus.as_ref().map_or(0, Bus::poll_timeout);
                if due_ms > at_ms {
                    return Ok(());
                }
                Input::Tick
            }
            What::Connected(link) => Input::Connected(*link),
            What::Accepted(link, peer, local) => Input::Accepted {
                link: *link,
                peer: peer.clone(),
                local: local.clone(),
            },
            What::Received(link, packet) => match self.bug.map(|bug| bug.incoming(packet)) {
                None => Input::Received(*link, packet),
                Some(None) => return Ok(()),
                Some(Some(bytes)) => {
                    altered = bytes;
                    Input::Received(*link, &altered)
                }
            },
            What::Closed(link, refused) => Input::Closed {
                link: *link,
                refused: *refused,
            },
            What::Knock { .. } => return Ok(()),
        };
        let mut replication = node.replication();
        if self.bug == Some(Bug::StaleDataTakesOver) {
            replication.synced = true;
            replication.heard_ms = at_ms;
        }
        if let Some(bus) = &mut node.bus {
            bus.handle(at_ms, Input::Replication(replication));
            bus.handle(at_ms, input);
        }
        if self.tracing {
            let line = match &event.what {
                What::Received(link, packet) => {
                    format!("{number} received {link:?} {} bytes", packet.len())
                }
                other => format!("{number} {other:?}"),
            };
            self.say(|| line);
        }
        self.plant_vote(number, &event.what)?;
        self.after(number)
    }

    /// A connection arrives: it is taken, refused, or lost.
    fn knock(&mut self, number: usize, from: End, ip: &str) -> Result<(), String> {
        let opener = from.node;
        let delay_ms = self.network.delay_ms();
        let reachable =
            self.network.reaches(opener, number) && self.network.reaches(number, opener);
        let alive = self.nodes[opener].life == from.life;
        if !reachable || !alive {
            let at_ms = self.now_ms + self.timeout_ms / 2;
            self.plan_for(at_ms, opener, from.life, What::Closed(from.link, false));
            return Ok(());
        }
        if self.nodes[number].bus.is_none() {
            let at_ms = self.now_ms + delay_ms;
            self.plan_for(at_ms, opener, from.life, What::Closed(from.link, true));
            return Ok(());
        }
        let node = &mut self.nodes[number];
        node.inbound_links += 1;
        let link = LinkId::inbound(node.inbound_links);
        let end = End {
            node: number,
            life: node.life,
            link,
        };
        self.network.join(from, end);
        let accepted = What::Accepted(link, Node::ip(opener), ip.to_owned());
        self.plan(self.now_ms, number, accepted);
        let connected = What::Connected(from.link);
        self.plan_for(self.now_ms + delay_ms, opener, from.life, connected);
        Ok(())
    }

    /// Carries out what a state machine asks for, then checks the invariants.
    fn after(&mut self, number: usize) -> Result<(), String> {
        while let Some(output) = self.nodes[number].bus.as_mut().and_then(Bus::poll_output) {
            let output = match self.bug {
                Some(bug) => bug.outgoing(output),
                None => Some(output),
            };
            if let Some(output) = output {
                self.carry_out(number, output)?;
            }
        }
        let node = &self.nodes[number];
        let Some(bus) = &node.bus else { return Ok(()) };
        self.invariants.epochs(bus)?;
        self.invariants.claims(bus)?;
        let due_ms = bus.poll_timeout().saturating_sub(node.skew_ms);
        self.plan(due_ms.max(self.now_ms), number, What::Tick);
        Ok(())
    }

    fn carry_out(&mut self, number: usize, output: Output) -> Result<(), String> {
        let life = self.nodes[number].life;
        match output {
            Output::Persist { text, sync } => {
                let disk = &mut self.nodes[number].disk;
                disk.written = text;
                if sync || disk.synced.is_empty() {
                    disk.synced.clone_from(&disk.written);
                }
            }
            Output::Connect { link, ip, .. } => {
                let from = End {
                    node: number,
                    life,
                    link,
                };
                let target = (0..self.nodes.len()).find(|other| Node::ip(*other) == ip);
                let at_ms = self.now_ms + self.network.delay_ms();
                match target {
                    Some(target) => self.plan(at_ms, target, What::Knock { from, ip }),
                    None => self.plan(at_ms, number, What::Closed(link, false)),
                }
            }
            Output::Close(link) => self.hang_up(number, link),
            Output::Send(link, packet) => {
                self.send(number, link, &packet)?;
                self.forge_vote(number, link, &packet);
            }
            Output::BecomeReplicaOf { ip, .. } => {
                let from = (0..self.nodes.len()).find(|other| Node::ip(*other) == ip);
                self.nodes[number].copying = from.map(|from| Copying {
                    from,
                    full_until_ms: None,
                });
            }
            Output::BecomePrimary => self.promoted(number)?,
            Output::PauseWrites(until) => {
                let at_ms = self.now_ms + self.nodes[number].skew_ms;
                let node = &mut self.nodes[number];
                node.writes_paused = until.is_some();
                let offset = node.data.len() as u64;
                if let Some(bus) = node.bus.as_mut().filter(|_| until.is_some()) {
                    bus.handle(at_ms, Input::WritesPaused { offset });
                }
            }
            Output::DeleteAll => self.nodes[number].data.clear(),
            Output::Note(text) => self.say(|| format!("{number} notes: {text}")),
            Output::DeleteKeys(_) | Output::Deliver { .. } => {}
        }
        Ok(())
    }

    fn send(&mut self, number: usize, link: LinkId, packet: &Arc<[u8]>) -> Result<(), String> {
        let Some(other) = self.network.other(number, link) else {
            return Ok(());
        };
        // Kind 6 is a vote.
        if packet[12..14] == [0, 6] {
            self.note_vote(number, other.node, packet)?;
        }
        self.network.bytes += packet.len() as u64;
        self.network.packets += 1;
        for at_ms in self.network.arrivals(number, link, other.node, self.now_ms) {
            let received = What::Received(other.link, packet.clone());
            self.plan_for(at_ms, other.node, other.life, received);
        }
        Ok(())
    }

    fn note_vote(&mut self, voter: usize, candidate: usize, packet: &[u8]) -> Result<(), String> {
        let id = |world: &World, number: usize| {
            let bus = world.nodes[number].bus.as_ref();
            bus.map(|bus| bus.me().id)
        };
        let Ok(Message::Full(header, Body::AuthAck)) = decode(packet) else {
            return Err("a vote that can't be read".into());
        };
        let text = format!("{voter} votes for {candidate} in {}", header.current_epoch);
        self.say(|| text);
        match (id(self, voter), id(self, candidate)) {
            (Some(voter), Some(candidate)) => {
                self.invariants
                    .voted(voter, header.current_epoch, candidate)
            }
            _ => Ok(()),
        }
    }

    /// The bug of giving every vote that is asked for.
    fn plant_vote(&mut self, number: usize, what: &What) -> Result<(), String> {
        let What::Received(link, packet) = what else {
            return Ok(());
        };
        if self.bug != Some(Bug::DoubleVote) {
            return Ok(());
        }
        let Ok(Message::Full(request, Body::AuthRequest)) = decode(packet) else {
            return Ok(());
        };
        let Some(bus) = &self.nodes[number].bus else {
            return Ok(());
        };
        let (me, votes) = (bus.me().id, bus.me().votes());
        let Some(other) = self.network.other(number, *link).filter(|_| votes) else {
            return Ok(());
        };
        let candidate = self.nodes[other.node].bus.as_ref().map(|bus| bus.me().id);
        match candidate {
            Some(candidate) => self.invariants.voted(me, request.current_epoch, candidate),
            None => Ok(()),
        }
    }

    /// The bug of counting votes that nobody gave: each request is answered in
    /// the voter's name.
    fn forge_vote(&mut self, number: usize, link: LinkId, request: &[u8]) {
        if self.bug != Some(Bug::VotesForged) || request[12..14] != [0, 5] {
            return;
        }
        let voter = self.network.other(number, link).map(|end| end.node);
        let voter = voter.and_then(|voter| self.nodes[voter].bus.as_ref());
        let (Some(voter), Ok(Message::Full(mut header, _))) = (voter, decode(request)) else {
            return;
        };
        header.sender = voter.me().id;
        header.primary = None;
        let vote: Arc<[u8]> = encode(&Message::Full(header, Body::AuthAck)).into();
        self.plan(self.now_ms, number, What::Received(link, vote));
    }

    /// A replica has taken over: its data may not be older than allowed, but if
    /// there is no newer.
    fn promoted(&mut self, number: usize) -> Result<(), String> {
        if let Some(bus) = &self.nodes[number].bus {
            self.invariants.took_over(bus)?;
        }
        let from = self.nodes[number]
            .copying
            .take()
            .map(|copying| copying.from);
        let node = &self.nodes[number];
        let has_all = from.is_some_and(|from| self.nodes[from].data == node.data);
        let age_ms = self.now_ms.saturating_sub(node.heard_ms);
        let options = node.options(self.timeout_ms);
        let allowed_ms = options.ping_replica_period_ms
            + options.node_timeout_ms * (options.replica_validity_factor + 1);
        // An order of the operator may override it; the scenarios give none then.
        let is_old = age_ms > allowed_ms + 1000 && !has_all;
        if self.with_data && (is_old || !node.synced) {
            return Err(format!(
                "node {number} took over with data {age_ms} ms old (complete: {})",
                node.synced
            ));
        }
        Ok(())
    }

    /// One step of writes and replication.
    fn copy(&mut self) -> Result<(), String> {
        for number in 0..self.nodes.len() {
            let running = |node: &Node| node.paused_until_ms <= self.now_ms && node.bus.is_some();
            if !running(&self.nodes[number]) {
                continue;
            }
            match self.nodes[number].copying {
                None => self.write(number),
                Some(copying) if running(&self.nodes[copying.from]) => {
                    self.copy_from(number, copying);
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn write(&mut self, number: usize) {
        let node = &self.nodes[number];
        let serves = |bus: &Bus| bus.me().votes() && bus.is_healthy();
        let may = node.bus.as_ref().is_some_and(serves) && !node.writes_paused;
        if may && self.random.below(4) == 0 {
            self.writes += 1;
            let write = self.writes;
            self.nodes[number].data.push(write);
        }
    }

    fn copy_from(&mut self, number: usize, copying: Copying) {
        let reaches = |a, b| self.network.reaches(a, b);
        let from = copying.from;
        let source = &self.nodes[from];
        let is_primary = |bus: &Bus| bus.me().is(Flags::PRIMARY);
        let primary = source.bus.as_ref().is_some_and(is_primary);
        if !primary || !reaches(number, from) || !reaches(from, number) {
            return;
        }
        let now_ms = self.now_ms;
        let data = source.data.clone();
        let broken = self.bug == Some(Bug::CopyNeverCompletes);
        let node = &mut self.nodes[number];
        let partial = data.starts_with(&node.data) && (node.synced || node.data.is_empty());
        if partial || copying.full_until_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            if !broken || data.len().is_multiple_of(2) {
                node.data = data;
            }
            node.synced = true;
            node.heard_ms = now_ms;
            node.copying = Some(Copying {
                full_until_ms: None,
                ..copying
            });
        } else if copying.full_until_ms.is_none() {
            node.synced = false;
            node.copying = Some(Copying {
                full_until_ms: Some(now_ms + FULL_COPY_MS),
                ..copying
            });
        }
    }

    /// The running state machines.
    pub fn buses(&self) -> Vec<&Bus> {
        self.nodes
            .iter()
            .filter_map(|node| node.bus.as_ref())
            .collect()
    }

    /// Replicas whose data differs from their primary's.
    pub fn unequal(&self) -> Option<usize> {
        let unequal = |node: &&Node| match node.copying {
            Some(copying) => node.data != self.nodes[copying.from].data,
            None => false,
        };
        self.nodes.iter().find(unequal).map(|node| node.number)
    }

    /// Stops all writes, so that replicas can catch up.
    pub fn stop_writes(&mut self) {
        for node in &mut self.nodes {
            node.writes_paused = true;
        }
    }

    /// The slot with this number.
    pub fn slot(number: u64) -> Slot {
        Slot::new(number as u16).expect("below the count")
    }
}
