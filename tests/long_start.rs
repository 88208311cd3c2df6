//! What clients see while a server starts, if that takes long, and across the end of it.
//!
//! The start is as long as the test wants: what is imported comes through a pipe.

mod support;

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread::{Scope, ScopedJoinHandle, scope};

use support::{Client, Reply, Server, encode, eventually};

const KEEPING: [&str; 4] = ["--appendonly", "yes", "--enable-debug-command", "yes"];

fn run(client: &mut Client, line: &str) -> Reply {
    client.command(&line.split(' ').collect::<Vec<_>>())
}

fn assert_ok(client: &mut Client, line: &str) {
    assert_eq!(run(client, line), Reply::ok(), "{line}");
}

fn assert_refused(client: &mut Client, line: &str) {
    let reply = run(client, line);
    assert_eq!(reply.error_code(), Some("LOADING"), "{line}: {reply:?}");
}

/// A connection as soon as there is one to be had.
fn connect(port: u16) -> Client {
    let mut connected = None;
    eventually("it listens", || {
        connected = Client::connect(port).ok();
        connected.is_some()
    });
    connected.expect("it is")
}

/// An append-only file that is a pipe, in the directory of a server that does not run.
fn lay_pipe(dir: &Path) -> PathBuf {
    let files = dir.join("appendonlydir");
    fs::create_dir(&files).expect("a directory can be made");
    let manifest = "file appendonly.aof.1.incr.aof seq 1 type i\n";
    fs::write(files.join("appendonly.aof.manifest"), manifest).expect("a file can be written");
    let pipe = files.join("appendonly.aof.1.incr.aof");
    let path = CString::new(pipe.as_os_str().as_bytes()).expect("no zero is in it");
    // SAFETY: the path ends with a zero.
    let made = unsafe { libc::mkfifo(path.as_ptr(), 0o600) };
    assert_eq!(made, 0, "a pipe can be made");
    pipe
}

/// A server that starts for as long as this lives, and imports `SET imported 1`.
struct Start<'s> {
    pipe: File,
    restart: ScopedJoinHandle<'s, String>,
}

impl<'s> Start<'s> {
    /// `ends`: the server is going to end before it is ready.
    fn begin<'e>(scope: &'s Scope<'s, 'e>, server: &'s mut Server, ends: bool) -> Start<'s> {
        server.kill();
        let path = lay_pipe(server.dir());
        // For both, or it would be waited for a reader.
        let pipe = OpenOptions::new().read(true).write(true).open(path);
        let mut pipe = pipe.expect("it opens");
        // So much is read to tell what kind of a file it is.
        pipe.write_all(b"#aaaa\n").expect("there is room");
        let restart = scope.spawn(move || match ends {
            true => server.restart_refused(),
            false => {
                server.restart();
                String::new()
            }
        });
        Start { pipe, restart }
    }

    /// Lets the server have the rest, and waits until it serves.
    fn end(mut self) {
        let rest = encode(&["SET", "imported", "1"]);
        self.pipe.write_all(&rest).expect("there is room");
        drop(self.pipe);
        self.restart.join().expect("the server starts");
    }
}

#[test]
fn a_client_that_reads_nothing_does_not_hold_up_the_start() {
    let mut server = Server::start(&KEEPING);
    let port = server.port();
    scope(|scope| {
        let start = Start::begin(scope, &mut server, false);
        let mut client = connect(port);
        assert_refused(&mut client, "GET key");
        let mut silent = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        let kept = silent.try_clone().expect("a socket clones");
        // The answers are more than sockets have room for; it ends with the server at the latest.
        std::thread::spawn(move || silent.write_all(&b"INFO\r\n".repeat(200_000)));
        for _ in 0..2000 {
            assert_refused(&mut client, "GET key");
        }
        start.end();
        assert_eq!(run(&mut client, "GET imported"), Reply::bulk("1"));
        drop(kept);
    });
}

#[test]
fn what_a_client_says_of_itself_during_a_start_holds_after_it() {
    let mut server = Server::start(&KEEPING);
    let port = server.port();
    scope(|scope| {
        let start = Start::begin(scope, &mut server, false);
        let mut elsewhere = connect(port);
        assert_ok(&mut elsewhere, "SELECT 5");
        assert_ok(&mut elsewhere, "CLIENT SETNAME me");
        assert_refused(&mut elsewhere, "SET mine 1");
        let mut modern = connect(port);
        let hello = run(&mut modern, "HELLO 3");
        assert!(matches!(hello, Reply::Map(_)), "{hello:?}");
        let mut listener = connect(port);
        let told = run(&mut listener, "SUBSCRIBE news");
        assert!(matches!(told, Reply::Array(_)), "{told:?}");
        start.end();
        assert_ok(&mut elsewhere, "SET mine 1");
        assert_eq!(run(&mut elsewhere, "CLIENT GETNAME"), Reply::bulk("me"));
        let mut other = connect(port);
        assert_eq!(run(&mut other, "EXISTS mine"), Reply::Integer(0));
        assert_ok(&mut other, "SELECT 5");
        assert_eq!(run(&mut other, "EXISTS mine"), Reply::Integer(1));
        assert_eq!(run(&mut modern, "GET nothing"), Reply::Null);
        let config = run(&mut modern, "CONFIG GET port");
        assert!(matches!(config, Reply::Map(_)), "{config:?}");
        assert_eq!(run(&mut other, "PUBLISH news x"), Reply::Integer(1));
        let words = ["message", "news", "x"].map(Reply::bulk);
        assert_eq!(listener.read(), Reply::Array(words.to_vec()));
    });
}

