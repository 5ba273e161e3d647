//! What has to hold: figures, and ratios within one run.

use super::SUBJECT;
use crate::bar::Needs::{AtLeast, AtMost};
use crate::bar::{Bar, Figure, Needs, Wanted, held_against, median};
use crate::row::Row;

const BARS: &[Wanted] = &[
    limit("warm, median", figure("warm", median), 3.0),
    limit("warm, 99%", figure("warm", |row| row.p99_ns), 6.0),
    limit(
        "warm, all 10,000",
        figure("warm", |row| row.total_ns),
        40_000.0,
    ),
    limit("evaluated again, median", figure("second", median), 0.3),
    ratio(
        "100,000 definitions against 100",
        [figure("warm-100000", median), figure("warm-100", median)],
        AtMost(2.5),
    ),
    ratio(
        "memory by Pss against the image, mapped files included",
        [figure("warm", bytes), figure("direct", bytes)],
        AtMost(1.5),
    ),
    ratio(
        "memory by Pss against the image, mapped files left out",
        [figure("warm", own_bytes), figure("direct", bytes)],
        AtMost(1.5),
    ),
    ratio(
        "CPU time of the evaluating thread, cold against without a cache",
        [figure("cold", cpu), figure("direct", cpu)],
        AtMost(1.1),
    ),
    ratio(
        "wall time, cold against without a cache",
        [figure("cold", median), figure("direct", median)],
        AtMost(1.1),
    ),
    ratio(
        "CPU time of the evaluating thread, cold against the JIT",
        [figure("cold", cpu), figure("off", cpu)],
        AtMost(1.1),
    ),
    ratio(
        "throughput of two threads against one",
        [figure("one-thread", median), figure("two-threads", median)],
        AtLeast(1.7),
    ),
];

const fn figure(work: &'static str, of: fn(&Row) -> u64) -> Figure {
    Figure {
        work,
        subject: SUBJECT,
        of,
    }
}

/// At most so many microseconds.
const fn limit(name: &'static str, of: Figure, micros: f64) -> Wanted {
    Wanted {
        name,
        of,
        by: None,
        needs: AtMost(micros),
    }
}

const fn ratio(name: &'static str, [of, by]: [Figure; 2], needs: Needs) -> Wanted {
    Wanted {
        name,
        of,
        by: Some(by),
        needs,
    }
}

fn cpu(row: &Row) -> u64 {
    row.cpu_ns.unwrap_or_default()
}

fn bytes(row: &Row) -> u64 {
    row.bytes_per_entry.unwrap_or_default()
}

fn own_bytes(row: &Row) -> u64 {
    bytes(row).saturating_sub(row.file_bytes_per_entry.unwrap_or_default())
}

/// Every bar with its figure in `rows`.
pub(crate) fn bars(rows: &[Row]) -> Vec<Bar> {
    held_against(rows, BARS)
}
