//! The configuration as file, command line and CONFIG see it.

use super::file::{load, options_from_arguments};
use super::rewrite::rewritten;
use super::*;
use proptest::prelude::*;

fn loaded(text: &str) -> Result<Config, String> {
    let mut config = Config::new();
    match load(&mut config, None, text.as_bytes()) {
        Ok(()) => Ok(config),
        Err(error) => Err(error.to_string()),
    }
}

fn get(config: &Config, name: &str) -> String {
    let found = config.get(&[name.as_bytes()]);
    assert_eq!(found.len(), 1, "{name}");
    String::from_utf8(found[0].1.clone()).expect("text")
}

fn set(config: &mut Config, pairs: &[(&str, &str)]) -> Result<usize, String> {
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(n, v)| (n.as_bytes(), v.as_bytes()))
        .collect();
    let changed = config.set_many(&pairs, SetContext::default());
    changed
        .map(|ids| ids.len())
        .map_err(|error| error.to_string())
}

/// Directives that are ours alone.
const OWN: [&str; 5] = [
    "disk-free-min",
    "log-retention-size",
    "log-segment-size",
    "tree-lag-limit",
    "tree-lag-slow",
];

/// The fixture was taken from a Valkey server; where it was started with
/// another value, or where we differ, the line is an exception.
#[test]
fn all_of_valkeys_directives_are_here_with_its_defaults() {
    let config = Config::new();
    let lines = include_str!("defaults_valkey_9_1.tsv").lines().skip(1);
    let mut names = 0;
    for line in lines {
        let (name, default) = line.split_once('\t').unwrap_or((line, ""));
        let expected = match name {
            "port" => "6379",
            "cluster-enabled" | "daemonize" => "no",
            "save" => "3600 1 300 100 60 10000",
            "syslog-ident" => "redoubt",
            _ => default,
        };
        assert_eq!(get(&config, name), expected, "{name}");
        names += 1;
    }
    let shown = config.get(&[b"*"]);
    let own = |name: &[u8]| OWN.iter().any(|own| own.as_bytes() == name);
    assert_eq!(names, shown.iter().filter(|(name, _)| !own(name)).count());
    let found = shown.iter().filter(|(name, _)| own(name));
    assert_eq!(found.count(), OWN.len());
}

#[test]
fn ids_are_known_at_compile_time() {
    const MAXMEMORY: DirectiveId = id("maxmemory");
    let config = loaded("maxmemory 100mb").unwrap();
    assert_eq!(config.integer(MAXMEMORY), 100 << 20);
    assert!(config.bool(id("protected-mode")));
    assert_eq!(config.string(id("dbfilename")), "dump.rdb");
}

#[test]
fn set_and_get_show_values_in_canonical_form() {
    for (name, text, shown) in [
        ("maxmemory", "1GB", "1073741824"),
        ("maxmemory", "1k", "1000"),
        ("proto-max-bulk-len", "1G", "1000000000"),
        ("hz", "10000", "500"),
        ("hz", "0", "1"),
        ("repl-backlog-size", "1", "16384"),
        ("proc-title-template", "{{ {title}}", "{{ {title}}"),
        ("cluster-announce-ip", "::1", "::1"),
        ("maxmemory-clients", "5%", "5%"),
        ("save", "60 1", "60 1"),
        ("save", "", ""),
        ("slowlog-max-len", "5", "5"),
        ("lua-time-limit", "7", "7"),
        ("loglevel", "DEBUG", "debug"),
        ("notify-keyspace-events", "KEg$lshzxetd", "AKE"),
        ("notify-keyspace-events", "xKE", "xKE"),
        ("shutdown-on-sigterm", "now save", "save now"),
        ("bind", "127.0.0.1 ::1", "127.0.0.1 ::1"),
        ("latency-tracking-info-percentiles", "50 99.90", "50 99.9"),
        (
            "client-output-buffer-limit",
            "replica 1mb 1kb 5",
            "normal 0 0 0 slave 1048576 1024 5 pubsub 33554432 8388608 60",
        ),
    ] {
        let mut config = Config::new();
        assert_eq!(set(&mut config, &[(name, text)]), Ok(1), "{name} {text}");
        assert_eq!(get(&config, name), shown);
    }
}

const UNKNOWN_VARIABLE: &str = "template format is invalid or contains unknown variables";

