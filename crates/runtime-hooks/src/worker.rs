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
//! It also tends the store, which look-ups ask for when they have read a part of a large pack, and makes memory
//! present that sessions are about to use.
//!
//! Its thread is started by the first of either, so a process that hits little and puts nothing has none. It ends before the cache
//! is gone: what else is waited for at closing, it flushes meanwhile; closing waits for the file operation under way, starts no maintenance, and flushes. Should
//! that take longer than the deadline, the worker is left behind with what it is waiting for, which is
//! said in a warning; it uses nothing of the cache but the store, which it holds.

use crate::arena::Absent;
use crate::background::{Background, End, Shared};
use crate::report::JournalQueue;
use rekindle_cache_core::store::{Store, StoreError};
use std::sync::Arc;
use std::thread::Builder;
use std::time::{Duration, Instant};

/// How much may wait to be written before a put writes it.
pub(crate) const QUEUE_BYTES: usize = 16 << 20;

/// How long the worker gathers before it writes.
const GATHER: Duration = Duration::from_millis(20);

/// How long nothing is put before the worker seals.
const QUIET: Duration = Duration::from_millis(1000);

/// How long it looks by itself for what is to be tended after it has tended, and how often: waking it costs a hit
/// many times its own time.
const LINGER: Duration = Duration::from_millis(5);
const LOOK: Duration = Duration::from_micros(400);

/// Writes what a store was given, on a thread of its own.
pub(crate) struct Worker(Arc<Inner>);

struct Inner {
    thread: Background<State>,
    writing: Writing,
}

/// What is written to.
#[derive(Clone)]
struct Writing {
    store: Arc<dyn Store>,
    journal: Option<Arc<JournalQueue>>,
}

#[derive(Default)]
struct State {
    /// When the first record was put that is not written yet.
    dirty_since: Option<Instant>,
    /// When something was put last.
    last_put: Option<Instant>,
    /// The thread waits to be woken.
    is_asleep: bool,
    /// It looks by itself.
    is_looking: bool,
    /// When it has tended last.
    tended: Option<Instant>,
    must_stop: bool,
    /// What is in the store's memory stays there.
    must_not_flush: bool,
    must_flush: bool,
    must_tend: bool,
    /// Memory that is to be made present when the store is tended.
    absent: Vec<Absent>,
    /// How the last flush went.
    flushed: Option<Result<(), StoreError>>,
}

impl Worker {
    /// A worker for `store`, which has nothing to do yet.
    pub(crate) fn new(store: Arc<dyn Store>, journal: Option<Arc<JournalQueue>>) -> Self {
        let inner = Arc::new(Inner {
            thread: Background::new(State::default()),
            writing: Writing { store, journal },
        });
        // The store is this worker's, and not the other way round.
        let worker = Arc::downgrade(&inner);
        inner.writing.store.tended_by(Arc::new(move || {
            if let Some(worker) = worker.upgrade() {
                worker.tend_soon();
            }
        }));
        Self(inner)
    }

    /// Says that something was put.
    pub(crate) fn note_put(&self) {
        let shared = self.0.thread.shared();
        let is_first = {
            let mut state = shared.lock();
            let now = Instant::now();
            state.dirty_since.get_or_insert(now);
            if std::mem::take(&mut state.is_asleep) {
                shared.notify();
            }
            state.last_put.replace(now).is_none()
        };
        if is_first {
            self.0.start();
        }
    }

    /// Has the thread make memory present, without being waited for.
    pub(crate) fn make_present_soon(&self, absent: Absent) {
        self.0.ask(|state| {
            state.absent.push(absent);
            std::mem::replace(&mut state.must_tend, true)
        });
    }

    /// Has the thread flush what was put so far, if there is anything, without being waited for.
    pub(crate) fn flush_soon(&self) {
        let shared = self.0.thread.shared();
        let mut state = shared.lock();
        state.must_flush = true;
        state.is_asleep = false;
        shared.notify();
    }

    /// Makes what was put durable and visible to other processes, on the calling thread.
    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        self.0.writing.flush()
    }

    /// Ends the thread, which finishes the step that it is at, and flushes the store. `None` if it did not
    /// end within `deadline`.
    pub(crate) fn stop(&self, deadline: Duration) -> Option<Result<(), StoreError>> {
        match self.0.thread.stop(|state| state.must_stop = true, deadline) {
            End::Late => None,
            // It flushes when it comes to its end.
            End::Own => Some(Ok(())),
            End::None | End::Ended => {
                let flushed = self.0.thread.shared().lock().flushed.take();
                // Without a thread, or with one that panicked, nobody has done it.
                Some(flushed.unwrap_or_else(|| self.0.writing.flush()))
            }
        }
    }

    /// Ends the thread of a store that is only read, and waits for that up to `deadline`.
    pub(crate) fn quit(&self, deadline: Duration) {
        let quit = |state: &mut State| {
            state.must_stop = true;
            state.must_not_flush = true;
        };
        if self.0.thread.stop(quit, deadline) == End::Late {
            tracing::debug!("the cache's worker is left behind");
        }
    }
}

