//! The log as its users see it, on a disk that can lose power.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::disk::{Fault, RealDisk, SimulatedDisk};

const DIR: &str = "/data/log";

fn small(policy: SyncPolicy) -> LogOptions {
    LogOptions {
        segment_bytes: 4096,
        policy,
        flush_interval_ms: 1,
        ..LogOptions::default()
    }
}

fn open(disk: &SimulatedDisk, options: LogOptions) -> (Log, RecoveryReport) {
    try_open(disk, options).unwrap()
}

fn try_open(disk: &SimulatedDisk, options: LogOptions) -> Result<(Log, RecoveryReport), LogError> {
    Log::open(
        Arc::new(disk.clone()),
        Path::new(DIR),
        Offset(1000),
        options,
    )
}

fn path(id: u64) -> PathBuf {
    segment::segment_path(Path::new(DIR), id)
}

/// Everything from `from` to the end of what is written.
fn read_all(log: &Log, from: Offset) -> Vec<u8> {
    let mut reader = log.reader(from).unwrap();
    let mut bytes = Vec::new();
    while reader.next(&mut bytes, 777).unwrap() > 0 {}
    bytes
}

/// `count` bytes that differ from place to place.
fn pattern(seed: usize, count: usize) -> Vec<u8> {
    (0..count)
        .map(|i| ((i * 7 + seed * 13) % 251) as u8)
        .collect()
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "timed out: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Appends and syncs records one by one; returns the whole payload.
fn fill(log: &Log, records: usize, bytes: usize) -> Vec<u8> {
    let mut all = Vec::new();
    for i in 0..records {
        let part = pattern(i, bytes);
        let end = log.append_raw(&part);
        log.sync_to(end).unwrap();
        all.extend_from_slice(&part);
    }
    all
}

#[test]
fn what_is_appended_is_read_back_after_a_restart_on_a_real_disk() {
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        let options = small(SyncPolicy::Always);
        Log::open(Arc::new(RealDisk), dir.path(), Offset(5), options).unwrap()
    };
    let (log, report) = open();
    assert!(report.created);
    assert_eq!(report.end, Offset(5));
    let mut all = fill(&log, 50, 300);
    all.extend(fill(&log, 1, 100_000));
    all.extend(fill(&log, 3, 10));
    assert!(log.stats().segments > 3);
    assert_eq!(read_all(&log, Offset(5)), all);
    assert_eq!(read_all(&log, Offset(4321)), all[4316..]);
    log.close().unwrap();
    let (log, report) = open();
    assert_eq!(report.end, Offset(5 + all.len() as u64));
    assert_eq!(report.dropped_bytes, 0);
    assert_eq!(log.synced(), report.end);
    all.extend(fill(&log, 20, 300));
    assert_eq!(read_all(&log, Offset(5)), all);
    log.close().unwrap();
}

#[test]
fn a_log_that_moves_goes_on_where_it_is_then() {
    let parent = tempfile::tempdir().unwrap();
    let [from, to] = ["from", "to"].map(|name| parent.path().join(name));
    let open = |dir: &Path| {
        let options = small(SyncPolicy::Always);
        Log::open(Arc::new(RealDisk), dir, Offset(0), options).unwrap()
    };
    let (log, _) = open(&from);
    let mut all = fill(&log, 30, 300);
    let mut reader = log.reader(Offset(0)).unwrap();
    log.move_to(&to).unwrap();
    assert!(!from.exists());
    all.extend(fill(&log, 50, 300));
    let mut read = Vec::new();
    while reader.next(&mut read, 1000).unwrap() > 0 {}
    assert_eq!(read, all);
    drop(reader);
    // Of what is trimmed some is used again.
    let before = log.oldest();
    log.trim_below(Offset(20_000));
    assert!(log.oldest() > before);
    all.extend(fill(&log, 50, 300));
    log.close().unwrap();
    let (log, report) = open(&to);
    assert_eq!(report.end, Offset(all.len() as u64));
    let oldest = log.oldest();
    assert_eq!(read_all(&log, oldest), all[oldest.0 as usize..]);
}

#[test]
fn select_is_emitted_when_the_database_changes_and_when_forced() {
    let disk = SimulatedDisk::new();
    let (log, _) = open(&disk, small(SyncPolicy::Always));
    assert_eq!(log.position(), (Offset(1000), UNKNOWN_DB));
    log.append(0, b"A", 0);
    log.append(0, b"B", 12);
    log.append(12, b"C", 12);
    log.force_select_next();
    log.append(12, b"D", 12);
    log.append_raw(b"E");
    let end = log.append(0, b"F", 0);
    assert_eq!(log.position(), (end, 0));
    log.sync_to(end).unwrap();
    let (zero, twelve) = (
        "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n",
        "*2\r\n$6\r\nSELECT\r\n$2\r\n12\r\n",
    );
    let expected = format!("{zero}ABC{twelve}DE{zero}F");
    assert_eq!(read_all(&log, Offset(1000)), expected.as_bytes());
}

