//! Code that a better compiler makes in idle time, beside that of the cheap one.

use crate::children::{Process, until};
use crate::sums::{NEW, Sums};
use crate::tiers::{ALL, Habit, MINUTE, NONE, Tiered, backend, describe, improve_sum, open};
use rekindle_cache_core::store::{Found, MemoryStore, Store};
use rekindle_runtime_hooks::cranelift::Cranelift;
use rekindle_runtime_hooks::cranelift::backend::{OptLevel, Options};
use rekindle_runtime_hooks::{Cache, Improving, MissReason, Outcome};
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[test]
fn the_next_process_has_the_better_code() {
    const DEFINITIONS: i64 = 40;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cache");
    Process::start("improving::compiles", &path, &[])
        .wait()
        .succeeded();
    let sums = Sums::default();
    let cache = open(&path, NONE);
    let session = cache.session();
    for number in 0..DEFINITIONS {
        let evaluated = sums.eval(&session, &format!("d{number}"), &format!("{number}+1"));
        assert_eq!(evaluated, (number + 1, Outcome::Hit));
    }
    let statistics = session.statistics();
    assert_eq!(statistics.better_hits, DEFINITIONS as u64);
    assert_eq!(sums.compiled.get(), 0);

    // Whoever has no better compiler is in another environment.
    let cheap = Options::default().opt_level(OptLevel::None);
    let cheap = Cranelift::with(&cheap).expect("Cranelift compiles for this machine");
    let cache = Cache::builder(cheap).folder(&path).open();
    let session = Arc::new(cache.expect("it opens")).session();
    assert_eq!(sums.eval(&session, "d0", "0+1"), (1, NEW));
}

#[test]
#[ignore = "is no test: another starts it as a process of its own"]
fn compiles() {
    let Some(folder) = std::env::var_os("REKINDLE_TEST_FOLDER") else {
        return;
    };
    let cache = open(folder.as_ref(), ALL);
    let session = cache.session();
    let sums = Sums::default();
    for number in 0..40 {
        let evaluated = sums.eval(&session, &format!("d{number}"), &format!("{number}+1"));
        assert_eq!(evaluated, (number + 1, NEW));
    }
}

/// Better code stands and falls with what the cheap code was compiled from.
#[test]
fn what_is_stale_misses_whoever_compiled_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cache");
    let sums = Sums::default();
    let set = |text: &str| {
        let mut states = sums.states.borrow_mut();
        states.insert("state".to_owned(), text.to_owned());
    };
    let text = "40+labs 1+state kind state";
    set("1");
    let first = open(&path, ALL);
    let before = sums.eval(&first.session(), "a", text);
    assert_eq!(before.1, NEW);
    drop(first);

    let cache = open(&path, NONE);
    let session = cache.session();
    assert_eq!(sums.eval(&session, "a", text), (before.0, Outcome::Hit));
    assert_eq!(session.statistics().better_hits, 1);
    set("22");
    let (_, outcome) = sums.eval(&session, "a", text);
    assert!(
        matches!(outcome, Outcome::Miss(MissReason::Stale(_))),
        "{outcome}"
    );
    // Each state has its own: the new one's is the cheap code.
    assert_eq!(sums.eval(&session, "a", text).1, Outcome::Hit);
    assert_eq!(session.statistics().better_hits, 1);
    set("1");
    assert_eq!(sums.eval(&session, "a", text), (before.0, Outcome::Hit));
    assert_eq!(session.statistics().better_hits, 2);
    drop((session, cache));
    // Both states give the same unit, and the other one's code is made better for itself.
    for (improving, better) in [(Improving { share: 1.0, ..ALL }, 1), (NONE, 2)] {
        let cache = open(&path, improving);
        let session = cache.session();
        for state in ["22", "1"] {
            set(state);
            assert_eq!(sums.eval(&session, "a", text), (before.0, Outcome::Hit));
        }
        assert_eq!(session.statistics().better_hits, better);
    }
}

