//! A pack in this process: mapped once, read-only, and searched as it lies.

use super::format::{self, Origin, RECORDS_START, Stamp};
use super::index::{self, IndexEntry};
use super::record::{self, Checked};
use super::{Damage, Found, Record, StoreError, files};
use crate::digest::checksum;
use crate::key::FormKey;
use memmap2::Mmap;
use rkyv::util::AlignedVec;
use std::fs::File;
use std::io;
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use zerocopy::FromBytes;

/// A mapped pack.
pub(super) struct Pack {
    path: PathBuf,
    map: Mmap,
    records: Range<usize>,
    index: Index,
    stamp: Stamp,
    /// Counts up with each pack that this process opens, whatever the packs' own order.
    generation: u64,
}

enum Index {
    /// In the file, where its checksum was right.
    Mapped(Range<usize>),
    /// Made anew from the records that were found intact.
    Recovered(Vec<IndexEntry>),
}

/// What a file that is called a pack turns out to be.
pub(super) enum Opened {
    /// A pack whose header, footer and index are right.
    Intact(Pack),
    /// A file with something wrong, and the pack of those records that come before it, if any do.
    Damaged(Damage, Option<Pack>),
    /// Of another version, or not there any more.
    Ignored,
}

impl Pack {
    /// Opens and maps the file at `path`.
    ///
    /// # Errors
    /// A file that cannot be opened or mapped.
    pub(super) fn open(path: &Path, generation: u64) -> Result<Opened, StoreError> {
        let file = match files::open(path, false) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Opened::Ignored),
            Err(error) => return Err(files::fault("open", path)(error)),
        };
        let map = map(&file).map_err(files::fault("map", path))?;
        let damage = |offset: usize, what: &str| Damage {
            file: Some(path.to_owned()),
            offset: offset as u64,
            what: what.to_owned(),
        };
        let stamp = match format::read_file_header(&map) {
            Ok(Origin::Ours(stamp)) => stamp,
            Ok(Origin::OtherVersion(_)) => return Ok(Opened::Ignored),
            Err(what) => return Ok(Opened::Damaged(damage(0, what), None)),
        };
        let pack = |map, records, index| Pack {
            path: path.to_owned(),
            map,
            records,
            index,
            stamp,
            generation,
        };
        let what = match format::read_footer(&map) {
            Ok(place) => {
                let records = RECORDS_START..place.start;
                return Ok(Opened::Intact(pack(map, records, Index::Mapped(place))));
            }
            Err(what) => what,
        };
        let mut entries = Vec::new();
        let end = walk(&map, |offset, record| {
            entries.push(IndexEntry::of(record, offset));
        });
        index::sort(&mut entries);
        let recovered =
            (!entries.is_empty()).then(|| pack(map, RECORDS_START..end, Index::Recovered(entries)));
        Ok(Opened::Damaged(damage(end, what), recovered))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn stamp(&self) -> Stamp {
        self.stamp
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether its index had to be made anew.
    pub(super) fn is_recovered(&self) -> bool {
        matches!(self.index, Index::Recovered(_))
    }

    /// The number of its records.
    pub(super) fn records(&self) -> u64 {
        self.entries().len() as u64
    }

    /// The size of its file.
    pub(super) fn bytes(&self) -> u64 {
        self.map.len() as u64
    }

    /// Shows `visit` the records of `key`, newest first, and damage where one of them may have been.
    pub(super) fn get(
        &self,
        key: &FormKey,
        visit: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        for entry in index::search(self.entries(), key) {
            self.show(entry, Some(key), visit)?;
        }
        ControlFlow::Continue(())
    }

    /// Shows `visit` every record, in the order in which they were put.
    pub(super) fn for_each(
        &self,
        visit: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut entries = self.entries().to_vec();
        entries.sort_unstable_by_key(IndexEntry::offset);
        entries
            .iter()
            .try_for_each(|entry| self.show(entry, None, visit))
    }

    /// Gives `keep` a copy of each record whose metadata and image are right, in the order in which they
    /// were put.
    ///
    /// # Errors
    /// The first of `keep`.
    pub(super) fn salvage<E>(
        &self,
        mut keep: impl FnMut(&FormKey, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut entries = self.entries().to_vec();
        entries.sort_unstable_by_key(IndexEntry::offset);
        let mut whole = AlignedVec::<16>::new();
        for entry in &entries {
            let Ok(length) = self
                .read(entry, &mut AlignedVec::new())
                .map(|found| found.extent.length)
            else {
                continue;
            };
            let from = self.from(entry).get(..length).unwrap_or_default();
            whole.clear();
            whole.extend_from_slice(from);
            let mut buffer = AlignedVec::new();
            match record::check(&whole, &mut buffer) {
                Ok(record) if has_good_image(&record) => keep(&record.key, &whole)?,
                Ok(_) | Err(_) => {}
            }
        }
        Ok(())
    }

    fn show(
        &self,
        entry: &IndexEntry,
        wanted: Option<&FormKey>,
        visit: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        record::with_buffer(|buffer| {
            let found = self.read(entry, buffer).and_then(|found| match wanted {
                // Another key that begins alike.
                Some(key) if *key != found.key => Ok(None),
                _ => found.record(),
            });
            match found {
                Ok(Some(record)) => visit(Found::Record(record)),
                Ok(None) => ControlFlow::Continue(()),
                Err(what) => visit(Found::Damaged(&Damage {
                    file: Some(self.path.clone()),
                    offset: entry.offset() as u64,
                    what: what.to_owned(),
                })),
            }
        })
    }

    fn read<'a>(
        &'a self,
        entry: &IndexEntry,
        buffer: &'a mut AlignedVec,
    ) -> Result<Checked<'a>, &'static str> {
        let found = record::check(self.from(entry), buffer)?;
        if found.key.0.prefix() == entry.prefix() {
            Ok(found)
        } else {
            Err("the index points to a record of another key")
        }
    }

    /// The records from the one of `entry` on; empty if there is none.
    fn from(&self, entry: &IndexEntry) -> &[u8] {
        self.map
            .get(entry.offset().max(self.records.start)..self.records.end)
            .unwrap_or_default()
    }

    fn entries(&self) -> &[IndexEntry] {
        match &self.index {
            Index::Recovered(entries) => entries,
            Index::Mapped(place) => {
                let bytes = self.map.get(place.clone()).unwrap_or_default();
                <[IndexEntry]>::ref_from_bytes(bytes).unwrap_or_default()
            }
        }
    }
}

