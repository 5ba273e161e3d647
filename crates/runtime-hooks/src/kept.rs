//! Where a cache keeps its records, in this process: the store, and the worker that writes it.
//!
//! A forked child has neither its parent's worker nor a right to its parent's locks, so it opens the
//! store anew when it first asks for it. What the parent had not flushed by then is the parent's.

use crate::arena::Absent;
use crate::better::{self, Caution};
use crate::flights::Flights;
use crate::jobs::Jobs;
use crate::keep::Unmade;
use crate::looks::Looks;
use crate::outcome::{MissReason, Outcome, RejectReason};
use crate::report::JournalQueue;
use crate::settings::{Mode, Settings};
use crate::statistics::Ledger;
use crate::unmade::Deferring;
use crate::verify;
use crate::watch::{Inside, Origin, Watch};
use crate::worker::{QUEUE_BYTES, Worker};
use rekindle_cache_core::Digest;
use rekindle_cache_core::fork::PerProcess;
use rekindle_cache_core::journal::EnvironmentPart;
use rekindle_cache_core::key::FormKey;
use rekindle_cache_core::store::{
    Deaths, FolderStore, Limits, MemoryStore, Options, Store, StoreError,
};
use rekindle_cache_core::timeline::Kind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A store that is opened anew in forked processes.
pub(crate) struct Kept {
    opened: PerProcess<Opened>,
    deadline: Duration,
    /// How long closing goes on with making code better.
    at_close: Duration,
    /// What is put stays in memory, as the user wished.
    is_read_only: bool,
}

struct Opened {
    store: Arc<Deferring>,
    /// There where the store has a folder that may be written.
    journal: Option<Arc<JournalQueue>>,
    worker: Worker,
    flights: Flights,
    /// What processes died in, where the store has a folder.
    deaths: Option<Arc<Deaths>>,
    /// There where deaths are to be noted.
    watch: Option<Arc<Watch>>,
    looks: Looks,
    verifier: Jobs,
    /// There if the backend has a better compiler.
    improver: Option<Jobs>,
    /// That of the store's files, if it may be written to.
    folder: Option<PathBuf>,
}

impl Kept {
    /// In a folder. One that cannot be used is told of, and memory taken in its place.
    pub(crate) fn in_folder(
        folder: Result<PathBuf, StoreError>,
        settings: &Settings,
        ledger: &Arc<Ledger>,
    ) -> Self {
        let (mode, limits) = (settings.mode(), settings.limits());
        let folder = folder.map_err(|error| error.to_string());
        let open = move || match &folder {
            Ok(folder) => open_folder(folder, mode, limits).unwrap_or_else(|error| {
                tracing::warn!("nothing will be kept after this process: {error}");
                in_memory()
            }),
            Err(error) => {
                tracing::warn!("nothing will be kept after this process: {error}");
                in_memory()
            }
        };
        Self::new(open, settings, Arc::clone(ledger))
    }

    /// In memory. A forked child starts with nothing.
    pub(crate) fn in_memory(settings: &Settings) -> Self {
        Self::new(in_memory, settings, Arc::default())
    }

    /// In a store that the host made, which has to bear a fork by itself.
    pub(crate) fn in_store(store: Arc<dyn Store>, settings: &Settings) -> Self {
        let open = move || Place {
            store: Arc::clone(&store),
            folder: None,
            deaths: None,
        };
        Self::new(open, settings, Arc::default())
    }

    fn new(
        open: impl Fn() -> Place + Send + Sync + 'static,
        settings: &Settings,
        ledger: Arc<Ledger>,
    ) -> Self {
        let watches = settings.watch_deaths();
        let improves = settings.improving.is_some();
        let opened = PerProcess::new(move || {
            let Place {
                store,
                folder,
                deaths,
            } = {
                let began = Instant::now();
                let place = open();
                if let Some(timeline) = ledger.timeline() {
                    timeline.note(Kind::Open, "the store", began, began.elapsed());
                }
                place
            };
            let flights = Flights::new(folder.as_deref());
            let watched = folder.as_deref().filter(|_| watches);
            let watch = watched.map(|folder| Arc::new(Watch::new(folder)));
            ledger.begin_process();
            let journal = folder.as_deref().map(|folder| {
                let now = store.statistics();
                Arc::new(JournalQueue::new(folder, Arc::clone(&ledger), now))
            });
            let store = Arc::new(Deferring::new(store));
            let written = Arc::<Deferring>::clone(&store);
            let improver = improves.then(|| better::improver(Arc::<Deferring>::clone(&store)));
            Opened {
                worker: Worker::new(written, journal.clone()),
                journal,
                store,
                flights,
                deaths: deaths.map(Arc::new),
                watch,
                looks: Looks::new(),
                verifier: verify::verifier(),
                improver,
                folder,
            }
        });
        Self {
            opened,
            deadline: settings.deadline(),
            at_close: settings
                .improving
                .map_or(Duration::ZERO, |improving| improving.at_close),
            is_read_only: settings.mode() == Mode::ReadOnly,
        }
    }

    /// Whether nothing may be put.
    pub(crate) fn is_read_only(&self) -> bool {
        self.is_read_only
    }

    /// The store.
    pub(crate) fn store(&self) -> &dyn Store {
        &*self.opened.get().store
    }

    /// The folder of the store's files, if it may be written to.
    pub(crate) fn written_folder(&self) -> Option<&Path> {
        self.opened.get().folder.as_deref()
    }

    /// The store, for other threads.
    pub(crate) fn shared_store(&self) -> Arc<dyn Store> {
        Arc::<Deferring>::clone(&self.opened.get().store)
    }

