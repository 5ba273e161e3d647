//! The headers of a text: those that clang read, and those that it would have read if they were there.

use crate::clang::directives::{Directive, Directives, scan};
use crate::clang::stamp::Stamp;
use rekindle_cache_core::artifact::{
    Dependency, DependencyKind, file_digest, file_set_digest, is_absence,
};
use rekindle_cache_core::{Digest, DigestBuilder};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// The folders in which clang looks for headers, as it spells them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SearchPath {
    /// For names in quotes, behind the folder of the file that asks.
    pub(crate) quoted: Vec<String>,
    /// For all names.
    pub(crate) angled: Vec<String>,
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

/// What texts ask for, by their digests: a header is searched for directives once.
#[derive(Debug, Default)]
pub(crate) struct Scanned(Mutex<HashMap<Digest, Arc<Directives>>>);

impl Scanned {
    fn directives(&self, digest: Digest, content: &[u8]) -> Arc<Directives> {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(&digest) {
            return Arc::clone(known);
        }
        let found = Arc::new(scan(content));
        lock().insert(digest, Arc::clone(&found));
        found
    }
}

/// Looks at what clang read.
pub(crate) struct Gatherer<'a> {
    pub(crate) path: &'a SearchPath,
    /// The folder that relative names start from, and that the text itself counts as lying in.
    pub(crate) directory: &'a Path,
    /// Headers that are accounted for elsewhere.
    pub(crate) known: &'a HashSet<String>,
    pub(crate) scanned: &'a Scanned,
    /// When clang was started.
    pub(crate) started: SystemTime,
}

/// What a look at a path gave.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    Absent,
    File,
    /// A folder, or something that cannot be looked at: clang goes on to the next place.
    Other,
}

struct Gathering<'a> {
    gatherer: &'a Gatherer<'a>,
    headers: Headers,
    looks: HashMap<String, Look>,
}

impl Gatherer<'_> {
    /// The headers of `text`, for which clang read `files`.
    pub(crate) fn gather(&self, text: &str, files: &[String]) -> Headers {
        let mut gathering = Gathering {
            gatherer: self,
            headers: Headers::default(),
            looks: HashMap::new(),
        };
        let files: BTreeSet<String> = files.iter().map(|file| self.absolute(file)).collect();
        let files: Vec<_> = (files.into_iter())
            .filter(|file| !self.known.contains(file))
            .collect();
        let directory = self.directory.to_string_lossy().into_owned();
        let mut has_computed =
            gathering.search(&scan(text.as_bytes()), directory.trim_end_matches('/'));
        for file in &files {
            let Some((digest, content)) = gathering.read(file) else {
                continue;
            };
            let directives = self.scanned.directives(digest, &content);
            let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
            has_computed |= gathering.search(&directives, folder);
        }
        if has_computed {
            files.iter().for_each(|file| gathering.search_before(file));
        }
        let mut headers = gathering.headers;
        // What was asked about and then read is a file, not an absence.
        headers
            .absent
            .retain(|path| !headers.files.contains_key(path));
        headers
    }

    fn absolute(&self, file: &str) -> String {
        match file.starts_with('/') {
            true => file.to_owned(),
            false => self.directory.join(file).to_string_lossy().into_owned(),
        }
    }
}

impl Gathering<'_> {
    /// Reads a header and notes it.
    fn read(&mut self, path: &str) -> Option<(Digest, Vec<u8>)> {
        let stamp = Stamp::of(Path::new(path));
        let content = std::fs::read(path);
        let (Ok(stamp), Ok(content)) = (stamp, content) else {
            // clang read it: it went away.
            self.headers.has_changed = true;
            return None;
        };
        self.headers.has_changed |= stamp.is_since(self.gatherer.started);
        let digest = file_digest(Some(&content));
        let header = Header { stamp, digest };
        self.headers.files.insert(path.to_owned(), header);
        Some((digest, content))
    }

    /// Notes what the directives of a text in `folder` would have found before what is there. Says whether
    /// it includes what cannot be told from its text.
    fn search(&mut self, directives: &Directives, folder: &str) -> bool {
        self.headers.is_untold |= directives.asks_computed;
        for directive in &directives.named {
            self.search_for(directive, folder);
        }
        directives.has_computed
    }

    fn search_for(&mut self, directive: &Directive, folder: &str) {
        let name = &directive.name;
        if name.starts_with('/') {
            self.note(name, directive.is_question);
            return;
        }
        let path = self.gatherer.path;
        let beside = directive.is_quoted.then_some(folder).into_iter();
        let quoted = path.quoted.iter().filter(|_| directive.is_quoted);
        let rest = quoted.chain(&path.angled).map(String::as_str);
        for folder in beside.chain(rest) {
            let candidate = format!("{}/{name}", folder.trim_end_matches('/'));
            // What comes next depends on where the asking file was found: all places count.
            if self.note(&candidate, directive.is_question) == Look::File && !directive.is_next {
                return;
            }
        }
    }

    /// Notes that a header found by a computed name could have been found in an earlier place.
    fn search_before(&mut self, file: &str) {
        let path = self.gatherer.path;
        let folders: Vec<_> = path.quoted.iter().chain(&path.angled).collect();
        for (index, folder) in folders.iter().enumerate() {
            let name = file.strip_prefix(folder.trim_end_matches('/'));
            let Some(name) = name.filter(|name| name.starts_with('/')) else {
                continue;
            };
            for earlier in &folders[..index] {
                self.note(&format!("{}{name}", earlier.trim_end_matches('/')), false);
            }
        }
    }

    /// Looks at `path`, and notes that it is not there; or, if its being there was asked, that it is.
    fn note(&mut self, path: &str, is_question: bool) -> Look {
        let path = match path.starts_with('/') {
            true => path.to_owned(),
            false => self.gatherer.absolute(path),
        };
        let look = match self.looks.get(&path) {
            Some(look) => *look,
            None => {
                let look = self.look(&path);
                self.looks.insert(path.clone(), look);
                look
            }
        };
        match look {
            Look::Absent => {
                self.headers.absent.insert(path);
            }
            Look::File if is_question && !self.headers.files.contains_key(&path) => {
                self.read(&path);
            }
            Look::File | Look::Other => {}
        }
        look
    }

    fn look(&mut self, path: &str) -> Look {
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => {
                // It may have come after clang had looked.
                self.headers.has_changed |= Stamp::from(&metadata).is_since(self.gatherer.started);
                Look::File
            }
            Err(error) if is_absence(error.kind()) => Look::Absent,
            Ok(_) | Err(_) => Look::Other,
        }
    }
}
