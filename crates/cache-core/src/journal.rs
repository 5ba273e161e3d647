//! The journal of misses: what was compiled, when, and why it was not found.
//!
//! A text file in the cache folder that processes append to, for people who ask why something was
//! compiled again. It is bounded: at [`MAX_BYTES`] it becomes `misses.old`, and a new one is begun, so at
//! most twice as much is kept. Nothing depends on it; a line that cannot be read is passed over.
//!
//! Each line is a list of fields between tabs. In a field, a tab is written `\t`, a new line `\n`, a
//! carriage return `\r`, and a backslash `\\`. A reader ignores further fields, and lines of other sorts.
//!
//! | first field | further fields |
//! | --- | --- |
//! | `M` | seconds since 1970, process, outcome (`miss`, `bypass`, `rejected`), name, context, digest of the text, digest of the environment, reason |
//! | `E` | digest of an environment, then one of its parts: sort, name, digest |

use crate::digest::Digest;
use crate::key::Environment;
use crate::notes;
use crate::store::StoreError;
use std::path::Path;

/// The size at which the journal is begun anew.
pub const MAX_BYTES: u64 = 1 << 20;

const FILE: &str = "misses";
const OLD_FILE: &str = "misses.old";

/// A definition that was compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Miss {
    /// Seconds since 1970.
    pub time: u64,
    /// The process.
    pub process: u32,
    /// `miss`, `bypass` or `rejected`.
    pub outcome: String,
    /// The definition's name.
    pub name: String,
    /// Its context.
    pub context: String,
    /// The digest of its text: [`text_digest`].
    pub text: Digest,
    /// The digest of its environment.
    pub environment: Digest,
    /// Why it was not found, or must not be kept.
    pub reason: String,
}

/// A part of an environment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EnvironmentPart {
    /// The environment's digest.
    pub environment: Digest,
    /// The sort of part, such as `compiler`.
    pub sort: String,
    /// Which one of its sort.
    pub name: String,
    /// Its digest.
    pub digest: Digest,
}

/// What was read from a journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Journal {
    /// The misses, oldest first.
    pub misses: Vec<Miss>,
    /// The parts of the environments that they were in, each once, sorted.
    pub environments: Vec<EnvironmentPart>,
}

/// The digest by which the journal and records tell texts apart.
pub fn text_digest(text: &str) -> Digest {
    Digest::of("rekindle text", text.as_bytes())
}

/// Lines that are to be appended.
#[derive(Debug, Default)]
pub struct Lines {
    text: String,
}

impl Lines {
    /// Adds a miss.
    pub fn miss(&mut self, miss: &Miss) {
        let time = miss.time.to_string();
        let process = miss.process.to_string();
        let digests = [miss.text, miss.environment].map(|digest| digest.to_string());
        let [text, environment] = &digests;
        self.line(&[
            "M",
            &time,
            &process,
            &miss.outcome,
            &miss.name,
            &miss.context,
            text,
            environment,
            &miss.reason,
        ]);
    }

    /// Adds the parts of an environment.
    pub fn environment(&mut self, environment: &Environment) {
        let whole = environment.digest().to_string();
        for (sort, name, digest) in environment.parts() {
            self.line(&["E", &whole, sort, name, &digest.to_string()]);
        }
    }

    /// How many bytes they are.
    pub fn len(&self) -> usize {
        self.text.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    fn line(&mut self, fields: &[&str]) {
        notes::push_line(&mut self.text, fields);
    }

    /// Appends the lines to the journal in `folder`, the folder of a store's files.
    ///
    /// # Errors
    /// The file cannot be written, or is no file of its own: a link is not followed.
    pub fn append_to(&self, folder: &Path) -> Result<(), StoreError> {
        if self.is_empty() {
            return Ok(());
        }
        let path = folder.join(FILE);
        // Of two processes that see it so large, the second moves what the first has begun.
        match notes::append(&path, &self.text)? >= MAX_BYTES {
            true => {
                std::fs::rename(&path, folder.join(OLD_FILE)).map_err(|source| StoreError::Io {
                    action: "rename",
                    path,
                    source,
                })
            }
            false => Ok(()),
        }
    }
}

impl Journal {
    /// Reads the journal in `folder`, the folder of a store's files. One that is not there is empty.
    ///
    /// # Errors
    /// The files cannot be read.
    pub fn read(folder: &Path) -> Result<Self, StoreError> {
        let mut journal = Self::default();
        for name in [OLD_FILE, FILE] {
            // Twice the bound, for what was appended while it was renamed.
            let bytes = notes::read(&folder.join(name), 2 * MAX_BYTES)?;
            journal.add(&String::from_utf8_lossy(&bytes));
        }
        journal.environments.sort();
        journal.environments.dedup();
        Ok(journal)
    }

    fn add(&mut self, text: &str) {
        for line in text.lines() {
            let fields = notes::fields(line);
            let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
            match fields[..] {
                [
                    "M",
                    time,
                    process,
                    outcome,
                    name,
                    context,
                    text,
                    environment,
                    reason,
                    ..,
                ] => {
                    let miss = (|| {
                        Some(Miss {
                            time: time.parse().ok()?,
                            process: process.parse().ok()?,
                            outcome: outcome.to_owned(),
                            name: name.to_owned(),
                            context: context.to_owned(),
                            text: text.parse().ok()?,
                            environment: environment.parse().ok()?,
                            reason: reason.to_owned(),
                        })
                    })();
                    self.misses.extend(miss);
                }
                ["E", environment, sort, name, digest, ..] => {
                    let part = (|| {
                        Some(EnvironmentPart {
                            environment: environment.parse().ok()?,
                            sort: sort.to_owned(),
                            name: name.to_owned(),
                            digest: digest.parse().ok()?,
                        })
                    })();
                    self.environments.extend(part);
                }
                _ => {}
            }
        }
    }

