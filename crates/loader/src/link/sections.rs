//! What each section of an object becomes in an image.

use super::read::{Elf, LE, Rela, malformed_at};
use crate::error::LinkError;
use crate::image::{DATA_DISTANCE, MAX_ALIGNMENT};
use object::LittleEndian;
use object::SectionIndex;
use object::elf::{self, SectionHeader64};
use object::read::elf::{SectionHeader, SectionTable};

/// A section, with what is needed to link it.
#[derive(Debug, Clone)]
pub(super) struct Section<'a> {
    pub(super) name: &'a [u8],
    pub(super) kind: SectionKind,
    /// As the object has it, but not 0; checked when the section is kept.
    pub(super) alignment: u64,
    pub(super) size: u64,
    /// Empty for [`SectionKind::Zero`].
    pub(super) bytes: &'a [u8],
    pub(super) relocations: &'a [Rela],
    /// It is kept although nothing refers to it.
    pub(super) retained: bool,
    /// It is about this section, and is kept with it (`SHF_LINK_ORDER`).
    pub(super) about: Option<usize>,
    /// The number of its object's null symbol.
    pub(super) first_symbol: u32,
    /// How many symbols its object has.
    pub(super) symbol_count: u32,
}

/// What a section becomes in an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SectionKind {
    /// Not for memory: symbol tables, and debug information as a rule.
    NotLoaded,
    /// Debug information that is kept.
    Debug,
    Text,
    /// Constants, and data that is written by relocations alone.
    ReadOnly,
    Data,
    Zero,
    /// Pointers to functions that run at load, with their priority.
    Initialisers(u16),
    /// The same for unloading.
    Finalisers(u16),
    /// `.ctors`, from before there were arrays: the last pointer runs first.
    OldInitialisers(u16),
    /// `.dtors`: the first pointer runs first.
    OldFinalisers(u16),
    Unwind,
    /// An error as soon as something refers to it: why, and what to do.
    Unsupported(&'static str),
    /// Initial contents of thread-locals.
    ThreadData,
    /// Thread-locals that begin as zero.
    ThreadZero,
    /// Of a COMDAT group of which another object's copy is kept.
    Discarded,
    /// Words of the host's, which it may change at any time: among data, side by side.
    Constants,
    /// A table for the host, among constants.
    SideTable,
}

impl SectionKind {
    /// Whether every thread has a copy.
    pub(super) fn is_thread_local(self) -> bool {
        matches!(self, Self::ThreadData | Self::ThreadZero)
    }

    /// Whether it is an array of pointers that are run backwards.
    pub(super) fn is_backwards(self) -> bool {
        matches!(self, Self::OldInitialisers(_) | Self::OldFinalisers(_))
    }
}

/// Adds the sections of an object to `sections`; relocations are attached later.
pub(super) fn read_sections<'a>(
    table: &SectionTable<'a, Elf>,
    bytes: &'a [u8],
    keep_debug: bool,
    sections: &mut Vec<Section<'a>>,
) -> Result<(), LinkError> {
    let first_section = sections.len();
    sections.reserve(table.len());
    for (SectionIndex(index), header) in table.enumerate() {
        let allocated = header.sh_flags(LE) & u64::from(elf::SHF_ALLOC) != 0;
        let place = || format!("section {index}");
        if !allocated || index == 0 {
            let mut section = NOT_LOADED;
            if keep_debug && is_debug(table, header) {
                section.kind = SectionKind::Debug;
                section.name = table
                    .section_name(LE, header)
                    .map_err(malformed_at(place))?;
                section.bytes = header.data(LE, bytes).map_err(malformed_at(place))?;
                section.size = section.bytes.len() as u64;
            }
            sections.push(section);
            continue;
        }
        let name = table
            .section_name(LE, header)
            .map_err(malformed_at(place))?;
        let size = header.sh_size(LE);
        let flags = header.sh_flags(LE);
        let kind = section_kind(header.sh_type(LE), flags, name);
        let has = |flag: u32| flags & u64::from(flag) != 0;
        let about = header.sh_link(LE) as usize;
        let about = (has(elf::SHF_LINK_ORDER) && about != 0).then(|| first_section + about);
        sections.push(Section {
            name,
            kind,
            retained: has(elf::SHF_GNU_RETAIN) || kind == SectionKind::SideTable && about.is_none(),
            about,
            alignment: header.sh_addralign(LE).max(1),
            size,
            bytes: header.data(LE, bytes).map_err(malformed_at(place))?,
            relocations: &[],
            first_symbol: 0,
            symbol_count: 0,
        });
    }
    Ok(())
}

