//! The file layer: every file operation by which a store reads or changes its folder.
//!
//! [`Disk`] is the operating system as it is; the trait's own methods are its implementation, and a call
//! through them costs nothing beside the system call behind it. Tests put another implementation in its
//! place, which fails, writes half, or stops at a chosen step. Reading a mapped pack is no file
//! operation and does not come by here.

use memmap2::{Advice, Mmap, UncheckedAdvice};
use std::fmt::Debug;
use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::ops::{Deref, Range};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Whether others may hold a lock beside us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LockKind {
    /// Readers of a pack: it is not removed while one holds it.
    Shared,
    /// Whoever writes a segment, merges, or is about to remove a pack.
    Exclusive,
}

/// A whole file, mapped read-only and shared with it.
///
/// There is no other way to have one than to map a file. That counts: the pages of such a mapping can be given
/// back at any time, and come again from the file; of memory that is no file's they would come back as zeros.
#[derive(Debug)]
pub struct FileMap(Mmap);

impl FileMap {
    /// Maps all of `file`.
    ///
    /// # Errors
    /// The operating system's.
    pub fn of(file: &File) -> io::Result<Self> {
        // SAFETY: The bytes of a mapped file can change while they are borrowed, which Rust forbids and
        // nothing can rule out. In the store nobody does it: packs are never written and never
        // truncated, a segment is mapped only by the holder of its lock, and folder and file are closed
        // to other users. Should it happen all the same, the readers in this crate do not rely on
        // reading the same twice: header, metadata and footer are copied, and only the copy is checked
        // and used; of index and images a change yields another value within bounds, which ends as a
        // failed check. A file that its owner truncates while it is mapped ends this process with
        // SIGBUS, and that is documented.
        unsafe { Mmap::map(file) }.map(Self)
    }

    /// Tells the kernel how the bytes at `range` will be read. What comes of it changes nothing but the time
    /// that it takes, so that a kernel that does not know the advice is no error.
    pub(super) fn advise(&self, advice: Advice, range: Range<usize>) {
        if let Some(part) = self.get(range.clone()) {
            let _ = self.0.advise_range(advice, range.start, part.len());
        }
    }

    /// Gives the pages at `range` back. They come again when they are read.
    pub(super) fn give_back(&self, range: Range<usize>) {
        // The range has to lie in the mapping: memmap2 looks at where it starts and at its length, each for itself.
        let Some(part) = self.get(range.clone()) else {
            return;
        };
        let advice = UncheckedAdvice::DontNeed;
        // SAFETY: The range is in the mapping, which is of a file, shared with it and read-only, since there is no
        // other way to make a `FileMap`. So nothing is lost: a page that is read again, by a thread that is
        // reading it at this moment for one, comes again from the file. That the file's bytes may
        // change under a mapping at any time, present or not, is what `of` answers for.
        let _ = unsafe {
            self.0
                .unchecked_advise_range(advice, range.start, part.len())
        };
    }
}

