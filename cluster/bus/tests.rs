//! The rules of voting, one by one, what a hostile packet may not do, and what
//! has to be on the disk before anything is sent.

use super::*;
use crate::message::{Address, Body, Header, MFLAG_FORCE_ACK, Message, decode, encode};
use crate::slot_set::{SlotSet, all_slots};

const NOW_MS: u64 = 1_700_000_000_000;

/// A primary with the first half of the slots; another with the second half,
/// which has failed; and that one's replica, which asks for votes.
struct Scene {
    bus: Bus,
    other: NodeKey,
    candidate: NodeKey,
    link: LinkId,
}

fn half(first: bool) -> SlotSet {
    let in_half = |slot: &Slot| (slot.number() < 8192) == first;
    all_slots().filter(in_half).collect()
}

fn scene() -> Scene {
    let mut random = Random::new(5);
    let mut options = Options::default();
    options.announced.address = Address {
        ip: "10.0.0.1".into(),
        port: 7000,
        tls_port: 0,
        bus_port: 17000,
    };
    let mut bus = Bus::new(options, None, 1, NOW_MS).expect("a fresh node");
    let mut add = |flags, port| {
        let id = NodeId::random(&mut random);
        let mut node = Node::new(id, id, flags, NOW_MS);
        node.address = Address {
            ip: "10.0.0.2".into(),
            port,
            tls_port: 0,
            bus_port: port + 10_000,
        };
        bus.table.add(node)
    };
    let other = add(Flags::PRIMARY | Flags::FAIL, 7001);
    let candidate = add(Flags::REPLICA, 7002);
    let myself = bus.myself;
    bus.me_mut().config_epoch = Epoch(1);
    bus.node_mut(other).expect("added").config_epoch = Epoch(2);
    bus.node_mut(candidate).expect("added").primary = Some(other);
    half(true)
        .iter()
        .for_each(|slot| bus.table.assign(slot, myself));
    half(false)
        .iter()
        .for_each(|slot| bus.table.assign(slot, other));
    bus.current_epoch = Epoch(2);
    bus.connect(candidate);
    let link = bus.node(candidate).and_then(|node| node.link);
    let link = link.expect("connected");
    bus.handle(NOW_MS, Input::Connected(link));
    drain(&mut bus);
    Scene {
        bus,
        other,
        candidate,
        link,
    }
}

fn drain(bus: &mut Bus) -> Vec<Output> {
    std::iter::from_fn(|| bus.poll_output()).collect()
}

impl Scene {
    fn request(&self) -> Header {
        let id = |key| self.bus.node(key).map(|node| node.id);
        Header {
            sender: id(self.candidate).expect("known"),
            current_epoch: Epoch(3),
            config_epoch: Epoch(2),
            offset: 10,
            slots: half(false),
            primary: id(self.other),
            address: Address::default(),
            flags: Flags::REPLICA,
            cluster_down: true,
            message_flags: 0,
        }
    }

    /// What the node does when this request comes in.
    fn ask(&mut self, request: Header) -> Vec<Output> {
        let packet = encode(&Message::Full(Box::new(request), Body::AuthRequest));
        self.bus.handle(NOW_MS, Input::Received(self.link, &packet));
        drain(&mut self.bus)
    }

    /// The one denial that a request met.
    fn denial(mut self, request: Header) -> Denial {
        let outputs = self.ask(request);
        assert!(!outputs.iter().any(is_vote), "it voted");
        let denials: Vec<Denial> = self.bus.denials().keys().copied().collect();
        assert_eq!(denials.len(), 1, "{denials:?}");
        denials[0]
    }
}

fn is_vote(output: &Output) -> bool {
    matches!(output, Output::Send(_, packet) if packet[12..14] == [0, 6])
}

fn is_pong(output: &Output) -> bool {
    matches!(output, Output::Send(_, packet) if packet[12..14] == [0, 1])
}

#[test]
fn a_vote_is_on_the_disk_before_it_is_sent() {
    let mut scene = scene();
    let request = scene.request();
    let outputs = scene.ask(request);
    let persisted = outputs.iter().position(|output| {
        matches!(output, Output::Persist { text, sync: true } if text.contains("lastVoteEpoch 3"))
    });
    let sent = outputs.iter().position(is_vote);
    assert!(persisted.is_some() && sent.is_some(), "{outputs:?}");
    assert!(persisted < sent);
}

