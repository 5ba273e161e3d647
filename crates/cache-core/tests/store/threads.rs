//! One store, many threads, and visitors that come back.

use crate::records::{Sample, Seen, key};
use rekindle_cache_core::store::{FolderStore, Found, Store};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn what_a_thread_has_put_is_found_at_any_time() {
    const THREADS: usize = 4;
    const RECORDS: u64 = 120;
    let folder = tempfile::tempdir().expect("a folder");
    let store = FolderStore::open(folder.path()).expect("opens");
    let running = AtomicUsize::new(THREADS);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (store, running) = (&store, &running);
            scope.spawn(move || {
                for version in 0..RECORDS {
                    let name = format!("{thread} {version}");
                    Sample::new(&name, version, 5000).put(store).expect("put");
                    for earlier in [0, version / 2, version] {
                        let seen = Seen::of(store, &format!("{thread} {earlier}"));
                        assert_eq!(
                            seen.records.first().map(|record| record.image_is_right),
                            Some(true)
                        );
                    }
                }
                running.fetch_sub(1, Ordering::Release);
            });
        }
        scope.spawn(|| {
            while running.load(Ordering::Acquire) > 0 {
                store.flush().expect("flushed");
                store.refresh().expect("refreshed");
                store.statistics();
            }
        });
    });
    store.flush().expect("flushed");
    let other = FolderStore::open(folder.path()).expect("opens");
    for thread in 0..THREADS {
        for version in 0..RECORDS {
            let name = format!("{thread} {version}");
            assert_eq!(Seen::of(&store, &name).versions(), [version], "{name}");
            assert_eq!(Seen::of(&other, &name).versions(), [version], "{name}");
        }
    }
    assert_eq!(store.statistics(), other.statistics());
}

#[test]
fn a_visitor_may_do_anything_with_the_store() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = FolderStore::open(folder.path()).expect("opens");
    for name in ["a", "b"] {
        Sample::new(name, 1, 50).put(&store).expect("put");
    }
    store.flush().expect("flushed");
    Sample::new("a", 2, 50).put(&store).expect("put");
    let mut shown = 0;
    store.get(&key("a"), &mut |found| {
        let Found::Record(outer) = found else {
            panic!("no record: {found:?}");
        };
        shown += 1;
        assert_eq!(Seen::of(&store, "b").versions(), [1]);
        Sample::new("c", 1, 50).put(&store).expect("put");
        store.flush().expect("flushed");
        store.refresh().expect("refreshed");
        store.report_damage(&key("a"), "for the test");
        store.remove(&key("b"));
        Sample::new("b", 1, 50).put(&store).expect("put");
        assert_eq!(
            outer.metadata.entry.name, "a",
            "the view is still what it was"
        );
        ControlFlow::Continue(())
    });
    assert_eq!(
        shown, 2,
        "a look-up goes on with what was there when it began"
    );
    assert!(Seen::of(&store, "a").records.is_empty());
    assert_eq!(Seen::of(&store, "c").records.len(), 2);
}

#[test]
fn a_visitor_ends_the_look_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = FolderStore::open(folder.path()).expect("opens");
    for version in 0..4 {
        Sample::new("a", version, 50).put(&store).expect("put");
        if version == 1 {
            store.flush().expect("flushed");
        }
    }
    for wanted in 1..=4 {
        let mut shown = 0;
        store.get(&key("a"), &mut |_| {
            shown += 1;
            if shown == wanted {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        assert_eq!(shown, wanted);
        let mut shown = 0;
        store.for_each(&mut |_| {
            shown += 1;
            if shown == wanted {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        assert_eq!(shown, wanted);
    }
}
