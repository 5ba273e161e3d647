//! What a pack holds beside its records, byte by byte.
//!
//! A pack is a file header, [records](super::record), an index and a footer. A segment is the same
//! without index and footer. Numbers are little-endian.
//!
//! File header, 32 bytes:
//!
//! | offset | bytes | what |
//! | --- | --- | --- |
//! | 0 | 8 | magic, `REKINDLE` |
//! | 8 | 4 | [`FORMAT_VERSION`] |
//! | 12 | 4 | low half of the XXH3 of bytes 0 to 12 |
//! | 16 | 8 | stamp: orders packs, see [`Stamp`] |
//! | 24 | 8 | XXH3 of bytes 0 to 24 |
//!
//! The first 16 bytes are the same in all versions, so that a file of another version is told from a
//! damaged one.
//!
//! After the records, each part at the offset that follows from the numbers in the footer:
//!
//! | part | bytes | what |
//! | --- | --- | --- |
//! | | | zeros up to a multiple of 64 |
//! | index | 64 per bucket | where each record is: see [`index`] |
//! | replaced | 8 per pack | the numbers of the packs in whose place this one has come |
//! | removed | 8 per record | the identities that the removals among the records name |
//! | footer | 96 | |
//!
//! Footer, the last 96 bytes of the file:
//!
//! | offset | bytes | what |
//! | --- | --- | --- |
//! | 0 | 8 | magic, `RKFOOTER` |
//! | 8 | 8 | number of records |
//! | 16 | 8 | offset at which the records end |
//! | 24 | 8 | number of packs replaced |
//! | 32 | 8 | number of identities removed |
//! | 40 | 8 | XXH3 of the parts replaced and removed |
//! | 48 | 32 | BLAKE3 of everything before the footer |
//! | 80 | 8 | zero |
//! | 88 | 8 | XXH3 of bytes 0 to 88 of the footer |
//!
//! Opening a pack reads header, footer, replaced and removed, and nothing that grows with the number of
//! records. The BLAKE3 is for `verify`.

use super::index::{self, Bucket, IndexEntry};
use super::source::Source;
use crate::digest::checksum;
use rkyv::util::AlignedVec;
use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, LittleEndian, U32, U64, Unaligned};

/// The version of this layout. Files of another version lie in a folder of their own.
pub(crate) const FORMAT_VERSION: u32 = 3;

/// Bytes of the footer.
pub(super) const FOOTER: usize = size_of::<Footer>();

/// The index starts at a multiple of this: a cache line.
const INDEX_ALIGNMENT: usize = 64;

/// Where the first record starts.
pub(super) const RECORDS_START: usize = size_of::<FileHeader>();

const FILE_MAGIC: [u8; 8] = *b"REKINDLE";
const FOOTER_MAGIC: [u8; 8] = *b"RKFOOTER";

/// Orders packs: of two, the one with the larger stamp is the newer, and of equal stamps the one whose
/// name is the larger.
///
/// A stamp is the time in nanoseconds since 1970 at which the segment was begun, or one more than the
/// largest stamp that its process knew of, whichever is larger. A clock that is set back therefore
/// changes nothing for packs that knew of each other; otherwise an older record may be shown before a
/// newer one, and as each record is judged by its own dependencies, that costs time and no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Stamp(pub(super) u64);

impl Stamp {
    /// The stamp of a segment that is begun at `now`, where `newest` is the largest stamp known.
    pub(super) fn after(newest: Self, now: SystemTime) -> Self {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let clock = u64::try_from(since.as_nanos()).unwrap_or(0);
        Self(clock.max(newest.0.saturating_add(1)))
    }
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct FileHeader {
    magic: [u8; 8],
    version: U32<LittleEndian>,
    version_check: U32<LittleEndian>,
    stamp: U64<LittleEndian>,
    checksum: U64<LittleEndian>,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Footer {
    magic: [u8; 8],
    records: U64<LittleEndian>,
    records_end: U64<LittleEndian>,
    replaced: U64<LittleEndian>,
    removed: U64<LittleEndian>,
    lists_checksum: U64<LittleEndian>,
    digest: [u8; 32],
    zero: [u8; 8],
    checksum: U64<LittleEndian>,
}

/// What comes after the records of a pack.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tail {
    /// Where the records are.
    pub(super) records: Range<usize>,
    /// Their number.
    pub(super) count: u64,
    pub(super) index: Range<usize>,
    /// The numbers of the packs in whose place this one has come.
    pub(super) replaced: Vec<u64>,
    /// The identities of records that are not to be found any more.
    pub(super) removed: Vec<u64>,
    /// BLAKE3 of everything before the footer.
    pub(super) digest: [u8; 32],
}

/// Whose file it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Ours(Stamp),
    OtherVersion(u32),
}

