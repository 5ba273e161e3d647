//! Warming: a program's definitions are compiled and kept, on all cores, and the program does not run.
//!
//! What hosts in Rust do by themselves (factories that are put off, code that is brought in as it comes, what has to
//! run after all) is done here for them: a host hands over definition after definition, as it would to evaluate
//! them, and says how to run a factory if one is needed.

use crate::backend::HostBackend;
use crate::boundary::{Text, exclusive, fallible, free, or, shared};
use crate::cache::Session;
use crate::compilation::Compilation;
use crate::error::{Error, ErrorCode, Failure};
use crate::evaluate::{CompileCallback, Definition, Evaluation, OutcomeCode, failure, ran_of};
use crate::host::{Asked, Host};
use crate::recorder::Recorder;
use crate::statistics::Room;
use rekindle_runtime_hooks::{self as hooks, Crew, Ordinal, PutOff};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::ffi::c_void;
use std::num::NonZeroUsize;
use std::ptr::null_mut;
use std::sync::Arc;

/// How many definitions may have their code in the making before the oldest is waited for.
const IN_THE_MAKING: usize = 512;

/// What came of the definitions that were warmed.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Warmed {
    /// Definitions that the host has announced, or has handed over if those are more.
    pub expected: u64,
    /// Those that are done: the sum of the next four.
    pub done: u64,
    /// Kept already.
    pub found: u64,
    /// Compiled and kept.
    pub compiled: u64,
    /// Compiled, and not to be kept: a run compiles them again.
    pub bypasses: u64,
    /// Not compiled: a run finds out what is wrong with them.
    pub failed: u64,
    /// Factories that ran after all, as something that runs at compile time needed what they define.
    pub ran: u64,
    /// Factories that could not run when they were needed, as what they define was evaluated in the session before:
    /// `rekindle_warming_catch_up` was not called before that. They are among those above all the same; what
    /// reaches them at compile time is a bypass.
    pub not_run: u64,
}

/// Calls the factory of a definition that was put off, gives its value to what it defines, and returns a `rekindle_ran`.
/// Definition and evaluation are there until it returns; the evaluation is finished after that. Must not let an
/// exception out. On the thread of the call that led to it: of `rekindle_warm`, or, inside of a compile callback, of
/// `rekindle_recorder_ran`, so that a macro is expanded after that. May warm and evaluate other definitions.
pub type RunCallback = Option<
    unsafe extern "C-unwind" fn(
        data: *mut c_void,
        definition: *const Definition,
        evaluation: *const Evaluation,
    ) -> u32,
>;

/// Is told how far warming has come, after each step, on the host's thread. The counts are there until it returns.
/// Must not let an exception out, nor call Rekindle.
pub type ProgressCallback =
    Option<unsafe extern "C-unwind" fn(data: *mut c_void, warmed: *const Warmed)>;

/// Is told of a definition whose code could not be made after `rekindle_warm` had returned, or that was put off and cannot
/// run any more, and why, on the host's thread. Both are there until it returns. Must not let an exception out, nor call Rekindle.
pub type FailedCallback = Option<
    unsafe extern "C-unwind" fn(data: *mut c_void, definition: *const Definition, why: Text),
>;

/// How a host warms, as callbacks that get `data`; each may be null.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Warmer {
    /// `sizeof(rekindle_warmer)`.
    pub size: usize,
    /// What the callbacks get.
    pub data: *mut c_void,
    /// How many threads make code, the host's own included; 0 for as many as there are cores.
    pub threads: usize,
    /// Runs a factory after all. Without it, what needs that is a bypass.
    pub run: RunCallback,
    /// Is told of progress.
    pub progress: ProgressCallback,
    /// Is told of what failed late.
    pub failed: FailedCallback,
}

impl Warmer {
    const PLAIN: Self = Self {
        size: size_of::<Self>(),
        data: null_mut(),
        threads: 0,
        run: None,
        progress: None,
        failed: None,
    };
}

