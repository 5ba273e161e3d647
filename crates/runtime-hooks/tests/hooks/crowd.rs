//! Many threads and processes that evaluate the same definitions at once.

use crate::children::Process;
use crate::sums::{Sums, on_folder};
use rekindle_runtime_hooks::{Outcome, SymbolTable};
use std::sync::atomic::{AtomicU32, Ordering};

const THREADS: usize = 16;
const PROCESSES: usize = 4;
const DEFINITIONS: usize = 1000;

/// In each process each definition is compiled once, whatever the other threads and processes do.
#[test]
fn in_each_process_each_definition_is_compiled_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let children: Vec<_> = (0..PROCESSES)
        .map(|_| Process::start("crowd::child", folder.path(), &[]))
        .collect();
    let mut compiled = 0;
    for child in children {
        let ended = child.wait().succeeded();
        assert_eq!(ended.told("compiled twice"), ["0"], "{}", ended.output);
        let told = ended.told("compiled at all").pop().expect("it says");
        // Another process may have published some before this one came to them.
        compiled += told.parse::<usize>().expect("a number");
    }
    assert!(compiled >= DEFINITIONS, "{compiled}");
    let cache = on_folder(folder.path(), SymbolTable::new());
    let sums = Sums::default();
    let session = cache.session();
    for number in 0..DEFINITIONS {
        let (sum, outcome) = sums.eval(&session, &format!("d{number}"), &format!("{number}+1"));
        assert_eq!((sum, outcome), (number as i64 + 1, Outcome::Hit));
    }
}

#[test]
#[ignore = "is no test: another starts it as a process of its own"]
fn child() {
    let Some(folder) = std::env::var_os("REKINDLE_TEST_FOLDER") else {
        return;
    };
    let cache = on_folder(folder.as_ref(), SymbolTable::new());
    let compiled: Vec<_> = (0..DEFINITIONS).map(|_| AtomicU32::new(0)).collect();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let sums = Sums::default();
                let session = cache.session();
                for (number, compiled) in compiled.iter().enumerate() {
                    let (name, text) = (format!("d{number}"), format!("{number}+1"));
                    assert_eq!(sums.eval(&session, &name, &text).0, number as i64 + 1);
                    compiled.fetch_add(sums.compiled.take(), Ordering::Relaxed);
                }
            });
        }
    });
    let compiled: Vec<_> = compiled.into_iter().map(AtomicU32::into_inner).collect();
    let at_all = compiled.iter().filter(|times| **times > 0).count();
    let twice = compiled.iter().filter(|times| **times > 1).count();
    println!("\ncompiled at all: {at_all}\ncompiled twice: {twice}");
}
