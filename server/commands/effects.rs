//! What a command adds to the log: as a rule the command itself, where that
//! depends on nothing but its key; what depends on time, chance or local state
//! names its effects instead (I2).

use crate::keyspace::recorder::Expired;

/// Fields that one HDEL removes at most.
const FIELDS_PER_EFFECT: usize = 1000;

/// The effects of one command.
#[derive(Default)]
pub struct Effects {
    /// RESP of explicit effects.
    explicit: Vec<u8>,
    /// How many.
    count: usize,
    mode: Mode,
}

#[derive(Default, PartialEq, Eq, Clone, Copy)]
enum Mode {
    #[default]
    Verbatim,
    Explicit,
}

impl Effects {
    /// Adds an effect; from now on the command itself is not logged.
    pub fn add(&mut self, args: &[&[u8]]) {
        self.mode = Mode::Explicit;
        self.explicit.reserve(encoded_len(args));
        encode(&mut self.explicit, args);
        self.count += 1;
    }

    /// Adds `count` effects that are encoded already.
    pub fn add_encoded(&mut self, effects: &[u8], count: usize) {
        self.mode = Mode::Explicit;
        self.explicit.extend_from_slice(effects);
        self.count += count;
    }

    /// How many effects there are if the command has any.
    pub fn count(&self) -> usize {
        match self.mode {
            Mode::Verbatim => 1,
            Mode::Explicit => self.count,
        }
    }

    /// Forgets all, for the next command.
    #[inline]
    pub fn clear(&mut self) {
        self.explicit.clear();
        self.count = 0;
        self.mode = Mode::Verbatim;
    }

    /// Keeps the command itself out of the log.
    pub fn suppress(&mut self) {
        self.mode = Mode::Explicit;
    }

    /// The explicit effects, or None when the command itself is the effect.
    pub fn explicit(&self) -> Option<&[u8]> {
        (self.mode == Mode::Explicit).then_some(&self.explicit)
    }
}

/// Appends a command as an array of bulk strings.
pub fn encode(out: &mut Vec<u8>, args: &[&[u8]]) {
    put_header(out, b'*', args.len());
    for arg in args {
        put_header(out, b'$', arg.len());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends the removal of what had expired; `word` removes a key.
pub fn encode_expired(out: &mut Vec<u8>, word: &[u8], expired: &Expired) {
    if expired.fields.is_empty() {
        encode(out, &[word, &expired.key]);
    }
    for fields in expired.fields.chunks(FIELDS_PER_EFFECT) {
        let mut args: Vec<&[u8]> = vec![b"HDEL", &expired.key];
        args.extend(fields.iter().map(|field| &**field));
        encode(out, &args);
    }
}

fn put_header(out: &mut Vec<u8>, kind: u8, len: usize) {
    out.push(kind);
    out.extend_from_slice(itoa::Buffer::new().format(len).as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn digits(n: usize) -> usize {
    n.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// How long [`encode`] would make these arguments.
pub fn encoded_len(args: &[&[u8]]) -> usize {
    let bulk = |arg: &&[u8]| 1 + digits(arg.len()) + 2 + arg.len() + 2;
    1 + digits(args.len()) + 2 + args.iter().map(bulk).sum::<usize>()
}
