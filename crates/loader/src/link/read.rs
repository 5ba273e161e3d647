//! Views of an ELF object, checked as they are handed out.
//!
//! The `object` crate keeps every access inside the bytes; what it leaves open is checked here: the
//! kind of file, that relocations belong to the symbol table and are not counted twice, section
//! sizes, alignments, and that symbols lie inside their sections.

use super::sections::{self, Section, SectionKind, checked_alignment};
use crate::error::{LinkError, Site};
use object::elf::{self, FileHeader64, Rela64, Sym64};
use object::read::elf::{FileHeader, SectionHeader, SectionTable, Sym, SymbolTable};
use object::{LittleEndian, SectionIndex, SymbolIndex};
use std::borrow::Cow;

pub(super) type Elf = FileHeader64<LittleEndian>;
pub(super) const LE: LittleEndian = LittleEndian;

/// A relocation, as the object has it.
pub(super) type Rela = Rela64<LittleEndian>;

/// A parsed object.
pub(super) struct Input<'a> {
    /// By the object's own numbers; index 0 is the null section.
    pub(super) sections: Vec<Section<'a>>,
    symbols: SymbolTable<'a, Elf>,
    /// Bytes of the object.
    pub(super) size: u64,
}

/// A symbol, with what it stands for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Symbol<'a> {
    pub(super) name: &'a [u8],
    pub(super) value: Value,
    pub(super) weak: bool,
    pub(super) kind: SymbolKind,
}

/// What a symbol stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    Defined {
        section: usize,
        offset: u64,
    },
    Absolute(u64),
    Common {
        size: u64,
        alignment: u64,
    },
    /// `__dso_handle`: a word of the image's own, whose address names the image. Compilers refer to it
    /// directly, so it cannot come from outside.
    Handle,
    Undefined,
}

/// The sorts of symbol that are linked in their own ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SymbolKind {
    Ordinary,
    ThreadLocal,
    IndirectFunction,
}

