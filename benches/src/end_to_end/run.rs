//! Prepares the subjects, starts their processes in turns, and makes rows of what they print.

use super::numba;
use super::peer::{ARGUMENTS, Place, SUBJECTS, Start, Subject, find};
use crate::language::Source;
use crate::meter::{Memory, keep_heap, process_time};
use crate::row::Row;
use anyhow::{Context, Result, bail, ensure};
use rustix::process::Resource;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How much is measured.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// A few seconds for each subject, and 10,000 definitions at most.
    #[arg(long)]
    quick: bool,
    /// How many definitions, several with commas.
    #[arg(long, value_delimiter = ',')]
    count: Vec<usize>,
    /// Measure these subjects only; all of them unless given.
    #[arg(long, value_name = "SUBJECT", value_delimiter = ',')]
    only: Vec<String>,
    /// Make what the subjects find, and measure nothing.
    #[arg(long)]
    prepare: bool,
}

/// How long everything may take.
struct Limits {
    counts: Vec<usize>,
    /// A process brings back for so long.
    process: Duration,
    /// What a subject is prepared with takes so long, unless it is there already: then there is less of it.
    prepare: Duration,
    /// A subject's processes with the same number of definitions together.
    subject: Duration,
    rounds: usize,
}

impl Options {
    fn limits(&self) -> Limits {
        let seconds = Duration::from_secs;
        let mut limits = match self.quick {
            false => Limits {
                counts: vec![100, 1_000, 10_000, 100_000],
                process: seconds(60),
                prepare: seconds(90),
                subject: seconds(20),
                rounds: 7,
            },
            true => Limits {
                counts: vec![100, 1_000, 10_000],
                process: seconds(2),
                prepare: seconds(5),
                subject: seconds(1),
                rounds: 2,
            },
        };
        if !self.count.is_empty() {
            limits.counts.clone_from(&self.count);
        }
        limits
    }
}

/// What a process is to do, as its parent writes it on the command line.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    subject: String,
    folder: PathBuf,
    own: PathBuf,
    /// Where samples go while there are more to come, for the case that the process does not see its end.
    progress: PathBuf,
    count: usize,
    limit: Duration,
}

/// What a process measured.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Measured {
    /// Nanoseconds until the first definition.
    setup_ns: u64,
    samples: Vec<u64>,
    /// What functions gave, where that has not been looked at.
    #[serde(default)]
    answers: Vec<u64>,
    wall_ns: u64,
    cpu_ns: u64,
    memory: Memory,
    /// Why it did not go on: `limit`, or a reason.
    stopped: Option<String>,
}

/// What [`Measured::stopped`] says of time.
const LIMIT: &str = "limit";

/// So many samples are kept at once for the case that a process is ended.
const KEPT: usize = 100;

/// What rows say of it, and of what came after it.
const OVER: &str = "s were over";
const NOT_TRIED: &str = "not tried";

/// Measures everything, or what `options` name.
pub(crate) fn measure(options: &Options) -> Result<Vec<Row>> {
    let program = std::env::current_exe()?;
    let target = program.parent().and_then(Path::parent);
    let target = target.context("this program is in no folder")?;
    let folder = target.join("bench/end-to-end");
    std::fs::create_dir_all(&folder)?;
    let limits = options.limits();
    let is_wanted = |subject: &&Subject| {
        options.only.is_empty() || options.only.iter().any(|only| only == subject.name)
    };
    let subjects = SUBJECTS.iter().filter(is_wanted);
    let mut subjects: Vec<_> = subjects.map(|subject| (subject, None)).collect();
    ensure!(!subjects.is_empty(), "no such subject");
    let bench = Bench {
        program,
        folder,
        limits,
    };
    let mut rows = Vec::new();
    for &count in &bench.limits.counts {
        let mut contenders = Vec::new();
        for (subject, refused) in &mut subjects {
            let mut contender = Contender::new(subject);
            contender.refused.clone_from(refused);
            if refused.is_none() {
                match bench.prepare(subject, count) {
                    Ok(made) => contender.made = made.min(count),
                    Err(error) => {
                        contender.refused = Some(format!("{error:#}").replace('\n', " "));
                    }
                }
            }
            contenders.push(contender);
        }
        if !options.prepare {
            bench.alternate(count, &mut contenders);
        }
        for (contender, (_, refused)) in contenders.into_iter().zip(&mut subjects) {
            if contender.refused.is_some() && refused.is_none() {
                *refused = Some(format!("{NOT_TRIED}, as {count} were too many"));
            }
            rows.extend(contender.row(count));
        }
    }
    Ok(rows)
}

/// What must not be refused, of what was: time alone may stop Rekindle.
pub(crate) fn failure(rows: &[Row]) -> Option<String> {
    let ours = rows
        .iter()
        .filter(|row| row.subject.starts_with("rekindle"));
    let reasons = ours.filter_map(|row| Some((row, row.refused.as_ref()?)));
    let mut failures =
        reasons.filter(|(_, reason)| !reason.ends_with(OVER) && !reason.starts_with(NOT_TRIED));
    failures
        .next()
        .map(|(row, reason)| format!("{}, {}: {reason}", row.work, row.subject))
}

