//! A thread that makes pages present before code is loaded into them.
//!
//! A page that is written for the first time costs some 4 microseconds in two views, more than a whole
//! load does. The thread waits until a window has little left that is present, makes more of it so, and
//! waits again: it does nothing while nothing is loaded. It ends with its loader. Its CPU time is
//! counted, since it is spent for the loads that it serves.
//!
//! Waking a thread costs who does it many loads' time, where that takes a word from one processor to another that
//! sleeps. So for some milliseconds after it has had something to do the thread looks by itself whether there is more.

use super::window::populate;
use rustix::mm::Advice;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Bytes after which those that wait for them are told: few at first, as a process that starts waits for the first.
const FIRST_STEP: usize = 64 << 10;
const STEP: usize = 256 << 10;

/// How long it looks by itself, and how often.
const LINGER: Duration = Duration::from_millis(5);
const LOOK: Duration = Duration::from_micros(400);

/// The thread, once something has been asked of it.
#[derive(Default)]
pub(super) struct Ahead {
    shared: Arc<Shared>,
    thread: Mutex<Thread>,
}

#[derive(Default)]
enum Thread {
    #[default]
    NotYet,
    Running(JoinHandle<()>),
    /// The system gives no thread: pages come when they are used.
    Refused,
}

#[derive(Default)]
struct Shared {
    asked: Mutex<Asked>,
    wake: Condvar,
    cpu_nanoseconds: AtomicU64,
    bytes: AtomicUsize,
}

#[derive(Default)]
struct Asked {
    jobs: Vec<Job>,
    stop: bool,
    /// The thread waits to be woken.
    is_asleep: bool,
}

/// How far a window is present.
#[derive(Default)]
pub(super) struct Present {
    /// Bytes from its beginning.
    pub(super) up_to: AtomicUsize,
    /// Whether more has been asked for.
    pub(super) asked: AtomicBool,
}

/// Pages to make present: the same part of several views of one memory.
pub(super) struct Job {
    /// Where each view begins, and what makes its pages present.
    pub(super) views: Vec<(usize, Advice)>,
    pub(super) from: usize,
    pub(super) to: usize,
    /// To be told.
    pub(super) present: Option<Arc<Present>>,
}

impl Job {
    /// Tells those who ask that nobody is at it, or no longer.
    fn give_up(&self) {
        if let Some(present) = &self.present {
            present.asked.store(false, Ordering::Relaxed);
        }
    }
}

impl Ahead {
    /// Has `job` done some time soon, or now if it is urgent. False if there is no thread to do it.
    pub(super) fn ask(&self, job: Job, is_urgent: bool) -> bool {
        let mut thread = lock(&self.thread);
        if matches!(*thread, Thread::Refused) {
            job.give_up();
            return false;
        }
        // Before the thread starts: it does not look at once for what comes after.
        let mut asked = lock(&self.shared.asked);
        asked.jobs.push(job);
        let is_asleep = std::mem::take(&mut asked.is_asleep);
        drop(asked);
        if matches!(*thread, Thread::NotYet) {
            match start(&self.shared) {
                Ok(handle) => *thread = Thread::Running(handle),
                Err(error) => {
                    *thread = Thread::Refused;
                    drop(thread);
                    for job in lock(&self.shared.asked).jobs.drain(..) {
                        job.give_up();
                    }
                    tracing::warn!(%error, "no thread to make code windows ready, going on without");
                    return false;
                }
            }
        } else if is_asleep || is_urgent {
            self.shared.wake.notify_one();
        }
        true
    }

    /// CPU time that the thread has taken, and the bytes that it has made present.
    pub(super) fn spent(&self) -> (Duration, usize) {
        let nanoseconds = self.shared.cpu_nanoseconds.load(Ordering::Relaxed);
        let bytes = self.shared.bytes.load(Ordering::Relaxed);
        (Duration::from_nanos(nanoseconds), bytes)
    }

