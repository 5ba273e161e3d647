//! The headers of a text: those that clang read, and those that it would have read if they were there.

use crate::clang::stamp::Stamp;
use rekindle_cache_core::artifact::{Dependency, DependencyKind, file_digest, file_set_digest};
use rekindle_cache_core::{Digest, DigestBuilder};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The folders in which clang looks for headers, as it spells them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SearchPath {
    /// For names in quotes, behind the folder of the file that asks.
    pub(crate) quoted: Vec<String>,
    /// For all names.
    pub(crate) angled: Vec<String>,
    /// For `#embed`.
    pub(crate) embedded: Vec<String>,
    /// Headers that all texts begin with, by name.
    pub(crate) forced: Vec<String>,
    /// Folders that it would look in if they were there.
    pub(crate) missing: Vec<String>,
    /// Where folders lie, links followed: one that is named twice is searched once.
    pub(crate) places: Vec<(String, PathBuf)>,
    /// What clang reads cannot be told.
    pub(crate) is_untold: bool,
}

impl SearchPath {
    /// Whether the folders are those that they were. Relative ones start from `directory`.
    pub(crate) fn is_current(&self, directory: &Path) -> bool {
        let mut places = self.places.iter();
        let mut missing = self.missing.iter();
        places.all(|(path, place)| directory.join(path).canonicalize().ok().as_ref() == Some(place))
            && !missing.any(|path| directory.join(path).exists())
    }
}

/// A header that was read: what it held and which file it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) stamp: Stamp,
    pub(crate) digest: Digest,
}

/// The headers of one text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Headers {
    /// What was read, by path.
    pub(crate) files: BTreeMap<String, Header>,
    /// What would have been read.
    pub(crate) absent: BTreeSet<String>,
    /// One of them changed while clang ran, so that nobody knows which state it saw.
    pub(crate) has_changed: bool,
    /// Something that decides what is read cannot be told.
    pub(crate) is_untold: bool,
}

impl Headers {
    /// One digest of all that was read, by path and content, and of what was not there.
    pub(crate) fn digest(&self) -> Digest {
        let mut builder = DigestBuilder::new("rekindle headers");
        builder.list(self.files.len());
        for (path, header) in &self.files {
            builder.text(path).digest(&header.digest);
        }
        builder.list(self.absent.len());
        for path in &self.absent {
            builder.text(path);
        }
        builder.finish()
    }

    /// What code that was made with them depends on; `None` if there are none.
    ///
    /// Where that cannot be told, it is something that no look at the files confirms.
    pub(crate) fn dependency(&self) -> Option<Dependency> {
        if self.files.is_empty() && self.absent.is_empty() && !self.is_known() {
            return Some(Dependency {
                kind: DependencyKind::FileSet,
                name: "/".to_owned(),
                scope: String::new(),
                digest: unconfirmed(),
            });
        }
        if self.files.is_empty() && self.absent.is_empty() {
            return None;
        }
        let names: Vec<_> = self.files.keys().chain(&self.absent).cloned().collect();
        let absent = file_digest(None);
        let digests = self.files.values().map(|header| header.digest);
        let digests = digests.chain(self.absent.iter().map(|_| absent));
        let is_a_list = !names.iter().any(|name| name.contains('\n'));
        Some(Dependency {
            kind: DependencyKind::FileSet,
            name: names.join("\n"),
            scope: String::new(),
            digest: match self.is_known() && is_a_list {
                true => file_set_digest(digests),
                false => unconfirmed(),
            },
        })
    }

    fn is_known(&self) -> bool {
        !self.has_changed && !self.is_untold
    }
}

/// A digest that no set of files has.
fn unconfirmed() -> Digest {
    Digest::of("rekindle headers that cannot be told", &[])
}
