//! What all units begin with, compiled once and for all processes: a precompiled header.
//!
//! | file | holds |
//! | --- | --- |
//! | `prelude-KEY` | the name of the precompiled header, and the headers in it |
//! | `prelude-KEY-HEADERS.pch` | the precompiled header; whoever uses it holds a shared lock on it |
//! | `prelude-KEY.lock` | locked by whoever makes them |
//!
//! `KEY` stands for the compiler, its flags and the prelude's text, `HEADERS` for what the headers held. A
//! file is complete when it has its name, and never changes.

use crate::clang::compiler::failure;
use crate::clang::depfile;
use crate::clang::diagnostic::{self, Diagnostic};
use crate::clang::error::Error;
use crate::clang::gather::{Gatherer, Scanned};
use crate::clang::headers::{Header, Headers, SearchPath};
use crate::clang::options::Options;
use crate::clang::run::{Runner, read_text};
use crate::clang::stamp::Stamp;
use crate::clang::temporary::{TemporaryFolder, is_at};
use rekindle_cache_core::Digest;
use rekindle_cache_core::artifact::{file_digest, is_absence};
use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The first line of a list of headers.
const TITLE: &str = "rekindle clang prelude 1";

/// So many precompiled headers that nobody uses are kept, the last used ones.
const KEPT: usize = 8;

/// So often the headers may change while they are compiled before that is given up.
pub(crate) const ATTEMPTS: u32 = 3;

/// A precompiled header that is in use.
#[derive(Debug)]
pub(crate) struct Prelude {
    pub(crate) path: PathBuf,
    pub(crate) headers: Headers,
    /// What clang said when it was made; empty where it was there.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// Held as long as it is in use.
    _lock: File,
}

/// What a prelude is made of.
pub(crate) struct Workshop<'a> {
    pub(crate) runner: &'a Runner,
    pub(crate) options: &'a Options,
    pub(crate) search: &'a SearchPath,
    pub(crate) folder: &'a Path,
    /// The digest of the compiler, its flags and the prelude's text.
    pub(crate) key: Digest,
}

impl Workshop<'_> {
    /// The precompiled header of `text`: the one that is there, or made anew, by one process of all that ask
    /// for it.
    pub(crate) fn prelude(&self, text: &str) -> Result<Prelude, Error> {
        if let Some(prelude) = self.find() {
            return Ok(prelude);
        }
        let lock = self.lock();
        if let (Some(_), Some(prelude)) = (&lock, self.find()) {
            return Ok(prelude);
        }
        let prelude = self.make(text)?;
        self.tidy(&prelude);
        drop(lock);
        Ok(prelude)
    }

    fn name(&self) -> String {
        format!("prelude-{:016x}", self.key.prefix())
    }

    fn list(&self) -> PathBuf {
        self.folder.join(self.name())
    }

    /// The one that is there, if all of its headers are what they were.
    fn find(&self) -> Option<Prelude> {
        let text = std::fs::read_to_string(self.list()).ok()?;
        let list = HeaderList::read(&text, &self.key)?;
        if !list.is_current() {
            return None;
        }
        let path = self.folder.join(&list.file);
        let lock = File::open(&path).ok()?;
        lock.try_lock_shared().ok()?;
        let is_whole = lock.metadata().ok()?.len() == list.size && is_at(&lock, &path);
        if !is_whole {
            return None;
        }
        // The time of the last use, for who tidies up. Another user's folder may be read-only.
        if let Ok(list) = File::options().append(true).open(self.list()) {
            let _ = list.set_modified(SystemTime::now());
        }
        Some(Prelude {
            path,
            headers: list.headers,
            diagnostics: Vec::new(),
            _lock: lock,
        })
    }

    /// Waits for who makes the same, for as long as a run of clang may take. Without the lock, it is made
    /// twice, which is no harm.
    fn lock(&self) -> Option<File> {
        let path = self.folder.join(format!("{}.lock", self.name()));
        let mut options = File::options();
        let lock = options.create(true).append(true).open(&path).ok()?;
        let deadline = Instant::now() + self.options.time_limit;
        loop {
            match lock.try_lock() {
                Ok(()) => return Some(lock),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(_) => return None,
            }
        }
    }

    fn make(&self, text: &str) -> Result<Prelude, Error> {
        let temporary = TemporaryFolder::new(self.folder)?;
        let (made, dependencies) = (temporary.file("made.pch"), temporary.file("headers"));
        let mut arguments: Vec<OsString> = self.options.flags.iter().map(OsString::from).collect();
        let language = self.options.language.header();
        arguments.extend(["-fPIC", "-x", language, "-"].map(OsString::from));
        // Templates that the prelude uses are instantiated here, and not again in each unit. Times of files
        // are left to this backend, which looks at contents.
        arguments.extend(
            [
                "-fpch-instantiate-templates",
                "-Xclang",
                "-fno-pch-timestamp",
            ]
            .map(OsString::from),
        );
        arguments.extend(super::compiler::common_arguments().map(OsString::from));
        arguments.extend(["-MD".into(), "-MT".into(), "unit".into(), "-MF".into()]);
        arguments.extend([
            dependencies.clone().into(),
            "-o".into(),
            made.clone().into(),
        ]);
        let mut attempt = 1;
        loop {
            let started = SystemTime::now();
            let finished = self.runner.run(&arguments, text, &temporary)?;
            if !finished.status.success() {
                return Err(failure(&finished));
            }
            let gatherer = Gatherer {
                path: self.search,
                directory: &self.options.directory,
                known: None,
                scanned: &Scanned::default(),
                started,
            };
            let files = depfile::parse(&read_text(&dependencies)?);
            let headers = gatherer.gather(text, &files);
            if headers.has_changed && attempt < ATTEMPTS {
                attempt += 1;
                continue;
            }
            let diagnostics = diagnostic::parse(&finished.said);
            return self.publish(&made, headers, diagnostics);
        }
    }

    fn publish(
        &self,
        made: &Path,
        headers: Headers,
        diagnostics: Vec<Diagnostic>,
    ) -> Result<Prelude, Error> {
        let file = format!("{}-{:016x}.pch", self.name(), headers.digest().prefix());
        let path = self.folder.join(&file);
        let size = made
            .metadata()
            .map_err(|error| Error::file(made, "read", &error))?
            .len();
        let lock = File::open(made).map_err(|error| Error::file(made, "read", &error))?;
        // Nobody else knows it yet, so that nobody else has locked it.
        let _ = lock.try_lock_shared();
        std::fs::rename(made, &path).map_err(|error| Error::file(&path, "written", &error))?;
        // What cannot be told to be the same tomorrow is made again tomorrow.
        if !headers.has_changed && !headers.is_untold {
            let list = HeaderList {
                file,
                size,
                headers: headers.clone(),
                made: SystemTime::now(),
            };
            let written = made.with_extension("list");
            let done = std::fs::write(&written, list.write(&self.key))
                .and_then(|()| std::fs::rename(&written, self.list()));
            done.map_err(|error| Error::file(&self.list(), "written", &error))?;
        }
        Ok(Prelude {
            path,
            headers,
            diagnostics,
            _lock: lock,
        })
    }

    /// Removes precompiled headers that nobody uses: older ones of the same prelude, and the least recently
    /// used of others.
    fn tidy(&self, current: &Prelude) {
        let Ok(entries) = std::fs::read_dir(self.folder) else {
            return;
        };
        let mut unused: Vec<(SystemTime, PathBuf)> = Vec::new();
        for path in entries.flatten().map(|entry| entry.path()) {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if !name.starts_with("prelude-") || !name.ends_with(".pch") || path == current.path {
                continue;
            }
            if name.starts_with(&format!("{}-", self.name())) {
                remove_unused(&path);
                continue;
            }
            let list = name.rsplit_once('-').map_or("", |(list, _)| list);
            let used = self
                .folder
                .join(list)
                .metadata()
                .and_then(|list| list.modified());
            unused.push((used.unwrap_or(UNIX_EPOCH), path));
        }
        unused.sort();
        let surplus = unused.len().saturating_sub(KEPT);
        unused
            .iter()
            .take(surplus)
            .for_each(|(_, path)| remove_unused(path));
    }
}

