//! Relocations that are numbers, of which both machines of Mach-O have the same: addresses, distances, differences.

use super::{Kind, MODULE};
use crate::error::LinkError;
use crate::link::read::{Input, LE, Rela, SymbolKind, Value};
use crate::link::reference::{
    self, Action, Field, Form, From, Range, Reference, To, Word, is_inside,
};
use crate::link::sections::SectionKind;
use object::macho;

/// Says what a relocation of `section` asks for, where `subtractor` is the machine's name of a difference, and
/// `instruction` knows what is no number.
pub(super) fn classify<'a>(
    input: &Input<'a>,
    section_index: usize,
    relocation: &Rela,
    subtractor: u8,
    instruction: impl FnOnce(&Field<'_, '_>, Kind) -> Result<Action, LinkError>,
) -> Result<Option<Reference<'a>>, LinkError> {
    const UNSIGNED: u8 = macho::X86_64_RELOC_UNSIGNED;
    const { assert!(UNSIGNED == macho::ARM64_RELOC_UNSIGNED) }
    let packed = relocation.r_type(LE, false);
    let kind = Kind::unpack(packed);
    let section = input.section(section_index)?;
    let mut reference = reference::read(input, section, relocation, packed, kind.width)?;
    let field = Field {
        input,
        section_index,
        section,
        reference: &reference,
    };
    let is_number = [UNSIGNED, subtractor, MODULE].contains(&kind.sort);
    let action = match is_number {
        true => number(&field, kind, subtractor)?,
        false => instruction(&field, kind)?,
    };
    reference.action = action;
    Ok(Some(reference))
}

/// What a number asks for: an address, a distance, or a difference. Both machines have them alike.
fn number(field: &Field<'_, '_>, kind: Kind, subtractor: u8) -> Result<Action, LinkError> {
    let symbol = &field.reference.symbol;
    let is_text = field.section.kind == SectionKind::Text;
    let absolute = matches!(symbol.value, Value::Absolute(_));
    let inside = is_inside(symbol.value);
    let range = match (kind.width, kind.from_place || kind.sort == subtractor) {
        (8, _) => Range::Whole,
        (4, true) => Range::Signed32,
        (4, false) => Range::Any32,
        _ => return Err(field.unsupported()),
    };
    let value = |to, from| Action::Field {
        to,
        from,
        form: Form::Number(range),
    };
    if kind.sort == MODULE {
        return Ok(Action::Word(Word::ThreadModule));
    }
    if symbol.kind == SymbolKind::ThreadLocal {
        // The third word of a descriptor.
        return match kind.width == 8 && !kind.from_place && kind.sort != subtractor {
            true => Ok(value(To::ThreadOffset, From::Zero)),
            false => {
                Err(field
                    .refuse(|relocation, site| LinkError::ThreadLocalAddress { relocation, site }))
            }
        };
    }
    if kind.sort == subtractor || kind.from_place {
        let from = match kind.from_place {
            true => From::Place,
            false => {
                let holder = field.section;
                From::Symbol(field.input.origin(holder, kind.origin)?)
            }
        };
        return match inside {
            true => Ok(value(To::Symbol, from)),
            false => {
                Err(field
                    .refuse(|relocation, site| LinkError::DirectReference { relocation, site }))
            }
        };
    }
    match kind.width {
        _ if absolute => Ok(value(To::Symbol, From::Zero)),
        8 if !is_text => Ok(Action::Word(Word::Address)),
        _ => {
            Err(field
                .refuse(|relocation, site| LinkError::NotPositionIndependent { relocation, site }))
        }
    }
}
