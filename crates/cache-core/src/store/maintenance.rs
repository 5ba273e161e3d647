//! Merging, pruning and setting aside: what a store does in the background.
//!
//! One process at a time maintains a folder; whoever does not get the right to goes on without. Readers of
//! a pack that is replaced go on with it: their mapping stays, and the lock that they hold on the file
//! keeps its space accounted for, until they look at the folder again.

use super::eviction::{self, Room};
use super::files::{self, Maintenance};
use super::pack::Pack;
use super::quarantine::{self, Quarantined};
use super::record::Content;
use super::rewrite::{self, Outdated, Scope, Survey};
use super::room::ROOM_PATIENCE;
use super::segment;
use super::usage::{self, Usage};
use super::uses;
use super::versions;
use super::{FolderStore, Limits, Record, Store, StoreError};
use crate::folder::fault;
use rkyv::util::AlignedVec;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// More packs than this are merged.
const ENOUGH_PACKS: usize = 8;

/// Which packs are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Merge {
    /// The newest ones, when there are more than a few: each record is copied a few times in its life.
    Due,
    /// All, up to the size that a pack may have.
    All,
}

/// What merging did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Merged {
    /// Packs that were replaced.
    pub packs_before: u64,
    /// Packs that have come in their place.
    pub packs_after: u64,
    /// Records in those.
    pub records: u64,
    /// Records that were left out: damaged, removed, or the same compilation as a newer one.
    pub dropped: u64,
    /// Another process maintains the folder, so nothing was done.
    pub busy: bool,
}

/// What pruning did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pruned {
    /// Records that are gone.
    pub records: u64,
    /// Bytes by which the packs have become smaller.
    pub bytes: u64,
    /// Records that stay.
    pub kept: u64,
    /// Another process maintains the folder, so nothing was done.
    pub busy: bool,
}

impl FolderStore {
    /// Makes one pack of several, with the records in the order in which they were put, which is the
    /// order in which a process that does the same again looks for them.
    ///
    /// # Errors
    /// A file operation, or a store that is read only; nothing is lost by it.
    pub fn merge(&self, which: Merge) -> Result<Merged, StoreError> {
        self.counted(match self.begin()? {
            Some(right) => self.merge_with(&right, which),
            None => Ok(Merged {
                busy: true,
                ..Merged::default()
            }),
        })
    }

    /// Evicts records until the store is below the low-water mark of `limits`, if it is above the soft
    /// limit: those first that took little to compile, were not used for long, and are large.
    ///
    /// Quarantined packs go before any record does. What a living process still has open counts, and
    /// cannot be given back before it looks at the folder again; records are not evicted below half of
    /// the low-water mark on its account.
    ///
    /// # Errors
    /// A file operation, or a store that is read only; nothing else is lost by it.
    pub fn prune(&self, limits: &Limits) -> Result<Pruned, StoreError> {
        self.counted(match self.begin()? {
            Some(right) => self.prune_with(&right, limits, 0),
            None => Ok(Pruned {
                busy: true,
                ..Pruned::default()
            }),
        })
    }

