//! The hooks, as a small host with Cranelift meets them: real processes on real folders.
//!
//! A sample is one definition from the call of `eval_def` to the end of `finish`: key, look-up, dependencies,
//! load, unwind registration, effects, factory and bookkeeping. Processes of different works take turns.
//! What is warm is evaluated in random order, by a process that has evaluated its library before.
//! Its text has just been gone over, as by a host that delimits it; that is in the time of all definitions, and
//! in no sample.
//!
//! | work | what |
//! | --- | --- |
//! | `warm`, `warm-N` | N definitions (10,000 unless said) in a folder of as many, hits all of them |
//! | `warm-unshared` | the same 10,000 by a host that does not vouch for its answers |
//! | `second` | 100 again in the same process, in another order |
//! | `second-10000` | 10,000 again, most of which is waiting for memory |
//! | `second-look-up` | with a comment in the text, so that they are found by their analysed form |
//! | `two-threads`, `one-thread` | the throughput of the warm 10,000, each thread with its half; per definition |
//! | `cold`, `off`, `direct` | compiled: with the cache on an empty folder; with the cache off, by the JIT; by compiler and loader alone |
//! | `cold-overhead` | what `cold` takes beyond `direct`, in CPU time of the evaluating thread, for the same definition |
//!
//! `CPU` is that of the evaluating thread where something is compiled, and that of all threads else. `bytes` is
//! what a definition adds to the process's proportional share of memory; of `direct`, the size of an image.

pub(crate) mod bars;
mod process;

use crate::row::Row;
use anyhow::{Context, Result, ensure};
use process::{Measured, Plan, Work};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(crate) use process::run_process;

const SUBJECT: &str = "rekindle";

/// Definitions of most works.
const MANY: usize = 10_000;

/// Definitions that are compiled in one process of `cold` and what it is held against.
const COLD: usize = 1_000;

/// Works that are measured in folders of so many definitions, in so many processes each.
const WARM: [(&str, usize, usize); 4] = [
    ("warm-100", 100, 30),
    ("warm-1000", 1_000, 15),
    ("warm", MANY, 9),
    ("warm-100000", 100_000, 3),
];

/// Other works, with how many definitions, in how many processes each.
const OTHERS: [(&str, Work, usize, usize); 4] = [
    ("warm-unshared", Work::Unshared, MANY, ROUNDS),
    ("second", Work::Again, 100, 30),
    ("second-10000", Work::Again, MANY, ROUNDS),
    ("second-look-up", Work::Revised, MANY, ROUNDS),
];

/// Processes of each other work.
const ROUNDS: usize = 5;

/// Works that a quick run leaves out.
const SLOW: [&str; 5] = [
    "warm-1000",
    "warm-100000",
    "warm-unshared",
    "second-10000",
    "second-look-up",
];

/// Measures everything, or what `wanted` names; in a quick run with a third of the processes, and not all.
pub(crate) fn measure(wanted: &[String], is_quick: bool) -> Result<Vec<Row>> {
    let bench = Bench {
        program: std::env::current_exe()?,
        is_quick,
    };
    let is_wanted = |name: &str| match wanted {
        [] => !(is_quick && SLOW.contains(&name)),
        _ => wanted.iter().any(|wanted| wanted == name),
    };
    let mut rows = Vec::new();
    for (name, definitions, processes) in WARM {
        if is_wanted(name) {
            rows.extend(bench.warm(name, definitions, processes)?);
        }
    }
    for (name, work, definitions, processes) in OTHERS {
        if is_wanted(name) {
            rows.extend(bench.again(name, work, definitions, processes)?);
        }
    }
    if is_wanted("two-threads") {
        match std::thread::available_parallelism() {
            Ok(processors) if processors.get() > 1 => rows.extend(bench.threads()?),
            _ => eprintln!("two-threads is left out: there is one processor"),
        }
    }
    if is_wanted("cold") {
        rows.extend(bench.cold()?);
    }
    ensure!(!rows.is_empty(), "there is no such work");
    Ok(rows)
}

struct Bench {
    program: PathBuf,
    is_quick: bool,
}

impl Bench {
    /// How many of `processes` are started.
    fn processes(&self, processes: usize) -> usize {
        match self.is_quick {
            true => processes.div_ceil(3),
            false => processes,
        }
    }

    fn run(&self, work: Work, folder: &Path, definitions: usize, seed: usize) -> Result<Measured> {
        let plan = Plan {
            work,
            folder: folder.to_owned(),
            definitions,
            seed: seed as u64,
        };
        let plan = serde_json::to_string(&plan)?;
        let mut command = Command::new(&self.program);
        command.args(["hooks-process", &plan]).stdin(Stdio::null());
        command.stderr(Stdio::inherit());
        for variable in [
            "REKINDLE",
            "REKINDLE_DIR",
            "REKINDLE_EXPLAIN",
            "REKINDLE_LOG",
        ] {
            command.env_remove(variable);
        }
        let output = command.output()?;
        ensure!(
            output.status.success(),
            "{plan} ended with {}",
            output.status
        );
        serde_json::from_slice(&output.stdout).with_context(|| format!("{plan} measured nothing"))
    }

