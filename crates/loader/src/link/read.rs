//! Views of ELF objects, checked as they are read.
//!
//! The `object` crate keeps every access inside the bytes; what it leaves open is checked here: the
//! kind of file, that relocations belong to the symbol table and are not counted twice, and that symbols lie inside their sections.
//!
//! Several objects are numbered through: the sections of the second follow those of the first, and so
//! do its symbols. A single object keeps its own numbers.

use super::Wishes;
use super::macho::Translated;
use super::resolve;
use super::sections::{self, Section, SectionKind};
pub(super) use super::symbols::{Binding, Symbol, SymbolKind, Value};
use super::target::{Format, Target};
use crate::error::{LinkError, Site};
use object::LittleEndian;
use object::elf::{self, FileHeader64, Rela64};
use object::read::elf::{FileHeader, SectionHeader, SectionTable, SymbolTable};
use std::borrow::Cow;

pub(super) type Elf = FileHeader64<LittleEndian>;
pub(super) const LE: LittleEndian = LittleEndian;

/// A relocation, as the object has it.
pub(super) type Rela = Rela64<LittleEndian>;

/// The parsed objects.
pub(super) struct Input<'a> {
    /// What all of them are made for.
    pub(super) target: Target,
    /// What is linked beyond what every image has.
    pub(super) wishes: Wishes,
    /// Whether a branch may have to go further than it reaches.
    pub(super) has_far_text: bool,
    /// Those of all objects; each object's first is its null section.
    pub(super) sections: Vec<Section<'a>>,
    /// Those of all objects; each object's first is its null symbol.
    pub(super) symbols: Vec<Symbol<'a>>,
    /// For each symbol, the one that it stands for; empty for a single object, whose symbols stand for
    /// themselves.
    pub(super) canonical: Vec<u32>,
    /// Sections whose bounds are asked for by `__start_` and `__stop_`, by their names.
    pub(super) bounded: Vec<Vec<usize>>,
    /// The first symbol of each object that is no ELF, and what its differences count from.
    origins: Vec<(u32, &'a [u32])>,
    /// Bytes of the objects.
    pub(super) size: u64,
}

impl<'a> Input<'a> {
    /// Checks the kind of the objects, the outlines of their sections, and their symbols.
    ///
    /// Those of `objects` that are no ELF are in `translated`, by their numbers.
    pub(super) fn parse(
        objects: &[&'a [u8]],
        translated: &'a [Option<Translated<'a>>],
        wishes: Wishes,
    ) -> Result<Self, LinkError> {
        let mut input = Self {
            // Until the first is read.
            target: Target::X86_64,
            wishes,
            has_far_text: false,
            sections: Vec::new(),
            symbols: Vec::new(),
            canonical: Vec::new(),
            bounded: Vec::new(),
            origins: Vec::new(),
            size: 0,
        };
        let mut groups = resolve::Groups::default();
        for (number, bytes) in (0..).zip(objects) {
            let kept = (objects.len() > 1).then_some(&mut groups);
            match translated.get(number as usize) {
                Some(Some(object)) => input.add_translated(number, bytes.len(), object)?,
                _ => input.add(number, bytes, kept)?,
            }
        }
        input.has_far_text = input.has_far_text();
        input.find_bounds();
        if objects.len() > 1 {
            resolve::resolve(&mut input)?;
        }
        Ok(input)
    }

