//! The headers by themselves: valid for every compiler and standard that they are for, and up to date.

use crate::build::{installed, package};
use std::io::Write;
use std::process::{Command, Stdio};

fn check(compiler: &str, language: &str, standard: &str, text: &str, more: &[&str]) {
    let mut command = Command::new(compiler);
    command.args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]);
    command
        .args(more)
        .arg(standard)
        .arg("-I")
        .arg(package("include"));
    command.args(["-x", language, "-"]).stdin(Stdio::piped());
    let mut child = command.spawn().expect("the compiler starts");
    let mut input = child.stdin.take().expect("it has an input");
    input.write_all(text.as_bytes()).expect("it reads");
    drop(input);
    assert!(child.wait().expect("it ends").success(), "{command:?}");
}

#[test]
fn the_c_header_is_valid_c_and_cpp_for_both_compilers() {
    let text = "#include <rekindle.h>\n#include <rekindle.h>\nint main(void) { return 0; }\n";
    for compilers in [["gcc", "g++"], ["clang-22", "clang++-22"]] {
        let Some(c) = installed(&compilers[..1]) else {
            continue;
        };
        for standard in ["-std=c11", "-std=c17", "-std=c2x"] {
            check(c, "c", standard, text, &["-Wstrict-prototypes"]);
        }
        for standard in ["-std=c++17", "-std=c++20"] {
            check(compilers[1], "c++", standard, text, &[]);
        }
    }
}

#[test]
fn the_cpp_layer_is_valid_with_exceptions_and_without() {
    let text = "#include <rekindle.hpp>\n#include <rekindle.hpp>\nint main() { return 0; }\n";
    for compiler in ["g++", "clang++-22"] {
        let Some(compiler) = installed(&[compiler]) else {
            continue;
        };
        for standard in ["-std=c++20", "-std=c++23"] {
            check(
                compiler,
                "c++",
                standard,
                text,
                &["-Wshadow=local"][..usize::from(compiler == "g++")],
            );
            check(
                compiler,
                "c++",
                standard,
                text,
                &["-fno-exceptions", "-fno-rtti"],
            );
        }
    }
}
