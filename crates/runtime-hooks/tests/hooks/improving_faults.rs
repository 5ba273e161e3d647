//! What may go wrong while code is made better: compilers and code that end the process, or never come back.

use crate::children::{Ended, Process, until};
use crate::sums::{NEW, Sums};
use crate::tiers::{ALL, Habit, NONE, SUM, describe, improve_sum, open};
use rekindle_runtime_hooks::{Improving, Outcome, Ran};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A process that is killed while it makes code better leaves the code that was there.
#[test]
fn killed_while_code_is_made_better() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cache");
    let process = Process::start("improving_faults::hangs", &path, &[]);
    until(|| process.said().contains("at it: now"));
    drop(process);
    let sums = Sums::default();
    let cache = open(&path, ALL);
    let session = cache.session();
    for (name, text, sum) in [("a", "1+2", 3), ("b", "3", 3)] {
        assert_eq!(sums.eval(&session, name, text), (sum, Outcome::Hit));
    }
    let statistics = session.statistics();
    assert_eq!((statistics.better_hits, statistics.wrong), (0, 0));
}

#[test]
#[ignore = "is no test: another starts it as a process of its own, and kills it"]
fn hangs() {
    let Some(folder) = std::env::var_os("REKINDLE_TEST_FOLDER") else {
        return;
    };
    let sums = Sums::default();
    let (builder, _) = describe(folder.as_ref(), NONE, Habit::Hangs);
    let cache = Arc::new(builder.open().expect("it opens"));
    let session = cache.session();
    assert_eq!(sums.eval(&session, "a", "1+2").1, NEW);
    assert_eq!(sums.eval(&session, "b", "3").1, NEW);
    cache.flush().expect("it is a disk");
    improve_sum(&session, &sums);
    // Until it is killed.
    std::thread::sleep(crate::children::DEADLINE);
}

fn run(child: &str, folder: &Path) -> Ended {
    Process::start(child, folder, &[]).wait()
}

/// What came of it, and the signal by which the process ended.
fn came_of(ended: &Ended) -> (String, Option<i32>) {
    let mut told = ended.told("outcome");
    let told = told
        .pop()
        .unwrap_or_else(|| panic!("it says it: {ended:?}"));
    (told, ended.status.signal())
}

/// The cheap code does well, so it is used from then on.
#[test]
fn better_code_that_ends_processes_is_not_made_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cache");
    let next = || came_of(&run("improving_faults::dies_in_better_code", &path));
    assert_eq!(next(), ("miss".to_owned(), None));
    for _ in 0..2 {
        assert_eq!(next(), ("hit".to_owned(), Some(libc::SIGABRT)));
    }
    assert_eq!(next(), ("rejected".to_owned(), None));
    for _ in 0..3 {
        assert_eq!(next(), ("hit".to_owned(), None));
    }
}

#[test]
#[ignore = "is no test: another starts it as a process of its own"]
fn dies_in_better_code() {
    let Some(folder) = std::env::var_os("REKINDLE_TEST_FOLDER") else {
        return;
    };
    leave_no_core();
    let cache = open(folder.as_ref(), Improving { share: 1.0, ..ALL });
    let session = cache.session();
    let sums = Sums::default();
    let evaluated = session
        .eval_def(&SUM, &sums, |recorder| sums.compile(SUM.text, recorder))
        .expect("the sum is well-formed");
    println!("\noutcome: {}", evaluated.outcome().name());
    // As if its code did it.
    if session.statistics().better_hits > 0 {
        std::process::abort();
    }
    evaluated.finish(Ran::Pure);
}

/// One death is enough: nothing is lost but better code.
#[test]
fn what_the_better_compiler_dies_of_it_is_not_given_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cache");
    let next = || came_of(&run("improving_faults::aborts", &path));
    assert_eq!(next(), ("miss".to_owned(), Some(libc::SIGABRT)));
    for _ in 0..2 {
        assert_eq!(next(), ("hit".to_owned(), None));
    }
}

#[test]
#[ignore = "is no test: another starts it as a process of its own"]
fn aborts() {
    let Some(folder) = std::env::var_os("REKINDLE_TEST_FOLDER") else {
        return;
    };
    leave_no_core();
    let improving = Improving { share: 1.0, ..ALL };
    let (builder, _) = describe(folder.as_ref(), improving, Habit::Aborts);
    let cache = Arc::new(builder.open().expect("it opens"));
    let session = cache.session();
    let (_, outcome) = Sums::default().eval(&session, "a", "1+2");
    println!("\noutcome: {}", outcome.name());
    cache.flush().expect("it is a disk");
}

fn leave_no_core() {
    let no_core = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the structure is read during the call.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const no_core) };
}

/// The disk answers, so what was put last is kept.
#[test]
fn a_compiler_that_hangs_keeps_nothing_from_being_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cache");
    let improving = Improving {
        costly: Duration::ZERO,
        ..NONE
    };
    let (builder, compiled) = describe(&path, improving, Habit::Hangs);
    // Shorter than the worker waits by itself.
    let builder = builder.deadline(Duration::from_millis(900));
    let cache = Arc::new(builder.open().expect("it opens"));
    let session = cache.session();
    let sums = Sums::default();
    assert_eq!(sums.eval(&session, "a", "1+2"), (3, NEW));
    until(|| compiled.load(Ordering::Relaxed) == 1);
    assert_eq!(sums.eval(&session, "b", "3"), (3, NEW));
    drop((session, cache));
    let session = open(&path, NONE).session();
    assert_eq!(sums.eval(&session, "b", "3"), (3, Outcome::Hit));
}
