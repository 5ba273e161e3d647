//! Several objects as one: which definition a name means, and which copy of a COMDAT group is kept.
//!
//! The rules are those of every linker: of the groups with one signature the first is kept; a strong
//! definition comes before a weak one, a weak one before a common one, the largest of the common ones
//! before the others, the first where they are equal; two strong ones are an error. A name has the
//! strictest visibility that any object gives it.

use super::read::{Binding, Elf, Input, LE, SymbolKind, Value, bad, malformed_at, text};
use super::sections::{Section, SectionKind};
use crate::error::LinkError;
use object::SymbolIndex;
use object::elf;
use object::read::elf::{SectionHeader, SectionTable, SymbolTable};
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::hash_map::Entry;

/// The signatures of the groups that were met.
#[derive(Default)]
pub(super) struct Groups<'a> {
    met: FxHashSet<&'a [u8]>,
}

impl<'a> Groups<'a> {
    /// Marks the sections of groups that an earlier object has.
    pub(super) fn drop_repeated(
        &mut self,
        table: &SectionTable<'a, Elf>,
        bytes: &'a [u8],
        symbols: &SymbolTable<'a, Elf>,
        sections: &mut [Section<'a>],
        first_section: usize,
    ) -> Result<(), LinkError> {
        let mut members_seen = 0;
        for (index, header) in table.enumerate() {
            let place = || format!("section {}", index.0);
            let group = header.group(LE, bytes).map_err(malformed_at(place))?;
            let Some((flags, members)) = group else {
                continue;
            };
            if flags & elf::GRP_COMDAT == 0 {
                continue;
            }
            // A section belongs to one group, so that there are no more members than sections.
            members_seen += members.len();
            if members_seen > table.len() {
                return Err(bad("groups that share sections", place()));
            }
            let signature = SymbolIndex(header.sh_info(LE) as usize);
            let signature = symbols.symbol(signature).map_err(malformed_at(place))?;
            let mut name = symbols
                .symbol_name(LE, signature)
                .map_err(malformed_at(place))?;
            if name.is_empty() {
                // The symbol of a section stands for the section's name.
                name = table.section_name(LE, header).unwrap_or_default();
            }
            if self.met.insert(name) {
                continue;
            }
            for member in members {
                let member = first_section.checked_add(member.get(LE) as usize);
                let section = member.and_then(|member| sections.get_mut(member));
                let Some(section) = section else {
                    return Err(bad("a group of a section that is not there", place()));
                };
                if section.kind != SectionKind::NotLoaded {
                    section.kind = SectionKind::Discarded;
                }
            }
        }
        Ok(())
    }
}

/// Finds what each symbol of `input` stands for.
pub(super) fn resolve(input: &mut Input<'_>) -> Result<(), LinkError> {
    let count = u32::try_from(input.symbols.len()).unwrap_or(u32::MAX);
    let mut canonical: Vec<u32> = (0..count).collect();
    let mut winners: FxHashMap<&[u8], Winner> = FxHashMap::default();
    for (id, symbol) in (0..count).zip(&input.symbols) {
        if symbol.binding == Binding::Local {
            continue;
        }
        let candidate = Winner {
            id,
            strength: strength(input, symbol.value, symbol.binding),
            visible: symbol.visible,
            value: symbol.value,
        };
        let mut entry = match winners.entry(symbol.name) {
            Entry::Vacant(entry) => {
                entry.insert(candidate);
                continue;
            }
            Entry::Occupied(entry) => entry,
        };
        let winner = entry.get_mut();
        let old = input.symbol(winner.id)?;
        let is_local = |kind| kind == SymbolKind::ThreadLocal;
        let both_defined =
            candidate.strength > Strength::Undefined && winner.strength > Strength::Undefined;
        if both_defined && is_local(old.kind) != is_local(symbol.kind) {
            return Err(bad(
                "a name that is thread-local in one object only",
                text(symbol.name),
            ));
        }
        let visible = winner.visible && candidate.visible;
        match (winner.strength, candidate.strength) {
            (Strength::Strong, Strength::Strong)
                if old.binding != Binding::Unique || symbol.binding != Binding::Unique =>
            {
                return Err(LinkError::DuplicateSymbol {
                    symbol: text(symbol.name),
                    first: old.object as usize,
                    second: symbol.object as usize,
                });
            }
            (Strength::Common, Strength::Common) => {
                winner.value = larger(winner.value, candidate.value);
            }
            (old, new) if new > old => *winner = candidate,
            _ => {}
        }
        winner.visible = visible;
    }
    for (canonical, symbol) in canonical.iter_mut().zip(&input.symbols) {
        if symbol.binding != Binding::Local
            && let Some(winner) = winners.get(symbol.name)
        {
            *canonical = winner.id;
        }
    }
    let winners: Vec<Winner> = winners.into_values().collect();
    for winner in winners {
        if let Some(symbol) = input.symbols.get_mut(winner.id as usize) {
            symbol.visible = winner.visible;
            symbol.value = winner.value;
        }
    }
    input.canonical = canonical;
    Ok(())
}

#[derive(Clone, Copy)]
struct Winner {
    id: u32,
    strength: Strength,
    visible: bool,
    value: Value,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Strength {
    WeaklyUndefined,
    Undefined,
    Common,
    Weak,
    Strong,
}

fn strength(input: &Input<'_>, value: Value, binding: Binding) -> Strength {
    let is_weak = binding == Binding::Weak;
    match value {
        Value::Undefined if is_weak => Strength::WeaklyUndefined,
        Value::Undefined => Strength::Undefined,
        Value::Common { .. } => Strength::Common,
        Value::Defined { section, .. }
            if input
                .section(section)
                .is_ok_and(|section| section.kind == SectionKind::Discarded) =>
        {
            Strength::Undefined
        }
        Value::Defined { .. } | Value::Absolute(_) if !is_weak => Strength::Strong,
        _ => Strength::Weak,
    }
}

fn larger(one: Value, other: Value) -> Value {
    match (one, other) {
        (
            Value::Common { size, alignment },
            Value::Common {
                size: other_size,
                alignment: other_alignment,
            },
        ) => Value::Common {
            size: size.max(other_size),
            alignment: alignment.max(other_alignment),
        },
        _ => one,
    }
}
