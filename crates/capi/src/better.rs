//! Better code in idle time: what a host's units are compiled to again, and who is told.
//!
//! There are two ways to it. Source text is compiled once more by the same clang with other flags. And a unit of any sort may
//! bring a callback that makes a better one: that is given all that it needs when the unit is made, so that nothing of
//! the host is asked at a time that it did not choose.

use crate::backend::{HostCompiler, Job, UnitError};
use crate::boundary::{Bytes, Text, exclusive, fallible, or, shared};
use crate::cache::Session;
use crate::clang::{Clang, ClangCompiler};
use crate::compilation::{Compilation, HostUnit, Unit};
use crate::error::{Error, Failure};
use crate::evaluate::{CompileCallback, Definition};
use crate::host::{Asked, Host};
use crate::lent::{Lent, ReleaseCallback};
use crate::options::{Options, set};
use crate::recorder::Recorder;
use rekindle_cache_core::artifact::Compiled;
#[cfg(feature = "clang")]
use rekindle_cache_core::artifact::Compiler as _;
use rekindle_cache_core::{Digest, DigestBuilder};
use rekindle_runtime_hooks::{self as hooks, BetterCompiler, Improving};
use std::ffi::c_void;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// Is told of a definition for which there is better code from now on, on the thread that made it. All of it is there until
/// it returns. Must not let an exception out.
pub type BetterCallback =
    Option<unsafe extern "C-unwind" fn(data: *mut c_void, definition: *const Definition)>;

/// What makes a better unit, later.
pub(crate) struct Later {
    generate: unsafe extern "C-unwind" fn(data: *mut c_void, unit: *mut Unit) -> bool,
    lent: Lent,
}

impl Later {
    pub(crate) fn new(
        generate: unsafe extern "C-unwind" fn(data: *mut c_void, unit: *mut Unit) -> bool,
        lent: Lent,
    ) -> Self {
        Self { generate, lent }
    }

    fn unit(self) -> Result<HostUnit, UnitError> {
        // SAFETY: the host keeps its data until it is released, which comes after this.
        let generated = unsafe { Unit::generated(self.generate, self.lent.data()) };
        let (unit, _) = generated.map_err(|failure| UnitError::Host(failure.text))?;
        Ok(unit)
    }
}

/// What was asked for of better code.
#[derive(Default)]
pub(crate) struct BetterOptions {
    fingerprint: Option<Vec<Vec<u8>>>,
    flags: Vec<String>,
    improving: Option<Improving>,
    listener: Option<Arc<Listener>>,
}

/// Who is told. A job that outlasts the close of its cache has it as well.
struct Listener {
    callback: unsafe extern "C-unwind" fn(data: *mut c_void, definition: *const Definition),
    lent: Lent,
}

impl Listener {
    fn tell(&self, definition: &hooks::Definition<'_>) {
        let definition = Definition {
            name: Text::new(definition.name),
            text: Text::new(definition.text),
            context: Text::new(definition.context),
        };
        // SAFETY: the host keeps its data until it is released; the definition lives until the call returns.
        unsafe { (self.callback)(self.lent.data(), &raw const definition) };
    }
}

impl BetterOptions {
    /// The better compiler, if one was asked for; `base` is the other one.
    pub(crate) fn open(
        &self,
        clang: &Clang,
        base: Option<&ClangCompiler>,
    ) -> Result<Option<Better>, Failure> {
        let compiler = match self.flags.as_slice() {
            [] => None,
            flags => {
                let compiler = clang.with_flags(flags).open()?;
                let (Some(base), Some(better)) = (base, &compiler) else {
                    let what = "flags for better code need a clang: call rekindle_options_clang";
                    return Err(Failure::argument(what));
                };
                if base.target() != better.target() {
                    let what = "the flags for better code name another target";
                    return Err(Failure::argument(what));
                }
                compiler
            }
        };
        if compiler.is_none() && self.fingerprint.is_none() {
            return Ok(None);
        }
        Ok(Some(Better {
            fingerprint: self.fingerprint.clone(),
            clang: compiler,
        }))
    }

    /// A description of a cache, with what is to be made better and who is told.
    pub(crate) fn listening<B: hooks::Backend>(
        &self,
        mut builder: hooks::CacheBuilder<B>,
    ) -> hooks::CacheBuilder<B> {
        if let Some(improving) = self.improving {
            builder = builder.improving(improving);
        }
        match self.listener.clone() {
            Some(listener) => builder.on_better(move |definition| listener.tell(definition)),
            None => builder,
        }
    }
}

/// What makes better code.
pub(crate) struct Better {
    /// That of what units bring, if they may.
    fingerprint: Option<Vec<Vec<u8>>>,
    clang: Option<ClangCompiler>,
}

/// The same, beside the compiler that is at hand at once.
pub(crate) struct HostBetter {
    better: Better,
    base: Arc<HostCompiler>,
}

impl HostBetter {
    pub(crate) fn new(better: Better, base: Arc<HostCompiler>) -> Self {
        Self { better, base }
    }

    pub(crate) fn required_features(&self) -> Vec<String> {
        let clang = self.better.clang.as_ref();
        clang
            .map(ClangCompiler::required_features)
            .unwrap_or_default()
    }
}

