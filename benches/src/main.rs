//! Benchmarks: `cargo xtask bench NAME [--json PATH]` runs this in release mode.
//!
//! Each benchmark prints a table and its bars, and writes both as JSON. A row's figures are medians and 95th
//! percentiles of what its header says, in nanoseconds.

mod bar;
mod charts;
#[cfg(feature = "clang")]
mod clang;
mod cpp;
mod end_to_end;
mod first_light;
mod hooks;
mod instructions;
mod language;
mod loader;
mod meter;
mod orc;
mod row;
mod store;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use std::path::PathBuf;

#[derive(Parser)]
#[command(about = "Benchmarks of the Rekindle code cache")]
struct Command {
    #[command(subcommand)]
    benchmark: Benchmark,
    /// Writes the rows as a JSON array to PATH.
    #[arg(long, value_name = "PATH", global = true)]
    json: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Benchmark {
    /// Real ember processes, cold and warm: time of evaluation per definition.
    FirstLight {
        /// Warm processes per program.
        #[arg(long, default_value_t = 15)]
        runs: usize,
    },
    /// A program of ember's on each backend, with the cache off, cold and warm.
    Backends {
        /// Fewer processes, and without clang.
        #[arg(long)]
        quick: bool,
    },
    /// The store beside plain files, cacache, LMDB and SQLite.
    Store(store::Options),
    /// This loader beside LLVM's, the system's and others: from object or image to the first call.
    Loader {
        /// Only these works; all if none is named.
        #[arg(long, value_name = "NAME")]
        work: Vec<String>,
        /// Only these subjects; all if none is named.
        #[arg(long, value_name = "NAME")]
        subject: Vec<String>,
        /// A second or two for each subject and work, and no chains of COMDAT groups.
        #[arg(long)]
        quick: bool,
    },
    /// The hooks, in real processes: warm, cold, the second time, by two threads.
    Hooks {
        /// Only these works; all if none is named.
        #[arg(long, value_name = "NAME")]
        work: Vec<String>,
        /// A third of the processes, and not all works.
        #[arg(long)]
        quick: bool,
    },
    /// The experiment's functions on clang: the first evaluation and the next process.
    #[cfg(feature = "clang")]
    Clang {
        /// Two processes of each.
        #[arg(long)]
        quick: bool,
    },
    /// One of the processes that the benchmark of clang measures.
    #[cfg(feature = "clang")]
    #[command(hide = true)]
    ClangProcess { plan: String },
    /// The C++ host: without a cache, with this one, and with clang's objects and LLVM's ORC.
    Cpp {
        /// Two processes of each that compile.
        #[arg(long)]
        quick: bool,
    },
    /// Whole processes that bring back 100 to 100,000 definitions, beside what would be used instead.
    EndToEnd(end_to_end::Options),
    /// One work under callgrind, for `cargo xtask regress`.
    Instructions(instructions::Options),
    /// Draws charts of a summary, as SVG.
    Charts {
        /// The summary that `cargo xtask bench` has written.
        summary: PathBuf,
        /// The folder that they are written to.
        folder: PathBuf,
    },
    /// One of the processes that the benchmark of whole processes measures.
    #[command(hide = true)]
    EndToEndProcess { plan: String },
    /// One of the processes that the benchmark of the hooks measures.
    #[command(hide = true)]
    HooksProcess { plan: String },
}

fn main() -> Result<()> {
    let command = Command::parse();
    let (mut bars, mut failure) = (Vec::new(), None);
    let rows = match command.benchmark {
        Benchmark::FirstLight { runs } => {
            let rows = first_light::measure(runs)?;
            bars = first_light::warm_bar(&rows);
            rows
        }
        Benchmark::Instructions(options) => return instructions::run(&options),
        Benchmark::Charts { summary, folder } => return charts::draw(&summary, &folder),
        Benchmark::Store(options) => return store::run(&options, command.json.as_deref()),
        Benchmark::Loader {
            work,
            subject,
            quick,
        } => {
            let rows = loader::measure(&work, &subject, quick)?;
            bars = loader::bars::bars(&rows);
            rows
        }
        Benchmark::Hooks { work, quick } => {
            let rows = hooks::measure(&work, quick)?;
            bars = hooks::bars::bars(&rows);
            rows
        }
        Benchmark::Backends { quick } => {
            let rows = first_light::measure_backends(quick)?;
            bars = first_light::bars(&rows);
            rows
        }
        #[cfg(feature = "clang")]
        Benchmark::Clang { quick } => {
            let rows = clang::measure(quick)?;
            bars = clang::bars(&rows);
            rows
        }
        #[cfg(feature = "clang")]
        Benchmark::ClangProcess { plan } => return clang::process::run(&plan),
        Benchmark::Cpp { quick } => {
            let rows = cpp::measure(quick)?;
            bars = cpp::bars(&rows);
            rows
        }
        Benchmark::EndToEnd(options) => {
            let rows = end_to_end::measure(&options)?;
            failure = end_to_end::failure(&rows);
            rows
        }
        Benchmark::EndToEndProcess { plan } => return end_to_end::run_process(&plan),
        Benchmark::HooksProcess { plan } => return hooks::run_process(&plan),
    };
    row::print(&rows);
    if !bars.is_empty() {
        print!("{}", bar::text(&bars));
    }
    if let Some(path) = command.json {
        row::write_json(&rows, &bars, &path)?;
    }
    failure.map_or(Ok(()), |failure| bail!(failure))
}