#[test]
fn a_restarted_node_remembers_its_vote() {
    let mut first = scene();
    let request = first.request();
    assert!(first.ask(request.clone()).iter().any(is_vote));
    let text = first.bus.saved_text();
    let bus = Bus::new(Options::default(), Some(&text), 2, NOW_MS + 60_000);
    let bus = bus.expect("what was written can be read");
    assert_eq!(bus.last_vote_epoch(), Epoch(3));
    assert_eq!(bus.current_epoch(), Epoch(3));
}

#[test]
fn without_slots_there_is_no_vote() {
    let mut scene = scene();
    scene.bus.table.release_all(scene.bus.myself);
    let request = scene.request();
    assert_eq!(scene.denial(request), Denial::NoVote);
}

#[test]
fn a_request_of_an_old_epoch_gets_no_vote() {
    let mut scene = scene();
    scene.bus.current_epoch = Epoch(9);
    let request = scene.request();
    assert_eq!(scene.denial(request), Denial::OldEpoch);
}

#[test]
fn an_epoch_has_one_vote() {
    let mut scene = scene();
    let request = scene.request();
    assert!(scene.ask(request.clone()).iter().any(is_vote));
    assert_eq!(scene.denial(request), Denial::Voted);
}

#[test]
fn a_primary_gets_no_vote() {
    let mut scene = scene();
    let node = scene.bus.node_mut(scene.candidate).expect("known");
    node.flags = Flags::PRIMARY;
    let request = scene.request();
    assert_eq!(scene.denial(request), Denial::NotReplica);
}

#[test]
fn a_replica_of_an_unknown_primary_gets_no_vote() {
    let mut scene = scene();
    scene.bus.node_mut(scene.candidate).expect("known").primary = None;
    let request = scene.request();
    assert_eq!(scene.denial(request), Denial::PrimaryUnknown);
}

#[test]
fn while_the_primary_is_up_there_is_no_vote_unless_it_is_forced() {
    let up = || {
        let mut scene = scene();
        scene.bus.node_mut(scene.other).expect("known").flags = Flags::PRIMARY;
        scene
    };
    let request = up().request();
    assert_eq!(up().denial(request.clone()), Denial::PrimaryUp);
    let forced = Header {
        message_flags: MFLAG_FORCE_ACK,
        ..request
    };
    assert!(up().ask(forced).iter().any(is_vote));
}

#[test]
fn a_claim_on_slots_that_have_changed_hands_gets_no_vote() {
    let scene = scene();
    let request = Header {
        config_epoch: Epoch(1),
        ..scene.request()
    };
    assert_eq!(scene.denial(request), Denial::OldConfig);
}

#[test]
fn damaged_packets_change_nothing() {
    let mut scene = scene();
    let mut random = Random::new(8);
    let request = Message::Full(Box::new(scene.request()), Body::AuthRequest);
    let update = Body::Update {
        id: scene.request().sender,
        config_epoch: Epoch(99),
        slots: half(true),
    };
    let update = Message::Full(Box::new(scene.request()), update);
    let packets = [encode(&request), encode(&update)];
    let before = scene.bus.saved_text();
    let mut refused = 0;
    for round in 0..4000 {
        let mut packet = packets[round % 2].clone();
        match random.below(3) {
            0 => packet.truncate(random.below(packet.len() as u64) as usize),
            1 => packet.push(random.draw() as u8),
            // The length, the version, or the sender's name.
            _ => packet[[5, 7, 9, 45][random.below(4) as usize]] ^= 0x80,
        }
        if crate::message::decode(&packet).is_ok() {
            continue;
        }
        refused += 1;
        scene
            .bus
            .handle(NOW_MS, Input::Received(scene.link, &packet));
        let outputs = drain(&mut scene.bus);
        assert!(
            outputs
                .iter()
                .all(|output| matches!(output, Output::Note(_)))
        );
    }
    assert!(refused > 3000, "{refused}");
    assert_eq!(scene.bus.saved_text(), before);
    assert_eq!(scene.bus.stats().invalid, refused);
}

