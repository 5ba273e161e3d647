//! The store beside four ways of keeping the same records: a file each, `cacache`, LMDB and SQLite.
//!
//! All subjects keep the same payloads under the same keys, and check a payload's checksum on a copy
//! of it in each look-up. The peers keep nothing else; a record of Rekindle's has metadata as well,
//! which is checked and validated in each look-up too. Subjects take turns within each round, so that
//! whatever else the machine does meets all of them.
//!
//! Before each timed turn at looking up, a subject makes eight times as many look-ups untimed. Otherwise what
//! is measured is how much of the processor's caches the subject before it has taken, which the order
//! decides. One time as many are too few: a last-level cache may keep only what was used again. On the
//! machine where this was tried, a look-up among 10,000 records took 0.46 us after the others' turns, 0.31
//! after as many untimed ones, 0.28 after four times and 0.24 after eight times as many, and 0.23 alone.

mod cacache;
mod files;
mod lmdb;
mod plan;
mod records;
mod rekindle;
mod report;
mod sqlite;
mod subject;
mod timing;

use crate::{bar, row};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Work {
    /// Opening a store of 1,000,000 records.
    Open,
    /// Looking up what is there and what is not, in memory and cold.
    Get,
    /// Putting.
    Put,
    /// Putting 1,000 records and having them on the disk.
    Flush,
    /// Removing half of the records.
    Prune,
}

/// How much is measured.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Leave out the stores of 1,000,000 records, which take minutes to make, and pruning.
    #[arg(long)]
    quick: bool,
    /// Measure these subjects only; all of them unless given.
    #[arg(long, value_name = "SUBJECT", value_delimiter = ',')]
    only: Vec<String>,
    /// Give 1,000,000 records also to the subjects that make a file of each. To make and remove so many
    /// files takes much longer than all the rest.
    #[arg(long)]
    million_files: bool,
    /// Do these works only; all of them unless given. Those on stores of 1,000,000 records are left out
    /// by `--quick`.
    #[arg(long, value_name = "WORK", value_delimiter = ',')]
    work: Vec<Work>,
    /// Rounds in which the subjects take turns.
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// Where the stores are made, and removed from at the end; a folder of the system's for temporary
    /// files may be in memory, so it is not used.
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
}

impl Options {
    fn wants(&self, work: Work) -> bool {
        self.work.is_empty() || self.work.contains(&work)
    }
}

/// Measures, prints a table, and writes the rows to `json`.
pub(crate) fn run(options: &Options, json: Option<&Path>) -> Result<()> {
    let scratch = match &options.scratch {
        Some(scratch) => scratch.clone(),
        None => Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("the benchmarks are a folder of the repository")?
            .join("target/bench/store"),
    };
    std::fs::create_dir_all(&scratch)
        .with_context(|| format!("cannot make {}", scratch.display()))?;
    let folder = tempfile::Builder::new()
        .prefix("run-")
        .tempdir_in(&scratch)?;
    let rows = plan::measure(options, folder.path())?;
    report::print(&rows);
    let bars = report::bars(&rows);
    print!("{}", bar::text(&bars));
    if let Some(json) = json {
        row::write_json(&rows, &bars, json)?;
    }
    folder.close().context("cannot remove what was measured")
}
