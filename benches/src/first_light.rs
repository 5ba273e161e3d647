//! Every ember program in real processes: compiled, compiled and kept, and taken from the cache.
//!
//! The figure is the time inside `eval_def` divided by the number of definitions, prelude included, as
//! `ember --stats-json` gives it: look-up, checks, loading and binding, without the factories' own time.
//! `whole process` is the wall time of the process from its start to its end. Programs alternate, so that
//! a change of the machine's mood meets all of them.

use crate::bar::{Bar, Figure, Needs, Wanted, held_against, median};
use crate::row::Row;
use anyhow::{Context, Result, ensure};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Cold processes per program: each compiles everything.
const COLD_RUNS: usize = 3;

#[derive(Default)]
struct Samples {
    evaluation: Vec<u64>,
    process: Vec<u64>,
}

impl Samples {
    fn add(&mut self, run: &Run) {
        self.evaluation.push(run.eval_ns / run.definitions);
        self.process.push(run.process_ns);
    }
}

/// What ember may be built with.
const BACKENDS: [&str; 3] = ["cranelift", "llvm", "clang"];

/// The one whose first process takes longest by far.
const SLOWEST: &str = "clang";

/// The figure of all programs that has a bar.
const WARM: &str = "all, warm, per definition";

/// How often a backend compiles all, with the cache and without.
const PAIRS: usize = 9;

/// The slowest does so less often.
const SLOW_PAIRS: usize = 3;

/// What a definition of a real program may cost when it is taken from the cache.
pub(crate) fn warm_bar(rows: &[Row]) -> Vec<Bar> {
    let wanted = Wanted {
        name: "ember's programs, warm, per definition, median",
        of: Figure {
            work: WARM,
            subject: "rekindle",
            of: median,
        },
        by: None,
        needs: Needs::AtMost(15.0),
    };
    held_against(rows, &[wanted])
}

/// What the cache may cost while it is empty, on each backend: the first process against one with the cache off.
pub(crate) fn bars(rows: &[Row]) -> Vec<Bar> {
    let bar = |(subject, name, limit)| {
        let figure = |work| Figure {
            work,
            subject,
            of: median,
        };
        Wanted {
            name,
            of: figure("queens, cold, per definition"),
            by: Some(figure("queens, off, per definition")),
            needs: Needs::AtMost(limit),
        }
    };
    let wanted = [
        ("cranelift", "cold against the cache off, Cranelift", 1.1),
        ("llvm", "cold against the cache off, LLVM", 1.01),
        ("clang", "cold against the cache off, clang", 1.01),
    ];
    held_against(rows, &wanted.map(bar))
}

/// One program on each backend: compiled with the cache off, compiled and kept, then taken from the cache.
pub(crate) fn measure_backends(is_quick: bool) -> Result<Vec<Row>> {
    let (ember, repository) = ember()?;
    let program = repository.join("examples/ember/programs/queens.em");
    let runs = if is_quick { 3 } else { 15 };
    let mut all = [(); BACKENDS.len()].map(|()| ([(); 3].map(|()| Samples::default()), None));
    let folder = tempfile::tempdir()?;
    for round in 0..runs {
        for (backend, ([off, cold, warm], refused)) in BACKENDS.iter().zip(&mut all) {
            if is_quick && *backend == SLOWEST {
                *refused = Some("left out of quick runs, as it takes long".to_owned());
            }
            if refused.is_some() {
                continue;
            }
            let cache = folder.path().join(backend);
            let options = ["--backend", backend];
            if round
                < if *backend == SLOWEST {
                    SLOW_PAIRS
                } else {
                    PAIRS
                }
            {
                if cache.exists() {
                    std::fs::remove_dir_all(&cache)?;
                }
                // Each comes first by turns. What clang compiles before, its prelude, is in no figure.
                let mut states = [("off", &mut *off), ("on", &mut *cold)];
                states.rotate_left(round % 2);
                for (state, samples) in states {
                    match run_with(&ember, &program, &cache, &options, state) {
                        Ok(run) => samples.add(&run),
                        Err(error) => {
                            *refused = Some(format!("this ember has no such backend: {error:#}"));
                        }
                    }
                }
                if refused.is_some() {
                    continue;
                }
            }
            let run = run(&ember, &program, &cache, &options)?;
            ensure!(run.hits == run.definitions, "{backend} is not warm");
            warm.add(&run);
        }
    }
    let mut rows = Vec::new();
    for (backend, (samples, refused)) in BACKENDS.into_iter().zip(all) {
        for (state, samples) in ["off", "cold", "warm"].into_iter().zip(samples) {
            let work = format!("queens, {state}, per definition");
            rows.extend(match &refused {
                Some(reason) => Some(Row::refused(work, backend, reason.clone())),
                None => Row::new(work, backend, samples.evaluation),
            });
        }
    }
    Ok(rows)
}

