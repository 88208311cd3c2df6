//! Every command and subcommand of Valkey 9.1.2 is there, and COMMAND INFO says of it what Valkey
//! says: arity, flags, keys, ACL categories, tips.

mod support;

use support::{Client, Reply, Server};

/// The commands of Valkey 9.1.2, see the head of the file.
const REFERENCE: &str = include_str!("reference/commands-valkey-9.1.2.tsv");

/// Commands that differ from the reference on purpose, with the reason.
const EXCEPTIONS: &[(&str, &str)] = &[(
    "sort",
    "the key behind STORE is found by its key spec; Valkey calls that spec unknown",
)];

/// Families that are not built yet. What is built must go from here: the test fails for a family
/// whose commands all are as the reference has them.
const NOT_BUILT: &[(&str, &[&str])] = &[];

/// What COMMAND INFO says of a command, as a line of the reference.
fn line_of(info: &Reply) -> Option<String> {
    let Reply::Array(fields) = info else {
        return None;
    };
    let [
        name,
        arity,
        flags,
        first,
        last,
        step,
        categories,
        tips,
        specs,
        ..,
    ] = &fields[..]
    else {
        return None;
    };
    let specs: Vec<String> = elements(specs).iter().map(spec_text).collect();
    let fields = [
        name.text()?,
        number(arity).to_string(),
        sorted_words(flags),
        number(first).to_string(),
        number(last).to_string(),
        number(step).to_string(),
        sorted_words(categories).replace('@', ""),
        or_dash(specs.join("; ")),
        sorted_words(tips),
    ];
    Some(fields.join("\t"))
}

fn or_dash(text: String) -> String {
    if text.is_empty() { "-".into() } else { text }
}

fn elements(reply: &Reply) -> &[Reply] {
    match reply {
        Reply::Array(elements) | Reply::Set(elements) => elements,
        other => panic!("{other:?} is no array"),
    }
}

fn number(reply: &Reply) -> i64 {
    match reply {
        Reply::Integer(number) => *number,
        other => panic!("{other:?} is no integer"),
    }
}

fn sorted_words(reply: &Reply) -> String {
    let mut words: Vec<String> = elements(reply).iter().filter_map(Reply::text).collect();
    words.sort();
    or_dash(words.join(","))
}

/// A field of a map that RESP2 writes as an array.
fn field<'a>(map: &'a Reply, name: &str) -> &'a Reply {
    elements(map)
        .chunks(2)
        .find(|pair| pair[0].text().as_deref() == Some(name))
        .map(|pair| &pair[1])
        .unwrap_or_else(|| panic!("{map:?} has no {name}"))
}

/// A key spec as the reference writes it.
fn spec_text(spec: &Reply) -> String {
    let part = |name| {
        let part = field(spec, name);
        let kind = field(part, "type").text().unwrap_or_default();
        let values = elements(field(part, "spec")).chunks(2);
        let values = values.map(|pair| match &pair[1] {
            Reply::Integer(number) => number.to_string(),
            other => other.text().unwrap_or_default(),
        });
        std::iter::once(kind)
            .chain(values)
            .collect::<Vec<_>>()
            .join(" ")
    };
    format!(
        "{} from {} find {}",
        sorted_words(field(spec, "flags")),
        part("begin_search"),
        part("find_keys")
    )
}

fn info(client: &mut Client, name: &str) -> Option<String> {
    match client.command(&["COMMAND", "INFO", name]) {
        Reply::Array(infos) => infos.first().and_then(line_of),
        other => panic!("COMMAND INFO {name}: {other:?}"),
    }
}

/// The family of `NOT_BUILT` that a command is in: by its own name, that of its container, or a
/// prefix that ends with `*`.
fn family_of(name: &str) -> Option<&'static str> {
    let fits = |pattern: &&str| match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == *pattern || name.split('|').next() == Some(pattern),
    };
    let found = NOT_BUILT.iter().find(|(_, names)| names.iter().any(fits));
    found.map(|(family, _)| *family)
}

#[test]
fn every_command_is_declared_as_the_reference_has_it() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let mut differences = Vec::new();
    let mut unfinished = std::collections::BTreeSet::new();
    let mut count = 0;
    for expected in REFERENCE.lines().filter(|line| !line.starts_with('#')) {
        let name = expected.split('\t').next().unwrap_or_default();
        count += 1;
        let found = info(&mut client, name);
        let differs = found.as_deref() != Some(expected);
        let is_exception = EXCEPTIONS.iter().any(|(exception, _)| *exception == name);
        assert!(differs || !is_exception, "{name} is no exception any more");
        match family_of(name) {
            Some(family) if differs => {
                unfinished.insert(family);
            }
            _ if differs && !is_exception => {
                differences.push(format!("expected {expected}\n   found {found:?}"));
            }
            _ => {}
        }
    }
    assert!(count > 390, "the reference has only {count} commands");
    let difference = differences.join("\n");
    assert!(
        differences.is_empty(),
        "{} differ:\n{difference}",
        differences.len()
    );
    let built: Vec<_> = NOT_BUILT
        .iter()
        .map(|(family, _)| family)
        .filter(|family| !unfinished.contains(*family))
        .collect();
    assert!(
        built.is_empty(),
        "built, so take them off NOT_BUILT: {built:?}"
    );
}
