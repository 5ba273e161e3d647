//! What statistics, removal and refreshing do, one thing at a time. Random sequences are in
//! [`state_machine`](crate::state_machine).

use crate::records::{Sample, Seen, files};
use rekindle_cache_core::store::{FolderStore, MemoryStore, Store};
use std::path::Path;

fn open(folder: &Path) -> FolderStore {
    FolderStore::open(folder).expect("opens")
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
    let other = open(folder.path());
    assert_eq!(Seen::of(&other, "a").versions(), [2]);
    let [removal] = other.removals().try_into().expect("one removal");
    assert_eq!(removal.key, crate::records::key("a"));
    assert_eq!(
        (removal.records, &*removal.reason),
        (1, "the loader's copy was wrong")
    );
}

#[test]
fn what_was_removed_can_be_put_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    let sample = Sample::new("a", 1, 10);
    for _ in 0..3 {
        sample.put(&store).expect("put");
        store.flush().expect("flushed");
        assert_eq!(Seen::of(&open(folder.path()), "a").versions(), [1]);
        store.remove(&sample.key);
        assert!(Seen::of(&store, "a").records.is_empty());
        store.flush().expect("flushed");
        assert!(Seen::of(&open(folder.path()), "a").records.is_empty());
    }
}

#[test]
fn a_large_segment_is_sealed_without_being_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    for version in 0..3 {
        Sample::new("a", version, 17 << 20)
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
