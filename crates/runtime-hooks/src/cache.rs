//! A cache opened for one host program, and the sessions that evaluate on it.

use crate::better::{BetterCompiler, BetterListener, Improving};
use crate::definitions::{Definitions, Numbers, Verdicts};
use crate::error::HookError;
use crate::explain::Explainer;
use crate::host::SymbolTable;
use crate::kept::Kept;
use crate::lanes::{Apart, Lanes};
use crate::modules::{module_of, modules};
use crate::outside::Outside;
use crate::process::{Process, Provider};
use crate::report::{Event, Listener};
use crate::settings::{Mode, Settings};
use crate::shared::Shared;
use crate::statistics::{Counters, Ledger, Statistics};
use crate::verify::Sampling;
use rekindle_cache_core::Digest;
use rekindle_cache_core::artifact::{Compiler, Jit, Loader};
use rekindle_cache_core::bundle::{BundleError, BundleStore, Imported};
use rekindle_cache_core::folder::default_folder;
use rekindle_cache_core::key::{Definition, Environment};
use rekindle_cache_core::lifetime::Lifetime;
use rekindle_cache_core::store::{Limits, Store, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// A compiler with what runs its objects.
///
/// # Safety
/// Safe code gets machine code run through this trait, so an implementation vouches for it: the compiler's
/// objects, those of the [better](Self::better) one and the JIT's code do what the unit says, are of the target that [`target`](Self::target)
/// names and need no CPU features but those of [`required_features`](Self::required_features); the
/// compilers' fingerprints differ wherever its code could; the loader brings in what the compiler made,
/// unchanged, and binds it to no symbols but those that it is given; and [`libcall`](Self::libcall) gives
/// addresses within the executable of what the compiler takes them for.
pub unsafe trait Backend: Send + Sync + 'static {
    /// What the compiler and the JIT take. Some are compiled on other threads.
    type Unit: Send + 'static;
    /// Makes the objects that are kept.
    type Compiler: Compiler<Unit = Self::Unit>;
    /// Runs what must not be kept.
    type Jit: Jit<Unit = Self::Unit>;
    /// Runs the objects.
    type Loader: Loader;

    /// The compiler.
    fn compiler(&self) -> &Self::Compiler;
    /// The JIT.
    fn jit(&self) -> &Self::Jit;
    /// The loader.
    fn loader(&self) -> &Self::Loader;
    /// A compiler that takes longer, for better code of what [`compiler`](Self::compiler) has compiled: for the
    /// same target, and of the same meaning. What its code requires is in
    /// [`required_features`](Self::required_features) as well.
    fn better(&self) -> Option<&dyn BetterCompiler<Self::Unit>> {
        None
    }
    /// The target triple that the compiler compiles for.
    fn target(&self) -> String;
    /// The CPU features that its code requires.
    fn required_features(&self) -> Vec<String>;
    /// The address of a function that the compiler calls without being asked, such as `memcpy`, for
    /// when neither the host nor the dynamic linker knows it: it is then part of the executable.
    fn libcall(&self, name: &str) -> Option<u64>;
}

/// Where a cache keeps its records.
#[derive(Default)]
enum Place {
    /// `REKINDLE_DIR`, or the platform's folder for caches.
    #[default]
    Default,
    Folder(PathBuf),
    Memory,
    Store(Arc<dyn Store>),
}

/// Describes a cache that is to be opened. [`settings`](crate::settings) lists what may be set otherwise.
pub struct CacheBuilder<B> {
    backend: B,
    symbols: SymbolTable,
    place: Place,
    settings: Settings,
    inputs: Vec<(String, Digest)>,
    listener: Option<Arc<Listener>>,
    better_listener: Option<Arc<BetterListener>>,
}

impl<B: Backend> CacheBuilder<B> {
    /// Names that the host's code may refer to, with their addresses. The modules that they lie in
    /// become part of the environment, by build id.
    #[must_use]
    pub fn symbols(mut self, symbols: SymbolTable) -> Self {
        self.symbols = symbols;
        self
    }

