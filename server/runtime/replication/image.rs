//! What a replica is sent in a full sync: an RDB file of the tree's state.

use std::io::{self, Write};

use redoubt_cluster::replication::peer::Parts;
use redoubt_persistence::rdb::file::{
    Database, FileWriter, SnapshotError, WriteOptions, write_snapshot,
};
use redoubt_persistence::tree::{Meta, Snapshot};

use super::feeder::End;
use crate::runtime::recovery::decode_map;
use crate::runtime::save::{Origin, dawdle, functions_of};
use crate::state::Server;

/// An RDB file of a snapshot.
pub(super) struct Image<'a> {
    pub server: &'static Server,
    /// The tree's state.
    pub snapshot: &'a Snapshot,
    /// What the tree says of it.
    pub meta: &'a Meta,
    /// Where in the stream it is from.
    pub origin: Origin,
    /// Whether fields of hashes may expire, which only Valkey 9 can be told.
    pub for_valkey_9: bool,
    /// Whether the replica did not say that it is Valkey 9.
    pub for_redis: bool,
    /// What of it is wanted.
    pub parts: Parts,
    /// Slots that move by hand.
    pub open_slots: String,
    /// How it is written.
    pub options: WriteOptions,
}

impl Image<'_> {
    /// Writes it, gathered in `buffer`; the same bytes each time.
    pub fn write(&self, out: &mut impl Write, buffer: Vec<u8>) -> Result<(), End> {
        let mut file = FileWriter::gathering_in(buffer, &mut *out, self.options);
        if self.for_valkey_9 {
            file = file.for_valkey_9();
        } else {
            file = file.for_redis(self.for_redis);
        }
        file.aux("redis-ver", crate::state::REDIS_VERSION.as_bytes())?;
        file.aux("redis-bits", b"64")?;
        self.origin.put(&mut file)?;
        file.aux("aof-base", b"0")?;
        if !self.open_slots.is_empty() {
            file.aux("cluster-slot-states", self.open_slots.as_bytes())?;
        }
        if self.parts.functions {
            for source in functions_of(self.meta) {
                file.function(&source)?;
            }
        }
        let map = decode_map(self.meta);
        let keyspace = &self.server.keyspace;
        let wanted = match self.parts.keys {
            true => keyspace.databases(),
            false => 0,
        };
        let databases: Vec<Database> = (0..wanted)
            .map(|logical| Database {
                logical,
                physical: map.as_ref().map_or(logical, |map| {
                    let physical = map.physical.get(logical as usize);
                    physical.copied().unwrap_or(logical)
                }),
                // A hint only, which both passes must give alike.
                expires: 0,
            })
            .collect();
        let mut unslept = 0;
        let mut go_on = |keys| {
            dawdle(self.server, keys, &mut unslept);
            std::ops::ControlFlow::Continue(())
        };
        let written = write_snapshot(&mut file, self.snapshot, &databases, &mut go_on);
        if let Err(SnapshotError::Io(error)) = &written
            && error.kind() == std::io::ErrorKind::Unsupported
        {
            // Such a field was in the tree only; the replica's next attempt gets it.
            keyspace.note_field_expiries();
        }
        written?;
        file.finish()?;
        Ok(())
    }
}

/// Counts what is written to it.
#[derive(Default)]
pub(super) struct Count {
    pub bytes: u64,
}

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
