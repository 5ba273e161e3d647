//! Gives places one after the other, kind by kind.

use super::frames::Frames;
use super::layout::WORD;
use super::reach::Reached;
use super::read::{Input, Value, bad, text};
use super::sections::SectionKind;
use crate::error::LinkError;
use crate::image::DATA_DISTANCE;
use rustc_hash::FxHashMap;
use std::ops::Range;

/// Unwind entries and their places.
pub(super) type PlacedPieces = Vec<(usize, u64)>;

/// What every thread has of an image.
pub(super) struct ThreadLayout {
    pub(super) template: Range<u64>,
    pub(super) memory_size: u64,
    pub(super) alignment: u64,
}

/// The set of each section whose bounds are asked for.
fn sets(input: &Input<'_>) -> FxHashMap<usize, usize> {
    let sets = input.bounded.iter().enumerate();
    sets.flat_map(|(set, members)| members.iter().map(move |&member| (member, set)))
        .collect()
}

/// Places that were given so far.
pub(super) struct Plan<'p, 'a> {
    input: &'p Input<'a>,
    reached: &'p Reached<'p>,
    pub(super) sections: Vec<Option<u64>>,
    pub(super) bounds: Vec<Option<(u64, u64)>>,
    set_of: FxHashMap<usize, usize>,
    pub(super) cursor: Cursor,
}

impl<'p, 'a> Plan<'p, 'a> {
    pub(super) fn new(input: &'p Input<'a>, reached: &'p Reached<'p>) -> Self {
        Self {
            input,
            reached,
            sections: vec![None; input.sections.len()],
            bounds: vec![None; input.bounded.len()],
            set_of: sets(input),
            cursor: Cursor {
                at: 0,
                alignment: WORD,
            },
        }
    }

    /// Places the kept sections of some kinds, in the order of the objects.
    pub(super) fn place_all(
        &mut self,
        kind: impl Fn(SectionKind) -> bool,
    ) -> Result<(), LinkError> {
        let (input, reached) = (self.input, self.reached);
        for &index in &reached.sections {
            if !kind(input.section(index)?.kind) {
                continue;
            }
            match self.set_of.get(&index).copied() {
                None => self.place(index)?,
                Some(set) => self.place_set(set)?,
            }
        }
        Ok(())
    }

    /// Places the code, and the stubs behind it: or, where branches do not reach all of it, as near to
    /// its middle as the sections allow. Returns where the stubs begin.
    pub(super) fn place_text(
        &mut self,
        stubs: u64,
        alignment: u64,
        is_far: bool,
    ) -> Result<u64, LinkError> {
        let is_text = |kind| kind == SectionKind::Text;
        if !is_far {
            self.place_all(is_text)?;
            return self.cursor.take(stubs, alignment);
        }
        let (input, reached) = (self.input, self.reached);
        let mut total = 0u64;
        for &index in &reached.sections {
            let section = input.section(index)?;
            if is_text(section.kind) {
                total = total.saturating_add(section.size);
            }
        }
        let mut place = None;
        for &index in &reached.sections {
            let section = input.section(index)?;
            if !is_text(section.kind) {
                continue;
            }
            let end = self.cursor.at.saturating_add(section.size);
            let is_nearest = end.abs_diff(total / 2) > self.cursor.at.abs_diff(total / 2);
            if place.is_none() && is_nearest {
                place = Some(self.cursor.take(stubs, alignment)?);
            }
            match self.set_of.get(&index).copied() {
                None => self.place(index)?,
                Some(set) => self.place_set(set)?,
            }
        }
        place.map_or_else(|| self.cursor.take(stubs, alignment), Ok)
    }

    /// Places the sections of a set one behind the other, when the first of them is met.
    fn place_set(&mut self, set: usize) -> Result<(), LinkError> {
        let input = self.input;
        let members = input
            .bounded
            .get(set)
            .map(Vec::as_slice)
            .unwrap_or_default();
        if self.bounds.get(set).copied().flatten().is_some() {
            return Ok(());
        }
        let mut bounds: Option<(u64, u64)> = None;
        let kind = members
            .first()
            .map(|&first| input.section(first))
            .transpose()?;
        for &member in members {
            let section = input.section(member)?;
            if kind.is_none_or(|first| first.kind != section.kind) {
                return Err(bad(
                    "sections of one name and different sorts, of which the bounds are asked for",
                    text(section.name),
                ));
            }
            if self.reached.sections.binary_search(&member).is_ok() {
                self.place(member)?;
                let place = self.sections.get(member).copied().flatten();
                let start = bounds.map_or(place, |(start, _)| Some(start));
                bounds = start.map(|start| (start, self.cursor.at));
            }
        }
        if let Some(slot) = self.bounds.get_mut(set) {
            *slot = bounds;
        }
        Ok(())
    }

