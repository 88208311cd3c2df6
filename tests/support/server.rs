//! A server process in a directory of its own, started, killed and restarted by a test.

use super::{Client, eventually};
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a server may take to be ready, or to end after a signal.
const PATIENCE: Duration = Duration::from_secs(60);
/// What every server prints once it takes connections.
const READY: &str = "Ready to accept connections";

/// A real server to hold ours against. Its path comes from `VALKEY_SERVER` or `REDIS_SERVER`,
/// else from `PATH`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    Valkey,
    Redis,
}

impl Peer {
    fn program(self) -> PathBuf {
        let (variable, name) = match self {
            Peer::Valkey => ("VALKEY_SERVER", "valkey-server"),
            Peer::Redis => ("REDIS_SERVER", "redis-server"),
        };
        std::env::var_os(variable).map_or_else(|| name.into(), PathBuf::from)
    }
}

/// A running (or just ended) server. Dropping it kills the process and removes its directory.
#[derive(Debug)]
pub struct Server {
    program: PathBuf,
    directives: Vec<String>,
    environment: Vec<(String, String)>,
    most_files: Option<u64>,
    dir: TempDir,
    port: u16,
    process: Option<Process>,
}

#[derive(Debug)]
struct Process {
    child: Child,
    lines: Receiver<String>,
    /// Every line read from `lines` so far.
    log: Vec<String>,
}

impl Server {
    /// Starts our server with further directives, such as `["--appendfsync", "always"]`.
    ///
    /// The program is `REDOUBT_SERVER`, else the binary that cargo built beside this test.
    pub fn start(directives: &[&str]) -> Self {
        let program = std::env::var_os("REDOUBT_SERVER").map_or_else(
            || env!("CARGO_BIN_EXE_redoubt-server").into(),
            PathBuf::from,
        );
        Self::start_program(program, directives)
    }

    /// Starts a peer with further directives.
    pub fn start_peer(peer: Peer, directives: &[&str]) -> Self {
        Self::start_program(peer.program(), directives)
    }

    fn start_program(program: PathBuf, directives: &[&str]) -> Self {
        let mut server = Self {
            program,
            directives: directives.iter().map(|text| text.to_string()).collect(),
            environment: Vec::new(),
            most_files: None,
            dir: tempfile::tempdir().expect("a temporary directory can be made"),
            port: 0,
            process: None,
        };
        // A free port can be taken by another process before the server binds it.
        let mut refusal = String::new();
        for _ in 0..3 {
            server.port = free_port();
            match server.try_launch() {
                Ok(()) => return server,
                Err(log) => refusal = log,
            }
        }
        panic!("{} does not start:\n{refusal}", server.program.display());
    }

    /// The port it listens on, on 127.0.0.1. It stays the same over restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its data directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Its process id. Panics if it isn't running.
    pub fn pid(&self) -> u32 {
        self.running().child.id()
    }

    /// The most memory that it has been seen to hold.
    pub fn most_resident_bytes(&self) -> usize {
        self.status_bytes("VmHWM:")
    }

    /// The memory of its own that it holds.
    pub fn resident_bytes(&self) -> usize {
        self.status_bytes("RssAnon:")
    }

    fn status_bytes(&self, field: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.expect("the process is there");
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kilobytes = line.expect("Linux tells").trim().trim_end_matches(" kB");
        kilobytes.parse::<usize>().expect("a number") << 10
    }

    /// A new connection.
    pub fn client(&self) -> Client {
        Client::connect(self.port).expect("the server takes a connection")
    }

    /// Ends it with SIGKILL, as a crash would.
    pub fn kill(&mut self) {
        self.signal(libc::SIGKILL);
        self.wait();
    }

