//! The folder store: records in a folder that any number of processes share.
//!
//! What this process puts stays in memory until it is sealed, so that it can be found, and is appended
//! to the process's segment in batches. A look-up takes no lock as long as nothing is in memory only, and
//! else one, of this process and for the time that it takes to copy a pointer. It never waits for another
//! process, nor for a file operation of this one.

use super::format::Lists;
use super::index::IndexEntry;
use super::io::{Disk, Io};
use super::limits::Limits;
use super::listing::Listing;
use super::pack::{Opened, Pack};
use super::resident::{ResidentRecord, Residents};
use super::segment::{self, Sealed};
use super::snapshot::Snapshot;
use super::uses::Uses;
use super::writer::Writer;
use super::{Found, NewRecord, Store, StoreError, StoreStatistics, files};
use crate::folder;
use crate::key::FormKey;
use arc_swap::ArcSwap;
use rustc_hash::FxHashSet;
use std::cell::Cell;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::sync::{TryLockError, TryLockError::Poisoned};

/// What was put is written to the segment when it comes to this many bytes, unless the store's owner
/// says otherwise.
const BATCH: usize = 256 << 10;

/// A segment of this size is sealed, because until then its records are in memory as well.
const LARGE_SEGMENT: u64 = 64 << 20;

/// When so many bytes wait to be written, or an eighth of what the store may have, what is put next is not
/// kept.
const MAX_PENDING: u64 = 64 << 20;

