//! What an edit between two processes recompiles: exactly what it reaches, and never less.

use rekindle_tests::{Run, Workplace};

const PROGRAM: &str = "\
(defn twice-form [form] (list '+ form form))
(defmacro twice [form] (twice-form form))
(defn quadruple [x] (twice (twice x)))
(defn unrelated [x] (* x 3))
(defn caller [x] (quadruple (unrelated x)))
(println (caller 5) (unrelated 2))
";

fn edited(edits: &[(&str, &str)]) -> String {
    edits.iter().fold(PROGRAM.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    })
}

/// Runs the program, then the edited one, which must print what a cold run of it prints.
#[track_caller]
fn after(edits: &[(&str, &str)]) -> Run {
    let workplace = Workplace::new();
    let program = workplace.write("program.em", PROGRAM);
    assert_eq!(workplace.run(&program).succeeded().stdout, "60 6\n");
    workplace.run(&program).succeeded().all_hits();
    workplace.write("program.em", &edited(edits));
    let third = workplace.run(&program).succeeded();
    let fresh = Workplace::new();
    let cold = fresh
        .run(&fresh.write("program.em", &edited(edits)))
        .succeeded();
    assert_eq!(third.stdout, cold.stdout);
    assert_eq!(third.statistics.definitions, cold.statistics.definitions);
    let again = workplace.run(&program).succeeded().all_hits();
    assert_eq!(again.stdout, cold.stdout);
    third
}

#[test]
fn an_edited_function_is_compiled_alone() {
    let run = after(&[("(* x 3)", "(* x 4)")]);
    assert_eq!(run.stdout, "80 8\n");
    assert_eq!(run.statistics.compiled, 1);
}

#[test]
fn an_edited_macro_recompiles_what_expands_it() {
    let run = after(&[(
        "(defmacro twice [form] (twice-form form))",
        "(defmacro twice [form] (list '* (twice-form form) 10))",
    )]);
    assert_eq!(run.stdout, "6000 6\n");
    // The macro, and `quadruple`.
    assert_eq!(run.statistics.compiled, 2);
}

#[test]
fn an_edited_helper_of_a_macro_recompiles_what_expands_the_macro() {
    let run = after(&[("(list '+ form form)", "(list '+ form form 1)")]);
    assert_eq!(run.stdout, "63 6\n");
    // The helper, and `quadruple`; the macro's own code is what it was.
    assert_eq!(run.statistics.compiled, 2);
}

/// numba#1833: what a compiled function relied on changed two steps away, and it ran stale.
#[test]
fn a_helper_of_a_helper_counts_too() {
    let chain = "(defn ending [] 1)\n(defn middle [form] (list '+ form (ending)))\n";
    let workplace = Workplace::new();
    let text = |ending: &str| {
        format!("{chain}(defmacro more [form] (middle form))\n(println (more 1))\n")
            .replace("[] 1", ending)
    };
    let program = workplace.write("program.em", &text("[] 1"));
    assert_eq!(workplace.run(&program).succeeded().stdout, "2\n");
    workplace.write("program.em", &text("[] 5"));
    let run = workplace.run(&program).succeeded();
    assert_eq!(run.stdout, "6\n");
    assert_eq!(run.statistics.compiled, 2);
}

#[test]
fn a_comment_or_a_move_changes_no_output() {
    after(&[("(defn unrelated", "; three times\n\n(defn unrelated")]);
    after(&[("(* x 3)", "; three times\n (* x 3)")]);
    let moved = after(&[
        ("(defn unrelated [x] (* x 3))\n", ""),
        (
            "(defn twice-form",
            "(defn unrelated [x] (* x 3))\n(defn twice-form",
        ),
    ]);
    assert_eq!(moved.stdout, "60 6\n");
}

#[test]
fn a_new_definition_that_shadows_one_of_the_prelude_is_noticed() {
    let text = "(defn f [x] (inc x))\n(println (f 1))\n";
    let shadowed = format!("(defn inc [x] (* x 100))\n{text}");
    let workplace = Workplace::new();
    let program = workplace.write("program.em", text);
    assert_eq!(workplace.run(&program).succeeded().stdout, "2\n");
    workplace.write("program.em", &shadowed);
    assert_eq!(workplace.run(&program).succeeded().stdout, "100\n");
    workplace.write("program.em", text);
    assert_eq!(workplace.run(&program).succeeded().all_hits().stdout, "2\n");
}

