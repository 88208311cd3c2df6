//! Parts of a value that lie in the tree as a piece each, and whether the tree
//! has them as they are.

use std::cell::Cell;
use std::fmt;
use std::ops::{Deref, DerefMut};

/// Bit of a number: the part was changed since it was collected.
const CHANGED: u64 = 1;

/// A part of a value. Whatever borrows it mutably changes it.
#[derive(Debug)]
pub struct Noted<T> {
    part: T,
    /// 0: it is new. Else the even number of its piece, and [`CHANGED`].
    /// Written through a shared borrow by the holder of the stripe's lock.
    number: Cell<u64>,
}

impl<T> From<T> for Noted<T> {
    fn from(part: T) -> Noted<T> {
        Noted {
            part,
            number: Cell::new(0),
        }
    }
}

impl<T> Deref for Noted<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.part
    }
}

impl<T> DerefMut for Noted<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        if *self.number.get_mut() != 0 {
            *self.number.get_mut() |= CHANGED;
        }
        &mut self.part
    }
}

impl<T> Noted<T> {
    /// The part, that will be none of this value any more.
    pub fn into_part(self) -> T {
        self.part
    }

    /// The number of its piece, if it has one.
    pub fn number(&self) -> Option<u64> {
        match self.number.get() {
            0 => None,
            number => Some(number & !CHANGED),
        }
    }

    /// Whether it was changed or made since it was collected.
    pub fn is_changed(&self) -> bool {
        let number = self.number.get();
        number == 0 || number & CHANGED != 0
    }

    /// Notes that it was collected as the piece of this number, which is even
    /// and not 0.
    pub fn collected(&self, number: u64) {
        debug_assert!(number != 0 && number & CHANGED == 0);
        self.number.set(number);
    }
}

/// A layout, and the numbers of the pieces, ascending.
type Known<N> = (u128, Vec<N>);

/// What the tree has of a value, if that is known.
#[derive(Default)]
pub struct Note<N>(Cell<Option<Box<Known<N>>>>);

impl<N> fmt::Debug for Note<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Note")
    }
}

impl<N> Note<N> {
    /// Nothing is known from now on.
    pub fn take(&self) -> Option<Known<N>> {
        self.0.take().map(|known| *known)
    }

    /// Whether anything is known.
    pub fn is_known(&self) -> bool {
        let known = self.0.take();
        let is_known = known.is_some();
        self.0.set(known);
        is_known
    }

    /// This is known.
    pub fn set(&self, layout: u128, numbers: Vec<N>) {
        self.0.set(Some(Box::new((layout, numbers))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_changed_by_whatever_borrows_it_mutably() {
        let mut part = Noted::from(vec![1]);
        assert!(part.is_changed() && part.number().is_none());
        part.push(2);
        assert!(part.number().is_none());
        part.collected(6);
        assert_eq!(part.len(), 2);
        assert!(!part.is_changed());
        part.push(3);
        assert!(part.is_changed());
        assert_eq!(part.number(), Some(6));
    }
}
