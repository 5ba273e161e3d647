//! What a host's compile callback hands back.

use crate::backend::Job;
use crate::better::Later;
use crate::boundary::{Bytes, Text, exclusive, or, shared};
use crate::digest::Digest;
use crate::error::{ErrorCode, Failure};
use crate::lent::{Lent, ReleaseCallback};
use rekindle_runtime_hooks::{self as hooks, SideTable, UnitSource};
use std::ffi::c_void;
use std::sync::Mutex;

/// What a compile callback fills: a unit, its factory, and what the code defines and refers to. There from
/// the callback's start to its end, for its thread alone. A call that is given something wrong makes the
/// evaluation fail with what it was, as soon as the callback has returned.
#[derive(Default)]
pub struct Compilation {
    unit: Unit,
    factory: Option<String>,
    defines: Vec<String>,
    defines_later: Vec<String>,
    references: Vec<String>,
    side_tables: Vec<SideTable>,
    analysed: Option<Analysed>,
    failure: Option<Failure>,
}

/// What is compiled: an object, or source text. There as long as what it was got from.
#[derive(Default)]
pub struct Unit {
    unit: Option<HostUnit>,
    later: Option<Later>,
    failure: Option<Failure>,
}

/// A unit as the backend takes it.
#[derive(Debug)]
pub(crate) enum HostUnit {
    /// An object that the host made.
    Object {
        bytes: Vec<u8>,
        /// What tells how it was made; if `None`, its bytes do.
        digest: Option<rekindle_cache_core::Digest>,
    },
    /// Source text, for clang.
    Source(String),
    /// None, and why.
    Failed(String),
}

/// Makes the unit of an analysed form: `data` is what `rekindle_compilation_analysed` got. `false` says that
/// it failed, after `rekindle_unit_fail`. Must not let an exception out. During `rekindle_eval` on its thread, and for
/// `rekindle_warm` on any.
pub type GenerateCallback =
    Option<unsafe extern "C-unwind" fn(data: *mut c_void, unit: *mut Unit) -> bool>;

struct Analysed {
    canonical: rekindle_cache_core::Digest,
    generate: unsafe extern "C-unwind" fn(data: *mut c_void, unit: *mut Unit) -> bool,
    data: *mut c_void,
}

// SAFETY: evaluating makes the unit on its own thread before it returns. Warming makes it elsewhere, and later, which
// `rekindle_warm` tells hosts of.
unsafe impl Send for Analysed {}

impl Unit {
    /// What the callback gave, and what makes better code of it.
    pub(crate) fn finish(self) -> Result<(HostUnit, Option<Later>), Failure> {
        match (self.failure, self.unit) {
            (Some(failure), _) => Err(failure),
            (None, Some(unit)) => Ok((unit, self.later)),
            (None, None) => {
                let what = "the callback gave no unit: neither rekindle_unit_object nor rekindle_unit_source was called";
                Err(Failure::new(ErrorCode::Host, what))
            }
        }
    }

    /// What `generate` makes of `data`.
    ///
    /// # Safety
    /// The host vouches for both.
    pub(crate) unsafe fn generated(
        generate: unsafe extern "C-unwind" fn(data: *mut c_void, unit: *mut Self) -> bool,
        data: *mut c_void,
    ) -> Result<(HostUnit, Option<Later>), Failure> {
        let mut unit = Self::default();
        // SAFETY: the caller's promise is the same, and the unit is there for the call.
        let succeeded = unsafe { generate(data, &raw mut unit) };
        if !succeeded {
            let what = "the callback that makes the unit failed and gave no reason";
            unit.fail(Failure::new(ErrorCode::Host, what));
        }
        unit.finish()
    }

    fn fail(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
    }
}

impl Compilation {
    fn fail(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
    }

