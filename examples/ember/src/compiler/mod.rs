//! The compiler: text of one top-level form -> a unit of a backend.
//!
//! | step | file |
//! | --- | --- |
//! | text -> forms | the reader, with names in syntax-quotes resolved by `analyse` |
//! | forms -> syntax tree | `analyse`: macros, scopes, special forms |
//! | syntax tree -> IR | [`lower`] |
//! | IR -> the backend's own, where no code is kept for the same IR: CLIF, LLVM IR, C++ | `clif`, `llvm`, `cpp` |
//!
//! The compiler keeps no state and changes nothing: what it asks of its host goes through
//! [`CompileHost`], so that the host can record what the code depends on. The same text with the
//! same answers gives the same unit.

pub mod ast;
pub mod intrinsic;
pub mod ir;
pub mod lower;
pub mod outline;

mod analyse;
#[cfg(feature = "cranelift")]
mod clif;
#[cfg(feature = "clang")]
pub mod cpp;
#[cfg(feature = "llvm")]
mod llvm;

use std::cell::RefCell;

use rustc_hash::FxHashSet;
use thiserror::Error;

use self::analyse::{Analysed, ReaderNames};
use self::ir::Program;
use crate::context::Context;
use crate::error::Thrown;
use crate::namespace::Namespaces;
use crate::reader::Reader;
use crate::value::{Position, Value};

pub use lower::FACTORY;
pub use outline::Outline;

/// The word of nil.
pub(crate) const NIL: u64 = 0x04;
/// The word of false.
pub(crate) const FALSE: u64 = 0x0C;
/// The word of true.
pub(crate) const TRUE: u64 = 0x14;

/// What the compiler asks of its host, so that dependencies are recorded where the answers come
/// from.
pub trait CompileHost {
    /// The context in which macros run.
    fn context(&self) -> &Context;

    /// All namespaces.
    fn namespaces(&self) -> &Namespaces;

    /// The name of the namespace in which the form is compiled.
    fn namespace(&self) -> &str;

    /// Called once per distinct symbol that was resolved in the namespace, before the answer is
    /// used. Locals and the names that the unit itself defines are no such symbols. `text` is the
    /// symbol as written.
    fn resolved(&self, text: &str);

    /// The C++ that the form is compiled against, if there is a compiler of C++. Called if the form is about
    /// C++.
    fn cpp(&self) -> Option<String> {
        None
    }

    /// A macro is about to run, and its value to be taken; `var` is its qualified name.
    fn expands(&self, var: &str);
}

/// A form that was compiled.
pub struct CompiledForm {
    /// What the backend's unit is made of.
    pub program: Program,
    /// The name of the exported function that evaluates the form: callee 0, no arguments.
    pub factory: String,
    /// The qualified names of the vars that the form sets, wherever it does so.
    pub defines: Vec<String>,
    /// The qualified names of the vars that the code refers to when it runs.
    pub references: Vec<String>,
    /// Those of `defines` that are set elsewhere than at the top level of the form.
    pub dynamic_defines: Vec<String>,
    /// What running it would do to names.
    pub outline: Outline,
}

/// What a backend makes an object of: functions of a program's text alone. The program must be well formed.
pub mod lowered {
    #[cfg(feature = "cranelift")]
    pub use super::clif::unit as clif;
    #[cfg(feature = "clang")]
    pub use super::cpp::unit as cpp;
    #[cfg(feature = "llvm")]
    pub use super::llvm::unit as llvm;
}

/// Why a form could not be compiled.
#[derive(Debug, Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct CompileError {
    /// What is wrong, in the words of the form's author.
    pub message: String,
    /// Where, relative to the start of the form.
    pub position: Position,
    /// What a macro threw, and where it passed in the macro, if that is the reason.
    pub exception: Option<Thrown>,
}

/// What is said of a form that the native stack is too small for.
const TOO_DEEP: &str = "form nested too deeply";

/// Compiles one form.
///
/// `text` starts at the form; what follows it is not looked at. `name` names the definition in
/// errors of the compiler itself.
///
/// # Errors
/// A form that cannot be read or makes no sense, or what a macro threw.
pub fn compile(
    host: &dyn CompileHost,
    text: &str,
    name: &str,
) -> Result<CompiledForm, CompileError> {
    let host = &Reporting {
        host,
        reported: RefCell::default(),
    };
    let form = read(host, text)?;
    let (analysed, program) = intermediate(host, &form)?;
    let wrong = |reason: String| CompileError {
        message: format!("{name} cannot be compiled: {reason}"),
        position: Position::default(),
        exception: None,
    };
    if cfg!(debug_assertions) {
        ir::verify(&program).map_err(|defect| wrong(defect.to_string()))?;
    }
    Ok(CompiledForm {
        outline: Outline::of(&analysed.form),
        program,
        factory: FACTORY.to_owned(),
        defines: analysed.defines,
        references: analysed.references,
        dynamic_defines: analysed.dynamic_defines,
    })
}

/// The host, which is told of each symbol once: the reader and the analyser may both ask for it.
struct Reporting<'h> {
    host: &'h dyn CompileHost,
    reported: RefCell<FxHashSet<String>>,
}

impl CompileHost for Reporting<'_> {
    fn context(&self) -> &Context {
        self.host.context()
    }

    fn namespaces(&self) -> &Namespaces {
        self.host.namespaces()
    }

    fn namespace(&self) -> &str {
        self.host.namespace()
    }

    fn resolved(&self, text: &str) {
        if self.reported.borrow_mut().insert(text.to_owned()) {
            self.host.resolved(text);
        }
    }

    fn cpp(&self) -> Option<String> {
        self.host.cpp()
    }

    fn expands(&self, var: &str) {
        self.host.expands(var);
    }
}

/// Reads the form at the start of `text`.
fn read(host: &dyn CompileHost, text: &str) -> Result<Value, CompileError> {
    let names = ReaderNames::new(host);
    match Reader::new(host.context(), &names, text).read() {
        Ok(Some(form)) => Ok(form),
        Ok(None) => Err(CompileError {
            message: "there is no form to compile".to_owned(),
            position: Position::default(),
            exception: None,
        }),
        Err(error) => Err(CompileError {
            message: error.message,
            position: error.position,
            exception: None,
        }),
    }
}

/// Analyses and lowers a form.
fn intermediate(host: &dyn CompileHost, form: &Value) -> Result<(Analysed, Program), CompileError> {
    let mut analysed = analyse::analyse(host, form)?;
    let context = host.context();
    match lower::lower(&analysed.form, &|| !context.stack_is_low()) {
        Ok(mut program) => {
            program.cpp = analysed.cpp.take();
            Ok((analysed, program))
        }
        Err(deep) => Err(CompileError {
            message: TOO_DEEP.to_owned(),
            position: Position::unpack(deep.position),
            exception: None,
        }),
    }
}

// Forms are run by Cranelift there.
#[cfg(all(test, feature = "cranelift"))]
mod tests;