/// Warming of one session. For one thread at a time, whichever it is; its callbacks may use it. It keeps its session.
pub struct Warming {
    session: Arc<hooks::Session<HostBackend>>,
    crew: Crew<HostBackend>,
    warmer: Warmer,
    /// What has not run, in the program's order.
    put_off: RefCell<BTreeMap<Ordinal, Unrun>>,
    /// Those whose code may be in the making, the oldest first.
    unsettled: RefCell<VecDeque<Ordinal>>,
    announced: Cell<u64>,
    given: Cell<u64>,
    warmed: Cell<Warmed>,
}

/// A definition that has not run.
struct Unrun {
    put_off: PutOff<HostBackend>,
    definition: Arc<Owned>,
    host: Host,
}

/// A definition that outlives the call that it came with.
struct Owned {
    name: String,
    text: String,
    context: String,
}

impl Owned {
    fn of(definition: &hooks::Definition<'_>) -> Self {
        Self {
            name: definition.name.to_owned(),
            text: definition.text.to_owned(),
            context: definition.context.to_owned(),
        }
    }

    fn as_c(&self) -> Definition {
        Definition {
            name: Text::new(&self.name),
            text: Text::new(&self.text),
            context: Text::new(&self.context),
        }
    }
}

impl Warming {
    fn new(session: Arc<hooks::Session<HostBackend>>, warmer: Warmer) -> Self {
        let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let threads = match warmer.threads {
            0 => cores(),
            threads => threads,
        };
        Self {
            // The host's own thread is one of them.
            crew: Crew::new(session.cache(), threads - 1),
            session,
            warmer,
            put_off: RefCell::default(),
            unsettled: RefCell::default(),
            announced: Cell::new(0),
            given: Cell::new(0),
            warmed: Cell::default(),
        }
    }

    fn warm(
        &self,
        definition: &hooks::Definition<'_>,
        host: Host,
        compile: impl FnOnce(
            &hooks::Recorder<'_>,
        ) -> Result<hooks::Compilation<crate::backend::Job>, Failure>,
    ) -> Result<OutcomeCode, Failure> {
        self.given.set(self.given.get() + 1);
        let asked = Asked::of_warming(host, self);
        let put_off = self
            .session
            .warm_def(&self.crew, definition, &asked, compile);
        let put_off = match put_off {
            Ok(put_off) => put_off,
            Err(error) => {
                self.note(|warmed| warmed.failed += 1);
                return Err(failure(error));
            }
        };
        let outcome = OutcomeCode::of(put_off.outcome());
        let (ordinal, is_settled) = (put_off.ordinal(), put_off.is_settled());
        let definition = Arc::new(Owned::of(definition));
        let unrun = Unrun {
            put_off,
            definition,
            host,
        };
        self.put_off.borrow_mut().insert(ordinal, unrun);
        if is_settled {
            self.arrived(outcome);
        } else {
            self.unsettled.borrow_mut().push_back(ordinal);
        }
        self.settle_to(IN_THE_MAKING);
        Ok(outcome)
    }

    /// Counts code that is there.
    fn arrived(&self, outcome: OutcomeCode) {
        self.note(|warmed| match outcome {
            OutcomeCode::Hit | OutcomeCode::SecondHit => warmed.found += 1,
            OutcomeCode::Miss | OutcomeCode::Rejected => warmed.compiled += 1,
            OutcomeCode::Bypass => warmed.bypasses += 1,
        });
    }

    fn note(&self, change: impl FnOnce(&mut Warmed)) {
        let mut warmed = self.warmed.get();
        change(&mut warmed);
        warmed.done = warmed.found + warmed.compiled + warmed.bypasses + warmed.failed;
        warmed.expected = self.announced.get().max(self.given.get());
        self.warmed.set(warmed);
        if let Some(progress) = self.warmer.progress {
            // SAFETY: the host keeps its data as long as the warming; the counts live until the call returns.
            unsafe { progress(self.warmer.data, &raw const warmed) };
        }
    }

    /// Tells of a definition of which something could not be done, and counts it.
    fn fail(&self, definition: &Owned, why: &str, count: impl FnOnce(&mut Warmed)) {
        if let Some(failed) = self.warmer.failed {
            let definition = definition.as_c();
            // SAFETY: the host keeps its data as long as the warming; the rest lives until the call returns.
            unsafe { failed(self.warmer.data, &raw const definition, Text::new(why)) };
        }
        self.note(count);
    }

