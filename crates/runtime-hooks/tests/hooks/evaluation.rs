//! What is compiled, when, and what is kept.

use crate::sums::{NEW, Sums, in_memory, on_folder};
use rekindle_runtime_hooks::cranelift::{Cranelift, CraneliftCache};
use rekindle_runtime_hooks::{
    Definition, Digest, EvalError, MissReason, Outcome, Ran, SymbolTable,
};
use std::sync::Arc;

#[test]
fn a_hit_calls_no_closure_and_runs_the_same_code() {
    let folder = tempfile::tempdir().expect("a folder");
    let sums = Sums::default();
    sums.words.borrow_mut().insert("x".to_owned(), 40);
    let path = folder.path().join("cache");
    let cold = on_folder(&path, SymbolTable::new());
    assert_eq!(sums.eval(&cold.session(), "a", "2+x"), (42, NEW));
    drop(cold);
    assert_eq!(sums.compiled.get(), 1);
    let warm = on_folder(&path, SymbolTable::new());
    let session = warm.session();
    assert_eq!(sums.eval(&session, "a", "2+x"), (42, Outcome::Hit));
    // The word is bound when the code is loaded, not when it was compiled.
    sums.words.borrow_mut().insert("x".to_owned(), 1);
    assert_eq!(sums.eval(&session, "a", "2+x"), (3, Outcome::Hit));
    assert_eq!(sums.compiled.get(), 1);
    let statistics = session.statistics();
    assert_eq!((statistics.definitions, statistics.hits), (2, 2));
    assert!(!statistics.saved.is_zero());
}

#[test]
fn name_text_context_and_host_input_are_each_in_the_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cache");
    let sums = Sums::default();
    let open = |input: &str| {
        let backend = Cranelift::new().expect("Cranelift compiles for this machine");
        let builder = CraneliftCache::builder(backend).folder(&path);
        let input = Digest::of("test", input.as_bytes());
        Arc::new(builder.input("mode", input).open().expect("it opens"))
    };
    let cache = open("fast");
    assert_eq!(sums.eval(&cache.session(), "a", "1").1, NEW);
    assert_eq!(sums.eval(&cache.session(), "a", "1").1, Outcome::Hit);
    assert_eq!(sums.eval(&cache.session(), "b", "1").1, NEW);
    assert_eq!(sums.eval(&cache.session(), "a", "1 ").1, NEW);
    cache.flush().expect("it can be written");
    assert_eq!(sums.eval(&open("fast").session(), "a", "1").1, Outcome::Hit);
    assert_eq!(sums.eval(&open("slow").session(), "a", "1").1, NEW);
}

#[test]
fn a_symbol_that_means_something_else_is_a_miss_with_its_name() {
    let cache = in_memory();
    let sums = Sums::default();
    sums.words.borrow_mut().insert("x".to_owned(), 1);
    assert_eq!(sums.eval(&cache.session(), "a", "x").1, NEW);
    assert_eq!(sums.eval(&cache.session(), "a", "x").1, Outcome::Hit);
    let meaning = |text: &str| {
        let mut meanings = sums.meanings.borrow_mut();
        meanings.insert("x".to_owned(), text.to_owned());
    };
    meaning("another");
    let (_, outcome) = sums.eval(&cache.session(), "a", "x");
    let text = outcome.to_string();
    assert!(
        text.starts_with("miss: what x means in sums has changed, from"),
        "{text}"
    );
    assert_eq!(sums.eval(&cache.session(), "a", "x").1, Outcome::Hit);
    // The variant for the first meaning is still there.
    meaning("nothing");
    assert_eq!(sums.eval(&cache.session(), "a", "x").1, Outcome::Hit);
    assert_eq!(sums.compiled.get(), 2);
}

#[test]
fn what_ran_at_compile_time_counts_with_all_that_it_reaches() {
    let cache = in_memory();
    let sums = Sums::default();
    for name in ["helper", "macro", "later"] {
        sums.words.borrow_mut().insert(name.to_owned(), 0);
    }
    let process = |helper: &str| {
        let session = cache.session();
        sums.eval(&session, "helper", helper);
        sums.eval(&session, "macro", "1+helper");
        sums.eval(&session, "user", "5+ran macro").1
    };
    assert_eq!(process("1"), NEW);
    assert_eq!(process("1"), Outcome::Hit);
    let text = process("2").to_string();
    assert!(
        text.starts_with("miss: what macro does has changed, from"),
        "{text}"
    );
    assert_eq!(process("1"), Outcome::Hit);
    assert_eq!(process("2"), Outcome::Hit);
}

#[test]
fn what_cannot_be_recorded_is_never_kept() {
    let cache = in_memory();
    let sums = Sums::default();
    for _ in 0..2 {
        let (sum, outcome) = sums.eval(&cache.session(), "a", "clock+2");
        assert_eq!(sum, 1002);
        assert!(matches!(outcome, Outcome::Bypass(_)), "{outcome}");
    }
    for ran in [Ran::Impure, Ran::Failed] {
        let session = cache.session();
        sums.eval_as(&session, "now", "5", ran);
        let (_, outcome) = sums.eval(&session, "user", "ran now");
        assert!(
            outcome.to_string().contains("now ran at compile time"),
            "{outcome}"
        );
        // Defined again with a value that follows from its code, it can be recorded.
        sums.eval(&session, "now", "5");
        assert!(!matches!(
            sums.eval(&session, "user", "ran now").1,
            Outcome::Bypass(_)
        ));
    }
}