    /// Ends the thread and waits for its end.
    pub(super) fn stop(&self) {
        lock(&self.shared.asked).stop = true;
        self.shared.wake.notify_one();
        let thread = std::mem::replace(&mut *lock(&self.thread), Thread::Refused);
        if let Thread::Running(handle) = thread {
            // It only fails if the thread panicked, and then it has ended, too.
            let _ = handle.join();
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.stop();
    }
}

fn start(shared: &Arc<Shared>) -> std::io::Result<JoinHandle<()>> {
    let shared = Arc::clone(shared);
    let builder = std::thread::Builder::new()
        .name("rekindle-ahead".into())
        .stack_size(128 << 10);
    without_signals(|| builder.spawn(move || shared.run()))
}

/// Runs `spawn` so that the new thread has every signal blocked: they are for the host's threads.
fn without_signals<T>(spawn: impl FnOnce() -> T) -> T {
    let mut all = std::mem::MaybeUninit::uninit();
    let mut before = std::mem::MaybeUninit::uninit();
    // SAFETY: both are places for a set of signals; the first is filled before it is used.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
    }
    let spawned = spawn();
    // SAFETY: `before` was filled above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    spawned
}

impl Shared {
    fn run(&self) {
        let mut last = Instant::now();
        loop {
            let mut asked = lock(&self.asked);
            while asked.jobs.is_empty() && !asked.stop {
                if last.elapsed() < LINGER {
                    let waited = self.wake.wait_timeout(asked, LOOK);
                    asked = waited.unwrap_or_else(PoisonError::into_inner).0;
                    continue;
                }
                asked.is_asleep = true;
                asked = self
                    .wake
                    .wait(asked)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            if asked.stop {
                return;
            }
            let jobs = std::mem::take(&mut asked.jobs);
            drop(asked);
            self.work(jobs);
            self.cpu_nanoseconds.store(cpu_time(), Ordering::Relaxed);
            last = Instant::now();
        }
    }

    /// Does jobs in turns: whose code is wanted wants the data beside it as soon.
    fn work(&self, jobs: Vec<Job>) {
        let mut open: Vec<Progress> = jobs.into_iter().map(Progress::of).collect();
        while !open.is_empty() && !lock(&self.asked).stop {
            open.retain_mut(|progress| self.step(progress));
        }
        for progress in open {
            progress.job.give_up();
        }
    }

    /// Does the next part of a job, and says whether there is more of it.
    fn step(&self, Progress { job, from, size }: &mut Progress) -> bool {
        if let Some(present) = &job.present {
            // Who could not wait has done a part of it.
            *from = (*from).max(present.up_to.load(Ordering::Relaxed));
        }
        let next = (*size).min(job.to.saturating_sub(*from));
        let populate = |(view, advice): &(usize, Advice)| populate(view + *from, next, *advice);
        // Whoever needs the pages will be told what stands against them.
        if next == 0 || job.views.iter().try_for_each(populate).is_err() {
            job.give_up();
            return false;
        }
        *from += next;
        *size = (2 * *size).min(STEP);
        self.bytes.fetch_add(next, Ordering::Relaxed);
        if let Some(present) = &job.present {
            present.up_to.fetch_max(*from, Ordering::Relaxed);
        }
        let is_done = *from >= job.to;
        if is_done {
            job.give_up();
        }
        !is_done
    }
}

/// How far a job is done, and the bytes of its next part.
struct Progress {
    job: Job,
    from: usize,
    size: usize,
}

impl Progress {
    fn of(job: Job) -> Self {
        Self {
            from: job.from,
            size: FIRST_STEP,
            job,
        }
    }
}

fn cpu_time() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a place for a time; it stays zero if there is no such clock.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use memmap2::MmapOptions;

    fn job(start: usize, from: usize, to: usize) -> (Job, Arc<Present>) {
        let present = Arc::new(Present::default());
        present.asked.store(true, Ordering::Relaxed);
        let job = Job {
            views: vec![(start, Advice::LinuxPopulateWrite)],
            from,
            to,
            present: Some(Arc::clone(&present)),
        };
        (job, present)
    }

    #[test]
    fn the_first_job_is_done_without_a_second_word() {
        let size = 1 << 20;
        let memory = MmapOptions::new().len(size).map_anon().expect("memory");
        let ahead = Ahead::default();
        let (job, present) = job(memory.as_ptr() as usize, 0, size);
        assert!(ahead.ask(job, false));
        let deadline = Instant::now() + Duration::from_secs(60);
        while present.asked.load(Ordering::Relaxed) && Instant::now() < deadline {
            std::thread::yield_now();
        }
        assert!(!present.asked.load(Ordering::Relaxed));
        assert_eq!(present.up_to.load(Ordering::Relaxed), size);
    }

    #[test]
    fn what_nobody_does_is_given_up() {
        let ahead = Ahead::default();
        ahead.stop();
        let (job, present) = job(0, 0, 1 << 20);
        assert!(!ahead.ask(job, true));
        assert!(!present.asked.load(Ordering::Relaxed));
    }
}
