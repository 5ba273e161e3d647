//! LMDB, by `heed`: a B+ tree in a mapped file.

use super::records::{Key, Made, Records};
use super::subject::{Open, Subject};
use anyhow::{Context as _, Result, ensure};
use heed::types::Bytes;
use heed::{Database, Env, EnvFlags, EnvOpenOptions};
use rekindle_cache_core::checksum;
use std::path::Path;

/// Room that the map may grow to.
const MAP: usize = 16 << 30;

/// LMDB: commits are not synced, except where records have to be on disk.
pub(super) struct Lmdb;

struct Tree {
    env: Env,
    database: Database<Bytes, Bytes>,
    value: Vec<u8>,
}

impl Subject for Lmdb {
    fn name(&self) -> &'static str {
        "lmdb"
    }

    fn fill(&self, folder: &Path, records: &Records) -> Result<()> {
        let mut tree = Tree::new(folder)?;
        // In the order of the keys: the tree is then as dense as it can be.
        let mut keys: Vec<Key> = records.keys().collect();
        keys.sort_unstable();
        let mut payload = Vec::new();
        for keys in keys.chunks(100_000) {
            let mut transaction = tree.env.write_txn()?;
            for key in keys {
                records.payload_of(key, &mut payload);
                value(&mut tree.value, &payload);
                tree.database.put(&mut transaction, key, &tree.value)?;
            }
            transaction.commit()?;
        }
        tree.env.force_sync()?;
        Ok(())
    }

    fn open(&self, folder: &Path) -> Result<Box<dyn Open>> {
        Ok(Box::new(Tree::new(folder)?))
    }
}

impl Tree {
    fn new(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mut options = EnvOpenOptions::new();
        options.map_size(MAP);
        // SAFETY: nobody else touches the folder; the file is gone if the machine fails, as all others.
        let env = unsafe { options.flags(EnvFlags::NO_SYNC | EnvFlags::NO_READ_AHEAD) };
        // SAFETY: as above; it is opened once at a time.
        let env = unsafe { env.open(folder) }?;
        let transaction = env.read_txn()?;
        let there = env.open_database::<Bytes, Bytes>(&transaction, None)?;
        drop(transaction);
        let database = match there {
            Some(database) => database,
            None => {
                let mut transaction = env.write_txn()?;
                let database = env.create_database(&mut transaction, None)?;
                transaction.commit()?;
                database
            }
        };
        Ok(Self {
            env,
            database,
            value: Vec::new(),
        })
    }
}

impl Open for Tree {
    fn get(&mut self, key: &Key, payload: &mut Vec<u8>) -> Result<bool> {
        let transaction = self.env.read_txn()?;
        let Some(value) = self.database.get(&transaction, key)? else {
            return Ok(false);
        };
        let (sum, bytes) = value.split_at_checked(8).context("a value is cut off")?;
        payload.clear();
        payload.extend_from_slice(bytes);
        ensure!(
            checksum(payload).to_le_bytes() == sum,
            "a checksum is wrong"
        );
        Ok(true)
    }

    fn put(&mut self, key: &Key, payload: &[u8]) -> Result<()> {
        value(&mut self.value, payload);
        let mut transaction = self.env.write_txn()?;
        self.database.put(&mut transaction, key, &self.value)?;
        transaction.commit()?;
        Ok(())
    }

    fn put_all_durably(&mut self, records: &[Made]) -> Result<()> {
        let mut transaction = self.env.write_txn()?;
        for made in records {
            value(&mut self.value, &made.payload);
            let database = &self.database;
            database.put(&mut transaction, &made.key, &self.value)?;
        }
        transaction.commit()?;
        self.env.force_sync()?;
        Ok(())
    }

    fn prune_half(&mut self, count: usize) -> Result<bool> {
        let mut transaction = self.env.write_txn()?;
        let mut cursor = self.database.iter_mut(&mut transaction)?;
        for _ in 0..count / 2 {
            cursor.next().context("fewer records than there were")??;
            // SAFETY: nothing borrowed from the database is kept.
            unsafe { cursor.del_current() }?;
        }
        drop(cursor);
        transaction.commit()?;
        self.env.force_sync()?;
        Ok(true)
    }
}

fn value(value: &mut Vec<u8>, payload: &[u8]) {
    value.clear();
    value.extend_from_slice(&checksum(payload).to_le_bytes());
    value.extend_from_slice(payload);
}
