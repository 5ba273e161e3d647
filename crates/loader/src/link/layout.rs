//! A place in the image for everything that is kept.
//!
//! Sizes are summed before a byte is written, so that an object cannot ask for memory out of
//! proportion to its own size.

use super::frames::Frames;
use super::reach::Reached;
use super::read::{Input, Value, bad, text};
use super::sections::SectionKind;
use crate::error::LinkError;
use crate::image::DATA_DISTANCE;
use std::ops::Range;

/// Bytes of a slot, and of a stub: `jmp *slot(%rip)` and two bytes that are never run.
pub(super) const WORD: u64 = 8;

/// Where everything lies. Places are as in the image's format.
pub(super) struct Layout {
    /// By the object's section numbers.
    sections: Vec<Option<u64>>,
    /// In the order of [`Reached::pieces`].
    pub(super) pieces: Vec<u64>,
    commons: Vec<u64>,
    pub(super) stubs: u64,
    pub(super) slots: u64,
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
    /// The place of what `value` (of symbol number `index`) stands for, if that is in the image.
    pub(super) fn place(&self, reached: &Reached<'_>, index: u32, value: Value) -> Option<u64> {
        match value {
            Value::Defined { section, offset } => self.section(section)?.checked_add(offset),
            Value::Common { .. } => {
                let number = reached.commons.get(index)?;
                self.commons.get(usize::try_from(number).ok()?).copied()
            }
            Value::Handle => self.handle,
            Value::Absolute(_) | Value::Undefined => None,
        }
    }

    /// The place of a kept section.
    pub(super) fn section(&self, index: usize) -> Option<u64> {
        self.sections.get(index).copied().flatten()
    }

    /// The place of a symbol's slot.
    pub(super) fn slot(&self, reached: &Reached<'_>, symbol: u32) -> Option<u64> {
        Some(self.slots + WORD * reached.slots.get(symbol)?)
    }

    /// The place of a symbol's stub.
    pub(super) fn stub(&self, reached: &Reached<'_>, symbol: u32) -> Option<u64> {
        Some(self.stubs + WORD * reached.stubs.get(symbol)?)
    }
}

/// Gives everything in `reached` its place.
pub(super) fn lay_out(
    input: &Input<'_>,
    frames: &Frames,
    reached: &Reached<'_>,
) -> Result<Layout, LinkError> {
    // Ten times the object leaves room for stubs, slots and padding; small objects may need more.
    let limit = input.size.saturating_mul(10).saturating_add(64 << 10);
    let mut plan = Plan {
        input,
        reached,
        sections: vec![None; input.sections.len()],
        cursor: Cursor {
            at: 0,
            alignment: WORD,
        },
    };

    plan.place_all(|kind| kind == SectionKind::Text)?;
    // Without stubs the text ends with its last function.
    let stub_alignment = if reached.stubs.symbols.is_empty() {
        1
    } else {
        WORD
    };
    let stubs_size = WORD * reached.stubs.symbols.len() as u64;
    let stubs = plan.cursor.take(stubs_size, stub_alignment)?;
    let text_size = plan.cursor.at;
    let slots = plan
        .cursor
        .take(WORD * reached.slots.symbols.len() as u64, WORD)?;
    let handle = match reached.handle {
        true => Some(plan.cursor.take(WORD, WORD)?),
        false => None,
    };
    plan.place_all(|kind| kind == SectionKind::ReadOnly)?;
    let init = plan.place_array(|kind| match kind {
        SectionKind::Initialisers(priority) => Some(priority),
        _ => None,
    })?;
    let fini = plan.place_array(|kind| match kind {
        SectionKind::Finalisers(priority) => Some(priority),
        _ => None,
    })?;
    let (pieces, unwind) = plan.place_pieces(frames)?;
    let payload_size = plan.cursor.at;

    let payload_alignment = plan.cursor.alignment;
    plan.cursor = Cursor {
        at: DATA_DISTANCE,
        alignment: payload_alignment,
    };
    plan.place_all(|kind| kind == SectionKind::Data)?;
    let data_file_size = plan.cursor.at - DATA_DISTANCE;
    plan.place_all(|kind| kind == SectionKind::Zero)?;
    let commons = plan.place_commons()?;
    let data_memory_size = plan.cursor.at - DATA_DISTANCE;

    for (needed, limit) in [
        (payload_size, DATA_DISTANCE),
        (data_memory_size, DATA_DISTANCE),
        (payload_size + data_file_size, limit),
    ] {
        if needed > limit {
            return Err(LinkError::TooLarge { needed, limit });
        }
    }
    Ok(Layout {
        sections: plan.sections,
        pieces,
        commons,
        stubs,
        slots,
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

struct Plan<'p, 'a> {
    input: &'p Input<'a>,
    reached: &'p Reached<'p>,
    sections: Vec<Option<u64>>,
    cursor: Cursor,
}

impl Plan<'_, '_> {
    fn place_all(&mut self, kind: impl Fn(SectionKind) -> bool) -> Result<(), LinkError> {
        for &index in &self.reached.sections {
            if kind(self.input.section(index)?.kind) {
                self.place(index)?;
            }
        }
        Ok(())
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
        }
        arrays.sort_unstable();
        let start = self.cursor.take(0, WORD)?;
        for (_, index) in arrays {
            self.place(index)?;
        }
        Ok(start..self.cursor.at)
    }

    fn place_pieces(&mut self, frames: &Frames) -> Result<(Vec<u64>, Range<u64>), LinkError> {
        let start = self.cursor.take(0, WORD)?;
        let mut places = Vec::with_capacity(self.reached.pieces.len());
        for &index in &self.reached.pieces {
            let size = frames.piece(index)?.range.len() as u64;
            // Without gaps: the unwinder goes from one to the next by their lengths.
            places.push(self.cursor.take(size, 1)?);
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
