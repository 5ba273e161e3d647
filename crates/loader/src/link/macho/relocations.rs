//! The relocations of a Mach-O object in the neutral form.

use super::atoms::Atoms;
use super::object::Object;
use super::symbols::{first_of_units, thread_block};
use super::{Kind, MODULE, relocation};
use crate::error::LinkError;
use crate::link::read::{LE, bad, text};
use crate::link::sections::SectionKind;
use crate::link::target::Machine;
use object::macho::{self, RelocationInfo};
use object::read::macho::Section as _;

/// Translates the relocations of all sections that are for memory, and of `__compact_unwind`.
pub(super) fn translate(
    object: &Object<'_>,
    atoms: &mut Atoms<'_>,
    origins: &mut Vec<u32>,
) -> Result<(), LinkError> {
    let mut total = 0;
    for (index, section) in object.sections.iter().enumerate() {
        let units = atoms.of_section(index);
        let first = atoms.units.get(units.start).map(|unit| unit.section.kind);
        // Debug information can have most of an object's relocations.
        let is_wanted = first != Some(SectionKind::NotLoaded) || is_compact_unwind(object, index);
        if !is_wanted {
            continue;
        }
        let malformed =
            |what| move |offset| bad(what, format!("{}+{offset:#x}", text(section.name())));
        let list = section.relocations(LE, object.bytes);
        let list = list.map_err(|_| malformed("relocations that lie outside")(0))?;
        // Sections that overlap in the file could make work without end out of few bytes.
        total += size_of_val(list);
        if total > object.bytes.len() {
            return Err(malformed("relocation sections that overlap")(0));
        }
        let mut list = list.iter().map(|relocation| relocation.info(LE));
        let mut reader = Reader {
            object,
            atoms,
            origins,
            index,
        };
        while let Some(first) = list.next() {
            let at = u64::from(first.r_address);
            let pair = match is_first_of_pair(object.machine, first.r_type) {
                true => Some(list.next().ok_or_else(|| malformed("half a pair")(at))?),
                false => None,
            };
            reader
                .add(first, pair)
                .ok_or_else(|| malformed("a relocation that contradicts itself")(at))?;
        }
        if section.flags.get(LE) & macho::SECTION_TYPE == macho::S_THREAD_LOCAL_VARIABLES {
            add_modules(object, atoms, index);
        }
    }
    Ok(())
}

/// Whether a section holds the compact form of unwind tables.
pub(super) fn is_compact_unwind(object: &Object<'_>, index: usize) -> bool {
    let section = object.sections.get(index);
    section.is_some_and(|section| {
        section.segment_name() == b"__LD" && section.name() == b"__compact_unwind"
    })
}

fn is_first_of_pair(machine: Machine, sort: u8) -> bool {
    match machine {
        Machine::X86_64 => sort == macho::X86_64_RELOC_SUBTRACTOR,
        Machine::Aarch64 => {
            matches!(
                sort,
                macho::ARM64_RELOC_SUBTRACTOR | macho::ARM64_RELOC_ADDEND
            )
        }
    }
}

/// The keys of descriptors of thread-locals: the second of each three words.
fn add_modules(object: &Object<'_>, atoms: &mut Atoms<'_>, index: usize) {
    let block = thread_block(object);
    for unit in atoms.of_section(index) {
        let start = atoms.start(unit);
        let Some(unit) = atoms.units.get_mut(unit) else {
            continue;
        };
        let size = unit.section.size;
        // Of the words, counted in the section, that lie in this unit.
        let keys = (start / 24..).map(|number| number * 24 + 8);
        let keys = keys.skip_while(|key| *key < start);
        for key in keys.take_while(|key| key + 8 <= start + size) {
            let kind = Kind::new(MODULE, 8, false);
            unit.relocations
                .push(relocation(key - start, kind, block, 0));
        }
    }
}

struct Reader<'r, 'o, 'a> {
    object: &'r Object<'o>,
    atoms: &'r mut Atoms<'a>,
    origins: &'r mut Vec<u32>,
    /// The section's number, from 0.
    index: usize,
}

/// A symbol by its number, and what is added to it.
type Target = (u32, i64);

