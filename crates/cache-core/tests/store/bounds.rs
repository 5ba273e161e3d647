//! Bounds of a store: what goes first, what uses count for, and what goes with where it came from.

use crate::fault_layer::FaultyIo;
use crate::records::{Sample, Seen, files, key, names, open, open_with, put};
use rekindle_cache_core::store::{FolderStore, Limits, Merge, Options, Provenance, Store};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Unbounded growth is what jac, with 144 GB, and bootsnap were told of.
#[test]
fn a_store_stays_within_its_bounds() {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = Limits {
        max_bytes: 2 << 20,
        max_entries: 10_000,
    };
    let store = open_with(folder.path(), limits);
    for version in 0..200 {
        put(&store, &format!("name {version}"), 1000 + version, 40_000);
        if version % 10 == 9 {
            store.flush().expect("flushed");
            store.maintain().expect("maintained");
            let usage = store.usage().expect("measured");
            assert!(usage.total() <= limits.max_bytes, "{usage:?}");
        }
    }
    let kept = names(&store).len();
    assert!((20..=45).contains(&kept), "{kept} records of 40 KB in 2 MB");
    assert_eq!(Seen::of(&store, "name 199").versions(), [1199]);
    assert_eq!(store.statistics().faults, 0);

    let few = Limits {
        max_entries: 16,
        ..Limits::NONE
    };
    let pruned = store.prune(&few).expect("pruned");
    assert_eq!(pruned.kept, 10, "five eighths of sixteen");
    assert_eq!(pruned.records, kept as u64 - 10);
    assert_eq!(
        store.prune(&few).expect("pruned").records,
        0,
        "once is enough"
    );
}

#[test]
fn without_a_worker_flushing_keeps_the_bound() {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = Limits {
        max_bytes: 1 << 20,
        max_entries: u64::MAX,
    };
    for version in 0..60 {
        let store = open_with(folder.path(), limits);
        put(&store, &format!("name {version}"), version, 100_000);
        drop(store);
    }
    let usage = open_with(folder.path(), limits).usage().expect("measured");
    assert!(usage.total() <= limits.max_bytes + 101_000, "{usage:?}");
}

#[test]
fn what_is_cheap_unused_and_large_goes_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let io = Arc::new(FaultyIo::sound(folder.path()));
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000);
    let set_clock = |time| *io.clock.lock().expect("sound") = Some(time);
    set_clock(now - Duration::from_secs(30 * 86_400));
    let options = Options {
        limits: Limits::NONE,
        io: io.clone(),
        ..Options::default()
    };
    let store = FolderStore::open_with(folder.path(), options).expect("opens");
    for (name, compile_ns, size) in [
        ("cheap", 1_000, 1000),
        ("large", 100_000, 100_000),
        ("unused", 100_000, 1000),
        ("used", 100_000, 1000),
        ("expensive", 100_000_000, 1000),
        ("used and cheap", 1_001, 1000),
    ] {
        put(&store, name, compile_ns, size);
    }
    // An older version of what is expensive is worth half of that.
    put(&store, "expensive", 100_000_001, 1000);
    store.flush().expect("flushed");
    set_clock(now);
    for name in ["used", "used and cheap"] {
        store.get(&key(name), &mut |_| std::ops::ControlFlow::Break(()));
    }
    store.flush().expect("flushed");
    let mut left = Vec::new();
    for stay in (1..7).rev() {
        let limits = Limits {
            max_entries: stay * 8 / 5 + u64::from(stay * 8 % 5 > 0),
            max_bytes: u64::MAX,
        };
        store.prune(&limits).expect("pruned");
        let mut now = names(&store);
        now.sort();
        left.push(now);
    }
    let gone: Vec<_> = left
        .windows(2)
        .flat_map(|pair| {
            let mut gone = pair[0].clone();
            for name in &pair[1] {
                let place = gone.iter().position(|other| other == name);
                gone.remove(place.expect("nothing comes back"));
            }
            gone
        })
        .collect();
    assert_eq!(
        gone,
        // What was never used was made in 1970, so being used outweighs being a thousand times as costly.
        [
            "cheap",
            "large",
            "unused",
            "used and cheap",
            "expensive",
            "expensive"
        ],
        "{left:?}"
    );
    assert_eq!(left.last().expect("some"), &["used"]);
}

#[test]
fn uses_are_listed() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    put(&store, "a", 1, 10);
    put(&store, "b", 2, 10);
    store.flush().expect("flushed");
    for _ in 0..3 {
        store.get(&key("a"), &mut |_| std::ops::ControlFlow::Break(()));
    }
    // Looked at and not taken.
    store.get(&key("b"), &mut |_| std::ops::ControlFlow::Continue(()));
    store.flush().expect("flushed");
    let mut listed = Vec::new();
    open(folder.path()).inventory(&mut |found| {
        let name = found.record.metadata.entry.name.as_str().to_owned();
        listed.push((name, found.hits, found.last_used.is_some()));
        assert_eq!(found.file, files(folder.path(), "pack")[0]);
        assert!(found.bytes > 100 && found.offset >= 32 && !found.is_duplicate);
        std::ops::ControlFlow::Continue(())
    });
    assert_eq!(
        listed,
        [("a".to_owned(), 3, true), ("b".to_owned(), 0, false)]
    );
}

#[test]
fn records_are_dropped_by_where_they_came_from() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    let (good, bad) = (
        Provenance::signed_by([1; 32]),
        Provenance::signed_by([2; 32]),
    );
    for (name, provenance) in [
        ("own", Provenance::OWN),
        ("good", good),
        ("bad", bad),
        ("unsigned", Provenance::UNSIGNED),
    ] {
        let sample = Sample::new(name, 1, 10);
        sample.put_from(&store, provenance).expect("put");
    }
    store.flush().expect("flushed");
    store.merge(Merge::All).expect("merged");
    let dropped = store.retain(&mut |record| record.provenance != bad);
    assert_eq!(dropped.expect("dropped").records, 1);
    let mut left = Vec::new();
    open(folder.path()).for_each(&mut |found| {
        if let rekindle_cache_core::store::Found::Record(record) = found {
            left.push((
                record.metadata.entry.name.as_str().to_owned(),
                record.provenance,
            ));
        }
        std::ops::ControlFlow::Continue(())
    });
    assert_eq!(
        left,
        [
            ("own".to_owned(), Provenance::OWN),
            ("good".to_owned(), good),
            ("unsigned".to_owned(), Provenance::UNSIGNED)
        ]
    );
}
