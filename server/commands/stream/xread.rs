//! XREAD: entries behind given ids of several streams, or waits for some.

use super::{any_if_zero, ids, reply_entries};
use crate::commands::args::{integer, is};
use crate::commands::command::{Arg, Begin, Command, Find, Group, KeySpec, acl, flag};
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::commands::keys::by_first_spec;
use crate::connection::blocking::{BlockRequest, TimeoutReply};
use crate::keyspace::stream::StreamId;
use crate::resp::Protocol;
use crate::resp::reply::{Deferred, ReplyBuffer};

/// XREAD [COUNT count] [BLOCK milliseconds] STREAMS key [key …] id [id …]
pub const COMMAND: Command = Command {
    name: "xread",
    group: Group::Stream,
    since: "5.0.0",
    summary: "Gives entries behind given ids of several streams, or waits for some.",
    complexity: "O(N) for N entries given.",
    arity: -4,
    flags: flag::READONLY | flag::BLOCKING | flag::MOVABLEKEYS,
    acl: acl::STREAM,
    keys: &[streams_from(1)],
    find_keys: Some(|args, found| {
        let options = parse(args, false).ok();
        by_first_spec(options.map(|options| options.key_positions()), found)
    }),
    args: &[
        Arg::integer("count").after("COUNT").optional(),
        Arg::integer("milliseconds").after("BLOCK").optional(),
        STREAMS,
    ],
    run,
    ..Command::BASE
};

/// `STREAMS key [key …] id [id …]`
pub const STREAMS: Arg = Arg::block(
    "streams",
    &[Arg::key("key").multiple(), Arg::string("id").multiple()],
)
.after("STREAMS");

/// The keys behind STREAMS, looked for from an argument on.
pub const fn streams_from(from: i32) -> KeySpec {
    KeySpec {
        flags: &["RO", "access"],
        begin: Begin::Keyword("STREAMS", from),
        find: Find::Range {
            last: -1,
            step: 1,
            limit: 2,
        },
        notes: "",
    }
}

/// What XREAD and XREADGROUP are asked for.
pub struct Options<'a> {
    /// The most entries of each stream.
    pub count: usize,
    /// How long to wait, 0 for ever; None not at all.
    pub block_ms: Option<u64>,
    /// Group and consumer, as given.
    pub group: Option<(&'a [u8], &'a [u8])>,
    /// NOACK was given.
    pub no_ack: bool,
    /// Position of the first key.
    pub keys_at: usize,
    /// How many keys there are.
    pub key_count: usize,
}

impl<'a> Options<'a> {
    /// Where the keys are.
    pub fn key_positions(&self) -> std::ops::Range<usize> {
        self.keys_at..self.keys_at + self.key_count
    }

    /// The keys.
    pub fn keys<'s>(&self, args: &'s [&'a [u8]]) -> &'s [&'a [u8]] {
        &args[self.key_positions()]
    }

    /// Their ids.
    pub fn ids<'s>(&self, args: &'s [&'a [u8]]) -> &'s [&'a [u8]] {
        &args[self.keys_at + self.key_count..]
    }
}

fn block_ms(arg: &[u8]) -> Result<u64, CommandError> {
    let ms =
        integer(arg).map_err(|_| CommandError::err("timeout is not an integer or out of range"))?;
    if ms.checked_add(crate::state::unix_ms()).is_none() {
        return Err(CommandError::err("timeout is out of range"));
    }
    u64::try_from(ms).map_err(|_| CommandError::err("timeout is negative"))
}

/// Reads the arguments of XREAD, or of XREADGROUP (`grouped`).
pub fn parse<'a>(args: &[&'a [u8]], grouped: bool) -> Result<Options<'a>, CommandError> {
    let mut options = Options {
        count: usize::MAX,
        block_ms: None,
        group: None,
        no_ack: false,
        keys_at: 0,
        key_count: 0,
    };
    let only_grouped = |word: &str| {
        CommandError::err(format!(
            "The {word} option is only supported by XREADGROUP. You called XREAD instead."
        ))
    };
    let mut at = 1;
    while let Some(&word) = args.get(at) {
        let more = args.len() - at - 1;
        if is(word, "block") && more >= 1 {
            options.block_ms = Some(block_ms(args[at + 1])?);
            at += 1;
        } else if is(word, "count") && more >= 1 {
            options.count = any_if_zero(integer(args[at + 1])?);
            at += 1;
        } else if is(word, "streams") && more >= 1 {
            options.keys_at = at + 1;
            options.key_count = more / 2;
            break;
        } else if is(word, "group") && more >= 2 {
            if !grouped {
                return Err(only_grouped("GROUP"));
            }
            options.group = Some((args[at + 1], args[at + 2]));
            at += 2;
        } else if is(word, "noack") {
            if !grouped {
                return Err(only_grouped("NOACK"));
            }
            options.no_ack = true;
        } else {
            return Err(CommandError::Syntax);
        }
        at += 1;
    }
    check(&options, args.len(), grouped)?;
    Ok(options)
}

