//! The grid: longitude and latitude halved again and again, the bits of both
//! interleaved to one number. A prefix of it is a larger cell, so the points
//! of a cell are one range of scores.
//!
//! Source: the geohash scheme, with Redis's bounds (those of Web Mercator) and
//! 26 halvings of each axis, which make a score of 52 bits.

/// Halvings of each axis in a score.
pub const FINEST: u32 = 26;

/// The smallest and largest longitude.
pub const LONGITUDE: Axis = Axis {
    min: -180.0,
    max: 180.0,
};
/// The smallest and largest latitude that can be stored.
pub const LATITUDE: Axis = Axis {
    min: -85.05112878,
    max: 85.05112878,
};
/// All latitudes: the bounds of the textual geohash.
pub const WHOLE_LATITUDE: Axis = Axis {
    min: -90.0,
    max: 90.0,
};

/// A point, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub longitude: f64,
    pub latitude: f64,
}

/// The bounds of an axis, or a part of it, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axis {
    pub min: f64,
    pub max: f64,
}

impl Axis {
    /// Whether a coordinate is within the bounds.
    pub fn contains(self, degrees: f64) -> bool {
        degrees >= self.min && degrees <= self.max
    }

    /// Which of `2^steps` parts a coordinate is in.
    fn part_of(self, degrees: f64, steps: u32) -> u32 {
        let share = (degrees - self.min) / (self.max - self.min);
        (share * parts(steps)) as u32
    }

    /// The bounds of one of `2^steps` parts.
    fn part(self, index: u32, steps: u32) -> Axis {
        let length = self.max - self.min;
        let at = |index: u32| self.min + f64::from(index) / parts(steps) * length;
        Axis {
            min: at(index),
            max: at(index.wrapping_add(1)),
        }
    }

    /// The middle of a part of this axis.
    fn middle(self, part: Axis) -> f64 {
        ((part.min + part.max) / 2.0).min(self.max).max(self.min)
    }
}

fn parts(steps: u32) -> f64 {
    (1_u64 << steps) as f64
}

/// A cell: the interleaved bits, longitude in the odd places, and how many
/// there are of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    pub bits: u64,
    pub steps: u32,
}

impl Cell {
    /// The cell of a point within the given bounds of latitude.
    pub fn of(point: Point, latitude: Axis, steps: u32) -> Cell {
        let x = LONGITUDE.part_of(point.longitude, steps);
        let y = latitude.part_of(point.latitude, steps);
        Cell {
            bits: interleave(y, x),
            steps,
        }
    }

    /// The cell that a score stands for.
    pub fn of_score(score: f64) -> Cell {
        // Any score can be in a sorted set; what is no cell is still decoded
        // as the processor converts it.
        const SIGN: f64 = 9_223_372_036_854_775_808.0;
        let bits = if score >= 2.0 * SIGN {
            0
        } else if score >= SIGN {
            score as u64
        } else if score >= -SIGN {
            (score as i64) as u64
        } else {
            1 << 63
        };
        Cell {
            bits,
            steps: FINEST,
        }
    }

    /// The bounds of the cell: longitude and latitude.
    pub fn bounds(self) -> (Axis, Axis) {
        let (y, x) = deinterleave(self.bits);
        (LONGITUDE.part(x, self.steps), LATITUDE.part(y, self.steps))
    }

    /// The middle of the cell.
    pub fn middle(self) -> Point {
        let (longitude, latitude) = self.bounds();
        Point {
            longitude: LONGITUDE.middle(longitude),
            latitude: LATITUDE.middle(latitude),
        }
    }

    /// The cell so many cells to the east and to the north, around the globe
    /// if need be.
    pub fn neighbour(self, east: i32, north: i32) -> Cell {
        let mask = ((1_u64 << self.steps) - 1) as u32;
        let (mut y, mut x) = deinterleave(self.bits);
        if east != 0 {
            x = x.wrapping_add_signed(east) & mask;
        }
        if north != 0 {
            y = y.wrapping_add_signed(north) & mask;
        }
        Cell {
            bits: interleave(y, x),
            steps: self.steps,
        }
    }

    /// The scores of the points in the cell: the lowest, and the first beyond.
    pub fn scores(self) -> (f64, f64) {
        let shift = 2 * (FINEST - self.steps);
        let at = |bits: u64| (bits << shift) as f64;
        (at(self.bits), at(self.bits + 1))
    }
}

/// Puts the bits of `even` in the even places and those of `odd` in the odd.
fn interleave(even: u32, odd: u32) -> u64 {
    spread(even) | spread(odd) << 1
}

/// The bits in the even and in the odd places.
fn deinterleave(bits: u64) -> (u32, u32) {
    (gather(bits), gather(bits >> 1))
}

/// Groups of bits that stay together while a number is spread, halved each
/// time: the width, and where they lie.
const GROUPS: [(u32, u64); 5] = [
    (16, 0x0000_FFFF_0000_FFFF),
    (8, 0x00FF_00FF_00FF_00FF),
    (4, 0x0F0F_0F0F_0F0F_0F0F),
    (2, 0x3333_3333_3333_3333),
    (1, 0x5555_5555_5555_5555),
];

fn spread(bits: u32) -> u64 {
    GROUPS.iter().fold(u64::from(bits), |bits, &(width, mask)| {
        (bits | bits << width) & mask
    })
}

fn gather(bits: u64) -> u32 {
    let even = bits & GROUPS[4].1;
    let gathered = GROUPS
        .windows(2)
        .rev()
        .fold(even, |bits, pair| (bits | bits >> pair[1].0) & pair[0].1);
    (gathered | gathered >> 16) as u32
}
