//! What a cache may do, the worker, and what a fork and a store without a disk do to it.

use crate::sums::{NEW, Sums};
use rekindle_cache_core::store::{FolderStore, MemoryStore, Store};
use rekindle_runtime_hooks::cranelift::{Cranelift, CraneliftCache};
use rekindle_runtime_hooks::settings::Mode;
use rekindle_runtime_hooks::{CacheBuilder, Outcome};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn open(
    folder: &Path,
    set: impl FnOnce(CacheBuilder<Cranelift>) -> CacheBuilder<Cranelift>,
) -> Arc<CraneliftCache> {
    let backend = Cranelift::new().expect("Cranelift compiles for this machine");
    let builder = CraneliftCache::builder(backend).folder(folder);
    Arc::new(set(builder).open().expect("it opens"))
}

fn records(folder: &Path) -> u64 {
    let store = FolderStore::open_read_only(folder).expect("it can be looked into");
    store.statistics().records
}

#[test]
fn read_only_finds_what_is_there_and_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let sums = Sums::default();
    let cache = open(folder.path(), |builder| builder);
    assert_eq!(sums.eval(&cache.session(), "a", "1+2"), (3, NEW));
    drop(cache);
    let before = records(folder.path());
    let cache = open(folder.path(), |builder| builder.mode(Mode::ReadOnly));
    assert_eq!(sums.eval(&cache.session(), "a", "1+2"), (3, Outcome::Hit));
    assert_eq!(sums.eval(&cache.session(), "b", "1+3"), (4, NEW));
    // This process keeps it in memory.
    assert_eq!(sums.eval(&cache.session(), "b", "1+3"), (4, Outcome::Hit));
    cache.flush().expect("there is nothing to flush");
    drop(cache);
    assert_eq!(records(folder.path()), before);
}

#[test]
fn read_only_makes_no_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let absent = folder.path().join("absent");
    let cache = open(&absent, |builder| builder.mode(Mode::ReadOnly));
    assert_eq!(Sums::default().eval(&cache.session(), "a", "1"), (1, NEW));
    drop(cache);
    assert!(!absent.exists());
}

#[test]
fn a_store_of_the_hosts_own_is_used_like_any() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let sums = Sums::default();
    for expected in [NEW, Outcome::Hit] {
        let backend = Cranelift::new().expect("Cranelift compiles for this machine");
        let builder = CraneliftCache::builder(backend).store(Arc::clone(&store));
        let cache = Arc::new(builder.open().expect("it opens"));
        assert_eq!(sums.eval(&cache.session(), "a", "7"), (7, expected));
    }
    assert_eq!(store.statistics().records, 1);
}

/// The worker publishes by itself what was put, without a flush and before the cache is closed.
#[test]
fn the_worker_seals_when_nothing_was_put_for_a_while() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = open(folder.path(), |builder| builder);
    let sums = Sums::default();
    sums.eval(&cache.session(), "a", "1");
    let began = Instant::now();
    let mut packs = 0;
    while packs == 0 {
        assert!(began.elapsed() < Duration::from_secs(60), "it never seals");
        std::thread::yield_now();
        let store = FolderStore::open_read_only(folder.path()).expect("it opens");
        packs = store.statistics().packs;
    }
    // Another process would find it.
    let other = open(folder.path(), |builder| builder);
    assert_eq!(sums.eval(&other.session(), "a", "1"), (1, Outcome::Hit));
}

/// One look for newer records before something is compiled.
#[test]
fn what_another_process_published_meanwhile_is_a_hit() {
    let folder = tempfile::tempdir().expect("a folder");
    let (one, other) = (open(folder.path(), |it| it), open(folder.path(), |it| it));
    let sums = Sums::default();
    assert_eq!(sums.eval(&one.session(), "a", "1"), (1, NEW));
    one.flush().expect("it can be written");
    assert_eq!(sums.eval(&other.session(), "a", "1"), (1, Outcome::Hit));
}

/// A child has neither its parent's worker nor its locks. What it compiles is kept, and so is what the
/// parent compiles at the same time.
#[test]
fn a_forked_child_and_its_parent_both_keep_what_they_compile() {
    let folder = tempfile::tempdir().expect("a folder");
    let this = std::env::current_exe().expect("a test has a file");
    let mut child = std::process::Command::new(this);
    child.args([
        "--ignored",
        "--exact",
        "modes::forker",
        "--nocapture",
        "--test-threads=1",
    ]);
    child.env("REKINDLE_TEST_FOLDER", folder.path());
    let output = child.output().expect("it starts");
    assert!(output.status.success(), "{output:?}");
    let cache = open(folder.path(), |builder| builder);
    let sums = Sums::default();
    let session = cache.session();
    for number in 0..40 {
        let name = format!("parent{number}");
        let outcome = sums.eval(&session, &name, &number.to_string()).1;
        assert_eq!(outcome, Outcome::Hit, "{name}");
        let name = format!("child{number}");
        let outcome = sums.eval(&session, &name, &number.to_string()).1;
        assert_eq!(outcome, Outcome::Hit, "{name}");
    }
}

#[test]
#[ignore = "is no test: another starts it as a process of its own, which forks"]
fn forker() {
    let Some(folder) = std::env::var_os("REKINDLE_TEST_FOLDER") else {
        return;
    };
    let cache = open(folder.as_ref(), |builder| builder);
    let sums = Sums::default();
    let session = cache.session();
    // The worker has started, and may hold any lock when the process forks.
    sums.eval(&session, "first", "1");
    // A thread names itself when it begins.
    let began = Instant::now();
    while workers() == 0 {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "there is no worker"
        );
        std::thread::yield_now();
    }
    // SAFETY: the child goes on with nothing but this thread, which is what is tested; it ends by `_exit`.
    let pid = unsafe { libc::fork() };
    let who = if pid == 0 { "child" } else { "parent" };
    for number in 0..40 {
        sums.eval(&session, &format!("{who}{number}"), &number.to_string());
    }
    drop(session);
    drop(cache);
    if pid == 0 {
        // SAFETY: ends the child without running what the test harness has registered.
        unsafe { libc::_exit(0) };
    }
    assert_eq!(workers(), 0, "no thread outlives the cache");
    let mut status = 0;
    // SAFETY: the process is this one's child, and `status` is written during the call.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    assert_eq!(status, 0);
}

/// How many threads of this process are workers.
fn workers() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
    let names = tasks.filter_map(|task| {
        let path = task.ok()?.path().join("comm");
        std::fs::read_to_string(path).ok()
    });
    names.filter(|name| name == "rekindle\n").count()
}
