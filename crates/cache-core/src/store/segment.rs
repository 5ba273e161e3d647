//! Segments: the files that processes append to, and how they become packs.
//!
//! A segment is locked by the process that writes it; the lock goes when the process ends, however it
//! ends. A segment whose lock is free was left by a dead process, and whoever maintains the store next
//! seals what is intact of it.

use super::StoreError;
use super::files::{self, Lock, MERGING, PACK, SEGMENT};
use super::format::{self, Lists, Origin, RECORDS_START, Stamp};
use super::index::IndexEntry;
use super::io::{self, Io, LockKind};
use super::pack;
use super::record::Content;
use super::source::{self, Source};
use crate::folder::fault;
use rkyv::util::AlignedVec;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How much is read at once to take the digest of a segment.
const PART: usize = 1 << 20;

/// A file that this process writes.
pub(super) struct Segment {
    file: File,
    path: PathBuf,
    /// Where the next bytes go. The file may be longer after a write that failed half-way.
    length: u64,
    process: u32,
    /// Another process has taken it over.
    is_lost: bool,
}

impl Drop for Segment {
    fn drop(&mut self) {
        // Not by closing alone: a process that another thread is just starting has the file open too,
        // until it runs its own program. A forked process leaves the lock to its parent.
        if self.is_of_this_process() {
            let _ = self.file.unlock();
        }
    }
}

/// A segment that has become a pack.
pub(super) struct Sealed {
    pub(super) path: PathBuf,
    pub(super) id: u64,
    /// Whether its name is known to survive a power failure.
    pub(super) durable: Result<(), StoreError>,
}

impl Segment {
    /// Makes a file in `folder` whose name ends in `extension`: a segment, or a pack in the making.
    pub(super) fn create(
        io: &dyn Io,
        folder: &Path,
        extension: &str,
        stamp: Stamp,
    ) -> Result<Self, StoreError> {
        let (file, path) = files::create_locked(io, folder, extension)?;
        let mut segment = Self {
            file,
            path,
            length: 0,
            process: std::process::id(),
            is_lost: false,
        };
        match segment.append(io, &format::file_header(stamp)) {
            Ok(_) => Ok(segment),
            Err(error) => {
                segment.discard(io);
                Err(error)
            }
        }
    }

    /// Whether this very process made it, rather than the one that it was forked from: the two share the
    /// open file, and only one may go on with it.
    pub(super) fn is_of_this_process(&self) -> bool {
        self.process == std::process::id()
    }

    /// Where the next bytes will be.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Appends `bytes` and gives the offset at which they are. After a failure, the next bytes go to the
    /// same place.
    pub(super) fn append(&mut self, io: &dyn Io, bytes: &[u8]) -> Result<u64, StoreError> {
        let offset = self.length;
        io::write_all_at(io, &self.file, &self.path, bytes, offset)
            .map_err(fault("write", &self.path))?;
        self.length += bytes.len() as u64;
        Ok(offset)
    }

    /// Makes it a pack with these records in its index. What fails is removed, as far as that goes.
    ///
    /// Everything is on the disk before the name is, and the name before this returns: a name without
    /// its contents is never seen, and what was sealed stays.
    pub(super) fn seal(
        mut self,
        io: &dyn Io,
        entries: Vec<IndexEntry>,
        lists: &Lists<'_>,
    ) -> Result<Sealed, StoreError> {
        let path = self.path.with_extension(PACK);
        match self.complete(io, entries, lists, &path) {
            Ok(()) => {
                let folder = path.parent();
                let durable = folder.map_or(Ok(()), |folder| files::sync_folder(io, folder));
                let id = files::id_of(&path, PACK).unwrap_or_default();
                Ok(Sealed { path, id, durable })
            }
            Err(error) => {
                self.discard(io);
                Err(error)
            }
        }
    }

    fn complete(
        &mut self,
        io: &dyn Io,
        entries: Vec<IndexEntry>,
        lists: &Lists<'_>,
        path: &Path,
    ) -> Result<(), StoreError> {
        let records_end = self.length;
        let records = entries.len();
        let after = format::after_records(entries, lists, records_end).ok_or_else(|| {
            let source = std::io::ErrorKind::FileTooLarge.into();
            fault("index", &self.path)(source)
        })?;
        self.append(io, &after)?;
        // The disk writes while the digest is taken.
        io.begin_sync(&self.file, &self.path);
        // Of what is in the file, read back: what comes to be in it is what the digest speaks of.
        let digest = self.digest(io)?;
        self.append(io, &format::footer(records, lists, records_end, digest))?;
        io.set_length(&self.file, &self.path, self.length)
            .and_then(|()| io.sync(&self.file, &self.path))
            .map_err(fault("sync", &self.path))?;
        // As a pack it is for everyone to open. Were the lock given up altogether, the segment would be
        // taken for a dead process's; were it kept, who opens the pack at once would find it locked.
        match io.try_lock(&self.file, &self.path, LockKind::Shared) {
            Ok(true) => {}
            // Another process was quicker than the change of the lock, and seals it.
            Ok(false) => self.is_lost = true,
            Err(error) => return Err(fault("lock", &self.path)(error)),
        }
        if self.is_lost {
            let source = std::io::ErrorKind::WouldBlock.into();
            return Err(fault("lock", &self.path)(source));
        }
        io.rename(&self.path, path)
            .map_err(fault("rename", &self.path))
    }

