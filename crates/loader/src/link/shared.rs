//! What has to be one per process: which of an image's variables another image or the host may have
//! already, and what is needed at load to tell whether theirs is the same.
//!
//! A weak or unique variable of default visibility is one, as the C++ standard has it for statics of
//! inline functions, inline variables and their guards, and for type information. All references to it
//! go through slots and words, so that they can be led elsewhere.
//!
//! Virtual tables are not among them. Nothing depends on where they are, and they hold pointers to code:
//! where a class is defined again under its old name, the new image has to run its own.

use super::reach::{Indexed, Reached};
use super::read::{Input, LE, Rela, Value};
use super::reference::may_be_shared;
use super::sections::{Section, SectionKind};
use crate::error::LinkError;
use rustc_hash::FxHashMap;

/// A variable that may be somebody else's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sharable {
    pub(super) symbol: u32,
    /// A digest of its initial contents.
    pub(super) content: u64,
    /// The one that has to be from the same place: of a guard its variable, and the other way round.
    /// A number in the list.
    pub(super) partner: u32,
}

/// What is sharable of `reached`, and its numbers in the list.
pub(super) fn sharable(
    input: &Input<'_>,
    reached: &Reached<'_>,
) -> Result<(Vec<Sharable>, Indexed), LinkError> {
    let mut kept = Vec::new();
    let mut ids = Vec::new();
    let mut by_name: FxHashMap<&[u8], usize> = FxHashMap::default();
    for &id in &reached.sharable.keys {
        let symbol = input.symbol(id)?;
        let direct = reached.direct.get(id as usize).copied().unwrap_or(true);
        if may_be_shared(&symbol) && !direct && symbol.size != 0 {
            by_name.insert(symbol.name, kept.len());
            kept.push(symbol);
            ids.push(id);
        }
    }
    // A guard without its variable would say that what is private was initialised elsewhere.
    let mut partner: Vec<Option<usize>> = (0..kept.len()).map(Some).collect();
    for (index, symbol) in kept.iter().enumerate() {
        let Some(variable) = symbol.name.strip_prefix(b"_ZGV") else {
            continue;
        };
        let found = guarded(variable)
            .iter()
            .find_map(|name| by_name.get(name.as_slice()).copied());
        if let Some(own) = partner.get_mut(index) {
            *own = found;
        }
        if let Some(other) = found.and_then(|found| partner.get_mut(found)) {
            *other = Some(index);
        }
    }
    let mut digests = Digests {
        input,
        sorted: FxHashMap::default(),
    };
    let mut content: Vec<Option<u64>> = Vec::with_capacity(kept.len());
    for symbol in &kept {
        content.push(match symbol.value {
            Value::Defined { section, offset } => digests.of(section, offset, symbol.size)?,
            _ => None,
        });
    }
    // What has no digest stays private, and its partner with it.
    let is_kept = |index: usize| {
        let partner = partner.get(index).copied().flatten();
        let has = |at: usize| content.get(at).copied().flatten();
        Some((has(index)?, has(partner?)?, partner?))
    };
    let mut list: Vec<Sharable> = Vec::new();
    let mut number_of: FxHashMap<usize, u32> = FxHashMap::default();
    let mut index_of = Indexed::default();
    for (index, &symbol) in ids.iter().enumerate() {
        if let Some((content, _, partner)) = is_kept(index) {
            number_of.insert(index, list.len() as u32);
            index_of.insert(symbol);
            list.push(Sharable {
                symbol,
                content,
                partner: partner as u32,
            });
        }
    }
    for entry in &mut list {
        entry.partner = number_of
            .get(&(entry.partner as usize))
            .copied()
            .unwrap_or(entry.partner);
    }
    Ok((list, index_of))
}

/// Whether a name is that of a table of virtual functions or of such tables.
pub(super) fn is_virtual_table(name: &[u8]) -> bool {
    [b"_ZTV", b"_ZTT", b"_ZTC"]
        .iter()
        .any(|prefix| name.starts_with(*prefix))
}

/// The names that the variable of a guard can have: mangled, or a plain one of the global namespace.
fn guarded(rest: &[u8]) -> [Vec<u8>; 2] {
    let plain = rest
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .and_then(|start| rest.get(start..))
        .unwrap_or_default();
    [[b"_Z", rest].concat(), plain.to_vec()]
}

struct Digests<'w, 'a> {
    input: &'w Input<'a>,
    /// Whether a section's relocations are in order.
    sorted: FxHashMap<usize, bool>,
}

/// Bytes of what a variable points to that take part in its digest: enough to tell texts and functions
/// apart, and a bound on the work.
const NEAR: u64 = 4096;

impl Digests<'_, '_> {
    /// A digest of `size` bytes of a section: of their contents, and of what they point to.
    fn of(&mut self, index: usize, offset: u64, size: u64) -> Result<Option<u64>, LinkError> {
        let section = self.input.section(index)?;
        let Some(end) = offset.checked_add(size).filter(|end| *end <= section.size) else {
            return Ok(None);
        };
        if matches!(section.kind, SectionKind::Zero) {
            return Ok(Some(rekindle_cache_core::checksum(b"zero")));
        }
        if !matches!(section.kind, SectionKind::Data | SectionKind::ReadOnly) {
            return Ok(None);
        }
        let bytes = part(section, offset, size);
        let mut all = bytes.to_vec();
        if bytes.iter().all(|byte| *byte == 0) && section.relocations.is_empty() {
            return Ok(Some(rekindle_cache_core::checksum(b"zero")));
        }
        let relocations = section.relocations;
        let start = |relocation: &Rela| relocation.r_offset.get(LE);
        let sorted = self
            .sorted
            .entry(index)
            .or_insert_with(|| relocations.is_sorted_by_key(start));
        if !*sorted {
            return Ok(None);
        }
        let first = relocations.partition_point(|relocation| start(relocation) < offset);
        for relocation in relocations.get(first..).unwrap_or_default() {
            if start(relocation) >= end {
                break;
            }
            let target = self.input.target(section, relocation.r_sym(LE, false))?;
            let target = self.input.symbol(target)?;
            all.extend((start(relocation) - offset).to_le_bytes());
            all.extend(relocation.r_type(LE, false).to_le_bytes());
            all.extend(relocation.r_addend.get(LE).to_le_bytes());
            if target.binding != super::read::Binding::Local {
                all.extend(target.name);
            }
            if let Value::Defined { section, offset } = target.value {
                let addend = relocation.r_addend.get(LE);
                let at = offset.checked_add_signed(addend).unwrap_or(offset);
                all.extend(part(self.input.section(section)?, at, NEAR));
            }
        }
        Ok(Some(rekindle_cache_core::checksum(&all)))
    }
}

/// At most `size` bytes of a section.
fn part<'a>(section: &Section<'a>, offset: u64, size: u64) -> &'a [u8] {
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    let rest = section.bytes.get(start..).unwrap_or_default();
    let size = usize::try_from(size).unwrap_or(usize::MAX).min(rest.len());
    rest.get(..size).unwrap_or_default()
}
