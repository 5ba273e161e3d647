//! The store: where records are kept, and found by form key.
//!
//! A folder store keeps them in a folder that any number of processes share; a memory store keeps
//! them for the life of this process, for hosts without a usable folder; layers are a stack of stores.

mod deaths;
mod eviction;
mod files;
mod folder;
mod format;
mod index;
mod inventory;
pub mod io;
mod layers;
mod limits;
mod listing;
mod maintenance;
mod mapped;
mod memory;
mod pack;
mod provenance;
mod quarantine;
mod record;
mod resident;
mod rewrite;
mod room;
pub mod running;
mod segment;
mod snapshot;
mod source;
mod tending;
mod usage;
mod uses;
mod verify;
mod versions;
mod writer;

pub use deaths::{Deadly, Deaths, Verdict};
pub use folder::{FolderStore, Options};
pub(crate) use format::FORMAT_VERSION;
pub use inventory::{Listed, Removal};
pub use layers::{Layer, Layers};
pub use limits::{Limits, LimitsError, MAX_BYTES_VARIABLE, MAX_ENTRIES_VARIABLE};
pub use maintenance::{Merge, Merged, Pruned};
pub use memory::MemoryStore;
pub use provenance::Provenance;
pub use quarantine::Quarantined;
pub use tending::Wake;
pub use usage::Usage;
pub use verify::{Verified, VerifyProgress};

use crate::artifact::ImageRef;
use crate::key::FormKey;
use crate::metadata::{ArchivedMetadata, Metadata};
use std::fmt;
use std::ops::ControlFlow;

/// A record found by key: its metadata was copied, checked and validated; its image was not.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// The key it was found by.
    pub key: FormKey,
    /// Manifest and entry.
    pub metadata: &'a ArchivedMetadata,
    /// The image, which the loader copies and checks.
    pub image: ImageRef<'a>,
    /// Who vouched for it.
    pub provenance: Provenance,
}

/// What a look-up comes across.
#[derive(Debug)]
#[non_exhaustive]
pub enum Found<'a> {
    /// A record whose metadata is right.
    Record(Record<'a>),
    /// Something that failed a check where the record was, or may have been.
    Damaged(&'a Damage),
}

/// A record to be kept.
#[derive(Debug, Clone, Copy)]
pub struct NewRecord<'a> {
    /// The key it will be found by.
    pub key: FormKey,
    /// Manifest and entry.
    pub metadata: &'a Metadata,
    /// The image; its checksum must be the entry's.
    pub image: ImageRef<'a>,
    /// Who vouches for it: [`Provenance::OWN`] for what was compiled here.
    pub provenance: Provenance,
}

/// Which check failed, where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file, if there is one.
    pub file: Option<std::path::PathBuf>,
    /// The offset in the file at which the damaged part starts, in bytes.
    pub offset: u64,
    /// What was wrong there.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(
                out,
                "{}, offset {}: {}",
                file.display(),
                self.offset,
                self.what
            ),
            None => write!(out, "offset {}: {}", self.offset, self.what),
        }
    }
}

/// Keeps records.
pub trait Store: Send + Sync {
    /// Shows `visit` each record of `key`, newest first, and any damage met on the way, until it
    /// breaks or there is no more.
    ///
    /// The views given to `visit` are valid during the call only.
    fn get(&self, key: &FormKey, visit: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>);

