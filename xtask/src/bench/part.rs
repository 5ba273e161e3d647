//! One benchmark's run: its rows, and how, when and with what outcome it ran.

use super::{Benchmark, CPP_HOST};
use crate::packages::is_installed;
use crate::workspace::{BIN_DIR, target_folder};
use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use xshell::{Shell, cmd};

/// A run that has not ended after so many seconds hangs: a whole one, and a quick one.
const SECONDS: [u64; 2] = [1_500, 180];

/// What is known of a benchmark's runs.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) benchmark: String,
    /// The run that the rows are of; none if it has never come to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) measured: Option<Measured>,
    /// Why the last run has failed, if it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failed: Option<String>,
}

/// A run that has come to its end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) date: String,
    pub(crate) commit: String,
    pub(crate) seconds: f64,
    pub(crate) quick: bool,
}

impl Part {
    /// What the last run has left behind; nothing of a benchmark that was never run.
    pub(crate) fn of(shell: &Shell, name: &str) -> Result<Self> {
        let text = std::fs::read(part_file(shell, name)?).unwrap_or_default();
        // An older one's is none.
        let part = serde_json::from_slice(&text).unwrap_or_default();
        Ok(Self {
            benchmark: name.to_owned(),
            ..part
        })
    }

    fn keep(&self, shell: &Shell) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        Ok(shell.write_file(part_file(shell, &self.benchmark)?, text)?)
    }
}

/// The file of one benchmark's rows.
pub(crate) fn rows_file(shell: &Shell, name: &str) -> Result<PathBuf> {
    let folder = target_folder(shell)?.join("bench/rows");
    shell.create_dir(&folder)?;
    Ok(folder.join(format!("{name}.json")))
}

fn part_file(shell: &Shell, name: &str) -> Result<PathBuf> {
    Ok(rows_file(shell, name)?.with_extension("part.json"))
}

/// Runs a benchmark on what is built, and notes what came of it. If it writes no rows, those of the run before stay,
/// and that is noted as well.
pub(super) fn run(
    shell: &Shell,
    benchmark: &Benchmark,
    is_quick: bool,
    json: Option<&Path>,
) -> Result<()> {
    let began = Instant::now();
    let rows = rows_file(shell, benchmark.name)?;
    let made = rows.with_extension("new.json");
    shell.remove_path(&made)?;
    let outcome = measure(shell, benchmark, is_quick, &made);
    if made.exists() {
        std::fs::rename(&made, &rows)?;
        passed(shell, benchmark.name, is_quick, began.elapsed())?;
        if let Some(json) = json {
            shell.copy_file(&rows, json)?;
        }
    }
    if let Err(error) = &outcome {
        failed(shell, benchmark, is_quick, &format!("{error:#}"))?;
    }
    outcome
}

/// Notes that what is called `name` has been measured just now.
pub(crate) fn passed(shell: &Shell, name: &str, is_quick: bool, took: Duration) -> Result<()> {
    let commit = cmd!(shell, "git rev-parse --short HEAD").quiet();
    let part = Part {
        benchmark: name.to_owned(),
        measured: Some(Measured {
            date: cmd!(shell, "date --utc +%F").quiet().read()?,
            commit: commit.ignore_stderr().read().unwrap_or_default(),
            seconds: took.as_secs_f64().round(),
            quick: is_quick,
        }),
        failed: None,
    };
    part.keep(shell)
}

/// Notes that a benchmark has failed, or could not even begin.
pub(super) fn failed(
    shell: &Shell,
    benchmark: &Benchmark,
    is_quick: bool,
    reason: &str,
) -> Result<()> {
    let mut part = Part::of(shell, benchmark.name)?;
    let kind = if is_quick { "quick run" } else { "run" };
    part.failed = Some(format!("{kind}: {}", reason.replace('\n', " ")));
    part.keep(shell)
}

/// Has the benchmark write its rows to `made`.
fn measure(shell: &Shell, benchmark: &Benchmark, is_quick: bool, made: &Path) -> Result<()> {
    let binaries = target_folder(shell)?.join("release");
    let program = binaries.join("rekindle-benches");
    let _binaries = shell.push_env(BIN_DIR, &binaries);
    let _host = shell.push_env("REKINDLE_CPP_HOST", binaries.join(CPP_HOST));
    let quick = if is_quick { benchmark.quick } else { &[] };
    let seconds = SECONDS[usize::from(is_quick)].to_string();
    // So that one that hangs does not take the others with it.
    let command = match is_installed("timeout") {
        true => cmd!(shell, "timeout --kill-after=10 {seconds} {program}"),
        false => cmd!(shell, "{program}"),
    };
    let command = command.arg(benchmark.name).args(quick);
    command.arg("--json").arg(made).run()?;
    ensure!(made.exists(), "it has written no rows");
    Ok(())
}
