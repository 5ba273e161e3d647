//! Merging, adopting, and what living processes have of it.

use crate::fault_layer::FaultyIo;
use crate::records::{Sample, Seen, files, key, names, open, put};
use rekindle_cache_core::store::{FolderStore, Limits, Merge, Options, Store};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

#[test]
fn merging_keeps_the_order_in_which_records_are_loaded() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    let expected: Vec<String> = (0..12).map(|n| format!("name {n}")).collect();
    for (version, name) in (0..).zip(&expected) {
        put(&store, name, version, 100);
        store.flush().expect("flushed");
    }
    assert_eq!(files(folder.path(), "pack").len(), 12);
    let merged = store.merge(Merge::All).expect("merged");
    assert_eq!(
        (
            merged.packs_before,
            merged.packs_after,
            merged.records,
            merged.dropped
        ),
        (12, 1, 12, 0)
    );
    assert_eq!(files(folder.path(), "pack").len(), 1);
    assert_eq!(names(&store), expected);
    assert_eq!(names(&open(folder.path())), expected);
    assert_eq!(store.verify(&mut |_| {}).expect("verified").damage, []);
}

#[test]
fn a_few_packs_are_left_alone_and_many_become_few() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    for version in 0..40 {
        put(&store, &format!("name {version}"), version, 100);
        store.flush().expect("flushed");
        store.maintain().expect("maintained");
        let packs = files(folder.path(), "pack").len();
        assert!(packs <= 9, "{packs}");
    }
    let store = open(folder.path());
    for version in 0..40 {
        let name = format!("name {version}");
        assert_eq!(Seen::of(&store, &name).versions(), [version]);
    }
}

#[test]
fn many_short_processes_that_never_maintain_do_not_leave_a_pack_each() {
    let folder = tempfile::tempdir().expect("a folder");
    for version in 0..70 {
        put(
            &open(folder.path()),
            &format!("name {version}"),
            version,
            20,
        );
    }
    assert!(files(folder.path(), "pack").len() <= 33);
    assert_eq!(names(&open(folder.path())).len(), 70);
}

#[test]
fn racing_compilations_of_one_definition_become_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let (left, right) = (open(folder.path()), open(folder.path()));
    for store in [&left, &right] {
        put(store, "a", 1, 100);
        store.flush().expect("flushed");
    }
    assert_eq!(names(&open(folder.path())), ["a"], "shown once");
    let merged = left.merge(Merge::All).expect("merged");
    assert_eq!((merged.records, merged.dropped), (1, 1));
    assert_eq!(Seen::of(&open(folder.path()), "a").versions(), [1]);
}

#[test]
fn of_two_equal_compilations_the_intact_one_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    put(&store, "a", 1, 100);
    store.flush().expect("flushed");
    let first = files(folder.path(), "pack");
    put(&store, "a", 1, 100);
    store.flush().expect("flushed");
    drop(store);
    let image = Sample::new("a", 1, 100).image;
    let newer = files(folder.path(), "pack");
    let newer = newer
        .iter()
        .find(|path| !first.contains(path))
        .expect("two");
    let mut bytes = std::fs::read(newer).expect("read");
    let place = bytes.windows(100).position(|window| window == image);
    bytes[place.expect("is there") + 50] ^= 1;
    std::fs::write(newer, bytes).expect("written");
    let store = open(folder.path());
    store.merge(Merge::All).expect("merged");
    let seen = Seen::of(&open(folder.path()), "a");
    assert_eq!(seen.versions(), [1]);
    assert!(seen.records[0].image_is_right);
    assert_eq!(store.quarantined().expect("listed").len(), 1);
}

#[test]
fn a_removal_outlives_a_merge_without_what_it_removes() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    put(&store, "removed", 1, 100_000);
    put(&store, "large", 2, 100_000);
    store.flush().expect("flushed");
    store.remove(&key("removed"));
    for version in 10..20 {
        put(&store, &format!("small {version}"), version, 10);
        store.flush().expect("flushed");
    }
    let merged = store.merge(Merge::Due).expect("merged");
    assert!(merged.packs_before >= 2, "{merged:?}");
    assert_eq!(
        files(folder.path(), "pack").len(),
        2,
        "the large one is not copied"
    );
    let other = open(folder.path());
    assert!(Seen::of(&other, "removed").records.is_empty());
    assert_eq!(other.removals().len(), 1);
    store.merge(Merge::All).expect("merged");
    let other = open(folder.path());
    assert!(Seen::of(&other, "removed").records.is_empty());
    assert_eq!(Seen::of(&other, "large").versions(), [2]);
    assert!(other.removals().is_empty(), "nothing is left to remove");
}

#[test]
fn a_removal_of_a_process_that_died_is_adopted() {
    let folder = tempfile::tempdir().expect("a folder");
    put(&open(folder.path()), "removed", 1, 10);
    let io = Arc::new(FaultyIo::sound(folder.path()));
    let options = Options {
        io: io.clone(),
        ..Options::default()
    };
    let store = FolderStore::open_with(folder.path(), options).expect("opens");
    store.remove(&key("removed"));
    put(&store, "fills the batch", 2, 300_000);
    io.stop();
    drop(store);
    let store = open(folder.path());
    assert_eq!(Seen::of(&store, "fills the batch").versions(), [2]);
    assert!(Seen::of(&store, "removed").records.is_empty());
}