struct Bench {
    program: PathBuf,
    folder: PathBuf,
    limits: Limits,
}

/// A subject, and what its processes have measured so far.
struct Contender {
    subject: &'static Subject,
    /// How many definitions it has been prepared for.
    made: usize,
    refused: Option<String>,
    all: Vec<Measured>,
    spent: Duration,
    is_done: bool,
}

impl Bench {
    /// Makes what the subject will find; says for how many definitions.
    fn prepare(&self, subject: &Subject, count: usize) -> Result<usize> {
        let place = Place {
            folder: self.folder.clone(),
            own: self.folder.clone(),
            count,
        };
        let made = (subject.prepare)(&place, self.limits.prepare)?;
        ensure!(made > 0, "nothing could be compiled beforehand");
        Ok(made)
    }

    fn alternate(&self, count: usize, contenders: &mut [Contender]) {
        eprintln!("measuring {count} definitions ...");
        let number = contenders.len();
        for round in 0..=self.limits.rounds {
            for turn in 0..number {
                let turn = match round % 2 {
                    0 => turn,
                    _ => number - 1 - turn,
                };
                let contender = &mut contenders[(round / 2 + turn) % number];
                if contender.is_done || contender.refused.is_some() {
                    continue;
                }
                let began = Instant::now();
                let measured = match self.run(contender.subject, contender.made) {
                    Ok(measured) => measured,
                    Err(error) => Measured {
                        stopped: Some(format!("{error:#}")),
                        ..Measured::default()
                    },
                };
                let took = began.elapsed();
                // The first one warms up, unless it is so slow that this cannot matter.
                if round == 0 && took < self.limits.subject / 4 && measured.stopped.is_none() {
                    continue;
                }
                contender.spent += took;
                contender.is_done = contender.spent > self.limits.subject;
                contender.add(measured, count, &self.limits);
            }
        }
        for contender in contenders.iter_mut().filter(|one| one.refused.is_none()) {
            let made = contender.made;
            if made < count {
                let seconds = self.limits.prepare.as_secs();
                let reason = format!(
                    "after {made} of {count}: compiled beforehand, in {seconds} s, were no more"
                );
                contender.refused = Some(reason);
            }
        }
    }

    /// One process.
    fn run(&self, subject: &Subject, count: usize) -> Result<Measured> {
        let own = tempfile::Builder::new()
            .prefix("own-")
            .tempdir_in(&self.folder)?;
        let progress = tempfile::NamedTempFile::new_in(&self.folder)?;
        let mut command = match subject.start {
            Start::Here(_) => {
                let plan = serde_json::to_string(&Plan {
                    subject: subject.name.to_owned(),
                    folder: self.folder.clone(),
                    own: own.path().to_owned(),
                    progress: progress.path().to_owned(),
                    count,
                    limit: self.limits.process,
                })?;
                let mut command = Command::new(&self.program);
                command.args(["end-to-end-process", &plan]);
                command
            }
            Start::Python(script) => {
                let mut command = Command::new(numba::interpreter(&self.folder));
                command.args(["-c", script, "run"]);
                command.arg(self.folder.join(subject.name));
                command.arg(count.to_string());
                command.arg(self.limits.process.as_secs().to_string());
                command
            }
        };
        for variable in ["REKINDLE", "REKINDLE_DIR", "REKINDLE_LOG"] {
            command.env_remove(variable);
        }
        let output = command.stdin(Stdio::null()).output()?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr);
            // After its last words Rust's runtime says how to have a backtrace.
            let is_word = |line: &&str| !line.starts_with("note:") && !line.starts_with("stack ");
            let last = words.lines().rfind(is_word);
            let last = last.unwrap_or("it said nothing");
            let kept = std::fs::read(progress.path())?;
            let (samples, _) = kept.as_chunks();
            let samples: Vec<u64> = samples
                .iter()
                .map(|bytes| u64::from_ne_bytes(*bytes))
                .collect();
            return Ok(Measured {
                wall_ns: samples.iter().sum(),
                samples,
                stopped: Some(format!("the process ended with {}: {last}", output.status)),
                ..Measured::default()
            });
        }
        let mut measured: Measured = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("{} printed nothing of use", subject.name))?;
        // LLVM says there what its error does not.
        let words = String::from_utf8_lossy(&output.stderr);
        if let (Some(reason), Some(last)) = (&mut measured.stopped, words.lines().last()) {
            *reason = format!("{reason} ({last})");
        }
        for (number, answer) in measured.answers.iter().enumerate() {
            check(subject.name, number, *answer)?;
        }
        Ok(measured)
    }
}

/// Sees that nobody is quick by doing something else.
fn check(subject: &str, number: usize, answer: u64) -> Result<()> {
    let (left, right) = ARGUMENTS;
    let right_answer = Source::answer(number, left, right);
    if answer != right_answer {
        bail!("{subject}, definition {number}: {answer} instead of {right_answer}");
    }
    Ok(())
}

