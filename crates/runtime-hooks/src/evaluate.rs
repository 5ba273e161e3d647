//! `eval_def`: from a definition's text to its factory, through the cache or through the compiler.
//!
//! | step | file |
//! | --- | --- |
//! | a record that is right now, and its code | `look_up.rs` |
//! | the host's front end, the compiler, the loader | `compile.rs` |
//! | a record of what was compiled | `keep.rs` |
//! | code that is in the process already | `shared.rs` |

use crate::asked::Asked;
use crate::cache::{Backend, Session};
use crate::compilation::Compilation;
use crate::definitions::Standing;
use crate::error::EvalError;
use crate::host::Host;
use crate::names::Names;
use crate::outcome::{BypassReason, Outcome};
use crate::recorder::Recorder;
use crate::shared::{Held, Sought};
use crate::statistics::Stopwatch;
use crate::watch::{Inside, Origin};
use rekindle_cache_core::artifact::{Code, Hasher, Jit, Loader};
use rekindle_cache_core::key::Definition;
use rekindle_cache_core::metadata::BASE;

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
    factory: *const u8,
    outcome: Outcome,
    ending: Ending<'s, B>,
}

/// Enters a definition's names when its factory has run.
struct Ending<'s, B: Backend> {
    session: &'s Session<B>,
    /// There until the host takes the code.
    held: Option<Held<'s, B>>,
    ran: Ran,
    /// The names are entered.
    is_over: bool,
    /// Until the factory has run, if it came from the cache.
    _inside: Option<Inside<'s>>,
}

/// Code that is in the process, and where it starts.
pub(crate) struct Loaded<B: Backend> {
    pub(crate) running: Running<B>,
    pub(crate) factory: *const u8,
    pub(crate) names: Names,
    /// Where it came from, if it was not compiled just now.
    pub(crate) origin: Option<Origin>,
    /// Which compiler made it.
    pub(crate) tier: u8,
}

/// The code of an evaluation. It stays in the process when this is dropped.
pub enum Running<B: Backend> {
    /// An image that the loader brought in.
    Kept(<B::Loader as Loader>::Code),
    /// Code that must not be kept, from the backend's JIT.
    Unkept(<B::Jit as Jit>::Code),
}

impl<B: Backend> Running<B> {
    fn size(&self) -> usize {
        match self {
            Self::Kept(code) => code.size(),
            Self::Unkept(code) => code.size(),
        }
    }
}

