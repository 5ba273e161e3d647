//! How files of the store's folder are opened, locked, named and made durable.

use super::StoreError;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Ends the name of a sealed file.
pub(super) const PACK: &str = "pack";
/// Ends the name of a file that its process still writes.
pub(super) const SEGMENT: &str = "segment";
/// Is added to the name of a damaged pack that was set aside.
pub(super) const QUARANTINED: &str = "quarantined";

/// How often a new name is tried before giving up: 64 random bits collide only when they are not random.
const TRIES: usize = 8;

/// Makes errors of one operation on one path.
pub(super) fn fault<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> StoreError + use<'a> {
    move |source| StoreError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

/// Opens a regular file that is there.
///
/// # Errors
/// The operating system's; of kind `InvalidInput` when it is no regular file.
pub(super) fn open(path: &Path, write: bool) -> io::Result<File> {
    // Neither waits for the other end of a pipe nor leaves the folder by a link.
    let file = OpenOptions::new()
        .read(true)
        .write(write)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file",
        ))
    }
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
pub(super) fn lock(file: &File, path: &Path) -> io::Result<Lock> {
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(Lock::Taken),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let ours = file.metadata()?;
    match path.symlink_metadata() {
        Ok(named) if (named.dev(), named.ino()) == (ours.dev(), ours.ino()) => Ok(Lock::Ours),
        Ok(_) => Ok(Lock::Gone),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Lock::Gone),
        Err(error) => Err(error),
    }
}

/// Makes an empty segment in `folder` and locks it.
///
/// Between being made and being locked, another process may take the empty file for one that a dead
/// process left, and remove it: then this one tries another name.
pub(super) fn create_segment(folder: &Path) -> Result<(File, PathBuf), StoreError> {
    let mut last = None;
    for _ in 0..TRIES {
        let random = getrandom::u64().map_err(|error| {
            let source = io::Error::other(error.to_string());
            fault("draw a random name for a file in", folder)(source)
        })?;
        let path = folder.join(format!("{random:016x}.{SEGMENT}"));
        let created = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        let file = match created {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                last = Some(error);
                continue;
            }
            Err(error) => return Err(fault("create", &path)(error)),
        };
        match lock(&file, &path) {
            Ok(Lock::Ours) => return Ok((file, path)),
            Ok(Lock::Taken | Lock::Gone) => {}
            Err(error) => {
                let _ = std::fs::remove_file(&path);
                return Err(fault("lock", &path)(error));
            }
        }
    }
    let source = last.unwrap_or_else(|| io::ErrorKind::WouldBlock.into());
    Err(fault("create a segment in", folder)(source))
}

/// Makes the names in `folder` durable.
pub(super) fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    match synced {
        // Some file systems cannot sync a folder, and say so in this way; there is nothing to be done.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        other => other.map_err(fault("sync", folder)),
    }
}

/// Whether `path` ends in a dot and `extension`.
pub(super) fn is(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_segment_is_private_and_locked() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, path) = create_segment(folder.path()).expect("a segment");
        assert_eq!(
            file.metadata().expect("metadata").permissions().mode() & 0o777,
            0o600
        );
        let other = open(&path, true).expect("opens");
        assert_eq!(lock(&other, &path).expect("no fault"), Lock::Taken);
        drop(file);
        assert_eq!(lock(&other, &path).expect("no fault"), Lock::Ours);
    }

    #[test]
    fn a_renamed_or_removed_file_is_nobodys() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, path) = create_segment(folder.path()).expect("a segment");
        let other = open(&path, true).expect("opens");
        std::fs::rename(&path, folder.path().join("x.pack")).expect("renames");
        drop(file);
        assert_eq!(lock(&other, &path).expect("no fault"), Lock::Gone);
        std::fs::write(&path, b"another file of the same name").expect("writes");
        assert_eq!(lock(&other, &path).expect("no fault"), Lock::Gone);
    }

    #[test]
    fn links_and_pipes_are_not_opened() {
        let folder = tempfile::tempdir().expect("a folder");
        let link = folder.path().join("link.pack");
        std::os::unix::fs::symlink("/etc/passwd", &link).expect("links");
        assert!(open(&link, false).is_err());
        let pipe = folder.path().join("pipe.pack");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .expect("a pipe");
        assert!(open(&pipe, false).is_err());
    }
}
