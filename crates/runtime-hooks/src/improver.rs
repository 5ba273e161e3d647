//! The thread that makes code better.
//!
//! It has a low priority, and works while nothing is compiled for an evaluation. At most [`QUEUE`] units wait. Closing
//! the cache drops them, unless it [was told](crate::better::Improving::at_close) to wait, and waits for the one that is
//! under way up to its deadline.

use rekindle_cache_core::store::Store;
use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How many units may wait.
const QUEUE: usize = 256;

/// How long nothing was compiled for an evaluation before the time counts as idle.
const IDLE: Duration = Duration::from_millis(200);

/// Longer than any process runs, and no instant is beyond it.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// The native stack of the thread, of which compilers may need more than is usual.
const STACK_BYTES: usize = 16 << 20;

type Job = Box<dyn FnOnce() + Send>;

/// Makes code better on a thread of its own, which is started when there is something to make.
pub(crate) struct Improver {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    store: Arc<dyn Store>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    /// When something was compiled for an evaluation.
    busy: Option<Instant>,
    /// When closing began, nothing is waited for but the end of this time.
    closes_at: Option<Instant>,
    is_started: bool,
    has_ended: bool,
}

impl Improver {
    /// With nothing to do, for what is in `store`.
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            shared: Arc::new(Shared {
                store,
                state: Mutex::default(),
                changed: Condvar::new(),
            }),
            thread: Mutex::default(),
        }
    }

    /// Whether it has a thread, so that stopping it may take time.
    pub(crate) fn is_running(&self) -> bool {
        crate::lock(&self.thread).is_some()
    }

    pub(crate) fn has_room(&self) -> bool {
        let state = crate::lock(&self.shared.state);
        state.waiting.len() < QUEUE && state.closes_at.is_none()
    }

    /// Something was compiled for an evaluation just now.
    pub(crate) fn note_compiled(&self) {
        crate::lock(&self.shared.state).busy = Some(Instant::now());
    }

    pub(crate) fn add(&self, job: Job) {
        let must_start = {
            let mut state = crate::lock(&self.shared.state);
            state.waiting.push_back(job);
            !std::mem::replace(&mut state.is_started, true)
        };
        self.shared.changed.notify_all();
        if must_start {
            let shared = Arc::clone(&self.shared);
            let builder = std::thread::Builder::new()
                .name("rekindle-better".to_owned())
                .stack_size(STACK_BYTES);
            match builder.spawn(move || shared.run()) {
                Ok(thread) => *crate::lock(&self.thread) = Some(thread),
                // The queue fills, and then nothing is made better.
                Err(error) => tracing::debug!(%error, "no thread for better code"),
            }
        }
    }

    /// Goes on with what waits for `at_close`, drops the rest and ends the thread; `false` if what it is at takes
    /// longer than `deadline` beyond that.
    pub(crate) fn stop(&self, at_close: Duration, deadline: Duration) -> bool {
        let Some(thread) = crate::lock(&self.thread).take() else {
            return true;
        };
        let now = Instant::now();
        let mut state = crate::lock(&self.shared.state);
        if thread.thread().id() == std::thread::current().id() {
            // A listener had the last of the cache: the thread ends when that is done.
            state.closes_at = Some(now);
            let left = std::mem::take(&mut state.waiting);
            drop(state);
            drop(left);
            return true;
        }
        let closes_at = now.checked_add(at_close.min(LONGEST));
        state.closes_at = Some(closes_at.unwrap_or(now));
        self.shared.changed.notify_all();
        let patience = at_close.saturating_add(deadline);
        let changed = &self.shared.changed;
        let waited = changed.wait_timeout_while(state, patience, |state| !state.has_ended);
        let mut state = match waited {
            Ok((state, _)) => state,
            Err(poisoned) => poisoned.into_inner().0,
        };
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
        lower_priority();
        while let Some(job) = self.next() {
            // A compiler that panics leaves the code that is there.
            if std::panic::catch_unwind(AssertUnwindSafe(job)).is_err() {
                tracing::warn!("code could not be made better: the compiler panicked");
            }
        }
    }

    /// Waits until there is something to do and the time for it; `None` at the end.
    fn next(&self) -> Option<Job> {
        let mut is_flushed = false;
        let mut state = crate::lock(&self.state);
        loop {
            let now = Instant::now();
            if state.closes_at.is_some_and(|end| now >= end) {
                return None;
            }
            let is_closing = state.closes_at.is_some();
            let idle_from = state.busy.and_then(|busy| busy.checked_add(IDLE));
            let wait = idle_from.and_then(|from| from.checked_duration_since(now));
            match wait.filter(|wait| !wait.is_zero() && !is_closing) {
                None => {
                    if let Some(job) = state.waiting.pop_front() {
                        return Some(job);
                    }
                    if is_closing {
                        return None;
                    }
                    if !std::mem::replace(&mut is_flushed, true) {
                        drop(state);
                        // So that other processes have it now.
                        if let Err(error) = self.store.flush() {
                            tracing::debug!(%error, "better code is not flushed");
                        }
                        state = crate::lock(&self.state);
                        continue;
                    }
                    state = match self.changed.wait(state) {
                        Ok(state) => state,
                        Err(poisoned) => poisoned.into_inner(),
                    };
                }
                Some(wait) => {
                    state = match self.changed.wait_timeout(state, wait) {
                        Ok((state, _)) => state,
                        Err(poisoned) => poisoned.into_inner().0,
                    };
                }
            }
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

/// What the calling thread does from now on gives way to anything else.
fn lower_priority() {
    #[cfg(target_os = "linux")]
    // SAFETY: on Linux this changes the priority of the calling thread, and nothing else.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, 19);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rekindle_cache_core::store::MemoryStore;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn counting(count: u32) -> (Improver, Arc<AtomicU32>) {
        let improver = Improver::new(Arc::new(MemoryStore::new()));
        let done = Arc::new(AtomicU32::new(0));
        improver.note_compiled();
        for number in 0..count {
            let done = Arc::clone(&done);
            improver.add(Box::new(move || {
                done.fetch_add(1, Ordering::Relaxed);
                assert_ne!(number, 3, "a panic ends nothing else");
            }));
        }
        (improver, done)
    }

    #[test]
    fn closing_drops_what_waits_or_goes_on_with_it() {
        let minute = Duration::from_secs(60);
        let (improver, done) = counting(10);
        assert!(improver.stop(minute, minute));
        assert_eq!(done.load(Ordering::Relaxed), 10);
        assert!(!improver.has_room());

        let (improver, done) = counting(10);
        improver.add(Box::new(|| {}));
        assert!(improver.stop(Duration::ZERO, minute));
        // Nothing was idle yet, unless this thread was kept waiting for that long.
        assert!(done.load(Ordering::Relaxed) <= 10);
        assert_eq!(Arc::strong_count(&done), 1, "what waited is gone");
    }

    #[test]
    fn closing_goes_on_for_as_long_as_it_is_told() {
        let (improver, done) = counting(10);
        assert!(improver.stop(Duration::MAX, Duration::ZERO));
        assert_eq!(done.load(Ordering::Relaxed), 10);
    }

    /// As when a listener has the last of the cache.
    #[test]
    fn a_job_may_end_its_own_thread() {
        let improver = Arc::new(Improver::new(Arc::new(MemoryStore::new())));
        let (tell, told) = std::sync::mpsc::channel();
        let (begin, begun) = std::sync::mpsc::channel::<()>();
        let own = Arc::clone(&improver);
        improver.add(Box::new(move || {
            // The thread is known to the improver by then.
            let _ = begun.recv();
            let _ = tell.send(own.stop(Duration::MAX, Duration::MAX));
        }));
        begin.send(()).expect("it is waited for");
        assert_eq!(told.recv_timeout(Duration::from_secs(60)), Ok(true));
        assert!(!improver.has_room());
    }

    #[test]
    fn what_waits_is_made_when_nothing_is_compiled_for_a_while() {
        let (improver, _done) = counting(2);
        let (tell, told) = std::sync::mpsc::channel();
        improver.add(Box::new(move || {
            let _ = tell.send(());
        }));
        told.recv_timeout(Duration::from_secs(60))
            .expect("it comes to that");
        assert!(improver.stop(Duration::ZERO, Duration::from_secs(60)));
    }
}
