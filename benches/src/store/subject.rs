//! What is measured: a way of keeping records.

use super::records::{Key, Made, Records};
use anyhow::Result;
use std::path::Path;

/// Bytes of the payload of most records.
pub(super) const SMALL: usize = 256;

/// A way of keeping records in a folder.
pub(super) trait Subject {
    /// Its name in the rows.
    fn name(&self) -> &'static str;

    /// Makes a store of `records` in the empty `folder`, in its best shape for looking up.
    fn fill(&self, folder: &Path, records: &Records) -> Result<()>;

    /// Opens the store in `folder`, which is made if it is not there.
    fn open(&self, folder: &Path) -> Result<Box<dyn Open>>;

    /// Whether it makes a file of each record, or more.
    fn makes_files(&self) -> bool {
        false
    }
}

/// An open store.
pub(super) trait Open {
    /// Copies the payload of `key` to `payload`, whose checksum is then right. Says whether it is there.
    fn get(&mut self, key: &Key, payload: &mut Vec<u8>) -> Result<bool>;

    /// Keeps a record, so that this process finds it, and others do unless they only do after a flush.
    /// It need not be on disk.
    fn put(&mut self, key: &Key, payload: &[u8]) -> Result<()>;

    /// Keeps all `records` in the best way there is, on disk when it returns.
    fn put_all_durably(&mut self, records: &[Made]) -> Result<()>;

    /// Removes half of its `count` records, the least useful half by its own idea, and gives the space
    /// back as far as it ever does. Says whether it can.
    fn prune_half(&mut self, count: usize) -> Result<bool>;

    /// Bytes of index that are mapped, if it tells.
    fn index_bytes(&self) -> Option<u64> {
        None
    }
}
