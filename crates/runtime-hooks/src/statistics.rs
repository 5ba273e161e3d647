//! Counts of what sessions did, and how long it took.
//!
//! On the path of a hit these are additions to numbers in memory (`statistics/counters.rs`). What a process has
//! counted is summed up over its sessions now and then, for the sums that stay in the cache folder.

mod counters;

pub(crate) use counters::Counters;

use crate::outcome::Outcome;
use crate::timeline::{Recording, kind_of};
use rekindle_cache_core::latency::Histogram;
use rekindle_cache_core::lifetime::Lifetime;
use rekindle_cache_core::timeline::{Kind, Timeline};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What came of the definitions that a session evaluated.
///
/// `definitions` = `hits` + `misses` + `bypasses` + `rejected`, always.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
    /// Those of them whose code was the better one, looked up and not shared.
    pub better_hits: u64,
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
    /// Definitions that better code was made of, so far.
    pub improved: u64,
    /// Definitions that were put off, and could not run any more when they were to.
    pub not_run: u64,
    /// Time spent evaluating definitions: without the factories' own, nested evaluations counted once.
    pub eval_time: Duration,
    /// What compiling the hits took when they were compiled.
    pub saved: Duration,
    /// Bytes of code and data loaded.
    pub loaded_bytes: u64,
    /// Definitions that took the place of others of the same name.
    pub redefined: u64,
    /// Bytes of code and data that they left behind, which stay loaded.
    pub superseded_bytes: u64,
    /// How often what was the reason that a definition was no hit by its text, as
    /// `miss: behaviour` or `bypass: volatile`: [`Outcome::reason`](crate::Outcome::reason) after the
    /// outcome's name.
    pub reasons: BTreeMap<String, u64>,
    /// How long evaluations took, as `eval_time` counts: `hit`, `second hit` and `compiled`.
    pub latencies: BTreeMap<&'static str, Histogram>,
}

impl Statistics {
    /// Adds those of another session.
    pub fn add(&mut self, other: &Self) {
        for ((_, sum), (_, more)) in self.counts_mut().into_iter().zip(other.counts()) {
            *sum = sum.saturating_add(more);
        }
        self.eval_time = self.eval_time.saturating_add(other.eval_time);
        self.saved = self.saved.saturating_add(other.saved);
        for (reason, count) in &other.reasons {
            *self.reasons.entry(reason.clone()).or_default() += count;
        }
        for (&name, histogram) in &other.latencies {
            self.latencies.entry(name).or_default().add_all(histogram);
        }
    }

    /// What has come since an earlier look.
    fn since(&self, earlier: &Self) -> Self {
        let mut news = self.clone();
        for ((_, count), (_, before)) in news.counts_mut().into_iter().zip(earlier.counts()) {
            *count = count.saturating_sub(before);
        }
        news.eval_time = self.eval_time.saturating_sub(earlier.eval_time);
        news.saved = self.saved.saturating_sub(earlier.saved);
        for (reason, count) in &mut news.reasons {
            let before = earlier.reasons.get(reason).copied();
            *count = count.saturating_sub(before.unwrap_or_default());
        }
        for (name, histogram) in &mut news.latencies {
            if let Some(before) = earlier.latencies.get(name) {
                *histogram = histogram.since(before);
            }
        }
        news
    }

    /// Definitions that were compiled because nothing usable was kept of them.
    pub fn compiled(&self) -> u64 {
        self.misses + self.rejected
    }

