//! What a compiler is made with.

use crate::clang::error::Error;
use std::path::PathBuf;
use std::time::Duration;

/// The environment variable that names the clang to use, by path or by name.
pub const COMPILER_VARIABLE: &str = "REKINDLE_CLANG";

/// The oldest clang whose headers, messages and options this backend has been made for.
pub const LEAST_VERSION: u32 = 15;

/// The language of units and prelude.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Language {
    /// C++.
    Cpp,
    /// C.
    C,
}

impl Language {
    /// The language as clang's `-x` calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cpp => "c++",
            Self::C => "c",
        }
    }

    /// A header of the language as clang's `-x` calls it.
    pub(crate) fn header(self) -> &'static str {
        match self {
            Self::Cpp => "c++-header",
            Self::C => "c-header",
        }
    }
}

/// What a compiler is made with: by default, for C++ at `-O2`, without a prelude.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    pub(crate) compiler: Option<PathBuf>,
    pub(crate) language: Language,
    pub(crate) flags: Vec<String>,
    pub(crate) prelude: Option<String>,
    pub(crate) directory: PathBuf,
    pub(crate) folder: Option<PathBuf>,
    pub(crate) variables: Vec<String>,
    pub(crate) time_limit: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            compiler: None,
            language: Language::Cpp,
            flags: vec!["-O2".to_owned()],
            prelude: None,
            directory: PathBuf::from("/"),
            folder: None,
            variables: Vec::new(),
            time_limit: Duration::from_secs(120),
        }
    }
}

impl Options {
    /// The clang to run. Else it is what [`COMPILER_VARIABLE`] names, or the first of `clang++-22` to
    /// `clang++-15` and `clang++` on the search path.
    #[must_use]
    pub fn compiler(mut self, path: impl Into<PathBuf>) -> Self {
        self.compiler = Some(path.into());
        self
    }

    /// The language of the units.
    #[must_use]
    pub fn language(mut self, language: Language) -> Self {
        self.language = language;
        self
    }

    /// One flag for clang, such as `-std=c++20`, or a flag's value, such as the folder after `-isystem`. A
    /// later one counts where two contradict; the first is `-O2`.
    #[must_use]
    pub fn flag(mut self, flag: impl Into<String>) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// What every unit begins with, as text: its headers are compiled once and kept in the
    /// [`folder`](Self::folder).
    #[must_use]
    pub fn prelude(mut self, text: impl Into<String>) -> Self {
        self.prelude = Some(text.into());
        self
    }

    /// The folder that relative paths in flags, and `#include "..."` in units and the prelude, start from:
    /// `/` unless it is set. It counts for every key.
    #[must_use]
    pub fn directory(mut self, path: impl Into<PathBuf>) -> Self {
        self.directory = path.into();
        self
    }

    /// The folder in which precompiled headers and what was learnt of the compiler are kept, for other
    /// processes too. It must belong to the user, and nobody else may write it: what lies there gets
    /// into code. Without one, there is a folder for temporary files that goes away with the compiler.
    #[must_use]
    pub fn folder(mut self, path: impl Into<PathBuf>) -> Self {
        self.folder = Some(path.into());
        self
    }

    /// An environment variable that clang gets to see. Its value counts for every key.
    #[must_use]
    pub fn variable(mut self, name: impl Into<String>) -> Self {
        self.variables.push(name.into());
        self
    }

    /// How long one run of clang may take, after which it is killed with all that it started.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// Refuses flags that would take the command out of this backend's hands, or have clang read files that
    /// it does not report.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let refused = |flag: &str, reason| Error::Flag {
            flag: flag.to_owned(),
            reason,
        };
        for flag in &self.flags {
            let found = RESERVED.iter().find(|(reserved, _)| match reserved {
                Reserved::Whole(name) => flag == name,
                Reserved::Beginning(name) => flag.starts_with(name),
            });
            if let Some((_, reason)) = found {
                return Err(refused(flag, reason));
            }
            // What names no option is a file to compile, unless an option before it takes a value.
            if flag.is_empty() || flag.contains('\0') {
                return Err(refused(flag, "no command line holds it"));
            }
        }
        if !self.directory.is_absolute() {
            return Err(Error::Directory {
                path: self.directory.clone(),
            });
        }
        Ok(())
    }
}

enum Reserved {
    Whole(&'static str),
    Beginning(&'static str),
}

use Reserved::{Beginning, Whole};

/// Flags that are this backend's, or would have clang read what it does not report, with the reason.
const RESERVED: &[(Reserved, &str)] = &[
    (Whole("-c"), "this backend says what clang makes"),
    (Whole("-S"), "this backend says what clang makes"),
    (Whole("-E"), "this backend says what clang makes"),
    (Whole("-"), "this backend gives clang the source"),
    (Whole("-emit-llvm"), "this backend says what clang makes"),
    (Whole("-fsyntax-only"), "this backend says what clang makes"),
    (Beginning("-flto"), "the loader takes machine code"),
    (Beginning("-o"), "this backend says where clang writes"),
    (Beginning("-x"), "`Options::language` sets it"),
    (Beginning("-M"), "this backend asks for the headers"),
    (Beginning("-include-pch"), "`Options::prelude` makes it"),
    (Beginning("-save-temps"), "it leaves files behind"),
    (Beginning("--save-temps"), "it leaves files behind"),
    (Beginning("-ftime-trace"), "it leaves files behind"),
    (Beginning("-fcrash-diagnostics"), "it leaves files behind"),
    (
        Beginning("-fmodule"),
        "modules are read from files that clang does not report",
    ),
    (
        Beginning("-fcxx-modules"),
        "modules are read from files that clang does not report",
    ),
    (
        Beginning("-fplugin"),
        "a plugin is a compiler that no fingerprint covers",
    ),
    (
        Beginning("-fpass-plugin"),
        "a plugin is a compiler that no fingerprint covers",
    ),
    (
        Beginning("-load"),
        "a plugin is a compiler that no fingerprint covers",
    ),
    (
        Beginning("-fprofile-use"),
        "a profile is a file that clang does not report",
    ),
    (
        Beginning("-fprofile-instr-use"),
        "a profile is a file that clang does not report",
    ),
    (
        Beginning("-fprofile-sample-use"),
        "a profile is a file that clang does not report",
    ),
    (
        Beginning("-ivfsoverlay"),
        "an overlay hides which files are read",
    ),
    (
        Beginning("-vfsoverlay"),
        "an overlay hides which files are read",
    ),
    (Beginning("@"), "a file of flags is not part of the key"),
    (Beginning("-fno-pic"), "objects are position-independent"),
    (Beginning("-fno-PIC"), "objects are position-independent"),
    (Beginning("-fpie"), "objects are position-independent"),
    (Beginning("-fPIE"), "objects are position-independent"),
    (
        Beginning("-fno-integrated-as"),
        "another assembler is a compiler that no fingerprint covers",
    ),
    (
        Beginning("-fcolor-diagnostics"),
        "this backend reads what clang says",
    ),
    (
        Beginning("-fdiagnostics-format"),
        "this backend reads what clang says",
    ),
];
