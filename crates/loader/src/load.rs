//! Image to code: copy, check the copy, bind it, and run its initialisers.
//!
//! The order is the argument for its soundness. The only thing read from the source before the copy is
//! how much memory it wants, and the copy has to agree; if that is much, its checksum is compared, too. The host is asked for symbols *before*
//! anything is written, since it may load other images meanwhile, fork, or panic. After that nothing can
//! fail until the image is complete.

use crate::code::{Code, ExportedAddress, Loaded, NamedTable};
use crate::error::{ImageError, LoadError};
use crate::image::DATA_DISTANCE;
use crate::image::format::{ImportKind, LOW_SUBTRACTS, MACHINE_HERE};
use crate::image::read::Description;
use crate::image::{narrow, outline};
use crate::memory::copy::copy_with_checksum;
use crate::memory::debugger::{self, Debugger};
use crate::memory::finalise;
use crate::memory::low;
use crate::memory::process::ProcessSymbols;
use crate::memory::room::{Place, Windows};
use crate::memory::sets::WindowSets;
use crate::memory::tables::Table;
use crate::memory::unwind::Unwinder;
use crate::resolve::{Host, resolve_all};
use crate::shared::Registry;
use crate::tls::Module;
use crate::tls::host::HostVariables;
use rekindle_cache_core::artifact::{ImageRef, Symbols};
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::sync::Arc;

/// The state of a loader in one process.
pub(crate) struct Runtime {
    pub(crate) windows: WindowSets,
    pub(crate) process: ProcessSymbols,
    pub(crate) host_variables: HostVariables,
    pub(crate) registry: Arc<Registry>,
    /// Debuggers are told of what is loaded.
    pub(crate) debugger: Option<Debugger>,
    /// Nothing is looked up in the process.
    pub(crate) host_symbols_only: bool,
}

/// Imports whose addresses fit on the stack: of small images, and of most others.
const FEW: usize = 32;
const SOME: usize = 256;

/// Bytes of data beyond an image's own size that it is given room for unseen. Room stays, so that figures
/// that ask for more, or for some of the few low addresses, are compared with the checksum first.
const TRUSTED_DATA: usize = 1 << 20;

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
    let shape = outline::shape(image.bytes)?;
    shape.runs_here()?;
    let is_much = shape.data_memory_size > image.bytes.len() + TRUSTED_DATA;
    if is_much || shape.is_low {
        compare(rekindle_cache_core::checksum(image.bytes), image.checksum)?;
    }
    let mut span = runtime.windows.take(image.bytes.len(), shape)?;
    let windows = span.windows();
    let base = span.base();

    let copy = span.bytes();
    compare(copy_with_checksum(image.bytes, copy), image.checksum)?;
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
        Some(range) => Some((windows.tables.unwinder()?, range)),
        None => None,
    };

    let (mut few, mut some, mut many);
    let count = description.all_imports().len();
    let addresses: &mut [u64] = if count <= FEW {
        few = [0; FEW];
        &mut few
    } else if count <= SOME {
        some = [0; SOME];
        &mut some
    } else {
        many = vec![0; count];
        &mut many
    };
    let addresses = addresses.get_mut(..count).unwrap_or_default();
    let threads = description.threads();
    let module = threads
        .map(|threads| Module::new(base, &threads))
        .transpose()?;
    let host = Host {
        symbols,
        is_current: &is_current,
    };
    let number = module.as_ref().map(Module::number);
    let resolved = resolve_all(runtime, &description, &host, number, addresses);
    if let Err(LoadError::Forked) = resolved {
        // This is a child that the host made just now: the memory is its parent's, who goes on.
        std::mem::forget(span);
        return Err(LoadError::Forked);
    }
    let (process_imports, found) = resolved?;
    if shape.is_low {
        check_functions(&description, addresses)?;
    }

    let decided = found.map(|found| {
        let registry = &runtime.registry;
        registry.decide(&description, found, base as u64, addresses)
    });
    apply(&description, payload, data, base as u64, addresses)?;
    let exports = description
        .export_places()
        .map(|(hash, place)| ExportedAddress {
            hash,
            address: base + place as usize,
        })
        .collect();
    let mut code = Code {
        loaded: None,
        stays: false,
        thread_module: module.map(ManuallyDrop::new),
        finalisers: description.finalisers(),
        base,
        payload_size: shape.payload_size,
        text_size: description.text_size(),
        data_size: shape.data_memory_size,
        exports,
        constants: description.constants(),
        side_tables: side_tables(&description, base),
        process_imports,
        has_initialisers: !description.initialisers().is_empty(),
    };
    let initialisers = description.initialisers();
    let profile = &windows.profile;
    let is_told = profile.is_wanted() || runtime.debugger.is_some();
    let names = is_told.then(|| description.named_places());
    let names: Vec<(usize, String)> = names
        .into_iter()
        .flatten()
        .map(|(name, place)| (base + place as usize, name.to_owned()))
        .collect();
    let indirect = description.indirect();
    let place = span.keep()?;
    code.stays = decided.is_some_and(|decided| decided.publish());
    if profile.is_wanted() {
        let mut names = names.iter().map(|(at, name)| (*at, &**name)).collect();
        // SAFETY: the code is in place.
        unsafe { profile.loaded(code.text(), &mut names) };
    }
    if let Some(debugger) = &runtime.debugger {
        let unwind = unwind
            .as_ref()
            .map(|(_, range)| base + range.start..base + range.end);
        let image = debugger::Image {
            base,
            text: code.text(),
            names,
            unwind,
            tables: code.side_tables.to_vec(),
        };
        // SAFETY: the image is in place, and unloading tells of its end.
        unsafe { debugger.loaded(image) };
    }
    if code.data_size > 0 {
        symbols.placed(code.data());
    }
    // SAFETY: the image is in place for good, and the caller vouches for it.
    let table = unsafe { start(windows, &place, &code, unwind, initialisers, indirect) };
    code.loaded = Some(Loaded { place, table });
    Ok(code)
}

