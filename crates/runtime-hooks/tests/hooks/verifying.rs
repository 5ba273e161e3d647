//! Hits that are compiled again and compared.

use crate::sums::{NEW, Sums};
use rekindle_runtime_hooks::cranelift::{Cranelift, CraneliftCache};
use rekindle_runtime_hooks::{Outcome, RejectReason};
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

type Told = Arc<Mutex<Vec<(String, Outcome)>>>;

/// A cache that verifies a share of its hits, and what its listener is told that is no hit.
fn open(folder: &Path, share: f64) -> (Arc<CraneliftCache>, Told) {
    let told = Told::default();
    let backend = Cranelift::new().expect("Cranelift compiles for this machine");
    let builder = CraneliftCache::builder(backend)
        .folder(folder)
        .verify(share);
    let listener = {
        let told = Arc::clone(&told);
        move |event: &rekindle_runtime_hooks::Event<'_>| {
            if *event.outcome != Outcome::Hit {
                let name = event.definition.name.to_owned();
                let mut told = told.lock().expect("nobody panics");
                told.push((name, event.outcome.clone()));
            }
        }
    };
    let cache = builder.listener(listener).open().expect("it opens");
    (Arc::new(cache), told)
}

/// A host that looks at something while it compiles and does not say so has a stale hit, once.
#[test]
fn a_host_that_hides_a_dependency_is_found_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cache");
    let sums = Sums::default();
    let peek = |text: &str| {
        let mut states = sums.states.borrow_mut();
        states.insert("hidden".to_owned(), text.to_owned());
    };
    peek("1");
    let (cache, _) = open(&path, 1.0);
    for (name, text) in [
        ("liar", "40+peek hidden"),
        ("honest", "40+state kind hidden"),
    ] {
        assert_eq!(sums.eval(&cache.session(), name, text).1, NEW);
    }
    drop(cache);

    peek("2");
    let (cache, told) = open(&path, 1.0);
    let session = cache.session();
    let compiled = sums.compiled.get();
    let stale = sums.eval(&session, "liar", "40+peek hidden");
    assert_eq!(stale, (41, Outcome::Hit), "nothing says that it is stale");
    assert_eq!(sums.compiled.get(), compiled + 1, "the front end runs once");
    assert!(cache.finish_verifying(MINUTE));
    let statistics = session.statistics();
    assert_eq!((statistics.hits, statistics.wrong), (1, 1));
    // Closing waits for the verifier.
    drop((cache, session));
    let told = told.lock().expect("nobody panics");
    let [(name, Outcome::Rejected(RejectReason::Verification(what)))] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!(name, "liar");
    assert!(what.starts_with("it compiles to the object"), "{what}");

    let (cache, _) = open(&path, 0.0);
    let session = cache.session();
    assert_eq!(sums.eval(&session, "liar", "40+peek hidden"), (42, NEW));
    let (sum, outcome) = sums.eval(&session, "honest", "40+state kind hidden");
    assert_eq!(sum, 40);
    assert!(matches!(outcome, Outcome::Miss(_)), "{outcome}");
    drop((cache, session));
    let journal = std::fs::read_dir(&path).expect("it is there");
    let journal = journal.filter_map(|version| {
        std::fs::read_to_string(version.expect("it is there").path().join("misses")).ok()
    });
    let journal = journal.collect::<String>();
    assert!(journal.contains("the hit was wrong"), "{journal}");
}

#[test]
fn hits_that_are_right_stay_and_only_the_share_is_compared() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cache");
    let sums = Sums::default();
    let (cache, _) = open(&path, 0.0);
    let session = cache.session();
    for number in 0..40 {
        assert_eq!(
            sums.eval(&session, &format!("d{number}"), &format!("{number}"))
                .1,
            NEW
        );
    }
    drop((cache, session));
    for (share, front_ends) in [(0.0, 0), (0.25, 10), (1.0, 40)] {
        let (cache, told) = open(&path, share);
        let session = cache.session();
        let before = sums.compiled.get();
        for number in 0..40 {
            let evaluated = sums.eval(&session, &format!("d{number}"), &format!("{number}"));
            assert_eq!(evaluated, (number, Outcome::Hit));
        }
        let compiled = sums.compiled.get() - before;
        assert!(
            compiled.abs_diff(front_ends) <= u32::from(share == 0.25),
            "{compiled}"
        );
        crate::children::until(|| session.statistics().verified == u64::from(compiled));
        assert_eq!(session.statistics().wrong, 0);
        assert!(told.lock().expect("nobody panics").is_empty());
        drop((cache, session));
    }
}

/// A definition that no longer compiles, or that must not be kept any more, was not a right hit either.
#[test]
fn a_front_end_that_fails_now_says_that_the_hit_was_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cache");
    let sums = Sums::default();
    let set = |text: &str| {
        let mut states = sums.states.borrow_mut();
        states.insert("hidden".to_owned(), text.to_owned());
    };
    for (text, what) in [
        ("no number", "its front end fails now"),
        ("clock", "it would not be kept now"),
    ] {
        set("1");
        let (cache, _) = open(&path, 0.0);
        assert_eq!(sums.eval(&cache.session(), text, "peek hidden").1, NEW);
        drop(cache);
        set(text);
        let (cache, told) = open(&path, 1.0);
        let hit = sums.eval(&cache.session(), text, "peek hidden");
        assert_eq!(hit, (1, Outcome::Hit));
        drop(cache);
        let told = told.lock().expect("nobody panics");
        let [(_, Outcome::Rejected(RejectReason::Verification(why)))] = &told[..] else {
            panic!("{told:?}");
        };
        assert!(why.starts_with(what), "{why}");
    }
}

/// A listener that lets go of the last of the cache has the verifying thread end itself.
#[test]
fn a_listener_may_have_the_last_of_the_cache() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cache");
    let sums = Sums::default();
    let peek = |text: &str| {
        let mut states = sums.states.borrow_mut();
        states.insert("hidden".to_owned(), text.to_owned());
    };
    peek("1");
    let (cache, _) = open(&path, 0.0);
    assert_eq!(sums.eval(&cache.session(), "liar", "peek hidden").1, NEW);
    drop(cache);

    peek("2");
    let (hand, handed) = mpsc::channel::<Arc<CraneliftCache>>();
    let (tell, told) = mpsc::channel();
    let handed = Mutex::new(handed);
    let backend = Cranelift::new().expect("Cranelift compiles for this machine");
    let builder = CraneliftCache::builder(backend).folder(&path).verify(1.0);
    let builder = builder.listener(move |event| {
        if matches!(event.outcome, Outcome::Rejected(_)) {
            let cache = handed.lock().expect("nobody panics").recv_timeout(MINUTE);
            let is_last = cache.map(|cache| Arc::into_inner(cache).is_some());
            let _ = tell.send(is_last);
        }
    });
    let cache = Arc::new(builder.open().expect("it opens"));
    assert_eq!(sums.eval(&cache.session(), "liar", "peek hidden").0, 1);
    hand.send(cache).expect("the listener waits for it");
    assert_eq!(told.recv_timeout(2 * MINUTE), Ok(Ok(true)));
    // What it found wrong is gone from the folder as well.
    let (cache, _) = open(&path, 0.0);
    let (sum, outcome) = sums.eval(&cache.session(), "liar", "peek hidden");
    assert_eq!(sum, 2);
    assert!(matches!(outcome, Outcome::Miss(_)), "{outcome}");
}