    /// Brings in and keeps code until that of no more than `left` definitions is in the making.
    fn settle_to(&self, left: usize) {
        loop {
            let mut unsettled = self.unsettled.borrow_mut();
            if unsettled.len() <= left {
                return;
            }
            let Some(ordinal) = unsettled.pop_front() else {
                return;
            };
            drop(unsettled);
            let unrun = self.put_off.borrow_mut().remove(&ordinal);
            // Otherwise it has run meanwhile.
            let Some(mut unrun) = unrun else { continue };
            if self.settle(&mut unrun) {
                self.put_off.borrow_mut().insert(ordinal, unrun);
            }
        }
    }

    fn settle(&self, unrun: &mut Unrun) -> bool {
        if unrun.put_off.is_settled() {
            return true;
        }
        let asked = Asked::of_warming(unrun.host, self);
        match self.session.settle(&self.crew, &mut unrun.put_off, &asked) {
            Ok(()) => {
                self.arrived(OutcomeCode::of(unrun.put_off.outcome()));
                true
            }
            Err(error) => {
                let why = error.to_string();
                self.fail(&unrun.definition, &why, |warmed| warmed.failed += 1);
                false
            }
        }
    }

    /// Runs what was put off and is needed now.
    pub(crate) fn catch_up(&self, ordinals: &[Ordinal]) {
        let Some(run) = self.warmer.run else {
            return;
        };
        for ordinal in ordinals {
            let unrun = self.put_off.borrow_mut().remove(ordinal);
            if let Some(mut unrun) = unrun
                && self.settle(&mut unrun)
            {
                self.run(run, unrun);
            }
        }
    }

    fn run(
        &self,
        run: unsafe extern "C-unwind" fn(*mut c_void, *const Definition, *const Evaluation) -> u32,
        unrun: Unrun,
    ) {
        let Unrun {
            put_off,
            definition,
            host,
        } = unrun;
        let asked = Asked::of_warming(host, self);
        let evaluated = match self.session.resume(&self.crew, put_off, &asked) {
            Ok(evaluated) => evaluated,
            // It was settled, so that there is code: it has lost its place.
            Err(error) => {
                let why = error.to_string();
                return self.fail(&definition, &why, |warmed| warmed.not_run += 1);
            }
        };
        // SAFETY: the session is the one that it was evaluated in.
        let evaluation = unsafe { Evaluation::new(evaluated, Arc::clone(&self.session)) };
        let as_c = definition.as_c();
        // SAFETY: the host keeps its data as long as the warming; the rest lives until the call returns.
        let ran = unsafe { run(self.warmer.data, &raw const as_c, &raw const evaluation) };
        drop(evaluation.finish(ran_of(ran)));
        self.note(|warmed| warmed.ran += 1);
    }
}

/// Starts warming: the definitions of a session are compiled and kept, and do not run. For this, a session is best
/// one that nothing else is evaluated in. `warmer` is copied, may be null, and its data has to last until the
/// warming is freed, with `rekindle_warming_free`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_warming_new(
    session: *const Session,
    warmer: *const Warmer,
    warming: *mut *mut Warming,
) -> *mut Error {
    fallible(|| {
        // SAFETY: the caller has all of it for the duration of the call.
        let (session, warmer, place) = unsafe {
            let place = exclusive(warming, "the place of the warming")?;
            *place = null_mut();
            let least = std::mem::offset_of!(Warmer, run);
            let warmer = crate::host::read_table(warmer, Warmer::PLAIN, least, "rekindle_warmer")?;
            (shared(session, "the session")?, warmer, place)
        };
        let session = Arc::clone(&session.session);
        *place = Box::into_raw(Box::new(Warming::new(session, warmer)));
        Ok(())
    })
}