/// Evicting what a live process had mapped is what wasmtime and tt-metal were told of.
#[test]
fn nothing_goes_away_under_a_process_that_has_it_open() {
    let folder = tempfile::tempdir().expect("a folder");
    let living = open(folder.path());
    for version in 0..20 {
        put(&living, &format!("name {version}"), version, 5000);
    }
    living.flush().expect("flushed");
    let before = living.usage().expect("measured");

    let other = open(folder.path());
    assert_eq!(other.clear().expect("cleared").records, 20);
    assert!(Seen::all(&other).records.is_empty());
    let usage = other.usage().expect("measured");
    assert_eq!(
        (usage.packs, usage.retired),
        (0, before.packs),
        "still counts"
    );
    other.maintain().expect("maintained");
    assert_eq!(other.usage().expect("measured").retired, before.packs);

    for version in 0..20 {
        let seen = Seen::of(&living, &format!("name {version}"));
        assert_eq!(seen.versions(), [version]);
        assert!(seen.records[0].image_is_right);
    }
    assert_eq!(living.verify(&mut |_| {}).expect("verified").damage, []);

    // That was a look at the folder, so the living process has let go of it.
    assert!(Seen::all(&living).records.is_empty());
    // Processes that other tests start have all files open for a moment.
    let began = std::time::Instant::now();
    loop {
        other.maintain().expect("maintained");
        let retired = other.usage().expect("measured").retired;
        if retired == 0 {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{retired} bytes");
    }
}

#[test]
fn a_miss_after_a_merge_elsewhere_is_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let (left, right) = (open(folder.path()), open(folder.path()));
    for version in 0..3 {
        put(&left, &format!("name {version}"), version, 10);
        left.flush().expect("flushed");
    }
    right.refresh().expect("refreshed");
    left.merge(Merge::All).expect("merged");
    assert_eq!(names(&right).len(), 3, "as it was");
    put(&left, "new", 3, 10);
    left.flush().expect("flushed");
    assert!(Seen::of(&right, "new").records.is_empty());
    assert!(right.refresh().expect("refreshed"));
    assert_eq!(Seen::of(&right, "new").versions(), [3]);
    assert_eq!(names(&right).len(), 4);
    assert_eq!(
        right.statistics().packs,
        2,
        "what was replaced is let go of"
    );
}

/// What was replaced by what was replaced was taken for evicted, while what had come in its place was not
/// seen yet: records that were there were missed under many merges at once.
#[test]
fn who_has_not_looked_for_long_lets_go_of_all_that_was_replaced_since() {
    let folder = tempfile::tempdir().expect("a folder");
    let (left, right) = (open(folder.path()), open(folder.path()));
    for version in 0..3 {
        put(&left, &format!("name {version}"), version, 10);
        left.flush().expect("flushed");
    }
    right.refresh().expect("refreshed");
    assert_eq!(right.statistics().packs, 3);
    for version in 3..6 {
        left.merge(Merge::All).expect("merged");
        put(&left, &format!("name {version}"), version, 10);
        left.flush().expect("flushed");
    }
    left.merge(Merge::All).expect("merged");
    assert_eq!(names(&right).len(), 3, "as it was");
    assert!(right.refresh().expect("refreshed"));
    assert_eq!(names(&right).len(), 6);
    assert_eq!(right.statistics().packs, 1);
}

#[test]
fn one_maintains_and_the_other_goes_on_without() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    put(&store, "a", 1, 10);
    store.flush().expect("flushed");
    store.maintain().expect("maintained");
    let lock = std::fs::File::open(folder.path().join("v3/maintenance.lock")).expect("is there");
    lock.lock().expect("locked");
    assert!(store.merge(Merge::All).expect("no fault").busy);
    assert!(store.prune(&Limits::default()).expect("no fault").busy);
    assert!(store.clear().expect("no fault").busy);
    store.maintain().expect("no fault");
    put(&store, "b", 2, 10);
    store.flush().expect("sealing needs no lock");
    assert_eq!(Seen::of(&open(folder.path()), "b").versions(), [2]);
}

#[test]
fn versions_live_side_by_side_until_the_old_one_is_not_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    let (older, newer) = (folder.path().join("v1"), folder.path().join("v9"));
    for other in [&older, &newer] {
        std::fs::create_dir(other).expect("made");
        std::fs::write(other.join("0.pack"), b"of another version").expect("written");
        std::fs::write(other.join("1.segment"), b"being written").expect("written");
    }
    let months_ago = SystemTime::now() - Duration::from_secs(61 * 86_400);
    let make_old = |path: &Path| {
        let file = std::fs::File::open(path).expect("opens");
        file.set_modified(months_ago).expect("changed");
    };
    store.maintain().expect("maintained");
    assert!(older.exists(), "was written to lately");
    for other in [&older, &newer] {
        make_old(&other.join("0.pack"));
        make_old(&other.join("1.segment"));
        make_old(other);
    }
    let writer = std::fs::File::open(older.join("1.segment")).expect("opens");
    writer.lock().expect("locked");
    store.maintain().expect("maintained");
    assert!(older.exists(), "somebody writes there");
    drop(writer);
    store.maintain().expect("maintained");
    assert!(!older.exists(), "nobody has used it for two months");
    assert!(newer.join("0.pack").exists(), "never touched");
    assert_eq!(store.statistics().faults, 0);
}