    fn add(
        &mut self,
        number: u32,
        bytes: &'a [u8],
        groups: Option<&mut resolve::Groups<'a>>,
    ) -> Result<(), LinkError> {
        let header = read_header(bytes)?;
        self.set_target(number, target_of(header)?)?;
        let table = header.sections(LE, bytes).map_err(malformed("header"))?;
        let symbols = table
            .symbols(LE, bytes, elf::SHT_SYMTAB)
            .map_err(malformed("symbol table"))?;
        self.size = self.size.saturating_add(bytes.len() as u64);
        let first_section = self.sections.len();
        let first_symbol = u32::try_from(self.symbols.len()).unwrap_or(u32::MAX);
        let symbol_count = u32::try_from(symbols.len()).unwrap_or(u32::MAX);
        if first_symbol.checked_add(symbol_count).is_none() {
            return Err(bad("more symbols than can be numbered", "symbol table"));
        }
        sections::read_sections(&table, bytes, self.wishes.keep_debug, &mut self.sections)?;
        for section in self.sections.get_mut(first_section..).unwrap_or_default() {
            section.first_symbol = first_symbol;
            section.symbol_count = symbol_count;
        }
        if let Some(groups) = groups {
            groups.drop_repeated(&table, bytes, &symbols, &mut self.sections, first_section)?;
        }
        self.attach_relocations(&table, bytes, &symbols, first_section)?;
        self.read_symbols(&symbols, first_section, number)
    }

    /// All objects have to be made for what the first is made for.
    fn set_target(&mut self, number: u32, target: Target) -> Result<(), LinkError> {
        if number == 0 {
            self.target = target;
        } else if target != self.target {
            return Err(LinkError::NotAnObject {
                reason: format!("it is for {target} and the first for {}", self.target),
            });
        }
        Ok(())
    }

    fn add_translated(
        &mut self,
        number: u32,
        size: usize,
        object: &'a Translated<'a>,
    ) -> Result<(), LinkError> {
        let target = Target {
            format: Format::MachO,
            machine: object.machine,
        };
        self.set_target(number, target)?;
        self.size = self.size.saturating_add(size as u64);
        let first_section = self.sections.len();
        let first_symbol = u32::try_from(self.symbols.len()).unwrap_or(u32::MAX);
        let symbol_count = u32::try_from(object.symbols.len()).unwrap_or(u32::MAX);
        if first_symbol.checked_add(symbol_count).is_none() {
            return Err(bad("more symbols than can be numbered", "symbol table"));
        }
        for unit in &object.units {
            self.sections.push(Section {
                bytes: unit.made.as_deref().unwrap_or(unit.section.bytes),
                relocations: &unit.relocations,
                first_symbol,
                symbol_count,
                ..unit.section.clone()
            });
        }
        for symbol in &object.symbols {
            let mut symbol = Symbol {
                object: number,
                ..*symbol
            };
            if let Value::Defined { section, .. } = &mut symbol.value {
                *section += first_section;
            }
            self.symbols.push(symbol);
        }
        self.origins.push((first_symbol, &object.origins));
        Ok(())
    }

    /// What a difference in `section` counts from, by its number in the section's object.
    pub(super) fn origin(&self, section: &Section<'_>, number: u32) -> Result<u32, LinkError> {
        let own = |&&(first, _): &&(u32, &[u32])| first == section.first_symbol;
        let origins = self.origins.iter().find(own).map(|(_, origins)| *origins);
        let local = origins.and_then(|origins| origins.get(number as usize));
        let local = local.ok_or_else(|| bad("no such symbol", format!("origin {number}")))?;
        self.target(section, *local)
    }

    fn attach_relocations(
        &mut self,
        table: &SectionTable<'a, Elf>,
        bytes: &'a [u8],
        symbols: &SymbolTable<'a, Elf>,
        first_section: usize,
    ) -> Result<(), LinkError> {
        let mut total = 0;
        for (_, section) in table.enumerate() {
            let sort = section.sh_type(LE);
            let place = || text(table.section_name(LE, section).unwrap_or_default());
            if !matches!(sort, elf::SHT_RELA | elf::SHT_REL | elf::SHT_CREL) {
                continue;
            }
            let target = first_section + section.sh_info(LE) as usize;
            let Some(target) = self.sections.get_mut(target) else {
                return Err(bad("relocations for a section that is not there", place()));
            };
            // Debug information can have most of an object's relocations.
            if matches!(target.kind, SectionKind::NotLoaded | SectionKind::Discarded) {
                continue;
            }
            let Ok(Some((relocations, linked))) = section.rela(LE, bytes) else {
                return Err(bad("relocations that are not readable RELA", place()));
            };
            if linked != symbols.section() {
                return Err(bad("relocations for another symbol table", place()));
            }
            if !target.relocations.is_empty() {
                return Err(bad("a second relocation section for one section", place()));
            }
            // Sections that overlap in the file could make work without end out of few bytes.
            total += size_of_val(relocations) as u64;
            if total > bytes.len() as u64 {
                return Err(bad("relocation sections that overlap", place()));
            }
            target.relocations = relocations;
        }
        Ok(())
    }

