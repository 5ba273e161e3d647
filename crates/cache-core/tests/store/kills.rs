//! Processes that are killed at any moment, and many that do everything at once.
//!
//! Two-file entries and partial writes are what numba, jax and sccache were told of; waiting for each other
//! for hours is what Pkg.jl was.

use crate::processes::{FOLDER, ROLE};
use crate::records::{Sample, Seen};
use rekindle_cache_core::store::{FolderStore, Limits, Merge, Options, Store, StoreError};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Nobody waits longer than this for a line or an end: a machine under load is slow, and not this slow.
const PATIENCE: Duration = Duration::from_secs(120);

const BASE: &str = "REKINDLE_TEST_BASE";

fn is_soak() -> bool {
    std::env::var_os("REKINDLE_SOAK").is_some()
}

/// A process in a role, whose lines come by a channel.
struct Talking {
    child: Child,
    lines: Receiver<String>,
}

impl Talking {
    fn start(role: &str, folder: &Path, base: u64) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("a path"))
            .args(["--exact", "processes::child", "--ignored", "--nocapture"])
            .arg("--test-threads=1")
            .env(ROLE, role)
            .env(FOLDER, folder)
            .env(BASE, base.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let output = child.stdout.take().expect("piped");
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        Self { child, lines }
    }

    /// The next line; `None` when there are no more.
    fn line(&self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("nothing was said for {PATIENCE:?}"),
        }
    }
}

impl Drop for Talking {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Says so in one write, so that what is half said is not heard, on a line of its own: what the test harness
/// says first has no end of line.
fn say(what: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\n{what}\n").as_bytes())
        .expect("said");
    out.flush().expect("said");
}

fn base() -> u64 {
    std::env::var(BASE)
        .expect("given")
        .parse()
        .expect("a number")
}

fn small(version: u64) -> Sample {
    // Now and then one that fills a batch, so that a segment is there before the flush.
    let size = if version % 7 == 3 { 280_000 } else { 600 };
    Sample::new(&format!("name {version}"), version, size)
}

/// What the processes of [`killed_at_any_moment`] do until they are killed.
pub(crate) fn work_until_killed(store: &FolderStore) {
    let began = Instant::now();
    let mut version = base();
    while began.elapsed() < PATIENCE {
        let first = version;
        for _ in 0..version % 3 + 1 {
            small(version).put(store).expect("put");
            version += 1;
        }
        store.flush().expect("flushed");
        say(&format!("flushed {first} {version}"));
        match version % 5 {
            0 => drop(store.merge(Merge::All).expect("merged")),
            1 => store.maintain().expect("maintained"),
            2 => {
                say(&format!("removing {first}"));
                store.remove(&small(first).key);
                store.flush().expect("flushed");
                say(&format!("removed {first}"));
            }
            _ => {
                store.refresh().expect("refreshed");
            }
        }
    }
}

#[test]
fn killed_at_any_moment() {
    let rounds: u64 = if is_soak() { 1000 } else { 50 };
    let folder = tempfile::tempdir().expect("a folder");
    let (mut flushed, mut gone) = (BTreeSet::new(), BTreeSet::new());
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for round in 0..rounds {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let mut process = Talking::start("until killed", folder.path(), round * 1000);
        let wanted = random % 6;
        let mut heard = 0;
        let mut note = |line: &str| {
            let numbers: Vec<u64> = line
                .split(' ')
                .skip(1)
                .filter_map(|word| word.parse().ok())
                .collect();
            match (line.split(' ').next(), &numbers[..]) {
                (Some("flushed"), [first, end]) => flushed.extend(*first..*end),
                // From here on nobody can say.
                (Some("removing"), [version]) => {
                    flushed.remove(version);
                }
                (Some("removed"), [version]) => {
                    gone.insert(*version);
                }
                _ => return false,
            }
            true
        };
        while heard < wanted {
            let line = process.line().expect("is alive");
            heard += u64::from(note(&line));
        }
        // Somewhere in the middle of what comes next.
        for _ in 0..random % 40_000 {
            std::hint::spin_loop();
        }
        process.child.kill().expect("killed");
        process.child.wait().expect("ended");
        while let Some(line) = process.line() {
            note(&line);
        }
        if round % 10 == 9 || round + 1 == rounds {
            let store = FolderStore::open(folder.path()).expect("opens");
            check(&store, &flushed, &gone, round);
            store.maintain().expect("maintained");
            check(&store, &flushed, &gone, round);
            assert_eq!(store.usage().expect("measured").segments, 0);
        }
    }
    assert!(flushed.len() as u64 > rounds, "{} records", flushed.len());
}

fn check(store: &FolderStore, flushed: &BTreeSet<u64>, gone: &BTreeSet<u64>, round: u64) {
    for version in flushed {
        let put = small(*version);
        let seen = Seen::of(store, &put.metadata.entry.name);
        assert_eq!(seen.records.len(), 1, "{version} is lost, round {round}");
        assert!(seen.records[0].metadata == put.metadata && seen.records[0].image == put.image);
    }
    for version in gone {
        let seen = Seen::of(store, &format!("name {version}"));
        assert!(seen.records.is_empty(), "{version} is back, round {round}");
    }
    let verified = store.verify(&mut |_| {}).expect("verified");
    assert_eq!(verified.damage, [], "round {round}");
}

/// Each thread keeps so many records that must not be lost: all of them together are well below the marks at
/// which eviction ends, so that it never has to take one of them.
const DEAR: u64 = 300;

const THREADS: u64 = 4;
const PROCESSES: u64 = 8;

const BOUNDS: Limits = Limits {
    max_bytes: 64 << 20,
    max_entries: 20_000,
};

fn open_bounded(folder: &Path) -> FolderStore {
    let options = Options {
        limits: BOUNDS,
        ..Options::default()
    };
    FolderStore::open_with(folder, options).expect("opens")
}

/// A record that is worth more than all that is put beside it, so that it is never evicted.
fn dear(process: u64, thread: u64, number: u64) -> Sample {
    let name = format!("dear {process} {thread} {number}");
    Sample::new(&name, 1_000_000_000_000 + number, 200)
}

fn cheap(number: u64) -> Sample {
    Sample::new(&format!("cheap {}", number % 500), number % 500, 20_000)
}

/// Puts a record, and makes room for it when there is none.
fn keep(store: &FolderStore, sample: &Sample) {
    match sample.put(store) {
        Err(StoreError::Full { .. }) => {
            flush(store);
            sample.put(store).expect("there is room now");
        }
        put => put.expect("put"),
    }
}

/// Flushes until it has worked: with so many processes and so little room, one may have to wait long.
fn flush(store: &FolderStore) {
    let began = Instant::now();
    loop {
        match store.flush() {
            Err(StoreError::NoRoom { .. }) if began.elapsed() < PATIENCE => {}
            flushed => return flushed.expect("flushed"),
        }
    }
}

/// What each process of [`everything_at_once`] does.
pub(crate) fn do_everything(folder: &Path) {
    let process = base();
    let lasting = Duration::from_secs(if is_soak() { 60 } else { 4 });
    let store = open_bounded(folder);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let store = &store;
            scope.spawn(move || {
                let mut random =
                    (process * THREADS + thread + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let mut number = 0;
                while began.elapsed() < lasting {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    if number < DEAR {
                        keep(store, &dear(process, thread, number));
                        number += 1;
                    }
                    for step in 0..3 {
                        keep(store, &cheap(random >> (8 * step)));
                    }
                    for look in [random % number, number - 1] {
                        let put = dear(process, thread, look);
                        let seen = Seen::of(store, &put.metadata.entry.name);
                        assert!(!seen.records.is_empty(), "{look} of {number} is lost");
                        assert!(seen.records[0].metadata == put.metadata);
                        assert!(seen.records[0].image == put.image);
                    }
                    let put = cheap(random);
                    let seen = Seen::of(store, &put.metadata.entry.name);
                    assert!(seen.damage.is_empty(), "{:?}", seen.damage);
                    assert!(seen.records.iter().all(|record| record.image == put.image));
                    match random % 64 {
                        0..8 => flush(store),
                        8..10 => drop(store.merge(Merge::Due).expect("merged")),
                        10 => drop(store.merge(Merge::All).expect("merged")),
                        11..13 => drop(store.prune(&BOUNDS).expect("pruned")),
                        13..16 => store.maintain().expect("maintained"),
                        16..24 => drop(store.refresh().expect("refreshed")),
                        _ => {}
                    }
                }
                flush(store);
                say(&format!("put {thread} {number}"));
            });
        }
    });
    assert_eq!(store.statistics().damaged, 0);
    drop(store);
    say("done");
}

