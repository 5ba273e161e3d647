//! A fault at every single step: whatever fails, whenever a process dies, and whatever a loss of power
//! leaves, what was flushed is there afterwards and nothing else than what was put is.
//!
//! Of the losses that users of other caches reported: two-file entries and partial writes, where one orphan
//! disabled all writes and a corrupt entry ended the build.

use crate::fault_layer::{Fault, FaultyIo};
use crate::records::{Sample, Seen};
use rekindle_cache_core::store::{FolderStore, Limits, Merge, Options, Store};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// The records of all scenarios, by version: each has a name of its own.
fn sample(version: u64) -> &'static Sample {
    static SAMPLES: OnceLock<Vec<Sample>> = OnceLock::new();
    let samples = SAMPLES.get_or_init(|| {
        let one = |version| {
            // One is larger than a batch, so that it is written before the flush.
            let size = match version {
                LARGE => 270_000,
                _ => 40 + version as usize,
            };
            Sample::new(&format!("record {version}"), version, size)
        };
        (0..VERSIONS).map(one).collect()
    });
    &samples[version as usize]
}

const VERSIONS: u64 = 14;
const LARGE: u64 = 7;

/// What a scenario knows to be on the disk, and to be gone from it.
#[derive(Debug, Default)]
struct Known {
    flushed: BTreeSet<u64>,
    /// Put, or removed, with no success reported.
    unsure: BTreeSet<u64>,
    gone: BTreeSet<u64>,
}

impl Known {
    fn put_and_flush(&mut self, store: &FolderStore, versions: std::ops::Range<u64>) {
        for version in versions.clone() {
            self.unsure.insert(version);
            // A record that is refused is not put; one that cannot be written yet is.
            let _ = sample(version).put(store);
        }
        if store.flush().is_ok() {
            for version in versions {
                if !Seen::of(store, &format!("record {version}"))
                    .records
                    .is_empty()
                {
                    self.unsure.remove(&version);
                    self.flushed.insert(version);
                }
            }
        }
    }

    fn remove_and_flush(&mut self, store: &FolderStore, version: u64) {
        let was_seen = !Seen::of(store, &format!("record {version}"))
            .records
            .is_empty();
        store.remove(&sample(version).key);
        self.flushed.remove(&version);
        self.unsure.insert(version);
        if store.flush().is_ok() && was_seen {
            self.unsure.remove(&version);
            self.gone.insert(version);
        }
    }
}

/// A folder with two packs and a segment that a dead process left.
fn prepare(folder: &Path, known: &mut Known) {
    let io = Arc::new(FaultyIo::sound(folder));
    let options = Options {
        limits: Limits::NONE,
        io: io.clone(),
        read_only: false,
        ..Options::default()
    };
    let store = FolderStore::open_with(folder, options).expect("opens");
    known.put_and_flush(&store, 0..3);
    known.put_and_flush(&store, 3..5);
    static LEFT: OnceLock<Sample> = OnceLock::new();
    let left = LEFT.get_or_init(|| Sample::new("left", 1000, 270_000));
    left.put(&store).expect("put");
    io.stop();
}

/// Runs everything that changes files on `store`; what `prune` has to leave is in `known` afterwards.
fn run(store: &FolderStore, known: &mut Known, evicts: bool) {
    known.put_and_flush(store, 5..8);
    known.remove_and_flush(store, 1);
    let _ = store.merge(Merge::All);
    known.put_and_flush(store, 8..10);
    // Uses are written too.
    store.get(&sample(9).key, &mut |_| std::ops::ControlFlow::Break(()));
    known.put_and_flush(store, 10..VERSIONS);
    let _ = store.merge(Merge::All);
    if evicts {
        // Of the fourteen that there are, eight stay: not the large ones, which are worth the least for
        // their size, nor those with the smallest versions, which took the least to compile.
        let limits = Limits {
            max_entries: 8 * 8 / 5 + 1,
            max_bytes: u64::MAX,
        };
        let _ = store.prune(&limits);
        for version in [0, 2, 3, 4, LARGE] {
            if known.flushed.remove(&version) {
                known.unsure.insert(version);
            }
        }
    }
    let _ = store.maintain();
}

