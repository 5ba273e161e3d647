//! Jobs that are done one after the other on a thread in the background: hits that are [verified](crate::verify),
//! code that is made [better](crate::better).
//!
//! So many may wait and no more. Jobs for idle time are done while nothing is compiled for an evaluation, with the
//! lowest priority. Closing goes on with what waits for as long as it is told, drops the rest, and waits for the job
//! that is under way up to a deadline.

use crate::background::{Background, End, Shared};
use rekindle_cache_core::store::Store;
use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::thread::Builder;
use std::time::{Duration, Instant};

/// How long nothing was compiled for an evaluation before the time counts as idle.
const IDLE: Duration = Duration::from_millis(200);

/// Longer than any process runs, and no instant is beyond it.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// How long a thread that has nothing to do may take to end.
const AT_ONCE: Duration = Duration::from_millis(100);

/// The native stack of the thread, of which compilers may need more than is usual.
const STACK_BYTES: usize = 16 << 20;

type Job = Box<dyn FnOnce() + Send>;

/// A queue of jobs, and the thread that does them, which is started by the first.
pub(crate) struct Jobs {
    thread: Background<Queue>,
    kind: Kind,
}

#[derive(Clone)]
struct Kind {
    /// The thread's name.
    name: &'static str,
    /// How many may wait.
    capacity: usize,
    /// Is told when a compiler panicked.
    panicked: &'static str,
    /// If it is for idle time: what is flushed when nothing is left, so that other processes have it.
    idle: Option<Arc<dyn Store>>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Job>,
    is_under_way: bool,
    /// When something was compiled for an evaluation.
    busy: Option<Instant>,
    /// When closing began, nothing is waited for but the end of this time.
    closes_at: Option<Instant>,
}

impl Jobs {
    /// Jobs that are done as soon as may be. A panic in one is told of as `panicked`.
    pub(crate) fn at_once(name: &'static str, capacity: usize, panicked: &'static str) -> Self {
        Self::of(Kind {
            name,
            capacity,
            panicked,
            idle: None,
        })
    }

    /// Jobs that are done in idle time, and give `store` something to keep.
    pub(crate) fn in_idle_time(
        name: &'static str,
        capacity: usize,
        panicked: &'static str,
        store: Arc<dyn Store>,
    ) -> Self {
        Self::of(Kind {
            name,
            capacity,
            panicked,
            idle: Some(store),
        })
    }

    fn of(kind: Kind) -> Self {
        Self {
            thread: Background::new(Queue::default()),
            kind,
        }
    }

    /// Whether there is a thread, so that stopping it may take time.
    pub(crate) fn is_running(&self) -> bool {
        self.thread.is_running()
    }

    /// Whether another job may be [added](Self::add).
    pub(crate) fn has_room(&self) -> bool {
        let queue = self.thread.shared().lock();
        queue.waiting.len() < self.kind.capacity && queue.closes_at.is_none()
    }

    /// Something was compiled for an evaluation just now.
    pub(crate) fn note_compiled(&self) {
        self.thread.shared().lock().busy = Some(Instant::now());
    }

    /// Without a thread to do them, jobs fill the queue, and that is all.
    pub(crate) fn add(&self, job: Job) {
        let shared = self.thread.shared();
        shared.lock().waiting.push_back(job);
        shared.notify();
        let kind = self.kind.clone();
        let builder = Builder::new().name(kind.name.to_owned());
        let builder = builder.stack_size(STACK_BYTES);
        self.thread.start(builder, move |shared| run(shared, &kind));
    }

    /// Waits until what was added is done; `false` if that takes longer than `deadline`.
    pub(crate) fn wait(&self, deadline: Duration) -> bool {
        let shared = self.thread.shared();
        let is_busy = |queue: &Queue| !queue.waiting.is_empty() || queue.is_under_way;
        let queue = shared.wait_while(shared.lock(), deadline, is_busy);
        !is_busy(&queue)
    }

    /// Goes on with what waits for `at_close`, drops the rest and ends the thread; `false` if the job that it is at
    /// takes longer than `deadline` beyond that.
    pub(crate) fn stop(&self, at_close: Duration, deadline: Duration) -> bool {
        let now = Instant::now();
        let closes_at = now.checked_add(at_close.min(LONGEST)).unwrap_or(now);
        // A thread that has nothing to do ends at once, but not in no time.
        let patience = at_close.saturating_add(deadline.max(AT_ONCE));
        let close = |queue: &mut Queue| queue.closes_at = Some(closes_at);
        let end = self.thread.stop(close, patience);
        let mut queue = self.thread.shared().lock();
        if end == End::Own {
            queue.closes_at = Some(now);
        }
        let left = std::mem::take(&mut queue.waiting);
        drop(queue);
        // What they hold may be much, and others wait for the lock.
        drop(left);
        end != End::Late
    }
}

