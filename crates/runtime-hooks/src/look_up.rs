//! The hit: a record whose dependencies are what they were, and its code in this process.

use crate::cache::{Backend, Session};
use crate::compilation::Compilation;
use crate::definitions::{Definitions, NameId, Numbers};
use crate::evaluate::{Loaded, Running};
use crate::flights::{EXPENSIVE, Lead, ProcessLock, ProcessTurn, Turn};
use crate::host::{Bindings, Host};
use crate::keep::Known;
use crate::kept::Kept;
use crate::names::Names;
use crate::outcome::{Change, MissReason, Outcome, RejectReason};
use crate::shared::{Held, Sought};
use crate::watch::Origin;
use rekindle_cache_core::Digest;
use rekindle_cache_core::artifact::{
    Code, Compiler, DependencyKind, Hasher, ImageRef, LoadFailure, Loader,
};
use rekindle_cache_core::key::FormKey;
use rekindle_cache_core::metadata::{
    ArchivedDependencyRecord, ArchivedEffectRecord, ArchivedEntry, ArchivedMetadata,
    ArchivedSideTableRecord, BASE, BETTER, NameRole,
};
use rekindle_cache_core::store::{Found, Record, Store};
use smallvec::SmallVec;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Why a record that was there is no hit, and whether its bytes are to blame.
pub(crate) struct Refused {
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

/// Why no record was a hit.
struct Missed {
    outcome: Outcome,
    /// What compiling the definition took before, if it was; else 0.
    compile_ns: u64,
}

impl Default for Missed {
    fn default() -> Self {
        Self {
            outcome: Outcome::Miss(MissReason::New),
            compile_ns: 0,
        }
    }
}

impl Missed {
    /// Of several refusals the gravest is told, and of equal ones the first: that of the newest record.
    fn add(&mut self, other: Self) {
        if gravity(&other.outcome) > gravity(&self.outcome) {
            self.outcome = other.outcome;
        }
        self.compile_ns = self.compile_ns.max(other.compile_ns);
    }
}

/// The lead in compiling a definition, which others wait for until this is dropped.
pub(crate) struct Leading<'k> {
    kept: &'k Kept,
    // Dropped first: other processes may look as soon as the record is there.
    process: Option<ProcessLock<'k>>,
    thread: Option<Lead<'k>>,
}

impl<'k> Leading<'k> {
    fn new(kept: &'k Kept, thread: Option<Lead<'k>>) -> Self {
        Self {
            kept,
            process: None,
            thread,
        }
    }

    /// Takes the lead among processes as well, or waits for who has it: then it is worth looking again.
    fn ask_processes(&mut self, key: &FormKey, known: Option<Duration>) -> bool {
        if self.thread.is_none() {
            return false;
        }
        match self.kept.flights().ask_processes(key, known) {
            ProcessTurn::Lead(lock) => {
                self.process = Some(lock);
                false
            }
            ProcessTurn::LookAgain(lock) => {
                self.process = Some(lock);
                true
            }
            ProcessTurn::Alone => false,
        }
    }
}

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        if let Some(lock) = &self.process
            && lock.is_awaited()
            && let Err(error) = self.kept.flush()
        {
            tracing::debug!(%error, "another process waits for what cannot be published");
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

/// Code that was found, and where it came from if its factory has not run in this process.
type Revived<'s, B> = (Held<'s, B>, Option<Origin>);

