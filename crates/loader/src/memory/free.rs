//! Address ranges that hold nothing any more, joined with their neighbours and found by size.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Ranges of addresses.
#[derive(Default)]
pub(super) struct FreeRanges {
    end_of: BTreeMap<usize, usize>,
    by_size: BTreeSet<(usize, usize)>,
    bytes: usize,
}

impl FreeRanges {
    pub(super) fn is_empty(&self) -> bool {
        self.end_of.is_empty()
    }

    /// Bytes in all ranges.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a range, which none of them overlaps.
    pub(super) fn insert(&mut self, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        let Range { mut start, mut end } = range;
        let before = self.end_of.range(..start).next_back();
        if let Some((&other, &other_end)) = before
            && other_end == start
        {
            self.forget(other, other_end);
            start = other;
        }
        if let Some(&other_end) = self.end_of.get(&end) {
            self.forget(end, other_end);
            end = other_end;
        }
        self.end_of.insert(start, end);
        self.by_size.insert((end - start, start));
        self.bytes += end - start;
    }

    /// Takes `size` bytes, of the smallest range that has as many at a multiple of `alignment`.
    pub(super) fn take(&mut self, size: usize, alignment: usize) -> Option<Range<usize>> {
        let at_least = self.by_size.range((size, 0)..);
        // The second bound is on the work: nearly all ranges will do, but for large alignments.
        let found = at_least.take(64).find_map(|&(length, start)| {
            let aligned = start.checked_next_multiple_of(alignment)?;
            let fits = aligned.checked_add(size)? <= start + length;
            fits.then_some((start..start + length, aligned))
        });
        let (range, aligned) = found?;
        self.forget(range.start, range.end);
        self.insert(range.start..aligned);
        self.insert(aligned + size..range.end);
        Some(aligned..aligned + size)
    }

    /// Takes the range that ends at `end`, if there is one, and returns its start.
    pub(super) fn take_before(&mut self, end: usize) -> Option<usize> {
        let (&start, &found) = self.end_of.range(..end).next_back()?;
        (found == end).then(|| {
            self.forget(start, end);
            start
        })
    }

    fn forget(&mut self, start: usize, end: usize) {
        self.end_of.remove(&start);
        self.by_size.remove(&(end - start, start));
        self.bytes -= end - start;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn neighbours_are_joined_and_remainders_kept() {
        let mut free = FreeRanges::default();
        free.insert(100..200);
        free.insert(300..400);
        assert_eq!(free.take(150, 1), None);
        free.insert(200..300);
        assert_eq!(free.take(150, 64), Some(128..278));
        assert_eq!(free.bytes(), 28 + 122);
        assert_eq!(free.take_before(400), Some(278));
        assert_eq!(free.take_before(400), None);
        assert_eq!(free.take(28, 1), Some(100..128));
        assert!(free.is_empty());
    }

    proptest! {
        #[test]
        fn nothing_is_given_out_twice_or_lost(steps in prop::collection::vec((1..100usize, 0..6u32), 1..200)) {
            let mut free = FreeRanges::default();
            free.insert(0..10_000);
            let mut taken: Vec<Range<usize>> = Vec::new();
            for (size, alignment) in steps {
                if alignment == 5 && !taken.is_empty() {
                    let index = size % taken.len();
                    free.insert(taken.swap_remove(index));
                } else if let Some(range) = free.take(size, 1 << alignment) {
                    prop_assert_eq!(range.len(), size);
                    prop_assert_eq!(range.start % (1 << alignment), 0);
                    prop_assert!(taken.iter().all(|other| other.end <= range.start || range.end <= other.start));
                    taken.push(range);
                }
                let out: usize = taken.iter().map(|range| range.len()).sum();
                prop_assert_eq!(free.bytes() + out, 10_000);
            }
        }
    }
}