#[test]
fn a_function_that_becomes_a_macro_is_noticed() {
    let text = |keyword: &str| {
        format!("({keyword} k [x] (list 'quote x))\n(def r (k (+ 1 2)))\n(println r)\n")
    };
    let workplace = Workplace::new();
    let program = workplace.write("program.em", &text("defn"));
    assert_eq!(workplace.run(&program).succeeded().stdout, "(quote 3)\n");
    workplace.write("program.em", &text("defmacro"));
    assert_eq!(workplace.run(&program).succeeded().stdout, "(+ 1 2)\n");
}

/// What a macro read from a definition is part of what it did.
#[test]
fn a_constant_that_a_macro_reads_counts() {
    let text = |n: u32| {
        format!(
            "(def size {n})\n(defmacro sized [] (+ size 1))\n(defn f [] (sized))\n(println (f))\n"
        )
    };
    let workplace = Workplace::new();
    let program = workplace.write("program.em", &text(1));
    assert_eq!(workplace.run(&program).succeeded().stdout, "2\n");
    workplace.write("program.em", &text(7));
    let run = workplace.run(&program).succeeded();
    assert_eq!(run.stdout, "8\n");
    assert_eq!(run.statistics.compiled, 2);
}

/// A macro that reads mutable state cannot be recorded, so what expands it is compiled each time.
#[test]
fn a_macro_over_mutable_state_makes_bypasses() {
    let text = "\
(def counter (atom 0))
(defmacro next-number [] (swap! counter inc))
(println (next-number) (next-number))
(def setting (deref counter))
(defmacro setting-now [] setting)
(println (setting-now))
";
    let workplace = Workplace::new();
    let program = workplace.write("program.em", text);
    for _ in 0..2 {
        let run = workplace.run(&program).succeeded();
        assert_eq!(run.stdout, "1 2\n2\n");
        assert_eq!(run.statistics.bypasses, 2, "{:?}", run.statistics);
    }
}

#[test]
fn an_edit_in_a_required_file_reaches_the_file_that_requires_it() {
    let library = |operator: &str| {
        format!(
            "(ns tools.shapes)\n(defmacro area [a b] (list '{operator} a b))\n(defn unit [] 1)\n"
        )
    };
    let workplace = Workplace::new();
    workplace.write("tools/shapes.em", &library("*"));
    let program = workplace.write(
        "program.em",
        "(ns program (:require [tools.shapes :as shapes :refer [unit]]))\n\
         (defn f [x] (shapes/area x (+ 3 (unit))))\n(println (f 5))\n",
    );
    assert_eq!(workplace.run(&program).succeeded().stdout, "20\n");
    workplace.run(&program).succeeded().all_hits();
    workplace.write("tools/shapes.em", &library("+"));
    let run = workplace.run(&program).succeeded();
    assert_eq!(run.stdout, "9\n");
    assert_eq!(run.statistics.compiled, 2);
}

/// Code speaks of positions relative to its definition, so a line inserted above neither misses nor lies.
#[test]
fn errors_show_true_lines_after_edits_above() {
    let text = "(defn f [x]\n  (/ 1 x))\n(println (f 1))\n(f 0)\n";
    let workplace = Workplace::new();
    let program = workplace.write("program.em", text);
    let first = workplace.run(&program);
    assert_eq!(first.code, Some(1));
    assert!(
        first.stderr.contains("program.em:2:3: division by zero"),
        "{}",
        first.stderr
    );
    workplace.write("program.em", &format!("; a line\n\n{text}"));
    let second = workplace.run(&program);
    assert!(
        second.stderr.contains("program.em:4:3: division by zero"),
        "{}",
        second.stderr
    );
    assert_eq!(second.statistics.hits, second.statistics.definitions);
}