    /// Places the template of thread-locals, and, as if they lay behind it, those that are zero.
    pub(super) fn place_thread_locals(&mut self) -> Result<ThreadLayout, LinkError> {
        let (input, reached) = (self.input, self.reached);
        let mut alignment = 1;
        for &index in &reached.sections {
            let section = input.section(index)?;
            if section.kind.is_thread_local() {
                alignment = section.alignment.max(alignment);
            }
        }
        let start = self.cursor.take(0, alignment)?;
        self.place_all(|kind| kind == SectionKind::ThreadData)?;
        let end = self.cursor.at;
        self.place_all(|kind| kind == SectionKind::ThreadZero)?;
        let memory_size = self.cursor.at - start;
        self.cursor.at = end;
        Ok(ThreadLayout {
            template: start..end,
            memory_size,
            alignment,
        })
    }

    pub(super) fn place(&mut self, index: usize) -> Result<(), LinkError> {
        let section = self.input.section(index)?;
        let place = self.cursor.take(section.size, section.alignment)?;
        if let Some(slot) = self.sections.get_mut(index) {
            *slot = Some(place);
        }
        Ok(())
    }

    /// Arrays of pointers, one behind the other without gaps, in the order of their priorities.
    pub(super) fn place_array(
        &mut self,
        priority: impl Fn(SectionKind) -> Option<u16>,
    ) -> Result<Range<u64>, LinkError> {
        let mut arrays = Vec::new();
        for &index in &self.reached.sections {
            let section = self.input.section(index)?;
            let Some(priority) = priority(section.kind) else {
                continue;
            };
            if section.size % WORD != 0 || section.alignment > WORD {
                return Err(bad(
                    "an array that is not made of pointers",
                    text(section.name),
                ));
            }
            arrays.push((priority, index));
            if self.set_of.contains_key(&index) {
                return Err(bad(
                    "an array of functions to run whose bounds are asked for",
                    text(section.name),
                ));
            }
        }
        arrays.sort_unstable();
        let start = self.cursor.take(0, WORD)?;
        for (_, index) in arrays {
            self.place(index)?;
        }
        Ok(start..self.cursor.at)
    }

    /// The words of the host's, without gaps.
    pub(super) fn place_constants(&mut self) -> Result<Range<u64>, LinkError> {
        let start = self.cursor.take(0, WORD)?;
        for &index in &self.reached.sections {
            let section = self.input.section(index)?;
            if section.kind != SectionKind::Constants {
                continue;
            }
            if section.size % WORD != 0 || section.alignment > WORD {
                return Err(bad(
                    "constant slots that are not words of eight bytes",
                    text(section.name),
                ));
            }
            self.place(index)?;
        }
        Ok(start..self.cursor.at)
    }

    /// Common entries first, then those of functions in the order of the functions: unwinders sort
    /// them by these, and have nothing to do then.
    pub(super) fn place_pieces(
        &mut self,
        frames: &Frames,
    ) -> Result<(PlacedPieces, Range<u64>), LinkError> {
        let start = self.cursor.take(0, WORD)?;
        let mut order = Vec::with_capacity(self.reached.pieces.len());
        for &index in &self.reached.pieces {
            let piece = frames.piece(index)?;
            let function = piece.function.and_then(|(section, offset)| {
                let section = self.sections.get(section).copied().flatten()?;
                Some(section.wrapping_add(offset))
            });
            order.push((piece.common.is_some(), function, index));
        }
        order.sort_unstable();
        let mut places = Vec::with_capacity(order.len());
        for (_, _, index) in order {
            let size = frames.piece(index)?.range.len() as u64;
            // Without gaps: the unwinder goes from one to the next by their lengths.
            places.push((index, self.cursor.take(size, 1)?));
        }
        if !places.is_empty() {
            self.cursor.take(4, 1)?;
        }
        Ok((places, start..self.cursor.at))
    }

    pub(super) fn place_commons(&mut self) -> Result<Vec<u64>, LinkError> {
        let mut places = Vec::with_capacity(self.reached.commons.keys.len());
        for &symbol in &self.reached.commons.keys {
            if let Value::Common { size, alignment } = self.input.symbol(symbol)?.value {
                places.push(self.cursor.take(size, alignment)?);
            }
        }
        Ok(places)
    }
}

/// Where the next thing goes.
pub(super) struct Cursor {
    pub(super) at: u64,
    /// The largest that was asked for.
    pub(super) alignment: u64,
}

impl Cursor {
    pub(super) fn take(&mut self, size: u64, alignment: u64) -> Result<u64, LinkError> {
        let place = self.at.checked_next_multiple_of(alignment);
        let end = place.and_then(|place| place.checked_add(size));
        let (Some(place), Some(end)) = (place, end) else {
            return Err(LinkError::TooLarge {
                needed: u64::MAX,
                limit: DATA_DISTANCE,
            });
        };
        self.at = end;
        self.alignment = self.alignment.max(alignment);
        Ok(place)
    }
}
