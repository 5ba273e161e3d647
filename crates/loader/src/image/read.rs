//! Reads an image where it lies, after checking everything that the loader will rely on.
//!
//! Any bytes give a description or an [`ImageError`]. A description that was read has every offset
//! inside its part, so that applying it cannot leave the image. It is *not* evidence that the code
//! is what the compiler wrote: that is what the checksum is for, and who wrote the record.

use super::format::SymbolFixup;
use super::format::{DATA_DISTANCE, MACHINE_X86_64, MAGIC, MAX_ALIGNMENT, VERSION};
use super::format::{Export, FOOTER_SIZE, Footer, IMPORT_WEAK, Import, ImportKind, Shared};
use crate::error::ImageError;
use rekindle_cache_core::symbol_hash;
use std::ops::Range;
use zerocopy::FromBytes;
use zerocopy::little_endian::U32;

/// How much memory an image asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) payload_size: usize,
    pub(crate) data_memory_size: usize,
    pub(crate) alignment: usize,
}

/// The memory that `bytes` say they need. What is wanted before the bytes are copied and checked;
/// the copy's own shape has to be compared with it.
pub(crate) fn shape(bytes: &[u8]) -> Result<Shape, ImageError> {
    let (_, footer) = split_footer(bytes)?;
    shape_of(footer, bytes.len())
}

/// What an image says of itself: names, sizes, fixups.
#[derive(Debug, Clone, Copy)]
pub struct Description<'a> {
    footer: &'a Footer,
    data: &'a [u8],
    imports: &'a [Import],
    symbol_fixups: &'a [SymbolFixup],
    narrow_fixups: &'a [SymbolFixup],
    base_fixups: &'a [U32],
    shared: &'a [Shared],
    exports: &'a [Export],
    strings: &'a str,
}

