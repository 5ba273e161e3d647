//! What a running program has at hand: the handle scope, the pending exception, the stack's limit,
//! output, and what is noted while macros run.
//!
//! A context belongs to one thread and is used through `&Context` everywhere: compiled code calls
//! natives, which call compiled code again.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::error::{Exception, Origin, Raised, Thrown, Trace, TraceEntry};
use crate::namespace::{CORE, Namespaces};
use crate::runtime::{call, stack};
use crate::value::{Name, Position, Value, View, take_order_by_age};

mod compiling;
mod output;

use compiling::Compiling;
use output::Output;

pub use compiling::Seen;

/// The state of a running program.
pub struct Context {
    /// Values that compiled frames and natives hold only as borrowed words.
    scope: RefCell<Vec<Value>>,
    pending: RefCell<Option<Thrown>>,
    /// What was caught last, if it was no exception object, so that throwing it again keeps its
    /// trace. Exception objects carry theirs.
    caught: RefCell<Option<Thrown>>,
    stack_limit: usize,
    namespaces: Namespaces,
    compiling: Compiling,
    /// The name of the namespace that evaluation is in.
    current: RefCell<Rc<str>>,
    impure: Cell<Option<&'static str>>,
    /// Of the definition that is being compiled.
    generated: RefCell<Option<GeneratedNames>>,
    /// How many names the running program has generated.
    gensym_count: Cell<u64>,
    output: RefCell<Output>,
    program_folder: RefCell<PathBuf>,
    /// Whether the program itself wrote a file.
    outside_changed: Cell<bool>,
    /// Whether the program must not change anything outside.
    is_guarded: Cell<bool>,
}

/// What was noted of a definition whose compilation was interrupted.
#[must_use = "to be taken up again"]
pub struct SetAside {
    impure: Option<&'static str>,
    generated: Option<GeneratedNames>,
    was_compiling: bool,
}

/// The generated names of one definition.
struct GeneratedNames {
    tag: String,
    count: u64,
}

impl Default for Context {
    fn default() -> Self {
        Self::new()
    }
}

impl Context {
    /// A context for the calling thread, with the natives in `ember.core`, that prints to stdout.
    pub fn new() -> Self {
        Self::with_output(Output::stdout())
    }

    /// A context that prints to `sink`.
    pub fn printing_to(sink: Box<dyn Write>) -> Self {
        Self::with_output(Output::to(sink))
    }

    fn with_output(output: Output) -> Self {
        let namespaces = Namespaces::new();
        crate::natives::install(&namespaces);
        Self {
            scope: RefCell::new(Vec::with_capacity(1024)),
            pending: RefCell::new(None),
            caught: RefCell::new(None),
            stack_limit: stack::limit(),
            namespaces,
            compiling: Compiling::default(),
            current: RefCell::new(CORE.into()),
            impure: Cell::new(None),
            generated: RefCell::default(),
            gensym_count: Cell::new(0),
            output: RefCell::new(output),
            program_folder: RefCell::default(),
            outside_changed: Cell::new(false),
            is_guarded: Cell::new(false),
        }
    }

    /// The namespaces and their vars.
    pub fn namespaces(&self) -> &Namespaces {
        &self.namespaces
    }

    /// Calls anything callable: a function, keyword, map, set, vector or var.
    ///
    /// # Errors
    ///
    /// What the callee throws, or that `function` cannot be called so.
    pub fn call(&self, function: &Value, arguments: &[Value]) -> Result<Value, Raised> {
        call::call(self, function, arguments)
    }

    /// How many values the handle scope holds.
    #[inline]
    pub fn scope_mark(&self) -> usize {
        self.scope.borrow().len()
    }

    /// Drops what the handle scope got after `mark` was taken.
    #[inline]
    pub fn scope_truncate(&self, mark: usize) {
        self.scope.borrow_mut().truncate(mark);
    }

    /// Keeps `value` alive until the scope is truncated, and gives its borrowed word.
    #[inline]
    pub fn keep(&self, value: Value) -> u64 {
        let word = value.word();
        if value.is_heap() {
            self.scope.borrow_mut().push(value);
        }
        word
    }

