//! Which records were used when, and how often: what eviction goes by.
//!
//! A use costs a few memory accesses and no lock. The first records that a process uses have places in a table of one
//! page: a process that uses few has no other pages to wait for. The others are noted in a table of fixed size, in
//! which two keys may push each other out. Its slots are used in no order, so that all of its pages are made present
//! when it is made. Both are appended to the file `uses` when the store is flushed, in one
//! write, without syncing it. So uses may be lost, and nothing hangs on them but the order of eviction.
//!
//! The file is a sequence of batches. Numbers are little-endian.
//!
//! | offset | bytes | what |
//! | --- | --- | --- |
//! | 0 | 8 | magic, `RKUSES01` |
//! | 8 | 8 | N, the number of entries |
//! | 16 | 8 | XXH3 of the entries |
//! | 24 | 16 N | entries |
//!
//! An entry is the first eight bytes of the key as a number, the time of the last use in seconds since
//! 1970 (4 bytes), and the number of uses (4 bytes). What comes after a damaged batch is not read.

use super::StoreError;
use super::files::{self, MERGING};
use super::io::{self, Io};
use crate::digest::checksum;
use crate::folder::fault;
use crate::pages::make_present;
use rustc_hash::FxHashMap;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use zerocopy::{
    FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, LittleEndian, U32, U64, Unaligned,
};

/// The file's name in the store's folder.
const NAME: &str = "uses";

const MAGIC: [u8; 8] = *b"RKUSES01";

/// Bits of a key that choose its slot; the others are in the slot.
const SLOT_BITS: u32 = 16;

/// Bits of a slot that count.
const COUNT_BITS: u32 = 16;

/// Records that have a place of their own, and the places in which one of them may be.
const FIRST: usize = 256;
const NEAR: usize = 8;

/// A file of this size is made small before anything is appended to it.
pub(super) const LARGE: u64 = 4 << 20;

/// Uses by this process since they were last written.
pub(super) struct Uses {
    first: Box<[First; FIRST]>,
    /// Made when a record is used that has no place among the first.
    slots: OnceLock<Box<[AtomicU64]>>,
    any: AtomicBool,
}

/// A record that has its place for the life of the process.
#[derive(Default)]
struct First {
    /// 0 if there is none.
    prefix: AtomicU64,
    hits: AtomicU64,
}

/// What is known of the use of a record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Use {
    /// Seconds since 1970.
    pub(super) last: u64,
    pub(super) hits: u64,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    magic: [u8; 8],
    entries: U64<LittleEndian>,
    checksum: U64<LittleEndian>,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Entry {
    prefix: U64<LittleEndian>,
    last: U32<LittleEndian>,
    hits: U32<LittleEndian>,
}

impl Uses {
    pub(super) fn new() -> Self {
        Self {
            first: Box::new(std::array::from_fn(|_| First::default())),
            slots: OnceLock::new(),
            any: AtomicBool::new(false),
        }
    }

    /// Notes a use of the record whose key starts with `prefix`.
    #[inline]
    pub(super) fn note(&self, prefix: u64) {
        match self.place(prefix) {
            // Two threads may write over each other: a use is lost.
            Some(place) => {
                let hits = place.hits.load(Ordering::Relaxed);
                // With its prefix, for who writes it down.
                place.hits.store(hits + 1, Ordering::Release);
            }
            None => self.note_among_many(prefix),
        }
        if !self.any.load(Ordering::Relaxed) {
            self.any.store(true, Ordering::Relaxed);
        }
    }

    /// The place of a record among the first, if it has one or can still have one.
    fn place(&self, prefix: u64) -> Option<&First> {
        let begin = prefix as usize % FIRST;
        let (behind, from) = self.first.split_at(begin);
        let mut near = from.iter().chain(behind).take(NEAR);
        near.find(|place| {
            let mut taken = place.prefix.load(Ordering::Relaxed);
            if taken == 0 && prefix != 0 {
                let exchanged = (place.prefix).compare_exchange(
                    0,
                    prefix,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                );
                taken = exchanged.err().unwrap_or(prefix);
            }
            taken == prefix && prefix != 0
        })
    }

