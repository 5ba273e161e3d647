//! SQLite, by `rusqlite`: a table without row ids, mapped, with a write-ahead log.

use super::records::{Key, Made, Records};
use super::subject::{Open, Subject};
use anyhow::{Result, ensure};
use rekindle_cache_core::checksum;
use rusqlite::{Connection, OptionalExtension as _, params};
use std::path::Path;

/// SQLite: commits are not synced, except where records have to be on disk.
pub(super) struct Sqlite;

struct Table(Connection);

const GET: &str = "SELECT sum, payload FROM records WHERE key = ?1";
const PUT: &str = "INSERT OR REPLACE INTO records VALUES (?1, ?2, ?3)";

impl Subject for Sqlite {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn fill(&self, folder: &Path, records: &Records) -> Result<()> {
        let mut table = Table::new(folder)?;
        let mut keys: Vec<Key> = records.keys().collect();
        keys.sort_unstable();
        let mut payload = Vec::new();
        let transaction = table.0.transaction()?;
        for key in keys {
            records.payload_of(&key, &mut payload);
            put(&transaction, &key, &payload)?;
        }
        transaction.commit()?;
        checkpoint(&table.0)
    }

    fn open(&self, folder: &Path) -> Result<Box<dyn Open>> {
        Ok(Box::new(Table::new(folder)?))
    }
}

impl Table {
    fn new(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let connection = Connection::open(folder.join("records.sqlite"))?;
        connection.pragma_update(None, "mmap_size", 4_i64 << 30)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "OFF")?;
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS records \
             (key BLOB PRIMARY KEY, sum INTEGER, payload BLOB) WITHOUT ROWID",
        )?;
        Ok(Self(connection))
    }
}

impl Open for Table {
    fn get(&mut self, key: &Key, payload: &mut Vec<u8>) -> Result<bool> {
        let mut statement = self.0.prepare_cached(GET)?;
        let sum: Option<i64> = statement
            .query_row([&key[..]], |row| {
                payload.clear();
                payload.extend_from_slice(row.get_ref(1)?.as_blob()?);
                row.get(0)
            })
            .optional()?;
        ensure!(
            sum.is_none_or(|sum| checksum(payload).cast_signed() == sum),
            "a checksum is wrong"
        );
        Ok(sum.is_some())
    }

    fn put(&mut self, key: &Key, payload: &[u8]) -> Result<()> {
        put(&self.0, key, payload)
    }

    fn put_all_durably(&mut self, records: &[Made]) -> Result<()> {
        self.0.pragma_update(None, "synchronous", "FULL")?;
        let transaction = self.0.transaction()?;
        for made in records {
            put(&transaction, &made.key, &made.payload)?;
        }
        transaction.commit()?;
        Ok(())
    }

    fn prune_half(&mut self, count: usize) -> Result<bool> {
        self.0.pragma_update(None, "synchronous", "FULL")?;
        self.0.execute(
            "DELETE FROM records WHERE key IN (SELECT key FROM records LIMIT ?1)",
            [count as i64 / 2],
        )?;
        Ok(true)
    }
}

fn put(connection: &Connection, key: &Key, payload: &[u8]) -> Result<()> {
    let mut statement = connection.prepare_cached(PUT)?;
    statement.execute(params![&key[..], checksum(payload).cast_signed(), payload])?;
    Ok(())
}

fn checkpoint(connection: &Connection) -> Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(())
}