#[test]
fn of_two_primaries_with_one_epoch_the_smaller_name_draws_a_new_one() {
    for larger in [true, false] {
        let mut scene = scene();
        let mine = scene.bus.me().id;
        let id = NodeId::parse(&[if larger { b'f' } else { b'0' }; 40]).expect("a name");
        scene.bus.table.rename(scene.other, id);
        scene.bus.node_mut(scene.other).expect("known").config_epoch = Epoch(1);
        scene
            .bus
            .settle_collision(scene.other, Epoch(1), &SlotSet::default());
        let draws = mine < id;
        assert_eq!(scene.bus.me().config_epoch != Epoch(1), draws);
        scene.bus.handle(NOW_MS, Input::Tick);
        assert_eq!(drain(&mut scene.bus).iter().any(is_pong), draws);
    }
}

#[test]
fn the_greater_epoch_takes_the_slots_and_the_loser_follows() {
    let mut scene = scene();
    let taker = scene.bus.table.find(&scene.request().sender);
    let taker = taker.expect("known");
    let shard = scene.bus.me().shard;
    let node = scene.bus.node_mut(taker).expect("known");
    node.shard = shard;
    node.flags = Flags::PRIMARY;
    node.primary = None;
    let claim = Header {
        config_epoch: Epoch(7),
        current_epoch: Epoch(7),
        slots: half(true),
        primary: None,
        flags: Flags::PRIMARY,
        ..scene.request()
    };
    let pong = Body::Heartbeat {
        kind: Kind::Pong,
        gossip: Vec::new(),
        extensions: Vec::new(),
    };
    let packet = encode(&Message::Full(Box::new(claim), pong));
    scene
        .bus
        .handle(NOW_MS, Input::Received(scene.link, &packet));
    let outputs = drain(&mut scene.bus);
    let follows = |output: &Output| {
        matches!(
            output,
            Output::BecomeReplicaOf {
                full_sync: false,
                ..
            }
        )
    };
    assert!(outputs.iter().any(follows), "{outputs:?}");
    assert_eq!(scene.bus.me().primary, Some(taker));
    assert_eq!(scene.bus.me().slot_count, 0);
}

#[test]
fn a_replica_without_a_whole_copy_tells_no_offset_and_does_not_stand() {
    let mut scene = scene();
    scene.bus.table.release_all(scene.bus.myself);
    let other = scene.other;
    scene.bus.become_replica_of(other, true, true);
    let stale = Replication {
        offset: 500,
        synced: false,
        heard_ms: NOW_MS,
    };
    scene.bus.handle(NOW_MS, Input::Replication(stale));
    assert_eq!(scene.bus.header(0).offset, 0);
    assert_eq!(scene.bus.holdup(), Some(Holdup::DataAge));
    let fresh = Replication {
        synced: true,
        ..stale
    };
    drain(&mut scene.bus);
    scene.bus.handle(NOW_MS + 1, Input::Replication(fresh));
    assert_eq!(scene.bus.header(0).offset, 500);
    let told = |scene: &mut Scene| drain(&mut scene.bus).iter().any(is_pong);
    assert!(told(&mut scene), "the others don't hear of the copy");
    scene.bus.handle(NOW_MS + 2, Input::Replication(fresh));
    assert!(!told(&mut scene), "they heard of it before");
    assert_eq!(scene.bus.holdup(), Some(Holdup::Delay));
}

#[test]
fn replicas_with_more_data_go_first_and_names_break_ties() {
    let mut scene = scene();
    scene.bus.table.release_all(scene.bus.myself);
    let other = scene.other;
    scene.bus.become_replica_of(other, true, false);
    let replication = Replication {
        offset: 100,
        synced: true,
        heard_ms: NOW_MS,
    };
    scene.bus.handle(NOW_MS, Input::Replication(replication));
    let mut rank_beside = |offset, name: u8| {
        let id = NodeId::parse(&[name; 40]).expect("a name");
        scene.bus.table.rename(scene.candidate, id);
        scene.bus.node_mut(scene.candidate).expect("known").offset = offset;
        scene.bus.replica_rank(other)
    };
    assert_eq!(rank_beside(101, b'z'), 1);
    assert_eq!(rank_beside(99, b'0'), 0);
    assert_eq!(rank_beside(100, b'0'), 1);
    assert_eq!(rank_beside(100, b'z'), 0);
}