fn remove_unused(path: &Path) {
    if let Ok(file) = File::open(path)
        && file.try_lock().is_ok()
    {
        let _ = std::fs::remove_file(path);
    }
}

/// A precompiled header's name and size, and the headers in it.
struct HeaderList {
    file: String,
    size: u64,
    headers: Headers,
    /// When they had been read.
    made: SystemTime,
}

impl HeaderList {
    fn write(&self, key: &Digest) -> String {
        let made = self.made.duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut text = format!("{TITLE}\nkey\t{key}\nmade\t{}\n", made.as_nanos());
        text.push_str(&format!("pch\t{}\t{}\n", self.size, self.file));
        for (path, header) in &self.headers.files {
            text.push_str(&format!(
                "file\t{}\t{}\t{path}\n",
                header.stamp, header.digest
            ));
        }
        for path in &self.headers.absent {
            text.push_str(&format!("absent\t{path}\n"));
        }
        text.push_str("end\n");
        text
    }

    /// `None` if it is not whole, or another prelude's.
    fn read(text: &str, key: &Digest) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != TITLE {
            return None;
        }
        let mut list = Self {
            file: String::new(),
            size: 0,
            headers: Headers::default(),
            made: UNIX_EPOCH,
        };
        for line in lines {
            let (name, value) = line.split_once('\t').unwrap_or((line, ""));
            match name {
                "key" if value.parse() == Ok(*key) => {}
                "made" => list.made += Duration::from_nanos(value.parse().ok()?),
                "pch" => {
                    let (size, file) = value.split_once('\t')?;
                    // A name, and no path that leads elsewhere.
                    if file.contains('/') {
                        return None;
                    }
                    (list.size, list.file) = (size.parse().ok()?, file.to_owned());
                }
                "file" => {
                    let mut fields = value.splitn(3, '\t');
                    let stamp = fields.next()?.parse().ok()?;
                    let digest = fields.next()?.parse().ok()?;
                    let path = fields.next()?.to_owned();
                    list.headers.files.insert(path, Header { stamp, digest });
                }
                "absent" => drop(list.headers.absent.insert(value.to_owned())),
                "end" => return (!list.file.is_empty()).then_some(list),
                _ => return None,
            }
        }
        None
    }

    /// Whether all headers are what they were: by stamp, or where that is another one, by content.
    fn is_current(&self) -> bool {
        let is_as_it_was = |(path, header): (&String, &Header)| {
            let path = Path::new(path);
            match Stamp::of(path) {
                Ok(stamp) if stamp == header.stamp && !stamp.is_since(self.made) => true,
                Ok(_) => std::fs::read(path)
                    .is_ok_and(|content| file_digest(Some(&content)) == header.digest),
                Err(_) => false,
            }
        };
        let is_absent =
            |path: &String| std::fs::metadata(path).is_err_and(|error| is_absence(error.kind()));
        self.headers.files.iter().all(is_as_it_was) && self.headers.absent.iter().all(is_absent)
    }
}