/// When a process sees so many packs, flushing merges them; usually [`Store::maintain`] has done it.
const MANY_PACKS: usize = 32;

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
    faults: AtomicU64,
    dropped: AtomicU64,
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
        Self {
            root: root.to_owned(),
            listing: Mutex::new(Listing::new(Arc::clone(&options.io), folder.clone())),
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
            faults: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            others: AtomicU64::new(0),
            has_warned: AtomicBool::new(false),
        }
    }

    /// Counts a fault that nobody else is told of, and tells of the first: the others say the same.
    pub(super) fn fault(&self, error: &StoreError) {
        self.faults.fetch_add(1, Ordering::Relaxed);
        if self.has_warned.swap(true, Ordering::Relaxed) {
            tracing::debug!(%error, "another fault of the cache");
        } else {
            tracing::warn!(%error, "the cache does not work as it should; nothing depends on it");
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

    /// Whether the store is above its soft limit, as far as is known: no file is looked at.
    fn is_full(&self) -> bool {
        let snapshot = self.snapshot.load();
        let others = self.others.load(Ordering::Relaxed);
        let soft = self.limits.soft();
        snapshot.bytes().saturating_add(others) > soft.max_bytes
            || snapshot.records() > soft.max_entries
    }

    /// Looks at what others have sealed, and at what their files take up.
    fn look_around(&self) {
        if let Err(error) = self.refresh().and_then(|_| self.usage()) {
            self.fault(&error);
        }
    }

    /// Writes what is pending to the segment. What cannot be written stays pending.
    fn write_pending(&self, writer: &mut Writer) -> Result<(), StoreError> {
        writer.leave_to_parent();
        let mut pending = {
            let mut state = self.state();
            state.pending_bytes = 0;
            std::mem::take(&mut state.pending)
        };
        let newest = self.snapshot.load().newest();
        pending.retain(|record| !record.is_gone());
        if pending.is_empty() {
            return Ok(());
        }
        let mut written = writer.append(&*self.io, &self.folder, newest, &pending);
        if let Err(StoreError::Io { source, .. }) = &written
            && source.kind() == io::ErrorKind::NotFound
            && folder::prepare(&self.root).is_ok()
        {
            // Somebody has removed the folder, which is theirs to do.
            written = writer.append(&*self.io, &self.folder, newest, &pending);
        }
        let mut state = self.state();
        match written {
            Ok(()) => {
                state.batch = self.batch;
                Ok(())
            }
            Err(error) => {
                state.put_back(pending);
                // Not with the very next record again: the disk is likely still full.
                state.batch = state.pending_bytes + self.batch;
                Err(error)
            }
        }
    }

    /// Writes what is pending, and seals the segment if that has become large.
    fn write_out(&self, mut writer: MutexGuard<'_, Writer>) -> Result<(), StoreError> {
        self.counted(self.write_pending(&mut writer))?;
        let large = LARGE_SEGMENT.min(self.limits.segment_bytes());
        if (writer.segment.as_ref()).is_some_and(|segment| segment.length() >= large) {
            self.counted(self.seal(&mut writer))?;
            drop(writer);
            self.look_around();
        }
        Ok(())
    }

    /// Makes the segment a pack, and finds its records there from now on.
    fn seal(&self, writer: &mut Writer) -> Result<(), StoreError> {
        let Some(segment) = writer.segment.take() else {
            return Ok(());
        };
        let mut written = std::mem::take(&mut writer.written);
        written.retain(|(record, _)| !record.is_gone());
        if written.is_empty() {
            segment.discard(&*self.io);
            return Ok(());
        }
        let entries = written
            .iter()
            .map(|(record, offset)| IndexEntry::new(record.key().0.prefix(), *offset))
            .collect();
        let removals = written.iter().filter(|(record, _)| record.is_removal());
        let removed: Vec<u64> = removals.flat_map(|(record, _)| record.removes()).collect();
        let lists = Lists {
            removed: &removed,
            ..Lists::default()
        };
        let sealed = match segment.seal(&*self.io, entries, &lists) {
            Ok(sealed) => sealed,
            Err(error) => {
                self.state()
                    .put_back(written.into_iter().map(|(record, _)| record).collect());
                return Err(error);
            }
        };
        if self.show_sealed(&sealed) {
            self.forget(&mut self.state(), written.iter().map(|(record, _)| record));
        }
        // Otherwise the records are found in memory as before.
        sealed.durable
    }

    /// Makes a pack that was just sealed part of what look-ups see, and says whether that worked.
    pub(super) fn show_sealed(&self, sealed: &Sealed) -> bool {
        let generation = self.generations.fetch_add(1, Ordering::Relaxed);
        match Pack::open(&self.io, &sealed.path, sealed.id, generation) {
            Ok(Opened::Pack(pack)) if !pack.is_recovered() => {
                self.change_snapshot(|snapshot| snapshot.add(Arc::from(pack)));
                true
            }
            // Others have replaced it already, and the next refresh finds what has come in its place.
            Ok(Opened::Gone) => false,
            Ok(_) => {
                tracing::warn!(file = %sealed.path.display(), "a new pack cannot be read back");
                false
            }
            Err(error) => {
                self.fault(&error);
                false
            }
        }
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

impl Store for FolderStore {
    fn get(&self, key: &FormKey, visit: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>) {
        // The lock is free when the first record is shown: `visit` may come back to this store. The packs
        // come second, so that a record on its way into one is seen in one of the two.
        let versions = match self.has_residents.load(Ordering::Acquire) {
            true => self.read().residents.get(key),
            false => None,
        };
        let snapshot = self.snapshot.load();
        let answered = Cell::new(false);
        let mut noted = |found: Found<'_>| {
            answered.set(true);
            let is_record = match &found {
                Found::Damaged(damage) => {
                    self.note(damage);
                    false
                }
                Found::Record(_) => true,
            };
            let shown = visit(found);
            if is_record && shown.is_break() {
                self.uses.note(key.0.prefix());
            }
            shown
        };
        for record in versions.iter().flat_map(|versions| versions.iter().rev()) {
            if !record.is_gone() && record.show(&mut noted).is_break() {
                return;
            }
        }
        if snapshot.get(key, &mut noted).is_continue() && !answered.get() {
            // The record may have been in what was lost.
            if let Some(damage) = snapshot.lost().first() {
                let _ = visit(Found::Damaged(damage));
            }
        }
    }

    fn put(&self, record: NewRecord<'_>) -> Result<(), StoreError> {
        let key = record.key;
        let record = Arc::new(ResidentRecord::new(&record)?);
        if record.bytes().len() as u64 > self.limits.pack_bytes() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return Err(StoreError::Record {
                key,
                reason: format!(
                    "it is larger than an eighth of the {} bytes that the store may have",
                    self.limits.max_bytes
                ),
            });
        }
        let is_due = {
            let mut state = self.state();
            let most = self.limits.pack_bytes().min(MAX_PENDING);
            if state.pending_bytes as u64 >= most {
                let pending = state.pending_bytes as u64;
                self.dropped.fetch_add(1, Ordering::Relaxed);
                return Err(StoreError::Full { key, pending });
            }
            self.keep(&mut state, record);
            state.pending_bytes >= state.batch
        };
        // When there is no room, it waits in memory for a flush, which makes some.
        if !is_due || self.access == Access::ReadOnly || self.is_full() {
            return Ok(());
        }
        let writer = match self.writer.try_lock() {
            Ok(writer) => writer,
            Err(Poisoned(poisoned)) => poisoned.into_inner(),
            // Another thread is writing; what is pending waits for the next batch.
            Err(TryLockError::WouldBlock) => return Ok(()),
        };
        self.write_out(writer)
    }

    fn remove(&self, key: &FormKey) {
        self.remove_because(key, "removed");
    }

    fn for_each(&self, visit: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>) {
        let residents = self.read().residents.all();
        let snapshot = self.snapshot();
        let mut seen: FxHashSet<(FormKey, [u8; 32])> = FxHashSet::default();
        let mut once = |found: Found<'_>| match &found {
            Found::Record(record) => {
                let compilation = (record.key, record.metadata.manifest.object_key);
                if seen.insert(compilation) {
                    visit(found)
                } else {
                    ControlFlow::Continue(())
                }
            }
            Found::Damaged(damage) => {
                self.note(damage);
                visit(found)
            }
        };
        let mut shown = residents
            .iter()
            .rev()
            .filter(|record| !record.is_gone())
            .try_for_each(|record| record.show(&mut once));
        for pack in snapshot.packs() {
            if shown.is_continue() {
                shown = pack.show_all(snapshot.removed(), &mut once);
            }
        }
        for damage in snapshot.lost() {
            if shown.is_continue() {
                shown = visit(Found::Damaged(damage));
            }
        }
    }

    fn write(&self) -> Result<(), StoreError> {
        if self.access == Access::ReadOnly {
            return Ok(());
        }
        match self.is_full() {
            true => Ok(()),
            false => self.write_out(lock(&self.writer)),
        }
    }

    fn flush(&self) -> Result<(), StoreError> {
        if self.access == Access::ReadOnly {
            if self.read().pending.iter().all(|record| record.is_removal()) {
                return Ok(());
            }
            let why = "the folder was opened for reading only, or cannot be written";
            let source = io::Error::new(io::ErrorKind::PermissionDenied, why);
            return self.counted(Err(files::fault("write", &self.folder)(source)));
        }
        {
            let pending = self.read().pending_bytes as u64;
            let _room = match self.make_room(pending) {
                Err(error @ StoreError::NoRoom { .. }) if pending > 0 => {
                    return self.counted(Err(error));
                }
                Ok(room) => room,
                // What stands in the way of pruning may not stand in the way of writing.
                Err(error) => {
                    self.fault(&error);
                    None
                }
            };
            let mut writer = lock(&self.writer);
            self.counted(self.write_pending(&mut writer))?;
            self.counted(self.seal(&mut writer))?;
        }
        self.uses.write(&*self.io, &self.folder);
        // A look at the folder lets go of packs that others have replaced, so that their space is given
        // back. What was put is on the disk, whatever becomes of this.
        let merged = self.refresh().and_then(|_| {
            // Not kept over what follows: it would keep in use what is replaced there.
            let packs = self.snapshot.load().packs().len();
            match packs > MANY_PACKS {
                true => self.maintain_folder(),
                // So that putting goes by what is there now.
                false => self.usage().map(drop),
            }
        });
        if let Err(error) = merged {
            self.fault(&error);
        }
        Ok(())
    }

    fn statistics(&self) -> StoreStatistics {
        let seen = {
            let seen = lock(&self.damage);
            seen.records.len() as u64 + seen.reported
        };
        let state = self.read();
        let snapshot = self.snapshot.load();
        StoreStatistics {
            records: state.residents.records() + snapshot.records(),
            bytes: state.residents.bytes() + snapshot.bytes(),
            packs: snapshot.packs().len() as u64,
            index_bytes: snapshot.index_bytes(),
            damaged: seen + snapshot.lost().len() as u64,
            faults: self.faults.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
        }
    }

    fn report_damage(&self, key: &FormKey, what: &str) {
        tracing::warn!(%key, what, "a record is damaged and is not used");
        lock(&self.damage).reported += 1;
        self.remove_because(key, what);
    }

    fn refresh(&self) -> Result<bool, StoreError> {
        let mut listing = lock(&self.listing);
        let known = self.generations.load(Ordering::Relaxed);
        let changes = listing.changes(&self.snapshot(), &self.generations);
        let Some(mut changes) = self.counted(changes)? else {
            return Ok(false);
        };
        self.faults.fetch_add(changes.faults, Ordering::Relaxed);
        let fault = changes.fault.take();
        let grown = self.change_snapshot(|snapshot| changes.apply(snapshot, known));
        match fault {
            // The other packs are used all the same.
            Some(error) => {
                self.fault(&error);
                Ok(grown)
            }
            None => Ok(grown),
        }
    }

    fn maintain(&self) -> Result<(), StoreError> {
        if self.access == Access::ReadOnly {
            return Ok(());
        }
        self.counted(self.maintain_folder())
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