/// What a macro does is known by its cheap object, so its better code makes nothing stale that it ran for.
#[test]
fn better_code_changes_no_behaviour() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cache");
    let sums = Sums::default();
    let eval = |cache: &Arc<Cache<Tiered>>, expected: &Outcome, names: &[&str]| {
        let session = cache.session();
        for (name, text) in [("macro", "1+2"), ("user", "3+ran macro"), ("other", "4")] {
            if names.contains(&name) {
                let (_, outcome) = sums.eval(&session, name, text);
                assert_eq!(outcome, *expected, "{name}");
            }
        }
        session.statistics().better_hits
    };
    let (builder, _) = describe(&path, NONE, Habit::Plain);
    let cache = Arc::new(builder.open().expect("it opens"));
    eval(&cache, &NEW, &["macro", "user"]);
    drop(cache);
    // Of the macro alone, and then of what it ran for.
    let hot = Improving { share: 1.0, ..ALL };
    assert_eq!(eval(&open(&path, hot), &Outcome::Hit, &["macro"]), 0);
    let cache = open(&path, hot);
    assert_eq!(eval(&cache, &Outcome::Hit, &["macro", "user"]), 1);
    drop(cache);
    let cache = open(&path, NONE);
    assert_eq!(eval(&cache, &Outcome::Hit, &["macro", "user"]), 2);
}

/// A hit that is chosen has its front end run, once; another process has the better code.
#[test]
fn what_many_processes_evaluate_is_made_better() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cache");
    let sums = Sums::default();
    let hot = Improving {
        costly: Duration::MAX,
        share: 0.25,
        at_close: MINUTE,
    };
    let mut better = Vec::new();
    // Where a process begins to choose is chance: of one that is left, it chooses a quarter. So many leave out none.
    for process in 0..200 {
        let cache = open(&path, hot);
        let session = cache.session();
        for number in 0..10 {
            let (sum, _) = sums.eval(&session, &format!("d{number}"), &number.to_string());
            assert_eq!(sum, number);
        }
        let statistics = session.statistics();
        assert_eq!(statistics.hits, if process == 0 { 0 } else { 10 });
        better.push(statistics.better_hits);
    }
    assert_eq!(better[0] + better[1], 0);
    assert!(better.is_sorted(), "{better:?}");
    // A quarter of what is left, each time.
    assert_eq!(
        better.last(),
        Some(&10),
        "{better:?}, {}",
        sums.compiled.get()
    );
    assert_eq!(
        sums.compiled.get(),
        20,
        "each compiled once, and made better once"
    );
}

/// A host that asked is told, and has the new factory from then on, although the old one was shared.
#[test]
fn a_host_is_handed_the_new_factory() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cache");
    let sums = Sums::default();
    sums.generation.set(Some(0));
    let told = Arc::<Mutex<Vec<String>>>::default();
    let listener = {
        let told = Arc::clone(&told);
        move |definition: &rekindle_runtime_hooks::Definition<'_>| {
            let mut told = told.lock().expect("nobody panics");
            told.push(definition.name.to_owned());
        }
    };
    let (builder, compiled) = describe(&path, NONE, Habit::Plain);
    let cache = builder.on_better(listener).open().expect("it opens");
    let cache = Arc::new(cache);
    let session = cache.session();
    let counts = || {
        let statistics = session.statistics();
        (statistics.better_hits, statistics.shared_hits)
    };
    assert_eq!(sums.eval(&session, "a", "1+2"), (3, NEW));
    for _ in 0..3 {
        assert_eq!(sums.eval(&session, "a", "1+2"), (3, Outcome::Hit));
    }
    assert_eq!(counts(), (0, 2));
    // The host knows that it is worth it.
    improve_sum(&session, &sums);
    until(|| !told.lock().expect("nobody panics").is_empty());
    assert_eq!(session.statistics().improved, 1);
    for _ in 0..3 {
        assert_eq!(sums.eval(&session, "a", "1+2"), (3, Outcome::Hit));
    }
    assert_eq!(counts(), (1, 4), "looked up once, and shared after that");
    drop((session, cache));
    assert_eq!(*told.lock().expect("nobody panics"), ["a"]);
    assert_eq!(compiled.load(Ordering::Relaxed), 1);
}

