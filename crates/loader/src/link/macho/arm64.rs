//! The relocations of Mach-O arm64.
//!
//! The kinds are those of the pairs that reach for an address by pages. `PAGEOFF12` stands at adds, loads and
//! stores alike: the instruction says in what units it counts. Addends stand in a relocation of their own in
//! front, since instructions have no room for them.

use super::{Kind, numbers};
use crate::error::LinkError;
use crate::image::narrow::memory_scale;
use crate::link::aarch64::instructions::Operand;
use crate::link::read::{Input, Rela, SymbolKind, Value};
use crate::link::reference::{Action, Field, Form, From, Range, Reference, To, is_inside};
use object::macho;

/// Says what a relocation of `section` asks for, or why it cannot be had. `None` if for nothing.
pub(in crate::link) fn classify<'a>(
    input: &Input<'a>,
    section_index: usize,
    relocation: &Rela,
) -> Result<Option<Reference<'a>>, LinkError> {
    let subtractor = macho::ARM64_RELOC_SUBTRACTOR;
    numbers::classify(input, section_index, relocation, subtractor, instruction)
}

/// The name of a kind.
pub(in crate::link) fn name(kind: u32) -> &'static str {
    match Kind::unpack(kind).sort {
        macho::ARM64_RELOC_UNSIGNED => "ARM64_RELOC_UNSIGNED",
        macho::ARM64_RELOC_SUBTRACTOR => "ARM64_RELOC_SUBTRACTOR",
        macho::ARM64_RELOC_BRANCH26 => "ARM64_RELOC_BRANCH26",
        macho::ARM64_RELOC_PAGE21 => "ARM64_RELOC_PAGE21",
        macho::ARM64_RELOC_PAGEOFF12 => "ARM64_RELOC_PAGEOFF12",
        macho::ARM64_RELOC_GOT_LOAD_PAGE21 => "ARM64_RELOC_GOT_LOAD_PAGE21",
        macho::ARM64_RELOC_GOT_LOAD_PAGEOFF12 => "ARM64_RELOC_GOT_LOAD_PAGEOFF12",
        macho::ARM64_RELOC_POINTER_TO_GOT => "ARM64_RELOC_POINTER_TO_GOT",
        macho::ARM64_RELOC_TLVP_LOAD_PAGE21 => "ARM64_RELOC_TLVP_LOAD_PAGE21",
        macho::ARM64_RELOC_TLVP_LOAD_PAGEOFF12 => "ARM64_RELOC_TLVP_LOAD_PAGEOFF12",
        macho::ARM64_RELOC_ADDEND => "ARM64_RELOC_ADDEND",
        macho::ARM64_RELOC_AUTHENTICATED_POINTER => "ARM64_RELOC_AUTHENTICATED_POINTER",
        _ => "of an unknown name",
    }
}

/// What a field of an instruction asks for, or the distance to a slot.
fn instruction(field: &Field<'_, '_>, kind: Kind) -> Result<Action, LinkError> {
    let symbol = &field.reference.symbol;
    let inside = is_inside(symbol.value);
    let direct =
        || field.refuse(|relocation, site| LinkError::DirectReference { relocation, site });
    let slot = match field.reference.addend {
        0 => To::Slot,
        _ => To::SlotWithAddend,
    };
    let page = Form::Aarch64(Operand::Page { checked: true });
    let load = Form::Aarch64(Operand::Memory {
        scale: 3,
        checked: false,
    });
    let is_wide = kind.width == 4;
    if symbol.kind == SymbolKind::ThreadLocal {
        return Err(
            field.refuse(|relocation, site| LinkError::ThreadLocalAddress { relocation, site })
        );
    }
    let (to, from, form) = match kind.sort {
        _ if !is_wide => return Err(field.unsupported()),
        macho::ARM64_RELOC_BRANCH26 => {
            let to = match (inside, symbol.value) {
                (true, _) if field.input.has_far_text => To::Near,
                (true, _) => To::Symbol,
                (false, Value::Undefined) => To::Stub,
                (false, _) => return Err(direct()),
            };
            (to, From::Place, Form::Aarch64(Operand::Branch))
        }
        macho::ARM64_RELOC_PAGE21 | macho::ARM64_RELOC_PAGEOFF12 if !inside => {
            return Err(direct());
        }
        macho::ARM64_RELOC_PAGE21 => (To::Symbol, From::Page, page),
        macho::ARM64_RELOC_PAGEOFF12 => (To::Symbol, From::Zero, Form::Aarch64(low(field))),
        // The descriptor of another module's variable has no name of its own.
        macho::ARM64_RELOC_TLVP_LOAD_PAGE21 | macho::ARM64_RELOC_TLVP_LOAD_PAGEOFF12 if !inside => {
            return Err(direct());
        }
        macho::ARM64_RELOC_GOT_LOAD_PAGE21 | macho::ARM64_RELOC_TLVP_LOAD_PAGE21 => {
            (slot, From::Page, page)
        }
        macho::ARM64_RELOC_GOT_LOAD_PAGEOFF12 | macho::ARM64_RELOC_TLVP_LOAD_PAGEOFF12 => {
            (slot, From::Zero, load)
        }
        macho::ARM64_RELOC_POINTER_TO_GOT if kind.from_place => {
            (slot, From::Place, Form::Number(Range::Signed32))
        }
        _ => return Err(field.unsupported()),
    };
    Ok(Action::Field { to, from, form })
}

/// The operand of the instruction at a field.
fn low(field: &Field<'_, '_>) -> Operand {
    let start = usize::try_from(field.reference.offset).unwrap_or(usize::MAX);
    let rest = field.section.bytes.get(start..).unwrap_or_default();
    let word = rest.first_chunk().map(|word| u32::from_le_bytes(*word));
    match word.and_then(memory_scale) {
        Some(scale) => Operand::Memory {
            scale,
            checked: false,
        },
        None => Operand::AddLow { checked: false },
    }
}