#[test]
fn terms_are_kept_and_start_at_record_boundaries() {
    let disk = SimulatedDisk::new();
    let (log, _) = open(&disk, small(SyncPolicy::EverySec));
    log.append_raw(b"one");
    log.start_term(Term(7));
    assert_eq!(log.term(), Term(7));
    log.append_raw(b"two");
    log.close().unwrap();
    drop(log);
    let (log, report) = open(&disk, small(SyncPolicy::EverySec));
    assert_eq!((report.term, log.term()), (Term(7), Term(7)));
    assert_eq!(read_all(&log, Offset(1000)), b"onetwo");
}

#[test]
fn a_tail_torn_at_any_byte_is_dropped_and_the_rest_kept() {
    let disk = SimulatedDisk::new();
    let (log, _) = open(&disk, small(SyncPolicy::Always));
    let all = fill(&log, 3, 40);
    let before = log.stats().writes;
    assert_eq!(before, 3);
    let image = disk.contents(&path(1)).unwrap();
    drop(log);
    let record = record::span(40) as usize;
    let last = 64 + 2 * record;
    for torn in 0..record {
        let disk = SimulatedDisk::new();
        let (log, _) = open(&disk, small(SyncPolicy::Always));
        drop(log);
        let mut torn_image = image.clone();
        torn_image[last + torn..].fill(0);
        disk.tamper(&path(1), 0, &torn_image);
        let (log, report) = open(&disk, small(SyncPolicy::Always));
        assert_eq!(report.end, Offset(1080), "torn at {torn}");
        assert_eq!(report.dropped_bytes > 0, torn > 0, "torn at {torn}");
        let rest = disk.contents(&path(1)).unwrap();
        assert!(rest[last..].iter().all(|b| *b == 0), "torn at {torn}");
        assert_eq!(read_all(&log, Offset(1000)), all[..80]);
    }
}

#[test]
fn a_flipped_bit_before_durable_data_is_corruption_and_names_the_place() {
    let disk = SimulatedDisk::new();
    let (log, _) = open(&disk, small(SyncPolicy::Always));
    fill(&log, 60, 200);
    assert!(log.stats().segments >= 4);
    log.close().unwrap();
    drop(log);
    let record = record::span(200) as usize;
    for (id, position, named) in [
        (1, 64 + 2 * record + 30, (1, 64 + 2 * record)),
        (2, 64 + 5 * record + 100, (2, 64 + 5 * record)),
        (1, 20, (1, 0)),
        (3, 20, (3, 0)),
    ] {
        let good = disk.contents(&path(id)).unwrap()[position];
        disk.tamper(&path(id), position, &[good ^ 0x10]);
        let Err(error) = try_open(&disk, small(SyncPolicy::Always)) else {
            panic!("segment {id}, byte {position} went unnoticed");
        };
        let LogError::Corrupt {
            path: file,
            position: at,
            ..
        } = &error
        else {
            panic!("{error}");
        };
        assert_eq!((file, *at), (&path(named.0), named.1 as u64));
        assert!(error.to_string().contains("replica or a backup"));
        disk.tamper(&path(id), position, &[good]);
    }
    open(&disk, small(SyncPolicy::Always));
}

#[test]
fn after_a_clean_close_even_the_last_record_may_not_rot() {
    let disk = SimulatedDisk::new();
    let (log, _) = open(&disk, small(SyncPolicy::EverySec));
    log.append_raw(&[1; 100]);
    log.close().unwrap();
    drop(log);
    disk.tamper(&path(1), 64 + 60, &[9]);
    let error = try_open(&disk, small(SyncPolicy::EverySec)).err();
    assert!(matches!(
        error,
        Some(LogError::Corrupt { position: 64, .. })
    ));
}

#[test]
fn a_record_forged_inside_a_torn_payload_proves_nothing() {
    let disk = SimulatedDisk::new();
    let (log, _) = open(&disk, small(SyncPolicy::Always));
    let mut forged = vec![0; record::RECORD_HEADER_BYTES];
    let header = record::RecordHeader {
        length: 0,
        segment: 1,
        offset: 1_000_000,
        term: 0,
        synced: 1_000_000,
        nonce: 0,
        previous: 0,
        continues: false,
        crc: 0,
    };
    header.seal(&mut forged);
    let end = log.append_raw(&forged);
    log.sync_to(end).unwrap();
    drop(log);
    // The outer record loses its header, and the marker of the close is gone.
    let span = record::span(forged.len() as u64) as usize;
    disk.tamper(&path(1), 64, &[0; record::RECORD_HEADER_BYTES]);
    disk.tamper(&path(1), 64 + span, &[0; record::RECORD_HEADER_BYTES]);
    let (_, report) = open(&disk, small(SyncPolicy::Always));
    assert_eq!(report.end, Offset(1000));
}

