//! SORT and SORT_RO: the elements of a list, set or sorted set in order.
//!
//! BY and GET reach keys that only the elements name, so every stripe is
//! locked. What STORE stores enters the log as a RESTORE, since the order of
//! equal elements depends on how this process hashes.

use redoubt_cluster::slots::Slot;
use redoubt_persistence::rdb::dump;

use crate::acl::check::may_read_all;
use crate::commands::args;
use crate::commands::command::{
    Arg, ArgKind, Begin, Command, Find, Group, KeySpec, Locks, acl, flag,
};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::commands::table::table;
use crate::keyspace::codec;
use crate::keyspace::db::{Db, DbError};
use crate::keyspace::entry::{Value, ValueRef};
use crate::keyspace::list::{End, List};
use crate::keyspace::recorder::class;
use crate::number::parse_f64;

const SOURCE: KeySpec = KeySpec::one(1, &["RO", "access"]);
const BY_AND_GET: KeySpec = KeySpec {
    flags: &["RO", "access"],
    begin: Begin::Unknown,
    find: Find::Unknown,
    notes: "Keys of BY and GET follow from the elements that are sorted",
};
/// The last STORE counts. (Valkey calls this spec unknown and finds the key in
/// code of its own.)
const STORE: KeySpec = KeySpec {
    flags: &["OW", "update"],
    begin: Begin::Keyword("STORE", -2),
    find: Find::Range {
        last: 0,
        step: 1,
        limit: 0,
    },
    notes: "The key of STORE can come anywhere among the options",
};

const BY_ARG: Arg = Arg::new("by-pattern", ArgKind::Pattern)
    .after("BY")
    .optional();
const LIMIT_ARG: Arg = Arg::block("limit", &[Arg::integer("offset"), Arg::integer("count")])
    .after("LIMIT")
    .optional();
const GET_ARG: Arg = Arg::new("get-pattern", ArgKind::Pattern)
    .after("GET")
    .optional()
    .multiple_token();
const ORDER_ARG: Arg = Arg::one_of(
    "order",
    &[Arg::word("asc", "ASC"), Arg::word("desc", "DESC")],
)
.optional();
const SORTING_ARG: Arg = Arg::word("sorting", "ALPHA").optional();

/// SORT key [BY pattern] [LIMIT offset count] [GET pattern …] [ASC | DESC]
/// [ALPHA] [STORE destination]
pub const SORT: Command = Command {
    name: "sort",
    group: Group::Generic,
    summary: "Sorts the elements of a list, set or sorted set, and can store them.",
    complexity: "O(N*log(N)) for N elements, O(N) if they are not sorted.",
    arity: -2,
    flags: flag::WRITE | flag::DENYOOM | flag::MOVABLEKEYS,
    acl: acl::SET | acl::SORTEDSET | acl::LIST | acl::DANGEROUS,
    keys: &[SOURCE, BY_AND_GET, STORE],
    locks: Locks::All,
    args: &[
        Arg::key("key"),
        BY_ARG,
        LIMIT_ARG,
        GET_ARG,
        ORDER_ARG,
        SORTING_ARG,
        Arg::new("destination", ArgKind::Key(2))
            .after("STORE")
            .optional(),
    ],
    run: |ctx, args| run(ctx, args, true),
    ..Command::BASE
};

/// SORT_RO key [BY pattern] [LIMIT offset count] [GET pattern …] [ASC | DESC]
/// [ALPHA]
pub const SORT_RO: Command = Command {
    name: "sort_ro",
    since: "7.0.0",
    summary: "Gives the elements of a list, set or sorted set in order.",
    flags: flag::READONLY | flag::MOVABLEKEYS,
    keys: &[SOURCE, BY_AND_GET],
    args: &[
        Arg::key("key"),
        BY_ARG,
        LIMIT_ARG,
        GET_ARG,
        ORDER_ARG,
        SORTING_ARG,
    ],
    run: |ctx, args| run(ctx, args, false),
    ..SORT
};

struct Options<'a> {
    by: Option<&'a [u8]>,
    gets: Vec<&'a [u8]>,
    descending: bool,
    alpha: bool,
    offset: i64,
    count: i64,
    store: Option<&'a [u8]>,
}

