//! The relocations of AArch64 ELF.
//!
//! What is particular about this machine:
//!
//! - Instructions are four bytes, and an address is made by two of them: `adrp` gives the *page* of 4
//!   KiB, counted from the page of the instruction, and an `add`, load or store adds the low 12 bits.
//!   Both are known when an image is linked, if the image begins with a page: so it asks for that
//!   alignment as soon as one such pair is in it.
//! - A load or store counts its 12 bits in units of what it moves, so there is a kind for each size.
//! - Branches reach 128 MiB, images can be longer. Since nothing in an image is more than 256 MiB from
//!   anything else, one island of stubs and thunks in the middle is within reach of all code; there is
//!   one only where the text is long. Conditional branches (1 MiB) and tests (32 KiB) are for the
//!   function that they stand in, and get no thunk.
//! - The field is a part of the instruction, in one of a dozen places. The instruction is looked at
//!   before it is changed, as an object can say what it likes.
//! - `GOT` kinds mean the slot of symbol *plus* addend. Assemblers write a local symbol as its section
//!   with an addend, so that this is not rare.
//! - Thread-locals come in the same models as on x86-64. The usual one for code of libraries is
//!   the descriptor, whose four instructions each have a kind.
//!
//! The kinds and their checks are those of "ELF for the Arm 64-bit Architecture (AArch64)", 2023Q3.

pub(super) mod instructions;
pub(super) mod kinds;
mod thread_locals;

use super::read::{Input, Rela, SymbolKind, Value};
use super::reference::{self, Action, Field, Form, From, Range, Reference, To, Word, is_inside};
use super::sections::SectionKind;
use crate::error::LinkError;
use instructions::{Check, Operand};
use object::LittleEndian as LE;
use object::elf;
use thread_locals::is_thread_local;

/// Bytes of a kind's field; unknown kinds are refused later, whatever this says.
fn width(kind: u32) -> u64 {
    match kind {
        elf::R_AARCH64_ABS64
        | elf::R_AARCH64_PREL64
        | elf::R_AARCH64_GOTREL64
        | elf::R_AARCH64_TLS_DTPMOD
        | elf::R_AARCH64_TLS_DTPREL
        | elf::R_AARCH64_TLS_TPREL => 8,
        elf::R_AARCH64_ABS16 | elf::R_AARCH64_PREL16 => 2,
        _ => 4,
    }
}

/// Says what a relocation of `section` asks for, or why it cannot be had. `None` if for nothing.
pub(super) fn classify<'a>(
    input: &Input<'a>,
    section_index: usize,
    relocation: &Rela,
) -> Result<Option<Reference<'a>>, LinkError> {
    let kind = relocation.r_type(LE, false);
    // 256 is what 0 was called before.
    if matches!(kind, elf::R_AARCH64_NONE | 256) {
        return Ok(None);
    }
    let section = input.section(section_index)?;
    let mut reference = reference::read(input, section, relocation, kind, width(kind))?;
    // They mark instructions of a descriptor's sequence for linkers that change it.
    if matches!(
        kind,
        elf::R_AARCH64_TLSDESC_LDR | elf::R_AARCH64_TLSDESC_ADD | elf::R_AARCH64_TLSDESC_CALL
    ) {
        return Ok(None);
    }
    let field = Field {
        input,
        section_index,
        section,
        reference: &reference,
    };
    let about_threads = reference.symbol.kind == SymbolKind::ThreadLocal || is_thread_local(kind);
    let action = match about_threads {
        true => thread_locals::classify(&field)?,
        false => ordinary(&field)?,
    };
    reference.action = action;
    Ok(Some(reference))
}

