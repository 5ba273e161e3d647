//! Looks at what clang read for a text, and at what it would have read.

use crate::clang::directives::{Directive, Directives, scan};
use crate::clang::headers::{Header, Headers, SearchPath};
use crate::clang::stamp::Stamp;
use rekindle_cache_core::Digest;
use rekindle_cache_core::artifact::{file_digest, is_absence};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

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
    /// Headers that are accounted for elsewhere, as they were then.
    pub(crate) known: Option<&'a BTreeMap<String, Header>>,
    pub(crate) scanned: &'a Scanned,
    /// When clang was started.
    pub(crate) started: SystemTime,
}

/// What a look at a path gave.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    Absent,
    File,
    /// clang goes on to the next place.
    Folder,
    /// No file can have such a name.
    Never,
    /// Something that cannot be looked at.
    Other,
}

struct Gathering<'a> {
    gatherer: &'a Gatherer<'a>,
    headers: Headers,
    looks: HashMap<String, Look>,
    /// Folders and links that were looked at for a change of what lies behind them.
    settled: HashSet<PathBuf>,
    /// Folders of files that include by a macro's value.
    computing: BTreeSet<String>,
    has_searched: bool,
}

impl Gatherer<'_> {
    /// The headers of `text`, for which clang read `files`.
    pub(crate) fn gather(&self, text: &str, files: &[String]) -> Headers {
        let mut gathering = Gathering {
            gatherer: self,
            headers: Headers {
                is_untold: self.path.is_untold,
                ..Headers::default()
            },
            looks: HashMap::new(),
            settled: HashSet::new(),
            computing: BTreeSet::new(),
            has_searched: false,
        };
        let files: BTreeSet<String> = files.iter().map(|file| self.absolute(file)).collect();
        let (known, files): (Vec<_>, Vec<_>) = (files.into_iter())
            .partition(|file| self.known.is_some_and(|known| known.contains_key(file)));
        known.iter().for_each(|file| gathering.check_known(file));
        let directory = self.directory.to_string_lossy().into_owned();
        let directory = directory.trim_end_matches('/');
        gathering.search_for_forced(directory);
        gathering.search(&scan(text.as_bytes()), directory);
        for file in &files {
            let Some((digest, content)) = gathering.read(file) else {
                continue;
            };
            let directives = self.scanned.directives(digest, &content);
            let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
            gathering.search(&directives, folder);
        }
        if !gathering.computing.is_empty() {
            files.iter().for_each(|file| gathering.search_before(file));
        }
        if gathering.has_searched {
            gathering.check_path();
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
        self.check_way(Path::new(path));
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

    /// That a header that is accounted for elsewhere is what it was: a text may read it once more.
    fn check_known(&mut self, path: &str) {
        let known = self.gatherer.known.and_then(|known| known.get(path));
        let is_as_it_was = known.is_some_and(|known| {
            Stamp::of(Path::new(path)).is_ok_and(|stamp| stamp == known.stamp)
                || std::fs::read(path)
                    .is_ok_and(|content| file_digest(Some(&content)) == known.digest)
        });
        self.headers.is_untold |= !is_as_it_was;
    }

    /// That no link or folder on the way to a file was changed while clang ran: it may have read another file by
    /// the same path, and that file's times tell nothing of it.
    fn check_way(&mut self, path: &Path) {
        for part in path.ancestors() {
            if !self.settled.insert(part.to_owned()) {
                return;
            }
            let Ok(metadata) = part.symlink_metadata() else {
                continue;
            };
            let is_since = Stamp::from(&metadata).is_since(self.gatherer.started);
            self.headers.has_changed |= match metadata.is_dir() {
                // What changes in it changes both times, and its own name only one.
                true => is_since && !Stamp::from(&metadata).is_of_content(),
                false => is_since && metadata.is_symlink(),
            };
        }
    }

    /// That the path is the one that the compiler knows; what could become a part of it is one more absence.
    fn check_path(&mut self) {
        let gatherer = self.gatherer;
        for folder in &gatherer.path.missing {
            self.headers.absent.insert(gatherer.absolute(folder));
        }
        self.headers.is_untold |= !gatherer.path.is_current(gatherer.directory);
    }

    /// Notes what the directives of a text in `folder` would have found before what is there.
    fn search(&mut self, directives: &Directives, folder: &str) {
        self.headers.is_untold |= directives.is_untold;
        for directive in &directives.named {
            self.search_for(directive, folder);
        }
        if directives.has_computed {
            self.computing.insert(folder.to_owned());
            self.has_searched = true;
        }
    }

    fn search_for(&mut self, directive: &Directive, folder: &str) {
        let name = &directive.name;
        if name.starts_with('/') {
            self.note(name, directive.is_question);
            return;
        }
        self.has_searched = true;
        let path = self.gatherer.path;
        let (quoted, rest) = match directive.is_embedded {
            true => (&[][..], &path.embedded),
            false => (&path.quoted[..], &path.angled),
        };
        let beside = directive.is_quoted.then_some(folder).into_iter();
        let quoted = quoted.iter().filter(|_| directive.is_quoted);
        let rest = quoted.chain(rest).map(String::as_str);
        for folder in beside.chain(rest) {
            let candidate = format!("{}/{name}", folder.trim_end_matches('/'));
            // What comes next depends on where the asking file was found: all places count.
            if self.note(&candidate, directive.is_question) == Look::File && !directive.is_next {
                return;
            }
        }
    }

    /// Notes where headers that flags include would have been found before, as precompiled ones too.
    fn search_for_forced(&mut self, directory: &str) {
        for name in &self.gatherer.path.forced {
            let directive = Directive {
                name: name.clone(),
                is_quoted: true,
                is_next: false,
                is_question: false,
                is_embedded: false,
            };
            self.search_for(&directive, directory);
            for ending in ["pch", "gch"] {
                let path = self.gatherer.absolute(&format!("{name}.{ending}"));
                self.headers.is_untold |= self.note(&path, false) != Look::Absent;
            }
        }
    }

    /// Notes that a header found by a computed name could have been found beside who asks, or in an earlier place
    /// on the path.
    fn search_before(&mut self, file: &str) {
        let path = self.gatherer.path;
        let folders = path.quoted.iter().chain(&path.angled);
        let folders: Vec<_> = folders
            .map(|folder| self.gatherer.absolute(folder.trim_end_matches('/')))
            .collect();
        let computing: Vec<_> = self.computing.iter().cloned().collect();
        for (index, folder) in folders.iter().enumerate() {
            let name = file.strip_prefix(folder.as_str());
            let Some(name) = name.filter(|name| name.starts_with('/')) else {
                continue;
            };
            for earlier in computing.iter().chain(&folders[..index]) {
                self.note_below(earlier, name);
            }
        }
    }

    /// Notes that there is no `name` in `folder`, by the first folder on the way to it that is not there.
    fn note_below(&mut self, folder: &str, name: &str) {
        let ends = name.match_indices('/').map(|(at, _)| at).skip(1);
        for end in ends.chain([name.len()]) {
            let path = format!("{folder}{}", name.get(..end).unwrap_or(name));
            if self.look_at(&path) != Look::Folder || end == name.len() {
                self.note(&path, false);
                return;
            }
        }
    }

    /// Looks at `path`, and notes that it is not there; or, if its being there was asked, that it is.
    fn note(&mut self, path: &str, is_question: bool) -> Look {
        let path = match path.starts_with('/') {
            true => path.to_owned(),
            false => self.gatherer.absolute(path),
        };
        let look = self.look_at(&path);
        match look {
            Look::Absent => {
                if is_question {
                    self.check_absence(&path);
                }
                self.headers.absent.insert(path);
            }
            Look::File if is_question && !self.headers.files.contains_key(&path) => {
                self.read(&path);
            }
            Look::Folder => self.note_folder(&path),
            Look::Other => self.headers.is_untold = true,
            Look::File | Look::Never => {}
        }
        look
    }

    /// Looks at `path`, once.
    fn look_at(&mut self, path: &str) -> Look {
        if let Some(look) = self.looks.get(path) {
            return *look;
        }
        let look = self.look(path);
        self.looks.insert(path.to_owned(), look);
        look
    }

    /// What is not there now may have been there when clang asked, without being read.
    fn check_absence(&mut self, path: &str) {
        let mut ancestors = Path::new(path).ancestors().skip(1);
        let folder = ancestors.find_map(|folder| Stamp::of(folder).ok());
        let started = self.gatherer.started;
        self.headers.has_changed |= folder.is_some_and(|stamp| stamp.is_since(started));
    }

    /// Notes that a folder is one: by a file that is found on a way through it.
    fn note_folder(&mut self, path: &str) {
        self.check_way(Path::new(path));
        let depth = Path::new(path)
            .canonicalize()
            .map(|real| real.components().count());
        let way = format!("{path}{}/dev/null", "/..".repeat(depth.unwrap_or(0)));
        let Ok(stamp) = Stamp::of(Path::new(&way)) else {
            self.headers.has_changed = true;
            return;
        };
        let digest = file_digest(Some(&[]));
        self.headers.files.insert(way, Header { stamp, digest });
    }

    fn look(&mut self, path: &str) -> Look {
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => {
                // It may have come after clang had looked.
                self.headers.has_changed |= Stamp::from(&metadata).is_since(self.gatherer.started);
                Look::File
            }
            Ok(metadata) if metadata.is_dir() => Look::Folder,
            Err(error) if is_absence(error.kind()) => Look::Absent,
            Err(error) if error.kind() == ErrorKind::InvalidFilename => Look::Never,
            Ok(_) | Err(_) => Look::Other,
        }
    }
}
