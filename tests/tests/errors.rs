//! What a program does wrong is an ember error with its position, cold and warm alike, and never a crash.

use rekindle_tests::Workplace;

/// Runs a program that fails, cold and warm; both must say `expected` and end with exit code 1.
#[track_caller]
fn fails(text: &str, expected: &str) {
    let workplace = Workplace::new();
    let program = workplace.write("program.em", text);
    let cold = workplace.run(&program);
    assert_eq!(cold.code, Some(1), "{text}: {}{}", cold.stdout, cold.stderr);
    assert!(cold.stderr.contains(expected), "{text}: {}", cold.stderr);
    let warm = workplace.run(&program);
    assert_eq!(warm.code, Some(1), "{text}: {}", warm.stderr);
    assert_eq!(warm.stderr, cold.stderr, "{text}");
    assert_eq!(warm.stdout, cold.stdout, "{text}");
}

#[test]
fn errors_of_running_programs() {
    fails("(println (/ 1 0))", "program.em:1:10: division by zero");
    fails(
        "(defn f [x]\n  (quot 7 x))\n(f 0)",
        "program.em:2:3: division by zero",
    );
    fails(
        "(defn f [x] x)\n(f 1 2)",
        "program.em:2:1: wrong number of arguments (2) passed to ",
    );
    fails("(defn deep [n] (+ 1 (deep n)))\n(deep 0)", "stack overflow");
    fails("(println (nth [1 2] 5))", "program.em:1:10: ");
    fails("(throw (ex-info \"mine\" {:a 1}))", "program.em:1:1: mine");
    fails("(5 6)", "program.em:1:1: ");
    fails("(+ 1 \"a\")", "program.em:1:1: ");
}

#[test]
fn errors_of_reading_and_compiling() {
    fails(
        "(defn f [x]\n  (+ x undefined-thing))",
        "program.em:2:8: unbound symbol: undefined-thing",
    );
    fails("(println 1)\n(println (+ 1 2)", "program.em:2:1");
    fails("(println 1))", "program.em:1:12: ");
    fails("(println \"no end)", "program.em:1:10: ");
    fails(
        "(defmacro m [] (throw (ex-info \"from the macro\" {})))\n\n(m)",
        "program.em:3:1: ",
    );
    fails("(loop [x 1] (+ 1 (recur 2)))", "recur");
    fails("(let [x] x)", "program.em:1:1: ");
    fails(
        "(ns program (:require [no.such.file :as x]))",
        "no.such.file",
    );
}

#[test]
fn a_program_that_is_not_there() {
    let workplace = Workplace::new();
    let run = workplace.run(&workplace.path("absent.em"));
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("absent.em"), "{}", run.stderr);
}

#[test]
fn deep_nests_are_errors_or_values_and_never_crashes() {
    let nested = format!(
        "(def x {}{})\n(println 1)",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let workplace = Workplace::new();
    let program = workplace.write("program.em", &nested);
    let run = workplace.run(&program);
    assert!(matches!(run.code, Some(0 | 1)), "{}", run.stderr);
    let grown = "(def x (loop [n 0 v nil] (if (= n 1000000) v (recur (inc n) [v]))))\n\
                 (println (try (= x [x]) (catch e (ex-message e))))\n\
                 (println (try (count (str x)) (catch e (ex-message e))))\n(println :end)";
    let program = workplace.write("grown.em", grown);
    let run = workplace.run(&program).succeeded();
    assert!(run.stdout.ends_with(":end\n"), "{}", run.stdout);
}

#[test]
fn eval_prints_the_last_value() {
    let workplace = Workplace::new();
    let run = |text: &str| {
        let output = workplace
            .ember(["eval", text])
            .output()
            .expect("ember starts");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    assert_eq!(run("(+ 1 2)"), (Some(0), "3\n".to_owned()));
    assert_eq!(
        run("(def x 5) (str x \"!\")"),
        (Some(0), "\"5!\"\n".to_owned())
    );
    assert_eq!(
        run("(let [{:keys [a b]} {:a 1 :b 2}] [a b])"),
        (Some(0), "[1 2]\n".to_owned())
    );
    assert_eq!(run("(/ 1 0)").0, Some(1));
}

#[test]
fn the_repl_evaluates_what_it_is_given_and_goes_on_after_errors() {
    use std::io::Write;
    use std::process::Stdio;
    let workplace = Workplace::new();
    let mut child = workplace
        .ember(["repl"])
        .env("HOME", workplace.path("."))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("ember starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin
        .write_all(b"(defn f [x]\n  (* x 2))\n(f 21)\n(f)\n(f 4)\n")
        .expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success());
    assert!(
        stdout.contains("42\n") && stdout.contains("8\n"),
        "{stdout}"
    );
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("wrong number of arguments"), "{stderr}");
}
