//! Full disks, network file systems, clocks that go back, and processes with no files left: evaluation goes
//! on, and what went wrong is counted.

use crate::fault_layer::{Fault, FaultyIo};
use crate::records::{Sample, Seen, files, put};
use rekindle_cache_core::store::{FolderStore, Limits, Merge, Options, Store, StoreError};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

fn open(folder: &Path, io: &Arc<FaultyIo>) -> FolderStore {
    let options = Options {
        limits: Limits::NONE,
        io: io.clone(),
        ..Options::default()
    };
    FolderStore::open_with(folder, options).expect("opens")
}

/// NFS is what triton and pytorch were told of.
#[test]
fn on_a_network_file_system_packs_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let io = Arc::new(FaultyIo::sound(folder.path()));
    io.is_remote.store(true, Ordering::Relaxed);
    let store = open(folder.path(), &io);
    for version in 0..30 {
        put(
            &store,
            &format!("name {version}"),
            version,
            10 * version as usize,
        );
    }
    store.flush().expect("flushed");
    put(&store, "second pack", 100, 3000);
    store.flush().expect("flushed");
    let maps = std::fs::read_to_string("/proc/self/maps").expect("is there");
    for pack in files(folder.path(), "pack") {
        assert!(!maps.contains(pack.to_str().expect("text")), "{maps}");
    }
    let all_are_found = |store: &FolderStore| {
        for version in 0..30 {
            let seen = Seen::of(store, &format!("name {version}"));
            assert_eq!(seen.versions(), [version]);
            assert!(seen.records[0].image_is_right);
        }
        assert!(Seen::of(store, "never put").damage.is_empty());
    };
    all_are_found(&store);
    assert_eq!(store.verify(&mut |_| {}).expect("verified").damage, []);
    store.merge(Merge::All).expect("merged");
    all_are_found(&store);
    all_are_found(&open(folder.path(), &io));

    // The server has removed the file: a miss with a reason each time, and never a signal.
    io.read_error.store(libc::ESTALE as u64, Ordering::Relaxed);
    let seen = Seen::of(&store, "name 3");
    assert!(seen.records.is_empty());
    assert!(
        seen.damage[0]
            .to_string()
            .contains("cannot be read any more")
    );
    io.read_error.store(0, Ordering::Relaxed);
    all_are_found(&store);

    // A segment of a process that died there is adopted by reading it too.
    let dying = Arc::new(FaultyIo::sound(folder.path()));
    let other = open(folder.path(), &dying);
    put(&other, "left", 200, 300_000);
    dying.stop();
    drop(other);
    let store = open(folder.path(), &io);
    assert_eq!(Seen::of(&store, "left").versions(), [200]);
    store.merge(Merge::All).expect("merged");

    // Cut off by another machine.
    let [pack]: [_; 1] = files(folder.path(), "pack").try_into().expect("one");
    let file = std::fs::File::options()
        .write(true)
        .open(pack)
        .expect("opens");
    file.set_len(100).expect("cut off");
    let seen = Seen::of(&store, "name 3");
    assert!(
        seen.records.is_empty() && seen.damage.len() == 1,
        "{seen:?}"
    );
}

#[test]
fn a_clock_that_goes_back_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let io = Arc::new(FaultyIo::sound(folder.path()));
    let store = open(folder.path(), &io);
    let start = SystemTime::now();
    for version in 0..5 {
        let earlier = Duration::from_secs(86_400 * version);
        *io.clock.lock().expect("sound") = Some(start - earlier);
        put(&store, "a", version, 10);
        store.flush().expect("flushed");
        let newest_first: Vec<_> = (0..=version).rev().collect();
        assert_eq!(Seen::of(&store, "a").versions(), newest_first);
        assert_eq!(
            Seen::of(&open(folder.path(), &io), "a").versions(),
            newest_first
        );
    }
    *io.clock.lock().expect("sound") = Some(SystemTime::UNIX_EPOCH - Duration::from_secs(1));
    store.get(&crate::records::key("a"), &mut |_| {
        std::ops::ControlFlow::Break(())
    });
    store.flush().expect("flushed");
    store.maintain().expect("maintained");
    store.merge(Merge::All).expect("merged");
    assert_eq!(Seen::of(&store, "a").versions(), [4, 3, 2, 1, 0]);
    let few = Limits {
        max_entries: 2,
        ..Limits::NONE
    };
    store.prune(&few).expect("pruned");
    assert_eq!(
        Seen::of(&store, "a").versions(),
        [4],
        "the newest is worth the most"
    );
}

