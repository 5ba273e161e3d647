//! Views of ELF objects, checked as they are read.
//!
//! The `object` crate keeps every access inside the bytes; what it leaves open is checked here: the
//! kind of file, that relocations belong to the symbol table and are not counted twice, and that symbols lie inside their sections.
//!
//! Several objects are numbered through: the sections of the second follow those of the first, and so
//! do its symbols. A single object keeps its own numbers.

use super::resolve;
use super::sections::{self, Section, SectionKind};
use crate::error::{LinkError, Site};
use object::elf::{self, FileHeader64, Rela64, Sym64};
use object::read::elf::{FileHeader, SectionHeader, SectionTable, Sym, SymbolTable};
use object::{LittleEndian, SectionIndex};
use rustc_hash::FxHashMap;
use std::borrow::Cow;

pub(super) type Elf = FileHeader64<LittleEndian>;
pub(super) const LE: LittleEndian = LittleEndian;

/// A relocation, as the object has it.
pub(super) type Rela = Rela64<LittleEndian>;

/// The parsed objects.
pub(super) struct Input<'a> {
    /// Those of all objects; each object's first is its null section.
    pub(super) sections: Vec<Section<'a>>,
    /// Those of all objects; each object's first is its null symbol.
    pub(super) symbols: Vec<Symbol<'a>>,
    /// For each symbol, the one that it stands for; empty for a single object, whose symbols stand for
    /// themselves.
    pub(super) canonical: Vec<u32>,
    /// Sections whose bounds are asked for by `__start_` and `__stop_`, by their names.
    pub(super) bounded: Vec<Vec<usize>>,
    /// Bytes of the objects.
    pub(super) size: u64,
}

/// A symbol, with what it stands for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Symbol<'a> {
    pub(super) name: &'a [u8],
    pub(super) value: Value,
    pub(super) size: u64,
    pub(super) binding: Binding,
    /// Of default visibility: other modules could see it if this were a shared library.
    pub(super) visible: bool,
    pub(super) kind: SymbolKind,
    /// The object that it is from.
    pub(super) object: u32,
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
    /// `_GLOBAL_OFFSET_TABLE_`: where the slots begin.
    SlotTable,
    /// `_TLS_MODULE_BASE_`: where a thread's block of this image begins.
    ThreadBlock,
    /// `__start_NAME`: where the sections of that name begin; the number is that of their set.
    Start(usize),
    /// `__stop_NAME`: where they end.
    Stop(usize),
    Undefined,
}

/// How strongly a symbol holds its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binding {
    Local,
    Global,
    Weak,
    /// One in the process, says the compiler (`STB_GNU_UNIQUE`).
    Unique,
}

/// The sorts of symbol that are linked in their own ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SymbolKind {
    Ordinary,
    /// A variable, or a constant.
    Object,
    ThreadLocal,
    IndirectFunction,
    /// Of a section or a file: nobody asks for it by name.
    Nameless,
}

