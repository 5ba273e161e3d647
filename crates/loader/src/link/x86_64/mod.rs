//! The relocations of x86-64.
//!
//! What is particular about this machine:
//!
//! - Code reaches for things by 32-bit offsets from the *end* of an instruction. The field is four bytes
//!   before that end as a rule, hence the addend -4; it is not when an immediate follows.
//! - `PLT32` says "a branch, anything that jumps there will do", `PC32` says "this very address". For
//!   a symbol from outside the former gets a stub. Old assemblers wrote `PC32` for branches, too, so
//!   the opcode in front of the field decides there.
//! - `GOTPCRELX` and `REX_GOTPCRELX` promise that the field belongs to one of a few instructions, which
//!   a linker may rewrite to do without the slot (psABI, "Optimize GOTPCRELX relocations"):
//!
//!   | before | after |
//!   | --- | --- |
//!   | `[rex] 8b /r` `mov foo@GOTPCREL(%rip), %r` | `[rex] 8d /r` `lea foo(%rip), %r` |
//!   | `ff 15` `call *foo@GOTPCREL(%rip)` | `67 e8` `addr32 call foo` |
//!   | `ff 25` `jmp *foo@GOTPCREL(%rip)` | `e9 .. 90` `jmp foo; nop`, its field one byte earlier |
//!
//!   All others, and plain `GOTPCREL`, which promises nothing, keep the slot. APX has kinds of its own
//!   for its longer prefixes; `CODE_4` is a load with a REX2 prefix, which stays as it is.
//! - The large model counts from the beginning of the slots, `_GLOBAL_OFFSET_TABLE_`: its `GOT` kinds are
//!   distances from there to a slot, its `GOTOFF` and `PLTOFF` kinds to a symbol.
//! - A thread-local of the object itself has no fixed distance from the thread pointer, as its block
//!   is made when a thread first asks for it. One of the host may have; that is known at load.
//! - Code that is not position-independent has absolute addresses in four bytes (`32`, `32S`) or, in the
//!   large model, in eight bytes of its text. It is linked where it is asked for, into an image for the low
//!   2 GiB. What is outside is farther away: [`borrowed`] has the instructions that can do with a slot, a
//!   function's stub can stand for it, and [`type_tables`] sees to those of exceptions.
//! - An image's parts are within 1 GiB of each other, so offsets inside an image fit unless an addend
//!   is absurd.

pub(super) mod borrowed;
pub(super) mod instructions;
pub(super) mod kinds;
mod thread_locals;
pub(super) mod type_tables;

use super::read::{Binding, Input, Rela, SymbolKind, Value};
use super::reference::{self, Action, Field, Form, From, Range, Reference, To, Word};
use super::reference::{is_inside, may_be_shared};
use super::sections::{Section, SectionKind};
use crate::error::LinkError;
use borrowed::{Borrowing, Wants};
use instructions::Rewrite;
use object::LittleEndian as LE;
use object::elf;
use thread_locals::is_thread_local;

/// A set of kinds, of which there are fewer than 64: looked at for each relocation, as a bit.
#[derive(Clone, Copy)]
struct Kinds(u64);

impl Kinds {
    const fn of(kinds: &[u32]) -> Self {
        let mut bits = 0;
        let mut index = 0;
        while index < kinds.len() {
            bits |= 1 << kinds[index];
            index += 1;
        }
        Self(bits)
    }

    #[inline]
    fn has(self, kind: u32) -> bool {
        kind < 64 && self.0 >> kind & 1 != 0
    }
}

/// Kinds whose field has eight bytes.
const LONG: Kinds = Kinds::of(&[
    elf::R_X86_64_64,
    elf::R_X86_64_PC64,
    elf::R_X86_64_GOT64,
    elf::R_X86_64_GOTOFF64,
    elf::R_X86_64_GOTPC64,
    elf::R_X86_64_GOTPCREL64,
    elf::R_X86_64_GOTPLT64,
    elf::R_X86_64_PLTOFF64,
    elf::R_X86_64_SIZE64,
    elf::R_X86_64_DTPMOD64,
    elf::R_X86_64_DTPOFF64,
    elf::R_X86_64_TPOFF64,
]);

