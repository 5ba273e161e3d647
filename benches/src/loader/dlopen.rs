//! The system's dynamic linker, on libraries that lld linked beforehand.

use super::work::{Subject, Work, call};
use anyhow::{Context, Result, bail};
use std::ffi::{CStr, CString, c_void};
use std::os::unix::ffi::OsStrExt;

/// `dlopen`, everything bound at once and symbols local: what the other loaders give.
pub(super) struct Dlopen {
    round: usize,
    paths: Vec<CString>,
    open: Vec<*mut c_void>,
}

impl Dlopen {
    pub(super) fn new() -> Self {
        Self {
            round: 0,
            paths: Vec::new(),
            open: Vec::new(),
        }
    }
}

impl Subject for Dlopen {
    fn begin(&mut self, work: &Work) -> Result<()> {
        self.paths.clear();
        for load in 0..work.loads() {
            let libraries = &work.unit(load)?.libraries;
            // The copies in turns: within a round each load has one of its own.
            let copy = (self.round * work.burst + load % work.burst) % libraries.len();
            let path = libraries.get(copy).context("no library")?;
            self.paths.push(CString::new(path.as_os_str().as_bytes())?);
        }
        self.round += 1;
        self.open.reserve(work.loads());
        Ok(())
    }

    fn load_and_call(&mut self, work: &Work, load: usize) -> Result<i64> {
        let unit = work.unit(load)?;
        let path = self.paths.get(load).context("no such path")?;
        // SAFETY: the library is the benchmark's own; it has no initialisers.
        let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if library.is_null() {
            bail!("{}", error());
        }
        self.open.push(library);
        // SAFETY: the handle was just given, and the name ends in a zero.
        let entry = unsafe { libc::dlsym(library, unit.symbol.as_ptr()) };
        if entry.is_null() {
            bail!("{}", error());
        }
        // SAFETY: it is the unit's factory.
        Ok(unsafe { call(entry as usize) })
    }

    fn end(&mut self) -> Result<()> {
        for library in self.open.drain(..).rev() {
            // SAFETY: the handle is open, and nothing of the library is used any more.
            unsafe { libc::dlclose(library) };
        }
        Ok(())
    }
}

/// Opens `library` for all that the process loads later.
pub(crate) fn make_global(library: &CStr) -> Result<()> {
    // SAFETY: the library's initialisers are made to be run like this; it is never closed.
    let opened = unsafe { libc::dlopen(library.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    if opened.is_null() {
        bail!("{}", error());
    }
    Ok(())
}

/// The address of `name` in what is global.
#[cfg(feature = "peers")]
pub(super) fn global(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: the name ends in a zero.
    let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!address.is_null()).then_some(address)
}

/// The dynamic linker's last words.
pub(crate) fn error() -> String {
    // SAFETY: the string is the dynamic linker's, valid until its next call, and copied at once.
    let message = unsafe {
        let message = libc::dlerror();
        (!message.is_null()).then(|| CStr::from_ptr(message))
    };
    message.map_or_else(
        || "no reason given".to_owned(),
        |m| m.to_string_lossy().into_owned(),
    )
}
