//! Writes the payload and the data, and notes what is left to fix up when the image is loaded.
//!
//! Which bytes a reference becomes is the machine's business; where they go, and what they refer to, is
//! here.

use super::frames::Frames;
use super::layout::Layout;
use super::reach::Reached;
use super::read::{Input, Symbol, Value, bad, text};
use super::relocate_x86_64::{self as machine, Action, Rewrite, To};
use super::sections::SectionKind;
use crate::error::LinkError;
use crate::image::DATA_DISTANCE;
use crate::image::write::{ImportName, Parts};
use rustc_hash::FxHashMap;
use std::ops::Range;

/// Writes the payload and the data, with everything resolved that can be resolved without knowing
/// where the image will lie.
pub(super) fn relocate<'a>(
    input: &Input<'a>,
    frames: &Frames,
    reached: &Reached<'a>,
    layout: &Layout,
) -> Result<Parts<'a>, LinkError> {
    let mut writer = Writer {
        input,
        reached,
        layout,
        import_of: FxHashMap::default(),
        parts: empty_parts(layout)?,
    };
    for &index in &reached.sections {
        writer.section(index)?;
    }
    writer.unwind_entries(frames)?;
    writer.slots_and_stubs()?;
    for &(name, symbol) in &reached.roots {
        let value = input.symbol(symbol)?.value;
        let place = layout.place(reached, symbol, value);
        let place = place.ok_or_else(|| bad("a root without a place", name))?;
        writer.parts.exports.push((name, narrow(place)?));
    }
    let mut parts = writer.parts;
    parts.symbol_fixups.sort_unstable();
    parts.base_fixups.sort_unstable();
    Ok(parts)
}

fn empty_parts<'a>(layout: &Layout) -> Result<Parts<'a>, LinkError> {
    let range = |range: &Range<u64>| Ok(narrow(range.start)?..narrow(range.end)?);
    let mut payload = vec![0; narrow(layout.payload_size)? as usize];
    let text_size = narrow(layout.text_size)?;
    if let Some(text) = payload.get_mut(..text_size as usize) {
        text.fill(machine::FILLER);
    }
    Ok(Parts {
        payload,
        text_size,
        data: vec![0; narrow(layout.data_file_size)? as usize],
        data_memory_size: narrow(layout.data_memory_size)?,
        alignment: narrow(layout.alignment)?,
        unwind: range(&layout.unwind)?,
        init: range(&layout.init)?,
        fini: range(&layout.fini)?,
        ..Parts::default()
    })
}

struct Writer<'w, 'a> {
    input: &'w Input<'a>,
    reached: &'w Reached<'a>,
    layout: &'w Layout,
    import_of: FxHashMap<u32, u32>,
    parts: Parts<'a>,
}