/// Says that so many more definitions will come, for who is told of progress.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_warming_expect(warming: *const Warming, definitions: u64) {
    or((), || {
        // SAFETY: the caller has the warming for the duration of the call, or it is null.
        if let Ok(warming) = unsafe { shared(warming, "") } {
            let announced = warming.announced.get().saturating_add(definitions);
            warming.announced.set(announced);
            warming.note(|_| ());
        }
    });
}

/// Warms a definition, in the place that it has in its program: as `rekindle_eval`, without running its factory. If it is
/// not kept, `compile` is called once with `data`, on this thread, and its unit is compiled by another one while this
/// goes on. What the definition would make known to those after it, the host makes known by itself, without a value. Where
/// `compile` expands a macro, it calls `rekindle_recorder_ran` before that, which gets the macro its value.
///
/// `host` is copied; it is asked on the host's thread, of this definition also later, so that its `data` has to last
/// until the warming is freed. So has what `rekindle_compilation_analysed` got: what makes the unit of an analysed form is
/// called on any thread, at once or later, or never. Those are no threads that a collector knows: what it has from a
/// collected heap the host keeps. `outcome` may be null, or gets a `rekindle_outcome`: on a hit `compile`
/// was not called; a miss may turn out to be no more than a bypass.
///
/// An error is what `compile` failed with, and says that a run will find out; the next definition may follow.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_warm(
    warming: *const Warming,
    definition: *const Definition,
    host: *const Host,
    compile: CompileCallback,
    data: *mut c_void,
    outcome: *mut u32,
) -> *mut Error {
    fallible(|| {
        // SAFETY: the caller has all of it for the duration of the call, and the texts with it.
        let (warming, definition, host) = unsafe {
            let definition = shared(definition, "the definition")?.read()?;
            (
                shared(warming, "the warming")?,
                definition,
                Host::read(host)?,
            )
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
        let came = warming.warm(&definition, host, compile)?;
        // SAFETY: the caller has this place for the duration of the call, or it is null.
        if let Some(place) = unsafe { outcome.as_mut() } {
            *place = came as u32;
        }
        Ok(())
    })
}

/// Runs what was put off so far, in the program's order: for a host that meets a form which it can only evaluate. To be called
/// before anything is evaluated in the session that is warmed: that finds nothing of what was put off, and what it defines
/// anew does not run any more. An error says that the warmer has no `run`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_warming_catch_up(warming: *const Warming) -> *mut Error {
    fallible(|| {
        // SAFETY: the caller has the warming for the duration of the call.
        let warming = unsafe { shared(warming, "the warming") }?;
        if warming.warmer.run.is_none() {
            let what = "nothing that was put off can run: the rekindle_warmer has no `run`";
            return Err(Failure::new(ErrorCode::State, what));
        }
        let ordinals: Vec<_> = warming.put_off.borrow().keys().copied().collect();
        warming.catch_up(&ordinals);
        Ok(())
    })
}

/// Waits for the code that is in the making, makes what was compiled durable and visible to other processes, and puts
/// what came of all definitions into `warmed`, of which `size` bytes are there: `sizeof(rekindle_warmed)`; it may be null. An
/// error says that what was compiled may not be kept. More definitions may follow.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_warming_finish(
    warming: *const Warming,
    warmed: *mut Warmed,
    size: usize,
) -> *mut Error {
    fallible(|| {
        let room = Room::optional(warmed, size)?;
        // SAFETY: the caller has the warming for the duration of the call.
        let warming = unsafe { shared(warming, "the warming") }?;
        warming.settle_to(0);
        if let Some(room) = room {
            // SAFETY: the caller has so many bytes at this place.
            unsafe { room.give(&warming.warmed.get()) };
        }
        let flushed = warming.session.cache().flush();
        flushed.map_err(|error| Failure::new(ErrorCode::Store, error.to_string()))
    })
}

/// Ends warming, and gives it back; it may be null. Code that is in the making and was not waited for is not kept. When this
/// returns, none of its callbacks is called any more. Not from a callback of its own. A child that is forked meanwhile
/// frees its parent's warming, or leaves it alone, and calls nothing else of it: its threads are the parent's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rekindle_warming_free(warming: *mut Warming) {
    // SAFETY: the caller gives back what it got, or null.
    unsafe { free(warming) };
}
