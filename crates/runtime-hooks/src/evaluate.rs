//! `eval_def`: from a definition's text to its factory, through the cache or through the compiler.

use crate::cache::{Backend, Session};
use crate::definitions::{NameId, Standing};
use crate::error::EvalError;
use crate::host::{Bindings, Host};
use crate::outcome::{BypassReason, Change, MissReason, Outcome, RejectReason};
use crate::recorder::{Recorded, Recorder};
use crate::statistics::Stopwatch;
use rekindle_cache_core::Digest;
use rekindle_cache_core::artifact::{
    Code, Compiled, Compiler, Dependency, DependencyKind, Hasher, Image, Jit, LoadFailure, Loader,
};
use rekindle_cache_core::key::{Definition, FormKey};
use rekindle_cache_core::metadata::{
    ArchivedEntry, ArchivedManifest, DependencyRecord, EffectRecord, Entry, Manifest, Metadata,
    SideTableRecord,
};
use rekindle_cache_core::store::{Found, NewRecord, Record, Store};
use std::ops::ControlFlow;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// What a host's compile closure hands back.
#[derive(Debug, Clone)]
pub struct Compilation<U> {
    /// What the backend compiles.
    pub unit: U,
    /// The exported symbol that returns the definition's value.
    pub factory: String,
    /// Names that running the factory defines.
    pub defines: Vec<String>,
    /// Names that the code may define later, when it is called, with values that follow from no code.
    pub defines_later: Vec<String>,
    /// Names of definitions that the code refers to, and so can reach when it runs.
    pub references: Vec<String>,
}

/// How running a factory went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ran {
    /// It ended, and the values it defined follow from its code and from what that reaches.
    Pure,
    /// It ended, and read or changed mutable state or the outside world on the way.
    Impure,
    /// It did not end as it should, and may have defined a part of its names.
    Failed,
}

/// A definition whose code is in the process and whose factory the host now calls.
///
/// To be given back with [`finish`](Self::finish) when the factory has run. Dropped otherwise, it counts
/// as [`Ran::Failed`].
#[must_use = "call the factory, then `finish`"]
pub struct Evaluated<'s, B: Backend> {
    session: &'s Session<B>,
    running: Running<B>,
    factory: *const u8,
    outcome: Outcome,
    graph: Names,
    ran: Ran,
}

enum Running<B: Backend> {
    Kept(<B::Loader as Loader>::Code),
    Unkept(<B::Jit as Jit>::Code),
}

/// A definition's place among the session's names, entered when its factory has run.
struct Names {
    object: Digest,
    defines: Vec<NameId>,
    defines_later: Vec<NameId>,
    references: Vec<NameId>,
}

impl<B: Backend> Session<B> {
    /// Evaluates a definition up to its factory.
    ///
    /// On a hit neither `compile` nor anything else of the host's front end runs; `host` is asked only for
    /// the meaning of the recorded symbols and for the words that the code is bound to. Otherwise
    /// `compile` runs once, and what it gives is compiled, loaded, and kept unless something stands
    /// against it.
    ///
    /// # Errors
    /// What `compile` returns, or a unit that cannot be compiled or run. The cache's own faults are
    /// outcomes, not errors.
    ///
    /// The factory is a plain address: calling it is the host's `unsafe`, and is right if its compiler is
    /// and if the words that `host` and the registered symbols give are what its code takes them for.
    pub fn eval_def<E>(
        &self,
        definition: &Definition<'_>,
        host: &dyn Host,
        compile: impl FnOnce(&Recorder<'_>) -> Result<Compilation<B::Unit>, E>,
    ) -> Result<Evaluated<'_, B>, EvalError<E>> {
        let _stopwatch = Stopwatch::start(&self.counters);
        let key = self.cache.environment.form_key(definition);
        let refusal = match self.cache.store.as_deref() {
            None => Outcome::Bypass(BypassReason::Off),
            Some(store) => match self.look_up(store, &key, host) {
                Ok(evaluated) => return Ok(evaluated),
                Err(refusal) => refusal,
            },
        };
        let mut outcome = refusal;
        let result = self.compile(definition, key, host, compile, &mut outcome);
        tracing::debug!(name = definition.name, %outcome);
        self.counters.count(&outcome);
        result.map(|compiled| self.evaluated(compiled, outcome))
    }