impl Contender {
    fn new(subject: &'static Subject) -> Self {
        Self {
            subject,
            made: 0,
            refused: None,
            all: Vec::new(),
            spent: Duration::ZERO,
            is_done: false,
        }
    }

    fn add(&mut self, mut measured: Measured, count: usize, limits: &Limits) {
        if let Some(reason) = measured.stopped.take() {
            let done = measured.samples.len();
            let reason = match reason == LIMIT {
                true => format!("{} {OVER}", limits.process.as_secs()),
                false => reason.replace('\n', " "),
            };
            self.refused = Some(format!("after {done} of {count}: {reason}"));
        }
        self.all.push(measured);
    }

    fn row(self, count: usize) -> Option<Row> {
        let (work, subject) = (format!("end-to-end-{count}"), self.subject.name);
        let samples: Vec<u64> = self
            .all
            .iter()
            .flat_map(|one| one.samples.clone())
            .collect();
        let Some(mut row) = Row::new(work.clone(), subject, samples) else {
            let reason = self.refused?;
            return Some(Row::refused(work, subject, reason));
        };
        let each = |figure: fn(&Measured) -> u64| {
            let mut all: Vec<u64> = self.all.iter().map(figure).collect();
            all.sort_unstable();
            all
        };
        let median = |all: &[u64]| all.get(all.len() / 2).copied().unwrap_or_default();
        let count = |one: &Measured| one.samples.len().max(1) as u64;
        let totals = each(|one| one.wall_ns);
        row.total_ns = median(&totals);
        row.spread_ns = totals.first().copied().zip(totals.last().copied());
        row.setup_ns = Some(median(&each(|one| one.setup_ns)));
        let per = |figure: fn(&Measured) -> u64| {
            let mut all: Vec<u64> = self
                .all
                .iter()
                .map(|one| figure(one) / count(one))
                .collect();
            all.sort_unstable();
            // A process that did not see its end has not said.
            Some(median(&all)).filter(|_| self.all.iter().all(|one| one.cpu_ns > 0))
        };
        row.cpu_ns = per(|one| one.cpu_ns);
        row.bytes_per_entry = per(|one| one.memory.pss);
        row.file_bytes_per_entry = per(|one| one.memory.file);
        row.refused = self.refused;
        Some(row)
    }
}

/// Lets the process open as many files as it may allow itself: wasmtime keeps those of its modules open.
fn allow_files() {
    let mut limit = rustix::process::getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Otherwise it is as it was, and who needs more says so.
    let _ = rustix::process::setrlimit(Resource::Nofile, limit);
}

/// Does what `plan` says and prints what it measured, as JSON.
pub(crate) fn run_process(plan: &str) -> Result<()> {
    let plan: Plan = serde_json::from_str(plan).context("this is called by the benchmark alone")?;
    keep_heap();
    allow_files();
    let subject = find(&plan.subject).context("no such subject")?;
    let Start::Here(start) = subject.start else {
        bail!("this is done by another program");
    };
    let place = Place {
        folder: plan.folder,
        own: plan.own,
        count: plan.count,
    };
    let mut progress = File::create(&plan.progress)?;
    let mut unkept = Vec::with_capacity(KEPT * size_of::<u64>());
    let mut samples = vec![0; plan.count];
    let mut done = 0;
    let mut stopped = None;
    let began = Instant::now();
    let mut peer = start(&place)?;
    let setup_ns = began.elapsed().as_nanos() as u64;
    let memory = Memory::now()?;
    let cpu = process_time();
    let began = Instant::now();
    let mut last = began;
    for sample in &mut samples {
        let answer = match peer.bring_back(done) {
            Ok(answer) => answer,
            Err(error) => {
                stopped = Some(format!("{error:#}"));
                break;
            }
        };
        let now = Instant::now();
        *sample = (now - last).as_nanos() as u64;
        check(subject.name, done, answer)?;
        done += 1;
        if now - began > plan.limit && done < plan.count {
            stopped = Some(LIMIT.to_owned());
            break;
        }
        unkept.extend(sample.to_ne_bytes());
        if done.is_multiple_of(KEPT) {
            progress.write_all(&unkept)?;
            unkept.clear();
        }
        // The check above is not theirs, nor is this.
        last = Instant::now();
    }
    let wall_ns = samples.iter().take(done).sum();
    let cpu_ns = process_time() - cpu;
    // Who has opened too many files cannot read that one either.
    let memory = Memory::now().map_or_else(|_| Memory::default(), |now| now.since(&memory));
    peer.finish()?;
    samples.truncate(done);
    let measured = Measured {
        setup_ns,
        samples,
        answers: Vec::new(),
        wall_ns,
        cpu_ns,
        memory,
        stopped,
    };
    println!("{}", serde_json::to_string(&measured)?);
    // What a peer would do to clean up is no part of this, and takes some of them minutes.
    std::io::stdout().flush()?;
    // SAFETY: nothing is left to be done in this process.
    unsafe { libc::_exit(0) }
}