/// The header of a file with `stamp`.
pub(super) fn file_header(stamp: Stamp) -> [u8; RECORDS_START] {
    let mut header = FileHeader {
        magic: FILE_MAGIC,
        version: U32::new(FORMAT_VERSION),
        version_check: U32::new(0),
        stamp: U64::new(stamp.0),
        checksum: U64::new(0),
    };
    header.version_check = U32::new(version_check(&header));
    header.checksum = U64::new(header_checksum(&header));
    zerocopy::transmute!(header)
}

/// Reads the header at the start of `file`.
///
/// # Errors
/// What is wrong.
pub(super) fn read_file_header(file: &[u8]) -> Result<Origin, &'static str> {
    let (header, _) =
        FileHeader::read_from_prefix(file).map_err(|_| "the file header is cut off")?;
    if header.magic != FILE_MAGIC {
        return Err("the file header is not one of Rekindle's");
    }
    if header.version_check.get() != version_check(&header) {
        return Err("the checksum of the version is wrong");
    }
    if header.version.get() != FORMAT_VERSION {
        return Ok(Origin::OtherVersion(header.version.get()));
    }
    if header.checksum.get() != header_checksum(&header) {
        return Err("the checksum of the file header is wrong");
    }
    Ok(Origin::Ours(Stamp(header.stamp.get())))
}

fn version_check(header: &FileHeader) -> u32 {
    let covered = header.as_bytes().get(..12).unwrap_or_default();
    (checksum(covered) & u64::from(u32::MAX)) as u32
}

fn header_checksum(header: &FileHeader) -> u64 {
    checksum(header.as_bytes().get(..24).unwrap_or_default())
}

/// What a pack says of other packs.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lists<'a> {
    /// The numbers of the packs in whose place this one has come.
    pub(super) replaced: &'a [u64],
    /// The identities of records that are not to be found any more.
    pub(super) removed: &'a [u64],
}

impl Lists<'_> {
    fn bytes(&self) -> Vec<u8> {
        let both = self.replaced.iter().chain(self.removed);
        both.flat_map(|number| number.to_le_bytes()).collect()
    }
}

/// Index and lists of a file whose records end at `records_end`; `None` if it is too large for an index.
pub(super) fn after_records(
    entries: Vec<IndexEntry>,
    lists: &Lists<'_>,
    records_end: u64,
) -> Option<Vec<u8>> {
    let padding = records_end.next_multiple_of(INDEX_ALIGNMENT as u64) - records_end;
    let buckets = index::build(entries)?;
    let mut bytes = vec![0; padding as usize];
    bytes.extend_from_slice(buckets.as_bytes());
    bytes.extend_from_slice(&lists.bytes());
    Some(bytes)
}

/// The footer of such a file, where `digest` is the BLAKE3 of all that comes before it.
pub(super) fn footer(
    records: usize,
    lists: &Lists<'_>,
    records_end: u64,
    digest: [u8; 32],
) -> [u8; FOOTER] {
    let mut footer = Footer {
        magic: FOOTER_MAGIC,
        records: U64::new(records as u64),
        records_end: U64::new(records_end),
        replaced: U64::new(lists.replaced.len() as u64),
        removed: U64::new(lists.removed.len() as u64),
        lists_checksum: U64::new(checksum(&lists.bytes())),
        digest,
        zero: [0; 8],
        checksum: U64::new(0),
    };
    footer.checksum = U64::new(footer_checksum(&footer));
    zerocopy::transmute!(footer)
}

