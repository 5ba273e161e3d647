//! A place in the image for everything that is kept.
//!
//! Sizes are summed before a byte is written, so that an object cannot ask for memory out of
//! proportion to its own size.

use super::debug::{self, DebugLayout};
use super::frames::Frames;
use super::place::{Cursor, PlacedPieces, Plan};
use super::reach::Reached;
use super::read::{Input, Symbol, SymbolKind, Value};
use super::sections::SectionKind;
use super::x86_64::borrowed::VENEER_SIZE;
use crate::error::LinkError;
use crate::image::DATA_DISTANCE;
use std::ops::Range;

/// Bytes of a slot.
pub(super) const WORD: u64 = 8;

/// What an image is aligned to of which some code counts in pages.
const PAGE: u64 = 4096;

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
    stub_size: u64,
    indirect_stubs: u64,
    thunks: u64,
    veneers: u64,
    slots: u64,
    slots_with_addend: u64,
    offset_slots: u64,
    pairs: u64,
    pub(super) own_pair: Option<u64>,
    descriptors: u64,
    /// The words that the stubs of indirect functions jump through.
    pub(super) indirect: Range<u64>,
    pub(super) constants: Range<u64>,
    pub(super) debug: DebugLayout,
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
                Some(self.indirect_stubs + self.stub_size * reached.indirect.get(id)?)
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

    /// The place of the slot of a symbol and an addend.
    pub(super) fn slot_with_addend(
        &self,
        reached: &Reached<'_>,
        symbol: u32,
        addend: i64,
    ) -> Option<u64> {
        let number = reached.slots_with_addend.get((symbol, addend))?;
        Some(self.slots_with_addend + WORD * number)
    }

    /// The place of a symbol's stub.
    pub(super) fn stub(&self, reached: &Reached<'_>, symbol: u32) -> Option<u64> {
        Some(self.stubs + self.stub_size * reached.stubs.get(symbol)?)
    }

    /// The place of the thunk that leads to a function.
    pub(super) fn thunk(&self, reached: &Reached<'_>, symbol: u32, addend: i64) -> Option<u64> {
        Some(self.thunks + self.stub_size * reached.thunks.get((symbol, addend))?)
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
    let mut plan = Plan::new(input, reached);

    let stub_size = input.target.machine.stub_size();
    let stub_count = reached.stubs.len() + reached.indirect.len() + reached.thunks.len();
    // Without stubs the text ends with its last function.
    let stub_alignment = if stub_count == 0 { 1 } else { stub_size };
    let stubs = plan.place_text(stub_size * stub_count, stub_alignment, input.has_far_text)?;
    let indirect_stubs = stubs + stub_size * reached.stubs.len();
    let thunks = indirect_stubs + stub_size * reached.indirect.len();
    if reached.pages || stub_count != 0 && input.target.machine.stubs_count_in_pages() {
        plan.cursor.alignment = plan.cursor.alignment.max(PAGE);
    }
    let veneer_count = reached.veneers.len();
    let veneer_alignment = if veneer_count == 0 { 1 } else { WORD };
    let veneers = plan
        .cursor
        .take(VENEER_SIZE * veneer_count, veneer_alignment)?;
    let text_size = plan.cursor.at;
    let slots = plan.cursor.take(WORD * reached.slots.len(), WORD)?;
    let slots_with_addend = WORD * reached.slots_with_addend.len();
    let slots_with_addend = plan.cursor.take(slots_with_addend, WORD)?;
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
    let debug = debug::place(input, &mut plan)?;
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
        stub_size,
        indirect_stubs,
        thunks,
        veneers,
        slots,
        slots_with_addend,
        offset_slots,
        pairs,
        own_pair,
        descriptors,
        indirect,
        constants,
        debug,
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
