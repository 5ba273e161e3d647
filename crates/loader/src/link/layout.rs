//! A place in the image for everything that is kept.
//!
//! Sizes are summed before a byte is written, so that an object cannot ask for memory out of
//! proportion to its own size.

use super::borrowed::VENEER_SIZE;
use super::frames::Frames;
use super::reach::Reached;
use super::read::{Input, Symbol, SymbolKind, Value, bad, text};
use super::sections::SectionKind;
use crate::error::LinkError;
use crate::image::DATA_DISTANCE;
use rustc_hash::FxHashMap;
use std::ops::Range;

/// Bytes of a slot, and of a stub: `jmp *slot(%rip)` and two bytes that are never run.
pub(super) const WORD: u64 = 8;

/// Where everything lies. Places are as in the image's format.
pub(super) struct Layout {
    /// By section number. Thread-locals lie in the template, or behind it.
    sections: Vec<Option<u64>>,
    /// Where each set of bounded sections begins and ends.
    bounds: Vec<Option<(u64, u64)>>,
    /// Unwind entries and their places, in the order of places.
    pub(super) pieces: PlacedPieces,
    commons: Vec<u64>,
    stubs: u64,
    indirect_stubs: u64,
    veneers: u64,
    slots: u64,
    offset_slots: u64,
    pairs: u64,
    pub(super) own_pair: Option<u64>,
    descriptors: u64,
    /// The words that the stubs of indirect functions jump through.
    pub(super) indirect: Range<u64>,
    pub(super) constants: Range<u64>,
    /// The initial contents of thread-locals.
    pub(super) template: Range<u64>,
    pub(super) thread_memory_size: u64,
    pub(super) thread_alignment: u64,
    pub(super) handle: Option<u64>,
    pub(super) text_size: u64,
    pub(super) payload_size: u64,
    pub(super) unwind: Range<u64>,
    pub(super) init: Range<u64>,
    pub(super) fini: Range<u64>,
    pub(super) data_file_size: u64,
    pub(super) data_memory_size: u64,
    pub(super) alignment: u64,
    /// The most bytes that this object's image may have.
    pub(super) limit: u64,
}

impl Layout {
    /// The place of symbol number `id`, if it is in the image.
    pub(super) fn place(&self, reached: &Reached<'_>, id: u32, symbol: &Symbol<'_>) -> Option<u64> {
        match symbol.value {
            // Its stub stands for it, also where its address is taken: so the address is one.
            Value::Defined { .. } if symbol.kind == SymbolKind::IndirectFunction => {
                Some(self.indirect_stubs + WORD * reached.indirect.get(id)?)
            }
            Value::Defined { section, offset } => self.section(section)?.checked_add(offset),
            Value::Common { .. } => {
                let number = reached.commons.get(id)?;
                self.commons.get(usize::try_from(number).ok()?).copied()
            }
            Value::Handle => self.handle,
            Value::SlotTable => Some(self.slots),
            Value::Start(set) => Some(self.bounds.get(set).copied()??.0),
            Value::Stop(set) => Some(self.bounds.get(set).copied()??.1),
            Value::Absolute(_) | Value::Undefined | Value::ThreadBlock => None,
        }
    }

    /// Where a thread-local of the image lies in a thread's block.
    pub(super) fn thread_offset(&self, symbol: &Symbol<'_>) -> Option<u64> {
        match symbol.value {
            Value::Defined { section, offset } => {
                let start = self.section(section)?.checked_sub(self.template.start)?;
                start.checked_add(offset)
            }
            Value::ThreadBlock => Some(0),
            _ => None,
        }
    }

    /// The place of a kept section.
    pub(super) fn section(&self, index: usize) -> Option<u64> {
        self.sections.get(index).copied().flatten()
    }

    /// Where the slots begin.
    pub(super) fn slot_table(&self) -> u64 {
        self.slots
    }

    /// The place of a symbol's slot.
    pub(super) fn slot(&self, reached: &Reached<'_>, symbol: u32) -> Option<u64> {
        Some(self.slots + WORD * reached.slots.get(symbol)?)
    }