    /// Drops the records that `keep` does not want, from the packs, for all processes. What this process
    /// has put and not flushed stays.
    ///
    /// # Errors
    /// A file operation, or a store that is read only; nothing else is lost by it.
    pub fn retain(&self, keep: &mut dyn FnMut(&Record<'_>) -> bool) -> Result<Pruned, StoreError> {
        let Some(_right) = self.begin()? else {
            return Ok(Pruned {
                busy: true,
                ..Pruned::default()
            });
        };
        let snapshot = self.snapshot();
        let mut surveys = rewrite::survey(snapshot.packs(), snapshot.removed(), Scope::AllInParts);
        let mut buffer = AlignedVec::new();
        for survey in &mut surveys {
            for record in &mut survey.records {
                let offset = usize::try_from(record.offset).unwrap_or(usize::MAX);
                let unwanted = survey.pack.read(offset, &mut buffer).is_ok_and(
                    |found| matches!(found.content(), Ok(Content::Code(code)) if !keep(&code)),
                );
                record.stays &= !unwanted;
            }
        }
        drop(snapshot);
        self.counted(self.drop_unwanted(surveys, &self.limits))
    }

    /// Drops all records from the packs and everything in quarantine, for all processes.
    ///
    /// # Errors
    /// A file operation, or a store that is read only.
    pub fn clear(&self) -> Result<Pruned, StoreError> {
        let pruned = self.retain(&mut |_| false)?;
        if !pruned.busy {
            for quarantined in self.quarantined()? {
                self.counted(quarantine::remove(&*self.io, &quarantined))?;
            }
        }
        Ok(pruned)
    }

    /// Sets aside the packs in which damage was met, and keeps what is intact in them in new ones. Gives
    /// their number.
    ///
    /// # Errors
    /// A file operation; nothing is lost by it.
    pub fn set_aside_damaged(&self) -> Result<u64, StoreError> {
        let snapshot = self.snapshot();
        let is_suspect = |pack: &Arc<Pack>| pack.suspicion().is_some();
        if !snapshot.packs().iter().any(is_suspect) && snapshot.lost().is_empty() {
            return Ok(0);
        }
        drop(snapshot);
        self.counted(match self.begin()? {
            Some(right) => self.set_aside_with(&right),
            None => Ok(0),
        })
    }

    /// The packs that were set aside because something in them was damaged.
    ///
    /// # Errors
    /// A folder that cannot be listed.
    pub fn quarantined(&self) -> Result<Vec<Quarantined>, StoreError> {
        quarantine::list(&*self.io, &self.folder)
    }

    /// What the store's files take up, by what they are for.
    ///
    /// # Errors
    /// A folder that cannot be listed.
    pub fn usage(&self) -> Result<Usage, StoreError> {
        let usage = usage::measure(&*self.io, &self.folder)?;
        let others = usage.total() - usage.packs;
        self.others.store(others, Ordering::Relaxed);
        Ok(usage)
    }

    /// All of it, as far as it is due.
    pub(super) fn maintain_folder(&self) -> Result<(), StoreError> {
        let adopted = segment::adopt_all(&self.io, &self.folder);
        let Some(right) = self.begin()? else {
            return adopted;
        };
        self.put_away_leftovers(&right)?;
        self.set_aside_with(&right)?;
        self.merge_with(&right, Merge::Due)?;
        self.prune_with(&right, &self.limits, 0)?;
        if uses::bytes(&*self.io, &self.folder) >= uses::LARGE / 2 {
            self.compact_uses()?;
        }
        versions::remove_outdated(&*self.io, &self.folder)?;
        self.remove_retired()?;
        // So that putting goes by what is there now.
        self.usage()?;
        adopted
    }

    /// Removes replaced packs that nobody has open any more. Not when a store is opened: removing a large
    /// file takes its time.
    pub(super) fn remove_retired(&self) -> Result<(), StoreError> {
        let paths = self
            .io
            .list(&self.folder)
            .map_err(fault("list", &self.folder))?;
        for path in paths {
            if files::id_of(&path, files::RETIRED).is_some() {
                files::remove_unused(&*self.io, &path)?;
            }
        }
        Ok(())
    }

    /// The right to maintain the folder, and a look at all that is in it.
    pub(super) fn begin(&self) -> Result<Option<Maintenance>, StoreError> {
        if self.is_read_only() {
            let source = io::Error::new(
                io::ErrorKind::PermissionDenied,
                "the store was opened for reading only, or its folder cannot be written",
            );
            return Err(fault("maintain", &self.folder)(source));
        }
        let right = files::maintain(&*self.io, &self.folder)?;
        if right.is_some() {
            self.refresh()?;
        }
        Ok(right)
    }

    fn merge_with(&self, _right: &Maintenance, which: Merge) -> Result<Merged, StoreError> {
        let snapshot = self.snapshot();
        let packs = snapshot.packs();
        let count = packs.len();
        let runs = match which {
            Merge::All => runs_of_all(packs, self.most_bytes()),
            Merge::Due if count > ENOUGH_PACKS => {
                vec![newest_run(packs, self.most_bytes())]
            }
            Merge::Due => Vec::new(),
        };
        let runs: Vec<Vec<_>> = runs
            .into_iter()
            .map(|run| packs.get(run).unwrap_or_default().to_vec())
            .collect();
        let removed = snapshot.removed().clone();
        // A pack is removed when nobody has it open any more, and that goes for this process too.
        drop(snapshot);
        let mut merged = Merged::default();
        // The oldest first: what is merged later may remove what is in an older one.
        for run in runs.into_iter().rev() {
            let says_nothing =
                |pack: &Arc<Pack>| pack.removed().is_empty() && pack.suspicion().is_none();
            if run.len() < 2 && run.iter().all(says_nothing) {
                continue;
            }
            let scope = match run.len() == count {
                true => Scope::AllAtOnce,
                false => Scope::Some,
            };
            if !self.has_room(run.iter().map(|pack| pack.bytes()).sum(), &self.limits)? {
                break;
            }
            let surveys = rewrite::survey(&run, &removed, scope);
            let before: u64 = run.iter().map(|pack| pack.records()).sum();
            merged.packs_before += run.len() as u64;
            drop(run);
            let (copied, is_pack) = self.replace(surveys)?;
            merged.packs_after += u64::from(is_pack);
            merged.records += copied;
            merged.dropped += before.saturating_sub(copied);
        }
        Ok(merged)
    }

    pub(super) fn prune_with(
        &self,
        _right: &Maintenance,
        limits: &Limits,
        more: u64,
    ) -> Result<Pruned, StoreError> {
        let (soft, low) = (limits.soft(), limits.low());
        let snapshot = self.snapshot();
        let mut usage = self.usage()?;
        let is_small = |usage: &Usage| {
            usage.total().saturating_add(more) <= soft.max_bytes
                && snapshot.records() <= soft.max_entries
        };
        if is_small(&usage) {
            return Ok(Pruned {
                kept: snapshot.records(),
                ..Pruned::default()
            });
        }
        for quarantined in self.quarantined()? {
            quarantine::remove(&*self.io, &quarantined)?;
        }
        usage.quarantined = 0;
        let others = (usage.total() - usage.packs).saturating_add(more);
        let room = Room {
            bytes: low.max_bytes.saturating_sub(others).max(low.max_bytes / 2),
            records: low.max_entries,
        };
        let mut surveys = rewrite::survey(snapshot.packs(), snapshot.removed(), Scope::AllInParts);
        drop(snapshot);
        let known = uses::read(&*self.io, &self.folder);
        let now = uses::seconds(self.io.now());
        eviction::choose(&mut surveys, &known, room, now);
        let pruned = self.drop_unwanted(surveys, limits)?;
        self.evicted.fetch_add(pruned.records, Ordering::Relaxed);
        self.evicted_bytes
            .fetch_add(pruned.bytes, Ordering::Relaxed);
        Ok(pruned)
    }

    /// Rewrites the packs of `surveys`, which are all of the folder, that have something that does not
    /// stay, several small ones at a time.
    fn drop_unwanted(
        &self,
        mut surveys: Vec<Survey>,
        limits: &Limits,
    ) -> Result<Pruned, StoreError> {
        let mut pruned = Pruned::default();
        let deadline = Instant::now() + ROOM_PATIENCE;
        let before = self.snapshot().bytes();
        // The oldest are at the end, and go first.
        while let Some(last) = surveys.pop() {
            if last.is_whole() {
                pruned.kept += last.records.len() as u64;
                continue;
            }
            let mut bytes = last.bytes();
            let mut group = vec![last];
            while let Some(next) = surveys.last() {
                bytes = bytes.saturating_add(next.bytes());
                if next.is_whole() || bytes > limits.pack_bytes().min(super::index::MOST_BYTES / 2)
                {
                    break;
                }
                group.extend(surveys.pop());
            }
            group.reverse();
            self.wait_for_room(bytes_of(&group), limits, deadline)?;
            let records: usize = group.iter().map(|survey| survey.records.len()).sum();
            let (copied, _) = self.replace(group)?;
            pruned.records += (records as u64).saturating_sub(copied);
            pruned.kept += copied;
        }
        pruned.bytes = before.saturating_sub(self.snapshot().bytes());
        Ok(pruned)
    }

    fn set_aside_with(&self, _right: &Maintenance) -> Result<u64, StoreError> {
        let snapshot = self.snapshot();
        let mut count = 0;
        for pack in snapshot.packs() {
            if pack.suspicion().is_some() {
                let surveys =
                    rewrite::survey(std::slice::from_ref(pack), snapshot.removed(), Scope::Some);
                self.replace(surveys)?;
                count += 1;
            }
        }
        // Packs whose header is damaged were never opened.
        for damage in snapshot.lost() {
            let path = damage.file.as_deref();
            let Some(id) = path.and_then(|path| files::id_of(path, files::PACK)) else {
                continue;
            };
            let is_here = path.and_then(|path| path.parent()) == Some(&self.folder);
            if is_here && !snapshot.has(id) {
                let aside = quarantine::set_aside(&*self.io, &self.folder, id, damage)?;
                count += u64::from(aside.is_some());
                self.damage_is_aside(id, aside);
            }
        }
        Ok(count)
    }

    /// Packs in whose place others have come, and whose names are still there because a process died.
    pub(super) fn put_away_leftovers(&self, _right: &Maintenance) -> Result<(), StoreError> {
        let snapshot = self.snapshot();
        let replaced: rustc_hash::FxHashSet<u64> = (snapshot.packs().iter())
            .flat_map(|pack| pack.replaced().iter().copied())
            .collect();
        let paths = self
            .io
            .list(&self.folder)
            .map_err(fault("list", &self.folder))?;
        for id in paths
            .iter()
            .filter_map(|path| files::id_of(path, files::PACK))
        {
            if replaced.contains(&id) {
                files::retire(&*self.io, &self.folder, id)?;
            }
        }
        Ok(())
    }

    /// Puts one new pack in the place of those of `surveys`, which are the newest first. Gives the number
    /// of records in it, and whether there is one.
    fn replace(&self, mut surveys: Vec<Survey>) -> Result<(u64, bool), StoreError> {
        let rewritten = rewrite::rewrite(&*self.io, &self.folder, &mut surveys)?;
        let outdated: Vec<_> = surveys.iter().map(Outdated::of).collect();
        // With these go the last references of this process to the packs, unless a look-up is under way.
        drop(surveys);
        let mut durable = Ok(());
        let is_pack = rewritten.pack.is_some();
        match rewritten.pack {
            Some(sealed) => {
                let is_shown = self.show_sealed(&sealed);
                durable = sealed.durable;
                if !is_shown || durable.is_err() {
                    // The old ones stay until the new one is known to.
                    return durable.map(|()| (rewritten.records, is_pack));
                }
            }
            None => self.change_snapshot(|snapshot| {
                snapshot.retain(|pack| outdated.iter().all(|outdated| outdated.id != pack.id()));
            }),
        }
        for (id, path) in rewrite::put_away(&*self.io, &self.folder, &outdated)? {
            tracing::warn!(file = %path.display(), "a damaged pack was set aside");
            self.damage_is_aside(id, Some(path));
        }
        durable.map(|()| (rewritten.records, is_pack))
    }

    fn damage_is_aside(&self, id: u64, path: Option<std::path::PathBuf>) {
        let was = files::path_of(&self.folder, id, files::PACK);
        if let Some(path) = path {
            self.change_snapshot(|snapshot| snapshot.lost_is_at(&was, &path));
        }
    }

    fn compact_uses(&self) -> Result<(), StoreError> {
        let mut known = uses::read(&*self.io, &self.folder);
        let mut present = rustc_hash::FxHashSet::default();
        for pack in self.snapshot().packs() {
            let _ = pack.for_each(&mut |_| ControlFlow::Continue(()), &mut |placed| {
                present.insert(placed.checked.key.0.prefix());
                ControlFlow::Continue(())
            });
        }
        known.retain(|prefix, _| present.contains(prefix));
        uses::replace(&*self.io, &self.folder, &known)
    }
}

/// The bytes of the records of `surveys` that stay.
fn bytes_of(surveys: &[Survey]) -> u64 {
    surveys.iter().map(Survey::bytes).sum()
}

/// The newest packs that together are not much smaller than the next older one: merging these keeps the
/// number of packs small, and copies a record about as often as the store doubles.
fn newest_run(packs: &[Arc<Pack>], most: u64) -> std::ops::Range<usize> {
    let (mut end, mut bytes) = (0, 0u64);
    for pack in packs {
        let larger = bytes.saturating_add(pack.bytes());
        if end >= 2 && (pack.bytes() > bytes.saturating_mul(2) || larger > most) {
            break;
        }
        (end, bytes) = (end + 1, larger);
    }
    0..end
}

/// All packs, in runs of which each makes a pack of at most `most` bytes.
fn runs_of_all(packs: &[Arc<Pack>], most: u64) -> Vec<std::ops::Range<usize>> {
    let mut runs = Vec::new();
    let (mut start, mut bytes) = (0, 0u64);
    for (place, pack) in packs.iter().enumerate() {
        if place > start && bytes.saturating_add(pack.bytes()) > most {
            runs.push(start..place);
            (start, bytes) = (place, 0);
        }
        bytes = bytes.saturating_add(pack.bytes());
    }
    if start < packs.len() {
        runs.push(start..packs.len());
    }
    runs
}
