//! Evaluating a definition, up to its factory and from there to its end.

use crate::backend::HostBackend;
use crate::boundary::{Text, exclusive, fallible, free, or, shared};
use crate::cache::Session;
use crate::code::Code;
use crate::compilation::Compilation;
use crate::error::{Error, ErrorCode, Failure};
use crate::host::{Asked, Host};
use crate::recorder::Recorder;
use rekindle_runtime_hooks::{self as hooks, EvalError, Outcome};
use std::cell::OnceCell;
use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::sync::Arc;

/// A definition, as its text is there before anything has read it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Definition {
    /// Its name, with its namespace; empty for a form that defines nothing.
    pub name: Text,
    /// Its source text, to the byte.
    pub text: Text,
    /// What else says what the text means: namespace, aliases, reader and compiler flags.
    pub context: Text,
}

/// What came of a look-up.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutcomeCode {
    /// Code that was kept was loaded; nothing was read or compiled.
    Hit = 0,
    /// The text was not found; code that was kept for an equal analysed form was loaded.
    SecondHit = 1,
    /// Nothing usable was there; compiled and kept.
    Miss = 2,
    /// Compiled and run, but not kept.
    Bypass = 3,
    /// Something was there and failed a check; compiled and kept.
    Rejected = 4,
}

impl OutcomeCode {
    pub(crate) fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Hit => Self::Hit,
            Outcome::SecondHit(_) => Self::SecondHit,
            Outcome::Miss(_) => Self::Miss,
            Outcome::Bypass(_) => Self::Bypass,
            Outcome::Rejected(_) => Self::Rejected,
        }
    }
}

/// How running a factory went.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ran {
    /// It ended, and the values it defined follow from its code and from what that reaches.
    Pure = 0,
    /// It ended, and read or changed mutable state or the outside world on the way.
    Impure = 1,
    /// It did not end as it should, and may have defined a part of its names.
    Failed = 2,
}

/// Compiles a definition that was not found: tells `recorder` what it looks at, and fills `compilation`.
/// `data` is what `rekindle_eval` got. `false` says that it failed, after `rekindle_compilation_fail`. Must not
/// let an exception out: in C++, catch it, keep it, and throw it again after `rekindle_eval` has returned, as
/// `rekindle.hpp` does.
pub type CompileCallback = Option<
    unsafe extern "C-unwind" fn(
        data: *mut c_void,
        recorder: *mut Recorder,
        compilation: *mut Compilation,
    ) -> bool,
>;

/// A definition whose code is in the process and whose factory the host now calls. Belongs to who evaluated it,
/// for one thread at a time. To be given back with `rekindle_evaluation_finish` when the factory has run.
pub struct Evaluation {
    // Dropped before what it borrows from.
    evaluated: hooks::Evaluated<'static, HostBackend>,
    explanation: OnceCell<String>,
    session: Arc<hooks::Session<HostBackend>>,
}

impl Definition {
    /// The definition as the hooks have it.
    ///
    /// # Safety
    /// Its texts are there for as long as the result is used.
    pub(crate) unsafe fn read<'a>(&self) -> Result<hooks::Definition<'a>, Failure> {
        // SAFETY: the caller's promise is the same.
        unsafe {
            Ok(hooks::Definition {
                name: self.name.text("the definition's name")?,
                text: self.text.text("the definition's text")?,
                context: self.context.text("the definition's context")?,
            })
        }
    }
}

impl Evaluation {
    /// What was evaluated, with what it borrows from.
    ///
    /// # Safety
    /// It was evaluated in `session`.
    pub(crate) unsafe fn new(
        evaluated: hooks::Evaluated<'_, HostBackend>,
        session: Arc<hooks::Session<HostBackend>>,
    ) -> Self {
        // SAFETY: what it borrows is the session, which the evaluation keeps behind the same `Arc` and drops
        // after it.
        let evaluated = unsafe {
            std::mem::transmute::<
                hooks::Evaluated<'_, HostBackend>,
                hooks::Evaluated<'static, HostBackend>,
            >(evaluated)
        };
        Self {
            evaluated,
            explanation: OnceCell::new(),
            session,
        }
    }

    /// Notes how the factory went, and gives its code.
    pub(crate) fn finish(self, ran: hooks::Ran) -> Option<hooks::Running<HostBackend>> {
        let Self {
            evaluated, session, ..
        } = self;
        let (_, running) = evaluated.finish_with_code(ran);
        drop(session);
        running
    }
}

/// What a `rekindle_ran` says.
pub(crate) fn ran_of(ran: u32) -> hooks::Ran {
    match ran {
        ran if ran == Ran::Pure as u32 => hooks::Ran::Pure,
        ran if ran == Ran::Impure as u32 => hooks::Ran::Impure,
        _ => hooks::Ran::Failed,
    }
}

pub(crate) fn failure(error: EvalError<Failure>) -> Failure {
    match error {
        EvalError::Host(failure) => failure,
        EvalError::Compile(_) => Failure::new(ErrorCode::Compile, error.to_string()),
        EvalError::NoFactory(_) => Failure::new(ErrorCode::Factory, error.to_string()),
        _ => Failure::new(ErrorCode::Run, error.to_string()),
    }
}

