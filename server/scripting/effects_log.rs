//! The effects of a script's commands, gathered to enter the log in one piece.

use crate::commands::effects::{encode, encode_expired, encoded_len};
use crate::keyspace::recorder::Expired;
use crate::state::Server;

/// Effects as RESP, with SELECT where the database changes.
pub struct EffectsLog {
    first_db: u32,
    selected: u32,
    bytes: Vec<u8>,
    commands: usize,
}

impl EffectsLog {
    /// No effects yet, of a script that begins in database `db`.
    /// They are gathered in `bytes`, which is empty.
    pub fn new(db: u32, bytes: Vec<u8>) -> EffectsLog {
        EffectsLog {
            first_db: db,
            selected: db,
            bytes,
            commands: 0,
        }
    }

    fn select(&mut self, db: u32) {
        if self.selected != db {
            let mut digits = itoa::Buffer::new();
            let words: [&[u8]; 2] = [b"SELECT", digits.format(db).as_bytes()];
            encode(&mut self.bytes, &words);
            self.selected = db;
            self.commands += 1;
        }
    }

    /// Adds the removal, by the command `word`, of what was found expired.
    pub fn expired(&mut self, word: &[u8], expired: &[Expired]) {
        for expired in expired {
            self.select(expired.db);
            encode_expired(&mut self.bytes, word, expired);
            self.commands += 2;
        }
    }

    /// Adds a command that ran in database `db`: the effects that it named,
    /// else the command itself.
    pub fn add(&mut self, db: u32, explicit: Option<&[u8]>, words: &[&[u8]]) {
        self.select(db);
        match explicit {
            Some(effects) => {
                self.bytes.extend_from_slice(effects);
                self.commands += count(effects);
            }
            None => {
                encode(&mut self.bytes, words);
                self.commands += 1;
            }
        }
    }

    /// The effects, ending in the database where they began, and how many there
    /// are (or more: what matters is whether it is just one).
    pub fn finish(&mut self) -> (Vec<u8>, usize) {
        if !self.bytes.is_empty() {
            self.select(self.first_db);
        }
        (std::mem::take(&mut self.bytes), self.commands)
    }

    /// The buffer that they were gathered in.
    pub fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }

    /// Appends everything to the log, as one transaction if there are several
    /// commands. Returns how many bytes of effects there were.
    pub fn append_to(&mut self, server: &Server) -> usize {
        let Some(log) = server.own_log() else {
            return 0;
        };
        if self.bytes.is_empty() {
            return 0;
        }
        if self.commands == 1 {
            log.append(self.first_db, &self.bytes, self.selected);
            return self.bytes.len();
        }
        log.append_transaction(self.first_db, &self.bytes, self.selected);
        self.bytes.len() + encoded_len(&[b"MULTI"]) + encoded_len(&[b"EXEC"])
    }
}

/// How many commands these are.
fn count(effects: &[u8]) -> usize {
    let number = |at: &mut usize| {
        let rest = effects.get(*at + 1..)?;
        let len = rest.iter().position(|&byte| byte == b'\r')?;
        *at += len + 3;
        crate::number::parse_i64(&rest[..len]).and_then(|n| usize::try_from(n).ok())
    };
    let (mut at, mut commands) = (0, 0);
    while at < effects.len() {
        let words = number(&mut at).unwrap_or(0);
        for _ in 0..words {
            at += number(&mut at).unwrap_or(effects.len()) + 2;
        }
        commands += 1;
    }
    commands
}
