//! Misses that explain themselves: to whoever evaluates, to a listener, and in the journal.

use crate::sums::{NEW, Sums};
use rekindle_cache_core::journal::Journal;
use rekindle_runtime_hooks::cranelift::{Cranelift, CraneliftCache};
use rekindle_runtime_hooks::{CacheBuilder, Definition, Digest, Outcome, Ran};
use std::path::Path;
use std::sync::{Arc, Mutex};

fn open(
    folder: &Path,
    set: impl FnOnce(CacheBuilder<Cranelift>) -> CacheBuilder<Cranelift>,
) -> Arc<CraneliftCache> {
    let backend = Cranelift::new().expect("Cranelift compiles for this machine");
    let builder = CraneliftCache::builder(backend).folder(folder);
    Arc::new(set(builder).open().expect("it opens"))
}

fn explained(cache: &Arc<CraneliftCache>, context: &str, text: &str) -> String {
    let sums = Sums::default();
    let session = cache.session();
    let definition = Definition {
        name: "a",
        text,
        context,
    };
    let evaluated = session.eval_def(&definition, &sums, |recorder| sums.compile(text, recorder));
    evaluated
        .expect("it compiles")
        .finish(Ran::Pure)
        .to_string()
}

#[test]
fn each_part_of_the_key_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let with = |speed: &'static str| {
        move |builder: CacheBuilder<Cranelift>| {
            let digest = Digest::of("speed", speed.as_bytes());
            builder.explain(true).input("speed", digest)
        }
    };
    let cache = open(folder.path(), with("slow"));
    assert!(explained(&cache, "sums", "1").starts_with("miss: no record of this text"));
    assert_eq!(explained(&cache, "sums", "1"), "hit");
    assert_eq!(explained(&cache, "sums", "2"), "miss: its text has changed");
    assert_eq!(
        explained(&cache, "more", "1"),
        "miss: its context was \"sums\""
    );
    drop(cache);
    // In the next process.
    let cache = open(folder.path(), with("slow"));
    assert_eq!(explained(&cache, "sums", "3"), "miss: its text has changed");
    drop(cache);
    let cache = open(folder.path(), with("fast"));
    let outcome = explained(&cache, "sums", "1");
    assert!(
        outcome.starts_with("miss: host speed has changed, from"),
        "{outcome}"
    );
    assert_eq!(explained(&cache, "sums", "1"), "hit");
}

#[test]
fn a_listener_is_told_of_every_evaluation() {
    let folder = tempfile::tempdir().expect("a folder");
    let heard = Arc::new(Mutex::new(Vec::new()));
    let listening = Arc::clone(&heard);
    let cache = open(folder.path(), |builder| {
        builder.listener(move |event| {
            let line = format!("{} {}", event.definition.name, event.outcome.name());
            listening.lock().expect("nobody panics").push(line);
        })
    });
    let sums = Sums::default();
    for text in ["1", "1", "clock"] {
        sums.eval(&cache.session(), "a", text);
    }
    assert_eq!(
        *heard.lock().expect("nobody panics"),
        ["a miss", "a hit", "a bypass"]
    );
}

#[test]
fn the_journal_has_every_miss_with_its_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let sums = Sums::default();
    sums.words.borrow_mut().insert("x".to_owned(), 1);
    let process = |text: &str| {
        let cache = open(folder.path(), |builder| builder);
        sums.eval(&cache.session(), "a", text).1
    };
    assert_eq!(process("x"), NEW);
    assert_eq!(process("x"), Outcome::Hit);
    sums.meanings
        .borrow_mut()
        .insert("x".to_owned(), "another".to_owned());
    assert!(matches!(process("x"), Outcome::Miss(_)));
    assert!(matches!(process("clock"), Outcome::Bypass(_)));
    let store = rekindle_cache_core::store::FolderStore::open_read_only(folder.path());
    let journal = Journal::read(store.expect("it opens").folder()).expect("it can be read");
    let told: Vec<_> = journal
        .misses
        .iter()
        .map(|miss| {
            (
                miss.name.as_str(),
                miss.outcome.as_str(),
                miss.reason.as_str(),
            )
        })
        .collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!((told[0].0, told[0].1), ("a", "miss"));
    assert!(told[0].2.starts_with("no record of this text"), "{told:?}");
    assert!(
        told[1]
            .2
            .starts_with("what x means in sums has changed, from"),
        "{told:?}"
    );
    assert_eq!(told[2].1, "bypass");
    assert!(told[2].2.contains("the time of day"), "{told:?}");
    // Each process describes its environment, which is the same one.
    assert!(
        journal
            .environments
            .iter()
            .any(|part| part.sort == "compiler")
    );
    let mut environments: Vec<_> = journal
        .environments
        .iter()
        .map(|part| part.environment)
        .collect();
    environments.dedup();
    assert_eq!(environments.len(), 1);
}
