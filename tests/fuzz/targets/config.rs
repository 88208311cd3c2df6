//! The configuration file: a clear error or a configuration that survives being written out; and
//! the quoting of any bytes.

use redoubt_server::config::Config;
use redoubt_server::config::file::{load, options_from_arguments};
use redoubt_server::config::rewrite::rewritten;
use redoubt_server::resp::split;

use crate::campaign::Target;

/// Text of a configuration file.
pub fn files() -> Target {
    let corpus: [&[u8]; 9] = [
        b"# comment\nport 7000\nbind 127.0.0.1 -::1\nsave 3600 1 300 100\nsave 60 10000\n",
        b"maxmemory 100mb\nmaxmemory-policy allkeys-lru\nmaxmemory-samples 5\nhz 10\n",
        b"appendonly yes\nappendfsync everysec\ndir /tmp\ndbfilename \"dump file.rdb\"\nsave \"\"\n",
        b"client-output-buffer-limit normal 0 0 0 replica 256mb 64mb 60 pubsub 32mb 8mb 60\n",
        b"requirepass \"a\\x00b\\\"c\\\\\"\nmasterauth 'it\\'s'\nrename-command CONFIG \"\"\n",
        b"notify-keyspace-events KEA\nunixsocketperm 700\noom-score-adj-values 0 200 800\n",
        b"user default on nopass ~* &* +@all\nloadmodule /lib/x.so a b\nloglevel notice\n",
        b"cluster-enabled yes\ncluster-node-timeout 2000\nreplicaof 10.0.0.1 6379\n",
        b"io-threads 4\nslowlog-log-slower-than -1\nproto-max-bulk-len 512mb\ntcp-backlog 511\r\n",
    ];
    let mut corpus = corpus.map(<[u8]>::to_vec).to_vec();
    // Every directive, some at a time.
    let all: Vec<Vec<u8>> = Config::new()
        .get(&[b"*"])
        .iter()
        .map(|(name, value)| options_from_arguments(&[[b"--", *name].concat(), value.clone()]))
        .collect();
    corpus.extend(all.chunks(20).map(<[Vec<u8>]>::concat));
    Target {
        name: "config_files",
        corpus,
        max_input_bytes: 2048,
        max_memory_bytes: 4 << 20,
        run: Box::new(|input, _| loads_or_says_why(input)),
    }
}

fn loads_or_says_why(input: &[u8]) {
    // An include reads whatever file the bytes name, a device too.
    let lower = input.to_ascii_lowercase();
    if lower.windows(7).any(|word| word == b"include") {
        return;
    }
    let mut config = Config::new();
    if let Err(error) = load(&mut config, None, input) {
        let (number, _) = error.line.as_ref().expect("an error names its line");
        assert!(*number >= 1 && !error.reason.is_empty());
        assert!(error.to_string().contains("at line"));
        return;
    }
    let text = rewritten(&config, b"", false);
    let mut again = Config::new();
    if let Err(error) = load(&mut again, None, &text) {
        panic!("what was written can't be read: {error}");
    }
    assert_eq!(config.get(&[b"*"]), again.get(&[b"*"]));
}

/// The arguments of a command line.
pub fn quoting() -> Target {
    let corpus: [&[u8]; 5] = [
        b"plain",
        b"two words",
        b"\"quoted\" and \\escaped\\",
        b"\x00\x01\x7f\x80\xff\r\n\t",
        b"# '",
    ];
    Target {
        name: "config_quoting",
        corpus: corpus.map(<[u8]>::to_vec).to_vec(),
        max_input_bytes: 512,
        max_memory_bytes: 1 << 20,
        run: Box::new(|input, _| any_argument_is_read_back(input)),
    }
}

fn any_argument_is_read_back(input: &[u8]) {
    let _ = split::split(input);
    if input.starts_with(b"--") {
        return; // the name of a directive
    }
    let text = options_from_arguments(&[b"--requirepass".to_vec(), input.to_vec()]);
    let line = text.trim_ascii();
    assert!(!line.contains(&b'\n'));
    let words = split::split(line).expect("quotes are balanced");
    assert_eq!(words, [b"requirepass".to_vec(), input.to_vec()]);
}
