//! The symbols of objects, and what each stands for.

use super::read::{Elf, Input, LE, bad, malformed_at};
use super::sections::SectionKind;
use crate::error::LinkError;
use object::elf::{self, Sym64};
use object::read::elf::{Sym, SymbolTable};
use object::{LittleEndian, SectionIndex};
use rustc_hash::FxHashMap;

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
    /// Adds the symbols of an object, whose sections begin at `first_section`.
    pub(super) fn read_symbols(
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
    pub(super) fn find_bounds(&mut self) {
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
}

/// Common symbols of the large model.
const SHN_LARGE_COMMON: u16 = 0xff02;

pub(super) fn null_symbol<'a>(object: u32) -> Symbol<'a> {
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
