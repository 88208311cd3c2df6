//! From arguments to a running server, and down again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use redoubt_cluster::bus::Bus;

use super::doorman::{Doorman, Doors};
use super::listener::{bind_tcp, bind_unix};
use super::shutdown::Ends;
use super::{
    background, checkpoint, descriptors, import, keeping, recovery, replication, save, supervisor,
    watch,
};
use crate::config::{Config, Kind, Value, id};
use crate::eviction::VALUES_TO_TREE;
use crate::state::{Server, Storage};
use crate::tracking::Tracking;

/// Whether the configuration asks for log and tree: it does unless
/// `appendonly no` meets `save ""`.
pub fn is_persistent(config: &Config) -> bool {
    let saves = matches!(config.value(id("save")), Value::Save(points) if !points.is_empty());
    config.bool(id("appendonly")) || saves
}

/// Whom a node of a cluster follows is for the cluster to say.
fn refuse_two_masters(config: &Config) -> Result<(), String> {
    let follows = matches!(config.value(id("replicaof")), Value::ReplicaOf(Some(_)));
    match follows && config.bool(id("cluster-enabled")) {
        true => Err("replicaof directive not allowed in cluster mode".into()),
        false => Ok(()),
    }
}

/// Refuses what would be asked for in vain: other servers that lack it don't
/// start either.
fn refuse_what_is_absent(config: &Config) -> Result<(), String> {
    let tls = config.integer(id("tls-port")) != 0
        || config.bool(id("tls-replication"))
        || config.bool(id("tls-cluster"));
    if tls {
        let text = "tls-port, tls-replication and tls-cluster need TLS, which is not there yet";
        return Err(format!("Failed finding TLS support: {text}"));
    }
    if let Some(words) = config.file_only.modules.first() {
        let path = words.first().map(|path| String::from_utf8_lossy(path));
        let path = path.unwrap_or_default();
        return Err(format!(
            "Can't load module from {path}: this server has no modules"
        ));
    }
    let locale = config.string(id("locale-collate"));
    match locale.is_empty() || is_locale(&locale) {
        true => Ok(()),
        false => Err("Failed to configure LOCALE for invalid locale name.".into()),
    }
}

/// Whether the system knows a locale to order strings by. (None is used.)
pub fn is_locale(name: &str) -> bool {
    let Ok(name) = std::ffi::CString::new(name) else {
        return false;
    };
    // SAFETY: the name ends with a zero; what was made is freed, and used by none.
    unsafe {
        let made = libc::newlocale(libc::LC_COLLATE_MASK, name.as_ptr(), std::ptr::null_mut());
        if made.is_null() {
            return false;
        }
        libc::freelocale(made);
    }
    true
}

/// With a limit on memory and a tree, values may leave RAM: the default then.
fn choose_policy(config: &mut Config) {
    let policy = id("maxmemory-policy");
    let limited = config.integer(id("maxmemory")) > 0;
    if !limited || !is_persistent(config) || config.is_given(policy) {
        return;
    }
    if let Kind::Choice(names) = policy.directive().kind {
        let own = names.iter().position(|name| *name == VALUES_TO_TREE);
        config.set_value(policy, Value::Choice(own.expect("it is one of them")));
    }
}

/// How many workers the configuration asks for.
pub fn worker_count(config: &Config) -> usize {
    match config.is_given(id("io-threads")) {
        false => super::affinity::worker_cpus(config),
        true => config.integer(id("io-threads")).max(1) as usize,
    }
}

/// How long a shutdown waits for commands that are under way.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// How long once one of them is known not to end.
const SHORT_PATIENCE: Duration = Duration::from_secs(1);

/// Threads and handles that a shutdown winds up.
struct Running {
    server: &'static Server,
    stop: Arc<AtomicBool>,
    _lock: Option<redoubt_persistence::disk::DirectoryLock>,
}

