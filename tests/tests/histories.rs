//! Programs that differ only in what happened before: none may get what was kept for the other.
//!
//! Each pair is two courses of events after which the same text stands in the same namespace. The first
//! is run twice on a cache folder, then the second on the same folder; it has to print what it prints
//! without a cache, and so has a third run of the first.

use rekindle_tests::Workplace;

/// Runs `first` and `second` in turn on one cache, and each again without one.
fn neither_gets_what_belongs_to_the_other(first: &str, second: &str) {
    let workplace = Workplace::new();
    let programs = [first, second].map(|text| {
        // A folder each, so that both have the same name in messages.
        let folder = if text == first { "first" } else { "second" };
        workplace.write(&format!("{folder}/program.em"), text)
    });
    let expected = [0, 1].map(|which| {
        let alone = workplace.run_with(&programs[which], &["--no-cache"]);
        assert!(!alone.stdout.is_empty(), "{}", alone.stderr);
        alone.stdout
    });
    for which in [0, 0, 1, 1, 0] {
        let run = workplace.run(&programs[which]);
        assert_eq!(run.stdout, expected[which], "{}", run.stderr);
        assert_eq!(run.statistics.rejected, 0);
    }
}

#[test]
fn a_value_computed_before_what_it_was_computed_from_changed() {
    let after = "(defmacro size [] n)\n(def user (size))\n(println user n)\n";
    neither_gets_what_belongs_to_the_other(
        &format!("(def fields [:a :b])\n(def n (count fields))\n(def fields [:a :b :c])\n{after}"),
        &format!("(def fields [:a :b :c])\n(def n (count fields))\n{after}"),
    );
}

#[test]
fn a_value_computed_through_two_steps_of_which_one_is_gone() {
    let course = |inner: &str| {
        format!(
            "(def a {inner})\n(defn b [] a)\n(def made (b))\n(defn b [] 0)\n(def a 3)\n\
             (defmacro m [] made)\n(def user (m))\n(println user)\n"
        )
    };
    neither_gets_what_belongs_to_the_other(&course("1"), &course("2"));
}

#[test]
fn a_value_computed_before_and_after_a_declared_name_had_one() {
    let after = "(defmacro m [] found)\n(def user (m))\n(println user found)\n";
    let late = "(defn late [] 5)\n";
    let found = "(def found (try (late) (catch e 0)))\n";
    neither_gets_what_belongs_to_the_other(
        &format!("(declare late)\n{found}{late}{after}"),
        &format!("(declare late)\n{late}{found}{after}"),
    );
}

#[test]
fn a_name_that_is_declared_again_keeps_its_value() {
    let course = |value: &str| {
        format!("(def x {value})\n(declare x)\n(defmacro m [] x)\n(def user (m))\n(println user)\n")
    };
    neither_gets_what_belongs_to_the_other(&course("1"), &course("2"));
}

#[test]
fn a_value_made_from_its_previous_one() {
    let inc = "(def x (+ x 1))\n";
    let after = "(defmacro m [] x)\n(def user (m))\n(println user)\n";
    neither_gets_what_belongs_to_the_other(
        &format!("(def x 1)\n{inc}{after}"),
        &format!("(def x 1)\n{inc}{inc}{after}"),
    );
}

#[test]
fn a_function_is_not_the_one_that_had_its_name_before() {
    let function = "(def f (fn [] 1))\n";
    let after = "(defmacro same [] (= f saved))\n(def user (same))\n(println user (= f saved))\n";
    neither_gets_what_belongs_to_the_other(
        &format!("{function}(def saved f)\n{function}{after}"),
        &format!("{function}(def saved f)\n{after}"),
    );
}

#[test]
fn functions_in_a_set_are_in_the_order_in_which_they_were_made() {
    let (a, b) = ("(defn a [] :a)\n", "(defn b [] :b)\n");
    let after =
        "(defmacro pick [] ((first (seq #{a b}))))\n(println (pick) ((first (seq #{a b}))))\n";
    neither_gets_what_belongs_to_the_other(&format!("{a}{b}{after}"), &format!("{b}{a}{after}"));
}

#[test]
fn names_generated_by_a_running_program() {
    let after = "(def s (gensym \"x\"))\n(defmacro m [] (list 'quote s))\n(def user (m))\n\
                 (println s user (= s user) (= (gensym) (gensym)))\n";
    neither_gets_what_belongs_to_the_other(
        after,
        &format!("(def others (list (gensym) (gensym)))\n{after}"),
    );
}

#[test]
fn a_quoted_private_name_of_another_namespace() {
    let workplace = Workplace::new();
    for (file, namespace) in [("x/one.em", "x.one"), ("y/two.em", "y.two")] {
        workplace.write(file, &format!("(ns {namespace})\n(def ^:private p 1)\n"));
    }
    let program = |namespace: &str| {
        format!("(ns program (:require [{namespace} :as other]))\n(def q `other/p)\n(println q)\n")
    };
    let first = workplace.write("first.em", &program("x.one"));
    let second = workplace.write("second.em", &program("y.two"));
    assert_eq!(workplace.run(&first).succeeded().stdout, "x.one/p\n");
    assert_eq!(workplace.run(&second).succeeded().stdout, "y.two/p\n");
}

#[test]
fn what_is_left_of_chance_is_not_kept() {
    let workplace = Workplace::new();
    let program = workplace.write(
        "program.em",
        "(def v (rand-int 1000000000))\n(def made (inc v))\n(def v 5)\n(defmacro m [] made)\n\
         (def user (m))\n(println (= made user))\n",
    );
    for _ in 0..3 {
        assert_eq!(workplace.run(&program).succeeded().stdout, "true\n");
    }
}

#[test]
fn how_deep_the_stack_is_when_a_macro_runs_is_not_kept() {
    let workplace = Workplace::new();
    let program = workplace.write(
        "program.em",
        "(defn deep [n] (if (= n 0) 0 (+ 1 (deep (- n 1)))))\n\
         (defmacro probe [] (try (do (deep 100000000) :done) (catch e :overflow)))\n\
         (println (probe))\n",
    );
    for _ in 0..2 {
        let run = workplace.run(&program).succeeded();
        assert_eq!(run.stdout, ":overflow\n");
        assert_eq!(run.statistics.bypasses, 1);
    }
}