/// Bytes of a kind's field; unknown kinds are refused later, whatever this says.
#[inline]
fn width(kind: u32) -> u64 {
    match kind {
        elf::R_X86_64_PC32 | elf::R_X86_64_PLT32 => 4,
        _ if LONG.has(kind) => 8,
        elf::R_X86_64_16 | elf::R_X86_64_PC16 => 2,
        elf::R_X86_64_8 | elf::R_X86_64_PC8 => 1,
        // It marks a call of two bytes and changes nothing.
        elf::R_X86_64_TLSDESC_CALL => 0,
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
    if kind == elf::R_X86_64_NONE {
        return Ok(None);
    }
    let section = input.section(section_index)?;
    let mut reference = reference::read(input, section, relocation, kind, width(kind))?;
    if kind == elf::R_X86_64_TLSDESC_CALL {
        return Ok(None);
    }
    let field = Field {
        input,
        section_index,
        section,
        reference: &reference,
    };
    let is_thread_local = reference.symbol.kind == SymbolKind::ThreadLocal || is_thread_local(kind);
    let action = match is_thread_local {
        true => thread_locals::classify(&field)?,
        false => ordinary(&field)?,
    };
    reference.action = action;
    Ok(Some(reference))
}

/// What a relocation asks for that is not about a thread-local.
fn ordinary(field: &Field<'_, '_>) -> Result<Action, LinkError> {
    let symbol = &field.reference.symbol;
    let value = |to, from, range| Action::Field {
        to,
        from,
        form: Form::Number(range),
    };
    let distance = |to| value(to, From::Place, Range::Signed32);
    let inside = is_inside(symbol.value);
    // What most are.
    if inside
        && matches!(
            field.reference.kind,
            elf::R_X86_64_PC32 | elf::R_X86_64_PLT32
        )
    {
        return Ok(distance(To::Symbol));
    }
    let outside = symbol.value == Value::Undefined;
    let absolute = matches!(symbol.value, Value::Absolute(_));
    Ok(match field.reference.kind {
        elf::R_X86_64_64 if absolute => value(To::Symbol, From::Zero, Range::Whole),
        elf::R_X86_64_64
            if field.section.kind != SectionKind::Text || field.input.wishes.may_be_low =>
        {
            Action::Word(Word::Address)
        }
        elf::R_X86_64_PC64 if inside => value(To::Symbol, From::Place, Range::Whole),
        elf::R_X86_64_PC16 if inside => value(To::Symbol, From::Place, Range::Signed16),
        elf::R_X86_64_PC8 if inside => value(To::Symbol, From::Place, Range::Signed8),
        elf::R_X86_64_PLT32 if outside => distance(To::Stub),
        elf::R_X86_64_PC32 if outside && is_branch(field) => distance(To::Stub),
        elf::R_X86_64_GOTPCRELX | elf::R_X86_64_REX_GOTPCRELX | elf::R_X86_64_CODE_4_GOTPCRELX
            if inside && !may_be_shared(symbol) =>
        {
            match rewrite(field) {
                None => distance(To::Slot),
                Some(rewrite) => Action::Field {
                    to: To::Symbol,
                    from: From::Place,
                    form: Form::X86_64(rewrite),
                },
            }
        }
        elf::R_X86_64_GOTPCREL
        | elf::R_X86_64_GOTPCRELX
        | elf::R_X86_64_REX_GOTPCRELX
        | elf::R_X86_64_CODE_4_GOTPCRELX
        | elf::R_X86_64_CODE_5_GOTPCRELX
        | elf::R_X86_64_CODE_6_GOTPCRELX => distance(To::Slot),
        elf::R_X86_64_GOTPCREL64 => value(To::Slot, From::Place, Range::Whole),
        elf::R_X86_64_GOTPC32 => distance(To::SlotTable),
        elf::R_X86_64_GOTPC64 => value(To::SlotTable, From::Place, Range::Whole),
        elf::R_X86_64_GOT32 => value(To::Slot, From::SlotTable, Range::Signed32),
        elf::R_X86_64_GOT64 | elf::R_X86_64_GOTPLT64 => {
            value(To::Slot, From::SlotTable, Range::Whole)
        }
        elf::R_X86_64_GOTOFF64 | elf::R_X86_64_PLTOFF64 if inside => {
            value(To::Symbol, From::SlotTable, Range::Whole)
        }
        elf::R_X86_64_PLTOFF64 if outside => value(To::Stub, From::SlotTable, Range::Whole),
        elf::R_X86_64_SIZE32 if !outside => value(To::Size, From::Zero, Range::Unsigned32),
        elf::R_X86_64_SIZE64 if !outside => value(To::Size, From::Zero, Range::Whole),
        elf::R_X86_64_32 if absolute => value(To::Symbol, From::Zero, Range::Unsigned32),
        elf::R_X86_64_32S if absolute => value(To::Symbol, From::Zero, Range::Signed32),
        elf::R_X86_64_16 if absolute => value(To::Symbol, From::Zero, Range::Any16),
        elf::R_X86_64_8 if absolute => value(To::Symbol, From::Zero, Range::Any8),
        elf::R_X86_64_PC32 | elf::R_X86_64_32 | elf::R_X86_64_32S
            if outside && allowed_borrowing(field).is_some() =>
        {
            let wants = allowed_borrowing(field).map(|found| found.wants);
            let is_relative = field.reference.kind == elf::R_X86_64_PC32;
            match is_relative && field.reference.addend == -4 && wants == Some(Wants::Address) {
                true => Action::Field {
                    to: To::Slot,
                    from: From::Place,
                    form: Form::X86_64(Rewrite::AddressToLoad),
                },
                false => distance(To::Veneer),
            }
        }
        elf::R_X86_64_32 if type_tables::is_one(field) => distance(To::SlotWithAddend),
        elf::R_X86_64_32 | elf::R_X86_64_32S if field.input.wishes.may_be_low => {
            let range = match field.reference.kind {
                elf::R_X86_64_32 => Range::Unsigned32,
                _ => Range::Signed32,
            };
            // Of a function a stub does; so does the beginning of one for its beginning alone, and only
            // if there is one at all. Everything else has to be low itself, or not to be there.
            let is_stub = field.reference.addend == 0 && symbol.binding != Binding::Weak;
            match (inside, is_stub) {
                (true, _) => value(To::Symbol, From::Nowhere, range),
                (false, true) => value(To::Stub, From::Nowhere, range),
                // Below something that is not there is no address without a sign.
                (false, false) if range == Range::Unsigned32 && field.reference.addend < 0 => {
                    return Err(direct(field));
                }
                (false, false) => Action::NarrowAddress { is_distance: false },
            }
        }
        elf::R_X86_64_PC32 if outside && field.input.wishes.may_be_low => {
            Action::NarrowAddress { is_distance: true }
        }
        elf::R_X86_64_PC64
        | elf::R_X86_64_PC32
        | elf::R_X86_64_PLT32
        | elf::R_X86_64_PC16
        | elf::R_X86_64_PC8
        | elf::R_X86_64_GOTOFF64
        | elf::R_X86_64_PLTOFF64
        | elf::R_X86_64_SIZE32
        | elf::R_X86_64_SIZE64 => {
            return Err(direct(field));
        }
        elf::R_X86_64_64
        | elf::R_X86_64_32
        | elf::R_X86_64_32S
        | elf::R_X86_64_16
        | elf::R_X86_64_8 => {
            return Err(
                field.refuse(|relocation, site| LinkError::NotPositionIndependent {
                    relocation,
                    site,
                }),
            );
        }
        _ => return Err(field.unsupported()),
    })
}

/// The byte that lies `distance` before the field.
fn before(field: &Field<'_, '_>, distance: u64) -> Option<u8> {
    let at = usize::try_from(field.reference.offset.checked_sub(distance)?).ok()?;
    field.section.bytes.get(at).copied()
}

/// Whether the field is that of a call, a jump or a conditional jump.
fn is_branch(field: &Field<'_, '_>) -> bool {
    let ends_the_instruction =
        field.section.kind == SectionKind::Text && field.reference.addend == -4;
    let opcode = before(field, 1);
    let is_jcc = before(field, 2) == Some(0x0f) && matches!(opcode, Some(0x80..=0x8f));
    ends_the_instruction && (matches!(opcode, Some(0xe8 | 0xe9)) || is_jcc)
}

/// The error of a reference to something that may be anywhere in the process.
fn direct(field: &Field<'_, '_>) -> LinkError {
    field.refuse(|relocation, site| LinkError::DirectReference { relocation, site })
}

/// The same as [`borrowing`], for a field that may hold what it holds.
fn allowed_borrowing(field: &Field<'_, '_>) -> Option<Borrowing> {
    let is_allowed = field.reference.kind == elf::R_X86_64_PC32 || field.input.wishes.may_be_low;
    borrowing(field.section, field.reference).filter(|_| is_allowed)
}

/// How the instruction, which has no slot, can do with one.
pub(super) fn borrowing(section: &Section<'_>, reference: &Reference<'_>) -> Option<Borrowing> {
    if section.kind != SectionKind::Text {
        return None;
    }
    let end = usize::try_from(reference.offset).ok()?;
    borrowed::borrowing(reference.kind, section.bytes.get(..end)?)
}

/// Whether the field ends a load of 8 bytes, or of 4, which can become that of an address.
pub(super) fn is_load(field: &Field<'_, '_>) -> bool {
    let is_rip_relative = before(field, 1).is_some_and(|modrm| modrm & 0xc7 == 0x05);
    field.section.kind == SectionKind::Text
        && field.reference.addend == -4
        && before(field, 2) == Some(0x8b)
        && is_rip_relative
}

/// How the instruction can do without its slot.
fn rewrite(field: &Field<'_, '_>) -> Option<Rewrite> {
    // Another addend: an immediate follows, or a word other than the slot's own is wanted.
    if field.section.kind != SectionKind::Text || field.reference.addend != -4 {
        return None;
    }
    // The REX2 prefix has a bit that selects another map of instructions.
    let is_rex2 = before(field, 4) == Some(0xd5) && before(field, 3).is_some_and(|b| b & 0x80 == 0);
    if field.reference.kind == elf::R_X86_64_CODE_4_GOTPCRELX && !is_rex2 {
        return None;
    }
    let is_rip_relative = |modrm: u8| modrm & 0xc7 == 0x05;
    match (before(field, 2), before(field, 1)) {
        (Some(0x8b), Some(modrm)) if is_rip_relative(modrm) => Some(Rewrite::LoadToAddress),
        // A REX prefix in front of these would come to stand before `67`, and be lost.
        (Some(0xff), Some(0x15)) if field.reference.kind == elf::R_X86_64_GOTPCRELX => {
            Some(Rewrite::Call)
        }
        (Some(0xff), Some(0x25)) if field.reference.kind == elf::R_X86_64_GOTPCRELX => {
            Some(Rewrite::Jump)
        }
        _ => None,
    }
}
