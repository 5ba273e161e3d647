//! The index of a pack: where the records of a key are.
//!
//! It is a hash table without a hash: keys are digests, so the first eight bytes of one, as a big-endian
//! number p, are spread evenly. Of b buckets, the home of a key is bucket p * b / 2^64. A bucket is a cache
//! line, so a look-up reads one line of the index and then the record:
//!
//! | offset | bytes | what |
//! | --- | --- | --- |
//! | 0 | 8 | XXH3 of the slots, with the number of the bucket as the seed |
//! | 8 | 56 | seven slots of 8 bytes, those in use first |
//!
//! | offset in a slot | bytes | what |
//! | --- | --- | --- |
//! | 0 | 4 | the low half of p |
//! | 4 | 4 | a sixteenth of the record's offset; 0 if the slot is not in use |
//!
//! What finds no room in its home is in the next bucket that has some, around the end to the first. So a
//! look-up goes on while buckets are full. Of one key, newer records come before older ones. With n records
//! there are n / 3 buckets, rounded up: 21.3 bytes for each record, and about three buckets in a hundred
//! are full.
//!
//! The checksum of a bucket is taken, on a copy, each time that the bucket is used. It costs less than
//! fetching the bucket, nothing has to be remembered in memory, and what changes later is seen too.

use twox_hash::XxHash3_64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, LittleEndian, U32, U64, Unaligned};

/// Records for each bucket, on average.
const PER_BUCKET: usize = 3;

/// Slots of a bucket.
const SLOTS: usize = 7;

/// Offsets are counted in this many bytes.
const UNIT: u64 = 16;

/// A pack whose records end beyond this cannot be indexed: 64 GiB.
pub(super) const MOST_BYTES: u64 = UNIT << u32::BITS;

/// Where one record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct IndexEntry {
    /// The first eight bytes of the record's key.
    pub(super) prefix: u64,
    pub(super) offset: u64,
}

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Slot {
    low: U32<LittleEndian>,
    place: U32<LittleEndian>,
}

/// A bucket, in memory of this process.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Bucket {
    checksum: U64<LittleEndian>,
    slots: [Slot; SLOTS],
}

impl IndexEntry {
    pub(super) fn new(prefix: u64, offset: u64) -> Self {
        Self { prefix, offset }
    }
}

impl Bucket {
    /// The copy of a bucket, if it is what was written for bucket `number`.
    pub(super) fn check(bytes: &[u8], number: usize) -> Option<Self> {
        let bucket = Self::read_from_bytes(bytes).ok()?;
        (bucket.checksum.get() == bucket.sum(number)).then_some(bucket)
    }

    fn sum(&self, number: usize) -> u64 {
        XxHash3_64::oneshot_with_seed(number as u64, self.slots.as_bytes())
    }

    /// The offsets of records whose keys may start with `prefix`, newest first.
    pub(super) fn places_of(&self, prefix: u64) -> impl Iterator<Item = usize> + use<'_> {
        self.places()
            .filter(move |(low, _)| *low == low_half(prefix))
            .map(|(_, offset)| offset)
    }

    /// The low half of the prefix of each record, and its offset.
    pub(super) fn places(&self) -> impl Iterator<Item = (u32, usize)> + use<'_> {
        self.slots
            .iter()
            .take_while(|slot| slot.place.get() != 0)
            .map(|slot| {
                let offset = u64::from(slot.place.get()) * UNIT;
                let offset = usize::try_from(offset).unwrap_or(usize::MAX);
                (slot.low.get(), offset)
            })
    }

    /// Whether what has its home here may be in the next bucket.
    pub(super) fn is_full(&self) -> bool {
        self.slots.last().is_some_and(|slot| slot.place.get() != 0)
    }
}

/// The half of a prefix that a slot holds.
pub(super) fn low_half(prefix: u64) -> u32 {
    (prefix & u64::from(u32::MAX)) as u32
}

/// The number of buckets of an index of `records` records.
pub(super) fn bucket_count(records: usize) -> usize {
    records.div_ceil(PER_BUCKET)
}

/// The home of `prefix` among `buckets`.
pub(super) fn home(prefix: u64, buckets: usize) -> usize {
    // Below `buckets`, so it fits.
    ((u128::from(prefix) * buckets as u128) >> 64) as usize
}

