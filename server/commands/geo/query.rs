//! A search as its arguments say it.

use super::grid::Point;
use super::shape::{Form as Area, centroid};
use super::units;
use crate::commands::args;
use crate::commands::error::{CommandError, CommandResult};
use crate::keyspace::zset::ZSet;
use crate::number::parse_i64;

/// Which command it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// GEORADIUS: a circle around given coordinates.
    Around { may_store: bool },
    /// GEORADIUSBYMEMBER: a circle around a member.
    AroundMember { may_store: bool },
    /// GEOSEARCH.
    Search,
    /// GEOSEARCHSTORE.
    SearchStore,
}

impl Form {
    /// Whether FROM and BY options tell where to search.
    pub fn is_search(self) -> bool {
        matches!(self, Form::Search | Form::SearchStore)
    }

    fn takes_store(self) -> bool {
        matches!(
            self,
            Form::Around { may_store: true } | Form::AroundMember { may_store: true }
        )
    }
}

/// The order of the result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    Ascending,
    Descending,
}

/// How the center was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum From {
    Member,
    Coordinates,
}

/// A search. The center is missing when it is a member's and there is no
/// index.
#[derive(Default, Debug)]
pub struct Query<'a> {
    pub center: Option<Point>,
    from: Option<From>,
    pub area: Option<Area>,
    /// Metres in the unit of the area and of replied distances.
    pub unit_m: f64,
    pub with_distance: bool,
    pub with_score: bool,
    pub with_place: bool,
    pub order: Option<Order>,
    /// At most so many; 0 for all.
    pub count: usize,
    /// Any `count` members will do, not the nearest.
    pub any: bool,
    /// The key to store the result under.
    pub store: Option<&'a [u8]>,
    /// Distances are stored as scores.
    pub store_distances: bool,
}

fn place_in(index: &ZSet, member: &[u8]) -> Result<Point, CommandError> {
    units::place_of(index, member).ok_or_else(|| {
        let member = String::from_utf8_lossy(member);
        CommandError::err(format_args!("member {member} does not exist"))
    })
}