impl<B: Backend> Session<B> {
    /// Evaluates a definition up to its factory.
    ///
    /// On a hit neither `compile` nor anything else of the host's front end runs, unless the hit is chosen to
    /// be [verified](crate::CacheBuilder::verify); `host` is asked only for
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
        let stopwatch = Stopwatch::start_named(&self.counters, definition.name);
        let sought = Sought::new(definition, host);
        if let Some(shared) = (sought.as_ref()).and_then(|sought| self.share(sought, host)) {
            stopwatch.count(&Outcome::Hit);
            self.counters.shared();
            self.counters.saved(shared.compile_ns());
            self.cache.report(definition, &Outcome::Hit);
            return Ok(self.begun(Held::Shared(shared), Outcome::Hit, None, host));
        }
        let key = self.cache.environment.form_key(definition);
        let mut looked = None;
        let mut outcome = match self.cache.kept.as_ref() {
            None => Outcome::Bypass(BypassReason::Off),
            Some(kept) => match self.look_up_or_lead(kept, &key, sought.as_ref(), host) {
                Ok((held, origin)) => {
                    stopwatch.count(&Outcome::Hit);
                    self.cache.report(definition, &Outcome::Hit);
                    if self.cache.sampling.is_chosen() {
                        let object = held.names().object;
                        self.verify(kept, definition, key, object, host, compile);
                    } else if held.tier() == BASE && self.cache.hot.is_chosen() {
                        self.improve_hit(kept, definition, key, host, compile);
                    }
                    return Ok(self.begun(held, Outcome::Hit, origin, host));
                }
                Err((refusal, lead)) => {
                    looked = Some(lead);
                    let refusal = self.cache.explained(definition, refusal);
                    kept.with_deaths(&key, refusal)
                }
            },
        };
        let asked = Asked::new(definition);
        let result = self.compile(&asked, key, host, compile, &mut outcome);
        // Whoever waits for this definition looks again now.
        drop(looked);
        stopwatch.count(&outcome);
        if result.is_err() {
            stopwatch.failed();
        }
        self.cache.report(definition, &outcome);
        self.cache.note_miss(&asked, &outcome);
        result.map(|loaded| {
            let origin = loaded.origin;
            self.begun(Held::Own(Box::new(loaded)), outcome, origin, host)
        })
    }

    /// Hands code over whose factory the host calls next; `origin` says where it came from, unless it was
    /// compiled just now or its factory has run before.
    #[inline]
    fn begun<'s>(
        &'s self,
        held: Held<'s, B>,
        outcome: Outcome,
        origin: Option<Origin>,
        host: &dyn Host,
    ) -> Evaluated<'s, B> {
        let mut definitions = self.definitions();
        if definitions.has_put_off() {
            drop(definitions);
            self.catch_up_before(held.names(), host);
            definitions = self.definitions();
        }
        for &name in held.names().defines() {
            definitions.begin(name);
        }
        drop(definitions);
        self.given(held, outcome, origin)
    }

    /// Hands over code whose factory the host calls.
    #[inline]
    pub(crate) fn given<'s>(
        &'s self,
        held: Held<'s, B>,
        outcome: Outcome,
        origin: Option<Origin>,
    ) -> Evaluated<'s, B> {
        let watched = origin.as_ref().zip(self.cache.kept.as_ref());
        let inside = watched.and_then(|(origin, kept)| kept.enter(origin));
        Evaluated {
            factory: held.factory(),
            outcome,
            ending: Ending {
                session: self,
                held: Some(held),
                ran: Ran::Failed,
                is_over: false,
                _inside: inside,
            },
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
        self.ending.held.as_ref()?.symbol(name)
    }

    /// The handle of the code, for what its loader tells of it; `None` if equal definitions share the code,
    /// which they do for hosts that [vouch](Host::generation) for their answers alone.
    pub fn code(&self) -> Option<&Running<B>> {
        match self.ending.held.as_ref()? {
            Held::Own(loaded) => Some(&loaded.running),
            Held::Shared(_) => None,
        }
    }

    /// Says how the factory went, and gives the outcome.
    pub fn finish(mut self, ran: Ran) -> Outcome {
        self.ending.ran = ran;
        self.ending.end();
        self.outcome
    }

    /// As [`finish`](Self::finish), and gives the handle of the code, by which it can be unloaded, unless it
    /// is [shared](Self::code).
    pub fn finish_with_code(mut self, ran: Ran) -> (Outcome, Option<Running<B>>) {
        self.ending.ran = ran;
        self.ending.end();
        let running = match self.ending.held.take() {
            Some(Held::Own(loaded)) => Some(loaded.running),
            Some(Held::Shared(_)) | None => None,
        };
        (self.outcome, running)
    }
}

impl<B: Backend> Ending<'_, B> {
    /// Enters the names.
    fn end(&mut self) {
        let Some(held) = self.held.as_ref().filter(|_| !self.is_over) else {
            return;
        };
        self.is_over = true;
        let standing = match self.ran {
            Ran::Pure => Standing::Determined,
            Ran::Impure | Ran::Failed => Standing::Volatile,
        };
        let names = held.names();
        // Code that is shared came in for another.
        let (bytes, is_shared) = match held {
            Held::Own(loaded) => (loaded.running.size(), false),
            Held::Shared(_) => (0, true),
        };
        let mut definitions = self.session.definitions();
        let superseded = definitions.replace_code(names.defines(), names.object, bytes, is_shared);
        match names.put_off {
            Some(ordinal) => {
                definitions.caught_up(ordinal, names.defines(), names.object, standing);
            }
            None => definitions.end(names.defines(), names.object, names.references(), standing),
        }
        for &name in names.defines_later() {
            definitions.set_by_calls(name);
        }
        drop(definitions);
        if let Some(bytes) = superseded {
            self.session.counters.superseded(bytes);
        }
    }
}

impl<B: Backend> Drop for Ending<'_, B> {
    fn drop(&mut self) {
        self.end();
    }
}
