//! C++ in ember: headers that are edited, missing, or begin to exist earlier on the path.

use rekindle_tests::{Run, Workplace, backends};
use std::path::Path;

fn run(workplace: &Workplace, program: &Path) -> Run {
    let flags = ["early", "late"].map(|folder| format!("-I{}", workplace.path(folder).display()));
    workplace.run_in("cache", program, |command| {
        command.args(["--backend", "clang"]);
        for flag in &flags {
            command.args(["--cpp-flag", flag]);
        }
    })
}

const PROGRAM: &str = "
(defn plain [x] (+ x 1))
(cpp/include \"one.hpp\")
(defn first-one [] (cpp/one))
(cpp/include \"two.hpp\")
(defn second-one [] (+ (cpp/one) (cpp/two)))
(println (plain 1) (first-one) (second-one))
";

#[test]
fn a_header_recompiles_what_included_it() {
    if !backends().iter().any(|backend| backend == "clang") {
        eprintln!("left out: C++ in ember, which was built without it (REKINDLE_BACKENDS)");
        return;
    }
    let workplace = Workplace::new();
    let header = |name: &str, function: &str, value: u32| {
        let text = format!("#pragma once\ninline long {function}() {{ return {value}; }}\n");
        workplace.write(name, &text)
    };
    header("late/one.hpp", "one", 1);
    header("late/two.hpp", "two", 10);
    workplace.write("early/unrelated.hpp", "");
    let program = workplace.write("program.em", PROGRAM);
    let cold = run(&workplace, &program).succeeded();
    assert_eq!(cold.stdout, "2 1 11\n");
    assert_eq!(
        run(&workplace, &program).succeeded().all_hits().stdout,
        cold.stdout
    );

    // The include and one definition: what came before does not see the header.
    header("late/two.hpp", "two", 20);
    let edited = run(&workplace, &program).succeeded();
    assert_eq!(edited.stdout, "2 1 21\n");
    assert_eq!(edited.statistics.compiled, 2, "{:?}", edited.statistics);
    run(&workplace, &program).succeeded().all_hits();

    // Both includes and both definitions.
    let earlier = header("early/one.hpp", "one", 5);
    let found = run(&workplace, &program).succeeded();
    assert_eq!(found.stdout, "2 5 25\n");
    assert_eq!(found.statistics.compiled, 4, "{:?}", found.statistics);
    std::fs::remove_file(earlier).expect("it is there");
    let back = run(&workplace, &program).succeeded();
    assert_eq!(back.stdout, "2 1 21\n");

    // A line above moves everything and changes nothing.
    workplace.write("program.em", &format!(";; a line\n{PROGRAM}"));
    run(&workplace, &program).succeeded().all_hits();

    let missing = workplace.write("missing.em", "(println 1)\n(cpp/include \"nowhere.hpp\")\n");
    let failed = run(&workplace, &missing);
    assert_eq!((failed.code, failed.stdout.as_str()), (Some(1), "1\n"));
    for words in [
        "missing.em:2:1: ",
        "(cpp/include):1:10: fatal error: 'nowhere.hpp' file not found",
    ] {
        assert!(failed.stderr.contains(words), "{}", failed.stderr);
    }
}

/// What the compiler refuses is an error at once: nothing else that could run it is there to be asked.
#[test]
fn a_unit_that_clang_refuses_is_compiled_once() {
    if !backends().iter().any(|backend| backend == "clang") {
        eprintln!("left out: C++ in ember, which was built without it (REKINDLE_BACKENDS)");
        return;
    }
    let workplace = Workplace::new();
    let asked = workplace.path("asked");
    let script = workplace.write(
        "compiler.text",
        &format!(
            "#!/bin/sh\n\
             text=$(cat)\n\
             case \"$text\" in *nowhere.hpp*) echo once >> {} ;; esac\n\
             printf '%s\\n' \"$text\" | \"$(command -v clang++-22 || command -v clang++)\" \"$@\"\n",
            asked.display()
        ),
    );
    // Put in place by another process: what this one has open for writing, a child of a test beside it has too.
    let compiler = workplace.path("compiler");
    let installed = std::process::Command::new("install")
        .args(["-m", "755"])
        .args([&script, &compiler])
        .status();
    assert!(installed.expect("install is there").success());
    let missing = workplace.write("missing.em", "(cpp/include \"nowhere.hpp\")\n");
    let failed = workplace.run_in("cache", &missing, |command| {
        command
            .args(["--backend", "clang"])
            .env("REKINDLE_CLANG", &compiler);
    });
    assert_eq!(failed.code, Some(1));
    assert!(
        failed.stderr.contains("file not found"),
        "{}",
        failed.stderr
    );
    let asked = std::fs::read_to_string(asked).expect("the compiler was asked");
    assert_eq!(asked, "once\n");
}

#[test]
fn other_backends_say_what_cpp_needs() {
    let workplace = Workplace::new();
    let program = workplace.write("program.em", "(println (cpp/sin 1.0))\n");
    let failed = workplace.run(&program);
    assert_eq!(failed.code, Some(1));
    assert!(
        failed.stderr.contains("needs the backend clang"),
        "{}",
        failed.stderr
    );
}
