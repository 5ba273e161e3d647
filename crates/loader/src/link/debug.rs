//! Debug information, where it is kept: for debuggers, and of no use to the code.
//!
//! Its sections lie in the payload, those of one name side by side, as side tables under their names. It
//! keeps nothing alive: what it says of functions that were dropped says 0. Addresses are words that are
//! complete when the image is loaded, as everywhere. Offsets from the beginning of another section of
//! debug information are right within the image; a table says where they stand, so that a debugger can
//! be given the information of several images as one (see [`symbol_file`](crate::symbol_file)).

use super::layout::Layout;
use super::place::Plan;
use super::read::{Input, LE, Rela, Value, bad, text};
use super::relocate::{Writer, narrow};
use super::sections::{SectionKind, check_extent};
use super::target::Machine;
use crate::error::LinkError;
use crate::image::DEBUG_OFFSETS;
use object::elf;
use std::ops::Range;

/// Where debug information lies.
#[derive(Default)]
pub(super) struct DebugLayout {
    /// Name and place of all sections of one name.
    tables: Vec<(usize, Range<u64>)>,
    /// The sections, in the order of their places, with the numbers of their tables.
    sections: Vec<(usize, usize)>,
    /// The table of offsets.
    offsets: Range<u64>,
}

/// Bytes of an entry in the table of offsets: the place of the field, the number of the debug section.
const OFFSET_SIZE: u64 = 8;

/// What a relocation of debug information asks for.
enum Field {
    Address,
    Offset,
}

/// What a relocation of `machine` asks for; `None` for what is left at 0.
fn field(machine: Machine, relocation: &Rela) -> Option<Field> {
    match (machine, relocation.r_type(LE, false)) {
        (Machine::X86_64, elf::R_X86_64_64) | (Machine::Aarch64, elf::R_AARCH64_ABS64) => {
            Some(Field::Address)
        }
        (Machine::X86_64, elf::R_X86_64_32) | (Machine::Aarch64, elf::R_AARCH64_ABS32) => {
            Some(Field::Offset)
        }
        _ => None,
    }
}

/// Gives all debug information its place.
pub(super) fn place(input: &Input<'_>, plan: &mut Plan<'_, '_>) -> Result<DebugLayout, LinkError> {
    let mut layout = DebugLayout::default();
    if !input.wishes.keep_debug {
        return Ok(layout);
    }
    let mut order = Vec::new();
    let mut offsets = 0u64;
    for (index, section) in input.sections.iter().enumerate() {
        if section.kind == SectionKind::Debug {
            check_extent(section.size, section.alignment, || text(section.name))?;
            let is_offset =
                |r: &&Rela| matches!(field(input.target.machine, r), Some(Field::Offset));
            offsets += section.relocations.iter().filter(is_offset).count() as u64;
            order.push((section.name, index));
        }
    }
    order.sort_unstable();
    let mut last = None;
    for (name, index) in order {
        let start = plan.cursor.at;
        plan.place(index)?;
        if last != Some(name) {
            layout.tables.push((index, start..start));
            last = Some(name);
        }
        let number = layout.tables.len() - 1;
        if let Some((_, range)) = layout.tables.last_mut() {
            range.end = plan.cursor.at;
        }
        layout.sections.push((index, number));
    }
    let start = plan.cursor.take(OFFSET_SIZE * offsets, 1)?;
    layout.offsets = start..plan.cursor.at;
    Ok(layout)
}

impl Writer<'_, '_> {
    /// Writes the debug information, and the table of its offsets.
    pub(super) fn debug_information(&mut self) -> Result<(), LinkError> {
        let (input, layout) = (self.input, self.layout);
        for (index, range) in &layout.debug.tables {
            let name = super::imports::utf8(input.section(*index)?.name)?;
            self.count_name(name)?;
            let place = narrow(range.start)?..narrow(range.end)?;
            self.parts.side_tables.push((name, place));
        }
        let mut next = layout.debug.offsets.start;
        for &(index, _) in &layout.debug.sections {
            let section = input.section(index)?;
            let place = layout.section(index).unwrap_or_default();
            self.bytes(place, section.bytes)?;
            for relocation in section.relocations {
                let Some(field) = field(input.target.machine, relocation) else {
                    continue;
                };
                let width = match field {
                    Field::Address => 8,
                    Field::Offset => 4,
                };
                let offset = relocation.r_offset.get(LE);
                if offset
                    .checked_add(width)
                    .is_none_or(|end| end > section.size)
                {
                    return Err(bad(
                        "a relocation outside its section",
                        format!("{}+{offset:#x}", text(section.name)),
                    ));
                }
                let at = place + offset;
                let symbol = input.symbol(input.target(section, relocation.r_sym(LE, false))?)?;
                let addend = relocation.r_addend.get(LE);
                let Value::Defined { section, offset } = symbol.value else {
                    continue;
                };
                let kind = input.section(section)?.kind;
                let target = layout
                    .section(section)
                    .map(|place| place.wrapping_add(offset));
                match (field, target) {
                    (Field::Address, Some(target))
                        if kind != SectionKind::Debug && !kind.is_thread_local() =>
                    {
                        self.base_word(at, target.wrapping_add_signed(addend))?;
                    }
                    (Field::Offset, Some(target)) if kind == SectionKind::Debug => {
                        let (number, start) = table_of(layout, section).unwrap_or_default();
                        let value = target.wrapping_sub(start).wrapping_add_signed(addend);
                        self.bytes(at, &(value as u32).to_le_bytes())?;
                        self.bytes(next, &narrow(at)?.to_le_bytes())?;
                        self.bytes(next + 4, &narrow(number as u64)?.to_le_bytes())?;
                        next += OFFSET_SIZE;
                    }
                    _ => {}
                }
            }
        }
        let offsets = layout.debug.offsets.start..next;
        if !offsets.is_empty() {
            let place = narrow(offsets.start)?..narrow(offsets.end)?;
            self.parts.side_tables.push((DEBUG_OFFSETS, place));
        }
        Ok(())
    }
}

/// The number and the beginning of the table that a section of debug information is in.
fn table_of(layout: &Layout, section: usize) -> Option<(usize, u64)> {
    let tables = &layout.debug.tables;
    let place = layout.section(section)?;
    let number = tables.partition_point(|(_, range)| range.end <= place);
    // An empty section at the end of a table counts as the next one's beginning, which is as good.
    let (_, range) = tables.get(number).or(tables.last())?;
    Some((number.min(tables.len() - 1), range.start))
}
