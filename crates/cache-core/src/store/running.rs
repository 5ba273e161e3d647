//! What the threads of a process run for the first time, in a file that survives the process.
//!
//! Code from a store can end a process in ways that nobody catches: it was damaged where no checksum looks,
//! it was compiled wrong, or it does so on purpose. A process therefore writes down which entry each of its
//! threads is about to run for the first time, in a file that it maps and locks. A file whose lock is
//! free was left by a dead process, and says where it died.
//!
//! `running/ID.slots`, [`BYTES`] long, of 64 bytes each a header and [`SLOTS`] slots:
//!
//! | offset in the header | bytes | what |
//! | --- | --- | --- |
//! | 0 | 8 | magic, `RKSLOTS1` |
//! | 8 | 56 | zero |
//!
//! | offset in a slot | bytes | what |
//! | --- | --- | --- |
//! | 0 | 4 | D, how many first runs the thread is inside of, each in the one before; 0 if none |
//! | 4 | 4 | the signal that was about to end the thread in the innermost of them, or 0 |
//! | 8 | 8 | the checksum of the image that it runs |
//! | 16 | 32 | the form key of its record |
//! | 48 | 8 | which run of this slot it is |
//! | 56 | 8 | zero |
//!
//! The numbers are of the machine's own byte order: a file is read on the machine that wrote it.

use super::StoreError;
use super::files::{self, Lock, RUNNING};
use super::io::{Disk, Io, read_full_at, write_all_at};
use crate::digest::Digest;
use crate::folder::fault;
use crate::key::FormKey;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Ends the name of a file of slots.
const EXTENSION: &str = "slots";

const MAGIC: [u8; 8] = *b"RKSLOTS1";

/// Bytes of the header, and of a slot.
const SLOT: usize = 64;

/// How many threads of a process can be watched at a time.
pub const SLOTS: usize = 255;

/// Bytes of a file.
pub const BYTES: usize = SLOT * (SLOTS + 1);

/// No more files than this are looked at in one go; there is one for each living process.
const MOST_FILES: usize = 4096;

/// A file of slots that this process has locked, and that is removed when this is dropped.
#[derive(Debug)]
pub struct RunningFile {
    file: File,
    path: PathBuf,
}

impl RunningFile {
    /// Makes the file of this process in `folder`, the folder of a store's files. `None` on a network file
    /// system, where a mapping that is written to can end the process.
    ///
    /// # Errors
    /// A file operation. All blocks of the file are there when it succeeds, so that a full disk does not
    /// show as SIGBUS later.
    pub fn create(folder: &Path) -> Result<Option<Self>, StoreError> {
        let io = &Disk;
        let folder = folder.join(RUNNING);
        match io.create_folder(&folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(fault("create", &folder)(error));
            }
            _ => {}
        }
        let (file, path) = files::create_locked(io, &folder, EXTENSION)?;
        let made = Self { file, path };
        if io.is_remote(&made.file, &made.path).unwrap_or(true) {
            return Ok(None);
        }
        let mut bytes = [0; BYTES];
        if let Some(magic) = bytes.first_chunk_mut() {
            *magic = MAGIC;
        }
        write_all_at(io, &made.file, &made.path, &bytes, 0).map_err(fault("write", &made.path))?;
        Ok(Some(made))
    }

    /// The file, to be mapped shared.
    pub fn file(&self) -> &File {
        &self.file
    }
}

impl Drop for RunningFile {
    fn drop(&mut self) {
        let _ = Disk.remove(&self.path);
        let _ = self.file.unlock();
    }
}

/// A slot that a dead process left with a signal in it: it died in the first run of this code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Death {
    pub(super) key: FormKey,
    pub(super) image: u64,
    pub(super) signal: u32,
}

/// Removes the files that dead processes left in `folder`, and says where those died.
///
/// # Errors
/// A folder that cannot be listed. What cannot be done about one file is passed over.
pub(super) fn collect(folder: &Path) -> Result<Vec<Death>, StoreError> {
    let folder = folder.join(RUNNING);
    let paths = match Disk.list(&folder) {
        Ok(paths) => paths,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(fault("list", &folder)(error)),
    };
    let mut deaths = Vec::new();
    let slots = (paths.iter()).filter(|path| files::id_of(path, EXTENSION).is_some());
    for path in slots.take(MOST_FILES) {
        match take(path) {
            Ok(bytes) => deaths.extend(bytes.iter().flat_map(|bytes| read(bytes))),
            Err(error) => tracing::debug!(%error, "a file of slots is passed over"),
        }
    }
    Ok(deaths)
}