#[test]
fn what_does_not_fit_is_kept_in_memory_up_to_a_bound() {
    let folder = tempfile::tempdir().expect("a folder");
    let full = Arc::new(FaultyIo::new(folder.path(), u64::MAX, Fault::Stop));
    let store = open(folder.path(), &full);
    put(&store, "before", 1, 10);
    store.flush().expect("flushed");
    full.stop();
    let mut refused = 0;
    for version in 0..40 {
        let sample = Sample::new(&format!("name {version}"), version, 4 << 20);
        match sample.put(&store) {
            Ok(()) | Err(StoreError::Io { .. }) => {}
            Err(StoreError::Full { pending, .. }) => {
                assert!(pending >= 64 << 20, "{pending}");
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!((20..30).contains(&refused), "{refused} of 40 times 4 MiB");
    let statistics = store.statistics();
    assert_eq!(statistics.dropped, refused);
    assert!(statistics.faults > 0);
    assert_eq!(Seen::of(&store, "before").versions(), [1]);
    assert_eq!(
        Seen::of(&store, "name 0").versions(),
        [0],
        "found all the same"
    );
    assert!(matches!(store.flush(), Err(StoreError::Io { .. })));
    assert!(matches!(store.maintain(), Err(StoreError::Io { .. })));
}

/// Fails writes as a file system with no room does, through the kernel: `RLIMIT_FSIZE` in a process of its
/// own, since root may fill whatever is reserved.
#[test]
fn a_disk_that_is_full_loses_nothing_that_was_there() {
    let folder = tempfile::tempdir().expect("a folder");
    crate::processes::finish(crate::processes::start("full disk", folder.path()));
    let io = Arc::new(FaultyIo::sound(folder.path()));
    let store = open(folder.path(), &io);
    assert_eq!(Seen::of(&store, "before").versions(), [1]);
    assert_eq!(Seen::of(&store, "small").versions(), [3]);
    assert!(Seen::of(&store, "large").records.is_empty());
    assert_eq!(store.verify(&mut |_| {}).expect("verified").damage, []);
    store.maintain().expect("maintained");
    assert_eq!(store.usage().expect("measured").segments, 0);
}

/// What the process of [`a_disk_that_is_full_loses_nothing_that_was_there`] does.
pub(crate) fn fill_the_disk(store: &FolderStore) {
    use rustix::process::{Resource, Rlimit, setrlimit};
    put(store, "before", 1, 100);
    store.flush().expect("flushed");
    // SAFETY: Only says that the signal by which the kernel tells of the limit is ignored, so that writes
    // fail with an error instead.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    let limit = Rlimit {
        current: Some(200_000),
        maximum: None,
    };
    setrlimit(Resource::Fsize, limit).expect("set");
    let large = Sample::new("large", 2, 300_000);
    assert!(matches!(large.put(store), Err(StoreError::Io { .. })));
    assert!(matches!(store.flush(), Err(StoreError::Io { .. })));
    assert_eq!(Seen::of(store, "large").versions(), [2], "in memory");
    assert_eq!(Seen::of(store, "before").versions(), [1]);
    assert!(store.statistics().faults >= 2);
    store.remove(&large.key);
    put(store, "small", 3, 100);
    store.flush().expect("there is room for that");
}

/// What the process of [`no_files_are_left`] does.
pub(crate) fn use_up_files(store: &FolderStore) {
    use rustix::process::{Resource, Rlimit, setrlimit};
    put(store, "before", 1, 100);
    store.flush().expect("flushed");
    let limit = Rlimit {
        current: Some(4000),
        maximum: Some(4000),
    };
    setrlimit(Resource::Nofile, limit).expect("set");
    let mut files = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        files.push(file);
    }
    assert!(files.len() > 3900);
    put(store, "small", 2, 100);
    assert!(matches!(store.flush(), Err(StoreError::Io { .. })));
    assert!(store.maintain().is_err() && store.merge(Merge::All).is_err());
    let _ = store.refresh();
    assert_eq!(Seen::of(store, "before").versions(), [1]);
    assert_eq!(Seen::of(store, "small").versions(), [2]);
    assert!(store.statistics().faults >= 3);
    assert!(FolderStore::open(store.folder().parent().expect("a parent")).is_err());
    drop(files);
    store.flush().expect("flushed");
}

#[test]
fn no_files_are_left() {
    let folder = tempfile::tempdir().expect("a folder");
    crate::processes::finish(crate::processes::start("no files left", folder.path()));
    let store = FolderStore::open(folder.path()).expect("opens");
    for (name, version) in [("before", 1), ("small", 2)] {
        assert_eq!(Seen::of(&store, name).versions(), [version]);
    }
}

#[test]
fn a_home_that_is_not_there_is_an_error_and_not_a_folder_elsewhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path().join("missing/home");
    let error = FolderStore::open_read_only(&home).err().expect("refused");
    assert!(error.to_string().contains("missing/home"), "{error}");
    assert!(!home.exists());
}