    /// The place of a symbol's stub.
    pub(super) fn stub(&self, reached: &Reached<'_>, symbol: u32) -> Option<u64> {
        Some(self.stubs + WORD * reached.stubs.get(symbol)?)
    }

    /// The place of the veneer of the reference at `offset` of a section.
    pub(super) fn veneer(&self, reached: &Reached<'_>, section: usize, offset: u64) -> Option<u64> {
        Some(self.veneers + VENEER_SIZE * reached.veneers.get(section, offset)?)
    }

    /// The place of the slot of a thread-local's distance from the thread pointer.
    pub(super) fn offset_slot(&self, reached: &Reached<'_>, symbol: u32) -> Option<u64> {
        Some(self.offset_slots + WORD * reached.offset_slots.get(symbol)?)
    }

    /// The place of a thread-local's module and offset.
    pub(super) fn pair(&self, reached: &Reached<'_>, symbol: u32) -> Option<u64> {
        Some(self.pairs + 2 * WORD * reached.pairs.get(symbol)?)
    }

    /// The place of a thread-local's descriptor.
    pub(super) fn descriptor(&self, reached: &Reached<'_>, symbol: u32) -> Option<u64> {
        Some(self.descriptors + 2 * WORD * reached.descriptors.get(symbol)?)
    }
}

/// Gives everything in `reached` its place.
pub(super) fn lay_out(
    input: &Input<'_>,
    frames: &Frames,
    reached: &Reached<'_>,
) -> Result<Layout, LinkError> {
    // Four times the object leaves room for stubs, slots and padding; small objects may need more. The
    // work takes some twice as much memory.
    let limit = input.size.saturating_mul(4).saturating_add(64 << 10);
    let mut plan = Plan {
        input,
        reached,
        sections: vec![None; input.sections.len()],
        bounds: vec![None; input.bounded.len()],
        set_of: sets(input),
        cursor: Cursor {
            at: 0,
            alignment: WORD,
        },
    };

    plan.place_all(|kind| kind == SectionKind::Text)?;
    // Without stubs the text ends with its last function.
    let stub_count = reached.stubs.len() + reached.indirect.len();
    let stub_alignment = if stub_count == 0 { 1 } else { WORD };
    let stubs = plan.cursor.take(WORD * stub_count, stub_alignment)?;
    let veneer_count = reached.veneers.len();
    let veneer_alignment = if veneer_count == 0 { 1 } else { WORD };
    let veneers = plan
        .cursor
        .take(VENEER_SIZE * veneer_count, veneer_alignment)?;
    let text_size = plan.cursor.at;
    let slots = plan.cursor.take(WORD * reached.slots.len(), WORD)?;
    let offset_slots = plan.cursor.take(WORD * reached.offset_slots.len(), WORD)?;
    let pairs = plan.cursor.take(2 * WORD * reached.pairs.len(), WORD)?;
    let descriptors = plan
        .cursor
        .take(2 * WORD * reached.descriptors.len(), WORD)?;
    let own_pair = match reached.own_pair {
        true => Some(plan.cursor.take(2 * WORD, WORD)?),
        false => None,
    };
    let handle = match reached.handle {
        true => Some(plan.cursor.take(WORD, WORD)?),
        false => None,
    };
    plan.place_all(|kind| kind == SectionKind::ReadOnly)?;
    plan.place_all(|kind| kind == SectionKind::SideTable)?;
    let init = plan.place_array(|kind| match kind {
        SectionKind::Initialisers(priority) | SectionKind::OldInitialisers(priority) => {
            Some(priority)
        }
        _ => None,
    })?;
    let fini = plan.place_array(|kind| match kind {
        SectionKind::Finalisers(priority) | SectionKind::OldFinalisers(priority) => Some(priority),
        _ => None,
    })?;
    let threads = plan.place_thread_locals()?;
    let (pieces, unwind) = plan.place_pieces(frames)?;
    let payload_size = plan.cursor.at;

    let payload_alignment = plan.cursor.alignment;
    plan.cursor = Cursor {
        at: DATA_DISTANCE,
        alignment: payload_alignment,
    };
    let indirect = plan.cursor.take(WORD * reached.indirect.len(), 1)?;
    let indirect = indirect..plan.cursor.at;
    let constants = plan.place_constants()?;
    plan.place_all(|kind| kind == SectionKind::Data)?;
    let data_file_size = plan.cursor.at - DATA_DISTANCE;
    plan.place_all(|kind| kind == SectionKind::Zero)?;
    let commons = plan.place_commons()?;
    let data_memory_size = plan.cursor.at - DATA_DISTANCE;

    for (needed, limit) in [
        (payload_size, DATA_DISTANCE),
        (data_memory_size, DATA_DISTANCE),
        (threads.memory_size, DATA_DISTANCE),
        (payload_size + data_file_size, limit),
    ] {
        if needed > limit {
            return Err(LinkError::TooLarge { needed, limit });
        }
    }
    Ok(Layout {
        sections: plan.sections,
        bounds: plan.bounds,
        pieces,
        commons,
        stubs,
        indirect_stubs: stubs + WORD * reached.stubs.len(),
        veneers,
        slots,
        offset_slots,
        pairs,
        own_pair,
        descriptors,
        indirect,
        constants,
        template: threads.template,
        thread_memory_size: threads.memory_size,
        thread_alignment: threads.alignment,
        handle,
        text_size,
        payload_size,
        unwind,
        init,
        fini,
        data_file_size,
        data_memory_size,
        alignment: plan.cursor.alignment,
        limit,
    })
}

