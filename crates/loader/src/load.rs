//! Image to code: copy, check the copy, bind it, and run its initialisers.
//!
//! The order is the argument for its soundness. The only thing read from the source before the copy is
//! how much memory it wants, and the copy has to agree. The host is asked for symbols *before*
//! anything is written, since it may load other images meanwhile, fork, or panic. After that nothing can
//! fail until the image is complete.

use crate::code::{Code, ExportedAddress};
use crate::error::{ImageError, LoadError};
use crate::image::DATA_DISTANCE;
use crate::image::read::{self, Description};
use crate::memory::process::{ProcessImport, ProcessSymbols};
use crate::memory::room::Windows;
use crate::memory::unwind::Unwinder;
use rekindle_cache_core::artifact::{ImageRef, Symbols};
use rekindle_cache_core::checksum;
use std::ops::Range;
use std::sync::Arc;

/// The state of a loader in one process.
pub(crate) struct Runtime {
    pub(crate) windows: Windows,
    pub(crate) process: ProcessSymbols,
}

/// Imports whose addresses fit on the stack.
const FEW: usize = 32;

/// Loads `image`. `is_current` says whether `runtime` is still this process's.
///
/// # Safety
/// As for [`Loader::load`](rekindle_cache_core::artifact::Loader::load).
pub(crate) unsafe fn load(
    runtime: &Runtime,
    image: ImageRef<'_>,
    symbols: &dyn Symbols,
    is_current: impl Fn() -> bool,
) -> Result<Code, LoadError> {
    if !cfg!(target_arch = "x86_64") {
        return Err(LoadError::Image(ImageError::Machine {
            found: crate::image::format::MACHINE_X86_64,
            expected: 0,
        }));
    }
    let shape = read::shape(image.bytes)?;
    let mut span = runtime.windows.take(image.bytes.len(), shape)?;
    let base = span.base();

    let copy = span.bytes();
    copy.copy_from_slice(image.bytes);
    let found = checksum(copy);
    if found != image.checksum {
        return Err(LoadError::Checksum {
            found,
            expected: image.checksum,
        });
    }
    let (copy, data) = span.bytes_and_data();
    let invalid = ImageError::Invalid {
        part: "payload",
        index: 0,
    };
    let (payload, rest) = copy
        .split_at_mut_checked(shape.payload_size)
        .ok_or(invalid)?;
    let description = Description::read(payload, rest)?;
    if description.shape() != shape {
        return Err(invalid.into());
    }

    let unwind = match description.unwind() {
        Some(range) => Some((Unwinder::find()?, range)),
        None => None,
    };

    let mut few = [0; FEW];
    let mut many = Vec::new();
    let addresses = match description.imports().len() {
        count if count <= FEW => few.get_mut(..count).unwrap_or_default(),
        count => {
            many.resize(count, 0);
            many.as_mut_slice()
        }
    };
    let process_imports = resolve(&description, symbols, &runtime.process, addresses)?;
    if !is_current() {
        // This is a child that the host made just now: the memory is its parent's, who goes on.
        std::mem::forget(span);
        return Err(LoadError::Forked);
    }

    apply(&description, payload, data, base as u64, addresses)?;
    let exports = description
        .export_places()
        .map(|(hash, place)| ExportedAddress {
            hash,
            address: base + place as usize,
        })
        .collect();
    let code = Code {
        base,
        payload_size: shape.payload_size,
        text_size: description.text_size(),
        data_size: shape.data_memory_size,
        exports,
        process_imports,
    };
    let initialisers = description.initialisers();
    span.keep()?;
    // SAFETY: the image is in place for good, and the caller vouches for it.
    unsafe { start(&code, unwind, initialisers) };
    Ok(code)
}

/// Asks the host, then the process, for each import. Returns what the process gave.
fn resolve(
    description: &Description<'_>,
    symbols: &dyn Symbols,
    process: &ProcessSymbols,
    addresses: &mut [u64],
) -> Result<Vec<Arc<ProcessImport>>, LoadError> {
    let mut from_process = Vec::new();
    for (import, address) in description.imports().zip(addresses) {
        if let Some(given) = symbols.address(import.hash, import.name) {
            *address = given;
        } else if let Some(found) = process.find(import.hash, import.name) {
            *address = found.address() as u64;
            from_process.push(found);
        } else if !import.weak {
            return Err(LoadError::UnresolvedSymbol {
                symbol: import.name.to_owned(),
            });
        }
    }
    Ok(from_process)
}

/// Writes the initial data and all fixups.
fn apply(
    description: &Description<'_>,
    payload: &mut [u8],
    data: &mut [u8],
    base: u64,
    addresses: &[u64],
) -> Result<(), ImageError> {
    let initial = description.data();
    data.get_mut(..initial.len())
        .ok_or(ImageError::Invalid {
            part: "data",
            index: 0,
        })?
        .copy_from_slice(initial);

    let mut add = |place: u32, value: u64| {
        let (area, offset) = match u64::from(place).checked_sub(DATA_DISTANCE) {
            None => (&mut *payload, place as usize),
            Some(offset) => (&mut *data, offset as usize),
        };
        let word = area.get_mut(offset..)?.first_chunk_mut::<8>()?;
        *word = u64::from_le_bytes(*word).wrapping_add(value).to_le_bytes();
        Some(())
    };
    let invalid = |part, index| ImageError::Invalid { part, index };
    for (index, (place, import)) in (0..).zip(description.symbol_fixups()) {
        let address = addresses.get(import as usize).copied();
        address
            .and_then(|address| add(place, address))
            .ok_or(invalid("symbol fixup", index))?;
    }
    for (index, place) in (0..).zip(description.base_fixups()) {
        add(place, base).ok_or(invalid("base fixup", index))?;
    }
    Ok(())
}

/// Registers the unwind tables and runs the initialisers.
///
/// # Safety
/// The image of `code` is complete, in place, and trusted; its unwind tables and initialisers lie in
/// the payload where its description says.
unsafe fn start(code: &Code, unwind: Option<(Unwinder, Range<usize>)>, initialisers: Range<usize>) {
    // SAFETY: the run view is readable, `keep` left the payload in it, and it is never unmapped or
    // written again.
    let payload = unsafe { std::slice::from_raw_parts(code.base as *const u8, code.payload_size) };
    if let Some((unwinder, range)) = unwind {
        let table = payload.get(range.clone()).unwrap_or_default();
        // SAFETY: the caller vouches for the image, which is where it will stay.
        unsafe { unwinder.register(code.base + range.start, table) };
    }
    let pointers = payload.get(initialisers).unwrap_or_default();
    for pointer in pointers.chunks_exact(8) {
        let address = pointer.try_into().map_or(0, u64::from_le_bytes);
        // Both are conventions for "none", from the days of .ctors.
        if address == 0 || address == u64::MAX {
            continue;
        }
        // The C library passes these to initialisers; there is no command line of an image's own.
        type Initialiser = extern "C" fn(i32, *const *const u8, *const *const u8);
        // SAFETY: the caller vouches that the array holds functions; those that take no arguments
        // ignore them, as the ABI has it.
        let run = unsafe { std::mem::transmute::<usize, Initialiser>(address as usize) };
        run(0, [std::ptr::null()].as_ptr(), [std::ptr::null()].as_ptr());
    }
}
