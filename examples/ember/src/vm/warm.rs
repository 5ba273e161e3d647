//! Compiling programs without running them, so that their definitions are in the cache when they run.
//!
//! A Vm that warms goes through a program's forms in order, as one that runs it does, and calls their
//! factories only where a macro needs what they define. What a form would make known is declared from its
//! outline, so that symbols resolve as they will. Nothing is printed, and nothing outside is changed.

use super::engine::{BackendOptions, Choice, Engine};
use super::form::FormHost;
use super::{CachePlace, Failure, Vm, VmOptions, open_cache};
use crate::compiler::Outline;
use crate::context::Context;
use crate::error::Origin;
use crate::reader::Scanner;
use crate::value::Position;
use rekindle_runtime_hooks::{Cache, Crew, Definition, Ordinal, PutOff, Ran, Statistics};
use rustc_hash::FxHashMap;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

/// How many definitions may have their code in the making before the oldest is waited for.
const IN_THE_MAKING: usize = 512;

/// How programs are warmed.
#[derive(Debug, Clone, Default)]
pub struct WarmOptions {
    /// Where compiled code is kept.
    pub cache: CachePlace,
    /// How many threads compile; by itself as many as there are cores.
    pub threads: Option<NonZeroUsize>,
    /// Whether the cache explains each miss.
    pub explain: bool,
    /// What compiles the programs.
    pub backend: BackendOptions,
}

/// A step of warming, told while it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// So many more forms were found.
    Found(usize),
    /// One form is done.
    Done,
}

/// Is told of steps, on the thread that goes through a program.
type Listener = Rc<dyn Fn(Step)>;

/// A cache and a crew, for programs that are to be compiled and not run.
pub struct Rehearsal {
    cache: Arc<Cache<Engine>>,
    crew: Rc<Crew<Engine>>,
    listener: Listener,
    choice: Choice,
    statistics: Statistics,
    failures: Vec<Failure>,
}

/// What a Vm has to warm.
pub(super) struct Warming {
    crew: Rc<Crew<Engine>>,
    listener: Listener,
    put_off: RefCell<FxHashMap<Ordinal, Unrun>>,
    /// Those whose code may be in the making, the oldest first.
    unsettled: RefCell<VecDeque<Ordinal>>,
    failures: RefCell<Vec<Failure>>,
}

/// A form that has not run.
struct Unrun {
    put_off: PutOff<Engine>,
    origin: Origin,
    namespace: Rc<str>,
}

impl Rehearsal {
    /// Opens the cache and starts the threads. `listener` is told of each step.
    ///
    /// # Errors
    /// A machine that there is no compiler for.
    pub fn new(options: &WarmOptions, listener: impl Fn(Step) + 'static) -> Result<Self, Failure> {
        let cache = open_cache(&VmOptions {
            cache: options.cache.clone(),
            main_file: None,
            explain: options.explain,
            backend: options.backend.clone(),
        })?;
        let threads = options
            .threads
            .unwrap_or_else(|| std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN));
        Ok(Self {
            // This thread is one of them.
            crew: Rc::new(Crew::new(&cache, threads.get() - 1)),
            cache,
            listener: Rc::new(listener),
            choice: options.backend.choice,
            statistics: Statistics::default(),
            failures: Vec::new(),
        })
    }

    /// Compiles what is missing of a program and of what it requires.
    ///
    /// # Errors
    /// A file that cannot be read. Forms that cannot be compiled without running the program are left to
    /// its run, and are among the [`failures`](Self::failures).
    pub fn warm_file(&mut self, file: &Path) -> Result<(), Failure> {
        let warming = Warming {
            crew: Rc::clone(&self.crew),
            listener: Rc::clone(&self.listener),
            put_off: RefCell::default(),
            unsettled: RefCell::default(),
            failures: RefCell::default(),
        };
        let context = Context::printing_to(Box::new(std::io::sink()));
        context.forbid_changes();
        let vm = Vm::on(&self.cache, Some(file), context, Some(warming), self.choice)?;
        let result = vm.run_file(file).map(drop);
        vm.settle_to(0);
        self.statistics.add(&vm.statistics());
        if let Some(warming) = &vm.warming {
            self.failures.append(&mut warming.failures.borrow_mut());
        }
        result
    }

    /// Makes what was compiled last beyond this process, and gives what came of all definitions.
    pub fn finish(&mut self) -> Statistics {
        if let Err(error) = self.cache.flush() {
            tracing::warn!("what was compiled may not be kept: {error}");
        }
        self.statistics.clone()
    }

    /// Why forms were not compiled.
    pub fn failures(&self) -> &[Failure] {
        &self.failures
    }
}

