//! Every program of the example language, in a cold process and in a warm one.

use rekindle_tests::{Workplace, programs, runs_on};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

fn all_programs() -> Vec<PathBuf> {
    let mut found: Vec<_> = std::fs::read_dir(programs())
        .expect("the programs are there")
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| path.extension() == Some(OsStr::new("em")) && runs_on(path, "cranelift"))
        .collect();
    found.sort();
    found
}

fn expected(program: &Path) -> String {
    let path = program.with_extension("out");
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn there_are_the_programs_that_the_readme_speaks_of() {
    let names: Vec<_> = all_programs()
        .iter()
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    for name in ["queens", "mandelbrot", "words", "json", "life", "brainf"] {
        assert!(
            names.iter().any(|found| found == name),
            "{name} of {names:?}"
        );
    }
}

#[test]
fn a_second_process_takes_every_definition_from_the_first() {
    for program in all_programs() {
        let workplace = Workplace::new();
        let expected = expected(&program);
        let cold = workplace.run(&program).succeeded();
        assert_eq!(cold.stdout, expected, "{} cold", program.display());
        assert_eq!(cold.stderr, "", "{}", program.display());
        let counts = cold.statistics;
        // A form that stands twice in a program is a hit the second time, in the same process.
        assert_eq!(counts.misses + counts.hits, counts.definitions);
        assert!(counts.hits < 10, "{}: {counts:?}", program.display());
        assert!(counts.definitions > 150, "the prelude alone has more");

        let warm = workplace.run(&program).succeeded().all_hits();
        assert_eq!(warm.stdout, expected, "{} warm", program.display());
        assert_eq!(warm.statistics.definitions, counts.definitions);
    }
}

/// Ember tells of all that its front end looks at: what is compiled again after a hit is what was kept.
#[test]
fn no_hit_is_found_wrong_when_all_are_verified() {
    for name in ["library.em", "tour.em"] {
        let workplace = Workplace::new();
        let program = programs().join(name);
        workplace.run(&program).succeeded();
        let mut command = workplace.ember(["run"]);
        command.arg(&program).env("REKINDLE_VERIFY", "1");
        let output = command.output().expect("ember starts");
        let printed = String::from_utf8_lossy(&output.stdout);
        assert_eq!(printed, expected(&program), "{name}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{name}");
        workplace.run(&program).succeeded().all_hits();
    }
}

#[test]
fn without_the_cache_the_output_is_the_same() {
    for program in all_programs() {
        let workplace = Workplace::new();
        let run = workplace.run_with(&program, &["--no-cache"]).succeeded();
        assert_eq!(run.stdout, expected(&program), "{}", program.display());
        assert_eq!(run.statistics.hits, 0);
        assert!(!workplace.cache().exists(), "nothing is kept");
    }
}

/// Programs share the prelude: the second program compiles its own definitions only.
#[test]
fn programs_share_what_they_have_in_common() {
    let workplace = Workplace::new();
    let [first, second, ..] = &all_programs()[..] else {
        panic!("there are several programs");
    };
    workplace.run(first).succeeded();
    let run = workplace.run(second).succeeded();
    assert!(run.statistics.hits > 150, "{:?}", run.statistics);
    assert!(run.statistics.misses > 0);
}

#[test]
fn the_statistics_line_says_what_the_json_says() {
    let workplace = Workplace::new();
    let program = workplace.write("small.em", "(defn f [x] (+ x 1))\n(println (f 41))\n");
    let run = workplace.run_with(&program, &["--stats"]).succeeded();
    assert_eq!(run.stdout, "42\n");
    let counts = run.statistics;
    let line = run.stderr.lines().next().expect("one line");
    assert!(line.starts_with(&format!(
        "{} definitions: 0 hits, {} misses, 0 bypasses, 0 rejected in ",
        counts.definitions, counts.misses
    )));
    assert_eq!(run.stderr.lines().count(), 1);
    assert!(counts.eval_ns > 0);
}

/// The checks of the prelude, by code that was compiled at once, compiled and kept, and kept.
#[test]
fn the_prelude_does_what_it_says() {
    let workplace = Workplace::new();
    let checks = Path::new(env!("CARGO_MANIFEST_DIR")).join("ember/prelude.em");
    let mut outputs = Vec::new();
    for options in [&["--no-cache"][..], &[], &[]] {
        let run = workplace.run_with(&checks, options).succeeded();
        assert!(
            run.stdout.ends_with("checks, 0 failures\n"),
            "{}",
            run.stdout
        );
        outputs.push(run.stdout);
    }
    assert!(outputs.iter().all(|output| *output == outputs[0]));
    workplace.run(&checks).succeeded().all_hits();
}
