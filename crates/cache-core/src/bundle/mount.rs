//! Opens a bundle, accepts it, and shows its records as a read-only store.

use super::format::{ENTRY, Entry, HEADER, Header, TableCheck, Wrong};
use super::{BundleError, PublicKey, TrustedKeys, fault};
use crate::artifact::ImageRef;
use crate::key::FormKey;
use crate::metadata::{METADATA_VERSION, Metadata};
use crate::store::{
    Damage, Found, NewRecord, Provenance, Record, Store, StoreError, StoreStatistics,
};
use crate::{Digest, checksum};
use rkyv::util::AlignedVec;
use rustc_hash::FxHashSet;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use zerocopy::FromBytes as _;

/// Bytes of the table that are read at once: a multiple of an entry's.
const CHUNK: usize = 1 << 20;

/// A bundle whose format and signature are right. Nothing of it can be used until it is
/// [accepted](Self::accept).
pub struct Bundle {
    path: PathBuf,
    file: File,
    length: u64,
    signer: Option<PublicKey>,
    pub(super) table: Vec<Entry>,
}

/// Whose word is needed.
#[derive(Debug, Clone, Copy)]
pub struct Acceptance<'a> {
    trusted: &'a TrustedKeys,
    unsigned: bool,
}

/// The records of an accepted bundle, as a store that cannot be written.
///
/// A look-up reads the record and compares it with the digests that were signed. What is removed or
/// reported damaged is hidden in this process.
#[derive(Debug)]
pub struct BundleStore {
    pub(super) bundle: Bundle,
    provenance: Provenance,
    hidden: RwLock<FxHashSet<FormKey>>,
    damaged: AtomicU64,
}

impl<'a> Acceptance<'a> {
    /// A signature by one of these keys.
    pub fn of(trusted: &'a TrustedKeys) -> Self {
        Self {
            trusted,
            unsigned: false,
        }
    }

    /// Nobody's word, except that signatures must be right and no signer revoked: the user knows where
    /// the bundle comes from.
    #[must_use]
    pub fn or_unsigned(self) -> Self {
        Self {
            unsigned: true,
            ..self
        }
    }
}

impl fmt::Debug for Bundle {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Bundle")
            .field("path", &self.path)
            .field("records", &self.table.len())
            .field("signer", &self.signer)
            .finish_non_exhaustive()
    }
}

