//! The index of a pack: where the records of a key are.
//!
//! Entries are sorted by the first eight bytes of the key, big-endian, and of equal ones the one that
//! lies later in the file comes first, because it is the newer. Keys are digests, so entries are spread
//! evenly: the index is cut into buckets of about four entries by the value of those eight bytes, and a
//! directory says where each bucket starts. A look-up reads one directory entry and one bucket.
//!
//! Directory entry, 16 bytes, one for each bucket:
//!
//! | offset | bytes | what |
//! | --- | --- | --- |
//! | 0 | 4 | number of index entries before the bucket |
//! | 4 | 4 | number of index entries in it |
//! | 8 | 8 | XXH3 of the bucket's index entries, with bytes 0 to 8 of this as the seed |
//!
//! Index entry, 16 bytes: the first eight bytes of the key as a number, and the offset of the record.
//! With n records there are n / 4 buckets, rounded up, and the bucket of a prefix p is p * buckets / 2^64.
//! That is 20 bytes for each record.
//!
//! The checksum of a bucket is taken each time that the bucket is used: four entries are a cache line, and
//! cost less than fetching it; nothing has to be remembered in memory, and what changes later is seen too.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, LittleEndian, U32, U64, Unaligned};

/// Index entries for each bucket, on average.
const PER_BUCKET: usize = 4;

/// Where one record is: 16 bytes of a pack.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub(super) struct IndexEntry {
    prefix: U64<LittleEndian>,
    offset: U64<LittleEndian>,
}

impl IndexEntry {
    pub(super) fn new(prefix: u64, offset: u64) -> Self {
        Self {
            prefix: U64::new(prefix),
            offset: U64::new(offset),
        }
    }

    /// The first eight bytes of the record's key.
    pub(super) fn prefix(&self) -> u64 {
        self.prefix.get()
    }

    /// The offset of the record in the file; unchecked.
    pub(super) fn offset(&self) -> usize {
        usize::try_from(self.offset.get()).unwrap_or(usize::MAX)
    }
}

/// Where one bucket of the index is: 16 bytes of a pack.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Bucket {
    start: U32<LittleEndian>,
    count: U32<LittleEndian>,
    checksum: U64<LittleEndian>,
}

impl Bucket {
    /// The places of its entries in the index; unchecked.
    pub(super) fn entries(&self) -> std::ops::Range<usize> {
        let start = self.start.get() as usize;
        start..start.saturating_add(self.count.get() as usize)
    }

    /// Whether `entries`, the bytes of its entries, are those that were written.
    pub(super) fn is_intact(&self, entries: &[u8]) -> bool {
        self.checksum.get() == bucket_checksum(entries, self.start.get(), self.count.get())
    }
}

fn bucket_checksum(entries: &[u8], start: u32, count: u32) -> u64 {
    let seed = u64::from(start) | u64::from(count) << 32;
    twox_hash::XxHash3_64::oneshot_with_seed(seed, entries)
}

/// The number of buckets of an index of `entries` entries.
pub(super) fn bucket_count(entries: usize) -> usize {
    entries.div_ceil(PER_BUCKET)
}

/// The bucket of `prefix` among `buckets`.
pub(super) fn bucket_of(prefix: u64, buckets: usize) -> usize {
    // Below `buckets`, so it fits.
    ((u128::from(prefix) * buckets as u128) >> 64) as usize
}

/// Brings entries into the order in which they are searched.
pub(super) fn sort(entries: &mut [IndexEntry]) {
    entries.sort_unstable_by_key(|entry| (entry.prefix(), std::cmp::Reverse(entry.offset.get())));
}

