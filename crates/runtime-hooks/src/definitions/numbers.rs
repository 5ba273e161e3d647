//! Names and their numbers.
//!
//! A hit asks for the numbers of half a dozen names, most of which are known, and all threads of a session ask for
//! those of the same library. So a name that is known is found without a lock, and without writing anything: in a
//! [`Table`], which says why that is right. What its entries stand for are texts, which are an [`Arena`]'s and never
//! change. A name that was not found is looked for again with the lock that all who add names take, so that none gets
//! two numbers.

use super::NameId;
use crate::arena::{Arena, Piece};
use crate::table::Table;
use rustc_hash::{FxHashMap, FxHasher};
use std::hash::Hasher;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use zerocopy::FromZeros;

/// Names of the first part of the list; each other one has twice as many as that before it.
const FIRST: usize = 1 << 11;

/// How many parts of the list there may be: for all names that have numbers.
const PARTS: usize = 22;

/// The names of a session, each under one number, counted from 0.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    /// Where names lie, as in `places`, but for huge ones.
    table: Table,
    /// Where the text of each name lies, from 1; 0 for a huge one.
    places: [OnceLock<Box<[AtomicU32]>>; PARTS],
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

    /// The number of `name`, if this thread has heard of it.
    #[inline]
    fn find(&self, tag: u32, name: &str) -> Option<NameId> {
        self.table.find(tag, |place| {
            let (id, text) = self.read(place)?;
            (text == name.as_bytes()).then_some(id)
        })
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
            // The lock is held.
            Some(place) if self.table.enter(tag, place) => {}
            _ => {
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