impl<'a> Writer<'_, 'a> {
    fn section(&mut self, index: usize) -> Result<(), LinkError> {
        let input = self.input;
        let section = input.section(index)?;
        let place = self.layout.section(index);
        let place = place.ok_or_else(|| bad("a section without a place", text(section.name)))?;
        if section.kind == SectionKind::Zero {
            return match section.relocations.is_empty() {
                true => Ok(()),
                false => Err(bad(
                    "relocations of a section without contents",
                    text(section.name),
                )),
            };
        }
        if section.bytes.len() as u64 != section.size {
            return Err(bad(
                "a section that is shorter than its size",
                text(section.name),
            ));
        }
        self.bytes(place, section.bytes)?;
        for relocation in section.relocations {
            if let Some(reference) = machine::classify(input, index, relocation)? {
                self.apply(index, &reference, place.wrapping_add(reference.offset))?;
            }
        }
        Ok(())
    }

    fn unwind_entries(&mut self, frames: &Frames) -> Result<(), LinkError> {
        let input = self.input;
        let mut place_of = FxHashMap::default();
        for (&index, &place) in self.reached.pieces.iter().zip(&self.layout.pieces) {
            place_of.insert(index, place);
            let piece = frames.piece(index)?;
            let section = input.section(piece.section)?;
            let bytes = section.bytes.get(piece.range.clone());
            let start = piece.range.start as u64;
            self.bytes(place, bytes.unwrap_or_default())?;
            for relocation in frames.relocations(piece) {
                if let Some(reference) = machine::classify(input, piece.section, relocation)? {
                    // In the section, so the sum is small; in the piece, so it is not negative.
                    let at = place.wrapping_add(reference.offset.wrapping_sub(start));
                    if reference.offset < start + 8 {
                        return Err(bad(
                            "a relocation of an unwind entry's length",
                            format!("{}+{:#x}", text(section.name), reference.offset),
                        ));
                    }
                    self.apply(piece.section, &reference, at)?;
                }
            }
            if let Some(common) = piece.common {
                let common = place_of.get(&common).copied();
                let common = common.ok_or_else(|| bad("a CIE behind its FDE", ".eh_frame"))?;
                let distance = narrow(place + 4 - common)?;
                self.bytes(place + 4, &distance.to_le_bytes())?;
            }
        }
        Ok(())
    }

    fn slots_and_stubs(&mut self) -> Result<(), LinkError> {
        for &symbol_index in &self.reached.slots.symbols {
            let symbol = self.input.symbol(symbol_index)?;
            let slot = self.layout.slot(self.reached, symbol_index);
            let slot = slot.ok_or_else(|| bad("a symbol without a slot", text(symbol.name)))?;
            self.address(slot, symbol_index, &symbol, 0)?;
        }
        if let Some(handle) = self.layout.handle {
            self.bytes(handle, &handle.to_le_bytes())?;
            self.parts.base_fixups.push(narrow(handle)?);
        }
        for &symbol in &self.reached.stubs.symbols {
            let stub = self.layout.stub(self.reached, symbol);
            let slot = self.layout.slot(self.reached, symbol);
            let (Some(stub), Some(slot)) = (stub, slot) else {
                return Err(bad("a symbol without a stub", format!("symbol {symbol}")));
            };
            // Slots lie behind the stubs, and both within the payload.
            let distance = i32::try_from(slot - stub).unwrap_or(i32::MAX);
            self.bytes(stub, &machine::stub(distance))?;
        }
        Ok(())
    }

    /// Applies `reference`, whose field lies at `at` in the image.
    fn apply(
        &mut self,
        section: usize,
        reference: &machine::Reference<'_>,
        at: u64,
    ) -> Result<(), LinkError> {
        let machine::Reference {
            symbol,
            symbol_index,
            addend,
            ..
        } = *reference;
        let site = || self.input.site(section, reference.offset, &symbol);
        let missing = || bad("a symbol without a place", site().to_string());
        let target = |to| match to {
            To::Symbol => self.layout.place(self.reached, symbol_index, symbol.value),
            To::Slot => self.layout.slot(self.reached, symbol_index),
            To::Stub => self.layout.stub(self.reached, symbol_index),
        };
        match reference.action {
            Action::Address => {
                let symbol = self.input.symbol(symbol_index)?;
                self.address(at, symbol_index, &symbol, addend)
            }
            Action::Distance64 => {
                let target = target(To::Symbol).ok_or_else(missing)?;
                let value = target.wrapping_add_signed(addend).wrapping_sub(at);
                self.bytes(at, &value.to_le_bytes())
            }
            Action::Distance32(to, rewrite) => {
                let target = target(to).ok_or_else(missing)?;
                let value = target.wrapping_add_signed(addend).wrapping_sub(at) as i64;
                let out_of_reach = || LinkError::OutOfReach {
                    relocation: reference.relocation,
                    value,
                    site: site(),
                };
                if rewrite == Rewrite::None {
                    let value = i32::try_from(value).map_err(|_| out_of_reach())?;
                    return self.bytes(at, &value.to_le_bytes());
                }
                let instruction = self.bytes_mut(at.wrapping_sub(2), 6)?;
                let instruction = instruction.first_chunk_mut().ok_or_else(missing)?;
                machine::rewrite(rewrite, instruction, value).ok_or_else(out_of_reach)
            }
        }
    }

    /// Writes an 8-byte word that is to hold the address of a symbol.
    fn address(
        &mut self,
        at: u64,
        symbol_index: u32,
        symbol: &Symbol<'a>,
        addend: i64,
    ) -> Result<(), LinkError> {
        let value = match symbol.value {
            Value::Absolute(value) => value,
            Value::Undefined => {
                let import = self.import(symbol_index, symbol)?;
                self.parts.symbol_fixups.push((narrow(at)?, import));
                0
            }
            value => {
                let place = self.layout.place(self.reached, symbol_index, value);
                self.parts.base_fixups.push(narrow(at)?);
                place.ok_or_else(|| bad("a symbol without a place", text(symbol.name)))?
            }
        };
        self.bytes(at, &value.wrapping_add_signed(addend).to_le_bytes())
    }

    fn import(&mut self, symbol_index: u32, symbol: &Symbol<'a>) -> Result<u32, LinkError> {
        if let Some(&import) = self.import_of.get(&symbol_index) {
            return Ok(import);
        }
        let name = std::str::from_utf8(symbol.name)
            .map_err(|_| bad("a name that is not UTF-8", text(symbol.name)))?;
        let import = narrow(self.parts.imports.len() as u64)?;
        self.parts.imports.push(ImportName {
            name,
            weak: symbol.weak,
        });
        self.import_of.insert(symbol_index, import);
        Ok(import)
    }

    fn bytes(&mut self, place: u64, bytes: &[u8]) -> Result<(), LinkError> {
        self.bytes_mut(place, bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }

    fn bytes_mut(&mut self, place: u64, size: usize) -> Result<&mut [u8], LinkError> {
        let (area, offset) = match place.checked_sub(DATA_DISTANCE) {
            None => (&mut self.parts.payload, place),
            Some(offset) => (&mut self.parts.data, offset),
        };
        let target = usize::try_from(offset)
            .ok()
            .and_then(|start| area.get_mut(start..)?.get_mut(..size));
        target.ok_or_else(|| bad("a field outside the image", format!("{place:#x}")))
    }
}

fn narrow(value: u64) -> Result<u32, LinkError> {
    u32::try_from(value).map_err(|_| LinkError::TooLarge {
        needed: value,
        limit: u32::MAX.into(),
    })
}
