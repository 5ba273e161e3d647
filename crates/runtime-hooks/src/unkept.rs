//! Code that runs and is not kept: that of bypasses, and of what cannot go by way of a kept image.

use crate::cache::{Backend, Session};
use crate::compilation::Compilation;
use crate::compile::give_tables;
use crate::error::EvalError;
use crate::evaluate::{Loaded, Running};
use crate::host::{Bindings, Host};
use crate::outcome::{BypassReason, Outcome};
use rekindle_cache_core::artifact::{Code, Compiler, Jit};
use rekindle_cache_core::metadata::BASE;
use std::error::Error;

/// Why a unit has no image that is loaded.
pub(crate) enum Fault {
    /// The compiler makes no object of it.
    Uncompilable(Box<dyn Error + Send + Sync>),
    /// The loader does not link or load the object.
    Unloadable(String),
}

impl<B: Backend> Session<B> {
    /// Runs a unit in the backend's JIT, or as an object where that does the same, and keeps nothing.
    pub(crate) fn run_unkept<E>(
        &self,
        unit: &B::Unit,
        compilation: &Compilation<()>,
        host: &dyn Host,
    ) -> Result<Loaded<B>, EvalError<E>> {
        if self.cache.backend.jit().goes_by_objects() {
            return self.run_object(unit, compilation, host);
        }
        let bindings = Bindings::new(&self.cache, host, &|_| true);
        // SAFETY: the unit is the host's own, bound to the words that the host and the process give.
        let run = unsafe { self.cache.backend.jit().run(unit, &bindings) };
        let code = run.map_err(|error| EvalError::Run(Box::new(error)))?;
        let factory = code
            .symbol(&compilation.factory)
            .ok_or_else(|| EvalError::NoFactory(compilation.factory.clone()))?;
        self.counters.loaded(code.size());
        give_tables(host, &compilation.side_tables);
        // There is no object; the unit tells this code from any other as well.
        let digest = self.cache.backend.compiler().digest(unit);
        Ok(Loaded {
            running: Running::Unkept(code),
            factory,
            names: self.names_of(compilation, digest),
            origin: None,
            tier: BASE,
        })
    }

    /// Compiles and loads an object that is not kept. What it defines is told by the object, which was made of more
    /// than the unit where the compiler looks at files.
    fn run_object<E>(
        &self,
        unit: &B::Unit,
        compilation: &Compilation<()>,
        host: &dyn Host,
    ) -> Result<Loaded<B>, EvalError<E>> {
        let compiled = self.cache.backend.compiler().compile(unit);
        let compiled = compiled.map_err(|error| EvalError::Compile(Box::new(error)))?;
        let run = self.run(compilation, &compiled, host);
        let (loaded, _, _) = run.map_err(|reason| EvalError::Run(reason.into()))?;
        Ok(loaded)
    }

    /// What has no image may still run at once, where the JIT has a way of its own; `outcome` becomes a bypass.
    ///
    /// # Errors
    /// What the compiler said, if the JIT does not compile it either; what the JIT said of what is only not
    /// loadable.
    pub(crate) fn run_refused<E>(
        &self,
        fault: Fault,
        name: &str,
        unit: &B::Unit,
        compilation: &Compilation<()>,
        host: &dyn Host,
        outcome: &mut Outcome,
    ) -> Result<Loaded<B>, EvalError<E>> {
        if self.cache.backend.jit().goes_by_objects() {
            return Err(match fault {
                Fault::Uncompilable(error) => EvalError::Compile(error),
                Fault::Unloadable(reason) => EvalError::Run(reason.into()),
            });
        }
        let run = self.run_unkept(unit, compilation, host);
        let (reason, loaded) = match (fault, run) {
            (Fault::Uncompilable(error), Err(_)) => return Err(EvalError::Compile(error)),
            (Fault::Uncompilable(error), Ok(loaded)) => {
                (BypassReason::Uncompilable(error.to_string()), loaded)
            }
            (Fault::Unloadable(reason), run) => (BypassReason::Unloadable(reason), run?),
        };
        tracing::warn!("{name} is not kept: {reason}");
        *outcome = Outcome::Bypass(reason);
        Ok(loaded)
    }
}
