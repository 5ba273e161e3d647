//! What an object or a library wants from outside, and what a host gives of that.

use crate::error::PeerError;
use object::{Object as _, ObjectSection as _, ObjectSymbol as _, SectionFlags, SectionKind};
use rekindle_cache_core::artifact::{ImageRef, Symbols};
use rekindle_cache_core::{copy_with_checksum, symbol_hash};

/// A private copy of an image whose checksum is right.
pub(crate) fn checked_copy(image: ImageRef<'_>) -> Result<Box<[u8]>, PeerError> {
    let mut copy = vec![0; image.bytes.len()].into_boxed_slice();
    let found = copy_with_checksum(image.bytes, &mut copy);
    match found == image.checksum {
        true => Ok(copy),
        false => Err(PeerError::Checksum {
            found,
            expected: image.checksum,
        }),
    }
}

/// Checks that an object defines all `roots`.
pub(crate) fn check_roots(file: &object::File<'_>, roots: &[&str]) -> Result<(), PeerError> {
    let defines = |root: &&&str| {
        let mut symbols = file.symbols();
        symbols.any(|symbol| symbol.is_definition() && symbol.name() == Ok(**root))
    };
    match roots.iter().find(|root| !defines(root)) {
        Some(root) => Err(PeerError::NoRoot((*root).to_owned())),
        None => Ok(()),
    }
}

/// The names that a file wants from outside and that the host knows, each with the host's word.
pub(crate) fn given<'data>(
    wanted: impl Iterator<Item = object::Symbol<'data, 'data>>,
    symbols: &dyn Symbols,
) -> Result<Vec<(&'data str, u64)>, PeerError> {
    let mut given = Vec::new();
    for symbol in wanted.filter(object::Symbol::is_undefined) {
        let name = symbol.name()?;
        // The first symbol of a table stands for none.
        if !name.is_empty()
            && let Some(word) = symbols.address(symbol_hash(name), name)
        {
            given.push((name, word));
        }
    }
    Ok(given)
}

/// Bytes of memory that the file's sections take when they are loaded.
pub(crate) fn loaded_size(file: &object::File<'_>) -> usize {
    let is_loaded = |section: &object::Section<'_, '_>| match section.flags() {
        SectionFlags::Elf { sh_flags } => sh_flags & u64::from(object::elf::SHF_ALLOC) != 0,
        _ => section.kind() != SectionKind::Debug,
    };
    let sections = file.sections().filter(is_loaded);
    let bytes: u64 = sections.map(|section| section.size()).sum();
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
