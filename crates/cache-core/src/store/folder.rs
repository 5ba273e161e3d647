//! The folder store: records in a folder that any number of processes share.
//!
//! What this process puts stays in memory until it is sealed, so that it can be found, and is appended
//! to the process's segment in batches. A look-up takes no lock as long as nothing is in memory only, and
//! else one, of this process and for the time that it takes to copy a pointer. It never waits for another
//! process, nor for a file operation of this one.

mod operations;
mod writing;

use super::io::{Disk, Io};
use super::limits::Limits;
use super::listing::Listing;
use super::resident::{ResidentRecord, Residents};
use super::segment;
use super::snapshot::Snapshot;
use super::tending::Tending;
use super::uses::Uses;
use super::writer::Writer;
use super::{Store, StoreError};
use crate::folder;
use crate::key::FormKey;
use arc_swap::ArcSwap;
use rustc_hash::FxHashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// What was put is written to the segment when it comes to this many bytes, unless the store's owner
/// says otherwise.
const BATCH: usize = 256 << 10;

/// When so many bytes wait to be written, or an eighth of what the store may have, what is put next is not
/// kept.
const MAX_PENDING: u64 = 64 << 20;

/// Keeps records in a folder that any number of processes share.
///
/// Of records with the same key, those that this process put and has not flushed come first, then those
/// in packs, from the newest pack to the oldest. Packs are mapped: one that is truncated by its owner
/// while a process uses it ends that process with SIGBUS. On network file systems they are read.
///
/// Dropping the store flushes it.
///
/// ```
/// use rekindle_cache_core::store::{FolderStore, Store};
///
/// let parent = tempfile::tempdir()?;
/// let store = FolderStore::open(parent.path().join("cache"))?;
/// assert_eq!(store.statistics().records, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct FolderStore {
    /// The folder as the caller named it.
    root: PathBuf,
    /// The folder in it for files of this version.
    pub(super) folder: PathBuf,
    pub(super) io: Arc<dyn Io>,
    pub(super) limits: Limits,
    access: Access,
    /// How many bytes may wait to be written.
    batch: usize,
    /// The packs that look-ups see. Is changed while `state` is locked for writing.
    snapshot: ArcSwap<Snapshot>,
    state: RwLock<State>,
    /// Whether there are residents.
    has_residents: AtomicBool,
    /// Is locked before `state` where both are.
    writer: Mutex<Writer>,
    /// Is locked before `state` where both are.
    listing: Mutex<Listing>,
    generations: AtomicU64,
    damage: Mutex<DamageSeen>,
    pub(super) uses: Uses,
    pub(super) tending: Arc<Tending>,
    faults: AtomicU64,
    dropped: AtomicU64,
    pub(super) evicted: AtomicU64,
    pub(super) evicted_bytes: AtomicU64,
    /// Bytes of files other than packs, when they were last looked at.
    pub(super) others: AtomicU64,
    has_warned: AtomicBool,
}

/// How a folder store is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// How large the store may become.
    pub limits: Limits,
    /// The file operations.
    pub io: Arc<dyn Io>,
    /// Nothing is changed in the folder.
    pub read_only: bool,
    /// How many bytes may wait in memory until [`put`](Store::put) writes them to the segment by itself.
    /// Whoever calls [`write`](Store::write) in the background wants more than the default.
    pub batch: usize,
}

impl Default for Options {
    /// Limits from the environment, the operating system's files, for reading and writing. Limits that
    /// are no numbers are told of and the default ones are taken.
    fn default() -> Self {
        Self {
            limits: Limits::from_environment().unwrap_or_else(|error| {
                tracing::warn!("{error}");
                Limits::default()
            }),
            io: Arc::new(Disk),
            read_only: false,
            batch: BATCH,
        }
    }
}

/// What may be done in the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    ReadWrite,
    /// As the caller wished, or because the folder cannot be written: nothing is adopted, set aside or
    /// sealed, and what is put stays in memory.
    ReadOnly,
}

