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
//! Index: for each record 16 bytes, sorted by the first 8 of them, see [`IndexEntry`]. Footer, the
//! last 40 bytes of the file:
//!
//! | offset | bytes | what |
//! | --- | --- | --- |
//! | 0 | 8 | magic, `RKFOOTER` |
//! | 8 | 8 | number of index entries |
//! | 16 | 8 | offset of the index, which is where the records end |
//! | 24 | 8 | XXH3 of the index |
//! | 32 | 8 | XXH3 of bytes 0 to 32 of the footer |

use super::index::IndexEntry;
use crate::digest::checksum;
use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, LittleEndian, U32, U64, Unaligned};

/// The version of this layout. Files of another version lie in a folder of their own.
pub(crate) const FORMAT_VERSION: u32 = 1;

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
    entries: U64<LittleEndian>,
    index_offset: U64<LittleEndian>,
    index_checksum: U64<LittleEndian>,
    checksum: U64<LittleEndian>,
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

/// Index and footer of a file whose records end at `index_offset`, for `entries` in index order.
pub(super) fn index_and_footer(entries: &[IndexEntry], index_offset: u64) -> Vec<u8> {
    let index = entries.as_bytes();
    let mut footer = Footer {
        magic: FOOTER_MAGIC,
        entries: U64::new(entries.len() as u64),
        index_offset: U64::new(index_offset),
        index_checksum: U64::new(checksum(index)),
        checksum: U64::new(0),
    };
    footer.checksum = U64::new(footer_checksum(&footer));
    let mut bytes = Vec::with_capacity(index.len() + size_of::<Footer>());
    bytes.extend_from_slice(index);
    bytes.extend_from_slice(footer.as_bytes());
    bytes
}

/// Checks the footer of `file` and the index it tells of, and gives the place of the index.
///
/// # Errors
/// What is wrong.
pub(super) fn read_footer(file: &[u8]) -> Result<Range<usize>, &'static str> {
    let (body, footer) = Footer::read_from_suffix(file).map_err(|_| "the footer is cut off")?;
    if footer.magic != FOOTER_MAGIC {
        return Err("the footer is missing");
    }
    if footer.checksum.get() != footer_checksum(&footer) {
        return Err("the checksum of the footer is wrong");
    }
    let place = || {
        let start = usize::try_from(footer.index_offset.get()).ok()?;
        let entries = usize::try_from(footer.entries.get()).ok()?;
        let end = start.checked_add(entries.checked_mul(size_of::<IndexEntry>())?)?;
        (start >= RECORDS_START && end == body.len()).then_some(start..end)
    };
    let place = place().ok_or("the footer tells of an index that is not there")?;
    match body.get(place.clone()).map(checksum) {
        Some(sum) if sum == footer.index_checksum.get() => Ok(place),
        _ => Err("the checksum of the index is wrong"),
    }
}

fn footer_checksum(footer: &Footer) -> u64 {
    checksum(footer.as_bytes().get(..32).unwrap_or_default())
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
        other[8] = 2;
        let sum = checksum(&other[..12]).to_le_bytes();
        other[12..16].copy_from_slice(&sum[..4]);
        other[16..].fill(0xee);
        assert_eq!(read_file_header(&other), Ok(Origin::OtherVersion(2)));
    }

    #[test]
    fn every_flip_in_index_or_footer_is_an_error() {
        let mut good = file_header(Stamp(5)).to_vec();
        let entries = [IndexEntry::new(1, 32), IndexEntry::new(2, 32)];
        good.extend(index_and_footer(&entries, 32));
        assert_eq!(read_footer(&good), Ok(32..64));
        for place in 32..good.len() {
            let mut bad = good.clone();
            bad[place] ^= 1;
            assert!(read_footer(&bad).is_err(), "byte {place}");
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