/// Runs the server in the working directory until it is told to end. The error is for the operator.
pub fn run(mut config: Config, config_file: Option<PathBuf>) -> Result<(), String> {
    let began = Instant::now();
    refuse_two_masters(&config)?;
    refuse_what_is_absent(&config)?;
    crate::commands::table::rename(&config.file_only.renamed_commands);
    let dir = working_directory()?;
    let acl = crate::acl::Acl::from_config(&config)?;
    fit_clients(&mut config);
    let listeners = bind_tcp(&config)?;
    choose_policy(&mut config);
    let node = match config.bool(id("cluster-enabled")) {
        true => Some((
            super::listener::bind_bus(&config)?,
            crate::cluster::Cluster::open(&config)?,
        )),
        false => None,
    };
    let opened = match is_persistent(&config) {
        true => Some(recovery::open(&config, &dir)?),
        false => None,
    };
    // Not before the directory is this server's: the socket may be another's.
    let (unix, socket_file) = bind_unix(&config)?.unzip();
    let count = worker_count(&config);
    let (storage, meta, lock, identity) = match opened {
        Some(opened) => (
            Some(opened.storage),
            Some(opened.meta),
            Some(opened.lock),
            opened.identity,
        ),
        None => (None, None, None, None),
    };
    let tracked = config.integer(id("tracking-table-max-keys"));
    let mut server = Server::new(config, config_file, storage, count);
    (server.acl, server.tracking) = (acl, Tracking::of_at_most(tracked));
    // The server lives as long as the process.
    let bus = node.map(|(listeners, (cluster, queues))| {
        server.cluster = Some(cluster);
        (listeners, queues)
    });
    let server: &'static Server = Box::leak(Box::new(server));
    let doors = Doors::new(listeners, unix, count);
    let doorman = Doorman::begin(server, doors)?;
    tracing::info!("Server initialized");
    let fresh = meta.is_some() && identity.is_none();
    replication::prepare(server, &dir, identity)?;
    if let Some(meta) = &meta {
        let replayed = recovery::replay(server, meta)?;
        recovery::report(server, began, replayed, &dir);
    }
    save::remove_leftovers();
    import::at_start(server)?;
    if let Some((listeners, queues)) = bus {
        crate::cluster::replicate::at_start(server, fresh);
        crate::cluster::keys::check_at_start(server);
        super::bus::start(server, queues, listeners).map_err(|e| format!("can't start: {e}"))?;
    }
    let running = spawn_threads(server, lock, &dir).map_err(|e| format!("can't start: {e}"))?;
    // Before anybody is answered: who is may tell it to end.
    let ends = Ends::listen()?;
    doorman.end()?;
    let files = [write_pid_file(&server.config.read()), socket_file];
    replication::start(server).map_err(|e| format!("can't start: {e}"))?;
    announce(server, &dir, count);
    ends.wait(server);
    let result = running.wind_up();
    replication::clean_up();
    remove(files);
    result
}

/// Removes what is to be there only while the server runs.
fn remove(files: [Option<PathBuf>; 2]) {
    for path in files.into_iter().flatten() {
        let _ = std::fs::remove_file(path);
    }
}

/// Imports a file into the working directory, which holds no data yet, without serving.
pub fn import(config: Config, path: &Path) -> Result<(), String> {
    crate::commands::table::rename(&config.file_only.renamed_commands);
    let dir = working_directory()?;
    if !is_persistent(&config) {
        return Err("an import needs a place for the data: appendonly or save".into());
    }
    let source = import::source_at(path)?;
    let opened = recovery::open(&config, &dir)?;
    let server = Server::new(config, None, Some(opened.storage), 1);
    let server: &'static Server = Box::leak(Box::new(server));
    recovery::replay(server, &opened.meta)?;
    if !import::is_new(server) {
        return Err(format!("{} holds data already", dir.display()));
    }
    import::import(server, &source, None)?;
    if let Some(log) = server.log() {
        log.close()
            .map_err(|e| format!("the log could not be closed: {e}"))?;
    }
    tracing::info!("Imported into {}", dir.display());
    Ok(())
}

/// Makes `dir` the working directory, as a Redis server does, and its absolute
/// path the directive's value.
pub fn enter_directory(config: &mut Config) -> Result<(), String> {
    let wanted = config.string(id("dir")).into_owned();
    let path = match wanted.is_empty() {
        true => Path::new("."),
        false => Path::new(&wanted),
    };
    let dir = std::fs::canonicalize(path).map_err(|e| format!("Can't chdir to '{wanted}': {e}"))?;
    std::env::set_current_dir(&dir).map_err(|e| format!("Can't chdir to '{wanted}': {e}"))?;
    config.set_value(
        id("dir"),
        Value::Text(dir.to_string_lossy().into_owned().into_bytes()),
    );
    Ok(())
}

fn working_directory() -> Result<PathBuf, String> {
    std::env::current_dir().map_err(|e| format!("the working directory is gone: {e}"))
}

/// Lets there be no more clients than there are descriptors for.
fn fit_clients(config: &mut Config) {
    let asked = config.integer(id("maxclients"));
    let Some(room) = descriptors::make_room(asked, worker_count(config)) else {
        return;
    };
    if room.clients < asked {
        tracing::warn!(
            "You requested maxclients of {asked} requiring at least {} max file descriptors. Current maximum open files is {}. maxclients has been reduced to {} to compensate for low ulimit. If you need higher maxclients increase 'ulimit -n'.",
            room.needed,
            room.limit,
            room.clients
        );
        config.set_value(id("maxclients"), Value::Integer(room.clients));
    }
}

