//! The crew: threads that make code of units, for warming.
//!
//! A unit is all that its code is made of, so making it needs nothing of the session that it comes from.
//! The line of waiting units is bounded: when it is full, whoever brings another one makes the code itself,
//! so that no thread is idle and memory stays flat. Whoever waits for code makes that of others meanwhile.
//!
//! A forked child has its parent's crew without the threads, and with locks that nobody may let go of: it makes code on
//! its own thread, and gives up what was in the making.

use crate::cache::{Backend, Cache};
use crate::compilation::UnitSource;
use crate::unkept::Fault;
use rekindle_cache_core::Digest;
use rekindle_cache_core::artifact::{Compiled, Compiler, Image, Loader};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How many units wait for each thread at most.
const WAITING_EACH: usize = 32;

/// The native stack of a thread, of which compilers may need more than is usual.
const STACK_BYTES: usize = 16 << 20;

/// Threads that compile for [`Session::warm_def`](crate::Session::warm_def). They end when it is dropped.
pub struct Crew<B: Backend> {
    cache: Arc<Cache<B>>,
    line: Arc<Line<B>>,
    threads: Vec<JoinHandle<()>>,
    /// The number of the process that they are in.
    process: u32,
}

/// What the threads have. A forked child has it for good, since they are not there to give it back: so it keeps no cache
/// from being closed.
struct Line<B: Backend> {
    backend: Arc<B>,
    state: Mutex<State<B::Unit>>,
    /// There is something to do, or nothing any more.
    wake: Condvar,
    limit: usize,
}

struct State<U> {
    jobs: VecDeque<Job<U>>,
    is_closed: bool,
}

struct Job<U> {
    source: UnitSource<U>,
    factory: String,
    promise: Promise<U>,
}

/// A unit, and what was made of it.
pub(crate) struct Made<U> {
    pub(crate) unit: U,
    /// What tells the unit from others.
    pub(crate) digest: Digest,
    pub(crate) product: Result<Product, Fault>,
    /// What making it took.
    pub(crate) took: Duration,
}

pub(crate) struct Product {
    pub(crate) compiled: Compiled,
    pub(crate) image: Image,
    /// The digest of the object.
    pub(crate) object: Digest,
}

/// Where the result of a job appears.
struct Slot<U> {
    state: Mutex<Progress<U>>,
    changed: Condvar,
}

enum Progress<U> {
    UnderWay,
    Done(Made<U>),
    /// The thread that was at it panicked.
    Abandoned,
}

/// The right to fill a slot. One that is dropped unfilled says that nothing will come.
struct Promise<U>(Option<Arc<Slot<U>>>);

/// A result that is to come.
pub(crate) struct Awaited<U>(Arc<Slot<U>>);

impl<B> Crew<B>
where
    B: Backend + Send + Sync + 'static,
    B::Unit: Send,
{
    /// A crew for sessions of `cache`, with as many threads of its own: none is a crew too, for which
    /// whoever brings the work does it.
    pub fn new(cache: &Arc<Cache<B>>, threads: usize) -> Self {
        let line = Arc::new(Line {
            backend: Arc::clone(&cache.backend),
            state: Mutex::new(State {
                jobs: VecDeque::new(),
                is_closed: false,
            }),
            wake: Condvar::new(),
            limit: threads * WAITING_EACH,
        });
        let start = |number: usize| {
            let line = Arc::clone(&line);
            let builder = std::thread::Builder::new()
                .name(format!("rekindle-{number}"))
                .stack_size(STACK_BYTES);
            builder.spawn(move || line.work())
        };
        let mut started = Vec::with_capacity(threads);
        for number in 0..threads {
            match start(number) {
                Ok(thread) => started.push(thread),
                // Those that wait do the work.
                Err(error) => tracing::debug!(%error, "a crew with less threads"),
            }
        }
        Self {
            cache: Arc::clone(cache),
            line,
            threads: started,
            process: std::process::id(),
        }
    }

    /// Has code made of a unit.
    pub(crate) fn take_on(&self, source: UnitSource<B::Unit>, factory: &str) -> Awaited<B::Unit> {
        let slot = Arc::new(Slot {
            state: Mutex::new(Progress::UnderWay),
            changed: Condvar::new(),
        });
        let job = Job {
            source,
            factory: factory.to_owned(),
            promise: Promise(Some(Arc::clone(&slot))),
        };
        if let Some(job) = self.line_up(job) {
            self.line.perform(job);
        }
        Awaited(slot)
    }

    /// Puts a job in the line; gives it back where there is no room, or nobody to take it.
    fn line_up(&self, job: Job<B::Unit>) -> Option<Job<B::Unit>> {
        if self.threads.is_empty() || !self.is_home() {
            return Some(job);
        }
        let mut state = crate::lock(&self.line.state);
        if state.jobs.len() >= self.line.limit {
            return Some(job);
        }
        state.jobs.push_back(job);
        drop(state);
        self.line.wake.notify_one();
        None
    }

    /// Waits for a result, and makes others meanwhile.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn wait_for(
        &self,
        awaited: Awaited<B::Unit>,
    ) -> Result<Made<B::Unit>, &'static str> {
        let slot = awaited.0;
        loop {
            // What is made meanwhile may fork.
            if !self.is_home() {
                // Nobody fills it any more, and who was about to may hold its lock.
                let progress = slot.state.try_lock();
                let made = progress.ok().and_then(|mut progress| progress.take());
                return made.ok_or("its code was in the making when the process was forked");
            }
            if !matches!(*crate::lock(&slot.state), Progress::UnderWay) {
                break;
            }
            // What is waited for is in the line, or a thread is at it.
            let job = crate::lock(&self.line.state).jobs.pop_front();
            match job {
                Some(job) => self.line.perform(job),
                None => {
                    let state = crate::lock(&slot.state);
                    let is_under_way =
                        |state: &mut Progress<B::Unit>| matches!(state, Progress::UnderWay);
                    drop(slot.changed.wait_while(state, is_under_way));
                }
            }
        }
        let made = crate::lock(&slot.state).take();
        made.ok_or("the compiler panicked")
    }
}

