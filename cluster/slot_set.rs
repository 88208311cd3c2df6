//! A set of slots, in the form in which the bus carries it: a bitmap of 2048
//! bytes, slot `n` being bit `n % 8` of byte `n / 8`.

use std::fmt;

use crate::slots::{SLOT_COUNT, Slot};

/// Bytes of the bitmap.
pub const SLOT_BYTES: usize = SLOT_COUNT / 8;

/// A set of slots.
#[derive(Clone, PartialEq, Eq)]
pub struct SlotSet(Box<[u8; SLOT_BYTES]>);

impl Default for SlotSet {
    fn default() -> Self {
        SlotSet(Box::new([0; SLOT_BYTES]))
    }
}

impl SlotSet {
    /// The set that this bitmap is.
    pub fn from_bytes(bytes: &[u8; SLOT_BYTES]) -> SlotSet {
        SlotSet(Box::new(*bytes))
    }

    /// Its bitmap.
    pub fn as_bytes(&self) -> &[u8; SLOT_BYTES] {
        &self.0
    }

    /// Whether the slot is in it.
    pub fn contains(&self, slot: Slot) -> bool {
        let number = usize::from(slot.number());
        self.0[number / 8] & (1 << (number % 8)) != 0
    }

    /// Adds a slot; false if it was there.
    pub fn insert(&mut self, slot: Slot) -> bool {
        let added = !self.contains(slot);
        let number = usize::from(slot.number());
        self.0[number / 8] |= 1 << (number % 8);
        added
    }

    /// Takes a slot out; false if it was not there.
    pub fn remove(&mut self, slot: Slot) -> bool {
        let removed = self.contains(slot);
        let number = usize::from(slot.number());
        self.0[number / 8] &= !(1 << (number % 8));
        removed
    }

    /// How many slots are in it.
    pub fn len(&self) -> usize {
        self.0.iter().map(|byte| byte.count_ones() as usize).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }

    /// Its slots, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Slot> + '_ {
        self.0.iter().enumerate().flat_map(|(at, byte)| {
            let set = move |bit: &u16| byte & (1 << bit) != 0;
            (0..8u16)
                .filter(set)
                .filter_map(move |bit| Slot::new(at as u16 * 8 + bit))
        })
    }

    /// Its runs of neighbours, as (first, last).
    pub fn ranges(&self) -> Vec<(u16, u16)> {
        let mut ranges = Vec::new();
        let mut first: Option<u16> = None;
        for (at, word) in self.0.chunks_exact(8).enumerate() {
            // Most are full or empty, and end no run.
            let word = u64::from_le_bytes(word.try_into().unwrap_or_default());
            if word == if first.is_some() { u64::MAX } else { 0 } {
                continue;
            }
            for bit in 0..64u16 {
                let slot = at as u16 * 64 + bit;
                match (word & (1 << bit) != 0, first) {
                    (true, None) => first = Some(slot),
                    (false, Some(began)) => {
                        ranges.push((began, slot - 1));
                        first = None;
                    }
                    _ => {}
                }
            }
        }
        ranges.extend(first.map(|began| (began, SLOT_COUNT as u16 - 1)));
        ranges
    }
}

impl FromIterator<Slot> for SlotSet {
    fn from_iter<I: IntoIterator<Item = Slot>>(slots: I) -> SlotSet {
        let mut set = SlotSet::default();
        slots.into_iter().for_each(|slot| {
            set.insert(slot);
        });
        set
    }
}

impl fmt::Debug for SlotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ranges()).finish()
    }
}

/// Every slot.
pub fn all_slots() -> impl Iterator<Item = Slot> {
    (0..SLOT_COUNT as u16).filter_map(Slot::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_the_runs_of_neighbours() {
        let slots = [0, 1, 2, 7, 8, 100, 16383].map(|n| Slot::new(n).expect("a slot"));
        let set: SlotSet = slots.into_iter().collect();
        assert_eq!(set.ranges(), [(0, 2), (7, 8), (100, 100), (16383, 16383)]);
        assert_eq!(set.len(), 7);
        assert!(set.iter().eq(slots));
    }

    #[test]
    fn a_slot_added_twice_is_there_once() {
        let mut set = SlotSet::default();
        let slot = Slot::new(77).expect("a slot");
        assert!(set.insert(slot) && !set.insert(slot));
        assert!(set.remove(slot) && !set.remove(slot));
        assert!(set.is_empty());
    }
}
