//! Warming: a program's definitions are compiled and kept, and the program does not run.
//!
//! A record holds what a run would have recorded: what symbols mean, and how that behaves which ran at
//! compile time. Symbols mean something as soon as the host has declared what a definition defines. What
//! runs at compile time needs values: so the factory of a definition is [put off](PutOff), and runs only
//! if a macro reaches what it defines, or if something that it is made of is about to be defined anew. The
//! session finds out which those are, and asks the host by [`Host::catch_up`].
//!
//! The front end goes through the program in order, on one thread. Code is made of its units by a
//! [`Crew`], and brought in and kept on the session's own thread again.

use crate::asked::{Asked, Copied};
use crate::better::Candidate;
use crate::cache::{Backend, Session};
use crate::compilation::Compilation;
use crate::compile::split;
use crate::crew::{Awaited, Crew, Made};
use crate::definitions::{NameId, Ordinal};
use crate::error::EvalError;
use crate::evaluate::{Evaluated, Loaded};
use crate::host::Host;
use crate::keep::Fresh;
use crate::kept::Kept;
use crate::names::{Names, NamesRef};
use crate::outcome::{BypassReason, MissReason, Outcome};
use crate::recorder::{Recorded, Recorder};
use crate::shared::Held;
use crate::statistics::Stopwatch;
use crate::unkept::Fault;
use rekindle_cache_core::Digest;
use rekindle_cache_core::artifact::Hasher;
use rekindle_cache_core::key::{Definition, FormKey};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A definition whose factory has not run, and whose code may be in the making.
///
/// It is [settled](Session::settle) at the end, if not before, so that its code is kept; its factory runs if
/// [`Host::catch_up`] asks for that.
#[must_use = "its code is kept when it is settled"]
pub struct PutOff<B: Backend> {
    ordinal: Ordinal,
    outcome: Outcome,
    code: Option<Ready<B>>,
}

enum Ready<B: Backend> {
    /// In this process.
    Loaded(Loaded<B>),
    /// In the making.
    Coming(Box<Coming<B>>),
}

/// What is known of a definition before its code is made.
struct Coming<B: Backend> {
    awaited: Awaited<B::Unit>,
    definition: Arc<Copied>,
    key: FormKey,
    recorded: Recorded,
    canonical: Option<Digest>,
    compilation: Compilation<()>,
    names: Names,
    /// What the front end took.
    front: Duration,
}

impl<B: Backend> PutOff<B> {
    /// What [`Host::catch_up`] calls it.
    pub fn ordinal(&self) -> Ordinal {
        self.ordinal
    }

    /// What came of the look-up. A miss may turn out to be a bypass when the definition is settled.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// Whether its code is in the process.
    pub fn is_settled(&self) -> bool {
        !matches!(self.code, Some(Ready::Coming(_)))
    }
}

