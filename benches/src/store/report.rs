//! The rows, their table, and the bars that they have to clear.

use super::plan::{LOOK_UPS, WARM_UP};
use crate::bar::Bar;
use crate::bar::Needs::{AtLeast, AtMost};
use serde::Serialize;

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

/// Prints the rows, with how many times as long as Rekindle each peer takes.
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
}

/// Every bar with its figure in `rows`.
pub(super) fn bars(rows: &[Row]) -> Vec<Bar> {
    let ours = |work: &str, records: usize| {
        rows.iter().find(|row| {
            row.work == work
                && row.records == records
                && row.state == "resident"
                && row.subject == "rekindle"
        })
    };
    let mut bars = Vec::new();
    for (work, records, bar) in BARS {
        let found = ours(work, *records).map(|row| row.median_ns / 1e3);
        let name = format!("{work}, {records} records, median");
        bars.push(Bar::new(name, "us", found, AtMost(bar / 1e3)));
    }
    let open = ours("open-1m", 1_000_000);
    let each = |bytes: fn(&Row) -> Option<u64>| {
        open.and_then(|row| Some(bytes(row)? as f64 / row.records as f64))
    };
    for (what, found, bar) in [
        (
            "mapped index of a record",
            each(|row| row.index_bytes),
            INDEX_BAR,
        ),
        ("heap of a record", each(|row| row.heap_bytes), HEAP_BAR),
    ] {
        bars.push(Bar::new(what.to_owned(), "B", found, AtMost(bar)));
    }
    let ratio = |of: Option<&Row>, by: Option<&Row>| Some(of?.median_ns / by?.median_ns);
    let found = ratio(ours("put", 1_000_000), ours("put", 10_000));
    let name = "put, of 1,000,000 records against 10,000".to_owned();
    bars.push(Bar::new(name, "x", found, AtMost(GROWTH_BAR)));
    let files = |row: &&Row| row.work == "flush-1000" && row.subject == "files";
    let found = ratio(rows.iter().find(files), ours("flush-1000", 1_000));
    let name = "1,000 records put and flushed, times as fast as files".to_owned();
    bars.push(Bar::new(name, "x", found, AtLeast(FLUSH_BAR)));
    bars
}

/// Rekindle's row for the same work.
fn rekindle<'a>(rows: &'a [Row], row: &Row) -> Option<&'a Row> {
    rows.iter()
        .find(|other| other.subject == "rekindle" && other.is_same_work(row))
}
