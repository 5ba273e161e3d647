//! What can go wrong between a text and its object.

use crate::clang::diagnostic::Diagnostic;
use std::path::PathBuf;
use std::time::Duration;

/// Why a compiler could not be made, or a unit not be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No clang where one was looked for.
    #[error(
        "there is no clang: looked for {}; install clang 15 or newer (on Debian and Ubuntu the package \
         clang-22 or clang), or name one in {}",
        tried.join(", "), crate::clang::COMPILER_VARIABLE
    )]
    NotFound {
        /// The paths and names that were tried.
        tried: Vec<String>,
    },

    /// A program that is no clang, or an old one.
    #[error("{} is no clang of version 15 or newer: {said}", path.display())]
    NoClang {
        /// The program.
        path: PathBuf,
        /// What it said of itself.
        said: String,
    },

    /// A flag that this backend does not pass on.
    #[error("clang is not given the flag `{flag}`: {reason}")]
    Flag {
        /// The flag.
        flag: String,
        /// Why not.
        reason: &'static str,
    },

    /// A folder to start from that is relative itself.
    #[error("the directory {} is relative; give its whole path", path.display())]
    Directory {
        /// The folder.
        path: PathBuf,
    },

    /// A folder for precompiled headers that others can write, or that cannot be used.
    #[error("the folder {} cannot be used: {reason}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// The compiler could not be started.
    #[error("{} cannot be run: {reason}", path.display())]
    Start {
        /// The program.
        path: PathBuf,
        /// The operating system's words.
        reason: String,
    },

    /// The compiler is another one than when this process began with it.
    #[error(
        "{} has been replaced since this process began to use it; code of two compilers must not meet, so \
         start again", path.display()
    )]
    Replaced {
        /// The file that is another one, or has gone.
        path: PathBuf,
    },

    /// The text is wrong, in clang's words.
    #[error("{}", first(diagnostics, output))]
    Refused {
        /// Each thing that clang said, warnings included.
        diagnostics: Vec<Diagnostic>,
        /// All of its output as it was.
        output: String,
    },

    /// The compiler crashed, or stopped without a word about the text.
    #[error("clang failed ({status}){}", after_colon(output))]
    Failed {
        /// How it ended.
        status: String,
        /// All of its output.
        output: String,
    },

    /// The compiler took too long and was killed.
    #[error("clang was stopped after {} s{}", limit.as_secs_f32(), after_colon(output))]
    TimedOut {
        /// The limit.
        limit: Duration,
        /// What it had said by then.
        output: String,
    },

    /// A file that clang wrote, or one for its use, could not be read or written.
    #[error("{} cannot be {action}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// The operating system's words.
        reason: String,
    },
}

impl Error {
    /// The error of doing `action` with a file.
    pub(crate) fn file(
        path: &std::path::Path,
        action: &'static str,
        error: &std::io::Error,
    ) -> Self {
        Self::File {
            path: path.to_owned(),
            action,
            reason: error.to_string(),
        }
    }
}

/// The first error, and how many more there are.
fn first(diagnostics: &[Diagnostic], output: &str) -> String {
    let mut errors = diagnostics.iter().filter(|one| one.severity.is_error());
    let Some(first) = errors.next() else {
        return output.trim_end().to_owned();
    };
    match errors.count() {
        0 => first.to_string(),
        more => format!("{first} (and {more} more)"),
    }
}

fn after_colon(output: &str) -> String {
    match output.trim() {
        "" => String::new(),
        output => format!(": {output}"),
    }
}
