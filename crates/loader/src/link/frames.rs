//! `.eh_frame` as pieces, so that the tables of dropped functions can be dropped with them.
//!
//! The section is a sequence of entries, each with its length in front: a *common* entry (CIE), or
//! the entry of one function (FDE), which points back at its common entry. Which function an entry
//! is for is said by the relocation on its first field behind that pointer.

use super::read::{Input, Rela, Value, bad, text};
use super::sections::SectionKind;
use crate::error::LinkError;
use object::LittleEndian;
use rustc_hash::FxHashMap;
use std::ops::Range;

/// The entries of all unwind sections.
#[derive(Default)]
pub(super) struct Frames {
    pub(super) pieces: Vec<Piece>,
    /// All relocations of the entries, in the order of the entries.
    relocations: Vec<Rela>,
    /// For each section, the last entry of a function in it, as its number plus 1; 0 if there is none.
    /// The others hang from it by [`Piece::before`]: thousands of sections with one entry each are the
    /// usual case, and a list of its own for each would cost more than the rest of the work.
    last_of_section: Vec<u32>,
}

/// One entry.
pub(super) struct Piece {
    pub(super) section: usize,
    /// Where it lies in that section, its length field included.
    pub(super) range: Range<usize>,
    /// The common entry of a function's entry.
    pub(super) common: Option<usize>,
    /// Section and offset of the function, if it is in these objects.
    pub(super) function: Option<(usize, u64)>,
    /// Another entry of a function in the same section, numbered as in [`Frames::last_of_section`].
    before: u32,
    relocations: Range<usize>,
}

impl Frames {
    /// The entries that describe functions of `section`, the last first.
    pub(super) fn of_section(&self, section: usize) -> impl Iterator<Item = usize> + '_ {
        let last = self.last_of_section.get(section).copied().unwrap_or(0);
        let index = |number: u32| (number as usize).checked_sub(1);
        std::iter::successors(index(last), move |&at| index(self.pieces.get(at)?.before))
    }

    /// The relocations of an entry.
    pub(super) fn relocations(&self, piece: &Piece) -> &[Rela] {
        self.relocations
            .get(piece.relocations.clone())
            .unwrap_or_default()
    }

    /// The entry with number `index`.
    pub(super) fn piece(&self, index: usize) -> Result<&Piece, LinkError> {
        self.pieces
            .get(index)
            .ok_or_else(|| bad("no such unwind entry", format!("entry {index}")))
    }
}

/// Splits the unwind sections of `input`.
pub(super) fn split(input: &Input<'_>) -> Result<Frames, LinkError> {
    let mut frames = Frames {
        last_of_section: vec![0; input.sections.len()],
        ..Frames::default()
    };
    for (section, content) in input.sections.iter().enumerate() {
        if content.kind == SectionKind::Unwind {
            frames.split_section(input, section, content.bytes, content.relocations)?;
        }
    }
    Ok(frames)
}

impl Frames {
    fn split_section(
        &mut self,
        input: &Input<'_>,
        section: usize,
        bytes: &[u8],
        relocations: &[Rela],
    ) -> Result<(), LinkError> {
        let malformed = |what, at: usize| {
            let name = input
                .section(section)
                .map_or_else(|_| String::new(), |s| text(s.name));
            bad(what, format!("{name}+{at:#x}"))
        };
        let word = |at: usize| {
            let bytes = bytes.get(at..)?.first_chunk::<4>()?;
            Some(u32::from_le_bytes(*bytes))
        };
        // Assemblers write them in order, but the specification does not ask for it.
        let mut sorted = relocations.to_vec();
        sorted.sort_by_key(|relocation| relocation.r_offset.get(LittleEndian));
        let mut sorted = sorted.into_iter().peekable();

        let mut commons = FxHashMap::default();
        let mut at = 0;
        while at < bytes.len() {
            let length = word(at).ok_or_else(|| malformed("a cut-off unwind entry", at))?;
            if length == 0 {
                break;
            }
            if length == u32::MAX {
                return Err(malformed("an unwind entry with a 64-bit length", at));
            }
            let end = at + 4 + length as usize;
            let distance = word(at + 4).filter(|_| length >= 8 && end <= bytes.len());
            let distance =
                distance.ok_or_else(|| malformed("an unwind entry of a wrong length", at))?;

            let first = self.relocations.len();
            while let Some(relocation) =
                sorted.next_if(|r| r.r_offset.get(LittleEndian) < end as u64)
            {
                self.relocations.push(relocation);
            }
            let index = self.pieces.len();
            let mut piece = Piece {
                section,
                range: at..end,
                common: None,
                function: None,
                before: 0,
                relocations: first..self.relocations.len(),
            };
            if distance == 0 {
                commons.insert(at, index);
            } else {
                let common = (at + 4).checked_sub(distance as usize);
                let common = common.and_then(|common| commons.get(&common)).copied();
                piece.common =
                    Some(common.ok_or_else(|| malformed("an unwind entry without a CIE", at))?);
                piece.function = self.function(input, &piece, at + 8)?;
                let section = piece.function.map(|(section, _)| section);
                if let Some(last) = section.and_then(|at| self.last_of_section.get_mut(at)) {
                    let number = u32::try_from(index + 1)
                        .map_err(|_| malformed("more unwind entries than can be numbered", at))?;
                    piece.before = std::mem::replace(last, number);
                }
            }
            self.pieces.push(piece);
            at = end;
        }
        Ok(())
    }

    /// The function that an entry is for, if it is in this object.
    fn function(
        &self,
        input: &Input<'_>,
        piece: &Piece,
        field: usize,
    ) -> Result<Option<(usize, u64)>, LinkError> {
        let relocation = self
            .relocations(piece)
            .iter()
            .find(|relocation| relocation.r_offset.get(LittleEndian) == field as u64);
        let Some(relocation) = relocation else {
            return Ok(None);
        };
        // The object's own symbol: an entry of a dropped copy must not go over to the copy that is kept.
        let holder = input.section(piece.section)?;
        let local = relocation.r_sym(LittleEndian, false);
        if local >= holder.symbol_count {
            return Err(bad("no such symbol", format!("symbol {local}")));
        }
        match input.symbol(holder.first_symbol + local)?.value {
            Value::Defined { section, offset } => {
                let addend = relocation.r_addend.get(LittleEndian);
                Ok(Some((section, offset.wrapping_add_signed(addend))))
            }
            _ => Ok(None),
        }
    }
}
