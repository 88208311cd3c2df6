//! The subcommands of DEBUG that look at keys.

use crate::commands::args;
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::KeyRef;
use crate::keyspace::codec;
use crate::keyspace::db::ExpiryMode;
use crate::keyspace::entry::{Entry, ValueRef};
use crate::keyspace::limits::LIMITS;
use crate::keyspace::stripe::SLOTS_PER_STRIPE;
use crate::state::unix_ms;
use std::sync::atomic::Ordering::Relaxed;

/// Shows a key's entry to `f`, or None.
pub fn with_entry(
    ctx: &mut Context<'_>,
    key: &[u8],
    mut f: impl FnMut(Option<&Entry>),
) -> CommandResult {
    let stripe = KeyRef::new(key).stripe();
    ctx.each_stripe(std::iter::once(stripe), |db, _, _| {
        // What has expired is there until somebody asks for it.
        db.expiry_mode = ExpiryMode::Ignore;
        match db.peek(key)? {
            Some(entry) => f(Some(&entry)),
            None => f(None),
        }
        Ok(true)
    })
}

/// Shows every entry of a logical database.
pub fn each_entry(ctx: &mut Context<'_>, db: u32, f: &mut dyn FnMut(&Entry)) -> CommandResult {
    let selected = ctx.session.db;
    ctx.session.db = db;
    ctx.db.select(db);
    let result = ctx.each_stripe(Context::all_stripes(), |db, stripe, _| {
        // As those in RAM are shown, whose time may be over.
        db.expiry_mode = ExpiryMode::Ignore;
        if !db.stripe_may_have_keys(stripe) {
            return Ok(true);
        }
        for slot in stripe * SLOTS_PER_STRIPE..(stripe + 1) * SLOTS_PER_STRIPE {
            let mut cursor = Some((slot as u64) << 32);
            let mut cold = Vec::new();
            while let Some(at) = cursor {
                cursor = db.scan_slot(at, |entry| match entry.is_cold() {
                    true => cold.push(entry.key().to_vec()),
                    false => f(entry),
                })?;
            }
            for key in cold {
                if let Some(entry) = db.peek(&key)? {
                    f(&entry);
                }
            }
        }
        Ok(true)
    });
    ctx.session.db = selected;
    ctx.db.select(selected);
    result
}

/// DEBUG OBJECT
pub fn object(ctx: &mut Context<'_>, key: &[u8]) -> CommandResult {
    let mut line = None;
    let now_s = (unix_ms() / 1000) & 0xff_ffff;
    with_entry(ctx, key, |entry| {
        line = entry.map(|entry| describe(entry, now_s))
    })?;
    let line = line.ok_or(CommandError::NoSuchKey)?;
    ctx.reply.simple(&line);
    Ok(())
}

fn describe(entry: &Entry, now_s: i64) -> String {
    let mut payload = Vec::new();
    codec::encode_payload(entry.value(), &mut payload);
    let idle_s = (now_s - i64::from(entry.access())).max(0);
    let mut line = format!(
        "Value at:{:p} refcount:1 encoding:{} serializedlength:{} lru:{} lru_seconds_idle:{idle_s}",
        entry.key().as_ptr(),
        entry.encoding(),
        payload.len().saturating_sub(1),
        entry.access(),
    );
    if let ValueRef::List(list) = entry.value()
        && entry.encoding() == "quicklist"
    {
        let nodes = list.nodes().count();
        let average = list.len() as f64 / nodes.max(1) as f64;
        // The two limits are shown as they are set, not as this list met them.
        let max = LIMITS.list_max_listpack_size.load(Relaxed);
        let compressed = u8::from(LIMITS.list_compress_depth.load(Relaxed) > 0);
        line.push_str(&format!(
            " ql_nodes:{nodes} ql_avg_node:{average:.2} ql_listpack_max:{max} ql_compressed:{compressed} ql_uncompressed_size:{}",
            list.memory_bytes()
        ));
    }
    line
}

/// DEBUG LOADAOF: every value is encoded as the tree and RDB files
/// have it, and read back.
pub fn reload(ctx: &mut Context<'_>) -> CommandResult {
    if let Some(log) = ctx.server.log() {
        log.sync_to(log.end())
            .map_err(|error| CommandError::Storage(error.to_string()))?;
    }
    let selected = ctx.session.db;
    for index in 0..ctx.server.keyspace.databases() {
        if ctx.server.keyspace.key_count(index) == 0 {
            continue;
        }
        ctx.session.db = index;
        ctx.db.select(index);
        let result = ctx.each_stripe(Context::all_stripes(), reload_stripe);
        ctx.session.db = selected;
        ctx.db.select(selected);
        result?;
    }
    ctx.reply.ok();
    Ok(())
}