    /// Keeps the records in `folder` rather than in `REKINDLE_DIR` or the platform's cache folder.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.place = Place::Folder(folder.into());
        self
    }

    /// Keeps the records in memory, for as long as the cache is open.
    #[must_use]
    pub fn in_memory(mut self) -> Self {
        self.place = Place::Memory;
        self
    }

    /// Keeps the records in `store`, such as a stack of layers. It has to bear a fork by itself, and is not
    /// flushed when the cache is closed read-only.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.place = Place::Store(store);
        self
    }

    /// What the cache may do.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.settings.mode = Some(mode);
        self
    }

    /// Keeps nothing: [`Mode::Off`].
    #[must_use]
    pub fn off(self) -> Self {
        self.mode(Mode::Off)
    }

    /// How large the folder may become.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.settings.limits = Some(limits);
        self
    }

    /// Whether each miss is explained in full, as an event of `tracing` with the target
    /// `rekindle::explain`. That takes a look at every record when the first new definition is met.
    #[must_use]
    pub fn explain(mut self, explain: bool) -> Self {
        self.settings.explain = Some(explain);
        self
    }

    /// Has `listener` told of every evaluation, on the thread that evaluates, after the look-up and before
    /// the factory runs.
    #[must_use]
    pub fn listener(mut self, listener: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.listener = Some(Arc::new(listener));
        self
    }

    /// Whether it is noted in what code the process dies, so that code from the cache which ends processes is
    /// set aside. That takes a handler for SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT and SIGTRAP, installed when
    /// code from a cache first runs in the process, or better code is first made; it hands on to the handlers that are there.
    #[must_use]
    pub fn watch_deaths(mut self, watch: bool) -> Self {
        self.settings.watch_deaths = Some(watch);
        self
    }

    /// The share of hits, from 0 to 1, that are compiled again and compared, so that a host which does not tell
    /// of all that its front end looks at is found out. For a hit that is chosen the host's closure is called
    /// as on a miss; the code is generated on another thread. A difference removes the record, is warned of,
    /// and is told to the [listener](Self::listener) on that thread.
    #[must_use]
    pub fn verify(mut self, share: f64) -> Self {
        self.settings.verify = Some(share);
        self
    }

    /// Whether the course of the process's evaluations is noted, the first 10,000, and left in the folder for
    /// `rekindle report`. It is that of the last process which was asked for it.
    #[must_use]
    pub fn timeline(mut self, timeline: bool) -> Self {
        self.settings.timeline = Some(timeline);
        self
    }

    /// What is compiled again by the backend's [better compiler](Backend::better), if it has one.
    #[must_use]
    pub fn improving(mut self, improving: Improving) -> Self {
        self.settings.improving = Some(improving);
        self
    }

    /// Has `listener` told of each definition for which there is better code from now on, on the thread that has made
    /// it. Whoever evaluates the definition again gets a factory of that code. That is right only if the text still is
    /// what its name was last defined by, which the host knows: it may have been defined anew meanwhile. The old code stays right for whoever
    /// has it; and a factory that runs again does again whatever else it does.
    #[must_use]
    pub fn on_better(mut self, listener: impl Fn(&Definition<'_>) + Send + Sync + 'static) -> Self {
        self.better_listener = Some(Arc::new(listener));
        self
    }

    /// How long closing the cache waits for the disk, and for compilers that are at work in the background: if
    /// those take all of it, a quarter more for the disk.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.settings.deadline = Some(deadline);
        self
    }

    /// Something of the host's own that reaches its code and that neither its build id nor a
    /// definition's context tells, such as an optimisation switch.
    #[must_use]
    pub fn input(mut self, name: &str, digest: Digest) -> Self {
        self.inputs.push((name.to_owned(), digest));
        self
    }

    /// Opens the cache. A folder that cannot be used is reported once, as a warning through `tracing`,
    /// and memory is used in its place.
    ///
    /// # Errors
    /// A module that provides symbols and whose build cannot be told, unless the cache is off.
    pub fn open(self) -> Result<Cache<B>, HookError> {
        let mode = self.settings.mode();
        let (environment, providers) = match mode {
            // Nothing is looked up, so that nothing has to be told apart.
            Mode::Off => (Environment::new("").finish(), BTreeSet::new()),
            Mode::On | Mode::ReadOnly => self.environment()?,
        };
        let mut settings = self.settings.clone();
        let improves = mode == Mode::On && self.backend.better().is_some();
        let improving = settings.improving.unwrap_or_default();
        settings.improving = improves.then_some(improving);
        let settings = &settings;
        let ledger = Arc::new(Ledger::new(settings.timeline()));
        let kept = (mode != Mode::Off).then(|| match self.place {
            Place::Memory => Kept::in_memory(settings),
            Place::Default => Kept::in_folder(default_folder(), settings, &ledger),
            Place::Folder(folder) => Kept::in_folder(Ok(folder), settings, &ledger),
            Place::Store(store) => Kept::in_store(store, settings),
        });
        Ok(Cache {
            backend: Arc::new(self.backend),
            symbols: self.symbols,
            environment: Arc::new(environment),
            providers,
            kept,
            ledger,
            explainer: settings.explain().then(Explainer::default),
            listener: self.listener,
            sampling: Sampling::new(settings.verify()),
            hot: Sampling::new(settings.improving.map_or(0.0, |improving| improving.share)),
            improving,
            better_listener: self.better_listener,
            process: Process::default(),
        })
    }

    /// The environment, and the modules that are part of it.
    fn environment(&self) -> Result<(Environment, BTreeSet<Provider>), HookError> {
        let modules = modules();
        let symbols = self.symbols.words();
        let mut providers: Vec<_> = symbols
            .filter_map(|word| module_of(&modules, word))
            .chain(modules.first())
            .collect();
        providers.sort_by_key(|module| module.addresses.start);
        providers.dedup_by_key(|module| module.addresses.start);
        let providers: BTreeMap<_, _> = (providers.into_iter())
            .map(|module| (Provider::of(module), module))
            .collect();
        let mut environment = Environment::new(&self.backend.target())
            .image_format(self.backend.loader().format())
            .compiler(&self.backend.compiler().fingerprint());
        if let Some(better) = self.backend.better() {
            environment = environment.better_compiler(&better.better_fingerprint());
        }
        for feature in self.backend.required_features() {
            environment = environment.cpu_feature(&feature);
        }
        for (provider, module) in &providers {
            environment = environment.abi(&provider.name, &module.identity()?);
            module.pin();
        }
        for (name, digest) in &self.inputs {
            environment = environment.host(name, digest);
        }
        Ok((environment.finish(), providers.into_keys().collect()))
    }
}

