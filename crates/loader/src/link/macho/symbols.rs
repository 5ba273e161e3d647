//! The symbols of a Mach-O object in the neutral form.

use super::atoms::Atoms;
use super::object::Object;
use crate::error::LinkError;
use crate::link::read::{LE, bad};
use crate::link::sections::SectionKind;
use crate::link::symbols::{Binding, Symbol, SymbolKind, Value, null_symbol};
use object::LittleEndian;
use object::macho::{self, Nlist64};
use object::read::macho::Nlist;

/// The number of the symbol of the thread-locals' block.
pub(super) fn thread_block(object: &Object<'_>) -> u32 {
    1 + object.symbols.len() as u32
}

/// The number of the first unit's symbol.
pub(super) fn first_of_units(object: &Object<'_>) -> u32 {
    1 + thread_block(object)
}

/// All symbols, as [`Translated`](super::Translated) has them.
pub(super) fn read<'a>(
    object: &Object<'a>,
    atoms: &Atoms<'a>,
) -> Result<Vec<Symbol<'a>>, LinkError> {
    let mut symbols = vec![null_symbol(0)];
    // Names may share their bytes, but not so many that reading them takes for ever.
    let mut budget = (object.bytes.len() as u64).saturating_mul(4) + (64 << 10);
    for (number, symbol) in object.symbols.iter().enumerate() {
        let place = || format!("symbol {number}");
        if symbol.is_stab() {
            symbols.push(null_symbol(0));
            continue;
        }
        let name = object.name(symbol)?;
        budget = budget
            .checked_sub(name.len() as u64)
            .ok_or_else(|| bad("names that overlap", place()))?;
        symbols.push(read_one(object, atoms, symbol, name).ok_or_else(|| {
            bad(
                "a symbol beyond its section, or of an unknown sort",
                place(),
            )
        })?);
    }
    symbols.push(Symbol {
        name: b"the block of thread-locals",
        value: Value::ThreadBlock,
        kind: SymbolKind::ThreadLocal,
        ..null_symbol(0)
    });
    for (index, unit) in atoms.units.iter().enumerate() {
        let is_thread_local = unit.section.kind.is_thread_local();
        symbols.push(Symbol {
            name: unit.section.name,
            value: Value::Defined {
                section: index,
                offset: 0,
            },
            kind: match is_thread_local {
                true => SymbolKind::ThreadLocal,
                false => SymbolKind::Nameless,
            },
            ..null_symbol(0)
        });
    }
    Ok(symbols)
}

fn read_one<'a>(
    object: &Object<'a>,
    atoms: &Atoms<'a>,
    symbol: &Nlist64<LittleEndian>,
    name: &'a [u8],
) -> Option<Symbol<'a>> {
    let value = symbol.n_value.get(LE);
    let desc = symbol.n_desc.get(LE);
    let is_external = symbol.n_type & macho::N_EXT != 0;
    let of_c = name.strip_prefix(b"_");
    let mut size = 0;
    let mut kind = SymbolKind::Ordinary;
    let stands_for = match symbol.n_type & macho::N_TYPE {
        macho::N_UNDF | macho::N_PBUD if value != 0 && is_external => {
            kind = SymbolKind::Object;
            size = value;
            Value::Common {
                size: value,
                alignment: 1 << (desc >> 8 & 15),
            }
        }
        // Only assemblers name what C cannot; there is nobody who could know it.
        macho::N_UNDF | macho::N_PBUD => match of_c {
            Some(b"__dso_handle") => Value::Handle,
            Some(_) => Value::Undefined,
            None => return None,
        },
        macho::N_ABS => Value::Absolute(value),
        macho::N_SECT => {
            let section = usize::from(symbol.n_sect).checked_sub(1)?;
            let holder = object.sections.get(section)?;
            let offset = value.checked_sub(holder.addr.get(LE))?;
            if offset > holder.size.get(LE) {
                return None;
            }
            let (unit, offset) = atoms.find(section, offset)?;
            let content = &atoms.units.get(unit)?.section;
            size = content.size.saturating_sub(offset);
            kind = match content.kind {
                SectionKind::Text if desc & macho::N_SYMBOL_RESOLVER != 0 => {
                    SymbolKind::IndirectFunction
                }
                SectionKind::Text => SymbolKind::Ordinary,
                kind if kind.is_thread_local() => SymbolKind::ThreadLocal,
                _ => SymbolKind::Object,
            };
            Value::Defined {
                section: unit,
                offset,
            }
        }
        _ => return None,
    };
    let is_weak = match stands_for {
        Value::Undefined => desc & macho::N_WEAK_REF != 0,
        _ => desc & macho::N_WEAK_DEF != 0,
    };
    Some(Symbol {
        name: of_c.unwrap_or(name),
        value: stands_for,
        size,
        binding: match (is_external && of_c.is_some(), is_weak) {
            (false, _) => Binding::Local,
            (true, true) => Binding::Weak,
            (true, false) => Binding::Global,
        },
        visible: is_external && symbol.n_type & macho::N_PEXT == 0,
        kind,
        object: 0,
    })
}
