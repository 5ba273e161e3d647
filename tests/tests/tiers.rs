//! Programs that Cranelift compiles, and another backend in idle time: the next process has that one's code, and
//! prints the same.
//!
//! `REKINDLE_BACKENDS` says which there are beside Cranelift, as `cargo xtask test` does.

use rekindle_tests::program::{self, MAIN, Random, Scene, VARIABLE};
use rekindle_tests::{Run, Workplace, backends, programs};
use std::io::Read;
use std::path::Path;
use std::process::Stdio;

/// Random programs of an ordinary run.
const CASES: u64 = 3;

/// Those of a long one.
const SOAK: u64 = 200;

fn others() -> Vec<String> {
    let mut others = backends();
    others.retain(|backend| backend != "cranelift");
    if others.is_empty() {
        eprintln!("left out: better code, as this ember has no other backend (REKINDLE_BACKENDS)");
    }
    others
}

/// Makes all better that it compiles, for so long after its end.
fn run(workplace: &Workplace, backend: &str, program: &Path, seconds: u32) -> Run {
    run_with(workplace, backend, program, seconds, None)
}

fn run_with(
    workplace: &Workplace,
    backend: &str,
    program: &Path,
    seconds: u32,
    setting: Option<&str>,
) -> Run {
    workplace.run_in(&format!("cache-{backend}"), program, |command| {
        command.args(["--better", backend, "--better-from", "0"]);
        command.args(["--better-at-end", &seconds.to_string()]);
        command.env_remove(VARIABLE);
        command.envs(setting.map(|setting| (VARIABLE, setting)));
    })
}

#[test]
fn the_next_process_has_the_better_code() {
    for backend in others() {
        let workplace = Workplace::new();
        for (name, seconds) in [("brainf", 60), ("json", 20)] {
            let program = programs().join(format!("{name}.em"));
            let expected = std::fs::read_to_string(program.with_extension("out"));
            let expected = expected.expect("it is there");
            let cold = run(&workplace, &backend, &program, seconds).succeeded();
            assert_eq!(cold.stdout, expected, "{name} with {backend}");
            assert_eq!(cold.stderr, "");
            assert!(cold.statistics.compiled > 0);
            let warm = run(&workplace, &backend, &program, 0)
                .succeeded()
                .all_hits();
            assert_eq!(warm.stdout, expected, "{name} with {backend}");
            // What came last may not have been made in time.
            let better = warm.statistics.better_hits;
            assert!(better > 50, "{better} of {}", warm.statistics.hits);
        }
    }
}

/// After an edit of a macro what it ran for is compiled anew, whoever had compiled it before.
#[test]
fn an_edit_is_seen_by_better_code() {
    for backend in others() {
        let workplace = Workplace::new();
        let program = |constant: u32| {
            let text = format!(
                "(defmacro constant [] {constant})\n\
                 (defn value [x] (+ x (constant)))\n\
                 (println (value 1))\n"
            );
            workplace.write("main.em", &text)
        };
        let main = program(1);
        let cold = run(&workplace, &backend, &main, 120).succeeded();
        assert_eq!(cold.stdout, "2\n");
        let warm = run(&workplace, &backend, &main, 0).succeeded().all_hits();
        assert_eq!(warm.stdout, "2\n");
        assert!(warm.statistics.better_hits > 0);
        let edited = run(&workplace, &backend, &program(41), 0).succeeded();
        assert_eq!(edited.stdout, "42\n");
        assert!(edited.statistics.compiled > 0);
        let back = run(&workplace, &backend, &program(1), 0)
            .succeeded()
            .all_hits();
        assert_eq!(back.stdout, "2\n");
    }
}

/// A process that is killed while it makes code better leaves nothing wrong.
#[test]
fn killed_while_code_is_made_better() {
    for backend in others() {
        let workplace = Workplace::new();
        let text = "(defn twice [x] (* 2 x))\n(println (twice 21))\n(println \"done\")\n";
        let main = workplace.write("main.em", text);
        for _ in 0..3 {
            let mut command = workplace.ember(["run"]);
            command.arg(&main).stdout(Stdio::piped());
            command.env("REKINDLE_DIR", workplace.path(&format!("cache-{backend}")));
            command.args(["--better", &backend, "--better-from", "0"]);
            command.args(["--better-at-end", "60"]);
            let mut child = command.spawn().expect("ember starts");
            let mut stdout = child.stdout.take().expect("it is piped");
            let mut said = Vec::new();
            let mut piece = [0; 64];
            while !said.ends_with(b"done\n") {
                let read = stdout.read(&mut piece).expect("it can be read");
                assert!(read > 0, "{}", String::from_utf8_lossy(&said));
                said.extend_from_slice(&piece[..read]);
            }
            child.kill().expect("it runs or has ended");
            child.wait().expect("it ends");
        }
        let whole = run(&workplace, &backend, &main, 120).succeeded();
        assert_eq!(
            (whole.stdout.as_str(), whole.stderr.as_str()),
            ("42\ndone\n", "")
        );
        let warm = run(&workplace, &backend, &main, 0).succeeded().all_hits();
        assert_eq!(
            (warm.stdout.as_str(), warm.stderr.as_str()),
            ("42\ndone\n", "")
        );
    }
}

/// What a program prints is the same with better code, errors with their positions included.
#[test]
fn random_programs_print_the_same() {
    let cases = match std::env::var_os("REKINDLE_SOAK") {
        Some(_) => SOAK,
        None => CASES,
    };
    let llvm = others().into_iter().filter(|backend| backend == "llvm");
    for backend in llvm {
        let workplace = Workplace::new();
        for case in 0..cases {
            let scene = program::scene(&mut Random::new(case));
            let setting = scene.setting.as_deref();
            let program = workplace.path(MAIN);
            put(&workplace, &scene);
            let plain = workplace.run_in("cache", &program, |command| {
                command.env_remove(VARIABLE);
                command.envs(setting.map(|setting| (VARIABLE, setting)));
            });
            for round in 0..3 {
                put(&workplace, &scene);
                let run = run_with(&workplace, &backend, &program, 60, setting);
                assert_eq!(
                    (&run.stdout, &run.stderr, run.code),
                    (&plain.stdout, &plain.stderr, plain.code),
                    "case {case}, round {round}:\n{scene}"
                );
            }
        }
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
