//! Several processes on one cache folder, and processes that are killed.

use rekindle_tests::{Workplace, programs};
use std::io::{BufRead, BufReader};
use std::process::Stdio;

#[test]
fn two_processes_started_cold_at_once_are_both_right_and_the_third_is_all_hits() {
    let workplace = Workplace::new();
    let program = programs().join("queens.em");
    let expected = std::fs::read_to_string(program.with_extension("out")).expect("expected output");
    let start = || {
        let mut command = workplace.ember(["run"]);
        command.arg(&program).stdout(Stdio::piped());
        command
            .stderr(Stdio::piped())
            .spawn()
            .expect("ember starts")
    };
    for child in [start(), start(), start()] {
        let output = child.wait_with_output().expect("it ends");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    }
    let warm = workplace.run(&program).succeeded().all_hits();
    assert_eq!(warm.stdout, expected);
}

/// The program says that it is under way and then never ends, so it is killed with its work unsealed.
const ENDLESS: &str = "\
(defn f [x] (+ x 1))
(println (f 1))
(flush)
(loop [n 0] (recur (f n)))
";

#[test]
fn a_killed_process_leaves_a_cache_that_the_next_one_uses() {
    let workplace = Workplace::new();
    let prelude_only = workplace.write("first.em", "(println 1)\n");
    let sealed = workplace.run(&prelude_only).succeeded().statistics;
    let endless = workplace.write("endless.em", ENDLESS);
    let mut child = workplace
        .ember(["run", "endless.em"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("ember starts");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("it is piped");
    BufReader::new(stdout)
        .read_line(&mut line)
        .expect("it prints");
    assert_eq!(line, "2\n");
    child.kill().expect("it is ours to kill");
    child.wait().expect("it was killed");

    let ending = ENDLESS.replace("(loop [n 0] (recur (f n)))", "(println (f 2))");
    std::fs::write(&endless, ending).expect("it can be written");
    let next = workplace.run(&endless).succeeded();
    assert_eq!(next.stdout, "2\n3\n");
    let counts = next.statistics;
    assert!(
        counts.hits >= sealed.definitions - 1,
        "what had been sealed is used: {counts:?}"
    );
    assert_eq!(counts.rejected, 0);
    workplace.run(&endless).succeeded().all_hits();
}

#[test]
fn a_process_killed_cold_leaves_nothing_wrong_behind() {
    let workplace = Workplace::new();
    workplace.write("endless.em", ENDLESS);
    for _ in 0..3 {
        let mut child = workplace
            .ember(["run", "endless.em"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("ember starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("it prints");
        assert_eq!(line, "2\n");
        child.kill().expect("it is ours to kill");
        child.wait().expect("it was killed");
    }
    let program = workplace.write("program.em", "(defn f [x] (+ x 1))\n(println (f 1))\n");
    assert_eq!(workplace.run(&program).succeeded().stdout, "2\n");
    assert_eq!(workplace.run(&program).succeeded().all_hits().stdout, "2\n");
    assert!(
        workplace.cache_files("segment").is_empty(),
        "dead segments are adopted"
    );
}
