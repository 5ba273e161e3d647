//! Symbols of the process, and which module provides each: the last place where a name is looked up.

use crate::modules::{Census, Module, module_of, modules};
use rekindle_cache_core::Digest;
use rustc_hash::{FxHashMap, FxHasher};
use std::collections::BTreeSet;
use std::ffi::CString;
use std::hash::Hasher as _;
use std::ops::Range;
use std::sync::{Arc, Mutex};

/// The process's own symbols, each resolved once.
#[derive(Debug, Default)]
pub(crate) struct Process {
    found: Mutex<FxHashMap<u64, Known>>,
    listed: Mutex<Option<Listed>>,
    /// What no module has, told faster than by the dynamic linker.
    names: rekindle_loader::Modules,
    /// Modules that have provided something and are in the process for good.
    pinned: Mutex<Vec<Pinned>>,
}

/// A symbol that was found.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// Of the name, which itself would be in no cache of the processor's when an image of C++ asks for a hundred.
    second_hash: u64,
    provided: Provided,
}

/// The modules at one time, which is now as long as none comes or goes.
#[derive(Debug)]
struct Listed {
    census: Census,
    modules: Arc<[Module]>,
    /// What those were that were asked for by name.
    identities: FxHashMap<Box<str>, Option<Digest>>,
}

/// A module that no one can unload any more.
#[derive(Debug)]
struct Pinned {
    addresses: Range<u64>,
    provider: &'static Provider,
}

/// A symbol's address and the module that it lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Provided {
    pub(crate) address: u64,
    /// One for all that a module provides, for good as the module itself.
    pub(crate) provider: &'static Provider,
}

/// A module that provides symbols: one build of one file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Provider {
    /// The name of its file without folders, as manifests name it; empty for the executable, which is
    /// always a part of the environment.
    pub(crate) name: String,
    /// What tells its build from others; `None` where that cannot be told.
    pub(crate) identity: Option<Digest>,
}

impl Process {
    /// Looks `name` up as the dynamic linker would for the executable. The module that provides it stays
    /// in the process from then on.
    pub(crate) fn find(&self, hash: u64, name: &str) -> Option<Provided> {
        let second_hash = second_hash(name);
        let known = self.known(hash, second_hash);
        known.or_else(|| self.ask(hash, second_hash, name))
    }

    /// The same of a name that as a rule nobody has.
    pub(crate) fn find_rare(&self, hash: u64, name: &str) -> Option<Provided> {
        let second_hash = second_hash(name);
        let known = self.known(hash, second_hash);
        known.or_else(|| {
            let may_be = self.names.may_define(name);
            may_be.then(|| self.ask(hash, second_hash, name)).flatten()
        })
    }

    /// What was found before.
    fn known(&self, hash: u64, second_hash: u64) -> Option<Provided> {
        let known = crate::lock(&self.found).get(&hash).copied();
        let is_it = |known: &Known| known.second_hash == second_hash;
        Some(known.filter(is_it)?.provided)
    }

    /// Asks the dynamic linker.
    fn ask(&self, hash: u64, second_hash: u64, name: &str) -> Option<Provided> {
        // No lock of ours is held from here on: a resolver may run, and the dynamic linker's own lock may
        // be held by a thread that waits for ours.
        let c_name = CString::new(name).ok()?;
        let ask = || {
            // SAFETY: `dlsym` reads the C string during the call; RTLD_DEFAULT asks the modules that are
            // loaded and runs nothing but a resolver that the module's own author provided.
            unsafe { libc::dlsym(libc::RTLD_DEFAULT, c_name.as_ptr()) as u64 }
        };
        let address = ask();
        let provided = match self.pinned(address) {
            Some(provided) => provided,
            None => {
                let provided = self.pin(address)?;
                // Whoever unloaded the module before it was pinned has changed the answer.
                if ask() != address {
                    return None;
                }
                provided
            }
        };
        let known = Known {
            second_hash,
            provided,
        };
        crate::lock(&self.found).insert(hash, known);
        Some(provided)
    }

    /// An address that the host found by itself, with the module that it lies in, which stays in the
    /// process from then on.
    pub(crate) fn provided(&self, address: u64) -> Option<Provided> {
        self.pinned(address).or_else(|| self.pin(address))
    }

    /// What lies in a module that is in the process for good: whatever else comes and goes, that stays.
    fn pinned(&self, address: u64) -> Option<Provided> {
        let pinned = crate::lock(&self.pinned);
        let module = pinned
            .iter()
            .find(|module| module.addresses.contains(&address))?;
        Some(Provided {
            address,
            provider: module.provider,
        })
    }

