//! The relocations of AArch64 for thread-locals: which model each is for, and what it comes to here.

use super::instructions::{Check, Operand};
use super::signed_move;
use crate::error::LinkError;
use crate::link::reference::{Action, Field, Form, From, Narrow, Range, To, Word};
use crate::link::sections::SectionKind;
use object::elf;

/// What a relocation asks for that is about a thread-local.
pub(super) fn classify(field: &Field<'_, '_>) -> Result<Action, LinkError> {
    let own = field.is_own_thread_local()?;
    if let Some((to, from, operand)) = slot(field.reference.kind) {
        return match to {
            To::OffsetSlot if own => {
                Err(field.refuse(|relocation, site| LinkError::ThreadLocal { relocation, site }))
            }
            // Descriptors and pairs are of whole variables.
            _ if field.reference.addend != 0 => {
                Err(field
                    .refuse(|relocation, site| LinkError::ThreadLocalAddress { relocation, site }))
            }
            _ => Ok(Action::Field {
                to,
                from,
                form: Form::Aarch64(operand),
            }),
        };
    }
    if let Some(operand) = offset_in_block(field.reference.kind) {
        return match own {
            true => Ok(Action::Field {
                to: To::ThreadOffset,
                from: From::Zero,
                form: Form::Aarch64(operand),
            }),
            false => {
                Err(field
                    .refuse(|relocation, site| LinkError::DirectReference { relocation, site }))
            }
        };
    }
    if let Some(operand) = distance_from_pointer(field.reference.kind) {
        return match own {
            true => {
                Err(field.refuse(|relocation, site| LinkError::ThreadLocal { relocation, site }))
            }
            false => Ok(Action::NarrowOffset(Narrow::Aarch64(operand))),
        };
    }
    let is_text = field.section.kind == SectionKind::Text;
    match field.reference.kind {
        elf::R_AARCH64_TLS_DTPREL if own => Ok(Action::Field {
            to: To::ThreadOffset,
            from: From::Zero,
            form: Form::Number(Range::Whole),
        }),
        elf::R_AARCH64_TLS_DTPREL if !is_text => Ok(Action::Word(Word::ThreadOffset)),
        elf::R_AARCH64_TLS_DTPMOD if !is_text => Ok(Action::Word(Word::ThreadModule)),
        elf::R_AARCH64_TLS_TPREL if own => {
            Err(field.refuse(|relocation, site| LinkError::ThreadLocal { relocation, site }))
        }
        elf::R_AARCH64_TLS_TPREL if !is_text => Ok(Action::Word(Word::PointerOffset)),
        kind if is_thread_local(kind) => {
            Err(field.refuse(|relocation, site| LinkError::DirectReference { relocation, site }))
        }
        _ => {
            Err(field.refuse(|relocation, site| LinkError::ThreadLocalAddress { relocation, site }))
        }
    }
}

/// Whether a kind is for thread-locals alone.
pub(super) fn is_thread_local(kind: u32) -> bool {
    matches!(
        kind,
        elf::R_AARCH64_TLSGD_ADR_PREL21..=elf::R_AARCH64_TLSLD_LDST128_DTPREL_LO12_NC
            | elf::R_AARCH64_TLS_DTPMOD..=elf::R_AARCH64_TLSDESC
    )
}

/// Kinds that lead to a pair, a descriptor, or the slot of a distance.
fn slot(kind: u32) -> Option<(To, From, Operand)> {
    let page = Operand::Page { checked: true };
    let add = Operand::AddLow { checked: false };
    let load = Operand::Memory {
        scale: 3,
        checked: false,
    };
    let rest = Operand::Move {
        group: 0,
        check: Check::None,
    };
    Some(match kind {
        elf::R_AARCH64_TLSGD_ADR_PREL21 => (To::Pair, From::Place, Operand::Address),
        elf::R_AARCH64_TLSGD_ADR_PAGE21 => (To::Pair, From::Page, page),
        elf::R_AARCH64_TLSGD_ADD_LO12_NC => (To::Pair, From::Zero, add),
        elf::R_AARCH64_TLSGD_MOVW_G1 => (To::Pair, From::SlotTable, signed_move(2)),
        elf::R_AARCH64_TLSGD_MOVW_G0_NC => (To::Pair, From::SlotTable, rest),
        elf::R_AARCH64_TLSLD_ADR_PREL21 => (To::OwnPair, From::Place, Operand::Address),
        elf::R_AARCH64_TLSLD_ADR_PAGE21 => (To::OwnPair, From::Page, page),
        elf::R_AARCH64_TLSLD_ADD_LO12_NC => (To::OwnPair, From::Zero, add),
        elf::R_AARCH64_TLSLD_MOVW_G1 => (To::OwnPair, From::SlotTable, signed_move(2)),
        elf::R_AARCH64_TLSLD_MOVW_G0_NC => (To::OwnPair, From::SlotTable, rest),
        elf::R_AARCH64_TLSLD_LD_PREL19 => (To::OwnPair, From::Place, Operand::Literal),
        elf::R_AARCH64_TLSIE_ADR_GOTTPREL_PAGE21 => (To::OffsetSlot, From::Page, page),
        elf::R_AARCH64_TLSIE_LD64_GOTTPREL_LO12_NC => (To::OffsetSlot, From::Zero, load),
        elf::R_AARCH64_TLSIE_LD_GOTTPREL_PREL19 => (To::OffsetSlot, From::Place, Operand::Literal),
        elf::R_AARCH64_TLSIE_MOVW_GOTTPREL_G1 => (To::OffsetSlot, From::SlotTable, signed_move(2)),
        elf::R_AARCH64_TLSIE_MOVW_GOTTPREL_G0_NC => (To::OffsetSlot, From::SlotTable, rest),
        elf::R_AARCH64_TLSDESC_LD_PREL19 => (To::Descriptor, From::Place, Operand::Literal),
        elf::R_AARCH64_TLSDESC_ADR_PREL21 => (To::Descriptor, From::Place, Operand::Address),
        elf::R_AARCH64_TLSDESC_ADR_PAGE21 => (To::Descriptor, From::Page, page),
        elf::R_AARCH64_TLSDESC_LD64_LO12 => (To::Descriptor, From::Zero, load),
        elf::R_AARCH64_TLSDESC_ADD_LO12 => (To::Descriptor, From::Zero, add),
        elf::R_AARCH64_TLSDESC_OFF_G1 => (To::Descriptor, From::SlotTable, signed_move(2)),
        elf::R_AARCH64_TLSDESC_OFF_G0_NC => (To::Descriptor, From::SlotTable, rest),
        _ => return None,
    })
}

