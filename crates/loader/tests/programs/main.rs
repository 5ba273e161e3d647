//! Generated programs, by two compilers at two levels: what they print and how they end is the same
//! as when the system's linker made the program.
//!
//! A cross-section as a rule, all of them when `REKINDLE_SOAK` is set. `REKINDLE_PROGRAM=SEED` runs one
//! and keeps its source and object for a look.

mod c_features;
mod c_sources;
mod cpp_features;
mod generate;
mod random;
#[path = "../whole/mod.rs"]
mod whole;

use generate::{Language, Program, program};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use whole::{Answer, first_installed, run_loaded_with, run_native, skip, soak, succeed};

/// How many programs there are, and how many of them are run as a rule.
const ALL: u64 = 200;
const CROSS_SECTION: u64 = 12;

/// A C compiler and its C++ compiler.
struct Compiler {
    c: &'static str,
    cpp: &'static str,
}

fn compilers() -> Vec<Compiler> {
    let mut found = vec![Compiler {
        c: "gcc",
        cpp: "g++",
    }];
    let c = first_installed(&["clang-22", "clang-19", "clang-14", "clang"]);
    let cpp = first_installed(&["clang++-22", "clang++-19", "clang++-14", "clang++"]);
    match (c, cpp) {
        (Some(c), Some(cpp)) => found.push(Compiler { c, cpp }),
        _ => skip(
            "generated programs compiled by clang",
            "clang is not installed",
        ),
    }
    found
}

/// How programs are compiled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Code {
    PositionIndependent,
    /// For the low 2 GiB.
    Low,
}

impl Code {
    fn flags(self) -> &'static [&'static str] {
        match self {
            Self::PositionIndependent => &["-fPIC"],
            Self::Low => &["-fno-pic", "-fno-pie", "-mcmodel=small"],
        }
    }
}

/// What a program came to.
enum Outcome {
    Same,
    /// It was not linked or not loaded, for one of these reasons.
    Refused(String),
    Different(String),
}

/// Features that a program for the low 2 GiB may be refused for, at one level of optimisation at least:
/// thread-locals of its own and of the C++ library, which it takes to lie at a fixed distance from the thread
/// pointer, and variables of libraries (`__libc_single_threaded`, `std::cout`, virtual tables) in
/// instructions that cannot do with a slot.
const NOT_LOW: [&str; 6] = [
    "thread-locals",
    "thread_local objects",
    "threads",
    "ownership",
    "streams",
    "exceptions kept",
];

/// What such a refusal says. Nothing of the program has run then.
const REFUSALS: [&str; 3] = [
    "does not lie at one distance from the thread pointer",
    "takes a thread-local to lie at a fixed distance",
    "which lies beyond the low 2 GiB",
];

/// Compiles `program` and runs it both ways.
fn compare(program: &Program, compiler: &Compiler, level: &str, code: Code) -> Answer<Outcome> {
    let folder = tempfile::tempdir()?;
    let source = folder.path().join(&program.name);
    let object = folder.path().join("program.o");
    std::fs::write(&source, &program.source)?;
    let (compiler, flags, libraries): (_, &[&str], &[&str]) = match program.language {
        Language::C => (compiler.c, &["-std=gnu11"], &["libm.so.6"]),
        Language::Cpp => (compiler.cpp, &["-std=c++17"], &["libstdc++.so.6"]),
    };
    succeed(
        Command::new(compiler)
            .args(flags)
            .args(code.flags())
            .args([level, "-w", "-pthread", "-c"])
            .arg(&source)
            .arg("-o")
            .arg(&object),
    )?;
    let files: &[&Path] = &[&object];
    let arguments = &["one", "the last"];
    let (native, loaded): (&[&str], &[&str]) = match code {
        Code::PositionIndependent => (&["-lm", "-pthread"], &[]),
        Code::Low => (&["-lm", "-pthread", "-no-pie"], &["--low"]),
    };
    let expected = run_native(compiler, files, native, arguments, "")?;
    let found = run_loaded_with(loaded, libraries, files, arguments, "")?;
    let refused = |reason: &&str| found.stderr.contains(reason);
    if code == Code::Low && REFUSALS.iter().any(refused) {
        return Ok(Outcome::Refused(format!(
            "{} by {compiler} {level}: {}",
            program.name,
            found.stderr.trim()
        )));
    }
    if std::env::var_os("REKINDLE_PROGRAM").is_some() {
        eprintln!("{compiler} {level}: kept in {}", folder.keep().display());
    }
    if (&expected.stdout, &expected.status) == (&found.stdout, &found.status) {
        return Ok(Outcome::Same);
    }
    Ok(Outcome::Different(format!(
        "{} by {compiler} {level}: {}\n  expected {}, found {}\n  {}",
        program.name,
        first_difference(&expected.stdout, &found.stdout),
        expected.status,
        found.status,
        found.stderr.trim(),
    )))
}

