//! The memory store: for hosts without a usable folder, and for tests.

use super::resident::{ResidentRecord, Residents};
use super::{Found, NewRecord, Store, StoreError, StoreStatistics};
use crate::key::FormKey;
use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Keeps records for the life of this process.
///
/// ```
/// use rekindle_cache_core::store::{MemoryStore, Store};
///
/// let store = MemoryStore::new();
/// assert_eq!(store.statistics().records, 0);
/// ```
#[derive(Default)]
pub struct MemoryStore {
    residents: RwLock<Residents>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn read(&self) -> RwLockReadGuard<'_, Residents> {
        self.residents
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Residents> {
        self.residents
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn get(&self, key: &FormKey, visit: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>) {
        // No lock is held while `visit` runs: it may come back to this store.
        let versions = self.read().get(key);
        for record in versions.iter().flat_map(|versions| versions.iter().rev()) {
            if record.show(visit).is_break() {
                return;
            }
        }
    }

    fn put(&self, record: NewRecord<'_>) -> Result<(), StoreError> {
        let record = Arc::new(ResidentRecord::new(&record)?);
        self.write().put(record);
        Ok(())
    }

    fn remove(&self, key: &FormKey) {
        self.write().remove(key);
    }

    fn for_each(&self, visit: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>) {
        let all = self.read().all();
        for record in all {
            if record.show(visit).is_break() {
                return;
            }
        }
    }

    fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn statistics(&self) -> StoreStatistics {
        let residents = self.read();
        StoreStatistics {
            records: residents.records(),
            bytes: residents.bytes(),
            ..StoreStatistics::default()
        }
    }

    fn report_damage(&self, key: &FormKey, what: &str) {
        tracing::warn!(%key, what, "a record in memory is damaged and is forgotten");
        self.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::ImageRef;
    use crate::store::record::tests::{key, metadata};

    fn put(store: &MemoryStore, name: &str, version: &str) {
        let image = version.as_bytes();
        let metadata = metadata(version, image);
        store
            .put(NewRecord {
                key: key(name),
                metadata: &metadata,
                image: ImageRef {
                    bytes: image,
                    checksum: crate::checksum(image),
                },
                provenance: crate::store::Provenance::OWN,
            })
            .expect("a good record");
    }

    fn versions(store: &MemoryStore, name: &str) -> Vec<String> {
        let mut seen = Vec::new();
        store.get(&key(name), &mut |found| {
            if let Found::Record(record) = found {
                seen.push(record.metadata.entry.name.as_str().to_owned());
            }
            ControlFlow::Continue(())
        });
        seen
    }

    #[test]
    fn newest_first_until_removed() {
        let store = MemoryStore::new();
        put(&store, "a", "a1");
        put(&store, "a", "a2");
        put(&store, "b", "b1");
        assert_eq!(versions(&store, "a"), ["a2", "a1"]);
        assert_eq!(store.statistics().records, 3);
        store.remove(&key("a"));
        assert!(versions(&store, "a").is_empty());
        assert_eq!(versions(&store, "b"), ["b1"]);
        assert_eq!(store.statistics().records, 1);
    }

    #[test]
    fn a_visitor_may_come_back() {
        let store = MemoryStore::new();
        put(&store, "a", "a1");
        store.get(&key("a"), &mut |_| {
            put(&store, "a", "a2");
            store.get(&key("a"), &mut |_| ControlFlow::Break(()));
            ControlFlow::Continue(())
        });
        assert_eq!(versions(&store, "a"), ["a2", "a1"]);
    }
}
