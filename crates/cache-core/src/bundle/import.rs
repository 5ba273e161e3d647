//! Takes the records of an accepted bundle over into another store.

use super::format::Entry;
use super::{BundleError, BundleStore, Progress};
use crate::digest::{Digest, DigestBuilder};
use crate::key::FormKey;
use crate::metadata::{ArchivedManifest, Metadata};
use crate::store::{Found, NewRecord, Provenance, Record, Store, StoreError};
use rkyv::rancor;
use rustc_hash::FxHashSet;
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
    /// Every record is read and checked first: of a damaged bundle nothing is taken over. A compilation
    /// that the store has already, by this user or under the same key, is not put again.
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
        let present = self.present_in(store);
        let mut imported = Imported::default();
        for (done, entry) in (entries.len() as u64 + 1..).zip(entries) {
            match self.with_record(entry, |record| put(record, store, &present))? {
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

    /// What `store` has under the keys of this bundle, from a source that is as good. The store is gone
    /// through and not asked key by key: that would count as using the records.
    fn present_in(&self, store: &dyn Store) -> Present {
        let mut present = Present::default();
        store.for_each(&mut |found| {
            if let Found::Record(record) = found
                && [Provenance::OWN, self.provenance()].contains(&record.provenance)
                && !self.bundle.places(&record.key).is_empty()
            {
                present.insert((record.key, manifest_digest(&record.metadata.manifest)));
            }
            ControlFlow::Continue(())
        });
        present
    }
}

/// Compilations: keys with digests of manifests.
type Present = FxHashSet<(FormKey, Digest)>;

/// Equal for the same compilation: what else two records say of it, such as the time it took, may differ.
fn manifest_digest(manifest: &ArchivedManifest) -> Digest {
    let mut builder = DigestBuilder::new("rekindle manifest");
    builder.digest(&manifest.object_key().0);
    builder.list(manifest.dependencies.len());
    for dependency in manifest.dependencies.iter() {
        builder
            .number(u64::from(dependency.kind))
            .number(u64::from(dependency.is_of_code))
            .text(dependency.name.as_str())
            .text(dependency.scope.as_str())
            .digest(&dependency.digest());
    }
    builder.finish()
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
fn put(record: &Record<'_>, store: &dyn Store, present: &Present) -> Result<bool, StoreError> {
    let manifest = &record.metadata.manifest;
    if present.contains(&(record.key, manifest_digest(manifest))) {
        return Ok(false);
    }
    let refused = |error: rancor::Error| StoreError::Record {
        key: record.key,
        reason: format!("its metadata cannot be read: {error}"),
    };
    let metadata: Metadata = rkyv::deserialize(record.metadata).map_err(refused)?;
    store.put(NewRecord {
        key: record.key,
        metadata: &metadata,
        image: record.image,
        provenance: record.provenance,
    })?;
    Ok(true)
}
