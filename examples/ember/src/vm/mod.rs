//! A virtual machine: one running ember program on a cache.
//!
//! | subject | file |
//! | --- | --- |
//! | opening, files, texts, statistics | this one |
//! | the backends | `engine.rs`, `cpp.rs` |
//! | one form: look-up, compiling, running | `form.rs` |
//! | C++ that programs include | `preamble.rs` |
//! | namespaces and the files that they come from | `require.rs` |
//! | words that kept code is bound to | `words.rs` |
//! | compiling without running | `warm.rs` |

#[cfg(feature = "clang")]
mod cpp;
mod engine;
mod form;
mod preamble;
mod require;
mod warm;
mod words;

use crate::context::Context;
use crate::error::{Origin, Raised, Thrown};
use crate::namespace::CORE;
use crate::reader::{Form, ScanError, Scanner};
use crate::value::{Position, Value, print_readable};
use engine::Engine;
use rekindle_runtime_hooks::{Cache, HookError, Improving, Session, Statistics, SymbolTable};
use rustc_hash::FxHashMap;
use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use warm::Warming;
use words::Words;

pub use engine::{BackendOptions, Better, Choice};
pub use warm::{Rehearsal, Step, WarmOptions};

/// The part of the language that is written in itself.
const PRELUDE: &str = include_str!("../../prelude/core.em");

/// The namespace in which programs start.
const USER: &str = "user";

/// How long hits that were chosen to be verified are waited for.
const VERIFYING: Duration = Duration::from_secs(60);

/// How a [`Vm`] is set up.
#[derive(Debug, Clone, Default)]
pub struct VmOptions {
    /// Where compiled code is kept.
    pub cache: CachePlace,
    /// The program's file: what it requires is looked for in its folder; in the working folder without.
    pub main_file: Option<PathBuf>,
    /// Whether the cache explains each miss; what the environment says otherwise.
    pub explain: bool,
    /// What compiles the program.
    pub backend: BackendOptions,
}

/// Where compiled code is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum CachePlace {
    /// In `REKINDLE_DIR`, or else in the platform's folder for caches.
    #[default]
    Default,
    /// In this folder.
    Folder(PathBuf),
    /// In memory, for this Vm only.
    Memory,
    /// Nowhere: everything is compiled and run at once.
    Off,
}

/// A running program. It belongs to the thread that made it.
pub struct Vm {
    context: Context,
    session: Session<Engine>,
    words: Words,
    files: RefCell<FxHashMap<Rc<str>, require::Loading>>,
    folder: PathBuf,
    /// There if the program is compiled and not run.
    warming: Option<Warming>,
    /// The C++ that was included so far, if there is a compiler for it.
    cpp: Option<RefCell<String>>,
}

/// Why a program did not go on.
#[derive(Debug)]
pub enum Failure {
    /// It threw something that nobody caught, or could not be read or compiled.
    Thrown(Thrown),
    /// A file or the terminal could not be used.
    Io {
        /// Which.
        what: String,
        /// Why.
        reason: String,
    },
    /// There is no compiler for this machine.
    Backend(String),
}

/// Whether a text can be evaluated as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completeness {
    /// All its forms end, or it is wrong in a way that more text does not mend.
    Finished,
    /// Its last form goes on.
    Unfinished,
}

/// A text under evaluation, and what it is called in errors.
struct Source<'a> {
    file: Rc<str>,
    text: &'a str,
}

impl Vm {
    /// A Vm on the calling thread, with the prelude evaluated.
    ///
    /// # Errors
    /// A machine that there is no compiler for. A cache that cannot be used is a warning.
    pub fn new(options: &VmOptions) -> Result<Self, Failure> {
        let cache = open_cache(options)?;
        Self::on(
            &cache,
            options.main_file.as_deref(),
            Context::new(),
            None,
            options.backend.choice,
        )
    }

    /// A Vm on a cache that is open.
    fn on(
        cache: &Arc<Cache<Engine>>,
        main_file: Option<&Path>,
        context: Context,
        warming: Option<Warming>,
        choice: Choice,
    ) -> Result<Self, Failure> {
        let folder = match main_file {
            Some(file) => file.parent().map(Path::to_owned).unwrap_or_default(),
            None => PathBuf::new(),
        };
        context.set_program_folder(&folder);
        let vm = Self {
            context,
            session: cache.session(),
            words: Words::default(),
            files: RefCell::default(),
            folder,
            warming,
            cpp: (choice == Choice::Clang).then(RefCell::default),
        };
        vm.files
            .borrow_mut()
            .insert(CORE.into(), require::Loading::Done);
        vm.evaluate(&Source {
            file: "prelude/core.em".into(),
            text: PRELUDE,
        })?;
        vm.enter(USER);
        Ok(vm)
    }

    /// Evaluates a file from its first form to its last, and gives the last value.
    ///
    /// # Errors
    /// A file that cannot be read, or the first thing thrown.
    pub fn run_file(&self, file: &Path) -> Result<Value, Failure> {
        let text = read(file)?;
        self.evaluate(&Source {
            file: file.to_string_lossy().into(),
            text: &text,
        })
    }

    /// Evaluates a text and gives the last value; `name` is what errors call it.
    ///
    /// # Errors
    /// The first thing thrown.
    pub fn eval_text(&self, name: &str, text: &str) -> Result<Value, Failure> {
        self.session.begin_epoch();
        self.evaluate(&Source {
            file: name.into(),
            text,
        })
    }

    /// Whether more text could make an unfinished form whole.
    pub fn completeness(&self, text: &str) -> Completeness {
        let mut scanner = Scanner::new(text);
        loop {
            match scanner.next_form() {
                Ok(Some(_)) => {}
                Err(error) if error.is_incomplete => return Completeness::Unfinished,
                Ok(None) | Err(_) => return Completeness::Finished,
            }
        }
    }

