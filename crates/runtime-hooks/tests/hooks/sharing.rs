//! When code that is in the process already serves an equal definition, and when it must not.

use crate::sums::{NEW, Sums, in_memory};
use rekindle_runtime_hooks::cranelift::CraneliftSession;
use rekindle_runtime_hooks::{MissReason, Outcome, Ran};

/// A host that vouches for its answers, and what its words are.
fn vouching(words: &[(&str, u64)]) -> Sums {
    let sums = Sums::default();
    sums.generation.set(Some(1));
    for (name, word) in words {
        sums.words.borrow_mut().insert((*name).to_owned(), *word);
    }
    sums
}

/// How many evaluations were served by code that was there.
fn shared(session: &CraneliftSession) -> u64 {
    session.statistics().shared_hits
}

#[test]
fn equal_definitions_share_code_where_the_host_vouches_for_its_answers() {
    let cache = in_memory();
    let sums = vouching(&[("x", 40)]);
    let session = cache.session();
    assert_eq!(sums.eval(&session, "a", "2+x"), (42, NEW));
    for before in 0..3 {
        assert_eq!(shared(&session), before.max(1) - 1, "the first one loads");
        assert_eq!(sums.eval(&session, "a", "2+x"), (42, Outcome::Hit));
    }
    let loaded = session.statistics().loaded_bytes;
    assert_eq!(sums.eval(&session, "a", "2+x"), (42, Outcome::Hit));
    let statistics = session.statistics();
    assert_eq!(statistics.loaded_bytes, loaded, "nothing was loaded");
    assert_eq!((statistics.definitions, statistics.hits), (5, 4));
    // Another name, text or session is another definition.
    assert_eq!(sums.eval(&session, "b", "2+x"), (42, NEW));
    assert_eq!(sums.eval(&session, "a", "x+2"), (42, NEW));
    assert_eq!(sums.eval(&cache.session(), "a", "2+x"), (42, Outcome::Hit));
    assert_eq!(shared(&session), 3);
    assert_eq!(sums.compiled.get(), 3);
}

#[test]
fn a_host_that_vouches_for_nothing_has_its_code_loaded_each_time() {
    let cache = in_memory();
    let sums = vouching(&[("x", 1)]);
    sums.generation.set(None);
    let session = cache.session();
    for _ in 0..3 {
        assert_eq!(sums.eval(&session, "a", "x").0, 1);
    }
    sums.words.borrow_mut().insert("x".to_owned(), 2);
    assert_eq!(sums.eval(&session, "a", "x"), (2, Outcome::Hit));
    assert_eq!(shared(&session), 0);
}

#[test]
fn code_with_data_of_its_own_is_loaded_each_time() {
    let cache = in_memory();
    let sums = vouching(&[]);
    let session = cache.session();
    assert_eq!(sums.eval(&session, "a", "count"), (1, NEW));
    for _ in 0..3 {
        // Shared, it would go on counting.
        assert_eq!(sums.eval(&session, "a", "count"), (1, Outcome::Hit));
    }
    assert_eq!(shared(&session), 0);
}

#[test]
fn a_word_that_is_another_at_each_load_keeps_code_from_being_shared() {
    let cache = in_memory();
    let sums = vouching(&[("x", 10)]);
    let session = cache.session();
    for load in 1..5 {
        assert_eq!(sums.eval(&session, "a", "x+site").0, 10 + load);
    }
    assert_eq!(shared(&session), 0);
    // Others are shared all the same as long as nobody asks for such a word.
    for _ in 0..3 {
        assert_eq!(sums.eval(&session, "b", "x").0, 10);
    }
    assert_eq!(shared(&session), 1);
}

#[test]
fn words_that_have_changed_are_bound_again() {
    let cache = in_memory();
    let sums = vouching(&[("x", 1)]);
    let session = cache.session();
    for _ in 0..3 {
        assert_eq!(sums.eval(&session, "a", "x").0, 1);
    }
    assert_eq!(shared(&session), 1);
    sums.words.borrow_mut().insert("x".to_owned(), 2);
    sums.renew();
    assert_eq!(sums.eval(&session, "a", "x"), (2, Outcome::Hit));
    assert_eq!(shared(&session), 1, "it was loaded anew");
    assert_eq!(sums.eval(&session, "a", "x"), (2, Outcome::Hit));
    assert_eq!(shared(&session), 2);
}

