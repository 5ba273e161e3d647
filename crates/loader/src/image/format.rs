//! The layout of an image, byte by byte. All numbers are little-endian and unaligned.
//!
//! ```text
//! +--------------------+ 0                             \
//! | text               |   code, then stubs            |
//! | slots              |   8 bytes for each            | payload: stays in memory, read-only
//! | read-only data     |   constants, vtables, arrays  | and executable
//! | .eh_frame          |   ends in four zero bytes     |
//! +--------------------+ payload_size                  /
//! | initial data       |   copied to the data area
//! +--------------------+ + data_file_size              \
//! | imports            |   Import * import_count       |
//! | symbol fixups      |   SymbolFixup * count         | description: read from the copy,
//! | narrow fixups      |   SymbolFixup * count         | then its space is used again
//! | base fixups        |   u32 * base_fixup_count      |
//! | low fixups         |   u32 * low_fixup_count       |
//! | shared variables   |   Shared * shared_count       |
//! | side tables        |   SideTable * count           |
//! | exports            |   Export * export_count       |
//! | strings            |   UTF-8, string_size bytes    |
//! | extension          |   Extension, if there is one  |
//! | footer             |   Footer, 64 bytes            |
//! +--------------------+ end                           /
//! ```
//!
//! The same for readers who do not have this code: `docs/image.md`, which a test compares with it.
//!
//! Payload first and footer last: so the payload begins where the copy begins, and the description
//! is a tail that the next image overwrites.
//!
//! # Places
//!
//! A *place* is a 32-bit number that names a byte of the loaded image: below [`DATA_DISTANCE`] it is an
//! offset in the payload, from [`DATA_DISTANCE`] on in the data area (the initial data, followed by
//! `data_memory_size - data_file_size` zero bytes). An image is always loaded so that place `p` has
//! the address `base + p`. That fixed distance is what lets text refer to data by 32-bit offsets that
//! were computed when the image was linked; it is part of the format, not of a window.
//!
//! # Fixups
//!
//! Each fixup concerns one 8-byte word, which holds its own addend: `word += address of import` for a
//! symbol fixup, `word += base` for a base fixup, modulo 2^64. The word need not be aligned, and lies
//! in the payload or in the initial data as a whole. Text has none.
//!
//! There is one exception: code that reaches a thread-local of the host by the shortest model has its
//! distance from the thread pointer in four bytes of the text. These are *narrow* fixups, `word +=
//! value of import` in four bytes with a sign, and an error if that does not fit. On AArch64 the value is
//! written into an instruction; [`narrow`](super::narrow) has the details.
//!
//! # Low images
//!
//! Code that is not position-independent has addresses in four bytes, and in its text. An image of such
//! code says so in its flags, and is loaded so that all of it lies in the low 2 GiB: then `base` fits into
//! four bytes, and a *low* fixup adds it there, or takes it off where [`LOW_SUBTRACTS`] is set. Its 8-byte words may lie in the text as well. A function
//! from outside is as a rule not so low: what the code takes for its address is that of its stub, so such
//! an import says that it has to be code. Everything else in the image has the same for its address.
//!
//! # Pages
//!
//! Code of AArch64 reaches for things by their distance in pages of 4 KiB. An image with such code is
//! aligned to a page, so that the distances hold wherever it is.
//!
//! # Imports
//!
//! An import is a 64-bit value that is found once for each load. What sort of value it is says its
//! [`ImportKind`]: the address of a name from outside, as a rule.
//!
//! # Shared variables
//!
//! What has to be one per process is defined in every image that needs it, as an import of kind
//! [`Shared`](ImportKind::Shared) whose entry in the table of shared variables says where the image's
//! own copy is. All references go through fixups, so that they lead to the canonical copy: the host's
//! or another image's if there is one of equal size and content, this one otherwise.
//!
//! # Thread-locals
//!
//! The template (initial contents) lies in the payload and may have fixups of its own. A thread's
//! block is a copy of it followed by zeros, made when the thread first asks for it.
//!
//! # Indirect functions
//!
//! The first words of the initial data, `indirect_count` of them from `indirect_offset` on, hold the
//! addresses of resolvers once they are fixed up. When the code can run, each is called, and what it
//! returns takes the word's place.
//!
//! # Constant slots
//!
//! Words of the initial data that hold addresses of the host's objects: a host whose collector moves
//! objects may change them at any time. They lie side by side.
//!
//! # Side tables
//!
//! Parts of the payload that code does not use but the host may, each with a name: traps, stack maps,
//! source positions. Debug information is there as side tables, too, if it was kept.
//!
//! # Extension
//!
//! The figures that most small images do not need lie in a second record in front of the footer,
//! which is there if the footer says so. Without it all of them are 0 (and the alignment of a thread's
//! block 1).

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The format's version: raised with every change of the layout or of its meaning.
pub(crate) const VERSION: u16 = 6;

