//! The relocations of x86-64 for thread-locals: which model each is for, and what it comes to here.

use super::Kinds;
use crate::error::LinkError;
use crate::link::reference::{Action, Field, Form, From, Narrow, Range, To, Word};
use crate::link::sections::SectionKind;
use object::elf;

/// What a relocation asks for that is about a thread-local.
pub(super) fn classify(field: &Field<'_, '_>) -> Result<Action, LinkError> {
    let own = field.is_own_thread_local()?;
    let value = |to, from, range| Action::Field {
        to,
        from,
        form: Form::Number(range),
    };
    let distance = |to| value(to, From::Place, Range::Signed32);
    let is_text = field.section.kind == SectionKind::Text;
    Ok(match field.reference.kind {
        elf::R_X86_64_TLSGD => distance(To::Pair),
        elf::R_X86_64_TLSLD => distance(To::OwnPair),
        elf::R_X86_64_GOTPC32_TLSDESC
        | elf::R_X86_64_CODE_4_GOTPC32_TLSDESC
        | elf::R_X86_64_CODE_5_GOTPC32_TLSDESC
        | elf::R_X86_64_CODE_6_GOTPC32_TLSDESC => distance(To::Descriptor),
        elf::R_X86_64_DTPOFF32 if own => value(To::ThreadOffset, From::Zero, Range::Signed32),
        elf::R_X86_64_DTPOFF64 if own => value(To::ThreadOffset, From::Zero, Range::Whole),
        elf::R_X86_64_DTPOFF64 if !is_text => Action::Word(Word::ThreadOffset),
        elf::R_X86_64_DTPMOD64 if !is_text => Action::Word(Word::ThreadModule),
        elf::R_X86_64_GOTTPOFF
        | elf::R_X86_64_CODE_4_GOTTPOFF
        | elf::R_X86_64_CODE_5_GOTTPOFF
        | elf::R_X86_64_CODE_6_GOTTPOFF
        | elf::R_X86_64_TPOFF64
        | elf::R_X86_64_TPOFF32
            if own =>
        {
            return Err(
                field.refuse(|relocation, site| LinkError::ThreadLocal { relocation, site })
            );
        }
        elf::R_X86_64_GOTTPOFF
        | elf::R_X86_64_CODE_4_GOTTPOFF
        | elf::R_X86_64_CODE_5_GOTTPOFF
        | elf::R_X86_64_CODE_6_GOTTPOFF => distance(To::OffsetSlot),
        elf::R_X86_64_TPOFF64 if !is_text => Action::Word(Word::PointerOffset),
        elf::R_X86_64_TPOFF32 => Action::NarrowOffset(Narrow::Number),
        // The rest are ordinary kinds, and thread-local ones where the value cannot be had.
        kind if is_thread_local(kind) => {
            return Err(
                field.refuse(|relocation, site| LinkError::DirectReference { relocation, site })
            );
        }
        elf::R_X86_64_SIZE32 if own => value(To::Size, From::Zero, Range::Unsigned32),
        elf::R_X86_64_SIZE64 if own => value(To::Size, From::Zero, Range::Whole),
        _ => {
            return Err(
                field.refuse(|relocation, site| LinkError::ThreadLocalAddress { relocation, site })
            );
        }
    })
}

/// Whether a kind is for thread-locals alone.
#[inline]
pub(super) fn is_thread_local(kind: u32) -> bool {
    THREAD_LOCAL.has(kind)
}

const THREAD_LOCAL: Kinds = Kinds::of(&[
    elf::R_X86_64_DTPMOD64,
    elf::R_X86_64_DTPOFF64,
    elf::R_X86_64_TPOFF64,
    elf::R_X86_64_TLSGD,
    elf::R_X86_64_TLSLD,
    elf::R_X86_64_DTPOFF32,
    elf::R_X86_64_GOTTPOFF,
    elf::R_X86_64_TPOFF32,
    elf::R_X86_64_GOTPC32_TLSDESC,
    elf::R_X86_64_TLSDESC_CALL,
    elf::R_X86_64_TLSDESC,
    elf::R_X86_64_CODE_4_GOTTPOFF,
    elf::R_X86_64_CODE_4_GOTPC32_TLSDESC,
    elf::R_X86_64_CODE_5_GOTTPOFF,
    elf::R_X86_64_CODE_5_GOTPC32_TLSDESC,
    elf::R_X86_64_CODE_6_GOTTPOFF,
    elf::R_X86_64_CODE_6_GOTPC32_TLSDESC,
]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thread_local_kinds_are_known() {
        let kinds: Vec<u32> = (0..52).filter(|kind| is_thread_local(*kind)).collect();
        let expected = (16..=23).chain(34..=36).chain([44, 45, 47, 48, 50, 51]);
        assert_eq!(kinds, expected.collect::<Vec<_>>());
    }
}