    /// How two environments differ, part by part, in words; empty if the parts of one are not known.
    pub fn difference(&self, was: &Digest, is: &Digest) -> Vec<String> {
        let parts = |environment: &Digest| {
            let parts = self.environments.iter();
            parts
                .filter(|part| part.environment == *environment)
                .map(|part| (part.sort.as_str(), part.name.as_str(), part.digest))
                .collect::<Vec<_>>()
        };
        let (was, is) = (parts(was), parts(is));
        match was.is_empty() || is.is_empty() {
            true => Vec::new(),
            false => difference(&was, &is),
        }
    }
}

/// How the parts of two environments differ, in words.
pub fn difference(was: &[(&str, &str, Digest)], is: &[(&str, &str, Digest)]) -> Vec<String> {
    let label = |(sort, name, _): &(&str, &str, Digest)| match name.is_empty() {
        true => (*sort).to_owned(),
        false => format!("{sort} {name}"),
    };
    let other = |parts: &[(&str, &str, Digest)], part: &(&str, &str, Digest)| {
        let same = parts
            .iter()
            .find(|(sort, name, _)| (*sort, *name) == (part.0, part.1));
        same.map(|(_, _, digest)| *digest)
    };
    let mut words = Vec::new();
    for part in was {
        match other(is, part) {
            None => words.push(format!("{} is gone", label(part))),
            Some(digest) if digest != part.2 => words.push(format!(
                "{} has changed, from {} to {}",
                label(part),
                part.2.short(),
                digest.short()
            )),
            Some(_) => {}
        }
    }
    let new = is.iter().filter(|part| other(was, part).is_none());
    words.extend(new.map(|part| format!("{} is new", label(part))));
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn digest(text: &str) -> Digest {
        Digest::of("test", text.as_bytes())
    }

    fn miss(name: &str, reason: &str) -> Miss {
        Miss {
            time: 1_800_000_000,
            process: 42,
            outcome: "miss".to_owned(),
            name: name.to_owned(),
            context: "user".to_owned(),
            text: text_digest("(def x 1)"),
            environment: digest("environment"),
            reason: reason.to_owned(),
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(texts in prop::collection::vec((".*", ".*"), 0..8)) {
            let folder = tempfile::tempdir().expect("a folder");
            let misses: Vec<_> = texts.iter().map(|(name, reason)| miss(name, reason)).collect();
            let mut lines = Lines::default();
            misses.iter().for_each(|miss| lines.miss(miss));
            lines.append_to(folder.path()).expect("it can be written");
            prop_assert_eq!(Journal::read(folder.path()).expect("it can be read").misses, misses);
        }

        #[test]
        fn anything_can_be_read(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let folder = tempfile::tempdir().expect("a folder");
            std::fs::write(folder.path().join(FILE), &bytes).expect("it can be written");
            Journal::read(folder.path()).expect("it is a file");
        }
    }

    #[test]
    fn it_is_bounded() {
        let folder = tempfile::tempdir().expect("a folder");
        let reason = "x".repeat(100_000);
        for number in 0..40 {
            let mut lines = Lines::default();
            lines.miss(&miss(&number.to_string(), &reason));
            lines.append_to(folder.path()).expect("it can be written");
        }
        let sizes = std::fs::read_dir(folder.path()).expect("it is there");
        let sizes: u64 = sizes
            .map(|entry| {
                entry
                    .and_then(|entry| entry.metadata())
                    .expect("it is there")
                    .len()
            })
            .sum();
        assert!(sizes <= 2 * MAX_BYTES + 200_000, "{sizes}");
        let journal = Journal::read(folder.path()).expect("it can be read");
        assert_eq!(
            journal.misses.last().map(|miss| miss.name.as_str()),
            Some("39")
        );
    }

    #[test]
    fn environments_differ_by_their_parts() {
        let build = |compiler: &str, feature: &str| {
            Environment::new("target")
                .compiler(&digest(compiler))
                .cpu_feature(feature)
                .finish()
        };
        let (was, is) = (build("1.0", "avx2"), build("1.1", "sse4"));
        let folder = tempfile::tempdir().expect("a folder");
        for environment in [&was, &is, &was] {
            let mut lines = Lines::default();
            lines.environment(environment);
            lines.append_to(folder.path()).expect("it can be written");
        }
        let journal = Journal::read(folder.path()).expect("it can be read");
        let words = journal.difference(was.digest(), is.digest());
        assert_eq!(words.len(), 3, "{words:?}");
        assert!(
            words[0].starts_with("compiler has changed, from"),
            "{words:?}"
        );
        assert_eq!(words[1], "cpu feature avx2 is gone");
        assert_eq!(words[2], "cpu feature sse4 is new");
        assert!(
            journal
                .difference(was.digest(), &digest("other"))
                .is_empty()
        );
    }

    #[test]
    fn a_link_is_not_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let elsewhere = folder.path().join("elsewhere");
        std::fs::write(&elsewhere, "").expect("it can be written");
        std::os::unix::fs::symlink(&elsewhere, folder.path().join(FILE)).expect("it can be made");
        let mut lines = Lines::default();
        lines.miss(&miss("a", ""));
        assert!(lines.append_to(folder.path()).is_err());
        assert_eq!(std::fs::read(&elsewhere).expect("it is there"), b"");
    }
}