/// What is found now is what has to be, and intact.
fn check(folder: &Path, known: &Known, what: &str) {
    for round in 0..2 {
        let options = Options {
            limits: Limits::NONE,
            ..Options::default()
        };
        let store = FolderStore::open_with(folder, options)
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        for version in 0..VERSIONS {
            let sample = sample(version);
            let seen = Seen::of(&store, &sample.metadata.entry.name);
            assert!(seen.damage.is_empty(), "{what}: {:?}", seen.damage);
            for record in &seen.records {
                assert_eq!(record.metadata, sample.metadata, "{what}");
                assert!(record.image == sample.image, "{what}");
            }
            let found = !seen.records.is_empty();
            if known.flushed.contains(&version) {
                assert!(
                    found,
                    "{what}: {version} was flushed and is lost, round {round}"
                );
            } else if !known.unsure.contains(&version) {
                assert!(
                    !found,
                    "{what}: {version} was removed and is back, round {round}"
                );
            }
        }
        let verified = store.verify(&mut |_| {}).expect("verified");
        assert_eq!(verified.damage, [], "{what}");
        // Whatever was left behind is cleared away, and nothing with it.
        store
            .maintain()
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        let usage = store.usage().expect("measured");
        assert_eq!(usage.segments, 0, "{what}: {usage:?}");
        store.merge(Merge::All).expect("merged");
    }
}

/// A folder in memory where the system has one.
fn new_folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("a folder")
}

/// Runs the scenario with `fault` at step `at`; gives what was known and how many steps there were.
fn run_with(folder: &Path, at: u64, fault: Fault, evicts: bool) -> (Known, Arc<FaultyIo>) {
    let mut known = Known::default();
    prepare(folder, &mut known);
    let io = Arc::new(FaultyIo::new(folder, at, fault));
    let options = Options {
        limits: Limits::NONE,
        io: io.clone(),
        read_only: false,
        ..Options::default()
    };
    // A store that cannot even be opened changes nothing.
    if let Ok(store) = FolderStore::open_with(folder, options) {
        run(&store, &mut known, evicts);
    }
    (known, io)
}

fn every_step(fault: Fault, evicts: bool) {
    let parent = new_folder();
    let folder = parent.path().join("sound");
    let (known, io) = run_with(&folder, u64::MAX, fault, evicts);
    check(&folder, &known, "no fault");
    let steps = io.steps();
    assert!(steps > 100, "{steps} steps");
    for at in 0..steps {
        let folder = parent.path().join(at.to_string());
        let (known, _) = run_with(&folder, at, fault, evicts);
        check(
            &folder,
            &known,
            &format!("{fault:?} at step {at} of {steps}"),
        );
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}

#[test]
fn an_error_at_every_step() {
    every_step(Fault::Error(libc::EIO), true);
}

#[test]
fn a_used_up_quota_at_every_step() {
    every_step(Fault::Error(libc::EDQUOT), false);
}

#[test]
fn a_short_write_at_every_step() {
    every_step(Fault::Short, false);
}

#[test]
fn a_stop_at_every_step() {
    every_step(Fault::Stop, true);
}

#[test]
fn a_loss_of_power_at_every_step() {
    let parent = new_folder();
    let folder = parent.path().join("sound");
    let (_, io) = run_with(&folder, u64::MAX, Fault::Stop, true);
    for at in 0..io.steps() {
        for seed in 0..2 {
            let folder = parent.path().join(at.to_string());
            let (known, io) = run_with(&folder, at, Fault::Stop, true);
            io.lose_power(&folder.join("v3"), at * 7 + seed);
            check(&folder, &known, &format!("power lost at step {at}, {seed}"));
            std::fs::remove_dir_all(&folder).expect("removed");
        }
    }
}