/// Unwind entries and their places.
type PlacedPieces = Vec<(usize, u64)>;

/// What every thread has of an image.
struct ThreadLayout {
    template: Range<u64>,
    memory_size: u64,
    alignment: u64,
}

/// The set of each section whose bounds are asked for.
fn sets(input: &Input<'_>) -> FxHashMap<usize, usize> {
    let sets = input.bounded.iter().enumerate();
    sets.flat_map(|(set, members)| members.iter().map(move |&member| (member, set)))
        .collect()
}

struct Plan<'p, 'a> {
    input: &'p Input<'a>,
    reached: &'p Reached<'p>,
    sections: Vec<Option<u64>>,
    bounds: Vec<Option<(u64, u64)>>,
    set_of: FxHashMap<usize, usize>,
    cursor: Cursor,
}

impl Plan<'_, '_> {
    fn place_all(&mut self, kind: impl Fn(SectionKind) -> bool) -> Result<(), LinkError> {
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
    fn place_thread_locals(&mut self) -> Result<ThreadLayout, LinkError> {
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

    fn place(&mut self, index: usize) -> Result<(), LinkError> {
        let section = self.input.section(index)?;
        let place = self.cursor.take(section.size, section.alignment)?;
        if let Some(slot) = self.sections.get_mut(index) {
            *slot = Some(place);
        }
        Ok(())
    }

    /// Arrays of pointers, one behind the other without gaps, in the order of their priorities.
    fn place_array(
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
    fn place_constants(&mut self) -> Result<Range<u64>, LinkError> {
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
    fn place_pieces(&mut self, frames: &Frames) -> Result<(PlacedPieces, Range<u64>), LinkError> {
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

    fn place_commons(&mut self) -> Result<Vec<u64>, LinkError> {
        let mut places = Vec::with_capacity(self.reached.commons.symbols.len());
        for &symbol in &self.reached.commons.symbols {
            if let Value::Common { size, alignment } = self.input.symbol(symbol)?.value {
                places.push(self.cursor.take(size, alignment)?);
            }
        }
        Ok(places)
    }
}

struct Cursor {
    at: u64,
    alignment: u64,
}

impl Cursor {
    fn take(&mut self, size: u64, alignment: u64) -> Result<u64, LinkError> {
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