/// Verification compiles with the cheap compiler, and compares with the cheap object.
#[test]
fn verification_does_not_take_better_code_for_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cache");
    let sums = Sums::default();
    let eval = |cache: &Arc<Cache<Tiered>>| {
        let session = cache.session();
        for number in 0..10 {
            sums.eval(&session, &format!("d{number}"), &format!("{number}+7"));
        }
        session
    };
    eval(&open(&path, ALL));
    let (builder, _) = describe(&path, NONE, Habit::Plain);
    let cache = Arc::new(builder.verify(1.0).open().expect("it opens"));
    let session = eval(&cache);
    until(|| session.statistics().verified == 10);
    let statistics = session.statistics();
    assert_eq!((statistics.better_hits, statistics.wrong), (10, 0));
}

#[test]
fn what_the_better_compiler_refuses_stays_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    for habit in [Habit::Fails, Habit::Panics] {
        let path = folder.path().join(format!("{habit:?}"));
        let sums = Sums::default();
        for expected in [NEW, Outcome::Hit] {
            let (builder, compiled) = describe(&path, Improving { share: 1.0, ..ALL }, habit);
            let cache = Arc::new(builder.open().expect("it opens"));
            let session = cache.session();
            assert_eq!(sums.eval(&session, "a", "5"), (5, expected));
            drop((session, cache));
            assert_eq!(compiled.load(Ordering::Relaxed), 1);
        }
        let cache = open(&path, NONE);
        let session = cache.session();
        assert_eq!(sums.eval(&session, "a", "5"), (5, Outcome::Hit));
        assert_eq!(session.statistics().better_hits, 0);
    }
}

/// The tier of each record in `store`, and what compiling it took.
fn records(store: &dyn Store) -> Vec<(u8, u64)> {
    let mut records = Vec::new();
    store.for_each(&mut |found| {
        if let Found::Record(record) = found {
            let entry = &record.metadata.entry;
            records.push((entry.tier, entry.compile_ns.to_native()));
        }
        ControlFlow::Continue(())
    });
    records
}

/// Evaluates `1+2` on a cache in `store`, during whose better compilation something happens.
fn improved_in(store: &Arc<MemoryStore>, meanwhile: impl Fn() + Send + Sync + 'static) -> Vec<u8> {
    let (mut backend, compiled) = backend(Habit::Plain);
    backend.better.meanwhile = Some(Box::new(meanwhile));
    let builder = Cache::builder(backend).store(Arc::clone(store) as Arc<dyn Store>);
    let cache = Arc::new(builder.improving(NONE).open().expect("it opens"));
    let session = cache.session();
    let sums = Sums::default();
    assert_eq!(sums.eval(&session, "a", "1+2"), (3, NEW));
    improve_sum(&session, &sums);
    until(|| compiled.load(Ordering::Relaxed) == 1);
    drop(session);
    // Waits for what is under way.
    drop(cache);
    let records = records(&**store);
    let of_one = |(_, took): &(u8, u64)| *took == records[0].1;
    assert!(records.iter().all(of_one), "{records:?}");
    records.into_iter().map(|(tier, _)| tier).collect()
}

/// Both say what compiling takes without the cache, by which others wait and what was saved is counted.
#[test]
fn better_code_took_what_the_cheap_did() {
    let store = Arc::new(MemoryStore::new());
    let slowly = || std::thread::sleep(Duration::from_millis(1));
    let mut tiers = improved_in(&store, slowly);
    tiers.sort_unstable();
    assert_eq!(tiers, [0, 1]);
}

/// As when verification finds it wrong.
#[test]
fn what_is_removed_meanwhile_does_not_come_back() {
    let store = Arc::new(MemoryStore::new());
    let removed = Arc::clone(&store);
    let remove = move || {
        let mut keys = Vec::new();
        removed.for_each(&mut |found| {
            if let Found::Record(record) = found {
                keys.push(record.key);
            }
            ControlFlow::Continue(())
        });
        assert!(!keys.is_empty());
        keys.iter().for_each(|key| removed.remove(key));
    };
    assert_eq!(improved_in(&store, remove), []);
}
