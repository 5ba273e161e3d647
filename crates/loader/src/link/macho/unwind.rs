//! Unwind tables in the neutral form: `.eh_frame` of which every reference has a relocation.
//!
//! Assemblers leave distances within an object in `__eh_frame` as they are, without relocations, which
//! would be wrong as soon as something moves. And most functions have no entry there but one in
//! `__compact_unwind`.

use super::atoms::Atoms;
use super::object::Object;
use super::relocations::is_compact_unwind;
use super::symbols::first_of_units;
use super::{Kind, Unit, compact, relocation};
use crate::augmentation::{Encodings, encodings, width_of};
use crate::error::LinkError;
use crate::link::read::{LE, Rela, bad};
use crate::link::sections::{Section, SectionKind};
use crate::link::target::Machine;
use object::macho;
use object::read::macho::Nlist;
use rustc_hash::{FxHashMap, FxHashSet};

/// Completes `__eh_frame`, and adds a unit for what is in the compact form alone.
pub(super) fn translate(object: &Object<'_>, atoms: &mut Atoms<'_>) -> Result<(), LinkError> {
    let mut covered = FxHashSet::default();
    for index in 0..object.sections.len() {
        let units = atoms.of_section(index);
        let kind = atoms.units.get(units.start).map(|unit| unit.section.kind);
        if kind == Some(SectionKind::Unwind) {
            complete(object, atoms, index, &mut covered)
                .ok_or_else(|| bad("unwind tables that contradict themselves", "__eh_frame"))?;
        }
    }
    let mut made = Made {
        object,
        bytes: Vec::new(),
        relocations: Vec::new(),
        commons: FxHashMap::default(),
    };
    for index in 0..object.sections.len() {
        if is_compact_unwind(object, index) {
            made.add_section(atoms, index, &mut covered)
                .ok_or_else(|| bad("entries that contradict themselves", "__compact_unwind"))?;
        }
    }
    // Numbers of symbols are those of units: this one is the last, so that no other moves.
    let size = made.bytes.len() as u64;
    atoms.push(
        Section {
            name: b"__compact_unwind",
            kind: SectionKind::Unwind,
            alignment: 8,
            size,
            bytes: &[],
            relocations: &[],
            retained: false,
            about: None,
            first_symbol: 0,
            symbol_count: 0,
        },
        0,
    );
    if let Some(Unit {
        made: bytes,
        relocations,
        ..
    }) = atoms.units.last_mut()
    {
        *bytes = Some(made.bytes);
        *relocations = made.relocations;
    }
    Ok(())
}

/// A function: its unit and the offset in it.
type Function = (usize, u64);

