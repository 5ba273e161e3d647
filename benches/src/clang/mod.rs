//! The experiment's functions, written in ember, on clang: the first evaluation and the next process.
//!
//! A sample is the time of one definition in a process, from its text to the end of its factory, after a first
//! definition that is not counted: opening the cache and touching memory for the first time are not in it. The
//! precompiled header and ember's own prelude are there before. Beside it stands what the experiment did with the
//! same C++: it compiled it in the process, with clang as a library, and again to an object, with clang as a program.
//! Its precompiled header was made without `-fpch-instantiate-templates`, so that each unit instantiated the
//! templates of the whole header; the same with a header as Rekindle has it made is told too. Subjects alternate, so
//! that a change of the machine's mood meets all of them.

mod experiment;
pub(crate) mod process;

use crate::bar::{Bar, Figure, Needs, Wanted, held_against, median};
use crate::row::Row;
use anyhow::{Context, Result, ensure};
use experiment::Experiment;
use process::{Plan, Said, Task};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Processes of each subject.
const RUNS: usize = 20;

/// The experiment's mixed function; the others are its five small ones.
const MIXED: &str = "complex-calc";
const SMALL: [&str; 5] = ["square", "double", "increment", "average", "smaller?"];

const REKINDLE: &str = "rekindle";
const TWICE: &str = "experiment";
const TWICE_INSTANTIATED: &str = "its header instantiated";

/// The samples of one subject.
#[derive(Default)]
struct Samples {
    mixed: Vec<u64>,
    small: Vec<u64>,
}

impl Samples {
    fn add(&mut self, name: &str, nanoseconds: u64) {
        if name == MIXED {
            self.mixed.push(nanoseconds);
        } else if SMALL.contains(&name) {
            self.small.push(nanoseconds);
        }
    }

    fn rows(self, when: &str, subject: &'static str) -> impl Iterator<Item = Row> {
        let row = |what, samples| Row::new(format!("{what}, {when}"), subject, samples);
        [row(MIXED, self.mixed), row("five small", self.small)]
            .into_iter()
            .flatten()
    }
}

/// Measures everything.
pub(crate) fn measure(is_quick: bool) -> Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    // ember's prelude, without which nothing of a program can be evaluated, and the precompiled header.
    let ready = folder.path().join("ready");
    run(&ready, Task::Open)?;
    let other = folder.path().join("other");
    copy(&ready, &other)?;
    let said = run(&other, Task::Translate)?;
    let experiments = [
        (TWICE, Experiment::new(folder.path(), "plain", &said, &[])?),
        (
            TWICE_INSTANTIATED,
            Experiment::new(
                folder.path(),
                "instantiated",
                &said,
                &["-fpch-instantiate-templates"],
            )?,
        ),
    ];
    let (mut first, mut next) = (Samples::default(), Samples::default());
    let mut twice = [(); 2].map(|()| [(); 3].map(|()| Samples::default()));
    for round in 0..if is_quick { 2 } else { RUNS } {
        let cache = folder.path().join(format!("cache-{round}"));
        copy(&ready, &cache)?;
        for (samples, is_hit) in [(&mut first, false), (&mut next, true)] {
            for definition in run(&cache, Task::Evaluate)?.definitions {
                let name = &definition.name;
                ensure!(definition.is_hit == is_hit, "{name}: hit is {}", !is_hit);
                samples.add(name, definition.nanoseconds);
            }
        }
        fs::remove_dir_all(&cache)?;
        for ((_, experiment), [both, inside, object]) in experiments.iter().zip(&mut twice) {
            for (name, times) in experiment.run()? {
                both.add(&name, times.inside + times.object);
                inside.add(&name, times.inside);
                object.add(&name, times.object);
            }
        }
    }
    let mut rows: Vec<Row> = first.rows("first", REKINDLE).collect();
    for ((subject, _), [both, inside, object]) in experiments.iter().zip(twice) {
        rows.extend(both.rows("first", subject));
        rows.extend(inside.rows("first, to run", subject));
        rows.extend(object.rows("first, to keep", subject));
    }
    rows.extend(next.rows("next", REKINDLE));
    rows.sort_by(|a, b| a.work.cmp(&b.work));
    Ok(rows)
}

/// What a process says that does `task` on the cache of a folder.
fn run(cache: &Path, task: Task) -> Result<Said> {
    let plan = Plan {
        folder: cache.to_owned(),
        task,
    };
    let output = Command::new(std::env::current_exe()?)
        .args(["clang-process", &serde_json::to_string(&plan)?])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "a process ended badly");
    serde_json::from_slice(&output.stdout).context("a process said something else")
}

/// A cache with what `ready` has; the precompiled header by a link, as it is found by its path.
fn copy(ready: &Path, cache: &Path) -> Result<()> {
    fs::create_dir(cache)?;
    for entry in fs::read_dir(ready)? {
        let entry = entry?;
        let to = cache.join(entry.file_name());
        if entry.file_name() == "clang" {
            std::os::unix::fs::symlink(entry.path(), to)?;
            continue;
        }
        let copied = Command::new("cp")
            .arg("-a")
            .arg(entry.path())
            .arg(to)
            .status()?;
        ensure!(copied.success(), "cp: {copied}");
    }
    Ok(())
}

/// What has to hold.
pub(crate) fn bars(rows: &[Row]) -> Vec<Bar> {
    const WORKS: [[&str; 2]; 2] = [
        ["complex-calc, first", "complex-calc, next"],
        ["five small, first", "five small, next"],
    ];
    let bars = WORKS.map(|[first, next]| {
        let of = |work, subject| Figure {
            work,
            subject,
            of: median,
        };
        let (ours, twice) = (of(first, REKINDLE), of(first, TWICE));
        let wanted = |name, of, by, needs| Wanted {
            name,
            of,
            by,
            needs,
        };
        let wanted = [
            wanted(
                "compiled twice against first",
                twice,
                Some(ours),
                Needs::AtLeast(1.8),
            ),
            wanted("next", of(next, REKINDLE), None, Needs::AtMost(10.0)),
            wanted(
                "compiled twice against next",
                twice,
                Some(of(next, REKINDLE)),
                Needs::AtLeast(5_000.0),
            ),
        ];
        let mut bars = held_against(rows, &wanted);
        for bar in &mut bars {
            let what = first.trim_end_matches(", first");
            bar.bar = format!("{what}, {}", bar.bar);
        }
        bars
    });
    bars.into_iter().flatten().collect()
}