/// What is known of a section that is not for memory.
const NOT_LOADED: Section<'_> = Section {
    name: &[],
    kind: SectionKind::NotLoaded,
    alignment: 1,
    size: 0,
    bytes: &[],
    relocations: &[],
    retained: false,
    about: None,
    first_symbol: 0,
    symbol_count: 0,
};

/// Whether a section is debug information that can be read as it is.
fn is_debug(table: &SectionTable<'_, Elf>, header: &SectionHeader64<LittleEndian>) -> bool {
    let name = table.section_name(LE, header).unwrap_or_default();
    let is_compressed = header.sh_flags(LE) & u64::from(elf::SHF_COMPRESSED) != 0;
    header.sh_type(LE) == elf::SHT_PROGBITS && name.starts_with(b".debug_") && !is_compressed
}

fn section_kind(sort: u32, flags: u64, name: &[u8]) -> SectionKind {
    let has = |flag: u32| flags & u64::from(flag) != 0;
    if has(elf::SHF_TLS) {
        return match sort {
            elf::SHT_NOBITS => SectionKind::ThreadZero,
            _ => SectionKind::ThreadData,
        };
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
    // Old assemblers write these as ordinary data.
    let array = |prefix: &[u8]| {
        let rest = name.strip_prefix(prefix)?;
        let plain = rest.is_empty().then_some(u16::MAX);
        plain.or_else(|| priority(prefix))
    };
    if let Some(priority) = array(b".init_array") {
        return SectionKind::Initialisers(priority);
    }
    if let Some(priority) = array(b".fini_array") {
        return SectionKind::Finalisers(priority);
    }
    // Without a priority they run with those of `.init_array` that have none. Their priorities count
    // the other way round.
    let old = |prefix: &[u8]| {
        let rest = name.strip_prefix(prefix)?;
        let plain = rest.is_empty().then_some(u16::MAX);
        plain.or_else(|| priority(prefix).map(|n: u16| u16::MAX - n))
    };
    if let Some(priority) = old(b".ctors") {
        return SectionKind::OldInitialisers(priority);
    }
    if let Some(priority) = old(b".dtors") {
        return SectionKind::OldFinalisers(priority);
    }
    match name {
        b".eh_frame" => SectionKind::Unwind,
        _ if has(elf::SHF_EXECINSTR) => SectionKind::Text,
        CONSTANTS if sort == elf::SHT_NOBITS => {
            SectionKind::Unsupported("constant slots need contents; make it @progbits")
        }
        CONSTANTS => SectionKind::Constants,
        _ if side_table_name(name).is_some() => SectionKind::SideTable,
        _ if sort == elf::SHT_NOBITS => SectionKind::Zero,
        _ if !has(elf::SHF_WRITE) || is_written_by_relocations_alone(name) => SectionKind::ReadOnly,
        _ => SectionKind::Data,
    }
}

/// The section of constant slots.
pub(super) const CONSTANTS: &[u8] = b".rekindle.constants";

/// The name by which a host knows the side table in a section, if it is one. LLVM has names of its own
/// for its tables.
pub(super) fn side_table_name(section: &[u8]) -> Option<&[u8]> {
    match section {
        b".llvm_stackmaps" | b".llvm_faultmaps" => Some(section),
        _ => section.strip_prefix(b".rekindle.side."),
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
    match section.kind {
        SectionKind::Unsupported(reason) if section.name.starts_with(b".preinit_array") => {
            Some(reason)
        }
        _ if matches!(section.name, b".init" | b".fini") && section.size != 0 => {
            Some("it is a piece of a function that only a whole program has; use .init_array")
        }
        _ => None,
    }
}

/// What is wrong with the size or the alignment of something that is kept at `place`, if anything.
pub(super) fn check_extent(
    size: u64,
    alignment: u64,
    place: impl FnOnce() -> String,
) -> Result<(), LinkError> {
    if size > DATA_DISTANCE {
        return Err(LinkError::TooLarge {
            needed: size,
            limit: DATA_DISTANCE,
        });
    }
    match alignment.is_power_of_two() && alignment <= MAX_ALIGNMENT {
        true => Ok(()),
        false => Err(LinkError::Alignment {
            place: place(),
            alignment,
        }),
    }
}