impl BetterCompiler<Job> for HostBetter {
    fn better_fingerprint(&self) -> Digest {
        let mut digest = DigestBuilder::new("rekindle better compiler of a host");
        for part in self.better.fingerprint.iter().flatten() {
            digest.bytes(part);
        }
        if let Some(clang) = &self.better.clang {
            digest.digest(&clang.fingerprint());
        }
        digest.finish()
    }

    fn better_object(
        &self,
        unit: &Job,
    ) -> Result<Compiled, Box<dyn std::error::Error + Send + Sync>> {
        let later = unit
            .later
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // What no fingerprint tells of must not reach what is kept.
        let later = later.filter(|_| self.better.fingerprint.is_some());
        let clang = self.better.clang.as_ref();
        let compiled = match (later, &unit.unit) {
            (Some(later), _) => later.unit()?.compile(clang.or(self.base.clang()))?,
            (None, HostUnit::Source(_)) if clang.is_some() => unit.unit.compile(clang)?,
            (None, _) => return Err("the host has no better code of this unit".into()),
        };
        Ok(compiled)
    }
}

/// Says that units may bring better code (`rekindle_unit_better`), and what tells the compiler of it from every other. May be
/// called several times: all count, in their order.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_options_better(options: *mut Options, fingerprint: Bytes) {
    // SAFETY: the caller's own, and what it keeps for the duration of the call.
    unsafe {
        set(options, |options| {
            let fingerprint = fingerprint.bytes("the better compiler's fingerprint")?;
            let all = options.better.fingerprint.get_or_insert_default();
            all.push(fingerprint.to_owned());
            Ok(())
        });
    }
}

/// Has clang compile units that are source text once more in idle time, with this flag behind all others: `-O3`. May be
/// called several times.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_options_better_flag(options: *mut Options, flag: Text) {
    // SAFETY: the caller's own, and what it keeps for the duration of the call.
    unsafe {
        set(options, |options| {
            let flag = flag.text("the flag for better code")?.to_owned();
            options.better.flags.push(flag);
            Ok(())
        });
    }
}

/// Says of what better code is made: of what took longer to compile than `costly_us` microseconds (2,000 by default), when it
/// has been compiled; and of a `share` from 0 to 1 of the hits whose code is not the better (an eighth by default), for
/// which the compile callback is called: what comes of that changes nothing for the hit. `at_close_ms` is how long closing the
/// cache goes on with what waits; 0 by default. What is under way is waited for up to the deadline beyond that.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_options_improving(
    options: *mut Options,
    costly_us: u64,
    share: f64,
    at_close_ms: u64,
) {
    // SAFETY: the caller's own.
    unsafe {
        set(options, |options| {
            if !(0.0..=1.0).contains(&share) {
                return Err(Failure::argument(format!(
                    "{share} is no share from 0 to 1"
                )));
            }
            options.better.improving = Some(Improving {
                costly: Duration::from_micros(costly_us),
                share,
                at_close: Duration::from_millis(at_close_ms),
            });
            Ok(())
        });
    }
}

/// Has `listener` told of definitions for which there is better code from now on, with `data`. Caches that were opened before
/// keep their listener. `release`, which may be null, is called with `data` when `listener` is not called any more: a cache
/// may be closed by then for a while, if code that was made better meanwhile took longer than closing waits for. Whoever evaluates such a definition again gets a factory of that code. That is right only if the text is still
/// what its name was last defined by, which the host knows; and a factory that runs again does again whatever else it does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_options_on_better(
    options: *mut Options,
    listener: BetterCallback,
    data: *mut c_void,
    release: ReleaseCallback,
) {
    let lent = Lent::new(data, release);
    // SAFETY: the caller's own.
    unsafe {
        set(options, |options| {
            let listener = listener.map(|callback| Arc::new(Listener { callback, lent }));
            options.better.listener = listener;
            Ok(())
        });
    }
}

/// Has better code made of a definition in idle time, as the host has found out that it is worth it: if it is kept, and its
/// code is not the better. The arguments are those of `rekindle_eval`, and `compile` is called as on a miss, unless nothing is
/// kept. `will` may be null, or gets whether it will be tried. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_improve(
    session: *const Session,
    definition: *const Definition,
    host: *const Host,
    compile: CompileCallback,
    data: *mut c_void,
    will: *mut bool,
) -> *mut Error {
    fallible(|| {
        // SAFETY: the caller has all of it for the duration of the call, and the texts with it.
        let (session, definition, host) = unsafe {
            let definition = shared(definition, "the definition")?.read()?;
            (
                shared(session, "the session")?,
                definition,
                Host::read(host)?,
            )
        };
        let missing = || Failure::argument("there is no compile callback");
        let compile = compile.ok_or_else(missing)?;
        let mut failed = None;
        let made = session
            .session
            .improve(&definition, &Asked::new(host), |recorder| {
                let mut compilation = Compilation::default();
                // SAFETY: the host vouches for its callback and its data; recorder and compilation are there
                // until it returns.
                let succeeded =
                    unsafe { compile(data, Recorder::handle(recorder), &raw mut compilation) };
                compilation
                    .finish(succeeded)
                    .map_err(|failure| failed = Some(failure))
            });
        or((), || {
            // SAFETY: the caller has this place for the duration of the call, or it is null.
            if let Ok(place) = unsafe { exclusive(will, "") } {
                *place = made;
            }
        });
        match failed {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    })
}
