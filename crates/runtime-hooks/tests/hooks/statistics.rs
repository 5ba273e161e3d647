//! What is counted: of a session, of a process, and over the cache's life.

use crate::sums::{NEW, Sums, in_memory, on_folder};
use rekindle_cache_core::history;
use rekindle_cache_core::lifetime::Lifetime;
use rekindle_cache_core::store::{FolderStore, Limits};
use rekindle_cache_core::timeline::{Kind, Timeline};
use rekindle_runtime_hooks::cranelift::{Cranelift, CraneliftCache};
use rekindle_runtime_hooks::{Outcome, Ran, SymbolTable};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The folder of the store's files.
fn files(folder: &Path) -> PathBuf {
    let store = FolderStore::open_read_only(folder).expect("it opens");
    store.folder().to_owned()
}

fn lifetime(folder: &Path) -> Lifetime {
    Lifetime::read(&files(folder)).expect("it can be read")
}

#[test]
fn outcomes_are_counted_with_their_reasons_and_times() {
    let cache = in_memory();
    let sums = Sums::default();
    sums.words.borrow_mut().insert("x".to_owned(), 1);
    let session = cache.session();
    for _ in 0..3 {
        sums.eval(&session, "a", "x");
    }
    sums.meanings
        .borrow_mut()
        .insert("x".to_owned(), "another".to_owned());
    sums.eval(&session, "a", "x");
    sums.eval(&session, "b", "clock");
    sums.eval_as(&session, "c", "1", Ran::Impure);
    sums.eval(&session, "d", "ran c");
    let statistics = session.statistics();
    let reasons: Vec<_> = (statistics.reasons.iter())
        .map(|(reason, times)| (reason.as_str(), *times))
        .collect();
    let expected = [
        ("bypass: unrecordable", 1),
        ("bypass: volatile", 1),
        ("miss: new", 2),
        ("miss: resolution", 1),
    ];
    assert_eq!(reasons, expected);
    assert_eq!(statistics.latencies["hit"].count(), statistics.hits);
    let compiled = statistics.definitions - statistics.hits;
    assert_eq!(statistics.latencies["compiled"].count(), compiled);
    // Another session of the same process.
    sums.eval(&cache.session(), "c", "1");
    assert_eq!(cache.statistics().definitions, statistics.definitions + 1);
    assert_eq!(cache.statistics().hits, statistics.hits + 1);
}

#[test]
fn what_redefinition_leaves_behind_is_told() {
    let cache = in_memory();
    let sums = Sums::default();
    let session = cache.session();
    sums.eval(&session, "a", "1");
    sums.eval(&session, "b", "2");
    let before = session.statistics();
    assert_eq!((before.redefined, before.superseded_bytes), (0, 0));
    sums.eval(&session, "a", "10+20");
    let after = session.statistics();
    assert_eq!(after.redefined, 1);
    assert!(after.superseded_bytes > 0);
    assert!(after.superseded_bytes < after.loaded_bytes);
    // In another session nothing is.
    let session = cache.session();
    sums.eval(&session, "a", "1");
    assert_eq!(session.statistics().redefined, 0);
}

#[test]
fn processes_add_up_over_the_caches_life() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().join("cache");
    let sums = Sums::default();
    let process = |names: &[&str]| {
        let cache = on_folder(&folder, SymbolTable::new());
        let session = cache.session();
        for name in names {
            sums.eval(&session, name, "1+2");
        }
    };
    process(&["a", "b"]);
    let first = lifetime(&folder);
    assert_eq!((first.processes, first.count("definitions")), (1, 2));
    assert_eq!((first.count("misses"), first.count("miss new")), (2, 2));
    assert_eq!(first.latencies["compiled"].count(), 2);
    // A process that only hits has no worker, and counts as well.
    process(&["a", "b"]);
    process(&["a", "b", "c"]);
    let life = lifetime(&folder);
    assert_eq!((life.processes, life.count("definitions")), (3, 7));
    assert_eq!((life.count("hits"), life.count("misses")), (4, 3));
    assert_eq!(life.latencies["hit"].count(), 4);
    assert!(life.count("saved_ns") > 0);
    assert_eq!(life.since, first.since, "the first one's time");
    // One that does nothing leaves nothing.
    process(&[]);
    assert_eq!(lifetime(&folder), life);
}

