//! What those who run a server do to it: signals, log files, sockets, supervisors, configuration
//! files.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use support::{Reply, Server, eventually};
use tempfile::TempDir;

/// A server that is reached through a Unix socket, with a command line of the test's own.
struct Bare {
    child: Child,
    socket: PathBuf,
}

impl Bare {
    /// Runs the program in `dir` with just these arguments, and `input` to read.
    fn run(dir: &Path, arguments: &[&str], input: &str, environment: &[(&str, &str)]) -> Bare {
        let program = std::env::var_os("REDOUBT_SERVER").map_or_else(
            || env!("CARGO_BIN_EXE_redoubt-server").into(),
            PathBuf::from,
        );
        let mut child = Command::new(program)
            .args(arguments)
            .envs(environment.iter().copied())
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(fs::File::create(dir.join("output")).expect("a file can be made"))
            .stderr(Stdio::null())
            .spawn()
            .expect("the program can be run");
        let mut stdin = child.stdin.take().expect("it was asked for");
        // Who doesn't read it may have ended.
        let _ = stdin.write_all(input.as_bytes());
        Bare {
            child,
            socket: dir.join("s.sock"),
        }
    }

    /// Runs it with the directory's socket besides, and waits until it answers.
    fn start(dir: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Bare {
        let usual = ["--port", "0", "--unixsocket", "s.sock"];
        let bare = Bare::run(dir, &[arguments, &usual].concat(), "", environment);
        bare.await_answers()
    }

    fn await_answers(self) -> Bare {
        eventually("the server answers", || self.answers());
        self
    }

    fn answers(&self) -> bool {
        UnixStream::connect(&self.socket).is_ok() && self.ask("PING").starts_with("+PONG")
    }

    /// All that a connection is sent for a line.
    fn ask(&self, line: &str) -> String {
        let mut stream = UnixStream::connect(&self.socket).expect("the socket takes a connection");
        let patience = Some(Duration::from_secs(30));
        stream.set_read_timeout(patience).expect("a timeout fits");
        let sent = stream.write_all(format!("{line}\r\nQUIT\r\n").as_bytes());
        sent.expect("the server listens");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Waits for it to end.
    fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the server ends", || {
            status = self.child.try_wait().expect("it can be asked");
            status.is_some()
        });
        status.expect("it has ended")
    }

    fn terminate(&mut self) {
        let pid = i32::try_from(self.child.id()).expect("a pid fits an i32");
        // SAFETY: kill(2) takes plain numbers; the child isn't reaped yet, so the pid is its own.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
        assert!(self.ended().success());
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory can be made")
}

fn holds(file: &Path, text: &str) -> bool {
    fs::read_to_string(file).is_ok_and(|content| content.contains(text))
}

#[test]
fn a_server_whose_terminal_goes_runs_on() {
    let mut server = Server::start(&[]);
    server.signal(libc::SIGHUP);
    server.signal(libc::SIGPIPE);
    assert_eq!(
        server.client().command(&["PING"]),
        Reply::Simple("PONG".into())
    );
    assert!(server.terminate().success());
}

#[test]
fn a_second_server_leaves_the_socket_of_the_first_alone() {
    let (first, other) = (directory(), directory());
    let mut server = Bare::start(first.path(), &[], &[]);
    let socket = server.socket.to_str().expect("a plain path").to_owned();
    // In the same directory, and with another that only shares the socket.
    for dir in [first.path(), other.path()] {
        let arguments = ["--port", "0", "--unixsocket", &socket];
        let mut second = Bare::run(dir, &arguments, "", &[]);
        assert!(!second.ended().success());
        assert!(server.answers());
    }
    server.terminate();
    assert!(!server.socket.exists());
}

#[test]
fn a_socket_that_a_crash_has_left_makes_way() {
    let dir = directory();
    drop(Bare::start(dir.path(), &[], &[]));
    assert!(dir.path().join("s.sock").exists());
    Bare::start(dir.path(), &[], &[]).terminate();
    assert!(!dir.path().join("s.sock").exists());
}

