//! The rows, their table, and the bars that they have to clear.

use super::plan::{LOOK_UPS, WARM_UP};
use anyhow::{Context as _, Result};
use serde::Serialize;
use std::path::Path;

/// One figure: what was done, by whom, on how many records, and how long it took.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Row {
    pub(super) work: &'static str,
    pub(super) subject: &'static str,
    /// Records that were in the store before.
    pub(super) records: usize,
    /// `resident`, or `cold`: the kernel has just forgotten the contents of all files.
    pub(super) state: &'static str,
    pub(super) median_ns: f64,
    pub(super) p95_ns: f64,
    pub(super) mean_ns: f64,
    /// Samples. One of `get` and `get-missing` is the mean of several look-ups, see `timing::BATCH`.
    pub(super) n: usize,
    /// Heap that opening has taken, one look-up included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) heap_bytes: Option<u64>,
    /// Index that is mapped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) index_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) disk_bytes: Option<u64>,
}

impl Row {
    /// The row of `samples`, in nanoseconds; `None` without any.
    pub(super) fn new(
        work: &'static str,
        subject: &'static str,
        records: usize,
        state: &'static str,
        mut samples: Vec<f64>,
    ) -> Option<Self> {
        samples.sort_unstable_by(f64::total_cmp);
        let last = samples.len().checked_sub(1)?;
        Some(Self {
            work,
            subject,
            records,
            state,
            median_ns: samples[last / 2],
            p95_ns: samples[last * 95 / 100],
            mean_ns: samples.iter().sum::<f64>() / samples.len() as f64,
            n: samples.len(),
            heap_bytes: None,
            index_bytes: None,
            disk_bytes: None,
        })
    }

    fn is_same_work(&self, other: &Self) -> bool {
        (self.work, self.records, self.state) == (other.work, other.records, other.state)
    }
}

/// What Rekindle's median must not exceed, in nanoseconds: work, records, bar.
const BARS: &[(&str, usize, f64)] = &[
    ("open-1m", 1_000_000, 1e6),
    ("get", 10_000, 300.0),
    ("get", 1_000_000, 1_000.0),
    ("get-missing", 10_000, 100.0),
    ("put", 10_000, 5_000.0),
    ("put", 1_000_000, 5_000.0),
];

/// How many times as fast as a file each `flush-1000` has to be.
const FLUSH_BAR: f64 = 10.0;

/// How much longer a put may take in a store with a hundred times the records: nothing on its way may
/// depend on their number, but more of what it touches is in no processor's cache.
const GROWTH_BAR: f64 = 1.5;

/// Bytes of mapped index that a record may have, and of heap.
const INDEX_BAR: f64 = 24.0;
const HEAP_BAR: f64 = 1.0;

/// Prints the rows, with how many times as long as Rekindle each peer takes, and then the bars.
pub(super) fn print(rows: &[Row]) {
    println!(
        "Before each turn of {LOOK_UPS} resident look-ups, every subject makes {WARM_UP} untimed."
    );
    println!(
        "{:<16} {:>9} {:<9} {:<15} {:>12} {:>12} {:>12} {:>7} {:>11}",
        "work", "records", "state", "subject", "median us", "p95 us", "mean us", "n", "x rekindle"
    );
    let mut before: Option<&Row> = None;
    for row in rows {
        if before.is_some_and(|before| !before.is_same_work(row)) {
            println!();
        }
        before = Some(row);
        let ratio = rekindle(rows, row).map(|ours| row.median_ns / ours.median_ns);
        println!(
            "{:<16} {:>9} {:<9} {:<15} {:>12.3} {:>12.3} {:>12.3} {:>7} {:>11}",
            row.work,
            row.records,
            row.state,
            row.subject,
            row.median_ns / 1e3,
            row.p95_ns / 1e3,
            row.mean_ns / 1e3,
            row.n,
            ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
        );
    }
    print_bars(rows);
}

fn print_bars(rows: &[Row]) {
    println!("\n{:<34} {:>14} {:>14}", "bar", "is", "must be");
    let ours = |work: &str, records: usize| {
        rows.iter().find(|row| {
            row.work == work
                && row.records == records
                && row.state == "resident"
                && row.subject == "rekindle"
        })
    };
    for (work, records, bar) in BARS {
        if let Some(row) = ours(work, *records) {
            let is = format!("{:.3} us", row.median_ns / 1e3);
            let must = format!("<= {:.1} us", bar / 1e3);
            print_bar(
                &format!("{work}, {records} records"),
                &is,
                &must,
                row.median_ns <= *bar,
            );
        }
    }
    if let Some(row) = ours("open-1m", 1_000_000) {
        for (what, bytes, bar) in [
            ("mapped index per record", row.index_bytes, INDEX_BAR),
            ("heap per record", row.heap_bytes, HEAP_BAR),
        ] {
            let Some(bytes) = bytes else { continue };
            let each = bytes as f64 / row.records as f64;
            let must = format!("<= {bar} B");
            print_bar(what, &format!("{each:.2} B"), &must, each <= bar);
        }
    }
    if let (Some(few), Some(many)) = (ours("put", 10_000), ours("put", 1_000_000)) {
        let ratio = many.median_ns / few.median_ns;
        let must = format!("<= {GROWTH_BAR}x");
        let is = format!("{ratio:.2}x");
        print_bar(
            "put, of 1,000,000 over 10,000",
            &is,
            &must,
            ratio <= GROWTH_BAR,
        );
    }
    let files = rows
        .iter()
        .find(|row| row.work == "flush-1000" && row.subject == "files");
    if let (Some(row), Some(files)) = (ours("flush-1000", 1_000), files) {
        let ratio = files.median_ns / row.median_ns;
        let is = format!("{ratio:.1}x files");
        let must = format!(">= {FLUSH_BAR}x");
        print_bar("flush-1000", &is, &must, ratio >= FLUSH_BAR);
    }
}

fn print_bar(what: &str, is: &str, must: &str, cleared: bool) {
    let verdict = if cleared { "cleared" } else { "MISSED" };
    println!("{what:<34} {is:>14} {must:>14}  {verdict}");
}

/// Rekindle's row for the same work.
fn rekindle<'a>(rows: &'a [Row], row: &Row) -> Option<&'a Row> {
    rows.iter()
        .find(|other| other.subject == "rekindle" && other.is_same_work(row))
}

/// Writes the rows as a JSON array.
pub(super) fn write_json(rows: &[Row], path: &Path) -> Result<()> {
    let json = serde_json::to_string_pretty(rows)?;
    std::fs::write(path, json + "\n").with_context(|| format!("cannot write {}", path.display()))
}