    fn digest(&self, io: &dyn Io) -> Result<[u8; 32], StoreError> {
        let mut hasher = blake3::Hasher::new();
        let mut part = vec![0; PART.min(usize::try_from(self.length).unwrap_or(PART))];
        let mut place = 0;
        while place < self.length {
            let rest = usize::try_from(self.length - place).unwrap_or(PART);
            let into = part.get_mut(..rest.min(PART)).unwrap_or_default();
            let read = io::read_full_at(io, &self.file, &self.path, into, place)
                .map_err(fault("read back", &self.path))?;
            if read < into.len() {
                let source = std::io::ErrorKind::UnexpectedEof.into();
                return Err(fault("read back", &self.path)(source));
            }
            hasher.update(into);
            place += read as u64;
        }
        Ok(*hasher.finalize().as_bytes())
    }

    /// Removes it.
    pub(super) fn discard(self, io: &dyn Io) {
        if self.is_lost {
            return;
        }
        if let Err(error) = io.remove(&self.path) {
            tracing::debug!(file = %self.path.display(), %error, "a segment could not be removed");
        }
    }
}

/// Seals or removes the files that dead processes left in `folder`, as far as that goes. Gives the
/// first fault.
pub(super) fn adopt_all(io: &Arc<dyn Io>, folder: &Path) -> Result<(), StoreError> {
    let mut first = Ok(());
    for path in io.list(folder).map_err(fault("list", folder))? {
        let done = if files::id_of(&path, SEGMENT).is_some() {
            adopt(io, &path)
        } else if files::id_of(&path, MERGING).is_some() {
            // All that it has is in the packs that it was to replace.
            files::remove_unused(&**io, &path)
        } else {
            Ok(())
        };
        if let Err(error) = done {
            tracing::debug!(%error, "what a process left cannot be adopted");
            first = first.and(Err(error));
        }
    }
    first
}

fn adopt(io: &Arc<dyn Io>, path: &Path) -> Result<(), StoreError> {
    let Some(file) = files::open(&**io, path, true)? else {
        return Ok(());
    };
    match files::lock(&**io, &file, path).map_err(fault("lock", path))? {
        Lock::Ours => {}
        Lock::Taken | Lock::Gone => return Ok(()),
    }
    let read = file.try_clone().map_err(fault("map", path))?;
    let source = Source::new(io, read, path).map_err(fault("map", path))?;
    let mut entries = Vec::new();
    let mut removed = Vec::new();
    let mut scratch = AlignedVec::new();
    let header = source.part(0..RECORDS_START.min(source.len()), &mut scratch);
    let length = match header.and_then(format::read_file_header) {
        Ok(Origin::OtherVersion(_)) => return Ok(()),
        // Its process died before the header was written, or the machine before it was on disk.
        Err(_) => 0,
        // Its process wrote images without syncing them, so they are looked at too.
        Ok(Origin::Ours(_)) => {
            let records = RECORDS_START..source.len();
            source::walk(&source, &records, &mut |offset, record| {
                if pack::has_good_image(record) {
                    entries.push(IndexEntry::new(record.key.0.prefix(), offset as u64));
                }
                if let Ok(Content::Removal(removal)) = record.content() {
                    removed.extend(removal.identities());
                }
            })
        }
    };
    drop(source);
    let io = &**io;
    let segment = Segment {
        file,
        path: path.to_owned(),
        length: length as u64,
        process: std::process::id(),
        is_lost: false,
    };
    if entries.is_empty() {
        segment.discard(io);
        return Ok(());
    }
    let records = entries.len();
    let sealed = segment.seal_adopted(io, entries, &removed)?;
    tracing::debug!(file = %sealed.path.display(), records, "adopted what a process had not sealed");
    sealed.durable
}

impl Segment {
    /// As [`seal`](Self::seal), but what fails is left for the next try: its records are nowhere else.
    fn seal_adopted(
        mut self,
        io: &dyn Io,
        entries: Vec<IndexEntry>,
        removed: &[u64],
    ) -> Result<Sealed, StoreError> {
        let path = self.path.with_extension(PACK);
        let lists = Lists {
            removed,
            ..Lists::default()
        };
        self.complete(io, entries, &lists, &path)?;
        let durable = path
            .parent()
            .map_or(Ok(()), |folder| files::sync_folder(io, folder));
        let id = files::id_of(&path, PACK).unwrap_or_default();
        Ok(Sealed { path, id, durable })
    }
}