/// A cache opened for one host program: a store, a backend, and the environment that they make with
/// this process.
pub struct Cache<B: Backend> {
    pub(crate) backend: Arc<B>,
    pub(crate) symbols: SymbolTable,
    pub(crate) environment: Arc<Environment>,
    /// The modules whose identity is part of the environment.
    pub(crate) providers: BTreeSet<Provider>,
    /// `None` if the cache is off.
    pub(crate) kept: Option<Kept>,
    ledger: Arc<Ledger>,
    /// There if somebody asked for explanations.
    pub(crate) explainer: Option<Explainer>,
    pub(crate) listener: Option<Arc<Listener>>,
    /// Which hits are verified.
    pub(crate) sampling: Sampling,
    /// Which hits have better code made.
    pub(crate) hot: Sampling,
    pub(crate) improving: Improving,
    pub(crate) better_listener: Option<Arc<BetterListener>>,
    pub(crate) process: Process,
}

impl<B: Backend> Cache<B> {
    /// Starts the description of a cache on `backend`.
    pub fn builder(backend: B) -> CacheBuilder<B> {
        CacheBuilder {
            backend,
            symbols: SymbolTable::new(),
            place: Place::default(),
            settings: Settings::default(),
            listener: None,
            better_listener: None,
            inputs: Vec::new(),
        }
    }

    /// Starts a session: the definitions of one runtime instance, which know nothing of another's.
    ///
    /// The loader begins to make memory ready for their code, on a thread of its own.
    pub fn session(self: &Arc<Self>) -> Session<B> {
        self.backend.loader().expect_loads();
        let definitions = Definitions::default();
        Session {
            cache: Arc::clone(self),
            verdicts: definitions.verdicts(),
            names: definitions.numbers(),
            known: Lanes::default(),
            definitions: Apart(Mutex::new(definitions)),
            shared: Shared::default(),
            outside: Outside::default(),
            counters: self.ledger.open(),
        }
    }