/// The contents of a file that a dead process left, which is removed; `None` if its process lives.
fn take(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    let io = &Disk;
    let Some(file) = files::open(io, path, false)? else {
        return Ok(None);
    };
    if files::lock(io, &file, path).map_err(fault("lock", path))? != Lock::Ours {
        return Ok(None);
    }
    let mut bytes = vec![0; BYTES];
    let length = read_full_at(io, &file, path, &mut bytes, 0).map_err(fault("read", path))?;
    bytes.truncate(length);
    // First: a death that is counted twice is worse than one that is not counted.
    io.remove(path).map_err(fault("remove", path))?;
    let _ = file.unlock();
    Ok(Some(bytes))
}

/// The slots of a file in which a signal was noted.
fn read(bytes: &[u8]) -> impl Iterator<Item = Death> {
    let slots = match bytes.split_at_checked(SLOT) {
        Some((header, slots)) if header.starts_with(&MAGIC) => slots,
        _ => &[],
    };
    slots.chunks_exact(SLOT).filter_map(|slot| {
        let [depth, signal] = [number(slot, 0)?, number(slot, 4)?];
        let [low, high] = [number(slot, 8)?, number(slot, 12)?];
        let image = match cfg!(target_endian = "little") {
            true => u64::from(high) << 32 | u64::from(low),
            false => u64::from(low) << 32 | u64::from(high),
        };
        let key = slot.get(16..48)?.try_into().ok()?;
        (depth > 0 && signal > 0).then_some(Death {
            key: FormKey(Digest(key)),
            image,
            signal,
        })
    })
}

fn number(slot: &[u8], offset: usize) -> Option<u32> {
    let bytes = slot.get(offset..offset + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    fn slot(depth: u32, signal: u32, image: u64, key: u8) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(depth.to_ne_bytes());
        bytes.extend(signal.to_ne_bytes());
        bytes.extend(image.to_ne_bytes());
        bytes.extend([key; 32]);
        bytes.extend([0; 16]);
        bytes
    }

    #[test]
    fn only_the_dead_are_collected_and_only_with_a_signal() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        assert_eq!(collect(folder).expect("no folder is no fault"), []);
        let file = RunningFile::create(folder).expect("made").expect("local");
        let slots = [
            slot(1, 0, 1, 1),
            slot(1, 11, 2, 2),
            slot(0, 6, 3, 3),
            slot(2, 6, 0x0102_0304_0506_0708, 4),
        ];
        file.file
            .write_all_at(&slots.concat(), 64)
            .expect("it can be written");
        assert_eq!(collect(folder).expect("listed"), [], "its process lives");
        file.file.unlock().expect("unlocked");
        let death = |key, image, signal| Death {
            key: FormKey(Digest([key; 32])),
            image,
            signal,
        };
        let expected = [death(2, 2, 11), death(4, 0x0102_0304_0506_0708, 6)];
        assert_eq!(collect(folder).expect("listed"), expected);
        assert_eq!(collect(folder).expect("listed"), [], "once");
    }

    #[test]
    fn a_process_that_ends_in_order_leaves_no_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = RunningFile::create(folder.path()).expect("made");
        let running = folder.path().join(RUNNING);
        assert_eq!(Disk.list(&running).expect("listed").len(), 1);
        drop(file);
        assert!(Disk.list(&running).expect("listed").is_empty());
    }

    #[test]
    fn other_files_and_short_ones_do_no_harm() {
        let folder = tempfile::tempdir().expect("a folder");
        let running = folder.path().join(RUNNING);
        std::fs::create_dir(&running).expect("made");
        for length in [0, 8, 63, 64, 65, 100, 127, 128, BYTES + 1] {
            let path = files::path_of(&running, length as u64, EXTENSION);
            let mut bytes = vec![0xff; length];
            let magic = length.min(8);
            bytes[..magic].copy_from_slice(&MAGIC[..magic]);
            std::fs::write(path, bytes).expect("written");
        }
        std::fs::write(running.join("other.slots"), "mine").expect("written");
        let deaths = collect(folder.path()).expect("listed");
        assert_eq!(deaths.len(), 1 + SLOTS, "128 bytes, and the longest");
        assert_eq!(Disk.list(&running).expect("listed").len(), 1);
    }
}
