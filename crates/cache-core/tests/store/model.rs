//! Random sequences of operations, compared with plain lists.

use crate::records::{Sample, Seen, files};
use proptest::prelude::*;
use rekindle_cache_core::store::{FolderStore, MemoryStore, Store};
use std::collections::BTreeMap;
use std::path::Path;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

type Versions = BTreeMap<usize, Vec<u64>>;

#[derive(Debug, Clone)]
enum Operation {
    Put {
        name: usize,
        size: usize,
    },
    Remove {
        name: usize,
    },
    Report {
        name: usize,
    },
    Flush,
    Refresh,
    Reopen,
    /// Another process's view of the folder.
    Look,
}

fn operation() -> impl Strategy<Value = Operation> {
    let name = 0..NAMES.len();
    prop_oneof![
        // Large enough now and then that a batch is written before the flush.
        6 => (name.clone(), prop_oneof![4 => 0usize..300, 1 => 100_000usize..150_000])
            .prop_map(|(name, size)| Operation::Put { name, size }),
        1 => name.clone().prop_map(|name| Operation::Remove { name }),
        1 => name.prop_map(|name| Operation::Report { name }),
        2 => Just(Operation::Flush),
        1 => Just(Operation::Refresh),
        1 => Just(Operation::Reopen),
        1 => Just(Operation::Look),
    ]
}

fn assert_shows(store: &dyn Store, expected: &Versions) {
    for (name, text) in NAMES.iter().enumerate() {
        let seen = Seen::of(store, text);
        let newest_first: Vec<_> = expected.get(&name).into_iter().flatten().rev().collect();
        assert_eq!(
            seen.versions().iter().collect::<Vec<_>>(),
            newest_first,
            "{text}"
        );
        assert!(seen.damage.is_empty(), "{:?}", seen.damage);
        for record in seen.records {
            let version = record.metadata.entry.compile_ns;
            let put = Sample::new(text, version, record.image.len());
            assert_eq!((record.metadata, record.image), (put.metadata, put.image));
            assert!(record.image_is_right);
        }
    }
    let all = Seen::all(store);
    assert_eq!(
        all.records.len(),
        expected.values().map(Vec::len).sum::<usize>()
    );
}

fn open(folder: &Path) -> FolderStore {
    FolderStore::open(folder).expect("opens")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn one_writer(operations in prop::collection::vec(operation(), 1..30)) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut store = Some(open(folder.path()));
        let (mut visible, mut sealed) = (Versions::new(), Versions::new());
        let mut unsealed: Vec<(usize, u64)> = Vec::new();
        for (version, operation) in (1..).zip(operations) {
            let current = store.as_ref().expect("open between operations");
            match operation {
                Operation::Put { name, size } => {
                    Sample::new(NAMES[name], version, size).put(current).expect("put");
                    visible.entry(name).or_default().push(version);
                    unsealed.push((name, version));
                }
                Operation::Remove { name } | Operation::Report { name } => {
                    let key = crate::records::key(NAMES[name]);
                    if matches!(operation, Operation::Remove { .. }) {
                        current.remove(&key);
                    } else {
                        current.report_damage(&key, "the model says so");
                    }
                    visible.remove(&name);
                    unsealed.retain(|(other, _)| *other != name);
                }
                Operation::Flush | Operation::Reopen => {
                    if matches!(operation, Operation::Reopen) {
                        drop(store.take());
                        store = Some(open(folder.path()));
                    } else {
                        current.flush().expect("flushed");
                    }
                    for (name, version) in unsealed.drain(..) {
                        sealed.entry(name).or_default().push(version);
                    }
                    prop_assert!(files(folder.path(), "segment").is_empty());
                    if matches!(operation, Operation::Reopen) {
                        visible = sealed.clone();
                    }
                }
                Operation::Refresh => {
                    current.refresh().expect("refreshed");
                }
                Operation::Look => {
                    assert_shows(
                        &FolderStore::open_read_only(folder.path()).expect("opens"),
                        &sealed,
                    );
                    assert_shows(&open(folder.path()), &sealed);
                }
            }
            assert_shows(store.as_ref().expect("open between operations"), &visible);
        }
    }

    #[test]
    fn two_writers(operations in prop::collection::vec((0usize..2, operation()), 1..40)) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut stores = [Some(open(folder.path())), Some(open(folder.path()))];
        let mut sealed: Vec<(usize, u64)> = Vec::new();
        let mut visible: [Vec<(usize, u64)>; 2] = Default::default();
        let mut unsealed: [Vec<(usize, u64)>; 2] = Default::default();
        for (version, (who, operation)) in (1..).zip(operations) {
            let store = stores[who].as_ref().expect("open between operations");
            match operation {
                Operation::Put { name, size } => {
                    Sample::new(NAMES[name], version, size).put(store).expect("put");
                    visible[who].push((name, version));
                    unsealed[who].push((name, version));
                }
                Operation::Flush => {
                    store.flush().expect("flushed");
                    sealed.append(&mut unsealed[who]);
                }
                Operation::Refresh => {
                    store.refresh().expect("refreshed");
                    visible[who] = sealed.iter().chain(&unsealed[who]).copied().collect();
                }
                Operation::Reopen => {
                    drop(stores[who].take());
                    stores[who] = Some(open(folder.path()));
                    sealed.append(&mut unsealed[who]);
                    visible[who].clone_from(&sealed);
                }
                Operation::Remove { .. } | Operation::Report { .. } | Operation::Look => continue,
            }
            for (store, visible) in stores.iter().zip(&visible) {
                let store = store.as_ref().expect("open between operations");
                for (name, text) in NAMES.iter().enumerate() {
                    let mut seen = Seen::of(store, text).versions();
                    seen.sort_unstable();
                    let mut expected: Vec<_> = visible
                        .iter()
                        .filter(|(other, _)| *other == name)
                        .map(|(_, version)| *version)
                        .collect();
                    expected.sort_unstable();
                    prop_assert_eq!(seen, expected);
                }
            }
        }
    }
}