fn reload_stripe(
    db: &mut crate::keyspace::db::Db<'_>,
    stripe: usize,
    _: &mut crate::resp::reply::ReplyBuffer,
) -> Result<bool, CommandError> {
    if !db.stripe_may_have_keys(stripe) {
        return Ok(true);
    }
    let mut keys: Vec<Vec<u8>> = Vec::new();
    for slot in stripe * SLOTS_PER_STRIPE..(stripe + 1) * SLOTS_PER_STRIPE {
        let mut cursor = Some((slot as u64) << 32);
        while let Some(at) = cursor {
            cursor = db.scan_slot(at, |entry| keys.push(entry.key().to_vec()))?;
        }
    }
    let mut payload = Vec::new();
    for key in keys {
        let Some(entry) = db.peek(&key)? else {
            continue;
        };
        payload.clear();
        codec::encode_payload(entry.value(), &mut payload);
        let expire_at_ms = entry.expire_at_ms();
        let value = codec::decode_payload(&payload)
            .map_err(|error| CommandError::Storage(error.to_string()))?;
        db.set_value(&key, value, expire_at_ms)?;
    }
    // Nothing changed for clients: no notifications come of this.
    db.recorder.changes.clear();
    Ok(true)
}

/// DEBUG LISTPACK
pub fn listpack(ctx: &mut Context<'_>, key: &[u8]) -> CommandResult {
    let mut encoding = None;
    with_entry(ctx, key, |entry| encoding = entry.map(Entry::encoding))?;
    match encoding {
        None => Err(CommandError::NoSuchKey),
        Some("listpack") => {
            ctx.reply.simple("Listpack structure printed on stdout");
            Ok(())
        }
        Some(_) => Err(CommandError::err("Not a listpack encoded object.")),
    }
}

/// DEBUG SDSLEN
pub fn string_lengths(ctx: &mut Context<'_>, key: &[u8]) -> CommandResult {
    let mut line = None;
    let mut known = false;
    with_entry(ctx, key, |entry| {
        known = entry.is_some();
        if let Some(entry) = entry
            && let ValueRef::Bytes(bytes) = entry.value()
        {
            let (key_len, len) = (entry.key().len(), bytes.len());
            line = Some(format!(
                "key_sds_len:{key_len}, key_sds_avail:0, key_zmalloc: {key_len}, val_sds_len:{len}, val_sds_avail:0, val_zmalloc: {len}"
            ));
        }
    })?;
    match (known, line) {
        (false, _) => Err(CommandError::NoSuchKey),
        (true, None) => Err(CommandError::err("Not an sds encoded string.")),
        (true, Some(line)) => {
            ctx.reply.simple(&line);
            Ok(())
        }
    }
}

/// DEBUG HTSTATS
pub fn tables(ctx: &mut Context<'_>, db: &[u8]) -> CommandResult {
    let db = args::integer(db)?;
    let databases = i64::from(ctx.server.keyspace.databases());
    if !(0..databases).contains(&db) {
        return Err(CommandError::err("Out of range database"));
    }
    let keys = ctx.server.keyspace.key_count(db as u32);
    let expires = ctx.server.keyspace.expires_count(db as u32);
    let table = |name: &str, entries: u64| match entries {
        0 => format!("[{name}]\nNo stats available for empty hash tables\n"),
        _ => format!(
            "[{name}]\nHash table 0 stats (main hash table):\n number of elements: {entries}\n"
        ),
    };
    let text = table("Dictionary HT", keys) + &table("Expires HT", expires);
    ctx.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

/// DEBUG HTSTATS-KEY
pub fn table_of(ctx: &mut Context<'_>, key: &[u8]) -> CommandResult {
    let mut found = None;
    with_entry(ctx, key, |entry| {
        found = entry.map(|entry| match entry.value() {
            ValueRef::Set(set) if entry.encoding() == "hashtable" => Some(set.len()),
            ValueRef::Hash(hash) if entry.encoding() == "hashtable" => Some(hash.len()),
            ValueRef::ZSet(zset) if entry.encoding() == "skiplist" => Some(zset.len()),
            _ => None,
        });
    })?;
    match found {
        None => Err(CommandError::NoSuchKey),
        Some(None) => Err(CommandError::err(
            "The value stored at the specified key is not represented using an hash table",
        )),
        Some(Some(len)) => {
            let text = format!(
                "Hash table 0 stats (main hash table):\n table size: {}\n number of elements: {len}\n",
                len.next_power_of_two()
            );
            ctx.reply.verbatim("txt", text.as_bytes());
            Ok(())
        }
    }
}
