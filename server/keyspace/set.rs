//! The set type: an intset of integers, a listpack of a few short members, or
//! a table.

#[cfg(test)]
mod tests;

use std::sync::atomic::Ordering::Relaxed;

use super::element::{Member, estimate_total};
use super::intset::IntSet;
use super::limits::LIMITS;
use super::listpack::{self, Entry, IntBuffer, Listpack, Needle, parse_canonical_i64};
use super::pieces::Tracked;
use super::table::{self, Table, hash_bytes};

/// A set value.
pub enum Set {
    Int(IntSet),
    Packed(Listpack),
    Table(Box<Tracked<Member>>),
}

impl Default for Set {
    fn default() -> Self {
        Self::new()
    }
}

impl Set {
    /// An empty set, of integers as long as nothing else is added.
    pub fn new() -> Self {
        Self::Int(IntSet::new())
    }

    /// An empty set in the encoding that suits `count` members of which
    /// `first` is one.
    pub fn for_members(first: &[u8], count: usize) -> Self {
        if parse_canonical_i64(first).is_some() && count <= LIMITS.intset_entries() {
            Self::Int(IntSet::new())
        } else if count <= LIMITS.set_max_listpack_entries.load(Relaxed) {
            Self::Packed(Listpack::new())
        } else {
            Self::Table(Box::default())
        }
    }

    /// A set from the intset of an RDB image; `None` when it is malformed.
    pub fn from_intset_bytes(bytes: &[u8]) -> Option<Self> {
        let mut set = Self::Int(IntSet::from_bytes(bytes)?);
        set.after_adding_int();
        Some(set)
    }

    /// A set from the listpack of an RDB image; `None` when it is malformed or
    /// a member comes twice.
    pub fn from_listpack_bytes(bytes: &[u8]) -> Option<Self> {
        let listpack = Listpack::from_bytes(bytes)?;
        let mut set = Self::Packed(Listpack::new());
        let mut buffer = IntBuffer::new();
        for member in listpack.iter() {
            if !set.add(member.bytes(&mut buffer)) {
                return None;
            }
        }
        Some(set)
    }

    /// Converts a set to which `count` members are to be added, when they are
    /// too many for its encoding.
    pub fn prepare(&mut self, count: usize) {
        let most = match self {
            Self::Int(_) => LIMITS.intset_entries(),
            Self::Packed(_) => LIMITS.set_max_listpack_entries.load(Relaxed),
            Self::Table(_) => return,
        };
        if count > most {
            self.make_table();
        }
    }

