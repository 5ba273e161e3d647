//! Symbols that this process's modules provide, each looked up once.
//!
//! `dlsym` costs a microsecond or two, and an image of C or C++ names a handful of the same functions
//! again and again. A module that has provided a symbol is pinned: it can no longer be unloaded, or
//! its addresses in loaded code would dangle. So what was found is true for good, and stays in memory for
//! good: loads share it without counting, and outlive their loader.
//!
//! A large image names a hundred symbols, and after other work each of their names is in no cache. So
//! names are not compared: the table has a second hash of each, of another kind, beside the one that
//! images have.

use crate::image::ImportedName;
use rustc_hash::{FxHashMap, FxHasher};
use std::ffi::{CStr, CString, OsStr};
use std::hash::Hasher;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// A symbol that the dynamic linker found, and where.
#[derive(Debug)]
pub struct ProcessImport {
    name: Box<str>,
    address: usize,
    module: Option<Module>,
}

/// A module of this process: the executable or a shared library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    path: PathBuf,
    base: usize,
}

impl ProcessImport {
    /// The symbol's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address in this process.
    pub fn address(&self) -> usize {
        self.address
    }

    /// The module that it is in; `None` if the dynamic linker cannot tell.
    pub fn module(&self) -> Option<&Module> {
        self.module.as_ref()
    }
}

impl Module {
    /// The module's file, as the dynamic linker names it; for the executable, the name that it was
    /// started by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The address that it is loaded at.
    pub fn base(&self) -> usize {
        self.base
    }
}

/// The symbols that were found so far, by hash.
#[derive(Default)]
pub(crate) struct ProcessSymbols {
    found: Mutex<FxHashMap<u64, Known>>,
}

/// A symbol that was found: what a load needs of it, in one place.
#[derive(Clone, Copy)]
struct Known {
    second_hash: u64,
    address: usize,
    symbol: &'static ProcessImport,
}

impl ProcessSymbols {
    /// Gives `then` the numbers, addresses and symbols of those of `names` that were found before, and
    /// returns the others.
    pub(crate) fn find_known<'n>(
        &self,
        names: impl Iterator<Item = (u32, ImportedName<'n>)>,
        mut then: impl FnMut(u32, usize, &'static ProcessImport),
    ) -> Vec<(u32, ImportedName<'n>)> {
        let mut others = Vec::new();
        self.lock(|found| {
            for (number, import) in names {
                match known(found, import.hash, import.name) {
                    Some(known) => then(number, known.address, known.symbol),
                    None => others.push((number, import)),
                }
            }
        });
        others
    }

    /// The symbol `name`, whose hash is `hash`. Absence is not remembered: a library that has it may
    /// be loaded any time.
    pub(crate) fn find(&self, hash: u64, name: &str) -> Option<&'static ProcessImport> {
        if let Some(known) = self.lock(|found| known(found, hash, name)) {
            return Some(known.symbol);
        }
        let symbol: &ProcessImport = Box::leak(Box::new(look_up(name)?));
        let known = Known {
            second_hash: second_hash(name),
            address: symbol.address,
            symbol,
        };
        self.lock(|found| found.insert(hash, known));
        Some(symbol)
    }

    fn lock<R>(&self, then: impl FnOnce(&mut FxHashMap<u64, Known>) -> R) -> R {
        then(&mut self.found.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn known(found: &FxHashMap<u64, Known>, hash: u64, name: &str) -> Option<Known> {
    let known = found.get(&hash).copied();
    known.filter(|known| known.second_hash == second_hash(name))
}

/// Tells names apart that have the same hash.
pub(crate) fn second_hash(name: &str) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(name.as_bytes());
    hasher.finish()
}

/// How often a symbol is looked for that somebody else moves from library to library.
pub(crate) const TRIES: usize = 16;

fn look_up(name: &str) -> Option<ProcessImport> {
    let found = |address, module| ProcessImport {
        name: name.into(),
        address,
        module,
    };
    if let Some(address) = provided(name) {
        return Some(found(address, module_of(address)));
    }
    let symbol = CString::new(name).ok()?;
    let mut address = address_of(&symbol)?;
    for _ in 0..TRIES {
        let module = module_of(address);
        if let Some(module) = &module {
            pin(module);
        }
        // Another thread may have closed the library before it was pinned, and even opened another.
        let again = address_of(&symbol)?;
        if again == address {
            return Some(found(address, module));
        }
        address = again;
    }
    None
}

/// Names that C code uses but the dynamic linker does not offer, as glibc links them into each module,
/// and those whose calls have to be told apart by image.
fn provided(name: &str) -> Option<usize> {
    match name {
        "atexit" => Some(super::finalise::atexit as *const () as usize),
        "__cxa_atexit" => Some(super::finalise::cxa_atexit as *const () as usize),
        _ => None,
    }
}

/// The address that the dynamic linker gives for `name`, searching as for the executable itself.
pub(crate) fn address_of(name: &CStr) -> Option<usize> {
    // SAFETY: `name` ends in a zero byte; `RTLD_DEFAULT` is a handle that is always valid.
    let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!address.is_null()).then_some(address as usize)
}

/// The module that `address` lies in.
pub(crate) fn module_of(address: usize) -> Option<Module> {
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: `dladdr` takes any address and fills `info` if it returns anything but zero; a zeroed
    // `Dl_info` is valid in any case.
    let info = unsafe {
        let found = libc::dladdr(address as *const libc::c_void, info.as_mut_ptr());
        (found != 0).then(|| info.assume_init())
    }?;
    if info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: `dli_fname` is a string of the dynamic linker's, which lives as long as the module; it
    // is copied at once.
    let path = unsafe { CStr::from_ptr(info.dli_fname) };
    Some(Module {
        path: OsStr::from_bytes(path.to_bytes()).into(),
        base: info.dli_fbase as usize,
    })
}

/// Keeps the module from being unloaded. Fails, and need not succeed, for the executable.
fn pin(module: &Module) {
    let Ok(path) = CString::new(module.path.as_os_str().as_bytes()) else {
        return;
    };
    let flags = libc::RTLD_LAZY | libc::RTLD_NOLOAD | libc::RTLD_NODELETE;
    // SAFETY: `RTLD_NOLOAD` loads nothing, so no initialiser runs; the handle is kept for ever.
    unsafe { libc::dlopen(path.as_ptr(), flags) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use rekindle_cache_core::symbol_hash;

    #[test]
    fn a_symbol_is_found_once_and_with_its_module() {
        let symbols = ProcessSymbols::default();
        let find = |name| symbols.find(symbol_hash(name), name);
        let first = find("strlen").expect("every process has strlen");
        let again = find("strlen").expect("it was just found");
        assert!(std::ptr::eq(first, again));
        let module = first.module().expect("it is in a module");
        assert!(
            module.path().to_string_lossy().contains("libc"),
            "{module:?}"
        );
        assert!(first.address() > module.base());
        assert!(find("rekindle_no_such_symbol").is_none());
        assert!(find("name\0with a zero").is_none());
    }

    #[test]
    fn a_hash_that_two_names_share_is_told_apart() {
        let symbols = ProcessSymbols::default();
        let strlen = symbols.find(1, "strlen").expect("every process has strlen");
        let memcpy = symbols.find(1, "memcpy").expect("every process has memcpy");
        assert_eq!(memcpy.name(), "memcpy");
        assert_ne!(strlen.address(), memcpy.address());
    }
}
