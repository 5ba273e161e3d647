//! Sampled verification: some hits are compiled again, and the object compared with what was kept.
//!
//! A hit is right if the host told of everything that its front end looked at. Whether it does shows when the
//! front end runs all the same: after a hit that is chosen, the host's closure is called as on a miss, on the
//! evaluating thread, and the unit that it gives is compiled on a thread of the verifier's. The hit stands, and
//! its factory runs meanwhile. If the object is another one, the record is removed, and that is counted,
//! warned of, written to the journal and told to the listener.
//!
//! A chosen hit therefore costs the evaluating thread what the front end takes, and another core what
//! generating code takes. At most [`QUEUE`] units wait; a hit that would be one more is not verified. Closing the
//! cache waits for them, up to the deadline. A hit that shares code which is in the process already
//! is not chosen: that code had its turn.

use crate::asked::Copied;
use crate::cache::{Backend, Session};
use crate::compilation::Compilation;
use crate::host::Host;
use crate::kept::Kept;
use crate::outcome::{Outcome, RejectReason};
use crate::recorder::Recorder;
use crate::report::{Event, Noted};
use rekindle_cache_core::Digest;
use rekindle_cache_core::artifact::Compiler;
use rekindle_cache_core::key::{Definition, FormKey};
use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How many units may wait.
const QUEUE: usize = 64;

/// Chooses a share of the hits, evenly.
#[derive(Debug, Default)]
pub(crate) struct Sampling {
    /// The share, of 2^32; the largest number is all.
    share: u32,
    sum: AtomicU32,
}

impl Sampling {
    /// Chooses the share `rate`, from 0 to 1. Which hit is the first is chance, so that short processes have
    /// their share as well.
    pub(crate) fn new(rate: f64) -> Self {
        let share = (rate.clamp(0.0, 1.0) * f64::from(u32::MAX)) as u32;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let chance = now.map_or(0, |since| since.subsec_nanos()) ^ std::process::id();
        Self {
            share,
            sum: AtomicU32::new(chance.wrapping_mul(0x9e37_79b9)),
        }
    }

    #[inline]
    pub(crate) fn is_chosen(&self) -> bool {
        self.share != 0 && self.choose()
    }

    #[cold]
    fn choose(&self) -> bool {
        let sum = self.sum.fetch_add(self.share, Ordering::Relaxed);
        self.share == u32::MAX || sum.checked_add(self.share).is_none()
    }
}

