//! Takes the records of an accepted bundle over into another store.

use super::format::Entry;
use super::{BundleError, BundleStore, Progress};
use crate::metadata::{Manifest, Metadata};
use crate::store::{Found, NewRecord, Provenance, Record, Store, StoreError};
use rkyv::rancor;
use std::ops::ControlFlow;

/// What was imported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Imported {
    /// Records that were taken over.
    pub records: u64,
    /// Records that were there already, from the same source or compiled here.
    pub present: u64,
    /// Records that another version wrote, which were passed over.
    pub other_version: u64,
}

impl BundleStore {
    /// Puts all its records into `store`, with their provenance, and flushes it.
    ///
    /// Every record is read and checked first: of a damaged bundle nothing is taken over.
    ///
    /// # Errors
    /// A damaged bundle, or a store that does not take the records.
    pub fn import_into(
        &self,
        store: &dyn Store,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Imported, BundleError> {
        let entries = in_order(&self.bundle.table);
        let total = 2 * self.bundle.records();
        self.verify(&mut |step| progress(Progress { total, ..step }))?;
        let mut imported = Imported::default();
        for (done, entry) in (entries.len() as u64 + 1..).zip(entries) {
            match self.with_record(entry, |record| put(record, store))? {
                Some(Ok(true)) => imported.records += 1,
                Some(Ok(false)) => imported.present += 1,
                Some(Err(error)) => return Err(error.into()),
                None => imported.other_version += 1,
            }
            progress(Progress { done, total });
        }
        store.flush()?;
        Ok(imported)
    }
}

/// The entries in the order of the file, except that of the same key the oldest comes first: the newest
/// is to be the newest in the store as well.
fn in_order(table: &[Entry]) -> Vec<&Entry> {
    let mut keys: Vec<&[Entry]> = table.chunk_by(|a, b| a.key == b.key).collect();
    keys.sort_by_key(|entries| entries.iter().map(|entry| entry.offset.get()).min());
    keys.iter()
        .flat_map(|entries| entries.iter().rev())
        .collect()
}

/// Puts `record`, unless it is there. Says whether it was not.
fn put(record: &Record<'_>, store: &dyn Store) -> Result<bool, StoreError> {
    let refused = |error: rancor::Error| StoreError::Record {
        key: record.key,
        reason: format!("its metadata cannot be read: {error}"),
    };
    let metadata: Metadata = rkyv::deserialize(record.metadata).map_err(refused)?;
    let mut is_there = false;
    store.get(&record.key, &mut |found| {
        if let Found::Record(other) = found {
            let same_source = [Provenance::OWN, record.provenance].contains(&other.provenance);
            let theirs = rkyv::deserialize::<Manifest, rancor::Error>(&other.metadata.manifest);
            // The same compilation: what else they say of it, such as the time it took, may differ.
            is_there = same_source && theirs.is_ok_and(|theirs| theirs == metadata.manifest);
        }
        match is_there {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    if is_there {
        return Ok(false);
    }
    store.put(NewRecord {
        key: record.key,
        metadata: &metadata,
        image: record.image,
        provenance: record.provenance,
    })?;
    Ok(true)
}