impl Inner {
    fn start(&self) {
        let writing = self.writing.clone();
        let builder = Builder::new().name("rekindle".to_owned());
        // Without one the puts write by themselves when much has gathered, and closing flushes.
        self.thread
            .start(builder, move |shared| writing.run(shared));
    }

    /// Has the thread tend the store, without being waited for.
    fn tend_soon(&self) {
        // Where nobody can be asked, what is to be tended stays noted in the store, for the next time.
        self.ask(|state| std::mem::replace(&mut state.must_tend, true));
    }

    /// Notes for the thread that there is something to tend, and wakes it unless that was noted before.
    fn ask(&self, note: impl FnOnce(&mut State) -> bool) {
        let shared = self.thread.shared();
        let Some(mut state) = shared.try_lock() else {
            return;
        };
        if note(&mut state) || state.is_looking {
            return;
        }
        drop(state);
        shared.notify();
        self.start();
    }
}

/// What the worker does next.
enum Step {
    Tend(Vec<Absent>),
    Write,
    Flush,
    Seal,
    Stop,
}

impl Writing {
    fn run(&self, shared: &Shared<State>) {
        let mut is_sealed = true;
        loop {
            let done = match next(shared, is_sealed) {
                Step::Stop => {
                    let must_flush = !shared.lock().must_not_flush;
                    if must_flush {
                        let flushed = self.flush();
                        shared.lock().flushed = Some(flushed);
                    }
                    return;
                }
                Step::Tend(absent) => {
                    absent.into_iter().for_each(Absent::make_present);
                    self.store.tend();
                    Ok(())
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
                    let mut done = self.store.flush();
                    let must_stop = shared.lock().must_stop;
                    if done.is_ok() && !must_stop {
                        done = self.store.maintain();
                    }
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
}

/// Waits until there is something to do.
fn next(shared: &Shared<State>, is_sealed: bool) -> Step {
    let mut state = shared.lock();
    loop {
        if state.must_stop {
            return Step::Stop;
        }
        state.is_looking = false;
        if std::mem::take(&mut state.must_tend) {
            state.tended = Some(Instant::now());
            return Step::Tend(std::mem::take(&mut state.absent));
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
            None if state.tended.is_some_and(|last| last.elapsed() < LINGER) => {
                state.is_looking = true;
                LOOK
            }
            None => {
                state.is_asleep = true;
                state = shared.wait(state, None);
                continue;
            }
        };
        state = shared.wait(state, Some(wait));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rekindle_cache_core::key::FormKey;
    use rekindle_cache_core::store::{Found, MemoryStore, NewRecord, StoreStatistics, Wake};
    use std::ops::ControlFlow;
    use std::sync::{Mutex, mpsc};

    const MINUTE: Duration = Duration::from_secs(60);

    /// A store that can be asked to ask for being tended.
    struct Untidy {
        wake: Mutex<Option<Wake>>,
        tended: mpsc::Sender<()>,
    }

    impl Store for Untidy {
        fn get(&self, _: &FormKey, _: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>) {}

        fn put(&self, _: NewRecord<'_>) -> Result<(), StoreError> {
            Ok(())
        }

        fn remove(&self, _: &FormKey) {}

        fn for_each(&self, _: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>) {}

        fn flush(&self) -> Result<(), StoreError> {
            Ok(())
        }

        fn statistics(&self) -> StoreStatistics {
            StoreStatistics::default()
        }

        fn tended_by(&self, wake: Wake) {
            *crate::lock(&self.wake) = Some(wake);
        }

        fn tend(&self) {
            let _ = self.tended.send(());
        }
    }

    #[test]
    fn a_store_that_asks_is_tended_as_long_as_its_worker_lives() {
        let (tended, is_tended) = mpsc::channel();
        let store = Arc::new(Untidy {
            wake: Mutex::default(),
            tended,
        });
        let worker = Worker::new(Arc::<Untidy>::clone(&store), None);
        let wake = crate::lock(&store.wake)
            .clone()
            .expect("the worker is told");
        for _ in 0..3 {
            wake();
            assert_eq!(is_tended.recv_timeout(MINUTE), Ok(()));
        }
        assert!(worker.stop(MINUTE).is_some());
        wake();
        drop(worker);
        wake();
        assert!(is_tended.try_recv().is_err());
        drop((wake, crate::lock(&store.wake).take()));
        assert_eq!(Arc::strong_count(&store), 1, "nobody else has it");
    }

    /// As when a cache that is only read is closed.
    #[test]
    fn what_tends_a_store_ends_and_lets_go_of_it() {
        let store = Arc::new(MemoryStore::new());
        let worker = Worker::new(Arc::<MemoryStore>::clone(&store), None);
        worker.0.tend_soon();
        assert!(worker.0.thread.is_running());
        worker.quit(MINUTE);
        assert!(!worker.0.thread.is_running());
        drop(worker);
        assert_eq!(Arc::strong_count(&store), 1);
    }
}
