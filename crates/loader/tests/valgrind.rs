//! A short run under valgrind, which sees reads and writes without right, the loader's own included.

mod whole;

use std::path::Path;
use std::process::Command;
use whole::{Answer, end_of, is_installed, skip, succeed};

const PROGRAM: &str = r#"
#include <cstdio>
#include <map>
#include <string>
struct noisy { std::string name; ~noisy() { std::printf("end of %s\n", name.c_str()); } };
static noisy global{"the global object"};
static int limit = 3;
int *pointer = &limit;
static void fall(int n) { noisy here{"frame " + std::to_string(n)}; if (n == *pointer) throw n; fall(n + 1); }
int main(int argc, char **) {
    std::map<std::string, int> counts;
    for (int i = 0; i < 50; i++) counts[std::to_string(i % 7)] += i;
    try { fall(argc); } catch (int n) { std::printf("%d %d\n", n, counts["3"]); }
    return 7;
}
"#;

#[test]
fn valgrind_has_nothing_to_say() -> Answer<()> {
    if !is_installed("valgrind") {
        skip("a run under valgrind", "valgrind is not installed");
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let (source, object) = (folder.path().join("unit.cpp"), folder.path().join("unit.o"));
    std::fs::write(&source, PROGRAM)?;
    let mut compiler = Command::new("g++");
    compiler.args(["-std=c++17", "-O1", "-fPIC", "-c"]);
    succeed(compiler.arg(&source).arg("-o").arg(&object))?;

    // Text is written through one view of a memfd and run through the other, which valgrind cannot
    // know of: hence the checks for modified code.
    let options: &[&str] = &["--quiet", "--smc-check=all", "--error-exitcode=99"];
    let runner = whole::runner()?;
    let mut command = Command::new("valgrind");
    command.args(options).arg(runner);
    command.args([Path::new("-l"), Path::new("libstdc++.so.6"), &object]);
    let ended = end_of(&mut command, "")?;
    assert_eq!(ended.status, "exit status: 7", "{}", ended.stderr);
    assert_eq!(ended.stderr, "");
    let frames = "end of frame 3\nend of frame 2\nend of frame 1\n3 168\n";
    assert_eq!(ended.stdout, format!("{frames}end of the global object\n"));
    Ok(())
}
