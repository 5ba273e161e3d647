//! What has to hold, as ratios within one run.

use crate::bar::Needs::{AtLeast, AtMost};
use crate::bar::{Bar, Figure, Wanted, held_against, median};
use crate::row::Row;

const BARS: &[Wanted] = &[
    faster(
        "small, from image, times as fast as JITLink",
        "small",
        IMAGE,
        "orc-jitlink",
        45.0,
    ),
    faster(
        "small, from object, times as fast as JITLink",
        "small",
        OBJECT,
        "orc-jitlink",
        6.0,
    ),
    faster(
        "large -O2, from image, times as fast as JITLink",
        "large-o2",
        IMAGE,
        "orc-jitlink",
        250.0,
    ),
    faster(
        "large -O2, from image, times as fast as dlopen",
        "large-o2",
        IMAGE,
        "dlopen",
        8.0,
    ),
    // The same for loads right after others' work.
    faster(
        "large -O2, from image, first load, times as fast as JITLink",
        "large-o2-first",
        IMAGE,
        "orc-jitlink",
        250.0,
    ),
    faster(
        "large -O2, from image, first load, times as fast as dlopen",
        "large-o2-first",
        IMAGE,
        "dlopen",
        8.0,
    ),
    faster(
        "large -O2, from object, times as fast as JITLink",
        "large-o2",
        OBJECT,
        "orc-jitlink",
        10.0,
    ),
    faster(
        "large -O0, from object, times as fast as JITLink",
        "large-o0",
        OBJECT,
        "orc-jitlink",
        25.0,
    ),
    faster(
        "2,000 COMDAT groups, times as fast as LLVM 22",
        "comdat-chain",
        OBJECT,
        "orc-jitlink",
        1.0,
    ),
    faster(
        "2,000 COMDAT groups, times as fast as LLVM 19",
        "comdat-chain",
        OBJECT,
        "orc-jitlink-19",
        1.0,
    ),
    // Linear, with a quarter for caches: four and eight times as many links.
    longer(
        "2,000 COMDAT groups against 500",
        "comdat-chain",
        "comdat-chain-500",
        5.0,
    ),
    longer(
        "4,000 COMDAT groups against 500",
        "comdat-chain-4000",
        "comdat-chain-500",
        10.0,
    ),
    Wanted {
        name: "a later throw with 30,000 images against 10",
        of: figure("later throw, 30000 images", IMAGE, median),
        by: Some(figure("later throw, 10 images", IMAGE, median)),
        needs: AtMost(2.0),
    },
    Wanted {
        name: "first throw after a load, 30,000 images, 99%",
        of: figure("first throw after a load, 30000 images", IMAGE, |row| {
            row.p99_ns
        }),
        by: None,
        needs: AtMost(1_000.0),
    },
    Wanted {
        name: "registering an unwind table, median",
        of: figure("registering an unwind table", IMAGE, median),
        by: None,
        needs: AtMost(0.5),
    },
];

const IMAGE: &str = "rekindle-image";
const OBJECT: &str = "rekindle-object";

const fn figure(work: &'static str, subject: &'static str, of: fn(&Row) -> u64) -> Figure {
    Figure { work, subject, of }
}

const fn faster(
    name: &'static str,
    work: &'static str,
    subject: &'static str,
    peer: &'static str,
    times: f64,
) -> Wanted {
    Wanted {
        name,
        of: figure(work, peer, charged),
        by: Some(figure(work, subject, median)),
        needs: AtLeast(times),
    }
}

const fn longer(name: &'static str, work: &'static str, other: &'static str, times: f64) -> Wanted {
    Wanted {
        name,
        of: figure(work, OBJECT, median),
        by: Some(figure(other, OBJECT, median)),
        needs: AtMost(times),
    }
}

/// What a peer took. On a busy machine long work is kept waiting far more often than short work, so
/// that a peer is charged no more than the CPU time that it used.
fn charged(peer: &Row) -> u64 {
    peer.cpu_ns
        .map_or(peer.median_ns, |cpu| cpu.min(peer.median_ns))
}

/// Every bar with its ratio in `rows`.
pub(crate) fn bars(rows: &[Row]) -> Vec<Bar> {
    held_against(rows, BARS)
}
