//! What Rekindle asks of a host, the table of symbols that a host registers, and how both bind code.

use crate::cache::{Backend, Cache};
use crate::definitions::Ordinal;
use crate::process::{Process, Provided, Provider};
use rekindle_cache_core::artifact::Symbols;
use rekindle_cache_core::{Digest, symbol_hash};
use rustc_hash::FxHashMap;
use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::path::PathBuf;

/// What the cache asks of the runtime that it serves.
pub trait Host {
    /// A digest of what `symbol` means in `namespace` at this moment: which definition, and whether it
    /// is one that runs at compile time. Absence is an answer too, with a digest of its own. `None` if it
    /// cannot be told.
    fn resolution(&self, namespace: &str, symbol: &str) -> Option<Digest>;

    /// The interface digest of the definition `name` at this moment: a digest of what compiling against it
    /// reads of it, such as its arities and types. `None` if it cannot be told.
    fn interface(&self, name: &str) -> Option<Digest> {
        let _ = name;
        None
    }

    /// The digest of something of a sort of the host's own, recorded by [`Recorder::host`]. `None` if it
    /// cannot be told.
    ///
    /// [`Recorder::host`]: crate::Recorder::host
    fn dependency(&self, kind: &str, name: &str) -> Option<Digest> {
        let _ = (kind, name);
        None
    }

    /// Where the file lies that was recorded as `name`. By itself a name is a path, and stands in the
    /// working folder if it is relative.
    fn locate(&self, name: &str) -> PathBuf {
        PathBuf::from(name)
    }

    /// Repeats what compiling did besides making code, recorded by [`Recorder::effect`]. `false` if that is
    /// not possible, which makes the look-up a miss; whatever was repeated already is then done again by
    /// compiling, so an effect has to bear being repeated.
    ///
    /// [`Recorder::effect`]: crate::Recorder::effect
    fn replay(&self, kind: &str, payload: &[u8]) -> bool {
        let _ = (kind, payload);
        false
    }

    /// Takes a table that travels with the code that was loaded just now: the compiler's own, and those of
    /// [`Compilation::side_tables`]. Called before effects are repeated and before the factory runs.
    ///
    /// [`Compilation::side_tables`]: crate::Compilation::side_tables
    fn side_table(&self, name: &str, bytes: &[u8]) {
        let _ = (name, bytes);
    }

    /// Runs the factories of definitions that were put off, in this order, by
    /// [`Session::resume`](crate::Session::resume): something reaches what they define. Asked only of
    /// sessions that [warm](crate::Session::warm_def), also while a definition is compiled, whose state in
    /// the host has to bear that.
    fn catch_up(&self, put_off: &[Ordinal]) {
        let _ = put_off;
    }

    /// A number that is another as soon as an answer of this host may be: of [`resolution`](Self::resolution),
    /// [`interface`](Self::interface), [`dependency`](Self::dependency), [`locate`](Self::locate),
    /// [`symbol`](Self::symbol) and [`address`](Self::address). As long as it stays, a definition that is evaluated again in the same session
    /// shares the code that is there, if that has no data of its own, and the host is not asked again. One session's
    /// hosts have one numbering. A word that is another at each load, such as a slot for this very
    /// evaluation, has to make the number another when it is given; `None`, as by itself, shares nothing.
    fn generation(&self) -> Option<u64> {
        None
    }

    /// The word for a name that the host's code refers to and the registered table does not hold:
    /// variables, constants, the origin of the definition being loaded. `hash` is
    /// [`symbol_hash`] of `name`.
    fn symbol(&self, hash: u64, name: &str) -> Option<u64>;

    /// The address of a function or variable that [`symbol`](Self::symbol) does not know and that lies in a
    /// module of this process: as if the dynamic linker had found it. The build of a library that it lies
    /// in becomes a dependency of the code, and the library stays in the process. An address that lies in
    /// no module counts as not known.
    fn address(&self, hash: u64, name: &str) -> Option<u64> {
        let _ = (hash, name);
        None
    }

    /// Told of code with writable data once it is in place, and before any of it runs: the addresses of the
    /// data, which a collecting host may have to scan. It stays until the code is unloaded.
    fn placed(&self, data: Range<usize>) {
        let _ = data;
    }
}

