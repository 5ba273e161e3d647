//! Names and their numbers.
//!
//! A hit asks for the numbers of half a dozen names, most of which are known, and all threads of a session ask for
//! those of the same library. So a name that is known is found without a lock, and without writing anything.
//!
//! # Why that is right
//!
//! A table is a list of words, each zero or an *entry*: 32 bits of a name's hash, and where its text lies. A word
//! goes from zero to an entry once and stays. Whoever looks for a name goes through the words from that which the
//! hash says up to a zero. What an entry tells of is written before the entry is (released), and read after it
//! (acquired); the texts are an [`Arena`]'s, which never change. So a reader finds a name, or does not because it came
//! later or lies in a newer table. Not finding it decides nothing: the name is then looked for again, in the newest
//! table, with the lock that all who add names take. With it there is one table and no writer, so that no name gets
//! two numbers. A table that has become too small is filled into a larger one before anybody is told of that, and
//! stays for those who are reading it.

use super::NameId;
use crate::arena::{Arena, Piece};
use rekindle_cache_core::pages::make_present;
use rustc_hash::{FxHashMap, FxHasher};
use std::hash::Hasher;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use zerocopy::FromZeros;

/// Words of the first table, and names of the first part of the list; each other one has twice as many as that
/// before it.
const FIRST: usize = 1 << 11;

/// How many tables there may be, and parts of the list: for all names that have numbers.
const TABLES: usize = 22;

/// So many eighths of a table are used before there is a larger one.
const FULL: usize = 5;

/// The names of a session, each under one number, counted from 0.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    tables: [OnceLock<Box<[AtomicU64]>>; TABLES],
    /// The newest table.
    newest: AtomicUsize,
    /// Where the text of each name lies, from 1; 0 for a huge one.
    places: [OnceLock<Box<[AtomicU32]>>; TABLES],
    /// How many names there are. Grows before anybody is told of a new one's number.
    count: AtomicU32,
    /// Of each name its [`Head`], and its text.
    texts: Arena,
    /// Held by who adds a name.
    adding: Mutex<Adding>,
}

#[derive(Debug, Default)]
struct Adding {
    /// The names that the arena does not take, of several GiB: nobody has such, and nothing is to end for one.
    huge: FxHashMap<Box<str>, NameId>,
}

/// What stands before a name's text: its number, and how long it is.
type Head = [u8; 8];

impl Numbers {
    /// The number of `name`, which is new if nobody asked before.
    #[inline]
    pub(crate) fn number(&self, name: &str) -> NameId {
        let tag = tag(name);
        match self.find(tag, name) {
            Some(id) => id,
            None => self.add(tag, name),
        }
    }

