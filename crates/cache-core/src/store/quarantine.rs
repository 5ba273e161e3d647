//! Damaged packs that were set aside, and why.

use super::files::{self, PACK, QUARANTINE};
use super::io::Io;
use super::rewrite::quarantine_folder;
use super::{Damage, StoreError};
use crate::folder::fault;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Ends the name of the file that says why a pack was set aside.
const REASON: &str = "reason";

/// A damaged pack that was set aside. What was intact in it is in another pack.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quarantined {
    /// Where it is now.
    pub file: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// What was found wrong, where.
    pub reason: String,
}

/// Moves the pack with number `id` into quarantine and says where it is; `None` if it was gone.
///
/// # Errors
/// A file operation; the pack is then where it was.
pub(super) fn set_aside(
    io: &dyn Io,
    folder: &Path,
    id: u64,
    damage: &Damage,
) -> Result<Option<PathBuf>, StoreError> {
    let quarantine = quarantine_folder(io, folder)?;
    let reason = files::path_of(&quarantine, id, REASON);
    // The reason first: a pack without one cannot come to be.
    let _ = io.remove(&reason);
    let text = format!("offset {}: {}\n", damage.offset, damage.what);
    let file = io.create(&reason).map_err(fault("create", &reason))?;
    super::io::write_all_at(io, &file, &reason, text.as_bytes(), 0)
        .map_err(fault("write", &reason))?;
    let from = files::path_of(folder, id, PACK);
    let to = files::path_of(&quarantine, id, PACK);
    match io.rename(&from, &to) {
        Ok(()) => Ok(Some(to)),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let _ = io.remove(&reason);
            Ok(None)
        }
        Err(error) => Err(fault("rename", &from)(error)),
    }
}

/// The packs in quarantine.
pub(super) fn list(io: &dyn Io, folder: &Path) -> Result<Vec<Quarantined>, StoreError> {
    let quarantine = folder.join(QUARANTINE);
    let paths = match io.list(&quarantine) {
        Ok(paths) => paths,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(fault("list", &quarantine)(error)),
    };
    let mut found = Vec::new();
    for file in paths {
        let Some(id) = files::id_of(&file, PACK) else {
            continue;
        };
        let reason = std::fs::read_to_string(files::path_of(&quarantine, id, REASON));
        found.push(Quarantined {
            bytes: io.status(&file).map_or(0, |status| status.len()),
            reason: reason.map_or_else(
                |error| format!("the reason cannot be read: {error}"),
                |reason| reason.trim_end().to_owned(),
            ),
            file,
        });
    }
    found.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(found)
}

/// Removes a pack from quarantine for good.
pub(super) fn remove(io: &dyn Io, quarantined: &Quarantined) -> Result<(), StoreError> {
    for path in [&quarantined.file, &quarantined.file.with_extension(REASON)] {
        match io.remove(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(fault("remove", path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}
