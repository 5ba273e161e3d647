//! Sections cut into atoms.

use super::Unit;
use super::object::Object;
use super::sections::{is_split, kind};
use crate::error::LinkError;
use crate::link::read::{LE, bad};
use crate::link::sections::{Section, SectionKind};
use object::macho;
use object::read::macho::{Nlist, Section as _};
use std::ops::Range;

/// The units of an object, and where they come from.
pub(super) struct Atoms<'a> {
    pub(super) units: Vec<Unit<'a>>,
    /// Where each unit begins in its section.
    starts: Vec<u64>,
    /// The units of each section.
    of_section: Vec<Range<usize>>,
    /// Addresses and numbers of the sections, in the order of addresses.
    by_address: Vec<(u64, usize)>,
}

/// Cuts the sections of `object`.
pub(super) fn split<'a>(object: &Object<'a>) -> Result<Atoms<'a>, LinkError> {
    let mut cuts: Vec<(usize, u64)> = Vec::new();
    for symbol in object.symbols {
        let is_cut = !symbol.is_stab()
            && symbol.n_type & macho::N_TYPE == macho::N_SECT
            && symbol.n_desc.get(LE) & macho::N_ALT_ENTRY == 0;
        let section = usize::from(symbol.n_sect).checked_sub(1);
        if let (true, Some(section)) = (is_cut && object.has_atoms, section)
            && let Some(holder) = object.sections.get(section)
        {
            let offset = symbol.n_value.get(LE).wrapping_sub(holder.addr.get(LE));
            // One at the end begins nothing.
            if offset < holder.size.get(LE) {
                cuts.push((section, offset));
            }
        }
    }
    cuts.sort_unstable();
    cuts.dedup();

    let mut atoms = Atoms {
        units: Vec::new(),
        starts: Vec::new(),
        of_section: Vec::new(),
        by_address: Vec::new(),
    };
    // As in ELF, so that 0 is no section.
    atoms.push(empty(SectionKind::NotLoaded), 0);
    for (index, section) in object.sections.iter().enumerate() {
        let first = atoms.units.len();
        let sort = kind(section);
        let size = section.size.get(LE);
        let align = section.align.get(LE);
        let is_zero = matches!(sort, SectionKind::Zero | SectionKind::ThreadZero);
        let bytes = match is_zero || sort == SectionKind::NotLoaded {
            true => &[][..],
            false => object.contents(index)?,
        };
        let retained = section.flags.get(LE) & macho::S_ATTR_NO_DEAD_STRIP != 0;
        let whole = Section {
            name: section.name(),
            kind: sort,
            // More is refused when it is kept.
            alignment: 1u64.checked_shl(align).unwrap_or(u64::MAX),
            size,
            bytes,
            retained: retained || sort == SectionKind::SideTable,
            ..empty(sort)
        };
        let own = cuts.partition_point(|&(section, _)| section < index);
        let own = cuts.get(own..).unwrap_or_default();
        let own = own.iter().take_while(|&&(section, _)| section == index);
        let mut start = 0;
        if is_split(section, sort) {
            for &(_, cut) in own {
                if cut > start {
                    atoms.push(part(&whole, start..cut)?, start);
                    start = cut;
                }
            }
        }
        atoms.push(part(&whole, start..size)?, start);
        atoms.of_section.push(first..atoms.units.len());
        if size != 0 {
            atoms.by_address.push((section.addr.get(LE), index));
        }
    }
    atoms.by_address.sort_unstable();
    Ok(atoms)
}

impl<'a> Atoms<'a> {
    pub(super) fn push(&mut self, section: Section<'a>, start: u64) {
        self.starts.push(start);
        self.units.push(Unit {
            section,
            made: None,
            relocations: Vec::new(),
        });
    }

    /// The units of a section.
    pub(super) fn of_section(&self, section: usize) -> Range<usize> {
        self.of_section.get(section).cloned().unwrap_or(0..0)
    }

    /// The unit that has `offset` of a section, and the offset in it. The end belongs to the last.
    pub(super) fn find(&self, section: usize, offset: u64) -> Option<(usize, u64)> {
        let units = self.of_section.get(section)?.clone();
        let starts = self.starts.get(units.clone())?;
        let number = starts.partition_point(|start| *start <= offset);
        let start = starts.get(number.checked_sub(1)?)?;
        Some((units.start + number - 1, offset - start))
    }

    /// The unit at an address of the object, and the offset in it.
    pub(super) fn find_address(&self, object: &Object<'_>, address: u64) -> Option<(usize, u64)> {
        let number = self
            .by_address
            .partition_point(|(start, _)| *start <= address);
        let &(start, section) = self.by_address.get(number.checked_sub(1)?)?;
        let size = object.sections.get(section)?.size.get(LE);
        let offset = address - start;
        (offset <= size)
            .then(|| self.find(section, offset))
            .flatten()
    }

    /// Where a unit begins in its section.
    pub(super) fn start(&self, unit: usize) -> u64 {
        self.starts.get(unit).copied().unwrap_or(0)
    }
}

fn empty<'a>(kind: SectionKind) -> Section<'a> {
    Section {
        name: &[],
        kind,
        alignment: 1,
        size: 0,
        bytes: &[],
        relocations: &[],
        retained: false,
        about: None,
        first_symbol: 0,
        symbol_count: 0,
    }
}

/// A part of a section: as aligned as its beginning is within the whole.
fn part<'a>(whole: &Section<'a>, range: Range<u64>) -> Result<Section<'a>, LinkError> {
    let outside = || bad("contents that lie outside", "an atom");
    let bytes = match whole.bytes {
        [] => &[][..],
        bytes => {
            let start = usize::try_from(range.start).map_err(|_| outside())?;
            let end = usize::try_from(range.end).map_err(|_| outside())?;
            bytes.get(start..end).ok_or_else(outside)?
        }
    };
    let own = match range.start {
        0 => whole.alignment,
        start => (1 << start.trailing_zeros()).min(whole.alignment),
    };
    Ok(Section {
        alignment: own,
        size: range.end - range.start,
        bytes,
        ..whole.clone()
    })
}