/// What a relocation asks for that is not about a thread-local.
fn ordinary(field: &Field<'_, '_>) -> Result<Action, LinkError> {
    let symbol = &field.reference.symbol;
    let inside = is_inside(symbol.value);
    let outside = symbol.value == Value::Undefined;
    let absolute = matches!(symbol.value, Value::Absolute(_));
    if let Some((from, form)) = slot(field.reference.kind) {
        let to = match field.reference.addend {
            0 => To::Slot,
            _ => To::SlotWithAddend,
        };
        return Ok(Action::Field { to, from, form });
    }
    if field.reference.kind == elf::R_AARCH64_ABS64 && !absolute {
        return match field.section.kind {
            SectionKind::Text => Err(not_position_independent(field)),
            _ => Ok(Action::Word(Word::Address)),
        };
    }
    if let Some(form) = branch(field.reference.kind) {
        let is_long = form == Form::Aarch64(Operand::Branch) && field.input.has_far_text;
        let to = match (inside, is_long) {
            (true, true) => To::Near,
            (true, false) => To::Symbol,
            (false, _) => To::Stub,
        };
        return match absolute {
            true => Err(not_position_independent(field)),
            false => Ok(Action::Field {
                to,
                from: From::Place,
                form,
            }),
        };
    }
    if let Some((from, form)) = direct(field.reference.kind) {
        return match inside {
            true => Ok(Action::Field {
                to: To::Symbol,
                from,
                form,
            }),
            false => {
                Err(field
                    .refuse(|relocation, site| LinkError::DirectReference { relocation, site }))
            }
        };
    }
    match fixed(field.reference.kind) {
        Some(form) if absolute => Ok(Action::Field {
            to: To::Symbol,
            from: From::Zero,
            form,
        }),
        Some(_) if outside || inside => Err(not_position_independent(field)),
        _ => Err(field.unsupported()),
    }
}

fn not_position_independent(field: &Field<'_, '_>) -> LinkError {
    field.refuse(|relocation, site| LinkError::NotPositionIndependent { relocation, site })
}

/// Kinds that lead to a slot.
fn slot(kind: u32) -> Option<(From, Form)> {
    let slot = |from, operand| Some((from, Form::Aarch64(operand)));
    let page = Operand::Page { checked: true };
    let low = Operand::Memory {
        scale: 3,
        checked: false,
    };
    match kind {
        elf::R_AARCH64_ADR_GOT_PAGE => slot(From::Page, page),
        elf::R_AARCH64_LD64_GOT_LO12_NC => slot(From::Zero, low),
        elf::R_AARCH64_GOT_LD_PREL19 => slot(From::Place, Operand::Literal),
        elf::R_AARCH64_LD64_GOTPAGE_LO15 => slot(From::SlotTablePage, Operand::TableSlot),
        elf::R_AARCH64_LD64_GOTOFF_LO15 => slot(From::SlotTable, Operand::TableSlot),
        elf::R_AARCH64_GOTPCREL32 => Some((From::Place, Form::Number(Range::Signed32))),
        elf::R_AARCH64_MOVW_GOTOFF_G0
        | elf::R_AARCH64_MOVW_GOTOFF_G0_NC
        | elf::R_AARCH64_MOVW_GOTOFF_G1
        | elf::R_AARCH64_MOVW_GOTOFF_G1_NC
        | elf::R_AARCH64_MOVW_GOTOFF_G2
        | elf::R_AARCH64_MOVW_GOTOFF_G2_NC
        | elf::R_AARCH64_MOVW_GOTOFF_G3 => slot(
            From::SlotTable,
            signed_move(kind - elf::R_AARCH64_MOVW_GOTOFF_G0),
        ),
        _ => None,
    }
}

/// Kinds of branches, which a stub or a thunk will do for.
fn branch(kind: u32) -> Option<Form> {
    Some(match kind {
        elf::R_AARCH64_CALL26 | elf::R_AARCH64_JUMP26 => Form::Aarch64(Operand::Branch),
        elf::R_AARCH64_CONDBR19 => Form::Aarch64(Operand::Conditional),
        elf::R_AARCH64_TSTBR14 => Form::Aarch64(Operand::Test),
        elf::R_AARCH64_PLT32 => Form::Number(Range::Signed32),
        _ => return None,
    })
}

