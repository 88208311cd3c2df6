//! A replica as its primary sees it: what it told in the hand-shake, and how
//! far it has come.

/// What a replica can do, as it says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// It takes a payload that ends with a mark.
    pub eof: bool,
    /// It takes `+CONTINUE` with a new id.
    pub psync2: bool,
}

/// The parts of a payload that a replica wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// The keys of all databases.
    pub keys: bool,
    /// The libraries of functions.
    pub functions: bool,
}

impl Default for Parts {
    /// Everything.
    fn default() -> Parts {
        Parts {
            keys: true,
            functions: true,
        }
    }
}

impl Parts {
    /// Reads the words of `rdb-filter-only`, which name what is wanted; without
    /// any that is nothing.
    fn named(words: &[u8]) -> Result<Parts, Refused> {
        let mut parts = Parts {
            keys: false,
            functions: false,
        };
        let words = words.split(u8::is_ascii_whitespace);
        for word in words.filter(|word| !word.is_empty()) {
            if !word.eq_ignore_ascii_case(b"functions") {
                let shown = String::from_utf8_lossy(word).into_owned();
                return Err(Refused::UnknownPart(shown));
            }
            parts.functions = true;
        }
        Ok(parts)
    }
}

/// Why a REPLCONF is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// Options come in pairs.
    Syntax,
    /// A number is none.
    NotInteger,
    /// No such option.
    Unknown(String),
    /// No such part of a payload to send alone.
    UnknownPart(String),
}

/// What a REPLCONF asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heeded {
    /// An answer: OK.
    Answer,
    /// Nothing: it was an acknowledgement.
    Silence,
    /// Our own offsets (GETACK, sent to a replica by its primary).
    OwnOffset,
}

/// How far a link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stage {
    /// It has not asked for the stream yet.
    #[default]
    HandShake,
    /// It waits for a snapshot.
    WaitsForSnapshot,
    /// It is being sent one.
    TakesSnapshot,
    /// It is sent the stream.
    Online,
}

impl Stage {
    /// The word in INFO.
    pub fn name(self) -> &'static str {
        match self {
            Stage::HandShake => "handshake",
            Stage::WaitsForSnapshot => "wait_bgsave",
            Stage::TakesSnapshot => "send_bulk",
            Stage::Online => "online",
        }
    }
}

/// A replica of ours.
#[derive(Debug, Clone, Default)]
pub struct Peer {
    /// Where the link is.
    pub stage: Stage,
    /// The port that it listens on.
    pub listening_port: u16,
    /// The address that it wants to be known by; empty: the link's own.
    pub announced_ip: String,
    /// What it can do.
    pub capabilities: Capabilities,
    /// Its version as 0xMMmmpp; 0 if it didn't say.
    pub version: u32,
    /// It wants nothing but the payload (`redis-cli --rdb`).
    pub rdb_only: bool,
    /// What it wants of the payload.
    pub parts: Parts,
    /// It spoke PSYNC, so it acknowledges.
    pub acknowledges: bool,
    /// The offset that it has applied.
    pub applied: u64,
    /// The offset that it has on disk.
    pub synced: u64,
    /// When it last acknowledged, in the caller's milliseconds.
    pub heard_ms: u64,
    /// When it was last sent a part of the snapshot.
    pub sent_ms: u64,
}

impl Peer {
    /// Heeds `REPLCONF option value …`, without its name.
    pub fn configure(&mut self, now_ms: u64, words: &[&[u8]]) -> Result<Heeded, Refused> {
        if !words.len().is_multiple_of(2) {
            return Err(Refused::Syntax);
        }
        let mut heeded = Heeded::Answer;
        for pair in words.chunks(2) {
            let (option, value) = (pair[0].to_ascii_lowercase(), pair[1]);
            match option.as_slice() {
                b"listening-port" => {
                    let port = number(value)?;
                    self.listening_port = u16::try_from(port).map_err(|_| Refused::NotInteger)?;
                }
                b"ip-address" => {
                    let text = String::from_utf8_lossy(&value[..value.len().min(46)]);
                    self.announced_ip = text.into_owned();
                }
                b"capa" => match value.to_ascii_lowercase().as_slice() {
                    b"eof" => self.capabilities.eof = true,
                    b"psync2" => self.capabilities.psync2 = true,
                    // Others need nothing of us.
                    _ => {}
                },
                b"version" => self.version = version(value).ok_or(Refused::NotInteger)?,
                b"ack" => {
                    self.applied = self.applied.max(offset(value)?);
                    self.heard_ms = now_ms;
                    heeded = Heeded::Silence;
                }
                b"fack" => {
                    self.synced = self.synced.max(offset(value)?);
                    heeded = Heeded::Silence;
                }
                b"getack" => heeded = Heeded::OwnOffset,
                b"rdb-only" => self.rdb_only = number(value)? == 1,
                b"rdb-filter-only" => self.parts = Parts::named(value)?,
                _ => {
                    let shown = String::from_utf8_lossy(pair[0]).into_owned();
                    return Err(Refused::Unknown(shown));
                }
            }
        }
        Ok(heeded)
    }

