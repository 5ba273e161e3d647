use super::*;
use rekindle_cache_core::Digest;
use std::os::unix::fs::FileExt;

fn origin(name: &str) -> Origin {
    Origin {
        key: FormKey(Digest::of("test", name.as_bytes())),
        image: u64::from_le_bytes(name.as_bytes()[..1].repeat(8).try_into().expect("eight")),
    }
}

/// What the file of `watch` says: depth, signal and the first letter of whose run it is, of each slot that
/// is in use.
fn slots(watch: &Watch) -> Vec<(u32, u32, char)> {
    let watched = watch.watched.get().and_then(Option::as_ref);
    let file = watched.expect("something was watched")._file.file();
    let mut bytes = vec![0; rekindle_cache_core::store::running::BYTES];
    file.read_exact_at(&mut bytes, 0).expect("it can be read");
    let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four"));
    let slots = bytes.chunks_exact(64).skip(1).map(|slot| {
        let letter = char::from(slot[8]);
        if slot[0] > 0 {
            let key = origin(&letter.to_string()).key;
            assert_eq!(slot[16..48], key.0.0);
        }
        (number(&slot[..4]), number(&slot[4..8]), letter)
    });
    slots.filter(|(depth, _, _)| *depth > 0).collect()
}

#[test]
fn what_is_under_way_is_in_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let watch = Watch::new(folder.path());
    let outer = watch.enter(&origin("a"));
    assert_eq!(slots(&watch), [(1, 0, 'a')]);
    let inner = watch.enter(&origin("b"));
    assert_eq!(slots(&watch), [(2, 0, 'b')]);
    drop(inner);
    assert_eq!(slots(&watch), [(1, 0, 'a')]);
    slots::note(11);
    assert_eq!(slots(&watch), [(1, 11, 'a')]);
    slots::take_back();
    drop(outer);
    assert_eq!(slots(&watch), []);
}

#[test]
fn runs_may_end_in_any_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let watch = Watch::new(folder.path());
    let [a, b, c] = ["a", "b", "c"].map(|name| watch.enter(&origin(name)));
    drop(a);
    assert_eq!(slots(&watch), [(2, 0, 'c')]);
    drop(c);
    assert_eq!(slots(&watch), [(1, 0, 'b')]);
    let a = watch.enter(&origin("a"));
    drop(b);
    assert_eq!(slots(&watch), [(1, 0, 'a')]);
    drop(a);
    assert_eq!(slots(&watch), []);
}

#[test]
fn threads_have_slots_of_their_own_and_leave_them_to_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let watch = Watch::new(folder.path());
    let rest: Vec<_> = (0..300)
        .map(|_| {
            std::thread::scope(|scope| {
                let thread = scope.spawn(|| {
                    let inside = watch.enter(&origin("a")).expect("a slot is free");
                    slots::note(6);
                    assert_eq!(slots(&watch), [(1, 6, 'a')]);
                    inside.place
                });
                thread.join().expect("it ends")
            })
        })
        .collect();
    assert!(rest.iter().all(|place| *place == rest[0]), "{rest:?}");
    let barrier = std::sync::Barrier::new(4);
    std::thread::scope(|scope| {
        for name in ["a", "b", "c"] {
            let (watch, barrier) = (&watch, &barrier);
            scope.spawn(move || {
                let _inside = watch.enter(&origin(name));
                barrier.wait();
                barrier.wait();
            });
        }
        barrier.wait();
        let mut under_way: Vec<_> = slots(&watch).into_iter().map(|slot| slot.2).collect();
        under_way.sort_unstable();
        assert_eq!(under_way, ['a', 'b', 'c']);
        barrier.wait();
    });
    assert_eq!(slots(&watch), []);
}

#[test]
fn two_caches_are_watched_apart_and_memory_is_used_again() {
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    for _ in 0..3 {
        let [one, two] = [0, 1].map(|place: usize| Watch::new(folders[place].path()));
        let first = one.enter(&origin("a"));
        let second = two.enter(&origin("b"));
        assert_eq!(slots(&one), [(1, 0, 'a')]);
        assert_eq!(slots(&two), [(1, 0, 'b')]);
        drop(first);
        assert_eq!((slots(&one), slots(&two)), (vec![], vec![(1, 0, 'b')]));
        drop(second);
    }
}

#[test]
fn where_no_file_can_be_made_nothing_is_watched() {
    let watch = Watch::new(Path::new("/proc/nowhere"));
    assert!(watch.enter(&origin("a")).is_none());
}
