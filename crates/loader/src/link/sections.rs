//! What each section of an object becomes in an image.

use super::read::{Elf, LE, Rela, malformed_at, text};
use crate::error::LinkError;
use crate::image::{DATA_DISTANCE, MAX_ALIGNMENT};
use object::SectionIndex;
use object::elf;
use object::read::elf::{SectionHeader, SectionTable};

/// A section, with what is needed to link it.
#[derive(Debug, Clone)]
pub(super) struct Section<'a> {
    pub(super) name: &'a [u8],
    pub(super) kind: SectionKind,
    pub(super) alignment: u64,
    pub(super) size: u64,
    /// Empty for [`SectionKind::Zero`].
    pub(super) bytes: &'a [u8],
    pub(super) relocations: &'a [Rela],
}

/// What a section becomes in an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SectionKind {
    /// Not for memory: debug information, symbol tables.
    NotLoaded,
    Text,
    /// Constants, and data that is written by relocations alone.
    ReadOnly,
    Data,
    Zero,
    /// Pointers to functions that run at load, with their priority.
    Initialisers(u16),
    /// The same for unloading.
    Finalisers(u16),
    Unwind,
    /// An error as soon as something refers to it: why, and what to do.
    Unsupported(&'static str),
    /// Thread-local contents: an error that names the symbol as soon as something refers to it.
    ThreadLocal,
}

/// The sections of an object; relocations are attached later.
pub(super) fn read_sections<'a>(
    table: &SectionTable<'a, Elf>,
    bytes: &'a [u8],
) -> Result<Vec<Section<'a>>, LinkError> {
    let mut sections = Vec::with_capacity(table.len());
    for (SectionIndex(index), header) in table.enumerate() {
        let allocated = header.sh_flags(LE) & u64::from(elf::SHF_ALLOC) != 0;
        if !allocated || index == 0 {
            sections.push(Section {
                name: &[],
                kind: SectionKind::NotLoaded,
                alignment: 1,
                size: 0,
                bytes: &[],
                relocations: &[],
            });
            continue;
        }
        let place = || format!("section {index}");
        let name = table
            .section_name(LE, header)
            .map_err(malformed_at(place))?;
        let size = header.sh_size(LE);
        if size > DATA_DISTANCE {
            return Err(LinkError::TooLarge {
                needed: size,
                limit: DATA_DISTANCE,
            });
        }
        sections.push(Section {
            name,
            kind: section_kind(header.sh_type(LE), header.sh_flags(LE), name),
            alignment: checked_alignment(header.sh_addralign(LE), || text(name))?,
            size,
            bytes: header.data(LE, bytes).map_err(malformed_at(place))?,
            relocations: &[],
        });
    }
    Ok(sections)
}

fn section_kind(sort: u32, flags: u64, name: &[u8]) -> SectionKind {
    let has = |flag: u32| flags & u64::from(flag) != 0;
    if has(elf::SHF_TLS) {
        return SectionKind::ThreadLocal;
    }
    if has(elf::SHF_COMPRESSED) {
        return SectionKind::Unsupported("it is compressed and to be loaded, which ELF forbids");
    }
    if has(elf::SHF_EXECINSTR) && has(elf::SHF_WRITE) {
        return SectionKind::Unsupported("it is writable and executable; make it one of the two");
    }
    let priority = |prefix: &[u8]| {
        let digits = name.strip_prefix(prefix)?.strip_prefix(b".")?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    };
    match sort {
        // Without a priority: after all that have one.
        elf::SHT_INIT_ARRAY => {
            return SectionKind::Initialisers(priority(b".init_array").unwrap_or(u16::MAX));
        }
        elf::SHT_FINI_ARRAY => {
            return SectionKind::Finalisers(priority(b".fini_array").unwrap_or(u16::MAX));
        }
        elf::SHT_PREINIT_ARRAY => {
            return SectionKind::Unsupported("only executables have it; use .init_array");
        }
        elf::SHT_X86_64_UNWIND => return SectionKind::Unwind,
        _ => {}
    }
    match name {
        b".eh_frame" => SectionKind::Unwind,
        _ if has(elf::SHF_EXECINSTR) => SectionKind::Text,
        _ if sort == elf::SHT_NOBITS => SectionKind::Zero,
        _ if !has(elf::SHF_WRITE) || is_written_by_relocations_alone(name) => SectionKind::ReadOnly,
        _ => SectionKind::Data,
    }
}

/// Pointers that a dynamic linker fills in and then protects. `DW.ref.` is a compiler's pointer to a
/// personality or a type, which it puts among writable data for no reason but age; without this
/// exception every C++ image would have writable data.
fn is_written_by_relocations_alone(name: &[u8]) -> bool {
    let begins = |prefix: &[u8]| {
        name.strip_prefix(prefix)
            .is_some_and(|rest| matches!(rest.first(), None | Some(b'.')))
    };
    begins(b".data.rel.ro")
        || name.starts_with(b".data.rel.local.DW.ref.")
        || name.starts_with(b".data.DW.ref.")
}

/// Sections whose contents would have to run, but never would, because nothing refers to them.
pub(super) fn must_not_be_dropped(section: &Section<'_>) -> Option<&'static str> {
    let old_arrays = [b".ctors".as_slice(), b".dtors"];
    let is_old_array = old_arrays.iter().any(|array| {
        section
            .name
            .strip_prefix(*array)
            .is_some_and(|rest| matches!(rest.first(), None | Some(b'.')))
    });
    match section.kind {
        _ if is_old_array => Some("constructors in .ctors are not run; compile for .init_array"),
        SectionKind::Unsupported(reason) if section.name.starts_with(b".preinit_array") => {
            Some(reason)
        }
        _ => None,
    }
}

/// The alignment of something at `place`, where 0 means none.
pub(super) fn checked_alignment(
    alignment: u64,
    place: impl FnOnce() -> String,
) -> Result<u64, LinkError> {
    match alignment {
        0 => Ok(1),
        _ if alignment.is_power_of_two() && alignment <= MAX_ALIGNMENT => Ok(alignment),
        _ => Err(LinkError::Alignment {
            place: place(),
            alignment,
        }),
    }
}
