//! How a store stays within its limits while many processes write to it.

use super::files::Maintenance;
use super::{FolderStore, Limits, Store, StoreError, index};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long is waited for another process to prune, or to let go of what was replaced, when the store is
/// close to its limit.
pub(super) const ROOM_PATIENCE: Duration = Duration::from_secs(5);

impl FolderStore {
    /// Whether the store is above its soft limit, as far as is known: no file is looked at.
    pub(super) fn is_full(&self) -> bool {
        let snapshot = self.snapshot();
        let others = self.others.load(Ordering::Relaxed);
        let soft = self.limits.soft();
        snapshot.bytes().saturating_add(others) > soft.max_bytes
            || snapshot.records() > soft.max_entries
    }

    /// Looks at what others have sealed, and at what their files take up.
    pub(super) fn look_around(&self) {
        if let Err(error) = self.refresh().and_then(|_| self.usage()) {
            self.fault(&error);
        }
    }

    /// How large a pack is made by merging: no larger than an index can speak of, by far.
    pub(super) fn most_bytes(&self) -> u64 {
        self.limits.pack_bytes().min(index::MOST_BYTES / 2)
    }

    /// Whether so many bytes can be written before what they replace is given back.
    pub(super) fn has_room(&self, bytes: u64, limits: &Limits) -> Result<bool, StoreError> {
        if limits.max_bytes == u64::MAX {
            return Ok(true);
        }
        // The rest of the limit is for what processes write that have not noticed yet how full it is.
        let fits = |used: u64| used.saturating_add(bytes) <= limits.overdue().max_bytes;
        if fits(self.usage()?.total()) {
            return Ok(true);
        }
        self.remove_retired()?;
        Ok(fits(self.usage()?.total()))
    }

    /// Lets processes that have replaced packs open let go of them, which they do whenever they look at
    /// the folder, before more is replaced: until `deadline`, since one that is idle never does.
    pub(super) fn wait_for_room(
        &self,
        bytes: u64,
        limits: &Limits,
        deadline: Instant,
    ) -> Result<(), StoreError> {
        while !self.has_room(bytes, limits)? {
            if self.usage()?.retired == 0 || Instant::now() >= deadline {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Makes room for `more` bytes. Above the soft limit one process at a time writes, after it has
    /// pruned, and holds what is given here until it has written: what many measure at once they would
    /// all take. Whoever has the right is waited for, for a while.
    ///
    /// # Errors
    /// A file operation, or [`StoreError::NoRoom`].
    pub(super) fn make_room(&self, more: u64) -> Result<Option<Maintenance>, StoreError> {
        if self.limits == Limits::NONE {
            return Ok(None);
        }
        let began = Instant::now();
        loop {
            let used = self.usage()?.total();
            let total = used.saturating_add(more);
            let records = self.snapshot().records();
            let soft = self.limits.soft();
            // As if several processes did the same at this moment.
            let at_once = used.saturating_add(more.saturating_mul(8));
            if at_once <= soft.max_bytes && records <= soft.max_entries {
                return Ok(None);
            }
            if let Some(right) = self.begin()? {
                self.put_away_leftovers(&right)?;
                self.prune_with(&right, &self.limits, more)?;
                self.remove_retired()?;
                let total = self.usage()?.total().saturating_add(more);
                if total <= self.limits.overdue().max_bytes {
                    return Ok(Some(right));
                }
            } else {
                // So that this process is not what keeps space from being given back.
                self.refresh()?;
            }
            if began.elapsed() > ROOM_PATIENCE {
                return Err(StoreError::NoRoom {
                    path: self.folder.clone(),
                    total,
                    max: self.limits.max_bytes,
                });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
