//! The background worker: writing, sealing, merging and pruning happen on its thread, not on those that
//! evaluate.
//!
//! What is put waits to be made a record, as `unmade.rs` says, and then in the store's memory, which is the
//! worker's queue. It is bounded: when more than
//! [`QUEUE_BYTES`] wait, because the disk is slow, the thread that puts the next record writes what
//! waits, so nothing is lost and memory stays flat. Should the worker itself be held up in a write, nobody
//! waits for it: 64 MiB may gather, or an eighth of what the store may have, and what is put beyond that is
//! not kept, which is counted and told of once. The worker writes soon after a put; it seals when
//! nothing was put for a while, and maintains the folder after that.
//!
//! Its thread is started by the first put, so a process that only hits has none. It ends before the cache
//! is gone: what else is waited for at closing, it flushes meanwhile; closing waits for the file operation under way, starts no maintenance, and flushes. Should
//! that take longer than the deadline, the worker is left behind with what it is waiting for, which is
//! said in a warning; it uses nothing of the cache but the store, which it holds.

use crate::report::JournalQueue;
use rekindle_cache_core::store::{Store, StoreError};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How much may wait to be written before a put writes it.
pub(crate) const QUEUE_BYTES: usize = 16 << 20;

/// How long the worker gathers before it writes.
const GATHER: Duration = Duration::from_millis(20);

/// How long nothing is put before the worker seals.
const QUIET: Duration = Duration::from_millis(1000);

/// Writes what a store was given, on a thread of its own.
pub(crate) struct Worker {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    store: Arc<dyn Store>,
    journal: Option<Arc<JournalQueue>>,
    state: Mutex<State>,
    /// There is something to do.
    wake: Condvar,
    /// The thread has ended.
    ended: Condvar,
}

#[derive(Default)]
struct State {
    /// When the first record was put that is not written yet.
    dirty_since: Option<Instant>,
    /// When something was put last.
    last_put: Option<Instant>,
    /// The thread waits to be woken.
    is_asleep: bool,
    must_stop: bool,
    must_flush: bool,
    has_ended: bool,
    /// How the last flush went.
    flushed: Option<Result<(), StoreError>>,
}

impl Worker {
    /// A worker for `store`, which has nothing to do yet.
    pub(crate) fn new(store: Arc<dyn Store>, journal: Option<Arc<JournalQueue>>) -> Self {
        Self {
            shared: Arc::new(Shared {
                store,
                journal,
                state: Mutex::default(),
                wake: Condvar::new(),
                ended: Condvar::new(),
            }),
            thread: Mutex::default(),
        }
    }

    /// Says that something was put.
    pub(crate) fn note_put(&self) {
        let must_start = {
            let mut state = crate::lock(&self.shared.state);
            let is_first = state.last_put.is_none();
            let now = Instant::now();
            state.dirty_since.get_or_insert(now);
            state.last_put = Some(now);
            if std::mem::take(&mut state.is_asleep) {
                self.shared.wake.notify_one();
            }
            is_first
        };
        if must_start {
            self.start();
        }
    }

    fn start(&self) {
        let shared = Arc::clone(&self.shared);
        let builder = std::thread::Builder::new().name("rekindle".to_owned());
        match builder.spawn(move || shared.run()) {
            Ok(thread) => *crate::lock(&self.thread) = Some(thread),
            // Then the puts write by themselves when much has gathered, and closing flushes.
            Err(error) => tracing::debug!(%error, "no thread for the cache's worker"),
        }
    }

    /// Has the thread flush what was put so far, if there is anything, without being waited for.
    pub(crate) fn flush_soon(&self) {
        let mut state = crate::lock(&self.shared.state);
        state.must_flush = true;
        state.is_asleep = false;
        self.shared.wake.notify_one();
    }

