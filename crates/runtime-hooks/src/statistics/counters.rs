//! The numbers of one session that evaluations add to, in lanes: see `lanes.rs`.

use super::{Statistics, Way, lock_patiently};
use crate::lanes::{Lanes, add};
use crate::outcome::Outcome;
use crate::timeline::Recording;
use rekindle_cache_core::latency::{BUCKETS, Histogram, bucket};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a session counts.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    lanes: Lanes<Counts>,
    /// Of outcomes that are no hits by the text, whose way is long.
    reasons: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    /// There if somebody asked for it.
    timeline: Option<Arc<Recording>>,
}

/// What the threads of one lane have counted.
#[derive(Debug)]
struct Counts {
    hits: AtomicU64,
    second_hits: AtomicU64,
    shared_hits: AtomicU64,
    misses: AtomicU64,
    bypasses: AtomicU64,
    rejected: AtomicU64,
    verified: AtomicU64,
    wrong: AtomicU64,
    better_hits: AtomicU64,
    improved: AtomicU64,
    not_run: AtomicU64,
    eval_ns: AtomicU64,
    saved_ns: AtomicU64,
    loaded_bytes: AtomicU64,
    redefined: AtomicU64,
    superseded_bytes: AtomicU64,
    latencies: [[AtomicU64; BUCKETS]; Way::ALL.len()],
}

impl Default for Counts {
    fn default() -> Self {
        let zeros = || [const { AtomicU64::new(0) }; BUCKETS];
        Self {
            hits: AtomicU64::default(),
            second_hits: AtomicU64::default(),
            shared_hits: AtomicU64::default(),
            misses: AtomicU64::default(),
            bypasses: AtomicU64::default(),
            rejected: AtomicU64::default(),
            verified: AtomicU64::default(),
            wrong: AtomicU64::default(),
            better_hits: AtomicU64::default(),
            improved: AtomicU64::default(),
            not_run: AtomicU64::default(),
            eval_ns: AtomicU64::default(),
            saved_ns: AtomicU64::default(),
            loaded_bytes: AtomicU64::default(),
            redefined: AtomicU64::default(),
            superseded_bytes: AtomicU64::default(),
            latencies: [zeros(), zeros(), zeros()],
        }
    }
}

impl Counters {
    /// Nothing counted yet.
    pub(super) fn new(timeline: Option<Arc<Recording>>) -> Self {
        Self {
            timeline,
            ..Self::default()
        }
    }

    /// The course of the evaluations, if somebody asked for it.
    pub(super) fn timeline(&self) -> Option<&Recording> {
        self.timeline.as_deref()
    }

    pub(crate) fn count(&self, outcome: &Outcome) {
        let mine = self.lanes.mine();
        let counter = match outcome {
            Outcome::Hit => &mine.hits,
            Outcome::SecondHit(_) => {
                add(&mine.second_hits, 1);
                &mine.hits
            }
            Outcome::Miss(_) => &mine.misses,
            Outcome::Bypass(_) => &mine.bypasses,
            Outcome::Rejected(_) => &mine.rejected,
        };
        add(counter, 1);
        if let Some(reason) = outcome.reason() {
            let what = match outcome {
                Outcome::SecondHit(_) => "second hit",
                other => other.name(),
            };
            if let Some(mut reasons) = lock_patiently(&self.reasons) {
                *reasons.entry((what, reason)).or_default() += 1;
            }
        }
    }

    /// Counts a hit that was compared.
    pub(crate) fn verified(&self, is_right: bool) {
        let mine = self.lanes.mine();
        add(&mine.wrong, u64::from(!is_right));
        mine.verified.fetch_add(1, Ordering::Release);
    }

    /// Counts a hit on better code.
    pub(crate) fn better(&self) {
        add(&self.lanes.mine().better_hits, 1);
    }

    /// Counts better code that was made.
    pub(crate) fn improved(&self) {
        self.lanes.mine().improved.fetch_add(1, Ordering::Release);
    }

    /// Counts a definition that was put off and cannot run any more.
    pub(crate) fn not_run(&self) {
        add(&self.lanes.mine().not_run, 1);
    }

    pub(crate) fn saved(&self, nanoseconds: u64) {
        add(&self.lanes.mine().saved_ns, nanoseconds);
    }

    /// A hit whose code is shared.
    pub(crate) fn shared(&self) {
        add(&self.lanes.mine().shared_hits, 1);
    }

    pub(crate) fn loaded(&self, bytes: usize) {
        add(&self.lanes.mine().loaded_bytes, bytes as u64);
    }

    /// Counts code whose definition has given way to another.
    pub(crate) fn superseded(&self, bytes: u64) {
        let mine = self.lanes.mine();
        add(&mine.redefined, 1);
        add(&mine.superseded_bytes, bytes);
    }

    /// Counts the time of an evaluation, which was of this sort if anything came of it.
    pub(super) fn took(&self, nanoseconds: u64, way: Option<Way>) {
        let mine = self.lanes.mine();
        add(&mine.eval_ns, nanoseconds);
        if let Some(way) = way {
            add(&mine.latencies[way as usize][bucket(nanoseconds)], 1);
        }
    }

    /// The sums of all lanes.
    pub(crate) fn read(&self) -> Statistics {
        let mut sums = Statistics::default();
        if let Some(reasons) = lock_patiently(&self.reasons) {
            for ((what, reason), count) in &*reasons {
                sums.reasons.insert(format!("{what}: {reason}"), *count);
            }
        }
        for counts in self.lanes.all() {
            sums.add(&counts.read());
        }
        sums
    }
}

impl Counts {
    fn read(&self) -> Statistics {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (hits, misses) = (get(&self.hits), get(&self.misses));
        let (bypasses, rejected) = (get(&self.bypasses), get(&self.rejected));
        let mut latencies: BTreeMap<&'static str, Histogram> = BTreeMap::new();
        for ((_, name), counts) in Way::ALL.iter().zip(&self.latencies) {
            for (bucket, count) in counts.iter().enumerate() {
                let count = get(count);
                if count > 0 {
                    latencies.entry(name).or_default().add(bucket, count);
                }
            }
        }
        Statistics {
            definitions: hits + misses + bypasses + rejected,
            hits,
            second_hits: get(&self.second_hits),
            shared_hits: get(&self.shared_hits),
            misses,
            bypasses,
            rejected,
            verified: self.verified.load(Ordering::Acquire),
            wrong: get(&self.wrong),
            better_hits: get(&self.better_hits),
            improved: self.improved.load(Ordering::Acquire),
            not_run: get(&self.not_run),
            eval_time: Duration::from_nanos(get(&self.eval_ns)),
            saved: Duration::from_nanos(get(&self.saved_ns)),
            loaded_bytes: get(&self.loaded_bytes),
            redefined: get(&self.redefined),
            superseded_bytes: get(&self.superseded_bytes),
            reasons: BTreeMap::new(),
            latencies,
        }
    }
}
