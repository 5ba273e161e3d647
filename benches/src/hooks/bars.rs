//! What has to hold: figures, and ratios within one run.

use crate::row::Row;
use std::fmt::Write;

/// A figure of a row.
type Figure = fn(&Row) -> u64;

/// Figures in nanoseconds that must not be exceeded: work, what the figure is called, the bar.
const LIMITS: &[(&str, &str, Figure, u64)] = &[
    ("warm", "median", median, 3_000),
    ("warm", "99%", |row| row.p99_ns, 6_000),
    ("warm", "all of a process", |row| row.total_ns, 40_000_000),
    ("second", "median", median, 300),
];

/// Ratios: of which work and figure to which, whether that must be at most or at least, the bar.
const RATIOS: &[Ratio] = &[
    Ratio {
        name: "100,000 definitions against 100",
        of: ("warm-100000", median),
        to: ("warm-100", median),
        needs: Needs::AtMost(2.5),
    },
    Ratio {
        name: "memory by Pss against the image, mapped files included",
        of: ("warm", bytes),
        to: ("direct", bytes),
        needs: Needs::AtMost(1.5),
    },
    Ratio {
        name: "memory by Pss against the image, mapped files left out",
        of: ("warm", own_bytes),
        to: ("direct", bytes),
        needs: Needs::AtMost(1.5),
    },
    Ratio {
        name: "CPU time of the evaluating thread, cold against without a cache",
        of: ("cold", cpu),
        to: ("direct", cpu),
        needs: Needs::AtMost(1.1),
    },
    Ratio {
        name: "wall time, cold against without a cache",
        of: ("cold", median),
        to: ("direct", median),
        needs: Needs::AtMost(1.1),
    },
    Ratio {
        name: "CPU time of the evaluating thread, cold against the JIT",
        of: ("cold", cpu),
        to: ("off", cpu),
        needs: Needs::AtMost(1.1),
    },
    Ratio {
        name: "throughput of two threads against one",
        of: ("one-thread", median),
        to: ("two-threads", median),
        needs: Needs::AtLeast(1.7),
    },
];

struct Ratio {
    name: &'static str,
    of: (&'static str, Figure),
    to: (&'static str, Figure),
    needs: Needs,
}

enum Needs {
    AtMost(f64),
    AtLeast(f64),
}

fn median(row: &Row) -> u64 {
    row.median_ns
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

/// Every bar with its figure in `rows`, and whether it holds.
pub(crate) fn report(rows: &[Row]) -> String {
    let mut text = String::from("\n");
    let find = |work: &str| rows.iter().find(|row| row.work == work);
    for (work, name, figure, limit) in LIMITS {
        let Some(row) = find(work) else {
            let _ = writeln!(text, "not measured  {work}, {name}");
            continue;
        };
        let found = figure(row);
        let verdict = verdict(found <= *limit);
        let (found, limit) = (found as f64 / 1e3, *limit as f64 / 1e3);
        let _ = writeln!(
            text,
            "{verdict:<13} {work}, {name}: {found:.2} us (at most {limit} us)"
        );
    }
    for ratio in RATIOS {
        let name = ratio.name;
        let (Some(of), Some(to)) = (find(ratio.of.0), find(ratio.to.0)) else {
            let _ = writeln!(text, "not measured  {name}");
            continue;
        };
        let (of, to) = ((ratio.of.1)(of) as f64, (ratio.to.1)(to) as f64);
        let found = of / to;
        let (holds, needed) = match ratio.needs {
            Needs::AtMost(times) => (found <= times, format!("at most {times}")),
            Needs::AtLeast(times) => (found >= times, format!("at least {times}")),
        };
        let verdict = verdict(holds);
        let _ = writeln!(text, "{verdict:<13} {name}: {found:.2} ({needed})");
    }
    text
}

fn verdict(holds: bool) -> &'static str {
    match holds {
        true => "holds",
        false => "DOES NOT HOLD",
    }
}
