//! The C++ host of the examples in real processes: without a cache, with this one, and with what Rekindle grew out
//! of, which kept clang's objects as files and had LLVM's ORC load them.
//!
//! A sample is the time of one definition, factory included: for a process that is the first to evaluate it, and for
//! the next one. All three generate the same C++ and compile it with the same flags and the same kind of precompiled
//! header. Not counted are opening the cache, making ORC, and the first definition of a process, which is not one
//! of those that are told. Subjects alternate, so that a change of the machine's mood meets all of them.
//!
//! ORC is used as the experiment's host does, by way of clang's interpreter: LLJIT with its default layers and debugger
//! support, each object added to the main library, and its factory looked up, which links all that the object has. The
//! objects are made with the experiment's flags, at two levels: it compiled at `-O0`, where they are the larger.

use crate::bar::{Bar, Needs};
use crate::row::Row;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const LEVELS: [&str; 2] = ["0", "2"];
const FIRST_RUNS: usize = 5;
const NEXT_RUNS: usize = 20;
/// How much sooner than ORC the next process has its definition.
const BAR: f64 = 100.0;

/// The experiment's mixed function; the others are its five small ones.
const LARGE: &str = "complex-calc";
const SMALL: [&str; 5] = ["square", "double", "increment", "average", "smaller?"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Subject {
    Rekindle,
    Orc,
    Nothing,
}

impl Subject {
    fn name(self) -> &'static str {
        match self {
            Self::Rekindle => "rekindle",
            Self::Orc => "objects and ORC",
            Self::Nothing => "no cache",
        }
    }
}

/// The host's programs, and where they keep what they keep.
struct Host {
    programs: PathBuf,
    text: PathBuf,
    folder: tempfile::TempDir,
}

impl Host {
    fn kept(&self, subject: Subject, level: &str) -> PathBuf {
        let kind = match subject {
            Subject::Orc => "objects",
            Subject::Rekindle | Subject::Nothing => "cache",
        };
        self.folder.path().join(format!("{kind}-{level}"))
    }

    /// Runs a process and gives the nanoseconds of its definitions.
    fn run(&self, subject: Subject, level: &str) -> Result<Vec<(String, u64)>> {
        let kept = self.kept(subject, level);
        let mut command = match subject {
            Subject::Orc => {
                let mut command = Command::new(self.programs.join("experiment"));
                command.arg(kept).arg(level);
                command
            }
            Subject::Rekindle | Subject::Nothing => {
                let mut command = Command::new(self.programs.join("cpp-host"));
                command
                    .arg("--cache")
                    .arg(kept)
                    .args(["--times", "-O", level]);
                command.args((subject == Subject::Nothing).then_some("--no-cache"));
                command
            }
        };
        let output = command.arg(&self.text).stdin(Stdio::null()).output();
        let output = output.with_context(|| format!("{command:?} does not start"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "{command:?}: {}\n{said}",
            output.status
        );
        let lines = said.lines().filter_map(|line| {
            let (nanoseconds, name) = line.strip_prefix("time ")?.split_once(' ')?;
            Some((name.to_owned(), nanoseconds.parse().ok()?))
        });
        Ok(lines.collect())
    }

    /// Has a subject forget its definitions, and keep its precompiled header.
    fn forget(&self, subject: Subject, level: &str) -> Result<()> {
        for entry in fs::read_dir(self.kept(subject, level))? {
            let path = entry?.path();
            let is_header = path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("prelude"));
            if path.ends_with("headers") || is_header {
                continue;
            }
            match path.is_dir() {
                true => fs::remove_dir_all(path)?,
                false => fs::remove_file(path)?,
            }
        }
        Ok(())
    }
}

/// The samples of one work and subject.
#[derive(Default)]
struct Samples {
    large: Vec<u64>,
    small: Vec<u64>,
}

impl Samples {
    fn add(&mut self, times: Vec<(String, u64)>) -> Result<()> {
        ensure!(
            times.iter().any(|(name, _)| name == LARGE),
            "no time of {LARGE}"
        );
        for (name, nanoseconds) in times {
            match &*name {
                LARGE => self.large.push(nanoseconds),
                name if SMALL.contains(&name) => self.small.push(nanoseconds),
                _ => {}
            }
        }
        Ok(())
    }

    fn rows(self, when: &str, level: &str, subject: Subject) -> impl Iterator<Item = Row> {
        let row = |what: &str, samples| {
            Row::new(
                format!("{what}, -O{level}, {when}"),
                subject.name(),
                samples,
            )
        };
        [row(LARGE, self.large), row("five small", self.small)]
            .into_iter()
            .flatten()
    }
}

/// Measures everything.
pub(crate) fn measure(is_quick: bool) -> Result<Vec<Row>> {
    let programs = std::env::var_os("REKINDLE_CPP_HOST").map(PathBuf::from);
    let programs = programs.context("run `cargo xtask bench cpp`, which builds the host")?;
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the benchmarks are a folder of the repository")?;
    let host = Host {
        programs,
        text: repository.join("examples/cpp-host/programs/bench.lisp"),
        folder: tempfile::tempdir()?,
    };
    let mut rows = Vec::new();
    for level in LEVELS {
        let [mut first, mut next] = [[const { None }; 3], [const { None }; 3]];
        let subjects = [Subject::Nothing, Subject::Orc, Subject::Rekindle];
        // The precompiled headers.
        host.run(Subject::Orc, level)?;
        host.run(Subject::Rekindle, level)?;
        for _ in 0..if is_quick { 2 } else { FIRST_RUNS } {
            for (subject, samples) in subjects.into_iter().zip(&mut first) {
                if subject != Subject::Nothing {
                    host.forget(subject, level)?;
                }
                let times = host.run(subject, level)?;
                samples.get_or_insert_with(Samples::default).add(times)?;
            }
        }
        for _ in 0..NEXT_RUNS {
            for (subject, samples) in subjects.into_iter().zip(&mut next) {
                // It compiles each time: what it took the first time it takes again.
                if subject != Subject::Nothing {
                    let times = host.run(subject, level)?;
                    samples.get_or_insert_with(Samples::default).add(times)?;
                }
            }
        }
        for (when, all) in [("first", first), ("next", next)] {
            for (subject, samples) in subjects.into_iter().zip(all) {
                rows.extend(
                    samples
                        .into_iter()
                        .flat_map(|samples| samples.rows(when, level, subject)),
                );
            }
        }
    }
    rows.sort_by(|a, b| a.work.cmp(&b.work));
    Ok(rows)
}

/// How much sooner than ORC the next process has its definitions.
pub(crate) fn bars(rows: &[Row]) -> Vec<Bar> {
    let next = (rows.iter())
        .filter(|row| row.subject == Subject::Rekindle.name() && row.work.ends_with("next"));
    let bars = next.map(|row| {
        let is_orc = |other: &&Row| other.work == row.work && other.subject == Subject::Orc.name();
        let orc = rows.iter().find(is_orc);
        let ratio = orc.map(|orc| orc.median_ns as f64 / row.median_ns.max(1) as f64);
        let name = format!("{}, against ORC", row.work);
        Bar::new(name, "x", ratio, Needs::AtLeast(BAR))
    });
    bars.collect()
}
