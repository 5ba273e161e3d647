//! Writes records of a store to a bundle.

use super::format::{Entry, HEADER, Header};
use super::{BundleError, Progress, SigningKey, fault};
use crate::checksum;
use crate::key::FormKey;
use crate::metadata::{METADATA_VERSION, Metadata};
use crate::store::{Found, Record, Store, StoreError};
use rkyv::rancor;
use rustc_hash::FxHashSet;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::ops::ControlFlow;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use zerocopy::IntoBytes as _;

const ZEROS: [u8; 16] = [0; 16];

/// How a bundle is made.
#[derive(Debug, Default, Clone, Copy)]
pub struct Export<'a> {
    /// Who vouches for it; without, it is taken only by those who ask for nobody's word.
    pub key: Option<&'a SigningKey>,
}

/// What was exported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Exported {
    /// Records in the bundle.
    pub records: u64,
    /// Its size.
    pub bytes: u64,
    /// Records that failed a check and were left out.
    pub damaged: u64,
}

/// Writes those records of `store` that `select` wants to a new bundle at `path`, in the order in which
/// the store shows them. The bundle appears under its name when it is complete and on disk; one that is
/// there is replaced. The same records, key and order give the same bytes.
///
/// # Errors
/// A file that cannot be written.
pub fn export(
    store: &dyn Store,
    path: &Path,
    options: Export<'_>,
    select: &mut dyn FnMut(&Record<'_>) -> bool,
) -> Result<Exported, BundleError> {
    export_with_progress(store, path, options, select, &mut |_| {})
}

impl Export<'_> {
    /// As [`export`], telling `progress` after each key.
    ///
    /// # Errors
    /// As [`export`].
    pub fn run(
        self,
        store: &dyn Store,
        path: &Path,
        select: &mut dyn FnMut(&Record<'_>) -> bool,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Exported, BundleError> {
        export_with_progress(store, path, self, select, progress)
    }
}

fn export_with_progress(
    store: &dyn Store,
    path: &Path,
    options: Export<'_>,
    select: &mut dyn FnMut(&Record<'_>) -> bool,
    progress: &mut dyn FnMut(Progress),
) -> Result<Exported, BundleError> {
    let keys = selected_keys(store, select);
    let mut writer = Writer::create(path)?;
    let mut exported = Exported::default();
    for (done, key) in (1..).zip(&keys) {
        // Here the newest comes first.
        let mut written = FxHashSet::default();
        let mut failed = None;
        store.get(key, &mut |found| {
            let record = match found {
                Found::Record(record) if select(&record) => record,
                Found::Record(_) => return ControlFlow::Continue(()),
                Found::Damaged(_) => {
                    exported.damaged += 1;
                    return ControlFlow::Continue(());
                }
            };
            match writer.write(&record, &mut written) {
                Ok(true) => {}
                Ok(false) => exported.damaged += 1,
                Err(error) => {
                    failed = Some(error);
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        });
        if let Some(error) = failed {
            return Err(error);
        }
        let total = keys.len() as u64;
        progress(Progress { done, total });
    }
    exported.records = writer.entries.len() as u64;
    exported.bytes = writer.finish(options.key)?;
    Ok(exported)
}

/// The keys of the wanted records, each once, in the store's order.
fn selected_keys(store: &dyn Store, select: &mut dyn FnMut(&Record<'_>) -> bool) -> Vec<FormKey> {
    let mut seen = FxHashSet::default();
    let mut keys = Vec::new();
    store.for_each(&mut |found| {
        if let Found::Record(record) = found
            && select(&record)
            && seen.insert(record.key)
        {
            keys.push(record.key);
        }
        ControlFlow::Continue(())
    });
    keys
}

/// A bundle under way, in a file that goes away unless it is finished.
struct Writer<'a> {
    path: &'a Path,
    temporary: Temporary,
    out: BufWriter<File>,
    offset: u64,
    entries: Vec<Entry>,
}

struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // It is not there any more where all went well.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl<'a> Writer<'a> {
    fn create(path: &'a Path) -> Result<Self, BundleError> {
        let random = getrandom::u64()
            .map_err(|error| fault("name", path)(std::io::Error::other(error.to_string())))?;
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{random:016x}.tmp"));
        let temporary = PathBuf::from(name);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(&temporary)
            .map_err(fault("create", path))?;
        let mut writer = Self {
            path,
            temporary: Temporary(temporary),
            out: BufWriter::with_capacity(1 << 20, file),
            offset: 0,
            entries: Vec::new(),
        };
        // The header's place, until all that it tells of is known.
        writer.append(Header::new(&[], HEADER, None).as_bytes())?;
        Ok(writer)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), BundleError> {
        self.out
            .write_all(bytes)
            .map_err(fault("write", self.path))?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    fn pad(&mut self) -> Result<(), BundleError> {
        let missing = self.offset.next_multiple_of(ZEROS.len() as u64) - self.offset;
        let zeros = usize::try_from(missing)
            .ok()
            .and_then(|missing| ZEROS.get(..missing));
        self.append(zeros.unwrap_or_default())
    }

    /// Writes a record, unless it is in `written` already. `false` if it is damaged.
    fn write(
        &mut self,
        record: &Record<'_>,
        written: &mut FxHashSet<([u8; 32], [u8; 32])>,
    ) -> Result<bool, BundleError> {
        if checksum(record.image.bytes) != record.image.checksum {
            return Ok(false);
        }
        let refused = |reason: String| {
            BundleError::Store(StoreError::Record {
                key: record.key,
                reason,
            })
        };
        let metadata = rkyv::deserialize::<Metadata, rancor::Error>(record.metadata)
            .and_then(|metadata| metadata.to_bytes())
            .map_err(|error| refused(format!("its metadata cannot be archived: {error}")))?;
        let entry = Entry::new(
            record.key.0.0,
            (&metadata, METADATA_VERSION),
            record.image.bytes,
            self.offset,
        );
        let entry = entry
            .ok_or_else(|| refused(format!("{} bytes are too many", record.image.bytes.len())))?;
        if !written.insert((entry.metadata_digest, entry.image_digest)) {
            return Ok(true);
        }
        self.append(&metadata)?;
        self.pad()?;
        self.append(record.image.bytes)?;
        self.pad()?;
        self.entries.push(entry);
        Ok(true)
    }

    /// Writes table and header, and gives the file its name. Returns its size.
    fn finish(mut self, key: Option<&SigningKey>) -> Result<u64, BundleError> {
        let mut entries = std::mem::take(&mut self.entries);
        // Stable: of the same key, the newest was written first.
        entries.sort_by_key(|entry| entry.key);
        let table = self.offset;
        let public_key = key.map(|key| key.public_key().to_bytes());
        let mut header = Header::new(&entries, table, public_key);
        if let Some(key) = key {
            header.signature = key.sign(&header.signed_message());
        }
        self.append(entries.as_bytes())?;
        let path = self.path;
        self.out.flush().map_err(fault("write", path))?;
        let file = self.out.get_ref();
        file.write_all_at(header.as_bytes(), 0)
            .and_then(|()| file.sync_all())
            .map_err(fault("write", path))?;
        std::fs::rename(&self.temporary.0, path).map_err(fault("rename", path))?;
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        match File::open(folder).and_then(|folder| folder.sync_all()) {
            // Some file systems cannot sync a folder, and say so in this way.
            Err(error) if error.kind() != std::io::ErrorKind::InvalidInput => {
                Err(fault("sync", folder)(error))
            }
            _ => Ok(self.offset),
        }
    }
}
