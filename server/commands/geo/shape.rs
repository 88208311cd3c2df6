//! Distances on the globe, the shapes that can be searched, and the cells that
//! cover a shape.

use super::grid::{Axis, Cell, FINEST, LATITUDE, LONGITUDE, Point};

/// Earth's quadratic mean radius, in metres.
const EARTH_RADIUS_M: f64 = 6_372_797.560856;
/// Half the globe's circumference as Web Mercator has it, in metres.
const MERCATOR_MAX_M: f64 = 20_037_726.37;
/// Radians in a degree.
const RADIANS: f64 = std::f64::consts::PI / 180.0;

/// The great-circle distance of two points, in metres.
pub fn distance_m(a: Point, b: Point) -> f64 {
    let v = ((b.longitude * RADIANS - a.longitude * RADIANS) / 2.0).sin();
    if v == 0.0 {
        return latitude_distance_m(a, b);
    }
    let (from, to) = (a.latitude * RADIANS, b.latitude * RADIANS);
    let u = ((to - from) / 2.0).sin();
    let haversine = u * u + from.cos() * to.cos() * v * v;
    2.0 * EARTH_RADIUS_M * haversine.sqrt().asin()
}

/// The distance of two points' circles of latitude, in metres.
fn latitude_distance_m(a: Point, b: Point) -> f64 {
    EARTH_RADIUS_M * (b.latitude * RADIANS - a.latitude * RADIANS).abs()
}

/// What can be searched. Lengths are in the query's unit.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    Circle { radius: f64 },
    Box { width: f64, height: f64 },
    Polygon { corners: Vec<Point> },
}

/// A form at its place, with the metres in its unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    pub form: Form,
    pub center: Point,
    pub unit_m: f64,
}

impl Shape {
    /// The distance of a point from the center in metres; None when the point
    /// is outside the shape.
    pub fn distance_inside_m(&self, point: Point) -> Option<f64> {
        match &self.form {
            Form::Circle { radius } => {
                let distance = distance_m(self.center, point);
                let is_outside = distance > radius * self.unit_m;
                (!is_outside).then_some(distance)
            }
            Form::Box { width, height } => {
                if latitude_distance_m(point, self.center) > height * self.unit_m / 2.0 {
                    return None;
                }
                let beside = Point {
                    longitude: self.center.longitude,
                    latitude: point.latitude,
                };
                if distance_m(point, beside) > width * self.unit_m / 2.0 {
                    return None;
                }
                Some(distance_m(self.center, point))
            }
            Form::Polygon { corners } => {
                is_within(corners, point).then(|| distance_m(self.center, point))
            }
        }
    }

    /// The cells that together cover the shape, the central one first; no two
    /// neighbours in the list are the same.
    pub fn covering_cells(&self) -> Vec<Cell> {
        let (east_west, north_south) = self.bounds();
        let mut steps = steps_for(self.reach_m(east_west, north_south), self.center.latitude);
        // A polygon around a pole has its center where no cell is.
        let center = Point {
            longitude: self.center.longitude.clamp(LONGITUDE.min, LONGITUDE.max),
            latitude: self.center.latitude.clamp(LATITUDE.min, LATITUDE.max),
        };
        let mut cell = Cell::of(center, LATITUDE, steps);
        let falls_short = cell.neighbour(0, 1).bounds().1.max < north_south.max
            || cell.neighbour(0, -1).bounds().1.min > north_south.min
            || cell.neighbour(1, 0).bounds().0.max < east_west.max
            || cell.neighbour(-1, 0).bounds().0.min > east_west.min;
        if steps > 1 && falls_short {
            steps -= 1;
            cell = Cell::of(center, LATITUDE, steps);
        }
        let (longitude, latitude) = cell.bounds();
        let is_useless = |east: i32, north: i32| {
            steps >= 2
                && ((north < 0 && latitude.min < north_south.min)
                    || (north > 0 && latitude.max > north_south.max)
                    || (east < 0 && longitude.min < east_west.min)
                    || (east > 0 && longitude.max > east_west.max))
        };
        let mut cells = vec![cell];
        for (east, north) in AROUND {
            let other = cell.neighbour(east, north);
            // On a coarse grid the neighbours on two sides are the same cell.
            let repeated = cells.len() > 1 && cells.last() == Some(&other);
            if !repeated && !is_useless(east, north) {
                cells.push(other);
            }
        }
        cells
    }

