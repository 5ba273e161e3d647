//! The handle of loaded code.

use crate::image::DATA_DISTANCE;
use crate::memory::process::ProcessImport;
use crate::memory::room::Place;
use crate::memory::tables::Table;
use crate::tls::Module;
use rekindle_cache_core::{artifact, symbol_hash};
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::sync::Arc;

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
    pub(crate) process_imports: Vec<Arc<ProcessImport>>,
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
    /// none.
    pub fn data(&self) -> Range<usize> {
        let start = self.base + DATA_DISTANCE as usize;
        start..start + self.data_size
    }

    /// The imports that the host's `Symbols` did not know and the process provided, with the modules
    /// that they are in: what the code depends on beside the host's own symbols.
    pub fn process_imports(&self) -> impl ExactSizeIterator<Item = &ProcessImport> {
        self.process_imports.iter().map(|import| &**import)
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
}
