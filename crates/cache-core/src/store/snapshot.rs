//! The packs that a process sees, and how it comes to see them.

use super::files::{self, PACK, fault};
use super::format::Stamp;
use super::pack::{Opened, Pack};
use super::quarantine::{self, SetAside};
use super::{Damage, Found, StoreError};
use crate::key::FormKey;
use rustc_hash::FxHashSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// A folder's time of change says "nothing new" only if it was this old when the folder was listed:
/// file systems count time in steps, and several changes fit into one.
const SETTLED: Duration = Duration::from_secs(1);

/// The packs of one moment. Look-ups go on with theirs while a newer one takes its place.
#[derive(Default, Clone)]
pub(super) struct Snapshot {
    /// Newest first.
    packs: Vec<Arc<Pack>>,
    /// Packs of which not everything could be read: what is missing may have been in them.
    lost: Vec<Arc<Damage>>,
}

impl Snapshot {
    pub(super) fn packs(&self) -> &[Arc<Pack>] {
        &self.packs
    }

    /// Damage after which nobody can say that a record is not there.
    pub(super) fn lost(&self) -> &[Arc<Damage>] {
        &self.lost
    }

    /// The largest stamp of all packs.
    pub(super) fn newest(&self) -> Stamp {
        self.packs
            .first()
            .map(|pack| pack.stamp())
            .unwrap_or_default()
    }

    /// Adds a pack, unless it is there.
    pub(super) fn add(&mut self, pack: Arc<Pack>) {
        if self.packs.iter().any(|other| other.path() == pack.path()) {
            return;
        }
        let order = |pack: &Arc<Pack>| (pack.stamp(), pack.path().to_owned());
        let place = self
            .packs
            .partition_point(|other| order(other) > order(&pack));
        self.packs.insert(place, pack);
    }

    /// Shows `visit` the records of `key`, of packs from generation `from` on.
    pub(super) fn get(
        &self,
        key: &FormKey,
        from: u64,
        visit: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.packs
            .iter()
            .filter(|pack| pack.generation() >= from)
            .try_for_each(|pack| pack.get(key, visit))
    }
}

/// What a process has made of its store's folder so far.
pub(super) struct Listing {
    folder: PathBuf,
    /// Whether damaged packs are set aside.
    writable: bool,
    /// Packs that are not to be looked at again: damaged ones, unreadable ones, other versions.
    settled: FxHashSet<PathBuf>,
    /// The folder's time of change when it was listed, if it can be relied on.
    listed: Option<SystemTime>,
}

/// What listing the folder found.
#[derive(Default)]
pub(super) struct Changes {
    /// All packs that are there now.
    present: FxHashSet<PathBuf>,
    /// Those that are new.
    added: Vec<Arc<Pack>>,
    lost: Vec<Arc<Damage>>,
}

impl Listing {
    pub(super) fn new(folder: PathBuf, writable: bool) -> Self {
        Self {
            folder,
            writable,
            settled: FxHashSet::default(),
            listed: None,
        }
    }

    /// Opens the packs that `known` does not have. `None` if nothing has changed since the last time.
    pub(super) fn changes(
        &mut self,
        known: &Snapshot,
        generations: &AtomicU64,
    ) -> Result<Option<Changes>, StoreError> {
        let changed = std::fs::metadata(&self.folder)
            .and_then(|metadata| metadata.modified())
            .map_err(fault("look at", &self.folder))?;
        if self.listed == Some(changed) {
            return Ok(None);
        }
        let mut changes = Changes::default();
        for entry in std::fs::read_dir(&self.folder).map_err(fault("list", &self.folder))? {
            let path = entry.map_err(fault("list", &self.folder))?.path();
            if files::is(&path, PACK) {
                changes.present.insert(path);
            }
        }
        for path in &changes.present {
            let is_known = known.packs.iter().any(|pack| pack.path() == path);
            if !is_known && !self.settled.contains(path) {
                let generation = generations.fetch_add(1, Ordering::Relaxed);
                self.open(path, generation, &mut changes.added, &mut changes.lost);
            }
        }
        let age = SystemTime::now()
            .duration_since(changed)
            .unwrap_or_default();
        self.listed = (age >= SETTLED).then_some(changed);
        Ok(Some(changes))
    }

    fn open(
        &mut self,
        path: &Path,
        generation: u64,
        added: &mut Vec<Arc<Pack>>,
        lost: &mut Vec<Arc<Damage>>,
    ) {
        let (mut damage, recovered) = match Pack::open(path, generation) {
            Ok(Opened::Intact(pack)) => return added.push(Arc::new(pack)),
            Ok(Opened::Damaged(damage, recovered)) => (damage, recovered),
            Ok(Opened::Ignored) => {
                self.settled.insert(path.to_owned());
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "a pack cannot be read");
                self.settled.insert(path.to_owned());
                return;
            }
        };
        let records = recovered.as_ref().map_or(0, Pack::records);
        tracing::warn!(%damage, records, "a pack is damaged; records that come before are kept");
        self.settled.insert(path.to_owned());
        let mut pack = recovered;
        if self.writable {
            match quarantine::set_aside(path, pack.as_ref()) {
                Ok(Some(SetAside { path, rescued })) => {
                    damage.file = Some(path);
                    pack = rescued
                        .and_then(|path| self.reopen(&path, generation))
                        .or(pack);
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "a damaged pack cannot be set aside"),
            }
        }
        added.extend(pack.map(Arc::new));
        lost.push(Arc::new(damage));
    }

    /// Opens what was rescued: it takes the place of the damaged pack at once, so that it is not met as
    /// a second one later.
    fn reopen(&mut self, path: &Path, generation: u64) -> Option<Pack> {
        match Pack::open(path, generation) {
            Ok(Opened::Intact(pack)) => Some(pack),
            _ => {
                self.settled.insert(path.to_owned());
                None
            }
        }
    }
}

impl Changes {
    /// Brings `snapshot` up to date and says whether it has new packs. `known` is the first generation
    /// that the listing did not know of: such packs are newer than the listing and stay.
    pub(super) fn apply(self, snapshot: &mut Snapshot, known: u64) -> bool {
        snapshot.packs.retain(|pack| {
            pack.is_recovered() || pack.generation() >= known || self.present.contains(pack.path())
        });
        let grown = !self.added.is_empty();
        for pack in self.added {
            snapshot.add(pack);
        }
        snapshot.lost.extend(self.lost);
        grown
    }
}