/// Kinds of the local-dynamic model: where a thread-local lies in its block.
fn offset_in_block(kind: u32) -> Option<Operand> {
    Some(match kind {
        elf::R_AARCH64_TLSLD_MOVW_DTPREL_G2 => group(2, Check::Signed),
        elf::R_AARCH64_TLSLD_MOVW_DTPREL_G1 => group(1, Check::Signed),
        elf::R_AARCH64_TLSLD_MOVW_DTPREL_G1_NC => group(1, Check::None),
        elf::R_AARCH64_TLSLD_MOVW_DTPREL_G0 => group(0, Check::Signed),
        elf::R_AARCH64_TLSLD_MOVW_DTPREL_G0_NC => group(0, Check::None),
        elf::R_AARCH64_TLSLD_ADD_DTPREL_HI12 => Operand::AddHigh,
        elf::R_AARCH64_TLSLD_ADD_DTPREL_LO12 => Operand::AddLow { checked: true },
        elf::R_AARCH64_TLSLD_ADD_DTPREL_LO12_NC => Operand::AddLow { checked: false },
        elf::R_AARCH64_TLSLD_LDST8_DTPREL_LO12..=elf::R_AARCH64_TLSLD_LDST64_DTPREL_LO12_NC => {
            memory(kind - elf::R_AARCH64_TLSLD_LDST8_DTPREL_LO12)
        }
        elf::R_AARCH64_TLSLD_LDST128_DTPREL_LO12 => memory(8),
        elf::R_AARCH64_TLSLD_LDST128_DTPREL_LO12_NC => memory(9),
        _ => return None,
    })
}

/// Kinds of the local-exec model: how far a thread-local lies from the thread pointer.
fn distance_from_pointer(kind: u32) -> Option<Operand> {
    Some(match kind {
        elf::R_AARCH64_TLSLE_MOVW_TPREL_G2 => group(2, Check::Signed),
        elf::R_AARCH64_TLSLE_MOVW_TPREL_G1 => group(1, Check::Signed),
        elf::R_AARCH64_TLSLE_MOVW_TPREL_G1_NC => group(1, Check::None),
        elf::R_AARCH64_TLSLE_MOVW_TPREL_G0 => group(0, Check::Signed),
        elf::R_AARCH64_TLSLE_MOVW_TPREL_G0_NC => group(0, Check::None),
        elf::R_AARCH64_TLSLE_ADD_TPREL_HI12 => Operand::AddHigh,
        elf::R_AARCH64_TLSLE_ADD_TPREL_LO12 => Operand::AddLow { checked: true },
        elf::R_AARCH64_TLSLE_ADD_TPREL_LO12_NC => Operand::AddLow { checked: false },
        elf::R_AARCH64_TLSLE_LDST8_TPREL_LO12..=elf::R_AARCH64_TLSLE_LDST64_TPREL_LO12_NC => {
            memory(kind - elf::R_AARCH64_TLSLE_LDST8_TPREL_LO12)
        }
        elf::R_AARCH64_TLSLE_LDST128_TPREL_LO12 => memory(8),
        elf::R_AARCH64_TLSLE_LDST128_TPREL_LO12_NC => memory(9),
        _ => return None,
    })
}

fn group(group: u8, check: Check) -> Operand {
    Operand::Move { group, check }
}

/// The operand of a kind in a row: each size in turn, checked and not.
fn memory(number: u32) -> Operand {
    Operand::Memory {
        scale: (number / 2) as u8,
        checked: number.is_multiple_of(2),
    }
}
