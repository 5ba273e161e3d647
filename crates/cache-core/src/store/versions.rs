//! Folders of other versions of the format, beside this one's.
//!
//! Each version keeps its files in a folder of its own, `v1`, `v2` and so on, and reads and writes no other,
//! so that programs built with different versions use one cache side by side. A folder of an older version
//! goes when nothing was written there for a month and nobody writes there now: a program that still
//! comes by compiles anew. A folder of a newer version is never touched.

use super::StoreError;
use super::files::{self, Lock};
use super::format::FORMAT_VERSION;
use super::io::Io;
use crate::folder::fault;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

/// A folder of an older version stays for so long after it was last written to.
const KEPT: Duration = Duration::from_secs(30 * 86_400);

/// Removes the folders of older versions beside `folder` that are not used any more.
pub(super) fn remove_outdated(io: &dyn Io, folder: &Path) -> Result<(), StoreError> {
    let Some(root) = folder.parent() else {
        return Ok(());
    };
    for version in 1..FORMAT_VERSION {
        let outdated = root.join(format!("v{version}"));
        match io.status(&outdated) {
            Ok(status) if status.is_dir() => {}
            Ok(_) => continue,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(fault("look at", &outdated)(error)),
        }
        if is_unused(io, &outdated)? {
            tracing::debug!(folder = %outdated.display(), "removing an older version's files");
            std::fs::remove_dir_all(&outdated).map_err(fault("remove", &outdated))?;
        }
    }
    Ok(())
}

fn is_unused(io: &dyn Io, folder: &Path) -> Result<bool, StoreError> {
    let mut paths = io.list(folder).map_err(fault("list", folder))?;
    paths.push(folder.to_owned());
    for path in paths {
        let modified = io
            .status(&path)
            .and_then(|status| status.modified())
            .map_err(fault("look at", &path))?;
        // A clock that was set back makes it younger, and it stays.
        let age = io.now().duration_since(modified).unwrap_or_default();
        if age < KEPT {
            return Ok(false);
        }
        if path
            .extension()
            .is_some_and(|extension| extension == files::SEGMENT)
            && let Some(file) = files::open(io, &path, true)?
            && files::lock(io, &file, &path).map_err(fault("lock", &path))? == Lock::Taken
        {
            return Ok(false);
        }
    }
    Ok(true)
}