/// Evaluates a definition up to its factory, into `evaluation`.
///
/// On a hit neither `compile` nor anything else of the host's front end runs; `host` is asked only for the
/// meaning of what was recorded and for the words that the code is bound to. Otherwise `compile` is called
/// once with `data`, on this thread. `host` may be null: then it answers nothing.
///
/// An error is what `compile` failed with, or says that its unit cannot be compiled or run. The cache's own
/// faults are outcomes, not errors. Any thread; several at once, of one session too; callbacks may evaluate
/// other definitions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_eval(
    session: *const Session,
    definition: *const Definition,
    host: *const Host,
    compile: CompileCallback,
    data: *mut c_void,
    evaluation: *mut *mut Evaluation,
) -> *mut Error {
    fallible(|| {
        // SAFETY: the caller has all of it for the duration of the call, and the texts with it.
        let (session, definition, host, place) = unsafe {
            let place = exclusive(evaluation, "the place of the evaluation")?;
            *place = null_mut();
            let definition = shared(definition, "the definition")?.read()?;
            let session = &shared(session, "the session")?.session;
            (session, definition, Host::read(host)?, place)
        };
        let missing = || Failure::argument("there is no compile callback");
        let compile = compile.ok_or_else(missing)?;
        let compile = |recorder: &hooks::Recorder<'_>| {
            let mut compilation = Compilation::default();
            // SAFETY: the host vouches for its callback and its data; recorder and compilation are there
            // until it returns.
            let succeeded =
                unsafe { compile(data, Recorder::handle(recorder), &raw mut compilation) };
            compilation.finish(succeeded)
        };
        let asked = Asked::new(host);
        let evaluated = session
            .eval_def(&definition, &asked, compile)
            .map_err(failure)?;
        // SAFETY: the session is the one that it was evaluated in.
        let evaluation = unsafe { Evaluation::new(evaluated, Arc::clone(session)) };
        *place = Box::into_raw(Box::new(evaluation));
        Ok(())
    })
}

/// The address of the factory, a function of the host's own type.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_evaluation_factory(evaluation: *const Evaluation) -> *mut c_void {
    // SAFETY: the caller has the evaluation, or it is null.
    let evaluation = unsafe { evaluation.as_ref() };
    evaluation.map_or(null_mut(), |evaluation| {
        evaluation.evaluated.factory().cast_mut().cast()
    })
}

/// What came of the look-up.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_evaluation_outcome(evaluation: *const Evaluation) -> OutcomeCode {
    // SAFETY: the caller has the evaluation, or it is null.
    let evaluation = unsafe { evaluation.as_ref() };
    evaluation.map_or(OutcomeCode::Bypass, |evaluation| {
        OutcomeCode::of(evaluation.evaluated.outcome())
    })
}

/// The outcome in words, with the reason for a miss, a bypass or a rejection. The text belongs to the evaluation.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_evaluation_reason(evaluation: *const Evaluation) -> Text {
    or(Text::new(""), || {
        // SAFETY: the caller has the evaluation, or it is null.
        let Some(evaluation) = (unsafe { evaluation.as_ref() }) else {
            return Text::new("");
        };
        let words = || evaluation.evaluated.outcome().to_string();
        Text::new(evaluation.explanation.get_or_init(words))
    })
}

/// The handle of the code while the factory runs. It belongs to the evaluation.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_evaluation_code(evaluation: *const Evaluation) -> *const Code {
    // SAFETY: the caller has the evaluation, or it is null.
    let evaluation = unsafe { evaluation.as_ref() };
    evaluation.map_or(null(), |evaluation| {
        // This crate's hosts vouch for no answers, so that their code is never shared.
        let running = evaluation.evaluated.code();
        running.map_or(null(), |running| {
            let (hooks::Running::Kept(code) | hooks::Running::Unkept(code)) = running;
            Code::handle(code)
        })
    })
}

/// Says how the factory went (a `rekindle_ran`) and frees the evaluation. If `code` is not null, the handle of the
/// code is put there, to be freed with `rekindle_code_free` or unloaded; the code itself stays either way.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_evaluation_finish(
    evaluation: *mut Evaluation,
    ran: u32,
    code: *mut *mut Code,
) {
    if evaluation.is_null() {
        return;
    }
    or((), || {
        // SAFETY: the caller gives back what it got from `rekindle_eval`.
        let evaluation = *unsafe { Box::from_raw(evaluation) };
        let running = evaluation.finish(ran_of(ran));
        // SAFETY: the caller has this place for the duration of the call, or it is null.
        if let Some(place) = unsafe { code.as_mut() } {
            *place = running.map_or(null_mut(), |running| {
                let (hooks::Running::Kept(code) | hooks::Running::Unkept(code)) = running;
                Code::boxed(code)
            });
        }
    });
}

/// Gives an evaluation back whose factory failed or did not run; it may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_evaluation_free(evaluation: *mut Evaluation) {
    // SAFETY: the caller gives back what it got, or null.
    unsafe { free(evaluation) };
}