impl<'a> Input<'a> {
    /// Checks the kind of object and the outline of its sections.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, LinkError> {
        let header = read_header(bytes)?;
        let sections = header.sections(LE, bytes).map_err(malformed("header"))?;
        let symbols = sections
            .symbols(LE, bytes, elf::SHT_SYMTAB)
            .map_err(malformed("symbol table"))?;
        let mut input = Self {
            sections: sections::read_sections(&sections, bytes)?,
            symbols,
            size: bytes.len() as u64,
        };
        input.attach_relocations(&sections, bytes)?;
        Ok(input)
    }

    fn attach_relocations(
        &mut self,
        table: &SectionTable<'a, Elf>,
        bytes: &'a [u8],
    ) -> Result<(), LinkError> {
        let mut total = 0;
        for (_, section) in table.enumerate() {
            let sort = section.sh_type(LE);
            let place = || text(table.section_name(LE, section).unwrap_or_default());
            if !matches!(sort, elf::SHT_RELA | elf::SHT_REL | elf::SHT_CREL) {
                continue;
            }
            let target = section.sh_info(LE) as usize;
            let Some(target) = self.sections.get_mut(target) else {
                return Err(bad("relocations for a section that is not there", place()));
            };
            // Debug information can have most of an object's relocations.
            if target.kind == SectionKind::NotLoaded {
                continue;
            }
            let Ok(Some((relocations, symbols))) = section.rela(LE, bytes) else {
                return Err(bad("relocations that are not readable RELA", place()));
            };
            if symbols != self.symbols.section() {
                return Err(bad("relocations for another symbol table", place()));
            }
            if !target.relocations.is_empty() {
                return Err(bad("a second relocation section for one section", place()));
            }
            // Sections that overlap in the file could make work without end out of few bytes.
            total += size_of_val(relocations) as u64;
            if total > self.size {
                return Err(bad("relocation sections that overlap", place()));
            }
            target.relocations = relocations;
        }
        Ok(())
    }

    /// The symbol of a relocation.
    pub(super) fn symbol(&self, index: u32) -> Result<Symbol<'a>, LinkError> {
        if index == 0 {
            return Ok(Symbol {
                name: &[],
                value: Value::Absolute(0),
                weak: false,
                kind: SymbolKind::Ordinary,
            });
        }
        let at = SymbolIndex(index as usize);
        let place = || format!("symbol {index}");
        let symbol = self.symbols.symbol(at).map_err(malformed_at(place))?;
        let mut value = self.value(at, symbol)?;
        let mut name = self
            .symbols
            .symbol_name(LE, symbol)
            .map_err(malformed_at(place))?;
        if let (true, Value::Defined { section, .. }) = (name.is_empty(), value) {
            name = self.sections.get(section).map_or(name, |s| s.name);
        }
        if value == Value::Undefined && name.is_empty() {
            return Err(bad("an undefined symbol without a name", place()));
        }
        if value == Value::Undefined && name == b"__dso_handle" {
            value = Value::Handle;
        }
        Ok(Symbol {
            name,
            value,
            weak: symbol.st_bind() == elf::STB_WEAK,
            kind: match symbol.st_type() {
                elf::STT_TLS => SymbolKind::ThreadLocal,
                elf::STT_GNU_IFUNC => SymbolKind::IndirectFunction,
                _ => SymbolKind::Ordinary,
            },
        })
    }

    fn value(&self, at: SymbolIndex, symbol: &Sym64<LittleEndian>) -> Result<Value, LinkError> {
        let place = || format!("symbol {}", at.0);
        let value = symbol.st_value(LE);
        match symbol.st_shndx(LE) {
            elf::SHN_ABS => return Ok(Value::Absolute(value)),
            elf::SHN_COMMON => {
                return Ok(Value::Common {
                    size: symbol.st_size(LE),
                    alignment: checked_alignment(value, place)?,
                });
            }
            _ => {}
        }
        let index = self
            .symbols
            .symbol_section(LE, symbol, at)
            .map_err(malformed_at(place))?;
        let Some(SectionIndex(section)) = index else {
            return match symbol.st_shndx(LE) {
                elf::SHN_UNDEF | elf::SHN_XINDEX => Ok(Value::Undefined),
                _ => Err(bad("a symbol in a reserved section", place())),
            };
        };
        match self.sections.get(section) {
            Some(holder) if value <= holder.size || holder.kind == SectionKind::NotLoaded => {
                Ok(Value::Defined {
                    section,
                    offset: value,
                })
            }
            Some(_) => Err(bad("a symbol beyond its section", place())),
            None => Err(bad("a symbol in a section that is not there", place())),
        }
    }

    /// The symbol that defines each of `names`: a global one before a local one.
    pub(super) fn definitions(&self, names: &[&str]) -> Result<Vec<u32>, LinkError> {
        let wanted: rustc_hash::FxHashMap<&[u8], usize> = names
            .iter()
            .enumerate()
            .map(|(index, name)| (name.as_bytes(), index))
            .collect();
        let mut found: Vec<Option<(u32, bool)>> = vec![None; names.len()];
        for (at, symbol) in self.symbols.enumerate() {
            let defined = symbol.st_shndx(LE) != elf::SHN_UNDEF;
            let named = matches!(
                symbol.st_type(),
                elf::STT_NOTYPE | elf::STT_OBJECT | elf::STT_FUNC | elf::STT_COMMON
            );
            if !defined || !named {
                continue;
            }
            let Ok(name) = self.symbols.symbol_name(LE, symbol) else {
                continue;
            };
            let slot = wanted.get(name).and_then(|&index| found.get_mut(index));
            if let (Some(slot), Ok(at)) = (slot, u32::try_from(at.0)) {
                let global = !symbol.is_local();
                if slot.is_none_or(|(_, other)| global && !other) {
                    *slot = Some((at, global));
                }
            }
        }
        let missing = |name: &&str| LinkError::MissingRoot {
            symbol: (*name).to_owned(),
        };
        // Through the table once more, so that a name that was given twice is found twice.
        names
            .iter()
            .map(|name| {
                let index = wanted.get(name.as_bytes());
                let slot = index.and_then(|&index| found.get(index)).copied().flatten();
                slot.map(|(at, _)| at).ok_or_else(|| missing(name))
            })
            .collect()
    }

    /// A section that is known to be there; an empty one otherwise.
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
    if header.e_machine(LE) != elf::EM_X86_64 {
        return Err(not(&format!("its machine is {}", header.e_machine(LE))));
    }
    if header.e_type(LE) != elf::ET_REL {
        return Err(not(&format!(
            "its type is {} where ET_REL (1) is linked",
            header.e_type(LE)
        )));
    }
    Ok(header)
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