#[test]
fn errors_of_the_closure_come_back_and_are_counted_as_misses() {
    let cache = in_memory();
    let sums = Sums::default();
    let session = cache.session();
    let definition = Definition {
        name: "a",
        text: "1++2",
        context: "",
    };
    let result = session.eval_def(&definition, &sums, |recorder| {
        sums.compile("1++2", recorder)
    });
    match result {
        Err(EvalError::Host(message)) => assert_eq!(message, "nothing between two signs"),
        _ => panic!("the closure failed"),
    }
    let unknown = Definition {
        text: "unknown",
        ..definition
    };
    let result = session.eval_def(&unknown, &sums, |recorder| {
        sums.compile("unknown", recorder)
    });
    let Err(error) = result else {
        panic!("nobody knows the symbol");
    };
    assert!(error.to_string().contains("unknown"), "{error}");
    assert_eq!(session.statistics().definitions, 2);
}

/// A library's symbol makes the library's build a dependency; the executable's is in the environment.
#[test]
fn symbols_of_the_process_are_bound_last_and_hit_again() {
    let cache = in_memory();
    let sums = Sums::default();
    assert_eq!(sums.eval(&cache.session(), "a", "labs -7"), (7, NEW));
    assert_eq!(
        sums.eval(&cache.session(), "a", "labs -7"),
        (7, Outcome::Hit)
    );
    extern "C" fn other(_: i64) -> i64 {
        99
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut symbols = SymbolTable::new();
    assert!(symbols.insert("labs", other as *const () as u64));
    let registered = on_folder(&folder.path().join("cache"), symbols);
    assert_eq!(sums.eval(&registered.session(), "a", "labs -7"), (99, NEW));
}

#[test]
fn a_cache_that_is_off_runs_everything_and_keeps_nothing() {
    let backend = Cranelift::new().expect("Cranelift compiles for this machine");
    let cache = Arc::new(
        CraneliftCache::builder(backend)
            .off()
            .open()
            .expect("it opens"),
    );
    let sums = Sums::default();
    sums.words.borrow_mut().insert("x".to_owned(), 0x15);
    for _ in 0..2 {
        let (sum, outcome) = sums.eval(&cache.session(), "a", "1+x+labs -3");
        assert_eq!((sum, outcome.name()), (25, "bypass"));
    }
}

/// A factory may evaluate other definitions before it ends, and they may run what it is about to set.
#[test]
fn what_a_running_factory_defines_is_not_recorded_as_it_was() {
    let cache = in_memory();
    let sums = Sums::default();
    let process = |outer: &str| {
        let session = cache.session();
        let definition = Definition {
            name: "macro",
            text: outer,
            context: "sums",
        };
        let evaluated = session
            .eval_def(&definition, &sums, |recorder| {
                let mut compilation = sums.compile(outer, recorder)?;
                compilation.defines.push("macro".to_owned());
                Ok::<_, String>(compilation)
            })
            .expect("it compiles");
        let (_, inner) = sums.eval(&session, "user", "5+ran macro");
        evaluated.finish(Ran::Pure);
        inner
    };
    for text in ["1", "2", "1"] {
        assert!(matches!(process(text), Outcome::Bypass(_)));
    }
}

#[test]
fn what_the_host_changes_by_itself_is_not_recorded() {
    let cache = in_memory();
    let sums = Sums::default();
    let session = cache.session();
    let (_, before) = sums.eval(&session, "user", "5+ran setting");
    assert_eq!(before, Outcome::Miss(MissReason::New));
    session.changed("setting");
    let (_, after) = sums.eval(&session, "user", "5+ran setting");
    assert!(matches!(after, Outcome::Bypass(_)), "{after:?}");
}

/// Recorded with a function of the host; when the host does not know it any more, that of the C library
/// is no recorded dependency.
#[test]
fn a_name_that_the_host_has_forgotten_is_not_looked_up_elsewhere() {
    extern "C" fn other(_: i64) -> i64 {
        99
    }
    let cache = in_memory();
    let sums = Sums::default();
    let word = other as *const () as u64;
    sums.words.borrow_mut().insert("labs".to_owned(), word);
    assert_eq!(sums.eval(&cache.session(), "a", "labs -7"), (99, NEW));
    assert_eq!(
        sums.eval(&cache.session(), "a", "labs -7"),
        (99, Outcome::Hit)
    );
    sums.words.borrow_mut().remove("labs");
    let (sum, outcome) = sums.eval(&cache.session(), "a", "labs -7");
    assert_eq!(sum, 7);
    assert!(matches!(outcome, Outcome::Rejected(_)), "{outcome}");
    assert_eq!(
        sums.eval(&cache.session(), "a", "labs -7"),
        (7, Outcome::Hit)
    );
}
