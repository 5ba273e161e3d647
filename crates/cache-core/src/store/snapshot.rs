//! The packs that a process sees at one moment.

use super::format::Stamp;
use super::pack::{Pack, Removed};
use super::{Damage, Found};
use crate::key::FormKey;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// The packs of one moment. Look-ups go on with theirs while a newer one takes its place.
#[derive(Default, Clone)]
pub(super) struct Snapshot {
    /// Newest first.
    packs: Vec<Arc<Pack>>,
    /// Packs of which not everything could be read: what is missing may have been in them.
    lost: Vec<Arc<Damage>>,
    /// What packs, and this process, say is removed.
    removed: Removed,
}

impl Snapshot {
    /// Newest first.
    pub(super) fn packs(&self) -> &[Arc<Pack>] {
        &self.packs
    }

    /// Damage after which nobody can say that a record is not there.
    pub(super) fn lost(&self) -> &[Arc<Damage>] {
        &self.lost
    }

    pub(super) fn lose(&mut self, damage: Damage) {
        self.lost.push(Arc::new(damage));
    }

    /// The damage of the pack at `from` is to be found at `to` now.
    pub(super) fn lost_is_at(&mut self, from: &Path, to: &Path) {
        for lost in &mut self.lost {
            if lost.file.as_deref() == Some(from) {
                Arc::make_mut(lost).file = Some(to.to_owned());
            }
        }
    }

    /// The largest stamp of all packs.
    pub(super) fn newest(&self) -> Stamp {
        self.packs
            .first()
            .map(|pack| pack.stamp())
            .unwrap_or_default()
    }

    /// The bytes of all packs.
    pub(super) fn bytes(&self) -> u64 {
        self.packs.iter().map(|pack| pack.bytes()).sum()
    }

    /// The bytes of the indexes of all packs.
    pub(super) fn index_bytes(&self) -> u64 {
        self.packs.iter().map(|pack| pack.index_bytes()).sum()
    }

    /// The records of all packs.
    pub(super) fn records(&self) -> u64 {
        self.packs.iter().map(|pack| pack.records()).sum()
    }

    pub(super) fn has(&self, id: u64) -> bool {
        self.packs.iter().any(|pack| pack.id() == id)
    }

    /// Adds a pack, unless it is there or another one has come in its place, and drops those in whose
    /// place it has come.
    pub(super) fn add(&mut self, pack: Arc<Pack>) {
        if self.has(pack.id())
            || (self.packs.iter()).any(|other| other.replaced().contains(&pack.id()))
        {
            return;
        }
        self.packs
            .retain(|other| !pack.replaced().contains(&other.id()));
        let order = |pack: &Arc<Pack>| (pack.stamp(), pack.id());
        let place = self
            .packs
            .partition_point(|other| order(other) > order(&pack));
        self.removed.extend(pack.removed());
        self.packs.insert(place, pack);
    }

    /// The identities of records that are not to be found.
    pub(super) fn removed(&self) -> &Removed {
        &self.removed
    }

    /// Does not find records with these identities any more.
    pub(super) fn remove(&mut self, identities: &[u64]) {
        self.removed.extend(identities);
    }

    /// Keeps the packs that `keep` wants.
    pub(super) fn retain(&mut self, keep: impl FnMut(&Arc<Pack>) -> bool) {
        self.packs.retain(keep);
    }

    /// Shows `visit` the records of `key`, newest first.
    pub(super) fn get(
        &self,
        key: &FormKey,
        visit: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.packs
            .iter()
            .try_for_each(|pack| pack.get(key, &self.removed, visit))
    }
}
