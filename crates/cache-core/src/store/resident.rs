//! Records in this process's memory: all that a memory store has, and what a folder store has not
//! sealed yet.

use super::record::{self, Content, Extent};
use super::{Damage, Found, NewRecord, StoreError};
use crate::key::FormKey;
use rkyv::util::AlignedVec;
use rustc_hash::FxHashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One record, as it is or will be in a file.
pub(super) struct ResidentRecord {
    key: FormKey,
    bytes: AlignedVec,
    extent: Extent,
    is_removal: bool,
    /// Set when the record must not be found any more: by removing it, or because a pack has it now.
    gone: AtomicBool,
}

impl ResidentRecord {
    /// # Errors
    /// A record that the format cannot hold, or whose image is not what its checksum says.
    pub(super) fn new(record: &NewRecord<'_>) -> Result<Self, StoreError> {
        let (bytes, extent) = record::encode(record)?;
        Ok(Self {
            key: record.key,
            bytes,
            extent,
            is_removal: false,
            gone: AtomicBool::new(false),
        })
    }

    /// A removal of the records of `key` that have these identities.
    pub(super) fn removal(
        key: &FormKey,
        identities: &[u64],
        reason: &str,
    ) -> Result<Self, StoreError> {
        let (bytes, extent) = record::encode_removal(key, identities, reason)?;
        Ok(Self {
            key: *key,
            bytes,
            extent,
            is_removal: true,
            gone: AtomicBool::new(false),
        })
    }

    pub(super) fn identity(&self) -> u64 {
        record::identity(&self.bytes)
    }

    /// The identities of what it removes, if it is a removal.
    pub(super) fn removes(&self) -> Vec<u64> {
        match record::in_memory(&self.bytes, &self.extent) {
            Ok(Content::Removal(removal)) => removal.identities().collect(),
            _ => Vec::new(),
        }
    }

    pub(super) fn is_removal(&self) -> bool {
        self.is_removal
    }

    pub(super) fn key(&self) -> &FormKey {
        &self.key
    }

    /// The record's bytes, padding included.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Shows it to `visit`, unless it is a removal.
    pub(super) fn show(
        &self,
        visit: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        // Nobody else writes this memory, so there is nothing to copy first.
        match record::in_memory(&self.bytes, &self.extent) {
            Ok(Content::Code(record)) => visit(Found::Record(record)),
            Ok(Content::Removal(_) | Content::Unknown) => ControlFlow::Continue(()),
            Err(what) => visit(Found::Damaged(&Damage {
                file: None,
                offset: 0,
                what: what.to_owned(),
            })),
        }
    }
}

/// Records of one key, oldest first. Shared, so that a look-up can go through them without a lock.
pub(super) type Versions = Arc<Vec<Arc<ResidentRecord>>>;

/// Records by key.
#[derive(Default)]
pub(super) struct Residents {
    by_key: FxHashMap<FormKey, Versions>,
    records: u64,
    bytes: u64,
}

impl Residents {
    pub(super) fn put(&mut self, record: Arc<ResidentRecord>) {
        self.records += u64::from(!record.is_removal);
        self.bytes += record.bytes.len() as u64;
        Arc::make_mut(self.by_key.entry(record.key).or_default()).push(record);
    }

    /// The records of `key`.
    pub(super) fn get(&self, key: &FormKey) -> Option<Versions> {
        self.by_key.get(key).cloned()
    }

    /// Forgets all records of `key`.
    pub(super) fn remove(&mut self, key: &FormKey) {
        if let Some(versions) = self.get(key) {
            self.forget(versions.iter());
        }
    }

    /// Forgets those of `records` that are still there.
    pub(super) fn forget<'a>(
        &mut self,
        records: impl Iterator<Item = &'a Arc<ResidentRecord>> + Clone,
    ) {
        for record in records.clone().filter(|record| !record.is_gone()) {
            self.discount(record);
        }
        for record in records {
            let Some(versions) = self.by_key.get_mut(&record.key) else {
                continue;
            };
            // One sweep takes all of a key's; its other records find nothing left to do.
            if versions.iter().any(|version| version.is_gone()) {
                Arc::make_mut(versions).retain(|version| !version.is_gone());
            }
            if versions.is_empty() {
                self.by_key.remove(&record.key);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Every record, in no order.
    pub(super) fn all(&self) -> Vec<Arc<ResidentRecord>> {
        self.by_key
            .values()
            .flat_map(|versions| versions.iter().cloned())
            .collect()
    }

    pub(super) fn records(&self) -> u64 {
        self.records
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn discount(&mut self, record: &ResidentRecord) {
        record.gone.store(true, Ordering::Release);
        self.records = self.records.saturating_sub(u64::from(!record.is_removal));
        self.bytes = self.bytes.saturating_sub(record.bytes.len() as u64);
    }
}
