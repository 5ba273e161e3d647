//! What the experiment did at a first evaluation, as a program of C++ that is built here.

use super::process::Said;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/clang/experiment.cpp");

/// The optimisation that the backend compiles with unless it is told otherwise.
const LEVEL: &str = "-O2";

/// The program with what it is given.
pub(super) struct Experiment {
    program: PathBuf,
    flags: PathBuf,
    units: Vec<PathBuf>,
    names: Vec<String>,
}

/// Nanoseconds of one definition.
pub(super) struct Times {
    /// In the process, until it could be run.
    pub(super) inside: u64,
    /// To an object that is kept.
    pub(super) object: u64,
}

impl Experiment {
    /// Compiles the program, unless that was done in `folder` before, and a precompiled header with the flags
    /// `header`; files with `name` in their names are put into `folder`.
    pub(super) fn new(folder: &Path, name: &str, said: &Said, header: &[&str]) -> Result<Self> {
        let program = folder.join("experiment");
        if !program.exists() {
            build(&program)?;
        }
        let (text, compiled) = (
            folder.join(format!("{name}.hpp")),
            folder.join(format!("{name}.pch")),
        );
        fs::write(&text, &said.prelude)?;
        let mut flags: Vec<String> = vec![LEVEL.to_owned(), "-fPIC".to_owned()];
        flags.extend(said.flags.iter().cloned());
        flags.extend(["-Xclang", "-fincremental-extensions"].map(str::to_owned));
        let mut clang = Command::new("clang++-22");
        clang.args(&flags).args(header).args(["-x", "c++-header"]);
        finish(clang.arg(&text).arg("-o").arg(&compiled))?;
        flags.extend(["-include-pch".to_owned(), compiled.display().to_string()]);
        let list = folder.join(format!("{name}.flags"));
        fs::write(&list, flags.join("\n"))?;
        let mut units = Vec::new();
        for (number, definition) in said.definitions.iter().enumerate() {
            let unit = folder.join(format!("{name}-{number}"));
            fs::write(
                &unit,
                definition.unit.as_deref().context("no unit was told")?,
            )?;
            units.push(unit);
        }
        let names = said.definitions.iter().skip(1);
        Ok(Self {
            program,
            flags: list,
            units,
            names: names.map(|definition| definition.name.clone()).collect(),
        })
    }

    /// Runs a process, and gives the definitions with what they took, but for the first.
    pub(super) fn run(&self) -> Result<Vec<(String, Times)>> {
        let mut command = Command::new(&self.program);
        let command = command.arg(&self.flags).args(&self.units);
        let output = command
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()?;
        ensure!(output.status.success(), "{command:?}: {}", output.status);
        let said = String::from_utf8_lossy(&output.stdout);
        let times = said.lines().filter_map(|line| {
            let (inside, object) = line.split_once(' ')?;
            Some(Times {
                inside: inside.parse().ok()?,
                object: object.parse().ok()?,
            })
        });
        let times: Vec<Times> = times.collect();
        ensure!(times.len() == self.names.len(), "{} times", times.len());
        Ok(self.names.iter().cloned().zip(times).collect())
    }
}

/// Builds the program with clang as a library.
fn build(program: &Path) -> Result<()> {
    let mut config = Command::new("llvm-config-22");
    let said = config.args(["--includedir", "--libdir"]).output();
    let said = said.context("llvm-config-22 is not there")?.stdout;
    let said = String::from_utf8_lossy(&said);
    let mut folders = said.lines();
    let (Some(headers), Some(libraries)) = (folders.next(), folders.next()) else {
        anyhow::bail!("llvm-config-22 does not say where LLVM is");
    };
    let mut clang = Command::new("clang++-22");
    clang
        .args(["-O1", "-std=c++20", "-fno-rtti", SOURCE, "-o"])
        .arg(program)
        .args(["-isystem", headers, "-L", libraries])
        .args(["-lclang-cpp", "-lLLVM-22"]);
    finish(&mut clang).context("it wants the packages libclang-22-dev and libclang-cpp22-dev")
}

fn finish(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status();
    let status = status.with_context(|| format!("{command:?} does not start"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}