    /// Keeps a record. It can be found in this process at once, and in others after a
    /// [`flush`](Self::flush).
    ///
    /// # Errors
    /// A record too large for the format, or a fault of the store's medium; nothing else is lost.
    fn put(&self, record: NewRecord<'_>) -> Result<(), StoreError>;

    /// As [`put`](Self::put), but nothing is written, however much waits for that: for who holds what others
    /// wait for. [`write_if_due`](Self::write_if_due) is to follow.
    ///
    /// # Errors
    /// As of [`put`](Self::put).
    fn put_in_memory(&self, record: NewRecord<'_>) -> Result<(), StoreError> {
        self.put(record)
    }

    /// Writes what was [put in memory](Self::put_in_memory), if so much waits that [`put`](Self::put) would
    /// have, and nobody else is writing.
    ///
    /// # Errors
    /// As of [`write`](Self::write).
    fn write_if_due(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Forgets all records of `key` that this process would find. Other processes do so when they have
    /// seen what the next [`flush`](Self::flush) writes.
    fn remove(&self, key: &FormKey);

    /// Shows `visit` every record once, and any damage, until it breaks. Of records that stand for the
    /// same compilation (equal form key and object key) the newest is shown.
    fn for_each(&self, visit: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>);

    /// Brings what was put out of this process's memory, so that it outlives the process however that ends,
    /// though not the machine. For a worker: a look-up finds it anyway.
    ///
    /// # Errors
    /// The first fault met; what could not be written is kept for the next try.
    fn write(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Makes what was put visible to other processes and durable, where the store is either.
    ///
    /// # Errors
    /// The first fault met; what could not be flushed is kept for the next try.
    fn flush(&self) -> Result<(), StoreError>;

    /// What is in the store.
    fn statistics(&self) -> StoreStatistics;

    /// Tells the store that a record of `key` failed a check that only its user could make: the image's,
    /// on the loader's copy. It is as if the records of `key` that this process finds now were removed,
    /// with `what` as the reason; one that is put after this is found.
    fn report_damage(&self, key: &FormKey, what: &str) {
        let _ = (key, what);
    }

    /// Looks for records that other processes have made visible since the store was opened or last
    /// refreshed. Cheap when there are none.
    ///
    /// Returns whether there are any.
    ///
    /// # Errors
    /// A fault of the store's medium; what was found before is still found.
    fn refresh(&self) -> Result<bool, StoreError> {
        Ok(false)
    }

    /// Calls `wake` whenever there is something to [tend](Self::tend) from now on, and nobody who was to be called
    /// before. It is called in the middle of a look-up, so it has to hand on what is to be done, at once.
    fn tended_by(&self, wake: Wake) {
        let _ = wake;
    }

    /// Does what look-ups would have to wait for: makes memory present that they are about to read, and gives back
    /// what they have read. For a thread of low cost that has been [told](Self::tended_by); without
    /// it, look-ups give the same, and processes have more memory.
    fn tend(&self) {}

    /// Does what is due in the background: adopts what dead processes left, sets damaged packs aside,
    /// merges and prunes. For a worker, and off the path of any evaluation.
    ///
    /// # Errors
    /// The first fault met; nothing is lost by it.
    fn maintain(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// What is in a store, as far as this process sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreStatistics {
    /// Records, duplicates included.
    pub records: u64,
    /// Bytes of the packs and of what was not flushed yet.
    pub bytes: u64,
    /// Packs.
    pub packs: u64,
    /// Bytes of the packs' indexes, which are used as they lie in the files.
    pub index_bytes: u64,
    /// Packs or records found damaged.
    pub damaged: u64,
    /// File operations that failed, and files that were refused because others could have written them.
    pub faults: u64,
    /// Records that were put and will not be kept, because there is no room for them.
    pub dropped: u64,
    /// Records that this process has evicted.
    pub evicted: u64,
    /// Bytes by which that made the packs smaller.
    pub evicted_bytes: u64,
}

/// Why a store could not be opened, written or flushed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A file operation failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was being done, as a verb.
        action: &'static str,
        /// To what.
        path: std::path::PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The record cannot be written in this format.
    #[error("the record of {key} cannot be kept: {reason}")]
    Record {
        /// Its key.
        key: FormKey,
        /// What stands in the way.
        reason: String,
    },
    /// The folder must not be used, because others could have put code there.
    #[error("{} is not used: {reason}; {remedy}", path.display())]
    Untrusted {
        /// The folder, or the parent of it that is at fault.
        path: std::path::PathBuf,
        /// What is wrong with it.
        reason: String,
        /// What to do.
        remedy: String,
    },
    /// So much waits to be written that no more is taken.
    #[error(
        "the record of {key} is not kept: {pending} bytes wait to be written, because the folder cannot \
         be written or nobody flushes"
    )]
    Full {
        /// Its key.
        key: FormKey,
        /// Bytes that wait.
        pending: u64,
    },
    /// The store is at its limit, and no space is given back: living processes have packs open that were
    /// replaced, or another one is still pruning. What was put stays in memory.
    #[error(
        "{} has no room: {total} bytes of {max} would be in use; set REKINDLE_MAX_BYTES to more, or end the \
         processes that have old packs open",
        path.display()
    )]
    NoRoom {
        /// The store's folder.
        path: std::path::PathBuf,
        /// Bytes that would be in use.
        total: u64,
        /// The limit.
        max: u64,
    },
    /// There is no folder to use.
    #[error("no cache folder is known: {reason}; set REKINDLE_DIR to a folder of your own")]
    NoFolder {
        /// Why none is known.
        reason: String,
    },
}