impl<B: Backend> Crew<B> {
    /// The cache that it works for.
    pub fn cache(&self) -> &Arc<Cache<B>> {
        &self.cache
    }

    /// Whether this is the process that has the threads.
    fn is_home(&self) -> bool {
        std::process::id() == self.process
    }
}

impl<B: Backend> Drop for Crew<B> {
    /// Ends the threads, each after the unit that it is at. What is left in the line is dropped.
    fn drop(&mut self) {
        if !self.is_home() {
            // They are in the parent.
            self.threads.drain(..).for_each(std::mem::forget);
            return;
        }
        let mut state = crate::lock(&self.line.state);
        state.is_closed = true;
        let left = std::mem::take(&mut state.jobs);
        drop(state);
        drop(left);
        self.line.wake.notify_all();
        for thread in self.threads.drain(..) {
            // Its panic has been printed, and what it was at is known to be abandoned.
            let _ = thread.join();
        }
    }
}

impl<B: Backend> Line<B> {
    fn work(&self) {
        loop {
            let mut state = crate::lock(&self.state);
            let job = loop {
                if let Some(job) = state.jobs.pop_front() {
                    break job;
                }
                if state.is_closed {
                    return;
                }
                state = match self.wake.wait(state) {
                    Ok(state) => state,
                    Err(poisoned) => poisoned.into_inner(),
                };
            };
            drop(state);
            self.perform(job);
        }
    }

    fn perform(&self, job: Job<B::Unit>) {
        let began = Instant::now();
        let backend = &self.backend;
        let (unit, digest) = job.source.into_unit_and_digest(backend.compiler());
        let product = match backend.compiler().compile(&unit) {
            Ok(compiled) => backend
                .loader()
                .prepare(&compiled.object.bytes, &[&job.factory])
                .map_err(|error| Fault::Unloadable(error.to_string()))
                .map(|image| Product {
                    object: Digest::of("rekindle object", &compiled.object.bytes),
                    compiled,
                    image,
                }),
            Err(error) => Err(Fault::Uncompilable(Box::new(error))),
        };
        job.promise.keep(Made {
            digest,
            unit,
            product,
            took: began.elapsed(),
        });
    }
}

impl<U> Progress<U> {
    /// What was made, if it was, which nobody else gets then.
    fn take(&mut self) -> Option<Made<U>> {
        match std::mem::replace(self, Self::Abandoned) {
            Self::Done(made) => Some(made),
            Self::UnderWay | Self::Abandoned => None,
        }
    }
}

impl<U> Promise<U> {
    fn keep(mut self, made: Made<U>) {
        self.fill(Progress::Done(made));
    }

    fn fill(&mut self, progress: Progress<U>) {
        if let Some(slot) = self.0.take() {
            *crate::lock(&slot.state) = progress;
            slot.changed.notify_all();
        }
    }
}

impl<U> Drop for Promise<U> {
    fn drop(&mut self) {
        self.fill(Progress::Abandoned);
    }
}