/// The directory of `entries`, which are in order.
pub(super) fn directory(entries: &[IndexEntry]) -> Vec<Bucket> {
    let buckets = bucket_count(entries.len());
    let mut rest = entries;
    (0..buckets)
        .map(|bucket| {
            let start = entries.len() - rest.len();
            let count = rest.partition_point(|entry| bucket_of(entry.prefix(), buckets) <= bucket);
            let (inside, after) = rest.split_at(count);
            rest = after;
            // A pack of four thousand million records would be more than 400 GB.
            let (start, count) = (start as u32, count as u32);
            Bucket {
                start: U32::new(start),
                count: U32::new(count),
                checksum: U64::new(bucket_checksum(inside.as_bytes(), start, count)),
            }
        })
        .collect()
}

/// The entries of `prefix` among `entries`, newest first.
///
/// Entries that are out of order make it miss some, and nothing worse.
pub(super) fn search(
    entries: &[IndexEntry],
    prefix: u64,
) -> impl Iterator<Item = &IndexEntry> + use<'_> {
    let first = if entries.len() <= 4 * PER_BUCKET {
        entries
            .iter()
            .position(|entry| entry.prefix() >= prefix)
            .unwrap_or(entries.len())
    } else {
        entries.partition_point(|entry| entry.prefix() < prefix)
    };
    entries
        .get(first..)
        .unwrap_or_default()
        .iter()
        .take_while(move |entry| entry.prefix() == prefix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prefixes() -> impl Strategy<Value = Vec<u64>> {
        let prefix = prop_oneof![any::<u64>(), 0u64..4, (u64::MAX - 3)..=u64::MAX];
        prop::collection::vec(prefix, 0..200)
    }

    /// What a look-up does with a whole index.
    fn look_up(entries: &[IndexEntry], prefix: u64) -> Vec<usize> {
        let directory = directory(entries);
        let Some(bucket) = directory.get(bucket_of(prefix, directory.len())) else {
            return Vec::new();
        };
        let inside = &entries[bucket.entries()];
        assert!(bucket.is_intact(inside.as_bytes()));
        search(inside, prefix).map(IndexEntry::offset).collect()
    }

    proptest! {
        #[test]
        fn finds_all_and_only_those_of_the_key(prefixes in prefixes(), other in any::<u64>()) {
            let mut entries: Vec<_> = (0u64..)
                .zip(&prefixes)
                .map(|(offset, prefix)| IndexEntry::new(*prefix, offset))
                .collect();
            sort(&mut entries);
            for wanted in prefixes.iter().copied().chain([other, 0, u64::MAX]) {
                let expected: Vec<_> = (0..prefixes.len())
                    .rev()
                    .filter(|place| prefixes[*place] == wanted)
                    .collect();
                prop_assert_eq!(look_up(&entries, wanted), expected);
            }
        }

        #[test]
        fn entries_in_disorder_do_no_harm(prefixes in prefixes(), wanted in any::<u64>()) {
            let entries: Vec<_> = prefixes.iter().map(|prefix| IndexEntry::new(*prefix, 0)).collect();
            for entry in search(&entries, wanted) {
                prop_assert_eq!(entry.prefix(), wanted);
            }
        }
    }

    #[test]
    fn an_index_is_small() {
        let mut entries: Vec<_> = (0..10_000u64)
            .map(|n| IndexEntry::new(n.wrapping_mul(0x9e37_79b9_7f4a_7c15), n))
            .collect();
        sort(&mut entries);
        let bytes = size_of_val(&directory(&entries)[..]) + size_of_val(&entries[..]);
        assert!(bytes <= 24 * entries.len());
    }

    #[test]
    fn every_flip_in_bucket_or_directory_is_seen() {
        let entries = [IndexEntry::new(1, 32), IndexEntry::new(2, 64)];
        let good = directory(&entries);
        for place in 0..16 {
            let mut bytes = entries.as_bytes().to_vec();
            bytes[place] ^= 4;
            assert!(!good[0].is_intact(&bytes));
            let mut bytes = good.as_bytes().to_vec();
            bytes[place] ^= 4;
            let bad = Bucket::ref_from_bytes(&bytes).expect("the size of one");
            assert!(!bad.is_intact(entries.as_bytes()));
        }
    }
}