impl<'a> Query<'a> {
    /// Reads the arguments of a search in `index`, the value of its source
    /// key.
    pub fn parse(
        args: &[&'a [u8]],
        form: Form,
        index: Option<&ZSet>,
    ) -> Result<Self, CommandError> {
        let mut query = Query {
            unit_m: 1.0,
            ..Query::default()
        };
        let options = match form {
            Form::Around { .. } => {
                query.center = Some(units::point(args[2], args[3])?);
                query.take_circle(args[4], args[5])?;
                6
            }
            Form::AroundMember { .. } => {
                if let Some(index) = index {
                    query.center = Some(place_in(index, args[2])?);
                    query.take_circle(args[3], args[4])?;
                }
                5
            }
            Form::Search => 2,
            Form::SearchStore => {
                query.store = Some(args[1]);
                3
            }
        };
        let mut rest = &args[options..];
        while let Some((word, after)) = rest.split_first() {
            let taken = match query.take_flag(word, form) {
                true => 0,
                false => query.take_option(word, after, form, index)?,
            };
            rest = &after[taken..];
        }
        query.check(form, args[0])?;
        Ok(query)
    }

    /// Takes an option without a value; false when it is none.
    fn take_flag(&mut self, word: &[u8], form: Form) -> bool {
        let flag = if args::is(word, "WITHDIST") {
            &mut self.with_distance
        } else if args::is(word, "WITHHASH") {
            &mut self.with_score
        } else if args::is(word, "WITHCOORD") {
            &mut self.with_place
        } else if args::is(word, "ANY") {
            &mut self.any
        } else if form == Form::SearchStore && args::is(word, "STOREDIST") {
            &mut self.store_distances
        } else {
            let orders = [("ASC", Order::Ascending), ("DESC", Order::Descending)];
            let order = orders.into_iter().find(|(name, _)| args::is(word, name));
            self.order = order.map(|(_, order)| order).or(self.order);
            return order.is_some();
        };
        *flag = true;
        true
    }

    /// Takes an option with values; returns how many arguments they are.
    fn take_option(
        &mut self,
        word: &[u8],
        after: &[&'a [u8]],
        form: Form,
        index: Option<&ZSet>,
    ) -> Result<usize, CommandError> {
        match after {
            [count, ..] if args::is(word, "COUNT") => {
                self.count = usize::try_from(args::integer(count)?).unwrap_or(0);
                if self.count == 0 {
                    return Err(CommandError::err("COUNT must be > 0"));
                }
                Ok(1)
            }
            [key, ..] if form.takes_store() && args::is(word, "STORE") => {
                (self.store, self.store_distances) = (Some(*key), false);
                Ok(1)
            }
            [key, ..] if form.takes_store() && args::is(word, "STOREDIST") => {
                (self.store, self.store_distances) = (Some(*key), true);
                Ok(1)
            }
            _ if !form.is_search() => Err(CommandError::Syntax),
            _ if matches!(self.area, Some(Area::Polygon { .. })) => Err(CommandError::Syntax),
            _ if args::is(word, "BYPOLYGON") => self.take_polygon(after),
            _ => match self.take_center(word, after, index)? {
                0 => self.take_area(word, after),
                taken => Ok(taken),
            },
        }
    }

    /// Takes FROMMEMBER or FROMLONLAT; 0 when it is neither.
    fn take_center(
        &mut self,
        word: &[u8],
        after: &[&[u8]],
        index: Option<&ZSet>,
    ) -> Result<usize, CommandError> {
        match after {
            [member, ..]
                if args::is(word, "FROMMEMBER") && self.from != Some(From::Coordinates) =>
            {
                if let Some(index) = index {
                    self.center = Some(place_in(index, member)?);
                }
                self.from = Some(From::Member);
                Ok(1)
            }
            [longitude, latitude, ..]
                if args::is(word, "FROMLONLAT") && self.from != Some(From::Member) =>
            {
                self.center = Some(units::point(longitude, latitude)?);
                self.from = Some(From::Coordinates);
                Ok(2)
            }
            _ => Ok(0),
        }
    }

    /// Takes BYRADIUS or BYBOX.
    fn take_area(&mut self, word: &[u8], after: &[&[u8]]) -> Result<usize, CommandError> {
        let is_box = matches!(self.area, Some(Area::Box { .. }));
        let is_circle = matches!(self.area, Some(Area::Circle { .. }));
        match after {
            [radius, unit, ..] if args::is(word, "BYRADIUS") && !is_box => {
                self.take_circle(radius, unit)?;
                Ok(2)
            }
            [width, height, unit, ..] if args::is(word, "BYBOX") && !is_circle => {
                let ((width, height), unit_m) = units::size(width, height, unit)?;
                self.area = Some(Area::Box { width, height });
                self.unit_m = unit_m;
                Ok(3)
            }
            _ => Err(CommandError::Syntax),
        }
    }

    fn take_circle(&mut self, radius: &[u8], unit: &[u8]) -> CommandResult {
        let (radius, unit_m) = units::radius(radius, unit)?;
        self.area = Some(Area::Circle { radius });
        self.unit_m = unit_m;
        Ok(())
    }

    fn take_polygon(&mut self, after: &[&[u8]]) -> Result<usize, CommandError> {
        if self.from.is_some() || self.area.is_some() || after.len() < 2 {
            return Err(CommandError::Syntax);
        }
        let count = parse_i64(after[0])
            .filter(|count| i32::try_from(*count).is_ok())
            .ok_or_else(|| CommandError::err("invalid number of vertices"))?;
        let (coordinates, _) = after[1..].as_chunks::<2>();
        let coordinates = usize::try_from(count)
            .ok()
            .filter(|count| *count >= 3)
            .and_then(|count| coordinates.get(..count))
            .ok_or_else(|| {
                CommandError::err("GEOSEARCH BYPOLYGON must have at least 3 vertices")
            })?;
        let corners = coordinates
            .iter()
            .map(|[longitude, latitude]| units::point(longitude, latitude))
            .collect::<Result<Vec<_>, _>>()?;
        self.center = Some(centroid(&corners));
        self.area = Some(Area::Polygon { corners });
        self.unit_m = 1.0;
        Ok(1 + 2 * coordinates.len())
    }

    /// What only all options together tell; `name` is the command's as it was
    /// sent.
    fn check(&self, form: Form, name: &[u8]) -> CommandResult {
        if self.store.is_some() && (self.with_distance || self.with_score || self.with_place) {
            let who = match form {
                Form::SearchStore => "GEOSEARCHSTORE",
                _ => "STORE option in GEORADIUS",
            };
            return Err(CommandError::err(format_args!(
                "{who} is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            )));
        }
        let name = String::from_utf8_lossy(name);
        let is_polygon = matches!(self.area, Some(Area::Polygon { .. }));
        if form.is_search() && self.from.is_none() && !is_polygon {
            return Err(CommandError::err(format_args!(
                "exactly one of FROMMEMBER or FROMLONLAT can be specified for {name}"
            )));
        }
        if form.is_search() && self.area.is_none() {
            return Err(CommandError::err(format_args!(
                "exactly one of BYRADIUS, BYBOX and BYPOLYGON can be specified for {name}"
            )));
        }
        if self.any && self.count == 0 {
            return Err(CommandError::err(
                "the ANY argument requires COUNT argument",
            ));
        }
        Ok(())
    }
}
