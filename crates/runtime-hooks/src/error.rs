//! What can go wrong in opening a cache and in evaluating a definition.

use std::error::Error;
use std::path::PathBuf;

/// Why a cache cannot be opened. A folder that cannot be used is no such reason: then the cache keeps
/// what it compiles in memory, and says so once.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HookError {
    /// Kept code could not be told from code for another build of the library.
    #[error(
        "{} provides symbols and has no build id: link it with -Wl,--build-id",
        module.display()
    )]
    NoBuildId {
        /// The library's file.
        module: PathBuf,
    },
    /// The executable has no build id, and its file cannot be read instead.
    #[error(
        "the executable has no build id and {} cannot be read: {source}; link it with -Wl,--build-id",
        path.display()
    )]
    Executable {
        /// The executable's file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

/// Why a definition could not be evaluated. A fault of the cache is no such reason.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError<E> {
    /// The host's closure failed.
    #[error("{0}")]
    Host(E),
    /// The backend could not compile the unit.
    #[error("the unit cannot be compiled: {0}")]
    Compile(Box<dyn Error + Send + Sync>),
    /// The compiled code could not be brought into this process.
    #[error("the compiled code cannot be run: {0}")]
    Run(Box<dyn Error + Send + Sync>),
    /// The unit does not export the factory that the host named.
    #[error("the unit exports no factory named {0}")]
    NoFactory(String),
}