    /// What the callback said, if it said enough.
    pub(crate) fn finish(self, succeeded: bool) -> Result<hooks::Compilation<Job>, Failure> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        if !succeeded {
            let what = "the compile callback failed and gave no reason";
            return Err(self
                .unit
                .failure
                .unwrap_or(Failure::new(ErrorCode::Host, what)));
        }
        let Some(factory) = self.factory else {
            let what = "the callback named no factory: rekindle_compilation_factory was not called";
            return Err(Failure::new(ErrorCode::Host, what));
        };
        let job = |(unit, later), factory| Job {
            unit,
            factory,
            later: Mutex::new(later),
        };
        let of_unit = factory.clone();
        let unit = match self.analysed {
            None => UnitSource::Ready(job(self.unit.finish()?, of_unit)),
            Some(analysed) => UnitSource::Analysed {
                canonical: analysed.canonical,
                generate: Box::new(move || job(analysed.generate(), of_unit)),
            },
        };
        Ok(hooks::Compilation {
            unit,
            factory,
            defines: self.defines,
            defines_later: self.defines_later,
            references: self.references,
            side_tables: self.side_tables,
        })
    }
}

impl Analysed {
    fn generate(self) -> (HostUnit, Option<Later>) {
        // SAFETY: the host keeps `data` until the evaluation or the warming ends, which this is a part of.
        unsafe { Unit::generated(self.generate, self.data) }
            .unwrap_or_else(|failure| (HostUnit::Failed(failure.text), None))
    }
}

/// Changes a compilation; what goes wrong is kept in it.
///
/// # Safety
/// `compilation` is null or what a callback got and has not returned from.
unsafe fn change(
    compilation: *mut Compilation,
    change: impl FnOnce(&mut Compilation) -> Result<(), Failure>,
) {
    or((), || {
        // SAFETY: the caller's promise is the same, and it is the callback's thread alone.
        if let Ok(compilation) = unsafe { exclusive(compilation, "") }
            && let Err(failure) = change(compilation)
        {
            compilation.fail(failure);
        }
    });
}

/// The unit of a compilation. It belongs to the compilation.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_compilation_unit(compilation: *mut Compilation) -> *mut Unit {
    if compilation.is_null() {
        return std::ptr::null_mut();
    }
    // SAFETY: it is not null, and the callback's.
    unsafe { &raw mut (*compilation).unit }
}

/// Makes the unit an object: position-independent ELF for x86-64, which is copied. `made` tells how it was
/// made (from what, by what); equal digests stand for interchangeable objects. If `made` is null, the bytes
/// tell.
///
/// What a compiler read to make it has to be recorded by the callback: the cache does not see it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_unit_object(unit: *mut Unit, object: Bytes, made: *const Digest) {
    or((), || {
        // SAFETY: the callback's own, and what it keeps for the duration of the call.
        let (unit, bytes, made) = unsafe {
            let Ok(unit) = exclusive(unit, "") else {
                return;
            };
            (unit, object.bytes("the object"), shared(made, "").ok())
        };
        match bytes {
            Ok(bytes) => {
                unit.unit = Some(HostUnit::Object {
                    bytes: bytes.to_owned(),
                    digest: made.map(|digest| (*digest).into()),
                });
            }
            Err(failure) => unit.fail(failure),
        }
    });
}

/// Makes the unit source text, in C++ or C as the options say: clang compiles it after the prelude of the options, and
/// records the headers that it reads.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_unit_source(unit: *mut Unit, text: Text) {
    or((), || {
        // SAFETY: the callback's own, and what it keeps for the duration of the call.
        let (unit, text) = unsafe {
            let Ok(unit) = exclusive(unit, "") else {
                return;
            };
            (unit, text.text("the source"))
        };
        match text {
            Ok(text) => unit.unit = Some(HostUnit::Source(text.to_owned())),
            Err(failure) => unit.fail(failure),
        }
    });
}

/// Says that better code can be had of this unit, where `rekindle_options_better` was called: `generate` is called with
/// `data` at most once, in idle time, on a thread of Rekindle's, after `rekindle_eval` has returned, and makes a unit of the
/// same meaning and with the same factory; what it reads to do so has to be recorded by the compile callback. `release`,
/// which may be null, is called with `data` in any case, when `generate` will not be called any more: soon if nobody asks for
/// better code, and after the cache is closed if closing did not wait for it that long. Neither may let an exception out.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_unit_better(
    unit: *mut Unit,
    generate: GenerateCallback,
    data: *mut c_void,
    release: ReleaseCallback,
) {
    or((), || {
        let lent = Lent::new(data, release);
        let later = generate.map(|generate| Later::new(generate, lent));
        // SAFETY: the callback's own.
        let Ok(unit) = (unsafe { exclusive(unit, "") }) else {
            return;
        };
        match later {
            Some(later) => unit.later = Some(later),
            None => unit.fail(Failure::argument(
                "there is no callback that makes the better unit",
            )),
        }
    });
}