/// Bytes between an image's payload and its data, and the most that either can have: 256 MiB.
///
/// Far below the 2 GiB that a 32-bit offset reaches, so that no reference inside an image can be out
/// of reach; the space between is address space, not memory.
pub const DATA_DISTANCE: u64 = 256 << 20;

/// Low images lie so far, at least, from both ends of the low 2 GiB: then addresses a little before or
/// behind an image's own, which code may well compute with, fit into four bytes, too.
pub(crate) const LOW_MARGIN: u64 = 1 << 20;

/// Set in the place of a low fixup: `base` is taken off the four bytes, as they hold a distance from there.
pub(crate) const LOW_SUBTRACTS: u32 = 1 << 31;

/// The largest alignment that an image can ask for.
pub const MAX_ALIGNMENT: u64 = 1 << 16;

/// ELF's number for x86-64.
pub(crate) const MACHINE_X86_64: u16 = 62;

/// ELF's number for AArch64.
pub(crate) const MACHINE_AARCH64: u16 = 183;

/// The side table that says where offsets between sections of debug information stand: 32 bits each for the
/// place of one, and for the number of the debug section that it counts in.
pub(crate) const DEBUG_OFFSETS: &str = ".rekindle.debug_offsets";

/// The machine of this process; 0 if no images run here.
pub(crate) const MACHINE_HERE: u16 = if cfg!(target_arch = "x86_64") {
    MACHINE_X86_64
} else if cfg!(target_arch = "aarch64") {
    MACHINE_AARCH64
} else {
    0
};

/// The last eight bytes of every image.
pub(crate) const MAGIC: [u8; 8] = *b"rkindimg";

/// Set in [`Import::flags`]: the import is 0 if nobody knows its name. The kind's number stands above
/// the lowest eight bits.
pub(crate) const IMPORT_WEAK: u32 = 1;

/// Set in [`Import::flags`]: a stub stands for the import's address, so that it has to be a function.
pub(crate) const IMPORT_FUNCTION: u32 = 2;

/// What value an import has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u32)]
pub(crate) enum ImportKind {
    /// What the host or the process has under the name.
    #[default]
    Address,
    /// The address of the canonical copy of a shared variable.
    Shared,
    /// The number of the module whose thread-local the name is.
    ThreadModule,
    /// That thread-local's offset in its module's block.
    ThreadOffset,
    /// That thread-local's distance from the thread pointer, the same in all threads.
    PointerOffset,
    /// The number that the loader gave this image as a module of thread-locals. No name.
    OwnModule,
    /// The loader's `__tls_get_addr`.
    ThreadGetAddress,
    /// The loader's resolver of descriptors of thread-locals. No name.
    ThreadDescriptor,
    /// The loader's function in descriptors of Mach-O's thread-locals.
    ThreadVariable,
}

impl ImportKind {
    /// The kind with `number`.
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::Address,
            1 => Self::Shared,
            2 => Self::ThreadModule,
            3 => Self::ThreadOffset,
            4 => Self::PointerOffset,
            5 => Self::OwnModule,
            6 => Self::ThreadGetAddress,
            7 => Self::ThreadDescriptor,
            8 => Self::ThreadVariable,
            _ => return None,
        })
    }
}

