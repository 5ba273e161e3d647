//! How files of the store's folder are named, opened, trusted, locked and made durable.
//!
//! | name | what |
//! | --- | --- |
//! | `ID.pack` | a sealed file; never written again |
//! | `ID.segment` | a file that its process still writes, and locks |
//! | `ID.merging` | a pack in the making whose records are all in other packs too |
//! | `ID.retired` | a pack that others have replaced and that a living process still has open |
//! | `quarantine/ID.pack`, `quarantine/ID.reason` | a damaged pack that was set aside, and why |
//! | `running/ID.slots` | what a living process runs for the first time: see [`running`](super::running) |
//! | `running/deaths` | what processes died in |
//! | `statistics` | what came of definitions: see [`lifetime`](crate::lifetime) |
//! | `uses` | which records were used when |
//! | `maintenance.lock` | locked by whoever merges, prunes or sets aside |
//!
//! ID is 64 random bits in hexadecimal: in containers every process is number 1.

use super::StoreError;
use super::io::{Io, LockKind};
use crate::folder::fault;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Ends the name of a sealed file.
pub(super) const PACK: &str = "pack";
/// Ends the name of a file that its process still writes.
pub(super) const SEGMENT: &str = "segment";
/// Ends the name of a pack in the making.
pub(super) const MERGING: &str = "merging";
/// Ends the name of a replaced pack that is still open somewhere.
pub(super) const RETIRED: &str = "retired";
/// The folder of damaged packs.
pub(super) const QUARANTINE: &str = "quarantine";
/// The folder of what living processes run.
pub(super) const RUNNING: &str = "running";

const MAINTENANCE_LOCK: &str = "maintenance.lock";

/// How often a new name is tried before giving up: 64 random bits collide only when they are not random.
const TRIES: usize = 8;

/// The number in the name of a file of the store that ends in `extension`.
pub(super) fn id_of(path: &Path, extension: &str) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let id = u64::from_str_radix(path.file_stem()?.to_str()?, 16).ok()?;
    // One number has one name: what is called otherwise could not be renamed or removed by its number.
    (name == format!("{id:016x}.{extension}")).then_some(id)
}

/// The path of the file with number `id` that ends in `extension`.
pub(super) fn path_of(folder: &Path, id: u64, extension: &str) -> PathBuf {
    folder.join(format!("{id:016x}.{extension}"))
}

/// A new number for a file.
pub(super) fn new_id(folder: &Path) -> Result<u64, StoreError> {
    getrandom::u64().map_err(|error| {
        let source = io::Error::other(error.to_string());
        fault("draw a random name for a file in", folder)(source)
    })
}

/// Opens a regular file of this user's or root's that nobody else can write. `None` if it is not there.
///
/// # Errors
/// The operating system's, or [`StoreError::Untrusted`].
pub(super) fn open(io: &dyn Io, path: &Path, write: bool) -> Result<Option<File>, StoreError> {
    let file = match io.open(path, write) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
            return Err(StoreError::Untrusted {
                path: path.to_owned(),
                reason: "it is a symbolic link, which can lead anywhere".to_owned(),
                remedy: format!("run `rm {}`", crate::folder::quoted(path)),
            });
        }
        Err(error) => return Err(fault("open", path)(error)),
    };
    // Of the open file, so that nobody can put another one in its place after the look.
    let metadata = file.metadata().map_err(fault("look at", path))?;
    if !metadata.is_file() {
        let source = io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
        return Err(fault("open", path)(source));
    }
    if ![rustix::process::geteuid().as_raw(), 0].contains(&metadata.uid()) {
        return Err(StoreError::Untrusted {
            path: path.to_owned(),
            reason: format!("it belongs to user {}", metadata.uid()),
            remedy: format!("run `rm -f {}`", crate::folder::quoted(path)),
        });
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(StoreError::Untrusted {
            path: path.to_owned(),
            reason: format!(
                "others can write it (mode {:04o})",
                metadata.mode() & 0o7777
            ),
            remedy: format!("run `chmod go-w {}`", crate::folder::quoted(path)),
        });
    }
    Ok(Some(file))
}

/// Who holds the lock of a file now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lock {
    /// This process, until it closes the file or ends.
    Ours,
    /// A living process.
    Taken,
    /// Nobody has the file: it was removed or renamed before it was locked.
    Gone,
}

/// Takes the lock of `file`, if it is free and the file is still the one called `path`.
///
/// Without the second look, a process could take the lock of a file that its former holder has just
/// sealed or removed, and do it again.
pub(super) fn lock(io: &dyn Io, file: &File, path: &Path) -> io::Result<Lock> {
    if !io.try_lock(file, path, LockKind::Exclusive)? {
        return Ok(Lock::Taken);
    }
    let ours = file.metadata()?;
    match io.status(path) {
        Ok(named) if (named.dev(), named.ino()) == (ours.dev(), ours.ino()) => Ok(Lock::Ours),
        Ok(_) => Ok(Lock::Gone),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Lock::Gone),
        Err(error) => Err(error),
    }
}

/// Makes an empty file in `folder` whose name ends in `extension`, and locks it.
///
/// Between being made and being locked, another process may take the empty file for one that a dead
/// process left, and remove it: then this one tries another name.
pub(super) fn create_locked(
    io: &dyn Io,
    folder: &Path,
    extension: &str,
) -> Result<(File, PathBuf), StoreError> {
    let mut last = None;
    for _ in 0..TRIES {
        let path = path_of(folder, new_id(folder)?, extension);
        let file = match io.create(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                last = Some(error);
                continue;
            }
            Err(error) => return Err(fault("create", &path)(error)),
        };
        match lock(io, &file, &path) {
            Ok(Lock::Ours) => return Ok((file, path)),
            Ok(Lock::Taken | Lock::Gone) => {}
            Err(error) => {
                let _ = io.remove(&path);
                return Err(fault("lock", &path)(error));
            }
        }
    }
    let source = last.unwrap_or_else(|| io::ErrorKind::WouldBlock.into());
    Err(fault("create a file in", folder)(source))
}