    /// The journal, if there is one.
    pub(crate) fn journal(&self) -> Option<&Arc<JournalQueue>> {
        self.opened.get().journal.as_ref()
    }

    /// Compares hits with what they compile to now.
    pub(crate) fn verifier(&self) -> &Jobs {
        &self.opened.get().verifier
    }

    /// Makes code better, if that is to be done.
    pub(crate) fn improver(&self) -> Option<&Jobs> {
        self.opened.get().improver.as_ref()
    }

    /// What keeps code from being made better of which processes die.
    pub(crate) fn caution(&self) -> Caution {
        let opened = self.opened.get();
        Caution {
            deaths: opened.deaths.clone(),
            watch: opened.watch.clone(),
        }
    }

    /// What is being compiled.
    pub(crate) fn flights(&self) -> &Flights {
        &self.opened.get().flights
    }

    /// When other processes' records are looked for.
    pub(crate) fn looks(&self) -> &Looks {
        &self.opened.get().looks
    }

    /// Keeps a record; the worker makes and writes it.
    pub(crate) fn put(&self, record: Unmade) {
        let opened = self.opened.get();
        opened.store.defer(record);
        if !self.is_read_only {
            opened.worker.note_put();
        }
    }

    /// Has the worker make memory present.
    #[cold]
    pub(crate) fn make_present_soon(&self, absent: Absent) {
        self.opened.get().worker.make_present_soon(absent);
    }

    /// Says that this thread is about to run a factory for the first time, until the result is dropped.
    #[inline]
    pub(crate) fn enter(&self, origin: &Origin) -> Option<Inside<'_>> {
        self.opened.get().watch.as_ref()?.enter(origin)
    }

    /// What came of looking for `key`, if nothing was found because processes died in what was there.
    pub(crate) fn with_deaths(&self, key: &FormKey, refusal: Outcome) -> Outcome {
        let deaths = self.opened.get().deaths.as_ref();
        match (&refusal, deaths.and_then(|deaths| deaths.reason(key))) {
            (Outcome::Miss(MissReason::New | MissReason::Differs(_)), Some(reason)) => {
                Outcome::Rejected(RejectReason::Deaths(reason))
            }
            _ => refusal,
        }
    }

    /// Says that `origin` was compiled and put. What had been set aside and is the same again is written at
    /// once: the factory may end the process, and is not to be compiled each time for that.
    pub(crate) fn note_compiled(&self, origin: &Origin) {
        let opened = self.opened.get();
        let compiled = |deaths: &Arc<Deaths>| deaths.compiled(&origin.key, origin.image);
        if opened.deaths.as_ref().is_some_and(compiled)
            && let Err(error) = opened.store.write()
        {
            opened.store.warn_once(&error);
        }
    }

    /// The parts of an environment that an earlier process described.
    pub(crate) fn parts_of(&self, environment: &Digest) -> Vec<EnvironmentPart> {
        let journal = self.opened.get().journal.as_ref();
        journal.map_or_else(Vec::new, |journal| journal.parts_of(environment))
    }

    /// Makes what was put durable and visible to other processes.
    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        match self.is_read_only {
            true => Ok(()),
            false => self.opened.get().worker.flush(),
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // A child that never asked for the store has nothing in it.
        let Some(opened) = self.opened.get_mut_if_home() else {
            return;
        };
        let improver = opened.improver.as_ref();
        let has_to_wait = opened.verifier.is_running() || improver.is_some_and(Jobs::is_running);
        if has_to_wait && !self.is_read_only {
            // Whatever takes long here, what was put is not to be lost for it.
            opened.worker.flush_soon();
        }
        // First: it removes what was wrong.
        let began = Instant::now();
        if !opened.verifier.stop(self.deadline, Duration::ZERO) {
            tracing::warn!("not all hits that were chosen were verified: compiling takes too long");
        }
        let whole = self.deadline.saturating_add(self.at_close);
        let left = || whole.saturating_sub(began.elapsed());
        if let Some(improver) = improver
            && !improver.stop(self.at_close, left().saturating_sub(self.at_close))
        {
            tracing::warn!("code was being made better: that takes too long");
        }
        if self.is_read_only {
            // The host's own store may outlive this.
            opened.store.make_in_memory();
            opened.worker.quit(left());
            return;
        }
        // Others who were slow leave the disk a share.
        let patience = left().max(self.deadline / 4);
        match opened.worker.stop(patience) {
            Some(Ok(())) => {}
            Some(Err(error)) => opened.store.warn_once(&error),
            None => tracing::warn!(
                "what was compiled last may not be kept: the disk did not answer for {patience:?}"
            ),
        }
    }
}

/// A store, and what else is known of where it is.
struct Place {
    store: Arc<dyn Store>,
    /// The folder of its files, if that may be written.
    folder: Option<PathBuf>,
    deaths: Option<Deaths>,
}

fn in_memory() -> Place {
    Place {
        store: Arc::new(MemoryStore::new()),
        folder: None,
        deaths: None,
    }
}

fn open_folder(folder: &Path, mode: Mode, limits: Limits) -> Result<Place, StoreError> {
    let options = Options {
        read_only: mode == Mode::ReadOnly,
        limits,
        batch: QUEUE_BYTES,
        ..Options::default()
    };
    let store = FolderStore::open_with(folder, options)?;
    let folder = (!store.is_read_only()).then(|| store.folder().to_owned());
    let deaths = Some(Deaths::collect(&store));
    Ok(Place {
        store: Arc::new(store),
        folder,
        deaths,
    })
}
