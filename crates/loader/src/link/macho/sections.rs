//! What each section of a Mach-O object becomes in an image.

use crate::link::read::LE;
use crate::link::sections::SectionKind;
use object::LittleEndian;
use object::macho::{self, Section64};
use object::read::macho::Section;

/// What becomes of a section.
pub(super) fn kind(section: &Section64<LittleEndian>) -> SectionKind {
    let flags = section.flags.get(LE);
    let (segment, name) = (section.segment_name(), section.name());
    if flags & macho::S_ATTR_DEBUG != 0 || matches!(segment, b"__DWARF" | b"__LD" | b"__LLVM") {
        return SectionKind::NotLoaded;
    }
    if flags & macho::S_ATTR_SELF_MODIFYING_CODE != 0 {
        return SectionKind::Unsupported("it is writable and executable; make it one of the two");
    }
    match flags & macho::SECTION_TYPE {
        macho::S_ZEROFILL | macho::S_GB_ZEROFILL => return SectionKind::Zero,
        macho::S_THREAD_LOCAL_REGULAR => return SectionKind::ThreadData,
        macho::S_THREAD_LOCAL_ZEROFILL => return SectionKind::ThreadZero,
        // Descriptors: nothing but words that are complete when the image is loaded.
        macho::S_THREAD_LOCAL_VARIABLES => return SectionKind::ReadOnly,
        macho::S_MOD_INIT_FUNC_POINTERS => return SectionKind::Initialisers(u16::MAX),
        macho::S_MOD_TERM_FUNC_POINTERS => return SectionKind::Finalisers(u16::MAX),
        macho::S_NON_LAZY_SYMBOL_POINTERS
        | macho::S_LAZY_SYMBOL_POINTERS
        | macho::S_SYMBOL_STUBS
        | macho::S_LAZY_DYLIB_SYMBOL_POINTERS
        | macho::S_THREAD_LOCAL_VARIABLE_POINTERS => {
            return SectionKind::Unsupported(
                "its contents are known by a table of indirect symbols; compile with a newer assembler",
            );
        }
        macho::S_THREAD_LOCAL_INIT_FUNCTION_POINTERS
        | macho::S_INIT_FUNC_OFFSETS
        | macho::S_INTERPOSING => {
            return SectionKind::Unsupported("only whole libraries have it");
        }
        macho::S_DTRACE_DOF => return SectionKind::NotLoaded,
        _ => {}
    }
    if name.starts_with(b"__objc_") {
        return SectionKind::Unsupported(
            "it is for the runtime of Objective-C, which is not told of it",
        );
    }
    let is_code = macho::S_ATTR_PURE_INSTRUCTIONS | macho::S_ATTR_SOME_INSTRUCTIONS;
    match name {
        b"__eh_frame" => SectionKind::Unwind,
        _ if flags & is_code != 0 => SectionKind::Text,
        CONSTANTS => SectionKind::Constants,
        b"__llvm_stackmaps" | b"__llvm_faultmaps" => SectionKind::SideTable,
        _ if matches!(segment, b"__TEXT" | b"__DATA_CONST") || name == b"__const" => {
            SectionKind::ReadOnly
        }
        _ => SectionKind::Data,
    }
}

/// The section of constant slots, in as many letters as there may be.
const CONSTANTS: &[u8] = b"__rekindle_const";

/// Whether symbols in a section begin atoms: not in one of literals, to which there are references by
/// address alone, and which is found piece by piece otherwise.
pub(super) fn is_split(section: &Section64<LittleEndian>, kind: SectionKind) -> bool {
    let is_literal = matches!(
        section.flags.get(LE) & macho::SECTION_TYPE,
        macho::S_CSTRING_LITERALS
            | macho::S_4BYTE_LITERALS
            | macho::S_8BYTE_LITERALS
            | macho::S_16BYTE_LITERALS
            | macho::S_LITERAL_POINTERS
    );
    !is_literal
        && matches!(
            kind,
            SectionKind::Text
                | SectionKind::ReadOnly
                | SectionKind::Data
                | SectionKind::Zero
                | SectionKind::ThreadData
                | SectionKind::ThreadZero
        )
}
