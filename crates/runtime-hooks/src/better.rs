//! Better code: in idle time, what a cheap compiler compiled is compiled again by one that takes longer.
//!
//! A backend may have a [better compiler](crate::Backend::better) for the same units. Both are part of the
//! environment, so that code of both is found by one form key; each record says which of the two made it, and a
//! look-up takes the better one where it can. Better code takes nothing away and changes no digest:
//! it stands beside the record that it was made for, with all of its dependencies and with the identity of
//! the cheap object, by which what it does is known to others. So whether it is there makes no difference to
//! any other definition.
//!
//! What is compiled again: what was costly to compile, at once; and of the hits that have no better
//! code yet, a share. Who is evaluated by many processes is chosen sooner or later, and what nobody needs is not.
//! A hit that is chosen costs the evaluating thread what the front end takes, since there is no unit
//! otherwise. A host may also [say so](crate::Session::improve).
//!
//! The work is a [job](crate::jobs) for idle time. At most [`QUEUE`] wait; closing the cache drops those that do, unless it
//! [was told](Improving::at_close) to wait.

use crate::asked::Copied;
use crate::cache::{Backend, Session};
use crate::compilation::Compilation;
use crate::host::Host;
use crate::jobs::Jobs;
use crate::kept::Kept;
use crate::recorder::Recorder;
use crate::watch::{Origin, Watch};
use rekindle_cache_core::artifact::{
    Compiled, Compiler, Dependency, DependencyKind, Hasher, Loader,
};
use rekindle_cache_core::key::{Definition, Environment, FormKey};
use rekindle_cache_core::metadata::{BETTER, DependencyRecord, Metadata, SideTableRecord};
use rekindle_cache_core::store::{Deaths, Found, NewRecord, Provenance, Store};
use rekindle_cache_core::{Digest, DigestBuilder, symbol_hash};
use std::error::Error;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Functions that compilers call without being asked. Where they come from counts for better code whose object
/// has their names in it: what it is bound to shows only when it is loaded, which is elsewhere.
const LIBCALLS: [&str; 12] = [
    "memcpy", "memmove", "memset", "memcmp", "bcmp", "strlen", "fmod", "fma", "floor", "ceil",
    "trunc", "round",
];

/// How many units may wait.
const QUEUE: usize = 256;

/// A compiler that takes longer, for better code of the same units.
pub trait BetterCompiler<U>: Send + Sync {
    /// See [`Compiler::fingerprint`].
    fn better_fingerprint(&self) -> Digest;

    /// See [`Compiler::compile`].
    ///
    /// # Errors
    /// Whatever the compiler has to say about the unit. The code that is there then stays.
    fn better_object(&self, unit: &U) -> Result<Compiled, Box<dyn Error + Send + Sync>>;
}

impl<C: Compiler + Send + Sync> BetterCompiler<C::Unit> for C {
    fn better_fingerprint(&self) -> Digest {
        self.fingerprint()
    }

    fn better_object(&self, unit: &C::Unit) -> Result<Compiled, Box<dyn Error + Send + Sync>> {
        self.compile(unit).map_err(Into::into)
    }
}

/// What is compiled again, where the backend has a better compiler.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Improving {
    /// What took longer than this, front end included, is compiled again when it has been compiled.
    pub costly: Duration,
    /// The share of hits on code that is not the better, from 0 to 1, for which that is made.
    pub share: f64,
    /// How long closing the cache goes on with what waits.
    pub at_close: Duration,
}

impl Default for Improving {
    /// From 2 ms, and every eighth hit; nothing at closing.
    fn default() -> Self {
        Self {
            costly: Duration::from_millis(2),
            share: 0.125,
            at_close: Duration::ZERO,
        }
    }
}