/// `slot`: that of what is sorted, if what patterns lead to must be there, too.
fn parse<'a>(
    words: &[&'a [u8]],
    may_store: bool,
    slot: Option<Slot>,
) -> Result<Options<'a>, CommandError> {
    let within = |option: &str, pattern: &[u8]| match slot {
        Some(slot) if Slot::of_pattern(pattern) != Some(slot) => Err(CommandError::err(format!(
            "{option} option of SORT denied in Cluster mode when keys formed by the pattern \
             may be in different slots."
        ))),
        _ => Ok(()),
    };
    let mut options = Options {
        by: None,
        gets: Vec::new(),
        descending: false,
        alpha: false,
        offset: 0,
        count: -1,
        store: None,
    };
    let mut at = 0;
    while at < words.len() {
        let word = words[at];
        let (next, after_next) = (words.get(at + 1), words.get(at + 2));
        match (next, after_next) {
            _ if args::is(word, "ASC") => options.descending = false,
            _ if args::is(word, "DESC") => options.descending = true,
            _ if args::is(word, "ALPHA") => options.alpha = true,
            (Some(offset), Some(count)) if args::is(word, "LIMIT") => {
                options.offset = args::integer(offset)?;
                options.count = args::integer(count)?;
                at += 2;
            }
            (Some(key), _) if may_store && args::is(word, "STORE") => {
                options.store = Some(key);
                at += 1;
            }
            (Some(pattern), _) if args::is(word, "BY") => {
                if is_pattern(pattern) {
                    within("BY", pattern)?;
                }
                options.by = Some(pattern);
                at += 1;
            }
            (Some(pattern), _) if args::is(word, "GET") => {
                if **pattern != b"#"[..] {
                    within("GET", pattern)?;
                }
                options.gets.push(pattern);
                at += 1;
            }
            _ => return Err(CommandError::Syntax),
        }
        at += 1;
    }
    Ok(options)
}

/// What is to be sorted.
struct Source {
    elements: Vec<Vec<u8>>,
    is_set: bool,
}

fn load(ctx: &mut Context<'_>, key: &[u8]) -> Result<Source, CommandError> {
    let mut source = Source {
        elements: Vec::new(),
        is_set: false,
    };
    if let Some(entry) = ctx.db.lookup(key)? {
        source.elements = match entry.value() {
            ValueRef::List(list) => list.iter().map(|item| item.to_vec()).collect(),
            ValueRef::Set(set) => {
                source.is_set = true;
                set.iter().map(|item| item.to_vec()).collect()
            }
            ValueRef::ZSet(zset) => zset.iter().map(|(item, _)| item.to_vec()).collect(),
            _ => return Err(CommandError::WrongType),
        };
    }
    Ok(source)
}

/// Whether a BY names keys to sort by: one without `*` asks for no order.
fn is_pattern(by: &[u8]) -> bool {
    by.contains(&b'*')
}

/// Any key may be behind BY and GET, so the user must be allowed to read all.
fn check_permission(ctx: &Context<'_>, args: &[&[u8]], options: &Options<'_>) -> CommandResult {
    let by = options.by.is_some_and(is_pattern);
    if ctx.session.unrestricted || (!by && options.gets.is_empty()) {
        return Ok(());
    }
    let may = table()
        .find(args)
        .is_some_and(|found| may_read_all(ctx.session, found, args));
    match (may, by) {
        (true, _) => Ok(()),
        (false, true) => Err(CommandError::err(
            "BY option of SORT denied due to insufficient ACL permissions.",
        )),
        (false, false) => Err(CommandError::err(
            "GET option of SORT denied due to insufficient ACL permissions.",
        )),
    }
}

fn run(ctx: &mut Context<'_>, args: &[&[u8]], may_store: bool) -> CommandResult {
    // What is replayed, its writer has checked.
    let checks = ctx.server.cluster.is_some() && !ctx.session.replaying;
    let slot = checks.then(|| Slot::of_key(args[1]));
    let mut options = parse(&args[2..], may_store, slot)?;
    check_permission(ctx, args, &options)?;
    let Source { elements, is_set } = load(ctx, args[1])?;
    // A BY without `*` asks for the order that the elements have already. A
    // set has none, so that what is stored of it, or seen by a script, is sorted
    // nevertheless.
    let mut unsorted = options.by.is_some_and(|by| !is_pattern(by));
    if unsorted && is_set && (options.store.is_some() || ctx.session.in_script) {
        (unsorted, options.alpha, options.by) = (false, true, None);
    }
    let elements = match (unsorted, options.descending && !is_set) {
        (false, _) => sorted(ctx, elements, &options)?,
        (true, true) => elements.into_iter().rev().collect(),
        (true, false) => elements,
    };
    let offset = usize::try_from(options.offset).unwrap_or(0);
    let count = usize::try_from(options.count).unwrap_or(usize::MAX);
    let chosen = elements.iter().skip(offset).take(count);
    let columns = options.gets.len().max(1);
    match options.store {
        None => {
            ctx.reply.array(chosen.len() * columns);
            for element in chosen {
                put_row(ctx, element, &options.gets)?;
            }
            Ok(())
        }
        Some(key) => {
            let mut rows = Vec::with_capacity(chosen.len() * columns);
            for element in chosen {
                if options.gets.is_empty() {
                    rows.push(element.clone());
                }
                for pattern in &options.gets {
                    rows.push(follow(&mut ctx.db, pattern, element)?.unwrap_or_default());
                }
            }
            store(ctx, key, &rows)
        }
    }
}

