//! Processes that die in a factory.
//!
//! What counts against an entry is a signal that a thread brings upon itself while it runs the entry's factory
//! for the first time. Two such deaths set it aside; when it is compiled again to the same bytes, it is
//! cleared for good. Nothing else counts: Ctrl-C and its like, `kill -9`, an exit, another thread's fault.

use crate::children::{Ended, Process};
use crate::sums::Sums;
use rekindle_runtime_hooks::cranelift::{Cranelift, CraneliftCache};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::Arc;

const DEED: &str = "REKINDLE_TEST_DEED";

/// A process that evaluates `a`, whose factory does the deed.
fn run_with(folder: &Path, deed: &str, variables: &[(&str, &str)]) -> Ended {
    let mut variables = variables.to_vec();
    variables.push((DEED, deed));
    Process::start("deaths::child", folder, &variables).wait()
}

fn run(folder: &Path, deed: &str) -> Ended {
    run_with(folder, deed, &[])
}

/// What came of looking for `a`, and the signal by which the process ended.
fn came_of(ended: &Ended) -> (String, Option<i32>) {
    let outcome = ended.told("a").pop();
    let outcome = outcome.unwrap_or_else(|| panic!("it says what came of it: {ended:?}"));
    (outcome, ended.status.signal())
}

fn cache() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cache");
    let cold = run(&path, "nothing").succeeded();
    assert!(came_of(&cold).0.starts_with("miss"), "{cold:?}");
    (folder, path)
}

fn hit_and(signal: Option<i32>) -> (String, Option<i32>) {
    ("hit".to_owned(), signal)
}

/// The files of living and dead processes.
fn running_files(folder: &Path) -> usize {
    let versions = std::fs::read_dir(folder).expect("it is there");
    let files = versions.filter_map(|version| {
        std::fs::read_dir(version.expect("it can be read").path().join("running")).ok()
    });
    let files = files
        .flatten()
        .map(|file| file.expect("it can be read").path());
    files
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "slots")
        })
        .count()
}

#[track_caller]
fn is_set_aside_once(deed: &str, signal: i32, name: &str) {
    let (_folder, path) = cache();
    for _ in 0..2 {
        assert_eq!(came_of(&run(&path, deed)), hit_and(Some(signal)));
    }
    let (outcome, died) = came_of(&run(&path, deed));
    assert!(
        outcome.starts_with("rejected: set aside: 2 processes died"),
        "{outcome}"
    );
    assert!(outcome.ends_with(name), "{outcome}");
    assert_eq!(died, Some(signal));
    // It gave the same bytes, so it does what it was written to do.
    for _ in 0..3 {
        assert_eq!(came_of(&run(&path, deed)), hit_and(Some(signal)));
    }
    assert_eq!(running_files(&path), 1, "that of the last one");
    let good = run(&path, "nothing").succeeded();
    assert_eq!(came_of(&good), hit_and(None));
    assert_eq!(good.told("b"), ["hit"]);
    assert_eq!(running_files(&path), 0);
}

#[test]
fn an_abort_in_a_factory_counts() {
    is_set_aside_once("abort", libc::SIGABRT, "SIGABRT");
}

#[test]
fn a_fault_in_a_factory_counts() {
    is_set_aside_once("fault", libc::SIGSEGV, "SIGSEGV");
}

#[test]
fn a_trap_in_a_factory_counts() {
    is_set_aside_once("trap", libc::SIGTRAP, "SIGTRAP");
}

/// Rust's own handler tells of the overflow and aborts.
#[test]
fn a_stack_overflow_in_a_factory_counts() {
    is_set_aside_once("overflow", libc::SIGABRT, "SIGABRT");
}

#[track_caller]
fn does_not_count(deed: &str, signal: Option<i32>) {
    let (_folder, path) = cache();
    for _ in 0..3 {
        let ended = run(&path, deed);
        assert_eq!(came_of(&ended), hit_and(signal), "{ended:?}");
    }
    assert_eq!(running_files(&path), 1, "that of the last one");
    assert_eq!(came_of(&run(&path, "nothing").succeeded()), hit_and(None));
    assert_eq!(running_files(&path), 0);
}

#[test]
fn what_others_end_does_not_count() {
    does_not_count("interrupt", Some(libc::SIGINT));
    does_not_count("terminate", Some(libc::SIGTERM));
    does_not_count("hang up", Some(libc::SIGHUP));
    does_not_count("kill", Some(libc::SIGKILL));
}

#[test]
fn an_exit_does_not_count() {
    does_not_count("exit", None);
    does_not_count("exit at once", None);
}

#[test]
fn the_fault_of_another_thread_does_not_count() {
    does_not_count("another thread", Some(libc::SIGABRT));
}

