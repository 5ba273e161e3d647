//! Why another loader could not.

use rekindle_cache_core::artifact::LoadFailure;
use std::path::PathBuf;

/// Why another loader could not prepare or load.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// The bytes are no object that its reader takes.
    #[error("no object file: {0}; compile it again")]
    Object(#[from] object::Error),
    /// A root is not defined by the object.
    #[error("the object does not define {0}, which is to be called")]
    NoRoot(String),
    /// A name that is to be looked up has a zero byte in it.
    #[error("the name {0:?} has a zero byte in it")]
    Name(String),
    /// The copy that was to be loaded is not what was prepared.
    #[error("the image's checksum is {found:016x} and not {expected:016x}: its bytes were altered")]
    Checksum {
        /// Of the copy.
        found: u64,
        /// Of what was prepared.
        expected: u64,
    },
    /// LLVM's own words.
    #[error("LLVM: {0}")]
    Llvm(String),
    /// The dynamic linker's own words.
    #[error("the dynamic linker: {0}")]
    DynamicLinker(String),
    /// lld is not there or does not link the object; with its own words.
    #[error("{linker} does not link the object: {words}")]
    Linker {
        /// The program that was run.
        linker: String,
        /// What it said.
        words: String,
    },
    /// A temporary file cannot be written.
    #[error("cannot write {path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
}

impl LoadFailure for PeerError {
    fn is_damage(&self) -> bool {
        matches!(self, Self::Checksum { .. } | Self::Object(_))
    }
}