fn is_request_to_pause(output: &Output) -> bool {
    matches!(output, Output::Send(_, packet) if packet[12..14] == [0, 8])
}

#[test]
fn a_primary_that_does_not_answer_is_asked_again_to_hold_back_writes() {
    let mut scene = scene();
    scene.bus.table.release_all(scene.bus.myself);
    // The one that there is a connection to.
    let primary = scene.candidate;
    let node = scene.bus.node_mut(primary).expect("known");
    (node.flags, node.primary) = (Flags::PRIMARY, None);
    scene.bus.become_replica_of(primary, true, false);
    scene.bus.fail_over(Failover::Default).expect("it is up");
    let asked_at = |bus: &mut Bus, after_ms| {
        bus.handle(NOW_MS + after_ms, Input::Tick);
        drain(bus).iter().any(is_request_to_pause)
    };
    let bus = &mut scene.bus;
    assert!(asked_at(bus, 1), "it is not asked");
    assert!(!asked_at(bus, 400), "it has not had the time to answer");
    assert!(asked_at(bus, 600), "it is not asked again");
    bus.primary_paused_at(7);
    assert!(!asked_at(bus, 1200), "it has answered");
}

#[test]
fn a_primary_that_is_asked_again_lets_no_write_in_between() {
    let mut scene = scene();
    let myself = scene.bus.myself;
    let replica = scene.candidate;
    scene.bus.node_mut(replica).expect("known").primary = Some(myself);
    for offset in [100, 200] {
        let ask = Header {
            primary: Some(scene.bus.me().id),
            ..scene.request()
        };
        let packet = encode(&Message::Full(Box::new(ask), Body::ManualStart));
        let input = Input::Received(scene.link, &packet);
        scene.bus.handle(NOW_MS + offset, input);
        let pauses: Vec<bool> = drain(&mut scene.bus)
            .iter()
            .filter_map(|output| match output {
                Output::PauseWrites(until) => Some(until.is_some()),
                _ => None,
            })
            .collect();
        assert_eq!(pauses, [true], "at {offset} ms");
        scene
            .bus
            .handle(NOW_MS + offset, Input::WritesPaused { offset });
        assert!(scene.bus.manual.holds_writes());
    }
}

/// The scene's candidate is a replica of this node, and the other node is up.
fn own_replica() -> Scene {
    let mut scene = scene();
    let myself = scene.bus.myself;
    scene.bus.node_mut(scene.candidate).expect("known").primary = Some(myself);
    scene.bus.node_mut(scene.other).expect("known").flags = Flags::PRIMARY;
    scene
}

fn first_slots() -> SlotSet {
    (0..10).filter_map(Slot::new).collect()
}

impl Scene {
    /// What the node does when its replica asks it to hold back writes.
    fn ask_to_pause(&mut self, now_ms: u64) -> Vec<Output> {
        let ask = Header {
            primary: Some(self.bus.me().id),
            ..self.request()
        };
        let packet = encode(&Message::Full(Box::new(ask), Body::ManualStart));
        self.bus.handle(now_ms, Input::Received(self.link, &packet));
        drain(&mut self.bus)
    }

    /// A request for a vote of this node's own replica, made by an operator.
    fn forced_request(&self) -> Header {
        Header {
            message_flags: MFLAG_FORCE_ACK,
            primary: Some(self.bus.me().id),
            config_epoch: Epoch(1),
            slots: half(true),
            ..self.request()
        }
    }