impl Warming {
    /// Says how many forms a text has.
    pub(super) fn expect(&self, text: &str) {
        let mut scanner = Scanner::new(text);
        let mut forms = 0;
        while let Ok(Some(_)) = scanner.next_form() {
            forms += 1;
        }
        (self.listener)(Step::Found(forms));
    }

    /// Says that a form is done.
    pub(super) fn step(&self) {
        (self.listener)(Step::Done);
    }

    /// Notes a form that cannot be compiled without running the program.
    pub(super) fn fail(&self, failure: Failure) {
        self.failures.borrow_mut().push(failure);
    }
}

impl Vm {
    /// Compiles a form unless it is kept, and puts off its factory.
    pub(super) fn warm_definition(
        &self,
        warming: &Warming,
        definition: &Definition<'_>,
        origin: &Origin,
    ) {
        let host = FormHost::new(self, origin);
        let put_off = self
            .session
            .warm_def(&warming.crew, definition, &host, |recorder| {
                self.compile(definition, &host, recorder)
            });
        let put_off = match put_off {
            Ok(put_off) => put_off,
            Err(error) => return warming.fail(self.not_evaluated(error, origin)),
        };
        let unrun = Unrun {
            put_off,
            origin: origin.clone(),
            namespace: definition.context.into(),
        };
        match host.outline.take() {
            Some(outline) => {
                self.declare(&outline);
                let ordinal = unrun.put_off.ordinal();
                if !unrun.put_off.is_settled() {
                    warming.unsettled.borrow_mut().push_back(ordinal);
                }
                warming.put_off.borrow_mut().insert(ordinal, unrun);
                self.settle_to(IN_THE_MAKING);
            }
            // It was kept and is plain: nobody sees it run.
            None => self.run_after_all(warming, unrun),
        }
    }

    /// Makes known what a form would make known.
    fn declare(&self, outline: &Outline) {
        for name in &outline.names {
            if let Some(var) = self.context.namespaces().intern_text(&name.name) {
                var.set_kind(name.is_macro, name.is_private);
                var.declare();
            }
        }
    }

    /// Runs what was put off and is needed.
    pub(super) fn catch_up(&self, ordinals: &[Ordinal]) {
        let Some(warming) = &self.warming else {
            return;
        };
        let aside = self.context.set_aside();
        for ordinal in ordinals {
            let unrun = warming.put_off.borrow_mut().remove(ordinal);
            if let Some(unrun) = unrun {
                self.run_after_all(warming, unrun);
            }
        }
        self.context.take_up(aside);
    }

    fn run_after_all(&self, warming: &Warming, unrun: Unrun) {
        let Unrun {
            put_off,
            origin,
            namespace,
        } = unrun;
        let host = FormHost::new(self, &origin);
        let evaluated = match self.session.resume(&warming.crew, put_off, &host) {
            Ok(evaluated) => evaluated,
            Err(error) => {
                let message = error.to_string();
                return warming.fail(Failure::io(&origin.describe(Position::default()), message));
            }
        };
        let here = self.current_namespace();
        self.enter(&namespace);
        let result = self.run_factory(evaluated.factory());
        self.enter(&here);
        let impure = self.context.reset_impure();
        evaluated.finish(match (&result, impure) {
            (Err(_), _) => Ran::Failed,
            (Ok(_), Some(_)) => Ran::Impure,
            (Ok(_), None) => Ran::Pure,
        });
        if let Err(raised) = result {
            // It may fail just so when the program runs, where it is told.
            let thrown = self.context.take_thrown(raised);
            tracing::debug!("{}: {thrown}", origin.describe(Position::default()));
        }
    }

    /// Brings in and keeps code until that of no more than `left` definitions is in the making.
    fn settle_to(&self, left: usize) {
        let Some(warming) = &self.warming else {
            return;
        };
        loop {
            let mut unsettled = warming.unsettled.borrow_mut();
            if unsettled.len() <= left {
                return;
            }
            let Some(ordinal) = unsettled.pop_front() else {
                return;
            };
            drop(unsettled);
            // Otherwise it has run meanwhile.
            let Some(mut unrun) = warming.put_off.borrow_mut().remove(&ordinal) else {
                continue;
            };
            let host = FormHost::new(self, &unrun.origin);
            let settled = self
                .session
                .settle(&warming.crew, &mut unrun.put_off, &host);
            match settled {
                Ok(()) => {
                    warming.put_off.borrow_mut().insert(ordinal, unrun);
                }
                Err(error) => {
                    let place = unrun.origin.describe(Position::default());
                    warming.fail(Failure::io(&place, error));
                }
            }
        }
    }
}
