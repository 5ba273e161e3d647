//! Counts of what a session did.

use crate::outcome::Outcome;
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What came of the definitions that a session evaluated.
///
/// `definitions` = `hits` + `misses` + `bypasses` + `rejected`, always.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Definitions evaluated.
    pub definitions: u64,
    /// Loaded from the cache.
    pub hits: u64,
    /// Those of them that were found by their analysed form and not by their text.
    pub second_hits: u64,
    /// Those of them whose code was in the process already, from an equal definition.
    pub shared_hits: u64,
    /// Not found, compiled.
    pub misses: u64,
    /// Compiled, and not to be kept.
    pub bypasses: u64,
    /// Found, refused, and compiled.
    pub rejected: u64,
    /// Hits that were compiled again and compared, so far.
    pub verified: u64,
    /// Those of them that were wrong.
    pub wrong: u64,
    /// Time spent evaluating definitions: without the factories' own, nested evaluations counted once.
    pub eval_time: Duration,
    /// What compiling the hits took when they were compiled.
    pub saved: Duration,
    /// Bytes of code and data loaded.
    pub loaded_bytes: u64,
}

impl Statistics {
    /// Adds those of another session.
    pub fn add(&mut self, other: &Self) {
        self.definitions += other.definitions;
        self.hits += other.hits;
        self.second_hits += other.second_hits;
        self.misses += other.misses;
        self.bypasses += other.bypasses;
        self.rejected += other.rejected;
        self.eval_time += other.eval_time;
        self.saved += other.saved;
        self.loaded_bytes += other.loaded_bytes;
    }

    /// Definitions that were compiled because nothing usable was kept of them.
    pub fn compiled(&self) -> u64 {
        self.misses + self.rejected
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    hits: AtomicU64,
    second_hits: AtomicU64,
    shared_hits: AtomicU64,
    misses: AtomicU64,
    bypasses: AtomicU64,
    rejected: AtomicU64,
    verified: AtomicU64,
    wrong: AtomicU64,
    eval_ns: AtomicU64,
    saved_ns: AtomicU64,
    loaded_bytes: AtomicU64,
}

impl Counters {
    pub(crate) fn count(&self, outcome: &Outcome) {
        let counter = match outcome {
            Outcome::Hit => &self.hits,
            Outcome::SecondHit(_) => {
                self.second_hits.fetch_add(1, Ordering::Relaxed);
                &self.hits
            }
            Outcome::Miss(_) => &self.misses,
            Outcome::Bypass(_) => &self.bypasses,
            Outcome::Rejected(_) => &self.rejected,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a hit that was compared.
    pub(crate) fn verified(&self, is_right: bool) {
        self.wrong
            .fetch_add(u64::from(!is_right), Ordering::Relaxed);
        self.verified.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn saved(&self, nanoseconds: u64) {
        self.saved_ns.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// A hit whose code is shared.
    pub(crate) fn shared(&self) {
        self.shared_hits.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn loaded(&self, bytes: usize) {
        self.loaded_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Statistics {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (hits, misses) = (get(&self.hits), get(&self.misses));
        let (bypasses, rejected) = (get(&self.bypasses), get(&self.rejected));
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
            eval_time: Duration::from_nanos(get(&self.eval_ns)),
            saved: Duration::from_nanos(get(&self.saved_ns)),
            loaded_bytes: get(&self.loaded_bytes),
        }
    }
}

thread_local! {
    /// Time that evaluations inside the one under way on this thread have taken so far.
    static NESTED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// Counts the time from its making to its end, less that of stopwatches started in between on the same
/// thread, so that an evaluation inside an evaluation is counted once.
pub(crate) struct Stopwatch<'a> {
    counters: &'a Counters,
    start: Instant,
    outer: Duration,
}

impl<'a> Stopwatch<'a> {
    pub(crate) fn start(counters: &'a Counters) -> Self {
        Self {
            counters,
            start: Instant::now(),
            outer: NESTED.replace(Duration::ZERO),
        }
    }
}

impl Drop for Stopwatch<'_> {
    fn drop(&mut self) {
        let elapsed = self.start.elapsed();
        let own = elapsed.saturating_sub(NESTED.get());
        NESTED.set(self.outer + elapsed);
        let nanoseconds = u64::try_from(own.as_nanos()).unwrap_or(u64::MAX);
        self.counters
            .eval_ns
            .fetch_add(nanoseconds, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_time_is_counted_once() {
        let counters = Counters::default();
        let began = Instant::now();
        {
            let _outer = Stopwatch::start(&counters);
            for _ in 0..3 {
                let _inner = Stopwatch::start(&counters);
                std::hint::black_box((0..20_000u64).map(std::hint::black_box).sum::<u64>());
            }
        }
        let whole = began.elapsed();
        assert!(counters.read().eval_time <= whole);
        assert!(counters.read().eval_time > Duration::ZERO);
    }

    #[test]
    fn outcomes_add_up() {
        let counters = Counters::default();
        counters.count(&Outcome::Hit);
        counters.count(&Outcome::Miss(crate::MissReason::New));
        counters.count(&Outcome::Bypass(crate::BypassReason::Off));
        let statistics = counters.read();
        assert_eq!(statistics.definitions, 3);
        assert_eq!((statistics.hits, statistics.compiled()), (1, 1));
    }
}