    /// What the node does when a primary says what it serves.
    fn hear(&mut self, key: NodeKey, epoch: Epoch, slots: SlotSet) -> Vec<Output> {
        let says = Header {
            sender: self.bus.node(key).expect("known").id,
            current_epoch: epoch,
            config_epoch: epoch,
            slots,
            primary: None,
            flags: Flags::PRIMARY,
            ..self.request()
        };
        let pong = Body::Heartbeat {
            kind: Kind::Pong,
            gossip: Vec::new(),
            extensions: Vec::new(),
        };
        let packet = encode(&Message::Full(Box::new(says), pong));
        let link = LinkId::inbound(7);
        let (peer, local) = ("10.0.0.2".into(), "10.0.0.1".into());
        let accepted = Input::Accepted { link, peer, local };
        self.bus.handle(NOW_MS, accepted);
        self.bus.handle(NOW_MS, Input::Received(link, &packet));
        drain(&mut self.bus)
    }
}

fn holds_back(output: &Output) -> bool {
    matches!(output, Output::PauseWrites(Some(_)))
}

#[test]
fn a_primary_that_hands_itself_over_grants_no_slot() {
    let mut scene = own_replica();
    assert!(scene.ask_to_pause(NOW_MS).iter().any(holds_back));
    let granted =
        |scene: &mut Scene, at_ms| scene.bus.order(at_ms, |bus| bus.grant(&first_slots()));
    let refused = Err(MoveRefusal::HandsOver);
    assert_eq!(granted(&mut scene, NOW_MS + 1), refused);
    let limit_ms = scene.bus.options.manual_failover_timeout_ms;
    scene.bus.handle(NOW_MS + limit_ms + 200, Input::Tick);
    assert_eq!(granted(&mut scene, NOW_MS + limit_ms + 200), Ok(()));
}

#[test]
fn a_primary_that_voted_for_its_replica_grants_no_slot_while_the_election_lasts() {
    let mut scene = own_replica();
    let request = scene.forced_request();
    assert!(scene.ask(request).iter().any(is_vote));
    let granted =
        |scene: &mut Scene, at_ms| scene.bus.order(at_ms, |bus| bus.grant(&first_slots()));
    let lasts_ms = scene.bus.election_duration_ms();
    let refused = Err(MoveRefusal::HandsOver);
    assert_eq!(granted(&mut scene, NOW_MS + lasts_ms), refused);
    assert_eq!(granted(&mut scene, NOW_MS + lasts_ms + 1), Ok(()));
    scene.bus.voted_for_own();
    let other = scene.other;
    scene.bus.become_replica_of(other, true, true);
    assert!(!scene.bus.hands_over(), "the election is over");
}

#[test]
fn a_primary_that_has_granted_slots_answers_no_replica_until_they_are_claimed() {
    let mut scene = own_replica();
    let granted = scene.bus.order(NOW_MS, |bus| bus.grant(&first_slots()));
    assert_eq!(granted, Ok(()));
    assert!(!scene.ask_to_pause(NOW_MS + 1).iter().any(holds_back));
    let request = scene.forced_request();
    assert!(!scene.ask(request).iter().any(is_vote));
    assert_eq!(scene.bus.denials().get(&Denial::Granted), Some(&1));
    scene.bus.order(NOW_MS + 2, Bus::end_grant);
    let outputs = drain(&mut scene.bus);
    assert!(outputs.iter().any(holds_back), "what it asked is forgotten");
    // Unless the replica has given up by now.
    let mut scene = own_replica();
    let granted = scene.bus.order(NOW_MS, |bus| bus.grant(&first_slots()));
    assert_eq!(granted, Ok(()));
    scene.ask_to_pause(NOW_MS + 1);
    let late_ms = NOW_MS + 1 + scene.bus.options.manual_failover_timeout_ms;
    scene.bus.order(late_ms, Bus::end_grant);
    assert!(!drain(&mut scene.bus).iter().any(holds_back));
}

#[test]
fn a_primary_that_hands_itself_over_neither_imports_nor_claims_slots() {
    let mut scene = own_replica();
    let source = scene.bus.node(scene.other).expect("known").id;
    let slots: SlotSet = (9000..9010).filter_map(Slot::new).collect();
    assert_eq!(scene.bus.may_import(&source, &slots), Ok(()));
    scene.ask_to_pause(NOW_MS);
    let refused = Err(MoveRefusal::HandsOver);
    assert_eq!(scene.bus.may_import(&source, &slots), refused);
    let claimed = scene
        .bus
        .order(NOW_MS, |bus| bus.claim_granted(&source, &slots));
    assert_eq!(claimed, refused);
    assert!(!scene.bus.owns_all(&slots));
}