/// Early cutoff: the macro is compiled again to the same code, so nothing that expands it is looked at.
#[test]
fn an_edit_of_a_macro_that_changes_no_code_stops_there() {
    let workplace = Workplace::new();
    let text = "(defmacro twice [x] `(* 2 ~x))\n(defn f [x] (twice x))\n(println (f 4))\n";
    let program = workplace.write("program.em", text);
    workplace.run(&program).succeeded();
    let edited = text.replace("[x] `(*", "\n  ; doubles\n  [x]\n  `(*");
    std::fs::write(&program, edited).expect("it can be written");
    let run = workplace
        .run_with(&program, &["--stats"])
        .succeeded()
        .all_hits();
    assert_eq!(run.second_hits(), 1);
    assert_eq!(run.stdout, "8\n");
}

/// The macro does something else, but gives the same for this use: its user is expanded and analysed, and
/// finds its code by what came of that.
#[test]
fn an_edit_of_a_macro_that_changes_no_expansion_needs_no_new_code() {
    let workplace = Workplace::new();
    let text = "(defmacro pick [x] (if (= x 0) :none x))\n(defn f [] (pick 7))\n(println (f))\n";
    let program = workplace.write("program.em", text);
    workplace.run(&program).succeeded();
    let edited = text.replace(":none", ":nothing");
    std::fs::write(&program, edited).expect("it can be written");
    let run = workplace.run_with(&program, &["--stats"]).succeeded();
    assert_eq!(run.statistics.compiled, 1, "the macro");
    assert_eq!(run.second_hits(), 1, "its user");
    assert_eq!(run.stdout, "7\n");
}

#[test]
fn a_text_laid_out_anew_finds_its_code_and_tells_its_own_positions() {
    let workplace = Workplace::new();
    let program = workplace.write("program.em", "(defn f [x] (+ 1 (/ 10 x)))\n(f 0)\n");
    let before = workplace.run(&program);
    assert!(
        before.stderr.contains("program.em:1:18: division by zero"),
        "{}",
        before.stderr
    );
    let edited = "; a comment\n(defn f\n  [x] ; and another\n  (+ 1\n     (/ 10 x)))\n(f 0)\n";
    std::fs::write(&program, edited).expect("it can be written");
    for second_hits in [1, 0] {
        let run = workplace.run_with(&program, &["--stats"]);
        assert!(
            run.stderr.contains("program.em:5:6: division by zero"),
            "{}",
            run.stderr
        );
        assert_eq!(run.statistics.compiled, 0);
        assert_eq!(run.second_hits(), second_hits);
    }
    // The first layout still is what it was.
    std::fs::write(&program, "(defn f [x] (+ 1 (/ 10 x)))\n(f 0)\n").expect("it can be written");
    let again = workplace.run(&program);
    assert_eq!(again.stderr, before.stderr);
    assert_eq!(again.statistics.compiled, 0);
}

#[test]
fn misses_explain_themselves_when_asked() {
    let workplace = Workplace::new();
    let text = "(defmacro twice [x] `(* 2 ~x))\n(defn f [x] (twice x))\n(println (f 4))\n";
    let program = workplace.write("program.em", text);
    workplace.run(&program).succeeded();
    let quiet = workplace.run_with(&program, &["--explain"]).succeeded();
    assert_eq!(quiet.stderr, "");
    std::fs::write(&program, text.replace("* 2", "* 3")).expect("it can be written");
    let run = workplace.run_with(&program, &["--explain"]).succeeded();
    assert!(
        run.stderr
            .contains("user/twice: miss: its text has changed"),
        "{}",
        run.stderr
    );
    let reason = "user/f: miss: what user/twice does has changed, from";
    assert!(run.stderr.contains(reason), "{}", run.stderr);
    assert_eq!(run.stderr.lines().count(), 2, "{}", run.stderr);
}

#[test]
fn the_command_tells_why_something_was_compiled_again() {
    let workplace = Workplace::new();
    let text = "(defmacro twice [x] `(* 2 ~x))\n(defn f [x] (twice x))\n(println (f 4))\n";
    let program = workplace.write("program.em", text);
    workplace.run(&program).succeeded();
    let why = workplace.rekindle(&["why", "user/f"]);
    assert!(
        why.contains("no record of this text in this environment"),
        "{why}"
    );
    std::fs::write(&program, text.replace("* 2", "* 3")).expect("it can be written");
    workplace.run(&program).succeeded();
    let why = workplace.rekindle(&["why", "user/f"]);
    assert!(
        why.contains("what user/twice does has changed, from"),
        "{why}"
    );
    assert!(why.contains("changed: behaviour user/twice"), "{why}");
}