    /// Makes what was compiled durable and visible to other processes.
    ///
    /// # Errors
    /// The store's first fault. What was not written stays usable in this process.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.kept.as_ref().map_or(Ok(()), Kept::flush)
    }

    /// Takes the records of a bundle over, whose signer is trusted: the definitions of this environment among them are
    /// hits from now on. `None` where nothing may be kept.
    ///
    /// # Errors
    /// A damaged bundle, of which nothing is taken over, or a store that does not take its records.
    pub fn import(&self, bundle: &BundleStore) -> Result<Option<Imported>, BundleError> {
        let written = self.kept.as_ref().filter(|kept| !kept.is_read_only());
        let import = |kept: &Kept| bundle.import_into(kept.store(), &mut |_| ());
        written.map(import).transpose()
    }

    /// Waits until the hits that were chosen to be [verified](CacheBuilder::verify) so far have been compared,
    /// so that [`statistics`](Self::statistics) counts them. `false` if that takes longer than `deadline`.
    pub fn finish_verifying(&self, deadline: Duration) -> bool {
        let kept = self.kept.as_ref();
        kept.is_none_or(|kept| kept.verifier().wait(deadline))
    }

    /// What came of the definitions of all sessions so far.
    pub fn statistics(&self) -> Statistics {
        self.ledger.total()
    }

    /// What all processes have counted that used the folder, this one included, as far as they have written it;
    /// `None` without a folder that may be written to.
    ///
    /// # Errors
    /// The sums cannot be read.
    pub fn lifetime(&self) -> Result<Option<Lifetime>, StoreError> {
        let folder = self.kept.as_ref().and_then(Kept::written_folder);
        folder.map(Lifetime::read).transpose()
    }

    /// The compiler and the loader that this cache was opened with.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// The environment that every key of this cache holds.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }
}

/// One runtime instance on a cache: which definitions it has, and what came of them.
pub struct Session<B: Backend> {
    pub(crate) cache: Arc<Cache<B>>,
    definitions: Apart<Mutex<Definitions>>,
    /// Counts the verdicts of definitions that were given up.
    pub(crate) verdicts: Arc<AtomicU64>,
    /// The names of the definitions.
    pub(crate) names: Arc<Numbers>,
    /// What threads know of verdicts without asking for the definitions.
    pub(crate) known: Lanes<Mutex<Verdicts>>,
    pub(crate) shared: Shared,
    pub(crate) outside: Outside,
    pub(crate) counters: Arc<Counters>,
}

impl<B: Backend> Session<B> {
    /// The cache that this session evaluates on.
    pub fn cache(&self) -> &Arc<Cache<B>> {
        &self.cache
    }

    /// The definitions, with all names that this thread knows. Every thread asks for them in every evaluation,
    /// so that nobody keeps them for long.
    #[inline]
    pub(crate) fn definitions(&self) -> MutexGuard<'_, Definitions> {
        let mut definitions = crate::lock(&self.definitions.0);
        definitions.admit();
        definitions
    }

    /// The definitions, for who asks them for the names that it has.
    pub(crate) fn unadmitted(&self) -> &Mutex<Definitions> {
        &self.definitions.0
    }

    /// Begins a validation epoch: files and environment variables that code depends on are looked at again.
    /// To be called before reading a file that was asked for, and at each input of an interactive session.
    /// The first epoch begins with the session.
    pub fn begin_epoch(&self) {
        self.outside.begin_epoch();
    }

    /// Says that the host gave `name` another value by itself, and not by evaluating a definition: what
    /// runs at compile time and reaches it is not recorded from now on, until it is defined again.
    pub fn changed(&self, name: &str) {
        let mut definitions = self.definitions();
        let id = definitions.number(name);
        definitions.change(id);
    }

    /// What came of the definitions evaluated so far.
    pub fn statistics(&self) -> Statistics {
        self.counters.read()
    }
}
