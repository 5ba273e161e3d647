//! How what was put comes into the segment, and the segment becomes a pack.

use super::{FolderStore, State};
use crate::folder;
use crate::store::StoreError;
use crate::store::format::Lists;
use crate::store::index::IndexEntry;
use crate::store::pack::{Opened, Pack};
use crate::store::resident::ResidentRecord;
use crate::store::segment::Sealed;
use crate::store::writer::Writer;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};

/// A segment of this size is sealed, because until then its records are in memory as well.
const LARGE_SEGMENT: u64 = 64 << 20;

impl FolderStore {
    /// Writes what is pending to the segment. What cannot be written stays pending.
    pub(super) fn write_pending(&self, writer: &mut Writer) -> Result<(), StoreError> {
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
    pub(super) fn write_out(&self, mut writer: MutexGuard<'_, Writer>) -> Result<(), StoreError> {
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
    pub(super) fn seal(&self, writer: &mut Writer) -> Result<(), StoreError> {
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
    pub(in crate::store) fn show_sealed(&self, sealed: &Sealed) -> bool {
        let generation = self.generations.fetch_add(1, Ordering::Relaxed);
        match Pack::open(&self.io, &sealed.path, sealed.id, generation, &self.tending) {
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
}

impl State {
    /// Makes records pending again, before those that came later.
    fn put_back(&mut self, mut records: Vec<Arc<ResidentRecord>>) {
        records.append(&mut self.pending);
        self.pending_bytes = records.iter().map(|record| record.bytes().len()).sum();
        self.pending = records;
    }
}