    /// The same of any module, which it keeps in the process from now on; `None` of one that cannot be kept,
    /// since code must not be bound to what may go.
    fn pin(&self, address: u64) -> Option<Provided> {
        let modules = self.modules();
        let module = module_of(&modules, address)?;
        if !module.pin() {
            return None;
        }
        let provider = Provider::of(module).for_good();
        // A list that is the same now was true of the module when it was pinned.
        if Arc::ptr_eq(&modules, &self.modules()) {
            let mut pinned = crate::lock(&self.pinned);
            pinned.push(Pinned {
                addresses: module.addresses.clone(),
                provider,
            });
        }
        Some(Provided { address, provider })
    }

    /// The identity of a library that is loaded now; `None` if it is not, if its build cannot be told, or
    /// if several libraries of that name are loaded.
    pub(crate) fn identity(&self, library: &str) -> Option<Digest> {
        let modules = self.modules();
        let known = |listed: &mut Listed| listed.identities.get(library).copied();
        if let Some(identity) = self.in_list(&modules, known).flatten() {
            return identity;
        }
        let mut named = modules
            .iter()
            .filter(|module| !module.is_executable() && module.file_name() == library);
        let identity = match (named.next(), named.next()) {
            (Some(module), None) => module.identity().ok(),
            _ => None,
        };
        self.in_list(&modules, |listed| {
            listed.identities.insert(library.into(), identity)
        });
        identity
    }

    /// The modules that are loaded now, listed anew only when some have come or gone.
    fn modules(&self) -> Arc<[Module]> {
        let census = Census::now();
        if let Some(listed) = &*crate::lock(&self.listed)
            && census == Some(listed.census)
        {
            return Arc::clone(&listed.modules);
        }
        let modules: Arc<[Module]> = modules().into();
        // The list may be newer than the count, which then is out of date at the next look.
        *crate::lock(&self.listed) = census.map(|census| Listed {
            census,
            modules: Arc::clone(&modules),
            identities: FxHashMap::default(),
        });
        modules
    }

    /// What `then` gives of the list that `modules` are of; `None` if there is another by now.
    fn in_list<R>(
        &self,
        modules: &Arc<[Module]>,
        then: impl FnOnce(&mut Listed) -> R,
    ) -> Option<R> {
        let mut listed = crate::lock(&self.listed);
        let listed = listed.as_mut()?;
        Arc::ptr_eq(&listed.modules, modules).then(|| then(listed))
    }
}

impl Provider {
    pub(crate) fn of(module: &Module) -> Self {
        Self {
            name: module.file_name().to_owned(),
            identity: module.identity().ok(),
        }
    }

    /// The same, once for all caches of the process.
    fn for_good(self) -> &'static Self {
        static ALL: Mutex<BTreeSet<&'static Provider>> = Mutex::new(BTreeSet::new());
        // A forked child may find it locked for ever. What there is twice is told by its content.
        let mut all = ALL.try_lock().ok();
        if let Some(known) = all.as_ref().and_then(|all| all.get(&self)) {
            return known;
        }
        let kept: &Self = Box::leak(Box::new(self));
        if let Some(all) = &mut all {
            all.insert(kept);
        }
        kept
    }

    pub(crate) fn is_executable(&self) -> bool {
        self.name.is_empty()
    }
}

/// Tells names apart that have the same hash.
fn second_hash(name: &str) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(name.as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rekindle_cache_core::symbol_hash;
    use std::ptr;

    #[test]
    fn symbols_are_found_with_their_module_and_unknown_ones_are_not() {
        let process = Process::default();
        let find = |name: &str| process.find(symbol_hash(name), name);
        let strlen = find("strlen").expect("libc provides it");
        assert_eq!(find("strlen"), Some(strlen));
        let memchr = find("memchr").expect("libc provides it");
        assert!(ptr::eq(memchr.provider, strlen.provider));
        assert_eq!(process.provided(strlen.address), Some(strlen));
        let of_another_cache = Process::default().provided(strlen.address);
        assert!(of_another_cache.is_some_and(|it| ptr::eq(it.provider, strlen.provider)));
        let library = strlen.provider;
        assert!(library.name.starts_with("libc.so"));
        assert!(library.identity.is_some());
        assert_eq!(process.identity(&library.name), library.identity);
        assert_eq!(process.identity("libnothing.so"), None);
        let rare = |name: &str| process.find_rare(symbol_hash(name), name);
        for name in ["rekindle_no_such_symbol", "with\0nul"] {
            assert_eq!((find(name), rare(name)), (None, None));
        }
        assert_eq!(rare("strlen"), Some(strlen));
        assert_eq!(rare("strtol"), find("strtol"));
        assert!(rare("strtol").is_some());
    }

    /// Some functions of libc are given by the kernel's own page, through a resolver.
    #[test]
    fn functions_of_the_kernels_page_have_a_provider() {
        let process = Process::default();
        for name in ["time", "gettimeofday", "clock_gettime"] {
            let found = process.find(symbol_hash(name), name);
            assert!(
                found.is_some_and(|found| found.provider.identity.is_some()),
                "{name}"
            );
        }
    }
}