/// The program, and the folder of the repository.
fn ember() -> Result<(PathBuf, &'static Path)> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the benchmarks are a folder of the repository")?;
    let binaries = std::env::var_os("REKINDLE_BIN_DIR").map(PathBuf::from);
    let ember = binaries
        .unwrap_or_else(|| repository.join("target/release"))
        .join("ember");
    ensure!(
        ember.exists(),
        "{} is not built: run `cargo xtask bench first-light`, which builds it",
        ember.display()
    );
    Ok((ember, repository))
}

struct Run {
    definitions: u64,
    hits: u64,
    eval_ns: u64,
    process_ns: u64,
}

/// Measures all programs, `runs` times warm.
pub(crate) fn measure(runs: usize) -> Result<Vec<Row>> {
    let (ember, repository) = ember()?;
    let mut programs: Vec<PathBuf> = std::fs::read_dir(repository.join("examples/ember/programs"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension() == Some(OsStr::new("em")))
        // Those that want a backend of their own say so beside them.
        .filter(|path| !path.with_extension("backends").exists())
        .collect();
    programs.sort();
    let folder = tempfile::tempdir()?;
    let cache = |program: usize| folder.path().join(format!("cache-{program}"));
    let mut without = Vec::new();
    let mut cold = Vec::new();
    let mut warm = Vec::new();
    for _ in &programs {
        without.push(Samples::default());
        cold.push(Samples::default());
        warm.push(Samples::default());
    }
    for round in 0..COLD_RUNS.max(runs) {
        for (index, program) in programs.iter().enumerate() {
            if round < COLD_RUNS {
                let run = run(&ember, program, &cache(index), &["--no-cache"])?;
                without[index].add(&run);
                if cache(index).exists() {
                    std::fs::remove_dir_all(cache(index))?;
                }
                cold[index].add(&self::run(&ember, program, &cache(index), &[])?);
            }
            if round < runs {
                let run = run(&ember, program, &cache(index), &[])?;
                ensure!(
                    run.hits == run.definitions,
                    "{} is not warm: {} hits of {}",
                    program.display(),
                    run.hits,
                    run.definitions
                );
                warm[index].add(&run);
            }
        }
    }
    let mut rows = Vec::new();
    for (index, program) in programs.iter().enumerate() {
        let name = program.file_stem().unwrap_or_default().to_string_lossy();
        for (state, samples) in [("no-cache", &without), ("cold", &cold), ("warm", &warm)] {
            let Samples {
                evaluation,
                process,
            } = &samples[index];
            let work = format!("{name}, {state}, per definition");
            rows.extend(Row::new(work, "rekindle", evaluation.clone()));
            let work = format!("{name}, {state}, whole process");
            rows.extend(Row::new(work, "rekindle", process.clone()));
        }
    }
    for (state, samples) in [("no-cache", &without), ("cold", &cold), ("warm", &warm)] {
        let all = samples
            .iter()
            .flat_map(|samples| samples.evaluation.clone());
        let work = format!("all, {state}, per definition");
        rows.extend(Row::new(work, "rekindle", all.collect()));
    }
    Ok(rows)
}

fn run(ember: &Path, program: &Path, cache: &Path, options: &[&str]) -> Result<Run> {
    run_with(ember, program, cache, options, "on")
}

/// With `REKINDLE` as `mode` says.
fn run_with(
    ember: &Path,
    program: &Path,
    cache: &Path,
    options: &[&str],
    mode: &str,
) -> Result<Run> {
    let statistics = tempfile::NamedTempFile::new()?;
    let began = Instant::now();
    let status = Command::new(ember)
        .arg("run")
        .arg(program)
        .args(options)
        .arg("--stats-json")
        .arg(statistics.path())
        .env("REKINDLE_DIR", cache)
        .env("REKINDLE", mode)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()?;
    let process_ns = u64::try_from(began.elapsed().as_nanos())?;
    ensure!(
        status.success(),
        "{} ended with {status}",
        program.display()
    );
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(statistics.path())?)?;
    let number = |name: &str| {
        json[name]
            .as_u64()
            .with_context(|| format!("no {name} in {json}"))
    };
    Ok(Run {
        definitions: number("definitions")?.max(1),
        hits: number("hits")?,
        eval_ns: number("eval_ns")?,
        process_ns,
    })
}
