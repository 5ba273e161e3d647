//! What macros look at outside of the program, and what they do besides making code.

use rekindle_tests::Workplace;

/// How many definitions of the program were compiled.
fn compiled(workplace: &Workplace, expected: &str) -> u64 {
    let run = workplace.run(&workplace.path("program.em")).succeeded();
    assert_eq!(run.stdout, expected, "{}", run.stderr);
    assert_eq!(run.statistics.bypasses, 0);
    run.statistics.compiled
}

#[test]
fn a_file_that_a_macro_reads_is_a_dependency() {
    let workplace = Workplace::new();
    workplace.write(
        "program.em",
        "(defmacro table [] (slurp \"table.txt\"))\n(def rows (count (table)))\n(println rows)\n",
    );
    workplace.write("table.txt", "four");
    assert!(compiled(&workplace, "4\n") > 2);
    assert_eq!(compiled(&workplace, "4\n"), 0);
    workplace.write("table.txt", "three");
    assert_eq!(compiled(&workplace, "5\n"), 1);
    workplace.write("other.txt", "nobody reads this");
    assert_eq!(compiled(&workplace, "5\n"), 0);
}

#[test]
fn a_file_that_is_not_there_is_one_too() {
    let workplace = Workplace::new();
    workplace.write(
        "program.em",
        "(defmacro table [] (try (slurp \"table.txt\") (catch e :none)))\n(println (table))\n",
    );
    assert!(compiled(&workplace, ":none\n") > 1);
    assert_eq!(compiled(&workplace, ":none\n"), 0);
    workplace.write("table.txt", "here");
    assert_eq!(compiled(&workplace, "here\n"), 1);
}

#[test]
fn a_variable_that_a_macro_looks_at_is_a_dependency() {
    let workplace = Workplace::new();
    let program = workplace.write(
        "program.em",
        "(defmacro mode [] (getenv \"EMBER_TEST_MODE\"))\n(println (mode))\n",
    );
    let run = |mode: Option<&str>| {
        let mut command = workplace.ember(["run", "program.em", "--stats"]);
        command.env_remove("EMBER_TEST_MODE");
        if let Some(mode) = mode {
            command.env("EMBER_TEST_MODE", mode);
        }
        let output = command.output().expect("ember starts");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        (String::from_utf8_lossy(&output.stdout).into_owned(), stderr)
    };
    workplace.run(&program).succeeded();
    assert_eq!(run(None).0, "nil\n");
    let (stdout, stats) = run(Some("fast"));
    assert_eq!(stdout, "fast\n");
    assert!(stats.contains(" 1 misses"), "{stats}");
    let (stdout, stats) = run(Some("fast"));
    assert_eq!(stdout, "fast\n");
    assert!(stats.contains(" 0 misses"), "{stats}");
    let (stdout, stats) = run(None);
    assert_eq!(stdout, "nil\n");
    assert!(stats.contains(" 0 misses"), "{stats}");
}

#[test]
fn where_the_program_lies_is_a_dependency_of_who_asks() {
    let workplace = Workplace::new();
    let text = "(defmacro here [] (program-path \"x\"))\n(println (here))\n";
    for folder in ["one", "two", "one"] {
        let program = workplace.write(&format!("{folder}/program.em"), text);
        let run = workplace.run(&program).succeeded();
        let expected = program.with_file_name("x");
        assert_eq!(run.stdout, format!("{}\n", expected.display()));
        assert_eq!(run.statistics.bypasses, 0);
    }
}

#[test]
fn what_a_running_program_read_is_not_kept_in_code() {
    let workplace = Workplace::new();
    let program = workplace.write(
        "program.em",
        "(def rows (slurp \"table.txt\"))\n(defmacro m [] rows)\n(println (m))\n",
    );
    for text in ["one", "two"] {
        workplace.write("table.txt", text);
        let run = workplace.run(&program).succeeded();
        assert_eq!(run.stdout, format!("{text}\n"));
        assert_eq!(run.statistics.bypasses, 1);
    }
}

#[test]
fn a_name_that_a_macro_makes_known_is_known_on_a_hit() {
    let workplace = Workplace::new();
    workplace.write(
        "program.em",
        "(defmacro defpair [a b]\n  (intern a)\n  (intern b)\n  `(defn ~a [] (if false (~b) :a)))\n\
         (defpair first-of second-of)\n(defn use-it [] (second-of))\n(defn second-of [] :b)\n\
         (println (first-of) (use-it))\n",
    );
    assert!(compiled(&workplace, ":a :b\n") > 4);
    assert_eq!(compiled(&workplace, ":a :b\n"), 0);
}

#[test]
fn a_name_that_a_macro_makes_known_shadows_one_of_the_prelude() {
    let workplace = Workplace::new();
    workplace.write(
        "program.em",
        "(defmacro own [name] (intern name) `(def ~name (fn [x#] [:mine x#])))\n\
         (own inc)\n(println (inc 1))\n",
    );
    assert!(compiled(&workplace, "[:mine 1]\n") > 2);
    assert_eq!(compiled(&workplace, "[:mine 1]\n"), 0);
}

#[test]
fn a_name_that_a_macro_makes_known_is_its_own_by_an_alias_too() {
    let workplace = Workplace::new();
    workplace.write(
        "program.em",
        "(ns program (:require [program :as self]))\n\
         (defmacro twice [name] (intern name) `(defn ~name [n#] (if (< n# 1) 0 (+ 2 (~'self/down (- n# 1))))))\n\
         (twice down)\n(println (down 4) (self/down 3) (program/down 2))\n",
    );
    assert!(compiled(&workplace, "8 6 4\n") > 2);
    let run = workplace.run(&workplace.path("program.em")).succeeded();
    assert_eq!(run.statistics.hits, run.statistics.definitions);
    assert_eq!(run.statistics.second_hits, 0);
}

#[test]
fn an_alias_that_is_called_like_its_namespace_means_what_it_stands_for() {
    let workplace = Workplace::new();
    workplace.write("other.em", "(ns other)\n(def x :theirs)\n");
    workplace.write(
        "program.em",
        "(ns program (:require [other :as program]))\n\
         (def x program/x)\n(defn x-of [] [program/x x])\n(println x (x-of))\n",
    );
    assert!(compiled(&workplace, ":theirs [:theirs :theirs]\n") > 2);
    assert_eq!(compiled(&workplace, ":theirs [:theirs :theirs]\n"), 0);
}