#[test]
fn a_socket_is_given_to_the_group_that_is_named() {
    let dir = directory();
    let arguments = ["--port", "0", "--unixsocket", "s.sock"];
    let unknown = ["--unixsocketgroup", "no-such-group"];
    let mut refused = Bare::run(dir.path(), &[&arguments[..], &unknown].concat(), "", &[]);
    assert!(!refused.ended().success());
    // SAFETY: it takes nothing, and can't fail.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("SKIPPED: only root can give a file away");
        return;
    }
    let server = Bare::start(dir.path(), &["--unixsocketgroup", "daemon"], &[]);
    let group = fs::metadata(&server.socket).expect("it is there").gid();
    let groups = fs::read_to_string("/etc/group").expect("there are groups");
    assert!(
        groups
            .lines()
            .any(|line| line.starts_with("daemon:") && line.contains(&format!(":{group}:")))
    );
}

#[test]
fn a_log_file_lies_in_the_data_directory_and_may_be_moved_away() {
    let (dir, data) = (directory(), directory());
    let place = data.path().to_str().expect("a plain path");
    let server = Bare::run(
        dir.path(),
        &[
            "--dir",
            place,
            "--logfile",
            "my.log",
            "--enable-debug-command",
            "yes",
            "--port",
            "0",
            "--unixsocket",
            dir.path().join("s.sock").to_str().expect("a plain path"),
        ],
        "",
        &[],
    )
    .await_answers();
    let log = data.path().join("my.log");
    eventually("the start is logged", || holds(&log, "Ready to accept"));
    fs::rename(&log, data.path().join("my.log.1")).expect("it can be moved");
    assert_eq!(server.ask("DEBUG LOG after-the-move"), "+OK\r\n+OK\r\n");
    assert!(holds(&log, "after-the-move"));
    assert!(!holds(&data.path().join("my.log.1"), "after-the-move"));
}

#[test]
fn the_level_of_log_lines_can_be_changed() {
    let dir = directory();
    let arguments = ["--logfile", "my.log", "--enable-debug-command", "yes"];
    let server = Bare::start(dir.path(), &arguments, &[]);
    let log = dir.path().join("my.log");
    let logged = |level: &str| {
        assert!(
            server
                .ask(&format!("CONFIG SET loglevel {level}"))
                .starts_with("+OK")
        );
        let before = fs::read(&log).expect("a log").len();
        assert!(server.ask("DEBUG LOG a-warning").starts_with("+OK"));
        let after = fs::read(&log).expect("a log").len();
        after > before
    };
    assert!(logged("notice") && logged("warning"));
    assert!(!logged("nothing"));
    assert!(logged("debug"));
}

#[test]
fn a_configuration_comes_from_standard_input() {
    let dir = directory();
    let input = "port 0\nunixsocket s.sock\ntimeout 77";
    for arguments in [&["-"][..], &["-", "--hz", "20"], &["--hz", "20", "-"]] {
        let mut server = Bare::run(dir.path(), arguments, input, &[]).await_answers();
        assert!(server.ask("CONFIG GET timeout").contains("77"));
        let hz = server.ask("CONFIG GET hz").contains("20");
        assert_eq!(hz, arguments.len() > 1);
        server.terminate();
    }
    fs::write(dir.path().join("my.conf"), "timeout 1\nhz 30\n").expect("a file");
    let server = Bare::run(dir.path(), &["my.conf", "-"], input, &[]).await_answers();
    assert!(server.ask("CONFIG GET timeout").contains("77"));
    assert!(server.ask("CONFIG GET hz").contains("30"));
}

#[test]
fn a_dash_may_be_a_value_and_two_dashes_nothing() {
    let dir = directory();
    let mut server = Bare::start(dir.path(), &["--", "--timeout", "77"], &[]);
    assert!(server.ask("CONFIG GET timeout").contains("77"));
    server.terminate();
    let usual = [
        "--port",
        "0",
        "--unixsocket",
        "s.sock",
        "--syslog-ident",
        "-",
    ];
    let server = Bare::run(dir.path(), &usual, "timeout 77", &[]).await_answers();
    assert!(server.ask("CONFIG GET syslog-ident").contains("\r\n-\r\n"));
}