/// The child that was forked in the factory has nothing to do with its parent's slot.
#[test]
fn the_fault_of_a_forked_child_does_not_count() {
    does_not_count("forked child", Some(libc::SIGKILL));
}

/// A host that handles such signals is asked as before, and what it answers to still was a death.
#[test]
fn a_handler_of_the_host_is_called() {
    let (_folder, path) = cache();
    let run = |path: &Path| run_with(path, "fault", &[("REKINDLE_TEST_HANDLER", "exit")]);
    for _ in 0..2 {
        let ended = run(&path);
        assert_eq!(came_of(&ended), hit_and(None));
        assert_eq!(ended.status.code(), Some(77), "{ended:?}");
    }
    let (outcome, _) = came_of(&run(&path));
    assert!(outcome.starts_with("rejected: set aside"), "{outcome}");
}

#[test]
fn nothing_is_watched_where_that_is_not_wanted_or_not_possible() {
    for variable in [("REKINDLE_WATCH", "off"), ("REKINDLE", "read-only")] {
        let (_folder, path) = cache();
        for _ in 0..3 {
            let ended = run_with(&path, "abort", &[variable]);
            assert_eq!(came_of(&ended), hit_and(Some(libc::SIGABRT)), "{ended:?}");
            assert_eq!(running_files(&path), 0);
        }
    }
}

/// Does what the variable says, in the factory.
extern "C" fn deed() -> i64 {
    #[expect(
        unconditional_recursion,
        reason = "it is to end by running out of stack"
    )]
    fn overflow(number: i64) -> i64 {
        std::hint::black_box([number; 64]).iter().sum::<i64>() + overflow(number + 1)
    }
    let send = |signal| {
        // SAFETY: a signal of this process to itself.
        unsafe { libc::raise(signal) };
    };
    match std::env::var(DEED).as_deref() {
        Ok("abort") => std::process::abort(),
        Ok("fault") => {
            // SAFETY: none: it is to fail. Nothing is mapped there.
            unsafe { std::ptr::without_provenance_mut::<u8>(16).write_volatile(1) };
        }
        Ok("trap") => send(libc::SIGTRAP),
        Ok("overflow") => return overflow(1),
        Ok("interrupt") => send(libc::SIGINT),
        Ok("terminate") => send(libc::SIGTERM),
        Ok("hang up") => send(libc::SIGHUP),
        Ok("kill") => send(libc::SIGKILL),
        Ok("exit") => std::process::exit(0),
        // SAFETY: ends the process at once.
        Ok("exit at once") => unsafe { libc::_exit(0) },
        Ok("another thread") => {
            let _ = std::thread::spawn(|| std::process::abort()).join();
        }
        Ok("forked child") => {
            // SAFETY: the child makes system calls only.
            let child = unsafe { libc::fork() };
            if child == 0 {
                // SAFETY: ends the process.
                unsafe { libc::abort() };
            }
            let mut status = 0;
            // SAFETY: the child is this process's, and `status` is written during the call.
            unsafe { libc::waitpid(child, &raw mut status, 0) };
            assert_eq!(libc::WTERMSIG(status), libc::SIGABRT);
            send(libc::SIGKILL);
        }
        _ => {}
    }
    1
}

extern "C" fn exit_at_once(_signal: i32) {
    // SAFETY: ends the process at once.
    unsafe { libc::_exit(77) };
}

#[test]
#[ignore = "is no test: others start it as a process of its own"]
fn child() {
    let Some(folder) = std::env::var_os("REKINDLE_TEST_FOLDER") else {
        return;
    };
    let no_core = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the structure is read during the call.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const no_core) };
    // Shells start what runs in the background with some of them ignored.
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: no handler is installed, and this process has one test.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    if std::env::var_os("REKINDLE_TEST_HANDLER").is_some() {
        let handler: extern "C" fn(i32) = exit_at_once;
        // SAFETY: the handler makes one system call.
        unsafe { libc::signal(libc::SIGSEGV, handler as libc::sighandler_t) };
    }
    let backend = Cranelift::new().expect("Cranelift compiles for this machine");
    let builder = CraneliftCache::builder(backend).folder(&folder);
    let builder = builder.listener(|event| {
        println!("\n{}: {}", event.definition.name, event.outcome);
    });
    let cache = Arc::new(builder.open().expect("it opens"));
    let sums = Sums::default();
    let function: extern "C" fn() -> i64 = deed;
    sums.words
        .borrow_mut()
        .insert("deed".to_owned(), function as usize as u64);
    let session = cache.session();
    assert_eq!(sums.eval(&session, "b", "2").0, 2);
    assert_eq!(sums.eval(&session, "a", "1+call deed").0, 2);
}
