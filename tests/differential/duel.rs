//! Two connections that get the same commands, and the comparison of what comes back.

use std::time::Instant;

use super::generator::{self, Command};
use super::rules::{self, Rule};
use super::support::{Client, Reply, encode};

/// A difference between the servers.
#[derive(Debug)]
pub struct Mismatch {
    /// What differs: replies, a key, events.
    pub what: What,
    /// Ours and theirs.
    pub ours: String,
    /// The other server's.
    pub theirs: String,
}

/// What differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The replies to this command of the history.
    Reply(usize),
    /// The events of the batch that ended with this command.
    Events(usize),
    /// A key of a database.
    Key(String),
}

/// Both servers under the same commands.
pub struct Duel {
    /// A connection to ours.
    pub ours: Client,
    /// A connection to the other.
    pub theirs: Client,
    /// Subscribers of all key events, if these are compared.
    pub listeners: Option<[Client; 2]>,
    /// Everything sent since the last reset.
    pub history: Vec<Command>,
    /// The longest time that a batch took: points in time may differ by so much.
    pub drift_ms: i64,
    /// Rules of the commands queued by MULTI.
    queued: Vec<Rule>,
}

impl Duel {
    /// Over two connections.
    pub fn new(ours: Client, theirs: Client) -> Duel {
        Duel {
            ours,
            theirs,
            listeners: None,
            history: Vec::new(),
            drift_ms: 1,
            queued: Vec::new(),
        }
    }

    /// Sends commands to both, and compares the replies.
    pub fn run(&mut self, batch: &[Command]) -> Result<(), Mismatch> {
        let began = Instant::now();
        let mut bytes = Vec::new();
        for command in batch {
            bytes.extend(encode(&command.args));
        }
        let first = self.history.len();
        self.history.extend_from_slice(batch);
        self.theirs.send(&bytes);
        self.ours.send(&bytes);
        let mut replies = Vec::with_capacity(batch.len());
        let (mut slowest, mut before) = ((0, 0), Instant::now());
        for at in 0..batch.len() {
            let reply = self.ours.try_read().map_err(|error| Mismatch {
                what: What::Reply(first + at),
                ours: format!("no reply: {error}"),
                theirs: String::new(),
            })?;
            replies.push(reply);
            slowest = slowest.max((before.elapsed().as_millis(), at));
            before = Instant::now();
        }
        let ours_ms = began.elapsed().as_millis();
        let theirs = batch.iter().map(|_| self.theirs.read());
        let replies: Vec<(Reply, Reply)> = replies.into_iter().zip(theirs).collect();
        let took_ms = began.elapsed().as_millis() as i64 + 1;
        self.drift_ms = self.drift_ms.max(took_ms);
        if took_ms > 2000 {
            let culprit = batch[slowest.1].args.iter();
            let culprit: Vec<_> = culprit.map(|arg| String::from_utf8_lossy(arg)).collect();
            println!("a batch took {took_ms} ms, ours {ours_ms}, most of it {culprit:?}");
        }
        let mut before = None;
        for (at, ((ours, theirs), command)) in replies.iter().zip(batch).enumerate() {
            if !self.agree(command, before, ours, theirs) {
                return Err(Mismatch {
                    what: What::Reply(first + at),
                    ours: show(ours),
                    theirs: show(theirs),
                });
            }
            before = Some((command, ours));
        }
        self.compare_events()
    }

    /// Runs one command, and gives both replies, which agree.
    pub fn both(&mut self, command: &Command) -> Result<(Reply, Reply), Mismatch> {
        let bytes = encode(&command.args);
        self.history.push(command.clone());
        self.theirs.send(&bytes);
        self.ours.send(&bytes);
        let theirs = self.theirs.read();
        let ours = self.ours.read();
        match rules::same(command.rule, &ours, &theirs, self.drift_ms) {
            true => Ok((ours, theirs)),
            false => Err(Mismatch {
                what: What::Reply(self.history.len() - 1),
                ours: show(&ours),
                theirs: show(&theirs),
            }),
        }
    }

