//! Thread-locals of the host's own modules, as the dynamic linker knows them.

use super::descriptor::thread_pointer;
use crate::memory::process::{TRIES, address_of};
use std::ffi::{CStr, CString, c_int, c_void};
use std::sync::{Mutex, PoisonError};

/// A thread-local of a module of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HostVariable {
    /// The dynamic linker's number for the module.
    pub(crate) module: u64,
    /// The variable's offset in the module's block.
    pub(crate) offset: u64,
    /// An address in the module.
    pub(crate) place: u64,
}

/// The variables that were found, and their distances from the thread pointer where that was asked for.
#[derive(Default)]
pub(crate) struct HostVariables {
    found: Mutex<Vec<Known>>,
}

struct Known {
    name: Box<str>,
    variable: HostVariable,
    /// `Some(None)`: it differs between threads.
    distance: Option<Option<u64>>,
}

impl HostVariables {
    /// The variable `name`, if a module has one.
    pub(crate) fn find(&self, name: &str) -> Option<HostVariable> {
        let find = |found: &mut Vec<Known>| {
            let known = found.iter().find(|known| &*known.name == name);
            known.map(|known| known.variable)
        };
        if let Some(known) = self.lock(find) {
            return Some(known);
        }
        let variable = look_up(name)?;
        self.lock(|found| {
            found.push(Known {
                name: name.into(),
                variable,
                distance: None,
            });
        });
        Some(variable)
    }

    /// The distance of the variable `name`, which was found before, from the thread pointer, if that
    /// is the same in all threads.
    pub(crate) fn distance(&self, name: &str) -> Option<u64> {
        let find = |found: &mut Vec<Known>| {
            let known = found.iter().find(|known| &*known.name == name);
            known.and_then(|known| known.distance)
        };
        if let Some(known) = self.lock(find) {
            return known;
        }
        // A module that was there when the program started lies at one distance in every thread; one
        // that came later has a block somewhere else in each. Another thread tells which it is.
        let symbol = CString::new(name).ok()?;
        let distance =
            |symbol: &CStr| Some((address_of(symbol)? as u64).wrapping_sub(thread_pointer()));
        let here = distance(&symbol);
        let there = std::thread::Builder::new()
            .spawn(move || distance(&symbol))
            .ok()
            .and_then(|thread| thread.join().ok()?);
        let known = here.filter(|_| here == there);
        self.lock(|found| {
            if let Some(entry) = found.iter_mut().find(|known| &*known.name == name) {
                entry.distance = Some(known);
            }
        });
        known
    }

    fn lock<R>(&self, then: impl FnOnce(&mut Vec<Known>) -> R) -> R {
        then(&mut self.found.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The variable `name` in a module that stays in the process from now on.
fn look_up(name: &str) -> Option<HostVariable> {
    let symbol = CString::new(name).ok()?;
    let mut search = module_with(&symbol)?;
    for _ in 0..TRIES {
        let is_kept = search.module.as_deref().is_none_or(keep);
        // Another thread may have closed the library before it was kept, and even opened another, which then
        // has its number.
        let again = module_with(&symbol)?;
        if again.found == search.found && again.module == search.module {
            return search.found.filter(|_| is_kept);
        }
        search = again;
    }
    None
}

/// The dynamic linker gives this thread's address of a thread-local; the module is the one in whose
/// block that lies.
fn module_with(symbol: &CStr) -> Option<Search> {
    let mut search = Search {
        address: address_of(symbol)?,
        found: None,
        module: None,
    };
    // SAFETY: the callback has the signature that is asked for, and `search` lives through the call.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut search).cast()) };
    Some(search)
}

/// Keeps a module in the process, as code may refer to it for ever; `false` if it is not there.
fn keep(path: &CStr) -> bool {
    if path.is_empty() {
        return true;
    }
    let flags = libc::RTLD_LAZY | libc::RTLD_NOLOAD | libc::RTLD_NODELETE;
    // SAFETY: nothing is loaded, so no initialiser runs.
    unsafe { !libc::dlopen(path.as_ptr(), flags).is_null() }
}

struct Search {
    address: usize,
    found: Option<HostVariable>,
    module: Option<CString>,
}

unsafe extern "C" fn visit(
    info: *mut libc::dl_phdr_info,
    size: libc::size_t,
    search: *mut c_void,
) -> c_int {
    if size < size_of::<libc::dl_phdr_info>() {
        return 1;
    }
    // SAFETY: the dynamic linker passes a module's description, of the size that was just checked, and
    // `look_up` its own search.
    let (info, search) = unsafe { (&*info, &mut *search.cast::<Search>()) };
    if info.dlpi_tls_data.is_null() || info.dlpi_phdr.is_null() {
        return 0;
    }
    // SAFETY: the description's headers stay while the callback runs.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let Some(header) = headers.iter().find(|header| header.p_type == libc::PT_TLS) else {
        return 0;
    };
    let offset = search.address.wrapping_sub(info.dlpi_tls_data as usize);
    if offset >= header.p_memsz as usize {
        return 0;
    }
    search.found = Some(HostVariable {
        module: info.dlpi_tls_modid as u64,
        offset: offset as u64,
        place: info.dlpi_addr.wrapping_add(header.p_vaddr),
    });
    if !info.dlpi_name.is_null() {
        // SAFETY: the dynamic linker's name of the module is a string.
        search.module = Some(unsafe { CStr::from_ptr(info.dlpi_name) }.to_owned());
    }
    1
}