fn check(options: &Options<'_>, arg_count: usize, grouped: bool) -> CommandResult {
    if options.keys_at == 0 {
        return Err(CommandError::Syntax);
    }
    if (arg_count - options.keys_at) % 2 == 1 {
        let (name, symbol) = match grouped {
            true => ("xreadgroup", '>'),
            false => ("xread", '$'),
        };
        return Err(CommandError::err(format!(
            "Unbalanced '{name}' list of streams: for each stream key an ID or '{symbol}' must be \
             specified."
        )));
    }
    if grouped && options.group.is_none() {
        return Err(CommandError::err("Missing GROUP option for XREADGROUP"));
    }
    Ok(())
}

/// Replies of several streams, each with its key: a map, or in RESP2 an array
/// of pairs. Nothing is written before there is a first one.
#[derive(Default)]
pub struct Replies {
    begun: Option<Deferred>,
    len: usize,
}

impl Replies {
    /// Begins the next stream's; its entries follow.
    pub fn next(&mut self, reply: &mut ReplyBuffer, key: &[u8]) {
        if self.begun.is_none() {
            self.begun = Some(reply.defer());
        }
        self.len += 1;
        if reply.protocol == Protocol::Resp2 {
            reply.array(2);
        }
        reply.bulk(key);
    }

    /// Ends the reply; false when there is none.
    pub fn finish(self, reply: &mut ReplyBuffer) -> bool {
        let Some(begun) = self.begun else {
            return false;
        };
        match reply.protocol {
            Protocol::Resp2 => reply.finish_array(begun, self.len),
            Protocol::Resp3 => reply.finish_map(begun, self.len),
        }
        true
    }
}

/// Waits if asked to, or says that there is nothing.
pub fn wait_or_nothing(
    ctx: &mut Context<'_>,
    keys: &[&[u8]],
    block_ms: Option<u64>,
    args: Option<Vec<Vec<u8>>>,
) {
    match block_ms {
        None => ctx.reply.null_array(),
        Some(timeout_ms) => ctx.block(BlockRequest {
            keys: keys.iter().map(|key| key.to_vec()).collect(),
            timeout_ms,
            on_timeout: TimeoutReply::NullArray,
            args,
        }),
    }
}

/// The id behind which to read, as XREAD takes it.
fn after(ctx: &mut Context<'_>, key: &[u8], arg: &[u8]) -> Result<StreamId, CommandError> {
    let stream = ctx.db.stream(key)?;
    match arg {
        b"$" => Ok(stream.map_or(StreamId::MIN, |s| s.entries.last_id())),
        b"+" => {
            let last = stream.map_or(StreamId::MIN, |s| s.entries.last_id());
            Ok(last.previous().unwrap_or(StreamId::MIN))
        }
        b">" => Err(CommandError::err(
            "The > ID can be specified only when calling XREADGROUP using the GROUP <group> \
             <consumer> option.",
        )),
        _ => ids::strict(arg),
    }
}

fn run(ctx: &mut Context<'_>, args: &[&[u8]]) -> CommandResult {
    let options = parse(args, false)?;
    let (keys, id_args) = (options.keys(args), options.ids(args));
    let mut wanted: smallvec::SmallVec<[StreamId; 8]> = smallvec::SmallVec::new();
    for (key, arg) in keys.iter().zip(id_args) {
        wanted.push(after(ctx, key, arg)?);
    }
    let mut replies = Replies::default();
    for (key, &after) in keys.iter().zip(&wanted) {
        let reply = &mut *ctx.reply;
        let Some(stream) = ctx.db.stream(key)? else {
            continue;
        };
        if let Some(start) = after.next()
            && stream.entries.has_after(after)
        {
            replies.next(reply, key);
            let entries = stream.entries.range(start, StreamId::MAX);
            reply_entries(reply, entries.take(options.count));
        }
    }
    if !replies.finish(ctx.reply) {
        // Run again, `$` is to mean what it means now.
        let rewritten = options.block_ms.is_some() && id_args.contains(&&b"$"[..]);
        let rewritten = rewritten.then(|| {
            let mut args: Vec<Vec<u8>> = args.iter().map(|arg| arg.to_vec()).collect();
            let ids_at = args.len() - wanted.len();
            for (arg, id) in args[ids_at..].iter_mut().zip(&wanted) {
                if arg == b"$" {
                    *arg = id.text().to_vec();
                }
            }
            args
        });
        wait_or_nothing(ctx, keys, options.block_ms, rewritten);
    }
    Ok(())
}