/// The right to merge, prune and set aside in a folder, until it is dropped or the process ends.
#[derive(Debug)]
pub(super) struct Maintenance {
    file: File,
}

impl Drop for Maintenance {
    fn drop(&mut self) {
        // Not by closing alone: a process that another thread is just starting has the file open too,
        // until it runs its own program.
        let _ = self.file.unlock();
    }
}

/// Takes the right to maintain `folder`; `None` if another process has it.
pub(super) fn maintain(io: &dyn Io, folder: &Path) -> Result<Option<Maintenance>, StoreError> {
    let path = folder.join(MAINTENANCE_LOCK);
    for _ in 0..TRIES {
        let file = match open(io, &path, true)? {
            Some(file) => file,
            None => match io.create(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(fault("create", &path)(error)),
            },
        };
        match lock(io, &file, &path).map_err(fault("lock", &path))? {
            Lock::Ours => return Ok(Some(Maintenance { file })),
            Lock::Taken => return Ok(None),
            Lock::Gone => {}
        }
    }
    Ok(None)
}

/// Makes the names in `folder` durable.
pub(super) fn sync_folder(io: &dyn Io, folder: &Path) -> Result<(), StoreError> {
    match io.sync_folder(folder) {
        // Some file systems cannot sync a folder, and say so in this way; there is nothing to be done.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        other => other.map_err(fault("sync", folder)),
    }
}

/// Takes a pack's name away, so that nobody opens it again, and removes it as soon as nobody has it open.
pub(super) fn retire(io: &dyn Io, folder: &Path, id: u64) -> Result<(), StoreError> {
    let pack = path_of(folder, id, PACK);
    let retired = path_of(folder, id, RETIRED);
    match io.rename(&pack, &retired) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(fault("rename", &pack)(error)),
    }
    remove_unused(io, &retired)
}

/// Removes a file unless a living process has it open.
pub(super) fn remove_unused(io: &dyn Io, path: &Path) -> Result<(), StoreError> {
    let Some(file) = open(io, path, false)? else {
        return Ok(());
    };
    match lock(io, &file, path).map_err(fault("lock", path))? {
        Lock::Ours => match io.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(fault("remove", path)(error))
            }
            _ => Ok(()),
        },
        Lock::Taken | Lock::Gone => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::io::Disk;
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_segment_is_private_and_locked() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, path) = create_locked(&Disk, folder.path(), SEGMENT).expect("a segment");
        assert_eq!(
            file.metadata().expect("metadata").permissions().mode() & 0o777,
            0o600
        );
        let other = open(&Disk, &path, true).expect("opens").expect("is there");
        assert_eq!(lock(&Disk, &other, &path).expect("no fault"), Lock::Taken);
        drop(file);
        assert_eq!(lock(&Disk, &other, &path).expect("no fault"), Lock::Ours);
    }

    #[test]
    fn a_renamed_or_removed_file_is_nobodys() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, path) = create_locked(&Disk, folder.path(), SEGMENT).expect("a segment");
        let other = open(&Disk, &path, true).expect("opens").expect("is there");
        std::fs::rename(&path, folder.path().join("x.pack")).expect("renames");
        drop(file);
        assert_eq!(lock(&Disk, &other, &path).expect("no fault"), Lock::Gone);
        std::fs::write(&path, b"another file of the same name").expect("writes");
        assert_eq!(lock(&Disk, &other, &path).expect("no fault"), Lock::Gone);
    }

    #[test]
    fn links_pipes_and_files_that_others_can_write_are_not_opened() {
        let folder = tempfile::tempdir().expect("a folder");
        let link = folder.path().join("link.pack");
        std::os::unix::fs::symlink("/etc/passwd", &link).expect("links");
        let refused = |path: &Path| {
            let error = open(&Disk, path, false).expect_err("refused");
            error.to_string()
        };
        assert!(refused(&link).contains("symbolic link"));
        let pipe = folder.path().join("pipe.pack");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .expect("a pipe");
        assert!(refused(&pipe).contains("not a regular file"));
        let file = folder.path().join("open.pack");
        std::fs::write(&file, b"").expect("written");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o620)).expect("changed");
        assert!(refused(&file).contains(&format!("chmod go-w {}", file.display())));
    }

    #[test]
    fn one_at_a_time_maintains() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = maintain(&Disk, folder.path()).expect("no fault");
        assert!(first.is_some());
        assert!(maintain(&Disk, folder.path()).expect("no fault").is_none());
        drop(first);
        assert!(maintain(&Disk, folder.path()).expect("no fault").is_some());
    }

    #[test]
    fn names_are_numbers() {
        let folder = Path::new("/cache");
        let path = path_of(folder, 0xab, PACK);
        assert_eq!(path, Path::new("/cache/00000000000000ab.pack"));
        assert_eq!(id_of(&path, PACK), Some(0xab));
        assert_eq!(id_of(&path, SEGMENT), None);
        for other in [
            "other.pack",
            "ab.pack",
            "00000000000000AB.pack",
            "+0000000000000ab.pack",
        ] {
            assert_eq!(id_of(&folder.join(other), PACK), None, "{other}");
        }
    }
}
