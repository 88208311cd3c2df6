//! The servers of a run, and one epoch of it: from empty keyspaces through random commands to a
//! restart and a look at the replica.

use super::duel::{Duel, Mismatch};
use super::generator::Generator;
use super::keyspace::{self, Keyspace};
use super::random::Random;
use super::steps;
use super::support::{Client, Peer, Reply, Server};

/// Our server, our replica of it, and the peer.
pub struct Arena {
    ours: Server,
    replica: Option<Server>,
    theirs: Server,
    /// The connections of the current epoch.
    pub duel: Duel,
    settings: Settings,
}

/// What is different from epoch to epoch.
#[derive(Debug, Clone)]
struct Settings {
    resp: &'static str,
    directives: Vec<(&'static str, String)>,
    events: bool,
}

impl Settings {
    fn draw(random: &mut Random) -> Settings {
        let mut directives = Vec::new();
        let names = [
            "hash-max-listpack-entries",
            "set-max-listpack-entries",
            "set-max-intset-entries",
            "zset-max-listpack-entries",
            "stream-node-max-entries",
        ];
        for name in names {
            directives.push((name, random.choose(&["3", "8", "128"]).to_string()));
        }
        for name in [
            "hash-max-listpack-value",
            "set-max-listpack-value",
            "zset-max-listpack-value",
        ] {
            directives.push((name, random.choose(&["8", "64"]).to_string()));
        }
        let lists = random.choose(&["-2", "4", "128"]).to_string();
        directives.push(("list-max-listpack-size", lists));
        Settings {
            resp: ["2", "3"][random.below(2)],
            directives,
            events: random.percent(30),
        }
    }
}

/// Functions that FCALL finds.
const LIBRARY: &str = "#!lua name=liba\n\
    redis.register_function('fa', function(keys, args) return {keys, args} end)\n\
    redis.register_function('fb', function(keys, args) return redis.call('INCR', keys[1]) end)\n\
    redis.register_function{function_name='fro', flags={'no-writes'}, \
    callback=function(keys, args) return redis.call('TYPE', keys[1]) end}";

impl Arena {
    /// Starts the servers.
    pub fn start(with_replica: bool) -> Arena {
        let ours = Server::start(&["--enable-debug-command", "yes"]);
        let theirs = Server::start_peer(
            Peer::Valkey,
            &["--save", "", "--enable-debug-command", "yes"],
        );
        let port = ours.port().to_string();
        let follow = ["--replicaof", "127.0.0.1", &port];
        Arena {
            replica: with_replica.then(|| Server::start(&follow)),
            duel: Duel::new(ours.client(), theirs.client()),
            settings: Settings::draw(&mut Random::new(0)),
            ours,
            theirs,
        }
    }

    /// Empties both servers and connects anew.
    pub fn reset(&mut self) {
        let drift_ms = self.duel.drift_ms;
        self.duel = Duel::new(self.ours.client(), self.theirs.client());
        self.duel.drift_ms = drift_ms;
        for client in [&mut self.duel.ours, &mut self.duel.theirs] {
            for command in [
                "FLUSHALL",
                "SCRIPT FLUSH",
                "FUNCTION FLUSH",
                "CONFIG RESETSTAT",
            ] {
                let words: Vec<&str> = command.split(' ').collect();
                client.command(&words);
            }
            for (name, value) in &self.settings.directives {
                assert_eq!(client.command(&["CONFIG", "SET", name, value]), Reply::ok());
            }
            let events = if self.settings.events { "EAn" } else { "" };
            client.command(&["CONFIG", "SET", "notify-keyspace-events", events]);
            client.command(&["FUNCTION", "LOAD", LIBRARY]);
            client.command(&["HELLO", self.settings.resp]);
        }
        if self.settings.events {
            self.duel.listeners = Some([&self.ours, &self.theirs].map(|server| {
                let mut listener = server.client();
                listener.command(&["PSUBSCRIBE", "__key*", "end of batch"]);
                listener.read();
                listener
            }));
        }
    }

    /// Both keyspaces.
    pub fn keyspaces(&mut self) -> (Keyspace, Keyspace) {
        let read = |server: &Server| keyspace::read(&mut server.client());
        (read(&self.ours), read(&self.theirs))
    }

    fn compare_keyspaces(&mut self) -> Result<(), Mismatch> {
        let (ours, theirs) = self.keyspaces();
        keyspace::compare(&ours, &theirs, self.duel.drift_ms)
    }

    /// An epoch of about so many commands; gives how many there were.
    pub fn epoch(
        &mut self,
        generator: &Generator,
        seed: u64,
        commands: usize,
    ) -> Result<usize, Mismatch> {
        let mut random = Random::new(seed);
        self.settings = Settings::draw(&mut random);
        self.reset();
        let mut done = 0;
        let mut compared = 0;
        while done < commands {
            let wanted = 1 + random.below(300);
            let mut batch = Vec::new();
            while batch.len() < wanted {
                generator.draw(&mut random, &mut batch);
            }
            self.duel.run(&batch)?;
            done += batch.len();
            if random.percent(10) {
                steps::any(&mut self.duel, &mut random)?;
            }
            if done - compared > 5000 {
                compared = done;
                self.compare_keyspaces()?;
            }
        }
        self.compare_keyspaces()?;
        self.compare_replica()?;
        self.restart(random.percent(50))?;
        Ok(done)
    }

    /// Ends our server, starts it again, and compares.
    fn restart(&mut self, kill: bool) -> Result<(), Mismatch> {
        if kill {
            // What was acknowledged but not synced may be gone.
            let synced = self.ours.client().command(&["WAITAOF", "1", "0", "0"]);
            assert!(matches!(synced, Reply::Array(_)), "{synced:?}");
            self.ours.kill();
        } else {
            self.ours.terminate();
        }
        self.ours.restart();
        self.compare_keyspaces()
    }

    fn compare_replica(&mut self) -> Result<(), Mismatch> {
        let Some(replica) = &self.replica else {
            return Ok(());
        };
        let mut client = self.ours.client();
        super::support::eventually("the replica has all", || {
            client.command(&["WAIT", "1", "1000"]) == Reply::Integer(1)
                && offset(&mut replica.client()) == offset(&mut client)
        });
        let ours = keyspace::read(&mut replica.client());
        let theirs = keyspace::read(&mut self.theirs.client());
        keyspace::compare(&ours, &theirs, self.duel.drift_ms)
    }
}

/// What INFO says of the replication stream's end.
fn offset(client: &mut Client) -> Option<String> {
    let info = client.command(&["INFO", "replication"]).text()?;
    let mut lines = info.lines();
    let line = lines.find(|line| line.starts_with("master_repl_offset:"))?;
    Some(line.to_owned())
}