#[test]
fn statistics_count_what_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    let memory = MemoryStore::new();
    for version in 0..3 {
        let sample = Sample::new("a", version, 500);
        sample.put(&store).expect("put");
        sample.put(&memory).expect("put");
    }
    let before = store.statistics();
    assert_eq!(before, memory.statistics());
    assert_eq!((before.records, before.packs, before.damaged), (3, 0, 0));
    assert!(before.bytes > 1500);
    store.flush().expect("flushed");
    let after = store.statistics();
    assert_eq!((after.records, after.packs, after.damaged), (3, 1, 0));
    let pack = files(folder.path(), "pack")[0]
        .metadata()
        .expect("is there")
        .len();
    assert_eq!(after.bytes, pack);
    store.report_damage(&crate::records::key("a"), "for the test");
    assert_eq!(store.statistics().damaged, 1);
}

#[test]
fn a_reported_record_is_not_found_again_and_its_successor_is_found_first_by_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    Sample::new("a", 1, 10).put(&store).expect("put");
    store.flush().expect("flushed");
    store.report_damage(&crate::records::key("a"), "the loader's copy was wrong");
    assert!(Seen::of(&store, "a").records.is_empty());
    Sample::new("a", 2, 10).put(&store).expect("put");
    assert_eq!(Seen::of(&store, "a").versions(), [2]);
    store.flush().expect("flushed");
    assert_eq!(Seen::of(&store, "a").versions(), [2]);
    assert_eq!(Seen::of(&open(folder.path()), "a").versions(), [2, 1]);
}

#[test]
fn a_large_segment_is_sealed_without_being_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    for version in 0..3 {
        Sample::new("a", version, 33 << 20)
            .put(&store)
            .expect("put");
    }
    assert_eq!(files(folder.path(), "pack").len(), 1);
    assert_eq!(Seen::of(&store, "a").versions(), [2, 1, 0]);
}

#[test]
fn a_folder_that_has_long_been_the_same_is_not_listed_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    let other = open(folder.path());
    let put_and_flush = |version| {
        Sample::new("a", version, 10).put(&other).expect("put");
        other.flush().expect("flushed");
    };
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
    let make_old = || {
        let folder = std::fs::File::open(store.folder()).expect("opens");
        folder.set_modified(long_ago).expect("changed");
    };

    put_and_flush(1);
    assert!(store.refresh().expect("refreshed"));
    put_and_flush(2);
    assert!(
        store.refresh().expect("refreshed"),
        "changed too lately to rely on the time"
    );
    make_old();
    assert!(
        !store.refresh().expect("refreshed"),
        "listed, and nothing is new"
    );
    put_and_flush(3);
    make_old();
    assert!(
        !store.refresh().expect("refreshed"),
        "the same time: not listed"
    );
    put_and_flush(4);
    assert!(store.refresh().expect("refreshed"), "another time: listed");
    assert_eq!(Seen::of(&store, "a").versions(), [4, 3, 2, 1]);
}
