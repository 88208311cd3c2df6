//! Union, intersection and difference of sorted sets, plain sets among them,
//! whose members count as having the score 1.

use std::borrow::Cow;
use std::collections::HashMap;

use super::selection::{store, write_head};
use crate::commands::args;
use crate::commands::command::Arg;
use crate::commands::context::Context;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::db::Db;
use crate::keyspace::entry::ValueRef;
use crate::keyspace::listpack::Entry;
use crate::keyspace::zset::ZSet;
use crate::resp::Protocol;

/// The options that say how scores come together.
pub const WEIGHTS: Arg = Arg::integer("weight")
    .after("WEIGHTS")
    .optional()
    .multiple();
/// See [`WEIGHTS`].
pub const AGGREGATE: Arg = Arg::one_of(
    "aggregate",
    &[
        Arg::word("sum", "SUM"),
        Arg::word("min", "MIN"),
        Arg::word("max", "MAX"),
    ],
)
.after("AGGREGATE")
.optional();

/// What is made of several sets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    Union,
    Inter,
    Diff,
}

/// How the scores of a member in several sets become one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn of(self, score: f64, other: f64) -> f64 {
        match self {
            // inf - inf counts as 0.
            Aggregate::Sum => or_zero(score + other),
            Aggregate::Min if other < score => other,
            Aggregate::Max if other > score => other,
            Aggregate::Min | Aggregate::Max => score,
        }
    }
}

fn or_zero(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// What the arguments after `numkeys key …` may say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// A reply: WITHSCORES.
    Reply,
    /// A result under a key.
    Store,
    /// A number: LIMIT.
    Count,
}

/// A parsed request.
pub struct Request<'s, 'a> {
    operation: Operation,
    keys: &'s [&'a [u8]],
    /// Empty: all are 1.
    weights: Vec<f64>,
    aggregate: Aggregate,
    with_scores: bool,
    limit: usize,
}

impl<'s, 'a> Request<'s, 'a> {
    /// Reads `numkeys key … [option …]`; `name` is the command's, for errors.
    /// Of two errors, a key of the wrong type comes before a wrong option.
    pub fn parse(
        ctx: &mut Context<'_>,
        args: &'s [&'a [u8]],
        operation: Operation,
        form: Form,
        name: &str,
    ) -> Result<Self, CommandError> {
        let number = args::integer(args[0])?;
        if number < 1 {
            return Err(CommandError::err(format_args!(
                "at least 1 input key is needed for '{name}' command"
            )));
        }
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        if number > args.len() - 1 {
            return Err(CommandError::Syntax);
        }
        let (keys, options) = args[1..].split_at(number);
        let mut request = Request {
            operation,
            keys,
            weights: Vec::new(),
            aggregate: Aggregate::Sum,
            with_scores: false,
            limit: 0,
        };
        if let Err(error) = request.parse_options(options, form) {
            request.sources(&mut ctx.db)?;
            return Err(error);
        }
        Ok(request)
    }

    fn parse_options(&mut self, mut rest: &[&[u8]], form: Form) -> CommandResult {
        let scored = self.operation != Operation::Diff && form != Form::Count;
        while let [word, after @ ..] = rest {
            let number = self.keys.len();
            rest = if scored && after.len() >= number && args::is(word, "WEIGHTS") {
                let (weights, after) = after.split_at(number);
                let error = || CommandError::err("weight value is not a float");
                let weights = weights.iter().map(|arg| args::float(arg).ok());
                self.weights = weights.collect::<Option<_>>().ok_or_else(error)?;
                after
            } else if scored && !after.is_empty() && args::is(word, "AGGREGATE") {
                self.aggregate = match after[0] {
                    word if args::is(word, "SUM") => Aggregate::Sum,
                    word if args::is(word, "MIN") => Aggregate::Min,
                    word if args::is(word, "MAX") => Aggregate::Max,
                    _ => return Err(CommandError::Syntax),
                };
                &after[1..]
            } else if form == Form::Reply && args::is(word, "WITHSCORES") {
                self.with_scores = true;
                after
            } else if form == Form::Count && !after.is_empty() && args::is(word, "LIMIT") {
                let text = "LIMIT can't be negative";
                let limit = args::integer_between(after[0], 0..=i64::MAX, text)?;
                self.limit = usize::try_from(limit).unwrap_or(usize::MAX);
                &after[1..]
            } else {
                return Err(CommandError::Syntax);
            };
        }
        Ok(())
    }

    /// Replies the members of the result.
    pub fn reply(&self, ctx: &mut Context<'_>) -> CommandResult {
        let members = self.run(&mut ctx.db)?;
        write_head(ctx.reply, members.len(), self.with_scores);
        let nested = self.with_scores && ctx.reply.protocol == Protocol::Resp3;
        for (member, score) in members {
            if nested {
                ctx.reply.array(2);
            }
            ctx.reply.bulk(&member);
            if self.with_scores {
                ctx.reply.double(score);
            }
        }
        Ok(())
    }

    /// Stores the result under `key` and replies its size.
    pub fn store(&self, ctx: &mut Context<'_>, key: &[u8]) -> CommandResult {
        let members = self.run(&mut ctx.db)?;
        let longest = members.iter().map(|(member, _)| member.len()).max();
        let mut result = ZSet::new();
        result.prepare(members.len(), longest.unwrap_or(0));
        for (member, score) in members {
            result.add(&member, score);
        }
        let event = match self.operation {
            Operation::Union => "zunionstore",
            Operation::Inter => "zinterstore",
            Operation::Diff => "zdiffstore",
        };
        store(ctx, key, result, event)
    }

    /// Replies the size of the intersection, up to the limit.
    pub fn count(&self, ctx: &mut Context<'_>) -> CommandResult {
        let mut sources = self.sources(&mut ctx.db)?;
        sources.sort_by_key(|source| source.len());
        let limit = if self.limit == 0 {
            usize::MAX
        } else {
            self.limit
        };
        let mut count = 0;
        sources[0].each(|member, _| {
            let bytes = member_bytes(member);
            let in_all = sources[1..].iter().all(|s| s.score(&bytes).is_some());
            count += usize::from(in_all);
            count < limit
        });
        ctx.reply.integer(count as i64);
        Ok(())
    }

    /// The result, in order.
    fn run<'d>(&self, db: &'d mut Db<'_>) -> Result<Vec<(Member<'d>, f64)>, CommandError> {
        let mut sources = self.sources(db)?;
        if self.operation != Operation::Diff {
            sources.sort_by_key(|source| source.len());
        }
        let mut members = match self.operation {
            Operation::Union => union(&sources, self.aggregate),
            Operation::Inter => inter(&sources, self.aggregate),
            Operation::Diff => diff(&sources),
        };
        members.sort_unstable_by(|(a, a_score), (b, b_score)| {
            let by_score = a_score.partial_cmp(b_score);
            by_score
                .unwrap_or(std::cmp::Ordering::Equal)
                .then_with(|| a.cmp(b))
        });
        Ok(members)
    }

    fn sources<'d>(&self, db: &'d mut Db<'_>) -> Result<Vec<Source<'d>>, CommandError> {
        let values = db.values(self.keys)?;
        let mut sources = Vec::with_capacity(values.len());
        for (index, value) in values.into_iter().enumerate() {
            let members = match value {
                None => Members::None,
                Some(ValueRef::ZSet(zset)) => Members::Sorted(zset),
                Some(ValueRef::Set(set)) => Members::Plain(set),
                Some(_) => return Err(CommandError::WrongType),
            };
            let weight = self.weights.get(index).copied().unwrap_or(1.0);
            sources.push(Source { members, weight });
        }
        Ok(sources)
    }
}

