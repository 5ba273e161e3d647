//! The handle of loaded code.

use crate::image::DATA_DISTANCE;
use crate::memory::process::ProcessImport;
use crate::memory::room::Place;
use crate::memory::tables::Table;
use crate::tls::Module;
use rekindle_cache_core::{artifact, symbol_hash};
use std::mem::ManuallyDrop;
use std::ops::Range;

/// Code that [`NativeLoader`](crate::NativeLoader) loaded.
///
/// Dropping it frees the handle alone: the code stays for the life of the process, unless a host that
/// can vouch for its end [unloads](crate::NativeLoader::unload) it.
#[derive(Debug)]
pub struct Code {
    /// What unloading needs; `None` while it is being loaded.
    pub(crate) loaded: Option<Loaded>,
    /// Others may refer to it, so that it must never go: it provides what is one per process.
    pub(crate) stays: bool,
    /// Its number as a module of thread-locals, which unloading gives back and nothing else.
    pub(crate) thread_module: Option<ManuallyDrop<Module>>,
    /// Where the pointers to its finalisers lie in the payload.
    pub(crate) finalisers: Range<usize>,
    pub(crate) base: usize,
    pub(crate) payload_size: usize,
    pub(crate) text_size: usize,
    pub(crate) data_size: usize,
    pub(crate) exports: Box<[ExportedAddress]>,
    /// In the data.
    pub(crate) constants: Range<usize>,
    pub(crate) side_tables: Box<[NamedTable]>,
    pub(crate) process_imports: Vec<&'static ProcessImport>,
    /// It runs something when it is loaded.
    pub(crate) has_initialisers: bool,
}

/// Where an image lies, and how the unwinder knows it.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) place: Place,
    pub(crate) table: Option<Table>,
}

/// An export, known by its hash: names are not kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExportedAddress {
    pub(crate) hash: u64,
    pub(crate) address: usize,
}

/// A table that goes with the code, and where it lies.
#[derive(Debug, Clone)]
pub(crate) struct NamedTable {
    pub(crate) name: Box<str>,
    pub(crate) place: Range<usize>,
}

impl Code {
    /// Addresses of the machine code, stubs included: for profilers, samplers and stack walkers.
    pub fn text(&self) -> Range<usize> {
        self.base..self.base + self.text_size
    }

    /// Addresses of everything that is read-only: the code, then slots, constants and unwind tables.
    pub fn payload(&self) -> Range<usize> {
        self.base..self.base + self.payload_size
    }

    /// Addresses of the writable data, which a collecting host may have to scan; empty if there is
    /// none. Constant slots are among it; what the code has for each thread is not: see
    /// [`thread_data`](Self::thread_data).
    pub fn data(&self) -> Range<usize> {
        let start = self.base + DATA_DISTANCE as usize;
        start..start + self.data_size
    }

    /// Addresses of the words that stand for objects of the host's: what the objects had in sections
    /// `.rekindle.constants`, of eight bytes each. A host whose collector moves objects may write new
    /// addresses there at any time at which the code does not run; code has to read them anew each time.
    pub fn constant_slots(&self) -> impl ExactSizeIterator<Item = *mut u64> + use<> {
        let start = self.data().start + self.constants.start;
        let count = self.constants.len() / 8;
        (0..count).map(move |number| (start + 8 * number) as *mut u64)
    }

    /// Addresses of what this thread has of the code's thread-locals; `None` if the code has none, or
    /// the thread has not used them yet.
    pub fn thread_data(&self) -> Option<Range<usize>> {
        self.thread_module.as_ref()?.block_of_this_thread()
    }

    /// The tables that came with the code in sections of the objects, by name: stack maps, traps, source
    /// positions. A section `.rekindle.side.NAME` is the table `NAME`; LLVM's `.llvm_stackmaps` and
    /// `.llvm_faultmaps` go by their own names. References in them are resolved. Several objects can
    /// each have one of a name; each is its own table here.
    pub fn side_tables(&self) -> impl ExactSizeIterator<Item = (&str, &[u8])> {
        self.side_tables.iter().map(|table| {
            let size = table.place.len();
            // SAFETY: the table lies in the payload, which is readable and not written while the code
            // is there; unloading takes `self`.
            let bytes = unsafe { std::slice::from_raw_parts(table.place.start as *const u8, size) };
            (&*table.name, bytes)
        })
    }

    /// The first of the [side tables](Self::side_tables) with a name.
    pub fn side_table(&self, name: &str) -> Option<&[u8]> {
        let mut tables = self.side_tables();
        tables.find_map(|(other, bytes)| (other == name).then_some(bytes))
    }

    /// The imports that the host's `Symbols` did not know and the process provided, with the modules
    /// that they are in: what the code depends on beside the host's own symbols.
    pub fn process_imports(&self) -> impl ExactSizeIterator<Item = &ProcessImport> {
        self.process_imports.iter().copied()
    }
}

impl artifact::Code for Code {
    fn symbol(&self, name: &str) -> Option<*const u8> {
        let hash = symbol_hash(name);
        let export = self.exports.iter().find(|export| export.hash == hash)?;
        Some(export.address as *const u8)
    }

    fn size(&self) -> usize {
        self.payload_size + self.data_size
    }

    fn may_be_shared(&self) -> bool {
        self.data_size == 0
            && self.thread_module.is_none()
            && !self.stays
            && !self.has_initialisers
            && self.finalisers.is_empty()
    }

    fn for_each_export(&self, each: &mut dyn FnMut(u64, *const u8)) {
        for export in &self.exports {
            each(export.hash, export.address as *const u8);
        }
    }
}
