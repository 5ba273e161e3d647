//! Writes the payload and the data, and notes what is left to fix up when the image is loaded.
//!
//! Here is what an image is made of, piece by piece, and the words in it. What becomes of the references in between is in
//! [`fields`](super::fields).

use super::frames::Frames;
use super::imports::utf8;
use super::layout::Layout;
use super::reach::{Indexed, Reached};
use super::read::{Input, Value, bad, text};
use super::reference::{Action, Reference, Word};
use super::sections::{Section, SectionKind, side_table_name};
use super::shared;
use super::x86_64::type_tables;
use crate::error::LinkError;
use crate::image::DATA_DISTANCE;
use crate::image::format::ImportKind;
use crate::image::write::{ImportName, Parts, SharedVariable};
use rustc_hash::FxHashMap;
use std::ops;

/// Writes the payload and the data, with everything resolved that can be resolved without knowing
/// where the image will lie.
pub(super) fn relocate<'a>(
    input: &Input<'a>,
    frames: &Frames,
    reached: &Reached<'a>,
    layout: &Layout,
) -> Result<Parts<'a>, LinkError> {
    let (sharable, sharable_index) = shared::sharable(input, reached)?;
    let mut writer = Writer {
        input,
        reached,
        layout,
        sharable: sharable_index,
        import_of: FxHashMap::default(),
        name_budget: layout.limit,
        typed: FxHashMap::default(),
        parts: empty_parts(input, reached, layout)?,
    };
    for entry in &sharable {
        writer.sharable(entry)?;
    }
    for &index in &reached.sections {
        writer.section(index)?;
    }
    writer.unwind_entries(frames)?;
    writer.types_are_led()?;
    writer.slots_and_stubs()?;
    writer.thunks()?;
    writer.thread_slots()?;
    writer.indirect_functions()?;
    writer.debug_information()?;
    let mut hashes = FxHashMap::default();
    for &(name, id) in &reached.roots {
        // Loaded code knows its exports by their hashes alone. Most images have one.
        if reached.roots.len() > 1 {
            let other = hashes.insert(rekindle_cache_core::symbol_hash(name), name);
            if other.is_some_and(|other| other != name) {
                return Err(bad("two roots whose names have one hash", name));
            }
        }
        let place = layout.place(reached, id, &input.symbol(id)?);
        let place = place.ok_or_else(|| bad("a root without a place", name))?;
        writer.parts.exports.push((name, narrow(place)?));
    }
    let mut parts = writer.parts;
    parts.symbol_fixups.sort_unstable();
    parts.narrow_fixups.sort_unstable();
    parts.base_fixups.sort_unstable();
    parts.low_fixups.sort_unstable();
    (parts.kept_size, parts.dropped_size) = sizes(input, frames, reached)?;
    Ok(parts)
}

/// Bytes of the objects' sections that are in the image, and that are not.
fn sizes(
    input: &Input<'_>,
    frames: &Frames,
    reached: &Reached<'_>,
) -> Result<(u32, u32), LinkError> {
    let loaded = |section: &&Section<'_>| {
        !matches!(section.kind, SectionKind::NotLoaded | SectionKind::Debug)
    };
    let total = input.sections.iter().filter(loaded);
    let total = total
        .map(|section| section.size)
        .fold(0, u64::saturating_add);
    let mut kept = 0u64;
    for &index in &reached.sections {
        kept = kept.saturating_add(input.section(index)?.size);
    }
    for &index in &reached.pieces {
        kept = kept.saturating_add(frames.piece(index)?.range.len() as u64);
    }
    let clamp = |size: u64| u32::try_from(size).unwrap_or(u32::MAX);
    Ok((clamp(kept), clamp(total.saturating_sub(kept))))
}

fn empty_parts<'a>(
    input: &Input<'_>,
    reached: &Reached<'_>,
    layout: &Layout,
) -> Result<Parts<'a>, LinkError> {
    let range = |range: &ops::Range<u64>| Ok(narrow(range.start)?..narrow(range.end)?);
    let mut payload = vec![0; narrow(layout.payload_size)? as usize];
    let text_size = narrow(layout.text_size)?;
    if let Some(text) = payload.get_mut(..text_size as usize) {
        input.target.machine.fill(text);
    }
    Ok(Parts {
        machine: input.target.machine.number(),
        payload,
        text_size,
        data: vec![0; narrow(layout.data_file_size)? as usize],
        data_memory_size: narrow(layout.data_memory_size)?,
        alignment: narrow(layout.alignment)?,
        is_low: reached.is_low,
        unwind_size: narrow(layout.unwind.end - layout.unwind.start)?,
        init: range(&layout.init)?,
        fini: range(&layout.fini)?,
        thread_template: range(&layout.template)?,
        thread_memory_size: narrow(layout.thread_memory_size)?,
        thread_alignment: narrow(layout.thread_alignment)?,
        indirect: range(&layout.indirect)?,
        constants: range(&layout.constants)?,
        ..Parts::default()
    })
}