/// The files of a log of three segments and a payload of 8000 bytes.
fn three_segments() -> [Vec<u8>; 3] {
    let disk = SimulatedDisk::new();
    let (log, _) = open(&disk, small(SyncPolicy::Always));
    fill(&log, 40, 200);
    log.close().unwrap();
    [1, 2, 3].map(|id| disk.contents(&path(id)).unwrap())
}

/// A directory with these files, of segments 1, 2 …
fn disk_with(files: &[&[u8]]) -> SimulatedDisk {
    let disk = SimulatedDisk::new();
    for (id, bytes) in (1..).zip(files) {
        disk.create(&path(id)).unwrap();
        disk.tamper(&path(id), 0, bytes);
    }
    disk.sync_dir(Path::new(DIR)).unwrap();
    disk
}

#[test]
fn what_another_log_has_left_is_not_taken_for_ours_later_on() {
    let (ours, other) = (three_segments(), three_segments());
    let header = segment::SEGMENT_HEADER_BYTES;
    // A header of a third history before records that are not its own.
    let mixed = [&three_segments()[2][..header], &other[2][header..]].concat();
    let disk = disk_with(&[&ours[0], &ours[1], &mixed]);
    let (mut log, _) = open(&disk, small(SyncPolicy::Always));
    let mut all = read_all(&log, Offset(1000));
    // The second time it goes on in the next segment.
    for records in [1, 100] {
        all.extend(fill(&log, records, 10));
        log.wait_for_preparer();
        log.close().unwrap();
        (log, _) = open(&disk, small(SyncPolicy::Always));
        assert_eq!(read_all(&log, Offset(1000)), all);
    }
}

#[test]
fn segments_in_each_others_place_are_refused_and_nothing_is_changed() {
    let ours = three_segments();
    let [one, two, three] = ours.each_ref().map(Vec::as_slice);
    let blank = vec![0; one.len()];
    let orders: [&[&[u8]]; 6] = [
        &[two, one, three],
        &[one, three, two],
        &[three, two, one],
        // With one that was prepared; and copies.
        &[one, two, &blank, three],
        &[one, two, three, three],
        &[one, three, three],
    ];
    for files in orders {
        let disk = disk_with(files);
        let error = try_open(&disk, small(SyncPolicy::Always)).err().unwrap();
        let text = error.to_string();
        let misplaced = (1..).zip(files).find(|&(id, bytes)| {
            segment::SegmentHeader::decode(bytes).is_some_and(|(header, _)| header.id != id)
        });
        let (id, bytes) = misplaced.unwrap();
        let (header, _) = segment::SegmentHeader::decode(bytes).unwrap();
        for id in [id, header.id] {
            assert!(text.contains(path(id).to_str().unwrap()), "{text}");
        }
        for (id, bytes) in (1..).zip(files) {
            assert_eq!(&disk.contents(&path(id)).unwrap(), bytes);
        }
    }
}

#[test]
fn a_missing_segment_is_named_and_foreign_files_are_let_be() {
    let disk = SimulatedDisk::new();
    let (log, _) = open(&disk, small(SyncPolicy::Always));
    fill(&log, 60, 200);
    log.close().unwrap();
    drop(log);
    let foreign = Path::new(DIR).join("appendonly.aof");
    disk.create(&foreign).unwrap();
    drop(open(&disk, small(SyncPolicy::Always)));
    assert!(disk.contents(&foreign).is_some());
    disk.remove(&path(2)).unwrap();
    let error = try_open(&disk, small(SyncPolicy::Always)).err().unwrap();
    assert!(matches!(&error, LogError::MissingSegment { path: p } if *p == path(2)));
    assert!(error.to_string().contains("0000000000000002.log"));
}

#[test]
fn trimmed_segments_are_recycled_and_their_past_is_not_read() {
    let disk = SimulatedDisk::new();
    let (log, _) = open(&disk, small(SyncPolicy::Always));
    let mut all = fill(&log, 200, 200);
    log.trim_below(Offset(1000 + 30_000));
    log.wait_for_preparer();
    let oldest = log.oldest();
    assert!(oldest > Offset(1000 + 25_000) && oldest <= Offset(1000 + 30_000));
    let names = disk.list(Path::new(DIR)).unwrap();
    let spares = names.iter().filter(|n| n.ends_with(".spare")).count();
    assert_eq!(spares, 2, "{names:?}");
    let out_of_range = log.reader(Offset(1000)).err();
    assert!(matches!(out_of_range, Some(LogError::OutOfRange { .. })));
    // Into the recycled files, a few records each, with a crash after each.
    let mut log = Some(log);
    for round in 0..60 {
        let current = log.take().unwrap();
        all.extend(fill(&current, 1, 150 + round));
        drop(current);
        let (reopened, report) = open(&disk, small(SyncPolicy::Always));
        assert_eq!(report.dropped_bytes, 0, "round {round}");
        assert_eq!(report.end, Offset(1000 + all.len() as u64));
        log = Some(reopened);
    }
    let log = log.unwrap();
    let from = (oldest.0 - 1000) as usize;
    assert_eq!(read_all(&log, oldest), all[from..]);
}