#[test]
fn replicas_hear_who_has_a_slot_that_left_before_writes_are_held_back_for_them() {
    let mut scene = own_replica();
    let (other, slots) = (scene.other, first_slots());
    let outputs = scene.hear(
        other,
        Epoch(9),
        half(false).iter().chain(slots.iter()).collect(),
    );
    let tells = |output: &Output| {
        let Output::Send(link, packet) = output else {
            return false;
        };
        *link == scene.link && packet[12..14] == [0, 7]
    };
    assert!(outputs.iter().any(tells), "{outputs:?}");
}

#[test]
fn who_was_elected_leaves_slots_to_whom_its_predecessor_gave_them() {
    for elected in [true, false] {
        let mut scene = own_replica();
        scene.bus.me_mut().config_epoch = Epoch(5);
        scene.bus.elected = elected.then_some(Epoch(5));
        let claims = half(false).iter().chain(first_slots().iter()).collect();
        let other = scene.other;
        let outputs = scene.hear(other, Epoch(5), claims);
        let owns = scene.bus.owns_all(&first_slots());
        assert_eq!(owns, !elected);
        let deletes =
            |output: &Output| matches!(output, Output::DeleteKeys(slots) if slots.len() == 10);
        assert_eq!(outputs.iter().any(deletes), elected);
    }
}

#[test]
fn a_node_that_refuses_connections_is_suspected_unless_its_own_stands() {
    let mut scene = scene();
    let other = scene.other;
    scene.bus.node_mut(other).expect("known").flags = Flags::PRIMARY;
    scene.hear(other, Epoch(2), half(false));
    let inbound = scene.bus.node(other).and_then(|node| node.inbound);
    let inbound = inbound.expect("it has said something");
    for _ in 0..2 * 3 {
        scene.bus.connect(other);
        let link = scene.bus.node(other).and_then(|node| node.link);
        let link = link.expect("it is being called");
        let refused = true;
        scene.bus.handle(NOW_MS, Input::Closed { link, refused });
        assert!(!scene.bus.node_is(other, Flags::PFAIL), "it is heard");
    }
    let (link, refused) = (inbound, false);
    scene.bus.handle(NOW_MS, Input::Closed { link, refused });
    assert!(scene.bus.node_is(other, Flags::PFAIL));
}

#[test]
fn a_replica_that_is_reset_leaves_its_shard_and_a_primary_keeps_its_own() {
    for hard in [false, true] {
        let mut scene = scene();
        let shard = scene.bus.me().shard;
        assert_eq!(scene.bus.reset(hard, false), Ok(()));
        assert_eq!(scene.bus.me().shard == shard, !hard);
        let mut scene = self::scene();
        scene.bus.table.release_all(scene.bus.myself);
        let other = scene.other;
        scene.bus.become_replica_of(other, true, true);
        let shard = scene.bus.me().shard;
        assert_eq!(scene.bus.reset(hard, false), Ok(()));
        assert_ne!(scene.bus.me().shard, shard);
    }
}

#[test]
fn the_slots_of_a_new_cluster_are_served_at_once() {
    let mut bus = Bus::new(Options::default(), None, 1, NOW_MS).expect("a fresh node");
    let later_ms = NOW_MS + 60_000;
    bus.handle(later_ms, Input::Tick);
    assert!(!bus.is_healthy(), "it has no slots");
    let slots: Vec<Slot> = all_slots().collect();
    assert_eq!(
        bus.order(later_ms, |bus| bus.change_slots(&slots, true)),
        Ok(())
    );
    assert!(bus.is_healthy());
}

impl Scene {
    /// Lets ten seconds pass in which the node does all that is due. The other
    /// one answers what it is sent.
    fn live(&mut self, from_ms: u64) -> u64 {
        let to_ms = from_ms + 10_000;
        let mut now_ms = from_ms;
        while now_ms < to_ms {
            now_ms = self.bus.poll_timeout();
            self.bus.handle(now_ms, Input::Tick);
            self.answer(now_ms);
        }
        now_ms
    }