/// Goes through the records of a file from the first, shows `each` with its offset, and gives the
/// offset at which there is no more, or none that is intact.
///
/// It does not look for records behind a broken one: something that only looks like a record may lie
/// inside an image.
pub(super) fn walk(file: &[u8], mut each: impl FnMut(usize, &Checked<'_>)) -> usize {
    let mut offset = RECORDS_START.min(file.len());
    record::with_buffer(|buffer| {
        while let Some(rest) = file.get(offset..).filter(|rest| !rest.is_empty()) {
            let Ok(found) = record::check(rest, buffer) else {
                break;
            };
            each(offset, &found);
            offset += found.extent.length;
        }
    });
    offset
}

/// Whether the image has the checksum that the metadata tells. Records of another version are taken to
/// be good: only they know where their checksum is.
pub(super) fn has_good_image(found: &Checked<'_>) -> bool {
    match found.record() {
        Ok(Some(Record { image, .. })) => checksum(image.bytes) == image.checksum,
        Ok(None) => true,
        Err(_) => false,
    }
}

/// Maps all of `file`, read-only.
pub(super) fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: The bytes of a mapped file can change while they are borrowed, which Rust forbids and
    // nothing can rule out. In the store nobody does it: packs are never written, a segment is mapped
    // only by the holder of its lock, and the folder is closed to other users. Should it happen all the
    // same, the readers in this crate do not rely on reading the same twice: header, metadata and
    // footer are copied, and only the copy is checked and used; of index and images a change yields
    // another value within bounds, which ends as a failed check. A file that its owner truncates while
    // it is mapped ends this process with SIGBUS, and that is documented.
    unsafe { Mmap::map(file) }
}
