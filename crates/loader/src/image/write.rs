//! Puts the parts of a linked object together into an image.

use super::format::MAGIC;
use super::format::{DATA_DISTANCE, FOOTER_SIZE, Shared, SideTable, SymbolFixup, VERSION};
use super::format::{Export, Extension, Footer, HAS_EXTENSION, IMPORT_FUNCTION, IMPORT_WEAK};
use super::format::{IS_LOW, Import, ImportKind};
use rekindle_cache_core::symbol_hash;
use std::ops::Range;
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32, U64};

/// A linked object, ready to be written. Offsets and places are as in the [format](super::format).
#[derive(Debug, Default)]
pub(crate) struct Parts<'a> {
    /// As ELF numbers them.
    pub(crate) machine: u16,
    pub(crate) payload: Vec<u8>,
    pub(crate) text_size: u32,
    pub(crate) data: Vec<u8>,
    pub(crate) data_memory_size: u32,
    pub(crate) alignment: u32,
    /// Bytes at the end of the payload; 0 if there are no tables.
    pub(crate) unwind_size: u32,
    pub(crate) init: Range<u32>,
    pub(crate) fini: Range<u32>,
    pub(crate) thread_template: Range<u32>,
    pub(crate) thread_memory_size: u32,
    pub(crate) thread_alignment: u32,
    /// Places in the data.
    pub(crate) indirect: Range<u32>,
    /// Places in the data.
    pub(crate) constants: Range<u32>,
    pub(crate) kept_size: u32,
    pub(crate) dropped_size: u32,
    pub(crate) imports: Vec<ImportName<'a>>,
    /// Place and import.
    pub(crate) symbol_fixups: Vec<(u32, u32)>,
    /// Place and import.
    pub(crate) narrow_fixups: Vec<(u32, u32)>,
    /// Places.
    pub(crate) base_fixups: Vec<u32>,
    /// Places.
    pub(crate) low_fixups: Vec<u32>,
    /// It has to lie in the low 2 GiB.
    pub(crate) is_low: bool,
    pub(crate) shared: Vec<SharedVariable>,
    /// Name and place.
    pub(crate) side_tables: Vec<(&'a str, Range<u32>)>,
    /// Name and place.
    pub(crate) exports: Vec<(&'a str, u32)>,
}

/// A name from outside.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ImportName<'a> {
    pub(crate) name: &'a str,
    pub(crate) weak: bool,
    /// A stub stands for it.
    pub(crate) is_function: bool,
    pub(crate) kind: ImportKind,
}

/// A variable that has to be one per process, as in the [format](super::format::Shared).
#[derive(Debug, Clone, Copy)]
pub(crate) struct SharedVariable {
    pub(crate) import: u32,
    pub(crate) place: u32,
    pub(crate) size: u32,
    pub(crate) partner: u32,
    pub(crate) content: u64,
}

