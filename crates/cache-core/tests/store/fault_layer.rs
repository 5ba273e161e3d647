//! A file layer that fails when it is told to, and forgets what was not synced.

use rekindle_cache_core::store::io::{Disk, FileMap, Io, LockKind};
use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// What happens at the chosen step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The operation fails with this error and does nothing.
    Error(i32),
    /// Of what is written, half is, and the next step fails as on a full disk. Other operations fail.
    Short,
    /// This operation and all after it do nothing: the process has died.
    Stop,
}

/// Counts the steps of what it passes on to the disk, and fails at one of them.
#[derive(Debug)]
pub(crate) struct FaultyIo {
    steps: AtomicU64,
    at: u64,
    fault: Fault,
    has_stopped: AtomicBool,
    is_short: AtomicBool,
    /// What the file system says of itself.
    pub(crate) is_remote: AtomicBool,
    /// Every read of a file fails with this error, if it is not 0.
    pub(crate) read_error: AtomicU64,
    /// What the clock says.
    pub(crate) clock: Mutex<Option<SystemTime>>,
    journal: Mutex<Journal>,
    /// Removed files are kept here, by another name.
    kept: tempfile::TempDir,
}

/// What a loss of power may take back.
#[derive(Debug, Default)]
struct Journal {
    /// Ranges written and not synced, by inode.
    written: BTreeMap<u64, Vec<(u64, u64)>>,
    /// Changes of names in a folder that was not synced since, oldest first.
    names: Vec<NameChange>,
    removed: u64,
}

#[derive(Debug)]
enum NameChange {
    Made(PathBuf),
    Renamed {
        from: PathBuf,
        to: PathBuf,
        over: Option<PathBuf>,
    },
    Removed {
        path: PathBuf,
        kept: PathBuf,
    },
}

impl FaultyIo {
    /// Fails in this way at step `at`, counted from 0, for files in `folder`.
    pub(crate) fn new(folder: &Path, at: u64, fault: Fault) -> Self {
        Self {
            steps: AtomicU64::new(0),
            at,
            fault,
            has_stopped: AtomicBool::new(false),
            is_short: AtomicBool::new(false),
            is_remote: AtomicBool::new(false),
            read_error: AtomicU64::new(0),
            clock: Mutex::new(None),
            journal: Mutex::default(),
            kept: tempfile::tempdir_in(folder.parent().expect("a parent")).expect("a folder"),
        }
    }

    /// Never fails by itself.
    pub(crate) fn sound(folder: &Path) -> Self {
        Self::new(folder, u64::MAX, Fault::Stop)
    }

    /// From now on nothing is done any more: the process has died.
    pub(crate) fn stop(&self) {
        self.has_stopped.store(true, Ordering::Relaxed);
    }

    /// The number of steps so far.
    pub(crate) fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    /// Takes a step; `true` if it is to be half done.
    fn step(&self) -> io::Result<bool> {
        let failed = |number| Err(io::Error::from_raw_os_error(number));
        if self.has_stopped.load(Ordering::Relaxed) {
            return failed(libc::EIO);
        }
        if self.is_short.swap(false, Ordering::Relaxed) {
            return failed(libc::ENOSPC);
        }
        if self.steps.fetch_add(1, Ordering::Relaxed) != self.at {
            return Ok(false);
        }
        match self.fault {
            Fault::Error(number) => failed(number),
            Fault::Short => Ok(true),
            Fault::Stop => {
                self.has_stopped.store(true, Ordering::Relaxed);
                failed(libc::EIO)
            }
        }
    }

    /// As [`step`](Self::step), for what cannot be half done.
    fn whole_step(&self) -> io::Result<()> {
        match self.step()? {
            true => Err(io::Error::from_raw_os_error(libc::ENOSPC)),
            false => Ok(()),
        }
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, path: &Path) -> Option<PathBuf> {
        let kept = {
            let mut journal = self.journal();
            journal.removed += 1;
            self.kept.path().join(journal.removed.to_string())
        };
        std::fs::hard_link(path, &kept).ok().map(|()| kept)
    }

