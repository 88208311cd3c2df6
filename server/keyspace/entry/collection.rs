//! The collection inside an entry, to change it.

use super::{Entry, Kind};
use crate::keyspace::hash::Hash;
use crate::keyspace::list::List;
use crate::keyspace::set::Set;
use crate::keyspace::stream::Stream;
use crate::keyspace::zset::ZSet;

impl Entry {
    /// The list, if it is one.
    #[inline]
    pub fn list_mut(&mut self) -> Option<&mut List> {
        // SAFETY: the payload is of the header's kind, borrowed mutably.
        (self.header().kind == Kind::List).then(|| unsafe { &mut *self.payload_ptr().cast() })
    }

    /// The set, if it is one.
    #[inline]
    pub fn set_mut(&mut self) -> Option<&mut Set> {
        // SAFETY: as in `list_mut`.
        (self.header().kind == Kind::Set).then(|| unsafe { &mut *self.payload_ptr().cast() })
    }

    /// The hash, if it is one.
    #[inline]
    pub fn hash_mut(&mut self) -> Option<&mut Hash> {
        // SAFETY: as in `list_mut`.
        (self.header().kind == Kind::Hash).then(|| unsafe { &mut *self.payload_ptr().cast() })
    }

    /// The sorted set, if it is one.
    #[inline]
    pub fn zset_mut(&mut self) -> Option<&mut ZSet> {
        // SAFETY: as in `list_mut`.
        (self.header().kind == Kind::ZSet).then(|| unsafe { &mut *self.payload_ptr().cast() })
    }

    /// The stream, if it is one.
    #[inline]
    pub fn stream_mut(&mut self) -> Option<&mut Stream> {
        // SAFETY: as in `list_mut`.
        (self.header().kind == Kind::Stream).then(|| unsafe { &mut *self.payload_ptr().cast() })
    }
}
