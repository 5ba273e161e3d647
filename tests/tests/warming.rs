//! Programs that are compiled without being run, and are run afterwards.

use rekindle_tests::{Run, Workplace, programs, runs_on};
use std::ffi::OsStr;
use std::path::Path;

/// Warms a program, and gives the line that says what came of it.
fn warm(workplace: &Workplace, program: &Path) -> String {
    let output = workplace
        .ember([OsStr::new("warm"), program.as_os_str()])
        .output()
        .expect("ember starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(errors, "", "{}", program.display());
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(text.lines().count(), 1, "a program prints nothing: {text}");
    text
}

/// The number before `what` in the line of `ember warm`.
fn number(line: &str, what: &str) -> u64 {
    let parts = line.split([':', ',']).map(str::trim);
    let found = parts
        .filter_map(|part| part.strip_suffix(what))
        .find_map(|number| number.trim().parse().ok());
    found.unwrap_or_else(|| panic!("no {what:?} in {line:?}"))
}

/// None of the programs does anything at compile time that only running it would tell.
#[test]
fn every_program_compiles_nothing_after_it_was_warmed() {
    for entry in std::fs::read_dir(programs()).expect("the programs are there") {
        let program = entry.expect("the folder can be read").path();
        if program.extension() != Some(OsStr::new("em")) || !runs_on(&program, "cranelift") {
            continue;
        }
        let workplace = Workplace::new();
        let line = warm(&workplace, &program);
        assert_eq!(number(&line, "there already"), 0, "{line}");
        assert_eq!(number(&line, "left to the run"), 0, "{line}");
        let run = workplace.run(&program).succeeded().all_hits();
        let expected = std::fs::read_to_string(program.with_extension("out"));
        assert_eq!(run.stdout, expected.expect("it can be read"));
        let definitions = number(&line, "definitions");
        assert_eq!(run.statistics.definitions, definitions, "{line}");
        // What is there is not compiled again, and what ran has added nothing.
        let line = warm(&workplace, &program);
        assert_eq!(number(&line, "compiled"), 0, "{line}");
        assert_eq!(number(&line, "there already"), definitions, "{line}");
    }
}

#[test]
fn what_ran_before_is_there_and_what_is_new_is_compiled() {
    let workplace = Workplace::new();
    let program = workplace.write("program.em", "(defn f [x] x)\n(println (f 1))\n");
    let counts = workplace.run(&program).succeeded().statistics;
    workplace.write("program.em", "(defn f [x] x)\n(println (f 1) 2)\n");
    let line = warm(&workplace, &program);
    assert_eq!(number(&line, "compiled"), 1, "{line}");
    assert_eq!(number(&line, "there already"), counts.definitions - 1);
    let run = workplace.run(&program).succeeded().all_hits();
    assert_eq!(run.stdout, "1 2\n");
}

#[test]
fn the_program_itself_does_not_run() {
    let workplace = Workplace::new();
    let program = workplace.write(
        "program.em",
        r#"
(defn endless [] (loop [] (recur)))
(def never (when (getenv "REKINDLE_TEST_ENDLESS") (endless)))
(println "printed")
(spit "written" "something")
(def table (do (spit "also-written" "") {:a 1}))
(defn look [] (get table :a))
(println (look))
(throw (ex-info "the end" {}))
"#,
    );
    let line = warm(&workplace, &program);
    assert_eq!(number(&line, "left to the run"), 0, "{line}");
    for file in ["written", "also-written"] {
        assert!(!workplace.path(file).exists(), "{file}");
    }
    let run = workplace.run(&program).all_hits();
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), "printed\n1\n"));
    assert!(workplace.path("written").exists());
}

/// Values that macros need are made, in the order of the program, and others are not.
#[test]
fn what_macros_call_is_evaluated() {
    let workplace = Workplace::new();
    workplace.write(
        "lib/words.em",
        r#"
(ns lib.words)
(def ^:private numbers (into {} (map (fn [n] [(keyword (str "n" n)) (* n n)]) (range 10))))
(defn- pick [key] (get numbers key))
(defmacro number [key] (pick key))
"#,
    );
    let program = workplace.write(
        "program.em",
        r#"
(ns main (:require [lib.words :refer [number]]))
(println (number :n7))
(def a 1)
(def b (+ a 10))
(defmacro held [] b)
(println (held))
(def a 2)
(println (held))
(def b (+ a 10))
(println (held))
(def c (+ c-of-later 1))
"#,
    );
    let output = workplace.ember(["warm", "program.em"]).output();
    let output = output.expect("ember starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    // What cannot be compiled is said, and does not keep the rest from being compiled.
    assert!(output.status.success(), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(
        errors.starts_with("left to the run: ") && errors.contains("unbound symbol: c-of-later"),
        "{errors}"
    );
    let Run {
        stdout,
        code,
        statistics,
        ..
    } = workplace.run(&program);
    assert_eq!((stdout.as_str(), code), ("49\n11\n11\n12\n", Some(1)));
    assert_eq!(statistics.hits, statistics.definitions - 1);
}

/// A macro that looks at what the program changes when it runs: no record can say what it will see.
#[test]
fn what_a_run_decides_is_left_to_it() {
    let workplace = Workplace::new();
    let program = workplace.write(
        "program.em",
        r#"
(def state (atom 1))
(defmacro seen [] @state)
(println (seen))
(reset! state 2)
(println (seen))
(spit "data" "two")
(defmacro data [] (try (slurp "data") (catch e "none")))
(println (data))
"#,
    );
    let line = warm(&workplace, &program);
    assert_eq!(number(&line, "not to be kept"), 2, "{line}");
    let run = workplace.run(&program).succeeded();
    assert_eq!(run.stdout, "1\n2\ntwo\n");
    let counts = run.statistics;
    // The file that was not there when it was warmed.
    assert_eq!((counts.bypasses, counts.misses), (2, 1), "{counts:?}");
    // Another warming sees the file as the next run will.
    let line = warm(&workplace, &program);
    assert_eq!(number(&line, "compiled"), 0, "{line}");
}

#[test]
fn any_number_of_threads_makes_the_same_records() {
    let program = programs().join("library.em");
    for threads in ["1", "2", "7"] {
        let workplace = Workplace::new();
        let mut command = workplace.ember([OsStr::new("warm"), program.as_os_str()]);
        let output = command.args(["--threads", threads]).output();
        assert!(output.expect("ember starts").status.success());
        workplace.run(&program).succeeded().all_hits();
    }
}

#[test]
fn several_programs_share_what_they_require() {
    let workplace = Workplace::new();
    workplace.write("lib.em", "(ns lib)\n(defn f [x] (* x 2))\n");
    for name in ["a", "b"] {
        let text = format!("(ns {name} (:require [lib :as l]))\n(println \"{name}\" (l/f 4))\n");
        workplace.write(&format!("{name}.em"), &text);
    }
    let output = workplace.ember(["warm", "a.em", "missing.em", "b.em"]);
    let output = { output }.output().expect("ember starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "one of them is missing");
    assert!(errors.contains("missing.em"), "{errors}");
    for name in ["a", "b"] {
        let run = workplace.run(&workplace.path(&format!("{name}.em")));
        assert_eq!(run.succeeded().all_hits().stdout, format!("{name} 8\n"));
    }
}