impl<'a> Input<'a> {
    /// Checks the kind of the objects, the outlines of their sections, and their symbols.
    pub(super) fn parse(objects: &[&'a [u8]]) -> Result<Self, LinkError> {
        let mut input = Self {
            sections: Vec::new(),
            symbols: Vec::new(),
            canonical: Vec::new(),
            bounded: Vec::new(),
            size: 0,
        };
        let mut groups = resolve::Groups::default();
        for (number, bytes) in (0..).zip(objects) {
            let kept = (objects.len() > 1).then_some(&mut groups);
            input.add(number, bytes, kept)?;
        }
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
        sections::read_sections(&table, bytes, &mut self.sections)?;
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

    fn read_symbols(
        &mut self,
        table: &SymbolTable<'a, Elf>,
        first_section: usize,
        object: u32,
    ) -> Result<(), LinkError> {
        self.symbols.reserve(table.len().max(1));
        if table.is_empty() {
            self.symbols.push(null_symbol(object));
        }
        // The null symbol, whatever its bytes say.
        let null = (!table.is_empty()).then(|| null_symbol(object));
        self.symbols.extend(null);
        // Names may share their bytes, but not so many that reading them takes for ever.
        let mut budget = self.size.saturating_mul(4).saturating_add(64 << 10);
        for (at, symbol) in table.enumerate() {
            let place = || format!("symbol {}", at.0);
            if at.0 == 0 {
                continue;
            }
            let section = match symbol.st_shndx(LE) {
                elf::SHN_UNDEF | elf::SHN_ABS | elf::SHN_COMMON | SHN_LARGE_COMMON => None,
                _ => table
                    .symbol_section(LE, symbol, at)
                    .map_err(malformed_at(place))?,
            };
            let mut name = table.symbol_name(LE, symbol).map_err(malformed_at(place))?;
            budget = budget
                .checked_sub(name.len() as u64)
                .ok_or_else(|| bad("names that overlap", place()))?;
            let mut value = self.value(symbol, section, first_section, place)?;
            let mut kind = match symbol.st_type() {
                elf::STT_TLS => SymbolKind::ThreadLocal,
                elf::STT_GNU_IFUNC => SymbolKind::IndirectFunction,
                elf::STT_OBJECT => SymbolKind::Object,
                elf::STT_SECTION | elf::STT_FILE => SymbolKind::Nameless,
                _ => SymbolKind::Ordinary,
            };
            match value {
                Value::Defined { section, .. } => {
                    let holder = self.sections.get(section);
                    if name.is_empty() {
                        name = holder.map_or(name, |s| s.name);
                    }
                    if holder.is_some_and(|holder| holder.kind.is_thread_local()) {
                        kind = SymbolKind::ThreadLocal;
                    }
                }
                Value::Undefined if name.is_empty() => {
                    return Err(bad("an undefined symbol without a name", place()));
                }
                Value::Undefined => {
                    value = special(name);
                    if value == Value::ThreadBlock {
                        kind = SymbolKind::ThreadLocal;
                    }
                }
                _ => {}
            }
            self.symbols.push(Symbol {
                name,
                value,
                size: symbol.st_size(LE),
                binding: match symbol.st_bind() {
                    elf::STB_LOCAL => Binding::Local,
                    elf::STB_WEAK => Binding::Weak,
                    elf::STB_GNU_UNIQUE => Binding::Unique,
                    _ => Binding::Global,
                },
                visible: symbol.st_visibility() == elf::STV_DEFAULT,
                kind,
                object,
            });
        }
        Ok(())
    }

    fn value(
        &self,
        symbol: &Sym64<LittleEndian>,
        section: Option<SectionIndex>,
        first_section: usize,
        place: impl Fn() -> String,
    ) -> Result<Value, LinkError> {
        let value = symbol.st_value(LE);
        let Some(SectionIndex(section)) = section else {
            return match symbol.st_shndx(LE) {
                elf::SHN_ABS => Ok(Value::Absolute(value)),
                elf::SHN_COMMON | SHN_LARGE_COMMON => Ok(Value::Common {
                    size: symbol.st_size(LE),
                    alignment: value.max(1),
                }),
                elf::SHN_UNDEF | elf::SHN_XINDEX => Ok(Value::Undefined),
                _ => Err(bad("a symbol in a reserved section", place())),
            };
        };
        let section = first_section + section;
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

    /// Gives `__start_NAME` and `__stop_NAME` their sections, if there are some.
    fn find_bounds(&mut self) {
        let mut sets: FxHashMap<&[u8], Option<usize>> = FxHashMap::default();
        for symbol in &self.symbols {
            if let (Value::Undefined, Some((_, name))) = (symbol.value, bound(symbol.name)) {
                sets.insert(name, None);
            }
        }
        if sets.is_empty() {
            return;
        }
        for (index, section) in self.sections.iter().enumerate() {
            if matches!(
                section.kind,
                SectionKind::NotLoaded | SectionKind::Discarded
            ) {
                continue;
            }
            if let Some(set) = sets.get_mut(section.name) {
                let number = *set.get_or_insert_with(|| {
                    self.bounded.push(Vec::new());
                    self.bounded.len() - 1
                });
                if let Some(members) = self.bounded.get_mut(number) {
                    members.push(index);
                }
            }
        }
        for symbol in &mut self.symbols {
            if let (Value::Undefined, Some((is_start, name))) = (symbol.value, bound(symbol.name))
                && let Some(Some(set)) = sets.get(name)
            {
                symbol.value = match is_start {
                    true => Value::Start(*set),
                    false => Value::Stop(*set),
                };
            }
        }
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

    /// The symbol that defines each of `names`: a global one before a local one.
    pub(super) fn definitions(&self, names: &[&str]) -> Result<Vec<u32>, LinkError> {
        let wanted: FxHashMap<&[u8], usize> = names
            .iter()
            .enumerate()
            .map(|(index, name)| (name.as_bytes(), index))
            .collect();
        let mut found: Vec<Option<(u32, bool)>> = vec![None; names.len()];
        for (id, symbol) in (0..).zip(&self.symbols) {
            let defined = matches!(symbol.value, Value::Defined { .. } | Value::Common { .. });
            let named = !matches!(symbol.kind, SymbolKind::Nameless | SymbolKind::ThreadLocal);
            if !defined || !named {
                continue;
            }
            let slot = wanted
                .get(symbol.name)
                .and_then(|&index| found.get_mut(index));
            if let Some(slot) = slot {
                let global = symbol.binding != Binding::Local;
                if slot.is_none_or(|(_, other)| global && !other) {
                    let id: u32 = id;
                    let id = self.canonical.get(id as usize).copied().unwrap_or(id);
                    *slot = Some((id, global));
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
                slot.map(|(id, _)| id).ok_or_else(|| missing(name))
            })
            .collect()
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

/// Common symbols of the large model.
const SHN_LARGE_COMMON: u16 = 0xff02;

fn null_symbol<'a>(object: u32) -> Symbol<'a> {
    Symbol {
        name: &[],
        value: Value::Absolute(0),
        size: 0,
        binding: Binding::Local,
        visible: false,
        kind: SymbolKind::Nameless,
        object,
    }
}

/// What an undefined symbol stands for, if a linker has to define it.
fn special(name: &[u8]) -> Value {
    match name {
        b"__dso_handle" => Value::Handle,
        b"_GLOBAL_OFFSET_TABLE_" => Value::SlotTable,
        b"_TLS_MODULE_BASE_" => Value::ThreadBlock,
        _ => Value::Undefined,
    }
}

/// Whether a name is that of a start rather than a stop, and of which sections: only such as are
/// identifiers of C.
fn bound(name: &[u8]) -> Option<(bool, &[u8])> {
    let start = name.strip_prefix(b"__start_").map(|name| (true, name));
    let bound = start.or_else(|| name.strip_prefix(b"__stop_").map(|name| (false, name)))?;
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    (!bound.1.is_empty() && bound.1.iter().all(is_word)).then_some(bound)
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
