//! The figures at an image's end, and the sizes that follow from them.

use super::format::{DATA_DISTANCE, MACHINE_AARCH64, MACHINE_HERE, MACHINE_X86_64, MAGIC};
use super::format::{Export, Extension, FOOTER_SIZE, Footer, HAS_EXTENSION, IS_LOW, Import};
use super::format::{MAX_ALIGNMENT, Shared, VERSION};
use super::format::{SideTable, SymbolFixup};
use crate::error::ImageError;
use zerocopy::FromBytes;
use zerocopy::little_endian::U32;

/// How much memory an image asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) machine: u16,
    pub(crate) payload_size: usize,
    pub(crate) data_memory_size: usize,
    pub(crate) alignment: usize,
    /// It has to lie in the low 2 GiB.
    pub(crate) is_low: bool,
}

/// The memory that `bytes` say they need. What is wanted before the bytes are copied and checked;
/// the copy's own shape has to be compared with it.
pub(crate) fn shape(bytes: &[u8]) -> Result<Shape, ImageError> {
    let (_, extension, footer) = split_figures(bytes)?;
    shape_of(footer, extension, bytes.len())
}

impl Shape {
    /// An error if the code is for another machine than this process's.
    pub(crate) fn runs_here(&self) -> Result<(), ImageError> {
        match self.machine == MACHINE_HERE {
            true => Ok(()),
            false => Err(wrong_machine(self.machine)),
        }
    }
}

fn wrong_machine(found: u16) -> ImageError {
    ImageError::Machine {
        found,
        expected: MACHINE_HERE,
    }
}

/// What lies in front of the figures, and the figures.
pub(super) fn split_figures(bytes: &[u8]) -> Result<(&[u8], &Extension, &Footer), ImageError> {
    let truncated = |needed: usize| ImageError::Truncated {
        found: bytes.len() as u64,
        needed: needed as u64,
    };
    let (body, footer) = Footer::ref_from_suffix(bytes).map_err(|_| truncated(FOOTER_SIZE))?;
    if footer.magic != MAGIC {
        return Err(ImageError::Magic);
    }
    if footer.version.get() != VERSION {
        return Err(ImageError::Version {
            found: footer.version.get(),
            expected: VERSION,
        });
    }
    if !matches!(footer.machine.get(), MACHINE_X86_64 | MACHINE_AARCH64) {
        return Err(wrong_machine(footer.machine.get()));
    }
    if footer.flags & IS_LOW != 0 && footer.machine.get() != MACHINE_X86_64 {
        return Err(invalid("flags", 0));
    }
    match footer.flags & !IS_LOW {
        0 => Ok((body, &Extension::NONE, footer)),
        HAS_EXTENSION => {
            let (body, extension) = Extension::ref_from_suffix(body)
                .map_err(|_| truncated(FOOTER_SIZE + size_of::<Extension>()))?;
            Ok((body, extension, footer))
        }
        _ => Err(invalid("flags", 0)),
    }
}

/// The memory that an image of `size` bytes asks for, if its parts add up to that size.
pub(super) fn shape_of(
    footer: &Footer,
    extension: &Extension,
    size: usize,
) -> Result<Shape, ImageError> {
    let needed = size_of_parts(footer, extension);
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
    if u32::from(footer.alignment_power) > MAX_ALIGNMENT.ilog2() {
        return Err(invalid("alignment", 0));
    }
    if footer.reserved.get() != 0 {
        return Err(invalid("reserved field", 0));
    }
    Ok(Shape {
        machine: footer.machine.get(),
        payload_size: bounded(footer.payload_size, "payload")?,
        data_memory_size: bounded(footer.data_memory_size, "data")?,
        alignment: 1 << footer.alignment_power,
        is_low: footer.flags & IS_LOW != 0,
    })
}

/// Bytes of an image with these figures.
fn size_of_parts(footer: &Footer, extension: &Extension) -> u64 {
    let table = |count: U32, entry: usize| u64::from(count.get()) * entry as u64;
    let mut size = u64::from(footer.payload_size.get())
        + u64::from(footer.data_file_size.get())
        + table(footer.import_count, size_of::<Import>())
        + table(footer.symbol_fixup_count, size_of::<SymbolFixup>())
        + table(footer.base_fixup_count, size_of::<U32>())
        + table(footer.export_count, size_of::<Export>())
        + u64::from(footer.string_size.get())
        + FOOTER_SIZE as u64;
    if footer.flags & HAS_EXTENSION != 0 {
        size += table(extension.narrow_fixup_count, size_of::<SymbolFixup>())
            + table(extension.low_fixup_count, size_of::<U32>())
            + table(extension.shared_count, size_of::<Shared>())
            + table(extension.side_table_count, size_of::<SideTable>())
            + size_of::<Extension>() as u64;
    }
    size
}

/// Figures that cannot be.
pub(super) fn invalid(part: &'static str, index: u32) -> ImageError {
    ImageError::Invalid { part, index }
}