    /// How many names have numbers. All that the calling thread was told of are among them.
    #[inline]
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed) as usize
    }

    /// The number of `name` in the newest table that this thread has heard of.
    #[inline]
    fn find(&self, tag: u32, name: &str) -> Option<NameId> {
        let words = self
            .tables
            .get(self.newest.load(Ordering::Acquire))?
            .get()?;
        let mut at = home(tag, words.len());
        loop {
            let word = words.get(at)?.load(Ordering::Acquire);
            if word == 0 {
                return None;
            }
            if (word >> 32) as u32 == tag
                && let Some((id, text)) = self.read(word as u32)
                && text == name.as_bytes()
            {
                return Some(id);
            }
            at = (at + 1) & (words.len() - 1);
        }
    }

    /// The number and the text of the name that lies at `place`, counted from 1.
    #[inline]
    fn read(&self, place: u32) -> Option<(NameId, &[u8])> {
        let start = place.checked_sub(1)?;
        let head = self.texts.get(Piece::at(start, size_of::<Head>() as u32));
        let [id, length] = *head.as_chunks::<4>().0 else {
            return None;
        };
        let text = Piece::at(start.checked_add(1)?, u32::from_ne_bytes(length));
        Some((NameId(u32::from_ne_bytes(id)), self.texts.get(text)))
    }

    #[cold]
    fn add(&self, tag: u32, name: &str) -> NameId {
        let mut adding = crate::lock(&self.adding);
        // Somebody else may have come first, and some names are nowhere else.
        if let Some(id) = self.find(tag, name) {
            return id;
        }
        if let Some(&id) = adding.huge.get(name) {
            return id;
        }
        let count = self.count.load(Ordering::Relaxed);
        assert!(count < u32::MAX, "fewer than 2^32 names in memory");
        let id = NameId(count);
        let place = self.keep(id, name);
        let (part, offset) = locate(id.index());
        let part = self.places.get(part).map(|part| {
            part.get_or_init(|| {
                let part =
                    <[AtomicU32]>::new_box_zeroed_with_elems(FIRST << part_number(id.index()));
                part.expect("there is memory")
            })
        });
        if let Some(known) = part.and_then(|part| part.get(offset)) {
            known.store(place.unwrap_or(0), Ordering::Release);
        }
        self.count.store(count + 1, Ordering::Release);
        match place {
            Some(place) => self.enter(tag, place),
            None => {
                adding.huge.insert(name.into(), id);
            }
        }
        id
    }

    /// Writes down a name, and says where, counted from 1. `None` if there is no room for it.
    fn keep(&self, id: NameId, name: &str) -> Option<u32> {
        let length = u32::try_from(name.len()).ok()?;
        let size = size_of::<Head>().checked_add(name.len())?;
        let piece = self.texts.keep(size, |piece| {
            let (head, text) = piece.split_at_mut(size_of::<Head>());
            let (first, second) = head.split_at_mut(4);
            first.copy_from_slice(&id.0.to_ne_bytes());
            second.copy_from_slice(&length.to_ne_bytes());
            text.copy_from_slice(name.as_bytes());
        })?;
        piece.start().checked_add(1)
    }

    /// Makes a name known that lies at `place`. Only who holds the lock does that.
    fn enter(&self, tag: u32, place: u32) {
        let newest = self.newest.load(Ordering::Relaxed);
        let Some(words) = self.tables.get(newest) else {
            return;
        };
        let words = words.get_or_init(|| table(newest));
        let used = self.count();
        let mut into = words;
        let larger = newest + 1;
        if used > words.len() / 8 * FULL
            && let Some(next) = self.tables.get(larger)
        {
            into = next.get_or_init(|| {
                let next = table(larger);
                make_present(&next);
                let entries = words.iter().map(|word| word.load(Ordering::Relaxed));
                for entry in entries.filter(|&entry| entry != 0) {
                    put(&next, entry);
                }
                next
            });
        }
        put(into, u64::from(tag) << 32 | u64::from(place));
        if !std::ptr::eq(into, words) {
            self.newest.store(larger, Ordering::Release);
        }
    }

    /// The name with a number.
    pub(super) fn name(&self, id: NameId) -> String {
        let (part, offset) = locate(id.index());
        let part = self.places.get(part).and_then(OnceLock::get);
        let place = part.and_then(|part| part.get(offset));
        let place = place.map_or(0, |place| place.load(Ordering::Acquire));
        if let Some((_, text)) = self.read(place) {
            // It was one when it was kept.
            return std::str::from_utf8(text).unwrap_or_default().to_owned();
        }
        let adding = crate::lock(&self.adding);
        let huge = adding.huge.iter().find(|(_, known)| **known == id);
        huge.map_or_else(String::new, |(name, _)| name.to_string())
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

fn table(number: usize) -> Box<[AtomicU64]> {
    let words = <[AtomicU64]>::new_box_zeroed_with_elems(FIRST << number);
    words.expect("there is memory")
}

/// Where to look first for a name, in a table of so many words, which are a power of two.
#[inline]
fn home(tag: u32, words: usize) -> usize {
    ((u64::from(tag) * words as u64) >> 32) as usize
}

#[inline]
fn tag(name: &str) -> u32 {
    let mut hasher = FxHasher::default();
    hasher.write(name.as_bytes());
    // Its low bits are the better ones, and a table looks at the high ones of the tag.
    hasher.finish() as u32
}

/// The part of the list that has the name with this number.
fn part_number(index: usize) -> usize {
    (index / FIRST + 1).ilog2() as usize
}

/// The same, and the name's place there.
fn locate(index: usize) -> (usize, usize) {
    let part = part_number(index);
    (part, index - ((FIRST << part) - FIRST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_number_and_a_number_one_name() {
        let numbers = Numbers::default();
        let names: Vec<_> = (0..10_000).map(|n| format!("user/name-{n}")).collect();
        for (place, name) in (0..).zip(&names) {
            assert_eq!(numbers.number(name), NameId(place));
            assert_eq!(numbers.count(), place as usize + 1);
        }
        for (place, name) in (0..).zip(&names) {
            assert_eq!(numbers.number(name), NameId(place));
            assert_eq!(numbers.name(NameId(place)), *name);
        }
        assert_eq!(numbers.count(), names.len());
    }

    #[test]
    fn names_of_one_hash_are_told_apart() {
        let numbers = Numbers::default();
        for (name, expected) in [("one", 0), ("two", 1), ("three", 2)] {
            assert_eq!(numbers.find(7, name), None);
            assert_eq!(numbers.add(7, name), NameId(expected));
        }
        for (name, expected) in [("one", 0), ("two", 1), ("three", 2)] {
            assert_eq!(numbers.find(7, name), Some(NameId(expected)));
            assert_eq!(numbers.name(NameId(expected)), name);
        }
        // At the end of the table, whose next word is the first.
        assert_eq!(numbers.add(u32::MAX, "four"), NameId(3));
        assert_eq!(numbers.add(u32::MAX, "five"), NameId(4));
        assert_eq!(numbers.find(u32::MAX, "five"), Some(NameId(4)));
    }

    /// As if the arena had not taken it.
    #[test]
    fn a_huge_name_has_its_number_as_others_have() {
        let numbers = Numbers::default();
        let first = numbers.number("first");
        crate::lock(&numbers.adding)
            .huge
            .insert("huge".into(), NameId(1));
        numbers.count.store(2, Ordering::Relaxed);
        let empty = numbers.number("");
        assert_eq!((first, empty), (NameId(0), NameId(2)));
        assert_eq!(numbers.number("huge"), NameId(1));
        assert_eq!(numbers.number(""), empty);
        let names = [first, NameId(1), empty].map(|id| numbers.name(id));
        assert_eq!(names, ["first", "huge", ""]);
    }

    #[test]
    fn threads_agree_on_the_numbers_of_names_that_they_add_at_once() {
        let numbers = Numbers::default();
        let names: Vec<_> = (0..6_000).map(|n| format!("name-{n}")).collect();
        let all: Vec<Vec<NameId>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|thread| {
                    let (numbers, names) = (&numbers, &names);
                    scope.spawn(move || {
                        let mut ids = vec![NameId(u32::MAX); names.len()];
                        for step in 0..names.len() {
                            // Each goes its own way, so that each adds some.
                            let at = match thread % 2 {
                                0 => step,
                                _ => names.len() - 1 - step,
                            };
                            ids[at] = numbers.number(&names[at]);
                            assert!(ids[at].index() < numbers.count());
                            assert_eq!(numbers.name(ids[at]), names[at]);
                        }
                        ids
                    })
                })
                .collect();
            let join = |thread: std::thread::ScopedJoinHandle<'_, _>| thread.join();
            (threads.into_iter().map(join))
                .collect::<Result<_, _>>()
                .expect("nobody panics")
        });
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
        let mut ids: Vec<_> = all[0].iter().map(|id| id.index()).collect();
        ids.sort_unstable();
        assert!(ids.into_iter().eq(0..names.len()));
    }
}
