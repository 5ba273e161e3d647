//! Benchmarks: `cargo xtask bench NAME [--json PATH]` runs this in release mode.
//!
//! Each benchmark prints a table and writes its rows as JSON. A row's figures are medians and 95th
//! percentiles of what its header says, in nanoseconds.

mod first_light;
mod hooks;
mod loader;
mod row;
mod store;

use anyhow::Result;
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
    },
    /// The hooks, in real processes: warm, cold, the second time, by two threads.
    Hooks {
        /// Only these works; all if none is named.
        #[arg(long, value_name = "NAME")]
        work: Vec<String>,
    },
    /// One of the processes that the benchmark of the hooks measures.
    #[command(hide = true)]
    HooksProcess { plan: String },
}

fn main() -> Result<()> {
    let command = Command::parse();
    let mut bars = String::new();
    let rows = match command.benchmark {
        Benchmark::FirstLight { runs } => first_light::measure(runs)?,
        Benchmark::Store(options) => return store::run(&options, command.json.as_deref()),
        Benchmark::Loader { work, subject } => {
            let rows = loader::measure(&work, &subject)?;
            bars = loader::bars::report(&rows);
            rows
        }
        Benchmark::Hooks { work } => {
            let rows = hooks::measure(&work)?;
            bars = hooks::bars::report(&rows);
            rows
        }
        Benchmark::HooksProcess { plan } => return hooks::run_process(&plan),
    };
    row::print(&rows);
    print!("{bars}");
    if let Some(path) = command.json {
        row::write_json(&rows, &path)?;
    }
    Ok(())
}