    /// Throws `value`.
    pub fn throw(&self, value: Value) -> Raised {
        // Macros leave no trace in what the program may throw later: on a hit they do not run.
        if self.is_compiling() {
            let trace = Trace::default();
            *self.pending.borrow_mut() = Some(Thrown { value, trace });
            return Raised(());
        }
        let caught = self.caught.take();
        let trace = match value.view() {
            View::Exception(exception) => exception.trace.take(),
            _ => match caught {
                Some(caught) if caught.value.is_identical(&value) => caught.trace,
                _ => Trace::default(),
            },
        };
        *self.pending.borrow_mut() = Some(Thrown { value, trace });
        Raised(())
    }

    /// Throws an exception with a message and no data.
    #[cold]
    pub fn raise(&self, message: impl Into<Box<str>>) -> Raised {
        self.raise_with(message, Value::map([]))
    }

    /// Throws an exception with a message and data.
    #[cold]
    pub fn raise_with(&self, message: impl Into<Box<str>>, data: Value) -> Raised {
        self.throw(Value::exception(Exception::new(message, data)))
    }

    /// Throws an exception whose first place is known: one of the reader or the compiler.
    #[cold]
    pub fn raise_at(
        &self,
        message: impl Into<Box<str>>,
        origin: &Origin,
        position: Position,
    ) -> Raised {
        let raised = self.raise(message);
        self.trace(origin, position, Value::NIL);
        raised
    }

    /// Adds a frame that the pending exception leaves.
    pub fn trace(&self, origin: &Origin, position: Position, function: Value) {
        if let Some(thrown) = self.pending.borrow_mut().as_mut() {
            thrown.trace.push(|| TraceEntry {
                origin: origin.clone(),
                position,
                function,
            });
        }
    }

    /// Whether an exception is pending.
    pub fn is_raised(&self) -> bool {
        self.pending.borrow().is_some()
    }