fn put_row(ctx: &mut Context<'_>, element: &[u8], gets: &[&[u8]]) -> CommandResult {
    if gets.is_empty() {
        ctx.reply.bulk(element);
    }
    for pattern in gets {
        match follow(&mut ctx.db, pattern, element)? {
            None => ctx.reply.null(),
            Some(value) => ctx.reply.bulk(&value),
        }
    }
    Ok(())
}

fn store(ctx: &mut Context<'_>, key: &[u8], rows: &[Vec<u8>]) -> CommandResult {
    if rows.is_empty() {
        if ctx.db.delete(key)? {
            let word = ctx.server.settings.server_del_word();
            ctx.effects.add(&[word, key]);
            ctx.db.changed(class::GENERIC, "del", key);
        }
    } else {
        let mut list = List::new();
        list.push_all(End::Back, rows.iter().map(Vec::as_slice));
        let mut payload = Vec::new();
        codec::encode_payload(ValueRef::List(&list), &mut payload);
        ctx.db.set_value(key, Value::List(list), None)?;
        ctx.db.changed(class::LIST, "sortstore", key);
        let payload = dump::wrap(&payload);
        ctx.effects
            .add(&[b"RESTORE", key, b"0", &payload, b"REPLACE"]);
    }
    ctx.reply.integer(rows.len() as i64);
    Ok(())
}

/// What an element is sorted by.
enum Weight {
    /// A number, then the element itself.
    Number(f64),
    /// Text under another key; what has none comes first.
    Text(Option<Vec<u8>>),
    /// The element itself.
    Itself,
}

fn sorted(
    ctx: &mut Context<'_>,
    elements: Vec<Vec<u8>>,
    options: &Options<'_>,
) -> Result<Vec<Vec<u8>>, CommandError> {
    let mut weighted = Vec::with_capacity(elements.len());
    for element in elements {
        let weight = match (options.by, options.alpha) {
            (None, true) => Weight::Itself,
            (None, false) => Weight::Number(number(&element)?),
            (Some(by), true) => Weight::Text(follow(&mut ctx.db, by, &element)?),
            (Some(by), false) => {
                let found = follow(&mut ctx.db, by, &element)?;
                Weight::Number(found.map_or(Ok(0.0), |text| number(&text))?)
            }
        };
        weighted.push((weight, element));
    }
    let collated: fn(&[u8]) -> &[u8] = match options.store {
        Some(_) => |text| text,
        None => c_string,
    };
    weighted.sort_by(|(a, a_element), (b, b_element)| {
        let order = match (a, b) {
            (Weight::Number(a), Weight::Number(b)) => {
                a.total_cmp(b).then_with(|| a_element.cmp(b_element))
            }
            (Weight::Text(a), Weight::Text(b)) => {
                a.as_deref().map(collated).cmp(&b.as_deref().map(collated))
            }
            _ => collated(a_element).cmp(collated(b_element)),
        };
        match options.descending {
            true => order.reverse(),
            false => order,
        }
    });
    Ok(weighted.into_iter().map(|(_, element)| element).collect())
}

/// A text up to its first zero byte. Valkey shows, but doesn't store, elements
/// in the order of the C locale, for which a text ends there.
fn c_string(text: &[u8]) -> &[u8] {
    text.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// The number that a text is, up to a zero byte, as in Valkey.
fn number(text: &[u8]) -> Result<f64, CommandError> {
    // Adding zero makes one of the two zeros.
    parse_f64(c_string(text))
        .map(|number| number + 0.0)
        .ok_or_else(|| CommandError::err("One or more scores can't be converted into double"))
}

/// The string that a pattern leads to for an element: `#` is the element
/// itself, the first `*` stands for it in a key's name, and `->field` behind
/// that asks for a field of a hash.
fn follow(db: &mut Db<'_>, pattern: &[u8], element: &[u8]) -> Result<Option<Vec<u8>>, DbError> {
    if pattern == b"#" {
        return Ok(Some(element.to_vec()));
    }
    let Some(star) = pattern.iter().position(|&b| b == b'*') else {
        return Ok(None);
    };
    let (prefix, mut rest) = (&pattern[..star], &pattern[star + 1..]);
    let mut field = None;
    if let Some(arrow) = memchr::memmem::find(rest, b"->")
        && arrow + 2 < rest.len()
    {
        field = Some(&rest[arrow + 2..]);
        rest = &rest[..arrow];
    }
    let key = [prefix, element, rest].concat();
    let Some(entry) = db.lookup(&key)? else {
        return Ok(None);
    };
    Ok(match (entry.value(), field) {
        (ValueRef::Hash(hash), Some(field)) => hash.get(field).map(|value| value.to_vec()),
        (ValueRef::Int(int), None) => Some(itoa::Buffer::new().format(int).into()),
        (ValueRef::Bytes(bytes), None) => Some(bytes.to_vec()),
        _ => None,
    })
}
