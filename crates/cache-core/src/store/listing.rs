//! How a process comes to see the packs of its folder.

use super::files::{self, PACK};
use super::io::Io;
use super::pack::{Opened, Pack};
use super::snapshot::Snapshot;
use super::tending::Tending;
use super::{Damage, StoreError};
use crate::folder::fault;
use rustc_hash::{FxHashMap, FxHashSet};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// A folder's time of change says "nothing new" only if it was this old when the folder was listed:
/// file systems count time in steps, and several changes fit into one.
const SETTLED: Duration = Duration::from_secs(1);

/// How often a folder is listed in a row while packs go away between being listed and being opened.
const TRIES: usize = 8;

/// What a process has made of its store's folder so far.
pub(super) struct Listing {
    io: Arc<dyn Io>,
    folder: PathBuf,
    tending: Arc<Tending>,
    /// Packs that are not to be looked at again: damaged ones, unreadable ones, other versions.
    settled: FxHashSet<u64>,
    /// The folder's time of change when it was listed, if it can be relied on.
    listed: Option<SystemTime>,
}

/// What listing the folder found.
#[derive(Default)]
pub(super) struct Changes {
    /// All packs that are there now.
    present: FxHashMap<u64, PathBuf>,
    /// Those that are new.
    added: Vec<Arc<Pack>>,
    /// Those that were open and need not be any more.
    gone: FxHashSet<u64>,
    lost: Vec<Damage>,
    /// Packs that were there and could not be opened.
    pub(super) faults: u64,
    /// The first of those faults.
    pub(super) fault: Option<StoreError>,
}

impl Listing {
    pub(super) fn new(io: Arc<dyn Io>, folder: PathBuf, tending: Arc<Tending>) -> Self {
        Self {
            io,
            folder,
            tending,
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
        let changed = match self
            .io
            .status(&self.folder)
            .and_then(|status| status.modified())
        {
            Ok(changed) => changed,
            // Removed underneath: what is open stays, and the next flush makes it again.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fault("look at", &self.folder)(error)),
        };
        if self.listed == Some(changed) {
            return Ok(None);
        }
        let mut changes = Changes::default();
        // A listing is no picture of one moment: a pack may have gone before it was come to, and what has
        // come in its place may have been added where the listing had already been.
        let mut is_complete = false;
        let mut before = FxHashMap::default();
        for _ in 0..TRIES {
            changes.present.clear();
            for path in (self.io.list(&self.folder)).map_err(fault("list", &self.folder))? {
                if let Some(id) = files::id_of(&path, PACK) {
                    changes.present.insert(id, path);
                }
            }
            let opened_all = self.open_new(known, generations, &mut changes);
            let has_come: FxHashSet<u64> = (known.packs().iter().chain(&changes.added))
                .flat_map(|pack| pack.replaced().iter().copied())
                .collect();
            let gone = known.packs().iter().map(|pack| pack.id());
            let gone = gone.filter(|id| !changes.present.contains_key(id));
            let (explained, unexplained): (Vec<u64>, Vec<u64>) =
                gone.partition(|id| has_come.contains(id));
            changes.gone = explained.into_iter().collect();
            // Whose place nobody has taken was evicted as a whole, if nothing changes meanwhile.
            is_complete = opened_all && (unexplained.is_empty() || before == changes.present);
            if is_complete {
                changes.gone.extend(unexplained);
                break;
            }
            before.clone_from(&changes.present);
        }
        let age = (self.io.now()).duration_since(changed).unwrap_or_default();
        self.listed = (age >= SETTLED && is_complete && changes.fault.is_none()).then_some(changed);
        Ok(Some(changes))
    }

    /// Opens the packs that are present and not open, and says whether all of them were still there.
    fn open_new(
        &mut self,
        known: &Snapshot,
        generations: &AtomicU64,
        changes: &mut Changes,
    ) -> bool {
        let mut opened_all = true;
        for (&id, path) in &changes.present {
            let is_open = known.has(id) || changes.added.iter().any(|pack| pack.id() == id);
            if is_open || self.settled.contains(&id) {
                continue;
            }
            let generation = generations.fetch_add(1, Ordering::Relaxed);
            match Pack::open(&self.io, path, id, generation, &self.tending) {
                Ok(Opened::Pack(pack)) => {
                    if let Some(damage) = pack.suspicion() {
                        let records = pack.records();
                        tracing::warn!(%damage, records, "a pack is damaged; records that come before are kept");
                        changes.lost.push(damage);
                    }
                    changes.added.push(Arc::from(pack));
                }
                Ok(Opened::Damaged(damage)) => {
                    tracing::warn!(%damage, "a pack is damaged and is not used");
                    self.settled.insert(id);
                    changes.lost.push(damage);
                }
                Ok(Opened::OtherVersion) => {
                    self.settled.insert(id);
                }
                Ok(Opened::Gone) => opened_all = false,
                Err(error) => {
                    changes.faults += 1;
                    if matches!(error, StoreError::Untrusted { .. }) {
                        self.settled.insert(id);
                    }
                    changes.fault.get_or_insert(error);
                }
            }
        }
        opened_all
    }
}

impl Changes {
    /// Brings `snapshot` up to date and says whether it has new packs. `known` is the first generation
    /// that the listing did not know of: such packs are newer than the listing and stay.
    pub(super) fn apply(self, snapshot: &mut Snapshot, known: u64) -> bool {
        snapshot.retain(|pack| pack.generation() >= known || !self.gone.contains(&pack.id()));
        let mut grown = false;
        let added: FxHashSet<u64> = self
            .added
            .iter()
            .flat_map(|pack| pack.replaced().iter().copied())
            .collect();
        for pack in self.added {
            if !added.contains(&pack.id()) {
                grown |= !snapshot.has(pack.id());
                snapshot.add(pack);
            }
        }
        for damage in self.lost {
            snapshot.lose(damage);
        }
        grown
    }
}