/// A name from outside the image.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct Import {
    /// [`symbol_hash`](rekindle_cache_core::symbol_hash) of the name.
    pub(crate) hash: U64,
    /// Where the name begins in the strings.
    pub(crate) name_offset: U32,
    /// Its length in bytes.
    pub(crate) name_size: U32,
    /// [`IMPORT_WEAK`], [`IMPORT_FUNCTION`], both, or 0, plus the [`ImportKind`]'s number shifted by 8.
    pub(crate) flags: U32,
}

/// A variable that has to be one per process, and this image's copy of it.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct Shared {
    /// Its import, of kind [`ImportKind::Shared`].
    pub(crate) import: U32,
    /// The place of the copy.
    pub(crate) place: U32,
    /// Its bytes.
    pub(crate) size: U32,
    /// The entry that has to be from the same place: of a guard its variable, and the other way round;
    /// the entry itself if there is none.
    pub(crate) partner: U32,
    /// A digest of its initial contents, and of what they point to.
    pub(crate) content: U64,
}

/// A word that the value of an import is added to.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct SymbolFixup {
    /// The word's place.
    pub(crate) place: U32,
    /// The import's index.
    pub(crate) import: U32,
}

/// A name that callers can ask for.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct Export {
    /// [`symbol_hash`](rekindle_cache_core::symbol_hash) of the name.
    pub(crate) hash: U64,
    /// Where the name begins in the strings.
    pub(crate) name_offset: U32,
    /// Its length in bytes.
    pub(crate) name_size: U32,
    /// The place that it stands for.
    pub(crate) place: U32,
}

/// A named part of the payload, for the host.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct SideTable {
    /// Where the name begins in the strings.
    pub(crate) name_offset: U32,
    /// Its length in bytes.
    pub(crate) name_size: U32,
    /// Where the table begins in the payload.
    pub(crate) place: U32,
    /// Its bytes.
    pub(crate) size: U32,
}

/// Set in [`Footer::flags`]: an [`Extension`] lies in front of the footer.
pub(crate) const HAS_EXTENSION: u8 = 1;

/// Set in [`Footer::flags`]: the image has to lie in the low 2 GiB.
pub(crate) const IS_LOW: u8 = 2;

/// The figures that only some images need.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct Extension {
    /// Where the pointers to initialisers begin in the payload, in the order of running.
    pub(crate) init_offset: U32,
    /// How many there are.
    pub(crate) init_count: U32,
    /// Where the pointers to finalisers begin in the payload; they run from the last to the first.
    pub(crate) fini_offset: U32,
    /// How many there are.
    pub(crate) fini_count: U32,
    /// Where the template of thread-locals begins in the payload.
    pub(crate) thread_offset: U32,
    /// Its bytes.
    pub(crate) thread_file_size: U32,
    /// Bytes of a thread's block: the template, then zeros.
    pub(crate) thread_memory_size: U32,
    /// The alignment of a thread's block: a power of two.
    pub(crate) thread_alignment: U32,
    /// Where the words of indirect functions begin in the initial data.
    pub(crate) indirect_offset: U32,
    /// How many there are.
    pub(crate) indirect_count: U32,
    /// Where the constant slots begin in the initial data.
    pub(crate) constant_offset: U32,
    /// How many there are.
    pub(crate) constant_count: U32,
    /// Entries of the table of narrow fixups.
    pub(crate) narrow_fixup_count: U32,
    /// Entries of the table of shared variables.
    pub(crate) shared_count: U32,
    /// Entries of the table of side tables.
    pub(crate) side_table_count: U32,
    /// Entries of the table of low fixups.
    pub(crate) low_fixup_count: U32,
}

impl Extension {
    /// That of an image without one.
    pub(crate) const NONE: Self = Self {
        init_offset: U32::ZERO,
        init_count: U32::ZERO,
        fini_offset: U32::ZERO,
        fini_count: U32::ZERO,
        thread_offset: U32::ZERO,
        thread_file_size: U32::ZERO,
        thread_memory_size: U32::ZERO,
        thread_alignment: U32::new(1),
        indirect_offset: U32::ZERO,
        indirect_count: U32::ZERO,
        constant_offset: U32::ZERO,
        constant_count: U32::ZERO,
        narrow_fixup_count: U32::ZERO,
        shared_count: U32::ZERO,
        side_table_count: U32::ZERO,
        low_fixup_count: U32::ZERO,
    };
}