#[test]
fn as_many_files_are_kept_as_a_burst_needs_while_the_disk_is_roomy() {
    let disk = SimulatedDisk::new();
    let (log, _) = open(&disk, small(SyncPolicy::Always));
    let spares = || {
        let names = disk.list(Path::new(DIR)).unwrap();
        names.iter().filter(|n| n.ends_with(".spare")).count()
    };
    log.note_room(Room::Ample);
    // Nine segments and more between two bursts.
    for _ in 0..2 {
        fill(&log, 200, 200);
        log.trim_below(log.end());
        log.wait_for_preparer();
    }
    let kept = spares();
    assert!((9..=16).contains(&kept), "{kept}");
    // They are what the next segments are made of.
    fill(&log, 100, 200);
    log.wait_for_preparer();
    assert!((1..kept - 4).contains(&spares()), "{} of {kept}", spares());
    // What is needed less is kept less, one by one.
    for _ in 0..3 {
        fill(&log, 20, 200);
        log.trim_below(log.end());
        log.wait_for_preparer();
    }
    assert!((2..kept).contains(&spares()), "{} of {kept}", spares());
    log.note_room(Room::Usual);
    log.wait_for_preparer();
    assert_eq!(spares(), 2);
    log.note_room(Room::Short);
    log.wait_for_preparer();
    assert_eq!(spares(), 0);
    log.set_policy(SyncPolicy::EverySec);
    log.note_room(Room::Ample);
    fill(&log, 200, 200);
    log.trim_below(log.end());
    log.wait_for_preparer();
    assert_eq!(spares(), 2);
}

#[test]
fn a_reader_in_a_trimmed_segment_can_finish_it() {
    let disk = SimulatedDisk::new();
    let (log, _) = open(&disk, small(SyncPolicy::Always));
    let all = fill(&log, 100, 200);
    let mut reader = log.reader(Offset(1000)).unwrap();
    let mut bytes = Vec::new();
    reader.next(&mut bytes, 500).unwrap();
    log.trim_below(log.end());
    log.wait_for_preparer();
    reader.next(&mut bytes, 500).unwrap();
    assert_eq!(bytes, all[..1000]);
    let error = loop {
        match reader.next(&mut bytes, 500) {
            Ok(count) => assert!(count > 0),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, LogError::OutOfRange { .. }), "{error}");
}

#[test]
fn a_reader_passes_an_empty_segment() {
    let disk = SimulatedDisk::new();
    let (log, _) = open(&disk, small(SyncPolicy::Always));
    let mut all = fill(&log, 1, 3900);
    all.extend(fill(&log, 1, 1000));
    log.wait_for_preparer();
    drop(log);
    // The second segment loses its records, as if they had never been synced,
    // and the next one does not fit into it.
    disk.tamper(&path(2), 64, &[0; 2000]);
    let (log, report) = open(&disk, small(SyncPolicy::Always));
    assert_eq!(report.end, Offset(4900));
    all.truncate(3900);
    all.extend(fill(&log, 1, 9000));
    assert_eq!(read_all(&log, Offset(1000)), all);
}

#[test]
fn a_failed_sync_ends_the_log_until_it_begins_anew() {
    let disk = SimulatedDisk::new();
    let (log, _) = open(&disk, small(SyncPolicy::Always));
    let log = Arc::new(log);
    let calls = Arc::new(AtomicU64::new(0));
    let counted = calls.clone();
    log.on_synced(Box::new(move |_| {
        counted.fetch_add(1, SeqCst);
    }));
    fill(&log, 2, 100);
    log.wait_for_preparer();
    let before = calls.load(SeqCst);
    disk.inject(Fault::SyncErrorOnce);
    let end = log.append_raw(b"lost");
    assert!(log.sync_to(end).is_err());
    wait_until("callback", || calls.load(SeqCst) > before);
    assert!(log.failure().unwrap().to_string().contains("sync"));
    assert_eq!(log.append(0, b"more", 0), end, "appends do nothing");
    assert_eq!(log.synced(), Offset(1200));
    assert!(log.sync_to(end).is_err(), "a later sync would succeed");
    assert!(!log.stats().last_sync_ok);
    // What was not synced is durable elsewhere; the log goes on behind it.
    log.end_failed();
    assert_eq!(log.begin_anew(), end);
    let first = log.next_beginning();
    let more = log.append_raw(b"in between");
    log.finish_anew(end, first).unwrap();
    log.sync_to(more).unwrap();
    assert_eq!(log.oldest(), end);
    assert_eq!(read_all(&log, end), b"in between");
    assert!(log.failure().is_none() && log.stats().last_sync_ok);
    let mut all = b"in between".to_vec();
    all.extend(fill(&log, 50, 200));
    log.close().unwrap();
    drop(log);
    let (log, report) = open(&disk.crash(1), small(SyncPolicy::Always));
    assert_eq!((report.oldest, report.dropped_bytes), (end, 0));
    assert_eq!(read_all(&log, end), all);
}