    #[cold]
    fn note_among_many(&self, prefix: u64) {
        let place = (prefix >> (u64::BITS - SLOT_BITS)) as usize;
        let slots = self.slots.get_or_init(|| {
            let slots = <[AtomicU64]>::new_box_zeroed_with_elems(1 << SLOT_BITS);
            let slots = slots.unwrap_or_default();
            // Who uses so many records uses more.
            make_present(&slots);
            slots
        });
        let Some(slot) = slots.get(place) else {
            return;
        };
        let tag = prefix << COUNT_BITS;
        let seen = slot.load(Ordering::Relaxed);
        let count = seen & ((1 << COUNT_BITS) - 1);
        let is_same = seen & !((1 << COUNT_BITS) - 1) == tag && count > 0;
        let count = if is_same { count + 1 } else { 1 };
        slot.store(tag | count.min((1 << COUNT_BITS) - 1), Ordering::Relaxed);
    }

    /// What was noted since this was last called.
    fn take(&self) -> Vec<(u64, u64)> {
        if !self.any.swap(false, Ordering::Relaxed) {
            return Vec::new();
        }
        let first = self.first.iter().filter_map(|place| {
            let hits = place.hits.swap(0, Ordering::Acquire);
            (hits != 0).then(|| (place.prefix.load(Ordering::Relaxed), hits))
        });
        let many = (0u64..)
            .zip(self.slots.get().into_iter().flatten())
            .filter(|(_, slot)| slot.load(Ordering::Relaxed) != 0)
            .map(|(place, slot)| {
                let seen = slot.swap(0, Ordering::Relaxed);
                let prefix = place << (u64::BITS - SLOT_BITS) | seen >> COUNT_BITS;
                (prefix, seen & ((1 << COUNT_BITS) - 1))
            });
        first.chain(many).collect()
    }

    /// Appends what was noted to the folder's file. What cannot be written is forgotten.
    pub(super) fn write(&self, io: &dyn Io, folder: &Path) {
        let noted = self.take();
        if noted.is_empty() {
            return;
        }
        let path = folder.join(NAME);
        if io.status(&path).is_ok_and(|status| status.len() >= LARGE) {
            return;
        }
        let last = seconds(io.now());
        let noted = noted
            .into_iter()
            .map(|(prefix, hits)| (prefix, Use { last, hits }));
        if let Err(error) = io.append(&path, &batch(noted)) {
            tracing::debug!(file = %path.display(), %error, "uses are not noted");
        }
    }
}

/// Seconds since 1970.
pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn batch(uses: impl Iterator<Item = (u64, Use)>) -> Vec<u8> {
    let saturated = |number: u64| U32::new(u32::try_from(number).unwrap_or(u32::MAX));
    let entries: Vec<_> = uses
        .map(|(prefix, used)| Entry {
            prefix: U64::new(prefix),
            last: saturated(used.last),
            hits: saturated(used.hits),
        })
        .collect();
    let header = Header {
        magic: MAGIC,
        entries: U64::new(entries.len() as u64),
        checksum: U64::new(checksum(entries.as_bytes())),
    };
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(entries.as_bytes());
    bytes
}

/// What is known of the use of records, by the first eight bytes of their keys.
pub(super) fn read(io: &dyn Io, folder: &Path) -> FxHashMap<u64, Use> {
    let path = folder.join(NAME);
    let bytes = match files::open(io, &path, false) {
        Ok(Some(file)) => {
            let length = file.metadata().map_or(0, |metadata| metadata.len());
            let mut bytes = vec![0; usize::try_from(length.min(16 * LARGE)).unwrap_or(0)];
            let read = io::read_full_at(io, &file, &path, &mut bytes, 0).unwrap_or(0);
            bytes.truncate(read);
            bytes
        }
        Ok(None) => Vec::new(),
        Err(error) => {
            tracing::debug!(%error, "uses cannot be read");
            Vec::new()
        }
    };
    parse(&bytes)
}