/// Says why there is no unit; the callback then returns `false`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_unit_fail(unit: *mut Unit, why: Text) {
    or((), || {
        // SAFETY: the callback's own, and what it keeps for the duration of the call.
        if let (Ok(unit), Ok(why)) = unsafe { (exclusive(unit, ""), why.bytes("the reason")) } {
            let why = String::from_utf8_lossy(why);
            unit.fail(Failure::new(ErrorCode::Host, why));
        }
    });
}

/// Says why compiling failed; the callback then returns `false`, and the evaluation fails with `why`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_compilation_fail(compilation: *mut Compilation, why: Text) {
    // SAFETY: the callback's own, and what it keeps for the duration of the call.
    unsafe {
        change(compilation, |_| {
            let why = String::from_utf8_lossy(why.bytes("the reason")?);
            Err(Failure::new(ErrorCode::Host, why))
        });
    }
}

/// Names the exported function that returns the definition's value. Every compilation needs one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_compilation_factory(compilation: *mut Compilation, symbol: Text) {
    // SAFETY: the callback's own, and what it keeps for the duration of the call.
    unsafe {
        change(compilation, |compilation| {
            compilation.factory = Some(symbol.text("the factory")?.to_owned());
            Ok(())
        });
    }
}

/// Adds a name that running the factory defines.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_compilation_defines(compilation: *mut Compilation, name: Text) {
    // SAFETY: the callback's own, and what it keeps for the duration of the call.
    unsafe {
        change(compilation, |compilation| {
            compilation.defines.push(name.text("a name")?.to_owned());
            Ok(())
        });
    }
}

/// Adds a name that the code may define later, when it is called, with a value that follows from no code.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_compilation_defines_later(
    compilation: *mut Compilation,
    name: Text,
) {
    // SAFETY: the callback's own, and what it keeps for the duration of the call.
    unsafe {
        change(compilation, |compilation| {
            compilation
                .defines_later
                .push(name.text("a name")?.to_owned());
            Ok(())
        });
    }
}

/// Adds the name of a definition that the code refers to, and so can reach when it runs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_compilation_references(
    compilation: *mut Compilation,
    name: Text,
) {
    // SAFETY: the callback's own, and what it keeps for the duration of the call.
    unsafe {
        change(compilation, |compilation| {
            compilation.references.push(name.text("a name")?.to_owned());
            Ok(())
        });
    }
}

/// Adds a table that belongs to the definition's text, such as positions: copied, kept with the code, and
/// given to the host's `side_table` each time that the code is loaded.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_compilation_side_table(
    compilation: *mut Compilation,
    name: Text,
    table: Bytes,
) {
    // SAFETY: the callback's own, and what it keeps for the duration of the call.
    unsafe {
        change(compilation, |compilation| {
            compilation.side_tables.push(SideTable {
                name: name.text("the table's name")?.to_owned(),
                bytes: table.bytes("the table")?.to_owned(),
            });
            Ok(())
        });
    }
}

/// Gives the digest of the definition's analysed form in place of a unit. Where code for an equal form is
/// kept it is loaded; otherwise `generate` is called with `data`, once, after the compile callback has
/// returned and before `rekindle_eval` does (for `rekindle_warm` see there). The form has to be all that the unit is made of, with names
/// resolved; what does not reach the code, such as positions, is better left out.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_compilation_analysed(
    compilation: *mut Compilation,
    canonical: *const Digest,
    generate: GenerateCallback,
    data: *mut c_void,
) {
    // SAFETY: the callback's own, and what it keeps for the duration of the call.
    unsafe {
        change(compilation, |compilation| {
            let canonical = shared(canonical, "the form's digest")?;
            let missing = || Failure::argument("there is no callback that makes the unit");
            compilation.analysed = Some(Analysed {
                canonical: (*canonical).into(),
                generate: generate.ok_or_else(missing)?,
                data,
            });
            Ok(())
        });
    }
}