    /// The counts by the names that programs know them by; times are not among them.
    pub fn counts(&self) -> [(&'static str, u64); 15] {
        let mut copy = Self {
            reasons: BTreeMap::new(),
            latencies: BTreeMap::new(),
            ..*self
        };
        copy.counts_mut().map(|(name, count)| (name, *count))
    }

    fn counts_mut(&mut self) -> [(&'static str, &mut u64); 15] {
        [
            ("definitions", &mut self.definitions),
            ("hits", &mut self.hits),
            ("second_hits", &mut self.second_hits),
            ("shared_hits", &mut self.shared_hits),
            ("better_hits", &mut self.better_hits),
            ("misses", &mut self.misses),
            ("bypasses", &mut self.bypasses),
            ("rejected", &mut self.rejected),
            ("verified", &mut self.verified),
            ("wrong", &mut self.wrong),
            ("improved", &mut self.improved),
            ("not_run", &mut self.not_run),
            ("loaded_bytes", &mut self.loaded_bytes),
            ("redefined", &mut self.redefined),
            ("superseded_bytes", &mut self.superseded_bytes),
        ]
    }

    /// As a line of the cache's life. A reason is counted as `miss behaviour`.
    fn lifetime(&self, processes: u64) -> Lifetime {
        let mut lifetime = Lifetime {
            since: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .ok()
                .map(|since| since.as_secs()),
            processes,
            ..Lifetime::default()
        };
        let times = [("eval_ns", self.eval_time), ("saved_ns", self.saved)];
        let times = times.map(|(name, time)| (name, nanoseconds(time)));
        for (name, count) in self.counts().into_iter().chain(times) {
            lifetime.counts.insert(name.to_owned(), count);
        }
        for (reason, count) in &self.reasons {
            lifetime.counts.insert(reason.replace(':', ""), *count);
        }
        for (name, histogram) in &self.latencies {
            lifetime
                .latencies
                .insert((*name).to_owned(), histogram.clone());
        }
        lifetime
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What an evaluation was, as far as its time is concerned.
#[derive(Debug, Clone, Copy)]
enum Way {
    Hit,
    SecondHit,
    Compiled,
}

impl Way {
    const ALL: [(Self, &'static str); 3] = [
        (Self::Hit, "hit"),
        (Self::SecondHit, "second hit"),
        (Self::Compiled, "compiled"),
    ];

    fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Hit => Self::Hit,
            Outcome::SecondHit(_) => Self::SecondHit,
            Outcome::Miss(_) | Outcome::Bypass(_) | Outcome::Rejected(_) => Self::Compiled,
        }
    }
}

/// How often a lock is asked for that others hold for some microseconds.
const PATIENCE: u32 = 10_000;

/// Locks `mutex`, unless that takes for ever: a forked child has it from its parent, perhaps with a thread of the
/// parent's holding it, and then nobody lets go of it.
fn lock_patiently<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    for _ in 0..PATIENCE {
        match mutex.try_lock() {
            Ok(locked) => return Some(locked),
            Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => std::thread::yield_now(),
        }
    }
    None
}

/// The sessions of a cache, for what its process leaves in the folder. A forked child that cannot ask for them
/// counts for its sessions alone.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    entries: Mutex<Entries>,
    timeline: Option<Arc<Recording>>,
}

#[derive(Debug, Default)]
struct Entries {
    sessions: Vec<Arc<Counters>>,
    /// Those of sessions that have ended.
    ended: Statistics,
    /// What has been written.
    told: Statistics,
    /// A line of this process was written.
    is_told_of: bool,
}

impl Ledger {
    /// Without sessions; with a timeline if somebody asked for one.
    pub(crate) fn new(with_timeline: bool) -> Self {
        Self {
            entries: Mutex::default(),
            timeline: with_timeline.then(|| Arc::new(Recording::start())),
        }
    }

    /// The course of the evaluations, if somebody asked for it.
    pub(crate) fn timeline(&self) -> Option<&Recording> {
        self.timeline.as_deref()
    }

    /// The course of the evaluations, if it goes on since this was asked last.
    pub(crate) fn new_timeline(&self) -> Option<Timeline> {
        self.timeline()?.news()
    }

    fn entries(&self) -> Option<MutexGuard<'_, Entries>> {
        lock_patiently(&self.entries)
    }

    /// The counters of a new session.
    pub(crate) fn open(&self) -> Arc<Counters> {
        let counters = Arc::new(Counters::new(self.timeline.clone()));
        if let Some(mut entries) = self.entries() {
            entries.close_ended();
            entries.sessions.push(Arc::clone(&counters));
        }
        counters
    }

    /// All that this process has counted.
    pub(crate) fn total(&self) -> Statistics {
        self.entries()
            .map(|mut entries| entries.total())
            .unwrap_or_default()
    }

    /// Begins anew in a process: what was counted before is its parent's.
    pub(crate) fn begin_process(&self) {
        if let Some(mut entries) = self.entries() {
            entries.told = entries.total();
            entries.is_told_of = false;
        }
    }