    fn agree(
        &mut self,
        command: &Command,
        before: Option<(&Command, &Reply)>,
        ours: &Reply,
        theirs: &Reply,
    ) -> bool {
        if matches!(theirs, Reply::Simple(text) if text == "QUEUED") {
            self.queued.push(command.rule);
            return ours == theirs;
        }
        let name = command.args[0].to_ascii_uppercase();
        if name == b"EXEC" || name == b"DISCARD" {
            let queued = std::mem::take(&mut self.queued);
            if let (Reply::Array(ours), Reply::Array(theirs)) = (ours, theirs) {
                let elements = ours.iter().zip(theirs).zip(&queued);
                return ours.len() == theirs.len()
                    && queued.len() == ours.len()
                    && elements
                        .into_iter()
                        .all(|((ours, theirs), rule)| self.same(*rule, ours, theirs));
            }
        }
        genuine(command, before, ours) && self.same(command.rule, ours, theirs)
    }

    fn same(&self, rule: Rule, ours: &Reply, theirs: &Reply) -> bool {
        rules::same(rule, ours, theirs, self.drift_ms)
    }

    /// Holds the key events since the last time against each other.
    fn compare_events(&mut self) -> Result<(), Mismatch> {
        let Some([ours, theirs]) = &mut self.listeners else {
            return Ok(());
        };
        let end = encode(&["PUBLISH", "end of batch", ""]);
        self.ours.send(&end);
        self.theirs.send(&end);
        // Within a transaction that a batch left open it is queued, and published later.
        let queued = Reply::Simple("QUEUED".into());
        if self.ours.read() == queued || self.theirs.read() == queued {
            return Ok(());
        }
        let (ours, theirs) = (events(ours), events(theirs));
        if ours == theirs {
            return Ok(());
        }
        let equal = ours.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
        let some = |list: &[String]| list[equal..list.len().min(equal + 6)].join("; ");
        Err(Mismatch {
            what: What::Events(self.history.len() - 1),
            ours: some(&ours),
            theirs: some(&theirs),
        })
    }
}

/// Whether what a command drew by chance is from what was asked for just before it.
fn genuine(command: &Command, before: Option<(&Command, &Reply)>, drawn: &Reply) -> bool {
    let Some((asked, all)) = before else {
        return true;
    };
    if command.rule != Rule::Member || matches!(drawn, Reply::Error(_)) {
        return true;
    }
    match generator::everything_of(command) {
        Some(everything) if everything.args == asked.args => {
            let all = leaves(all);
            leaves(drawn).iter().all(|leaf| all.contains(leaf))
        }
        _ => true,
    }
}

/// The events up to the marker, without those that a clock raises.
fn events(listener: &mut Client) -> Vec<String> {
    let mut events = Vec::new();
    loop {
        let message = listener.read();
        let parts = rules::elements(&message).unwrap_or_default();
        let texts: Vec<String> = parts.iter().filter_map(Reply::text).collect();
        match texts.get(2).map(String::as_str) {
            Some("end of batch") => return events,
            Some(channel) if channel.ends_with(":expired") || channel.ends_with(":hexpired") => {}
            Some(channel) => events.push(format!("{channel} {}", texts[3..].join(" "))),
            None => {}
        }
    }
}

/// All that is no collection in a reply, as text.
fn leaves(reply: &Reply) -> Vec<String> {
    match reply {
        Reply::Array(elements) | Reply::Set(elements) => elements.iter().flat_map(leaves).collect(),
        Reply::Map(pairs) => {
            let both = pairs.iter().flat_map(|(field, value)| [field, value]);
            both.flat_map(leaves).collect()
        }
        Reply::Null => Vec::new(),
        other => vec![show(other)],
    }
}

/// A reply, short enough to read.
pub fn show(reply: &Reply) -> String {
    let mut text = match reply {
        Reply::Bulk(bytes) => format!("{:?}", String::from_utf8_lossy(bytes)),
        Reply::Array(elements) | Reply::Set(elements) => {
            let shown: Vec<String> = elements.iter().map(show).collect();
            let kind = if matches!(reply, Reply::Set(_)) {
                "~"
            } else {
                ""
            };
            format!("{kind}[{}]", shown.join(", "))
        }
        Reply::Map(pairs) => {
            let shown = pairs
                .iter()
                .map(|(name, value)| show(name) + ": " + &show(value));
            format!("{{{}}}", shown.collect::<Vec<_>>().join(", "))
        }
        other => format!("{other:?}"),
    };
    if text.len() > 1500 {
        let end = (0..=1500).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
        text.push('…');
    }
    text
}
