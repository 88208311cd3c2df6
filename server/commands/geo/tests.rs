//! The grid and the shapes on known places.

use super::grid::{Cell, FINEST, LATITUDE, Point};
use super::shape::{Form, Shape, distance_m};

const fn point(longitude: f64, latitude: f64) -> Point {
    Point {
        longitude,
        latitude,
    }
}

const PALERMO: Point = point(13.361389, 38.115556);
const CATANIA: Point = point(15.087269, 37.502669);

#[test]
fn a_place_has_the_score_that_redis_gives_it() {
    let cell = Cell::of(PALERMO, LATITUDE, FINEST);
    assert_eq!(cell.bits, 3_479_099_956_230_698);
    let middle = Cell::of_score(cell.bits as f64).middle();
    assert_eq!(middle, point(13.361_389_338_970_184, 38.115_556_395_496_3));
}

#[test]
fn neighbours_wrap_around_the_globe() {
    let west = Cell::of(point(-179.9, 0.0), LATITUDE, 4);
    assert_eq!(west.neighbour(-1, 0).neighbour(1, 0), west);
    assert_eq!(
        west.neighbour(-1, 0),
        Cell::of(point(179.9, 0.0), LATITUDE, 4)
    );
    assert_eq!(west.neighbour(0, 1).neighbour(0, -1), west);
}

#[test]
fn any_score_stands_for_some_place() {
    for score in [-1.0, 0.5, 1e19, -1e300, f64::INFINITY, f64::NEG_INFINITY] {
        let middle = Cell::of_score(score).middle();
        assert!(LATITUDE.contains(middle.latitude), "{score}: {middle:?}");
    }
}

#[test]
fn what_is_inside_a_shape_is_in_one_of_its_cells() {
    let mut rng = fastrand::Rng::with_seed(11);
    let mut inside = 0;
    for _ in 0..2000 {
        let center = point(rng.f64() * 360.0 - 180.0, rng.f64() * 160.0 - 80.0);
        let size = 10_f64.powf(rng.f64() * 6.0);
        let shape = Shape {
            form: match rng.bool() {
                true => Form::Circle { radius: size },
                false => Form::Box {
                    width: size,
                    height: size * rng.f64(),
                },
            },
            center,
            unit_m: 1.0,
        };
        let cells = shape.covering_cells();
        for _ in 0..20 {
            let degrees = size / 111_000.0 * 1.2;
            let other = point(
                center.longitude + (rng.f64() * 2.0 - 1.0) * degrees,
                center.latitude + (rng.f64() * 2.0 - 1.0) * degrees,
            );
            // Searches of Redis don't reach over the poles or the antimeridian.
            if other.latitude.abs() > 80.0 || other.longitude.abs() > 179.9 {
                continue;
            }
            if shape.distance_inside_m(other).is_some() {
                let bits = Cell::of(other, LATITUDE, FINEST).bits as f64;
                let covers = |cell: &Cell| (cell.scores().0..cell.scores().1).contains(&bits);
                assert!(cells.iter().any(covers), "{shape:?} misses {other:?}");
                inside += 1;
            }
        }
    }
    assert!(inside > 5000, "only {inside} points were inside");
}

#[test]
fn distances_are_those_of_redis() {
    let stored = |point| Cell::of(point, LATITUDE, FINEST).middle();
    let distance = distance_m(stored(PALERMO), stored(CATANIA));
    assert_eq!(format!("{distance:.4}"), "166274.1516");
    assert_eq!(distance_m(PALERMO, PALERMO), 0.0);
}