    /// What a loss of power does to `folder`: of what was not synced, some is there and some is not, as
    /// `seed` says. Names come to the disk in order, contents in none.
    pub(crate) fn lose_power(&self, folder: &Path, seed: u64) {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut draw = |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let mut journal = std::mem::take(&mut *self.journal());
        let stay = draw(journal.names.len() as u64 + 1) as usize;
        for change in journal.names.drain(stay..).rev() {
            let undone = match change {
                NameChange::Made(path) => std::fs::remove_file(path),
                NameChange::Renamed { from, to, over } => {
                    std::fs::rename(&to, from).and_then(|()| match over {
                        Some(over) => std::fs::rename(over, to),
                        None => Ok(()),
                    })
                }
                NameChange::Removed { path, kept } => std::fs::rename(kept, path),
            };
            undone.expect("can be undone");
        }
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let inode = path.metadata().expect("is there").ino();
            for (offset, length) in journal.written.remove(&inode).into_iter().flatten() {
                let file = File::options().write(true).open(&path).expect("opens");
                match draw(3) {
                    0 => {}
                    1 => file
                        .write_all_at(&vec![0; length as usize], offset)
                        .expect("written"),
                    _ => {
                        let half = offset + length / 2;
                        file.write_all_at(&vec![0; (length - length / 2) as usize], half)
                            .expect("written");
                    }
                }
            }
        }
    }
}

impl Io for FaultyIo {
    fn open(&self, path: &Path, write: bool) -> io::Result<File> {
        self.whole_step()?;
        Disk.open(path, write)
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        self.whole_step()?;
        let file = Disk.create(path)?;
        self.journal().names.push(NameChange::Made(path.to_owned()));
        Ok(file)
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.whole_step()?;
        Disk.create_folder(path)
    }

    fn write_at(&self, file: &File, path: &Path, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let written = match self.step()? {
            true => {
                self.is_short.store(true, Ordering::Relaxed);
                let half = bytes.get(..bytes.len() / 2).unwrap_or_default();
                if half.is_empty() {
                    return Err(io::Error::from_raw_os_error(libc::ENOSPC));
                }
                Disk.write_at(file, path, half, offset)?
            }
            false => Disk.write_at(file, path, bytes, offset)?,
        };
        let inode = file.metadata()?.ino();
        let mut journal = self.journal();
        let ranges = journal.written.entry(inode).or_default();
        ranges.push((offset, written as u64));
        Ok(written)
    }

    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        match self.step()? {
            true => Disk.append(path, bytes.get(..bytes.len() / 2).unwrap_or_default()),
            false => Disk.append(path, bytes),
        }
    }

    fn read_at(&self, file: &File, path: &Path, into: &mut [u8], offset: u64) -> io::Result<usize> {
        match self.read_error.load(Ordering::Relaxed) {
            0 => {}
            error => return Err(io::Error::from_raw_os_error(error as i32)),
        }
        self.whole_step()?;
        Disk.read_at(file, path, into, offset)
    }

    fn map(&self, file: &File, path: &Path) -> io::Result<FileMap> {
        self.whole_step()?;
        Disk.map(file, path)
    }

    fn is_remote(&self, _file: &File, _path: &Path) -> io::Result<bool> {
        Ok(self.is_remote.load(Ordering::Relaxed))
    }

    fn try_lock(&self, file: &File, path: &Path, kind: LockKind) -> io::Result<bool> {
        self.whole_step()?;
        Disk.try_lock(file, path, kind)
    }

    fn set_length(&self, file: &File, path: &Path, length: u64) -> io::Result<()> {
        self.whole_step()?;
        Disk.set_length(file, path, length)
    }

    fn sync(&self, file: &File, path: &Path) -> io::Result<()> {
        self.whole_step()?;
        Disk.sync(file, path)?;
        let inode = file.metadata()?.ino();
        self.journal().written.remove(&inode);
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.whole_step()?;
        Disk.sync_folder(folder)?;
        self.journal().names.retain(|change| match change {
            NameChange::Made(path)
            | NameChange::Renamed { to: path, .. }
            | NameChange::Removed { path, .. } => path.parent() != Some(folder),
        });
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.whole_step()?;
        let over = self.keep(to);
        Disk.rename(from, to)?;
        self.journal().names.push(NameChange::Renamed {
            from: from.to_owned(),
            to: to.to_owned(),
            over,
        });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.whole_step()?;
        let kept = self.keep(path);
        Disk.remove(path)?;
        if let Some(kept) = kept {
            self.journal().names.push(NameChange::Removed {
                path: path.to_owned(),
                kept,
            });
        }
        Ok(())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        self.whole_step()?;
        Disk.list(folder)
    }

    fn status(&self, path: &Path) -> io::Result<Metadata> {
        self.whole_step()?;
        Disk.status(path)
    }

    fn now(&self) -> SystemTime {
        let clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        clock.unwrap_or_else(SystemTime::now)
    }
}