    /// Finds a record that is right now and loads it, or says why there is none.
    fn look_up(
        &self,
        store: &dyn Store,
        key: &FormKey,
        host: &dyn Host,
    ) -> Result<Evaluated<'_, B>, Outcome> {
        let mut refusal = Outcome::Miss(MissReason::New);
        let mut damaged_image = None;
        let mut hit = None;
        store.get(key, &mut |found| {
            let refused = match found {
                Found::Record(record) => match self.revive(&record, host) {
                    Ok(loaded) => {
                        hit = Some((loaded, record.metadata.entry.compile_ns.to_native()));
                        return ControlFlow::Break(());
                    }
                    Err(Refused { outcome, damage }) => {
                        damaged_image = damaged_image.take().or(damage);
                        outcome
                    }
                },
                Found::Damaged(damage) => {
                    Outcome::Rejected(RejectReason::Damaged(damage.to_string()))
                }
                _ => return ControlFlow::Continue(()),
            };
            // Of several refusals the gravest is told, and of equal ones that of the newest record.
            if gravity(&refused) > gravity(&refusal) {
                refusal = refused;
            }
            ControlFlow::Continue(())
        });
        let Some((loaded, compile_ns)) = hit else {
            // A record that is right hides a damaged one before it just as well.
            if let Some(what) = damaged_image {
                store.report_damage(key, &what);
            }
            return Err(refusal);
        };
        self.counters.count(&Outcome::Hit);
        self.counters.saved(compile_ns);
        Ok(self.evaluated(loaded, Outcome::Hit))
    }

    /// Checks a record's dependencies and loads its image.
    fn revive(&self, record: &Record<'_>, host: &dyn Host) -> Result<Loaded<B>, Refused> {
        let metadata = record.metadata;
        if let Some(reason) = self.stale(&metadata.manifest, host) {
            return Err(Refused::new(Outcome::Miss(reason)));
        }
        let permitted = |library: &str| {
            metadata.manifest.dependencies.iter().any(|dependency| {
                dependency.kind() == Some(DependencyKind::Module) && dependency.name == library
            })
        };
        let bindings = Bindings::new(&self.cache, host, &permitted);
        // SAFETY: the record's checksums were right and its key is of this environment, so the image comes
        // from this loader's `prepare` on an object of the host's own compiler, for the build of the
        // executable that runs; its dependencies are what they were. That nobody else writes to the
        // folder is what the store's check of owner and mode is for.
        let loaded = unsafe { self.cache.backend.loader().load(record.image, &bindings) };
        let code = loaded.map_err(|error| Refused {
            damage: error.is_damage().then(|| error.to_string()),
            outcome: Outcome::Rejected(RejectReason::Image(error.to_string())),
        })?;
        let Some(factory) = code.symbol(&metadata.entry.factory) else {
            let what = format!("the image exports no factory {}", metadata.entry.factory);
            return Err(Refused {
                outcome: Outcome::Rejected(RejectReason::Image(what.clone())),
                damage: Some(what),
            });
        };
        for effect in metadata.entry.effects.iter() {
            if !host.replay(&effect.kind, &effect.payload) {
                let kind = effect.kind.as_str().to_owned();
                return Err(Refused::new(Outcome::Miss(MissReason::Effect(kind))));
            }
        }
        self.counters.loaded(code.size());
        Ok(Loaded {
            running: Running::Kept(code),
            factory,
            graph: self.names_of(&metadata.entry),
        })
    }

    /// The first recorded dependency that is not what it was.
    fn stale(&self, manifest: &ArchivedManifest, host: &dyn Host) -> Option<MissReason> {
        for dependency in manifest.dependencies.iter() {
            let name = dependency.name.as_str();
            let Some(kind) = dependency.kind() else {
                return Some(MissReason::UnknownDependency);
            };
            let scope = dependency.scope.as_str();
            let is = self.digest_now(kind, name, scope, host);
            let was = dependency.digest();
            if is != Some(was) {
                return Some(MissReason::Stale(Box::new(Change {
                    kind,
                    name: name.to_owned(),
                    scope: scope.to_owned(),
                    was,
                    is,
                })));
            }
        }
        None
    }

    /// The digest that a dependency has at this moment; `None` if it has none, or it cannot be told.
    fn digest_now(
        &self,
        kind: DependencyKind,
        name: &str,
        scope: &str,
        host: &dyn Host,
    ) -> Option<Digest> {
        match kind {
            DependencyKind::Behaviour => {
                let mut definitions = crate::lock(&self.definitions);
                let id = definitions.number(name);
                definitions.behaviour(id).ok()
            }
            DependencyKind::Interface => host.interface(name),
            DependencyKind::Resolution => host.resolution(scope, name),
            DependencyKind::Module => self.cache.process.identity(name),
            DependencyKind::File => self.outside.file(&host.locate(name)),
            DependencyKind::FileSet => {
                let located = name.lines().map(|name| host.locate(name));
                self.outside.files(located)
            }
            DependencyKind::Variable => Some(self.outside.variable(name)),
            DependencyKind::Host => host.dependency(scope, name),
            _ => None,
        }
    }

    /// Compiles a definition, runs the object and keeps it. `outcome` says why it was not a hit, and is
    /// changed if it turns out that it must not be kept.
    fn compile<E>(
        &self,
        definition: &Definition<'_>,
        key: FormKey,
        host: &dyn Host,
        compile: impl FnOnce(&Recorder<'_>) -> Result<Compilation<B::Unit>, E>,
        outcome: &mut Outcome,
    ) -> Result<Loaded<B>, EvalError<E>> {
        let began = Instant::now();
        let recorder = Recorder::new(host, &self.definitions, &self.outside);
        let compilation = compile(&recorder).map_err(EvalError::Host)?;
        let Recorded {
            dependencies,
            effects,
            bypass,
        } = recorder.finish();
        if let (Some(reason), Some(_)) = (bypass, &self.cache.store) {
            *outcome = Outcome::Bypass(reason);
        }
        if matches!(outcome, Outcome::Bypass(_)) {
            return self.run_unkept(&compilation, host);
        }
        let compiled = match self.cache.backend.compiler().compile(&compilation.unit) {
            Ok(compiled) => compiled,
            Err(error) => {
                // What makes no object may still run at once.
                let Ok(loaded) = self.run_unkept::<E>(&compilation, host) else {
                    return Err(EvalError::Compile(Box::new(error)));
                };
                tracing::warn!("{} is not kept: {error}", definition.name);
                *outcome = Outcome::Bypass(BypassReason::Uncompilable(error.to_string()));
                return Ok(loaded);
            }
        };
        match self.run(&compilation, &compiled, host) {
            Ok((loaded, image, libraries)) => {
                let fresh = Fresh {
                    definition,
                    key,
                    compilation: &compilation,
                    compiled,
                    effects,
                    image,
                    began,
                };
                self.keep(fresh, dependencies, &libraries, loaded.graph.object);
                Ok(loaded)
            }
            Err(reason) => {
                tracing::warn!("{} is not kept: {reason}", definition.name);
                *outcome = Outcome::Bypass(BypassReason::Unloadable(reason));
                self.run_unkept(&compilation, host)
            }
        }
    }

    /// Links a fresh object and loads it; also gives the image, and the libraries that it was bound to.
    fn run(
        &self,
        compilation: &Compilation<B::Unit>,
        compiled: &Compiled,
        host: &dyn Host,
    ) -> Result<(Loaded<B>, Image, Vec<String>), String> {
        let loader = self.cache.backend.loader();
        let image = loader
            .prepare(&compiled.object.bytes, &[&compilation.factory])
            .map_err(|error| error.to_string())?;
        let bindings = Bindings::new(&self.cache, host, &|_| true);
        // SAFETY: the image was prepared just now from an object of the host's own compiler, and is
        // bound to the words that the host and the process give.
        let code = unsafe { loader.load(image.as_ref(), &bindings) };
        let code = code.map_err(|error| error.to_string())?;
        let factory = code
            .symbol(&compilation.factory)
            .ok_or_else(|| format!("the image exports no factory {}", compilation.factory))?;
        self.counters.loaded(code.size());
        let object = Digest::of("rekindle object", &compiled.object.bytes);
        let loaded = Loaded {
            running: Running::Kept(code),
            factory,
            graph: self.names(compilation, object),
        };
        Ok((loaded, image, bindings.libraries()))
    }

    fn keep(
        &self,
        fresh: Fresh<'_, B::Unit>,
        mut dependencies: Vec<Dependency>,
        libraries: &[String],
        object: Digest,
    ) {
        let Some(store) = &self.cache.store else {
            return;
        };
        let cache = &self.cache;
        for library in libraries {
            let Some(digest) = cache.process.identity(library) else {
                tracing::debug!("not kept: the build of {library} cannot be told");
                return;
            };
            dependencies.push(Dependency {
                kind: DependencyKind::Module,
                name: library.clone(),
                scope: String::new(),
                digest,
            });
        }
        dependencies.extend(fresh.compiled.dependencies);
        dependencies.sort();
        let unit = cache.backend.compiler().digest(&fresh.compilation.unit);
        let object_key = cache.environment.object_key(&unit, &dependencies);
        let metadata = Metadata {
            manifest: Manifest {
                dependencies: dependencies.iter().map(DependencyRecord::from).collect(),
                object_key: object_key.0.0,
            },
            entry: Entry {
                name: fresh.definition.name.to_owned(),
                factory: fresh.compilation.factory.clone(),
                defines: fresh.compilation.defines.clone(),
                defines_later: fresh.compilation.defines_later.clone(),
                references: fresh.compilation.references.clone(),
                object_digest: object.0,
                compile_ns: u64::try_from(fresh.began.elapsed().as_nanos()).unwrap_or(u64::MAX),
                created: SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .map_or(0, |since| since.as_secs()),
                image_checksum: fresh.image.checksum,
                effects: fresh.effects,
                side_tables: (fresh.compiled.object.side_tables.into_iter())
                    .map(|table| SideTableRecord {
                        name: table.name,
                        bytes: table.bytes,
                    })
                    .collect(),
            },
        };
        let record = NewRecord {
            key: fresh.key,
            metadata: &metadata,
            image: fresh.image.as_ref(),
        };
        if let Err(error) = store.put(record) {
            cache.warn_once(&error);
        }
    }

    /// Runs a unit in the backend's JIT, which keeps nothing.
    fn run_unkept<E>(
        &self,
        compilation: &Compilation<B::Unit>,
        host: &dyn Host,
    ) -> Result<Loaded<B>, EvalError<E>> {
        let bindings = Bindings::new(&self.cache, host, &|_| true);
        // SAFETY: the unit is the host's own, bound to the words that the host and the process give.
        let run = unsafe { self.cache.backend.jit().run(&compilation.unit, &bindings) };
        let code = run.map_err(|error| EvalError::Run(Box::new(error)))?;
        let factory = code
            .symbol(&compilation.factory)
            .ok_or_else(|| EvalError::NoFactory(compilation.factory.clone()))?;
        self.counters.loaded(code.size());
        // There is no object; the unit tells this code from any other as well.
        let unit = self.cache.backend.compiler().digest(&compilation.unit);
        Ok(Loaded {
            running: Running::Unkept(code),
            factory,
            graph: self.names(compilation, unit),
        })
    }

    fn names(&self, compilation: &Compilation<B::Unit>, object: Digest) -> Names {
        let mut definitions = crate::lock(&self.definitions);
        let mut numbers = |names: &[String]| {
            let numbers = names.iter().map(|name| definitions.number(name));
            numbers.collect()
        };
        Names {
            object,
            defines: numbers(&compilation.defines),
            defines_later: numbers(&compilation.defines_later),
            references: numbers(&compilation.references),
        }
    }

    fn names_of(&self, entry: &ArchivedEntry) -> Names {
        let mut definitions = crate::lock(&self.definitions);
        Names {
            object: Digest(entry.object_digest),
            defines: (entry.defines.iter())
                .map(|name| definitions.number(name))
                .collect(),
            defines_later: (entry.defines_later.iter())
                .map(|name| definitions.number(name))
                .collect(),
            references: (entry.references.iter())
                .map(|name| definitions.number(name))
                .collect(),
        }
    }

    fn evaluated(&self, loaded: Loaded<B>, outcome: Outcome) -> Evaluated<'_, B> {
        let mut definitions = crate::lock(&self.definitions);
        for &name in &loaded.graph.defines {
            definitions.begin(name);
        }
        drop(definitions);
        Evaluated {
            session: self,
            running: loaded.running,
            factory: loaded.factory,
            graph: loaded.graph,
            outcome,
            ran: Ran::Failed,
        }
    }
}

