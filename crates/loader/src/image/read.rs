//! Reads an image where it lies, after checking everything that the loader will rely on.
//!
//! Any bytes give a description or an [`ImageError`]. A description that was read has every offset
//! inside its part, so that applying it cannot leave the image. It is *not* evidence that the code
//! is what the compiler wrote: that is what the checksum is for, and who wrote the record.

use super::format::{Export, Extension, Footer, HAS_EXTENSION, IMPORT_FUNCTION, IMPORT_WEAK};
use super::format::{IS_LOW, Import, ImportKind, Shared, SideTable, SymbolFixup};
use super::outline::{Shape, invalid, shape, shape_of, split_figures};
use crate::error::ImageError;
use rekindle_cache_core::symbol_hash;
use std::ops::Range;
use zerocopy::FromBytes;
use zerocopy::little_endian::U32;

/// What an image says of itself: names, sizes, fixups.
#[derive(Debug, Clone, Copy)]
pub struct Description<'a> {
    pub(super) footer: &'a Footer,
    pub(super) extension: &'a Extension,
    pub(super) data: &'a [u8],
    pub(super) imports: &'a [Import],
    pub(super) symbol_fixups: &'a [SymbolFixup],
    pub(super) narrow_fixups: &'a [SymbolFixup],
    pub(super) base_fixups: &'a [U32],
    pub(super) low_fixups: &'a [U32],
    pub(super) shared: &'a [Shared],
    pub(super) side_tables: &'a [SideTable],
    pub(super) exports: &'a [Export],
    strings: &'a str,
}

/// Checks that `bytes` are an image that this version could load on the machine that it is for, and
/// returns its description.
///
/// It does not compare checksums, and runs nothing: for tools that look into a store.
///
/// # Errors
/// What is wrong with the bytes.
pub fn check(bytes: &[u8]) -> Result<Description<'_>, ImageError> {
    let (payload, description) = bytes
        .split_at_checked(shape(bytes)?.payload_size)
        .ok_or(invalid("payload", 0))?;
    Description::read(payload, description)
}

impl<'a> Description<'a> {
    /// The description of an image that was split after its payload.
    pub(crate) fn read(payload: &[u8], rest: &'a [u8]) -> Result<Self, ImageError> {
        let (body, extension, footer) = split_figures(rest)?;
        let size = payload.len() + rest.len();
        // The sum of all parts, so that none of those below can be cut short.
        if shape_of(footer, extension, size)?.payload_size != payload.len() {
            return Err(invalid("payload", 0));
        }
        let (data, body) = body
            .split_at_checked(footer.data_file_size.get() as usize)
            .ok_or(invalid("data", 0))?;
        let (imports, body) = table::<Import>(body, footer.import_count, "imports")?;
        let (symbol_fixups, body) =
            table::<SymbolFixup>(body, footer.symbol_fixup_count, "symbol fixups")?;
        let (narrow_fixups, body) =
            table::<SymbolFixup>(body, extension.narrow_fixup_count, "narrow fixups")?;
        let (base_fixups, body) = table::<U32>(body, footer.base_fixup_count, "base fixups")?;
        // Of what follows most images have nothing.
        let (low_fixups, body) = match extension.low_fixup_count.get() {
            0 => (&[][..], body),
            _ => table::<U32>(body, extension.low_fixup_count, "low fixups")?,
        };
        let (shared, body) = table::<Shared>(body, extension.shared_count, "shared variables")?;
        let (side_tables, body) =
            table::<SideTable>(body, extension.side_table_count, "side tables")?;
        let (exports, strings) = table::<Export>(body, footer.export_count, "exports")?;
        let strings = std::str::from_utf8(strings).map_err(|_| invalid("strings", 0))?;
        let description = Self {
            footer,
            extension,
            data,
            imports,
            symbol_fixups,
            narrow_fixups,
            base_fixups,
            low_fixups,
            shared,
            side_tables,
            exports,
            strings,
        };
        description.validate(payload)?;
        Ok(description)
    }

