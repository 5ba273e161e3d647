//! Puts the parts of a linked object together into an image.

use super::format::{DATA_DISTANCE, FOOTER_SIZE, Shared, SymbolFixup, VERSION};
use super::format::{Export, Footer, IMPORT_WEAK, Import, ImportKind, MACHINE_X86_64, MAGIC};
use rekindle_cache_core::symbol_hash;
use std::ops::Range;
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32, U64};

/// A linked object, ready to be written. Offsets and places are as in the [format](super::format).
#[derive(Debug, Default)]
pub(crate) struct Parts<'a> {
    pub(crate) payload: Vec<u8>,
    pub(crate) text_size: u32,
    pub(crate) data: Vec<u8>,
    pub(crate) data_memory_size: u32,
    pub(crate) alignment: u32,
    /// Offsets in the payload; empty if there are no tables.
    pub(crate) unwind: Range<u32>,
    pub(crate) init: Range<u32>,
    pub(crate) fini: Range<u32>,
    pub(crate) thread_template: Range<u32>,
    pub(crate) thread_memory_size: u32,
    pub(crate) thread_alignment: u32,
    /// Places in the data.
    pub(crate) indirect: Range<u32>,
    pub(crate) kept_size: u32,
    pub(crate) dropped_size: u32,
    pub(crate) imports: Vec<ImportName<'a>>,
    /// Place and import.
    pub(crate) symbol_fixups: Vec<(u32, u32)>,
    /// Place and import.
    pub(crate) narrow_fixups: Vec<(u32, u32)>,
    /// Places.
    pub(crate) base_fixups: Vec<u32>,
    pub(crate) shared: Vec<SharedVariable>,
    /// Name and place.
    pub(crate) exports: Vec<(&'a str, u32)>,
}

/// A name from outside.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ImportName<'a> {
    pub(crate) name: &'a str,
    pub(crate) weak: bool,
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

    let mut bytes = parts.payload;
    let payload_size = count(bytes.len())?;
    bytes.extend_from_slice(&parts.data);
    for import in &parts.imports {
        let (name_offset, name_size) = name(import.name)?;
        let record = Import {
            hash: U64::new(symbol_hash(import.name)),
            name_offset,
            name_size,
            flags: U32::new(u32::from(import.weak) * IMPORT_WEAK + ((import.kind as u32) << 8)),
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
    for &place in &parts.base_fixups {
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

    let words = |range: &Range<u32>| U32::new((range.end - range.start) / 8);
    let footer = Footer {
        payload_size,
        text_size: U32::new(parts.text_size),
        data_file_size: count(parts.data.len())?,
        data_memory_size: U32::new(parts.data_memory_size),
        alignment: U32::new(parts.alignment),
        unwind_offset: U32::new(parts.unwind.start),
        unwind_size: U32::new(parts.unwind.end - parts.unwind.start),
        init_offset: U32::new(parts.init.start),
        init_count: words(&parts.init),
        fini_offset: U32::new(parts.fini.start),
        fini_count: words(&parts.fini),
        thread_offset: U32::new(parts.thread_template.start),
        thread_file_size: U32::new(parts.thread_template.end - parts.thread_template.start),
        thread_memory_size: U32::new(parts.thread_memory_size),
        thread_alignment: U32::new(parts.thread_alignment),
        // The words lie at the beginning of the data as a rule, and behind `DATA_DISTANCE` always.
        indirect_offset: U32::new(parts.indirect.start.saturating_sub(DATA_DISTANCE as u32)),
        indirect_count: words(&parts.indirect),
        kept_size: U32::new(parts.kept_size),
        dropped_size: U32::new(parts.dropped_size),
        import_count: count(parts.imports.len())?,
        symbol_fixup_count: count(parts.symbol_fixups.len())?,
        narrow_fixup_count: count(parts.narrow_fixups.len())?,
        shared_count: count(parts.shared.len())?,
        base_fixup_count: count(parts.base_fixups.len())?,
        export_count: count(parts.exports.len())?,
        string_size: count(strings.len())?,
        version: U16::new(VERSION),
        machine: U16::new(MACHINE_X86_64),
        reserved: U32::new(0),
        magic: MAGIC,
    };
    bytes.reserve_exact(FOOTER_SIZE);
    bytes.extend_from_slice(footer.as_bytes());
    Some(bytes)
}
