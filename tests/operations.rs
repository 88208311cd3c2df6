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

/// The last log line of a server that was told to log `hello "you"`.
fn hello(server: &Bare, log: &Path) -> String {
    let told = server.ask("DEBUG LOG 'hello \"you\"'");
    assert!(told.starts_with("+OK"), "{told}");
    let lines = fs::read_to_string(log).expect("a log");
    let said = lines.lines().rfind(|line| line.contains("hello"));
    said.expect("the line").to_owned()
}

#[test]
fn log_lines_have_the_form_that_was_asked_for() {
    let dir = directory();
    let arguments = ["--logfile", "log", "--enable-debug-command", "yes"];
    let server = Bare::start(dir.path(), &arguments, &[("TZ", "XXX-5:30")]);
    let (pid, log) = (server.child.id(), dir.path().join("log"));
    let set = |directive: &str, value: &str| {
        let answer = server.ask(&format!("CONFIG SET {directive} {value}"));
        assert!(answer.starts_with("+OK"), "{answer}");
    };
    // 24 Nov 2026 17:27:45.033, whatever the time is.
    let line = hello(&server, &log);
    let words: Vec<&str> = line.split(' ').collect();
    assert_eq!(words[0], format!("{pid}:M"));
    assert_eq!(
        words[1..5]
            .iter()
            .map(|word| word.len())
            .collect::<Vec<_>>(),
        [2, 3, 4, 12]
    );
    assert_eq!(words[5..].join(" "), "# DEBUG LOG: hello \"you\"");
    set("log-timestamp-format", "iso8601");
    let line = hello(&server, &log);
    let time = line.split(' ').nth(1).expect("a time");
    assert_eq!(time.len(), "2026-11-24T17:27:45.033+05:30".len());
    assert!(time.ends_with("+05:30"), "{time}");
    set("log-timestamp-format", "milliseconds");
    set("log-format", "logfmt");
    let line = hello(&server, &log);
    let (head, rest) = line.split_once(" timestamp=\"").expect("a time");
    let (time, rest) = rest.split_once('"').expect("its end");
    assert_eq!(head, format!("pid={pid} role=primary"));
    assert!(
        time.parse::<u64>()
            .is_ok_and(|time| time > 1_700_000_000_000)
    );
    assert_eq!(rest, " level=warning message=\"DEBUG LOG: hello 'you'\"");
    set("log-format", "json");
    assert!(server.ask("REPLICAOF 127.0.0.1 1").starts_with("+OK"));
    let line = hello(&server, &log);
    let head = format!("{{\"pid\":{pid},\"role\":\"replica\",\"timestamp\":\"");
    let end = ",\"level\":\"warning\",\"message\":\"DEBUG LOG: hello \\\"you\\\"\"}";
    assert!(line.starts_with(&head) && line.ends_with(end), "{line}");
}

#[test]
fn the_systems_log_gets_the_lines_too() {
    let dir = directory();
    let devices = directory();
    let log = UnixDatagram::bind(devices.path().join("log")).expect("a socket");
    let patience = Some(Duration::from_secs(30));
    log.set_read_timeout(patience).expect("a timeout fits");
    // A /dev of its own, with nothing but the log's socket.
    let script = "mount --bind \"$0\" /dev && exec \"$@\"";
    let program = std::env::var_os("REDOUBT_SERVER").map_or_else(
        || env!("CARGO_BIN_EXE_redoubt-server").into(),
        PathBuf::from,
    );
    let mut child = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", script])
        .arg(devices.path())
        .arg(program)
        .args([
            "--port",
            "0",
            "--unixsocket",
            "s.sock",
            "--syslog-enabled",
            "yes",
        ])
        .args(["--syslog-ident", "fort", "--syslog-facility", "local3"])
        .current_dir(dir.path())
        .stdout(Stdio::null())
        .spawn()
        .expect("unshare can be run");
    let pid = child.id();
    let mut heard = String::new();
    let mut buffer = [0; 1000];
    while !heard.contains("Ready to accept connections") {
        let length = log.recv(&mut buffer).expect("it goes on");
        heard.push_str(&String::from_utf8_lossy(&buffer[..length]));
        heard.push('\n');
    }
    let _ = child.kill();
    let _ = child.wait();
    // Local use 3, notice. Source: RFC 3164.
    let priority = 19 * 8 + 5;
    for line in heard.lines() {
        let is_ours = line.contains(&format!(" fort[{pid}]: "));
        assert!(
            line.starts_with(&format!("<{priority}>")) && is_ours,
            "{line}"
        );
    }
}