/// Is told of a definition for which there is better code from now on, on the thread that made it.
pub type BetterListener = dyn Fn(&Definition<'_>) + Send + Sync;

/// What makes code better, for `store` to keep.
pub(crate) fn improver(store: Arc<dyn Store>) -> Jobs {
    Jobs::in_idle_time(
        "rekindle-better",
        QUEUE,
        "code could not be made better",
        store,
    )
}

/// A unit whose code is to be made better.
pub(crate) struct Candidate<U> {
    pub(crate) unit: U,
    /// What tells the unit from others, as the record has it.
    pub(crate) digest: Digest,
    pub(crate) key: FormKey,
}

/// What keeps code from being made of which processes die, and from being compiled where compilers do.
#[derive(Default)]
pub(crate) struct Caution {
    /// There where the store has a folder.
    pub(crate) deaths: Option<Arc<Deaths>>,
    /// There where deaths are to be noted.
    pub(crate) watch: Option<Arc<Watch>>,
}

impl Caution {
    /// Compiles `unit`, unless a process has died of that. As the better compiler's only, the death says nothing
    /// of what is kept: it counts against a key of its own.
    fn compile<U>(
        &self,
        compiler: &dyn BetterCompiler<U>,
        unit: &U,
        better_unit: Digest,
    ) -> Result<Compiled, String> {
        let origin = Origin {
            key: FormKey(better_unit),
            image: better_unit.prefix(),
        };
        let died = |deaths: &Arc<Deaths>| deaths.count(&origin.key, origin.image) > 0;
        if self.deaths.as_ref().is_some_and(died) {
            return Err("a process died while it compiled this".to_owned());
        }
        let _inside = self.watch.as_ref().and_then(|watch| watch.enter(&origin));
        compiler
            .better_object(unit)
            .map_err(|error| error.to_string())
    }

    /// Whether processes died in this code, so that it was set aside.
    fn is_deadly(&self, key: &FormKey, image: u64) -> bool {
        let too_many = |deaths: &Arc<Deaths>| deaths.are_too_many(key, image);
        self.deaths.as_ref().is_some_and(too_many)
    }
}

/// A function that compilers call without being asked, and the library that provides it.
struct Libcall {
    name: &'static str,
    library: Dependency,
}

impl Libcall {
    /// Whether its name occurs in an object, whatever as.
    fn is_in(&self, object: &[u8]) -> bool {
        let name = self.name.as_bytes();
        object.windows(name.len()).any(|window| window == name)
    }
}

impl<B: Backend> Session<B> {
    /// Has the code of a definition made better in idle time, if the backend has a [better
    /// compiler](Backend::better) and there is a hit for it whose code is not the better: for what the host knows to be
    /// worth it, as it has found out where it spends its time. `compile` is what would be given to
    /// [`eval_def`](Self::eval_def), and is called as on a miss, unless nothing of the definition is kept. Returns
    /// whether it will be tried: not where there is no such hit, or better code of it already, and not while as much
    /// waits as may.
    pub fn improve<E>(
        &self,
        definition: &Definition<'_>,
        host: &dyn Host,
        compile: impl FnOnce(&Recorder<'_>) -> Result<Compilation<B::Unit>, E>,
    ) -> bool {
        let key = self.cache.environment.form_key(definition);
        match self.cache.kept.as_ref() {
            Some(kept) if is_kept(kept.store(), &key) => {
                self.improve_hit(kept, definition, key, host, compile)
            }
            _ => false,
        }
    }

    /// Has the front end run for a hit, and its code made better.
    #[cold]
    pub(crate) fn improve_hit<E>(
        &self,
        kept: &Kept,
        definition: &Definition<'_>,
        key: FormKey,
        host: &dyn Host,
        compile: impl FnOnce(&Recorder<'_>) -> Result<Compilation<B::Unit>, E>,
    ) -> bool {
        if !kept.improver().is_some_and(Jobs::has_room) {
            return false;
        }
        let recorder = Recorder::new(host, self.unadmitted(), &self.outside);
        let Ok(compilation) = compile(&recorder) else {
            return false;
        };
        if recorder.finish().bypass.is_some() {
            return false;
        }
        let backend = &self.cache.backend;
        let Some(better) = backend.better() else {
            return false;
        };
        let (unit, digest) = compilation.unit.into_unit_and_digest(backend.compiler());
        let candidate = Candidate { unit, digest, key };
        let unit = better_unit(&candidate.digest, &better.better_fingerprint());
        let has_cheap = cheap(kept.store(), &candidate, &unit).is_some();
        if has_cheap {
            self.make_better(kept, Arc::new(Copied::of(definition)), candidate);
        }
        has_cheap
    }

    /// Has better code made of a unit that was compiled and kept just now, if that took long.
    pub(crate) fn improve_costly(
        &self,
        kept: &Kept,
        definition: impl FnOnce() -> Arc<Copied>,
        took: Duration,
        candidate: impl FnOnce() -> Candidate<B::Unit>,
    ) {
        if let Some(improver) = kept.improver() {
            improver.note_compiled();
            if took >= self.cache.improving.costly && improver.has_room() {
                self.make_better(kept, definition(), candidate());
            }
        }
    }

    fn make_better(&self, kept: &Kept, definition: Arc<Copied>, candidate: Candidate<B::Unit>) {
        let Some(improver) = kept.improver() else {
            return;
        };
        let backend = Arc::clone(&self.cache.backend);
        let environment = Arc::clone(&self.cache.environment);
        let store = kept.shared_store();
        let (verdicts, counters) = (Arc::clone(&self.verdicts), Arc::clone(&self.counters));
        let listener = self.cache.better_listener.clone();
        let (libcalls, caution) = (self.libcalls(), kept.caution());
        improver.add(Box::new(move || {
            let Candidate { key, .. } = candidate;
            let made = make(
                &*backend,
                &environment,
                &*store,
                &candidate,
                &libcalls,
                &caution,
            );
            // Of which there may be much, and which nobody needs any longer.
            drop(candidate);
            let definition = definition.definition();
            match made {
                Ok(true) => {
                    counters.improved();
                    if let Some(listener) = listener {
                        // So that code which is shared is looked up anew.
                        verdicts.fetch_add(1, Ordering::Release);
                        listener(&definition);
                    }
                }
                Ok(false) => tracing::debug!(%key, "what was to be made better is gone"),
                Err(error) => {
                    tracing::debug!(name = definition.name, error, "there is no better code");
                }
            }
        }));
    }

    /// The libraries that provide what compilers call without being asked.
    fn libcalls(&self) -> Vec<Libcall> {
        let found = LIBCALLS.iter().filter_map(|name| {
            let provided = self.cache.process.find(symbol_hash(name), name)?;
            let provider = provided.provider;
            if provider.is_executable() || self.cache.providers.contains(provider) {
                return None;
            }
            let library = Dependency {
                kind: DependencyKind::Module,
                digest: self.cache.process.identity(&provider.name)?,
                name: provider.name.clone(),
                scope: String::new(),
            };
            Some(Libcall { name, library })
        });
        found.collect()
    }
}

/// Compiles a unit with the better compiler and puts the code beside the record of the cheap one; `false` if that
/// is not there, or better code is.
fn make<B: Backend>(
    backend: &B,
    environment: &Environment,
    store: &dyn Store,
    candidate: &Candidate<B::Unit>,
    libcalls: &[Libcall],
    caution: &Caution,
) -> Result<bool, String> {
    let Some(better) = backend.better() else {
        return Ok(false);
    };
    let unit = better_unit(&candidate.digest, &better.better_fingerprint());
    let Some(mut metadata) = cheap(store, candidate, &unit) else {
        return Ok(false);
    };
    let compiled = caution.compile(better, &candidate.unit, unit)?;
    let image = backend
        .loader()
        .prepare(&compiled.object.bytes, &[&metadata.entry.factory])
        .map_err(|error| error.to_string())?;
    if caution.is_deadly(&candidate.key, image.checksum) {
        return Err("processes died in the better code".to_owned());
    }
    let made_for = (metadata.manifest.object_key, metadata.entry.created);

    let manifest = &mut metadata.manifest;
    // What the cheap code was made of stays: the record goes on saying that this is its object's behaviour.
    let called = libcalls
        .iter()
        .filter(|libcall| libcall.is_in(&compiled.object.bytes));
    let libraries = called.map(|libcall| &libcall.library);
    let of_code = compiled.dependencies.iter().chain(libraries);
    for record in of_code.map(DependencyRecord::of_code) {
        if !manifest.dependencies.contains(&record) {
            manifest.dependencies.push(record);
        }
    }
    manifest
        .dependencies
        .sort_by_key(|record| record.is_of_code);
    let all: Option<Vec<_>> = (manifest.dependencies.iter())
        .map(DependencyRecord::dependency)
        .collect();
    let Some(all) = all else {
        return Ok(false);
    };
    manifest.object_key = environment.object_key(&unit, &all).0.0;
    let entry = &mut metadata.entry;
    entry.tier = BETTER;
    entry.unit_digest = unit.0;
    // What it took to compile stays too: without this record that is what evaluating would take.
    entry.created = crate::keep::seconds_since_1970();
    entry.image_checksum = image.checksum;
    let tables = compiled.object.side_tables.into_iter();
    let tables = tables.map(|table| SideTableRecord {
        is_of_host: false,
        name: table.name,
        bytes: table.bytes,
    });
    let hosts = std::mem::take(&mut entry.side_tables).into_iter();
    let hosts = hosts.filter(|table| table.is_of_host);
    entry.side_tables = tables.chain(hosts).collect();
    // It may have been found wrong meanwhile, and what was made of it with it.
    if !is_there(store, &candidate.key, made_for) {
        return Ok(false);
    }
    let put = store.put(NewRecord {
        key: candidate.key,
        metadata: &metadata,
        image: image.as_ref(),
        provenance: Provenance::OWN,
    });
    put.map_err(|error| error.to_string())?;
    store.write().map_err(|error| error.to_string())?;
    Ok(true)
}

/// The newest record of a unit without better code, whose unit would be `better`: each state of the world in which
/// the text gives this unit has a record.
fn cheap<U>(store: &dyn Store, candidate: &Candidate<U>, better: &Digest) -> Option<Metadata> {
    let (mut all, mut have_better) = (Vec::new(), Vec::new());
    store.get(&candidate.key, &mut |found| {
        if let Found::Record(record) = found
            && record.provenance == Provenance::OWN
        {
            let unit = record.metadata.entry.unit_digest;
            let found = [candidate.digest.0, better.0].contains(&unit);
            if let Some(Ok(metadata)) = found.then(|| record.metadata.to_metadata()) {
                match unit == better.0 {
                    true => have_better.push(metadata),
                    false => all.push(metadata),
                }
            }
        }
        ControlFlow::Continue(())
    });
    let state = |metadata: &Metadata| -> Vec<DependencyRecord> {
        let dependencies = metadata.manifest.dependencies.iter();
        dependencies
            .filter(|one| !one.is_of_code)
            .cloned()
            .collect()
    };
    let have_better: Vec<_> = have_better.iter().map(state).collect();
    all.into_iter()
        .find(|metadata| !have_better.contains(&state(metadata)))
}

/// Whether there is a record of `key` that better code can be made for.
fn is_kept(store: &dyn Store, key: &FormKey) -> bool {
    let mut is_kept = false;
    store.get(key, &mut |found| {
        if let Found::Record(record) = found {
            is_kept = record.provenance == Provenance::OWN && record.metadata.entry.tier != BETTER;
        }
        match is_kept {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    is_kept
}

/// Whether a record of `key` still is there, which its object key and when it was made tell from others.
fn is_there(store: &dyn Store, key: &FormKey, (object_key, created): ([u8; 32], u64)) -> bool {
    let mut is_there = false;
    store.get(key, &mut |found| {
        if let Found::Record(record) = found {
            let metadata = record.metadata;
            is_there = metadata.manifest.object_key == object_key
                && metadata.entry.created.to_native() == created;
        }
        match is_there {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    is_there
}

/// What a record of better code says of its unit.
fn better_unit(unit: &Digest, fingerprint: &Digest) -> Digest {
    let mut builder = DigestBuilder::new("rekindle unit of better code");
    builder.digest(unit).digest(fingerprint).finish()
}
