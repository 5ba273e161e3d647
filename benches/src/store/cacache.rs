//! `cacache`: npm's content-addressed cache, in Rust.
//!
//! It checks what it reads by SHA-256 and has no call to bring anything to the disk.

use super::records::{Key, Made, Records};
use super::subject::{Open, Subject};
use anyhow::Result;
use rekindle_cache_core::Digest;
use std::path::{Path, PathBuf};

/// `cacache`, by its synchronous calls.
pub(super) struct Cacache;

struct Folder(PathBuf);

impl Subject for Cacache {
    fn name(&self) -> &'static str {
        "cacache"
    }

    fn fill(&self, folder: &Path, records: &Records) -> Result<()> {
        let mut folder = Folder(folder.to_owned());
        records.for_each(|key, payload| folder.put(key, payload))
    }

    fn open(&self, folder: &Path) -> Result<Box<dyn Open>> {
        Ok(Box::new(Folder(folder.to_owned())))
    }

    fn makes_files(&self) -> bool {
        true
    }
}

impl Open for Folder {
    fn get(&mut self, key: &Key, payload: &mut Vec<u8>) -> Result<bool> {
        match cacache::read_sync(&self.0, Digest(*key).to_string()) {
            Ok(found) => {
                *payload = found;
                Ok(true)
            }
            Err(cacache::Error::EntryNotFound(..)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn put(&mut self, key: &Key, payload: &[u8]) -> Result<()> {
        cacache::write_sync(&self.0, Digest(*key).to_string(), payload)?;
        Ok(())
    }

    fn put_all_durably(&mut self, records: &[Made]) -> Result<()> {
        records
            .iter()
            .try_for_each(|made| self.put(&made.key, &made.payload))
    }

    fn prune_half(&mut self, count: usize) -> Result<bool> {
        let mut found = cacache::list_sync(&self.0).collect::<Result<Vec<_>, _>>()?;
        found.sort_by_key(|entry| entry.time);
        for entry in found.iter().take(count / 2) {
            cacache::remove_hash_sync(&self.0, &entry.integrity)?;
            cacache::remove_sync(&self.0, &entry.key)?;
        }
        Ok(true)
    }
}