/// Gives the fields of `__eh_frame` that have no relocations some.
fn complete(
    object: &Object<'_>,
    atoms: &mut Atoms<'_>,
    index: usize,
    covered: &mut FxHashSet<Function>,
) -> Option<()> {
    let unit = atoms.of_section(index).start;
    let address = object.sections.get(index)?.addr.get(LE);
    let bytes = atoms.units.get(unit)?.section.bytes;
    let mut known: FxHashMap<u64, (u32, i64)> = FxHashMap::default();
    for relocation in &atoms.units.get(unit)?.relocations {
        let target = (relocation.r_sym(LE, false), relocation.r_addend.get(LE));
        known.insert(relocation.r_offset.get(LE), target);
    }
    let word = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let mut commons: FxHashMap<usize, Encodings> = FxHashMap::default();
    let mut added: Vec<Rela> = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let length = word(at)? as usize;
        if length == 0 {
            break;
        }
        let end = at.checked_add(4)?.checked_add(length)?;
        let entry = bytes.get(at..end)?;
        let distance = word(at + 4)?;
        if distance == 0 {
            commons.insert(at, encodings(entry)?);
            at = end;
            continue;
        }
        let common = (at + 4).checked_sub(distance as usize)?;
        let common = *commons.get(&common)?;
        // The function's address, its size, then the length of what belongs to the personality.
        let field = at + 8;
        let width = width_of(common.function)?;
        let mut point = |field: usize, encoding: u8| -> Option<Option<(u32, i64)>> {
            let place = field as u64;
            if let Some(target) = known.get(&place) {
                return Some(Some(*target));
            }
            let width = width_of(encoding)?;
            let value = object.number(index, place, width as u64)?;
            if value == 0 {
                return Some(None);
            }
            let target = match encoding & 0x70 {
                0x10 => address.wrapping_add(place).wrapping_add_signed(value),
                _ => return None,
            };
            let (unit, offset) = atoms.find_address(object, target)?;
            let symbol = first_of_units(object) + unit as u32;
            let kind = Kind::new(macho::X86_64_RELOC_UNSIGNED, width as u64, true);
            added.push(relocation(place, kind, symbol, offset as i64));
            Some(Some((symbol, offset as i64)))
        };
        let (symbol, addend) = point(field, common.function)??;
        if let Some(encoding) = common.landing_pads {
            let lengths = field + 2 * width;
            let mut pads = lengths;
            while bytes.get(pads)? & 0x80 != 0 {
                pads += 1;
            }
            point(pads + 1, encoding)?;
        }
        covered.insert(place_of(object, atoms, symbol, addend)?);
        at = end;
    }
    atoms.units.get_mut(unit)?.relocations.extend(added);
    Some(())
}

/// Where a symbol with an addend is.
fn place_of(object: &Object<'_>, atoms: &Atoms<'_>, symbol: u32, addend: i64) -> Option<Function> {
    if let Some(unit) = symbol.checked_sub(first_of_units(object)) {
        return Some((unit as usize, addend as u64));
    }
    let symbol = object.symbols.get((symbol as usize).checked_sub(1)?)?;
    if symbol.is_undefined() {
        return None;
    }
    let section = usize::from(symbol.n_sect).checked_sub(1)?;
    let start = object.sections.get(section)?.addr.get(LE);
    let offset = symbol.n_value.get(LE).wrapping_sub(start);
    atoms.find(section, offset.wrapping_add_signed(addend))
}

/// The table that is made of the compact form.
struct Made<'o, 'a> {
    object: &'o Object<'a>,
    bytes: Vec<u8>,
    relocations: Vec<Rela>,
    /// Where the common entry for a personality begins, with or without landing pads.
    commons: FxHashMap<(Option<u32>, bool), usize>,
}

/// Bytes of an entry: function, its size, the encoding, personality, landing pads.
const ENTRY: usize = 32;

impl Made<'_, '_> {
    fn add_section(
        &mut self,
        atoms: &mut Atoms<'_>,
        index: usize,
        covered: &mut FxHashSet<Function>,
    ) -> Option<()> {
        let bytes = self.object.contents(index).ok()?;
        let mut targets: FxHashMap<usize, (u32, i64)> = FxHashMap::default();
        for unit in atoms.of_section(index) {
            let start = atoms.start(unit);
            // They are for this alone, not for memory.
            for relocation in std::mem::take(&mut atoms.units.get_mut(unit)?.relocations) {
                let at = usize::try_from(start + relocation.r_offset.get(LE)).ok()?;
                let target = (relocation.r_sym(LE, false), relocation.r_addend.get(LE));
                targets.insert(at, target);
            }
        }
        for (number, entry) in bytes.chunks_exact(ENTRY).enumerate() {
            let at = number * ENTRY;
            let function = *targets.get(&at)?;
            let size = u32::from_le_bytes(*entry.get(8..)?.first_chunk()?);
            let encoding = u32::from_le_bytes(*entry.get(12..)?.first_chunk()?);
            let (unit, offset) = place_of(self.object, atoms, function.0, function.1)?;
            let code = atoms.units.get(unit)?.section.bytes;
            let code = code
                .get(usize::try_from(offset).ok()?..)
                .unwrap_or_default();
            let machine = self.object.machine;
            if let Some(instructions) = compact::instructions(machine, encoding, code)
                && covered.insert((unit, offset))
            {
                let personality = targets.get(&(at + 16)).map(|(symbol, _)| *symbol);
                let pads = targets.get(&(at + 24)).copied();
                self.add(function, size, personality, pads, &instructions);
            }
        }
        Some(())
    }

