//! The `redoubt-server` program: options, configuration, logging, start.

use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::process::ExitCode;

use redoubt_server::config::{Config, file, id};
use redoubt_server::runtime::start;

#[global_allocator]
static ALLOCATOR: redoubt_server::memory::Counted = redoubt_server::memory::Counted::new();

const HELP: &str = "\
Usage: redoubt-server [file.conf] [--directive value ...]
       redoubt-server --import FILE [file.conf] [--directive value ...]
       redoubt-server --version
       redoubt-server --help

A configuration file has the syntax and the directives of redis.conf; each
directive can be given on the command line as well, and then wins:

  redoubt-server --port 7000 --dir /var/lib/redoubt --appendfsync always

--import loads FILE, a dump file of Redis or Valkey (RDB), an append-only file,
its manifest or their directory, into an empty data directory, and ends. A
server that starts in a directory with a dump.rdb or an appendonlydir and no
data of its own imports that by itself.

Without arguments: port 6379, data in the current directory (log/ and tree/).
";

fn main() -> ExitCode {
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
            println!("Redoubt server v={} bits=64", env!("CARGO_PKG_VERSION"));
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
    let (config, config_file) = match configure(&arguments) {
        Ok(configured) => configured,
        Err(report) => {
            let _ = writeln!(std::io::stderr(), "{report}");
            return ExitCode::FAILURE;
        }
    };
    let log = match open_logfile(&config) {
        Ok(log) => log,
        Err(report) => {
            let _ = writeln!(std::io::stderr(), "{report}");
            return ExitCode::FAILURE;
        }
    };
    if config.bool(id("daemonize")) {
        daemonize();
    }
    start_logging(&config, log);
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
    let named = arguments.first().filter(|word| !word.starts_with(b"--"));
    let path = named.map(|word| PathBuf::from(String::from_utf8_lossy(word).into_owned()));
    let options = file::options_from_arguments(&arguments[usize::from(named.is_some())..]);
    file::load(&mut config, path.as_deref(), &options).map_err(|e| e.to_string())?;
    let path = match path {
        Some(path) => Some(std::fs::canonicalize(&path).map_err(|e| e.to_string())?),
        None => None,
    };
    Ok((config, path))
}

/// `logfile`, if there is one.
fn open_logfile(config: &Config) -> Result<Option<File>, file::FileError> {
    let path = config.string(id("logfile"));
    if path.is_empty() {
        return Ok(None);
    }
    let file = File::options().create(true).append(true).open(&*path);
    file.map(Some).map_err(|error| file::FileError {
        path: Some(PathBuf::from(&*path)),
        line: None,
        reason: format!("Can't open the log file: {error}"),
    })
}

/// Sends events to the log file or standard output, one line each.
fn start_logging(config: &Config, file: Option<File>) {
    let level = match &*config.string(id("loglevel")) {
        "debug" => tracing::Level::DEBUG,
        "warning" | "nothing" => tracing::Level::WARN,
        _ => tracing::Level::INFO,
    };
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_ansi(false);
    match file {
        Some(file) => builder.with_writer(std::sync::Mutex::new(file)).init(),
        None => builder.init(),
    }
}
