//! Opens the cache that the command line names.

use crate::arguments::Place;
use crate::units::now;
use anyhow::Context as _;
use rekindle_cache_core::folder::default_folder;
use rekindle_cache_core::history::Sample;
use rekindle_cache_core::store::{FolderStore, Store as _, StoreStatistics};
use std::path::PathBuf;

impl Place {
    /// The cache's folder, whether it is there or not.
    pub(crate) fn folder(&self) -> anyhow::Result<PathBuf> {
        match &self.dir {
            Some(dir) => std::path::absolute(dir)
                .with_context(|| format!("cannot tell which folder {} is", dir.display())),
            None => Ok(default_folder()?),
        }
    }

    /// The cache, to look into: nothing is changed.
    pub(crate) fn look(&self) -> anyhow::Result<(PathBuf, FolderStore)> {
        let folder = self.folder()?;
        let store = FolderStore::open_read_only(&folder)
            .with_context(|| format!("no cache can be read in {}", folder.display()))?;
        Ok((folder, store))
    }

    /// The cache, to change it; it has to be there.
    pub(crate) fn change(&self) -> anyhow::Result<FolderStore> {
        let (folder, _) = self.look()?;
        FolderStore::open(&folder)
            .with_context(|| format!("the cache in {} cannot be changed", folder.display()))
    }

    /// The cache, to add to it; it is made if it is not there.
    pub(crate) fn make(&self) -> anyhow::Result<FolderStore> {
        let folder = self.folder()?;
        FolderStore::open(&folder)
            .with_context(|| format!("no cache can be made in {}", folder.display()))
    }
}

/// Notes how large a cache is that this command has changed, for `rekindle report`. A fault harms nobody.
pub(crate) fn note_size(store: &FolderStore, before: &StoreStatistics) {
    let sample = Sample::new(now(), before, &store.statistics());
    if let Err(error) = sample.append_to(store.folder()) {
        tracing::debug!(%error, "the history is not written");
    }
}
