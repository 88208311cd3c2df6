//! Consumer groups: what was delivered to whom and is not acknowledged yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::StreamId;
use super::id_map::IdMap;

/// A consumer's place in its group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConsumerId(u32);

/// A consumer group.
#[derive(Default)]
pub struct Group {
    /// The last id delivered to anyone.
    pub last_id: StreamId,
    /// How many entries were read up to that id; None when it can't be told.
    pub entries_read: Option<i64>,
    pending: IdMap<Pending>,
    names: BTreeMap<Arc<[u8]>, ConsumerId>,
    /// By [`ConsumerId`]; None where a consumer was deleted.
    consumers: Vec<Option<Consumer>>,
}

/// An entry that was delivered and is not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// When it was delivered last, Unix time in milliseconds.
    pub delivered_ms: i64,
    /// How often it was delivered.
    pub deliveries: u64,
    /// Who has it.
    pub consumer: ConsumerId,
}

/// A consumer.
pub struct Consumer {
    /// Its name.
    pub name: Arc<[u8]>,
    /// When it last tried to get something, Unix time in milliseconds.
    pub seen_ms: i64,
    /// When it last got something; None if never.
    pub active_ms: Option<i64>,
    pending: IdMap<()>,
}

impl Consumer {
    /// The ids of what it has not acknowledged, from an id on.
    pub fn pending_from(&self, start: StreamId) -> impl Iterator<Item = StreamId> {
        self.pending.iter_from(start).map(|(id, ())| id)
    }

    /// How many entries it has not acknowledged.
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }
}

impl Group {
    /// A group that begins behind an id.
    pub fn new(last_id: StreamId, entries_read: Option<i64>) -> Group {
        Group {
            last_id,
            entries_read,
            ..Group::default()
        }
    }

    /// The consumer of this name.
    pub fn find(&self, name: &[u8]) -> Option<ConsumerId> {
        self.names.get(name).copied()
    }

    /// A consumer that was found in this group and not deleted since.
    pub fn consumer(&self, id: ConsumerId) -> &Consumer {
        self.consumers[id.0 as usize]
            .as_ref()
            .expect("its id is in use")
    }

    /// The same, to change it.
    pub fn consumer_mut(&mut self, id: ConsumerId) -> &mut Consumer {
        self.consumers[id.0 as usize]
            .as_mut()
            .expect("its id is in use")
    }

    /// Adds a consumer; None if there is one of this name.
    pub fn add_consumer(&mut self, name: &[u8], now_ms: i64) -> Option<ConsumerId> {
        if self.names.contains_key(name) {
            return None;
        }
        let name: Arc<[u8]> = name.into();
        let consumer = Some(Consumer {
            name: name.clone(),
            seen_ms: now_ms,
            active_ms: None,
            pending: IdMap::default(),
        });
        let free = match self.names.len() == self.consumers.len() {
            true => None,
            false => self.consumers.iter().position(Option::is_none),
        };
        let place = match free {
            Some(place) => {
                self.consumers[place] = consumer;
                place
            }
            None => {
                self.consumers.push(consumer);
                self.consumers.len() - 1
            }
        };
        let id = ConsumerId(u32::try_from(place).expect("consumers fit 32 bits"));
        self.names.insert(name, id);
        Some(id)
    }

    /// Deletes a consumer with what it has not acknowledged; returns how many
    /// entries that were. None if there is none of this name.
    pub fn delete_consumer(&mut self, name: &[u8]) -> Option<usize> {
        let id = self.names.remove(name)?;
        let consumer = self.consumers[id.0 as usize].take()?;
        for entry in consumer.pending_from(StreamId::MIN) {
            self.pending.remove(entry);
        }
        Some(consumer.pending.len())
    }

    /// All consumers, ordered by name.
    pub fn consumers(&self) -> impl ExactSizeIterator<Item = &Consumer> {
        self.names.values().map(|&id| self.consumer(id))
    }

    /// How many entries are not acknowledged.
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// What is known of an entry that is not acknowledged.
    pub fn pending(&self, id: StreamId) -> Option<Pending> {
        self.pending.get(id)
    }

    /// Entries that are not acknowledged, from an id on.
    pub fn pending_from(
        &self,
        start: StreamId,
    ) -> impl DoubleEndedIterator<Item = (StreamId, Pending)> {
        self.pending.iter_from(start)
    }

    /// Gives an entry to a consumer, whoever had it before.
    pub fn assign(&mut self, id: StreamId, entry: Pending) {
        match self.pending.insert(id, entry) {
            Some(before) if before.consumer == entry.consumer => return,
            Some(before) => {
                self.consumer_mut(before.consumer).pending.remove(id);
            }
            None => {}
        }
        self.consumer_mut(entry.consumer).pending.insert(id, ());
    }

    /// Forgets an entry; what was known of it.
    pub fn acknowledge(&mut self, id: StreamId) -> Option<Pending> {
        let entry = self.pending.remove(id)?;
        self.consumer_mut(entry.consumer).pending.remove(id);
        Some(entry)
    }

    /// Bytes taken from the allocator, estimated.
    pub(super) fn memory_bytes(&self) -> usize {
        let consumers = self
            .consumers()
            .map(|consumer| consumer.name.len() + 64 + consumer.pending.memory_bytes());
        size_of::<Group>()
            + self.pending.memory_bytes()
            + self.consumers.capacity() * size_of::<Option<Consumer>>()
            + consumers.sum::<usize>()
    }
}