impl<B: Backend> Session<B> {
    /// Finds a record that is right now and loads it. Before there is none, records that other processes
    /// have published meanwhile are looked for, and whoever compiles this very definition is waited for.
    /// Code is shared with what equals the definition that `sharing` seeks.
    ///
    /// # Errors
    /// Why there is none, and the lead in compiling it, which others wait for until it is dropped.
    pub(crate) fn look_up_or_lead<'k>(
        &self,
        kept: &'k Kept,
        key: &FormKey,
        sharing: Option<&Sought<'_>>,
        host: &dyn Host,
    ) -> Result<Revived<'_, B>, (Outcome, Leading<'k>)> {
        let store = kept.store();
        let mut missed = match self.look_up(store, key, sharing, host) {
            Ok(loaded) => return Ok(loaded),
            Err(missed) => missed,
        };
        let again = |missed: &mut Missed| match self.look_up(store, key, sharing, host) {
            Ok(loaded) => Some(loaded),
            Err(newer) => {
                missed.add(newer);
                None
            }
        };
        let lead = match kept.flights().turn(key) {
            Turn::Lead(lead) => Some(lead),
            Turn::LookAgain => match again(&mut missed) {
                Some(loaded) => return Ok(loaded),
                None => None,
            },
            Turn::Alone => None,
        };
        // What was put since the first look, in this process or another.
        let is_worth_a_look = kept.looks().has_grown(store) || lead.is_some();
        if is_worth_a_look && let Some(loaded) = again(&mut missed) {
            return Ok(loaded);
        }
        let known = (missed.compile_ns > 0).then(|| Duration::from_nanos(missed.compile_ns));
        let compiler = self.cache.backend.compiler();
        let expected = known.unwrap_or_else(|| compiler.expected_cost());
        let mut leading = Leading::new(kept, lead);
        if expected > EXPENSIVE
            && leading.ask_processes(key, known)
            && kept.looks().has_grown_now(store)
            && let Some(loaded) = again(&mut missed)
        {
            return Ok(loaded);
        }
        Err((missed.outcome, leading))
    }

    /// Finds a record that is right now and loads it, or says why there is none.
    fn look_up(
        &self,
        store: &dyn Store,
        key: &FormKey,
        sharing: Option<&Sought<'_>>,
        host: &dyn Host,
    ) -> Result<Revived<'_, B>, Missed> {
        let mut missed = Missed::default();
        let mut damaged_image = None;
        let mut hit = None;
        let mut look = |found: Found<'_>, tier: Option<u8>| {
            let refused = match found {
                Found::Record(record)
                    if tier.is_some_and(|it| it != record.metadata.entry.tier) =>
                {
                    return ControlFlow::Continue(());
                }
                Found::Record(record) => {
                    let compile_ns = record.metadata.entry.compile_ns.to_native();
                    match self.revive(&record, sharing, host) {
                        Ok(loaded) => {
                            hit = Some((loaded, compile_ns));
                            return ControlFlow::Break(());
                        }
                        Err(Refused { outcome, damage }) => {
                            damaged_image = damaged_image.take().or(damage);
                            Missed {
                                outcome,
                                compile_ns,
                            }
                        }
                    }
                }
                Found::Damaged(damage) => Missed {
                    outcome: Outcome::Rejected(RejectReason::Damaged(damage.to_string())),
                    compile_ns: 0,
                },
                _ => return ControlFlow::Continue(()),
            };
            missed.add(refused);
            ControlFlow::Continue(())
        };
        match self.cache.backend.better() {
            None => store.get(key, &mut |found| look(found, None)),
            Some(_) => {
                let mut is_found = false;
                for tier in [BETTER, BASE] {
                    if is_found {
                        break;
                    }
                    store.get(key, &mut |found| {
                        let flow = look(found, Some(tier));
                        is_found = flow.is_break();
                        flow
                    });
                }
            }
        }
        let Some((loaded, compile_ns)) = hit else {
            // A record that is right hides a damaged one before it just as well.
            if let Some(what) = damaged_image {
                store.report_damage(key, &what);
            }
            return Err(missed);
        };
        self.counters.saved(compile_ns);
        if loaded.0.tier() == BETTER {
            self.counters.better();
        }
        Ok(loaded)
    }

    /// Finds code that was kept for an equal analysed form and loads it, whatever text it came from.
    ///
    /// A record under the form's key holds nothing but the form key of the definition that the code was
    /// kept with: its image is those 32 bytes.
    pub(crate) fn look_up_analysed(
        &self,
        store: &dyn Store,
        canonical: &Digest,
        compilation: &Compilation<B::Unit>,
        host: &dyn Host,
    ) -> Option<(Loaded<B>, Known)> {
        let mut hit = None;
        let key = self.cache.environment.canonical_key(canonical);
        store.get(&key, &mut |found| {
            if let Found::Record(pointer) = found
                && let Some(target) = target(&pointer)
            {
                store.get(&target, &mut |found| {
                    if let Found::Record(record) = found
                        && record.metadata.entry.canonical == canonical.0
                    {
                        hit = self.revive_analysed(&record, compilation, host);
                    }
                    match hit {
                        Some(_) => ControlFlow::Break(()),
                        None => ControlFlow::Continue(()),
                    }
                });
            }
            match hit {
                Some(_) => ControlFlow::Break(()),
                None => ControlFlow::Continue(()),
            }
        });
        hit
    }

    /// Checks what a record's code was made of beside its form, and loads it.
    fn revive_analysed(
        &self,
        record: &Record<'_>,
        compilation: &Compilation<B::Unit>,
        host: &dyn Host,
    ) -> Option<(Loaded<B>, Known)> {
        let metadata = record.metadata;
        let dependencies = metadata.manifest.code_dependencies();
        self.check(dependencies, None, host).ok()?;
        // The copy is what is kept again, so it is what is loaded.
        let known = Known::of(record)?;
        let image = ImageRef {
            bytes: &known.image.bytes,
            checksum: known.image.checksum,
        };
        let (running, factory) = self.load(image, metadata, host).ok()?;
        tables(host, metadata.entry.code_tables());
        for table in &compilation.side_tables {
            host.side_table(&table.name, &table.bytes);
        }
        self.counters.saved(metadata.entry.compile_ns.to_native());
        let names = self.names_of(compilation, Digest(metadata.entry.object_digest));
        let loaded = Loaded {
            running,
            factory,
            names,
            origin: Some(origin(record)),
            tier: metadata.entry.tier,
        };
        Some((loaded, known))
    }

    /// Checks a record's dependencies and loads its image, unless an equal definition's code can be shared.
    fn revive(
        &self,
        record: &Record<'_>,
        sharing: Option<&Sought<'_>>,
        host: &dyn Host,
    ) -> Result<Revived<'_, B>, Refused> {
        let metadata = record.metadata;
        let manifest = &metadata.manifest;
        // Before anything is looked at.
        let sharing = sharing.and_then(|sought| Some((sought, self.stamp(host)?)));
        let entry = &metadata.entry;
        // Shared code has its names with it.
        let is_alone = !sharing.is_some_and(|(sought, _)| sought.may_be_there());
        let names = self
            .check(
                manifest.dependencies.iter(),
                is_alone.then_some(entry),
                host,
            )
            .map_err(|reason| Refused::new(Outcome::Miss(reason)))?;
        let repeat = || {
            tables(host, entry.side_tables.iter());
            let fails =
                |effect: &&ArchivedEffectRecord| !host.replay(&effect.kind, &effect.payload);
            match entry.effects.iter().find(fails) {
                Some(effect) => {
                    let kind = effect.kind.as_str().to_owned();
                    Err(Refused::new(Outcome::Miss(MissReason::Effect(kind))))
                }
                None => Ok(()),
            }
        };
        if let Some((sought, stamp)) = sharing
            && let Some(shared) = self.share_checked(sought, stamp, metadata)
        {
            repeat()?;
            self.counters.shared();
            return Ok((Held::Shared(shared), None));
        }
        let (running, factory) = self.load(record.image, metadata, host)?;
        repeat()?;
        let origin = Some(origin(record));
        let loaded = Loaded {
            running,
            factory,
            names: names.unwrap_or_else(|| names_of(&self.names, entry)),
            origin,
            tier: entry.tier,
        };
        let held = match sharing {
            Some((sought, stamp)) => self.let_share(sought, loaded, stamp, metadata, host),
            None => Held::Own(Box::new(loaded)),
        };
        Ok((held, origin))
    }

    /// Loads the image of a record whose code dependencies are what they were.
    fn load(
        &self,
        image: ImageRef<'_>,
        metadata: &ArchivedMetadata,
        host: &dyn Host,
    ) -> Result<(Running<B>, *const u8), Refused> {
        let permitted = |library: &str| {
            metadata.manifest.code_dependencies().any(|dependency| {
                dependency.kind() == Some(DependencyKind::Module) && dependency.name == library
            })
        };
        let bindings = Bindings::new(&self.cache, host, &permitted);
        // SAFETY: the record's checksums were right and its key is of this environment, so the image comes
        // from this loader's `prepare` on an object of the host's own compiler, for the build of the
        // executable that runs; its dependencies are what they were. That nobody else writes to the
        // folder is what the store's check of owner and mode is for.
        let loaded = unsafe { self.cache.backend.loader().load(image, &bindings) };
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
        self.counters.loaded(code.size());
        Ok((Running::Kept(code), factory))
    }

    /// Whether dependencies are what they were. If so, gives the names of `entry`.
    ///
    /// # Errors
    /// The first dependency that is not what it was.
    fn check<'r>(
        &self,
        mut dependencies: impl Iterator<Item = &'r ArchivedDependencyRecord> + Clone,
        entry: Option<&ArchivedEntry>,
        host: &dyn Host,
    ) -> Result<Option<Names>, MissReason> {
        let is_behaviour = |dependency: &ArchivedDependencyRecord| {
            dependency.kind() == Some(DependencyKind::Behaviour)
        };
        let behaviours = dependencies.clone().enumerate();
        let behaviours = behaviours.filter(|(_, dependency)| is_behaviour(dependency));
        let changed = match self.are_known(behaviours.clone()) {
            true => None,
            false => self.find_changed(behaviours),
        };
        // The host is asked without the lock, and only for those that come before.
        let before = changed.map_or(usize::MAX, |(place, _)| place);
        for dependency in dependencies.clone().take(before) {
            if is_behaviour(dependency) {
                continue;
            }
            let Some(kind) = dependency.kind() else {
                return Err(MissReason::UnknownDependency);
            };
            let is = self.digest_now(kind, &dependency.name, &dependency.scope, host);
            if is != Some(dependency.digest()) {
                return Err(stale(dependency, kind, is));
            }
        }
        match changed.and_then(|(place, is)| Some((dependencies.nth(place)?, is))) {
            Some((dependency, is)) => Err(stale(dependency, DependencyKind::Behaviour, is)),
            None => Ok(entry.map(|entry| names_of(&self.names, entry))),
        }
    }

    /// Whether this thread knows that behaviours are what they were, without asking for the definitions.
    #[inline]
    fn are_known<'r>(
        &self,
        mut behaviours: impl Iterator<Item = (usize, &'r ArchivedDependencyRecord)>,
    ) -> bool {
        // Before anything that is known is looked at: it all stood then.
        let now = self.verdicts.load(Ordering::Acquire);
        let known = crate::lock(self.known.mine());
        behaviours.all(|(_, dependency)| {
            let name = self.names.number(&dependency.name);
            known.get(now, name) == Some(dependency.digest())
        })
    }

    /// The first of these behaviours that is not what it was, with the one that it is. What this thread is told, it
    /// knows from now on.
    #[cold]
    fn find_changed<'r>(
        &self,
        behaviours: impl Iterator<Item = (usize, &'r ArchivedDependencyRecord)>,
    ) -> Option<(usize, Option<Digest>)> {
        let mut definitions = self.definitions();
        let mut told: SmallVec<[(NameId, Digest); 4]> = SmallVec::new();
        let mut changed = None;
        for (place, dependency) in behaviours {
            let name = definitions.number(&dependency.name);
            let is = behaviour(&mut definitions, name);
            told.extend(is.map(|is| (name, is)));
            if is != Some(dependency.digest()) {
                changed = Some((place, is));
                break;
            }
        }
        // It changes only while the definitions are held.
        let stamp = self.verdicts.load(Ordering::Acquire);
        drop(definitions);
        let mut known = crate::lock(self.known.mine());
        for (name, is) in told {
            known.put(stamp, name, is);
        }
        changed
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
}