#[test]
fn a_name_asked_for_in_full_is_shown_as_it_was_asked_for() {
    let config = Config::new();
    let names = |patterns: &[&str]| {
        let patterns: Vec<_> = patterns.iter().map(|p| p.as_bytes()).collect();
        let found = config.get(&patterns).into_iter();
        let names = found.map(|(name, _)| String::from_utf8_lossy(name).into_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(&["MAXMEMORY", "maxmemory"]), ["MAXMEMORY"]);
    assert_eq!(names(&["SlowLog-Max-Len"]), ["SlowLog-Max-Len"]);
    assert_eq!(names(&["MAXMEMOR?"]), ["maxmemory"]);
    assert_eq!(names(&["WATCHDOG-period"]), ["WATCHDOG-period"]);
    assert_eq!(names(&["watchdog-perio?", "*avoid-copy*"]), [""; 0]);
}

#[test]
fn by_each_of_its_names_a_directive_is_set_once() {
    let mut config = Config::new();
    let both = [
        ("commandlog-slow-execution-max-len", "7"),
        ("slowlog-max-len", "3"),
    ];
    assert_eq!(set(&mut config, &both), Ok(2));
    assert_eq!(get(&config, "slowlog-max-len"), "3");
    set(&mut config, &[("maxmemory", "1gb")]).unwrap();
    set(&mut config, &[("maxmemory", "")]).unwrap();
    assert_eq!(get(&config, "maxmemory"), "0");
}

#[test]
fn refusals_have_the_exact_texts_and_change_nothing() {
    let related = |name: &str, reason: &str| {
        format!("CONFIG SET failed (possibly related to argument '{name}') - {reason}")
    };
    let mut config = Config::new();
    for (name, text, reason) in [
        ("appendonly", "maybe", "argument must be 'yes' or 'no'"),
        ("hz", "x", "argument couldn't be parsed into an integer"),
        (
            "hz",
            "-1",
            "argument must be between 0 and 2147483647 inclusive",
        ),
        ("maxmemory", "1x", "argument must be a memory value"),
        (
            "maxmemory-clients",
            "x",
            "argument must be a memory or percent value",
        ),
        (
            "appendfsync",
            "x",
            "argument(s) must be one of the following: everysec, always, no",
        ),
        ("daemonize", "no", "can't set immutable config"),
        ("dir", "/tmp", "can't set protected config"),
        ("save", "1", "Invalid save parameters"),
        (
            "slowlog-max-len",
            "x",
            "argument couldn't be parsed into an integer",
        ),
        (
            "repl-backlog-size",
            "",
            "argument must be between 1 and 9223372036854775807 inclusive",
        ),
        (
            "cluster-announce-ip",
            "a b",
            "cluster-announce-ip contains invalid character",
        ),
        (
            "cluster-announce-ip",
            "0123456789012345678901234567890123456789012345",
            "cluster-announce-ip is too long",
        ),
        ("proc-title-template", "{title} {pid}", UNKNOWN_VARIABLE),
        ("proc-title-template", "{title", UNKNOWN_VARIABLE),
        ("proc-title-template", "", UNKNOWN_VARIABLE),
    ] {
        let pairs = [("timeout", "17"), (name, text)];
        assert_eq!(set(&mut config, &pairs), Err(related(name, reason)));
        assert_eq!(get(&config, "timeout"), "0");
    }
    let twice = [
        ("HASH-max-ziplist-value", "1"),
        ("hash-max-ziplist-value", "1"),
    ];
    let reason = related("hash-max-ziplist-value", "duplicate parameter");
    assert_eq!(set(&mut config, &twice), Err(reason));
    let unknown = "Unknown option or number of arguments for CONFIG SET - 'nope'";
    assert_eq!(set(&mut config, &[("nope", "1")]), Err(unknown.to_owned()));
    assert_eq!(set(&mut config, &[("timeout", "0")]), Ok(0));
}

#[test]
fn a_file_is_read_line_by_line() {
    let config = loaded(
        "# comment\n  port 7000\nSAVE 60 1\nsave 30 2\nrequirepass \"a b\"\nslaveof host 1\n\
         user bob on\nrename-command KEYS \"\"\nlua-replicate-commands yes\n",
    )
    .unwrap();
    assert_eq!(get(&config, "port"), "7000");
    assert_eq!(get(&config, "save"), "60 1 30 2");
    assert_eq!(get(&config, "requirepass"), "a b");
    assert_eq!(get(&config, "replicaof"), "host 1");
    assert_eq!(config.file_only.users, [[b"bob".to_vec(), b"on".to_vec()]]);
    assert_eq!(config.file_only.renamed_commands.len(), 1);
}

#[test]
fn a_bad_line_is_named_with_the_nearest_directive() {
    let error = loaded("port 1\nmaxmemoy 5\n").unwrap_err();
    assert!(
        error.contains("*** FATAL CONFIG FILE ERROR (Redoubt "),
        "{error}"
    );
    assert!(
        error.contains("at line 2\n>>> 'maxmemoy 5'\nBad directive"),
        "{error}"
    );
    assert!(error.ends_with("did you mean 'maxmemory'?"), "{error}");
    assert!(
        loaded("port 1 2")
            .unwrap_err()
            .ends_with("wrong number of arguments")
    );
}

#[test]
fn included_files_are_found_by_globs_and_may_not_loop() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("a.inc"), "port 1\ntimeout 5").unwrap();
    std::fs::write(path("b.inc"), "port 2").unwrap();
    let main = path("main.conf");
    std::fs::write(&main, format!("include {}", path("*.inc").display())).unwrap();
    let mut config = Config::new();
    load(&mut config, Some(&main), b"timeout 6").unwrap();
    assert_eq!(
        (get(&config, "port"), get(&config, "timeout")),
        ("2".into(), "6".into())
    );
    std::fs::write(&main, format!("include {}", main.display())).unwrap();
    assert!(load(&mut config, Some(&main), b"").is_err());
}