/// Checks the footer of a pack and gives the places that it tells of.
///
/// # Errors
/// What is wrong.
pub(super) fn read_tail(file: &Source) -> Result<Tail, &'static str> {
    let mut scratch = AlignedVec::new();
    let end = file
        .len()
        .checked_sub(FOOTER)
        .ok_or("the footer is cut off")?;
    let footer = Footer::read_from_bytes(file.part(end..file.len(), &mut scratch)?)
        .map_err(|_| "the footer is cut off")?;
    if footer.magic != FOOTER_MAGIC {
        return Err("the footer is missing");
    }
    if footer.checksum.get() != footer_checksum(&footer) {
        return Err("the checksum of the footer is wrong");
    }
    let places = || {
        let count = usize::try_from(footer.records.get()).ok()?;
        let records_end = usize::try_from(footer.records_end.get()).ok()?;
        let index = records_end.checked_next_multiple_of(INDEX_ALIGNMENT)?;
        let buckets = index::bucket_count(count).checked_mul(size_of::<Bucket>())?;
        let replaced = index.checked_add(buckets)?;
        let count = |count: U64<LittleEndian>| usize::try_from(count.get()).ok()?.checked_mul(8);
        let removed = replaced.checked_add(count(footer.replaced)?)?;
        let found_end = removed.checked_add(count(footer.removed)?)?;
        (records_end >= RECORDS_START && found_end == end).then_some((
            RECORDS_START..records_end,
            index..replaced,
            replaced..removed,
        ))
    };
    let (records, index, replaced) =
        places().ok_or("the footer tells of an index that is not there")?;
    let bytes = file.part(replaced.start..end, &mut scratch)?;
    if checksum(bytes) != footer.lists_checksum.get() {
        return Err("the checksum of the lists of replaced packs and removed records is wrong");
    }
    let numbers = <[U64<LittleEndian>]>::ref_from_bytes(bytes).unwrap_or_default();
    let (replaced, removed) = numbers
        .split_at_checked(replaced.len() / 8)
        .unwrap_or_default();
    Ok(Tail {
        records,
        count: footer.records.get(),
        index,
        replaced: replaced.iter().map(|id| id.get()).collect(),
        removed: removed.iter().map(|identity| identity.get()).collect(),
        digest: footer.digest,
    })
}

fn footer_checksum(footer: &Footer) -> u64 {
    checksum(footer.as_bytes().get(..FOOTER - 8).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn every_flip_in_a_file_header_is_an_error() {
        let good = file_header(Stamp(5));
        assert_eq!(read_file_header(&good), Ok(Origin::Ours(Stamp(5))));
        for place in 0..good.len() {
            let mut bad = good;
            bad[place] ^= 1;
            assert!(read_file_header(&bad).is_err(), "byte {place}");
        }
    }

    #[test]
    fn another_version_is_known_whatever_follows_it() {
        let mut other = file_header(Stamp(5));
        other[8] = 7;
        let sum = checksum(&other[..12]).to_le_bytes();
        other[12..16].copy_from_slice(&sum[..4]);
        other[16..].fill(0xee);
        assert_eq!(read_file_header(&other), Ok(Origin::OtherVersion(7)));
    }

    #[test]
    fn every_flip_in_what_is_read_when_opening_is_an_error() {
        let mut good = file_header(Stamp(5)).to_vec();
        let entries = [IndexEntry::new(1, 32), IndexEntry::new(2, 32)];
        let lists = Lists {
            replaced: &[7, 8],
            removed: &[5],
        };
        good.extend(after_records(entries.to_vec(), &lists, 32).expect("small"));
        let index_end = good.len() - 24;
        good.extend(footer(2, &lists, 32, [9; 32]));
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let read = |bytes: &[u8]| {
            use super::super::io::{Disk, Io};
            use std::sync::Arc;
            std::fs::write(&path, bytes).expect("written");
            let file = std::fs::File::open(&path).expect("opens");
            let io: Arc<dyn Io> = Arc::new(Disk);
            read_tail(&Source::new(&io, file, &path).expect("mapped"))
        };
        let tail = read(&good).expect("intact");
        assert_eq!((tail.records, tail.count), (32..32, 2));
        assert_eq!(tail.index, 64..128);
        assert_eq!((tail.replaced, tail.removed), (vec![7, 8], vec![5]));
        assert_eq!(tail.digest, [9; 32]);
        for place in index_end..good.len() {
            let mut bad = good.clone();
            bad[place] ^= 1;
            assert!(read(&bad).is_err(), "byte {place}");
        }
    }

    #[test]
    fn stamps_grow_when_the_clock_goes_back() {
        let now = UNIX_EPOCH + Duration::from_secs(100);
        let first = Stamp::after(Stamp::default(), now);
        let second = Stamp::after(first, now - Duration::from_secs(50));
        assert!(second > first);
        assert_eq!(Stamp::after(Stamp(u64::MAX), now), Stamp(u64::MAX));
    }
}
