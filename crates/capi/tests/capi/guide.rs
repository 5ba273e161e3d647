//! The guide's C++ program and its CMake file, as they stand on the page. The Rust program is a test of the hooks' own
//! documentation.

use crate::build::{installed, package, succeed};
use crate::installed::prefix;
use std::process::Command;

/// The page's one block in a language.
fn block(language: &str) -> String {
    let page = std::fs::read_to_string(package("../../docs/embedding.md")).expect("it is there");
    let (_, rest) = page
        .split_once(&format!("```{language}\n"))
        .expect("it has such a block");
    let (block, after) = rest.split_once("\n```\n").expect("the block ends");
    assert!(
        !after.contains(&format!("```{language}\n")),
        "one block in {language}"
    );
    format!("{block}\n")
}

#[test]
fn the_guides_program_is_cold_once_and_says_why() {
    if installed(&["cmake"]).is_none() || installed(&["clang++-22"]).is_none() {
        return;
    }
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("embedding.cpp"), block("cpp")).expect("it can be written");
    std::fs::write(path("CMakeLists.txt"), block("cmake")).expect("it can be written");
    let mut configure = Command::new("cmake");
    configure
        .arg("-S")
        .arg(folder.path())
        .arg("-B")
        .arg(path("build"));
    configure.arg(format!("-DCMAKE_PREFIX_PATH={}", prefix().display()));
    succeed(configure.arg("-DCMAKE_CXX_FLAGS=-Wall -Wextra -Wpedantic -Werror"));
    succeed(Command::new("cmake").arg("--build").arg(path("build")));
    let program = path("build").join("embedding");
    let run = |value: &str| {
        let mut command = Command::new(&program);
        succeed(command.arg(path("cache")).arg(value))
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