#[test]
fn the_command_line_becomes_lines() {
    let arguments = [
        "--port",
        "7",
        "--save",
        "60",
        "1",
        "--appendonly",
        "yes",
        "--save",
        "",
    ];
    let arguments: Vec<_> = arguments.iter().map(|a| a.as_bytes().to_vec()).collect();
    let text = String::from_utf8(options_from_arguments(&arguments)).unwrap();
    let config = loaded(&text).unwrap();
    assert_eq!(get(&config, "port"), "7");
    assert_eq!(get(&config, "save"), "");
    assert!(config.bool(id("appendonly")));
}

#[test]
fn a_value_on_the_command_line_may_look_like_an_option() {
    let lines = |arguments: &[&str]| {
        let arguments: Vec<_> = arguments.iter().map(|a| a.as_bytes().to_vec()).collect();
        String::from_utf8(options_from_arguments(&arguments)).unwrap()
    };
    let text = lines(&["--proc-title-template", "--a", "--port", "7"]);
    assert_eq!(text, "\nproc-title-template \"--a\"\nport \"7\"\n");
    let text = lines(&["--save", "--port 7", "--save"]);
    assert_eq!(text, "\nsave \"\"\nport 7\nsave \"\"\n");
    let text = lines(&["--", "--port", "7", "--requirepass", "--", "--"]);
    assert_eq!(text, "\n\nport \"7\"\nrequirepass \"--\"\n\n");
    let text = lines(&["--port", "--loglevel", "verbose"]);
    let refusal = loaded(&text).unwrap_err();
    assert!(
        refusal.contains("'port \"--loglevel\" \"verbose\"'"),
        "{refusal}"
    );
}

#[test]
fn rewriting_keeps_comments_and_adds_what_is_new() {
    let old = "# mine\nport 1\n\nsave 60 1\nsave 30 2\nhash-max-ziplist-value 64\nuser bob on\n";
    let mut config = loaded(old).unwrap();
    set(
        &mut config,
        &[
            ("port", "2"),
            ("save", "5 5"),
            ("maxmemory", "2mb"),
            ("requirepass", "p\"w"),
        ],
    )
    .unwrap();
    let new = String::from_utf8(rewritten(&config, old.as_bytes(), false)).unwrap();
    assert_eq!(
        new,
        "# mine\nport 2\n\nsave 5 5\nhash-max-listpack-value 64\nuser bob on\n\
         # Generated by CONFIG REWRITE\nmaxmemory 2mb\nrequirepass \"p\\\"w\"\n"
    );
    assert_eq!(rewritten(&config, new.as_bytes(), false), new.as_bytes());
}

proptest! {
    #[test]
    fn any_bytes_as_a_file_never_panic(text in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = load(&mut Config::new(), None, &text);
    }

    #[test]
    fn any_value_of_any_directive_is_refused_or_survives_a_rewrite(
        at in 0..table::DIRECTIVES.len(),
        value in "[ -~]{0,12}|-?[0-9]{1,20}|[0-9]{1,4}[kmg]b|yes|[0-9]{1,3} [0-9]{1,3}|[0-9]{1,3}%",
    ) {
        let mut config = Config::new();
        let context = SetContext { protected_allowed: true, loading: false };
        let name = table::DIRECTIVES[at].name.as_bytes();
        if config.set_many(&[(name, value.as_bytes())], context).is_ok() {
            let mut again = Config::new();
            let text = rewritten(&config, b"", false);
            prop_assert_eq!(load(&mut again, None, &text), Ok(()));
            prop_assert_eq!(config.get(&[name]), again.get(&[name]));
        }
    }
}

#[test]
fn a_rewrite_replaces_the_users_in_their_places() {
    let line = |text: &str| -> Vec<Vec<u8>> {
        let words = text.split(' ');
        words.map(|word| word.as_bytes().to_vec()).collect()
    };
    let mut config = Config::new();
    let old = b"# ours\nuser bob on >pw +@all\nport 6379\n";
    let text = rewrite::rewritten(&config, old, false);
    assert!(
        text.starts_with(old),
        "without users nothing is known of them"
    );
    config.file_only.users = vec![line("default on nopass +@all"), line("eve on ~a\"b")];
    let text = String::from_utf8(rewrite::rewritten(&config, old, false)).expect("plain text");
    let expected = "# ours\nuser default on nopass +@all\nport 6379\n# Generated by CONFIG REWRITE\nuser eve on \"~a\\\"b\"\n";
    assert_eq!(text, expected);
    let mut again = Config::new();
    file::load(&mut again, None, text.as_bytes()).expect("a valid file");
    assert_eq!(again.file_only.users, config.file_only.users);
}
