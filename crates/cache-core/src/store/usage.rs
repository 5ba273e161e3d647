//! What the files of a store take up.

use super::StoreError;
use super::files::{self, MERGING, PACK, QUARANTINE, RETIRED, SEGMENT};
use super::io::Io;
use crate::folder::fault;
use std::path::Path;

/// Bytes of a store's files, by what they are for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Packs.
    pub packs: u64,
    /// The number of packs.
    pub pack_files: u64,
    /// What living processes write, packs in the making too, and what dead ones left.
    pub segments: u64,
    /// Packs that were replaced and that a living process still has open.
    pub retired: u64,
    /// Damaged packs that were set aside.
    pub quarantined: u64,
    /// Everything else.
    pub other: u64,
}

impl Usage {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.packs + self.segments + self.retired + self.quarantined + self.other
    }
}

/// Adds up the files in `folder`. There are few: records are not files.
pub(super) fn measure(io: &dyn Io, folder: &Path) -> Result<Usage, StoreError> {
    let mut usage = Usage::default();
    for path in io.list(folder).map_err(fault("list", folder))? {
        // What is gone by now takes up nothing.
        let Ok(status) = io.status(&path) else {
            continue;
        };
        let is = |extension| files::id_of(&path, extension).is_some();
        if is(PACK) {
            usage.packs += status.len();
            usage.pack_files += 1;
        } else if is(SEGMENT) || is(MERGING) {
            usage.segments += status.len();
        } else if is(RETIRED) {
            usage.retired += status.len();
        } else if path.ends_with(QUARANTINE) {
            let aside = io.list(&path).unwrap_or_default();
            let sizes = aside.iter().filter_map(|path| io.status(path).ok());
            usage.quarantined += sizes.map(|status| status.len()).sum::<u64>();
        } else if status.is_file() {
            usage.other += status.len();
        }
    }
    Ok(usage)
}