    /// Ends it with SIGTERM and waits for it to go. Panics if it doesn't in a minute.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(libc::SIGTERM);
        self.wait()
    }

    /// Waits for it to end by itself, after SHUTDOWN. Panics if it doesn't in a minute.
    pub fn await_end(&mut self) -> ExitStatus {
        self.wait()
    }

    /// Starts it again, on the same directory and port, after [`kill`](Self::kill) or
    /// [`terminate`](Self::terminate). Panics if it doesn't start.
    pub fn restart(&mut self) {
        assert!(self.process.is_none(), "the server still runs");
        if let Err(log) = self.try_launch() {
            panic!("{} does not restart:\n{log}", self.program.display());
        }
    }

    /// Starts it again, expecting a refusal: gives what it printed before it ended.
    pub fn restart_refused(&mut self) -> String {
        assert!(self.process.is_none(), "the server still runs");
        match self.try_launch() {
            Ok(()) => panic!("{} starts against expectation", self.program.display()),
            Err(log) => log,
        }
    }

    /// An environment variable of its next starts.
    pub fn set_environment(&mut self, name: &str, value: &str) {
        self.environment.push((name.into(), value.into()));
    }

    /// How many files and connections its next starts may have open.
    pub fn limit_open_files(&mut self, most: u64) {
        self.most_files = Some(most);
    }

    /// The directives of its next starts.
    pub fn set_directives(&mut self, directives: &[&str]) {
        self.directives = directives.iter().map(|text| text.to_string()).collect();
    }

    /// As [`restart_refused`](Self::restart_refused), with directives that hold for this one start.
    pub fn restart_refused_with(&mut self, directives: &[&str]) -> String {
        let usual = self.directives.clone();
        let further = directives.iter().map(|text| text.to_string());
        self.directives.extend(further);
        let refusal = self.restart_refused();
        self.directives = usual;
        refusal
    }

    /// Sends a signal to the process. After SIGSTOP no thread of it runs any more.
    pub fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.pid()).expect("a pid fits an i32");
        // SAFETY: kill(2) takes plain numbers; the child isn't reaped yet, so the pid is its own.
        let result = unsafe { libc::kill(pid, signal) };
        assert_eq!(result, 0, "the process can be signalled");
        if signal == libc::SIGSTOP {
            eventually("all threads have stopped", || self.is_stopped());
        }
    }

    fn is_stopped(&self) -> bool {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.pid()));
        let mut threads = threads.expect("the process is there");
        threads.all(|thread| {
            let stat = thread.expect("Linux tells").path().join("stat");
            // A name in parentheses comes before the state; a thread may have ended.
            std::fs::read_to_string(stat).is_ok_and(|stat| {
                stat.rsplit(") ")
                    .next()
                    .is_some_and(|rest| rest.starts_with('T'))
            })
        })
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("the server runs")
    }

    /// Waits for the process to end by itself.
    fn wait(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("the server runs");
        // Both pipes close when the process ends, which disconnects the channel.
        let deadline = Instant::now() + PATIENCE;
        while let Ok(line) = process.lines.recv_timeout(deadline - Instant::now()) {
            process.log.push(line);
        }
        match process.child.try_wait() {
            Ok(None) if Instant::now() >= deadline => {
                let _ = process.child.kill();
                panic!("the server does not end:\n{}", process.log.join("\n"))
            }
            _ => process.child.wait().expect("a child can be waited for"),
        }
    }

    /// Starts the process and waits for its ready line; gives its output if it ends before.
    fn try_launch(&mut self) -> Result<(), String> {
        let mut command = Command::new(&self.program);
        if let Some(most) = self.most_files {
            let limit = libc::rlimit {
                rlim_cur: most,
                rlim_max: most,
            };
            // SAFETY: between fork and exec one system call is made, which takes plain numbers.
            unsafe {
                command.pre_exec(move || {
                    match libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) {
                        0 => Ok(()),
                        _ => Err(std::io::Error::last_os_error()),
                    }
                });
            }
        }
        let mut child = command
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            .arg("--dir")
            .arg(self.dir.path())
            .args(&self.directives)
            .envs(self.environment.iter().cloned())
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", self.program.display()))?;
        let (sender, lines) = channel();
        forward(child.stdout.take(), sender.clone());
        forward(child.stderr.take(), sender);
        let mut process = Process {
            child,
            lines,
            log: Vec::new(),
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            match process.lines.recv_timeout(deadline - Instant::now()) {
                Ok(line) => {
                    let ready = line.contains(READY);
                    process.log.push(line);
                    if ready {
                        self.process = Some(process);
                        return Ok(());
                    }
                }
                Err(end) => {
                    let _ = process.child.kill();
                    let _ = process.child.wait();
                    if end == RecvTimeoutError::Timeout {
                        process.log.push("(not ready in a minute)".into());
                    }
                    return Err(process.log.join("\n"));
                }
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.child.kill();
            let _ = process.child.wait();
            if std::thread::panicking() {
                process.log.extend(process.lines.try_iter());
                eprintln!("--- log of {}", self.program.display());
                eprintln!("{}", process.log.join("\n"));
            }
        }
    }
}

/// Sends the lines of a pipe to `sender` until the pipe closes.
fn forward(pipe: Option<impl Read + Send + 'static>, sender: Sender<String>) {
    let pipe = BufReader::new(pipe.expect("the pipe was asked for"));
    std::thread::spawn(move || {
        for line in pipe.split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            if sender.send(line).is_err() {
                // Nobody listens any more; go on reading, lest the server block on a full pipe.
                continue;
            }
        }
    });
}

/// A port that nobody listens on at the moment.
fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port can be bound");
    let address = listener
        .local_addr()
        .expect("a bound socket has an address");
    address.port()
}
