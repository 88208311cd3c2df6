//! A client as CLIENT LIST and CLIENT INFO show it. Source: the documentation
//! of CLIENT LIST; fields in the order of Valkey 9.1.

use std::io::Write;
use std::sync::atomic::Ordering;

use super::client::Client;
use crate::commands::connection::redirect_of;
use crate::commands::table::table;
use crate::tracking::client::mode;

/// The classes of clients, for CLIENT LIST TYPE and CLIENT KILL TYPE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientType {
    /// All others.
    Normal,
    /// Our primary.
    Primary,
    /// Those that follow us.
    Replica,
    /// Those that listen to a channel.
    Pubsub,
}

impl ClientType {
    /// The class of this name.
    pub fn from_name(name: &[u8]) -> Option<ClientType> {
        Some(match name.to_ascii_lowercase().as_slice() {
            b"normal" => ClientType::Normal,
            b"master" | b"primary" => ClientType::Primary,
            b"slave" | b"replica" => ClientType::Replica,
            b"pubsub" => ClientType::Pubsub,
            _ => return None,
        })
    }

    /// The class of a client.
    pub fn of(client: &Client) -> ClientType {
        if client.primary.load(Ordering::Relaxed) {
            ClientType::Primary
        } else if client.replica.load(Ordering::Relaxed) {
            ClientType::Replica
        } else if client.is_subscriber() {
            ClientType::Pubsub
        } else {
            ClientType::Normal
        }
    }
}

/// Every letter that [`flags`] can give.
pub const FLAG_LETTERS: &str = "OSMPxbtRBdcuAUreTIN";

/// The letters of the field `flags`.
///
/// | letter | the client |
/// |---|---|
/// | `O` | is a monitor |
/// | `S` | is a replica |
/// | `M` | is our primary |
/// | `P` | listens to channels |
/// | `t` | tracks keys |
/// | `R` | tracks keys for a connection that is gone |
/// | `B` | tracks keys by prefixes |
/// | `x` | is in MULTI |
/// | `b` | waits in a blocking command or for the end of CLIENT PAUSE |
/// | `d` | watches a key that has changed |
/// | `c` | is closed once its replies are out |
/// | `A` | is closed as soon as possible |
/// | `U` | came over the Unix socket |
/// | `r` | said READONLY |
/// | `e` | set CLIENT NO-EVICT |
/// | `T` | set CLIENT NO-TOUCH |
/// | `I` | set CLIENT IMPORT-SOURCE |
/// | `N` | none of these |
pub fn flags(client: &Client) -> String {
    let is = |flag: &std::sync::atomic::AtomicBool| flag.load(Ordering::Relaxed);
    let letters = [
        ('O', is(&client.monitor)),
        ('S', is(&client.replica)),
        ('M', is(&client.primary)),
        ('P', client.is_subscriber()),
        ('x', client.queued.load(Ordering::Relaxed) >= 0),
        ('b', client.is_blocked()),
        ('t', client.tracking.has(mode::ON)),
        ('R', client.tracking.has(mode::BROKEN)),
        ('B', client.tracking.has(mode::BCAST)),
        ('d', is(&client.watch_broken)),
        ('c', is(&client.closing)),
        ('A', is(&client.killed)),
        ('U', client.unix),
        ('r', is(&client.read_only)),
        ('e', is(&client.no_evict)),
        ('T', is(&client.no_touch)),
        ('I', is(&client.import_source)),
    ];
    let set: String = letters
        .into_iter()
        .filter_map(|(letter, set)| set.then_some(letter))
        .collect();
    if set.is_empty() { "N".into() } else { set }
}

/// Appends a client's line, without its end.
pub fn describe(client: &Client, now_ms: i64, out: &mut Vec<u8>) {
    let number = |of: &std::sync::atomic::AtomicU64| of.load(Ordering::Relaxed);
    let [sub, psub, ssub] = [0, 1, 2].map(|n| client.subscriptions[n].load(Ordering::Relaxed));
    let info = client.info.lock().clone();
    let redirect = redirect_of(client);
    let last = client.last_command.load(Ordering::Relaxed) as usize;
    let command = match last.checked_sub(1) {
        Some(number) => table().all()[number].name,
        None => "NULL",
    };
    let capa = if client.capa_redirect.load(Ordering::Relaxed) {
        "r"
    } else {
        ""
    };
    let (query, free) = (
        number(&client.query_bytes),
        number(&client.query_free_bytes),
    );
    let output = client.output_bytes();
    // Writing to a Vec can't fail.
    let _ = write!(
        out,
        "id={} addr={} laddr={} fd={} name=",
        client.id, client.address, client.local_address, client.fd
    );
    out.extend_from_slice(&info.name);
    let _ = write!(
        out,
        " age={} idle={} flags={} capa={capa} db={} sub={sub} psub={psub} ssub={ssub} multi={} watch={}",
        age_s(client, now_ms),
        idle_s(client, now_ms),
        flags(client),
        client.db.load(Ordering::Relaxed),
        client.listed.load(Ordering::Relaxed),
        client.watched_keys(),
    );
    let _ = write!(
        out,
        " qbuf={query} qbuf-free={free} argv-mem=0 multi-mem={} rbs=0 rbp=0 obl=0 oll={} omem={output} tot-mem={} events=r cmd={command} user=",
        number(&client.held.queued),
        u8::from(output != 0),
        client.memory_bytes(),
    );
    out.extend_from_slice(&info.user);
    let _ = write!(
        out,
        " redir={redirect} resp={} lib-name=",
        client.protocol.load(Ordering::Relaxed),
    );
    out.extend_from_slice(&info.lib_name);
    out.extend_from_slice(b" lib-ver=");
    out.extend_from_slice(&info.lib_version);
    let _ = write!(
        out,
        " tot-net-in={} tot-net-out={} tot-cmds={}",
        number(&client.bytes_in),
        number(&client.bytes_out),
        number(&client.commands),
    );
}

/// Seconds since it connected.
pub fn age_s(client: &Client, now_ms: i64) -> i64 {
    (now_ms - client.connected_ms).max(0) / 1000
}

/// Seconds since its last command, or since it last took or sent a part of something.
pub fn idle_s(client: &Client, now_ms: i64) -> i64 {
    (now_ms - client.active_ms.load(Ordering::Relaxed)).max(0) / 1000
}
