//! The latency monitor: what took longer than `latency-monitor-threshold`, by
//! event. Source: the documentation of LATENCY.

use std::collections::BTreeMap;

use parking_lot::Mutex;

/// Samples kept of each event.
const KEPT: usize = 160;

/// One event's history.
#[derive(Clone, Debug, Default)]
pub struct Event {
    /// Unix seconds and milliseconds taken, oldest first; the worst of each
    /// second.
    pub samples: Vec<(i64, u64)>,
    /// The worst ever, milliseconds.
    pub worst_ms: u64,
    /// All together, milliseconds.
    pub sum_ms: u64,
    /// How many there were.
    pub count: u64,
}

/// All events.
#[derive(Default)]
pub struct Monitor {
    events: Mutex<BTreeMap<String, Event>>,
}

impl Monitor {
    /// Notes that an event took this long.
    pub fn add(&self, name: &str, at_s: i64, took_ms: u64) {
        let mut events = self.events.lock();
        let event = events.entry(name.to_string()).or_default();
        event.worst_ms = event.worst_ms.max(took_ms);
        event.sum_ms += took_ms;
        event.count += 1;
        match event.samples.last_mut() {
            Some((last_s, worst)) if *last_s == at_s => *worst = (*worst).max(took_ms),
            _ => event.samples.push((at_s, took_ms)),
        }
        if event.samples.len() > KEPT {
            event.samples.remove(0);
        }
    }

    /// All events with their names.
    pub fn all(&self) -> Vec<(String, Event)> {
        let events = self.events.lock();
        events
            .iter()
            .map(|(name, event)| (name.clone(), event.clone()))
            .collect()
    }

    /// One event.
    pub fn get(&self, name: &str) -> Option<Event> {
        self.events.lock().get(name).cloned()
    }

    /// Forgets one event, or all; returns how many.
    pub fn reset(&self, name: Option<&str>) -> usize {
        let mut events = self.events.lock();
        match name {
            Some(name) => usize::from(events.remove(name).is_some()),
            None => std::mem::take(&mut *events).len(),
        }
    }
}
