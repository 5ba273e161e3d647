//! Files that tell clang its defaults (`clang++.cfg`), those that they name in turn, and the folders in which such
//! files would be found if they were there.

use crate::clang::probe::listed;
use rekindle_cache_core::artifact::file_digest;
use rekindle_cache_core::{Digest, DigestBuilder};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// So many files may name each other.
const MOST: usize = 64;

/// The files by which clang was told its defaults, and the folders that it looked for them in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Configurations {
    /// Each with the digest of its content.
    pub(crate) files: Vec<(String, Digest)>,
    /// Each with a digest of all such files in it.
    pub(crate) folders: Vec<(String, Digest)>,
    /// Whether they say something that another machine would understand otherwise, or cannot all be told.
    pub(crate) is_own: bool,
}

impl Configurations {
    /// Looks at the files that clang says it has read, and at `folders`.
    pub(crate) fn look(read: Vec<PathBuf>, folders: Vec<PathBuf>) -> Self {
        let mut found = Self::default();
        let mut waiting = read;
        while let Some(path) = waiting.pop() {
            let Some(name) = path.to_str().map(str::to_owned) else {
                found.is_own = true;
                continue;
            };
            if found.files.iter().any(|(known, _)| *known == name) {
                continue;
            }
            let content = std::fs::read(&path).ok();
            found.files.push((name, file_digest(content.as_deref())));
            let text = String::from_utf8_lossy(content.as_deref().unwrap_or_default());
            found.is_own |= text.contains("native") || found.files.len() > MOST;
            if found.files.len() <= MOST {
                waiting.extend(named(&text, path.parent().unwrap_or(Path::new("/"))));
            }
        }
        for folder in folders {
            if let Some(name) = folder.to_str().map(str::to_owned)
                && !found.folders.iter().any(|(known, _)| *known == name)
            {
                let digest = in_folder(&name);
                found.folders.push((name, digest));
            }
        }
        found.files.sort();
        found
    }

    /// The first that is not what it was.
    pub(crate) fn changed(&self) -> Option<PathBuf> {
        let file = self.files.iter().find(|(path, digest)| {
            let content = std::fs::read(path).ok();
            file_digest(content.as_deref()) != *digest
        });
        let folder = || {
            let mut folders = self.folders.iter();
            folders.find(|(path, digest)| in_folder(path) != *digest)
        };
        file.or_else(folder).map(|(path, _)| PathBuf::from(path))
    }

    /// What they say is a part of what reaches the code.
    pub(crate) fn digest(&self, builder: &mut DigestBuilder) {
        builder.list(self.files.len());
        for (path, digest) in &self.files {
            builder.text(path).digest(digest);
        }
    }
}

/// Files that a text of options names, as `@FILE`, relative to its folder.
fn named(text: &str, folder: &Path) -> Vec<PathBuf> {
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    let words = lines.flat_map(str::split_whitespace);
    let names = words.filter_map(|word| word.trim_matches(['"', '\'']).strip_prefix('@'));
    let paths = names.map(|name| {
        let own = folder.to_string_lossy();
        folder.join(name.replace("<CFGDIR>", &own).replace('\\', ""))
    });
    paths.collect()
}

/// The digest of the names and contents of all files with defaults in a folder.
fn in_folder(path: &str) -> Digest {
    let mut builder = DigestBuilder::new("rekindle files with defaults of clang");
    for name in listed(path) {
        let file = Path::new(path).join(&name);
        if file.extension() == Some(OsStr::new("cfg")) {
            let content = std::fs::read(&file).ok();
            builder
                .bytes(name.as_encoded_bytes())
                .digest(&file_digest(content.as_deref()));
        }
    }
    builder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_files_name_are_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir(path("in")).expect("it can be made");
        std::fs::write(path("a.cfg"), "-DX # no\n  # @no\n'@in/b' @<CFGDIR>/c\n").expect("written");
        std::fs::write(path("in/b"), "@d").expect("written");
        std::fs::write(path("c"), "-O1").expect("written");
        let look = || Configurations::look(vec![path("a.cfg")], vec![folder.path().to_owned()]);
        let found = look();
        assert_eq!(found.files.len(), 4, "{:?}", found.files);
        assert_eq!(found.changed(), None);
        assert!(!found.is_own);
        std::fs::write(path("in/d"), "-march=native").expect("written");
        assert_eq!(found.changed(), Some(path("in/d")));
        let found = look();
        assert!(found.is_own);
        std::fs::write(path("other.cfg"), "").expect("written");
        assert_eq!(found.changed(), Some(folder.path().to_owned()));
    }
}