    /// The other node answers the PINGs that were sent to it.
    fn answer(&mut self, now_ms: u64) {
        let link = self.bus.node(self.other).and_then(|node| node.link);
        let outputs = drain(&mut self.bus);
        for output in outputs {
            match output {
                Output::Connect { link, .. } => self.bus.handle(now_ms, Input::Connected(link)),
                Output::Send(to, packet) if Some(to) == link => {
                    let Ok(Message::Full(_, Body::Heartbeat { kind, .. })) = decode(&packet) else {
                        continue;
                    };
                    if kind == Kind::Ping {
                        self.pong(now_ms, to);
                    }
                }
                _ => {}
            }
        }
    }

    fn pong(&mut self, now_ms: u64, link: LinkId) {
        let says = Header {
            sender: self.bus.node(self.other).expect("known").id,
            config_epoch: Epoch(2),
            slots: half(false),
            primary: None,
            flags: Flags::PRIMARY,
            ..self.request()
        };
        let pong = Body::Heartbeat {
            kind: Kind::Pong,
            gossip: Vec::new(),
            extensions: Vec::new(),
        };
        let packet = encode(&Message::Full(Box::new(says), pong));
        self.bus.handle(now_ms, Input::Received(link, &packet));
    }
}

#[test]
fn who_slept_keeps_no_granted_slot_before_a_majority_has_answered_anew() {
    let mut scene = own_replica();
    let now_ms = scene.live(NOW_MS);
    assert!(scene.bus.is_healthy());
    let epoch = scene.bus.me().config_epoch;
    let gone = NodeId::random(&mut Random::new(77));
    let mut inquiry = Inquiry::default();
    let mut keep = |scene: &mut Scene, now_ms| {
        let order = |bus: &mut Bus| bus.keep_granted(&gone, &mut inquiry);
        scene.bus.order(now_ms, order)
    };
    // It asks, sleeps, and reads an answer of before.
    assert!(!keep(&mut scene, now_ms + 1));
    let link = scene.bus.node(scene.other).and_then(|node| node.link);
    let link = link.expect("connected");
    scene.bus.handle(now_ms + 200, Input::Tick);
    scene.pong(now_ms + 60_000, link);
    for after in 1..5 {
        assert!(!keep(&mut scene, now_ms + 60_000 + after));
    }
    assert_eq!(scene.bus.me().config_epoch, epoch);
    let other = scene.bus.node(scene.other).expect("known");
    assert!(!other.is(Flags::FAIL | Flags::PFAIL));
    // It asks anew, twice.
    let mut at_ms = now_ms + 60_010;
    let mut kept = false;
    for _ in 0..4 {
        at_ms += 200;
        scene.bus.handle(at_ms, Input::Tick);
        scene.answer(at_ms);
        kept = keep(&mut scene, at_ms + 1) || kept;
    }
    assert!(kept);
    assert!(scene.bus.me().config_epoch > epoch);
}

#[test]
fn who_slept_settles_no_collision_of_epochs_before_a_majority_has_answered() {
    let mut scene = own_replica();
    let now_ms = scene.live(NOW_MS);
    // The smaller name draws.
    let small = NodeId::parse(&[b'0'; 40]).expect("a name");
    scene.bus.table.rename(scene.bus.myself, small);
    let mine = Epoch(9);
    scene.bus.me_mut().config_epoch = mine;
    let third = NodeId::random(&mut Random::new(78));
    let third = scene
        .bus
        .table
        .add(Node::new(third, third, Flags::PRIMARY, now_ms));
    let none = SlotSet::default();
    let hear = |scene: &mut Scene, at_ms| {
        scene.bus.order(at_ms, |bus| {
            bus.node_mut(third).expect("known").config_epoch = mine;
            bus.settle_collision(third, mine, &none);
        });
        scene.bus.me().config_epoch
    };
    let woke_ms = now_ms + 60_000;
    assert_eq!(hear(&mut scene, woke_ms), mine);
    scene.answer(woke_ms);
    scene.bus.handle(woke_ms + 200, Input::Tick);
    scene.answer(woke_ms + 200);
    scene.bus.handle(woke_ms + 400, Input::Tick);
    scene.answer(woke_ms + 400);
    assert!(hear(&mut scene, woke_ms + 500) > mine);
}