    /// What is new since this was asked last, if anything is.
    pub(crate) fn news(&self) -> Option<Lifetime> {
        let mut entries = self.entries()?;
        let total = entries.total();
        let news = total.since(&entries.told);
        if news.definitions == 0 && news.improved == 0 {
            return None;
        }
        entries.told = total;
        let is_first = !std::mem::replace(&mut entries.is_told_of, true);
        Some(news.lifetime(u64::from(is_first)))
    }
}

impl Entries {
    fn total(&mut self) -> Statistics {
        self.close_ended();
        let mut total = self.ended.clone();
        for session in &self.sessions {
            total.add(&session.read());
        }
        total
    }

    fn close_ended(&mut self) {
        let ended = &mut self.ended;
        self.sessions.retain(|session| {
            let goes_on = Arc::strong_count(session) > 1;
            if !goes_on {
                // What its last thread counted was counted before it let go.
                fence(Ordering::Acquire);
                ended.add(&session.read());
            }
            goes_on
        });
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
    way: Cell<Option<Way>>,
    /// What goes into a timeline, if there is one: the definition's name, and what came of it.
    named: Option<(&'a str, Cell<Kind>)>,
}

impl<'a> Stopwatch<'a> {
    pub(crate) fn start(counters: &'a Counters) -> Self {
        Self {
            counters,
            start: Instant::now(),
            outer: NESTED.replace(Duration::ZERO),
            way: Cell::new(None),
            named: None,
        }
    }

    /// The same, for the evaluation of a definition, which goes into a timeline.
    pub(crate) fn start_named(counters: &'a Counters, name: &'a str) -> Self {
        let mut stopwatch = Self::start(counters);
        if counters.timeline().is_some() {
            stopwatch.named = Some((name, Cell::new(kind_of(None))));
        }
        stopwatch
    }

    /// Counts what came of the evaluation, whose time counts as that of such.
    pub(crate) fn count(&self, outcome: &Outcome) {
        self.way.set(Some(Way::of(outcome)));
        if let Some((_, kind)) = &self.named {
            kind.set(kind_of(Some(outcome)));
        }
        self.counters.count(outcome);
    }

    /// Says that no code came of it, whatever it counts as.
    pub(crate) fn failed(&self) {
        if let Some((_, kind)) = &self.named {
            kind.set(kind_of(None));
        }
    }
}

impl Drop for Stopwatch<'_> {
    fn drop(&mut self) {
        let elapsed = self.start.elapsed();
        let own = elapsed.saturating_sub(NESTED.get());
        NESTED.set(self.outer + elapsed);
        self.counters.took(nanoseconds(own), self.way.get());
        if let (Some((name, kind)), Some(timeline)) = (&self.named, self.counters.timeline()) {
            timeline.note(kind.get(), name, self.start, elapsed);
        }
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

    #[test]
    fn reasons_and_latencies_are_counted_and_told_once() {
        let ledger = Ledger::default();
        let session = ledger.open();
        for _ in 0..3 {
            Stopwatch::start(&session).count(&Outcome::Hit);
        }
        Stopwatch::start(&session).count(&Outcome::Miss(crate::MissReason::New));
        // One that failed in the host's front end is no outcome.
        drop(Stopwatch::start(&session));
        session.superseded(100);
        let statistics = session.read();
        assert_eq!(
            statistics.reasons,
            BTreeMap::from([("miss: new".to_owned(), 1)])
        );
        assert_eq!(statistics.latencies["hit"].count(), 3);
        assert_eq!(statistics.latencies["compiled"].count(), 1);
        assert_eq!(
            (statistics.redefined, statistics.superseded_bytes),
            (1, 100)
        );

        let news = ledger.news().expect("there are some");
        assert_eq!((news.processes, news.count("hits")), (1, 3));
        assert_eq!(news.count("miss new"), 1);
        assert_eq!(ledger.news(), None);
        drop(session);
        let session = ledger.open();
        Stopwatch::start(&session).count(&Outcome::Hit);
        let news = ledger.news().expect("there are some");
        assert_eq!(
            (news.processes, news.count("hits"), news.count("misses")),
            (0, 1, 0)
        );
        assert_eq!(news.latencies["hit"].count(), 1);
        assert_eq!(ledger.total().hits, 4);
        // As a child does, which has its parent's counts.
        Stopwatch::start(&session).count(&Outcome::Hit);
        ledger.begin_process();
        assert_eq!(ledger.news(), None);
    }
}