#[test]
fn beginning_anew_can_be_given_up_and_tried_again() {
    let disk = SimulatedDisk::new();
    let (log, _) = open(&disk, small(SyncPolicy::Always));
    fill(&log, 50, 200);
    disk.inject(Fault::WriteError);
    let end = log.append_raw(b"lost");
    assert!(log.sync_to(end).is_err());
    log.end_failed();
    assert_eq!(log.begin_anew(), end);
    let beyond = log.append_raw(b"forgotten");
    assert!(log.finish_anew(end, log.next_beginning()).is_err());
    assert_eq!(log.append_raw(b"refused"), beyond);
    assert!(log.failure().is_some());
    disk.clear_faults();
    log.end_failed();
    let end = log.begin_anew();
    log.finish_anew(end, log.next_beginning()).unwrap();
    let all = fill(&log, 3, 100);
    drop(log);
    let (log, report) = open(&disk, small(SyncPolicy::Always));
    assert_eq!(report.oldest, end);
    assert_eq!(read_all(&log, end), all);
}

#[test]
fn a_failed_write_ends_the_log() {
    for policy in [SyncPolicy::Always, SyncPolicy::EverySec, SyncPolicy::No] {
        let disk = SimulatedDisk::new();
        let (log, _) = open(&disk, small(policy));
        let all = fill(&log, 2, 100);
        log.wait_for_preparer();
        disk.inject(Fault::WriteError);
        // Half of it arrives, and half of a block would not hold it.
        log.append_raw(&[1; 3000]);
        wait_until("failure", || log.failure().is_some());
        disk.clear_faults();
        assert_eq!(log.synced(), Offset(1200));
        drop(log);
        let (log, report) = open(&disk, small(policy));
        assert_eq!(report.end, Offset(1200), "{policy:?}");
        assert_eq!(read_all(&log, Offset(1000)), all);
    }
}

#[test]
fn a_full_disk_is_waited_for_and_nothing_is_lost() {
    for policy in [SyncPolicy::Always, SyncPolicy::EverySec, SyncPolicy::No] {
        let disk = SimulatedDisk::new();
        let (log, _) = open(&disk, small(policy));
        let mut all = fill(&log, 2, 100);
        log.wait_for_preparer();
        assert_eq!(log.space_trouble(), None);
        disk.inject(Fault::NoSpace);
        let large = pattern(9, 100_000);
        all.extend(&large);
        let end = log.append_raw(&large);
        wait_until("stall", || log.is_stalled());
        assert!(matches!(log.sync_to(end), Err(LogError::Stalled)));
        assert_eq!(log.synced(), Offset(1200));
        all.extend(b"more");
        let end = log.append_raw(b"more");
        disk.clear_faults();
        wait_until("space", || !log.is_stalled());
        log.sync_to(end).unwrap();
        drop(log);
        let (log, report) = open(&disk.crash(3), small(policy));
        assert_eq!(report.end, end, "{policy:?}");
        assert_eq!(read_all(&log, Offset(1000)), all);
    }
}

#[test]
fn a_segment_that_could_not_be_prepared_is_told_and_tried_again() {
    let disk = SimulatedDisk::new();
    let (log, _) = open(&disk, small(SyncPolicy::Always));
    fill(&log, 2, 100);
    log.wait_for_preparer();
    disk.inject(Fault::NoSpace);
    fill(&log, 20, 200);
    wait_until("trouble", || log.space_trouble().is_some());
    assert!(!log.is_stalled(), "there is room in this segment");
    log.retry_space();
    wait_until("trouble again", || log.space_trouble().is_some());
    disk.clear_faults();
    log.retry_space();
    log.wait_for_preparer();
    assert_eq!(log.space_trouble(), None);
    fill(&log, 100, 200);
}