/// Checks that `bytes` are an image that this version could load, and returns its description.
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
        let (body, footer) = split_footer(rest)?;
        let size = payload.len() + rest.len();
        if shape_of(footer, size)?.payload_size != payload.len() {
            return Err(invalid("payload", 0));
        }
        let needed = body_size(footer);
        if needed != body.len() as u64 {
            return Err(ImageError::Truncated {
                found: size as u64,
                needed: needed + (payload.len() + FOOTER_SIZE) as u64,
            });
        }
        let (data, body) = body
            .split_at_checked(footer.data_file_size.get() as usize)
            .ok_or(invalid("data", 0))?;
        let (imports, body) = table::<Import>(body, footer.import_count, "imports")?;
        let (symbol_fixups, body) =
            table::<SymbolFixup>(body, footer.symbol_fixup_count, "symbol fixups")?;
        let (narrow_fixups, body) =
            table::<SymbolFixup>(body, footer.narrow_fixup_count, "narrow fixups")?;
        let (base_fixups, body) = table::<U32>(body, footer.base_fixup_count, "base fixups")?;
        let (shared, body) = table::<Shared>(body, footer.shared_count, "shared variables")?;
        let (exports, strings) = table::<Export>(body, footer.export_count, "exports")?;
        let strings = std::str::from_utf8(strings).map_err(|_| invalid("strings", 0))?;
        let description = Self {
            footer,
            data,
            imports,
            symbol_fixups,
            narrow_fixups,
            base_fixups,
            shared,
            exports,
            strings,
        };
        description.validate(payload)?;
        Ok(description)
    }

    fn validate(&self, payload: &[u8]) -> Result<(), ImageError> {
        let inside = |offset: &U32, size: u64, part| {
            let end = u64::from(offset.get()).checked_add(size);
            if end.is_none_or(|end| end > payload.len() as u64) {
                return Err(invalid(part, 0));
            }
            Ok(())
        };
        let footer = self.footer;
        inside(&U32::ZERO, footer.text_size.get().into(), "text")?;
        if footer.data_file_size.get() > footer.data_memory_size.get() {
            return Err(invalid("data", 0));
        }
        inside(
            &footer.init_offset,
            8 * u64::from(footer.init_count.get()),
            "initialisers",
        )?;
        inside(
            &footer.fini_offset,
            8 * u64::from(footer.fini_count.get()),
            "finalisers",
        )?;
        inside(
            &footer.unwind_offset,
            footer.unwind_size.get().into(),
            "unwind tables",
        )?;
        if let Some(range) = self.unwind() {
            let table = payload.get(range).ok_or(invalid("unwind tables", 0))?;
            validate_unwind(table)?;
        }

        self.validate_threads(payload)?;
        let indirect = u64::from(footer.indirect_offset.get());
        let indirect_end = indirect + 8 * u64::from(footer.indirect_count.get());
        if footer.indirect_count.get() != 0 && indirect_end > self.data.len() as u64 {
            return Err(invalid("indirect functions", 0));
        }
        self.validate_shared(payload)?;

        for (index, import) in (0..).zip(self.imports) {
            let flags = import.flags.get();
            let kind = ImportKind::from_number(flags >> 8);
            let known_flags = kind.is_some() && flags & 0xff & !IMPORT_WEAK == 0;
            // It has a number only if it has a block.
            let known_module = kind != Some(ImportKind::OwnModule) || self.threads().is_some();
            if !known_flags
                || !known_module
                || self.string(import.name_offset, import.name_size).is_none()
            {
                return Err(invalid("import", index));
            }
        }
        for (index, fixup) in (0..).zip(self.symbol_fixups) {
            let known = (fixup.import.get() as usize) < self.imports.len();
            if !known || !self.holds_word(payload, fixup.place.get()) {
                return Err(invalid("symbol fixup", index));
            }
        }
        for (index, fixup) in (0..).zip(self.narrow_fixups) {
            let known = (fixup.import.get() as usize) < self.imports.len();
            // In the text, or wherever else code may lie.
            let end = u64::from(fixup.place.get()) + 4;
            if !known || end > payload.len() as u64 {
                return Err(invalid("narrow fixup", index));
            }
        }
        for (index, place) in (0..).zip(self.base_fixups) {
            if !self.holds_word(payload, place.get()) {
                return Err(invalid("base fixup", index));
            }
        }
        for (index, export) in (0..).zip(self.exports) {
            let place = u64::from(export.place.get());
            let known = match place.checked_sub(DATA_DISTANCE) {
                // An empty object at the very end is a place, too.
                None => place <= payload.len() as u64,
                Some(offset) => offset <= u64::from(footer.data_memory_size.get()),
            };
            if !known || self.string(export.name_offset, export.name_size).is_none() {
                return Err(invalid("export", index));
            }
        }
        Ok(())
    }

    fn validate_threads(&self, payload: &[u8]) -> Result<(), ImageError> {
        let footer = self.footer;
        let alignment = footer.thread_alignment.get();
        let start = u64::from(footer.thread_offset.get());
        let fits = alignment.is_power_of_two()
            && u64::from(alignment) <= MAX_ALIGNMENT
            && footer.thread_file_size <= footer.thread_memory_size
            && u64::from(footer.thread_memory_size.get()) <= DATA_DISTANCE
            && start + u64::from(footer.thread_file_size.get()) <= payload.len() as u64;
        match fits {
            true => Ok(()),
            false => Err(invalid("thread-locals", 0)),
        }
    }

    fn validate_shared(&self, payload: &[u8]) -> Result<(), ImageError> {
        for (index, shared) in (0..).zip(self.shared) {
            let import = self.imports.get(shared.import.get() as usize);
            let kind = import.and_then(|import| ImportKind::from_number(import.flags.get() >> 8));
            let place = u64::from(shared.place.get());
            let size = u64::from(shared.size.get());
            let inside = match place.checked_sub(DATA_DISTANCE) {
                None => place + size <= payload.len() as u64,
                Some(offset) => offset + size <= self.footer.data_memory_size.get().into(),
            };
            let partner = (shared.partner.get() as usize) < self.shared.len();
            if kind != Some(ImportKind::Shared) || !inside || !partner {
                return Err(invalid("shared variable", index));
            }
        }
        Ok(())
    }

    /// Whether a fixup at `place` stays within the payload, or within the initial data.
    fn holds_word(&self, payload: &[u8], place: u32) -> bool {
        let place = u64::from(place);
        match place.checked_sub(DATA_DISTANCE) {
            // Text has no fixups: it may be shared or protected before they are applied.
            None => {
                place >= u64::from(self.footer.text_size.get()) && place + 8 <= payload.len() as u64
            }
            Some(offset) => offset + 8 <= self.data.len() as u64,
        }
    }

    fn string(&self, offset: U32, size: U32) -> Option<&'a str> {
        let start = offset.get() as usize;
        self.strings
            .get(start..start.checked_add(size.get() as usize)?)
    }

    pub(crate) fn shape(&self) -> Shape {
        Shape {
            payload_size: self.footer.payload_size.get() as usize,
            data_memory_size: self.footer.data_memory_size.get() as usize,
            alignment: self.footer.alignment.get() as usize,
        }
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

    /// The variables that have to be one per process.
    pub(crate) fn shared(&self) -> &'a [Shared] {
        self.shared
    }

    /// What a thread has of this image, if anything.
    pub(crate) fn threads(&self) -> Option<Threads> {
        let footer = self.footer;
        (footer.thread_memory_size.get() != 0).then(|| Threads {
            template_offset: footer.thread_offset.get() as usize,
            template_size: footer.thread_file_size.get() as usize,
            memory_size: footer.thread_memory_size.get() as usize,
            alignment: footer.thread_alignment.get() as usize,
        })
    }

    /// Where the words of indirect functions lie in the data.
    pub(crate) fn indirect(&self) -> Range<usize> {
        let start = self.footer.indirect_offset.get() as usize;
        start..start.saturating_add(8 * self.footer.indirect_count.get() as usize)
    }

    /// Where the unwind tables lie in the payload.
    pub(crate) fn unwind(&self) -> Option<Range<usize>> {
        let start = self.footer.unwind_offset.get() as usize;
        let size = self.footer.unwind_size.get() as usize;
        (size != 0).then(|| start..start.saturating_add(size))
    }

    /// Where the pointers to initialisers lie in the payload.
    pub(crate) fn initialisers(&self) -> Range<usize> {
        let start = self.footer.init_offset.get() as usize;
        start..start.saturating_add(8 * self.footer.init_count.get() as usize)
    }

    /// Where the pointers to finalisers lie in the payload; they run from the last to the first.
    pub(crate) fn finalisers(&self) -> Range<usize> {
        let start = self.footer.fini_offset.get() as usize;
        start..start.saturating_add(8 * self.footer.fini_count.get() as usize)
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
        self.symbol_fixups.len() + self.narrow_fixups.len() + self.base_fixups.len()
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

    /// Bytes that every thread has of this image once it uses one of its thread-locals.
    pub fn thread_size(&self) -> usize {
        self.footer.thread_memory_size.get() as usize
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
    pub(crate) kind: ImportKind,
}

fn is_outside(import: &ImportedName<'_>) -> bool {
    !matches!(
        import.kind,
        ImportKind::Shared
            | ImportKind::OwnModule
            | ImportKind::ThreadGetAddress
            | ImportKind::ThreadDescriptor
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

fn split_footer(bytes: &[u8]) -> Result<(&[u8], &Footer), ImageError> {
    let (body, footer) = Footer::ref_from_suffix(bytes).map_err(|_| ImageError::Truncated {
        found: bytes.len() as u64,
        needed: FOOTER_SIZE as u64,
    })?;
    if footer.magic != MAGIC {
        return Err(ImageError::Magic);
    }
    if footer.version.get() != VERSION {
        return Err(ImageError::Version {
            found: footer.version.get(),
            expected: VERSION,
        });
    }
    if footer.machine.get() != MACHINE_X86_64 {
        return Err(ImageError::Machine {
            found: footer.machine.get(),
            expected: MACHINE_X86_64,
        });
    }
    Ok((body, footer))
}

fn shape_of(footer: &Footer, size: usize) -> Result<Shape, ImageError> {
    let needed = u64::from(footer.payload_size.get()) + body_size(footer) + FOOTER_SIZE as u64;
    if needed != size as u64 {
        return Err(ImageError::Truncated {
            found: size as u64,
            needed,
        });
    }
    let bounded = |size: U32, part| {
        if u64::from(size.get()) > DATA_DISTANCE {
            return Err(invalid(part, 0));
        }
        Ok(size.get() as usize)
    };
    let alignment = footer.alignment.get();
    if !alignment.is_power_of_two() || u64::from(alignment) > MAX_ALIGNMENT {
        return Err(invalid("alignment", 0));
    }
    if footer.reserved.get() != 0 {
        return Err(invalid("reserved field", 0));
    }
    Ok(Shape {
        payload_size: bounded(footer.payload_size, "payload")?,
        data_memory_size: bounded(footer.data_memory_size, "data")?,
        alignment: alignment as usize,
    })
}

/// Bytes between payload and footer.
fn body_size(footer: &Footer) -> u64 {
    let table = |count: U32, entry: usize| u64::from(count.get()) * entry as u64;
    u64::from(footer.data_file_size.get())
        + table(footer.import_count, size_of::<Import>())
        + table(footer.symbol_fixup_count, size_of::<SymbolFixup>())
        + table(footer.narrow_fixup_count, size_of::<SymbolFixup>())
        + table(footer.base_fixup_count, size_of::<U32>())
        + table(footer.shared_count, size_of::<Shared>())
        + table(footer.export_count, size_of::<Export>())
        + u64::from(footer.string_size.get())
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

/// Walks the lengths: the unwinder does so without looking at the end, and stops at the zero that has
/// to be the last four bytes. Each description of a function has to point back at a common one.
fn validate_unwind(table: &[u8]) -> Result<(), ImageError> {
    let word = |at: usize| {
        let bytes = table.get(at..)?.first_chunk::<4>()?;
        Some(u32::from_le_bytes(*bytes) as usize)
    };
    let mut at = 0;
    for index in 0.. {
        let bad = invalid("unwind tables", index);
        let length = word(at).ok_or(bad)?;
        if length == 0 {
            // An empty table is never written, and one with a tail would not be walked to its end.
            let whole = index > 0 && at + 4 == table.len();
            return if whole { Ok(()) } else { Err(bad) };
        }
        // Shorter than the fields that every entry has; the largest value, which announces lengths
        // of 64 bits, is beyond any table.
        if length < 8 || length > table.len() {
            return Err(bad);
        }
        let distance = word(at + 4).ok_or(bad)?;
        if distance != 0 {
            let common = (at + 4).checked_sub(distance).ok_or(bad)?;
            if word(common + 4) != Some(0) {
                return Err(bad);
            }
        }
        at += 4 + length;
    }
    Err(invalid("unwind tables", u32::MAX))
}

fn invalid(part: &'static str, index: u32) -> ImageError {
    ImageError::Invalid { part, index }
}