    /// Takes the pending exception, to show it.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "who takes the exception has no marker left"
    )]
    pub fn take_thrown(&self, raised: Raised) -> Thrown {
        let Raised(()) = raised;
        self.take_pending()
    }

    fn take_pending(&self) -> Thrown {
        self.pending.take().unwrap_or_else(|| Thrown {
            value: Value::exception(Exception::new("an error without an exception", Value::NIL)),
            trace: Trace::default(),
        })
    }

    /// Takes the pending exception and gives what was thrown; throwing it again goes on with its
    /// trace.
    pub fn catch(&self) -> Value {
        let Thrown { value, trace } = self.take_pending();
        if self.is_compiling() {
            return value;
        }
        if let View::Exception(exception) = value.view() {
            exception.trace.replace(trace);
        } else if value.is_heap() {
            let value = value.clone();
            *self.caught.borrow_mut() = Some(Thrown { value, trace });
        }
        value
    }

    /// Whether the native stack is nearly used up. Whoever is told that it is goes another way than
    /// with more stack, which is no matter of the program.
    #[inline]
    pub fn stack_is_low(&self) -> bool {
        let is_low = stack::current() < self.stack_limit;
        if is_low {
            self.note_impure("the depth of the stack");
        }
        is_low
    }

    /// Raises an exception if the native stack is nearly used up.
    ///
    /// # Errors
    ///
    /// It is.
    #[inline]
    pub fn check_stack(&self) -> Result<(), Raised> {
        match self.stack_is_low() {
            true => Err(self.raise("stack overflow")),
            false => Ok(()),
        }
    }

    /// The name of the namespace that evaluation is in.
    pub fn current_namespace(&self) -> Rc<str> {
        self.current.borrow().clone()
    }

    /// Makes `namespace`, which is new if need be, the one that evaluation is in.
    pub fn enter_namespace(&self, namespace: &str) {
        self.namespaces.namespace(namespace);
        *self.current.borrow_mut() = namespace.into();
    }

    /// Notes that something was done that a cached definition could not repeat; the first reason
    /// counts.
    #[inline]
    pub fn note_impure(&self, reason: &'static str) {
        if self.impure.get().is_none() {
            self.impure.set(Some(reason));
        }
    }

    /// Notes that the program itself changed something outside, which no longer is what was seen of it.
    pub fn note_outside_changed(&self) {
        self.outside_changed.set(true);
    }

    /// Whether that was noted since the last call.
    pub fn take_outside_changed(&self) -> bool {
        self.outside_changed.take()
    }

    /// Forgets the first reason that was noted since the last call, and gives it.
    pub fn reset_impure(&self) -> Option<&'static str> {
        let by_age = take_order_by_age().then_some("the order or hash of objects by their age");
        self.impure.take().or(by_age)
    }

    /// Sets aside what is noted of the definition that is being compiled, so that something else may run.
    pub fn set_aside(&self) -> SetAside {
        SetAside {
            impure: self.reset_impure(),
            generated: self.generated.take(),
            was_compiling: self.set_compiling(false),
        }
    }

    /// Goes on with what was set aside.
    pub fn take_up(&self, aside: SetAside) {
        self.reset_impure();
        if let Some(reason) = aside.impure {
            self.note_impure(reason);
        }
        *self.generated.borrow_mut() = aside.generated;
        self.set_compiling(aside.was_compiling);
    }

    /// Says that the program is not to be run, but what its macros need: nothing outside may change.
    pub fn forbid_changes(&self) {
        self.is_guarded.set(true);
    }

    /// Raises an exception if nothing outside may change.
    ///
    /// # Errors
    ///
    /// Nothing may.
    pub fn check_changes(&self, who: &str) -> Result<(), Raised> {
        match self.is_guarded.get() {
            true => Err(self.raise(format!("{who}: the program is not run, only compiled"))),
            false => Ok(()),
        }
    }

    /// Starts the generated names of a definition that is about to be compiled: they carry `tag` and are
    /// counted from 0, so they are the same in every process.
    pub fn begin_gensyms(&self, tag: &str) {
        let tag = tag.to_owned();
        *self.generated.borrow_mut() = Some(GeneratedNames { tag, count: 0 });
    }

    /// Ends the names of the definition that was compiled.
    pub fn end_gensyms(&self) {
        self.generated.take();
    }

    /// A new name, `base__TAG_n`. What a running program generates, rather than a definition that is
    /// compiled, depends on all that ran before.
    pub fn gensym(&self, base: &str) -> Name {
        if let Some(names) = self.generated.borrow_mut().as_mut() {
            let name = format!("{base}__{}_{}", names.tag, names.count);
            names.count += 1;
            return Name::local(&name);
        }
        self.note_impure("a generated name");
        let count = self.gensym_count.get();
        self.gensym_count.set(count + 1);
        Name::local(&format!("{base}__0_{count}"))
    }

    /// The folder of the program's file; empty, which means the working folder, without one.
    pub fn program_folder(&self) -> PathBuf {
        self.program_folder.borrow().clone()
    }

    /// Says where the program's file lies.
    pub fn set_program_folder(&self, folder: &Path) {
        folder.clone_into(&mut self.program_folder.borrow_mut());
    }

    /// Prints `text`. A sink that fails, such as a closed pipe, swallows the rest.
    pub fn print(&self, text: &str) {
        self.output.borrow_mut().write(text);
    }

    /// Hands on what was printed and is still buffered; wanted before anything goes to stderr and at
    /// the end.
    pub fn flush_output(&self) {
        self.output.borrow_mut().flush();
    }

    /// Keeps `words` that are borrowed from above `mark`, and drops the rest above it.
    pub(crate) fn scope_retain(&self, mark: usize, words: &[Value]) {
        let mut scope = self.scope.borrow_mut();
        let top = scope.len();
        scope.extend(words.iter().filter(|value| value.is_heap()).cloned());
        scope.drain(mark.min(top)..top);
    }

    /// Drops what the scope got after `mark`, except for `result`, which the scope keeps from now on.
    #[inline]
    pub(crate) fn scope_leave(&self, mark: usize, result: &Value) {
        let mut scope = self.scope.borrow_mut();
        if !result.is_heap() {
            scope.truncate(mark);
            return;
        }
        // Held across the truncation, which may drop the word that it was borrowed from.
        let result = result.clone();
        scope.truncate(mark);
        scope.push(result);
    }
}

#[cfg(test)]
pub(crate) mod tests;