/// An error if these are not the bytes that were stored.
fn compare(found: u64, expected: u64) -> Result<(), LoadError> {
    match found == expected {
        true => Ok(()),
        false => Err(LoadError::Checksum { found, expected }),
    }
}

/// Where the side tables of an image at `base` lie. Nothing is allocated if there are none.
fn side_tables(description: &Description<'_>, base: usize) -> Box<[NamedTable]> {
    let table = |(name, place): (&str, Range<usize>)| NamedTable {
        name: name.into(),
        place: base + place.start..base + place.end,
    };
    description.side_table_places().map(table).collect()
}

/// An error if something is no function of which a stub's address stands for its own.
fn check_functions(description: &Description<'_>, addresses: &[u64]) -> Result<(), LoadError> {
    let mut functions = low::Functions::default();
    for (import, &address) in description.all_imports().zip(addresses) {
        if import.is_function && !functions.has(address as usize) {
            return Err(LoadError::OutOfLowReach {
                symbol: import.name.to_owned(),
            });
        }
    }
    Ok(())
}

/// Adds `base`, which is low, to the four bytes at `place`, or takes it off.
fn add_low(payload: &mut [u8], data: &mut [u8], place: u32, base: u64) -> Option<()> {
    let (place, base) = match place & LOW_SUBTRACTS {
        0 => (place, base as u32),
        _ => (place & !LOW_SUBTRACTS, (base as u32).wrapping_neg()),
    };
    let (area, offset) = match u64::from(place).checked_sub(DATA_DISTANCE) {
        None => (payload, place as usize),
        Some(offset) => (data, offset as usize),
    };
    let field = area.get_mut(offset..)?.first_chunk_mut::<4>()?;
    let sum = u32::from_le_bytes(*field).wrapping_add(base);
    *field = sum.to_le_bytes();
    Some(())
}