/// Names that stay the same for the life of the process, with their addresses.
#[derive(Debug, Default)]
pub struct SymbolTable {
    words: FxHashMap<u64, (Box<str>, u64)>,
}

impl SymbolTable {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `name`. The last word given for a name stands.
    ///
    /// Two names with one 64-bit hash cannot both be in a table; the second is left to the host's
    /// [`symbol`](Host::symbol), and `false` is returned.
    pub fn insert(&mut self, name: &str, word: u64) -> bool {
        let hash = symbol_hash(name);
        match self.words.get(&hash) {
            Some((other, _)) if **other != *name => false,
            _ => {
                self.words.insert(hash, (name.into(), word));
                true
            }
        }
    }

    /// The word of a name.
    #[inline]
    pub fn get(&self, hash: u64, name: &str) -> Option<u64> {
        if self.words.is_empty() {
            return None;
        }
        let (known, word) = self.words.get(&hash)?;
        (**known == *name).then_some(*word)
    }

    /// The words of all names, in no order.
    pub(crate) fn words(&self) -> impl Iterator<Item = u64> + '_ {
        self.words.values().map(|(_, word)| *word)
    }
}

/// Modules that an image's symbols come from, as a rule: the executable, and the libraries of C and C++.
const FEW: usize = 4;

/// The words that an image is bound to: the registered table first, then the host, then the process,
/// and at last what the compiler brings along.
pub(crate) struct Bindings<'a, B: Backend> {
    cache: &'a Cache<B>,
    host: &'a dyn Host,
    /// Whether a library that is not part of the environment may provide symbols.
    permitted: &'a dyn Fn(&str) -> bool,
    libraries: RefCell<Vec<String>>,
    /// Modules that were found to be ones that may provide symbols.
    accepted: Cell<[Option<&'static Provider>; FEW]>,
}

impl<'a, B: Backend> Bindings<'a, B> {
    pub(crate) fn new(
        cache: &'a Cache<B>,
        host: &'a dyn Host,
        permitted: &'a dyn Fn(&str) -> bool,
    ) -> Self {
        Self {
            cache,
            host,
            permitted,
            libraries: RefCell::default(),
            accepted: Cell::default(),
        }
    }

    /// Whether a module may provide symbols, which it then is noted to do.
    fn accepts(&self, provider: &'static Provider) -> bool {
        // An image names many symbols of a few modules.
        let known = self.accepted.get();
        if (known.iter().flatten()).any(|known| std::ptr::eq(*known, provider)) {
            return true;
        }
        if !provider.is_executable() && !self.cache.providers.contains(provider) {
            if !(self.permitted)(&provider.name) {
                return false;
            }
            let mut libraries = self.libraries.borrow_mut();
            if !libraries.contains(&provider.name) {
                libraries.push(provider.name.clone());
            }
        }
        let [first, second, third, _] = known;
        self.accepted.set([Some(provider), first, second, third]);
        true
    }

    /// The word for a name, which is looked for in the process by `find`.
    fn word(
        &self,
        hash: u64,
        name: &str,
        find: impl FnOnce(&Process, u64, &str) -> Option<Provided>,
    ) -> Option<u64> {
        let known = self.cache.symbols.get(hash, name);
        let known = known.or_else(|| self.host.symbol(hash, name));
        if known.is_some() {
            return known;
        }
        let process = &self.cache.process;
        let provided = match self.host.address(hash, name) {
            Some(address) => process.provided(address),
            None => find(process, hash, name),
        };
        let Some(provided) = provided else {
            return self.cache.backend.libcall(name);
        };
        self.accepts(provided.provider).then_some(provided.address)
    }

    /// The libraries beyond the environment that provided symbols.
    pub(crate) fn libraries(self) -> Vec<String> {
        self.libraries.into_inner()
    }
}

impl<B: Backend> Symbols for Bindings<'_, B> {
    fn address(&self, hash: u64, name: &str) -> Option<u64> {
        self.word(hash, name, Process::find)
    }

    fn canonical(&self, hash: u64, name: &str) -> Option<u64> {
        self.word(hash, name, Process::find_rare)
    }

    fn provides_thread_local(&self, module: u64) -> bool {
        let provided = self.cache.process.provided(module);
        provided.is_some_and(|provided| self.accepts(provided.provider))
    }

    fn placed(&self, data: Range<usize>) {
        self.host.placed(data);
    }
}