fn run(shared: &Shared<Queue>, kind: &Kind) {
    if kind.idle.is_some() {
        lower_priority();
    }
    while let Some(job) = next(shared, kind) {
        if std::panic::catch_unwind(AssertUnwindSafe(job)).is_err() {
            tracing::warn!("{}: the compiler panicked", kind.panicked);
        }
        shared.lock().is_under_way = false;
        shared.notify();
    }
}

/// Waits until there is something to do and the time for it; `None` at the end.
fn next(shared: &Shared<Queue>, kind: &Kind) -> Option<Job> {
    let mut unflushed = kind.idle.as_ref();
    let mut queue = shared.lock();
    loop {
        let now = Instant::now();
        if queue.closes_at.is_some_and(|end| now >= end) {
            return None;
        }
        let is_closing = queue.closes_at.is_some();
        let idle_from = match kind.idle.is_some() && !is_closing {
            true => queue.busy.and_then(|busy| busy.checked_add(IDLE)),
            false => None,
        };
        let busy_for = idle_from.and_then(|from| from.checked_duration_since(now));
        if let Some(busy_for) = busy_for.filter(|busy| !busy.is_zero()) {
            queue = shared.wait(queue, Some(busy_for));
            continue;
        }
        if let Some(job) = queue.waiting.pop_front() {
            queue.is_under_way = true;
            return Some(job);
        }
        if is_closing {
            return None;
        }
        queue = match unflushed.take() {
            None => shared.wait(queue, None),
            Some(store) => {
                drop(queue);
                if let Err(error) = store.flush() {
                    tracing::debug!(%error, "what was made in idle time is not flushed");
                }
                shared.lock()
            }
        };
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

    const MINUTE: Duration = Duration::from_secs(60);

    fn at_once() -> Jobs {
        Jobs::at_once("rekindle-test", 64, "a test")
    }

    fn in_idle_time() -> Jobs {
        let store = Arc::new(MemoryStore::new());
        Jobs::in_idle_time("rekindle-test", 64, "a test", store)
    }

    /// Adds `count` jobs to `jobs`, of which the fourth panics.
    fn counting(jobs: &Jobs, count: u32) -> Arc<AtomicU32> {
        let done = Arc::new(AtomicU32::new(0));
        jobs.note_compiled();
        for number in 0..count {
            let done = Arc::clone(&done);
            assert!(jobs.has_room());
            jobs.add(Box::new(move || {
                done.fetch_add(1, Ordering::Relaxed);
                assert_ne!(number, 3, "a panic ends nothing else");
            }));
        }
        done
    }

    #[test]
    fn closing_drops_what_waits() {
        let jobs = Arc::new(at_once());
        let own = Arc::clone(&jobs);
        jobs.add(Box::new(move || {
            let began = Instant::now();
            while own.has_room() && began.elapsed() < MINUTE {
                std::thread::yield_now();
            }
        }));
        let done = counting(&jobs, 10);
        assert!(jobs.stop(Duration::ZERO, MINUTE));
        assert!(!jobs.has_room());
        assert_eq!(
            done.load(Ordering::Relaxed),
            0,
            "the first ended after closing"
        );
        assert_eq!(Arc::strong_count(&done), 1, "what waited is gone");
    }

    #[test]
    fn closing_goes_on_for_as_long_as_it_is_told() {
        for jobs in [at_once(), in_idle_time()] {
            let done = counting(&jobs, 10);
            assert!(jobs.stop(Duration::MAX, Duration::ZERO));
            assert_eq!(done.load(Ordering::Relaxed), 10);
        }
    }

    #[test]
    fn what_waits_is_waited_for() {
        let jobs = at_once();
        let done = counting(&jobs, 64);
        assert!(jobs.wait(MINUTE));
        assert_eq!(done.load(Ordering::Relaxed), 64);
        assert!(jobs.stop(MINUTE, Duration::ZERO));
        assert_eq!(done.load(Ordering::Relaxed), 64);
    }

    /// As when a listener has the last of the cache.
    #[test]
    fn a_job_may_end_its_own_thread() {
        for jobs in [at_once(), in_idle_time()] {
            let jobs = Arc::new(jobs);
            let (tell, told) = std::sync::mpsc::channel();
            let (begin, begun) = std::sync::mpsc::channel::<()>();
            let own = Arc::clone(&jobs);
            jobs.add(Box::new(move || {
                // The thread is known to the queue by then.
                let _ = begun.recv();
                let _ = tell.send(own.stop(Duration::MAX, Duration::MAX));
            }));
            begin.send(()).expect("it is waited for");
            assert_eq!(told.recv_timeout(MINUTE), Ok(true));
            assert!(!jobs.has_room());
        }
    }

    #[test]
    fn what_waits_is_done_when_nothing_is_compiled_for_a_while() {
        let jobs = in_idle_time();
        let _done = counting(&jobs, 2);
        let (tell, told) = std::sync::mpsc::channel();
        jobs.add(Box::new(move || {
            let _ = tell.send(());
        }));
        told.recv_timeout(MINUTE).expect("it comes to that");
        assert!(jobs.stop(Duration::ZERO, MINUTE));
    }
}