impl Reader<'_, '_, '_> {
    /// Adds a relocation, or a pair of them, to the unit in which it stands. `None` if it cannot be.
    fn add(&mut self, first: RelocationInfo, second: Option<RelocationInfo>) -> Option<()> {
        let at = u64::from(first.r_address);
        // Scattered ones are of machines before these.
        if first.r_address & macho::R_SCATTERED != 0 && self.object.machine == Machine::Aarch64 {
            return None;
        }
        let width = 1 << first.r_length;
        let sort = first.r_type;
        let kind = Kind::new(sort, width, first.r_pcrel);
        let (kind, (symbol, addend)) = match (self.object.machine, second) {
            (_, Some(second)) if sort_is_subtractor(self.object.machine, sort) => {
                let is_whole = second.r_address == first.r_address
                    && second.r_length == first.r_length
                    && second.r_type == macho::X86_64_RELOC_UNSIGNED
                    && !second.r_pcrel
                    && first.r_extern;
                if !is_whole {
                    return None;
                }
                self.difference(kind, first, second)?
            }
            (_, Some(second)) => {
                // 24 bits with a sign, in the place of the symbol's number.
                let addend = i64::from((first.r_symbolnum << 8) as i32 >> 8);
                let (symbol, _) = self.symbol(&second).filter(|_| second.r_extern)?;
                let kind = Kind::new(second.r_type, 1 << second.r_length, second.r_pcrel);
                if second.r_address != first.r_address {
                    return None;
                }
                (kind, (symbol, addend))
            }
            (Machine::X86_64, None) if first.r_pcrel => {
                let bias = match sort {
                    macho::X86_64_RELOC_SIGNED_1 => 1,
                    macho::X86_64_RELOC_SIGNED_2 => 2,
                    macho::X86_64_RELOC_SIGNED_4 => 4,
                    _ => 0,
                };
                let content = self.object.number(self.index, at, width)?;
                let target = match first.r_extern {
                    true => {
                        let (symbol, _) = self.symbol(&first)?;
                        (symbol, content - 4)
                    }
                    // The distance as if the object were loaded where its addresses say.
                    false => {
                        let end = self.address(at)?.wrapping_add(4 + bias);
                        let (symbol, offset) =
                            self.unit(&first, end.wrapping_add_signed(content))?;
                        (symbol, offset - 4 - bias as i64)
                    }
                };
                (kind, target)
            }
            (_, None) if is_number(self.object.machine, sort) => {
                let content = self.object.number(self.index, at, width)?;
                (kind, self.target(&first, content)?)
            }
            (_, None) => {
                let (symbol, _) = self.symbol(&first).filter(|_| first.r_extern)?;
                (kind, (symbol, 0))
            }
        };
        let (unit, offset) = self.atoms.find(self.index, at)?;
        let unit = self.atoms.units.get_mut(unit)?;
        unit.relocations
            .push(relocation(offset, kind, symbol, addend));
        Some(())
    }

    /// A difference of two symbols; of one from the very unit in which it stands, a distance.
    fn difference(
        &mut self,
        kind: Kind,
        first: RelocationInfo,
        second: RelocationInfo,
    ) -> Option<(Kind, Target)> {
        let at = u64::from(first.r_address);
        let content = self.object.number(self.index, at, kind.width)?;
        let (symbol, addend) = self.target(&second, content)?;
        let (origin, _) = self.symbol(&first)?;
        let place = self.place_of(first.r_symbolnum);
        let (unit, offset) = self.atoms.find(self.index, at)?;
        if let Some((origin_unit, origin_offset)) = place
            && origin_unit == unit
        {
            let behind = offset as i64 - origin_offset as i64;
            let kind = Kind::new(macho::X86_64_RELOC_UNSIGNED, kind.width, true);
            return Some((kind, (symbol, addend.wrapping_add(behind))));
        }
        let number = u32::try_from(self.origins.len()).ok()?;
        self.origins.push(origin);
        let kind = Kind {
            origin: (number < 1 << 24).then_some(number)?,
            ..kind
        };
        Some((kind, (symbol, addend)))
    }

    /// What a number refers to that has `content` in its field.
    fn target(&self, info: &RelocationInfo, content: i64) -> Option<Target> {
        match info.r_extern {
            true => self.symbol(info).map(|(symbol, _)| (symbol, content)),
            false => self.unit(info, content as u64),
        }
    }

    /// A symbol of the object.
    fn symbol(&self, info: &RelocationInfo) -> Option<Target> {
        let is_there = (info.r_symbolnum as usize) < self.object.symbols.len();
        is_there.then_some((1 + info.r_symbolnum, 0))
    }

    /// The unit at an address in the section that a relocation names.
    fn unit(&self, info: &RelocationInfo, address: u64) -> Option<Target> {
        let section = self.object.section(info.r_symbolnum)?;
        let offset = address.wrapping_sub(section.addr.get(LE));
        let index = info.r_symbolnum as usize - 1;
        // A little before or behind it is still meant to be counted from it.
        let (unit, offset) = match offset <= section.size.get(LE) {
            true => {
                let (unit, offset) = self.atoms.find(index, offset)?;
                (unit, offset as i64)
            }
            false => (self.atoms.of_section(index).start, offset as i64),
        };
        Some((first_of_units(self.object) + unit as u32, offset))
    }

    /// The unit and offset of a symbol that the object defines.
    fn place_of(&self, symbol: u32) -> Option<(usize, u64)> {
        let symbol = self.object.symbols.get(symbol as usize)?;
        let is_defined = symbol.n_type & macho::N_TYPE == macho::N_SECT;
        let section = usize::from(symbol.n_sect)
            .checked_sub(1)
            .filter(|_| is_defined)?;
        let start = self.object.sections.get(section)?.addr.get(LE);
        let offset = symbol.n_value.get(LE).checked_sub(start)?;
        self.atoms.find(section, offset)
    }

    /// The address of an offset in the section, by the object.
    fn address(&self, offset: u64) -> Option<u64> {
        let section = self.object.sections.get(self.index)?;
        section.addr.get(LE).checked_add(offset)
    }
}

fn sort_is_subtractor(machine: Machine, sort: u8) -> bool {
    sort == match machine {
        Machine::X86_64 => macho::X86_64_RELOC_SUBTRACTOR,
        Machine::Aarch64 => macho::ARM64_RELOC_SUBTRACTOR,
    }
}

/// Whether the field of a kind holds its addend. That of a distance to a slot does not: assemblers leave
/// what they have reckoned for a section that begins at 0.
fn is_number(machine: Machine, sort: u8) -> bool {
    sort == match machine {
        Machine::X86_64 => macho::X86_64_RELOC_UNSIGNED,
        Machine::Aarch64 => macho::ARM64_RELOC_UNSIGNED,
    }
}
