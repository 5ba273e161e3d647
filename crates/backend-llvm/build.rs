//! Says which packages are missing where LLVM is wanted and not there: `llvm-sys` says it in words that
//! name none. Nothing is built or set here.

use std::env;
use std::path::Path;
use std::process::{Command, ExitCode};

/// Each feature with its version of LLVM, and the variable that leads llvm-sys to it.
const VERSIONS: [(&str, &str, &str); 5] = [
    ("CARGO_FEATURE_IR", "22", "LLVM_SYS_221_PREFIX"),
    ("CARGO_FEATURE_IR_LLVM19", "19", "LLVM_SYS_191_PREFIX"),
    ("CARGO_FEATURE_IR_LLVM16", "16", "LLVM_SYS_160_PREFIX"),
    ("CARGO_FEATURE_IR_LLVM15", "15", "LLVM_SYS_150_PREFIX"),
    ("CARGO_FEATURE_IR_LLVM14", "14", "LLVM_SYS_140_PREFIX"),
];

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=PATH");
    for (feature, version, variable) in VERSIONS {
        println!("cargo::rerun-if-env-changed={variable}");
        // Documentation is built without LLVM in some places.
        if env::var_os(feature).is_none() || env::var_os("DOCS_RS").is_some() {
            continue;
        }
        let programs = match env::var_os(variable) {
            Some(prefix) => vec![Path::new(&prefix).join("bin/llvm-config")],
            None => vec![
                format!("llvm-config-{version}").into(),
                "llvm-config".into(),
            ],
        };
        let is_there = programs.iter().any(|program| {
            let asked = Command::new(program).arg("--version").output();
            asked.is_ok_and(|said| said.stdout.starts_with(version.as_bytes()))
        });
        if !is_there {
            println!(
                "cargo::error=LLVM {version} is not installed. On Debian and Ubuntu it is the packages \
                 llvm-{version}-dev, libpolly-{version}-dev, libzstd-dev and zlib1g-dev. If it is not on \
                 the search path, set {variable} to what its `llvm-config --prefix` prints."
            );
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