#[derive(Default)]
struct State {
    /// What was put and is in no pack that this process sees.
    residents: Residents,
    /// Those of them that no file has yet.
    pending: Vec<Arc<ResidentRecord>>,
    pending_bytes: usize,
    /// How much must be pending for the next batch.
    batch: usize,
}

/// Damage met so far; each is counted once.
#[derive(Default)]
struct DamageSeen {
    records: FxHashSet<(Option<PathBuf>, u64)>,
    reported: u64,
}

impl FolderStore {
    /// Opens the store in `folder`, and makes the folder if it is not there.
    ///
    /// What dead processes left is adopted, and damaged packs are set aside. In a folder that this user
    /// can read but not write, records are found, and those put stay in memory: [`flush`](Store::flush)
    /// says so.
    ///
    /// # Errors
    /// A folder that cannot be made or read, or [`StoreError::Untrusted`]: one that others can write or
    /// that somebody else owns. Use a [`MemoryStore`](super::MemoryStore) instead.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with(folder, Options::default())
    }

    /// Opens the store in `folder` without changing anything there, to look into it.
    ///
    /// # Errors
    /// A folder that is not there or cannot be read, or that others can write.
    pub fn open_read_only(folder: impl AsRef<Path>) -> Result<Self, StoreError> {
        let options = Options {
            read_only: true,
            ..Options::default()
        };
        Self::open_with(folder, options)
    }

    /// Opens the store in `folder` as `options` say.
    ///
    /// # Errors
    /// As [`open`](Self::open) and [`open_read_only`](Self::open_read_only).
    pub fn open_with(folder: impl AsRef<Path>, options: Options) -> Result<Self, StoreError> {
        let root = folder.as_ref();
        if options.read_only {
            return match folder::find(root)? {
                Some(versioned) => Self::start(root, versioned, options, Access::ReadOnly),
                None => Ok(Self::new(root, root.to_owned(), options, Access::ReadOnly)),
            };
        }
        let folder = folder::prepare(root)?;
        let wanted = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
        let access = match rustix::fs::accessat(
            rustix::fs::CWD,
            &folder,
            wanted,
            rustix::fs::AtFlags::EACCESS,
        ) {
            Ok(()) => Access::ReadWrite,
            Err(error) => {
                tracing::debug!(folder = %folder.display(), %error, "the cache can be read only");
                Access::ReadOnly
            }
        };
        let adopted = match access {
            Access::ReadWrite => segment::adopt_all(&options.io, &folder),
            Access::ReadOnly => Ok(()),
        };
        let store = Self::start(root, folder, options, access)?;
        if let Err(error) = adopted {
            store.fault(&error);
        }
        if access == Access::ReadWrite
            && let Err(error) = store.set_aside_damaged()
        {
            store.fault(&error);
        }
        Ok(store)
    }

    /// The folder in which this version keeps its files.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether what is put stays in memory, because the folder cannot be written or was opened so.
    pub fn is_read_only(&self) -> bool {
        self.access == Access::ReadOnly
    }

    fn start(
        root: &Path,
        folder: PathBuf,
        options: Options,
        access: Access,
    ) -> Result<Self, StoreError> {
        let store = Self::new(root, folder, options, access);
        store.refresh()?;
        Ok(store)
    }

    fn new(root: &Path, folder: PathBuf, options: Options, access: Access) -> Self {
        // In a small store less may wait, or what is put could not be kept.
        let small = usize::try_from(options.limits.pack_bytes() / 2).unwrap_or(usize::MAX);
        let batch = options.batch.min(small);
        let tending = Arc::new(Tending::default());
        Self {
            root: root.to_owned(),
            listing: Mutex::new(Listing::new(
                Arc::clone(&options.io),
                folder.clone(),
                Arc::clone(&tending),
            )),
            folder,
            io: options.io,
            limits: options.limits,
            access,
            batch,
            snapshot: ArcSwap::default(),
            has_residents: AtomicBool::new(false),
            state: RwLock::new(State {
                batch,
                ..State::default()
            }),
            writer: Mutex::default(),
            generations: AtomicU64::new(0),
            damage: Mutex::default(),
            uses: Uses::new(),
            tending,
            faults: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            evicted_bytes: AtomicU64::new(0),
            others: AtomicU64::new(0),
            has_warned: AtomicBool::new(false),
        }
    }

    /// Counts a fault that nobody else is told of, and tells of the first: the others say the same.
    pub(super) fn fault(&self, error: &StoreError) {
        self.faults.fetch_add(1, Ordering::Relaxed);
        self.tell(
            error,
            "the cache does not work as it should; nothing depends on it",
        );
    }

    /// Warns of the first fault that nobody else is told of.
    fn tell(&self, error: &StoreError, what: &str) {
        if self.has_warned.swap(true, Ordering::Relaxed) {
            tracing::debug!(%error, "{what}");
        } else {
            tracing::warn!(%error, "{what}");
        }
    }

    /// Counts a fault that the caller is told of.
    pub(super) fn counted<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if result.is_err() {
            self.faults.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Changes the packs that look-ups see from now on.
    pub(super) fn change_snapshot<R>(&self, change: impl FnOnce(&mut Snapshot) -> R) -> R {
        let state = self.state();
        self.change_snapshot_locked(&state, change)
    }

    fn change_snapshot_locked<R>(
        &self,
        _state: &State,
        change: impl FnOnce(&mut Snapshot) -> R,
    ) -> R {
        let mut snapshot = Snapshot::clone(&self.snapshot.load());
        let result = change(&mut snapshot);
        self.snapshot.store(Arc::new(snapshot));
        result
    }

    /// Takes records out of memory.
    fn forget<'a>(
        &self,
        state: &mut State,
        records: impl Iterator<Item = &'a Arc<ResidentRecord>> + Clone,
    ) {
        state.residents.forget(records);
        let any = !state.residents.is_empty();
        self.has_residents.store(any, Ordering::Release);
    }

    /// Keeps a record in memory until it is sealed.
    fn keep(&self, state: &mut State, record: Arc<ResidentRecord>) {
        state.residents.put(Arc::clone(&record));
        state.pending_bytes += record.bytes().len();
        state.pending.push(record);
        self.has_residents.store(true, Ordering::Release);
    }

    /// Does not find any more, from now on and in processes that see what the next flush writes, the
    /// records of `key` that are found now.
    fn remove_because(&self, key: &FormKey, reason: &str) {
        let versions = self.read().residents.get(key);
        let snapshot = self.snapshot();
        let mut identities = Vec::new();
        for pack in snapshot.packs() {
            pack.identities(key, &mut identities);
        }
        identities.retain(|identity| !snapshot.removed().contains(identity));
        let residents: Vec<_> = versions
            .iter()
            .flat_map(|versions| versions.iter())
            .filter(|record| !record.is_removal())
            .cloned()
            .collect();
        identities.extend(residents.iter().map(|record| record.identity()));
        if identities.is_empty() {
            return;
        }
        let removal = ResidentRecord::removal(key, &identities, reason).map(Arc::new);
        let mut state = self.state();
        self.change_snapshot_locked(&state, |snapshot| snapshot.remove(&identities));
        self.forget(&mut state, residents.iter());
        if let Ok(removal) = removal {
            self.keep(&mut state, removal);
        }
    }

    /// Does not find any more the records of `key` that are found now, because of how they behaved. Other
    /// processes do so when they have seen what the next flush writes.
    pub fn set_aside(&self, key: &FormKey, reason: &str) {
        tracing::warn!(%key, reason, "a record is set aside and compiled again");
        self.remove_because(key, reason);
    }

    fn note(&self, damage: &super::Damage) {
        let place = (damage.file.clone(), damage.offset);
        if lock(&self.damage).records.insert(place) {
            tracing::warn!(%damage, "a record is damaged and is not used");
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for FolderStore {
    fn drop(&mut self) {
        if self.access == Access::ReadOnly {
            return;
        }
        if let Err(error) = self.flush() {
            self.tell(&error, "what was compiled is not kept for the next process");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