#[test]
fn a_full_disk_is_survived_if_space_comes_back_before_it_is_needed() {
    let disk = SimulatedDisk::new();
    disk.inject(Fault::NoSpace);
    assert!(try_open(&disk, small(SyncPolicy::Always)).is_err());
    disk.clear_faults();
    let (log, _) = open(&disk, small(SyncPolicy::Always));
    log.wait_for_preparer();
    disk.inject(Fault::NoSpace);
    fill(&log, 20, 200);
    log.wait_for_preparer();
    disk.clear_faults();
    fill(&log, 100, 200);
    assert!(log.failure().is_none());
}

#[test]
fn policies_sync_when_they_say() {
    let disk = SimulatedDisk::new();
    let mut options = small(SyncPolicy::No);
    options.sync_interval_ms = 50;
    let (log, _) = open(&disk, options);
    let acknowledged = Arc::new(AtomicU64::new(0));
    let seen = acknowledged.clone();
    log.on_synced(Box::new(move |offset| {
        seen.fetch_max(offset.0, SeqCst);
    }));
    let end = log.append_raw(&[1; 100]);
    wait_until("write", || log.written() == end);
    wait_until("callback", || acknowledged.load(SeqCst) == end.0);
    thread::sleep(Duration::from_millis(150));
    assert_eq!(log.synced(), Offset(1000), "`no` never syncs by itself");
    log.set_policy(SyncPolicy::EverySec);
    wait_until("everysec", || log.synced() == end);
    log.set_policy(SyncPolicy::No);
    let end = log.append_raw(&[2; 100]);
    wait_until("write", || log.written() == end);
    log.set_policy(SyncPolicy::Always);
    wait_until("always catches up", || log.synced() == end);
    let end = log.append_raw(&[3; 100]);
    wait_until("always", || log.synced() == end);
    assert!(log.stats().syncs >= 3);
    assert_eq!(log.written(), log.end());
}

#[test]
fn segments_below_verify_from_are_not_read_at_open_but_by_readers() {
    let disk = SimulatedDisk::new();
    let (log, _) = open(&disk, small(SyncPolicy::Always));
    let all = fill(&log, 100, 200);
    log.close().unwrap();
    drop(log);
    disk.tamper(&path(1), 300, &[1, 2, 3]);
    let mut options = small(SyncPolicy::Always);
    options.verify_from = Offset(10_000);
    let (log, report) = open(&disk, options);
    assert_eq!(report.end, Offset(1000 + all.len() as u64));
    assert_eq!(read_all(&log, Offset(9_000)), all[8_000..]);
    let mut reader = log.reader(Offset(1000)).unwrap();
    let mut bytes = Vec::new();
    let error = loop {
        match reader.next(&mut bytes, 1000) {
            Ok(count) => assert!(count > 0),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, LogError::Corrupt { .. }));
}