/// The figures of an image, in its last 64 bytes.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct Footer {
    /// Bytes of the payload.
    pub(crate) payload_size: U32,
    /// Bytes of code at the beginning of the payload, stubs included.
    pub(crate) text_size: U32,
    /// Bytes of initial data.
    pub(crate) data_file_size: U32,
    /// Bytes of the data area: initial data, then zeros.
    pub(crate) data_memory_size: U32,
    /// Bytes of `.eh_frame` with its terminator, at the end of the payload; 0 if there is none.
    pub(crate) unwind_size: U32,
    /// Bytes of the objects' sections that are in this image.
    pub(crate) kept_size: U32,
    /// Bytes of the objects' sections that nothing reached.
    pub(crate) dropped_size: U32,
    /// Entries of the import table.
    pub(crate) import_count: U32,
    /// Entries of the table of symbol fixups.
    pub(crate) symbol_fixup_count: U32,
    /// Entries of the table of base fixups.
    pub(crate) base_fixup_count: U32,
    /// Entries of the export table.
    pub(crate) export_count: U32,
    /// Bytes of strings.
    pub(crate) string_size: U32,
    /// The alignment of payload and data area, as a power of two.
    pub(crate) alignment_power: u8,
    /// [`HAS_EXTENSION`], [`IS_LOW`], both, or 0.
    pub(crate) flags: u8,
    /// [`VERSION`].
    pub(crate) version: U16,
    /// The machine that the text is for, as ELF numbers them.
    pub(crate) machine: U16,
    /// 0; for later versions.
    pub(crate) reserved: U16,
    /// [`MAGIC`].
    pub(crate) magic: [u8; 8],
}

/// Bytes of the footer.
pub(crate) const FOOTER_SIZE: usize = size_of::<Footer>();

const _: () = assert!(FOOTER_SIZE == 64 && size_of::<Extension>() == 64);
const _: () = assert!(size_of::<Import>() == 20 && size_of::<Export>() == 20);
const _: () = assert!(size_of::<Shared>() == 24 && size_of::<SideTable>() == 16);

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::mem::offset_of;

    /// Offset and size of each field, by the names of record and field.
    fn fields() -> BTreeMap<(&'static str, &'static str), (usize, usize)> {
        macro_rules! fields {
            ($($record:ident { $($field:ident)* })*) => {{
                fn size<R, F>(_: impl Fn(&R) -> &F) -> usize {
                    size_of::<F>()
                }
                BTreeMap::from([$($(
                    (
                        (stringify!($record), stringify!($field)),
                        (offset_of!($record, $field), size(|record: &$record| &record.$field)),
                    ),
                )*)*])
            }};
        }
        fields! {
            Import { hash name_offset name_size flags }
            SymbolFixup { place import }
            Shared { import place size partner content }
            SideTable { name_offset name_size place size }
            Export { hash name_offset name_size place }
            Extension {
                init_offset init_count fini_offset fini_count thread_offset thread_file_size
                thread_memory_size thread_alignment indirect_offset indirect_count
                constant_offset constant_count narrow_fixup_count shared_count side_table_count
                low_fixup_count
            }
            Footer {
                payload_size text_size data_file_size data_memory_size unwind_size kept_size
                dropped_size import_count symbol_fixup_count base_fixup_count export_count
                string_size alignment_power flags version machine reserved magic
            }
        }
    }

    #[test]
    fn the_page_on_the_format_has_every_field_where_it_is() {
        let page = include_str!("../../../../docs/image.md");
        assert!(page.contains(&format!("This is version {VERSION}.")));
        let mut record = "";
        let mut found = BTreeMap::new();
        for line in page.lines() {
            if let Some(title) = line.strip_prefix("### ") {
                record = title.split(' ').next().unwrap_or_default();
            }
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            if let ["", offset, size, field, ..] = *cells.as_slice()
                && let (Ok(offset), Ok(size)) = (offset.parse(), size.parse())
            {
                found.insert((record, field.trim_matches('`')), (offset, size));
            }
        }
        assert_eq!(found, fields());
    }
}