/// Kinds that lead to the symbol itself, wherever the image is.
fn direct(kind: u32) -> Option<(From, Form)> {
    let low = |operand| Some((From::Zero, Form::Aarch64(operand)));
    let memory = |scale| {
        low(Operand::Memory {
            scale,
            checked: false,
        })
    };
    let distance = |range| Some((From::Place, Form::Number(range)));
    let here = |operand| Some((From::Place, Form::Aarch64(operand)));
    let page = |checked| Some((From::Page, Form::Aarch64(Operand::Page { checked })));
    match kind {
        elf::R_AARCH64_PREL64 => distance(Range::Whole),
        elf::R_AARCH64_PREL32 => distance(Range::Any32),
        elf::R_AARCH64_PREL16 => distance(Range::Any16),
        elf::R_AARCH64_GOTREL64 => Some((From::SlotTable, Form::Number(Range::Whole))),
        elf::R_AARCH64_GOTREL32 => Some((From::SlotTable, Form::Number(Range::Signed32))),
        elf::R_AARCH64_LD_PREL_LO19 => here(Operand::Literal),
        elf::R_AARCH64_ADR_PREL_LO21 => here(Operand::Address),
        elf::R_AARCH64_ADR_PREL_PG_HI21 => page(true),
        elf::R_AARCH64_ADR_PREL_PG_HI21_NC => page(false),
        elf::R_AARCH64_ADD_ABS_LO12_NC => low(Operand::AddLow { checked: false }),
        elf::R_AARCH64_LDST8_ABS_LO12_NC => memory(0),
        elf::R_AARCH64_LDST16_ABS_LO12_NC => memory(1),
        elf::R_AARCH64_LDST32_ABS_LO12_NC => memory(2),
        elf::R_AARCH64_LDST64_ABS_LO12_NC => memory(3),
        elf::R_AARCH64_LDST128_ABS_LO12_NC => memory(4),
        elf::R_AARCH64_MOVW_PREL_G0
        | elf::R_AARCH64_MOVW_PREL_G0_NC
        | elf::R_AARCH64_MOVW_PREL_G1
        | elf::R_AARCH64_MOVW_PREL_G1_NC
        | elf::R_AARCH64_MOVW_PREL_G2
        | elf::R_AARCH64_MOVW_PREL_G2_NC
        | elf::R_AARCH64_MOVW_PREL_G3 => here(signed_move(kind - elf::R_AARCH64_MOVW_PREL_G0)),
        _ => None,
    }
}

/// Kinds that hold an address as such.
fn fixed(kind: u32) -> Option<Form> {
    let group = |group, check| Some(Form::Aarch64(Operand::Move { group, check }));
    match kind {
        elf::R_AARCH64_ABS64 => Some(Form::Number(Range::Whole)),
        elf::R_AARCH64_ABS32 => Some(Form::Number(Range::Any32)),
        elf::R_AARCH64_ABS16 => Some(Form::Number(Range::Any16)),
        elf::R_AARCH64_MOVW_UABS_G0 => group(0, Check::Unsigned),
        elf::R_AARCH64_MOVW_UABS_G0_NC => group(0, Check::None),
        elf::R_AARCH64_MOVW_UABS_G1 => group(1, Check::Unsigned),
        elf::R_AARCH64_MOVW_UABS_G1_NC => group(1, Check::None),
        elf::R_AARCH64_MOVW_UABS_G2 => group(2, Check::Unsigned),
        elf::R_AARCH64_MOVW_UABS_G2_NC => group(2, Check::None),
        elf::R_AARCH64_MOVW_UABS_G3 => group(3, Check::Unsigned),
        elf::R_AARCH64_MOVW_SABS_G0 => group(0, Check::Signed),
        elf::R_AARCH64_MOVW_SABS_G1 => group(1, Check::Signed),
        elf::R_AARCH64_MOVW_SABS_G2 => group(2, Check::Signed),
        _ => None,
    }
}

/// The operand of a kind in a row of seven: four groups, the first three also without a check.
fn signed_move(number: u32) -> Operand {
    Operand::Move {
        group: (number / 2) as u8,
        check: match number % 2 {
            0 => Check::Signed,
            _ => Check::None,
        },
    }
}