#[test]
fn the_kernel_is_told_whom_to_kill_first() {
    let own = |pid: &str| {
        let score = fs::read_to_string(format!("/proc/{pid}/oom_score_adj"));
        let score = score.expect("a process has a score");
        score.trim().parse::<i32>().expect("a number")
    };
    let dir = directory();
    let scores = [
        "--oom-score-adj",
        "absolute",
        "--oom-score-adj-values",
        "901 902 903",
    ];
    let server = Bare::start(dir.path(), &scores, &[]);
    let score = || own(&server.child.id().to_string());
    assert_eq!(score(), 901);
    let ask = |line: &str| assert!(server.ask(line).starts_with("+OK"), "{line}");
    ask("REPLICAOF 127.0.0.1 1");
    assert_eq!(score(), 902);
    ask("CONFIG SET oom-score-adj-values '3 4 5' oom-score-adj relative");
    assert_eq!(score(), own("self") + 4);
    ask("REPLICAOF NO ONE");
    assert_eq!(score(), own("self") + 3);
    ask("CONFIG SET oom-score-adj no");
    assert_eq!(score(), own("self"));
    ask("REPLICAOF 127.0.0.1 1");
    assert_eq!(score(), own("self"));
}

#[test]
fn other_servers_are_reached_from_the_address_that_was_given() {
    let primary = Server::start(&[]);
    let port = primary.port().to_string();
    let replica = Server::start(&["--bind-source-addr", "127.0.0.3"]);
    let mut client = replica.client();
    let address_of_replica = || {
        let text = primary.client().command(&["INFO", "replication"]);
        let Reply::Bulk(text) = text else {
            return String::new();
        };
        let text = String::from_utf8_lossy(&text).into_owned();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("slave0:ip="));
        line.and_then(|line| line.split(',').next())
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(
        client.command(&["REPLICAOF", "127.0.0.1", &port]),
        Reply::ok()
    );
    eventually("the replica comes from there", || {
        address_of_replica() == "127.0.0.3"
    });
    // Where that can't be it comes from anywhere.
    let set = ["CONFIG", "SET", "bind-source-addr", "192.0.2.1"];
    assert_eq!(client.command(&set), Reply::ok());
    assert_eq!(client.command(&["REPLICAOF", "NO", "ONE"]), Reply::ok());
    assert_eq!(
        client.command(&["REPLICAOF", "127.0.0.1", &port]),
        Reply::ok()
    );
    eventually("the replica comes all the same", || {
        address_of_replica() == "127.0.0.1"
    });
}

#[test]
fn threads_run_on_the_processors_that_are_listed() {
    let allowed = |status: &Path| {
        let text = fs::read_to_string(status).expect("a status");
        let mut lines = text.lines();
        let list = lines.find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        list.expect("a list").trim().to_owned()
    };
    let own = allowed(Path::new("/proc/self/status"));
    let ends: Vec<&str> = own.split([',', '-']).collect();
    let (first, last) = (ends[0], ends[ends.len() - 1]);
    let dir = directory();
    let lists = ["--server-cpulist", last, "--bio-cpulist", first];
    let mut server = Bare::start(dir.path(), &lists, &[]);
    let threads = |server: &Bare| {
        let tasks = fs::read_dir(format!("/proc/{}/task", server.child.id()));
        let tasks = tasks
            .expect("threads")
            .map(|task| task.expect("one").path());
        let name = |task: &Path| fs::read_to_string(task.join("comm")).expect("a name");
        let threads = tasks.map(|task| (name(&task), allowed(&task.join("status"))));
        threads.collect::<Vec<_>>()
    };
    let found = threads(&server);
    assert_eq!(
        found
            .iter()
            .filter(|(name, _)| name.starts_with("worker-"))
            .count(),
        1
    );
    for (name, cpus) in found {
        let wanted = if name.starts_with("worker-") {
            last
        } else {
            first
        };
        assert_eq!(cpus, wanted, "{name}");
    }
    server.terminate();
    // Those that are not listed are where the process was.
    let server = Bare::start(dir.path(), &["--bio-cpulist", first], &[]);
    for (name, cpus) in threads(&server) {
        let wanted = if name.starts_with("worker-") {
            own.as_str()
        } else {
            first
        };
        assert_eq!(cpus, wanted, "{name}");
    }
}

/// Programs that start servers go by what follows the first ` v=`.
#[test]
fn the_version_option_names_the_version_that_info_gives() {
    let program = std::env::var_os("REDOUBT_SERVER").map_or_else(
        || env!("CARGO_BIN_EXE_redoubt-server").into(),
        std::path::PathBuf::from,
    );
    let mut versions: Vec<String> = Vec::new();
    for option in ["--version", "-v"] {
        let output = std::process::Command::new(&program).arg(option).output();
        let line = String::from_utf8(output.unwrap().stdout).unwrap();
        let (_, version) = line.split_once(" v=").unwrap();
        versions.push(version.split_whitespace().next().unwrap().to_string());
    }
    let server = Server::start(&[]);
    let info = server.client().command(&["INFO", "server"]).text().unwrap();
    let said = info
        .lines()
        .find_map(|line| line.strip_prefix("redis_version:"))
        .unwrap();
    assert_eq!(versions, [said.trim(), said.trim()]);
}