/// Writes an image's parts.
pub(super) struct Writer<'w, 'a> {
    pub(super) input: &'w Input<'a>,
    pub(super) reached: &'w Reached<'a>,
    pub(super) layout: &'w Layout,
    pub(super) sharable: Indexed,
    /// The import of a symbol, for each use that it has.
    pub(super) import_of: FxHashMap<(u32, Word), u32>,
    /// Bytes that the names of imports may still have. Symbols can share one long name in the object,
    /// but not in the image.
    pub(super) name_budget: u64,
    /// Sections with addresses of types to catch that became those of slots, and whether a table that
    /// says so was met.
    pub(super) typed: FxHashMap<usize, bool>,
    pub(super) parts: Parts<'a>,
}

impl<'a> Writer<'_, 'a> {
    fn sharable(&mut self, entry: &shared::Sharable) -> Result<(), LinkError> {
        let symbol = self.input.symbol(entry.symbol)?;
        let place = self.layout.place(self.reached, entry.symbol, &symbol);
        let place = place.ok_or_else(|| bad("a symbol without a place", text(symbol.name)))?;
        let import = self.add_import(ImportName {
            name: utf8(symbol.name)?,
            weak: false,
            is_function: false,
            kind: ImportKind::Shared,
        })?;
        self.import_of.insert((entry.symbol, Word::Address), import);
        self.parts.shared.push(SharedVariable {
            import,
            place: narrow(place)?,
            size: narrow(symbol.size)?,
            partner: entry.partner,
            content: entry.content,
        });
        Ok(())
    }

    fn section(&mut self, index: usize) -> Result<(), LinkError> {
        let input = self.input;
        let section = input.section(index)?;
        let place = self.layout.section(index);
        let place = place.ok_or_else(|| bad("a section without a place", text(section.name)))?;
        if matches!(section.kind, SectionKind::Zero | SectionKind::ThreadZero) {
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
        if let (SectionKind::SideTable, Some(name)) = (section.kind, side_table_name(section.name))
        {
            let name = utf8(name)?;
            self.count_name(name)?;
            let place = narrow(place)?..narrow(place.saturating_add(section.size))?;
            self.parts.side_tables.push((name, place));
        }
        let backwards = section.kind.is_backwards();
        if backwards {
            let words = section.bytes.rchunks(8);
            let turned: Vec<u8> = words.flatten().copied().collect();
            self.bytes(place, &turned)?;
        } else {
            self.bytes(place, section.bytes)?;
        }
        for relocation in section.relocations {
            if let Some(reference) = input.target.classify(input, index, relocation)? {
                let offset = match backwards {
                    false => reference.offset,
                    // The field is of eight bytes and in the section, as an array's have to be.
                    true if reference.action == Action::Word(Word::Address) => {
                        (section.size - 8).wrapping_sub(reference.offset)
                    }
                    true => {
                        return Err(bad(
                            "an array that is not made of pointers",
                            text(section.name),
                        ));
                    }
                };
                self.apply(index, &reference, place.wrapping_add(offset))?;
            }
        }
        Ok(())
    }

    fn unwind_entries(&mut self, frames: &Frames) -> Result<(), LinkError> {
        let input = self.input;
        let mut place_of = FxHashMap::default();
        for &(index, place) in &self.layout.pieces {
            let piece = frames.piece(index)?;
            let section = input.section(piece.section)?;
            let bytes = section.bytes.get(piece.range.clone());
            let start = piece.range.start as u64;
            self.bytes(place, bytes.unwrap_or_default())?;
            for relocation in frames.relocations(piece) {
                if let Some(reference) = input.target.classify(input, piece.section, relocation)? {
                    // In the section, so the sum is small; in the piece, so it is not negative.
                    let at = place.wrapping_add(reference.offset.wrapping_sub(start));
                    let end = reference.offset.saturating_add(reference.width);
                    if end > piece.range.end as u64 {
                        return Err(bad(
                            "a relocation across the end of an unwind entry",
                            format!("{}+{:#x}", text(section.name), reference.offset),
                        ));
                    }
                    if reference.offset < start + 8 {
                        return Err(bad(
                            "a relocation of an unwind entry's length",
                            format!("{}+{:#x}", text(section.name), reference.offset),
                        ));
                    }
                    self.apply(piece.section, &reference, at)?;
                    self.landing_pads(&reference)?;
                }
            }
            match piece.common {
                None => {
                    place_of.insert(index, place);
                }
                Some(common) => {
                    let common = place_of.get(&common).copied();
                    let common = common.ok_or_else(|| bad("a CIE behind its FDE", ".eh_frame"))?;
                    let distance = narrow(place + 4 - common)?;
                    self.bytes(place + 4, &distance.to_le_bytes())?;
                }
            }
        }
        Ok(())
    }

    /// Sees to the types in the table of landing pads that `reference`, of an unwind entry, leads to, if it
    /// has their absolute addresses.
    fn landing_pads(&mut self, reference: &Reference<'_>) -> Result<(), LinkError> {
        let Value::Defined { section, offset } = reference.symbol.value else {
            return Ok(());
        };
        if let Some(&is_led) = self.typed.get(&section)
            && let Some(place) = self.layout.section(section)
        {
            let place = place.wrapping_add(offset);
            let place = place.wrapping_add_signed(reference.addend);
            let head = self.bytes_mut(place, 2)?.first_chunk_mut();
            let led = head.and_then(type_tables::lead_by_slots);
            let led = led.ok_or_else(|| self.unknown_types(section))?;
            self.typed.insert(section, is_led || led);
        }
        Ok(())
    }

    /// An error if types to catch are found by slots, and no table says so.
    fn types_are_led(&self) -> Result<(), LinkError> {
        match self.typed.iter().find(|(_, is_led)| !**is_led) {
            Some((&section, _)) => Err(self.unknown_types(section)),
            None => Ok(()),
        }
    }

    fn unknown_types(&self, section: usize) -> LinkError {
        let section = self.input.section(section);
        LinkError::UnsupportedSection {
            section: section.map_or_else(|_| String::new(), |section| text(section.name)),
            reason: "it names types to catch by addresses, in a table that does not begin as compilers' do by default; compile with -fPIC, or without sections for basic blocks",
        }
    }

    /// Writes an 8-byte word that is complete when the image is loaded, if not already now.
    pub(super) fn word(
        &mut self,
        at: u64,
        id: u32,
        word: Word,
        addend: i64,
    ) -> Result<(), LinkError> {
        let (layout, reached) = (self.layout, self.reached);
        if word == Word::Address
            && reached.functions.get(id).is_some()
            && let Some(stub) = layout.stub(reached, id)
        {
            // A function has one address in all of an image, so that comparisons hold.
            return self.base_word(at, stub.wrapping_add_signed(addend));
        }
        self.word_of_outside(at, id, word, addend)
    }

    /// The same, with the address of a function from outside that is its own.
    pub(super) fn word_of_outside(
        &mut self,
        at: u64,
        id: u32,
        word: Word,
        addend: i64,
    ) -> Result<(), LinkError> {
        let symbol = self.input.symbol(id)?;
        let missing = || bad("a symbol without a place", text(symbol.name));
        let known = match (word, symbol.value) {
            (Word::Address, Value::Absolute(value)) => Some(value),
            (Word::Address, Value::Undefined) => None,
            (Word::Address, _) if self.sharable.get(id).is_some() => None,
            (Word::Address, _) => {
                let place = self.layout.place(self.reached, id, &symbol);
                let place = place.ok_or_else(missing)?;
                return self.base_word(at, place.wrapping_add_signed(addend));
            }
            (Word::ThreadOffset, Value::Undefined) => None,
            (Word::ThreadOffset, _) => {
                Some(self.layout.thread_offset(&symbol).ok_or_else(missing)?)
            }
            (Word::ThreadModule | Word::PointerOffset, _) => None,
        };
        let value = match known {
            Some(value) => value,
            None => {
                let import = self.import(id, word)?;
                self.parts.symbol_fixups.push((narrow(at)?, import));
                0
            }
        };
        self.bytes(at, &value.wrapping_add_signed(addend).to_le_bytes())
    }

    /// Writes a word that holds the address of a place in the image.
    pub(super) fn base_word(&mut self, at: u64, place: u64) -> Result<(), LinkError> {
        self.parts.base_fixups.push(narrow(at)?);
        self.bytes(at, &place.to_le_bytes())
    }

    pub(super) fn bytes(&mut self, place: u64, bytes: &[u8]) -> Result<(), LinkError> {
        self.bytes_mut(place, bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }

    pub(super) fn bytes_mut(&mut self, place: u64, size: usize) -> Result<&mut [u8], LinkError> {
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

/// A figure of the image's.
pub(super) fn narrow(value: u64) -> Result<u32, LinkError> {
    u32::try_from(value).map_err(|_| LinkError::TooLarge {
        needed: value,
        limit: u32::MAX.into(),
    })
}