    /// OBJECT ENCODING's answer.
    pub fn encoding(&self) -> &'static str {
        match self {
            Self::Int(_) => "intset",
            Self::Packed(_) => "listpack",
            Self::Table(_) => "hashtable",
        }
    }

    /// Members.
    pub fn len(&self) -> usize {
        match self {
            Self::Int(integers) => integers.len(),
            Self::Packed(listpack) => listpack.len(),
            Self::Table(table) => table.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes taken from the allocator; the members of a table are estimated
    /// from some of them.
    pub fn memory_bytes(&self) -> usize {
        match self {
            Self::Int(integers) => integers.memory_bytes(),
            Self::Packed(listpack) => listpack.memory_bytes(),
            Self::Table(table) => {
                let sample = table.iter().map(|member| member.memory_bytes());
                let members = estimate_total(sample, table.len());
                size_of::<Tracked<Member>>() + table.memory_bytes() + members
            }
        }
    }

    /// The table of a set that is neither intset nor listpack.
    pub(super) fn tracked(&self) -> Option<&Tracked<Member>> {
        match self {
            Self::Table(table) => Some(table),
            Self::Int(_) | Self::Packed(_) => None,
        }
    }

    pub fn contains(&self, member: &[u8]) -> bool {
        match self {
            Self::Int(integers) => {
                parse_canonical_i64(member).is_some_and(|value| integers.contains(value))
            }
            Self::Packed(listpack) => {
                let needle = Needle::new(member);
                listpack.find(listpack.first(), &needle, 0).is_some()
            }
            Self::Table(table) => table.find(hash_bytes(member), member).is_some(),
        }
    }

    /// Adds a member; whether it was new.
    pub fn add(&mut self, member: &[u8]) -> bool {
        match self {
            Self::Int(integers) => match parse_canonical_i64(member) {
                Some(value) => {
                    let added = integers.add(value);
                    self.after_adding_int();
                    added
                }
                None => {
                    self.leave_intset(member.len());
                    self.add(member)
                }
            },
            Self::Packed(listpack) => {
                let needle = Needle::new(member);
                if listpack.find(listpack.first(), &needle, 0).is_some() {
                    return false;
                }
                if listpack.len() < LIMITS.set_max_listpack_entries.load(Relaxed)
                    && member.len() <= LIMITS.set_max_listpack_value.load(Relaxed)
                    && listpack.has_room_for(member.len() + 16)
                {
                    listpack.push_back(needle.entry());
                } else {
                    self.make_table()
                        .insert_new(hash_bytes(member), Member::new(member));
                }
                true
            }
            Self::Table(table) => {
                let hash = hash_bytes(member);
                if table.find(hash, member).is_some() {
                    return false;
                }
                table.insert_new(hash, Member::new(member));
                true
            }
        }
    }

    fn after_adding_int(&mut self) {
        if let Self::Int(integers) = self
            && integers.len() > LIMITS.intset_entries()
        {
            self.make_table();
        }
    }

    /// Converts an intset for a member of `len` bytes that is no integer: to a
    /// listpack if all fits there, else to a table.
    fn leave_intset(&mut self, len: usize) {
        let Self::Int(integers) = self else { return };
        let count = integers.len();
        let ends = [0, count.wrapping_sub(1)].map(|index| integers.get(index));
        let digits = ends
            .into_iter()
            .flatten()
            .map(|value| Entry::Int(value).byte_len());
        let longest = digits.fold(len, usize::max);
        if count >= LIMITS.set_max_listpack_entries.load(Relaxed)
            || longest > LIMITS.set_max_listpack_value.load(Relaxed)
        {
            self.make_table();
            return;
        }
        let mut listpack = Listpack::new();
        for value in integers.iter() {
            listpack.push_back(Entry::Int(value));
        }
        *self = Self::Packed(listpack);
    }

    fn make_table(&mut self) -> &mut Tracked<Member> {
        if !matches!(self, Self::Table(_)) {
            let mut table = Table::new();
            let mut buffer = IntBuffer::new();
            for member in self.iter() {
                let member = member.bytes(&mut buffer);
                table.insert_new(hash_bytes(member), Member::new(member));
            }
            *self = Self::Table(Box::new(table.into()));
        }
        match self {
            Self::Table(table) => table,
            _ => unreachable!("it was converted above"),
        }
    }

    /// Turns a set of integers only into an intset, if that may hold so many.
    /// The commands that store a set as their result do this.
    pub fn pack_integers(&mut self) {
        if matches!(self, Self::Int(_)) || self.len() > LIMITS.intset_entries() {
            return;
        }
        let mut integers = IntSet::new();
        for member in self.iter() {
            match member.as_int() {
                Some(value) => integers.add(value),
                None => return,
            };
        }
        *self = Self::Int(integers);
    }

    /// Removes a member; whether it was there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match self {
            Self::Int(integers) => {
                parse_canonical_i64(member).is_some_and(|value| integers.remove(value))
            }
            Self::Packed(listpack) => {
                let found = listpack.find(listpack.first(), &Needle::new(member), 0);
                found.is_some_and(|at| listpack.delete(at, 1) == 1)
            }
            Self::Table(table) => table.remove(hash_bytes(member), member).is_some(),
        }
    }

    /// Removes the members for which `keep` is false; returns how many.
    pub fn retain(&mut self, mut keep: impl FnMut(Entry<'_>) -> bool) -> usize {
        let unwanted = self.iter().filter(|&member| !keep(member));
        let unwanted: Vec<Vec<u8>> = unwanted.map(Entry::to_vec).collect();
        for member in &unwanted {
            self.remove(member);
        }
        unwanted.len()
    }

    /// All members; those of an intset in ascending order.
    pub fn iter(&self) -> Iter<'_> {
        match self {
            Self::Int(integers) => Iter::Int(integers, 0),
            Self::Packed(listpack) => Iter::Packed(listpack.iter()),
            Self::Table(table) => Iter::Table(table.iter()),
        }
    }

    /// A member picked at random.
    pub fn random(&self, mut rng: impl FnMut() -> u64) -> Option<Entry<'_>> {
        let mut below = |len: usize| (rng() % len.max(1) as u64) as usize;
        match self {
            Self::Int(integers) => integers.get(below(integers.len())).map(Entry::Int),
            Self::Packed(listpack) => listpack.get(listpack.seek(below(listpack.len()))?),
            Self::Table(table) => {
                let member = table.random(rng)?;
                Some(Entry::Str(member.get(Member::name)))
            }
        }
    }

    /// Removes a member picked at random, after showing it to `read`.
    pub fn pop_random<R>(
        &mut self,
        rng: impl FnMut() -> u64,
        read: impl FnOnce(Entry<'_>) -> R,
    ) -> Option<R> {
        let picked = self.random(rng)?;
        let result = read(picked);
        let member = picked.to_vec();
        self.remove(&member);
        Some(result)
    }

    /// Visits some members and returns the cursor to go on with, 0 at the end;
    /// see [`Table::scan`].
    pub fn scan(&self, cursor: u64, mut visit: impl FnMut(Entry<'_>)) -> u64 {
        match self {
            Self::Table(table) => table.scan(cursor, |member| visit(Entry::Str(member.name()))),
            _ => {
                self.iter().for_each(visit);
                0
            }
        }
    }
}

/// A set's members.
pub enum Iter<'a> {
    Int(&'a IntSet, usize),
    Packed(listpack::Iter<'a>),
    Table(table::Iter<'a, Member>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        match self {
            Self::Int(integers, index) => {
                let value = integers.get(*index)?;
                *index += 1;
                Some(Entry::Int(value))
            }
            Self::Packed(entries) => entries.next(),
            Self::Table(members) => {
                let member = members.next()?;
                Some(Entry::Str(member.get(Member::name)))
            }
        }
    }
}
