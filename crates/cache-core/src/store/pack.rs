//! A pack in this process: opened once, and searched as it lies.

use super::format::{self, Origin, RECORDS_START, Stamp, Tail};
use super::index::{self, Bucket, IndexEntry};
use super::io::{Io, LockKind};
use super::record::{self, Checked, Content};
use super::source::{self, Source};
use super::tending::Tending;
use super::{Damage, Found, StoreError, files};
use crate::digest::checksum;
use crate::folder::fault;
use crate::key::FormKey;
use rkyv::util::AlignedVec;
use rustc_hash::FxHashSet;
use std::cell::RefCell;
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// An open pack.
pub(super) struct Pack {
    id: u64,
    path: PathBuf,
    /// Its file holds the shared lock by which others see that the file is in use.
    source: Source,
    records: Range<usize>,
    count: u64,
    index: Index,
    /// The numbers of the packs in whose place this one has come.
    replaced: Vec<u64>,
    /// The identities of the records that it says are removed, from whichever pack.
    removed: Vec<u64>,
    digest: [u8; 32],
    stamp: Stamp,
    /// Counts up with each pack that this process opens, whatever the packs' own order.
    generation: u64,
    /// Something in it is damaged, and it has not been set aside yet.
    is_suspect: AtomicBool,
    suspicion: Mutex<Option<Damage>>,
}

enum Index {
    /// In the file, with a checksum for each bucket.
    Filed { place: Range<usize>, buckets: usize },
    /// Made anew from the records that were found intact.
    Recovered(Vec<IndexEntry>),
}

/// What a file that is called a pack turns out to be.
pub(super) enum Opened {
    /// A pack. If its footer was damaged, it is suspect and has those records that could be found.
    Pack(Box<Pack>),
    /// A file whose header is damaged: it cannot even be said which version it is of.
    Damaged(Damage),
    /// Of another version.
    OtherVersion,
    /// Not there any more.
    Gone,
}

/// The identities of records that are not to be shown any more.
pub(super) type Removed = FxHashSet<u64>;

/// A record among all of its pack's.
pub(super) struct Placed<'a> {
    pub(super) offset: usize,
    pub(super) checked: Checked<'a>,
}

impl Pack {
    /// Opens the pack with number `id` at `path`.
    ///
    /// # Errors
    /// A file that cannot be opened or mapped, or that others can write.
    pub(super) fn open(
        io: &Arc<dyn Io>,
        path: &Path,
        id: u64,
        generation: u64,
        tending: &Arc<Tending>,
    ) -> Result<Opened, StoreError> {
        let Some(file) = files::open(&**io, path, false)? else {
            return Ok(Opened::Gone);
        };
        match io.try_lock(&file, path, LockKind::Shared) {
            Ok(true) => {}
            // Somebody is just removing it.
            Ok(false) => return Ok(Opened::Gone),
            Err(error) => {
                tracing::debug!(file = %path.display(), %error, "no locks here");
            }
        }
        let metadata = file.metadata().map_err(fault("look at", path))?;
        if metadata.nlink() == 0 {
            return Ok(Opened::Gone);
        }
        let mut source = Source::new(io, file, path).map_err(fault("map", path))?;
        let mut scratch = AlignedVec::new();
        let header = source.part(0..RECORDS_START.min(source.len()), &mut scratch);
        let stamp = match header.and_then(format::read_file_header) {
            Ok(Origin::Ours(stamp)) => stamp,
            Ok(Origin::OtherVersion(_)) => return Ok(Opened::OtherVersion),
            Err(what) => return Ok(Opened::Damaged(damage(path, 0, what))),
        };
        let (tail, what) = match format::read_tail(&source) {
            Ok(tail) => (tail, None),
            Err(what) => {
                let all = RECORDS_START..source.len();
                let nothing = Tail {
                    records: all,
                    count: 0,
                    index: 0..0,
                    replaced: Vec::new(),
                    removed: Vec::new(),
                    digest: [0; 32],
                };
                (nothing, Some(what))
            }
        };
        source.expect(0..tail.records.end, tail.index.clone(), tending);
        let mut pack = Self {
            id,
            path: path.to_owned(),
            source,
            records: tail.records,
            count: tail.count,
            index: Index::Filed {
                buckets: tail.index.len() / size_of::<Bucket>(),
                place: tail.index,
            },
            replaced: tail.replaced,
            removed: tail.removed,
            digest: tail.digest,
            stamp,
            generation,
            is_suspect: AtomicBool::new(false),
            suspicion: Mutex::new(None),
        };
        if let Some(what) = what {
            let mut removed = Vec::new();
            let (mut entries, end) = pack.walk(&mut |found| {
                if let Ok(Content::Removal(removal)) = found.content() {
                    removed.extend(removal.identities());
                }
            });
            pack.removed = removed;
            entries.sort_unstable();
            pack.count = entries.len() as u64;
            pack.index = Index::Recovered(entries);
            pack.records.end = end;
            pack.suspect(damage(path, end, what));
        }
        Ok(Opened::Pack(Box::new(pack)))
    }

