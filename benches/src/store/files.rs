//! A file for each record, as most caches have it: named by the key in 256 folders, with its checksum
//! in front.

use super::records::{Key, Made, Records};
use super::subject::{Open, SMALL, Subject};
use anyhow::{Result, ensure};
use rekindle_cache_core::{Digest, checksum};
use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Plain files. Those that have to be on disk are synced one by one, and so are their folders.
pub(super) struct Files;

/// Plain files that are never synced: a power failure may take what was flushed.
pub(super) struct UnsyncedFiles;

struct Folder {
    path: PathBuf,
    synced: bool,
    temporary: u64,
}

impl Subject for Files {
    fn name(&self) -> &'static str {
        "files"
    }

    fn fill(&self, folder: &Path, records: &Records) -> Result<()> {
        let mut folder = Folder::new(folder, true)?;
        records.for_each(|key, payload| folder.put(key, payload))
    }

    fn open(&self, folder: &Path) -> Result<Box<dyn Open>> {
        Ok(Box::new(Folder::new(folder, true)?))
    }

    fn makes_files(&self) -> bool {
        true
    }
}

impl Subject for UnsyncedFiles {
    fn name(&self) -> &'static str {
        "files-unsynced"
    }

    fn fill(&self, folder: &Path, records: &Records) -> Result<()> {
        Files.fill(folder, records)
    }

    fn open(&self, folder: &Path) -> Result<Box<dyn Open>> {
        Ok(Box::new(Folder::new(folder, false)?))
    }

    fn makes_files(&self) -> bool {
        true
    }
}

impl Folder {
    fn new(path: &Path, synced: bool) -> Result<Self> {
        // The one thing that has to be done before files can be read.
        if !path.join("00").is_dir() {
            for number in 0..256 {
                std::fs::create_dir_all(path.join(format!("{number:02x}")))?;
            }
        }
        Ok(Self {
            path: path.to_owned(),
            synced,
            temporary: 0,
        })
    }

    fn file(&self, key: &Key) -> PathBuf {
        let name = Digest(*key).to_string();
        self.path.join(&name[..2]).join(&name)
    }

    fn write(&mut self, key: &Key, payload: &[u8], sync: bool) -> Result<()> {
        self.temporary += 1;
        let temporary = self.path.join(format!("{}.tmp", self.temporary));
        let mut bytes = Vec::with_capacity(payload.len() + 8);
        bytes.extend_from_slice(&checksum(payload).to_le_bytes());
        bytes.extend_from_slice(payload);
        let mut file = File::create_new(&temporary)?;
        file.write_all(&bytes)?;
        if sync {
            file.sync_all()?;
        }
        std::fs::rename(&temporary, self.file(key))?;
        Ok(())
    }
}

impl Open for Folder {
    fn get(&mut self, key: &Key, payload: &mut Vec<u8>) -> Result<bool> {
        let mut file = match File::open(self.file(key)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        // One read: whoever writes such a cache knows how large the files are.
        payload.resize(8 + SMALL, 0);
        file.read_exact(payload)?;
        let (sum, bytes) = payload.split_at(8);
        ensure!(checksum(bytes).to_le_bytes() == sum, "a checksum is wrong");
        Ok(true)
    }

    fn put(&mut self, key: &Key, payload: &[u8]) -> Result<()> {
        self.write(key, payload, false)
    }

    fn put_all_durably(&mut self, records: &[Made]) -> Result<()> {
        let sync = self.synced;
        for made in records {
            self.write(&made.key, &made.payload, sync)?;
        }
        if sync {
            for number in 0..256 {
                File::open(self.path.join(format!("{number:02x}")))?.sync_all()?;
            }
        }
        Ok(())
    }

    fn prune_half(&mut self, count: usize) -> Result<bool> {
        let mut found: Vec<(SystemTime, PathBuf)> = Vec::new();
        for folder in std::fs::read_dir(&self.path)? {
            for file in std::fs::read_dir(folder?.path())? {
                let file = file?;
                found.push((file.metadata()?.modified()?, file.path()));
            }
        }
        found.sort_unstable();
        for (_, path) in found.iter().take(count / 2) {
            std::fs::remove_file(path)?;
        }
        Ok(true)
    }
}
