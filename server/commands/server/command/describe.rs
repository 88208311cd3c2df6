//! One command as COMMAND INFO shows it.

use crate::commands::command::{Begin, Command, Find, KeySpec, acl, flag};
use crate::commands::tips::tips_of;
use crate::resp::reply::ReplyBuffer;

/// Name, arity, flags, first key, last key, step, categories, tips, key specs
/// and subcommands.
pub fn describe(reply: &mut ReplyBuffer, command: &Command) {
    reply.array(10);
    reply.bulk(command.name.as_bytes());
    reply.integer(i64::from(command.arity));
    words(reply, names_of(command.flags, &flag::NAMES));
    let (first, last, step) = legacy_range(command.keys);
    reply.integer(first);
    reply.integer(last);
    reply.integer(step);
    let categories = acl::with_implied(command.acl, command.flags);
    let categories = names_of(categories, &acl::NAMES);
    reply.set(categories.len());
    for name in categories {
        reply.simple(&format!("@{name}"));
    }
    let tips = tips_of(command.name);
    reply.set(tips.len());
    tips.iter().for_each(|tip| reply.bulk(tip.as_bytes()));
    reply.set(command.keys.len());
    for spec in command.keys {
        key_spec(reply, spec);
    }
    reply.array(command.subcommands.len());
    for subcommand in command.subcommands {
        describe(reply, subcommand);
    }
}

fn names_of(bits: u32, names: &[&'static str]) -> Vec<&'static str> {
    let set = |at: &usize| bits & (1 << at) != 0;
    (0..names.len()).filter(set).map(|at| names[at]).collect()
}

/// A set of simple strings.
pub fn words(reply: &mut ReplyBuffer, words: Vec<&'static str>) {
    reply.set(words.len());
    words.iter().for_each(|word| reply.simple(word));
}

/// First key, last key and step, for clients that know no key specs: neighbouring
/// ranges are joined, others left out. A negative last key counts from the end.
pub fn legacy_range(specs: &[KeySpec]) -> (i64, i64, i64) {
    let mut ranges = specs
        .iter()
        .filter_map(|spec| match (spec.begin, spec.find) {
            (Begin::Index(first), Find::Range { last, step, .. }) => {
                let first = first as i64;
                let last = i64::from(last);
                let last = if last >= 0 { first + last } else { last };
                Some((first, last, step as i64))
            }
            _ => None,
        });
    if let [_] = specs {
        return ranges.next_back().unwrap_or((0, 0, 0));
    }
    let mut joined: Option<(i64, i64)> = None;
    for (first, last, step) in ranges {
        joined = match joined {
            _ if step != 1 => joined,
            None => Some((first, last)),
            Some((begin, end)) if end == first - 1 => Some((begin, last)),
            Some(_) => joined,
        };
    }
    joined.map_or((0, 0, 0), |(first, last)| (first, last, 1))
}

fn key_spec(reply: &mut ReplyBuffer, spec: &KeySpec) {
    reply.map(3 + usize::from(!spec.notes.is_empty()));
    if !spec.notes.is_empty() {
        reply.bulk(b"notes");
        reply.bulk(spec.notes.as_bytes());
    }
    reply.bulk(b"flags");
    words(reply, spec.flags.to_vec());
    reply.bulk(b"begin_search");
    match spec.begin {
        Begin::Index(index) => typed(reply, "index", &[("index", index as i64)]),
        Begin::Keyword(word, from) => {
            reply.map(2);
            reply.bulk(b"type");
            reply.bulk(b"keyword");
            reply.bulk(b"spec");
            reply.map(2);
            reply.bulk(b"keyword");
            reply.bulk(word.as_bytes());
            reply.bulk(b"startfrom");
            reply.integer(i64::from(from));
        }
        Begin::Unknown => typed(reply, "unknown", &[]),
    }
    reply.bulk(b"find_keys");
    match spec.find {
        Find::Range { last, step, limit } => typed(
            reply,
            "range",
            &[
                ("lastkey", i64::from(last)),
                ("keystep", step as i64),
                ("limit", limit as i64),
            ],
        ),
        Find::Keynum {
            number_at,
            first,
            step,
        } => typed(
            reply,
            "keynum",
            &[
                ("keynumidx", number_at as i64),
                ("firstkey", first as i64),
                ("keystep", step as i64),
            ],
        ),
        Find::Unknown => typed(reply, "unknown", &[]),
    }
}

fn typed(reply: &mut ReplyBuffer, kind: &str, spec: &[(&str, i64)]) {
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(kind.as_bytes());
    reply.bulk(b"spec");
    reply.map(spec.len());
    for (name, value) in spec {
        reply.bulk(name.as_bytes());
        reply.integer(*value);
    }
}
