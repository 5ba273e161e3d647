//! The relocations of Mach-O x86-64.
//!
//! A field that counts from the end of its instruction has the addend -4, as in ELF, and one more for each
//! byte of an immediate behind it; the reader has put that into the addend, so that `SIGNED_1`, `_2` and
//! `_4` are `SIGNED`. `GOT_LOAD` and `TLV` promise a `mov` that can become a `lea` where what it loads the
//! address of is in the image.

use super::{Kind, numbers};
use crate::error::LinkError;
use crate::link::read::{Input, Rela, SymbolKind, Value};
use crate::link::reference::{Action, Field, Form, From, Range, Reference, To};
use crate::link::reference::{is_inside, may_be_shared};
use crate::link::x86_64::instructions::Rewrite;
use crate::link::x86_64::is_load;
use object::macho;

/// Says what a relocation of `section` asks for, or why it cannot be had. `None` if for nothing.
pub(in crate::link) fn classify<'a>(
    input: &Input<'a>,
    section_index: usize,
    relocation: &Rela,
) -> Result<Option<Reference<'a>>, LinkError> {
    let subtractor = macho::X86_64_RELOC_SUBTRACTOR;
    numbers::classify(input, section_index, relocation, subtractor, instruction)
}

/// The name of a kind.
pub(in crate::link) fn name(kind: u32) -> &'static str {
    match Kind::unpack(kind).sort {
        macho::X86_64_RELOC_UNSIGNED => "X86_64_RELOC_UNSIGNED",
        macho::X86_64_RELOC_SIGNED => "X86_64_RELOC_SIGNED",
        macho::X86_64_RELOC_BRANCH => "X86_64_RELOC_BRANCH",
        macho::X86_64_RELOC_GOT_LOAD => "X86_64_RELOC_GOT_LOAD",
        macho::X86_64_RELOC_GOT => "X86_64_RELOC_GOT",
        macho::X86_64_RELOC_SUBTRACTOR => "X86_64_RELOC_SUBTRACTOR",
        macho::X86_64_RELOC_SIGNED_1 => "X86_64_RELOC_SIGNED_1",
        macho::X86_64_RELOC_SIGNED_2 => "X86_64_RELOC_SIGNED_2",
        macho::X86_64_RELOC_SIGNED_4 => "X86_64_RELOC_SIGNED_4",
        macho::X86_64_RELOC_TLV => "X86_64_RELOC_TLV",
        _ => "of an unknown name",
    }
}

/// What a field of an instruction asks for.
fn instruction(field: &Field<'_, '_>, kind: Kind) -> Result<Action, LinkError> {
    let symbol = &field.reference.symbol;
    let inside = is_inside(symbol.value);
    let distance = |to| {
        Ok(Action::Field {
            to,
            from: From::Place,
            form: Form::Number(Range::Signed32),
        })
    };
    if kind.width != 4 || !kind.from_place {
        return Err(field.unsupported());
    }
    if symbol.kind == SymbolKind::ThreadLocal {
        return Err(
            field.refuse(|relocation, site| LinkError::ThreadLocalAddress { relocation, site })
        );
    }
    match kind.sort {
        macho::X86_64_RELOC_SIGNED
        | macho::X86_64_RELOC_SIGNED_1
        | macho::X86_64_RELOC_SIGNED_2
        | macho::X86_64_RELOC_SIGNED_4
        | macho::X86_64_RELOC_BRANCH
            if inside =>
        {
            distance(To::Symbol)
        }
        macho::X86_64_RELOC_BRANCH if symbol.value == Value::Undefined => distance(To::Stub),
        macho::X86_64_RELOC_GOT_LOAD if inside && is_load(field) && !may_be_shared(symbol) => {
            Ok(Action::Field {
                to: To::Symbol,
                from: From::Place,
                form: Form::X86_64(Rewrite::LoadToAddress),
            })
        }
        macho::X86_64_RELOC_GOT_LOAD | macho::X86_64_RELOC_GOT => distance(To::Slot),
        macho::X86_64_RELOC_TLV if inside && is_load(field) => Ok(Action::Field {
            to: To::Symbol,
            from: From::Place,
            form: Form::X86_64(Rewrite::LoadToAddress),
        }),
        macho::X86_64_RELOC_TLV if inside => distance(To::Slot),
        macho::X86_64_RELOC_SIGNED
        | macho::X86_64_RELOC_SIGNED_1
        | macho::X86_64_RELOC_SIGNED_2
        | macho::X86_64_RELOC_SIGNED_4
        | macho::X86_64_RELOC_BRANCH
        // The descriptor of another module's variable has no name of its own.
        | macho::X86_64_RELOC_TLV => Err(field.refuse(|relocation, site| {
            LinkError::DirectReference { relocation, site }
        })),
        _ => Err(field.unsupported()),
    }
}
