//! Checks of an image's figures against each other and against its size.

use super::format::{DATA_DISTANCE, IMPORT_FUNCTION, IMPORT_WEAK, ImportKind};
use super::format::{LOW_SUBTRACTS, MAX_ALIGNMENT};
use super::outline::invalid;
use super::read::Description;
use crate::error::ImageError;
use zerocopy::little_endian::U32;

impl Description<'_> {
    /// Checks everything but names' hashes.
    pub(super) fn validate(&self, payload: &[u8]) -> Result<(), ImageError> {
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
        inside(&U32::ZERO, footer.unwind_size.get().into(), "unwind tables")?;
        if let Some(range) = self.unwind() {
            let table = payload.get(range).ok_or(invalid("unwind tables", 0))?;
            validate_unwind(table)?;
        }
        if self.is_extended() {
            self.validate_extension(payload)?;
        }

        for (index, import) in (0..).zip(self.imports) {
            let flags = import.flags.get();
            let kind = ImportKind::from_number(flags >> 8);
            let known_flags =
                kind.is_some() && flags & 0xff & !(IMPORT_WEAK | IMPORT_FUNCTION) == 0;
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

    fn validate_extension(&self, payload: &[u8]) -> Result<(), ImageError> {
        let extension = self.extension;
        let inside = |area: &[u8], offset: U32, size: u64, part| match u64::from(offset.get())
            + size
            <= area.len() as u64
        {
            true => Ok(()),
            false => Err(invalid(part, 0)),
        };
        let words = |count: U32| 8 * u64::from(count.get());
        for (area, offset, count, part) in [
            (
                payload,
                extension.init_offset,
                extension.init_count,
                "initialisers",
            ),
            (
                payload,
                extension.fini_offset,
                extension.fini_count,
                "finalisers",
            ),
            (
                self.data,
                extension.indirect_offset,
                extension.indirect_count,
                "indirect functions",
            ),
            (
                self.data,
                extension.constant_offset,
                extension.constant_count,
                "constant slots",
            ),
        ] {
            inside(area, offset, words(count), part)?;
        }
        for (index, table) in (0..).zip(self.side_tables) {
            inside(payload, table.place, table.size.get().into(), "side table")?;
            if self.string(table.name_offset, table.name_size).is_none() {
                return Err(invalid("side table", index));
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
        for (index, place) in (0..).zip(self.low_fixups) {
            let place = place.get() & !LOW_SUBTRACTS;
            if !self.is_low() || !self.holds(payload, place, 0, 4) {
                return Err(invalid("low fixup", index));
            }
        }
        self.validate_threads(payload)?;
        self.validate_shared(payload)
    }

    fn validate_threads(&self, payload: &[u8]) -> Result<(), ImageError> {
        let extension = self.extension;
        let alignment = extension.thread_alignment.get();
        let start = u64::from(extension.thread_offset.get());
        let fits = alignment.is_power_of_two()
            && u64::from(alignment) <= MAX_ALIGNMENT
            && extension.thread_file_size <= extension.thread_memory_size
            && u64::from(extension.thread_memory_size.get()) <= DATA_DISTANCE
            && start + u64::from(extension.thread_file_size.get()) <= payload.len() as u64;
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
        let text_size = match self.is_low() {
            true => 0,
            // Text has no fixups: it may be shared or protected before they are applied.
            false => self.footer.text_size.get(),
        };
        self.holds(payload, place, text_size, 8)
    }

    /// Whether `width` bytes at `place` stay within the payload from `start` on, or within the initial
    /// data.
    fn holds(&self, payload: &[u8], place: u32, start: u32, width: u64) -> bool {
        match u64::from(place).checked_sub(DATA_DISTANCE) {
            None => place >= start && u64::from(place) + width <= payload.len() as u64,
            Some(offset) => offset + width <= self.data.len() as u64,
        }
    }
}

/// Walks the lengths: the unwinder does so without looking at the end, and stops at the zero that has
/// to be the last four bytes. Each description of a function has to point back at a common one.
fn validate_unwind(table: &[u8]) -> Result<(), ImageError> {
    // Code of C++ without optimisation has hundreds of entries, so that each is read once, and what all of them refer
    // to is looked at once.
    let pair = |at: usize| {
        let both = u64::from_le_bytes(*table.get(at..)?.first_chunk()?);
        Some((both as u32 as usize, (both >> 32) as usize))
    };
    let mut at = 0;
    let mut index = 0;
    let mut known_common = None;
    while let Some((length, distance)) = pair(at) {
        // Shorter than the fields that every entry has, which an end before the table's is as well.
        if length < 8 {
            return Err(invalid("unwind tables", index));
        }
        let common = (at + 4).wrapping_sub(distance);
        if distance != 0 && known_common != Some(common) {
            let Some((_, 0)) = pair(common) else {
                return Err(invalid("unwind tables", index));
            };
            known_common = Some(common);
        }
        // Nowhere near the end of numbers; the largest value, which announces lengths of 64 bits, is beyond any table.
        at += 4 + length;
        index += 1;
    }
    // An empty table is never written, and one with a tail would not be walked to its end.
    match index > 0 && table.get(at..) == Some(&[0; 4]) {
        true => Ok(()),
        false => Err(invalid("unwind tables", index)),
    }
}