    fn add(
        &mut self,
        function: (u32, i64),
        size: u32,
        personality: Option<u32>,
        pads: Option<(u32, i64)>,
        instructions: &[u8],
    ) {
        let key = (personality, pads.is_some());
        let common = match self.commons.get(&key) {
            Some(common) => *common,
            None => self.add_common(personality, pads.is_some()),
        };
        let start = self.begin();
        let distance = (start + 4 - common) as u32;
        self.bytes.extend(distance.to_le_bytes());
        self.point(function);
        self.bytes.extend(size.to_le_bytes());
        match pads {
            Some(pads) => {
                self.bytes.push(4);
                self.point(pads);
            }
            None => self.bytes.push(0),
        }
        self.bytes.extend(instructions);
        self.end(start);
    }

    /// The entry that those of functions with this personality share.
    fn add_common(&mut self, personality: Option<u32>, has_pads: bool) -> usize {
        // From the field, four bytes with a sign; for the personality by way of a slot.
        const DISTANCE: u8 = 0x1b;
        const INDIRECT: u8 = 0x9b;
        let start = self.begin();
        self.bytes.extend(0u32.to_le_bytes());
        self.bytes.push(1);
        let letters: &[u8] = match (personality.is_some(), has_pads) {
            (true, true) => b"zPLR\0",
            (true, false) => b"zPR\0",
            (false, true) => b"zLR\0",
            (false, false) => b"zR\0",
        };
        self.bytes.extend(letters);
        let (link, frame): (u8, &[u8]) = match self.object.machine {
            // Called: the return address lies where the stack pointer leads.
            Machine::X86_64 => (16, &[0x0c, 7, 8, 0x80 | 16, 1]),
            Machine::Aarch64 => (30, &[0x0c, 31, 0]),
        };
        // In units of one byte and of minus eight.
        self.bytes.extend([1, 0x78, link]);
        self.bytes
            .push(1 + u8::from(has_pads) + 5 * u8::from(personality.is_some()));
        if let Some(personality) = personality {
            self.bytes.push(INDIRECT);
            let sort = match self.object.machine {
                Machine::X86_64 => macho::X86_64_RELOC_GOT,
                Machine::Aarch64 => macho::ARM64_RELOC_POINTER_TO_GOT,
            };
            let kind = Kind::new(sort, 4, true);
            let place = self.bytes.len() as u64;
            self.relocations
                .push(relocation(place, kind, personality, 0));
            self.bytes.extend([0; 4]);
        }
        if has_pads {
            self.bytes.push(DISTANCE);
        }
        self.bytes.push(DISTANCE);
        self.bytes.extend(frame);
        self.end(start);
        self.commons.insert((personality, has_pads), start);
        start
    }

    fn begin(&mut self) -> usize {
        let start = self.bytes.len();
        self.bytes.extend([0; 4]);
        start
    }

    /// Fills an entry up, and writes its length.
    fn end(&mut self, start: usize) {
        while !(self.bytes.len() - start).is_multiple_of(8) {
            self.bytes.push(0);
        }
        let length = (self.bytes.len() - start - 4) as u32;
        if let Some(field) = self.bytes.get_mut(start..start + 4) {
            field.copy_from_slice(&length.to_le_bytes());
        }
    }

    /// A distance of four bytes.
    fn point(&mut self, (symbol, addend): (u32, i64)) {
        let kind = Kind::new(macho::X86_64_RELOC_UNSIGNED, 4, true);
        let place = self.bytes.len() as u64;
        self.relocations
            .push(relocation(place, kind, symbol, addend));
        self.bytes.extend([0; 4]);
    }
}
