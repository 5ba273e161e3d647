//! The world outside the process that code was compiled from: files and environment variables.
//!
//! What was seen once is taken to stand still for the rest of a *validation epoch*, so that a thousand
//! definitions that depend on one header cost one look at it. The host says when an epoch ends: before it
//! reads a file that it was asked for, at each input of a session.

use rekindle_cache_core::Digest;
use rekindle_cache_core::artifact::{file_digest, file_set_digest, is_absence};
use rustc_hash::FxHashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// What was seen of the outside in this epoch.
#[derive(Debug, Default)]
pub(crate) struct Outside {
    seen: Mutex<Seen>,
    /// The number of the epoch, for whoever wants nothing else.
    epoch: AtomicU64,
}

#[derive(Debug, Default)]
struct Seen {
    epoch: u64,
    files: FxHashMap<PathBuf, Option<Digest>>,
    variables: FxHashMap<Box<str>, Digest>,
}

impl Outside {
    /// Forgets what was seen.
    pub(crate) fn begin_epoch(&self) {
        let mut seen = crate::lock(&self.seen);
        seen.epoch += 1;
        seen.files.clear();
        seen.variables.clear();
        self.epoch.store(seen.epoch, Ordering::Release);
    }

    /// The number of the epoch.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// The digest of a file's content, or of there being none; `None` if it cannot be told.
    pub(crate) fn file(&self, path: &Path) -> Option<Digest> {
        let epoch = {
            let seen = crate::lock(&self.seen);
            if let Some(digest) = seen.files.get(path) {
                return *digest;
            }
            seen.epoch
        };
        let digest = match std::fs::read(path) {
            Ok(content) => Some(file_digest(Some(&content))),
            Err(error) if is_absence(error.kind()) => Some(file_digest(None)),
            Err(_) => None,
        };
        self.note_file(epoch, path, digest)
    }

    /// What this epoch says of a file: the first look counts.
    fn note_file(&self, epoch: u64, path: &Path, digest: Option<Digest>) -> Option<Digest> {
        let mut seen = crate::lock(&self.seen);
        if seen.epoch != epoch {
            return digest;
        }
        *seen.files.entry(path.to_owned()).or_insert(digest)
    }

    /// One digest of the contents of several files, in their order.
    pub(crate) fn files(&self, paths: impl Iterator<Item = PathBuf>) -> Option<Digest> {
        let files: Option<Vec<_>> = paths.map(|path| self.file(&path)).collect();
        Some(file_set_digest(files?))
    }

    /// The digest of an environment variable's value, or of its absence.
    pub(crate) fn variable(&self, name: &str) -> Digest {
        let mut seen = crate::lock(&self.seen);
        if let Some(digest) = seen.variables.get(name) {
            return *digest;
        }
        // Names that the operating system has no variables for are never set.
        let is_a_name = !name.is_empty() && !name.contains(['=', '\0']);
        let value = is_a_name.then(|| std::env::var_os(name)).flatten();
        let digest = variable_digest(value.as_deref());
        seen.variables.insert(name.into(), digest);
        digest
    }
}

/// The digest of a variable's value; `None` stands for its absence.
pub(crate) fn variable_digest(value: Option<&OsStr>) -> Digest {
    match value {
        Some(value) => Digest::of("rekindle variable", value.as_encoded_bytes()),
        None => Digest::of("rekindle absent variable", &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_looked_at_once_in_an_epoch() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("header.h");
        let outside = Outside::default();
        let absent = outside.file(&path);
        assert_eq!(absent, Some(file_digest(None)));
        std::fs::write(&path, "int f();").expect("it can be written");
        assert_eq!(outside.file(&path), absent);
        outside.begin_epoch();
        assert_eq!(outside.file(&path), Some(file_digest(Some(b"int f();"))));
        assert_eq!(outside.file(folder.path()), None, "a folder has no content");
        assert_eq!(
            outside.file(&path.join("below")),
            Some(file_digest(None)),
            "nothing is below a file"
        );
    }

    #[test]
    fn sets_of_files_go_by_contents_in_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let [a, b] = ["a", "b"].map(|name| {
            let path = folder.path().join(name);
            std::fs::write(&path, name).expect("it can be written");
            path
        });
        let outside = Outside::default();
        let of = |paths: &[&PathBuf]| outside.files(paths.iter().map(|path| (*path).clone()));
        assert_eq!(of(&[&a, &b]), of(&[&a, &b]));
        assert_ne!(of(&[&a, &b]), of(&[&b, &a]));
        assert_ne!(of(&[&a, &b]), of(&[&a]));
        assert_eq!(of(&[&folder.path().to_owned()]), None);
    }

    #[test]
    fn variables_without_a_possible_name_are_absent() {
        let outside = Outside::default();
        for name in ["", "A=B", "A\0B", "REKINDLE_TEST_THAT_NOBODY_SETS"] {
            assert_eq!(outside.variable(name), variable_digest(None));
        }
        assert_ne!(outside.variable("PATH"), variable_digest(None));
    }
}
