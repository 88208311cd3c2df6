//! Coordinates and distances as arguments and in replies.

use super::grid::{Cell, LATITUDE, LONGITUDE, Point};
use crate::commands::args;
use crate::commands::command::Arg;
use crate::commands::error::CommandError;
use crate::keyspace::zset::ZSet;
use crate::number;
use crate::resp::Protocol;
use crate::resp::reply::ReplyBuffer;

const UNITS: &[Arg] = &[
    Arg::word("m", "M"),
    Arg::word("km", "KM"),
    Arg::word("ft", "FT"),
    Arg::word("mi", "MI"),
];

/// The unit of a distance in a command's syntax.
pub const UNIT: Arg = Arg::one_of("unit", UNITS);

/// A longitude and a latitude in a command's syntax.
pub const COORDINATES: &[Arg] = &[Arg::double("longitude"), Arg::double("latitude")];

/// Reads a longitude and a latitude.
pub fn point(longitude: &[u8], latitude: &[u8]) -> Result<Point, CommandError> {
    let point = Point {
        longitude: args::float(longitude)?,
        latitude: args::float(latitude)?,
    };
    if LONGITUDE.contains(point.longitude) && LATITUDE.contains(point.latitude) {
        return Ok(point);
    }
    Err(CommandError::err(format_args!(
        "invalid longitude,latitude pair {:.6},{:.6}",
        point.longitude, point.latitude
    )))
}

/// How many metres a unit has.
pub fn unit_m(arg: &[u8]) -> Result<f64, CommandError> {
    let units = [("m", 1.0), ("km", 1000.0), ("ft", 0.3048), ("mi", 1609.34)];
    let found = units.into_iter().find(|(name, _)| args::is(arg, name));
    found
        .map(|(_, metres)| metres)
        .ok_or_else(|| CommandError::err("unsupported unit provided. please use M, KM, FT, MI"))
}

/// Reads a radius and the metres of its unit.
pub fn radius(radius: &[u8], unit: &[u8]) -> Result<(f64, f64), CommandError> {
    let radius =
        number::parse_f64(radius).ok_or_else(|| CommandError::err("need numeric radius"))?;
    if radius < 0.0 {
        return Err(CommandError::err("radius cannot be negative"));
    }
    Ok((radius, unit_m(unit)?))
}

/// Reads the width and height of a box and the metres of their unit.
pub fn size(width: &[u8], height: &[u8], unit: &[u8]) -> Result<((f64, f64), f64), CommandError> {
    let width = number::parse_f64(width).ok_or_else(|| CommandError::err("need numeric width"))?;
    let height =
        number::parse_f64(height).ok_or_else(|| CommandError::err("need numeric height"))?;
    if width < 0.0 || height < 0.0 {
        return Err(CommandError::err("height or width cannot be negative"));
    }
    Ok(((width, height), unit_m(unit)?))
}

/// Where a member of an index is.
pub fn place_of(index: &ZSet, member: &[u8]) -> Option<Point> {
    index
        .score(member)
        .map(|score| Cell::of_score(score).middle())
}

/// Replies a distance with four decimals.
pub fn put_distance(reply: &mut ReplyBuffer, distance: f64) {
    let scaled = (distance * 10_000.0).round_ties_even();
    // What no integer can hold becomes the smallest one, as the processor has
    // it.
    let scaled = match (-9.2e18..9.2e18).contains(&scaled) {
        true => scaled as i64,
        false => i64::MIN,
    };
    let sign = if scaled < 0 { "-" } else { "" };
    let scaled = scaled.unsigned_abs();
    let text = format!("{sign}{}.{:04}", scaled / 10_000, scaled % 10_000);
    reply.bulk(text.as_bytes());
}

/// Replies a point as an array of two numbers.
pub fn put_point(reply: &mut ReplyBuffer, point: Point) {
    reply.array(2);
    for degrees in [point.longitude, point.latitude] {
        let text = format!("{degrees:.17}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        let text = if text == "-0" { "0" } else { text };
        match reply.protocol {
            Protocol::Resp2 => reply.bulk(text.as_bytes()),
            Protocol::Resp3 => reply.raw(format!(",{text}\r\n").as_bytes()),
        }
    }
}