/// A member, borrowed from where it was found if it is text there.
type Member<'d> = Cow<'d, [u8]>;

fn member_bytes(entry: Entry<'_>) -> Member<'_> {
    match entry {
        Entry::Str(bytes) => Cow::Borrowed(bytes),
        Entry::Int(_) => Cow::Owned(entry.to_vec()),
    }
}

#[derive(Clone, Copy)]
enum Members<'d> {
    None,
    Sorted(&'d ZSet),
    Plain(&'d crate::keyspace::set::Set),
}

/// One of the sets, with its weight.
#[derive(Clone, Copy)]
struct Source<'d> {
    members: Members<'d>,
    weight: f64,
}

impl<'d> Source<'d> {
    fn len(&self) -> usize {
        match self.members {
            Members::None => 0,
            Members::Sorted(zset) => zset.len(),
            Members::Plain(set) => set.len(),
        }
    }

    /// Visits members with their weighted scores until `f` returns false.
    fn each(&self, mut f: impl FnMut(Entry<'d>, f64) -> bool) {
        match self.members {
            Members::None => {}
            Members::Sorted(zset) => {
                for (member, score) in zset.iter() {
                    if !f(member, self.weight * score) {
                        break;
                    }
                }
            }
            Members::Plain(set) => {
                for member in set.iter() {
                    if !f(member, self.weight) {
                        break;
                    }
                }
            }
        }
    }

    /// A member's weighted score.
    fn score(&self, member: &[u8]) -> Option<f64> {
        match self.members {
            Members::None => None,
            Members::Sorted(zset) => zset.score(member).map(|score| self.weight * score),
            Members::Plain(set) => set.contains(member).then_some(self.weight),
        }
    }
}

fn union<'d>(sources: &[Source<'d>], aggregate: Aggregate) -> Vec<(Member<'d>, f64)> {
    let largest = sources.iter().map(Source::len).max().unwrap_or(0);
    let mut scores: HashMap<Member<'d>, f64, ahash::RandomState> =
        HashMap::with_capacity_and_hasher(largest, ahash::RandomState::new());
    for source in sources {
        source.each(|member, score| {
            let score = or_zero(score);
            scores
                .entry(member_bytes(member))
                .and_modify(|old| *old = aggregate.of(*old, score))
                .or_insert(score);
            true
        });
    }
    scores.into_iter().collect()
}

/// `sources` come smallest first.
fn inter<'d>(sources: &[Source<'d>], aggregate: Aggregate) -> Vec<(Member<'d>, f64)> {
    let mut members = Vec::new();
    let Some((smallest, others)) = sources.split_first() else {
        return members;
    };
    smallest.each(|member, score| {
        let member = member_bytes(member);
        let score = others.iter().try_fold(or_zero(score), |score, other| {
            Some(aggregate.of(score, other.score(&member)?))
        });
        members.extend(score.map(|score| (member, score)));
        true
    });
    members
}

fn diff<'d>(sources: &[Source<'d>]) -> Vec<(Member<'d>, f64)> {
    let mut members = Vec::new();
    let Some((first, others)) = sources.split_first() else {
        return members;
    };
    first.each(|member, score| {
        let member = member_bytes(member);
        if others.iter().all(|other| other.score(&member).is_none()) {
            members.push((member, score));
        }
        true
    });
    members
}
