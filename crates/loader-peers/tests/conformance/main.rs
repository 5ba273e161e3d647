//! What each loader does with what compilers emit, as a table that this test writes: `docs/loaders.md`.
//!
//! One program for each feature of C and C++ that the generated programs are made of, by gcc, run by each
//! loader in a process of its own and compared with the natively linked program. Run with
//! `REKINDLE_BLESS=1` to write the table.

#[path = "../../../loader/tests/programs/c_features.rs"]
mod c_features;
#[path = "../../../loader/tests/programs/c_sources.rs"]
mod c_sources;
#[path = "../../../loader/tests/programs/cpp_features.rs"]
mod cpp_features;
#[path = "../../../loader/tests/programs/generate.rs"]
mod generate;
#[path = "../../../loader/tests/programs/random.rs"]
mod random;
mod symbols;
#[path = "../../../loader/tests/whole/mod.rs"]
mod whole;

use generate::{Language, Program, single};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use whole::{Answer, Ended, end_of, example, first_installed, run_native, skip, succeed};

/// The loaders, as the example names them, and as the table does.
const LOADERS: [(&str, &str); 4] = [
    ("rekindle", "Rekindle"),
    ("orc-jitlink", "ORC, JITLink"),
    ("orc-rtdyld", "ORC, RuntimeDyld"),
    ("dlopen", "lld and `dlopen`"),
];

/// How a loader does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// As the natively linked program.
    Runs,
    /// It says that it cannot.
    Refused,
    /// Otherwise than the natively linked program.
    Differs,
}

/// The status of `run_with` for what goes wrong before `main`.
const REFUSED: &str = "exit status: 125";

fn judge(expected: &Ended, found: &Ended) -> Verdict {
    match (&expected.stdout, &expected.status) == (&found.stdout, &found.status) {
        true => Verdict::Runs,
        false if found.status == REFUSED => Verdict::Refused,
        false => Verdict::Differs,
    }
}

/// Compiles `program`, and runs it natively and by every loader.
fn try_all(runner: &Path, program: &Program) -> Answer<[Verdict; LOADERS.len()]> {
    let folder = tempfile::tempdir()?;
    let source = folder.path().join(&program.name);
    let object = folder.path().join("program.o");
    std::fs::write(&source, &program.source)?;
    let (compiler, standard) = match program.language {
        Language::C => ("gcc", "-std=gnu11"),
        Language::Cpp => ("g++", "-std=c++17"),
    };
    succeed(
        Command::new(compiler)
            .args([standard, "-O1", "-fPIC", "-w", "-pthread", "-c"])
            .arg(&source)
            .arg("-o")
            .arg(&object),
    )?;
    let expected = run_native(compiler, &[&object], &["-lm", "-pthread"], &["last"], "")?;
    let mut verdicts = [Verdict::Differs; LOADERS.len()];
    for (verdict, (loader, _)) in verdicts.iter_mut().zip(LOADERS) {
        let mut command = Command::new(runner);
        command.arg(loader).arg(&object).arg("last");
        *verdict = judge(&expected, &end_of(&mut command, "")?);
    }
    Ok(verdicts)
}

#[test]
fn the_table_says_what_each_loader_does() -> Answer<()> {
    if first_installed(&["ld.lld-22"]).is_none() || !symbols::has_llvm() {
        skip(
            "what other loaders do",
            "LLVM 22 and its lld are not installed",
        );
        return Ok(());
    }
    let runner: PathBuf = example("rekindle-loader-peers", "run_with", &["orc,dlopen"])?;
    let mut table = String::new();
    for language in [Language::C, Language::Cpp] {
        for program in single(language) {
            let verdicts = try_all(&runner, &program)?;
            assert_eq!(verdicts[0], Verdict::Runs, "{}", program.source);
            let words = verdicts.map(|verdict| match verdict {
                Verdict::Runs => "runs",
                Verdict::Refused => "refuses",
                Verdict::Differs => "**does otherwise**",
            });
            let language = match language {
                Language::C => "C",
                Language::Cpp => "C++",
            };
            let feature = program.name.trim_end_matches(".c").trim_end_matches(".cpp");
            writeln!(table, "| {language}: {feature} | {} |", words.join(" | "))?;
        }
    }
    compare(&table)
}

fn compare(table: &str) -> Answer<()> {
    let names = LOADERS.map(|(_, name)| name).join(" | ");
    let page = format!(
        "# What loaders load\n\n\
         Each row is a program of one feature, compiled by gcc as position-independent code, and run by each loader\n\
         behind the same trait (`crates/loader-peers`), in a process of its own: *runs* as the natively linked program\n\
         does, *refuses* with an error, or *does otherwise*. ORC is LLVM 22's, with a bare `JITDylib` for each object,\n\
         as its C interface gives; LLVM's own platform, which brings initialisers and thread-locals, wants a runtime\n\
         library beside it. `dlopen` is given what lld linked, without the files that compilers add. A test writes this\n\
         table.\n\n\
         | | {names} |\n| --- | --- | --- | --- | --- |\n{table}"
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/loaders.md");
    if std::env::var_os("REKINDLE_BLESS").is_some() {
        std::fs::write(&path, &page)?;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == page,
        "docs/loaders.md is not what was found; REKINDLE_BLESS=1 writes it:\n{page}"
    );
    Ok(())
}
