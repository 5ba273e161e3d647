//! Rows of results, and how they are shown.

use anyhow::{Context, Result};
use serde::Serialize;
use std::path::Path;

/// One figure: what was done, by whom, and how long it took.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) work: String,
    pub(crate) subject: &'static str,
    pub(crate) median_ns: u64,
    pub(crate) p95_ns: u64,
    /// Samples.
    pub(crate) n: usize,
}

impl Row {
    /// The row of `samples`, in nanoseconds; `None` without any.
    pub(crate) fn new(work: String, subject: &'static str, mut samples: Vec<u64>) -> Option<Self> {
        samples.sort_unstable();
        let last = samples.len().checked_sub(1)?;
        Some(Self {
            work,
            subject,
            median_ns: samples[last / 2],
            p95_ns: samples[last * 95 / 100],
            n: samples.len(),
        })
    }
}

/// Prints the rows as a table.
pub(crate) fn print(rows: &[Row]) {
    println!(
        "{:<34} {:<16} {:>12} {:>12} {:>5}",
        "work", "subject", "median us", "p95 us", "n"
    );
    for row in rows {
        println!(
            "{:<34} {:<16} {:>12.2} {:>12.2} {:>5}",
            row.work,
            row.subject,
            row.median_ns as f64 / 1e3,
            row.p95_ns as f64 / 1e3,
            row.n
        );
    }
}

/// Writes the rows as a JSON array.
pub(crate) fn write_json(rows: &[Row], path: &Path) -> Result<()> {
    let json = serde_json::to_string_pretty(rows)?;
    std::fs::write(path, json + "\n").with_context(|| format!("cannot write {}", path.display()))
}