impl Deref for FileMap {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// The file operations of a store. `path` names the file that `file` was opened by.
pub trait Io: Send + Sync + Debug {
    /// Opens a file that is there, without following a link in its last part and without waiting for
    /// the other end of a pipe.
    ///
    /// # Errors
    /// The operating system's.
    fn open(&self, path: &Path, write: bool) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(write)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path)
    }

    /// Makes a file that was not there, for this user alone.
    ///
    /// # Errors
    /// The operating system's; `AlreadyExists` if it is there.
    fn create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
    }

    /// Makes a folder that was not there, for this user alone.
    ///
    /// # Errors
    /// The operating system's; `AlreadyExists` if it is there.
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new().mode(0o700).create(path)
    }

    /// Writes some of `bytes` at `offset` and says how many.
    ///
    /// # Errors
    /// The operating system's.
    fn write_at(&self, file: &File, path: &Path, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let _ = path;
        file.write_at(bytes, offset)
    }

    /// Appends `bytes` in one piece to the file at `path`, which is made for this user alone if it is not
    /// there.
    ///
    /// # Errors
    /// The operating system's; a part may have been written.
    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path)?;
        io::Write::write_all(&mut file, bytes)
    }

    /// Reads some bytes at `offset` and says how many; 0 at the end of the file.
    ///
    /// # Errors
    /// The operating system's.
    fn read_at(&self, file: &File, path: &Path, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let _ = path;
        file.read_at(into, offset)
    }

    /// Maps all of `file`, read-only.
    ///
    /// # Errors
    /// The operating system's.
    fn map(&self, file: &File, path: &Path) -> io::Result<FileMap> {
        let _ = path;
        FileMap::of(file)
    }

    /// Whether `file` lies on a network file system: such a file is read, not mapped, because it can be
    /// replaced or cut off from another machine, and a mapping answers that with SIGBUS.
    ///
    /// # Errors
    /// The operating system's.
    fn is_remote(&self, file: &File, path: &Path) -> io::Result<bool> {
        let _ = path;
        Ok(is_network_magic(rustix::fs::fstatfs(file)?.f_type as u64))
    }

    /// Takes a lock on `file` if nobody holds one against it, and says whether it did. The lock goes when
    /// the file is closed.
    ///
    /// # Errors
    /// The operating system's.
    fn try_lock(&self, file: &File, path: &Path, kind: LockKind) -> io::Result<bool> {
        let _ = path;
        let locked = match kind {
            LockKind::Shared => file.try_lock_shared(),
            LockKind::Exclusive => file.try_lock(),
        };
        match locked {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Makes `file` end at `length`.
    ///
    /// # Errors
    /// The operating system's.
    fn set_length(&self, file: &File, path: &Path, length: u64) -> io::Result<()> {
        let _ = path;
        file.set_len(length)
    }

    /// Has the operating system begin to write what was written to `file`, so that there is less to wait
    /// for when it is synced.
    fn begin_sync(&self, file: &File, path: &Path) {
        let _ = path;
        #[cfg(target_os = "linux")]
        {
            use std::os::fd::AsRawFd;
            // SAFETY: The descriptor is open for as long as `file` is borrowed, and no memory is involved.
            // What comes of it does not matter: the sync that follows is what counts.
            unsafe {
                libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE);
            }
        }
        #[cfg(not(target_os = "linux"))]
        let _ = file;
    }

    /// Returns when the contents of `file` are on the disk.
    ///
    /// # Errors
    /// The operating system's.
    fn sync(&self, file: &File, path: &Path) -> io::Result<()> {
        let _ = path;
        file.sync_all()
    }

    /// Returns when the names in `folder` are on the disk.
    ///
    /// # Errors
    /// The operating system's.
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    /// Gives a file another name, in place of whatever had that name.
    ///
    /// # Errors
    /// The operating system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    /// Removes a file's name.
    ///
    /// # Errors
    /// The operating system's.
    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    /// The files in `folder`.
    ///
    /// # Errors
    /// The operating system's.
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        std::fs::read_dir(folder)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect()
    }

    /// What is known of the file or folder at `path`; of a link, of the link itself.
    ///
    /// # Errors
    /// The operating system's.
    fn status(&self, path: &Path) -> io::Result<Metadata> {
        path.symlink_metadata()
    }

    /// The time.
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// The operating system's files, as they are.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl Io for Disk {}

/// The numbers that `statfs` gives for file systems whose files another machine can change, from
/// `linux/magic.h` and, where that leaves them out, from the file systems' own sources.
fn is_network_magic(magic: u64) -> bool {
    const NETWORK: [u64; 13] = [
        0x6969,      // NFS
        0xff53_4d42, // CIFS
        0xfe53_4d42, // SMB2
        0x517b,      // SMB
        0x564c,      // NCP
        0x5346_414f, // AFS
        0x6b41_4653, // kAFS
        0x7375_7245, // Coda
        0x00c3_6400, // Ceph
        0x0bd0_0bd0, // Lustre
        0x0102_1997, // 9P, by which virtual machines see their host's files
        0x6573_5546, // FUSE: sshfs and the like; local ones are only read a little slower
        0x0116_1970, // GFS2
    ];
    NETWORK.contains(&(magic & 0xffff_ffff))
}

