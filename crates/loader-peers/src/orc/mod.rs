//! LLVM's ORC, with JITLink or RuntimeDyld.
//!
//! The image is the object; all of the linking is done each time it is loaded. Each image has a
//! `JITDylib` of its own, in which the host's words are absolute symbols and a generator finds what is
//! left in the process. A bare `JITDylib` runs no initialisers and has no thread-locals; LLVM's own
//! platform, which does, needs a runtime library that is not part of LLVM's.

pub mod api;

use crate::error::PeerError;
use crate::outside::{check_roots, checked_copy, given, loaded_size};
use crate::process::terminated;
use api::{Api, EXPORTED, Ref, SymbolPair};
pub use api::{LLVM_19, LLVM_22};
use object::{Object as _, ObjectSymbol as _};
use rekindle_cache_core::artifact::{Code, FormatId, Image, ImageRef, Loader, Symbols};
use std::ffi::{CStr, c_char, c_void};
use std::ptr::{null, null_mut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What links within ORC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linker {
    /// The newer one, which `LLJIT` takes by itself.
    JitLink,
    /// The older one.
    RuntimeDyld,
}

/// LLVM's ORC as a loader. What it has loaded stays for the life of the process.
pub struct OrcLoader {
    jit: Arc<Jit>,
    images: AtomicU64,
}

/// Code that ORC has loaded.
pub struct OrcCode {
    jit: Arc<Jit>,
    library: Ref,
    size: usize,
}

/// An `LLJIT`, which is never disposed of: its code may be running.
struct Jit {
    api: Api,
    jit: Ref,
    session: Ref,
}

// SAFETY: LLVM's `ExecutionSession` and `LLJIT` take their own locks; everything here goes through them.
unsafe impl Send for Jit {}
// SAFETY: as above.
unsafe impl Sync for Jit {}
// SAFETY: a `JITDylib` belongs to its session, whose locks guard it.
unsafe impl Send for OrcCode {}
// SAFETY: as above.
unsafe impl Sync for OrcCode {}

impl OrcLoader {
    /// Starts an `LLJIT` of the LLVM that `library` names, such as [`LLVM_22`].
    ///
    /// # Errors
    /// The library is not there, or LLVM cannot make code for this machine.
    pub fn new(library: &CStr, linker: Linker) -> Result<Self, PeerError> {
        let api = Api::open(library)?;
        let mut jit = null_mut();
        // SAFETY: the initialisers may be called any number of times; the builder is consumed; the layer's
        // creator is called while the JIT is made, and has its context until then.
        let error = unsafe {
            (api.target_info)();
            (api.target)();
            (api.target_mc)();
            (api.asm_parser)();
            (api.asm_printer)();
            let builder = (api.create_builder)();
            if linker == Linker::RuntimeDyld {
                let context = (&raw const api).cast_mut().cast();
                (api.set_layer_creator)(builder, make_runtime_dyld, context);
            }
            (api.create_jit)(&raw mut jit, builder)
        };
        // SAFETY: LLVM gave the error just now.
        unsafe { api.check(error) }?;
        // SAFETY: the JIT was made just now.
        let session = unsafe { (api.session)(jit) };
        Ok(Self {
            jit: Arc::new(Jit { api, jit, session }),
            images: AtomicU64::new(0),
        })
    }
}

impl Jit {
    /// A `JITDylib` that has the host's words and, after them, the symbols of the process.
    fn library(&self, number: u64, given: &[(&str, u64)]) -> Result<Ref, PeerError> {
        let name = terminated(&format!("image {number}"))?;
        let mut generator = null_mut();
        // SAFETY: the session lives as long as the JIT; the name is copied; the generator, once made, is
        // handed on.
        let library = unsafe {
            let library = (self.api.create_library)(self.session, name.as_ptr());
            let error = (self.api.process_generator)(&raw mut generator, 0, null(), null());
            self.api.check(error)?;
            (self.api.add_generator)(library, generator);
            library
        };
        let mut pairs = Vec::with_capacity(given.len());
        for (name, word) in given {
            pairs.push(SymbolPair {
                name: self.intern(name)?,
                address: *word,
                generic_flags: EXPORTED,
                target_flags: 0,
            });
        }
        if !pairs.is_empty() {
            // SAFETY: the names are interned and consumed; the unit is consumed by the definition.
            let error = unsafe {
                let unit = (self.api.absolute_symbols)(pairs.as_ptr(), pairs.len());
                (self.api.define)(library, unit)
            };
            // SAFETY: LLVM gave the error just now.
            unsafe { self.api.check(error) }?;
        }
        Ok(library)
    }

    fn intern(&self, name: &str) -> Result<Ref, PeerError> {
        let name = terminated(name)?;
        // SAFETY: the session lives as long as the JIT; the name is copied.
        Ok(unsafe { (self.api.intern)(self.session, name.as_ptr()) })
    }

    /// The address of the first of `names`; links what they all need.
    fn look_up(&self, library: Ref, names: &[&str]) -> Result<u64, PeerError> {
        let names: Vec<_> = names
            .iter()
            .map(|name| self.intern(name))
            .collect::<Result<_, _>>()?;
        // SAFETY: library and names are the session's, which has no dispatcher of its own.
        unsafe { self.api.find(self.session, library, &names) }
    }
}

extern "C" fn make_runtime_dyld(api: *mut c_void, session: Ref, _triple: *const c_char) -> Ref {
    // SAFETY: `api` is that of the loader which is being made.
    unsafe {
        let api = &*api.cast::<Api>();
        (api.rtdyld_layer)(session)
    }
}

impl Loader for OrcLoader {
    type Code = OrcCode;
    type Error = PeerError;

    fn format(&self) -> FormatId {
        FormatId {
            name: "object for ORC",
            version: 1,
        }
    }

    fn prepare(&self, object: &[u8], roots: &[&str]) -> Result<Image, PeerError> {
        check_roots(&object::File::parse(object)?, roots)?;
        Ok(Image::new(object.to_vec()))
    }

    unsafe fn load(
        &self,
        image: ImageRef<'_>,
        symbols: &dyn Symbols,
    ) -> Result<OrcCode, PeerError> {
        let copy = checked_copy(image)?;
        let file = object::File::parse(&*copy)?;
        let number = self.images.fetch_add(1, Ordering::Relaxed);
        let given = given(file.symbols(), symbols)?;
        let library = self.jit.library(number, &given)?;
        let api = &self.jit.api;
        // SAFETY: the bytes are copied into the buffer, which is consumed.
        let error = unsafe {
            let buffer = (api.memory_buffer)(copy.as_ptr().cast(), copy.len(), c"image".as_ptr());
            (api.add_object)(self.jit.jit, library, buffer)
        };
        // SAFETY: LLVM gave the error just now.
        unsafe { api.check(error) }?;
        let exports: Vec<&str> = (file.symbols())
            .filter(|symbol| symbol.is_global() && symbol.is_definition())
            .filter(|symbol| symbol.scope() == object::SymbolScope::Dynamic)
            .filter_map(|symbol| symbol.name().ok())
            .collect();
        self.jit.look_up(library, &exports)?;
        Ok(OrcCode {
            jit: Arc::clone(&self.jit),
            library,
            size: loaded_size(&file),
        })
    }
}

impl Code for OrcCode {
    fn symbol(&self, name: &str) -> Option<*const u8> {
        let address = self.jit.look_up(self.library, &[name]).ok()?;
        Some(usize::try_from(address).ok()? as *const u8)
    }

    fn size(&self) -> usize {
        self.size
    }
}