    /// Prints a value as the reader would read it, with an end of line.
    pub fn print_value(&self, value: &Value) -> Result<(), Failure> {
        self.context.print(&print_readable(value));
        self.context.print("\n");
        Ok(())
    }

    /// The name of the namespace that evaluation is in.
    pub fn current_namespace(&self) -> Rc<str> {
        self.context.current_namespace()
    }

    /// The context in which the program runs.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Waits until the hits that were chosen to be verified have been compared, so that they are counted.
    pub fn finish_verifying(&self) {
        self.session.cache().finish_verifying(VERIFYING);
    }

    /// What came of the definitions so far.
    pub fn statistics(&self) -> Statistics {
        self.session.statistics()
    }

    /// Hands on what the program printed.
    pub fn flush_output(&self) {
        self.context.flush_output();
    }

    /// Makes what was compiled so far last beyond this process.
    pub fn keep(&self) {
        if let Err(error) = self.session.cache().flush() {
            tracing::debug!("not flushed: {error}");
        }
    }

    /// Evaluates all forms of a source.
    fn evaluate(&self, source: &Source<'_>) -> Result<Value, Failure> {
        if let Some(warming) = &self.warming {
            warming.expect(source.text);
        }
        let mut scanner = Scanner::new(source.text);
        let mut last = Value::NIL;
        loop {
            match scanner.next_form() {
                Ok(Some(form)) => last = self.evaluate_form_or_go_on(source, &form)?,
                Ok(None) => return Ok(last),
                Err(error) => return Err(self.unreadable(source, &error)),
            }
        }
    }

    /// Evaluates a form of a file. A program that is only compiled goes on after one that fails.
    fn evaluate_form_or_go_on(
        &self,
        source: &Source<'_>,
        form: &Form<'_>,
    ) -> Result<Value, Failure> {
        let result = self.evaluate_form(source, form);
        let Some(warming) = &self.warming else {
            return result;
        };
        warming.step();
        if let Err(failure) = result {
            warming.fail(failure);
        }
        Ok(Value::NIL)
    }

    fn unreadable(&self, source: &Source<'_>, error: &ScanError) -> Failure {
        let origin = Origin::new(source.file.clone(), error.line, error.column);
        let raised = self
            .context
            .raise_at(error.message.as_str(), &origin, Position::default());
        self.failure(raised)
    }

    fn evaluate_form(&self, source: &Source<'_>, form: &Form<'_>) -> Result<Value, Failure> {
        match form.head {
            Some("ns") => self.evaluate_ns(source, form),
            Some("require") => self.evaluate_require(source, form),
            Some("do") => self.evaluate_do(source, form),
            Some("cpp/include" | "cpp/raw") => self.evaluate_cpp(source, form),
            _ => self.evaluate_definition(source, form),
        }
    }

    /// The forms of a top-level `do` are top-level forms: each may use the macros of those before it.
    fn evaluate_do(&self, source: &Source<'_>, form: &Form<'_>) -> Result<Value, Failure> {
        let mut scanner = Scanner::elements(source.text, form);
        let mut last = Value::NIL;
        let mut is_head = true;
        loop {
            match scanner.next_form() {
                Ok(Some(_)) if std::mem::take(&mut is_head) => {}
                Ok(Some(form)) => last = self.evaluate_form(source, &form)?,
                Ok(None) => return Ok(last),
                Err(error) => return Err(self.unreadable(source, &error)),
            }
        }
    }

    fn enter(&self, namespace: &str) {
        self.context.enter_namespace(namespace);
    }

    fn failure(&self, raised: Raised) -> Failure {
        Failure::Thrown(self.context.take_thrown(raised))
    }
}

impl Failure {
    /// A failure to use `what`.
    pub fn io(what: &str, reason: impl fmt::Display) -> Self {
        Self::Io {
            what: what.to_owned(),
            reason: reason.to_string(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Thrown(thrown) => write!(out, "error: {thrown}"),
            Self::Io { what, reason } => write!(out, "error: {what}: {reason}"),
            Self::Backend(reason) => write!(out, "error: there is no compiler here: {reason}"),
        }
    }
}

fn read(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|error| Failure::io(&file.to_string_lossy(), error))
}

/// Opens the cache that `options` name; none if it cannot be.
fn open_cache(options: &VmOptions) -> Result<Arc<Cache<Engine>>, Failure> {
    let builder = || {
        let backend = Engine::new(
            &options.backend,
            #[cfg(feature = "clang")]
            &options.cache,
        )?;
        let mut symbols = SymbolTable::new();
        for (name, address) in crate::runtime::RUNTIME {
            symbols.insert(name, *address as u64);
        }
        let mut builder = Cache::builder(backend).symbols(symbols);
        if let Some(better) = options.backend.better {
            builder = builder.improving(Improving {
                costly: better.costly,
                at_close: better.at_close,
                ..Improving::default()
            });
        }
        Ok(match options.explain {
            true => builder.explain(true),
            false => builder,
        })
    };
    let described = match &options.cache {
        CachePlace::Default => builder()?,
        CachePlace::Folder(folder) => builder()?.folder(folder),
        CachePlace::Memory => builder()?.in_memory(),
        CachePlace::Off => builder()?.off(),
    };
    let opened = match described.open() {
        Ok(cache) => cache,
        Err(error) => {
            tracing::warn!("nothing is kept: {error}");
            let off: Result<_, HookError> = builder()?.off().open();
            off.map_err(|error| Failure::Backend(error.to_string()))?
        }
    };
    Ok(Arc::new(opened))
}
