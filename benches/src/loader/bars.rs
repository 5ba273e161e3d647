//! What has to hold, as ratios within one run.

use crate::row::Row;
use std::fmt::Write;

/// A subject's work, and the row that it is held against.
struct Bar {
    work: &'static str,
    subject: &'static str,
    /// Work and subject of the row that it is held against.
    against: (&'static str, &'static str),
    needs: Needs,
}

enum Needs {
    /// So many times faster than the other.
    Faster(f64),
    /// At most so many times as long as the other.
    AtMost(f64),
}

use Needs::{AtMost, Faster};

const BARS: &[Bar] = &[
    faster("small", "rekindle-image", "orc-jitlink", 45.0),
    faster("small", "rekindle-object", "orc-jitlink", 6.0),
    faster("large-o2", "rekindle-image", "orc-jitlink", 250.0),
    faster("large-o2", "rekindle-image", "dlopen", 8.0),
    // The same for loads right after others' work.
    faster("large-o2-first", "rekindle-image", "orc-jitlink", 250.0),
    faster("large-o2-first", "rekindle-image", "dlopen", 8.0),
    faster("large-o2", "rekindle-object", "orc-jitlink", 10.0),
    faster("large-o0", "rekindle-object", "orc-jitlink", 25.0),
    faster("comdat-chain", "rekindle-object", "orc-jitlink", 1.0),
    faster("comdat-chain", "rekindle-object", "orc-jitlink-19", 1.0),
    // Linear, with a quarter for caches: four and eight times as many links.
    longer("comdat-chain", "comdat-chain-500", 5.0),
    longer("comdat-chain-4000", "comdat-chain-500", 10.0),
    Bar {
        work: "later throw, 30000 images",
        subject: "rekindle-image",
        against: ("later throw, 10 images", "rekindle-image"),
        needs: AtMost(2.0),
    },
];

/// Figures with a bar in nanoseconds: the work, the bar, and which figure.
const LIMITS: &[(&str, u64, &str, Figure)] = &[
    (
        "first throw after a load, 30000 images",
        1_000_000,
        "p99",
        |row| row.p99_ns,
    ),
    ("registering an unwind table", 500, "median", |row| {
        row.median_ns
    }),
];

type Figure = fn(&Row) -> u64;

const fn faster(work: &'static str, subject: &'static str, peer: &'static str, times: f64) -> Bar {
    Bar {
        work,
        subject,
        against: (work, peer),
        needs: Faster(times),
    }
}

const fn longer(work: &'static str, other: &'static str, times: f64) -> Bar {
    Bar {
        work,
        subject: "rekindle-object",
        against: (other, "rekindle-object"),
        needs: AtMost(times),
    }
}

/// Every bar with its ratio in `rows`, and whether it holds.
pub(crate) fn report(rows: &[Row]) -> String {
    let mut text = String::from("\n");
    let find = |work: &str, subject: &str| {
        let mut all = rows.iter();
        all.find(|row| row.work == work && row.subject == subject && row.refused.is_none())
    };
    for bar in BARS {
        let (work, subject) = (bar.work, bar.subject);
        let (Some(ours), Some(other)) = (find(work, subject), find(bar.against.0, bar.against.1))
        else {
            let _ = writeln!(text, "not measured  {work}, {subject} / {}", bar.against.1);
            continue;
        };
        let (ratio, needed, holds) = match bar.needs {
            Faster(times) => {
                let ratio = charged(other) as f64 / ours.median_ns as f64;
                (ratio, format!("at least {times}x faster"), ratio >= times)
            }
            AtMost(times) => {
                let ratio = ours.median_ns as f64 / other.median_ns as f64;
                (ratio, format!("at most {times}x as long"), ratio <= times)
            }
        };
        let verdict = verdict(holds);
        let against = match bar.against {
            (same, peer) if same == work => peer,
            (other, _) => other,
        };
        let _ = writeln!(
            text,
            "{verdict:<13} {work}, {subject}: {ratio:.2}x against {against} ({needed})"
        );
    }
    for (work, limit, name, figure) in LIMITS {
        let Some(row) = find(work, "rekindle-image") else {
            let _ = writeln!(text, "not measured  {work}");
            continue;
        };
        let found = figure(row);
        let verdict = verdict(found <= *limit);
        let (found, limit) = (found as f64 / 1e3, *limit as f64 / 1e3);
        let _ = writeln!(
            text,
            "{verdict:<13} {work}: {name} {found:.2} us (at most {limit} us)"
        );
    }
    text
}

/// What a peer took. On a busy machine long work is kept waiting far more often than short work, so
/// that a peer is charged no more than the CPU time that it used.
fn charged(peer: &Row) -> u64 {
    peer.cpu_ns
        .map_or(peer.median_ns, |cpu| cpu.min(peer.median_ns))
}

fn verdict(holds: bool) -> &'static str {
    match holds {
        true => "holds",
        false => "DOES NOT HOLD",
    }
}