#[test]
fn a_dependency_that_was_defined_anew_is_checked_again() {
    let cache = in_memory();
    let sums = vouching(&[]);
    let session = cache.session();
    assert_eq!(sums.eval(&session, "m", "1").1, NEW);
    assert_eq!(sums.eval(&session, "a", "ran m+5"), (5, NEW));
    for _ in 0..2 {
        assert_eq!(sums.eval(&session, "a", "ran m+5"), (5, Outcome::Hit));
    }
    assert_eq!(shared(&session), 1);
    // The same again is checked, and is what it was: the code is shared once more, and then unasked.
    assert_eq!(sums.eval(&session, "m", "1").1, Outcome::Hit);
    for _ in 0..2 {
        assert_eq!(sums.eval(&session, "a", "ran m+5"), (5, Outcome::Hit));
    }
    assert_eq!(shared(&session), 3);
    // Another one is another behaviour.
    assert_eq!(sums.eval(&session, "m", "2").1, NEW);
    let (value, outcome) = sums.eval(&session, "a", "ran m+5");
    assert!(
        matches!(outcome, Outcome::Miss(MissReason::Stale(_))),
        "{outcome}"
    );
    assert_eq!(value, 5);
    // One that follows from nothing has none, and what it did cannot be recorded.
    sums.eval_as(&session, "m", "2", Ran::Impure);
    let (_, outcome) = sums.eval(&session, "a", "ran m+5");
    assert!(matches!(outcome, Outcome::Bypass(_)), "{outcome}");
}

#[test]
fn what_a_dependency_reaches_is_checked_again_when_it_is_defined_anew() {
    let cache = in_memory();
    let sums = vouching(&[("helper", 3)]);
    let session = cache.session();
    sums.eval(&session, "helper", "3");
    sums.eval(&session, "m", "helper");
    sums.eval(&session, "a", "ran m");
    for _ in 0..2 {
        assert_eq!(sums.eval(&session, "a", "ran m").1, Outcome::Hit);
    }
    assert_eq!(shared(&session), 1);
    sums.eval(&session, "helper", "4");
    let (_, outcome) = sums.eval(&session, "a", "ran m");
    assert!(
        matches!(outcome, Outcome::Miss(MissReason::Stale(_))),
        "{outcome}"
    );
    session.changed("helper");
    let (_, outcome) = sums.eval(&session, "a", "ran m");
    assert!(matches!(outcome, Outcome::Bypass(_)), "{outcome}");
}

#[test]
fn the_outside_is_looked_at_again_in_the_next_epoch() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("table");
    std::fs::write(&path, "four").expect("it can be written");
    let cache = in_memory();
    let mut sums = vouching(&[]);
    sums.folder = folder.path().to_owned();
    let session = cache.session();
    assert_eq!(sums.eval(&session, "a", "file table"), (4, NEW));
    for _ in 0..2 {
        assert_eq!(sums.eval(&session, "a", "file table"), (4, Outcome::Hit));
    }
    assert_eq!(shared(&session), 1);
    session.begin_epoch();
    assert_eq!(sums.eval(&session, "a", "file table"), (4, Outcome::Hit));
    assert_eq!(shared(&session), 2);
    std::fs::write(&path, "seven__").expect("it can be written");
    session.begin_epoch();
    let (value, outcome) = sums.eval(&session, "a", "file table");
    assert!(
        matches!(outcome, Outcome::Miss(MissReason::Stale(_))),
        "{outcome}"
    );
    assert_eq!(value, 7);
}

#[test]
fn effects_are_repeated_for_shared_code_too() {
    let cache = in_memory();
    let sums = vouching(&[]);
    let session = cache.session();
    for _ in 0..4 {
        sums.eval(&session, "a", "intern key");
    }
    assert_eq!(shared(&session), 2);
    assert_eq!(sums.interned.borrow().len(), 4);
    // What cannot be repeated is a miss, whoever asks.
    sums.forgetful.set(true);
    let (_, outcome) = sums.eval(&session, "a", "intern key");
    assert!(
        matches!(outcome, Outcome::Miss(MissReason::Effect(_))),
        "{outcome}"
    );
}

/// Two records whose code is the same, and whose effects are not.
#[test]
fn effects_of_another_record_are_not_repeated() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("name");
    std::fs::write(&path, "old").expect("it can be written");
    let cache = in_memory();
    let mut sums = vouching(&[]);
    sums.folder = folder.path().to_owned();
    let session = cache.session();
    for _ in 0..3 {
        sums.eval(&session, "a", "tell name");
    }
    assert_eq!(shared(&session), 1);
    std::fs::write(&path, "new").expect("it can be written");
    session.begin_epoch();
    for _ in 0..4 {
        sums.eval(&session, "a", "tell name");
    }
    assert!(shared(&session) > 1);
    let interned = sums.interned.borrow();
    assert_eq!(interned[..3], ["old", "old", "old"]);
    assert_eq!(interned[3..], ["new", "new", "new", "new"]);
}
