//! What every store does, done in a folder: looking up, putting, flushing, refreshing.

use super::{Access, FolderStore, MAX_PENDING, lock};
use crate::folder::fault;
use crate::key::FormKey;
use crate::store::resident::ResidentRecord;
use crate::store::{Found, NewRecord, Store, StoreError, StoreStatistics, Wake};
use rustc_hash::FxHashSet;
use std::cell::Cell;
use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::sync::{Arc, TryLockError, TryLockError::Poisoned};

/// When a process sees so many packs, flushing merges them; usually [`Store::maintain`] has done it.
const MANY_PACKS: usize = 32;

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
            // Also when it has been sealed meanwhile: these packs may be those of before.
            if record.show(&mut noted).is_break() {
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
        self.put_in_memory(record)?;
        self.write_if_due()
    }

    fn put_in_memory(&self, record: NewRecord<'_>) -> Result<(), StoreError> {
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
        let mut state = self.state();
        let most = self.limits.pack_bytes().min(MAX_PENDING);
        if state.pending_bytes as u64 >= most {
            let pending = state.pending_bytes as u64;
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return Err(StoreError::Full { key, pending });
        }
        self.keep(&mut state, record);
        Ok(())
    }

    fn write_if_due(&self) -> Result<(), StoreError> {
        let is_due = {
            let state = self.read();
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
        if self.access == Access::ReadOnly || self.is_full() {
            return Ok(());
        }
        self.write_out(lock(&self.writer))
    }

    fn flush(&self) -> Result<(), StoreError> {
        if self.access == Access::ReadOnly {
            if self.read().pending.iter().all(|record| record.is_removal()) {
                return Ok(());
            }
            let why = "the folder was opened for reading only, or cannot be written";
            let source = io::Error::new(io::ErrorKind::PermissionDenied, why);
            return self.counted(Err(fault("write", &self.folder)(source)));
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
            evicted: self.evicted.load(Ordering::Relaxed),
            evicted_bytes: self.evicted_bytes.load(Ordering::Relaxed),
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

    fn tended_by(&self, wake: Wake) {
        self.tending.set(wake);
    }

    fn tend(&self) {
        for pack in self.snapshot().packs() {
            pack.tend();
        }
    }

    fn maintain(&self) -> Result<(), StoreError> {
        if self.access == Access::ReadOnly {
            return Ok(());
        }
        self.counted(self.maintain_folder())
    }
}
