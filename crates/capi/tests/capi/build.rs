//! Compiling test programs against the library that was built with this test, and running them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a program may take; what takes longer hangs.
const DEADLINE: Duration = Duration::from_secs(240);

/// A folder of this package.
pub(crate) fn package(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)
}

/// The folder of the libraries that cargo built as a part of this test: `librekindle.so` and `.a`.
pub(crate) fn libraries() -> PathBuf {
    let test = std::env::current_exe().expect("this test has a file");
    let folder = test.parent().expect("it is in a folder").to_owned();
    assert!(
        folder.join("librekindle.so").is_file(),
        "no librekindle.so beside {}",
        test.display()
    );
    folder
}

/// The folder in which the dynamic linker finds the library by its name.
pub(crate) fn run_path() -> &'static Path {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let link = folder.path().join("librekindle.so.1");
        std::os::unix::fs::symlink(libraries().join("librekindle.so"), link)
            .expect("a link can be made");
        folder
    });
    folder.path()
}

/// The first of some compilers that is installed; a line says what is left out without.
pub(crate) fn installed(programs: &[&'static str]) -> Option<&'static str> {
    let is_there = |program: &&&str| {
        let asked = Command::new(program).arg("--version").output();
        asked.is_ok_and(|output| output.status.success())
    };
    let found = programs.iter().find(is_there).copied();
    if found.is_none() {
        eprintln!("left out: none of {} is installed", programs.join(", "));
    }
    found
}

/// How a program gets the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Linked {
    Shared,
    Static,
    /// Not at all.
    None,
}

/// Compiles `sources` of `tests/programs` to a program (or, by `flags`, something else) at `target`.
pub(crate) fn compile(
    compiler: &str,
    flags: &[&str],
    sources: &[&str],
    linked: Linked,
    target: &Path,
) {
    let mut command = Command::new(compiler);
    command.args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-g", "-O1"]);
    command.args(flags);
    command.arg("-I").arg(package("include"));
    for source in sources {
        command.arg(package("tests/programs").join(source));
    }
    command.arg("-o").arg(target).arg("-rdynamic");
    match linked {
        Linked::Shared => {
            command.arg("-L").arg(libraries()).arg("-lrekindle");
            command.arg(format!("-Wl,-rpath,{}", run_path().display()));
        }
        Linked::None => {}
        Linked::Static => {
            command.arg(libraries().join("librekindle.a"));
            command.args(["-lpthread", "-ldl", "-lm"]);
        }
    }
    let output = command.output().expect("the compiler starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{errors}");
}

/// Runs a program, with compilers for its own use, and gives what it wrote. One that hangs is killed.
pub(crate) fn output(command: &mut Command) -> Output {
    command
        .env("CC", "cc")
        .env("CXX", "c++")
        .env("TEST_VARIABLE", "set");
    for variable in ["REKINDLE", "REKINDLE_DIR", "TEST_NO_VARIABLE"] {
        command.env_remove(variable);
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let end = Instant::now() + DEADLINE;
    // What these programs write fits into a pipe.
    while child.try_wait().expect("it can be asked").is_none() {
        if Instant::now() > end {
            child.kill().expect("it can be killed");
        }
        sleep(Duration::from_millis(5));
    }
    child.wait_with_output().expect("it has ended")
}

/// Runs a program that has to succeed, and gives its standard output.
pub(crate) fn succeed(command: &mut Command) -> String {
    let output = output(command);
    let (written, errors) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "{command:?}: {}\n{written}{errors}",
        output.status
    );
    written
}
