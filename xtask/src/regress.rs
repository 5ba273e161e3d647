//! Two builds compared by the instructions that they take, under callgrind: the one that is here with the one
//! of another commit.
//!
//! Instructions do not hang on what else the machine does, so that a percent can be told. They are not time:
//! what waits for memory looks cheap here, and the benchmarks tell that.

use crate::bench;
use crate::packages::is_installed;
use crate::steps::Steps;
use crate::workspace::{root, target_folder};
use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Instant;
use xshell::{Shell, cmd};

/// What it is called among the benchmarks, whose summary has its outcome.
pub(crate) const NAME: &str = "regress";

/// What is counted, by the names that the benchmarks' program has for it.
pub(crate) const WORKS: [&str; 7] = ["hit", "again", "miss", "link", "load", "put", "get"];

/// Runs of each count, of which the least is taken: helper threads come in between in more ways than one.
const RUNS: usize = 3;

/// Compares the build of commit `base` with this one; fails where one takes more than `tolerance` percent
/// more instructions. Counts the works of `only`, all without any.
pub(crate) fn run(steps: &mut Steps, base: &str, tolerance: f64, only: &[String]) -> Result<()> {
    ensure!(is_installed("valgrind"), "valgrind is not installed");
    let began = Instant::now();
    let (mut programs, mut bars) = (Vec::new(), Vec::new());
    let mut commit = String::new();
    steps.step("build the other commit", |shell| {
        let folder = folder(shell)?;
        let sources = folder.join("base");
        let named = format!("{base}^{{commit}}");
        commit = cmd!(shell, "git rev-parse --short --verify {named}").read()?;
        shell.remove_path(&sources)?;
        shell.create_dir(&sources)?;
        let archive = folder.join("base.tar");
        cmd!(shell, "git archive --output {archive} {commit}").run()?;
        // Written just now, or cargo would take what it has built of another commit for this one's.
        cmd!(
            shell,
            "tar --extract --touch --file {archive} --directory {sources}"
        )
        .run()?;
        programs.push(build(shell, &sources, &folder.join("target"), "base")?);
        Ok(())
    })?;
    steps.step("build this one", |shell| {
        programs.push(build(shell, root(), &target_folder(shell)?, "this")?);
        Ok(())
    })?;
    let [base, this] = &*programs else {
        bail!("there are two builds");
    };
    steps.step("count instructions", |shell| {
        let mut worst = None;
        println!(
            "{:<8} {:>14} {:>14} {:>8}",
            "work", "base", "this", "change"
        );
        warm(shell, base)?;
        warm(shell, this)?;
        let is_wanted = |work: &&str| only.is_empty() || only.iter().any(|one| one == work);
        for work in WORKS.into_iter().filter(is_wanted) {
            let (before, after) = (count(shell, base, work)?, count(shell, this, work)?);
            let change = (after as f64 / before.max(1) as f64 - 1.0) * 100.0;
            println!("{work:<8} {before:>14} {after:>14} {change:>+7.2}%");
            bars.push(json!({
                "bar": format!("{work}, instructions against those of {commit}"),
                "figure": 1.0 + change / 100.0,
                "unit": "x",
                "needs": "at-most",
                "limit": 1.0 + tolerance / 100.0,
                "holds": change <= tolerance,
            }));
            if change > tolerance && worst.is_none_or(|(_, most)| change > most) {
                worst = Some((work, change));
            }
        }
        shell.write_file(bench::rows_file(shell, NAME)?, json!(bars).to_string())?;
        bench::passed(shell, NAME, false, began.elapsed())?;
        match worst {
            Some((work, change)) => {
                bail!("`{work}` takes {change:.2}% more instructions (tolerated: {tolerance}%)")
            }
            None => Ok(()),
        }
    })
}

fn folder(shell: &Shell) -> Result<PathBuf> {
    let folder = target_folder(shell)?.join("bench/regress");
    shell.create_dir(&folder)?;
    Ok(folder)
}

/// Builds the benchmarks of `sources` in `target` and keeps the program under `name`. Each commit has a folder of
/// its own: cargo tells packages of two workspaces apart by their paths within these, which are the same.
fn build(shell: &Shell, sources: &Path, target: &Path, name: &str) -> Result<PathBuf> {
    let kept = folder(shell)?.join(format!("benches-{name}"));
    let _sources = shell.push_dir(sources);
    cmd!(
        shell,
        "cargo build --release --package rekindle-benches --target-dir {target}"
    )
    .run()?;
    shell.copy_file(target.join("release/rekindle-benches"), &kept)?;
    let knows = cmd!(shell, "{kept} instructions --help")
        .quiet()
        .ignore_stdout();
    knows
        .ignore_stderr()
        .run()
        .with_context(|| format!("the {name} build counts no instructions yet"))?;
    Ok(kept)
}

/// The cache folder of a build.
fn cache(program: &Path) -> PathBuf {
    program.with_extension("cache")
}

/// Fills the cache folder, under the same tool: code is for the processor that it shows.
fn warm(shell: &Shell, program: &Path) -> Result<()> {
    let cache = cache(program);
    shell.remove_path(&cache)?;
    shell.create_dir(&cache)?;
    let command = cmd!(
        shell,
        "valgrind --tool=none --smc-check=all --quiet {program} instructions warm {cache}"
    );
    Ok(command.run()?)
}

/// The instructions of a work.
fn count(shell: &Shell, program: &Path, work: &str) -> Result<u64> {
    let cache = cache(program);
    let mut least = u64::MAX;
    for _ in 0..RUNS {
        let output = cmd!(
            shell,
            "valgrind --tool=callgrind --smc-check=all --collect-atstart=no
             --toggle-collect=rekindle_measured --callgrind-out-file=/dev/null
             {program} instructions {work} {cache}"
        )
        .quiet()
        .output()?;
        let words = String::from_utf8_lossy(&output.stderr);
        least = least.min(collected(&words).with_context(|| format!("callgrind: {words}"))?);
    }
    Ok(least)
}

/// What callgrind says at its end.
fn collected(words: &str) -> Option<u64> {
    let line = words.lines().find(|line| line.contains("Collected :"))?;
    line.rsplit(' ')
        .next()?
        .parse()
        .ok()
        .filter(|count| *count > 0)
}

#[cfg(test)]
mod tests {
    use super::collected;

    #[test]
    fn the_count_is_read_from_what_callgrind_says() {
        let words = "==7== Events    : Ir\n==7== Collected : 123456\n==7== \n";
        assert_eq!(collected(words), Some(123_456));
        assert_eq!(
            collected("==7== Collected : 0"),
            None,
            "nothing was measured"
        );
        assert_eq!(collected("Killed"), None);
    }
}