/// Writes all of `bytes` at `offset`.
pub(super) fn write_all_at(
    io: &dyn Io,
    file: &File,
    path: &Path,
    mut bytes: &[u8],
    mut offset: u64,
) -> io::Result<()> {
    while !bytes.is_empty() {
        match io.write_at(file, path, bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = bytes.get(written..).unwrap_or_default();
                offset += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Fills `into` from `offset` on, as far as the file goes, and says how far that was.
pub(super) fn read_full_at(
    io: &dyn Io,
    file: &File,
    path: &Path,
    into: &mut [u8],
    offset: u64,
) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match io.read_at(file, path, rest, offset + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_known_by_number() {
        assert!(is_network_magic(0x6969));
        // As a 32-bit system's sign-extended number.
        assert!(is_network_magic(0xffff_ffff_ff53_4d42));
        for local in [0xef53, 0x0102_1994, 0x9123_683e, 0x5846_5342, 0x794c_7630] {
            assert!(!is_network_magic(local), "{local:#x}");
        }
    }

    #[test]
    fn pages_that_were_given_back_come_again_from_the_file() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|number| number as u8).collect();
        let mut file = tempfile::tempfile().expect("a file");
        io::Write::write_all(&mut file, &bytes).expect("written");
        let map = Disk.map(&file, Path::new("file")).expect("mapped");
        let (first, _) = map.split_at(bytes.len() / 2);
        assert_eq!(*map, bytes);
        map.give_back(0..bytes.len());
        assert_eq!(first, &bytes[..first.len()]);
        assert_eq!(*map, bytes);
    }

    /// Memory behind the mapping may be anybody's.
    #[test]
    fn nothing_is_given_back_beyond_the_mapping() {
        let length = 16 << 10;
        // SAFETY: fresh memory, in place of nothing, and of no file: given back, it would come again as zeros.
        let place = unsafe {
            let (read_write, private) = (
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            );
            libc::mmap(std::ptr::null_mut(), 2 * length, read_write, private, -1, 0)
        };
        assert_ne!(place, libc::MAP_FAILED);
        // SAFETY: it was just mapped; the first half goes, and a file of its size may come there.
        let behind = unsafe {
            let behind = std::slice::from_raw_parts_mut(place.cast::<u8>().add(length), length);
            behind.fill(7);
            assert_eq!(libc::munmap(place, length), 0);
            behind
        };
        let file = tempfile::tempfile().expect("a file");
        file.set_len(length as u64).expect("has room");
        let map = FileMap::of(&file).expect("mapped");
        for start in [0, length / 2, length, 2 * length] {
            map.give_back(start..start + length);
            map.advise(Advice::Random, start..start + length);
        }
        assert!(behind.iter().all(|&byte| byte == 7));
        // SAFETY: nobody uses it after this.
        unsafe { libc::munmap(place.cast::<u8>().add(length).cast(), length) };
    }

    #[test]
    fn short_writes_are_gone_on_with() {
        #[derive(Debug)]
        struct Short;
        impl Io for Short {
            fn write_at(
                &self,
                file: &File,
                path: &Path,
                bytes: &[u8],
                offset: u64,
            ) -> io::Result<usize> {
                Disk.write_at(file, path, &bytes[..bytes.len().min(3)], offset)
            }
        }
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let file = Short.create(&path).expect("made");
        write_all_at(&Short, &file, &path, b"more than three", 0).expect("written");
        let mut back = [0; 20];
        let read = read_full_at(&Short, &file, &path, &mut back, 5).expect("read");
        assert_eq!(&back[..read], b"than three");
    }
}