    /// Seconds since it last acknowledged.
    pub fn lag_s(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.heard_ms) / 1000
    }

    /// Whether it counts for `min-replicas-to-write`.
    pub fn is_good(&self, now_ms: u64, max_lag_s: u64) -> bool {
        self.stage == Stage::Online && self.acknowledges && self.lag_s(now_ms) <= max_lag_s
    }

    /// A newline came: it is busy with the snapshot, which it may have taken
    /// whole. That is no acknowledgement of it.
    pub fn note_newline(&mut self, now_ms: u64) {
        match self.stage {
            Stage::TakesSnapshot => self.sent_ms = now_ms,
            Stage::Online => self.heard_ms = now_ms,
            Stage::HandShake | Stage::WaitsForSnapshot => {}
        }
    }

    /// Whether it has been silent for too long. One that takes a snapshot need
    /// not speak, but has to take it; one that never acknowledges is trusted.
    pub fn is_timed_out(&self, now_ms: u64, timeout_ms: u64) -> bool {
        let since = match self.stage {
            Stage::Online if self.acknowledges => self.heard_ms,
            Stage::TakesSnapshot => self.sent_ms,
            _ => return false,
        };
        now_ms.saturating_sub(since) > timeout_ms
    }
}

fn number(text: &[u8]) -> Result<i64, Refused> {
    let text = std::str::from_utf8(text).map_err(|_| Refused::NotInteger)?;
    text.parse().map_err(|_| Refused::NotInteger)
}

/// An offset; a negative one is that of a replica that has nothing.
fn offset(text: &[u8]) -> Result<u64, Refused> {
    Ok(u64::try_from(number(text)?).unwrap_or(0))
}

fn version(text: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(text).ok()?;
    let mut packed = 0;
    let mut parts = 0;
    for part in text.split('.') {
        packed = packed << 8 | u32::from(part.parse::<u8>().ok()?);
        parts += 1;
    }
    (parts == 3).then_some(packed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<&[u8]> {
        line.split(' ').map(str::as_bytes).collect()
    }

    #[test]
    fn the_hand_shake_is_remembered() {
        let mut peer = Peer::default();
        let line = "listening-port 7001 ip-address 10.0.0.1 capa eof capa psync2 version 8.1.0";
        assert_eq!(peer.configure(0, &words(line)), Ok(Heeded::Answer));
        assert_eq!(peer.listening_port, 7001);
        assert_eq!(peer.announced_ip, "10.0.0.1");
        assert!(peer.capabilities.eof && peer.capabilities.psync2);
        assert_eq!(peer.version, 0x08_01_00);
    }

    #[test]
    fn acknowledgements_never_go_back_and_are_not_answered() {
        let mut peer = Peer {
            stage: Stage::Online,
            acknowledges: true,
            ..Peer::default()
        };
        assert_eq!(
            peer.configure(5000, &words("ACK 100 FACK 90")),
            Ok(Heeded::Silence)
        );
        assert_eq!(peer.configure(6000, &words("ack 50")), Ok(Heeded::Silence));
        assert_eq!((peer.applied, peer.synced), (100, 90));
        assert_eq!(peer.lag_s(8500), 2);
        assert!(peer.is_good(8500, 2) && !peer.is_good(9500, 2));
        assert!(peer.is_timed_out(66_001, 60_000) && !peer.is_timed_out(66_000, 60_000));
    }

    #[test]
    fn nonsense_is_refused() {
        let mut peer = Peer::default();
        let mut refusal = |line: &str| peer.configure(0, &words(line)).unwrap_err();
        assert_eq!(refusal("capa"), Refused::Syntax);
        assert_eq!(refusal("listening-port x"), Refused::NotInteger);
        assert_eq!(refusal("listening-port 70000"), Refused::NotInteger);
        assert_eq!(refusal("Foo bar"), Refused::Unknown("Foo".into()));
        let nonsense = Refused::UnknownPart("nonsense".into());
        assert_eq!(refusal("rdb-filter-only nonsense"), nonsense);
    }

    #[test]
    fn a_payload_may_be_wanted_in_part() {
        let mut peer = Peer::default();
        assert!(peer.parts.keys && peer.parts.functions);
        peer.configure(0, &[b"rdb-filter-only", b"Functions"])
            .unwrap();
        assert!(!peer.parts.keys && peer.parts.functions);
        peer.configure(0, &[b"rdb-filter-only", b""]).unwrap();
        assert!(!peer.parts.keys && !peer.parts.functions);
    }
}
