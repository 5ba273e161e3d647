//! C and C++ to objects, by running clang.
//!
//! A front end has the text of a translation unit; [`ClangCompiler`] makes an object of it in one process
//! of clang's, which is given no more than options, that text, and a precompiled header of what all units
//! begin with.
//!
//! ```no_run
//! use rekindle_backend_llvm::clang::{ClangCompiler, Options, Unit};
//! use rekindle_cache_core::artifact::Compiler;
//!
//! let options = Options::default()
//!     .flag("-std=c++20")
//!     .prelude("#include <vector>\n")
//!     .folder("/home/user/.cache/example");
//! let compiler = ClangCompiler::new(&options)?;
//! let unit = Unit::new("extern \"C\" long size() { return std::vector<int>{1, 2}.size(); }");
//! let compiled = compiler.compile(&unit)?;
//! # Ok::<(), rekindle_backend_llvm::clang::Error>(())
//! ```
//!
//! # What code depends on
//!
//! | what | where it counts |
//! | --- | --- |
//! | the compiler: build ids of its program and of the `libclang`/`libLLVM` that it runs | fingerprint |
//! | its flags, configuration files and target, the command they come to, and where it looks for headers | fingerprint |
//! | the prelude: its text, the headers it includes, and those it could have found earlier | fingerprint |
//! | the unit's text | digest of the unit |
//! | the unit's other headers, and those that it could have found earlier on the path | one [`FileSet`] |
//!
//! A header counts by its content. What a unit could have found instead is told from the directives in its
//! text and in its headers: each file that an `#include`, `#include_next`, `#import`, `#embed` or
//! `__has_include` would have taken before the one that is there is part of the set as absent. So a header
//! that begins to exist earlier on the path makes the code stale, and so does one that a `__has_include`
//! asked for in vain. What cannot be followed is compiled each time: a `__has_include` of a macro's value, files that
//! code has the assembler include (`.incbin`), frameworks, options that have clang read what it does not report.
//!
//! A compiler is made for what its prelude and its clang are at that moment. Where one of them changes
//! later, compiling is an error ([`Error::Replaced`], or clang's own words about a header that was
//! modified) until another is made, since code of two states must not meet in one process. Where clang does not see
//! that a header of the prelude has changed, as its size is what it was, or where a folder comes to be that is on the
//! path, a unit is compiled, and its code is not kept.
//!
//! The child's environment is empty but for `PATH`, a fixed language, a folder for temporary files, a fixed
//! `SOURCE_DATE_EPOCH` (so that `__DATE__` and `__TIMESTAMP__` are constants), and what [`Options::variable`] names.
//!
//! [`FileSet`]: rekindle_cache_core::artifact::DependencyKind::FileSet

mod command;
mod compiler;
mod configurations;
mod depfile;
mod diagnostic;
mod directives;
mod error;
mod find;
mod gather;
mod headers;
mod identity;
mod options;
mod prelude;
mod probe;
mod run;
mod stamp;
mod temporary;
mod unit;

pub use compiler::{ClangCompiler, Translated};
pub use diagnostic::{Diagnostic, Note, Severity};
pub use error::Error;
pub use options::{COMPILER_VARIABLE, LEAST_VERSION, Language, Options};
pub use unit::Unit;