    pub(super) fn id(&self) -> u64 {
        self.id
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

    pub(super) fn replaced(&self) -> &[u64] {
        &self.replaced
    }

    pub(super) fn removed(&self) -> &[u64] {
        &self.removed
    }

    /// The number of its records, removals included.
    pub(super) fn records(&self) -> u64 {
        self.count
    }

    /// The bytes of its index that are used as they lie in the file.
    pub(super) fn index_bytes(&self) -> u64 {
        match &self.index {
            Index::Filed { place, .. } => place.len() as u64,
            Index::Recovered(_) => 0,
        }
    }

    /// The size of its file.
    pub(super) fn bytes(&self) -> u64 {
        self.source.len() as u64
    }

    /// Sees to its pages, as [`Store::tend`](super::Store::tend) says.
    pub(super) fn tend(&self) {
        self.source.tend();
    }

    /// Remembers that something in it is damaged.
    pub(super) fn suspect(&self, damage: Damage) {
        self.suspicion
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(damage);
        self.is_suspect.store(true, Ordering::Release);
    }

    /// What is damaged in it, if anything was met.
    pub(super) fn suspicion(&self) -> Option<Damage> {
        if !self.is_suspect.load(Ordering::Acquire) {
            return None;
        }
        self.suspicion
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether its index had to be made anew.
    pub(super) fn is_recovered(&self) -> bool {
        matches!(self.index, Index::Recovered(_))
    }

    /// Shows `visit` the records of `key` that are not `removed`, newest first, and damage where one of
    /// them may have been.
    pub(super) fn get(
        &self,
        key: &FormKey,
        removed: &Removed,
        visit: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let found = self.places_of(key.0.prefix(), &mut |offset| {
            self.show(offset, key, removed, visit)
        });
        match found {
            Ok(shown) => shown,
            Err((offset, what)) => self.damaged(offset, what, visit),
        }
    }

    /// Adds the identities of all readable records of `key` to `into`.
    pub(super) fn identities(&self, key: &FormKey, into: &mut Vec<u64>) {
        let mut buffer = AlignedVec::new();
        // What cannot be read cannot be removed either.
        let _ = self.places_of(key.0.prefix(), &mut |offset| {
            match self.read(offset, &mut buffer) {
                Ok(found) if found.key == *key && !found.is_removal() => into.push(found.identity),
                _ => {}
            }
            ControlFlow::Continue(())
        });
    }

    /// Gives `each` the offsets of records whose keys may start with `prefix`, newest first; else where
    /// and what is wrong with the index.
    fn places_of(
        &self,
        prefix: u64,
        each: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, (usize, &'static str)> {
        match &self.index {
            Index::Recovered(entries) => Ok(index::search(entries, prefix)
                .try_for_each(|entry| each(usize::try_from(entry.offset).unwrap_or(usize::MAX)))),
            Index::Filed { buckets, .. } => {
                let mut number = index::home(prefix, *buckets);
                for _ in 0..*buckets {
                    let bucket = self.bucket(number)?;
                    if bucket.places_of(prefix).try_for_each(&mut *each).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                    if !bucket.is_full() {
                        break;
                    }
                    number = (number + 1) % *buckets;
                }
                Ok(ControlFlow::Continue(()))
            }
        }
    }

    /// Shows `visit` every record that is not `removed`, in the order in which they were put, and damage.
    pub(super) fn show_all(
        &self,
        removed: &Removed,
        visit: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let visit = RefCell::new(visit);
        self.for_each(
            &mut |damage| visit.borrow_mut()(Found::Damaged(&damage)),
            &mut |placed| match placed.checked.content() {
                Ok(Content::Code(_)) if removed.contains(&placed.checked.identity) => {
                    ControlFlow::Continue(())
                }
                Ok(Content::Code(record)) => visit.borrow_mut()(Found::Record(record)),
                Ok(Content::Removal(_) | Content::Unknown) => ControlFlow::Continue(()),
                Err(what) => self.damaged(placed.offset, what, &mut **visit.borrow_mut()),
            },
        )
    }

    /// A copy of a bucket, whose checksum is right; else where and what is wrong.
    fn bucket(&self, number: usize) -> Result<Bucket, (usize, &'static str)> {
        let Index::Filed { place, .. } = &self.index else {
            return Err((0, "there is no index"));
        };
        let start = place.start.saturating_add(number * size_of::<Bucket>());
        let mut scratch = AlignedVec::new();
        let bytes = self
            .source
            .part(
                start..start.saturating_add(size_of::<Bucket>()),
                &mut scratch,
            )
            .map_err(|what| (start, what))?;
        Bucket::check(bytes, number)
            .ok_or((start, "the checksum of a bucket of the index is wrong"))
    }

    fn damaged(
        &self,
        offset: usize,
        what: &str,
        visit: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let damage = damage(&self.path, offset, what);
        self.suspect(damage.clone());
        visit(Found::Damaged(&damage))
    }

    fn show(
        &self,
        offset: usize,
        wanted: &FormKey,
        removed: &Removed,
        visit: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.source.fetch(offset);
        record::with_buffer(|buffer| {
            let found = self.read(offset, buffer).and_then(|found| {
                self.source.note(offset..offset + found.extent.length);
                // Another key that begins alike, or removed.
                if *wanted != found.key || removed.contains(&found.identity) {
                    return Ok(Content::Unknown);
                }
                found.content()
            });
            match found {
                Ok(Content::Code(record)) => visit(Found::Record(record)),
                Ok(Content::Removal(_) | Content::Unknown) => ControlFlow::Continue(()),
                Err(what) => self.damaged(offset, what, visit),
            }
        })
    }

    /// Copies header and metadata of the record at `offset` into `buffer`, and checks the copy.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn read<'a>(
        &'a self,
        offset: usize,
        buffer: &'a mut AlignedVec,
    ) -> Result<Checked<'a>, &'static str> {
        source::read_record(&self.source, &self.records, offset, buffer)
    }

    /// Copies the record at `offset` whole into `into`, and checks the copy, its image included.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn copy<'a>(
        &self,
        offset: usize,
        into: &'a mut AlignedVec,
    ) -> Result<Checked<'a>, &'static str> {
        let length = {
            let mut buffer = AlignedVec::new();
            self.read(offset, &mut buffer)?.extent.length
        };
        into.clear();
        self.source
            .copy(offset..offset.saturating_add(length), into)?;
        let copy: &'a [u8] = into;
        let claimed = record::extent_claimed(copy)?;
        let head = copy.get(..claimed.metadata.end);
        let checked = record::check_copy(
            head.ok_or("the metadata is cut off")?,
            copy.get(claimed.image),
        )?;
        if has_good_image(&checked) {
            Ok(checked)
        } else {
            Err("the checksum of the image is wrong")
        }
    }

    /// Shows `each` every record that can be found, in the order in which they were put, and `damage`
    /// what is wrong in between. The images are not looked at.
    pub(super) fn for_each(
        &self,
        damaged: &mut dyn FnMut(Damage) -> ControlFlow<()>,
        each: &mut dyn FnMut(Placed<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut damaged = |offset: usize, what: &str| {
            let damage = damage(&self.path, offset, what);
            self.suspect(damage.clone());
            damaged(damage)
        };
        let mut places: Vec<(usize, u32)> = Vec::new();
        let low = |entry: &IndexEntry| {
            let offset = usize::try_from(entry.offset).unwrap_or(usize::MAX);
            (offset, index::low_half(entry.prefix))
        };
        match &self.index {
            Index::Recovered(recovered) => places.extend(recovered.iter().map(low)),
            Index::Filed { buckets, .. } => {
                let mut is_whole = true;
                for number in 0..*buckets {
                    match self.bucket(number) {
                        Ok(bucket) => {
                            places.extend(bucket.places().map(|(low, offset)| (offset, low)));
                        }
                        Err((offset, what)) => {
                            is_whole = false;
                            damaged(offset, what)?;
                        }
                    }
                }
                if !is_whole {
                    places.extend(self.walk(&mut |_| {}).0.iter().map(low));
                }
            }
        }
        places.sort_unstable();
        places.dedup();
        let mut buffer = AlignedVec::new();
        for (offset, low) in places {
            match self.read(offset, &mut buffer) {
                Ok(checked) if index::low_half(checked.key.0.prefix()) == low => {
                    each(Placed { offset, checked })?;
                }
                Ok(_) => damaged(offset, "the index points to a record of another key")?,
                Err(what) => damaged(offset, what)?,
            }
        }
        ControlFlow::Continue(())
    }

    /// Reads every byte of the file against the digest that was taken when it was sealed, and says
    /// whether it is right. `progress` is told of each part that was read, in bytes.
    pub(super) fn has_right_digest(&self, progress: &mut dyn FnMut(u64)) -> bool {
        const PART: usize = 1 << 20;
        let Some(end) = self.source.len().checked_sub(format::FOOTER) else {
            return false;
        };
        let mut scratch = AlignedVec::new();
        let mut hasher = blake3::Hasher::new();
        let mut place = 0;
        while place < end {
            let next = end.min(place + PART);
            let Ok(part) = self.source.part(place..next, &mut scratch) else {
                return false;
            };
            hasher.update(part);
            progress((next - place) as u64);
            place = next;
        }
        !self.is_recovered() && *hasher.finalize().as_bytes() == self.digest
    }

    /// The entries of the records from the first one on, as far as they are intact, and the offset at which
    /// that ends.
    fn walk(&self, each: &mut dyn FnMut(&Checked<'_>)) -> (Vec<IndexEntry>, usize) {
        let mut entries = Vec::new();
        let end = source::walk(&self.source, &self.records, &mut |offset, found| {
            entries.push(IndexEntry::new(found.key.0.prefix(), offset as u64));
            each(found);
        });
        (entries, end)
    }
}

fn damage(path: &Path, offset: usize, what: &str) -> Damage {
    Damage {
        file: Some(path.to_owned()),
        offset: offset as u64,
        what: what.to_owned(),
    }
}

/// Whether the image has the checksum that the metadata tells. Records of another version are taken to
/// be good: only they know where their checksum is.
pub(super) fn has_good_image(found: &Checked<'_>) -> bool {
    match found.content() {
        Ok(Content::Code(record)) => checksum(record.image.bytes) == record.image.checksum,
        Ok(Content::Removal(_) | Content::Unknown) => true,
        Err(_) => false,
    }
}