impl<B> Session<B>
where
    B: Backend + Send + Sync + 'static,
    B::Unit: Send,
{
    /// As [`eval_def`](Self::eval_def), and puts off what runs the definition: its code, if it is not kept
    /// yet, is made by `crew`. `compile` has to give its [`UnitSource`](crate::UnitSource) without making
    /// the unit for that to be worth anything.
    ///
    /// # Errors
    /// What `compile` returns, or code that must not be kept and cannot be run.
    pub fn warm_def<E>(
        &self,
        crew: &Crew<B>,
        definition: &Definition<'_>,
        host: &dyn Host,
        compile: impl FnOnce(&Recorder<'_>) -> Result<Compilation<B::Unit>, E>,
    ) -> Result<PutOff<B>, EvalError<E>> {
        let _stopwatch = Stopwatch::start(&self.counters);
        let key = self.cache.environment.form_key(definition);
        let asked = Asked::new(definition);
        let outcome = match self.cache.kept.as_ref() {
            None => Outcome::Bypass(BypassReason::Off),
            Some(kept) => match self.look_up_and_catch_up(kept, &key, host) {
                Ok(loaded) => return Ok(self.arrived(&asked, host, loaded, Outcome::Hit)),
                Err(refusal) => {
                    let refusal = self.cache.explained(definition, refusal);
                    kept.with_deaths(&key, refusal)
                }
            },
        };
        self.compile_later(crew, &asked, key, host, compile, outcome)
    }

    /// Looks a definition up. Where a record depends on the behaviour of what was put off, that is made up
    /// for first.
    fn look_up_and_catch_up(
        &self,
        kept: &Kept,
        key: &FormKey,
        host: &dyn Host,
    ) -> Result<Loaded<B>, Outcome> {
        let mut before = Vec::new();
        loop {
            let refusal = match self.look_up_or_lead(kept, key, None, host) {
                Ok((Held::Own(loaded), _)) => return Ok(*loaded),
                // Nobody has let anything be shared without saying which definition it is of.
                Ok((Held::Shared(_), _)) => return Err(Outcome::Miss(MissReason::New)),
                Err((refusal, _lead)) => refusal,
            };
            let wanted = self.definitions().take_wanted();
            // What the host cannot make up for is no reason to ask again.
            if wanted.is_empty() || wanted == before {
                return Err(refusal);
            }
            host.catch_up(&wanted);
            before = wanted;
        }
    }

    fn compile_later<E>(
        &self,
        crew: &Crew<B>,
        asked: &Asked<'_>,
        key: FormKey,
        host: &dyn Host,
        compile: impl FnOnce(&Recorder<'_>) -> Result<Compilation<B::Unit>, E>,
        mut outcome: Outcome,
    ) -> Result<PutOff<B>, EvalError<E>> {
        let began = Instant::now();
        let recorder = Recorder::new(host, self.unadmitted(), &self.outside);
        let compilation = compile(&recorder).map_err(EvalError::Host)?;
        let mut recorded = recorder.finish();
        if let (Some(reason), Some(_)) = (recorded.bypass.take(), &self.cache.kept) {
            outcome = Outcome::Bypass(reason);
        }
        let canonical = compilation.unit.canonical();
        if let (Outcome::Miss(reason), Some(kept)) = (&outcome, self.cache.kept.as_ref())
            && let Some(canonical) = canonical
            && let Some((loaded, known)) =
                self.look_up_analysed(kept.store(), &canonical, &compilation, host)
        {
            let outcome = Outcome::SecondHit(reason.clone());
            let fresh = Fresh {
                asked,
                key,
                recorded,
                canonical: Some(canonical),
                began,
            };
            self.keep_known(kept, fresh, split(compilation).1, known);
            return Ok(self.arrived(asked, host, loaded, outcome));
        }
        if matches!(outcome, Outcome::Bypass(_)) {
            let (unit, compilation) = split(compilation);
            let unit = unit.into_unit();
            let loaded = self.run_unkept(&unit, &compilation, host)?;
            return Ok(self.arrived(asked, host, loaded, outcome));
        }
        let (source, compilation) = split(compilation);
        // Its object is not there yet, and is not asked for before it is.
        let names = self.names_of(&compilation, Digest([0; 32]));
        let ordinal = self.put_off(names.as_ref(), host);
        let coming = Coming {
            awaited: crew.take_on(source, &compilation.factory),
            definition: asked.copy(),
            key,
            recorded,
            canonical,
            compilation,
            names,
            front: began.elapsed(),
        };
        Ok(PutOff {
            ordinal,
            outcome,
            code: Some(Ready::Coming(Box::new(coming))),
        })
    }

    /// Code that is there already.
    fn arrived(
        &self,
        asked: &Asked<'_>,
        host: &dyn Host,
        loaded: Loaded<B>,
        outcome: Outcome,
    ) -> PutOff<B> {
        self.counters.count(&outcome);
        self.cache.report(&asked.definition, &outcome);
        self.cache.note_miss(asked, &outcome);
        PutOff {
            ordinal: self.put_off(loaded.names.as_ref(), host),
            outcome,
            code: Some(Ready::Loaded(loaded)),
        }
    }

    fn put_off(&self, names: NamesRef<'_>, host: &dyn Host) -> Ordinal {
        self.catch_up_before(names, host);
        let mut definitions = self.definitions();
        let ordinal = definitions.put_off(names.defines(), names.references());
        for &name in names.defines_later() {
            definitions.set_by_calls(name);
        }
        ordinal
    }

    /// Has the host run what was put off and has to run before `names` are defined.
    #[cold]
    pub(crate) fn catch_up_before(&self, names: NamesRef<'_>, host: &dyn Host) {
        for &name in names.defines() {
            let needed = self.definitions().needed_before(name, names.references());
            if !needed.is_empty() {
                host.catch_up(&needed);
            }
        }
    }

    /// Waits until the code of a definition is made, brings it in and keeps it. Its factory stays put off.
    /// `host` is asked for what it would be asked for by [`eval_def`](Self::eval_def) for this definition.
    ///
    /// # Errors
    /// Code that can neither be kept nor run. The definition has no code then, and what reaches it at compile
    /// time is not recorded.
    pub fn settle(
        &self,
        crew: &Crew<B>,
        put_off: &mut PutOff<B>,
        host: &dyn Host,
    ) -> Result<(), EvalError<Infallible>> {
        let coming = match put_off.code.take() {
            Some(Ready::Coming(coming)) => coming,
            other => {
                put_off.code = other;
                return Ok(());
            }
        };
        // Others' code may be made while this one waits, which is none of its own time.
        let made = crew.wait_for(coming.awaited);
        let _stopwatch = Stopwatch::start(&self.counters);
        let Coming {
            definition,
            key,
            recorded,
            canonical,
            compilation,
            mut names,
            front,
            ..
        } = *coming;
        let asked = Asked::of(&definition);
        let made = made.map_err(|defect| EvalError::Compile(defect.into()))?;
        let took = front + made.took;
        let fresh = Fresh {
            asked: &asked,
            key,
            recorded,
            canonical,
            began: Instant::now()
                .checked_sub(took)
                .unwrap_or_else(Instant::now),
        };
        let brought_in = self.bring_in(made, fresh, compilation, host, &mut put_off.outcome);
        self.counters.count(&put_off.outcome);
        self.cache.report(&asked.definition, &put_off.outcome);
        self.cache.note_miss(&asked, &put_off.outcome);
        let mut loaded = brought_in?;
        names.object = loaded.names.object;
        loaded.names = names;
        put_off.code = Some(Ready::Loaded(loaded));
        Ok(())
    }

    /// Loads what the crew made and keeps it, or runs the unit without keeping it.
    fn bring_in(
        &self,
        made: Made<B::Unit>,
        fresh: Fresh<'_>,
        compilation: Compilation<()>,
        host: &dyn Host,
        outcome: &mut Outcome,
    ) -> Result<Loaded<B>, EvalError<Infallible>> {
        let Made {
            unit,
            digest,
            product,
            ..
        } = made;
        let name = fresh.asked.definition.name;
        let fault = match product {
            Ok(product) => {
                let (compiled, image, object) = (product.compiled, product.image, product.object);
                match self.load_fresh(&compilation, &compiled, &image, object, host) {
                    Ok((loaded, libraries)) => {
                        if let Some(kept) = self.cache.kept.as_ref() {
                            let known = self.known(compiled, image, &libraries, digest, object);
                            let (key, asked) = (fresh.key, fresh.asked);
                            let took = fresh.began.elapsed();
                            self.keep(kept, fresh, compilation, known);
                            let candidate = || Candidate { unit, digest, key };
                            self.improve_costly(kept, || asked.copy(), took, candidate);
                        }
                        return Ok(loaded);
                    }
                    Err(reason) => Fault::Unloadable(reason),
                }
            }
            Err(fault) => fault,
        };
        self.run_refused(fault, name, &unit, &compilation, host, outcome)
    }

    /// Settles a definition and hands over its factory, to be run now.
    ///
    /// # Errors
    /// As those of [`settle`](Self::settle), or a definition some of whose names were defined anew meanwhile: its factory
    /// cannot run in its place any more. It is kept all the same, and what reaches it at compile time is not. That is
    /// counted in [`Statistics::not_run`](crate::Statistics::not_run), and warned of: a host that evaluates in a session
    /// that it warms has not caught up before.
    pub fn resume(
        &self,
        crew: &Crew<B>,
        mut put_off: PutOff<B>,
        host: &dyn Host,
    ) -> Result<Evaluated<'_, B>, EvalError<Infallible>> {
        self.settle(crew, &mut put_off, host)?;
        let Some(Ready::Loaded(mut loaded)) = put_off.code else {
            return Err(EvalError::Compile("it could not be compiled before".into()));
        };
        let defines = loaded.names.as_ref().defines();
        if self.definitions().is_superseded(put_off.ordinal, defines) {
            return Err(self.lost_its_place(defines));
        }
        loaded.names.put_off = Some(put_off.ordinal);
        let origin = loaded.origin;
        Ok(self.given(Held::Own(Box::new(loaded)), put_off.outcome, origin))
    }

    /// Tells of a definition of `defines` that was put off and cannot run any more.
    #[cold]
    fn lost_its_place(&self, defines: &[NameId]) -> EvalError<Infallible> {
        let defect = "what it defines was defined anew before it could run";
        self.counters.not_run();
        let names = self.definitions().names_of(defines);
        tracing::warn!(
            name = names,
            "{defect}: what reaches it at compile time is not kept, until it is defined again"
        );
        EvalError::Compile(defect.into())
    }
}