impl<B: Backend> Session<B> {
    /// Has the front end run for a hit, and what it gives compared with what was kept.
    #[cold]
    pub(crate) fn verify<E>(
        &self,
        kept: &Kept,
        definition: &Definition<'_>,
        key: FormKey,
        expected: Digest,
        host: &dyn Host,
        compile: impl FnOnce(&Recorder<'_>) -> Result<Compilation<B::Unit>, E>,
    ) {
        let verifier = kept.verifier();
        if !verifier.has_room() {
            return;
        }
        let recorder = Recorder::new(host, &self.definitions, &self.outside);
        let unit = match compile(&recorder) {
            Ok(compilation) => match recorder.finish().bypass {
                None => Ok(compilation.unit.into_unit()),
                Some(reason) => Err(format!("it would not be kept now: {reason}")),
            },
            Err(_) => Err("its front end fails now".to_owned()),
        };
        let verdicts = Arc::clone(&self.verdicts);
        let backend = Arc::clone(&self.cache.backend);
        let counters = Arc::clone(&self.counters);
        let listener = self.cache.listener.clone();
        let environment = Arc::clone(&self.cache.environment);
        let (store, journal) = (kept.shared_store(), kept.journal().cloned());
        let copied = Arc::new(Copied::of(definition));
        verifier.add(Box::new(move || {
            let compared = unit.and_then(|unit| compare(&*backend, &unit, &expected));
            counters.verified(compared.is_ok());
            let Err(what) = compared else {
                return;
            };
            let definition = copied.definition();
            tracing::warn!(
                name = definition.name,
                what,
                "a hit was wrong: its host did not tell of all that it depends on"
            );
            // So that the code is not shared any longer either.
            verdicts.fetch_add(1, Ordering::Release);
            store.report_damage(&key, &format!("verification: {what}"));
            let outcome = Outcome::Rejected(RejectReason::Verification(what));
            if let Some(journal) = journal {
                let noted = || Noted::new(Arc::clone(&copied), &outcome);
                journal.note(&environment, noted);
            }
            if let Some(listener) = listener {
                listener(&Event {
                    definition: &definition,
                    outcome: &outcome,
                });
            }
        }));
    }
}

/// Compiles `unit`, and says how the object differs from the one with the digest `expected`.
fn compare<B: Backend>(backend: &B, unit: &B::Unit, expected: &Digest) -> Result<(), String> {
    let compiled = match backend.compiler().compile(unit) {
        Ok(compiled) => compiled,
        Err(error) => return Err(format!("the compiler makes no object of it now: {error}")),
    };
    let object = Digest::of("rekindle object", &compiled.object.bytes);
    match object == *expected {
        true => Ok(()),
        false => Err(format!(
            "it compiles to the object {}, and {} was kept",
            object.short(),
            expected.short()
        )),
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// Compares on a thread of its own, which is started when there is something to compare.
#[derive(Default)]
pub(crate) struct Verifier {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    /// What waits, and what is under way.
    unfinished: usize,
    must_stop: bool,
    is_started: bool,
    has_ended: bool,
}

impl Verifier {
    /// Whether it has a thread, so that stopping it may take time.
    pub(crate) fn is_running(&self) -> bool {
        crate::lock(&self.thread).is_some()
    }

    fn has_room(&self) -> bool {
        crate::lock(&self.shared.state).waiting.len() < QUEUE
    }

    fn add(&self, job: Job) {
        let must_start = {
            let mut state = crate::lock(&self.shared.state);
            state.waiting.push_back(job);
            state.unfinished += 1;
            !std::mem::replace(&mut state.is_started, true)
        };
        self.shared.changed.notify_all();
        if must_start {
            let shared = Arc::clone(&self.shared);
            let builder = std::thread::Builder::new().name("rekindle-verify".to_owned());
            match builder.spawn(move || shared.run()) {
                Ok(thread) => *crate::lock(&self.thread) = Some(thread),
                // The queue fills, and then nothing is verified.
                Err(error) => tracing::debug!(%error, "no thread for verification"),
            }
        }
    }

    /// Waits until what was added has been compared; `false` if that takes longer than `deadline`.
    pub(crate) fn wait(&self, deadline: Duration) -> bool {
        let state = crate::lock(&self.shared.state);
        let is_busy = |state: &mut State| state.unfinished > 0 && !state.has_ended;
        let changed = &self.shared.changed;
        let waited = changed.wait_timeout_while(state, deadline, is_busy);
        let state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.unfinished == 0
    }

    /// Compares what waits and ends the thread; `false` if that takes longer than `deadline`.
    pub(crate) fn stop(&self, deadline: Duration) -> bool {
        let Some(thread) = crate::lock(&self.thread).take() else {
            return true;
        };
        let mut state = crate::lock(&self.shared.state);
        state.must_stop = true;
        self.shared.changed.notify_all();
        let changed = &self.shared.changed;
        let waited = changed.wait_timeout_while(state, deadline, |state| !state.has_ended);
        let mut state = match waited {
            Ok((state, _)) => state,
            Err(poisoned) => poisoned.into_inner().0,
        };
        // The one under way is the last.
        let left = std::mem::take(&mut state.waiting);
        let has_ended = state.has_ended;
        drop(state);
        drop(left);
        if has_ended {
            let _ = thread.join();
        }
        has_ended
    }
}

impl Shared {
    fn run(&self) {
        let _ended = Ended(self);
        while let Some(job) = self.next() {
            // A compiler that panics on what it has compiled before says nothing of the record.
            if std::panic::catch_unwind(AssertUnwindSafe(job)).is_err() {
                tracing::warn!("a hit could not be verified: the compiler panicked");
            }
            crate::lock(&self.state).unfinished -= 1;
            self.changed.notify_all();
        }
    }

    fn next(&self) -> Option<Job> {
        let mut state = crate::lock(&self.state);
        loop {
            if let Some(job) = state.waiting.pop_front() {
                return Some(job);
            }
            if state.must_stop {
                return None;
            }
            state = match self.changed.wait(state) {
                Ok(state) => state,
                Err(poisoned) => poisoned.into_inner(),
            };
        }
    }
}

/// Says that the thread has ended, however it did.
struct Ended<'a>(&'a Shared);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        crate::lock(&self.0.state).has_ended = true;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_chosen_evenly() {
        let chosen = |rate: f64| {
            let sampling = Sampling::new(rate);
            (0..1000).filter(|_| sampling.is_chosen()).count()
        };
        assert_eq!(chosen(0.0), 0);
        assert_eq!(chosen(1.0), 1000);
        assert_eq!(chosen(7.0), 1000);
        assert_eq!(chosen(f64::NAN), 0);
        for (rate, about) in [(0.25, 250), (0.001, 1), (0.9, 900)] {
            let chosen = chosen(rate);
            assert!(chosen.abs_diff(about) <= 1, "{chosen} of 1000 at {rate}");
        }
    }

    #[test]
    fn what_waits_is_compared_before_it_ends() {
        let verifier = Verifier::default();
        let done = Arc::new(AtomicU32::new(0));
        for number in 0..QUEUE {
            let done = Arc::clone(&done);
            assert!(verifier.has_room());
            verifier.add(Box::new(move || {
                done.fetch_add(1, Ordering::Relaxed);
                assert_ne!(number, 3, "a panic ends nothing else");
            }));
        }
        assert!(verifier.wait(Duration::from_secs(60)));
        assert_eq!(done.load(Ordering::Relaxed), 64);
        assert!(verifier.stop(Duration::from_secs(60)));
        assert_eq!(done.load(Ordering::Relaxed), 64);
    }
}