#[test]
fn systemd_is_told_unless_it_is_not_to_be() {
    let dir = directory();
    let unique = format!("redoubt-{}-{}", std::process::id(), dir.path().display());
    let address = SocketAddr::from_abstract_name(&unique).expect("a name");
    let supervisor = UnixDatagram::bind_addr(&address).expect("it is free");
    let patience = Some(Duration::from_secs(30));
    supervisor.set_read_timeout(patience).expect("a timeout");
    let name = format!("@{unique}");
    let environment = [("NOTIFY_SOCKET", name.as_str())];
    let hear = || {
        let mut buffer = [0; 200];
        let length = supervisor.recv(&mut buffer).expect("something was sent");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    for supervised in [
        &["--supervised", "systemd"][..],
        &["--supervised", "auto"],
        &[],
    ] {
        let mut server = Bare::start(dir.path(), supervised, &environment);
        while hear() != "READY=1\n" {}
        let named = server
            .ask("INFO server")
            .contains("process_supervised:systemd");
        assert_eq!(named, !supervised.is_empty());
        server.terminate();
        assert_eq!(hear(), "STOPPING=1\n");
    }
    Bare::start(dir.path(), &["--supervised", "no"], &environment).terminate();
    supervisor.set_nonblocking(true).expect("it can be");
    let silence = supervisor
        .recv(&mut [0; 200])
        .expect_err("nothing was sent");
    assert_eq!(silence.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn a_rewritten_configuration_leads_to_the_data() {
    let (dir, other) = (directory(), directory());
    let file = dir.path().join("my.conf");
    fs::write(&file, "enable-protected-configs yes\n").expect("a file");
    let mut server = Bare::start(dir.path(), &["my.conf", "--dir", "."], &[]);
    assert!(server.ask("SET key value").starts_with("+OK"));
    let set = format!("CONFIG SET dir {}", other.path().display());
    assert!(server.ask(&set).starts_with("+OK"));
    assert!(server.ask("CONFIG REWRITE").starts_with("+OK"));
    server.terminate();
    let socket = dir.path().join("s.sock");
    let socket = ["--unixsocket", socket.to_str().expect("a plain path")];
    let started = Bare::run(
        dir.path(),
        &[&["my.conf", "--port", "0"], &socket[..]].concat(),
        "",
        &[],
    );
    let server = started.await_answers();
    assert!(server.ask("GET key").contains("value"));
}

#[test]
fn a_policy_that_nobody_named_is_not_written() {
    let dir = directory();
    let file = dir.path().join("my.conf");
    fs::write(&file, "maxmemory 100mb\n").expect("a file");
    let server = Bare::start(dir.path(), &["my.conf"], &[]);
    assert!(server.ask("CONFIG REWRITE").starts_with("+OK"));
    assert!(!holds(&file, "maxmemory-policy"));
    assert!(
        server
            .ask("CONFIG SET maxmemory-policy noeviction")
            .starts_with("+OK")
    );
    assert!(server.ask("CONFIG REWRITE").starts_with("+OK"));
    assert!(holds(&file, "maxmemory-policy noeviction"));
}

#[test]
fn a_server_may_listen_to_no_address() {
    let server = Server::start(&["--unixsocket", "s.sock"]);
    assert_eq!(
        server.client().command(&["CONFIG", "SET", "bind", ""]),
        Reply::ok()
    );
    assert!(support::Client::connect(server.port()).is_err());
    let mut stream = UnixStream::connect(server.dir().join("s.sock")).expect("a socket");
    let address = b"CONFIG SET bind 127.0.0.1\r\nQUIT\r\n";
    stream.write_all(address).expect("the server listens");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert_eq!(answer, "+OK\r\n+OK\r\n");
    assert_eq!(server.client().command(&["DBSIZE"]), Reply::Integer(0));
}