/// The behaviour that a name has at this moment, if it has one. What stands against it is wanted then.
fn behaviour(definitions: &mut Definitions, name: NameId) -> Option<Digest> {
    let behaviour = definitions.behaviour(name).ok();
    if behaviour.is_none() {
        definitions.want(name);
    }
    behaviour
}

fn stale(
    dependency: &ArchivedDependencyRecord,
    kind: DependencyKind,
    is: Option<Digest>,
) -> MissReason {
    MissReason::Stale(Box::new(Change {
        kind,
        name: dependency.name.as_str().to_owned(),
        scope: dependency.scope.as_str().to_owned(),
        was: dependency.digest(),
        is,
    }))
}

fn names_of(names: &Numbers, entry: &ArchivedEntry) -> Names {
    Names::new(
        Digest(entry.object_digest),
        entry.names.len(),
        entry.names(NameRole::Defined),
        entry.names(NameRole::DefinedLater),
        entry.names(NameRole::Referred),
        |name| names.number(name),
    )
}

fn origin(record: &Record<'_>) -> Origin {
    Origin {
        key: record.key,
        image: record.image.checksum,
    }
}

fn tables<'r>(host: &dyn Host, tables: impl Iterator<Item = &'r ArchivedSideTableRecord>) {
    for table in tables {
        host.side_table(&table.name, &table.bytes);
    }
}

/// What a record that is found by an analysed form points to.
fn target(pointer: &Record<'_>) -> Option<FormKey> {
    let key: [u8; 32] = pointer.image.bytes.try_into().ok()?;
    let is_intact = rekindle_cache_core::checksum(&key) == pointer.image.checksum;
    is_intact.then_some(FormKey(Digest(key)))
}
