//! Self-healing: which code a process died in, so that no code is loaded again and again that ends processes.
//!
//! Around the first run of a factory that was loaded, its thread's slot says whose it is: plain stores to
//! a page of a file that is mapped shared, so that they are there whatever becomes of the process. A death
//! counts only if a signal such as SIGSEGV was about to be delivered to that very thread, which a handler
//! notes in the slot (`signals.rs`). So neither Ctrl-C counts, nor `kill -9`, nor the kernel that is out of
//! memory, nor an exit, nor the fault of another thread. What comes of deaths is
//! [`Deaths`](rekindle_cache_core::store::Deaths)' business.
//!
//! | what | how |
//! | --- | --- |
//! | a fork | the child has a file of its own; what it inherits of its parent's it does not touch |
//! | more threads than slots | those that come too late are not watched |
//! | a folder that is read only, a network file system, a full disk | nothing is watched |
//! | a factory that evaluates | the innermost first run counts |
//! | a host that handles such signals | it is asked first or last, as it was installed later or earlier |

mod signals;
mod slots;

use rekindle_cache_core::fork::Sentinel;
use rekindle_cache_core::key::FormKey;
use rekindle_cache_core::store::running::RunningFile;
use slots::Table;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Code that was loaded: the record that it came from, and the checksum of its image.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) key: FormKey,
    pub(crate) image: u64,
}

/// Watches the first runs of one cache in one process.
pub(crate) struct Watch {
    /// Of the store's files.
    folder: PathBuf,
    /// Made when the first factory is run that was loaded.
    watched: OnceLock<Option<Watched>>,
}

struct Watched {
    table: Table,
    /// Whether this still is the process that made the file.
    sentinel: Sentinel,
    /// Removed after the table has let go of it.
    _file: RunningFile,
}

/// A thread is inside of a first run as long as this is there.
#[must_use]
pub(crate) struct Inside<'w> {
    watched: &'w Watched,
    place: usize,
    run: u64,
}

impl Watch {
    /// Nothing is watched yet. `folder` is that of the store's files.
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            watched: OnceLock::new(),
        }
    }

    /// Says that this thread is about to run a factory for the first time.
    #[inline]
    pub(crate) fn enter(&self, origin: &Origin) -> Option<Inside<'_>> {
        let watched = self.watched.get_or_init(|| self.start()).as_ref()?;
        let (place, run) = watched.table.enter(origin)?;
        Some(Inside {
            watched,
            place,
            run,
        })
    }

    #[cold]
    fn start(&self) -> Option<Watched> {
        let file = match RunningFile::create(&self.folder) {
            Ok(file) => file?,
            Err(error) => {
                tracing::debug!(%error, "first runs are not watched");
                return None;
            }
        };
        let table = match Table::map(file.file()) {
            Ok(table) => table,
            Err(error) => {
                tracing::debug!(%error, "first runs are not watched");
                return None;
            }
        };
        signals::install();
        Some(Watched {
            table,
            sentinel: Sentinel::new(),
            _file: file,
        })
    }
}

impl Drop for Inside<'_> {
    #[inline]
    fn drop(&mut self) {
        // A child that was forked inside of the run must not end its parent's.
        if self.watched.sentinel.is_home() {
            self.watched.table.leave(self.place, self.run);
        }
    }
}

#[cfg(test)]
mod tests;
