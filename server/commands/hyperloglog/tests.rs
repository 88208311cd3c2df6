//! The two representations against plain registers, and hostile strings.

use super::hash::place_of;
use super::sketch::{self, Invalid, Registers, Sketch};
use super::{REGISTERS, dense, sparse};

#[test]
fn registers_keep_their_values_in_both_representations() {
    let mut rng = fastrand::Rng::with_seed(3);
    for limit in [100, 3000, 100_000] {
        let mut bytes = sketch::empty();
        let mut plain = vec![0; REGISTERS];
        for _ in 0..3000 {
            let index = rng.usize(..REGISTERS);
            let value = rng.u8(1..33);
            assert_eq!(
                sketch::raise(&mut bytes, index, value, limit),
                value > plain[index]
            );
            plain[index] = value.max(plain[index]);
        }
        let mut merged = Registers::new();
        let sketch = Sketch::of(&bytes).and_then(Sketch::checked).expect("valid");
        sketch.merge_into(&mut merged).expect("valid");
        assert_eq!(*merged.0, plain);
        assert_eq!(sketch.is_sparse(), limit == 100_000);
        let estimate = sketch.estimate().expect("valid");
        assert_eq!(estimate, merged.estimate());
    }
}

#[test]
fn a_value_that_runs_cannot_hold_makes_the_sketch_dense() {
    let mut bytes = sketch::empty();
    assert!(sketch::raise(&mut bytes, 16383, 33, 3000));
    let sketch = Sketch::of(&bytes).expect("a sketch");
    assert!(!sketch.is_sparse());
    assert_eq!(dense::get(sketch.registers(), 16383), 33);
}

#[test]
fn estimates_are_within_a_few_percent() {
    let mut bytes = sketch::empty();
    for number in 1..=100_000_u32 {
        let (index, value) = place_of(&number.to_le_bytes());
        sketch::raise(&mut bytes, index, value, 3000);
        if [10, 1000, 100_000].contains(&number) {
            let estimate = Sketch::of(&bytes).and_then(Sketch::estimate);
            let off = estimate.expect("valid").abs_diff(u64::from(number));
            assert!(off * 25 <= u64::from(number), "{off} of {number}");
        }
    }
}

#[test]
fn hostile_strings_are_refused_not_believed() {
    let mut long = sketch::empty();
    long.push(0);
    let mut short = sketch::empty();
    short.pop();
    let mut few = sketch::empty();
    few.pop();
    few.pop();
    few.push(0x3F);
    for bytes in [&long, &short, &few] {
        let sketch = Sketch::of(bytes).expect("its header is right");
        assert_eq!(sketch.estimate(), Err(Invalid::Corrupt));
        assert_eq!(
            sketch.merge_into(&mut Registers::new()),
            Err(Invalid::Corrupt)
        );
    }
    for bytes in [
        &b""[..],
        b"HYLL",
        &[0; 16],
        b"HYLL\x02\0\0\0\0\0\0\0\0\0\0\0\x7f\xff",
    ] {
        assert_eq!(Sketch::of(bytes).err(), Some(Invalid::NotASketch));
    }
    let mut rng = fastrand::Rng::with_seed(9);
    for _ in 0..20_000 {
        let len = rng.usize(..40);
        let mut bytes = sketch::empty();
        bytes.extend((0..len).map(|_| rng.u8(..)));
        let at = rng.usize(16..bytes.len());
        bytes[at] = rng.u8(..);
        if let Ok(sketch) = Sketch::of(&bytes).and_then(Sketch::checked) {
            assert!(sketch.estimate().is_ok());
            let index = rng.usize(..REGISTERS);
            sketch::raise(&mut bytes, index, rng.u8(1..64), 3000);
            assert!(Sketch::of(&bytes).and_then(Sketch::checked).is_ok());
        }
    }
    assert!(!sparse::is_valid(&[0x7F]));
}