#[test]
fn a_transaction_across_the_end_of_a_start_runs_as_a_whole_or_not_at_all() {
    let mut server = Server::start(&KEEPING);
    let port = server.port();
    let queued = Reply::Simple("QUEUED".into());
    scope(|scope| {
        let start = Start::begin(scope, &mut server, false);
        let [mut whole, mut torn, mut watching] = [(); 3].map(|()| connect(port));
        assert_ok(&mut whole, "MULTI");
        assert_ok(&mut torn, "MULTI");
        assert_refused(&mut torn, "INCR torn");
        assert_ok(&mut watching, "WATCH imported");
        // This one ends before the start does.
        let mut early = connect(port);
        assert_ok(&mut early, "MULTI");
        assert_eq!(run(&mut early, "ECHO a"), queued);
        let echoed = Reply::Array(vec![Reply::bulk("a")]);
        assert_eq!(run(&mut early, "EXEC"), echoed);
        start.end();
        assert_eq!(run(&mut whole, "INCR whole"), queued);
        assert_eq!(run(&mut whole, "INCR whole"), queued);
        let both = vec![Reply::Integer(1), Reply::Integer(2)];
        assert_eq!(run(&mut whole, "EXEC"), Reply::Array(both));
        assert_eq!(run(&mut torn, "INCR torn"), queued);
        let reply = run(&mut torn, "EXEC");
        assert_eq!(reply.error_code(), Some("EXECABORT"), "{reply:?}");
        assert_eq!(run(&mut torn, "EXISTS torn"), Reply::Integer(0));
        // The key was imported after it had begun to watch.
        assert_ok(&mut watching, "MULTI");
        assert_eq!(run(&mut watching, "INCR imported"), queued);
        assert_eq!(run(&mut watching, "EXEC"), Reply::Null);
        assert_eq!(run(&mut watching, "GET imported"), Reply::bulk("1"));
    });
}

#[test]
fn a_start_is_told_of_to_those_who_know_the_password() {
    let mut server = Server::start(&KEEPING);
    server.set_directives(&[&KEEPING[..], &["--requirepass", "secret"]].concat());
    let port = server.port();
    scope(|scope| {
        let start = Start::begin(scope, &mut server, false);
        let mut client = connect(port);
        for line in ["INFO", "PING", "GET key", "SELECT 1", "SHUTDOWN"] {
            let reply = run(&mut client, line);
            assert_eq!(reply.error_code(), Some("NOAUTH"), "{line}: {reply:?}");
        }
        let reply = run(&mut client, "AUTH guess");
        assert_eq!(reply.error_code(), Some("WRONGPASS"), "{reply:?}");
        assert_ok(&mut client, "AUTH secret");
        let info = run(&mut client, "INFO persistence").text();
        assert!(info.is_some_and(|text| text.contains("\nloading:1\r\n")));
        for line in [
            "PING",
            "GET key",
            "CONFIG SET maxmemory 1",
            "CONFIG REWRITE",
            "DEBUG SLEEP 0",
            "PUBLISH news x",
            "REPLICAOF NO ONE",
            "SYNC",
            "FLUSHALL",
            "BGSAVE",
            "CLIENT PAUSE 1000000",
        ] {
            assert_refused(&mut client, line);
        }
        start.end();
        assert_eq!(run(&mut client, "GET imported"), Reply::bulk("1"));
        let info = run(&mut client, "INFO persistence").text();
        assert!(info.is_some_and(|text| text.contains("\nloading:0\r\n")));
    });
}

#[test]
fn half_a_request_during_a_start_is_completed_after_it() {
    let mut server = Server::start(&KEEPING);
    let port = server.port();
    scope(|scope| {
        let start = Start::begin(scope, &mut server, false);
        let mut client = connect(port);
        assert_refused(&mut client, "GET key");
        let large = "z".repeat(2_000_000);
        let reply = client.command(&["SET", "large", &large]);
        assert_eq!(reply.error_code(), Some("LOADING"), "{reply:?}");
        let request = encode(&["SET", "half", "abcde"]);
        let (before, after) = request.split_at(request.len() - 5);
        client.send(before);
        start.end();
        client.send(after);
        assert_eq!(client.read(), Reply::ok());
        assert_eq!(run(&mut client, "GET half"), Reply::bulk("abcde"));
    });
}

#[test]
fn shutdown_ends_a_start_and_the_next_one_has_everything() {
    let mut server = Server::start(&KEEPING);
    let port = server.port();
    let output = scope(|scope| {
        let start = Start::begin(scope, &mut server, true);
        let mut client = connect(port);
        let reply = run(&mut client, "SHUTDOWN ABORT");
        assert_eq!(reply.error_code(), Some("ERR"), "{reply:?}");
        client.send(&encode(&["SHUTDOWN"]));
        let rest = client.read_to_close().expect("it closes");
        assert_eq!(String::from_utf8_lossy(&rest), "");
        start.restart.join().expect("it ends")
    });
    assert!(output.contains("User requested shutdown"), "{output}");
    let file = "appendonlydir/appendonly.aof.1.incr.aof";
    let file = server.dir().join(file);
    fs::remove_file(&file).expect("it is there");
    fs::write(&file, encode(&["SET", "imported", "1"])).expect("a file can be written");
    server.restart();
    assert_eq!(run(&mut server.client(), "GET imported"), Reply::bulk("1"));
}
