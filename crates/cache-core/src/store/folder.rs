//! The folder store: records in a folder that any number of processes share.
//!
//! What this process puts stays in memory until it is sealed, so that it can be found, and is appended
//! to the process's segment in batches. Look-ups take one lock, of this process, to get hold of the
//! current records in memory and packs, and none while they go through them.

use super::files;
use super::index::IndexEntry;
use super::pack::{Opened, Pack};
use super::resident::{ResidentRecord, Residents};
use super::segment;
use super::snapshot::{Listing, Snapshot};
use super::writer::Writer;
use super::{Found, NewRecord, Record, Store, StoreError, StoreStatistics};
use crate::folder;
use crate::key::FormKey;
use rustc_hash::{FxHashMap, FxHashSet};
use std::cell::Cell;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::sync::{TryLockError, TryLockError::Poisoned};

/// What was put is written to the segment when it comes to this many bytes.
const BATCH: usize = 256 << 10;

/// A segment of this size is sealed, because until then its records are in memory as well.
const LARGE_SEGMENT: u64 = 64 << 20;

/// Keeps records in a folder that any number of processes share.
///
/// Of records with the same key, those that this process put and has not flushed come first, then those
/// in packs, from the newest pack to the oldest. Packs are mapped: one that is truncated by its owner
/// while a process uses it ends that process with SIGBUS.
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
    /// The folder for files of this version.
    folder: PathBuf,
    access: Access,
    state: RwLock<State>,
    /// Is locked before `state` where both are.
    writer: Mutex<Writer>,
    /// Is locked before `state` where both are.
    listing: Mutex<Listing>,
    generations: AtomicU64,
    damage: Mutex<DamageSeen>,
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
    snapshot: Arc<Snapshot>,
    /// What was put and is in no pack that this process sees.
    residents: Residents,
    /// Those of them that no file has yet.
    pending: Vec<Arc<ResidentRecord>>,
    pending_bytes: usize,
    /// How much must be pending for the next batch.
    batch: usize,
    /// Of these keys, only records in packs from this generation on are shown.
    hidden: FxHashMap<FormKey, u64>,
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
        let folder = folder::prepare(folder.as_ref())?;
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
        if access == Access::ReadWrite {
            segment::adopt_all(&folder)?;
        }
        Self::start(folder, access)
    }

    /// Opens the store in `folder` without changing anything there, to look into it.
    ///
    /// # Errors
    /// A folder that is not there or cannot be read, or that others can write.
    pub fn open_read_only(folder: impl AsRef<Path>) -> Result<Self, StoreError> {
        match folder::find(folder.as_ref())? {
            Some(versioned) => Self::start(versioned, Access::ReadOnly),
            None => Ok(Self::new(folder.as_ref().to_owned(), Access::ReadOnly)),
        }
    }

    /// The folder in which this version keeps its files.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn start(folder: PathBuf, access: Access) -> Result<Self, StoreError> {
        let store = Self::new(folder, access);
        store.refresh()?;
        Ok(store)
    }

    fn new(folder: PathBuf, access: Access) -> Self {
        Self {
            listing: Mutex::new(Listing::new(folder.clone(), access == Access::ReadWrite)),
            folder,
            access,
            state: RwLock::new(State {
                batch: BATCH,
                ..State::default()
            }),
            writer: Mutex::default(),
            generations: AtomicU64::new(0),
            damage: Mutex::default(),
        }
    }

    /// Writes what is pending to the segment. What cannot be written stays pending.
    fn write_pending(&self, writer: &mut Writer) -> Result<(), StoreError> {
        writer.leave_to_parent();
        let (mut pending, newest) = {
            let mut state = self.write();
            state.pending_bytes = 0;
            (std::mem::take(&mut state.pending), state.snapshot.newest())
        };
        pending.retain(|record| !record.is_gone());
        if pending.is_empty() {
            return Ok(());
        }
        let written = writer.append(&self.folder, newest, &pending);
        let mut state = self.write();
        match written {
            Ok(()) => {
                state.batch = BATCH;
                Ok(())
            }
            Err(error) => {
                state.put_back(pending);
                // Not with the very next record again: the disk is likely still full.
                state.batch = state.pending_bytes + BATCH;
                Err(error)
            }
        }
    }

    /// Makes the segment a pack, and finds its records there from now on.
    fn seal(&self, writer: &mut Writer) -> Result<(), StoreError> {
        let Some(segment) = writer.segment.take() else {
            return Ok(());
        };
        let mut written = std::mem::take(&mut writer.written);
        written.retain(|(record, _)| !record.is_gone());
        if written.is_empty() {
            segment.discard();
            return Ok(());
        }
        let entries = written
            .iter()
            .map(|(record, offset)| IndexEntry::new(record.key().0.prefix(), *offset));
        let sealed = match segment.seal(entries.collect()) {
            Ok(sealed) => sealed,
            Err(error) => {
                self.write()
                    .put_back(written.into_iter().map(|(record, _)| record).collect());
                return Err(error);
            }
        };
        let generation = self.generations.fetch_add(1, Ordering::Relaxed);
        match Pack::open(&sealed.path, generation) {
            Ok(Opened::Intact(pack)) => {
                let mut state = self.write();
                Arc::make_mut(&mut state.snapshot).add(Arc::new(pack));
                // Removed while the pack was being made, so it is in there.
                let next = self.generations.load(Ordering::Relaxed);
                for (record, _) in written.iter().filter(|(record, _)| record.is_gone()) {
                    state.hidden.insert(*record.key(), next);
                }
                state
                    .residents
                    .hand_over(written.iter().map(|(record, _)| record));
            }
            // The records are found in memory as before.
            Ok(_) => {
                tracing::warn!(file = %sealed.path.display(), "a new pack cannot be read back");
            }
            Err(error) => tracing::warn!(%error, "a new pack cannot be read back"),
        }
        sealed.durable
    }

    /// Hides from this process all records of `key` that it finds now.
    fn hide(&self, key: &FormKey) {
        let mut state = self.write();
        state.residents.remove(key);
        let next = self.generations.load(Ordering::Relaxed);
        if !state.snapshot.packs().is_empty() {
            state.hidden.insert(*key, next);
        }
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

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for FolderStore {
    fn get(&self, key: &FormKey, visit: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>) {
        // The guard is gone when the first record is shown: `visit` may come back to this store.
        let (versions, snapshot, from) = {
            let state = self.read();
            let from = state.hidden.get(key).copied().unwrap_or(0);
            (state.residents.get(key), Arc::clone(&state.snapshot), from)
        };
        let answered = Cell::new(false);
        let mut noted = |found: Found<'_>| {
            answered.set(true);
            if let Found::Damaged(damage) = &found {
                self.note(damage);
            }
            visit(found)
        };
        for record in versions.iter().flat_map(|versions| versions.iter().rev()) {
            if record.show(&mut noted).is_break() {
                return;
            }
        }
        if snapshot.get(key, from, &mut noted).is_continue() && !answered.get() {
            // The record may have been in what was lost.
            if let Some(damage) = snapshot.lost().first() {
                let _ = visit(Found::Damaged(damage));
            }
        }
    }

    fn put(&self, record: NewRecord<'_>) -> Result<(), StoreError> {
        let record = Arc::new(ResidentRecord::new(&record)?);
        let is_due = {
            let mut state = self.write();
            state.residents.put(Arc::clone(&record));
            state.pending_bytes += record.bytes().len();
            state.pending.push(record);
            state.pending_bytes >= state.batch
        };
        if !is_due || self.access == Access::ReadOnly {
            return Ok(());
        }
        let mut writer = match self.writer.try_lock() {
            Ok(writer) => writer,
            Err(Poisoned(poisoned)) => poisoned.into_inner(),
            // Another thread is writing; what is pending waits for the next batch.
            Err(TryLockError::WouldBlock) => return Ok(()),
        };
        self.write_pending(&mut writer)?;
        if writer
            .segment
            .as_ref()
            .is_some_and(|segment| segment.length() >= LARGE_SEGMENT)
        {
            self.seal(&mut writer)?;
        }
        Ok(())
    }

    fn remove(&self, key: &FormKey) {
        self.hide(key);
    }

    fn for_each(&self, visit: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>) {
        let (residents, snapshot, hidden) = {
            let state = self.read();
            (
                state.residents.all(),
                Arc::clone(&state.snapshot),
                state.hidden.clone(),
            )
        };
        let is_hidden = |record: &Record<'_>, generation: u64| {
            hidden
                .get(&record.key)
                .is_some_and(|from| generation < *from)
        };
        let mut shown = residents.iter().try_for_each(|record| record.show(visit));
        for pack in snapshot.packs() {
            if shown.is_continue() {
                shown = pack.for_each(&mut |found| match &found {
                    Found::Record(record) if is_hidden(record, pack.generation()) => {
                        ControlFlow::Continue(())
                    }
                    Found::Record(_) => visit(found),
                    Found::Damaged(damage) => {
                        self.note(damage);
                        visit(found)
                    }
                });
            }
        }
        for damage in snapshot.lost() {
            if shown.is_continue() {
                shown = visit(Found::Damaged(damage));
            }
        }
    }

    fn flush(&self) -> Result<(), StoreError> {
        if self.access == Access::ReadOnly {
            if self.read().pending.is_empty() {
                return Ok(());
            }
            let why = "the folder was opened for reading only, or cannot be written";
            let source = io::Error::new(io::ErrorKind::PermissionDenied, why);
            return Err(files::fault("write", &self.folder)(source));
        }
        let mut writer = lock(&self.writer);
        self.write_pending(&mut writer)?;
        self.seal(&mut writer)
    }

    fn statistics(&self) -> StoreStatistics {
        let seen = {
            let seen = lock(&self.damage);
            seen.records.len() as u64 + seen.reported
        };
        let state = self.read();
        let packs = state.snapshot.packs();
        let lost = state.snapshot.lost();
        StoreStatistics {
            records: state.residents.records()
                + packs.iter().map(|pack| pack.records()).sum::<u64>(),
            bytes: state.residents.bytes() + packs.iter().map(|pack| pack.bytes()).sum::<u64>(),
            packs: packs.len() as u64,
            damaged: seen + lost.len() as u64,
        }
    }

    fn report_damage(&self, key: &FormKey, what: &str) {
        tracing::warn!(%key, what, "a record is damaged and is not used");
        lock(&self.damage).reported += 1;
        self.hide(key);
    }

    fn refresh(&self) -> Result<bool, StoreError> {
        let mut listing = lock(&self.listing);
        let known = self.generations.load(Ordering::Relaxed);
        let snapshot = Arc::clone(&self.read().snapshot);
        let Some(changes) = listing.changes(&snapshot, &self.generations)? else {
            return Ok(false);
        };
        let mut state = self.write();
        Ok(changes.apply(Arc::make_mut(&mut state.snapshot), known))
    }
}

impl Drop for FolderStore {
    fn drop(&mut self) {
        if self.access == Access::ReadOnly {
            return;
        }
        if let Err(error) = self.flush() {
            tracing::warn!(%error, "what was compiled is not kept for the next process");
        }
    }
}

impl State {
    /// Makes records pending again, before those that came later.
    fn put_back(&mut self, mut records: Vec<Arc<ResidentRecord>>) {
        records.append(&mut self.pending);
        self.pending_bytes = records.iter().map(|record| record.bytes().len()).sum();
        self.pending = records;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