/// The buckets of `entries`, or `None` if one of them is not at a multiple of 16 below 64 GiB.
pub(super) fn build(mut entries: Vec<IndexEntry>) -> Option<Vec<Bucket>> {
    // Of one key the newest first, which is the one that lies last in the file.
    entries.sort_unstable_by_key(|entry| (entry.prefix, std::cmp::Reverse(entry.offset)));
    let none = Slot {
        low: U32::new(0),
        place: U32::new(0),
    };
    let empty = Bucket {
        checksum: U64::new(0),
        slots: [none; SLOTS],
    };
    let mut buckets = vec![empty; bucket_count(entries.len())];
    let count = buckets.len();
    for entry in &entries {
        let place = entry.offset.checked_div(UNIT)?;
        let place = u32::try_from(place).ok()?;
        if place == 0 || entry.offset % UNIT != 0 {
            return None;
        }
        let slot = Slot {
            low: U32::new(low_half(entry.prefix)),
            place: U32::new(place),
        };
        // There are more than twice as many slots as entries, so this ends.
        let mut number = home(entry.prefix, count);
        loop {
            let free = buckets
                .get_mut(number)?
                .slots
                .iter_mut()
                .find(|slot| slot.place.get() == 0);
            if let Some(free) = free {
                *free = slot;
                break;
            }
            number = (number + 1) % count;
        }
    }
    for (number, bucket) in buckets.iter_mut().enumerate() {
        bucket.checksum = U64::new(bucket.sum(number));
    }
    Some(buckets)
}

/// The entries of `prefix` among `entries`, which are sorted, newest first.
pub(super) fn search(
    entries: &[IndexEntry],
    prefix: u64,
) -> impl Iterator<Item = &IndexEntry> + use<'_> {
    let first = entries.partition_point(|entry| entry.prefix < prefix);
    let end = entries.partition_point(|entry| entry.prefix <= prefix);
    entries.get(first..end).unwrap_or_default().iter().rev()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prefixes() -> impl Strategy<Value = Vec<u64>> {
        let prefix = prop_oneof![any::<u64>(), 0u64..4, (u64::MAX - 3)..=u64::MAX];
        prop::collection::vec(prefix, 0..200)
    }

    fn entries(prefixes: &[u64]) -> Vec<IndexEntry> {
        (2u64..)
            .zip(prefixes)
            .map(|(place, prefix)| IndexEntry::new(*prefix, place * 16))
            .collect()
    }

    /// What a look-up does with a whole index.
    fn look_up(buckets: &[Bucket], prefix: u64) -> Vec<usize> {
        let mut found = Vec::new();
        for step in 0..buckets.len() {
            let number = (home(prefix, buckets.len()) + step) % buckets.len();
            let bucket = Bucket::check(buckets[number].as_bytes(), number).expect("intact");
            found.extend(bucket.places_of(prefix));
            if !bucket.is_full() {
                break;
            }
        }
        found
    }

    proptest! {
        #[test]
        fn finds_all_of_the_key_newest_first(prefixes in prefixes(), other in any::<u64>()) {
            let mut entries = entries(&prefixes);
            let buckets = build(entries.clone()).expect("small");
            entries.sort_unstable();
            for wanted in prefixes.iter().copied().chain([other, 0, u64::MAX]) {
                let expected: Vec<_> = (0..prefixes.len())
                    .rev()
                    .filter(|place| prefixes[*place] == wanted)
                    .map(|place| (place + 2) * 16)
                    .collect();
                // Others with the same low half may be among them: their records tell them apart.
                let found: Vec<_> = look_up(&buckets, wanted)
                    .into_iter()
                    .filter(|offset| prefixes[offset / 16 - 2] == wanted)
                    .collect();
                prop_assert_eq!(&found, &expected);
                let searched: Vec<_> = search(&entries, wanted)
                    .map(|entry| entry.offset as usize)
                    .collect();
                prop_assert_eq!(searched, expected);
            }
        }
    }

    #[test]
    fn an_index_is_small_and_seldom_full() {
        let prefixes: Vec<_> = (0..30_000u64)
            .map(|n| crate::Digest::of("test", &n.to_le_bytes()).prefix())
            .collect();
        let buckets = build(entries(&prefixes)).expect("small");
        assert!(size_of_val(&buckets[..]) <= 24 * prefixes.len());
        let full = buckets.iter().filter(|bucket| bucket.is_full()).count();
        assert!(full * 20 < buckets.len(), "{full} of {}", buckets.len());
    }

    #[test]
    fn offsets_that_no_slot_can_hold_are_refused() {
        for bad in [0, 24, MOST_BYTES] {
            assert!(build(vec![IndexEntry::new(1, bad)]).is_none(), "{bad}");
        }
        assert!(build(vec![IndexEntry::new(1, MOST_BYTES - 16)]).is_some());
        assert!(build(Vec::new()).expect("nothing").is_empty());
    }

    #[test]
    fn every_flip_in_a_bucket_is_seen_and_so_is_another_bucket() {
        let good = build(entries(&[1, 2])).expect("small");
        assert!(Bucket::check(good[0].as_bytes(), 0).is_some());
        assert!(Bucket::check(good[0].as_bytes(), 1).is_none());
        for place in 0..64 {
            let mut bytes = good[0].as_bytes().to_vec();
            bytes[place] ^= 4;
            assert!(Bucket::check(&bytes, 0).is_none(), "{place}");
        }
    }
}
