//! LLVM's ORC as its users have it: JITLink as `LLJIT` sets it up by itself, registration of unwind tables
//! included, or RuntimeDyld; and JITDylibs with a view of the process, the least that an object can be given.

use anyhow::{Context, Result};
use rekindle_loader_peers::orc::api::{Api, EXPORTED, Ref, SymbolPair};
use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::null_mut;

/// How ORC is set up.
#[derive(Clone, Copy)]
pub(crate) struct Setup {
    pub(crate) library: &'static CStr,
    /// RuntimeDyld instead of JITLink.
    pub(crate) rtdyld: bool,
    /// One JITDylib for all objects.
    pub(crate) shared: bool,
}

/// An `LLJIT`, once it is started.
pub(crate) struct Jit {
    // Boxed, as the layer's creator gets its address.
    api: Box<Api>,
    setup: Setup,
    jit: Ref,
    session: Ref,
    made: usize,
}

/// A JITDylib.
#[derive(Clone, Copy)]
pub(crate) struct Library(Ref);

impl Library {
    /// None, as long as no JIT is started.
    pub(crate) const NONE: Self = Self(null_mut());
}

impl Jit {
    pub(crate) fn new(setup: Setup) -> Result<Self> {
        let api = Box::new(Api::open(setup.library)?);
        // SAFETY: these may be called any number of times.
        unsafe {
            (api.target_info)();
            (api.target)();
            (api.target_mc)();
            (api.asm_parser)();
            (api.asm_printer)();
        }
        Ok(Self {
            api,
            setup,
            jit: null_mut(),
            session: null_mut(),
            made: 0,
        })
    }

    pub(crate) fn start(&mut self) -> Result<()> {
        // SAFETY: the builder is consumed; the creator gets a pointer that lives as long as `self`.
        unsafe {
            let builder = (self.api.create_builder)();
            if self.setup.rtdyld {
                let context = (&raw const *self.api).cast_mut().cast();
                (self.api.set_layer_creator)(builder, make_rtdyld, context);
            }
            let error = (self.api.create_jit)(&raw mut self.jit, builder);
            self.api.check(error)?;
            self.session = (self.api.session)(self.jit);
        }
        Ok(())
    }

    /// A JITDylib that sees the symbols of the process.
    pub(crate) fn library(&mut self) -> Result<Library> {
        let name = CString::new(format!("library {}", self.made))?;
        self.made += 1;
        let mut generator = null_mut();
        // SAFETY: the session is the JIT's; the name is copied; the generator, once made, is handed on.
        unsafe {
            let library = (self.api.create_library)(self.session, name.as_ptr());
            let none = std::ptr::null();
            let error = (self.api.process_generator)(&raw mut generator, 0, none, none);
            self.api.check(error)?;
            (self.api.add_generator)(library, generator);
            Ok(Library(library))
        }
    }

    /// Gives `library` the host's words.
    pub(crate) fn define(&self, library: Library, words: &[(CString, u64)]) -> Result<()> {
        let pair = |(name, word): &(CString, u64)| SymbolPair {
            // SAFETY: the session is the JIT's; the name is copied.
            name: unsafe { (self.api.intern)(self.session, name.as_ptr()) },
            address: *word,
            generic_flags: EXPORTED,
            target_flags: 0,
        };
        let pairs: Vec<SymbolPair> = words.iter().map(pair).collect();
        // SAFETY: the names are interned and consumed; the unit is consumed by the definition.
        unsafe {
            let unit = (self.api.absolute_symbols)(pairs.as_ptr(), pairs.len());
            Ok(self.api.check((self.api.define)(library.0, unit))?)
        }
    }

    /// Adds a copy of `object`.
    pub(crate) fn add(&self, library: Library, object: &[u8]) -> Result<()> {
        let (start, name) = (object.as_ptr().cast(), c"object".as_ptr());
        // SAFETY: the bytes are copied into the buffer, which is consumed; so is the error.
        unsafe {
            let buffer = (self.api.memory_buffer)(start, object.len(), name);
            let error = (self.api.add_object)(self.jit, library.0, buffer);
            Ok(self.api.check(error)?)
        }
    }

    /// Adds `object` as it lies.
    ///
    /// # Safety
    /// The bytes stay where they are until [`Self::dispose`].
    pub(crate) unsafe fn add_borrowed(&self, library: Library, object: &[u8]) -> Result<()> {
        let (start, name) = (object.as_ptr().cast(), c"object".as_ptr());
        // SAFETY: the buffer does not own the bytes, which outlive the JIT; it is consumed, as is the error.
        unsafe {
            let buffer = (self.api.borrowing_buffer)(start, object.len(), name, 0);
            let error = (self.api.add_object)(self.jit, library.0, buffer);
            Ok(self.api.check(error)?)
        }
    }

    /// The address of `symbol`; links what it needs.
    pub(crate) fn look_up(&self, library: Library, symbol: &CStr) -> Result<usize> {
        // SAFETY: the library is the session's, which has no dispatcher of its own; the name is copied when it is
        // interned.
        let address = unsafe {
            let name = (self.api.intern)(self.session, symbol.as_ptr());
            self.api.find(self.session, library.0, &[name])
        }?;
        usize::try_from(address).context("no address")
    }

    /// Ends what was started, and all that it has loaded.
    pub(crate) fn dispose(&mut self) -> Result<()> {
        let jit = std::mem::replace(&mut self.jit, null_mut());
        // SAFETY: the JIT is ours, and nothing of what it loaded is used any more.
        unsafe {
            let error = (self.api.dispose_jit)(jit);
            Ok(self.api.check(error)?)
        }
    }
}

extern "C" fn make_rtdyld(api: *mut c_void, session: Ref, _triple: *const c_char) -> Ref {
    // SAFETY: `api` is the boxed one of the JIT that made the builder, which is still there.
    unsafe {
        let api = &*api.cast::<Api>();
        (api.rtdyld_layer)(session)
    }
}
