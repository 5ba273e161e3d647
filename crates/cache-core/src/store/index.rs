//! The index of a pack: where the records of a key are.
//!
//! Entries are sorted by the first eight bytes of the key, big-endian, and of equal ones the one that
//! lies later in the file comes first, because it is the newer. Keys are digests, so entries are spread
//! evenly and a search starts near its end: it guesses the place, and widens from there.

use super::record::Checked;
use crate::key::FormKey;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, LittleEndian, U64, Unaligned};

/// How far from the guess a search looks first: two cache lines.
const FIRST_STEP: usize = 8;

/// Where one record is: 16 bytes of a pack.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
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

    pub(super) fn of(record: &Checked<'_>, offset: usize) -> Self {
        Self::new(record.key.0.prefix(), offset as u64)
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

/// Brings entries into the order in which they are searched.
pub(super) fn sort(entries: &mut [IndexEntry]) {
    entries.sort_unstable_by_key(|entry| (entry.prefix(), std::cmp::Reverse(entry.offset.get())));
}

/// The entries that may be of `key`, newest first.
///
/// Entries that are out of order make it miss some, and nothing worse.
pub(super) fn search<'a>(
    entries: &'a [IndexEntry],
    key: &FormKey,
) -> impl Iterator<Item = &'a IndexEntry> + use<'a> {
    let prefix = key.0.prefix();
    entries
        .get(first_not_below(entries, prefix)..)
        .unwrap_or_default()
        .iter()
        .take_while(move |entry| entry.prefix() == prefix)
}

/// The number of entries whose prefix is below `prefix`.
fn first_not_below(entries: &[IndexEntry], prefix: u64) -> usize {
    let is_below = |place: usize| {
        entries
            .get(place)
            .is_some_and(|entry| entry.prefix() < prefix)
    };
    let count = entries.len();
    // Below `count`, so it fits.
    let guess = ((u128::from(prefix) * count as u128) >> 64) as usize;

    // The answer lies in `low..=high` throughout.
    let (mut low, mut high) = (0, count);
    let mut step = FIRST_STEP;
    if is_below(guess) {
        low = guess + 1;
        while let Some(probe) = low.checked_add(step).filter(|probe| *probe < count) {
            if !is_below(probe) {
                high = probe;
                break;
            }
            low = probe + 1;
            step *= 2;
        }
    } else {
        high = guess;
        while let Some(probe) = high.checked_sub(step) {
            if is_below(probe) {
                low = probe + 1;
                break;
            }
            high = probe;
            step *= 2;
        }
    }
    let bracket = entries.get(low..high).unwrap_or_default();
    low + bracket.partition_point(|entry| entry.prefix() < prefix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use proptest::prelude::*;

    fn key(prefix: u64) -> FormKey {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&prefix.to_be_bytes());
        FormKey(Digest(bytes))
    }

    fn prefixes() -> impl Strategy<Value = Vec<u64>> {
        let prefix = prop_oneof![any::<u64>(), 0u64..4, (u64::MAX - 3)..=u64::MAX];
        prop::collection::vec(prefix, 0..200)
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
                let found: Vec<_> = search(&entries, &key(wanted)).map(IndexEntry::offset).collect();
                let expected: Vec<_> = (0..prefixes.len())
                    .rev()
                    .filter(|place| prefixes[*place] == wanted)
                    .collect();
                prop_assert_eq!(found, expected);
            }
        }

        #[test]
        fn entries_in_disorder_do_no_harm(prefixes in prefixes(), wanted in any::<u64>()) {
            let entries: Vec<_> = prefixes.iter().map(|prefix| IndexEntry::new(*prefix, 0)).collect();
            for entry in search(&entries, &key(wanted)) {
                prop_assert_eq!(entry.prefix(), wanted);
            }
        }
    }
}
