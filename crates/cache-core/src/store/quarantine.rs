//! Setting damaged packs aside, once, without losing what is intact in them.

use super::StoreError;
use super::files::{self, Lock, QUARANTINED, fault};
use super::index::IndexEntry;
use super::pack::Pack;
use super::segment::Segment;
use std::io;
use std::path::{Path, PathBuf};

/// What became of a damaged pack.
pub(super) struct SetAside {
    /// What it is called now.
    pub(super) path: PathBuf,
    /// The new pack with its intact records, if there are any.
    pub(super) rescued: Option<PathBuf>,
}

/// Writes the intact records of the damaged pack at `path` to a new pack, and renames the damaged one
/// so that nobody opens it again. `None` if another process is at it or has done it.
///
/// The new pack comes first: a process that dies in between leaves duplicates, not a gap. It has the
/// stamp of the damaged one, because its records are no newer.
///
/// # Errors
/// A file operation; the damaged pack is then still where it was.
pub(super) fn set_aside(
    path: &Path,
    recovered: Option<&Pack>,
) -> Result<Option<SetAside>, StoreError> {
    let file = match files::open(path, false) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fault("open", path)(error)),
    };
    match files::lock(&file, path).map_err(fault("lock", path))? {
        Lock::Ours => {}
        Lock::Taken | Lock::Gone => return Ok(None),
    }
    let rescued = match (recovered, path.parent()) {
        (Some(pack), Some(folder)) => rescue(pack, folder)?,
        _ => None,
    };
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(QUARANTINED);
    let aside = PathBuf::from(name);
    std::fs::rename(path, &aside).map_err(fault("rename", path))?;
    Ok(Some(SetAside {
        path: aside,
        rescued,
    }))
}

fn rescue(pack: &Pack, folder: &Path) -> Result<Option<PathBuf>, StoreError> {
    let mut segment = Segment::create(folder, pack.stamp())?;
    let mut entries = Vec::new();
    let written = pack.salvage(|key, bytes| {
        let offset = segment.append(bytes)?;
        entries.push(IndexEntry::new(key.0.prefix(), offset));
        Ok(())
    });
    if written.is_err() || entries.is_empty() {
        segment.discard();
        return written.map(|()| None);
    }
    segment.seal(entries).map(|sealed| Some(sealed.path))
}