/// Has each write and sync of a log that is kept wake those who feed replicas,
/// and under `always` the replies that wait for it.
pub fn wake_on_sync(server: &'static Server, storage: &'static Storage) {
    storage.log.on_synced(Box::new(move |_| {
        server.replication.log_bell.ring();
        if server.log_in_trouble() {
            watch::watch_log(server, storage);
        }
        if storage.log.failure().is_some() || storage.log.is_stalled() {
            server.durable.alarm();
        } else {
            server.durable.ring();
        }
    }));
}

fn spawn_threads(
    server: &'static Server,
    lock: Option<redoubt_persistence::disk::DirectoryLock>,
    dir: &Path,
) -> std::io::Result<Running> {
    let stop = Arc::new(AtomicBool::new(false));
    let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
        std::thread::Builder::new().name(name.into()).spawn(body)
    };
    spawn("rdb-save", Box::new(move || save::run(server)))?;
    let (theirs, stopped) = (server, stop.clone());
    spawn(
        "expiry",
        Box::new(move || background::expire(theirs, &stopped)),
    )?;
    let (theirs, stopped) = (server, stop.clone());
    spawn(
        "warming",
        Box::new(move || background::warm(theirs, &stopped)),
    )?;
    if let Some(storage) = server.storage() {
        wake_on_sync(server, storage);
        checkpoint::start(server, storage)?;
        watch::start(server, storage, dir)?;
    }
    Ok(Running {
        server,
        stop,
        _lock: lock,
    })
}

fn announce(server: &Server, dir: &Path, workers: usize) {
    let config = server.config.read();
    let port = config.integer(id("port"));
    let what = if server.storage().is_some() {
        "data in"
    } else {
        "a pure cache, nothing stored in"
    };
    tracing::info!("{workers} workers, {what} {}", dir.display());
    tracing::info!("Connect with: redis-cli -p {port}");
    tracing::info!("Ready to accept connections tcp");
    supervisor::tell_ready(&config);
}

/// Writes `pidfile`, if there is one to write.
fn write_pid_file(config: &Config) -> Option<PathBuf> {
    let named = config.string(id("pidfile")).into_owned();
    let path = match (named.is_empty(), config.bool(id("daemonize"))) {
        (false, _) => PathBuf::from(named),
        (true, true) => PathBuf::from("/var/run/redoubt.pid"),
        (true, false) => return None,
    };
    match std::fs::write(&path, format!("{}\n", std::process::id())) {
        Ok(()) => Some(path),
        Err(error) => {
            tracing::warn!("can't write {}: {error}", path.display());
            None
        }
    }
}

impl Running {
    /// Makes everything durable, in every mode.
    fn wind_up(self) -> Result<(), String> {
        supervisor::tell_ending(&self.server.config.read());
        let asked = self.server.shutdown.pending();
        let clean = asked.is_none_or(|(_, request)| request.clean);
        self.stop.store(true, Ordering::Relaxed);
        keeping::end(self.server, clean);
        if let Some(cluster) = &self.server.cluster {
            cluster.order(Bus::save_config);
        }
        self.server.saves.shut_down();
        // A command that is under way may end first; one that does not is hardly
        // waited for again.
        let keyspace = &self.server.keyspace;
        let held = keyspace.try_lock_all(LOCK_PATIENCE);
        let (patience, clean) = match held {
            Some(_) => (LOCK_PATIENCE, clean),
            None => (SHORT_PATIENCE, false),
        };
        if let Some(storage) = self.server.storage() {
            let end = storage.log.end();
            let synced = storage.log.sync_to(end);
            drop(held);
            // After a failure of the log this stores everything in the tree.
            let checkpoints = &storage.checkpoints;
            checkpoints.stop(clean, || keyspace.try_lock_all(patience).is_none());
            if let (Err(error), Some(_)) = (synced, storage.log.failure()) {
                return Err(format!("the log could not be synced: {error}"));
            }
            // From here on nothing is logged any more, so nothing may be
            // acknowledged: the stripes stay locked until the end, and what a
            // command does that has one of them is not told.
            std::mem::forget(keyspace.try_lock_all(patience));
            self.server.closing.store(true, Ordering::Release);
            storage
                .log
                .close()
                .map_err(|e| format!("the log could not be closed: {e}"))?;
        }
        tracing::info!("Redoubt is now ready to exit, bye bye...");
        Ok(())
    }
}
