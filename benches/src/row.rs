//! Rows of results, and how they are shown.

use crate::bar::Bar;
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
    pub(crate) p99_ns: u64,
    /// Samples.
    pub(crate) n: usize,
    /// All samples together; where several processes do the same, those of one, by the median.
    pub(crate) total_ns: u64,
    /// The least and the greatest of the processes' totals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) spread_ns: Option<(u64, u64)>,
    /// What comes before the first sample of a process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) setup_ns: Option<u64>,
    /// CPU time of all threads of the process, per sample.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_ns: Option<u64>,
    /// Memory that one entry takes up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes_per_entry: Option<u64>,
    /// How much of it is mapped from files: clean, and cached by the kernel for all processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file_bytes_per_entry: Option<u64>,
    /// Why there is no figure, or one of a part only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) refused: Option<String>,
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
            p99_ns: samples[last * 99 / 100],
            n: samples.len(),
            total_ns: samples.iter().sum(),
            spread_ns: None,
            setup_ns: None,
            cpu_ns: None,
            bytes_per_entry: None,
            file_bytes_per_entry: None,
            refused: None,
        })
    }

    /// The row of a subject that cannot do the work.
    pub(crate) fn refused(work: String, subject: &'static str, reason: String) -> Self {
        Self {
            work,
            subject,
            median_ns: 0,
            p95_ns: 0,
            p99_ns: 0,
            n: 0,
            total_ns: 0,
            spread_ns: None,
            setup_ns: None,
            cpu_ns: None,
            bytes_per_entry: None,
            file_bytes_per_entry: None,
            refused: Some(reason),
        }
    }
}

/// Prints the rows as a table.
pub(crate) fn print(rows: &[Row]) {
    println!(
        "{:<34} {:<22} {:>11} {:>11} {:>11} {:>9} {:>9} {:>6}",
        "work", "subject", "median us", "p95 us", "p99 us", "CPU us", "bytes", "n"
    );
    let micro = |ns: u64| format!("{:.2}", ns as f64 / 1e3);
    for row in rows {
        if let Some(reason) = &row.refused {
            println!("{:<34} {:<22} refused: {reason}", row.work, row.subject);
            if row.n == 0 {
                continue;
            }
        }
        println!(
            "{:<34} {:<22} {:>11} {:>11} {:>11} {:>9} {:>9} {:>6}",
            row.work,
            row.subject,
            micro(row.median_ns),
            micro(row.p95_ns),
            micro(row.p99_ns),
            row.cpu_ns.map(micro).unwrap_or_default(),
            row.bytes_per_entry.map_or(String::new(), |n| n.to_string()),
            row.n
        );
    }
}

/// Writes rows and bars as a JSON array.
pub(crate) fn write_json<R: Serialize>(rows: &[R], bars: &[Bar], path: &Path) -> Result<()> {
    let mut all = Vec::with_capacity(rows.len() + bars.len());
    for row in rows {
        all.push(serde_json::to_value(row)?);
    }
    for bar in bars {
        all.push(serde_json::to_value(bar)?);
    }
    let json = serde_json::to_string_pretty(&all)?;
    std::fs::write(path, json + "\n").with_context(|| format!("cannot write {}", path.display()))
}