    /// A box around the shape: from west to east and from south to north, in
    /// degrees.
    fn bounds(&self) -> (Axis, Axis) {
        let (width, height) = match &self.form {
            Form::Circle { radius } => (self.unit_m * radius, self.unit_m * radius),
            Form::Box { width, height } => (self.unit_m * width / 2.0, self.unit_m * height / 2.0),
            Form::Polygon { corners } => return bounds_of(corners),
        };
        let Point {
            longitude,
            latitude,
        } = self.center;
        let north_south = height / EARTH_RADIUS_M / RADIANS;
        // The box is widest on its side towards the pole.
        let widest = match latitude < 0.0 {
            true => latitude - north_south,
            false => latitude + north_south,
        };
        let east_west = width / EARTH_RADIUS_M / (widest * RADIANS).cos() / RADIANS;
        (
            Axis {
                min: longitude - east_west,
                max: longitude + east_west,
            },
            Axis {
                min: latitude - north_south,
                max: latitude + north_south,
            },
        )
    }

    /// How far the shape reaches from its center at most, in metres.
    fn reach_m(&self, east_west: Axis, north_south: Axis) -> f64 {
        let reach = match &self.form {
            Form::Circle { radius } => *radius,
            Form::Box { width, height } => {
                ((width / 2.0) * (width / 2.0) + (height / 2.0) * (height / 2.0)).sqrt()
            }
            Form::Polygon { .. } => [east_west.min, east_west.max]
                .into_iter()
                .flat_map(|longitude| {
                    [north_south.max, north_south.min].map(|latitude| Point {
                        longitude,
                        latitude,
                    })
                })
                .map(|corner| distance_m(self.center, corner))
                .fold(0.0, f64::max),
        };
        reach * self.unit_m
    }
}

/// The order in which the cells around the central one are searched: steps to
/// the east and to the north.
const AROUND: [(i32, i32); 8] = [
    (0, 1),
    (0, -1),
    (1, 0),
    (-1, 0),
    (1, 1),
    (-1, 1),
    (1, -1),
    (-1, -1),
];

/// How fine a grid is whose nine cells around a point cover what is so near.
fn steps_for(reach_m: f64, latitude: f64) -> u32 {
    if reach_m == 0.0 {
        return FINEST;
    }
    let (mut reach_m, mut steps) = (reach_m, 1);
    while reach_m < MERCATOR_MAX_M {
        reach_m *= 2.0;
        steps += 1;
    }
    // Two coarser, so that a reach over a border is covered in most cases;
    // towards the poles cells get narrow.
    steps -= 2;
    steps -= i32::from(latitude.abs() > 66.0) + i32::from(latitude.abs() > 80.0);
    steps.clamp(1, FINEST as i32) as u32
}

/// Whether a ray from the point to the west crosses the polygon's sides an odd
/// number of times.
fn is_within(corners: &[Point], point: Point) -> bool {
    let previous = corners.iter().cycle().skip(corners.len().max(1) - 1);
    let crossings = corners.iter().zip(previous).filter(|&(a, b)| {
        let between = (a.latitude > point.latitude) != (b.latitude > point.latitude);
        let slope = (b.longitude - a.longitude) * (point.latitude - a.latitude);
        between && point.longitude < slope / (b.latitude - a.latitude) + a.longitude
    });
    crossings.count() % 2 == 1
}

/// The box around corners, within the grid.
fn bounds_of(corners: &[Point]) -> (Axis, Axis) {
    let around = |axis: Axis, coordinate: fn(&Point) -> f64| Axis {
        min: corners.iter().map(coordinate).fold(axis.max, f64::min),
        max: corners.iter().map(coordinate).fold(axis.min, f64::max),
    };
    (
        around(LONGITUDE, |corner| corner.longitude),
        around(LATITUDE, |corner| corner.latitude),
    )
}

/// The point under the middle of corners, seen as vectors from the globe's
/// center.
pub fn centroid(corners: &[Point]) -> Point {
    let (mut x, mut y, mut z) = (0.0, 0.0, 0.0);
    for corner in corners {
        let (longitude, latitude) = (corner.longitude * RADIANS, corner.latitude * RADIANS);
        x += EARTH_RADIUS_M * latitude.cos() * longitude.cos();
        y += EARTH_RADIUS_M * latitude.cos() * longitude.sin();
        z += EARTH_RADIUS_M * latitude.sin();
    }
    let count = corners.len() as f64;
    let (x, y, z) = (x / count, y / count, z / count);
    Point {
        longitude: y.atan2(x) / RADIANS,
        latitude: z.atan2((x * x + y * y).sqrt()) / RADIANS,
    }
}