    /// Ends the thread, which finishes the step that it is at, and flushes the store. `None` if it did not
    /// end within `deadline`.
    pub(crate) fn stop(&self, deadline: Duration) -> Option<Result<(), StoreError>> {
        let Some(thread) = crate::lock(&self.thread).take() else {
            return Some(self.shared.flush());
        };
        let mut state = crate::lock(&self.shared.state);
        state.must_stop = true;
        self.shared.wake.notify_one();
        let waited =
            (self.shared.ended).wait_timeout_while(state, deadline, |state| !state.has_ended);
        let mut state = match waited {
            Ok((state, _)) => state,
            Err(poisoned) => poisoned.into_inner().0,
        };
        let flushed = state.flushed.take();
        let has_ended = state.has_ended;
        drop(state);
        if !has_ended {
            return None;
        }
        // It has nothing left to do but to return.
        let panicked = thread.join().is_err();
        match flushed {
            Some(flushed) => Some(flushed),
            None => {
                debug_assert!(panicked, "a worker that ends by itself has flushed");
                Some(self.shared.flush())
            }
        }
    }
}

/// What the worker does next.
enum Step {
    Write,
    Flush,
    Seal,
    Stop,
}

impl Shared {
    fn run(&self) {
        let _ended = Ended(self);
        let mut is_sealed = true;
        loop {
            let done = match self.next(is_sealed) {
                Step::Stop => {
                    let flushed = self.flush();
                    crate::lock(&self.state).flushed = Some(flushed);
                    return;
                }
                Step::Write => {
                    is_sealed = false;
                    if let Some(journal) = &self.journal {
                        journal.write();
                    }
                    self.store.write()
                }
                Step::Flush => {
                    is_sealed = true;
                    self.flush()
                }
                Step::Seal => {
                    is_sealed = true;
                    if let Some(journal) = &self.journal {
                        journal.write_statistics();
                    }
                    let done = self.store.flush().and_then(|()| match self.must_stop() {
                        true => Ok(()),
                        false => self.store.maintain(),
                    });
                    self.write_history();
                    done
                }
            };
            // The store has counted the fault and told of the first.
            if let Err(error) = done {
                tracing::debug!(%error, "the cache's worker met a fault");
            }
        }
    }

    /// Waits until there is something to do.
    fn next(&self, is_sealed: bool) -> Step {
        let mut state = crate::lock(&self.state);
        loop {
            if state.must_stop {
                return Step::Stop;
            }
            if std::mem::take(&mut state.must_flush)
                && (state.dirty_since.take().is_some() || !is_sealed)
            {
                return Step::Flush;
            }
            let since_put = state.last_put.map_or(QUIET, |put| put.elapsed());
            let gathered = state.dirty_since.map(|since| since.elapsed());
            let wait = match gathered {
                Some(gathered) if gathered >= GATHER => {
                    state.dirty_since = None;
                    return Step::Write;
                }
                Some(gathered) => GATHER - gathered,
                None if !is_sealed && since_put >= QUIET => return Step::Seal,
                None if !is_sealed => QUIET - since_put,
                None => {
                    state.is_asleep = true;
                    state = match self.wake.wait(state) {
                        Ok(state) => state,
                        Err(poisoned) => poisoned.into_inner(),
                    };
                    continue;
                }
            };
            state = match self.wake.wait_timeout(state, wait) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    fn flush(&self) -> Result<(), StoreError> {
        if let Some(journal) = &self.journal {
            journal.write();
            journal.write_statistics();
        }
        let flushed = self.store.flush();
        self.write_history();
        flushed
    }

    fn write_history(&self) {
        if let Some(journal) = &self.journal {
            journal.write_history(self.store.statistics());
        }
    }

    fn must_stop(&self) -> bool {
        crate::lock(&self.state).must_stop
    }
}

/// Says that the thread has ended, however it did.
struct Ended<'a>(&'a Shared);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        crate::lock(&self.0.state).has_ended = true;
        self.0.ended.notify_all();
    }
}
