//! Many threads and processes that evaluate the same definitions at once.

use crate::sums::{Sums, on_folder};
use rekindle_runtime_hooks::{Outcome, SymbolTable};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const THREADS: usize = 16;
const PROCESSES: usize = 4;

fn definitions() -> usize {
    match std::env::var_os("REKINDLE_SOAK") {
        Some(_) => 1000,
        None => 200,
    }
}

fn start(folder: &Path) -> Child {
    let this = std::env::current_exe().expect("a test has a file");
    let mut child = Command::new(this);
    child.args(["--ignored", "--exact", "crowd::child", "--nocapture"]);
    child.env("REKINDLE_TEST_FOLDER", folder);
    child.stdout(Stdio::piped()).stderr(Stdio::piped());
    child.spawn().expect("it starts")
}

/// In each process each definition is compiled once, whatever the other threads and processes do.
#[test]
fn in_each_process_each_definition_is_compiled_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let children: Vec<_> = (0..PROCESSES).map(|_| start(folder.path())).collect();
    for child in children {
        let output = child.wait_with_output().expect("it ends");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let compiled = text.lines().find_map(|line| line.split_once("compiled: "));
        let compiled: usize = compiled.expect("it says").1.parse().expect("a number");
        // Another process may have published some before this one came to them.
        assert!(compiled <= definitions(), "{compiled}");
    }
    let cache = on_folder(folder.path(), SymbolTable::new());
    let sums = Sums::default();
    let session = cache.session();
    for number in 0..definitions() {
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
    let compiled: u32 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    let sums = Sums::default();
                    let session = cache.session();
                    for number in 0..definitions() {
                        let (name, text) = (format!("d{number}"), format!("{number}+1"));
                        assert_eq!(sums.eval(&session, &name, &text).0, number as i64 + 1);
                    }
                    sums.compiled.get()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("it ends"))
            .sum()
    });
    println!("\ncompiled: {compiled}");
}
