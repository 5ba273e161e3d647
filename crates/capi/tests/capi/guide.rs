//! The guide's C++ programs and its CMake file, as they stand on the page. The Rust programs are tests of the hooks' own
//! documentation.

use crate::build::{installed, package, succeed};
use crate::installed::prefix;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The page's blocks in a language.
fn blocks(language: &str) -> Vec<String> {
    let page = std::fs::read_to_string(package("../../docs/embedding.md")).expect("it is there");
    let begin = format!("```{language}\n");
    let rest = page.split(&begin).skip(1);
    let ended = rest.map(|rest| rest.split_once("\n```\n").expect("the block ends"));
    ended.map(|(block, _)| format!("{block}\n")).collect()
}

/// The page's program of a number, built as the page says; `None` where something that this needs is missing.
fn program(number: usize, folder: &Path) -> Option<PathBuf> {
    installed(&["cmake"])?;
    installed(&["clang++-22"])?;
    let path = |name: &str| folder.join(name);
    let ([cmake], programs) = (&blocks("cmake")[..], blocks("cpp")) else {
        panic!("the page has one CMake file");
    };
    std::fs::write(path("embedding.cpp"), &programs[number]).expect("it can be written");
    std::fs::write(path("CMakeLists.txt"), cmake).expect("it can be written");
    let mut configure = Command::new("cmake");
    configure.arg("-S").arg(folder).arg("-B").arg(path("build"));
    configure.arg(format!("-DCMAKE_PREFIX_PATH={}", prefix().display()));
    succeed(configure.arg("-DCMAKE_CXX_FLAGS=-Wall -Wextra -Wpedantic -Werror"));
    succeed(Command::new("cmake").arg("--build").arg(path("build")));
    Some(path("build").join("embedding"))
}

#[test]
fn the_guides_program_is_cold_once_and_says_why() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let Some(program) = program(0, folder.path()) else {
        return;
    };
    let run = |value: &str| {
        let mut command = Command::new(&program);
        succeed(command.arg(folder.path().join("cache")).arg(value))
    };
    assert_eq!(
        run("42"),
        "42 miss: no record of this text in this environment\n"
    );
    assert_eq!(run("42"), "42 hit\n");
    let changed = run("43");
    assert!(
        changed.starts_with("43 miss: what limit means in user has changed, from "),
        "{changed}"
    );
}

#[test]
fn the_guides_program_that_warms_finds_what_it_has_compiled() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let Some(program) = program(1, folder.path()) else {
        return;
    };
    let run = || succeed(Command::new(&program).arg(folder.path().join("cache")));
    assert_eq!(run(), "0 found, 3 compiled\n3 hits\n");
    assert_eq!(run(), "3 found, 0 compiled\n3 hits\n");
}
