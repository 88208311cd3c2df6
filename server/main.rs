//! The `redoubt-server` program: options, configuration, logging, start.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use redoubt_server::config::{Config, file, id};
use redoubt_server::runtime::start;

#[global_allocator]
static ALLOCATOR: redoubt_server::memory::Counted = redoubt_server::memory::Counted::new();

const HELP: &str = "\
Usage: redoubt-server [file.conf] [--directive value ...]
       redoubt-server --version
       redoubt-server --help

A configuration file has the syntax and the directives of redis.conf; each
directive can be given on the command line as well, and then wins:

  redoubt-server --port 7000 --dir /var/lib/redoubt --appendfsync always

Without arguments: port 6379, data in the current directory (log/ and tree/).
";

fn main() -> ExitCode {
    let arguments: Vec<Vec<u8>> = std::env::args_os()
        .skip(1)
        .map(std::os::unix::ffi::OsStringExt::into_vec)
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
    let (config, config_file) = match configure(&arguments) {
        Ok(configured) => configured,
        Err(report) => {
            let _ = writeln!(std::io::stderr(), "{report}");
            return ExitCode::FAILURE;
        }
    };
    if config.bool(id("daemonize")) {
        daemonize();
    }
    start_logging(&config);
    tracing::info!(
        "Redoubt {} is starting, PID: {}",
        env!("CARGO_PKG_VERSION"),
        std::process::id()
    );
    match start::run(config, config_file) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
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

/// Sends events to `logfile` or standard output, one line each.
fn start_logging(config: &Config) {
    let level = match &*config.string(id("loglevel")) {
        "debug" => tracing::Level::DEBUG,
        "warning" | "nothing" => tracing::Level::WARN,
        _ => tracing::Level::INFO,
    };
    let logfile = config.string(id("logfile")).into_owned();
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_ansi(false);
    let file = (!logfile.is_empty()).then(|| {
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&logfile)
    });
    match file {
        Some(Ok(file)) => builder.with_writer(std::sync::Mutex::new(file)).init(),
        Some(Err(error)) => {
            builder.init();
            tracing::error!("can't open logfile {logfile}: {error}");
        }
        None => builder.init(),
    }
}
