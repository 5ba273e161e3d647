//! Rekindle's own folder store.

use super::records::{Key, Made, Records};
use super::subject::{Open, Subject};
use anyhow::{Result, ensure};
use rekindle_cache_core::artifact::ImageRef;
use rekindle_cache_core::key::FormKey;
use rekindle_cache_core::metadata::{Entry, Manifest, Metadata};
use rekindle_cache_core::store::{
    FolderStore, Found, Limits, Merge, NewRecord, Provenance, Store as _,
};
use rekindle_cache_core::{Digest, checksum};
use std::ops::ControlFlow;
use std::path::Path;

/// Records in packs, with the metadata of a small definition that depends on nothing.
pub(super) struct Rekindle;

struct OpenStore {
    store: FolderStore,
    metadata: Metadata,
}

impl Subject for Rekindle {
    fn name(&self) -> &'static str {
        "rekindle"
    }

    fn fill(&self, folder: &Path, records: &Records) -> Result<()> {
        let mut open = OpenStore::new(folder)?;
        records.for_each(|key, payload| open.put(key, payload))?;
        open.store.flush()?;
        let merged = open.store.merge(Merge::All)?;
        ensure!(!merged.busy, "nobody else is here, and still it is busy");
        Ok(())
    }

    fn open(&self, folder: &Path) -> Result<Box<dyn Open>> {
        Ok(Box::new(OpenStore::new(folder)?))
    }
}

impl OpenStore {
    fn new(folder: &Path) -> Result<Self> {
        Ok(Self {
            store: FolderStore::open(folder)?,
            metadata: metadata(),
        })
    }
}

impl Open for OpenStore {
    fn get(&mut self, key: &Key, payload: &mut Vec<u8>) -> Result<bool> {
        let mut right = None;
        self.store.get(&FormKey(Digest(*key)), &mut |found| {
            if let Found::Record(record) = found {
                payload.clear();
                payload.extend_from_slice(record.image.bytes);
                right = Some(checksum(payload) == record.image.checksum);
            }
            ControlFlow::Break(())
        });
        ensure!(right != Some(false), "a checksum is wrong");
        Ok(right.is_some())
    }

    fn put(&mut self, key: &Key, payload: &[u8]) -> Result<()> {
        let sum = checksum(payload);
        self.metadata.entry.image_checksum = sum;
        self.store.put(NewRecord {
            key: FormKey(Digest(*key)),
            metadata: &self.metadata,
            image: ImageRef {
                bytes: payload,
                checksum: sum,
            },
            provenance: Provenance::OWN,
        })?;
        Ok(())
    }

    fn put_all_durably(&mut self, records: &[Made]) -> Result<()> {
        for made in records {
            self.put(&made.key, &made.payload)?;
        }
        self.store.flush()?;
        Ok(())
    }

    fn index_bytes(&self) -> Option<u64> {
        Some(self.store.statistics().index_bytes)
    }

    fn prune_half(&mut self, count: usize) -> Result<bool> {
        // Pruning ends at five eighths of the limit.
        let limits = Limits {
            max_entries: count as u64 * 4 / 5,
            ..Limits::NONE
        };
        let pruned = self.store.prune(&limits)?;
        let half = count as u64 / 2;
        ensure!(pruned.records.abs_diff(half) < half / 10, "{pruned:?}");
        Ok(true)
    }
}

fn metadata() -> Metadata {
    Metadata {
        manifest: Manifest {
            object_key: [7; 32],
            dependencies: Vec::new(),
        },
        entry: Entry {
            name: "user/benchmark".to_owned(),
            factory: "factory".to_owned(),
            compile_ns: 75_000,
            ..Entry::default()
        },
    }
}
