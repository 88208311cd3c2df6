//! What scenarios of atomic slot migrations ask of a node, and what stands between two.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use super::cluster::Node;
use super::{Reply, eventually};

/// What these scenarios ask of a node.
pub trait Mover {
    fn owns(&self, slot: &str) -> bool;
    fn states(&self) -> Vec<String>;
    fn migrate(&self, slot: &str, target: &Node);
}

impl Mover for Node {
    fn owns(&self, slot: &str) -> bool {
        let reply = self.ask(&["CLUSTER", "NODES"]);
        let nodes = reply.text().expect("a text");
        let mine = nodes.lines().find(|line| line.contains("myself"));
        let slot: u16 = slot.parse().expect("a number");
        mine.unwrap_or_default().split(' ').skip(8).any(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last) = (first.parse::<u16>(), last.parse::<u16>());
            first.is_ok_and(|first| first <= slot) && last.is_ok_and(|last| slot <= last)
        })
    }

    /// The states of its migrations, newest first.
    fn states(&self) -> Vec<String> {
        let Reply::Array(jobs) = self.ask(&["CLUSTER", "GETSLOTMIGRATIONS"]) else {
            panic!("no array");
        };
        let state = |job: &Reply| {
            let Reply::Array(fields) = job else {
                panic!("no map")
            };
            let at = fields.iter().position(|f| *f == Reply::bulk("state"));
            let state = fields[at.expect("a state") + 1].text();
            state.expect("a text")
        };
        jobs.iter().map(state).collect()
    }

    fn migrate(&self, slot: &str, target: &Node) {
        let order = ["CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE"];
        let mut words = order.to_vec();
        let id = target.id();
        words.push(&id);
        assert_eq!(self.ask(&words), Reply::ok());
    }
}

/// Stands between a source and its target, and holds back one message of the source.
pub struct Between {
    pub port: u16,
    pub target: Arc<AtomicU16>,
    /// The message has come.
    pub held: Arc<AtomicBool>,
    /// It may pass.
    pub free: Arc<AtomicBool>,
}

impl Between {
    pub fn start(message: &'static str) -> Between {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port can be bound");
        let between = Between {
            port: listener.local_addr().expect("it is bound").port(),
            target: Arc::default(),
            held: Arc::default(),
            free: Arc::default(),
        };
        let (held, free) = (between.held.clone(), between.free.clone());
        let target = between.target.clone();
        std::thread::spawn(move || {
            for source in listener.incoming().map_while(Result::ok) {
                let target = ("127.0.0.1", target.load(Ordering::Relaxed));
                let Ok(target) = TcpStream::connect(target) else {
                    continue;
                };
                let back = (target.try_clone(), source.try_clone());
                let (Ok(from), Ok(to)) = back else { return };
                std::thread::spawn(move || pass(from, to, |_| {}));
                let (held, free) = (held.clone(), free.clone());
                let hold = move |bytes: &[u8]| {
                    if String::from_utf8_lossy(bytes).contains(message) {
                        held.store(true, Ordering::Relaxed);
                        eventually("it may pass", || free.load(Ordering::Relaxed));
                    }
                };
                std::thread::spawn(move || pass(source, target, hold));
            }
        });
        between
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, before: impl Fn(&[u8])) {
    let mut bytes = [0; 4096];
    while let Ok(count) = from.read(&mut bytes) {
        before(&bytes[..count]);
        if count == 0 || to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}