#[test]
fn a_flush_tells_what_is_new_and_nothing_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let sums = Sums::default();
    let cache = on_folder(folder.path(), SymbolTable::new());
    for name in ["a", "b"] {
        sums.eval(&cache.session(), name, "1");
        cache.flush().expect("it can be written");
    }
    cache.flush().expect("it can be written");
    drop(cache);
    let life = lifetime(folder.path());
    assert_eq!((life.processes, life.count("definitions")), (1, 2));
}

#[test]
fn a_file_of_anything_harms_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let sums = Sums::default();
    let process = || {
        let cache = on_folder(folder.path(), SymbolTable::new());
        sums.eval(&cache.session(), "a", "1").1
    };
    assert_eq!(process(), NEW);
    let path = files(folder.path()).join("statistics");
    std::fs::write(&path, b"S\t1\t1\thits=many\n\xff\x00\tS\n").expect("it is ours");
    assert_eq!(process(), Outcome::Hit);
    let life = lifetime(folder.path());
    assert_eq!((life.count("hits"), life.ignored.len()), (1, 1));
    // A folder in its place: nothing is counted.
    std::fs::remove_file(&path).expect("it is there");
    std::fs::create_dir(&path).expect("it can be made");
    assert_eq!(process(), Outcome::Hit);
}

/// Whoever changes the packs notes how large they are then, and whoever only hits notes nothing.
#[test]
fn growth_and_eviction_are_noted() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().join("cache");
    let sums = Sums::default();
    let process = |limits: Option<Limits>, from: u64, to: u64| {
        let mut builder = CraneliftCache::builder(Cranelift::new().expect("a compiler"));
        builder = builder.folder(&folder);
        if let Some(limits) = limits {
            builder = builder.limits(limits);
        }
        let cache = Arc::new(builder.open().expect("it opens"));
        let session = cache.session();
        for number in from..to {
            sums.eval(&session, "a", &format!("{number}"));
        }
        cache.flush().expect("flushed");
    };
    process(None, 0, 20);
    let samples = history::read(&files(&folder)).expect("it can be read");
    let last = samples.last().expect("one");
    assert_eq!((last.records, last.evicted), (20, 0));
    assert!(last.bytes > 0 && last.packs > 0 && last.time > 1_700_000_000);
    process(None, 0, 20);
    let after_hits = history::read(&files(&folder)).expect("it can be read");
    assert_eq!(after_hits, samples);
    let few = Limits {
        max_entries: 30,
        ..Limits::default()
    };
    process(Some(few), 20, 60);
    process(Some(few), 60, 70);
    let samples = history::read(&files(&folder)).expect("it can be read");
    let evicted: u64 = samples.iter().map(|sample| sample.evicted).sum();
    let last = samples.last().expect("one");
    assert!(last.records <= 30, "{last:?}");
    assert!(evicted >= 40, "{samples:?}");
    assert!(samples.iter().any(|sample| sample.evicted_bytes > 0));
}

/// Only a process that is asked for it leaves its course, with what each evaluation was.
#[test]
fn a_process_leaves_its_course_if_it_is_asked_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().join("cache");
    let sums = Sums::default();
    let process = |timeline: bool, names: &[&str]| {
        let builder = CraneliftCache::builder(Cranelift::new().expect("a compiler"));
        let builder = builder.folder(&folder).timeline(timeline);
        let session = Arc::new(builder.open().expect("it opens")).session();
        for name in names {
            sums.eval(&session, name, "1");
        }
        let definition = rekindle_runtime_hooks::Definition {
            name: "broken",
            text: "?",
            context: "",
        };
        let failed = session.eval_def(&definition, &sums, |_| Err("no such term"));
        assert!(failed.is_err());
    };
    process(false, &["a"]);
    assert_eq!(Timeline::read(&files(&folder)).expect("readable"), None);
    process(true, &["a", "b\t<script>"]);
    process(false, &["c"]);
    let timeline = Timeline::read(&files(&folder)).expect("readable");
    let timeline = timeline.expect("one");
    let seen: Vec<_> = (timeline.spans.iter())
        .map(|span| (span.kind, span.name.as_str()))
        .collect();
    let expected = [
        (Kind::Open, "the store"),
        (Kind::Hit, "a"),
        (Kind::Miss, "b\t<script>"),
        (Kind::Failed, "broken"),
    ];
    assert_eq!(seen, expected);
    assert_eq!(timeline.process, std::process::id());
    let [open, hit, miss, _] = &timeline.spans[..] else {
        panic!("four");
    };
    let end = |span: &rekindle_cache_core::timeline::Span| span.start + span.length;
    assert!(end(open) <= end(hit));
    assert!(end(hit) <= miss.start && end(miss) <= timeline.length);
}
