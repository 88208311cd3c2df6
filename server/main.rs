//! The `redoubt-server` program: options, configuration, logging, start.

use std::io::{Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use redoubt_server::config::{Config, file, id};
use redoubt_server::logging::{self, LogFile};
use redoubt_server::oom;
use redoubt_server::runtime::{affinity, start, supervisor};

#[global_allocator]
static ALLOCATOR: redoubt_server::memory::Counted = redoubt_server::memory::Counted::new();

const HELP: &str = "\
Usage: redoubt-server [file.conf] [--directive value ...] [-]
       redoubt-server --import FILE [file.conf] [--directive value ...]
       redoubt-server --version
       redoubt-server --help

A configuration file has the syntax and the directives of redis.conf; each
directive can be given on the command line as well, and then wins:

  redoubt-server --port 7000 --dir /var/lib/redoubt --appendfsync always

A - as the first or the last argument reads lines of a configuration from
standard input, after the file.

--import loads FILE, a dump file of Redis or Valkey (RDB), an append-only file,
its manifest or their directory, into an empty data directory, and ends. A
server that starts in a directory with a dump.rdb or an appendonlydir and no
data of its own imports that by itself.

Without arguments: port 6379, data in the current directory (log/ and tree/).
";

fn main() -> ExitCode {
    ignore_hangup();
    let arguments: Vec<Vec<u8>> = std::env::args_os()
        .skip(1)
        .map(OsStringExt::into_vec)
        .collect();
    match arguments.first().map(Vec::as_slice) {
        Some(b"--help" | b"-h") => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Some(b"--version" | b"-v") => {
            // `v=` is what programs that start servers go by, as clients do by
            // INFO's `redis_version`.
            let (own, spoken) = (
                env!("CARGO_PKG_VERSION"),
                redoubt_server::state::REDIS_VERSION,
            );
            println!("Redoubt server {own} v={spoken} bits=64");
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let (to_import, arguments) = match split_off_import(arguments) {
        Ok(split) => split,
        Err(report) => {
            let _ = writeln!(std::io::stderr(), "{report}");
            return ExitCode::FAILURE;
        }
    };
    let (config, config_file, log) = match prepare(&arguments) {
        Ok(prepared) => prepared,
        Err(report) => {
            let _ = writeln!(std::io::stderr(), "{report}");
            return ExitCode::FAILURE;
        }
    };
    if config.bool(id("daemonize")) && !supervisor::watches(&config) {
        daemonize();
    }
    logging::start(&config, log);
    oom::begin(&config);
    affinity::begin(&config);
    tracing::info!(
        "Redoubt {} is starting, PID: {}",
        env!("CARGO_PKG_VERSION"),
        std::process::id()
    );
    let result = match to_import {
        Some(path) => start::import(config, &path),
        None => start::run(config, config_file),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The terminal that the server was called from may go, and those who rotate
/// its log may send a SIGHUP: neither is to end it.
fn ignore_hangup() {
    // SAFETY: no handler is set, and there is only one thread yet.
    unsafe {
        libc::signal(libc::SIGHUP, libc::SIG_IGN);
    }
}

/// Reads the configuration, goes to `dir`, and opens the log file, whose name
/// counts from there.
fn prepare(arguments: &[Vec<u8>]) -> Result<(Config, Option<PathBuf>, Option<LogFile>), String> {
    let (mut config, config_file) = configure(arguments)?;
    start::enter_directory(&mut config)?;
    let log = open_logfile(&config).map_err(|error| error.to_string())?;
    Ok((config, config_file, log))
}

/// Takes `--import FILE` out of the arguments. The file is found from where
/// the program was called.
fn split_off_import(
    mut arguments: Vec<Vec<u8>>,
) -> Result<(Option<PathBuf>, Vec<Vec<u8>>), String> {
    let Some(at) = arguments.iter().position(|word| word == b"--import") else {
        return Ok((None, arguments));
    };
    if at + 1 == arguments.len() {
        return Err("--import needs a file; see --help".into());
    }
    let file = arguments.drain(at..at + 2).nth(1).unwrap_or_default();
    let path = PathBuf::from(std::ffi::OsString::from_vec(file));
    let found = std::fs::canonicalize(&path);
    let found = found.map_err(|error| format!("can't read {}: {error}", path.display()))?;
    Ok((Some(found), arguments))
}

/// Goes on as a child without a terminal. Before any thread is started.
fn daemonize() {
    // SAFETY: there is only one thread yet; `daemon` forks and the parent
    // exits.
    if unsafe { libc::daemon(1, 0) } != 0 {
        eprintln!("can't become a daemon: {}", std::io::Error::last_os_error());
    }
}

fn configure(arguments: &[Vec<u8>]) -> Result<(Config, Option<PathBuf>), String> {
    let mut config = Config::new();
    let (arguments, input) = read_input(arguments)?;
    let named = arguments.first().filter(|word| !word.starts_with(b"--"));
    let path = named.map(|word| PathBuf::from(String::from_utf8_lossy(word).into_owned()));
    let options = file::options_from_arguments(&arguments[usize::from(named.is_some())..]);
    let lines = [&input[..], b"\n", &options].concat();
    file::load(&mut config, path.as_deref(), &lines).map_err(|e| e.to_string())?;
    let path = match path {
        Some(path) => Some(std::fs::canonicalize(&path).map_err(|e| e.to_string())?),
        None => None,
    };
    Ok((config, path))
}

/// Takes a `-` off the arguments' beginning or end, unless it is a directive's
/// value; the text it stands for is what comes from standard input.
fn read_input(arguments: &[Vec<u8>]) -> Result<(&[Vec<u8>], Vec<u8>), String> {
    let rest = match arguments {
        [first, rest @ ..] if first == b"-" => rest,
        [rest @ .., last]
            if last == b"-" && !rest.last().is_some_and(|word| is_directive(word)) =>
        {
            rest
        }
        _ => return Ok((arguments, Vec::new())),
    };
    let mut text = Vec::new();
    let read = std::io::stdin().read_to_end(&mut text);
    read.map_err(|error| format!("can't read the configuration from standard input: {error}"))?;
    Ok((rest, text))
}

/// Whether a word is the name of a directive, and no more.
fn is_directive(word: &[u8]) -> bool {
    word.starts_with(b"--") && !word.contains(&b' ')
}

/// `logfile`, if there is one.
fn open_logfile(config: &Config) -> Result<Option<LogFile>, file::FileError> {
    let path = config.string(id("logfile"));
    if path.is_empty() {
        return Ok(None);
    }
    let file = LogFile::open(Path::new(&*path));
    file.map(Some).map_err(|error| file::FileError {
        path: Some(PathBuf::from(&*path)),
        line: None,
        reason: format!("Can't open the log file: {error}"),
    })
}
