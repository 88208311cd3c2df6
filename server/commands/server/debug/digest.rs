//! DEBUG DIGEST and DIGEST-VALUE: hashes of values and of the whole dataset
//! that don't depend on how values are held, so that two servers, of any make,
//! can be compared.
//!
//! Ordered things are mixed (`SHA1(digest xor SHA1(data))`), unordered ones
//! xored (`digest xor SHA1(data)`). A value is its type's number mixed in,
//! then its elements; a key with an expiry xors in a mark.

use sha1_smol::Sha1;

use super::keys;
use crate::commands::context::Context;
use crate::commands::error::CommandResult;
use crate::keyspace::entry::{Entry, ValueRef};
use crate::keyspace::listpack::{Entry as Item, IntBuffer};
use crate::keyspace::stream::StreamId;

/// A SHA-1 sum under construction.
#[derive(Clone, Copy, Default)]
struct Digest([u8; 20]);

impl Digest {
    /// Adds data whose order doesn't matter.
    fn xor(&mut self, data: &[u8]) {
        let sum = Sha1::from(data).digest().bytes();
        self.0
            .iter_mut()
            .zip(sum)
            .for_each(|(mine, byte)| *mine ^= byte);
    }

    /// Adds data whose order matters.
    fn mix(&mut self, data: &[u8]) {
        self.xor(data);
        self.0 = Sha1::from(self.0).digest().bytes();
    }

    fn mix_item(&mut self, item: Item<'_>) {
        self.mix(item.bytes(&mut IntBuffer::new()));
    }

    fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// DEBUG DIGEST
pub fn dataset(ctx: &mut Context<'_>) -> CommandResult {
    let mut total = Digest::default();
    for db in 0..ctx.server.keyspace.databases() {
        if ctx.server.keyspace.key_count(db) == 0 {
            continue;
        }
        total.mix(&db.to_be_bytes());
        keys::each_entry(ctx, db, &mut |entry| {
            let mut digest = Digest::default();
            digest.mix(entry.key());
            add_value(&mut digest, entry);
            total.xor(&digest.0);
        })?;
    }
    ctx.reply.simple(&total.hex());
    Ok(())
}

/// DEBUG DIGEST-VALUE
pub fn values(ctx: &mut Context<'_>, names: &[&[u8]]) -> CommandResult {
    ctx.reply.array(names.len());
    for key in names {
        let mut digest = Digest::default();
        keys::with_entry(ctx, key, |entry| {
            if let Some(entry) = entry {
                add_value(&mut digest, entry);
            }
        })?;
        ctx.reply.simple(&digest.hex());
    }
    Ok(())
}

fn add_value(digest: &mut Digest, entry: &Entry) {
    let number: u32 = match entry.value() {
        ValueRef::Int(_) | ValueRef::Bytes(_) => 0,
        ValueRef::List(_) => 1,
        ValueRef::Set(_) => 2,
        ValueRef::ZSet(_) => 3,
        ValueRef::Hash(_) => 4,
        ValueRef::Stream(_) => 6,
    };
    digest.mix(&number.to_be_bytes());
    match entry.value() {
        ValueRef::Int(int) => digest.mix_item(Item::Int(int)),
        ValueRef::Bytes(bytes) => digest.mix(bytes),
        ValueRef::List(list) => list.iter().for_each(|item| digest.mix_item(item)),
        ValueRef::Set(set) => set
            .iter()
            .for_each(|item| digest.xor(item.bytes(&mut IntBuffer::new()))),
        ValueRef::Hash(hash) => {
            let mut add = |field, value| {
                let mut pair = Digest::default();
                pair.mix_item(field);
                pair.mix_item(value);
                digest.xor(&pair.0);
            };
            // What is there counts, whoever looked at it last: fields whose time
            // is over are hidden from some and not yet removed.
            match hash.with_expiries() {
                Some((_, fields)) => fields.for_each(|(field, value, _)| {
                    add(Item::of(field), Item::of(value));
                }),
                None => hash.iter().for_each(|(field, value)| add(field, value)),
            }
        }
        ValueRef::ZSet(zset) => {
            for (member, score) in zset.iter() {
                let mut pair = Digest::default();
                pair.mix_item(member);
                pair.mix(shortest(score).as_bytes());
                digest.xor(&pair.0);
            }
        }
        ValueRef::Stream(stream) => {
            for entry in stream.entries.range(StreamId::MIN, StreamId::MAX) {
                digest.mix(format!("{}.{}", entry.id.ms, entry.id.seq).as_bytes());
                for (name, value) in entry.fields {
                    digest.mix_item(name);
                    digest.mix_item(value);
                }
            }
        }
    }
    if entry.expire_at_ms().is_some() {
        digest.xor(b"!!expire!!");
    }
}

/// The fewest digits that read back as the same double; with an exponent
/// where plain decimals would need many zeros.
fn shortest(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.into();
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).count() as i32;
    let last = exponent + 1 - digits;
    let plain = match last >= 0 {
        true => exponent < digits + 7,
        false => last > -7 || exponent.abs() < 4,
    };
    if plain {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{}", exponent.abs())
}