impl<B: Backend> Evaluated<'_, B> {
    /// The address of the factory, a function of the host's own type.
    pub fn factory(&self) -> *const u8 {
        self.factory
    }

    /// What came of the look-up.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// The address of another exported symbol.
    pub fn symbol(&self, name: &str) -> Option<*const u8> {
        match &self.running {
            Running::Kept(code) => code.symbol(name),
            Running::Unkept(code) => code.symbol(name),
        }
    }

    /// Says how the factory went, and gives the outcome.
    pub fn finish(mut self, ran: Ran) -> Outcome {
        self.ran = ran;
        self.outcome.clone()
    }
}

impl<B: Backend> Drop for Evaluated<'_, B> {
    fn drop(&mut self) {
        let standing = match self.ran {
            Ran::Pure => Standing::Determined,
            Ran::Impure | Ran::Failed => Standing::Volatile,
        };
        let mut definitions = crate::lock(&self.session.definitions);
        definitions.end(
            &self.graph.defines,
            self.graph.object,
            &self.graph.references,
            standing,
        );
        for &name in &self.graph.defines_later {
            definitions.set_by_calls(name);
        }
    }
}

struct Loaded<B: Backend> {
    running: Running<B>,
    factory: *const u8,
    graph: Names,
}

/// A definition that was just compiled, on its way into the store.
struct Fresh<'a, U> {
    definition: &'a Definition<'a>,
    key: FormKey,
    compilation: &'a Compilation<U>,
    compiled: Compiled,
    effects: Vec<EffectRecord>,
    image: Image,
    began: Instant,
}

/// Why a record that was there is no hit, and whether its bytes are to blame.
struct Refused {
    outcome: Outcome,
    damage: Option<String>,
}

impl Refused {
    fn new(outcome: Outcome) -> Self {
        Self {
            outcome,
            damage: None,
        }
    }
}

/// Orders refusals: damage is told rather than staleness, staleness rather than absence.
fn gravity(outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::Rejected(_) => 2,
        Outcome::Miss(MissReason::New) => 0,
        _ => 1,
    }
}
