//! What all searches do: find the members inside a shape, then reply or store
//! them.

use super::grid::{Cell, Point};
pub use super::query::Form;
use super::query::{Order, Query};
use super::shape::Shape;
use super::units;
use crate::commands::command::Arg;
use crate::commands::context::Context;
use crate::commands::error::CommandResult;
use crate::commands::sorted_set::selection::{store, write_member};
use crate::keyspace::listpack::{Entry, IntBuffer};
use crate::keyspace::zset::{ScoreRange, ZSet};
use crate::resp::reply::ReplyBuffer;

/// The order of the result in a command's syntax.
pub const ORDER: Arg = Arg::one_of(
    "order",
    &[Arg::word("asc", "ASC"), Arg::word("desc", "DESC")],
)
.optional();

/// A member inside the shape.
struct Found<'z> {
    member: Entry<'z>,
    score: f64,
    place: Point,
    distance_m: f64,
}

/// Runs any of the searches.
pub fn run(ctx: &mut Context<'_>, args: &[&[u8]], form: Form) -> CommandResult {
    let source = args[if form == Form::SearchStore { 2 } else { 1 }];
    let index = ctx.db.zset(source)?;
    let query = Query::parse(args, form, index)?;
    let found = index.map_or_else(Vec::new, |index| search(&query, index));
    let Some(key) = query.store else {
        reply(&query, ctx.reply, &found);
        return Ok(());
    };
    let mut result = ZSet::new();
    result.prepare(found.len(), 0);
    let mut buffer = IntBuffer::new();
    for one in &found {
        let score = match query.store_distances {
            true => one.distance_m / query.unit_m,
            false => one.score,
        };
        // Coordinates that no grid has can be infinitely far from each other.
        let score = if score.is_nan() { 0.0 } else { score };
        result.add(one.member.bytes(&mut buffer), score);
    }
    let event = match form.is_search() {
        true => "geosearchstore",
        false => "georadiusstore",
    };
    store(ctx, key, result, event)
}

/// The members that the query asks for, in its order.
fn search<'z>(query: &Query<'_>, index: &'z ZSet) -> Vec<Found<'z>> {
    let (Some(center), Some(form)) = (query.center, query.area.clone()) else {
        return Vec::new();
    };
    let shape = Shape {
        form,
        center,
        unit_m: query.unit_m,
    };
    let limit = if query.any { query.count } else { usize::MAX };
    let mut found: Vec<Found<'z>> = shape
        .covering_cells()
        .into_iter()
        .flat_map(|cell| members_of(index, cell))
        .filter_map(|(member, score)| {
            let place = Cell::of_score(score).middle();
            let distance_m = shape.distance_inside_m(place)?;
            Some(Found {
                member,
                score,
                place,
                distance_m,
            })
        })
        .take(limit)
        .collect();
    // Some of them without an order would be no meaningful choice.
    let nearest = (query.count != 0 && !query.any).then_some(Order::Ascending);
    match query.order.or(nearest) {
        None => {}
        Some(Order::Ascending) => found.sort_by(|a, b| a.distance_m.total_cmp(&b.distance_m)),
        Some(Order::Descending) => found.sort_by(|a, b| b.distance_m.total_cmp(&a.distance_m)),
    }
    if query.count != 0 {
        found.truncate(query.count);
    }
    found
}

/// The members in a cell, with their scores.
fn members_of(index: &ZSet, cell: Cell) -> impl Iterator<Item = (Entry<'_>, f64)> {
    let (min, max) = cell.scores();
    let ranks = index.ranks_by_score(&ScoreRange {
        min,
        min_exclusive: false,
        max,
        max_exclusive: true,
    });
    index.range(ranks)
}

fn reply(query: &Query<'_>, reply: &mut ReplyBuffer, found: &[Found<'_>]) {
    let details = [query.with_distance, query.with_score, query.with_place];
    let details = details.into_iter().filter(|&asked| asked).count();
    reply.array(found.len());
    for one in found {
        if details > 0 {
            reply.array(details + 1);
        }
        write_member(reply, one.member);
        if query.with_distance {
            units::put_distance(reply, one.distance_m / query.unit_m);
        }
        if query.with_score {
            reply.integer(one.score as i64);
        }
        if query.with_place {
            units::put_point(reply, one.place);
        }
    }
}