impl Bundle {
    /// Opens the bundle at `path`, and checks its header, table and signature.
    ///
    /// # Errors
    /// A file that cannot be read, is no bundle, or is not what was signed.
    pub fn open(path: &Path) -> Result<Self, BundleError> {
        let file = OpenOptions::new()
            .read(true)
            // Nobody waits for the other end of a pipe.
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
            .map_err(fault("open", path))?;
        let metadata = file.metadata().map_err(fault("look at", path))?;
        if !metadata.is_file() {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
            return Err(fault("open", path)(source));
        }
        let length = metadata.len();
        let wrong = |wrong| match wrong {
            Wrong::At(offset, what) => BundleError::Malformed {
                path: path.to_owned(),
                offset,
                what,
            },
            Wrong::Version(found) => BundleError::OtherVersion {
                path: path.to_owned(),
                found,
            },
        };
        let cut_off = |offset| wrong(Wrong::At(offset, "the table is cut off"));
        let head = read(&file, 0, length.min(HEADER)).map_err(fault("read", path))?;
        let header = Header::read(&head, length).map_err(wrong)?;
        let end = header.table_offset();
        if let Some(key) = header.signer()
            && !key.verifies(&header.signed_message(), &header.signature)
        {
            return Err(BundleError::Signature {
                path: path.to_owned(),
                key,
            });
        }
        let mut hasher = header.hasher();
        let mut check = TableCheck::new(end);
        let mut table = Vec::new();
        // Little by little: a file can claim to be longer than memory and have nothing in it.
        for start in (end..length).step_by(CHUNK) {
            let bytes = read(&file, start, (length - start).min(CHUNK as u64))
                .map_err(fault("read", path))?;
            hasher.update(&bytes);
            for entry in bytes.as_chunks::<{ ENTRY as usize }>().0 {
                let entry = Entry::read_from_bytes(entry).map_err(|_| cut_off(start))?;
                check.entry(&entry).map_err(wrong)?;
                table.push(entry);
            }
        }
        if *hasher.finalize().as_bytes() != header.digest {
            return Err(wrong(Wrong::At(
                80,
                "the digest of header and table is wrong",
            )));
        }
        check.finish(&table).map_err(wrong)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            length,
            signer: header.signer(),
            table,
        })
    }

    /// Who signed it, if anybody did. That says nothing of whether they are trusted.
    pub fn signer(&self) -> Option<PublicKey> {
        self.signer
    }

    /// Its records.
    pub fn records(&self) -> u64 {
        self.table.len() as u64
    }

    /// The size of its file.
    pub fn bytes(&self) -> u64 {
        self.length
    }

    /// Makes its records usable, if `acceptance` allows.
    ///
    /// # Errors
    /// It is not signed, or its signer is not trusted or was revoked.
    pub fn accept(self, acceptance: &Acceptance<'_>) -> Result<BundleStore, BundleError> {
        let path = || self.path.clone();
        let provenance = match self.signer {
            Some(key) if acceptance.trusted.is_revoked(&key) => {
                return Err(BundleError::Revoked { path: path(), key });
            }
            // Its signer is kept in any case, so that what came with it can be told apart.
            Some(key) if acceptance.trusted.is_trusted(&key) || acceptance.unsigned => {
                Provenance::signed_by(key.to_bytes())
            }
            Some(key) => return Err(BundleError::Untrusted { path: path(), key }),
            None if acceptance.unsigned => Provenance::UNSIGNED,
            None => return Err(BundleError::Unsigned { path: path() }),
        };
        Ok(BundleStore {
            bundle: self,
            provenance,
            hidden: RwLock::default(),
            damaged: AtomicU64::new(0),
        })
    }

    /// The places in the table of the entries of `key`.
    pub(super) fn places(&self, key: &FormKey) -> Range<usize> {
        let start = self.table.partition_point(|entry| entry.key < key.0.0);
        let rest = self.table.get(start..).unwrap_or_default();
        start..start + rest.partition_point(|entry| entry.key == key.0.0)
    }
}

impl BundleStore {
    /// The bundle.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// Who vouches for its records.
    pub fn provenance(&self) -> Provenance {
        self.provenance
    }

    /// Reads every record and compares it with what was signed.
    ///
    /// # Errors
    /// The first that is damaged or cannot be read.
    pub fn verify(&self, progress: &mut dyn FnMut(super::Progress)) -> Result<(), BundleError> {
        let total = self.bundle.records();
        for (done, entry) in (1..).zip(&self.bundle.table) {
            self.with_record(entry, |_| ())?;
            progress(super::Progress { done, total });
        }
        Ok(())
    }

