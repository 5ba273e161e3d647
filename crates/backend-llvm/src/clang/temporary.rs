//! Folders for the files of one run of clang, which go away in every case: with the run, or, where the
//! process died meanwhile, when the next compiler is made in the same place.

use crate::clang::error::Error;
use std::fs::{DirBuilder, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The beginning of their names.
const BEGINNING: &str = "rekindle-run-";

/// A folder of this run's own, locked as long as it is in use.
#[derive(Debug)]
pub(crate) struct TemporaryFolder {
    path: PathBuf,
    _lock: File,
}

impl TemporaryFolder {
    /// A fresh folder in `parent`.
    pub(crate) fn new(parent: &Path) -> Result<Self, Error> {
        loop {
            let mut random = [0; 8];
            getrandom::fill(&mut random).map_err(|error| Error::Folder {
                path: parent.to_owned(),
                reason: error.to_string(),
            })?;
            let path = parent.join(format!("{BEGINNING}{:016x}", u64::from_le_bytes(random)));
            let made = DirBuilder::new().mode(0o700).create(&path);
            made.map_err(|error| Error::file(&path, "made", &error))?;
            // Somebody who sweeps may have taken it for a dead one before it was locked.
            let Ok(lock) = File::open(&path) else {
                continue;
            };
            if lock.try_lock().is_ok() && is_at(&lock, &path) {
                return Ok(Self { path, _lock: lock });
            }
        }
    }

    /// The path of a file in it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The folder's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "a temporary folder is left behind");
        }
    }
}

/// Removes what processes that died have left in `parent`.
pub(crate) fn sweep(parent: &Path) {
    let Ok(entries) = std::fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(BEGINNING);
        let Some(lock) = is_ours.then(|| File::open(entry.path()).ok()).flatten() else {
            continue;
        };
        match lock.try_lock() {
            Ok(()) => drop(std::fs::remove_dir_all(entry.path())),
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {}
        }
    }
}

/// Whether an open file is the one at `path`.
pub(crate) fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(there)) = (file.metadata(), std::fs::metadata(path)) else {
        return false;
    };
    (open.dev(), open.ino()) == (there.dev(), there.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_go_away_with_their_run_or_at_the_next_sweep() {
        let parent = tempfile::tempdir().expect("a folder");
        let used = TemporaryFolder::new(parent.path()).expect("a folder can be made");
        std::fs::write(used.file("a"), "1").expect("it can be written");
        let left = parent.path().join("rekindle-run-0000000000000000");
        std::fs::create_dir(&left).expect("it can be made");
        let other = parent.path().join("pch-1");
        std::fs::create_dir(&other).expect("it can be made");
        sweep(parent.path());
        assert!(used.file("a").exists() && other.exists() && !left.exists());
        let path = used.path().to_owned();
        drop(used);
        assert!(!path.exists());
    }
}