/// The image of `parts`, or `None` if a figure exceeds 32 bits.
pub(crate) fn write(parts: Parts<'_>) -> Option<Vec<u8>> {
    let count = |n: usize| u32::try_from(n).ok().map(U32::new);
    let mut strings = Vec::new();
    let mut name = |name: &str| -> Option<(U32, U32)> {
        let place = (count(strings.len())?, count(name.len())?);
        strings.extend_from_slice(name.as_bytes());
        Some(place)
    };

    let extension = extension(&parts)?;
    let size = size_behind_payload(&parts);
    let mut bytes = parts.payload;
    let payload_size = count(bytes.len())?;
    bytes.reserve_exact(size);
    bytes.extend_from_slice(&parts.data);
    for import in &parts.imports {
        let (name_offset, name_size) = name(import.name)?;
        let record = Import {
            hash: U64::new(symbol_hash(import.name)),
            name_offset,
            name_size,
            flags: U32::new(
                u32::from(import.weak) * IMPORT_WEAK
                    + u32::from(import.is_function) * IMPORT_FUNCTION
                    + ((import.kind as u32) << 8),
            ),
        };
        bytes.extend_from_slice(record.as_bytes());
    }
    for &(place, import) in parts.symbol_fixups.iter().chain(&parts.narrow_fixups) {
        let record = SymbolFixup {
            place: U32::new(place),
            import: U32::new(import),
        };
        bytes.extend_from_slice(record.as_bytes());
    }
    for &place in parts.base_fixups.iter().chain(&parts.low_fixups) {
        bytes.extend_from_slice(U32::new(place).as_bytes());
    }
    for shared in &parts.shared {
        let record = Shared {
            import: U32::new(shared.import),
            place: U32::new(shared.place),
            size: U32::new(shared.size),
            partner: U32::new(shared.partner),
            content: U64::new(shared.content),
        };
        bytes.extend_from_slice(record.as_bytes());
    }
    for (table, place) in &parts.side_tables {
        let (name_offset, name_size) = name(table)?;
        let record = SideTable {
            name_offset,
            name_size,
            place: U32::new(place.start),
            size: U32::new(place.end - place.start),
        };
        bytes.extend_from_slice(record.as_bytes());
    }
    for &(export, place) in &parts.exports {
        let (name_offset, name_size) = name(export)?;
        let record = Export {
            hash: U64::new(symbol_hash(export)),
            name_offset,
            name_size,
            place: U32::new(place),
        };
        bytes.extend_from_slice(record.as_bytes());
    }
    bytes.extend_from_slice(&strings);

    let is_extended = extension.as_bytes() != Extension::NONE.as_bytes();
    if is_extended {
        bytes.extend_from_slice(extension.as_bytes());
    }
    let footer = Footer {
        payload_size,
        text_size: U32::new(parts.text_size),
        data_file_size: count(parts.data.len())?,
        data_memory_size: U32::new(parts.data_memory_size),
        unwind_size: U32::new(parts.unwind_size),
        kept_size: U32::new(parts.kept_size),
        dropped_size: U32::new(parts.dropped_size),
        import_count: count(parts.imports.len())?,
        symbol_fixup_count: count(parts.symbol_fixups.len())?,
        base_fixup_count: count(parts.base_fixups.len())?,
        export_count: count(parts.exports.len())?,
        string_size: count(strings.len())?,
        // A power of two, as all alignments were checked to be.
        alignment_power: parts.alignment.max(1).ilog2() as u8,
        flags: u8::from(is_extended) * HAS_EXTENSION + u8::from(parts.is_low) * IS_LOW,
        version: U16::new(VERSION),
        machine: U16::new(parts.machine),
        reserved: U16::new(0),
        magic: MAGIC,
    };
    bytes.extend_from_slice(footer.as_bytes());
    Some(bytes)
}

/// Bytes behind the payload: exactly, as growing would take twice as much memory for a moment.
fn size_behind_payload(parts: &Parts<'_>) -> usize {
    let fixups = parts.symbol_fixups.len() + parts.narrow_fixups.len();
    let names = parts.imports.iter().map(|import| import.name.len());
    let names = names
        .chain(parts.exports.iter().map(|(name, _)| name.len()))
        .chain(parts.side_tables.iter().map(|(name, _)| name.len()));
    parts.data.len()
        + parts.imports.len() * size_of::<Import>()
        + fixups * size_of::<SymbolFixup>()
        + (parts.base_fixups.len() + parts.low_fixups.len()) * size_of::<U32>()
        + parts.shared.len() * size_of::<Shared>()
        + parts.side_tables.len() * size_of::<SideTable>()
        + parts.exports.len() * size_of::<Export>()
        + names.sum::<usize>()
        + size_of::<Extension>()
        + FOOTER_SIZE
}

/// The figures that only some images need. A part that is empty is at 0.
fn extension(parts: &Parts<'_>) -> Option<Extension> {
    let count = |n: usize| u32::try_from(n).ok().map(U32::new);
    let words = |range: &Range<u32>| U32::new(range.len() as u32 / 8);
    let start = |range: &Range<u32>| U32::new(if range.is_empty() { 0 } else { range.start });
    // Behind `DATA_DISTANCE` always.
    let in_data =
        |range: &Range<u32>| U32::new(start(range).get().saturating_sub(DATA_DISTANCE as u32));
    let has_threads = parts.thread_memory_size != 0;
    Some(Extension {
        init_offset: start(&parts.init),
        init_count: words(&parts.init),
        fini_offset: start(&parts.fini),
        fini_count: words(&parts.fini),
        thread_offset: start(&parts.thread_template),
        thread_file_size: U32::new(parts.thread_template.len() as u32),
        thread_memory_size: U32::new(parts.thread_memory_size),
        thread_alignment: U32::new(if has_threads {
            parts.thread_alignment
        } else {
            1
        }),
        indirect_offset: in_data(&parts.indirect),
        indirect_count: words(&parts.indirect),
        constant_offset: in_data(&parts.constants),
        constant_count: words(&parts.constants),
        narrow_fixup_count: count(parts.narrow_fixups.len())?,
        shared_count: count(parts.shared.len())?,
        side_table_count: count(parts.side_tables.len())?,
        low_fixup_count: count(parts.low_fixups.len())?,
    })
}
