//! Symbols of the process, and which module provides each: the last place where a name is looked up.

use crate::modules::{Module, module_of, modules};
use rekindle_cache_core::Digest;
use rustc_hash::FxHashMap;
use std::ffi::CString;
use std::sync::Mutex;

/// The process's own symbols, each resolved once.
#[derive(Debug, Default)]
pub(crate) struct Process {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    modules: Vec<Module>,
    found: FxHashMap<u64, (Box<str>, Provided)>,
}

/// A symbol's address and the module that it lies in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Provided {
    pub(crate) address: u64,
    pub(crate) module: ProviderName,
}

/// The module that provides a symbol, as manifests name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum ProviderName {
    /// The executable, which is part of the environment.
    Executable,
    /// A library, by the name of its file without folders.
    Library(String),
}

impl Process {
    /// Looks `name` up as the dynamic linker would for the executable.
    pub(crate) fn find(&self, hash: u64, name: &str) -> Option<Provided> {
        let mut state = crate::lock(&self.state);
        if let Some((known, provided)) = state.found.get(&hash)
            && **known == *name
        {
            return Some(provided.clone());
        }
        let c_name = CString::new(name).ok()?;
        // SAFETY: `dlsym` reads the C string during the call; RTLD_DEFAULT asks the modules that are
        // loaded and runs nothing but a resolver that the module's own author provided.
        let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c_name.as_ptr()) } as u64;
        if address == 0 {
            return None;
        }
        let module = state.module(|modules| module_of(modules, address))?;
        let provided = Provided {
            address,
            module: ProviderName::of(&module),
        };
        state.found.insert(hash, (name.into(), provided.clone()));
        Some(provided)
    }

    /// The identity of a library that is loaded now; `None` if it is not, or cannot be told.
    pub(crate) fn identity(&self, library: &str) -> Option<Digest> {
        let name = ProviderName::Library(library.to_owned());
        let mut state = crate::lock(&self.state);
        let module = state.module(|modules| {
            modules
                .iter()
                .find(|&module| ProviderName::of(module) == name)
        })?;
        module.identity().ok()
    }
}

impl State {
    /// The module that `pick` finds, in the list as it was or, failing that, as it is now.
    fn module(&mut self, pick: impl Fn(&[Module]) -> Option<&Module>) -> Option<Module> {
        if let Some(module) = pick(&self.modules) {
            return Some(module.clone());
        }
        self.modules = modules();
        pick(&self.modules).cloned()
    }
}

impl ProviderName {
    pub(crate) fn of(module: &Module) -> Self {
        if module.is_executable() {
            return Self::Executable;
        }
        let file = module.path.rsplit('/').next().unwrap_or(&module.path);
        Self::Library(file.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rekindle_cache_core::symbol_hash;

    #[test]
    fn symbols_are_found_with_their_module_and_unknown_ones_are_not() {
        let process = Process::default();
        let find = |name: &str| process.find(symbol_hash(name), name);
        let strlen = find("strlen").expect("libc provides it");
        assert_eq!(find("strlen"), Some(strlen.clone()));
        let ProviderName::Library(library) = strlen.module else {
            panic!("strlen is in a library");
        };
        assert!(library.starts_with("libc.so"));
        assert!(process.identity(&library).is_some());
        assert_eq!(process.identity("libnothing.so"), None);
        assert_eq!(find("rekindle_no_such_symbol"), None);
        assert_eq!(find("with\0nul"), None);
    }
}
