//! The types that landing pads catch, where code is not position-independent.
//!
//! Such code names them by addresses in four bytes (`DW_EH_PE_udata4`), and those of libraries are out of
//! their reach. So the entries become distances to slots, which take four bytes, too
//! (`DW_EH_PE_indirect | pcrel | sdata4`): what position-independent code has from the beginning. What
//! sort they are is said once in each function's table, in its second byte.
//!
//! The tables are described by the Itanium C++ ABI, "Exception Handling Tables", as far as at all.

use super::super::reference::Field;
use super::super::sections::Section;

/// `DW_EH_PE_omit`: a table of landing pads begins with it, as compilers write them.
const OMIT: u8 = 0xff;
/// `DW_EH_PE_udata4`.
const ABSOLUTE: u8 = 0x03;
/// `DW_EH_PE_indirect | DW_EH_PE_pcrel | DW_EH_PE_sdata4`.
const BY_SLOT: u8 = 0x9b;

/// Whether a section holds tables of landing pads.
pub(in crate::link) fn are_in(section: &Section<'_>) -> bool {
    section.name.starts_with(b".gcc_except_table")
}

/// Whether an address in four bytes is that of a type to catch.
pub(super) fn is_one(field: &Field<'_, '_>) -> bool {
    field.input.wishes.may_be_low && are_in(field.section)
}

/// Says in the first bytes of a function's table that its types are found by slots. Returns whether it has
/// types, or `None` if its beginning is not known.
pub(in crate::link) fn lead_by_slots(head: &mut [u8; 2]) -> Option<bool> {
    match *head {
        [OMIT, ABSOLUTE] => {
            *head = [OMIT, BY_SLOT];
            Some(true)
        }
        // It was met before, of another part of the function.
        [OMIT, BY_SLOT] => Some(true),
        [OMIT, OMIT] => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_tables_are_led() {
        let led = |mut head: [u8; 2]| (lead_by_slots(&mut head), head);
        assert_eq!(led([0xff, 0x03]), (Some(true), [0xff, 0x9b]));
        assert_eq!(led([0xff, 0x9b]), (Some(true), [0xff, 0x9b]));
        assert_eq!(led([0xff, 0xff]), (Some(false), [0xff, 0xff]));
        assert_eq!(led([0x00, 0x03]), (None, [0x00, 0x03]));
        assert_eq!(led([0xff, 0x00]), (None, [0xff, 0x00]));
    }
}