    /// A folder with `definitions` and nothing else. It is kept for the next run, beside this program, and
    /// made anew when it is not what this build would make.
    fn folder(&self, definitions: usize) -> Result<PathBuf> {
        let target = self.program.parent().and_then(Path::parent);
        let target = target.context("this program is in no folder")?;
        let folder = target.join(format!("bench/hooks-{definitions}"));
        if folder.exists() {
            let measured = self.run(Work::Cold, &folder, definitions, 0)?;
            if measured.hits == definitions as u64 {
                return Ok(folder);
            }
            std::fs::remove_dir_all(&folder)?;
        }
        eprintln!("compiling {definitions} definitions ...");
        std::fs::create_dir_all(&folder)?;
        self.run(Work::Cold, &folder, definitions, 0)?;
        Ok(folder)
    }

    fn warm(&self, name: &str, definitions: usize, processes: usize) -> Result<Option<Row>> {
        let folder = self.folder(definitions)?;
        eprintln!("measuring {name} ...");
        let mut all = Gathered::default();
        for process in 1..=self.processes(processes) {
            let measured = self.run(Work::Warm, &folder, definitions, process)?;
            ensure!(
                measured.hits == definitions as u64,
                "{name}: {} hits of {definitions}",
                measured.hits
            );
            all.add(measured);
        }
        Ok(all.row(name))
    }

    fn again(
        &self,
        name: &str,
        work: Work,
        definitions: usize,
        processes: usize,
    ) -> Result<Option<Row>> {
        let folder = self.folder(definitions)?;
        eprintln!("measuring {name} ...");
        let mut all = Gathered::default();
        for round in 1..=self.processes(processes) {
            let measured = self.run(work, &folder, definitions, round)?;
            let (hits, second) = (measured.hits, measured.second_hits);
            let are_second = second == if work == Work::Revised { hits } else { 0 };
            ensure!(
                hits == definitions as u64 && are_second,
                "{name}: {hits} hits of {definitions}, {second} of them by the analysed form"
            );
            all.add(measured);
        }
        Ok(all.row(name))
    }

    /// Each process gives one sample: its time divided by its definitions.
    fn threads(&self) -> Result<Vec<Row>> {
        let folder = self.folder(MANY)?;
        eprintln!("measuring two-threads ...");
        let mut samples = [Vec::new(), Vec::new()];
        for round in 1..=self.processes(2 * ROUNDS) {
            for (threads, samples) in [1, 2].into_iter().zip(&mut samples) {
                let measured = self.run(Work::Threads(threads), &folder, MANY, round)?;
                ensure!(measured.hits == MANY as u64, "{} hits", measured.hits);
                samples.push(measured.wall_ns / MANY as u64);
            }
        }
        let names = ["one-thread", "two-threads"];
        let rows = names.into_iter().zip(samples);
        Ok(rows
            .filter_map(|(name, samples)| Row::new(name.to_owned(), SUBJECT, samples))
            .collect())
    }

    fn cold(&self) -> Result<Vec<Row>> {
        eprintln!("measuring cold ...");
        let works = [
            ("cold", Work::Cold),
            ("direct", Work::Direct),
            ("off", Work::Off),
        ];
        let mut gathered = [(); 3].map(|()| Gathered::default());
        let mut overhead = Vec::new();
        for round in 1..=self.processes(ROUNDS) {
            let mut cpu = [(); 3].map(|()| Vec::new());
            for turn in 0..works.len() {
                let index = (turn + round) % works.len();
                let folder = tempfile::tempdir()?;
                let (_, work) = works[index];
                let measured = self.run(work, folder.path(), COLD, round)?;
                ensure!(
                    measured.hits == 0,
                    "{} hits in an empty folder",
                    measured.hits
                );
                cpu[index].clone_from(&measured.thread_cpu);
                gathered[index].add(measured);
            }
            let [cold, direct, _] = &cpu;
            let pairs = cold.iter().zip(direct);
            overhead.extend(pairs.map(|(cold, direct)| cold.saturating_sub(*direct)));
        }
        let rows = works.iter().zip(&gathered);
        let mut rows: Vec<Row> = rows.filter_map(|((name, _), all)| all.row(name)).collect();
        rows.extend(Row::new("cold-overhead".to_owned(), SUBJECT, overhead));
        Ok(rows)
    }
}

/// What several processes measured of one work.
#[derive(Default)]
struct Gathered {
    samples: Vec<u64>,
    thread_cpu: Vec<u64>,
    /// Per definition, of each process.
    cpu: Vec<u64>,
    bytes: Vec<u64>,
    file_bytes: Vec<u64>,
    walls: Vec<u64>,
    is_compiled: bool,
}

impl Gathered {
    fn add(&mut self, measured: Measured) {
        let count = measured.samples.len().max(1) as u64;
        self.cpu.push(measured.cpu_ns / count);
        self.file_bytes.push(measured.memory.file / count);
        self.walls.push(measured.wall_ns);
        self.is_compiled |= measured.hits == 0;
        self.bytes.push(match measured.image_bytes {
            0 => measured.memory.pss / count,
            image => image / count,
        });
        self.samples.extend(measured.samples);
        self.thread_cpu.extend(measured.thread_cpu);
    }

    fn row(&self, name: &str) -> Option<Row> {
        let mut row = Row::new(name.to_owned(), SUBJECT, self.samples.clone())?;
        row.total_ns = median(&self.walls);
        row.cpu_ns = Some(median(match self.is_compiled {
            true => &self.thread_cpu,
            false => &self.cpu,
        }));
        row.bytes_per_entry = Some(median(&self.bytes));
        row.file_bytes_per_entry = Some(median(&self.file_bytes));
        Some(row)
    }
}

fn median(values: &[u64]) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}
