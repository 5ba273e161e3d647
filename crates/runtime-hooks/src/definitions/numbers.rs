//! Names and their numbers.

use super::NameId;
use crate::arena::{Arena, Piece};
use rustc_hash::{FxHashMap, FxHasher};
use std::hash::Hasher;

/// The names of a session, each under one number, counted from 0.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// The first name with each hash.
    by_hash: FxHashMap<u64, NameId>,
    names: Vec<Name>,
    texts: Arena,
    /// The names that the arena does not take, of several GiB: nobody has such, and nothing is to end for one.
    huge: FxHashMap<NameId, Box<str>>,
}

#[derive(Debug)]
struct Name {
    /// Empty for a huge one.
    text: Piece,
    /// The next one with the same hash, which hardly ever is there.
    alike: Option<NameId>,
}

impl Numbers {
    /// Makes room for so many names.
    pub(super) fn reserve(&mut self, names: usize) {
        self.by_hash.reserve(names);
        self.names.reserve(names);
    }

    /// The number of `name`, and whether nobody has asked for it before.
    pub(super) fn number(&mut self, name: &str) -> (NameId, bool) {
        let next = u32::try_from(self.names.len()).expect("fewer than 2^32 names in memory");
        let next = NameId(next);
        let mut hasher = FxHasher::default();
        hasher.write(name.as_bytes());
        let mut id = *self.by_hash.entry(hasher.finish()).or_insert(next);
        while let Some(known) = self.names.get(id.index()) {
            if self.text(id, known) == name.as_bytes() {
                return (id, false);
            }
            match known.alike {
                Some(alike) => id = alike,
                None => {
                    self.names[id.index()].alike = Some(next);
                    break;
                }
            }
        }
        let write = |piece: &mut [u8]| piece.copy_from_slice(name.as_bytes());
        let text = self.texts.keep(name.len(), write);
        let text = text.unwrap_or_else(|| {
            self.huge.insert(next, name.into());
            Piece::default()
        });
        self.names.push(Name { text, alike: None });
        (next, true)
    }

    /// The name with a number.
    pub(super) fn name(&self, id: NameId) -> &str {
        let name = self.names.get(id.index());
        let text = name.map_or(&[][..], |name| self.text(id, name));
        // It was one when it was kept.
        std::str::from_utf8(text).unwrap_or_default()
    }

    fn text(&self, id: NameId, name: &Name) -> &[u8] {
        match self.texts.get(name.text) {
            [] => self.huge.get(&id).map_or(&[], |text| text.as_bytes()),
            text => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_number_and_a_number_one_name() {
        let mut numbers = Numbers::default();
        let names: Vec<_> = (0..10_000).map(|n| format!("user/name-{n}")).collect();
        for (place, name) in (0..).zip(&names) {
            assert_eq!(numbers.number(name), (NameId(place), true));
        }
        for (place, name) in (0..).zip(&names) {
            assert_eq!(numbers.number(name), (NameId(place), false));
            assert_eq!(numbers.name(NameId(place)), name);
        }
    }

    #[test]
    fn names_of_one_hash_are_told_apart() {
        let mut numbers = Numbers::default();
        let one = numbers.number("one").0;
        for (other, expected) in [("two", 1), ("three", 2)] {
            let mut hasher = FxHasher::default();
            hasher.write(other.as_bytes());
            numbers.by_hash.insert(hasher.finish(), one);
            assert_eq!(numbers.number(other), (NameId(expected), true));
            assert_eq!(numbers.number(other), (NameId(expected), false));
        }
        assert_eq!(numbers.name(NameId(2)), "three");
    }

    /// As if the arena had not taken it.
    #[test]
    fn a_huge_name_has_its_number_as_others_have() {
        let mut numbers = Numbers::default();
        let (huge, _) = numbers.number("huge");
        numbers.names[huge.index()].text = Piece::default();
        numbers.huge.insert(huge, "huge".into());
        let (empty, is_new) = numbers.number("");
        assert!(is_new);
        assert_eq!(numbers.number("huge"), (huge, false));
        assert_eq!(numbers.number(""), (empty, false));
        assert_eq!((numbers.name(huge), numbers.name(empty)), ("huge", ""));
    }
}
