//! The miss: the host's front end, and code for what it gave.

use crate::asked::Asked;
use crate::better::Candidate;
use crate::cache::{Backend, Session};
use crate::compilation::{Compilation, UnitSource};
use crate::error::EvalError;
use crate::evaluate::{Loaded, Running};
use crate::host::{Bindings, Host};
use crate::keep::Fresh;
use crate::names::Names;
use crate::outcome::Outcome;
use crate::recorder::Recorder;
use crate::unkept::Fault;
use rekindle_cache_core::Digest;
use rekindle_cache_core::artifact::{Code, Compiled, Compiler, Image, Loader, SideTable};
use rekindle_cache_core::key::FormKey;
use rekindle_cache_core::metadata::BASE;
use std::time::Instant;

impl<B: Backend> Session<B> {
    /// Has a definition compiled, runs the object and keeps it. `outcome` says why it was not a hit, and
    /// is changed if it turns out to be one after all, or that the code must not be kept.
    pub(crate) fn compile<E>(
        &self,
        asked: &Asked<'_>,
        key: FormKey,
        host: &dyn Host,
        compile: impl FnOnce(&Recorder<'_>) -> Result<Compilation<B::Unit>, E>,
        outcome: &mut Outcome,
    ) -> Result<Loaded<B>, EvalError<E>> {
        let began = Instant::now();
        let recorder = Recorder::new(host, self.unadmitted(), &self.outside);
        let compilation = compile(&recorder).map_err(EvalError::Host)?;
        let mut recorded = recorder.finish();
        if let (Some(reason), Some(_)) = (recorded.bypass.take(), &self.cache.kept) {
            *outcome = Outcome::Bypass(reason);
        }
        let fresh = Fresh {
            asked,
            key,
            recorded,
            canonical: compilation.unit.canonical(),
            began,
        };
        if let (Outcome::Miss(reason), Some(kept)) = (&*outcome, self.cache.kept.as_ref())
            && let Some(canonical) = &fresh.canonical
            && let Some((loaded, known)) =
                self.look_up_analysed(kept.store(), canonical, &compilation, host)
        {
            *outcome = Outcome::SecondHit(reason.clone());
            self.keep_known(kept, fresh, split(compilation).1, known);
            return Ok(loaded);
        }
        let (source, compilation) = split(compilation);
        if matches!(outcome, Outcome::Bypass(_)) {
            return self.run_unkept(&source.into_unit(), &compilation, host);
        }
        let (unit, digest) = source.into_unit_and_digest(self.cache.backend.compiler());
        let run = match self.cache.backend.compiler().compile(&unit) {
            Ok(compiled) => self
                .run(&compilation, &compiled, host)
                .map(|(loaded, image, libraries)| (compiled, loaded, image, libraries))
                .map_err(Fault::Unloadable),
            Err(error) => Err(Fault::Uncompilable(Box::new(error))),
        };
        match run {
            Ok((compiled, loaded, image, libraries)) => {
                if let Some(kept) = self.cache.kept.as_ref() {
                    let object = loaded.names.object;
                    let known = self.known(compiled, image, &libraries, digest, object);
                    self.keep(kept, fresh, compilation, known);
                    let candidate = || Candidate { unit, digest, key };
                    self.improve_costly(kept, || asked.copy(), began.elapsed(), candidate);
                }
                Ok(loaded)
            }
            Err(fault) => {
                let name = asked.definition.name;
                self.run_refused(fault, name, &unit, &compilation, host, outcome)
            }
        }
    }

    /// Links a fresh object and loads it; also gives the image, and the libraries that it was bound to.
    pub(crate) fn run(
        &self,
        compilation: &Compilation<()>,
        compiled: &Compiled,
        host: &dyn Host,
    ) -> Result<(Loaded<B>, Image, Vec<String>), String> {
        let loader = self.cache.backend.loader();
        let image = loader
            .prepare(&compiled.object.bytes, &[&compilation.factory])
            .map_err(|error| error.to_string())?;
        let object = Digest::of("rekindle object", &compiled.object.bytes);
        let (loaded, libraries) = self.load_fresh(compilation, compiled, &image, object, host)?;
        Ok((loaded, image, libraries))
    }

    /// Loads an image that was made just now of the object with the digest `object`; also gives the
    /// libraries that it was bound to.
    pub(crate) fn load_fresh(
        &self,
        compilation: &Compilation<()>,
        compiled: &Compiled,
        image: &Image,
        object: Digest,
        host: &dyn Host,
    ) -> Result<(Loaded<B>, Vec<String>), String> {
        let bindings = Bindings::new(&self.cache, host, &|_| true);
        // SAFETY: the image was prepared just now from an object of the host's own compiler, and is
        // bound to the words that the host and the process give.
        let code = unsafe { self.cache.backend.loader().load(image.as_ref(), &bindings) };
        let code = code.map_err(|error| error.to_string())?;
        let factory = code
            .symbol(&compilation.factory)
            .ok_or_else(|| format!("the image exports no factory {}", compilation.factory))?;
        self.counters.loaded(code.size());
        give_tables(host, &compiled.object.side_tables);
        give_tables(host, &compilation.side_tables);
        let loaded = Loaded {
            running: Running::Kept(code),
            factory,
            names: self.names_of(compilation, object),
            origin: None,
            tier: BASE,
        };
        Ok((loaded, bindings.libraries()))
    }

    pub(crate) fn names_of<U>(&self, compilation: &Compilation<U>, object: Digest) -> Names {
        let Compilation {
            defines,
            defines_later,
            references,
            ..
        } = compilation;
        Names::new(
            object,
            defines.len() + defines_later.len() + references.len(),
            defines.iter().map(String::as_str),
            defines_later.iter().map(String::as_str),
            references.iter().map(String::as_str),
            |name| self.names.number(name),
        )
    }
}

/// What the unit is made of, and what was said about it.
pub(crate) fn split<U>(compilation: Compilation<U>) -> (UnitSource<U>, Compilation<()>) {
    let about = Compilation {
        unit: ().into(),
        factory: compilation.factory,
        defines: compilation.defines,
        defines_later: compilation.defines_later,
        references: compilation.references,
        side_tables: compilation.side_tables,
    };
    (compilation.unit, about)
}

pub(crate) fn give_tables(host: &dyn Host, tables: &[SideTable]) {
    for table in tables {
        host.side_table(&table.name, &table.bytes);
    }
}
