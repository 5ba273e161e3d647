//! A host in C: everything that the header offers, in two processes, by the shared and the static library.

use crate::build::{Linked, compile, installed, output, succeed};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

/// SIGABRT.
const ABORTED: i32 = 6;

fn cold_and_warm(compiler: &str, linked: Linked) {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    std::fs::write(folder.path().join("included"), "there").expect("it can be written");
    let program = folder.path().join("whole");
    compile(
        compiler,
        &["-std=c11", "-D_GNU_SOURCE"],
        &["whole.c"],
        linked,
        &program,
    );
    let run = |temperature: &str| {
        let mut command = Command::new(&program);
        succeed(command.arg(temperature).arg(folder.path()))
    };
    // What is compiled in both: bypasses, and what fails; on top of it, what is kept.
    assert_eq!(run("cold"), "12 compiled\n");
    assert_eq!(run("warm"), "6 compiled\n");
}

#[test]
fn whatever_the_header_offers_works_cold_and_warm() {
    cold_and_warm("cc", Linked::Shared);
    cold_and_warm("cc", Linked::Static);
    if let Some(clang) = installed(&["clang-22"]) {
        cold_and_warm(clang, Linked::Shared);
    }
}

/// The language has no way to hand a foreign exception on, and what it would leave behind half-done nobody
/// can tell: ending the process with a message is the promise.
#[test]
fn an_exception_out_of_a_c_callback_ends_the_process_with_a_message() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let program = folder.path().join("throws");
    compile(
        "c++",
        &["-std=c++20"],
        &["throws.cpp"],
        Linked::Shared,
        &program,
    );
    let output = output(&mut Command::new(&program));
    assert_eq!(output.status.signal(), Some(ABORTED));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("foreign exception"), "{errors}");
}