#[test]
fn a_reader_follows_several_appenders_across_segments() {
    for policy in [SyncPolicy::Always, SyncPolicy::EverySec] {
        let disk = SimulatedDisk::new();
        let (log, _) = open(&disk, small(policy));
        let log = Arc::new(log);
        let appender = |name: u8| {
            let log = log.clone();
            thread::spawn(move || {
                for i in 0..500u32 {
                    let mut effect = vec![name; 40];
                    effect[..4].copy_from_slice(&i.to_le_bytes());
                    log.append(0, &effect, 0);
                    if i % 50 == 0 {
                        thread::sleep(Duration::from_millis(1));
                    }
                }
            })
        };
        let appenders = [appender(1), appender(2), appender(3)];
        let mut reader = log.reader(Offset(1000)).unwrap();
        let mut bytes = Vec::new();
        let select = 23;
        let deadline = Instant::now() + Duration::from_secs(20);
        while bytes.len() < select + 3 * 500 * 40 {
            reader.next(&mut bytes, 1000).unwrap();
            assert!(Instant::now() < deadline, "the reader hangs");
        }
        let mut next = [0u32; 4];
        for effect in bytes[select..].chunks(40) {
            let name = effect[39];
            assert!(effect[4..].iter().all(|b| *b == name), "contiguous");
            assert_eq!(record::read_u32(effect, 0), next[name as usize]);
            next[name as usize] += 1;
        }
        assert_eq!(next, [0, 500, 500, 500]);
        for thread in appenders {
            thread.join().unwrap();
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Append(usize),
    Sync,
    Pause,
    Trim(u8),
    Restart,
    Crash(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (1usize..1500).prop_map(Step::Append),
        1 => (4000usize..12_000).prop_map(Step::Append),
        2 => Just(Step::Sync),
        4 => Just(Step::Pause),
        2 => any::<u8>().prop_map(Step::Trim),
        1 => Just(Step::Restart),
        3 => any::<u64>().prop_map(Step::Crash),
    ];
    prop::collection::vec(step, 1..60)
}

fn policy() -> impl Strategy<Value = SyncPolicy> {
    prop_oneof![
        Just(SyncPolicy::Always),
        Just(SyncPolicy::EverySec),
        Just(SyncPolicy::No)
    ]
}

/// Writes the log's next effects in records of 300 bytes at most.
fn cut_up(policy: SyncPolicy) -> LogOptions {
    LogOptions {
        record_bytes: 300,
        ..small(policy)
    }
}

/// Where records begin in a segment file, and whether they go on in the next.
fn records_of(file: &[u8]) -> Vec<(usize, bool)> {
    let mut at = segment::SEGMENT_HEADER_BYTES;
    let mut found = Vec::new();
    while let Some(header) = record::RecordHeader::decode(&file[at..]) {
        found.push((at, header.continues));
        at += header.span() as usize;
    }
    found
}

#[test]
fn what_fits_into_one_record_is_not_cut_in_two() {
    let disk = SimulatedDisk::new();
    let options = LogOptions {
        // All are there before the writer takes any.
        flush_interval_ms: 1000,
        segment_bytes: 1 << 20,
        ..cut_up(SyncPolicy::No)
    };
    let (log, _) = open(&disk, options.clone());
    let mut all = Vec::new();
    for seed in 0..200 {
        let part = pattern(seed, 20 + seed * 37 % 140);
        match seed % 3 {
            0 => log.append_transaction(seed as u32 % 2, &part, 1),
            1 => log.append(seed as u32 % 2, &part, 1),
            _ => log.append_aside(&part),
        };
        all.push(log.end().0);
    }
    log.close().unwrap();
    let file = disk.contents(&path(1)).unwrap();
    let records = records_of(&file);
    assert!(records.len() > 50);
    for (at, continues) in records {
        let header = record::RecordHeader::decode(&file[at..]).unwrap();
        assert!(!continues && header.length <= 300);
        assert!(all.contains(&header.end().unwrap()));
    }
    let (_, report) = open(&disk, options);
    assert_eq!(report.end.0, all[199]);
}

/// Of an append of several records, which lie in several segments, all counts or
/// nothing, wherever its end is missing; and then the log goes on.
#[test]
fn an_append_of_several_records_is_dropped_whole_if_it_is_torn() {
    let image = |append: usize| {
        let disk = SimulatedDisk::new();
        let (log, _) = open(&disk, cut_up(SyncPolicy::Always));
        let mut all = fill(&log, 3, 200);
        all.extend(pattern(9, append));
        let end = log.append_raw(&all[600..]);
        // Nobody asks for it: it is made durable because it is there.
        wait_until("the append is synced", || log.synced() == end);
        let segments = log.stats().segments;
        let files: Vec<_> = (1..=segments)
            .map(|id| disk.contents(&path(id)).unwrap())
            .collect();
        (all, files)
    };
    let (all, files) = image(9000);
    assert!(files.len() >= 3, "{}", files.len());
    let starts: Vec<_> = (1..)
        .zip(&files)
        .flat_map(|(id, file)| records_of(file).into_iter().map(move |at| (id, at.0)))
        .collect();
    // The three before are of one record each.
    for (number, (torn_id, torn_at)) in starts.iter().enumerate().skip(3) {
        let disk = SimulatedDisk::new();
        for (id, bytes) in (1..).zip(&files) {
            let mut bytes = bytes.clone();
            match id {
                _ if id < *torn_id => {}
                _ if id == *torn_id => bytes[torn_at + 60..].fill(0),
                _ => bytes.fill(0),
            }
            disk.create(&path(id)).unwrap();
            disk.tamper(&path(id), 0, &bytes);
        }
        disk.sync_dir(Path::new(DIR)).unwrap();
        let (log, report) = open(&disk, cut_up(SyncPolicy::Always));
        assert_eq!(report.end, Offset(1600), "torn in record {number}");
        assert!(report.dropped_bytes > 0);
        let mut left = all[..600].to_vec();
        assert_eq!(read_all(&log, Offset(1000)), left);
        left.extend(fill(&log, 5, 1000));
        log.close().unwrap();
        drop(log);
        let (log, report) = open(&disk, cut_up(SyncPolicy::Always));
        assert_eq!(report.end.0, 1000 + left.len() as u64);
        assert_eq!(read_all(&log, Offset(1000)), left);
    }
}

#[test]
fn a_part_of_an_append_is_not_seen_before_all_of_it_is_there() {
    let disk = SimulatedDisk::new();
    let (log, _) = open(&disk, cut_up(SyncPolicy::No));
    let mut all = fill(&log, 1, 200);
    disk.inject(Fault::NoSpace);
    all.extend(pattern(1, 60_000));
    let end = log.append_raw(&all[200..]);
    // It has come as far as the end of a segment.
    wait_until("the disk is full", || log.sync_to(end).is_err());
    assert_eq!(log.written(), Offset(1200));
    assert_eq!(log.synced(), Offset(1200));
    assert_eq!(read_all(&log, Offset(1000)), all[..200]);
    disk.clear_faults();
    wait_until("there is space again", || log.sync_to(end).is_ok());
    assert_eq!(read_all(&log, Offset(1000)), all);
}

#[test]
fn damage_inside_a_durable_append_of_several_records_is_corruption() {
    let disk = SimulatedDisk::new();
    let (log, _) = open(&disk, cut_up(SyncPolicy::Always));
    fill(&log, 1, 6000);
    fill(&log, 1, 10);
    log.close().unwrap();
    drop(log);
    let (place, _) = records_of(&disk.contents(&path(1)).unwrap())[4];
    disk.tamper(&path(1), place + 100, &[0xAA, 0xAB]);
    let Err(LogError::Corrupt {
        path: file,
        position,
        ..
    }) = try_open(&disk, cut_up(SyncPolicy::Always))
    else {
        panic!("it went unnoticed");
    };
    assert_eq!((file, position), (path(1), place as u64));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a crash does, the log recovers to a prefix of what was
    /// appended that includes all that was synced.
    #[test]
    fn a_crash_loses_nothing_that_was_synced(
        steps in steps(),
        policy in policy(),
        is_cut_up in any::<bool>(),
    ) {
        let mut disk = SimulatedDisk::new();
        let mut options = if is_cut_up { cut_up(policy) } else { small(policy) };
        options.sync_interval_ms = 3;
        let mut log = Some(open(&disk, options.clone()).0);
        let mut all: Vec<u8> = Vec::new();
        let mut ends = vec![1000];
        for (index, step) in steps.iter().enumerate() {
            let current = log.as_ref().unwrap();
            match step {
                Step::Append(count) => {
                    let part = pattern(index, *count);
                    ends.push(current.append_raw(&part).0);
                    all.extend(part);
                }
                Step::Sync => current.sync_to(current.end()).unwrap(),
                Step::Pause => thread::sleep(Duration::from_millis(2)),
                Step::Trim(part) => {
                    let (oldest, end) = (current.oldest().0, current.end().0);
                    current.trim_below(Offset(oldest + (end - oldest) * u64::from(*part) / 255));
                }
                Step::Restart | Step::Crash(_) => {
                    if let Step::Crash(seed) = step {
                        let synced = current.synced();
                        let next = disk.crash(*seed);
                        drop(log.take());
                        disk = next;
                        let (reopened, report) = open(&disk, options.clone());
                        prop_assert!(report.end >= synced, "{} < {synced}", report.end);
                        prop_assert!(report.end.0 <= 1000 + all.len() as u64);
                        prop_assert!(ends.contains(&report.end.0), "an append was cut");
                        ends.retain(|end| *end <= report.end.0);
                        all.truncate((report.end.0 - 1000) as usize);
                        log = Some(reopened);
                    } else {
                        drop(log.take());
                        let (reopened, report) = open(&disk, options.clone());
                        prop_assert_eq!(report.end, Offset(1000 + all.len() as u64));
                        prop_assert_eq!(report.dropped_bytes, 0);
                        log = Some(reopened);
                    }
                    let log = log.as_ref().unwrap();
                    let from = (log.oldest().0 - 1000) as usize;
                    prop_assert!(read_all(log, log.oldest()) == all[from..]);
                }
            }
        }
    }
}

#[test]
fn a_large_empty_segment_is_opened_without_reading_it() {
    // Zeros that were written are read, reserved space is passed over; both in
    // less time than reading it byte by byte would take.
    for policy in [SyncPolicy::EverySec, SyncPolicy::Always] {
        let dir = tempfile::tempdir().unwrap();
        let options = LogOptions {
            policy,
            ..LogOptions::default()
        };
        let open =
            || Log::open(Arc::new(RealDisk), dir.path(), Offset(5), options.clone()).unwrap();
        let log = open().0;
        fill(&log, 3, 300);
        log.wait_for_preparer();
        drop(log);
        let began = Instant::now();
        let (log, report) = open();
        eprintln!("{policy:?}: opened in {:?}", began.elapsed());
        assert_eq!(report.end, Offset(905));
        drop(log);
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    let disk: Arc<dyn crate::disk::DiskFile> = RealDisk.open(file.path()).unwrap();
    disk.allocate(64 << 20).unwrap();
    if disk.next_data(0).unwrap().is_none() {
        disk.write_at(b"x", 40 << 20).unwrap();
        let found = disk.next_data(0).unwrap().unwrap();
        assert!(found.contains(&(40 << 20)) && found.start > 0);
        assert_eq!(disk.next_data(found.end).unwrap(), None);
    } else {
        eprintln!("this file system can't tell what was written");
    }
}
