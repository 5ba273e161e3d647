//! A definition's place among the session's names.

use crate::definitions::{NameId, Ordinal};
use rekindle_cache_core::Digest;
use smallvec::SmallVec;
use std::ops::Range;

/// What code has to do with names, to be entered when its factory has run.
pub(crate) struct Names {
    pub(crate) object: Digest,
    ids: SmallVec<[NameId; 8]>,
    parts: Parts,
    /// Its place among what was put off, if it was: it then has been entered but for its value.
    pub(crate) put_off: Option<Ordinal>,
}

/// Where in a list of names those begin that code defines when it is called, after those that it defines when
/// it is run, and where those that it refers to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts {
    pub(crate) later_from: u32,
    pub(crate) references_from: u32,
}

/// The names of some code, wherever they are kept.
#[derive(Clone, Copy)]
pub(crate) struct NamesRef<'n> {
    pub(crate) object: Digest,
    pub(crate) ids: &'n [NameId],
    pub(crate) parts: Parts,
    pub(crate) put_off: Option<Ordinal>,
}

impl Names {
    /// The names of the code of `object`, of which there are `count`, by their numbers.
    pub(crate) fn new<'n>(
        object: Digest,
        count: usize,
        defines: impl Iterator<Item = &'n str>,
        defines_later: impl Iterator<Item = &'n str>,
        references: impl Iterator<Item = &'n str>,
        mut number: impl FnMut(&str) -> NameId,
    ) -> Self {
        let mut ids = SmallVec::with_capacity(count);
        ids.extend(defines.map(&mut number));
        let later_from = ids.len();
        ids.extend(defines_later.map(&mut number));
        let references_from = ids.len();
        ids.extend(references.map(&mut number));
        // Names have numbers of 32 bits, so no list that could be made has more.
        let place = |from: usize| u32::try_from(from).unwrap_or(u32::MAX);
        Self {
            object,
            ids,
            parts: Parts {
                later_from: place(later_from),
                references_from: place(references_from),
            },
            put_off: None,
        }
    }

    pub(crate) fn as_ref(&self) -> NamesRef<'_> {
        NamesRef {
            object: self.object,
            ids: &self.ids,
            parts: self.parts,
            put_off: self.put_off,
        }
    }
}

impl<'n> NamesRef<'n> {
    pub(crate) fn defines(&self) -> &'n [NameId] {
        self.part(0..self.parts.later_from as usize)
    }

    pub(crate) fn defines_later(&self) -> &'n [NameId] {
        self.part(self.parts.later_from as usize..self.parts.references_from as usize)
    }

    pub(crate) fn references(&self) -> &'n [NameId] {
        self.part(self.parts.references_from as usize..self.ids.len())
    }

    fn part(&self, range: Range<usize>) -> &'n [NameId] {
        self.ids.get(range).unwrap_or_default()
    }
}