/// Writes the initial data and all fixups.
fn apply(
    description: &Description<'_>,
    payload: &mut [u8],
    data: &mut [u8],
    base: u64,
    addresses: &[u64],
) -> Result<(), LoadError> {
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
    for (index, place) in (0..).zip(description.low_fixups()) {
        add_low(payload, data, place, base).ok_or(invalid("low fixup", index))?;
    }
    for (index, (place, import)) in (0..).zip(description.narrow_fixups()) {
        let value = addresses.get(import as usize).copied();
        let word = payload.get_mut(place as usize..);
        let word = word.and_then(|rest| rest.first_chunk_mut::<4>());
        let (Some(value), Some(word)) = (value, word) else {
            return Err(invalid("narrow fixup", index).into());
        };
        narrow::write(MACHINE_HERE, word, value as i64).ok_or_else(|| {
            let import = description.import(import);
            let symbol = import.map_or_else(String::new, |import| import.name.to_owned());
            match import.map(|import| import.kind) {
                Some(ImportKind::Address) => LoadError::OutOfLowReach { symbol },
                _ => LoadError::ThreadLocalDistance { symbol },
            }
        })?;
    }
    Ok(())
}

/// Registers the unwind tables and runs the initialisers.
///
/// # Safety
/// The image of `code` is complete, in place, and trusted; its unwind tables and initialisers lie in
/// the payload where its description says.
unsafe fn start(
    windows: &Windows,
    place: &Place,
    code: &Code,
    unwind: Option<(Unwinder, Range<usize>)>,
    initialisers: Range<usize>,
    indirect: Range<usize>,
) -> Option<Table> {
    // SAFETY: the run view is readable, `keep` left the payload in it, and it is never unmapped or
    // written again.
    let payload: &'static [u8] =
        unsafe { std::slice::from_raw_parts(code.base as *const u8, code.payload_size) };
    let table = unwind.map(|(unwinder, range)| {
        let table = payload.get(range).unwrap_or_default();
        let tables = &windows.tables;
        // SAFETY: the caller vouches for the image, which is where it will stay.
        unsafe { tables.add(unwinder, place.window, code.payload(), table) }
    });
    // SAFETY: the caller vouches for the image, whose unwind table is known by now.
    unsafe { choose_functions(code, indirect) };
    let finalisers = payload.get(code.finalisers.clone()).unwrap_or_default();
    if let (finalisers @ [_, ..], _) = finalisers.as_chunks::<8>() {
        // Before anything that the initialisers register, so that they run after it.
        // SAFETY: the array stays with the image; the caller vouches that it holds functions.
        unsafe { finalise::at_end(finalisers, code.base) };
    }
    let pointers = payload.get(initialisers).unwrap_or_default();
    for pointer in pointers.chunks_exact(8) {
        let address = pointer.try_into().map_or(0, u64::from_le_bytes);
        // Both are conventions for "none", from the days of .ctors.
        if address == 0 || address == u64::MAX {
            continue;
        }
        // The C library passes these to initialisers; there is no command line of an image's own. What
        // one throws goes on to whoever loads: no lock is held here.
        type Initialiser = extern "C-unwind" fn(i32, *const *const u8, *const *const u8);
        // SAFETY: the caller vouches that the array holds functions; those that take no arguments
        // ignore them, as the ABI has it.
        let run = unsafe { std::mem::transmute::<usize, Initialiser>(address as usize) };
        run(0, [std::ptr::null()].as_ptr(), [std::ptr::null()].as_ptr());
    }
    table
}

/// Calls the resolvers of indirect functions, and puts in place of each what it returns.
///
/// # Safety
/// The image of `code` is complete, in place, and trusted; words with the addresses of resolvers lie in
/// its data at `words`, and nothing else uses them yet.
unsafe fn choose_functions(code: &Code, words: Range<usize>) {
    for offset in words.step_by(8) {
        let word = (code.base + DATA_DISTANCE as usize + offset) as *mut usize;
        // SAFETY: the description was validated, so the word lies in the data, which is writable. The
        // caller vouches that it is a resolver: a function without arguments.
        unsafe {
            let resolver = std::mem::transmute::<usize, extern "C-unwind" fn() -> usize>(
                word.read_unaligned(),
            );
            word.write_unaligned(resolver());
        }
    }
}
