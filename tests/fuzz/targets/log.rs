//! Recovery of the log: with its files damaged in any way it opens or says why not, and what it
//! gives back was once appended (I7).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use redoubt_persistence::disk::{Disk, SimulatedDisk};
use redoubt_persistence::log::{Log, LogError, LogOptions, Offset, SyncPolicy, Term};

use crate::campaign::Target;
use crate::mutator::{Random, mutate};

const DIR: &str = "/data/log";
const START: u64 = 1000;

/// A log's files, by name, and its payload.
struct Image {
    files: Vec<(PathBuf, Vec<u8>)>,
    payload: Vec<u8>,
}

/// The input is a damaged file. Which of a log's files it takes the place of, and in which log,
/// is drawn for each input.
pub fn target() -> Target {
    let images: Vec<Image> = [
        (SyncPolicy::Always, 40, 200, true),
        (SyncPolicy::Always, 40, 200, false),
        (SyncPolicy::EverySec, 12, 90, true),
        (SyncPolicy::No, 3, 3000, false),
    ]
    .map(|(policy, records, bytes, closed)| build(policy, records, bytes, closed))
    .into();
    let files = images.iter().flat_map(|image| &image.files);
    let corpus = files.map(|(_, bytes)| bytes.clone()).collect();
    Target {
        name: "log_recovery",
        corpus,
        max_input_bytes: 16 << 10,
        // Two images of each file, and recovery's window.
        max_memory_bytes: 32 << 20,
        run: Box::new(move |input, choice| opens_or_says_why(&images, input, choice)),
    }
}

fn options(policy: SyncPolicy) -> LogOptions {
    LogOptions {
        segment_bytes: 4096,
        policy,
        flush_interval_ms: 1,
        ..LogOptions::default()
    }
}

fn open(disk: &SimulatedDisk, policy: SyncPolicy) -> Result<Log, LogError> {
    let disk = Arc::new(disk.clone());
    Log::open(disk, Path::new(DIR), Offset(START), options(policy)).map(|(log, _)| log)
}

/// A log of `records` synced records, closed or as a crash leaves it.
fn build(policy: SyncPolicy, records: usize, bytes: usize, closed: bool) -> Image {
    let mut disk = SimulatedDisk::new();
    let log = open(&disk, policy).expect("an empty disk has no damage");
    let mut payload = Vec::new();
    for record in 0..records {
        let part: Vec<u8> = (0..bytes)
            .map(|i| ((i * 7 + record * 13) % 251) as u8)
            .collect();
        if record == records / 2 {
            log.start_term(Term(2));
        }
        let end = log.append_raw(&part);
        payload.extend_from_slice(&part);
        log.sync_to(end).expect("the disk works");
    }
    log.wait_for_preparer();
    if closed {
        log.close().expect("the disk works");
    } else {
        disk = disk.crash(1);
    }
    drop(log);
    let names = disk.list(Path::new(DIR)).expect("the disk works");
    let paths = names.iter().map(|name| Path::new(DIR).join(name));
    let files: Vec<_> = paths
        .filter_map(|path| disk.contents(&path).map(|bytes| (path, bytes)))
        .collect();
    Image { files, payload }
}

fn opens_or_says_why(images: &[Image], input: &[u8], choice: u64) {
    let mut random = Random::new(choice);
    let image = random.choose(images);
    let disk = SimulatedDisk::new();
    let damaged = random.below(image.files.len());
    let missing = (random.below(20) == 0).then(|| random.below(image.files.len()));
    for (index, (path, bytes)) in image.files.iter().enumerate() {
        // Now and then the input is the other log's file; else it is damaged in its own place.
        let own = [bytes.clone()];
        let content = match index == damaged {
            true if random.below(4) == 0 => input.to_vec(),
            true => mutate(&mut random, &own, 2 * bytes.len()),
            false => bytes.clone(),
        };
        if missing != Some(index) {
            disk.create(path).expect("the disk is empty");
            disk.tamper(path, 0, &content);
        }
    }
    disk.sync_dir(Path::new(DIR)).expect("the disk works");
    let policy = *random.choose(&[SyncPolicy::Always, SyncPolicy::EverySec]);
    let log = match open(&disk, policy) {
        Ok(log) => log,
        Err(error) => return assert!(clear(&error), "{error}"),
    };
    let before = read_all(&log);
    // The input may be a whole history of its own, which another image has.
    let known = |image: &Image| is_part(&image.payload, &log, &before);
    assert!(images.iter().any(known), "bytes that nobody appended");
    let end = log.append_raw(b"afterwards");
    log.sync_to(end).expect("the disk works");
    log.close().expect("the disk works");
    drop(log);
    let again = open(&disk, policy).expect("a log that was repaired and closed opens");
    assert_eq!(read_all(&again), [&before[..], b"afterwards"].concat());
}

/// Whether the error says what is wrong and where.
fn clear(error: &LogError) -> bool {
    let names_a_file = error.to_string().contains(DIR);
    let expected = matches!(
        error,
        LogError::Corrupt { .. } | LogError::MissingSegment { .. } | LogError::Io { .. }
    );
    names_a_file && expected
}

fn read_all(log: &Log) -> Vec<u8> {
    let mut reader = log
        .reader(log.oldest())
        .expect("the oldest offset is there");
    let mut bytes = Vec::new();
    while reader
        .next(&mut bytes, 4096)
        .expect("recovery has checked it")
        > 0
    {}
    bytes
}

/// Whether what the log holds is a part of the payload, in its place.
fn is_part(payload: &[u8], log: &Log, held: &[u8]) -> bool {
    let from = log.oldest().0.checked_sub(START).map(|from| from as usize);
    from.and_then(|from| payload.get(from..from + held.len())) == Some(held)
}
