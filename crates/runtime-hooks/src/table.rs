//! A table that is read without a lock, and without writing anything: from hashes to numbers.
//!
//! Every hit asks what a session has, and all its threads do. A lock would be handed from processor to processor by
//! each of them, even where they ask for different things.
//!
//! # Why that is right
//!
//! A table is a list of words, each zero or an *entry*: 32 bits of a hash, and a number. A word goes from zero to an
//! entry once and stays. Whoever looks for a hash goes through the words from that which the hash says up to a zero.
//! What a number stands for is written before its entry is (released), and read after it (acquired). So a reader
//! finds an entry, or does not because it came later or lies in a newer table. Not finding it decides nothing for who
//! would add it: that one looks again with the lock that all who add take ([`Table::enter`] says so). With it there is
//! one newest table and no other writer. A table that has become too small is filled into a larger one before anybody
//! is told of that, and stays for those who are reading it: all of them together are as large as the newest.

use rekindle_cache_core::pages::make_present;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use zerocopy::FromZeros;

/// Words of the first table; each other one has twice as many as that before it.
const FIRST: usize = 1 << 11;

/// How many tables there may be: for 2^32 entries.
const TABLES: usize = 22;

/// So many eighths of a table are used before there is a larger one.
const FULL: usize = 5;

/// Numbers by hashes. One hash may have several.
#[derive(Debug, Default)]
pub(crate) struct Table {
    tables: [OnceLock<Box<[AtomicU64]>>; TABLES],
    newest: AtomicUsize,
    /// How many entries there are.
    used: AtomicUsize,
}

impl Table {
    /// What `is_it` makes of the first of the numbers of `hash` that it makes something of. What came last may be
    /// missing, unless the lock is held.
    #[inline]
    pub(crate) fn find<R>(&self, hash: u32, mut is_it: impl FnMut(u32) -> Option<R>) -> Option<R> {
        let words = self
            .tables
            .get(self.newest.load(Ordering::Acquire))?
            .get()?;
        let mut at = home(hash, words.len());
        // Some word is zero: a table is never full.
        loop {
            let word = words.get(at)?.load(Ordering::Acquire);
            if word == 0 {
                return None;
            }
            if (word >> 32) as u32 == hash
                && let Some(found) = is_it(word as u32)
            {
                return Some(found);
            }
            at = (at + 1) & (words.len() - 1);
        }
    }

    /// Enters a number, which is not 0, for `hash`: all that it stands for is written. False if there is no room.
    ///
    /// Whoever calls this holds a lock that keeps everybody else from calling it for this table. Otherwise entries
    /// could be lost.
    pub(crate) fn enter(&self, hash: u32, number: u32) -> bool {
        let newest = self.newest.load(Ordering::Relaxed);
        let Some(words) = self.tables.get(newest) else {
            return false;
        };
        let mut words = words.get_or_init(|| zeros(newest));
        let used = self.used.load(Ordering::Relaxed) + 1;
        if used > words.len() / 8 * FULL {
            let larger = newest + 1;
            let Some(next) = self.tables.get(larger) else {
                return false;
            };
            let next = next.get_or_init(|| zeros(larger));
            make_present(next);
            let entries = words.iter().map(|word| word.load(Ordering::Relaxed));
            for entry in entries.filter(|&entry| entry != 0) {
                put(next, entry);
            }
            self.newest.store(larger, Ordering::Release);
            words = next;
        }
        put(words, u64::from(hash) << 32 | u64::from(number));
        self.used.store(used, Ordering::Relaxed);
        true
    }
}

/// Puts an entry into a table that has room.
fn put(words: &[AtomicU64], entry: u64) {
    let mut at = home((entry >> 32) as u32, words.len());
    while let Some(word) = words.get(at) {
        if word.load(Ordering::Relaxed) == 0 {
            return word.store(entry, Ordering::Release);
        }
        at = (at + 1) & (words.len() - 1);
    }
}

/// The words of a table, which take memory as they are used.
fn zeros(number: usize) -> Box<[AtomicU64]> {
    let words = <[AtomicU64]>::new_box_zeroed_with_elems(FIRST << number);
    words.expect("there is memory")
}

/// Where to look first, in a table of so many words, which are a power of two.
#[inline]
fn home(hash: u32, words: usize) -> usize {
    ((u64::from(hash) * words as u64) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::atomic::AtomicBool;

    fn all(table: &Table, hash: u32) -> Vec<u32> {
        let mut found = Vec::new();
        let none = table.find(hash, |number| {
            found.push(number);
            None::<()>
        });
        assert!(none.is_none());
        found
    }

    #[test]
    fn hashes_have_their_numbers_in_every_size_of_table() {
        let table = Table::default();
        let hash = |number: u32| number.wrapping_mul(0x9e37_79b9);
        for number in 1..10_000 {
            assert!(all(&table, hash(number)).is_empty());
            assert!(table.enter(hash(number), number));
        }
        for number in 1..10_000 {
            assert_eq!(all(&table, hash(number)), [number]);
        }
    }

    #[test]
    fn numbers_of_one_hash_and_those_at_the_end_are_told_apart() {
        let table = Table::default();
        for number in 1..100 {
            assert!(table.enter(u32::MAX, number));
            assert!(table.enter(7, 1000 + number));
        }
        assert_eq!(all(&table, u32::MAX), (1..100).collect::<Vec<_>>());
        assert_eq!(all(&table, 7), (1001..1100).collect::<Vec<_>>());
        assert!(all(&table, 8).is_empty() && all(&table, u32::MAX - 1).is_empty());
        let found = table.find(7, |number| (number > 1050).then_some(number));
        assert_eq!(found, Some(1051));
    }

    #[test]
    fn readers_find_what_they_know_of_while_it_grows() {
        let (table, adding) = (Table::default(), Mutex::new(()));
        let (known, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
        let hash = |number: u32| number.wrapping_mul(0x9e37_79b9);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        let known = known.load(Ordering::Acquire) as u32;
                        for number in [known, known / 2, 1] {
                            let found = all(&table, hash(number));
                            assert!(known == 0 || found == [number] || number == 0, "{number}");
                        }
                    }
                });
            }
            for number in 1..50_000 {
                let _adding = adding.lock().expect("nobody panics");
                assert!(table.enter(hash(number), number));
                known.store(u64::from(number), Ordering::Release);
            }
            is_over.store(true, Ordering::Relaxed);
        });
    }
}