    pub(super) fn string(&self, offset: U32, size: U32) -> Option<&'a str> {
        let start = offset.get() as usize;
        self.strings
            .get(start..start.checked_add(size.get() as usize)?)
    }

    pub(super) fn is_extended(&self) -> bool {
        self.footer.flags & HAS_EXTENSION != 0
    }

    pub(crate) fn shape(&self) -> Shape {
        Shape {
            machine: self.footer.machine.get(),
            payload_size: self.footer.payload_size.get() as usize,
            data_memory_size: self.footer.data_memory_size.get() as usize,
            alignment: 1 << self.footer.alignment_power,
            is_low: self.is_low(),
        }
    }

    /// Whether the code is not position-independent, so that the image is loaded into the low 2 GiB.
    pub fn is_low(&self) -> bool {
        self.footer.flags & IS_LOW != 0
    }

    /// The initial contents of the data area.
    pub(crate) fn data(&self) -> &'a [u8] {
        self.data
    }

    /// Place and import of each symbol fixup.
    pub(crate) fn symbol_fixups(&self) -> impl Iterator<Item = (u32, u32)> + 'a {
        self.symbol_fixups
            .iter()
            .map(|fixup| (fixup.place.get(), fixup.import.get()))
    }

    /// Place and import of each narrow fixup.
    pub(crate) fn narrow_fixups(&self) -> impl Iterator<Item = (u32, u32)> + 'a {
        self.narrow_fixups
            .iter()
            .map(|fixup| (fixup.place.get(), fixup.import.get()))
    }

    /// The place of each base fixup.
    pub(crate) fn base_fixups(&self) -> impl Iterator<Item = u32> + 'a {
        self.base_fixups.iter().map(|place| place.get())
    }

    /// The place of each low fixup.
    pub(crate) fn low_fixups(&self) -> impl Iterator<Item = u32> + 'a {
        self.low_fixups.iter().map(|place| place.get())
    }

    /// The variables that have to be one per process.
    pub(crate) fn shared(&self) -> &'a [Shared] {
        self.shared
    }

    /// What a thread has of this image, if anything.
    pub(crate) fn threads(&self) -> Option<Threads> {
        let extension = self.extension;
        (extension.thread_memory_size.get() != 0).then(|| Threads {
            template_offset: extension.thread_offset.get() as usize,
            template_size: extension.thread_file_size.get() as usize,
            memory_size: extension.thread_memory_size.get() as usize,
            alignment: extension.thread_alignment.get() as usize,
        })
    }

    /// Where the words of indirect functions lie in the data.
    pub(crate) fn indirect(&self) -> Range<usize> {
        words(
            self.extension.indirect_offset,
            self.extension.indirect_count,
        )
    }

    /// Where the constant slots lie in the data.
    pub(crate) fn constants(&self) -> Range<usize> {
        words(
            self.extension.constant_offset,
            self.extension.constant_count,
        )
    }

    /// Where the unwind tables lie in the payload.
    pub(crate) fn unwind(&self) -> Option<Range<usize>> {
        let size = self.footer.unwind_size.get() as usize;
        let end = self.footer.payload_size.get() as usize;
        (size != 0).then(|| end.saturating_sub(size)..end)
    }

    /// Where the pointers to initialisers lie in the payload.
    pub(crate) fn initialisers(&self) -> Range<usize> {
        words(self.extension.init_offset, self.extension.init_count)
    }

    /// Where the pointers to finalisers lie in the payload; they run from the last to the first.
    pub(crate) fn finalisers(&self) -> Range<usize> {
        words(self.extension.fini_offset, self.extension.fini_count)
    }

    /// Name and place in the payload of each side table.
    pub(crate) fn side_table_places(
        &self,
    ) -> impl ExactSizeIterator<Item = (&'a str, Range<usize>)> {
        self.side_tables.iter().map(|table| {
            let name = self.string(table.name_offset, table.name_size);
            let start = table.place.get() as usize;
            let end = start.saturating_add(table.size.get() as usize);
            (name.unwrap_or_default(), start..end)
        })
    }

    /// Hash and place of each export.
    pub(crate) fn export_places(&self) -> impl ExactSizeIterator<Item = (u64, u32)> + 'a {
        self.exports
            .iter()
            .map(|export| (export.hash.get(), export.place.get()))
    }

    /// Name and place of each export.
    pub(crate) fn named_places(&self) -> impl Iterator<Item = (&'a str, u32)> {
        let named = |export: &Export| {
            let name = self.string(export.name_offset, export.name_size);
            (name.unwrap_or_default(), export.place.get())
        };
        self.exports
            .iter()
            .map(named)
            .collect::<Vec<_>>()
            .into_iter()
    }

    /// The names that have to come from outside, in the order of the image; shared variables, which the
    /// image has itself, and what the loader provides are not among them.
    pub fn imports(&self) -> impl ExactSizeIterator<Item = ImportedName<'a>> + use<'a> {
        OutsideImports {
            left: self.all_imports().filter(is_outside).count(),
            description: *self,
            next: 0,
        }
    }

    /// All imports, by their numbers.
    pub(crate) fn all_imports(&self) -> impl ExactSizeIterator<Item = ImportedName<'a>> + '_ {
        self.imports.iter().map(|import| self.named(import))
    }

    /// The import with number `index`.
    pub(crate) fn import(&self, index: u32) -> Option<ImportedName<'a>> {
        Some(self.named(self.imports.get(index as usize)?))
    }

    fn named(&self, import: &Import) -> ImportedName<'a> {
        ImportedName {
            name: self
                .string(import.name_offset, import.name_size)
                .unwrap_or_default(),
            hash: import.hash.get(),
            weak: import.flags.get() & IMPORT_WEAK != 0,
            is_function: import.flags.get() & IMPORT_FUNCTION != 0,
            kind: ImportKind::from_number(import.flags.get() >> 8).unwrap_or_default(),
        }
    }

    /// The names that can be asked of the loaded code.
    pub fn exports(&self) -> impl ExactSizeIterator<Item = &'a str> + '_ {
        self.exports.iter().map(|export| {
            self.string(export.name_offset, export.name_size)
                .unwrap_or_default()
        })
    }

    /// The machine that the code is for, as ELF numbers them: 62 is x86-64, 183 is AArch64.
    pub fn machine(&self) -> u16 {
        self.footer.machine.get()
    }

    /// Bytes of code, stubs included.
    pub fn text_size(&self) -> usize {
        self.footer.text_size.get() as usize
    }

    /// Bytes that stay in memory, read-only: code, slots, constants and unwind tables.
    pub fn payload_size(&self) -> usize {
        self.shape().payload_size
    }

    /// Bytes of writable data, zeros included. If there are none, the image may be shared by equal
    /// definitions.
    pub fn data_size(&self) -> usize {
        self.shape().data_memory_size
    }

    /// Words that are written when the image is loaded.
    pub fn fixup_count(&self) -> usize {
        self.symbol_fixups.len()
            + self.narrow_fixups.len()
            + self.base_fixups.len()
            + self.low_fixups.len()
    }

    /// Bytes of the objects' sections that the roots reached: they are in this image. Debug information
    /// counts neither here nor as dropped.
    pub fn kept_size(&self) -> usize {
        self.footer.kept_size.get() as usize
    }

    /// Bytes of the objects' sections that nothing reached: they were left out.
    pub fn dropped_size(&self) -> usize {
        self.footer.dropped_size.get() as usize
    }

    /// The variables of this image that have to be one per process, such as the statics of inline
    /// functions: another image's or the host's copy may be used in their place.
    pub fn shared_variables(&self) -> impl ExactSizeIterator<Item = &'a str> + '_ {
        self.shared.iter().map(|shared| {
            let import = self.import(shared.import.get());
            import.map_or("", |import| import.name)
        })
    }

    /// The names of the tables that go with the code: see [`Code::side_table`](crate::Code::side_table).
    pub fn side_tables(&self) -> impl ExactSizeIterator<Item = &'a str> {
        self.side_table_places().map(|(name, _)| name)
    }

    /// How many constant slots there are: see [`Code::constant_slots`](crate::Code::constant_slots).
    pub fn constant_slot_count(&self) -> usize {
        self.extension.constant_count.get() as usize
    }

    /// Bytes that every thread has of this image once it uses one of its thread-locals.
    pub fn thread_size(&self) -> usize {
        self.extension.thread_memory_size.get() as usize
    }
}