    /// Reads the record of `entry`, checks it, and shows it to `visit`; `None` if its metadata is of
    /// another version.
    pub(super) fn with_record<R>(
        &self,
        entry: &Entry,
        visit: impl FnOnce(&Record<'_>) -> R,
    ) -> Result<Option<R>, BundleError> {
        let path = &self.bundle.path;
        let offset = entry.offset.get();
        let wrong = |what| BundleError::Malformed {
            path: path.clone(),
            offset,
            what,
        };
        let length = entry.length().ok_or_else(|| wrong("it has no length"))?;
        let bytes = read(&self.bundle.file, offset, length).map_err(fault("read", path))?;
        // The lengths are those of the table, which is in memory and was signed.
        let cut = || wrong("it is cut off");
        let metadata_end = entry.metadata_length.get() as usize;
        let image_start = usize::try_from(entry.image_start()).map_err(|_| cut())?;
        let image_length = usize::try_from(entry.image_length.get()).map_err(|_| cut())?;
        let (head, tail) = bytes.split_at_checked(image_start).ok_or_else(cut)?;
        let (metadata, padding) = head.split_at_checked(metadata_end).ok_or_else(cut)?;
        let (image, end) = tail.split_at_checked(image_length).ok_or_else(cut)?;
        if padding.iter().chain(end).any(|byte| *byte != 0) {
            return Err(wrong("there is something where nothing should be"));
        }
        if *blake3::hash(metadata).as_bytes() != entry.metadata_digest {
            return Err(wrong("the metadata is not what was exported"));
        }
        if *blake3::hash(image).as_bytes() != entry.image_digest {
            return Err(wrong("the image is not what was exported"));
        }
        if entry.metadata_version.get() != METADATA_VERSION {
            return Ok(None);
        }
        let metadata =
            Metadata::access(metadata).map_err(|_| wrong("the metadata is malformed"))?;
        let sum = metadata.entry.image_checksum.to_native();
        if checksum(image) != sum {
            return Err(wrong("the image's checksum in the metadata is wrong"));
        }
        let record = Record {
            key: FormKey(Digest(entry.key)),
            metadata,
            image: ImageRef {
                bytes: image,
                checksum: sum,
            },
            provenance: self.provenance,
        };
        Ok(Some(visit(&record)))
    }

    fn show(
        &self,
        entries: &[Entry],
        visit: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        for entry in entries {
            if self.is_hidden(&FormKey(Digest(entry.key))) {
                continue;
            }
            match self.with_record(entry, |record| visit(Found::Record(*record))) {
                Ok(shown) => shown.unwrap_or(ControlFlow::Continue(()))?,
                Err(error) => {
                    self.damaged.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(%error, "a record of a bundle is not used");
                    visit(Found::Damaged(&Damage {
                        file: Some(self.bundle.path.clone()),
                        offset: entry.offset.get(),
                        what: error.to_string(),
                    }))?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn is_hidden(&self, key: &FormKey) -> bool {
        let hidden = self.hidden.read().unwrap_or_else(PoisonError::into_inner);
        hidden.contains(key)
    }
}

impl Store for BundleStore {
    fn get(&self, key: &FormKey, visit: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>) {
        let entries = self.bundle.table.get(self.bundle.places(key));
        let _ = self.show(entries.unwrap_or_default(), visit);
    }

    fn put(&self, _: NewRecord<'_>) -> Result<(), StoreError> {
        Err(StoreError::Io {
            action: "write",
            path: self.bundle.path.clone(),
            source: io::Error::new(io::ErrorKind::PermissionDenied, "a bundle is never changed"),
        })
    }

    fn remove(&self, key: &FormKey) {
        let mut hidden = self.hidden.write().unwrap_or_else(PoisonError::into_inner);
        hidden.insert(*key);
    }

    fn for_each(&self, visit: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>) {
        let _ = self.show(&self.bundle.table, visit);
    }

    fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn statistics(&self) -> StoreStatistics {
        StoreStatistics {
            records: self.bundle.records(),
            bytes: self.bundle.bytes(),
            packs: 1,
            damaged: self.damaged.load(Ordering::Relaxed),
            ..StoreStatistics::default()
        }
    }

    fn report_damage(&self, key: &FormKey, what: &str) {
        tracing::warn!(%key, what, "a record of a bundle is not used");
        self.damaged.fetch_add(1, Ordering::Relaxed);
        self.remove(key);
    }
}

/// Reads `length` bytes at `offset`, aligned to 16. The caller has compared them with the file's length.
fn read(file: &File, offset: u64, length: u64) -> io::Result<AlignedVec> {
    let length = usize::try_from(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
    let mut bytes = AlignedVec::with_capacity(length);
    bytes.resize(length, 0);
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}
