//! Segments: the files that processes append to, and how they become packs.
//!
//! A segment is locked by the process that writes it; the lock goes when the process ends, however it
//! ends. A segment whose lock is free was left by a dead process, and whoever opens the store next seals
//! what is intact of it.

use super::StoreError;
use super::files::{self, Lock, PACK, SEGMENT, fault};
use super::format::{self, Origin, Stamp};
use super::index::{self, IndexEntry};
use super::pack;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A segment that this process writes.
pub(super) struct Segment {
    file: File,
    path: PathBuf,
    /// Where the next bytes go. The file may be longer after a write that failed half-way.
    length: u64,
    process: u32,
}

/// A segment that has become a pack.
pub(super) struct Sealed {
    pub(super) path: PathBuf,
    /// Whether its name is known to survive a power failure.
    pub(super) durable: Result<(), StoreError>,
}

impl Segment {
    /// Makes a segment in `folder`.
    pub(super) fn create(folder: &Path, stamp: Stamp) -> Result<Self, StoreError> {
        let (file, path) = files::create_segment(folder)?;
        let mut segment = Self {
            file,
            path,
            length: 0,
            process: std::process::id(),
        };
        match segment.append(&format::file_header(stamp)) {
            Ok(_) => Ok(segment),
            Err(error) => {
                segment.discard();
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
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<u64, StoreError> {
        let offset = self.length;
        self.file
            .write_all_at(bytes, offset)
            .map_err(fault("write", &self.path))?;
        self.length += bytes.len() as u64;
        Ok(offset)
    }

    /// Makes it a pack with these records in its index. What fails is removed, as far as that goes.
    pub(super) fn seal(mut self, mut entries: Vec<IndexEntry>) -> Result<Sealed, StoreError> {
        index::sort(&mut entries);
        let end = format::index_and_footer(&entries, self.length);
        let path = self.path.with_extension(PACK);
        let sealed = self.append(&end).and_then(|_| {
            self.file
                .set_len(self.length)
                .and_then(|()| self.file.sync_all())
                .map_err(fault("sync", &self.path))?;
            std::fs::rename(&self.path, &path).map_err(fault("rename", &self.path))
        });
        match sealed {
            Ok(()) => {
                let durable = path.parent().map_or(Ok(()), files::sync_folder);
                Ok(Sealed { path, durable })
            }
            Err(error) => {
                self.discard();
                Err(error)
            }
        }
    }

    /// Removes it.
    pub(super) fn discard(self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(file = %self.path.display(), %error, "a segment could not be removed");
        }
    }
}

/// Seals or removes the segments that dead processes left in `folder`, as far as that goes.
pub(super) fn adopt_all(folder: &Path) -> Result<(), StoreError> {
    for entry in std::fs::read_dir(folder).map_err(fault("list", folder))? {
        let path = entry.map_err(fault("list", folder))?.path();
        if !files::is(&path, SEGMENT) {
            continue;
        }
        if let Err(error) = adopt(&path) {
            tracing::warn!(%error, "a segment of a process that ended cannot be adopted");
        }
    }
    Ok(())
}

fn adopt(path: &Path) -> Result<(), StoreError> {
    let file = match files::open(path, true) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(fault("open", path)(error)),
    };
    match files::lock(&file, path).map_err(fault("lock", path))? {
        Lock::Ours => {}
        Lock::Taken | Lock::Gone => return Ok(()),
    }
    let map = pack::map(&file).map_err(fault("map", path))?;
    let mut entries = Vec::new();
    let length = match format::read_file_header(&map) {
        Ok(Origin::OtherVersion(_)) => return Ok(()),
        // Its process died before the header was written, or the machine before it was on disk.
        Err(_) => 0,
        // Its process wrote images without syncing them, so they are looked at too.
        Ok(Origin::Ours(_)) => pack::walk(&map, |offset, record| {
            if pack::has_good_image(record) {
                entries.push(IndexEntry::of(record, offset));
            }
        }),
    };
    drop(map);
    let segment = Segment {
        file,
        path: path.to_owned(),
        length: length as u64,
        process: std::process::id(),
    };
    if entries.is_empty() {
        segment.discard();
        return Ok(());
    }
    let records = entries.len();
    let sealed = segment.seal(entries)?;
    tracing::debug!(file = %sealed.path.display(), records, "adopted what a process had not sealed");
    sealed.durable
}
