//! Fuzzing: the targets in `fuzz`, for as long as is asked.
//!
//! It runs on the stable compiler, coverage-guided and without sanitizers: what is looked for is
//! panics, hangs and memory without end, as there is no `unsafe` in what is fuzzed.

use crate::packages::is_installed;
use crate::steps::Steps;
use anyhow::Result;
use std::path::Path;
use std::time::Duration;
use xshell::{Shell, cmd};

/// The version of cargo-fuzz that is installed where there is none.
const CARGO_FUZZ: &str = "0.13.2";

/// The targets, each with the seconds after which an input counts as a hang: those of the store wait for
/// the disk.
const TARGETS: [(&str, u32); 7] = [
    ("link", 1),
    ("image", 1),
    ("pack", 10),
    ("pack_resealed", 10),
    ("uses", 10),
    ("lifetime", 1),
    ("bundle", 10),
];

/// What makes seeds: a source in `fuzz/seeds`, and ways of compiling it.
const SEEDS: &[(&str, &[&[&str]])] = &[
    (
        "data.c",
        &[
            &["-O0", "-ffunction-sections", "-fdata-sections"],
            &["-O2", "-g"],
            &["-O1", "-mcmodel=large"],
            &["-O1", "-fno-pic", "-fno-pie"],
            &["-O1", "-fno-pic", "-fno-pie", "-mcmodel=large"],
        ],
    ),
    (
        "exceptions.cpp",
        &[&["-O0"], &["-O2"], &["-O2", "-fno-pic", "-fno-pie"]],
    ),
    (
        "thread_local.c",
        &[&["-O1"], &["-O1", "-mtls-dialect=gnu2"]],
    ),
    ("instructions.s", &[&[]]),
    ("host.s", &[&[]]),
];

/// Two seeds, each with the number of its way, that make one: for linking several objects.
const PAIRS: &[[&str; 2]] = &[
    ["seed-exceptions.cpp-0.o", "seed-exceptions.cpp-1.o"],
    ["seed-data.c-0.o", "seed-host.s-0.o"],
    ["seed-data.c-3.o", "seed-exceptions.cpp-2.o"],
    ["seed-thread_local.c-0.o", "seed-instructions.s-0.o"],
];

/// Fuzzes for `time` in total, which the targets share.
pub(crate) fn run(steps: &mut Steps, time: Duration) -> Result<()> {
    steps.step("cargo-fuzz", |shell| {
        if is_installed("cargo-fuzz") {
            return Ok(());
        }
        Ok(cmd!(
            shell,
            "cargo install --locked --version {CARGO_FUZZ} cargo-fuzz"
        )
        .run()?)
    })?;
    steps.step("seeds for fuzzing", make_seeds)?;
    steps.step("build the fuzz targets", |shell| {
        Ok(cmd!(shell, "cargo fuzz build --sanitizer none").run()?)
    })?;
    let each = (time.as_secs() / TARGETS.len() as u64).max(1).to_string();
    steps.step("fuzz", |shell| {
        let scratch = shell.current_dir().join("fuzz/scratch");
        shell.create_dir(&scratch)?;
        let _scratch = shell.push_env("TMPDIR", &scratch);
        for (target, hang) in TARGETS {
            let hang = hang.to_string();
            // A second is the least that the fuzzer knows; the tests look closer.
            let options = ["-rss_limit_mb=1024", "-max_len=65536"];
            cmd!(shell, "cargo fuzz run --sanitizer none {target} -- -timeout={hang} -max_total_time={each} {options...} -print_final_stats=1")
                .run()?;
        }
        Ok(shell.remove_path(scratch)?)
    })
}

/// Other targets that seeds are compiled for, where clang is there for it.
const TARGETS_OF_SEEDS: [&str; 3] = [
    "aarch64-linux-gnu",
    "x86_64-apple-macos11",
    "arm64-apple-macos11",
];

/// Sources that need no headers, nor a machine.
const PORTABLE_SEEDS: [&str; 2] = ["portable.c", "portable.cpp"];

/// Compiles the portable sources for other targets.
fn make_foreign_seeds(shell: &Shell, objects: &Path) -> Result<()> {
    if !is_installed("clang-22") {
        eprintln!("   clang-22 is not installed: no seeds of other targets");
        return Ok(());
    }
    for target in TARGETS_OF_SEEDS {
        for source in PORTABLE_SEEDS {
            let input = Path::new("fuzz/seeds").join(source);
            let object = objects.join(format!("seed-{source}-{target}.o"));
            cmd!(
                shell,
                "clang-22 --target={target} -fPIC -O1 -fexceptions -c {input} -o {object}"
            )
            .quiet()
            .run()?;
        }
    }
    Ok(())
}

/// Compiles the sources in `fuzz/seeds` into the corpus, as objects and as images.
fn make_seeds(shell: &Shell) -> Result<()> {
    let corpus = shell.current_dir().join("fuzz/corpus");
    let (objects, images) = (corpus.join("link"), corpus.join("image"));
    shell.create_dir(&objects)?;
    shell.create_dir(&images)?;
    for (source, ways) in SEEDS {
        for (way, &flags) in ways.iter().enumerate() {
            let object = objects.join(format!("seed-{source}-{way}.o"));
            let input = Path::new("fuzz/seeds").join(source);
            cmd!(shell, "cc -fPIC {flags...} -c {input} -o {object}")
                .quiet()
                .run()?;
            let image = images.join(format!("seed-{source}-{way}.image"));
            // What is refused makes a seed for linking alone.
            let made = cmd!(
                shell,
                "cargo run --quiet --package rekindle-loader --example link_object -- {object} {image} test"
            );
            if made.quiet().ignore_stdout().ignore_stderr().run().is_err() {
                eprintln!("   {source} {flags:?} is not linked: no seed for images");
            }
        }
    }
    make_foreign_seeds(shell, &objects)?;
    for [first, second] in PAIRS {
        let mut both = shell.read_binary_file(objects.join(first))?;
        both.extend(shell.read_binary_file(objects.join(second))?);
        shell.write_file(objects.join(format!("{first}-{second}")), both)?;
    }
    Ok(())
}
