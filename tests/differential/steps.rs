//! What can't run in the midst of a batch: commands drawn by chance, expiry, dumps.

use std::time::Duration;

use super::duel::{Duel, Mismatch, What, show};
use super::generator::Command;
use super::keyspace;
use super::random::Random;
use super::rules::{self, Rule};
use super::support::{Reply, eventually};
use super::values;

/// One of the steps.
pub fn any(duel: &mut Duel, random: &mut Random) -> Result<(), Mismatch> {
    match random.below(5) {
        0 => pop_at_random(duel, random),
        1 => expire_key(duel, random),
        2 => expire_fields(duel, random),
        3 => exchange_dumps(duel, random),
        _ => automatic_id(duel, random),
    }
}

/// SPOP draws by chance: what each server popped is put back, and ours is removed from both.
fn pop_at_random(duel: &mut Duel, random: &mut Random) -> Result<(), Mismatch> {
    let key = values::draw("t", random);
    let (all, _) = duel.both(&Command::of(Rule::Unordered, &[b"SMEMBERS", &key[..]]))?;
    let Some(all) = rules::elements(&all) else {
        return Ok(());
    };
    let count = random.below(5).to_string();
    let command = match random.percent(50) {
        true => Command::of(Rule::Member, &[b"SPOP", &key[..], count.as_bytes()]),
        false => Command::of(Rule::Shape, &[b"SPOP", &key[..]]),
    };
    let (ours, theirs) = duel.both(&command)?;
    duel.history.pop();
    let popped = |reply: &Reply| match reply {
        Reply::Bulk(member) => vec![member.clone()],
        reply => {
            let elements = rules::elements(reply).unwrap_or_default();
            let bytes = elements.iter().filter_map(|element| match element {
                Reply::Bulk(member) => Some(member.clone()),
                _ => None,
            });
            bytes.collect()
        }
    };
    let genuine = popped(&ours)
        .iter()
        .all(|member| all.contains(&Reply::bulk(member)));
    assert!(genuine, "SPOP gave what was not in the set: {ours:?}");
    if popped(&ours).is_empty() {
        return Ok(());
    }
    let with = |name: &str, members: Vec<Vec<u8>>| {
        let mut args = vec![name.as_bytes().to_vec(), key.clone()];
        args.extend(members);
        args
    };
    duel.ours.command(&with("SADD", popped(&ours)));
    duel.theirs.command(&with("SADD", popped(&theirs)));
    duel.both(&Command::exact(&with("SREM", popped(&ours))))
        .map(drop)
}

/// A key whose time is over is gone, whoever looks.
fn expire_key(duel: &mut Duel, random: &mut Random) -> Result<(), Mismatch> {
    let key = values::draw("k", random);
    duel.both(&Command::exact(&[b"PEXPIRE", &key[..], b"1"]))?;
    std::thread::sleep(Duration::from_millis(3));
    duel.both(&Command::exact(&[b"EXISTS", &key[..]])).map(drop)
}

/// Fields whose time is over are gone once the clockwork has removed them.
fn expire_fields(duel: &mut Duel, random: &mut Random) -> Result<(), Mismatch> {
    let key = values::draw("h", random);
    let (one, other) = (values::draw("m", random), values::draw("m", random));
    let args: [&[u8]; 7] = [b"HPEXPIRE", &key, b"1", b"FIELDS", b"2", &one, &other];
    let (reply, _) = duel.both(&Command::exact(&args))?;
    if rules::elements(&reply).is_none_or(|results| !results.contains(&Reply::Integer(1))) {
        return Ok(());
    }
    std::thread::sleep(Duration::from_millis(3));
    let length: [&[u8]; 2] = [b"HLEN", &key];
    let equal = |duel: &mut Duel| duel.ours.command(&length) == duel.theirs.command(&length);
    eventually("expired fields are removed", || equal(duel));
    duel.both(&Command::of(Rule::Pairs, &[b"HGETALL", &key[..]]))
        .map(drop)
}

/// Either server restores the other's dump of a key.
fn exchange_dumps(duel: &mut Duel, random: &mut Random) -> Result<(), Mismatch> {
    let key = values::draw("k", random);
    let dump = [b"DUMP", &key[..]];
    let (ours, theirs) = duel.both(&Command::of(Rule::Shape, &dump))?;
    let (Reply::Bulk(ours), Reply::Bulk(theirs)) = (ours, theirs) else {
        return Ok(());
    };
    let restore = |dump: &[u8]| -> Vec<Vec<u8>> {
        let args: [&[u8]; 4] = [b"RESTORE", b"exchanged", b"0", dump];
        args.iter().map(|arg| arg.to_vec()).collect()
    };
    let replies = [
        duel.ours.command(&restore(&theirs)),
        duel.theirs.command(&restore(&ours)),
    ];
    let differ = |duel: &Duel, ours: String, theirs: String| Mismatch {
        what: What::Reply(duel.history.len() - 1),
        ours,
        theirs,
    };
    if replies != [Reply::ok(), Reply::ok()] {
        return Err(differ(duel, show(&replies[0]), show(&replies[1])));
    }
    let entries = [&mut duel.ours, &mut duel.theirs].map(|client| {
        let exchanged = keyspace::read_entry(client, b"exchanged");
        client.command(&["DEL", "exchanged"]);
        exchanged
    });
    if let [Some(ours), Some(theirs)] = &entries
        && keyspace::same_entry(ours, theirs, duel.drift_ms)
    {
        return Ok(());
    }
    let [ours, theirs] = entries.map(|entry| format!("{entry:?}"));
    Err(differ(duel, ours, theirs))
}

/// XADD with an id of the clock's.
fn automatic_id(duel: &mut Duel, random: &mut Random) -> Result<(), Mismatch> {
    let key = values::draw("x", random);
    duel.both(&Command::exact(&[b"DEL", &key[..]]))?;
    let args: [&[u8]; 5] = [b"XADD", &key, b"*", b"f", b"v"];
    duel.both(&Command::of(Rule::Shape, &args))?;
    duel.history.pop();
    duel.both(&Command::exact(&[b"XLEN", &key[..]]))?;
    duel.both(&Command::exact(&[b"DEL", &key[..]])).map(drop)
}