#[test]
fn everything_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    // Made before, so that the bound can be looked at from the beginning.
    let store = open_bounded(folder.path());
    let processes: Vec<_> = (0..PROCESSES)
        .map(|process| Talking::start("everything", folder.path(), process))
        .collect();
    let mut put = Vec::new();
    let mut largest = store.usage().expect("measured");
    for (number, process) in (0..).zip(&processes) {
        let mut is_done = false;
        let mut deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match process.lines.recv_timeout(Duration::from_millis(20)) {
                Ok(line) => {
                    let words: Vec<_> = line.split(' ').collect();
                    if let ["put", thread, count] = words[..] {
                        let parse = |word: &str| word.parse::<u64>().expect("a number");
                        put.push((number, parse(thread), parse(count)));
                    }
                    is_done |= line.contains("done");
                    deadline = Instant::now() + PATIENCE;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let usage = store.usage().expect("measured");
            if usage.total() > largest.total() {
                largest = usage;
            }
        }
        assert!(is_done, "process {number} did not come to its end");
    }
    assert!(largest.total() <= BOUNDS.max_bytes, "{largest:?}");
    assert_eq!(put.len() as u64, PROCESSES * THREADS);
    store.refresh().expect("refreshed");
    let fresh = open_bounded(folder.path());
    for (process, thread, count) in put {
        for number in 0..count {
            let name = format!("dear {process} {thread} {number}");
            let seen = Seen::of(&fresh, &name);
            assert_eq!(seen.records.len(), 1, "{name} of {count}: {seen:?}");
        }
    }
    fresh.maintain().expect("maintained");
    assert_eq!(fresh.verify(&mut |_| {}).expect("verified").damage, []);
    assert_eq!(fresh.usage().expect("measured").segments, 0);
}