/// What stands in a program before the source of a feature.
fn mark(feature: &str) -> String {
    format!("/* feature: {feature} */")
}

/// The first line that differs, and the feature that printed it.
fn first_difference(expected: &str, found: &str) -> String {
    let mut feature = "";
    let mut found = found.lines();
    for line in expected.lines() {
        if let Some(name) = line.strip_prefix("-- ") {
            feature = name;
        }
        let other = found.next();
        if other != Some(line) {
            return format!("({feature}) expected `{line}`, found {other:?}");
        }
    }
    format!("more output at the end: {:?}", found.next())
}

/// What a number of programs came to.
#[derive(Default)]
struct Outcomes {
    run: usize,
    refused: Vec<String>,
    different: Vec<String>,
}

/// Runs `programs`, as many at once as there are processors.
fn run_all(programs: &[(u64, Program)], code: Code) -> Answer<Outcomes> {
    let compilers = compilers();
    let mut work = Vec::new();
    for (seed, program) in programs {
        for (number, compiler) in (0..).zip(&compilers) {
            // One compiler for each, as a rule: every program is of one feature.
            if code == Code::Low && !soak() && (seed + number) % 2 != 0 {
                continue;
            }
            for level in ["-O0", "-O2"] {
                work.push((seed, program, compiler, level));
            }
        }
    }
    whole::runner()?;
    let next = AtomicU64::new(0);
    let outcomes = Mutex::new(Outcomes::default());
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(&(seed, program, compiler, level)) =
                    work.get(next.fetch_add(1, Ordering::Relaxed) as usize)
                {
                    let outcome = compare(program, compiler, level, code);
                    let outcome =
                        outcome.unwrap_or_else(|error| Outcome::Different(error.to_string()));
                    let Ok(mut all) = outcomes.lock() else {
                        return;
                    };
                    all.run += 1;
                    match outcome {
                        Outcome::Same => {}
                        Outcome::Refused(why) => all.refused.push(why),
                        Outcome::Different(how) => {
                            all.different.push(format!("[seed {seed}] {how}"));
                        }
                    }
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap_or_default();
    outcomes.different.sort_unstable();
    Ok(outcomes)
}

#[test]
fn generated_programs_do_what_they_do_natively() -> Answer<()> {
    let chosen = std::env::var("REKINDLE_PROGRAM").ok();
    let seeds: Vec<u64> = match &chosen {
        Some(seed) => vec![seed.parse()?],
        None if soak() => (0..ALL).collect(),
        // Spread out, so that both languages and most features are met.
        None => (0..CROSS_SECTION).map(|n| n * 2 + n % 2).collect(),
    };
    let programs: Vec<(u64, Program)> = seeds.iter().map(|&seed| (seed, program(seed))).collect();
    let differences = run_all(&programs, Code::PositionIndependent)?.different;
    assert!(
        differences.is_empty(),
        "{} of {} programs and compilers differ:\n{}",
        differences.len(),
        seeds.len(),
        differences.join("\n")
    );
    Ok(())
}

/// A feature in each, as one that cannot be had would keep the others from being run.
#[test]
fn programs_that_are_not_position_independent_do_so_too() -> Answer<()> {
    if cfg!(not(target_arch = "x86_64")) {
        skip("code for the low 2 GiB", "only x86-64 has it");
        return Ok(());
    }
    let programs: Vec<(u64, Program)> = [Language::C, Language::Cpp]
        .into_iter()
        .flat_map(generate::single)
        .zip(0..)
        .map(|(program, number)| (number, program))
        .collect();
    let outcomes = run_all(&programs, Code::Low)?;
    assert!(
        outcomes.different.is_empty(),
        "{}",
        outcomes.different.join("\n")
    );
    for refused in &outcomes.refused {
        let is_known = |feature: &&str| refused.starts_with(&format!("{feature}."));
        assert!(NOT_LOW.iter().any(is_known), "{refused}");
    }
    Ok(())
}

#[test]
fn the_same_seed_gives_the_same_program() {
    let sources: BTreeSet<String> = (0..ALL).map(|seed| program(seed).source).collect();
    assert_eq!(sources.len() as u64, ALL, "all are different");
    for seed in 0..ALL {
        assert!(sources.contains(&program(seed).source), "seed {seed}");
    }
}

#[test]
fn every_feature_is_in_some_program() {
    let all: String = (0..ALL).map(|seed| program(seed).source).collect();
    for feature in c_features::C_FEATURES
        .iter()
        .chain(cpp_features::CPP_FEATURES)
    {
        assert!(
            all.matches(&mark(feature.name)).count() >= 5,
            "{}",
            feature.name
        );
    }
}
