//! LLVM's ORC: with JITLink or RuntimeDyld, a JITDylib per object or one for all.
//!
//! JITLink is set up by `LLJIT` itself, as its users have it: registration of unwind tables included.
//! A bare JITDylib with a view of the process is the least that an object can be given.

use super::work::{Subject, Unit, Work, call};
use anyhow::{Context, Result};
use rekindle_loader_peers::orc::api::{Api, ErrorRef, LookupName, Ref, SearchOrder, SymbolPair};
use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::null_mut;

/// How ORC is set up.
#[derive(Clone, Copy)]
pub(super) struct Setup {
    pub(super) library: &'static CStr,
    /// RuntimeDyld instead of JITLink.
    pub(super) rtdyld: bool,
    /// One JITDylib for all objects.
    pub(super) shared: bool,
}

/// A JIT of ORC's, made anew for each round.
pub(super) struct Orc {
    // Boxed, as the layer's creator gets its address.
    api: Box<Api>,
    setup: Setup,
    jit: Ref,
    session: Ref,
    common: Ref,
    made: usize,
}

impl Orc {
    pub(super) fn new(setup: Setup) -> Result<Self> {
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
            common: null_mut(),
            made: 0,
        })
    }

    /// A JITDylib that sees the symbols of the process.
    fn library(&mut self) -> Result<Ref> {
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
            Ok(library)
        }
    }

    fn look_up(&self, library: Ref, unit: &Unit) -> Result<usize> {
        let mut found = Found {
            address: 0,
            error: null_mut(),
        };
        // SAFETY: the pointers are valid for the call, which ends after `receive` was called: without
        // a dispatcher of its own the session does everything on this thread. The name is consumed.
        unsafe {
            let order = SearchOrder { library, flags: 0 };
            let name = LookupName {
                name: (self.api.intern)(self.session, unit.symbol.as_ptr()),
                flags: 0,
            };
            let context = (&raw mut found).cast();
            (self.api.look_up)(
                self.session,
                0,
                &raw const order,
                1,
                &raw const name,
                1,
                receive,
                context,
            );
        }
        // SAFETY: LLVM gave the error just now.
        unsafe { self.api.check(found.error) }?;
        usize::try_from(found.address).context("no address")
    }
}

struct Found {
    address: u64,
    error: ErrorRef,
}

extern "C" fn receive(
    error: ErrorRef,
    result: *const SymbolPair,
    count: usize,
    found: *mut c_void,
) {
    let found = found.cast::<Found>();
    // SAFETY: `found` is what `look_up` passed and waits for; LLVM gives `count` results.
    unsafe {
        (*found).error = error;
        if error.is_null() && count > 0 {
            (*found).address = (*result).address;
        }
    }
}

extern "C" fn make_rtdyld(api: *mut c_void, session: Ref, _triple: *const c_char) -> Ref {
    // SAFETY: `api` is the boxed one of the subject that made the builder, which is still there.
    unsafe {
        let api = &*api.cast::<Api>();
        (api.rtdyld_layer)(session)
    }
}

impl Subject for Orc {
    fn begin(&mut self, _work: &Work) -> Result<()> {
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
        if self.setup.shared {
            self.common = self.library()?;
        }
        Ok(())
    }

    /// A JITDylib holds a name once, so that the one for all is made anew.
    fn again(&mut self, work: &Work) -> Result<()> {
        if self.setup.shared {
            self.end()?;
            self.begin(work)?;
        }
        Ok(())
    }

    fn load_and_call(&mut self, work: &Work, load: usize) -> Result<i64> {
        let unit = work.unit(load)?;
        let library = if self.setup.shared {
            self.common
        } else {
            self.library()?
        };
        let name = c"object".as_ptr();
        // SAFETY: the buffer does not own the bytes, which outlive the JIT; it is consumed.
        let error = unsafe {
            let start = unit.object.as_ptr().cast();
            let buffer = (self.api.borrowing_buffer)(start, unit.object.len(), name, 0);
            (self.api.add_object)(self.jit, library, buffer)
        };
        // SAFETY: LLVM gave the error just now.
        unsafe { self.api.check(error) }?;
        let entry = self.look_up(library, unit)?;
        // SAFETY: it is the unit's factory.
        Ok(unsafe { call(entry) })
    }

    fn end(&mut self) -> Result<()> {
        let jit = std::mem::replace(&mut self.jit, null_mut());
        // SAFETY: the JIT is ours, and nothing of what it loaded is used any more.
        unsafe {
            let error = (self.api.dispose_jit)(jit);
            Ok(self.api.check(error)?)
        }
    }
}