    /// Whether the text is longer than a branch reaches, with room for stubs.
    fn has_far_text(&self) -> bool {
        let Some(reach) = self.target.machine.branch_reach() else {
            return false;
        };
        let text = |section: &&Section<'_>| section.kind == SectionKind::Text;
        let sizes = self
            .sections
            .iter()
            .filter(text)
            .map(|section| section.size);
        sizes.fold(0, u64::saturating_add) > reach / 2
    }

    /// The symbol with number `id`.
    pub(super) fn symbol(&self, id: u32) -> Result<Symbol<'a>, LinkError> {
        self.symbols
            .get(id as usize)
            .copied()
            .ok_or_else(|| bad("no such symbol", format!("symbol {id}")))
    }

    /// The number of the symbol that a relocation of `section` means by `local`.
    pub(super) fn target(&self, section: &Section<'_>, local: u32) -> Result<u32, LinkError> {
        if local >= section.symbol_count.max(1) {
            return Err(bad("no such symbol", format!("symbol {local}")));
        }
        let id = section.first_symbol + local;
        Ok(self.canonical.get(id as usize).copied().unwrap_or(id))
    }

    /// A section that is known to be there.
    pub(super) fn section(&self, index: usize) -> Result<&Section<'a>, LinkError> {
        self.sections
            .get(index)
            .ok_or_else(|| bad("no such section", format!("section {index}")))
    }

    /// Where a relocation stands, for an error.
    pub(super) fn site(&self, section: usize, offset: u64, symbol: &Symbol<'_>) -> Site {
        Site {
            section: self
                .sections
                .get(section)
                .map_or_else(String::new, |section| text(section.name)),
            offset,
            symbol: text(symbol.name),
        }
    }
}

fn read_header(bytes: &[u8]) -> Result<&Elf, LinkError> {
    let not = |reason: &str| LinkError::NotAnObject {
        reason: reason.to_owned(),
    };
    let header = Elf::parse(bytes).map_err(|error| not(&error.to_string()))?;
    if header.is_big_endian() {
        return Err(not("it is big-endian"));
    }
    if header.e_type(LE) != elf::ET_REL {
        return Err(not(&format!(
            "its type is {} where ET_REL (1) is linked",
            header.e_type(LE)
        )));
    }
    Ok(header)
}

/// What an object is made for.
fn target_of(header: &Elf) -> Result<Target, LinkError> {
    match header.e_machine(LE) {
        elf::EM_X86_64 => Ok(Target::X86_64),
        elf::EM_AARCH64 => Ok(Target::AARCH64),
        other => Err(LinkError::NotAnObject {
            reason: format!("its machine is {other}"),
        }),
    }
}

/// Bytes of a name as text for a message.
pub(super) fn text(name: &[u8]) -> String {
    match String::from_utf8_lossy(name) {
        Cow::Borrowed("") => "(no name)".to_owned(),
        name => name.into_owned(),
    }
}

/// A contradiction at `place`.
pub(super) fn bad(what: &'static str, place: impl Into<String>) -> LinkError {
    LinkError::Malformed {
        what,
        place: place.into(),
    }
}

fn malformed(place: &'static str) -> impl Fn(object::read::Error) -> LinkError {
    move |error| {
        bad(
            "an offset, index or size that leads outside",
            format!("{place}: {error}"),
        )
    }
}

pub(super) fn malformed_at(
    place: impl Fn() -> String,
) -> impl Fn(object::read::Error) -> LinkError {
    move |error| {
        bad(
            "an offset, index or size that leads outside",
            format!("{}: {error}", place()),
        )
    }
}
