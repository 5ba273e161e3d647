//! A stack of stores that is itself a store.

use super::{Found, NewRecord, Record, Store, StoreError, StoreStatistics, Wake};
use crate::key::FormKey;
use crate::metadata::Metadata;
use rkyv::rancor;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One store in a stack.
pub struct Layer {
    store: Arc<dyn Store>,
    is_writable: bool,
    is_promoted: bool,
}

impl Layer {
    /// A store that is looked into and written to.
    pub fn read_write(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            is_writable: true,
            is_promoted: false,
        }
    }

    /// A store that is only looked into: it is not even told of damage.
    pub fn read_only(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            is_writable: false,
            is_promoted: false,
        }
    }

    /// What is used of this layer is put into the topmost writable layer above it as well, with its
    /// provenance.
    #[must_use]
    pub fn promoted(mut self) -> Self {
        self.is_promoted = true;
        self
    }
}

/// A stack of stores, looked into from the top: the user's own, a project's, a system's, a bundle.
///
/// What is put goes to the topmost writable layer. What is removed, or reported as damaged, is removed
/// from the writable layers, and hidden in the others for as long as this stack lives.
///
/// ```
/// use rekindle_cache_core::store::{Layer, Layers, MemoryStore, Store};
/// use std::sync::Arc;
///
/// let own = Arc::new(MemoryStore::new());
/// let shared = Arc::new(MemoryStore::new());
/// let stack = Layers::new(vec![
///     Layer::read_write(own),
///     Layer::read_only(shared).promoted(),
/// ]);
/// assert_eq!(stack.statistics().records, 0);
/// ```
pub struct Layers {
    layers: Vec<Layer>,
    /// What was removed: in layers that are not written to, records that were there then are not shown.
    hidden: std::sync::RwLock<rustc_hash::FxHashSet<FormKey>>,
    dropped: AtomicU64,
}

impl Layers {
    /// A stack of `layers`, of which the first is the topmost.
    pub fn new(layers: Vec<Layer>) -> Self {
        Self {
            layers,
            hidden: std::sync::RwLock::default(),
            dropped: AtomicU64::new(0),
        }
    }

    fn writable(&self) -> impl Iterator<Item = &Layer> {
        self.layers.iter().filter(|layer| layer.is_writable)
    }

    /// Copies a record into the topmost writable layer above layer `place`. A fault is counted and costs
    /// nothing but the promotion.
    fn promote(&self, place: usize, record: &Record<'_>) {
        let above = self.layers.get(..place).unwrap_or_default();
        let Some(target) = above.iter().find(|layer| layer.is_writable) else {
            return;
        };
        let Ok(metadata) = rkyv::deserialize::<Metadata, rancor::Error>(record.metadata) else {
            return;
        };
        let put = target.store.put(NewRecord {
            key: record.key,
            metadata: &metadata,
            image: record.image,
            provenance: record.provenance,
        });
        if let Err(error) = put {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%error, "a record is not promoted");
        }
    }

    fn is_hidden(&self, key: &FormKey) -> bool {
        let hidden = self.hidden.read();
        let hidden = hidden.unwrap_or_else(std::sync::PoisonError::into_inner);
        !hidden.is_empty() && hidden.contains(key)
    }

    fn hide(&self, key: &FormKey) {
        if self.layers.iter().any(|layer| !layer.is_writable) {
            let hidden = self.hidden.write();
            let mut hidden = hidden.unwrap_or_else(std::sync::PoisonError::into_inner);
            hidden.insert(*key);
        }
    }

    /// Does `work` with each layer and gives the first fault; the others are worked with all the same.
    fn each<'a>(
        layers: impl Iterator<Item = &'a Layer>,
        mut work: impl FnMut(&dyn Store) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut first = Ok(());
        for layer in layers {
            let done = work(&*layer.store);
            first = first.and(done);
        }
        first
    }
}

impl Store for Layers {
    fn get(&self, key: &FormKey, visit: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>) {
        let is_hidden = self.is_hidden(key);
        for (place, layer) in self.layers.iter().enumerate() {
            if is_hidden && !layer.is_writable {
                continue;
            }
            let mut shown = ControlFlow::Continue(());
            layer.store.get(key, &mut |found| {
                let record = match &found {
                    Found::Record(record) => Some(*record),
                    Found::Damaged(_) => None,
                };
                shown = visit(found);
                if let Some(record) = record
                    && shown.is_break()
                    && layer.is_promoted
                {
                    self.promote(place, &record);
                }
                shown
            });
            if shown.is_break() {
                return;
            }
        }
    }

    fn put(&self, record: NewRecord<'_>) -> Result<(), StoreError> {
        match self.writable().next() {
            Some(layer) => layer.store.put(record),
            None => Err(StoreError::Record {
                key: record.key,
                reason: "no layer can be written".to_owned(),
            }),
        }
    }

    fn put_in_memory(&self, record: NewRecord<'_>) -> Result<(), StoreError> {
        match self.writable().next() {
            Some(layer) => layer.store.put_in_memory(record),
            // Which says so.
            None => self.put(record),
        }
    }

    fn write_if_due(&self) -> Result<(), StoreError> {
        Self::each(self.writable(), |store| store.write_if_due())
    }

    fn remove(&self, key: &FormKey) {
        self.writable().for_each(|layer| layer.store.remove(key));
        self.hide(key);
    }

    fn for_each(&self, visit: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>) {
        let mut seen = rustc_hash::FxHashSet::default();
        for layer in &self.layers {
            let mut shown = ControlFlow::Continue(());
            layer.store.for_each(&mut |found| {
                if let Found::Record(record) = &found {
                    let compilation = (record.key, record.metadata.manifest.object_key);
                    let is_hidden = !layer.is_writable && self.is_hidden(&record.key);
                    if is_hidden || !seen.insert(compilation) {
                        return ControlFlow::Continue(());
                    }
                }
                shown = visit(found);
                shown
            });
            if shown.is_break() {
                return;
            }
        }
    }

    fn flush(&self) -> Result<(), StoreError> {
        Self::each(self.writable(), |store| store.flush())
    }

    fn statistics(&self) -> StoreStatistics {
        let mut sum = StoreStatistics {
            dropped: self.dropped.load(Ordering::Relaxed),
            ..StoreStatistics::default()
        };
        for layer in &self.layers {
            let one = layer.store.statistics();
            sum.records += one.records;
            sum.bytes += one.bytes;
            sum.packs += one.packs;
            sum.index_bytes += one.index_bytes;
            sum.damaged += one.damaged;
            sum.faults += one.faults;
            sum.dropped += one.dropped;
            sum.evicted += one.evicted;
            sum.evicted_bytes += one.evicted_bytes;
        }
        sum
    }

    fn report_damage(&self, key: &FormKey, what: &str) {
        self.writable()
            .for_each(|layer| layer.store.report_damage(key, what));
        self.hide(key);
    }

    fn refresh(&self) -> Result<bool, StoreError> {
        let mut grown = false;
        Self::each(self.layers.iter(), |store| {
            store.refresh().map(|new| grown |= new)
        })?;
        Ok(grown)
    }

    fn write(&self) -> Result<(), StoreError> {
        Self::each(self.writable(), |store| store.write())
    }

    fn tended_by(&self, wake: Wake) {
        for layer in &self.layers {
            layer.store.tended_by(Arc::clone(&wake));
        }
    }

    fn tend(&self) {
        for layer in &self.layers {
            layer.store.tend();
        }
    }

    fn maintain(&self) -> Result<(), StoreError> {
        Self::each(self.writable(), |store| store.maintain())
    }
}