/// What every thread has of an image.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Threads {
    /// Where the initial contents lie in the payload.
    pub(crate) template_offset: usize,
    pub(crate) template_size: usize,
    pub(crate) memory_size: usize,
    pub(crate) alignment: usize,
}

/// A name that an image needs from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImportedName<'a> {
    /// The name.
    pub name: &'a str,
    /// Its [`symbol_hash`](rekindle_cache_core::symbol_hash), as the image has it.
    pub hash: u64,
    /// Whether the code copes with its absence.
    pub weak: bool,
    /// Whether it has to be a function, since the code takes a stub's address for its own.
    pub(crate) is_function: bool,
    pub(crate) kind: ImportKind,
}

fn is_outside(import: &ImportedName<'_>) -> bool {
    !matches!(
        import.kind,
        ImportKind::Shared
            | ImportKind::OwnModule
            | ImportKind::ThreadGetAddress
            | ImportKind::ThreadDescriptor
            | ImportKind::ThreadVariable
    )
}

/// The imports that come from outside.
struct OutsideImports<'a> {
    description: Description<'a>,
    next: u32,
    left: usize,
}

impl<'a> Iterator for OutsideImports<'a> {
    type Item = ImportedName<'a>;

    fn next(&mut self) -> Option<ImportedName<'a>> {
        loop {
            let import = self.description.import(self.next)?;
            self.next += 1;
            if is_outside(&import) {
                self.left -= 1;
                return Some(import);
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for OutsideImports<'_> {}

impl ImportedName<'_> {
    /// Whether the hash is the name's; a loader trusts the checksum for that.
    pub fn hash_is_right(&self) -> bool {
        symbol_hash(self.name) == self.hash
    }
}

/// The bytes of `count` words from `offset` on.
fn words(offset: U32, count: U32) -> Range<usize> {
    let start = offset.get() as usize;
    start..start.saturating_add(8 * count.get() as usize)
}

fn table<'a, T>(
    bytes: &'a [u8],
    count: U32,
    part: &'static str,
) -> Result<(&'a [T], &'a [u8]), ImageError>
where
    [T]: FromBytes + zerocopy::KnownLayout<PointerMetadata = usize> + zerocopy::Immutable,
{
    <[T]>::ref_from_prefix_with_elems(bytes, count.get() as usize).map_err(|_| invalid(part, 0))
}
