//! The whole of a server's keys, in a form that compares.

use std::collections::BTreeMap;

use super::duel::{Mismatch, What, show};
use super::rules::{self, Rule};
use super::support::{Client, Reply, encode};

/// Databases that the commands use.
const DATABASES: usize = 3;

/// A key with everything that can be asked about it.
#[derive(Debug)]
pub struct Entry {
    kind: String,
    expires_ms: Reply,
    content: Vec<Reply>,
    /// When the fields of a hash expire.
    field_expiries: Reply,
}

/// All keys, by database and name.
pub type Keyspace = BTreeMap<(usize, Vec<u8>), Entry>;

/// Reads everything over a connection of its own.
pub fn read(client: &mut Client) -> Keyspace {
    client.command(&["HELLO", "3"]);
    let mut keyspace = Keyspace::new();
    for db in 0..DATABASES {
        client.command(&["SELECT", &db.to_string()]);
        let keys = client.command(&["KEYS", "*"]);
        for key in rules::elements(&keys).expect("KEYS gives an array") {
            if let Reply::Bulk(key) = key
                && let Some(entry) = read_entry(client, key)
            {
                keyspace.insert((db, key.clone()), entry);
            }
        }
    }
    keyspace
}

/// One key of the selected database; none if it has gone.
pub fn read_entry(client: &mut Client, key: &[u8]) -> Option<Entry> {
    let questions: [&[&[u8]]; 2] = [&[b"TYPE", key], &[b"PEXPIRETIME", key]];
    let [kind, expires_ms] = ask(client, &questions).try_into().expect("two replies");
    let kind = kind.text()?;
    let questions: Vec<Vec<&[u8]>> = match kind.as_str() {
        "string" => vec![vec![b"GET", key]],
        "list" => vec![vec![b"LRANGE", key, b"0", b"-1"]],
        "set" => vec![vec![b"SMEMBERS", key]],
        "hash" => vec![vec![b"HGETALL", key]],
        "zset" => vec![vec![b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"]],
        "stream" => vec![
            vec![b"XRANGE", key, b"-", b"+"],
            vec![b"XINFO", b"STREAM", key, b"FULL", b"COUNT", b"0"],
        ],
        _ => return None,
    };
    let questions: Vec<&[&[u8]]> = questions.iter().map(Vec::as_slice).collect();
    let content: Vec<Reply> = ask(client, &questions)
        .iter()
        .map(|reply| match kind.as_str() {
            "set" | "hash" => rules::sorted(reply, 1),
            "stream" => unsized_stream(&rules::masked(reply)),
            _ => reply.clone(),
        })
        .collect();
    let field_expiries = match &content[..] {
        [Reply::Map(pairs)] if kind == "hash" => {
            let count = pairs.len().to_string();
            let mut args: Vec<&[u8]> = vec![b"HPEXPIRETIME", key, b"FIELDS", count.as_bytes()];
            for (field, _) in pairs {
                if let Reply::Bulk(field) = field {
                    args.push(field);
                }
            }
            client.command(&args)
        }
        _ => Reply::Null,
    };
    Some(Entry {
        kind,
        expires_ms,
        content,
        field_expiries,
    })
}

fn ask(client: &mut Client, questions: &[&[&[u8]]]) -> Vec<Reply> {
    let bytes: Vec<u8> = questions.iter().flat_map(|args| encode(args)).collect();
    client.send(&bytes);
    questions.iter().map(|_| client.read()).collect()
}

/// What XINFO tells of a stream without the figures of its representation, and without when
/// consumers were active, which a restart may not know.
fn unsized_stream(reply: &Reply) -> Reply {
    const OWN: [&str; 4] = [
        "radix-tree-keys",
        "radix-tree-nodes",
        "seen-time",
        "active-time",
    ];
    match reply {
        Reply::Map(pairs) => Reply::Map(
            pairs
                .iter()
                .filter(|(name, _)| name.text().is_none_or(|name| !OWN.contains(&name.as_str())))
                .map(|(name, value)| (name.clone(), unsized_stream(value)))
                .collect(),
        ),
        Reply::Array(elements) => Reply::Array(elements.iter().map(unsized_stream).collect()),
        other => other.clone(),
    }
}

/// Compares two keyspaces. Not how values are encoded: that depends on all that ever happened to
/// them, and is the Tcl suite's to look at.
pub fn compare(ours: &Keyspace, theirs: &Keyspace, drift_ms: i64) -> Result<(), Mismatch> {
    let mut keys: Vec<_> = ours.keys().chain(theirs.keys()).collect();
    keys.sort();
    keys.dedup();
    for key in keys {
        let (ours, theirs) = (ours.get(key), theirs.get(key));
        let equal = match (ours, theirs) {
            (Some(ours), Some(theirs)) => same_entry(ours, theirs, drift_ms),
            _ => false,
        };
        if !equal {
            return Err(Mismatch {
                what: What::Key(format!("{} {:?}", key.0, String::from_utf8_lossy(&key.1))),
                ours: ours.map_or("no such key".into(), Entry::text),
                theirs: theirs.map_or("no such key".into(), Entry::text),
            });
        }
    }
    Ok(())
}

/// Compares two keys.
pub fn same_entry(ours: &Entry, theirs: &Entry, drift_ms: i64) -> bool {
    let times = [
        (&ours.expires_ms, &theirs.expires_ms),
        (&ours.field_expiries, &theirs.field_expiries),
    ];
    ours.kind == theirs.kind
        && ours.content == theirs.content
        && times
            .into_iter()
            .all(|(ours, theirs)| rules::same(Rule::Drift, ours, theirs, drift_ms))
}

impl Entry {
    /// For reports.
    pub fn text(&self) -> String {
        let content: Vec<String> = self.content.iter().map(show).collect();
        format!(
            "{}, expires {}, {}, fields expire {}",
            self.kind,
            show(&self.expires_ms),
            content.join(", "),
            show(&self.field_expiries)
        )
    }
}