fn parse(mut bytes: &[u8]) -> FxHashMap<u64, Use> {
    let mut uses: FxHashMap<u64, Use> = FxHashMap::default();
    while let Ok((header, rest)) = Header::ref_from_prefix(bytes) {
        let count = usize::try_from(header.entries.get()).unwrap_or(usize::MAX);
        let Ok((entries, rest)) = <[Entry]>::ref_from_prefix_with_elems(rest, count) else {
            break;
        };
        if header.magic != MAGIC || header.checksum.get() != checksum(entries.as_bytes()) {
            break;
        }
        for entry in entries {
            let known = uses.entry(entry.prefix.get()).or_default();
            known.last = known.last.max(u64::from(entry.last.get()));
            known.hits += u64::from(entry.hits.get());
        }
        bytes = rest;
    }
    uses
}

/// Writes `uses` in the place of the folder's file.
pub(super) fn replace(
    io: &dyn Io,
    folder: &Path,
    uses: &FxHashMap<u64, Use>,
) -> Result<(), StoreError> {
    let (file, path) = files::create_locked(io, folder, MERGING)?;
    let bytes = batch(uses.iter().map(|(prefix, used)| (*prefix, *used)));
    let replaced = io::write_all_at(io, &file, &path, &bytes, 0)
        .and_then(|()| io.rename(&path, &folder.join(NAME)));
    replaced.map_err(|error| {
        let _ = io.remove(&path);
        fault("write", &path)(error)
    })
}

/// The size of the folder's file.
pub(super) fn bytes(io: &dyn Io, folder: &Path) -> u64 {
    io.status(&folder.join(NAME))
        .map_or(0, |status| status.len())
}

#[cfg(test)]
mod tests {
    use super::super::io::Disk;
    use super::*;

    #[test]
    fn uses_add_up_over_batches() {
        let folder = tempfile::tempdir().expect("a folder");
        let uses = Uses::new();
        let prefixes = [0, 1 << 48, 0xfedc_ba98_7654_3210, u64::MAX];
        for round in 1..=2 {
            for prefix in prefixes {
                uses.note(prefix);
                uses.note(prefix);
            }
            uses.write(&Disk, folder.path());
            let known = read(&Disk, folder.path());
            assert_eq!(known.len(), prefixes.len());
            for prefix in prefixes {
                assert_eq!(known[&prefix].hits, 2 * round);
                assert!(known[&prefix].last > 0);
            }
        }
        let before = bytes(&Disk, folder.path());
        uses.write(&Disk, folder.path());
        assert_eq!(bytes(&Disk, folder.path()), before, "nothing was noted");
        let known = read(&Disk, folder.path());
        replace(&Disk, folder.path(), &known).expect("written");
        assert!(bytes(&Disk, folder.path()) < before);
        assert_eq!(read(&Disk, folder.path()), known);
    }

    #[test]
    fn records_without_a_place_of_their_own_are_noted_as_well() {
        let folder = tempfile::tempdir().expect("a folder");
        let uses = Uses::new();
        // Of these the first alone have one, as they begin at the same place.
        let near = (1..=20).map(|number| number << 48 | 5);
        let apart = (0..1000).map(|number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let prefixes: Vec<u64> = near.chain(apart).collect();
        for round in 1..=2 {
            for &prefix in &prefixes {
                uses.note(prefix);
            }
            uses.write(&Disk, folder.path());
            let known = read(&Disk, folder.path());
            let kept = prefixes
                .iter()
                .filter(|prefix| known.get(prefix).is_some_and(|known| known.hits == round));
            // One or another may have pushed one out.
            assert!(kept.count() > prefixes.len() * 9 / 10);
        }
        let taken = |place: &First| place.prefix.load(Ordering::Relaxed) != 0;
        assert!(uses.first.iter().filter(|place| taken(place)).count() > FIRST / 2);
    }

    #[test]
    fn what_comes_after_damage_is_lost_and_nothing_else() {
        let used = Use { last: 7, hits: 3 };
        let first = batch([(1, used)].into_iter());
        let both = [first.clone(), batch([(2, used)].into_iter())].concat();
        assert_eq!(parse(&both).len(), 2);
        for place in 0..both.len() {
            let mut bad = both.clone();
            bad[place] ^= 1;
            let known = parse(&bad);
            assert_eq!(known.contains_key(&1), place >= first.len(), "{place}");
            assert_eq!(known.get(&2), None, "{place}");
            assert!(parse(&both[..place]).len() < 2);
        }
    }
}
