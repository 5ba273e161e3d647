//! The same programs on every backend: cold and warm in processes of their own, with the same output.
//!
//! `REKINDLE_BACKENDS` says which of them the `ember` under test was built with, as `cargo xtask test` does;
//! without it, that is Cranelift alone, which the other tests are about.

use rekindle_tests::program::{self, MAIN, Random, Scene, VARIABLE};
use rekindle_tests::{Run, Workplace, backends, programs, runs_on};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Random programs of an ordinary run.
const CASES: u64 = 4;

/// Those of a long one.
const SOAK: u64 = 400;

/// The backends to test beside Cranelift, or a line that says what is left out.
fn others() -> Vec<String> {
    let mut others = backends();
    others.retain(|backend| backend != "cranelift");
    if others.is_empty() {
        eprintln!(
            "left out: LLVM and clang, which this ember was built without (REKINDLE_BACKENDS)"
        );
    }
    others
}

fn all_programs(backend: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(programs()).expect("the programs are there");
    let paths = entries.map(|entry| entry.expect("the folder can be read").path());
    let mut found: Vec<_> = paths
        .filter(|path| path.extension() == Some(OsStr::new("em")) && runs_on(path, backend))
        .collect();
    found.sort();
    found
}

/// Runs a program on a cache that all runs of a backend share, as the prelude takes clang long.
fn run(workplace: &Workplace, backend: &str, program: &Path, setting: Option<&str>) -> Run {
    workplace.run_in(&format!("cache-{backend}"), program, |command| {
        command.args(["--backend", backend]);
        command.env_remove(VARIABLE);
        command.envs(setting.map(|setting| (VARIABLE, setting)));
    })
}

#[test]
fn every_program_on_every_backend() {
    for backend in others() {
        let workplace = Workplace::new();
        for program in all_programs(&backend) {
            let name = program.display();
            let expected = std::fs::read_to_string(program.with_extension("out"));
            let expected = expected.unwrap_or_else(|error| panic!("{name}: {error}"));
            let cold = run(&workplace, &backend, &program, None).succeeded();
            assert_eq!(cold.stdout, expected, "{name} cold on {backend}");
            assert_eq!(cold.stderr, "", "{name} on {backend}");
            assert!(cold.statistics.compiled > 0);
            let warm = run(&workplace, &backend, &program, None)
                .succeeded()
                .all_hits();
            assert_eq!(warm.stdout, expected, "{name} warm on {backend}");
        }
        random_programs(&workplace, &backend);
    }
}

/// What a program prints is the same on all backends, errors with their positions included.
fn random_programs(workplace: &Workplace, backend: &str) {
    let cases = match std::env::var_os("REKINDLE_SOAK") {
        Some(_) => SOAK,
        None => CASES,
    };
    for case in 0..cases {
        let scene = program::scene(&mut Random::new(case));
        let shown = |backend: &str| {
            put(workplace, &scene);
            let program = workplace.path(MAIN);
            let run = run(workplace, backend, &program, scene.setting.as_deref());
            (run.stdout, run.stderr, run.code)
        };
        let expected = shown("cranelift");
        assert_eq!(
            shown(backend),
            expected,
            "case {case} on {backend}, cold:\n{scene}"
        );
        assert_eq!(
            shown(backend),
            expected,
            "case {case} on {backend}, warm:\n{scene}"
        );
    }
}

/// Puts the files of a scene in place, which programs may have changed since.
fn put(workplace: &Workplace, scene: &Scene) {
    for (name, forms) in &scene.files {
        workplace.write(name, &Scene::text(forms));
    }
    for (name, content) in &scene.data {
        match content {
            Some(content) => drop(workplace.write(name, content)),
            // There may be one of the scene before.
            None => drop(std::fs::remove_file(workplace.path(name))),
        }
    }
}
